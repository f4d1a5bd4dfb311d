"""Corpus: the sequences of all tasks in one flat array (pure)."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demo_jax import dna
from demo_jax.errors import InputError, listed, printable

SPLITS = ('train', 'valid', 'test')
ROLES = ('primary', 'cofactor', 'decoy')

INTERVAL_DTYPE = np.dtype([('chrom', '<i4'), ('start', '<i8'), ('strand', 'i1')])
SITE_DTYPE = np.dtype(
    [('row', '<i8'), ('start', '<i4'), ('width', '<i4'), ('strand', 'i1'), ('motif', '<i4'), ('role', 'u1')]
)


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """All sequences of all tasks. Rows are sorted by task, then split; nothing is padded.

    Attributes:
      tokens: uint8 (T,), all sequences one after the other.
      starts: int64 (N + 1,); sequence n is `tokens[starts[n]:starts[n + 1]]`.
      labels: uint8 (N,), 1 = bound.
      pairs: int64 (N,), an id that a positive shares with the shuffle made of it; -1 = unpaired.
      bounds: int64 (K, 4); rows `bounds[k, s]:bounds[k, s + 1]` are split s (see `SPLITS`) of task k.
      tasks: the K task names.
      name_bytes: uint8, the record names as UTF-8, one after the other.
      name_starts: int64 (N + 1,), where each name starts in `name_bytes`.
      intervals: `INTERVAL_DTYPE` (N,) or None: genome position of each row (chrom -1 = none, 0-based
        start, strand 1 or -1); `chrom` indexes `chroms`.
      chroms: chromosome names.
      sites: `SITE_DTYPE` (S,) or None: known motif sites. `start` is 0-based within the sequence, strand 1 or -1,
        `motif` indexes `site_motifs`, `role` indexes `ROLES`.
      site_motifs: motif ids.
      info: facts about the origin of the corpus, JSON-able.
    """

    tokens: np.ndarray
    starts: np.ndarray
    labels: np.ndarray
    pairs: np.ndarray
    bounds: np.ndarray
    tasks: tuple[str, ...]
    name_bytes: np.ndarray
    name_starts: np.ndarray
    intervals: np.ndarray | None = None
    chroms: tuple[str, ...] = ()
    sites: np.ndarray | None = None
    site_motifs: tuple[str, ...] = ()
    info: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def n_tasks(self) -> int:
        """How many tasks there are."""
        return len(self.tasks)

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """int64 (N,): the length of every sequence."""
        return np.diff(self.starts)

    def task_index(self, name: str) -> int:
        """The index of the task called `name`; if there is none, `InputError` lists the tasks."""
        try:
            return self.tasks.index(name)
        except ValueError:
            raise InputError(f'no task {name!r} in the corpus; its tasks are {listed(self.tasks)}') from None

    def rows(self, task: int | str, split: str) -> slice:
        """The rows of one split ('train', 'valid' or 'test') of a task, given by index or name.

        Raises:
          InputError: no such task or split; the message lists the existing ones.
        """
        task = self.task_index(task) if isinstance(task, str) else task
        if split not in SPLITS:
            raise InputError(f'no split {split!r}; the splits are {", ".join(SPLITS)}')
        number = SPLITS.index(split)
        return slice(int(self.bounds[task, number]), int(self.bounds[task, number + 1]))

    def padded(self, rows: slice | np.ndarray, length: int | None = None) -> np.ndarray:
        """Tokens of the given rows, uint8 (n, L), padded with N to `length` (default: the longest of them).

        Raises:
          ValueError: a sequence is longer than `length`.
        """
        index = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else np.asarray(rows)
        starts, sizes = np.asarray(self.starts[index]), np.asarray(self.lengths[index])
        longest = int(sizes.max(initial=0))
        length = longest if length is None else length
        if longest > length:
            raise ValueError(f'a sequence of {longest} letters does not fit in {length}')
        within = np.arange(length)
        position = np.minimum(starts[:, None] + within, max(len(self.tokens) - 1, 0))
        return np.where(within < sizes[:, None], self.tokens[position], np.uint8(dna.N))

    def sequence(self, row: int) -> str:
        """The letters of one row."""
        return dna.decode(self.tokens[self.starts[row] : self.starts[row + 1]])

    def name(self, row: int) -> str:
        """The record name of one row."""
        return self.name_bytes[self.name_starts[row] : self.name_starts[row + 1]].tobytes().decode('utf-8', 'replace')

    def fingerprint(self) -> str:
        """sha256, 64 hexadecimal digits, of tokens, starts, labels, pairs, bounds and task names."""
        digest = hashlib.sha256()
        for array, dtype in (
            (self.tokens, 'u1'),
            (self.starts, '<i8'),
            (self.labels, 'u1'),
            (self.pairs, '<i8'),
            (self.bounds, '<i8'),
        ):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array, dtype).data)
        digest.update('\0'.join(self.tasks).encode())
        return digest.hexdigest()

    def select(self, tasks: Sequence[str]) -> 'Corpus':
        """The corpus of only these tasks, in the order given; InputError for an unknown or repeated name."""
        if len(set(tasks)) != len(tasks):
            raise InputError(f'a task is selected twice: {listed(tasks)}')
        numbers = [self.task_index(name) for name in tasks]
        spans = [slice(int(self.bounds[k, 0]), int(self.bounds[k, -1])) for k in numbers]
        row_index = joined([np.arange(span.start, span.stop) for span in spans], np.int64)
        moved = np.full(len(self), -1, np.int64)
        moved[row_index] = np.arange(len(row_index))
        offsets = np.cumsum([0] + [span.stop - span.start for span in spans])
        bounds = [self.bounds[k] - self.bounds[k, 0] + offset for k, offset in zip(numbers, offsets, strict=False)]
        sites = None
        if self.sites is not None:
            sites = self.sites[moved[self.sites['row']] >= 0]
            sites['row'] = moved[sites['row']]
            sites = sites[np.argsort(sites['row'], kind='stable')]
        info = dict(self.info)
        if 'tasks' in info:
            info['tasks'] = {name: info['tasks'][name] for name in tasks if name in info['tasks']}
        return dataclasses.replace(
            self,
            tokens=joined([self.tokens[self.starts[s.start] : self.starts[s.stop]] for s in spans], np.uint8),
            starts=dna.cumulative(self.lengths[row_index]),
            labels=np.asarray(self.labels[row_index]),
            pairs=np.asarray(self.pairs[row_index]),
            bounds=np.array(bounds, np.int64).reshape(-1, 4),
            tasks=tuple(tasks),
            name_bytes=joined(
                [self.name_bytes[self.name_starts[s.start] : self.name_starts[s.stop]] for s in spans], np.uint8
            ),
            name_starts=dna.cumulative(np.diff(self.name_starts)[row_index]),
            intervals=None if self.intervals is None else np.asarray(self.intervals[row_index]),
            sites=sites,
            info=info,
        )


def clean_name(name: str) -> str:
    """A printable name: a run of white space becomes one blank, other unprintable characters are written as in `repr`.

    'my  task\\n' -> 'my task'; '' -> '_'. Ordinary names stay as they are.
    """
    return printable(' '.join(name.split())) or '_'


def joined(arrays: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    """The concatenated arrays, of the given dtype also if there are none."""
    return np.concatenate([np.zeros(0, dtype), *arrays]).astype(dtype, copy=False)
