"""The same models in PyTorch, one at a time: what our timings are compared with.

Only imported where torch is installed.
"""

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from demo_jax.nn.models import ModelSpec

_DROPOUT = 0.5
_LEARNING_RATE = 1e-3
_CLIP = 5.0


def variants(spec: ModelSpec) -> tuple[str, ...]:
    """The ways to lay a model out that are worth trying; the fastest counts.

    For LSTMs the batch or the time first; for CNNs `Conv1d`, or `Conv2d` with channels last.
    """
    return ('batch_first', 'time_first') if spec.lstm_layers else ('conv1d', 'channels_last')


class TorchModel(nn.Module):
    """One of our architectures.

    nn.LSTM has two biases that are added to each other; the second stays zero and is not trained, so
    that the model has as many parameters as ours.

    Args:
      spec: the architecture.
      variant: one of `variants(spec)`.
    """

    def __init__(self, spec: ModelSpec, variant: str) -> None:
        super().__init__()
        self.spec = spec
        self.channels_last = variant == 'channels_last'
        self.batch_first = variant == 'batch_first'
        self.convolutions = nn.ModuleList()
        channels = 4
        for width, filters in spec.conv:
            pad = {'valid': 0, 'same': width // 2, 'full': width - 1}[spec.padding]
            self.convolutions.append(
                nn.Conv2d(channels, filters, (1, width), padding=(0, pad))
                if self.channels_last
                else nn.Conv1d(channels, filters, width, padding=pad)
            )
            channels = filters
        layers, size = spec.lstm_layers, spec.lstm_size
        options: dict[str, Any] = {'batch_first': self.batch_first}
        if layers == 1:
            self.lstms = nn.ModuleList([nn.LSTM(channels, size, bidirectional=True, **options)])
        else:  # each direction is a stack of its own, which a bidirectional nn.LSTM is not
            options |= {'num_layers': layers, 'dropout': _DROPOUT}
            self.lstms = nn.ModuleList([nn.LSTM(channels, size, **options) for _ in range(2 if layers else 0)])
        for name, parameter in self.lstms.named_parameters():
            if 'bias_hh' in name:
                nn.init.zeros_(parameter)
                parameter.requires_grad_(False)
        if layers:
            channels = size
        self.dense = nn.Linear(2 * channels if layers or spec.summary == 'max_mean' else channels, 2)
        if self.channels_last:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch declares no such call

    def trained(self) -> list[nn.Parameter]:
        """The parameters that are trained."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def prepare(self, one_hot: torch.Tensor) -> torch.Tensor:
        """One-hot sequences (B, L, 4) in the layout that `forward` reads, contiguous."""
        if self.channels_last:
            return one_hot.transpose(1, 2).unsqueeze(2).contiguous(memory_format=torch.channels_last)
        if self.convolutions:
            return one_hot.transpose(1, 2).contiguous()
        return one_hot.contiguous() if self.batch_first else one_hot.transpose(0, 1).contiguous()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2) of sequences from `prepare`."""
        if self.spec.both_strands:
            x = torch.cat([x, x.flip(1, -1)])
        for index, convolution in enumerate(self.convolutions):
            x = F.relu(convolution(x))
            if index < len(self.convolutions) - 1:
                if self.spec.pool > 1:
                    size = self.spec.pool
                    x = F.max_pool2d(x, (1, size)) if self.channels_last else F.max_pool1d(x, size)
                if not self.spec.lstm_layers:
                    x = self._drop(x)
        features = self._recurrent(x) if self.spec.lstm_layers else self._summary(x)
        logits = self.dense(features)
        if self.spec.both_strands:
            given, turned = logits.chunk(2)
            better = turned[:, 1] - turned[:, 0] > given[:, 1] - given[:, 0]
            logits = torch.where(better[:, None], turned, given)
        return logits

    def _drop(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, _DROPOUT, self.training and self.dense.weight.requires_grad)

    def _recurrent(self, x: torch.Tensor) -> torch.Tensor:
        if self.convolutions:
            x = x.transpose(1, 2) if self.batch_first else x.permute(2, 0, 1)
        time = 1 if self.batch_first else 0
        if len(self.lstms) == 1:
            return self._drop(self.lstms[0](x)[0]).mean(time)
        directions = (x, x.flip(time))
        outputs = [lstm(turned)[0] for lstm, turned in zip(self.lstms, directions, strict=True)]
        return torch.cat([self._drop(output).mean(time) for output in outputs], dim=1)

    def _summary(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(2)
        largest = x.amax(-1)
        if self.spec.summary == 'max':
            return largest
        features = torch.cat([largest, x.mean(-1)], dim=1)
        return self._drop(features) if self.spec.both_strands else features


def carry_over(params: Any, model: TorchModel) -> TorchModel:
    """Put our parameters, of one model, into PyTorch's: kernels transposed, gates i f o g as i f g o.

    Raises:
      ValueError: a parameter has another number of elements.
    """

    def put(parameter: torch.Tensor, array: Any) -> None:
        array = np.ascontiguousarray(array)
        if parameter.numel() != array.size:
            raise ValueError(f'a parameter of {tuple(parameter.shape)} cannot hold {array.shape}')
        parameter.data = torch.as_tensor(array.copy()).reshape(parameter.shape).contiguous()

    def gates(array: Any) -> np.ndarray:
        i, f, o, g = np.split(np.asarray(array), 4, axis=-1)
        return np.concatenate([i, f, g, o], axis=-1)

    for index, convolution in enumerate(model.convolutions):
        put(convolution.weight, np.asarray(params[f'conv{index}']['kernel']).transpose(2, 1, 0))
        put(convolution.bias, params[f'conv{index}']['bias'])
    for index in range(model.spec.lstm_layers):
        layer = params[f'lstm{index}']
        for direction in range(2):
            lstm = model.lstms[min(direction, len(model.lstms) - 1)]
            suffix = f'l{index}' + '_reverse' * (direction == 1 and len(model.lstms) == 1)
            put(getattr(lstm, f'weight_ih_{suffix}'), gates(layer['kernel'][direction]).T)
            put(getattr(lstm, f'weight_hh_{suffix}'), gates(layer['recurrent'][direction]).T)
            put(getattr(lstm, f'bias_ih_{suffix}'), gates(layer['bias'][direction]))
    put(model.dense.weight, np.asarray(params['dense']['kernel']).T)
    put(model.dense.bias, params['dense']['bias'])
    return model


def device() -> torch.device:
    """A GPU where torch sees one, else the CPU."""
    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def use_all_cores(cores: int, *, gpu: bool) -> None:
    """Settings for speed: a thread per core; on a GPU, TF32 products as JAX uses them by default."""
    torch.set_num_threads(cores)
    if gpu:
        torch.set_float32_matmul_precision('high')
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True


class TorchTraining:
    """Training steps of one model on one batch: a call runs `steps` of them and waits for the end.

    The batch is one-hot and in the model's layout beforehand, which is in torch's favour.
    """

    def __init__(
        self, spec: ModelSpec, variant: str, tokens: np.ndarray, labels: np.ndarray, steps: int, where: torch.device
    ) -> None:
        self.model = TorchModel(spec, variant).to(where)
        self.steps = steps
        self._inputs = self.model.prepare(F.one_hot(torch.as_tensor(tokens).long(), 4).float().to(where))
        self._labels = torch.as_tensor(labels).long().to(where)
        self._adam = torch.optim.Adam(self.model.trained(), lr=_LEARNING_RATE, fused=True)
        self._where = where

    def __call__(self) -> None:
        for _ in range(self.steps):
            self._adam.zero_grad()
            F.cross_entropy(self.model(self._inputs), self._labels).backward()
            nn.utils.clip_grad_value_(self.model.trained(), _CLIP)
            self._adam.step()
        _wait(self._where)


class StackedTorchTraining:
    """Several CNNs at once with `torch.func`: `vmap` of the gradient over stacked parameters."""

    def __init__(
        self,
        spec: ModelSpec,
        tokens: np.ndarray,
        labels: np.ndarray,
        *,
        models: int,
        steps: int,
        where: torch.device,
    ) -> None:
        if spec.lstm_layers:
            raise ValueError(f'{spec.name}: torch.func does not map over nn.LSTM')
        members = [TorchModel(spec, 'conv1d').to(where) for _ in range(models)]
        self.steps = steps
        self._where = where
        self._params, _ = torch.func.stack_module_state(members)
        inputs = members[0].prepare(F.one_hot(torch.as_tensor(tokens).long(), 4).float().to(where))
        self._inputs = inputs.expand(models, *inputs.shape).contiguous()
        self._labels = torch.as_tensor(labels).long().to(where).expand(models, -1).contiguous()
        self._adam = torch.optim.Adam(self._params.values(), lr=_LEARNING_RATE, fused=True)
        skeleton = copy.deepcopy(members[0]).to('meta')

        def loss(params, inputs, labels):
            return F.cross_entropy(torch.func.functional_call(skeleton, params, (inputs,)), labels)

        self._gradient = torch.func.vmap(torch.func.grad(loss), randomness='different')

    def __call__(self) -> None:
        for _ in range(self.steps):
            gradient = self._gradient(self._params, self._inputs, self._labels)
            for name, parameter in self._params.items():
                parameter.grad = gradient[name]
            nn.utils.clip_grad_value_(self._params.values(), _CLIP)
            self._adam.step()
        _wait(self._where)


class TorchSaliency:
    """The gradient of S(X) at the letters, for some models one after the other: a call explains all sequences.

    The sequences are one-hot and in the model's layout beforehand, which is in torch's favour.
    """

    def __init__(
        self, spec: ModelSpec, variant: str, tokens: np.ndarray, stacked_params: Any, *, batch: int, where: torch.device
    ) -> None:
        self.models = [
            carry_over(params, TorchModel(spec, variant)).to(where).requires_grad_(False)
            for params in _each(stacked_params)
        ]
        # cuDNN differentiates an LSTM in training mode alone; frozen models drop nothing in either mode.
        for model in self.models:
            model.train(where.type == 'cuda').apply(_without_dropout)
        letters = F.one_hot(torch.as_tensor(tokens).long(), 4).float().to(where)
        self._batches = [self.models[0].prepare(part) for part in letters.split(batch)]
        self._where = where

    def __call__(self) -> list[torch.Tensor]:
        maps = []
        for model in self.models:
            for batch in self._batches:
                x = batch.detach().requires_grad_()
                logits = model(x)
                (gradient,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), x)
                maps.append(gradient * batch)
        _wait(self._where)
        return maps


class _Score(nn.Module):
    """S(X), (B, 1), of letters (B, 4, L), as tangermeme and captum want it."""

    def __init__(self, model: TorchModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.model(x if self.model.convolutions else x.transpose(1, 2))
        return logits[:, 1:] - logits[:, :1]


class TangermemeMutagenesis:
    """tangermeme's saturation mutagenesis, of one model after the other.

    Args:
      spec: the architecture.
      tokens: uint8 (N, L).
      stacked_params: parameters with a leading axis of models.
      batch: sequences at a time.
      fast: follow what a mutation changes (fastISM), which it does for models of convolutions alone. By itself it does
        so only where it expects half a minute of work or more; here always.
    """

    def __init__(
        self, spec: ModelSpec, tokens: np.ndarray, stacked_params: Any, *, batch: int, fast: bool = True
    ) -> None:
        variant = variants(spec)[0]
        self._models = [
            _Score(carry_over(params, TorchModel(spec, variant))).eval() for params in _each(stacked_params)
        ]
        self._letters = F.one_hot(torch.as_tensor(tokens).long(), 4).float().transpose(1, 2).contiguous()
        self._options = {'batch_size': batch, 'fast': fast, 'device': 'cpu'}

    def __call__(self) -> list[torch.Tensor]:
        from tangermeme import saturation_mutagenesis as found

        found._FAST_MIN_SECONDS = 0.0
        return [found.saturation_mutagenesis(model, self._letters, **self._options) for model in self._models]


class CaptumSaliency:
    """captum's `Saliency`, of one model after the other."""

    def __init__(self, spec: ModelSpec, tokens: np.ndarray, stacked_params: Any, *, batch: int) -> None:
        from captum.attr import Saliency

        variant = variants(spec)[0]
        models = [_Score(carry_over(params, TorchModel(spec, variant))).eval() for params in _each(stacked_params)]
        self._methods = [Saliency(model) for model in models]
        self._batches = F.one_hot(torch.as_tensor(tokens).long(), 4).float().transpose(1, 2).contiguous().split(batch)

    def __call__(self) -> list[torch.Tensor]:
        return [
            method.attribute(batch.detach().requires_grad_(), abs=False) * batch
            for method in self._methods
            for batch in self._batches
        ]


def _each(stacked_params: Any) -> list[Any]:
    """The parameters of each model of some, as nested dictionaries."""
    count = len(stacked_params['dense']['bias'])
    return [
        {layer: {name: leaf[index] for name, leaf in parts.items()} for layer, parts in stacked_params.items()}
        for index in range(count)
    ]


def _without_dropout(module: nn.Module) -> None:
    if isinstance(module, nn.LSTM):
        module.dropout = 0.0


def _wait(where: torch.device) -> None:
    if where.type == 'cuda':
        torch.cuda.synchronize(where)
