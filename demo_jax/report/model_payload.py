"""The weights of the shown models, for the page that computes them (edge: reads the models of a run).

A weight travels as a whole number of 20 bits with a scale per output, so it is within half a step, 1/1048574 of its
output's largest weight, of the value on disk. In 16 bits trained models moved by up to 7e-4 in their scores, in half
precision by up to 2e-2; in 20 bits they move by less than 1e-4.
"""

import base64
from collections.abc import Collection, Mapping
from typing import Any

import jax
import numpy as np

from demo_jax.errors import InputError
from demo_jax.nn.architecture import AnyArchitecture, parameter_shapes, resolve
from demo_jax.nn.layers import Layer
from demo_jax.nn.models import ModelSpec
from demo_jax.report.collect import Collector

#: Bits of a packed weight.
BITS = 20
_FULL = 2 ** (BITS - 1) - 1
#: Characters that a weight takes on the page: two weights are five bytes, and three bytes are four characters.
CHARACTERS = BITS / 8 * 4 / 3


def pack_weights(weights: np.ndarray) -> dict[str, Any]:
    """float (..., F) -> {'scale': F of float32, 'width': numbers of an output, 'data'}, as base64; rows are outputs.

    An array (F,) is one row. Two numbers are five bytes, the first one's bits first; value = (whole number - 2**19) x
    scale.
    """
    rows = np.asarray(weights, np.float64)
    rows = rows.reshape(-1, rows.shape[-1]).T if rows.ndim > 1 else rows[None]
    scale = (np.abs(rows).max(axis=1, initial=0.0) / _FULL).astype('<f4')
    whole = np.clip(np.rint(rows / np.where(scale > 0, scale, 1.0)[:, None].astype(np.float64)), -_FULL, _FULL)
    whole = (whole.astype(np.int64) + _FULL + 1).ravel()
    first, second = np.append(whole, 0)[: whole.size + whole.size % 2].reshape(-1, 2).T
    both = (first << BITS) + second
    parts = np.stack([both >> shift & 255 for shift in (32, 24, 16, 8, 0)], axis=1).astype(np.uint8)
    return {
        'scale': base64.b64encode(scale.tobytes()).decode('ascii'),
        'width': rows.shape[1],
        'data': base64.b64encode(parts.tobytes()).decode('ascii'),
    }


def unpack_weights(packed: Mapping[str, Any]) -> np.ndarray:
    """What the page makes of packed weights, float32 (F, width)."""
    parts = np.frombuffer(base64.b64decode(packed['data']), np.uint8).reshape(-1, 5).astype(np.int64)
    both = parts @ np.array([1 << shift for shift in (32, 24, 16, 8, 0)])
    whole = np.stack([both >> BITS, both & (2**BITS - 1)], axis=1).ravel() - _FULL - 1
    scale = np.frombuffer(base64.b64decode(packed['scale']), '<f4').astype(np.float64)[:, None]
    return (whole[: scale.size * packed['width']].reshape(scale.size, -1) * scale).astype(np.float32)


def why_not(architecture: AnyArchitecture) -> str:
    """Why the page cannot compute an architecture, as the end of a sentence; '' where it can."""
    if not isinstance(architecture, ModelSpec):
        return 'it is not made of layers that the page knows'
    shapes = parameter_shapes(architecture)
    for layer in architecture.layers:
        params = {name: np.zeros(leaf.shape, np.float32) for name, leaf in shapes.get(layer.name, {}).items()}
        if not _speaks_of_itself(layer) or layer.page(params) is None:
            return f'its layer {type(layer).__name__} is not one that the page knows'
    return ''


def _speaks_of_itself(layer: Layer) -> bool:
    """Whether `page` describes the `apply` that the layer has: no class on the way to `page` has another one."""
    classes = type(layer).__mro__
    place = {name: next(at for at, one in enumerate(classes) if name in vars(one)) for name in ('apply', 'page')}
    return place['page'] <= place['apply']


def model_payload(architecture: ModelSpec, params: Mapping[str, Any], *, average_strands: bool) -> dict[str, Any]:
    """All that the page needs to compute a model.

    Args:
      architecture: one for which `why_not` is ''.
      params: of the trained model.
      average_strands: its scores are means over both strands.
    """
    steps = []
    for layer in architecture.layers:
        step = layer.page(jax.tree.map(np.asarray, dict(params.get(layer.name, {}))))
        assert step is not None  # `why_not` has said so
        arrays = {name: pack_weights(np.asarray(array)) for name, array in step.arrays.items()}
        steps.append({'operation': step.operation, 'settings': dict(step.settings), 'arrays': arrays})
    return {
        'spec': architecture.name,
        'min_length': architecture.min_length,
        'average_strands': average_strands,
        'steps': steps,
    }


def weights_size(architecture: AnyArchitecture) -> float:
    """Bytes that the weights of one model take on the page, roughly; 0 where the page cannot compute it."""
    if why_not(architecture):
        return 0.0
    return CHARACTERS * sum(leaf.size for leaf in jax.tree.leaves(parameter_shapes(architecture)))


def models_payload(collector: Collector, task: str, specs: Collection[str]) -> dict[str, Any] | None:
    """The explained models of a task, as far as the page can compute them; None where there is none of them.

    Args:
      collector: of the run.
      task: its name.
      specs: architectures whose weights travel, see `affordable_specs`.

    Returns:
      'models': see `model_payload`; 'without': [architecture, why not] of the others.
    """
    average = bool(collector.run.config().get('recipe', {}).get('average_strands', False))
    models: list[dict[str, Any]] = []
    without: list[tuple[str, str]] = []
    for job in collector.explained(task):
        architecture = resolve(job.spec)
        why = why_not(architecture)
        n_members = len(collector.members(job))
        if not why and n_members > 1:
            why = f'its scores and maps are means over {n_members} models (setting explain.members)'
        if not why and job.spec not in specs:
            why = 'its weights would make the page too large (setting page_megabytes)'
        try:
            params = None if why else collector.run.load_result(job.index).params
        except InputError as error:
            why = str(error)
        else:
            why = why or ('' if params is not None else 'its training diverged')
        if why:
            without.append((job.spec, why))
        elif isinstance(architecture, ModelSpec) and params is not None:
            models.append(model_payload(architecture, params, average_strands=average) | {'spec': job.spec})
    return {'models': models, 'without': without} if models else None


def affordable_specs(collector: Collector, most: float) -> tuple[dict[str, float], list[str]]:
    """The architectures whose weights travel with the page, the smallest first, as long as all take `most` bytes.

    Returns:
      Architecture -> bytes, roughly, over all tasks; and those that take too much.
    """
    sizes: dict[str, float] = {}
    for task in collector.corpus.tasks:
        for job in collector.explained(task):
            sizes[job.spec] = sizes.get(job.spec, 0.0) + weights_size(resolve(job.spec))
    chosen: dict[str, float] = {}
    for spec, size in sorted(sizes.items(), key=lambda entry: entry[1]):
        if sum(chosen.values()) + size <= most:
            chosen[spec] = size
    return chosen, [spec for spec in sizes if spec not in chosen]
