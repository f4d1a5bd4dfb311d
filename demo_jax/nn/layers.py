"""What the layers of an architecture are, read off its `ModelSpec`: for drawings and descriptions (pure)."""

from typing import NamedTuple

from demo_jax.nn.models import ModelSpec


class Layer(NamedTuple):
    """One layer and the array that leaves it.

    Attributes:
      kind: 'input', 'convolution', 'pool', 'lstm', 'summary', 'dense'.
      operation: what it does, e.g. 'convolution 9 x 64, ReLU'.
      positions: L', rows of its output; 1 where positions have been summed up.
      channels: columns of its output, per direction for LSTMs.
      copies: 2 where there is one for each direction (LSTMs) or strand (DeepBind), else 1.
    """

    kind: str
    operation: str
    positions: int
    channels: int
    copies: int = 1


def layers(spec: ModelSpec, length: int = 101) -> list[Layer]:
    """The layers of an architecture, first to last, for sequences of `length` bp.

    Raises:
      ValueError: sequences are shorter than the architecture can read.
    """
    if length < spec.min_length:
        raise ValueError(f'{spec.name} needs sequences of at least {spec.min_length} bp, got {length}')
    strands = 2 if spec.both_strands else 1
    found = [Layer('input', f'one-hot letters{", both strands" * (strands > 1)}', length, 4, strands)]
    positions, channels = length, 4
    for index, (width, filters) in enumerate(spec.conv):
        positions += {'valid': 1 - width, 'same': 0, 'full': width - 1}[spec.padding]
        channels = filters
        found.append(Layer('convolution', f'convolution {width} x {filters}, ReLU', positions, channels, strands))
        if index < len(spec.conv) - 1 and spec.pool > 1:
            positions //= spec.pool
            found.append(Layer('pool', f'max pool {spec.pool}', positions, channels, strands))
    for _ in range(spec.lstm_layers):
        channels = spec.lstm_size
        found.append(Layer('lstm', f'LSTM {channels}, forward and backward', positions, channels, 2))
    summary = {'max': 'maximum', 'mean': 'mean', 'max_mean': 'maximum and mean'}[spec.summary]
    channels *= 2 if spec.lstm_layers or spec.summary == 'max_mean' else 1
    found.append(Layer('summary', f'{summary} over positions', 1, channels, strands))
    better = ', the better strand' if spec.both_strands else ''
    found.append(Layer('dense', f'linear, softmax{better}', 1, 2))
    return found
