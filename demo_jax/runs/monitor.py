"""TensorBoard event files of a training (edge: touches the disk)."""

import collections
import json
import os
import pathlib
import re
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from demo_jax.training.fit import EpochRecord
from demo_jax.training.jobs import Job

_MEASURES = ('train_loss', 'valid_loss', 'valid_auroc', 'learning_rate', 'gradient_norm', 'update_norm')
_FLUSH_SECONDS = 20.0


class Monitor:
    """Writes curves per job, and mean and median over all jobs of a spec, by epoch.

    The curves are those of the history, no more and no less: each epoch is there once, in order, whether the run was
    stopped, killed and started again, and whether a job had to start again at a lower rate. So a new monitor writes a
    new file with all of the history, after an event that tells TensorBoard to forget what it has read; and where a
    job's epochs begin again, all curves do so in the same way. Of the files of before, the newest stays: a TensorBoard
    that is reading it would not find the next one if it were gone.
    """

    def __init__(
        self, folder: pathlib.Path, jobs: Sequence[Job], config: Mapping[str, Any],
        history: Mapping[int, Sequence[EpochRecord]], running: Iterable[int],
    ):
        """Begin a file in `folder`.

        Args:
          folder: e.g. WORKDIR/tensorboard; nobody else writes event files there.
          jobs: all jobs of the run.
          config: of the run, entered as text.
          history: the epochs of each job that this process accounts for. It is kept, not copied: the caller enters new
            epochs there first.
          running: indices of the jobs that are not finished.
        """
        from tensorboardX.event_file_writer import EventsWriter

        self._jobs = {job.index: job for job in jobs}
        self._tags = job_tags(jobs)
        #: Tag of each task that shares its cleaned name with another.
        self.numbered = _numbered(job.task for job in jobs)
        self._config, self._history, self._running = config, history, set(running)
        self._counts = collections.Counter(self._jobs[index].spec for index in history)
        self._last: dict[int, int] = {}  # the last epoch entered of each job
        self._aurocs: dict[tuple[str, int], list[float]] = {}  # by spec and epoch, until all jobs have come there
        folder.mkdir(parents=True, exist_ok=True)
        before = sorted(folder.glob('events.out.tfevents.*'))
        # Two files of one second must not have the same name, and the later one comes after the other in order.
        self._writer = EventsWriter(str(folder / 'events'), f'.{time.time_ns()}.{os.getpid()}')
        self._begin()
        self._flush()
        (made,) = set(folder.glob('events.out.tfevents.*')).difference(before)
        for path in before:
            if path != before[-1] or path > made:  # files are read in the order of their names
                path.unlink(missing_ok=True)

    def enter(self, records: Sequence[EpochRecord]) -> None:
        """Enter epochs, in each job's order, that the history holds already."""
        if any(record.epoch <= self._last.get(record.job, 0) for record in records):
            self._begin()
        else:
            for record in records:
                self._epoch(record)
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self._flush()

    def finish(self, jobs: Iterable[int]) -> None:
        """Jobs have ended: what there is of them is on the disk when this returns."""
        self._running.difference_update(jobs)
        self._round_off()
        self._flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def _begin(self) -> None:
        """Enter the whole history, in place of all that was entered before."""
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.summary import text

        self._last.clear()
        self._aurocs.clear()
        self._write(Event(session_log=SessionLog(status=SessionLog.START)), 0)
        texts = {'config': json.dumps(self._config, indent=2, default=str)}
        if self.numbered:
            texts['task_names'] = '\n'.join(f'{tag}  {task}' for task, tag in self.numbered.items())
        for name, content in texts.items():
            self._write(Event(summary=text(name, '    ' + content.replace('\n', '\n    '))), 0)
        for index in sorted(self._history):
            for record in self._history[index]:
                self._epoch(record)
        self._round_off()

    def _epoch(self, record: EpochRecord) -> None:
        """Enter one epoch of one job, and the mean over jobs if it is the last to come there."""
        self._last[record.job] = record.epoch
        tag, spec = self._tags[record.job], self._jobs[record.job].spec
        self._scalars({f'{tag}/{measure}': getattr(record, measure) for measure in _MEASURES}, record.epoch)
        seen = self._aurocs.setdefault((spec, record.epoch), [])
        seen.append(record.valid_auroc)
        if len(seen) == self._counts[spec]:
            self._overall(spec, record.epoch)

    def _round_off(self) -> None:
        """Enter the means of epochs that only some jobs reached, of specs of which no job is running."""
        running = {self._jobs[index].spec for index in self._running}
        for spec, epoch in sorted(self._aurocs):
            if spec not in running:
                self._overall(spec, epoch)

    def _overall(self, spec: str, epoch: int) -> None:
        values, group = self._aurocs.pop((spec, epoch)), f'all_tasks/{spec}'
        means = {'mean': statistics.fmean(values), 'median': statistics.median(values)}
        self._scalars({f'{group}/valid_auroc_{name}': value for name, value in means.items()}, epoch)

    def _scalars(self, values: Mapping[str, float], step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        self._write(Event(summary=summary), step)

    def _write(self, event: Any, step: int) -> None:
        event.step, event.wall_time = step, time.time()
        self._writer.write_event(event)

    def _flush(self) -> None:
        self._writer.flush()
        self._flushed = time.monotonic()


def write_images(folder: pathlib.Path, images: Iterable[tuple[str, bytes]]) -> None:
    """Enter pictures: pairs of a tag, e.g. 'dashboards/CTCF/row 12', and the bytes of a PNG file."""
    from tensorboardX import SummaryWriter
    from tensorboardX.proto.summary_pb2 import Summary

    with SummaryWriter(str(folder), write_to_disk=True) as writer:
        for tag, png in images:
            width, height = (int.from_bytes(png[start : start + 4], 'big') for start in (16, 20))
            picture = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
            writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=_clean(tag), image=picture)]), 0)


def write_hparams(
    folder: pathlib.Path, settings: Mapping[str, Mapping[str, Any]], measures: Mapping[str, Mapping[str, float]]
) -> None:
    """Enter models in the hparams view, each in a folder of its own as that view wants it.

    Args:
      folder: e.g. WORKDIR/tensorboard/report/models.
      settings: name of the model -> its settings, texts and numbers.
      measures: name of the model -> what came out, e.g. {'test_auroc': 0.92}.
    """
    from tensorboardX import SummaryWriter
    from tensorboardX.summary import hparams

    for name, values in settings.items():
        with SummaryWriter(str(folder / name), write_to_disk=True) as writer:
            for summary in hparams(dict(values), dict(measures[name])):
                writer.file_writer.add_summary(summary)
            for measure, value in measures[name].items():
                writer.add_scalar(measure, value, 0)


def task_tags(tasks: Iterable[str]) -> dict[str, str]:
    """What TensorBoard calls each task: one folder's name, of letters that it keeps as they are, for each alone.

    Where the names of several tasks come to the same, each of them has a number behind it, by its place among the
    tasks: 'CTCF (rep 1)' and 'CTCF [rep 1]' become 'CTCF__rep_1__1' and 'CTCF__rep_1__2'.
    """
    cleaned = {task: _clean(task.replace('/', '_')) for task in tasks}
    counts = collections.Counter(cleaned.values())
    taken = set(counts)
    for task, tag in cleaned.items():
        if counts[tag] == 1:
            continue
        number = 1
        while f'{tag}_{number}' in taken:
            number += 1
        cleaned[task] = f'{tag}_{number}'
        taken.add(cleaned[task])
    return cleaned


def _numbered(tasks: Iterable[str]) -> dict[str, str]:
    """The tags of the tasks that have a number."""
    return {task: tag for task, tag in task_tags(tasks).items() if tag != _clean(task.replace('/', '_'))}


def job_tags(jobs: Sequence[Job]) -> dict[int, str]:
    """The folder of each job's curves, by its index: 'CTCF/small_cnn/seed0', and its rates where these differ."""
    tasks = task_tags(dict.fromkeys(job.task for job in jobs))
    grids = len({(job.learning_rate, job.dropout) for job in jobs}) > 1
    return {
        job.index: f'{tasks[job.task]}/{job.spec}/seed{job.seed}'
        + (f'/fold{job.fold}' if job.fold else '')
        + (f'/rate{job.learning_rate!r}_dropout{job.dropout!r}' if grids else '')
        for job in jobs
    }


def _clean(tag: str) -> str:
    return re.sub(r'[^A-Za-z0-9_./-]', '_', tag)
