"""Printed numbers against something that shares no code with them: plain NumPy in float64, scikit-learn, SciPy."""

import dataclasses
import statistics

import jax
import numpy as np
import pytest

from demo_jax.data.corpus import ROLES, SITE_DTYPE
from demo_jax.explain.attribution import attribute
from demo_jax.explain.temporal import temporal_scores
from demo_jax.explain.truth import Truth, score_truth
from demo_jax.motifs.extract import Windows
from demo_jax.nn.models import SPECS
from demo_jax.runs.directory import RunDirectory
from demo_jax.stages import evaluate
from demo_jax.training.fit import Finished
from demo_jax.training.jobs import Recipe, make_jobs
from tests import helpers_models
from tests.helpers import toy_corpus
from tests.helpers_models import fresh, some_tokens

few_filters = pytest.fixture(scope='module', autouse=True)(helpers_models.few_filters)

LENGTH = 34
DEEP = ('medium_cnn', 'small_cnn_rnn', 'large_cnn_rnn', 'deepbind')


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolved(x, kernel, bias, padding):
    """ReLU of a convolution, one output at a time: (L, C) -> (L', F)."""
    width = len(kernel)
    before, after = {'valid': (0, 0), 'same': ((width - 1) // 2, width // 2), 'full': (width - 1,) * 2}[padding]
    x = np.concatenate([np.zeros((before, x.shape[1])), x, np.zeros((after, x.shape[1]))])
    outputs = [sum(x[at + k] @ kernel[k] for k in range(width)) + bias for at in range(len(x) - width + 1)]
    return np.maximum(np.array(outputs), 0)


def recurrent(x, kernel, matrix, bias):
    """Hidden states of one LSTM: (L, C) -> (L, H)."""
    h = c = np.zeros(len(matrix))
    states = []
    for row in x:
        i, f, o, g = np.split(row @ kernel + h @ matrix + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


def score(params, spec, letters):
    """S(X) of one sequence of letters, float (L, 4), by the paper's equations in float64."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    strands = [letters, letters[::-1, ::-1]] if spec.both_strands else [letters]
    return max(_strand_score(params, spec, strand) for strand in strands)


def _strand_score(params, spec, x):
    for index in range(len(spec.conv)):
        x = convolved(x, params[f'conv{index}']['kernel'], params[f'conv{index}']['bias'], spec.padding)
        if index < len(spec.conv) - 1 and spec.pool > 1:
            x = np.array([x[at : at + spec.pool].max(axis=0) for at in range(0, len(x) - spec.pool + 1, spec.pool)])
    if spec.lstm_layers:
        ways = []
        for d, y in enumerate((x, x[::-1])):
            for index in range(spec.lstm_layers):
                layer = params[f'lstm{index}']
                y = recurrent(y, layer['kernel'][d], layer['recurrent'][d], layer['bias'][d])
            ways.append(y.mean(axis=0))
        features = np.concatenate(ways)
    else:
        features = x.max(axis=0)
        if spec.summary == 'max_mean':
            features = np.concatenate([features, x.mean(axis=0)])
    logits = features @ params['dense']['kernel'] + params['dense']['bias']
    return logits[1] - logits[0]


def letters_of(tokens):
    return np.concatenate([np.eye(4), np.zeros((1, 4))])[tokens]


@pytest.fixture(scope='module', params=DEEP)
def explained(request):
    """A model, ragged sequences, and its saliency maps."""
    params, tokens = fresh(request.param), some_tokens(3, seed=1)
    lengths = np.array([LENGTH, LENGTH - 1, LENGTH - 3])
    found = attribute('saliency', params, SPECS[request.param], tokens, lengths=lengths)
    return SPECS[request.param], params, [row[:n] for row, n in zip(tokens, lengths, strict=True)], found


def test_scores(explained):
    spec, params, rows, found = explained
    expected = [score(params, spec, letters_of(row)) for row in rows]
    np.testing.assert_allclose(found.score, expected, rtol=0, atol=2e-6)


def slope(function, x, place, step=1e-7):
    """The derivative of a function of a matrix along one entry, by a central difference."""
    along = np.zeros_like(x)
    along[place] = step
    return (function(x + along) - function(x - along)) / (2 * step)


def test_gradients_are_finite_differences(explained):
    spec, params, rows, found = explained
    rng = np.random.default_rng(1)
    for number, row in enumerate(rows):
        x = letters_of(row)
        for place in zip(rng.integers(0, len(row), 8), rng.integers(0, 4, 8), strict=True):
            expected = slope(lambda y: score(params, spec, y), x, place)
            assert found.hypothetical[number][place] == pytest.approx(expected, abs=2e-5)
        there = row < 4
        signed = found.hypothetical[number, : len(row)][there, row[there]]
        np.testing.assert_array_equal(found.signed[number, : len(row)][there], signed)
        assert not found.signed[number, : len(row)][~there].any()
        assert not found.hypothetical[number, len(row) :].any()


def test_integrated_gradients_are_the_path_integral():
    spec, params, tokens = SPECS['small_rnn'], fresh('small_rnn'), some_tokens(1, 12)
    found = attribute('integrated_gradients', params, spec, tokens, steps=24)
    x = letters_of(tokens[0])
    start = 0.25 * x.sum(axis=1, keepdims=True) * np.ones(4)
    points = (np.arange(40) + 0.5) / 40  # the midpoint rule, not ours

    def mean_slope(place):
        return np.mean([slope(lambda y: score(params, spec, y), start + a * (x - start), place) for a in points])

    for position in (0, 7):
        means = np.array([mean_slope((position, letter)) for letter in range(4)])
        expected = means - means @ start[position]
        np.testing.assert_allclose(found.hypothetical[0, position], expected, atol=1e-4)
    gain = score(params, spec, x) - score(params, spec, start)
    assert found.signed[0].sum() == pytest.approx(gain, abs=2e-5)
    assert found.completeness_error[0] < 2e-5


def test_mutagenesis_and_temporal_scores():
    spec, params, tokens = SPECS['small_rnn'], fresh('small_rnn', 3), some_tokens(1, 12, seed=5)
    row = tokens[0]
    usual = score(params, spec, letters_of(row))
    expected = np.zeros((12, 4))
    for position in range(12):
        for letter in range(4):
            mutant = row.copy()
            mutant[position] = letter
            expected[position, letter] = score(params, spec, letters_of(mutant)) - usual
    found = attribute('mutagenesis', params, spec, tokens)
    np.testing.assert_allclose(found.hypothetical[0], expected, atol=2e-6)
    np.testing.assert_allclose(found.signed[0], np.where(row < 4, -expected.sum(axis=1) / 3, 0), atol=2e-6)
    prefixes = [score(params, spec, letters_of(row[: n + 1])) for n in range(12)]
    np.testing.assert_allclose(temporal_scores(params, spec, tokens)[0], prefixes, atol=2e-6)
    suffixes = [score(params, spec, letters_of(row[n:])) for n in range(12)]
    np.testing.assert_allclose(temporal_scores(params, spec, tokens, direction='reverse')[0], suffixes, atol=2e-6)


@pytest.fixture(scope='module')
def tables(tmp_path_factory):
    """A run of untrained models (four tasks, three kinds, two seeds), its tables and scores."""
    corpus = toy_corpus(dict.fromkeys('abcd', 12), lengths=(30, 26))
    recipe = Recipe(learning_rate=2e-3, dropout=0.25)
    jobs = make_jobs(corpus.tasks, ('small_cnn', 'small_rnn', 'deepbind'), recipe, seeds=(0, 1))
    run = RunDirectory(tmp_path_factory.mktemp('oracles') / 'run')
    run.create(corpus, {'corpus': {'source': 'fasta'}, 'recipe': {'average_strands': False}}, jobs)
    for job in jobs:
        number, params = job.index, fresh(job.spec, job.index)
        run.save_result(Finished(number, number % 3, 40, 1 + number % 5, 0.5 + number / 100, params), [])
    made = evaluate.evaluate_run(run, evaluate.EvaluateSettings(1000), progress=False)
    return run, corpus, jobs, made


def test_predictions_are_the_models_scores(tables):
    run, corpus, jobs, _ = tables
    for job in jobs[::5]:
        span = corpus.rows(job.task, 'test')
        kept = np.load(run.path / 'predictions' / f'{job.index:05d}.npy', allow_pickle=False)
        params = run.load_result(job.index).params
        for row in (span.start, span.start + 1, span.stop - 1):
            tokens = np.asarray(corpus.tokens[corpus.starts[row] : corpus.starts[row + 1]])
            expected = score(params, SPECS[job.spec], letters_of(tokens))
            assert kept[row - span.start] == pytest.approx(expected, abs=5e-6)


def test_auroc_table(tables):
    from sklearn.metrics import average_precision_score, roc_auc_score

    run, corpus, jobs, made = tables
    for job, row in zip(jobs, made['auroc'].rows, strict=True):
        labels = np.asarray(corpus.labels[corpus.rows(job.task, 'test')])
        scores = np.load(run.path / 'predictions' / f'{job.index:05d}.npy', allow_pickle=False)
        assert row['test_auroc'] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        assert row['test_auprc'] == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
        assert (row['n_test'], row['best_epoch'], row['attempt']) == (40, 1 + job.index % 5, job.index % 3)
        assert (row['status'], row['learning_rate'], row['dropout'], row['n_epochs']) == ('ok', 2e-3, 0.25, 0)
        assert row['valid_auroc'] == 0.5 + job.index / 100


def test_intervals(tables):
    """A bootstrap written as a loop over pairs, with other random numbers: the ends agree but for their noise."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    run, corpus, jobs, made = tables
    rng = np.random.default_rng(11)
    for job, row in list(zip(jobs, made['auroc'].rows, strict=True))[::12]:
        span = corpus.rows(job.task, 'test')
        labels, pairs = np.asarray(corpus.labels[span]), np.asarray(corpus.pairs[span])
        scores = np.load(run.path / 'predictions' / f'{job.index:05d}.npy', allow_pickle=False)
        members = [np.flatnonzero(pairs == pair) for pair in np.unique(pairs)]
        assert all(len(rows) == 2 for rows in members)
        samples = [np.concatenate([members[k] for k in rng.integers(0, 20, 20)]) for _ in range(400)]
        for name, measure in (('test_auroc', roc_auc_score), ('test_auprc', average_precision_score)):
            values = [measure(labels[sample], scores[sample]) for sample in samples]
            low, high = np.quantile(values, [0.025, 0.975])
            noise = 0.15 * (high - low)
            assert row[f'{name}_low'] == pytest.approx(low, abs=noise)
            assert row[f'{name}_high'] == pytest.approx(high, abs=noise)
            assert row[f'{name}_low'] < row[name] < row[f'{name}_high']


def by_task(made, spec, column='test_auroc'):
    """The mean over seeds of a column, per task."""
    rows = [row for row in made['auroc'].rows if row['spec'] == spec]
    return {task: statistics.fmean(row[column] for row in rows if row['task'] == task) for task in 'abcd'}


def test_table2(tables):
    *_, made = tables
    rows = {row['model']: row for row in made['table2'].rows}
    for spec in ('small_cnn', 'small_rnn', 'deepbind'):
        values = list(by_task(made, spec).values())
        assert rows[spec]['n_tasks'] == 4
        assert rows[spec]['mean'] == pytest.approx(statistics.fmean(values), abs=1e-12)
        assert rows[spec]['median'] == pytest.approx(statistics.median(values), abs=1e-12)
        assert rows[spec]['sd'] == pytest.approx(statistics.stdev(values), abs=1e-12)
    chosen = list(by_task(made, 'deepbind').values())  # its validation AUROCs are the highest
    assert rows['best by validation']['mean'] == pytest.approx(statistics.fmean(chosen), abs=1e-12)


def test_table3(tables):
    from scipy import stats

    *_, made = tables
    rows = made['table3'].rows
    assert [row['comparison'] for row in rows] == ['CNN vs RNN', 'RNN vs own DeepBind', 'CNN vs own DeepBind']
    for row in rows:
        a, b = ([by_task(made, row[side])[task] for task in 'abcd'] for side in ('spec_a', 'spec_b'))
        assert row['mean_difference'] == pytest.approx(statistics.fmean(a) - statistics.fmean(b), abs=1e-12)
        differences = np.round(np.subtract(a, b), 12)  # or ties of AUROCs are broken by rounding
        t, wilcoxon = stats.ttest_rel(a, b), stats.wilcoxon(differences)
        assert (row['t'], row['p_t']) == (pytest.approx(t.statistic), pytest.approx(t.pvalue))
        assert (row['w'], row['p_wilcoxon']) == (pytest.approx(wilcoxon.statistic), pytest.approx(wilcoxon.pvalue))
    p_values = [row['p_wilcoxon'] for row in rows]
    for row in rows:
        smaller = sorted(p for p in p_values if p <= row['p_wilcoxon'])
        expected = min(1.0, max((len(p_values) - rank) * p for rank, p in enumerate(smaller)))
        assert row['p_holm'] == pytest.approx(expected, abs=1e-12)


def test_ensemble_table(tables):
    from sklearn.metrics import average_precision_score, roc_auc_score

    run, corpus, jobs, made = tables
    assert len(made['ensemble'].rows) == 16  # of three specs and of all three together, in four tasks
    for row in made['ensemble'].rows:
        members = [job for job in jobs if job.task == row['task'] and row['spec'] in (job.spec, 'all')]
        assert row['members'] == len(members)
        paths = [run.path / 'predictions' / f'{job.index:05d}.npy' for job in members]
        mean = np.mean([np.load(path, allow_pickle=False).astype(np.float64) for path in paths], axis=0)
        labels = np.asarray(corpus.labels[corpus.rows(row['task'], 'test')])
        assert row['test_auroc'] == pytest.approx(roc_auc_score(labels, mean), abs=1e-9)
        assert row['test_auprc'] == pytest.approx(average_precision_score(labels, mean), abs=1e-9)
        held = [np.load(path.with_name(f'{path.stem}_valid.npy'), allow_pickle=False) for path in paths]
        labels = np.asarray(corpus.labels[corpus.rows(row['task'], 'valid')])
        expected = roc_auc_score(labels, np.mean(held, axis=0, dtype=np.float64))
        assert row['valid_auroc'] == pytest.approx(expected, abs=1e-9)


def test_truth():
    """Every number of the truth table from loops over bases and windows."""
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(2)
    lengths = np.array([30, 24, 28, 30])
    values = rng.normal(size=(4, 30)).round(1)
    given = [
        (10, 3, 7, 'primary'),
        (10, 15, 12, 'cofactor'),
        (11, 0, 9, 'primary'),
        (11, 12, 6, 'decoy'),
        (12, 20, 8, 'primary'),
        (12, 2, 5, 'primary'),
        (13, 1, 9, 'primary'),
    ]
    sites = np.zeros(len(given), SITE_DTYPE)
    for number, (row, start, width, role) in enumerate(given):
        sites[number]['row'], sites[number]['start'], sites[number]['width'] = row, start, width
        sites[number]['role'] = ROLES.index(role)
    starts = np.array([2, 5, 17, 0])
    windows = Windows(np.arange(4), starts, np.ones(4, np.int8), np.zeros(4), 9)
    keep = np.array([True, True, True, False])
    truth = score_truth(values=values, windows=windows, sites=sites, rows=np.arange(10, 14), keep=keep, lengths=lengths)

    def shared(start, site):
        return len(set(range(start, start + 9)) & set(range(site[1], site[1] + site[2])))

    primary = [site for site in given if site[3] == 'primary' and site[0] < 13]
    half = [2 * shared(starts[site[0] - 10], site) >= min(9, site[2]) for site in primary]
    whole = [shared(starts[site[0] - 10], site) == min(9, site[2]) for site in primary]
    chances = {'recall': [], 'whole': []}
    for site in primary:
        every = [shared(start, site) for start in range(lengths[site[0] - 10] - 8)]
        chances['recall'].append(np.mean([2 * n >= min(9, site[2]) for n in every]))
        chances['whole'].append(np.mean([n == min(9, site[2]) for n in every]))
    labels = [
        np.array(
            [
                any(site[0] == 10 + k and site[3] != 'decoy' and site[1] <= at < site[1] + site[2] for site in given)
                for at in range(lengths[k])
            ]
        )
        for k in range(3)
    ]
    per_sequence = [average_precision_score(labels[k], values[k, : lengths[k]]) for k in range(3)]
    together = np.concatenate([values[k, : lengths[k]] for k in range(3)])
    expected = Truth(
        n_sequences=3,
        n_sites=4,
        auprc=average_precision_score(np.concatenate(labels), together),
        auprc_mean=np.mean(per_sequence),
        auprc_chance=np.concatenate(labels).mean(),
        recall=np.mean(half),
        recall_chance=np.mean(chances['recall']),
        whole=np.mean(whole),
        whole_chance=np.mean(chances['whole']),
    )
    assert 0 < expected.recall < 1 and expected.recall != expected.whole
    for field in dataclasses.fields(Truth):
        assert getattr(truth, field.name) == pytest.approx(getattr(expected, field.name), abs=1e-12), field.name


def test_a_palindrome_counts_as_half_as_likely():
    """Of two words in equally many sequences, the one that is its own reverse complement is the rarer by chance."""
    from demo_jax import dna
    from demo_jax.baseline.finder import FinderSettings, enriched_words

    words = ['AACC', 'ACGT'] * 6  # the other word comes first in every order
    tokens = np.stack([dna.encode(f'NN{word}NN') for word in words])
    letters, transitions = np.full(4, np.log(0.25), np.float32), np.full((4, 4), np.log(0.25), np.float32)
    settings = FinderSettings(seed_lengths=(4,), n_seeds=2)
    found = enriched_words(tokens, tokens < 4, np.ones(12, np.float32), letters, transitions, settings)
    assert [dna.decode(np.asarray(word)) for word in found] == ['ACGT', 'AACC']


def test_filters_at_their_very_maximum():
    """With the whole maximum as threshold, the strongest window still counts: one window where no two are equal."""
    from demo_jax.explain.activations import filter_motifs

    with helpers_models.all_filters():
        spec, params = SPECS['small_cnn_rnn'], fresh('small_cnn_rnn')
    rows = some_tokens(6, seed=9) % 4
    found = filter_motifs(params, spec, rows, fraction=1.0)
    kernel, bias = (np.asarray(params['conv0'][name], np.float64) for name in ('kernel', 'bias'))
    active = np.stack([convolved(letters_of(row), kernel, bias, 'same') for row in rows])
    np.testing.assert_allclose(found.maximum, active.max(axis=(0, 1)), atol=1e-6)
    alive = found.maximum > 0
    assert alive.sum() > 30 and (found.n_windows[alive] >= 1).all() and not found.n_windows[~alive].any()
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(rows, ((0, 0), (2, 2)), constant_values=4), 5, axis=1)
    for number in np.flatnonzero(alive)[:10]:
        top = active[..., number] >= active[..., number].max() - 1e-6
        expected = letters_of(windows[top]).sum(axis=0)
        np.testing.assert_array_equal(found.counts[number], expected)


def test_a_matrix_that_matches_one_of_several_own_matrices_counts_once():
    from demo_jax.motifs import jaspar, matching
    from demo_jax.motifs.tomtom import prepare_targets

    matrices = {motif: m.probabilities for motif, m in jaspar.load_matrices('JASPAR2016').items()}
    own = {'gata': ('MA0035.3', 'MA0139.1', 'MA0140.2')}  # the second is CTCF's
    key = matching.Key('gata', 'medium_cnn', 'class_optimisation')
    motifs = {key: [matrices['MA0035.3'], matrices['MA0139.1'], matrices['MA0147.2']]}  # MYC
    strict = matching.Significance('q_value', 0.01)
    (row,) = matching.count_matches({}, {}, own, prepare_targets(matrices), motifs=motifs, significance=strict)
    assert (row.matches, row.out_of, row.matrices) == (2, 3, own['gata'])
