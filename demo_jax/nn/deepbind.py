"""DeepBind's published models (Alipanahi et al. 2015, tool version 0.11) as functions of letters (pure).

A model slides `n` detectors of `d` letters over a sequence. A detector's response is the sum of its letters' weights
and its threshold, at least zero. Outside the sequence, and at N, each letter counts a quarter. The largest response of
each detector (and, in some models, also its mean over all L + d - 1 positions that touch the sequence) goes into one
linear layer, or into a hidden one and a linear one. Models of DNA score both strands, and the higher score counts.

The tool has two scores: of the whole sequence, and, by default, the highest of all windows of 1.5 d letters. At the
ends of a window detectors hang over, although there are letters in the sequence: almost every position is scored
several times. `score_stacked` needs one addition for each, because a response at the end of a window is a partial sum
of that at the same position in the sequence.

All weights are less their mean over the four letters of a position, which is added to the threshold. So N and padding
are rows of zeros.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax.errors import InputError
from demo_jax.nn import kernels
from demo_jax.nn.architecture import Architecture
from demo_jax.nn.kernels import Array
from demo_jax.nn.models import SPECS, ModelSpec

#: Models that one step of `score_stacked` updates together: enough to fill vector registers, few enough for the cache.
TOGETHER = 8
_AT_ONCE = 128  # sequences of one call
_MUTANTS = 16_384  # mutants in memory


class Shape(NamedTuple):
    """What distinguishes two compiled programs.

    Attributes:
      detector_len: d, letters of a detector.
      n_detectors: n.
      both_strands: whether the other strand is scored, too.
      averages: whether mean responses are features, too.
      n_hidden: units of the hidden layer; 0 = none.
    """

    detector_len: int
    n_detectors: int
    both_strands: bool
    averages: bool
    n_hidden: int

    @property
    def window(self) -> int:
        """Letters of the windows of the tool's default score, 1.5 d."""
        return 3 * self.detector_len // 2


@dataclasses.dataclass(frozen=True)
class DeepBind:
    """The score of one published model, see `explain.score`.

    Parameters are a dict of float arrays:
      detectors: (d, 4, n), less their mean over the letters, for the strand that is given.
      offsets: (n,), the response where all letters are unknown, before it is cut at zero.
      weights: (n,) or (n, h), of the largest responses.
      mean_weights: the same of the mean responses, in models that have them.
      bias: () or (h,).
      output_weights, output_bias: (h,) and (), in models with a hidden layer.

    Attributes:
      shape: of its parameters.
      windows: the highest score of all windows of 1.5 d letters, the tool's default; False: of the whole sequence.
    """

    shape: Shape
    windows: bool = True

    #: Any length can be read, padding is known by `lengths`, and the function needs no check (see `explain.score`).
    min_length = 1
    takes_lengths = True
    trusted = True
    average_strands = False

    @property
    def name(self) -> str:
        """What messages call it."""
        return f'deepbind_{self.shape.detector_len}'

    @property
    def both_strands(self) -> bool:
        """Whether the score is of both strands."""
        return self.shape.both_strands

    def __call__(self, params: Any, x: Array, lengths: Array | None = None) -> jax.Array:
        """Scores (B,) of letters float (B, L, 4); those behind `lengths` (B,) count as padding."""
        x = jnp.asarray(x)
        if lengths is not None:
            x = x * (jnp.arange(x.shape[1])[None] < lengths[:, None])[..., None]
        length = jnp.full(len(x), x.shape[1]) if lengths is None else jnp.asarray(lengths)
        if not self.windows or x.shape[1] < self.shape.window:
            return _whole(params, x, length, self.shape)
        best = _best_window(params, x, length, self.shape)
        if lengths is None:
            return best
        return jnp.where(length < self.shape.window, _whole(params, x, length, self.shape), best)


def stranded(detectors: jax.Array) -> jax.Array:
    """Detectors (d, 4, n) and their reverse complements, (d, 4, 2 n): the other strand, read on the given one."""
    return jnp.concatenate([detectors, detectors[::-1, ::-1]], axis=-1)


def _all_detectors(params: Any, shape: Shape) -> tuple[jax.Array, jax.Array]:
    """Detectors (d, 4, k n) and offsets (k n,) of k = 1 or 2 strands."""
    if not shape.both_strands:
        return params['detectors'], params['offsets']
    return stranded(params['detectors']), jnp.concatenate([params['offsets']] * 2)


def _head(params: Any, top: jax.Array, mean: jax.Array | None) -> jax.Array:
    """Scores (...) of pooled responses (..., n)."""
    units = top @ params['weights']
    units = units + _along_last(params['bias'], units.ndim)
    if mean is not None:
        units = units + mean @ params['mean_weights']
    if 'output_weights' not in params:
        return units
    return jnp.maximum(units, 0) @ params['output_weights'] + params['output_bias']


def _along_last(values: jax.Array, ndim: int) -> jax.Array:
    """Values () or (n,) with leading axes of 1, ndim in all."""
    return jnp.reshape(values, (1,) * (ndim - np.ndim(values)) + np.shape(values))


def _by_strand(pooled: jax.Array, shape: Shape) -> jax.Array:
    """(..., k n) -> (..., k, n)."""
    return pooled.reshape(*pooled.shape[:-1], -1, shape.n_detectors)


def _strand_scores(params: Any, top: jax.Array, mean: jax.Array | None, shape: Shape) -> jax.Array:
    """Scores (...), the better strand's, of pooled responses (..., k n)."""
    means = None if mean is None else _by_strand(mean, shape)
    return _head(params, _by_strand(top, shape), means).max(axis=-1)


def _whole(params: Any, x: jax.Array, lengths: jax.Array, shape: Shape) -> jax.Array:
    """Scores (B,) of whole sequences x (B, L, 4); rows behind lengths (B,) are zero."""
    detectors, offsets = _all_detectors(params, shape)
    around = shape.detector_len - 1
    padded = jnp.pad(x, ((0, 0), (around, around), (0, 0)))
    axes = ('NWC', 'WIO', 'NWC')
    found = jax.lax.conv_general_dilated(padded, detectors, (1,), 'VALID', dimension_numbers=axes)
    responses = jnp.maximum(found + offsets[None, None], 0)
    n_positions = lengths + around  # those that touch the sequence
    # Responses are at least zero, so that zeros change neither the maximum nor the sum.
    touches = jnp.arange(responses.shape[1])[None] < n_positions[:, None]
    responses = responses * touches[..., None].astype(responses.dtype)
    mean = responses.sum(axis=1) / n_positions[:, None].astype(x.dtype) if shape.averages else None
    return _strand_scores(params, responses.max(axis=1), mean, shape)


class _Ends(NamedTuple):
    """Responses by the letter at which a stretch of letters ends, each (L, ...).

    Attributes:
      full: of the detector whose last letter it is, not yet cut at zero.
      top: the largest of the detectors that touch it, including that one.
      total: the sum of those that hang over the end, each at least zero; None where nobody asks.
    """

    full: jax.Array
    top: jax.Array
    total: jax.Array | None


_Carry = tuple[jax.Array, jax.Array, jax.Array | None, jax.Array | None]


def _ends(x: jax.Array, detectors: jax.Array, offsets: jax.Array, averages: bool) -> _Ends:
    """Responses of letters x (B, L, 4) at every end, (L, B, lanes); see `_Ends`."""
    first = jnp.broadcast_to(offsets, (x.shape[1], len(x), len(offsets)))
    letters = x.swapaxes(0, 1)

    def step(carry: _Carry, weights: jax.Array) -> tuple[_Carry, None]:
        # One more of the detectors' letters lies before the end; those of the end before had one less.
        so_far, top, total, last = carry
        total = None if total is None or last is None else total + last
        so_far = jnp.concatenate([first[:1], so_far[:-1]]) + letters @ weights
        response = jnp.maximum(so_far, 0)
        return (so_far, jnp.maximum(top, response), total, response if averages else None), None

    zeros = jnp.zeros_like(first)
    start = (first, zeros, zeros if averages else None, zeros if averages else None)
    (full, top, total, _), _ = jax.lax.scan(step, start, detectors)
    return _Ends(full, top, total)


def _pooled(
    right: _Ends,
    left: _Ends,
    shape: Shape,
    larger: kernels.Combine = jnp.maximum,
    window: int | None = None,
) -> tuple[jax.Array, jax.Array | None]:
    """Largest and mean responses in every window, (S, ...), of where letters end and of where they begin.

    A window has the letters of the tool's, unless `window` says how many.
    """
    d, window = shape.detector_len, window or shape.window
    n = len(right.full) - window + 1
    inside = larger(right.full[d - 1 :], jnp.zeros((), right.full.dtype))  # from the first that has all of its letters
    size = window - d + 1
    at_start, at_end = left.top[:n], larger(right.top[window - 1 :], jnp.zeros((), right.full.dtype))
    top = larger(larger(kernels.sliding(inside, size, larger), at_start), at_end)
    if right.total is None or left.total is None:
        return top, None
    total = kernels.sliding(inside, size, jnp.add) + left.total[:n] + right.total[window - 1 :]
    return top, total / (window + d - 1)


def _best_window(params: Any, x: jax.Array, lengths: jax.Array, shape: Shape) -> jax.Array:
    """The highest scores (B,) of all windows of x (B, L, 4); lengths (B,) are at least a window."""
    detectors, offsets = _all_detectors(params, shape)
    right = _ends(x, detectors, offsets, shape.averages)
    left = jax.tree.map(lambda part: part[::-1], _ends(x[:, ::-1], detectors[::-1], offsets, shape.averages))
    scores = _strand_scores(params, *_pooled(right, left, shape), shape)  # (S, B)
    outside = jnp.arange(len(scores))[:, None] > (lengths - shape.window)[None]
    return jnp.where(outside, -jnp.inf, scores).max(axis=0)


@functools.partial(jax.jit, static_argnames=('shape', 'windows'))
def score_stacked(params: Any, tokens: Array, lengths: Array, *, shape: Shape, windows: bool) -> jax.Array:
    """Scores of sequences by several models of one shape, in one program that reads letter by letter.

    The state holds, for every detector, the partial sums of the d positions that the detector may have begun at. A
    letter adds its row of weights to all of them. The row of the d weights goes round with the oldest sum, so that
    nothing is moved.

    Args:
      params: stacked, a leading axis M (best: `TOGETHER`).
      tokens: uint8 (N, L), A C G T N = 0 to 4.
      lengths: int (N,), behind which there is N; at least a window where `windows`.
      shape: of the models.
      windows: see `DeepBind`.

    Returns:
      float32 (M, N).
    """
    read = _reader(params, shape)
    d = shape.detector_len

    def pooled(sequence: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array | None]:
        """Largest and mean responses in every window, (S, M k n)."""
        letters, length = sequence
        if windows:
            return _pooled(read(letters, reverse=False), read(letters, reverse=True), shape, _larger)
        right = read(letters, reverse=False)
        full = jnp.where((jnp.arange(len(letters)) < length)[:, None], jnp.maximum(right.full, 0), 0)
        top = jnp.maximum(full.max(axis=0), right.top[length - 1])[None]
        if right.total is None:
            return top, None
        return top, ((full.sum(axis=0) + right.total[length - 1]) / (length + d - 1).astype(full.dtype))[None]

    def best(found: tuple[jax.Array, jax.Array | None, jax.Array]) -> jax.Array:
        """Scores (M,), the highest of all windows."""
        top, mean, length = found
        scores = _by_model(params, top, mean, shape)
        outside = jnp.arange(len(top)) > length - shape.window if windows else jnp.zeros(1, bool)
        return jnp.where(outside[:, None], -jnp.inf, scores).max(axis=0)

    sequences = (tokens.astype(jnp.int32), lengths.astype(jnp.int32))
    return jax.lax.map(lambda sequence: best((*pooled(sequence), sequence[1])), sequences).T


@functools.partial(jax.jit, static_argnames=('shape', 'windows', 'width', 'stride'))
def score_overlapping(params: Any, tokens: Array, *, shape: Shape, windows: bool, width: int, stride: int) -> jax.Array:
    """Scores of overlapping windows of sequences by several models of one shape, as `score_stacked` has of each.

    Args:
      params: see `score_stacked`, and so are shape and windows.
      tokens: uint8 (N, L), all of them letters or N of the sequence.
      shape: see above.
      windows: see above.
      width: letters of a window that is scored, L at most.
      stride: letters from one to the next.

    Returns:
      float32 (M, N, K), of the windows that begin at 0, stride, ...
    """
    read = _reader(params, shape)

    def score(letters: jax.Array) -> jax.Array:
        right, left = read(letters, reverse=False), read(letters, reverse=True)
        if windows and width >= shape.window:
            scores = _by_model(params, *_pooled(right, left, shape, _larger), shape)
            return kernels.sliding(scores, width - shape.window + 1, jnp.maximum)[::stride]
        top, mean = _pooled(right, left, shape, _larger, width)
        return _by_model(params, top[::stride], None if mean is None else mean[::stride], shape)

    return jax.lax.map(score, jnp.asarray(tokens, jnp.int32)).transpose(2, 0, 1)


def _by_model(params: Any, top: jax.Array, mean: jax.Array | None, shape: Shape) -> jax.Array:
    """Scores (S, M) of pooled responses (S, M k n) by the models of stacked parameters."""
    by_model = (len(top), len(params['offsets']), (2 if shape.both_strands else 1) * shape.n_detectors)
    mean = None if mean is None else mean.reshape(by_model)
    head = jax.vmap(lambda one, a, b: _strand_scores(one, a, b, shape), (0, 1, None if mean is None else 1), 1)
    return head(params, top.reshape(by_model), mean)


def _reader(params: Any, shape: Shape) -> Callable[..., _Ends]:
    """What reads letters int32 (L,) with the detectors of stacked parameters, see `_ends_of_tokens`.

    With `reverse`, a stretch ends where it begins on the given strand.
    """
    d = shape.detector_len

    def lanes(detectors: jax.Array) -> jax.Array:
        """(M, d, 4, k n) -> (5, 2 d, M k n), row j of a letter: that of detector letter -j modulo d."""
        rows = jnp.concatenate([detectors, jnp.zeros_like(detectors[:, :, :1])], axis=2)
        return rows.transpose(2, 1, 0, 3).reshape(5, d, -1)[:, -jnp.arange(2 * d) % d]

    detectors, offsets = jax.vmap(lambda one: _all_detectors(one, shape))(params)
    forward, offset = lanes(detectors), offsets.reshape(-1)
    # Where a window begins in one strand, it ends in the other.
    backward = lanes(detectors[:, ::-1, ::-1])

    def read(letters: jax.Array, *, reverse: bool) -> _Ends:
        if not reverse:
            return _ends_of_tokens(letters, forward, offset, shape.averages)
        other = jnp.where(letters < 4, 3 - letters, letters)
        return _ends_of_tokens(other, backward, offset, shape.averages, reverse=True)

    return read


def _ends_of_tokens(
    tokens: jax.Array, rows: jax.Array, offset: jax.Array, averages: bool, *, reverse: bool = False
) -> _Ends:
    """`_ends` of tokens int32 (L,), (L, lanes), with the weights (5, 2 d, lanes) of `score_stacked`.

    With `reverse`, the letters are read from the last to the first, and results are of the letter at which a stretch
    begins.
    """
    d, length = rows.shape[1] // 2, len(tokens)
    place = jnp.arange(d, dtype=jnp.int32)[:, None]

    def step(sums: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, Any]:
        token, slot = now
        sums = jnp.where(place == slot, offset[None], sums)  # the oldest is complete, a new one begins
        first = jnp.where(slot == 0, 0, d - slot)
        sums = sums + jax.lax.dynamic_slice(rows, (token, first, 0), (1, d, len(offset)))[0]
        full = jax.lax.dynamic_index_in_dim(sums, jnp.where(slot == d - 1, 0, slot + 1), keepdims=False)
        total = _cut(sums).sum(axis=0) - _cut(full) if averages else None
        top = _floats(_bits(sums).max(axis=0))
        return sums, (full, top, total)

    start = jnp.broadcast_to(offset, (d, len(offset)))
    slots = jnp.arange(length, dtype=jnp.int32) % d
    _, found = jax.lax.scan(step, start, (tokens, slots[::-1] if reverse else slots), reverse=reverse)
    return _Ends(*found)


def _bits(values: jax.Array) -> jax.Array:
    """Floats as integers of the same order, if those below zero need no order: compared in a quarter of the time."""
    return jax.lax.bitcast_convert_type(values, jnp.int32)


def _floats(bits: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(bits, jnp.float32)


def _cut(values: jax.Array) -> jax.Array:
    """At least zero."""
    return _floats(jnp.maximum(_bits(values), 0))


def _larger(one: jax.Array, other: jax.Array) -> jax.Array:
    """The larger of two responses, right where one of them is above zero."""
    return _floats(jnp.maximum(_bits(one), _bits(other)))


def score_models(
    scores: Sequence[DeepBind],
    params: Sequence[Any],
    tokens: np.ndarray,
    lengths: np.ndarray | None = None,
    *,
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Scores of N sequences by M published models: one compiled program per shape, `TOGETHER` models at a time.

    Args:
      scores: M of them.
      params: theirs.
      tokens: uint8 (N, L), A C G T N = 0 to 4.
      lengths: int (N,), or None where all sequences fill their rows. Letters behind are ignored.
      progress: called with the number of (model, sequence) pairs done since the last call.

    Returns:
      float32 (M, N).
    """
    n, longest = tokens.shape
    found = np.empty((len(scores), n), np.float32)
    if not found.size:
        return found
    lengths = np.full(n, longest, np.int32) if lengths is None else np.asarray(lengths, np.int32)
    inside = np.arange(longest)[None] < lengths[:, None]
    tokens = np.where(inside, tokens, np.uint8(4))
    groups: dict[DeepBind, list[int]] = {}
    for index, score in enumerate(scores):
        groups.setdefault(score, []).append(index)
    work: list[tuple[DeepBind, list[int], np.ndarray, bool]] = []
    for score, members in groups.items():
        fits = lengths >= score.shape.window if score.windows else np.zeros(n, bool)
        for windows, rows in ((True, np.flatnonzero(fits)), (False, np.flatnonzero(~fits))):
            size = _power_of_two(min(len(rows), _AT_ONCE)) if len(rows) else 1
            width = min(TOGETHER, _power_of_two(len(members)))
            for models in (members[i : i + width] for i in range(0, len(members), width)):
                padded = models + models[-1:] * (width - len(models))
                work += [(score, padded, rows[i : i + size], windows) for i in range(0, len(rows), size)]

    def one(job: tuple[DeepBind, list[int], np.ndarray, bool]) -> int:
        score, models, rows, windows = job
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *(params[m] for m in models))
        size = _power_of_two(len(rows))
        rows_padded = np.concatenate([rows, np.repeat(rows[-1:], size - len(rows))])
        at_least = score.shape.window if windows else 1
        block = np.full((size, _round_up(max(int(lengths[rows].max()), at_least))), 4, np.uint8)
        width = min(block.shape[1], longest)
        block[:, :width] = tokens[rows_padded, :width]
        values = score_stacked(stacked, block, lengths[rows_padded], shape=score.shape, windows=windows)
        found[np.array(models)[:, None], rows] = np.asarray(values)[:, : len(rows)]
        return len(set(models)) * len(rows)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # a program of a few vectors keeps one core busy
        for n_done in pool.map(one, work):
            if progress is not None:
                progress(n_done)
    return found


class Mutants(NamedTuple):
    """Scores of N sequences by M models, float32 (M, N), and their changes by every mutant, float32 (M, N, L, 4).

    A change is 0 for the letter that is there, and behind a sequence's end.
    """

    score: np.ndarray
    change: np.ndarray


def score_mutants(
    scores: Sequence[DeepBind],
    params: Sequence[Any],
    tokens: np.ndarray,
    lengths: np.ndarray | None = None,
    *,
    progress: Callable[[int], object] | None = None,
) -> Mutants:
    """DeepBind's mutation maps: every single-letter mutant of N sequences scored by M models, see `score_models`."""
    n, longest = tokens.shape
    lengths = np.full(n, longest, np.int32) if lengths is None else np.asarray(lengths, np.int32)
    found = score_models(scores, params, tokens, lengths)
    change = np.zeros((len(scores), n, longest, 4), np.float32)
    row, place, letter = np.nonzero(
        (np.arange(longest)[None] < lengths[:, None])[..., None] & (tokens[..., None] != np.arange(4))
    )
    for first in range(0, len(row), _MUTANTS):
        at = slice(first, first + _MUTANTS)
        mutants = tokens[row[at]]
        mutants[np.arange(len(mutants)), place[at]] = letter[at]
        changed = score_models(scores, params, mutants, lengths[row[at]], progress=progress)
        change[:, row[at], place[at], letter[at]] = changed - found[:, row[at]]
    return Mutants(found, change)


def _power_of_two(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << (n - 1).bit_length()


def _round_up(length: int) -> int:
    """A length that few others share is a program of its own: at most an eighth more letters."""
    step = max(8, _power_of_two(length) // 16)
    return -(-length // step) * step


def canonical(
    shape: Shape,
    *,
    detectors: np.ndarray,
    thresholds: np.ndarray,
    weights1: np.ndarray,
    biases1: np.ndarray,
    weights2: np.ndarray,
    biases2: np.ndarray,
) -> dict[str, np.ndarray]:
    """The parameters of `DeepBind` out of the arrays of a parameter file, float (any shape).

    The file's detectors go by position, letter and detector. A model of one strand (of RNA) reads the other strand
    than the one that is given, so its detectors are turned here. The features go by detector, and where there are
    means, by maximum and mean.
    """
    d, n, hidden = shape.detector_len, shape.n_detectors, shape.n_hidden
    stored = np.asarray(detectors, np.float64).reshape(d, 4, n)
    if not shape.both_strands:
        stored = stored[::-1, ::-1]
    means = stored.mean(axis=1, keepdims=True)
    features = np.asarray(weights1, np.float64).reshape(n, 2 if shape.averages else 1, *((hidden,) if hidden else ()))
    bias = np.asarray(biases1, np.float64)
    params: dict[str, np.ndarray] = {
        'detectors': stored - means,
        'offsets': np.asarray(thresholds, np.float64) + means.sum(axis=(0, 1)),
        'weights': features[:, 0],
        'bias': bias if hidden else bias.reshape(()),
    }
    if shape.averages:
        params['mean_weights'] = features[:, 1]
    if hidden:
        params |= {'output_weights': np.asarray(weights2), 'output_bias': np.asarray(biases2).reshape(())}
    return {name: np.array(value, np.float32, order='C') for name, value in params.items()}


#: The shape that every published model of a TF fits in.
LARGEST = Shape(36, 16, True, True, 32)
#: How a run names the architecture of published models.
PUBLISHED = 'demo_jax.nn.deepbind:deepbind_published'


def in_one_shape(params: Mapping[str, np.ndarray], shape: Shape) -> dict[str, np.ndarray]:
    """Parameters of `deepbind_published` that give the scores of whole sequences of a model of any shape.

    Detectors get rows of zeros, `detector_len` says how many letters they have. A model without a hidden layer gets one
    of two units, for u = max(u, 0) - max(-u, 0).

    Raises:
      InputError: a model of one strand, or one that `LARGEST` does not hold.
    """
    if not shape.both_strands or any(own > most for own, most in zip(shape, LARGEST, strict=True)):
        raise InputError(f'a published model of shape {tuple(shape)} does not fit in {tuple(LARGEST)}')
    n = LARGEST.n_detectors
    found = {name: np.zeros(spec.shape, np.float32) for name, spec in _published_shapes().items()}
    found['detectors'][: shape.detector_len, :, : shape.n_detectors] = params['detectors']
    found['offsets'][: shape.n_detectors] = params['offsets']
    found['offsets'][shape.n_detectors : n] = -1  # never above zero
    found['detector_len'][...] = shape.detector_len
    for name in ('weights', 'mean_weights', 'bias'):
        if name not in params:
            continue
        own = params[name] if shape.n_hidden else np.stack([params[name], -params[name]], axis=-1)
        found[name][(*(slice(size) for size in own.shape[:-1]), slice(own.shape[-1]))] = own
    found['output_weights'][: shape.n_hidden or 2] = params['output_weights'] if shape.n_hidden else [1, -1]
    found['output_bias'][...] = params['output_bias'] if shape.n_hidden else 0
    return found


def of_trained(spec: ModelSpec, params: Any) -> tuple[DeepBind, dict[str, np.ndarray]] | None:
    """A trained model of the architecture 'deepbind' as one of `DeepBind`, which scores the same; None of others."""
    if spec != SPECS['deepbind']:
        return None
    width, filters = spec.conv[0]
    kernel = np.asarray(params['dense']['kernel'])
    weights = kernel[:, 1] - kernel[:, 0]
    bias = np.asarray(params['dense']['bias'])
    found = {
        'detectors': np.asarray(params['conv0']['kernel']),
        'offsets': np.asarray(params['conv0']['bias']),
        'weights': weights[:filters],
        'mean_weights': weights[filters:],
        'bias': bias[1] - bias[0],
    }
    return DeepBind(Shape(width, filters, True, True, 0), windows=False), found


def _published_shapes() -> dict[str, jax.ShapeDtypeStruct]:
    d, n, _, _, h = LARGEST
    shapes: dict[str, tuple[int, ...]] = {
        'detectors': (d, 4, n),
        'offsets': (n,),
        'weights': (n, h),
        'mean_weights': (n, h),
        'bias': (h,),
        'output_weights': (h,),
        'output_bias': (),
        'detector_len': (),
    }
    return {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}


def _published_init(key: Array) -> dict[str, jax.Array]:
    drawn = {name: 0.1 * jax.random.normal(jnp.asarray(key), spec.shape) for name, spec in _published_shapes().items()}
    return drawn | {'detector_len': jnp.float32(LARGEST.detector_len)}


def _published_apply(params: Any, x: Array, lengths: Array | None = None) -> jax.Array:
    """Scores (B,) of whole sequences x (B, L, 4), as `DeepBind` gives them."""
    d = LARGEST.detector_len
    padded = jnp.pad(x, ((0, 0), (d - 1, d - 1), (0, 0)))
    axes = ('NWC', 'WIO', 'NWC')
    both = stranded(params['detectors'])
    found = jax.lax.conv_general_dilated(padded, both, (1,), 'VALID', dimension_numbers=axes)
    offsets = jnp.concatenate([params['offsets']] * 2)
    length = jnp.full(len(x), x.shape[1]) if lengths is None else jnp.asarray(lengths)
    own = params['detector_len'].astype(jnp.int32)
    # A place counts where one of the detector's own letters lies on the sequence; those of the other strand end, not
    # begin, with zeros.
    place = jnp.arange(found.shape[1])[None]
    given = (place >= d - own) & (place < length[:, None] + d - 1)
    other = place < (length + own - 1)[:, None]
    counts = jnp.repeat(jnp.stack([given & (place >= 0), other], axis=-1), len(params['offsets']), axis=-1)
    responses = jnp.where(counts, jnp.maximum(found + offsets[None, None], 0), 0)
    mean = responses.sum(axis=1) / (length + own - 1)[:, None].astype(x.dtype)
    return _strand_scores(params, responses.max(axis=1), mean, LARGEST)


#: Published models of TFs as one architecture of a run, for whole sequences; its parameters are never trained.
deepbind_published = Architecture(_published_init, _published_apply, 'deepbind_published')
