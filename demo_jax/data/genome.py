"""FASTA files whose sequences are asked for by name and place: genomes, and small files (edge: touches the disk)."""

import contextlib
import gzip
import os
import pathlib
import tempfile
import zlib

from demo_jax.data.textfile import MAX_LETTERS, MAX_LINE, check_ratio, read_fasta
from demo_jax.errors import InputError, brief
from demo_jax.files import open_input

#: Letters of the longest line of a genome FASTA, which is read whole when the index is made.
MAX_GENOME_LINE = 300_000_000


class Genome:
    """A genome FASTA opened with pyfaidx; the index is made beside it, or in a temporary folder if it cannot be."""

    def __init__(self, path: str | os.PathLike) -> None:
        import pyfaidx

        self.path = pathlib.Path(path)
        if not os.path.lexists(path):
            raise InputError(f'{path}: does not exist, expected a genome FASTA')
        open_input(path).close()
        index = pathlib.Path(f'{path}.fai')
        if os.path.lexists(index):
            open_input(index).close()
        if not index.exists() or index.stat().st_mtime < self.path.stat().st_mtime:
            _check_genome(path)
        self._folder = None
        if not index.exists() and not os.access(self.path.absolute().parent, os.W_OK):
            self._folder = tempfile.TemporaryDirectory()
            index = pathlib.Path(self._folder.name) / index.name
        try:
            self._fasta = pyfaidx.Fasta(str(path), indexname=str(index), as_raw=True, rebuild=True)
            self.sizes = {name: len(self._fasta[name]) for name in self._fasta.keys()}  # noqa: SIM118 (records)
            if any(size >> 40 for size in self.sizes.values()):  # negative ones, too
                raise ValueError(f'letters by its index, of which one must be damaged: {self.sizes}')
            if not self._is_indexed_whole():
                raise ValueError(f'its index {index.name} ends before the file does; remove it')
        except Exception as error:  # pyfaidx has no common base class for what it raises
            self._clean()
            text = ' '.join(str(error).split())
            raise InputError(f'{path}: cannot be used as a genome FASTA ({brief(text, 200)})') from error

    def _is_indexed_whole(self) -> bool:
        """Whether nothing but line ends follows what the index knows (an index that was cut short lacks chromosomes).

        Of a compressed file, whose unpacked size is not known, it is taken to be so.
        """
        with open_input(self.path) as raw:
            if raw.read(2) == b'\x1f\x8b':
                return True
            raw.seek(0)
            last = max(self._fasta.faidx.index.values(), key=lambda entry: entry.offset, default=None)
            if last is not None:
                lines, rest = divmod(last.rlen, last.lenc or 1)  # a record without letters has lines of none
                raw.seek(last.offset + lines * last.lenb + rest)
            return not raw.read(1 << 16).strip()

    def letters(self, chrom: str, start: int, end: int) -> bytes:
        """The letters of [start, end), 0-based, which must lie on the chromosome.

        Raises:
          InputError: the file does not hold them, as when its index belongs to another file.
        """
        try:
            found = self._fasta[chrom][start:end].encode('latin-1')
        except Exception as error:  # as above
            text = ' '.join(str(error).split())
            raise InputError(f'{self.path}: {brief(chrom)} cannot be read ({brief(text, 200)})') from error
        if len(found) != end - start:
            raise InputError(
                f'{self.path}: has {len(found)} letters at {chrom}:{start}-{end}, expected {end - start}; if its index '
                f'({self.path.name}.fai) is of another file, remove it'
            )
        return found

    def close(self) -> None:
        """Close the file and remove a temporary index."""
        self._fasta.close()
        self._clean()

    def _clean(self) -> None:
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._folder.cleanup()


def _check_genome(path: str | os.PathLike) -> None:
    """See, before pyfaidx reads it line by line, that no line of a genome FASTA fills the memory."""
    with open_input(path) as raw:
        packed = raw.read(2) == b'\x1f\x8b'
        raw.seek(0)
        stream = gzip.GzipFile(fileobj=raw) if packed else raw
        size, line = 0, 0
        try:
            while block := stream.read(1 << 20):
                size += len(block)
                line = len(block) - 1 - block.rfind(b'\n') if b'\n' in block else line + len(block)
                if packed:
                    check_ratio(path, size, raw.tell())
                if line > MAX_GENOME_LINE:
                    raise InputError(f'{path}: has a line of more than {MAX_GENOME_LINE:,} letters')
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f'{path}: cannot be read ({error})') from error


class FastaInMemory:
    """The sequences of a FASTA file, by the first word of their headers; answers as `Genome` does."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = pathlib.Path(path)
        self._letters: dict[str, bytes] = {}
        for record in read_fasta(path, longest=MAX_LETTERS):
            name = (record.header.split() or [''])[0]
            if name in self._letters:
                raise InputError(f'{path}: record {record.number}: a second sequence is called {brief(name)}')
            self._letters[name] = record.letters
        self.sizes = {name: len(letters) for name, letters in self._letters.items()}

    def letters(self, chrom: str, start: int, end: int) -> bytes:
        """The letters of [start, end), 0-based, which must lie on the sequence."""
        return self._letters[chrom][start:end]

    def close(self) -> None:
        """Nothing is open."""


def open_fasta(path: str | os.PathLike) -> Genome | FastaInMemory:
    """A FASTA file whose sequences can be asked for by name and place.

    A file of up to 10 MB, plain or gzipped, is read into memory. A larger one (a genome), plain or
    block-gzipped (bgzip), is read where it lies, through an index that is made beside it (`.fai`).

    Raises:
      InputError: it cannot be read, or two sequences have the same name.
    """
    try:
        size = os.path.getsize(path)
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    return FastaInMemory(path) if size <= MAX_LINE else Genome(path)
