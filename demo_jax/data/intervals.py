"""Peaks and a genome to labelled windows (edge: touches the disk)."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from demo_jax import dna
from demo_jax.data.build import Records, TaskRecords, add_shuffles, hold_out, task_rng
from demo_jax.data.genome import Genome
from demo_jax.data.names import known_names, spelling_hint
from demo_jax.data.peak_files import Peaks, read_peaks
from demo_jax.data.peak_table import read_places
from demo_jax.errors import InputError, brief, listed
from demo_jax.io.textfile import encode_all

_BLOCK = 20_000  # candidate windows drawn at a time
_ROUNDS = 50
_GC_BINS = 50


#: What peaks may be set against, see `PeakOptions`.
NEGATIVES = ('shuffle', 'gc')


@dataclasses.dataclass(frozen=True)
class PeakOptions:
    """How peaks become windows.

    Attributes:
      genome: FASTA file of the genome, plain or block-gzipped.
      width: letters per window.
      top: keep only this many peaks, those with the highest signal; None = all.
      test_chroms: peaks on these chromosomes are for testing, the others for training. The pieces of a chromosome
        (chr8_KI270821v1_alt: alternative haplotypes and unplaced sequences) belong to it.
      blacklist: BED file of regions to leave out; None = none.
      negatives: 'shuffle' (dinucleotide shuffles of the positives) or 'gc' (windows of the genome that overlap neither
        a peak nor the blacklist, with the same number of windows as positives in each 2% of GC). If the genome has too
        few windows of a GC content, the weakest peaks of this GC content are left out, so that GC carries no
        information.
    """

    genome: str | os.PathLike
    width: int = 101
    top: int | None = None
    test_chroms: tuple[str, ...] = ('chr8', 'chr9')
    blacklist: str | os.PathLike | None = None
    negatives: str = 'shuffle'

    def __post_init__(self) -> None:
        if self.width < 4:
            raise InputError(f'width is {self.width}, expected 4 or more')
        if self.top is not None and self.top < 1:
            raise InputError(f'top is {self.top}, expected 1 or more')
        if self.negatives not in NEGATIVES:
            raise InputError(f"negatives is {brief(self.negatives)}, expected 'shuffle' or 'gc'")


class Regions:
    """Regions, merged per chromosome, for testing whether windows overlap any of them."""

    def __init__(self, chroms: Sequence[str] | np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
        self._merged: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        chroms = np.asarray(chroms)
        for chrom in np.unique(chroms):
            here = np.flatnonzero(chroms == chrom)
            here = here[np.argsort(starts[here], kind='stable')]
            reach = np.maximum.accumulate(ends[here])
            first = np.concatenate([[True], starts[here][1:] > reach[:-1]])
            last = np.concatenate([first[1:], [True]])
            self._merged[str(chrom)] = (starts[here][first], reach[last])

    def overlap(self, chrom: str, starts: np.ndarray, width: int) -> np.ndarray:
        """bool (n,): whether windows [start, start + width), of 0-based starts int (n,), overlap a region there."""
        if chrom not in self._merged:
            return np.zeros(len(starts), bool)
        left, right = self._merged[chrom]
        nearest = np.searchsorted(right, starts, side='right')  # the first region that ends after the start
        inside = nearest < len(left)
        return inside & (left[np.minimum(nearest, len(left) - 1)] < starts + width)


class Blacklist(NamedTuple):
    """Regions that windows must not overlap, and facts about them.

    Attributes:
      regions: all of them.
      facts: JSON-able: the file, the number of its regions, and, for the chromosomes that the genome does not have,
        their names and the number of regions on them.
    """

    regions: Regions
    facts: Mapping[str, Any]


def read_blacklist(path: str | os.PathLike, genome: Genome) -> Blacklist:
    """The regions of a BED file; only its first three columns are read.

    Raises:
      InputError: a file that cannot be read, or none of its regions lies on a chromosome of the genome.
    """
    places = read_places(path)
    known = known_names(path, places.chroms, genome.path, genome.sizes)
    facts = {'file': str(path), 'regions': len(known), 'unknown_chromosome': int((~known).sum())}
    return Blacklist(Regions(*places), facts | {'unknown_chromosomes': _unknown(places.chroms, known)})


def _unknown(chroms: np.ndarray, known: np.ndarray) -> str:
    """The names of chromosomes, (n,), that are not known, bool (n,), for a remark."""
    return listed(dict.fromkeys(chroms[~known].tolist()), 3)


def read_peak_task(
    name: str,
    path: str | os.PathLike,
    genome: Genome,
    options: PeakOptions,
    test_fraction: float | None,
    seed: int,
    blacklist: Blacklist | None = None,
) -> TaskRecords:
    """One task out of one peak file; see `PeakOptions`.

    These are left out and counted in the task's info: windows that reach beyond their chromosome, overlap the
    blacklist, occur twice or are mostly N; peaks on chromosomes that the genome does not have; peaks whose only
    dinucleotide shuffle is the peak itself; and, with negatives='gc', peaks for which the genome has no window of the
    same GC content. The info also has the layout of the file ('read_as') and remarks ('notes').

    Args:
      name: the task's.
      path: the peak file.
      genome: the genome of the windows.
      options: see `PeakOptions`.
      test_fraction: share of the peaks to hold out for testing if none lies on a test chromosome; None = refuse.
      seed: seeds, together with the task's name, the negatives and the choice of held-out peaks.
      blacklist: from `read_blacklist`, for the file in `options`.

    Raises:
      InputError: the file cannot be read, no peak remains, or none or all of the peaks lie on the test chromosomes.
    """
    peaks = read_peaks(path)
    positives, facts = _windows(path, peaks, genome, blacklist, options)
    assert positives.intervals is not None  # `_fetch` knows them
    on_test = {chrom for chrom in genome.sizes if _is_of(chrom, options.test_chroms)}
    is_test = np.array([chrom in on_test for chrom, _, _ in positives.intervals], bool)
    left = peaks.centres - options.width // 2  # a summit near the edge: its window reaches out of the peak
    avoid = Regions(peaks.chroms, np.minimum(peaks.starts, left), np.maximum(peaks.ends, left + options.width))
    away = [avoid] if blacklist is None else [avoid, blacklist.regions]
    rng = task_rng(seed, name, 'negatives')
    facts |= {'files': [str(path)], 'genome': str(genome.path), 'negatives': options.negatives}

    def with_negatives(rows: np.ndarray, allowed: Iterable[str]) -> Records:
        if options.negatives == 'shuffle':
            return add_shuffles(positives.chosen(rows), rng)
        drawn, matched = _gc_matched([positives.tokens[row] for row in rows], genome, sorted(allowed), away, rng)
        if len(rows) and not matched.any():
            raise InputError(f'{path}: no window of {genome.path} has the GC content of one of its peaks')
        facts['gc_unmatched'] = facts.get('gc_unmatched', 0) + int((~matched).sum())
        part = positives.chosen(rows[matched])
        assert part.intervals is not None and drawn.intervals is not None
        return Records(
            tokens=[*part.tokens, *drawn.tokens],
            labels=np.repeat(np.array([1, 0], np.uint8), len(drawn.names)),
            names=[*part.names, *drawn.names],
            pairs=np.full(2 * len(drawn.names), -1),
            intervals=[*part.intervals, *drawn.intervals],
        )

    held = ', '.join(options.test_chroms)
    lacking = [chrom for chrom in options.test_chroms if chrom not in genome.sizes]
    if is_test.all():
        raise InputError(
            f'{path}: all of its {len(is_test)} peaks that can be used lie on the test chromosomes {held}, and none is '
            'left to train on; name others as test_chroms'
        )
    if is_test.any():
        train = with_negatives(np.flatnonzero(~is_test), set(genome.sizes) - on_test)
        test = with_negatives(np.flatnonzero(is_test), on_test)
        pieces = [str(chrom) for chrom, _, _ in positives.intervals if chrom in on_test - set(options.test_chroms)]
        if pieces:
            names = listed(dict.fromkeys(pieces), 3)
            facts['notes'].append(f'{len(pieces):,} peaks on pieces of the test chromosomes are for testing ({names})')
        facts['test_chroms'] = list(options.test_chroms)
        if lacking:
            facts['notes'].append(f'{genome.path.name} has no {listed(lacking)}, named as a test chromosome')
    elif test_fraction is None:
        where = f' ({genome.path} has no {listed(lacking)}{spelling_hint(lacking, genome.sizes)})' if lacking else ''
        raise InputError(
            f'{path}: no peak lies on the test chromosomes {held}{where}; name others, or give test_fraction to hold '
            'out a share of the peaks'
        )
    else:
        everything = with_negatives(np.arange(len(is_test)), genome.sizes)
        train, test = hold_out(everything, test_fraction, task_rng(seed, name, 'test'))
        facts['test_fraction'] = test_fraction
    return TaskRecords(name, train, test, facts)


def _is_of(chrom: str, chroms: Sequence[str]) -> bool:
    """Whether a sequence of the genome is one of these chromosomes or, by UCSC's names, a piece of one."""
    return any(chrom == name or chrom.startswith(f'{name}_') for name in chroms)


def _windows(
    path: str | os.PathLike, peaks: Peaks, genome: Genome, blacklist: Blacklist | None, options: PeakOptions
) -> tuple[Records, dict[str, Any]]:
    """The windows to use, strongest first, as positives; and the counts of dropped windows by reason, with remarks."""
    starts = peaks.centres - options.width // 2
    known = known_names(path, peaks.chroms, genome.path, genome.sizes)
    sizes = np.array([genome.sizes.get(chrom, -1) for chrom in peaks.chroms.tolist()])
    inside = known & (starts >= 0) & (starts + options.width <= sizes)
    black = np.zeros(len(starts), bool)
    if blacklist is not None:
        for chrom in np.unique(peaks.chroms):
            here = peaks.chroms == chrom
            black[here] = blacklist.regions.overlap(str(chrom), starts[here], options.width)
    keep = np.flatnonzero(inside & ~black)
    keep = keep[np.argsort(-peaks.signals[keep], kind='stable')]
    seen, unique = set(), []
    for row in keep.tolist():
        place = (peaks.chroms[row], int(starts[row]))
        if place not in seen:
            seen.add(place)
            unique.append(row)
    positives, used, mostly_n = _known_windows(genome, peaks.chroms, starts, np.array(unique, np.int64), options)
    dropped = {
        'unknown_chromosome': int((~known).sum()),
        'outside_chromosome': int((known & ~inside).sum()),
        'blacklisted': int((inside & black).sum()),
        'repeated': len(keep) - len(unique),
        'mostly_N': mostly_n,
    }
    if not len(used):
        raise InputError(f'{path}: none of its {len(starts)} peaks is left ({_told(dropped)})')
    notes = []
    if not known.all():
        notes.append(f'{genome.path.name} has no {_unknown(peaks.chroms, known)}')
    if options.top is not None and len(used) + mostly_n < len(unique):
        notes += _cut(peaks, np.array(unique), used)
    facts = {'peaks': len(starts), 'read_as': str(peaks.format), 'dropped': dropped, 'notes': notes}
    if blacklist is not None:
        facts['blacklist'] = dict(blacklist.facts)
    return positives, facts


def _cut(peaks: Peaks, ranked: np.ndarray, used: np.ndarray) -> list[str]:
    """Remarks on the use of the strongest peaks only: `used`, rows (k,), of `ranked`, rows (n,)."""
    if peaks.format.ranked_by is None:
        return [f'top: nothing ranks the peaks, so the first {len(used):,} in the file are used']
    last = peaks.signals[used[-1]]
    equal, taken = ((peaks.signals[rows] == last).sum() for rows in (ranked, used))
    if equal == taken:
        return []
    return [f'top: {equal:,} peaks have the same value ({last:g}), of which the first {taken:,} in the file are used']


def _told(dropped: Mapping[str, int]) -> str:
    return ', '.join(f'{count} {reason.replace("_", " ")}' for reason, count in dropped.items() if count)


def _known_windows(
    genome: Genome, chroms: np.ndarray, starts: np.ndarray, ranked: np.ndarray, options: PeakOptions
) -> tuple[Records, np.ndarray, int]:
    """The windows of the first peaks of `ranked`, rows (n,), that are not mostly N, as positives, up to `top`.

    Also their rows, and the number of skipped peaks.
    """
    wanted = len(ranked) if options.top is None else options.top
    parts, used, passed = list[Records](), np.zeros(0, np.int64), 0
    for first in range(0, len(ranked), max(wanted, 1)):  # none, where no peak lies on its chromosome
        rows = ranked[first : first + wanted]
        part = _fetch(genome, chroms[rows], starts[rows], options.width)
        unknown = np.array([np.count_nonzero(tokens == dna.N) for tokens in part.tokens])
        good = np.flatnonzero(~dna.is_mostly_unknown(unknown, options.width))[: wanted - len(used)]
        is_full = len(used) + len(good) == wanted
        passed += (int(good[-1]) + 1 if is_full else len(rows)) - len(good)
        used = np.concatenate([used, rows[good]])
        parts.append(part.chosen(good))
        if is_full:
            break
    positives = Records(
        tokens=[sequence for part in parts for sequence in part.tokens],
        labels=np.ones(len(used), np.uint8),
        names=[name for part in parts for name in part.names],
        intervals=[place for part in parts for place in part.intervals or ()],
    )
    return positives, used, passed


def _fetch(genome: Genome, chroms: Sequence[str] | np.ndarray, starts: np.ndarray, width: int) -> Records:
    places = [(str(chrom), int(start)) for chrom, start in zip(chroms, starts, strict=True)]
    names = [f'{chrom}:{start}-{start + width}' for chrom, start in places]
    letters = [genome.letters(chrom, start, start + width) for chrom, start in places]
    return Records(
        tokens=encode_all(genome.path, letters, names),
        labels=np.zeros(len(names), np.uint8),
        names=names,
        intervals=[(chrom, start, 1) for chrom, start in places],
    )


def _gc_bin(tokens: np.ndarray) -> int:
    """The GC bin, 2% wide, of the known letters of a sequence."""
    known = max(int((tokens < dna.N).sum()), 1)
    return min(int(((tokens == 1) | (tokens == 2)).sum()) * _GC_BINS // known, _GC_BINS - 1)


def _gc_matched(
    positives: Sequence[np.ndarray],
    genome: Genome,
    chroms: Sequence[str],
    avoid: Sequence[Regions],
    rng: np.random.Generator,
) -> tuple[Records, np.ndarray]:
    """Disjoint windows of the genome without N: one per positive in each GC bin, if the genome has enough.

    Also which positives are matched: bool (n,). In a bin with too few windows, the last positives are not matched.
    """
    width = len(positives[0]) if positives else 0
    bins = np.array([_gc_bin(sequence) for sequence in positives], np.int64)
    wanted = np.bincount(bins, minlength=_GC_BINS)
    room = np.array([max(genome.sizes[chrom] - width + 1, 0) for chrom in chroms], np.int64)
    taken: set[tuple[str, int]] = set()
    tokens, names, places = [], [], []
    for _ in range(_ROUNDS):
        if not wanted.any() or not room.any():
            break
        counts = rng.multinomial(min(_BLOCK, 20 * int(wanted.sum()) + 100), room / room.sum())
        for chrom, size, count in zip(chroms, room, counts, strict=True):
            if not count:
                continue
            starts = rng.integers(0, size, count)
            for regions in avoid:
                starts = starts[~regions.overlap(chrom, starts, width)]
            drawn = _fetch(genome, [chrom] * len(starts), starts, width)
            for sequence, name, start in zip(drawn.tokens, drawn.names, starts.tolist(), strict=True):
                cell = start // width  # two windows with no neighbouring cells cannot overlap
                bin_ = _gc_bin(sequence)
                if wanted[bin_] and sequence.max() < dna.N and not taken & {(chrom, cell + i) for i in (-1, 0, 1)}:
                    taken.add((chrom, cell))
                    wanted[bin_] -= 1
                    tokens.append(sequence)
                    names.append(name)
                    places.append((chrom, start, 1))
    matched = np.ones(len(bins), bool)
    for bin_ in np.flatnonzero(wanted):
        matched[np.flatnonzero(bins == bin_)[-wanted[bin_] :]] = False
    return Records(tokens, np.zeros(len(names), np.uint8), names, intervals=places), matched
