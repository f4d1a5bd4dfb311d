"""A motif finder by expectation maximisation, many tasks in one compiled program (pure).

The model is that of MEME (Bailey & Elkan 1994, 1995; see `baseline.zoops`). One motif after the other:

1. Seeds are words that are enriched: more sequences contain them than the background predicts. They are chosen one
   after the other, and the occurrences of earlier seeds are removed first.
2. A few EM steps at one medium width choose the best seed. A few more choose its width and shift by the Bayesian
   information criterion. This candidate runs until it converges.
3. All its sites are masked, and the search for the next motif begins.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from demo_jax import dna
from demo_jax.baseline.zoops import (
    Background,
    Candidates,
    Expectation,
    WindowTerms,
    covered,
    expectation,
    make_windows,
    maximisation,
)
from demo_jax.errors import InputError
from demo_jax.nn.kernels import Array

_SEED_LETTER = 0.7  # probability of a seed's own letter when EM begins
_SEED_SHARE = 0.3  # share of sequences with a site when EM begins


@dataclass(frozen=True)
class FinderSettings:
    """Settings of the motif search.

    Attributes:
      n_motifs: motifs per task.
      widths: the widths to choose from, ascending.
      seed_lengths: lengths of the words to start from, descending.
      n_seeds: how many words of each length.
      seed_width: the width at which seeds are compared.
      seed_steps, width_steps: EM steps before the best seed (the best width) is chosen.
      steps: the maximal number of EM steps of the final candidate.
      tolerance: EM has converged when a step gains less than this, in nats per sequence.
      pseudocount: letters of the background that are added to the counts of every column.
    """

    n_motifs: int = 5
    widths: tuple[int, ...] = (8, 11, 15, 21)
    seed_lengths: tuple[int, ...] = (8, 6)
    n_seeds: int = 4
    seed_width: int = 11
    seed_steps: int = 8
    width_steps: int = 10
    steps: int = 60
    tolerance: float = 1e-4
    pseudocount: float = 1.0

    def __post_init__(self) -> None:
        for name in ('n_motifs', 'n_seeds', 'seed_steps', 'width_steps', 'steps'):
            if getattr(self, name) < 1:
                raise InputError(f'{name} is {getattr(self, name)}, expected 1 or more')
        if not self.widths or list(self.widths) != sorted(set(self.widths)) or self.widths[0] < 2:
            raise InputError(f'widths is {self.widths!r}, expected ascending numbers of 2 or more')
        descending = sorted(set(self.seed_lengths), reverse=True)
        if list(self.seed_lengths) != descending or not descending or descending[0] > 9 or descending[-1] < 2:
            raise InputError(f'seed_lengths is {self.seed_lengths!r}, expected descending numbers from 9 to 2')
        if self.seed_width < self.seed_lengths[0]:
            raise InputError(f'seed_width is {self.seed_width}, expected at least the longest seed')
        for name in ('tolerance', 'pseudocount'):
            if not getattr(self, name) > 0:
                raise InputError(f'{name} is {getattr(self, name)}, expected a positive number')


@dataclass(frozen=True, eq=False)
class Motif:
    """One motif.

    Attributes:
      probabilities: float64 (w, 4), A C G T, rows add up to 1.
      share: gamma, the share of sequences that contain the motif.
      n_sites: the expected number of sequences that contain the motif.
      log_likelihood_ratio: of the sequences under the model to the background alone, in nats.
      seed: the word that the search began with.
    """

    probabilities: np.ndarray
    share: float
    n_sites: float
    log_likelihood_ratio: float
    seed: str


class _Found(NamedTuple):
    """One motif of one task, padded to the largest width; `seed` is padded with N."""

    probabilities: Array
    width: Array
    share: Array
    n_sites: Array
    log_likelihood: Array
    seed: Array


def find_motifs(
    tasks: Sequence[Sequence[np.ndarray]],
    *,
    settings: FinderSettings | None = None,
    shape: tuple[int, int, int] = (0, 0, 0),
    tasks_at_once: int = 1,
) -> list[list[Motif]]:
    """The motifs of each of K tasks.

    All tasks run in one compiled program, which is spread over the local devices. Tasks are padded to equal shapes with
    rows of weight 0. The motifs of a task do not depend on the other tasks (up to float rounding).

    Args:
      tasks: for each task its positive sequences, uint8 (l,) each, e.g. the 500 strongest peaks.
      settings: see `FinderSettings`.
      shape: pad to at least this many tasks, sequences and letters, so that several calls share one program.
      tasks_at_once: tasks per device at a time. On a CPU 1 is fastest; on a GPU as many as fit. A task with N
        sequences of L letters takes about 700 * N * L bytes.

    Returns:
      For each task at most `settings.n_motifs` motifs, in the order of the search; fewer if the sequences have no room
      for more, none if all sequences are shorter than the narrowest motif.

    Raises:
      InputError: there are no tasks.
    """
    settings = FinderSettings() if settings is None else settings
    if not len(tasks):
        raise InputError('no tasks to find motifs in')
    mesh = Mesh(np.array(jax.local_devices()), ('task',))
    n_tasks = -(-max(shape[0], len(tasks)) // mesh.size) * mesh.size
    n_rows = max(shape[1], 1, *(len(sequences) for sequences in tasks))
    length = max(shape[2], settings.seed_width, *(len(sequence) for sequences in tasks for sequence in sequences))
    tokens = np.full((n_tasks, n_rows, length), dna.N, np.uint8)
    weights = np.zeros((n_tasks, n_rows), np.float32)
    backgrounds = [Background.of(sequences) for sequences in tasks]
    for number, sequences in enumerate(tasks):
        weights[number, : len(sequences)] = 1
        for row, sequence in enumerate(sequences):
            tokens[number, row, : len(sequence)] = sequence
    backgrounds += [Background.of([])] * (n_tasks - len(tasks))
    letters, transitions = (np.stack(logs) for logs in zip(*(each.logs() for each in backgrounds), strict=True))
    motifs = _program(settings, tasks_at_once, mesh, (tokens, weights, letters, transitions))
    motifs = jax.tree.map(np.asarray, motifs)
    return [_motifs(jax.tree.map(lambda leaf, k=number: leaf[k], motifs)) for number in range(len(tasks))]


def _motifs(found: _Found) -> list[Motif]:
    """The motifs of one task, leaves (n_motifs, ...), without those that have no site."""
    result = []
    for number in np.flatnonzero(found.n_sites >= 1):
        probabilities = np.asarray(found.probabilities[number, : found.width[number]], np.float64)
        seed = np.asarray(found.seed[number])
        result.append(
            Motif(
                probabilities / probabilities.sum(axis=1, keepdims=True),
                float(found.share[number]),
                float(found.n_sites[number]),
                float(found.log_likelihood[number]),
                dna.decode(seed[seed < dna.N]),
            )
        )
    return result


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _program(settings: FinderSettings, tasks_at_once: int, mesh: Mesh, arrays: tuple[Array, ...]) -> _Found:
    def of_device(arrays: tuple[Array, ...]) -> _Found:
        size = tasks_at_once if tasks_at_once > 1 else None
        return jax.lax.map(lambda one: _find(settings, *one), arrays, batch_size=size)

    along = PartitionSpec('task')
    return jax.shard_map(of_device, mesh=mesh, in_specs=along, out_specs=along, check_vma=False)(arrays)


def _find(settings: FinderSettings, tokens: Array, weights: Array, letters: Array, transitions: Array) -> _Found:
    """All motifs of one task: tokens (N, L), weights (N,), log background (4,) and (4, 4)."""
    layouts = _layouts(settings.seed_width, settings.widths)
    n_parameters = jnp.array([3.0 * width + 1 for width, _ in layouts])

    def next_motif(free: Array, _: None) -> tuple[Array, _Found]:
        seeds = enriched_words(tokens, free, weights, letters, transitions, settings)
        model = _seeded(seeds, jnp.exp(letters), settings.seed_width)
        windows = make_windows(tokens, free, weights, letters, transitions, model)
        model = _run(model, windows, settings.seed_steps, settings.pseudocount)
        best = jnp.argmax(expectation(model, windows, settings.pseudocount).objective)

        model = _laid_out(model, best, layouts, windows.letter_shares)
        windows = make_windows(tokens, free, weights, letters, transitions, model)
        model = _run(model, windows, settings.width_steps, settings.pseudocount)
        expected = expectation(model, windows, settings.pseudocount)
        criterion = expected.log_likelihood - 0.5 * n_parameters * jnp.log(jnp.maximum(weights.sum(), 2))
        room = windows.inside.any(axis=(0, 1))
        chosen = jnp.argmax(jnp.where(room, criterion, -jnp.inf))

        model = Candidates(*(leaf[chosen][None] for leaf in model))
        windows = windows._replace(
            background=windows.background[:, :, chosen, None], inside=windows.inside[:, :, chosen, None]
        )
        model, expected = _converged(model, windows, settings)
        n_sites = (expected.sites.sum(axis=(0, 2))[:, 0] * weights).sum()
        found = _Found(
            model.probabilities[0],
            model.widths[0],
            model.share[0],
            jnp.where(room.any(), n_sites, 0),
            expected.log_likelihood[0],
            seeds[best],
        )
        return free & ~covered(expected, model, windows), found

    return jax.lax.scan(next_motif, tokens < dna.N, None, length=settings.n_motifs)[1]


def _run(model: Candidates, windows: WindowTerms, steps: int, pseudocount: float) -> Candidates:
    def step(_: Array, model: Candidates) -> Candidates:
        return maximisation(expectation(model, windows, pseudocount), windows, model, pseudocount)

    return jax.lax.fori_loop(0, steps, step, model)


def _converged(model: Candidates, windows: WindowTerms, settings: FinderSettings) -> tuple[Candidates, Expectation]:
    """EM until a step gains too little, and the E-step of the result."""
    least = settings.tolerance * jnp.maximum(windows.weights.sum(), 1)

    def goes_on(carry: tuple[Candidates, Array, Array, Array]) -> Array:
        _, _, gain, steps = carry
        return (gain > least) & (steps < settings.steps)

    def step(carry: tuple[Candidates, Array, Array, Array]) -> tuple[Candidates, Array, Array, Array]:
        model, before, _, steps = carry
        expected = expectation(model, windows, settings.pseudocount)
        after = expected.objective[0]
        return maximisation(expected, windows, model, settings.pseudocount), after, after - before, steps + 1

    start = (model, jnp.float32(-jnp.inf), jnp.float32(jnp.inf), jnp.int32(0))
    model = jax.lax.while_loop(goes_on, step, start)[0]
    return model, expectation(model, windows, settings.pseudocount)


def enriched_words(
    tokens: Array, free: Array, weights: Array, letters: Array, transitions: Array, settings: FinderSettings
) -> Array:
    """Words to start from, uint8 (S, longest) padded with N: `n_seeds` of each length.

    The score of a word compares the number of sequences that contain it, on either strand, with the number that the
    background predicts (Poisson log likelihood ratio). The arguments are those of `make_windows`.
    """
    length = tokens.shape[1]
    known = jnp.minimum(tokens, 3).astype(jnp.int32)
    total = jnp.maximum(weights.sum(), 1)
    seeds = []
    for size in settings.seed_lengths:
        words = np.indices((4,) * size).reshape(size, -1)  # the letters of each code, (size, 4 ** size)
        place = 4 ** np.arange(size - 1, -1, -1)
        other = ((3 - words[::-1]) * place[:, None]).sum(axis=0)
        log_p = letters[words[0]] + sum(transitions[words[i - 1], words[i]] for i in range(1, size))
        rate = jnp.exp(log_p) * np.where(other == np.arange(4**size), 1.0, 2.0)  # both strands are equally likely
        n_starts = length - size + 1
        code = sum(known[:, i : i + n_starts] * int(place[i]) for i in range(size))
        code = jnp.minimum(code, jnp.asarray(other, jnp.int32)[code])  # one name for both strands
        spelled = jnp.asarray(np.pad(words.T, ((0, 0), (0, settings.seed_lengths[0] - size)), constant_values=dna.N))

        def pick(free: Array, _: None, size=size, rate=rate, n_starts=n_starts, code=code, spelled=spelled):
            n_free = jnp.pad(jnp.cumsum(free.astype(jnp.int32), axis=1), ((0, 0), (1, 0)))
            complete = n_free[:, size:] - n_free[:, :n_starts] == size
            ordered = jnp.sort(jnp.where(complete, code, 4**size), axis=1)
            first = jnp.pad(ordered[:, 1:] != ordered[:, :-1], ((0, 0), (1, 0)), constant_values=True)
            seen = jnp.zeros(4**size + 1).at[ordered].add(first * weights[:, None])[:-1]
            expected = -jnp.expm1(-rate * (complete.sum(axis=1) * weights).sum() / total) * total + 1e-9
            gain = seen * jnp.log(jnp.maximum(seen, 1e-9) / expected) - (seen - expected)
            best = jnp.argmax(jnp.where(seen > expected, gain, -jnp.inf))
            hits = jnp.pad((code == best) & complete, ((0, 0), (0, size - 1)))
            under = sum(jnp.pad(hits[:, : length - i], ((0, 0), (i, 0))).astype(jnp.int32) for i in range(size))
            return free & (under == 0), spelled[best].astype(jnp.uint8)

        free, chosen = jax.lax.scan(pick, free, None, length=settings.n_seeds)
        seeds.append(chosen)
    return jnp.concatenate(seeds)


def _seeded(seeds: Array, letter_shares: Array, width: int) -> Candidates:
    """Initial candidates: each word of seeds (S, longest) in the middle of a window of background."""
    rest = (1 - _SEED_LETTER) / 3
    words = jax.nn.one_hot(seeds, 4, dtype=jnp.float32) * (_SEED_LETTER - rest) + rest
    words = jnp.where((seeds < dna.N)[..., None], words, letter_shares[None, None])
    left = (width - seeds.shape[1]) // 2
    blank = jnp.broadcast_to(letter_shares, (len(seeds), width, 4))
    matrices = blank.at[:, left : left + seeds.shape[1]].set(words)
    return Candidates(matrices, jnp.full(len(seeds), _SEED_SHARE), jnp.full(len(seeds), width))


def _layouts(core: int, widths: tuple[int, ...]) -> list[tuple[int, int]]:
    """(width, position of the core's first column): the core at the left, in the middle and at the right."""
    return [(width, place) for width in widths for place in sorted({0, (width - core) // 2, width - core})]


def _laid_out(model: Candidates, best: Array, layouts: list[tuple[int, int]], letter_shares: Array) -> Candidates:
    """The best candidate in each layout: shortened, or extended by background."""
    core = model.probabilities[best]
    widest = max(width for width, _ in layouts)
    flank = jnp.broadcast_to(letter_shares, (widest, 4))
    spread = jnp.concatenate([flank, core, flank])
    matrices = [spread[widest - place : 2 * widest - place] for _, place in layouts]
    share = jnp.full(len(layouts), model.share[best])
    return Candidates(jnp.stack(matrices), share, jnp.array([width for width, _ in layouts]))
