"""How JAX sees this machine, and what compiling costs (edge: reads the environment, keeps compiled programs).

To be settled before JAX first runs anything.
"""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import platform
import stat
from collections.abc import Iterator

import jax

from demo_jax.errors import InputError, brief
from demo_jax.io.files import expanded

#: JAX settings that a run's numbers depend on: a run cannot store models in float64, and other random numbers would
#: give another training. The environment may set each of them (JAX_ENABLE_X64=1) for other programs.
_NUMBERS = {'jax_enable_x64': False, 'jax_default_prng_impl': 'threefry2x32', 'jax_threefry_partitionable': True}
#: Bytes of compiled programs that `keep_programs` keeps; one program takes about half a million.
MAX_KEPT = 500_000_000


@dataclasses.dataclass(frozen=True)
class DeviceSettings:
    """How JAX sees this machine: settled when a process starts, with no effect on any number.

    Attributes:
      host_devices: CPU devices; 0 = one single-threaded device per core, at most 8.
      compilation_cache: folder of compiled programs, for the next start; '' = none are kept.
    """

    host_devices: int = 0
    compilation_cache: str = '~/.cache/demo_jax/xla'


def configure(host_devices: int = 0) -> None:
    """Split the CPU into single-threaded devices, one model's work on each, and multiply in float32 everywhere.

    What would change numbers or random streams (`_NUMBERS`) is as JAX has it by default, whatever the environment says.
    GPUs would round the operands of float32 products otherwise; training alone may be told to (`Machine.precision`).

    Two single-threaded devices on two cores train faster than one device with two threads, since a
    model's step is many small operations. That has no effect on GPUs and TPUs, or once JAX has started.

    Args:
      host_devices: how many; 0 = one per core that this process may use, but at most 8.

    Raises:
      InputError: a negative number, or JAX does not start (see `check`).
    """
    if host_devices < 0:
        raise InputError(f'machine: host_devices is {host_devices}, expected 0 (one per core) or more')
    count = host_devices or min(len(os.sched_getaffinity(0)), 8)
    if count > 1 and 'xla_cpu_multi_thread_eigen' not in os.environ.get('XLA_FLAGS', ''):
        # Read when the CPU backend starts; jax.config has no name for it.
        os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} --xla_cpu_multi_thread_eigen=false'.strip()
    jax.config.update('jax_default_matmul_precision', 'float32')
    for name, value in _NUMBERS.items():
        jax.config.update(name, value)
    with contextlib.suppress(RuntimeError):  # JAX has started: too late to change
        jax.config.update('jax_num_cpu_devices', count)
    check()


def check() -> None:
    """Start JAX, and see that it has a device.

    Raises:
      InputError: it does not start, as where `JAX_PLATFORMS` names a kind of device that this machine lacks.
    """
    try:
        jax.devices()
    except Exception as error:  # RuntimeError, or an AssertionError, or what a plugin raises
        reason = ' '.join(str(error).split()).partition(' (set JAX_PLATFORMS')[0]
        told = f' ({reason[:200]})' if reason else ''
        for name in ('JAX_PLATFORMS', 'JAX_PLATFORM_NAME'):
            if wanted := os.environ.get(name):
                raise InputError(
                    f'{name}={wanted}: JAX cannot use such a device on this machine{told}; unset {name}, and it takes '
                    'what there is'
                ) from error
        raise InputError(f'JAX finds no device that it can use on this machine{told}') from error


def keep_programs(folder: str) -> str:
    """Keep compiled programs in a folder, for later processes.

    A program that is read back is run as it is: so the folder must belong to this user alone, and is made so, and
    each kind of processor has a subfolder of its own, since home directories are shared between machines. The
    oldest programs go when there are more than `MAX_KEPT` bytes. What the environment says
    (`JAX_COMPILATION_CACHE_DIR`) comes first.

    Args:
      folder: '~' is the home directory; '' = do not keep any.

    Returns:
      A note why none are kept, '' if they are (or nobody asked for it).

    Raises:
      InputError: `folder` names an environment variable that is not set, or a home directory that is not known.
    """
    if not folder or os.environ.get('JAX_COMPILATION_CACHE_DIR'):
        return ''
    path = pathlib.Path(os.path.expandvars(expanded(folder)))
    if '$' in str(path):
        raise InputError(f'machine: compilation_cache {brief(folder)} names an environment variable that is not set')
    mine = path / _processor()
    try:
        for part in (path, mine):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = part.stat()
            if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return f'compiled programs are not kept: {part} can be written by other users (chmod 700 it)'
        _prune(mine)
    except OSError as error:
        return f'compiled programs are not kept: {path}: {error.strerror}'
    jax.config.update('jax_compilation_cache_dir', str(mine))
    return ''


def _processor() -> str:
    """A name for this kind of processor: a program for one with more instructions would crash another."""
    try:
        lines = pathlib.Path('/proc/cpuinfo').read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        lines = []
    kind = sorted({line for line in lines if line.split(':')[0].strip() in ('model name', 'flags', 'Features')})
    return f'{platform.machine()}-{hashlib.sha256(chr(10).join(kind).encode()).hexdigest()[:12]}'


def _prune(folder: pathlib.Path) -> None:
    """Remove the oldest files of a folder until the rest is at most `MAX_KEPT` bytes, and empty ones.

    JAX writes in place and does not mend what a killed process left: it would warn of an empty file at every start.
    Its own limit (`jax_compilation_cache_max_size`) is not used, for it would need a step like this one as well: a
    program without its second file, the time of its last use, keeps it from ever writing another one. And it holds a
    lock for every program read, so that a process that is stopped just then makes all others wait 10 s for each.
    """
    total = 0
    for path in sorted(folder.iterdir(), key=lambda path: -path.stat().st_mtime):
        size = path.stat().st_size
        total += size
        if total > MAX_KEPT or (not size and path.name.endswith('-cache')):
            path.unlink(missing_ok=True)


@dataclasses.dataclass
class Compiled:
    """What compiling has cost so far.

    Attributes:
      programs: how many.
      seconds: how long that took, tracing included.
      kept: how many of them an earlier process had compiled.
    """

    programs: int = 0
    seconds: float = 0.0
    kept: int = 0

    def __str__(self) -> str:
        text = f'compiling took {self.seconds:.1f} s: {self.programs} program{"s" * (self.programs != 1)}'
        return f'{text}, {self.kept} of them kept from before' if self.kept else text


@contextlib.contextmanager
def compilations() -> Iterator[Compiled]:
    """Count what is compiled while the block lasts, as JAX reports it."""
    found = Compiled()

    def took(event: str, duration_secs: float, **_: str | int) -> None:
        if event.startswith('/jax/core/compile/'):
            found.seconds += duration_secs
            found.programs += event.endswith('backend_compile_duration')

    def happened(event: str, **_: str | int) -> None:
        found.kept += event == '/jax/compilation_cache/cache_hits'

    jax.monitoring.register_event_duration_secs_listener(took)
    jax.monitoring.register_event_listener(happened)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(took)
        jax.monitoring.unregister_event_listener(happened)
