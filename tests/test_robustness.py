"""A little of what `python -m tests.robustness` does at length: a kill, a full disk, damaged files, mutants."""

import errno
import os
import signal

import pytest

from tests.helpers import ROOT, contents
from tests.robustness import faults, fuzz, fuzz_readers
from tests.robustness.faults import STAGES, Fault, Launcher, command
from tests.robustness.mutants import MUTANTS, names_of, places


@pytest.fixture(scope='module')
def launcher():
    with Launcher() as one:
        yield one


@pytest.fixture(scope='module')
def trained(launcher, tmp_path_factory):
    """An undisturbed run up to its tables, and how it ended."""
    path = tmp_path_factory.mktemp('robustness') / 'trained'
    return path, faults.reference(launcher, path, STAGES['train'])


@pytest.mark.parametrize('kind', ['event', 'full', 'term'])
def test_a_run_goes_on_to_the_same_bits(launcher, trained, tmp_path, kind):
    """After SIGKILL at a write, a disk that fills up, and SIGTERM."""
    path, usual = trained
    run = tmp_path / 'run'
    ended = launcher.run(*command(run, STAGES['train']), run, Fault(kind, event=int(0.6 * usual.events)))
    assert ended.struck and ended.status == {'event': -signal.SIGKILL, 'full': 1, 'term': 130}[kind]
    assert faults.steps(run)  # the last good checkpoint
    if kind == 'full':
        assert os.strerror(errno.ENOSPC) in ended.err
    assert 'Traceback' not in ended.err
    again = launcher.run(*command(run, STAGES['train']), run)
    assert again.status == 0, again.err
    assert contents(run) == contents(path)


def test_damaged_files_are_read_or_refused(tmp_path):
    before = fuzz.signal.signal(signal.SIGALRM, fuzz._alarm)
    try:
        for name, reader in fuzz_readers.READERS.items():
            if not reader.heavy:
                (tmp_path / name).mkdir()
                row = fuzz._reader(name, 6, 60.0, 4, tmp_path / name)
                assert row.files == row.accepted + row.refused == 6, row.examples
    finally:
        signal.signal(signal.SIGALRM, before)


def test_mutants_fit_their_files():
    """Each changes one place, leaves Python, and names a test that there is."""
    for mutant in MUTANTS:
        assert places(mutant) == 1, f'{mutant.file}: {mutant.old!r} occurs {places(mutant)} times'
        changed = (ROOT / 'demo_jax' / mutant.file).read_text().replace(mutant.old, mutant.new)
        compile(changed, mutant.file, 'exec')
        test, path = names_of(mutant)
        function = test.partition('::')[2]
        assert not function or f'def {function}(' in (ROOT / path).read_text(), mutant.test
