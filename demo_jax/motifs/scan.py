"""Where known motifs occur in sequences: hits with exact p-values, as FIMO reports them (pure).

The score of a window is the sum of the log odds of its letters against a background. Scores are rounded to hundredths
of a bit. The 4^w words then have few distinct scores, so the p-value, the chance that a random word scores at least as
high, is computed exactly, column by column (Staden 1989, Comput Appl Biosci 5:89).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demo_jax.errors import InputError, brief

THRESHOLD = 1e-4  # FIMO's default
UNIFORM = (0.25, 0.25, 0.25, 0.25)
_NEVER = -(10**9)  # the score of an N, lower than that of any word


@dataclass(frozen=True, eq=False)
class Scanner:
    """A motif that is prepared for scanning.

    Attributes:
      scores: int64 (w, 4), log odds of A C G T in each column, in units of `unit` bits.
      unit: bits.
      lowest: the lowest score of any word, in units.
      survival: float64 (R + 1,), `survival[k]` is the chance that a random word of the background scores
        `lowest + k` or more.
    """

    scores: np.ndarray
    unit: float
    lowest: int
    survival: np.ndarray

    @property
    def width(self) -> int:
        """Letters of the motif."""
        return len(self.scores)

    def p_value(self, score: np.ndarray) -> np.ndarray:
        """The chance (...,) that a random word scores at least `score` (...,), in units; 1 below `lowest`."""
        at = np.asarray(score, np.int64) - self.lowest
        inside = self.survival[np.clip(at, 0, len(self.survival) - 1)]
        return np.where(at >= len(self.survival), 0.0, inside)

    def least_score(self, threshold: float) -> int | None:
        """The lowest score, in units, with a p-value of at most `threshold`; None if even the best word's is higher."""
        good = np.flatnonzero(self.survival <= threshold)
        return None if not len(good) else int(self.lowest + good[0])

    def reachable(self, threshold: float) -> float:
        """max(threshold, p-value of the best word): a short motif may have no word as rare as the threshold."""
        return max(threshold, float(self.survival[-1]))


@dataclass(frozen=True, eq=False)
class Hits:
    """H hits of one motif, in order of row, start and strand ('+' first).

    Attributes:
      row: int64 (H,), index of the sequence.
      start: int64 (H,), 0-based position of the leftmost letter, on the sequence as given.
      strand: int8 (H,), 1, or -1 if the reverse complement of the window matches.
      score: float64 (H,), log odds in bits.
      p_value: float64 (H,), of one window on one strand, not corrected for multiple testing.
      width: letters of the motif.
      threshold: the largest p-value of a hit.
    """

    row: np.ndarray
    start: np.ndarray
    strand: np.ndarray
    score: np.ndarray
    p_value: np.ndarray
    width: int
    threshold: float = THRESHOLD

    def __len__(self) -> int:
        return len(self.row)

    def once(self) -> 'Hits':
        """One hit per window: if both strands match (palindromes), keep the higher-scoring one, and '+' on a tie."""
        twin = np.flatnonzero((self.row[1:] == self.row[:-1]) & (self.start[1:] == self.start[:-1]))
        best = np.ones(len(self), bool)
        best[np.where(self.score[twin + 1] > self.score[twin], twin, twin + 1)] = False
        return Hits(
            self.row[best],
            self.start[best],
            self.strand[best],
            self.score[best],
            self.p_value[best],
            self.width,
            self.threshold,
        )

    def of_row(self, row: int) -> list[tuple[int, int, float, float]]:
        """(start, strand, score, p) of the hits in one sequence, one per window."""
        hits = self.once()
        return [
            (int(hits.start[at]), int(hits.strand[at]), float(hits.score[at]), float(hits.p_value[at]))
            for at in np.flatnonzero(hits.row == row)
        ]


def prepare_scanner(
    probabilities: np.ndarray,
    *,
    background: Sequence[float] = UNIFORM,
    pseudocount: float = 0.01,
    unit: float = 0.01,
) -> Scanner:
    """Log odds of a motif in whole units, and the exact distribution of its scores over random words.

    Args:
      probabilities: float (w, 4), columns A C G T whose rows add up to 1 (to 1e-3).
      background: probabilities of A C G T, above 0.
      pseudocount: how much of the background is mixed into each column, relative to 1.
      unit: bits that scores are rounded to; the distribution has (range of scores / unit) entries.

    Raises:
      InputError: not a matrix of probabilities, or a setting out of range; the message has the value.
    """
    matrix = np.asarray(probabilities, np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != 4 or not len(matrix):
        raise InputError(f'motif to scan with has shape {matrix.shape}, expected (width, 4)')
    if not (np.isfinite(matrix).all() and matrix.min() >= 0 and np.abs(matrix.sum(axis=1) - 1).max() < 1e-3):
        raise InputError(f'motif to scan with has rows like {brief(matrix[0].tolist())}, expected probabilities')
    odds = np.asarray(background, np.float64)
    if odds.shape != (4,) or not odds.min() > 0 or abs(odds.sum() - 1) > 1e-3:
        raise InputError(f'background is {brief(list(background))}, expected four probabilities above 0')
    if not pseudocount > 0 or not unit > 0:
        raise InputError(f'pseudocount {pseudocount} and unit {unit} must be above 0')
    odds = odds / odds.sum()
    mixed = (matrix + pseudocount * odds) / (1 + pseudocount)
    scores = np.rint(np.log2(mixed / odds) / unit).astype(np.int64)
    chances = np.ones(1)
    for column in scores - scores.min(axis=1, keepdims=True):
        longer = np.zeros(len(chances) + column.max())
        for shift, chance in zip(column, odds, strict=True):
            longer[shift : shift + len(chances)] += chance * chances
        chances = longer
    survival = np.minimum(np.cumsum(chances[::-1])[::-1], 1.0)  # summed from the rarest: small values stay exact
    return Scanner(scores, unit, int(scores.min(axis=1).sum()), survival)


def word_scores(scanner: Scanner, tokens: np.ndarray) -> np.ndarray:
    """Scores, in units, of every window of tokens uint8 (N, L): int64 (N, L - w + 1); hugely negative with an N."""
    tokens = np.asarray(tokens)
    n_starts = max(tokens.shape[1] - scanner.width + 1, 0)
    table = np.concatenate([scanner.scores, np.full((scanner.width, 1), _NEVER)], axis=1)
    total = np.zeros((len(tokens), n_starts), np.int64)
    for place, column in enumerate(table):
        total += column[tokens[:, place : place + n_starts]]
    return total


def find_hits(scanner: Scanner, tokens: np.ndarray, *, threshold: float = THRESHOLD) -> Hits:
    """Every window on either strand with a p-value of at most the threshold; windows with an N are skipped.

    Args:
      scanner: from `prepare_scanner`, with the same background on both strands (A as frequent as T, C as G).
      tokens: uint8 (N, L), padded with N.
      threshold: the largest p-value.
    """
    least = scanner.least_score(threshold)
    tokens = np.asarray(tokens)
    reversed_scanner = Scanner(scanner.scores[::-1, ::-1], scanner.unit, scanner.lowest, scanner.survival)
    both = np.stack([word_scores(scanner, tokens), word_scores(reversed_scanner, tokens)], axis=-1)
    row, start, reverse = np.nonzero(both >= least) if least is not None else (np.zeros(0, np.int64),) * 3
    score = both[row, start, reverse]
    return Hits(
        row=row,
        start=start,
        strand=np.where(reverse == 1, -1, 1).astype(np.int8),
        score=score * scanner.unit,
        p_value=scanner.p_value(score),
        width=scanner.width,
        threshold=threshold,
    )


def known_hits(probabilities: np.ndarray, tokens: np.ndarray, *, threshold: float = THRESHOLD) -> Hits:
    """Hits of a motif; if it is too short for any word to reach the threshold, its best words.

    Args:
      probabilities: float (w, 4).
      tokens: uint8 (N, L), padded with N.
      threshold: the largest p-value. A motif of six columns has no word below 4^-6 = 2.4e-4; the `threshold` of the
        result is then the p-value of its best word.

    Raises:
      InputError: as `prepare_scanner`.
    """
    scanner = prepare_scanner(probabilities)
    return find_hits(scanner, tokens, threshold=scanner.reachable(threshold))
