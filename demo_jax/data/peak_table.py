"""The columns of BED-like files: regions, and what tells one layout of peaks from another (edge: touches the disk)."""

import math
import os
import re
from array import array
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from demo_jax.errors import InputError, brief
from demo_jax.io.textfile import check_size, read_lines

#: How cells that are no finite number are kept: '.' and an empty cell; 'nan' and 'inf'; text.
DOT, ODD, TEXT = -math.inf, math.inf, math.nan
#: Marks of a line: column 6 is a strand, column 9 a colour, columns 10 to 12 are BED12's blocks, column 6 is a place
#: such as 'chr1:1-9', column 4 is the same as column 1, column 4 is '+' or '-'.
STRAND, COLOUR, BLOCKS, PLACE, SAME, STRAND_FIRST = 1, 2, 4, 8, 16, 32

_NUMBERS = (4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15)
_STRANDS = (b'+', b'-', b'.', b'*', b'')
_COLOUR = re.compile(rb'([0-9]{1,3},[0-9]{1,3},[0-9]{1,3},?|[0-9]+|\.)?')
_BLOCKS = re.compile(rb'-?[0-9]+(,-?[0-9]+)*,?')
_PLACE = re.compile(rb'\S+:[0-9]+-[0-9]+')


class Places(NamedTuple):
    """Regions in the file's order: chromosomes (`str` objects), 0-based int64 starts and ends, (n,) each.

    Chromosomes are objects: as NumPy text, one long name would make all of them long.
    """

    chroms: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


class Table(NamedTuple):
    """The columns of a peak file, n lines.

    Attributes:
      path: the file.
      places: the first three columns.
      n_columns: of every line, without empty ones at its end.
      lines: the lines' numbers in the file, from 1, int64 (n,).
      numbers: by column, from 1, float64 (n,): columns 4, 5 and 7 to 15, with `DOT`, `ODD` and `TEXT` for what is no
        finite number.
      marks: uint8 (n,), the sum of `STRAND`, `COLOUR`, `BLOCKS`, `PLACE`, `SAME` and `STRAND_FIRST` where they hold.
    """

    path: str | os.PathLike
    places: Places
    n_columns: int
    lines: np.ndarray
    numbers: dict[int, np.ndarray]
    marks: np.ndarray

    def marked(self, mark: int) -> np.ndarray:
        """bool (n,): which lines have a mark."""
        return (self.marks & mark) > 0

    def is_number(self, column: int) -> np.ndarray:
        """bool (n,): where a column has a number, also 'nan' or 'inf', or '.'; columns that are not there have '.'."""
        return ~np.isnan(self.numbers[column])

    def cell(self, row: int, column: int) -> str:
        """The text of one cell, for messages; the file is read again."""
        for number, cells in _lines(self.path):
            if number == self.lines[row]:
                return b''.join(cells[column - 1 : column]).decode('utf-8', 'replace').strip()
        return ''


def read_places(path: str | os.PathLike) -> Places:
    """The regions of a BED file; only the first three columns are looked at, and lines may have any number of others.

    Raises:
      InputError: names the line and what is wrong in it, or says that the file holds no regions.
    """
    chroms, places, known = list[str](), array('q'), dict[bytes, str]()
    for number, cells in _lines(path):
        places.extend(_place(path, number, cells))
        check_size(path, len(chroms) + 1)
        chroms.append(_chrom(path, number, known, cells[0]))
    return _places(path, chroms, places, 'regions')


def read_table(path: str | os.PathLike) -> Table:
    """The columns of a peak file.

    Cells are separated by tabs, or by blanks in lines without a tab. Lines that start with '#', and those that are for
    a genome browser ('track ...', 'browser ...'), are passed over. Chromosomes are UTF-8 text; other names
    may be of any letters.

    Raises:
      InputError: names the line and what is wrong in it: no region, or another number of columns than other lines; or
        says that the file holds no peaks.
    """
    chroms, places, known = list[str](), array('q'), dict[bytes, str]()
    lines, used, given, marks = array('q'), array('q'), array('q'), bytearray()
    numbers = {column: array('d') for column in _NUMBERS}
    for number, cells in _lines(path):
        places.extend(_place(path, number, cells))
        check_size(path, len(chroms) + 1)
        chroms.append(_chrom(path, number, known, cells[0]))
        lines.append(number)
        given.append(len(cells))
        cells = [cell.strip() for cell in cells]
        while not cells[-1]:
            cells.pop()
        used.append(len(cells))
        for column, values in numbers.items():
            values.append(_value(cells[column - 1]) if len(cells) >= column else DOT)
        marks.append(_marks(cells))
    return Table(
        path,
        _places(path, chroms, places, 'peaks'),
        _same_width(path, np.array(lines), np.array(used), np.array(given)),
        np.array(lines),
        {column: np.array(values) for column, values in numbers.items()},
        np.frombuffer(bytes(marks), np.uint8),
    )


def _lines(path: str | os.PathLike) -> Iterator[tuple[int, list[bytes]]]:
    """The number and the cells of every line that holds a region."""
    for line in read_lines(path, 'peaks'):
        words = line.text.split(None, 3)
        if not words or line.text.startswith(b'#'):
            continue
        # A contig may have any name: it is one where places follow.
        if words[0] in (b'track', b'browser') and not (len(words) > 2 and words[1].isdigit() and words[2].isdigit()):
            continue
        yield line.number, line.text.split(b'\t') if b'\t' in line.text else line.text.split()


def _place(path: str | os.PathLike, line: int, cells: list[bytes]) -> tuple[int, int]:
    if len(cells) < 3:
        raise InputError(f'{path}: line {line} has {len(cells)} columns, expected 3 or more')
    for name, cell in (('start', cells[1]), ('end', cells[2])):
        if not re.fullmatch(b' *-?[0-9]{1,18} *', cell):
            found = brief(cell.decode('utf-8', 'replace'))
            raise InputError(f'{path}: line {line}: {name} is {found}, expected a whole number{_other_format(cells)}')
    start, end = int(cells[1]), int(cells[2])
    if not 0 <= start < end:
        raise InputError(f'{path}: line {line}: start {start} and end {end}, expected 0 <= start < end')
    return start, end


def _other_format(cells: list[bytes]) -> str:
    """What a line without start and end may be of: a table without the first line by which `filekinds` knows it."""
    if b'abs_summit' in cells or cells[1:4] == [b'start', b'end', b'length']:
        return ' (this is the table of MACS, which counts from 1; give its narrowPeak, broadPeak or BED file)'
    if cells[2].isdigit() and len(cells) > 4 and cells[3].isdigit():
        return ' (as in the peaks of HOMER, which count from 1; make a BED file of them, e.g. with its pos2bed.pl)'
    return ''


def _chrom(path: str | os.PathLike, line: int, known: dict[bytes, str], cell: bytes) -> str:
    """The text of the first cell, one object for all equal cells."""
    if cell not in known:
        try:
            known[cell] = cell.strip().decode('utf-8')
        except UnicodeDecodeError:
            raise InputError(f'{path}: line {line}: chromosome is {brief(cell)}, expected UTF-8 text') from None
    return known[cell]


def _places(path: str | os.PathLike, chroms: list[str], places: array, what: str) -> Places:
    if not chroms:
        raise InputError(f'{path}: holds no {what}')
    starts, ends = np.array(places, np.int64).reshape(-1, 2).T
    return Places(np.array(chroms, object), starts, ends)


def _same_width(path: str | os.PathLike, lines: np.ndarray, used: np.ndarray, given: np.ndarray) -> int:
    """How many columns every line has, of which the last may be empty where there are tabs for them."""
    n = int(used.max())
    for row in np.flatnonzero((used < n) & (given < n))[:1]:
        other = lines[int(np.argmax(used))]
        raise InputError(
            f'{path}: line {lines[row]} has {used[row]} columns, line {other} has {n}; expected the same number on '
            'every line'
        )
    return n


def _value(cell: bytes) -> float:
    if cell in (b'.', b''):
        return DOT
    try:
        value = float(cell)
    except ValueError:
        return TEXT
    if b'_' in cell:  # Python reads 1_0 as 10
        return TEXT
    return value if math.isfinite(value) else ODD


def _marks(cells: list[bytes]) -> int:
    marks, n = 0, len(cells)
    if n < 6 or cells[5] in _STRANDS:
        marks |= STRAND
    elif _PLACE.fullmatch(cells[5]):
        marks |= PLACE
    if n < 9 or _COLOUR.fullmatch(cells[8]):
        marks |= COLOUR
    if n >= 12 and _BLOCKS.fullmatch(cells[10]) and _BLOCKS.fullmatch(cells[11]):
        sizes, starts = (len(cell.rstrip(b',').split(b',')) for cell in cells[10:12])
        marks |= BLOCKS * (cells[9] == b'%d' % sizes and sizes == starts)
    if n > 4 and cells[3] == cells[0]:
        marks |= SAME
    if n > 3 and cells[3] in (b'+', b'-'):
        marks |= STRAND_FIRST
    return marks
