"""The classical baseline: sequences are scored by a few motifs that were found without supervision (pure).

Alipanahi et al. (2015) call it MEME-SUM, and the paper calls it "MEME-ChIP sum": five matrices from the 500 strongest
peaks. The score of a sequence is the sum of its scores under the five matrices. Neither publication says exactly how a
matrix scores a sequence, so there are two rules here:

- 'sum': the log odds of the best match on either strand, the usual score in motif searches.
- 'zoops': the log likelihood ratio of the sequence under the ZOOPS model of the motif (Bailey & Elkan 1994). It weighs
  all positions by their odds, and each motif by the share of sequences that contain it, so that a rare motif cannot
  outweigh a common one.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax import dna
from demo_jax.baseline.zoops import Background, Candidates, expectation, make_windows
from demo_jax.nn.kernels import Array

RULES = ('sum', 'zoops')
_SMOOTHING = 1e-3  # of the background mixed into a matrix: no letter is impossible
_BLOCK_LETTERS = 25_000  # letters scored at once
_WIDTH_STEP, _MOTIF_STEP = 8, 5  # matrices are padded to multiples of these, so that few programs are compiled


class MotifScores(NamedTuple):
    """Scores of N sequences under C motifs, both float64 (N, C), in nats; 0 if a motif does not fit into a sequence.

    Attributes:
      best: log odds of the best match on either strand.
      mean: log of the mean odds over all positions and strands.
    """

    best: np.ndarray
    mean: np.ndarray


def score_motifs(
    tokens: np.ndarray, matrices: Sequence[np.ndarray], background: Background, *, length: int = 0
) -> MotifScores:
    """Scores of sequences under each motif, against the background.

    Positions with an N are skipped. A thousandth of the background is mixed into each matrix.

    Args:
      tokens: uint8 (N, L), padded with N.
      matrices: C matrices of probabilities (w, 4).
      background: see `baseline.zoops.Background`.
      length: pad to at least this many letters, so that several calls share one program.
    """
    tokens = np.asarray(tokens, np.uint8)
    if not len(matrices) or not len(tokens):
        return MotifScores(np.zeros((len(tokens), len(matrices))), np.zeros((len(tokens), len(matrices))))
    widths = [len(matrix) for matrix in matrices]
    length = max(length, tokens.shape[1], *widths)
    n_slots = -(-len(matrices) // _MOTIF_STEP) * _MOTIF_STEP
    padded = np.full((n_slots, -(-max(widths) // _WIDTH_STEP) * _WIDTH_STEP, 4), 0.25, np.float32)
    for number, matrix in enumerate(matrices):
        smoothed = np.asarray(matrix, np.float64) + _SMOOTHING * background.letters
        padded[number, : len(matrix)] = smoothed / smoothed.sum(axis=1, keepdims=True)
    motifs = Candidates(padded, np.full(n_slots, 0.5, np.float32), np.array(widths + [1] * (n_slots - len(widths))))
    size = max(1, _BLOCK_LETTERS // length)
    parts = []
    for start in range(0, len(tokens), size):
        block = np.full((size, length), dna.N, np.uint8)
        rows = tokens[start : start + size]
        block[: len(rows), : tokens.shape[1]] = rows
        scores = _score_block(block, motifs, *background.logs())
        parts.append([np.asarray(score, np.float64)[: len(rows), : len(matrices)] for score in scores])
    return MotifScores(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


@functools.partial(jax.jit)
def _score_block(tokens: Array, motifs: Candidates, letters: Array, transitions: Array) -> tuple[Array, Array]:
    windows = make_windows(tokens, tokens < dna.N, jnp.ones(len(tokens)), letters, transitions, motifs)
    odds = expectation(motifs, windows, 1.0).log_odds
    n_places = 2 * windows.inside.sum(axis=1)
    mean = jax.nn.logsumexp(odds, axis=(0, 2)) - jnp.log(jnp.maximum(n_places, 1))
    fits = n_places > 0
    return jnp.where(fits, odds.max(axis=(0, 2)), 0), jnp.where(fits, mean, 0)


def fit_shares(mean: np.ndarray, *, tolerance: float = 1e-6, steps: int = 1000) -> np.ndarray:
    """The share gamma of sequences that contain each motif, by EM; all other parameters are fixed.

    Args:
      mean: float (N, C), `MotifScores.mean` of the sequences that the motifs were found in.
      tolerance: EM has converged when no share changes by more.
      steps: the maximal number of steps.

    Returns:
      float64 (C,), above 0 and below 1, since half a sequence with and half a sequence without the motif is added.
    """
    mean = np.asarray(mean, np.float64)
    share = np.full(mean.shape[1], 0.5)
    for _ in range(steps):
        before = share
        odds = mean + np.log(share) - np.log1p(-share)
        held = np.exp(-np.logaddexp(0, -odds))
        share = (held.sum(axis=0) + 0.5) / (len(mean) + 1)
        if np.abs(share - before).max(initial=0) < tolerance:
            break
    return share


def combine(scores: MotifScores, rule: str, shares: np.ndarray | None = None) -> np.ndarray:
    """One score per sequence, float64 (N,): the sum over motifs under a rule of `RULES`.

    Args:
      scores: from `score_motifs`.
      rule: 'sum' or 'zoops', see the module.
      shares: (C,), of 'zoops': see `fit_shares`.

    Raises:
      ValueError: an unknown rule, or 'zoops' without shares.
    """
    if rule == 'sum':
        return scores.best.sum(axis=1)
    if rule != 'zoops' or shares is None:
        raise ValueError(f'rule {rule!r} with shares {shares}: expected one of {RULES}, zoops with shares')
    shares = np.asarray(shares, np.float64)
    return np.logaddexp(np.log1p(-shares), np.log(shares) + scores.mean).sum(axis=1)
