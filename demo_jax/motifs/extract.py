"""Motifs out of explanations: the windows that mattered, and matrices made of them (pure).

Each sequence gives one window, 9 letters wide by default, as in the paper's section 3. Windows lie inside the sequence;
a sequence that is shorter than a window gives none. On a tie, the first window counts.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from demo_jax import dna

WIDTH = 9


@dataclass(frozen=True, eq=False)
class Windows:
    """W windows, at most one per sequence here, in order of `row`.

    Attributes:
      row: int64 (W,), the row of the window's sequence in the arrays that it was chosen from.
      start: int64 (W,), 0-based position of the window's leftmost letter.
      strand: int8 (W,), 1, or -1 if the window is read on the reverse strand.
      score: float64 (W,), the score by which the window was chosen; NaN if there is none.
      width: letters per window.
    """

    row: np.ndarray
    start: np.ndarray
    strand: np.ndarray
    score: np.ndarray
    width: int = WIDTH

    def __len__(self) -> int:
        return len(self.row)

    def tokens(self, tokens: np.ndarray) -> np.ndarray:
        """The letters of each window on its strand, uint8 (W, width), from tokens uint8 (N, L)."""
        cut = np.asarray(tokens)[self.row[:, None], self.start[:, None] + np.arange(self.width)]
        return np.where(self.strand[:, None] < 0, dna.reverse_complement(cut), cut)

    def words(self, tokens: np.ndarray) -> list[str]:
        """The letters of each window on its strand as a string, from tokens uint8 (N, L)."""
        text = dna.decode(self.tokens(tokens).ravel())
        return [text[start : start + self.width] for start in range(0, len(text), self.width)]


class SubMatrix(NamedTuple):
    """Part of a matrix.

    Attributes:
      start: its first row in the full matrix.
      probabilities: float64 (width, 4).
      information: float64 (width,), bits per column.
    """

    start: int
    probabilities: np.ndarray
    information: np.ndarray


def best_windows(scores: np.ndarray, lengths: np.ndarray | None = None, *, width: int = WIDTH) -> Windows:
    """For each sequence, the window with the highest sum of scores, e.g. of saliency.

    Args:
      scores: float (N, L), one per position; scores past the end of a sequence are ignored.
      lengths: int (N,), true lengths; None: all L.
      width: letters per window.
    """
    scores = np.asarray(scores, np.float64)
    lengths = _lengths(scores, lengths)
    if scores.shape[1] < width:
        return _windows(np.empty((len(scores), 0)), lengths, width)
    sums = np.lib.stride_tricks.sliding_window_view(scores, width, axis=1).sum(axis=2)
    return _windows(sums, lengths, width)


def steepest_windows(
    temporal: np.ndarray, lengths: np.ndarray | None = None, *, width: int = WIDTH, reverse: bool = False
) -> Windows:
    """For each sequence, the window with the strongest rise of the temporal score.

    The rise over a window is the score after its last letter minus the score after its first letter. As in the paper,
    a window over which the score changes from negative to positive is preferred; if a sequence has no such window, the
    steepest of all windows is taken.

    Args:
      temporal: float (N, L). `temporal[n, t]` is the score of the prefix that ends with position t, or,
        with `reverse`, of the suffix that starts with position t.
      lengths: int (N,), true lengths; None: all L.
      width: letters per window.
      reverse: the scores are of suffixes, read from the end of the sequence to its start.

    Returns:
      Windows on the forward strand; their score is the rise. If no rise is known: the first window, with score NaN.
    """
    temporal = np.asarray(temporal, np.float64)
    lengths = _lengths(temporal, lengths)
    n_starts = max(temporal.shape[1] - width + 1, 0)
    left, right = temporal[:, :n_starts], temporal[:, width - 1 : width - 1 + n_starts]
    early, late = (right, left) if reverse else (left, right)
    rise = np.where(np.isnan(late - early), -np.inf, late - early)  # prefixes too short for the model have no score
    steepest = _windows(rise, lengths, width, first=(early < 0) & (late > 0))
    return replace(steepest, score=np.where(np.isfinite(steepest.score), steepest.score, np.nan))


def activation_windows(
    start: np.ndarray,
    filter_width: int,
    lengths: np.ndarray,
    *,
    score: np.ndarray | None = None,
    width: int = WIDTH,
) -> Windows:
    """Windows around the strongest response of a convolution filter.

    A window has the same centre as the filter (half a letter to the right if one width is odd and the other even). It
    is moved if needed to lie inside the sequence.

    Args:
      start: int (N,), leftmost position under the filter; any value outside the sequence (padding) is accepted.
      filter_width: letters under the filter.
      lengths: int (N,), true lengths.
      score: float (N,), the activations; None: NaN.
      width: letters per window.
    """
    start, lengths = np.asarray(start, np.int64), np.asarray(lengths, np.int64)
    row = np.flatnonzero(lengths >= width)
    moved = start - (width - filter_width) // 2
    score = np.full(len(start), np.nan) if score is None else np.asarray(score, np.float64)
    return Windows(
        row=row,
        start=np.clip(moved, 0, np.maximum(lengths - width, 0))[row],
        strand=np.ones(len(row), np.int8),
        score=score[row],
        width=width,
    )


def random_windows(rng: np.random.Generator, windows: Windows, lengths: np.ndarray) -> Windows:
    """Random windows of the same number and width in the same sequences, for the chance level.

    Args:
      rng: source of randomness.
      windows: the windows to be compared with chance.
      lengths: int (N,), true lengths of the sequences they come from.
    """
    start = rng.integers(0, np.asarray(lengths, np.int64)[windows.row] - windows.width + 1)
    return Windows(windows.row, start, np.ones(len(windows), np.int8), np.full(len(windows), np.nan), windows.width)


def best_submatrix(probabilities: np.ndarray, *, width: int = WIDTH) -> SubMatrix:
    """The most informative part of a matrix, e.g. of a class-optimised sequence.

    Args:
      probabilities: float (L, 4), rows that add up to 1.
      width: rows of the part; a shorter matrix is returned unchanged.
    """
    probabilities = np.asarray(probabilities, np.float64)
    bits = dna.information_content(probabilities)
    width = min(width, len(bits))
    sums = np.lib.stride_tricks.sliding_window_view(bits, width).sum(axis=1)
    start = int(np.argmax(sums))
    return SubMatrix(start, probabilities[start : start + width], bits[start : start + width])


def count_matrix(tokens: np.ndarray) -> np.ndarray:
    """Counts of each letter in each column of aligned windows, uint8 (W, w) -> float64 (w, 4).

    An N counts a quarter for each letter.
    """
    tokens = np.asarray(tokens)
    counts = dna.one_hot(tokens).sum(axis=0, dtype=np.float64)
    return counts + (tokens == dna.N).sum(axis=0)[:, None] / 4


def pwm_from_windows(tokens: np.ndarray, *, pseudocount: float = 0.5) -> np.ndarray:
    """Probabilities of A C G T in each column of aligned windows.

    Args:
      tokens: uint8 (W, w), from `Windows.tokens`; an N counts a quarter for each letter.
      pseudocount: added to the count of each letter. With 0 and no windows every column is uniform.

    Returns:
      float64 (w, 4), rows that add up to 1.
    """
    counts = count_matrix(tokens) + pseudocount
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.full_like(counts, 0.25), where=total > 0)


def consensus(probabilities: np.ndarray) -> str:
    """The most probable letter of each column of (w, 4); on a tie, the first in A C G T."""
    return dna.decode(np.asarray(probabilities).argmax(axis=1))


def align_strands(tokens: np.ndarray, *, rounds: int = 20) -> np.ndarray:
    """Choose a strand for each window so that all windows show the motif on the same strand.

    Each window gets the strand that fits the matrix of all windows better, the matrix is computed again, and so on
    until no window changes. The first matrix is the most frequent word (on a tie, the first in alphabetical order),
    which also decides the strand of the result.

    Args:
      tokens: uint8 (W, w).
      rounds: the maximal number of rounds.

    Returns:
      int8 (W,): 1 = as given, -1 = reverse complement.
    """
    tokens = np.asarray(tokens, np.uint8)
    strand = np.ones(len(tokens), np.int8)
    if not len(tokens):
        return strand
    words, counts = np.unique(tokens, axis=0, return_counts=True)
    matrix = pwm_from_windows(words[[np.argmax(counts)]])
    forward, backward = dna.one_hot(tokens), dna.one_hot(dna.reverse_complement(tokens))
    for number in range(rounds):
        weights = np.log(matrix)
        gain = np.einsum('nwa,wa->n', backward - forward, weights)
        new_strand = np.where(gain > 1e-9, -1, 1).astype(np.int8)
        if number and (new_strand == strand).all():
            break
        strand = new_strand
        matrix = pwm_from_windows(np.where(strand[:, None] < 0, dna.reverse_complement(tokens), tokens))
    return strand


def _lengths(scores: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    if scores.ndim != 2:
        raise ValueError(f'scores must be (N, L), got shape {scores.shape}')
    if lengths is None:
        return np.full(len(scores), scores.shape[1], np.int64)
    lengths = np.asarray(lengths, np.int64)
    if lengths.shape != (len(scores),) or lengths.max(initial=0) > scores.shape[1]:
        raise ValueError(f'lengths must be ({len(scores)},) and at most {scores.shape[1]}')
    return lengths


def _windows(values: np.ndarray, lengths: np.ndarray, width: int, first: np.ndarray | None = None) -> Windows:
    """The window with the highest value in each row of values (N, starts); starts with `first` true have priority."""
    row = np.flatnonzero(lengths >= width)
    inside = np.arange(values.shape[1]) <= (lengths - width)[:, None]
    ranked = np.where(inside, values, -np.inf)[row]
    if first is not None:
        first = (first & inside)[row]
        ranked = np.where(first | ~first.any(axis=1, keepdims=True), ranked, -np.inf)
    start = ranked.argmax(axis=1) if len(row) else np.empty(0, np.int64)
    return Windows(
        row=row,
        start=start.astype(np.int64),
        strand=np.ones(len(row), np.int8),
        score=values[row, start] if len(row) else np.empty(0),
        width=width,
    )
