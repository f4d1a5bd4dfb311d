"""Stage `train`: every job of a run, in as few compiled programs as there are specs (edge)."""

import dataclasses
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from demo_jax import files
from demo_jax.checkpoints import Checkpoint, Checkpoints
from demo_jax.errors import InputError
from demo_jax.monitor import Monitor
from demo_jax.nn.models import SPECS
from demo_jax.runs import HISTORY_COLUMNS, RunDirectory
from demo_jax.settings import settings
from demo_jax.training.fit import EpochRecord, Machine, Report, fit
from demo_jax.training.jobs import Job, Recipe, make_plan, programs
from demo_jax.training.pool import build_pool, shortest


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop; a checkpoint has been written."""


def check_lengths(corpus: Any, jobs: Sequence[Job]) -> None:
    """Refuse tasks with sequences that a spec cannot read.

    Raises:
      InputError: names the task, its shortest sequence and what the spec needs.
    """
    for task, length in shortest(corpus, corpus.tasks).items():
        for spec in dict.fromkeys(job.spec for job in jobs):
            if length < SPECS[spec].min_length:
                need = SPECS[spec].min_length
                raise InputError(f'task {task}: its shortest sequence has {length} bp, {spec} needs at least {need}')


def train_run(run: RunDirectory, *, progress: bool = True, checkpoint_seconds: float = 60.0) -> None:
    """Train the jobs of a run that are not finished, and keep each as it ends.

    A run that was killed goes on from its newest checkpoint, with the same result to the last bit on
    a CPU. SIGTERM and Ctrl-C end it after the segment under way, with a checkpoint.

    Args:
      run: a directory that `RunDirectory.create` has made; the caller holds its lock.
      progress: show a bar with the counts of models and epochs.
      checkpoint_seconds: at least so much time between checkpoints.

    Raises:
      InputError: a setting or a sequence length is not acceptable.
      Interrupted: a signal asked to stop.
    """
    config, jobs, corpus = run.config(), run.jobs(), run.corpus()
    recipe = settings(Recipe, config['recipe'], 'recipe')
    host = config.get('machine', {})
    machine = settings(Machine, {k: v for k, v in host.items() if k != 'host_devices'}, 'machine')
    check_lengths(corpus, jobs)
    finished = run.finished_jobs()
    left = [job for job in jobs if job.index not in finished]
    if not left:
        return
    pool, rows = build_pool(corpus, negative_sets=recipe.negative_sets, seed=int(config['corpus']['seed']))
    steps = {job.index: make_plan(recipe, len(rows[job.task].train)).steps for job in jobs}
    checkpoints = Checkpoints(run.path / 'checkpoints')
    checkpoint, notes = checkpoints.restore()
    for text in notes:
        tell(run, text)
    history = {job.index: list(run.load_result(job.index).history) for job in jobs if job.index in finished}
    monitor = Monitor(run.path / 'tensorboard', jobs, config)
    bar = tqdm(
        total=sum(steps.values()), initial=sum(steps[index] for index in finished), unit='step', disable=not progress,
        smoothing=0.05, bar_format='{l_bar}{bar}| {n_fmt}/{total_fmt} steps [{elapsed}<{remaining}{postfix}]',
    )  # fmt: skip
    try:
        with _StopSignals() as stop:
            for (spec, bits), group in programs(left).items():
                indices = {job.index for job in group}
                resume = None
                if checkpoint is not None and (checkpoint.spec, checkpoint.dropout_bits) == (spec, bits):
                    state = checkpoint.state
                    held = {p.job for p in state.progress if p is not None} | set(state.waiting)
                    if indices <= held:
                        resume = state
                        group = [job for job in jobs if job.index in held]
                        for index, records in checkpoint.extra['history'].items():
                            history[int(index)] = [EpochRecord(**record) for record in records]
                            bar.update(sum(p.step for p in state.progress if p is not None and p.job == int(index)))
                if resume is None:
                    for index in indices:
                        history[index] = []
                bar.set_description(f'{spec}: compiling')
                last = time.monotonic()
                for report in fit(group, pool, rows, recipe, machine=machine, resume=resume):
                    _enter(run, report, history, monitor, progress)
                    bar.update(report.steps + sum(steps[f.job] - f.steps for f in report.finished))
                    _show(bar, spec, report, run, jobs, history)
                    if stop.is_set() or time.monotonic() - last > checkpoint_seconds:
                        running = {p.job for p in report.state.progress if p is not None}
                        kept = {str(i): [dataclasses.asdict(r) for r in history.get(i, [])] for i in running}
                        checkpoints.save(Checkpoint(spec, bits, report.state, {'history': kept}))
                        write_history(run, history)
                        last = time.monotonic()
                        if stop.is_set():
                            raise Interrupted(f'stopped; a checkpoint is in {run.path}, the same command goes on')
                write_history(run, history)
    finally:
        bar.close()
        monitor.close()
        checkpoints.close()


def _enter(run: RunDirectory, report: Report, history: dict[int, list[EpochRecord]], monitor: Monitor, progress: bool):
    """Keep what a report says: epochs, finished jobs, notes."""
    for text in report.notes:
        tell(run, text)
    for record in report.epochs:
        records = history.setdefault(record.job, [])
        records[:] = [r for r in records if r.attempt == record.attempt and r.epoch < record.epoch] + [record]
        monitor.epoch(record)
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


def tell(run: RunDirectory, text: str) -> None:
    """Print a note beside the progress bar and keep it in the run's notes."""
    run.note(text)
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
