"""When a pile of windows is a motif: made piles whose answer is known."""

import itertools

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.motifs import extract, piles

#: Probabilities whose information is known: 2 bits, 1 bit (two letters alike), none.
SURE, HALF, FLAT = [1.0, 0, 0, 0], [0.5, 0, 0, 0.5], [0.25] * 4


def column(bits: float) -> list[float]:
    """One letter more likely than the three others, by so much that the column has these bits."""
    shares = np.linspace(0.25, 1 - 1e-9, 200_001)
    rest = (1 - shares) / 3
    found = 2 + shares * np.log2(shares) + 3 * rest * np.log2(rest)
    share = shares[np.argmin(np.abs(found - bits))]
    return [share, *[(1 - share) / 3] * 3]


def windows(word: str, n: int, seed: int = 0) -> np.ndarray:
    """n windows; '.' in the word is a random letter."""
    tokens = np.random.default_rng(seed).integers(0, 4, (n, len(word))).astype(np.uint8)
    for place, letter in enumerate(word):
        if letter != '.':
            tokens[:, place] = dna.encode(letter)[0]
    return tokens


def test_a_uniform_pile_is_no_motif():
    for n in (50, 500):
        pile = piles.pile_windows(windows('.' * 9, n))
        assert pile.verdict == 'none' and pile.bits < 1.5
        assert pile.agree <= 0.1 * n  # one word in a thousand, but the pile is made of these windows
    flat = np.array([FLAT] * 9)
    assert piles.informative(flat) == slice(0, 9)  # nothing to trim to: it is kept whole
    assert piles.best_bits(flat) == 0 and piles.whole(flat).verdict == 'none'


def test_a_strong_word_loses_its_flat_flanks():
    tokens = windows('..TGACGT.', 200)
    pile = piles.pile_windows(tokens)
    assert (pile.start, pile.stop) == (2, 8)
    assert extract.consensus(pile.probabilities) == 'TGACGT'
    assert pile.verdict == 'motif' and 11 < pile.bits < 12
    assert (pile.windows, pile.agree) == (200, 200)
    np.testing.assert_array_equal(pile.counts, extract.count_matrix(tokens)[2:8])
    np.testing.assert_allclose(pile.probabilities, extract.pwm_from_windows(tokens)[2:8])
    half = piles.pile_windows(np.concatenate([tokens[:100], windows('.' * 9, 100, seed=1)]))
    assert (half.start, half.stop) == (2, 8) and 100 <= half.agree <= 103


def test_a_weak_column_between_strong_ones_stays():
    pile = piles.pile_windows(windows('.TGA.TCA.', 200))
    assert (pile.start, pile.stop) == (1, 8) and pile.verdict == 'motif'
    assert pile.bits > 11  # the best six columns need not be side by side


def test_weak_columns_are_no_motif_however_many():
    weak = np.array([column(0.5)] * 9)
    assert piles.informative(weak) == slice(0, 9)
    assert piles.whole(weak).bits == pytest.approx(3.0, abs=1e-3)
    assert piles.judge(piles.best_bits(np.array([column(0.49)] * 30))) == 'none'
    assert piles.judge(piles.best_bits(np.array([column(0.51)] * 6))) == 'vague'
    assert piles.judge(piles.best_bits(np.array([column(0.99)] * 30))) == 'vague'
    assert piles.judge(piles.best_bits(np.array([column(1.01)] * 6))) == 'motif'
    assert piles.best_bits(np.array([SURE, HALF, FLAT])) == 3.0  # fewer than six: all of them
    assert [piles.judge(bits) for bits in (2.999, 3.0, 5.999, 6.0)] == ['none', 'vague', 'vague', 'motif']


def test_trimming_at_its_limit():
    inside, outside = column(0.26), column(0.24)
    assert piles.informative(np.array([outside, inside, FLAT, SURE, outside, outside])) == slice(1, 4)
    assert piles.informative(np.array([outside] * 4)) == slice(0, 4)
    assert piles.informative(np.array([SURE])) == slice(0, 1)


def test_a_few_windows_are_no_motif_however_alike():
    assert piles.pile_windows(windows('TGACGTCAT', 5)).verdict == 'vague'
    assert piles.pile_windows(windows('TGACGTCAT', 6)).verdict == 'motif'
    nothing = piles.pile_windows(np.empty((0, 9), np.uint8))
    assert (nothing.verdict, nothing.windows, nothing.agree) == ('none', 0, 0)


def test_agreeing_words_are_the_best_of_all_words():
    """Against all words of the motif's width, with the scores worked out by hand."""
    matrix = np.random.default_rng(3).dirichlet([0.5] * 4, 6)
    words = np.array(list(itertools.product(range(4), repeat=6)), np.uint8)
    agree = piles.agreeing(matrix, words)
    scores = np.log2((matrix + 0.0025) / 1.01)[np.arange(6), words].sum(axis=1)
    assert agree.sum() == 4  # 4 of 4,096
    assert scores[agree].min() >= scores[~agree].max()
    assert not piles.agreeing(matrix, np.full((1, 6), dna.N, np.uint8)).any()
    four = np.eye(4)[[0, 1, 2, 3]]
    assert piles.agreeing(four, dna.encode('ACGTACTTTTTT').reshape(3, 4)).tolist() == [True, False, False]
    assert not piles.agreeing(four[:3], dna.encode('ACG')[None]).any()  # 1 in 64 words
    assert not piles.agreeing(np.array([FLAT, [0.4, 0.2, 0.2, 0.2]]), dna.encode('AA')[None]).any()


def test_filters_are_judged_by_their_counts():
    tokens = windows('..TGACGT.', 100)
    known, counted = piles.pile_windows(tokens), piles.pile_counts(extract.count_matrix(tokens), 100)
    np.testing.assert_allclose(counted.probabilities, known.probabilities)
    assert (counted.start, counted.bits, counted.windows, counted.agree) == (known.start, known.bits, 100, None)


def test_a_class_optimum_is_judged_but_not_trimmed():
    matrix = np.array([FLAT, *[SURE] * 4, FLAT])
    pile = piles.whole(matrix)
    assert (pile.start, pile.stop, pile.verdict, pile.windows) == (0, 6, 'motif', None)


@pytest.mark.parametrize(
    'row, total, expected',
    [
        ([0.5, 0.5, 0, 0], 3, [2, 1, 0, 0]),  # of equal remainders the first
        ([0.25] * 4, 6, [2, 2, 1, 1]),
        ([3.25, 0.25, 0.25, 0.25], 4, [4, 0, 0, 0]),  # three A and an N
        ([49, 17, 13, 21], 100, [49, 17, 13, 21]),
        ([0.1, 0.2, 0.3, 0.4], 10, [1, 2, 3, 4]),
        ([1 / 3, 1 / 3, 1 / 3, 0], 1000, [334, 333, 333, 0]),
    ],
)
def test_whole_counts(row, total, expected):
    assert piles.whole_counts(np.array([row, row]), total).tolist() == [expected, expected]


def test_whole_counts_are_within_one_and_add_up():
    matrix = np.random.default_rng(0).dirichlet([0.4] * 4, 500)
    counts = piles.whole_counts(matrix, 1000)
    assert (counts.sum(axis=1) == 1000).all() and (counts == np.rint(counts)).all() and counts.min() >= 0
    assert np.abs(counts - 1000 * matrix).max() < 1
