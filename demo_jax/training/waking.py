"""Whether a model has begun to learn, told from its validation AUROCs (pure)."""

from collections.abc import Sequence

import numpy as np

from demo_jax import dna
from demo_jax.evaluation.metrics import auroc, chance_deviation
from demo_jax.training.pool import Pool, TaskRows

#: So many epochs in a row tell: one may be above chance by luck.
RECENT = 3
_TELLING = 0.15  # a validation AUROC of .65, nobody's aim, would tell a model that learns from one that does not
_FINE = 0.05  # so much above 1/2 must be above chance where a model is compared with letters by position
_EXAMPLES = 4096  # training examples that letters by position are counted in
_LETTERS = 4


def bar(labels: np.ndarray, floor: float) -> float:
    """The validation AUROC that a model which has begun to learn is above.

    Two standard deviations above 1/2, of the AUROC of scores out of the blue (Mann and Whitney's). Where they are at
    most .05 (from 533 rows on), also `floor` (see `position_auroc`), but not more than .65. Where they are more than
    .15, validation rows with these labels (V,) are too few to say so of any model: then 0.
    """
    near = 2 * chance_deviation(labels)
    if near > _TELLING:
        return 0.0
    return max(0.5 + near, min(floor, 0.5 + _TELLING) if near <= _FINE else 0.0)


def rises(recent: Sequence[float]) -> bool:
    """Whether the last AUROCs are `RECENT` that rise one after the other: a model about to wake up."""
    return len(recent) == RECENT and all(a < b for a, b in zip(recent, recent[1:], strict=False))


def position_auroc(pool: Pool, rows: TaskRows, both_strands: bool) -> float:
    """The validation AUROC of two letters by position: what a model may know that has seen no motif.

    The score of a sequence is the sum, over its positions, of the log of how much more often the two letters that begin
    there do so in positives than in negatives (a naive Bayes classifier), counted in up to 4,096 training examples.
    Recurrent models that wait are often as good as this and no better. 1/2 where a class is absent.

    Args:
      pool: the sequences, NumPy arrays.
      rows: those of the task.
      both_strands: add the score of the other strand, as models do whose scores are averaged over strands.
    """
    labels = np.asarray(pool.labels)
    train = rows.train[:, 0]
    train = train[:: -(-len(train) // _EXAMPLES)]
    positive = labels[train] == 1
    valid = np.asarray(pool.tokens)[rows.valid]
    if not len(valid) or np.ptp(labels[rows.valid]) == 0 or positive.all() or not positive.any():
        return 0.5
    pairs = _pairs(np.asarray(pool.tokens)[train])
    score = np.zeros(len(valid))
    strands = [valid]
    if both_strands:
        lengths = None if pool.lengths is None else np.asarray(pool.lengths)[rows.valid]
        strands.append(dna.reverse_complement(valid, lengths))
    seen = [_pairs(tokens) for tokens in strands]
    for pair in range(_LETTERS**2):
        found = pairs == pair
        shares = [(found[kind].sum(axis=0) + 1) / (kind.sum() + _LETTERS**2) for kind in (positive, ~positive)]
        weight = np.log(shares[0] / shares[1])
        score += sum((here == pair) @ weight for here in seen)
    return float(auroc(labels[rows.valid], score))


def _pairs(tokens: np.ndarray) -> np.ndarray:
    """Which of the 16 pairs of letters begins at each position of tokens (N, L), uint8 (N, L - 1); 255 = another."""
    first, second = tokens[:, :-1], tokens[:, 1:]
    known = (first < _LETTERS) & (second < _LETTERS)
    return np.where(known, first * _LETTERS + second, 255).astype(np.uint8)
