"""Which motifs a variant makes or breaks: matches over the changed letters, with exact p-values (edge: reads runs)."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from demo_jax import dna
from demo_jax.evaluation.proteins import find_protein
from demo_jax.io import files
from demo_jax.motifs import formats, scan
from demo_jax.motifs.jaspar import load_matrices
from demo_jax.motifs.matching import own_matrices
from demo_jax.predict.predictor import Predictor
from demo_jax.predict.run import Run

_MUCH = 1 << 22  # more than any score, in hundredths of a bit


@dataclasses.dataclass(frozen=True, eq=False)
class Bank:
    """Motifs, ready to be matched with the letters around variants.

    Attributes:
      names: of K motifs.
      reach: letters on either side of a changed letter that a match over it may read.
      weights: float32 (4 * (2 * reach + 1), C), a column for each motif, strand and place; scores are whole numbers.
      covers: float32 (2 * reach + 1, C), a large number at the letters that a column reads.
      first: int64 (K,), the first column of each motif.
      least: float32 (K,), the lowest score of a match.
    """

    names: tuple[str, ...]
    reach: int
    weights: np.ndarray
    covers: np.ndarray
    first: np.ndarray
    least: np.ndarray

    def matches(self, tokens: np.ndarray, at: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Which motifs match over an allele, on either strand: bool (n, K).

        Args:
          tokens: uint8 (n, L), windows, padded with N.
          at: int (n,), where the allele begins in its window.
          length: int (n,), its letters.
        """
        n = len(tokens)
        found = np.zeros((n, len(self.names)), bool)
        if not self.names:
            return found
        padded = np.full((n, tokens.shape[1] + 2 * self.reach), dna.N, np.uint8)
        padded[:, self.reach : self.reach + tokens.shape[1]] = tokens
        for letter in range(int(length.max(initial=0))):
            mine = np.flatnonzero(length > letter)
            places = (at[mine] + letter)[:, None] + np.arange(2 * self.reach + 1)
            around = padded[mine[:, None], places]
            codes = (around[..., None] == np.arange(4, dtype=np.uint8)).reshape(len(mine), -1).astype(np.float32)
            # Whole numbers below 2^24 add up exactly; an N, which has no code, makes up for what a match must have.
            scores = codes @ self.weights - (around == dna.N).astype(np.float32) @ self.covers
            found[mine] |= np.maximum.reduceat(scores, self.first, axis=1) >= self.least[None]
        return found


def make_bank(motifs: Mapping[str, np.ndarray], *, p_value: float = scan.THRESHOLD) -> Bank:
    """Prepare motifs, probabilities (w, 4) by name.

    Args:
      motifs: by what tables call them.
      p_value: the largest p-value of a match; a motif that is too short for it has its best words.

    Raises:
      InputError: as `scan.prepare_scanner`.
    """
    scanners = [scan.prepare_scanner(matrix) for matrix in motifs.values()]
    reach = max((scanner.width for scanner in scanners), default=1) - 1
    columns: list[np.ndarray] = []
    covers: list[np.ndarray] = []
    first, least = [], []
    for scanner in scanners:
        first.append(len(columns))
        lowest = scanner.least_score(scanner.reachable(p_value))
        assert lowest is not None  # the best word reaches what can be reached
        least.append(lowest)
        for scores in (scanner.scores, scanner.scores[::-1, ::-1]):
            for start in range(reach - scanner.width + 1, reach + 1):
                column = np.zeros((2 * reach + 1, 4))
                column[start : start + scanner.width] = scores
                columns.append(column.ravel())
                at = np.arange(2 * reach + 1)
                covers.append(_MUCH * ((at >= start) & (at < start + scanner.width)))
    weights, over = (
        np.array(part, np.float32).reshape(len(columns), -1).T if columns else np.zeros((n, 0), np.float32)
        for part, n in ((columns, 4 * (2 * reach + 1)), (covers, 2 * reach + 1))
    )
    return Bank(tuple(motifs), reach, weights, over, np.array(first, np.int64), np.array(least, np.float32))


def banks_of(run: Run, predictors: Sequence[Predictor], *, p_value: float = scan.THRESHOLD) -> list[Bank]:
    """The motifs of each predictor's task: those that the stage discover found, else the TF's own JASPAR matrices.

    Args:
      run: a trained run, which the predictors are of.
      predictors: models or ensembles.
      p_value: see `make_bank`.
    """
    matrices = load_matrices(None)
    banks = []
    for predictor in predictors:
        motifs = found_motifs(run, predictor)
        if not motifs:
            symbol = find_protein(predictor.task).symbol
            motifs = {matrices[one].label: matrices[one].probabilities for one in own_matrices(symbol, matrices)}
        banks.append(make_bank(motifs, p_value=p_value))
    return banks


def found_motifs(run: Run, predictor: Predictor) -> dict[str, np.ndarray]:
    """The motifs that were found in maps of a predictor's task and spec: probabilities (w, 4) by 'METHOD/NAME'."""
    folder = run.directory.path / 'motifs' / files.safe_name(predictor.task) / files.safe_name(predictor.spec)
    found: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob('*/found.meme')):
        if 'MOTIF' in path.read_text(encoding='utf-8'):  # a map without motifs has an empty file
            found |= {f'{path.parent.name}/{name}': matrix for name, matrix in formats.read_meme(path).items()}
    return found
