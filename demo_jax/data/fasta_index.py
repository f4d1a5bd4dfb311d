"""The position of every letter in a FASTA file, from one pass over its bytes (pure).

Lines may have any lengths, and blanks, tabs or CRs at their ends. A run of lines that are equally long and equally far
apart is one segment, so a regular file has one segment per record, and an irregular file has a few more. The pass
checks every byte: anything except letters, headers and white space is refused, so that positions count letters only.
Letters that are not DNA are counted here and refused when they are read.
"""

import itertools
import os
import string
from collections.abc import Iterable
from typing import NamedTuple, NoReturn

import numpy as np

from demo_jax.errors import InputError, brief

#: Bytes of the longest header, and of the longest run of blanks.
MAX_HEADER = 10_000_000
#: Records and segments of one file together (40 bytes and a name each), and letters of all names together.
MAX_PARTS, MAX_NAMES = 4_000_000, 200_000_000

#: The bytes that are letters of a sequence.
LETTERS = string.ascii_letters.encode()

_LINE_END, _BLANK, _OTHER = 1, 2, 3  # kinds of bytes; a letter is 0
_KINDS = bytearray([_OTHER]) * 256
for _letter in LETTERS:
    _KINDS[_letter] = 0
for _letter in b' \t\r\x0b\x0c':
    _KINDS[_letter] = _BLANK
_KINDS[ord('\n')] = _LINE_END
_MARK = b'\xef\xbb\xbf'  # a UTF-8 byte-order mark


class Segment(NamedTuple):
    """Lines of one record that are equally long and equally far apart; the last may be shorter.

    Attributes:
      record: number of the record, from 0.
      offset: of the first letter in the file, in bytes.
      letters: of all its lines.
      per_line: letters per line.
      stride: bytes from the beginning of a line to that of the next; 0 where there is one line.
    """

    record: int
    offset: int
    letters: int
    per_line: int
    stride: int


class FastaIndex:
    """The positions of the letters of each record.

    Attributes:
      sizes: letters of each record, by its name (the first word of its header), in the file's order.
    """

    def __init__(self, names: list[str], segments: np.ndarray) -> None:
        """Take the names of the records, and int64 (S, 5), the rows of which are `Segment`s in the file's order."""
        records, self._offsets, letters, self._per_line, self._strides = segments.T
        self._starts = np.concatenate([[0], np.cumsum(letters)])
        ends = self._starts[np.searchsorted(records, np.arange(len(names)), side='right')]
        sizes = np.diff(ends, prepend=0).tolist()
        self.sizes: dict[str, int] = dict(zip(names, sizes, strict=True))
        self._first = dict(zip(names, (ends - sizes).tolist(), strict=True))

    def spans(self, name: str, start: int, end: int) -> list[tuple[int, int]]:
        """The bytes of the file that contain the letters [start, end) of a record, with the line ends between them.

        Args:
          name: of the record.
          start, end: 0-based; 0 <= start <= end <= size.

        Returns:
          (first byte, number of bytes) of one or more stretches, in order; none if there is no letter.
        """
        here, last = self._first[name] + start, self._first[name] + end
        row = int(np.searchsorted(self._starts, here, side='right')) - 1
        spans = []
        while here < last:
            offset, per_line, stride = (int(part[row]) for part in (self._offsets, self._per_line, self._strides))
            base, until = int(self._starts[row]), min(int(self._starts[row + 1]), last)
            first, final = (
                offset + place // per_line * stride + place % per_line for place in (here - base, until - base - 1)
            )
            spans.append((first, final + 1 - first))
            here, row = until, row + 1
        return spans


def index_fasta(path: str | os.PathLike, blocks: Iterable[bytes]) -> FastaIndex:
    """Index a FASTA file in one pass, with about one block in memory.

    A record may have no letters. Blank lines, blanks at the ends of lines, Unix and Windows line ends and a UTF-8
    byte-order mark are accepted.

    Args:
      path: of the file, for messages.
      blocks: all its bytes, in order, in pieces of 3 to `MAX_HEADER` / 2 bytes (the last may be shorter).

    Raises:
      InputError: letters before the first header; a character that is not a letter, such as a blank within a line or a
        comment (`;`); a header of more than `MAX_HEADER` bytes (these name the line). Or the file is empty, two records
        have the same name, or its lines have too many different lengths.
    """
    found = _Pass(path)
    rest, offset, is_first = b'', 0, True
    for block in itertools.chain(blocks, [b'\n']):
        data = rest + block
        if is_first and data.startswith(_MARK):
            data, offset = data[len(_MARK) :], len(_MARK)
        is_first = False
        cut = data.rfind(b'\n') + 1
        if not cut and (found.within_line or data[:1] != b'>'):  # a line longer than a block
            cut = len(data.rstrip())  # whether blanks end the line is not known yet
        if len(data) - cut > MAX_HEADER:
            raise InputError(f'{path}: line {found.line} has more than {MAX_HEADER:,} bytes in its header, or blanks')
        if cut:
            found.add(data[:cut], offset)
        rest, offset = data[cut:], offset + cut
    if not found.names:
        raise InputError(f'{path}: is empty, expected a FASTA file')
    return FastaIndex(found.names, found.segments())


class _Pass:
    """The state of a pass over a file."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = path
        self.names: list[str] = []
        self.line = 1  # the number of the line that comes next, or goes on
        self.within_line = False  # whether letters of that line have been seen
        self._line_offset = 0  # where it begins in the file
        self._known: set[str] = set()
        self._name_letters = 0
        self._tables: list[np.ndarray] = []
        self._n_segments = 0
        self._last: Segment | None = None  # the next ones may continue it

    def add(self, data: bytes, offset: int) -> None:
        """Add complete lines that begin at `offset`, or a part of a long line that ends with a letter."""
        kinds = np.frombuffer(data.translate(_KINDS), np.uint8)
        marks = np.flatnonzero(kinds != 0)  # every byte that is not a letter
        kind = kinds[marks]
        is_end = kind == _LINE_END
        lines = np.concatenate([[0], marks[is_end] + 1])  # where lines begin
        is_header = np.zeros(len(lines), bool)
        inside = lines < len(data)
        is_header[inside] = np.frombuffer(data, np.uint8)[lines[inside]] == ord('>')
        is_header[0] &= not self.within_line
        line_after = np.cumsum(is_end)  # of what follows each mark, counted within `data`
        wrong = (kind == _OTHER) & ~is_header[line_after - is_end]
        # Words are separated by blanks and line ends; a line of letters has at most one.
        spaces = kind != _OTHER
        before = np.concatenate([[-1], marks[spaces]])
        sizes = np.append(marks[spaces], len(data)) - before - 1
        line = np.concatenate([[0], line_after[spaces]])
        words = (sizes > 0) & ~is_header[line]
        starts, sizes, line = before[words] + 1, sizes[words], line[words]
        split = np.append(line, -1)[1:] == line  # a second word follows in the line
        refused = [*marks[wrong][:1].tolist(), *(starts + sizes)[split][:1].tolist()]
        if self.within_line and len(line) and line[0] == 0 and starts[0] > 0:
            refused.append(0)  # letters, blanks, and now letters again
        if refused:
            self._refuse(data, offset, lines, min(refused))
        headers = np.flatnonzero(is_header)
        record = len(self.names) + np.searchsorted(headers, line) - 1
        if len(record) and record[0] < 0:
            self._refuse_headerless(data, lines, int(line[0]))
        for row in headers.tolist():
            self._add_name(data[lines[row] + 1 : int(lines[row + 1]) if row + 1 < len(lines) else len(data)])
        if len(starts):
            self._add_segments(_segments(record, starts + offset, sizes))
        if self._n_segments + len(self.names) > MAX_PARTS or self._name_letters > MAX_NAMES:
            raise InputError(
                f'{self.path}: its lines are of too many lengths, or it has too many records; lines of one length '
                '(seqkit seq -w 60) are read from files of any size'
            )
        if len(lines) > 1 or not self.within_line:
            self._line_offset = offset + int(lines[-1])
        self.line += int(is_end.sum())
        self.within_line = not data.endswith(b'\n')

    def _add_name(self, header: bytes) -> None:
        if b'\0' in header:
            raise InputError(f'{self.path}: record {len(self.names) + 1}: its header has a NUL byte, expected text')
        name = (header.decode('utf-8', 'replace').split() or [''])[0]
        if name in self._known:
            raise InputError(f'{self.path}: record {len(self.names) + 1}: a second sequence is called {brief(name)}')
        self._known.add(name)
        self.names.append(name)
        self._name_letters += len(name)

    def _add_segments(self, table: np.ndarray) -> None:
        first = Segment(*table[0].tolist())
        joined = self._last and _joined(self._last, first)
        if joined:
            table[0] = joined
        elif self._last:
            table = np.concatenate([[self._last], table])
        self._last = Segment(*table[-1].tolist())
        self._tables.append(table[:-1])
        self._n_segments += len(table) - 1

    def segments(self) -> np.ndarray:
        """All segments so far, int64 (S, 5)."""
        last = np.array([self._last] if self._last else [], np.int64).reshape(-1, 5)
        return np.concatenate([*self._tables, last])

    def _refuse(self, data: bytes, offset: int, lines: np.ndarray, place: int) -> NoReturn:
        """Raise the error for a character that is not a letter in a line of letters."""
        row = int(np.searchsorted(lines, place, side='right')) - 1
        where = f'{self.path}: line {self.line + row}'
        start, found = int(lines[row]), data[place : place + 1].decode('latin-1')
        column = place + 1 - (self._line_offset - offset if row == 0 and self.within_line else start)
        if not self.names and not any(data[at : at + 1] == b'>' for at in lines[: row + 1].tolist()):
            self._refuse_headerless(data, lines, row)
        if found == ';' and not data[start:place].strip():
            raise InputError(f"{where} is a comment (';'), which is not read; remove it")
        what = 'a NUL byte' if found == '\0' else repr(found)
        raise InputError(f'{where}, column {column}, holds {what}, expected letters')

    def _refuse_headerless(self, data: bytes, lines: np.ndarray, row: int) -> NoReturn:
        """Raise the error for a line before the first header."""
        text = data[lines[row] : lines[row] + 70].split(b'\n')[0].decode('utf-8', 'replace').strip()
        raise InputError(f"{self.path}: line {self.line + row} is {brief(text)}, expected a FASTA header ('>...')")


def _segments(record: np.ndarray, offset: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Lines as segments, int64 (S, 5); record, offset and size of each line are int64 (n,)."""
    n = len(size)
    step, same = np.diff(offset), np.diff(record) == 0
    begins = np.ones(n, bool)
    begins[1:] = ~same | (size[1:] > size[:-1])
    # Beyond the second line of a record, the line before must be full, and the distances equal.
    begins[2:] |= same[:-1] & ((size[1:-1] != size[:-2]) | (step[1:] != step[:-1]))
    first = np.flatnonzero(begins)
    has_next = np.append(first[1:], n) - first > 1
    stride = np.where(has_next, np.append(step, 0)[first], 0)
    return np.stack([record[first], offset[first], np.add.reduceat(size, first), size[first], stride], axis=1)


def _joined(a: Segment, b: Segment) -> Segment | None:
    """Two neighbouring segments as one, or None if they cannot be joined."""
    lines, rest = divmod(a.letters, a.per_line)
    stride = a.stride or b.offset - a.offset
    fits = b.per_line == a.per_line and b.stride == stride if b.stride else b.per_line <= a.per_line
    if rest or not fits or a.record != b.record or b.offset != a.offset + lines * stride:
        return None
    return Segment(a.record, a.offset, a.letters + b.letters, a.per_line, stride)
