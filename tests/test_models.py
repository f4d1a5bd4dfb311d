"""The ten models against the same models built from Flax's layers, hand counts, and brute force."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from demo_jax import dna
from demo_jax.nn import kernels, models
from demo_jax.nn.layers import MaxPool, Run, Signal
from demo_jax.nn.models import SPECS
from tests.helpers_models import fewer

every_spec = pytest.mark.parametrize('spec', SPECS.values(), ids=list(SPECS))

# Numbers of parameters, by hand. Convolution: width * C * F + F. Layer of LSTMs: two directions of
# C * 4H + H * 4H + 4H. Dense: features * 2 + 2.
COUNTS = {
    # 2 (4*64 + 16*64 + 64) + (32*2 + 2)
    'small_rnn': 2688 + 66,
    # 2 (4*128 + 32*128 + 128) + (64*2 + 2)
    'medium_rnn': 9472 + 130,
    # the same, 2 (32*128 + 32*128 + 128): the second layer reads 32 units of its own direction
    'large_rnn': 9472 + 16640 + 130,
    # (9*4*64 + 64) + (5*64*64 + 64) + (64*2 + 2)
    'small_cnn': 2368 + 20544 + 130,
    # and (3*64*64 + 64)
    'medium_cnn': 2368 + 20544 + 12352 + 130,
    # and once more
    'large_cnn': 2368 + 20544 + 12352 + 12352 + 130,
    # (5*4*64 + 64) + 2 (64*128 + 32*128 + 128) + 2 (32*128 + 32*128 + 128) + (64*2 + 2)
    'small_cnn_rnn': 1344 + 24832 + 16640 + 130,
    # (9*4*128 + 128) + 2 (128*128 + 32*128 + 128) + (64*2 + 2)
    'medium_cnn_rnn': 4736 + 41216 + 130,
    # (9*4*128 + 128) + (5*128*128 + 128) + 2 (128*128 + 32*128 + 128) + (64*2 + 2)
    'large_cnn_rnn': 4736 + 82048 + 41216 + 130,
    # (24*4*16 + 16) + (2*16*2 + 2): the maximum and the mean of 16 filters
    'deepbind': 1552 + 66,
}


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def random_params(spec) -> models.Params:
    """Parameters of the right shapes with nothing at zero, so that a bias or a gate in the wrong place is seen."""
    shapes = jax.eval_shape(lambda: models.init(jax.random.key(0), spec))
    random = np.random.default_rng(1)
    fan_in = lambda leaf: np.prod(leaf.shape[-3:-1]) if leaf.ndim == 3 else leaf.shape[0]  # noqa: E731
    return jax.tree.map(
        lambda leaf: (random.normal(size=leaf.shape) / np.sqrt(fan_in(leaf))).astype(np.float32), shapes
    )


def flax_model(params, x, spec, drop=lambda y: y) -> models.Output:
    """The spec's model of letters x (B, L, 4), layer by layer from Flax, as the paper describes it."""
    if spec.both_strands:
        one = flax_strand(params, x, spec, drop)
        other = flax_strand(params, x[:, ::-1, jnp.array([3, 2, 1, 0])], spec, drop)
        logits = jnp.where((other.score > one.score)[:, None], other.logits, one.logits)
        return one.replace(logits=logits)
    return flax_strand(params, x, spec, drop)


def flax_strand(params, x, spec, drop):
    activations, hidden = [], None
    for index, (width, filters) in enumerate(spec.conv):
        if index and spec.pool > 1:
            x = nn.max_pool(x, (spec.pool,), strides=(spec.pool,))
        if index and not spec.lstm_layers:
            x = drop(x)
        padding = [(width - 1, width - 1)] if spec.padding == 'full' else spec.padding.upper()
        x = nn.relu(nn.Conv(filters, (width,), padding=padding).apply({'params': params[f'conv{index}']}, x))
        activations.append(x)
    if spec.lstm_layers:
        stacks = []
        for d in (0, 1):
            y = x
            for index in range(spec.lstm_layers):
                layer = {name: jnp.split(array[d], 4, axis=-1) for name, array in params[f'lstm{index}'].items()}
                cell = {}
                for gate, w, u, b in zip('ifog', layer['kernel'], layer['recurrent'], layer['bias'], strict=True):
                    cell[f'i{gate}'] = {'kernel': w}
                    cell[f'h{gate}'] = {'kernel': u, 'bias': b}
                module = nn.RNN(nn.OptimizedLSTMCell(spec.lstm_size), reverse=bool(d), keep_order=True)
                y = drop(module.apply({'params': {'cell': cell}}, y))
            stacks.append(y)
        hidden = jnp.concatenate(stacks, axis=-1)
        features = hidden.mean(axis=1)
    elif spec.summary == 'max':
        features = x.max(axis=1)
    else:
        features = drop(jnp.concatenate([x.max(axis=1), x.mean(axis=1)], axis=-1))
    logits = nn.Dense(2).apply({'params': params['dense']}, features)
    return models.Output(logits=logits, activations=tuple(activations), hidden=hidden)


def assert_close(found, expected, tolerance=1e-5):
    """Same structure, same shapes, values equal to the tolerance (absolute and relative)."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def values_and_gradients(model, params, x):
    """Output of `model(params, x)`, and the gradients of a weighted sum of its logits by both."""
    weights = jnp.asarray(np.random.default_rng(2).normal(size=(x.shape[0], 2)), jnp.float32)

    def loss(params, x):
        out = model(params, x)
        return (out.logits * weights).sum(), out

    (_, out), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, x)
    return out, gradients


@every_spec
def test_model_is_the_one_of_flax_layers(spec):
    """Odd length, so that pooling drops a position; letters are floats, so that no maximum is tied."""
    spec = spec if spec.name == 'medium_cnn' else fewer(spec)  # of many filters one is enough
    params, x = random_params(spec), normal(3, 2, spec.min_length + 15 - spec.min_length % 2, 4)
    hoist = spec.name.startswith('medium')

    def both(params, x):
        ours = values_and_gradients(lambda p, x: models.apply(p, x, spec, hoist=hoist), params, x)
        return ours, values_and_gradients(lambda p, x: flax_model(p, x, spec), params, x)

    assert_close(*jax.jit(both)(params, x))


@pytest.mark.parametrize('name', ['large_rnn', 'large_cnn', 'small_cnn_rnn', 'large_cnn_rnn', 'deepbind'])
def test_masked_is_truncated(name):
    """Rows padded with garbage: logits and gradients are those of each sequence cut at its end."""
    spec = SPECS[name] if name == 'large_cnn' else fewer(SPECS[name])
    lengths = (spec.min_length, spec.min_length + 7)
    params, x = random_params(spec), normal(4, 2, spec.min_length + 12, 4)
    hoist = name == 'large_rnn'

    def masked(params, x):
        return models.apply(params, x, spec, lengths=jnp.array(lengths), hoist=hoist)

    def truncated(params, x):
        outs = [models.apply(params, x[n : n + 1, :end], spec) for n, end in enumerate(lengths)]
        return outs[0].replace(logits=jnp.concatenate([out.logits for out in outs]))

    def both(params, x):
        return values_and_gradients(masked, params, x), values_and_gradients(truncated, params, x)

    (out, gradients), (expected, expected_gradients) = jax.jit(both)(params, x)
    assert_close(out.logits, expected.logits)
    assert_close(gradients, expected_gradients)


# The specs


@every_spec
def test_parameter_count_by_hand(spec):
    shapes = jax.eval_shape(lambda: models.init(jax.random.key(0), spec))
    assert models.count_parameters(shapes) == COUNTS[spec.name]


def test_table_1():
    """Names in the paper's order, with what its Table 1 says of each."""
    kinds = {name: spec.kind for name, spec in SPECS.items()}
    sizes = ('small', 'medium', 'large')
    families = {'rnn': 'RNN', 'cnn': 'CNN', 'cnn_rnn': 'CNN-RNN'}
    expected = {f'{size}_{name}': kind for name, kind in families.items() for size in sizes}
    assert list(kinds.items()) == list({**expected, 'deepbind': 'DeepBind'}.items())
    assert [SPECS[f'{size}_cnn_rnn'].conv for size in sizes] == [((5, 64),), ((9, 128),), ((9, 128), (5, 128))]
    assert [spec.pool for spec in SPECS.values()] == [1, 1, 1, 2, 2, 2, 1, 1, 2, 1]


@every_spec
def test_min_length_by_brute_force(spec):
    """Without the check of its own, the shortest length at which every layer still has a position to read."""
    params = jax.eval_shape(lambda: models.init(jax.random.key(0), spec))

    def run(length):
        return jax.eval_shape(lambda p: models.apply(p, jnp.zeros((2, length), jnp.uint8), spec), params)

    def readable(length):
        for index, (width, _) in enumerate(spec.conv):
            length = length // spec.pool if index else length
            length = length - width + 1 if spec.padding == 'valid' else length
        return length >= 1

    shortest = next(length for length in range(200) if readable(length))
    assert spec.min_length == shortest
    assert run(shortest).logits.shape == (2, 2)
    message = f'{spec.name} needs sequences of at least {shortest} bp, got {shortest - 1}'
    with pytest.raises(ValueError, match=message):
        run(shortest - 1)


# Inputs


@pytest.mark.parametrize('name', ['small_cnn', 'deepbind', 'small_cnn_rnn'])
def test_tokens_or_letters_alike(name):
    """Under jit, with and without lengths; N and whatever stands behind the end count as nothing."""
    spec, ends = fewer(SPECS[name]), np.array([30, 27, 21, 20])
    params, tokens = random_params(spec), np.random.default_rng(5).integers(0, 5, (4, 30), dtype=np.uint8)
    padded = np.where(np.arange(30) < ends[:, None], tokens, 4).astype(np.uint8)
    letters = dna.one_hot(tokens)

    def run(tokens, letters, padded, ends):
        whole = [models.apply(params, x, spec) for x in (tokens, letters)]
        return whole, [models.apply(params, x, spec, lengths=ends) for x in (tokens, letters, padded)]

    (one, two), ragged = jax.jit(run)(tokens, letters, padded, ends)
    assert_close(one, two)
    assert_close(ragged[0], ragged[1])
    assert_close(ragged[0], ragged[2])
    np.testing.assert_allclose(ragged[0].logits[0], one.logits[0], rtol=1e-5)
    assert abs(ragged[0].logits[1:] - one.logits[1:]).min() > 1e-4
    np.testing.assert_allclose(one.score, one.logits[:, 1] - one.logits[:, 0])


def test_hidden_and_activations_are_zero_in_padding():
    """Also under a bias that makes every filter positive."""
    spec = SPECS['large_cnn_rnn']
    params, x = random_params(spec), normal(6, 2, 20, 4)
    params = {name: {**layer, 'bias': layer['bias'] + 3} for name, layer in params.items()}
    run = jax.jit(lambda x: models.apply(params, x, spec, lengths=jnp.array([20, 11])))
    out = run(x)
    for array, length in ((out.activations[0], 11), (out.activations[1], 5), (out.hidden, 5)):
        assert np.asarray(array)[1, :length].any(axis=-1).all()
        assert not np.asarray(array)[1, length:].any()


def test_deepbind_reads_both_strands():
    """A sequence and its reverse complement score alike, and each of the two strands is the better one somewhere."""
    spec = SPECS['deepbind']
    params, random = random_params(spec), np.random.default_rng(7)
    tokens = random.integers(0, 5, (16, 40), dtype=np.uint8)
    lengths = jnp.asarray(random.integers(1, 41, 16))
    run = jax.jit(lambda x, lengths: models.apply(params, x, spec, lengths=lengths))
    for ends in (None, lengths):
        given, turned = (run(x, ends) for x in (tokens, kernels.reverse_complement(tokens, ends)))
        assert_close(given.logits, turned.logits)
        assert np.std(given.score) > 0.01
    # One strand alone, by a model that reads only it: the better of the two is what counts.
    single = jax.jit(lambda x: flax_strand(params, x, spec, lambda y: y).score)
    strands = np.stack([single(dna.one_hot(each)) for each in (tokens, dna.reverse_complement(tokens))])
    assert set(strands.argmax(axis=0)) == {0, 1}
    np.testing.assert_allclose(run(tokens, None).score, strands.max(axis=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('hoist', [False, True])
def test_hoist_reaches_every_scan(monkeypatch, hoist):
    """It changes nothing but the speed, so only the calls can show it."""
    spec, scan, seen = SPECS['large_rnn'], kernels.bilstm_scan, []

    def recorded(*args):
        seen.append(args[5])
        return scan(*args)

    monkeypatch.setattr(kernels, 'bilstm_scan', recorded)
    jax.eval_shape(lambda: models.apply(random_params(spec), jnp.zeros((2, 5), jnp.uint8), spec, hoist=hoist))
    assert seen == [hoist] * 2


# Dropout


@pytest.mark.parametrize('name', ['large_cnn', 'large_rnn', 'large_cnn_rnn', 'deepbind'])
def test_dropout_places(monkeypatch, name):
    """With a 'dropout' that divides by 3, the model is Flax's with the same division where the paper has dropout."""
    spec = fewer(SPECS[name])
    params, x, key = random_params(spec), normal(8, 2, spec.min_length + 6, 4), jax.random.key(9)
    keys, units = [], {'ours': 0, 'flax': 0}

    def third(y, rate, key, bits):
        assert (float(rate), bits) == (0.5, 1)
        keys.append(jax.random.key_data(key))
        units['ours'] += y.size
        return y / 3

    def flax_third(y):
        units['flax'] += y.size
        return y / 3

    def both(params, x, key):
        found = models.apply(params, x, spec, dropout=0.5, key=key, dropout_bits=1)
        return found, flax_model(params, x, spec, flax_third), jnp.stack(keys)

    monkeypatch.setattr(kernels, 'dropout', third)
    found, expected, drawn = jax.jit(both)(params, x, key)
    assert_close(found, expected)
    assert units['ours'] == units['flax'] > 0
    assert len(np.unique(drawn, axis=0)) == len(drawn)  # no mask is used twice


def test_dropout_of_a_model():
    spec = fewer(SPECS['small_cnn_rnn'])
    params, x = random_params(spec), normal(10, 3, 12, 4)
    run = jax.jit(lambda rate, key: models.apply(params, x, spec, dropout=rate, key=key).logits)
    one, two = jax.random.split(jax.random.key(11))
    np.testing.assert_array_equal(run(0.5, one), run(0.5, one))
    assert not np.allclose(run(0.5, one), run(0.5, two))
    assert_close(run(0.0, one), run(None, None))
    with pytest.raises(ValueError, match='dropout needs a key'):
        models.apply(params, x, spec, dropout=0.5)


# Initial parameters

INIT_SPECS = ('small_cnn', 'small_rnn', 'small_cnn_rnn', 'deepbind')


@pytest.fixture(scope='module')
def fresh() -> dict[str, models.Params]:
    make = jax.jit(lambda key: {name: models.init(key, SPECS[name]) for name in INIT_SPECS})
    first, again, other = (make(jax.random.key(seed)) for seed in (0, 0, 1))
    for a, b, c in zip(*(jax.tree.leaves_with_path(p) for p in (first, again, other)), strict=True):
        np.testing.assert_array_equal(a[1], b[1])
        assert a[1].dtype == jnp.float32
        assert a[0][-1].key == 'bias' or (np.asarray(a[1]) == c[1]).mean() < 0.001
    return jax.tree.map(np.asarray, first)


def assert_uniform(values, bound):
    """Uniform between plus and minus the bound: the range, and mean and deviation to five standard errors."""
    deviation = bound / np.sqrt(3)
    assert bound * (1 - 10 / values.size) < abs(values).max() <= bound
    assert abs(values.mean()) < 5 * deviation / np.sqrt(values.size)
    assert abs(values.std() / deviation - 1) < 5 / np.sqrt(2 * values.size)


@pytest.mark.parametrize('name', INIT_SPECS)
def test_init_of_convolutions_and_dense(fresh, name):
    for part, layer in fresh[name].items():
        if not part.startswith('lstm'):
            kernel = layer['kernel']
            fan_in = kernel.size // kernel.shape[-1]
            assert_uniform(kernel, np.sqrt(6 / (fan_in + 2)) if part == 'dense' else 1 / np.sqrt(fan_in))
            assert not layer['bias'].any()


@pytest.mark.parametrize('name', ['small_rnn', 'small_cnn_rnn'])
def test_init_of_lstms(fresh, name):
    """Every gate of either direction is drawn alike; only the forget gates have a bias."""
    size = SPECS[name].lstm_size
    # Of 64 filters of 5 letters within 1 / sqrt(20), the square of each is 5 / 60 at first, and ReLU leaves half.
    entering = {'lstm0': 1.0 if name == 'small_rnn' else 64 * 5 / 60 / 2, 'lstm1': 0.1 * size}
    for part, layer in fresh[name].items():
        if part.startswith('lstm'):
            for d in (0, 1):
                for gate in range(4):
                    at = slice(gate * size, (gate + 1) * size)
                    assert_uniform(layer['kernel'][d, :, at], np.sqrt(3 / entering[part]))
                    assert_uniform(layer['recurrent'][d, :, at], np.sqrt(6 / (2 * size)))
                    np.testing.assert_array_equal(layer['bias'][d, at], 1.0 if gate == 1 else 0.0)


@pytest.mark.parametrize('name', [name for name, spec in SPECS.items() if spec.lstm_layers])
def test_gates_read_their_input_at_a_variance_of_one(name):
    """Whatever the layers below: a letter of which one input in four is on, filters, pools, another LSTM."""
    spec, found = SPECS[name], []
    letters = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (60, 20))]  # (L, B, 4)
    below = spec.layers[: max(place for place, layer in enumerate(spec.layers) if layer.kind == 'lstm') + 1]

    @jax.jit
    def inputs(params):  # of each LSTM; what the last one makes of its own is not asked for
        signal, read = Signal(letters), {}
        for layer in below:
            if layer.kind == 'lstm':
                read[layer.name] = signal.x if signal.pair is None else signal.pair[0]
            signal = layer.apply(params.get(layer.name, {}), signal, Run())
        return read

    draw = jax.jit(lambda key: models.init(key, spec))
    for seed in range(4):
        params = draw(jax.random.key(seed))
        for layer, read in inputs(params).items():
            found.append((layer, np.var(np.asarray(read) @ np.asarray(params[layer]['kernel'][0]))))
    for layer in {layer for layer, _ in found}:
        assert np.mean([variance for name, variance in found if name == layer]) == pytest.approx(1, abs=0.5), layer


def test_what_pools_add_to_the_square():
    rng = np.random.default_rng(0)
    drawn = np.maximum(rng.normal(size=(400_000, 3)), 0)
    for block in (1, 2, 3):
        expected = (drawn[:, :block].max(axis=1) ** 2).mean() / 0.5
        assert MaxPool(block=block).square(1.0, 7) == pytest.approx(expected, rel=0.01)


def test_init_uses_every_key_once(fresh):
    """No two matrices of a model, gates and directions apart, hold the same numbers at some scale."""
    for name, params in fresh.items():
        blocks = []
        for part, layer in params.items():
            if part.startswith('lstm'):
                for matrix in (layer['kernel'], layer['recurrent']):
                    blocks += [block for direction in matrix for block in np.split(direction, 4, axis=-1)]
            else:
                blocks.append(layer['kernel'])
        signs = [tuple(np.sign(block.ravel()[:64])) for block in blocks]
        assert len(signs) == 1 + len(SPECS[name].conv) + 16 * SPECS[name].lstm_layers
        assert len(set(signs)) == len(signs)


def test_init_calls_no_library():
    """Models start inside the training program, where a LAPACK call may wait for ever on the thread pool."""
    program = jax.jit(lambda key: models.init(key, SPECS['large_cnn_rnn'])).lower(jax.random.key(0)).as_text()
    assert 'custom_call' not in program
