"""FASTA files with random access by name and position: genomes, and small files (edge: touches the disk)."""

import os
import pathlib
import weakref
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from demo_jax.data.bgzip import Bgzip, is_bgzip
from demo_jax.data.fasta_index import LETTERS, index_fasta
from demo_jax.errors import InputError, brief
from demo_jax.io.filekinds import HEAD, check_kind
from demo_jax.io.files import open_input
from demo_jax.io.textfile import MAX_LETTERS, PART, read_blocks

_BLOCK = 1 << 20  # bytes that are looked at together
_NEARBY = 1 << 16  # letters that `Nearby` keeps


class Genome:
    """A FASTA file of any size, opened to read letters by name and position.

    Opening reads the file once, some seconds per gigabyte, to check every byte and to index the positions of the
    letters. After that, only the requested letters are read. No index file (`.fai`) is read or written, because an
    index of another file cannot always be recognised as wrong.

    A plain or block-gzipped (bgzip) file is read from disk; a file that is gzipped without blocks is kept in memory.

    Attributes:
      path: of the file.
      sizes: letters of each sequence, by its name (the first word of its header), in the file's order.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        """Open a file and index it.

        Raises:
          InputError: it cannot be read, is not a FASTA file (see `index_fasta`), or is gzipped without blocks and
            has more than `MAX_LETTERS` bytes.
        """
        self.path = pathlib.Path(path)
        if not os.path.lexists(path):
            raise InputError(f'{path}: does not exist, expected a FASTA file (a genome)')
        self._source = _opened(path)
        self._closing = weakref.finalize(self, self._source.close)  # if the caller does not close it
        try:
            self._index = index_fasta(path, _checked(path, self._source.blocks()))
        except BaseException:
            self.close()
            raise
        self.sizes = self._index.sizes

    def letters(self, chrom: str, start: int, end: int) -> bytes:
        """The letters [start, end), 0-based, of the sequence `chrom`.

        Raises:
          InputError: the file has changed since it was opened, or cannot be read.
          ValueError: the interval is not inside the sequence.
        """
        if not 0 <= start <= end <= self.sizes[chrom]:
            raise ValueError(f'{chrom}:{start}-{end} does not lie on its {self.sizes[chrom]} letters')
        pieces = [self._source.read(*span) for span in self._index.spans(chrom, start, end)]
        found = b''.join(pieces).translate(None, b' \t\r\n\x0b\x0c')
        if len(found) != end - start or found.translate(None, LETTERS):
            raise InputError(f'{self.path}: has changed since it was opened ({brief(chrom)}:{start}-{end})')
        return found

    def close(self) -> None:
        """Close the file."""
        self._closing()


class Nearby:
    """A genome from which letters are read that mostly lie near those read before: a stretch of it is kept in memory.

    Attributes:
      path, sizes: those of the genome.
    """

    def __init__(self, genome: Genome) -> None:
        """Read from an open genome."""
        self.path, self.sizes = genome.path, genome.sizes
        self._genome = genome
        self._chrom, self._first, self._held = '', 0, b''

    def letters(self, chrom: str, start: int, end: int) -> bytes:
        """As `Genome.letters`."""
        if chrom != self._chrom or start < self._first or end > self._first + len(self._held):
            if end - start > _NEARBY // 4 or not 0 <= start <= end <= self.sizes[chrom]:
                return self._genome.letters(chrom, start, end)
            first = max(0, start - _NEARBY // 8)
            held = self._genome.letters(chrom, first, min(first + _NEARBY, self.sizes[chrom]))
            self._chrom, self._first, self._held = chrom, first, held
        return self._held[start - self._first : end - self._first]


class _Source(Protocol):
    """The bytes of a file, unpacked."""

    def blocks(self) -> Iterator[bytes]:
        """All of them, in pieces."""

    def read(self, offset: int, size: int) -> bytes:
        """Some of them."""

    def close(self) -> None:
        """Let go of the file."""


class _Plain:
    """A file that is not compressed."""

    def __init__(self, path: str | os.PathLike, raw: BinaryIO) -> None:
        self._path, self._raw = path, raw

    def blocks(self) -> Iterator[bytes]:
        self._raw.seek(0)
        while block := self._read(_BLOCK):
            yield block

    def read(self, offset: int, size: int) -> bytes:
        self._raw.seek(offset)
        return self._read(size)

    def _read(self, size: int) -> bytes:
        try:
            return self._raw.read(size)
        except OSError as error:
            raise InputError(f'{self._path}: cannot be read ({error.strerror or error})') from error

    def close(self) -> None:
        self._raw.close()


class _Memory:
    """A gzipped file, unpacked into memory."""

    def __init__(self, path: str | os.PathLike) -> None:
        data = bytearray()
        for block in read_blocks(path, PART, 'FASTA'):
            data += block
            if len(data) > MAX_LETTERS:
                raise InputError(
                    f'{path}: is gzipped, and unpacks to more than {MAX_LETTERS:,} bytes; a genome is read unpacked '
                    '(gunzip) or packed in blocks (bgzip)'
                )
        self._data = memoryview(data)

    def blocks(self) -> Iterator[bytes]:
        for start in range(0, len(self._data), _BLOCK):
            yield bytes(self._data[start : start + _BLOCK])

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._data[offset : offset + size])

    def close(self) -> None:
        self._data = memoryview(b'')


def _checked(path: str | os.PathLike, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same blocks; `InputError` if the first bytes are those of another format."""
    for number, block in enumerate(blocks):
        if not number:
            check_kind(path, block[:HEAD], 'FASTA')
        yield block


def _opened(path: str | os.PathLike) -> _Source:
    """The file, opened by the format that its first bytes show."""
    raw = open_input(path)
    try:
        head = raw.peek(_BLOCK)
        if is_bgzip(head):
            return Bgzip(path, raw)
        if head[:2] != b'\x1f\x8b':
            return _Plain(path, raw)
    except BaseException:
        raw.close()
        raise
    raw.close()
    return _Memory(path)
