"""What a training says of itself between segments: progress, measurements, and all that going on needs (pure)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from demo_jax.nn.models import Params
from demo_jax.training import stack
from demo_jax.training.step import ModelState


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a job stands between segments: plain numbers, kept as JSON in checkpoints.

    Attributes:
      job: index of the job.
      attempt: 0, and one more for each new start after it diverged, died or did not begin to learn.
      asleep: how many of the new starts were because it had not begun to learn.
      step: steps done.
      loss_sum, gradient_sum, update_sum: sums over the steps of the epoch under way.
      best_epoch, best_auroc: the best epoch (1-based; 0 = none yet) by validation AUROC.
      stopped: patience has run out; later epochs do not count.
      recent: the last validation AUROCs, at most `waking.RECENT`.
      steady: the best mean of so many in a row, 0 = there were fewer.
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
    asleep: int = 0
    recent: tuple[float, ...] = ()
    steady: float = 0.0

    @property
    def halvings(self) -> int:
        """How often the learning rate has been halved: at every new start but the first for want of learning."""
        return self.attempt - min(self.asleep, 1)


@dataclasses.dataclass(frozen=True)
class Started:
    """A job under way, taken out of its slot: it can go on in any slot, on any device, of any process.

    Attributes:
      progress: its numbers.
      model: its parameters and moments, NumPy arrays.
      best: parameters of its best epoch so far.
    """

    progress: Progress
    model: ModelState
    best: Params


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
    """A job that ended. `params` are of its best epoch, None when every attempt diverged; the rest as in `Progress`."""

    job: int
    attempt: int
    steps: int
    best_epoch: int
    best_auroc: float
    params: Any
    asleep: int = 0


@dataclasses.dataclass(frozen=True)
class FitState:
    """Where a training stands between segments.

    Attributes:
      progress: per slot; None = idle.
      arrays: what the devices keep of the slots. The next segment takes their buffers: read them before.
      parked: jobs that were under way when the training began and still wait for a slot.
    """

    progress: tuple[Progress | None, ...]
    arrays: stack.SlotState
    parked: tuple[Started, ...] = ()

    def started(self) -> tuple[Started, ...]:
        """Every job under way, copied to the host: what a later `fit` needs to go on."""
        model, best = jax.device_get((self.arrays.model, self.arrays.best))
        found = [
            Started(
                progress,
                jax.tree.map(lambda x, slot=slot: np.array(x[slot]), model),
                jax.tree.map(lambda x, slot=slot: np.array(x[slot]), best),
            )
            for slot, progress in enumerate(self.progress)
            if progress is not None
        ]
        return (*found, *self.parked)


@dataclasses.dataclass(frozen=True)
class Report:
    """What one segment brought. `slot_steps` are the training steps that each slot did."""

    slot_steps: tuple[int, ...]
    epochs: tuple[EpochRecord, ...]
    finished: tuple[Finished, ...]
    notes: tuple[str, ...]
    state: FitState

    @property
    def steps(self) -> int:
        """Training steps over all slots."""
        return sum(self.slot_steps)


def placed(arrays: stack.SlotState, jobs: Mapping[int, Started]) -> stack.SlotState:
    """The slots' arrays, on the host, with these jobs in these slots."""
    model, best = jax.tree.map(np.array, jax.device_get((arrays.model, arrays.best)))
    for slot, job in jobs.items():
        for whole, part in ((model, job.model), (best, job.best)):
            for target, leaf in zip(jax.tree.leaves(whole), jax.tree.leaves(part), strict=True):
                target[slot] = leaf
    return stack.SlotState(model, best, arrays.snapshots)
