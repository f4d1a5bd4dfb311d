"""How many sequences and models go at a time: a CPU's fixed numbers, and what an accelerator has room for."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import demo_jax
from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.explain import batches, sizes
from demo_jax.explain.activations import filter_motifs, strongest_activations_models
from demo_jax.explain.attribution import attribute, attribute_models
from demo_jax.explain.class_optimisation import ClassOptimisationSettings, optimise_class
from demo_jax.explain.interactions import interactions
from demo_jax.explain.sizes import MOST_ROWS, Sizes, default_sizes
from demo_jax.explain.temporal import temporal_scores, temporal_scores_models
from demo_jax.nn.cost import bytes_per_model, intermediate_bytes
from demo_jax.nn.models import SPECS, ModelSpec
from demo_jax.predict.model import Model
from tests.helpers_models import random_params

CNN = SPECS['small_cnn']
CNN_RNN = ModelSpec('tiny', conv=((3, 4),), padding='same', lstm_layers=1, lstm_size=3, summary='mean')  # soon compiled
GB = 1_000_000_000


def one_layer(params, x):
    """Keeps (B, L) of products and (B,) of sums."""
    return (x @ params['w']).sum(1)


LAYER = {'w': np.ones(4, np.float32)}


@pytest.fixture
def accelerator(monkeypatch):
    """Makes explanations believe that they run on a GPU with so much memory (None: it does not tell)."""

    def pretend(memory, platform='gpu', n_devices=1):
        stats = None if memory is None else {'bytes_limit': memory, 'bytes_in_use': memory - 1}
        fake = types.SimpleNamespace(platform=platform, memory_stats=lambda: stats)
        monkeypatch.setattr(sizes, 'device', lambda: fake)
        monkeypatch.setattr(jax, 'local_device_count', lambda: n_devices)

    return pretend


def test_a_cpu_takes_its_own_numbers():
    for work, batch_size in (
        ('attribution', 32),
        ('temporal', 64),
        ('activations', 256),
        ('interactions', 32),
        ('score', 128),
    ):
        for shape in ((1, 1, 20), (108, 100_000, 1000)):
            assert default_sizes(work, CNN, None, shape, rows=4) == Sizes(batch_size, 1)
    assert default_sizes('score', CNN, None, (3, 9, 20), batch_size=7, width=2) == Sizes(7, 2)
    assert default_sizes('attribution', CNN_RNN, None, (3, 9, 20)) == Sizes(64, 1)
    assert default_sizes('mutants', CNN, None, (3, 9, 20), rows=12) == Sizes(16, 1)  # 192 mutants


def test_the_numbers_reach_the_loop(monkeypatch):
    """What callers leave open is what `batches.run` gets."""
    seen = []
    run = batches.run

    def spy(*arguments, **settings):
        seen.append((settings['batch_size'], settings.get('width', 1)))
        return run(*arguments, **settings)

    monkeypatch.setattr(batches, 'run', spy)
    params, tokens = random_params(CNN_RNN), dna.encode('ACGTTGACTC')[None].repeat(3, 0)
    attribute('saliency', LAYER, one_layer, tokens)
    temporal_scores(params, CNN_RNN, tokens)
    filter_motifs(params, CNN_RNN, tokens)
    interactions(LAYER, one_layer, tokens[0])
    optimise_class(
        batches.stack_one(LAYER),
        one_layer,
        seeds=np.array([1]),
        length=10,
        restarts=3,
        settings=ClassOptimisationSettings(steps=0),
    )
    demo_jax.wrap(one_layer, LAYER).predict(['ACGT'])
    attribute('saliency', LAYER, one_layer, tokens, batch_size=5)
    assert seen == [(64, 1), (64, 1), (256, 1), (256, 1), (32, 1), (3, 1), (128, 1), (5, 1)]


def test_memory_is_counted():
    assert intermediate_bytes(one_layer, 3, 10, LAYER) == 4 * (3 * 10 + 3)
    assert sizes.bytes_per_row(one_layer, LAYER, 10) == 2 * 4 * 11
    assert sizes.bytes_per_row(CNN_RNN, None, 101) == bytes_per_model(CNN_RNN, 1, 101)
    # What is made within a program within it counts, and counts once.
    assert intermediate_bytes(jax.jit(one_layer), 3, 10, LAYER) == 4 * (3 * 10 + 3)
    assert intermediate_bytes(lambda p, x: jax.jit(lambda y: y)(one_layer(p, x)), 3, 10, LAYER) == 4 * (3 * 10 + 3 + 3)

    def looped(n):  # what is made in a loop is made in the same place again
        def score(params, x):
            return jax.lax.fori_loop(0, n, lambda _, total: total + one_layer(params, x), jnp.zeros(len(x)))

        return score

    once = intermediate_bytes(looped(1), 3, 10, LAYER)
    assert 4 * (3 * 10 + 3 + 3) <= once < 3 * 4 * (3 * 10 + 3 + 3)
    assert intermediate_bytes(looped(100), 3, 10, LAYER) == once


def test_an_accelerator_takes_what_fits(accelerator):
    row = 2 * 4 * 1001  # bytes of one sequence of 1,000 letters, with its gradient
    for memory, n_models, n, expected in (
        (row * 2 * 64, 1, 500, (64, 1)),  # half of it is 64 rows
        (row * 2 * 127, 1, 500, (64, 1)),
        (row * 2 * 128, 1, 500, (128, 1)),
        (row * 2 * 128, 9, 30, (32, 4)),  # the sequences first, then models
        (row * 2 * 128, 3, 30, (32, 3)),
        (row, 5, 500, (1, 1)),  # there is room for none, in theory
        (80 * GB, 108, 550, (1024, 16)),
        (80 * GB, 1, 10**6, (MOST_ROWS, 1)),
        (None, 1, 10**6, (MOST_ROWS, 1)),
    ):
        accelerator(memory)
        assert default_sizes('attribution', one_layer, LAYER, (n_models, n, 1000)) == expected, (memory, n_models, n)
    accelerator(row * 2 * 128)
    assert default_sizes('temporal', one_layer, LAYER, (1, 500, 1000), rows=16) == (8, 1)
    assert default_sizes('attribution', one_layer, LAYER, (9, 500, 1000), batch_size=16) == (16, 8)
    assert default_sizes('attribution', one_layer, LAYER, (9, 500, 1000), width=2) == (128, 2)
    accelerator(80 * GB, 'tpu', n_devices=4)
    assert default_sizes('score', one_layer, LAYER, (1, 1000, 1000)) == (256, 1)  # each device has its 250
    assert default_sizes('score', one_layer, LAYER, (1, 1000, 1000), n_devices=1) == (1024, 1)
    for name in ('batch_size', 'width'):
        with pytest.raises(InputError, match=f'{name} is 0, expected 1 or more'):
            default_sizes('score', one_layer, LAYER, (1, 10, 10), **{name: 0})


def test_sizes_change_nothing(accelerator):
    """Maps, temporal scores, activations, optima and predictions of several models: a CPU's and a GPU's sizes."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 5, (11, 12)).astype(np.uint8)
    lengths = np.array([12] * 8 + [10, 5, 12])
    texts = [dna.decode(row[:length]) for row, length in zip(tokens, lengths, strict=True)]

    def everything():
        spec = CNN_RNN
        params = jax.tree.map(lambda *leaves: np.stack(leaves), *(random_params(spec, seed) for seed in range(3)))
        found = attribute_models('mutagenesis', params, spec, tokens, lengths=lengths, both_strands=True)
        yield from (found.score, found.signed, found.hypothetical)
        yield temporal_scores_models(params, spec, tokens, lengths=lengths)
        yield strongest_activations_models(params, spec, tokens, lengths=lengths).strength
        one = jax.tree.map(lambda leaf: leaf[1], params)
        yield filter_motifs(one, spec, tokens, lengths=lengths).counts
        settings = ClassOptimisationSettings(steps=5)
        yield optimise_class(params, spec, seeds=np.arange(3), length=12, restarts=2, settings=settings).raw
        yield Model('task', spec.name, 0, one, True, 12, spec).predict(texts).score
        yield demo_jax.wrap(lambda p, x, lengths=None: spec(p, x, lengths), one).predict(texts).score

    expected = list(everything())
    accelerator(bytes_per_model(CNN_RNN, 1, 12) * 2 * 40)  # room for 40 rows
    assert default_sizes('activations', CNN_RNN, None, (3, 11, 12)) == (16, 2)
    for was, found in zip(expected, everything(), strict=True):
        np.testing.assert_allclose(found, was, rtol=1e-4, atol=1e-5)


def test_scores_of_a_function_are_padded_no_further_than_needed(accelerator, monkeypatch):
    """An accelerator's batch is no larger than the sequences that there are; a CPU's programs have one shape."""
    shapes = []

    def score(params, x):
        shapes.append(x.shape)
        return (x @ params['w']).sum(1)

    accelerator(80 * GB)
    model = demo_jax.wrap(score, {'w': jnp.arange(4.0)})
    assert model.predict(['ACGT'] * 5).score.tolist() == [6.0] * 5
    assert max(shape[0] for shape in shapes) <= 8
