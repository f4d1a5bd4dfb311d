"""TensorBoard event files of a training (edge: touches the disk)."""

import json
import pathlib
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from demo_jax.training.fit import EpochRecord
from demo_jax.training.jobs import Job

_MEASURES = ('train_loss', 'valid_loss', 'valid_auroc', 'learning_rate', 'gradient_norm', 'update_norm')


class Monitor:
    """Writes curves per job, and mean and median over all jobs of a spec, by epoch."""

    def __init__(self, folder: pathlib.Path, jobs: Sequence[Job], config: Mapping[str, Any]):
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder), write_to_disk=True)
        self._jobs = {job.index: job for job in jobs}
        grids = len({(job.learning_rate, job.dropout) for job in jobs}) > 1
        self._tags = {job.index: _tag(job, grids) for job in jobs}
        self._aurocs: dict[tuple[str, int], dict[int, float]] = {}
        text = json.dumps(config, indent=2, default=str).replace('\n', '\n    ')
        self._writer.add_text('config', f'    {text}', 0)

    def epoch(self, record: EpochRecord) -> None:
        """Enter one epoch of one job."""
        job = self._jobs[record.job]
        for measure in _MEASURES:
            self._writer.add_scalar(f'{self._tags[record.job]}/{measure}', getattr(record, measure), record.epoch)
        group = f'all_tasks/{job.spec}'
        seen = self._aurocs.setdefault((group, record.epoch), {})
        seen[record.job] = record.valid_auroc
        if len(seen) == sum(other.spec == job.spec for other in self._jobs.values()):
            self._overall(group, record.epoch)

    def _overall(self, group: str, epoch: int) -> None:
        values = self._aurocs.pop((group, epoch)).values()
        self._writer.add_scalar(f'{group}/valid_auroc_mean', statistics.fmean(values), epoch)
        self._writer.add_scalar(f'{group}/valid_auroc_median', statistics.median(values), epoch)

    def close(self) -> None:
        """Enter the epochs that only some tasks reached, and close the file."""
        for group, epoch in sorted(self._aurocs):
            self._overall(group, epoch)
        self._writer.close()


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


def _tag(job: Job, grids: bool) -> str:
    """A name that TensorBoard shows as a folder: only letters that it keeps as they are."""
    name = f'{job.task}/{job.spec}/seed{job.seed}'
    if grids:
        name += f'/rate{job.learning_rate:g}_dropout{job.dropout:g}'
    return _clean(name)


def _clean(tag: str) -> str:
    return re.sub(r'[^A-Za-z0-9_./-]', '_', tag)
