"""What workers do in tests/test_cluster.py: functions of (item, shared, tell), in a module that workers can import."""

import os
import pathlib
import signal
import time

import jax
import jax.numpy as jnp

import demo_jax
from demo_jax.errors import InputError

#: An architecture of somebody's own: a score per letter, averaged.
mine = demo_jax.Architecture(
    lambda key: {'letters': 0.1 * jax.random.normal(key, (4,))},
    lambda params, x: jnp.mean(x @ params['letters'], axis=1),
)


def double(item, shared, tell):
    """Twice the item, the shared data, and the process it was done in."""
    tell(1.0, f'doubling {item}')
    return 2 * item, shared, os.getpid()


def refuse(item, shared, tell):
    """Bad input."""
    raise InputError(f'{item}.fa: bad letter')


def fail(item, shared, tell):
    """A mistake of the programmer's."""
    return 1 / 0


def die(item, shared, tell):
    """The process ends, the first time that it works on this item: a path, made then; '' = every time."""
    if not item or not os.path.exists(item):
        time.sleep(0.0 if item else 2.0)  # Dask does not replace a worker that dies as soon as it has started
        if item:
            pathlib.Path(item).touch()
            while len(os.listdir(os.path.dirname(item))) < shared:  # so that all die together
                time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return item, shared


def endless(item, shared, tell):
    """Work until nobody wants it; then say so in a file."""
    try:
        for step in range(1200):
            tell(step, 'working')
            time.sleep(0.05)
    finally:
        pathlib.Path(item).touch()


def environment(item, shared, tell):
    """How JAX has started in this worker."""
    import jax

    return os.environ['NPROC'], jax.local_device_count(), jax.config.jax_default_matmul_precision
