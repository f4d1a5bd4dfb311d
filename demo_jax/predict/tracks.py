"""Tracks for genome browsers as bigWig files: scores of windows, and contributions of bases (edge: writes files).

A file is written as its values come, so memory does not grow with the genome. Chromosomes are in the order of the
FASTA.
"""

import contextlib
import os
import pathlib
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from demo_jax import dna
from demo_jax.io import files
from demo_jax.predict.predictor import Predictor
from demo_jax.predict.windows import Block, Fasta, Record, check_fasta, read_blocks

#: What a track's name ends in if it is to be a bigWig file; any other name is BED.
SUFFIXES = ('.bw', '.bigwig')
#: Windows that are explained at a time.
_BLOCK = 1024


def is_bigwig(path: str | os.PathLike) -> bool:
    """Whether a track of this name is to be a bigWig file."""
    return pathlib.Path(path).suffix.lower() in SUFFIXES


def track_paths(path: pathlib.Path, models: Sequence[Predictor], suffix: str | None = None) -> list[pathlib.Path]:
    """The file of each model: of one model `path`; of several its stem with task and spec, and the seed if need be.

    Args:
      path: what the user called it, e.g. out.bw: out.CTCF.medium_cnn.bw.
      models: one or more.
      suffix: in place of that of the path.
    """
    suffix = path.suffix if suffix is None else suffix
    if len(models) == 1:
        return [path.with_suffix(suffix)]
    names = [f'{files.safe_name(model.task)}.{files.safe_name(model.spec)}' for model in models]
    count = Counter(names)
    names = [f'{n}.{model.seed}' if count[n] > 1 else n for n, model in zip(names, models, strict=True)]
    return [path.with_name(f'{path.stem}.{name}{suffix}') for name in names]


class BigWigs:
    """Bigwig files that are being written, one per model; they appear when all of it is done."""

    def __init__(self, stack: contextlib.ExitStack, paths: Sequence[pathlib.Path], fasta: Fasta) -> None:
        """Open the files.

        Args:
          stack: closes the files.
          paths: of the files.
          fasta: read with `sizes`, which become the chromosomes.

        Raises:
          ValueError: it was read without.
        """
        if not fasta.sizes:
            raise ValueError('the sizes of the records were not kept')
        self._files = [stack.enter_context(_writing(path, fasta.sizes)) for path in paths]
        self._of, self._end = -1, 0

    def add(self, record: Record, start: int, span: int, step: int, values: np.ndarray) -> None:
        """Values float (M, n) of stretches of `span` letters, every `step` letters from `start` on.

        Stretches come in the order of the file. What overlaps with an earlier stretch is cut off.
        """
        if record.number != self._of:
            self._of, self._end = record.number, 0
        cut = self._end - start
        if cut > 0:  # the first of them overlaps
            if span > cut:
                self._write(record, self._end, span - cut, span - cut, values[:, :1])
            start, values = start + step, values[:, 1:]
        if values.shape[1]:
            self._write(record, start, span, step, values)

    def _write(self, record: Record, start: int, span: int, step: int, values: np.ndarray) -> None:
        for file, row in zip(self._files, values, strict=True):
            file.add(record.name, start, span, step, row)
        self._end = start + step * (values.shape[1] - 1) + span


class _File:
    """A bigWig file that is being written: `handle` of pyBigWig, and the extremes of what it was given."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.lowest, self.highest = np.inf, -np.inf

    def add(self, chrom: str, start: int, span: int, step: int, values: np.ndarray) -> None:
        """Values float (n,), at least one, of stretches of `span` bases, every `step` bases from `start` on."""
        values = np.ascontiguousarray(values, np.float32)
        if span == step:
            self.handle.addEntries(chrom, int(start), values=values, span=int(span), step=int(step))
        else:  # the library takes a stretch to end where the next would begin, and refuses what begins before
            self.handle.addEntries(chrom, start + step * np.arange(len(values)), values=values, span=int(span))
        self.lowest = min(self.lowest, float(values.min()))
        self.highest = max(self.highest, float(values.max()))


@contextlib.contextmanager
def _writing(path: pathlib.Path, sizes: Iterable[tuple[str, int]]) -> Iterator[_File]:
    """A bigWig file that appears when the block ends without an error.

    It has no zoom levels: those of pyBigWig 0.3.29 lack the last block of each chromosome, and those of pybigtools
    0.3.0 fill gaps with the value behind them, so browsers would show means that are not there. Without them a browser
    takes means from the values.

    Args:
      path: the file.
      sizes: chromosomes and their letters, in the order of the file.
    """
    import pyBigWig

    with files.atomic_path(path) as temporary:
        # The file is there already: what the library cannot open ends the process.
        file = _File(pyBigWig.open(str(temporary), 'w'))
        try:
            file.handle.addHeader(list(sizes), maxZooms=0)
            yield file
        finally:
            file.handle.close()
        if np.isfinite(file.highest):
            _set_extremes(temporary, file.lowest, file.highest)


def _set_extremes(path: pathlib.Path, lowest: float, highest: float) -> None:
    """Write the lowest and the highest value into the summary of a bigWig file.

    pyBigWig 0.3.29 never takes the first value for the highest. The summary's place stands 44 bytes into the file; it
    holds the number of bases, the lowest, the highest, the sum and the sum of squares (Kent et al. 2010, supplement).
    """
    with open(path, 'r+b') as handle:
        handle.seek(44)
        (place,) = struct.unpack('<Q', handle.read(8))
        handle.seek(place + 8)
        handle.write(struct.pack('<dd', lowest, highest))


def add_scores(into: BigWigs, block: Block, scores: np.ndarray, stride: int) -> None:
    """Write the scores float (M, n) of a block's windows.

    The score of a window stands at the `stride` letters in its middle (or at all of it, if it has less); that of a
    record which is one window, at the whole record.
    """
    for run in _runs(block, stride):
        record, first = block.records[block.owner[run.start]], int(block.start[run.start])
        length = int(block.lengths[run.start])
        span = length if length < block.tokens.shape[1] else min(stride, length)
        into.add(record, first + (length - span) // 2, span, stride, scores[:, run])


def _runs(block: Block, stride: int) -> Iterator[slice]:
    """Windows that follow each other at the stride in one record."""
    first = np.flatnonzero(~block.follows(stride))
    for start, stop in zip(first, [*first[1:], len(block.owner)], strict=True):
        yield slice(int(start), int(stop))


class Stretch(NamedTuple):
    """Contributions of consecutive bases of a record.

    Attributes:
      record: the record.
      start: 0-based position of the first base.
      tokens: uint8 (L,), the letters.
      values: float32 (M, L), the contribution of each letter to the score of each of M models.
    """

    record: Record
    start: int
    tokens: np.ndarray
    values: np.ndarray


def explain_bases(
    models: Sequence[Predictor], fasta: Fasta, method: str, *, progress: bool = True
) -> Iterator[Stretch]:
    """Contributions of all bases of a file, in its order, in stretches of bounded length.

    Windows of the training length, which begin half a window apart, are explained, and each base takes its value from
    the window whose middle is nearest. Bases that lie in windows which are mostly N alone are left out.

    Args:
      models: of one run, from `choose_models`.
      fasta: from `check_fasta` with these models, whatever its stride.
      method: see `explain.attribution.attribute`.
      progress: show a bar over windows.

    Raises:
      InputError: the file has changed since it was checked, or an unknown method.
    """
    stride = max(1, fasta.width // 2)
    tiles = check_fasta(fasta.path, models, stride=stride, progress=False)
    total = tiles.n_windows * len(models)
    held: Stretch | None = None  # the last window so far, of which nothing is out yet
    left = 0  # where its own bases begin
    with tqdm(total=total, desc=method, unit='window', disable=not progress) as bar:
        for block in read_blocks(tiles, _BLOCK):
            texts = [dna.decode(row[:n]) for row, n in zip(block.tokens, block.lengths, strict=True)]
            values = []
            for model in models:
                values.append(model.attribute(method, texts).signed if texts else ())
                bar.update(len(texts))
            parts: list[Stretch] = []
            for i, n in enumerate(block.lengths.tolist()):
                record, start = block.records[block.owner[i]], int(block.start[i])
                now = Stretch(record, start, block.tokens[i, :n], np.stack([rows[i] for rows in values]))
                begin = start
                if held is not None:
                    end = held.start + len(held.tokens)
                    if held.record.number == record.number and start <= end:
                        begin = end = (held.start + start + n) // 2
                    parts.append(_part(held, left, end))
                held, left = now, begin
            yield from _joined(parts)
    if held is not None:
        yield _part(held, left, held.start + len(held.tokens))


def _part(of: Stretch, start: int, end: int) -> Stretch:
    """The bases from start to end, positions of the record."""
    here = slice(start - of.start, end - of.start)
    return Stretch(of.record, start, of.tokens[here], of.values[:, here])


def _joined(parts: Sequence[Stretch]) -> Iterator[Stretch]:
    """Stretches that follow each other in one record, as one."""
    first = 0
    for i in range(1, len(parts) + 1):
        before = parts[i - 1]
        same = i < len(parts) and parts[i].record.number == before.record.number
        if same and parts[i].start == before.start + len(before.tokens):
            continue
        run = parts[first:i]
        tokens = np.concatenate([part.tokens for part in run])
        values = np.concatenate([part.values for part in run], axis=1)
        yield Stretch(run[0].record, run[0].start, tokens, values)
        first = i


def write_contributions(
    models: Sequence[Predictor], fasta: Fasta, paths: Sequence[pathlib.Path], method: str, *, progress: bool = True
) -> int:
    """BigWig files of the contribution of every base, one per model, as browsers draw it with the letters ("dynseq").

    Args:
      models: see `explain_bases`, and so are fasta, method and progress.
      fasta: see above; read with `sizes`.
      paths: of the files.
      method: see above.
      progress: see above.

    Returns:
      How many bases have a value.

    Raises:
      InputError: as `explain_bases`.
    """
    n = 0
    with contextlib.ExitStack() as stack:
        into = BigWigs(stack, paths, fasta)
        for stretch in explain_bases(models, fasta, method, progress=progress):
            into.add(stretch.record, stretch.start, 1, 1, stretch.values)
            n += len(stretch.tokens)
    return n


def write_placed(
    path: pathlib.Path, chroms: Sequence[str], chrom: np.ndarray, place: np.ndarray, value: np.ndarray
) -> None:
    """A bigWig file of values of single bases.

    The size of a chromosome is not known here: it is written as the end of its last base.

    Args:
      path: the file.
      chroms: names, in the order of the file.
      chrom: int (n,), which of them.
      place: int (n,), 0-based positions; ascending within a chromosome, none twice. Chromosomes ascend, too.
      value: float (n,), at least one.
    """
    edges = np.flatnonzero((np.diff(chrom) != 0) | (np.diff(place) != 1)) + 1
    sizes = [(chroms[c], int(place[chrom == c].max()) + 1) for c in np.unique(chrom).tolist()]
    with _writing(path, sizes) as file:
        for run in np.split(np.arange(len(place)), edges):
            file.add(chroms[chrom[run[0]]], place[run[0]], 1, 1, value[run])
