"""From the records that readers and the simulation give to a `Corpus`: pairs, shuffles, validation rows (pure)."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demo_jax import dna
from demo_jax.data.corpus import INTERVAL_DTYPE, ROLES, SITE_DTYPE, SPLITS, Corpus, clean_name, joined
from demo_jax.data.splits import choose_rows, either_strand, related
from demo_jax.dna import cumulative
from demo_jax.errors import InputError, brief


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
    """Labelled sequences of one part (training or test) of a task.

    Attributes:
      tokens: n uint8 arrays, one per sequence.
      labels: n times 0 or 1.
      names: n record names.
      pairs: int (n,), equal for a positive and its shuffle, -1 = unpaired. None: not known; pairs are
        then found by equal dinucleotide counts (`find_pairs`).
      intervals: n times (chromosome or None, 0-based start, strand 1 or -1), or None.
      sites: known sites as (row in this part, start, width, strand, motif id, role name), or None.
      left_out: how many sequences were left out when these were read or made, by the reason.
    """

    tokens: Sequence[np.ndarray]
    labels: Sequence[int] | np.ndarray
    names: Sequence[str]
    pairs: np.ndarray | None = None
    intervals: Sequence[tuple[str | None, int, int]] | None = None
    sites: Sequence[tuple[int, int, int, int, str, str]] | None = None
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def chosen(self, rows: np.ndarray) -> 'Records':
        """The records of some rows, which are int (n,) in ascending order."""
        sites = None
        if self.sites is not None:
            moved = {row: number for number, row in enumerate(rows.tolist())}
            sites = [(moved[site[0]], *site[1:]) for site in self.sites if site[0] in moved]
        return dataclasses.replace(
            self,
            tokens=[self.tokens[row] for row in rows],
            labels=np.asarray(self.labels, np.uint8)[rows],
            names=[self.names[row] for row in rows],
            pairs=None if self.pairs is None else np.asarray(self.pairs)[rows],
            intervals=None if self.intervals is None else [self.intervals[row] for row in rows],
            sites=sites,
        )

    def without(self, rows: np.ndarray, reason: str) -> 'Records':
        """These records without some rows, bool (n,), and their partners; a pair counts as one left out."""
        if not rows.any():
            return self
        pairs = np.full(len(self.labels), -1) if self.pairs is None else np.asarray(self.pairs)
        gone = set(pairs[rows & (pairs >= 0)].tolist())
        count = int((rows & (pairs < 0)).sum()) + len(gone)
        rows = rows | np.isin(pairs, list(gone))
        left_out = {**self.left_out, reason: self.left_out.get(reason, 0) + count}
        return dataclasses.replace(self.chosen(np.flatnonzero(~rows)), left_out=left_out)


@dataclasses.dataclass(frozen=True, eq=False)
class TaskRecords:
    """What is known of one task: its name, a training and a test part, and facts (JSON-able)."""

    name: str
    train: Records
    test: Records
    info: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def task_rng(seed: int, task: str, purpose: str) -> np.random.Generator:
    """Randomness that depends on the seed, the task's name and the purpose alone, not on other tasks."""
    digest = hashlib.sha256(f'{seed}\0{task}\0{purpose}'.encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, '<u4'))


def build_corpus(
    task_records: Sequence[TaskRecords],
    *,
    valid_fraction: float = 0.1,
    seed: int = 0,
    source: str = '',
) -> Corpus:
    """Lay out the records of all tasks as one `Corpus`.

    A training part without negatives gets one dinucleotide shuffle of every positive. A positive and
    its shuffle always share a split. A task's validation split is a stratified `valid_fraction` of its
    training pairs and unpaired rows (at least one positive and one negative); which ones depends on
    (seed, task name) alone. Windows that overlap and equal sequences are in one of the two (`splits.related`). Test
    sequences that the training part holds too, on either strand, are counted in the task's info.

    Sequences that are mostly N are left out, and so are training pairs of two equal sequences; both are counted in the
    task's `info['dropped']`. Equal pairs for testing are kept, and counted in its `info['equal_test_pairs']`.

    Args:
      task_records: the tasks, in the order in which they will stand.
      valid_fraction: share of the training part that becomes validation, above 0 and below 1.
      seed: seeds the shuffles and the choice of the validation rows.
      source: a word for `info['source']`.

    Raises:
      InputError: no tasks, a task twice or with a name that tables cannot hold (see `corpus.clean_name`), or a
        split of a task that lacks one of the two classes.
    """
    if not 0 < valid_fraction < 1:
        raise InputError(f'valid_fraction is {valid_fraction}, expected a number above 0 and below 1')
    if not task_records:
        raise InputError('no tasks: there is nothing to make a corpus of')
    for name, count in Counter(task.name for task in task_records).items():
        if count > 1:
            raise InputError(f'task {name!r} occurs {count} times, expected every task once')
        if name != clean_name(name):
            raise InputError(f'task {name!r}: tables cannot hold this name, expected e.g. {clean_name(name)!r}')

    parts: list[_Part] = []
    facts = {}
    for task in task_records:
        make = all(task.train.labels)
        given = add_shuffles(task.train, task_rng(seed, task.name, 'shuffle')) if make else task.train
        made = len(given.labels) // 2 if make else 0
        given, held = (
            without_unknown(_paired(records, f'task {task.name!r}, {split}'))
            for split, records in (('train', given), ('test', task.test))
        )
        given, equal = given.without(equal_pairs(given), EQUAL_PAIR), int(equal_pairs(held).sum()) // 2
        train, test = _prepared(task.name, 'train', given), _prepared(task.name, 'test', held)
        is_valid = _set_aside(given, train.pairs, valid_fraction, task_rng(seed, task.name, 'valid'), task.name)
        seen = {either_strand(sequence) for sequence in given.tokens}
        again = sum(either_strand(sequence) in seen for sequence in held.tokens)
        counts = {}
        for split, part in zip(SPLITS, (_taken(train, ~is_valid), _taken(train, is_valid), test), strict=True):
            counts[split] = _counts(task.name, split, part, len(train.labels))
            parts.append(part)
        dropped = Counter(task.info.get('dropped', {})) + Counter(given.left_out) + Counter(held.left_out)
        facts[task.name] = {
            'shuffles_made': made,
            **task.info,
            'counts': counts,
            'dropped': {**task.info.get('dropped', {}), **dropped},
            'equal_test_pairs': equal,
            'test_in_training': again,
        }
    info = {'source': source, 'seed': seed, 'valid_fraction': valid_fraction, 'tasks': facts}
    return _assembled(parts, tuple(facts), info)


def find_pairs(tokens: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Pair positives with negatives of equal dinucleotide counts and equal first and last letter.

    Args:
      tokens: n uint8 arrays.
      labels: (n,), 0 or 1.

    Returns:
      int64 (n,): an id shared by the two of a pair, -1 for rows without a partner. Where several
      candidates fit they are paired in the order in which they stand.
    """
    waiting: dict[bytes, list[int]] = {}
    pairs = np.full(len(tokens), -1, np.int64)
    found = 0
    for row in np.argsort(-np.asarray(labels, np.int64), kind='stable'):  # positives first
        sequence = tokens[row]
        counts = np.bincount(sequence[:-1] * np.uint8(5) + sequence[1:], minlength=25)
        key = counts.tobytes() + sequence[:1].tobytes() + sequence[-1:].tobytes()
        if labels[row]:
            waiting.setdefault(key, []).append(row)
        elif waiting.get(key):
            pairs[[waiting[key].pop(0), row]] = found
            found += 1
    return pairs


#: Why sequences are left out, as keys of `info['dropped']`.
MOSTLY_N, NO_SHUFFLE, EQUAL_PAIR = 'mostly_N', 'without_another_shuffle', 'equal_to_their_negative'


def add_shuffles(records: Records, rng: np.random.Generator) -> Records:
    """The positives followed by one dinucleotide shuffle of each, paired; `records` holds positives only.

    Positives that are mostly N, and those whose only shuffle is themselves, are left out and counted.
    """
    records = without_unknown(records)
    shuffles, same = _shuffled(records.tokens, rng)
    records = records.without(same, NO_SHUFFLE)
    n = len(records.tokens)
    return dataclasses.replace(
        records,
        tokens=[*records.tokens, *(shuffles[row] for row in np.flatnonzero(~same))],
        labels=np.repeat(np.array([1, 0], np.uint8), n),
        names=[*records.names, *(f'{name}_shuffle' for name in records.names)],
        pairs=np.tile(np.arange(n), 2),
        intervals=None if records.intervals is None else [*records.intervals, *([(None, 0, 1)] * n)],
    )


def _shuffled(tokens: Sequence[np.ndarray], rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """A shuffle of each sequence, and bool (n,) whether it is the sequence itself."""
    lengths = np.array([len(sequence) for sequence in tokens], np.int64)
    padded = np.full((len(tokens), int(lengths.max(initial=0))), dna.N, np.uint8)
    inside = np.arange(padded.shape[1]) < lengths[:, None]
    padded[inside] = joined(tokens, np.uint8)
    shuffles, same = dna.different_shuffle(padded, rng, None if inside.all() else lengths)
    return [row[:length] for row, length in zip(shuffles, lengths, strict=True)], same


def without_unknown(records: Records) -> Records:
    """The records without sequences of which more than half is N, which are counted."""
    starts = cumulative([len(sequence) for sequence in records.tokens])
    unknown = np.concatenate([[0], np.cumsum(joined(records.tokens, np.uint8) == dna.N)])[starts]
    return records.without(dna.is_mostly_unknown(np.diff(unknown), np.diff(starts)), MOSTLY_N)


def equal_pairs(records: Records) -> np.ndarray:
    """bool (n,): the rows of pairs of two equal sequences; all false where pairs are not known."""
    found = np.zeros(len(records.tokens), bool)
    if records.pairs is None:
        return found
    labels, first = np.asarray(records.labels), dict[int, int]()
    for row, pair in enumerate(np.asarray(records.pairs).tolist()):
        other = first.setdefault(pair, row)
        if pair >= 0 and other != row and labels[row] != labels[other]:
            found[[row, other]] |= np.array_equal(records.tokens[row], records.tokens[other])
    return found


def _paired(records: Records, where: str = 'records') -> Records:
    """The records with pairs, found where they are not known."""
    sizes = {len(records.tokens), len(records.labels), len(records.names)}
    sizes |= {len(given) for given in (records.pairs, records.intervals) if given is not None}
    if len(sizes) > 1:
        raise ValueError(f'{where}: tokens, labels, names, pairs or intervals differ in length')
    if records.pairs is not None:
        return records
    return dataclasses.replace(records, pairs=find_pairs(records.tokens, np.asarray(records.labels)))


def hold_out(records: Records, fraction: float, rng: np.random.Generator) -> tuple[Records, Records]:
    """Split records into (the rest, a stratified `fraction` held out).

    Pairs, windows that overlap and equal sequences stay together, see `splits.related`.

    Raises:
      InputError: all of them belong together.
    """
    records = _paired(records)
    assert records.pairs is not None
    held = _set_aside(records, np.asarray(records.pairs), fraction, rng)
    taken = dataclasses.replace(records.chosen(np.flatnonzero(held)), left_out={})  # counted with the rest
    return records.chosen(np.flatnonzero(~held)), taken


def _set_aside(
    records: Records, pairs: np.ndarray, fraction: float, rng: np.random.Generator, task: str = ''
) -> np.ndarray:
    """bool (n,): the rows of a share that no other row is related to."""
    labels = np.asarray(records.labels, np.uint8)
    groups = related(records.tokens, pairs, records.intervals)
    chosen = choose_rows(labels, pairs, fraction, rng, groups)
    if labels.sum() > 1 and not chosen.any():
        where = f'task {task!r}: ' * bool(task)
        raise InputError(
            f'{where}all {len(labels)} sequences overlap or are equal, so that none of them can be set aside for '
            'validation or testing'
        )
    return chosen


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """`Records` with the sequences in one flat array; sequence n is `tokens[starts[n]:starts[n + 1]]`."""

    tokens: np.ndarray
    starts: np.ndarray
    labels: np.ndarray
    names: list[str]
    pairs: np.ndarray
    intervals: list[tuple[str | None, int, int]] | None
    sites: list[tuple[int, int, int, int, str, str]] | None


def _prepared(task: str, split: str, records: Records) -> _Part:
    """The flat arrays of records that have pairs."""
    labels = np.asarray(records.labels, np.uint8)
    if not labels.any():
        gone = ', '.join(f'{count} {reason.replace("_", " ")}' for reason, count in records.left_out.items())
        raise InputError(
            f'task {task!r}, {split}: no positives among {len(labels)} sequences, expected at least one'
            + f' (left out: {gone})' * bool(gone)
        )
    lengths = np.array([len(sequence) for sequence in records.tokens], np.int64)
    if not lengths.all():
        raise InputError(
            f'task {task!r}, {split}: record {brief(records.names[int(np.argmin(lengths))])} has no letters'
        )
    return _Part(
        tokens=joined(records.tokens, np.uint8),
        starts=cumulative(lengths),
        labels=labels,
        names=list(records.names),
        pairs=np.asarray(records.pairs, np.int64),
        intervals=None if records.intervals is None else list(records.intervals),
        sites=None if records.sites is None else list(records.sites),
    )


def _counts(task: str, split: str, part: _Part, n_given: int) -> dict[str, int]:
    """Counts of a split; `n_given`: sequences that training and validation rows were chosen from."""
    positives = int(part.labels.sum())
    negatives = len(part.labels) - positives
    if not positives or not negatives:
        why = f'; {n_given} sequences are too few, or too alike, to set some aside' * (split == 'valid')
        raise InputError(
            f'task {task!r}, {split}: {positives} positives and {negatives} negatives, expected at least one of each'
            + why
        )
    paired = int((part.pairs[part.labels == 1] >= 0).sum())
    return {'positives': positives, 'negatives': negatives, 'pairs': paired}


def _taken(part: _Part, mask: np.ndarray) -> _Part:
    """The rows of a part where `mask` is true, in their order."""
    rows = np.flatnonzero(mask)
    lengths = np.diff(part.starts)
    moved = (np.cumsum(mask) - 1).tolist()
    return _Part(
        tokens=part.tokens[np.repeat(mask, lengths)],
        starts=cumulative(lengths[rows]),
        labels=part.labels[rows],
        names=[part.names[row] for row in rows],
        pairs=part.pairs[rows],
        intervals=None if part.intervals is None else [part.intervals[row] for row in rows],
        sites=None if part.sites is None else [(moved[s[0]], *s[1:]) for s in part.sites if mask[s[0]]],
    )


def _assembled(parts: Sequence[_Part], tasks: tuple[str, ...], info: Mapping[str, Any]) -> Corpus:
    """The corpus of the parts task 0 train, valid, test, task 1 train, ...; pair ids are made unique."""
    offsets = cumulative([len(part.labels) for part in parts])
    pairs, n_pairs = [], 0
    for part in parts:
        own = part.pairs.copy()
        paired = own >= 0
        ids, numbers = np.unique(own[paired], return_inverse=True)
        own[paired] = numbers + n_pairs
        n_pairs += len(ids)
        pairs.append(own)
    names = [name.encode('utf-8', 'replace') for part in parts for name in part.names]

    intervals, chroms = None, ()
    if any(part.intervals is not None for part in parts):
        places = [i for part in parts for i in (part.intervals or [(None, 0, 1)] * len(part.labels))]
        chroms = tuple(sorted({chrom for chrom, _, _ in places if chrom is not None}))
        number = {None: -1} | {chrom: n for n, chrom in enumerate(chroms)}
        intervals = np.array([(number[chrom], start, strand) for chrom, start, strand in places], INTERVAL_DTYPE)

    sites, site_motifs = None, ()
    if any(part.sites is not None for part in parts):
        known = [
            (site[0] + offset, *site[1:])
            for part, offset in zip(parts, offsets[:-1].tolist(), strict=True)
            for site in part.sites or ()
        ]
        site_motifs = tuple(sorted({site[4] for site in known}))
        number = {motif: n for n, motif in enumerate(site_motifs)}
        sites = np.array([(*s[:4], number[s[4]], ROLES.index(s[5])) for s in known], SITE_DTYPE)
        sites = sites[np.lexsort((sites['start'], sites['row']))]

    return Corpus(
        tokens=joined([part.tokens for part in parts], np.uint8),
        starts=cumulative(joined([np.diff(part.starts) for part in parts], np.int64)),
        labels=joined([part.labels for part in parts], np.uint8),
        pairs=joined(pairs, np.int64),
        bounds=np.stack([offsets[0:-1:3], offsets[1::3], offsets[2::3], offsets[3::3]], axis=1),
        tasks=tasks,
        name_bytes=np.frombuffer(b''.join(names), np.uint8).copy(),
        name_starts=cumulative([len(name) for name in names]),
        intervals=intervals,
        chroms=chroms,
        sites=sites,
        site_motifs=site_motifs,
        info=dict(info),
    )
