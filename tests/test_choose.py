"""Models are chosen by validation AUROC in one place: the best, of equals the first, and none by a missing value."""

import math
from types import SimpleNamespace

import pytest

from demo_jax.evaluation import choose, compare
from demo_jax.stages import evaluate

NAN = math.nan


@pytest.mark.parametrize(
    'valid, place',
    [
        ([0.7, 0.9, 0.8], 1),
        ([0.9, 0.9], 0),
        ([NAN, 0.5], 1),
        ([0.5, NAN], 0),
        ([NAN, NAN], 0),
        ([0.5, 0.5, 0.6, 0.6], 2),
    ],
)
def test_the_best_is_the_first_of_the_highest(valid, place):
    assert choose.best(range(len(valid)), valid.__getitem__) == place
    assert choose.best(iter(range(len(valid))), valid.__getitem__) == place


def test_nothing_is_best_of_nothing():
    assert choose.best([], float) is None and choose.best_of_each([], str, float) == {}


def test_groups_stand_in_the_order_of_their_first():
    models = [('b', 0.6), ('a', NAN), ('b', 0.7), ('a', 0.5), ('c', NAN)]
    found = choose.best_of_each(models, lambda model: model[0], lambda model: model[1])
    assert list(found) == ['b', 'a', 'c'] and (found['b'], found['a']) == (('b', 0.7), ('a', 0.5))


@pytest.mark.parametrize(
    'valid, chosen',
    [
        ({'x_cnn': {'t': 0.9, 'u': 0.5}, 'y_cnn': {'t': 0.8}}, 'x_cnn'),  # over the task that both have
        ({'x_cnn': {'t': 0.7, 'u': 0.99}, 'y_cnn': {'t': 0.8}}, 'y_cnn'),
        ({'x_cnn': {'t': 0.7}, 'y_cnn': {'u': 0.8}}, 'y_cnn'),  # none in common: over their own
        ({'x_cnn': {'t': 0.8}, 'y_cnn': {'t': 0.8}}, 'x_cnn'),
        ({'x_cnn': {'t': NAN}, 'y_cnn': {'t': 0.1}}, 'y_cnn'),
    ],
)
def test_the_best_of_a_kind_has_the_best_mean_over_common_tasks(valid, chosen):
    assert choose.best_of_each_kind(valid, compare.kind_of) == {'cnn': chosen}


def test_tables_and_ensembles_take_the_same_of_equals():
    """Two rows of a grid with the same validation AUROC: the test score is that of one model, the first, in all."""
    rows = [
        {'task': 't', 'spec': 'x_cnn', 'seed': seed, 'valid_auroc': 0.8, 'test_auroc': test, 'status': 'ok'}
        for seed, test in ((0, 0.6), (0, 0.9), (1, 0.7))
    ]
    (row,) = compare.table2(rows, published=False).rows
    assert row['mean'] == pytest.approx((0.6 + 0.7) / 2)

    jobs = [SimpleNamespace(task='t', spec='x_cnn', seed=seed, fold=0, index=at) for at, seed in enumerate((0, 0, 1))]
    (members,) = evaluate._groups(list(zip(jobs, rows, strict=True)))
    assert [job.index for job in members] == [0, 2]
