"""The published figures that come with the package agree with the tables they were printed in."""

import math
import statistics

import pytest

from demo_jax.evaluation import published
from demo_jax.motifs.jaspar import load_matrices
from demo_jax.motifs.matching import own_matrices


def cut(value: float) -> float:
    """Three digits without rounding, as the paper prints."""
    return math.floor(value * 1000) / 1000


@pytest.mark.parametrize('baseline', ['deepbind', 'meme_sum'])
@pytest.mark.parametrize('deviation', [statistics.stdev, statistics.pstdev])
def test_per_task_values_reproduce_the_baseline_rows_of_table_2(baseline, deviation):
    values = [getattr(task.auroc, baseline) for task in published.k562_tasks()]
    row = published.PAPER_TABLE2[baseline]
    assert cut(statistics.mean(values)) == row.mean
    assert cut(statistics.median(values)) == row.median
    assert cut(deviation(values)) == row.sd


def test_108_tasks_with_distinct_names_and_plausible_values():
    tasks = published.k562_tasks()
    assert len(tasks) == len({task.name for task in tasks}) == len({task.folder for task in tasks}) == 108
    assert {task.cell for task in tasks} == {'K562'}
    assert all(0.45 < value < 1 for task in tasks for value in task.auroc)
    assert all(task.name == f'{task.protein}_{task.cell}_{task.antibody}_{task.lab}' for task in tasks)


def test_the_57_tasks_of_table_4_are_those_with_a_monomer_matrix_in_jaspar_2016():
    tasks = published.k562_tasks()
    assert sum(task.in_paper57 for task in tasks) == 57
    for task in tasks:
        assert task.in_paper57 == bool(task.monomers[2016])


def test_matrix_ids():
    jun = published.published_task('JUN_K562_c-Jun_Yale')
    assert jun.monomers[2016] == ('MA0488.1', 'MA0489.1')
    assert jun.heterodimers[2016] == ('MA0099.2', 'MA0462.1')
    assert published.published_task('TAF1_K562_TAF1_HudsonAlpha').monomers[2026] == ()


@pytest.mark.parametrize(
    'name, deepbind, meme_sum',
    [
        ('ARID3A_K562_ARID3A_(sc-8821)_Stanford', 0.88754, 0.79652),
        ('ARID3A_K562_ARID3A_-sc-8821-_Stanford', 0.88754, 0.79652),
        ('GATA1_K562_GATA-1_USC', 0.95964, 0.82982),
        ('ZBTB7A_HepG2_ZBTB7A_(SC-34508)_HudsonAlpha', 0.87414, 0.77424),
        ('ZBTB7A_HepG2_ZBTB7A_-SC-34508-_HudsonAlpha', 0.87414, 0.77424),
        ('MYC_H1-hESC_c-Myc_Stanford', 0.93007, 0.84313),
    ],
)
def test_a_task_is_found_by_either_spelling(name, deepbind, meme_sum):
    auroc = published.published_auroc(name)
    assert (auroc.deepbind, auroc.meme_sum) == (deepbind, meme_sum)


def test_unknown_tasks_have_no_published_values():
    assert published.published_auroc('GATA1') is None
    assert published.published_task('MYC_H1-hESC_c-Myc_Stanford') is None


def test_real_data_folders_are_all_known(real_data):
    names = {path.name.removesuffix('_AC.seq.gz') for path in (real_data / 'deepbind').glob('*_AC.seq.gz')}
    names |= {path.name for path in (real_data / 'deepmotif').iterdir() if path.is_dir()}
    assert len(names) >= 6
    assert all(published.published_auroc(name) for name in names)


def test_table_4_marks_the_methods_that_do_not_apply():
    missing = {(kind, method) for kind, row in published.PAPER_TABLE4.items() for method, n in row.items() if n is None}
    assert missing == {('cnn', 'temporal'), ('rnn', 'activations')}


def test_table_3_covers_every_pair_of_kinds_and_the_motif_baseline():
    kinds = set(published.PAPER_TABLE4)
    assert {frozenset(pair) for pair in published.PAPER_TABLE3} == {
        frozenset(pair) for pair in [('cnn', 'rnn'), ('cnn', 'cnn_rnn'), ('rnn', 'cnn_rnn')]
    } | {frozenset((kind, 'meme_sum')) for kind in kinds}


@pytest.mark.parametrize('year', published.JASPAR_RELEASES)
def test_matrices_of_the_table_are_those_of_the_release(year):
    matrices = load_matrices(f'JASPAR{year}')
    for task in published.k562_tasks():
        monomers = own_matrices(task.protein, matrices)
        assert set(task.monomers[year]) == set(monomers), task.name
        assert {*task.monomers[year], *task.heterodimers[year]} == set(own_matrices(task.protein, matrices, 'any'))


def test_nrf1_is_not_credited_with_the_site_of_nfe2l1():
    nrf1 = published.published_task('NRF1_K562_Nrf1_Stanford')
    assert nrf1.monomers[2026] == ('MA0506.3',)
    assert all(nrf1.heterodimers[year] == () for year in published.JASPAR_RELEASES)
    jun = published.published_task('JUN_K562_c-Jun_Yale')  # others keep their complexes
    assert 'MA0099.4' in jun.heterodimers[2026]
