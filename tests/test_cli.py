"""How commands end when somebody stops them."""

import os
import signal
import subprocess
import sys

import pytest

from tests.faults import ROOT

#: Ctrl-C may be ignored here, as in a shell's background jobs; a command that a person starts hears it.
HEARING = 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.executable, sys.argv[1:])'
STOPPING = 'import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n'
#: A command that is stopped once, in a place where Python drops exceptions.
COLLECTING = """
import gc, os, signal, time
from experiments import cli

def stop(*_):
    gc.callbacks.remove(stop)
    os.kill(os.getpid(), signal.NAME)
    time.sleep(1)

def main(_):
    gc.callbacks.append(stop)
    gc.collect()
    time.sleep(20)
    print('never stopped')

cli.run(main)
"""


@pytest.mark.parametrize('place', ['absl/__init__.py', 'quick.py'])  # among the first imports; a config
def test_ctrl_c_before_the_work_begins_ends_a_command_silently(tmp_path, place):
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(STOPPING)
    command = [sys.executable, '-m', 'experiments.paper', f'--config={tmp_path / "quick.py"}']
    done = subprocess.run(
        [sys.executable, '-c', HEARING, *command], cwd=ROOT, capture_output=True, text=True, timeout=200,
        env=os.environ | {'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}'},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (-signal.SIGINT, '')


@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM'])
def test_a_signal_while_garbage_is_collected_is_not_lost(name):
    command = [sys.executable, '-c', HEARING, sys.executable, '-c', COLLECTING.replace('NAME', name)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, '', 'interrupted\n')
