"""What of a layer differs between known sequences and their mutants, which have other letters at few positions (pure).

A mutant of a sequence differs from it in one or more windows of letters. Behind each layer it still differs in windows
alone, wider by what a position of that layer sees, until a layer looks at all positions: LSTMs, where everything behind
a window (in the direction of reading) differs, or a summary, which leaves nothing to know of positions. `nn.layers`
says for each layer how one becomes the other, and `nn.mutants` runs the layers.

Windows begin at places on a grid, so that blocks of pooling lie in a window or outside of it, whatever the mutant.
Arrays of mutants are (positions, M, B, C): M mutants of each of B sequences.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax.nn import kernels
from demo_jax.nn.kernels import Array


class Span(NamedTuple):
    """The positions of a layer where a mutant of block k differs: `width` of them from k * grid + offset on.

    Attributes:
      grid: positions of this layer that a block of letters becomes.
      offset: of the first position; below zero where layers look to the left.
      width: how many. Those outside of the sequence mean nothing.
      blocks: how many blocks there are, k = 0 to blocks - 1.
    """

    grid: int
    offset: int
    width: int
    blocks: int

    def wider(self, left: int, right: int) -> 'Span':
        """With more positions on both sides."""
        return self._replace(offset=self.offset - left, width=self.width + left + right)


class Along(NamedTuple):
    """An array of known sequences (n, B, C), with room at both ends for windows that hang over.

    Attributes:
      array: (before + n + behind, B, C).
      before: positions of room before the first.
    """

    array: Array
    before: int


class Window(NamedTuple):
    """Where mutants differ, and what is there; zero at positions outside of the sequence.

    Attributes:
      block: int (), of all mutants, or (M,).
      x: (width, M, B, C), what leaves the layer.
      change: (width, M, B, C), x less that of the sequence without the mutation.
      before_relu: (width, M, B, C), x before the ReLU of a convolution; None behind other layers.
    """

    block: Array
    x: Array
    change: Array
    before_relu: Array | None = None


class Edit(NamedTuple):
    """Mutants that differ in windows of one span. Where windows overlap, each holds what both mutations do."""

    span: Span
    windows: tuple[Window, ...]


class Tail(NamedTuple):
    """Mutants behind LSTMs: each direction, in its own order, differs from one position on.

    Attributes:
      hidden: for each direction (L', M, B, H), the outputs from `first` on; arbitrary before.
      first: for each direction int (), the first position that differs.
      total: for each direction (M, B, H), the sum of the outputs over all positions.
    """

    hidden: tuple[Array, Array]
    first: tuple[Array, Array]
    total: tuple[Array, Array]


def along(array: Array, span: Span, fill: float = 0.0) -> Along:
    """An array (n, B, C) from which windows of a span can be cut; what hangs over holds `fill`."""
    last = span.grid * (span.blocks - 1) + span.offset + span.width
    before, behind = max(0, -span.offset), max(0, last - len(array))
    return Along(jnp.pad(array, ((before, behind), (0, 0), (0, 0)), constant_values=fill), before)


def cut(known: Along, span: Span, block: Array) -> Array:
    """What known sequences have in a window: (width, 1, B, C), of blocks (M,) (width, M, B, C)."""
    start = span.grid * block + span.offset + known.before
    if jnp.ndim(block) == 0:
        return jax.lax.dynamic_slice_in_dim(known.array, start, span.width)[:, None]
    return known.array[start[None] + np.arange(span.width)[:, None]]


def positions(span: Span, block: Array) -> Array:
    """The positions of a window: int (width, 1), of blocks (M,) (width, M)."""
    return jnp.atleast_1d(span.grid * block + span.offset)[None] + np.arange(span.width)[:, None]


def inside(span: Span, block: Array, n: int | Array) -> Array:
    """Which positions of a window lie in the sequence, of n or (B,) positions: bool (width, 1 or M, 1 or B, 1)."""
    at = positions(span, block)[..., None]
    return ((at >= 0) & (at < jnp.atleast_1d(jnp.asarray(n))[None, None]))[..., None]


def change_around(edit: Edit, index: int, left: int, right: int) -> Array:
    """The change in a window and so many positions on both sides: (left + width + right, M, B, C).

    Beside the window it is what other windows hold there, else zero.
    """
    own = edit.windows[index]
    around = jnp.pad(own.change, ((left, right), (0, 0), (0, 0), (0, 0)))
    beside = np.ones(len(around), bool)
    beside[left : left + edit.span.width] = False
    at = positions(edit.span.wider(left, right), own.block)
    for other in edit.windows[:index] + edit.windows[index + 1 :]:
        place = at - positions(edit.span, other.block)[:1]
        held = (place >= 0) & (place < edit.span.width) & beside[:, None]
        there = jnp.broadcast_to(jnp.clip(place, 0, edit.span.width - 1)[..., None, None], around.shape)
        found = jnp.take_along_axis(other.change, there, axis=0)
        around = jnp.where(held[..., None, None], found, around)
    return around


def seen_before(edit: Edit, index: int) -> Array:
    """Which positions of a window lie in windows of a lower index, too: bool (width, 1 or M, 1, 1)."""
    at = positions(edit.span, edit.windows[index].block)
    seen = jnp.zeros(at.shape, bool)
    for other in edit.windows[:index]:
        place = at - positions(edit.span, other.block)[:1]
        seen = seen | ((place >= 0) & (place < edit.span.width))
    return seen[..., None, None]


def spread(change: Array, kernel: Array) -> Array:
    """What a convolution makes of a change in a window, zero around it: (w, M, B, C) -> (w + width - 1, M, B, F).

    One product gives what each position adds to each of the `width` outputs that see it: nothing is multiplied with
    the zeros around, which would be half of the work of a convolution.
    """
    w, m, b, channels = change.shape
    width, _, filters = kernel.shape
    # Tap t of a filter stands over position q + t: position p adds to output p - t, counted from the last tap.
    taps = kernel[::-1].transpose(1, 0, 2).reshape(channels, width * filters)
    parts = (change.reshape(w * m * b, channels) @ taps).reshape(w, m * b, width, filters)
    out = [sum(parts[i, :, j - i] for i in range(max(0, j - width + 1), min(w, j + 1))) for j in range(w + width - 1)]
    return jnp.stack(out).reshape(-1, m, b, filters)


def convolved(edit: Edit, index: int, kernel: Array) -> Array:
    """What a convolution makes of the change around a window: (width + kernel width - 1, M, B, F)."""
    if len(edit.windows) == 1:
        return spread(edit.windows[0].change, kernel)
    reach = len(kernel) - 1
    around = change_around(edit, index, reach, reach)
    rows = around.reshape(len(around), -1, around.shape[-1])
    found = kernels.conv1d(rows, kernel, jnp.zeros(kernel.shape[-1], kernel.dtype), 'valid')
    return found.reshape(len(found), *around.shape[1:3], -1)
