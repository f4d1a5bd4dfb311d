"""The operations that the models are made of: convolution, pooling, LSTM scans, dropout.

Everything is time-major, (L, B, C): the convolution then reads contiguous slices, and its output
enters the scan without a transpose. The batch is an axis of every operation; only the axis of the
models is ever mapped, because a `custom_vjp` under a `vmap` over examples would form one weight
gradient per example.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.custom_derivatives import SymbolicZero

#: Letters of the words that `conv1d_tokens` looks up: 125 sums of all filters stay in the cache.
_WORD = 3
#: Outputs of a tile of `_correlate_tiles`, and the points at which it takes polynomials, small ones first.
_TILE = 4
_POINTS = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0)
#: With fewer channels or filters the mixing takes longer than the products that it saves.
_LEAST_CHANNELS = 32
#: So few channels, as letters have, get their gradient by `_spread`: a convolution to few outputs is slow on a CPU.
_FEW_CHANNELS = 16
#: Up to so many sequences, loops of an LSTM on a CPU are bound by their steps and not by their products.
_FEW_ROWS = 8
#: What the functions of a model take: arrays of the device or of NumPy.
Array = jax.Array | np.ndarray
#: The larger, or the sum, of two arrays.
Combine = Callable[[jax.Array, jax.Array], jax.Array]


def one_hot(tokens: Array, dtype: jnp.dtype = jnp.float32) -> Array:
    """One-hot code of tokens: uint8 (...) -> (..., 4); A C G T are the columns, N is a row of zeros."""
    return jax.nn.one_hot(tokens, 4, dtype=dtype)


def reverse_complement(tokens: Array, lengths: Array | None = None) -> Array:
    """Reverse complement of tokens, uint8 (B, L) -> (B, L).

    With `lengths` (B,), each row is reversed within its own length and the padding (N) stays behind it.
    """
    complement = jnp.where(tokens < 4, 3 - tokens, tokens)
    if lengths is None:
        return complement[:, ::-1]
    position = jnp.arange(tokens.shape[1])[None]
    source = lengths[:, None] - 1 - position
    turned = jnp.take_along_axis(complement, jnp.maximum(source, 0), axis=1)
    return jnp.where(source >= 0, turned, jnp.asarray(4, tokens.dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def conv1d(x: Array, kernel: Array, bias: Array, padding: str) -> Array:
    """Temporal convolution, the paper's equation 1 without the nonlinearity.

    Args:
      x: (L, B, C).
      kernel: (width, C, F).
      bias: (F,).
      padding: 'valid' (L - width + 1 positions), 'same' (L positions, zeros outside, the extra one
        of an even width on the right) or 'full' (L + width - 1 positions).

    Returns:
      (L', B, F).

    Raises:
      ValueError: unknown padding, or a sequence shorter than the filter under 'valid'.
    """
    return _conv1d_forward(x, kernel, bias, padding)[0]


def pads(padding: str, width: int) -> tuple[int, int]:
    """Zeros before and behind the sequence.

    Raises:
      ValueError: unknown padding.
    """
    pads = {'valid': (0, 0), 'same': ((width - 1) // 2, width // 2), 'full': (width - 1, width - 1)}
    if padding not in pads:
        raise ValueError(f'padding is {padding!r}, expected one of {sorted(pads)}')
    return pads[padding]


def _over_models(product: Callable[[Array, Array], Array]):
    """A convolution that is this matrix product instead where it is mapped over models (`vmap`).

    A mapped convolution would be a grouped one, which is very slow.
    """

    def decorate(convolution: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
        wrapped = jax.custom_batching.custom_vmap(convolution)

        @wrapped.def_vmap
        def _rule(_, mapped, *arguments):
            if not any(mapped):  # a forward derivative along many directions asks for that too
                return convolution(*arguments), False
            return jax.vmap(product, in_axes=[0 if m else None for m in mapped])(*arguments), True

        return wrapped

    return decorate


def _windows(x: Array, width: int) -> Array:
    """What a filter sees at each of its positions: (L, B, C) -> (L - width + 1, B, width * C)."""
    steps = x.shape[0] - width + 1
    return jnp.concatenate([x[i : i + steps] for i in range(width)], axis=-1)


def _of_one_type(*arrays: Array) -> list[jax.Array]:
    return [jnp.asarray(array, jnp.result_type(*arrays)) for array in arrays]


def _correlate_product(x: Array, kernel: Array) -> Array:
    return _windows(x, len(kernel)) @ kernel.reshape(-1, kernel.shape[-1])


@_over_models(_correlate_product)
def _correlate(x: Array, kernel: Array) -> Array:
    """Products of a kernel (width, C, F) with each window of x (L, B, C): (L - width + 1, B, F).

    As a convolution over two axes, positions and batch, which keeps the batch where it is. On a CPU, this
    takes two thirds of the time of a product with the windows, which would have to be written out; but the
    product is quicker where the windows are smaller than what comes out, as those of one-hot letters are.
    """
    if x.shape[-1] * len(kernel) < kernel.shape[-1]:
        return jax.lax.optimization_barrier(_windows(x, len(kernel))) @ kernel.reshape(-1, kernel.shape[-1])
    plane, filters = _of_one_type(x[None], kernel[:, None])
    axes = ('NHWC', 'HWIO', 'NHWC')
    return jax.lax.conv_general_dilated(plane, filters, (1, 1), 'VALID', dimension_numbers=axes)[0]


@functools.lru_cache(maxsize=8)
def _tile_matrices(width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matrices of Winograd's convolution: of the inputs (n, n), the kernel (n, width) and the outputs (_TILE, n).

    The product of two polynomials of _TILE and `width` coefficients is known from its values at n = _TILE + width - 1
    points, so n products do. Correlation is its transpose (Winograd 1980; Lavin and Gray 2016, Fast algorithms for
    convolutional neural networks). The last point is infinity, where a polynomial's value is its last coefficient.
    """
    n = _TILE + width - 1

    def values(coefficients: int) -> np.ndarray:
        return np.vstack([np.vander(_POINTS[: n - 1], coefficients, increasing=True), np.eye(coefficients)[-1]])

    inputs = np.linalg.inv(values(n)).T
    inputs = np.where(np.abs(inputs) < 1e-9, 0.0, inputs)
    scale = 2.0 ** np.round(np.log2(np.abs(inputs).max(axis=1, keepdims=True)))  # products of like size round less
    return inputs / scale, values(width) * scale, values(_TILE).T


def _saves_products(x: Array, kernel: Array) -> bool:
    """Whether `_correlate_tiles` is quicker on a CPU than `_correlate`, and as exact as single precision is."""
    width, channels, filters = kernel.shape
    steps = len(x) - width + 1
    few = -(-steps // _TILE) * (_TILE + width - 1) < steps * width
    exact = jnp.result_type(x, kernel) in (jnp.float32, jnp.float64)
    return 3 <= width <= len(_POINTS) + 2 - _TILE and min(channels, filters) >= _LEAST_CHANNELS and few and exact


def _correlate_tiles(x: Array, kernel: Array) -> Array:
    """`_correlate` with fewer products: for 4 outputs of a filter of width 5, 8 and not 20; of width 3, 6 and not 12.

    A tile of 4 outputs reads `width` + 3 inputs. Both are mixed, by small matrices (`_tile_matrices`), between which
    lies one product per mixture. Sums are rounded at up to three times the size that they have in `_correlate`.
    """
    width, channels, filters = kernel.shape
    steps, batch, n = len(x) - width + 1, x.shape[1], _TILE + width - 1
    tiles = -(-steps // _TILE)
    padded = jnp.pad(x, ((0, tiles * _TILE + n - len(x)), (0, 0), (0, 0)))
    of_inputs, of_kernel, of_outputs = _tile_matrices(width)
    places = [padded[i : i + tiles * _TILE : _TILE] for i in range(n)]
    mixed = jax.lax.optimization_barrier(jnp.stack([_mix(row, places) for row in of_inputs]))
    turned = jnp.stack([_mix(row, list(kernel)) for row in of_kernel])
    products = jax.lax.dot_general(mixed.reshape(n, tiles * batch, channels), turned, (((2,), (1,)), ((0,), (0,))))
    products = jax.lax.optimization_barrier(products).reshape(n, tiles, batch, filters)
    outputs = jnp.stack([_mix(row, list(products)) for row in of_outputs], axis=1)
    return outputs.reshape(tiles * _TILE, batch, filters)[:steps]


def _quickest(x: Array, kernel: Array) -> Array:
    """`_correlate`; on a CPU with fewer products, where that is quicker. Accelerators have a better one."""
    if not _saves_products(x, kernel):
        return _correlate(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=_correlate_tiles, default=_correlate)


def _spread(gradient: Array, kernel: Array) -> Array:
    """The transpose of `_correlate`: of dy (L', B, F) and the kernel (width, C, F), dx (L' + width - 1, B, C).

    One product gives what each position sends to all letters under its filter; a sum of shifts gathers it. With few
    channels this takes a third of the time of a convolution with the turned kernel on a CPU, or less.
    """
    width, channels, filters = kernel.shape
    sent = jax.lax.optimization_barrier(gradient @ kernel.reshape(width * channels, filters).T)
    shifts = (((i, width - 1 - i), (0, 0), (0, 0)) for i in range(width))
    parts = jnp.split(sent, width, axis=-1)
    return functools.reduce(jnp.add, [jnp.pad(part, shift) for part, shift in zip(parts, shifts, strict=True)])


def _mix(weights: np.ndarray, arrays: list[jax.Array]) -> jax.Array:
    """The weighted sum of arrays; those of weight 0 are left out."""
    kept = [
        array if weight == 1 else float(weight) * array for weight, array in zip(weights, arrays, strict=True) if weight
    ]
    return functools.reduce(jnp.add, kept)


def _kernel_gradient_product(x: Array, gradient: Array) -> Array:
    windows = _windows(x, len(x) - len(gradient) + 1)
    return jnp.einsum('lbk,lbf->kf', windows, gradient).reshape(-1, x.shape[-1], gradient.shape[-1])


@_over_models(_kernel_gradient_product)
def _kernel_gradient(x: Array, gradient: Array) -> Array:
    """Gradient of `_correlate` by its kernel: of x (L, B, C) and dy (L', B, F), (L - L' + 1, C, F).

    That is a convolution of x with dy, in which the channels are the batch and (position, sequence) the
    filter; on a CPU, in half the time of the product of the windows with dy.
    """
    length, batch, channels = x.shape
    rows, filters = _of_one_type(x.reshape(-1, channels).T.reshape(channels, length, batch), gradient)
    axes = ('NWC', 'WIO', 'NWC')
    return jax.lax.conv_general_dilated(rows, filters, (1,), 'VALID', dimension_numbers=axes).transpose(1, 0, 2)


def conv1d_tokens(tokens: Array, kernel: Array, bias: Array, padding: str) -> Array:
    """`conv1d` of one-hot letters, by what every word of a few letters adds to the sums: no products, no gradient.

    Args:
      tokens: uint8 (L, B); N adds nothing.
      kernel, bias, padding: as of `conv1d`, C = 4.

    Returns:
      (L', B, F).

    Raises:
      ValueError: as `conv1d`.
    """
    width, _, filters = kernel.shape
    padded = jnp.pad(tokens, (pads(padding, width), (0, 0)), constant_values=4).astype(jnp.int32)
    steps = len(padded) - width + 1
    if steps < 1:
        raise ValueError(f'sequence of length {len(padded)} is shorter than the filter width {width}')
    taps = jnp.pad(kernel, ((0, 0), (0, 1), (0, 0)))  # (width, 5, F), the fifth letter is N
    before = bias[None, None]
    for first in range(0, width, _WORD):
        words, number = jnp.zeros((1, filters), kernel.dtype), jnp.zeros((1, 1), jnp.int32)
        for place in range(first, min(first + _WORD, width)):
            words = (words[:, None] + taps[place][None]).reshape(-1, filters)
            number = 5 * number + padded[place : place + steps]
        before = before + words[number]
    return before


def _conv1d_forward(x, kernel, bias, padding):
    padded = jnp.pad(x, (pads(padding, len(kernel)), (0, 0), (0, 0)))
    if len(padded) < len(kernel):
        raise ValueError(f'sequence of length {len(padded)} is shorter than the filter width {len(kernel)}')
    return _quickest(padded, kernel) + bias[None, None], (padded, kernel)


def _conv1d_backward(padding, residuals, gradient):
    padded, kernel = residuals
    left, right = pads(padding, len(kernel))
    if kernel.shape[1] <= _FEW_CHANNELS:
        dx = _spread(gradient, kernel)[left : len(padded) - right]
    else:
        around = jnp.pad(gradient, ((len(kernel) - 1 - left, len(kernel) - 1 - right), (0, 0), (0, 0)))
        # The gradient of the input is a convolution too, of the output's gradient with the turned kernel.
        dx = _quickest(around, kernel[::-1].transpose(0, 2, 1))
    return dx, _kernel_gradient(padded, gradient), gradient.sum((0, 1))


conv1d.defvjp(_conv1d_forward, _conv1d_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool1d(x: Array, size: int) -> Array:
    """Maximum over blocks of `size` positions, the paper's equation 3: (L, B, C) -> (L // size, B, C).

    An incomplete last block is dropped. Equal maxima share the gradient.
    """
    return _blocks(x, size).max(axis=1)


def _blocks(x: Array, size: int) -> Array:
    """(L, B, C) -> (L // size, size, B, C)."""
    steps = x.shape[0] // size
    return x[: steps * size].reshape(steps, size, *x.shape[1:])


def _max_pool1d_forward(x, size):
    largest = _blocks(x, size).max(axis=1)
    return largest, (x, largest)


def _max_pool1d_backward(size, residuals, gradient):
    x, largest = residuals
    won = _blocks(x, size) == largest[:, None]
    winners = won.sum(1, dtype=gradient.dtype)
    # Chosen, not divided throughout: XLA would otherwise divide in a slow pass of its own.
    share = jnp.where(winners == 1, gradient, gradient / winners)
    dx = jnp.where(won, share[:, None], jnp.zeros((), gradient.dtype)).reshape(-1, *x.shape[1:])
    return (jnp.pad(dx, ((0, x.shape[0] - dx.shape[0]), (0, 0), (0, 0))),)


max_pool1d.defvjp(_max_pool1d_forward, _max_pool1d_backward)


def running_maximum(x: Array, *, reverse: bool = False) -> Array:
    """The maximum over all positions up to each one: (L, ...) -> (L, ...); with `reverse`, from each one on.

    As `lax.cummax`, which takes 13 to 50 times as long on a CPU (jax 0.10): it goes over all positions for each one.
    """

    def step(largest: jax.Array, here: jax.Array) -> tuple[jax.Array, jax.Array]:
        largest = jnp.maximum(largest, here)
        return largest, largest

    x = jnp.asarray(x)
    return jax.lax.scan(step, jnp.full_like(x[0], -jnp.inf), x, reverse=reverse)[1]


def sliding(values: jax.Array, size: int, combine: Combine) -> jax.Array:
    """What `combine` makes of every `size` consecutive values (L, ...): (L - size + 1, ...), in log2(size) passes."""
    n = len(values) - size + 1
    found, offset, power = None, 0, 1
    while True:
        if size & power:
            part = values[offset : offset + n]
            found, offset = part if found is None else combine(found, part), offset + power
        if power * 2 > size:
            assert found is not None
            return found
        values, power = combine(values[: len(values) - power], values[power:]), power * 2


def dropout(x: Array, rate: Array | float, key: Array, bits: int) -> Array:
    """Dropout with masks of few random bits: zero with probability `rate`, else scaled by 1 / (1 - rate).

    Drawing one float per unit costs a third of a training step; a mask needs one bit of a 32-bit
    word at rate 1/2, two at 1/4, and at most eight, compared with a threshold, at other rates.

    Args:
      x: any shape.
      rate: probability of zero, a scalar that may be traced; rounded to a multiple of 2**-bits.
      key: a random key of the default (threefry) kind, whose bits do not depend on `vmap`.
      bits: 1, 2, 4 or 8, bits drawn per unit.

    Raises:
      ValueError: another number of bits.
    """
    if bits not in (1, 2, 4, 8):
        raise ValueError(f'bits is {bits}, expected 1, 2, 4 or 8')
    per_word = 32 // bits
    words = jax.random.bits(key, (-(-x.size // per_word),), jnp.uint32)
    shifts = jnp.arange(0, 32, bits, dtype=jnp.uint32)
    drawn = (words[:, None] >> shifts[None]) & jnp.uint32(2**bits - 1)
    drawn = drawn.reshape(-1)[: x.size].reshape(x.shape)
    rate = jnp.asarray(rate, x.dtype)
    threshold = jnp.round(rate * 2**bits).astype(jnp.uint32)
    scale = 1 / (1 - threshold.astype(x.dtype) / 2**bits)
    return jnp.where(drawn >= threshold, x * scale, jnp.zeros((), x.dtype))


@struct.dataclass
class LstmState:
    """State of an LSTM after one position: `h` and `c`, each (B, H)."""

    h: Array
    c: Array


Gates = tuple[Array, Array, Array, Array]


def _gates(z: Array) -> Gates:
    """Sigmoids of the first three quarters (i, f, o) and tanh of the last (g), (B, H) each.

    Kept apart: in one array, everything done with one of them would walk through it in short pieces. The
    sigmoid is written with tanh, which XLA vectorises better than the exponential.
    """
    i, f, o, g = jnp.split(z, 4, axis=-1)
    i, f, o = (0.5 * jnp.tanh(0.5 * part) + 0.5 for part in (i, f, o))
    return i, f, o, jnp.tanh(g)


def lstm_step(state: LstmState, z_input: Array, recurrent: Array) -> tuple[LstmState, Gates]:
    """One position of an LSTM (the paper's equations after 4).

    Args:
      state: h and c of the position before.
      z_input: (B, 4H), the input's projection W x + b; gates in the order i, f, o, g.
      recurrent: (H, 4H), the matrix U.

    Returns:
      The new state, and the gates' values i, f, o, g, (B, H) each, which the gradient needs.
    """
    gates = _gates(z_input + state.h @ recurrent)
    i, f, o, g = gates
    c = f * state.c + i * g
    return LstmState(h=o * jnp.tanh(c), c=c), gates


def lstm_advance(state: LstmState, z_input: Array, recurrent: Array) -> LstmState:
    """The new state of `lstm_step`, where nobody wants the gates, two to three times faster on a CPU.

    Side by side in one array, each is computed once. Kept apart, XLA's fusions for a CPU compute them again for c, for
    h and for whatever reads h, unless they are outputs themselves, as in training.
    """
    z = z_input + state.h @ recurrent
    size = recurrent.shape[0]
    gates = jnp.concatenate([0.5 * jnp.tanh(0.5 * z[..., : 3 * size]) + 0.5, jnp.tanh(z[..., 3 * size :])], axis=-1)
    i, f, o, g = jnp.split(gates, 4, axis=-1)
    c = i * g + f * state.c
    return LstmState(h=o * jnp.tanh(c), c=c)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def bilstm_scan(
    inputs: Array | tuple[Array, Array],
    kernel: Array,
    recurrent: Array,
    bias: Array,
    mask: Array | None,
    hoist: bool = False,
    rectify: bool = False,
) -> tuple[Array, Array]:
    """A layer of LSTMs over both directions, in one scan.

    Each direction has its own parameters (and, in a stack, its own input). The backward direction
    starts at the end of each sequence: positions outside the mask keep the state at zero.

    Args:
      inputs: what the LSTMs read: (L, B, C), the same for both; or, in a stack, what the layer below
        returned, (L, B, C) for each direction.
      kernel: (2, C, 4H), input weights; the axis of 2 is (forward, backward); gates i, f, o, g.
      recurrent: (2, H, 4H).
      bias: (2, 4H).
      mask: None, or (L, B) with 1 inside each sequence and 0 in its padding.
      hoist: False computes the input's projection and sums the weight gradients inside the scans,
        where everything stays in the cache (for CPUs). True makes one large product of each, before and
        after the scans (for GPUs).
      rectify: True reads relu(inputs), taken in the loop, which saves two passes through memory.

    For a gradient of few sequences by the inputs alone, as class optimisation takes, `_frozen_forward` runs.

    Returns:
      The hidden states of the two directions, each (L, B, H), zero in padding: the forward direction's
      in the order of the sequence, the backward direction's in its own, from the last position to the
      first (to turn it around would take a pass through memory, and neither sums nor the layer above
      need it).
    """
    return _bilstm_forward(inputs, kernel, recurrent, bias, mask, hoist, rectify)[0]


def _read(inputs):
    """For each direction, its input and a function from the scan's step to the place there."""
    if isinstance(inputs, tuple):
        return [(x, lambda t: t) for x in inputs]
    return [(inputs, lambda t: t), (inputs, lambda t: len(inputs) - 1 - t)]


def _bilstm_forward(inputs, kernel, recurrent, bias, mask, hoist, rectify):
    reads = _read(inputs)
    taken = jax.nn.relu if rectify else jnp.asarray
    steps, batch, _ = reads[0][0].shape
    size = recurrent.shape[1]
    kernels, recurrents, biases = _per_direction(kernel, recurrent, bias)
    if hoist:
        projected = [taken(x) @ w + b[None, None] for (x, _), w, b in zip(reads, kernels, biases, strict=True)]

    def step(states, t):
        new, gates = [], []
        for d, (x, place) in enumerate(reads):
            z = projected[d][place(t)] if hoist else taken(x[place(t)]) @ kernels[d] + biases[d][None]
            state, gate = lstm_step(states[d], z, recurrents[d])
            if mask is not None:
                inside = mask[steps - 1 - t if d else t][:, None]
                state = LstmState(h=state.h * inside, c=state.c * inside)
            new.append(state)
            gates.append(gate)
        # Kept for the gradient with (B, H) as one axis: XLA then writes one long row instead of B short ones.
        return tuple(new), jax.tree.map(jnp.ravel, (new, gates))

    zero = jnp.zeros((batch, size), kernel.dtype)
    _, (states, gates) = jax.lax.scan(step, (LstmState(h=zero, c=zero),) * 2, jnp.arange(steps))
    hidden = tuple(state.h.reshape(steps, batch, size) for state in states)
    return hidden, (inputs, kernel, recurrent, mask, hidden, [state.c for state in states], gates)


def _per_direction(*weights):
    """Each (2, ...) in two. Behind a barrier, or XLA would copy them out again at every step of a scan."""
    return jax.lax.optimization_barrier([[*weight] for weight in weights])


def _lstm_step_gradient(gates, c, c_before, dh, dc):
    """Gradients of `lstm_step`: of the pre-activations z (B, 4H), and of c before the step."""
    i, f, o, g = gates
    tanh_c = jnp.tanh(c)
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    dz = jnp.concatenate(
        [dc * g * i * (1 - i), dc * c_before * f * (1 - f), dh * tanh_c * o * (1 - o), dc * i * (1 - g * g)], axis=-1
    )
    return dz, dc * f


def _bilstm_backward(hoist, rectify, residuals, gradient):
    inputs, kernel, recurrent, mask, hidden, cells, gates = residuals
    reads = _read(inputs)
    steps, batch, size = hidden[0].shape
    turned_kernels, turned_recurrents = _per_direction(kernel.transpose(0, 2, 1), recurrent.transpose(0, 2, 1))
    shared = not isinstance(inputs, tuple)
    taken = jax.nn.relu if rectify else jnp.asarray
    passed = (lambda x, dx: jnp.where(x > 0, dx, 0)) if rectify else (lambda x, dx: dx)  # back through the ReLU

    def step(carry, t):
        states_gradient, sums, dx = carry
        before = jnp.maximum(t - 1, 0)
        started = (t > 0).astype(kernel.dtype)
        new_gradient, new_sums, outputs = [], [], []
        for d, (x, place) in enumerate(reads):
            dh, dc = gradient[d][t] + states_gradient[d].h, states_gradient[d].c
            if mask is not None:
                inside = mask[steps - 1 - t if d else t][:, None]
                dh, dc = dh * inside, dc * inside
            gate = [part[t].reshape(batch, size) for part in gates[d]]
            c, c_before = (cells[d][index].reshape(batch, size) for index in (t, before))
            dz, dc = _lstm_step_gradient(gate, c, c_before * started, dh, dc)
            new_gradient.append(LstmState(h=dz @ turned_recurrents[d], c=dc))
            if hoist:
                outputs.append(dz)
                continue
            # Turned by itself, and the sums with it: XLA's fast product of a CPU wants rows on the left.
            turned = jax.lax.optimization_barrier(dz.T)
            parts = (turned @ taken(x[place(t)]), turned @ (hidden[d][before] * started), dz.sum(0))
            new_sums.append(jax.tree.map(jnp.add, sums[d], parts))
            part = passed(x[place(t)], dz @ turned_kernels[d])
            if shared:
                dx = dx.at[place(t)].add(part)
            else:
                outputs.append(part)
        return (tuple(new_gradient), tuple(new_sums), dx), tuple(outputs)

    zero = jnp.zeros((batch, size), kernel.dtype)
    shapes = ((4 * size, kernel.shape[1]), (4 * size, size), (4 * size,))
    nothing = tuple(jnp.zeros(shape, kernel.dtype) for shape in shapes)
    sums_start = ((), None) if hoist else ((nothing,) * 2, jnp.zeros_like(inputs) if shared else None)
    (_, sums, dx), outputs = jax.lax.scan(
        step, ((LstmState(h=zero, c=zero),) * 2, *sums_start), jnp.arange(steps), reverse=True
    )
    if hoist:
        read = (inputs, inputs[::-1]) if shared else inputs  # each direction in its own order
        hidden_before = [jnp.pad(h[:-1], ((1, 0), (0, 0), (0, 0))) for h in hidden]
        sums = [
            (jnp.einsum('lbz,lbi->zi', dz, taken(x)), jnp.einsum('lbz,lbh->zh', dz, h), dz.sum((0, 1)))
            for dz, x, h in zip(outputs, read, hidden_before, strict=True)
        ]
        outputs = tuple(passed(x, dz @ w) for x, dz, w in zip(read, outputs, turned_kernels, strict=True))
        if shared:
            dx = outputs[0] + outputs[1][::-1]
    dkernel, drecurrent, dbias = (jnp.stack(parts) for parts in zip(*sums, strict=True))
    dkernel, drecurrent = dkernel.transpose(0, 2, 1), drecurrent.transpose(0, 2, 1)
    return dx if shared else outputs, dkernel, drecurrent, dbias, None if mask is None else jnp.zeros_like(mask)


class _Frozen(NamedTuple):
    """What the gradient by the inputs alone reads; the axis of 2 is the direction, each in its own order."""

    inputs: Array | tuple[Array, Array]
    kernel: Array  # (2, C, 4H), scaled as `_scaled` says, and so is `recurrent`
    recurrent: Array  # (2, H, 4H)
    mask: Array | None  # (L, 2, B, 1)
    gates: Array  # (L, 2, B, 4H)
    cells: Array  # (L + 1, 2, B, H), before each position


def _scaled(size: int) -> tuple[np.ndarray, np.ndarray]:
    """By what the pre-activations z (4H,) are multiplied, so that all gates are scale * tanh(scale * z) + shift."""
    is_sigmoid = np.arange(4 * size) < 3 * size
    return np.where(is_sigmoid, np.float32(0.5), np.float32(1)), np.where(is_sigmoid, np.float32(0.5), np.float32(0))


def _frozen_forward(inputs, kernel, recurrent, bias, mask, rectify):
    """`_bilstm_forward` for a gradient by the inputs alone: both directions side by side, projected before the loop.

    The loops are bound by how many small kernels a step is made of: from the ninth on, XLA's runtime for CPUs goes
    over them as a graph, which takes longer than most of them do. So gates are one array with one formula, and what
    can be computed for all positions together stays outside.
    """
    steps, size = len(_read(inputs)[0][0]), recurrent.shape[1]
    scale, shift = (jnp.asarray(part, kernel.dtype) for part in _scaled(size))
    kernel, recurrent, bias = kernel * scale[None, None], recurrent * scale[None, None], bias * scale[None]
    taken = jax.nn.relu if rectify else jnp.asarray
    if isinstance(inputs, tuple):
        z = jnp.stack([taken(x) @ kernel[d] + bias[d][None, None] for d, x in enumerate(inputs)], axis=1)
    else:
        both = taken(inputs) @ jnp.concatenate([*kernel], axis=-1) + bias.reshape(1, 1, -1)
        z = jnp.stack([both[..., : 4 * size], both[::-1][..., 4 * size :]], axis=1)
    inside = None if mask is None else jnp.stack([mask, mask[::-1]], axis=1)[..., None]

    def step(t, carry):
        h, gates, cells = carry
        gate = scale[None, None] * jnp.tanh(z[t] + h @ recurrent) + shift[None, None]
        gates = jax.lax.dynamic_update_index_in_dim(gates, gate, t, 0)
        i, f, o, g = jnp.split(gates[t], 4, axis=-1)  # read from there, or each reader would compute them again
        c = i * g + f * cells[t]
        cells = jax.lax.dynamic_update_index_in_dim(cells, c if inside is None else c * inside[t], t + 1, 0)
        return o * jnp.tanh(cells[t + 1]), gates, cells

    zero = jnp.zeros((2, z.shape[2], size), z.dtype)
    start = (zero, jnp.zeros_like(z), jnp.zeros((steps + 1, *zero.shape), z.dtype))
    _, gates, cells = jax.lax.fori_loop(0, steps, step, start)
    hidden = gates[..., 2 * size : 3 * size] * jnp.tanh(cells[1:])
    return (hidden[:, 0], hidden[:, 1]), _Frozen(inputs, kernel, recurrent, inside, gates, cells)


def _frozen_backward(rectify: bool, kept: _Frozen, gradient: tuple[Array, Array]) -> Array | tuple[Array, Array]:
    """The gradient by the inputs: what does not depend on it is computed first, for all positions together."""
    i, f, o, g = jnp.split(kept.gates, 4, axis=-1)
    tanh_c = jnp.tanh(kept.cells[1:])
    # How h and c change with c, and c of the next position with c of this one.
    to_c, onward = o * (1 - tanh_c * tanh_c), jnp.concatenate([f[1:], jnp.zeros_like(f[:1])])
    if kept.mask is not None:
        to_c, onward = to_c * kept.mask, onward * kept.mask
    # How a gate changes with its z, times how c or h changes with the gate; the sigmoids' z are halved.
    slopes = [g * i * (2 - 2 * i), kept.cells[:-1] * f * (2 - 2 * f), tanh_c * o * (2 - 2 * o), i * (1 - g * g)]
    turned = kept.recurrent.transpose(0, 2, 1)

    def step(carry, at):
        behind, dc = carry
        dh, to_c, onward, slope = at
        dh = dh + behind
        dc = dc * onward + dh * to_c
        dz = jax.lax.optimization_barrier(jnp.concatenate([dc, dc, dh, dc], axis=-1)) * slope
        return (dz @ turned, dc), dz

    start = (jnp.zeros_like(to_c[0]),) * 2
    at = (jnp.stack(gradient, axis=1), to_c, onward, jnp.concatenate(slopes, axis=-1))
    _, dz = jax.lax.scan(step, start, jax.lax.optimization_barrier(at), reverse=True)
    passed = (lambda x, dx: jnp.where(x > 0, dx, 0)) if rectify else (lambda x, dx: dx)
    if isinstance(kept.inputs, tuple):
        forward, backward = kept.inputs
        return passed(forward, dz[:, 0] @ kept.kernel[0].T), passed(backward, dz[:, 1] @ kept.kernel[1].T)
    both = jnp.concatenate([dz[:, 0], dz[::-1, 1]], axis=-1) @ jnp.concatenate([*kept.kernel], axis=-1).T
    return passed(kept.inputs, both)


def _differentiated_forward(inputs, kernel, recurrent, bias, mask, hoist, rectify):
    """The forward pass with what the gradients read that are asked for."""
    given = (inputs, kernel, recurrent, bias, mask)
    inputs, kernel, recurrent, bias, mask = jax.tree.map(lambda leaf: leaf.value, given)
    if any(leaf.perturbed for leaf in given[1:4]) or _read(inputs)[0][0].shape[1] > _FEW_ROWS:
        return _bilstm_forward(inputs, kernel, recurrent, bias, mask, hoist, rectify)
    return _frozen_forward(inputs, kernel, recurrent, bias, mask, rectify)


def _differentiated_backward(hoist, rectify, residuals, gradient):
    gradient = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype) if isinstance(leaf, SymbolicZero) else leaf,
        gradient,
        is_leaf=lambda leaf: isinstance(leaf, SymbolicZero),
    )
    if isinstance(residuals, _Frozen):
        return _frozen_backward(rectify, residuals, gradient), None, None, None, None
    return _bilstm_backward(hoist, rectify, residuals, gradient)


bilstm_scan.defvjp(_differentiated_forward, _differentiated_backward, symbolic_zeros=True)

#: What takes gradients back through kernels that are linear in their first argument, plus a constant: its transpose.
LINEAR_IN_FIRST = (_conv1d_backward,)
