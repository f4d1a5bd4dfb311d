"""Motifs out of seqlets, on sequences and maps whose sites are known."""

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.motifs import discover, seqlets

LENGTH = 101


def _map(n, seed, sites=(), noise=0.05):
    """Random sequences with planted words, and a map that sees them: (tokens, values, [(rows, starts, strands)]).

    Args:
      sites: entries (word, share of sequences, height per letter, place): `place` None = anywhere, else a fixed start.
    """
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 4, (n, LENGTH)).astype(np.uint8)
    values = noise * rng.standard_t(5, (n, LENGTH))
    truth = []
    for word, share, height, place in sites:
        rows = np.flatnonzero(rng.random(n) < share)
        starts = rng.integers(5, LENGTH - len(word) - 5, len(rows)) if place is None else np.full(len(rows), place)
        strands = rng.choice([1, -1], len(rows)) if place is None else np.ones(len(rows), int)
        for row, start, strand in zip(rows, starts, strands, strict=True):
            letters = dna.encode(word)
            letters = np.where(rng.random(len(word)) < 0.9, letters, rng.integers(0, 4, len(word))).astype(np.uint8)
            good = letters == dna.encode(word)
            gains = np.where(good, height, -0.5 * height)
            tokens[row, start : start + len(word)] = letters if strand > 0 else dna.reverse_complement(letters)
            values[row, start : start + len(word)] = gains[::strand]
        truth.append((rows, starts, strands))
    return tokens, values, truth


def _found(tokens, values, seed=999, **more):
    null = _map(len(tokens), seed)[1]
    called = seqlets.call_seqlets(values, null)
    return discover.find_motifs(values, tokens, called.take(called.q_value <= 0.05), **more)


def _same(one, other):
    return one in (other, dna.decode(dna.reverse_complement(dna.encode(other))))


def test_two_motifs_on_both_strands_are_found_where_they_lie():
    words = ('TGACTCAGC', 'GGAAGTCCAC')
    tokens, values, truth = _map(400, 0, [(words[0], 0.7, 1.0, None), (words[1], 0.3, 0.8, None)])
    found = _found(tokens, values)
    assert len(found) == 2
    for motif, word, (rows, starts, strands) in zip(found, words, truth, strict=True):
        side = 1 if motif.consensus in word else -1
        text = motif.consensus if side > 0 else dna.decode(dna.reverse_complement(dna.encode(motif.consensus)))
        assert text in word and motif.width >= len(word) - 1
        offset = word.index(text)
        planted = {
            (row, start + (offset if strand > 0 else len(word) - offset - motif.width), strand * side)
            for row, start, strand in zip(rows.tolist(), starts.tolist(), strands.tolist(), strict=True)
        }
        sites = set(zip(motif.row.tolist(), motif.start.tolist(), motif.strand.tolist(), strict=True))
        assert len(sites & planted) > 0.9 * len(sites)
        assert len(sites & planted) > 0.75 * len(planted)  # some are hidden by the other motif
        assert (motif.contributions.sum(axis=1) > 0).all()
        sums = [values[r, s : s + motif.width].sum() for r, s in zip(motif.row, motif.start, strict=True)]
        np.testing.assert_allclose(motif.contribution, sums, rtol=1e-4, atol=1e-5)
        assert motif.profile(LENGTH).sum() == len(motif.row)


def test_what_speaks_against_binding_is_a_motif_of_its_own():
    tokens, values, _ = _map(300, 1, [('TGACTCAGC', 0.7, 1.0, None), ('CCGGAATTTA', 0.3, -0.8, None)])
    found = _found(tokens, values)
    assert [motif.sign for motif in found] == [1, -1]
    assert found[1].contribution.mean() < 0 and (found[1].contributions.sum(axis=1) < 0).all()
    assert found[1].consensus in 'CCGGAATTTA' or _same(found[1].consensus, 'CCGGAATTTA')


def test_wrong_letters_of_sites_that_speak_for_binding_are_no_motif_against_it():
    word = 'TGACTCAGC'
    tokens, values, ((rows, starts, _),) = _map(400, 5, [(word, 0.8, 1.0, None)])
    worse = rows[::2], starts[::2]
    for offset in (1, len(word) - 2):  # both are one seqlet against binding, across the site
        place = (worse[0], worse[1] + offset)
        tokens[place] = (tokens[place] + np.random.default_rng(offset).integers(1, 4, len(worse[0]))) % 4
        values[place] = -2.0
    found = _found(tokens, values)
    assert [motif.sign for motif in found] == [1]
    assert found[0].contribution.mean() > 3


def test_there_is_none_where_there_is_none():
    rng = np.random.default_rng(0)
    tokens, values, _ = _map(300, 2)
    assert _found(tokens, values) == ()
    # Stretches that matter, each with letters of its own.
    for row in range(200):
        start = rng.integers(0, LENGTH - 10)
        values[row, start : start + 10] += 1
    called = seqlets.call_seqlets(values, _map(300, 3)[1])
    called = called.take(called.q_value <= 0.05)
    assert len(called) > 150
    assert discover.find_motifs(values, tokens, called) == ()


def test_a_partner_that_contributes_nothing_is_found_beside_the_motif():
    tokens, values, (main, _) = _map(400, 4, [('TGACTCAGC', 0.8, 1.0, 30), ('GGAATGTTCC', 0.5, 0.0, 45)])
    values[:, 45:55] = 0.01
    found = _found(tokens, values)
    assert [motif.source for motif in found] == ['seqlets', 'neighbour']
    assert _same(found[1].consensus, 'GGAATGTTCC') or found[1].consensus in 'GGAATGTTCC'
    expected = len(main[0]) / 2
    assert abs(len(found[1].row) - expected) < 0.2 * expected
    assert [motif.source for motif in _found(tokens, values, neighbours=False)] == ['seqlets']


def test_many_seqlets_are_clustered_in_parts(monkeypatch):
    tokens, values, _ = _map(300, 5, [('TGACTCAGC', 0.8, 1.0, None)])
    whole = _found(tokens, values)
    monkeypatch.setattr(discover, 'MOST_COMPARED', 60)
    parts = _found(tokens, values)
    assert len(whole) == len(parts) == 1
    assert _same(whole[0].consensus, parts[0].consensus)
    assert abs(len(whole[0].row) - len(parts[0].row)) <= 10


@pytest.mark.parametrize(('sharp', 'blunt', 'same'), [(0.95, 0.85, True), (0.95, 0.25, False)])
def test_weak_sites_are_the_same_motif_and_other_letters_are_not(sharp, blunt, same):
    def counts(share, n):
        return n * np.tile([share, *[(1 - share) / 3] * 3], (9, 1))

    assert discover.one_motif(counts(sharp, 300), counts(blunt, 100)) is same


def test_few_sites_of_another_motif_stay_apart_from_many():
    one, other = (np.zeros((9, 4)) for _ in range(2))
    one[np.arange(9), [0, 1, 2, 3, 0, 1, 2, 3, 0]] = 400
    other[np.arange(9), [3, 2, 1, 0, 3, 2, 1, 0, 3]] = 12
    assert not discover.one_motif(one, other)
    assert discover.one_motif(one, one * 12 / 400)


def _drawn(matrix, n, rng):
    return (rng.random((n, len(matrix), 1)) >= np.cumsum(matrix, axis=1)[None, :, :3]).sum(axis=2).astype(np.uint8)


def test_alike_motifs_in_one_group_are_told_apart_and_weak_sites_are_not():
    rng = np.random.default_rng(3)
    sharp = lambda word: 0.04 + 0.84 * np.eye(4)[dna.encode(word)]  # noqa: E731
    one, other = sharp('TGATGACGTCATC'), sharp('AATGCCACGTCAT')  # half of the columns are the same
    both = np.concatenate([_drawn(one, 120, rng), _drawn(other, 100, rng)])
    first = discover.two_matrices(both)
    truth = np.arange(220) < 120
    assert max((first == truth).mean(), (first != truth).mean()) > 0.97
    weak = one**0.5 / (one**0.5).sum(axis=1, keepdims=True)
    for n in (60, 220):
        assert discover.two_matrices(_drawn(one, n, rng)) is None
        assert discover.two_matrices(np.concatenate([_drawn(one, n, rng), _drawn(weak, n, rng)])) is None
    half = np.concatenate([one[:7], np.full((6, 4), 0.25)])  # the same motif without its right half
    assert discover.two_matrices(np.concatenate([_drawn(one, 150, rng), _drawn(half, 150, rng)])) is None


def test_alike_motifs_of_one_group_are_two_motifs_at_their_own_sites(monkeypatch):
    words = ('TGACTCAGCA', 'TGACTCATTG')
    tokens, values, truth = _map(400, 7, [(word, 0.5, 1.0, None) for word in words])
    found = _found(tokens, values)
    assert [motif.consensus for motif in found] == list(words)
    for motif, (rows, *_) in zip(found, truth, strict=True):
        assert len(set(motif.row.tolist()) & set(rows.tolist())) > 0.9 * len(motif.row)
        assert len(motif.row) > 0.75 * len(rows)
    monkeypatch.setattr(discover, 'SPLIT', np.inf)
    assert len(_found(tokens, values)) == 1


def test_neighbours_compete_for_hits_if_they_contribute():
    source = np.array(['seqlets', 'neighbour', 'neighbour', 'neighbour', 'seqlets', 'neighbour'])
    sign, contribution = np.array([1, 1, 1, 1, -1, -1]), np.array([8.0, 2.0, 1.9, -3.0, -0.5, -0.2])
    assert discover.competing(source, sign, contribution).tolist() == [True, True, False, False, True, True]


def test_letters_without_a_second_matrix_have_none():
    tokens = np.random.default_rng(0).integers(0, 4, (300, 20)).astype(np.uint8)
    has, part = discover.second_matrix(tokens)
    assert not has.any() and part == slice(0, 0)
    tokens[:120, 4:12] = dna.encode('GGAATGTC')
    has, part = discover.second_matrix(tokens)
    assert (has == (np.arange(300) < 120)).mean() > 0.98
    assert part == slice(4, 12)
    # All sites have it: then it is part of the motif, and no second kind of sites.
    tokens[:, 4:12] = dna.encode('GGAATGTC')
    assert not discover.second_matrix(tokens)[0].any()
    assert not discover.second_matrix(np.full((50, 20), dna.N, np.uint8))[0].any()
