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


@pytest.mark.parametrize('place', ['absl/__init__.py', 'quick.py'])  # among the first imports; a config
def test_ctrl_c_before_the_work_begins_ends_a_command_silently(tmp_path, place):
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(STOPPING)
    command = [sys.executable, '-m', 'experiments.paper', f'--config={tmp_path / "quick.py"}']
    done = subprocess.run(
        [sys.executable, '-c', HEARING, *command], cwd=ROOT, capture_output=True, text=True, timeout=50,
        env=os.environ | {'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}'},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (-signal.SIGINT, '')
