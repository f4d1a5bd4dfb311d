"""The training loop, the only one: it walks jobs through slots and yields what it measured.

Nothing here logs, prints or writes: the caller does, from the reports.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from demo_jax.nn.models import SPECS, ModelSpec
from demo_jax.nn.ops import Array
from demo_jax.training import segments, stack
from demo_jax.training.jobs import Job, Order, Recipe, epoch_order, make_plan
from demo_jax.training.layout import PRECISIONS, Machine, bytes_per_model, make_layout
from demo_jax.training.pool import Pool, TaskRows
from demo_jax.training.state import EpochRecord, Finished, FitState, Progress, Report, Started, placed


def fit(
    jobs: Sequence[Job],
    pool: Pool,
    rows: Mapping[str, TaskRows],
    recipe: Recipe,
    *,
    machine: Machine = Machine(),  # noqa: B008 (frozen)
    devices: list[jax.Device] | None = None,
    started: Sequence[Started] = (),
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

    Raises:
      ValueError: the jobs need more than one program, or `started` holds another job.
    """
    if len({(job.spec, job.dropout_bits) for job in jobs}) != 1:
        raise ValueError('jobs of one call must share the spec and the dropout bits')
    by_index = {job.index: job for job in jobs}
    plans = {job.index: make_plan(recipe, len(rows[job.task].train)) for job in jobs}
    parked = {job.progress.job: job for job in started}
    if not parked.keys() <= by_index.keys():
        raise ValueError(f'jobs {sorted(parked.keys() - by_index.keys())} are under way, but not to be trained')
    mesh = stack.model_mesh(devices)
    layout = make_layout(
        [plans[job.index] for job in jobs],
        [len(rows[job.task].valid) for job in jobs],
        recipe,
        machine,
        n_devices=mesh.devices.size,
        on_cpu=mesh.devices.flat[0].platform == 'cpu',
        room=_room(mesh.devices.flat[0], SPECS[jobs[0].spec], recipe.batch_size, pool.tokens),
    )
    segment, keep = programs_of(jobs[0], recipe, machine, mesh)
    device_pool = stack.put(pool, mesh, mapped=False)
    arrays = stack.put(stack.blank_slots(SPECS[jobs[0].spec], layout.slots, layout.snapshots), mesh)
    progress: list[Progress | None] = [None] * layout.slots
    begun = {index: job.progress for index, job in parked.items()}
    waiting = [begun.get(index, Progress(index)) for index in by_index]
    waiting.sort(key=lambda p: (p.step - plans[p.job].steps, p.job))

    @functools.lru_cache(maxsize=4 * layout.slots)
    def order(index: int, epoch: int) -> Order:
        return epoch_order(recipe, by_index[index], rows[by_index[index].task], epoch)

    idle = segments.idle_work(recipe, layout)
    while waiting or any(progress):
        resumed: dict[int, Started] = {}
        for slot, current in enumerate(progress):
            if current is None and waiting:
                progress[slot] = begin = waiting.pop(0)
                if begin.job in parked:
                    resumed[slot] = parked.pop(begin.job)
        if resumed:
            arrays = stack.put(placed(arrays, resumed), mesh)
        parts = [
            None
            if p is None
            else segments.plan_part(
                p, by_index[p.job], plans[p.job], rows[by_index[p.job].task], recipe, layout,
                functools.partial(order, p.job),
            )
            for p in progress
        ]  # fmt: skip
        work = jax.tree.map(lambda *xs: np.stack(xs), *[idle if part is None else part.work for part in parts])
        arrays, measured = segment(device_pool, arrays, stack.put(work, mesh))
        measured = jax.device_get(measured)
        records: list[EpochRecord] = []
        notes: list[str] = []
        choice = np.full(layout.slots, -1, np.int32)
        ended: list[tuple[int, Progress]] = []
        for slot, (before, part) in enumerate(zip(progress, parts, strict=True)):
            if before is None or part is None:
                continue
            job, plan = by_index[before.job], plans[before.job]
            seen = jax.tree.map(lambda x, slot=slot: x[slot], measured)
            fault = segments.fault_of(seen, part, len(rows[job.task].valid))
            if fault:
                new_start = segments.start_again(before, job, recipe, fault)
                notes.append(new_start.note)
                after = new_start.progress
                if after is None:
                    ended.append((slot, before))
            else:
                labels = np.asarray(pool.labels)[rows[job.task].valid]
                outcome = segments.account(before, part, plan, job, recipe, seen, labels)
                after, choice[slot] = outcome.progress, outcome.choice
                records.extend(outcome.epochs)
                if after.stopped or after.step >= plan.steps:
                    ended.append((slot, after))
                    after = None
            progress[slot] = after
        if (choice >= 0).any():
            arrays = keep(arrays, stack.put(choice, mesh))
        best = jax.device_get(arrays.best) if ended else None  # as a whole: to cut on the device is a program per shape
        finished = tuple(
            Finished(
                p.job, p.attempt, p.step, p.best_epoch, p.best_auroc,
                None if not p.best_epoch or p.attempt > recipe.retries
                else jax.tree.map(lambda x, slot=slot: np.array(x[slot]), best),
            )
            for slot, p in ended
        )  # fmt: skip
        yield Report(
            slot_steps=tuple(0 if part is None else part.stop - part.start for part in parts),
            epochs=tuple(records),
            finished=finished,
            notes=tuple(notes),
            state=FitState(tuple(progress), arrays, tuple(parked.values())),
        )


def _room(device: jax.Device, spec: ModelSpec, batch: int, tokens: Array) -> int | None:
    """How many models four fifths of a device's memory have room for beside the pool; None where it does not tell."""
    limit = (device.memory_stats() or {}).get('bytes_limit')
    if limit is None:
        return None
    return max(1, int((0.8 * limit - tokens.nbytes) / bytes_per_model(spec, batch, tokens.shape[1])))


@functools.lru_cache(maxsize=16)
def _compiled(spec_name, dropout_bits, reverse_complement, average_strands, hoist, precision, width, mesh):
    """The two programs of a training, compiled once for each combination of static settings."""

    def segment(*arguments):
        with jax.default_matmul_precision(PRECISIONS[precision]):  # as they are traced, the gradients' products too
            return stack.run_segment(
                *arguments,
                spec=SPECS[spec_name],
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
        job.spec, job.dropout_bits, recipe.reverse_complement, recipe.average_strands, hoist, machine.precision,
        width, mesh,
    )  # fmt: skip
