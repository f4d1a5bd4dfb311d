"""Seqlets: the stretches of sequences that matter to a model, of either sign, with false discovery rates (pure).

A *seqlet* is a stretch of 4 to 25 letters whose contributions are unusually high. What is usual is told by a *null*:
maps of the same model, made in the same way, of sequences without sites, e.g. of dinucleotide shuffles.

1. The *surprise* of a letter is -ln of the share of the null's letters that contribute at least as much. Over the null
   it is exponential with mean 1, whatever the units of the map. A letter gains a stretch its surprise less 1, less a
   drift: below zero on average, as scores of maximal segments must be (Karlin and Altschul 1990, PNAS 87:2264).
2. The stretch of a sequence with the highest sum comes first, then the highest of those beside it, and so on while
   sums are above zero. Stretches do not overlap.
3. The null's stretches are found in the same way. p of a seqlet is the share of them that score at least as high. q is
   the false discovery rate among the seqlets of the same sign if all that score as high are taken. Each sign has its
   own null and its own q-values; else the few seqlets of one sign would pass for as good as the many of the other.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.motifs.tomtom import null_share

LEAST_WIDTH, MOST_WIDTH = 4, 25
#: Sequences, of either kind, below which nothing is called: a share of few null seqlets is no p-value.
LEAST_SEQUENCES = 20
#: Taken from each letter's surprise beside the mean of 1. On simulated data, 0 to 1 find about as many sites at the
#: same false discovery rate, and more than sums of contributions do.
DRIFT = 0.5
_BINS = 1 << 12  # of contributions, for shares of the null
_CELLS = 1 << 18  # letters looked at together: their sums stay in the cache
_NOTHING = 1e-9  # sums of floats up to here are rounding errors
_SHORT = 1000  # letters whose gains, at most 14 nats each, sum up to less than 2^30 in `_UNIT`
_UNIT = 1 << 16  # gains are whole numbers of 1 / _UNIT: sums are exact, and what ties does


@dataclasses.dataclass(frozen=True, eq=False)
class Seqlets:
    """S seqlets, in order of `row` and `start`.

    Attributes:
      row: int64 (S,), the row of the seqlet's sequence in the map.
      start: int64 (S,), 0-based position of its leftmost letter.
      width: int64 (S,), its letters.
      sign: int8 (S,), 1 if it speaks for binding, -1 if against.
      contribution: float64 (S,), the sum of its contributions; below 0 if `sign` is.
      score: float64 (S,), the sum of its letters' surprise, each less 1 and the drift; above 0.
      p_value: float64 (S,), the share of the null's seqlets of this sign that score as high (one is added to both
        counts, so that none is 0).
      q_value: float64 (S,), the false discovery rate among the seqlets of this sign with at least this score.
    """

    row: np.ndarray
    start: np.ndarray
    width: np.ndarray
    sign: np.ndarray
    contribution: np.ndarray
    score: np.ndarray
    p_value: np.ndarray
    q_value: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    @property
    def stop(self) -> np.ndarray:
        """int64 (S,), one past the last letter of each."""
        return self.start + self.width

    def take(self, chosen: np.ndarray) -> 'Seqlets':
        """Some of them, by a mask (S,) or by their numbers."""
        return Seqlets(*(getattr(self, field.name)[chosen] for field in dataclasses.fields(self)))


_NONE, _NO_NUMBERS = np.zeros(0, np.int64), np.zeros(0)
#: None at all.
NO_SEQLETS = Seqlets(_NONE, _NONE, _NONE, np.zeros(0, np.int8), _NO_NUMBERS, _NO_NUMBERS, _NO_NUMBERS, _NO_NUMBERS)


def signed_at(hypothetical: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Contributions (N, L) of the letters that are there, tokens (N, L), out of those of all four (N, L, 4); N: 0."""
    letters = np.minimum(tokens, 3)[..., None].astype(np.int64)
    return np.where(tokens < dna.N, np.take_along_axis(hypothetical, letters, axis=2)[..., 0], 0)


def call_seqlets(
    maps: np.ndarray,
    null: np.ndarray,
    *,
    lengths: np.ndarray | None = None,
    null_lengths: np.ndarray | None = None,
    widths: tuple[int, int] = (LEAST_WIDTH, MOST_WIDTH),
    signs: Sequence[int] = (1, -1),
) -> Seqlets:
    """All seqlets of some maps, whatever their q-value; `found.take(found.q_value <= 0.05)` are those to go on with.

    Args:
      maps: float (N, L), the contribution of each letter; or (N, L, 4), 0 for letters that are not there. Hypothetical
        contributions become (N, L) by `signed_at`.
      null: the same of M sequences without sites, by the same model and method, e.g. of dinucleotide shuffles.
      lengths, null_lengths: int (N,) and (M,), true lengths; None: all L.
      widths: the fewest and most letters of a seqlet.
      signs: those to be called.

    Raises:
      InputError: maps of another shape, not finite or all zero, fewer than 20 sequences of either kind, or widths
        out of range.
    """
    low, high = widths
    if not 1 <= low <= high:
        raise InputError(f'widths of seqlets are {low} to {high}, expected 1 or more and in order')
    maps, lengths = checked_map(maps, lengths, 'the map')
    null, null_lengths = checked_map(null, null_lengths, 'the null map')
    gains = _gains(maps, lengths, null, null_lengths, signs)
    n, every_length = len(maps) + len(null), np.concatenate([lengths, null_lengths])
    row, start, width, score = best_stretches(
        gains.reshape(-1, gains.shape[2]), widths=widths, lengths=np.tile(every_length, len(signs))
    )
    of_sign, row = np.divmod(row, n)
    mine = row < len(maps)
    background = [score[~mine & (of_sign == number)] / _UNIT for number in range(len(signs))]
    mine = np.flatnonzero(mine)
    # One key that tells all apart sorts several times faster than np.lexsort.
    place = (row[mine] * maps.shape[1] + start[mine]) * len(signs) + of_sign[mine]
    mine = mine[np.argsort(place)]
    of_sign, row, start, width, value = of_sign[mine], row[mine], start[mine], width[mine], score[mine] / _UNIT
    total = np.zeros((len(maps), maps.shape[1] + 1))
    np.cumsum(maps, axis=1, out=total[:, 1:])
    contribution = total[row, start + width] - total[row, start]
    p_value, q_value = np.zeros((2, len(row)))
    for number, beside in enumerate(background):
        at = np.flatnonzero(of_sign == number)
        p_value[at], q_value[at] = against_null(value[at], beside, len(maps), len(null))
    return Seqlets(row, start, width, np.array(signs, np.int8)[of_sign], contribution, value, p_value, q_value)


class Significance(NamedTuple):
    """p- and q-values, float64 (S,)."""

    p_value: np.ndarray
    q_value: np.ndarray


def against_null(score: np.ndarray, null: np.ndarray, sequences: int, null_sequences: int) -> Significance:
    """How significant scores are, by the scores of a null.

    p is (k + 1) / (m + 1), where k of the null's m scores are at least as high. Of S scores, S0 are expected to be
    null: the lower of Storey's estimate from their p-values (`tomtom.null_share`) and the null's number per sequence
    times the sequences. S0 p are then expected to be null and at least as high; q is this number divided by how many
    scores are at least as high, or that of a lower score if it is less.

    Args:
      score: float (S,).
      null: float (m,).
      sequences, null_sequences: that the scores are of.
    """
    if not len(score):
        return Significance(np.zeros(0), np.zeros(0))
    above = len(null) - np.searchsorted(np.sort(null), score, side='left')
    p_value = (above + 1.0) / (len(null) + 1.0)
    expected = min(null_share(p_value[None])[0] * len(score), max(len(null), 1) * sequences / null_sequences)
    taken = np.cumsum(np.bincount(above, minlength=len(null) + 1))  # scores that at most 0, 1, ... of the null's reach
    rates = expected * (np.arange(len(null) + 1) + 1.0) / (len(null) + 1.0) / np.maximum(taken, 1)
    rates = np.where(taken > 0, rates, np.inf)
    rates = np.minimum.accumulate(rates[::-1])[::-1]
    return Significance(p_value, np.minimum(rates, 1)[above])


def best_stretches(
    gains: np.ndarray, *, widths: tuple[int, int] = (LEAST_WIDTH, MOST_WIDTH), lengths: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The stretches of each sequence with the highest sums above 0, greedily and without overlap.

    Args:
      gains: float or integer (N, L), what each position adds. Sums of integers are exact; they must stay below a
        quarter of what their type can hold.
      widths: the fewest and most positions of a stretch.
      lengths: int (N,), where each sequence ends; None: all at L.

    Returns:
      Rows, starts, widths (all int64) and sums (of the type of the gains) of S stretches, (S,) each, in no order.
    """
    none = np.zeros(0, np.int64)
    parts = [(none, none, none, np.zeros(0, gains.dtype))]
    if widths[0] <= gains.shape[1]:
        step = max(1, _CELLS // gains.shape[1])
        lengths = np.full(len(gains), gains.shape[1]) if lengths is None else lengths
        # One piece of memory for all blocks: to ask for it, and to touch it first, costs more than the work in it.
        room = np.empty(
            (4, min(step, len(gains)), gains.shape[1] + 1 + 2 * min(widths[1], gains.shape[1])), gains.dtype
        )
        for first in range(0, len(gains), step):
            block = slice(first, first + step)
            parts += _rounds(gains[block], lengths[block], widths[0], min(widths[1], gains.shape[1]), first, room)
    row, start, width, score = (np.concatenate(column) for column in zip(*parts, strict=True))
    return row, start, width, score


def _rounds(
    gains: np.ndarray, lengths: np.ndarray, low: int, high: int, first: int, room: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """The best stretch of each sequence of a block, then the best beside it, ...

    The best stretch that ends before position t starts where the sum up to there is least, high to low before t. Once a
    stretch is taken, none ends in it, and none that ends behind it starts before its end: what an end is worth changes
    from the stretch's start to `high` behind it, and nowhere else.
    """
    (n, length), reach, whole = gains.shape, high - low, gains.dtype.kind == 'i'
    far = np.iinfo(gains.dtype).max // 2 if whole else np.inf
    # Sums up to each position, and what each end is worth, both with room for `high` positions on either side.
    total, worth, *buffers = room[:, :n]
    total[:], worth[:] = far, -far
    total[:, high] = 0
    np.cumsum(gains, axis=1, out=total[:, high + 1 : high + 1 + length])
    ends = slice(high + low, high + 1 + length)
    np.subtract(total[:, ends], _least_of(total, reach + 1, buffers)[:, low : length + 1], out=worth[:, ends])
    if (lengths < length).any():
        worth[np.arange(-high, length + 1 + high) > lengths[:, None]] = -far
    sums_around, worth_around = (
        np.lib.stride_tricks.sliding_window_view(array, 2 * high + 1, axis=1, writeable=True)
        for array in (total, worth)
    )
    inside = np.arange(-high, 1) > -np.arange(high + 1)[:, None]  # of a stretch of 0, 1, ... positions
    ended = np.where(inside, -far, far).astype(gains.dtype)
    parts, at = [], np.arange(n)
    while len(at):
        stop = worth[at].argmax(axis=1) if 2 * len(at) < n else worth.argmax(axis=1)[at]  # a copy of most costs more
        score = worth[at, stop]
        good = score > (0 if whole else _NOTHING)
        at, stop, score = at[good], stop[good] - high, score[good]
        sums, values = sums_around[at, stop], worth_around[at, stop]
        # The last start that gives this score: an earlier one may lie before a stretch that was taken.
        misses = np.abs(sums[:, reach::-1] - (sums[:, high] - score)[:, None])
        width = low + misses.argmin(axis=1)
        parts.append((first + at, stop - width, width, score))
        values[:, high + 1 : high + low] = -far
        before = sums[:, high : high + 1 + reach].T.copy()  # contiguous
        for later, earlier in zip(before[1:], before, strict=False):  # the least so far
            np.minimum(later, earlier, out=later)
        fresh = sums[:, high + low :] - before.T
        np.minimum(values[:, high + low :], fresh, out=values[:, high + low :])
        np.minimum(values[:, : high + 1], ended[width], out=values[:, : high + 1])
        worth_around[at, stop] = values
    return parts


def _least_of(values: np.ndarray, size: int, buffers: Sequence[np.ndarray]) -> np.ndarray:
    """The least of each place and the `size - 1` behind it, in about log2(size) passes: (n, m) -> (n, m).

    The last `size - 1` places of a row, which have fewer behind them, mean nothing. The result is the values, or one of
    two buffers of their shape.
    """
    now, reach, turn = values.reshape(-1), 1, 0  # one long row: few calls, and contiguous
    while reach < size:
        step = min(reach, size - reach)
        then = buffers[turn].reshape(-1)
        np.minimum(now[: len(now) - step], now[step:], out=then[: len(now) - step])
        now, reach, turn = then, reach + step, 1 - turn
    return now.reshape(values.shape)


def _gains(
    maps: np.ndarray, lengths: np.ndarray, null: np.ndarray, null_lengths: np.ndarray, signs: Sequence[int]
) -> np.ndarray:
    """Surprise less 1 and the drift, in 1 / `_UNIT`, of each letter of the map (N, L) and of the null (M, L'), by sign.

    Returns:
      Integers (signs, N + M, the larger of L and L').
    """
    longest = max(maps.shape[1], null.shape[1])
    gains = np.zeros((len(signs), len(maps) + len(null), longest), np.int32 if longest <= _SHORT else np.int64)
    inside = None if (null_lengths == null.shape[1]).all() else np.arange(null.shape[1]) < null_lengths[:, None]
    known = null if inside is None else null[inside]
    mean, highest, lowest = float(known.mean()), float(known.max()), float(known.min())
    bins = [np.empty(array.shape, np.int64) for array in (maps, null)]
    scaled = [np.empty(array.shape) for array in (maps, null)]
    for sign, into in zip(signs, gains, strict=True):
        # Contributions below the mean share one bin: only the tail matters.
        low, high = sign * mean, highest if sign > 0 else -lowest
        scale = (_BINS - 1) / (high - low) if high > low else 0.0
        for array, room, out in zip((maps, null), scaled, bins, strict=True):
            np.multiply(array, sign * scale, out=room)
            np.clip(room, low * scale - 1, low * scale + _BINS, out=room)  # what is far outside would not fit integers
            np.add(room, 1 - low * scale, out=out, casting='unsafe')
            np.maximum(out, 0, out=out)
        counts = np.bincount((bins[1] if inside is None else bins[1][inside]).ravel(), minlength=_BINS + 2)
        share = (np.cumsum(counts[::-1])[::-1] + 1.0) / (known.size + 1.0)
        gain = np.rint((-np.log(share) - 1 - DRIFT) * _UNIT).astype(gains.dtype)
        into[: len(maps), : maps.shape[1]] = gain.take(bins[0])
        into[len(maps) :, : null.shape[1]] = gain.take(bins[1])
    return gains


def checked_map(
    maps: np.ndarray, lengths: np.ndarray | None, what: str, *, least: int = LEAST_SEQUENCES
) -> tuple[np.ndarray, np.ndarray]:
    """A map as float64 (N, L), 0 behind each sequence's end, and the lengths.

    Args:
      maps: float (N, L) or (N, L, 4), see `call_seqlets`.
      lengths: int (N,), or None: all L.
      what: what an error calls it.
      least: sequences that it needs.

    Raises:
      InputError: another shape, fewer sequences, a value that is not finite, or nothing but 0.
    """
    maps = np.asarray(maps)
    if maps.dtype.kind not in 'iuf' or not (maps.ndim == 2 or (maps.ndim == 3 and maps.shape[2] == 4)):
        raise InputError(f'{what} is {maps.dtype} of shape {maps.shape}, expected numbers (N, L) or (N, L, 4)')
    if len(maps) < least:
        raise InputError(f'{what} is of {len(maps)} sequences, expected {least} or more')
    values = maps.astype(np.float64) if maps.ndim == 2 else maps.sum(axis=2, dtype=np.float64)
    lengths = np.full(len(values), values.shape[1]) if lengths is None else np.asarray(lengths, np.int64)
    if lengths.shape != (len(values),) or lengths.max() > values.shape[1]:
        raise InputError(f'{what} of shape {values.shape} has lengths of shape {lengths.shape} up to {lengths.max()}')
    if (lengths < values.shape[1]).any():
        values = np.where(np.arange(values.shape[1]) < lengths[:, None], values, 0)
    if not np.isfinite(values).all():
        row = int(np.argmax(~np.isfinite(values).all(axis=1)))
        raise InputError(f'{what} holds a value that is not finite, in sequence {row}')
    if not values.any():
        raise InputError(f'{what} is 0 everywhere: the model does not react to any letter')
    return values, lengths
