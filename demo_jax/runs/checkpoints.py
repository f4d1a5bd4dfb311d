"""Checkpoints of a training between segments, through Orbax (edge: touches the disk).

A checkpoint holds single jobs, not a layout: whatever is under way when a run is stopped goes on over any other
number of devices, or on the workers of a cluster.
"""

import contextlib
import dataclasses
import errno
import json
import logging
import os
import pathlib
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from demo_jax.nn.architecture import resolve
from demo_jax.training import stack
from demo_jax.training.state import EpochRecord, Progress, Started

# Orbax reports each save and restore at INFO and WARNING, and logs tracebacks of what it raises anyway.
logging.getLogger('absl').setLevel(logging.CRITICAL)
#: Bytes that a checkpoint may take beyond its arrays and numbers.
_MARGIN = 1 << 18


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
      started: the jobs that were under way, by index.
      history: their epochs so far.
    """

    started: dict[int, Started]
    history: dict[int, list[EpochRecord]]


class Checkpoints:
    """The newest two checkpoints in one folder, which is made where it is not there."""

    def __init__(self, folder: pathlib.Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._name = folder.name
        options = ocp.CheckpointManagerOptions(max_to_keep=2, create=False, enable_async_checkpointing=False)
        try:
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options)
        except Exception:  # Orbax opens no folder where it cannot read the times of one checkpoint
            for path in folder.glob('*/_CHECKPOINT_METADATA'):  # all that they hold
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(
        self, started: Sequence[Started], specs: Mapping[int, str], history: Mapping[int, Sequence[EpochRecord]]
    ) -> None:
        """Write a checkpoint, whole or not at all; nothing where no job is under way.

        Args:
          started: the jobs.
          specs: the name of each job's architecture.
          history: the epochs of each job so far.

        Raises:
          OSError: it cannot be written, e.g. since the disk is full; the ones before are still there.
        """
        if not started:
            return
        groups: dict[str, list[Started]] = {}
        for job in started:
            groups.setdefault(specs[job.progress.job], []).append(job)
        arrays = {
            spec: jax.tree.map(lambda *xs: np.stack(xs), *[{'model': job.model, 'best': job.best} for job in group])
            for spec, group in groups.items()
        }
        host: dict[str, Any] = {
            'progress': {spec: [dataclasses.asdict(job.progress) for job in group] for spec, group in groups.items()},
            'history': {
                str(job.progress.job): [dataclasses.asdict(record) for record in history.get(job.progress.job, ())]
                for job in started
            },
        }
        host['checksum'] = _checksum(arrays)
        number = (self._manager.latest_step() or 0) + 1
        # Orbax's threads fail in several ways, and at length, on a disk that fills up: ask before.
        needed = 2 * (sum(leaf.nbytes for leaf in jax.tree.leaves(arrays)) + len(json.dumps(host))) + _MARGIN
        if shutil.disk_usage(self._manager.directory).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._manager.directory))
        try:
            self._manager.save(
                number, args=ocp.args.Composite(arrays=ocp.args.PyTreeSave(arrays), host=ocp.args.JsonSave(host))
            )
        except Exception as error:
            # TensorStore's errors are no OSErrors, but they quote the system's.
            for code in (errno.ENOSPC, errno.EDQUOT):
                if os.strerror(code) in str(error) and not isinstance(error, OSError):
                    raise OSError(code, os.strerror(code), str(self._manager.directory)) from error
            raise

    def restore(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest checkpoint that can be read, and a note for each that could not.

        A checkpoint that does not parse, or whose arrays differ from their checksum, is removed, and the one before it
        is tried.
        """
        notes: list[str] = []
        for number in sorted(self._manager.all_steps(), reverse=True):
            try:
                return self._read(number), notes
            except Exception as error:  # whatever a damaged file makes Orbax raise
                reason = ' '.join(str(error).split())[:120] or type(error).__name__
                notes.append(
                    f'{self._name}: checkpoint {number} cannot be read ({reason}); falling back to the one before'
                )
                self._manager.delete(number)
        return None, notes

    def _read(self, number: int) -> Checkpoint:
        host = self._manager.restore(number, args=ocp.args.Composite(host=ocp.args.JsonRestore()))['host']
        progress = {spec: [_progress(p) for p in group] for spec, group in host['progress'].items()}
        target = {spec: _shapes(spec, len(group)) for spec, group in progress.items()}
        restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), target)
        arrays = self._manager.restore(
            number, args=ocp.args.Composite(arrays=ocp.args.PyTreeRestore(item=target, restore_args=restore_args))
        )['arrays']
        shapes = jax.tree.map(lambda x, y: (x.shape, x.dtype) == (y.shape, y.dtype), arrays, target)
        if not all(jax.tree.leaves(shapes)) or _checksum(arrays) != host['checksum']:
            raise ValueError('its arrays differ from their checksum')
        started = {}
        for spec, group in progress.items():
            for place, one in enumerate(group):
                cut = jax.tree.map(lambda x, place=place: np.array(x[place]), arrays[spec])
                started[one.job] = Started(one, cut['model'], cut['best'])
        history = {int(job): [EpochRecord(**record) for record in found] for job, found in host['history'].items()}
        return Checkpoint(started, history)

    def close(self) -> None:
        """Release what Orbax holds."""
        self._manager.close()


@contextlib.contextmanager
def opened(folder: pathlib.Path) -> Iterator[Checkpoints]:
    """The checkpoints of a folder, closed at the end."""
    checkpoints = Checkpoints(folder)
    try:
        yield checkpoints
    finally:
        checkpoints.close()


def _shapes(spec: str, count: int) -> dict[str, Any]:
    """Shapes and dtypes of so many jobs of an architecture, as they are stored."""
    one = stack.slot_shapes(resolve(spec), 0)
    stored = {'model': one.model, 'best': one.best}
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape), x.dtype), stored)


def _progress(stored: dict[str, Any]) -> Progress:
    """A job's numbers out of JSON, which has no tuples."""
    return Progress(**stored | {'recent': tuple(stored.get('recent', ()))})


def _checksum(arrays: Any) -> int:
    """crc32 over the bytes of all arrays."""
    value = 0
    for leaf in jax.tree.leaves(arrays):
        value = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), value)
    return value
