"""Hits of competing motifs in maps, and what pairs of motifs have to do with each other."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.motifs import hits, spacing, tomtom

LENGTH = 60


def _pattern(word, height=1.0, sign=1):
    matrix = tomtom.word_motif(word)
    return hits.Pattern(matrix, sign * height * dna.one_hot(dna.encode(word)), sign)


def _planted(n, seed, words, heights):
    """Sequences with one site per word, in places that do not overlap, on random strands."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 4, (n, LENGTH)).astype(np.uint8)
    values = 0.05 * rng.standard_normal((n, LENGTH))
    truth = set()
    for number, (word, height) in enumerate(zip(words, heights, strict=True)):
        for row in range(n):
            start, strand = int(rng.integers(number * 30, number * 30 + 30 - len(word))), int(rng.choice([1, -1]))
            letters = dna.encode(word)
            tokens[row, start : start + len(word)] = letters if strand > 0 else dna.reverse_complement(letters)
            values[row, start : start + len(word)] = height
            truth.add((row, start, strand, number))
    return tokens, values, truth


def test_each_site_belongs_to_the_motif_that_explains_it_best():
    words = ('TGACTCAGC', 'GGAAGTTTAC')
    tokens, values, truth = _planted(60, 0, words, (1.0, 0.6))
    # A rival that shares half of the letters loses everywhere.
    motifs = {'one': _pattern(words[0]), 'two': _pattern(words[1]), 'rival': _pattern('TGACTAAAA')}
    noise = _planted(60, 1, (), ())
    found = hits.find_map_hits(values, tokens, motifs, null=(noise[1], noise[0]))
    found = found.take(found.q_value <= 0.05)
    places = list(zip(found.row, found.start, found.strand, found.motif, strict=True))
    assert truth <= set(places) and len(places) <= 1.05 * len(truth)
    found = found.take(np.array([place in truth for place in places]))
    assert (found.similarity > 0.98).all()
    sums = [values[r, s : s + w].sum() for r, s, w in zip(found.row, found.start, found.width, strict=True)]
    np.testing.assert_allclose(found.contribution, sums)
    np.testing.assert_allclose(found.explained, np.array(sums) / np.sqrt(found.width), rtol=1e-5)


def test_what_the_model_does_not_use_is_no_hit_and_blocks_change_nothing(monkeypatch):
    tokens, values, truth = _planted(60, 2, ('TGACTCAGC', 'GGAAGTTTAC'), (1.0, 0.0))
    motifs = {'one': _pattern('TGACTCAGC'), 'two': _pattern('GGAAGTTTAC')}
    noise = _planted(60, 3, (), ())
    whole = hits.find_map_hits(values, tokens, motifs, null=(noise[1], noise[0]))
    good = whole.take(whole.q_value <= 0.05)
    assert set(good.motif.tolist()) == {0} and 60 <= len(good) <= 63
    monkeypatch.setattr(hits, '_CELLS', 500)
    parts = hits.find_map_hits(values, tokens, motifs, null=(noise[1], noise[0]))
    np.testing.assert_array_equal(whole.start, parts.start)
    np.testing.assert_array_equal(whole.q_value, parts.q_value)


def test_hits_do_not_overlap_nor_lie_over_n():
    rng = np.random.default_rng(4)
    tokens = rng.integers(0, 5, (400, LENGTH)).astype(np.uint8)
    values = np.where(tokens < 4, rng.standard_normal((400, LENGTH)), 0)
    found = hits.find_map_hits(values, tokens, {'a': _pattern('ACGT'), 'b': _pattern('GGCCA', sign=-1)})
    assert len(found) > 1 and np.isnan(found.q_value).all()
    same = found.row[1:] == found.row[:-1]
    assert (found.start[1:] >= (found.start + found.width)[:-1])[same].all()
    for row, start, width in zip(found.row, found.start, found.width, strict=True):
        assert (tokens[row, start : start + width] < 4).all()
    signs = np.where(found.motif == 0, 1, -1)
    alike = found.similarity > 0.9
    assert (found.explained > 0).all() and ((signs * found.contribution)[alike] > 0).all()


def test_a_matrix_stands_for_contributions_that_are_not_known():
    matrix = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(
        hits.known_pattern(matrix).contributions, [[2, 0, 0, 0], [0] * 4, [0.5, 0.5, 0, 0]], atol=1e-12
    )


def test_bad_motifs_and_maps_are_one_line():
    tokens, values, _ = _planted(20, 0, (), ())
    with pytest.raises(InputError, match="motif 'x' has contributions of shape"):
        hits.find_map_hits(values, tokens, {'x': hits.Pattern(np.full((3, 4), 0.25), np.zeros((2, 4)))})
    with pytest.raises(InputError, match='the map has shape'):
        hits.find_map_hits(values[:, 1:], tokens, {'x': _pattern('ACGT')})


def _sites(row, start, strand, width=8):
    return spacing.Sites(np.asarray(row), np.asarray(start), np.asarray(strand), width)


def test_a_fixed_spacing_is_found_with_its_side_and_orientation():
    rng = np.random.default_rng(0)
    row = np.arange(200)
    strand = rng.choice([1, -1], 200)
    start = rng.integers(40, 60, 200)
    # The second motif, 6 bp wide, lies 5 bp downstream of the first, the other way round; somewhere in every fifth.
    other = np.where(strand > 0, start + 8 + 5, start - 5 - 6)
    elsewhere = row % 5 == 0
    other = np.where(elsewhere, rng.integers(0, 30, 200), other)
    pair, *rest = [
        found
        for found in spacing.pair_motifs(
            {'a': _sites(row, start, strand), 'b': _sites(row[:150], other[:150], -strand[:150], 6)}, 400, shuffles=99
        )
        if found.first != found.second
    ]
    assert not rest
    assert (pair.gap, pair.same_strand, pair.pairs) == (5, False, 120)
    assert pair.p_spacing == 0.01 and pair.expected_pairs < 40
    assert (pair.together, pair.expected) == (150, 75)
    np.testing.assert_allclose(pair.p_together, hypergeom.sf(149, 400, 200, 150))


def test_no_spacing_is_preferred_where_there_is_none():
    p_values, together = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        one = _sites(np.arange(0, 200), rng.integers(0, 12, 200), rng.choice([1, -1], 200))
        other = _sites(rng.permutation(300)[:200], rng.integers(20, 32, 200), rng.choice([1, -1], 200))
        (pair,) = spacing.pair_motifs({'a': one, 'b': other}, 300, shuffles=49)
        p_values.append(pair.p_spacing)
        together.append(pair.p_together)
    assert np.mean(np.array(p_values) <= 0.1) < 0.3 and 0.25 < np.mean(p_values) < 0.8
    assert np.mean(np.array(together) <= 0.1) < 0.3


def test_upstream_gaps_are_below_zero_and_strands_turn_them():
    one = _sites([0, 0], [50, 50], [1, -1])
    assert [spacing._gap_of(int(key)) for key in spacing._gaps(one, _sites([0], [39], [1]), False)] == [
        (-4, True),
        (3, False),
    ]
    assert not len(spacing._gaps(one, _sites([0], [52], [1]), False))
    assert spacing.pair_motifs({'a': one, 'b': _sites([1], [10], [1])}, 2, shuffles=9) == []
