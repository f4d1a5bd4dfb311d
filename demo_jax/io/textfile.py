"""Reading text files of unknown origin line by line, gzip or plain (edge: touches the disk).

Most readers hold a file in memory, so a file of a few megabytes must not expand to gigabytes: the limits below are far
above what real data need. Only `read_fasta_parts` reads files of any size, since it holds one part at a time.
"""

import gzip
import io
import itertools
import os
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from demo_jax import dna
from demo_jax.dna import cumulative
from demo_jax.errors import InputError, brief
from demo_jax.io.filekinds import HEAD, check_kind
from demo_jax.io.files import open_input

#: Bytes of the longest line, and letters of the longest record (of a genome: `MAX_LETTERS`, or any).
MAX_LINE = 10_000_000
#: Largest accepted gzip expansion ratio, checked after `FREE_BYTES` of output. Real text rarely exceeds 50.
MAX_RATIO, FREE_BYTES = 200, 8_000_000
#: Records (sequences, peaks, variants) of one file, and letters of all its records together.
MAX_RECORDS, MAX_LETTERS = 2_000_000, 200_000_000
#: Approximate number of letters in the parts of a record that may have any length.
PART = 1 << 20


class Line(NamedTuple):
    """A line: its number, from 1, and its bytes without the line end."""

    number: int
    text: bytes


class FastaRecord(NamedTuple):
    """A FASTA record: its number, from 1, the header after '>', and the letters."""

    number: int
    header: str
    letters: bytes


class FastaPart(NamedTuple):
    """A part of a FASTA record.

    Attributes:
      number: of the record, from 1.
      header: of the record, after '>'.
      start: 0-based position in the record at which the part begins.
      letters: of the part, at least one.
      last: whether it is the last part of the record.
    """

    number: int
    header: str
    start: int
    letters: bytes
    last: bool


def read_lines(path: str | os.PathLike, expected: str = 'text', *, may_be_empty: bool = False) -> Iterator[Line]:
    """The lines of a text file, one at a time. Gzip is recognised by its first bytes, not by the file's name.

    Unix and Windows line ends and a UTF-8 byte-order mark are accepted.

    Args:
      path: the file.
      expected: the expected kind of file, a key of `filekinds.EXPECTED`, for the message if it is of another kind.
      may_be_empty: whether an empty file is accepted.

    Raises:
      InputError: the file is missing, not a regular file, empty, truncated, damaged, of another format by its first
        bytes (see `filekinds.check_kind`), unpacks to more than `MAX_RATIO` times its size, or has a NUL byte or a
        line of more than `MAX_LINE` bytes.
    """
    pieces = _unpacked(path, lambda stream: stream.readline(MAX_LINE + 1), expected, may_be_empty)
    for number, line in enumerate(pieces, start=1):
        if len(line) > MAX_LINE:
            raise InputError(f'{path}: line {number} has more than {MAX_LINE:,} bytes, expected text')
        if b'\0' in line:
            raise InputError(f'{path}: line {number} has a NUL byte, expected text')
        yield Line(number, line.rstrip(b'\r\n'))


def read_blocks(path: str | os.PathLike, size: int, expected: str = 'text') -> Iterator[bytes]:
    """The bytes of a text file, unpacked if it is gzipped, in blocks of `size` bytes; otherwise as `read_lines`.

    Raises:
      InputError: as `read_lines`, except that NUL bytes and long lines are accepted.
    """
    return _unpacked(path, lambda stream: stream.read(size), expected)


def _unpacked(
    path: str | os.PathLike, read: Callable[[BinaryIO], bytes], expected: str, may_be_empty: bool = False
) -> Iterator[bytes]:
    """What `read` returns for a file, unpacked if it is gzipped, until it returns nothing; checks as `read_lines`."""
    empty, first = True, True
    try:
        with open_input(path) as raw:
            packed = raw.read(2) == b'\x1f\x8b'
            raw.seek(0)
            stream = io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 20) if packed else raw
            size, unchecked = 0, FREE_BYTES
            check_kind(path, stream.peek(HEAD)[:HEAD], expected)
            while piece := read(stream):
                size += len(piece)
                if packed and size > unchecked:  # asking for the position takes time
                    check_ratio(path, size, raw.tell())
                    unchecked = size + (1 << 20)
                if first:
                    piece, first = piece.removeprefix(b'\xef\xbb\xbf'), False
                empty = empty and not piece.strip()
                yield piece
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        kind = 'truncated' if isinstance(error, EOFError) else 'damaged'
        raise InputError(f'{path}: is a {kind} gzip file ({error})') from error
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror or error})') from error
    if empty and not may_be_empty:
        raise InputError(f'{path}: is empty')


def read_fasta(path: str | os.PathLike, longest: int | None = None) -> Iterator[FastaRecord]:
    """The records of a FASTA file; the letters of a record may lie on several lines.

    Args:
      path: the file.
      longest: the largest number of letters in a record; default `MAX_LINE`.

    Raises:
      InputError: as `read_lines`, or letters before the first header, a record without letters, a record of
        more than `longest` letters, or more than `MAX_RECORDS` records or `MAX_LETTERS` letters.
    """
    longest = MAX_LINE if longest is None else longest
    count, size, letters = 0, 0, 0
    header: str | None = None
    pieces: list[bytes] = []

    def finished(header: str) -> FastaRecord:
        if not size:
            raise InputError(f'{path}: record {count} ({brief(header)}) has no letters')
        return FastaRecord(count, header, b''.join(pieces))

    for line in read_lines(path, 'FASTA'):
        if line.text[:1] == b'>':
            if header is not None:
                yield finished(header)
            count, pieces, size, letters = count + 1, [], 0, letters + size
            check_size(path, count, letters)
            header = line.text[1:].strip().decode('utf-8', 'replace')
        elif text := line.text.strip():
            if header is None:
                raise InputError(f"{path}: line {line.number} is {brief(text)}, expected a FASTA header ('>...')")
            size += len(text)
            if size > longest:
                raise InputError(f'{path}: record {count} ({brief(header)}) has more than {longest:,} letters')
            pieces.append(text)
    if header is not None:
        yield finished(header)


def read_fasta_parts(path: str | os.PathLike) -> Iterator[FastaPart]:
    """The records of a FASTA file of any size, in parts of about `PART` letters, which bounds the memory.

    Records and lines may have any length, and there may be any number of them. Otherwise as `read_fasta`.

    Raises:
      InputError: as `read_lines`, except that lines of letters may have any length; also letters before the first
        header, or a record without letters.
    """
    count, header, start, size = 0, '', 0, 0
    held: list[bytes] = []

    def part(last: bool) -> FastaPart:
        nonlocal start, size
        if not size:  # only at its end: parts before are given when more letters come
            raise InputError(f'{path}: record {count} ({brief(header)}) has no letters')
        given = FastaPart(count, header, start, b''.join(held), last)
        held.clear()
        start, size = (0 if last else start + size), 0
        return given

    for is_header, text in _fasta_runs(path):
        if is_header:
            if count:
                yield part(True)
            count, header = count + 1, text.decode('utf-8', 'replace')
        else:
            if size >= PART:
                yield part(False)
            held.append(text)
            size += len(text)
    if count:
        yield part(True)


def _fasta_runs(path: str | os.PathLike) -> Iterator[tuple[bool, bytes]]:
    """Headers (True, text after '>') and, between them, runs of letters (False, without line ends) of a FASTA file."""
    number, rest, within, headed = 1, b'', False, False  # within: the unfinished line's beginning has been given
    for block in itertools.chain(read_blocks(path, PART, 'FASTA'), [b'\n']):
        if b'\0' in block:
            line = number + block.count(b'\n', 0, block.index(b'\0'))
            raise InputError(f'{path}: line {line} has a NUL byte, expected text')
        lines = (rest + block).split(b'\n')
        rest, run = lines.pop(), list[bytes]()
        for text in lines:
            if text[:1] == b'>' and not within:
                if run:
                    yield False, b''.join(run)
                yield True, text[1:].strip()
                headed, run = True, []
            elif letters := text.rstrip() if within else text.strip():
                if not headed:
                    raise InputError(f"{path}: line {number} is {brief(letters)}, expected a FASTA header ('>...')")
                run.append(letters)
            within = False
            number += 1
        if len(rest) >= PART and (within or rest[:1] != b'>'):
            text = rest if within else rest.lstrip()
            if letters := text.rstrip():  # blanks after them are given once it is known that the line goes on
                if not headed:
                    raise InputError(f"{path}: line {number} is {brief(letters)}, expected a FASTA header ('>...')")
                run.append(letters)
                within = True
            rest = text[len(letters) :]
        if len(rest) > MAX_LINE:  # a header, or blanks
            raise InputError(f'{path}: line {number} has more than {MAX_LINE:,} bytes, expected text')
        if run:
            yield False, b''.join(run)


def check_ratio(path: str | os.PathLike, unpacked: int, read: int) -> None:
    """Check that a compressed file is not a decompression bomb.

    Args:
      path: the file.
      unpacked: bytes of output so far.
      read: bytes of input so far.

    Raises:
      InputError: `unpacked` exceeds `FREE_BYTES`, and `MAX_RATIO` times `read`.
    """
    if unpacked > FREE_BYTES and unpacked > MAX_RATIO * read:
        raise InputError(f'{path}: unpacks to more than {MAX_RATIO} times its size, which is refused')


def check_size(path: str | os.PathLike, records: int, letters: int = 0) -> None:
    """Check that a file is not too large to be kept in memory.

    Raises:
      InputError: more than `MAX_RECORDS` records or `MAX_LETTERS` letters.
    """
    if records > MAX_RECORDS or letters > MAX_LETTERS:
        raise InputError(
            f'{path}: holds more than {MAX_RECORDS:,} records or {MAX_LETTERS:,} letters, the most that is read'
        )


def encode_part(path: str | os.PathLike, part: FastaPart, name: str) -> np.ndarray:
    """Tokens uint8 (L,) of a part of a record.

    Args:
      path: the file, for messages.
      part: from `read_fasta_parts`.
      name: the record's, for messages.

    Raises:
      InputError: a character is not a DNA letter; names the file, the record and the position in the record.
    """
    try:
        return dna.encode(part.letters)
    except InputError as error:
        _, position, found = str(error).split(' ', 2)  # 'position 6 holds ...', counted from the part's beginning
        place = f'record {part.number} ({brief(name)}): position {part.start + int(position)} {found}'
        raise InputError(f'{path}: {place}') from None


def encode_all(path: str | os.PathLike, letters: list[bytes], names: list[str]) -> list[np.ndarray]:
    """Tokens of many sequences of one file, encoded in one go (the arrays are views of one buffer).

    Args:
      path: the file, for messages.
      letters: of each sequence.
      names: of each sequence, for messages.

    Returns:
      uint8 (L,) each.

    Raises:
      InputError: a character is not a DNA letter; names the file, the record and the position.
    """
    starts = cumulative([len(text) for text in letters]).tolist()
    try:
        tokens = dna.encode(b''.join(letters))
    except InputError:
        for number, (text, name) in enumerate(zip(letters, names, strict=True), start=1):
            try:
                dna.encode(text)
            except InputError as error:
                raise InputError(f'{path}: record {number} ({brief(name)}): {error}') from None
        raise
    return [tokens[first:last] for first, last in zip(starts, starts[1:], strict=False)]
