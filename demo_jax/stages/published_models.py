"""DeepBind's published models beside ours in a run: jobs that are entered, not trained (edge)."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from demo_jax.data.corpus import Corpus
from demo_jax.data.deepbind_models import Entry, Index, read_index, read_parameters
from demo_jax.errors import InputError, brief
from demo_jax.evaluation.published import published_task
from demo_jax.nn.deepbind import PUBLISHED, in_one_shape
from demo_jax.runs.directory import RunDirectory
from demo_jax.training.jobs import Job
from demo_jax.training.state import Finished


def find_models(tasks: Sequence[str], index: Index) -> dict[str, Entry]:
    """The published model of each task that has one: it was trained on the set of the same name."""
    by_data = {entry.data: entry for entry in index.entries if entry.kind == 'TF' and entry.data}
    by_id = {entry.id: entry for entry in index.entries}
    found = {}
    for task in tasks:
        known = published_task(task)
        entry = by_data.get(task) or (by_id.get(known.deepbind_id) if known is not None else None)
        if entry is not None:
            found[task] = entry
    return found


def with_published(jobs: Sequence[Job], tasks: Sequence[str], folder: str | os.PathLike) -> tuple[Job, ...]:
    """The job table with a job for every task that has a published model, behind all others.

    Args:
      jobs: those that are trained.
      tasks: of the corpus.
      folder: of the published models; '' = none.

    Raises:
      InputError: no such folder of models, or none of the tasks has one.
    """
    ours = [job for job in jobs if job.spec != PUBLISHED]
    if not folder:
        if len(ours) < len(jobs):
            raise InputError(f'spec {PUBLISHED} is not trained; name the folder of its models with --config.deepbind')
        return tuple(jobs)
    models = find_models(tasks, read_index(folder))
    if not models:
        raise InputError(f'deepbind: {folder} has no model of these tasks ({brief(tasks[0])}, ...)')
    first = ours[0] if ours else jobs[0]
    added = [dataclasses.replace(first, task=task, spec=PUBLISHED) for task in tasks if task in models]
    return tuple(dataclasses.replace(job, index=index) for index, job in enumerate([*ours, *added]))


def enter(run: RunDirectory, corpus: Corpus, jobs: Sequence[Job], folder: str | os.PathLike) -> None:
    """Keep the published models of a run as its finished jobs, as far as they are not there.

    They have no validation AUROC: the sequences that this would be of are among those that they were trained on.

    Raises:
      InputError: no such folder, or parameters that cannot be read.
    """
    left = [job for job in jobs if job.spec == PUBLISHED and job.index not in run.finished_jobs()]
    if not left:
        return
    if not folder:
        raise InputError(f'{run.path}: the published models are not there; name their folder with --config.deepbind')
    index = read_index(folder)
    models = find_models(corpus.tasks, index)
    for job in left:
        if job.task not in models:
            raise InputError(f'deepbind: {folder} has no model of task {job.task}')
        shape, params = read_parameters(index.parameters(models[job.task]))
        run.save_result(Finished(job.index, 0, 0, 0, float(np.nan), in_one_shape(params, shape)), [])
