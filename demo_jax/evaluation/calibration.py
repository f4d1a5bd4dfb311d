"""Calibration: do probabilities mean what they say? A temperature and a shift, the Brier score, the calibration error.

A score S is divided by a temperature, and shifted, before the sigmoid, which changes probabilities and no ranking. Both
are fitted on validation data (Platt 1999; a temperature alone: Guo et al. 2017, On calibration of modern neural
networks); test data measure the result. The shift counts where the classes are unlike: of a bound and a shuffled
sequence the model may be surer of one (pure).
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from demo_jax.evaluation import metrics

#: Temperatures are sought between one and the other.
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.05, 20.0
MOST_SHIFT = 10.0
BINS = 10


class Reliability(NamedTuple):
    """Points of a reliability picture: float64 (K,) each, for the K bins that hold any sequence.

    Attributes:
      predicted: mean probability of the bin's sequences.
      observed: the share of them that are positive.
      sizes: how many they are.
    """

    predicted: np.ndarray
    observed: np.ndarray
    sizes: np.ndarray


class Scale(NamedTuple):
    """How scores become the log odds of calibrated probabilities: S / temperature + shift."""

    temperature: float = 1.0
    shift: float = 0.0


def fit_scale(labels: np.ndarray, scores: np.ndarray) -> Scale:
    """The temperature and the shift under which the labels are likeliest.

    The labels are drawn in by what one sequence of the other class more would do, as Platt (1999) has it: positives
    count as (P + 1) / (P + 2) and negatives as 1 / (Q + 2), with P and Q the numbers of either. Else scores that part
    the classes without an error would make every probability 0 or 1. The likelihood is concave in 1 / temperature and
    the shift, so there is one maximum. Where a class is absent nothing can be learned, and scores stay as they are.

    Args:
      labels: (N,) 0 or 1.
      scores: float (N,), log odds.

    Returns:
      A temperature from `LEAST_TEMPERATURE` to `MOST_TEMPERATURE`, and a shift of at most `MOST_SHIFT` either way.

    Raises:
      ValueError: shapes differ, a label is not 0 or 1, or a score is not finite.
    """
    labels, scores = metrics.checked(labels, scores)
    if np.unique(labels).size < 2:
        return Scale()
    positives = int(labels.sum())
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (labels.size - positives + 2))
    scores = np.asarray(scores, np.float64)
    unit = float(np.sqrt(np.mean(scores**2))) or 1.0  # steps of both numbers are then alike

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        log_odds = at[0] * scores / unit + at[1]
        excess = special.expit(log_odds) - targets
        value = (np.logaddexp(0.0, log_odds) - targets * log_odds).mean()
        return float(value), np.array([(excess * scores).mean() / unit, excess.mean()])

    bounds = [(unit / MOST_TEMPERATURE, unit / LEAST_TEMPERATURE), (-MOST_SHIFT, MOST_SHIFT)]
    start = np.array([np.clip(unit, *bounds[0]), 0.0])
    found = optimize.minimize(
        loss, start, jac=True, method='L-BFGS-B', bounds=bounds, options={'ftol': 1e-14, 'gtol': 1e-9}
    )
    return Scale(float(unit / found.x[0]), float(found.x[1]))


def prior_shift(prior: float, trained: float) -> float:
    """What is added to log odds where another share of sequences is bound than among those that were trained on.

    By Bayes' rule the log odds of a sequence are those of the prior plus its log likelihood ratio; the ratio stays, if
    the bound and the unbound sequences are like the training's (Elkan 2001, The foundations of cost-sensitive
    learning; Saerens et al. 2002). A model with balanced classes that is asked about a genome in which one window in
    1,000 is bound has a shift of -6.9.

    Args:
      prior: share of the sequences that are bound, above 0 and below 1.
      trained: the same of the training and validation sequences.

    Raises:
      ValueError: a share is out of range.
    """
    for share in (prior, trained):
        if not 0 < share < 1:
            raise ValueError(f'a share of bound sequences is {share}, expected a number above 0 and below 1')
    return float(np.log(prior / (1 - prior)) - np.log(trained / (1 - trained)))


def fit_apart(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """Calibrated log odds float64 (N,) of the very sequences that scales are fitted on, fairly.

    The groups are halved at random, and each half gets the scale that the other half chooses. It says what a scale is
    worth for sequences of the same kind; test sequences may be of another (stronger peaks).

    Args:
      labels: (N,) 0 or 1.
      scores: float (N,), log odds.
      groups: (N,), equal for sequences that stay together (a positive and its shuffle); below 0 = alone.
      seed: of the halves.

    Raises:
      ValueError: as `fit_scale`.
    """
    labels, scores = metrics.checked(labels, scores)
    groups = np.where(groups < 0, np.max(groups, initial=0) + 1 + np.arange(len(groups)), groups)
    ids, which = np.unique(groups, return_inverse=True)
    first = (np.random.default_rng(seed).permutation(len(ids)) < len(ids) / 2)[which]
    found = np.zeros(len(labels))
    for half in (first, ~first):
        scale = fit_scale(labels[~half], scores[~half])
        found[half] = scores[half] / scale.temperature + scale.shift
    return found


def brier(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The Brier score: the mean squared difference of probability and label; 0.25 if every probability is a half.

    Raises:
      ValueError: as `fit_scale`.
    """
    labels, probabilities = metrics.checked(labels, probabilities)
    return float(((probabilities - labels) ** 2).mean()) if labels.size else float('nan')


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> Reliability:
    """What was predicted and what came true, in bins of equally many sequences.

    Args:
      labels: (N,) 0 or 1.
      probabilities: (N,).
      bins: how many, at most N. Sequences with equal probabilities may fall into two of them.

    Raises:
      ValueError: as `fit_scale`.
    """
    labels, probabilities = metrics.checked(labels, probabilities)
    order = np.argsort(probabilities, kind='stable')
    parts = [part for part in np.array_split(order, bins) if part.size]
    return Reliability(
        np.array([probabilities[part].mean() for part in parts]),
        np.array([labels[part].mean() for part in parts], np.float64),
        np.array([part.size for part in parts], np.float64),
    )


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> float:
    """The expected calibration error: the mean of |predicted - observed| over bins, weighted by their sizes.

    It is above 0 for a perfect model, too: few sequences scatter. `chance_error` says by how much.

    Raises:
      ValueError: as `fit_scale`.
    """
    found = reliability(labels, probabilities, bins)
    gaps = np.abs(found.predicted - found.observed)
    return float(np.average(gaps, weights=found.sizes)) if found.sizes.size else float('nan')


def chance_error(probabilities: np.ndarray, bins: int = BINS, *, draws: int = 200, seed: int = 0) -> float:
    """The mean `calibration_error` of a model that is perfectly calibrated and gives these probabilities (N,).

    Args:
      probabilities: (N,).
      bins: as of `calibration_error`.
      draws: how often labels are drawn from the probabilities.
      seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    probabilities = np.sort(np.asarray(probabilities, np.float64))
    if not probabilities.size:
        return float('nan')
    labels = rng.random((draws, probabilities.size)) < probabilities
    gaps = probabilities - labels
    edges = np.cumsum([0, *(part.size for part in np.array_split(probabilities, bins) if part.size)])
    return float(np.abs(np.add.reduceat(gaps, edges[:-1], axis=1)).sum(axis=1).mean() / probabilities.size)


def bootstrap_errors(
    labels: np.ndarray,
    probabilities: np.ndarray,
    pairs: np.ndarray | None = None,
    *,
    bins: int = BINS,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[metrics.Interval, metrics.Interval]:
    """Percentile bootstrap intervals of the Brier score and of the calibration error.

    The bins are those of all sequences. A positive and its shuffles are drawn together, see `metrics.bootstrap_auroc`,
    which has the other arguments, the results and the errors.
    """
    labels, probabilities = metrics.checked(labels, probabilities)
    order = np.argsort(probabilities, kind='stable')
    gaps, squares = (probabilities - labels)[order], ((probabilities - labels) ** 2)
    edges = np.cumsum([0, *(part.size for part in np.array_split(order, bins) if part.size)])[:-1]

    def errors(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=1)
        of_bins = np.add.reduceat(weights[:, order] * gaps, edges, axis=1)
        return np.stack([weights @ squares / total, np.abs(of_bins).sum(axis=1) / total], axis=1)

    low, high = metrics.bootstrap(errors, labels, pairs, n_resamples=n_resamples, seed=seed, level=level)
    return metrics.Interval(float(low[0]), float(high[0])), metrics.Interval(float(low[1]), float(high[1]))
