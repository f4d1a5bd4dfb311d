"""Shapes are checked where tests call the core: what is wrong is noticed, what is right goes through."""

import jax
import numpy as np
import pytest

from demo_jax.explain.attribution import Attribution
from demo_jax.nn import kernels

ONE = np.ones


@pytest.mark.parametrize(
    'kernel, bias, message',
    [
        ((3, 2, 5), (4,), r'bias is \(\(4,\)'),
        ((3, 4, 5), (5,), r'kernel is \(\(3, 4, 5\)'),
        ((3, 2), (2,), 'kernel is'),
    ],
)
def test_a_wrong_argument_is_noticed(kernel, bias, message):
    x = ONE((9, 1, 2), np.float32)
    with pytest.raises(TypeError, match=message):
        kernels.conv1d(x, ONE(kernel, np.float32), ONE(bias, np.float32), 'same')
    assert kernels.conv1d(x, ONE((3, 2, 5), np.float32), ONE((5,), np.float32), 'same').shape == (9, 1, 5)


def test_it_is_noticed_while_traced_and_mapped():
    models = jax.vmap(lambda kernel: kernels.conv1d(ONE((9, 1, 2), np.float32), kernel, ONE(5, np.float32), 'same'))
    assert jax.eval_shape(models, ONE((7, 3, 2, 5), np.float32)).shape == (7, 9, 1, 5)
    with pytest.raises(TypeError, match='kernel is'):
        jax.eval_shape(models, ONE((7, 3, 1, 5), np.float32))


def test_a_wrong_result_is_noticed():
    score, signed = ONE(3, np.float32), ONE((3, 8), np.float32)
    assert Attribution('saliency', score, signed, ONE((3, 8, 4), np.float32)).model
    assert Attribution('saliency', score[None], signed[None], ONE((1, 3, 8, 4), np.float32)).model(0)
    for hypothetical in (ONE((3, 8, 5), np.float32), ONE((3, 7, 4), np.float32), ONE((3, 8, 4), np.int32)):
        with pytest.raises(TypeError, match='hypothetical is'):
            Attribution('saliency', score, signed, hypothetical)
    with pytest.raises(TypeError, match='signed is'):
        Attribution('saliency', score[:2], signed, ONE((3, 8, 4), np.float32))
