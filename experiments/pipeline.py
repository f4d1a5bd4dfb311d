"""From settings to a run directory and its stages: what the commands share."""

import contextlib
import csv
import dataclasses
import json
import os
import pathlib
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from demo_jax.compute.cluster import Cluster, Scheduler, connected
from demo_jax.data.corpus import Corpus
from demo_jax.data.folds import Folds, make_folds
from demo_jax.data.readers import split_name
from demo_jax.data.storage import is_corpus, load_corpus
from demo_jax.errors import InputError, brief
from demo_jax.io.files import expanded
from demo_jax.runs.directory import RunDirectory
from demo_jax.stages import published_models, record
from demo_jax.stages.sources import CorpusSettings, find_source, prepare_corpus
from demo_jax.training.jobs import Job


@dataclasses.dataclass(frozen=True)
class Opened:
    """A run directory that this process holds.

    Attributes:
      run: the directory.
      config: the settings of this command.
      cluster: the workers that train and explain; None: this process does.
    """

    run: RunDirectory
    config: dict[str, Any]
    cluster: Cluster | None = None


@contextlib.contextmanager
def opened(config: Mapping[str, Any], workdir: str, scheduler: Scheduler | None = None) -> Iterator[Opened]:
    """Hold the run directory for these settings, made if it is not there.

    Args:
      config: the settings.
      workdir: the directory.
      scheduler: of the workers that train and explain; None: this process does.

    Raises:
      InputError: bad settings or input; the directory belongs to another corpus or settings, or is in use; the
        scheduler or its workers are not as they should be (see `cluster.connected`).
    """
    with _held(RunDirectory(workdir, config['specs']), dict(config), scheduler) as here:
        open_run(config, workdir)
        yield here


@contextlib.contextmanager
def existing(workdir: str, scheduler: Scheduler | None = None, own_specs: Collection[str] = ()) -> Iterator[Opened]:
    """Hold a run directory that is there already, with the settings it was made with.

    Args:
      workdir: the directory.
      scheduler: as of `opened`.
      own_specs: architectures of the user's own that may be imported.

    Raises:
      InputError: it is not a run directory, or another process holds it; or as `cluster.connected`.
    """
    run = RunDirectory(workdir, own_specs)
    run.facts()
    with _held(run, run.config(), scheduler) as here:
        run.update_config()
        yield here


@contextlib.contextmanager
def _held(run: RunDirectory, config: dict[str, Any], scheduler: Scheduler | None) -> Iterator[Opened]:
    """Settle JAX's devices, find the workers, and hold the directory."""
    machine = config.get('machine', {})
    start_devices(machine, scheduler)
    with connected(scheduler, machine) as cluster, run.locked():
        if cluster is not None:
            print(cluster, flush=True)
        yield Opened(run, config, cluster)


def run_one_stage(
    workdir: str,
    stage: str,
    changed: Mapping[str, Any],
    scheduler: Scheduler | None = None,
    own_specs: Collection[str] = (),
) -> RunDirectory:
    """Run one stage of a run that is there already, with the settings it was made with but for those changed.

    The other arguments are those of `existing`.

    Raises:
      InputError: as `existing` and `run_stages`.
    """
    with existing(workdir, scheduler, own_specs) as here:
        section = record.find_stage(stage).section
        here.config[section] = {**here.config.get(section, {}), **changed}
        run_stages(here, [stage])
    return here.run


def run_stages(here: Opened, stages: Sequence[str]) -> dict[str, float]:
    """Run some of `record.STAGES` in their order: print what each will do, and its tables.

    Where there are workers they do the stages that say so; this process does the others.

    Returns:
      Seconds that each took.

    Raises:
      InputError: an unknown stage, a bad setting, or something that a stage needs is not there yet.
    """
    from demo_jax.report import console
    from experiments import plan

    check_stages(stages)
    seconds = {}
    for stage in record.STAGES:
        if stage.name in stages:
            start = time.monotonic()
            print(
                plan.describe_stage(
                    stage.name, here.run.corpus(), here.run.jobs(), here.config, here.run, here.cluster
                ),
                flush=True,
            )
            work = record.Work(here.run, here.config, stage.settings_in(here.config), here.cluster)
            console.print_tables(stage.run(work))
            seconds[stage.name] = time.monotonic() - start
    return seconds


def check_stages(stages: Sequence[str]) -> None:
    """Raise `InputError` for a name that is no stage."""
    for stage in stages:
        record.find_stage(stage)


def describe_plan(config: Mapping[str, Any], workdir: str, scheduler: Scheduler | None = None) -> str:
    """What a run with these settings will do, without doing or writing any of it.

    Raises:
      InputError: as `opened`.
    """
    from experiments import plan

    start_devices(config['machine'], scheduler)
    run = RunDirectory(workdir, config['specs'])
    corpus, jobs = read_jobs(config, run)
    if (run.path / 'run.json').exists():
        run.check(corpus, _as_run(config, run))
    else:
        read_folds(config, corpus)  # says what is wrong with them
    far = scheduler if scheduler and scheduler.address else None  # workers here would change nothing, and take a while
    with connected(far, config['machine']) as cluster:
        return plan.describe(corpus, jobs, config, run, cluster)


def check_settings(config: Mapping[str, Any]) -> None:
    """Build the settings of every stage, so that a mistake in one is told before hours of training.

    Raises:
      InputError: names the section and the setting.
    """
    from demo_jax.stages.train import machine_settings

    machine_settings(config)
    for stage in record.STAGES:
        stage.settings_in(config)


def start_devices(machine: Mapping[str, Any], scheduler: Scheduler | None = None) -> None:
    """Settle how JAX sees this machine, and where compiled programs are kept."""
    from demo_jax.compute import devices

    if scheduler is not None:  # a worker may have the same GPU, whose memory JAX would take at the start
        os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
    devices.configure(machine.get('host_devices', 0))
    note = devices.keep_programs(machine.get('compilation_cache', ''))
    if note:
        print(f'note: {note}', file=sys.stderr)


def open_run(config: Mapping[str, Any], workdir: str) -> RunDirectory:
    """The run directory for these settings, made if it is not there; the caller holds its lock.

    Raises:
      InputError: bad settings or input, or a directory that belongs to another corpus or settings.
    """
    run = RunDirectory(workdir, config['specs'])
    corpus, jobs = read_jobs(config, run)
    folds = None if (run.path / 'run.json').exists() else read_folds(config, corpus)
    run.create(corpus, _as_run(config, run), jobs, folds)
    for text in folds.notes if folds else ():
        print(f'note: {text}')
        run.note(text)
    return run


def read_jobs(config: Mapping[str, Any], run: RunDirectory) -> tuple[Corpus, tuple[Job, ...]]:
    """The corpus and the job table that the settings describe.

    Raises:
      InputError: bad settings or input.
    """
    from demo_jax.io.settings import read_settings
    from demo_jax.motifs.own import check_tf
    from demo_jax.stages.train import check_specs
    from demo_jax.training.jobs import Recipe, make_jobs

    recipe = read_settings(Recipe, config['recipe'], 'recipe')
    check_settings(config)
    grid = {name: config[name] for name in ('seeds', 'learning_rates', 'dropouts')}
    grid['folds'] = config.get('folds', 1)
    make_jobs([], config['specs'], recipe, **grid)  # a wrong name is told before any reading
    corpus = read_corpus(config['corpus'], run)
    check_tf(config.get('match', {}).get('tf', ''), corpus)
    jobs = make_jobs(corpus.tasks, config['specs'], recipe, **grid)
    jobs = published_models.with_published(jobs, corpus.tasks, config.get('deepbind', ''))
    check_specs(corpus, jobs)
    return corpus, jobs


def read_folds(config: Mapping[str, Any], corpus: Corpus) -> Folds | None:
    """The folds that the settings describe; None for one split.

    Raises:
      InputError: as `folds.make_folds`.
    """
    if config.get('folds', 1) < 2:
        return None
    way = config.get('fold_by', 'auto')
    return make_folds(corpus, config['folds'], way=way, seed=int(config['corpus']['seed']))


def read_corpus(settings: Mapping[str, Any], run: RunDirectory) -> Corpus:
    """The corpus that the settings describe.

    Without an input it is the one that the run directory already holds. A simulation with the settings that
    the run was made with is not made again.
    """
    values = dict(settings)
    source, held = find_source(values['source']), is_corpus(run.path / 'corpus')
    if source.from_settings and held and (run.path / 'run.json').is_file():
        before = run.config()['corpus']
        if json.loads(json.dumps(values, default=list)) == before:
            return load_corpus(run.path / 'corpus')
    for field in dataclasses.fields(CorpusSettings):
        if field.metadata.get('commas'):
            values[field.name] = _listed(values[field.name])
    values['input'] = tuple(_input(part) for part in values['input'])
    if _has_no_input(settings):
        if held:
            corpus = load_corpus(run.path / 'corpus')
            if values['tasks'] and set(values['tasks']) != set(corpus.tasks):
                raise InputError(
                    f'corpus: tasks are {brief(settings["tasks"])}, but {run.path} was made with others '
                    f'({corpus.n_tasks}); name the input again, and another --workdir'
                )
            return corpus
        raise InputError(
            f'corpus: source {source.name} needs an input: --config.corpus.input=PATH '
            '(or --config.corpus.source=simulated)'
        )
    if values['tasks']:
        values['n_tasks'] = 0  # the names say how many
    for name in ('genome', 'blacklist'):
        values[name] = values[name] and _path(values[name])
    return prepare_corpus(**values)


def _as_run(config: Mapping[str, Any], run: RunDirectory) -> Mapping[str, Any]:
    """The settings, with those of the run's own corpus where they name no other."""
    if _has_no_input(config['corpus']) and (run.path / 'run.json').is_file():
        return {**config, 'corpus': run.config()['corpus']}
    return config


def _has_no_input(corpus: Mapping[str, Any]) -> bool:
    """Whether the settings leave it to the run directory where the sequences come from."""
    return not corpus['input'] and find_source(corpus['source']).needs_input


def _listed(text: str) -> tuple[str, ...]:
    """The parts between commas, without blanks around them; a part that holds a comma stands in double quotes."""
    try:
        parts = next(csv.reader([text], strict=True, skipinitialspace=True)) if '"' in text else text.split(',')
    except csv.Error as error:
        raise InputError(f'corpus: {brief(text)} is no list with commas between its parts ({error})') from None
    return tuple(part.strip() for part in parts if part.strip())


def _input(text: str) -> str:
    """A path with what stands for folders and variables written out, also behind 'NAME='."""
    name, path = split_name(text)
    return _path(str(path)) if name is None else f'{name}={_path(str(path))}'


def _path(text: str) -> str:
    found = os.path.expandvars(expanded(text))
    if '$' in found:
        raise InputError(f'corpus: input {text!r} names an environment variable that is not set')
    return str(pathlib.Path(found))
