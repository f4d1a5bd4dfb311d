"""Attributions against finite differences, path integrals, and every mutant scored by itself."""

import functools
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from demo_jax import dna
from demo_jax.compute.devices import compilations
from demo_jax.errors import InputError
from demo_jax.explain import batches
from demo_jax.explain.attribution import attribute, attribute_models
from demo_jax.nn import models
from demo_jax.nn.models import ModelSpec
from tests.helpers_models import CNN, CNN_RNN, LENGTH, random_params, sequences, stack

STRANDS = ModelSpec('strands', conv=((5, 4),), padding='full', summary='max_mean', both_strands=True)


@functools.partial(jax.jit, static_argnums=1)
def _scores(params, spec, inputs):
    return models.apply(params, inputs, spec).score


def scores(params, spec, inputs):
    return np.asarray(_scores(params, spec, inputs))


@pytest.mark.parametrize('spec', [CNN, CNN_RNN, STRANDS], ids=lambda spec: spec.name)
def test_saliency_is_the_slope_of_the_score(spec):
    tokens = sequences(3)
    tokens[1, 4] = dna.N
    with jax.enable_x64(True):
        params = random_params(spec, dtype=np.float64)
        found = attribute('saliency', params, spec, tokens)
        x = dna.one_hot(tokens).astype(np.float64)
        step = 1e-6 * np.eye(LENGTH * 4).reshape(-1, LENGTH, 4)
        for n in range(len(tokens)):
            both = scores(params, spec, np.concatenate([x[n] + step, x[n] - step])).reshape(2, -1)
            slope = ((both[0] - both[1]) / 2e-6).reshape(LENGTH, 4)
            np.testing.assert_allclose(found.hypothetical[n], slope, atol=1e-7)
            np.testing.assert_allclose(found.signed[n], (slope * x[n]).sum(-1), atol=1e-7)
        np.testing.assert_allclose(found.score, scores(params, spec, tokens))
    assert np.abs(found.hypothetical).max() > 0.01
    assert found.signed[1, 4] == 0
    np.testing.assert_array_equal(found.values, np.abs(found.signed))
    assert found.completeness_error is None


def test_gradient_x_input_keeps_the_sign_and_can_be_centred():
    params, tokens = random_params(CNN), sequences(4)
    saliency = attribute('saliency', params, CNN, tokens)
    found = attribute('gradient_x_input', params, CNN, tokens)
    np.testing.assert_array_equal(found.values, saliency.signed)
    assert (found.values < 0).any()
    centred = attribute('gradient_x_input', params, CNN, tokens, centred=True)
    np.testing.assert_allclose(centred.hypothetical, saliency.centred, atol=1e-6)
    picked = np.take_along_axis(saliency.centred, tokens[..., None].astype(int), -1)[..., 0]
    np.testing.assert_allclose(centred.signed, picked, atol=1e-6)


@pytest.mark.parametrize('baseline', ['uniform', 'shuffled'])
def test_integrated_gradients_are_a_path_integral(baseline):
    tokens = sequences(2)
    tokens[1, 6] = dna.N
    rng = np.random.default_rng(1)
    settings = {'shuffles': np.stack([dna.dinucleotide_shuffle(tokens, rng) for _ in range(3)], axis=1)}
    with jax.enable_x64(True):
        params = random_params(CNN_RNN, dtype=np.float64)
        settings = settings if baseline == 'shuffled' else {}
        found = attribute('integrated_gradients', params, CNN_RNN, tokens, baseline=baseline, steps=200, **settings)
        x = dna.one_hot(tokens).astype(np.float64)
        known = x.sum(-1, keepdims=True)
        if baseline == 'uniform':
            starts = [known * np.full(4, 0.25)]
        else:
            starts = list(dna.one_hot(settings['shuffles']).swapaxes(0, 1) * known)
        gradient = jax.jit(jax.grad(lambda x: models.apply(params, x, CNN_RNN).score.sum()))
        along = ((np.arange(1000) + 0.5) / 1000)[:, None, None]
        expected, change = np.zeros((2, LENGTH)), np.zeros(2)
        for start in starts:
            for n in range(2):
                mean = np.asarray(gradient(start[n] + along * (x[n] - start[n]))).mean(0)
                expected[n] += ((x[n] - start[n]) * mean).sum(-1) / len(starts)
            change += (scores(params, CNN_RNN, x) - scores(params, CNN_RNN, start)) / len(starts)
    np.testing.assert_allclose(found.signed, expected, atol=5e-4)
    np.testing.assert_allclose(found.completeness_error, np.abs(found.signed.sum(1) - change), atol=1e-9)
    assert found.completeness_error.max() < 1e-3 < np.abs(change).min()
    np.testing.assert_allclose(found.signed, (found.hypothetical * x).sum(-1), atol=1e-12)
    assert found.signed[1, 6] == 0


def test_more_steps_make_integrated_gradients_more_complete():
    params, tokens = random_params(CNN_RNN), sequences(4)
    few, many = (
        attribute('integrated_gradients', params, CNN_RNN, tokens, baseline='zeros', steps=steps) for steps in (2, 32)
    )
    change = scores(params, CNN_RNN, tokens) - scores(params, CNN_RNN, np.zeros((1, LENGTH, 4), np.float32))
    np.testing.assert_allclose(np.abs(many.signed.sum(1) - change), many.completeness_error, atol=1e-6)
    assert few.completeness_error.mean() > 5 * many.completeness_error.mean()


@pytest.mark.parametrize('with_unknown', [False, True])
def test_mutagenesis_is_the_score_of_every_mutant(with_unknown):
    params, tokens = random_params(CNN_RNN), sequences(3)
    lengths = np.array([LENGTH, LENGTH, 6])
    if with_unknown:
        tokens[0, 3] = dna.N
    found = attribute('mutagenesis', params, CNN_RNN, tokens, lengths=lengths)
    for n, length in enumerate(lengths):
        row = tokens[n, :length]
        mutants = np.broadcast_to(row, (length, 4, length)).copy()
        mutants[np.arange(length), :, np.arange(length)] = np.arange(4)
        *mutated, given = scores(params, CNN_RNN, np.concatenate([mutants.reshape(-1, length), row[None]]))
        change = np.reshape(mutated, (length, 4)) - given
        np.testing.assert_allclose(found.hypothetical[n, :length], change, atol=2e-6)
        np.testing.assert_allclose(found.signed[n, :length], -change.sum(1) / 3 * (row < 4), atol=2e-6)
        assert not found.hypothetical[n, length:].any()
    assert np.abs(found.signed).max() > 0.01


@pytest.mark.parametrize('method', ['saliency', 'integrated_gradients'])
def test_padding_changes_nothing(method):
    params, tokens = random_params(CNN_RNN), sequences(2)
    found = attribute(method, params, CNN_RNN, tokens, lengths=np.array([8, LENGTH]), both_strands=True)
    alone = attribute(method, params, CNN_RNN, tokens[:1, :8], both_strands=True)
    for name in ('signed', 'hypothetical'):
        np.testing.assert_allclose(getattr(found, name)[0, :8], getattr(alone, name)[0], atol=2e-6)
        assert not getattr(found, name)[0, 8:].any()
    np.testing.assert_allclose(found.score[0], alone.score[0], rtol=1e-5)


def test_both_strands_average_the_two_maps():
    params, tokens = random_params(CNN), sequences(3)
    given = attribute('saliency', params, CNN, tokens)
    other = attribute('saliency', params, CNN, dna.reverse_complement(tokens))
    both = attribute('saliency', params, CNN, tokens, both_strands=True)
    np.testing.assert_allclose(both.signed, (given.signed + other.signed[:, ::-1]) / 2, atol=1e-6)
    np.testing.assert_allclose(
        both.hypothetical, (given.hypothetical + other.hypothetical[:, ::-1, ::-1]) / 2, atol=1e-6
    )
    np.testing.assert_allclose(both.score, (given.score + other.score) / 2, atol=1e-6)


@pytest.mark.parametrize('width', [1, 2])
def test_models_are_explained_as_if_alone(width):
    params = [random_params(CNN, seed) for seed in range(3)]
    own = np.stack([sequences(5, seed) for seed in range(3)])
    found = attribute_models('saliency', stack(*params), CNN, own, batch_size=2, width=width)
    shared = attribute_models('saliency', stack(*params), CNN, own[0], width=width)
    assert found.signed.shape == (3, 5, LENGTH)
    for index in range(3):
        alone = attribute('saliency', params[index], CNN, own[index])
        np.testing.assert_allclose(found.model(index).hypothetical, alone.hypothetical, atol=1e-6)
        alone = attribute('saliency', params[index], CNN, own[0])
        np.testing.assert_allclose(shared.model(index).signed, alone.signed, atol=1e-6)


def test_another_number_of_sequences_does_not_compile_again():
    params, tokens = random_params(CNN), sequences(40)
    with compilations() as first:
        whole = attribute('saliency', params, CNN, tokens[:17], batch_size=6)
    with compilations() as second:
        more = attribute('saliency', params, CNN, tokens, batch_size=6)
    assert (first.programs, second.programs) == (1, 0)
    np.testing.assert_allclose(more.signed[:17], whole.signed, atol=1e-6)


def test_what_another_thread_rehearsed_is_compiled():
    params, tokens = random_params(CNN), sequences(9)

    def rehearse():
        with batches.rehearsal():
            return attribute('integrated_gradients', params, CNN, tokens, batch_size=3, steps=5)

    with ThreadPoolExecutor(1) as pool, compilations() as before:
        shapes = pool.submit(rehearse).result()
    assert before.programs == 1 and not shapes.hypothetical.any()
    with compilations() as after:
        found = attribute('integrated_gradients', params, CNN, tokens, batch_size=3, steps=5)
    assert after.programs == 0
    assert found.score.all() and found.hypothetical.shape == shapes.hypothetical.shape
    np.testing.assert_allclose(found.score, attribute('saliency', params, CNN, tokens).score, atol=1e-6)


@pytest.mark.parametrize(
    'method, tokens, arguments, message',
    [
        (
            'occlusion',
            sequences(1),
            {},
            "attribution method is 'occlusion', expected one of saliency, gradient_x_input",
        ),
        ('saliency', sequences(1), {'steps': 3}, "saliency has no setting 'steps'; its settings are none"),
        ('integrated_gradients', sequences(1), {'baseline': 'black'}, "baseline is 'black', expected one of uniform"),
        ('integrated_gradients', sequences(1), {'baseline': 'shuffled'}, 'shuffles and baseline'),
        ('integrated_gradients', sequences(1), {'steps': 0}, 'steps is 0, expected 1 or more'),
        ('saliency', sequences(1, length=6), {}, 'sequence 0 has 6 letters, cnn needs at least 8'),
        ('saliency', sequences(2), {'lengths': np.array([13, 7])}, 'sequence 1 has 7 letters, cnn needs at least 8'),
        ('saliency', sequences(2), {'lengths': np.array([13, 14])}, 'a length is 14, but rows hold 13 letters'),
        ('saliency', sequences(2), {'lengths': np.array([13])}, r'lengths are int64 \(1,\), expected integers \(2,\)'),
        ('saliency', sequences(0), {}, 'expected at least one sequence'),
        ('saliency', sequences(1) + 3, {}, 'expected A C G T N = 0..4'),
        ('saliency', sequences(1) * 1.0, {}, 'tokens are float64'),
        ('saliency', sequences(1), {'batch_size': 0}, 'batch_size is 0, expected 1 or more'),
    ],
)
def test_bad_input(method, tokens, arguments, message):
    with pytest.raises(InputError, match=message):
        attribute(method, random_params(CNN), CNN, tokens, **arguments)
