"""What every suite shares: settings, repeated timings, the machine's facts and its matrix-product peak."""

import dataclasses
import datetime
import os
import pathlib
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from demo_jax.errors import InputError
from demo_jax.nn.models import SPECS
from demo_jax.training import stack

_PACKAGES = ('jax', 'jaxlib', 'numpy', 'flax', 'optax', 'torch')
_PEAK_SECONDS = 0.1
_WARM_UP = 2


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
      specs: names of architectures.
      widths: models in lockstep per device; 0 = all that the device has.
      models: models per device.
      repeats: timed calls of each program, after two that are not counted.
      batch: sequences per training step.
      length: letters per sequence.
      steps: training steps per model and call; 0 = 4 on a CPU, 64 elsewhere.
      sequences: how many sequences the data suite handles.
      tasks: numbers of equal tasks that the scaling suite trains; 6, with which it compares, is among them. The largest
        is also how many tasks of different sizes it trains.
      peers: measure PyTorch too, where it is installed.
    """

    specs: tuple[str, ...] = tuple(SPECS)
    widths: tuple[int, ...] = (1, 2, 8, 0)
    models: int = 8
    repeats: int = 5
    batch: int = 256
    length: int = 101
    steps: int = 0
    sequences: int = 20_000
    tasks: tuple[int, ...] = (1, 6, 27, 108)
    peers: bool = True

    def __post_init__(self) -> None:
        if not self.specs or not self.widths:
            raise InputError('benchmark: specs and widths need at least one entry each')
        for spec in self.specs:
            if spec not in SPECS:
                raise InputError(f'benchmark: unknown spec {spec!r}; the specs are {", ".join(SPECS)}')
            if self.length < SPECS[spec].min_length:
                raise InputError(f'benchmark: length is {self.length}, {spec} needs at least {SPECS[spec].min_length}')
        least = {'models': 1, 'repeats': 1, 'batch': 1, 'length': 4, 'steps': 0, 'sequences': 10}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise InputError(f'benchmark: {name} is {getattr(self, name)}, expected {minimum} or more')
        if 6 not in self.tasks or min(self.tasks) < 1:
            raise InputError(f'benchmark: tasks is {self.tasks}, expected numbers of 1 or more, 6 among them')
        for width in self.widths:
            if width < 0:
                raise InputError(f'benchmark: widths holds {width}, expected 0 (all) or more')


def summarise(values: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles and extremes of repeated measurements, and the measurements themselves."""
    low, median, high = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    return {
        'median': median,
        'quartile_low': low,
        'quartile_high': high,
        'min': float(min(values)),
        'max': float(max(values)),
        'repeats': [float(value) for value in values],
    }


def interleaved(programs: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds that each program took, called in turn: twice each unmeasured, then `repeats` rounds.

    Taking turns spreads whatever else the machine does over all of them. A program must return only
    when its work is done.
    """
    for program in programs.values():
        for _ in range(_WARM_UP):
            program()
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            start = time.perf_counter()
            program()
            seconds[name].append(time.perf_counter() - start)
    return seconds


class MatrixPeak:
    """The machine's matrix-product rate: float32 `jnp.dot` on all devices at once.

    Square matrices of 1,024; on a GPU or TPU, which so small a product does not fill, of 4,096 and
    8,192 too. `best` is the largest of all measurements, in operations per second over all devices
    together. The precision is JAX's default, as in the training step.

    Attributes:
      programs: by label, a chain of products of each size, to be timed in turns with other programs.
    """

    def __init__(self, mesh: Mesh) -> None:
        on_cpu = mesh.devices.flat[0].platform == 'cpu'
        self.sizes = (1024,) if on_cpu else (1024, 4096, 8192)
        self.measurements: list[dict[str, float]] = []
        self._mesh = mesh
        self._chains = {size: self._calibrated(size) for size in self.sizes}
        self.programs = {f'product {size}': chain for size, (chain, _) in self._chains.items()}

    @property
    def best(self) -> float:
        """Operations per second, the largest measured so far."""
        return max(entry['operations_per_second'] for entry in self.measurements)

    def measure(self, repeats: int = 3) -> None:
        """Add measurements to those there are."""
        for size, (chain, _) in self._chains.items():
            self._add(size, [_seconds(chain) for _ in range(repeats)])

    def add(self, seconds: Mapping[str, Sequence[float]]) -> float:
        """Add those of `programs`; their rate in operations per second: of each size the median, of these the best."""
        return max(float(np.median(self._add(size, seconds[f'product {size}']))) for size in self.sizes)

    def _add(self, size: int, seconds: Sequence[float]) -> list[float]:
        operations = self._mesh.devices.size * self._chains[size][1] * 2 * size**3
        rates = [operations / value for value in seconds]
        self.measurements += [{'size': size, 'operations_per_second': rate} for rate in rates]
        return rates

    def facts(self) -> dict[str, Any]:
        """For the JSON file."""
        return {'operations_per_second': self.best, 'dtype': 'float32', 'measurements': self.measurements}

    def _calibrated(self, size: int) -> tuple[Callable[[], Any], int]:
        """A chain of products on each device that is long enough to time, and its length."""
        products = 1
        while True:
            chain = self._chain(size, products)
            chain()
            if _seconds(chain) >= _PEAK_SECONDS:
                return chain, products
            products *= 2

    def _chain(self, size: int, products: int) -> Callable[[], Any]:
        # A Householder reflection is orthogonal: the numbers neither grow nor vanish along the chain.
        vector = np.random.default_rng(0).normal(size=size)
        matrix = np.eye(size) - 2 * np.outer(vector, vector) / (vector @ vector)
        matrix = stack.put(matrix.astype(np.float32), self._mesh, mapped=False)

        def local(matrix):
            return jax.lax.fori_loop(0, products, lambda _, x: jnp.dot(x, matrix), matrix)[None]

        chain = jax.jit(
            jax.shard_map(
                local, mesh=self._mesh, in_specs=PartitionSpec(), out_specs=PartitionSpec(stack.AXIS), check_vma=False
            )
        )
        return lambda: jax.block_until_ready(chain(matrix))


def _seconds(program: Callable[[], Any]) -> float:
    start = time.perf_counter()
    program()
    return time.perf_counter() - start


def machine_facts() -> dict[str, Any]:
    """The machine, its devices as JAX sees them, the versions that matter, the date, and the load average."""
    devices = jax.local_devices()
    return {
        'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'cpu': _cpu_model(),
        'cores': len(os.sched_getaffinity(0)),
        'load_average': list(os.getloadavg()),
        'memory_gib': round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30, 1),
        'system': platform.platform(),
        'python': platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        'device_platform': devices[0].platform,
        'device_kind': devices[0].device_kind,
        'devices': len(devices),
        'xla_flags': os.environ.get('XLA_FLAGS', ''),
        'matmul_precision': jax.config.values['jax_default_matmul_precision'],
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    info = pathlib.Path('/proc/cpuinfo')
    if info.exists():
        for line in info.read_text(encoding='utf-8').splitlines():
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    return platform.processor() or platform.machine()
