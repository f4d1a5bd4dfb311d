"""A job that goes wrong harms itself alone: wrong labels, nothing but N, and losses that are not finite."""

import dataclasses
import pathlib

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.data.corpus import Corpus
from demo_jax.io import files
from demo_jax.runs.directory import RunDirectory
from demo_jax.stages.evaluate import EvaluateSettings, evaluate_run
from demo_jax.stages.train import train_run
from demo_jax.training.jobs import Job, Recipe, make_jobs
from tests import helpers_models
from tests.helpers import toy_corpus

few_filters = pytest.fixture(scope='module', autouse=True)(helpers_models.few_filters)

RECIPE = Recipe(batch_size=16, epochs=3, learning_rate=3e-3, dropout=0.5, retries=2)
SIZES = {'good': 48, 'bad': 40, 'fine': 30}
BAD = tuple(SIZES).index('bad')
#: What can be wrong with the task in the middle.
POISONS = ('labels', 'unknown', 'rate')


def poisoned(corpus: Corpus, poison: str) -> Corpus:
    """The corpus with the training examples of the task 'bad' spoilt."""
    rows = [corpus.rows('bad', split) for split in ('train', 'valid')]
    if poison == 'labels':
        labels = np.array(corpus.labels)
        for span in rows:
            labels[span] = 1 - labels[span]
        return dataclasses.replace(corpus, labels=labels)
    tokens = np.array(corpus.tokens)
    for span in rows:
        tokens[corpus.starts[span.start] : corpus.starts[span.stop]] = dna.N
    return dataclasses.replace(corpus, tokens=tokens)


def train(path: pathlib.Path, poison: str, machine: dict[str, int]) -> RunDirectory:
    """Train the three tasks, the one in the middle poisoned."""
    corpus = toy_corpus(SIZES)
    if poison in ('labels', 'unknown'):
        corpus = poisoned(corpus, poison)
    jobs: tuple[Job, ...] = make_jobs(corpus.tasks, ['small_cnn'], RECIPE)
    if poison == 'rate':
        jobs = tuple(
            dataclasses.replace(job, learning_rate=1e38) if job.index == BAD else job for job in jobs
        )  # the first step makes every parameter infinite, and the loss NaN
    run = RunDirectory(path)
    config = {'corpus': {'source': 'fasta', 'seed': 0}, 'recipe': dataclasses.asdict(RECIPE), 'machine': machine}
    run.create(corpus, config, jobs)
    train_run(run, progress=False)
    return run


@pytest.fixture(
    scope='module',
    params=[{'width': 1, 'slots': 2, 'segment_steps': 8}, {'width': 0, 'slots': 4, 'segment_steps': 8}],
    ids=['queued', 'in lockstep'],
)
def runs(request, tmp_path_factory):
    """The run without poison ('') and with each, on the same layout."""
    folder = tmp_path_factory.mktemp('isolation')
    return {poison: train(folder / (poison or 'none'), poison, request.param) for poison in ('', *POISONS)}


@pytest.mark.parametrize('poison', POISONS)
def test_no_bit_of_another_job_changes(runs, poison):
    for index in range(len(SIZES)):
        if index == BAD:
            continue
        one, other = (runs[name].load_result(index) for name in ('', poison))
        assert one.history == other.history
        assert (one.best_epoch, one.best_auroc, one.attempt) == (other.best_epoch, other.best_auroc, other.attempt)
        assert runs[''].model_path(index).read_bytes() == runs[poison].model_path(index).read_bytes()


def test_the_poison_is_one(runs):
    """The poisoned job itself does change, or nothing would be shown."""
    usual = runs[''].load_result(BAD)
    assert usual.status == 'ok' and usual.attempt == 0
    wrong = runs['labels'].load_result(BAD)
    assert wrong.status == 'ok' and wrong.history != usual.history
    for poison in ('unknown', 'rate'):
        result = runs[poison].load_result(BAD)
        assert (result.status, result.attempt, result.params) == ('diverged', RECIPE.retries, None)


@pytest.mark.parametrize(
    ('poison', 'fault', 'rates'),
    [
        ('unknown', 'the same score for every sequence', ('0.003', '0.0015', '0.00075')),
        ('rate', 'not finite', ('1e+38', '5e+37', '2.5e+37')),
    ],
)
def test_a_job_that_diverged_was_tried_again_and_is_reported(runs, poison, fault, rates):
    notes = (runs[poison].path / 'notes.txt').read_text().splitlines()
    assert len(notes) == RECIPE.retries + 1
    for note, rate in zip(notes, rates, strict=True):
        assert note.startswith(f'bad / small_cnn / seed 0: {fault} after step') and f'at learning rate {rate};' in note
    assert notes[0].endswith(f'started again at {rates[1]}')
    assert notes[-1].endswith('given up after 3 attempts')


def test_the_tables_say_so_and_leave_it_out(runs):
    tables = evaluate_run(runs['rate'], EvaluateSettings(20), progress=False)
    written = {row['task']: row for row in files.read_tsv(runs['rate'].tables / 'auroc.tsv')}
    assert written['bad']['status'] == 'diverged' and written['bad']['attempt'] == str(RECIPE.retries)
    assert written['bad']['test_auroc'] == written['bad']['valid_auroc'] == ''
    usual = {row['task']: row for row in evaluate_run(runs[''], EvaluateSettings(20), progress=False)['auroc'].rows}
    for row in tables['auroc'].rows:
        if row['task'] != 'bad':
            assert row == usual[row['task']]
    (summary,) = tables['table2'].rows
    assert summary['n_tasks'] == 2
    mean = np.mean([usual[task]['test_auroc'] for task in ('good', 'fine')])
    assert summary['mean'] == pytest.approx(mean, abs=1e-12)
    assert not (runs[''].path / 'notes.txt').exists()
