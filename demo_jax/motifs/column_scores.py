"""Scores of motif columns against a motif database and their distribution by chance: the core of `tomtom.py`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from demo_jax.errors import InputError, brief

N_SCORE_BINS = 100  # MEME's BINS: the range of one column's integer scores


@dataclass(frozen=True, eq=False)
class Targets:
    """A motif database, prepared by `prepare_targets`.

    Attributes:
      ids: the n motif names.
      widths: int64 (n,), columns of each motif.
      columns: float64 (2W, 4): all columns of all n motifs, then those of their reverse complements, in
        the same order of motifs. W is the sum of `widths`.
    """

    ids: tuple[str, ...]
    widths: np.ndarray
    columns: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def index(self, motif: str) -> int:
        """The index of the motif with this id; InputError if there is none."""
        try:
            return self.ids.index(motif)
        except ValueError:
            raise InputError(f'no motif {brief(motif)} among the {len(self)} targets') from None


class PaddedTargets(NamedTuple):
    """All target columns in one row, with width - 1 blanks before each target and after the last.

    Each alignment of a query of this width with target k is then one start position in
    `starts[k]:starts[k] + widths[k] + width - 1`.

    Attributes:
      width: columns of the queries.
      widths: int64 (2n,), columns of each target.
      starts: int64 (2n,), the first start position of each target.
      places: int64 (2W,), the position of each target column in the row.
      length: positions in the row.
    """

    width: int
    widths: np.ndarray
    starts: np.ndarray
    places: np.ndarray
    length: int

    @classmethod
    def of(cls, targets: Targets, width: int) -> 'PaddedTargets':
        """The padded for queries of this width."""
        widths = np.tile(targets.widths, 2)
        sizes = widths + width - 1
        starts = np.cumsum(sizes) - sizes
        number = np.repeat(np.arange(len(widths)), widths)
        places = np.arange(len(number)) + (width - 1) * (number + 1)
        return cls(width, widths, starts, places, int(sizes.sum()) + width - 1)


class ColumnScores:
    """Integer scores of query columns against all target columns, and the p-values that follow from them.

    A query is a row of `letters` (B, w), the numbers of its columns.
    """

    def __init__(self, columns: np.ndarray, targets: Targets, padded: PaddedTargets, present: Sequence[int]) -> None:
        """`columns` float64 (C, 4); `present` lists the columns that occur in the queries: they set the scale."""
        self._padded = padded
        scores = np.zeros((len(columns), len(targets.columns)))
        for number in present:
            distance = np.sqrt(((columns[number] - targets.columns) ** 2).sum(axis=1))
            # MEME's median: of an even number of values, the lower of the middle two.
            scores[number] = np.partition(distance, len(distance) // 2)[len(distance) // 2] - distance
        lowest = int(np.floor(scores[present].min()))
        scale = int(N_SCORE_BINS / max(scores[present].max() - lowest, 1.0))
        self._zero = -lowest * scale  # the bin of score 0
        bins = np.floor(scores * scale + 0.5).astype(np.int64)
        self._chances = np.stack([np.bincount(row + self._zero, minlength=N_SCORE_BINS + 1) for row in bins])
        self._chances = self._chances / bins.shape[1]
        # Sums of scores fit 16 bits unless the query is very wide.
        dtype = np.int16 if padded.width * N_SCORE_BINS < 2**15 else np.int32
        self._scores = np.zeros((len(columns), padded.length), dtype)
        self._scores[:, padded.places] = bins
        self._sum_chances: dict[tuple[int, ...], np.ndarray] = {}
        self._spread: dict[tuple[int, ...], np.ndarray] = {}
        # The sum of these random numbers identifies a part of a query, whatever the order of its columns.
        self._names = np.random.default_rng(0).integers(2**62, size=len(columns))

    def _sums(self, letters: np.ndarray) -> Iterator[np.ndarray]:
        """The scores of each query (B, w) at all start positions, one query at a time, in one array that is reused."""
        width = self._padded.width
        positions = self._padded.length - width + 1
        parts = []
        for first in range(0, width, 3):  # many words share a triplet and thus its sums
            triplets, number = np.unique(letters[:, first : first + 3], axis=0, return_inverse=True)
            part = np.zeros((len(triplets), positions), self._scores.dtype)
            for place, letter in enumerate(triplets.T, start=first):
                part += self._scores[letter, place : place + positions]
            parts.append((part, number.ravel()))
        total = np.empty(positions, self._scores.dtype)  # one query at a time stays in the cache
        for query in range(len(letters)):
            total[:] = 0
            for part, number in parts:
                total += part[number[query]]
            yield total

    def best(self, letters: np.ndarray) -> np.ndarray:
        """The best score of each query (B, w) against each target and its reverse complement, (B, 2n)."""
        best = np.empty((len(letters), len(self._padded.starts)), self._scores.dtype)
        for row, total in zip(best, self._sums(letters), strict=True):
            np.maximum.reduceat(total, self._padded.starts, out=row)
        return best

    def alignments(self, letters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Best score (1, 2n), offset (2n,) and overlap (2n,) of one query (1, w).

        On a tie, the alignment with the largest overlap counts, then the leftmost, as in MEME.
        """
        padded = self._padded
        number = np.repeat(np.arange(len(padded.widths)), padded.widths + padded.width - 1)
        offset = np.arange(len(number)) - padded.starts[number] - (padded.width - 1)
        overlap = np.minimum(offset + padded.width, padded.widths[number]) - np.maximum(offset, 0)
        rank = next(self._sums(letters)).astype(np.int64) * (padded.width + 1) + overlap
        highest = np.flatnonzero(rank == np.maximum.reduceat(rank, padded.starts)[number])
        first = highest[np.unique(number[highest], return_index=True)[1]]
        return self.best(letters), offset[first], overlap[first]

    def p_values(self, best: np.ndarray, letters: np.ndarray) -> np.ndarray:
        """The chance of a score this good on one strand of a random target, float64 (B, 2n).

        Args:
          best: int (B, 2n), from `best`.
          letters: int (B, w).
        """
        n_queries, width = letters.shape
        edges = [(start, stop) for size in range(1, width) for start, stop in ((0, size), (width - size, width))]
        shorter = np.unique(self._padded.widths[self._padded.widths < width])
        inner = [(start, start + size) for size in shorter for start in range(width - size + 1)]
        table, rows = self._log_chances(letters, [*edges, *inner, (0, width)])
        row_of = dict(zip([*edges, *inner, (0, width)], rows.T, strict=True))
        place = best + width * self._zero

        # Log chance that no alignment reaches the score: alignments that stick out at either end of the target...
        log_none = np.empty(best.shape)
        outside = np.zeros((n_queries, table.shape[1]))
        for size in range(1, width):
            if size in shorter:  # ... alignments with the target inside the query ...
                within = outside + sum(table[row_of[start, start + size]] for start in range(width - size + 1))
                same = np.flatnonzero(self._padded.widths == size)
                log_none[:, same] = np.take_along_axis(within, place[:, same], axis=1)
            outside += table[row_of[0, size]]
            outside += table[row_of[width - size, width]]
        # ... and alignments with the query inside the target.
        same = np.flatnonzero(self._padded.widths >= width)
        repeats = self._padded.widths[same] - width + 1
        full = table[row_of[0, width]]
        log_none[:, same] = np.take_along_axis(outside, place[:, same], axis=1)
        log_none[:, same] += repeats * np.take_along_axis(full, place[:, same], axis=1)
        return -np.expm1(log_none)

    def _log_chances(self, letters: np.ndarray, spans: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """Log chance that a part of a query scores less than each value against random columns.

        Args:
          letters: int (B, w).
          spans: S parts of the query, (start, stop); fast if shorter parts come first.

        Returns:
          float64 (R, 100 w + 1): one row per distinct composition; the first column stands for the lowest score of the
          whole query. int64 (B, S): for each query and part, the number of its row.
        """
        n_queries, width = letters.shape
        named = np.concatenate([np.zeros((n_queries, 1), np.int64), self._names[letters].cumsum(axis=1)], axis=1)
        start, stop = np.array(spans).T
        _, example, rows = np.unique(named[:, stop] - named[:, start], return_index=True, return_inverse=True)
        table = np.empty((len(example), N_SCORE_BINS * width + 1))
        for row, number in enumerate(example):
            query, span = divmod(int(number), len(spans))
            part = tuple(sorted(letters[query, start[span] : stop[span]].tolist()))
            table[row] = self._log_chance(part)
        return table, rows.reshape(n_queries, len(spans))

    def _log_chance(self, part: tuple[int, ...]) -> np.ndarray:
        """One row of `_log_chances`, kept for the next block of queries."""
        if part not in self._spread:
            width = self._padded.width
            chances = self._chances_of_sum(part)
            at_least = np.minimum(np.cumsum(chances[::-1])[::-1], 1.0)  # summed from the top: small tails stay exact
            lowest = (width - len(part)) * self._zero
            row = np.full(N_SCORE_BINS * width + 1, -np.inf)
            row[lowest + len(chances) :] = 0.0
            with np.errstate(divide='ignore'):
                row[lowest : lowest + len(chances)] = np.log1p(-at_least)
            self._spread[part] = row
        return self._spread[part]

    def _chances_of_sum(self, part: tuple[int, ...]) -> np.ndarray:
        """The distribution of the sum of some columns' bins, float64 (100 k + 1,) for k columns."""
        if len(part) == 1:
            return self._chances[part[0]]
        if part not in self._sum_chances:
            if part[1:] in self._sum_chances:
                rest, last = part[1:], part[0]
            else:
                rest, last = part[:-1], part[-1]
            self._sum_chances[part] = np.convolve(self._chances_of_sum(rest), self._chances[last])
        return self._sum_chances[part]
