"""Which pairs of positions a model's score treats as belonging together: second derivatives, and double mutants."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from demo_jax.errors import InputError
from demo_jax.explain import batches
from demo_jax.explain.score import Score, check_score, float_type
from demo_jax.explain.sizes import default_sizes
from demo_jax.nn import kernels, mutants
from demo_jax.nn.kernels import Array
from demo_jax.nn.models import ModelSpec


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
    interactions show only in finite changes (see `epistasis`). The LSTMs of the other models are smooth, and their
    rows say something.

    Args:
      params: of one model, any pytree of arrays.
      score: a `ModelSpec`, or any function of (params, x), see `explain.score`.
      tokens: uint8 (L,), one sequence.
      positions: int (K,), 0-based; None for all.
      batch_size: rows at a time, on each device; None = what suits the device (`sizes.default_sizes`), on a CPU 32.

    Raises:
      InputError: not one sequence, one that the model cannot read, or a position outside of it.
    """
    tokens = _checked_sequence(params, score, tokens, gradient=True)
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


@dataclass(frozen=True, eq=False)
class Epistasis:
    """What two mutations do together that they do not do alone.

    Attributes:
      pairs: int64 (K, 2), where the two windows begin.
      values: float32, S(both) - S(first) - S(second) + S(neither); (K, 4, 4), by the letter in the first and in the
        second place, zero where either is the letter that is there; or (K, R), by replacement.
    """

    pairs: np.ndarray
    values: np.ndarray


def epistasis(
    params: Any,
    score: Score,
    tokens: np.ndarray,
    pairs: np.ndarray,
    *,
    width: int = 1,
    replacements: np.ndarray | None = None,
    batch_size: int | None = None,
) -> Epistasis:
    """How far the effects of two mutations of one sequence are from adding up, S(ab) - S(a) - S(b) + S.

    Double and single mutants are scored as mutagenesis scores them: specs of this package compute only what a mutation
    changes (`nn.mutants`), other functions score each mutant whole.

    Args:
      params: of one model, any pytree of arrays.
      score: a `ModelSpec`, or any function of (params, x), see `explain.score`.
      tokens: uint8 (L,), one sequence.
      pairs: int (K, 2), where the two windows begin, 0-based. They may not overlap.
      width: letters of each window.
      replacements: uint8 (R, L), sequences from which mutants have the letters of their windows, e.g. shuffles, or all
        N; None = every other letter, of windows of one letter.
      batch_size: mutants at a time, on each device; None = what suits the device, on a CPU 192.

    Raises:
      InputError: not one sequence, one that the model cannot read; pairs that overlap or are not within it;
        replacements of another length; or windows of several letters without any.
    """
    tokens = _checked_sequence(params, score, tokens, gradient=False)
    pairs = _checked_pairs(pairs, len(tokens), width)
    if replacements is None:
        if width != 1:
            raise InputError(f'width is {width}: windows of several letters need replacements')
        sources = np.repeat(np.arange(4, dtype=np.uint8)[:, None], len(tokens), axis=1)
        chosen = np.indices((4, 4)).reshape(2, 16).T  # (16, 2): whose letters each window has
    else:
        sources = np.asarray(replacements)
        if sources.ndim != 2 or sources.shape[1] != len(tokens) or not len(sources):
            raise InputError(f'replacements have shape {sources.shape}, expected (R, {len(tokens)})')
        batches.checked_sequences(score, sources, None, 1)
        chosen = np.repeat(np.arange(len(sources))[:, None], 2, axis=1)
    mutated, starts = _double_and_single(tokens, pairs, sources.astype(np.uint8), chosen, width)
    shape = (1, len(mutated), len(tokens))
    batch_size = default_sizes('mutants', score, params, shape, batch_size=batch_size).batch_size
    # Mutants that lie near each other share more of what is not computed again.
    order = np.argsort(starts.min(axis=1), kind='stable')
    found = np.empty(len(mutated), np.float32)
    found[order] = batches.run(
        _mutant_scores,
        (score, width),
        (batches.stack_one(params), tokens[None]),
        (mutated[order][None], starts[order][None].astype(np.int32)),
        batch_size=batch_size,
    )[0]
    both, first, second = found[1:].reshape(3, len(pairs), len(chosen))
    values = both - first - second + found[0]
    return Epistasis(pairs, values.reshape(len(pairs), 4, 4) if replacements is None else values)


def _double_and_single(
    tokens: np.ndarray, pairs: np.ndarray, sources: np.ndarray, chosen: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """The sequence itself, and with both, the first, and the second window of each pair replaced by each choice.

    Returns:
      uint8 (1 + 3 * K * C, L) sequences and int64 (1 + 3 * K * C, 2) their windows.
    """
    at = pairs[:, :, None] + np.arange(width)  # (K, 2, width)
    mutated = np.broadcast_to(tokens, (3, len(pairs), len(chosen), len(tokens))).copy()
    of_pair, of_choice = np.ogrid[: len(pairs), : len(chosen)]
    for window, kinds in ((0, (0, 1)), (1, (0, 2))):
        for kind in kinds:
            place = at[:, None, window]  # (K, 1, width)
            letters = sources[chosen[None, :, window, None], place]
            mutated[kind, of_pair[..., None], of_choice[..., None], place] = letters
    starts = np.broadcast_to(pairs[None, :, None], (3, len(pairs), len(chosen), 2)).reshape(-1, 2)
    return (
        np.concatenate([tokens[None], mutated.reshape(-1, len(tokens))]),
        np.concatenate([starts[:1], starts]),
    )


def _mutant_scores(known: tuple[Any, Array], batch: tuple[Array, Array], score: Score, width: int) -> Array:
    """Scores (M,) of mutants (M, L) of one sequence, with windows (M, 2)."""
    (params, tokens), (mutated, starts) = known, batch
    if isinstance(score, ModelSpec) and mutants.follows(score):
        return mutants.scores_of(params, score, tokens, mutated, starts, width)
    return score(params, kernels.one_hot(mutated, float_type(params)))


def _checked_sequence(params: Any, score: Score, tokens: np.ndarray, *, gradient: bool) -> np.ndarray:
    """uint8 (L,) tokens of one sequence that the score can read; otherwise InputError."""
    tokens = np.asarray(tokens)
    if tokens.ndim != 1:
        raise InputError(f'tokens have shape {tokens.shape}, expected one sequence (L,)')
    batches.checked_sequences(score, tokens[None], None, 1)
    check_score(score, params, tokens, gradient=gradient)
    return tokens.astype(np.uint8)


def _checked_pairs(pairs: np.ndarray, length: int, width: int) -> np.ndarray:
    """int64 (K, 2); InputError names the first pair that overlaps or is not within the sequence."""
    if width < 1:
        raise InputError(f'width is {width}, expected 1 or more')
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or pairs.dtype.kind not in 'iu':
        raise InputError(f'pairs are {pairs.dtype} {pairs.shape}, expected integers (K, 2)')
    for first, second in pairs.tolist():
        if min(first, second) < 0 or max(first, second) > length - width:
            raise InputError(f'windows at {first} and {second} are not within a sequence of {length} letters')
        if abs(first - second) < width:
            raise InputError(f'windows at {first} and {second} of {width} letters overlap')
    return pairs.astype(np.int64)


def _rows(params: Any, batch: tuple[Array, Array], score: Score) -> Array:
    """Hessian rows (K, L): the change of the gradient along the letter at each position, all K at once."""
    tokens, positions = batch
    x = kernels.one_hot(tokens, float_type(params))
    along = x * jax.nn.one_hot(positions, tokens.shape[1], dtype=x.dtype)[..., None]

    def gradient(x: Array) -> Array:
        return jax.grad(lambda x: score(params, x).sum())(x)

    return (jax.jvp(gradient, (x,), (along,))[1] * x).sum(-1)
