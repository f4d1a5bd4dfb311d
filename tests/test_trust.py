"""The certificate of trust: simulations like a task, and shares against what was planted."""

import json

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.data.build import Records, TaskRecords, build_corpus
from demo_jax.motifs import tomtom
from demo_jax.stages import trust


def _corpus(n=40, lengths=(60, 50)):
    rng = np.random.default_rng(0)

    def part(count, name):
        tokens = [rng.integers(0, 4, lengths[number % 2]).astype(np.uint8) for number in range(count)]
        tokens += [dna.dinucleotide_shuffle(row[None], rng)[0] for row in tokens]
        labels = np.repeat([1, 0], count).astype(np.uint8)
        return Records(tokens, labels, [f'{name}{i}' for i in range(2 * count)], np.tile(np.arange(count), 2))

    return build_corpus([TaskRecords('A', part(n, 'train'), part(n // 2, 'test'))])


def _like(share=1.0):
    words = {'for_1': 'TGACTCAGC', 'for_2': 'GGAATGTTCC'}
    return trust.Arrangement(
        {name: np.eye(4)[dna.encode(word)] for name, word in words.items()},
        [[('for_1', 10, 1), ('for_2', 22, -1)], [('for_1', 30, -1)], [('for_1', 55, 1)]],
        {1.0: share},
        0.0,
    )


def test_sequences_are_like_those_of_the_task_and_hold_its_motifs():
    corpus = _corpus()
    made = trust.simulate_task('A', corpus, _like(), seed=3)
    for part, splits in ((made.train, ('train', 'valid')), (made.test, ('test',))):
        real = [
            corpus.sequence(row)
            for split in splits
            for row in range(len(corpus))[corpus.rows('A', split)]
            if corpus.labels[row] == 1
        ]
        n = len(real)
        assert len(part.tokens) == 2 * n and part.labels.sum() == n
        assert sorted(map(len, part.tokens[:n])) == sorted(map(len, real))
        for row, start, width, strand, name, role in part.sites:
            word = part.tokens[row][start : start + width]
            word = word if strand > 0 else dna.reverse_complement(word)
            assert dna.decode(word) == {'for_1': 'TGACTCAGC', 'for_2': 'GGAATGTTCC'}[name]
            assert role == ('primary' if name == 'for_1' else 'cofactor') and row < n
            assert (start, name, strand) != (55, 'for_1', 1) or len(part.tokens[row]) >= 64
        assert {site[4] for site in part.sites} == {'for_1', 'for_2'}
        counts = [dna.dinucleotide_counts(np.stack([row])) for row in part.tokens]
        for number in range(n):
            np.testing.assert_array_equal(counts[number], counts[n + number])
    again = trust.simulate_task('A', corpus, _like(), seed=3)
    assert all((one == two).all() for one, two in zip(made.test.tokens, again.test.tokens, strict=True))


def test_sites_get_into_a_share_of_the_positives_and_the_weak_ones_vary_more():
    corpus = _corpus(n=600)
    rows = {site[0] for site in trust.simulate_task('A', corpus, _like(0.4), seed=0).train.sites}
    assert abs(len(rows) / 600 - 0.4 * 2 / 3) < 0.08  # a third of the arrangements does not fit
    motif = np.full((8, 4), 0.05) + 0.8 * np.eye(4)[dna.encode('TGACTCAG')]
    like = trust.Arrangement({'for_1': motif}, [[('for_1', 20, 1)]], {0.5: 0.3, 1.5: 0.6}, 0.0)
    made = trust.simulate_task('A', corpus, like, seed=1)
    consensus = [(made.train.tokens[row][20:28] == dna.encode('TGACTCAG')).mean() for row, *_ in made.train.sites]
    sharp, weak = (motif[0] ** power / (motif[0] ** power).sum() for power in (1.5, 0.5))
    assert np.mean(consensus) == pytest.approx((2 * sharp.max() + weak.max()) / 3, abs=0.03)
    assert len(consensus) / 600 == pytest.approx(0.9, abs=0.05)


def test_shares_of_a_mixture_are_found():
    rng = np.random.default_rng(0)
    none, weak, strong = (rng.normal(mean, 1, 4000) for mean in (0, 2, 5))
    mixed = np.concatenate([rng.normal(0, 1, 200), rng.normal(2, 1, 300), rng.normal(5, 1, 500)])
    shares = trust.mix_strengths(mixed, [none, weak, strong])
    np.testing.assert_allclose(shares, [0.2, 0.3, 0.5], atol=0.05)
    np.testing.assert_allclose(trust.mix_strengths(none, [none, strong]), [1, 0], atol=0.01)


def _found(**changes):
    """A folder's found.npz: for_1 that the model uses, for_2 that it does without, against_1."""
    stored = {}
    for name, contribution, sign in (('for_2', 0.1, 1), ('for_1', 4.0, 1), ('against_1', -3.0, -1)):
        stored |= {
            f'{name}/probabilities': tomtom.word_motif('ACGTACG'),
            f'{name}/counts': np.ones((7, 4)),
            f'{name}/sign': np.array(sign),
            f'{name}/row': np.array([0, 0, 4]),
            f'{name}/start': np.array([3, 20, 9]),
            f'{name}/strand': np.array([1, -1, 1]),
            f'{name}/contribution': np.full(3, contribution),
        }
    return stored | changes


def test_motifs_that_the_model_does_without_are_not_planted(tmp_path):
    np.savez(tmp_path / 'found.npz', **_found())
    tokens = np.random.default_rng(0).integers(0, 4, (300, 40)).astype(np.uint8)
    tokens[:240, 9:16] = dna.encode('ACGTACG')  # four of five hold the site
    score = lambda tokens, lengths: (tokens[:, 9:16] == dna.encode('ACGTACG')).sum(axis=1).astype(float)  # noqa: E731
    of = trust.Modelled(tmp_path, 0.9, score, tokens, np.full(300, 40))
    np.savez(tmp_path / 'found.npz', **_found(**{'for_1/row': np.array([0, 3, 4]), 'for_1/start': np.array([9, 9, 9])}))
    like = trust.arrangement(of, np.random.default_rng(1))
    assert list(like.motifs) == ['for_1']
    assert like.sites == [[('for_1', 9, 1)], [('for_1', 9, -1)], [('for_1', 9, 1)]]
    assert set(like.strengths) == set(trust.STRENGTHS) and sum(like.strengths.values()) <= 1
    np.savez(tmp_path / 'found.npz', **{key: value for key, value in _found().items() if key.startswith('against')})
    assert trust.arrangement(of, np.random.default_rng(1)) is None


def test_recall_and_false_discoveries_of_as_many_calls():
    names = ['x', 'my y', 'z', *(f'n{number}' for number in range(17))]
    sites = {'x': [(12, 22, 1.0), (60, 70, 0.5)], 'my y': [(3, 13, 1.0)], 'z': [(0, 6, 0.0)]}
    # On x's first site, twice on the same; on none; half of the six letters of the last; on a site of weight 0.
    stretches = np.array([[0, 10, 20], [0, 14, 18], [0, 40, 50], [1, 0, 6], [2, 0, 6]])
    rng = np.random.default_rng
    every = trust.expected(stretches, names, sites, np.repeat([1, 0], [5, 15]), rng(0))
    assert every.recall == pytest.approx(2 / 2.5) and every.fdr == pytest.approx(1 / 5)
    assert every.low < every.recall <= every.high <= 1
    two = trust.expected(stretches, names, sites, np.repeat([2, 0], [1, 19]), rng(0))  # the two strongest
    assert two.recall == pytest.approx(1 / 2.5) and two.fdr == 0
    of_more = trust.expected(stretches, names, sites, np.repeat([1, 0], [10, 30]), rng(0))  # as many per sequence
    assert of_more[0::3] == every[0::3]
    none = trust.expected(stretches, names, sites, np.zeros(20, int), rng(0))
    assert none.recall == 0 and np.isnan(none.fdr)


def test_the_interval_of_the_recall_is_that_of_a_share():
    names = [str(number) for number in range(400)]
    sites = {name: [(0, 10, 1.0)] for name in names}
    stretches = np.array([[row, 0, 10] for row in range(300)])  # 3 of 4 sites, and all are called
    one = trust.expected(stretches, names, sites, np.repeat([1, 0], [350, 50]), np.random.default_rng(0))
    assert one.recall == 0.75 and one.fdr == 0
    error = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert (one.low, one.high) == (pytest.approx(0.75 - error, abs=0.01), pytest.approx(0.75 + error, abs=0.01))
    everywhere = np.array([[row, 0, 10] for row in range(400)])
    called = np.repeat([1, 0], [300, 100])
    one = trust.expected(everywhere, names, sites, called, np.random.default_rng(0), error=0.1)
    assert one.recall == 0.75  # a tenth more or fewer sites, for as many calls
    width = np.sqrt(0.1**2 + error**2 / (0.75 * 1.96) ** 2) * 1.96
    assert (one.low, one.high) == (
        pytest.approx(0.75 * np.exp(-width), abs=0.02),
        pytest.approx(0.75 * np.exp(width), abs=0.03),
    )
    json.dumps(trust.TRUST.columns)
