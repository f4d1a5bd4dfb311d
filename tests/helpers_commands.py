"""The commands, run without the seconds that a new process takes to import JAX."""

import atexit
import contextlib
import functools
import os
import pathlib
from typing import NamedTuple

from tests.helpers import ROOT
from tests.robustness.faults import Launcher


class Done(NamedTuple):
    """How a command ended: its exit status, what it printed, and what it said on stderr."""

    status: int
    out: str
    err: str


@functools.cache
def launcher() -> Launcher:
    """What forks commands off a process that has imported JAX; it ends when this process does."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(Launcher())


def run_command(name: str, *flags: str, folder: pathlib.Path = ROOT) -> Done:
    """Run `python -m experiments.NAME FLAGS` in a folder.

    Variables of the environment are those of now, but those that JAX reads when it is imported.
    """
    ended = launcher().run(
        f'experiments.{name}',
        flags,
        folder / 'none',
        folder=folder,
        environment={name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'},
    )
    return Done(ended.status, ended.out, ended.err)
