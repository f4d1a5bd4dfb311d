"""The main command on worker processes: started, waited for, and compared with one process."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

from tests.helpers import ROOT, contents, keep_programs
from tests.helpers_commands import run_command

FLAGS = (
    '--config=configs/quickstart.py',
    '--config.corpus.n_tasks=2',
    '--config.corpus.n_train=150',
    '--config.corpus.n_test=20',
    '--config.specs=("small_cnn",)',
    '--config.seeds=(0,1,2)',
    '--config.recipe.epochs=20',
    '--config.recipe.batch_size=32',
    '--config.machine.host_devices=2',
    '--config.explain.positives=4',
    '--config.explain.negatives=2',
    '--config.explain.optimisation_steps=5',
    '--config.explain.pieces=("saliency","activations","class_optimisation")',
    '--stages=train,explain',
)
N_JOBS = 6


def start(workdir, *flags):
    """One process; its output goes to a file, so that nobody has to read it while it runs."""
    environment = os.environ | {
        'JAX_PLATFORMS': 'cpu',
        'PYTHONPATH': str(ROOT),
        **keep_programs(),
        'NPROC': '4',
    }
    arguments = [sys.executable, '-m', 'experiments.paper', *FLAGS, f'--workdir={workdir}', *flags]
    with open(f'{workdir}.{time.monotonic_ns()}', 'w+b') as output:
        process = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    process.output = pathlib.Path(output.name)
    return process


def alone(workdir, *flags):
    """What a process without workers finds, by file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('NPROC', '4')
        status, out, err = run_command('paper', *FLAGS, f'--workdir={workdir}', *flags)
    assert status == 0, out + err
    return contents(workdir)


def finish(process, timeout=300):
    """The exit status of a command, and all that it printed."""
    process.wait(timeout=timeout)
    return process.returncode, process.output.read_text(errors='replace')


def until(condition, *running, timeout=240):
    """Wait for something that these processes bring about."""
    deadline = time.monotonic() + timeout
    while not condition():
        for process in running:
            assert process.poll() is None, 'a process has ended'
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers_of(process):
    """The process ids of the workers that a command has started."""
    found = []
    for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
        try:
            parent = int(path.read_text().rpartition(')')[2].split()[1])
            command = path.with_name('cmdline').read_text()
        except OSError:
            continue
        if parent == process.pid and 'spawn_main' in command:
            found.append(int(path.parent.name))
    return found


def assert_same(workdir, expected, part=''):
    """The files of a run (those whose names begin with `part`) are what a process without workers wrote, bit by bit."""
    found = contents(workdir)
    names = [name for name in expected if name.startswith(part)]
    assert sum(name.startswith('models/') for name in names) == N_JOBS
    assert names == [name for name in found if name.startswith(part)]
    assert [name for name in names if found[name] != expected[name]] == []
