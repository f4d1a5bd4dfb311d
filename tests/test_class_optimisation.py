"""Class optimisation against a hand-written RMSProp, and its independence of company."""

import dataclasses

import jax
import numpy as np
import pytest

from demo_jax.errors import InputError
from demo_jax.explain.class_optimisation import ClassOptimisationSettings, optimise_class, to_matrix
from demo_jax.nn import models
from tests.helpers_models import CNN, CNN_RNN, random_params, stack

PARAMS = [random_params(CNN, seed) for seed in range(3)]
SHORT = ClassOptimisationSettings(steps=20)
SEEDS = np.array([5, 6, 7])


@jax.jit
def logits_of(params, x):
    return models.apply(params, x, CNN).logits


def objective(params, x, l2):
    return jax.nn.log_softmax(logits_of(params, x))[:, 1] - l2 * (x**2).sum((1, 2))


def test_steps_are_those_of_rmsprop():
    settings = ClassOptimisationSettings(steps=3, learning_rate=0.02, decay=0.9, l2=0.05)
    arguments = {'seeds': SEEDS[:1], 'length': 9, 'restarts': 2}
    begin = optimise_class(stack(PARAMS[0]), CNN, settings=dataclasses.replace(settings, steps=0), **arguments)
    found = optimise_class(stack(PARAMS[0]), CNN, settings=settings, **arguments)
    x = begin.raw[0]
    assert 0 <= x.min() < 0.2 < 0.8 < x.max() <= 1
    gradient = jax.jit(jax.grad(lambda x: objective(PARAMS[0], x, 0.05).sum()))
    mean_square = 0
    for _ in range(3):
        slope = np.asarray(gradient(x))
        mean_square = 0.9 * mean_square + 0.1 * slope**2
        x = x + 0.02 * slope / (np.sqrt(mean_square) + 1e-8)
    np.testing.assert_allclose(found.raw[0], x, atol=1e-5)
    np.testing.assert_allclose(found.objective[0], objective(PARAMS[0], x, 0.05), atol=1e-5)
    logits = np.asarray(logits_of(PARAMS[0], x))
    np.testing.assert_allclose(found.score[0], logits[:, 1] - logits[:, 0], atol=1e-5)
    np.testing.assert_allclose(found.probability[0], np.asarray(jax.nn.softmax(logits))[:, 1], atol=1e-5)


def test_the_objective_rises_and_progress_is_told():
    told = []
    params = stack(*(random_params(CNN_RNN, seed) for seed in range(3)))
    found = optimise_class(
        params,
        CNN_RNN,
        seeds=SEEDS,
        length=11,
        restarts=2,
        chunk=20,
        settings=ClassOptimisationSettings(steps=60),
        progress=lambda step, values: told.append((step, values)),
    )
    assert [step for step, _ in told] == found.history_steps.tolist() == [0, 20, 40, 60]
    np.testing.assert_array_equal([values for _, values in told], found.history)
    assert (found.history[-1] > found.history[0] + 0.1).all()
    np.testing.assert_array_equal(found.history[-1], found.objective)
    assert found.matrix.shape == found.raw.shape == (3, 2, 11, 4)
    np.testing.assert_array_equal(found.matrix, to_matrix(found.raw))
    np.testing.assert_array_equal(found.best, found.objective.argmax(1))
    np.testing.assert_array_equal(found.best_matrix[1], found.matrix[1, found.best[1]])


def test_a_result_does_not_depend_on_its_company():
    arguments = {'length': 11, 'settings': SHORT}
    together = optimise_class(stack(*PARAMS), CNN, seeds=SEEDS, restarts=2, chunk=5, width=2, **arguments)
    alone = optimise_class(stack(PARAMS[1]), CNN, seeds=SEEDS[1:2], restarts=3, chunk=20, **arguments)
    np.testing.assert_allclose(together.raw[1], alone.raw[0, :2], atol=1e-4)
    assert np.abs(alone.raw[0, 0] - alone.raw[0, 1]).max() > 0.1


def test_to_matrix():
    raw = np.array([[2.0, 0.5, -1, 0], [0.25, 0.25, -3, 0]])
    expected = np.array([[1.01, 0.51, 0.01, 0.01], [0.26, 0.26, 0.01, 0.01]])
    np.testing.assert_allclose(to_matrix(raw), expected / expected.sum(1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(to_matrix(raw / 4), to_matrix(np.clip(raw, 0, 2) * 0.5), rtol=1e-6)
    np.testing.assert_array_equal(to_matrix(np.full((2, 3, 4), -1.0)), 0.25)


@pytest.mark.parametrize(
    'arguments, message',
    [
        ({'seeds': SEEDS[:2]}, r'seeds are int64 \(2,\), expected one integer for each of 3 models'),
        ({'restarts': 0}, 'restarts is 0, expected 1 or more'),
        ({'chunk': 0}, 'chunk is 0, expected 1 or more'),
        ({'length': 7}, 'length is 7, cnn needs at least 8'),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(InputError, match=message):
        optimise_class(stack(*PARAMS), CNN, **{'seeds': SEEDS, **arguments})


@pytest.mark.parametrize(
    'name, value',
    [
        ('steps', -1),
        ('learning_rate', 0.0),
        ('decay', 1.0),
        ('l2', -0.1),
        ('smoothing', float('nan')),
    ],
)
def test_bad_settings(name, value):
    with pytest.raises(InputError, match=f'{name} is {value}, expected'):
        ClassOptimisationSettings(**{name: value})
