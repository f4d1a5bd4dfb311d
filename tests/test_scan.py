"""Motif hits: against every word there is, and against Biopython."""

import itertools

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.motifs import scan

BACKGROUND = (0.3, 0.2, 0.2, 0.3)


def random_motif(width: int, seed: int, sharpness: float = 0.4) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(4, sharpness), width)


def every_word(width: int) -> np.ndarray:
    return np.array(list(itertools.product(range(4), repeat=width)), np.uint8)


@pytest.mark.parametrize('width, background', [(1, BACKGROUND), (4, scan.UNIFORM), (6, BACKGROUND)])
def test_p_values_are_those_of_all_words(width, background):
    scanner = scan.prepare_scanner(random_motif(width, width), background=background)
    words = every_word(width)
    scores = scanner.scores[np.arange(width), words].sum(1)
    chances = np.array(background)[words].prod(1)
    expected = np.array([chances[scores >= score].sum() for score in scores])
    np.testing.assert_allclose(scanner.p_value(scores), expected, rtol=1e-12)
    np.testing.assert_allclose(scanner.p_value([scanner.lowest - 5, scores.max() + 1]), [1.0, 0.0], rtol=1e-12)
    assert scores.min() == scanner.lowest
    for threshold in (0.3, 0.01, 1e-3):
        fine = scores[expected <= threshold]
        # The lowest attainable score that is good enough lies at or above the threshold, and nothing else does.
        least = scanner.least_score(threshold)
        assert (least is None) == (len(fine) == 0)
        if least is not None:
            np.testing.assert_array_equal(scores >= least, expected <= threshold)


def test_scores_are_log_odds_in_bits():
    motif = np.array([[0.97, 0.01, 0.01, 0.01], [0.25, 0.25, 0.25, 0.25]])
    scanner = scan.prepare_scanner(motif, pseudocount=1e-9, unit=1e-3)
    np.testing.assert_allclose(scanner.scores[0] * scanner.unit, np.log2(motif[0] / 0.25), atol=6e-4)
    np.testing.assert_array_equal(scanner.scores[1], 0)


def test_hits_are_found_by_brute_force_on_both_strands():
    motif = random_motif(5, 3)
    scanner = scan.prepare_scanner(motif)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 4, (20, 40)).astype(np.uint8)
    tokens[1, 10] = dna.N
    tokens[2, 30:] = dna.N  # padding
    hits = scan.find_hits(scanner, tokens, threshold=0.02)
    expected = []
    for row, start, strand in itertools.product(range(20), range(36), (1, -1)):
        word = tokens[row, start : start + 5]
        word = word if strand > 0 else dna.reverse_complement(word[None])[0]
        if (word == dna.N).any():
            continue
        score = scanner.scores[np.arange(5), word].sum()
        if scanner.p_value(score) <= 0.02:
            expected.append((row, start, strand, score * scanner.unit, float(scanner.p_value(score))))
    found = list(zip(hits.row, hits.start, hits.strand, hits.score, hits.p_value, strict=True))
    assert len(expected) > 5 and {row[2] for row in expected} == {1, -1}
    np.testing.assert_allclose(found, expected)


def test_a_planted_word_is_found_where_it_lies():
    word = 'TGACTCAG'
    scanner = scan.prepare_scanner(0.97 * dna.one_hot(dna.encode(word)) + 0.0075)
    tokens = np.full((2, 30), 0, np.uint8)
    tokens[0, 11:19] = dna.encode(word)
    tokens[1, 4:12] = dna.reverse_complement(dna.encode(word)[None])[0]
    hits = scan.find_hits(scanner, tokens)
    assert [(int(r), int(s), int(t)) for r, s, t in zip(hits.row, hits.start, hits.strand, strict=True)] == [
        (0, 11, 1),
        (1, 4, -1),
    ]
    np.testing.assert_allclose(hits.p_value, 4.0**-8)


def test_a_motif_too_vague_for_the_threshold_gives_no_hits():
    scanner = scan.prepare_scanner(np.full((3, 4), 0.25))
    assert scanner.least_score(1e-4) is None
    assert len(scan.find_hits(scanner, np.zeros((2, 9), np.uint8))) == 0
    assert len(scan.find_hits(scanner, np.zeros((2, 2), np.uint8), threshold=1.0)) == 0  # shorter than the motif


def test_as_biopython():
    from Bio.motifs import matrix

    motif = random_motif(9, 5)
    scanner = scan.prepare_scanner(motif, unit=1e-3, pseudocount=0.01)
    mixed = (motif + 0.0025) / 1.01
    columns = {letter: mixed[:, number].tolist() for number, letter in enumerate('ACGT')}
    theirs = matrix.PositionWeightMatrix('ACGT', columns).log_odds()
    text = dna.decode(np.random.default_rng(1).integers(0, 4, 300).astype(np.uint8))
    ours = scan.word_scores(scanner, dna.encode(text)[None])[0] * scanner.unit
    np.testing.assert_allclose(ours, theirs.calculate(text), atol=9 * 6e-4)
    for rate in (1e-2, 1e-4):
        cut = theirs.distribution(precision=10**3).threshold_fpr(rate)
        assert abs(scanner.least_score(rate) * scanner.unit - cut) < 0.05


def test_bad_input_is_refused():
    good = random_motif(4, 0)
    for bad, match in ((good[:, :3], 'shape'), (good * 2, 'probabilities'), (-good, 'probabilities')):
        with pytest.raises(InputError, match=match):
            scan.prepare_scanner(bad)
    with pytest.raises(InputError, match='background'):
        scan.prepare_scanner(good, background=(0.5, 0.5, 0, 0))
    with pytest.raises(InputError, match='pseudocount'):
        scan.prepare_scanner(good, pseudocount=0)


def test_a_palindrome_on_one_site_counts_once():
    word = 'TGACGTCA'
    matrix = np.eye(4)[dna.encode(word)] * 0.94 + 0.015
    tokens = dna.encode('AC' * 10 + word + 'GT' * 10)[None]
    hits = scan.find_hits(scan.prepare_scanner(matrix), np.repeat(tokens, 2, axis=0))
    assert len(hits) == 4
    ((start, strand, score, p),) = hits.of_row(1)
    assert (start, strand) == (20, 1)
    assert score == hits.score.max() and p == hits.p_value.min()
    once = hits.once()
    assert (once.row.tolist(), once.start.tolist(), once.strand.tolist()) == ([0, 1], [20, 20], [1, 1])
    assert once.width == hits.width == 8


def test_of_two_strands_the_better_one_counts():
    hits = scan.Hits(
        row=np.array([0, 0, 0, 1, 1]),
        start=np.array([3, 3, 4, 4, 4]),
        strand=np.array([1, -1, 1, 1, -1], np.int8),
        score=np.array([5.0, 6.0, 5.0, 7.0, 2.0]),
        p_value=np.array([2e-5, 1e-5, 2e-5, 1e-6, 9e-5]),
        width=4,
    )
    assert hits.of_row(0) == [(3, -1, 6.0, 1e-5), (4, 1, 5.0, 2e-5)]
    assert hits.of_row(1) == [(4, 1, 7.0, 1e-6)] and hits.of_row(2) == []


def test_a_short_motif_is_looked_for_by_its_best_words():
    scanner = scan.prepare_scanner(0.97 * dna.one_hot(dna.encode('GATA')) + 0.0075)
    assert scanner.reachable(1e-4) == pytest.approx(4.0**-4) and scanner.reachable(0.1) == 0.1
    tokens = dna.encode('CCCGATACCCTATCCC')[None]
    assert len(scan.find_hits(scanner, tokens)) == 0
    hits = scan.find_hits(scanner, tokens, threshold=scanner.reachable(1e-4))
    assert [hit[:2] for hit in hits.of_row(0)] == [(3, 1), (10, -1)]


@pytest.mark.parametrize(
    'word, threshold, reached',
    [
        ('CACGTGA', 1e-4, 1e-4),
        ('CACGTG', 1e-4, 4.0**-6),
        ('CACGTG', 1e-3, 1e-3),
        ('GATA', 1e-4, 4.0**-4),
    ],
)
def test_hits_say_the_p_value_that_was_looked_for(word, threshold, reached):
    matrix = 0.97 * dna.one_hot(dna.encode(word)) + 0.0075
    tokens = dna.encode(f'CCCAA{word}AACCC')[None]
    hits = scan.known_hits(matrix, tokens, threshold=threshold)
    assert hits.threshold == hits.once().threshold == pytest.approx(reached)
    assert (5, 1) in [hit[:2] for hit in hits.of_row(0)]
    assert (hits.p_value <= hits.threshold).all()
