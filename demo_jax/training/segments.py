"""One segment of one job on the host's side: what its slot is to do, and what came of it (pure)."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from demo_jax.evaluation.metrics import auroc
from demo_jax.training import stack, waking
from demo_jax.training.jobs import Job, Order, Plan, Recipe, batches, learning_rates
from demo_jax.training.machine import ProgramSizes
from demo_jax.training.pool import TaskRows
from demo_jax.training.state import EpochRecord, Progress
from demo_jax.training.step import Hyper, job_hyper

_SAME = 1e-3  # scores that differ by less are the same: a model that learns spreads them a hundred times as far


@dataclasses.dataclass(frozen=True)
class Part:
    """What one slot does in one segment: steps `start` to `stop` of its job."""

    start: int
    stop: int
    ends: tuple[int, ...]  # epochs (0-based) that end in it, in order
    work: stack.Work


def idle_work(recipe: Recipe, sizes: ProgramSizes) -> stack.Work:
    """A segment in which a slot does nothing."""
    zero = np.zeros((), np.int32)
    return stack.Work(
        hyper=Hyper(np.zeros(2, np.uint32), *(np.zeros((), np.float32) for _ in range(6))),
        fresh=np.zeros((), bool),
        n_steps=zero,
        rows=np.full((sizes.steps, recipe.batch_size), -1, np.int32),
        turned=np.zeros((sizes.steps, recipe.batch_size), bool),
        learning_rate=np.zeros(sizes.steps, np.float32),
        snapshot=np.full(sizes.steps, sizes.snapshots, np.int32),
        n_scored=zero,
        scored_rows=np.full((sizes.scored, recipe.batch_size), -1, np.int32),
        scored_snapshot=np.zeros(sizes.scored, np.int32),
    )


def plan_part(
    progress: Progress,
    job: Job,
    plan: Plan,
    rows: TaskRows,
    recipe: Recipe,
    sizes: ProgramSizes,
    orders: Callable[[int], Order],
) -> Part:
    """The next steps of a job: until the segment is full, the snapshots are, or the job ends.

    `rows` are the job's task's; `orders(epoch)` is the order of its examples.
    """
    work = idle_work(recipe, sizes)
    start, per_epoch = progress.step, plan.steps_per_epoch
    stop = min(start + sizes.steps, plan.steps, (start // per_epoch + sizes.snapshots) * per_epoch)
    ends = tuple(epoch for epoch in range(start // per_epoch, stop // per_epoch))
    for step in range(start, stop):
        order = orders(step // per_epoch)
        work.rows[step - start] = order.rows[step % per_epoch]
        work.turned[step - start] = order.turned[step % per_epoch]
    for place, epoch in enumerate(ends):
        work.snapshot[(epoch + 1) * per_epoch - 1 - start] = place
    valid = batches(rows.valid, recipe.batch_size)
    count = len(valid) * len(ends)
    work.scored_rows[:count] = np.tile(valid, (len(ends), 1))
    work.scored_snapshot[:count] = np.repeat(np.arange(len(ends)), len(valid))
    steps = np.arange(start, start + sizes.steps)
    peak = job.learning_rate * 0.5**progress.halvings
    return Part(
        start,
        stop,
        ends,
        dataclasses.replace(
            work,
            hyper=job_hyper(job, recipe, progress.asleep),
            fresh=np.asarray(start == 0),
            n_steps=np.array(stop - start, np.int32),
            learning_rate=learning_rates(recipe, plan, peak, steps),
            n_scored=np.array(count, np.int32),
        ),
    )


def fault_of(seen: stack.Measured, part: Part, n_valid: int) -> str:
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


@dataclasses.dataclass(frozen=True)
class NewStart:
    """What becomes of a job that diverged or died (None = given up), and the note for the run."""

    progress: Progress | None
    note: str


def start_again(before: Progress, job: Job, recipe: Recipe, fault: str, asleep: bool = False) -> NewStart:
    """Start a job again at half the rate, or give it up; one that was asleep is kept when there is no attempt left.

    The first time that it was asleep, it starts again with other weights at the rate that it had.
    """
    rate = job.learning_rate * 0.5**before.halvings
    where = f'{job.label}: {fault} after step {before.step} at learning rate {rate:g}'
    if before.attempt >= recipe.retries and asleep:
        return NewStart(None, f'{where}; it is kept after {before.attempt + 1} attempts')
    if before.attempt >= recipe.retries:
        return NewStart(None, f'{where}; given up after {before.attempt + 1} attempts')
    again = Progress(before.job, before.attempt + 1, asleep=before.asleep + asleep)
    rate = job.learning_rate * 0.5**again.halvings
    return NewStart(again, f'{where}; started again at {rate:g}')


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a segment brought a job.

    Attributes:
      progress: its new progress.
      epochs: those that ended.
      choice: which snapshot is the best so far, or -1.
      asleep: the step at which it was found not to have begun to learn; 0 = it has, or was not asked.
    """

    progress: Progress
    epochs: tuple[EpochRecord, ...]
    choice: int
    asleep: int


def account(
    before: Progress,
    part: Part,
    plan: Plan,
    job: Job,
    recipe: Recipe,
    seen: stack.Measured,
    labels: np.ndarray,
    floor: Callable[[], float],
) -> Outcome:
    """Enter the measurements of a job's segment; `labels` (V,) are those of its validation rows.

    `floor()` is the AUROC of letters by position there (see `waking.position_auroc`).
    """
    now, choice, records, asleep = before, -1, [], 0
    due = recipe.waking * plan.steps
    attempts_left = now.attempt < recipe.retries
    patience = recipe.patience and max(recipe.patience, math.ceil(recipe.patience_share * plan.epochs))
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
        scores = np.asarray(seen.scores)[place * n_batches : (place + 1) * n_batches].reshape(-1)[: len(labels)]
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
        recent = (*now.recent, record.valid_auroc)[-waking.RECENT :]
        now = dataclasses.replace(
            now,
            loss_sum=0.0,
            gradient_sum=0.0,
            update_sum=0.0,
            recent=recent,
            steady=max(now.steady, float(np.mean(recent)) if len(recent) == waking.RECENT else 0.0),
        )
        if record.valid_auroc > now.best_auroc:
            now, choice = dataclasses.replace(now, best_epoch=epoch + 1, best_auroc=record.valid_auroc), place
        elif patience and epoch + 1 - now.best_epoch >= patience:
            now = dataclasses.replace(now, stopped=True)
        over = now.stopped or last >= plan.steps
        asked = over or (last >= due and len(recent) == waking.RECENT and not waking.rises(recent))
        if recipe.waking and asked and (over or attempts_left):
            steady = now.steady or float(np.mean(recent))
            asleep = last if steady < waking.bar(labels, floor()) else 0
        if now.stopped or asleep:
            break
    return Outcome(now, tuple(records), choice, asleep)
