"""The run directory: everything that one training produced (edge: touches the disk).

WORKDIR/
  run.json           format, corpus fingerprint, tasks, versions of the packages
  config.json        every setting
  corpus/            the sequences (see `data.storage`)
  folds.npy          the fold of each sequence, where the run has folds (see `data.folds`)
  jobs.tsv           the job table, one row per model
  models/00000.npz   per job: parameters of its best epoch, its history, how it ended
  history.tsv        per job and epoch: losses, validation AUROC, norms
  notes.txt          what happened on the way: diverged jobs, unreadable checkpoints
  checkpoints/       of the training under way (Orbax)
  tensorboard/       event files
  tables/  figures/  results
"""

import contextlib
import dataclasses
import errno
import fcntl
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import re
import socket
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

from demo_jax.compute import devices
from demo_jax.io import arrays as stored_arrays, files
from demo_jax.runs import schema
from demo_jax.data import storage
from demo_jax.data.corpus import Corpus
from demo_jax.data.folds import FOLD_COLUMNS, Folds
from demo_jax.errors import InputError, brief
from demo_jax.evaluation.calibration import Scale
from demo_jax.nn.architecture import named_leaves
from demo_jax.io.settings import updated
from demo_jax.training.jobs import Job, Recipe
from demo_jax.training.state import EpochRecord, Finished

FORMAT = 'demo_jax run'
VERSION = 1
#: The table of what probabilities are worth, and of the scales that they are made with.
CALIBRATION_TABLE = 'calibration'
_FOLDS = 'folds.npy'
_ONE_SPLIT = {'folds': 1, 'fold_by': 'auto'}
HISTORY_TYPES = get_type_hints(EpochRecord)
HISTORY_COLUMNS = tuple(HISTORY_TYPES)
PACKAGES = ('demo_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'scipy', 'pyjaspar')


@dataclasses.dataclass(frozen=True)
class JobResult:
    """What is kept of a finished job.

    Attributes:
      job: index.
      status: 'ok', or 'diverged' when no attempt gave finite losses (then `params` is None).
      attempt: new starts after it diverged, died or did not begin to learn.
      steps: training steps done.
      best_epoch, best_auroc: the epoch that `params` are of, and its validation AUROC.
      history: its epochs.
      params: a pytree of arrays as its architecture has it (nested dictionaries), or None.
      asleep: how many of the new starts were because it had not begun to learn.
    """

    job: int
    status: str
    attempt: int
    steps: int
    best_epoch: int
    best_auroc: float
    history: tuple[EpochRecord, ...]
    params: Any
    asleep: int = 0

    @functools.cached_property
    def digest(self) -> str:
        """sha256 of the parameters, by which results that were made from them are told."""
        found = hashlib.sha256()
        for name, leaf in named_leaves(self.params).items():
            array = np.ascontiguousarray(leaf)
            found.update(f'{name} {array.dtype} {array.shape}'.encode())
            found.update(array.tobytes())
        return found.hexdigest()


_RESULT_KINDS = {name: kind for name, kind in get_type_hints(JobResult).items() if name not in ('history', 'params')}


class RunDirectory:
    """Paths and files of one run. `create` makes it or checks that it is the same run.

    Args:
      path: the directory.
      own_specs: architectures of somebody's own ('module:name') that may be imported to read it; True: all.
    """

    def __init__(self, path: str | os.PathLike, own_specs: Collection[str] | bool = ()):
        self.path, self._own_specs = pathlib.Path(files.expanded(os.fspath(path))), own_specs

    @property
    def tables(self) -> pathlib.Path:
        """Where tables are written."""
        return self.path / 'tables'

    def create(
        self, corpus: Corpus, config: Mapping[str, Any], jobs: Sequence[Job], folds: Folds | None = None
    ) -> None:
        """Start a run here, or check that the one that is here has the same corpus and jobs.

        Args:
          corpus: the sequences.
          config: the settings.
          jobs: the job table.
          folds: of the sequences; None where they have one split.

        Raises:
          InputError: the directory belongs to another corpus or other training settings, or holds
            something else.
        """
        config = json.loads(json.dumps(config, default=list))
        if (self.path / 'run.json').exists():
            self.check(corpus, config)
            files.write_json(self.path / 'config.json', config)
            return
        if not self._is_begun():
            raise InputError(f'{self.path}: exists and is not a run directory; choose another --workdir')
        held = self.path / 'corpus'  # of a start that was killed, perhaps with other settings
        if not storage.is_corpus(held) or storage.load_corpus(held).fingerprint() != corpus.fingerprint():
            storage.save_corpus(corpus, held)
        files.write_json(self.path / 'config.json', config)
        if folds is not None:
            with files.atomic_path(self.path / _FOLDS) as temporary, open(temporary, 'wb') as handle:
                np.save(handle, folds.number, allow_pickle=False)
            files.write_tsv(self.tables / 'folds.tsv', folds.rows, FOLD_COLUMNS)
        files.write_tsv(
            self.path / 'jobs.tsv', map(dataclasses.asdict, jobs), [field.name for field in dataclasses.fields(Job)]
        )
        facts = {
            'format': FORMAT,
            'version': VERSION,
            'fingerprint': corpus.fingerprint(),
            'tasks': list(corpus.tasks),
            'versions': {name: _version(name) for name in PACKAGES},
        }
        files.write_json(self.path / 'run.json', facts)

    def _is_begun(self) -> bool:
        """Whether there is nothing here but what is written before run.json, the last file of `create`."""
        own = r'corpus|\.lock|\..*\.(tmp|old)'
        if storage.is_corpus(self.path / 'corpus'):
            own += r'|config\.json|jobs\.tsv|folds\.npy|tables'
        return not self.path.exists() or all(re.fullmatch(own, name) for name in os.listdir(self.path))

    def check(self, corpus: Corpus, config: Mapping[str, Any]) -> None:
        """See that the run here has this corpus and these training settings.

        Raises:
          InputError: it has others; the message names what differs.
        """
        facts, fingerprint = self.facts(), corpus.fingerprint()
        config = json.loads(json.dumps(config, default=list))
        if facts['fingerprint'] != fingerprint:
            raise InputError(
                f'{self.path}: belongs to another corpus (fingerprint {facts["fingerprint"][:12]}, this one has '
                f'{fingerprint[:12]}); choose another --workdir'
            )
        before = self.config()
        # A run that is older than a setting of the recipe was trained as its default says.
        for recipe in (one['recipe'] for one in (before, config) if isinstance(one.get('recipe'), dict)):
            recipe |= {name: value for name, value in dataclasses.asdict(Recipe()).items() if name not in recipe}
        for section in ('specs', 'seeds', 'learning_rates', 'dropouts', 'folds', 'fold_by', 'recipe'):
            default = _ONE_SPLIT.get(section)  # of a run that is older than the setting
            if before.get(section, default) != config.get(section, default):
                raise InputError(
                    f'{self.path}: was started with other training settings ({_difference(section, before, config)}); '
                    'choose another --workdir'
                )
        seeds = [settings.get('corpus', {}).get('seed') for settings in (before, config)]
        if seeds[0] != seeds[1]:  # training draws further shuffles by it
            raise InputError(
                f'{self.path}: was started with corpus.seed {seeds[0]}, now {seeds[1]}; choose another --workdir'
            )
        precisions = [settings.get('machine', {}).get('precision', 'float32') for settings in (before, config)]
        if precisions[0] != precisions[1]:
            raise InputError(
                f'{self.path}: was started with machine.precision {precisions[0]}, now {precisions[1]}; models trained '
                'with different rounding do not belong in one table; choose another --workdir'
            )

    def facts(self) -> dict[str, Any]:
        """The contents of run.json.

        Raises:
          InputError: this is not a run directory, one of another version, or one with links that lead out of it.
        """
        if not os.path.isfile(self.path / 'run.json'):
            raise InputError(f'{self.path}: is not a run directory (it has no run.json)')
        schema.check_links(self.path)
        return schema.read_facts(self.path / 'run.json', FORMAT, VERSION)

    def config(self) -> dict[str, Any]:
        """The settings of the run.

        Raises:
          InputError: config.json is missing or holds no settings.
        """
        return schema.read_config(self.path / 'config.json')

    def update_config(self) -> None:
        """Write the settings of an older version where this one has them, and say what has moved.

        The caller holds the lock.

        Raises:
          InputError: as `config`.
        """
        config = self.config()
        for note in updated(files.read_json(self.path / 'config.json')).notes:
            print(f'note: {self.path / "config.json"}: {note}')
            self.note(note)
            files.write_json(self.path / 'config.json', config)

    def is_simulated(self) -> bool:
        """Whether the sequences are simulated: published values of tasks of the same names mean nothing then."""
        return 'simulated' in (self.config().get('corpus', {}).get('source'), self.corpus().info.get('source'))

    def corpus(self) -> Corpus:
        """The run's sequences, memory-mapped."""
        return storage.load_corpus(self.path / 'corpus')

    def folds(self) -> np.ndarray | None:
        """The fold of each row of the corpus, int (N,), from 1, 0 for test rows; None where there is one split.

        Raises:
          InputError: folds.npy cannot be read, or is of another corpus.
        """
        path = self.path / _FOLDS
        if not os.path.lexists(path):
            return None
        found = stored_arrays.read_npy(path)
        if found.dtype.kind not in 'iu' or found.shape != (len(self.corpus()),):
            raise InputError(f'{path}: is {found.dtype} of shape {found.shape}, expected a whole number per sequence')
        return found

    def jobs(self) -> tuple[Job, ...]:
        """The job table.

        Raises:
          InputError: jobs.tsv is missing or not a job table; the message names the line.
        """
        return schema.read_jobs(self.path / 'jobs.tsv', self._own_specs)

    @functools.cached_property
    def _specs(self) -> dict[int, str]:
        """Job -> spec, as the job table has it; nothing where there is no table yet."""
        return {job.index: job.spec for job in self.jobs()} if os.path.isfile(self.path / 'jobs.tsv') else {}

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run directory for this process, and clear away what killed ones left half-written.

        Raises:
          InputError: another process holds it; the message names it. Or the directory cannot be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f'{self.path}: cannot be made a run directory ({error.strerror})') from error
        with _lock(self.path / '.lock'):
            files.clear_leftovers(self.path)
            yield

    def model_path(self, job: int) -> pathlib.Path:
        """Where a finished job's parameters lie."""
        return self.path / 'models' / f'{job:05d}.npz'

    def save_result(self, finished: Finished, history: Sequence[EpochRecord]) -> None:
        """Keep a finished job."""
        arrays: dict[str, np.ndarray] = {}
        if finished.params is not None:
            arrays |= {f'params/{name}': np.asarray(leaf) for name, leaf in named_leaves(finished.params).items()}
        facts = {field.name: getattr(finished, field.name) for field in dataclasses.fields(Finished)}
        del facts['params']
        facts['status'] = 'diverged' if finished.params is None else 'ok'
        arrays['history'] = np.array([dataclasses.astuple(record) for record in history], np.float64).reshape(
            -1, len(HISTORY_COLUMNS)
        )
        arrays['facts'] = np.array(json.dumps(facts))
        with files.atomic_path(self.model_path(finished.job)) as temporary, open(temporary, 'wb') as handle:
            np.savez(handle, allow_pickle=False, **arrays)

    def load_result(self, job: int) -> JobResult:
        """Read a finished job.

        Raises:
          InputError: it is missing, or cannot be read; the message names the file.
        """
        path = self.model_path(job)
        try:
            stored = schema.read_model(
                path, _RESULT_KINDS, len(HISTORY_COLUMNS), self._specs.get(job), later={'asleep': 0}
            )
            history = tuple(_epoch(row) for row in stored.history)
        except InputError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise InputError(f'{path}: is missing; the model of job {job} has not been trained') from error
            raise
        except (ValueError, OverflowError) as error:
            raise InputError(f'{path}: cannot be read ({brief(str(error))})') from error
        if stored.facts['job'] != job or stored.facts['status'] != ('diverged' if stored.params is None else 'ok'):
            raise InputError(f'{path}: cannot be read (it is of job {stored.facts["job"]}, {stored.facts["status"]!r})')
        return JobResult(history=history, params=stored.params, **stored.facts)

    def scales(self) -> dict[tuple[int, ...], Scale]:
        """The scale of each calibrated model or ensemble, by its jobs; none where the stage evaluate has not run.

        Raises:
          InputError: `tables/calibration.tsv` has a line that is none of its own; the message names it.
        """
        path = self.tables / f'{CALIBRATION_TABLE}.tsv'
        found: dict[tuple[int, ...], Scale] = {}
        for number, row in enumerate(files.read_tsv(path, ('job', 'temperature')) if path.exists() else [], start=2):
            try:
                jobs = tuple(int(job) for job in row['job'].split('+'))
                found[jobs] = scale = Scale(float(row['temperature']), float(row.get('shift', 0)))
            except ValueError as error:
                raise InputError(f'{path}: line {number}: {brief(str(error))}') from error
            if not 0 < scale.temperature < float('inf'):
                raise InputError(f'{path}: line {number}: temperature is {scale.temperature}, expected one above 0')
            if not abs(scale.shift) < float('inf'):
                raise InputError(f'{path}: line {number}: shift is {scale.shift}, expected a finite number')
        return found

    def finished_jobs(self) -> set[int]:
        """Indices of the jobs whose results are here."""
        return {int(path.stem) for path in (self.path / 'models').glob('[0-9]*.npz') if path.stem.isdecimal()}

    def note(self, text: str) -> None:
        """Add a line to notes.txt, once."""
        with open(self.path / 'notes.txt', 'a+', encoding='utf-8') as handle:
            handle.seek(0)
            line = ' '.join(text.split())
            if line not in handle.read().splitlines():
                handle.write(f'{line}\n')


@contextlib.contextmanager
def _lock(path: pathlib.Path) -> Iterator[None]:
    """Hold a lock file, and say in it who does.

    Raises:
      InputError: another process holds it (the message names it), or it cannot be written.
    """
    with contextlib.ExitStack() as held:
        try:
            handle = held.enter_context(open(path, 'a+', encoding='utf-8'))
        except OSError as error:
            raise InputError(f'{path}: cannot be written ({error.strerror})') from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):  # no other process: NFS or Lustre without locks
                why = 'nothing would keep a second process out; choose a directory on a file system with locks'
                raise InputError(f'{path}: cannot be locked ({error.strerror}): {why}') from error
            handle.seek(0)
            holder = ' '.join(handle.read().split()) or 'another process'
            raise InputError(f'{path.parent}: is in use by {holder}') from error
        handle.seek(0)
        handle.truncate()
        started = time.strftime('%Y-%m-%d %H:%M:%S')
        handle.write(f'process {os.getpid()} on {socket.gethostname()}, started {started}\n')
        handle.flush()
        yield


def _epoch(row: np.ndarray) -> EpochRecord:
    values = dict(zip(HISTORY_COLUMNS, row.tolist(), strict=True))
    return EpochRecord(**{name: kind(values[name]) for name, kind in HISTORY_TYPES.items()})


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return 'not installed'


def _difference(section: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The first setting of a section that differs, as text."""
    old, new = before.get(section), after.get(section)
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(set(old) | set(new)):
            if old.get(name) != new.get(name):
                return f'{section}.{name} was {brief(old.get(name))}, now {brief(new.get(name))}'
    return f'{section} was {brief(old)}, now {brief(new)}'
