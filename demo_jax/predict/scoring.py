"""A run's models on a user's own sequences of any length (edge: reads files, draws).

Models read windows as long as the longest sequence they were trained on; longer sequences are covered by
windows, and the best one counts. Positions in all tables count from 1, and `end` is the last letter's.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.evaluation import choose
from demo_jax.explain.pieces import PIECES
from demo_jax.io import files
from demo_jax.nn.deepbind import DeepBind, score_models
from demo_jax.predict.ensemble import count_members, members_of
from demo_jax.predict.model import Model
from demo_jax.predict.overlapping import score_block
from demo_jax.predict.predictor import Predictor
from demo_jax.predict.results import Maps, Temporal
from demo_jax.predict.run import Run
from demo_jax.predict.windows import Block, Fasta, Record, read_blocks

SCORE_COLUMNS = (
    'record',
    'sequence',
    'length',
    'task',
    'spec',
    'seed',
    'n_windows',
    'start',
    'end',
    'score',
    'probability',
)
#: What tables of scores have besides where a row is of several models: the SD between them, and how many they are.
SPREAD_COLUMNS = ('score_sd', 'members')
EXPLAIN_COLUMNS = (
    'record',
    'sequence',
    'task',
    'spec',
    'seed',
    'position',
    'base',
    'saliency',
    'contribution',
    'forward',
    'reverse',
)
EXPLAIN_SPREAD_COLUMNS = ('contribution_sd', 'forward_sd', 'reverse_sd')
#: Windows are held and scored so many at a time.
BLOCK = 4096
#: Best windows, of all models together, that are held to be explained.
MAX_EXPLAINED = 2_000_000
_EXPLAINED = 64  # sequences explained at once
_DRAWN_MODELS = 12


def choose_models(
    run: Run,
    tasks: Sequence[str] = (),
    specs: Sequence[str] = (),
    members: str = 'all',
    *,
    prior: float | None = None,
) -> list[Predictor]:
    """The models to score with.

    Args:
      run: a trained run.
      tasks: names; none = all of the run.
      specs: names, of each of which every task gets a model, or 'all', the models of all specs together; none = per
        task the spec with the best validation AUROC (of several members, their mean).
      members: of models of several seeds (or folds), 'all' together, as an `Ensemble`, or the 'best' by validation.
      prior: share of the sequences to be scored that are bound, for probabilities; None = that of each task's training
        sequences, usually a half.

    Raises:
      InputError: the run has no such task or spec (the message lists what it has), no trained model of it, or a prior
        that is no share.
    """
    for task in tasks or run.tasks:
        for spec in specs or run.specs[:1]:
            run.find_job(task, spec)
    models = []
    choices: list[tuple[str, ...]] = [(spec,) for spec in dict.fromkeys(specs)]
    for task in dict.fromkeys(tasks or run.tasks):
        for allowed in choices or [run.specs]:
            found = (run.members(task, spec, members) for spec in allowed)
            best = choose.best(filter(None, found), lambda mine: float(np.mean([auroc for _, auroc in mine])))
            if best is None:
                raise InputError(f'{run.directory.path}: no model of {task} with {", ".join(allowed)} has been trained')
            models.append(run.predictor_of([job for job, _ in best]))
    return models if prior is None else [model.with_prior(prior, run.share(model.task)) for model in models]


def describe_probabilities(models: Sequence[Predictor], prior: float | None = None) -> str:
    """What the probabilities of these models are, as a line for the console."""
    known = [model.temperature for model in models if model.temperature is not None]
    for_prior = '' if prior is None else f', for a prior of {prior:g}'
    if not known:
        return f'probabilities: not calibrated (sigmoids of the scores){for_prior}'
    low, high = min(known), max(known)
    scale = f'{low:.3g}' if low == high else f'{low:.3g} to {high:.3g}'
    which = 'calibrated' if len(known) == len(models) else f'{len(known)} of {len(models)} models calibrated'
    return f'probabilities: {which} on validation data (temperature {scale}){for_prior}'


def score_columns(models: Sequence[Predictor]) -> tuple[str, ...]:
    """The columns of a table of these models' scores: `SCORE_COLUMNS`, with `SPREAD_COLUMNS` if any is an ensemble."""
    return SCORE_COLUMNS + (SPREAD_COLUMNS if members_of(models).several else ())


def explain_columns(models: Sequence[Predictor]) -> tuple[str, ...]:
    """As `score_columns`, of a table of explanations."""
    return EXPLAIN_COLUMNS + (EXPLAIN_SPREAD_COLUMNS if members_of(models).several else ())


def default_stride(models: Sequence[Predictor]) -> int:
    """Letters from one window of a long sequence to the next, unless somebody says otherwise.

    Published models that score a sequence by its best stretch of so many letters need no more windows than hold every
    such stretch: the best window's score is then the sequence's.
    """
    inner = [model.score.shape.window for model in models if isinstance(model.score, DeepBind) and model.score.windows]
    return models[0].length - max(inner) + 1 if len(inner) == len(models) else 10


class Best(NamedTuple):
    """The best-scored window of one record, for each of M models.

    Attributes:
      record: the record; its number, name, length, and how many windows were scored.
      start: int64 (M,), where the window begins, 0-based.
      score: float32 (M,), S of that window; of equal ones, the first.
      tokens: uint8 (M, width), its letters, padded with N; None where they were not asked for.
      sd: float32 (M,), SD of the score between the members of each ensemble; NaN of one model.
    """

    record: Record
    start: np.ndarray
    score: np.ndarray
    tokens: np.ndarray | None
    sd: np.ndarray


def score_rows(models: Sequence[Predictor], best: Best, width: int) -> Iterator[dict[str, Any]]:
    """A row per model, with `score_columns`."""
    record, columns = best.record, score_columns(models)
    for model, start, score, sd in zip(models, best.start.tolist(), best.score, best.sd.tolist(), strict=True):
        row = _named(record.number, record.name, model) | {
            'length': record.length,
            'n_windows': record.n_windows,
            'start': start + 1,
            'end': min(start + width, record.length),
            'score': float(score),
            'probability': float(model.probability(score)),
            'score_sd': sd,
            'members': count_members(model),
        }
        yield {name: row[name] for name in columns}


@dataclasses.dataclass(frozen=True, eq=False)
class BestWindows:
    """The best-scored window of each of R sequences, for each of M models.

    Attributes:
      models: M of them.
      width: letters per window; shorter sequences are one window.
      records: R of them, with tokens.
    """

    models: Sequence[Predictor]
    width: int
    records: Sequence[Best]

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row per sequence and model, with `score_columns`."""
        for best in self.records:
            yield from score_rows(self.models, best, self.width)

    def window(self, model: int, record: int) -> str:
        """The letters of the best window.

        Raises:
          ValueError: they were not kept.
        """
        best = self.records[record]
        if best.tokens is None:
            raise ValueError('the letters of the best windows were not kept')
        return dna.decode(best.tokens[model, : min(self.width, best.record.length)])


class ScoredBlock(NamedTuple):
    """Windows, the `scores` S of M models (of ensembles, means) for them, float32 (M, n), and their `sd` (M, n)."""

    windows: Block
    scores: np.ndarray
    sd: np.ndarray


def score_blocks(models: Sequence[Predictor], fasta: Fasta, *, progress: bool = True) -> Iterator[ScoredBlock]:
    """Score every window of the training length, `BLOCK` at a time, in the file's order.

    What windows have in common is computed once, see `predict.overlapping`.

    Args:
      models: of one run, from `choose_models`.
      fasta: from `check_fasta` with these models.
      progress: show a bar over windows.

    Raises:
      InputError: the file has changed since it was checked.
    """
    members = members_of(models)
    total = fasta.n_windows * len(members.models)
    with tqdm(total=total, desc='scoring', unit='window', disable=not progress) as bar:
        for block in read_blocks(fasta, BLOCK):
            rest = functools.partial(score_all, progress=bar.update)
            rows = block.tokens, block.lengths, block.follows(fasta.stride)
            scores = score_block(members.models, *rows, fasta.stride, rest, progress=bar.update)
            yield ScoredBlock(block, *members.combine(scores))


def score_all(
    models: Sequence[Model],
    tokens: np.ndarray,
    lengths: np.ndarray,
    *,
    progress: Callable[[int], object] = lambda n: None,
) -> np.ndarray:
    """Scores float32 (M, n) of windows uint8 (n, width), padded with N behind lengths int32 (n,), by M models.

    DeepBind's published models run together, one program per shape; `progress` is called with the number of
    (model, window) pairs done since the last call.
    """
    scores = np.empty((len(models), len(tokens)), np.float32)
    published = [m for m, model in enumerate(models) if isinstance(model.score, DeepBind)]
    if published:
        params = [models[m].params for m in published]
        of = [models[m].score for m in published]
        scores[published] = score_models(of, params, tokens, lengths, progress=progress)
    for m in sorted(set(range(len(models))) - set(published)):
        scores[m] = _score_padded(models[m], tokens, lengths)
        progress(len(tokens))
    return scores


def best_of_records(blocks: Iterable[ScoredBlock], *, keep: bool = False) -> Iterator[Best]:
    """The best window of each record, in the file's order, as soon as all of the record's are scored.

    Args:
      blocks: from `score_blocks`.
      keep: keep the letters of these windows, too.
    """
    pending: dict[int, Best] = {}
    for windows, scores, spread in blocks:
        n_models, owner = len(scores), windows.owner
        best = np.full((n_models, len(windows.records)), -np.inf, np.float32)
        start, chosen = np.zeros(best.shape, np.int64), np.full(best.shape, -1)
        sd = np.full(best.shape, np.nan, np.float32)
        if windows.records and (old := pending.get(windows.records[0].number)):
            best[:, 0], start[:, 0], sd[:, 0] = old.score, old.start, old.sd
        for m in range(n_models):
            # Sorted by sequence, then from the best down: the first of each sequence is its best here.
            order = np.lexsort((-scores[m], owner))
            order = order[np.unique(owner[order], return_index=True)[1]]
            order = order[scores[m, order] > best[m, owner[order]]]
            best[m, owner[order]], start[m, owner[order]] = scores[m, order], windows.start[order]
            chosen[m, owner[order]], sd[m, owner[order]] = order, spread[m, order]
        for r, record in enumerate(windows.records):
            tokens = windows.tokens[chosen[:, r]] if keep else None
            if tokens is not None and (old := pending.get(record.number)) and old.tokens is not None:
                tokens[chosen[:, r] < 0] = old.tokens[chosen[:, r] < 0]
            pending[record.number] = Best(record, start[:, r].copy(), best[:, r].copy(), tokens, sd[:, r].copy())
        for record in windows.ended:
            yield pending.pop(record.number)


def score_fasta(models: Sequence[Predictor], fasta: Fasta, *, progress: bool = True) -> BestWindows:
    """The best window of every sequence of a file, with its letters; takes memory for each sequence.

    Args and errors are those of `score_blocks`.
    """
    blocks = score_blocks(models, fasta, progress=progress)
    return BestWindows(models, fasta.width, list(best_of_records(blocks, keep=True)))


def padded_windows(windows: Sequence[np.ndarray], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows of at most `width` tokens as uint8 (n, width), padded with N, and their lengths int32 (n,)."""
    lengths = np.array([len(window) for window in windows], np.int32)
    tokens = np.full((len(windows), width), dna.N, np.uint8)
    for row, window in zip(tokens, windows, strict=True):
        row[: len(window)] = window
    return tokens, lengths


def _score_padded(model: Model, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Scores float32 (n,) of windows as of `score_all`; those of full width run without a mask."""
    full = lengths == tokens.shape[1]
    if full.all():
        return model.score_tokens(tokens)
    scores = np.empty(len(tokens), np.float32)
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
                temporal = model.temporal(windows) if PIECES['temporal'].applies(model.score) else None
                found.append((saliency, temporal))
                bar.update(len(block))
            for row, r in enumerate(block):
                for m, (saliency, temporal) in enumerate(found):
                    yield Explained(r, m, saliency.only(row), None if temporal is None else temporal.only(row))


def write_explanations(best: BestWindows, path: pathlib.Path, *, figures: int = 0, progress: bool = True) -> int:
    """Explain every best window: a table with a row per letter, and figures of the first few sequences.

    Args:
      best: from `score_fasta`.
      path: the table, tab-separated, with `explain_columns`: `saliency` is the size of `contribution`, the
        gradient at the letter; forward and reverse are temporal scores (log odds), empty for CNNs.
      figures: of at most so many sequences a PNG is drawn, into the folder `path` without '.tsv'.
      progress: show a bar.

    Returns:
      How many figures were drawn.
    """
    folder = path.with_suffix('')
    drawn: list[Explained] = []
    with files.atomic_path(path) as temporary, open(temporary, 'w', encoding='utf-8') as table:
        columns = explain_columns(best.models)
        table.write('\t'.join(columns) + '\n')
        for explained in explain_windows(best, progress=progress):
            for row in _explained_rows(best, explained):
                table.write('\t'.join(files.format_cell(row[name]) for name in columns) + '\n')
            if explained.record < figures:
                drawn.append(explained)
                if explained.model == len(best.models) - 1:
                    record = best.records[explained.record].record
                    name = f'{record.number:04d}_{files.safe_name(record.name)}.png'
                    with files.atomic_path(folder / name) as png:
                        draw_windows(best, drawn).savefig(png, format='png', dpi=110)
                    drawn = []
    return min(figures, len(best.records))


def _explained_rows(best: BestWindows, explained: Explained) -> Iterator[dict[str, Any]]:
    found, model = best.records[explained.record], best.models[explained.model]
    record, start = found.record, int(found.start[explained.model])
    maps, scores = explained.saliency, explained.temporal
    letters = maps.sequences[0]
    parts = {'contribution': maps.signed, 'contribution_sd': maps.signed_sd}
    for name in ('forward', 'reverse', 'forward_sd', 'reverse_sd'):
        parts[name] = None if scores is None else getattr(scores, name)
    nothing = np.full(len(letters), np.nan)
    columns = {name: nothing if part is None else part[0] for name, part in parts.items()}
    named = _named(record.number, record.name, model)
    for i, base in enumerate(letters):
        values = {name: column[i] for name, column in columns.items()}
        yield named | {'position': start + i + 1, 'base': base, 'saliency': abs(values['contribution'])} | values


def draw_windows(best: BestWindows, explained: Sequence[Explained]) -> Any:
    """A matplotlib figure of one sequence: per model its best window's saliency logo and temporal strips.

    Of more than 12 models, those with the highest scores are drawn.
    """
    from matplotlib.figure import Figure

    from demo_jax.report.tables import shorten

    found = best.records[explained[0].record]
    record = found.record
    shown = sorted(explained, key=lambda e: -found.score[e.model])[:_DRAWN_MODELS]
    shown = [e for e in explained if e in shown]
    heights = [h for e in shown for h in ((1.0, 0.3, 0.3) if e.temporal else (1.0,))]
    longest = max(len(e.saliency.sequences[0]) for e in shown)
    size = (max(0.12 * longest + 1.5, 9.0), sum(heights) + 0.55 * len(shown) + 0.6)
    figure = Figure(figsize=size, layout='constrained')
    figure.suptitle(f'{shorten(record.name, 80)}, {record.length:,} letters', fontsize='medium', parse_math=False)
    axes = iter(figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
    for e in shown:
        ax, start, score = next(axes), int(found.start[e.model]), found.score[e.model]
        e.saliency.draw(ax, first=start + 1)
        end = start + len(e.saliency.sequences[0])
        title = f'probability {best.models[e.model].probability(score):.3f}, letters {start + 1}-{end}'
        title = f'{shorten(best.models[e.model].title, 70)}: {title}'
        ax.set_title(title, loc='left', fontsize='medium', parse_math=False)
        if e.temporal:
            e.temporal.draw(next(axes), next(axes))
    return figure


def _named(number: int, name: str, model: Predictor) -> dict[str, Any]:
    return {'record': number, 'sequence': name, 'task': model.task, 'spec': model.spec, 'seed': model.seed}
