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
        share,
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


def test_the_share_of_positives_with_sites_is_that_of_the_auroc(tmp_path):
    corpus = _corpus(n=600)
    rows = {site[0] for site in trust.simulate_task('A', corpus, _like(0.4), seed=0).train.sites}
    assert abs(len(rows) / 600 - 0.4 * 2 / 3) < 0.08  # a third of the arrangements does not fit
    found = {
        'for_1/probabilities': tomtom.word_motif('ACGTACG'),
        'for_1/counts': np.ones((7, 4)),
        'for_1/sign': np.array(1),
        'for_1/row': np.array([0, 0, 4]),
        'for_1/start': np.array([3, 20, 9]),
        'for_1/strand': np.array([1, -1, 1]),
    }
    np.savez(tmp_path / 'found.npz', **found)
    like = trust.arrangement(tmp_path, 0.9)
    assert like.share == pytest.approx(0.8)
    assert like.sites == [[('for_1', 3, 1), ('for_1', 20, -1)], [('for_1', 9, 1)]]
    np.savez(tmp_path / 'found.npz', **(found | {'for_1/sign': np.array(-1)}))
    assert trust.arrangement(tmp_path, 0.9) is None


def test_recall_and_false_discoveries_are_counted(tmp_path):
    path = tmp_path / 'seqlets.bed'
    path.write_text(
        '#chrom\tstart\tend\tname\tscore\tstrand\nx\t10\t20\tfor\t0\t.\nx\t14\t18\tfor\t0\t.\nx\t40\t50\tfor\t0\t.\n'
        'my%20y\t0\t6\tfor\t0\t.\nz\t0\t6\tagainst\t0\t.\n'
    )
    sites = {'x': [(12, 22), (60, 70)], 'my y': [(3, 13)], 'z': [(0, 6)]}
    recall, false = trust.score_bed(path, sites)
    assert recall == pytest.approx(2 / 4)  # of x the first; of y half of the six letters; nothing for z
    assert false == pytest.approx(1 / 4)
    path.write_text('#chrom\n')
    recall, false = trust.score_bed(path, sites)
    assert recall == 0 and np.isnan(false)
    json.dumps(trust.TRUST.columns)
