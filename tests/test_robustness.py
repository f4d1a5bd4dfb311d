"""A little of what `python -m tests.robustness` does at length: a kill, a full disk, damaged files, mutants."""

import errno
import os
import signal

import pytest

from tests.helpers import ROOT, contents
from tests.helpers_commands import launcher
from tests.robustness import faults, fuzz, fuzz_readers
from tests.robustness.faults import STAGES, Fault, command
from tests.robustness.mutants import MUTANTS, names_of, places


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """An undisturbed run up to its tables, and how it ended."""
    path = tmp_path_factory.mktemp('robustness') / 'trained'
    return path, faults.reference(launcher(), path, STAGES['train'])


def curves(run):
    """What TensorBoard shows of a run: epochs and values of every curve."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / 'tensorboard'))
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()['scalars']}


def test_killed_and_with_a_damaged_checkpoint_a_run_goes_on_to_the_same_bits(trained, tmp_path):
    path, usual = trained
    run = tmp_path / 'run'
    ended = launcher().run(*command(run, STAGES['train']), run, Fault('event', event=int(0.6 * usual.events)))
    assert ended.struck and ended.status == -signal.SIGKILL
    newest = run / 'checkpoints' / max(faults.steps(run), key=int)
    for file in newest.rglob('*'):  # cut in half: the one before serves
        if file.is_file() and file.stat().st_size > 2000:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    again = launcher().run(*command(run, STAGES['train']), run)
    assert again.status == 0, again.err
    assert f'checkpoint {newest.name} cannot be read' in again.err + again.out
    assert contents(run) == contents(path)
    found = curves(run)
    assert found == curves(path) and len(found) > 8  # every epoch once, whatever had been written when it was killed
    assert all([step for step, _ in points] == [1, 2, 3, 4] for points in found.values())


def test_on_a_full_disk_a_run_says_so_and_goes_on_later(trained, tmp_path):
    path, usual = trained
    run = tmp_path / 'run'
    ended = launcher().run(*command(run, STAGES['train']), run, Fault('full', event=int(0.6 * usual.events)))
    assert ended.struck and ended.status == 1
    assert os.strerror(errno.ENOSPC) in ended.err and 'Traceback' not in ended.err
    assert launcher().run(*command(run, STAGES['train']), run).status == 0
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
