"""Peak files: their names, what layout they have, and their peaks (edge: touches the disk).

The layout is decided once per file, by what the columns of all its lines hold and by its name. It says where windows
are centred and which column ranks the peaks, and is told to the user.
"""

import dataclasses
import os
import pathlib
import re

import numpy as np

from demo_jax.data.peak_table import BLOCKS, COLOUR, DOT, ODD, PLACE, SAME, STRAND, STRAND_FIRST, Table, read_table
from demo_jax.errors import InputError, brief

_KINDS = 'bed|bed3|bed6|narrowpeak|broadpeak|gappedpeak|regionpeak'
_EXTENSIONS = re.compile(rf'(\.({_KINDS}|txt|idr|gz|bgz))+\Z', re.IGNORECASE)
_PEAKS = re.compile(rf'.+\.({_KINDS})(\.gz)?', re.IGNORECASE | re.DOTALL)
#: What a file's name says of its layout; SPP writes narrowPeak under the name of regionPeak.
_NAMES = {'.narrowpeak': 'narrowPeak', '.regionpeak': 'narrowPeak', '.broadpeak': 'broadPeak'}
_SUMMIT = 10  # narrowPeak's column of summits
_SIGNALS = (7, 9, 8, 5)  # signal, -log10 q, -log10 p, score: what ranks peaks, the usual one first
_GAPPED_SIGNALS = (13, 15, 14, 5)
_SCORE = (5,)
#: Summits lie about the middles of their peaks. A column 10 that is mostly below this share of the peak is a count.
_LEAST_SUMMIT = 0.05


def is_peaks(path: pathlib.Path) -> bool:
    """Whether a file's name is that of a peak file."""
    return bool(_PEAKS.fullmatch(path.name))


def task_name(path: pathlib.Path) -> str:
    """The file's name without extensions such as .narrowPeak.gz."""
    return _EXTENSIONS.sub('', path.name) or path.name


@dataclasses.dataclass(frozen=True)
class PeakFormat:
    """What a peak file was taken for.

    Attributes:
      name: e.g. 'narrowPeak', 'BED' (up to 6 columns), 'BED6 and 4 more columns'.
      centres: where windows are centred, 'summits of column 10', 'summits of column 7' or 'middles', and how many
        summits are missing.
      ranked_by: the column, from 1, whose numbers rank the peaks, the highest first; None = nothing does.
      why: why it is not the layout's usual column; '' = it is.
      notes: what else is to be said of the reading.
    """

    name: str
    centres: str
    ranked_by: int | None
    why: str = ''
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        ranks = f'ranked by column {self.ranked_by}' if self.ranked_by else 'ranked by nothing'
        why = f' ({self.why})' if self.why else ''
        return '; '.join([f'{self.name}, {self.centres}, {ranks}{why}', *self.notes])


@dataclasses.dataclass(frozen=True, eq=False)
class Peaks:
    """Peaks in the file's order: chromosomes, 0-based int64 starts, ends and centres, float64 signals, (n,) each.

    Chromosomes are `str` objects. The signals are those of the column that ranks the peaks, with 0 for '.'; all are
    equal where nothing does. `format` is what the file was taken for.
    """

    chroms: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    centres: np.ndarray
    signals: np.ndarray
    format: PeakFormat


def read_peaks(path: str | os.PathLike) -> Peaks:
    """Read BED, narrowPeak (also IDR's, and with further columns), broadPeak or gappedPeak.

    The layout is that of all lines together:

    - BED12's blocks in columns 10 to 12 make BED12, and gappedPeak with three numbers after them.
    - Columns 7 and 8 that are places within the peak, before a colour, make BED9. Where they hold one letter on every
      line, as ReMap writes summits, windows are centred at it.
    - Numbers in columns 7 to 9 (8 and 9 of at least -1), and whole numbers from -1 and below the peak's length in
      column 10, make narrowPeak. Windows are centred at the summit, or the middle where it is -1.
    - Nine columns of which 7 to 9 are numbers make broadPeak, and so do ten if column 10 is too small for summits.
    - Other columns behind the third, fifth or sixth make BED with more columns, which are not looked at.

    A name with .narrowPeak or .broadPeak decides, unless no line has the numbers for it. Peaks are ranked by column 7
    (gappedPeak: 13; BED: 5). Where that is the same on every line the q-values, the p-values or the score take its
    place. `PeakFormat` says what was chosen.

    Raises:
      InputError: names the line and what is wrong in it: no region, another number of columns than other lines, a
        signal that is no number, a line that does not fit the layout of the others, or starts that count from 1.
    """
    table = read_table(path)
    places, rows = table.places, _Rows(table)
    notes_of_starts = _where_starts_count_from(table, rows)
    name, candidates, notes = _decided(table, rows)
    notes = (*notes, *notes_of_starts)
    starts, ends = places.starts, places.ends
    middles = (starts + ends) // 2
    centres, told = middles, 'middles'
    if name.startswith('narrowPeak'):
        summits = table.numbers[_SUMMIT]
        known = summits >= 0
        centres = np.where(known, starts + np.where(known, summits, 0).astype(np.int64), middles)
        told = f'summits of column {_SUMMIT}'
        if not known.any():
            told = f'middles (no peak has a summit in column {_SUMMIT})'
        elif not known.all():
            told += f' ({(~known).sum():,} of {len(known):,} have none: middles)'
        elif not summits.any() and (rows.lengths > 1).any():
            notes = (*notes, 'every summit is 0, so windows are centred where peaks start')
    elif name.startswith('BED9') and rows.marks_a_letter(table):
        centres, told = table.numbers[7].astype(np.int64), 'summits of column 7'
    ranked_by, why, signals = _ranked(table, candidates)
    if ranked_by and (dots := int((table.numbers[ranked_by] == DOT).sum())):
        notes = (*notes, f"column {ranked_by} is '.' on {dots:,} of {len(signals):,} lines, taken for 0")
    return Peaks(places.chroms, starts, ends, centres, signals, PeakFormat(name, told, ranked_by, why, notes))


class _Rows:
    """bool (n,): which lines fit a layout."""

    def __init__(self, table: Table) -> None:
        starts, ends, numbers = table.places.starts, table.places.ends, table.numbers
        self.lengths = ends - starts
        self.strand = table.marked(STRAND)
        # Text is NaN, and compares as false.
        numeric = [table.is_number(7), *((numbers[column] == DOT) | (numbers[column] >= -1) for column in (8, 9))]
        self.scored = self.strand & np.logical_and.reduce(numeric)
        summits = numbers[_SUMMIT]
        is_integer = summits == np.floor(summits)
        self.summit = (summits == DOT) | (is_integer & (summits >= -1) & (summits < self.lengths))
        first, last = numbers[7], numbers[8]
        self.thick = self.strand & table.marked(COLOUR) & (starts <= first) & (first <= last) & (last <= ends)

    def marks_a_letter(self, table: Table) -> bool:
        """Whether columns 7 and 8 hold one letter of each peak, and peaks are longer."""
        return bool((self.thick & (table.numbers[8] - table.numbers[7] == 1)).all() and (self.lengths > 1).any())

    def summits_are_counts(self, table: Table) -> bool:
        """Whether column 10 is too small for summits."""
        summits = table.numbers[_SUMMIT]
        known = summits >= 0
        return bool(known.any()) and float(np.median(summits[known] / self.lengths[known])) < _LEAST_SUMMIT


def _where_starts_count_from(table: Table, rows: _Rows) -> tuple[str, ...]:
    """A note where starts may count from 1.

    Raises:
      InputError: they do, for a column of lengths says so.
    """
    if len(rows.lengths) > 1 and (table.numbers[4] == rows.lengths + 1).all():
        raise InputError(
            f'{table.path}: column 4 is end - start + 1 on every line, so that starts count from 1, as in the .xls '
            'files of MACS; take 1 from every start'
        )
    if table.marked(STRAND_FIRST).all():
        return ('column 4 holds strands, as in interval lists, whose starts count from 1; here they are read from 0',)
    return ()


def _decided(table: Table, rows: _Rows) -> tuple[str, tuple[int, ...], tuple[str, ...]]:
    """The layout's name, the columns that may rank the peaks, the usual one first, and what is to be said."""
    n = table.n_columns
    if n >= 12 and table.marked(BLOCKS).all():
        if n >= 15 and all(table.is_number(column).all() for column in (13, 14, 15)):
            return _with_more('gappedPeak', n - 15), _GAPPED_SIGNALS, ()
        return _with_more('BED12', n - 12), _SCORE, ()
    file = pathlib.Path(table.path).name.lower()
    named = next((kind for part, kind in _NAMES.items() if part in file), '')
    needed = {'narrowPeak': 10, 'broadPeak': 9}.get(named, 0)
    if named and n >= needed and rows.scored.any():
        _need(table, rows, rows.scored & rows.summit if named == 'narrowPeak' else rows.scored, named)
        return _peak_name(table, named, needed), _SIGNALS, ()
    notes = (f'its name says {named}, but not its columns',) if named else ()
    if n >= 8 and _mostly(rows.thick):
        return _with_more(f'BED{min(n, 9)}', n - 9), _SCORE, notes
    if n >= 10 and _mostly(rows.scored & rows.summit):
        _need(table, rows, rows.scored & rows.summit, 'narrowPeak')
        if rows.summits_are_counts(table):
            notes = (*notes, f'column {_SUMMIT} is too small for summits; name the file .narrowPeak if it holds them')
            return _peak_name(table, 'broadPeak', 9), _SIGNALS, notes
        return _peak_name(table, 'narrowPeak', 10), _SIGNALS, notes
    if (n == 9 and _mostly(rows.scored)) or (rows.scored.all() and _is_idr(table, 9)):
        _need(table, rows, rows.scored, 'broadPeak')
        return _peak_name(table, 'broadPeak', 9), _SIGNALS, notes
    return *_bed(table, rows), notes


def _bed(table: Table, rows: _Rows) -> tuple[str, tuple[int, ...]]:
    """As `_decided`, of a file that is BED with further columns, if any."""
    n = table.n_columns
    if n >= 5 and table.marked(SAME).all():  # columns 4 and on are another region
        return _with_more('BED3', n - 3), ()
    if n < 6 or _mostly(rows.strand):
        return _with_more('BED' if n < 7 else 'BED6', n - 6), _SCORE
    if n == 6 and table.marked(PLACE).all():
        return 'BED as SEACR writes it', _SCORE
    if _mostly(np.isfinite(table.numbers[4])):  # no name, so column 5 may be anything
        return _with_more('BED3', n - 3), ()
    return _with_more('BED5', n - 5), _SCORE


def _peak_name(table: Table, kind: str, own: int) -> str:
    if _is_idr(table, own):
        return f'{kind} as IDR writes it'
    return _with_more(kind, table.n_columns - own)


def _is_idr(table: Table, own: int) -> bool:
    """Whether IDR's two values follow `own` columns, and then the place and the signals in two replicates."""
    if table.n_columns != {10: 20, 9: 17}[own]:
        return False
    first, last = table.numbers[own + 3], table.numbers[own + 4]
    return bool((table.is_number(own + 1) & table.is_number(own + 2) & (first >= 0) & (first < last)).all())


def _with_more(name: str, more: int) -> str:
    return name if more <= 0 else f'{name} and {more} more column{"s" * (more > 1)}'


def _mostly(fits: np.ndarray) -> bool:
    return bool(2 * np.count_nonzero(fits) >= len(fits))


def _need(table: Table, rows: _Rows, fits: np.ndarray, kind: str) -> None:
    """Refuse a file of which some lines do not fit, and say why the first of them does not."""
    if fits.all():
        return
    row = int(np.argmin(fits))
    wrong = f'summit {table.cell(row, _SUMMIT)} lies outside the peak of {rows.lengths[row]} letters'
    if not rows.strand[row]:
        wrong = f"column 6 is {brief(table.cell(row, 6))}, expected a strand ('+', '-' or '.')"
    elif not rows.scored[row]:
        column = next((c for c in (7, 8, 9) if not table.is_number(c)[row]), 0)
        column = column or next(c for c in (8, 9) if DOT < table.numbers[c][row] < -1)
        what = {7: 'signal', 8: 'p-value (column 8)', 9: 'q-value (column 9)'}[column]
        expected = 'a number' if column == 7 else 'a number of at least -1'
        wrong = f'{what} is {brief(table.cell(row, column))}, expected {expected}'
    elif (value := table.numbers[_SUMMIT][row]) != np.floor(value) or not np.isfinite(value) or value < -1:
        wrong = f'summit is {brief(table.cell(row, _SUMMIT))}, expected a whole number of at least -1'
    raise InputError(f'{table.path}: line {table.lines[row]}: {wrong}; the file was taken for {kind}')


def _ranked(table: Table, candidates: tuple[int, ...]) -> tuple[int | None, str, np.ndarray]:
    """The column that ranks the peaks, why it is not the usual one, and its numbers, float64 (n,)."""
    n = len(table.lines)
    there = [column for column in candidates if column <= table.n_columns]
    if not there:
        return None, 'no column is known to be a score', np.zeros(n)
    usual = there[0]
    values = table.numbers[usual]
    if np.isnan(values).all():
        return None, f'column {usual} holds text', np.zeros(n)
    wrong = np.isnan(values) | (values == ODD)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f'{table.path}: line {table.lines[row]}: signal is {brief(table.cell(row, usual))}, expected a number'
        )
    signals = np.where(values == DOT, 0.0, values)
    if n == 1:
        return usual, '', signals
    same = list[int]()
    for column in there:
        values = np.where(table.numbers[column] == DOT, 0.0, table.numbers[column])
        if np.isfinite(values).all() and values.min() < values.max():
            return column, f'column {usual} is the same on every line' if same else '', values
        same.append(column)
    columns = ', '.join(map(str, same))
    return None, f'column{"s" * (len(same) > 1)} {columns}: the same on every line', signals
