"""A run that an earlier version wrote can still be read, scored, explained, and gone on with."""

import json
import pathlib
import shutil

import numpy as np
import pytest

import demo_jax
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.explanations import Explanations
from demo_jax.stages import train
from demo_jax.stages.evaluate import EvaluateSettings, evaluate_run
from tests.make_run_fixture import SPECS, TASKS, predictions

FIXTURES = sorted((pathlib.Path(__file__).parent / 'data').glob('run_v*'))


@pytest.fixture(scope='module', params=FIXTURES, ids=lambda path: path.name)
def kept(request, tmp_path_factory):
    """A copy of a kept run, and what its version said of it."""
    path = tmp_path_factory.mktemp('upgrades') / 'run'
    shutil.copytree(request.param, path)
    return path, json.loads((path / 'expected.json').read_text(encoding='utf-8'))


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, scores in expected.items():
        np.testing.assert_allclose(found[name], scores, rtol=0, atol=1e-3, err_msg=name)


def test_there_is_a_run_of_every_version():
    numbers = [int(path.name.removeprefix('run_v')) for path in FIXTURES]
    assert numbers == list(range(1, demo_jax.runs.directory.VERSION + 1))
    for path in FIXTURES:
        assert sum(file.stat().st_size for file in path.rglob('*') if file.is_file()) < 200_000


def test_finished_models_predict_what_they_did(kept):
    path, expected = kept
    run = demo_jax.load_run(path)
    assert set(run.tasks) == set(TASKS) and run.specs == SPECS
    assert_close(predictions(path, SPECS[:1]), expected['finished'])


def test_explanations_are_read(kept):
    store = Explanations(RunDirectory(kept[0]))
    for job in store.jobs():
        maps = store.load('saliency', job.index)
        assert maps['hypothetical'].shape == (4, 30, 4) and np.isfinite(maps['score']).all()


def test_training_goes_on_from_the_checkpoint(kept, monkeypatch):
    path, expected = kept
    run, steps = RunDirectory(path), []
    original = train.fit

    def fit(*arguments, **keywords):
        for report in original(*arguments, **keywords):
            steps.append(report.steps)
            yield report

    monkeypatch.setattr(train, 'fit', fit)
    train.train_run(run, progress=False)
    assert not (path / 'notes.txt').exists()  # the checkpoint was read
    of_jobs = [run.load_result(job.index).steps for job in run.jobs() if job.spec == SPECS[-1]]
    assert 0 < sum(steps) < sum(of_jobs)
    assert_close(predictions(path, SPECS), expected['resumed'])
    tables = evaluate_run(run, EvaluateSettings(20), progress=False)
    for row in tables['auroc'].rows:
        assert row['test_auroc'] == pytest.approx(expected['test_auroc'][f'{row["task"]} {row["spec"]}'], abs=0.01)
