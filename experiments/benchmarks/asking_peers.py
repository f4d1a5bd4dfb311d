"""tangermeme's marginalisation and ledidi's design on our models, with weights carried over.

Only imported where torch and these are installed.
"""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from experiments.benchmarks.deeplift_peers import Peer

if TYPE_CHECKING:
    from experiments.benchmarks.asking import Asked


class Strands(nn.Module):
    """The mean score (B, 1) of letters (B, 4, L) over both strands."""

    def __init__(self, one: nn.Module) -> None:
        super().__init__()
        self.one = one

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (B, 1)."""
        return (self.one(x) + self.one(x.flip(1, 2))) / 2


def model_of(asked: 'Asked', number: int) -> nn.Module:
    """One of the models."""
    params = jax.tree.map(lambda leaf: leaf[number], asked.params)
    model = Peer(asked.spec, params, asked.backgrounds.shape[1])
    return (Strands(model) if asked.average_strands else model).eval()


def _letters(tokens: np.ndarray) -> torch.Tensor:
    return F.one_hot(torch.as_tensor(tokens).long(), 4).float().transpose(1, 2).contiguous()


class Marginals:
    """The effect of each word, one model and word after the other: a call gives float (models, words)."""

    def __init__(self, asked: 'Asked', count: int) -> None:
        self._models = [model_of(asked, number) for number in range(count)]
        self._letters, self._words = _letters(asked.backgrounds), asked.words

    def __call__(self) -> np.ndarray:
        from tangermeme.marginalize import marginalize

        def effect(model: nn.Module, word: str) -> float:
            before, after = marginalize(model, self._letters, word, device='cpu', batch_size=256)
            return float((after - before).mean())

        return np.array([[effect(model, word) for word in self._words] for model in self._models])


class Ledidi:
    """A design for the first model: tokens uint8 (L,) to tokens; those given where none reaches the target."""

    def __init__(self, asked: 'Asked', target: float) -> None:
        self._model, self._target = model_of(asked, 0), target

    def __call__(self, start: np.ndarray) -> np.ndarray:
        from ledidi import ledidi
        from ledidi.pruning import greedy_pruning

        x = _letters(start[None])
        # It comes close to what it is asked for: a little more has to be asked for to reach the target.
        goal = torch.tensor([[self._target + 0.5]])
        designs: Any = ledidi(self._model, x, goal, device='cpu', random_state=0, verbose=False)
        best = start
        with torch.no_grad():
            scores = self._model(designs)[:, 0]
        for one, score in zip(designs, scores.tolist(), strict=True):
            if score < self._target:
                continue
            pruned = greedy_pruning(self._model, x, one[None], threshold=score - self._target)
            found = pruned[0].argmax(dim=0).numpy().astype(np.uint8)
            if best is start or (found != start).sum() < (best != start).sum():
                best = found
        return np.asarray(best)


def check(asked: 'Asked') -> float:
    """The largest difference of the first model's scores here and in JAX: float, log odds."""
    with torch.no_grad():
        found = model_of(asked, 0)(_letters(asked.backgrounds))[:, 0].numpy()
    return float(np.abs(found - asked.models(1).score(asked.backgrounds)[0]).max())
