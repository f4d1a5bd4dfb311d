"""The training loop, the only one: it walks jobs through slots and yields what it measured.

Nothing here logs, prints or writes: the caller does, from the reports.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from demo_jax.evaluation.metrics import auroc
from demo_jax.nn.models import SPECS
from demo_jax.training import stack
from demo_jax.training.jobs import Job, Plan, Recipe, batches, epoch_order, learning_rates, make_plan
from demo_jax.training.pool import Pool, TaskRows
from demo_jax.training.step import Hyper, job_hyper

#: At most this many epochs of a job may end in one segment: each needs a copy of the parameters.
MAX_SNAPSHOTS = 8
_SAME = 1e-3  # scores that differ by less are the same: a model that learns spreads them a hundred times as far


@dataclasses.dataclass(frozen=True)
class Machine:
    """How the work is laid out; it changes the speed, and the results only by rounding.

    Attributes:
      width: models in lockstep per device; None = 1 on a CPU and all elsewhere (0 also means all).
      slots: models held at once; 0 = one per device on a CPU, all jobs elsewhere.
      segment_steps: training steps per call; 0 = 32 on a CPU, 256 elsewhere.
      hoist: see `ops.bilstm_scan`; None = not on a CPU.
    """

    width: int | None = None
    slots: int = 0
    segment_steps: int = 0
    hoist: bool | None = None


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a slot's job stands between segments: plain numbers, kept as JSON in checkpoints.

    Attributes:
      job: index of the job.
      attempt: 0, and one more for each new start after it diverged or died.
      step: steps done.
      loss_sum, gradient_sum, update_sum: sums over the steps of the epoch under way.
      best_epoch, best_auroc: the best epoch (1-based; 0 = none yet) by validation AUROC.
      stopped: patience has run out; later epochs do not count.
    """

    job: int
    attempt: int = 0
    step: int = 0
    loss_sum: float = 0.0
    gradient_sum: float = 0.0
    update_sum: float = 0.0
    best_epoch: int = 0
    best_auroc: float = -1.0
    stopped: bool = False


@dataclasses.dataclass(frozen=True)
class EpochRecord:
    """One epoch of one job; losses in nats, epoch 1-based."""

    job: int
    attempt: int
    epoch: int
    step: int
    learning_rate: float
    train_loss: float
    gradient_norm: float
    update_norm: float
    valid_loss: float
    valid_auroc: float


@dataclasses.dataclass(frozen=True)
class Finished:
    """A job that ended. `params` are those of its best epoch, None when every attempt diverged."""

    job: int
    attempt: int
    steps: int
    best_epoch: int
    best_auroc: float
    params: Any


@dataclasses.dataclass(frozen=True)
class FitState:
    """All that a later call needs to go on: the slots' progress, the jobs waiting, and the arrays."""

    progress: tuple[Progress | None, ...]
    waiting: tuple[int, ...]
    arrays: stack.SlotState


@dataclasses.dataclass(frozen=True)
class Report:
    """What one segment brought. `steps` counts training steps over all slots."""

    steps: int
    epochs: tuple[EpochRecord, ...]
    finished: tuple[Finished, ...]
    notes: tuple[str, ...]
    state: FitState


@dataclasses.dataclass(frozen=True)
class Layout:
    """The fixed sizes of one compiled training program.

    Attributes:
      slots: W, a multiple of the number of devices.
      steps: S, training steps per segment.
      snapshots: K, epochs that can end in a segment.
      scored: E, validation batches per segment.
    """

    slots: int
    steps: int
    snapshots: int
    scored: int


def make_layout(plans: Sequence[Plan], n_valid: Sequence[int], recipe: Recipe, machine: Machine, mesh) -> Layout:
    """Sizes that suit all jobs of a program; an epoch more than `MAX_SNAPSHOTS` waits for the next segment."""
    devices = mesh.devices.size
    on_cpu = mesh.devices.flat[0].platform == 'cpu'
    steps = machine.segment_steps or (32 if on_cpu else 256)
    steps = min(steps, max(plan.steps for plan in plans))
    ends = [min(MAX_SNAPSHOTS, steps // plan.steps_per_epoch + 1) for plan in plans]
    scored = max(k * -(-count // recipe.batch_size) for k, count in zip(ends, n_valid, strict=True))
    slots = machine.slots or (devices if on_cpu else len(plans))
    slots = min(slots, len(plans))
    return Layout(-(-slots // devices) * devices, steps, max(ends), max(scored, 1))


@dataclasses.dataclass(frozen=True)
class _Part:
    """What one slot does in one segment, on the host's side."""

    start: int
    stop: int
    ends: tuple[int, ...]  # epochs (0-based) that end in it, in order
    work: stack.Work


def fit(
    jobs: Sequence[Job],
    pool: Pool,
    rows: Mapping[str, TaskRows],
    recipe: Recipe,
    *,
    machine: Machine = Machine(),  # noqa: B008 (frozen)
    devices: list[jax.Device] | None = None,
    resume: FitState | None = None,
) -> Iterator[Report]:
    """Train jobs of one spec, many at once, and yield a report after every segment.

    The jobs wait in a queue, longest first; each slot works on one and takes the next when it is
    done. What a job computes depends on the job alone, never on its slot or company (with other
    widths, equal up to rounding).

    Args:
      jobs: of one spec and one `dropout_bits` (see `jobs.programs`).
      pool: all sequences, NumPy arrays.
      rows: the rows of each task.
      recipe: how to train.
      machine: how to lay out the work.
      devices: which to use; default: all of this process.
      resume: state of an earlier report, to go on from there.

    Raises:
      ValueError: the jobs need more than one program.
    """
    if len({(job.spec, job.dropout_bits) for job in jobs}) != 1:
        raise ValueError('jobs of one call must share the spec and the dropout bits')
    by_index = {job.index: job for job in jobs}
    plans = {job.index: make_plan(recipe, len(rows[job.task].train)) for job in jobs}
    mesh = stack.model_mesh(devices)
    layout = make_layout(
        [plans[job.index] for job in jobs], [len(rows[job.task].valid) for job in jobs], recipe, machine, mesh
    )
    segment, keep = _programs(jobs[0], recipe, machine, mesh)
    device_pool = stack.put(pool, mesh, mapped=False)
    if resume is None:
        waiting = tuple(sorted(by_index, key=lambda index: (-plans[index].steps, index)))
        resume = FitState((None,) * layout.slots, waiting, _empty(jobs[0], layout))
    progress, waiting = list(resume.progress), list(resume.waiting)
    layout = dataclasses.replace(layout, slots=len(progress))
    arrays = stack.put(_with_snapshots(resume.arrays, layout), mesh)
    orders = functools.lru_cache(maxsize=4 * layout.slots)(
        lambda index, epoch: epoch_order(recipe, by_index[index], rows[by_index[index].task], epoch)
    )
    idle = _idle_work(recipe, layout)
    while waiting or any(progress):
        for slot, current in enumerate(progress):
            if current is None and waiting:
                progress[slot] = Progress(waiting.pop(0))
        parts = [
            None if p is None else _plan_part(p, by_index[p.job], plans[p.job], rows, recipe, layout, orders)
            for p in progress
        ]
        work = jax.tree.map(lambda *xs: np.stack(xs), *[idle if part is None else part.work for part in parts])
        arrays, measured = segment(device_pool, arrays, stack.put(work, mesh))
        measured = jax.device_get(measured)
        records, notes, choice = [], [], np.full(layout.slots, -1, np.int32)
        ended: list[tuple[int, Progress]] = []
        for slot, (before, part) in enumerate(zip(progress, parts, strict=True)):
            if before is None or part is None:
                continue
            job, plan = by_index[before.job], plans[before.job]
            seen = jax.tree.map(lambda x, slot=slot: x[slot], measured)
            fault = _fault(seen, part, len(rows[job.task].valid))
            if fault:
                after, note = _start_again(before, job, recipe, fault)
                notes.append(note)
                if after is None:
                    ended.append((slot, before))
            else:
                labels = pool.labels[rows[job.task].valid]
                after, new, choice[slot] = _account(before, part, plan, job, recipe, seen, labels)
                records.extend(new)
                if after.stopped or after.step >= plan.steps:
                    ended.append((slot, after))
                    after = None
            progress[slot] = after
        if (choice >= 0).any():
            arrays = keep(arrays, stack.put(choice, mesh))
        finished = tuple(
            Finished(
                p.job, p.attempt, p.step, p.best_epoch, p.best_auroc,
                None if not p.best_epoch or p.attempt > recipe.retries
                else jax.device_get(jax.tree.map(lambda x, slot=slot: x[slot], arrays.best)),
            )
            for slot, p in ended
        )  # fmt: skip
        yield Report(
            steps=sum(part.stop - part.start for part in parts if part is not None),
            epochs=tuple(records),
            finished=finished,
            notes=tuple(notes),
            state=FitState(tuple(progress), tuple(waiting), arrays),
        )


@functools.lru_cache(maxsize=16)
def _compiled(spec_name, dropout_bits, reverse_complement, average_strands, hoist, width, mesh):
    """The two programs of a training, compiled once for each combination of static settings."""
    segment = functools.partial(
        stack.run_segment,
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


def _programs(job: Job, recipe: Recipe, machine: Machine, mesh):
    width = stack.default_width(mesh) if machine.width is None else machine.width
    hoist = mesh.devices.flat[0].platform != 'cpu' if machine.hoist is None else machine.hoist
    return _compiled(job.spec, job.dropout_bits, recipe.reverse_complement, recipe.average_strands, hoist, width, mesh)


def _empty(job: Job, layout: Layout) -> stack.SlotState:
    one = stack.slot_shapes(SPECS[job.spec], layout.snapshots)
    return jax.tree.map(lambda x: np.zeros((layout.slots, *x.shape), x.dtype), one)


def _with_snapshots(arrays: stack.SlotState, layout: Layout) -> stack.SlotState:
    """The arrays with a blank place for the snapshots: nothing in it outlives a segment."""
    snapshots = jax.tree.map(lambda p: np.zeros((p.shape[0], layout.snapshots + 1, *p.shape[1:]), p.dtype), arrays.best)
    return dataclasses.replace(arrays, snapshots=snapshots)


def _idle_work(recipe: Recipe, layout: Layout) -> stack.Work:
    """A segment in which a slot does nothing."""
    zero = np.zeros((), np.int32)
    return stack.Work(
        hyper=Hyper(np.zeros(2, np.uint32), *(np.zeros((), np.float32) for _ in range(4))),
        fresh=np.zeros((), bool),
        n_steps=zero,
        rows=np.full((layout.steps, recipe.batch_size), -1, np.int32),
        turned=np.zeros((layout.steps, recipe.batch_size), bool),
        learning_rate=np.zeros(layout.steps, np.float32),
        snapshot=np.full(layout.steps, layout.snapshots, np.int32),
        n_scored=zero,
        scored_rows=np.full((layout.scored, recipe.batch_size), -1, np.int32),
        scored_snapshot=np.zeros(layout.scored, np.int32),
    )


def _plan_part(progress, job, plan, rows, recipe, layout, orders) -> _Part:
    """The next steps of a job: until the segment is full, the snapshots are, or the job ends."""
    work = _idle_work(recipe, layout)
    start, per_epoch = progress.step, plan.steps_per_epoch
    stop = min(start + layout.steps, plan.steps, (start // per_epoch + layout.snapshots) * per_epoch)
    ends = tuple(epoch for epoch in range(start // per_epoch, stop // per_epoch))
    for step in range(start, stop):
        order = orders(job.index, step // per_epoch)
        work.rows[step - start] = order.rows[step % per_epoch]
        work.turned[step - start] = order.turned[step % per_epoch]
    for place, epoch in enumerate(ends):
        work.snapshot[(epoch + 1) * per_epoch - 1 - start] = place
    valid = batches(rows[job.task].valid, recipe.batch_size)
    count = len(valid) * len(ends)
    work.scored_rows[:count] = np.tile(valid, (len(ends), 1))
    work.scored_snapshot[:count] = np.repeat(np.arange(len(ends)), len(valid))
    steps = np.arange(start, start + layout.steps)
    peak = job.learning_rate * 0.5**progress.attempt
    return _Part(
        start,
        stop,
        ends,
        dataclasses.replace(
            work,
            hyper=job_hyper(job, recipe),
            fresh=np.asarray(start == 0),
            n_steps=np.array(stop - start, np.int32),
            learning_rate=learning_rates(recipe, plan, peak, steps),
            n_scored=np.array(count, np.int32),
        ),
    )


def _fault(seen: stack.Measured, part: _Part, n_valid: int) -> str:
    """What is wrong with a segment, '' if nothing: a value that is not finite, or a model that has died.

    A rate that is too high can push every ReLU below zero for good, or all of a layer's units into states that the
    sequence no longer changes: then all sequences score the same, but for rounding (in log odds, `_SAME`).
    """
    done, scores = slice(part.stop - part.start), seen.scores[: int(part.work.n_scored)]
    if not all(np.isfinite(values).all() for values in (seen.loss[done], seen.update_norm[done], scores)):
        return 'not finite'
    epochs = scores.reshape(max(len(part.ends), 1), -1)[:, :n_valid]
    if scores.size and (np.ptp(epochs, axis=1) < _SAME).any():
        return 'the same score for every sequence'
    return ''


def _start_again(before: Progress, job: Job, recipe: Recipe, fault: str) -> tuple[Progress | None, str]:
    """What becomes of a job that diverged or died, and the note for the run."""
    rate = job.learning_rate * 0.5**before.attempt
    where = f'{job.label}: {fault} after step {before.step} at learning rate {rate:g}'
    if before.attempt >= recipe.retries:
        return None, f'{where}; given up after {before.attempt + 1} attempts'
    return Progress(before.job, before.attempt + 1), f'{where}; started again at {rate / 2:g}'


def _account(before, part, plan, job, recipe, seen, labels) -> tuple[Progress, list[EpochRecord], int]:
    """Enter a segment's measurements: the new progress, its epochs, and which snapshot is the best (or -1)."""
    now, choice, records = before, -1, []
    per_epoch, first = plan.steps_per_epoch, part.start
    n_batches = int(part.work.n_scored) // max(len(part.ends), 1)
    for place, epoch in enumerate((*part.ends, None)):
        last = part.stop if epoch is None else (epoch + 1) * per_epoch
        span = slice(first - part.start, last - part.start)
        now = dataclasses.replace(
            now,
            step=last,
            loss_sum=now.loss_sum + float(seen.loss[span].sum(dtype=np.float64)),
            gradient_sum=now.gradient_sum + float(seen.gradient_norm[span].sum(dtype=np.float64)),
            update_sum=now.update_sum + float(seen.update_norm[span].sum(dtype=np.float64)),
        )
        first = last
        if epoch is None:
            break
        scores = seen.scores[place * n_batches : (place + 1) * n_batches].reshape(-1)[: len(labels)]
        record = EpochRecord(
            job=job.index,
            attempt=now.attempt,
            epoch=epoch + 1,
            step=last,
            learning_rate=float(part.work.learning_rate[last - part.start - 1]),
            train_loss=now.loss_sum / per_epoch,
            gradient_norm=now.gradient_sum / per_epoch,
            update_norm=now.update_sum / per_epoch,
            valid_loss=float(np.logaddexp(0, np.where(labels == 1, -scores, scores).astype(np.float64)).mean()),
            valid_auroc=float(auroc(labels, scores)),
        )
        records.append(record)
        now = dataclasses.replace(now, loss_sum=0.0, gradient_sum=0.0, update_sum=0.0)
        if record.valid_auroc > now.best_auroc:
            now, choice = dataclasses.replace(now, best_epoch=epoch + 1, best_auroc=record.valid_auroc), place
        elif recipe.patience and epoch + 1 - now.best_epoch >= recipe.patience:
            now = dataclasses.replace(now, stopped=True)
            break
    return now, records, choice
