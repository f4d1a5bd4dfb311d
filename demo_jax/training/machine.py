"""How the work is laid out on a machine, and the fixed sizes of a training program (pure)."""

import dataclasses
from collections.abc import Sequence

from demo_jax.errors import InputError, brief
from demo_jax.io.settings import PYTHON_ONLY
from demo_jax.nn.architecture import AnyArchitecture
from demo_jax.nn.cost import bytes_per_model
from demo_jax.nn.kernels import Array
from demo_jax.training.jobs import Plan, Recipe

#: At most this many epochs of a job may end in one segment: each needs a copy of the parameters.
MAX_SNAPSHOTS = 8

#: Models on one GPU or TPU at once, if nothing else is asked: the paper's 108. Fewer where its memory has no room.
MAX_SLOTS = 128

#: What `Machine.precision` asks of every matrix product, as `jax.default_matmul_precision` names it. Parameters,
#: moments, sums and everything that is no product are float32 in all three.
PRECISIONS = {
    'float32': 'float32',
    'tf32': 'tensorfloat32',  # operands rounded to 10 bits of mantissa
    'bf16': 'BF16_BF16_F32',  # to 7 bits
}


@dataclasses.dataclass(frozen=True)
class Machine:
    """How the work is laid out; all but `hoist` and `precision` change the results by rounding alone.

    Attributes:
      width: models in lockstep per device; None = 1 on a CPU and all elsewhere (0 also means all).
      slots: models held at once; 0 = one per device on a CPU, elsewhere all jobs, at most `MAX_SLOTS` per device.
      segment_steps: training steps per call; 0 = 32 on a CPU, 256 elsewhere.
      hoist: see `step.train_step`, which with dropout draws other masks then; None = not on a CPU.
      precision: of matrix products in training, one of `PRECISIONS`. A CPU multiplies in float32 whatever is asked.
    """

    width: int | None = None
    slots: int = 0
    segment_steps: int = 0
    hoist: bool | None = dataclasses.field(default=None, metadata=PYTHON_ONLY)
    precision: str = 'float32'

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(f'machine: precision is {brief(self.precision)}, expected one of {", ".join(PRECISIONS)}')
        for name in ('width', 'slots', 'segment_steps'):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise InputError(f'machine: {name} is {value}, expected 0 (chosen for the machine) or more')


@dataclasses.dataclass(frozen=True)
class ProgramSizes:
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

    def over(self, n_devices: int) -> 'ProgramSizes':
        """The same with as many more slots as so many devices need to have equally many."""
        return dataclasses.replace(self, slots=-(-self.slots // n_devices) * n_devices)


def models_that_fit(memory: int | None, spec: AnyArchitecture, batch: int, tokens: Array) -> int | None:
    """How many models four fifths of a device's memory have room for beside the pool's tokens (R, L).

    Args:
      memory: bytes of the device; None = it does not tell, and so does this.
      spec: the architecture.
      batch: sequences per step.
      tokens: of the pool.
    """
    if memory is None:
        return None
    return max(1, int((0.8 * memory - tokens.nbytes) / bytes_per_model(spec, batch, tokens.shape[1])))


def program_sizes(
    plans: Sequence[Plan],
    n_valid: Sequence[int],
    recipe: Recipe,
    machine: Machine,
    *,
    n_devices: int,
    on_cpu: bool,
    room: int | None = None,
) -> ProgramSizes:
    """Sizes that suit all jobs of a program; an epoch more than `MAX_SNAPSHOTS` waits for the next segment.

    Where the devices do not divide the number of jobs, some slots stay idle. `room` is how many models the memory
    of one device has room for, None = not known.
    """
    steps = machine.segment_steps or (32 if on_cpu else 256)
    steps = min(steps, max(plan.steps for plan in plans))
    ends = [min(MAX_SNAPSHOTS, steps // plan.steps_per_epoch + 1) for plan in plans]
    scored = max(k * -(-count // recipe.batch_size) for k, count in zip(ends, n_valid, strict=True))
    most = n_devices * (1 if on_cpu else max(1, min(MAX_SLOTS, room or MAX_SLOTS)))
    rounds = -(-len(plans) // most)
    slots = min(machine.slots or -(-len(plans) // rounds), len(plans))
    return ProgramSizes(slots, steps, max(ends), max(scored, 1)).over(n_devices)
