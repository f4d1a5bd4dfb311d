"""How commands end when somebody stops them, or when there is no such device as they are told to use."""

import os
import shutil
import signal
import subprocess
import sys

import jax
import pytest

from tests.helpers import ROOT
from tests.helpers_commands import run_command

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
        [sys.executable, '-c', HEARING, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | {'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}'},
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, '')


@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM'])
def test_a_signal_while_garbage_is_collected_is_not_lost(name):
    command = [sys.executable, '-c', HEARING, sys.executable, '-c', COLLECTING.replace('NAME', name)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, '', 'interrupted\n')


#: A command of each way to start, and its flags: {} is a folder to write in.
WITH_DEVICES = {
    'paper': ['--config=configs/quickstart.py', '--workdir={}/new'],
    'train': ['--config=configs/quickstart.py', '--workdir={}/new'],
    'precision': ['--workdir={}/new'],
    'evaluate': ['--run={}/run'],
    'explain': ['--run={}/run'],
    'match': ['--run={}/run'],
    'score': ['--run={}/run', '--fasta={}/x.fa', '--out={}/new'],
    'benchmark': ['--suite=data', '--json={}/new'],
}
WITHOUT_DEVICES = {
    'prepare': ['--source=simulated', '--n_tasks=1', '--n_train=20', '--n_test=8', '--out={}/new'],
    'simulate_peaks': ['--n_tasks=1', '--n_peaks=20', '--out={}/new'],
    'dashboard': ['--run={}/run', '--out={}/new'],
}


@pytest.fixture
def on_platform(tmp_path, monkeypatch):
    """Runs a command where JAX is to use another kind of device; its status and errors."""
    shutil.copytree(ROOT / 'tests' / 'data' / 'run_v1', tmp_path / 'run')
    (tmp_path / 'x.fa').write_text('>s\nACGT\n')

    def call(platform, name, given):
        monkeypatch.setenv('JAX_PLATFORMS', platform)
        status, _, err = run_command(name, *(flag.format(tmp_path) for flag in given))
        return status, err

    return call


@pytest.mark.parametrize('name', WITH_DEVICES)
def test_a_device_that_is_not_there_is_one_line(on_platform, tmp_path, name):
    status, err = on_platform('nonsense', name, WITH_DEVICES[name])
    assert status == 2 and err.count('\n') == 1, err
    assert err.startswith('error: JAX_PLATFORMS=nonsense: JAX cannot use such a device on this machine (')
    assert err.endswith('; unset JAX_PLATFORMS, and it takes what there is\n')
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('platform', ['cuda', 'rocm', 'tpu'])
def test_each_kind_of_device_is_named(on_platform, platform):
    if platform in ('cuda', 'rocm') and any(device.platform == 'gpu' for device in jax.devices()):
        pytest.skip('there is a GPU')
    status, err = on_platform(platform, 'score', WITH_DEVICES['score'])
    assert status == 2 and err.count('\n') == 1, err
    assert err.startswith(f'error: JAX_PLATFORMS={platform}: JAX cannot use such a device on this machine')


@pytest.mark.parametrize('name', WITHOUT_DEVICES)
def test_commands_that_need_no_device_do_their_work(on_platform, tmp_path, name):
    status, err = on_platform('nonsense', name, WITHOUT_DEVICES[name])
    assert status == 0, err
    assert any((tmp_path / 'new').iterdir())


def test_a_device_that_is_not_there_in_python():
    """One error that says what to unset, before anything is computed; `JAX_PLATFORM_NAME` is the older name."""
    code = 'import demo_jax\ntry: demo_jax.load_run("tests/data/run_v1")\nexcept ValueError as error: print(error)'
    names = ('JAX_PLATFORMS', 'JAX_PLATFORM_NAME')
    clean = {name: value for name, value in os.environ.items() if name not in names}
    for name in names:
        done = subprocess.run(
            [sys.executable, '-c', code],
            cwd=ROOT,
            env=clean | {name: 'nonsense'},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.stdout.startswith(f'{name}=nonsense: JAX cannot use such a device on this machine ('), done.stderr


def test_an_error_under_a_progress_bar_has_a_line_of_its_own():
    code = (
        'import tqdm\nfrom demo_jax.errors import InputError\nfrom experiments import cli\n'
        'def main(_):\n    for _ in tqdm.tqdm([1, 2], desc="reading"):\n        raise InputError("one line")\n'
        'cli.run(main)\n'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == 'error: one line'
