"""Motifs out of explanations: the windows that mattered, and matrices made of them (pure).

One window per sequence, 9 letters wide unless told otherwise, as in the paper's section 3. All windows lie
inside the sequence; a sequence shorter than the window gives none. Of equally good windows the first counts.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from demo_jax.data import dna

WIDTH = 9


@dataclass(frozen=True, eq=False)
class Windows:
    """W windows, at most one per sequence here, in order of `row`.

    Attributes:
      row: int64 (W,), the row of the sequence in the arrays they were found in.
      start: int64 (W,), 0-based position of the window's leftmost letter.
      strand: int8 (W,), 1 or -1; -1 means that its word is read from the other strand.
      score: float64 (W,), what the window was chosen for; NaN where there is nothing to say.
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
        """The windows' letters, uint8 (W, width), read from their strands, out of tokens uint8 (N, L)."""
        cut = np.asarray(tokens)[self.row[:, None], self.start[:, None] + np.arange(self.width)]
        return np.where(self.strand[:, None] < 0, dna.reverse_complement(cut), cut)

    def words(self, tokens: np.ndarray) -> list[str]:
        """The windows' letters as strings, out of tokens uint8 (N, L)."""
        text = dna.decode(self.tokens(tokens).ravel())
        return [text[start : start + self.width] for start in range(0, len(text), self.width)]


class SubMatrix(NamedTuple):
    """Part of a matrix.

    Attributes:
      start: its first row in the whole.
      probabilities: float64 (width, 4).
      information: float64 (width,), bits per column.
    """

    start: int
    probabilities: np.ndarray
    information: np.ndarray


def best_windows(scores: np.ndarray, lengths: np.ndarray | None = None, *, width: int = WIDTH) -> Windows:
    """Of each sequence the window with the highest sum of scores, e.g. of saliency.

    Args:
      scores: float (N, L), one per position; those past a sequence's end are not looked at.
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
    """Of each sequence the window in which the model made up its mind: the strongest rise in temporal score.

    The rise over a window is the score when its last letter has been read minus the score when its first
    has. Windows whose rise takes the score from below zero to above it come before all others, as the
    paper asks; only where a sequence has no such window, the steepest of all is taken.

    Args:
      temporal: float (N, L). `temporal[n, t]` is the score of the prefix that ends with position t, or,
        with `reverse`, of the suffix that starts with position t.
      lengths: int (N,), true lengths; None: all L.
      width: letters per window.
      reverse: time runs from the sequence's end to its start.

    Returns:
      Windows on the forward strand whose score is the rise; NaN, and the first window, where no rise is known.
    """
    temporal = np.asarray(temporal, np.float64)
    lengths = _lengths(temporal, lengths)
    n_starts = max(temporal.shape[1] - width + 1, 0)
    left, right = temporal[:, :n_starts], temporal[:, width - 1 : width - 1 + n_starts]
    early, late = (right, left) if reverse else (left, right)
    rise = np.where(np.isnan(late - early), -np.inf, late - early)  # pieces too short for the model have no score
    found = _windows(rise, lengths, width, first=(early < 0) & (late > 0))
    return replace(found, score=np.where(np.isfinite(found.score), found.score, np.nan))


def activation_windows(
    start: np.ndarray,
    filter_width: int,
    lengths: np.ndarray,
    *,
    score: np.ndarray | None = None,
    width: int = WIDTH,
) -> Windows:
    """Windows around where a convolution filter responded most.

    A window has the filter's centre (half a letter to the right of it where one width is odd and the other
    even), moved only as far as needed to lie inside the sequence.

    Args:
      start: int (N,), leftmost position under the filter; may lie outside the sequence where the
        convolution pads. Negative beyond the filter's width, or past the end: clipped like the rest.
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
    """Windows at random places of the same sequences, as many and as wide: what chance would find.

    Args:
      rng: source of randomness.
      windows: the windows to be judged.
      lengths: int (N,), true lengths of the sequences they come from.
    """
    start = rng.integers(0, np.asarray(lengths, np.int64)[windows.row] - windows.width + 1)
    return Windows(
        windows.row, start, np.ones(len(windows), np.int8), np.full(len(windows), np.nan), windows.width
    )


def information_content(probabilities: np.ndarray) -> np.ndarray:
    """Bits per column, float64 (...,), of probabilities (..., 4): 2 + sum of p log2 p."""
    probabilities = np.asarray(probabilities, np.float64)
    logs = np.log2(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return 2.0 + (probabilities * logs).sum(axis=-1)


def best_submatrix(probabilities: np.ndarray, *, width: int = WIDTH) -> SubMatrix:
    """The most informative part of a matrix, e.g. of a class-optimised sequence.

    Args:
      probabilities: float (L, 4), rows that add up to 1.
      width: rows of the part; a shorter matrix is returned whole.
    """
    probabilities = np.asarray(probabilities, np.float64)
    bits = information_content(probabilities)
    width = min(width, len(bits))
    sums = np.lib.stride_tricks.sliding_window_view(bits, width).sum(axis=1)
    start = int(np.argmax(sums))
    return SubMatrix(start, probabilities[start : start + width], bits[start : start + width])


def count_matrix(tokens: np.ndarray) -> np.ndarray:
    """How often each letter stands in each column of aligned windows, uint8 (W, w) -> float64 (w, 4).

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
    """The likeliest letter of each column of (w, 4); of equals the first in A C G T."""
    return dna.decode(np.asarray(probabilities).argmax(axis=1))


def align_strands(tokens: np.ndarray, *, rounds: int = 20) -> np.ndarray:
    """Turn windows over so that all show the motif on one strand.

    Each window is turned to the strand that fits the matrix of all windows better, the matrix is made
    anew, and so on until none turns. It begins with the most frequent word (of equals the first in
    alphabetical order), which also settles which strand the result is on.

    Args:
      tokens: uint8 (W, w).
      rounds: at most so many times.

    Returns:
      int8 (W,): 1 = as given, -1 = other strand.
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
        turned = np.where(gain > 1e-9, -1, 1).astype(np.int8)
        if number and (turned == strand).all():
            break
        strand = turned
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
    """The window of highest value in each row; values (N, starts); those where `first` holds come before others."""
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
