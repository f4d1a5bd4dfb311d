"""Temporal scores against a plain NumPy model run on every truncated sequence."""

import functools

import jax
import numpy as np
import pytest
from scipy.special import expit

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.explain.temporal import temporal_scores, temporal_scores_models
from demo_jax.nn import models
from demo_jax.nn.models import ModelSpec
from tests.helpers_models import random_params, sequences, stack


def recurrent(name, conv=(), pool=1, layers=1):
    return ModelSpec(name, conv=conv, padding='same', pool=pool, lstm_layers=layers, lstm_size=4, summary='mean')


STACK = recurrent('rnn', layers=2)
WIDE = recurrent('wide', conv=((9, 5),))
POOLED = recurrent('pooled', conv=((9, 5), (5, 4)), pool=2)
DEEP = recurrent('deep', conv=((4, 3), (3, 4), (2, 3)), pool=2)
LENGTH = 19
LENGTHS = np.array([19, 11, 4])


def features_of(params, spec, tokens):
    x = dna.one_hot(tokens).astype(np.float64)
    for index, (width, _) in enumerate(spec.conv):
        layer = params[f'conv{index}']
        padded = np.pad(x, (((width - 1) // 2, width // 2), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)  # (L, C, width)
        x = np.maximum(np.einsum('lcw,wcf->lf', windows, layer['kernel']) + layer['bias'], 0)
        if index < len(spec.conv) - 1:
            steps = len(x) // spec.pool
            x = x[: steps * spec.pool].reshape(steps, spec.pool, -1).max(axis=1)
    return x


def score_of(params, spec, features):
    """The score of a whole row of features, NaN where there is none."""
    if not len(features):
        return np.nan
    means = []
    for d in range(2):
        x = features[:: -1 if d else 1]
        for index in range(spec.lstm_layers):
            layer = params[f'lstm{index}']
            h, c, outputs = np.zeros(spec.lstm_size), np.zeros(spec.lstm_size), []
            for row in x:
                z = row @ layer['kernel'][d] + h @ layer['recurrent'][d] + layer['bias'][d]
                i, f, o, g = np.split(z, 4)
                c = expit(f) * c + expit(i) * np.tanh(g)
                h = expit(o) * np.tanh(c)
                outputs.append(h)
            x = np.array(outputs)
        means.append(x.mean(axis=0))
    logits = np.concatenate(means) @ params['dense']['kernel'] + params['dense']['bias']
    return logits[1] - logits[0]


def every_truncation(params, spec, tokens, lengths, direction, truncate='input'):
    pool = spec.pool ** max(len(spec.conv) - 1, 0)
    expected = np.full(tokens.shape, np.nan)
    for n, length in enumerate(lengths):
        row = tokens[n, :length]
        whole = features_of(params, spec, row)
        for t in range(length):
            if truncate == 'features':
                part = whole[: (t + 1) // pool] if direction == 'forward' else whole[-(-t // pool) :]
            else:
                part = row[: t + 1] if direction == 'forward' else row[t:]
                part = features_of(params, spec, part) if len(part) >= pool else part[:0]
            expected[n, t] = score_of(params, spec, part)
    return expected


@functools.partial(jax.jit, static_argnums=1)
def whole_scores(params, spec, tokens):
    return models.apply(params, tokens, spec, lengths=LENGTHS).score


@pytest.mark.parametrize('direction', ['forward', 'reverse'])
@pytest.mark.parametrize('spec', [STACK, WIDE, DEEP], ids=lambda spec: spec.name)
def test_equal_to_running_every_truncated_sequence(spec, direction):
    params, tokens = random_params(spec), sequences(3, length=LENGTH)
    tokens[0, 6] = dna.N
    found = temporal_scores(params, spec, tokens, lengths=LENGTHS, direction=direction)
    expected = every_truncation(params, spec, tokens, LENGTHS, direction)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.nanstd(expected[0]) > 1e-3
    whole = whole_scores(params, spec, tokens)
    at = LENGTHS - 1 if direction == 'forward' else 0 * LENGTHS
    np.testing.assert_allclose(found[np.arange(3), at], whole, atol=1e-5)


@pytest.mark.parametrize('direction', ['forward', 'reverse'])
def test_truncated_features(direction):
    spec = POOLED
    params, tokens = random_params(spec), sequences(3, length=LENGTH)
    found = temporal_scores(params, spec, tokens, lengths=LENGTHS, direction=direction, truncate='features')
    expected = every_truncation(params, spec, tokens, LENGTHS, direction, 'features')
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.nanmax(np.abs(expected - every_truncation(params, spec, tokens, LENGTHS, direction))) > 1e-3


@pytest.mark.parametrize('direction', ['forward', 'reverse'])
def test_sequences_shorter_than_the_filters(direction):
    params, tokens = random_params(POOLED), sequences(1, length=3)
    found = temporal_scores(params, POOLED, tokens, direction=direction)
    np.testing.assert_allclose(found, every_truncation(params, POOLED, tokens, [3], direction), atol=1e-5)
    too_short = 0 if direction == 'forward' else 2
    assert np.flatnonzero(np.isnan(found[0])).tolist() == [too_short]


def test_models_are_scored_as_if_alone():
    params = [random_params(STACK, seed) for seed in range(3)]
    own = np.stack([sequences(3, seed, LENGTH) for seed in range(3)])
    found = temporal_scores_models(stack(*params), STACK, own, lengths=LENGTHS, width=2, batch_size=1)
    assert found.shape == own.shape
    for index in range(3):
        np.testing.assert_allclose(
            found[index], every_truncation(params[index], STACK, own[index], LENGTHS, 'forward'), atol=1e-5
        )


@pytest.mark.parametrize(
    'spec, arguments, message',
    [
        (models.SPECS['small_cnn'], {'truncate': 'features'}, 'needs a spec with LSTMs, which small_cnn is not'),
        (WIDE, {'truncate': 'output'}, "truncate is 'output', expected one of input, features"),
        (WIDE, {'direction': 'backward'}, "direction is 'backward', expected one of forward, reverse"),
    ],
)
def test_bad_input(spec, arguments, message):
    params = random_params(spec)
    with pytest.raises(InputError, match=message):
        temporal_scores(params, spec, sequences(1, length=30), **arguments)
