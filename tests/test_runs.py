"""The main command as a user runs it: a run directory, killed and resumed, read back, and refused when wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import demo_jax
from demo_jax import dna
from demo_jax.data import storage
from demo_jax.errors import InputError
from demo_jax.io import files
from demo_jax.runs.directory import RunDirectory
from demo_jax.training.jobs import Recipe, make_jobs
from tests.helpers import ROOT, keep_programs, toy_corpus
from tests.helpers_commands import run_command

TINY = (
    '--config=configs/quickstart.py',
    '--config.corpus.n_tasks=2',
    '--config.corpus.n_train=150',
    '--config.corpus.n_test=40',
    '--config.corpus.simulation.length=60',
    '--config.specs=("small_cnn",)',
    '--config.seeds=(0,1)',
    '--config.recipe.epochs=6',
    '--config.recipe.batch_size=32',
    '--config.evaluate.n_resamples=50',
    '--config.machine.segment_steps=9',
    '--config.checkpoint_seconds=0.0',
    '--config.machine.compilation_cache=',
)
# What follows training is tested once, on the whole run; see also test_stages.py.
SHORT = ('--stages=train,evaluate',)
WHOLE = (
    '--config.baseline.n_sequences=40',
    '--config.baseline.n_motifs=2',
    '--config.explain.positives=8',
    '--config.explain.negatives=2',
    '--config.explain.integration_steps=2',
    '--config.explain.restarts=1',
    '--config.explain.optimisation_steps=5',
    '--config.explain.sufficient_starts=1',
    '--config.explain.sufficient_steps=5',
)


def command(workdir, *flags, stages=SHORT):
    environment = os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT), **keep_programs()}
    arguments = [sys.executable, '-m', 'experiments.paper', *TINY, *stages, f'--workdir={workdir}', *flags]
    return subprocess.Popen(
        arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def done(workdir, *flags, stages=SHORT):
    """The same command to its end: status, what it printed, and its errors."""
    return run_command('paper', *TINY, *stages, f'--workdir={workdir}', *flags)


def finish(process, timeout=300):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A whole run of the main command: its directory and what it printed."""
    workdir = tmp_path_factory.mktemp('run') / 'whole'
    status, out, err = done(workdir, *WHOLE, stages=())
    assert status == 0, err
    return workdir, out, err


def test_the_command_says_what_it_does_and_where_the_results_are(run):
    workdir, out, err = run
    assert '2 tasks' in out and '4 models' in out
    assert 'small_cnn: 4/4 models' in err  # the progress bar
    assert f'results: {workdir / "tables"}' in out.splitlines()
    assert out.splitlines()[-1] == f'dashboard: {workdir / "dashboard" / "index.html"}'
    assert 'Test AUROC per model' in out and 'Table 2' in out and 'Table 4' in out and 'Truth' in out


def test_the_tables_have_the_promised_columns(run):
    rows = files.read_tsv(run[0] / 'tables' / 'auroc.tsv')
    promised = 'task spec seed valid_auroc test_auroc test_auroc_low test_auroc_high test_auprc n_test best_epoch'
    assert set(promised.split()) <= set(rows[0])
    assert sum(row['spec'] == 'small_cnn' for row in rows) == 4
    assert {row['spec'] for row in rows} == {'small_cnn', 'em_motifs_sum', 'em_motifs_zoops'}  # the baseline's too
    for row in rows:
        assert float(row['test_auroc_low']) <= float(row['test_auroc']) <= float(row['test_auroc_high'])
        assert row['n_test'] == '80'
    assert {'table2.tsv', 'table3.tsv', 'table4.tsv', 'truth.tsv', 'published.tsv', 'ensemble.tsv'} <= {
        path.name for path in (run[0] / 'tables').iterdir()
    }


def test_reported_aurocs_are_those_of_plain_strings(run):
    from sklearn.metrics import average_precision_score, roc_auc_score

    opened = demo_jax.load_run(run[0])
    corpus = opened.directory.corpus()
    row = files.read_tsv(run[0] / 'tables' / 'auroc.tsv')[0]
    model = opened.model(row['task'], row['spec'], int(row['seed']))
    span = range(*corpus.rows(row['task'], 'test').indices(len(corpus)))
    prediction = model.predict([corpus.sequence(n).lower() for n in span])
    labels = corpus.labels[span.start : span.stop]
    assert roc_auc_score(labels, prediction.score) == pytest.approx(float(row['test_auroc']), abs=1e-5)
    assert average_precision_score(labels, prediction.score) == pytest.approx(float(row['test_auprc']), abs=1e-5)
    scale = files.read_tsv(run[0] / 'tables' / 'calibration.tsv')[0]
    temperature, shift = float(scale['temperature']), float(scale['shift'])
    assert (prediction.temperature, prediction.shift) == (temperature, shift)
    log_odds = prediction.score / temperature + shift
    np.testing.assert_allclose(prediction.probability, 1 / (1 + np.exp(-log_odds)), rtol=1e-4)
    assert list(prediction.to_frame().columns) == ['sequence', 'score', 'probability']
    assert str(prediction).count('\n') == len(span) + 1  # the last line says that they are calibrated


def test_both_strands_and_any_length_are_scored(run):
    opened = demo_jax.load_run(run[0])
    model = opened.model(opened.tasks[0], 'small_cnn')
    sequence = 'ACGTTGACTCAGGATCCAGTNNACGTAGC'
    turned = dna.decode(dna.reverse_complement(dna.encode(sequence)))
    both = model.predict([sequence, turned, sequence + 'ACGT' * 10])
    assert both.score[0] == pytest.approx(both.score[1], abs=1e-5)
    assert both.score[0] == pytest.approx(model.predict([sequence]).score[0], abs=1e-5)
    with pytest.raises(InputError, match='sequence 2: has 5 letters, small_cnn needs at least 18'):
        model.predict([sequence, 'ACGTA'])
    with pytest.raises(InputError, match='sequence 1'):
        model.predict(['ACGT-' * 10])
    with pytest.raises(InputError, match='a list of sequences'):
        model.predict(sequence)


@pytest.mark.parametrize(
    ('task', 'spec', 'message'),
    [
        ('nothing', 'small_cnn', "no task 'nothing'; it has ARID3A"),
        (None, 'large_rnn', "no spec 'large_rnn'; it has small_cnn"),
    ],
)
def test_a_model_that_is_not_there(run, task, spec, message):
    opened = demo_jax.load_run(run[0])
    with pytest.raises(InputError, match=message):
        opened.model(task or opened.tasks[0], spec)


def test_the_run_directory_records_how_it_was_made(run):
    facts = json.loads((run[0] / 'run.json').read_text())
    assert facts['versions']['jax'] and len(facts['fingerprint']) == 64
    config = json.loads((run[0] / 'config.json').read_text())
    assert config['recipe']['epochs'] == 6
    history = files.read_tsv(run[0] / 'history.tsv')
    assert len(history) == 4 * 6
    rows = [row for row in files.read_tsv(run[0] / 'tables' / 'auroc.tsv') if row['spec'] == 'small_cnn']
    best = {(row['task'], row['seed']): row['best_epoch'] for row in rows}
    for (task, seed), epoch in best.items():
        aurocs = [float(row['valid_auroc']) for row in history if (row['task'], row['seed']) == (task, seed)]
        assert int(epoch) == 1 + int(np.argmax(aurocs))


def events_of(workdir):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(workdir / 'tensorboard'))
    events.Reload()
    return events


def test_tensorboard_reads_the_curves(run):
    events = events_of(run[0])
    scalars = events.Tags()['scalars']
    assert sum(tag.endswith('/valid_auroc') for tag in scalars) == 4
    for measure in ('train_loss', 'learning_rate', 'gradient_norm'):
        assert any(tag.endswith(f'/{measure}') for tag in scalars)
    assert len(events.Scalars('all_tasks/small_cnn/valid_auroc_mean')) == 6
    assert 'config/text_summary' in events.Tags()['tensors']


def models_of(workdir):
    return {path.name: path.read_bytes() for path in sorted((workdir / 'models').glob('*.npz'))}


def test_a_stop_signal_leaves_a_checkpoint_and_a_second_process_is_refused(tmp_path):
    workdir = tmp_path / 'stopped'
    process = command(workdir, '--config.recipe.epochs=2000')
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not list((workdir / 'checkpoints').glob('[0-9]*')):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    status, _, err = done(workdir, '--config.recipe.epochs=2000')
    assert status == 2
    assert f'is in use by process {process.pid} on' in err and 'Traceback' not in err
    process.send_signal(signal.SIGTERM)
    status, _, err = finish(process, timeout=60)
    assert status == 130
    assert 'a checkpoint is in' in err and 'Traceback' not in err


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--config.recipe.epochz=3'], 'epochz'),
        (['--config.recipe.epochs=many'], 'epochs'),
        (['--config.recipe.learning_rate=-1.0'], 'recipe: learning_rate is -1.0, expected more than 0 and finite'),
        (['--config.specs=("tiny_cnn",)'], "unknown spec 'tiny_cnn'; the specs are"),
        (['--config.machine.precision=bf16'], 'was started with machine.precision float32, now bf16'),
        (['--config.machine.precision=half'], "machine: precision is 'half', expected one of float32, tf32, bf16"),
        (['--scheduler=local:0'], 'scheduler local:0 has no workers, expected local:1 or more'),
        (['--scheduler=node1:8786'], "scheduler is 'node1:8786', expected tcp://HOST:PORT, tls://HOST:PORT or local:N"),
        (['--config.recipe.epochs=7'], 'recipe.epochs was 6, now 7'),
        (['--config.corpus.seed=5'], 'belongs to another corpus'),
        (['--config=nowhere.py'], 'nowhere.py'),
        (['extra'], "unexpected argument 'extra'"),
    ],
)
def test_a_wrong_command_is_one_line_and_changes_nothing(run, flags, message):
    before = {path: path.stat().st_mtime_ns for path in run[0].rglob('*') if path.is_file() and path.name != '.lock'}
    status, _, err = done(run[0], *flags)
    assert status != 0
    assert message in err and 'Traceback' not in err
    assert len([line for line in err.splitlines() if line.strip()]) == 1
    after = {path: path.stat().st_mtime_ns for path in run[0].rglob('*') if path.is_file() and path.name != '.lock'}
    assert before == after


def test_what_is_complete_is_skipped(run):
    before = models_of(run[0])
    checkpoint = [path.stat().st_mtime_ns for path in (run[0] / 'models').iterdir()]
    status, out, err = done(run[0])
    assert status == 0, err
    assert '4/4' in out
    assert [path.stat().st_mtime_ns for path in (run[0] / 'models').iterdir()] == checkpoint
    assert models_of(run[0]) == before


def test_a_damaged_run_directory_is_refused(run, tmp_path):
    with pytest.raises(InputError, match='is not a run directory'):
        demo_jax.load_run(tmp_path)
    copy = tmp_path / 'copy'
    shutil.copytree(run[0], copy)
    path = copy / 'models' / '00000.npz'
    path.write_bytes(path.read_bytes()[:500])
    opened = demo_jax.load_run(copy)
    with pytest.raises(InputError, match='00000.npz: cannot be read'):
        opened.model(opened.jobs[0].task, opened.jobs[0].spec)
    (copy / 'jobs.tsv').write_text('index\ttask\nx\ty\n')
    with pytest.raises(InputError, match='jobs.tsv: is not a job table'):
        demo_jax.load_run(copy)
    (copy / 'run.json').write_text('{"format": "other"}')
    with pytest.raises(InputError, match='run.json: is not of a demo_jax run'):
        demo_jax.load_run(copy)


def test_what_killed_processes_left_half_written_is_cleared_away(tmp_path):
    run = RunDirectory(tmp_path / 'run')
    kept = run.path / 'tables' / 'a.tmp'
    kept.parent.mkdir(parents=True)
    kept.touch()
    outside = tmp_path / 'outside'
    outside.mkdir()
    (outside / '.mine.tmp').touch()
    (run.path / '.corpus.abc.tmp').mkdir()
    (run.path / '.corpus.abc.tmp' / 'tokens.npy').touch()
    (run.path / 'models').symlink_to(outside)
    (run.path / '.link.tmp').symlink_to(outside)
    (run.path / 'tables' / '.auroc.tsv.abc.tmp').touch()
    with run.locked():
        pass
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*') if not path.name.startswith('.lock'))
    assert left == ['outside', 'outside/.mine.tmp', 'run', 'run/models', 'run/tables', 'run/tables/a.tmp']


def test_a_folder_of_other_things_is_not_taken(tmp_path):
    (tmp_path / 'thesis.txt').write_text('x')
    status, _, err = done(tmp_path)
    assert status == 2
    assert 'exists and is not a run directory' in err
    assert (tmp_path / 'thesis.txt').read_text() == 'x'


def test_a_corpus_of_a_killed_start_with_other_settings_is_replaced(tmp_path):
    before, now = toy_corpus({'A': 20}), toy_corpus({'A': 20}, motif='GATAAG')
    run = RunDirectory(tmp_path / 'run')
    storage.save_corpus(before, run.path / 'corpus')  # killed before run.json
    run.create(now, {'recipe': {}}, make_jobs(now.tasks, ['small_cnn'], Recipe()))
    assert run.facts()['fingerprint'] == now.fingerprint() == run.corpus().fingerprint() != before.fingerprint()
