"""Peaks (BED, narrowPeak) and a genome to labelled windows (edge: touches the disk)."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from demo_jax.data import dna
from demo_jax.data.build import Records, TaskRecords, add_shuffles, hold_out, task_rng
from demo_jax.data.genome import Genome
from demo_jax.data.textfile import check_size, encode_all, read_lines
from demo_jax.errors import InputError, brief

_EXTENSIONS = re.compile(r'(\.(bed|narrowpeak|broadpeak|bed6|bed3|txt|gz|bgz))+\Z', re.IGNORECASE)
_PEAKS = re.compile(r'.+\.(bed|narrowpeak|broadpeak)(\.gz)?', re.IGNORECASE | re.DOTALL)
_BLOCK = 20_000  # candidate windows drawn at a time
_ROUNDS = 50
_GC_BINS = 50


def is_peaks(path: pathlib.Path) -> bool:
    """Whether a file's name is that of a peak file."""
    return bool(_PEAKS.fullmatch(path.name))


def task_name(path: pathlib.Path) -> str:
    """The file's name without extensions such as .narrowPeak.gz."""
    return _EXTENSIONS.sub('', path.name) or path.name


@dataclasses.dataclass(frozen=True)
class PeakOptions:
    """How peaks become windows.

    Attributes:
      genome: FASTA file of the genome, plain or block-gzipped.
      width: letters per window.
      top: keep only so many peaks, those with the highest signal; None = all.
      test_chroms: peaks on these chromosomes are for testing, the others for training.
      blacklist: BED file of regions to be left out; None = none.
      negatives: 'shuffle' (dinucleotide shuffles of the positives) or 'gc' (windows of the genome away from
        every peak and the blacklist, as many in each 2% of GC as there are positives; where the genome has too
        few, the weakest peaks of that GC content are left out, so that GC alone tells nothing).
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
        if self.negatives not in ('shuffle', 'gc'):
            raise InputError(f"negatives is {brief(self.negatives)}, expected 'shuffle' or 'gc'")


@dataclasses.dataclass(frozen=True, eq=False)
class Peaks:
    """Peaks in the file's order: chromosomes, 0-based int64 starts, ends and centres, float64 signals, (n,) each.

    Chromosomes are `str` objects: as NumPy text, one long name would make all of them long.
    """

    chroms: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    centres: np.ndarray
    signals: np.ndarray


def read_peaks(path: str | os.PathLike) -> Peaks:
    """Read BED (3 columns or more) or narrowPeak (10 columns).

    The centre is the summit (narrowPeak's column 10, where it is not -1), else the middle. The signal is
    column 7 of narrowPeak and broadPeak, else BED's score (column 5), else 0. Nine columns are broadPeak, unless
    column 7 lies within the peak, as BED's thickStart does.

    Raises:
      InputError: names the line and what is wrong in it.
    """
    chroms, signals, rows = [], [], list[tuple[int, int, int]]()
    known: dict[str, str] = {}
    for line in read_lines(path):
        if not line.text.strip() or line.text.startswith((b'#', b'track', b'browser')):
            continue
        try:
            text = line.text.decode('ascii')
        except UnicodeDecodeError:
            raise InputError(f'{path}: line {line.number} is not ASCII text') from None
        cells = text.split('\t') if '\t' in text else text.split()
        if len(cells) < 3:
            raise InputError(f'{path}: line {line.number} has {len(cells)} columns, expected 3 or more')
        start, end = (_integer(path, line.number, name, cells[i]) for i, name in ((1, 'start'), (2, 'end')))
        if not 0 <= start < end:
            raise InputError(f'{path}: line {line.number}: start {start} and end {end}, expected 0 <= start < end')
        summit = _integer(path, line.number, 'summit', cells[9]) if len(cells) == 10 else -1
        if summit >= end - start:
            raise InputError(
                f'{path}: line {line.number}: summit {summit} lies outside the peak of {end - start} letters'
            )
        column = 6 if len(cells) in (9, 10) else 4
        if len(cells) == 9 and start <= _number(path, line.number, 'signal', cells[6]) <= end:
            column = 4
        signals.append(_number(path, line.number, 'signal', cells[column]) if len(cells) > column else 0.0)
        check_size(path, len(rows) + 1)
        chroms.append(known.setdefault(cells[0], cells[0]))
        rows.append((start, end, start + summit if summit >= 0 else (start + end) // 2))
    if not rows:
        raise InputError(f'{path}: holds no peaks')
    table = np.array(rows, np.int64)
    return Peaks(np.array(chroms, object), table[:, 0], table[:, 1], table[:, 2], np.array(signals))


def _integer(path: str | os.PathLike, line: int, name: str, cell: str) -> int:
    if not re.fullmatch(' *-?[0-9]{1,18} *', cell):
        raise InputError(f'{path}: line {line}: {name} is {brief(cell)}, expected a whole number')
    return int(cell)


def _number(path: str | os.PathLike, line: int, name: str, cell: str) -> float:
    if cell.strip() == '.':
        return 0.0
    try:
        value = float(cell)
    except ValueError:
        value = float('nan')
    if not np.isfinite(value):
        raise InputError(f'{path}: line {line}: {name} is {brief(cell)}, expected a number')
    return value


class Regions:
    """Regions merged per chromosome, to ask whether windows overlap any of them."""

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


def read_peak_task(
    name: str,
    path: str | os.PathLike,
    genome: Genome,
    options: PeakOptions,
    test_fraction: float | None,
    seed: int,
) -> TaskRecords:
    """One task out of one peak file; see `PeakOptions`.

    Windows that leave their chromosome, touch the blacklist or occur twice, peaks on chromosomes that the genome
    lacks, and peaks for which it has no window of the same GC content where such negatives are asked for, are left
    out and counted in the task's info.

    Raises:
      InputError: a file that cannot be read, no peak that is left, or none on the test chromosomes.
    """
    peaks = read_peaks(path)
    blacklist = None
    if options.blacklist is not None:
        listed = read_peaks(options.blacklist)
        blacklist = Regions(listed.chroms, listed.starts, listed.ends)
    chroms, starts, facts = _windows(path, peaks, genome, blacklist, options)
    positives = _fetch(genome, chroms, starts, options.width)
    is_test = np.isin(chroms, options.test_chroms)
    left = peaks.centres - options.width // 2  # a summit near the edge: its window reaches out of the peak
    avoid = Regions(peaks.chroms, np.minimum(peaks.starts, left), np.maximum(peaks.ends, left + options.width))
    rng = task_rng(seed, name, 'negatives')
    facts |= {'files': [str(path)], 'genome': str(genome.path), 'negatives': options.negatives}

    def chosen(rows: np.ndarray) -> Records:
        assert positives.intervals is not None  # `_fetch` knows them
        return Records(
            tokens=[positives.tokens[row] for row in rows],
            labels=np.ones(len(rows), np.uint8),
            names=[positives.names[row] for row in rows],
            intervals=[positives.intervals[row] for row in rows],
        )

    def with_negatives(rows: np.ndarray, allowed: Iterable[str]) -> Records:
        if options.negatives == 'shuffle':
            return add_shuffles(chosen(rows), rng)
        away = [avoid] if blacklist is None else [avoid, blacklist]
        drawn, matched = _gc_matched([positives.tokens[row] for row in rows], genome, sorted(allowed), away, rng)
        if len(rows) and not matched.any():
            raise InputError(f'{path}: no window of {genome.path} has the GC content of one of its peaks')
        facts['gc_unmatched'] = facts.get('gc_unmatched', 0) + int((~matched).sum())
        part = chosen(rows[matched])
        assert part.intervals is not None and drawn.intervals is not None
        return Records(
            tokens=[*part.tokens, *drawn.tokens],
            labels=np.repeat(np.array([1, 0], np.uint8), len(drawn.names)),
            names=[*part.names, *drawn.names],
            pairs=np.full(2 * len(drawn.names), -1),
            intervals=[*part.intervals, *drawn.intervals],
        )

    if is_test.any():
        held = set(options.test_chroms)
        train = with_negatives(np.flatnonzero(~is_test), set(genome.sizes) - held)
        test = with_negatives(np.flatnonzero(is_test), set(genome.sizes) & held)
        facts['test_chroms'] = list(options.test_chroms)
    elif test_fraction is None:
        raise InputError(
            f'{path}: no peak lies on the test chromosomes {", ".join(options.test_chroms)}; name others, or give '
            'test_fraction to hold out a share of the peaks'
        )
    else:
        everything = with_negatives(np.arange(len(starts)), genome.sizes)
        train, test = hold_out(everything, test_fraction, task_rng(seed, name, 'test'))
        facts['test_fraction'] = test_fraction
    return TaskRecords(name, train, test, facts)


def _windows(
    path: str | os.PathLike, peaks: Peaks, genome: Genome, blacklist: Regions | None, options: PeakOptions
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Chromosomes and starts of the windows to be used, strongest first, and how many were left out and why."""
    starts = peaks.centres - options.width // 2
    sizes = np.array([genome.sizes.get(str(chrom), -1) for chrom in peaks.chroms])
    known = sizes >= 0
    if not known.any():
        raise InputError(
            f'{path}: none of its chromosomes ({brief(str(peaks.chroms[0]))}, ...) is in {genome.path} '
            f'({brief(next(iter(genome.sizes), ""))}, ...)'
        )
    inside = known & (starts >= 0) & (starts + options.width <= sizes)
    listed = np.zeros(len(starts), bool)
    if blacklist is not None:
        for chrom in np.unique(peaks.chroms):
            here = peaks.chroms == chrom
            listed[here] = blacklist.overlap(str(chrom), starts[here], options.width)
    keep = np.flatnonzero(inside & ~listed)
    keep = keep[np.argsort(-peaks.signals[keep], kind='stable')]
    seen, unique = set(), []
    for row in keep.tolist():
        place = (peaks.chroms[row], int(starts[row]))
        if place not in seen:
            seen.add(place)
            unique.append(row)
    dropped = {
        'unknown_chromosome': int((~known).sum()),
        'outside_chromosome': int((known & ~inside).sum()),
        'blacklisted': int((inside & listed).sum()),
        'repeated': len(keep) - len(unique),
    }
    if not unique:
        raise InputError(f'{path}: none of its {len(starts)} peaks is left ({_told(dropped)})')
    unique = np.array(unique[: options.top])
    return peaks.chroms[unique], starts[unique], {'peaks': len(starts), 'dropped': dropped}


def _told(dropped: Mapping[str, int]) -> str:
    return ', '.join(f'{count} {reason.replace("_", " ")}' for reason, count in dropped.items() if count)


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
    """Which 2% of GC a sequence falls in, of its known letters."""
    known = max(int((tokens < dna.N).sum()), 1)
    return min(int(((tokens == 1) | (tokens == 2)).sum()) * _GC_BINS // known, _GC_BINS - 1)


def _gc_matched(
    positives: Sequence[np.ndarray], genome: Genome, chroms: Sequence[str], avoid: Sequence[Regions],
    rng: np.random.Generator,
) -> tuple[Records, np.ndarray]:  # fmt: skip
    """Windows of the genome, disjoint and without N, as many in each GC bin as there are positives, if found.

    Also which positives are matched: bool (n,). In a bin with too few windows, the last of them are not.
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
