"""Which motifs occur together, and at which distances and orientations, against shuffled placements (pure).

*Together*: the number of sequences with both motifs, against the hypergeometric distribution that chance gives to
motifs of these frequencies. *Spacing*: of all pairs of sites in one sequence, the most that share a gap (in bp, from
the first motif's last letter to the second's first, read on the first motif's strand) and an orientation. It is
compared with the same of placements in which the second motif's sites have been dealt to other sequences that have it:
where each motif lies in its sequences stays, what they have to do with each other goes.
"""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.stats import false_discovery_control, hypergeom

#: Pairs of sites in one sequence, of a gap and orientation, below which two motifs are not looked at.
LEAST_PAIRS = 5
#: Gaps up to this many bp count, on either side.
FARTHEST = 60


class Sites(NamedTuple):
    """The sites of a motif: int (n,) sequence, start and strand (1 or -1), and its width."""

    row: np.ndarray
    start: np.ndarray
    strand: np.ndarray
    width: int


class Pairing(NamedTuple):
    """What two motifs have to do with each other.

    Attributes:
      first, second: their names.
      together: sequences with both.
      expected: of these by chance.
      p_together, q_together: of at least as many.
      gap: the most frequent gap, in bp; below 0 where the second motif lies before the first (then -1 means 0 bp
        between them, -2 means 1 bp).
      same_strand: of the pairs with this gap, whether both motifs lie on one strand.
      pairs: those with this gap and orientation.
      expected_pairs: the same in shuffled placements, mean of their most frequent ones.
      p_spacing, q_spacing: share of shuffled placements with as many; q over all pairs of motifs.
    """

    first: str
    second: str
    together: int
    expected: float
    p_together: float
    q_together: float
    gap: int
    same_strand: bool
    pairs: int
    expected_pairs: float
    p_spacing: float
    q_spacing: float


def pair_motifs(sites: Mapping[str, Sites], n_sequences: int, *, shuffles: int = 500, seed: int = 0) -> list[Pairing]:
    """Pairs of motifs, also of a motif with itself (spacing alone), that share a gap at least `LEAST_PAIRS` times.

    Args:
      sites: of each motif, by name; sites of different motifs may touch but do not overlap.
      n_sequences: in which they were looked for.
      shuffles: placements to compare with; no p_spacing is below 1 / (shuffles + 1).
      seed: of them.
    """
    rng = np.random.default_rng(seed)
    found = []
    for (first, one), (second, other) in itertools.combinations_with_replacement(sites.items(), 2):
        rows = np.unique(one.row), np.unique(other.row)
        together = len(np.intersect1d(*rows))
        itself = first == second
        seen = _gaps(one, other, itself)
        most = np.bincount(seen, minlength=1)
        if most.max() < LEAST_PAIRS:
            continue
        key = int(most.argmax())
        null = np.array(
            [np.bincount(_gaps(one, _dealt(other, rows[1], rng), False), minlength=1).max() for _ in range(shuffles)]
        )
        if itself:
            null = (null + 1) // 2  # a pair of sites of one motif was counted from either side
        gap, same = _gap_of(key)
        expected = len(rows[0]) * len(rows[1]) / n_sequences
        chance = hypergeom.sf(together - 1, n_sequences, len(rows[0]), len(rows[1])) if not itself else np.nan
        p_spacing = (1 + int((null >= most[key]).sum())) / (1 + shuffles)
        found.append(
            Pairing(
                first,
                second,
                together,
                expected if not itself else np.nan,
                float(chance),
                np.nan,
                gap,
                same,
                int(most[key]),
                float(null.mean()),
                p_spacing,
                np.nan,
            )
        )
    apart = [number for number, pair in enumerate(found) if pair.first != pair.second]
    q_together = dict(zip(apart, _q([found[number].p_together for number in apart]), strict=True))
    q_spacing = _q([pair.p_spacing for pair in found])
    return [
        pair._replace(q_together=q_together.get(number, np.nan), q_spacing=q_spacing[number])
        for number, pair in enumerate(found)
    ]


def _q(p_values: list[float]) -> list[float]:
    return false_discovery_control(p_values).tolist() if p_values else []


def _dealt(sites: Sites, rows: np.ndarray, rng: np.random.Generator) -> Sites:
    """The sites with the sequences that have some dealt anew among them."""
    dealt = rng.permutation(rows)
    return sites._replace(row=dealt[np.searchsorted(rows, sites.row)])


def _gaps(one: Sites, other: Sites, itself: bool) -> np.ndarray:
    """Gap and orientation of every pair in one sequence that does not overlap, as one number; see `_gap_of`."""
    order = np.argsort(other.row, kind='stable')
    low, high = (np.searchsorted(other.row[order], one.row, side=side) for side in ('left', 'right'))
    first = np.repeat(np.arange(len(one.row)), high - low)
    within = np.arange(len(first)) - np.repeat(np.cumsum(high - low) - (high - low), high - low)
    second = order[np.repeat(low, high - low) + within]
    if itself:
        first, second = first[first < second], second[first < second]
    behind = other.start[second] - (one.start[first] + one.width)
    before = one.start[first] - (other.start[second] + other.width)
    apart = np.maximum(behind, before)
    after = (behind >= before) == (one.strand[first] > 0)
    gap = np.where(after, apart, -apart - 1)
    same = one.strand[first] == other.strand[second]
    if itself:  # which of the two comes first means nothing; a pair that points the same way has its gap as it is
        gap = np.where(same, apart, gap)
    good = (apart >= 0) & (apart <= FARTHEST)
    return ((gap + FARTHEST + 1) * 2 + same)[good].astype(np.int64)


def _gap_of(key: int) -> tuple[int, bool]:
    return key // 2 - FARTHEST - 1, bool(key % 2)
