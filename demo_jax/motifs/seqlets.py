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
_CELLS = 1 << 16  # letters looked at together: their sums stay in the cache
_NEVER = 1e6  # a loss that no stretch makes up for


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
    found = []
    for sign in signs:
        gains, null_gains = _gains(sign * maps, lengths, sign * null, null_lengths)
        row, start, width, score = best_stretches(gains, widths=widths)
        background = best_stretches(null_gains, widths=widths)[3]
        significance = against_null(score, background, len(maps), len(null))
        total = np.cumsum(np.pad(maps, ((0, 0), (1, 0))), axis=1)
        contribution = total[row, start + width] - total[row, start]
        found.append(Seqlets(row, start, width, np.full(len(row), sign, np.int8), contribution, score, *significance))
    every = Seqlets(
        *(np.concatenate([getattr(part, field.name) for part in found]) for field in dataclasses.fields(Seqlets))
    )
    return every.take(np.lexsort((every.start, every.row)))


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
    order = np.argsort(p_value, kind='stable')
    ranks = np.searchsorted(p_value[order], p_value[order], side='right')  # scores that tie are taken together
    rates = np.minimum.accumulate((expected * p_value[order] / ranks)[::-1])[::-1]
    q_value = np.empty(len(score))
    q_value[order] = np.minimum(rates, 1)
    return Significance(p_value, q_value)


def best_stretches(
    gains: np.ndarray, *, widths: tuple[int, int] = (LEAST_WIDTH, MOST_WIDTH)
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The stretches of each sequence with the highest sums above 0, greedily and without overlap.

    Args:
      gains: float (N, L), what each position adds; hugely negative where there is no sequence.
      widths: the fewest and most positions of a stretch.

    Returns:
      Rows, starts, widths (all int64) and sums (float64) of S stretches, (S,) each, in no order.
    """
    gains = np.asarray(gains, np.float64)
    none = np.zeros(0, np.int64)
    parts = [(none, none, none, np.zeros(0))]
    if widths[0] <= gains.shape[1]:
        step = max(1, _CELLS // gains.shape[1])
        for first in range(0, len(gains), step):
            parts += _rounds(gains[first : first + step].copy(), widths[0], min(widths[1], gains.shape[1]), first)
    row, start, width, score = (np.concatenate(column) for column in zip(*parts, strict=True))
    return row, start, width, score


def _rounds(
    gains: np.ndarray, low: int, high: int, first: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """The best stretch of each sequence of a block, then the best beside it, ... The block is overwritten."""
    parts, rows = [], np.arange(first, first + len(gains))
    length, place = gains.shape[1], np.arange(gains.shape[1])
    while len(rows):
        # The best stretch that ends before position t starts where the sum up to there is least, high to low before t.
        total = np.full((len(rows), high - low + length + 1), np.inf)
        total[:, high - low] = 0
        np.cumsum(gains, axis=1, out=total[:, high - low + 1 :])
        rises = total[:, high:] - _least_of(total, high - low + 1)[:, : length - low + 1]
        best = rises.argmax(axis=1)
        score = rises[np.arange(len(rows)), best]
        good = score > 1e-9
        rows, gains, total, best, score = rows[good], gains[good], total[good], best[good], score[good]
        before = np.lib.stride_tricks.sliding_window_view(total, high - low + 1, axis=1)[np.arange(len(rows)), best]
        width = high - before.argmin(axis=1)
        start = best + low - width
        parts.append((rows, start, width, score))
        gains[(place >= start[:, None]) & (place < (start + width)[:, None])] = -_NEVER
    return parts


def _least_of(values: np.ndarray, size: int) -> np.ndarray:
    """The least of every `size` neighbours: (n, m) -> (n, m - size + 1), in about log2(size) passes."""
    reach = 1
    while 2 * reach <= size:
        values = np.minimum(values[:, :-reach], values[:, reach:])
        reach *= 2
    rest = size - reach
    return np.minimum(values[:, : values.shape[1] - rest], values[:, rest:]) if rest else values


def _gains(
    maps: np.ndarray, lengths: np.ndarray, null: np.ndarray, null_lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Surprise less 1 and the drift, of each letter of the map and of the null; hugely negative behind an end."""
    inside, null_inside = (np.arange(a.shape[1]) < n[:, None] for a, n in ((maps, lengths), (null, null_lengths)))
    known = null[null_inside]
    # Contributions below the mean share one bin: only the tail matters.
    low, high = float(known.mean()), float(known.max())
    scale = (_BINS - 1) / (high - low) if high > low else 0.0

    def bins(values: np.ndarray) -> np.ndarray:
        return np.clip((values - low) * scale + 1, 0, _BINS + 1).astype(np.int64)

    counts = np.bincount(bins(known), minlength=_BINS + 2)
    share = (np.cumsum(counts[::-1])[::-1] + 1.0) / (len(known) + 1.0)
    gain = -np.log(share) - 1 - DRIFT
    return (np.where(inside, gain[bins(maps)], -_NEVER), np.where(null_inside, gain[bins(null)], -_NEVER))


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
    values = np.where(np.arange(values.shape[1]) < lengths[:, None], values, 0)
    if not np.isfinite(values).all():
        row = int(np.argmax(~np.isfinite(values).all(axis=1)))
        raise InputError(f'{what} holds a value that is not finite, in sequence {row}')
    if not values.any():
        raise InputError(f'{what} is 0 everywhere: the model does not react to any letter')
    return values, lengths
