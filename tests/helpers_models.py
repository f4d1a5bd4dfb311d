"""Small models with random parameters, sequences for them, and runs as training leaves them."""

import contextlib
import dataclasses
from collections.abc import Iterator
from unittest import mock

import jax
import numpy as np

import demo_jax
from demo_jax.nn import models
from demo_jax.nn.models import SPECS, ModelSpec
from demo_jax.runs.directory import RunDirectory
from demo_jax.training.fit import Finished
from demo_jax.training.jobs import Recipe, make_jobs
from tests.helpers import toy_corpus

CNN = ModelSpec('cnn', conv=((3, 5), (3, 4)), pool=2)
CNN_RNN = ModelSpec('cnn_rnn', conv=((4, 5),), padding='same', lstm_layers=1, lstm_size=3, summary='mean')
LENGTH = 13
#: Names of architectures that together hold every layer in every setting: LSTMs alone and in two layers, convolutions
#: without padding and with it, pooling before either, and both strands.
ONE_OF_EACH = ('small_rnn', 'small_cnn', 'small_cnn_rnn', 'large_cnn_rnn', 'deepbind')
_ALL_FILTERS = dict(SPECS)


def fewer(spec: ModelSpec) -> ModelSpec:
    """The spec with the same layers, but at most 8 filters and 4 units: its programs compile and run in less time."""
    conv = tuple((width, min(filters, 8)) for width, filters in spec.conv)
    return dataclasses.replace(spec, conv=conv, lstm_size=min(spec.lstm_size, 4))


def few_filters() -> Iterator[None]:
    """A fixture that puts smaller specs in the place of all ten, for tests of what is around models.

    In this process alone: a command that a test starts has the usual ones, see `all_filters`.
    """
    with mock.patch.dict(SPECS, {name: fewer(spec) for name, spec in SPECS.items()}):
        yield


def all_filters() -> contextlib.AbstractContextManager:
    """The ten specs as they are, within the block."""
    return mock.patch.dict(SPECS, _ALL_FILTERS)


def random_params(spec, seed=0, dtype=np.float32):
    """Parameters large enough that no gradient is small; nothing needs to be compiled to draw them."""
    shapes = jax.eval_shape(lambda: models.init(jax.random.key(0), spec))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: (0.6 * rng.normal(size=leaf.shape)).astype(dtype), shapes)


def stack(*params):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *params)


def sequences(n, seed=0, length=LENGTH):
    return np.random.default_rng(seed).integers(0, 4, (n, length)).astype(np.uint8)


def fresh(name, seed=0):
    """Parameters with biases that are not zero, so that a bias left out would show."""
    params = jax.tree.map(np.asarray, models.init(jax.random.key(seed), SPECS[name]))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.1, leaf.shape).astype(np.float32), params)


def some_tokens(count, length=34, seed=0):
    return np.random.default_rng(seed).integers(0, 5, (count, length)).astype(np.uint8)


def save_run(path, specs, *, tasks=('one', 'two'), seeds=(0,), average_strands=True, lengths=(30,)):
    """A run directory as training leaves it, with random parameters; validation AUROCs rise with the job's number."""
    corpus = toy_corpus(dict.fromkeys(tasks, 6), lengths=lengths)
    recipe = Recipe(epochs=1, average_strands=average_strands)
    jobs = make_jobs(corpus.tasks, specs, recipe, seeds=seeds)
    config = {
        'corpus': {'source': 'fasta'},
        'specs': specs,
        'seeds': seeds,
        'learning_rates': (),
        'dropouts': (),
        'recipe': dataclasses.asdict(recipe),
    }
    directory = RunDirectory(path)
    directory.create(corpus, config, jobs)
    for job in jobs:
        params = jax.tree.map(lambda leaf: 0.25 * leaf, random_params(SPECS[job.spec], job.index))
        directory.save_result(Finished(job.index, 0, 1, 1, 0.5 + job.index / 100, params), ())
    return demo_jax.load_run(path)
