"""Windows over the sequences of a FASTA file of any size, held a block at a time (edge: reads files).

A file is read twice. The first pass checks that all of it can be scored and counts the windows; the second pass yields
the windows. Records come in parts, and each part keeps the last letters of the part before, so that no window is lost.
The first pass keeps 8 bytes per record (a hash of its name) to find records that share a name.
"""

import array
import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from demo_jax import dna
from demo_jax.errors import InputError, brief
from demo_jax.explain.score import shortest as shortest_of
from demo_jax.io.textfile import encode_part, read_fasta_parts
from demo_jax.predict.predictor import Predictor

_WHOLE = np.zeros(1, np.int64)  # the window starts of a sequence that is a single window


class Stretch(NamedTuple):
    """A part of a record, and the windows that can be cut from it.

    Attributes:
      number: of the record in the file, from 1.
      name: the first word of the record's header, 'record_7' if it has none; other records may have the same name.
      first: 0-based position in the record at which `tokens` begins.
      tokens: uint8 (L,).
      starts: int64 (n,), 0-based positions in the record at which windows begin, ascending; each lies within `tokens`.
      known: bool (n,), whether at most half of the window is N.
      last: whether the record ends with `tokens`.
    """

    number: int
    name: str
    first: int
    tokens: np.ndarray
    starts: np.ndarray
    known: np.ndarray
    last: bool


def read_stretches(path: str | os.PathLike, width: int, stride: int) -> Iterator[Stretch]:
    """Windows over every record: one every `stride` letters, and the last at the record's end.

    A record of up to `width` letters is one window. The windows do not depend on the parts in which a record is read.

    Args:
      path: a FASTA file, plain or gzipped.
      width: letters of a window.
      stride: letters from one window to the next.

    Raises:
      InputError: the file is not FASTA or empty, or a letter is not DNA; names the file and the record.
    """
    tail, following = np.zeros(0, np.uint8), 0
    for part in read_fasta_parts(path):
        name = (part.header.split() or [f'record_{part.number}'])[0]
        tokens = encode_part(path, part, name)
        if part.last and not part.start and len(tokens) <= width:  # a file may have millions of these
            known = ~dna.is_mostly_unknown(int(np.count_nonzero(tokens == dna.N)), len(tokens))[None]
            yield Stretch(part.number, name, 0, tokens, _WHOLE, known, True)
            continue
        if part.start:
            tokens = np.concatenate([tail, tokens])
        else:
            following = 0
        end = part.start + len(part.letters)
        first = end - len(tokens)
        starts = np.arange(following, end - width + 1, stride)
        following += stride * len(starts)
        if part.last and following - stride != max(end - width, 0):
            starts = np.append(starts, max(end - width, 0))
        unknown = np.zeros(len(tokens) + 1, np.int32)
        np.cumsum(tokens == dna.N, out=unknown[1:])
        at = starts - first
        known = ~dna.is_mostly_unknown(unknown[np.minimum(at + width, len(tokens))] - unknown[at], width)
        yield Stretch(part.number, name, first, tokens, starts, known, part.last)
        tail = tokens[max(len(tokens) - width, 0) :]


@dataclasses.dataclass(frozen=True, eq=False)
class SharedNames:
    """The names that several records of a file share, and the names that these records get instead.

    Their number in the file is added to the name: if the second and the third record are both called 'seq', they become
    'seq_record_2' and 'seq_record_3'. So the names of all records of a file differ.

    Attributes:
      n_records: how many records share their name with another record.
      digests: uint64 (n,), hashes of the shared names, ascending.
      mark: the text between name and number; no name in the file ends in it and a number.
    """

    n_records: int
    digests: np.ndarray
    mark: str

    def resolve(self, name: str, number: int) -> str:
        """The unique name of the record with this name and number (from 1)."""
        if not len(self.digests):
            return name
        digest = np.uint64(_digest(name))
        at = int(np.searchsorted(self.digests, digest))
        shared = at < len(self.digests) and self.digests[at] == digest
        return f'{name}{self.mark}{number}' if shared else name


class _Names:
    """Collects the names of a file's records as 8 bytes each."""

    def __init__(self) -> None:
        self._digests, self._blanks = array.array('Q'), 0

    def add(self, name: str) -> None:
        """Enter a record's name."""
        self._digests.append(_digest(name))
        if found := re.search(r'(_*)record_[0-9]+\Z', name):
            self._blanks = max(self._blanks, len(found[1]))

    def shared(self) -> SharedNames:
        """The names that several records share."""
        values, counts = np.unique(np.frombuffer(self._digests, np.uint64), return_counts=True)
        several = counts > 1
        return SharedNames(int(counts[several].sum()), values[several], f'{"_" * (self._blanks + 1)}record_')


def _digest(name: str) -> int:
    """A hash of a name, 64 bits."""
    return int.from_bytes(hashlib.blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=8).digest(), 'little')


@dataclasses.dataclass(frozen=True)
class Fasta:
    """A FASTA file that has been read once, and can be scored.

    Attributes:
      path: the file.
      width: letters per window; shorter sequences are one window.
      stride: letters from one window to the next.
      n_records: records in the file.
      n_windows: windows to score in the whole file. A window that is more than half N is skipped, unless every window
        of its record is.
      unknown: numbers (from 1) of the records whose windows are all more than half N.
      shared: the names that several records share.
      sizes: unique name and letters of each record, in the order of the file; empty unless they were asked for.
    """

    path: str | os.PathLike
    width: int
    stride: int
    n_records: int
    n_windows: int
    unknown: frozenset[int]
    shared: SharedNames
    sizes: tuple[tuple[str, int], ...] = ()


def check_fasta(
    path: str | os.PathLike,
    models: Sequence[Predictor],
    *,
    stride: int = 10,
    progress: bool = True,
    sizes: bool = False,
) -> Fasta:
    """Read a FASTA file of any size, plain or gzipped, and check that the models can score all of it.

    Args:
      path: the file.
      models: of one run, from `choose_models`; windows are as long as the longest sequence they were trained on.
      stride: letters from one window to the next, e.g. 1 for all of them.
      progress: show a bar over letters.
      sizes: keep the names and lengths of all records, which takes memory for each.

    Raises:
      InputError: the stride is not positive, the file is not FASTA or is empty, a letter is not DNA, or a sequence is
        too short for one of the models; names the file, the record and the position.
    """
    if stride < 1:
        raise InputError(f'stride is {stride}, expected 1 or more')
    needy = max(models, key=lambda model: shortest_of(model.score))
    shortest, width = shortest_of(needy.score), models[0].length
    n_records, n_windows, unknown, names = 0, 0, set[int](), _Names()
    listed: list[tuple[str, int]] = []
    known, every, before = 0, 0, 0  # of the current record: good windows, all windows, and letters so far
    with tqdm(desc='reading', unit='letter', unit_scale=True, disable=not progress) as bar:
        for stretch in read_stretches(path, width, stride):
            known, every = known + int(np.count_nonzero(stretch.known)), every + len(stretch.starts)
            length = stretch.first + len(stretch.tokens)
            bar.update(length - before)
            before = length
            if not stretch.last:
                continue
            if length < shortest:
                raise InputError(
                    f'{path}: record {stretch.number} ({brief(stretch.name)}) has {length} letters, {needy.spec} needs '
                    f'at least {shortest}'
                )
            names.add(stretch.name)
            if sizes:
                listed.append((stretch.name, length))
            n_records, n_windows = n_records + 1, n_windows + (known or every)
            if not known:
                unknown.add(stretch.number)
            known = every = before = 0
    shared = names.shared()
    unique = tuple((shared.resolve(name, i), length) for i, (name, length) in enumerate(listed, start=1))
    return Fasta(path, width, stride, n_records, n_windows, frozenset(unknown), shared, unique)


@dataclasses.dataclass(eq=False)
class Record:
    """A record: its number in the file (from 1) and its unique name.

    `length` (letters) and `n_windows` (windows to score) grow while the record is read.
    """

    number: int
    name: str
    length: int = 0
    n_windows: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """Consecutive windows of a file.

    Attributes:
      records: the R records that have windows in this block.
      owner: int64 (n,), the index in `records` of each window's record; ascending.
      start: int64 (n,), 0-based position in the record at which the window begins.
      lengths: int32 (n,), letters of the window; less than the width if a short record is one window.
      tokens: uint8 (n, width), padded with N.
      ended: records whose last window is in this block or before it, in the order of the file.
    """

    records: list[Record]
    owner: np.ndarray
    start: np.ndarray
    lengths: np.ndarray
    tokens: np.ndarray
    ended: list[Record]

    def follows(self, stride: int) -> np.ndarray:
        """Bool (n,), whether a window begins `stride` letters behind the window before it, in the same record."""
        found = np.zeros(len(self.owner), bool)
        found[1:] = (np.diff(self.start) == stride) & (np.diff(self.owner) == 0)
        return found


class _Filling:
    """The block that is being filled."""

    def __init__(self, size: int, width: int) -> None:
        self.size, self.width = size, width
        self.owner, self.start = np.empty(size, np.int64), np.empty(size, np.int64)
        self.lengths, self.tokens = np.empty(size, np.int32), np.full((size, width), dna.N, np.uint8)
        self.records: list[Record] = []
        self.ended: list[Record] = []
        self.n = 0

    def add(self, record: Record, stretch: Stretch, starts: np.ndarray) -> int:
        """Add the windows of a stretch at starts, int64 (n,), while there is room; returns how many were added."""
        if not self.records or self.records[-1] is not record:
            self.records.append(record)
        at = starts[: self.size - self.n] - stretch.first
        here = slice(self.n, self.n + len(at))
        length = min(self.width, len(stretch.tokens))
        whole = length == len(stretch.tokens)  # one window
        views = stretch.tokens[None] if whole else np.lib.stride_tricks.sliding_window_view(stretch.tokens, length)[at]
        self.tokens[here, :length] = views
        self.start[here], self.owner[here], self.lengths[here] = at + stretch.first, len(self.records) - 1, length
        self.n += len(at)
        record.n_windows += len(at)
        return len(at)

    def block(self) -> Block:
        """The windows that were added so far."""
        n = self.n
        return Block(self.records, self.owner[:n], self.start[:n], self.lengths[:n], self.tokens[:n], self.ended)


def read_blocks(fasta: Fasta, size: int) -> Iterator[Block]:
    """The windows to score, in the order of the file, `size` at a time.

    Raises:
      InputError: the file has changed since `check_fasta` read it.
    """
    filling, record, n_windows, n_records = _Filling(size, fasta.width), Record(0, ''), 0, 0
    for stretch in read_stretches(fasta.path, fasta.width, fasta.stride):
        if stretch.number != record.number:
            record = Record(stretch.number, fasta.shared.resolve(stretch.name, stretch.number))
        starts = stretch.starts if record.number in fasta.unknown else stretch.starts[stretch.known]
        while len(starts):
            starts = starts[filling.add(record, stretch, starts) :]
            if filling.n == size:
                yield filling.block()
                filling = _Filling(size, fasta.width)
        record.length = stretch.first + len(stretch.tokens)
        if stretch.last:
            n_records, n_windows = n_records + 1, n_windows + record.n_windows
            if not record.n_windows:
                break
            filling.ended.append(record)
    if (n_records, n_windows) != (fasta.n_records, fasta.n_windows):
        raise InputError(f'{fasta.path}: has changed while it was read')
    if filling.n or filling.ended:
        yield filling.block()
