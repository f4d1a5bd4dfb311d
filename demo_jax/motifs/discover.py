"""Motifs out of seqlets: clusters of stretches that contribute alike, aligned, merged and trimmed (pure).

1. Any two seqlets are compared at all offsets and on both strands, by the cosine of their contributions (a letter
   counts where both have it). Average linkage cuts them into many narrow groups; each is aligned to its mean.
2. Two groups become one motif unless their letters say that they are two: unless two matrices describe the letters of
   both in fewer nats than one does, when each number of a matrix costs ln(n)/2 for the n sites that it is made of, and
   it has to be said which site follows which matrix (after the integrated completed likelihood of Biernacki et al.
   2000, IEEE PAMI 22:719). Weak and strong sites of one motif are one motif then; half-sites at two distances are two.
   Alike motifs, as of two basic leucine zippers, may share a group from the start. So each motif's sites are dealt to
   the two matrices that describe them best, and these are two motifs by the same rule. The deal is the best of many
   and fits chance as well, so the gain must exceed the cost by 30% (`SPLIT`). And they must differ in columns that both
   have (`DIFFERENT`): a motif with and without a partner beside it, or with ends that vary, is one.
3. The columns of a motif are those that at least half of its seqlets cover, without those at the ends that carry less
   than `piles.LEAST_COLUMN` bits. What fewer than `LEAST_SITES` seqlets share, or has less than `piles.CLEAR` bits in
   its best columns, is no motif. Nor is what contributes, as a whole, with the other sign than its seqlets: these are
   then wrong letters inside or beside the sites of another motif, which would pass for one that competes with it.
4. *Neighbours*: a partner at a fixed distance is often one seqlet with the motif, or does not contribute where the
   motif suffices. So the letters beside a motif's sites are described by two kinds of sites, with and without a second
   matrix, and by one kind. Where two are shorter, by the rule of step 2, the second matrix is a motif of its own.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from demo_jax import dna
from demo_jax.motifs import extract, piles
from demo_jax.motifs.seqlets import MOST_WIDTH, Seqlets

#: Seqlets (or sites of a neighbour) that a motif needs.
LEAST_SITES = 10
#: Average cosine within the groups of step 1. They are narrow on purpose: step 2 joins them again.
ALIKE = 0.6
#: Gain over cost at which one group becomes two motifs. In 43 simulated tasks it was 1.8 to 2.7 where two motifs were
#: planted and, among splits whose parts are both motifs, at most 1.15 where one was.
SPLIT = 1.3
#: The two must agree less than this: 1 is a matrix and a part of it.
DIFFERENT = 0.9
#: Seqlets that are compared pair by pair. More are clustered in parts; step 2 joins the groups of all parts.
MOST_COMPARED = 1500
#: A neighbour competes for hits if its sites contribute, on average, at least this share of what the best motif's do.
COMPETES = 0.25
_WINDOW = MOST_WIDTH + 5  # columns that are compared
_REACH = 14  # the largest offset
_FLANK = 30  # columns looked at on either side of a group's window
_SPAN = _WINDOW + 2 * _FLANK
_PAD = 2 * _SPAN


@dataclasses.dataclass(frozen=True, eq=False)
class FoundMotif:
    """A motif, with n sites.

    Attributes:
      counts: float64 (w, 4), letters A C G T of its sites.
      probabilities: float64 (w, 4), the same as shares, with half a count added to each letter.
      contributions: float64 (w, 4), mean contribution of each letter (0 at sites that have another one).
      row: int64 (n,), the sequence of each site.
      start: int64 (n,), 0-based position of its leftmost letter; below 0, or too far right, where a site is cut off.
      strand: int8 (n,), 1, or -1 where the motif lies on the reverse strand.
      contribution: float64 (n,), sum of the map over each site.
      sign: 1 if it speaks for binding, -1 if against.
      source: 'seqlets', or 'neighbour' of another motif (see the module's text).
    """

    counts: np.ndarray
    probabilities: np.ndarray
    contributions: np.ndarray
    row: np.ndarray
    start: np.ndarray
    strand: np.ndarray
    contribution: np.ndarray
    sign: int
    source: str = 'seqlets'

    @property
    def width(self) -> int:
        """Columns."""
        return len(self.counts)

    @property
    def bits(self) -> float:
        """Bits of its best columns, see `piles.best_bits`."""
        return piles.best_bits(self.probabilities)

    @property
    def consensus(self) -> str:
        """The most frequent letter of each column."""
        return extract.consensus(self.probabilities)

    def profile(self, length: int, bins: int = 20) -> np.ndarray:
        """How many sites have their centre in each of `bins` equal parts of sequences of `length`, int64 (bins,)."""
        centre = np.clip(self.start + self.width / 2, 0, length - 1e-9)
        return np.bincount((centre * bins / length).astype(np.int64), minlength=bins)


def competing(source: np.ndarray, sign: np.ndarray, contribution: np.ndarray) -> np.ndarray:
    """Which of the motifs of a map compete for hits: those made of seqlets, and neighbours that contribute themselves.

    Args:
      source, sign: (n,), of `FoundMotif`.
      contribution: float (n,), the mean over each motif's sites.

    Returns:
      bool (n,).
    """
    toward = np.asarray(sign) * np.asarray(contribution, np.float64)
    most = np.array([toward[np.equal(sign, one)].max() for one in sign])
    return np.equal(source, 'seqlets') | ((toward > 0) & (toward >= COMPETES * most))


class _Group(NamedTuple):
    """Aligned windows of `_SPAN` columns: where they start in padded sequences, and which way round."""

    row: np.ndarray
    start: np.ndarray
    strand: np.ndarray
    covered: np.ndarray  # bool (n, _SPAN): columns of the seqlets themselves


class _Data(NamedTuple):
    """The sequences, padded by `_PAD` on both sides."""

    tokens: np.ndarray  # (N, L + 2 pads)
    values: np.ndarray  # the same, contributions of the letters that are there, turned so that the sign is +


def find_motifs(
    values: np.ndarray, tokens: np.ndarray, seqlets: Seqlets, *, neighbours: bool = True
) -> tuple[FoundMotif, ...]:
    """The motifs of some seqlets, those for binding first, each sign's in order of the number of sites.

    Args:
      values: float (N, L), the contribution of each letter that is there.
      tokens: uint8 (N, L), padded with N.
      seqlets: of this map, e.g. those with q <= 0.05.
      neighbours: also look for partners beside the sites (step 4).

    Returns:
      Nothing where there is no motif.
    """
    found: list[FoundMotif] = []
    for sign in (1, -1):
        chosen = seqlets.take(seqlets.sign == sign)
        if len(chosen) < LEAST_SITES:
            continue
        data = _Data(
            np.pad(np.asarray(tokens, np.uint8), ((0, 0), (_PAD, _PAD)), constant_values=dna.N),
            np.pad(sign * np.asarray(values, np.float32), ((0, 0), (_PAD, _PAD))),
        )
        merged = _merged([_aligned(data, chosen, members) for members in _clusters(data, chosen)], data)
        groups = _told_apart(merged, data, sign)
        motifs = [_motif(group, data, sign) for group in groups]
        kept = [(group, motif) for group, motif in zip(groups, motifs, strict=True) if motif is not None]
        if neighbours:
            kept += _neighbours(kept, data, sign)
        found += sorted((motif for _, motif in kept), key=lambda motif: -len(motif.row))
    return tuple(found)


def _windows(data: _Data, row: np.ndarray, start: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Letters (n, width) and contributions (n, width) at padded positions."""
    place = (row[:, None], start[:, None] + np.arange(width))
    return data.tokens[place], data.values[place]


def _per_letter(tokens: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Contributions (n, w, 4): of the letter that is there, 0 for the others."""
    return dna.one_hot(tokens) * values[..., None]


def _own_windows(data: _Data, seqlets: Seqlets) -> tuple[np.ndarray, np.ndarray]:
    """Padded starts (S,) of windows centred on the seqlets, and their contributions (S, _WINDOW, 4), 0 outside."""
    start = seqlets.start + _PAD - (_WINDOW - seqlets.width) // 2
    tokens, values = _windows(data, seqlets.row, start, _WINDOW)
    place = start[:, None] + np.arange(_WINDOW) - _PAD
    inside = (place >= seqlets.start[:, None]) & (place < seqlets.stop[:, None])
    return start, _per_letter(tokens, np.where(inside, np.maximum(values, 0), 0)).astype(np.float32)


def _clusters(data: _Data, seqlets: Seqlets) -> list[np.ndarray]:
    """Numbers of the seqlets of each group, at least `LEAST_SITES` of them; step 1."""
    parts = -(-len(seqlets) // MOST_COMPARED)
    members = []
    for compared in (np.arange(first, len(seqlets), parts) for first in range(parts)):
        alike = _similarities(_own_windows(data, seqlets.take(compared))[1])
        tree = linkage(squareform(1 - alike, checks=False), 'average')
        group = fcluster(tree, 1 - ALIKE, 'distance')
        members += [compared[group == number] for number in np.unique(group)]
    return sorted((one for one in members if len(one) >= LEAST_SITES), key=len, reverse=True)


def _similarities(windows: np.ndarray) -> np.ndarray:
    """The best cosine of any two windows (S, w, 4) over offsets and strands, float32 (S, S), 1 on the diagonal."""
    n, width, _ = windows.shape
    unit = windows / np.maximum(np.sqrt((windows**2).sum(axis=(1, 2), keepdims=True)), 1e-30)
    best = np.zeros((n, n), np.float32)
    for turned, least in ((unit, 0), (unit[:, ::-1, ::-1], -_REACH)):  # an offset the other way is the transpose
        for offset in range(least, _REACH + 1):
            left, right = max(0, offset), max(0, -offset)
            one = unit[:, left : width - right].reshape(n, -1)
            other = turned[:, right : width - left].reshape(n, -1)
            np.maximum(best, one @ other.T, out=best)
    best = np.clip(np.maximum(best, best.T), 0, 1)
    np.fill_diagonal(best, 1)
    return best


def _aligned(data: _Data, seqlets: Seqlets, members: np.ndarray, *, rounds: int = 6) -> _Group:
    """A group's windows, each at the offset and on the strand that fit the mean of all best."""
    chosen = seqlets.take(members)
    start, windows = _own_windows(data, chosen)
    template = windows[int(np.argmax(chosen.score))]
    offset, strand = np.zeros(len(members), np.int64), np.ones(len(members), np.int8)
    padded = np.pad(windows, ((0, 0), (_REACH, _REACH), (0, 0)))
    both = np.stack([padded, padded[:, ::-1, ::-1]])
    views = np.lib.stride_tricks.sliding_window_view(both, _WINDOW, axis=2)  # (2, n, offsets, 4, _WINDOW)
    for _ in range(rounds):
        fit = np.tensordot(views, template.T, axes=2)  # (2, n, offsets)
        best = fit.transpose(1, 0, 2).reshape(len(members), -1).argmax(axis=1)
        side, place = np.divmod(best, fit.shape[2])
        picked = views[side, np.arange(len(members)), place].transpose(0, 2, 1)
        if (place - _REACH == offset).all() and (np.where(side, -1, 1) == strand).all():
            break
        offset, strand, template = place - _REACH, np.where(side, -1, 1).astype(np.int8), picked.mean(axis=0)
    begin = np.where(strand > 0, start + offset, start - offset) - _FLANK
    place = begin[:, None] + np.arange(_SPAN) - _PAD
    covered = (place >= chosen.start[:, None]) & (place < chosen.stop[:, None])
    return _Group(chosen.row, begin, strand, np.where(strand[:, None] < 0, covered[:, ::-1], covered))


def _read(group: _Group, data: _Data) -> tuple[np.ndarray, np.ndarray]:
    """Letters (n, _SPAN) and contributions (n, _SPAN) of a group, all the same way round."""
    tokens, values = _windows(data, group.row, group.start, _SPAN)
    turned = group.strand[:, None] < 0
    return np.where(turned, dna.reverse_complement(tokens), tokens), np.where(turned, values[:, ::-1], values)


def _core(group: _Group, counts: np.ndarray) -> slice:
    """The columns of a group, of counts (_SPAN, 4), that are its motif: covered by half, informative at the ends."""
    covered = np.flatnonzero(group.covered.mean(axis=0) >= 0.5)
    if not len(covered):
        return slice(0, 0)
    part = slice(int(covered[0]), int(covered[-1]) + 1)
    inner = piles.informative(_shares(counts[part]))
    return slice(part.start + inner.start, part.start + inner.stop)


def _shares(counts: np.ndarray) -> np.ndarray:
    """Counts (w, 4) as probabilities, half a count added to each."""
    return (counts + 0.5) / (counts + 0.5).sum(axis=-1, keepdims=True)


def _motif(group: _Group, data: _Data, sign: int) -> FoundMotif | None:
    """A group as a motif; None where it is none."""
    tokens, _ = _read(group, data)
    part = _core(group, extract.count_matrix(tokens))
    motif = None if part.stop - part.start < 4 else _cut(group, data, part, sign, 'seqlets')
    return None if motif is None or motif.contribution.mean() * sign <= 0 else motif


def _cut(group: _Group, data: _Data, part: slice, sign: int, source: str) -> FoundMotif | None:
    """Some columns of a group as a motif; None where they are not clear enough."""
    tokens, values = (array[:, part] for array in _read(group, data))
    counts = extract.count_matrix(tokens)
    probabilities = _shares(counts)
    if len(tokens) < LEAST_SITES or piles.judge(piles.best_bits(probabilities)) != 'motif':
        return None
    start = np.where(group.strand > 0, group.start + part.start, group.start + _SPAN - part.stop) - _PAD
    contributions = sign * _per_letter(tokens, values).mean(axis=0, dtype=np.float64)
    total = sign * values.sum(axis=1, dtype=np.float64)
    return FoundMotif(counts, probabilities, contributions, group.row, start, group.strand, total, sign, source)


def _merged(groups: Sequence[_Group], data: _Data) -> list[_Group]:
    """Groups of which no two are one motif (step 2), the largest first."""
    kept: list[_Group] = []
    for group in groups:
        if not _joins(group, kept, data):
            kept.append(group)
    if len(kept) < len(groups):  # a group that has grown may now be like another
        return _merged(sorted(kept, key=lambda one: -len(one.row)), data)
    return kept


def _joins(group: _Group, kept: list[_Group], data: _Data) -> bool:
    """Put a group into the first of `kept` that is one motif with it, and tell whether there is one."""
    for place, other in enumerate(kept):
        joined = _joined(other, group, data)
        if joined is not None:
            kept[place] = joined
            return True
    return False


def _joined(first: _Group, second: _Group, data: _Data) -> _Group | None:
    """Both groups as one, aligned; None where their letters say that they are two motifs."""
    counts = [extract.count_matrix(_read(group, data)[0]) for group in (first, second)]
    parts = [_core(group, count) for group, count in zip((first, second), counts, strict=True)]
    if min(part.stop - part.start for part in parts) < 4:
        return None
    centred = [_shares(count) - 0.25 for count in counts]
    # The narrower motif (fewer bits) is looked for in the whole windows of the other.
    narrow = int(np.argmin([dna.information_content(centred[k][parts[k]] + 0.25).sum() for k in (0, 1)]))
    part, wide = parts[narrow], 1 - narrow
    width, best = part.stop - part.start, (-np.inf, 0, 1)
    for strand in (1, -1):
        query = centred[narrow][part][::strand, ::strand]
        for at in range(max(0, parts[wide].start - width + 4), min(_SPAN - width, parts[wide].stop - 4) + 1):
            best = max(best, (float((query * centred[wide][at : at + width]).sum()), at, strand))
    _, at, strand = best
    one = counts[narrow][part][::strand, ::strand]
    if not one_motif(one, counts[wide][at : at + width]):
        return None
    moved = (first, second)[narrow]
    # The first column of the narrow core (its last, where it is turned) comes to lie on column `at` of the wide group.
    begin = at - part.start if strand > 0 else at - (_SPAN - part.stop)
    return _together((first, second)[wide], _shifted(moved, -begin, strand), data.tokens.shape[1])


def _shifted(group: _Group, by: int, strand: int) -> _Group:
    """A group turned round where `strand` is -1, and then read from `by` columns further right."""
    covered = group.covered[:, ::strand]
    side = (group.strand * strand).astype(np.int8)
    covered = np.pad(covered, ((0, 0), (_SPAN, _SPAN)))[:, _SPAN + by : 2 * _SPAN + by]
    return _Group(group.row, group.start + np.where(side > 0, by, -by), side, covered)


def _together(one: _Group, other: _Group, columns: int) -> _Group:
    """The sites of both; what is in both counts once, and what has left the padded sequences not at all."""
    whole = _Group(*(np.concatenate(pair) for pair in zip(one, other, strict=True)))
    _, first = np.unique(np.stack([whole.row, whole.start, whole.strand]), axis=1, return_index=True)
    inside = (whole.start[first] >= 0) & (whole.start[first] + _SPAN <= columns)
    return _Group(*(field[np.sort(first[inside])] for field in whole))


def _told_apart(groups: Sequence[_Group], data: _Data, sign: int) -> list[_Group]:
    """Groups, those of alike motifs split; a part that is like another group joins it."""
    parts = [_split(group, data, sign) for group in groups]
    kept = [part for (part, *more) in parts if not more]
    several = [part for of_group in parts if len(of_group) > 1 for part in of_group]
    return kept + [part for part in several if not _joins(part, kept, data)]


def _split(group: _Group, data: _Data, sign: int) -> list[_Group]:
    """A group, or the groups of alike motifs that it holds (step 2)."""
    tokens, _ = _read(group, data)
    core = _core(group, extract.count_matrix(tokens))
    if core.stop - core.start < 4:
        return [group]
    first = two_matrices(tokens[:, core])
    if first is None:
        return [group]
    parts = [_Group(*(field[chosen] for field in group)) for chosen in (first, ~first)]
    if any(_motif(part, data, sign) is None for part in parts):
        return [group]
    return [one for part in parts for one in _split(part, data, sign)]


def two_matrices(tokens: np.ndarray, *, rounds: int = 40) -> np.ndarray | None:
    """Which of aligned sites are of the first of two alike motifs, bool (n,); None where they are of one.

    Expectation maximisation of a mixture of two matrices, once from each letter of each column that a tenth to nine
    tenths of the sites have. The most likely one decides, see the text of the module.

    Args:
      tokens: uint8 (n, w), letters of the sites; N counts for nothing.
      rounds: of the expectation maximisation.
    """
    n, width = tokens.shape
    letters = dna.one_hot(tokens).astype(np.float64).reshape(n, 4 * width)
    best, first = -np.inf, np.zeros(n, bool)
    for column in np.flatnonzero((letters.mean(axis=0) > 0.1) & (letters.mean(axis=0) < 0.9)).tolist():
        weight = np.where(letters[:, column] > 0, 0.9, 0.1)
        for _ in range(rounds):
            one, other = (np.log(_shares((w @ letters).reshape(width, 4))).ravel() for w in (weight, 1 - weight))
            share = float(np.clip(weight.mean(), 0.02, 0.98))
            odds = letters @ (one - other) + np.log(share / (1 - share))
            weight = 1 / (1 + np.exp(-np.clip(odds, -50, 50)))
        likely = float((letters @ other + np.log(1 - share) + np.logaddexp(0, odds)).sum())
        if likely > best:
            best, first = likely, weight > 0.5
    if min(first.sum(), (~first).sum()) < LEAST_SITES:
        return None
    counts = [letters[chosen].sum(axis=0).reshape(width, 4) for chosen in (first, ~first)]
    centred = [_shares(count) - 0.25 for count in counts]
    agreement = (centred[0] * centred[1]).sum() / min((matrix**2).sum() for matrix in centred)
    gain, cost = _of_two(*counts)
    return first if gain >= SPLIT * cost and agreement < DIFFERENT else None


def one_motif(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether one matrix describes the letters of two aligned sets of sites in fewer nats than two do.

    Args:
      first, second: float (w, 4), counts of letters.

    Returns:
      True where the gain in likelihood of two matrices is less than their cost: half the logarithm of the sites for
      each of a matrix's 3 w numbers, and n ln((n + m) / n) + m ln((n + m) / m) to say which of n + m sites is of which.
    """
    gain, cost = _of_two(first, second)
    return gain < cost


def _of_two(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """What two matrices gain over one, and what they cost, in nats; see `one_motif`."""
    n, m = (float(counts.sum(axis=1).max()) for counts in (first, second))
    gain = _likelihood(first) + _likelihood(second) - _likelihood(first + second)
    numbers = 1.5 * len(first) * np.log(n * m / (n + m))
    which = n * np.log((n + m) / n) + m * np.log((n + m) / m)
    return gain, float(numbers + which)


def _likelihood(counts: np.ndarray) -> float:
    """The log likelihood of letters under their own shares, with half a count added to each letter."""
    return float((counts * np.log(_shares(counts))).sum())


def _neighbours(kept: Sequence[tuple[_Group, FoundMotif]], data: _Data, sign: int) -> list[tuple[_Group, FoundMotif]]:
    """Motifs beside those that are there (step 4), without those that are there already."""
    found: list[tuple[_Group, FoundMotif]] = []
    for group, motif in kept:
        if motif.source != 'seqlets':
            continue
        tokens, _ = _read(group, data)
        core = _core(group, extract.count_matrix(tokens))
        for flank in (slice(max(core.start - _FLANK, 0), core.start), slice(core.stop, min(core.stop + _FLANK, _SPAN))):
            has, part = second_matrix(tokens[:, flank])
            if has.sum() < LEAST_SITES or part.stop - part.start < 4:
                continue
            part = slice(flank.start + part.start, flank.start + part.stop)
            covered = np.zeros((int(has.sum()), _SPAN), bool)
            covered[:, part] = True
            beside = _Group(group.row[has], group.start[has], group.strand[has], covered)
            other = _cut(beside, data, part, sign, 'neighbour')
            if other is not None and all(_joined(known, beside, data) is None for known, _ in [*kept, *found]):
                found.append((beside, other))
    return found


def second_matrix(tokens: np.ndarray, *, rounds: int = 50) -> tuple[np.ndarray, slice]:
    """Whether the letters beside aligned sites are of two kinds: with a second matrix, and without.

    Expectation maximisation, from the letter that is most over-represented in a column. The sites without have the
    letters of all columns together.

    Args:
      tokens: uint8 (n, w), letters beside the sites; N counts for nothing.
      rounds: of the expectation maximisation.

    Returns:
      bool (n,), which sites have it, and the slice of its columns. No site where one kind of sites is the shorter
      description (see `one_motif`), and where the matrix is not clear enough.
    """
    nothing = np.zeros(len(tokens), bool), slice(0, 0)
    letters = dna.one_hot(tokens).astype(np.float64)
    if not letters.any() or tokens.shape[1] < 4:
        return nothing
    background = _shares(letters.sum(axis=(0, 1)))
    counts = letters.sum(axis=0)
    column, letter = np.unravel_index(
        np.argmax((counts - counts.sum(axis=1, keepdims=True) * background) / np.sqrt(background)), counts.shape
    )
    weight = np.where(tokens[:, column] == letter, 0.9, 0.1)
    for _ in range(rounds):
        matrix = _shares(np.tensordot(weight, letters, axes=1))
        share = float(np.clip(weight.mean(), 1e-3, 1 - 1e-3))
        odds = (letters * np.log(matrix / background)).sum(axis=(1, 2)) + np.log(share / (1 - share))
        weight = 1 / (1 + np.exp(-np.clip(odds, -50, 50)))
    has = weight > 0.5
    counts = letters[has].sum(axis=0)
    part = piles.informative(_shares(counts))
    if has.sum() < LEAST_SITES or has.all() or piles.judge(piles.best_bits(_shares(counts)[part])) != 'motif':
        return nothing
    if one_motif(counts[part], letters[~has].sum(axis=0)[part]):
        return nothing
    return has, part
