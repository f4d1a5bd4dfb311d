"""Scores of both alleles of variants, for many models at once, computing what alleles and windows share once (edge).

CNNs of one architecture run in one program (`nn.alleles`): windows that overlap in the same phase of the pools become
rows that are run once, and an allele with another single letter is computed out of its window's row. What is left,
other architectures, other alleles and shorter windows, is scored in whole, each sequence once.
"""

import concurrent.futures
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from demo_jax import dna
from demo_jax.explain.sizes import MOST_MODELS, on_accelerator
from demo_jax.nn import alleles, kernels
from demo_jax.predict.model import Model
from demo_jax.predict.scoring import BLOCK, score_all

_ROWS = 64  # rows of one window each that a CPU takes at a time: what their layers make stays in the cache
_MUTANTS = 384  # likewise, so many mutants on average
_LETTERS = 300  # letters by which a row is longer than a window where windows overlap
_CROWDED = 3  # so many windows have to share a longer row
_THREADS = 2  # programs that a CPU runs at a time: one works while the other is at a part that has one thread


class Pairs(NamedTuple):
    """Both alleles of n variants.

    Attributes:
      ref, alt: uint8 (n, width), their windows, padded with N.
      ref_length, alt_length: int32 (n,), letters of the windows.
      group: int64 (n,), the sequence that a window was cut from: windows of one group that overlap have the same
        letters there.
      start: int64 (n,), where the window begins in that sequence.
      position: int64 (n,), the one letter of the window that differs; -1 where more does.
    """

    ref: np.ndarray
    alt: np.ndarray
    ref_length: np.ndarray
    alt_length: np.ndarray
    group: np.ndarray
    start: np.ndarray
    position: np.ndarray

    def __len__(self) -> int:
        return len(self.ref)


class _Stack(NamedTuple):
    """Models of one architecture that share rows."""

    spec: Any
    params: Any  # stacked
    average_strands: bool
    places: np.ndarray


class _Work(NamedTuple):
    """A call of the program: rows (R, L), windows and mutants in them, and whose scores these are."""

    tokens: np.ndarray
    windows: alleles.Windows
    mutants: alleles.Mutants
    of_windows: np.ndarray
    of_mutants: np.ndarray


class AlleleScorer:
    """Scores alleles with M models."""

    def __init__(self, models: Sequence[Model]) -> None:
        """Take M models that read windows of one length."""
        self.models = list(models)
        alike: dict[Any, list[int]] = {}
        for place, model in enumerate(self.models):
            if alleles.shares(model.score):
                shapes = tuple(str(np.asarray(leaf).dtype) for leaf in jax.tree.leaves(model.params))
                alike.setdefault((model.score, model.average_strands, shapes), []).append(place)
        self._stacks = [
            _Stack(
                spec,
                jax.device_put(jax.tree.map(lambda *one: np.stack(one), *(self.models[at].params for at in places))),
                average,
                np.array(places),
            )
            for (spec, average, _), places in alike.items()
        ]
        taken = {place for places in alike.values() for place in places}
        self._others = [place for place in range(len(self.models)) if place not in taken]

    def score(
        self, pairs: Pairs, *, progress: Callable[[int], object] = lambda n: None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores float32 (M, n) of the reference windows, and of the others.

        Args:
          pairs: at least one.
          progress: called with the number of (model, variant) pairs done since the last call.
        """
        ref, alt = (np.empty((len(self.models), len(pairs)), np.float32) for _ in range(2))
        width = pairs.ref.shape[1]
        full = (pairs.ref_length == width) & (pairs.alt_length == width)
        for stack in self._stacks:
            if full.any():
                mine = np.flatnonzero(full)
                part = Pairs(*(array[mine] for array in pairs))
                ref[np.ix_(stack.places, mine)], alt[np.ix_(stack.places, mine)] = _score_stack(stack, part)
            rest = np.flatnonzero(~full)
            if len(rest):
                models = [self.models[place] for place in stack.places]
                ref[np.ix_(stack.places, rest)], alt[np.ix_(stack.places, rest)] = _score_whole(models, pairs, rest)
            progress(len(stack.places) * len(pairs))
        if self._others:
            every = np.arange(len(pairs))
            models = [self.models[place] for place in self._others]
            ref[self._others], alt[self._others] = _score_whole(models, pairs, every)
            progress(len(self._others) * len(pairs))
        return ref, alt


def _score_whole(models: Sequence[Model], pairs: Pairs, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (M, n) of windows in whole; equal windows are scored once."""
    tokens = np.concatenate([pairs.ref[chosen], pairs.alt[chosen]])
    lengths = np.concatenate([pairs.ref_length[chosen], pairs.alt_length[chosen]]).astype(np.int32)
    keys = np.concatenate([tokens, lengths[:, None].view(np.uint8)], axis=1)
    _, first, back = np.unique(_as_rows(keys), return_index=True, return_inverse=True)
    parts = [
        score_all(models, tokens[first[at : at + BLOCK]], lengths[first[at : at + BLOCK]])
        for at in range(0, len(first), BLOCK)
    ]
    scores = np.concatenate(parts, axis=1)[:, back.ravel()]
    return scores[:, : len(chosen)], scores[:, len(chosen) :]


def _as_rows(rows: np.ndarray) -> np.ndarray:
    """Rows of bytes (n, k) as n items that sort and compare."""
    rows = np.ascontiguousarray(rows)
    return rows.view(np.dtype((np.void, rows.shape[1]))).ravel()


def _score_stack(stack: _Stack, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Scores (M, n) of both alleles by models that share rows; all windows are full."""
    n, width, grid = len(pairs), pairs.ref.shape[1], alleles.grid(stack.spec)
    single = pairs.position >= 0
    whole = np.flatnonzero(~single)
    # Windows to be scored: each reference once, and other alleles that differ in more than a letter.
    keys = np.stack([pairs.group, pairs.start], axis=1)
    unique, first, owner = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    letters = np.concatenate([pairs.ref[first], pairs.alt[whole]])
    group = np.concatenate([unique[:, 0], np.full(len(whole), -1)])
    start = np.concatenate([unique[:, 1], np.zeros(len(whole), np.int64)])
    owner = owner.ravel()
    mutants = np.flatnonzero(single)
    position, letter = pairs.position[mutants], pairs.alt[mutants, pairs.position[mutants]]
    scores = np.zeros((len(stack.places), len(letters) + len(mutants)), np.float32)
    work = list(_works(letters, group, start, owner[mutants], position, letter, width, grid))
    static = (stack.spec, stack.average_strands, width, _together(len(stack.places)))

    def run(one: _Work) -> Any:
        return jax.device_get(_program(*static, stack.params, one.tokens, one.windows, one.mutants))

    with concurrent.futures.ThreadPoolExecutor(1 if on_accelerator() else _THREADS) as pool:
        for one, (own, others) in zip(work, pool.map(run, work), strict=True):
            scores[:, one.of_windows] = own[:, : len(one.of_windows)]
            scores[:, len(letters) + one.of_mutants] = others[:, : len(one.of_mutants)]
    ref, alt = scores[:, owner], np.empty((len(scores), n), np.float32)
    alt[:, mutants], alt[:, whole] = scores[:, len(letters) :], scores[:, len(unique) : len(letters)]
    return ref, alt


def _together(n_models: int) -> int:
    """Models that are mapped at once; on a CPU one after the other, which then stays in the cache."""
    return min(n_models, MOST_MODELS) if on_accelerator() else 1


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _program(spec, average_strands, width, together, params, tokens, windows, mutants):
    """Scores (M, W) of windows and (M, I) of mutants."""
    size = tokens.shape[1]
    turned = kernels.reverse_complement(tokens)
    other = windows._replace(start=size - width - windows.start)
    letter = jax.numpy.where(mutants.letter < 4, 3 - mutants.letter, mutants.letter)
    mirrored = alleles.Mutants(mutants.row, size - width - mutants.start, size - 1 - mutants.position, letter)

    def of_model(one: Any) -> Any:
        given = alleles.score(one, spec, tokens, windows, mutants, width)
        if not average_strands:
            return given
        both = alleles.score(one, spec, turned, other, mirrored, width)
        return tuple((a + b) / 2 for a, b in zip(given, both, strict=True))

    return jax.lax.map(of_model, params, batch_size=together if together > 1 else None)


def _works(
    letters: np.ndarray,
    group: np.ndarray,
    start: np.ndarray,
    owner: np.ndarray,
    position: np.ndarray,
    letter: np.ndarray,
    width: int,
    grid: int,
) -> Any:
    """The calls that score windows and mutants: those of crowded rows, then those of windows that lie alone.

    Args:
      letters: uint8 (U, width), the windows.
      group, start: (U,), see `Pairs`; a group below 0 shares nothing.
      owner: (I,), the window of each mutant; position: (I,) in it; letter: uint8 (I,).
      width, grid: letters of a window, and from one place of a row where windows begin to the next.
    """
    more = grid * -(-_LETTERS // grid)
    row, n_rows = _rows_of(group, start, grid, more)
    crowded = np.bincount(row, minlength=n_rows) >= _CROWDED
    longer = crowded[row]
    for shared in (True, False):
        mine = np.flatnonzero(longer == shared)
        if not len(mine):
            continue
        if shared:
            names, own = np.unique(row[mine], return_inverse=True)
            own = own.ravel()
            begins = np.full(len(names), np.iinfo(np.int64).max)
            np.minimum.at(begins, own, start[mine])
            at = start[mine] - begins[own]
        else:
            own, at, names = np.arange(len(mine)), np.zeros(len(mine), np.int64), mine
        size = width + (more if shared else 0)
        place = np.full(len(letters), -1)
        place[mine] = np.arange(len(mine))
        mutants = np.flatnonzero(longer[owner] == shared)
        of = place[owner[mutants]]
        per_call = max(1, min(_rows_at_once() * width // size, _mutants_at_once() * len(names) // max(1, len(of))))
        call_of_window, call_of_mutant = own // per_call, own[of] // per_call
        for call in range(-(-len(names) // per_call)):
            w, i = np.flatnonzero(call_of_window == call), np.flatnonzero(call_of_mutant == call)
            tokens = np.full((per_call, size), dna.N, np.uint8)
            for each in w:
                tokens[own[each] - call * per_call, at[each] : at[each] + width] = letters[mine[each]]
            begin = at[of[i]]
            yield _Work(
                tokens,
                alleles.Windows(*_filled(own[w] - call * per_call, at[w])),
                alleles.Mutants(
                    *_filled(own[of[i]] - call * per_call, begin, begin + position[mutants[i]], letter[mutants[i]])
                ),
                mine[w],
                mutants[i],
            )


def _rows_at_once() -> int:
    return 64 * _ROWS if on_accelerator() else _ROWS


def _mutants_at_once() -> int:
    return 64 * _MUTANTS if on_accelerator() else _MUTANTS


def _rows_of(group: np.ndarray, start: np.ndarray, grid: int, more: int) -> tuple[np.ndarray, int]:
    """Which row each window (U,) could lie in, where rows hold windows that begin up to `more` letters apart."""
    order = np.lexsort((start, start % grid, group))
    row, n_rows = np.empty(len(start), np.int64), 0
    before = (None, None, 0)
    for at, (one, begin) in zip(
        order.tolist(), zip(group[order].tolist(), start[order].tolist(), strict=True), strict=True
    ):
        if one < 0 or (one, begin % grid) != before[:2] or begin - before[2] > more:
            before, n_rows = (one, begin % grid, begin), n_rows + 1
        row[at] = n_rows - 1
    return row, n_rows


def _filled(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Arrays (n,), filled up with zeros to a power of two, of which each is a program; integers as int32."""
    n = len(arrays[0])
    size = max(64, 1 << max(n - 1, 0).bit_length())
    whole = (np.concatenate([array, np.zeros(size - n, array.dtype)]) for array in arrays)
    return tuple(array if array.dtype == np.uint8 else array.astype(np.int32) for array in whole)
