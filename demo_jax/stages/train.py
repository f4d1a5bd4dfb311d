"""Stage `train`: every job of a run, in as few compiled programs as there are specs (edge)."""

import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from demo_jax.compute.cluster import Cluster
from demo_jax.compute.devices import DeviceSettings, compilations
from demo_jax.errors import InputError
from demo_jax.explain.score import check_params, check_score
from demo_jax.io import files
from demo_jax.io.settings import read_settings
from demo_jax.nn.architecture import Architecture, parameter_shapes, resolve
from demo_jax.nn.cost import operations_per_step
from demo_jax.runs import checkpoints, monitor
from demo_jax.runs.directory import HISTORY_COLUMNS, RunDirectory
from demo_jax.stages import published_models
from demo_jax.training.bundles import Shared, Trained, make_bundles, train_bundle
from demo_jax.training.fit import fit
from demo_jax.training.jobs import Job, Recipe, make_plan, programs
from demo_jax.training.machine import Machine
from demo_jax.training.pool import build_pool, shortest
from demo_jax.training.state import EpochRecord, Report, Started

# Settings of the section `machine` that are settled when the process starts, and not in training.
_OF_PROCESS = tuple(field.name for field in dataclasses.fields(DeviceSettings))
#: At least so much time between checkpoints, unless a run's settings say otherwise.
CHECKPOINT_SECONDS = 60.0


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop; a checkpoint has been written."""


def check_specs(corpus: Any, jobs: Sequence[Job]) -> None:
    """Refuse tasks with sequences that a spec cannot read, and architectures of somebody's own that do not work.

    Raises:
      InputError: names the task, its shortest sequence and what the spec needs; or what is wrong with an architecture
        (see `explain.score.check_score`).
    """
    for task, length in shortest(corpus, corpus.tasks).items():
        for spec in dict.fromkeys(job.spec for job in jobs):
            need = resolve(spec).min_length
            if length < need:
                raise InputError(f'task {task}: its shortest sequence has {length} bp, {spec} needs at least {need}')
    longest, some = int(corpus.lengths.max()), int(corpus.lengths.min())
    for spec in dict.fromkeys(job.spec for job in jobs):
        architecture = resolve(spec)
        if not isinstance(architecture, Architecture):
            continue
        if some < longest and not architecture.takes_lengths:
            raise InputError(
                f'spec {spec}: its apply takes no lengths, but sequences have {some} to {longest} bp; give it an '
                'argument lengths (positions behind a length are padding), or cut the sequences to one length'
            )
        check_params(parameter_shapes(architecture))
        params = architecture.init(jax.random.key(0))
        check_score(architecture, params, np.arange(longest, dtype=np.uint8) % 4, gradient=True)


def machine_settings(config: Mapping[str, Any]) -> Machine:
    """How a run's settings lay out the training.

    Raises:
      InputError: a setting of the section `machine` is not acceptable.
    """
    values = {name: value for name, value in config.get('machine', {}).items() if name not in _OF_PROCESS}
    return read_settings(Machine, values, 'machine')


@dataclasses.dataclass
class _Training:
    """A training under way: what it reads, and what it has brought so far.

    Attributes:
      run: the directory.
      jobs: the whole job table.
      left: cost of each job that was to be trained at the start, by index: steps times operations per step.
      shared: sequences, rows, recipe and machine.
      steps: of each job.
      history: of each job.
      started: jobs that an earlier start had under way, taken out as they go on.
      curves: for TensorBoard.
      bar: of steps.
      saved: steps that early stopping has saved.
    """

    run: RunDirectory
    jobs: tuple[Job, ...]
    left: dict[int, float]
    shared: Shared
    steps: dict[int, int]
    history: dict[int, list[EpochRecord]]
    started: dict[int, Started]
    curves: monitor.Monitor
    bar: Any
    saved: int = 0

    def enter(self, outcome: Report | Trained) -> None:
        """Keep what a report or a bundle says."""
        self.saved += sum(self.steps[done.job] - done.steps for done in outcome.finished if done.params is not None)
        _enter(self.run, outcome, self.history, self.curves)

    def describe(self, text: str) -> None:
        """Say beside the bar what is going on, and how many models are there."""
        saved = f', {self.saved:,} steps saved' if self.saved else ''
        self.bar.set_description(f'{text}: {len(self.run.finished_jobs())}/{len(self.jobs)} models{saved}')

    def summarise(self) -> None:
        """Say what early stopping has saved."""
        if self.saved:
            total = sum(self.steps[index] for index in self.left)
            note(self.run, f'early stopping saved {self.saved:,} of {total:,} steps ({self.saved / total:.0%})')


def train_run(
    run: RunDirectory,
    *,
    cluster: Cluster | None = None,
    progress: bool = True,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> None:
    """Train the jobs of a run that are not finished, and keep each as it ends.

    A run that was killed goes on from its newest checkpoint, with the same result to the last bit on
    a CPU, over whatever devices there are now. SIGTERM and Ctrl-C end it after the segment under way, with a
    checkpoint. Workers train bundles of jobs from beginning to end (from the checkpoint where one is there) and send
    back what came of them: then only finished models are kept, and a signal ends the training at once.

    Args:
      run: a directory that `RunDirectory.create` has made; the caller holds its lock.
      cluster: the workers to train on; None: this process trains.
      progress: show a bar with the counts of models and epochs.
      checkpoint_seconds: at least so much time between checkpoints.

    Raises:
      InputError: a setting or a sequence length is not acceptable, or the cluster fails (see `Cluster.map`).
      Interrupted: a signal asked to stop.
    """
    config, jobs, corpus = run.config(), run.jobs(), run.corpus()
    recipe = read_settings(Recipe, config['recipe'], 'recipe')
    machine = machine_settings(config)
    check_specs(corpus, jobs)
    published_models.enter(run, corpus, jobs, config.get('deepbind', ''))
    left = {job.index for job in jobs} - run.finished_jobs()
    if not left:  # it may have been killed between the last model and its history
        write_history(run, {job.index: run.load_result(job.index).history for job in jobs})
        return
    pool, rows = build_pool(
        corpus,
        negative_sets=recipe.negative_sets,
        shuffles_first=recipe.shuffles_first > 0,
        seed=int(config['corpus']['seed']),
        folds=run.folds(),
    )
    steps = {job.index: make_plan(recipe, len(rows[job.task].of(job.fold).train)).steps for job in jobs}
    length = pool.tokens.shape[1]
    costs = {
        job.index: float(steps[job.index] * operations_per_step(resolve(job.spec), recipe.batch_size, length))
        for job in jobs
        if job.index in left
    }
    kept = _recover(run, left)
    history = {job.index: list(run.load_result(job.index).history) for job in jobs if job.index not in left}
    history |= {index: list(kept.history.get(index, ())) for index in left}
    bar = tqdm(
        total=sum(steps.values()),
        initial=sum(steps[job.index] for job in jobs if job.index not in left),
        unit='step',
        disable=not progress,
        smoothing=0.05,
        bar_format='{l_bar}{bar}| {n_fmt}/{total_fmt} steps [{elapsed}<{remaining}{postfix}]',
    )
    bar.update(sum(job.progress.step for job in kept.started.values()))
    curves = monitor.Monitor(run.path / 'tensorboard', jobs, config, history, left)
    if curves.numbered and progress:
        tell(f'{len(curves.numbered)} tasks have a number behind their names in TensorBoard, where they read the same')
    shared = Shared(pool, rows, recipe, machine)
    training = _Training(run, jobs, costs, shared, steps, history, dict(kept.started), curves, bar)
    with contextlib.closing(curves), contextlib.closing(bar):
        if cluster is None:
            _train_here(training, checkpoint_seconds)
        else:
            _train_on(cluster, training)
        training.summarise()
    write_history(run, {job.index: run.load_result(job.index).history for job in jobs})


def _train_here(training: _Training, checkpoint_seconds: float) -> None:
    """Train with the devices of this process, a program after the other, with checkpoints between segments."""
    run, bar, shared = training.run, training.bar, training.shared
    with checkpoints.opened(run.path / 'checkpoints') as store, compilations() as compiled, _StopSignals() as stop:
        for (spec, _), group in programs(job for job in training.jobs if job.index in training.left).items():
            started = [training.started.pop(job.index) for job in group if job.index in training.started]
            bar.set_description(f'{spec}: compiling')
            last = time.monotonic()
            reports = fit(group, shared.pool, shared.rows, shared.recipe, machine=shared.machine, started=started)
            for report in reports:
                training.enter(report)
                bar.update(report.steps + sum(training.steps[f.job] - f.steps for f in report.finished))
                _show(training, spec, report)
                if stop.is_set() or time.monotonic() - last > checkpoint_seconds:
                    # Restored jobs of specs that are not trained yet exist only in the previous checkpoint: keep them.
                    started_now = [*report.state.started(), *training.started.values()]
                    store.save(started_now, {job.index: job.spec for job in training.jobs}, training.history)
                    write_history(run, training.history)
                    last = time.monotonic()
                    if stop.is_set():
                        raise Interrupted(f'stopped; a checkpoint is in {run.path}, the same command goes on')
        if not bar.disable and compiled.programs:
            bar.write(f'note: {compiled}')


def _train_on(cluster: Cluster, training: _Training) -> None:
    """Train on workers: keep what each bundle brings as it comes back."""
    bar, smallest = training.bar, cluster.smallest
    cluster.check_specs(list(dict.fromkeys(job.spec for job in training.jobs)))
    bundles = make_bundles(
        training.jobs,
        training.left,
        training.shared,
        workers=cluster.workers,
        n_devices=smallest.devices,
        on_cpu=smallest.platform == 'cpu',
        memory=smallest.memory,
        started=training.started,
    )
    done = dict.fromkeys(range(len(bundles)), 0.0)
    start = bar.n - sum(job.progress.step for job in training.started.values())

    def show(number: int, steps: float, text: str) -> None:
        done[number] = steps  # less than before where a bundle was given to another worker
        bar.n = round(start + sum(done.values()))
        training.describe(text)
        bar.refresh()

    found = cluster.map(train_bundle, bundles, training.shared, progress=show, say=tell)
    training.describe(f'{len(bundles)} bundles on {cluster.workers} workers')
    try:
        for number, trained in found:
            training.enter(trained)
            show(number, sum(training.steps[job.index] for job in bundles[number].jobs), bundles[number].jobs[0].spec)
    except KeyboardInterrupt as stop:
        raise Interrupted(f'stopped; finished models are in {training.run.path}, the same command goes on') from stop
    finally:
        found.close()  # workers give up what nobody waits for
        write_history(training.run, training.history)


def _recover(run: RunDirectory, left: Collection[int]) -> checkpoints.Checkpoint:
    """What an earlier start had under way of these jobs."""
    with checkpoints.opened(run.path / 'checkpoints') as store:
        found, notes = store.restore()
    for text in notes:
        note(run, text)
    if found is None:
        return checkpoints.Checkpoint({}, {})
    return checkpoints.Checkpoint(
        {index: job for index, job in found.started.items() if index in left},
        {index: records for index, records in found.history.items() if index in left},
    )


def _enter(
    run: RunDirectory, outcome: Report | Trained, history: dict[int, list[EpochRecord]], curves: monitor.Monitor
) -> None:
    """Keep what a report or a bundle says: epochs, finished jobs, notes."""
    for text in outcome.notes:
        note(run, text)
    for record in outcome.epochs:
        records = history.setdefault(record.job, [])
        records[:] = [r for r in records if r.attempt == record.attempt and r.epoch < record.epoch] + [record]
    # A bundle may bring epochs of attempts that it gave up.
    curves.enter([record for record in outcome.epochs if record in history[record.job]])
    if outcome.finished:  # before their results are kept, for the curves of finished jobs are not looked at again
        curves.finish(done.job for done in outcome.finished)
    for done in outcome.finished:
        run.save_result(done, history.get(done.job, []))


def _show(training: _Training, spec: str, report: Report) -> None:
    running = [p for p in report.state.progress if p is not None]
    training.describe(spec)
    if running:
        shown = running[0]
        epochs = len(training.history.get(shown.job, []))
        task = next(job.task for job in training.jobs if job.index == shown.job).split('_')[0]
        training.bar.set_postfix_str(f'{task} epoch {epochs}, best AUROC {max(shown.best_auroc, 0):.3f}')


def write_history(run: RunDirectory, history: Mapping[int, Sequence[EpochRecord]]) -> None:
    """Write history.tsv: one row per job and epoch, with the job's task, spec and seed."""
    jobs = {job.index: job for job in run.jobs()}
    rows = [
        dataclasses.asdict(record) | {name: getattr(jobs[index], name) for name in ('task', 'spec', 'seed')}
        for index in sorted(history)
        for record in history[index]
    ]
    files.write_tsv(run.path / 'history.tsv', rows, ('task', 'spec', 'seed', *HISTORY_COLUMNS))


def note(run: RunDirectory, text: str) -> None:
    """Print a note beside the progress bar and keep it in the run's notes."""
    run.note(text)
    tell(text)


def tell(text: str) -> None:
    """Print a note beside the progress bar."""
    tqdm.write(f'note: {text}')


class _StopSignals:
    """While it lasts, SIGTERM and SIGINT set an event instead of ending the process; a second one ends it."""

    def __enter__(self) -> threading.Event:
        event = threading.Event()
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.getsignal(number)
                signal.signal(number, lambda *_: self._stop(event))
        return event

    def _stop(self, event: threading.Event) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
