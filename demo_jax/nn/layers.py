"""The layers that architectures are made of: one record each, with all that is to be known of it (pure).

A layer says what parameters it has and how they begin, what it does to a signal, how many positions and channels
leave it, what it costs, how far it sees, and what drawings call it. A model is a tuple of layers (`nn.models`), and
every question about a model is a fold over them. To add a kind of layer, add a record here, or anywhere else.

Everything is time-major, (L, B, C), see `nn.kernels`.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from demo_jax.nn import edits, kernels, overlaps
from demo_jax.nn.edits import Along, Edit, Span, Tail, Window
from demo_jax.nn.kernels import Array
from demo_jax.nn.overlaps import Overlaps, Sums

LayerParams = Mapping[str, Array]
#: The mean square of an LSTM's output whose gates read inputs of variance 1, by simulation.
_UNIT_SQUARE = 0.1


class Size(NamedTuple):
    """What leaves a layer, of one sequence: so many positions (1 = summed up) of so many channels, in `copies`.

    There are two copies where there is one for each direction (LSTMs) or strand, else one.
    """

    positions: int
    channels: int
    copies: int = 1


class Reach(NamedTuple):
    """What a position q of a layer sees of the letters: q * stride - left to q * stride + right."""

    stride: int = 1
    left: int = 0
    right: int = 0


class Signal(NamedTuple):
    """What runs through the layers.

    Attributes:
      x: float (L', B, C), or (B, C) when positions have been summed up.
      lengths: (B,) positions of each sequence, None where all have all.
      before_relu: x before the ReLU of the convolution that it comes from, else None. LSTMs take the ReLU themselves.
      pair: of LSTMs, the outputs (L', B, H) of the forward direction in the order of the sequence, and of the backward
        direction in its own; else None. `x` is then out of date.
    """

    x: Array
    lengths: Array | None = None
    before_relu: Array | None = None
    pair: tuple[Array, Array] | None = None


class Run(NamedTuple):
    """How a model is run: dropout rate () and random key () while training, else None; see also `models.apply`."""

    dropout: Array | float | None = None
    key: Array | None = None
    dropout_bits: int = 8
    hoist: bool = False

    def drop(self, y: Array, place: int) -> Array:
        """An array y (L, B, C) or (B, C) with dropout; its masks depend on the key and the place alone."""
        if self.dropout is None:
            return y
        assert self.key is not None  # `models.apply` refuses it
        return kernels.dropout(y, self.dropout, jax.random.fold_in(self.key, place), self.dropout_bits)


class PageStep(NamedTuple):
    """How the page computes a layer: an operation of `report/page_files/model.js`.

    Attributes:
      operation: its name there.
      settings: its numbers and words, as JSON has them.
      arrays: its weights; outputs are the last axis.
    """

    operation: str
    settings: Mapping[str, int | str | bool] = {}
    arrays: Mapping[str, Array] = {}


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer without parameters that changes nothing: what others differ from.

    Attributes:
      name: the key of its parameters; '' = it has none.
    """

    name: str = ''

    #: What drawings colour it by, e.g. 'convolution'; '' = it is not drawn.
    kind = ''
    #: Whether it sums up all positions: what follows needs no `edit`.
    summarises = False

    def shapes(self, channels: int) -> dict[str, tuple[int, ...]]:
        """Shapes of its parameters where so many channels come in."""
        return {}

    def initial(self, drawn: LayerParams, square: float) -> LayerParams:
        """Its first parameters, out of numbers drawn uniformly from [-1, 1), by name and shape as in `shapes`.

        `square` is what to expect of the squared norm of that which comes in at a position, see `square`.
        """
        return drawn

    def square(self, square: float, channels: int) -> float:
        """What to expect at first of the squared norm of what leaves it at a position, by that of what comes in.

        One letter has 1. What a layer reads is not told by the number of its inputs: of a letter's four one is on.
        """
        return square

    def apply(self, params: LayerParams, signal: Signal, run: Run) -> Signal:
        """What leaves it."""
        return signal

    def positions(self, n: Any) -> Any:
        """How many positions leave it where n come in, n an integer or an array int (B,)."""
        return n

    def needs(self, n: int) -> int:
        """How many positions have to come in so that n leave it."""
        return n

    def size(self, size: Size) -> Size:
        """What leaves it, where this comes in."""
        return size._replace(positions=self.positions(size.positions))

    def products(self, size: Size, batch: int) -> list[int]:
        """Floating-point operations of its matrix products, where this comes in for each of `batch` sequences."""
        return []

    def reach(self, above: Reach) -> Reach | None:
        """What the layers above see of what comes in, where they see `above` of what leaves it; None = everything."""
        return above

    def span(self, span: Span) -> Span:
        """Where mutants differ behind it, if they differ at this span of what comes in."""
        return span

    def keep(self, params: LayerParams, signal: Signal, span: Span) -> tuple[Signal, Any]:
        """What leaves it of known sequences, and what `edit` reads of it for mutants that differ at this span.

        A layer that defines `apply` alone is run on whole mutants; to do less it defines these three.
        """
        return self.apply(params, signal, Run()), None

    def edit(self, params: LayerParams, kept: Any, edit: Any) -> Any:
        """What leaves it of mutants (`Edit` or `Tail`), out of what comes in and what `keep` kept.

        A layer that `summarises` returns a `Signal` of rows (M * B, C).
        """
        return edit

    def page(self, params: LayerParams) -> PageStep | None:
        """How the page computes it; None = it cannot, and says so of every architecture with this layer."""
        return None

    def overlap(self, params: LayerParams, state: Any, above: 'Layer') -> Any:
        """What leaves it of overlapping windows (`Overlaps` or `Sums`), where the layer `above` is next.

        A layer that defines `apply` alone is run on whole windows. A layer that has seen all positions returns a
        `Signal` of rows (K * B, C).
        """
        return state

    def kept(self, size: Size) -> int:
        """Numbers per position that its gradient keeps, roughly, where this leaves it."""
        return 0

    def label(self, size: Size) -> str:
        """What drawings write at it, where this leaves it."""
        return self.kind


def knows(layer: Layer, how: str) -> bool:
    """Whether a layer's 'edit' or 'overlap' belongs to its `apply`: a subclass may have changed the one alone."""
    owners = {name: next(c for c in type(layer).__mro__ if name in vars(c)) for name in ('apply', how)}
    return issubclass(owners[how], owners['apply'])


def inside(x: Array, lengths: Array) -> Array:
    """(L, B): 1 at the positions of each sequence of x (L, B, C), 0 in its padding behind lengths (B,)."""
    return (jnp.arange(x.shape[0])[:, None] < lengths[None]).astype(x.dtype)


def _masked(x: Array, lengths: Array | None) -> Array:
    return x if lengths is None else x * inside(x, lengths)[..., None]


def _count(signal: Signal) -> int | Array:
    """Positions of each sequence, () or (B,)."""
    return len(signal.x) if signal.lengths is None else signal.lengths


class _KeptConvolution(NamedTuple):
    before_relu: Along
    n: int | Array  # positions that leave it


class _KeptPool(NamedTuple):
    x: Along  # what comes in
    pooled: Along
    n: int | Array


class _KeptSummary(NamedTuple):
    x: Along
    n: int | Array
    n_most: int  # positions of the longest
    before: Array  # (n_most + 1, B, C), the maximum of the positions before each
    behind: Array  # likewise of those from each on
    total: Array  # (B, C)


class _KeptLstm(NamedTuple):
    z: Array  # (L', B, 4H), what is read, projected; all in the direction's own order
    states: kernels.LstmState  # (L' + 1, B, H), before each position
    total: Array  # (L' + 1, B, H), of the outputs before each position
    mask: Array | None  # (L', B, 1)


@dataclasses.dataclass(frozen=True)
class Convolution(Layer):
    """A temporal convolution (equation 1 of the paper) and ReLU.

    Attributes:
      name: see `Layer`.
      width: letters under a filter.
      filters: how many.
      padding: 'valid', 'same' or 'full', see `kernels.conv1d`.
      both_strands: every filter looks at the other strand, too; what it sees there follows in further channels.
    """

    width: int = 9
    filters: int = 64
    padding: str = 'valid'
    both_strands: bool = False

    kind = 'convolution'

    def shapes(self, channels: int) -> dict[str, tuple[int, ...]]:
        """The kernel (width, C, F) and the bias (F,)."""
        return {'kernel': (self.width, channels, self.filters), 'bias': (self.filters,)}

    def initial(self, drawn: LayerParams, square: float) -> LayerParams:
        """Within 1 / sqrt(fan-in), as Torch's; biases zero."""
        width, channels, _ = drawn['kernel'].shape
        return {'kernel': drawn['kernel'] / math.sqrt(width * channels), 'bias': jnp.zeros_like(drawn['bias'])}

    def square(self, square: float, channels: int) -> float:
        """Weights within b have a variance of b^2 / 3, here 1 / (3 width C); ReLU halves the square of each filter."""
        return self.filters * (1 + self.both_strands) * square / (6 * channels)

    def apply(self, params: LayerParams, signal: Signal, run: Run) -> Signal:
        """(L', B, F), or 2F channels of both strands, zero in the padding."""
        before = kernels.conv1d(signal.x, *self._filters(params), self.padding)
        lengths = None if signal.lengths is None else self.positions(signal.lengths)
        return Signal(_masked(jax.nn.relu(before), lengths), lengths, before)

    def _filters(self, params: LayerParams) -> tuple[Array, Array]:
        """The kernel and the bias, of both strands where it reads both."""
        kernel, bias = params['kernel'], params['bias']
        if self.both_strands:
            # What the filters see on the other strand, turned filters see on this one, in reverse order: the letters
            # (A<->T, C<->G) and positions of a filter are both reversed. One pass then serves both strands.
            # A page's weights stay with NumPy: it needs no device.
            join: Any = np.concatenate if isinstance(kernel, np.ndarray) else jnp.concatenate
            kernel, bias = join([kernel, kernel[::-1, ::-1]], axis=-1), join([bias, bias])
        return kernel, bias

    def span(self, span: Span) -> Span:
        """Every position whose filter sees one that differs."""
        return span.wider(self.width - 1, 0)._replace(offset=span.offset + self.left_padding - self.width + 1)

    def keep(self, params: LayerParams, signal: Signal, span: Span) -> tuple[Signal, _KeptConvolution]:
        """The sums before the ReLU."""
        after = self.apply(params, signal, Run())
        assert after.before_relu is not None  # `apply` has just given it
        return after, _KeptConvolution(edits.along(after.before_relu, self.span(span)), _count(after))

    def edit(self, params: LayerParams, kept: _KeptConvolution, edit: Edit) -> Edit:
        """The sums change by what the filters make of the change alone."""
        span, (kernel, _) = self.span(edit.span), self._filters(params)

        def window(index: int) -> Window:
            block = edit.windows[index].block
            known, inside = edits.cut(kept.before_relu, span, block), edits.inside(span, block, kept.n)
            before = known + edits.convolved(edit, index, kernel)
            x = jnp.where(inside, jax.nn.relu(before), 0)
            return Window(block, x, jnp.where(inside, x - jax.nn.relu(known), 0), before)

        return Edit(span, tuple(map(window, range(len(edit.windows)))))

    def overlap(self, params: LayerParams, state: Overlaps, above: Layer) -> Overlaps:
        """Filters that see shared positions alone are shared; the others are each window's own."""
        kernel, bias = self._filters(params)
        before, behind = kernels.pads(self.padding, self.width)

        def own(parts: list[jax.Array], before: int, behind: int) -> jax.Array:
            n = sum(map(len, parts)) + before + behind - self.width + 1
            block = jnp.pad(jnp.concatenate(parts), ((before, behind), (0, 0), (0, 0), (0, 0)))
            if not n:
                return jnp.zeros((0, *block.shape[1:3], len(bias)), block.dtype)
            found = kernels.conv1d(block.reshape(len(block), -1, block.shape[-1]), kernel, bias, 'valid')
            return jax.nn.relu(found).reshape(n, *block.shape[1:3], len(bias))

        reach = self.width - 1
        return state._replace(
            x=jax.nn.relu(kernels.conv1d(state.x, kernel, bias, 'valid')),
            shared=state.shared - self.width + 1,
            left=own([state.left, overlaps.take(state, 0, reach)], before, 0),
            right=own([overlaps.take(state, state.shared - reach, reach), state.right], 0, behind),
        )

    def positions(self, n: Any) -> Any:
        """By the padding."""
        return n + {'valid': 1 - self.width, 'same': 0, 'full': self.width - 1}[self.padding]

    def needs(self, n: int) -> int:
        """A 'valid' convolution needs a whole filter; padding may stand in for letters."""
        return n + self.width - 1 if self.padding == 'valid' else n

    def size(self, size: Size) -> Size:
        """The filters, once for each strand."""
        return Size(self.positions(size.positions), self.filters, 2 if self.both_strands else size.copies)

    def products(self, size: Size, batch: int) -> list[int]:
        """That of its windows (padding included)."""
        out = self.size(size)
        return [2 * out.copies * batch * out.positions * self.width * size.channels * self.filters]

    @property
    def left_padding(self) -> int:
        """Positions of padding before the first letter."""
        return {'valid': 0, 'same': (self.width - 1) // 2, 'full': self.width - 1}[self.padding]

    def reach(self, above: Reach) -> Reach | None:
        """The filter's letters, counted from its padding."""
        return Reach(above.stride, above.left + self.left_padding, above.right + self.width - 1 - self.left_padding)

    def page(self, params: LayerParams) -> PageStep:
        """The filters of both strands, where it reads both; positions of padding on either side."""
        left = self.left_padding
        kernel, bias = self._filters(params)
        padding = {'left': left, 'right': self.positions(0) + self.width - 1 - left}
        return PageStep('convolution', {'width': self.width, **padding}, {'kernel': kernel, 'bias': bias})

    def kept(self, size: Size) -> int:
        """Its input, its output and what ReLU needs."""
        return 3 * self.filters

    def label(self, size: Size) -> str:
        """E.g. 'convolution 9 x 64, ReLU'."""
        return f'convolution {self.width} x {self.filters}, ReLU'


@dataclasses.dataclass(frozen=True)
class MaxPool(Layer):
    """The maximum of every `block` positions; what is left over at the end is dropped."""

    block: int = 2

    kind = 'pool'

    def apply(self, params: LayerParams, signal: Signal, run: Run) -> Signal:
        """(L // block, B, C)."""
        lengths = None if signal.lengths is None else self.positions(signal.lengths)
        return Signal(_masked(kernels.max_pool1d(signal.x, self.block), lengths), lengths)

    def square(self, square: float, channels: int) -> float:
        """More by what the largest of `block` rectified normal numbers has more than one of them."""
        x = np.linspace(0, 12, 4801)
        density = self.block * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) * special.ndtr(x) ** (self.block - 1)
        return square * 2 * float(np.trapezoid(x**2 * density, x))

    def positions(self, n: Any) -> Any:
        """Whole blocks."""
        return n // self.block

    def needs(self, n: int) -> int:
        """Whole blocks."""
        return n * self.block

    def reach(self, above: Reach) -> Reach | None:
        """Every position of the blocks."""
        return Reach(above.stride * self.block, above.left * self.block, above.right * self.block + self.block - 1)

    def whole(self, span: Span) -> Span:
        """A span of what comes in, widened to whole blocks."""
        left = span.offset % self.block
        return span.wider(left, -(left + span.width) % self.block)

    def span(self, span: Span) -> Span:
        """The blocks that hold a position that differs."""
        whole = self.whole(span)
        return Span(whole.grid // self.block, whole.offset // self.block, whole.width // self.block, whole.blocks)

    def keep(self, params: LayerParams, signal: Signal, span: Span) -> tuple[Signal, _KeptPool]:
        """What comes in and what leaves."""
        after = self.apply(params, signal, Run())
        pooled = edits.along(after.x, self.span(span))
        return after, _KeptPool(edits.along(signal.x, self.whole(span)), pooled, _count(after))

    def edit(self, params: LayerParams, kept: _KeptPool, edit: Edit) -> Edit:
        """The maxima of the blocks."""
        whole, span = self.whole(edit.span), self.span(edit.span)
        left = edit.span.offset - whole.offset
        right = whole.width - edit.span.width - left

        def window(index: int) -> Window:
            block, x = edit.windows[index].block, edit.windows[index].x
            if left or right:
                x = edits.cut(kept.x, whole, block) + edits.change_around(edit, index, left, right)
            inside = edits.inside(span, block, kept.n)
            pooled = jnp.where(inside, x.reshape(span.width, self.block, *x.shape[1:]).max(axis=1), 0)
            return Window(block, pooled, jnp.where(inside, pooled - edits.cut(kept.pooled, span, block), 0))

        return Edit(span, tuple(map(window, range(len(edit.windows)))))

    def page(self, params: LayerParams) -> PageStep:
        """The size of the blocks."""
        return PageStep('max_pool', {'block': self.block})

    def overlap(self, params: LayerParams, state: Overlaps, above: Layer) -> Overlaps:
        """Blocks of shared positions alone are shared; the others are each window's own."""
        state = overlaps.dealt(state, self.block)
        before = -len(state.left) % self.block  # shared positions that fill up the last block of a window's own
        shared = (state.shared - before) // self.block
        behind = before + shared * self.block

        def own(*parts: jax.Array) -> jax.Array:
            block = jnp.concatenate(parts)
            rows = block.reshape(len(block), block.shape[1] * block.shape[2], block.shape[3])
            pooled = jnp.asarray(kernels.max_pool1d(rows, self.block))
            return pooled.reshape(len(pooled), *block.shape[1:])

        return state._replace(
            x=jnp.asarray(kernels.max_pool1d(state.x[state.first + before :], self.block)),
            first=0,
            step=state.step // self.block,
            shared=shared,
            left=own(state.left, overlaps.take(state, 0, before)),
            right=own(overlaps.take(state, behind, state.shared - behind), state.right),
        )

    def label(self, size: Size) -> str:
        """E.g. 'max pool 2'."""
        return f'max pool {self.block}'


@dataclasses.dataclass(frozen=True)
class Dropout(Layer):
    """Dropout at the recipe's rate while training; `place` sets its masks apart from those of other layers."""

    place: int = 0

    def apply(self, params: LayerParams, signal: Signal, run: Run) -> Signal:
        """The signal with some units at zero."""
        return Signal(run.drop(signal.x, self.place), signal.lengths)

    def edit(self, params: LayerParams, kept: None, edit: Edit) -> Edit:
        """Prediction drops nothing."""
        return edit._replace(windows=tuple(window._replace(before_relu=None) for window in edit.windows))

    def page(self, params: LayerParams) -> PageStep:
        """Prediction drops nothing."""
        return PageStep('same')

    def overlap(self, params: LayerParams, state: Overlaps, above: Layer) -> Overlaps:
        """Prediction drops nothing."""
        return state


def _in_sequence(state: kernels.LstmState, mask: Array | None) -> kernels.LstmState:
    """A state (R, H) that is zero where a mask (R, 1) is: outside of the sequence."""
    return state if mask is None else jax.tree.map(lambda part: part * mask, state)


def _changed_reads(edit: Edit | Tail, direction: int, steps: int) -> tuple[Callable[[Array], list], Array, Array, int]:
    """What LSTMs read of mutants where it differs.

    Returns:
      A function from a position s, in the direction's own order, to pairs of x (M, B, C) and the mutants bool (M,) that
      read it (None = all); the first position that differs and the one behind the last; and M.
    """
    if isinstance(edit, Tail):
        below = edit.hidden[direction]
        return lambda s: [(below[s], None)], edit.first[direction], jnp.asarray(steps), below.shape[1]
    width, m = edit.span.width, edit.windows[0].x.shape[1]
    starts = [edit.span.grid * window.block + edit.span.offset for window in edit.windows]
    if direction:
        starts = [steps - width - start for start in starts]
    alone = len(starts) == 1 and jnp.ndim(starts[0]) == 0

    def read(s: Array) -> list[tuple[Array, Array | None]]:
        found: list[tuple[Array, Array | None]] = []
        for start, window in zip(starts, edit.windows, strict=True):
            x = window.x[::-1] if direction else window.x
            place = jnp.clip(s - start, 0, width - 1)
            if alone:
                return [(x[place], None)]
            place = jnp.broadcast_to(place, (m,))
            found.append((x[place, np.arange(m)], jnp.broadcast_to((s >= start) & (s < start + width), (m,))))
        return found

    every = jnp.concatenate([jnp.ravel(start) for start in starts])
    return read, jnp.clip(every.min(), 0, steps), jnp.clip(every.max() + width, 0, steps), m


@dataclasses.dataclass(frozen=True)
class BiLSTM(Layer):
    """An LSTM in each direction, and dropout; on top of another one, each direction reads its own.

    Attributes:
      name: see `Layer`.
      units: H, per direction.
      place: of the dropout of the forward direction; that of the backward direction is the next.
    """

    units: int = 32
    place: int = 100

    kind = 'lstm'

    def shapes(self, channels: int) -> dict[str, tuple[int, ...]]:
        """Axis of 2: (forward, backward); gates in the order i, f, o, g."""
        size = self.units
        return {'kernel': (2, channels, 4 * size), 'recurrent': (2, size, 4 * size), 'bias': (2, 4 * size)}

    def initial(self, drawn: LayerParams, square: float) -> LayerParams:
        """What a gate reads of its input has a variance of 1, whatever enters; the state's weights are Glorot's.

        A number of inputs would not tell: of a letter's four one is on, and a gate that was drawn for four hardly sees
        it. Weights of the state are within sqrt(6 / (fan-in + fan-out)); biases zero, that of the forget gate 1.
        """
        size = self.units
        return {
            'kernel': drawn['kernel'] * math.sqrt(3 / square),
            'recurrent': drawn['recurrent'] * math.sqrt(6 / (size + size)),
            'bias': jnp.zeros_like(drawn['bias']).at[:, size : 2 * size].set(1.0),
        }

    def apply(self, params: LayerParams, signal: Signal, run: Run) -> Signal:
        """A pair of outputs (L', B, H), see `Signal`."""
        read = signal.x if signal.before_relu is None else signal.before_relu
        mask = None if signal.lengths is None else inside(read, signal.lengths)
        inputs = read if signal.pair is None else signal.pair
        rectify = signal.pair is None and signal.before_relu is not None
        pair = kernels.bilstm_scan(
            inputs, params['kernel'], params['recurrent'], params['bias'], mask, run.hoist, rectify
        )
        # Masks in the order of the sequence, whatever the order of the states.
        pair = (run.drop(pair[0], self.place), run.drop(pair[1][::-1], self.place + 1)[::-1])
        return signal._replace(pair=pair)

    def keep(self, params: LayerParams, signal: Signal, span: Span) -> tuple[Signal, tuple[_KeptLstm, _KeptLstm]]:
        """The states before each position, what is read there, and the sums of the outputs up to there."""
        read = signal.x if signal.before_relu is None else jax.nn.relu(signal.before_relu)
        given, turned = signal.pair or (read, read[::-1])
        mask = None if signal.lengths is None else inside(read, signal.lengths)[..., None]
        forward, backward = (
            self._keep_direction(jax.tree.map(lambda leaf, d=d: leaf[d], dict(params)), x, mask)
            for d, x, mask in ((0, given, mask), (1, turned, None if mask is None else mask[::-1]))
        )
        return signal._replace(pair=(forward.states.h[1:], backward.states.h[1:])), (forward, backward)

    def _keep_direction(self, params: LayerParams, x: Array, mask: Array | None) -> _KeptLstm:
        """What is kept of one direction that reads x (L', B, C)."""
        zero = jnp.zeros((x.shape[1], self.units), x.dtype)
        start = kernels.LstmState(h=zero, c=zero)
        z = x @ params['kernel'] + params['bias'][None, None]

        def step(state: Any, at: Any) -> tuple[Any, Any]:
            state = _in_sequence(kernels.lstm_advance(state, at[0], params['recurrent']), at[1])
            return state, state

        _, states = jax.lax.scan(step, start, (z, mask))
        states = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start, states)
        return _KeptLstm(z, states, jnp.cumsum(states.h, axis=0), mask)

    def edit(self, params: LayerParams, kept: tuple[_KeptLstm, _KeptLstm], edit: Edit | Tail) -> Tail:
        """Each direction goes on from the state before the first position that differs."""
        hidden, first, total = zip(
            *(self._go_on(jax.tree.map(lambda leaf, d=d: leaf[d], dict(params)), kept[d], edit, d) for d in (0, 1)),
            strict=True,
        )
        return Tail(hidden, first, total)

    def _go_on(
        self, params: LayerParams, kept: _KeptLstm, edit: Edit | Tail, direction: int
    ) -> tuple[Array, Array, Array]:
        """What `Tail` holds of a direction."""
        steps = len(kept.z)
        read, low, high, m = _changed_reads(edit, direction, steps)
        batch = kept.z.shape[1]
        start = jax.tree.map(
            lambda array: jnp.broadcast_to(array[low][None], (m, *array.shape[1:])).reshape(m * batch, -1),
            (kept.states, kept.total),
        )

        def onward(s: Array, carry: Any, z: Array) -> Any:
            state, total, hidden = carry
            mask = None if kept.mask is None else jnp.tile(kept.mask[s], (m, 1))
            state = _in_sequence(kernels.lstm_advance(state, z.reshape(m * batch, -1), params['recurrent']), mask)
            return state, total + state.h, hidden.at[s].set(state.h)

        def known(s: Array) -> Array:
            return jnp.broadcast_to(kept.z[s][None], (m, *kept.z.shape[1:]))

        def changed(s: Array, carry: Any) -> Any:
            z = known(s)
            for x, held in read(s):
                own = x @ params['kernel'] + params['bias'][None, None]
                z = own if held is None else jnp.where(held[:, None, None], own, z)
            return onward(s, carry, z)

        carry = (*start, jnp.zeros((steps, m * batch, self.units), kept.z.dtype))
        carry = jax.lax.fori_loop(low, high, changed, carry)
        _, total, hidden = jax.lax.fori_loop(high, steps, lambda s, carry: onward(s, carry, known(s)), carry)
        return hidden.reshape(steps, m, batch, -1), low, total.reshape(m, batch, -1)

    def overlap(self, params: LayerParams, state: Overlaps, above: Layer) -> Sums | Signal:
        """What the gates read of a position is shared; the states are each window's own, and nothing behind them.

        The outputs are summed at once if the layer above asks for no more.
        """
        forward, backward = (
            overlaps.lstm(state, jax.tree.map(lambda leaf, d=d: leaf[d], dict(params)), d, above.summarises)
            for d in (0, 1)
        )
        if above.summarises:
            return Sums((forward, backward), state.positions)
        return Signal(forward, pair=(forward, backward))

    def square(self, square: float, channels: int) -> float:
        """Units that begin as `initial` says have a mean square of `_UNIT_SQUARE`."""
        return _UNIT_SQUARE * self.units

    def size(self, size: Size) -> Size:
        """The units of each direction."""
        return Size(size.positions, self.units, 2)

    def products(self, size: Size, batch: int) -> list[int]:
        """Those of the input and of the state, in both directions."""
        cells = 2 * batch * size.positions
        return [2 * cells * size.channels * 4 * self.units, 2 * cells * self.units * 4 * self.units]

    def reach(self, above: Reach) -> Reach | None:
        """Everything."""
        return None

    def page(self, params: LayerParams) -> PageStep:
        """The weights of each direction."""
        parts = {
            f'{name}_{way}': array[at]
            for name, array in params.items()
            for at, way in enumerate(('forward', 'backward'))
        }
        return PageStep('lstm', {'units': self.units}, parts)

    def kept(self, size: Size) -> int:
        """Gates and states of both directions."""
        return 14 * self.units

    def label(self, size: Size) -> str:
        """E.g. 'LSTM 32, forward and backward'."""
        return f'LSTM {self.units}, forward and backward'


@dataclasses.dataclass(frozen=True)
class Summary(Layer):
    """One number per channel: over all positions the 'max', the 'mean', or both ('max_mean')."""

    how: str = 'max'

    kind = 'summary'
    summarises = True

    def apply(self, params: LayerParams, signal: Signal, run: Run) -> Signal:
        """(B, C), of LSTMs and of 'max_mean' (B, 2C)."""
        x, lengths = signal.x, signal.lengths
        if signal.pair is not None:
            # Sums of the parts, not of the two side by side: a training step then never makes that array.
            total = jnp.concatenate([h.sum(0) for h in signal.pair], axis=-1)
            steps = signal.pair[0].shape[0]
            return Signal(total / (steps if lengths is None else lengths[:, None].astype(total.dtype)))
        largest = x.max(axis=0)  # activations are >= 0 and 0 in the padding, so the maximum needs no mask
        if self.how == 'max':
            return Signal(largest)
        mean = x.sum(axis=0) / (x.shape[0] if lengths is None else lengths[:, None].astype(x.dtype))
        return Signal(mean if self.how == 'mean' else jnp.concatenate([largest, mean], axis=-1))

    def keep(self, params: LayerParams, signal: Signal, span: Span) -> tuple[Signal, _KeptSummary]:
        """Maxima before and behind every position, and the sum over all."""
        after = self.apply(params, signal, Run())
        if signal.pair is not None:
            steps = len(signal.pair[0])
            n: int | Array = steps if signal.lengths is None else signal.lengths
            return after, _KeptSummary(Along(signal.x, 0), n, steps, *[jnp.zeros(0)] * 3)
        x = signal.x
        lowest = jnp.full((1, *x.shape[1:]), -jnp.inf, x.dtype)
        before = jnp.concatenate([lowest, kernels.running_maximum(x)])
        behind = jnp.concatenate([kernels.running_maximum(x, reverse=True), lowest])
        return after, _KeptSummary(edits.along(x, span), _count(signal), len(x), before, behind, x.sum(0))

    def edit(self, params: LayerParams, kept: _KeptSummary, edit: Edit | Tail) -> Signal:
        """Rows (M * B, C): what the windows hold, and what was kept of the positions outside of them."""
        n = jnp.atleast_1d(jnp.asarray(kept.n))[None, :, None]
        if isinstance(edit, Tail):
            mean = jnp.concatenate(edit.total, axis=-1) / n
            return Signal(mean.reshape(-1, mean.shape[-1]))
        parts = []
        if self.how != 'mean':
            parts.append(self._largest(kept, edit))
        if self.how != 'max':
            changes = (
                jnp.where(edits.seen_before(edit, index), 0, window.change).sum(0)
                for index, window in enumerate(edit.windows)
            )
            parts.append((kept.total[None] + sum(changes)) / n)
        rows = jnp.concatenate(parts, axis=-1)
        return Signal(rows.reshape(-1, rows.shape[-1]))

    def overlap(self, params: LayerParams, state: Overlaps | Sums, above: Layer) -> Signal:
        """Rows (K * B, C)."""
        if isinstance(state, Sums):
            return Signal(jnp.concatenate(state.total, axis=-1) / state.positions)
        parts = []
        if self.how != 'mean':
            parts.append(overlaps.largest(state))
        if self.how != 'max':
            parts.append(overlaps.total(state) / state.positions)
        rows = jnp.concatenate(parts, axis=-1)
        return Signal(rows.reshape(-1, rows.shape[-1]))

    def _largest(self, kept: _KeptSummary, edit: Edit) -> Array:
        """The maximum over positions (M, B, C)."""
        span, end = edit.span, kept.n_most
        starts = jnp.stack([jnp.atleast_1d(span.grid * window.block + span.offset) for window in edit.windows])
        starts = jnp.sort(starts, axis=0)  # (windows, 1 or M)
        outside = jnp.maximum(
            kept.before[jnp.clip(starts[0], 0, end)], kept.behind[jnp.clip(starts[-1] + span.width, 0, end)]
        )
        known = kept.x.array[kept.x.before : kept.x.before + end][:, None]
        for left, right in zip(starts[:-1], starts[1:], strict=True):
            at = jnp.arange(end)[:, None]
            between = (at >= left[None] + span.width) & (at < right[None])
            outside = jnp.maximum(outside, jnp.where(between[..., None, None], known, -jnp.inf).max(0))
        for window in edit.windows:
            held = jnp.where(edits.inside(span, window.block, end), window.x, -jnp.inf)
            outside = jnp.maximum(outside, held.max(0))
        return outside

    def positions(self, n: Any) -> Any:
        """One."""
        return 1

    def needs(self, n: int) -> int:
        """One at least."""
        return 1

    def size(self, size: Size) -> Size:
        """The two directions of LSTMs stand side by side, and so do maximum and mean; strands do not."""
        directions = 2 if size.copies == 2 and self.how == 'mean' else 1
        channels = size.channels * directions * (2 if self.how == 'max_mean' else 1)
        return Size(1, channels, size.copies // directions)

    def reach(self, above: Reach) -> Reach | None:
        """Everything."""
        return None

    def page(self, params: LayerParams) -> PageStep:
        """What it takes over positions."""
        return PageStep('summary', {'how': self.how})

    def label(self, size: Size) -> str:
        """E.g. 'maximum over positions'."""
        words = {'max': 'maximum', 'mean': 'mean', 'max_mean': 'maximum and mean'}
        return f'{words[self.how]} over positions'


@dataclasses.dataclass(frozen=True)
class ByStrand(Layer):
    """Summaries of filters and of turned filters apart, as two examples for each sequence, and dropout (DeepBind)."""

    place: int = 200

    def apply(self, params: LayerParams, signal: Signal, run: Run) -> Signal:
        """(B, S * 2F) -> (2B, S * F): first the given strand, then the other."""
        batch, summaries = signal.x.shape[0], 2
        channels = signal.x.shape[1] // summaries
        parts = signal.x.reshape(batch, summaries, 2, channels // 2)
        return Signal(run.drop(parts.transpose(2, 0, 1, 3).reshape(2 * batch, -1), self.place))

    def page(self, params: LayerParams) -> PageStep:
        """Nothing but its order."""
        return PageStep('by_strand')


@dataclasses.dataclass(frozen=True)
class Dense(Layer):
    """A linear layer to two logits, (negative, positive); with `both_strands` those of the better strand."""

    both_strands: bool = False

    kind = 'dense'

    def shapes(self, channels: int) -> dict[str, tuple[int, ...]]:
        """The kernel (C, 2) and the bias (2,)."""
        return {'kernel': (channels, 2), 'bias': (2,)}

    def initial(self, drawn: LayerParams, square: float) -> LayerParams:
        """Within Glorot's sqrt(6 / (fan-in + fan-out)); biases zero."""
        return {
            'kernel': drawn['kernel'] * math.sqrt(6 / sum(drawn['kernel'].shape)),
            'bias': jnp.zeros_like(drawn['bias']),
        }

    def apply(self, params: LayerParams, signal: Signal, run: Run) -> Signal:
        """(B, 2)."""
        logits = signal.x @ params['kernel'] + params['bias'][None]
        if self.both_strands:
            given, turned = jnp.split(logits, 2)
            better = turned[:, 1] - turned[:, 0] > given[:, 1] - given[:, 0]
            logits = jnp.where(better[:, None], turned, given)
        return Signal(logits)

    def size(self, size: Size) -> Size:
        """Two."""
        return Size(1, 2)

    def products(self, size: Size, batch: int) -> list[int]:
        """One, for each strand."""
        return [2 * size.copies * batch * size.channels * 2]

    def page(self, params: LayerParams) -> PageStep:
        """Its weights, and whether the better strand counts."""
        return PageStep('dense', {'both_strands': self.both_strands}, dict(params))

    def label(self, size: Size) -> str:
        """What becomes of the logits."""
        return f'linear, softmax{", the better strand" if self.both_strands else ""}'
