"""Temporal output scores: what a model says of every prefix, or every suffix, of a sequence.

Section 3.2 of the paper. Any score will do: every truncated sequence is scored by itself (`explain.truncations`).
For specs with LSTMs there is a fast way to the same numbers, below. The work that truncations share is done once:

- The features of a truncated sequence differ from those of the whole only near the cut, within the
  convolutions' reach. Only these few are computed per truncation, from a crop around the cut.
- One direction's LSTMs run towards the cut. Their states are shared by all truncations up to where the
  features begin to differ; from there each truncation takes a few steps of its own.
- The other direction's LSTMs start at the cut. Each truncation needs its own run, but all runs read the
  same input, so its projection is computed once; a long run and a short one share a row of the computation.

Everything below works on prefixes; suffixes are the prefixes of the features in reverse order, with the
two directions exchanged.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax.errors import InputError
from demo_jax.explain import batches
from demo_jax.explain.score import Score, float_type, name_of
from demo_jax.explain.sizes import default_sizes, on_accelerator
from demo_jax.explain.truncations import score_truncations
from demo_jax.nn import kernels
from demo_jax.nn.kernels import Array
from demo_jax.nn.layers import Run, Signal
from demo_jax.nn.models import ModelSpec, Params

TRUNCATIONS = ('input', 'features')
DIRECTIONS = ('forward', 'reverse')

#: Of a batch, so many sequences at a time on a CPU: each has a row for every two truncations, and all fit in the cache.
_SEQUENCES_AT_ONCE = 4


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
        (`sizes.default_sizes`), on a CPU 64.
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
        batches.stack_one(params),
        score,
        tokens,
        lengths=lengths,
        truncate=truncate,
        direction=direction,
        batch_size=batch_size,
        progress=progress,
    )[0]


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
        at_once = tokens.shape[2] * (sizes['batch_size'] if on_accelerator() else _SEQUENCES_AT_ONCE)
        static = (score, truncate, reverse, at_once)
        return batches.run(_of_model, static, stacked_params, (tokens, lengths), **sizes)
    if truncate != 'input':
        raise InputError(f"truncate='features' needs a spec with LSTMs, which {name_of(score)} is not")
    return score_truncations(stacked_params, score, tokens, lengths, reverse=reverse, **sizes)


class _Batch(NamedTuple):
    """What is truncated.

    Attributes:
      x: letters (B, L, 4).
      lengths: (B,).
      at_once: truncations that are run at a time, about.
    """

    x: Array
    lengths: Array
    at_once: int


def _of_model(
    params: Params, batch: tuple[Array, Array | None], spec: ModelSpec, truncate: str, reverse: bool, at_once: int
) -> Array:
    """Scores (B, L) of tokens (B, L) with lengths (B,) or None."""
    tokens, lengths = batch
    x = kernels.one_hot(tokens, float_type(params))
    if lengths is None:
        lengths = jnp.full(x.shape[:1], x.shape[1], jnp.int32)
    score = {'input': _truncated_input, 'features': _truncated_features}[truncate]
    return score(params, _Batch(x, lengths, at_once), spec, reverse)


def _features(params: Params, x: Array, spec: ModelSpec, lengths: Array) -> Array:
    """What the LSTMs read, time-major (Q, B, C), of letters x (B, L, 4)."""
    inside = jnp.arange(x.shape[1])[None] < lengths[:, None]
    signal = Signal((x * inside[..., None]).transpose(1, 0, 2), lengths)
    for layer in itertools.takewhile(lambda layer: layer.kind != 'lstm', spec.layers):
        signal = layer.apply(params.get(layer.name, {}), signal, Run())
    return signal.x


def _truncated_features(params: Params, batch: _Batch, spec: ModelSpec, reverse: bool) -> Array:
    """Scores (B, L) with the convolutions run on the whole sequence."""
    pool = spec.reach.stride
    x, lengths, _ = batch
    features = _features(params, x, spec, lengths)
    n_features = lengths // pool

    def nothing(x: Array, lengths: Array) -> Array:
        return jnp.zeros((0, len(features), len(x), features.shape[2]), x.dtype)

    position = jnp.arange(x.shape[1])
    if reverse:
        scores = _score_suffixes(params, spec, batch, features, nothing, n_features)
        at = -(-position // pool)
        known = at[:, None] < n_features[None]
    else:
        scores = _score_prefixes(params, spec, batch, features, nothing)
        at = (position + 1) // pool - 1
        known = (at >= 0)[:, None] & (position[:, None] < lengths[None])
    return jnp.where(known, scores[jnp.clip(at, 0, len(scores) - 1)], jnp.nan).T


def _truncated_input(params: Params, batch: _Batch, spec: ModelSpec, reverse: bool) -> Array:
    """Scores (B, L) of the truncated sequences themselves.

    Cuts a pool's size apart share one grid of pooled features, so there is one pass per phase of it.
    """
    x, lengths, _ = batch
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
            special = functools.partial(_after_cuts, params, spec, cuts)
            scores = scores.at[cuts].set(_score_suffixes(params, spec, batch, features, special, after // pool))
        else:
            assert whole is not None  # only suffixes do without it
            special = functools.partial(_before_cuts, params, spec, cuts + pool)
            scores = scores.at[cuts + pool - 1].set(_score_prefixes(params, spec, batch, whole[:n_cuts], special))
    rest = lengths[None] - jnp.arange(length)[:, None]  # letters from here to the end
    return jnp.where(rest >= (pool if reverse else 1), scores, jnp.nan).T


def _before_cuts(params: Params, spec: ModelSpec, cuts: np.ndarray, x: Array, lengths: Array) -> Array:
    """Features before the cut that differ from the whole sequence's, (r, T, B, C): the last r of each prefix.

    Features that would lie before the sequence are arbitrary.
    """
    del lengths  # a cut behind the end is of no prefix
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


def _after_cuts(params: Params, spec: ModelSpec, cuts: np.ndarray, x: Array, lengths: Array) -> Array:
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


#: The special features (r, Q, B, C) of letters (B, L, 4) with lengths (B,): those near the cut, which are its own.
_Special = Callable[[Array, Array], Array]


def _score_suffixes(
    params: Params, spec: ModelSpec, batch: _Batch, features: Array, special: _Special, n_features: Array
) -> Array:
    """Scores (Q, B) of the suffixes of features (Q, B, C), of which each sequence has n_features (B,)."""
    inside = jnp.arange(len(features))[:, None] < n_features[None]

    def turned(x: Array, lengths: Array) -> Array:
        return special(x, lengths)[::-1, ::-1]

    return _score_prefixes(params, spec, batch, features[::-1], turned, inside[::-1], True)[::-1]


def _score_prefixes(
    params: Params,
    spec: ModelSpec,
    batch: _Batch,
    features: Array,
    special: _Special,
    inside: Array | None = None,
    flipped: bool = False,
) -> Array:
    """Scores of the Q prefixes of features.

    Args:
      params: of one model.
      spec: its architecture.
      batch: what the special features are made of.
      features: (Q, B, C), as far as prefixes share them.
      special: gives the last r features of each prefix, which replace the shared ones.
      inside: bool (Q, B) or None; False before the first feature that a sequence has.
      flipped: the features are in reverse order, so the forward LSTMs run from the end to the start.

    Returns:
      (Q, B); arbitrary for prefixes without a feature inside.
    """
    n_features, n = features.shape[:2]
    everywhere = inside is None
    if inside is None:
        inside = jnp.ones(features.shape[:2], bool)
    towards, away = (_direction(params, spec, int(d)) for d in (flipped, not flipped))
    contrast = params['dense']['kernel'][:, 1] - params['dense']['kernel'][:, 0]
    offset = params['dense']['bias'][1] - params['dense']['bias'][0]

    def of_part(part: tuple[Array, Array, Array, Array, _Run]) -> Array:
        x, lengths, features, inside, runs = part
        own = special(x, lengths)
        # The position of each special feature, and whether there is such a position.
        at = np.arange(n_features) - len(own) + 1 + np.arange(len(own))[:, None]
        own_inside = jnp.asarray(at >= 0)[..., None] & inside[np.maximum(at, 0)]
        sums = [
            _run_to_cuts(towards, runs, own, own_inside),
            _run_from_cuts(away, features, inside, own, own_inside, everywhere),
        ]
        counts = jnp.maximum(jnp.cumsum(inside.astype(features.dtype), axis=0), 1)[..., None]
        return (jnp.concatenate(sums[::-1] if flipped else sums, axis=-1) / counts) @ contrast + offset

    shared = _run_shared(towards, features, inside)
    size = max(d for d in range(1, n + 1) if n % d == 0 and (d == 1 or d * n_features <= batch.at_once))

    def split(a: Array, axis: int) -> Array:
        return jnp.moveaxis(a.reshape(*a.shape[:axis], n // size, size, *a.shape[axis + 1 :]), axis, 0)

    over_letters = tuple(split(a, 0) for a in batch[:2])
    over_features = jax.tree.map(lambda a: split(a, 1), (features, inside, shared))
    found = jax.lax.map(of_part, over_letters + over_features)  # (parts, Q, size)
    return jnp.moveaxis(found, 0, 1).reshape(n_features, n)


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
        read = z if index == 0 else _project(layer, states[-1].h)
        states.append(kernels.lstm_advance(state, read, layer.recurrent))
    output = states[-1].h
    new = _Run(tuple(states), run.total + (output if counted is None else output * counted[:, None]))
    if active is None:
        return new
    return jax.tree.map(lambda after, before: jnp.where(active[:, None], after, before), new, run)


def _run_shared(layers: tuple[_Layer, ...], features: Array, inside: Array) -> _Run:
    """A run (Q, B, H) over features (Q, B, C), after each of them; bool (Q, B) tells those that there are."""

    def position(run: _Run, at: tuple[Array, Array]) -> tuple[_Run, _Run]:
        run = _step(layers, run, at[0], active=at[1])
        return run, run

    start = _start(layers, features.shape[1])
    return jax.lax.scan(position, start, (_project(layers[0], features), inside))[1]


def _run_to_cuts(layers, runs, special, special_inside):
    """Summed outputs (Q, B, H), for every prefix, of the LSTMs that run from its start to its cut."""
    n_features, batch, _ = runs.total.shape
    n_special = len(special)
    if not n_special:
        return runs.total
    # Each prefix goes on from the state before its special features.
    shifted = jax.tree.map(
        lambda a, zero: jnp.concatenate([jnp.broadcast_to(zero[None], (n_special, *zero.shape)), a])[:n_features],
        runs,
        _start(layers, batch),
    )
    run = _run_special(layers, jax.tree.map(_flat, shifted), special, special_inside, reverse=False)
    return run.total.reshape(n_features, batch, -1)


def _run_from_cuts(layers, features, inside, special, special_inside, everywhere):
    """Summed outputs (Q, B, H), for every prefix, of the LSTMs that run from its cut to its start.

    Once its special features are done, a prefix has j + 1 shared ones left, j = 0, 1, ... Each row of the scan below
    takes two prefixes, one after the other: the longest and the shortest, the second longest and the second shortest,
    and so on. Every row is then done after as many steps, and none of them is wasted.
    """
    n_features, batch, _ = features.shape
    n_special = len(special)
    start = _run_special(layers, _start(layers, n_features * batch), special, special_inside, reverse=True)
    n = n_features - n_special  # prefixes with shared features; the shortest hold nothing but special ones
    if n <= 0:
        return start.total.reshape(n_features, batch, -1)
    nothing_shared, start = start.total[: n_special * batch], jax.tree.map(lambda a: a[n_special * batch :], start)
    n_rows = -(-n // 2)
    reads = (_project(layers[0], features[:n]), None if everywhere else inside[:n])
    # What row k reads first: the positions from n - 1 - k down.
    downward = jax.tree.map(lambda a: _flat(jnp.concatenate([a[::-1], jnp.zeros_like(a[: n_rows + 1])])), reads)

    def step(run: _Run, i: Array) -> tuple[_Run, Array]:
        turning = n - i  # this row is done with its first prefix, and begins its second
        at = jnp.minimum(turning, n_rows - 1) * batch

        def own(rows: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(rows, at, batch)

        def begin(rows: Array, first: Array) -> Array:
            begun = jnp.where(turning < n_rows, own(first), own(rows))
            return jax.lax.dynamic_update_slice_in_dim(rows, begun, at, 0)

        second = jnp.arange(n_rows * batch) >= turning * batch

        def read(down: Array, every: Array) -> Array:
            """What each row reads: in their second prefixes all are at the same position."""
            first = jax.lax.dynamic_slice_in_dim(down, i * batch, n_rows * batch)
            shared = jnp.broadcast_to(every[jnp.minimum(turning, n - 1)][None], (n_rows, *every.shape[1:]))
            return jnp.where(second.reshape(-1, *[1] * (first.ndim - 1)), _flat(shared), first)

        z, counted = jax.tree.map(read, downward, reads)
        return _step(layers, jax.tree.map(begin, run, start), z, counted=counted), own(run.total)

    first = jax.tree.map(lambda a: _flat(a.reshape(n, batch, -1)[::-1][:n_rows]), start)
    run, done = jax.lax.scan(step, first, jnp.arange(n + 1))
    # Second prefixes are those of j = row; the first one of row k, j = n - 1 - k, was done before step n - k = j + 1.
    total = jnp.concatenate([nothing_shared, run.total, _flat(done[n_rows + 1 :])])
    return total.reshape(n_features, batch, -1)


def _flat(a: Array) -> Array:
    """(Q, B, ...) -> (Q * B, ...)."""
    return a.reshape(-1, *a.shape[2:])


def _run_special(layers: tuple[_Layer, ...], run: _Run, special: Array, inside: Array, reverse: bool) -> _Run:
    """Every prefix's own run over its special features (r, Q, B, C); the run's rows are (Q * B, H)."""
    n_special, n_features, batch, channels = special.shape
    if not n_special:
        return run
    z = _project(layers[0], special.reshape(n_special, n_features * batch, channels))

    def position(run: _Run, at: tuple[Array, Array]) -> tuple[_Run, None]:
        return _step(layers, run, at[0], active=at[1]), None

    return jax.lax.scan(position, run, (z, inside.reshape(n_special, -1)), reverse=reverse)[0]
