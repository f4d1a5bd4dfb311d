"""Simulated ChIP-seq: motifs planted in realistic background, with the position of every site known (pure)."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from demo_jax import dna
from demo_jax.data.build import Records, TaskRecords, build_corpus, task_rng
from demo_jax.data.corpus import Corpus
from demo_jax.dna import information_content
from demo_jax.errors import InputError, brief

#: The default JASPAR release of the planted motifs: the last one whose matrices have complete flanks. In it, 65 of the
#: 108 K562 tasks have a matrix of their TF, and only one of these has fewer than 8 columns. From JASPAR2024 on, 11 of
#: them have, some with 6 columns; releases before 2020 have matrices for fewer of the tasks.
RELEASE = 'JASPAR2022'
# Dinucleotide frequencies of the human genome in percent, rows = first letter, A C G T. CG is rare.
_HUMAN = np.array([[9.8, 5.0, 7.0, 7.7], [7.3, 5.2, 1.0, 7.0], [5.9, 4.3, 5.2, 5.0], [6.6, 5.9, 7.3, 9.8]])


@dataclasses.dataclass(frozen=True)
class SimulationSettings:
    """Properties of the simulated sequences. For a range (low, high), each task draws a value uniformly from it.

    Attributes:
      length: letters per sequence.
      gc: range of the mean GC share of a task's background.
      gc_spread: standard deviation of the GC of single sequences, in log odds.
      gc_peak: increase of GC at the centre of the peak, in log odds; 25 bp away it is half as large.
      motif_share: range of the share of positives that contain the task's own motif.
      weak_share: range of the share of those sites that are weak.
      sharpness: letters of a strong site are drawn from probabilities ** sharpness; 1 is the matrix itself.
      weak_sharpness: the same for weak sites; below 1 they deviate from the motif.
      centre_sd: standard deviation of a site's centre around the middle of the sequence, in bp.
      cofactor_tasks: share of tasks with a second motif (co-factor) at a preferred spacing from the first.
      cofactor_share: share of the sites of those tasks that have the co-factor (if it fits in the sequence).
      decoys: number of unrelated motifs of a task.
      decoy_share: share of pairs with a decoy, at the same position in the positive and its negative.
      pair_tasks: names of tasks in which only the spacing of two motifs is informative: positives contain both motifs
        at the task's spacing, their negatives contain them in the same order and strand at another spacing.
      pair_margin: smallest difference between the spacing of a negative and that of the positives, in bp.
    """

    length: int = 101
    gc: tuple[float, float] = (0.42, 0.60)
    gc_spread: float = 0.25
    gc_peak: float = 0.25
    motif_share: tuple[float, float] = (0.85, 0.97)
    weak_share: tuple[float, float] = (0.10, 0.35)
    sharpness: float = 1.4
    weak_sharpness: float = 0.7
    centre_sd: float = 15.0
    cofactor_tasks: float = 0.4
    cofactor_share: float = 0.5
    decoys: int = 2
    decoy_share: float = 0.4
    pair_tasks: tuple[str, ...] = ()
    pair_margin: int = 3

    def __post_init__(self) -> None:
        for name in ('cofactor_tasks', 'cofactor_share', 'decoy_share'):
            _check_share(name, getattr(self, name))
        for name in ('gc', 'motif_share', 'weak_share'):
            pair = getattr(self, name)
            if len(pair) != 2 or pair[0] > pair[1]:
                raise InputError(f'{name} is {pair!r}, expected (low, high)')
            for value in pair:
                _check_share(name, value)
        if self.gc[0] <= 0 or self.gc[1] >= 1:
            raise InputError(f'gc is {self.gc!r}, expected values above 0 and below 1')
        for name, least in (('length', 40), ('decoys', 0), ('pair_margin', 1)):
            if getattr(self, name) < least:
                raise InputError(f'{name} is {getattr(self, name)}, expected {least} or more')
        for name in ('sharpness', 'weak_sharpness', 'centre_sd'):
            if not getattr(self, name) > 0:
                raise InputError(f'{name} is {getattr(self, name)}, expected a positive number')


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f'{name} is {value!r}, expected a share between 0 and 1')


def simulate_corpus(
    task_names: Sequence[str],
    matrices: Mapping[str, np.ndarray],
    *,
    task_motifs: Mapping[str, str] | None = None,
    n_train: int = 1000,
    n_test: int = 500,
    settings: SimulationSettings | None = None,
    valid_fraction: float = 0.1,
    seed: int = 0,
    release: str | None = None,
) -> Corpus:
    """A corpus whose motif sites are all known (`Corpus.sites`).

    Positives are drawn from a first-order Markov chain with the dinucleotide frequencies of the human genome (CpG is
    depleted, less if GC is high). The chain is adjusted to the task's GC share and has more GC at the centre of the
    peak. The task's motif lies near the centre on either strand, in some tasks with a co-factor beside it. The negative
    is the dinucleotide shuffle of its positive. Decoys are then planted at the same positions in both. A task depends
    only on (seed, task name) and the settings, not on the other tasks.

    Args:
      task_names: distinct names; the letters up to the first '_' are the protein.
      matrices: motif id -> probabilities (w, 4), rows sum to 1.
      task_motifs: task name -> the id of its own motif. Other tasks get one of `matrices`, chosen by the
        protein's name; `info['tasks'][name]['motif_assigned']` says so.
      n_train: training positives per task, validation included.
      n_test: test positives per task.
      settings: see `SimulationSettings`.
      valid_fraction: share of the training pairs that is set aside for validation.
      seed: any integer.
      release: the release of the matrices, e.g. 'JASPAR2022', for `info['jaspar']`.

    Raises:
      InputError: a setting is out of range, a motif is unknown or does not fit, or there are too few matrices.
    """
    settings = SimulationSettings() if settings is None else settings
    for name, value, least in (('n_train', n_train, 2), ('n_test', n_test, 1)):
        if value < least:
            raise InputError(f'{name} is {value}, expected {least} or more')
    unknown = [name for name in settings.pair_tasks if name not in task_names]
    if unknown:
        raise InputError(f'pair_tasks names {unknown[0]!r}, which is not one of the {len(task_names)} tasks')
    matrices = {motif: _checked(motif, matrix) for motif, matrix in matrices.items()}
    pool = sorted(motif for motif, matrix in matrices.items() if _useful(matrix, settings.length))
    if len(pool) < settings.decoys + 2:
        raise InputError(
            f'{len(pool)} matrices of 7 to {settings.length // 6} columns and 8 bits or more, '
            f'expected at least {settings.decoys + 2}'
        )
    tasks = []
    for name in task_names:
        own = (task_motifs or {}).get(name)
        if own is not None and own not in matrices:
            raise InputError(f'task {name!r}: its motif {brief(own)} is not among the {len(matrices)} matrices')
        tasks.append(_simulate_task(name, own, matrices, pool, (n_train, n_test), settings, seed))
    corpus = build_corpus(tasks, valid_fraction=valid_fraction, seed=seed, source='simulated')
    return corpus if release is None else dataclasses.replace(corpus, info={**corpus.info, 'jaspar': release})


def most_informative(motifs: Sequence[str], matrices: Mapping[str, np.ndarray], length: int) -> str:
    """The matrix of a TF to plant in sequences of `length` bp: the one with the most bits; on a tie, the first.

    A matrix wider than a quarter of the sequence, e.g. of CTCF with its upstream motif, is planted only if there is no
    other: it leaves no room for a co-factor and decoys.
    """
    fit = [motif for motif in motifs if 4 * len(matrices[motif]) <= length] or list(motifs)
    return max(fit, key=lambda motif: information_content(matrices[motif]).sum())


def _checked(motif: str, matrix: np.ndarray) -> np.ndarray:
    matrix = np.asarray(matrix, np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != 4 or not len(matrix):
        raise InputError(f'motif {motif!r}: a matrix of shape {matrix.shape}, expected (w, 4)')
    if not (matrix >= 0).all() or not np.allclose(matrix.sum(axis=1), 1, atol=1e-3):
        raise InputError(f'motif {motif!r}: its rows are not probabilities that sum to 1')
    return matrix


def _useful(matrix: np.ndarray, length: int) -> bool:
    """Whether a motif can serve as decoy, co-factor or stand-in: it has an ordinary width and 8 bits or more."""
    return 7 <= len(matrix) <= length // 6 and information_content(matrix).sum() >= 8


def _assigned(name: str, pool: Sequence[str]) -> str:
    """The stand-in for a protein without a motif: the same for all tasks of the protein and all seeds."""
    digest = hashlib.sha256(name.split('_')[0].upper().encode()).digest()
    return pool[int.from_bytes(digest[:8], 'big') % len(pool)]


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The random choices of one task. `spacing` is the gap in bp between the motif and its co-factor."""

    motif: str
    cofactor: str | None
    decoys: tuple[str, ...]
    spacing: int
    gc: float
    motif_share: float
    weak_share: float
    is_pair: bool


def _plan(
    name: str, own: str | None, pool: Sequence[str], settings: SimulationSettings, rng: np.random.Generator
) -> _Plan:
    motif = own or _assigned(name, pool)
    others = [other for other in rng.permutation(pool).tolist() if other != motif][: settings.decoys + 1]
    is_pair = name in settings.pair_tasks
    has_cofactor = bool(rng.random() < settings.cofactor_tasks) or is_pair
    spacing = int(rng.integers(settings.pair_margin + 4, settings.pair_margin + 9) if is_pair else rng.integers(1, 11))
    return _Plan(
        motif=motif,
        cofactor=others[0] if has_cofactor else None,
        decoys=tuple(others[1:]),
        spacing=spacing,
        gc=float(rng.uniform(*settings.gc)),
        motif_share=float(rng.uniform(*settings.motif_share)),
        weak_share=float(rng.uniform(*settings.weak_share)),
        is_pair=is_pair,
    )


def _simulate_task(
    name: str,
    own: str | None,
    matrices: Mapping[str, np.ndarray],
    pool: Sequence[str],
    sizes: tuple[int, int],
    settings: SimulationSettings,
    seed: int,
) -> TaskRecords:
    plan = _plan(name, own, pool, settings, task_rng(seed, name, 'simulate plan'))
    width = len(matrices[plan.motif])
    if plan.is_pair:
        assert plan.cofactor is not None
        width += 2 * plan.spacing + len(matrices[plan.cofactor])
    if width > settings.length:
        raise InputError(
            f'task {name!r}: {plan.motif} and what belongs to it need {width} letters, the sequences have '
            f'{settings.length}'
        )
    parts = [
        _simulate_part(part, size, matrices, plan, settings, task_rng(seed, name, f'simulate {part}'))
        for part, size in zip(('train', 'test'), sizes, strict=True)
    ]
    facts = dataclasses.asdict(plan) | {'motif_assigned': own is None, 'decoys': list(plan.decoys)}
    return TaskRecords(name, parts[0], parts[1], facts)


def _simulate_part(
    part: str,
    n: int,
    matrices: Mapping[str, np.ndarray],
    plan: _Plan,
    settings: SimulationSettings,
    rng: np.random.Generator,
) -> Records:
    """n positives and their negatives; row i and row n + i are a pair."""
    tokens = np.empty((2 * n, settings.length), np.uint8)
    tokens[:n] = background(n, plan.gc, settings, rng)
    planter = _Planter(tokens, matrices, settings, rng)
    own_rows = np.flatnonzero(rng.random(n) < plan.motif_share)
    strand = rng.choice(np.array([-1, 1]), len(own_rows))
    weak = rng.random(len(own_rows)) < plan.weak_share
    if plan.is_pair:
        tokens[n:] = dna.dinucleotide_shuffle(tokens[:n], rng)
        spacings = np.arange(2 * plan.spacing + 1)
        other = spacings[np.abs(spacings - plan.spacing) >= settings.pair_margin]
        planter.plant_pairs(own_rows, plan, np.full(len(own_rows), plan.spacing), strand, weak)
        planter.plant_pairs(own_rows + n, plan, rng.choice(other, len(own_rows)), strand, weak)
    else:
        start = _central_starts(len(own_rows), len(matrices[plan.motif]), settings, rng)
        planter.plant(own_rows, start, strand, plan.motif, 'primary', weak)
        if plan.cofactor is not None:
            beside = _beside(start, len(matrices[plan.motif]), len(matrices[plan.cofactor]), plan.spacing, strand)
            fits = (beside >= 0) & (beside + len(matrices[plan.cofactor]) <= settings.length)
            has = fits & (rng.random(len(own_rows)) < settings.cofactor_share)
            planter.plant(own_rows[has], beside[has], strand[has], plan.cofactor, 'cofactor')
        tokens[n:] = dna.dinucleotide_shuffle(tokens[:n], rng)
    if plan.decoys:
        planter.plant_decoys(n, plan.decoys)
    names = [f'{part}_{number:05d}_peak' for number in range(1, n + 1)]
    return Records(
        tokens=list(tokens),
        labels=np.repeat(np.array([1, 0], np.uint8), n),
        names=names + [name.replace('_peak', '_shuf') for name in names],
        pairs=np.tile(np.arange(n), 2),
        sites=planter.sites,
    )


def background(n: int, gc: float, settings: SimulationSettings, rng: np.random.Generator) -> np.ndarray:
    """Sequences without any motif, uint8 (n, L): the Markov chain of `simulate_corpus`.

    Args:
      n: number of sequences.
      gc: their mean GC share, above 0 and below 1.
      settings: `length`, `gc_spread` and `gc_peak` are used.
      rng: source of randomness.
    """
    human_gc = 0.41
    tilt = np.log(gc / (1 - gc)) - np.log(human_gc / (1 - human_gc)) + settings.gc_spread * rng.standard_normal(n)
    offset = np.abs(np.arange(settings.length) - settings.length // 2)
    peak = settings.gc_peak * 0.5 ** (offset / 25)
    letters = np.empty((settings.length, n), np.uint8)
    previous = rng.integers(0, 4, n)
    uniform = rng.random((settings.length, n))
    chain = _HUMAN / _HUMAN.sum(axis=1, keepdims=True)
    for position in range(settings.length):
        more = np.exp(tilt + peak[position])
        weights = chain[previous]  # (n, 4)
        weights[:, 1:3] *= more[:, None]
        # In GC-rich stretches, as in CpG islands, CG is not depleted.
        weights[:, 2] *= np.where(previous == 1, np.clip(more, 1, 4), 1)
        cumulative = np.cumsum(weights, axis=1)
        previous = (uniform[position] * cumulative[:, 3])[:, None] >= cumulative[:, :3]
        previous = previous.sum(axis=1)
        letters[position] = previous
    return np.ascontiguousarray(letters.T)


def _central_starts(n: int, width: int, settings: SimulationSettings, rng: np.random.Generator) -> np.ndarray:
    """int (n,): starts of stretches whose centres are normal around the middle, inside the sequence."""
    last = settings.length - width
    starts = np.full(n, -1, np.int64)
    for _ in range(1000):
        outside = np.flatnonzero((starts < 0) | (starts > last))
        if not len(outside):
            return starts
        starts[outside] = np.rint(last / 2 + settings.centre_sd * rng.standard_normal(len(outside)))
    return np.clip(starts, 0, last)  # a centre_sd far wider than the room


def _beside(start: np.ndarray, width: int, other: int, spacing: int | np.ndarray, strand: np.ndarray) -> np.ndarray:
    """The start of a second motif that lies `spacing` bp downstream of the first, on the strand of the first."""
    return np.where(strand > 0, start + width + spacing, start - spacing - other)


class _Planter:
    """Writes motif sites into tokens (2n, L), in place, and keeps a list of them."""

    def __init__(
        self,
        tokens: np.ndarray,
        matrices: Mapping[str, np.ndarray],
        settings: SimulationSettings,
        rng: np.random.Generator,
    ) -> None:
        self.tokens, self.matrices, self.settings, self.rng = tokens, matrices, settings, rng
        self.taken = np.zeros(tokens.shape, bool)
        self.sites: list[tuple[int, int, int, int, str, str]] = []

    def plant(
        self,
        rows: np.ndarray,
        start: np.ndarray,
        strand: np.ndarray,
        motif: str,
        role: str,
        weak: np.ndarray | None = None,
    ) -> None:
        """Draw one site of `motif` per row and write it; weak (n,) bool marks weak sites."""
        if not len(rows):
            return
        matrix = self.matrices[motif]
        width = len(matrix)
        weak = np.zeros(len(rows), bool) if weak is None else weak
        power = np.where(weak, self.settings.weak_sharpness, self.settings.sharpness)
        weights = np.maximum(matrix, 1e-12)[None] ** power[:, None, None]  # (n, w, 4)
        cumulative = np.cumsum(weights, axis=2)
        draw = self.rng.random((len(rows), width)) * cumulative[:, :, 3]
        letters = (draw[:, :, None] >= cumulative[:, :, :3]).sum(axis=2).astype(np.uint8)
        letters = np.where(strand[:, None] > 0, letters, dna.reverse_complement(letters))
        columns = start[:, None] + np.arange(width)
        self.tokens[rows[:, None], columns] = letters
        self.taken[rows[:, None], columns] = True
        self.sites += [
            (row, first, width, side, motif, role)
            for row, first, side in zip(rows.tolist(), start.tolist(), strand.tolist(), strict=True)
        ]

    def plant_pairs(
        self, rows: np.ndarray, plan: _Plan, spacing: np.ndarray, strand: np.ndarray, weak: np.ndarray
    ) -> None:
        """Plant both motifs of a pair task at the given spacings (n,), centred together."""
        assert plan.cofactor is not None  # a pair task has one
        width, other = len(self.matrices[plan.motif]), len(self.matrices[plan.cofactor])
        total_width = width + other + spacing
        left = np.empty(len(rows), np.int64)
        for size in np.unique(total_width):
            of_size = total_width == size
            left[of_size] = _central_starts(int(of_size.sum()), int(size), self.settings, self.rng)
        start = np.where(strand > 0, left, left + other + spacing)
        self.plant(rows, start, strand, plan.motif, 'primary', weak)
        self.plant(rows, _beside(start, width, other, spacing, strand), strand, plan.cofactor, 'cofactor')

    def plant_decoys(self, n: int, decoys: Sequence[str]) -> None:
        """Plant a decoy in a share of the pairs, at the same free position in row i and row n + i."""
        has = self.rng.random(n) < self.settings.decoy_share
        which = self.rng.integers(0, len(decoys), n)
        strand = self.rng.choice(np.array([-1, 1]), n)
        free = ~(self.taken[:n] | self.taken[n:])
        for number, motif in enumerate(decoys):
            rows = np.flatnonzero(has & (which == number))
            width = len(self.matrices[motif])
            count = np.cumsum(np.pad(free[rows], ((0, 0), (1, 0))), axis=1)
            fits: np.ndarray = count[:, width:] - count[:, :-width] == width  # (rows, starts)
            rows, fits = rows[fits.any(axis=1)], fits[fits.any(axis=1)]
            start = np.argmax(np.where(fits, self.rng.random(fits.shape), -1.0), axis=1)
            for shift in (0, n):
                self.plant(rows + shift, start, strand[rows], motif, 'decoy')
