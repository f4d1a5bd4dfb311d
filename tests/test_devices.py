"""Where compiled programs are kept, and the count of what is compiled."""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from demo_jax.compute import devices
from demo_jax.errors import InputError
from tests.helpers import ROOT


@pytest.fixture
def kept_in(monkeypatch):
    """The folders that JAX is told to keep programs in; it is told nothing in truth."""
    told = []
    monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
    monkeypatch.setattr(jax.config, 'update', lambda name, value: told.append((name, value)))
    return told


def test_programs_are_kept_where_only_the_user_can_write(kept_in, tmp_path):
    old = os.umask(0)
    try:
        assert devices.keep_programs(str(tmp_path / 'a' / 'xla')) == ''
    finally:
        os.umask(old)
    ((name, folder),) = kept_in
    assert name == 'jax_compilation_cache_dir'
    assert pathlib.Path(folder).parent == tmp_path / 'a' / 'xla'
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in (pathlib.Path(folder), tmp_path / 'a' / 'xla'))


def test_a_folder_of_others_is_not_believed(kept_in, tmp_path):
    folder = tmp_path / 'xla'
    folder.mkdir()
    folder.chmod(0o777)
    assert 'xla can be written by other users' in devices.keep_programs(str(folder))
    (tmp_path / 'file').touch()
    assert 'programs are not kept' in devices.keep_programs(str(tmp_path / 'file' / 'xla'))
    assert kept_in == []


def test_who_wants_none_or_has_their_own_is_heard(kept_in, tmp_path, monkeypatch):
    assert devices.keep_programs('') == ''
    monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(tmp_path))
    assert devices.keep_programs(str(tmp_path / 'xla')) == ''
    assert kept_in == [] and list(tmp_path.iterdir()) == []
    monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR')
    with pytest.raises(InputError, match='NO_SUCH_VARIABLE.* is not set'):
        devices.keep_programs('$NO_SUCH_VARIABLE/xla')


def test_the_oldest_programs_go(kept_in, tmp_path, monkeypatch):
    devices.keep_programs(str(tmp_path))
    folder = pathlib.Path(kept_in[0][1])
    for age in range(5):
        (folder / f'{age}').write_bytes(b'x' * 100)
        os.utime(folder / f'{age}', (1000 - age, 1000 - age))
    (folder / 'killed-cache').touch()  # by a process that was killed as it began to write
    monkeypatch.setattr(devices, 'MAX_KEPT', 250)
    devices.keep_programs(str(tmp_path))
    assert sorted(path.name for path in folder.iterdir()) == ['0', '1']


PROGRAM = """
import sys, jax, jax.numpy as jnp
from demo_jax.compute import devices
assert devices.keep_programs(sys.argv[1]) == ''
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)  # this one is quickly compiled
with devices.compilations() as compiled:
    found = jax.jit(lambda x: jnp.sort(jnp.sin(x)).sum())(jax.device_put(jax.numpy.zeros(40)))
print(compiled.kept, compiled.programs, float(found))
"""


def test_a_second_process_takes_the_programs_of_the_first(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != 'JAX_COMPILATION_CACHE_DIR'}
    environment |= {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)}
    printed = []
    for _ in range(2):
        found = subprocess.run(
            [sys.executable, '-c', PROGRAM, str(tmp_path / 'xla')], env=environment, capture_output=True, text=True
        )
        assert found.returncode == 0 and found.stderr == '', found.stderr
        printed.append(found.stdout.split())
    (kept, programs, value), (kept_then, programs_then, value_then) = printed
    assert kept == '0' and kept_then == programs_then == programs != '0'
    assert value == value_then


def test_compilations_are_counted_only_while_asked_for():
    with devices.compilations() as compiled:
        jax.jit(lambda x: x * 3 + 1)(1.0)
    assert compiled.programs == 1
    jax.jit(lambda x: x * 5 + 2)(jnp.ones(3))
    assert compiled.programs == 1
    assert str(devices.Compiled(1, 2.0, 0)) == 'compiling took 2.0 s: 1 program'
    assert str(devices.Compiled(4, 2.04, 3)) == 'compiling took 2.0 s: 4 programs, 3 of them kept from before'
