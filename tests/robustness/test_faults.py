"""Killed anywhere, out of disk, or told to stop: a run goes on to the same bits, and says in one line what happened."""

import errno
import os
import signal
import subprocess

import pytest

from demo_jax.runs.directory import RunDirectory
from tests.helpers import contents
from tests.robustness import faults
from tests.robustness.faults import STAGES, Ended, Fault, Launcher, command


@pytest.fixture(scope='module')
def launcher():
    with Launcher() as one:
        yield one


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('faults')


@pytest.fixture(scope='module')
def trained(launcher, folder):
    """An undisturbed run up to its tables, and how it ended."""
    path = folder / 'trained'
    return path, faults.reference(launcher, path, STAGES['train'])


@pytest.mark.parametrize(('stage', 'count'), [('train', 3), ('explain', 2)])
def test_killed_at_random_moments(launcher, trained, tmp_path, stage, count):
    result = faults.kills(count, stage, tmp_path, launcher=launcher, trained=trained, seed=4)
    assert result.count == count and result.whole >= 1
    assert result.different == []


def test_killed_while_ending(launcher, tmp_path):
    """The process that forks outlives children that are killed while they write down how they ended."""
    seconds, statuses = 0.01, set()
    for _ in range(300):  # a little later after each kill, a little earlier after each end: always near the end
        ended = launcher.run('json.tool', ['--help'], tmp_path, Fault('time', seconds=seconds))
        statuses.add(ended.status)
        seconds *= 1.02 if ended.status else 1 / 1.02
    assert statuses == {0, -signal.SIGKILL}


def complaint(ended: Ended) -> str:
    """The one line that a command says on failing; the progress bar is not one."""
    lines = [line for line in ended.err.replace('\r', '\n').splitlines() if line.strip()]
    lines = [line for line in lines if not ('|' in line and '%' in line) and not line.startswith('note: ')]
    assert len(lines) == 1, ended.err
    return lines[0]


def test_a_disk_that_fills_up_while_training(launcher, trained, tmp_path):
    path, usual = trained
    run = tmp_path / 'run'
    ended = launcher.run(*command(run, STAGES['train']), run, Fault('full', event=int(0.6 * usual.events)))
    assert ended.struck and ended.status == 1
    assert os.strerror(errno.ENOSPC) in complaint(ended) and 'Traceback' not in ended.err
    assert faults.steps(run)  # the last good checkpoint
    again = launcher.run(*command(run, STAGES['train']), run)
    assert again.status == 0, again.err
    assert 'cannot be read' not in again.err
    assert contents(run) == contents(path)


def test_a_disk_that_fills_up_while_explaining(launcher, trained, tmp_path, explained):
    path, usual = explained
    run = faults.copied(trained[0], tmp_path / 'run')
    ended = launcher.run(*command(run, STAGES['explain']), run, Fault('full', event=int(0.3 * usual.events)))
    assert ended.struck and ended.status == 1
    assert os.strerror(errno.ENOSPC) in complaint(ended)
    assert launcher.run(*command(run, STAGES['explain']), run).status == 0
    assert contents(run) == contents(path)


@pytest.fixture(scope='module')
def explained(launcher, trained, folder):
    """The trained run after the stages explain and match."""
    path = faults.copied(trained[0], folder / 'explained')
    return path, faults.reference(launcher, path, STAGES['explain'])


def test_a_real_disk_that_fills_up(launcher, trained, tmp_path):
    """On a file system of three quarters of what the run needs, which then grows."""
    path, _ = trained
    size = sum(file.stat().st_blocks * 512 for file in path.rglob('*')) / 2**20
    with faults.small_disk(tmp_path / 'disk', 0.75 * size) as mounted:
        if not mounted:
            pytest.skip('this user cannot mount a file system')
        run = tmp_path / 'disk' / 'run'
        ended = launcher.run(*command(run, STAGES['train']), run)
        assert ended.status == 1 and os.strerror(errno.ENOSPC) in complaint(ended)
        if faults.steps(run):
            assert all(RunDirectory(run).load_result(job).params for job in RunDirectory(run).finished_jobs())
        subprocess.run(['mount', '-o', f'remount,size={int(4 * size + 8)}m', str(tmp_path / 'disk')], check=True)
        again = launcher.run(*command(run, STAGES['train']), run)
        assert again.status == 0, again.err
        assert contents(run) == contents(path)


@pytest.mark.parametrize(
    ('kind', 'stage', 'text'),
    [
        ('term', 'train', 'stopped; a checkpoint is in'),
        ('int', 'train', 'stopped; a checkpoint is in'),
        ('term', 'explain', 'interrupted'),
        ('int', 'match', 'interrupted'),
        ('term', 'report', 'interrupted'),
    ],
)
def test_a_signal_ends_it_within_seconds(launcher, trained, explained, tmp_path, kind, stage, text):
    run = tmp_path / 'run'
    if stage != 'train':
        faults.copied((explained if stage == 'report' else trained)[0], run)
    stages = {'train': STAGES['train'], 'match': 'explain,match'}.get(stage, stage)
    usual = {'train': trained, 'match': explained, 'explain': explained}.get(stage, explained)[1].events
    # Somewhere within the stage: training's first checkpoint, match's second half of the writes, ...
    event = {'train': 0.4, 'explain': 0.1, 'match': 0.75, 'report': 0.05}[stage] * usual
    ended = launcher.run(*command(run, stages), run, Fault(kind, event=max(1, int(event)), seconds=0.01))
    assert ended.struck and ended.status == 130, ended.err
    assert complaint(ended).startswith(text)
    assert ended.waited < 20  # a segment, a piece or a program that is being compiled
    if stage == 'train':
        assert faults.steps(run)
    assert [name for name in faults.leftovers(run) if name.endswith('.tmp')] == []
