"""What a GPU computes equals what a CPU computes, but for rounding; skipped where JAX finds no GPU.

python -m tests.test_gpu FOLDER PRECISION   # what the processes of this test run
"""

import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from demo_jax.compute import devices
from demo_jax.io import files
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.explanations import PIECES, Explanations
from tests.helpers import ROOT, toy_corpus

SPECS = ('small_cnn', 'medium_cnn_rnn', 'large_rnn', 'deepbind')
#: Allowed differences, relative to the largest value: after one epoch of seven steps.
TOLERANCE = {'float32': 1e-3, 'tf32': 3e-2, 'bf16': 0.2}


def work(folder: pathlib.Path, precision: str) -> None:
    """Train models of four architectures, find the baseline's motifs, evaluate, and make every explanation."""
    from demo_jax.stages.baseline import BaselineSettings, baseline_run
    from demo_jax.stages.evaluate import EvaluateSettings, evaluate_run
    from demo_jax.stages.explain import ExplainSettings, explain_run
    from demo_jax.stages.train import train_run
    from demo_jax.training.jobs import Recipe, make_jobs

    recipe = Recipe(batch_size=16, epochs=1, learning_rate=3e-3, reverse_complement=True, average_strands=True)
    corpus = toy_corpus({'a': 60, 'b': 40, 'c': 25})
    run = RunDirectory(folder)
    # `hoist`: a CPU draws the masks of CNNs in parts otherwise.
    config = {
        'corpus': {'source': 'fasta', 'seed': 0},
        'recipe': dataclasses.asdict(recipe),
        'machine': {'hoist': True, 'precision': precision},
    }
    run.create(corpus, config, make_jobs(corpus.tasks, SPECS, recipe))
    train_run(run, progress=False)
    evaluate_run(run, EvaluateSettings(20), progress=False)
    if precision == 'float32':
        baseline_run(run, BaselineSettings(method='em', n_motifs=1), progress=False)
        settings = ExplainSettings(('all',), positives=10, negatives=5, restarts=2, optimisation_steps=10)
        explain_run(run, settings, progress=False)


def process(folder: pathlib.Path, platforms: str, precision: str = 'float32') -> RunDirectory:
    """Do the work in a new process, and open what it wrote."""
    # The compiler as users run it, not with the flags of the other tests.
    environment = os.environ | {'JAX_PLATFORMS': platforms, 'PYTHONPATH': str(ROOT), 'XLA_FLAGS': ''}
    command = [sys.executable, '-m', 'tests.test_gpu', str(folder), precision]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return RunDirectory(folder)


@pytest.fixture(scope='module')
def platform():
    """The name of the GPU's platform."""
    look = 'import jax; print(jax.default_backend())'
    environment = os.environ | {'JAX_PLATFORMS': ''}
    command = [sys.executable, '-c', look]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True).stdout
    if found.strip() != 'gpu':
        pytest.skip(f'JAX finds no GPU, only {found.strip()}')
    return ''  # JAX then takes the GPU, and has the CPU beside it


@pytest.fixture(scope='module')
def on_cpu(platform, tmp_path_factory):
    return process(tmp_path_factory.mktemp('cpu') / 'run', 'cpu')


@pytest.fixture(scope='module')
def on_gpu(platform, tmp_path_factory):
    return process(tmp_path_factory.mktemp('gpu') / 'run', platform)


def assert_close(found, expected, precision='float32', what=''):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    size = np.nanmax(np.abs(expected), initial=1e-3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[precision] * size, err_msg=what)


def assert_same_training(found, expected, precision='float32'):
    for job in expected.jobs():
        one, two = expected.load_result(job.index), found.load_result(job.index)
        assert_close(two.history[0].train_loss, one.history[0].train_loss, precision, job.label)
        for layer, leaves in one.params.items():
            for name, leaf in leaves.items():
                assert_close(two.params[layer][name], leaf, precision, f'{job.label} {layer} {name}')


def test_training(on_cpu, on_gpu):
    assert_same_training(on_gpu, on_cpu)


@pytest.mark.parametrize('precision', ['tf32', 'bf16'])
def test_training_in_lower_precision_stays_near(on_cpu, on_gpu, platform, tmp_path, precision):
    run = process(tmp_path / 'run', platform, precision)
    assert_same_training(run, on_cpu, precision)
    same = [
        np.array_equal(leaf, on_gpu.load_result(job.index).params[layer][name])
        for job in run.jobs()
        for layer, leaves in run.load_result(job.index).params.items()
        for name, leaf in leaves.items()
    ]
    assert not all(same)  # it did round


@pytest.mark.parametrize('piece', sorted(PIECES))
def test_explanations(on_cpu, on_gpu, piece):
    stores = Explanations(on_cpu), Explanations(on_gpu)
    jobs = [job for job in stores[0].jobs() if stores[0].has(piece, job.index)]
    assert jobs
    for job in jobs:
        expected, found = (store.load(piece, job.index) for store in stores)
        for name in expected:
            if np.issubdtype(expected[name].dtype, np.floating):  # places and counts: the strengths tell, ties may not
                assert_close(found[name], expected[name], what=f'{job.label} {name}')


def test_tables(on_cpu, on_gpu):
    printed = {'auroc': ('valid_auroc', 'test_auroc', 'test_auprc'), 'baseline': ('test_sum', 'test_zoops')}
    for name, columns in printed.items():
        expected, found = (files.read_tsv(run.tables / f'{name}.tsv') for run in (on_cpu, on_gpu))
        assert len(found) == len(expected) > 0
        for one, two in zip(expected, found, strict=True):
            for column in columns:
                # Of 20 positives and 20 negatives one pair is 1/400; a few pairs with all but equal scores may turn.
                assert float(two[column]) == pytest.approx(float(one[column]), abs=0.01), (name, column)


if __name__ == '__main__':
    devices.configure()
    work(pathlib.Path(sys.argv[1]), sys.argv[2])
