"""One model's training step and its scores: what `stack` maps over many models (pure)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from demo_jax.nn import kernels
from demo_jax.nn.architecture import AnyArchitecture
from demo_jax.nn.kernels import Array
from demo_jax.nn.models import Params
from demo_jax.training.jobs import Job, Recipe
from demo_jax.training.pool import Pool

ADAM = optax.scale_by_adam()
_FAN_IN: dict[str, tuple[int, ...]] = {'convolution': (0, 1), 'lstm': (1,)}  # axes of a kernel that a unit sums over


@struct.dataclass
class ModelState:
    """A model in training: its parameters, Adam's moments, and step, a scalar: how many it has done."""

    params: Params
    adam: optax.ScaleByAdamState
    step: Array


@struct.dataclass
class Hyper:
    """What differs between jobs, as scalars: so a grid is only more rows, never another program.

    Attributes:
      key: uint32 (2,), data of the job's random key.
      dropout: rate.
      weight_decay: decoupled.
      clip_value: element-wise limit of the gradient, inf = none.
      clip_norm: limit of its norm, inf = none.
      lstm_rate: LSTMs and the layers above them learn at so many times the rate.
      centred: 1 = updates are centred, 0 = not (see `centre`).
    """

    key: Array
    dropout: Array
    weight_decay: Array
    clip_value: Array
    clip_norm: Array
    lstm_rate: Array
    centred: Array


def job_hyper(job: Job, recipe: Recipe, asleep: int = 0) -> Hyper:
    """A job's settings as the arrays that the program reads, when it has been `asleep` so many times before.

    Each time gives it another key, and so other first weights.
    """
    limits = (recipe.clip_value or np.inf, recipe.clip_norm or np.inf)
    numbers = (job.dropout, job.weight_decay, *limits, recipe.lstm_rate, recipe.centred)
    seeds = job.seeds + [asleep] * bool(asleep)
    key = np.random.SeedSequence(seeds).generate_state(2, np.uint32)
    return Hyper(key, *(np.array(number, np.float32) for number in numbers))


def rates(spec: AnyArchitecture, params: Params, lstm_rate: Array) -> Params:
    """How many times the rate each of the parameters learns at, laid out as they are: from the first LSTM `lstm_rate`.

    Architectures of somebody's own have no layers that this could tell apart.
    """
    layers = getattr(spec, 'layers', ())
    first = next((place for place, layer in enumerate(layers) if layer.kind == 'lstm'), len(layers))
    above = {layer.name for layer in layers[first:]}
    if not above:
        return jax.tree.map(lambda _: 1.0, params)
    return {
        name: jax.tree.map(lambda _, own=name in above: lstm_rate if own else 1.0, part)
        for name, part in params.items()
    }


def centre(spec: AnyArchitecture, update: Params, centred: Array) -> Params:
    """An update without the part that is common to the weights of a unit, of convolutions and LSTMs above convolutions.

    What these layers read has been through a ReLU: hundreds of numbers, none of them negative. Adam moves every weight
    by about the rate, and where all move one way the unit's input changes at all positions at once, by more than it
    varies. A filter that this pushes below zero stays there, since a ReLU that is never on has no gradient; an LSTM's
    gates are shut or opened for good. (Compare gradient centralization, Yong et al. 2020,
    https://arxiv.org/abs/2004.01461, which centres what Adam reads and not what it says.)

    Args:
      spec: the architecture; one of somebody's own has no layers that could be told apart.
      update: as its parameters: kernels (width, C, F) of convolutions, (2, C, 4H) of LSTMs.
      centred: a scalar, 1 = so, 0 = the update as it is.
    """
    result, above = dict(update), False
    for layer in getattr(spec, 'layers', ()):
        if above and layer.kind in _FAN_IN:
            kernel = update[layer.name]['kernel']
            common = kernel.mean(axis=_FAN_IN[layer.kind], keepdims=True)
            result[layer.name] = {**update[layer.name], 'kernel': kernel - centred * common}
        above = layer.kind == 'convolution' or (above and layer.kind not in _FAN_IN)
    return result


@struct.dataclass
class StepMetrics:
    """Mean loss of the batch, and norms of the gradient (before clipping) and of the update; all scalars."""

    loss: Array
    gradient_norm: Array
    update_norm: Array


def init_state(spec: AnyArchitecture, hyper: Hyper) -> ModelState:
    """A fresh model from the job's key."""
    params = spec.init(jax.random.fold_in(jax.random.wrap_key_data(jnp.asarray(hyper.key)), 0))
    return ModelState(params, ADAM.init(params), jnp.zeros((), jnp.int32))


def take_batch(pool: Pool, rows: Array, turned: Array | None) -> tuple[Array, Array | None]:
    """Tokens (B, L) and lengths of some rows of the pool, those marked in `turned` reverse complemented."""
    at = jnp.maximum(rows, 0)
    tokens = pool.tokens[at]
    lengths = None if pool.lengths is None else pool.lengths[at]
    if turned is not None:
        tokens = jnp.where(turned[:, None], kernels.reverse_complement(tokens, lengths), tokens)
    return tokens, lengths


def _in_parts(rows: Array, turned: Array | None, size: int) -> tuple[Array, Array, Array | None]:
    """A batch in equal parts of at most `size`: their numbers (P,), rows (P, size') and `turned` likewise.

    Rows of -1 fill the last part.
    """
    n_parts = -(-len(rows) // size)
    fill = -len(rows) % n_parts
    rows = jnp.pad(rows, (0, fill), constant_values=-1).reshape(n_parts, -1)
    if turned is not None:
        turned = jnp.pad(turned, (0, fill)).reshape(n_parts, -1)
    return jnp.arange(n_parts), rows, turned


def train_step(
    state: ModelState,
    hyper: Hyper,
    pool: Pool,
    rows: Array,
    turned: Array | None,
    learning_rate: Array,
    *,
    spec: AnyArchitecture,
    dropout_bits: int,
    hoist: bool,
) -> tuple[ModelState, StepMetrics]:
    """One Adam step on the mean negative log-likelihood of a batch (the paper's section 2).

    Args:
      state: the model.
      hyper: its settings.
      pool: the sequences.
      rows: int32 (B,), rows of the pool; -1 = no example.
      turned: bool (B,), or None: which examples to reverse complement.
      learning_rate: of this step.
      spec: the architecture.
      dropout_bits: see `kernels.dropout`.
      hoist: False sums the gradient over parts of the batch (`spec.part_size`), each with dropout masks of its own;
        True takes the batch as one (for GPUs). For LSTMs see also `kernels.bilstm_scan`.
    """
    count = jnp.maximum((rows >= 0).sum(), 1).astype(jnp.float32)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.wrap_key_data(jnp.asarray(hyper.key)), 1), state.step)

    def loss_of(params: Params, index: Array, rows: Array, turned: Array | None) -> Array:
        """A part's share in the mean over the batch."""
        tokens, lengths = take_batch(pool, rows, turned)
        scores = spec.score(
            params,
            tokens,
            lengths=lengths,
            dropout=hyper.dropout,
            key=jax.random.fold_in(key, index),
            dropout_bits=dropout_bits,
            hoist=hoist,
        )
        # For two classes, -log softmax at the label = softplus of minus the signed margin.
        margins = jnp.where(pool.labels[jnp.maximum(rows, 0)] == 1, scores, -scores)
        return (jax.nn.softplus(-margins) * (rows >= 0)).sum() / count

    def add_part(sums, part):
        return jax.tree.map(jnp.add, sums, jax.value_and_grad(loss_of)(state.params, *part)), None

    part_size = len(rows) if hoist else spec.part_size
    parts = _in_parts(rows, turned, part_size)
    nothing = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, state.params))
    (loss, gradient), _ = jax.lax.scan(add_part, nothing, parts)
    norm = optax.tree.norm(gradient)
    clipped = jax.tree.map(lambda g: jnp.clip(g, -hyper.clip_value, hyper.clip_value), gradient)
    scale = jnp.minimum(1.0, hyper.clip_norm / optax.tree.norm(clipped))
    clipped = jax.tree.map(lambda g: g * scale, clipped)
    direction, adam = ADAM.update(clipped, state.adam)
    direction = centre(spec, direction, hyper.centred)
    update = jax.tree.map(
        lambda d, p, times: -learning_rate * (times * d + hyper.weight_decay * p),
        direction,
        state.params,
        rates(spec, state.params, hyper.lstm_rate),
    )
    params = optax.apply_updates(state.params, update)
    return ModelState(params, adam, state.step + 1), StepMetrics(loss, norm, optax.tree.norm(update))


def score_rows(
    params: Params, pool: Pool, rows: Array, *, spec: AnyArchitecture, average_strands: bool, hoist: bool
) -> Array:
    """Scores S, the log odds of the positive class, of some rows of the pool: float32 (B,).

    With `average_strands`, the mean of the scores of both strands.
    """
    tokens, lengths = take_batch(pool, rows, None)
    scores = spec.score(params, tokens, lengths=lengths, hoist=hoist)
    if average_strands:
        other = kernels.reverse_complement(tokens, lengths)
        scores = 0.5 * (scores + spec.score(params, other, lengths=lengths, hoist=hoist))
    return scores
