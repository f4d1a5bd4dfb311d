"""Reading text files of unknown origin line by line, gzip or plain (edge: touches the disk).

What is read is held in memory, so that a file of a few megabytes must not be able to ask for gigabytes: the limits
below are far above what real data need.
"""

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from demo_jax.data import dna
from demo_jax.data.corpus import cumulative
from demo_jax.errors import InputError, brief
from demo_jax.files import open_input

#: Bytes of the longest line, and letters of the longest record (of a genome: `MAX_LETTERS`, or any).
MAX_LINE = 10_000_000
#: What has been unpacked of a gzip file may be so many times what it was unpacked from, once it has passed
#: `FREE_BYTES`; text rarely reaches 50.
MAX_RATIO, FREE_BYTES = 200, 8_000_000
#: Records (sequences, peaks, variants) of one file, and letters of all its records together.
MAX_RECORDS, MAX_LETTERS = 2_000_000, 200_000_000


class Line(NamedTuple):
    """A line: its number, from 1, and its bytes without the line end."""

    number: int
    text: bytes


class FastaRecord(NamedTuple):
    """A FASTA record: its number, from 1, the header after '>', and the letters."""

    number: int
    header: str
    letters: bytes


def read_lines(path: str | os.PathLike, *, may_be_empty: bool = False) -> Iterator[Line]:
    """The lines of a text file, one at a time. Gzip is known by its first bytes, not by the file's name.

    Unix and Windows line ends and a UTF-8 byte-order mark are accepted.

    Args:
      path: the file.
      may_be_empty: whether a file without any letter is accepted.

    Raises:
      InputError: the file is missing, no regular file, empty, truncated, damaged, UTF-16, unpacks to more than
        `MAX_RATIO` times its size, or has a NUL byte or a line of more than `MAX_LINE` bytes.
    """
    empty = True
    try:
        with open_input(path) as raw:
            packed = raw.read(2) == b'\x1f\x8b'
            raw.seek(0)
            stream = io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 20) if packed else raw
            number, size, unchecked = 0, 0, FREE_BYTES
            while line := stream.readline(MAX_LINE + 1):
                number += 1
                size += len(line)
                if len(line) > MAX_LINE:
                    raise InputError(f'{path}: line {number} has more than {MAX_LINE:,} bytes, expected text')
                if packed and size > unchecked:  # asking where the file stands takes time
                    check_ratio(path, size, raw.tell())
                    unchecked = size + (1 << 20)
                if number == 1:
                    if line[:2] in (b'\xff\xfe', b'\xfe\xff'):
                        raise InputError(f'{path}: is UTF-16 text, expected ASCII or UTF-8')
                    line = line.removeprefix(b'\xef\xbb\xbf')
                if b'\0' in line:
                    raise InputError(f'{path}: line {number} has a NUL byte, expected text')
                empty = empty and not line.strip()
                yield Line(number, line.rstrip(b'\r\n'))
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
      longest: letters that a record may have; default `MAX_LINE`.

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

    for line in read_lines(path):
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


def check_ratio(path: str | os.PathLike, unpacked: int, read: int) -> None:
    """See that a compressed file is no bomb.

    Args:
      path: the file.
      unpacked: bytes that have come out of it so far.
      read: bytes that have been read of it so far.

    Raises:
      InputError: more than `MAX_RATIO` times as many came out, and more than `FREE_BYTES`.
    """
    if unpacked > FREE_BYTES and unpacked > MAX_RATIO * read:
        raise InputError(f'{path}: unpacks to more than {MAX_RATIO} times its size, which is refused')


def check_size(path: str | os.PathLike, records: int, letters: int = 0) -> None:
    """See that a file does not hold more than is kept in memory.

    Raises:
      InputError: more than `MAX_RECORDS` records or `MAX_LETTERS` letters.
    """
    if records > MAX_RECORDS or letters > MAX_LETTERS:
        raise InputError(
            f'{path}: holds more than {MAX_RECORDS:,} records or {MAX_LETTERS:,} letters, the most that is read'
        )


def encode_all(path: str | os.PathLike, letters: list[bytes], names: list[str]) -> list[np.ndarray]:
    """Tokens of many sequences of one file, encoded in one go (the arrays are views of one buffer).

    Args:
      path: the file, for messages.
      letters: of each sequence.
      names: of each sequence, for messages.

    Returns:
      uint8 (L,) each.

    Raises:
      InputError: a character is no DNA letter; names the file, the record and the position.
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
