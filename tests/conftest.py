"""Settings of every test, and the fixtures that several files share."""

import os
import pathlib

import jax
import pytest

jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture(scope='session')
def real_data() -> pathlib.Path:
    """The folder of real ChIP-seq sets that `DEMO_JAX_DATA` names; the test is skipped where it is unset."""
    path = os.environ.get('DEMO_JAX_DATA')
    if not path:
        pytest.skip('DEMO_JAX_DATA is not set')
    return pathlib.Path(path)
