"""Mutants that are followed through the layers against the same sequences scored whole, in float64."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from demo_jax.errors import InputError
from demo_jax.explain.attribution import attribute
from demo_jax.explain.interactions import epistasis
from demo_jax.nn import models, mutants
from demo_jax.nn.layers import Convolution, Dense, Dropout, Layer, MaxPool, Summary
from demo_jax.nn.models import SPECS, ModelSpec
from tests.helpers_models import CNN, random_params, sequences

POOLED_CNN = ModelSpec('pooled_cnn', conv=((4, 5), (3, 4), (2, 3)), pool=2)
POOLED_RNN = ModelSpec(
    'pooled_rnn', conv=((4, 5), (3, 4)), padding='same', pool=3, lstm_layers=1, lstm_size=3, summary='mean'
)
RNNS = ModelSpec('rnns', lstm_layers=2, lstm_size=3, summary='mean')
STRANDS = ModelSpec('strands', conv=((5, 4),), padding='full', summary='max_mean', both_strands=True)
FOLLOWED = (POOLED_CNN, POOLED_RNN, RNNS, STRANDS)


@functools.partial(jax.jit, static_argnums=1)
def whole_scores(params, spec, tokens, lengths=None):
    x = jax.nn.one_hot(tokens, 4, dtype=jnp.float64)
    return models.apply(params, x, spec, lengths=lengths).score


def exact(params, spec, tokens):
    """Scores in float64, whatever the parameters are."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: leaf.astype(np.float64), params)
        return np.asarray(whole_scores(wide, spec, tokens))


def every_mutant(params, spec, tokens, lengths):
    """(4, N, L): by how much each letter in each place changes each score, from 4 * N * L sequences scored whole."""
    n, length = tokens.shape
    mutated = np.broadcast_to(tokens, (4, length, n, length)).copy()
    place = np.arange(length)
    mutated[:, place, :, place] = np.arange(4)[None, :, None]
    repeated = None if lengths is None else np.tile(lengths, 4 * length)
    found = np.asarray(whole_scores(params, spec, mutated.reshape(-1, length), repeated)).reshape(4, length, n)
    return found.transpose(0, 2, 1) - np.asarray(whole_scores(params, spec, tokens, lengths))[:, None]


@pytest.mark.parametrize('ragged', [False, True])
@pytest.mark.parametrize('spec', FOLLOWED, ids=lambda spec: spec.name)
def test_every_single_mutant(spec, ragged):
    length = spec.min_length + 8
    tokens = sequences(3, length=length)
    tokens[0, 2] = 4
    lengths = np.array([length, length - 1, spec.min_length + 1], np.int32) if ragged else None
    inside = np.ones(tokens.shape, bool) if lengths is None else np.arange(length) < lengths[:, None]
    tokens[~inside] = 4
    others = np.broadcast_to(np.arange(4, dtype=np.uint8)[:, None, None], (4, *tokens.shape))
    with jax.enable_x64(True):
        params = random_params(spec, dtype=np.float64)
        changes = jax.jit(mutants.changes, static_argnums=1)
        scores, found = map(np.asarray, changes(params, spec, tokens, lengths, others))
        expected = every_mutant(params, spec, tokens, lengths)
        np.testing.assert_allclose(scores, whole_scores(params, spec, tokens, lengths), atol=1e-12)
    np.testing.assert_allclose(found * inside, expected * inside, atol=1e-12)
    assert np.abs(expected * inside).max() > 0.02


def test_all_specs_are_followed():
    assert all(map(mutants.follows, SPECS.values()))


@dataclasses.dataclass(frozen=True)
class Squash(Layer):
    """A layer that says nothing of mutants."""

    def apply(self, params, signal, run):
        return signal._replace(x=jnp.tanh(signal.x), before_relu=None)


def test_layers_that_say_nothing_of_mutants_are_run_on_whole_ones():
    parts = (Convolution('conv0', 3, 4), MaxPool(block=2), Dropout(), Summary(how='max_mean'), Dense('dense'))
    assert mutants.follows(ModelSpec('own', own_layers=parts))
    assert mutants.follows(ModelSpec('own', own_layers=(*parts[:-1], Squash(), parts[-1])))  # behind the summary
    squashed = ModelSpec('squashed', own_layers=(parts[0], Squash(), *parts[3:]))
    assert not mutants.follows(squashed)
    tokens = sequences(2)
    with jax.enable_x64(True):
        params = random_params(squashed, dtype=np.float64)
        expected = every_mutant(params, squashed, tokens, None)
    params = random_params(squashed)
    found = attribute('mutagenesis', params, squashed, tokens)
    np.testing.assert_allclose(found.hypothetical, expected.transpose(1, 2, 0), atol=1e-5)


def foreign(params, x):
    """The same model as a function that cannot be followed."""
    return POOLED_CNN(params, x)


@pytest.mark.parametrize('spec', FOLLOWED, ids=lambda spec: spec.name)
def test_epistasis_of_pairs_of_letters(spec):
    tokens, pairs = sequences(1, length=spec.min_length + 13)[0], np.array([[0, 1], [3, 4], [9, 2], [4, 12]])
    tokens[4] = 4
    params = random_params(spec)
    found = epistasis(params, spec, tokens, pairs, batch_size=64).values
    for pair, values in zip(pairs, found, strict=True):
        mutated = np.broadcast_to(tokens, (5, 5, len(tokens))).copy()  # the fifth letter is the one that is there
        mutated[:4, :, pair[0]] = np.arange(4)[:, None]
        mutated[:, :4, pair[1]] = np.arange(4)[None]
        scores = exact(params, spec, mutated.reshape(-1, len(tokens))).reshape(5, 5)
        expected = scores[:4, :4] - scores[:4, 4:] - scores[4:, :4] + scores[4, 4]
        np.testing.assert_allclose(values, expected, atol=1e-5)
        assert not values[tokens[pair[0]] : tokens[pair[0]] + 1].any()
    assert np.abs(found).max() > 0.003


@pytest.mark.parametrize('score', [POOLED_CNN, foreign, POOLED_RNN], ids=['cnn', 'foreign', 'rnn'])
def test_epistasis_of_windows(score):
    spec = POOLED_RNN if score is POOLED_RNN else POOLED_CNN
    tokens = sequences(1, length=27)[0]
    replacements = np.stack([np.full(27, 4, np.uint8), *sequences(2, seed=1, length=27)])
    pairs = np.array([[2, 7], [21, 3]])
    params = random_params(spec)
    found = epistasis(params, score, tokens, pairs, width=5, replacements=replacements).values
    for k, (first, second) in enumerate(pairs):
        mutated = np.broadcast_to(tokens, (4, 3, 27)).copy()
        for window, kinds in ((first, (0, 1)), (second, (0, 2))):
            for kind in kinds:
                mutated[kind, :, window : window + 5] = replacements[:, window : window + 5]
        both, one, other, neither = exact(params, spec, mutated.reshape(-1, 27)).reshape(4, 3)
        np.testing.assert_allclose(found[k], both - one - other + neither, atol=1e-5)
    assert found.shape == (2, 3) and np.abs(found).max() > 0.01


@pytest.mark.parametrize(
    'pairs, options, message',
    [
        ([[0, 13]], {}, 'windows at 0 and 13 are not within a sequence of 13 letters'),
        ([[3, 3]], {}, 'windows at 3 and 3 of 1 letters overlap'),
        ([3, 4], {}, r'pairs are int64 \(2,\)'),
        ([[0, 4]], {'width': 3}, 'width is 3: windows of several letters need replacements'),
        (
            [[0, 4]],
            {'replacements': np.zeros((2, 12), np.uint8)},
            r'replacements have shape \(2, 12\), expected \(R, 13\)',
        ),
        ([[0, 4]], {'width': 0}, 'width is 0'),
    ],
)
def test_bad_pairs(pairs, options, message):
    with pytest.raises(InputError, match=message):
        epistasis(random_params(CNN), CNN, sequences(1)[0], np.array(pairs), **options)
