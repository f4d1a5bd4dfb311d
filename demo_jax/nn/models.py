"""The models as data: a `ModelSpec`, one `init`, one `apply` (Table 1 of the paper, and DeepBind's CNN).

A spec is a tuple of layers (`nn.layers`), and whatever is asked of it is a fold over them.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from demo_jax.nn import kernels
from demo_jax.nn.kernels import Array
from demo_jax.nn.layers import (
    BiLSTM,
    ByStrand,
    Convolution,
    Dense,
    Dropout,
    Layer,
    MaxPool,
    Reach,
    Run,
    Signal,
    Size,
    Summary,
)

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
      own_layers: layers of one's own, in place of those that the fields above describe. The first reads the letters
        (L, B, 4), the last gives two logits (B, 2).

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
    own_layers: tuple[Layer, ...] = ()

    #: As a score (see `explain.score`) it need not be tried before use.
    trusted = True

    def __post_init__(self) -> None:
        if self.own_layers:
            return
        if self.both_strands and (len(self.conv) != 1 or self.lstm_layers):
            raise ValueError(f'{self.name}: both_strands needs exactly one convolution and no LSTM')
        if self.padding not in ('valid', 'same', 'full'):
            raise ValueError(f"{self.name}: padding is {self.padding!r}, expected 'valid', 'same' or 'full'")
        if self.summary not in ('max', 'mean', 'max_mean') or (self.summary == 'mean') != bool(self.lstm_layers):
            known = "'mean'" if self.lstm_layers else "'max' or 'max_mean'"
            raise ValueError(f'{self.name}: summary is {self.summary!r}, expected {known}')
        if self.both_strands and self.summary != 'max_mean':
            raise ValueError(f"{self.name}: summary is {self.summary!r}, expected 'max_mean' with both_strands")
        if self.lstm_layers and self.conv and self.padding != 'same':
            raise ValueError(f"{self.name}: padding is {self.padding!r}, expected 'same' below LSTMs")

    @functools.cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, first to last."""
        return self.own_layers or _layers(self)

    def init(self, key: Array) -> Params:
        """Fresh parameters, see `init`."""
        return init(key, self)

    def score(
        self,
        params: Params,
        inputs: Array,
        *,
        lengths: Array | None = None,
        dropout: Array | float | None = None,
        key: Array | None = None,
        dropout_bits: int = 8,
        hoist: bool = False,
    ) -> Array:
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
        return 128 if self.kind.endswith('RNN') else 32

    @property
    def kind(self) -> str:
        """'CNN', 'RNN', 'CNN-RNN' or 'DeepBind' (both strands): the family in the paper's tables; else 'other'."""
        if self.both_strands:
            return 'DeepBind'
        kinds = {layer.kind for layer in self.layers}
        words = ['CNN'] * ('convolution' in kinds) + ['RNN'] * ('lstm' in kinds)
        return '-'.join(words) or 'other'

    @property
    def min_length(self) -> int:
        """The shortest sequence, in bp, that every layer can still read."""
        return functools.reduce(lambda n, layer: layer.needs(n), reversed(self.layers), 1)

    @property
    def reach(self) -> Reach:
        """What each position that LSTMs (or a summary) read sees of the letters."""
        reach = Reach()
        for layer in reversed(self.layers):
            reach = layer.reach(reach) or Reach()
        return reach

    def sizes(self, length: int) -> tuple[Size, ...]:
        """What comes in, and what leaves each layer, for sequences of `length` bp.

        Raises:
          ValueError: sequences are shorter than the architecture can read.
        """
        if length < self.min_length:
            raise ValueError(f'{self.name} needs sequences of at least {self.min_length} bp, got {length}')
        sizes = [Size(length, 4)]
        for layer in self.layers:
            sizes.append(layer.size(sizes[-1]))
        return tuple(sizes)


def _layers(spec: ModelSpec) -> tuple[Layer, ...]:
    """The layers that the fields of a spec describe."""
    layers: list[Layer] = []
    for index, (width, filters) in enumerate(spec.conv):
        layers.append(Convolution(f'conv{index}', width, filters, spec.padding, spec.both_strands))
        if index < len(spec.conv) - 1:
            layers += [MaxPool(block=spec.pool)] * (spec.pool > 1)
            layers += [Dropout(place=index)] * (not spec.lstm_layers)
    layers += [BiLSTM(f'lstm{index}', spec.lstm_size, 100 + 2 * index) for index in range(spec.lstm_layers)]
    layers.append(Summary(how=spec.summary))
    layers += [ByStrand()] * spec.both_strands
    return (*layers, Dense('dense', spec.both_strands))


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
    started from; what LSTM gates read of their input has a variance of 1, by the squared norm to expect of it
    (`Layer.square`); the state's weights and the dense layer are within Glorot's sqrt(6 / (fan-in + fan-out)).
    Biases are zero, that of the forget gate 1. One draw serves all of them: a random generator inlined for
    each array would double the time to compile a training. No matrices are orthogonal: LAPACK's batched
    QR waits for the CPU client's thread pool from inside it, and can deadlock a compiled program.

    Returns:
      {'conv0': {'kernel' (width, C, F), 'bias' (F,)}, ..., 'lstm0': {'kernel' (2, C, 4H), 'recurrent'
      (2, H, 4H), 'bias' (2, 4H)}, ..., 'dense': {'kernel' (features, 2), 'bias' (2,)}}; the LSTMs' axis
      of 2 is (forward, backward) and their gates are in the order i, f, o, g.
    """
    shapes = _shapes(spec)
    sizes = [math.prod(shape) for _, parts, _ in shapes for shape in parts.values()]
    draws = iter(jnp.split(jax.random.uniform(key, (sum(sizes),), minval=-1, maxval=1), np.cumsum(sizes)[:-1]))
    return {
        layer.name: layer.initial({part: next(draws).reshape(shape) for part, shape in parts.items()}, square)
        for layer, parts, square in shapes
    }


def _shapes(spec: ModelSpec) -> list[tuple[Layer, dict[str, tuple[int, ...]], float]]:
    """The layers that have parameters, with the shapes of these and the squared norm to expect of what comes in."""
    found, square = [], 1.0  # of a letter
    for layer, size in zip(spec.layers, spec.sizes(max(spec.min_length, 1)), strict=False):
        parts = layer.shapes(size.channels)
        found += [(layer, parts, square)] * bool(parts)
        square = layer.square(square, size.channels)
    return found


def count_parameters(params: Params) -> int:
    """How many numbers the parameters hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def entering(inputs: Array, lengths: Array | None) -> Signal:
    """What the first layer reads of tokens (B, L) or letters (B, L, 4): nothing behind a sequence's end."""
    x = kernels.one_hot(inputs) if inputs.ndim == 2 else inputs
    if lengths is not None:
        x = x * (jnp.arange(x.shape[1])[None] < lengths[:, None])[..., None]
    return Signal(x.transpose(1, 0, 2), lengths)


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
      dropout_bits: random bits per unit, see `kernels.dropout`.
      hoist: see `kernels.bilstm_scan`.

    Returns:
      The logits and intermediates.

    Raises:
      ValueError: L is below `spec.min_length`, or dropout without a key.
    """
    if inputs.shape[1] < spec.min_length:
        raise ValueError(f'{spec.name} needs sequences of at least {spec.min_length} bp, got {inputs.shape[1]}')
    if dropout is not None and key is None:
        raise ValueError('dropout needs a key')
    run = Run(dropout, key, dropout_bits, hoist)
    signal = entering(jnp.asarray(inputs), lengths)
    activations, hidden = [], None
    for layer in spec.layers:
        signal = layer.apply(params.get(layer.name, {}), signal, run)
        if layer.kind == 'convolution':
            activations.append(signal.x[..., : layer.size(Size(1, 4)).channels])
        if signal.pair is not None:
            hidden = jnp.concatenate([signal.pair[0], signal.pair[1][::-1]], axis=-1)
    return Output(
        logits=signal.x,
        activations=tuple(a.transpose(1, 0, 2) for a in activations),
        hidden=None if hidden is None else hidden.transpose(1, 0, 2),
    )
