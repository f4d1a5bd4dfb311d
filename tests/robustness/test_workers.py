"""The main command on Dask workers, killed, stopped, and gone on with elsewhere: the same bits."""

import os
import pathlib
import signal

import pytest

from demo_jax.runs.directory import RunDirectory
from tests.helpers_cluster import N_JOBS, alone, assert_same, finish, start, until, workers_of


@pytest.fixture(scope='module')
def expected(tmp_path_factory):
    return alone(tmp_path_factory.mktemp('alone') / 'run')


def test_a_killed_worker_changes_no_bit(expected, tmp_path):
    workdir = tmp_path / 'run'
    command = start(workdir, '--scheduler=local:2')
    until(RunDirectory(workdir).finished_jobs, command)
    assert len(RunDirectory(workdir).finished_jobs()) < N_JOBS
    os.kill(workers_of(command)[0], signal.SIGKILL)
    status, printed = finish(command)
    assert status == 0, printed
    assert 'is lost; what it had under way is given to another' in printed
    assert_same(workdir, expected)


def test_a_killed_main_process_keeps_what_is_finished_and_goes_on(expected, tmp_path):
    workdir = tmp_path / 'run'
    command = start(workdir, '--scheduler=local:2', '--stages=train')
    until(RunDirectory(workdir).finished_jobs, command)
    pids = workers_of(command)
    command.kill()
    command.wait()
    kept = {path.name: path.read_bytes() for path in (workdir / 'models').glob('[0-9]*.npz')}
    assert 0 < len(kept) < N_JOBS
    until(lambda: not any(pathlib.Path(f'/proc/{pid}').exists() for pid in pids), timeout=120)  # workers end with it
    # More devices than there are models of one task, and no workers.
    status, printed = finish(start(workdir, '--stages=train', '--config.machine.host_devices=4'))
    assert status == 0, printed
    assert f'{len(kept)}/6 done' in printed
    assert_same(workdir, expected, 'models/')


def test_a_checkpoint_of_one_process_goes_on_at_a_worker(expected, tmp_path):
    workdir = tmp_path / 'run'
    command = start(workdir, '--config.checkpoint_seconds=0.0', '--config.machine.segment_steps=9')
    until(lambda: any(path.name.isdigit() for path in (workdir / 'checkpoints').glob('*')), command)
    command.send_signal(signal.SIGTERM)
    status, printed = finish(command)
    assert status == 130 and 'a checkpoint is in' in printed
    assert len(RunDirectory(workdir).finished_jobs()) < N_JOBS
    status, printed = finish(start(workdir, '--scheduler=local:1', '--stages=train'))
    assert status == 0, printed
    assert_same(workdir, expected, 'models/')


def test_a_signal_stops_the_workers_too(tmp_path):
    workdir = tmp_path / 'run'
    command = start(workdir, '--scheduler=local:1', '--config.recipe.epochs=5000')
    until(lambda: 'compiling' in command.output.read_text(errors='replace'), command)
    pids = workers_of(command)
    command.send_signal(signal.SIGTERM)
    status, printed = finish(command)
    assert status == 130
    assert f'stopped; finished models are in {workdir}, the same command goes on' in printed
    assert 'Traceback' not in printed
    until(lambda: not any(pathlib.Path(f'/proc/{pid}').exists() for pid in pids), timeout=120)
