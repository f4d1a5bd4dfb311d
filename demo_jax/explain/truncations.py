"""Temporal output scores of any score, by scoring every truncated sequence: the plain way, for what has no faster one.

`explain.temporal` computes the same numbers of recurrent architectures several times faster.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax.errors import InputError
from demo_jax.explain import batches
from demo_jax.explain.score import Score, check_score, float_type, name_of, shortest, takes_lengths
from demo_jax.nn import kernels
from demo_jax.nn.kernels import Array


def score_truncations(
    stacked_params: Any,
    score: Score,
    tokens: np.ndarray,
    lengths: np.ndarray | None,
    *,
    reverse: bool,
    batch_size: int,
    width: int = 1,
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Scores of every prefix (or suffix) of N sequences by M models, each scored by itself.

    A score that takes `lengths` runs in one compiled program. Another one is compiled for every length from
    `min_length` on; lengths that it cannot be traced for, or where it is not finite (as a maximum or a mean over no
    positions), have no score.

    Args:
      stacked_params: parameters with a leading axis M.
      score: see `explain.score`.
      tokens: uint8 (M, N, L), as `batches.checked_sequences` returns them, and so are lengths: int32 (M, N) or None.
      lengths: see `tokens`.
      reverse: suffixes instead of prefixes.
      batch_size: sequences at a time, on each device.
      width: models at a time, see `batches.run`.
      progress: called with the number of sequences done since the last call; without `lengths` in the score, with the
        number of truncated sequences.

    Returns:
      float32 (M, N, L). Entry t is of the prefix that ends with position t, or the suffix that begins there; NaN
      behind a sequence's end and where the truncated sequence is too short for the score.

    Raises:
      InputError: something that is no score; no truncated sequence can be scored; without `lengths` in the score,
        sequences whose lengths differ from model to model.
    """
    one = jax.tree.map(lambda leaf: leaf[0], stacked_params)
    first = tokens[0, 0] if lengths is None else tokens[0, 0, : lengths[0, 0]]
    check_score(score, one, first, gradient=False)
    if takes_lengths(score):
        if lengths is None:
            lengths = np.full(tokens.shape[:2], tokens.shape[2], np.int32)
        return batches.run(
            _with_lengths,
            (score, reverse, shortest(score)),
            stacked_params,
            (tokens, lengths),
            batch_size=batch_size,
            width=width,
            progress=progress,
        )

    def group(tokens: np.ndarray, lengths: None) -> np.ndarray:
        del lengths  # all of one length
        n_letters = tokens.shape[2]
        found = np.full(tokens.shape, np.nan, np.float32)
        for length in range(shortest(score), n_letters + 1):
            cut = tokens[:, :, n_letters - length :] if reverse else tokens[:, :, :length]
            if not _can_read(score, one, length):
                continue
            values = batches.run(
                _plain, (score,), stacked_params, cut, batch_size=batch_size, width=width, progress=progress
            )
            found[:, :, n_letters - length if reverse else length - 1] = np.where(np.isfinite(values), values, np.nan)
        return found

    found = group(tokens, None) if lengths is None else batches.in_groups(group, tokens, lengths, behind=np.nan)
    if np.isnan(found).all():
        raise InputError(f'{name_of(score)} cannot read any truncated sequence of {tokens.shape[2]} letters or fewer')
    return found


def _can_read(score: Score, params: Any, length: int) -> bool:
    """Whether a score can be traced for sequences of this length; a 'valid' convolution raises below its width."""
    try:
        jax.eval_shape(score, params, jax.ShapeDtypeStruct((1, length, 4), float_type(params)))
    except Exception:  # anybody's function may raise anything; that it can be run at full length is checked
        return False
    return True


def _plain(params: Any, tokens: Array, score: Score) -> Array:
    return score(params, kernels.one_hot(tokens, float_type(params)))


def _with_lengths(params: Any, batch: tuple[Array, Array], score: Score, reverse: bool, least: int) -> Array:
    """Scores (B, L) of tokens (B, L) with lengths (B,)."""
    tokens, lengths = batch
    x = kernels.one_hot(tokens, float_type(params))
    position = jnp.arange(tokens.shape[1])

    def at(t: Array) -> Array:
        own = jnp.maximum(lengths - t, 0) if reverse else jnp.minimum(t + 1, lengths)
        cut = jnp.roll(x, -t, axis=1) if reverse else x
        cut = cut * (position[None] < own[:, None])[..., None]
        known = (t < lengths) & (own >= least)
        return jnp.where(known, score(params, cut, lengths=jnp.maximum(own, 1)), jnp.nan)

    return jax.lax.map(at, position).T
