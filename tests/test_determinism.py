"""The same command gives the same bits in another process; another layout of the work gives the same but for rounding.

python -m tests.test_determinism FOLDER WIDTH DEVICES TASK...   # what the processes of this test run
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from demo_jax.compute import devices
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.explanations import Explanations
from tests.helpers import ROOT, XLA_FLAGS, contents, toy_corpus
from tests.helpers_commands import launcher

SIZES = {'a': 60, 'b': 40, 'c': 25}
SPEC = 'small_rnn'
#: In so many epochs (of 7 steps for task a) parameters stay within this of each other, whatever the layout.
EPOCHS, TOLERANCE = 3, 1e-5


def work(folder: pathlib.Path, width: int, tasks: tuple[str, ...]) -> None:
    """Train, evaluate and explain some of the tasks."""
    from demo_jax.stages.evaluate import EvaluateSettings, evaluate_run
    from demo_jax.stages.explain import ExplainSettings, explain_run
    from demo_jax.stages.train import train_run
    from demo_jax.training.jobs import Recipe, make_jobs

    recipe = Recipe(batch_size=16, epochs=EPOCHS, learning_rate=3e-3, reverse_complement=True, negative_sets=2)
    corpus = toy_corpus(SIZES).select(tasks)
    run = RunDirectory(folder)
    config = {
        'corpus': {'source': 'fasta', 'seed': 0},
        'recipe': dataclasses.asdict(recipe),
        'machine': {'width': width, 'slots': 4 if width != 1 else 0, 'segment_steps': 5 if width != 1 else 8},
    }
    run.create(corpus, config, make_jobs(corpus.tasks, [SPEC], recipe))
    train_run(run, progress=False)
    evaluate_run(run, EvaluateSettings(50), progress=False)
    explain_run(run, ExplainSettings(pieces=('saliency',)), progress=False)


def process(folder: pathlib.Path, hash_seed: int):
    """Do the work in a new process that compiles all of its programs, and open what it wrote."""
    environment = os.environ | {
        'JAX_PLATFORMS': 'cpu',
        'PYTHONPATH': str(ROOT),
        'PYTHONHASHSEED': str(hash_seed),
        'XLA_FLAGS': XLA_FLAGS,
    }
    command = [sys.executable, '-m', 'tests.test_determinism', str(folder), '1', '2', *SIZES]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return RunDirectory(folder)


def forked(folder: pathlib.Path, width: int, host_devices: int, tasks=tuple(SIZES)):
    """Do the work in a process that has imported JAX before, and open what it wrote."""
    ended = launcher().run(
        'tests.test_determinism', [str(folder), str(width), str(host_devices), *tasks], folder.parent / 'none'
    )
    assert ended.status == 0, ended.err
    return RunDirectory(folder)


@pytest.fixture(scope='module')
def first(tmp_path_factory):
    return forked(tmp_path_factory.mktemp('determinism') / 'run', 1, 2)


@pytest.fixture(scope='module')
def other(tmp_path_factory):
    """On one device in place of two, in lockstep, in shorter segments, and without task c."""
    return forked(tmp_path_factory.mktemp('determinism') / 'run', 0, 1, ('a', 'b'))


def results(run: RunDirectory):
    """The finished jobs by task and spec."""
    return {(job.task, job.spec): run.load_result(job.index) for job in run.jobs()}


def test_another_process_gives_the_same_bits(first, tmp_path):
    again = contents(process(tmp_path / 'run', hash_seed=1).path)
    usual = contents(first.path)
    assert usual.keys() == again.keys() and len(usual) > 12
    assert [name for name in usual if usual[name] != again[name]] == []


def test_width_devices_segments_and_company_change_only_the_rounding(first, other):
    one, two = results(first), results(other)
    assert two.keys() < one.keys()
    for key, result in two.items():
        assert result.best_epoch == one[key].best_epoch
        assert [record.epoch for record in result.history] == [record.epoch for record in one[key].history]
        for layer, leaves in result.params.items():
            for name, leaf in leaves.items():
                np.testing.assert_allclose(leaf, one[key].params[layer][name], rtol=0, atol=TOLERANCE, err_msg=str(key))
        for mine, theirs in zip(result.history, one[key].history, strict=True):
            assert mine.train_loss == pytest.approx(theirs.train_loss, abs=TOLERANCE)


def test_explanations_follow_to_rounding(first, other):
    stores = Explanations(first), Explanations(other)
    for job in stores[1].jobs():
        (match,) = [found for found in stores[0].jobs() if (found.task, found.spec) == (job.task, job.spec)]
        one, two = stores[0].load('saliency', match.index), stores[1].load('saliency', job.index)
        for name in ('score', 'hypothetical'):
            np.testing.assert_allclose(two[name], one[name], rtol=0, atol=10 * TOLERANCE, err_msg=job.label)


def test_the_rounding_does_differ(first, other):
    """Bits do change with the layout: the tolerance above is not met by running the same program."""
    one, two = results(first), results(other)
    same = [
        np.array_equal(leaf, one[key].params[layer][name])
        for key, result in two.items()
        for layer, leaves in result.params.items()
        for name, leaf in leaves.items()
    ]
    assert not all(same)


if __name__ == '__main__':
    place, lanes, count, *names = sys.argv[1:]
    devices.configure(int(count))
    work(pathlib.Path(place), int(lanes), tuple(names))
    print(json.dumps({'done': place}))
