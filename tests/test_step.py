"""A training step in parts against plain arithmetic: the batch's mean loss, its gradient, and Adam by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from demo_jax.nn import models
from demo_jax.nn.models import ModelSpec
from demo_jax.training import step
from demo_jax.training.pool import Pool
from tests.helpers_models import fewer

SPEC = ModelSpec('two_layers', conv=((3, 4), (2, 4)), pool=2)
RATE = 1e-2


@pytest.fixture(scope='module')
def pool() -> Pool:
    random = np.random.default_rng(0)
    tokens = random.integers(0, 5, (40, 14), dtype=np.uint8)
    return Pool(tokens=tokens, labels=random.integers(2, size=40, dtype=np.int32), lengths=None)


def hyper(dropout: float) -> step.Hyper:
    limits = (np.float32(0), np.float32(np.inf), np.float32(np.inf), np.float32(3), np.float32(0))
    return step.Hyper(np.array([1, 2], np.uint32), np.float32(dropout), *limits)


@functools.cache
def program(size, hoist):
    """A step from fresh parameters, compiled once for parts of `size` (which holds while it is first called)."""

    def whole(dropout, pool, rows, turned):
        how = hyper(0.0).replace(dropout=dropout)
        before = step.init_state(SPEC, how)
        settings = {'spec': SPEC, 'dropout_bits': 1, 'hoist': hoist}
        return before, step.train_step(before, how, pool, rows, turned, jnp.float32(RATE), **settings)

    return jax.jit(whole)


def run(pool, rows, turned, *, size, dropout=0.0, hoist=False):
    """One step from fresh parameters in parts of `size`: the state before, the state after, the measurements."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.ModelSpec, 'part_size', size)
        before, (after, measured) = program(size, hoist)(np.float32(dropout), pool, rows, turned)
    return before, after, measured


@jax.jit
def of_one(params, tokens, label):
    """Loss of one example, and its gradient."""

    def loss(params):
        return -jax.nn.log_softmax(models.apply(params, tokens[None], SPEC).logits)[0, label]

    return jax.value_and_grad(loss)(params)


def by_hand(pool, params, rows, turned):
    """Mean loss over the rows that are there, and its gradient, one example at a time."""
    found = []
    for row, turn in zip(rows, turned, strict=True):
        if row >= 0:
            tokens = pool.tokens[row]
            other = np.where(tokens < 4, 3 - tokens, 4)[::-1].astype(np.uint8)
            found.append(jax.device_get(of_one(params, other if turn else tokens, pool.labels[row])))
    return jax.tree.map(lambda *values: sum(values) / len(found), *found)


@pytest.mark.parametrize(('batch', 'size', 'empty'), [(12, 4, 0), (11, 4, 0), (12, 4, 7)])
def test_parts_add_up_to_the_batch(pool, batch, size, empty):
    """Also where the last part is not full, and where whole parts hold no example."""
    random = np.random.default_rng(1)
    rows = np.where(np.arange(batch) < batch - empty, random.permutation(40)[:batch], -1).astype(np.int32)
    turned = random.integers(2, size=batch).astype(bool)
    before, after, measured = jax.device_get(run(pool, rows, turned, size=size))
    loss, gradient = by_hand(pool, before.params, rows, turned)
    np.testing.assert_allclose(measured.loss, loss, rtol=1e-5)
    norm = np.sqrt(sum((np.asarray(g, np.float64) ** 2).sum() for g in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(measured.gradient_norm, norm, rtol=1e-5)
    for p, q, g in zip(*(jax.tree.leaves(tree) for tree in (before.params, after.params, gradient)), strict=True):
        # Adam's first step divides the gradient by its own size.
        np.testing.assert_allclose(q, p - RATE * g / (abs(g) + 1e-8), atol=1e-5)


def test_lstms_and_what_is_above_learn_at_a_rate_of_their_own(pool):
    """Adam's first step is of the size of the rate, wherever the gradient is not zero."""
    spec = fewer(models.SPECS['small_cnn_rnn'])
    rows = np.arange(8, dtype=np.int32)

    def whole(pool):
        before = step.init_state(spec, hyper(0.0))
        after, _ = step.train_step(
            before, hyper(0.0), pool, rows, None, jnp.float32(RATE), spec=spec, dropout_bits=1, hoist=True
        )
        return jax.tree.map(lambda p, q: jnp.abs(q - p).max(), before.params, after.params)

    for name, part in jax.jit(whole)(pool).items():
        for moved in part.values():
            np.testing.assert_allclose(moved, RATE * (1 if name == 'conv0' else 3), rtol=1e-2)


@pytest.mark.parametrize(
    ('spec', 'centred'), [(SPEC, 'conv1'), (ModelSpec('one_lstm', ((3, 4),), 'same', 1, 1, 2, 'mean'), 'lstm0')]
)
def test_centred_updates_have_no_part_common_to_a_unit(pool, spec, centred):
    """Of what reads a convolution, each unit's weights keep their sum; the others move as they would."""
    rows = np.arange(8, dtype=np.int32)

    @jax.jit
    def both(pool):
        settings = {'spec': spec, 'dropout_bits': 1, 'hoist': True}
        how = hyper(0.0)
        before = step.init_state(spec, how)
        moved = [
            step.train_step(before, one, pool, rows, None, jnp.float32(RATE), **settings)[0].params
            for one in (how, how.replace(centred=jnp.float32(1)))
        ]
        return jax.tree.map(lambda p, a, b: (a - p, b - p), before.params, *moved)

    for name, part in both(pool).items():
        for key, (plain, less) in part.items():
            plain, less = np.asarray(plain, np.float64), np.asarray(less)
            if (name, key) == (centred, 'kernel'):  # (width, C, F) or (2, C, 4H)
                over = (0, 1) if name == 'conv1' else 1
                plain = plain - plain.mean(axis=over, keepdims=True)
                np.testing.assert_allclose(less.sum(axis=over), 0, atol=1e-6)
                assert abs(less).max() > RATE / 2
            np.testing.assert_allclose(less, plain, atol=2e-6)


def test_one_part_is_the_batch_as_one(pool):
    """`hoist` leaves the batch whole: the same numbers, dropout included, as one part of that size."""
    rows, turned = np.arange(8, dtype=np.int32), np.zeros(8, bool)
    one = run(pool, rows, turned, size=8, dropout=0.5)
    whole = run(pool, rows, turned, size=2, dropout=0.5, hoist=True)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_parts_have_masks_of_their_own(pool):
    """The same examples in both halves of a batch: only another mask can make the mean differ from that of one half."""
    half = np.arange(8, dtype=np.int32)
    twice = np.concatenate([half, half])
    losses = [
        float(run(pool, rows, np.zeros(len(rows), bool), size=8, dropout=dropout)[2].loss)
        for dropout in (0.0, 0.5)
        for rows in (half, twice)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    assert abs(losses[2] - losses[3]) > 1e-4


def test_in_parts():
    rows, turned = np.arange(7, dtype=np.int32), np.arange(7) % 2 == 0
    numbers, in_parts, turned_parts = step._in_parts(rows, turned, 3)
    np.testing.assert_array_equal(numbers, [0, 1, 2])
    np.testing.assert_array_equal(in_parts, [[0, 1, 2], [3, 4, 5], [6, -1, -1]])
    np.testing.assert_array_equal(turned_parts, [[True, False, True], [False, True, False], [True, False, False]])
    numbers, in_parts, turned_parts = step._in_parts(rows, None, 256)
    assert (numbers.shape, in_parts.shape, turned_parts) == ((1,), (1, 7), None)
