"""The operations that the models are made of: convolution, pooling, LSTM scans, dropout.

Everything is time-major, (L, B, C): the convolution then reads contiguous slices, and its output
enters the scan without a transpose. The batch is an axis of every operation; only the axis of the
models is ever mapped, because a `custom_vjp` under a `vmap` over examples would form one weight
gradient per example.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

#: What the functions of a model take: arrays of the device or of NumPy.
Array = jax.Array | np.ndarray


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

    A sum over shifted slices written as one matrix product (im2col): a `vmap` over models then is a
    batched product and never a grouped convolution, whose gradient is very slow. The gradient of the
    input is such a convolution too, of the output's gradient with the turned kernel.

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


def _pads(padding: str, width: int) -> tuple[int, int]:
    """Zeros before and behind the sequence."""
    pads = {'valid': (0, 0), 'same': ((width - 1) // 2, width // 2), 'full': (width - 1, width - 1)}
    if padding not in pads:
        raise ValueError(f'padding is {padding!r}, expected one of {sorted(pads)}')
    return pads[padding]


def _windows(x: Array, width: int) -> Array:
    """What a filter sees at each of its positions: (L, B, C) -> (L - width + 1, B, width * C)."""
    steps = x.shape[0] - width + 1
    if steps < 1:
        raise ValueError(f'sequence of length {x.shape[0]} is shorter than the filter width {width}')
    return jnp.concatenate([x[i : i + steps] for i in range(width)], axis=-1)


def _conv1d_forward(x, kernel, bias, padding):
    width, channels, filters = kernel.shape
    padded = jnp.pad(x, (_pads(padding, width), (0, 0), (0, 0)))
    out = _windows(padded, width) @ kernel.reshape(width * channels, filters) + bias[None, None]
    return out, (padded, kernel)


def _conv1d_backward(padding, residuals, gradient):
    padded, kernel = residuals
    width, channels, filters = kernel.shape
    # Contracted over positions and batch as they stand: XLA's fast product of a CPU takes this form alone.
    dkernel = jnp.einsum('lbk,lbf->kf', _windows(padded, width), gradient).reshape(kernel.shape)
    left, right = _pads(padding, width)
    around = jnp.pad(gradient, ((width - 1 - left, width - 1 - right), (0, 0), (0, 0)))
    turned = kernel[::-1].transpose(0, 2, 1).reshape(width * filters, channels)
    return _windows(around, width) @ turned, dkernel, gradient.sum((0, 1))


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
    n_words = -(-x.size // per_word)
    words = jax.random.bits(key, (n_words,), jnp.uint32)
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


def _gates(z: Array) -> Array:
    """Sigmoid of the first three quarters (i, f, o) and tanh of the last (g).

    The sigmoid is written with tanh, which XLA vectorises better than the exponential.
    """
    size = z.shape[-1] // 4
    sigmoid = 0.5 * jnp.tanh(0.5 * z[:, : 3 * size]) + 0.5
    return jnp.concatenate([sigmoid, jnp.tanh(z[:, 3 * size :])], axis=-1)


def lstm_step(state: LstmState, z_input: Array, recurrent: Array) -> tuple[LstmState, Array]:
    """One position of an LSTM (the paper's equations after 4).

    Args:
      state: h and c of the position before.
      z_input: (B, 4H), the input's projection W x + b; gates in the order i, f, o, g.
      recurrent: (H, 4H), the matrix U.

    Returns:
      The new state, and the gates' values (B, 4H), which the gradient needs.
    """
    size = recurrent.shape[0]
    gates = _gates(z_input + state.h @ recurrent)
    i, f, o, g = (gates[:, k * size : (k + 1) * size] for k in range(4))
    c = f * state.c + i * g
    return LstmState(h=o * jnp.tanh(c), c=c), gates


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def bilstm_scan(
    inputs: tuple[Array, Array], kernel: Array, recurrent: Array, bias: Array, mask: Array | None, hoist: bool = False
) -> tuple[Array, Array]:
    """A layer of LSTMs over both directions, in one scan.

    Each direction has its own parameters (and, in a stack, its own input). The backward direction
    starts at the end of each sequence: positions outside the mask keep the state at zero.

    Args:
      inputs: two arrays (L, B, C), what the forward and the backward LSTM read; both are in
        sequence order and may be the same array.
      kernel: (2, C, 4H), input weights; the axis of 2 is (forward, backward); gates i, f, o, g.
      recurrent: (2, H, 4H).
      bias: (2, 4H).
      mask: None, or (L, B) with 1 inside each sequence and 0 in its padding.
      hoist: False computes the input's projection and sums the weight gradients inside the scans,
        where everything stays in the cache (fastest on a CPU: 74 against 95 ms per step of the
        medium RNN). True makes one large product of each, before and after the scans (for GPUs).

    Returns:
      The hidden states of the two directions, each (L, B, H) in sequence order, zero in padding.
    """
    return _bilstm_forward(inputs, kernel, recurrent, bias, mask, hoist)[0]


def _bilstm_forward(inputs, kernel, recurrent, bias, mask, hoist):
    steps, batch, _ = inputs[0].shape
    size = recurrent.shape[1]
    projected = [x @ w + b[None, None] for x, w, b in zip(inputs, kernel, bias, strict=True)] if hoist else None

    def step(states, t):
        new, gates = [], []
        for d, at in enumerate((t, steps - 1 - t)):
            z = projected[d][at] if hoist else inputs[d][at] @ kernel[d] + bias[d][None]
            state, gate = lstm_step(states[d], z, recurrent[d])
            if mask is not None:
                inside = mask[at][:, None]
                state = LstmState(h=state.h * inside, c=state.c * inside)
            new.append(state)
            gates.append(gate)
        return tuple(new), (tuple(new), tuple(gates))

    zero = jnp.zeros((batch, size), inputs[0].dtype)
    start = (LstmState(h=zero, c=zero),) * 2
    _, (states, gates) = jax.lax.scan(step, start, jnp.arange(steps))
    outputs = (states[0].h, states[1].h[::-1])
    return outputs, (inputs, kernel, recurrent, mask, states, gates)


def _lstm_step_gradient(gates, c, c_before, dh, dc):
    """Gradients of `lstm_step`: of the pre-activations z (B, 4H), and of c before the step."""
    size = c.shape[-1]
    i, f, o, g = (gates[:, k * size : (k + 1) * size] for k in range(4))
    tanh_c = jnp.tanh(c)
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    dz = jnp.concatenate(
        [dc * g * i * (1 - i), dc * c_before * f * (1 - f), dh * tanh_c * o * (1 - o), dc * i * (1 - g * g)], axis=-1
    )
    return dz, dc * f


def _bilstm_backward(hoist, residuals, gradient):
    inputs, kernel, recurrent, mask, states, gates = residuals
    steps, batch, size = states[0].h.shape
    gradient = (gradient[0], gradient[1][::-1])  # in the order of the scan, as `states` and `gates` are

    def step(carry, t):
        states_gradient, sums = carry
        before = jnp.maximum(t - 1, 0)
        started = (t > 0).astype(kernel.dtype)
        new_gradient, new_sums, outputs = [], [], []
        for d, at in enumerate((t, steps - 1 - t)):
            dh, dc = gradient[d][t] + states_gradient[d].h, states_gradient[d].c
            if mask is not None:
                inside = mask[at][:, None]
                dh, dc = dh * inside, dc * inside
            dz, dc = _lstm_step_gradient(gates[d][t], states[d].c[t], states[d].c[before] * started, dh, dc)
            new_gradient.append(LstmState(h=dz @ recurrent[d].T, c=dc))
            if hoist:
                outputs.append(dz)
            else:
                parts = (inputs[d][at].T @ dz, (states[d].h[before] * started).T @ dz, dz.sum(0))
                new_sums.append(jax.tree.map(jnp.add, sums[d], parts))
                outputs.append(dz @ kernel[d].T)
        return (tuple(new_gradient), tuple(new_sums)), tuple(outputs)

    zero = jnp.zeros((batch, size), kernel.dtype)
    nothing = tuple(jnp.zeros(shape, kernel.dtype) for shape in (kernel.shape[1:], recurrent.shape[1:], (4 * size,)))
    start = ((LstmState(h=zero, c=zero),) * 2, () if hoist else (nothing,) * 2)
    (_, sums), outputs = jax.lax.scan(step, start, jnp.arange(steps), reverse=True)
    forward, backward = outputs[0], outputs[1][::-1]
    if not hoist:
        dkernel, drecurrent, dbias = (jnp.stack(parts) for parts in zip(*sums, strict=True))
        return (forward, backward), dkernel, drecurrent, dbias, None if mask is None else jnp.zeros_like(mask)
    rows = [dz.reshape(-1, 4 * size) for dz in (forward, backward)]
    first = jnp.zeros((1, batch, size), kernel.dtype)
    h_before = (jnp.concatenate([first, states[0].h[:-1]]), jnp.concatenate([states[1].h[:-1][::-1], first]))
    dkernel = jnp.stack([x.reshape(-1, x.shape[-1]).T @ dz for x, dz in zip(inputs, rows, strict=True)])
    drecurrent = jnp.stack([h.reshape(-1, size).T @ dz for h, dz in zip(h_before, rows, strict=True)])
    dbias = jnp.stack([dz.sum(0) for dz in rows])
    dinputs = tuple(dz @ w.T for dz, w in zip((forward, backward), kernel, strict=True))
    return dinputs, dkernel, drecurrent, dbias, None if mask is None else jnp.zeros_like(mask)


def _bilstm_forward_rule(inputs, kernel, recurrent, bias, mask, hoist):
    return _bilstm_forward(inputs, kernel, recurrent, bias, mask, hoist)


bilstm_scan.defvjp(_bilstm_forward_rule, _bilstm_backward)
