"""Scores of windows that overlap, by models that know what such windows share; by any other, window by window (pure).

Windows of a block that follow each other in a record at the stride are a run. Runs are cut into pieces of as many
windows as one program scores at once, first long ones, then shorter ones of what is left; the last few windows are
scored one by one, as are all windows where they have little in common.
"""

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax.explain.sizes import on_accelerator
from demo_jax.nn import deepbind, dense, kernels
from demo_jax.nn.deepbind import DeepBind
from demo_jax.nn.models import ModelSpec
from demo_jax.predict.model import Model

#: Windows of a model that an accelerator scores at once.
_ON_ACCELERATOR = 16_384
#: Letters of a CNN's piece, on a CPU: what its layers make of them stays in the cache.
_LETTERS = 4096
#: Windows that LSTMs of a CPU read at once.
_RECURRENT = 256
#: Every kind of piece has so many times fewer windows than the kind before.
_SHORTER = 8
_KINDS = 3
#: Models of one program on an accelerator; a CPU takes them one by one.
_TOGETHER = 16


class Pieces(NamedTuple):
    """Runs of `windows` windows each: `first` int (P,), the place in the block where each begins."""

    windows: int
    first: np.ndarray


class _Group(NamedTuple):
    """Models of one program: what scores them, which they are, and their stacked parameters."""

    score: Any
    average: bool
    members: list[int]
    params: Any


def sharing(model: Model, width: int, stride: int) -> tuple[Any, Any] | None:
    """What scores overlapping windows of a model at once, and its parameters; None: they have too little in common.

    Args:
      model: any.
      width: letters of a window.
      stride: letters from one window to the next.
    """
    if 2 * stride > width:
        return None
    if isinstance(model.score, DeepBind):
        return (model.score, model.params) if width >= model.score.shape.detector_len else None
    spec = model.score
    if not isinstance(spec, ModelSpec):
        return None
    found = deepbind.of_trained(spec, model.params)
    if found is not None and width >= found[0].shape.detector_len:
        return found
    return (spec, model.params) if dense.shares(spec, width) else None


def score_block(
    models: Sequence[Model],
    tokens: np.ndarray,
    lengths: np.ndarray,
    follows: np.ndarray,
    stride: int,
    rest: Callable[[Sequence[Model], np.ndarray, np.ndarray], np.ndarray],
    *,
    progress: Callable[[int], object] = lambda n: None,
) -> np.ndarray:
    """Scores float32 (M, n) of windows; what windows have in common is computed once where models know how.

    Args:
      models: M of them.
      tokens: uint8 (n, width), padded with N.
      lengths: int32 (n,), letters of each window.
      follows: bool (n,), whether a window begins `stride` letters behind the window before it, in the same record.
      stride: see above.
      rest: scores float32 (M', n') of some of the models and windows (tokens and lengths), window by window.
      progress: called with the number of (model, window) pairs done since the last call; not for what `rest` scores.
    """
    scores = np.empty((len(models), len(tokens)), np.float32)
    width = tokens.shape[1]
    groups = _groups(models, width, stride)
    others = sorted(set(range(len(models))) - {m for group in groups for m in group.members})
    if others:
        scores[others] = rest([models[m] for m in others], tokens, lengths)
    jobs: list[tuple[_Group, Pieces]] = []
    for group in groups:
        found, left = pieces(follows & (lengths == width), _kinds(group.score, width, stride))
        jobs += [(group, piece) for piece in found]
        if len(left):
            alone = np.array(group.members)[:, None]
            scores[alone, left] = rest([models[m] for m in group.members], tokens[left], lengths[left])

    def one(job: tuple[_Group, Pieces]) -> int:
        group, piece = job
        at = piece.first[:, None] + np.arange(piece.windows)
        found = _score_pieces(group, piece, along(tokens, piece, stride), width, stride)
        # A piece that fills up a call stands in it twice, with the same scores.
        scores[np.array(group.members)[:, None, None], at] = found
        return len(group.members) * len(np.unique(piece.first)) * piece.windows

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # small programs keep one core busy
        for n_done in pool.map(one, jobs):
            progress(n_done)
    return scores


def pieces(follows: np.ndarray, kinds: Sequence[tuple[int, int]]) -> tuple[list[Pieces], np.ndarray]:
    """Runs of windows, cut into pieces.

    Args:
      follows: bool (n,), whether a window goes on with the run of the window before.
      kinds: windows of a piece, and pieces of a call, the longest pieces first.

    Returns:
      What goes into each call, as many pieces as its kind says (the last piece repeated, if there are less); and the
      windows int (m,) that are left.
    """
    edges = np.flatnonzero(~follows)
    runs = np.stack([edges, np.diff(np.append(edges, len(follows)))], axis=1) if len(follows) else np.zeros((0, 2), int)
    if len(follows) and not len(edges) or len(edges) and edges[0]:
        runs = np.concatenate([[[0, edges[0] if len(edges) else len(follows)]], runs])
    calls: list[Pieces] = []
    for windows, n in kinds:
        counts = runs[:, 1] // windows
        first = np.repeat(runs[:, 0], counts) + windows * _counted(counts)
        # A call that would be less than a quarter full is not worth it.
        taken = len(first) if 4 * (len(first) % n) >= n else len(first) // n * n
        for i in range(0, taken, n):
            part = first[i : min(i + n, taken)]
            calls.append(Pieces(windows, np.concatenate([part, np.repeat(part[-1:], n - len(part))])))
        unused = np.stack([first[taken:], np.full(len(first) - taken, windows)], axis=1)
        tails = np.stack([runs[:, 0] + counts * windows, runs[:, 1] - counts * windows], axis=1)
        runs = np.concatenate([unused, tails[tails[:, 1] > 0]])
    return calls, np.sort(np.repeat(runs[:, 0], runs[:, 1]) + _counted(runs[:, 1]))


def _counted(counts: np.ndarray) -> np.ndarray:
    """0 to n - 1 for each of some numbers n, one after the other."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def along(tokens: np.ndarray, piece: Pieces, stride: int) -> np.ndarray:
    """The letters that windows cover, uint8 (P, L), of windows uint8 (n, width) that begin `stride` letters apart."""
    at = piece.first[:, None] + np.arange(piece.windows)
    begun = tokens[at, :stride].reshape(len(at), -1)
    return np.concatenate([begun, tokens[at[:, -1], stride:]], axis=1)


def _groups(models: Sequence[Model], width: int, stride: int) -> list[_Group]:
    """The models that share what their windows have in common, those of one program together."""
    found: dict[tuple[Any, bool], list[tuple[int, Any]]] = {}
    for m, model in enumerate(models):
        score = sharing(model, width, stride)
        if score is not None:
            average = model.average_strands and not getattr(score[0], 'both_strands', False)
            found.setdefault((score[0], average), []).append((m, score[1]))
    together = _TOGETHER if on_accelerator() else 1
    groups = []
    for (score, average), members in found.items():
        n = deepbind.TOGETHER if isinstance(score, DeepBind) else together
        for part in (members[i : i + n] for i in range(0, len(members), n)):
            params = jax.tree.map(lambda *leaves: np.stack(leaves), *(params for _, params in part))
            groups.append(_Group(score, average, [m for m, _ in part], params))
    return groups


def _kinds(score: Any, width: int, stride: int) -> list[tuple[int, int]]:
    """Windows of a piece and pieces of a call, see `pieces`."""
    recurrent = isinstance(score, ModelSpec) and any(layer.kind == 'lstm' for layer in score.layers)
    together = dense.classes(score, stride) if isinstance(score, ModelSpec) else 1
    at_once = _RECURRENT if recurrent else max(_LETTERS // stride, 64)
    pieces_at_once = 1 if recurrent or isinstance(score, DeepBind) else 2
    if on_accelerator():
        pieces_at_once = max(1, _ON_ACCELERATOR // at_once)
    kinds = []
    for kind in range(_KINDS):
        windows = at_once // _SHORTER**kind // together * together
        if windows > 1:
            kinds.append((windows, pieces_at_once * at_once // windows))
    return kinds


def _score_pieces(group: _Group, piece: Pieces, letters: np.ndarray, width: int, stride: int) -> np.ndarray:
    """Scores float32 (M, P, K) of the windows along letters uint8 (P, L)."""
    if isinstance(group.score, DeepBind):
        shape, windows = group.score.shape, group.score.windows
        found = deepbind.score_overlapping(
            group.params, letters, shape=shape, windows=windows, width=width, stride=stride
        )
    else:
        found = _program(group.params, letters, group.score, group.average, stride, piece.windows)
    return np.asarray(found)


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _program(params: Any, tokens: Any, spec: ModelSpec, average: bool, stride: int, windows: int) -> jax.Array:
    """Scores (M, P, K) by stacked models, the mean of both strands if so wished."""

    def one(params: Any) -> jax.Array:
        found = jnp.asarray(dense.score(params, spec, tokens, stride, windows))
        if not average:
            return found
        other = dense.score(params, spec, kernels.reverse_complement(tokens), stride, windows)
        return (found + other[:, ::-1]) / 2

    n_models = len(jax.tree.leaves(params)[0])
    if n_models == 1:
        return one(jax.tree.map(lambda leaf: leaf[0], params))[None]
    return jax.vmap(one)(params)
