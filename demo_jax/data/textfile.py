"""Reading text files of unknown origin line by line, gzip or plain (edge: touches the disk)."""

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

MAX_LINE = 10_000_000  # bytes; a longer line is refused, so that a gzip bomb does not fill the memory


class Line(NamedTuple):
    """A line: its number, from 1, and its bytes without the line end."""

    number: int
    text: bytes


class FastaRecord(NamedTuple):
    """A FASTA record: its number, from 1, the header after '>', and the letters."""

    number: int
    header: str
    letters: bytes


def read_lines(path: str | os.PathLike) -> Iterator[Line]:
    """The lines of a text file, one at a time. Gzip is known by its first bytes, not by the file's name.

    Unix and Windows line ends and a UTF-8 byte-order mark are accepted.

    Raises:
      InputError: the file is missing, empty, truncated, damaged, UTF-16, or has a NUL byte or a line of
        more than `MAX_LINE` bytes.
    """
    empty = True
    try:
        with open(path, 'rb') as raw:
            packed = raw.read(2) == b'\x1f\x8b'
            raw.seek(0)
            stream = io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 20) if packed else raw
            number = 0
            while line := stream.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise InputError(f'{path}: line {number} has more than {MAX_LINE:,} bytes, expected text')
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
    if empty:
        raise InputError(f'{path}: is empty')


def read_fasta(path: str | os.PathLike) -> Iterator[FastaRecord]:
    """The records of a FASTA file; the letters of a record may lie on several lines.

    Raises:
      InputError: as `read_lines`, or letters before the first header, a record without letters, or a
        record of more than `MAX_LINE` letters.
    """
    count, size = 0, 0
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
            count, pieces, size = count + 1, [], 0
            header = line.text[1:].strip().decode('utf-8', 'replace')
        elif text := line.text.strip():
            if header is None:
                raise InputError(f"{path}: line {line.number} is {brief(text)}, expected a FASTA header ('>...')")
            size += len(text)
            if size > MAX_LINE:
                raise InputError(f'{path}: record {count} ({brief(header)}) has more than {MAX_LINE:,} letters')
            pieces.append(text)
    if header is not None:
        yield finished(header)


def encode_all(path: str | os.PathLike, letters: list[bytes], names: list[str]) -> list[np.ndarray]:
    """Tokens of many sequences of one file, encoded in one go (the arrays are views of one buffer).

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
