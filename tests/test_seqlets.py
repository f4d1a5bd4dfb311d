"""Seqlets: greedy stretches against brute force, false discovery rates on maps whose sites are known, bad input."""

import numpy as np
import pytest

from demo_jax.errors import InputError
from demo_jax.motifs import seqlets


def _brute_force(gains, low, high):
    """The greedy stretches of one sequence by trying all of them: (start, width, sum)."""
    found, free = [], np.ones(len(gains), bool)
    while True:
        options = [
            (gains[start : start + width].sum(), start, width)
            for width in range(low, high + 1)
            for start in range(len(gains) - width + 1)
            if free[start : start + width].all()
        ]
        best = max(options, default=(0.0, 0, 0))
        if best[0] <= 1e-9:
            return found
        found.append((best[1], best[2], best[0]))
        free[best[1] : best[1] + best[2]] = False


@pytest.mark.parametrize(('length', 'low', 'high'), [(40, 4, 25), (12, 4, 25), (30, 1, 1), (30, 3, 6)])
def test_stretches_are_those_of_brute_force(length, low, high):
    gains = np.random.default_rng(length).normal(-0.4, 1, (25, length))
    row, start, width, score = seqlets.best_stretches(gains, widths=(low, high))
    for number, one in enumerate(gains):
        mine = row == number
        found = sorted(zip(start[mine], width[mine], score[mine], strict=True))
        expected = sorted(_brute_force(one, low, min(high, length)))
        assert [place[:2] for place in found] == [place[:2] for place in expected]
        np.testing.assert_allclose([place[2] for place in found], [place[2] for place in expected], atol=1e-9)


@pytest.mark.parametrize('kind', [np.float64, np.int32])
def test_stretches_end_where_the_sequence_does(kind):
    rng = np.random.default_rng(3)
    gains, lengths = rng.integers(-30, 20, (40, 50)).astype(kind) * 64 + 1, rng.integers(3, 51, 40)
    row, start, width, score = seqlets.best_stretches(gains, widths=(4, 9), lengths=lengths)
    assert score.dtype == kind
    for number, one in enumerate(gains):
        mine = row == number
        # Of equal sums any may be taken, so the sums are compared.
        expected = _brute_force(one[: lengths[number]].astype(float), 4, min(9, lengths[number]))
        np.testing.assert_array_equal(np.sort(score[mine])[-1:], np.sort([place[2] for place in expected])[-1:])
        assert (start[mine] + width[mine] <= lengths[number]).all()


def test_sequences_shorter_than_a_seqlet_have_none():
    assert [len(column) for column in seqlets.best_stretches(np.ones((3, 3)))] == [0, 0, 0, 0]


def _noise(n, length, seed):
    """Contributions whose neighbours are alike, as those of a convolution are."""
    white = np.random.default_rng(seed).standard_t(5, (n, length + 4))
    return np.lib.stride_tricks.sliding_window_view(white, 5, axis=1).mean(axis=-1)


def _with_sites(n, length, seed, height):
    """Noise with a site of 8 letters in two thirds of the sequences, and where these start (-1: nowhere)."""
    rng = np.random.default_rng(seed)
    maps, start = _noise(n, length, seed), rng.integers(0, length - 8, n)
    start[rng.random(n) < 1 / 3] = -1
    for row in np.flatnonzero(start >= 0):
        maps[row, start[row] : start[row] + 8] += height * rng.uniform(0.5, 1.5, 8)
    return maps, start


def _is_true(found, start):
    shared = np.minimum(found.stop, start[found.row] + 8) - np.maximum(found.start, start[found.row])
    return (start[found.row] >= 0) & (2 * shared >= np.minimum(found.width, 8))


def test_false_discovery_rate_is_kept_and_sites_are_found():
    false, called, hit, sites = 0, 0, 0, 0
    for seed in range(8):
        maps, start = _with_sites(300, 80, seed, 2.5)
        found = seqlets.call_seqlets(maps, _noise(300, 80, 100 + seed), signs=(1,))
        found = found.take(found.q_value <= 0.1)
        good = _is_true(found, start)
        false, called = false + (~good).sum(), called + len(found)
        hit, sites = hit + len(np.unique(found.row[good])), sites + (start >= 0).sum()
    assert false / called < 0.12
    assert hit / sites > 0.9


def test_nothing_is_found_where_the_map_is_like_its_null():
    counts = []
    for seed in range(12):
        found = seqlets.call_seqlets(_noise(200, 80, seed), _noise(200, 80, 50 + seed))
        assert 0.4 < found.p_value.mean() < 0.6
        counts.append((found.q_value <= 0.05).sum())
    assert np.count_nonzero(counts) <= 2


def test_signs_units_and_layout_change_nothing_else():
    maps, _ = _with_sites(60, 50, 1, 1.5)
    null = _noise(60, 50, 2)
    given = seqlets.call_seqlets(maps, null)
    turned = seqlets.call_seqlets(-40 * maps, -40 * null)
    for name in ('row', 'start', 'width', 'p_value', 'q_value'):
        np.testing.assert_array_equal(getattr(given, name), getattr(turned, name))
    np.testing.assert_array_equal(given.sign, -turned.sign)
    np.testing.assert_allclose(turned.contribution, -40 * given.contribution)
    sums = [maps[row, start:stop].sum() for row, start, stop in zip(given.row, given.start, given.stop, strict=True)]
    np.testing.assert_allclose(given.contribution, sums)
    letters = np.eye(4)[np.random.default_rng(0).integers(0, 4, maps.shape)]
    whole = seqlets.call_seqlets(maps[..., None] * letters, null)
    np.testing.assert_array_equal(whole.q_value, given.q_value)
    assert (given.contribution[given.q_value < 0.05] * given.sign[given.q_value < 0.05] > 0).all()


def test_seqlets_do_not_overlap_and_stay_inside():
    maps, lengths = _noise(40, 60, 3), np.random.default_rng(0).integers(30, 61, 40)
    maps[np.arange(60) >= lengths[:, None]] = 50
    found = seqlets.call_seqlets(maps, _noise(40, 60, 4), lengths=lengths)
    assert (found.stop <= lengths[found.row]).all()
    assert (found.width >= 4).all() and (found.width <= 25).all()
    for sign in (1, -1):
        mine = found.take(found.sign == sign)
        same = mine.row[1:] == mine.row[:-1]
        assert (mine.start[1:] >= mine.stop[:-1])[same].all()


def test_p_values_are_shares_of_the_null_and_q_values_what_it_leads_one_to_expect():
    found = seqlets.against_null(np.array([0.5, 2, 3, 9]), np.array([1.0, 2, 3]), 4, 4)
    np.testing.assert_allclose(found.p_value, [1, 3 / 4, 2 / 4, 1 / 4])
    # Three null scores in as many sequences: 3 p are expected as high.
    np.testing.assert_allclose(found.q_value, [3 / 4, 3 / 4, 3 / 4, 3 / 4])
    # Twice the sequences, twice the expected number, up to all of them (Storey's share is 1 of few p-values).
    twice = seqlets.against_null(np.array([0.5, 2, 3, 9]), np.array([1.0, 2, 3]), 8, 4)
    np.testing.assert_allclose(twice.q_value, [1, 1, 1, 1])
    # An empty null: one score as high as any is still allowed for.
    np.testing.assert_allclose(seqlets.against_null(np.arange(50.0), np.zeros(0), 50, 50).q_value, 1 / 50)
    assert seqlets.against_null(np.zeros(0), np.zeros(3), 5, 5).p_value.shape == (0,)


def test_letters_that_are_there_are_read_out_of_hypothetical_contributions():
    hypothetical = np.arange(12.0).reshape(1, 3, 4)
    np.testing.assert_array_equal(seqlets.signed_at(hypothetical, np.array([[2, 4, 0]])), [[2, 0, 8]])


@pytest.mark.parametrize(
    ('maps', 'null', 'words'),
    [
        (np.ones((30, 5, 3)), np.ones((30, 5)), 'the map is float64 of shape (30, 5, 3)'),
        (np.ones((30, 5)), np.ones((30, 5), complex), 'the null map is complex128 of shape (30, 5)'),
        (np.ones((19, 5)), np.ones((30, 5)), 'the map is of 19 sequences, expected 20 or more'),
        (np.ones((30, 5)), np.ones((0, 5)), 'the null map is of 0 sequences, expected 20 or more'),
        (np.full((30, 5), np.nan), np.ones((30, 5)), 'the map holds a value that is not finite, in sequence 0'),
        (np.zeros((30, 5)), np.ones((30, 5)), 'the map is 0 everywhere'),
    ],
)
def test_bad_maps_are_one_line(maps, null, words):
    with pytest.raises(InputError, match='^' + words.replace('(', r'\(').replace(')', r'\)')) as error:
        seqlets.call_seqlets(maps, null)
    assert '\n' not in str(error.value)


def test_bad_widths_are_one_line():
    with pytest.raises(InputError, match='widths of seqlets are 9 to 4'):
        seqlets.call_seqlets(_noise(30, 40, 0), _noise(30, 40, 1), widths=(9, 4))
