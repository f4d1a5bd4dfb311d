"""The main command on Dask workers, killed, stopped, and gone on with elsewhere: the same bits."""

import os
import pathlib
import re
import signal

import pytest

from demo_jax.compute.cluster import Scheduler, connected
from demo_jax.errors import InputError
from demo_jax.runs.directory import RunDirectory
from tests import cluster_work
from tests.helpers_cluster import N_JOBS, alone, assert_same, finish, start, until, workers_of

ADDRESS = r'(?:tcp|tls)://127\.0\.0\.1:\d+'


@pytest.fixture(scope='module')
def two():
    """Two worker processes of this machine."""
    with connected(Scheduler('', 2), {'host_devices': 2}) as cluster:
        yield cluster


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


def test_workers_that_die_together_are_replaced_and_get_the_data_again(two, tmp_path):
    items, lost = [str(tmp_path / name) for name in 'ab'], []
    found = dict(two.map(cluster_work.die, items, 2, say=lost.append))
    assert found == {0: (items[0], 2), 1: (items[1], 2)}
    assert lost and all(
        re.fullmatch(f'worker {ADDRESS} is lost; what it had under way is given to another', line) for line in lost
    )


def test_a_bundle_that_kills_its_workers_is_told_after_the_others_are_done(two, monkeypatch, tmp_path):
    """With the first death a bundle is given up, and so are those that waited for the same worker."""
    monkeypatch.setattr(two._client.cluster.scheduler, 'allowed_failures', 0)
    (tmp_path / 'there').touch()
    harmless = str(tmp_path / 'there')
    items, done = ['', *[harmless] * 7], []
    message = f'^scheduler local:2: the deadly one: 1 worker died while working on it, the last one {ADDRESS}; see'
    with pytest.raises(InputError, match=message):
        for number, result in two.map(cluster_work.die, items, label=lambda item: item or 'the deadly one'):
            assert result == (harmless, None)
            done.append(number)
    assert sorted(done) == list(range(1, 8))
