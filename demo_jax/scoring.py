"""A run's models on a user's own sequences of any length (edge: reads files, draws).

Models read windows as long as the longest sequence they were trained on; longer sequences are covered by
windows, and the best one counts. Positions in all tables count from 1, and `end` is the last letter's.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from demo_jax import files
from demo_jax.data import dna
from demo_jax.data.textfile import encode_all, read_fasta
from demo_jax.errors import InputError, brief
from demo_jax.model import Model
from demo_jax.nn.models import SPECS
from demo_jax.results import Maps, Temporal
from demo_jax.runs import Run
from demo_jax.training.jobs import Job

SCORE_COLUMNS = (
    'record', 'sequence', 'length', 'task', 'spec', 'seed', 'n_windows', 'start', 'end', 'score', 'probability',
)  # fmt: skip
EXPLAIN_COLUMNS = (
    'record', 'sequence', 'task', 'spec', 'seed', 'position', 'base', 'saliency', 'contribution', 'forward', 'reverse',
)  # fmt: skip
#: Windows are held and scored so many at a time.
BLOCK = 4096
_EXPLAINED = 64  # sequences explained at once
_DRAWN_MODELS = 12


def choose_models(run: Run, tasks: Sequence[str] = (), specs: Sequence[str] = ()) -> list[Model]:
    """The models to score with.

    Args:
      run: a trained run.
      tasks: names; none = all of the run.
      specs: names, of each of which every task gets a model; none = per task the spec with the best validation
        AUROC. Of several seeds (or rows of a grid), the model with the best validation AUROC is taken.

    Raises:
      InputError: the run has no such task or spec (the message lists what it has), or no trained model of it.
    """
    for task in tasks or run.tasks:
        for spec in specs or run.specs[:1]:
            run.find_job(task, spec)
    trained = run.directory.finished_jobs()
    models = []
    choices: list[tuple[str, ...]] = [(spec,) for spec in dict.fromkeys(specs)]
    for task in dict.fromkeys(tasks or run.tasks):
        for allowed in choices or [run.specs]:
            best: tuple[float, Job] | None = None
            for job in run.jobs:
                if job.task == task and job.spec in allowed and job.index in trained:
                    result = run.directory.load_result(job.index)
                    if result.params is not None and (best is None or result.best_auroc > best[0]):
                        best = (result.best_auroc, job)
            if best is None:
                raise InputError(f'{run.directory.path}: no model of {task} with {", ".join(allowed)} has been trained')
            models.append(run.model_of(best[1]))
    return models


class Record(NamedTuple):
    """A sequence to score: its number in the file, from 1, its name, and its tokens uint8 (L,)."""

    number: int
    name: str
    tokens: np.ndarray


def read_records(path: str | os.PathLike, models: Sequence[Model]) -> list[Record]:
    """The sequences of a FASTA file, plain or gzipped, named by the first word of their headers.

    Raises:
      InputError: names the file and the record: not FASTA, empty, a letter that is no DNA, or a sequence
        that is too short for one of the models.
    """
    found = list(read_fasta(path))
    names = [(record.header.split() or [f'record_{record.number}'])[0] for record in found]
    needy = max(models, key=lambda model: SPECS[model.spec].min_length)
    shortest = SPECS[needy.spec].min_length
    for record, name in zip(found, names, strict=True):
        if len(record.letters) < shortest:
            raise InputError(
                f'{path}: record {record.number} ({brief(name)}) has {len(record.letters)} letters, {needy.spec} needs '
                f'at least {shortest}'
            )
    encoded = encode_all(path, [record.letters for record in found], names)
    return [Record(record.number, name, tokens) for record, name, tokens in zip(found, names, encoded, strict=True)]


def window_starts(tokens: np.ndarray, width: int, stride: int) -> np.ndarray:
    """Where windows over a sequence uint8 (L,) begin, 0-based int64: every `stride` letters, the last at its end.

    Windows of which more than half is N are passed over, unless all are. A sequence of up to `width` letters
    is one window.
    """
    last = max(len(tokens) - width, 0)
    starts = np.unique(np.append(np.arange(0, last + 1, stride), last))
    unknown = np.concatenate([[0], np.cumsum(tokens == dna.N)])
    known = unknown[np.minimum(starts + width, len(tokens))] - unknown[starts] <= width / 2
    return starts[known] if known.any() else starts


@dataclasses.dataclass(frozen=True, eq=False)
class BestWindows:
    """The best-scored window of each of R sequences, for each of M models.

    Attributes:
      models: M of them.
      records: R of them.
      width: letters per window; shorter sequences are one window.
      n_windows: int64 (R,), how many were scored.
      start: int64 (M, R), 0-based.
      score: float32 (M, R), S of that window.
    """

    models: Sequence[Model]
    records: Sequence[Record]
    width: int
    n_windows: np.ndarray
    start: np.ndarray
    score: np.ndarray

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row per sequence and model, with `SCORE_COLUMNS`."""
        for r, record in enumerate(self.records):
            for m, model in enumerate(self.models):
                start = int(self.start[m, r])
                yield _named(record.number, record.name, model) | {
                    'length': len(record.tokens),
                    'n_windows': int(self.n_windows[r]),
                    'start': start + 1,
                    'end': min(start + self.width, len(record.tokens)),
                    'score': float(self.score[m, r]),
                    'probability': float(probability(self.score[m, r])),
                }

    def window(self, model: int, record: int) -> str:
        """The letters of the best window."""
        start = self.start[model, record]
        return dna.decode(self.records[record].tokens[start : start + self.width])


def score_records(
    models: Sequence[Model], records: Sequence[Record], *, stride: int = 10, progress: bool = True
) -> BestWindows:
    """Score sequences of any length: every window of the training length, `stride` letters apart; the best counts.

    Args:
      models: of one run, from `choose_models`.
      records: from `read_records`.
      stride: letters from one window to the next, e.g. 1 for all of them.
      progress: show a bar over windows.

    Raises:
      InputError: the stride is not positive.
    """
    if stride < 1:
        raise InputError(f'stride is {stride}, expected 1 or more')
    width = models[0].length
    places = [window_starts(record.tokens, width, stride) for record in records]
    owner = np.repeat(np.arange(len(records)), [len(starts) for starts in places])
    starts = np.concatenate([np.zeros(0, np.int64), *places])
    best = np.full((len(models), len(records)), -np.inf, np.float32)
    best_start = np.zeros((len(models), len(records)), np.int64)
    with tqdm(total=len(starts) * len(models), desc='scoring', unit='window', disable=not progress) as bar:
        for first in range(0, len(starts), BLOCK):
            rows, begins = owner[first : first + BLOCK], starts[first : first + BLOCK]
            cut = [records[r].tokens[s : s + width] for r, s in zip(rows.tolist(), begins.tolist(), strict=True)]
            for m, model in enumerate(models):
                scores = score_windows(model, cut, width)
                # Sorted by sequence, then from the best down: the first of each sequence is its best here.
                order = np.lexsort((-scores, rows))
                order = order[np.unique(rows[order], return_index=True)[1]]
                order = order[scores[order] > best[m, rows[order]]]
                best[m, rows[order]], best_start[m, rows[order]] = scores[order], begins[order]
                bar.update(len(cut))
    return BestWindows(models, records, width, np.array([len(s) for s in places], np.int64), best_start, best)


def score_windows(model: Model, windows: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Scores float32 (n,) of windows of at most `width` tokens; those of full width run without a mask."""
    lengths = np.array([len(window) for window in windows], np.int32)
    tokens = np.full((len(windows), width), dna.N, np.uint8)
    for row, window in zip(tokens, windows, strict=True):
        row[: len(window)] = window
    scores = np.empty(len(windows), np.float32)
    full = lengths == width
    for part, given in ((full, None), (~full, lengths[~full])):
        if part.any():
            scores[part] = model.score_tokens(tokens[part], given)
    return scores


class Explained(NamedTuple):
    """The best window of one sequence explained for one model; `temporal` is None for a CNN."""

    record: int
    model: int
    saliency: Maps
    temporal: Temporal | None


def explain_windows(best: BestWindows, *, progress: bool = True) -> Iterator[Explained]:
    """Saliency and, for recurrent specs, temporal scores of every best window, sequence by sequence."""
    n = len(best.records)
    with tqdm(total=n * len(best.models), desc='explaining', unit='window', disable=not progress) as bar:
        for first in range(0, n, _EXPLAINED):
            block = range(first, min(first + _EXPLAINED, n))
            found = []
            for m, model in enumerate(best.models):
                windows = [best.window(m, r) for r in block]
                if any(len(window) < best.width for window in windows):
                    windows.append('N' * best.width)  # so that blocks of short sequences do not differ in shape
                saliency = model.saliency(windows)
                temporal = model.temporal(windows) if SPECS[model.spec].lstm_layers else None
                found.append((saliency, temporal))
                bar.update(len(block))
            for row, r in enumerate(block):
                for m, (saliency, temporal) in enumerate(found):
                    yield Explained(r, m, saliency.only(row), None if temporal is None else temporal.only(row))


def write_explanations(best: BestWindows, path: pathlib.Path, *, figures: int = 0, progress: bool = True) -> int:
    """Explain every best window: a table with a row per letter, and figures of the first few sequences.

    Args:
      best: from `score_records`.
      path: the table, tab-separated, with `EXPLAIN_COLUMNS`: `saliency` is the size of `contribution`, the
        gradient at the letter; forward and reverse are temporal scores (log odds), empty for CNNs.
      figures: of at most so many sequences a PNG is drawn, into the folder `path` without '.tsv'.
      progress: show a bar.

    Returns:
      How many figures were drawn.
    """
    folder = path.with_suffix('')
    drawn: list[Explained] = []
    with files.atomic_path(path) as temporary, open(temporary, 'w', encoding='utf-8') as table:
        table.write('\t'.join(EXPLAIN_COLUMNS) + '\n')
        for explained in explain_windows(best, progress=progress):
            for row in _explained_rows(best, explained):
                table.write('\t'.join(files.format_cell(row[name]) for name in EXPLAIN_COLUMNS) + '\n')
            if explained.record < figures:
                drawn.append(explained)
                if explained.model == len(best.models) - 1:
                    record = best.records[explained.record]
                    name = f'{record.number:04d}_{files.safe_name(record.name)}.png'
                    with files.atomic_path(folder / name) as png:
                        draw_windows(best, drawn).savefig(png, format='png', dpi=110)
                    drawn = []
    return min(figures, len(best.records))


def _explained_rows(best: BestWindows, explained: Explained) -> Iterator[dict[str, Any]]:
    record, model = best.records[explained.record], best.models[explained.model]
    start = int(best.start[explained.model, explained.record])
    signed = explained.saliency.signed[0]
    nothing = np.full(len(signed), np.nan)
    forward, reverse = nothing, nothing
    if explained.temporal is not None:
        forward, reverse = explained.temporal.forward[0], explained.temporal.reverse[0]
    named = _named(record.number, record.name, model)
    letters = explained.saliency.sequences[0]
    for i, (base, value, prefix, suffix) in enumerate(zip(letters, signed, forward, reverse, strict=True)):
        yield named | {
            'position': start + i + 1, 'base': base, 'saliency': abs(value), 'contribution': value,
            'forward': prefix, 'reverse': suffix,
        }  # fmt: skip


def draw_windows(best: BestWindows, explained: Sequence[Explained]) -> Any:
    """A matplotlib figure of one sequence: per model its best window's saliency logo and temporal strips.

    Of more than 12 models, those with the highest scores are drawn.
    """
    from matplotlib.figure import Figure

    from demo_jax.report.tables import shorten

    record = best.records[explained[0].record]
    shown = sorted(explained, key=lambda e: -best.score[e.model, e.record])[:_DRAWN_MODELS]
    shown = [e for e in explained if e in shown]
    heights = [h for e in shown for h in ((1.0, 0.3, 0.3) if e.temporal else (1.0,))]
    longest = max(len(e.saliency.sequences[0]) for e in shown)
    size = (max(0.12 * longest + 1.5, 9.0), sum(heights) + 0.55 * len(shown) + 0.6)
    figure = Figure(figsize=size, layout='constrained')
    figure.suptitle(f'{shorten(record.name, 80)}, {len(record.tokens):,} letters', fontsize='medium', parse_math=False)
    axes = iter(figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
    for e in shown:
        ax, start, score = next(axes), int(best.start[e.model, e.record]), best.score[e.model, e.record]
        e.saliency.draw(ax, first=start + 1)
        end = start + len(e.saliency.sequences[0])
        title = f'probability {probability(score):.3f}, letters {start + 1}-{end}'
        title = f'{shorten(best.models[e.model].title, 70)}: {title}'
        ax.set_title(title, loc='left', fontsize='medium', parse_math=False)
        if e.temporal:
            e.temporal.draw(next(axes), next(axes))
    return figure


def _named(number: int, name: str, model: Model) -> dict[str, Any]:
    return {'record': number, 'sequence': name, 'task': model.task, 'spec': model.spec, 'seed': model.seed}


def probability(score: np.ndarray | float) -> np.ndarray:
    """The probability of binding, float64 (...,), that scores S (...,), in log odds, mean."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(score, np.float64)))
