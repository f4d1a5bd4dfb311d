"""TensorBoard event files of a training (edge: touches the disk)."""

import json
import pathlib
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from demo_jax.training.fit import EpochRecord
from demo_jax.training.jobs import Job

_MEASURES = ('train_loss', 'valid_loss', 'valid_auroc', 'learning_rate', 'gradient_norm', 'update_norm')


class Monitor:
    """Writes curves per job, and mean and median over the tasks of a spec and seed, by epoch."""

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


def _tag(job: Job, grids: bool) -> str:
    """A name that TensorBoard shows as a folder: only letters that it keeps as they are."""
    name = f'{job.task}/{job.spec}/seed{job.seed}'
    if grids:
        name += f'/rate{job.learning_rate:g}_dropout{job.dropout:g}'
    return re.sub(r'[^A-Za-z0-9_./-]', '_', name)
