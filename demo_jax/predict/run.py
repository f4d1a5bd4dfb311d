"""A training opened for reading: `load_run(path).model(task, spec)` predicts and explains (edge)."""

import functools
import os
from collections.abc import Collection, Sequence

import numpy as np

from demo_jax.compute import devices
from demo_jax.errors import InputError, brief
from demo_jax.evaluation import choose
from demo_jax.evaluation.calibration import Scale
from demo_jax.evaluation.choose import ALL_SPECS
from demo_jax.nn.deepbind import PUBLISHED
from demo_jax.predict.ensemble import Ensemble
from demo_jax.predict.model import Model
from demo_jax.predict.predictor import Predictor
from demo_jax.runs.directory import RunDirectory
from demo_jax.training.jobs import Job

#: Which of the models of a task and architecture answer: all together, or the best by validation.
MEMBERS = ('all', 'best')


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

    def share(self, task: str) -> float:
        """The share of positives among the training and validation sequences of a task."""
        corpus = self.directory.corpus()
        rows = slice(corpus.rows(task, 'train').start, corpus.rows(task, 'valid').stop)
        return float(np.mean(np.asarray(corpus.labels[rows])))

    @functools.cached_property
    def scales(self) -> dict[tuple[int, ...], Scale]:
        """As of `RunDirectory.scales`."""
        return self.directory.scales()

    def find_job(self, task: str, spec: str, seed: int | None = None) -> Job:
        """The job of a task and spec ('all' = any); the first seed (and first row of a grid) unless one is named.

        Raises:
          InputError: the run has no such task, spec or seed; the message lists those it has.
        """
        for what, value, known in (('task', task, self.tasks), ('spec', spec, self.specs)):
            if value not in known and (what, value) != ('spec', ALL_SPECS):
                raise InputError(f'{self.directory.path}: no {what} {value!r}; it has {", ".join(known)}')
        found = self._jobs_of(task, spec)
        seeds = sorted({job.seed for job in found})
        found = [job for job in found if seed is None or job.seed == seed]
        if not found:
            listed = ', '.join(map(str, seeds))
            raise InputError(f'{self.directory.path}: no seed {seed} of {task}, {spec}; it has {listed}')
        return found[0]

    def model(self, task: str, spec: str, seed: int | None = None, *, members: str = 'all') -> Predictor:
        """What the run has trained of a task and spec, ready to predict and explain.

        Args:
          task: a name.
          spec: a name. 'all': the models of all architectures as one `Ensemble`, whose score is their mean.
          seed: the one model of this seed (of 'all', one of each architecture). None: all of them, see `members`.
          members: 'all': models of several seeds (or folds) as an `Ensemble`, where there are several; 'best': of
            these the one with the best validation AUROC.

        Raises:
          InputError: the run has no such model, it diverged, or `members` is something else.
        """
        job = self.find_job(task, spec, seed)
        found = [] if seed is not None and spec != ALL_SPECS else self.members(task, spec, members)
        found = [one for one in found if seed in (None, one[0].seed)]
        return self.predictor_of([one for one, _ in found]) if found else self.model_of(job)

    def members(self, task: str, spec: str, members: str = 'all') -> list[tuple[Job, float]]:
        """The trained models that answer together for a task and spec, and the validation AUROC of each.

        One per architecture, seed and fold (of a grid, the best of each by validation); models that diverged or are not
        trained yet are left out. Arguments are those of `model`.

        Raises:
          InputError: `members` is something else.
        """
        if members not in MEMBERS:
            raise InputError(f'members is {brief(members)}, expected one of {", ".join(MEMBERS)}')
        mine = self._jobs_of(task, spec)
        trained = self.directory.finished_jobs()
        read = ((job, self.directory.load_result(job.index)) for job in mine if job.index in trained)
        alive = [(job, result.best_auroc) for job, result in read if result.params is not None]
        if members == 'best':
            best = choose.best(alive, lambda one: one[1])
            return [] if best is None else [best]
        each = choose.best_of_each(alive, lambda one: (one[0].spec, one[0].seed, one[0].fold), lambda one: one[1])
        return list(each.values())

    def _jobs_of(self, task: str, spec: str) -> list[Job]:
        """The rows of a task and spec; of 'all', those of all architectures but models that others have published."""
        specs = [one for one in self.specs if one != PUBLISHED] if spec == ALL_SPECS else [spec]
        return [job for job in self.jobs if job.task == task and job.spec in specs]

    def predictor_of(self, jobs: Sequence[Job]) -> Predictor:
        """The trained models of some rows of the job table as one: a `Model`, or of several an `Ensemble`."""
        if len(jobs) == 1:
            return self.model_of(jobs[0])
        temperature, shift = self._scale(jobs)
        return Ensemble(tuple(self.model_of(job) for job in jobs), temperature, shift)

    def _scale(self, jobs: Sequence[Job]) -> tuple[float | None, float]:
        """The temperature and the shift of models that answer together; None and 0 where they are not calibrated."""
        return self.scales.get(tuple(sorted(job.index for job in jobs)), (None, 0.0))

    def model_of(self, job: Job) -> Model:
        """The trained model of one row of the job table; InputError as `model`."""
        result = self.directory.load_result(job.index)
        if result.params is None:
            raise InputError(f'{self.directory.path}: the training of {job.label} diverged, there is no model')
        temperature, shift = self._scale([job])
        average = bool(self.config.get('recipe', {}).get('average_strands', False))
        return Model(
            job.task,
            job.spec,
            job.seed,
            result.params,
            average_strands=average,
            length=self.length,
            temperature=temperature,
            shift=shift,
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
