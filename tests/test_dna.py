"""Tokens, one-hot, strands, and the distribution of dinucleotide shuffles."""

import collections
import itertools

import numpy as np
import pytest
from scipy.stats import chisquare

from demo_jax import dna
from demo_jax.errors import InputError


def test_encode_accepts_both_cases_rna_and_iupac():
    assert dna.encode('ACGTacgtUuN').tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 3, 3, 4]
    assert dna.encode(b'RYSWKMBDHVryswkmbdhv').tolist() == [4] * 20
    assert dna.encode('').shape == (0,)
    assert dna.encode('A').dtype == np.uint8


@pytest.mark.parametrize(
    ('text', 'place'), [('ACXG', "position 3 holds 'X'"), ('AC-', "position 3 holds '-'"), ('Aé', 'position 2')]
)
def test_encode_refuses_other_characters(text, place):
    with pytest.raises(InputError, match=place):
        dna.encode(text)


def test_decode_inverts_encode():
    assert dna.decode(dna.encode('GATTACAN')) == 'GATTACAN'


def test_one_hot():
    expected = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    encoded = dna.one_hot(dna.encode('ACGTN')[None])
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, [expected])


def test_reverse_complement():
    assert dna.decode(dna.reverse_complement(dna.encode('AACGTN'))) == 'NACGTT'
    rows = np.stack([dna.encode('AACC'), dna.encode('GGTA')])
    assert [dna.decode(row) for row in dna.reverse_complement(rows)] == ['GGTT', 'TACC']


def dinucleotides(sequence):
    return collections.Counter(itertools.pairwise(sequence))


def all_shuffles(text):
    """Every distinct sequence with the dinucleotide counts and the first and last letter of `text`."""
    wanted = dinucleotides(text)
    middles = set(itertools.permutations(text[1:-1]))
    candidates = (text[0] + ''.join(middle) + text[-1] for middle in middles)
    return sorted(candidate for candidate in candidates if dinucleotides(candidate) == wanted)


# Ends alike and unlike, a letter reached by one edge only, N inside.
@pytest.mark.parametrize(
    ('text', 'count'), [('ACGATACAGTA', 48), ('AACCACGTTC', 12), ('ACGNATGNCA', 6), ('GCATNNGACNG', 12)]
)
@pytest.mark.parametrize('padded', [False, True])
def test_shuffles_are_uniform_over_all_sequences(text, count, padded):
    expected = all_shuffles(text)
    assert len(expected) == count
    n = 400 * len(expected)
    tokens = np.tile(dna.encode(text), (n, 1))
    lengths = None
    if padded:
        tokens = np.pad(tokens, ((0, 0), (0, 3)), constant_values=2)
        lengths = np.full(n, len(text))
    shuffled = dna.dinucleotide_shuffle(tokens, np.random.default_rng(7), lengths)
    if padded:
        assert (shuffled[:, len(text) :] == dna.N).all()
    seen = collections.Counter(dna.decode(row[: len(text)]) for row in shuffled)
    assert sorted(seen) == expected
    assert chisquare([seen[sequence] for sequence in expected]).pvalue > 1e-4


def test_shuffles_keep_dinucleotides_and_ends():
    rng = np.random.default_rng(1)
    for letters in (1, 2, 4, 5):
        tokens = rng.integers(0, letters, (300, 37), dtype=np.uint8)
        lengths = rng.integers(0, 38, 300)
        before = tokens.copy()
        for given in (None, lengths):
            shuffled = dna.dinucleotide_shuffle(tokens, rng, given)
            assert shuffled.shape == tokens.shape and shuffled.dtype == np.uint8
            for row, result, length in zip(tokens, shuffled, lengths, strict=True):
                length = 37 if given is None else length
                assert dinucleotides(row[:length].tolist()) == dinucleotides(result[:length].tolist())
                assert length == 0 or (row[0] == result[0] and row[length - 1] == result[length - 1])
                assert (result[length:] == dna.N).all()
        np.testing.assert_array_equal(tokens, before)
    assert (shuffled[:, 1:-1] != tokens[:, 1:-1]).mean() > 0.3


@pytest.mark.parametrize('text', ['', 'A', 'AC', 'ACG', 'AAAAAAAA', 'ACACAC', 'NNNNN'])
def test_shuffle_of_degenerate_sequences_is_the_sequence(text):
    tokens = np.tile(dna.encode(text), (3, 1))
    np.testing.assert_array_equal(dna.dinucleotide_shuffle(tokens, np.random.default_rng(0)), tokens)


def test_shuffle_is_determined_by_the_seed_whatever_the_threads():
    tokens = np.random.default_rng(3).integers(0, 4, (9000, 101), dtype=np.uint8)  # more than two blocks
    one, two, again = (
        dna.dinucleotide_shuffle(tokens, np.random.default_rng(5), threads=threads) for threads in (1, 2, 3)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, again)
    rng = np.random.default_rng(5)
    first, second = dna.dinucleotide_shuffle(tokens, rng), dna.dinucleotide_shuffle(tokens, rng)
    assert (first != second).any(axis=1).mean() > 0.99


def test_shuffle_refuses_wrong_arguments():
    tokens = np.zeros((2, 8), np.uint8)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match='lengths'):
        dna.dinucleotide_shuffle(tokens, rng, np.array([1, 9]))
    with pytest.raises(ValueError, match='found 5'):
        dna.dinucleotide_shuffle(tokens + 5, rng)
    with pytest.raises(ValueError, match='shape'):
        dna.dinucleotide_shuffle(tokens[0], rng)


def test_dinucleotide_counts():
    tokens = np.stack([dna.encode('ACACGNN'), dna.encode('TTTTTTT')])
    counts = dna.dinucleotide_counts(tokens, np.array([5, 7]))
    expected = np.zeros((2, 25), int)
    expected[0, [0 * 5 + 1, 1 * 5 + 0, 1 * 5 + 2]] = 2, 1, 1
    expected[1, 3 * 5 + 3] = 6
    np.testing.assert_array_equal(counts, expected)
    assert dna.dinucleotide_counts(tokens)[0, 24] == 1  # NN


def test_a_shuffle_is_drawn_again_where_it_is_the_sequence_itself():
    """'CAACAA...' has few shuffles, so that many first ones are itself; the others have none, one letter many."""
    rng = np.random.default_rng(0)
    few = np.tile(dna.encode('ACAATA'), (400, 1))  # ACAATA and AATACA, ATAACA, ...
    once = dna.dinucleotide_shuffle(few, np.random.default_rng(1))
    assert (once == few).all(axis=1).any()
    shuffled, same = dna.different_shuffle(few, rng)
    assert not same.any() and not (shuffled == few).all(axis=1).any()
    np.testing.assert_array_equal(dna.dinucleotide_counts(shuffled), dna.dinucleotide_counts(few))
    alone = np.stack([dna.encode(text) for text in ('AAAAAA', 'ACACAC', 'ACGTNN', 'NNNNNN', 'ACAATA')])
    lengths = np.array([6, 6, 4, 6, 6])
    shuffled, same = dna.different_shuffle(alone, rng, lengths)
    assert same.tolist() == [True, True, True, True, False]
    np.testing.assert_array_equal(shuffled[:4], alone[:4])
    # Where nothing has to be drawn again, it is what `dinucleotide_shuffle` gives.
    tokens = rng.integers(0, 4, (50, 40)).astype(np.uint8)
    again, _ = dna.different_shuffle(tokens, np.random.default_rng(3))
    np.testing.assert_array_equal(again, dna.dinucleotide_shuffle(tokens, np.random.default_rng(3)))


def test_mostly_unknown_is_more_than_half():
    counts, lengths = np.array([0, 5, 6, 10, 0]), np.array([10, 10, 10, 10, 0])
    assert dna.is_mostly_unknown(counts, lengths).tolist() == [False, False, True, True, False]
    assert dna.is_mostly_unknown(51, 101) and not dna.is_mostly_unknown(50, 101)


def test_rows_are_turned_within_their_lengths():
    tokens = np.array([[0, 1, 2, 4], [3, 3, 0, 1]], np.uint8)  # ACG and TTAC
    turned = dna.reverse_complement(tokens, np.array([3, 4]))
    assert turned.dtype == np.uint8 and turned.tolist() == [[1, 2, 3, 4], [2, 3, 0, 0]]  # CGT and GTAA
