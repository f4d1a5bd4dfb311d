"""How many sequences and models are explained or scored at a time, where nobody says so (pure)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from demo_jax.errors import InputError
from demo_jax.nn.architecture import Architecture
from demo_jax.nn.cost import bytes_per_model, intermediate_bytes
from demo_jax.nn.models import ModelSpec

#: Sequences at a time on a CPU: so few that what a layer makes stays in the cache. Models go one at a time there.
ON_CPU = {'attribution': 64, 'temporal': 64, 'activations': 256, 'interactions': 32, 'score': 128}
#: Rows at a time on a CPU where a sequence stands for several, each of which takes little memory.
ON_CPU_ROWS = {'mutants': 192}
#: Rows (sequences times models, truncations or mutants) at a time on an accelerator: more make it no faster.
MOST_ROWS = 16_384
#: Of an accelerator's memory so much is taken; the rest is for parameters, results and an estimate that is too low.
SHARE = 0.5
#: Bytes of memory of an accelerator that does not tell.
UNKNOWN_MEMORY = 8_000_000_000
#: Models whose maps an accelerator makes in one program. All their maps are in the host's memory at once.
MOST_MODELS = 64


class Sizes(NamedTuple):
    """Sequences of a model, and models, that one device works on at a time."""

    batch_size: int
    width: int


def device() -> jax.Device:
    """A device of the kind that explanations run on."""
    return jax.local_devices()[0]


def on_accelerator() -> bool:
    """Whether explanations run on GPUs or TPUs."""
    return device().platform != 'cpu'


def models_together() -> int:
    """How many models of one architecture are explained at once: one on a CPU, whose cache has no room for more."""
    return MOST_MODELS if on_accelerator() else 1


def default_sizes(
    work: str,
    score: Callable[..., Any],
    params: Any,
    shape: tuple[int, int, int],
    *,
    rows: int = 1,
    n_devices: int | None = None,
    batch_size: int | None = None,
    width: int | None = None,
) -> Sizes:
    """The sizes that a caller has left open. They change results by rounding alone.

    A CPU takes the numbers of `ON_CPU` or `ON_CPU_ROWS` and one model at a time. A GPU or TPU takes as many sequences
    as there are, and then as many models, as long as they are no more than `MOST_ROWS` rows and fit in `SHARE` of its
    memory.

    Args:
      work: what is to be done, one of `ON_CPU` or `ON_CPU_ROWS`.
      score: a `ModelSpec`, an `Architecture`, or any function of (params, x).
      params: of one model; arrays or their shapes.
      shape: models M, sequences N of each, and letters L.
      rows: rows of L letters that a sequence stands for at a time, e.g. 4 for the mutants of a position.
      n_devices: how many devices share out the sequences; None = all local ones.
      batch_size: the caller's own number of sequences; None = to be chosen.
      width: the caller's own number of models; None = to be chosen.

    Raises:
      InputError: `batch_size` or `width` is below 1.
    """
    for name, value in (('batch_size', batch_size), ('width', width)):
        if value is not None and value < 1:
            raise InputError(f'{name} is {value}, expected 1 or more')
    if not on_accelerator():
        fitting = ON_CPU[work] if work in ON_CPU else max(1, ON_CPU_ROWS[work] // rows)
        if work == 'attribution' and isinstance(score, ModelSpec | Architecture):
            # As in training: the activations of small CNNs leave no room for more.
            fitting = min(fitting, score.part_size)
        return Sizes(batch_size or fitting, width or 1)
    n_models, n, length = shape
    n = -(-n // (n_devices or jax.local_device_count()))
    memory = (device().memory_stats() or {}).get('bytes_limit', UNKNOWN_MEMORY)
    fitting = int(SHARE * memory / bytes_per_row(score, params, length))
    most = max(1, min(fitting, MOST_ROWS) // rows)
    # Powers of two: few shapes, each of which is a program, suit all numbers of sequences.
    batch_size = batch_size or min(1 << (most.bit_length() - 1), 1 << (n - 1).bit_length())
    return Sizes(batch_size, width or max(1, min(n_models, most // batch_size)))


def bytes_per_row(score: Callable[..., Any], params: Any, length: int) -> float:
    """Memory, roughly, that the gradient of the score of one sequence of L letters takes for what its layers keep."""
    if isinstance(score, ModelSpec | Architecture):
        return bytes_per_model(score, 1, length)
    return 2.0 * intermediate_bytes(score, 1, length, params)
