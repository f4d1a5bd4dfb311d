"""DeepLIFT of any function: an oracle in NumPy, sums of contributions, secants by hand, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import demo_jax
from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.explain.attribution import attribute, attribute_models
from demo_jax.explain.deeplift import deeplift
from demo_jax.explain.deeplift_program import NoRule, program_of
from demo_jax.explain.references import shuffles
from demo_jax.nn.models import SPECS, ModelSpec
from tests import helpers_models
from tests.helpers_models import CNN, CNN_RNN, ONE_OF_EACH, fresh, random_params, sequences, stack
from tests.test_oracles import convolved, letters_of, recurrent, sigmoid

few_filters = pytest.fixture(scope='module', autouse=True)(helpers_models.few_filters)

STRANDS = ModelSpec('strands', conv=((5, 4),), padding='full', summary='max_mean', both_strands=True)
LENGTH = 26


def pair_multipliers(function, x, reference):
    """Multipliers of x for a function, whose entries count 1, 2, ...; and these times f(x) and f(reference)."""

    @jax.jit
    def run(x, reference):
        program = program_of(function, x)
        at_x = program.forward([x])
        at_r = program.forward([reference], at_x, at_x=False)
        (output,) = program.outputs
        weights = jnp.arange(1.0, at_x[output].size + 1).reshape(at_x[output].shape)
        multipliers = {output: weights}
        program.backward(at_x, at_r, multipliers)
        return multipliers.get(program.inputs[0], jnp.zeros_like(x)), weights * at_x[output], weights * at_r[output]

    return run(x, reference)


# The oracle: one sequence and one reference, in NumPy, by the definition of each rule.


def secant(f, x, r, slope):
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.where(x == r, slope, (f(x) - f(r)) / (x - r))


def through_convolution(m, kernel, padding, length):
    before = {'valid': 0, 'same': (len(kernel) - 1) // 2, 'full': len(kernel) - 1}[padding]
    wide = np.zeros((length + 2 * len(kernel), kernel.shape[1]))
    for at in range(len(m)):
        for k in range(len(kernel)):
            wide[at + k - before + len(kernel)] += kernel[k] @ m[at]
    return wide[len(kernel) : len(kernel) + length]


def through_maximum(m, x, r):
    """m of max(x, axis=0), back to m of x."""
    largest, reference = x.max(0), r.max(0)
    found = np.zeros_like(x)
    for c in range(x.shape[1]):
        won = np.flatnonzero((x if largest[c] >= reference[c] else r)[:, c] == max(largest[c], reference[c]))
        for at in won:
            step = x[at, c] - r[at, c]
            found[at, c] = m[c] / len(won) * (1.0 if step == 0 else (largest[c] - reference[c]) / step)
    return found


def lstm_states(x, kernel, matrix, bias):
    h = c = np.zeros(len(matrix))
    kept = []
    for row in x:
        z = row @ kernel + h @ matrix + bias
        i, f, o, g = np.split(z, 4)
        before, c = c, sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        kept.append((i, f, o, g, before, c))
    return kept


def through_lstm(m, x, r, kernel, matrix, bias):
    """m (L, H) of the hidden states, back to m of x (L, C)."""
    found = np.zeros_like(x)
    dh, dc = np.zeros((2, len(matrix)))
    tanh_slope, slope = (lambda z: 1 - np.tanh(z) ** 2), (lambda z: sigmoid(z) * (1 - sigmoid(z)))
    states = [lstm_states(way, kernel, matrix, bias) for way in (x, r)]
    for t in reversed(range(len(x))):
        (i, f, o, g, b, c), (i0, f0, o0, g0, b0, c0) = states[0][t], states[1][t]
        middle = lambda a, b, of: (of(a) + of(b)) / 2  # noqa: E731
        dh = dh + m[t]
        d_o = dh * middle(c, c0, np.tanh) * secant(sigmoid, o, o0, slope(o))
        dc = dc + dh * middle(o, o0, sigmoid) * secant(np.tanh, c, c0, tanh_slope(c))
        d_i = dc * middle(g, g0, np.tanh) * secant(sigmoid, i, i0, slope(i))
        d_g = dc * middle(i, i0, sigmoid) * secant(np.tanh, g, g0, tanh_slope(g))
        d_f = dc * (b + b0) / 2 * secant(sigmoid, f, f0, slope(f))
        dz = np.concatenate([d_i, d_f, d_o, d_g])
        found[t], dh, dc = kernel @ dz, matrix @ dz, dc * middle(f, f0, sigmoid)
    return found


def oracle(params, spec, x, r):
    """Multipliers (L, 4) of a sequence and its score, and that of the reference."""
    relu = functools.partial(np.maximum, 0)
    signals, layers = (x, r), []
    for index in range(len(spec.conv)):
        layer = params[f'conv{index}']
        before = tuple(linear_convolution(s, layer, spec.padding) for s in signals)
        layers.append((layer['kernel'], len(signals[0]), before))
        signals = tuple(map(relu, before))
        if index < len(spec.conv) - 1 and spec.pool > 1:
            layers.append((signals, None, None))
            signals = tuple(blocks(s, spec.pool).max(1) for s in signals)
    dense = params['dense']['kernel'][:, 1] - params['dense']['kernel'][:, 0]
    if spec.lstm_layers:
        m = np.zeros_like(signals[0])
        layer, size = params['lstm0'], len(dense) // 2
        for d, way in enumerate((1, -1)):
            given = [s[::way] for s in signals]
            weights = [layer[name][d] for name in ('kernel', 'recurrent', 'bias')]
            assert np.isfinite(recurrent(given[0], *weights)).all()
            even = np.tile(dense[d * size : (d + 1) * size] / len(given[0]), (len(given[0]), 1))
            m = m + through_lstm(even, *given, *weights)[::way]
    else:
        filters = signals[0].shape[1]
        m = through_maximum(dense[:filters], *signals)
        if spec.summary == 'max_mean':
            m = m + dense[None, filters:] / len(m)
    for first, length, before in reversed(layers):
        if length is None:
            size, whole = spec.pool, np.zeros_like(first[0])
            for at in range(len(m)):
                block = slice(at * size, (at + 1) * size)
                whole[block] = through_maximum(m[at], first[0][block], first[1][block])
            m = whole
        else:
            m = m * secant(relu, *before, before[0] > 0)
            m = through_convolution(m, first, spec.padding, length)
    return m


def linear_convolution(x, layer, padding):
    """Without ReLU: what is above 0, and what would be above 0 with the other sign."""
    kernel, bias = layer['kernel'], layer['bias']
    return convolved(x, kernel, bias, padding) - convolved(x, -kernel, -bias, padding)


def blocks(x, size):
    return x[: len(x) // size * size].reshape(-1, size, x.shape[1])


def stranded_oracle(params, spec, x, r):
    """Both strands: the change goes to the strand with the larger of the better scores at x and at r."""
    ways = [(x, r), (x[::-1, ::-1], r[::-1, ::-1])]
    m = [oracle(params, spec, *way) for way in ways]
    change = [(part * (a - b)).sum() for part, (a, b) in zip(m, ways, strict=True)]
    return m, change


@pytest.mark.parametrize('spec', [CNN, CNN_RNN, STRANDS], ids=lambda spec: spec.name)
def test_multipliers_are_those_of_the_oracle(spec):
    tokens = sequences(3, length=LENGTH)
    given = shuffles(tokens, None, 4, 1)
    tokens[1, 4] = dna.N
    with jax.enable_x64(True):
        params = random_params(spec, dtype=np.float64)
        found = attribute('deeplift', params, spec, tokens, references=given)
        score = jax.jit(spec)
        for n, row in enumerate(tokens):
            x = letters_of(row)
            expected = np.zeros((LENGTH, 4))
            for other in given[n]:
                r = letters_of(other) * x.sum(-1, keepdims=True)
                if spec.both_strands:
                    m, change = stranded_oracle(params, spec, x, r)
                    at_x, at_r = (np.asarray(score(params, w[None]))[0] for w in (x, r))
                    scores = np.array([strand_score(params, spec, w) for w in (x, x[::-1, ::-1])])
                    won = int(np.argmax(scores if at_x >= at_r else scores - change))
                    m = m[won] * (at_x - at_r) / change[won]
                    m = m[::-1, ::-1] if won else m
                else:
                    m = oracle(params, spec, x, r)
                expected += (m - (m * r).sum(-1, keepdims=True)) / 4
            np.testing.assert_allclose(found.hypothetical[n], expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    assert found.signed[1, 4] == 0
    assert found.completeness_error.shape == (3, 4) and found.completeness_error.max() < 1e-12


def strand_score(params, spec, x):
    from tests.test_oracles import _strand_score

    return _strand_score(params, spec, x)


@pytest.mark.parametrize('name', ONE_OF_EACH)
def test_contributions_sum_to_the_change(name):
    tokens = sequences(2, 3, length=64)
    lengths = np.array([64, 61])
    tokens[1, 61:] = dna.N
    tokens[0, 3] = dna.N
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), fresh(name))
        given = shuffles(tokens, lengths, 2, 0)
        x = letters_of(tokens)
        references = letters_of(given) * x.sum(-1, keepdims=True)[:, None]
        found = jax.device_get(jax.jit(deeplift(SPECS[name]))(params, x, references, lengths))
        score = jax.jit(SPECS[name])
        for n, length in enumerate(lengths):
            rows = np.concatenate([x[n : n + 1], references[n]])
            usual, *others = np.asarray(score(params, rows, np.full(3, length)))
            assert found.score[n] == pytest.approx(usual, abs=1e-12)
            np.testing.assert_allclose(found.reference_score[n], others, atol=1e-12)
            assert found.contributions[n].sum() == pytest.approx(usual - np.mean(others), abs=1e-9)
        assert np.abs(found.error).max() < 1e-12 < 1e-3 < np.abs(found.score[:, None] - found.reference_score).max()
    assert not np.asarray(found.contributions)[1, 61:].any()


@pytest.mark.parametrize('spec', [CNN_RNN, STRANDS], ids=lambda spec: spec.name)
def test_a_sequence_alone_and_in_a_batch(spec):
    tokens = sequences(3, length=LENGTH)
    lengths = np.array([LENGTH, 14, LENGTH])
    params = random_params(spec)
    both = attribute('deeplift', params, spec, tokens, lengths=lengths, both_strands=True, n_references=6)
    alone = attribute('deeplift', params, spec, tokens[1:2, :14], both_strands=True, n_references=6)
    size = np.abs(alone.hypothetical).max()
    np.testing.assert_allclose(both.hypothetical[1, :14], alone.hypothetical[0], atol=1e-5 * size)
    assert not both.hypothetical[1, 14:].any()
    assert both.completeness_error.shape == (3, 6)
    assert both.completeness_error.max() < 1e-5 * np.abs(both.score).max()
    given, other = (
        attribute('deeplift', params, spec, rows, lengths=lengths, references=shuffles_turned(tokens, lengths, turned))
        for rows, turned in ((tokens, False), (turn(tokens, lengths), True))
    )
    expected = (given.signed[0] + other.signed[0][::-1]) / 2
    np.testing.assert_allclose(both.signed[0], expected, atol=1e-5 * np.abs(expected).max())


def turn(tokens, lengths):
    found = np.full_like(tokens, dna.N)
    for row, letters, length in zip(found, tokens, lengths, strict=True):
        row[:length] = dna.reverse_complement(letters[:length])
    return found


def shuffles_turned(tokens, lengths, turned):
    padded = np.where(np.arange(tokens.shape[1]) < lengths[:, None], tokens, np.uint8(dna.N))
    given = shuffles(padded, lengths, 6, 0)
    if not turned:
        return given
    return np.stack([turn(given[:, k], lengths) for k in range(6)], axis=1)


def test_models_are_explained_as_if_alone():
    params = [random_params(CNN, seed) for seed in range(3)]
    tokens = sequences(2)
    found = attribute_models('deeplift', stack(*params), CNN, tokens, width=2, n_references=3)
    for index in range(3):
        alone = attribute('deeplift', params[index], CNN, tokens, n_references=3)
        np.testing.assert_allclose(found.model(index).hypothetical, alone.hypothetical, atol=2e-6)


def test_shuffles_are_a_sequences_own():
    tokens = sequences(4, length=40)
    found = shuffles(tokens, None, 3, 0)
    np.testing.assert_array_equal(shuffles(tokens[::-1], None, 3, 0)[::-1], found)
    np.testing.assert_array_equal(shuffles(np.stack([tokens, tokens]), None, 3, 0), np.stack([found, found]))
    assert len(np.unique(np.concatenate([found[0], shuffles(tokens, None, 3, 1)[0]]), axis=0)) == 6
    for row, own in zip(tokens, found, strict=True):
        for other in own:
            np.testing.assert_array_equal(dna.dinucleotide_counts(other[None]), dna.dinucleotide_counts(row[None]))


@pytest.mark.parametrize('kind', ['uniform', 'zeros', 'gc'])
def test_other_references(kind):
    tokens = np.array([[1, 2, 1, 0, 3, 2, 4, 1]], np.uint8)
    weights = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)

    def score(params, x):
        return (x * params[None]).sum((1, 2))

    found = attribute('deeplift', weights, score, tokens, references=kind)
    gc = 5 / 7
    each = {'uniform': [0.25] * 4, 'zeros': [0.0] * 4, 'gc': np.array([1 - gc, gc, gc, 1 - gc]) / 2}[kind]
    x = letters_of(tokens[0])
    expected = (weights * (x - np.asarray(each) * x.sum(-1, keepdims=True))).sum(-1)
    np.testing.assert_allclose(found.signed[0], expected, atol=1e-6)


# Single rules.

X, R = np.array([0.7, -0.4, 1.3, 2.0, 0.25, 0.25]), np.array([0.2, 0.9, 1.3, -1.0, 0.25, 0.45])


@jax.custom_jvp
def straight_through(x):
    return jnp.where(x > 0.5, 1.0, 0.0)


straight_through.defjvp(lambda primals, tangents: (straight_through(*primals), tangents[0]))


@jax.custom_vjp
def wrong_gradient(x):
    return jnp.sin(x)


wrong_gradient.defvjp(lambda x: (jnp.sin(x), None), lambda _, m: (100 * m,))


def softmax_attention(x):
    q = jnp.stack([x, jnp.sin(x)])
    return jax.nn.softmax(q @ q.T) @ q


FUNCTIONS = {
    'polynomial': lambda x: x**3 - 2 * x**2 + x**-1,
    'power': lambda x: jnp.abs(x) ** 2.5 + 2.0**x,
    'roots': lambda x: jnp.sqrt(x * x + 1) + jax.lax.rsqrt(x * x + 2) + jnp.cbrt(x),
    'exponentials': lambda x: jnp.exp(x) + jnp.exp2(x) + jnp.expm1(x) + jnp.log(x * x + 1) + jnp.log1p(jnp.exp(x)),
    'trigonometric': lambda x: jnp.sin(x) + jnp.cos(x) + jnp.tanh(x) + jnp.arctan2(x, x[::-1] + 3),
    'activations': lambda x: jax.nn.gelu(x) + jax.nn.silu(x) + jax.nn.softplus(x) + jax.nn.elu(x) + jax.nn.relu(x),
    'kinks': lambda x: jnp.clip(x, 0, 1) + jax.nn.leaky_relu(x) + jnp.sign(x) + jnp.round(x) + jnp.minimum(x, 0.3),
    'products': lambda x: jnp.outer(x, x[::-1]) @ x + jnp.dot(x, x) * x,
    'quotients': lambda x: x / (2 + jnp.cos(x)) + 1 / (x * x + 1),
    'normalised': lambda x: (x - x.mean()) / jnp.sqrt(x.var() + 1e-3),
    'attention': softmax_attention,
    'maxima': lambda x: x.max() + x.reshape(3, 2).min(0).sum() + jnp.maximum(x, x[::-1]) + jnp.fmax(x, 0.1),
    'logsumexp': lambda x: jax.nn.logsumexp(x) + jnp.logaddexp(x, x[::-1]),
    'larger': lambda x: jnp.where(x.sum() > (x**2).sum(), x, x**2) + jnp.where(x > x[::-1], x, x[::-1]),
    'chosen': lambda x: jnp.where((x > 0.5) & (x[::-1] < 1) | ~(x > 2), x * 2, -x) + (x >= 0.3).astype(x.dtype),
    'moved': lambda x: jnp.concatenate([x[::2], jnp.pad(x, (1, 2))[jnp.array([0, 3, 3, 7])], jnp.roll(x, 1)]),
    'summed': lambda x: jnp.cumsum(x) * x + jnp.zeros(9).at[jnp.array([1, 1, 4])].add(x[:3] * x[0])[:6],
    'updated': lambda x: jax.lax.dynamic_update_slice(x * x, x[:2], (3,)) + jax.lax.dynamic_slice(x, (1,), (1,)),
    'pooled': lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (3,), (2,), [(1, 1)]) ** 2,
    'averaged': lambda x: jax.lax.reduce_window(jnp.tanh(x), 0.0, jax.lax.add, (3,), (1,), 'SAME'),
    'running': lambda x: jax.lax.cummax(x, reverse=True) * x + jax.lax.cummin(jnp.stack([x, x**2]), axis=1).sum(0),
    'sorted': lambda x: (
        jnp.sort(x) * jnp.arange(6) ** 2 + jnp.median(x**2) + jnp.sort(x.reshape(3, 2), 0).ravel()[::-1]
    ),
    'any and all': lambda x: (
        (x > 0.5).any() * x + (x > -3).all() * x[0] + (x.reshape(3, 2) > 0).all(1).astype(x.dtype).sum()
    ),
    'place': lambda x: jnp.argmax(x) * x + jnp.argmin(x.reshape(2, 3), 1).astype(x.dtype).sum(),
    'one of the places': lambda x: (
        x**2 @ jax.nn.one_hot(jnp.argmax(x.reshape(3, 2), 1), 2, dtype=x.dtype).reshape(6, 1)
    ),
    'correlated': lambda x: jnp.convolve(jnp.tanh(x), x[:3]),
    'jit': lambda x: jax.jit(lambda y: jnp.tanh(y) * y)(x),
    'remat': lambda x: jax.checkpoint(lambda y: jnp.sin(y) * y)(x),
    'straight through': straight_through,
    'custom_vjp': wrong_gradient,
    'stop_gradient': lambda x: jax.lax.stop_gradient(x) * x,
    'scan': lambda x: jax.lax.scan(lambda c, y: (jnp.tanh(c * y + x[0]), c * c), 0.3 * x[1], x)[1],
    'scan backwards': lambda x: jax.lax.scan(lambda c, y: (c + jnp.sin(y * c),) * 2, 0.3, x, reverse=True)[0],
    'fori': lambda x: jax.lax.fori_loop(0, 4, lambda i, c: jnp.tanh(c) * x[i], x),
    'while': lambda x: jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * x + c[0]), (0, x))[1],
    'nested': lambda x: jax.lax.scan(
        lambda c, y: (jax.lax.fori_loop(0, 2, lambda i, d: jnp.sin(d + y) * d, c), c.sum()), x, x
    )[1],
    'cond': lambda x: jax.lax.cond(jnp.arange(3).sum() > 2, lambda y: y * y, jnp.sin, x),
    'index': lambda x: jax.lax.fori_loop(0, 2, lambda i, c: jax.lax.switch(i, [jnp.tanh, jnp.square], c) * x, x),
}


@pytest.fixture(scope='module')
def single():
    with jax.enable_x64(True):
        run = jax.jit(lambda x, r: {name: pair_multipliers(f, x, r) for name, f in FUNCTIONS.items()})
        yield jax.tree.map(np.asarray, run(X, R))


@pytest.mark.parametrize('name', FUNCTIONS)
def test_multipliers_sum_to_the_change(single, name):
    m, y, reference = single[name]
    change = (y - reference).sum()
    assert (m * (X - R)).sum() == pytest.approx(change, abs=1e-11)
    assert abs(change) > 1e-2


def test_secants(single):
    def slope(f):
        step = np.where(X == R, 1e-7, X - R)
        return (f(np.where(X == R, R + 1e-7, X)) - f(R)) / step

    weights = np.arange(1, 7)
    np.testing.assert_allclose(single['polynomial'][0], weights * slope(lambda x: x**3 - 2 * x**2 + 1 / x), rtol=1e-6)
    gelu = lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))  # noqa: E731
    expected = slope(gelu) + slope(lambda x: x * sigmoid(x)) + slope(lambda x: np.log1p(np.exp(x)))
    expected += slope(lambda x: np.where(x > 0, x, np.expm1(x))) + slope(lambda x: np.maximum(x, 0))
    np.testing.assert_allclose(single['activations'][0], weights * expected, rtol=1e-6)
    np.testing.assert_allclose(single['custom_vjp'][0], weights * slope(np.sin), rtol=1e-6)
    # A step between two numbers is a secant, too; what its author says of its gradient is not asked.
    np.testing.assert_allclose(single['straight through'][0], weights * [2.0, 1 / 1.3, 0, 1 / 3, 0, 0])
    np.testing.assert_allclose(single['stop_gradient'][0], weights * (X + R))


def test_near_numbers_have_the_slope_between_them():
    step = np.array([0.0, 1e-12, 1e-7, 1e-4])
    middle = 0.3 + step / 2
    slopes = {
        jnp.tanh: 1 - np.tanh(middle) ** 2,
        jnp.exp: np.exp(middle),
        jnp.log: 1 / middle,
        jnp.sqrt: 0.5 / np.sqrt(middle),
        jax.lax.erf: 2 / np.sqrt(np.pi) * np.exp(-(middle**2)),
    }
    with jax.enable_x64(True):
        found = jax.jit(lambda x, r: [pair_multipliers(function, x, r)[0] for function in slopes])(
            0.3 + step, 0.3 + 0 * step
        )
        for m, slope in zip(found, slopes.values(), strict=True):
            np.testing.assert_allclose(m / np.arange(1, 5), slope, rtol=2e-8)


@pytest.fixture(scope='module')
def maxima():
    """Multipliers of x and r for the maximum of three numbers, and of the first two, in several words."""
    of_three = [
        jnp.max,
        lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (3,), (1,), 'VALID')[0],
        lambda x: jnp.min(-x),
    ]
    of_two = [lambda x: jnp.where(x[0] > x[1], x[0], x[1]), lambda x: jnp.maximum(x[0], x[1])]
    return jax.jit(lambda x, r: [[pair_multipliers(f, x, r)[0] for f in of] for of in (of_three, of_two)])


@pytest.mark.parametrize(
    'x, r, expected',
    [
        ([3.0, 1.0, 2.0], [0.0, 1.5, 0.0], [0.5, 0, 0]),  # 3 - 1.5 over 3 - 0
        ([1.0, 0.0, 0.0], [0.0, 2.0, 0.5], [0, 0.5, 0]),  # 1 - 2 over 0 - 2
        ([2.0, 2.0, 0.0], [0.0, 1.0, 1.0], [0.25, 0.5, 0]),  # equal maxima share
        ([2.0, 2.0, 0.0], [2.0, 2.0, 1.0], [0.5, 0.5, 0]),  # nothing changes: the gradient
    ],
)
def test_the_rule_of_the_maximum(maxima, x, r, expected):
    with jax.enable_x64(True):
        (whole, window, negative), (chosen, larger) = maxima(np.array(x), np.array(r))
    np.testing.assert_allclose(whole, expected)
    np.testing.assert_allclose(window, expected)
    np.testing.assert_allclose(-negative, expected)
    np.testing.assert_allclose(chosen, larger)


def test_places_and_orders():
    """By hand: what moved the place of the maximum, a running maximum, and the middle one of three."""
    with jax.enable_x64(True):
        x, r = np.array([3.0, 1.0, 2.0]), np.array([0.0, 1.5, 0.5])
        # The place goes from 1 to 0; number 0 is ahead of number 1 by 2, after -1.5.
        place = lambda x: jnp.argmax(x).astype(x.dtype)[None]  # noqa: E731
        np.testing.assert_allclose(pair_multipliers(place, x, r)[0], [-1 / 3.5, 1 / 3.5, 0])
        # Weights 1, 2, 3: first place 3 / 3; both others go from 1.5 to 3, over 3 - 0.
        np.testing.assert_allclose(pair_multipliers(jax.lax.cummax, x, r)[0], [1 + (2 + 3) * 0.5, 0, 0])
        m, y, reference = pair_multipliers(jnp.sort, x, r)
        assert (m * (x - r)).sum() == pytest.approx(float((y - reference).sum()), abs=1e-12)
        same = pair_multipliers(jnp.sort, np.array([1.0, 3.0, 2.0]), np.array([0.0, 2.5, 1.0]))[0]
        np.testing.assert_allclose(same, [1, 3, 2])  # the order stays: the weights of the ranks


@pytest.mark.parametrize(
    'score', [lambda p, x: jnp.sort(jnp.cumsum(x @ p, axis=1), axis=1)[:, -3:].sum(1)], ids=['largest three']
)
def test_the_largest_responses_as_a_score(score):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, others = letters_of(sequences(2)), letters_of(sequences(6)).reshape(2, 3, -1, 4)
        found = jax.jit(deeplift(score))(rng.normal(size=4), x, others)
    assert np.abs(found.error).max() < 1e-12 < 0.1 < np.abs(found.score[:, None] - found.reference_score).max()


def test_a_flax_lstm():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.rnn = nnx.RNN(nnx.OptimizedLSTMCell(4, 5, rngs=rngs, param_dtype=jnp.float64))
            self.dense = nnx.Linear(5, 1, rngs=rngs)

        def __call__(self, x):
            return self.dense(self.rnn(x).max(axis=1))

    tokens = sequences(2, length=20)
    with jax.enable_x64(True):
        architecture = demo_jax.from_nnx(lambda rngs: Model(rngs))
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), jax.jit(architecture.init)(jax.random.key(0)))
        found = attribute('deeplift', params, architecture, tokens, n_references=3)
        given = shuffles(tokens, None, 3, 0)
        others = np.asarray(jax.jit(architecture)(params, letters_of(given).reshape(-1, 20, 4))).reshape(2, 3)
    np.testing.assert_allclose(found.signed.sum(1), found.score - others.mean(1), atol=1e-9)
    assert found.completeness_error.max() < 1e-9 < np.abs(found.score - others.mean(1)).min()


# What is refused.


def sorts(params, x):
    return jnp.argsort(x.sum(2), axis=1)[:, 0].astype(x.dtype)


def branches(params, x):
    y = x.sum((1, 2))
    return jax.lax.cond(y[0] > 0, lambda z: z, lambda z: -z, y)


def reads(params, x):
    return jnp.take_along_axis(x[..., 0], jnp.argmax(x[..., 1], axis=1)[:, None], axis=1)[:, 0]


def waits(params, x):
    return jax.lax.while_loop(lambda y: (y < 9).all(), lambda y: y + 1, x.sum((1, 2)))


def prints(params, x):
    jax.debug.print('{}', x.sum())
    return x.sum((1, 2))


def drops(params, x):
    return (x * jax.random.bernoulli(jax.random.key(0), 0.5, x.shape)).sum((1, 2))


@pytest.mark.parametrize(
    'score, message',
    [
        (sorts, r'no rule for sort.* \(.*test_deeplift.py:\d+ in sorts\)'),
        (branches, r'no rule for cond whose predicate depends on the letters \(.*test_deeplift.py:\d+ in branches\)'),
        (reads, r'no rule for \w+, which makes whole numbers of the letters \(.*test_deeplift.py:\d+ in reads\)'),
        (waits, r'no rule for while whose number of turns is not fixed \(.*test_deeplift.py:\d+ in waits\)'),
        (prints, r'this one has debug_\w+, a side effect \(.*test_deeplift.py:\d+ in prints\)'),
        (
            drops,
            r'draws random numbers, by random_\w+ \(.*test_deeplift.py:\d+ in drops\); is dropout in training mode',
        ),
    ],
)
def test_functions_that_are_refused(score, message):
    x = letters_of(sequences(2)).astype(np.float32)
    with pytest.raises(InputError, match=message) as caught:
        deeplift(score)({}, x, x[:, None])
    assert '\n' not in str(caught.value)
    if 'no rule' in message:
        assert isinstance(caught.value, NoRule)
        line = score.__code__.co_firstlineno
        assert any(f'test_deeplift.py:{line + n} in ' in str(caught.value) for n in (1, 2))


def total(params, x):
    return x.sum((1, 2))


GOOD = np.zeros((2, 5, 4), np.float32)


@pytest.mark.parametrize(
    'x, references, message',
    [
        (GOOD, GOOD, r'references have shape \(2, 5, 4\), expected \(2, K, 5, 4\)'),
        (GOOD, GOOD[:, None, :4], r'references have shape \(2, 1, 4, 4\), expected \(2, K, 5, 4\)'),
        (GOOD, np.zeros((2, 0, 5, 4), np.float32), r'references have shape \(2, 0, 5, 4\), expected'),
        (GOOD.astype(np.int32), GOOD[:, None], r'x is int32, expected float \(B, L, 4\)'),
        (GOOD, GOOD[:, None].astype(np.uint8), r'references is uint8, expected float'),
        (GOOD[0], GOOD[:, None], r'x has shape \(5, 4\), expected \(B, L, 4\)'),
        (GOOD, None, r'references is None, expected float \(B, K, L, 4\)'),
        (GOOD, 'shuffled', r"references is 'shuffled', expected float \(B, K, L, 4\)"),
    ],
)
def test_arrays_that_are_refused(x, references, message):
    with pytest.raises(InputError, match=message):
        deeplift(total)({}, x, references)


def test_lengths_of_a_score_without_them():
    with pytest.raises(InputError, match='score total takes no lengths'):
        deeplift(total)({}, GOOD, GOOD[:, None], np.array([5, 3]))


@pytest.mark.parametrize(
    'settings, message',
    [
        ({'references': 'black'}, "references is 'black', expected one of shuffled, uniform, zeros, gc"),
        ({'references': sequences(1)[:, None]}, r'references have shape \(1, 1, 1, 13\), expected \(1, 2\) \+ \(K,\)'),
        ({'references': sequences(2)[:, None] + 3}, 'expected A C G T N = 0..4'),
        ({'references': None}, 'references is None, expected one of shuffled, uniform, zeros, gc, or tokens'),
        ({'n_references': 0}, 'n_references is 0, expected a whole number, 1 or more'),
        ({'seed': -1}, 'seed is -1, expected a whole number, 0 or more'),
        ({'steps': 3}, "deeplift has no setting 'steps'; its settings are references, n_references, seed"),
        ({'lengths': np.array([13, 7])}, 'sequence 1 has 7 letters, cnn needs at least 8'),
    ],
)
def test_settings_that_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        attribute('deeplift', random_params(CNN), CNN, sequences(2), **settings)
