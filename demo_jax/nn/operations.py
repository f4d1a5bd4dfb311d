"""How many floating-point operations a training step takes, counted from the architecture alone."""

from demo_jax.nn.models import ModelSpec


def operations_per_step(spec: ModelSpec, batch: int, length: int) -> int:
    """Floating-point operations of one training step: forward and backward, matrix products only.

    A product of (m, k) and (k, n) is 2mkn operations. Every product of the forward pass has two of the
    same size in the backward pass, one for the gradient of the weights and one for that of the input;
    the second is not counted where the input is the sequence itself, since nothing needs it. Not
    counted either: gates, ReLU, pooling, dropout, Adam. A one-hot input counts as a full matrix, and
    convolutions as the products of their windows (padding included).

    Args:
      spec: the architecture.
      batch: sequences per step.
      length: letters per sequence.
    """
    products = _products(spec, batch, length)
    from_sequence, others = products[0], sum(products[1:])
    return 2 * from_sequence + 3 * others


def forward_operations(spec: ModelSpec, batch: int, length: int) -> int:
    """Operations of the forward pass alone, counted in the same way."""
    return sum(_products(spec, batch, length))


def _products(spec: ModelSpec, batch: int, length: int) -> list[int]:
    """Operations of each matrix product of the forward pass; the first one reads the sequence."""
    strands = 2 if spec.both_strands else 1
    rows, channels, products = strands * batch, 4, []
    for index, (width, filters) in enumerate(spec.conv):
        length += {'valid': 1 - width, 'same': 0, 'full': width - 1}[spec.padding]
        products.append(2 * rows * length * width * channels * filters)
        channels = filters
        if index < len(spec.conv) - 1:
            length //= spec.pool
    for _ in range(spec.lstm_layers):
        cells = 2 * rows * length  # both directions
        products.append(2 * cells * channels * 4 * spec.lstm_size)
        products.append(2 * cells * spec.lstm_size * 4 * spec.lstm_size)
        channels = spec.lstm_size
    features = 2 * channels if spec.lstm_layers or spec.summary == 'max_mean' else channels
    products.append(2 * rows * features * 2)
    return products
