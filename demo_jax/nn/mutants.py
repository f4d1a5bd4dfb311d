"""Scores of mutants of known sequences, computing only what a mutation changes (pure).

The layers are run once over the known sequences, and each keeps what its mutants will ask for (`Layer.keep`). Then
each mutant passes through the layers as the windows where it differs (`Layer.edit`). The scores are those of `apply`
up to rounding, for any spec whose layers up to the summary say what they do to an edit (`follows`).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax.nn import edits, kernels
from demo_jax.nn.edits import Along, Edit, Span, Window
from demo_jax.nn.kernels import Array
from demo_jax.nn.layers import Run, Signal, knows
from demo_jax.nn.models import ModelSpec, Params


class Known(NamedTuple):
    """Sequences that have been scored, and what the layers kept of them.

    Attributes:
      score: (B,), see `models.Output.score`.
      letters: (L, B, 4), with room behind for a last whole block.
      span: of the letters: blocks of as many letters as one position of the top layer steps over.
      spans: of what comes into each layer.
      kept: by each layer.
    """

    score: Array
    letters: Along
    span: Span
    spans: tuple[Span, ...]
    kept: tuple[Any, ...]


@functools.lru_cache(maxsize=256)
def follows(spec: ModelSpec) -> bool:
    """Whether the mutants of a spec can be followed: its layers up to the summary know how."""
    for layer in spec.layers:
        if not knows(layer, 'edit'):
            return False
        if layer.summarises:
            return True
    return False


def keep(params: Params, spec: ModelSpec, x: Array, lengths: Array | None = None, *, width: int = 1) -> Known:
    """Score sequences, and keep what their mutants ask for.

    Args:
      params: of one model.
      spec: its architecture, which `follows`.
      x: letters, float (B, L, 4).
      lengths: (B,), or None where all sequences fill their rows.
      width: letters of a mutated window, up to so many.
    """
    if lengths is not None:
        x = x * (jnp.arange(x.shape[1])[None] < lengths[:, None])[..., None]
    grid = spec.reach.stride
    n_blocks = -(-x.shape[1] // grid)
    # A window that begins anywhere in a block ends in one of the next.
    span = Span(grid, 0, grid * -(-(width + grid - 1) // grid), n_blocks)
    signal, here, spans, kept = Signal(x.transpose(1, 0, 2), lengths), span, [], []
    letters = edits.along(signal.x, span)
    for layer in spec.layers:
        spans.append(here)
        signal, of_layer = layer.keep(params.get(layer.name, {}), signal, here)
        kept.append(of_layer)
        here = layer.span(here)
    return Known(signal.x[:, 1] - signal.x[:, 0], letters, span, tuple(spans), tuple(kept))


def score(params: Params, spec: ModelSpec, known: Known, windows: list[tuple[Array, Array]]) -> Array:
    """Scores (M, B) of mutants.

    Args:
      params: see `keep`, and so is `spec`.
      known: the sequences that they are mutants of.
      windows: for each window, which block of `known.span` it begins with, int () or (M,); and the letters of the
        mutants there, (width of the span, M, B, 4), zero behind a sequence's end. Windows may overlap: each then
        holds all mutations of its letters.
    """
    found = []
    for block, letters in windows:
        change = letters - edits.cut(known.letters, known.span, block)
        found.append(Window(block, letters, change))
    m, batch = found[0].x.shape[1:3]
    state: Any = Edit(known.span, tuple(found))
    for layer, kept in zip(spec.layers, known.kept, strict=True):
        of_layer = params.get(layer.name, {})
        state = layer.apply(of_layer, state, Run()) if isinstance(state, Signal) else layer.edit(of_layer, kept, state)
    return (state.x[:, 1] - state.x[:, 0]).reshape(m, batch)


def scores_of(params: Params, spec: ModelSpec, tokens: Array, mutated: Array, starts: Array, width: int) -> Array:
    """Scores (M,) of mutants of one sequence that differ from it in the same number of windows each.

    Those of mutants that lie near each other cost least: LSTMs go on from the first letter that differs in any of them.

    Args:
      params: of one model, and so is `spec`.
      spec: see `keep`.
      tokens: uint8 (L,).
      mutated: uint8 (M, L).
      starts: int (M, W), where the windows begin, of which there are W. They may overlap.
      width: letters of each window.
    """
    dtype = jax.tree.leaves(params)[0].dtype
    known = keep(params, spec, kernels.one_hot(tokens[None], dtype), width=width)
    blocks = starts // known.span.grid
    behind = len(known.letters.array) - len(tokens)
    letters = jnp.pad(kernels.one_hot(mutated, dtype), ((0, 0), (0, behind), (0, 0)))

    def window(block: Array) -> tuple[Array, Array]:
        at = edits.positions(known.span, block)  # (width of the span, M)
        return block, letters[np.arange(len(mutated))[None], at][:, :, None]

    return score(params, spec, known, [window(blocks[:, index]) for index in range(starts.shape[1])])[:, 0]


def rows(spec: ModelSpec, alternatives: int) -> int:
    """Mutants of a sequence that `changes` scores at a time: those of a block of letters."""
    return alternatives * spec.reach.stride


def changes(
    params: Params, spec: ModelSpec, tokens: Array, lengths: Array | None, others: Array
) -> tuple[Array, Array]:
    """Scores of sequences, and by how much each single mutation changes them.

    Args:
      params: of one model, and so is `spec`.
      spec: see `keep`.
      tokens: uint8 (B, L).
      lengths: see `keep`.
      others: uint8 (A, B, L), the letters that stand in the place of each letter, one at a time; 4 = N.

    Returns:
      (B,) scores, and (A, B, L) changes; those behind a sequence's end mean nothing.
    """
    dtype = jax.tree.leaves(params)[0].dtype
    known = keep(params, spec, kernels.one_hot(tokens, dtype), lengths)
    grid, n_blocks, alternatives, length = known.span.grid, known.span.blocks, len(others), tokens.shape[1]
    behind = ((0, 0), (0, 0), (0, grid * n_blocks - length))
    blocks = jnp.pad(others, behind, constant_values=4).reshape(alternatives, -1, n_blocks, grid)
    own = np.eye(grid, dtype=bool)[:, :, None, None, None]  # letter i of a block, in the mutants of its letter j

    def of_block(block: Array) -> Array:
        letters = edits.cut(known.letters, known.span, block)[:, None]  # (grid, 1, 1, B, 4)
        mutated = kernels.one_hot(blocks[:, :, block], dtype).transpose(2, 0, 1, 3)[None]  # (1, grid, A, B, 4)
        mutants = jnp.where(own, mutated, letters).reshape(grid, grid * alternatives, -1, 4)
        if lengths is not None:
            mutants = jnp.where(edits.inside(known.span, block, lengths), mutants, 0)
        return score(params, spec, known, [(block, mutants)]).reshape(grid, alternatives, -1) - known.score[None, None]

    found = jax.lax.map(of_block, jnp.arange(n_blocks)).transpose(2, 3, 0, 1)  # (A, B, blocks, grid)
    return known.score, found.reshape(alternatives, -1, n_blocks * grid)[..., :length]
