"""The models as data: a `ModelSpec`, one `init`, one `apply` (Table 1 of the paper, and DeepBind's CNN)."""

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from demo_jax.nn import ops
from demo_jax.nn.ops import Array

Params = Mapping[str, Mapping[str, Array]]


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """An architecture: convolutions, then a summary over positions or LSTMs, then two logits.

    Attributes:
      name: how tables and commands call it, e.g. 'medium_cnn_rnn'.
      conv: (width, filters) per convolution layer; ReLU follows each, `pool` and dropout follow each
        but the last of a CNN ((CNN-)RNNs have no dropout between convolutions).
      padding: 'valid' (CNN), 'same' (CNN-RNN) or 'full' (DeepBind).
      pool: block size of the pooling between convolution layers; 1 = none.
      lstm_layers: LSTMs per direction, 0 for a CNN. Each direction is a stack of its own.
      lstm_size: hidden units H per direction.
      summary: over positions: 'max', 'mean' (LSTMs), or 'max_mean' (both, DeepBind).
      both_strands: score the sequence and its reverse complement, keep the better strand (one convolution,
        summarised over positions).

    Raises:
      ValueError: `both_strands` with more than one convolution or with LSTMs; an unknown padding or summary; or LSTMs
        with another summary than their mean or another padding than 'same'.
    """

    name: str
    conv: tuple[tuple[int, int], ...] = ()
    padding: str = 'valid'
    pool: int = 1
    lstm_layers: int = 0
    lstm_size: int = 0
    summary: str = 'max'
    both_strands: bool = False

    #: As a score (see `explain.score`) it need not be tried before use.
    trusted = True

    def __post_init__(self) -> None:
        if self.both_strands and (len(self.conv) != 1 or self.lstm_layers):
            raise ValueError(f'{self.name}: both_strands needs exactly one convolution and no LSTM')
        if self.padding not in ('valid', 'same', 'full'):
            raise ValueError(f"{self.name}: padding is {self.padding!r}, expected 'valid', 'same' or 'full'")
        if self.summary not in ('max', 'mean', 'max_mean') or (self.summary == 'mean') != bool(self.lstm_layers):
            known = "'mean'" if self.lstm_layers else "'max' or 'max_mean'"
            raise ValueError(f'{self.name}: summary is {self.summary!r}, expected {known}')
        if self.lstm_layers and self.conv and self.padding != 'same':
            raise ValueError(f"{self.name}: padding is {self.padding!r}, expected 'same' below LSTMs")

    def init(self, key: Array) -> Params:
        """Fresh parameters, see `init`."""
        return init(key, self)

    def score(
        self, params: Params, inputs: Array, *, lengths: Array | None = None, dropout: Array | float | None = None,
        key: Array | None = None, dropout_bits: int = 8, hoist: bool = False,
    ) -> Array:  # fmt: skip
        """Scores S = logit(+) - logit(-), (B,); the arguments are those of `apply`."""
        return apply(
            params, inputs, self, lengths=lengths, dropout=dropout, key=key, dropout_bits=dropout_bits, hoist=hoist
        ).score

    def __call__(self, params: Params, x: Array, lengths: Array | None = None) -> Array:
        """Scores (B,) of letters float (B, L, 4): the architecture as a score."""
        return apply(params, x, self, lengths=lengths).score

    @property
    def takes_lengths(self) -> bool:
        """Whether sequences may differ in length: always."""
        return True

    @property
    def part_size(self) -> int:
        """Sequences of a batch whose gradient a CPU computes at once: their activations then stay in the cache.

        In the batch of 256 as one, a step of the medium CNN would take a fifth longer, of the RNN a quarter.
        """
        return 128 if self.lstm_layers else 32

    @property
    def kind(self) -> str:
        """'CNN', 'RNN', 'CNN-RNN' or 'DeepBind': the family in the paper's tables."""
        if self.both_strands:
            return 'DeepBind'
        return '-'.join(['CNN'] * bool(self.conv) + ['RNN'] * bool(self.lstm_layers))

    @property
    def min_length(self) -> int:
        """The shortest sequence, in bp, that every layer can still read."""
        length = 1
        for index, (width, _) in reversed(list(enumerate(self.conv))):
            if index < len(self.conv) - 1:
                length *= self.pool
            if self.padding == 'valid':
                length += width - 1
        return length


def _cnn(size: str, *widths: int) -> ModelSpec:
    return ModelSpec(f'{size}_cnn', conv=tuple((width, 64) for width in widths), pool=2)


def _rnn(size: str, layers: int, units: int, conv: tuple[tuple[int, int], ...] = (), pool: int = 1) -> ModelSpec:
    name = f'{size}_cnn_rnn' if conv else f'{size}_rnn'
    return ModelSpec(name, conv=conv, padding='same', pool=pool, lstm_layers=layers, lstm_size=units, summary='mean')


_ALL = (
    _rnn('small', 1, 16),
    _rnn('medium', 1, 32),
    _rnn('large', 2, 32),
    _cnn('small', 9, 5),
    _cnn('medium', 9, 5, 3),
    _cnn('large', 9, 5, 3, 3),
    _rnn('small', 2, 32, conv=((5, 64),)),
    _rnn('medium', 1, 32, conv=((9, 128),)),
    _rnn('large', 1, 32, conv=((9, 128), (5, 128)), pool=2),
    ModelSpec('deepbind', conv=((24, 16),), padding='full', summary='max_mean', both_strands=True),
)

#: The nine models of Table 1 and the DeepBind baseline, by name.
SPECS: dict[str, ModelSpec] = {spec.name: spec for spec in _ALL}


@struct.dataclass
class Output:
    """What a model says of a batch, with the intermediates that explanations need.

    Attributes:
      logits: (B, 2), columns (negative, positive).
      activations: per convolution layer, after ReLU and before pooling, (B, L', F). For a model that
        reads both strands, of the given strand.
      hidden: (B, L', 2H) outputs of the last LSTM layer (forward, backward), or None.
    """

    logits: Array
    activations: tuple[Array, ...]
    hidden: Array | None

    @property
    def score(self) -> Array:
        """S(X) = logit(+) - logit(-), (B,): the log odds of the positive class."""
        return self.logits[:, 1] - self.logits[:, 0]


def init(key: Array, spec: ModelSpec) -> Params:
    """Fresh parameters, as nested dictionaries of float32 arrays.

    All weights are uniform: convolutions within 1 / sqrt(fan-in), as Torch's, which the paper's runs
    started from; LSTM gates and the dense layer within Glorot's sqrt(6 / (fan-in + fan-out)). Biases
    are zero, that of the forget gate 1. One draw serves all of them: a random generator inlined for
    each array would double the time to compile a training. No matrices are orthogonal: LAPACK's batched
    QR waits for the CPU client's thread pool from inside it, and can deadlock a compiled program.

    Returns:
      {'conv0': {'kernel' (width, C, F), 'bias' (F,)}, ..., 'lstm0': {'kernel' (2, C, 4H), 'recurrent'
      (2, H, 4H), 'bias' (2, 4H)}, ..., 'dense': {'kernel' (features, 2), 'bias' (2,)}}; the LSTMs' axis
      of 2 is (forward, backward) and their gates are in the order i, f, o, g.
    """
    shapes = _shapes(spec)
    sizes = [math.prod(shape) for layer in shapes.values() for shape in layer.values()]
    draws = iter(jnp.split(jax.random.uniform(key, (sum(sizes),), minval=-1, maxval=1), np.cumsum(sizes)[:-1]))
    params: dict[str, dict[str, Array]] = {}
    for name, layer in shapes.items():
        drawn = {part: next(draws).reshape(shape) for part, shape in layer.items()}
        bias = jnp.zeros_like(drawn['bias'])
        if name.startswith('conv'):
            width, channels, _ = layer['kernel']
            params[name] = {'kernel': drawn['kernel'] / math.sqrt(width * channels), 'bias': bias}
        elif name.startswith('lstm'):
            size = layer['recurrent'][1]
            channels = layer['kernel'][1]
            params[name] = {
                'kernel': drawn['kernel'] * math.sqrt(6 / (channels + size)),
                'recurrent': drawn['recurrent'] * math.sqrt(6 / (size + size)),
                'bias': bias.at[:, size : 2 * size].set(1.0),
            }
        else:
            params[name] = {'kernel': drawn['kernel'] * math.sqrt(6 / sum(layer['kernel'])), 'bias': bias}
    return params


def _shapes(spec: ModelSpec) -> dict[str, dict[str, tuple[int, ...]]]:
    """Shape of every parameter."""
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    channels, size = 4, spec.lstm_size
    for index, (width, filters) in enumerate(spec.conv):
        shapes[f'conv{index}'] = {'kernel': (width, channels, filters), 'bias': (filters,)}
        channels = filters
    for index in range(spec.lstm_layers):
        shapes[f'lstm{index}'] = {
            'kernel': (2, channels, 4 * size), 'recurrent': (2, size, 4 * size), 'bias': (2, 4 * size),
        }  # fmt: skip
        channels = size
    features = 2 * channels if spec.lstm_layers or spec.summary == 'max_mean' else channels
    shapes['dense'] = {'kernel': (features, 2), 'bias': (2,)}
    return shapes


def count_parameters(params: Params) -> int:
    """How many numbers the parameters hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def apply(
    params: Params,
    inputs: Array,
    spec: ModelSpec,
    *,
    lengths: Array | None = None,
    dropout: Array | float | None = None,
    key: Array | None = None,
    dropout_bits: int = 8,
    hoist: bool = False,
) -> Output:
    """Run one model over a batch of sequences.

    Args:
      params: as `init` makes them.
      inputs: tokens, uint8 (B, L), or a matrix of letters, float (B, L, 4): one-hot or anything in
        its place (explanations differentiate with respect to it).
      spec: the architecture.
      lengths: None when every sequence fills its row, else int (B,): positions behind are padding
        and change nothing (the result equals that of the truncated sequence).
      dropout: None for prediction, else the rate while training; needs `key`.
      key: random key of this step.
      dropout_bits: random bits per unit, see `ops.dropout`.
      hoist: see `ops.bilstm_scan`.

    Returns:
      The logits and intermediates.

    Raises:
      ValueError: L is below `spec.min_length`, or dropout without a key.
    """
    if inputs.shape[1] < spec.min_length:
        raise ValueError(f'{spec.name} needs sequences of at least {spec.min_length} bp, got {inputs.shape[1]}')
    if dropout is not None and key is None:
        raise ValueError('dropout needs a key')
    inputs = jnp.asarray(inputs)
    x = ops.one_hot(inputs) if inputs.ndim == 2 else inputs
    if lengths is not None:
        x = x * (jnp.arange(x.shape[1])[None] < lengths[:, None])[..., None]
    x = x.transpose(1, 0, 2)

    def drop(y: Array, place: int) -> Array:
        if dropout is None:
            return y
        assert key is not None  # or it was refused above
        return ops.dropout(y, dropout, jax.random.fold_in(key, place), dropout_bits)

    x, lengths, activations = _convolutions(params, x, spec, lengths, drop)
    mask = None if lengths is None else _inside(x, lengths)
    hidden = None
    if spec.lstm_layers:
        read: Array | tuple[Array, ...] = x
        for index in range(spec.lstm_layers):
            layer = params[f'lstm{index}']
            rectify = index == 0 and bool(spec.conv)
            pair = ops.bilstm_scan(read, layer['kernel'], layer['recurrent'], layer['bias'], mask, hoist, rectify)
            # Masks in the order of the sequence, whatever the order of the states.
            read = pair = (drop(pair[0], 100 + 2 * index), drop(pair[1][::-1], 101 + 2 * index)[::-1])
        hidden = jnp.concatenate([pair[0], pair[1][::-1]], axis=-1)
        # Sums of the parts, not of `hidden`: a training step then never makes it.
        sums = jnp.concatenate([h.sum(0) for h in pair], axis=-1)
        features = sums / (x.shape[0] if lengths is None else lengths[:, None].astype(x.dtype))
    else:
        features = _summary(x, lengths, spec.summary)
        if spec.both_strands:
            features = drop(_by_strand(features, x.shape[-1]), 200)
    logits = features @ params['dense']['kernel'] + params['dense']['bias'][None]
    if spec.both_strands:
        given, turned = jnp.split(logits, 2)
        better = turned[:, 1] - turned[:, 0] > given[:, 1] - given[:, 0]
        logits = jnp.where(better[:, None], turned, given)
        activations = [a[..., : a.shape[-1] // 2] for a in activations]
    return Output(
        logits=logits,
        activations=tuple(a.transpose(1, 0, 2) for a in activations),
        hidden=None if hidden is None else hidden.transpose(1, 0, 2),
    )


def _convolutions(params, x, spec, lengths, drop):
    """The convolution stack: time-major output, the lengths it has there, and every layer's activations.

    For LSTMs, the output is that of the last convolution before its ReLU, which they take themselves.
    """
    activations = []
    before_relu = x
    for index, (width, _) in enumerate(spec.conv):
        kernel, bias = params[f'conv{index}']['kernel'], params[f'conv{index}']['bias']
        if spec.both_strands:
            # What the filters see on the other strand, turned filters see on this one, in reverse order: the
            # letters (A<->T, C<->G) and positions of a filter are both reversed. One pass then serves both strands.
            kernel, bias = jnp.concatenate([kernel, kernel[::-1, ::-1]], axis=-1), jnp.concatenate([bias, bias])
        before_relu = ops.conv1d(x, kernel, bias, spec.padding)
        x = jax.nn.relu(before_relu)
        if lengths is not None:
            lengths = lengths + {'valid': 1 - width, 'same': 0, 'full': width - 1}[spec.padding]
            x = x * _inside(x, lengths)[..., None]
        activations.append(x)
        if index < len(spec.conv) - 1:
            if spec.pool > 1:
                x = ops.max_pool1d(x, spec.pool)
                lengths = None if lengths is None else lengths // spec.pool
                if lengths is not None:
                    x = x * _inside(x, lengths)[..., None]
            if not spec.lstm_layers:
                x = drop(x, index)
    return before_relu if spec.lstm_layers else x, lengths, activations


def _inside(x: Array, lengths: Array) -> Array:
    """(L, B): 1 at the positions of each sequence, 0 in its padding."""
    return (jnp.arange(x.shape[0])[:, None] < lengths[None]).astype(x.dtype)


def _by_strand(features: Array, channels: int) -> Array:
    """Summaries (B, S * 2F) of filters and turned filters -> (2B, S * F): first the given strand, then the other."""
    batch = features.shape[0]
    parts = features.reshape(batch, -1, 2, channels // 2)
    return parts.transpose(2, 0, 1, 3).reshape(2 * batch, -1)


def _summary(x: Array, lengths: Array | None, how: str) -> Array:
    """Features (B, F) or (B, 2F): the maximum over the positions, and for 'max_mean' the mean too."""
    # Activations are >= 0 and 0 in the padding, so the maximum needs no mask.
    largest = x.max(axis=0)
    if how == 'max':
        return largest
    mean = x.sum(axis=0) / (x.shape[0] if lengths is None else lengths[:, None].astype(x.dtype))
    return jnp.concatenate([largest, mean], axis=-1)
