"""A trained model on plain strings, for everyday use (edge)."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from demo_jax.data import dna
from demo_jax.errors import InputError
from demo_jax.nn.models import SPECS
from demo_jax.training import stack
from demo_jax.training.jobs import batches
from demo_jax.training.pool import Pool

BATCH = 256


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Scores of some sequences.

    Attributes:
      sequences: as given.
      score: float32 (N,), S = logit(+) - logit(-), the log odds that the TF binds.
      probability: float32 (N,), the same as a probability.
    """

    sequences: tuple[str, ...]
    score: np.ndarray
    probability: np.ndarray

    def to_frame(self) -> Any:
        """A pandas DataFrame with the columns sequence, score, probability."""
        import pandas as pd

        return pd.DataFrame({'sequence': self.sequences, 'score': self.score, 'probability': self.probability})

    def __str__(self) -> str:
        lines = ['probability    score  sequence']
        for sequence, score, probability in zip(self.sequences, self.score, self.probability, strict=True):
            shown = sequence if len(sequence) <= 60 else f'{sequence[:57]}...'
            lines.append(f'{probability:11.4f} {score:8.3f}  {shown}')
        return '\n'.join(lines)


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """One trained model.

    Attributes:
      task: the TF data set it was trained on.
      spec: name of its architecture.
      seed: of its training.
      params: nested dictionaries of arrays.
      average_strands: predictions are the mean score of both strands.
    """

    task: str
    spec: str
    seed: int
    params: dict[str, dict[str, np.ndarray]] = dataclasses.field(repr=False)
    average_strands: bool = False

    def predict(self, sequences: Sequence[str]) -> Prediction:
        """Score sequences of any lengths that the model can read.

        Args:
          sequences: strings of A, C, G, T and N (other IUPAC letters count as N), either case.

        Raises:
          InputError: a letter that is no base, a sequence that is too short, or a string in place of a list.
        """
        tokens, lengths = self.encode(sequences)
        return self._prediction(tuple(sequences), self.score_tokens(tokens, lengths))

    def score_tokens(self, tokens: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Scores S, float32 (N,), of token rows, uint8 (N, L); `lengths` int (N,) where they differ."""
        pool = Pool(tokens, np.zeros(len(tokens), np.int32), None if lengths is None else lengths.astype(np.int32))
        rows = batches(np.arange(len(tokens), dtype=np.int32), BATCH)
        score = _compiled_score(self.spec, self.average_strands)
        pieces = [np.asarray(score(_part(pool, batch), self.params)) for batch in rows]
        return np.concatenate([np.zeros(0, np.float32), *pieces])[: len(tokens)]

    def encode(self, sequences: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None]:
        """Tokens (N, L) padded with N, and the lengths (N,), None when they are all the same.

        Raises:
          InputError: as `predict`.
        """
        if isinstance(sequences, str):
            raise InputError('a list of sequences is needed, not one string')
        shortest = SPECS[self.spec].min_length
        encoded = []
        for number, sequence in enumerate(sequences, start=1):
            try:
                encoded.append(dna.encode(sequence))
            except InputError as error:
                raise InputError(f'sequence {number}: {error}') from error
            if len(encoded[-1]) < shortest:
                raise InputError(
                    f'sequence {number}: has {len(encoded[-1])} letters, {self.spec} needs at least {shortest}'
                )
        lengths = np.array([len(row) for row in encoded], np.int32)
        width = int(lengths.max(initial=shortest))
        tokens = np.full((len(encoded), width), dna.N, np.uint8)
        for row, letters in zip(tokens, encoded, strict=True):
            row[: len(letters)] = letters
        return tokens, None if (lengths == width).all() else lengths

    def _prediction(self, sequences: tuple[str, ...], score: np.ndarray) -> Prediction:
        return Prediction(sequences, score, (0.5 * (1 + np.tanh(0.5 * score))).astype(np.float32))


def _part(pool: Pool, batch: np.ndarray) -> Pool:
    """The rows of one batch; places without a row repeat row 0, so that all batches have one shape."""
    at = np.maximum(batch, 0)
    return Pool(pool.tokens[at], pool.labels[at], None if pool.lengths is None else pool.lengths[at])


@functools.lru_cache(maxsize=64)
def _compiled_score(spec: str, average_strands: bool):
    rows = np.arange(BATCH, dtype=np.int32)[None]

    def score(pool, params):
        return stack.score_all(pool, params, rows, spec=SPECS[spec], average_strands=average_strands, hoist=False)[0]

    return jax.jit(score)
