"""Ranking measures with exact ties, and confidence intervals that keep a positive and its shuffles together (pure)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Cells of the (resamples, N) weight matrix held at once: 2 million int64 are 16 MB.
_BLOCK_CELLS = 2_000_000


class Interval(NamedTuple):
    """The two ends of a confidence interval; both NaN where the measure is undefined."""

    low: float
    high: float


class RocCurve(NamedTuple):
    """Points of the ROC curve, from (0, 0) at an infinite threshold to (1, 1); all float64 (K,)."""

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    thresholds: np.ndarray


def auroc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    Exact, as the Mann-Whitney U statistic with mid-ranks, so equal scores give the same answer in any order.

    Args:
      labels: (N,) 0 or 1 (any integer or bool dtype).
      scores: (N,) finite; only their order matters.
      weights: (N,) not negative, the number of times that each row counts; default: 1 for all.

    Returns:
      A float in [0, 1], or NaN if one of the classes is absent (or has no weight): AUROC is then undefined.

    Raises:
      ValueError: shapes differ, a label is not 0 or 1, a score is not finite, or a weight is negative.
    """
    labels, scores = checked(labels, scores)
    return float(_auroc_rows(_Sorted.of(labels, scores), _checked_weights(weights, labels))[0])


def chance_deviation(labels: np.ndarray) -> float:
    """Standard deviation of the AUROC of scores that know nothing of these labels (N,), 0 or 1.

    By Mann and Whitney's U without ties: sqrt((p + n + 1) / (12 p n)) for p positives and n negatives, and infinite
    where a class is absent. (Ann Math Stat 1947;18:50-60.)
    """
    positives = int((np.asarray(labels) == 1).sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return math.inf
    return math.sqrt((positives + negatives + 1) / (12 * positives * negatives))


def average_precision(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area under the precision-recall curve as average precision: the sum of precision x step in recall.

    One step per distinct score, so tied rows enter together (as in scikit-learn's `average_precision_score`).
    Arguments, errors and the NaN for an absent class are those of `auroc`.
    """
    labels, scores = checked(labels, scores)
    return float(_average_precision_rows(_Sorted.of(labels, scores), _checked_weights(weights, labels))[0])


def roc_curve(labels: np.ndarray, scores: np.ndarray) -> RocCurve:
    """The ROC curve with one point per distinct score, highest threshold first, after the point (0, 0).

    Arguments and errors are those of `auroc`. A rate whose class is absent is NaN.
    """
    labels, scores = checked(labels, scores)
    order = _Sorted.of(labels, scores)
    ones = np.ones((1, labels.size), np.int64)
    positives, negatives = (np.cumsum(order.by_group(ones, of), axis=1)[0] for of in (1, 0))
    starts = order.rows[order.starts]
    with np.errstate(invalid='ignore', divide='ignore'):
        return RocCurve(
            false_positive_rate=np.concatenate([[0], negatives]) / (labels == 0).sum(),
            true_positive_rate=np.concatenate([[0], positives]) / (labels == 1).sum(),
            thresholds=np.concatenate([[np.inf], scores[starts]]),
        )


def bootstrap_auroc(
    labels: np.ndarray,
    scores: np.ndarray,
    pairs: np.ndarray | None = None,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of AUROC that resamples a positive and its shuffles together.

    A shuffled negative has the base composition of the positive that it was made from, so the two are not independent,
    and resampling single rows would give a wrong spread. Rows with the same pair id are drawn as one unit; an unpaired
    row is a unit by itself. Units are drawn with replacement among units of the same make-up (numbers of positives and
    of negatives), which keeps both class sizes fixed.

    Args:
      labels: (N,) 0 or 1.
      scores: (N,) finite.
      pairs: (N,) integers: an id shared by a positive and the shuffle(s) made from it, -1 for an unpaired row.
        None: all rows are unpaired.
      n_resamples: number of bootstrap samples.
      seed: of the draws; equal arguments give an equal interval.
      level: coverage, e.g. 0.95 for the 2.5% and 97.5% quantiles.

    Returns:
      The interval; NaN at both ends where one of the classes is absent.

    Raises:
      ValueError: as `auroc`, or a level outside (0, 1), or fewer than one resample.
    """
    return _bootstrap(_auroc_rows, labels, scores, pairs, n_resamples, seed, level)


def bootstrap_average_precision(
    labels: np.ndarray,
    scores: np.ndarray,
    pairs: np.ndarray | None = None,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of average precision; arguments and resampling as in `bootstrap_auroc`."""
    return _bootstrap(_average_precision_rows, labels, scores, pairs, n_resamples, seed, level)


class _Sorted(NamedTuple):
    """Rows in order of decreasing score; rows `starts[k]:starts[k + 1]` of that order have the same score."""

    rows: np.ndarray  # (N,)
    starts: np.ndarray  # (K,)
    labels: np.ndarray  # (N,) in the order of `rows`

    @classmethod
    def of(cls, labels: np.ndarray, scores: np.ndarray) -> '_Sorted':
        rows = np.argsort(-scores, kind='stable')
        ranked = scores[rows]
        starts = np.flatnonzero(np.concatenate([np.ones(min(ranked.size, 1), bool), ranked[1:] != ranked[:-1]]))
        return cls(rows, starts, labels[rows])

    def by_group(self, weights: np.ndarray, label: int) -> np.ndarray:
        """Weight of one class at each distinct score: (R, N) weights in the original row order -> (R, K)."""
        columns = np.flatnonzero(self.labels == label)
        chosen = weights[:, self.rows[columns]]
        if self.starts.size == self.rows.size:  # no ties: a scatter is much faster than reduceat
            out = np.zeros(weights.shape, weights.dtype)
            out[:, columns] = chosen
            return out
        group = np.searchsorted(self.starts, columns, side='right') - 1
        first = np.flatnonzero(np.concatenate([np.ones(min(group.size, 1), bool), group[1:] != group[:-1]]))
        out = np.zeros((weights.shape[0], self.starts.size), weights.dtype)
        if first.size:
            out[:, group[first]] = np.add.reduceat(chosen, first, axis=1)
        return out


def _auroc_rows(order: _Sorted, weights: np.ndarray) -> np.ndarray:
    """AUROC for each row of weights: (R, N) -> (R,)."""
    positives, negatives = order.by_group(weights, 1), order.by_group(weights, 0)
    above = np.cumsum(positives, axis=1)  # positives that score at least as high as each group
    ties_half = above - 0.5 * positives
    total = positives.sum(axis=1) * negatives.sum(axis=1)
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.einsum('rk,rk->r', ties_half, negatives) / total


def _average_precision_rows(order: _Sorted, weights: np.ndarray) -> np.ndarray:
    """Average precision for each row of weights: (R, N) -> (R,)."""
    positives, negatives = order.by_group(weights, 1), order.by_group(weights, 0)
    hits = np.cumsum(positives, axis=1)
    called = hits + np.cumsum(negatives, axis=1)
    with np.errstate(invalid='ignore', divide='ignore'):
        # Before the first row with weight, precision is 0/0 and the step in recall is 0: the product counts as 0.
        precision = np.where(called > 0, hits / called, 0.0)
        value = np.einsum('rk,rk->r', precision, positives) / positives.sum(axis=1)
    return np.where(negatives.sum(axis=1) > 0, value, np.nan)


def bootstrap(
    measure: Callable[[np.ndarray], np.ndarray],
    labels: np.ndarray,
    pairs: np.ndarray | None = None,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap interval of any measure of weighted rows; `bootstrap_auroc` says how rows are drawn.

    Args:
      measure: of int64 weights (R, N), how often each row was drawn; returns (R,) or (R, K) values.
      labels: (N,) 0 or 1.
      pairs, n_resamples, seed, level: as of `bootstrap_auroc`.

    Returns:
      The low and the high end, each () or (K,); NaN where one of the classes is absent.

    Raises:
      ValueError: a level outside (0, 1), fewer than one resample, or pairs that do not fit the labels.
    """
    if not 0 < level < 1:
        raise ValueError(f'level is {level}, expected a number between 0 and 1 such as 0.95')
    if n_resamples < 1:
        raise ValueError(f'n_resamples is {n_resamples}, expected at least 1')
    labels = np.asarray(labels)
    if np.unique(labels).size < 2:
        nothing = np.full(2, float('nan'))
        return nothing, nothing
    unit, strata = _units(labels, pairs)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK_CELLS // labels.size)
    values = []
    for start in range(0, n_resamples, block):
        n_rows = min(block, n_resamples - start)
        counts = np.zeros((n_rows, unit.max() + 1), np.int64)
        for members in strata:
            counts[:, members] = _resample(rng, n_rows, members.size)
        values.append(measure(counts[:, unit]))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(values), [tail, 1 - tail], axis=0)
    return low, high


def _bootstrap(
    measure: Callable[[_Sorted, np.ndarray], np.ndarray],
    labels: np.ndarray,
    scores: np.ndarray,
    pairs: np.ndarray | None,
    n_resamples: int,
    seed: int,
    level: float,
) -> Interval:
    labels, scores = checked(labels, scores)
    order = _Sorted.of(labels, scores)
    low, high = bootstrap(
        lambda weights: measure(order, weights), labels, pairs, n_resamples=n_resamples, seed=seed, level=level
    )
    return Interval(float(np.ravel(low)[0]), float(np.ravel(high)[0]))


def _units(labels: np.ndarray, pairs: np.ndarray | None) -> tuple[np.ndarray, list[np.ndarray]]:
    """The resampling unit of each row, int (N,), and the units of each make-up."""
    if pairs is None:
        pairs = np.full(labels.shape, -1)
    pairs = np.asarray(pairs)
    if pairs.shape != labels.shape or pairs.dtype.kind not in 'iu':
        raise ValueError(f'pairs are {pairs.dtype} {pairs.shape}, expected integers {labels.shape}')
    alone = pairs < 0
    key = np.where(alone, -1 - np.arange(pairs.size), pairs.astype(np.int64))  # an id for every unpaired row
    _, unit = np.unique(key, return_inverse=True)
    make_up = np.stack([np.bincount(unit, labels == label).astype(np.int64) for label in (0, 1)], axis=1)
    _, stratum = np.unique(make_up, axis=0, return_inverse=True)
    return unit, [np.flatnonzero(stratum == s) for s in range(stratum.max() + 1)]


def _resample(rng: np.random.Generator, n_rows: int, n_units: int) -> np.ndarray:
    """How often each of `n_units` is drawn when as many are drawn with replacement: int64 (n_rows, n_units)."""
    drawn = rng.integers(0, n_units, (n_rows, n_units), dtype=np.int64)
    drawn += n_units * np.arange(n_rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=n_rows * n_units).reshape(n_rows, n_units)


def checked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) as int8 and scores (N,) as float64.

    Raises:
      ValueError: shapes differ, a label is not 0 or 1, or a score is not finite.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(f'labels {labels.shape} and scores {scores.shape}: expected two equal shapes (N,)')
    wrong = ~np.isin(labels, (0, 1))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(f'label {first} is {labels[first]}, expected 0 or 1')
    scores = scores.astype(np.float64)
    finite = np.isfinite(scores)
    if not finite.all():
        first = int(np.argmin(finite))
        raise ValueError(f'{(~finite).sum()} of {scores.size} scores are not finite, the first is score {first}')
    return labels.astype(np.int8), scores


def _checked_weights(weights: np.ndarray | None, labels: np.ndarray) -> np.ndarray:
    if weights is None:
        return np.ones((1, labels.size), np.int64)
    weights = np.asarray(weights)
    if weights.shape != labels.shape or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f'weights {weights.shape}: expected {labels.shape}, finite and not negative')
    return weights[None].astype(np.float64)
