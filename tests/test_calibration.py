"""Temperature scaling and calibration errors, against simulations, scikit-learn and sums by hand."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from demo_jax.evaluation import calibration, metrics
from demo_jax.explain.score import probability


def drawn(n, temperature, seed=0, shift=0.0):
    """Scores, and labels that they predict by the temperature and the shift."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 4, n)
    return (rng.random(n) < probability(scores, temperature, shift)).astype(np.int8), scores


@pytest.mark.parametrize('temperature, shift', [(0.4, 0.0), (1.0, -1.5), (3.0, 0.7)])
def test_the_scale_of_a_simulation_is_found(temperature, shift):
    labels, scores = drawn(200_000, temperature, shift=shift)
    found = calibration.fit_scale(labels, scores)
    assert found.temperature == pytest.approx(temperature, rel=0.02)
    assert found.shift == pytest.approx(shift, abs=0.03)
    before, after = probability(scores), probability(scores, *found)
    assert calibration.calibration_error(labels, after) < 0.005
    assert calibration.brier(labels, after) <= calibration.brier(labels, before)
    assert metrics.auroc(labels, after) == pytest.approx(metrics.auroc(labels, scores), abs=1e-12)


def test_the_scale_is_the_likeliest_of_a_grid():
    labels, scores = drawn(300, 2.0, seed=1, shift=-0.5)

    def loss(temperature, shift):
        chances = probability(scores, temperature, shift)
        positives = labels.sum()
        targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2))
        return -(targets * np.log(chances) + (1 - targets) * np.log(1 - chances)).mean()

    found = calibration.fit_scale(labels, scores)
    grid = [(t, b) for t in np.linspace(0.6, 6, 200) for b in np.linspace(-2, 2, 41)]
    assert loss(*found) <= min(loss(*scale) for scale in grid) + 1e-9


def test_scales_without_a_maximum():
    labels, scores = np.array([0, 0, 1, 1]), np.array([-2.0, -1.0, 1.0, 2.0])
    # Without an error: as if one of four had been wrong, P(positive) of a mean score is 3/4.
    found = calibration.fit_scale(labels, np.sign(scores))
    assert found == pytest.approx((1 / np.log(3), 0), rel=1e-4, abs=1e-6)
    # Nothing but errors: all probabilities are nearly a half.
    assert calibration.fit_scale(labels, -scores) == pytest.approx((calibration.MOST_TEMPERATURE, 0), abs=1e-6)
    assert calibration.fit_scale(np.ones(3), np.array([1.0, 2.0, 3.0])) == (1, 0)
    assert calibration.fit_scale(np.zeros(0), np.zeros(0)) == (1, 0)
    # Scores that say nothing: the share of positives.
    same = calibration.fit_scale(np.array([1, 0, 0, 0, 0, 0]), np.full(6, 3.0))
    assert probability(3.0, *same) == pytest.approx((2 / 3 + 5 / 7) / 6, rel=1e-3)


def test_brier_is_that_of_scikit_learn():
    labels, scores = drawn(500, 1.5, seed=2)
    chances = probability(scores)
    assert calibration.brier(labels, chances) == pytest.approx(brier_score_loss(labels, chances), rel=1e-12)


def test_errors_by_hand():
    labels, chances = np.array([0, 1, 1, 0, 1]), np.array([0.1, 0.9, 0.4, 0.2, 0.8])
    # Two bins by probability: (0.1, 0.2, 0.4) with one positive, (0.8, 0.9) with two.
    found = calibration.reliability(labels, chances, bins=2)
    np.testing.assert_allclose(found.predicted, [0.7 / 3, 0.85])
    np.testing.assert_allclose(found.observed, [1 / 3, 1.0])
    assert found.sizes.tolist() == [3, 2]
    assert calibration.calibration_error(labels, chances, bins=2) == pytest.approx((0.3 + 0.3) / 5)
    assert calibration.brier(labels, chances) == pytest.approx((0.01 + 0.01 + 0.36 + 0.04 + 0.04) / 5)
    assert calibration.calibration_error(labels, chances, bins=50) == pytest.approx(np.abs(labels - chances).mean())


def test_the_error_by_chance_is_that_of_perfect_models():
    rng = np.random.default_rng(3)
    chances = rng.random(400)
    errors = [calibration.calibration_error((rng.random(400) < chances).astype(int), chances) for _ in range(400)]
    assert calibration.chance_error(chances, draws=2000) == pytest.approx(np.mean(errors), rel=0.05)


def test_intervals_hold_the_measures_and_follow_the_pairs():
    labels, scores = drawn(400, 2.0, seed=4)
    chances = probability(scores, 2.0)
    brier, error = calibration.bootstrap_errors(labels, chances, n_resamples=300)
    assert brier.low < calibration.brier(labels, chances) < brier.high
    assert error.low < error.high
    # Resampled by hand with the same weights.
    seen = []
    metrics.bootstrap(lambda weights: seen.append(weights) or weights[:, 0], labels, n_resamples=5)
    picked = np.repeat(np.arange(400), seen[0][0])
    low, high = metrics.bootstrap(
        lambda weights: weights @ ((chances - labels) ** 2) / weights.sum(axis=1), labels, n_resamples=5
    )
    assert low <= calibration.brier(labels[picked], chances[picked]) <= high


def test_nothing_and_nonsense():
    assert np.isnan(calibration.brier(np.zeros(0), np.zeros(0)))
    assert np.isnan(calibration.chance_error(np.zeros(0)))
    assert all(np.isnan(end) for end in calibration.bootstrap_errors(np.ones(4), np.full(4, 0.5))[0])
    with pytest.raises(ValueError, match='not finite'):
        calibration.fit_scale(np.array([0, 1]), np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match='expected 0 or 1'):
        calibration.brier(np.array([0, 2]), np.array([0.5, 0.5]))


@pytest.mark.parametrize('prior, trained', [(0.001, 0.5), (0.2, 0.3), (0.5, 0.5)])
def test_another_prior_is_bayes_rule(prior, trained):
    """Against likelihoods times priors, written out."""
    log_odds = np.linspace(-8, 8, 9)
    ratio = np.exp(log_odds) * (1 - trained) / trained  # of the likelihoods
    expected = prior * ratio / (prior * ratio + 1 - prior)
    shift = calibration.prior_shift(prior, trained)
    np.testing.assert_allclose(probability(2 * log_odds, 2.0, shift), expected, rtol=1e-9)
    with pytest.raises(ValueError, match='a share of bound sequences is 1, expected'):
        calibration.prior_shift(1, 0.5)


def test_scales_apart_come_from_the_other_half_and_pairs_stay_together():
    labels, scores = drawn(600, 2.0, seed=5)
    groups = np.where(np.arange(600) < 500, np.arange(600) // 2, -1)
    found = calibration.fit_apart(labels, scores, groups)
    # Log odds on two lines; whose slope and place are those of the other half's scale.
    line = np.polyfit(scores[:2], found[:2], 1)
    first = np.isclose(found, np.polyval(line, scores), atol=1e-9)
    assert 240 < first.sum() < 360 and (first[:500:2] == first[1:500:2]).all()
    for half in (first, ~first):
        scale = calibration.fit_scale(labels[~half], scores[~half])
        np.testing.assert_allclose(found[half], scores[half] / scale.temperature + scale.shift, atol=1e-9)
