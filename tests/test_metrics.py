"""Ranking measures against scikit-learn and pair counting; the bootstrap against theory and a slow one."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from demo_jax.evaluation import metrics


def example(seed: int, n: int = 300, decimals: int | None = None):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    scores = rng.normal(size=n) + labels
    return labels, scores if decimals is None else np.round(scores, decimals)


def pair_count(labels, scores):
    """AUROC by its definition: every positive against every negative."""
    pairs = itertools.product(scores[labels == 1], scores[labels == 0])
    return np.mean([(p > n) + 0.5 * (p == n) for p, n in pairs])


@pytest.mark.parametrize('decimals', [None, 1, 0])
@pytest.mark.parametrize('seed', range(3))
def test_auroc_and_average_precision_equal_scikit_learn(seed, decimals):
    labels, scores = example(seed, decimals=decimals)
    weights = np.random.default_rng(seed + 100).integers(0, 4, labels.size)
    for weight in (None, weights, weights * 0.37):
        assert metrics.auroc(labels, scores, weight) == pytest.approx(
            sk.roc_auc_score(labels, scores, sample_weight=weight), abs=1e-12
        )
        assert metrics.average_precision(labels, scores, weight) == pytest.approx(
            sk.average_precision_score(labels, scores, sample_weight=weight), abs=1e-12
        )


@pytest.mark.parametrize('decimals', [None, 1, 0])
def test_roc_curve_equals_scikit_learn(decimals):
    labels, scores = example(0, decimals=decimals)
    ours = metrics.roc_curve(labels, scores)
    for mine, theirs in zip(ours, sk.roc_curve(labels, scores, drop_intermediate=False), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)
    area = np.trapezoid(ours.true_positive_rate, ours.false_positive_rate)
    assert area == pytest.approx(metrics.auroc(labels, scores), abs=1e-12)


few_scores = st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4)), min_size=2, max_size=30).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


@settings(deadline=None)
@given(few_scores)
def test_auroc_properties(rows):
    labels, scores = np.array(rows).T
    value = metrics.auroc(labels, scores)
    assert value == pytest.approx(pair_count(labels, scores), abs=1e-12)
    assert metrics.auroc(labels, np.exp(scores)) == value
    assert metrics.auroc(labels, 3.0 * scores - 7) == value
    assert metrics.auroc(1 - labels, scores) == pytest.approx(1 - value, abs=1e-12)
    assert metrics.auroc(labels, -scores) == pytest.approx(1 - value, abs=1e-12)
    assert metrics.auroc(labels[::-1], scores[::-1]) == value


@settings(deadline=None)
@given(few_scores, st.data())
def test_integer_weights_are_repeats(rows, data):
    labels, scores = np.array(rows).T
    counts = np.array(data.draw(st.lists(st.integers(0, 3), min_size=labels.size, max_size=labels.size)))
    repeated = np.repeat(labels, counts), np.repeat(scores, counts)
    for measure in (metrics.auroc, metrics.average_precision):
        np.testing.assert_allclose(measure(labels, scores, counts), measure(*repeated), rtol=0, atol=1e-12)


def test_known_values():
    assert metrics.auroc([0, 0, 1, 1], [1, 2, 3, 4]) == 1
    assert metrics.auroc([1, 1, 0, 0], [1, 2, 3, 4]) == 0
    assert metrics.auroc([0, 1, 0, 1], [5, 5, 5, 5]) == 0.5
    assert metrics.auroc([True, False], np.array([2, 1], np.float32)) == 1
    assert metrics.average_precision([0, 1, 0, 1], [5, 5, 5, 5]) == 0.5
    # Ranks 1 and 3 are positive: half the recall at precision 1, half at 2/3.
    assert metrics.average_precision([1, 0, 1, 0], [4, 3, 2, 1]) == pytest.approx(5 / 6)


@pytest.mark.parametrize('labels', [[1, 1, 1], [0, 0, 0], []])
def test_one_class_alone_is_undefined(labels):
    scores = np.arange(len(labels))
    assert np.isnan(metrics.auroc(labels, scores))
    assert np.isnan(metrics.average_precision(labels, scores))
    assert np.isnan(metrics.bootstrap_auroc(labels, scores)).all()
    curve = metrics.roc_curve(labels, scores)
    assert np.isnan(curve.true_positive_rate if 1 not in labels else curve.false_positive_rate).any()


@pytest.mark.parametrize(
    'labels, scores, message',
    [
        ([0, 1, 1], [0.1, np.nan, np.inf], '2 of 3 scores are not finite, the first is score 1'),
        ([0, 2], [0.1, 0.2], 'label 1 is 2'),
        ([0, 1], [0.1, 0.2, 0.3], 'two equal shapes'),
        ([[0, 1]], [[0.1, 0.2]], 'two equal shapes'),
    ],
)
@pytest.mark.parametrize(
    'measure',
    [
        metrics.auroc,
        metrics.average_precision,
        metrics.roc_curve,
        metrics.bootstrap_auroc,
    ],
)
def test_bad_input(measure, labels, scores, message):
    with pytest.raises(ValueError, match=message):
        measure(labels, scores)


def test_bad_settings():
    labels, scores = example(0)
    with pytest.raises(ValueError, match='not negative'):
        metrics.auroc(labels, scores, -np.ones(labels.size))
    with pytest.raises(ValueError, match='level is 95'):
        metrics.bootstrap_auroc(labels, scores, level=95)
    with pytest.raises(ValueError, match='n_resamples is 0'):
        metrics.bootstrap_auroc(labels, scores, n_resamples=0)
    with pytest.raises(ValueError, match='expected integers'):
        metrics.bootstrap_auroc(labels, scores, np.zeros(labels.size))


def paired_example(seed: int, n_pairs: int = 200, shared: float = 2.0):
    """Positives and shuffles whose scores share a part, as sequences of the same composition do."""
    rng = np.random.default_rng(seed)
    common = shared * rng.normal(size=n_pairs)
    scores = np.concatenate([common + rng.normal(size=n_pairs) + 1, common + rng.normal(size=n_pairs)])
    return np.repeat([1, 0], n_pairs), scores, np.tile(np.arange(n_pairs), 2)


@pytest.mark.parametrize(
    'bootstrap, measure',
    [
        (metrics.bootstrap_auroc, metrics.auroc),
        (metrics.bootstrap_average_precision, metrics.average_precision),
    ],
)
@pytest.mark.parametrize('decimals', [6, 0])
def test_bootstrap_agrees_with_a_plain_one_over_pairs(bootstrap, measure, decimals):
    labels, scores, pairs = paired_example(0)
    scores = np.round(scores, decimals)
    rng = np.random.default_rng(1)
    plain = []
    for _ in range(2000):
        drawn = rng.integers(0, 200, 200)
        rows = np.concatenate([drawn, drawn + 200])
        plain.append(measure(labels[rows], scores[rows]))
    ours = bootstrap(labels, scores, pairs, n_resamples=4000)
    np.testing.assert_allclose(ours, np.quantile(plain, [0.025, 0.975]), atol=0.006)
    assert ours.low < measure(labels, scores) < ours.high


def test_pairs_that_share_a_part_narrow_the_interval():
    """Comparing within pairs removes the shared part, which a bootstrap over rows takes for noise."""
    labels, scores, pairs = paired_example(2)
    paired = metrics.bootstrap_auroc(labels, scores, pairs)
    unpaired = metrics.bootstrap_auroc(labels, scores)
    assert paired.high - paired.low < 0.8 * (unpaired.high - unpaired.low)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """Scores N(1, 1 + 4) and N(0, 1 + 4) that share a variance of 4 have AUROC Phi(1 / sqrt(10)) = 0.6241."""
    covered = 0
    for seed in range(300):
        labels, scores, pairs = paired_example(seed, n_pairs=100)
        interval = metrics.bootstrap_auroc(labels, scores, pairs, n_resamples=300, seed=seed)
        covered += interval.low <= 0.62409 <= interval.high
    assert 0.91 < covered / 300 < 0.985


def test_unpaired_rows_are_resampled_within_their_class():
    """One lone negative: a bootstrap that ignored class would often lose it and be undefined."""
    labels, scores = np.array([1] * 50 + [0]), np.arange(51.0)
    interval = metrics.bootstrap_auroc(labels, scores, np.full(51, -1))
    assert interval == metrics.bootstrap_auroc(labels, scores) == (0, 0)


def test_ids_without_a_partner_and_larger_groups_keep_class_sizes():
    labels = np.array([1, 0, 0, 1, 0, 1, 0, 1])
    pairs = np.array([7, 7, 7, 9, 9, 11, -1, -1])  # one triple, one pair, a lone positive, two unpaired
    unit, strata = metrics._units(labels, pairs)
    assert unit[0] == unit[1] == unit[2] and unit[3] == unit[4] and len(set(unit)) == 5
    counts = np.zeros((500, 5), np.int64)
    for members in strata:
        counts[:, members] = metrics._resample(np.random.default_rng(0), 500, members.size)
    rows = counts[:, unit]
    assert (rows[:, labels == 1].sum(axis=1) == 4).all() and (rows[:, labels == 0].sum(axis=1) == 4).all()


def test_bootstrap_depends_on_the_seed_and_on_nothing_else(monkeypatch):
    labels, scores, pairs = paired_example(0)
    first = metrics.bootstrap_auroc(labels, scores, pairs, seed=3)
    assert metrics.bootstrap_auroc(labels, scores, pairs, seed=3) == first
    assert metrics.bootstrap_auroc(labels, scores, pairs, seed=4) != first
    narrow = metrics.bootstrap_auroc(labels, scores, pairs, seed=3, level=0.5)
    assert first.low < narrow.low < narrow.high < first.high
    monkeypatch.setattr(metrics, '_BLOCK_CELLS', 400 * 400)  # draws in blocks must still be valid resamples
    blocks = metrics.bootstrap_auroc(labels, scores, pairs, seed=3)
    np.testing.assert_allclose(blocks, first, atol=0.01)


def test_bootstrap_is_fast_enough_to_run_for_every_model():
    """1000 resamples of 1000 rows take about 0.05 s; the bound only catches a fall back to Python loops."""
    labels, scores, pairs = paired_example(0, n_pairs=500)
    start = time.process_time()
    metrics.bootstrap_auroc(labels, scores, pairs)
    assert time.process_time() - start < 2
