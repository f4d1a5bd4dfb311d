"""What the stage `explain` keeps of a run's models, for the stages and pages that read it (edge: touches the disk).

WORKDIR/explain/
  index.json                 which models and which sequences were explained
  saliency/00000.npz         per piece and job; the pieces and their arrays are in `PIECES`
"""

import json
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demo_jax import files
from demo_jax.errors import InputError, brief
from demo_jax.runs import RunDirectory
from demo_jax.training.jobs import Job

#: Each piece and its arrays. N explained sequences (see `Explanations.rows`), L letters of the longest,
#: R restarts, F first-layer filters.
PIECES: Mapping[str, tuple[str, ...]] = {
    # score (N,): S(X). hypothetical (N, L, 4): see `explain.attribution.Attribution`.
    'saliency': ('score', 'hypothetical'),
    'integrated_gradients': ('score', 'hypothetical', 'completeness_error'),
    # signed (N, L) is minus the mean change over the three other letters, not the hypothetical at the letter.
    'mutagenesis': ('score', 'hypothetical', 'signed'),
    # forward, reverse (N, L): S of each prefix and suffix, NaN where there is none; recurrent specs only.
    'temporal': ('forward', 'reverse'),
    # start, filter, strength (N,): see `explain.activations.StrongestActivation`; specs with convolutions only.
    'activations': ('start', 'filter', 'strength', 'width'),
    # counts (F, width, 4), n_windows (F,), maximum (F,): see `explain.activations.FilterMotifs`.
    'filters': ('counts', 'n_windows', 'maximum'),
    # matrix, raw (R, L, 4), score, objective (R,): see `explain.class_optimisation.ClassOptimum`.
    'class_optimisation': ('matrix', 'raw', 'score', 'objective'),
}


class Explanations:
    """Paths and files of a run's explanations.

    Attributes:
      run: the run directory.
    """

    def __init__(self, run: RunDirectory):
        self.run = run
        self._index: dict[str, Any] | None = None

    @property
    def path(self) -> pathlib.Path:
        """The folder that holds them."""
        return self.run.path / 'explain'

    def write_index(self, jobs: Sequence[Job], rows: Mapping[str, np.ndarray]) -> None:
        """Say which models are explained, and which corpus rows of each task."""
        index = {
            'jobs': [job.index for job in jobs],
            'rows': {task: np.asarray(found).tolist() for task, found in rows.items()},
        }
        self._index = index
        path = self.path / 'index.json'
        if not path.exists() or files.read_json(path) != index:
            files.write_json(path, index)

    def index(self) -> dict[str, Any]:
        """The contents of index.json.

        Raises:
          InputError: the stage explain has not run.
        """
        if self._index is None:
            if not (self.path / 'index.json').is_file():
                raise InputError(f'{self.run.path}: nothing is explained yet; run the stage explain')
            self._index = files.read_json(self.path / 'index.json')
        return self._index

    def jobs(self) -> tuple[Job, ...]:
        """The explained models, one per task and spec."""
        chosen = set(self.index()['jobs'])
        return tuple(job for job in self.run.jobs() if job.index in chosen)

    def rows(self, task: str) -> np.ndarray:
        """int64 (N,): the corpus rows explained of a task, all of its test split; positives come first."""
        try:
            return np.array(self.index()['rows'][task], np.int64)
        except KeyError:
            raise InputError(f'{self.path}: no task {task!r}; it has {", ".join(self.index()["rows"])}') from None

    def piece_path(self, piece: str, job: int) -> pathlib.Path:
        """Where a piece of a job lies."""
        if piece not in PIECES:
            raise InputError(f'no explanation {brief(piece)}; the pieces are {", ".join(PIECES)}')
        return self.path / piece / f'{job:05d}.npz'

    def has(self, piece: str, job: int, settings: Mapping[str, Any] | None = None) -> bool:
        """Whether a piece is there and can be read; with `settings`, also made with the same ones."""
        try:
            facts, _ = self._read(piece, job)
        except InputError:
            return False
        return settings is None or facts == json.loads(json.dumps(dict(settings)))

    def load(self, piece: str, job: int) -> dict[str, np.ndarray]:
        """The arrays of a piece, see `PIECES`.

        Raises:
          InputError: it is missing or cannot be read; the message names the file.
        """
        return self._read(piece, job)[1]

    def save(self, piece: str, job: int, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Keep the arrays of a piece, and the settings they were made with."""
        if set(arrays) != set(PIECES[piece]):
            raise KeyError(f'{piece} has the arrays {PIECES[piece]}, not {sorted(arrays)}')
        facts = np.array(json.dumps(dict(settings)))
        with files.atomic_path(self.piece_path(piece, job)) as temporary, open(temporary, 'wb') as handle:
            np.savez(handle, allow_pickle=False, facts=facts, **{name: np.asarray(a) for name, a in arrays.items()})

    def _read(self, piece: str, job: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        path = self.piece_path(piece, job)
        try:
            with open(path, 'rb') as handle, np.load(handle, allow_pickle=False) as stored:
                return json.loads(str(stored['facts'])), {name: stored[name] for name in PIECES[piece]}
        except FileNotFoundError as error:
            raise InputError(f'{path}: is missing; run the stage explain') from error
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f'{path}: cannot be read ({brief(str(error))})') from error
