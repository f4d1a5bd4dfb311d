"""Our architectures in PyTorch as tangermeme and captum can explain them by DeepLIFT, with weights carried over.

Only imported where torch is installed. The modules are written for DeepLIFT, which in both tools replaces the gradients
of modules: every nonlinearity is a module, read by nothing else, and a maximum over positions is a pool over the whole
length. Strands are neighbours in the batch, so that the halves of a batch (sequences, references) stay halves.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from demo_jax.nn.models import ModelSpec


def _tensor(array: Any) -> torch.Tensor:
    return torch.tensor(np.asarray(array))


def convolution_of(params: Any) -> nn.Conv1d:
    """A convolution (kernel (width, C, F), bias (F,)) without padding, in PyTorch."""
    width, channels, filters = params['kernel'].shape
    module = nn.Conv1d(channels, filters, width)
    module.weight.data, module.bias.data = _tensor(params['kernel']).permute(2, 1, 0), _tensor(params['bias'])
    return module


class Multiply(nn.Module):
    """A product of two arrays of one shape; a subclass may make it one that its tool has a rule for."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Their product."""
        return left * right


class Cell(nn.Module):
    """One direction of an LSTM, step by step, with modules that are the same at each step.

    Args:
      kernel: (C, 4H), gates i, f, o, g.
      recurrent: (H, 4H).
      bias: (4H,).
      multiply: makes the modules of its products.
    """

    def __init__(self, kernel: Any, recurrent: Any, bias: Any, multiply: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.kernel, self.recurrent, self.bias = (nn.Parameter(_tensor(a)) for a in (kernel, recurrent, bias))
        self.gates = nn.ModuleList([nn.Sigmoid(), nn.Sigmoid(), nn.Sigmoid(), nn.Tanh()])
        self.tanh = nn.Tanh()
        self.products = nn.ModuleList([multiply() for _ in range(3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The mean of the hidden states (B, H) of x (B, L, C)."""
        size = len(self.recurrent)
        h = c = x.new_zeros(len(x), size)
        total = x.new_zeros(len(x), size)
        for position in range(x.shape[1]):
            z = x[:, position] @ self.kernel + h @ self.recurrent + self.bias
            i, f, o, g = (gate(part) for gate, part in zip(self.gates, z.chunk(4, 1), strict=True))
            c = self.products[0](f, c) + self.products[1](i, g)
            h = self.products[2](o, self.tanh(c))
            total = total + h
        return total / x.shape[1]


class Peer(nn.Module):
    """The score (B, 1) of letters (B, 4, L): the difference of the logits.

    Args:
      spec: the architecture, with one layer of LSTMs or none; with both strands, one convolution.
      params: its parameters.
      length: letters L.
      multiply: see `Cell`.
    """

    def __init__(self, spec: ModelSpec, params: Any, length: int, multiply: Callable[[], nn.Module] = Multiply) -> None:
        super().__init__()
        self.strands = spec.both_strands
        layers: list[nn.Module] = []
        for index, (width, _) in enumerate(spec.conv):
            before, behind = {'valid': (0, 0), 'same': ((width - 1) // 2, width // 2), 'full': (width - 1,) * 2}[
                spec.padding
            ]
            layers += [nn.ConstantPad1d((before, behind), 0.0)] if before + behind else []
            layers += [convolution_of(params[f'conv{index}']), nn.ReLU()]
            length += before + behind - width + 1
            if spec.pool > 1 and index < len(spec.conv) - 1:
                layers.append(nn.MaxPool1d(spec.pool))
                length //= spec.pool
        self.features = nn.Sequential(*layers)
        self.summary = spec.summary
        self.largest = nn.MaxPool1d(length)
        dense = params['dense']
        self.dense = nn.Linear(len(dense['kernel']), 1)
        self.dense.weight.data = _tensor(dense['kernel'][:, 1:] - dense['kernel'][:, :1]).T
        self.dense.bias.data = _tensor(dense['bias'][1:] - dense['bias'][:1])
        self.better = nn.MaxPool1d(2)
        self.cells = nn.ModuleList()
        if spec.lstm_layers:
            kernel, recurrent, bias = (params['lstm0'][name] for name in ('kernel', 'recurrent', 'bias'))
            self.cells.extend(Cell(kernel[d], recurrent[d], bias[d], multiply) for d in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (B, 1)."""
        if self.strands:
            x = torch.stack([x, x.flip(1, 2)], 1).flatten(0, 1)
        x = self.features(x)
        if self.cells:
            x = x.transpose(1, 2)
            found = torch.cat([cell(way) for cell, way in zip(self.cells, (x, x.flip(1)), strict=True)], 1)
        else:
            found = self.largest(x)[..., 0]
            if self.summary == 'max_mean':
                found = torch.cat([found, x.mean(-1)], 1)
        score = self.dense(found)
        return self.better(score.reshape(-1, 1, 2))[..., 0] if self.strands else score


def tangermeme(spec: ModelSpec, params: Any, length: int, *, batch_size: int) -> Callable[..., np.ndarray]:
    """tangermeme's `deep_lift_shap`, of (letters (N, L, 4), references (N, K, L, 4)), to contributions (N, L, 4)."""
    from tangermeme.deep_lift_shap import BilinearOp, deep_lift_shap

    model = Peer(spec, params, length, lambda: BilinearOp('...,...->...'))

    def explain(x: np.ndarray, references: np.ndarray, *, hypothetical: bool = True) -> np.ndarray:
        found = deep_lift_shap(
            model,
            torch.tensor(x).transpose(1, 2),
            references=torch.tensor(references).transpose(2, 3),
            hypothetical=hypothetical,
            batch_size=batch_size,
            warning_threshold=1.0,
            device='cpu',
        )
        return found.detach().numpy().transpose(0, 2, 1)

    return explain


def captum(spec: ModelSpec, params: Any, length: int, *, batch_size: int) -> Callable[..., np.ndarray]:
    """captum's `DeepLift` on pairs, averaged over references: to multipliers times changes, (N, L, 4).

    `DeepLiftShap` pairs every sequence with all references; ours differ from sequence to sequence. It is timed, and no
    oracle: where a pool reads a ReLU directly, as here, its contributions do not sum to the change.
    """
    from captum.attr import DeepLift

    method = DeepLift(Peer(spec, params, length), multiply_by_inputs=True)

    def explain(x: np.ndarray, references: np.ndarray) -> np.ndarray:
        n, k = references.shape[:2]
        pairs = torch.tensor(np.repeat(x, k, axis=0)).transpose(1, 2)
        starts = torch.tensor(references.reshape(n * k, *x.shape[1:])).transpose(1, 2)
        parts = [
            method.attribute(pairs[at : at + batch_size], starts[at : at + batch_size], target=0)
            for at in range(0, n * k, batch_size)
        ]
        found = torch.cat(parts).detach().numpy().transpose(0, 2, 1)
        return found.reshape(n, k, *x.shape[1:]).mean(axis=1)

    return explain
