"""Stage `evaluate`: test scores, and the tables of AUROCs (edge)."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from demo_jax.data.corpus import Corpus
from demo_jax.errors import InputError
from demo_jax.evaluation import calibration, choose, compare, metrics
from demo_jax.evaluation.table import Table
from demo_jax.explain.score import probability
from demo_jax.io import arrays, files
from demo_jax.io.settings import read_settings
from demo_jax.nn.deepbind import PUBLISHED
from demo_jax.predict.model import Model
from demo_jax.predict.run import Run
from demo_jax.runs.directory import CALIBRATION_TABLE, RunDirectory
from demo_jax.runs.done import Made, Records
from demo_jax.training.jobs import Recipe, make_plan

AUROC_COLUMNS = (
    'task',
    'spec',
    'seed',
    'learning_rate',
    'dropout',
    'valid_auroc',
    'test_auroc',
    'test_auroc_low',
    'test_auroc_high',
    'test_auprc',
    'test_auprc_low',
    'test_auprc_high',
    'n_test',
    'best_epoch',
    'n_epochs',
    'attempt',
    'asleep',
    'steps',
    'planned_steps',
    'status',
)

#: What the stage `baseline` leaves under `tables/`: rows with these columns.
BASELINE_TABLE = 'baseline_auroc.tsv'


@dataclasses.dataclass(frozen=True)
class EvaluateSettings:
    """How test scores are measured.

    Attributes:
      n_resamples: bootstrap resamples of positive/shuffle pairs for the 95% intervals.
    """

    n_resamples: int = 1000

    def __post_init__(self) -> None:
        if self.n_resamples < 1:
            raise InputError(f'evaluate: n_resamples is {self.n_resamples}, expected 1 or more')


def evaluate_run(
    run: RunDirectory, given: EvaluateSettings | None = None, *, progress: bool = True
) -> dict[str, Table]:
    """Score the test sequences with every model of a run, and write the tables.

    Writes `predictions/NNNNN.npy` (float32 scores of the task's test rows, per job) and, under
    `tables/`: `auroc.tsv` (one row per model), `training.tsv` (per spec), `table2.tsv`, `table3.tsv`,
    `calibration.tsv` (what probabilities are worth, and each model's temperature, fitted on its validation rows),
    `published.tsv` (per task, the spec chosen by validation AUROC beside DeepBind's published value), and
    `ensemble.tsv` where there are several seeds (scores averaged over seeds). Where only the spacing of two
    motifs tells in some tasks of a simulation, `table3_pairs.tsv` and `table3_single.tsv` are Table 3 over
    these and over the others. The rows of the stage `baseline`, where it has run, stand in the same tables.

    Args:
      run: the run directory; its jobs must have been trained.
      given: see `EvaluateSettings`.
      progress: show a bar over the models.

    Raises:
      InputError: a job has not been trained.
    """
    n_resamples = (given or EvaluateSettings()).n_resamples
    reader = Run(run)
    corpus, jobs, config = run.corpus(), run.jobs(), run.config()
    missing = [job for job in jobs if job.index not in run.finished_jobs()]
    if missing:
        raise InputError(f'{run.path}: {len(missing)} of {len(jobs)} models are not trained yet; run the stage train')
    published = not run.is_simulated()
    average = bool(config['recipe']['average_strands'])
    test = {task: read_rows(corpus, task, 'test') for task in corpus.tasks}
    recipe = read_settings(Recipe, config['recipe'], 'recipe')
    trained = {task: corpus.rows(task, 'train') for task in corpus.tasks}
    planned = {task: make_plan(recipe, rows.stop - rows.start).steps for task, rows in trained.items()}
    records = Records(run.path / 'predictions')
    rows, scores, calibrations = [], {}, []
    for job in tqdm(jobs, desc='evaluating', unit='model', disable=not progress):
        result = run.load_result(job.index)
        row: dict[str, Any] = {name: getattr(job, name) for name in AUROC_COLUMNS[:5]}
        row |= {'n_epochs': len(result.history)}
        row |= {name: getattr(result, name) for name in ('attempt', 'asleep', 'steps', 'status')}
        row['planned_steps'] = None if job.spec == PUBLISHED else planned[job.task]
        if result.params is not None:
            path = run.path / 'predictions' / f'{job.index:05d}.npy'
            validation = path.with_name(f'{job.index:05d}_valid.npy')
            made = Made({'both_strands': average}, {'model': result.digest})
            if not records.has(path.stem, made) or not validation.exists():
                model = Model(job.task, job.spec, job.seed, result.params, average)
                for place, found in ((path, test[job.task]), (validation, read_rows(corpus, job.task, 'valid'))):
                    _write_scores(place, model.score_tokens(found.tokens, found.lengths))
                records.keep(path.stem, made, [path, validation])
            scores[job.index] = arrays.read_npy(path)
            if job.spec != PUBLISHED:  # nothing is fitted for models of others, which our validation rows trained
                labels = np.asarray(corpus.labels[corpus.rows(job.task, 'valid')])
                calibrations.append(
                    {'job': job.index}
                    | {name: row[name] for name in AUROC_COLUMNS[:5]}
                    | calibrate(labels, arrays.read_npy(validation), scores[job.index], test[job.task], n_resamples)
                )
            row |= {'valid_auroc': result.best_auroc, 'best_epoch': result.best_epoch}
            row |= measure(scores[job.index], test[job.task], n_resamples)
        rows.append(row)
    ensembles = _ensembles(reader, rows, scores, test, n_resamples) if len({job.seed for job in jobs}) > 1 else []
    baselines = run.tables / BASELINE_TABLE
    rows += files.read_tsv(baselines) if baselines.exists() else []
    pairs = {task for task in corpus.tasks if corpus.info.get('tasks', {}).get(task, {}).get('is_pair')}
    scored = Scored(rows, ensembles, pairs, published, calibrations)
    tables = {
        derived.table.name: derived.table.of(found) for derived in TABLES if (found := derived.rows(scored)) is not None
    }
    for name, table in tables.items():
        files.write_tsv(run.tables / f'{name}.tsv', table.rows, table.columns)
    return tables


class Scored(NamedTuple):
    """What tables are made from.

    Attributes:
      rows: of all models and baselines, with `AUROC_COLUMNS`.
      ensembles: rows of scores averaged over seeds; none where there is one seed.
      pairs: tasks in which only the spacing of two motifs tells.
      published: whether published values may stand beside these.
      calibrations: rows of calibration.tsv.
    """

    rows: list[dict[str, Any]]
    ensembles: list[dict[str, Any]]
    pairs: set[str]
    published: bool
    calibrations: list[dict[str, Any]]

    @property
    def trained(self) -> list[dict[str, Any]]:
        """The rows with a test AUROC."""
        return [row for row in self.rows if row['status'] == 'ok']


class Derived(NamedTuple):
    """A table, and its rows out of all that is scored; None where the run has no such table."""

    table: Table
    rows: Callable[[Scored], list[dict[str, Any]] | None]


def _pairs(scored: Scored, wanted: bool) -> list[dict[str, Any]] | None:
    """Table 3 over a part of the tasks: mixed with the others, neither question is answered."""
    chosen = [row for row in scored.trained if (row['task'] in scored.pairs) == wanted]
    return compare.table3(chosen, published=False).rows if scored.pairs else None


def _ensembles_published(scored: Scored) -> list[dict[str, Any]] | None:
    beside = compare.beside_published(scored.ensembles, published=scored.published) if scored.ensembles else None
    return None if beside is None else beside.rows


def _training(scored: Scored) -> list[dict[str, Any]]:
    """What the trainings of each architecture's models took."""
    rows = [row for row in scored.rows if row.get('planned_steps')]
    found = []
    for spec in dict.fromkeys(row['spec'] for row in rows):
        own = [row for row in rows if row['spec'] == spec]
        steps, planned, attempts, asleep = (
            sum(row[name] for row in own) for name in ('steps', 'planned_steps', 'attempt', 'asleep')
        )
        saved = sum(row['planned_steps'] - row['steps'] for row in own if row['status'] == 'ok')
        found.append(
            {
                'spec': spec,
                'models': len(own),
                'steps': steps,
                'planned_steps': planned,
                'saved': saved / planned,
                'died': attempts - asleep,
                'asleep': asleep,
                'given_up': sum(row['status'] != 'ok' for row in own),
            }
        )
    return found


_CALIBRATION = (
    'job',
    'task',
    'spec',
    'seed',
    'learning_rate',
    'dropout',
    'temperature',
    'n_valid',
    'brier_before',
    'brier',
    'brier_low',
    'brier_high',
    'error_before',
    'error',
    'error_low',
    'error_high',
    'error_by_chance',
    'n_test',
)
_TRAINING = ('spec', 'models', 'steps', 'planned_steps', 'saved', 'died', 'asleep', 'given_up')
_INTERVAL = ('test_auroc', 'test_auroc_low', 'test_auroc_high')
#: The tables of the stage, in the order in which they are printed. Another table is another entry here: it is written,
#: printed, and on the page where it says how.
TABLES: tuple[Derived, ...] = (
    Derived(
        Table(
            [],
            AUROC_COLUMNS,
            'auroc',
            'Test AUROC per model (95% interval over positive/shuffle pairs)',
            ('task', 'spec', 'seed', 'valid_auroc', *_INTERVAL, 'best_epoch'),
            needed=('task', 'spec', 'seed', 'valid_auroc', 'test_auroc', 'status'),
        ),
        lambda scored: scored.rows,
    ),
    Derived(
        Table(
            [],
            _TRAINING,
            'training',
            'Training per architecture: steps, and new starts of models that had died '
            '(or whose loss was not finite) or not begun to learn',
        ),
        _training,
    ),
    Derived(
        Table(
            [],
            _CALIBRATION,
            CALIBRATION_TABLE,
            'Probabilities of test sequences: Brier score and calibration '
            'error, before and after division of scores by the temperature that validation data chose',
            (
                'task',
                'spec',
                'seed',
                'temperature',
                'brier_before',
                'brier',
                'error_before',
                'error',
                'error_low',
                'error_high',
                'error_by_chance',
            ),
        ),
        lambda scored: scored.calibrations,
    ),
    Derived(compare.TABLE2, lambda scored: compare.table2(scored.trained, published=scored.published).rows),
    Derived(compare.TABLE3, lambda scored: compare.table3(scored.trained, published=scored.published).rows),
    Derived(compare.BESIDE, lambda scored: compare.beside_published(scored.trained, published=scored.published).rows),
    Derived(
        compare.TABLE3._replace(
            name='table3_pairs',
            figures=(),
            title='Table 3 over the tasks in which only the spacing of two motifs tells',
        ),
        lambda scored: _pairs(scored, True),
    ),
    Derived(
        compare.TABLE3._replace(name='table3_single', figures=(), title='Table 3 over the tasks with one motif'),
        lambda scored: _pairs(scored, False),
    ),
    Derived(
        Table([], AUROC_COLUMNS, 'ensemble', 'Ensembles: scores averaged over seeds', ('task', 'spec', *_INTERVAL)),
        lambda scored: scored.ensembles or None,
    ),
    Derived(
        compare.BESIDE._replace(name='published_ensemble', title='Ensembles beside DeepBind as published'),
        _ensembles_published,
    ),
)


class Examples:
    """Rows of a task: padded tokens, lengths where they differ, labels and pair ids."""

    def __init__(self, tokens, lengths, labels, pairs):
        self.tokens, self.lengths, self.labels, self.pairs = tokens, lengths, labels, pairs


def read_rows(corpus: Corpus, task: str, split: str) -> Examples:
    """The rows of a task's split, 'train', 'valid' or 'test'."""
    rows = corpus.rows(task, split)
    lengths = np.asarray(corpus.lengths[rows])
    same = (lengths == lengths.max(initial=0)).all()
    return Examples(
        corpus.padded(rows), None if same else lengths, np.asarray(corpus.labels[rows]), np.asarray(corpus.pairs[rows])
    )


def _write_scores(path: pathlib.Path, scores: np.ndarray) -> None:
    with files.atomic_path(path) as temporary, open(temporary, 'wb') as handle:
        np.save(handle, scores, allow_pickle=False)


def calibrate(
    labels: np.ndarray, validation: np.ndarray, scores: np.ndarray, test: Examples, n_resamples: int
) -> dict[str, Any]:
    """The temperature of a model, and what its test probabilities are worth: columns of `calibration.tsv`.

    Args:
      labels, validation: (V,) of the validation rows, whose scores choose the temperature.
      scores: (N,) of the test rows.
      test: these rows.
      n_resamples: for the 95% intervals.
    """
    temperature = calibration.fit_temperature(labels, validation)
    before, after = (probability(scores, divisor) for divisor in (1.0, temperature))
    brier, error = calibration.bootstrap_errors(test.labels, after, test.pairs, n_resamples=n_resamples)
    return {
        'temperature': temperature,
        'n_valid': len(validation),
        'brier_before': calibration.brier(test.labels, before),
        'brier': calibration.brier(test.labels, after),
        'brier_low': brier.low,
        'brier_high': brier.high,
        'error_before': calibration.calibration_error(test.labels, before),
        'error': calibration.calibration_error(test.labels, after),
        'error_low': error.low,
        'error_high': error.high,
        'error_by_chance': calibration.chance_error(after),
        'n_test': len(scores),
    }


def measure(scores: np.ndarray, test: Examples, n_resamples: int) -> dict[str, Any]:
    """AUROC and AUPRC of scores (N,) with their 95% intervals, as columns of `auroc.tsv`."""
    auroc = metrics.bootstrap_auroc(test.labels, scores, test.pairs, n_resamples=n_resamples)
    auprc = metrics.bootstrap_average_precision(test.labels, scores, test.pairs, n_resamples=n_resamples)
    return {
        'test_auroc': metrics.auroc(test.labels, scores),
        'test_auroc_low': auroc.low,
        'test_auroc_high': auroc.high,
        'test_auprc': metrics.average_precision(test.labels, scores),
        'test_auprc_low': auprc.low,
        'test_auprc_high': auprc.high,
        'n_test': len(scores),
    }


def _ensembles(reader: Run, rows, scores, test, n_resamples: int) -> list[dict[str, Any]]:
    """Per task and spec, the mean score of all seeds; of a grid, each seed's best model by validation."""
    result = []
    for task in reader.tasks:
        for spec in reader.specs:
            alive = [
                (job, row['valid_auroc'])
                for job, row in zip(reader.jobs, rows, strict=True)
                if job.task == task and job.spec == spec and row['status'] == 'ok'
            ]
            best = choose.best_of_each(alive, lambda one: one[0].seed, lambda one: one[1])
            if len(best) > 1:
                mean = np.mean([scores[job.index] for job, _ in best.values()], axis=0)
                row = {'task': task, 'spec': spec, 'seed': 0, 'status': 'ok'}
                row['valid_auroc'] = float(np.mean([auroc for _, auroc in best.values()]))
                result.append(row | measure(mean, test[task], n_resamples))
    return result
