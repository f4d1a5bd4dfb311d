"""How JAX sees this machine; to be settled before it first runs anything (edge: reads the environment)."""

import contextlib
import os

import jax

from demo_jax.errors import InputError


def configure(host_devices: int = 0) -> None:
    """Split the CPU into single-threaded devices, one model's work on each.

    Two single-threaded devices on two cores train faster than one device with two threads, since a
    model's step is many small operations. Has no effect on GPUs and TPUs, or once JAX has started.

    Args:
      host_devices: how many; 0 = one per core that this process may use, but at most 8.

    Raises:
      InputError: a negative number.
    """
    if host_devices < 0:
        raise InputError(f'machine: host_devices is {host_devices}, expected 0 (one per core) or more')
    count = host_devices or min(len(os.sched_getaffinity(0)), 8)
    if count > 1 and 'xla_cpu_multi_thread_eigen' not in os.environ.get('XLA_FLAGS', ''):
        # Read when the CPU backend starts; jax.config has no name for it.
        os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} --xla_cpu_multi_thread_eigen=false'.strip()
    with contextlib.suppress(RuntimeError):  # JAX has started: too late to change
        jax.config.update('jax_num_cpu_devices', count)
