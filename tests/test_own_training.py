"""A dilated residual CNN in Flax, written here, goes through a whole run beside two of ours, with no edit elsewhere."""

import dataclasses
import functools
import os
import sys
import textwrap
from unittest import mock

import jax
import numpy as np
import pytest

import demo_jax
from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.io import files
from demo_jax.nn import architecture
from demo_jax.report.collect import Collector
from demo_jax.report.payload import run_payload, task_payload
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.explanations import Explanations
from demo_jax.stages import evaluate, explain, match, record, report, train
from demo_jax.training.jobs import Recipe, make_jobs
from tests.helpers import ROOT, toy_corpus
from tests.helpers_commands import run_command

MODULE = """
    from flax import linen as nn

    import demo_jax


    class Dilated(nn.Module):
        channels: int = 8

        @nn.compact
        def __call__(self, x, deterministic=True):
            x = nn.relu(nn.Conv(self.channels, (7,))(x))
            for dilation in (1, 3):
                y = nn.relu(nn.Conv(self.channels, (3,), kernel_dilation=(dilation,))(x))
                x = x + nn.Dropout(0.1, deterministic=deterministic)(y)
            return nn.Dense(2)(x.max(axis=1))


    dilated = demo_jax.from_linen(Dilated())
    company = demo_jax.Architecture(dilated.init, lambda params, x: dilated(params, x) - dilated(params, x).mean())
    integers = demo_jax.Architecture(dilated.init, lambda params, x: x.argmax(2).sum(1))
"""
OWN = 'somebodys_nets:dilated'
SPECS = ('small_cnn', OWN)
RECIPE = Recipe(
    batch_size=16,
    epochs=10,
    learning_rate=0.01,
    schedule='cosine',
    dropout=0.25,
    clip_value=0,
    clip_norm=1,
    average_strands=True,
    reverse_complement=True,
)


@pytest.fixture(scope='module', autouse=True)
def module(tmp_path_factory):
    """The user's module, on the path."""
    folder = tmp_path_factory.mktemp('mine')
    (folder / 'somebodys_nets.py').write_text(textwrap.dedent(MODULE))
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop('somebodys_nets', None)
    architecture._imported.cache_clear()


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """The stages, from the sequences to the page."""
    corpus = toy_corpus({'JUN_toy': 150, 'FOS_toy': 120})
    jobs = make_jobs(corpus.tasks, SPECS, RECIPE)
    train.check_specs(corpus, jobs)
    run = RunDirectory(tmp_path_factory.mktemp('run') / 'run', own_specs=SPECS)
    config = {
        'corpus': {'source': 'fasta', 'seed': 0},
        'specs': SPECS,
        'seeds': (0,),
        'learning_rates': (),
        'dropouts': (),
        'recipe': dataclasses.asdict(RECIPE),
    }
    run.create(corpus, config, jobs)
    train.train_run(run, progress=False)
    evaluate.evaluate_run(run, evaluate.EvaluateSettings(n_resamples=20), progress=False)
    settings = explain.ExplainSettings(
        specs=(OWN,),  # `test_stages.py` explains ours
        positives=8,
        negatives=4,
        integration_steps=4,
        references=2,
        optimisation_steps=5,
        restarts=1,
        sufficient_starts=1,
        sufficient_steps=5,
    )
    explain.explain_run(run, settings, progress=False)
    match.match_run(run, match.MatchSettings(jaspar='JASPAR2016', chance_draws=1), progress=False)
    drawn = functools.partial(report._save, formats=['svg'])  # of which tests read one
    with mock.patch.object(report, '_save', lambda figure, path, *_: drawn(figure, path)):
        report.report_run(run, record.all_tables(), report.ReportSettings(sequences=2, dashboards=1), progress=False)
    return run


def test_it_is_trained_and_evaluated_beside_ours(run):
    rows = {(row['task'], row['spec']): row for row in files.read_tsv(run.tables / 'auroc.tsv')}
    assert set(rows) >= {(task, spec) for task in ('JUN_toy', 'FOS_toy') for spec in SPECS}
    for task in ('JUN_toy', 'FOS_toy'):
        assert float(rows[task, OWN]['test_auroc']) > 0.7  # it has learnt something of the planted word
    assert OWN in {row['model'] for row in files.read_tsv(run.tables / 'table2.tsv')}
    assert {row['spec'] for row in files.read_tsv(run.path / 'history.tsv')} == set(SPECS)


def test_it_is_explained(run):
    store = Explanations(run)
    job = next(job for job in store.jobs() if job.spec == OWN)
    pieces = {'saliency', 'integrated_gradients', 'deeplift', 'mutagenesis', 'class_optimisation'}
    assert {piece for piece in pieces if store.has(piece, job.index)} == pieces
    corpus, rows = run.corpus(), store.rows(job.task)
    model = demo_jax.load_run(run.path, own_specs=[OWN]).model(job.task, OWN)
    found = model.mutagenesis([corpus.sequence(row) for row in rows[:3]])
    stored = store.load('mutagenesis', job.index)
    np.testing.assert_allclose(np.stack(found.hypothetical), stored['hypothetical'][:3], atol=1e-4)
    assert (run.path / 'motifs' / 'JUN_toy' / files.safe_name(OWN) / 'windows.tsv').exists()


def test_it_is_on_the_page_and_in_figure_1(run):
    collector = Collector(run, record.all_tables())
    payload = run_payload(collector, title='run', made=collector.corpus.tasks)
    assert 'dilated' in {spec['label'] for spec in payload['specs']}
    task = task_payload(collector, collector.task('JUN_toy'), sequences=3)
    assert 'dilated' in {model['label'] for model in task['models']}
    written = [path.read_text() for path in (run.path / 'dashboard').rglob('*.js')]
    assert any('"label": "dilated"' in text or '"label":"dilated"' in text for text in written)
    assert (run.path / 'figures' / 'architectures.svg').exists()
    assert 'dilated' in (run.path / 'figures' / 'architectures.svg').read_text()


def test_its_parameters_come_back_as_they_were(run):
    own = architecture.resolve(OWN)
    job = next(job for job in run.jobs() if job.spec == OWN)
    params = run.load_result(job.index).params
    assert jax.tree.structure(params) == jax.tree.structure(architecture.parameter_shapes(own))
    assert 'Conv_0/kernel' in architecture.named_leaves(params)


def test_a_training_resumes_to_the_same_bits(run, tmp_path):
    """From a checkpoint in the middle: its parameters are stored by their places, whatever the tree."""
    from demo_jax.runs import checkpoints
    from demo_jax.training.fit import fit
    from demo_jax.training.machine import Machine
    from demo_jax.training.pool import build_pool

    corpus = run.corpus()
    pool, rows = build_pool(corpus, negative_sets=1, seed=0)
    recipe = dataclasses.replace(RECIPE, epochs=2)
    jobs, machine = make_jobs(corpus.tasks, [OWN], recipe), Machine(segment_steps=20)

    def finished(reports):
        return {done.job: done.params for report in reports for done in report.finished}

    whole = finished(fit(jobs, pool, rows, recipe, machine=machine))
    first = next(fit(jobs, pool, rows, recipe, machine=machine))
    assert not first.finished
    with checkpoints.opened(tmp_path / 'checkpoints') as store:
        store.save(first.state.started(), {job.index: job.spec for job in jobs}, {})
        found, notes = store.restore()
    assert not notes
    again = finished(fit(jobs, pool, rows, recipe, machine=machine, started=list(found.started.values())))
    assert whole.keys() == again.keys() == {job.index for job in jobs}
    for index, params in whole.items():
        jax.tree.map(np.testing.assert_array_equal, params, again[index])


@pytest.mark.parametrize(
    'name, message',
    [
        ('company', 'of a sequence depends on the sequences beside it'),
        ('integers', 'returned int32, expected real numbers'),
    ],
)
def test_what_does_not_work_is_told_before_training(name, message):
    corpus = toy_corpus({'JUN_toy': 20})
    jobs = make_jobs(corpus.tasks, [f'somebodys_nets:{name}'], RECIPE)
    with pytest.raises(InputError, match=message):
        train.check_specs(corpus, jobs)


def test_unequal_lengths_need_an_argument_for_them():
    corpus = toy_corpus({'JUN_toy': 20}, lengths=(30, 24))
    with pytest.raises(InputError, match='its apply takes no lengths, but sequences have 24 to 30 bp'):
        train.check_specs(corpus, make_jobs(corpus.tasks, [OWN], RECIPE))


def test_models_that_were_trained_elsewhere_become_a_run(tmp_path):
    corpus = toy_corpus({'JUN_toy': 20, 'FOS_toy': 20})
    own = architecture.resolve(OWN)
    params = {task: own.init(jax.random.key(number)) for number, task in enumerate(corpus.tasks)}
    run = demo_jax.save_models(tmp_path / 'run', corpus, {OWN: params}, average_strands=True)
    model = demo_jax.load_run(tmp_path / 'run', own_specs=True).model('FOS_toy', OWN)
    text = corpus.sequence(3)
    both = [
        own(params['FOS_toy'], dna.one_hot(tokens[None]))
        for tokens in (dna.encode(text), dna.reverse_complement(dna.encode(text)))
    ]
    np.testing.assert_allclose(model.predict([text]).score, np.mean(both, axis=0), rtol=1e-5)
    rows = np.arange(len(corpus))[corpus.rows('FOS_toy', 'valid')]
    scores = model.predict([corpus.sequence(row) for row in rows]).score
    labels = np.asarray(corpus.labels[rows])
    better = np.mean([np.sign(a - b) / 2 + 0.5 for a in scores[labels == 1] for b in scores[labels == 0]])
    assert run.load_result(1).best_auroc == pytest.approx(better)


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda params: params.pop('FOS_toy'), 'has parameters for JUN_toy, but the corpus holds JUN_toy, FOS_toy'),
        (
            lambda params: params['JUN_toy']['Dense_0'].pop('bias'),
            "JUN_toy: parameter 'Dense_0/bias' is missing, the arch",
        ),
        (
            lambda params: params['JUN_toy']['Dense_0'].update(bias=np.zeros(3)),
            r"'Dense_0/bias' is \(3,\), .* has \(2,\)",
        ),
        (lambda params: params['JUN_toy'].update(more=np.zeros(3)), r"'more' is \(3,\), .* has no such parameter"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path, change, message):
    corpus = toy_corpus({'JUN_toy': 20, 'FOS_toy': 20})
    own = architecture.resolve(OWN)
    params = {task: jax.tree.map(np.asarray, own.init(jax.random.key(0))) for task in corpus.tasks}
    change(params)
    with pytest.raises(InputError, match=message):
        demo_jax.save_models(tmp_path / 'run', corpus, {OWN: params})
    assert not (tmp_path / 'run').exists()


def test_results_of_a_function_are_as_those_of_a_model():
    """`wrap`: a function's predictions, maps, motif and figure."""
    pwm = np.zeros((7, 4), np.float32)
    pwm[np.arange(7), dna.encode('TGACTCA')] = 2

    def score(params, x):
        places = jax.numpy.stack([x[:, i : x.shape[1] - 6 + i] for i in range(7)], axis=2)
        return jax.nn.logsumexp(3 * jax.numpy.einsum('blwa,wa->bl', places, params), axis=1) / 3 - 10

    model = demo_jax.wrap(score, pwm, name='scan', task='JUN', average_strands=True)
    corpus = toy_corpus({'JUN': 40})
    texts = [corpus.sequence(row) for row in range(len(corpus)) if corpus.labels[row] == 1][:30]
    plain = np.array([float(score(pwm, dna.one_hot(dna.encode(text)[None]))[0]) for text in texts])
    other = [float(score(pwm, dna.one_hot(dna.reverse_complement(dna.encode(text))[None]))[0]) for text in texts]
    np.testing.assert_allclose(model.predict(texts).score, (plain + other) / 2, rtol=1e-4)
    assert str(model.predict(texts[:2])).count('\n') == 2
    motif = model.mutagenesis(texts, both_strands=False).motif(width=9)
    assert motif.pile.verdict == 'motif'
    assert 'TGACTCA' in str(motif) or 'TGAGTCA' in str(motif)
    assert list(motif.match('JASPAR2022', most=3).columns) == [
        'id',
        'name',
        'p_value',
        'e_value',
        'q_value',
        'offset',
        'strand',
    ]
    assert any('JUN' in name.upper() or 'FOS' in name.upper() for name in motif.match('JASPAR2022', most=5)['name'])
    frame = motif.to_frame()
    for row in frame.itertuples():
        cut = dna.encode(texts[row.sequence - 1][row.start - 1 : row.start + 8])
        assert row.word == dna.decode(dna.reverse_complement(cut) if row.strand == '-' else cut)
    assert motif.plot().axes
    figure = model.figure(texts[0], tf='JUN', release='JASPAR2022')
    words = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, 'get_text'))]
    assert any('scan' in word for word in words) and not any('label' in word for word in words)


def test_flat_maps_have_no_motif_and_no_match():
    rng = np.random.default_rng(0)
    texts = [dna.decode(rng.integers(0, 4, 30).astype(np.uint8)) for _ in range(40)]
    weights = rng.normal(size=(30, 4)).astype(np.float32)
    model = demo_jax.wrap(lambda params, x: (x * params[None]).sum((1, 2)), weights, name='linear')
    motif = model.saliency(texts).motif()
    assert str(motif).startswith('no motif ')
    assert len(motif.match('JASPAR2022')) == 0
    with pytest.raises(InputError, match='no sequence has 40 letters, which a window needs'):
        model.saliency(texts).motif(width=40)


@pytest.fixture
def command(monkeypatch):
    """Runs a command of the package, with the user's module on its path."""
    folder = next(path for path in sys.path if 'mine' in path)
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([folder, str(ROOT), os.environ.get('PYTHONPATH', '')]))
    return run_command


def test_the_main_command_takes_modules(command, tmp_path):
    arguments = [
        'paper',
        '--config=configs/quickstart.py',
        f'--workdir={tmp_path / "run"}',
        '--dry_run',
        '--config.corpus.n_tasks=1',
        '--config.corpus.n_train=20',
        '--config.corpus.n_test=10',
    ]
    done = command(*arguments, f'--specs=small_cnn,{OWN}')
    assert done.status == 0, done.err
    assert f'specs: small_cnn, {OWN}' in done.out
    done = command(*arguments, '--specs=small_cnn,somebodys_nets:nothing')
    assert done.status == 2
    assert done.err.splitlines()[-1].startswith('error: spec somebodys_nets:nothing: cannot be imported (Attr')


def test_a_run_of_ones_own_is_read_by_commands_that_are_told_so(command, run):
    score = ['evaluate', f'--run={run.path}', '--n_resamples=20']
    done = command(*score)
    assert done.status == 2
    assert 'is not of this package; to have it imported, name it (--specs or --own_specs' in done.err
    done = command(*score, f'--own_specs={OWN}')
    assert done.status == 0, done.err
