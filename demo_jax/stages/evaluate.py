"""Stage `evaluate`: test scores, and the tables of AUROCs (edge)."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from demo_jax.data.corpus import Corpus
from demo_jax.data.folds import split_rows
from demo_jax.errors import InputError
from demo_jax.evaluation import calibration, choose, compare, metrics
from demo_jax.evaluation.choose import ALL_SPECS
from demo_jax.evaluation.table import Table
from demo_jax.explain.score import probability
from demo_jax.io import arrays, files
from demo_jax.io.settings import read_settings
from demo_jax.nn.deepbind import PUBLISHED
from demo_jax.predict.ensemble import combine
from demo_jax.predict.model import Model
from demo_jax.runs.directory import CALIBRATION_TABLE, JobResult, RunDirectory
from demo_jax.runs.done import Made, Records
from demo_jax.training.jobs import Job, Recipe, make_plan

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
    `calibration.tsv` (what probabilities are worth, and each model's scale, fitted on its validation rows),
    `published.tsv` (per task, the spec chosen by validation AUROC beside DeepBind's published value), and
    `ensemble.tsv` where there are several seeds, folds or specs (scores averaged over them; of several specs, also over
    all of these, as spec 'all'); its `valid_auroc` is that of the mean score. With folds, validation scores are of the
    job's own fold, `predictions/out_of_fold/NNNNN.npy` (NNNNN: the first of the jobs; `NNNNN_all.npy` of all specs)
    holds those of all training sequences, and `out_of_fold.tsv` rates them. Where only the spacing of two motifs tells
    in some tasks of a simulation, `table3_pairs.tsv` and `table3_single.tsv` are Table 3 over these and over the
    others. The rows of the stage `baseline`, where it has run, stand in the same tables.

    Args:
      run: the run directory; its jobs must have been trained.
      given: see `EvaluateSettings`.
      progress: show a bar over the models.

    Raises:
      InputError: a job has not been trained.
    """
    n_resamples = (given or EvaluateSettings()).n_resamples
    corpus, jobs = run.corpus(), run.jobs()
    missing = [job for job in jobs if job.index not in run.finished_jobs()]
    if missing:
        raise InputError(f'{run.path}: {len(missing)} of {len(jobs)} models are not trained yet; run the stage train')
    tested = _Tested(
        run, corpus, run.folds(), {task: read_rows(corpus, task, 'test') for task in corpus.tasks}, n_resamples
    )
    for job in tqdm(jobs, desc='evaluating', unit='model', disable=not progress):
        tested.add(job)
    for members in _groups([(job, row) for job, row in zip(jobs, tested.rows, strict=True) if row['status'] == 'ok']):
        tested.add_together(members)
    baselines = run.tables / BASELINE_TABLE
    rows = tested.rows + (files.read_tsv(baselines) if baselines.exists() else [])
    pairs = {task for task in corpus.tasks if corpus.info.get('tasks', {}).get(task, {}).get('is_pair')}
    published = not run.is_simulated()
    scored = Scored(rows, tested.ensembles, pairs, published, tested.calibrations, tested.outside)
    tables = {
        derived.table.name: _with_folds(derived.table, tested.folds).of(found)
        for derived in TABLES
        if (found := derived.rows(scored)) is not None
    }
    for name, table in tables.items():
        files.write_tsv(run.tables / f'{name}.tsv', table.rows, table.columns)
    return tables


@dataclasses.dataclass
class _Tested:
    """Models as they are scored one by one, and then those that answer together.

    Attributes:
      run, corpus, folds: what is read.
      test: the test rows of each task.
      n_resamples: for intervals.
      rows: one per model, with `AUROC_COLUMNS`, in the order of the job table.
      scores, valid: by job, scores of its test and of its validation rows.
      scales: by job, how its scores become log odds of calibrated probabilities.
      calibrations, ensembles, outside: rows of tables, see `Scored`.
    """

    run: RunDirectory
    corpus: Corpus
    folds: np.ndarray | None
    test: Mapping[str, 'Examples']
    n_resamples: int
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    scores: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
    valid: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
    scales: dict[int, calibration.Scale] = dataclasses.field(default_factory=dict)
    calibrations: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    ensembles: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    outside: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        config = self.run.config()
        self._average = bool(config['recipe']['average_strands'])
        self._recipe = read_settings(Recipe, config['recipe'], 'recipe')
        self._records = Records(self.run.path / 'predictions')

    def add(self, job: Job) -> None:
        """Score a model, and rate it."""
        result, test = self.run.load_result(job.index), self.test[job.task]
        row: dict[str, Any] = {name: getattr(job, name) for name in AUROC_COLUMNS[:5]}
        own = {'fold': job.fold} if self.folds is not None else {}
        row |= own | {'n_epochs': len(result.history)}
        row |= {name: getattr(result, name) for name in ('attempt', 'asleep', 'steps', 'status')}
        n_train = len(split_rows(self.corpus, job.task, 'train', fold=job.fold, numbers=self.folds))
        row['planned_steps'] = None if job.spec == PUBLISHED else make_plan(self._recipe, n_train).steps
        self.rows.append(row)
        if result.params is None:
            return
        held = read_rows(self.corpus, job.task, 'valid', fold=job.fold, numbers=self.folds)
        scores, valid = self._scores(job, result, held)
        self.scores[job.index], self.valid[job.index] = scores, valid
        if job.spec != PUBLISHED:  # nothing is fitted for models of others, which our validation rows trained
            row_of = {'job': job.index} | own | {name: row[name] for name in AUROC_COLUMNS[:5]}
            found = calibrate(Outside(held.labels, valid, held.pairs), scores, test, self.n_resamples)
            self.scales[job.index] = calibration.Scale(found['temperature'], found['shift'])
            self.calibrations.append(row_of | found)
        row |= {'valid_auroc': result.best_auroc, 'best_epoch': result.best_epoch}
        row |= measure(scores, test, self.n_resamples)

    def _scores(self, job: Job, result: JobResult, held: 'Examples') -> tuple[np.ndarray, np.ndarray]:
        """A model's scores of test and validation rows, out of files where they are kept."""
        path = self.run.path / 'predictions' / f'{job.index:05d}.npy'
        validation = path.with_name(f'{job.index:05d}_valid.npy')
        made = Made({'both_strands': self._average}, {'model': result.digest})
        if not self._records.has(path.stem, made) or not validation.exists():
            model = Model(job.task, job.spec, job.seed, result.params, self._average)
            for place, found in ((path, self.test[job.task]), (validation, held)):
                _write_scores(place, model.score_tokens(found.tokens, found.lengths))
            self._records.keep(path.stem, made, [path, validation])
        return arrays.read_npy(path), arrays.read_npy(validation)

    def add_together(self, members: Sequence[Job]) -> None:
        """Rate what the models of a task and spec (or of all its specs) say together, and out of fold."""
        first, spec = members[0], _spec_of(members)
        apart = None
        if self.folds is not None:
            apart = _out_of_fold(self.corpus, self.folds, members, self.valid, self.scales)
            if apart is not None:
                name = f'{first.index:05d}' + (f'_{ALL_SPECS}' if spec == ALL_SPECS else '')
                _write_scores(self.run.path / 'predictions' / 'out_of_fold' / f'{name}.npy', apart.scores)
                self.outside.append(_rate_out_of_fold(members, apart, self.n_resamples))
        if len(members) == 1:
            return
        test = self.test[first.task]
        mean = combine(np.stack([self.scores[job.index] for job in members])).mean
        if apart is None and self.folds is None:
            held = read_rows(self.corpus, first.task, 'valid')
            valid_mean = combine(np.stack([self.valid[job.index] for job in members])).mean
            apart = Outside(held.labels, valid_mean, held.pairs)
        valid = math.nan if apart is None else metrics.auroc(apart.labels, apart.scores)
        row: dict[str, Any] = {'task': first.task, 'spec': spec, 'members': len(members)}
        row |= {'seed': '', 'valid_auroc': valid}
        self.ensembles.append(row | measure(mean, test, self.n_resamples))
        if apart is not None:
            jobs = '+'.join(str(index) for index in sorted(job.index for job in members))
            scale = None if self.folds is None else _mean_scale([self.scales[job.index] for job in members])
            together = calibrate(apart, mean, test, self.n_resamples, scale)
            self.calibrations.append({'job': jobs, 'task': first.task, 'spec': spec} | together)


class Scored(NamedTuple):
    """What tables are made from.

    Attributes:
      rows: of all models and baselines, with `AUROC_COLUMNS`.
      ensembles: rows of scores averaged over seeds and folds; none where there is one of both.
      pairs: tasks in which only the spacing of two motifs tells.
      published: whether published values may stand beside these.
      calibrations: rows of calibration.tsv.
      outside: rows of out_of_fold.tsv; none where there are no folds.
    """

    rows: list[dict[str, Any]]
    ensembles: list[dict[str, Any]]
    pairs: set[str]
    published: bool
    calibrations: list[dict[str, Any]]
    outside: Sequence[dict[str, Any]] = ()

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


def _ensembles_table3(scored: Scored) -> list[dict[str, Any]] | None:
    """Table 3 is between kinds of architectures, and what answers for all of them is none."""
    rows = [row for row in scored.ensembles if row['spec'] != ALL_SPECS]
    return compare.table3(rows, published=scored.published).rows if rows else None


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
    'shift',
    'n_valid',
    'valid_error_before',
    'valid_error',
    'valid_error_by_chance',
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
_OUT_OF_FOLD = (
    'task',
    'spec',
    'folds',
    'seeds',
    'auroc',
    'auroc_low',
    'auroc_high',
    'lowest_fold',
    'highest_fold',
    'error_before',
    'error',
    'error_by_chance',
    'n',
)
_TRAINING = ('spec', 'models', 'steps', 'planned_steps', 'saved', 'died', 'asleep', 'given_up')
_TOGETHER = ('task', 'spec', 'members', 'seed', 'valid_auroc', *AUROC_COLUMNS[6:13])
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
            'error, before and after validation data chose a temperature and a shift of the log odds',
            (
                'task',
                'spec',
                'seed',
                'temperature',
                'shift',
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
    Derived(
        compare.TABLE2,
        lambda scored: compare.table2(scored.trained, ensembles=scored.ensembles, published=scored.published).rows,
    ),
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
        Table(
            [],
            _TOGETHER,
            'ensemble',
            f'Ensembles: scores averaged over seeds and folds ({ALL_SPECS}: over the architectures, too)',
            ('task', 'spec', 'members', *_INTERVAL),
        ),
        lambda scored: scored.ensembles or None,
    ),
    Derived(
        compare.TABLE3._replace(name='table3_ensemble', figures=(), title='Table 3 of ensembles'),
        _ensembles_table3,
    ),
    Derived(
        Table(
            [],
            _OUT_OF_FOLD,
            'out_of_fold',
            'Out of fold: all training sequences, each scored by the models that have not trained on it',
        ),
        lambda scored: list(scored.outside) or None,
    ),
    Derived(
        compare.BESIDE._replace(name='published_ensemble', title='Ensembles beside DeepBind as published'),
        _ensembles_published,
    ),
)


#: Tables with a row per model; with folds they have a column for them.
_PER_MODEL = ('auroc', CALIBRATION_TABLE)


def _with_folds(table: Table, folds: np.ndarray | None) -> Table:
    """A table with the column `fold`, where it has a row per model and there are folds."""
    if folds is None or table.name not in _PER_MODEL:
        return table
    columns, printed = (
        tuple(part for name in names for part in ((name, 'fold') if name == 'seed' else (name,)))
        for names in (table.columns, table.printed or table.columns)
    )
    return table._replace(columns=columns, printed=printed)


class Examples:
    """Rows of a task: padded tokens, lengths where they differ, labels and pair ids."""

    def __init__(self, tokens, lengths, labels, pairs):
        self.tokens, self.lengths, self.labels, self.pairs = tokens, lengths, labels, pairs


def read_rows(corpus: Corpus, task: str, split: str, *, fold: int = 0, numbers: np.ndarray | None = None) -> Examples:
    """The rows of a task's split, 'train', 'valid' or 'test'; of a fold, see `folds.split_rows`."""
    rows = split_rows(corpus, task, split, fold=fold, numbers=numbers)
    lengths = np.asarray(corpus.lengths[rows])
    same = (lengths == lengths.max(initial=0)).all()
    return Examples(
        corpus.padded(rows), None if same else lengths, np.asarray(corpus.labels[rows]), np.asarray(corpus.pairs[rows])
    )


def _write_scores(path: pathlib.Path, scores: np.ndarray) -> None:
    with files.atomic_path(path) as temporary, open(temporary, 'wb') as handle:
        np.save(handle, scores, allow_pickle=False)


class Outside(NamedTuple):
    """Sequences as models see them that have not trained on them.

    Attributes:
      labels: (N,).
      scores: float32 (N,), of several models the mean.
      pairs: int (N,), equal for a positive and its shuffle.
      folds: int (N,), the fold of each; None where there are none.
      raw: float32 (N,), the scores before calibration, where there are folds.
      apart: float32 (N,), the scores with the mean scale of the other folds' models, which this fold did not choose.
    """

    labels: np.ndarray
    scores: np.ndarray
    pairs: np.ndarray
    folds: np.ndarray | None = None
    raw: np.ndarray | None = None
    apart: np.ndarray | None = None


def _mean_scale(scales: Sequence[calibration.Scale]) -> calibration.Scale:
    """The scale of a mean score under which its log odds are about the mean of the members' calibrated log odds."""
    return calibration.Scale(
        1 / float(np.mean([1 / scale.temperature for scale in scales])),
        float(np.mean([scale.shift for scale in scales])),
    )


def calibrate(
    held: Outside, scores: np.ndarray, test: Examples, n_resamples: int, scale: calibration.Scale | None = None
) -> dict[str, Any]:
    """The scale of a model, and what its test probabilities are worth: columns of `calibration.tsv`.

    Args:
      held: the validation rows, whose scores choose both.
      scores: (N,) of the test rows.
      test: these rows.
      n_resamples: for the 95% intervals.
      scale: of the test scores, where it is known. None: the validation scores choose it.
    """
    scale = scale or calibration.fit_scale(held.labels, held.scores)
    apart = probability(calibration.fit_apart(held.labels, held.scores, held.pairs))
    before, after = probability(scores), probability(scores, *scale)
    brier, error = calibration.bootstrap_errors(test.labels, after, test.pairs, n_resamples=n_resamples)
    return {
        'temperature': scale.temperature,
        'shift': scale.shift,
        'n_valid': len(held.scores),
        'valid_error_before': calibration.calibration_error(held.labels, probability(held.scores)),
        'valid_error': calibration.calibration_error(held.labels, apart),
        'valid_error_by_chance': calibration.chance_error(apart),
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


def _groups(alive: Sequence[tuple[Job, Mapping[str, Any]]]) -> list[list[Job]]:
    """The models that answer together: of a task and spec those of all seeds and folds, of a grid each one's best.

    Last come those of all specs of a task that has several; models that others have published are not among them.
    """
    best = choose.best_of_each(
        alive,
        lambda one: (one[0].task, one[0].spec, one[0].seed, one[0].fold),
        lambda one: one[1]['valid_auroc'],
    )
    groups: dict[tuple[str, str], list[Job]] = {}
    for (task, spec, *_), (job, _) in best.items():
        groups.setdefault((task, spec), []).append(job)
    everything: dict[str, list[list[Job]]] = {}
    for (task, spec), members in groups.items():
        if spec != PUBLISHED:
            everything.setdefault(task, []).append(members)
    return list(groups.values()) + [sum(specs, []) for specs in everything.values() if len(specs) > 1]


def _spec_of(members: Sequence[Job]) -> str:
    """The name under which models answer together."""
    specs = {job.spec for job in members}
    return specs.pop() if len(specs) == 1 else ALL_SPECS


def _out_of_fold(
    corpus: Corpus,
    folds: np.ndarray,
    members: Sequence[Job],
    valid: Mapping[int, np.ndarray],
    scales: Mapping[int, calibration.Scale],
) -> Outside | None:
    """The out-of-fold scores of a task and spec; None where a fold has no model.

    There is one for each training and validation row of the task, in the corpus' order: the score of the model whose
    fold the sequence is in, the mean over seeds, as log odds of calibrated probabilities, for raw scores of several
    models are not on one scale. The model's epoch and scale were chosen by this fold, as those of a model are by its
    validation rows.
    """
    rows = _training_rows(corpus, members[0].task)
    own = np.asarray(folds[rows])
    raw, scores, apart = (np.full(len(rows), np.nan, np.float32) for _ in range(3))
    for fold in np.unique(own).tolist():
        of_fold = [job for job in members if job.fold == fold]
        if not of_fold:
            return None
        others = [scales[job.index] for job in members if job.fold != fold]
        elsewhere = _mean_scale(others) if others else calibration.Scale()
        for into, scale_of in (
            (raw, lambda job: calibration.Scale()),
            (scores, lambda job: scales[job.index]),
            (apart, lambda job, scale=elsewhere: scale),
        ):
            scaled = [valid[job.index] / scale_of(job).temperature + scale_of(job).shift for job in of_fold]
            into[own == fold] = combine(np.stack(scaled)).mean
    return Outside(np.asarray(corpus.labels[rows]), scores, np.asarray(corpus.pairs[rows]), own, raw, apart)


def _training_rows(corpus: Corpus, task: str) -> np.ndarray:
    """The rows of a task that are in a fold."""
    return np.arange(corpus.rows(task, 'train').start, corpus.rows(task, 'valid').stop)


def _rate_out_of_fold(members: Sequence[Job], found: Outside, n_resamples: int) -> dict[str, Any]:
    """The row of out_of_fold.tsv: AUROC over all folds, of the lowest and of the highest, and calibration."""
    interval = metrics.bootstrap_auroc(found.labels, found.scores, found.pairs, n_resamples=n_resamples)
    assert found.folds is not None and found.raw is not None and found.apart is not None
    before, after = probability(found.raw), probability(found.apart)
    parts = [found.folds == fold for fold in np.unique(found.folds)]
    each = [metrics.auroc(found.labels[part], found.scores[part]) for part in parts]
    return {
        'task': members[0].task,
        'spec': _spec_of(members),
        'folds': len(each),
        'seeds': len({job.seed for job in members}),
        'auroc': metrics.auroc(found.labels, found.scores),
        'auroc_low': interval.low,
        'auroc_high': interval.high,
        'lowest_fold': min(each),
        'highest_fold': max(each),
        'error_before': calibration.calibration_error(found.labels, before),
        'error': calibration.calibration_error(found.labels, after),
        'error_by_chance': calibration.chance_error(after),
        'n': len(found.labels),
    }
