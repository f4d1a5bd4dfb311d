"""DeepLIFT against tangermeme's, on the same weights and shuffled references; skipped where it is missing."""

import jax
import numpy as np
import pytest

from demo_jax import dna
from demo_jax.explain.deeplift import deeplift
from demo_jax.explain.references import shuffles
from demo_jax.nn.models import SPECS
from tests.helpers_models import fresh, sequences

torch = pytest.importorskip('torch')
pytest.importorskip('tangermeme')


@pytest.mark.filterwarnings('default')  # of libraries
@pytest.mark.parametrize(
    'name, wide',
    [
        ('small_cnn', True),
        ('medium_cnn', True),
        ('medium_cnn', False),
        ('deepbind', True),
        ('medium_cnn_rnn', True),
    ],
)
def test_tangermeme_finds_the_same(name, wide):
    from experiments.benchmarks import deeplift_peers

    torch.set_num_threads(1)  # else it waits for cores that others use
    dtype, length = np.float64 if wide else np.float32, 20 if SPECS[name].lstm_layers else 64
    tokens = sequences(2, length=length)
    given = shuffles(tokens, None, 3, 0)
    x, references = dna.one_hot(tokens).astype(dtype), dna.one_hot(given).astype(dtype)
    with jax.enable_x64(wide):
        params = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), fresh(name))
        found = jax.jit(deeplift(SPECS[name]))(params, x, references)
    theirs = deeplift_peers.tangermeme(SPECS[name], params, length, batch_size=6)(x, references)
    # It takes the plain gradient where two numbers differ by less than 1e-6, which a gate's secant is near to.
    tolerance = (1e-7 if SPECS[name].lstm_layers else 1e-9) if wide else 1e-4
    np.testing.assert_allclose(found.hypothetical, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())
    assert np.abs(found.error).max() < (1e-12 if wide else 1e-5)
