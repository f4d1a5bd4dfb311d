"""Second derivatives: which pairs of positions a model's score treats as belonging together."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from demo_jax.errors import InputError
from demo_jax.explain import batches
from demo_jax.explain.score import Score, check_score, float_type
from demo_jax.explain.sizes import default_sizes
from demo_jax.nn import kernels
from demo_jax.nn.kernels import Array


@dataclass(frozen=True, eq=False)
class Interactions:
    """Rows of the Hessian of S(X), at the letters that are there.

    Attributes:
      positions: int64 (K,), the positions i of the rows.
      rows: float32 (K, L), d2S / dX_i dX_j at the letters of positions i and j: how much the
        contribution (gradient times input) of i grows with the letter at j. Symmetric; zero at N.
    """

    positions: np.ndarray
    rows: np.ndarray


def interactions(
    params: Any, score: Score, tokens: np.ndarray, *, positions: np.ndarray | None = None, batch_size: int | None = None
) -> Interactions:
    """Which positions of one sequence interact with the given ones in one model.

    A CNN with ReLU and maxima is linear around almost every input, so its rows are exactly zero: its
    interactions show only in finite changes (mutate two letters, and compare with the two single
    mutants). The LSTMs of the other models are smooth, and their rows say something.

    Args:
      params: of one model, any pytree of arrays.
      score: a `ModelSpec`, or any function of (params, x), see `explain.score`.
      tokens: uint8 (L,), one sequence.
      positions: int (K,), 0-based; None for all.
      batch_size: rows at a time, on each device; None = what suits the device (`sizes.default_sizes`), on a CPU 32.

    Raises:
      InputError: not one sequence, one that the model cannot read, or a position outside of it.
    """
    tokens = np.asarray(tokens)
    if tokens.ndim != 1:
        raise InputError(f'tokens have shape {tokens.shape}, expected one sequence (L,)')
    batches.checked_sequences(score, tokens[None], None, 1)
    check_score(score, params, tokens, gradient=True)
    positions = np.arange(len(tokens)) if positions is None else np.asarray(positions)
    if positions.ndim != 1 or not positions.size or positions.dtype.kind not in 'iu':
        raise InputError(f'positions are {positions.dtype} {positions.shape}, expected integers (K,)')
    for position in positions:
        if not 0 <= position < len(tokens):
            raise InputError(f'position {position} is outside of a sequence of {len(tokens)} letters')
    copies = np.broadcast_to(tokens.astype(np.uint8), (1, len(positions), len(tokens)))
    arrays = (copies, positions[None].astype(np.int32))
    batch_size = default_sizes('interactions', score, params, copies.shape, rows=3, batch_size=batch_size).batch_size
    rows = batches.run(_rows, (score,), batches.stack_one(params), arrays, batch_size=batch_size)[0]
    return Interactions(positions.astype(np.int64), rows)


def _rows(params: Any, batch: tuple[Array, Array], score: Score) -> Array:
    """Hessian rows (K, L): the change of the gradient along the letter at each position, all K at once."""
    tokens, positions = batch
    x = kernels.one_hot(tokens, float_type(params))
    along = x * jax.nn.one_hot(positions, tokens.shape[1], dtype=x.dtype)[..., None]

    def gradient(x: Array) -> Array:
        return jax.grad(lambda x: score(params, x).sum())(x)

    return (jax.jvp(gradient, (x,), (along,))[1] * x).sum(-1)
