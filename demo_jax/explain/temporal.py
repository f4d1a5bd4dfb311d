"""Temporal output scores: what a model says of every prefix, or every suffix, of a sequence.

Section 3.2 of the paper. Any score will do: every truncated sequence is scored by itself (`explain.truncations`).
For specs with LSTMs there is a fast way to the same numbers, below. The work that truncations share is done once:

- The features of a truncated sequence differ from those of the whole only near the cut, within the
  convolutions' reach. Only these few are computed per truncation, from a crop around the cut.
- One direction's LSTMs run towards the cut. Their states are shared by all truncations up to where the
  features begin to differ; from there each truncation takes a few steps of its own.
- The other direction's LSTMs start at the cut. Each truncation needs its own run, but all runs read the
  same input, so its projection is computed once, and a run takes part only once its cut is passed.

Everything below works on prefixes; suffixes are the prefixes of the features in reverse order, with the
two directions exchanged.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax.errors import InputError
from demo_jax.explain import batches
from demo_jax.explain.score import Score, float_type, name_of
from demo_jax.explain.sizes import default_sizes
from demo_jax.explain.truncations import score_truncations
from demo_jax.nn import kernels
from demo_jax.nn.kernels import Array
from demo_jax.nn.models import ModelSpec, Params, apply

TRUNCATIONS = ('input', 'features')
DIRECTIONS = ('forward', 'reverse')

#: Blocks that the triangle of (cut, position) pairs is split into. More blocks waste less work but compile more slowly.
_BLOCKS = 4


def temporal_scores(
    params: Any,
    score: Score,
    tokens: np.ndarray,
    *,
    lengths: np.ndarray | None = None,
    truncate: str = 'input',
    direction: str = 'forward',
    batch_size: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Scores S of one model for every prefix or suffix of N sequences.

    Args:
      params: of one model.
      score: a `ModelSpec`, or any function of (params, x), see `explain.score`. Specs with LSTMs have a fast way.
      tokens: uint8 (N, L).
      lengths: int (N,) or None; positions behind are padding.
      truncate: 'input' scores the truncated sequence (the paper's text). 'features' runs the
        convolutions on the whole sequence and truncates what the LSTMs read (the authors' code), as
        far as features lie completely within the letters; specs with LSTMs only.
      direction: 'forward' for prefixes, 'reverse' for suffixes.
      batch_size: sequences at a time, on each device; each stands for L rows. None = what suits the device
        (`sizes.default_sizes`), on a CPU 8.
      progress: called with the number of sequences done since the last call.

    Returns:
      float32 (N, L). Entry t is S of the prefix that ends with position t, or of the suffix that begins
      with position t. NaN behind a sequence's end and where the truncated sequence is too
      short for the score. The probability of binding is `scipy.special.expit` of it.

    Raises:
      InputError: an unknown setting, sequences that the model cannot read, `truncate='features'` of anything but a
        spec with LSTMs, something that is no score.
    """
    return temporal_scores_models(
        batches.stack_one(params), score, tokens,
        lengths=lengths, truncate=truncate, direction=direction, batch_size=batch_size, progress=progress,
    )[0]  # fmt: skip


def temporal_scores_models(
    stacked_params: Any,
    score: Score,
    tokens: np.ndarray,
    *,
    lengths: np.ndarray | None = None,
    truncate: str = 'input',
    direction: str = 'forward',
    batch_size: int | None = None,
    width: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Scores of M models of one architecture, in one compiled program: float32 (M, N, L).

    Args:
      stacked_params: parameters with a leading axis M.
      tokens: uint8 (N, L), shared by the models, or (M, N, L).
      lengths: None, int (N,) or int (M, N).
      width: models at a time, see `batches.run`; None = what suits the device, on a CPU 1.

    The other arguments, the values and the errors (InputError) are those of `temporal_scores`.
    """
    for name, value, known in (('truncate', truncate, TRUNCATIONS), ('direction', direction, DIRECTIONS)):
        if value not in known:
            raise InputError(f'{name} is {value!r}, expected one of {", ".join(known)}')
    tokens, lengths = batches.checked_sequences(score, tokens, lengths, batches.count_models(stacked_params))
    reverse = direction == 'reverse'
    one = jax.tree.map(lambda leaf: leaf[0], stacked_params)
    fast = isinstance(score, ModelSpec) and bool(score.lstm_layers)
    rows = tokens.shape[2] if fast else 1
    sizes: Any = default_sizes('temporal', score, one, tokens.shape, rows=rows, batch_size=batch_size, width=width)
    sizes = {**sizes._asdict(), 'progress': progress}
    if isinstance(score, ModelSpec) and score.lstm_layers:
        return batches.run(_of_model, (score, truncate, reverse), stacked_params, (tokens, lengths), **sizes)
    if truncate != 'input':
        raise InputError(f"truncate='features' needs a spec with LSTMs, which {name_of(score)} is not")
    return score_truncations(stacked_params, score, tokens, lengths, reverse=reverse, **sizes)


def _of_model(
    params: Params, batch: tuple[Array, Array | None], spec: ModelSpec, truncate: str, reverse: bool
) -> Array:
    """Scores (B, L) of tokens (B, L) with lengths (B,) or None."""
    tokens, lengths = batch
    x = kernels.one_hot(tokens, float_type(params))
    if lengths is None:
        lengths = jnp.full(x.shape[:1], x.shape[1], jnp.int32)
    score = {'input': _truncated_input, 'features': _truncated_features}[truncate]
    return score(params, x, spec, lengths, reverse)


def _features(params: Params, x: Array, spec: ModelSpec, lengths: Array) -> Array:
    """What the LSTMs read, time-major (Q, B, C), of letters x (B, L, 4)."""
    if spec.conv:
        x = apply(params, x, spec, lengths=lengths).activations[-1]
    return x.transpose(1, 0, 2)


def _truncated_features(params: Params, x: Array, spec: ModelSpec, lengths: Array, reverse: bool) -> Array:
    """Scores (B, L) with the convolutions run on the whole sequence."""
    pool = spec.reach.stride
    features = _features(params, x, spec, lengths)
    n_features = lengths // pool
    nothing = jnp.zeros((0, features.shape[0], *features.shape[1:]), x.dtype)
    position = jnp.arange(x.shape[1])
    if reverse:
        scores = _score_suffixes(params, spec, features, nothing, n_features)
        at = -(-position // pool)
        known = at[:, None] < n_features[None]
    else:
        scores = _score_prefixes(params, spec, features, nothing)
        at = (position + 1) // pool - 1
        known = (at >= 0)[:, None] & (position[:, None] < lengths[None])
    return jnp.where(known, scores[jnp.clip(at, 0, len(scores) - 1)], jnp.nan).T


def _truncated_input(params: Params, x: Array, spec: ModelSpec, lengths: Array, reverse: bool) -> Array:
    """Scores (B, L) of the truncated sequences themselves.

    Cuts a pool's size apart share one grid of pooled features, so there is one pass per phase of it.
    """
    length = x.shape[1]
    pool = spec.reach.stride
    scores = jnp.full((length, x.shape[0]), jnp.nan, x.dtype)
    whole = None if reverse else _features(params, x, spec, lengths)
    for phase in range(pool):
        n_cuts = (length - phase) // pool
        if not n_cuts:
            continue
        cuts = phase + pool * np.arange(n_cuts)
        if reverse:
            after = jnp.maximum(lengths - phase, 0)
            features = _features(params, x[:, phase:], spec, after)
            special = _after_cuts(params, x, spec, lengths, cuts)
            scores = scores.at[cuts].set(_score_suffixes(params, spec, features, special, after // pool))
        else:
            assert whole is not None  # only suffixes do without it
            cuts = cuts + pool
            special = _before_cuts(params, x, spec, cuts)
            scores = scores.at[cuts - 1].set(_score_prefixes(params, spec, whole[:n_cuts], special))
    rest = lengths[None] - jnp.arange(length)[:, None]  # letters from here to the end
    return jnp.where(rest >= (pool if reverse else 1), scores, jnp.nan).T


def _before_cuts(params: Params, x: Array, spec: ModelSpec, cuts: np.ndarray) -> Array:
    """Features before the cut that differ from the whole sequence's, (r, T, B, C): the last r of each prefix.

    Features that would lie before the sequence are arbitrary.
    """
    reach = spec.reach
    n_special = -(-(reach.right + 1) // reach.stride) - 1
    if not n_special:
        return jnp.zeros((0, len(cuts), x.shape[0], 4), x.dtype)
    # A crop begins on the pooling grid, far enough before the first special feature.
    n_crop = n_special + -(-reach.left // reach.stride)
    starts = np.maximum(cuts // reach.stride - n_crop, 0) * reach.stride
    sizes = cuts - starts
    crops = _crop(x, starts, int(sizes.max()))
    features = _features(params, crops, spec, jnp.repeat(jnp.asarray(sizes, jnp.int32), len(x)))
    features = features.reshape(features.shape[0], len(cuts), len(x), -1)
    at = sizes // reach.stride - n_special + np.arange(n_special)[:, None]
    return features[np.maximum(at, 0), np.arange(len(cuts))[None]]


def _after_cuts(params: Params, x: Array, spec: ModelSpec, lengths: Array, cuts: np.ndarray) -> Array:
    """Features behind the cut that differ from the whole sequence's, (r, T, B, C): the first r of each suffix."""
    reach = spec.reach
    n_special = -(-reach.left // reach.stride)
    if not n_special:
        return jnp.zeros((0, len(cuts), x.shape[0], 4), x.dtype)
    size = reach.stride * (n_special - 1) + reach.right + 1
    crops = _crop(x, cuts, size)
    rest = jnp.clip(lengths[None] - jnp.asarray(cuts, jnp.int32)[:, None], 0, size)
    features = _features(params, crops, spec, rest.reshape(-1))
    return features[:n_special].reshape(n_special, len(cuts), len(x), -1)


def _crop(x: Array, starts: np.ndarray, size: int) -> Array:
    """Letters (T * B, size, 4) from each of T starts; arbitrary ones where that runs past the row's end."""
    index = np.minimum(starts[:, None] + np.arange(size), x.shape[1] - 1)
    return x[:, index].swapaxes(0, 1).reshape(-1, size, 4)


def _score_suffixes(params: Params, spec: ModelSpec, features: Array, special: Array, n_features: Array) -> Array:
    """Scores (Q, B) of the suffixes of features (Q, B, C), of which each sequence has n_features (B,)."""
    inside = jnp.arange(len(features))[:, None] < n_features[None]
    return _score_prefixes(params, spec, features[::-1], special[::-1, ::-1], inside[::-1], True)[::-1]


def _score_prefixes(
    params: Params,
    spec: ModelSpec,
    features: Array,
    special: Array,
    inside: Array | None = None,
    flipped: bool = False,
) -> Array:
    """Scores of the Q prefixes of features.

    Args:
      params: of one model.
      spec: its architecture.
      features: (Q, B, C), as far as prefixes share them.
      special: (r, Q, B, C), the last r features of each prefix, which replace the shared ones.
      inside: bool (Q, B) or None; False before the first feature that a sequence has.
      flipped: the features are in reverse order, so the forward LSTMs run from the end to the start.

    Returns:
      (Q, B); arbitrary for prefixes without a feature inside.
    """
    n_features = len(features)
    everywhere = inside is None
    if inside is None:
        inside = jnp.ones(features.shape[:2], bool)
    # The position of each special feature, and whether there is such a position.
    at = np.arange(n_features) - len(special) + 1 + np.arange(len(special))[:, None]
    special_inside = jnp.asarray(at >= 0)[..., None] & inside[np.maximum(at, 0)]
    given = (features, inside, special, special_inside)
    sums = [
        _run_to_cuts(_direction(params, spec, int(flipped)), *given),
        _run_from_cuts(_direction(params, spec, int(not flipped)), *given, everywhere),
    ]
    counts = jnp.maximum(jnp.cumsum(inside.astype(features.dtype), axis=0), 1)[..., None]
    mean = jnp.concatenate(sums[::-1] if flipped else sums, axis=-1) / counts
    contrast = params['dense']['kernel'][:, 1] - params['dense']['kernel'][:, 0]
    return mean @ contrast + (params['dense']['bias'][1] - params['dense']['bias'][0])


class _Layer(NamedTuple):
    kernel: Array  # (C, 4H)
    recurrent: Array  # (H, 4H)
    bias: Array  # (4H,)


class _Run(NamedTuple):
    """A run of one direction's LSTMs: the state of each layer, and the sum of the last one's outputs."""

    states: tuple[kernels.LstmState, ...]  # (..., H) each
    total: Array  # (..., H)


def _direction(params: Params, spec: ModelSpec, d: int) -> tuple[_Layer, ...]:
    layers = [params[f'lstm{index}'] for index in range(spec.lstm_layers)]
    return tuple(_Layer(layer['kernel'][d], layer['recurrent'][d], layer['bias'][d]) for layer in layers)


def _project(layer: _Layer, x: Array) -> Array:
    return x @ layer.kernel + jnp.expand_dims(layer.bias, tuple(range(x.ndim - 1)))


def _start(layers: tuple[_Layer, ...], rows: int) -> _Run:
    zeros = [jnp.zeros((rows, layer.recurrent.shape[0]), layer.recurrent.dtype) for layer in layers]
    return _Run(tuple(kernels.LstmState(h=zero, c=zero) for zero in zeros), zeros[-1])


def _step(
    layers: tuple[_Layer, ...], run: _Run, z: Array, *, active: Array | None = None, counted: Array | None = None
) -> _Run:
    """One position of the stack for R rows.

    Args:
      layers: the stack.
      run: rows (R, H).
      z: (R, 4H), the first layer's projected input.
      active: bool (R,) or None; other rows stay as they are.
      counted: bool (R,) or None; the sum leaves out the outputs of other rows (cheaper than `active`).
    """
    states: list[kernels.LstmState] = []
    for index, (layer, state) in enumerate(zip(layers, run.states, strict=True)):
        state = kernels.lstm_step(state, z if index == 0 else _project(layer, states[-1].h), layer.recurrent)[0]
        states.append(state)
    output = states[-1].h
    new = _Run(tuple(states), run.total + (output if counted is None else output * counted[:, None]))
    if active is None:
        return new
    return jax.tree.map(lambda after, before: jnp.where(active[:, None], after, before), new, run)


def _run_to_cuts(layers, features, inside, special, special_inside):
    """Summed outputs (Q, B, H), for every prefix, of the LSTMs that run from its start to its cut."""
    n_features, batch, _ = features.shape
    n_special = len(special)
    start = _start(layers, batch)

    def shared(run: _Run, at: tuple[Array, Array]) -> tuple[_Run, _Run]:
        run = _step(layers, run, at[0], active=at[1])
        return run, run

    _, runs = jax.lax.scan(shared, start, (_project(layers[0], features), inside))
    if not n_special:
        return runs.total
    # Each prefix goes on from the state before its special features.
    shifted = jax.tree.map(
        lambda a, zero: jnp.concatenate([jnp.broadcast_to(zero[None], (n_special, *zero.shape)), a])[:n_features],
        runs, start,
    )  # fmt: skip
    run = _run_special(layers, _flat(shifted), special, special_inside, reverse=False)
    return run.total.reshape(n_features, batch, -1)


def _run_from_cuts(layers, features, inside, special, special_inside, everywhere):
    """Summed outputs (Q, B, H), for every prefix, of the LSTMs that run from its cut to its start.

    Going down the positions, the prefix that ends at e joins when its special features are done, at
    position e - r. A block of positions works on the prefixes that join within it, which wait for their
    turn, and on those that joined before, which need no mask: outside of a sequence, they only must not count.
    """
    n_features, batch, _ = features.shape
    n_special = len(special)
    start = _run_special(layers, _start(layers, n_features * batch), special, special_inside, reverse=True)
    start = jax.tree.map(lambda a: a.reshape(n_features, batch, -1), start)
    z = _project(layers[0], features)

    def position(runs: tuple[_Run, _Run], at: tuple[Array, Array, Array]) -> tuple[tuple[_Run, _Run], None]:
        joining, joined = runs
        here, z, inside = at  # `here` counts from the block's first position
        n_joining, n_joined = (len(run.total) // batch for run in runs)
        active = (jnp.arange(n_joining) >= here)[:, None] & inside[None]
        return (
            _step(layers, joining, _repeat(z, n_joining), active=active.reshape(-1)),
            _step(layers, joined, _repeat(z, n_joined), counted=None if everywhere else _repeat(inside, n_joined)),
        ), None

    size = -(-n_features // _BLOCKS)
    joined = _flat(jax.tree.map(lambda a: a[n_features:], start))
    for low in reversed(range(0, n_features - n_special, size)):
        high = min(low + size, n_features - n_special)
        joining = _flat(jax.tree.map(lambda a, b=low + n_special, e=high + n_special: a[b:e], start))
        positions = jnp.arange(high - low), z[low:high], inside[low:high]
        runs, _ = jax.lax.scan(position, (joining, joined), positions, reverse=True)
        joined = jax.tree.map(lambda *parts: jnp.concatenate(parts), *runs)
    # The shortest prefixes hold nothing but special features.
    return jnp.concatenate([start.total[:n_special], joined.total.reshape(-1, *start.total.shape[1:])])


def _repeat(a: Array, times: int) -> Array:
    """(B, ...) -> (times * B, ...)."""
    return jnp.broadcast_to(a[None], (times, *a.shape)).reshape(-1, *a.shape[1:])


def _run_special(layers: tuple[_Layer, ...], run: _Run, special: Array, inside: Array, reverse: bool) -> _Run:
    """Every prefix's own run over its special features (r, Q, B, C); the run's rows are (Q * B, H)."""
    n_special, n_features, batch, channels = special.shape
    if not n_special:
        return run
    z = _project(layers[0], special.reshape(n_special, n_features * batch, channels))

    def position(run: _Run, at: tuple[Array, Array]) -> tuple[_Run, None]:
        return _step(layers, run, at[0], active=at[1]), None

    return jax.lax.scan(position, run, (z, inside.reshape(n_special, -1)), reverse=reverse)[0]


def _flat(run: _Run) -> _Run:
    """(Q, B, H) -> (Q * B, H)."""
    return jax.tree.map(lambda a: a.reshape(-1, a.shape[-1]), run)
