"""Means with intervals over backgrounds and models, p and q (pure)."""

from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
#: What the mean over all models is called in tables.
ALL_MODELS = 'all models'


class Estimate(NamedTuple):
    """A mean and its 95% interval, float64 (...,); the interval is NaN where a single value stands behind the mean."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def over_backgrounds(values: np.ndarray) -> Estimate:
    """The mean over the last axis, (..., N), with Student's interval: what other backgrounds would give."""
    values = np.asarray(values, np.float64)
    n = values.shape[-1]
    mean = values.mean(axis=-1)
    if n < 2:
        return Estimate(mean, np.full(mean.shape, np.nan), np.full(mean.shape, np.nan))
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(axis=-1, ddof=1) / np.sqrt(n)
    return Estimate(mean, mean - half, mean + half)


def over_both(values: np.ndarray) -> Estimate:
    """The mean over models and backgrounds, (M, ..., N) -> (...,): what other models on other backgrounds would give.

    Models and backgrounds are crossed random effects. With the mean squares of models A, backgrounds B and the rest E
    of a two-way layout without repeats, the variance of the mean is (A + B - E) / (M N), and its degrees of freedom are
    Satterthwaite's (1946, Biometrics Bull. 2:110). It is taken to be at least max(A, B) / (M N), since A + B - E may
    come out too low by chance. One model, or one background: as `over_backgrounds` of the other.
    """
    values = np.asarray(values, np.float64)
    m, n = values.shape[0], values.shape[-1]
    if m < 2 or n < 2:
        return over_backgrounds(values[0] if m < 2 else np.moveaxis(values[..., 0], 0, -1))
    mean = values.mean(axis=(0, -1))
    of_models, of_backgrounds = values.mean(axis=-1), values.mean(axis=0)
    rest = values - of_models[..., None] - of_backgrounds[None] + mean[None, ..., None]
    a = n * ((of_models - mean) ** 2).sum(axis=0) / (m - 1)
    b = m * ((of_backgrounds - mean[..., None]) ** 2).sum(axis=-1) / (n - 1)
    e = (rest**2).sum(axis=(0, -1)) / ((m - 1) * (n - 1))
    plain = np.maximum(a, b)
    whole = np.maximum(a + b - e, plain)
    with np.errstate(divide='ignore', invalid='ignore'):
        freedom = (a + b - e) ** 2 / (a**2 / (m - 1) + b**2 / (n - 1) + e**2 / ((m - 1) * (n - 1)))
    fewest = np.where(a >= b, m - 1, n - 1)
    freedom = np.where(a + b - e > plain, np.clip(np.nan_to_num(freedom, nan=1), 1, m * n), fewest)
    half = stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(whole / (m * n))
    return Estimate(mean, mean - half, mean + half)


def paired_p(values: np.ndarray) -> np.ndarray:
    """Two-sided p of Student's test that the mean over the last axis is 0, (..., N) -> float64 (...,)."""
    values = np.asarray(values, np.float64)
    n = values.shape[-1]
    mean = values.mean(axis=-1)
    if n < 2:
        return np.full(mean.shape, np.nan)
    with np.errstate(divide='ignore', invalid='ignore'):
        t = mean / (values.std(axis=-1, ddof=1) / np.sqrt(n))
    return np.where(mean == 0, 1.0, 2 * stats.t.sf(np.abs(t), n - 1))


def null_p(value: np.ndarray, null: np.ndarray) -> np.ndarray:
    """p, float64 (...,), of values (...,) by a null (..., K): (1 + how many are at least as high) / (1 + K)."""
    return (1.0 + (null >= np.asarray(value)[..., None]).sum(axis=-1)) / (1.0 + null.shape[-1])


def q_values(p_values: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's q over the last axis; all NaN where a p-value is."""
    p_values = np.asarray(p_values, np.float64)
    if not p_values.size or np.isnan(p_values).any():
        return np.full(p_values.shape, np.nan)
    return np.asarray(stats.false_discovery_control(p_values, axis=-1))
