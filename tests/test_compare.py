"""Tables 2 and 3 against scipy and the published columns; the choice by validation; the printed tables."""

import math

import numpy as np
import pytest
from scipy import stats

from demo_jax.errors import InputError
from demo_jax.evaluation import compare, published
from demo_jax.io import files
from demo_jax.nn import models
from demo_jax.report.tables import format_table, shorten

NAMES = [task.name for task in published.k562_tasks()]
DEEPBIND = np.array([task.auroc.deepbind for task in published.k562_tasks()])
MEME_SUM = np.array([task.auroc.meme_sum for task in published.k562_tasks()])


def model(task, spec, test, valid=None, seed=0, **more):
    return {
        'task': task,
        'spec': spec,
        'seed': seed,
        'valid_auroc': test if valid is None else valid,
        'test_auroc': test,
        'n_test': 1000,
        'best_epoch': 3,
    } | more


def noisy_rows(specs, n_tasks=20, seeds=(0,)):
    """Rows around DeepBind's published values, with a validation AUROC drawn apart from the test AUROC."""
    rng = np.random.default_rng(0)
    return [
        model(task, spec, *np.clip(base + rng.normal(0.01 * rank, 0.03, 2), 0, 1), seed=seed)
        for rank, spec in enumerate(specs)
        for task, base in zip(NAMES[:n_tasks], DEEPBIND, strict=False)
        for seed in seeds
    ]


def by_model(table):
    return {row['model']: row for row in table.rows}


def test_published_columns_give_the_papers_baseline_rows():
    models = [model(name, 'deepbind', value) for name, value in zip(NAMES, DEEPBIND, strict=True)]
    rows = by_model(compare.table2(models))
    for label in ('deepbind', 'DeepBind (published)', 'MEME-SUM (published)'):
        row = rows[label]
        assert row['n_tasks'] == 108
        for key in ('mean', 'median', 'sd'):
            assert math.floor(row[key] * 1000) / 1000 == row[f'published_{key}']
    assert rows['deepbind']['mean'] == pytest.approx(rows['DeepBind (published)']['mean'])


def test_summarise_equals_numpy_and_needs_two_values_for_an_sd():
    summary = compare.summarise(DEEPBIND)
    assert summary == pytest.approx((108, np.mean(DEEPBIND), np.median(DEEPBIND), np.std(DEEPBIND, ddof=1)))
    assert compare.summarise([0.9])[:3] == (1, 0.9, 0.9)
    assert math.isnan(compare.summarise([0.9]).sd)
    assert compare.summarise([]).n_tasks == 0 and math.isnan(compare.summarise([]).mean)


@pytest.mark.parametrize('n', [2, 5, 30, 108])
def test_paired_tests_equal_scipy(n):
    ours = compare.paired_tests(DEEPBIND[:n], MEME_SUM[:n])
    t, wilcoxon = stats.ttest_rel(DEEPBIND[:n], MEME_SUM[:n]), stats.wilcoxon(DEEPBIND[:n], MEME_SUM[:n])
    assert (ours.t, ours.p_t) == pytest.approx((t.statistic, t.pvalue), rel=1e-9)
    assert (ours.w, ours.p_wilcoxon) == pytest.approx((wilcoxon.statistic, wilcoxon.pvalue), rel=1e-9)
    assert ours.mean_difference == pytest.approx(np.mean(DEEPBIND[:n] - MEME_SUM[:n]))
    assert ours.n_tasks == n


def test_paired_tests_at_the_edges():
    one = compare.paired_tests([0.9], [0.8])
    assert one.mean_difference == pytest.approx(0.1) and np.isnan([one.t, one.p_t, one.w, one.p_wilcoxon]).all()
    none = compare.paired_tests([], [])
    assert none.n_tasks == 0 and math.isnan(none.mean_difference)
    same = compare.paired_tests(DEEPBIND, DEEPBIND)
    assert same.mean_difference == 0 and math.isnan(same.p_t) and same.p_wilcoxon == 1
    constant = compare.paired_tests([0.9, 0.8, 0.7], [0.8, 0.7, 0.6])  # equal up to float rounding
    assert math.isnan(constant.p_t) and constant.p_wilcoxon == 0.25  # two of the 2^3 patterns of signs
    with pytest.raises(ValueError, match='equal shapes'):
        compare.paired_tests([0.9, 0.8], [0.9])


def test_holm_by_hand():
    # Sorted: .01 x 4 = .04, .02 x 3 = .06, .03 x 2 = .06, .04 x 1 -> raised to .06.
    np.testing.assert_allclose(compare.holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(compare.holm([0.5, math.nan, 0.6]), [1.0, math.nan, 1.0])
    assert compare.holm([]).size == 0


@pytest.mark.parametrize(
    'spec, kind',
    [
        ('small_rnn', 'rnn'),
        ('large_cnn', 'cnn'),
        ('medium_cnn_rnn', 'cnn_rnn'),
        ('cnn_rnn_wide', 'cnn_rnn'),
        ('deepbind', 'deepbind'),
        ('transformer', 'other'),
    ],
)
def test_kind_of(spec, kind):
    assert compare.kind_of(spec) == kind


def test_an_architecture_of_any_name_is_of_its_kind(monkeypatch):
    monkeypatch.setitem(models.SPECS, 'bassetlike', models.ModelSpec('bassetlike', conv=((19, 8),)))
    after = models.ModelSpec('cnn_after', ((9, 8),), 'same', lstm_layers=1, lstm_size=4, summary='mean')
    monkeypatch.setitem(models.SPECS, 'cnn_after', after)
    assert [compare.kind_of(spec) for spec in ('bassetlike', 'cnn_after')] == ['cnn', 'cnn_rnn']
    rows = [model(task, spec, test=0.8, valid=0.8) for spec in ('bassetlike', 'cnn_after') for task in ('a', 'b')]
    assert [row['spec_a'] for row in compare.table3(rows).rows] == ['cnn_after']


def test_the_best_spec_is_chosen_by_validation_and_never_by_test():
    rows = [
        model('a', 'small_cnn', test=0.70, valid=0.95),
        model('b', 'small_cnn', test=0.70, valid=0.85),
        model('a', 'large_cnn', test=0.99, valid=0.80),
        model('b', 'large_cnn', test=0.99, valid=0.90),
    ]
    assert compare.best_of_each_kind(rows) == {'cnn': 'small_cnn'}
    beside = compare.beside_published(rows).rows
    assert [(row['task'], row['spec'], row['test_auroc']) for row in beside] == [
        ('a', 'small_cnn', 0.70),
        ('b', 'large_cnn', 0.99),
    ]
    assert by_model(compare.table2(rows))['best by validation']['mean'] == pytest.approx((0.70 + 0.99) / 2)


def test_specs_of_a_kind_are_ranked_on_the_tasks_they_share():
    """A spec that was only trained on an easy task must not win by that."""
    rows = [
        model('easy', 'small_rnn', 0.90),
        model('hard', 'small_rnn', 0.70),
        model('easy', 'large_rnn', 0.89),
    ]
    assert compare.best_of_each_kind(rows) == {'rnn': 'small_rnn'}


def test_seeds_are_averaged_first():
    rows = [model('a', 'small_cnn', value, seed=seed) for seed, value in enumerate([0.8, 0.9, 0.97])]
    rows += [model('b', 'small_cnn', 0.6)]
    summary = by_model(compare.table2(rows))['small_cnn']
    assert (summary['n_tasks'], summary['mean']) == (2, pytest.approx((0.89 + 0.6) / 2))
    beside = compare.beside_published(rows).rows
    assert (beside[0]['n_seeds'], beside[0]['test_auroc']) == (3, pytest.approx(0.89))


def test_of_a_grid_the_setting_that_validates_best_counts():
    rows = [model('a', 'small_cnn', test, valid) for test, valid in [(0.9, 0.7), (0.8, 0.95), (0.99, 0.9)]]
    assert by_model(compare.table2(rows))['small_cnn']['mean'] == 0.8


def test_table3_equals_scipy_over_the_common_tasks():
    rows = noisy_rows(['small_rnn', 'medium_cnn', 'small_cnn_rnn'])
    rows = [row for row in rows if not (row['spec'] == 'small_rnn' and row['task'] in NAMES[:5])]
    table = compare.table3(rows)
    assert [row['comparison'] for row in table.rows] == [
        'RNN vs MEME-SUM',
        'CNN vs MEME-SUM',
        'CNN-RNN vs MEME-SUM',
        'RNN vs DeepBind',
        'CNN vs DeepBind',
        'CNN-RNN vs DeepBind',
        'CNN vs RNN',
        'CNN-RNN vs RNN',
        'CNN-RNN vs CNN',
    ]
    found = {row['comparison']: row for row in table.rows}
    values = {
        spec: {row['task']: row['test_auroc'] for row in rows if row['spec'] == spec}
        for spec in ('small_rnn', 'medium_cnn', 'small_cnn_rnn')
    }
    rnn = np.array([values['small_rnn'][name] for name in NAMES[5:20]])
    cnn = np.array([values['medium_cnn'][name] for name in NAMES[5:20]])
    row = found['CNN vs RNN']
    assert (row['spec_a'], row['spec_b'], row['n_tasks']) == ('medium_cnn', 'small_rnn', 15)
    assert row['p_t'] == pytest.approx(stats.ttest_rel(cnn, rnn).pvalue)
    assert row['p_wilcoxon'] == pytest.approx(stats.wilcoxon(cnn, rnn).pvalue)
    assert row['published_p'] == 5.08e-4
    against = found['RNN vs MEME-SUM']
    assert against['p_t'] == pytest.approx(stats.ttest_rel(rnn, MEME_SUM[5:20]).pvalue)
    assert (against['spec_b'], against['published_p']) == ('published', 5.15e-5)
    assert found['CNN vs DeepBind']['published_p'] is None
    np.testing.assert_allclose(
        [row['p_holm'] for row in table.rows], compare.holm([row['p_wilcoxon'] for row in table.rows])
    )


def test_own_deepbind_is_compared_and_other_specs_are_left_out():
    rows = noisy_rows(['deepbind', 'small_cnn', 'transformer'])
    comparisons = [row['comparison'] for row in compare.table3(rows, published=False).rows]
    assert comparisons == ['CNN vs own DeepBind']
    assert 'transformer' in by_model(compare.table2(rows))


def test_nothing_is_published_for_unknown_tasks_or_where_it_must_not_be_shown():
    ours = noisy_rows(['small_cnn', 'small_rnn'])
    unknown = [row | {'task': f'simulated_{row["task"]}'} for row in ours]
    for table in (
        compare.table2(ours, published=False),
        compare.table3(ours, published=False),
        compare.beside_published(ours, published=False),
    ):
        for row in table.rows:
            assert row.get('kind') != 'published' and row.get('spec_b') != 'published'
            assert not any(row.get(key) for key in row if key.startswith(('published', 'deepbind', 'meme_sum')))
    assert [row['comparison'] for row in compare.table3(unknown).rows] == ['CNN vs RNN']
    assert all('difference' not in row for row in compare.beside_published(unknown).rows)


def test_beside_published_values_and_difference():
    task = 'ARID3A_K562_ARID3A_-sc-8821-_Stanford'
    (row,) = compare.beside_published([model(task, 'small_cnn', 0.9, test_auroc_low=0.88, test_auroc_high=0.92)]).rows
    assert (row['deepbind'], row['meme_sum']) == (0.88754, 0.79652)
    assert row['difference'] == pytest.approx(0.9 - 0.88754)
    assert (row['test_auroc_low'], row['test_auroc_high']) == (0.88, 0.92)


def test_one_task_alone_gives_tables_without_p_values():
    table = compare.table3(noisy_rows(['small_cnn', 'small_rnn'], n_tasks=1))
    assert {row['n_tasks'] for row in table.rows} == {1}
    assert all(math.isnan(row[key]) for row in table.rows for key in ('p_t', 'p_wilcoxon', 'p_holm'))


def test_models_without_a_test_value_are_left_out_and_without_validation_come_last():
    rows = [
        model('a', 'small_cnn', math.nan),
        model('b', 'small_cnn', 0.8, valid=''),
        model('b', 'small_rnn', 0.6, valid=0.7),
        model('a', 'small_rnn', 0.6, valid=0.7),
    ]
    assert by_model(compare.table2(rows))['small_cnn']['n_tasks'] == 1
    assert {row['task']: row['spec'] for row in compare.beside_published(rows).rows} == {
        'a': 'small_rnn',
        'b': 'small_rnn',
    }
    assert compare.table2([]).rows == compare.table3([]).rows == compare.beside_published([]).rows == []


def test_tables_survive_the_trip_through_a_file(tmp_path):
    rows = noisy_rows(['small_cnn', 'small_rnn', 'medium_cnn_rnn'], n_tasks=8, seeds=(0, 1))
    files.write_tsv(tmp_path / 'auroc.tsv', rows, list(rows[0]))
    again = files.read_tsv(tmp_path / 'auroc.tsv')
    for build in (compare.table2, compare.table3, compare.beside_published):
        table, from_file = build(rows), build(again)
        files.write_tsv(tmp_path / 'table.tsv', table.rows, table.columns)
        for read, direct, row in zip(files.read_tsv(tmp_path / 'table.tsv'), table.rows, from_file.rows, strict=True):
            assert list(read) == list(table.columns)
            for key, value in direct.items():
                exact = isinstance(value, str) or value is None
                assert row[key] == (value if exact else pytest.approx(value, rel=1e-3, abs=1e-6, nan_ok=True))
                assert read[key] == files.format_cell(value)


@pytest.mark.parametrize(
    'row, message',
    [
        ({'task': 'a', 'spec': 's', 'seed': 0, 'valid_auroc': 0.5}, r"row 1: .* expected also \['test_auroc'\]"),
        (model('a', 's', 'high'), "row 1: valid_auroc is 'high', expected a number from 0 to 1"),
        (model('a', 's', 90.1, valid=0.9), 'row 1: test_auroc is 90.1, expected a number from 0 to 1'),
    ],
)
def test_bad_rows(row, message):
    with pytest.raises(InputError, match=message) as caught:
        compare.table2([row])
    assert '\n' not in str(caught.value)


def test_format_table_aligns_and_formats():
    rows = [
        {'task': 'CTCF', 'n_test': 1000, 'test_auroc': 0.98765, 'p_holm': 3e-12, 'difference': -0.00004},
        {'task': 'GATA1', 'n_test': '64', 'test_auroc': '0.9', 'p_holm': '', 'difference': math.nan},
    ]
    assert format_table(rows, ['task', 'n_test', 'test_auroc', 'p_holm', 'difference'], title='Test').split('\n') == [
        'Test',
        '               test_',
        'task   n_test  auroc    p_holm  difference',
        '-----  ------  -----  --------  ----------',
        'CTCF     1000  0.988  3.00e-12    -4.0e-05',
        'GATA1      64  0.900         -           -',
    ]


def test_format_table_fits_the_width_and_keeps_numbers_whole():
    rows = compare.beside_published(
        [
            model(name, 'medium_cnn_rnn', value, test_auroc_low=value - 0.01, test_auroc_high=value)
            for name, value in zip(NAMES, DEEPBIND - 0.01, strict=True)
        ]
    ).rows
    for width in (120, 105):
        lines = format_table(rows, compare.BESIDE_COLUMNS, width=width).split('\n')
        assert max(map(len, lines)) <= width
        assert any('...' in line for line in lines)
        assert all('.' in line.split()[-1] for line in lines[-len(rows) :])
    wide = format_table(rows, compare.BESIDE_COLUMNS, width=300)
    assert '...' not in wide and all(name in wide for name in NAMES)


def test_table_3_fits_a_terminal_without_cutting_its_comparisons():
    rows = compare.table3(noisy_rows(['deepbind', 'medium_rnn', 'medium_cnn', 'medium_cnn_rnn'])).rows
    text = format_table(rows, compare.TABLE3_PRINTED)
    assert max(map(len, text.split('\n'))) <= 120
    assert all(row['comparison'] in text for row in rows)


def test_format_table_of_nothing_and_shorten():
    assert format_table([], ['task', 'spec']).split('\n')[0].split() == ['task', 'spec']
    assert shorten('ARID3A_K562_ARID3A_Stanford', 12) == 'ARID3...ford'
    assert shorten('short', 12) == 'short'
