"""First-layer activations against filters laid on the letters one place at a time."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.explain.activations import (
    FilterMotifs,
    activation_effects,
    filter_motifs,
    filter_motifs_models,
    influential_activations,
    strongest_activations,
    strongest_activations_models,
)
from demo_jax.nn import models
from demo_jax.nn.models import ModelSpec
from tests.helpers_models import CNN, CNN_RNN, random_params, sequences, stack

FULL = ModelSpec('full', conv=((5, 4),), padding='full', summary='max_mean', both_strands=True)
LENGTHS = np.array([13, 9, 13, 11, 13, 8, 13])
# Leftmost letters under the filter, the first one and how far before the end the last one is.
PLACES = {'cnn': (0, 3), 'cnn_rnn': (-1, 2), 'full': (-4, 1)}


def by_hand(params, spec, tokens):
    """Every place's activations (places, F), the place's first letter, and the one-hot letters under it."""
    width = spec.conv[0][0]
    first, last = PLACES[spec.name]
    x = dna.one_hot(tokens)
    starts = np.arange(first, len(tokens) - last + 1)
    under = np.zeros((len(starts), width, 4), np.float32)
    for row, start in enumerate(starts):
        for offset in range(width):
            if 0 <= start + offset < len(tokens):
                under[row, offset] = x[start + offset]
    layer = params['conv0']
    return np.maximum(np.einsum('pwa,waf->pf', under, layer['kernel']) + layer['bias'], 0), starts, under


@pytest.mark.parametrize('spec', [CNN, CNN_RNN, FULL], ids=lambda spec: spec.name)
def test_strongest_activation(spec):
    params, tokens = random_params(spec), sequences(7)
    tokens[0, 5] = dna.N
    found = strongest_activations(params, spec, tokens, lengths=LENGTHS, batch_size=4)
    assert found.width == spec.conv[0][0]
    for n, length in enumerate(LENGTHS):
        active, starts, _ = by_hand(params, spec, tokens[n, :length])
        place, number = np.unravel_index(active.argmax(), active.shape)
        assert (found.start[n], found.filter[n]) == (starts[place], number)
        np.testing.assert_allclose(found.strength[n], active.max(), rtol=1e-5)


@pytest.mark.parametrize('spec', [CNN, CNN_RNN, FULL], ids=lambda spec: spec.name)
def test_filters_as_motifs(spec):
    params, tokens = random_params(spec), sequences(7)
    params['conv0']['bias'][1] = -100  # a dead filter
    found = filter_motifs(params, spec, tokens, lengths=LENGTHS, fraction=0.6, batch_size=3)
    parts = [by_hand(params, spec, row[:length]) for row, length in zip(tokens, LENGTHS, strict=True)]
    active, under = (np.concatenate([part[i] for part in parts]) for i in (0, 2))
    maximum = active.max(axis=0)
    np.testing.assert_allclose(found.maximum, maximum, rtol=1e-5)
    chosen = (active >= 0.6 * maximum) & (active > 0)
    np.testing.assert_array_equal(found.n_windows, chosen.sum(0))
    np.testing.assert_allclose(found.counts, np.einsum('pf,pwa->fwa', chosen, under))
    assert found.maximum[1] == found.n_windows[1] == 0
    assert (found.n_windows[[0, 2, 3]] > 0).all()
    np.testing.assert_array_equal(found.probabilities()[1], 0.25)
    np.testing.assert_allclose(found.probabilities(0.0).sum(-1), 1)


def test_probabilities():
    counts = np.array([[[3, 1, 0, 0], [0, 0, 0, 0]]])
    motifs = FilterMotifs(counts, np.array([4]), np.array([1.0]))
    np.testing.assert_allclose(motifs.probabilities(), [[[0.65, 0.25, 0.05, 0.05], [0.25] * 4]])
    np.testing.assert_allclose(motifs.probabilities(0), [[[0.75, 0.25, 0, 0], [0.25] * 4]])


def test_models_as_if_alone():
    params, tokens = [random_params(CNN, seed) for seed in range(3)], sequences(5)
    strongest = strongest_activations_models(stack(*params), CNN, tokens)
    motifs = filter_motifs_models(stack(*params), CNN, tokens, width=2)
    for index in range(3):
        np.testing.assert_array_equal(strongest.start[index], strongest_activations(params[index], CNN, tokens).start)
        np.testing.assert_allclose(motifs.counts[index], filter_motifs(params[index], CNN, tokens).counts)


def test_bad_input():
    spec = dataclasses.replace(CNN_RNN, name='rnn', conv=())
    params = random_params(spec)
    for function in (strongest_activations, filter_motifs):
        with pytest.raises(InputError, match='activations need a spec with convolutions .*, rnn has none'):
            function(params, spec, sequences(2))
    with pytest.raises(InputError, match='fraction is 0, expected above 0 and at most 1'):
        filter_motifs(random_params(CNN), CNN, sequences(2), fraction=0)


@pytest.mark.parametrize('spec', [CNN, CNN_RNN, FULL], ids=lambda spec: spec.name)
def test_influential_activation(spec):
    """What a response adds is its activation times the change of the score by the filter's sum there."""
    params, tokens = random_params(spec, dtype=np.float64), sequences(7)
    tokens[0, 5] = dna.N
    with jax.enable_x64(True):
        added = np.asarray(jax.jit(lambda x: activation_effects(params, x, spec, lengths=LENGTHS))(tokens))
        found = influential_activations(params, spec, tokens, lengths=LENGTHS, batch_size=4)
        bias = params['conv0']['bias']

        @jax.jit
        def score(bias):
            moved = jax.tree.map(jnp.asarray, {**params, 'conv0': {**params['conv0'], 'bias': bias}})
            return models.apply(moved, tokens, spec, lengths=LENGTHS).score

        moved = [score(bias + step * unit) for unit in np.eye(len(bias)) for step in (1e-6, -1e-6)]
    first, last = PLACES[spec.name]
    for n, length in enumerate(LENGTHS):
        active, starts, _ = by_hand(params, spec, tokens[n, :length])
        assert (added[n, : len(active)][active == 0] == 0).all()
        assert (added[n, length - last - first + 1 :] == 0).all()
        best = np.unravel_index(added[n].argmax(), added[n].shape)
        if added[n].max() > 0:
            assert (found.start[n], found.filter[n]) == (starts[best[0]], best[1])
        np.testing.assert_allclose(found.strength[n], max(added[n].max(), 0), rtol=1e-6)
        if not spec.both_strands:  # the bias moves all places of a filter at once
            slopes = np.divide(added[n, : len(active)], active, out=np.zeros_like(active), where=active > 0).sum(0)
            expected = [float(moved[2 * f][n] - moved[2 * f + 1][n]) / 2e-6 for f in range(len(bias))]
            np.testing.assert_allclose(slopes, expected, rtol=1e-4, atol=1e-7)


def test_effects_sum_to_the_score():
    """Of a model that is linear behind its maximum, they add up to the score but for the bias."""
    spec = ModelSpec('flat', conv=((4, 6),))
    params, tokens = random_params(spec), sequences(5)
    added = np.asarray(jax.jit(lambda x: activation_effects(params, x, spec))(tokens))
    score = np.asarray(jax.jit(lambda x: models.apply(params, x, spec).score)(tokens))
    bias = params['dense']['bias']
    np.testing.assert_allclose(added.sum((1, 2)), score - (bias[1] - bias[0]), rtol=1e-5)
