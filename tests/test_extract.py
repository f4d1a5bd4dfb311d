"""Windows out of explanations, against a plain search."""

import numpy as np
import pytest
from scipy.stats import chisquare, entropy

from demo_jax import dna
from demo_jax.motifs import extract

N_ROWS, LENGTH = 40, 30


@pytest.fixture
def ragged():
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, LENGTH + 1, N_ROWS)
    lengths[:3] = (8, 9, LENGTH)
    tokens = rng.integers(0, 4, (N_ROWS, LENGTH)).astype(np.uint8)
    tokens[np.arange(LENGTH) >= lengths[:, None]] = dna.N
    return tokens, lengths, rng.normal(size=(N_ROWS, LENGTH))


def test_best_windows_against_search(ragged):
    tokens, lengths, scores = ragged
    scores[np.arange(LENGTH) >= lengths[:, None]] = 1e9  # past the end: never looked at
    windows = extract.best_windows(scores, lengths)
    rows = [row for row in range(N_ROWS) if lengths[row] >= 9]
    assert windows.row.tolist() == rows and len(windows) == len(rows) < N_ROWS
    words = windows.words(tokens)
    for row, start, score, word in zip(windows.row, windows.start, windows.score, words, strict=True):
        sums = [scores[row, at : at + 9].sum() for at in range(lengths[row] - 8)]
        assert start == int(np.argmax(sums))
        assert score == pytest.approx(max(sums))
        assert word == dna.decode(tokens[row, start : start + 9])
    assert (windows.strand == 1).all() and windows.width == 9


def test_the_first_of_equal_windows_counts():
    scores = np.zeros((2, 20))
    scores[1, [3, 15]] = 1.0
    assert extract.best_windows(scores, width=4).start.tolist() == [0, 0]
    scores[1, 3] = 0
    assert extract.best_windows(scores, width=4).start.tolist() == [0, 12]
    assert extract.best_windows(np.full((1, 12), 0.1)).start.tolist() == [0]  # rounding makes no difference


@pytest.mark.parametrize('find', [extract.best_windows, extract.steepest_windows])
def test_no_sequence_long_enough(find):
    for shape, lengths in (((3, 8), None), ((2, 20), np.array([4, 8])), ((0, 20), None)):
        windows = find(np.ones(shape), lengths)
        assert len(windows) == 0 and windows.words(np.zeros(shape, np.uint8)) == []
        assert len(extract.random_windows(np.random.default_rng(0), windows, np.full(shape[0], shape[1]))) == 0


@pytest.mark.parametrize('reverse', [False, True])
def test_steepest_windows_against_search(ragged, reverse):
    _, lengths, scores = ragged
    temporal = np.cumsum(scores, axis=1) + np.linspace(-6, 6, N_ROWS)[:, None]  # many rows never cross zero
    windows = extract.steepest_windows(temporal, lengths, reverse=reverse)
    crossed = 0
    for row, start, score in zip(windows.row, windows.start, windows.score, strict=True):
        rises = []
        for at in range(lengths[row] - 8):
            early, late = temporal[row, at], temporal[row, at + 8]
            if reverse:
                early, late = late, early
            rises.append((early < 0 < late, late - early))
        crossed += max(rises)[0]
        assert start == rises.index(max(rises))
        assert score == pytest.approx(max(rises)[1])
    assert 5 < crossed < len(windows) - 5


def test_steepest_window_prefers_a_change_of_sign():
    temporal = np.concatenate([np.linspace(-1, 1, 15), np.full(10, 1.0), np.linspace(1, 50, 15)])[None]
    window = extract.steepest_windows(temporal)
    assert temporal[0, window.start[0]] < 0 < temporal[0, window.start[0] + 8]
    assert extract.steepest_windows(temporal + 5).start[0] >= 24  # never below zero: the steepest of all
    mirrored = extract.steepest_windows(temporal[:, ::-1], reverse=True)
    assert mirrored.score == pytest.approx(window.score)


def test_activation_windows_are_centred_and_inside():
    start = np.array([10, -2, 28, 10, 0])
    lengths = np.array([40, 40, 30, 8, 9])
    windows = extract.activation_windows(start, 5, lengths, score=np.arange(5.0))
    assert windows.row.tolist() == [0, 1, 2, 4]
    assert windows.start.tolist() == [8, 0, 21, 0]
    assert windows.score.tolist() == [0, 1, 2, 4]
    same = extract.activation_windows(start[:1], 9, lengths[:1])
    wide = extract.activation_windows(start[:1], 24, lengths[:1])
    assert same.start.tolist() == [10] and np.isnan(same.score).all()
    assert wide.start.tolist() == [18]  # centre 22 of 10..34 and of 18..27 (half a letter right)


def test_random_windows_are_uniform_and_of_the_same_sequences():
    lengths = np.array([20, 8, 12])
    windows = extract.best_windows(np.zeros((3, 20)), lengths)
    rng = np.random.default_rng(1)
    drawn = [extract.random_windows(rng, windows, lengths) for _ in range(3000)]
    assert all(one.row.tolist() == [0, 2] for one in drawn)
    starts = np.array([one.start for one in drawn])
    for place, n_starts in ((0, 12), (1, 4)):
        assert chisquare(np.bincount(starts[:, place], minlength=n_starts)).pvalue > 1e-3
    assert starts[:, 0].max() == 11 and starts[:, 1].max() == 3


def test_words_of_the_other_strand():
    windows = extract.Windows(np.array([0, 0]), np.array([1, 1]), np.array([1, -1], np.int8), np.zeros(2), 4)
    assert windows.words(dna.encode('AACCGT')[None]) == ['ACCG', 'CGGT']


def test_information_content_against_scipy():
    probabilities = np.random.default_rng(0).dirichlet([0.4] * 4, size=20)
    expected = 2 - entropy(probabilities, base=2, axis=1)
    np.testing.assert_allclose(dna.information_content(probabilities), expected, rtol=1e-12)
    np.testing.assert_array_equal(dna.information_content(np.eye(4)), 2.0)


def test_best_submatrix():
    rng = np.random.default_rng(0)
    matrix = rng.dirichlet([5.0] * 4, size=40)
    matrix[17:26] = np.eye(4)[rng.integers(0, 4, 9)] * 0.96 + 0.01
    part = extract.best_submatrix(matrix)
    assert part.start == 17 and part.probabilities.shape == (9, 4)
    np.testing.assert_array_equal(part.probabilities, matrix[17:26])
    assert extract.best_submatrix(matrix[:5]).probabilities.shape == (5, 4)
    assert extract.best_submatrix(np.full((20, 4), 0.25)).start == 0


def test_pwm_from_windows_against_biopython():
    from Bio import motifs

    tokens = np.random.default_rng(2).integers(0, 4, (12, 9)).astype(np.uint8)
    normalised = motifs.create([dna.decode(row) for row in tokens]).counts.normalize(pseudocounts=0.5)
    expected = np.array([normalised[letter] for letter in 'ACGT']).T
    np.testing.assert_allclose(extract.pwm_from_windows(tokens), expected)
    with_n = extract.pwm_from_windows(np.array([[0, 4], [0, 3]], np.uint8), pseudocount=0)
    np.testing.assert_allclose(with_n, [[1, 0, 0, 0], [0.125, 0.125, 0.125, 0.625]])
    np.testing.assert_array_equal(extract.pwm_from_windows(np.empty((0, 3), np.uint8), pseudocount=0), 0.25)


def test_align_strands_recovers_the_orientation():
    rng = np.random.default_rng(4)
    clean = np.tile(dna.encode('TGATAAGGC'), (60, 1))
    noisy = np.where(rng.random(clean.shape) < 0.1, rng.integers(0, 4, clean.shape), clean).astype(np.uint8)
    turned = rng.random(60) < 0.5
    given = np.where(turned[:, None], dna.reverse_complement(noisy), noisy)
    strand = extract.align_strands(given)
    assert len(set(strand * np.where(turned, -1, 1))) == 1  # all alike, on either strand
    assert set(strand) == {1, -1}
    assert extract.align_strands(np.empty((0, 9), np.uint8)).shape == (0,)
    assert extract.align_strands(np.tile(dna.encode('ACGT'), (3, 1))).tolist() == [1, 1, 1]  # its own other strand


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match='scores must be'):
        extract.best_windows(np.zeros(20))
    with pytest.raises(ValueError, match='lengths must be'):
        extract.best_windows(np.zeros((2, 20)), np.array([20, 21]))


def test_a_sequence_without_any_score_has_no_rise():
    temporal = np.stack([np.arange(12.0), np.full(12, np.nan)])
    windows = extract.steepest_windows(temporal)
    assert windows.score[0] == 8 and np.isnan(windows.score[1])


def test_pieces_without_a_score_are_never_the_steepest():
    temporal = np.array([[np.nan, -1.0, -1.0, 2.0, 2.0, 2.0]])
    windows = extract.steepest_windows(temporal, width=3)
    assert windows.start.tolist() == [1]
    assert windows.score.tolist() == [3.0]
