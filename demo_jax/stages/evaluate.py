"""Stage `evaluate`: test scores, and the tables of AUROCs (edge)."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from demo_jax import arrays, files
from demo_jax.data.corpus import Corpus
from demo_jax.done import Made, Records
from demo_jax.errors import InputError
from demo_jax.evaluation import choose, compare, metrics
from demo_jax.model import Model
from demo_jax.runs import Run, RunDirectory

AUROC_COLUMNS = (
    'task', 'spec', 'seed', 'learning_rate', 'dropout', 'valid_auroc', 'test_auroc', 'test_auroc_low',
    'test_auroc_high', 'test_auprc', 'test_auprc_low', 'test_auprc_high', 'n_test', 'best_epoch', 'n_epochs', 'attempt',
    'status',
)  # fmt: skip

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
    run: RunDirectory, settings: EvaluateSettings | None = None, *, progress: bool = True
) -> dict[str, compare.Table]:
    """Score the test sequences with every model of a run, and write the tables.

    Writes `predictions/NNNNN.npy` (float32 scores of the task's test rows, per job) and, under
    `tables/`: `auroc.tsv` (one row per model), `table2.tsv`, `table3.tsv`, `published.tsv` (per task, the
    spec chosen by validation AUROC beside DeepBind's published value), and `ensemble.tsv` where there
    are several seeds (scores averaged over seeds). Where only the spacing of two motifs tells in some tasks
    of a simulation, `table3_pairs.tsv` and `table3_single.tsv` are Table 3 over these and over the others.
    The rows of the stage `baseline`, where it has run, stand in the same tables.

    Args:
      run: the run directory; its jobs must have been trained.
      settings: see `EvaluateSettings`.
      progress: show a bar over the models.

    Raises:
      InputError: a job has not been trained.
    """
    n_resamples = (settings or EvaluateSettings()).n_resamples
    reader = Run(run)
    corpus, jobs, config = run.corpus(), run.jobs(), run.config()
    missing = [job for job in jobs if job.index not in run.finished_jobs()]
    if missing:
        raise InputError(f'{run.path}: {len(missing)} of {len(jobs)} models are not trained yet; run the stage train')
    published = not run.is_simulated()
    average = bool(config['recipe']['average_strands'])
    test = {task: read_test_set(corpus, task) for task in corpus.tasks}
    records = Records(run.path / 'predictions')
    rows, scores = [], {}
    for job in tqdm(jobs, desc='evaluating', unit='model', disable=not progress):
        result = run.load_result(job.index)
        row: dict[str, Any] = {name: getattr(job, name) for name in AUROC_COLUMNS[:5]}
        row |= {'n_epochs': len(result.history), 'attempt': result.attempt, 'status': result.status}
        if result.params is not None:
            path = run.path / 'predictions' / f'{job.index:05d}.npy'
            made = Made({'both_strands': average}, {'model': result.digest})
            if not records.has(path.stem, made):
                model = Model(job.task, job.spec, job.seed, result.params, average)
                _write_scores(path, model.score_tokens(test[job.task].tokens, test[job.task].lengths))
                records.keep(path.stem, made, [path])
            scores[job.index] = arrays.read_npy(path)
            row |= {'valid_auroc': result.best_auroc, 'best_epoch': result.best_epoch}
            row |= measure(scores[job.index], test[job.task], n_resamples)
        rows.append(row)
    ensembles = _ensembles(reader, rows, scores, test, n_resamples) if len({job.seed for job in jobs}) > 1 else []
    baselines = run.tables / BASELINE_TABLE
    rows += files.read_tsv(baselines) if baselines.exists() else []
    tables = {
        'auroc': compare.Table(rows, AUROC_COLUMNS),
        'table2': compare.table2(_trained(rows), published=published),
        'table3': compare.table3(_trained(rows), published=published),
        'published': compare.beside_published(_trained(rows), published=published),
    }
    pairs = {task for task in corpus.tasks if corpus.info.get('tasks', {}).get(task, {}).get('is_pair')}
    if pairs:  # what tells is another thing in these tasks: mixed with the others, neither question is answered
        for name, wanted in (('table3_pairs', True), ('table3_single', False)):
            chosen = [row for row in _trained(rows) if (row['task'] in pairs) == wanted]
            tables[name] = compare.table3(chosen, published=False)
    if ensembles:
        tables['ensemble'] = compare.Table(ensembles, AUROC_COLUMNS)
        tables['published_ensemble'] = compare.beside_published(ensembles, published=published)
    for name, table in tables.items():
        files.write_tsv(run.tables / f'{name}.tsv', table.rows, table.columns)
    return tables


def _trained(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row['status'] == 'ok']


class TestSet:
    """The test rows of a task: padded tokens, lengths where they differ, labels and pair ids."""

    def __init__(self, tokens, lengths, labels, pairs):
        self.tokens, self.lengths, self.labels, self.pairs = tokens, lengths, labels, pairs


def read_test_set(corpus: Corpus, task: str) -> TestSet:
    """The test rows of a task."""
    rows = corpus.rows(task, 'test')
    lengths = np.asarray(corpus.lengths[rows])
    same = (lengths == lengths.max(initial=0)).all()
    return TestSet(
        corpus.padded(rows), None if same else lengths, np.asarray(corpus.labels[rows]), np.asarray(corpus.pairs[rows])
    )


def _write_scores(path: pathlib.Path, scores: np.ndarray) -> None:
    with files.atomic_path(path) as temporary, open(temporary, 'wb') as handle:
        np.save(handle, scores, allow_pickle=False)


def measure(scores: np.ndarray, test: TestSet, n_resamples: int) -> dict[str, Any]:
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
