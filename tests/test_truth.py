"""Scores against planted sites: by hand, by scikit-learn, and by many random windows."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from demo_jax.data.corpus import SITE_DTYPE
from demo_jax.explain.truth import score_truth, site_mask
from demo_jax.motifs.extract import Windows, best_windows, random_windows

# (row, start, width, strand, motif, role): 0 primary, 1 co-factor, 2 decoy.
SITES = np.array(
    [
        (10, 3, 6, 1, 0, 0),
        (10, 12, 4, 1, 1, 1),
        (11, 0, 5, -1, 0, 0),
        (12, 4, 5, 1, 2, 2),
        (13, 10, 12, 1, 0, 0),
        (99, 2, 5, 1, 0, 0),
    ],
    SITE_DTYPE,
)
ROWS = np.array([13, 10, 12, 11])
LENGTH = 24


def windows(row, start, width=9):
    return Windows(np.array(row), np.array(start), np.ones(len(row), np.int8), np.zeros(len(row)), width)


def test_site_mask():
    expected = np.zeros((4, LENGTH), bool)
    expected[0, 10:22] = expected[1, 3:9] = expected[3, 0:5] = True
    np.testing.assert_array_equal(site_mask(SITES, ROWS, LENGTH, roles=('primary',)), expected)
    expected[1, 12:16] = True
    np.testing.assert_array_equal(site_mask(SITES, ROWS, LENGTH), expected)
    assert not site_mask(SITES[:0], ROWS, LENGTH).any()


@pytest.mark.parametrize(
    'starts, recall, whole',
    [
        ([11, 1, 5, 0], 1, 1),  # inside the site of 12; around the sites of 6 and 5
        ([6, 6, 0, 3], 2 / 3, 0),  # overlaps 5 of 9 (half is 4.5), 3 of 6, 2 of 5
        ([5, 7, 0, 2], 1 / 3, 0),  # 4 of 9, 2 of 6, 3 of 5
        ([10, 0, 0, 12], 2 / 3, 2 / 3),
    ],
)
def test_windows_are_judged_by_their_overlap(starts, recall, whole):
    found = score_truth(values=np.zeros((4, LENGTH)), windows=windows([0, 1, 2, 3], starts), sites=SITES, rows=ROWS)
    assert (found.n_sequences, found.n_sites) == (3, 3)
    assert (found.recall, found.whole) == pytest.approx((recall, whole))


def test_base_precision_and_kept_sequences():
    rng = np.random.default_rng(0)
    values, lengths = rng.random((4, LENGTH)), np.array([24, 20, 24, 15])
    covered = site_mask(SITES, ROWS, LENGTH)
    values += 0.5 * covered
    keep = np.array([False, True, True, True])
    found = score_truth(
        values=values, windows=best_windows(values, lengths), sites=SITES, rows=ROWS, keep=keep, lengths=lengths
    )
    parts = [(covered[n, : lengths[n]], values[n, : lengths[n]]) for n in (1, 3)]
    labels, ranked = (np.concatenate(part) for part in zip(*parts, strict=True))
    assert found.n_sequences == found.n_sites == 2
    assert found.auprc == pytest.approx(average_precision_score(labels, ranked))
    assert found.auprc_mean == pytest.approx(np.mean([average_precision_score(*part) for part in parts]))
    assert found.auprc_chance == pytest.approx(labels.mean())


def test_chance_is_what_random_windows_reach():
    rng = np.random.default_rng(0)
    lengths = np.array([24, 17, 24, 12])
    given = windows([0, 1, 2, 3], [0, 0, 0, 0])
    arguments = {'values': np.zeros((4, LENGTH)), 'sites': SITES, 'rows': ROWS, 'lengths': lengths}
    found = score_truth(windows=given, **arguments)
    drawn = [score_truth(windows=random_windows(rng, given, lengths), **arguments) for _ in range(600)]
    assert np.mean([one.recall for one in drawn]) == pytest.approx(found.recall_chance, abs=0.04)
    assert np.mean([one.whole for one in drawn]) == pytest.approx(found.whole_chance, abs=0.04)
    assert 0 < found.whole_chance < found.recall_chance < 1


def test_a_sequence_without_a_window_counts_as_missed():
    found = score_truth(values=np.zeros((4, LENGTH)), windows=windows([1], [1]), sites=SITES, rows=ROWS)
    assert found.recall == found.whole == pytest.approx(1 / 3)


def test_nothing_to_judge_is_nan():
    found = score_truth(
        values=np.zeros((4, LENGTH)), windows=windows([0], [0]), sites=SITES, rows=ROWS, keep=np.zeros(4, bool)
    )
    assert found.n_sites == 0
    assert np.isnan([found.auprc, found.recall, found.whole_chance]).all()


def test_bad_shapes():
    with pytest.raises(ValueError, match='a sequence has two windows'):
        score_truth(values=np.zeros((4, LENGTH)), windows=windows([1, 1], [0, 3]), sites=SITES, rows=ROWS)
    with pytest.raises(ValueError, match=r'rows \(3,\)'):
        score_truth(values=np.zeros((4, LENGTH)), windows=windows([1], [0]), sites=SITES, rows=ROWS[:3])
