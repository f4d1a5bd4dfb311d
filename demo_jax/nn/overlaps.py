"""What windows of one sequence that overlap have in common behind a layer, and what is each window's own (pure).

Windows begin every so many positions. Behind a layer, most of what a window holds does not depend on where the window
begins and ends: it is computed once, along the sequence, and all windows share it. The rest is at a window's ends,
where a convolution's padding stands in for letters that the sequence has: this is computed for every window.
`nn.layers` says for each layer how one becomes the other (`Layer.overlap`), and `nn.dense` runs the layers.

Pooling makes blocks that begin where a window does. If windows do not begin a whole number of blocks apart, they are
dealt out to classes that do, and each class shares what it pools.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from demo_jax.nn import kernels


class Overlaps(NamedTuple):
    """K windows along each of B sequences, behind a layer.

    Position q of window k is `left[q, k]` where q < a, else `x[first + k * step + q - a]` for as many positions as are
    `shared`, else the rest of them `right[:, k]`.

    Attributes:
      x: (n, B, C), what windows share.
      first: position of x at which the first window's shared part begins.
      step: positions of x from one window to the next.
      shared: positions of a window that it shares.
      left: (a, K, B, C), a window's own before these.
      right: (b, K, B, C), a window's own behind these.
      classes: into how many classes every pool has dealt out the windows, first to last.
    """

    x: Array
    first: int
    step: int
    shared: int
    left: Array
    right: Array
    classes: tuple[int, ...] = ()

    @property
    def windows(self) -> int:
        """K."""
        return self.left.shape[1]

    @property
    def positions(self) -> int:
        """Positions of a window, its own and shared."""
        return len(self.left) + self.shared + len(self.right)


class Sums(NamedTuple):
    """The outputs of LSTMs, summed over the positions of each window.

    Attributes:
      total: for each direction (K * B, H).
      positions: how many were summed.
    """

    total: tuple[Array, Array]
    positions: int


def letters(x: Array, stride: int, windows: int) -> Overlaps:
    """Windows of letters x (L, B, 4), every `stride` letters; the last of them ends with the sequence."""
    width = len(x) - stride * (windows - 1)
    nothing = jnp.zeros((0, windows, *x.shape[1:]), x.dtype)
    return Overlaps(x, 0, stride, width, nothing, nothing)


def take(state: Overlaps, first: int, count: int) -> Array:
    """So many shared positions of every window, from its shared position `first` on: (count, K, B, C)."""
    k = state.windows
    if not count:
        return state.left[:0]
    starts = range(state.first + first, state.first + first + count)
    reach = (k - 1) * state.step + 1
    return jnp.stack([state.x[start : start + reach : state.step] for start in starts])


def dealt(state: Overlaps, block: int) -> Overlaps:
    """The windows in as many classes, side by side in B, as make a class's windows whole blocks apart.

    Raises:
      ValueError: the windows do not go into so many classes.
    """
    n = block // math.gcd(state.step, block)
    if n == 1:
        return state._replace(classes=(*state.classes, 1))
    if state.windows % n:
        raise ValueError(f'{state.windows} windows, expected a multiple of {n}')
    length = len(state.x) - (n - 1) * state.step
    x = jnp.stack([state.x[i * state.step : i * state.step + length] for i in range(n)], axis=2)

    def own(part: Array) -> Array:
        a, k, b, c = part.shape
        return part.reshape(a, k // n, n, b, c).swapaxes(2, 3).reshape(a, k // n, b * n, c)

    return state._replace(
        x=x.reshape(length, -1, x.shape[-1]),
        step=state.step * n,
        left=own(state.left),
        right=own(state.right),
        classes=(*state.classes, n),
    )


def gathered(scores: Array, windows: int, classes: tuple[int, ...]) -> Array:
    """Scores (K * B,) of windows that were dealt out, as (K', B'), in the order along each sequence."""
    found = scores.reshape(windows, -1)
    for n in reversed(classes):
        k, b = found.shape
        found = found.reshape(k, b // n, n).swapaxes(1, 2).reshape(k * n, b // n)
    return found


def largest(state: Overlaps) -> Array:
    """The maximum over the positions of every window, (K, B, C)."""
    found = _over_shared(state, jnp.maximum)
    for part in (state.left, state.right):
        if len(part):
            found = jnp.maximum(found, part.max(axis=0))
    return found


def total(state: Overlaps) -> Array:
    """The sum over the positions of every window, (K, B, C)."""
    return _over_shared(state, jnp.add) + state.left.sum(axis=0) + state.right.sum(axis=0)


def _over_shared(state: Overlaps, combine: kernels.Combine) -> Array:
    """What `combine` makes of the shared positions of every window, (K, B, C), from those of whole steps."""
    k, step, shared = state.windows, state.step, state.shared
    whole, rest = divmod(shared, step)
    n = k + whole if rest else k + whole - 1
    end = n * step
    x = state.x[state.first : state.first + end]
    blocks = jnp.pad(x, ((0, end - len(x)), (0, 0), (0, 0))).reshape(n, step, *x.shape[1:])

    def over(part: Array) -> Array:
        return part.max(axis=1) if combine is jnp.maximum else part.sum(axis=1)

    parts = []
    if whole:
        parts.append(kernels.sliding(over(blocks), whole, combine)[:k])
    if rest:
        parts.append(over(blocks[whole : whole + k, :rest]))
    return parts[0] if len(parts) == 1 else combine(*parts)


def lstm(state: Overlaps, params: Mapping[str, Any], direction: int, sums: bool) -> Array:
    """One direction of LSTMs over the positions of every window.

    Args:
      state: what they read.
      params: kernel (C, 4H), recurrent (H, 4H) and bias (4H,), see `kernels.lstm_step`.
      direction: 0 reads from the first position to the last, 1 from the last to the first.
      sums: return the sum of the outputs over the positions (K * B, H), not the outputs (n, K * B, H) in the order in
        which they are read.
    """
    kernel, recurrent, bias = (jnp.asarray(params[name]) for name in ('kernel', 'recurrent', 'bias'))
    rows, size = state.windows * state.x.shape[1], len(recurrent)

    def gates(x: Array) -> Array:
        return x @ kernel + _last_axis(bias, x.ndim)

    def onward(
        carry: tuple[kernels.LstmState, Array], z: Array
    ) -> tuple[tuple[kernels.LstmState, Array], Array | None]:
        now: Any = kernels.lstm_advance(carry[0], z, recurrent)
        return (now, carry[1] + now.h) if sums else (now, carry[1]), None if sums else now.h

    read = _by_step(gates(state.x), state.step)
    shared = state.first + jnp.arange(state.shared)
    own = [gates(part).reshape(len(part), rows, 4 * size) for part in (state.left, state.right)]
    if direction:
        own, shared = [part[::-1] for part in own[::-1]], shared[::-1]
    zeros = jnp.zeros((rows, size), state.x.dtype)
    carry: Any = (kernels.LstmState(h=zeros, c=zeros), zeros)
    hidden: list[Any] = []

    def inside(carry: Any, place: Array) -> tuple[Any, Any]:
        return onward(carry, _at(read, place, state.windows))

    for step, over in ((onward, own[0]), (inside, shared), (onward, own[1])):
        carry, outputs = jax.lax.scan(step, carry, over)
        hidden.append(outputs)
    return carry[1] if sums else jnp.concatenate(hidden)


def _last_axis(bias: Array, ndim: int) -> Array:
    return bias.reshape((1,) * (ndim - 1) + bias.shape)


def _by_step(x: Array, step: int) -> Array:
    """Positions (n, B, C) as (n', step, B, C): one position of all windows is one slice of it, nothing is copied."""
    n = -(-len(x) // step)
    return jnp.pad(x, ((0, n * step - len(x)), (0, 0), (0, 0))).reshape(n, step, *x.shape[1:])


def _at(read: Array, place: Array, windows: int) -> Array:
    """What all windows hold at a position of the first one, rows (K * B, C), of what `_by_step` returns."""
    start = (place // read.shape[1], place % read.shape[1], 0, 0)
    return jax.lax.dynamic_slice(read, start, (windows, 1, *read.shape[2:])).reshape(-1, read.shape[-1])
