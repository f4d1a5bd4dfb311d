"""The first convolution layer: its strongest and its most influential response, and its filters' motifs (pure).

The strongest response is the paper's baseline, after Alipanahi et al. 2015 (DeepBind): the motif is the window under
it. But a filter may respond strongly to what the model makes nothing of, or counts against binding. The most
influential response is the one that adds most to the score: activation times gradient, as class activation maps have it
(Selvaraju et al. 2017), here of each filter by itself.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax.errors import InputError
from demo_jax.explain import batches
from demo_jax.explain.sizes import default_sizes
from demo_jax.nn import kernels
from demo_jax.nn.kernels import Array
from demo_jax.nn.layers import Convolution, Run, Size
from demo_jax.nn.models import ModelSpec, Params, apply, entering


@dataclass(frozen=True, eq=False)
class StrongestActivation:
    """The strongest first-layer activation of each sequence, of one model or (leading axis M) of several.

    Attributes:
      start: int32 (N,), the leftmost letter under the filter. In the padding of a convolution it is negative, or the
        filter extends past the end.
      filter: int32 (N,), the index of the filter (on a tie, the first).
      strength: float32 (N,), the activation after ReLU; 0 if no filter responds, and `start` then has no meaning.
      width: letters under the filter.
    """

    start: np.ndarray
    filter: np.ndarray
    strength: np.ndarray
    width: int


@dataclass(frozen=True, eq=False)
class FilterMotifs:
    """First-layer filters as motifs, of one model or (leading axis M) of several.

    Attributes:
      counts: float32 (F, width, 4), counts of the letters in the windows that activate the filter.
      n_windows: int32 (F,), number of these windows.
      maximum: float32 (F,), the strongest activation over all sequences; 0 for a dead filter.
    """

    counts: np.ndarray
    n_windows: np.ndarray
    maximum: np.ndarray

    def probabilities(self, pseudocount: float = 1.0) -> np.ndarray:
        """(F, width, 4), with `pseudocount` shared evenly by the letters of a column; uniform for dead filters."""
        counts = self.counts.astype(np.float64) + pseudocount / 4
        total = counts.sum(axis=-1, keepdims=True)
        return np.where(total > 0, counts / np.where(total > 0, total, 1), 0.25)


def strongest_activations(
    params: Params,
    spec: ModelSpec,
    tokens: np.ndarray,
    *,
    lengths: np.ndarray | None = None,
    batch_size: int | None = None,
) -> StrongestActivation:
    """Where the first convolution layer of one model responds most in each of N sequences.

    Args:
      params: of one model.
      spec: its architecture. DeepBind's other strand is not looked at.
      tokens: uint8 (N, L).
      lengths: int (N,) or None; positions past the length are padding.
      batch_size: sequences at a time, on each device; None: what suits the device (`sizes.default_sizes`), 256 on a
        CPU.

    Raises:
      InputError: a spec without convolutions, or sequences that the model cannot read.
    """
    found = strongest_activations_models(
        batches.stack_one(params), spec, tokens, lengths=lengths, batch_size=batch_size
    )
    return StrongestActivation(found.start[0], found.filter[0], found.strength[0], found.width)


def strongest_activations_models(
    stacked_params: Params,
    spec: ModelSpec,
    tokens: np.ndarray,
    *,
    lengths: np.ndarray | None = None,
    batch_size: int | None = None,
    width: int | None = None,
) -> StrongestActivation:
    """`strongest_activations` of M models, in one program; for the arguments see `attribute_models`."""
    sequences = _checked(stacked_params, spec, tokens, lengths)
    sizes = _sizes(stacked_params, spec, sequences[0].shape, batch_size, width)
    found = batches.run(_strongest, (spec,), stacked_params, sequences, **sizes)
    start = found.position - _first(spec).left_padding
    return StrongestActivation(start, found.filter, found.strength, _first(spec).width)


def influential_activations(
    params: Params,
    spec: ModelSpec,
    tokens: np.ndarray,
    *,
    lengths: np.ndarray | None = None,
    batch_size: int | None = None,
) -> StrongestActivation:
    """Which response of the first convolution layer of one model adds most to the score of each of N sequences.

    What a response adds is its activation times the derivative of the score by it; for a model that is linear behind
    its maximum these add up to the score but for the bias. `strength` is what the response adds, 0 where none adds
    anything.

    For the arguments and errors see `strongest_activations`.
    """
    stacked = batches.stack_one(params)
    sequences = _checked(stacked, spec, tokens, lengths)
    sizes = _sizes(stacked, spec, sequences[0].shape, batch_size, None)
    found = jax.tree.map(lambda leaf: leaf[0], batches.run(_influential, (spec,), stacked, sequences, **sizes))
    first = _first(spec)
    return StrongestActivation(found.position - first.left_padding, found.filter, found.strength, first.width)


def filter_motifs(
    params: Params,
    spec: ModelSpec,
    tokens: np.ndarray,
    *,
    lengths: np.ndarray | None = None,
    fraction: float = 0.5,
    batch_size: int | None = None,
) -> FilterMotifs:
    """First-layer filters of one model as motifs, from the windows that activate them.

    A window counts if its activation is above zero and at least `fraction` of the filter's maximum over all sequences
    (Kelley et al. 2016, Basset). N, and positions outside the sequence, are not counted.

    Args:
      fraction: in (0, 1].

    The other arguments and the errors are those of `strongest_activations`.
    """
    found = filter_motifs_models(
        batches.stack_one(params), spec, tokens, lengths=lengths, fraction=fraction, batch_size=batch_size
    )
    return FilterMotifs(found.counts[0], found.n_windows[0], found.maximum[0])


def filter_motifs_models(
    stacked_params: Params,
    spec: ModelSpec,
    tokens: np.ndarray,
    *,
    lengths: np.ndarray | None = None,
    fraction: float = 0.5,
    batch_size: int | None = None,
    width: int | None = None,
) -> FilterMotifs:
    """`filter_motifs` of M models, in one program; for the arguments see `attribute_models`.

    Raises:
      InputError: as `filter_motifs`.
    """
    if not 0 < fraction <= 1:
        raise InputError(f'fraction is {fraction}, expected above 0 and at most 1')
    sequences = _checked(stacked_params, spec, tokens, lengths)
    sizes = _sizes(stacked_params, spec, sequences[0].shape, batch_size, width)
    maximum = batches.run(_largest, (spec,), stacked_params, sequences, **sizes)
    maximum = maximum.max(axis=1)
    threshold = np.where(maximum > 0, fraction * maximum, np.inf).astype(maximum.dtype)
    counts, n_windows = np.zeros(1), np.zeros(1, np.int32)
    # Counts are per sequence; summing them batch by batch needs little memory.
    step = sizes['batch_size']
    for first in range(0, sequences[0].shape[1], step):
        part = jax.tree.map(lambda array, first=first: array[:, first : first + step], sequences)
        found = batches.run(_windows, (spec,), (stacked_params, threshold), part, **sizes)
        counts, n_windows = counts + found[0].sum(axis=1), n_windows + found[1].sum(axis=1)
    return FilterMotifs(counts.astype(np.float32), n_windows, maximum)


class _Strongest(NamedTuple):
    position: Array
    filter: Array
    strength: Array


def _checked(stacked_params, spec, tokens, lengths):
    if not any(isinstance(layer, Convolution) for layer in spec.layers):
        raise InputError(f'activations need a spec with convolutions (CNN or CNN-RNN), {spec.name} has none')
    return batches.checked_sequences(spec, tokens, lengths, batches.count_models(stacked_params))


def _sizes(stacked_params, spec, shape, batch_size, width):
    one = jax.tree.map(lambda leaf: leaf[0], stacked_params)
    return default_sizes('activations', spec, one, shape, batch_size=batch_size, width=width)._asdict()


def _first(spec: ModelSpec) -> Convolution:
    """The first convolution."""
    return next(layer for layer in spec.layers if isinstance(layer, Convolution))


def _activations(params: Params, batch: tuple[Array, Array | None], spec: ModelSpec) -> Array:
    """(B, L', F), zero at positions outside of a sequence."""
    return apply(params, batch[0], spec, lengths=batch[1]).activations[0]


def _strongest(params: Params, batch: tuple[Array, Array | None], spec: ModelSpec) -> _Strongest:
    return _largest_of(_activations(params, batch, spec))


def _influential(params: Params, batch: tuple[Array, Array | None], spec: ModelSpec) -> _Strongest:
    added = activation_effects(params, batch[0], spec, lengths=batch[1])
    return _largest_of(jnp.maximum(added, 0))


def activation_effects(params: Params, tokens: Array, spec: ModelSpec, *, lengths: Array | None = None) -> Array:
    """What each response of the first convolution adds to the scores of a batch: (B, L', F), of the given strand."""
    number = next(place for place, layer in enumerate(spec.layers) if isinstance(layer, Convolution))
    first = _first(spec)
    signal = entering(jnp.asarray(tokens), lengths)
    for layer in spec.layers[: number + 1]:
        signal = layer.apply(params.get(layer.name, {}), signal, Run())
    assert signal.before_relu is not None  # a convolution gives it
    responds = signal.x > 0  # and lies inside the sequence

    def score(before: Array) -> Array:
        # LSTMs and pools may read the sums before the ReLU, so the derivative is taken by these; where the filter
        # responds, it is that by the activation.
        signal_of = signal._replace(x=jnp.where(responds, before, 0), before_relu=before)
        for layer in spec.layers[number + 1 :]:
            signal_of = layer.apply(params.get(layer.name, {}), signal_of, Run())
        return (signal_of.x[:, 1] - signal_of.x[:, 0]).sum()

    added = jax.grad(score)(signal.before_relu) * signal.x
    return added[..., : first.size(Size(1, 4)).channels].transpose(1, 0, 2)


def _largest_of(active: Array) -> _Strongest:
    flat = active.reshape(len(active), -1)
    at = flat.argmax(axis=1).astype(jnp.int32)
    return _Strongest(at // active.shape[2], at % active.shape[2], flat.max(axis=1))


def _largest(params: Params, batch: tuple[Array, Array | None], spec: ModelSpec) -> Array:
    return _activations(params, batch, spec).max(axis=1)


def _windows(
    params_and_threshold: tuple[Params, Array], batch: tuple[Array, Array | None], spec: ModelSpec
) -> tuple[Array, Array]:
    """Letters (B, F, width, 4) of each filter's windows at or above its threshold (F,), and their number (B, F)."""
    params, threshold = params_and_threshold
    active = _activations(params, batch, spec)
    chosen = (active >= threshold[None, None]).astype(active.dtype)
    width, steps = _first(spec).width, active.shape[1]
    x = kernels.one_hot(batch[0], active.dtype)
    x = jnp.pad(x, ((0, 0), (_first(spec).left_padding, width), (0, 0)))
    windows = jnp.stack([x[:, i : i + steps] for i in range(width)], axis=2)  # (B, L', width, 4)
    return jnp.einsum('blf,blwa->bfwa', chosen, windows), chosen.sum(1).astype(jnp.int32)
