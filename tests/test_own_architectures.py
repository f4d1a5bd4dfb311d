"""Architectures of somebody's own: what becomes one, what is refused, and a training of one beside ours."""

import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import demo_jax
from demo_jax.errors import InputError
from demo_jax.nn import architecture, models
from demo_jax.nn.architecture import Architecture, from_linen, from_nnx, name_of, named_leaves, resolve
from demo_jax.nn.cost import bytes_per_model, forward_operations, intermediate_bytes, operations_per_step
from demo_jax.nn.layers import Dense, Layer, Signal, Size, Summary
from tests import helpers_models

few_filters = pytest.fixture(scope='module', autouse=True)(helpers_models.few_filters)

LETTERS = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (3, 20))]


def linen_net(**flags):
    from flax import linen as nn

    class DilatedCNN(nn.Module):
        @nn.compact
        def __call__(self, x, deterministic=True):
            x = nn.relu(nn.Conv(6, (5,))(x))
            for dilation in (1, 3):
                y = nn.relu(nn.Conv(6, (3,), kernel_dilation=(dilation,))(x))
                x = x + nn.Dropout(0.5, deterministic=deterministic)(y)
            return nn.Dense(2)(x.max(1))

    return DilatedCNN(**flags)


def nnx_net(rngs):
    from flax import nnx

    class SmallCNN(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(4, 6, (5,), rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.dense = nnx.Linear(6, 1, rngs=rngs)

        def __call__(self, x):
            return self.dense(self.drop(nnx.relu(self.conv(x))).max(1))

    return SmallCNN(rngs)


@pytest.mark.parametrize(
    'made, name',
    [(lambda: from_linen(linen_net()), 'dilated_cnn'), (lambda: from_nnx(nnx_net), 'small_cnn')],
    ids=['linen', 'nnx'],
)
def test_a_flax_module_becomes_an_architecture_in_a_line(made, name):
    own = made()
    assert own.name == name
    assert own.kind == 'CNN'
    params, other = map(jax.jit(own.init), jax.random.split(jax.random.key(0)))
    assert any(np.abs(a - b).max() > 0.01 for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(other), strict=True))
    score = jax.jit(own)
    predicted = score(params, LETTERS)
    assert predicted.shape == (3,)
    np.testing.assert_array_equal(predicted, score(params, LETTERS))
    train = jax.jit(lambda key: own.score(params, LETTERS, key=key, dropout=0.1))
    masks = [np.asarray(train(jax.random.key(seed))) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert np.abs(masks[0] - masks[2]).max() > 1e-3
    gradient = jax.jit(jax.grad(lambda p: own.score(p, LETTERS, key=jax.random.key(0)).sum()))(params)
    assert jax.tree.structure(gradient) == jax.tree.structure(params)


def test_modules_that_keep_batch_statistics_are_refused():
    from flax import linen, nnx

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x, train=False):
            return linen.Dense(1)(linen.BatchNorm(use_running_average=not train)(x).max(1))

    with pytest.raises(InputError, match='Net keeps batch_stats besides its parameters'):
        from_linen(Net()).init(jax.random.key(0))

    class Other(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(4, rngs=rngs)

        def __call__(self, x):
            return self.norm(x).sum((1, 2))

    with pytest.raises(InputError, match='keeps state besides its parameters'):
        from_nnx(lambda rngs: Other(rngs)).init(jax.random.key(0))


@pytest.mark.parametrize(
    'apply, expected',
    [
        (lambda params, x: x[:, 0, 0], LETTERS[:, 0, 0]),
        (lambda params, x: x[:, 0, :1], LETTERS[:, 0, 0]),
        (lambda params, x: x[:, 0, :2], LETTERS[:, 0, 1] - LETTERS[:, 0, 0]),
    ],
)
def test_what_apply_may_return(apply, expected):
    np.testing.assert_array_equal(Architecture(lambda key: {}, apply)({}, LETTERS), expected)


def test_what_apply_may_not_return():
    with pytest.raises(ValueError, match=r'mine returned \(3, 20\) for 3 sequences, expected \(B,\), \(B, 1\) or'):
        Architecture(lambda key: {}, lambda params, x: x.sum(2))({}, LETTERS)


def test_apply_gets_what_it_asks_for_by_name():
    seen = {}

    def apply(params, x, lengths=None, key=None, dropout=None):
        seen.update(x=x, lengths=lengths, key=key, dropout=dropout)
        return x.sum((1, 2))

    own = Architecture(lambda key: {}, apply)
    lengths = np.array([20, 5, 11])
    score = own.score({}, LETTERS, lengths=lengths, dropout=0.2, key='key')
    np.testing.assert_array_equal(score, lengths)  # letters behind a length are taken out
    assert (seen['key'], seen['dropout']) == ('key', 0.2)
    assert own.takes_lengths
    equal = Architecture(lambda key: {}, lambda params, x: x.sum((1, 2)))
    assert not equal.takes_lengths
    with pytest.raises(ValueError, match='takes no lengths, so its sequences must be equally long'):
        equal.score({}, LETTERS, lengths=lengths)


def test_tokens_and_letters_are_the_same_to_an_architecture():
    own = from_linen(linen_net())
    params = own.init(jax.random.key(0))
    tokens = LETTERS.argmax(2).astype(np.uint8)
    np.testing.assert_allclose(own.score(params, tokens), own(params, LETTERS), rtol=1e-6)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of somebody's own on the path."""
    (tmp_path / 'somebodys_models.py').write_text(
        textwrap.dedent("""
        import jax, jax.numpy as jnp
        import demo_jax
        from demo_jax.nn.models import ModelSpec

        linear = demo_jax.Architecture(lambda key: {'w': jax.random.normal(key, (4,))},
                                       lambda params, x: jnp.einsum('bla,a->b', x, params['w']))
        spec = ModelSpec('anything', conv=((3, 5),))
        medium_cnn = linear
        number = 7
    """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    architecture._imported.cache_clear()
    yield 'somebodys_models'
    sys.modules.pop('somebodys_models', None)
    architecture._imported.cache_clear()


def test_references(module):
    own = resolve(f'{module}:linear')
    assert own is resolve(f'{module}:linear')  # programs are compiled once for it
    assert own.name == f'{module}:linear'
    assert name_of(own.name) == 'linear'
    assert resolve('medium_cnn') is models.SPECS['medium_cnn']
    assert resolve(f'{module}:spec').conv == ((3, 5),)


@pytest.mark.parametrize(
    'name, message',
    [
        ('medium', r'unknown spec .medium.; the specs are small_rnn, .*, or MODULE:NAME for one of your own'),
        ('os:system', 'spec os:system: is a builtin_function_or_method, expected a demo_jax.Architecture'),
        ('{module}:number', 'is a int, expected a demo_jax.Architecture; a Flax module becomes one by'),
        ('{module}:nothing', r'cannot be imported \(AttributeError: '),
        ('no.such.module:net', r'cannot be imported \(ModuleNotFoundError: '),
        ('{module}:linear.w', 'unknown spec'),
        ('../models:net', 'unknown spec'),
    ],
)
def test_references_that_are_none(module, name, message):
    with pytest.raises(InputError, match=message) as caught:
        resolve(name.format(module=module))
    assert '\n' not in str(caught.value)


def test_parameters_have_names_by_their_places():
    tree = {'a': {'b': 1}, 'c': [2, {'d': 3}]}
    assert named_leaves(tree) == {'a/b': 1, 'c/0': 2, 'c/1/d': 3}
    assert list(named_leaves(models.init(jax.random.key(0), models.SPECS['small_cnn']))) == [
        'conv0/bias',
        'conv0/kernel',
        'conv1/bias',
        'conv1/kernel',
        'dense/bias',
        'dense/kernel',
    ]


def test_cost_of_an_architecture_is_counted_by_xla():
    def apply(params, x):
        return jnp.einsum('blc,lcf->bf', x, params).sum(1)

    own = Architecture(lambda key: jnp.zeros((20, 4, 30)), apply)
    product = 2 * 8 * 20 * 4 * 30
    assert product <= forward_operations(own, 8, 20) < 1.2 * product
    assert operations_per_step(own, 8, 20) == 3 * forward_operations(own, 8, 20)
    assert intermediate_bytes(own, 8, 20) >= 4 * 8 * 30
    assert bytes_per_model(own, 8, 20) == 2 * intermediate_bytes(own, 8, 20)


def test_a_new_kind_of_layer_is_one_record():
    """It trains, is counted, measured and drawn, with no edit anywhere else."""
    import dataclasses

    from demo_jax.report.architecture import drawn_layers

    @dataclasses.dataclass(frozen=True)
    class Gated(Layer):
        width: int = 3

        kind = 'gated'

        def shapes(self, channels):
            return {'kernel': (channels, 2 * self.width), 'bias': (2 * self.width,)}

        def apply(self, params, signal, run):
            value, gate = jnp.split(signal.x @ params['kernel'] + params['bias'][None, None], 2, axis=-1)
            return Signal(value * jax.nn.sigmoid(gate), signal.lengths)

        def size(self, size):
            return Size(size.positions, self.width)

        def products(self, size, batch):
            return [2 * batch * size.positions * size.channels * 2 * self.width]

        def label(self, size):
            return f'gated {self.width}'

    spec = models.ModelSpec('gated', own_layers=(Gated('gate', 5), Summary(how='max'), Dense('dense')))
    params = spec.init(jax.random.key(0))
    assert {name: leaf.shape for name, leaf in named_leaves(params).items()} == {
        'gate/kernel': (4, 10),
        'gate/bias': (10,),
        'dense/kernel': (5, 2),
        'dense/bias': (2,),
    }
    assert spec(params, LETTERS).shape == (3,)
    assert forward_operations(spec, 1, 20) == 2 * 20 * 4 * 10 + 2 * 5 * 2
    assert [layer.operation for layer in drawn_layers(spec, 20)] == [
        'one-hot letters',
        'gated 5',
        'maximum over positions',
        'linear, softmax',
    ]
    assert (spec.kind, spec.min_length) == ('other', 1)


@pytest.mark.parametrize(
    'fields, message',
    [
        ({'conv': ((3, 2),), 'summary': 'median'}, "summary is 'median', expected 'max' or 'max_mean'"),
        ({'lstm_layers': 1, 'lstm_size': 2, 'summary': 'max'}, "summary is 'max', expected 'mean'"),
        (
            {'conv': ((3, 2),), 'lstm_layers': 1, 'lstm_size': 2, 'summary': 'mean'},
            "padding is 'valid', expected 'same'",
        ),
        ({'conv': ((3, 2),), 'padding': 'reflect'}, "padding is 'reflect', expected 'valid', 'same' or 'full'"),
    ],
)
def test_a_spec_that_cannot_do_what_it_says_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        models.ModelSpec('bad', **fields)


def test_the_package_offers_what_the_readme_names():
    assert demo_jax.Architecture is Architecture
    assert demo_jax.from_linen is from_linen
