"""Which motifs a variant makes or breaks: matches over the changed letters, with exact p-values (pure)."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from demo_jax import dna
from demo_jax.motifs import scan

#: More than any score, in hundredths of a bit: what an N costs a match that reads it.
_MUCH = 1 << 22


@dataclasses.dataclass(frozen=True, eq=False)
class Bank:
    """Motifs of M models, ready to be matched with the letters around variants.

    Attributes:
      names: of K motifs.
      model: int64 (K,), whose each is.
      reach: letters on either side of a changed letter that a match over it may read.
      weights: float32 (5 * (2 * reach + 1), C), a column for each motif, strand and place; whole numbers.
      first: int64 (K,), the first column of each motif.
      least: float32 (K,), the lowest score of a match.
    """

    names: tuple[str, ...]
    model: np.ndarray
    reach: int
    weights: np.ndarray
    first: np.ndarray
    least: np.ndarray

    def matches(self, tokens: np.ndarray, at: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Which motifs match over an allele, on either strand: bool (n, K).

        Args:
          tokens: uint8 (n, L), windows, padded with N.
          at: int (n,), where the allele begins in its window.
          length: int (n,), its letters.
        """
        n, width = len(tokens), 2 * self.reach + 1
        found = np.zeros((n, len(self.names)), bool)
        if not self.names:
            return found
        padded = np.full((n, tokens.shape[1] + 2 * self.reach), dna.N, np.uint8)
        padded[:, self.reach : self.reach + tokens.shape[1]] = tokens
        for letter in range(int(length.max(initial=0))):
            mine = np.flatnonzero(length > letter)
            around = padded[mine[:, None], (at[mine] + letter)[:, None] + np.arange(width)]
            codes = np.zeros((len(mine), width, 5), np.float32)
            np.put_along_axis(codes, around[..., None].astype(np.int64), 1, axis=2)
            # Whole numbers below 2^24 add up exactly.
            scores = codes.reshape(len(mine), -1) @ self.weights
            found[mine] |= np.maximum.reduceat(scores, self.first, axis=1) >= self.least[None]
        return found


def make_bank(motifs: Sequence[Mapping[str, np.ndarray]], *, p_value: float = scan.THRESHOLD) -> Bank:
    """Prepare the motifs of M models.

    Args:
      motifs: for each model, probabilities (w, 4) by what tables call them.
      p_value: the largest p-value of a match; a motif that is too short for it has its best words.

    Raises:
      InputError: as `scan.prepare_scanner`.
    """
    named = [(m, name, scan.prepare_scanner(matrix)) for m, own in enumerate(motifs) for name, matrix in own.items()]
    reach = max((scanner.width for _, _, scanner in named), default=1) - 1
    columns: list[np.ndarray] = []
    first, least = [], []
    for _, _, scanner in named:
        first.append(len(columns))
        lowest = scanner.least_score(scanner.reachable(p_value))
        assert lowest is not None  # the best word reaches what can be reached
        least.append(lowest)
        unknown = np.full((scanner.width, 1), -_MUCH)
        for scores in (scanner.scores, scanner.scores[::-1, ::-1]):
            for start in range(reach - scanner.width + 1, reach + 1):
                column = np.zeros((2 * reach + 1, 5))
                column[start : start + scanner.width] = np.concatenate([scores, unknown], axis=1)
                columns.append(column.ravel())
    weights = np.array(columns, np.float32).reshape(len(columns), 5 * (2 * reach + 1)).T
    model = np.array([m for m, _, _ in named], np.int64)
    names = tuple(name for _, name, _ in named)
    return Bank(names, model, reach, weights, np.array(first, np.int64), np.array(least, np.float32))
