"""The weights of the shown models, for the page that computes them (edge: reads the models of a run).

A weight travels as a whole number of 20 bits with a scale per output (24 bits in small arrays, such as the recurrent
weights of LSTMs, whose errors add up along a sequence). So it is within half a step, 1/1048574 of its output's largest
weight, of the value on disk. In 16 bits the scores of trained models moved by up to 7e-4, in half precision by up to
2e-2.
"""

import base64
import functools
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from demo_jax.errors import InputError
from demo_jax.nn.architecture import AnyArchitecture, parameter_shapes, resolve
from demo_jax.nn.layers import Layer
from demo_jax.nn.models import ModelSpec
from demo_jax.report.collect import Collector

#: Bits of a weight in arrays of less than `SMALL` numbers, and in larger ones. The page reads up to 24.
FINE, COARSE = 24, 20
SMALL = 10_000


def pack_weights(weights: np.ndarray) -> dict[str, Any]:
    """float (..., F) -> 'scale' (F,) float32 and 'data', both as base64, with their 'bits' and 'width'.

    Rows are outputs, of `width` numbers each; an array (F,) is one row. Numbers follow each other without gaps, first
    bits first; value = (whole number - 2**(bits - 1)) x scale.
    """
    rows = np.asarray(weights, np.float64)
    rows = rows.reshape(-1, rows.shape[-1]).T if rows.ndim > 1 else rows[None]
    bits = FINE if rows.size < SMALL else COARSE
    full = 2 ** (bits - 1) - 1
    scale = (np.abs(rows).max(axis=1, initial=0.0) / full).astype('<f4')
    whole = np.clip(np.rint(rows / np.where(scale > 0, scale, 1.0)[:, None].astype(np.float64)), -full, full)
    unsigned = (whole.ravel() + full + 1).astype('>u4')
    stream = np.unpackbits(unsigned.view(np.uint8).reshape(-1, 4), axis=1)[:, 32 - bits :]
    return {
        'scale': base64.b64encode(scale.tobytes()).decode('ascii'),
        'bits': bits,
        'width': rows.shape[1],
        'data': base64.b64encode(np.packbits(stream).tobytes()).decode('ascii'),
    }


def unpack_weights(packed: Mapping[str, Any]) -> np.ndarray:
    """What the page makes of packed weights, float32 (F, width)."""
    scale = np.frombuffer(base64.b64decode(packed['scale']), '<f4').astype(np.float64)[:, None]
    stream = np.unpackbits(np.frombuffer(base64.b64decode(packed['data']), np.uint8))
    size, bits = scale.size * packed['width'], packed['bits']
    padded = np.pad(stream[: size * bits].reshape(size, bits), ((0, 0), (32 - bits, 0)))
    whole = np.packbits(padded, axis=1).view('>u4').astype(np.float64) - 2 ** (bits - 1)
    return (whole.reshape(scale.size, -1) * scale).astype(np.float32)


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


def model_payload(
    architecture: ModelSpec, members: Sequence[Mapping[str, Any]], *, average_strands: bool
) -> dict[str, Any]:
    """All that the page needs to compute a model.

    Args:
      architecture: one for which `why_not` is ''.
      members: parameters of the trained model, or of several that answer together: the score is their mean.
      average_strands: scores are means over both strands.
    """
    return {
        'spec': architecture.name,
        'min_length': architecture.min_length,
        'average_strands': average_strands,
        'members': [[_step(layer, params) for layer in architecture.layers] for params in members],
    }


def _step(layer: Layer, params: Mapping[str, Any]) -> dict[str, Any]:
    step = layer.page(jax.tree.map(np.asarray, dict(params.get(layer.name, {}))))
    assert step is not None  # `why_not` has said so
    arrays = {name: pack_weights(np.asarray(array)) for name, array in step.arrays.items()}
    return {'operation': step.operation, 'settings': dict(step.settings), 'arrays': arrays}


@functools.lru_cache(maxsize=256)
def weights_size(architecture: AnyArchitecture) -> int:
    """Bytes that the weights of one model take on the page; 0 where the page cannot compute it."""
    if why_not(architecture) or not isinstance(architecture, ModelSpec):
        return 0
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), parameter_shapes(architecture))
    return len(json.dumps(model_payload(architecture, [params], average_strands=False), separators=(',', ':')))


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
        if not why and job.spec not in specs:
            why = 'its weights would make the page too large (setting page_megabytes)'
        members = []
        try:
            members = [collector.run.load_result(index).params for index in collector.members(job) if not why]
        except InputError as error:
            why = str(error)
        trained = [params for params in members if params is not None]
        if not why and len(trained) < len(members):
            why = 'its training diverged'
        if why or not isinstance(architecture, ModelSpec):
            without.append((job.spec, why))
        else:
            models.append(model_payload(architecture, trained, average_strands=average) | {'spec': job.spec})
    return {'models': models, 'without': without} if models else None


def affordable_specs(collector: Collector, most: float) -> tuple[dict[str, int], list[str]]:
    """The architectures whose weights travel with the page, the smallest first, as long as all take `most` bytes.

    Returns:
      Architecture -> bytes over all tasks; and those that take too much.
    """
    sizes: dict[str, int] = {}
    for task in collector.corpus.tasks:
        for job in collector.explained(task):
            size = len(collector.members(job)) * weights_size(resolve(job.spec))
            sizes[job.spec] = sizes.get(job.spec, 0) + size
    chosen: dict[str, int] = {}
    for spec, size in sorted(sizes.items(), key=lambda entry: entry[1]):
        if sum(chosen.values()) + size <= most:
            chosen[spec] = size
    return chosen, [spec for spec in sizes if spec not in chosen]
