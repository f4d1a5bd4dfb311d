"""The job table, plans, learning rates and the order of examples, against hand-worked values."""

import dataclasses

import numpy as np
import pytest

from demo_jax.errors import InputError
from demo_jax.training.jobs import (
    Plan,
    Recipe,
    batches,
    epoch_order,
    learning_rates,
    make_jobs,
    make_plan,
    programs,
)
from demo_jax.training.pool import TaskRows


def test_every_combination_is_one_job_and_rows_only_add():
    one = make_jobs(['a', 'b'], ['small_cnn', 'small_rnn'], Recipe())
    assert [(job.task, job.spec) for job in one] == [
        ('a', 'small_cnn'),
        ('b', 'small_cnn'),
        ('a', 'small_rnn'),
        ('b', 'small_rnn'),
    ]
    grid = make_jobs(['a'], ['small_cnn'], Recipe(), seeds=(3, 4), learning_rates=(1e-3, 1e-2), dropouts=(0.0, 0.3))
    assert len(grid) == 8
    assert {(job.seed, job.learning_rate, job.dropout) for job in grid} == {
        (seed, rate, dropout) for seed in (3, 4) for rate in (1e-3, 1e-2) for dropout in (0.0, 0.3)
    }
    assert [job.index for job in grid] == list(range(8))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'specs': ['huge_cnn']}, "unknown spec 'huge_cnn'; the specs are small_rnn"),
        ({'tasks': ['a', 'a']}, "task 'a' is listed twice"),
        ({'seeds': (1, 1)}, 'seed 1 is listed twice'),
    ],
)
def test_a_wrong_table_is_refused(arguments, message):
    good = {'tasks': ['a'], 'specs': ['small_cnn'], 'recipe': Recipe()}
    with pytest.raises(InputError, match=message):
        make_jobs(**(good | arguments))


@pytest.mark.parametrize(
    ('name', 'value', 'expected'),
    [
        ('batch_size', 0, 'at least 1'),
        ('epochs', 0, 'at least 1'),
        ('learning_rate', float('nan'), 'more than 0 and finite'),
        ('schedule', 'schedule_free', "'halving' or 'cosine' or 'constant'"),
        ('dropout', 1.0, '0 to 0.99'),
        ('warmup', 1.0, 'at least 0 and below 1'),
        ('waking', -0.1, 'at least 0 and below 1'),
    ],
)
def test_a_recipe_out_of_range_is_refused(name, value, expected):
    with pytest.raises(InputError, match=f'^recipe: {name} is {value!r}, expected {expected}$'):
        dataclasses.replace(Recipe(), **{name: value})


@pytest.mark.parametrize(('rate', 'bits'), [(0.0, 1), (0.5, 1), (0.25, 2), (0.75, 2), (0.125, 4), (0.3, 8), (0.1, 8)])
def test_the_bits_of_a_dropout_rate(rate, bits):
    (job,) = make_jobs(['a'], ['small_cnn'], Recipe(), dropouts=(rate,))
    assert job.dropout_bits == bits


def test_jobs_are_grouped_by_the_program_they_need():
    jobs = make_jobs(['a', 'b'], ['small_cnn', 'small_rnn'], Recipe(), dropouts=(0.5, 0.3))
    groups = programs(jobs)
    assert set(groups) == {('small_cnn', 1), ('small_cnn', 8), ('small_rnn', 1), ('small_rnn', 8)}
    assert sum(len(group) for group in groups.values()) == 8


def test_plans_count_steps_and_give_small_tasks_more_epochs():
    assert make_plan(Recipe(epochs=5, batch_size=256), 257) == Plan(5, 2)
    assert make_plan(Recipe(epochs=5, batch_size=256, min_steps=100), 256) == Plan(100, 1)
    assert make_plan(Recipe(epochs=5, batch_size=256, min_steps=100), 25_600) == Plan(5, 100)
    assert make_plan(Recipe(epochs=2), 0).steps_per_epoch == 1


def test_halving_is_the_papers_schedule():
    # 1e-2, halved after every 10 epochs of 3 steps each.
    recipe, plan = Recipe(), Plan(50, 3)
    rates = learning_rates(recipe, plan, 1e-2, np.arange(150))
    assert rates.dtype == np.float32
    np.testing.assert_allclose(rates[[0, 29, 30, 59, 60, 149]], [1e-2, 1e-2, 5e-3, 5e-3, 2.5e-3, 6.25e-4], rtol=1e-6)


def test_cosine_rises_over_the_warmup_and_ends_near_zero():
    recipe, plan = Recipe(schedule='cosine', warmup=0.1), Plan(10, 10)
    rates = learning_rates(recipe, plan, 1.0, np.arange(100))
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 11, rtol=1e-6)
    np.testing.assert_allclose(rates[10], 1.0, rtol=1e-6)
    np.testing.assert_allclose(rates[55], 0.5, rtol=1e-6)  # half of the 90 steps after the warm-up
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[-1] < 1e-3


def rows_of(n, sets=1):
    return TaskRows(train=np.arange(n * sets, dtype=np.int32).reshape(n, sets), valid=np.arange(2), test=np.arange(2))


def job(**changes):
    (one,) = make_jobs(['task'], ['small_cnn'], Recipe())
    return dataclasses.replace(one, **changes)


def test_an_epoch_has_every_example_once():
    order = epoch_order(Recipe(batch_size=8), job(), rows_of(21), 0)
    assert order.rows.shape == (3, 8)
    assert sorted(order.rows[order.rows >= 0]) == list(range(21))
    assert (order.rows.reshape(-1)[21:] == -1).all()
    assert not order.turned.any()


def test_the_order_depends_on_seed_task_and_epoch_alone():
    first = epoch_order(Recipe(batch_size=8), job(), rows_of(40), 3).rows
    same = epoch_order(Recipe(batch_size=8), job(index=7, spec='small_rnn', learning_rate=1.0), rows_of(40), 3).rows
    assert (first == same).all()
    for other in (
        epoch_order(Recipe(batch_size=8), job(), rows_of(40), 4),
        epoch_order(Recipe(batch_size=8), job(seed=1), rows_of(40), 3),
        epoch_order(Recipe(batch_size=8), job(task='other'), rows_of(40), 3),
    ):
        assert (first != other.rows).any()


def test_half_of_the_examples_are_turned_and_all_sets_of_negatives_are_used():
    recipe = Recipe(batch_size=100, reverse_complement=True, negative_sets=4)
    order = epoch_order(recipe, job(), rows_of(4000, sets=4), 0)
    assert 0.45 < order.turned.mean() < 0.55
    used = np.bincount(order.rows.reshape(-1) % 4, minlength=4) / 4000
    np.testing.assert_allclose(used, 0.25, atol=0.04)
    assert sorted(order.rows.reshape(-1) // 4) == list(range(4000))


def test_shuffles_come_in_the_first_epochs_and_become_fewer():
    recipe, n = Recipe(batch_size=8, epochs=10, shuffles_first=0.5), 4000
    rows = dataclasses.replace(rows_of(n), first=n + np.arange(n, dtype=np.int32))
    for epoch, share in enumerate((1, 0.8, 0.6, 0.4, 0.2, 0, 0)):
        order = epoch_order(recipe, job(), rows, epoch).rows.reshape(-1)
        np.testing.assert_allclose((order >= n).mean(), share, atol=0.03)  # more than three standard errors
        same = epoch_order(dataclasses.replace(recipe, shuffles_first=0.0), job(), rows, epoch).rows.reshape(-1)
        np.testing.assert_array_equal(order % n, same)  # the order is the same
    np.testing.assert_array_equal(epoch_order(recipe, job(), rows_of(n), 0).rows.reshape(-1) < n, True)


def test_batches_fill_the_last_one():
    assert batches(np.arange(5), 2).tolist() == [[0, 1], [2, 3], [4, -1]]
    assert batches(np.arange(0), 2).shape == (0, 2)


@pytest.mark.parametrize(
    'grid, message',
    [
        ({'seeds': (-1,)}, 'seed is -1'),
        ({'seeds': ()}, 'no seed is listed'),
        ({'dropouts': (0.999,)}, 'dropout is 0.999'),
        ({'dropouts': (0.5, 0.5)}, 'dropout 0.5 is listed twice'),
        ({'learning_rates': (-1.0,)}, 'learning_rate is -1.0'),
        ({'learning_rates': (0.1, 0.1)}, 'learning rate 0.1'),
    ],
)
def test_a_grid_is_checked_before_anything_is_done(grid, message):
    with pytest.raises(InputError, match=message):
        make_jobs(['a'], ['small_cnn'], Recipe(), **grid)


def test_a_table_without_architectures_is_refused():
    with pytest.raises(InputError, match='no spec is listed'):
        make_jobs(['a'], [], Recipe())
