"""The sequences that a training reads, as rectangular arrays that live on the device (pure)."""

import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np
from flax import struct

from demo_jax import dna
from demo_jax.data.corpus import SPLITS, Corpus
from demo_jax.nn.kernels import Array


@struct.dataclass
class Pool:
    """Rows of tokens that jobs address by number.

    Attributes:
      tokens: uint8 (R, L), padded with N.
      labels: int32 (R,), 1 = bound.
      lengths: int32 (R,), or None when every sequence has L letters (the faster program).
    """

    tokens: Array
    labels: Array
    lengths: Array | None


@dataclasses.dataclass(frozen=True)
class TaskRows:
    """Where one task's sequences lie in a `Pool`.

    Attributes:
      train: int32 (n, K): row of each training example in each of K sets of negatives. A positive
        (and a negative that is no shuffle) has the same row in all.
      valid: int32 (n,).
      test: int32 (n,).
      first: int32 (n,), training examples with shuffles in the place of paired negatives that are none; None where
        there is no such negative, or nobody asked.
      folds: the same of each fold; none where the task has one split.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    first: np.ndarray | None = None
    folds: tuple['TaskRows', ...] = ()

    def of(self, fold: int) -> 'TaskRows':
        """The rows of a job of this fold, from 1; 0 = the one split."""
        return self.folds[fold - 1] if fold else self

    def parted(self, numbers: np.ndarray) -> 'TaskRows':
        """The same with folds: `numbers` int (n,) is the fold of each training row, from 1."""
        rows = []
        for fold in range(1, int(numbers.max(initial=0)) + 1):
            apart = numbers == fold
            first = None if self.first is None else self.first[~apart]
            rows.append(dataclasses.replace(self, train=self.train[~apart], valid=self.train[apart, 0], first=first))
        return dataclasses.replace(self, folds=tuple(rows))


_BLOCK = 100_000  # rows laid out at once: their positions take 8 bytes per letter


def name_seed(name: str) -> int:
    """A number that depends on a task's name alone, so that its random streams ignore its company."""
    return zlib.crc32(name.encode())


def build_pool(
    corpus: Corpus,
    *,
    negative_sets: int = 1,
    shuffles_first: bool = False,
    seed: int = 0,
    folds: np.ndarray | None = None,
) -> tuple[Pool, dict[str, TaskRows]]:
    """Lay out a corpus for training.

    Args:
      corpus: the sequences; `corpus.select(tasks)` narrows them.
      negative_sets: how many dinucleotide shuffles each positive of the training split has, counting
        the one in the corpus. Epochs draw from all of them. 1 keeps the corpus as it is. A negative that is
        paired but no shuffle, because something was planted in it or in its positive, stays the only one. A shuffle
        that comes out as its positive is drawn again; where that does not help, the one in the corpus is used again.
      shuffles_first: also make a shuffle of each positive whose paired negative is none, for `TaskRows.first`.
      seed: of the further shuffles; each task's also depend on its name.
      folds: int (N,), the fold of each row of the corpus (see `data.folds`): validation rows then train, too, and the
        rows of each task have `folds`. None: one split.

    Returns:
      The pool (NumPy arrays) and the rows of each task.
    """
    length = int(corpus.lengths.max(initial=1))
    shuffles: list[np.ndarray] = []
    lengths, labels = [corpus.lengths], [np.asarray(corpus.labels)]
    rows: dict[str, TaskRows] = {}
    used = len(corpus)
    for task in corpus.tasks:
        span = {split: np.arange(len(corpus))[corpus.rows(task, split)] for split in SPLITS}
        if folds is not None:
            span['train'] = np.concatenate([span['train'], span['valid']])
        train = np.repeat(span['train'][:, None], max(negative_sets, 1), axis=1)
        positive_of = _positive_of(corpus, span['train'])
        paired = np.flatnonzero(positive_of >= 0)
        plain = _are_shuffles(corpus, span['train'][paired], positive_of[paired])
        redrawn, others = paired[plain], paired[~plain]
        source = positive_of[redrawn]
        rng = np.random.default_rng([seed, name_seed(task), 1])
        for k in range(1, negative_sets):
            if not len(redrawn):
                break
            padded, sizes = corpus.padded(source, length), corpus.lengths[source]
            drawn, same = dna.different_shuffle(padded, rng, lengths=sizes)
            drawn[same] = corpus.padded(span['train'][redrawn[same]], length)
            shuffles.append(drawn)
            lengths.append(sizes)
            labels.append(np.zeros(len(source), np.uint8))
            train[redrawn, k] = np.arange(used, used + len(source))
            used += len(source)
        first = None
        if shuffles_first and len(others):
            source = positive_of[others]
            drawn, _ = dna.different_shuffle(corpus.padded(source, length), rng, lengths=corpus.lengths[source])
            shuffles.append(drawn)
            lengths.append(corpus.lengths[source])
            labels.append(np.zeros(len(source), np.uint8))
            first = train[:, 0].astype(np.int32)
            first[others] = np.arange(used, used + len(source))
            used += len(source)
        rows[task] = TaskRows(
            train=train.astype(np.int32),
            valid=span['valid'].astype(np.int32),
            test=span['test'].astype(np.int32),
            first=first,
        )
        if folds is not None:
            rows[task] = rows[task].parted(np.asarray(folds[span['train']]))
    all_lengths = np.concatenate(lengths)
    pool = Pool(
        tokens=_all_tokens(corpus, shuffles, (used, length)),
        labels=np.concatenate(labels).astype(np.int32),
        lengths=None if (all_lengths == length).all() else all_lengths.astype(np.int32),
    )
    return pool, rows


def _all_tokens(corpus: Corpus, shuffles: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """The corpus and then the shuffles (which are used up), uint8 of this shape.

    The array starts at a multiple of 64 bytes: JAX's CPU devices then all read this one, instead of a copy each.
    """
    space = np.empty(shape[0] * shape[1] + 64, np.uint8)
    start = -space.ctypes.data % 64
    tokens = space[start : start + shape[0] * shape[1]].reshape(shape)
    for first in range(0, len(corpus), _BLOCK):
        block = slice(first, min(first + _BLOCK, len(corpus)))
        tokens[block] = corpus.padded(block, shape[1])
    at = len(corpus)
    for part in shuffles:
        tokens[at : at + len(part)] = part
        at += len(part)
    shuffles.clear()
    return tokens


def _positive_of(corpus: Corpus, rows: np.ndarray) -> np.ndarray:
    """For each row, the row of the positive it is a shuffle of; -1 for positives and unpaired rows."""
    pairs, labels = np.asarray(corpus.pairs[rows]), np.asarray(corpus.labels[rows])
    positives = (labels == 1) & (pairs >= 0)
    order = np.argsort(pairs[positives], kind='stable')
    ids, owners = pairs[positives][order], rows[positives][order]
    result = np.full(len(rows), -1, np.int64)
    if len(ids):
        at = np.minimum(np.searchsorted(ids, pairs), len(ids) - 1)
        shuffled = (labels == 0) & (pairs >= 0) & (ids[at] == pairs)
        result[shuffled] = owners[at[shuffled]]
    return result


def _are_shuffles(corpus: Corpus, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """bool (n,): whether each row is a dinucleotide shuffle of the other, or as good as one."""
    counts = [dna.dinucleotide_counts(corpus.padded(part), corpus.lengths[part]) for part in (rows, others)]
    return (counts[0] == counts[1]).all(axis=1)


def shortest(corpus: Corpus, tasks: Sequence[str]) -> dict[str, int]:
    """The length in bp of the shortest sequence of each task."""
    result = {}
    for task in tasks:
        k = corpus.task_index(task)
        result[task] = int(corpus.lengths[corpus.bounds[k, 0] : corpus.bounds[k, -1]].min())
    return result
