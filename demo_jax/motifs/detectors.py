"""Motifs of DeepBind's detectors, out of their weights alone (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from demo_jax.nn.deepbind import Shape

#: A detector's motif are the letters under it where it responds with this share of its largest response: the rule by
#: which first-layer filters become motifs, too (`explain.activations.filter_motifs`).
SHARE = 0.5
_ROUNDS = 60  # of halving: more than a float64 holds digits


@dataclass(frozen=True, eq=False)
class DetectorMotifs:
    """The n detectors of a model as motifs.

    Attributes:
      probabilities: float64 (n, d, 4).
      largest: float64 (n,), the largest response that any letters give; 0 of a detector that never responds.
      effect: float64 (n,), how much a site that gives the largest response raises the score.
    """

    probabilities: np.ndarray
    largest: np.ndarray
    effect: np.ndarray

    @property
    def order(self) -> np.ndarray:
        """The detectors that can respond, those with the largest effect first."""
        alive = np.flatnonzero(self.largest > 0)
        return alive[np.argsort(-self.effect[alive], kind='stable')]


def detector_motifs(
    params: Mapping[str, np.ndarray], shape: Shape, *, share: float = SHARE, length: int = 101
) -> DetectorMotifs:
    """What the detectors of a published model look for.

    Of all letter probabilities under which the mean response is `share` of the largest, the motif has the largest
    entropy: p ~ exp(lambda w), the limit of counting the letters of random words that respond so strongly. No sequences
    are needed.

    Args:
      params: see `nn.deepbind.DeepBind`.
      shape: of the model.
      share: in (0, 1).
      length: letters of the sequence in which mean responses are taken.
    """
    weights = np.asarray(params['detectors'], np.float64).transpose(2, 0, 1)  # (n, d, 4)
    offsets = np.asarray(params['offsets'], np.float64)
    largest = np.maximum(offsets + weights.max(axis=2).sum(axis=1), 0)
    scale = np.abs(weights).max(axis=(1, 2), initial=0)
    scale = np.where(scale > 0, scale, 1)

    def tilted(strength: np.ndarray) -> np.ndarray:
        logs = (strength / scale)[:, None, None] * weights
        odds = np.exp(logs - logs.max(axis=2, keepdims=True))
        return odds / odds.sum(axis=2, keepdims=True)

    low, high = np.zeros(len(weights)), np.full(len(weights), 200.0)
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        response = offsets + (tilted(middle) * weights).sum(axis=(1, 2))
        enough = response >= share * largest
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    probabilities = np.where((largest > 0)[:, None, None], tilted(high), 0.25)
    return DetectorMotifs(probabilities, largest, _effects(params, shape, offsets, largest, length))


def _effects(
    params: Mapping[str, np.ndarray], shape: Shape, offsets: np.ndarray, largest: np.ndarray, length: int
) -> np.ndarray:
    """Scores (n,) with one detector at its largest response, less that of unknown letters alone."""

    def head(top: np.ndarray, mean: np.ndarray) -> np.ndarray:
        units = top @ params['weights'] + params['bias']
        if shape.averages:
            units = units + mean @ params['mean_weights']
        return np.maximum(units, 0) @ params['output_weights'] + params['output_bias'] if shape.n_hidden else units

    rest = np.maximum(offsets, 0)
    one = np.diag(np.maximum(largest - rest, 0))
    unknown = head(rest[None], rest[None])[0]
    return head(rest + one, rest + one / (length + shape.detector_len - 1)) - unknown
