"""Models of somebody's own as a run: kept in a run directory, and taken through the stages to the page (edge).

A model that was trained elsewhere needs no training here. Its parameters are stored as those of a run are, so that
tables, explanations, motifs and the page are made by the same stages.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from demo_jax.data.corpus import Corpus
from demo_jax.errors import InputError
from demo_jax.evaluation.metrics import auroc
from demo_jax.explain.score import check_params, check_score
from demo_jax.nn.architecture import Architecture, named_leaves, parameter_shapes, resolve
from demo_jax.predict.model import Model
from demo_jax.runs.directory import RunDirectory
from demo_jax.training.jobs import Recipe, make_jobs
from demo_jax.training.state import Finished

#: Stages that models trained elsewhere do not need.
_NOT_OF_OWN_MODELS = ('train', 'baseline')


def save_models(
    workdir: str | os.PathLike,
    corpus: Corpus,
    models: Mapping[str, Mapping[str, Any]],
    *,
    average_strands: bool = False,
) -> RunDirectory:
    """Keep trained models as a run.

    Args:
      workdir: the run directory, made here; a run that holds the same corpus and models is written again.
      corpus: the tasks, with labels; see `stages.sources.prepare_corpus`. Validation rows give the AUROC that chooses
        among several models of a task.
      models: architecture -> task -> parameters. An architecture is named as for `--specs`: 'medium_cnn',
        'my_package.my_models:dilated', or '__main__:mine' for one of a notebook or script. Every architecture needs
        parameters for every task.
      average_strands: scores and maps are means over both strands.

    Raises:
      InputError: no such architecture or task, parameters of other shapes than the architecture's, something that is
        no score, or a directory that holds something else.
    """
    run = RunDirectory(workdir, own_specs=list(models))
    recipe = Recipe(average_strands=average_strands)
    jobs = make_jobs(corpus.tasks, list(models), recipe)
    for spec, of_task in models.items():
        if set(of_task) != set(corpus.tasks):
            raise InputError(
                f'{spec} has parameters for {", ".join(sorted(of_task)) or "no task"}, but the corpus holds '
                f'{", ".join(corpus.tasks)}'
            )
        for task, params in of_task.items():
            _check(spec, task, params, corpus)
    config = {
        'corpus': {'source': 'own models', 'seed': 0},
        'specs': list(models),
        'seeds': [0],
        'learning_rates': [],
        'dropouts': [],
        'recipe': dataclasses.asdict(recipe),
    }
    run.create(corpus, config, jobs)
    for job in jobs:
        params = jax.tree.map(np.asarray, models[job.spec][job.task])
        rows = np.arange(len(corpus))[corpus.rows(job.task, 'valid')]
        lengths = np.asarray(corpus.lengths[rows])
        tokens = corpus.padded(rows)
        model = Model(job.task, job.spec, 0, params, average_strands)
        scores = model.score_tokens(tokens, None if (lengths == tokens.shape[1]).all() else lengths)
        valid = auroc(np.asarray(corpus.labels[rows]), scores)
        run.save_result(Finished(job.index, 0, 0, 1, float(valid), params), [])
    return run


def dashboard(
    workdir: str | os.PathLike,
    corpus: Corpus,
    models: Mapping[str, Mapping[str, Any]],
    *,
    average_strands: bool = False,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    progress: bool = True,
) -> pathlib.Path:
    """Tables, explanations, motifs, JASPAR matches and the page of one's own models, in one call.

    Args:
      workdir, corpus, models, average_strands: as of `save_models`.
      settings: section -> name -> value, for the sections of a config whose stages run here; all specs are
        explained unless told otherwise.
      progress: show bars.

    Returns:
      The page to open.

    Raises:
      InputError: as `save_models`, or a setting that is not there.
    """
    from demo_jax.stages import record

    stages = [stage for stage in record.STAGES if stage.name not in _NOT_OF_OWN_MODELS]
    given: dict[str, Mapping[str, Any]] = {'explain': {}} | dict(settings or {})
    given['explain'] = {'specs': ('all',)} | dict(given['explain'])
    sections = [stage.section for stage in stages]
    for section in given:
        if section not in sections:
            raise InputError(f'no section {section!r}; the sections are {", ".join(sections)}')
    chosen = {stage.name: stage.settings_in(given) for stage in stages}
    run = save_models(workdir, corpus, models, average_strands=average_strands)
    with run.locked():
        for stage in stages:
            stage.run(record.Work(run, given, chosen[stage.name], progress=progress))
    return run.path / 'dashboard' / 'index.html'


def _check(spec: str, task: str, params: Any, corpus: Corpus) -> None:
    """See that parameters are those of the architecture, and that it is a score."""
    check_params(params)
    architecture = resolve(spec)
    expected = {name: tuple(leaf.shape) for name, leaf in named_leaves(parameter_shapes(architecture)).items()}
    found = {name: np.shape(leaf) for name, leaf in named_leaves(params).items()}
    for name in sorted(set(found) | set(expected)):
        if found.get(name) != expected.get(name):
            raise InputError(
                f'{spec}, {task}: parameter {name!r} is {found.get(name, "missing")}, the architecture has '
                f'{expected.get(name, "no such parameter")}'
            )
    if isinstance(architecture, Architecture):
        check_score(architecture, params, np.asarray(corpus.padded(np.arange(1))[0]), gradient=True)
