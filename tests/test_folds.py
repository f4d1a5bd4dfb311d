"""Folds: what trains a model and what judges it, against sets of rows that are counted here."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from demo_jax.data.build import Records, TaskRecords, build_corpus
from demo_jax.data.folds import make_folds, overlaps_across, split_rows
from demo_jax.errors import InputError
from demo_jax.evaluation import metrics
from demo_jax.evaluation.calibration import calibration_error
from demo_jax.explain.score import probability
from demo_jax.io import files
from demo_jax.nn.models import SPECS
from demo_jax.predict.run import Run
from demo_jax.runs.directory import RunDirectory
from demo_jax.stages.evaluate import EvaluateSettings, evaluate_run
from demo_jax.training.fit import Finished
from demo_jax.training.jobs import Job, Recipe, epoch_order, make_jobs
from demo_jax.training.pool import build_pool
from tests.helpers import labelled, toy_corpus
from tests.helpers_models import random_params

WIDTH = 20
CHROMS = {'chr1': 30, 'chr2': 22, 'chr3': 18, 'chr4_KI270706v1_random': 3, 'chr4': 14, 'chrX': 9}


def peaks(counts, *, twins=()):
    """Overlapping and lone windows on chromosomes, unpaired negatives beside them, as a corpus of one task.

    Of each pair in `twins` (rows of the positives), the second has the letters of the first.
    """
    rng = np.random.default_rng(0)
    places = [(name, 100 * n + 13 * (n % 3), 1) for name, count in counts.items() for n in range(count)]
    places = [(name, start - 100 * (n % 4 == 1), 1) for n, (name, start, _) in enumerate(places)]
    tokens = [rng.integers(0, 4, WIDTH, dtype=np.uint8) for _ in range(2 * len(places))]
    for first, second in twins:
        tokens[second] = tokens[first]
    negatives = [(name, start + 50_000, 1) for name, start, _ in places]
    names = [f'{name}:{start}' for name, start, _ in places + negatives]
    labels = np.repeat([1, 0], len(places)).astype(np.uint8)
    train = Records(tokens, labels, names, np.full(len(labels), -1), places + negatives)
    return build_corpus([TaskRecords('a', train, labelled(10))])


def chromosomes(corpus, rows):
    return [corpus.chroms[number] for number in corpus.intervals['chrom'][rows]]


def test_pairs_are_dealt_evenly_and_stay_together():
    corpus = toy_corpus({'a': 41, 'b': 10})
    folds = make_folds(corpus, 4, seed=3)
    for task, size in (('a', 41), ('b', 10)):
        train = np.arange(corpus.rows(task, 'train').start, corpus.rows(task, 'valid').stop)
        assert len(train) == 2 * size and not folds.number[corpus.rows(task, 'test')].any()
        pairs, number = corpus.pairs[train], folds.number[train]
        assert all(len(set(number[pairs == pair])) == 1 for pair in set(pairs.tolist()))
        counts = np.bincount(number)[1:]
        assert len(counts) == 4 and counts.max() - counts.min() <= 2
        parts = [set(split_rows(corpus, task, 'valid', fold=k, numbers=folds.number).tolist()) for k in (1, 2, 3, 4)]
        assert sorted(itertools.chain(*parts)) == train.tolist()
        for k, part in enumerate(parts, start=1):
            rest = split_rows(corpus, task, 'train', fold=k, numbers=folds.number)
            assert set(rest.tolist()) == set(train.tolist()) - part
    assert [row['by'] for row in folds.rows] == ['pair'] * 8
    assert sum(row['positives'] for row in folds.rows) == 51
    alone = make_folds(corpus.select(['b']), 4, seed=3).number  # does not depend on the other task
    np.testing.assert_array_equal(alone[:20], folds.number[corpus.rows('b', 'train').start :][:20])
    assert (make_folds(corpus, 4, seed=4).number != folds.number).any()


def test_a_chromosome_is_in_one_fold_with_all_that_overlaps():
    corpus = peaks(CHROMS)
    folds = make_folds(corpus, 3)
    train = np.arange(corpus.rows('a', 'train').start, corpus.rows('a', 'valid').stop)
    found = {}
    for name, fold in zip(chromosomes(corpus, train), folds.number[train], strict=True):
        found.setdefault(name.split('_')[0], set()).add(int(fold))
    assert all(len(of) == 1 for of in found.values()) and len(found) == 5
    # 60 windows of chr1, 44 of chr2, 36 of chr3, 34 of chr4, 18 of chrX: each to the emptiest fold
    assert [row['chromosomes'] for row in folds.rows] == ['chr1', 'chr2,chrX', 'chr3,chr4']
    assert {row['by'] for row in folds.rows} == {'chromosome'} and not folds.notes
    starts = corpus.intervals['start'][train]
    for first, second in itertools.combinations(range(len(train)), 2):  # no window overlaps one of another fold
        near = abs(int(starts[first]) - int(starts[second])) < WIDTH
        if near and corpus.intervals['chrom'][train[first]] == corpus.intervals['chrom'][train[second]]:
            assert folds.number[train[first]] == folds.number[train[second]]


def test_equal_letters_on_two_chromosomes_share_a_fold_and_are_counted():
    corpus = peaks(CHROMS, twins=[(0, 42)])
    folds = make_folds(corpus, 3)
    assert folds.notes == ['1 sequences are in another fold than their chromosome, with equal letters']
    train = np.arange(corpus.rows('a', 'train').start, corpus.rows('a', 'valid').stop)
    letters = [corpus.sequence(row) for row in train]
    (twin,) = {text for text in letters if letters.count(text) > 1}
    assert len({int(folds.number[row]) for row, text in zip(train, letters, strict=True) if text == twin}) == 1


def test_overlaps_are_seen():
    places = [('chr1', 0, 1), ('chr1', 10, 1), ('chr1', 25, 1), ('chr2', 0, 1), (None, 0, 1)]
    lengths = np.full(5, 20)
    assert overlaps_across(places, lengths, np.array([1, 1, 1, 2, 2])) == 0
    assert overlaps_across(places, lengths, np.array([1, 2, 1, 1, 2])) == 2
    assert overlaps_across(places, lengths, np.array([1, 1, 2, 1, 2])) == 1


@pytest.mark.parametrize(
    'counts, n_folds, way, message',
    [
        ({'chr1': 30}, 2, 'auto', r"task 'a': fold 2 of 2 has no positives \(its sequences lie on chr1; ask for"),
        ({'chr1': 30, 'chr2': 9}, 3, 'auto', 'fold 3 of 3 has no positives .its sequences lie on chr1, chr2'),
        ({'chr1': 2, 'chr2': 1}, 4, 'pair', 'fold 3 of 4 has no positives .it has 3 in groups'),
        ({'chr1': 3}, 2, 'row', "fold_by is 'row', expected one of auto, pair"),
        ({'chr1': 3}, 1, 'auto', 'folds is 1, expected 2 or more'),
    ],
)
def test_folds_that_cannot_be(counts, n_folds, way, message):
    with pytest.raises(InputError, match=message) as caught:
        make_folds(peaks(counts), n_folds, way=way)
    assert '\n' not in str(caught.value)


def test_one_sequence_of_a_genome_can_be_parted_by_pair():
    assert set(make_folds(peaks({'chr1': 30}), 3, way='pair').number.tolist()) == {0, 1, 2, 3}


def test_a_pool_with_folds_trains_on_all_but_its_own():
    corpus = toy_corpus({'a': 20})
    folds = make_folds(corpus, 4).number
    pool, rows = build_pool(corpus, negative_sets=3, folds=folds)
    everything = set(np.arange(corpus.rows('a', 'train').start, corpus.rows('a', 'valid').stop).tolist())
    for fold in (1, 2, 3, 4):
        of = rows['a'].of(fold)
        valid = split_rows(corpus, 'a', 'valid', fold=fold, numbers=folds)
        assert sorted(of.valid.tolist()) == valid.tolist() and set(of.train[:, 0].tolist()) == everything - set(valid)
        positive = {corpus.sequence(row) for row in valid if corpus.labels[row]}
        letters = {np.sort(pool.tokens[row]).tobytes() for row in valid if corpus.labels[row]}
        shuffles = [pool.tokens[row] for row in of.train[:, 1:].ravel() if row >= len(corpus)]
        assert positive and not any(np.sort(row).tobytes() in letters for row in shuffles)
    np.testing.assert_array_equal(rows['a'].of(1).test, rows['a'].test)
    plain = build_pool(corpus, negative_sets=3)[1]['a']
    assert plain.of(0) is plain and not plain.folds


def test_the_job_table_with_folds():
    recipe = Recipe(epochs=1)
    jobs = make_jobs(['a', 'b'], ['small_cnn'], recipe, seeds=(0, 1), folds=3)
    assert len(jobs) == 12 and len({(job.task, job.seed, job.fold) for job in jobs}) == 12
    assert {job.fold for job in jobs} == {1, 2, 3} and jobs[-1].label == 'b / small_cnn / seed 1 / fold 3'
    assert len({tuple(job.seeds) for job in jobs}) == 12
    (one,) = make_jobs(['a'], ['small_cnn'], recipe)
    assert one.fold == 0 and one == Job(0, 'a', 'small_cnn', 0, recipe.learning_rate, recipe.dropout, 0.0)
    assert one.seeds == dataclasses.replace(one, index=7).seeds and len(one.seeds) == 2
    with pytest.raises(InputError, match='folds is 0, expected a whole number of 1 or more'):
        make_jobs(['a'], ['small_cnn'], recipe, folds=0)
    corpus = toy_corpus({'a': 20})
    rows = build_pool(corpus, folds=make_folds(corpus, 3).number)[1]['a']
    first = epoch_order(recipe, jobs[0], rows.of(1), 0).rows
    assert set(first[first >= 0].tolist()) == set(rows.of(1).train[:, 0].tolist())


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Random models of two seeds and three folds of one task."""
    path = tmp_path_factory.mktemp('folds') / 'run'
    corpus, recipe = toy_corpus({'one': 12}), Recipe(epochs=1)
    jobs = make_jobs(corpus.tasks, ['small_cnn'], recipe, seeds=(0, 1), folds=3)
    config = {'corpus': {'source': 'fasta'}, 'specs': ['small_cnn'], 'seeds': [0, 1], 'folds': 3, 'fold_by': 'auto'}
    config |= {'learning_rates': [], 'dropouts': [], 'recipe': dataclasses.asdict(recipe)}
    directory = RunDirectory(path)
    directory.create(corpus, config, jobs, make_folds(corpus, 3))
    for job in jobs:
        params = jax.tree.map(lambda leaf: 0.25 * leaf, random_params(SPECS[job.spec], job.index))
        directory.save_result(Finished(job.index, 0, 1, 1, 0.5 + job.index / 100, params), ())
    return directory


def test_every_training_sequence_is_scored_by_models_that_have_not_seen_it(run):
    evaluate_run(run, EvaluateSettings(n_resamples=20), progress=False)
    corpus, folds, opened = run.corpus(), run.folds(), Run(run)
    rows = np.arange(corpus.rows('one', 'train').start, corpus.rows('one', 'valid').stop)
    found = np.load(run.path / 'predictions' / 'out_of_fold' / '00000.npy')
    expected = np.zeros(len(rows))
    for at, row in enumerate(rows):
        blind = [opened.model_of(job) for job in opened.jobs if job.fold == folds[row]]
        scores = [model.predict([corpus.sequence(row)]).score[0] / model.temperature + model.shift for model in blind]
        expected[at] = np.mean(scores)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    (row,) = files.read_tsv(run.tables / 'out_of_fold.tsv')
    assert float(row['auroc']) == pytest.approx(metrics.auroc(corpus.labels[rows], expected), abs=1e-5)
    assert (row['folds'], row['seeds'], row['n']) == ('3', '2', '24')
    log_odds = np.zeros(len(rows))
    for at, row_of in enumerate(rows):
        blind = [opened.model_of(job) for job in opened.jobs if job.fold == folds[row_of]]
        others = [opened.model_of(job) for job in opened.jobs if job.fold != folds[row_of]]
        slope, shift = np.mean([1 / one.temperature for one in others]), np.mean([one.shift for one in others])
        log_odds[at] = np.mean([one.predict([corpus.sequence(row_of)]).score[0] for one in blind]) * slope + shift
    after = calibration_error(corpus.labels[rows], probability(log_odds))
    assert float(row['error']) == pytest.approx(after, abs=1e-5) and row['error'] != row['error_before']


def test_tables_have_the_ensemble_of_folds_and_seeds(run):
    tables = evaluate_run(run, EvaluateSettings(n_resamples=20), progress=False)
    corpus, opened = run.corpus(), Run(run)
    texts = [corpus.sequence(row) for row in range(*corpus.rows('one', 'test').indices(len(corpus)))]
    labels = corpus.labels[corpus.rows('one', 'test')]
    ensemble = opened.model('one', 'small_cnn')
    mean = np.mean([model.predict(texts).score for model in ensemble], axis=0)
    auroc = pytest.approx(metrics.auroc(labels, mean), abs=1e-6)
    assert len(ensemble) == 6 and tables['ensemble'].rows[0]['test_auroc'] == auroc
    assert [(row['model'], row['kind']) for row in tables['table2'].rows] == [
        ('small_cnn', 'cnn'),
        ('small_cnn x 6', 'ensemble'),
    ]
    assert tables['table2'].rows[1]['mean'] == auroc
    assert {row['fold'] for row in files.read_tsv(run.tables / 'auroc.tsv')} == {'1', '2', '3'}
    *models, together = files.read_tsv(run.tables / 'calibration.tsv')
    assert len(models) == 6 and together['job'] == '0+1+2+3+4+5' and together['n_valid'] == '24'
    assert ensemble.temperature == pytest.approx(float(together['temperature']))
    assert ensemble.shift == pytest.approx(float(together['shift']))
    assert ensemble.shift == pytest.approx(np.mean([model.shift for model in ensemble]), rel=1e-4)
    assert 1 / ensemble.temperature == pytest.approx(np.mean([1 / model.temperature for model in ensemble]), rel=1e-4)
    assert ensemble.members[2].temperature == pytest.approx(float(models[2]['temperature']))


def test_a_run_keeps_its_folds(run):
    config = run.config()
    with pytest.raises(InputError, match='other training settings .folds was 3, now 2.'):
        run.check(run.corpus(), config | {'folds': 2})
    before = (run.path / 'folds.npy').read_bytes()
    np.save(run.path / 'folds.npy', np.zeros(3))
    with pytest.raises(InputError, match='folds.npy: is float64 of shape .3,., expected a whole number per sequence'):
        run.folds()
    (run.path / 'folds.npy').write_bytes(before)
