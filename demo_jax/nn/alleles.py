"""Scores of many windows of longer sequences, and of mutants of them, by CNNs that share what windows share (pure).

A *row* is a stretch of letters. Windows of one length that begin at multiples of the pools' blocks see the same
features there, so that each layer of a row is run once for all of its windows; what is left of a window is the maximum
over its top positions. A mutant differs from its window at one letter, and at each layer in a short span
(`Layer.span`): only this is computed anew, out of what the row has kept. Scores are those of `models.apply` up to
rounding.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from demo_jax.nn import edits, kernels
from demo_jax.nn.edits import Span
from demo_jax.nn.kernels import Array
from demo_jax.nn.layers import Convolution, Dense, Dropout, MaxPool, Summary
from demo_jax.nn.models import ModelSpec, Params


class Windows(NamedTuple):
    """W windows of rows.

    Attributes:
      row: int (W,), which row each lies in.
      start: int (W,), where it begins there, a multiple of `grid`.
    """

    row: Array
    start: Array


class Mutants(NamedTuple):
    """I windows that differ from their rows at one letter each.

    Attributes:
      row: int (I,), which row each lies in.
      start: int (I,), where its window begins there, a multiple of `grid`.
      position: int (I,), of the letter that differs, in the row.
      letter: uint8 (I,), what stands there; 4 = N.
    """

    row: Array
    start: Array
    position: Array
    letter: Array


@functools.lru_cache(maxsize=256)
def shares(spec: Any) -> bool:
    """Whether an architecture is one that this module knows: convolutions without padding, pools, and a maximum."""
    if not isinstance(spec, ModelSpec) or len(spec.layers) < 3:
        return False
    *body, summary, dense = spec.layers
    known = all(_known(layer) for layer in body) and isinstance(body[0], Convolution)
    top = isinstance(body[-1], Convolution) and type(summary) is Summary and summary.how == 'max'
    return known and top and type(dense) is Dense and not dense.both_strands


def _known(layer: Any) -> bool:
    if type(layer) is Convolution:
        return layer.padding == 'valid' and not layer.both_strands
    return type(layer) in (MaxPool, Dropout)


def grid(spec: ModelSpec) -> int:
    """Letters from one place to the next where windows of a row may begin."""
    return spec.reach.stride


def score(
    params: Params, spec: ModelSpec, tokens: Array, windows: Windows, mutants: Mutants, length: int
) -> tuple[Array, Array]:
    """Scores (W,) of windows and (I,) of mutants.

    Args:
      params: of one model.
      spec: its architecture, which `shares`.
      tokens: uint8 (R, L), the rows.
      windows: each lies in its row.
      mutants: likewise.
      length: letters of a window.
    """
    span = Span(grid(spec), 0, grid(spec), -(-tokens.shape[1] // grid(spec)))
    block = mutants.position // span.grid
    row, changed = tokens.T, _mutant_letters(tokens, mutants, span, spec)
    letters = True
    for layer in spec.layers[:-2]:
        if isinstance(layer, Convolution):
            kernel, bias = params[layer.name]['kernel'], params[layer.name]['bias']
            after = layer.span(span)
            if letters:
                held, before = (kernels.conv1d_tokens(seen, kernel, bias, 'valid') for seen in (row, changed))
            else:
                held = kernels.conv1d(row, kernel, bias, 'valid')
                seen = after.wider(0, layer.width - 1)
                around = _cut(row, mutants.row, edits.positions(seen, block))
                before = kernels.conv1d(_within(changed, around, span.offset - seen.offset), kernel, bias, 'valid')
            row, changed, span, letters = jax.nn.relu(held), jax.nn.relu(before), after, False
        elif isinstance(layer, MaxPool):
            whole = layer.whole(span)
            left = span.offset - whole.offset
            if whole.width > span.width:
                changed = _within(changed, _cut(row, mutants.row, edits.positions(whole, block)), left)
            row, span = kernels.max_pool1d(row, layer.block), layer.span(span)
            changed = changed.reshape(span.width, layer.block, *changed.shape[1:]).max(axis=1)
    n, dense = spec.sizes(length)[-3].positions, params[spec.layers[-1].name]
    own = _highest(row, windows, grid(spec), n, None)
    at = edits.positions(span, block)
    first = (mutants.start // grid(spec))[None]
    highest = _highest(row, Windows(mutants.row, mutants.start), grid(spec), n, at)
    held = (at >= first) & (at < first + n)
    for there in jnp.where(held[..., None], changed, 0):
        highest = jnp.maximum(highest, there)
    return _logit(dense, own), _logit(dense, highest)


def _logit(dense: Any, summary: Array) -> Array:
    logits = summary @ dense['kernel'] + dense['bias'][None]
    return logits[:, 1] - logits[:, 0]


def _highest(row: Array, windows: Windows, grid: int, n: int, left_out: Array | None) -> Array:
    """The maximum (W, C) of the n top positions of windows, without those that are left out: int (width, W).

    Position by position: a maximum over an axis of looked-up rows takes ten times as long on a CPU.
    """
    first = windows.start // grid

    def step(highest: jax.Array, place: jax.Array) -> tuple[jax.Array, None]:
        at = first + place
        there = _cut(row, windows.row, at[None])[0]
        if left_out is not None:
            kept = (at < left_out[0]) | (at > left_out[-1])
            there = jnp.where(kept[:, None], there, 0)  # activations are 0 or more
        return jnp.maximum(highest, there), None

    lowest = jnp.zeros((len(first), row.shape[-1]), row.dtype)
    return jax.lax.scan(step, lowest, jnp.arange(n))[0]


def _mutant_letters(tokens: Array, items: Mutants, span: Span, spec: ModelSpec) -> Array:
    """The letters that the first convolution reads around each mutation: uint8 (width, I)."""
    first = spec.layers[0]
    assert isinstance(first, Convolution)  # as `shares` has seen
    at = edits.positions(first.span(span).wider(0, first.width - 1), items.position // span.grid)
    found = jnp.asarray(tokens).at[items.row[None], jnp.maximum(at, 0)].get(mode='clip')
    return jnp.where(at == items.position[None], items.letter[None], found)


def _within(changed: Array, around: Array, left: int) -> Array:
    """What is around a change, (n, I, C), with the change (width, I, C) in its place from position `left` on."""
    return jnp.concatenate([around[:left], changed, around[left + len(changed) :]])


def _cut(row: Array, of: Array, at: Array) -> Array:
    """What rows (n, R, C) have at positions (width, I): (width, I, C); beyond the ends, what no window looks at."""
    n, r, channels = row.shape
    # With a single index, a CPU copies all channels at once.
    return row.reshape(n * r, channels)[jnp.clip(at, 0, n - 1) * r + of[None]]
