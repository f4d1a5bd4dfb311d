"""Scores of windows that overlap along a sequence, computing once what they share (pure).

The scores are those of `models.apply` of every window by itself, up to rounding, for any spec whose layers up to the
summary say what windows share behind them (`shares`).
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from demo_jax.nn import kernels, overlaps
from demo_jax.nn.kernels import Array
from demo_jax.nn.layers import Run, Signal, knows
from demo_jax.nn.models import ModelSpec, Params
from demo_jax.nn.overlaps import Overlaps


@functools.lru_cache(maxsize=256)
def shares(spec: ModelSpec, width: int) -> bool:
    """Whether the layers of a spec know what windows of so many letters share, and windows are long enough for it."""
    reach = spec.reach
    if width <= reach.left + reach.right + reach.stride:  # else some position sees neither end of the window
        return False
    for layer in spec.layers:
        if not knows(layer, 'overlap'):
            return False
        if layer.summarises:
            return True
    return False


def classes(spec: ModelSpec, stride: int) -> int:
    """Into how many classes pools deal out windows that begin so many letters apart; they come in multiples of that."""
    return spec.reach.stride // math.gcd(spec.reach.stride, stride)


def score(params: Params, spec: ModelSpec, tokens: Array, stride: int, windows: int) -> Array:
    """Scores S (B, K) of windows along each sequence.

    Args:
      params: of one model.
      spec: its architecture, which `shares`.
      tokens: uint8 (B, L); the windows begin every `stride` letters, the last one ends at L.
      stride: letters from one window to the next.
      windows: K, a multiple of `classes`.
    """
    x = kernels.one_hot(tokens, jax.tree.leaves(params)[0].dtype).transpose(1, 0, 2)
    state: Any = overlaps.letters(jnp.asarray(x), stride, windows)
    dealt, here = state.classes, windows
    for layer, above in zip(spec.layers, (*spec.layers[1:], spec.layers[-1]), strict=True):
        of_layer = params.get(layer.name, {})
        state = (
            layer.apply(of_layer, state, Run()) if isinstance(state, Signal) else layer.overlap(of_layer, state, above)
        )
        if isinstance(state, Overlaps):
            dealt, here = state.classes, state.windows
    return overlaps.gathered(state.x[:, 1] - state.x[:, 0], here, dealt).T
