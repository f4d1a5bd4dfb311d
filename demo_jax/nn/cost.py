"""How many floating-point operations a training step takes, counted from the architecture alone."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from demo_jax.nn.architecture import AnyArchitecture, parameter_shapes
from demo_jax.nn.models import ModelSpec


def operations_per_step(spec: AnyArchitecture, batch: int, length: int) -> int:
    """Floating-point operations of one training step: forward and backward, matrix products only.

    A product of (m, k) and (k, n) is 2mkn operations. Every product of the forward pass has two of the
    same size in the backward pass, one for the gradient of the weights and one for that of the input;
    the second is not counted where the input is the sequence itself, since nothing needs it. Not
    counted either: gates, ReLU, pooling, dropout, Adam. A one-hot input counts as a full matrix, and
    convolutions as the products of their windows (padding included).

    Of an architecture of somebody's own, three times what XLA counts in the forward pass.

    Args:
      spec: the architecture.
      batch: sequences per step.
      length: letters per sequence.
    """
    if not isinstance(spec, ModelSpec):
        return 3 * forward_operations(spec, batch, length)
    products = _products(spec, batch, length)
    from_sequence, others = products[0], sum(products[1:])
    return 2 * from_sequence + 3 * others


def forward_operations(spec: AnyArchitecture, batch: int, length: int) -> int:
    """Operations of the forward pass alone, counted in the same way."""
    if not isinstance(spec, ModelSpec):
        return _counted_by_xla(spec, batch, length)
    return sum(_products(spec, batch, length))


def bytes_per_model(spec: AnyArchitecture, batch: int, length: int) -> float:
    """Memory that a model's training step takes for activations, roughly, by counting what its layers keep.

    XLA plans 0.14 GB for the large CNN-RNN with 256 sequences of 101 letters, and 1.35 GB for the medium CNN-RNN
    with 256 of 1,000; this says 0.25 and 1.7. Of an architecture of somebody's own all intermediates count, twice.
    """
    if not isinstance(spec, ModelSpec):
        return 2.0 * intermediate_bytes(spec, batch, length)
    sizes = spec.sizes(max(length, spec.min_length))
    units = sum(layer.kept(size) for layer, size in zip(spec.layers, sizes[1:], strict=True))
    return 2.0 * 4 * batch * length * units


def intermediate_bytes(score: Callable[..., Any], batch: int, length: int, params: Any = None) -> int:
    """Bytes of all arrays that a forward pass makes on its way, as if none were fused or reused.

    Args:
      score: an architecture, or any function of (params, x).
      batch: sequences.
      length: letters per sequence.
      params: arrays or their shapes; those of an architecture are known.
    """
    shapes = parameter_shapes(score) if params is None else params  # type: ignore[arg-type]
    return _made(jax.make_jaxpr(score)(shapes, jax.ShapeDtypeStruct((batch, length, 4), 'float32')).jaxpr)


def _made(jaxpr: Any) -> int:
    """Bytes of what a program makes; of a program within it once, however often it runs, and not its results again."""
    total = 0
    for equation in jaxpr.eqns:
        inner = [part for part in jax.tree.leaves(list(equation.params.values())) if hasattr(part, 'eqns')]
        inside = sum(_made(getattr(part, 'jaxpr', part)) for part in inner)
        total += max(inside, sum(var.aval.size * var.aval.dtype.itemsize for var in equation.outvars))
    return total


@functools.lru_cache(maxsize=256)
def _counted_by_xla(spec: AnyArchitecture, batch: int, length: int) -> int:
    found: Any = jax.jit(spec).lower(*_shapes(spec, batch, length)).cost_analysis()
    return int((found or {}).get('flops', 0))


def _shapes(spec: AnyArchitecture, batch: int, length: int) -> tuple[Any, Any]:
    """Abstract parameters and letters."""
    return parameter_shapes(spec), jax.ShapeDtypeStruct((batch, length, 4), 'float32')


def _products(spec: ModelSpec, batch: int, length: int) -> list[int]:
    """Operations of each matrix product of the forward pass; the first one reads the sequence."""
    sizes = spec.sizes(length)
    return [
        product for layer, size in zip(spec.layers, sizes[:-1], strict=True) for product in layer.products(size, batch)
    ]
