"""How large a change is among those of random substitutions in the task's own sequences (edge: reads runs).

The null of a task are substitutions of known letters at random places of its test sequences (of all its sequences, if
it has no test sequences), positives and negatives alike, each scored in the sequence where it lies. A substitution is
compared with those that replace the same letter between the same neighbours by the same letter, and on the other strand
where scores are means over both strands; any other variant with all of them.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from demo_jax.predict.alleles import AlleleScorer, Pairs
from demo_jax.predict.ensemble import members_of
from demo_jax.predict.predictor import Predictor
from demo_jax.predict.run import Run

#: Substitutions of each kind that are drawn, unless somebody says otherwise: the smallest p is one over so many.
DRAWS = 500
#: Of kinds with fewer substitutions all kinds together are the null.
LEAST = 20
_SEQUENCES = 2000  # of a task, at most
_PAIRS = 16_384  # scored at a time
_KINDS = 4**4
#: The kind of a variant that is no substitution of a known letter between known letters.
OTHER = -1


def kinds_of(before: np.ndarray, ref: np.ndarray, behind: np.ndarray, alt: np.ndarray, strands: bool) -> np.ndarray:
    """The kind of each substitution, int64 (n,), `OTHER` where a letter is unknown or none is replaced.

    Args:
      before, ref, behind, alt: uint8 (n,), the letter in front, the letters, and the one behind; 4 = N.
      strands: the same substitution read on the other strand is of the same kind.
    """
    letters = np.stack([before, ref, behind, alt]).astype(np.int64)
    weights = np.array([64, 16, 4, 1])[:, None]
    kind = (weights * letters).sum(axis=0)
    if strands:
        kind = np.minimum(kind, (weights * (3 - letters[[2, 1, 0, 3]])).sum(axis=0))
    return np.where((letters < 4).all(axis=0) & (ref != alt), kind, OTHER)


@dataclasses.dataclass(frozen=True, eq=False)
class Null:
    """Changes of one predictor's score by random substitutions.

    Attributes:
      changes: float32 (D,), sorted within each kind.
      sizes: float32 (D,), their absolute values, sorted within each kind.
      bounds: int64 (257,), where each kind begins.
      every, every_size: float32 (D,), all of them, sorted.
      strands: see `kinds_of`.
    """

    changes: np.ndarray
    sizes: np.ndarray
    bounds: np.ndarray
    every: np.ndarray
    every_size: np.ndarray
    strands: bool

    def rank(self, change: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """p and percentile, float64 (n,), of changes float32 (n,) by variants of these kinds.

        p is (1 + how many of the null are at least as large either way) / (1 + their number); the percentile is the
        share of the null that lies below, in percent, where equal ones count half. Both are NaN without a null.
        """
        p_value, percentile = np.full(len(change), np.nan), np.full(len(change), np.nan)
        for one in np.unique(kind):
            mine = kind == one
            first, end = (0, 0) if one == OTHER else self.bounds[one : one + 2]
            few = end - first < LEAST
            values, sizes = (self.every, self.every_size) if few else (self.changes[first:end], self.sizes[first:end])
            if not len(values):
                continue
            at_least = len(sizes) - np.searchsorted(sizes, np.abs(change[mine]))
            p_value[mine] = (1 + at_least) / (1 + len(sizes))
            below = np.searchsorted(values, change[mine]) + np.searchsorted(values, change[mine], 'right')
            percentile[mine] = 50 * below / len(values)
        return p_value, percentile


def make_null(changes: np.ndarray, kind: np.ndarray, strands: bool) -> Null:
    """The null of these changes float32 (D,) by substitutions of these kinds int64 (D,)."""
    size = np.abs(changes)
    bounds = np.searchsorted(np.sort(kind), np.arange(_KINDS + 1))
    by_change, by_size = np.lexsort((changes, kind)), np.lexsort((size, kind))
    return Null(changes[by_change], size[by_size], bounds, np.sort(changes), np.sort(size), strands)


def substitutions(
    tokens: np.ndarray, lengths: np.ndarray, *, draws: int, strands: bool, rng: np.random.Generator
) -> tuple[Pairs, np.ndarray]:
    """Random substitutions of each kind in sequences, without repeats, and their kinds int64 (D,).

    Args:
      tokens: uint8 (N, L), padded with N.
      lengths: int (N,).
      draws: of each kind, if there are so many.
      strands: see `kinds_of`.
      rng: source of randomness.
    """
    n, length = tokens.shape
    found = []
    for step in (1, 2, 3):
        alt = np.where(tokens < 4, (tokens + step) % 4, 4)
        kind = np.full((n, length), OTHER)
        before, ref, behind = (part.ravel() for part in (tokens[:, :-2], tokens[:, 1:-1], tokens[:, 2:]))
        kind[:, 1:-1] = kinds_of(before, ref, behind, alt[:, 1:-1].ravel(), strands).reshape(n, -1)
        found.append(kind)
    kinds = np.stack(found, axis=-1).ravel()
    order = rng.permutation(np.flatnonzero(kinds != OTHER))
    order = order[np.argsort(kinds[order], kind='stable')]
    first = np.searchsorted(kinds[order], kinds[order])
    order = np.sort(order[np.arange(len(order)) - first < draws])
    row, rest = np.divmod(order, 3 * length)
    position, step = np.divmod(rest, 3)
    ref = tokens[row]
    alt = ref.copy()
    at = np.arange(len(row))
    alt[at, position] = (alt[at, position] + step + 1) % 4
    sizes = lengths[row].astype(np.int32)
    return Pairs(ref, alt, sizes, sizes, row, np.zeros(len(row), np.int64), position), kinds[order]


def nulls_of(
    run: Run, predictors: Sequence[Predictor], *, draws: int = DRAWS, seed: int = 0, progress: bool = True
) -> list[Null]:
    """The null of each predictor.

    Args:
      run: a trained run, which the predictors are of.
      predictors: models or ensembles.
      draws: substitutions of each kind, see `substitutions`.
      seed: of what is drawn; those of a task do not depend on the other tasks.
      progress: show a bar over predictors.
    """
    corpus = run.directory.corpus()
    made = []
    for predictor in tqdm(predictors, desc='null', unit='task', disable=not progress):
        task = corpus.task_index(predictor.task)
        rows = np.arange(len(corpus))[corpus.rows(task, 'test')]
        if not len(rows):
            rows = np.concatenate([np.arange(len(corpus))[corpus.rows(task, split)] for split in ('train', 'valid')])
        rng = np.random.default_rng([seed, task])
        rows = np.sort(rng.permutation(rows)[:_SEQUENCES])
        pairs, kind = substitutions(
            corpus.padded(rows, predictor.length),
            corpus.lengths[rows],
            draws=draws,
            strands=predictor.average_strands,
            rng=rng,
        )
        members = members_of([predictor])
        scorer, parts = AlleleScorer(members.models), []
        for first in range(0, len(pairs), _PAIRS):
            ref, alt = scorer.score(Pairs(*(array[first : first + _PAIRS] for array in pairs)))
            parts.append(members.combine(alt).mean[0] - members.combine(ref).mean[0])
        changes = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        made.append(make_null(changes, kind, predictor.average_strands))
    return made
