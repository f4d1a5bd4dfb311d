"""Checkpoints of a training between segments, through Orbax (edge: touches the disk)."""

import dataclasses
import logging
import pathlib
import zlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from demo_jax.nn.models import SPECS
from demo_jax.training import stack
from demo_jax.training.fit import FitState, Progress

# Orbax reports each save and restore at INFO and WARNING; a user wants neither.
logging.getLogger('absl').setLevel(logging.ERROR)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: which program was running, its state, and the caller's own notes (JSON)."""

    spec: str
    dropout_bits: int
    state: FitState
    extra: dict[str, Any]


class Checkpoints:
    """The newest two checkpoints of a run, in one folder."""

    def __init__(self, folder: pathlib.Path):
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            options=ocp.CheckpointManagerOptions(max_to_keep=2, create=True, enable_async_checkpointing=False),
        )

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, whole or not at all."""
        arrays = jax.device_get({'model': checkpoint.state.arrays.model, 'best': checkpoint.state.arrays.best})
        host = {
            'spec': checkpoint.spec,
            'dropout_bits': checkpoint.dropout_bits,
            'progress': [None if p is None else dataclasses.asdict(p) for p in checkpoint.state.progress],
            'waiting': list(checkpoint.state.waiting),
            'checksum': _checksum(arrays),
            'extra': checkpoint.extra,
        }
        number = (self._manager.latest_step() or 0) + 1
        self._manager.save(
            number, args=ocp.args.Composite(arrays=ocp.args.PyTreeSave(arrays), host=ocp.args.JsonSave(host))
        )

    def restore(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest checkpoint that can be read, and a note for each that could not.

        A checkpoint that does not parse, or whose arrays differ from their checksum, is removed and
        the one before it is tried.
        """
        notes: list[str] = []
        for number in sorted(self._manager.all_steps(), reverse=True):
            try:
                return self._read(number), notes
            except Exception as error:  # whatever a damaged file makes Orbax raise
                reason = ' '.join(str(error).split())[:120] or type(error).__name__
                notes.append(f'checkpoint {number} cannot be read ({reason}); falling back to the one before')
                self._manager.delete(number)
        return None, notes

    def _read(self, number: int) -> Checkpoint:
        host = self._manager.restore(number, args=ocp.args.Composite(host=ocp.args.JsonRestore()))['host']
        progress = tuple(None if p is None else Progress(**p) for p in host['progress'])
        one = stack.slot_shapes(SPECS[host['spec']], 0)
        target = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((len(progress), *x.shape), x.dtype), {'model': one.model, 'best': one.best}
        )
        restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), target)
        arrays = self._manager.restore(
            number, args=ocp.args.Composite(arrays=ocp.args.PyTreeRestore(item=target, restore_args=restore_args))
        )['arrays']
        shapes = jax.tree.map(lambda x, y: (x.shape, x.dtype) == (y.shape, y.dtype), arrays, target)
        if not all(jax.tree.leaves(shapes)) or _checksum(arrays) != host['checksum']:
            raise ValueError('its arrays differ from their checksum')
        state = FitState(
            progress, tuple(host['waiting']), stack.SlotState(arrays['model'], arrays['best'], arrays['best'])
        )
        return Checkpoint(host['spec'], host['dropout_bits'], state, host['extra'])

    def close(self) -> None:
        """Release what Orbax holds."""
        self._manager.close()


def _checksum(arrays: Any) -> int:
    """crc32 over the bytes of all arrays."""
    value = 0
    for leaf in jax.tree.leaves(arrays):
        value = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), value)
    return value
