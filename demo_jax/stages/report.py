"""Stage `report`: figures, the page, and pictures for TensorBoard (edge)."""

import dataclasses
import hashlib
import importlib.resources
import pathlib
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from demo_jax.errors import InputError
from demo_jax.evaluation.compare import best_of_each_kind
from demo_jax.evaluation.published import PAPER_TABLE2
from demo_jax.evaluation.table import Table
from demo_jax.explain.truth import site_mask
from demo_jax.io import files
from demo_jax.nn.architecture import resolve
from demo_jax.report import architecture, collect, figures_overview, model_payload, page, payload
from demo_jax.report.collect import Collector, TaskData
from demo_jax.report.figures_found import found_figure
from demo_jax.report.figures_sequence import ModelView, SequenceView, Span, dashboard_figure
from demo_jax.runs import monitor
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.done import Made, Records, digest

FORMATS = ('png', 'svg', 'pdf')
_DPI = 180
#: The largest share of the page that weights of models may take.
_MOST_WEIGHTS = 2 / 3
_HPARAMS = ('task', 'spec', 'seed', 'learning_rate', 'dropout', 'weight_decay')
_MEASURES = ('valid_auroc', 'test_auroc', 'test_auprc')


@dataclasses.dataclass(frozen=True)
class ReportSettings:
    """What is shown.

    Attributes:
      sequences: test sequences per task on the page, see `report.choose.choose_sequences`.
      dashboards: dashboard figures per task: the best-scored positive, then those that the models disagree on
        most; 0 = none.
      page_megabytes: where the page would be larger, it shows fewer sequences per task (and says so). At most two
        thirds of it are weights of models; architectures whose weights do not fit are not computed on the page.
    """

    sequences: int = 50
    dashboards: int = 2
    page_megabytes: float = 60.0

    def __post_init__(self) -> None:
        for name, least in (('sequences', 1), ('dashboards', 0)):
            if getattr(self, name) < least:
                raise InputError(f'dashboard: {name} is {getattr(self, name)}, expected {least} or more')
        if not self.page_megabytes > 0:
            raise InputError(f'dashboard: page_megabytes is {self.page_megabytes}, expected a number above 0')


def report_run(
    run: RunDirectory,
    kinds: Sequence[Table],
    settings: ReportSettings | None = None,
    *,
    folder: pathlib.Path | None = None,
    progress: bool = True,
) -> pathlib.Path:
    """Draw what a run found. Nothing is drawn again unless what it is drawn from has changed.

    Writes `figures/` (figures over all tasks as PNG, SVG and PDF, in `figures/dashboards/TASK/` some sequences, and in
    `figures/motifs/` the motifs that were found in each task), `dashboard/` (the page) and `tensorboard/report/` (the
    same pictures, and every model in the hparams view). What a run does not hold yet is left out, and the page says so.

    Args:
      run: a run; the caller holds its lock.
      kinds: what the tables of a run are like, see `record.all_tables`.
      settings: see `ReportSettings`.
      folder: where the page goes; default WORKDIR/dashboard.
      progress: show a bar over tasks.

    Returns:
      The page to open.

    Raises:
      InputError: it is not a run directory.
    """
    settings = ReportSettings() if settings is None else settings
    collector = Collector(run, kinds)
    folder = run.path / 'dashboard' if folder is None else pathlib.Path(folder)
    figures = run.path / 'figures'
    records = Records(figures)
    code = _code()
    drawn = False
    files_read = digest(run.path, ['explain'], read=['tables', 'history.tsv'])
    overview = Made({}, {'code': code, 'files': files_read})
    if not records.has('overview', overview):
        records.forget('overview')
        for name, draw in _overview(collector).items():
            figure = draw()
            if figure is not None:
                _save(figure, figures / name)
        records.keep('overview', overview)
        drawn = True
    page.write_assets(folder)
    weights = _weights(collector, settings)
    sequences = _affordable(collector, settings, sum(weights.values()))
    for place, task in enumerate(tqdm(collector.corpus.tasks, desc='dashboards', unit='task', disable=not progress)):
        inputs = _inputs(collector, task)
        for_figures = Made(
            {'dashboards': settings.dashboards, 'hit_p_value': collector.hit_p_value},
            {'code': code, 'files': digest(run.path, inputs, read=['motifs/own.json'])},
        )
        models = [f'models/{of:05d}.npz' for job in collector.explained(task) for of in collector.members(job)]
        shown = [*(f'{folder}/{files.safe_name(task)}' for folder in ('motifs', 'grammar')), *inputs, *models]
        of_page = digest(run.path, shown, read=['tables', 'history.tsv', 'motifs/own.json'])
        for_page = Made(
            {'sequences': sequences, 'hit_p_value': collector.hit_p_value, 'weights': sorted(weights)},
            {'code': code, 'files': of_page, 'folder': str(folder.resolve())},
        )
        new_page, new_figures = (
            not records.has(f'{part} {task}', made) for part, made in (('page', for_page), ('figures', for_figures))
        )
        if not (new_page or new_figures):
            continue
        data = collector.task(task, windows=new_page)
        if new_figures:
            records.forget(f'figures {task}')
            shutil.rmtree(figures / 'dashboards' / files.safe_name(task), ignore_errors=True)
            for rank, at in enumerate(_worth_a_figure(data, settings.dashboards)):
                formats = FORMATS if rank == 0 else FORMATS[:1]
                _save(dashboard_figure(sequence_view(collector, data, at)), _place(run, data, at), formats)
            records.keep(f'figures {task}', for_figures)
        if new_page:
            records.forget(f'page {task}')
            written = _write_task(folder, place, collector, data, sequences, weights)
            records.keep(f'page {task}', for_page, written)
        drawn = True
    index = folder / 'index.html'
    if drawn or not (folder / 'data' / 'run.js').is_file():
        title = run.path.resolve().name
        page.write_run(folder, payload.run_payload(collector, title=title, made=collector.corpus.tasks))
        _tensorboard(collector)
    return index


def draw_sequence(
    run: RunDirectory, kinds: Sequence[Table], task: str, row: int, settings: ReportSettings | None = None
) -> pathlib.Path:
    """Draw the dashboard of one explained sequence, as PNG, SVG and PDF.

    Args:
      run: a run with explanations.
      task: name of the task.
      row: the sequence's corpus row, as the page and `windows.tsv` give it.
      settings: see `ReportSettings`.

    Returns:
      The PNG file; the others lie beside it.

    Raises:
      InputError: no such task, or the sequence is not one of its explained ones.
    """
    settings = ReportSettings() if settings is None else settings
    collector = Collector(run, kinds)
    collector.corpus.task_index(task)
    data = collector.task(task, windows=False)
    at = np.flatnonzero(data.rows == row)
    if not len(at) or not data.specs:
        known = f'rows {data.rows.min()} to {data.rows.max()}' if len(data.rows) else 'none yet: run the stage explain'
        raise InputError(f'{run.path}: row {row} is not an explained sequence of {task}; it has {known}')
    path = _place(run, data, int(at[0]))
    _save(dashboard_figure(sequence_view(collector, data, int(at[0]))), path)
    return path.with_name(f'{path.name}.png')


def sequence_view(collector: Collector, data: TaskData, at: int) -> SequenceView:
    """What the dashboard figure of one sequence shows.

    Args:
      collector: of the run.
      data: of the task.
      at: the sequence's place among the explained ones.
    """
    length, row = int(data.lengths[at]), int(data.rows[at])
    models = [
        ModelView(
            label=payload.model_label(collector, spec.spec, spec.job),
            score=float(spec.score[at]),
            saliency=np.abs(spec.tracks['saliency'][at, :length]),
            forward=None if spec.forward is None else spec.forward[at, :length],
            reverse=None if spec.reverse is None else spec.reverse[at, :length],
            optimum=spec.optimum,
            scale=spec.scale,
        )
        for spec in data.specs
    ]
    hits = None
    if data.hits is not None and data.own:
        hits = [
            Span(start, start + found.width, motif, strand)
            for motif, found in data.hits.items()
            for start, strand, _, _ in found.of_row(at)
        ]
    return SequenceView(
        title=f'{data.task}, {collector.corpus.name(row) or f"row {row}"}',
        letters=collector.corpus.sequence(row),
        bound=bool(data.labels[at]),
        models=models,
        jaspar=[(f'{motif} {matrix.name}', matrix.probabilities) for motif, matrix in (data.own or {}).items()],
        hits=hits,
        sites=[Span(start, stop, motif, strand) for start, stop, strand, motif, _ in collector.sites(row)],
    )


def _write_task(
    folder: pathlib.Path,
    place: int,
    collector: Collector,
    data: TaskData,
    sequences: int,
    weights: Collection[str],
) -> list[pathlib.Path]:
    """Write what the page shows of a task, the weights of its models, and a figure of its motifs; returns the files."""
    models = page.write_models(folder, place, model_payload.models_payload(collector, data.task, weights))
    shown = payload.task_payload(collector, data, sequences=sequences, answers=models is not None)
    page.write_task(folder, place, shown)
    written = [folder / 'data' / f'{page.task_key(place)}.js', *([models] if models else [])]
    return written + _write_found(collector.run, data.task, shown)


def _write_found(run: RunDirectory, task: str, shown: Mapping[str, Any]) -> list[pathlib.Path]:
    """Draw the motifs that the page lists first, if there are any; returns the files."""
    path = run.path / 'figures' / 'motifs' / files.safe_name(task)
    drawn = [path.with_name(f'{path.name}.{kind}') for kind in FORMATS]
    for old in drawn:
        old.unlink(missing_ok=True)
    motifs = [motif for motif in (shown['found'] or {'motifs': []})['motifs'] if motif['default']]
    if not motifs:
        return []
    _save(found_figure(task, motifs, shown['targets']), path)
    return drawn


def _weights(collector: Collector, settings: ReportSettings) -> dict[str, int]:
    """The architectures that the page computes, and the bytes of their weights over all tasks."""
    chosen, others = model_payload.affordable_specs(collector, _MOST_WEIGHTS * 1e6 * settings.page_megabytes)
    if others:
        collector.missing.append(
            f'The page does not compute {", ".join(others)}: the weights would take more than two thirds of '
            f'{settings.page_megabytes:g} MB (setting page_megabytes).'
        )
    return chosen


def _affordable(collector: Collector, settings: ReportSettings, weights: float = 0.0) -> int:
    """How many sequences per task fit in the page beside `weights` bytes; the settings say how large it may become."""
    each, room = payload.bytes_per_sequence(collector), 0.95 * 1e6 * settings.page_megabytes - weights
    if each * settings.sequences < room / 2:  # far from it: the rest need not be measured
        return settings.sequences
    fit = int((room - payload.bytes_without_sequences(collector)) / each) if each else settings.sequences
    if fit >= settings.sequences:
        return settings.sequences
    collector.missing.append(
        f'At most {max(fit, 1)} sequences per task are shown, so that the page stays below '
        f'{settings.page_megabytes:g} MB (setting page_megabytes).'
    )
    return max(fit, 1)


def _worth_a_figure(data: TaskData, n: int) -> list[int]:
    """Positives: the one with the highest mean score that most models get right, then the most disputed."""
    positives = np.flatnonzero(data.labels == 1)
    if not data.specs or not len(positives) or not n:
        return []
    scores = np.array([spec.score for spec in data.specs])[:, positives]
    right = (scores > 0).mean(axis=0) >= 0.5
    right = right if right.any() else ~right
    best = int(np.argmax(np.where(right, scores.mean(axis=0), -np.inf)))
    spread = np.tanh(scores / 2).std(axis=0)
    others = [int(at) for at in np.argsort(-spread, kind='stable') if at != best]
    return positives[[best, *others[: n - 1]]].tolist()


def _overview(collector: Collector) -> dict[str, Callable[[], Any]]:
    """The figures over all tasks, by file name; each gives None where the run does not hold what it shows."""
    ours = {spec: values for spec, values in collector.auroc.items() if np.isfinite(values).any()}
    published = collector.published()
    paper = {spec: PAPER_TABLE2[spec].mean for spec in ours if spec in PAPER_TABLE2} if collector.real else {}

    def profile() -> Any:
        saliency, sites = _profile(collector)
        return figures_overview.position_profile(saliency, sites) if saliency else None

    def curves() -> Any:
        history = collector.curves()
        return figures_overview.training_curves(history) if history else None

    def architectures() -> Any:
        names = _best_first(collector, ours)[: len(best_of_each_kind(collector.table('auroc')))]
        trained = {job.spec for job in collector.jobs}  # tables hold baselines, too
        specs = [resolve(name) for name in names if name in trained]
        length = int(np.median(collector.corpus.lengths))
        return architecture.architecture_figure(specs, length=length) if specs else None

    def reliability() -> Any:
        points = _reliability(collector)
        known = any(collector.scale(job) is not None for job in collector.jobs)
        return figures_overview.reliability(points, calibrated=known) if points else None

    return {
        'architectures': architectures,
        'table2': lambda: figures_overview.table2_violins(ours, published=paper) if ours else None,
        'auroc_vs_published': lambda: (
            figures_overview.published_scatter(ours, published) if ours and np.isfinite(published).any() else None
        ),
        'spec_vs_spec': lambda: (
            figures_overview.pairwise_scatter(ours, shown=_best_first(collector, ours)) if len(ours) > 1 else None
        ),
        'training_curves': curves,
        'reliability': reliability,
        'position_profile': profile,
    }


def _reliability(collector: Collector) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Labels and probabilities of the test sequences of all tasks, see `figures_overview.reliability`."""
    parts: dict[str, dict[str, list[tuple[np.ndarray, np.ndarray]]]] = {}
    for task in collector.corpus.tasks:
        for which in ('before', 'after'):
            for job, labels, chances in collector.probabilities(task, calibrated=which == 'after'):
                parts.setdefault(job.spec, {}).setdefault(which, []).append((labels, chances))
    return {
        spec: {
            which: (np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found]))
            for which, found in of.items()
        }
        for spec, of in parts.items()
    }


def _best_first(collector: Collector, ours: dict[str, np.ndarray]) -> list[str]:
    """The spec of each kind that validation data choose, as in Table 3, then the others."""
    chosen = [spec for spec in best_of_each_kind(collector.table('auroc')).values() if spec in ours]
    return list(dict.fromkeys([*chosen, *ours]))


def _profile(collector: Collector) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Mean share of |saliency| by position over all positives that are as long as most, and of planted sites."""
    length = int(np.median(collector.corpus.lengths)) if len(collector.corpus) else 0
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    covered, n_covered = np.zeros(length), 0
    for task in collector.corpus.tasks:
        data = collector.task(task, pieces=('saliency',), windows=False)
        kept = (data.labels == 1) & (data.lengths == length)
        for spec in data.specs:
            values = np.abs(spec.tracks['saliency'][kept, :length])
            total = values.sum(axis=1, keepdims=True)
            shares = values / np.where(total > 0, total, 1)
            sums[spec.spec] = sums.get(spec.spec, np.zeros(length)) + shares.sum(axis=0)
            counts[spec.spec] = counts.get(spec.spec, 0) + len(values)
        if collector.corpus.sites is not None and data.specs:
            covered += site_mask(collector.corpus.sites, data.rows[kept], length).sum(axis=0)
            n_covered += int(kept.sum())
    saliency = {spec: values / counts[spec] for spec, values in sums.items() if counts[spec]}
    return saliency, covered / n_covered if n_covered else None


def _place(run: RunDirectory, data: TaskData, at: int) -> pathlib.Path:
    return run.path / 'figures' / 'dashboards' / files.safe_name(data.task) / f'row{data.rows[at]:06d}'


def _save(figure: Any, path: pathlib.Path, formats: Sequence[str] = FORMATS) -> None:
    """The figure in several formats, each written whole or not at all; dates are left out, so files can be compared."""
    import matplotlib

    metadata = {'png': {}, 'svg': {'Date': None}, 'pdf': {'CreationDate': None}}
    with matplotlib.rc_context({'svg.fonttype': 'none', 'pdf.fonttype': 42, 'svg.hashsalt': 'demo_jax'}):
        if figure.get_layout_engine() is not None:  # laid out once, not once per format
            figure.draw_without_rendering()
            figure.set_layout_engine('none')
        for kind in formats:
            with files.atomic_path(path.with_name(f'{path.name}.{kind}')) as temporary:
                figure.savefig(temporary, format=kind, dpi=_DPI, metadata=metadata[kind])


def _tensorboard(collector: Collector) -> None:
    """The pictures and the hparams view, written anew as a whole."""
    folder = collector.run.path / 'tensorboard' / 'report'
    shutil.rmtree(folder, ignore_errors=True)
    monitor.write_images(folder, _pictures(collector.run.path / 'figures', collector.corpus.tasks))
    settings, measures = {}, {}
    for job in collector.jobs:
        row = collector.rating(job)
        if row is None or row['status'] != 'ok':
            continue
        name = f'{job.index:05d}'
        settings[name] = {key: getattr(job, key) for key in _HPARAMS}
        measures[name] = {key: collect.number(row[key]) for key in _MEASURES}
    monitor.write_hparams(folder / 'models', settings, measures)


def _pictures(figures: pathlib.Path, tasks: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for path in sorted(figures.glob('*.png')):
        yield f'overview/{path.stem}', path.read_bytes()
    for task, tag in monitor.task_tags(tasks).items():
        for path in sorted((figures / 'dashboards' / files.safe_name(task)).glob('*.png')):
            yield f'dashboards/{tag}/{path.stem}', path.read_bytes()
        found = figures / 'motifs' / f'{files.safe_name(task)}.png'
        if found.is_file():
            yield f'motifs/{tag}', found.read_bytes()


def _inputs(collector: Collector, task: str) -> list[str]:
    """The files of a task's models that figures and page are drawn from."""
    jobs = [job.index for job in collector.jobs if job.task == task]
    names = [f'explain/{piece}/{job:05d}.npz' for piece in collect.PIECES for job in jobs]
    return [*names, *(f'predictions/{job:05d}.npy' for job in jobs), 'explain/index.json']


def _code() -> str:
    """sha256 of the code that draws: another version of it draws everything again."""
    digest = hashlib.sha256()
    for file in sorted(importlib.resources.files('demo_jax.report').iterdir(), key=lambda file: file.name):
        if file.name.endswith('.py'):
            digest.update(file.read_bytes())
    return digest.hexdigest()
