"""Stage `train`: every job of a run, in as few compiled programs as there are specs (edge)."""

import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from demo_jax import checkpoints, files, monitor
from demo_jax.devices import DeviceSettings, compilations
from demo_jax.errors import InputError
from demo_jax.explain.score import check_params, check_score
from demo_jax.nn.architecture import Architecture, parameter_shapes, resolve
from demo_jax.nn.operations import operations_per_step
from demo_jax.processes import Team
from demo_jax.runs import HISTORY_COLUMNS, RunDirectory
from demo_jax.settings import settings
from demo_jax.training.fit import fit
from demo_jax.training.jobs import Job, Recipe, make_plan, programs, share
from demo_jax.training.layout import Machine
from demo_jax.training.pool import build_pool, shortest
from demo_jax.training.state import EpochRecord, Report

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
    return settings(Machine, values, 'machine')


def train_run(
    run: RunDirectory, *, team: Team | None = None, progress: bool = True,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> None:  # fmt: skip
    """Train the jobs of a run that are not finished, and keep each as it ends.

    A run that was killed goes on from its newest checkpoints, with the same result to the last bit on
    a CPU, over whatever devices and processes there are now. SIGTERM and Ctrl-C end it after the segment under
    way, with a checkpoint. Of several processes, each trains its share and waits for the others at the end.

    Args:
      run: a directory that `RunDirectory.create` has made; the caller holds its lock.
      team: the processes at work on it; default: this one alone.
      progress: show a bar with the counts of models and epochs.
      checkpoint_seconds: at least so much time between checkpoints.

    Raises:
      InputError: a setting or a sequence length is not acceptable.
      Interrupted: a signal asked to stop.
      ProcessLost: another process is gone; this one's share is trained and kept.
    """
    team = team or Team()
    config, jobs, corpus = run.config(), run.jobs(), run.corpus()
    recipe = settings(Recipe, config['recipe'], 'recipe')
    machine = machine_settings(config)
    check_specs(corpus, jobs)
    left = set(team.agree('train', lambda: sorted({job.index for job in jobs} - run.finished_jobs())))
    if not left:
        if team.leads:  # it may have been killed between the last model and its history
            write_history(run, {job.index: run.load_result(job.index).history for job in jobs})
        return
    pool, rows = build_pool(corpus, negative_sets=recipe.negative_sets, seed=int(config['corpus']['seed']))
    steps = {job.index: make_plan(recipe, len(rows[job.task].train)).steps for job in jobs}
    length = pool.tokens.shape[1]
    costs = {
        job.index: float(steps[job.index] * operations_per_step(resolve(job.spec), recipe.batch_size, length))
        for job in jobs if job.index in left
    }  # fmt: skip
    mine = set(share(costs, team.count)[team.index])
    kept = _recover(run, mine, jobs, team)
    history = {index: list(kept.history.get(index, ())) for index in mine}
    if team.leads:
        history |= {job.index: list(run.load_result(job.index).history) for job in jobs if job.index not in left}
    events = run.path / 'tensorboard'
    if team.leads:
        monitor.remove_others(events, team.count)
    curves = monitor.Monitor(events / (f'process_{team.index}' if team.index else ''), jobs, config, history, mine)
    if curves.numbered and progress and team.leads:
        tell(f'{len(curves.numbered)} tasks have a number behind their names in TensorBoard, where they read the same')
    ahead = sum(steps[index] for index in mine) if team.count > 1 else sum(steps.values())
    bar = tqdm(
        total=ahead, initial=ahead - sum(steps[index] for index in mine), unit='step', disable=not progress,
        smoothing=0.05, bar_format='{l_bar}{bar}| {n_fmt}/{total_fmt} steps [{elapsed}<{remaining}{postfix}]',
    )  # fmt: skip
    bar.update(sum(job.progress.step for job in kept.started.values()))
    with (
        contextlib.closing(curves), contextlib.closing(bar),
        checkpoints.opened(checkpoints.folder_of(run.path, team.index)) as store,
        compilations() as compiled, _StopSignals() as stop,
    ):  # fmt: skip
        for (spec, _), group in programs(job for job in jobs if job.index in mine).items():
            started = [kept.started.pop(job.index) for job in group if job.index in kept.started]
            bar.set_description(f'{spec}: compiling')
            last = time.monotonic()
            for report in fit(group, pool, rows, recipe, machine=machine, started=started):
                _enter(run, report, history, curves)
                bar.update(report.steps + sum(steps[f.job] - f.steps for f in report.finished))
                _show(bar, spec, report, run, jobs, history)
                if stop.is_set() or time.monotonic() - last > checkpoint_seconds:
                    # What waits for another program lies in the checkpoint before, which this one replaces.
                    store.save([*report.state.started(), *kept.started.values()], _specs(jobs), history)
                    if team.leads:
                        write_history(run, history)
                    last = time.monotonic()
                    if stop.is_set():
                        raise Interrupted(f'stopped; a checkpoint is in {run.path}, the same command goes on')
        if progress and compiled.programs:
            bar.write(f'note: {compiled}')
    team.wait('trained', tell)
    if team.leads:
        write_history(run, {job.index: run.load_result(job.index).history for job in jobs})


def _recover(run: RunDirectory, mine: set[int], jobs: Sequence[Job], team: Team) -> checkpoints.Checkpoint:
    """What is under way of these jobs; what another process had begun is first kept as this one's own."""
    found = checkpoints.recover(run.path, sorted(mine), team.index)
    for text in found.notes:
        note(run, text)
    team.wait('recovered', tell)  # from here on, nobody reads what others may now replace
    if found.moved:
        with checkpoints.opened(checkpoints.folder_of(run.path, team.index)) as store:
            store.save(list(found.checkpoint.started.values()), _specs(jobs), found.checkpoint.history)
    team.wait('moved', tell)
    if team.leads:
        checkpoints.remove_others(run.path, team.count)
    return found.checkpoint


def _specs(jobs: Sequence[Job]) -> dict[int, str]:
    return {job.index: job.spec for job in jobs}


def _enter(
    run: RunDirectory, report: Report, history: dict[int, list[EpochRecord]], curves: monitor.Monitor
) -> None:
    """Keep what a report says: epochs, finished jobs, notes."""
    for text in report.notes:
        note(run, text)
    for record in report.epochs:
        records = history.setdefault(record.job, [])
        records[:] = [r for r in records if r.attempt == record.attempt and r.epoch < record.epoch] + [record]
    curves.enter(report.epochs)
    if report.finished:  # before their results are kept, for the curves of finished jobs are not looked at again
        curves.finish(done.job for done in report.finished)
    for done in report.finished:
        run.save_result(done, history.get(done.job, []))


def _show(bar: Any, spec: str, report: Report, run: RunDirectory, jobs: Sequence[Job], history: Mapping) -> None:
    by_index = {job.index: job for job in jobs}
    running = [p for p in report.state.progress if p is not None]
    bar.set_description(f'{spec}: {len(run.finished_jobs())}/{len(jobs)} models')
    if running:
        shown = running[0]
        epochs = len(history.get(shown.job, []))
        task = by_index[shown.job].task.split('_')[0]
        bar.set_postfix_str(f'{task} epoch {epochs}, best AUROC {max(shown.best_auroc, 0):.3f}')


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
