"""Sufficient motifs of scores whose sufficient motif is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.explain.sufficient_motif import (
    SLACK,
    SufficientMotifSettings,
    best_start,
    motif_of,
    sufficient_motif,
)
from tests.helpers_models import CNN_RNN, random_params, stack

LENGTH, WORD = 20, 'GATAAG'
#: The letters of the word.
WEIGHTS = dna.one_hot(dna.encode(WORD)).astype(np.float32)


def best_match(params, x):
    """(B,): the score of the best place of a word, whose letters have the weights of `params`."""
    width = params['weights'].shape[0]
    windows = jnp.stack([x[:, i : LENGTH - width + 1 + i] for i in range(width)], axis=2)  # (B, P, w, 4)
    return jnp.einsum('bpwa,wa->bp', windows, params['weights']).max(1) + params['bias']


def of_word(scale=4.0, bias=-20.0):  # 4 with the whole word, 0 with a letter less
    return {'weights': scale * WEIGHTS, 'bias': np.float32(bias)}


def search(*params, target=3.0, **kwargs):
    """Sufficient motifs of two models, by a program that all tests share."""
    settings = SufficientMotifSettings(target=target, steps=300)
    kwargs = {'seeds': np.array([1, 2]), 'length': LENGTH, 'restarts': 3, 'settings': settings, 'chunk': 150, **kwargs}
    return sufficient_motif(stack(*params), best_match, **kwargs)


@pytest.fixture(scope='module')
def models():
    """Two models: one needs the whole word, to the other A and C serve as well at its fourth place."""
    either = of_word()
    either['weights'] = either['weights'].copy()
    either['weights'][3, 1] = either['weights'][3, 0]
    return of_word(), either


@pytest.fixture(scope='module')
def found(models):
    return models, search(*models)


def test_the_word_and_no_letter_more(found):
    _, result = found
    first, second = (motif_of(matrix) for matrix in result.best_matrix)
    assert WORD in dna.decode(first.argmax(1).astype(np.uint8))
    start = dna.decode(second.argmax(1).astype(np.uint8)).index('GAT')
    # Six letters are twelve bits; where two serve as well, one bit is saved.
    best = [result.bits[number, start] for number, start in enumerate(result.best)]
    assert 10 < best[0] < 15
    assert best[1] < best[0]
    assert second[start + 3, [0, 1]].min() > 0.2
    assert (result.reached[np.arange(2), result.best]).all()


def test_numbers_are_of_the_matrices(found):
    params, result = found
    np.testing.assert_allclose(result.matrix.sum(-1), 1, rtol=1e-5)
    expected = (result.matrix * np.log2(np.maximum(result.matrix, 1e-9) / 0.25)).sum((2, 3))
    np.testing.assert_allclose(result.bits, expected, rtol=1e-4)
    rng = np.random.default_rng(0)
    start = int(result.best[0])
    drawn = (rng.random((4000, LENGTH, 1)) > result.matrix[0, start].cumsum(-1)).sum(-1).clip(max=3)
    score = np.asarray(best_match(params[0], jnp.asarray(dna.one_hot(drawn.astype(np.uint8)))))
    error = score.std() / np.sqrt(64)
    assert abs(score.mean() - result.score[0, start]) < 4 * error
    background = np.asarray(
        best_match(params[0], jnp.asarray(dna.one_hot(rng.integers(0, 4, (4000, LENGTH), np.uint8))))
    )
    assert abs(background.mean() - result.without[0]) < 4 * background.std() / np.sqrt(64)


def test_less_is_asked_and_fewer_bits_are_given(models, found):
    _, result = found
    seen = []
    less = search(*models, target=-4.0, progress=lambda made, score: seen.append((made, score.shape)))
    best = [each.bits[0, each.best[0]] for each in (less, result)]
    assert best[0] < best[1] - 1
    assert seen == [(150, (2, 3)), (300, (2, 3))]


def test_what_cannot_be_reached_is_said():
    hopeless = of_word(scale=3.0)  # at most -2
    result = search(hopeless, hopeless)
    assert not result.reached.any()
    assert result.best[0] == result.score[0].argmax()


def test_as_if_alone(models, found):
    """A start depends on its model, seed and number, not on its company or on the size of the steps' groups."""
    _, result = found
    one = sufficient_motif(
        stack(models[1]),
        best_match,
        seeds=np.array([2]),
        length=LENGTH,
        restarts=2,
        settings=SufficientMotifSettings(steps=300),
        chunk=300,
    )
    np.testing.assert_allclose(one.matrix[0], result.matrix[1, :2], atol=1e-3)
    np.testing.assert_allclose(one.score[0], result.score[1, :2], atol=1e-2)


def test_which_start_is_best():
    assert best_start(np.array([3.1, 2.9, 9.0]), np.array([14.0, 12.0, 30.0]), 3.0) == 1
    assert best_start(np.array([3.1, 3 - 2 * SLACK, 9.0]), np.array([14.0, 2.0, 30.0]), 3.0) == 0
    assert best_start(np.array([1.0, 2.0, -1.0]), np.array([4.0, 12.0, 0.0]), 3.0) == 1


def test_rare_letters_cost_more():
    """Where the background has few A and T, the word has more bits, and the other columns stay at the background."""
    rare = search(of_word(), of_word(), background=np.array([0.1, 0.4, 0.4, 0.1]))
    free = rare.matrix[0, rare.best[0]]
    bits = (free * np.log2(np.maximum(free, 1e-9) / [0.1, 0.4, 0.4, 0.1])).sum(1)
    assert (bits > 0.5).sum() <= len(WORD) + 3
    assert rare.bits[0, rare.best[0]] > 14  # four times log2(10) and twice log2(2.5) are 15.9


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'settings': {'steps': 0}}, 'steps is 0, expected 1 or more'),
        ({'settings': {'weights': (3.0, 1.0)}}, r'weights are \(3.0, 1.0\), expected two positive numbers'),
        ({'settings': {'search': 1.0}}, 'search is 1.0, expected 0 or more and below 1'),
        ({'settings': {'target': float('nan')}}, 'target is nan, expected a number'),
        ({'restarts': 0}, 'restarts is 0, expected 1 or more'),
        ({'length': 0}, 'length is 0, .* needs at least 1'),
        ({'background': np.array([1.0, 0, 0, 0])}, 'four positive frequencies'),
        ({'seeds': np.array([0.5])}, 'expected one integer for each of 1 models'),
    ],
)
def test_bad_input(change, message):
    change = {'seeds': np.array([0]), 'length': 21, **change}
    with pytest.raises(InputError, match=message):
        settings = SufficientMotifSettings(**change.pop('settings', {}))
        sufficient_motif(stack(random_params(CNN_RNN)), CNN_RNN, settings=settings, **change)
