"""Whether a pile of aligned windows is a motif: its informative columns, and the windows that agree with it (pure).

A pile is the matrix of all windows of one method in one task. If the windows share a word, the pile is a motif; if not,
its columns are nearly flat. Most JASPAR matrices have flat columns somewhere, and flat columns match each other at
p-values far below 1e-6. So a pile is trimmed and judged before it is matched:

1. Columns of less than `LEAST_COLUMN` bits are cut off both ends. A weak column between two others stays.
2. The bits of the `BEST_COLUMNS` most informative remaining columns, adjacent or not, are summed. With `CLEAR` bits or
   more the pile is matched; with `VAGUE` or more it is called vague, and with less no motif.
"""

from dataclasses import dataclass

import numpy as np

from demo_jax import dna
from demo_jax.motifs import extract, scan

LEAST_COLUMN = 0.25  # bits; a column with one letter at 1/2 and the others at 1/6 has 0.21
BEST_COLUMNS = 6
CLEAR = 6.0  # bits, half of the maximum of six columns
VAGUE = 3.0
AGREES = 0.001  # a window agrees if at most this share of all words fits as well (four words of a 6-mer)


@dataclass(frozen=True, eq=False)
class Pile:
    """A matrix without its uninformative ends.

    Attributes:
      start: its first column in the untrimmed matrix.
      probabilities: float64 (w, 4), A C G T. All columns if none has `LEAST_COLUMN` bits.
      bits: sum over its `BEST_COLUMNS` most informative columns, 0 to 12.
      counts: float64 (w, 4), counts of each letter; None for a matrix that is not made of windows.
      windows: number of windows; None if `counts` is.
      agree: number of windows that agree (see `agreeing`); None if their letters are not known.
    """

    start: int
    probabilities: np.ndarray
    bits: float
    counts: np.ndarray | None = None
    windows: int | None = None
    agree: int | None = None

    @property
    def stop(self) -> int:
        """One past its last column in the untrimmed matrix."""
        return self.start + len(self.probabilities)

    @property
    def verdict(self) -> str:
        """See `judge`."""
        return judge(self.bits)


def judge(bits: float) -> str:
    """'motif' with `CLEAR` bits or more in the best columns, 'vague' with `VAGUE` or more, else 'none'."""
    return 'motif' if bits >= CLEAR else 'vague' if bits >= VAGUE else 'none'


def best_bits(probabilities: np.ndarray) -> float:
    """Bits of the `BEST_COLUMNS` most informative columns of probabilities (w, 4), or of all if there are fewer."""
    return float(np.sort(dna.information_content(probabilities))[-BEST_COLUMNS:].sum())


def informative(probabilities: np.ndarray) -> slice:
    """The columns of probabilities (w, 4) from the first to the last of at least `LEAST_COLUMN` bits; all if none."""
    good = np.flatnonzero(dna.information_content(probabilities) >= LEAST_COLUMN)
    return slice(int(good[0]), int(good[-1]) + 1) if len(good) else slice(0, len(probabilities))


def agreeing(probabilities: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Which windows fit a motif as well as at most 1 in 1,000 words do (`AGREES`).

    The fit of a word is its log odds against uniform letters, with the exact p-value of `scan.Scanner`. With four
    columns (256 words), only the best word agrees. With fewer columns no window agrees, since chance would suffice. A
    window with an N never agrees.

    Args:
      probabilities: float (w, 4), rows that add up to 1.
      tokens: uint8 (W, w), the windows' letters, on the motif's strand.

    Returns:
      bool (W,).
    """
    scanner = scan.prepare_scanner(probabilities)
    scores = scan.word_scores(scanner, tokens)[:, 0]
    return scanner.p_value(scores) <= (0.25**4 if scanner.width == 4 else AGREES)


def pile_windows(tokens: np.ndarray) -> Pile:
    """The pile of aligned windows, uint8 (W, w), trimmed and judged with half a count added to each letter.

    Because of these half counts a pile of five windows or fewer stays below `CLEAR`, even if the windows are identical.
    """
    tokens = np.asarray(tokens, np.uint8)
    probabilities = extract.pwm_from_windows(tokens)
    part = informative(probabilities)
    trimmed = probabilities[part]
    return Pile(
        start=part.start,
        probabilities=trimmed,
        bits=best_bits(trimmed),
        counts=extract.count_matrix(tokens[:, part]),
        windows=len(tokens),
        agree=int(agreeing(trimmed, tokens[:, part]).sum()),
    )


def pile_counts(counts: np.ndarray, windows: int, *, pseudocount: float = 0.5) -> Pile:
    """The pile of counts (w, 4), if the windows themselves are not known, e.g. of a filter."""
    counts = np.asarray(counts, np.float64)
    smoothed = counts + pseudocount
    probabilities = smoothed / smoothed.sum(axis=1, keepdims=True)
    part = informative(probabilities)
    return Pile(part.start, probabilities[part], best_bits(probabilities[part]), counts[part], windows)


def whole(probabilities: np.ndarray) -> Pile:
    """The pile of a matrix (w, 4) that is not made of windows, e.g. a class optimum: judged, but not trimmed."""
    probabilities = np.asarray(probabilities, np.float64)
    return Pile(0, probabilities, best_bits(probabilities))


def whole_counts(matrix: np.ndarray, total: int) -> np.ndarray:
    """Whole counts close to a matrix, with the same total in every motif column.

    Args:
      matrix: float (w, 4), probabilities or counts; each row is scaled to `total`.
      total: sum of each row of the result.

    Returns:
      float64 (w, 4): scaled values rounded down, then the largest remainders rounded up (on a tie, the first) until
      each row sums to `total`.
    """
    matrix = np.asarray(matrix, np.float64)
    exact = matrix / matrix.sum(axis=1, keepdims=True) * total
    exact = np.where(np.abs(exact - np.rint(exact)) < 1e-9 * total, np.rint(exact), exact)
    counts = np.floor(exact)
    order = np.argsort(-(exact - counts), axis=1, kind='stable')
    missing = total - counts.sum(axis=1, keepdims=True)
    return counts + (np.argsort(order, axis=1) < missing)
