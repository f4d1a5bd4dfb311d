"""A training opened for reading: `load_run(path).model(task, spec)` is a model that predicts and explains (edge)."""

import functools
import os
from collections.abc import Collection

from demo_jax.compute import devices
from demo_jax.errors import InputError, brief
from demo_jax.predict.model import Model
from demo_jax.runs.directory import RunDirectory
from demo_jax.training.jobs import Job


class Run:
    """A finished (or half-finished) training, for reading. Made by `load_run`."""

    def __init__(self, directory: RunDirectory):
        self.directory = directory
        facts = self.directory.facts()
        self.tasks: tuple[str, ...] = tuple(facts['tasks'])
        self.jobs = self.directory.jobs()
        for job in self.jobs:
            if job.task not in self.tasks:
                raise InputError(f'{self.directory.path / "jobs.tsv"}: task {brief(job.task)} is not one of the run')
        self.specs: tuple[str, ...] = tuple(dict.fromkeys(job.spec for job in self.jobs))
        self.config = self.directory.config()

    def __repr__(self) -> str:
        done = len(self.directory.finished_jobs())
        return f'Run({str(self.directory.path)!r}: {len(self.tasks)} tasks, {len(self.specs)} specs, {done} models)'

    @functools.cached_property
    def length(self) -> int:
        """Letters of the longest sequence in the run's corpus."""
        return int(self.directory.corpus().lengths.max(initial=0))

    @functools.cached_property
    def temperatures(self) -> dict[int, float]:
        """The temperature of each calibrated model, by job; none where the stage evaluate has not run."""
        return self.directory.temperatures()

    def find_job(self, task: str, spec: str, seed: int | None = None) -> Job:
        """The job of a task and spec; the first seed (and first row of a grid) unless one is named.

        Raises:
          InputError: the run has no such task, spec or seed; the message lists those it has.
        """
        for what, value, known in (('task', task, self.tasks), ('spec', spec, self.specs)):
            if value not in known:
                raise InputError(f'{self.directory.path}: no {what} {value!r}; it has {", ".join(known)}')
        found = [job for job in self.jobs if job.task == task and job.spec == spec]
        seeds = sorted({job.seed for job in found})
        found = [job for job in found if seed is None or job.seed == seed]
        if not found:
            listed = ', '.join(map(str, seeds))
            raise InputError(f'{self.directory.path}: no seed {seed} of {task}, {spec}; it has {listed}')
        return found[0]

    def model(self, task: str, spec: str, seed: int | None = None) -> Model:
        """The trained model of a task and spec, ready to predict and explain.

        Raises:
          InputError: the run has no such model, or it diverged.
        """
        return self.model_of(self.find_job(task, spec, seed))

    def model_of(self, job: Job) -> Model:
        """The trained model of one row of the job table; InputError as `model`."""
        result = self.directory.load_result(job.index)
        if result.params is None:
            raise InputError(f'{self.directory.path}: the training of {job.label} diverged, there is no model')
        average = bool(self.config.get('recipe', {}).get('average_strands', False))
        return Model(
            job.task,
            job.spec,
            job.seed,
            result.params,
            average_strands=average,
            length=self.length,
            temperature=self.temperatures.get(job.index),
        )


def load_run(path: str | os.PathLike, *, own_specs: Collection[str] | bool = ()) -> Run:
    """Open a run directory for reading.

    Args:
      path: the directory that a training wrote (`--workdir`); `~` is the home directory.
      own_specs: architectures of your own ('my_package.my_models:dilated') that may be imported, which runs their
        modules; True: whatever the run names. Say it only of a run that you trust.

    Returns:
      A `Run`; `run.model(task, spec).predict(['ACGT...'])` scores plain strings.

    Raises:
      InputError: it is not a run directory, or JAX finds no device (see `devices.check`).
    """
    devices.check()
    return Run(RunDirectory(path, own_specs))
