"""Suite `train`: milliseconds per model-step of every spec and width, with PyTorch beside it."""

import dataclasses
import functools
import importlib.util
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from demo_jax.nn import models
from demo_jax.nn.cost import operations_per_step
from demo_jax.nn.models import SPECS, ModelSpec
from demo_jax.report.tables import format_table
from demo_jax.training import stack
from demo_jax.training.jobs import Job, Recipe, make_jobs
from demo_jax.training.pool import Pool
from demo_jax.training.step import job_hyper
from experiments.benchmarks.measure import MatrixPeak, Settings, interleaved, summarise

if TYPE_CHECKING:
    from experiments.benchmarks.torch_peer import StackedTorchTraining, TorchTraining

#: The paper's: dropout 1/2, gradients clipped element-wise at 5, no augmentation.
RECIPE = Recipe()
LEARNING_RATE = 1e-3
STACKED = 'stacked'


class Training:
    """A segment of training steps of many models, as `demo_jax.training.fit` runs them.

    A call runs one segment and waits for its end.

    Attributes:
      width: models in lockstep per device.
      models: in all.
      steps: per model and call.
      compile_seconds: tracing and compiling.
      n_parameters: of one model.
    """

    def __init__(self, spec: ModelSpec, width: int, steps: int, settings: Settings, pool: Pool, mesh: Mesh) -> None:
        self.spec, self.width, self.steps = spec, width, steps
        self.models = settings.models * mesh.devices.size
        jobs = make_jobs(['random'], [spec.name], RECIPE, seeds=range(self.models))
        segment = functools.partial(
            stack.run_segment,
            spec=spec,
            dropout_bits=jobs[0].dropout_bits,
            reverse_complement=RECIPE.reverse_complement,
            average_strands=RECIPE.average_strands,
            hoist=mesh.devices.flat[0].platform != 'cpu',
        )
        slot = stack.slot_shapes(spec, 1)
        self.n_parameters = models.count_parameters(slot.best)
        self._pool = stack.put(pool, mesh, mapped=False)
        self._arrays = stack.put(jax.tree.map(lambda x: np.zeros((self.models, *x.shape), x.dtype), slot), mesh)
        work = _work(jobs, steps, settings.batch, len(pool.tokens))
        self._work = stack.put(work, mesh)
        program = stack.over_models(segment, width, mesh, shared=1, donate=True)
        start = time.perf_counter()
        self._program = program.lower(self._pool, self._arrays, self._work).compile()
        self.compile_seconds = time.perf_counter() - start
        self._run()
        self._work = stack.put(dataclasses.replace(work, fresh=np.zeros(self.models, bool)), mesh)

    def _run(self) -> stack.Measured:
        self._arrays, measured = self._program(self._pool, self._arrays, self._work)
        return jax.block_until_ready(measured)

    def __call__(self) -> None:
        self._run()

    def check(self) -> None:
        """One more segment, whose losses must be finite: numbers that are not take another time."""
        if not np.isfinite(jax.device_get(self._run().loss)).all():
            raise RuntimeError(f'{self.spec.name}, width {self.width}: the loss is not finite')


def _pool(settings: Settings) -> Pool:
    """Random sequences with random labels, some batches of them."""
    rng = np.random.default_rng(0)
    rows = 16 * settings.batch
    tokens = rng.integers(4, size=(rows, settings.length), dtype=np.uint8)
    return Pool(tokens=tokens, labels=rng.integers(2, size=rows, dtype=np.int32), lengths=None)


def _work(jobs: Sequence[Job], steps: int, batch: int, n_rows: int) -> stack.Work:
    """`steps` steps of each job from its start, with nothing to score and no snapshot to keep."""
    rng = np.random.default_rng(1)
    count = len(jobs)
    hyper = [job_hyper(job, RECIPE) for job in jobs]
    return stack.Work(
        hyper=jax.tree.map(lambda *values: np.stack(values), *hyper),
        fresh=np.ones(count, bool),
        n_steps=np.full(count, steps, np.int32),
        rows=rng.integers(n_rows, size=(count, steps, batch), dtype=np.int32),
        turned=np.zeros((count, steps, batch), bool),
        learning_rate=np.full((count, steps), LEARNING_RATE, np.float32),
        snapshot=np.ones((count, steps), np.int32),
        n_scored=np.zeros(count, np.int32),
        scored_rows=np.full((count, 1, batch), -1, np.int32),
        scored_snapshot=np.zeros((count, 1), np.int32),
    )


def run(settings: Settings) -> dict[str, Any]:
    """Measure; see `experiments.benchmark` for what the result holds."""
    mesh = stack.model_mesh()
    on_cpu = mesh.devices.flat[0].platform == 'cpu'
    steps = settings.steps or (4 if on_cpu else 64)
    widths = list(dict.fromkeys(min(width or settings.models, settings.models) for width in settings.widths))
    pool = _pool(settings)
    peak = MatrixPeak(mesh)
    torch_found = settings.peers and importlib.util.find_spec('torch') is not None
    rows, peers, comparisons = [], [], []
    for name in tqdm(settings.specs, desc='train', unit='spec'):
        spec = SPECS[name]
        peak.measure()
        ours = {f'width {width}': Training(spec, width, steps, settings, pool, mesh) for width in widths}
        theirs = _torch(spec, settings, pool, steps, on_cpu) if torch_found else {}
        seconds = interleaved({**peak.programs, **ours, **theirs}, settings.repeats)
        beside = peak.add(seconds)
        spec_rows, spec_peers = [], []
        for label, program in ours.items():
            program.check()
            row = {'spec': name, 'kind': spec.kind, 'parameters': program.n_parameters, 'width': program.width}
            row |= {'all': program.width == settings.models, 'compile_seconds': program.compile_seconds}
            spec_rows.append(row | _rates(spec, settings, seconds[label], program.models, program.steps))
        for label, program in theirs.items():
            count = settings.models if label == STACKED else 1
            row = {'spec': name, 'kind': spec.kind, 'program': 'torch', 'variant': label}
            spec_peers.append(row | _rates(spec, settings, seconds[label], count, program.steps))
        for row in spec_rows + spec_peers:
            row['share_beside'] = row['operations_per_second'] / beside
        comparisons += _compare(name, spec_rows, spec_peers, stack.default_width(mesh) or settings.models)
        rows += spec_rows
        peers += spec_peers
    peak.measure()
    for row in rows + peers:
        row['share_of_peak'] = row['operations_per_second'] / peak.best
    return {
        'batch': settings.batch,
        'length': settings.length,
        'dropout': RECIPE.dropout,
        'steps_per_call': steps,
        'models_per_device': settings.models,
        'peak': peak.facts(),
        'rows': rows,
        'peers': peers,
        'peers_note': _note(settings, torch_found),
        'comparison': comparisons,
    }


def _torch(
    spec: ModelSpec, settings: Settings, pool: Pool, steps: int, on_cpu: bool
) -> 'dict[str, TorchTraining | StackedTorchTraining]':
    """PyTorch's programs: one model at a time in each layout, and for CNNs all at once with `torch.func`."""
    import torch

    from experiments.benchmarks import torch_peer

    where = torch.device('cpu') if on_cpu else torch_peer.device()
    torch_peer.use_all_cores(len(os.sched_getaffinity(0)), gpu=where.type == 'cuda')
    batch = np.asarray(pool.tokens[: settings.batch]), np.asarray(pool.labels[: settings.batch])
    # Twice as many steps as ours per model: one model alone is over quickly.
    programs: dict[str, TorchTraining | StackedTorchTraining] = {
        variant: torch_peer.TorchTraining(spec, variant, *batch, steps=2 * steps, where=where)
        for variant in torch_peer.variants(spec)
    }
    if spec.kind == 'CNN':
        programs[STACKED] = torch_peer.StackedTorchTraining(
            spec, *batch, models=settings.models, steps=max(1, steps // 2), where=where
        )
    return programs


def _rates(spec: ModelSpec, settings: Settings, seconds: list[float], count: int, steps: int) -> dict[str, Any]:
    """What follows from the seconds of calls that ran `steps` steps of `count` models."""
    time_per_step = summarise([1e3 * value / (count * steps) for value in seconds])
    operations = operations_per_step(spec, settings.batch, settings.length)
    per_second = 1e3 / time_per_step['median']
    return {
        'models': count,
        'ms_per_step': time_per_step,
        'sequences_per_second': settings.batch * per_second,
        'operations_per_step': operations,
        'operations_per_second': operations * per_second,
    }


def _compare(
    name: str, rows: list[dict[str, Any]], peers: list[dict[str, Any]], default_width: int
) -> list[dict[str, Any]]:
    """Our default and our best width against torch's best layout, one model at a time."""

    def median(row: Mapping[str, Any]) -> float:
        return row['ms_per_step']['median']

    single = [peer for peer in peers if peer['variant'] != STACKED]
    if not single:
        return []
    torch_row, best = min(single, key=median), min(rows, key=median)
    stacked = next((peer for peer in peers if peer['variant'] == STACKED), None)
    default = next((row for row in rows if row['width'] == default_width), None)
    return [
        {
            'spec': name,
            'default_width': default_width,
            'ms': None if default is None else median(default),
            'best_width': best['width'],
            'best_ms': median(best),
            'torch_variant': torch_row['variant'],
            'torch_ms': median(torch_row),
            'torch_stacked_ms': None if stacked is None else median(stacked),
            'times_faster': None if default is None else median(torch_row) / median(default),
            'times_faster_best': median(torch_row) / median(best),
        }
    ]


def _note(settings: Settings, torch_found: bool) -> str:
    if torch_found:
        return 'torch: Adam and dropout on, gradients clipped element-wise, one-hot input made beforehand'
    if settings.peers:
        return "torch is not installed: pip install '.[peers]' to measure it too"
    return 'not asked for (--nopeers)'


def tables(result: Mapping[str, Any]) -> list[str]:
    """The result as printed tables."""
    rows = [
        {
            'spec': row['spec'],
            'width': f'{row["width"]} = all' if row['all'] else str(row['width']),
            'models': row['models'],
            'ms_per_step': row['ms_per_step']['median'],
            'min': row['ms_per_step']['min'],
            'max': row['ms_per_step']['max'],
            'sequences_per_s': round(row['sequences_per_second']),
            'mflop_per_step': round(row['operations_per_step'] / 1e6),
            'share_of_peak': row['share_of_peak'],
            'share_beside': row['share_beside'],
            'compile_s': row['compile_seconds'],
        }
        for row in result['rows']
    ]
    rate = result['peak']['operations_per_second'] / 1e9
    size = f'batch {result["batch"]}, length {result["length"]}, dropout {result["dropout"]}'
    text = [
        format_table(
            rows,
            list(rows[0]),
            title=f'Training: {size}; matrix-product peak {rate:,.1f} GFLOP/s; median, min and max of the repeats',
        ),
        'share_of_peak: of the best product of the run; share_beside: of the median product measured in turns with it',
    ]
    if not result['comparison']:
        return [*text, f'PyTorch: {result["peers_note"]}']
    columns = list(result['comparison'][0])
    title = 'PyTorch, one model at a time, beside it (ms per model-step)'
    return [*text, format_table(result['comparison'], columns, title=title)]
