"""A CPU that rounds the operands of products as a GPU would, and how the AUROCs of precisions compare."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.interpreters import mlir
from jaxlib.mlir.dialects import stablehlo

from demo_jax.evaluation import compare

#: Bits of mantissa that a product's precision leaves of its operands, by what JAX calls it.
MANTISSA_BITS: Mapping[Any, int] = {jax.lax.Precision.HIGH: 10, jax.lax.DotAlgorithmPreset.BF16_BF16_F32: 7}
COLUMNS = ('task', 'spec', 'float32', 'another_seed', 'tf32', 'bf16')
DIFFERENCES = ('against float32', 'n', 'mean', 'largest', 'p_t')


#: The operations that multiply matrices.
PRODUCTS = (jax.lax.dot_general_p, jax.lax.conv_general_dilated_p)


def round_on_cpu() -> None:
    """Have the CPU round the operands of products as their precision asks, in whatever is compiled from now on."""
    for primitive in PRODUCTS:
        usual = mlir._platform_specific_lowerings['cpu'][primitive].rule  # there is no public way to it
        mlir.register_lowering(primitive, functools.partial(_rounded, usual), platform='cpu')


def _rounded(usual, context, left, right, *, precision, **settings):
    bits = MANTISSA_BITS.get(precision[0] if isinstance(precision, tuple) else precision)
    if bits:
        left, right = (
            stablehlo.reduce_precision(side, exponent_bits=mlir.i32_attr(8), mantissa_bits=mlir.i32_attr(bits))
            for side in (left, right)
        )
    return usual(context, left, right, precision=None, **settings)  # the CPU knows float32 alone


def tables(aurocs: Mapping[str, Mapping[tuple[str, str, int], float]]) -> tuple[compare.Table, compare.Table]:
    """Test AUROC per task and spec in each precision, and the differences from float32 over all of them."""
    first = min(seed for _, _, seed in aurocs['float32'])
    rows: list[dict[str, Any]] = []
    for task, spec in dict.fromkeys(key[:2] for key in aurocs['float32']):
        row: dict[str, Any] = {'task': task, 'spec': spec}
        row['another_seed'] = aurocs['float32'].get((task, spec, first + 1))
        rows.append(row | {name: found.get((task, spec, first)) for name, found in aurocs.items()})
    differences = []
    for name in COLUMNS[3:]:
        pairs = [(row[name], row['float32']) for row in rows if None not in (row[name], row['float32'])]
        found, usual = np.array(pairs, float).reshape(-1, 2).T
        tests = compare.paired_tests(found.tolist(), usual.tolist())
        largest = max(found - usual, key=abs, default=np.nan)
        values = (name, tests.n_tasks, tests.mean_difference, largest, tests.p_t)
        differences.append(dict(zip(DIFFERENCES, values, strict=True)))
    return compare.Table(rows, COLUMNS), compare.Table(differences, DIFFERENCES)
