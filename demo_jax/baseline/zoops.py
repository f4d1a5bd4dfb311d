"""The positions of one motif in a set of sequences: MEME's ZOOPS model, its E-step and its M-step (pure).

ZOOPS means zero or one occurrence per sequence (Bailey & Elkan 1994, Proc Int Conf Intell Syst Mol Biol 2:28; 1995,
3:21). A share gamma of the sequences contains the motif once, on either strand, at any position with equal probability.
All other letters are background, a first-order Markov chain that is the same on both strands. Several candidates of
different widths are computed side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax import dna
from demo_jax.nn.kernels import Array

_COMPLEMENT = np.array([3, 2, 1, 0])


@dataclass(frozen=True, eq=False)
class Background:
    """A first-order Markov chain that is the same on both strands.

    Attributes:
      letters: float64 (4,), probabilities of A C G T.
      transitions: float64 (4, 4), of the next letter (column) after each letter (row).
    """

    letters: np.ndarray
    transitions: np.ndarray

    @classmethod
    def of(cls, sequences: Sequence[np.ndarray], pseudocount: float = 1.0) -> 'Background':
        """The chain of some sequences (uint8 tokens) on both strands, with `pseudocount` for every pair of letters.

        N is left out. Sequences are read as circles: each letter then occurs equally often as first and as second
        letter of a pair. Otherwise the two strands would differ slightly.
        """
        counts = np.full((4, 4), float(pseudocount))
        for sequence in sequences:
            known = np.asarray(sequence)[np.asarray(sequence) < dna.N].astype(np.int64)
            counts += np.bincount(known * 4 + np.roll(known, -1), minlength=16).reshape(4, 4)
        # A pair xy on one strand is y'x' on the other.
        counts = counts + counts[_COMPLEMENT][:, _COMPLEMENT].T
        return cls(counts.sum(axis=1) / counts.sum(), counts / counts.sum(axis=1, keepdims=True))

    def logs(self) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms of `letters` and `transitions`, float32."""
        return np.log(self.letters).astype(np.float32), np.log(self.transitions).astype(np.float32)


class Candidates(NamedTuple):
    """C motifs of different widths, padded to W: `probabilities` (C, W, 4), `share` gamma (C,), `widths` (C,).

    Rows of `probabilities` past a candidate's width are never used.
    """

    probabilities: Array
    share: Array
    widths: Array


class WindowTerms(NamedTuple):
    """What EM needs of N sequences of one task, for C candidates.

    Attributes:
      letters: float32 (N * L, W * 4), the one-hot window that begins at every position.
      background: float32 (N, L, C), log probability of the window of each candidate's width.
      inside: bool (N, L, C), whether that window lies inside the sequence and contains no N and no masked letter.
      weights: float32 (N,), 0 for padding rows.
      letter_shares: float32 (4,), probabilities of A C G T in the background.
    """

    letters: Array
    background: Array
    inside: Array
    weights: Array
    letter_shares: Array


class Expectation(NamedTuple):
    """The E-step.

    Attributes:
      sites: (2, N, L, C), posterior probability that the sequence's one site begins there, forward and reverse.
      log_odds: (2, N, L, C), of each window under the motif against the background; -inf where there is none.
      log_ratio: (N, C), log likelihood ratio of each sequence to the background alone; 0 without any window.
      log_likelihood: (C,), the sum of `log_ratio` by weight, in nats.
      objective: (C,), the same plus the log prior of the parameters: what EM never lowers.
    """

    sites: Array
    log_odds: Array
    log_ratio: Array
    log_likelihood: Array
    objective: Array


def make_windows(
    tokens: Array, free: Array, weights: Array, letters: Array, transitions: Array, model: Candidates
) -> WindowTerms:
    """The windows of one task's sequences, for the widths of some candidates.

    Args:
      tokens: uint8 (N, L), N behind a sequence's end.
      free: bool (N, L), False at N and at masked letters.
      weights: float32 (N,), how often each sequence counts.
      letters, transitions: log probabilities of the background, (4,) and (4, 4).
      model: C candidates.
    """
    n, length = tokens.shape
    widest = model.probabilities.shape[1]
    one_hot = jnp.pad(jax.nn.one_hot(tokens, 4, dtype=jnp.float32), ((0, 0), (0, widest - 1), (0, 0)))
    stacked = jnp.stack([one_hot[:, shift : shift + length] for shift in range(widest)], axis=2)
    # log p(window) = log p(first letter) + the transitions within, a difference of cumulative sums.
    known = jnp.minimum(tokens, 3).astype(jnp.int32)
    steps = jnp.pad(transitions[known[:, :-1], known[:, 1:]], ((0, 0), (1, 0)))
    until = jnp.cumsum(steps, axis=1)
    last = jnp.arange(length)[:, None] + model.widths[None] - 1
    background = (letters[known] - until)[..., None] + until[:, jnp.minimum(last, length - 1)]
    n_free = jnp.pad(jnp.cumsum(free.astype(jnp.int32), axis=1), ((0, 0), (1, 0)))
    held = n_free[:, jnp.minimum(last + 1, length)] - n_free[:, :-1, None]
    inside = held == model.widths[None, None]
    return WindowTerms(stacked.reshape(n * length, widest * 4), background, inside, weights, jnp.exp(letters))


def expectation(model: Candidates, windows: WindowTerms, pseudocount: float) -> Expectation:
    """The E-step.

    The likelihood ratio of a sequence with m windows is (1 - gamma) + gamma / 2m times the sum, over windows and
    strands, of the ratio of the window's probability under the motif to that under the background.
    """
    n, length, n_candidates = windows.inside.shape
    widest = model.probabilities.shape[1]
    used = jnp.arange(widest)[None] < model.widths[:, None]
    logs = jnp.where(used[..., None], jnp.log(model.probabilities), 0)
    both = jnp.stack([logs, _turned(logs, model.widths)]).reshape(2 * n_candidates, widest * 4)
    motif = jnp.moveaxis((windows.letters @ both.T).reshape(n, length, 2, n_candidates), 2, 0)
    odds = jnp.where(windows.inside[None], motif - windows.background[None], -jnp.inf)
    n_windows = windows.inside.sum(axis=1)  # (N, C)
    chance = jnp.log(model.share)[None] - jnp.log(2.0 * jnp.maximum(n_windows, 1))
    top = jnp.maximum(odds.max(axis=(0, 2)), -1e30)  # finite where there is no window
    ratios = jnp.exp(odds - top[None, :, None])
    occupied = chance + top + jnp.log(ratios.sum(axis=(0, 2)))
    total = jnp.logaddexp(occupied, jnp.broadcast_to(jnp.log1p(-model.share), occupied.shape))
    total = jnp.where(n_windows > 0, total, 0)  # a sequence without a window says nothing about the motif
    sites = ratios * jnp.exp(chance + top - total)[None, :, None]
    log_likelihood = (total * windows.weights[:, None]).sum(axis=0)
    prior = pseudocount * (logs * windows.letter_shares[None, None]).sum(axis=(1, 2))
    prior += 0.5 * (jnp.log(model.share) + jnp.log1p(-model.share))
    return Expectation(sites, odds, total, log_likelihood, log_likelihood + prior)


def maximisation(expected: Expectation, windows: WindowTerms, model: Candidates, pseudocount: float) -> Candidates:
    """The M-step: the likeliest parameters given the sites and the prior.

    The prior adds `pseudocount` letters of the background to each column, and half a sequence each with and
    without a site to the share.
    """
    n, length, n_candidates = windows.inside.shape
    weighted = expected.sites * windows.weights[None, :, None, None]
    sites = jnp.moveaxis(weighted, 0, 2).reshape(n * length, 2 * n_candidates)
    counts = (sites.T @ windows.letters).reshape(2, n_candidates, -1, 4)
    counts = counts[0] + _turned(counts[1], model.widths) + pseudocount * windows.letter_shares[None, None]
    n_able = (windows.inside.any(axis=1) * windows.weights[:, None]).sum(axis=0)
    share = (weighted.sum(axis=(0, 1, 2)) + 0.5) / (n_able + 1)
    return Candidates(counts / counts.sum(axis=2, keepdims=True), share, model.widths)


def covered(expected: Expectation, model: Candidates, windows: WindowTerms) -> Array:
    """bool (N, L): positions under a site of the first candidate.

    A window is a site if it is, taken alone, more likely a site than not: if gamma / 2m times its ratio exceeds 1. A
    sequence may have several sites, although the model assumes one.
    """
    n_windows = jnp.maximum(windows.inside[..., 0].sum(axis=1), 1)
    level = jnp.log(model.share[0] / (2.0 * n_windows))
    begun = jnp.cumsum(expected.log_odds[..., 0].max(axis=0) + level[:, None] > 0, axis=1)
    before = jnp.arange(begun.shape[1]) - model.widths[0]
    ended = jnp.where((before >= 0)[None], begun[:, jnp.maximum(before, 0)], 0)
    return begun > ended


def _turned(matrices: Array, widths: Array) -> Array:
    """The reverse complement of matrices (C, W, 4) within each width; rows past the width stay in place."""
    column = jnp.arange(matrices.shape[1])[None]
    mirrored = widths[:, None] - 1 - column
    source = jnp.where(mirrored >= 0, mirrored, column)
    return jnp.take_along_axis(matrices, source[..., None], axis=1)[..., ::-1]
