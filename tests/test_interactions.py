"""Second derivatives against finite differences of gradients and `jax.hessian`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.explain.attribution import attribute
from demo_jax.explain.interactions import interactions
from demo_jax.nn import models
from tests.helpers_models import CNN, CNN_RNN, LENGTH, random_params, sequences

TOKENS = sequences(1)[0]


def test_rows_are_the_change_of_the_gradient():
    tokens = TOKENS.copy()
    tokens[5] = dna.N
    with jax.enable_x64(True):
        params = random_params(CNN_RNN, dtype=np.float64)
        found = interactions(params, CNN_RNN, tokens)
        x = dna.one_hot(tokens).astype(np.float64)
        gradient = jax.jit(jax.grad(lambda x: models.apply(params, x, CNN_RNN).score.sum()))
        step = 1e-5 * np.eye(LENGTH)[..., None] * x[None]
        slope = np.asarray(gradient(x[None] + step) - gradient(x[None] - step)) / 2e-5
    np.testing.assert_allclose(found.rows, (slope * x[None]).sum(-1), atol=1e-7)
    np.testing.assert_allclose(found.rows, found.rows.T, atol=1e-12)
    assert np.abs(found.rows).max() > 1e-3
    assert not found.rows[5].any()


def test_chosen_rows_equal_the_hessian():
    params = random_params(CNN_RNN)
    found = interactions(params, CNN_RNN, TOKENS, positions=np.array([7, 2]), batch_size=1)
    x = jnp.asarray(dna.one_hot(TOKENS))
    hessian = jax.jit(jax.hessian(lambda x: models.apply(params, x[None], CNN_RNN).score[0]))(x)
    expected = np.einsum('ia,iajb,jb->ij', x, hessian, x)[[7, 2]]
    np.testing.assert_allclose(found.rows, expected, atol=1e-6)
    assert found.positions.tolist() == [7, 2]


def test_a_cnn_is_linear_around_a_sequence():
    params = random_params(CNN)
    assert not interactions(params, CNN, TOKENS).rows.any()
    assert attribute('saliency', params, CNN, TOKENS[None]).absolute.max() > 0.01


@pytest.mark.parametrize(
    'tokens, positions, message',
    [
        (TOKENS[None], None, r'expected one sequence \(L,\)'),
        (TOKENS, np.array([3, 13]), 'position 13 is outside of a sequence of 13 letters'),
        (TOKENS, np.array([], int), r'positions are int64 \(0,\)'),
        (TOKENS[:3], None, 'needs at least'),
    ],
)
def test_bad_input(tokens, positions, message):
    with pytest.raises(InputError, match=message):
        interactions(random_params(CNN), CNN, tokens, positions=positions)
