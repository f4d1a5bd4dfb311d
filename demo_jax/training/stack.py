"""Many models in one program: a function of one model, mapped over a stack and sharded over devices.

A *segment* is one call: each slot of the stack does its own number of training steps and then scores
the validation rows of every epoch that ended on the way. Slots are mapped outside, steps inside: on a
CPU a model stays in the cache for a whole segment, on a GPU the full width makes it one batched scan.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from demo_jax.nn.architecture import AnyArchitecture
from demo_jax.nn.kernels import Array
from demo_jax.nn.models import Params
from demo_jax.training import step as one_model
from demo_jax.training.pool import Pool

AXIS = 'models'


def model_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """A mesh of this process's devices (or of those given) with the one axis 'models'."""
    return Mesh(np.array(devices or jax.local_devices()), (AXIS,))


def default_width(mesh: Mesh) -> int:
    """Models in step per device: 1 on a CPU, where a model then stays in the cache; 0 = all elsewhere."""
    return 1 if mesh.devices.flat[0].platform == 'cpu' else 0


def over_models(
    function: Callable[..., Any], width: int, mesh: Mesh, *, shared: int = 0, donate: bool = False
) -> jax.stages.Wrapped:
    """Map a function of one model over the leading axis of its arguments, in one compiled program.

    The models are sharded over the mesh, and each device walks through its own: `width` at a time, in
    lockstep. No device ever talks to another.

    Args:
      function: `function(*shared_arguments, *mapped_arguments)` for one model; pytrees of arrays.
      width: models mapped at once (`vmap`) on each device; 0 = all that the device has.
      mesh: from `model_mesh`; its size must divide the number of models.
      shared: how many leading arguments are the same for all models (not mapped, replicated).
      donate: the first mapped argument's buffers may be reused for the result.

    Returns:
      The compiled function. Its result has the models' axis in front.
    """

    def local(*arguments):
        common, mapped = arguments[:shared], arguments[shared:]

        def one(xs):
            return function(*common, *xs)

        count = jax.tree.leaves(mapped)[0].shape[0]
        if width == 1 == count:  # as in the loop below, to the last bit: under `vmap` it would be another program
            return jax.tree.map(lambda y: y[None], one(jax.tree.map(lambda x: x[0], mapped)))
        if width == 0 or width >= count:
            return jax.vmap(one)(mapped)
        if width == 1:
            return jax.lax.map(one, mapped)
        return jax.lax.map(one, mapped, batch_size=width)

    def mapped(*arguments):
        specs = tuple(PartitionSpec() if i < shared else PartitionSpec(AXIS) for i in range(len(arguments)))
        return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(AXIS), check_vma=False)(
            *arguments
        )

    return jax.jit(mapped, donate_argnums=(shared,) if donate else ())


def put(tree: Any, mesh: Mesh, *, mapped: bool = True) -> Any:
    """Place arrays on the devices of the mesh: split along the models, or a copy on each."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(AXIS) if mapped else PartitionSpec()))


@struct.dataclass
class SlotState:
    """What the device keeps of a slot between segments.

    Attributes:
      model: the model in training.
      best: parameters of its best epoch so far.
      snapshots: parameters at the ends of the segment's epochs, a leading axis of K + 1; the last is a
        scratch place.
    """

    model: one_model.ModelState
    best: Params
    snapshots: Params


@struct.dataclass
class Work:
    """What a slot is to do in a segment (a leading axis of models when stacked).

    Attributes:
      hyper: the job's settings.
      fresh: bool; start from newly initialised parameters.
      n_steps: int32, training steps.
      rows: int32 (S, B), pool rows per step.
      turned: bool (S, B).
      learning_rate: float32 (S,).
      snapshot: int32 (S,), the place 0..K-1 where the parameters after this step are kept, K = nowhere.
      n_scored: int32, batches to score.
      scored_rows: int32 (E, B).
      scored_snapshot: int32 (E,), with which snapshot.
    """

    hyper: one_model.Hyper
    fresh: Array
    n_steps: Array
    rows: Array
    turned: Array
    learning_rate: Array
    snapshot: Array
    n_scored: Array
    scored_rows: Array
    scored_snapshot: Array


@struct.dataclass
class Measured:
    """What a segment measured: loss, gradient_norm, update_norm (S,) per step; scores (E, B) of validation batches."""

    loss: Array
    gradient_norm: Array
    update_norm: Array
    scores: Array


def slot_shapes(spec: AnyArchitecture, n_snapshots: int) -> SlotState:
    """Shapes and dtypes (`jax.ShapeDtypeStruct`) of one slot's arrays."""

    def empty() -> SlotState:
        hyper = one_model.Hyper(jnp.zeros(2, jnp.uint32), *(jnp.zeros(()) for _ in range(6)))
        model = one_model.init_state(spec, hyper)
        snapshots = jax.tree.map(lambda p: jnp.zeros((n_snapshots + 1, *p.shape), p.dtype), model.params)
        return SlotState(model, model.params, snapshots)

    return jax.eval_shape(empty)


def blank_slots(spec: AnyArchitecture, n_slots: int, n_snapshots: int) -> SlotState:
    """Zeros for so many slots, NumPy arrays: what an idle slot holds."""
    return jax.tree.map(lambda x: np.zeros((n_slots, *x.shape), x.dtype), slot_shapes(spec, n_snapshots))


def run_segment(
    pool: Pool,
    slot: SlotState,
    work: Work,
    *,
    spec: AnyArchitecture,
    dropout_bits: int,
    reverse_complement: bool,
    average_strands: bool,
    hoist: bool,
) -> tuple[SlotState, Measured]:
    """One slot's segment: its steps, then the scores of the epochs that ended in it.

    The numbers of steps and of batches are dynamic: a slot with less to do takes less time on a CPU.
    """
    model = jax.lax.cond(work.fresh, lambda: one_model.init_state(spec, work.hyper), lambda: slot.model)
    train = functools.partial(one_model.train_step, spec=spec, dropout_bits=dropout_bits, hoist=hoist)
    score = functools.partial(one_model.score_rows, spec=spec, average_strands=average_strands, hoist=hoist)

    def one_step(i, carry):
        model, snapshots, measured = carry
        turned = work.turned[i] if reverse_complement else None
        model, metrics = train(model, work.hyper, pool, work.rows[i], turned, work.learning_rate[i])
        snapshots = jax.tree.map(lambda s, p: s.at[work.snapshot[i]].set(p), snapshots, model.params)
        measured = jax.tree.map(lambda m, v: m.at[i].set(v), measured, metrics)
        return model, snapshots, measured

    blank = jnp.zeros(work.rows.shape[0])
    start = (model, slot.snapshots, one_model.StepMetrics(blank, blank, blank))
    model, snapshots, metrics = jax.lax.fori_loop(0, work.n_steps, one_step, start)

    def one_batch(i, scores):
        # With a single batch, XLA infers i == 0 and moves the scoring out of the loop, so that it would run even for
        # n_scored == 0. The barrier prevents this.
        i, rows, kept = jax.lax.optimization_barrier((i, work.scored_rows, snapshots))
        params = jax.tree.map(lambda s: s[work.scored_snapshot[i]], kept)
        return scores.at[i].set(score(params, pool, rows[i]))

    scores = jax.lax.fori_loop(0, work.n_scored, one_batch, jnp.zeros(work.scored_rows.shape))
    measured = Measured(metrics.loss, metrics.gradient_norm, metrics.update_norm, scores)
    return SlotState(model, slot.best, snapshots), measured


def adopt(slot: SlotState, choice: Array) -> SlotState:
    """Keep snapshot number `choice`, a scalar, as the best parameters; -1 keeps the ones there are."""
    best = jax.tree.map(lambda b, s: jnp.where(choice >= 0, s[jnp.maximum(choice, 0)], b), slot.best, slot.snapshots)
    return dataclasses.replace(slot, best=best)


def score_all(
    pool: Pool, params: Params, rows: Array, *, spec: AnyArchitecture, average_strands: bool, hoist: bool
) -> Array:
    """Scores of one model on batches of rows (E, B) -> (E, B)."""
    score = functools.partial(one_model.score_rows, spec=spec, average_strands=average_strands, hoist=hoist)
    return jax.lax.map(lambda batch: score(params, pool, batch), rows)
