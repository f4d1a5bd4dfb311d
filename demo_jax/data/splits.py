"""Which sequences are set aside together for validation or testing (pure)."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from demo_jax import dna

Intervals = Sequence[tuple[str | None, int, int]]


def related(tokens: Sequence[np.ndarray], pairs: np.ndarray, intervals: Intervals | None = None) -> np.ndarray:
    """Groups of sequences of which a model must not see one while another one judges it.

    Two sequences belong together if they are a pair, if their windows overlap on the genome (as those of several
    summits of one peak do), or if they are the same letters on this or the other strand; and so on along any chain of
    such sequences.

    Args:
      tokens: n uint8 arrays.
      pairs: int (n,), equal for a positive and its shuffle, -1 = unpaired.
      intervals: n times (chromosome or None, 0-based start, strand), or None.

    Returns:
      int64 (n,), equal within a group, 0 to the number of groups less one.
    """
    n = len(tokens)
    paired = np.flatnonzero(pairs >= 0)
    links = [_links(np.unique(pairs[paired], return_inverse=True)[1], paired), _links(*_same_letters(tokens))]
    if intervals is not None:
        links.append(_links(*_overlapping(intervals, [len(sequence) for sequence in tokens])))
    first, second = np.concatenate(links, axis=1)
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _links(group: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """int (2, m): each row beside the first row of its group."""
    _, first, which = np.unique(group, return_index=True, return_inverse=True)
    return np.stack([rows, rows[first[which]]]) if len(rows) else np.zeros((2, 0), np.int64)


def _same_letters(tokens: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    known: dict[bytes, int] = {}
    group = [known.setdefault(either_strand(sequence), len(known)) for sequence in tokens]
    return np.array(group, np.int64), np.arange(len(tokens))


def either_strand(tokens: np.ndarray) -> bytes:
    """The letters of a sequence uint8 (L,) as a key that is the same for its reverse complement."""
    return min(tokens.tobytes(), dna.reverse_complement(tokens).tobytes())


def _overlapping(intervals: Intervals, lengths: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the chains of windows that overlap, and the rows that lie on the genome."""
    rows = np.array([row for row, place in enumerate(intervals) if place[0] is not None], np.int64)
    places = sorted((str(intervals[row][0]), intervals[row][1], row) for row in rows.tolist())
    chain, reach, before = -1, 0, ''
    group = np.zeros(len(rows), np.int64)
    for number, (chrom, start, row) in enumerate(places):
        if chrom != before or start >= reach:
            chain, reach, before = chain + 1, 0, chrom
        reach = max(reach, start + lengths[row])
        group[number] = chain
    return group, np.array([row for _, _, row in places], np.int64)


def choose_rows(
    labels: np.ndarray, pairs: np.ndarray, fraction: float, rng: np.random.Generator, groups: np.ndarray | None = None
) -> np.ndarray:
    """A stratified share of rows that takes all of a group or none of it.

    Args:
      labels: (n,), 0 or 1.
      pairs: int (n,), -1 = unpaired.
      fraction: share of the pairs, of the unpaired positives and of the unpaired negatives; of two or
        more of a kind at least one is taken, but never all. Where the groups allow no such choice, more or fewer are
        taken, down to none.
      groups: int (n,), from `related`: rows of a group are taken together. None: only the two of a pair are.

    Returns:
      bool (n,), true where chosen.
    """
    chosen = np.zeros(len(labels), bool)
    paired = pairs >= 0
    groups = np.where(paired, pairs, pairs.max(initial=-1) + 1 + np.arange(len(pairs))) if groups is None else groups
    group_of_pair = dict(zip(pairs[paired].tolist(), groups[paired].tolist(), strict=True))
    taken, settled = set[int](), set[int]()
    for kind in (None, 1, 0):
        if kind is None:
            order = [group_of_pair[pair] for pair in rng.permutation(np.unique(pairs[paired])).tolist()]
        else:
            order = groups[rng.permutation(np.flatnonzero(~paired & (labels == kind)))].tolist()
        taken |= _take(order, _share(len(order), fraction), taken, settled)
        settled |= set(order)
    if taken:
        chosen = np.isin(groups, list(taken))
    return chosen


def _take(order: list[int], wanted: int, taken: set[int], settled: set[int]) -> set[int]:
    """Groups for `wanted` of the items whose groups are given, besides those settled: the first that fit."""
    sizes = dict.fromkeys(order, 0)
    for group in order:
        sizes[group] += 1
    room = wanted - sum(size for group, size in sizes.items() if group in taken)
    free = [group for group in sizes if group not in settled]  # in the order of their first items
    found = set[int]()
    for group in free:
        if sizes[group] <= room:
            found.add(group)
            room -= sizes[group]
    if wanted and room == wanted and not found:  # each is larger than the share
        smallest = min(free, key=lambda group: sizes[group], default=None)
        if smallest is not None and sizes[smallest] < len(order):
            found.add(smallest)
    return found


def _share(count: int, fraction: float) -> int:
    return min(max(round(count * fraction), 1), count - 1) if count > 1 else 0
