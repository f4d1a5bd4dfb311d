"""What the page is given to show, as plain JSON-able values (edge in name only: no files).

Arrays travel as 16-bit whole numbers with a scale per sequence, so a value on the page is within half a step,
1/65534 of its sequence's largest, of the value on disk.
"""

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from demo_jax import dna
from demo_jax.evaluation import calibration, choose, metrics
from demo_jax.evaluation.compare import kind_of
from demo_jax.evaluation.table import Table
from demo_jax.explain.attribution import ATTRIBUTIONS
from demo_jax.explain.pieces import labels
from demo_jax.explain.sufficient_motif import SLACK, motif_of
from demo_jax.motifs import formats, piles
from demo_jax.motifs.jaspar import JasparMatrix
from demo_jax.motifs.own import counterpart
from demo_jax.report.choose import choose_sequences
from demo_jax.report.collect import MEASURES, TRACKS, Collector, SpecData, Sufficient, TaskData, number
from demo_jax.report.figures_overview import spec_label
from demo_jax.report.found_payload import found_payload
from demo_jax.report.grammar_payload import grammar_payload
from demo_jax.training.jobs import Job

#: Largest whole number of a 16-bit value; the smallest, -32768, stands for 'nothing here'.
FULL = 32767
BLANK = -32768
MOST_MATCHES = 3
_SYMBOLS = {'q_value': 'q', 'p_value': 'p', 'e_value': 'E'}
MOST_ROC_POINTS = 250


def pack(values: np.ndarray) -> dict[str, Any]:
    """float (S, L) -> {'scale': S numbers, 'data': base64 of int16 little-endian}; value = whole number x scale."""
    values = np.asarray(values, np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    largest = np.nan_to_num(np.abs(values), nan=0.0).max(axis=1, initial=0.0)
    scale = [rounded(size / FULL, 7) for size in largest]
    step = np.array([size or 1.0 for size in scale])
    whole = np.clip(np.rint(np.nan_to_num(values / step[:, None], nan=0.0)), -FULL, FULL)
    whole = np.where(np.isnan(values), BLANK, whole)
    return {'scale': scale, 'data': base64.b64encode(whole.astype('<i2').tobytes()).decode('ascii')}


def unpack(packed: Mapping[str, Any]) -> np.ndarray:
    """What `pack` was given, float64 (S, L), to half a step; what was not finite is NaN."""
    whole = np.frombuffer(base64.b64decode(packed['data']), '<i2').reshape(len(packed['scale']), -1)
    values = whole * np.array(packed['scale'])[:, None]
    return np.where(whole == BLANK, np.nan, values)


def rounded(value: float, digits: int = 5) -> float | None:
    """A number with so many significant digits; None where it is not finite."""
    value = float(value)
    if not math.isfinite(value):
        return None
    return float(f'{value:.{digits}g}')


def bytes_per_sequence(collector: Collector) -> float:
    """How much the page grows when every task shows one sequence more, roughly, in bytes: 16-bit numbers as base64."""
    longest = int(collector.corpus.lengths.max(initial=0))
    jobs = [job for task in collector.corpus.tasks for job in collector.explained(task)]
    tracks = sum(len(TRACKS) + (2 if 'rnn' in kind_of(job.spec) else 0) for job in jobs)
    return tracks * longest * 2 * 4 / 3 + len({job.task for job in jobs}) * (longest + 300)


def bytes_without_sequences(collector: Collector) -> float:
    """What all tasks take on the page beside their sequences, roughly, in bytes: as much each as the first one."""
    tasks = [task for task in collector.corpus.tasks if collector.explained(task)]
    if not tasks:
        return 0.0
    first = task_payload(collector, collector.task(tasks[0]), sequences=1)
    text = json.dumps(first, separators=(',', ':'))
    return len(tasks) * max(0.0, len(text) - bytes_per_sequence(collector) / len(tasks))


def run_payload(collector: Collector, *, title: str, made: Sequence[str]) -> dict[str, Any]:
    """The overview: facts, tables, and one row per task.

    Args:
      collector: of the run.
      title: e.g. the run directory's name.
      made: tasks that have a file of their own, in the corpus's order.
    """
    corpus, config = collector.corpus, collector.run.config()
    own = {(row['task'], row['spec'], row['method']): row for row in collector.table('table4_tasks')}
    chosen = {row['task']: row for row in collector.table('published')}
    tasks = []
    for place, task in enumerate(corpus.tasks):
        test = corpus.rows(place, 'test')
        by_validation = _explained_choice(collector, task, chosen.get(task, {}).get('spec', ''))
        counted = own.get((task, by_validation or '', 'saliency'), {'matches': '', 'out_of': ''})
        share = number(counted['matches']) / (number(counted['out_of']) or math.nan)
        tasks.append(
            {
                'name': task,
                'protein': collector.protein(task).symbol,
                'auroc': [rounded(values[place], 4) for values in collector.auroc.values()],
                'chosen': chosen.get(task, {}).get('spec') or None,
                'deepbind': rounded(number(chosen.get(task, {}).get('deepbind', '')), 4),
                'own': rounded(share, 3),
                'own_spec': by_validation if math.isfinite(share) else None,
                'n_train': int(corpus.bounds[place, 1] - corpus.bounds[place, 0]),
                'n_test': test.stop - test.start,
                'page': task in made,
            }
        )
    facts = collector.run.facts()
    return {
        'title': title,
        'source': str(config.get('corpus', {}).get('source', '')),
        'release': collector.release,
        'methods': labels(any(len(collector.members(job)) > 1 for task in made for job in collector.explained(task))),
        # What the letters of the viewer can show; a track that reads another's numbers names it.
        'tracks': [
            {
                'name': method.name,
                'reads': method.reads or method.name,
                'size': method.ranks == 'size',
                'label': method.signed[0],
                'unit': method.signed[1],
            }
            for method in ATTRIBUTIONS.values()
        ],
        'criterion': criterion(collector.match_settings),
        'motif_rule': {'columns': piles.BEST_COLUMNS, 'bits': piles.CLEAR, 'one_in': round(1 / piles.AGREES)},
        'n_sequences': len(corpus),
        'n_models': len(collector.jobs),
        'n_seeds': len({job.seed for job in collector.jobs}),
        'versions': {name: facts['versions'][name] for name in ('demo_jax', 'jax') if name in facts['versions']},
        'specs': [{'spec': spec, 'label': spec_label(spec), 'kind': kind_of(spec)} for spec in collector.scored],
        'headline': _headline(collector.table('table2')),
        'tables': [shown for kind in collector.kinds for shown in _figures(collector, kind)],
        'tasks': tasks,
        'missing': list(dict.fromkeys(collector.missing)),
    }


def _figures(collector: Collector, kind: Table) -> Iterator[dict[str, Any]]:
    """How a table stands on the page; nothing where it says nothing, or has no rows and does not say why."""
    rows = _table(collector.table(kind.name)) if kind.figures else []
    for number_of, figure in enumerate(kind.figures):
        note, empty = (
            text if isinstance(text, str) else text(rows, collector.release) if use else ''
            for text, use in ((figure.note, rows), (figure.empty, not rows))
        )
        if rows or empty:
            yield {
                'name': f'{kind.name}{number_of or ""}',
                'title': figure.title,
                'rows': rows,
                'note': note,
                'empty': empty,
                'by_method': figure.by_method,
                'wide': figure.wide,
                'columns': [
                    column._asdict()
                    for column in figure.columns
                    if not column.where or any(row.get(column.where) is not None for row in rows)
                ],
            }


def _headline(table2: Sequence[Mapping[str, str]]) -> dict[str, Any] | None:
    """The run's first fact: `mean` test AUROC over `n_tasks` of the models that validation data chose, one per task.

    Of a run with one trained spec, where there was nothing to choose, it is that spec's, and `spec` names it. None
    where nothing is scored. Never the best of several test scores: that would flatter the run.
    """
    trained = [row for row in table2 if row['kind'] not in ('published', 'motifs', 'chosen', 'ensemble')]
    rows = [row for row in table2 if row['kind'] == 'chosen'] or (trained if len(trained) == 1 else [])
    if not rows or not math.isfinite(number(rows[0]['mean'])):
        return None
    spec = None if rows[0]['kind'] == 'chosen' else rows[0]['model']
    return {name: cell for name, cell in _table(rows)[0].items() if name in ('mean', 'n_tasks')} | {'spec': spec}


def _explained_choice(collector: Collector, task: str, chosen: str) -> str | None:
    """The spec that validation data chose for a task, else the best by validation of those that are explained.

    None where nothing is explained, or of several explained ones none has a validation AUROC.
    """
    jobs = collector.explained(task)
    specs = [job.spec for job in jobs]
    if chosen in specs or len(jobs) < 2:
        return chosen if chosen in specs else next(iter(specs), None)

    def valid(job: Job) -> float:
        return number((collector.rating(job) or {}).get('valid_auroc', ''))

    best = choose.best(jobs, valid)
    return best.spec if best is not None and math.isfinite(valid(best)) else None


def criterion(settings: Mapping[str, Any]) -> str:
    """What counts as a match by the settings `measure` and `threshold`, e.g. 'q at most 0.5'."""
    return f'{_SYMBOLS.get(settings.get("measure", ""), "q")} at most {settings.get("threshold", 0.5)}'


def task_payload(collector: Collector, data: TaskData, *, sequences: int, answers: bool = False) -> dict[str, Any]:
    """All that the page shows of one task.

    Args:
      collector: of the run.
      data: from `collector.task`.
      sequences: how many of them, see `choose_sequences`.
      answers: the weights of its models are there, see `page.write_models`.
    """
    scores = np.array([spec.score for spec in data.specs])
    chosen = choose_sequences(scores, data.labels, sequences)
    index = np.array(list(chosen), np.int64)
    targets: dict[str, Any] = {}
    models = [_model(collector, spec, data, index, targets) for spec in data.specs]
    test = collector.corpus.rows(data.task, 'test')
    rates = {row['spec']: row for row in collector.table('auroc') if row['task'] == data.task}
    # Of several seeds, or rows of a grid, the model that is shown.
    rates |= {job.spec: collector.rating(job) or {} for job in collector.shown_jobs(data.task)}
    several = {job.spec for job in collector.explained(data.task) if len(collector.members(job)) > 1}
    together = (row for row in collector.table('ensemble') if row['task'] == data.task)
    rates |= {row['spec']: row for row in together if row['spec'] in several}
    return {
        'name': data.task,
        'protein': data.protein.symbol,
        'protein_how': data.protein.how,
        'answers': answers,
        'roc': _roc(collector, data.task),
        'reliability': _reliability(collector, data.task),
        'curves': _curves(collector, data.task),
        'interval': {
            spec: [rounded(number(row.get(f'test_auroc{end}', '')), 4) for end in ('', '_low', '_high')]
            for spec, row in rates.items()
        },
        'own': None
        if data.own is None
        else [
            _own_matrix(matrix, data.hits[motif].threshold if data.hits else None, collector.hit_p_value)
            for motif, matrix in data.own.items()
        ],
        'models': models,
        'found': found_payload(collector, data, targets),
        'grammar': grammar_payload(collector, data.task),
        'targets': targets,
        'truth': [row for row in collector.table('truth') if row['task'] == data.task],
        'table4': [row for row in collector.table('table4_tasks') if row['task'] == data.task],
        'length': int(data.tokens.shape[1]),
        'n_explained': len(data.rows),
        'n_test': test.stop - test.start,
        'sequences': [_sequence(collector, data, at, chosen[at], scores[:, at]) for at in index.tolist()],
    }


def _own_matrix(matrix: JasparMatrix, reached: float | None, hit_p_value: float) -> dict[str, Any]:
    """A matrix of the TF itself, with what has to be known of it.

    `reached` is the largest p-value of its hits where it is too short for the one that is asked for, and `paper` says
    what JASPAR2016 has in its place.
    """
    other = counterpart(matrix)
    return {
        'id': matrix.id,
        'name': matrix.name,
        'consensus': matrix.consensus,
        'matrix': _matrix(matrix.probabilities),
        'reached': None if reached is None or reached <= hit_p_value else rounded(reached, 2),
        'paper': None if other is None else other.note,
    }


def _sequence(collector: Collector, data: TaskData, at: int, why: str, scores: np.ndarray) -> dict[str, Any]:
    row = int(data.rows[at])
    hits = None
    if data.hits is not None:
        hits = [
            [int(start), int(start) + found.width, int(strand), number_of, rounded(score, 4), rounded(p, 3)]
            for number_of, found in enumerate(data.hits.values())
            for start, strand, score, p in found.of_row(at)
        ]
    return {
        'row': row,
        'name': collector.corpus.name(row),
        'label': int(data.labels[at]),
        'letters': dna.decode(data.tokens[at, : data.lengths[at]]),
        'place': collector.place(row),
        'why': why,
        'scores': [rounded(score, 6) for score in scores],
        'hits': hits,
        'sites': collector.sites(row),
    }


def _model(
    collector: Collector, spec: SpecData, data: TaskData, index: np.ndarray, targets: dict[str, Any]
) -> dict[str, Any]:
    inside = np.arange(data.tokens.shape[1]) < data.lengths[index][:, None]

    def packed(values: np.ndarray | None) -> dict[str, Any] | None:
        return None if values is None else pack(np.where(inside, values[index], np.nan))

    place = {str(row): number_of for number_of, row in enumerate(data.rows[index].tolist())}
    windows: dict[str, list[int | None]] = {}
    for row in spec.windows:
        if row['row'] in place:
            starts = windows.setdefault(row['method'], [None] * len(index))
            starts[place[row['row']]] = int(row['start'])
    width = next((int(row['end']) - int(row['start']) for row in spec.windows), 0)
    return {
        'spec': spec.spec,
        'label': model_label(collector, spec.spec, spec.job),
        'temperature': rounded(spec.scale.temperature, 6),
        'shift': rounded(spec.scale.shift, 6),
        'optimum': None if spec.optimum is None else _matrix(spec.optimum),
        'sufficient': None if spec.sufficient is None else _sufficient(spec.sufficient),
        'tracks': {name: packed(values) for name, values in spec.tracks.items()},
        'forward': packed(spec.forward),
        'reverse': packed(spec.reverse),
        'motifs': _motifs(collector, spec, targets),
        'windows': windows,
        'window_width': width,
    }


def _sufficient(found: Sufficient) -> dict[str, Any]:
    """The informative columns of the letters that suffice, with what they cost and reach."""
    numbers = {name: rounded(getattr(found, name), 2) for name in ('score', 'bits', 'without', 'target')}
    return {'matrix': _matrix(motif_of(found.matrix)), 'reached': found.score >= found.target - SLACK, **numbers}


def _motifs(collector: Collector, spec: SpecData, targets: dict[str, Any]) -> list[dict[str, Any]]:
    """Each method's motif, how clear it is, and its best JASPAR matches if it is clear.

    The matched matrices go into `targets`, once each. `agree` is None where nobody counted.
    """
    by_query: dict[str, list[dict[str, str]]] = {}
    for row in spec.matches:
        by_query.setdefault(formats.unescape(row['Query_ID']), []).append(row)
    result = []
    for method, matrix in spec.motifs.items():
        bits = piles.best_bits(matrix)
        clear = piles.judge(bits) == 'motif'
        matches = []
        for row in by_query.get(method, [])[: MOST_MATCHES if clear else 0]:
            target = formats.unescape(row['Target_ID'])
            known = collector.matrices.get(target)
            if known is not None:
                targets[target] = {'name': known.name, 'matrix': _matrix(known.probabilities)}
            matches.append(
                {
                    'target': target,
                    'offset': int(row['Optimal_offset']),
                    'overlap': int(row['Overlap']),
                    'strand': row['Orientation'],
                    'p': rounded(number(row['p-value']), 6),
                    'e': rounded(number(row['E-value']), 6),
                    'q': rounded(number(row['q-value']), 6),
                }
            )
        result.append(
            {
                'method': method,
                'matrix': _matrix(matrix),
                'bits': rounded(bits, 4),
                'verdict': piles.judge(bits),
                'agree': spec.agree.get(method),
                'matches': matches,
            }
        )
    return result


def model_label(collector: Collector, spec: str, job: int) -> str:
    """What the page calls a model, e.g. 'medium CNN', or of several that answer together 'medium CNN x 3'."""
    n = len(collector.members(collector.jobs[job]))
    return f'{spec_label(spec)} x {n}' if n > 1 else spec_label(spec)


def _roc(collector: Collector, task: str) -> list[dict[str, Any]]:
    """The ROC curve of one model per spec, thinned out to at most some hundred points."""
    labels = np.asarray(collector.corpus.labels[collector.corpus.rows(task, 'test')])
    result = []
    for job in collector.shown_jobs(task):
        scores = collector.predictions(job)
        if scores is None:  # not scored yet, though another seed of the spec is
            continue
        curve = metrics.roc_curve(labels, scores)
        x, y = curve.false_positive_rate, curve.true_positive_rate
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            continue  # a test set of one class only has no curve
        turns = np.ones(len(x), bool)  # points inside a straight run say nothing
        turns[1:-1] = (np.diff(x)[1:] != np.diff(x)[:-1]) | (np.diff(y)[1:] != np.diff(y)[:-1])
        x, y = x[turns], y[turns]
        kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_ROC_POINTS)).round().astype(int))
        result.append(
            {
                'spec': job.spec,
                'label': model_label(collector, job.spec, job.index),
                'auroc': rounded(metrics.auroc(labels, scores), 4),
                'x': [rounded(value, 4) for value in x[kept]],
                'y': [rounded(value, 4) for value in y[kept]],
            }
        )
    return result


def _reliability(collector: Collector, task: str) -> list[dict[str, Any]]:
    """What the probabilities of one model per spec come to: calibrated ones, where the model is."""
    result = []
    for job, bound, chances in collector.probabilities(task):
        found = calibration.reliability(bound, chances)
        result.append(
            {
                'spec': job.spec,
                'label': model_label(collector, job.spec, job.index),
                'calibrated': collector.scale(job) is not None,
                'error': rounded(calibration.calibration_error(bound, chances), 4),
                'x': [rounded(value, 4) for value in found.predicted],
                'y': [rounded(value, 4) for value in found.observed],
            }
        )
    return result


def _curves(collector: Collector, task: str) -> list[dict[str, Any]]:
    result = []
    for job in collector.shown_jobs(task):
        rows = collector.history.get(job.index, [])
        if rows:
            curve = {measure: [rounded(number(row[measure]), 4) for row in rows] for measure in MEASURES}
            result.append({'spec': job.spec, 'label': spec_label(job.spec)} | curve)
    return result


def _table(rows: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Cells as numbers where they are numbers, None where they are empty."""

    def cell(text: str) -> Any:
        if text == '':
            return None
        value = number(text)
        return value if math.isfinite(value) and not text[:1].isalpha() else text

    return [{column: cell(text) for column, text in row.items()} for row in rows]


def _matrix(matrix: np.ndarray) -> list[list[float]]:
    return [[round(float(value), 3) for value in row] for row in matrix]
