"""What a pile of aligned windows is worth as a motif: its informative columns, and the windows that agree (pure).

A pile is the matrix of all windows that one method found in one task. Where the windows have a word in common it is a
motif; where they have none its columns are nearly flat. Flat columns match the flat columns that most matrices of
JASPAR have somewhere, at p-values far below 1e-6, so a pile is trimmed and judged before it is matched:

1. Columns of less than `LEAST_COLUMN` bits are cut off from both ends. A weak column between two others stays.
2. The bits of the `BEST_COLUMNS` most informative columns that are left, side by side or not, are added up. With
   `CLEAR` bits or more the pile is matched; with `VAGUE` or more it is shown as vague, below that as no motif.
"""

from dataclasses import dataclass

import numpy as np

from demo_jax.motifs import extract, scan

LEAST_COLUMN = 0.25  # bits; a column of which half is one letter and the rest even has .21
BEST_COLUMNS = 6
CLEAR = 6.0  # bits, half of what six columns can have
VAGUE = 3.0
AGREES = 0.001  # a window agrees where at most this share of all words fits as well: of a 6-mer, four words


@dataclass(frozen=True, eq=False)
class Pile:
    """A matrix without its uninformative ends.

    Attributes:
      start: its first column in the matrix that was given.
      probabilities: float64 (w, 4), A C G T. All columns where none has `LEAST_COLUMN` bits.
      bits: of its `BEST_COLUMNS` most informative columns together, 0 to 12.
      counts: float64 (w, 4), how often each letter was seen there; None for a matrix that is not made of windows.
      windows: how many windows it was made of; None as `counts`.
      agree: how many of these agree (see `agreeing`); None where their letters are not known.
    """

    start: int
    probabilities: np.ndarray
    bits: float
    counts: np.ndarray | None = None
    windows: int | None = None
    agree: int | None = None

    @property
    def stop(self) -> int:
        """One past its last column in the matrix that was given."""
        return self.start + len(self.probabilities)

    @property
    def verdict(self) -> str:
        """See `judge`."""
        return judge(self.bits)


def judge(bits: float) -> str:
    """'motif' with `CLEAR` bits or more in the best columns, 'vague' with `VAGUE` or more, else 'none'."""
    return 'motif' if bits >= CLEAR else 'vague' if bits >= VAGUE else 'none'


def best_bits(probabilities: np.ndarray) -> float:
    """Bits of the `BEST_COLUMNS` most informative columns of probabilities (w, 4); of all where there are fewer."""
    return float(np.sort(extract.information_content(probabilities))[-BEST_COLUMNS:].sum())


def informative(probabilities: np.ndarray) -> slice:
    """The columns of probabilities (w, 4) from the first to the last of `LEAST_COLUMN` bits; all where none has."""
    good = np.flatnonzero(extract.information_content(probabilities) >= LEAST_COLUMN)
    return slice(int(good[0]), int(good[-1]) + 1) if len(good) else slice(0, len(probabilities))


def agreeing(probabilities: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Which windows fit a motif as well as at most 1 in 1,000 words do (`AGREES`).

    A word fits by its log odds against even letters, with the exact p-value of `scan.Scanner`. Of a motif of four
    columns, which has 256 words, it must be the one best. With fewer columns none agrees, for it would by chance. A
    window with an N never does.

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

    With five windows or fewer these half counts keep it below `CLEAR`, however alike they are.
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
    """The pile of which only the counts (w, 4) and the number of windows are known, such as a filter's."""
    counts = np.asarray(counts, np.float64)
    smoothed = counts + pseudocount
    probabilities = smoothed / smoothed.sum(axis=1, keepdims=True)
    part = informative(probabilities)
    return Pile(part.start, probabilities[part], best_bits(probabilities[part]), counts[part], windows)


def whole(probabilities: np.ndarray) -> Pile:
    """A matrix (w, 4) that is not made of windows, such as a class optimum: judged, but not trimmed."""
    probabilities = np.asarray(probabilities, np.float64)
    return Pile(0, probabilities, best_bits(probabilities))


def whole_counts(matrix: np.ndarray, total: int) -> np.ndarray:
    """The whole numbers nearest to a matrix that add up to `total` in each column.

    Args:
      matrix: float (w, 4), probabilities or counts; each row is scaled to `total`.
      total: sum of each row of the result.

    Returns:
      float64 (w, 4). Rounded down, and what is missing given to the largest remainders, of equals the first.
    """
    matrix = np.asarray(matrix, np.float64)
    exact = matrix / matrix.sum(axis=1, keepdims=True) * total
    exact = np.where(np.abs(exact - np.rint(exact)) < 1e-9 * total, np.rint(exact), exact)
    counts = np.floor(exact)
    order = np.argsort(-(exact - counts), axis=1, kind='stable')
    missing = total - counts.sum(axis=1, keepdims=True)
    return counts + (np.argsort(order, axis=1) < missing)
