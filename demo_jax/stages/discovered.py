"""The files of one model's and method's seqlets, motifs and hits (edge): part of the stage `discover`.

WORKDIR/motifs/TASK/SPEC/METHOD/
  seqlets.bed   every stretch that matters: BED6 and contribution, p, q
  found.tsv     the motifs, one per row
  found.meme, found.jaspar, found.npz, found.h5   the motifs for other tools
  hits.bed      where they lie: BED6 and contribution, similarity, q
  spacing.tsv   pairs of motifs
  null.npz      the map of shuffled sequences that significance comes from
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demo_jax import dna
from demo_jax.data.corpus import Corpus
from demo_jax.io import arrays, files
from demo_jax.motifs import formats, piles
from demo_jax.motifs.discover import FoundMotif, competing
from demo_jax.motifs.extract import Windows
from demo_jax.motifs.hits import MapHits, Pattern
from demo_jax.motifs.seqlets import Seqlets
from demo_jax.motifs.spacing import Pairing

#: One row per motif of one model and method; `tables/motifs.tsv` has the same for all.
FOUND_COLUMNS = (
    'task',
    'spec',
    'method',
    'motif',
    'sign',
    'source',
    'consensus',
    'width',
    'bits',
    'sites',
    'sequences',
    'of',
    'contribution',
    'share',
    'match',
    'match_name',
    'match_q',
    'match_offset',
    'match_overlap',
    'match_strand',
    'own',
    'seen_in',
    'looked_in',
    'profile',
)
SPACING_COLUMNS = ('task', 'spec', 'method', *Pairing._fields)
#: What stands behind the six columns of BED.
SEQLET_BED, HIT_BED = ('contribution', 'p', 'q'), ('contribution', 'similarity', 'q')
#: Letters on either side of a motif that its HDF5 patterns hold: Fi-NeMo and TF-MoDISco's report trim them again.
BESIDE = 5


def write_seqlets(path: pathlib.Path, seqlets: Seqlets, corpus: Corpus, rows: np.ndarray) -> None:
    """Write `seqlets.bed`; the strand is '.', since a seqlet has none.

    Args:
      path: the file.
      seqlets: `seqlets.row` are indices into `rows`.
      corpus: of the sequences.
      rows: int (n,), their corpus rows.
    """
    strand = np.ones(len(seqlets), np.int8)
    places = _places(seqlets.row, seqlets.start, seqlets.width, strand, corpus, rows)
    names = np.where(seqlets.sign > 0, 'for', 'against')
    more = zip(seqlets.contribution, seqlets.p_value, seqlets.q_value, strict=True)
    lines = [
        (place[0], place[1], place[2], name, _points(numbers[-1]), '.', *numbers)
        for place, name, numbers in zip(places, names.tolist(), more, strict=True)
    ]
    _write_bed(path, lines, SEQLET_BED)


def write_hits(path: pathlib.Path, hits: MapHits, corpus: Corpus, rows: np.ndarray) -> None:
    """Write `hits.bed`; the arguments are those of `write_seqlets`."""
    places = _places(hits.row, hits.start, hits.width, hits.strand, corpus, rows)
    more = zip(hits.contribution, hits.similarity, hits.q_value, strict=True)
    lines = [
        (place[0], place[1], place[2], hits.motifs[motif], _points(numbers[-1]), place[3], *numbers)
        for place, motif, numbers in zip(places, hits.motif.tolist(), more, strict=True)
    ]
    _write_bed(path, lines, HIT_BED)


def write_found(folder: pathlib.Path, motifs: Mapping[str, FoundMotif], tokens: np.ndarray, values: np.ndarray) -> None:
    """Write the motifs for other tools: `found.meme`, `found.jaspar`, `found.npz`, `found.h5`.

    Args:
      folder: of the model and method.
      motifs: by name.
      tokens: uint8 (N, L), the sequences that they were found in.
      values: float (N, L), the map.
    """
    probabilities = {name: motif.probabilities for name, motif in motifs.items()}
    sites = {name: len(motif.row) for name, motif in motifs.items()}
    formats.write_meme(folder / 'found.meme', probabilities, sites=sites)
    formats.write_jaspar(
        folder / 'found.jaspar', {name: piles.whole_counts(m.counts, sites[name]) for name, m in motifs.items()}
    )
    stored: dict[str, np.ndarray] = {}
    for name, motif in motifs.items():
        stored |= {
            f'{name}/{field.name}': np.asarray(getattr(motif, field.name))
            for field in dataclasses.fields(motif)
            if field.name != 'source'
        }
    with files.atomic_path(folder / 'found.npz') as temporary, open(temporary, 'wb') as handle:
        np.savez_compressed(handle, allow_pickle=False, **stored)
    with files.atomic_path(folder / 'found.h5') as temporary:
        _write_h5(temporary, motifs, tokens, values)


def read_found(folder: pathlib.Path) -> dict[str, dict[str, np.ndarray]]:
    """Motif -> the arrays of `found.npz`, with the names of `FoundMotif`.

    Raises:
      InputError: the file is missing or damaged.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, array in arrays.read_npz(folder / 'found.npz').items():
        name, _, field = key.rpartition('/')
        found.setdefault(name, {})[field] = array
    return found


def read_patterns(folder: pathlib.Path) -> dict[str, Pattern]:
    """The motifs that compete for hits, with their JASPAR matches behind their names.

    Raises:
      InputError: found.npz is missing or damaged.
    """
    rows = files.read_tsv(folder / 'motifs.tsv') if (folder / 'motifs.tsv').exists() else []
    found, patterns = read_found(folder), {}
    rows = [row for row in rows if row['motif'] in found]
    motifs = [found[row['motif']] for row in rows]
    facts = [
        (row['source'], int(motif['sign']), motif['contribution'].mean())
        for row, motif in zip(rows, motifs, strict=True)
    ]
    competes = competing(*map(np.array, zip(*facts, strict=True))).tolist() if facts else []
    for row, motif, one in zip(rows, motifs, competes, strict=True):
        if one:
            label = f'{row["motif"]}:{row["match_name"]}' if row['match_name'] else row['motif']
            patterns[label] = Pattern(motif['probabilities'], motif['contributions'], int(motif['sign']))
    return patterns


def _write_h5(path: pathlib.Path, motifs: Mapping[str, FoundMotif], tokens: np.ndarray, values: np.ndarray) -> None:
    """Motifs as TF-MoDISco writes its patterns: those for binding under pos_patterns, the others under neg_patterns."""
    import h5py

    letters = dna.one_hot(tokens).astype(np.float32)
    length = tokens.shape[1]
    with h5py.File(path, 'w') as results:
        results.attrs['window_size'] = length
        for kind, sign in (('pos_patterns', 1), ('neg_patterns', -1)):
            chosen = [motif for motif in motifs.values() if motif.sign == sign]
            for number, motif in enumerate(chosen):
                start, stop = motif.start - BESIDE, motif.start + motif.width + BESIDE
                inside = (start >= 0) & (stop <= length)
                row, start, strand = motif.row[inside], start[inside], motif.strand[inside]
                place = (row[:, None], start[:, None] + np.arange(motif.width + 2 * BESIDE))
                sequence, contributions = letters[place], values[place][..., None] * letters[place]
                turned = strand[:, None, None] < 0
                sequence, contributions = (
                    np.where(turned, array[:, ::-1, ::-1], array) for array in (sequence, contributions)
                )
                group = results.create_group(f'{kind}/pattern_{number}')
                inner = group.create_group('seqlets')
                inner['n_seqlets'] = np.array([len(row)])
                inner['start'], inner['end'], inner['example_idx'] = start, start + sequence.shape[1], row
                inner['is_revcomp'] = strand < 0
                for into, reduce in ((group, lambda array: array.mean(axis=0)), (inner, lambda array: array)):
                    into['sequence'] = reduce(sequence)
                    into['contrib_scores'] = into['hypothetical_contribs'] = reduce(contributions).astype(np.float32)


def _places(
    row: np.ndarray, start: np.ndarray, width: np.ndarray, strand: np.ndarray, corpus: Corpus, rows: np.ndarray
) -> list[tuple[str, int, int, str]]:
    """Chromosome (or sequence), start, stop and strand of some stretches, in the coordinates of `formats.bed_rows`."""
    lines: list[Any] = [None] * len(row)
    for size in np.unique(width).tolist():
        mine = np.flatnonzero(width == size)
        windows = Windows(row[mine], start[mine], strand[mine], np.full(len(mine), np.nan), size)
        for at, line in zip(mine.tolist(), formats.bed_rows(windows, corpus, rows, label=''), strict=True):
            lines[at] = (line.chrom, line.start, line.stop, line.strand)
    return lines


def _points(q_value: float) -> int:
    """The score of BED: -100 log10 q, 0 to 1000."""
    return int(np.rint(np.clip(-100 * np.log10(max(q_value, 1e-10)), 0, 1000)))


def _write_bed(path: pathlib.Path, lines: Sequence[tuple], more: Sequence[str]) -> None:
    """BED6 and further columns, under a line that names them."""
    head = '\t'.join(('#chrom', 'start', 'end', 'name', 'score', 'strand', *more))
    body = [
        '\t'.join(
            (
                formats.escape(chrom),
                str(start),
                str(stop),
                formats.escape(name),
                str(score),
                strand,
                *(f'{number:.6g}' for number in numbers),
            )
        )
        for chrom, start, stop, name, score, strand, *numbers in sorted(lines)
    ]
    files.write_text(path, '\n'.join([head, *body]) + '\n')
