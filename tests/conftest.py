"""Settings of every test, and the fixtures that several files share."""

import atexit
import gc
import os
import pathlib
import shutil
import sys
import tempfile

import jax
import pytest
from absl import flags
from absl.testing import flagsaver

from demo_jax.compute import devices
from tests import shapes
from tests.helpers import PROGRAMS, XLA_FLAGS

# Before JAX starts; processes that tests start inherit it.
os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {XLA_FLAGS}'.strip()
os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'
# Those processes would translate our modules at every start.
os.environ.pop('PYTHONDONTWRITEBYTECODE', None)
if PROGRAMS not in os.environ:  # one folder for all workers of pytest, which inherit it
    os.environ[PROGRAMS] = tempfile.mkdtemp(prefix='demo_jax-programs-')
    atexit.register(shutil.rmtree, os.environ[PROGRAMS], ignore_errors=True)
devices.configure(host_devices=2)
jax.config.update('jax_disable_most_optimizations', True)  # this process has read its variables
jax.config.update('jax_numpy_rank_promotion', 'raise')
shapes.install()
os.fsync = lambda _: None  # what tests write need not outlive the machine; a disk takes 3 ms to answer


def pytest_collection_finish() -> None:
    """Keep the collector of garbage from walking over all modules again and again: tracing makes many objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Look for garbage here, once: pytest does so five times, and all objects of a session take seconds each time."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """See that a worker of pytest-xdist ends when it has told its results: nobody looks at what is left of it."""
    if hasattr(config, 'workerinput'):
        atexit.register(_leave)


def _leave() -> None:
    """End this process, but free neither what JAX has compiled nor other memory, which takes seconds.

    What tests have registered for the end has run by now, for the last comes first; what JAX registered has not.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@pytest.fixture(scope='session')
def real_data() -> pathlib.Path:
    """The folder of real ChIP-seq sets that `DEMO_JAX_DATA` names; the test is skipped where it is unset."""
    path = os.environ.get('DEMO_JAX_DATA')
    if not path:
        pytest.skip('DEMO_JAX_DATA is not set')
    return pathlib.Path(path)


@pytest.fixture(scope='module')
def call():
    """The command's `main` with these flags. Flags of other commands that tests import give way to its own."""
    if 'experiments.score' not in sys.modules:
        theirs = [name for name in ('run', 'specs', 'tasks', 'out', 'models', 'download') if name in flags.FLAGS]
        flags.FLAGS.remove_flag_values(theirs)
    from experiments import score

    flags.FLAGS.mark_as_parsed()

    @flagsaver.flagsaver
    def with_flags(**values):
        for name, value in values.items():
            setattr(flags.FLAGS, name, value)
        score.main(['score'])

    return with_flags
