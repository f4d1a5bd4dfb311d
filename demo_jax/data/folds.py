"""Folds: each training sequence is set aside for validation by one model, and trains the others (pure).

The folds part a task's training and validation sequences; test sequences are in none. Where the sequences lie on a
genome, a chromosome is in one fold as a whole. Sequences that `splits.related` puts together (a positive and its
shuffle, windows that overlap, equal letters) are in one fold in any case.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from demo_jax.data.build import task_rng
from demo_jax.data.corpus import Corpus
from demo_jax.data.splits import related
from demo_jax.errors import InputError, brief, listed

#: How sequences are dealt to folds: by chromosome where they have any, or always by pair.
WAYS = ('auto', 'pair')


class Folds(NamedTuple):
    """The folds of a corpus.

    Attributes:
      number: int16 (N,), of each row of the corpus, from 1; 0 for test rows.
      rows: of the table of folds, with `FOLD_COLUMNS`.
      notes: what is to be said about them.
    """

    number: np.ndarray
    rows: list[dict[str, Any]]
    notes: list[str]


FOLD_COLUMNS = ('task', 'fold', 'by', 'positives', 'negatives', 'chromosomes')


def make_folds(corpus: Corpus, n_folds: int, *, way: str = 'auto', seed: int = 0) -> Folds:
    """Deal the training and validation rows of every task to folds.

    Chromosomes are dealt whole, the fullest first, each to the fold that is the emptiest by then; so are, where there
    are none, groups of related sequences, in an order that depends on (seed, task name). A task's folds do not
    depend on the other tasks. A sequence without a place goes with what it is related to. Of equal letters on two
    chromosomes the later goes with the first, and is counted in the notes.

    Args:
      corpus: the sequences.
      n_folds: 2 or more.
      way: 'auto': by chromosome in tasks whose positives have one, else by pair; 'pair': always by pair.
      seed: of the order.

    Raises:
      InputError: numbers out of range, or a fold that would hold no positives or no negatives; names the task.
      ValueError: a window overlaps one of another fold, which `splits.related` rules out.
    """
    if n_folds < 2:
        raise InputError(f'folds is {n_folds}, expected 2 or more to part sequences (1 = one split)')
    if way not in WAYS:
        raise InputError(f'fold_by is {brief(way)}, expected one of {", ".join(WAYS)}')
    number = np.zeros(len(corpus), np.int16)
    rows: list[dict[str, Any]] = []
    moved = 0
    for task in corpus.tasks:
        span = slice(corpus.rows(task, 'train').start, corpus.rows(task, 'valid').stop)
        places = _places(corpus, span)
        groups = related(_tokens(corpus, span), np.asarray(corpus.pairs[span]), places)
        labels = np.asarray(corpus.labels[span])
        chroms = None if places is None or way == 'pair' else _chromosomes(places, labels)
        rng = task_rng(seed, task, 'folds')
        own, fold_of = (
            _dealt(labels, groups, n_folds, rng) if chroms is None else _by_chromosome(chroms, groups, n_folds)
        )
        number[span] = own
        names = {} if chroms is None else fold_of
        moved += (
            0
            if chroms is None
            else sum(name in names and names[name] != k for name, k in zip(chroms, own, strict=True))
        )
        _check(task, labels, own, n_folds, names)
        for fold in range(1, n_folds + 1):
            inside = labels[own == fold]
            rows.append(
                {
                    'task': task,
                    'fold': fold,
                    'by': 'pair' if chroms is None else 'chromosome',
                    'positives': int((inside == 1).sum()),
                    'negatives': int((inside == 0).sum()),
                    'chromosomes': ','.join(sorted(name for name, of in names.items() if of == fold)),
                }
            )
        crossing = 0 if places is None else overlaps_across(places, corpus.lengths[span], own)
        if crossing:  # `related` keeps them together
            raise ValueError(f'task {task!r}: {crossing} windows overlap one of another fold')
    notes = [f'{moved:,} sequences are in another fold than their chromosome, with equal letters'] * bool(moved)
    return Folds(number, rows, notes)


def _tokens(corpus: Corpus, span: slice) -> list[np.ndarray]:
    starts = np.asarray(corpus.starts[span.start : span.stop + 1])
    return [np.asarray(corpus.tokens[start:stop]) for start, stop in zip(starts[:-1], starts[1:], strict=True)]


def _places(corpus: Corpus, span: slice) -> list[tuple[str | None, int, int]] | None:
    """Chromosome (or None), start and strand of each row; None where no row has a chromosome."""
    if corpus.intervals is None or not (corpus.intervals['chrom'][span] >= 0).any():
        return None
    return [
        (corpus.chroms[chrom] if chrom >= 0 else None, start, strand)
        for chrom, start, strand in np.asarray(corpus.intervals[span]).tolist()
    ]


def _chromosomes(places: Sequence[tuple[str | None, int, int]], labels: np.ndarray) -> list[str | None] | None:
    """The chromosome of each row, that of the whole for UCSC's pieces ('chr1_KI270706v1_random').

    None where a positive has none: then there is nothing to part by.
    """
    known = {place[0] for place in places}
    found = []
    for (name, _, _), label in zip(places, labels, strict=True):
        if name is None and label:
            return None
        whole = None if name is None else name.split('_')[0]
        found.append(whole if whole in known else name)
    return found


def _by_chromosome(chroms: Sequence[str | None], groups: np.ndarray, n_folds: int) -> tuple[np.ndarray, dict[str, int]]:
    """The fold of each row, from 1, and of each chromosome."""
    sizes: dict[str, int] = {}
    of_group: dict[int, str] = {}
    for name, group in zip(chroms, groups.tolist(), strict=True):
        if name is not None:
            of_group.setdefault(group, name)
    for group in groups.tolist():
        if group in of_group:
            sizes[of_group[group]] = sizes.get(of_group[group], 0) + 1
    for name in chroms:
        if name is not None:
            sizes.setdefault(name, 0)
    filled = [0] * n_folds
    fold_of: dict[str, int] = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        fold = filled.index(min(filled))
        filled[fold] += sizes[name]
        fold_of[name] = fold + 1
    emptiest = filled.index(min(filled)) + 1
    own = [fold_of[of_group[group]] if group in of_group else emptiest for group in groups.tolist()]
    return np.array(own, np.int16), fold_of


def _dealt(
    labels: np.ndarray, groups: np.ndarray, n_folds: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, int]]:
    """The fold of each row, from 1: groups in random order, the largest first, each to the fold with the fewest."""
    ids, which = np.unique(groups, return_inverse=True)
    positives = np.bincount(which, labels, len(ids)).astype(int)
    sizes = np.bincount(which, minlength=len(ids))
    order = rng.permutation(len(ids))
    order = order[np.argsort(-sizes[order], kind='stable')]
    filled = np.zeros((n_folds, 2), int)
    fold = np.zeros(len(ids), np.int16)
    for group in order.tolist():
        counts = np.array([positives[group], sizes[group] - positives[group]])
        load = filled[:, counts > 0].sum(axis=1)
        chosen = int(load.argmin())
        fold[group] = chosen + 1
        filled[chosen] += counts
    return fold[which], {}


def _check(task: str, labels: np.ndarray, own: np.ndarray, n_folds: int, fold_of: dict[str, int]) -> None:
    """See that every fold has both classes."""
    for label, what in ((1, 'positives'), (0, 'negatives')):
        here = np.bincount(own[labels == label], minlength=n_folds + 1)[1:]
        if here.all():
            continue
        empty = int(here.argmin()) + 1
        if fold_of:
            where = f'its sequences lie on {listed(sorted(fold_of), 4)}; ask for fewer folds, or fold_by=pair'
        else:
            where = f'it has {int((labels == label).sum())} in groups that belong together; ask for fewer folds'
        raise InputError(f'task {task!r}: fold {empty} of {n_folds} has no {what} ({where})')


def overlaps_across(places: Sequence[tuple[str | None, int, int]], lengths: np.ndarray, folds: np.ndarray) -> int:
    """How many windows overlap one of another fold, each counted with the nearest such window before it.

    Args:
      places: chromosome (or None), 0-based start and strand of n windows.
      lengths: int (n,), bp.
      folds: int (n,).
    """
    order = sorted((str(place[0]), place[1], row) for row, place in enumerate(places) if place[0] is not None)
    count, before = 0, ''
    ends: dict[int, int] = {}
    for chrom, start, row in order:
        if chrom != before:
            before, ends = chrom, {}
        fold = int(folds[row])
        count += any(end > start for other, end in ends.items() if other != fold)
        ends[fold] = max(ends.get(fold, 0), start + int(lengths[row]))
    return count


def split_rows(
    corpus: Corpus, task: str, split: str, *, fold: int = 0, numbers: np.ndarray | None = None
) -> np.ndarray:
    """The rows int64 (n,) of a task that train or judge a model of a fold.

    Args:
      corpus: the sequences.
      task: a name.
      split: 'train', 'valid' or 'test'.
      fold: from 1; 0: the rows of the corpus' one split.
      numbers: int (N,), as in `Folds`; needed where there are folds.

    Raises:
      ValueError: it is needed and missing.
    """
    if not fold or split == 'test':
        return np.arange(len(corpus))[corpus.rows(task, split)]
    if numbers is None:
        raise ValueError('the folds of the corpus are not given')
    rows = np.arange(corpus.rows(task, 'train').start, corpus.rows(task, 'valid').stop)
    return rows[(np.asarray(numbers[rows]) == fold) == (split == 'valid')]
