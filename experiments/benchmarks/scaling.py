"""Suite `scaling`: does a task's time depend on how many there are, and are the slots kept busy?"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demo_jax.nn.cost import operations_per_step
from demo_jax.nn.models import SPECS
from demo_jax.report.tables import format_table
from demo_jax.training import stack
from demo_jax.training.fit import fit
from demo_jax.training.jobs import Recipe, make_jobs
from demo_jax.training.machine import Machine
from demo_jax.training.pool import Pool, TaskRows
from demo_jax.training.state import Report
from experiments.benchmarks.measure import MatrixPeak, Settings, summarise

#: Steps of the tasks of one size, and of one call.
STEPS, SEGMENT = 32, 8
#: Training examples of the smallest and the largest of the tasks of different sizes.
SMALLEST, LARGEST = 4_000, 90_000
#: The tasks of different sizes take as many steps as theirs would, of so many times smaller a batch and number.
SHRUNK = 64


def run(settings: Settings) -> dict[str, Any]:
    """Measure; see `experiments.benchmark` for what the result holds."""
    peak = MatrixPeak(stack.model_mesh())
    rows: list[dict[str, Any]] = []
    for name in settings.specs:
        peak.measure(1)
        seconds: dict[int, list[float]] = {count: [] for count in settings.tasks}
        for _ in range(settings.repeats):  # in turns, so that what else the machine does falls on all of them
            for count in settings.tasks:
                seconds[count].append(_seconds_per_task(name, count, settings))
        peak.measure(1)
        operations = STEPS * operations_per_step(SPECS[name], settings.batch, settings.length)
        six = summarise(seconds[6])['median']
        rows += [
            {
                'spec': name,
                'tasks': count,
                'seconds_per_task': (found := summarise(seconds[count])),
                'times_that_of_6': found['median'] / six,
                'operations_per_task': operations,
                'share_of_peak': operations / found['median'] / peak.best,
            }
            for count in settings.tasks
        ]
    return {
        'batch': settings.batch,
        'length': settings.length,
        'steps': STEPS,
        'peak': peak.facts(),
        'rows': rows,
        'utilisation': _utilisation(max(settings.tasks)),
    }


def _tasks(sizes: Sequence[int], batch: int, length: int) -> tuple[list[str], Pool, dict[str, TaskRows]]:
    """Tasks of so many training examples each, all out of one small pool of random sequences."""
    rng = np.random.default_rng(0)
    n_rows = 16 * batch
    tokens = rng.integers(4, size=(n_rows, length), dtype=np.uint8)
    pool = Pool(tokens, np.arange(n_rows, dtype=np.int32) % 2, None)
    names = [f'task{number}' for number in range(len(sizes))]
    valid = np.arange(batch, dtype=np.int32)
    rows = {
        name: TaskRows(rng.integers(n_rows, size=(size, 1), dtype=np.int32), valid, valid)
        for name, size in zip(names, sizes, strict=True)
    }
    return names, pool, rows


def _seconds_per_task(spec: str, count: int, settings: Settings) -> float:
    """Time from the end of the first call, which compiles, to the end of the last, for a whole task's steps."""
    names, pool, rows = _tasks([STEPS * settings.batch] * count, settings.batch, settings.length)
    recipe = Recipe(batch_size=settings.batch, epochs=1, learning_rate=1e-3)
    reports = fit(make_jobs(names, [spec], recipe), pool, rows, recipe, machine=Machine(segment_steps=SEGMENT))
    next(reports)
    start, steps = time.perf_counter(), 0
    for report in reports:
        steps += report.steps
    return (time.perf_counter() - start) * STEPS / steps


def _utilisation(n_tasks: int) -> dict[str, float]:
    """How busy the slots are while so many tasks of very different sizes are trained, counted in steps."""
    sizes = np.geomspace(SMALLEST, LARGEST, n_tasks) // SHRUNK
    batch = 256 // SHRUNK
    names, pool, rows = _tasks(sizes.astype(int).tolist(), batch, 12)
    recipe = Recipe(batch_size=batch, epochs=1, learning_rate=1e-4, retries=0)
    reports: list[Report] = list(fit(make_jobs(names, ['small_rnn'], recipe), pool, rows, recipe))
    done = sum(report.steps for report in reports)
    room = sum(max(report.slot_steps) * len(report.slot_steps) for report in reports)
    return {'tasks': n_tasks, 'slots': len(reports[0].slot_steps), 'steps': done, 'utilisation': done / room}


def tables(result: Mapping[str, Any]) -> list[str]:
    """The result as printed tables."""
    rows = [
        {
            'spec': row['spec'],
            'tasks': row['tasks'],
            's_per_task': row['seconds_per_task']['median'],
            'min': row['seconds_per_task']['min'],
            'max': row['seconds_per_task']['max'],
            'times_that_of_6': row['times_that_of_6'],
            'gflop_per_task': row['operations_per_task'] / 1e9,
            'share_of_peak': row['share_of_peak'],
        }
        for row in result['rows']
    ]
    title = f'Scaling: tasks of {result["steps"]} steps of {result["batch"]} sequences of {result["length"]} letters'
    busy = result['utilisation']
    return [
        format_table(rows, list(rows[0]), title=title),
        f'{busy["tasks"]} tasks of {SMALLEST:,} to {LARGEST:,} examples on {busy["slots"]} slots, longest first: '
        f'the slots are busy {busy["utilisation"]:.1%} of the time',
    ]
