"""Pieces of several models in one program are those of each model alone."""

import jax
import numpy as np
import pytest

from demo_jax.explain.pieces import PIECES, Subject, options, own_part, stacked
from demo_jax.nn.models import ModelSpec
from tests.helpers_models import CNN_RNN, random_params

MANY = [name for name, piece in PIECES.items() if piece.many]
MEANS = ModelSpec('means', conv=((5, 4),), summary='max_mean')  # of all positions, so that padding would show
QUICK = options() | {'integration_steps': 3, 'references': 2}


def subject(spec, seed, n, length, lengths=None):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 4, (n, length)).astype(np.uint8)
    if lengths is not None:
        lengths = np.array(lengths, np.int32)
        tokens = np.where(np.arange(length) < lengths[:, None], tokens, np.uint8(4))
    params = jax.tree.map(np.asarray, random_params(spec, seed=seed))
    return Subject(params, spec, tokens, lengths, True)


def test_attributions_and_temporal_scores_are_made_together():
    assert {'saliency', 'integrated_gradients', 'mutagenesis', 'temporal'} <= set(MANY)


def test_stacking_keeps_every_letter():
    parts = [subject(CNN_RNN, 0, 3, 12, [12, 9, 10]), subject(CNN_RNN, 1, 2, 15)]
    found = stacked(parts)
    assert found.tokens.shape == (2, 3, 15) and found.lengths.tolist() == [[12, 9, 10], [15, 15, 15]]
    for place, part in enumerate(parts):
        np.testing.assert_array_equal(own_part(found.tokens[place], 'NL', part), part.tokens)
        assert (found.tokens[place, len(part.tokens) :] == found.tokens[place, len(part.tokens) - 1]).all()
    assert stacked(parts[1:]).lengths is None


@pytest.mark.parametrize('name', MANY)
def test_together_is_alone(name):
    piece = PIECES[name]
    spec = CNN_RNN if name == 'temporal' else MEANS  # whose programs are shorter
    parts = [subject(spec, 0, 3, 13, [13, 9, 10]), subject(spec, 1, 2, 15)]
    together = piece.many(parts, QUICK)
    for part, found in zip(parts, together, strict=True):
        alone = piece.make(part, QUICK)
        assert set(found) == set(alone) == set(piece.arrays)
        for array in alone:
            scale = max(1.0, float(np.nanmax(np.abs(alone[array]))))
            np.testing.assert_allclose(found[array], alone[array], atol=2e-5 * scale, rtol=1e-4, err_msg=array)
