"""Layers read off a spec against what the model really does, and the drawing made of them."""

import functools

import jax
import jax.numpy as jnp
import pytest

from demo_jax.nn import models
from demo_jax.nn.models import SPECS
from demo_jax.report.architecture import architecture_figure, drawn_layers


@pytest.mark.parametrize('name', SPECS)
@pytest.mark.parametrize('length', [101, 60])
def test_layers_have_the_shapes_of_the_model(name, length):
    spec = SPECS[name]
    params = jax.eval_shape(functools.partial(models.init, spec=spec), jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((3, length), jnp.uint8)
    output = jax.eval_shape(lambda p, x: models.apply(p, x, spec), params, tokens)
    found = drawn_layers(spec, length)
    convolutions = [(3, layer.positions, layer.channels) for layer in found if layer.kind == 'convolution']
    assert convolutions == [a.shape for a in output.activations]
    lstms = [layer for layer in found if layer.kind == 'lstm']
    assert len(lstms) == spec.lstm_layers
    if lstms:
        assert output.hidden.shape == (3, lstms[-1].positions, 2 * lstms[-1].channels)
    summary, dense = found[-2:]
    assert params['dense']['kernel'].shape == (summary.channels, dense.channels)
    assert found[0][2:4] == (length, 4)


def test_too_short_a_sequence():
    with pytest.raises(ValueError, match='medium_cnn needs sequences of at least 28 bp, got 20'):
        drawn_layers(SPECS['medium_cnn'], 20)


def test_the_drawing_names_every_layer_and_size():
    specs = [SPECS[name] for name in ('medium_cnn', 'medium_rnn', 'large_cnn_rnn', 'deepbind')]
    figure = architecture_figure(specs)
    drawn = [ax for ax in figure.axes if ax.texts]
    for ax, spec in zip(drawn, specs, strict=True):
        words = [text.get_text() for text in ax.texts]
        for layer in drawn_layers(spec)[1:]:
            assert layer.operation.replace(', ', ',\n') in words
        for layer in drawn_layers(spec):
            size = f'{layer.positions} x {layer.channels}' if layer.positions > 1 else str(layer.channels)
            assert sum(word.split(' →')[0].split(' ←')[0] == size for word in words) >= layer.copies
        assert spec.kind in ax.get_title()
