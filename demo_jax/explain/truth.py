"""Comparison of explanations with the truth: how well they find the sites planted in a simulated corpus (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from demo_jax.data.corpus import ROLES
from demo_jax.evaluation.metrics import average_precision
from demo_jax.motifs.extract import Windows


@dataclass(frozen=True)
class Truth:
    """How well one explanation of one model finds planted sites. Shares are in [0, 1], NaN if no sequence is judged.

    Attributes:
      n_sequences: sequences that are judged: those with `keep` that contain a primary site.
      n_sites: primary sites in them.
      auprc: area under the precision-recall curve over all bases of these sequences: the values rank the bases, and the
        bases that a site covers are the positives.
      auprc_mean: mean of the AUPRC within each sequence, which does not compare values across sequences.
      auprc_chance: AUPRC of random values: the share of covered bases.
      recall: share of primary sites of which the window of their sequence overlaps at least half (half of the window
        if this is shorter than the site).
      recall_chance: expected recall of a window at a uniformly random position.
      whole: share of primary sites that lie completely inside the window, or contain it.
      whole_chance: the same, expected of a random window.
    """

    n_sequences: int
    n_sites: int
    auprc: float
    auprc_mean: float
    auprc_chance: float
    recall: float
    recall_chance: float
    whole: float
    whole_chance: float


def site_mask(
    sites: np.ndarray, rows: np.ndarray, length: int, *, roles: Sequence[str] = ('primary', 'cofactor')
) -> np.ndarray:
    """Which bases planted sites cover: bool (N, length).

    Args:
      sites: `SITE_DTYPE` (S,), as in `Corpus.sites`.
      rows: int (N,), the corpus rows of the sequences, each once.
      length: L.
      roles: of the sites to use. Decoys carry no information about the label and are left out by default.
    """
    local, sites = _of_rows(sites, rows, roles)
    mask = np.zeros((len(rows), length), bool)
    if len(sites):
        position = np.arange(length)
        start = sites['start'][:, None]
        np.logical_or.at(mask, local, (position >= start) & (position < start + sites['width'][:, None]))
    return mask


def score_truth(
    *,
    values: np.ndarray,
    windows: Windows,
    sites: np.ndarray,
    rows: np.ndarray,
    keep: np.ndarray | None = None,
    lengths: np.ndarray | None = None,
    roles: Sequence[str] = ('primary', 'cofactor'),
) -> Truth:
    """Judge an explanation of N sequences of a corpus with known sites.

    Args:
      values: float (N, L), one per base, higher = more important (e.g. `Attribution.absolute`).
      windows: the windows of the explanation, at most one per sequence; `windows.row` are indices into the N rows.
      sites: `SITE_DTYPE` (S,), as in `Corpus.sites`.
      rows: int (N,), the corpus rows of the sequences.
      keep: bool (N,), the sequences to judge, e.g. positives that the model classifies correctly;
        None: all.
      lengths: int (N,); None: all L.
      roles: of the sites whose bases count for the AUPRC.

    Raises:
      ValueError: shapes differ, or a sequence has two windows.
    """
    values, rows = np.asarray(values, np.float64), np.asarray(rows)
    if values.ndim != 2 or rows.shape != values.shape[:1]:
        raise ValueError(f'values {values.shape} and rows {rows.shape}: expected (N, L) and (N,)')
    n, length = values.shape
    keep = np.ones(n, bool) if keep is None else np.asarray(keep, bool)
    lengths = np.full(n, length) if lengths is None else np.asarray(lengths, np.int64)
    if keep.shape != (n,) or lengths.shape != (n,):
        raise ValueError(f'keep {keep.shape} and lengths {lengths.shape}: expected ({n},)')
    if len(np.unique(windows.row)) != len(windows):
        raise ValueError('a sequence has two windows, expected at most one')
    local, primary = _of_rows(sites, rows, ('primary',))
    primary, local = primary[keep[local]], local[keep[local]]
    judged = np.unique(local)
    if not len(judged):
        return Truth(0, 0, *[float('nan')] * 7)
    hit, chance = _found(windows, primary, local, lengths)
    covered = site_mask(sites, rows, length, roles=roles)
    inside = np.arange(length) < lengths[:, None]
    each = [average_precision(covered[row, : lengths[row]], values[row, : lengths[row]]) for row in judged]
    bases = inside[judged]
    labels = covered[judged][bases]
    return Truth(
        n_sequences=len(judged),
        n_sites=len(primary),
        auprc=average_precision(labels, values[judged][bases]),
        auprc_mean=float(np.mean(each)),
        auprc_chance=float(labels.mean()),
        recall=float(hit[0].mean()),
        recall_chance=float(chance[0].mean()),
        whole=float(hit[1].mean()),
        whole_chance=float(chance[1].mean()),
    )


class PlantedAlleles(NamedTuple):
    """A substitutions in N sequences with known sites.

    Attributes:
      row: int64 (A,), which sequence.
      position: int64 (A,), from 0.
      letter: uint8 (A,), what takes the place of the letter there.
      breaks: bool (A,), it takes from a primary site the letter that fits its motif best; the others lie beside sites.
    """

    row: np.ndarray
    position: np.ndarray
    letter: np.ndarray
    breaks: np.ndarray


def planted_alleles(
    tokens: np.ndarray, sites: np.ndarray, rows: np.ndarray, rng: np.random.Generator, *, margin: int = 3
) -> PlantedAlleles:
    """For each sequence with a primary site a substitution that breaks it, and one that lies beside all sites.

    The motif is what the primary sites themselves show, letter by letter on the motif's strand, with one pseudocount
    per letter. A site is broken where a letter that fits well can be replaced by the one that fits worst. A sequence
    with several primary sites gets neither, since one of them would be left.

    Args:
      tokens: uint8 (N, L), padded with N.
      sites: `SITE_DTYPE` (S,), as in `Corpus.sites`.
      rows: int (N,), the corpus row of each sequence.
      rng: source of randomness: where beside, and the letter there.
      margin: letters between a site and what lies beside it, at least.
    """
    local, primary = _of_rows(sites, rows, ('primary',))
    length = tokens.shape[1]
    near = site_mask(sites, rows, length, roles=ROLES)
    for _ in range(margin):
        near[:, 1:] |= near[:, :-1]
        near[:, :-1] |= near[:, 1:]
    words = [_site_word(tokens[r], site) for r, site in zip(local, primary, strict=True)]
    shares = {
        width: np.log(np.stack([word for word in words if len(word) == width]).sum(axis=0) + 1)
        for width in {len(word) for word in words}
    }
    found = []
    counts = np.bincount(local, minlength=len(rows))
    for r, site, word in zip(local.tolist(), primary, words, strict=True):
        free = np.flatnonzero(~near[r] & (tokens[r] < 4))
        if counts[r] > 1 or not len(free):
            continue
        fit = shares[len(word)]
        column = int(np.argmax((fit * word).sum(axis=1) - fit.min(axis=1)))
        worst = int(fit[column].argmin())
        start, width = int(site['start']), int(site['width'])
        turned = site['strand'] < 0
        found.append((r, start + (width - 1 - column if turned else column), 3 - worst if turned else worst, True))
        at = int(rng.choice(free))
        found.append((r, at, int((tokens[r, at] + rng.integers(1, 4)) % 4), False))
    columns = np.array(found, np.int64).reshape(-1, 4).T
    return PlantedAlleles(columns[0], columns[1], columns[2].astype(np.uint8), columns[3].astype(bool))


def _site_word(tokens: np.ndarray, site: np.void) -> np.ndarray:
    """The letters of a site on its motif's strand, one-hot (width, 4)."""
    word = tokens[site['start'] : site['start'] + site['width']]
    word = np.where(word < 4, 3 - word, word)[::-1] if site['strand'] < 0 else word
    return (word[:, None] == np.arange(4)).astype(float)


def _of_rows(sites: np.ndarray, rows: np.ndarray, roles: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The sites in these corpus rows and with these roles: the index of each site's row in `rows`, and the sites."""
    rows = np.asarray(rows)
    order = np.argsort(rows)
    at = np.searchsorted(rows, sites['row'], sorter=order)
    local = order[np.minimum(at, len(rows) - 1)] if len(rows) else np.zeros(len(sites), np.int64)
    chosen = np.isin(sites['role'], [ROLES.index(role) for role in roles])
    chosen &= (rows[local] == sites['row']) if len(rows) else False
    return local[chosen], sites[chosen]


def _found(windows: Windows, sites: np.ndarray, local: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, ...]:
    """For each site, (2, S): whether the window overlaps half of it, and all of it; the same chances at random."""
    start_of = np.full(len(lengths), -1)
    start_of[windows.row] = windows.start
    start = start_of[local]
    hit = np.stack(_overlaps(start[:, None], windows.width, sites)) & (start >= 0)[None, :, None]
    all_starts = np.arange(max(int(lengths.max()) - windows.width + 1, 1))
    possible = all_starts <= (lengths[local] - windows.width)[:, None]
    random_hits = np.stack(_overlaps(all_starts[None], windows.width, sites)) & possible[None]
    return hit[..., 0], random_hits.sum(-1) / np.maximum(possible.sum(-1), 1)[None]


def _overlaps(start: np.ndarray, width: int, sites: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether windows at `start` (S or 1, K) overlap half, and all, of the shorter of window and site."""
    site_start, site_width = (sites[name].astype(np.int64)[:, None] for name in ('start', 'width'))
    shared = np.minimum(start + width, site_start + site_width) - np.maximum(start, site_start)
    shorter = np.minimum(width, site_width)
    return 2 * shared >= shorter, shared >= shorter
