"""Own-motif matches and the paper's Table 4."""

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.evaluation.published import PAPER_TABLE4, k562_tasks
from demo_jax.motifs import jaspar, matching, tomtom
from demo_jax.motifs.matching import Key, Significance, TaskMatch


@pytest.fixture(scope='module')
def matrices() -> dict[str, jaspar.JasparMatrix]:
    return jaspar.load_matrices('JASPAR2016')


@pytest.fixture(scope='module')
def targets(matrices) -> tomtom.Targets:
    return tomtom.prepare_targets({motif: matrix.probabilities for motif, matrix in matrices.items()})


def random_words(n: int, seed: int, width: int = 9) -> list[str]:
    return [dna.decode(row) for row in np.random.default_rng(seed).integers(0, 4, (n, width)).astype(np.uint8)]


def test_own_matrices_give_the_57_tasks(matrices):
    for task in k562_tasks():
        found = matching.own_matrices(task.protein, matrices)
        assert sorted(found) == sorted(task.monomers[2016]), task.name
        assert bool(found) == task.in_paper57, task.name
    assert sum(task.in_paper57 for task in k562_tasks()) == 57


def test_own_matrices_with_complexes(matrices):
    for task in k562_tasks():
        found = matching.own_matrices(task.protein, matrices, 'any')
        assert set(found) == {*task.monomers[2016], *task.heterodimers[2016]}, task.name
    assert matching.own_matrices('', matrices, 'any') == ()
    with pytest.raises(InputError, match="'all', expected one of monomer, any"):
        matching.own_matrices('CTCF', matrices, 'all')


@pytest.mark.parametrize(
    'significance',
    [
        Significance(),
        Significance('q_value', 0.1),
        Significance('e_value', 10),
        Significance('p_value', 0.01),
    ],
    ids=str,
)
def test_counts_against_one_by_one(targets, significance):
    own = {'gata': ('MA0035.3', 'MA0140.2'), 'ctcf': ('MA0139.1',), 'none': ()}
    gata = ['AGATAAGAA', 'TTCTTATCT', 'CAGATAAGG']
    words = {
        Key('gata', 'medium_cnn', 'saliency'): gata + random_words(20, 0),
        Key('ctcf', 'medium_cnn', 'saliency'): ['CCAGCAGGG', 'GGGGGCGCT'] + random_words(10, 1) + gata,
        Key('gata', 'small_rnn', 'temporal'): random_words(15, 2) + gata,
        Key('none', 'small_rnn', 'temporal'): gata,
        Key('unknown', 'small_rnn', 'temporal'): gata,
    }
    chance = {key: random_words(len(found), 9) for key, found in words.items() if key.spec == 'medium_cnn'}
    rows = matching.count_matches(words, chance, own, targets, significance=significance)
    assert [tuple(row[:3]) for row in rows] == [tuple(key) for key in words if own.get(key.task)]
    total = 0
    for row in rows:
        columns = [targets.index(motif) for motif in own[row.task]]

        def count(found, columns=columns):
            matches = tomtom.match_motifs([tomtom.word_motif(word) for word in found], targets)
            values = getattr(matches, significance.measure)[:, columns]
            return sum(bool((row <= significance.threshold).any()) for row in values)

        key = Key(*row[:3])
        assert (row.matches, row.out_of) == (count(words[key]), len(words[key]))
        found = chance.get(key, [])
        assert (row.chance_matches, row.chance_out_of) == (count(found) if found else 0, len(found))
        assert row.matrices == own[row.task]
        total += row.matches
    assert 0 < total < sum(row.out_of for row in rows)


def test_words_of_several_widths_and_whole_matrices(targets, matrices):
    own = {'gata': ('MA0035.3',)}
    words = {Key('gata', 'medium_cnn', 'saliency'): ['AGATAAGAA', 'AGATAAG', 'GGGGGGGGGGG']}
    motifs = {
        Key('gata', 'medium_cnn', 'class_optimisation'): [
            matrices['MA0035.3'].probabilities,
            matrices['MA0139.1'].probabilities,
        ]
    }
    done = []
    rows = matching.count_matches(words, {}, own, targets, motifs=motifs, progress=done.append)
    assert [(row.method, row.matches, row.out_of) for row in rows] == [
        ('saliency', 2, 3),
        ('class_optimisation', 1, 2),
    ]
    assert sum(done) == 3
    with pytest.raises(InputError, match="no motif 'MA9999.1'"):
        matching.count_matches(words, {}, {'gata': ('MA9999.1',)}, targets)


def test_table4():
    own = ('MA0035.3', 'MA0140.2')
    rows = [
        TaskMatch('a', 'medium_cnn', 'saliency', own, 300, 500, 50, 500),
        TaskMatch('b', 'medium_cnn', 'saliency', own, 100, 500, 30, 250),
        TaskMatch('a', 'medium_cnn', 'class_optimisation', own, 1, 1, 100, 500, True),
        TaskMatch('b', 'medium_cnn', 'class_optimisation', own, 1, 4, 150, 500, True),
        TaskMatch('a', 'large_cnn_rnn', 'temporal', own, 7, 490, 0, 0),
        TaskMatch('a', 'large_cnn_rnn', 'integrated_gradients', own, 0, 0, 0, 0),
    ]
    table = {(row['spec'], row['method']): row for row in matching.table4(rows)}
    assert all(list(row) == list(matching.TABLE4_COLUMNS) for row in table.values())
    saliency = table['medium_cnn', 'saliency']
    assert saliency == {
        'kind': 'cnn',
        'spec': 'medium_cnn',
        'method': 'saliency',
        'counted': 'sequences',
        'n_tasks': 2,
        'mean_matches': 200.0,
        'out_of': 500.0,
        'chance_matches': 55.0,
        'published': 243.9,
    }
    optimised = table['medium_cnn', 'class_optimisation']
    assert (optimised['mean_matches'], optimised['out_of'], optimised['n_tasks']) == (1.25, 2.0, 2)
    assert optimised['chance_matches'] == pytest.approx(0.2 + 0.3) and optimised['published'] == 19
    temporal = table['large_cnn_rnn', 'temporal']
    assert (temporal['mean_matches'], temporal['chance_matches']) == (7.0, None)
    assert temporal['published'] == PAPER_TABLE4['cnn_rnn']['temporal'] == 113.2
    assert table['large_cnn_rnn', 'integrated_gradients']['published'] is None
    assert matching.table4([]) == []

    per_task = matching.table4_tasks(rows)
    assert [set(row) <= {*matching.TASK_COLUMNS} for row in per_task] == [True] * len(rows)
    assert per_task[1]['matrices'] == 'MA0035.3;MA0140.2' and per_task[1]['kind'] == 'cnn'
    assert (per_task[1]['chance_matches'], per_task[4]['chance_matches']) == (30, None)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (('q', 0.5), "measure is 'q', expected one of q_value, e_value, p_value"),
        (('q_value', 0), 'threshold is 0'),
        (('q_value', float('nan')), 'threshold is nan'),
    ],
)
def test_bad_significance(arguments, message):
    with pytest.raises(InputError, match=message):
        Significance(*arguments)
