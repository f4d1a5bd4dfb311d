"""The training loop, the only one: it walks jobs through slots and yields what it measured.

Nothing here logs, prints or writes: the caller does, from the reports.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from demo_jax.nn.architecture import resolve
from demo_jax.training import segments, stack
from demo_jax.training.jobs import Job, Order, Plan, Recipe, epoch_order, make_plan
from demo_jax.training.machine import PRECISIONS, Machine, ProgramSizes, models_that_fit, program_sizes
from demo_jax.training.pool import Pool, TaskRows
from demo_jax.training.state import EpochRecord, Finished, FitState, Progress, Report, Started, placed
from demo_jax.training.waking import bar, position_auroc


def fit(
    jobs: Sequence[Job],
    pool: Pool,
    rows: Mapping[str, TaskRows],
    recipe: Recipe,
    *,
    machine: Machine = Machine(),  # noqa: B008 (frozen)
    devices: list[jax.Device] | None = None,
    started: Sequence[Started] = (),
    sizes: ProgramSizes | None = None,
) -> Iterator[Report]:
    """Train jobs of one spec, many at once, and yield a report after every segment.

    The jobs wait in a queue, those with the most steps left first; each slot works on one and takes the
    next when it is done. What a job computes depends on the job alone, never on its slot or company (with
    other widths, equal up to rounding).

    Args:
      jobs: of one spec and one `dropout_bits` (see `jobs.programs`).
      pool: all sequences, NumPy arrays.
      rows: the rows of each task.
      recipe: how to train.
      machine: how to lay out the work.
      devices: which to use; default: all of this process.
      started: those of the jobs that an earlier training had under way (`FitState.started`), on whatever
        devices, to go on from there.
      sizes: sizes of the program, where several calls share one; default: those that suit the jobs. It gets more
        slots where the devices need them.

    Raises:
      ValueError: the jobs need more than one program, or `started` holds another job.
    """
    if len({(job.spec, job.dropout_bits) for job in jobs}) != 1:
        raise ValueError('jobs of one call must share the spec and the dropout bits')
    by_index = {job.index: job for job in jobs}
    own = {job.index: rows[job.task].of(job.fold) for job in jobs}
    plans = {job.index: make_plan(recipe, len(own[job.index].train)) for job in jobs}
    parked = {job.progress.job: job for job in started}
    if not parked.keys() <= by_index.keys():
        raise ValueError(f'jobs {sorted(parked.keys() - by_index.keys())} are under way, but not to be trained')
    mesh = stack.model_mesh(devices)
    if sizes is None:
        sizes = _sizes(jobs, plans, rows, recipe, machine, mesh, pool)
    sizes = sizes.over(mesh.devices.size)
    segment, keep = programs_of(jobs[0], recipe, machine, mesh)
    device_pool = stack.put(pool, mesh, mapped=False)
    arrays = stack.put(stack.blank_slots(resolve(jobs[0].spec), sizes.slots, sizes.snapshots), mesh)
    progress: list[Progress | None] = [None] * sizes.slots
    begun = {index: job.progress for index, job in parked.items()}
    waiting = [begun.get(index, Progress(index)) for index in by_index]
    waiting.sort(key=lambda p: (p.step - plans[p.job].steps, p.job))
    labels = np.asarray(pool.labels)

    @functools.lru_cache(maxsize=4 * sizes.slots)
    def order(index: int, epoch: int) -> Order:
        return epoch_order(recipe, by_index[index], own[index], epoch)

    floor = functools.cache(lambda task, fold: position_auroc(pool, rows[task].of(fold), recipe.average_strands))
    idle = segments.idle_work(recipe, sizes)
    while waiting or any(progress):
        resumed = _fill(progress, waiting, parked)
        if resumed:
            arrays = stack.put(placed(arrays, resumed), mesh)
        parts: list[segments.Part | None] = [None] * sizes.slots
        for slot, current in enumerate(progress):
            if current is not None:
                job, orders = by_index[current.job], functools.partial(order, current.job)
                parts[slot] = segments.plan_part(current, job, plans[job.index], own[job.index], recipe, sizes, orders)
        work = jax.tree.map(lambda *xs: np.stack(xs), *[idle if part is None else part.work for part in parts])
        arrays, measured = segment(device_pool, arrays, stack.put(work, mesh))
        measured = jax.device_get(measured)
        outcomes: list[_Outcome | None] = [None] * sizes.slots
        for slot, (before, part) in enumerate(zip(progress, parts, strict=True)):
            if before is not None and part is not None:
                job, seen = by_index[before.job], jax.tree.map(lambda x, slot=slot: x[slot], measured)
                valid, letters = labels[own[job.index].valid], functools.partial(floor, job.task, job.fold)
                outcomes[slot] = _settle(before, part, plans[job.index], job, recipe, seen, valid, letters)
        choice = np.array([-1 if outcome is None else outcome.choice for outcome in outcomes], np.int32)
        if (choice >= 0).any():
            arrays = keep(arrays, stack.put(choice, mesh))
        progress = [None if outcome is None else outcome.progress for outcome in outcomes]
        settled = [outcome for outcome in outcomes if outcome is not None]
        yield Report(
            slot_steps=tuple(0 if part is None else part.stop - part.start for part in parts),
            epochs=tuple(record for outcome in settled for record in outcome.epochs),
            finished=_finished(outcomes, arrays, recipe),
            notes=tuple(outcome.note for outcome in settled if outcome.note),
            state=FitState(tuple(progress), arrays, tuple(parked.values())),
        )


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """What a segment brought a slot.

    Attributes:
      progress: the job's, None where it has ended.
      ended: the last progress of a job that has ended, else None.
      choice: the snapshot to keep as the best parameters, -1 = none.
      epochs: those that ended.
      note: '' or why the job starts again.
    """

    progress: Progress | None
    ended: Progress | None = None
    choice: int = -1
    epochs: tuple[EpochRecord, ...] = ()
    note: str = ''


def _sizes(
    jobs: Sequence[Job],
    plans: Mapping[int, Plan],
    rows: Mapping[str, TaskRows],
    recipe: Recipe,
    machine: Machine,
    mesh: jax.sharding.Mesh,
    pool: Pool,
) -> ProgramSizes:
    device = mesh.devices.flat[0]
    return program_sizes(
        [plans[job.index] for job in jobs],
        [len(rows[job.task].of(job.fold).valid) for job in jobs],
        recipe,
        machine,
        n_devices=mesh.devices.size,
        on_cpu=device.platform == 'cpu',
        room=models_that_fit(
            (device.memory_stats() or {}).get('bytes_limit'), resolve(jobs[0].spec), recipe.batch_size, pool.tokens
        ),
    )


def _fill(progress: list[Progress | None], waiting: list[Progress], parked: dict[int, Started]) -> dict[int, Started]:
    """Give every idle slot the next job that waits; returns those that go on from an earlier training, by slot."""
    resumed: dict[int, Started] = {}
    for slot, current in enumerate(progress):
        if current is None and waiting:
            progress[slot] = begin = waiting.pop(0)
            if begin.job in parked:
                resumed[slot] = parked.pop(begin.job)
    return resumed


def _settle(
    before: Progress,
    part: segments.Part,
    plan: Plan,
    job: Job,
    recipe: Recipe,
    seen: stack.Measured,
    labels: np.ndarray,
    floor: Callable[[], float],
) -> _Outcome:
    """What a slot's segment comes to, by what was measured; see `segments.account` for the last two."""
    fault = segments.fault_of(seen, part, len(labels))
    if fault:
        again = segments.start_again(before, job, recipe, fault)
        return _Outcome(again.progress, before if again.progress is None else None, note=again.note)
    found = segments.account(before, part, plan, job, recipe, seen, labels, floor)
    note = ''
    if found.asleep:
        reached = found.progress.steady or found.progress.best_auroc
        least = f'{bar(labels, floor()):.3f} (chance or letters by position)'
        fault = f'validation AUROC {reached:.3f}, not above {least},'
        then = dataclasses.replace(found.progress, step=found.asleep)
        again = segments.start_again(then, job, recipe, fault, asleep=True)
        if again.progress is not None:
            return _Outcome(again.progress, note=again.note)
        note = again.note
    ends = found.progress.stopped or found.progress.step >= plan.steps
    return _Outcome(
        None if ends else found.progress, found.progress if ends else None, found.choice, found.epochs, note
    )


def _finished(outcomes: Sequence[_Outcome | None], arrays: stack.SlotState, recipe: Recipe) -> tuple[Finished, ...]:
    """The jobs that have ended, with their best parameters."""
    ended = [(slot, o.ended) for slot, o in enumerate(outcomes) if o is not None and o.ended is not None]
    best = jax.device_get(arrays.best) if ended else None  # as a whole: to cut on the device is a program per shape

    def params(slot: int, last: Progress) -> Any:
        if not last.best_epoch or last.attempt > recipe.retries:
            return None
        return jax.tree.map(lambda x: np.array(x[slot]), best)

    return tuple(
        Finished(last.job, last.attempt, last.step, last.best_epoch, last.best_auroc, params(slot, last), last.asleep)
        for slot, last in ended
    )


@functools.lru_cache(maxsize=16)
def _compiled(spec_name, dropout_bits, reverse_complement, average_strands, hoist, precision, width, mesh):
    """The two programs of a training, compiled once for each combination of static settings."""

    def segment(*arguments):
        with jax.default_matmul_precision(PRECISIONS[precision]):  # as they are traced, the gradients' products too
            return stack.run_segment(
                *arguments,
                spec=resolve(spec_name),
                dropout_bits=dropout_bits,
                reverse_complement=reverse_complement,
                average_strands=average_strands,
                hoist=hoist,
            )

    return (
        stack.over_models(segment, width, mesh, shared=1, donate=True),
        stack.over_models(stack.adopt, 0, mesh, donate=True),
    )


def programs_of(job: Job, recipe: Recipe, machine: Machine, mesh: jax.sharding.Mesh):
    """The two compiled programs that train a job and its like: `stack.run_segment` and `stack.adopt` over slots."""
    width = stack.default_width(mesh) if machine.width is None else machine.width
    hoist = mesh.devices.flat[0].platform != 'cpu' if machine.hoist is None else machine.hoist
    return _compiled(
        job.spec,
        job.dropout_bits,
        recipe.reverse_complement,
        recipe.average_strands,
        hoist,
        machine.precision,
        width,
        mesh,
    )
