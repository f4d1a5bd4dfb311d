"""What the stage `explain` keeps of a run's models, for the stages and pages that read it (edge: touches the disk).

WORKDIR/explain/
  index.json                 which models and which sequences were explained
  saliency/00000.npz         per piece and job; the pieces and their arrays are in `PIECES`
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from demo_jax.io import arrays as stored_arrays
from demo_jax.io import files
from demo_jax.runs.done import Made, read_made
from demo_jax.errors import InputError, brief
from demo_jax.explain import pieces
from demo_jax.runs.directory import RunDirectory
from demo_jax.training.jobs import Job

#: The arrays of each piece and their axes, see `explain.pieces.Piece`.
PIECES: Mapping[str, Mapping[str, str]] = {name: piece.arrays for name, piece in pieces.PIECES.items()}


class Explanations:
    """Paths and files of a run's explanations.

    Attributes:
      run: the run directory.
    """

    def __init__(self, run: RunDirectory):
        self.run = run
        self._index: dict[str, Any] | None = None
        self._test_rows: dict[str, slice] | None = None

    @property
    def path(self) -> pathlib.Path:
        """The folder that holds them."""
        return self.run.path / 'explain'

    def write_index(
        self,
        jobs: Sequence[Job],
        rows: Mapping[str, np.ndarray],
        settings: Mapping[str, Any] = MappingProxyType({}),
        members: Mapping[int, Sequence[int]] = MappingProxyType({}),
    ) -> None:
        """Say which models are explained, which corpus rows of each task, and by which settings they were chosen.

        Pieces that were saved with another value for one of `settings` are of other rows, and are not loaded. `members`
        are, by job, the jobs that the means of its maps are over, where these are several.
        """
        index: dict[str, Any] = {
            'jobs': [job.index for job in jobs],
            'rows': {task: np.asarray(found).tolist() for task, found in rows.items()},
            'settings': dict(settings),
        }
        if members:
            index['members'] = {str(job): list(of) for job, of in members.items()}
        self._index = index
        path = self.path / 'index.json'
        if not path.exists() or files.read_json(path) != index:
            files.write_json(path, index)

    def index(self) -> dict[str, Any]:
        """The contents of index.json.

        Raises:
          InputError: the stage explain has not run, or the file is not an index.
        """
        if self._index is None:
            path = self.path / 'index.json'
            if not os.path.isfile(path):
                raise InputError(f'{self.run.path}: nothing is explained yet; run the stage explain')
            index = files.read_json(path)
            if not (
                isinstance(index, dict)
                and _whole_numbers(index.get('jobs'))
                and isinstance(index.get('rows'), dict)
                and all(_whole_numbers(rows) for rows in index['rows'].values())
                and isinstance(index.get('settings', {}), dict)
                and isinstance(index.get('members', {}), dict)
                and all(_whole_numbers(of) for of in index.get('members', {}).values())
            ):
                raise InputError(f'{path}: is no index of explanations; run the stage explain')
            self._index = index
        return self._index

    def jobs(self) -> tuple[Job, ...]:
        """The explained models, one per task and spec."""
        chosen = set(self.index()['jobs'])
        return tuple(job for job in self.run.jobs() if job.index in chosen)

    def members(self, job: int) -> tuple[int, ...]:
        """The jobs that the maps of an explained job are means over, itself among them; of one model it alone."""
        return tuple(self.index().get('members', {}).get(str(job), (job,)))

    def rows(self, task: str) -> np.ndarray:
        """int64 (N,): the corpus rows explained of a task, all of its test split; positives come first.

        Raises:
          InputError: nothing is explained of that task, or the index names rows that the corpus does not have.
        """
        index = self.index()['rows']
        if task not in index:
            raise InputError(f'{self.path}: no task {task!r}; it has {", ".join(index)}')
        if self._test_rows is None:
            corpus = self.run.corpus()
            self._test_rows = {name: corpus.rows(name, 'test') for name in corpus.tasks}
        known = self._test_rows.get(task, slice(0, 0))
        if not all(known.start <= row < known.stop for row in index[task]):
            raise InputError(f'{self.path / "index.json"}: names rows outside the test split of {task!r}')
        return np.array(index[task], np.int64)

    def piece_path(self, piece: str, job: int) -> pathlib.Path:
        """Where a piece of a job lies.

        Raises:
          InputError: there is no such piece.
        """
        if piece not in PIECES:
            raise InputError(f'no explanation {brief(piece)}; the pieces are {", ".join(PIECES)}')
        return self.path / piece / f'{job:05d}.npz'

    def has(self, piece: str, job: int, made: Made | None = None) -> bool:
        """Whether a piece is there and can be loaded; with `made`, whether it was made from this."""
        try:
            if made is None:
                self.load(piece, job)
                return True
            return self._read(piece, job)[0].as_json() == made.as_json()
        except InputError:
            return False

    def made(self, piece: str, job: int) -> Made:
        """What a piece was made from.

        Raises:
          InputError: as `load`.
        """
        return self._read(piece, job)[0]

    def load(self, piece: str, job: int) -> dict[str, np.ndarray]:
        """The arrays of a piece, see `PIECES`.

        Raises:
          InputError: it is missing, cannot be read, or is of other sequences than those of the index; the message
            names the file.
        """
        made, arrays = self._read(piece, job)
        for name, value in self.index().get('settings', {}).items():
            if made.settings.get(name, value) != value:
                raise InputError(
                    f'{self.piece_path(piece, job)}: is of other sequences than those explained last ({name} '
                    f'{brief(made.settings[name])}, now {brief(value)}); run the stage explain for it again'
                )
        return arrays

    def save(self, piece: str, job: int, arrays: Mapping[str, Any], made: Made) -> None:
        """Keep the arrays of a piece (see `PIECES`) with what they were made from, in one file.

        Raises:
          KeyError: other arrays than the piece's.
        """
        if set(arrays) != set(PIECES[piece]):
            raise KeyError(f'{piece} has the arrays {list(PIECES[piece])}, not {sorted(arrays)}')
        facts = np.array(json.dumps(made.as_json()))
        with files.atomic_path(self.piece_path(piece, job)) as temporary, open(temporary, 'wb') as handle:
            np.savez(handle, allow_pickle=False, facts=facts, **{name: np.asarray(a) for name, a in arrays.items()})

    def _read(self, piece: str, job: int) -> tuple[Made, dict[str, np.ndarray]]:
        path = self.piece_path(piece, job)
        try:
            stored = stored_arrays.read_npz(path, ['facts', *PIECES[piece]])
            made = read_made(json.loads(str(stored.pop('facts'))))
        except InputError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise InputError(f'{path}: is missing; run the stage explain') from error
            raise
        except (ValueError, RecursionError) as error:
            raise InputError(f'{path}: cannot be read (its facts are no JSON: {brief(str(error))})') from error
        wrong = _misfit(stored, PIECES[piece])
        if wrong or made is None:
            raise InputError(f'{path}: cannot be read ({wrong or "its facts do not say what it was made from"})')
        return made, stored


def _whole_numbers(value: Any) -> bool:
    """Whether a value out of a JSON file is a list of whole numbers from 0."""
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _misfit(arrays: Mapping[str, np.ndarray], axes: Mapping[str, str]) -> str | None:
    """What is wrong with the kinds and shapes of a piece's arrays; None if nothing is."""
    lengths = {'4': 4}
    for name, letters in axes.items():
        array = arrays[name]
        fits = array.dtype.kind in 'iuf' and array.ndim == len(letters)
        if not fits or any(lengths.setdefault(*pair) != pair[1] for pair in zip(letters, array.shape, strict=True)):
            return f'{name} is {array.dtype} of shape {array.shape}, expected numbers with axes {letters}'
    return None
