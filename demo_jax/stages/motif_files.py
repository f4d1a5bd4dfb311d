"""The files of one model's motifs that people and other tools read (edge): part of the stage `match`."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demo_jax import dna
from demo_jax.data.corpus import Corpus
from demo_jax.errors import InputError
from demo_jax.explain.attribution import BEST_FIRST
from demo_jax.io import files
from demo_jax.motifs import extract, formats, piles
from demo_jax.motifs.column_scores import Targets
from demo_jax.motifs.piles import Pile
from demo_jax.motifs.tomtom import match_motifs
from demo_jax.predict.tracks import write_placed
from demo_jax.runs.preferred import Preferred

WINDOW_COLUMNS = ('method', 'row', 'name', 'start', 'end', 'strand', 'word', 'score')
#: One row per motif of `motifs.meme` (or `filters.meme`). `start` and `end` are the columns that trimming left of
#: the whole pile; `bits` those of its best six columns; `verdict` 'motif', 'vague' or 'none', see `motifs.piles`.
MOTIF_COLUMNS = ('name', 'consensus', 'windows', 'agree', 'start', 'end', 'bits', 'verdict')
#: The maps that TF-MoDISco can be given, best first. On simulated data the first three find more of the planted bases
#: than the gradient at the sequence does, in every architecture (`tables/truth_mean.tsv`).
MODISCO_MAPS = BEST_FIRST
#: Sites that a class optimum, which is made of none, is written with.
_OPTIMUM_SITES = 1000


def modisco_map(wanted: str, available: Preferred, what: str) -> tuple[str, str] | None:
    """The map that is exported for TF-MoDISco, and why.

    Args:
      wanted: one of `MODISCO_MAPS`, or 'auto': the best.
      available: the maps of one model.
      what: the model, as an error names it.

    Returns:
      None where 'auto' finds none.

    Raises:
      InputError: the map that is wanted is not there.
    """
    if wanted == 'auto':
        return None if available.best is None else (available.best, available.why)
    if wanted not in available.methods:
        raise InputError(
            f'{what} has no map {wanted} for TF-MoDISco, only {", ".join(available.methods) or "none"}: add it to '
            f'explain.pieces, or set match.modisco_map to auto'
        )
    return wanted, 'match.modisco_map'


def say_what_is_there(verdicts: Sequence[str], maps: Sequence[tuple[str, str]]) -> None:
    """Print how many motifs were too vague to be matched, and which maps TF-MoDISco is given.

    Args:
      verdicts: of every motif, see `piles.judge`.
      maps: of every model that has one, and why, see `modisco_map`.
    """
    vague = sum(verdict != 'motif' for verdict in verdicts)
    if vague:
        print(
            f'{vague} of {len(verdicts)} motifs have fewer than {piles.CLEAR:g} bits in their best '
            f'{piles.BEST_COLUMNS} columns and are not matched (motifs/TASK/SPEC/motifs.tsv)'
        )
    say_maps(maps)


def say_maps(maps: Sequence[tuple[str, str]]) -> None:
    """Print which maps are exported, of how many models, and why."""
    if maps:
        counts = ', '.join(
            f'{name} of {maps.count((name, why))} models (by {why})' for name, why in dict.fromkeys(maps)
        )
        print(f'TF-MoDISco is given the maps {counts}')


def write_windows(
    folder: pathlib.Path,
    spec: str,
    tokens: np.ndarray,
    rows: np.ndarray,
    windows: Mapping[str, extract.Windows],
    corpus: Corpus,
) -> None:
    """Write `windows.tsv` and `windows.bed`: where each method's window lies in each sequence.

    Args:
      folder: of the model.
      spec: its architecture.
      tokens: uint8 (N, L), the sequences that the windows were found in.
      rows: int (N,), their corpus rows.
      windows: method -> windows, turned so that all show the motif the same way round.
      corpus: the run's.
    """
    bed, table = [], []
    for name, found in windows.items():
        bed += formats.bed_rows(found, corpus, rows, label=f'{spec}:{name}')
        columns = (found.row, found.start, found.strand, found.words(tokens), found.score)
        for at, start, strand, word, score in zip(*columns, strict=True):
            row = int(rows[at])
            cells = (name, row, corpus.name(row), start, start + found.width, '-' if strand < 0 else '+', word, score)
            table.append(dict(zip(WINDOW_COLUMNS, cells, strict=True)))
    files.write_tsv(folder / 'windows.tsv', table, WINDOW_COLUMNS)
    formats.write_bed(folder / 'windows.bed', bed)


def write_motifs(
    folder: pathlib.Path, found: Mapping[str, Pile], targets: Targets, *, measure: str, threshold: float
) -> None:
    """Write `motifs.tsv`, `motifs.meme`, `motifs.jaspar` and `tomtom.tsv`: each method's motif, judged and matched.

    All hold the trimmed piles, vague ones too; only motifs clear enough to mean something (`motifs.piles`) are matched.

    Args:
      folder: of the model.
      found: method -> pile, or class optimum.
      targets: the database to match with.
      measure, threshold: what is written to tomtom.tsv, see `formats.write_tomtom`.
    """
    counts = {
        name: piles.whole_counts(pile.probabilities if pile.counts is None else pile.counts, _sites(pile))
        for name, pile in found.items()
        if pile.windows != 0  # without windows there is nothing to count
    }
    formats.write_jaspar(folder / 'motifs.jaspar', counts)
    _write(folder, 'motifs', 'tomtom.tsv', found, targets, measure, threshold)


def write_filters(
    folder: pathlib.Path, arrays: Mapping[str, np.ndarray], targets: Targets, *, measure: str, threshold: float
) -> None:
    """Write `filters.tsv`, `filters.meme` and `filters_tomtom.tsv`: the first layer's filters as motifs.

    They are trimmed, judged and matched as those of `write_motifs`.

    Args:
      folder: of the model.
      arrays: of the piece 'filters'. Filters that no window activates are left out; without any, nothing is written.
      targets, measure, threshold: as of `write_motifs`.
    """
    found = {
        f'filter_{number}': piles.pile_counts(arrays['counts'][number], int(windows))
        for number, windows in enumerate(arrays['n_windows'])
        if windows
    }
    if found:
        _write(folder, 'filters', 'filters_tomtom.tsv', found, targets, measure, threshold)


def write_modisco(folder: pathlib.Path, method: str, why: str, contributions: np.ndarray, tokens: np.ndarray) -> None:
    """Write the arrays that TF-MoDISco reads, and `modisco.json`, which says what they are.

    `window` there is the largest that `modisco motifs -w` takes: an even number, at most the sequences' length.

    Args:
      folder: of the model.
      method: the map, one of `MODISCO_MAPS`.
      why: what it was chosen by.
      contributions: float (N, L, 4), centred: TF-MoDISco reads the contribution of the letter that is there out of
        them, which mutagenesis as stored has at 0.
      tokens: uint8 (N, L).
    """
    formats.write_modisco(folder / 'modisco_contributions.npz', folder / 'modisco_sequences.npz', contributions, tokens)
    n, length = tokens.shape
    facts = {
        'map': method,
        'chosen_by': why,
        'centred': True,
        'sequences': n,
        'length': length,
        'window': length - length % 2,
    }
    files.write_json(folder / 'modisco.json', facts)


def write_bigwig(
    folder: pathlib.Path,
    contributions: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    corpus: Corpus,
    rows: np.ndarray,
) -> None:
    """Write `contributions.bw`: the map of each base of the sequences that lie on the genome; nothing if none does.

    A base of several sequences has its value from the one whose middle is nearest.

    Args:
      folder: of the model.
      contributions: float (N, L, 4).
      tokens: uint8 (N, L), padded with N.
      lengths: int (N,).
      corpus: of the sequences.
      rows: int (N,), their corpus rows.
    """
    if corpus.intervals is None:
        return
    places = corpus.intervals[rows]
    row, at = np.nonzero((tokens < dna.N) & (np.arange(tokens.shape[1]) < lengths[:, None]))
    row, at = (part[places['chrom'][row] >= 0] for part in (row, at))
    if not len(row):
        return
    value = contributions[row, at, tokens[row, at]]
    turned = places['strand'][row] < 0
    place = places['start'][row] + np.where(turned, lengths[row] - 1 - at, at)
    chrom = places['chrom'][row]
    order = np.lexsort((np.abs(2 * at + 1 - lengths[row]), place, chrom))
    chrom, place, value = chrom[order], place[order], value[order]
    first = np.append(True, (np.diff(chrom) != 0) | (np.diff(place) != 0))
    write_placed(folder / 'contributions.bw', corpus.chroms, chrom[first], place[first], value[first])


def _write(
    folder: pathlib.Path,
    name: str,
    tomtom: str,
    found: Mapping[str, Pile],
    targets: Targets,
    measure: str,
    threshold: float,
) -> None:
    formats.write_meme(
        folder / f'{name}.meme',
        {motif: pile.probabilities for motif, pile in found.items()},
        sites={motif: max(_sites(pile), 1) for motif, pile in found.items()},
    )
    files.write_tsv(folder / f'{name}.tsv', [_row(motif, pile) for motif, pile in found.items()], MOTIF_COLUMNS)
    clear = {motif: pile.probabilities for motif, pile in found.items() if pile.verdict == 'motif'}
    formats.write_tomtom(
        folder / tomtom,
        match_motifs(list(clear.values()), targets),
        clear,
        targets,
        measure=measure,
        threshold=threshold,
    )


def _sites(pile: Pile) -> int:
    """How many sites a motif is written with."""
    return _OPTIMUM_SITES if pile.windows is None else pile.windows


def _row(name: str, pile: Pile) -> dict[str, Any]:
    cells = (
        formats.escape(name),
        extract.consensus(pile.probabilities),
        pile.windows,
        pile.agree,
        pile.start,
        pile.stop,
        pile.bits,
        pile.verdict,
    )
    return dict(zip(MOTIF_COLUMNS, cells, strict=True))
