"""The operations against Flax's own layers (values and gradients), finite differences and brute force."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_vjp

from demo_jax import dna
from demo_jax.nn import kernels

RAGGED = (9, 1, 4)

dropout = jax.jit(kernels.dropout, static_argnums=3)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_close(found, expected, tolerance=1e-5):
    """Same structure, same shapes, values equal to the tolerance (absolute and relative)."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def with_gradients(function, weights, *arguments):
    """The function's values, and the gradients of their weighted sum by every argument, in one compilation."""

    def loss(*args):
        out = function(*args)
        terms = jax.tree.map(lambda y, w: (y * w).sum(), out, weights)
        return sum(jax.tree.leaves(terms)), out

    gradient = jax.value_and_grad(loss, tuple(range(len(arguments))), has_aux=True)
    (_, out), gradients = jax.jit(gradient)(*arguments)
    return out, gradients


def flax_cell(kernel, recurrent, bias) -> dict:
    """Our matrices, gates i f o g side by side, as the parameters of Flax's cell, one matrix per gate."""
    cell = {}
    for gate, w, u, b in zip('ifog', *(jnp.split(m, 4, axis=-1) for m in (kernel, recurrent, bias)), strict=True):
        cell[f'i{gate}'] = {'kernel': w}
        cell[f'h{gate}'] = {'kernel': u, 'bias': b}
    return cell


# Letters and strands


def test_one_hot_agrees_with_numpy_and_n_is_zero():
    tokens = np.random.default_rng(0).integers(0, 5, (3, 11), dtype=np.uint8)
    found = kernels.one_hot(jnp.asarray(tokens))
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, dna.one_hot(tokens))
    assert kernels.one_hot(jnp.full((2, 3), 4, jnp.uint8)).sum() == 0
    assert kernels.one_hot(jnp.asarray(tokens), jnp.bfloat16).dtype == jnp.bfloat16


def test_reverse_complement_agrees_with_numpy():
    tokens = np.random.default_rng(1).integers(0, 5, (6, 9), dtype=np.uint8)
    found = kernels.reverse_complement(jnp.asarray(tokens))
    assert found.dtype == jnp.uint8
    np.testing.assert_array_equal(found, dna.reverse_complement(tokens))


def test_reverse_complement_within_lengths():
    tokens = np.random.default_rng(2).integers(0, 5, (6, 9), dtype=np.uint8)  # letters behind the ends too
    lengths = np.array([9, 8, 5, 2, 1, 0])
    expected = np.full_like(tokens, 4)
    for row, length in enumerate(lengths):
        expected[row, :length] = dna.reverse_complement(tokens[row, :length])
    found = kernels.reverse_complement(jnp.asarray(tokens), jnp.asarray(lengths))
    assert found.dtype == jnp.uint8
    np.testing.assert_array_equal(found, expected)


# Convolution and pooling


@pytest.mark.parametrize(('width', 'channels'), [(1, 3), (4, 3), (5, 3), (4, kernels._FEW_CHANNELS + 1)])
@pytest.mark.parametrize('padding', ['valid', 'same', 'full'])
def test_conv1d_is_flax_conv(padding, width, channels):
    x, kernel, bias = normal(0, 11, 2, channels), normal(1, width, channels, 6), normal(2, 6)
    flax_padding = [(width - 1, width - 1)] if padding == 'full' else padding.upper()
    layer = nn.Conv(6, (width,), padding=flax_padding)

    def oracle(x, kernel, bias):
        out = layer.apply({'params': {'kernel': kernel, 'bias': bias}}, x.transpose(1, 0, 2))
        return out.transpose(1, 0, 2)

    length = {'valid': 12 - width, 'same': 11, 'full': 10 + width}[padding]
    weights = normal(3, length, 2, 6)
    found = with_gradients(lambda *args: kernels.conv1d(*args, padding), weights, x, kernel, bias)
    assert_close(found, with_gradients(oracle, weights, x, kernel, bias))


def test_conv1d_over_models_is_each_model():
    x, kernel, bias, weights = normal(0, 3, 9, 2, 3), normal(1, 3, 4, 3, 5), normal(2, 3, 5), normal(3, 9, 2, 5)

    def one(*args):
        return with_gradients(lambda *args: kernels.conv1d(*args, 'same'), weights, *args)

    def alone(*args):
        found = [one(*(a[m] if a.ndim > n else a for a, n in zip(args, (3, 3, 1), strict=True))) for m in range(3)]
        return jax.tree.map(lambda *parts: np.stack(parts), *found)

    assert_close(jax.vmap(one)(x, kernel, bias), alone(x, kernel, bias))
    for axes in ((0, None, None), (None, 0, None)):  # mapped over one argument alone
        given = [a if axis == 0 else a[0] for a, axis in zip((x, kernel, bias), axes, strict=True)]
        assert_close(jax.vmap(one, axes)(*given), alone(*given))


def test_conv1d_over_models_is_no_grouped_convolution():
    """Its gradient is very slow."""
    many = kernels._FEW_CHANNELS + 1  # with few the gradient is a product anyway
    x, kernel, bias = normal(0, 3, 9, 2, many), normal(1, 3, 4, many, 5), normal(2, 3, 5)
    over = jax.vmap(jax.grad(lambda *args: (kernels.conv1d(*args, 'same') ** 2).sum(), (0, 1, 2)))
    text = str(jax.make_jaxpr(over)(x, kernel, bias))
    assert 'conv_general_dilated' not in text
    assert 'dot_general' in text


@pytest.mark.parametrize(('width', 'length'), [(3, 5), (3, 21), (4, 14), (5, 9), (5, 46)])
def test_conv1d_of_fewer_products(width, length):
    """Whole tiles and parts of one, alone and over models."""
    x, kernel, bias = normal(0, 2, length, 3, 32), normal(1, 2, width, 32, 40) / np.sqrt(32 * width), normal(2, 2, 40)
    assert kernels._saves_products(x[0], kernel[0])
    steps = length - width + 1
    exact = np.asarray(bias, np.float64)[:, None, None] + sum(
        np.einsum('mlbc,mcf->mlbf', np.asarray(x[:, i : i + steps], np.float64), np.asarray(kernel[:, i], np.float64))
        for i in range(width)
    )
    conv = functools.partial(kernels.conv1d, padding='valid')
    np.testing.assert_allclose(jax.jit(jax.vmap(conv))(x, kernel, bias), exact, rtol=0, atol=1e-5)
    weights = normal(3, steps, 3, 40)
    found, gradients = with_gradients(conv, weights, x[0], kernel[0], bias[0])
    np.testing.assert_allclose(found, exact[0], rtol=0, atol=1e-5)

    def plain(x, kernel, bias):
        return kernels._correlate_product(x, kernel) + bias[None, None]

    assert_close(gradients, with_gradients(plain, weights, x[0], kernel[0], bias[0])[1], 2e-5)


def test_conv1d_of_fewer_products_is_exact_in_double_precision():
    x, kernel = np.random.default_rng(0).normal(size=(17, 2, 32)), np.random.default_rng(1).normal(size=(5, 32, 32))
    with jax.enable_x64(True):
        found = jax.jit(kernels._correlate_tiles)(x, kernel)
        np.testing.assert_allclose(found, sum(x[i : i + 13] @ kernel[i] for i in range(5)), rtol=0, atol=1e-11)


def test_who_saves_products():
    x, kernel = jnp.zeros((46, 2, 64)), jnp.zeros((5, 64, 64))
    assert kernels._saves_products(x, kernel)
    assert not kernels._saves_products(x[:5], kernel)  # one output
    assert not kernels._saves_products(x[..., :4], kernel[:, :4])  # letters
    assert not kernels._saves_products(x, jnp.zeros((9, 64, 64)))
    assert not kernels._saves_products(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))


def test_conv1d_refuses():
    x, bias = jnp.zeros((4, 1, 2)), jnp.zeros(3)
    assert kernels.conv1d(x, jnp.zeros((4, 2, 3)), bias, 'valid').shape == (1, 1, 3)
    with pytest.raises(ValueError, match='length 4 is shorter than the filter width 5'):
        kernels.conv1d(x, jnp.zeros((5, 2, 3)), bias, 'valid')
    with pytest.raises(ValueError, match="padding is 'SAME'.*'full', 'same', 'valid'"):
        kernels.conv1d(x, jnp.zeros((4, 2, 3)), bias, 'SAME')


@pytest.mark.parametrize(('length', 'size'), [(7, 1), (7, 2), (8, 2), (11, 3), (2, 3)])
def test_max_pool1d_is_flax_max_pool(length, size):
    x, weights = normal(0, length, 3, 4), normal(1, length // size, 3, 4)

    def oracle(x):
        return nn.max_pool(x.transpose(1, 0, 2), (size,), strides=(size,)).transpose(1, 0, 2)

    found = with_gradients(lambda x: kernels.max_pool1d(x, size), weights, x)
    assert_close(found, with_gradients(oracle, weights, x))
    plain = jax.jit(lambda x: (kernels.max_pool1d(x, size), oracle(x)))
    np.testing.assert_array_equal(*plain(x))  # as computed where no gradient is asked for


def test_max_pool1d_shares_the_gradient_between_equal_maxima():
    x = np.float32([2, 2, 1, 5, 5, 5, 3, 4, 4, 9])[:, None, None]
    weights = np.float32([6, 12, 18])
    gradient = jax.jit(jax.grad(lambda x: (kernels.max_pool1d(x, 3) * weights[:, None, None]).sum()))(x)
    np.testing.assert_allclose(gradient[:, 0, 0], [3, 3, 0, 4, 4, 4, 0, 9, 9, 0])


@pytest.mark.parametrize('padding', ['valid', 'same', 'full'])
def test_second_derivatives_of_convolution_and_pooling(padding):
    """Forward over reverse, as for interactions of positions, against automatic derivatives of the definitions."""
    x, kernel, bias, along = normal(0, 9, 2, 3), normal(1, 4, 3, 5), normal(2, 5), normal(3, 9, 2, 3)
    pads = {'valid': (0, 0), 'same': (1, 2), 'full': (3, 3)}[padding]

    def ours(x, kernel):
        return kernels.max_pool1d(jnp.tanh(kernels.conv1d(x, kernel, bias, padding)), 2)

    def plain(x, kernel):
        x = jnp.pad(x, (pads, (0, 0), (0, 0)))
        out = jnp.tanh(sum(x[i : len(x) - 3 + i] @ kernel[i] for i in range(4)) + bias[None, None])
        return out[: len(out) // 2 * 2].reshape(len(out) // 2, 2, 2, 5).max(axis=1)

    def second(model):
        gradient = jax.grad(lambda x, kernel: (model(x, kernel) ** 2).sum(), (0, 1))
        return jax.jit(lambda: jax.jvp(lambda x: gradient(x, kernel), (x,), (along,))[1])()

    assert_close(second(ours), second(plain), 1e-4)


# LSTMs


def test_lstm_step_is_flax_cell():
    h, c, x = normal(0, 3, 5), normal(1, 3, 5), normal(2, 3, 4)
    kernel, recurrent, bias = normal(3, 4, 20), normal(4, 5, 20), normal(5, 20)

    def oracle(h, c, x):
        (new_c, new_h), out = nn.OptimizedLSTMCell(5).apply({'params': flax_cell(kernel, recurrent, bias)}, (c, h), x)
        return new_h, new_c, out

    step = jax.jit(lambda h, c, x: kernels.lstm_step(kernels.LstmState(h=h, c=c), x @ kernel + bias[None], recurrent))
    state, gates = step(h, c, x)
    new_h, new_c, out = jax.jit(oracle)(h, c, x)
    np.testing.assert_array_equal(out, new_h)
    assert_close((state.h, state.c), (new_h, new_c))
    i, f, o, g = map(np.asarray, gates)  # as stored for the gradient
    assert_close((f * c + i * g, o * np.tanh(f * c + i * g)), (np.asarray(state.c), np.asarray(state.h)))


def in_sequence_order(pair):
    """Outputs of `kernels.bilstm_scan` as one array, (L, B, 2H)."""
    return jnp.concatenate([pair[0], pair[1][::-1]], axis=-1)


@pytest.fixture(scope='module')
def bidirectional():
    """A layer over whole sequences by Flax: (weights, arguments, what values and gradients they give)."""
    weights = normal(1, 7, 3, 10)
    arguments = normal(0, 7, 3, 4), normal(2, 2, 4, 20), normal(3, 2, 5, 20), normal(4, 2, 20)
    module = nn.Bidirectional(nn.RNN(nn.OptimizedLSTMCell(5)), nn.RNN(nn.OptimizedLSTMCell(5)), time_major=True)

    def oracle(x, kernel, recurrent, bias):
        directions = [{'cell': flax_cell(kernel[d], recurrent[d], bias[d])} for d in range(2)]
        return module.apply({'params': dict(zip(('forward_rnn', 'backward_rnn'), directions, strict=True))}, x)

    return weights, arguments, with_gradients(oracle, weights, *arguments)


@pytest.mark.parametrize('hoist', [False, True])
def test_bilstm_scan_is_flax_bidirectional(bidirectional, hoist):
    weights, arguments, expected = bidirectional

    def ours(x, kernel, recurrent, bias):
        return in_sequence_order(kernels.bilstm_scan(x, kernel, recurrent, bias, None, hoist))

    assert_close(with_gradients(ours, weights, *arguments), expected)


@pytest.fixture(scope='module')
def ragged_stack():
    """Two layers over sequences of different lengths by Flax, each direction a stack that reads only its own."""
    steps, size = max(RAGGED), 5
    inside = (np.arange(steps)[:, None] < np.array(RAGGED)).astype(np.float32)
    x = normal(0, steps, len(RAGGED), 4)
    x = np.where(inside[..., None] > 0, x, 100 * x)  # garbage in the padding
    layers = [
        (normal(3 + k, 2, channels, 20) / 2, normal(5 + k, 2, size, 20) / 2, normal(7 + k, 2, 20))
        for k, channels in enumerate((4, size))
    ]
    weights = (normal(1, steps, len(RAGGED), size), normal(2, steps, len(RAGGED), size))

    def oracle(x, layers):
        outputs = []
        for d in (0, 1):
            module, y = nn.RNN(nn.OptimizedLSTMCell(size), time_major=True, reverse=bool(d), keep_order=True), x
            for kernel, recurrent, bias in layers:
                cell = {'cell': flax_cell(kernel[d], recurrent[d], bias[d])}
                y = module.apply({'params': cell}, y, seq_lengths=jnp.asarray(RAGGED))
            outputs.append(y * inside[..., None])  # Flax goes on behind the ends
        return tuple(outputs)

    return weights, (x, layers), jnp.asarray(inside), with_gradients(oracle, weights, x, layers)


@pytest.mark.parametrize('hoist', [False, True])
def test_stack_over_ragged_sequences(ragged_stack, hoist):
    weights, arguments, mask, expected = ragged_stack

    def ours(x, layers):
        read = x
        for layer in layers:
            read = kernels.bilstm_scan(read, *layer, mask, hoist)
        return read[0], read[1][::-1]

    found = with_gradients(ours, weights, *arguments)
    assert_close(found, expected)
    outside = np.asarray(mask) == 0
    for array in (*found[0], found[1][0]):  # outputs, and the gradient by the input
        assert not np.asarray(array)[outside].any()


@pytest.mark.parametrize('own', [False, True], ids=['one input', 'two inputs'])
@pytest.mark.parametrize('hoist', [False, True])
def test_bilstm_scan_rectifies(hoist, own):
    """With `rectify` it is the scan of relu(x), gradients too, and where x is 0 as well."""
    arguments = (
        np.maximum(normal(0, 7, 3, 4), np.float32(-0.5)),
        normal(2, 2, 4, 20),
        normal(3, 2, 5, 20),
        normal(4, 2, 20),
    )
    arguments[0][::2, 0] = 0
    mask = jnp.asarray((np.arange(7)[:, None] < np.array([7, 4, 1])).astype(np.float32))

    def scan(rectify, x, *layer):
        x = (x, 2 * x[::-1]) if own else x
        read = x if rectify else jax.tree.map(jax.nn.relu, x)
        return in_sequence_order(kernels.bilstm_scan(read, *layer, mask, hoist, rectify))

    found, expected = (
        with_gradients(functools.partial(scan, rectify), normal(1, 7, 3, 10), *arguments) for rectify in (True, False)
    )
    assert_close(found, expected)


def test_gradient_by_the_inputs_alone_of_a_ragged_stack(ragged_stack, monkeypatch):
    """The loops for few sequences whose weights are fixed, against Flax; alone and over two models."""
    weights, (x, layers), mask, ((forward, backward), (expected, _)) = ragged_stack
    monkeypatch.setattr(kernels, '_bilstm_forward', None)  # it must not be called

    def ours(x, layers):
        read = x
        for layer in layers:
            read = kernels.bilstm_scan(read, *layer, mask)
        return read[0], read[1][::-1]

    found = with_gradients(functools.partial(ours, layers=layers), weights, x)
    assert_close(found, ((forward, backward), (expected,)))
    twice = jax.tree.map(lambda a: np.stack([0.5 * a, a]), layers)
    over = jax.vmap(lambda layers: with_gradients(functools.partial(ours, layers=layers), weights, x))(twice)
    assert_close(jax.tree.map(lambda a: a[1], over), found)


@pytest.mark.parametrize('own', [False, True], ids=['one input', 'two inputs'])
@pytest.mark.parametrize('direction', [0, 1])
def test_gradient_by_the_inputs_alone_is_that_of_many_sequences(own, direction, monkeypatch):
    """Of one direction's output, of relu(x), in double precision; more sequences take the gradient by everything."""
    with jax.enable_x64(True):
        shapes = ((6, 3, 4), (2, 4, 20), (2, 5, 20), (2, 20))
        x, *layer = (np.float64(normal(seed, *shape)) for seed, shape in enumerate(shapes))
        mask = jnp.asarray((np.arange(6)[:, None] < np.array([6, 4, 1])).astype(np.float64))

        def score(x):
            read = (x, 2 * x[::-1]) if own else x
            hidden = kernels.bilstm_scan(read, *layer, mask, False, True)[direction]
            return (hidden * normal(7, 6, 3, 5)).sum()

        found = jax.jit(jax.value_and_grad(score))(x)
        monkeypatch.setattr(kernels, '_FEW_ROWS', 0)
        assert_close(found, jax.jit(jax.value_and_grad(lambda x: score(x)))(x), 1e-12)


@pytest.mark.parametrize(('hoist', 'order'), [(False, 2), (True, 1)])
def test_bilstm_scan_gradients_are_finite_differences(hoist, order):
    """In double precision, of the outputs (and of their gradient); the two directions read different inputs."""
    shapes = {'forward': (4, 2, 3), 'backward': (4, 2, 3), 'kernel': (2, 3, 8), 'recurrent': (2, 2, 8), 'bias': (2, 8)}
    ends = np.cumsum([np.prod(shape) for shape in shapes.values()])
    with jax.enable_x64(True):
        mask = jnp.asarray((np.arange(4)[:, None] < np.array([4, 2])).astype(np.float64))

        def squares(flat):
            parts = jnp.split(flat, ends[:-1])
            forward, backward, *layer = (part.reshape(s) for part, s in zip(parts, shapes.values(), strict=True))
            outputs = [kernels.bilstm_scan(x, *layer, mask, hoist) for x in ((forward, backward), forward)]
            return (jnp.stack(jax.tree.leaves(outputs)) ** 2).sum()

        point = jnp.asarray(np.random.default_rng(0).normal(size=ends[-1]))
        for function in (squares, jax.grad(squares))[:order]:
            value = jax.jit(function)
            pull = jax.jit(lambda p, g, f=function: jax.vjp(f, p)[1](g))
            check_vjp(value, lambda p, v=value, b=pull: (v(p), lambda g: b(p, g)), (point,), atol=1e-6, rtol=1e-6)


def test_bilstm_scan_over_models_is_each_model(bidirectional):
    weights, arguments, expected = bidirectional
    other = jax.tree.map(lambda a: 0.3 * a[::-1], arguments)

    def ours(x, kernel, recurrent, bias):
        return in_sequence_order(kernels.bilstm_scan(x, kernel, recurrent, bias, None))

    over = jax.vmap(lambda *args: with_gradients(ours, weights, *args))
    for place, pair in enumerate([(arguments, other), (other, arguments)]):
        found = over(*jax.tree.map(lambda *parts: np.stack(parts), *pair))
        assert_close(jax.tree.map(lambda a: a[place], found), expected)  # noqa: B023


# Dropout


@pytest.mark.parametrize(
    ('rate', 'bits', 'exact'),
    [(0.5, 1, 0.5), (0.25, 2, 0.25), (0.2, 4, 3 / 16), (0.3, 8, 77 / 256), (1 / 256, 8, 1 / 256), (0.9, 8, 230 / 256)],
)
def test_dropout_rate_and_scale(rate, bits, exact):
    x = normal(0, 1023, 513) + 10  # nowhere near zero; the size is no multiple of a word
    found = np.asarray(dropout(x, rate, jax.random.key(1), bits))
    assert found.shape == x.shape
    assert found.dtype == np.float32
    zero = found == 0
    deviation = np.sqrt(exact * (1 - exact) / x.size)
    assert abs(zero.mean() - exact) < 4 * deviation
    np.testing.assert_allclose(found[~zero], np.asarray(x)[~zero] / (1 - exact), rtol=1e-6)
    # Unbiased: the noise of the mean is that of zeros, scaled.
    assert abs((found / np.asarray(x)).mean() - 1) < 4 * deviation / (1 - exact)


@pytest.mark.parametrize('reverse', [False, True])
def test_running_maximum(reverse):
    x = np.array(normal(3, 7, 2, 3))
    turned = x[::-1] if reverse else x
    expected = np.maximum.accumulate(turned, axis=0)
    found = kernels.running_maximum(x, reverse=reverse)
    np.testing.assert_array_equal(found, expected[::-1] if reverse else expected)


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_dropout_rate_zero_changes_nothing(bits):
    x = normal(0, 7, 5)
    np.testing.assert_array_equal(dropout(x, 0.0, jax.random.key(0), bits), x)


@pytest.mark.parametrize(('bits', 'rate'), [(1, 1 / 2), (2, 1 / 4), (4, 3 / 16), (8, 77 / 256)])
def test_dropout_units_are_independent(bits, rate):
    """Neighbouring units share random words; their masks are uncorrelated at every distance within two words."""
    size = 200_000
    zero = np.asarray(dropout(jnp.ones(size), rate, jax.random.key(2), bits)) == 0
    standard = (zero - rate) / np.sqrt(rate * (1 - rate))
    for distance in range(1, 65):
        assert abs((standard[distance:] * standard[:-distance]).mean()) < 5 / np.sqrt(size)


def test_dropout_bytes_are_uniform():
    """The masks of rising rates are nested, and each step of 1/256 adds as many units as a fair byte would."""
    zeros = jax.jit(jax.vmap(lambda k: dropout(jnp.ones(100_000), k / 256, jax.random.key(3), 8) == 0))
    masks = np.asarray(zeros(jnp.arange(0.0, 256, 15)))
    assert not masks[0].any()
    assert (masks[1:] >= masks[:-1]).all()
    counts = masks[1:].sum(axis=1) - masks[:-1].sum(axis=1)
    expected = 100_000 * 15 / 256
    assert (((counts - expected) / np.sqrt(expected)) ** 2).sum() < 41  # chi squared of 17 cells, p = 0.001


@pytest.mark.parametrize(('bits', 'rate'), [(1, 0.5), (8, 0.4)])
def test_dropout_under_vmap_draws_what_it_draws_alone(bits, rate):
    x, keys = jnp.ones((4, 5, 7)), jax.random.split(jax.random.key(4), 4)
    over = jax.jit(jax.vmap(lambda x, key: kernels.dropout(x, rate, key, bits)))(x, keys)
    alone = [dropout(x[m], rate, keys[m], bits) for m in range(4)]
    np.testing.assert_array_equal(over, jnp.stack(alone))
    assert len({np.asarray(mask).tobytes() for mask in alone}) == 4


def test_dropout_gradient_is_its_mask():
    x, key = normal(0, 50), jax.random.key(5)
    gradient = jax.jit(jax.grad(lambda x: kernels.dropout(x, 0.5, key, 1).sum()))(x)
    np.testing.assert_array_equal(gradient, dropout(jnp.ones(50), 0.5, key, 1))


@pytest.mark.parametrize('bits', [0, 3, 16, 32])
def test_dropout_refuses_other_bits(bits):
    with pytest.raises(ValueError, match=f'bits is {bits}, expected 1, 2, 4 or 8'):
        kernels.dropout(jnp.ones(3), 0.5, jax.random.key(0), bits)
