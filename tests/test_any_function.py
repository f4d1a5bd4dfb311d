"""Explanations of somebody's own function, whatever it was made with, against differences, mutants and truncations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.explain.attribution import attribute, attribute_models
from demo_jax.explain.class_optimisation import ClassOptimisationSettings, optimise_class
from demo_jax.explain.interactions import interactions
from demo_jax.explain.temporal import temporal_scores
from demo_jax.nn import models
from tests.helpers_models import fewer, random_params

LENGTH = 12
MOTIF = 'GATAA'


def sequences(n, length=LENGTH, seed=0):
    return np.random.default_rng(seed).integers(0, 4, (n, length)).astype(np.uint8)


def softly_scanned(params, x, lengths=None):
    """A smooth score: log-sum-exp over the places where a PWM may lie. Places that reach behind a length are out."""
    width = params['pwm'].shape[0]
    windows = jnp.stack([x[:, i : x.shape[1] - width + 1 + i] for i in range(width)], axis=2)
    scores = jnp.einsum('blwa,wa->bl', windows, params['pwm'])
    if lengths is not None:
        inside = jnp.arange(scores.shape[1])[None] <= lengths[:, None] - width
        scores = jnp.where(inside, scores, -jnp.inf)
    return jax.nn.logsumexp(scores, axis=1) + params['bias']


softly_scanned.min_length = len(MOTIF)


def without_lengths(params, x):
    return softly_scanned(params, x)


def pwm_params(dtype=np.float32):
    rng = np.random.default_rng(3)
    pwm = 2 * np.eye(4)[dna.encode(MOTIF)] + 0.3 * rng.normal(size=(len(MOTIF), 4))
    return {'pwm': pwm.astype(dtype), 'bias': np.array(-1, dtype)}


def linen():
    from flax import linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.gelu(nn.Conv(6, (4,), padding='VALID')(x))
            return nn.Dense(2)(x.max(1))

    net = Net()
    params = jax.jit(net.init)(jax.random.key(0), np.zeros((1, LENGTH, 4)))
    return params, lambda p, x: jnp.diff(net.apply(p, x), axis=1)[:, 0]


def nnx():
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(4, 6, (4,), padding='VALID', rngs=rngs)
            self.dense = nnx.Linear(6, 1, rngs=rngs)

        def __call__(self, x):
            return self.dense(nnx.gelu(self.conv(x)).max(1))

    graph, params = nnx.split(Net(nnx.Rngs(0)))
    return params, lambda p, x: nnx.merge(graph, p)(x)[:, 0]


def equinox():
    eqx = pytest.importorskip('equinox')

    class Net(eqx.Module):
        conv: eqx.nn.Conv1d
        dense: eqx.nn.Linear

        def __call__(self, x):
            return self.dense(jax.nn.gelu(self.conv(x.T)).max(1))[0]

    keys = jax.random.split(jax.random.key(0))
    params, static = eqx.partition(
        Net(eqx.nn.Conv1d(4, 6, 4, key=keys[0]), eqx.nn.Linear(6, 1, key=keys[1])), eqx.is_array
    )
    return params, lambda p, x: jax.vmap(eqx.combine(p, static))(x)


def haiku():
    hk = pytest.importorskip('haiku')

    def net(x):
        x = jax.nn.gelu(hk.Conv1D(6, 4, padding='VALID')(x))
        return hk.Linear(1)(x.max(1))[:, 0]

    pure = hk.without_apply_rng(hk.transform(net))
    return jax.jit(pure.init)(jax.random.key(0), np.zeros((1, LENGTH, 4))), pure.apply


FRAMEWORKS = [linen, nnx, equinox, haiku]


@pytest.mark.parametrize('framework', FRAMEWORKS, ids=lambda f: f.__name__)
def test_a_model_of_any_framework_is_explained(framework):
    params, score = framework()
    tokens = sequences(5)
    letters = np.asarray(dna.one_hot(tokens))
    plain = jax.jit(score)

    saliency = attribute('saliency', params, score, tokens, batch_size=2)
    np.testing.assert_allclose(saliency.score, plain(params, letters), rtol=1e-5, atol=1e-6)
    slopes = jax.jit(jax.grad(lambda x: score(params, x).sum()))(letters)
    np.testing.assert_allclose(saliency.hypothetical, slopes, rtol=1e-4, atol=1e-6)

    mutants = attribute('mutagenesis', params, score, tokens)
    for position, letter in [(0, 0), (6, 2), (LENGTH - 1, 3)]:
        changed = letters.copy()
        changed[:, position] = np.eye(4)[letter]
        np.testing.assert_allclose(
            mutants.hypothetical[:, position, letter], plain(params, changed) - plain(params, letters), atol=1e-5
        )

    path = attribute('integrated_gradients', params, score, tokens, steps=64)
    assert path.completeness_error.max() < 0.02 * np.abs(path.score).max()

    curve = temporal_scores(params, score, tokens[:, :6])
    assert np.isnan(curve[:, :3]).all()  # a 'valid' convolution of width 4 reads no shorter prefix
    for end in (4, 6):
        np.testing.assert_allclose(curve[:, end - 1], plain(params, letters[:, :end]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('strands', [False, True])
def test_saliency_of_a_function_is_its_slope(strands):
    tokens = sequences(3)
    with jax.enable_x64(True):
        params = pwm_params(np.float64)
        found = attribute('saliency', params, softly_scanned, tokens, both_strands=strands)
        x, step = np.eye(4)[tokens], 1e-6

        @jax.jit
        def both(x):
            other = x[:, ::-1, ::-1]
            return (
                softly_scanned(params, x)
                if not strands
                else (softly_scanned(params, x) + softly_scanned(params, other)) / 2
            )

        for position, letter in [(0, 1), (5, 2), (11, 0)]:
            up, down = x.copy(), x.copy()
            up[:, position, letter] += step
            down[:, position, letter] -= step
            slope = (both(up) - both(down)) / (2 * step)
            np.testing.assert_allclose(found.hypothetical[:, position, letter], slope, atol=1e-8)


def test_unequal_lengths_with_and_without_an_argument_for_them():
    params, tokens = pwm_params(), sequences(3)
    lengths = np.array([5, 12, 5], np.int32)
    for method in ('saliency', 'mutagenesis', 'integrated_gradients'):
        masked = attribute(method, params, softly_scanned, tokens, lengths=lengths)
        grouped = attribute(method, params, without_lengths, tokens, lengths=lengths)
        for row, length in enumerate(lengths):
            alone = attribute(method, params, without_lengths, tokens[row : row + 1, :length])
            for found in (masked, grouped):
                np.testing.assert_allclose(found.score[row], alone.score[0], rtol=1e-5)
                np.testing.assert_allclose(found.hypothetical[row, :length], alone.hypothetical[0], atol=1e-5)
                assert not found.hypothetical[row, length:].any()


@pytest.mark.parametrize('direction', ['forward', 'reverse'])
def test_temporal_scores_are_those_of_the_truncated_sequences(direction):
    params, tokens = pwm_params(), sequences(4)
    lengths = np.array([12, 8, 12, 6], np.int32)
    with_argument = temporal_scores(params, softly_scanned, tokens, lengths=lengths, direction=direction)
    without = temporal_scores(params, without_lengths, tokens, lengths=lengths, direction=direction)
    expected, letters = np.full(tokens.shape, np.nan, np.float32), np.eye(4)[tokens]
    for row, length in enumerate(lengths):
        for size in range(len(MOTIF), length + 1):
            cut = letters[row, length - size : length] if direction == 'reverse' else letters[row, :size]
            at = length - size if direction == 'reverse' else size - 1
            places = [(cut[start : start + len(MOTIF)] * params['pwm']).sum() for start in range(size - len(MOTIF) + 1)]
            expected[row, at] = special.logsumexp(places) + params['bias']
    np.testing.assert_allclose(with_argument, expected, rtol=1e-5)
    known = ~np.isnan(without)
    np.testing.assert_allclose(without[known], expected[known], rtol=1e-5)
    assert not np.isnan(without[~np.isnan(expected)]).any()


def test_many_models_run_in_one_program():
    each = [pwm_params() | {'bias': np.float32(bias)} for bias in (0, 1, -2)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    tokens = sequences(4)
    for width in (1, 3):
        found = attribute_models('mutagenesis', stacked, softly_scanned, tokens, width=width)
        for number, params in enumerate(each):
            alone = attribute('mutagenesis', params, softly_scanned, tokens)
            np.testing.assert_allclose(found.score[number], alone.score, rtol=1e-5)
            np.testing.assert_allclose(found.hypothetical[number], alone.hypothetical, atol=1e-5)


def test_progress_counts_every_sequence_once():
    seen = []
    attribute('saliency', pwm_params(), softly_scanned, sequences(11), batch_size=2, progress=seen.append)
    assert len(seen) > 1
    assert sum(seen) == 11


def test_the_class_optimum_of_a_pwm_is_its_motif():
    stacked = jax.tree.map(lambda leaf: leaf[None], pwm_params())
    settings = ClassOptimisationSettings(steps=300)
    found = optimise_class(stacked, softly_scanned, seeds=np.array([0]), length=9, restarts=2, settings=settings)
    text = dna.decode(found.best_matrix[0].argmax(1).astype(np.uint8))
    assert MOTIF in text


def test_interactions_are_second_derivatives():
    tokens = sequences(1)[0]
    with jax.enable_x64(True):
        params = pwm_params(np.float64)
        found = interactions(params, softly_scanned, tokens, positions=np.array([3, 8]))
        x = np.eye(4)[tokens]
        hessian = jax.jit(jax.hessian(lambda x: softly_scanned(params, x[None])[0]))(x)
        at = np.einsum('iajb,ia,jb->ij', hessian, x, x)
        np.testing.assert_allclose(found.rows, at[np.array([3, 8])], atol=1e-9)
        assert np.abs(found.rows).max() > 1e-3


def batch_normalised(params, x):
    y = jnp.einsum('bla,la->b', x, params)
    return (y - y.mean()) / (y.std() + 1e-3)


@pytest.mark.parametrize(
    'score, params, message',
    [
        (
            lambda p, x: jnp.einsum('bla,la->b', x, p)[:, None],
            np.ones((LENGTH, 4)),
            r'of shape \(B, 1\).*expected \(B,\)',
        ),
        (lambda p, x: jnp.einsum('bla,la->', x, p), np.ones((LENGTH, 4)), r'of shape \(\).*expected \(B,\)'),
        (lambda p, x: (x.sum((1, 2)), x), np.ones(3), 'returned 2 arrays, expected one'),
        (lambda p, x: x.argmax(2).sum(1), np.ones(3), 'returned int32, expected real numbers'),
        (
            lambda p, x: jnp.round(jnp.einsum('bla,la->b', x, p)),
            np.arange(4.0 * LENGTH).reshape(LENGTH, 4),
            'gradient of score .* is zero everywhere although its values differ',
        ),
        (batch_normalised, np.arange(4.0 * LENGTH).reshape(LENGTH, 4), 'depends on the sequences beside it'),
        (lambda p, x: x.sum((1, 2)) / 0, np.ones(3), 'is inf, expected finite numbers'),
        (lambda p, x: x @ p, np.ones((3, 2)), r'failed on letters float32 \(B, 12, 4\): TypeError'),
        (
            lambda p, x: x.sum((1, 2)),
            {'a': {'b': 'relu'}},
            r"params: \['a'\]\['b'\] is a str, expected a pytree of arrays",
        ),
        (lambda p, x: x.sum((1, 2)), {'f': jax.nn.relu}, r"params: \['f'\] is a .*, expected a pytree of arrays"),
        ('saliency', np.ones(3), "score is 'saliency', expected a function"),
    ],
)
def test_what_is_no_score_is_refused_in_one_line(score, params, message):
    with pytest.raises(InputError, match=message) as caught:
        params = jax.tree.map(lambda leaf: leaf.astype(np.float32) if isinstance(leaf, np.ndarray) else leaf, params)
        attribute('saliency', params, score, sequences(2))
    assert '\n' not in str(caught.value)


def test_a_function_without_a_gradient_can_still_be_mutated():
    params = np.arange(4.0 * LENGTH, dtype=np.float32).reshape(LENGTH, 4)
    rounded = functools.partial(lambda p, x: jnp.round(jnp.einsum('bla,la->b', x, p)))
    found = attribute('mutagenesis', params, rounded, sequences(2))
    assert np.abs(found.hypothetical).max() > 1


@pytest.mark.parametrize('spec', ['small_cnn', 'deepbind'])
def test_architectures_without_lstms_have_temporal_scores_too(spec):
    spec = fewer(models.SPECS[spec])
    params, tokens, score = random_params(spec), sequences(2, length=40), jax.jit(spec)
    lengths = np.array([40, 31], np.int32)
    found = temporal_scores(params, spec, tokens, lengths=lengths)
    for row, size in [(0, 40), (0, 25), (1, 31), (1, 25)]:
        alone = score(params, dna.one_hot(tokens[row : row + 1, :size]))
        np.testing.assert_allclose(found[row, size - 1], alone[0], rtol=1e-4, atol=1e-6)
    assert np.isnan(found[1, 31:]).all()
    assert np.isnan(found[:, : spec.min_length - 1]).all()
