"""Tables of scored sequences: the best window of each, and a track of all high-scoring windows (edge: writes files)."""

import contextlib
import heapq
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from demo_jax.explain.score import probability
from demo_jax.io import files
from demo_jax.predict import tracks
from demo_jax.predict.ensemble import members_of
from demo_jax.predict.predictor import Predictor
from demo_jax.predict.scoring import (
    Best,
    BestWindows,
    ScoredBlock,
    best_of_records,
    score_blocks,
    score_columns,
    score_rows,
)
from demo_jax.predict.windows import Fasta

TRACK_COLUMNS = (
    'chrom',
    'chromStart',
    'chromEnd',
    'name',
    'score',
    'strand',
    'logOdds',
    'probability',
    'spec',
    'seed',
)
#: What a track has besides where any of its models is an ensemble: the SD of the score between the members.
TRACK_SPREAD_COLUMNS = ('logOddsSd',)
_LINES = 10_000  # lines of the track in memory


class Written(NamedTuple):
    """What `write_scores` has written.

    Attributes:
      n_rows: rows of the table of best windows.
      top: the whole table, in order, if it has at most n_top rows; otherwise the n_top highest-scoring rows, best
        first.
      n_tracked: windows in the track.
      best: the best windows with their letters; empty without `keep`.
    """

    n_rows: int
    top: list[dict[str, Any]]
    n_tracked: int
    best: BestWindows


def write_scores(
    models: Sequence[Predictor],
    fasta: Fasta,
    path: pathlib.Path,
    *,
    track: pathlib.Path | None = None,
    bigwigs: Sequence[pathlib.Path] = (),
    threshold: float = 0.0,
    keep: bool = False,
    n_top: int = 30,
    progress: bool = True,
) -> Written:
    """Score every window of a FASTA file of any size. Output files appear only when all of it is scored.

    Args:
      models: of one run, from `choose_models`.
      fasta: from `check_fasta` with these models.
      path: the table of each record's best window, tab-separated, with `score_columns`.
      track: the file for the windows that score at least `threshold`, see `track_lines`; None = none.
      bigwigs: bigWig files of every window's score, one per model, see `tracks.add_scores`; needs the sizes of `fasta`.
      threshold: a score S, in log odds; 0 is a probability of one half.
      keep: return the best windows and their letters, which takes memory.
      n_top: rows of the table to return.
      progress: show a bar over windows.

    Raises:
      InputError: the file has changed since it was checked.
    """
    n_rows, n_tracked = 0, 0
    top: list[dict[str, Any]] = []
    stored: list[Best] = []
    with contextlib.ExitStack() as stack:

        def opened(place: pathlib.Path, columns: Sequence[str]) -> Any:
            temporary = stack.enter_context(files.atomic_path(place))
            handle = open(temporary, 'w', encoding='utf-8', errors='backslashreplace', newline='\n')  # noqa: SIM115
            stack.enter_context(handle)
            handle.write('\t'.join(columns) + '\n')
            return handle

        columns = score_columns(models)
        table = opened(path, columns)
        header = TRACK_COLUMNS + (TRACK_SPREAD_COLUMNS if members_of(models).several else ())
        bed = opened(track, ('#' + header[0], *header[1:])) if track else None

        wide = tracks.BigWigs(stack, bigwigs, fasta) if bigwigs else None

        def tracked() -> Iterator[ScoredBlock]:
            nonlocal n_tracked
            for block in score_blocks(models, fasta, progress=progress):
                if wide is not None:
                    tracks.add_scores(wide, block.windows, block.scores, fasta.stride)
                    n_tracked += block.scores.size
                if bed is not None:
                    for line in track_lines(models, block, threshold):
                        bed.write(line)
                        n_tracked += 1
                yield block

        for best in best_of_records(tracked(), keep=keep):
            if keep:
                stored.append(best)
            for row in score_rows(models, best, fasta.width):
                table.write('\t'.join(files.format_cell(row[name]) for name in columns) + '\n')
                n_rows += 1
                top.append(row)
            if len(top) > 64 * n_top:
                top = _highest(top, n_top)
    return Written(
        n_rows, _highest(top, n_top) if n_rows > n_top else top, n_tracked, BestWindows(models, fasta.width, stored)
    )


def _highest(rows: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """The n highest-scoring rows, best first; on a tie, the earlier row."""
    return heapq.nsmallest(n, rows, key=lambda row: -row['score'])


def track_lines(models: Sequence[Predictor], block: ScoredBlock, threshold: float) -> Iterator[str]:
    """The windows that score at least `threshold` (S, in log odds) as lines in BED format, 6 + 4 columns or 6 + 5.

    They are in the order of the FASTA: by record, start and model. Tab-separated, the columns are

      chrom: the record's name, the first word of its header (see `windows.SharedNames`).
      chromStart, chromEnd: 0-based, half-open.
      name: the task.
      score: 1000 times the probability, rounded, 0 to 1000.
      strand: '+' if the model reads the given strand, '.' if its score is the mean of both.
      logOdds: the score S.
      probability: of binding.
      spec, seed: of the model; the seed of an ensemble is '.'.
      logOddsSd: only where any of the models is an ensemble: the SD of the score between its members, or '.'.
    """
    windows, scores, spread = block
    # Transposed, so that the models of one window follow each other.
    at, model_of = np.nonzero(scores.T.astype(np.float64) >= threshold)
    strands = ['.' if model.average_strands or getattr(model.score, 'both_strands', False) else '+' for model in models]
    temperatures = np.array([model.temperature or 1.0 for model in models])
    shifts = np.array([model.shift + model.prior_shift for model in models])
    several = members_of(models).several
    cells = [[files.format_cell(value) or '.' for value in (model.task, model.spec, model.seed)] for model in models]
    for first in range(0, len(at), _LINES):
        w, of = at[first : first + _LINES], model_of[first : first + _LINES]
        starts, found = windows.start[w], scores[of, w]
        chances = probability(found, temperatures[of], shifts[of])
        columns = (starts, starts + windows.lengths[w], windows.owner[w], of, found, chances, spread[of, w])
        for start, end, owner, m, score, chance, sd in zip(*(column.tolist() for column in columns), strict=True):
            task, spec, seed = cells[m]
            more = f'\t{files.format_cell(sd) or "."}' if several else ''
            yield (
                f'{windows.records[owner].name}\t{start}\t{end}\t{task}\t{round(1000 * chance)}\t{strands[m]}\t'
                f'{score:.6g}\t{chance:.6g}\t{spec}\t{seed}{more}\n'
            )
