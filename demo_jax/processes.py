"""Several processes that work on one run (edge: starts JAX's coordination service, reads and writes small files).

`jax.distributed` brings the processes together: it finds them (under SLURM, Open MPI or on a TPU pod by itself),
tells each its number, and is closed again before any work begins. From then on each process is a JAX program of
its own with its own devices; no array spans processes, and none is taken down when another dies. What little they
have to agree on lies in files in the run directory, which all of them must share:

WORKDIR/.processes/TOKEN/
  00000.json         per process: who it is, a count that rises while it lives, what it has reached, how it ended
  agreed-NAME.json   what process 0 decided for all
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import secrets
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from demo_jax.errors import InputError, brief, printable

_FOLDER = '.processes'
_FAILED = 'ended with an error'


class ProcessLost(RuntimeError):
    """Another process of the run is gone. The message says which, and that the same command goes on."""


@dataclasses.dataclass(frozen=True)
class Meeting:
    """Where the processes of a run meet.

    Attributes:
      coordinator: 'HOST:PORT' of process 0, reached by all; 'auto' = found out by JAX together with the rest, under
        SLURM, Open MPI and on TPU pods; '' = there is one process, and nothing touches the network.
      count: how many processes; None = found out.
      index: which of them this is, from 0; None = found out.
      patience: seconds to wait for the others to appear at the start.
      silence: seconds after which a process that gives no sign of life counts as gone.
    """

    coordinator: str = ''
    count: int | None = None
    index: int | None = None
    patience: float = 300.0
    silence: float = 60.0

    def __post_init__(self) -> None:
        if not self.coordinator:
            if self.count is not None or self.index is not None:
                raise InputError('processes: a number of processes is given, but no coordinator (HOST:PORT, or auto)')
            return
        host, _, port = self.coordinator.rpartition(':')
        if self.coordinator != 'auto':
            if not host or not port.isdigit():
                raise InputError(f'processes: coordinator is {brief(self.coordinator)}, expected HOST:PORT, or auto')
            if self.count is None or self.index is None:
                raise InputError('processes: with a coordinator HOST:PORT the number of processes and the number of '
                                 'this process are needed as well')  # fmt: skip
        if self.count is not None and self.count < 1:
            raise InputError(f'processes: their number is {self.count}, expected 1 or more')
        if self.index is not None and not 0 <= self.index < (self.count or self.index + 1):
            raise InputError(f'processes: this is number {self.index}, expected 0 to {(self.count or 1) - 1}')
        if not (self.patience > 0 and self.silence > 0):
            raise InputError('processes: times to wait must be positive')


def gather(meeting: Meeting) -> 'Team':
    """Meet the other processes; to be called before JAX first runs anything.

    Where they do not come in time, the process ends with a message and status 2.

    Raises:
      InputError: they cannot be found.
    """
    if not meeting.coordinator:
        return Team()
    import jax
    from jax._src import distributed  # the service's key-value store has no public name

    # Its service for preemption notices would take SIGTERM away from the training, which saves a checkpoint on it.
    jax.config.update('jax_enable_preemption_service', False)
    where: dict[str, Any] = {} if meeting.coordinator == 'auto' else {
        'coordinator_address': meeting.coordinator, 'cluster_detection_method': 'deactivate',
    }  # fmt: skip
    state, seconds = distributed.global_state, int(meeting.patience) + 1
    if meeting.coordinator == 'auto':
        where = {'local_device_ids': _only_gpu()}
    number = 'this process' if meeting.index is None else f'process {meeting.index}'
    missed = f'processes: {number} has not met the others, {meeting.count or "all"} together, at {meeting.coordinator}'

    def give_up() -> None:
        print(f'error: {missed} within {meeting.patience:g} s', file=sys.stderr, flush=True)
        os._exit(2)  # JAX waits in compiled code, and after its own timeout would abort with a stack trace

    watch = threading.Timer(meeting.patience, give_up)
    watch.daemon = True
    watch.start()
    try:
        jax.distributed.initialize(
            num_processes=meeting.count, process_id=meeting.index, initialization_timeout=seconds + 60,
            shutdown_timeout_seconds=seconds + 60, **where,
        )  # fmt: skip
        index, count = state.process_id, state.num_processes
        client: Any = state.client
        if index == 0:
            client.key_value_set('demo_jax', secrets.token_hex(8))
        token = client.blocking_key_value_get('demo_jax', 1000 * (seconds + 60))
        jax.distributed.shutdown()
    except (RuntimeError, ValueError) as error:
        with contextlib.suppress(RuntimeError):
            jax.distributed.shutdown()
        if meeting.coordinator == 'auto' and 'coordinator_address should be defined' in str(error):
            raise InputError(
                'processes: coordinator auto finds nothing to go by: it was not started by srun (a shell within '
                'an allocation is no step of it), Open MPI or on a TPU pod'
            ) from error
        raise InputError(f'{missed} ({" ".join(str(error).split())[:160]})') from error
    finally:
        watch.cancel()
    state.process_id, state.num_processes = 0, 1  # now JAX's backends start as those of a single process
    return Team(index, count, token, meeting.silence)


def _only_gpu() -> list[int] | None:
    """GPU 0 where a scheduler shows this process a single one (`--gpus-per-task=1`), None where JAX is to choose.

    Under SLURM, JAX gives process n of a node the n-th GPU that the process sees, of which it takes there to be one
    for each process of the node.
    """
    if 'JAX_LOCAL_DEVICE_IDS' in os.environ:
        return None
    for name in ('CUDA_VISIBLE_DEVICES', 'ROCR_VISIBLE_DEVICES', 'HIP_VISIBLE_DEVICES'):
        visible = os.environ.get(name, '').strip()
        if visible and ',' not in visible and visible not in ('-1', 'NoDevFiles'):
            return [0]
    return None


class Team:
    """The processes of a run, as one of them sees them. `Team()` is a process by itself: it never waits.

    Attributes:
      index: number of this process, from 0. Process 0 makes the run directory, decides and reports.
      count: how many there are.
    """

    def __init__(self, index: int = 0, count: int = 1, token: str = '', silence: float = 60.0):
        self.index, self.count = index, count
        self._token, self._silence = token, silence
        self._folder = pathlib.Path()
        self._lock = threading.RLock()
        self._own: dict[str, Any] = {
            'host': socket.gethostname(), 'pid': os.getpid(), 'beat': 0, 'reached': [], 'ended': '',
        }  # fmt: skip
        self._seen: dict[int, dict[str, Any]] = {}
        self._heard: dict[int, float] = {}
        self._looked = time.monotonic()
        self._gone: dict[int, str] = {}

    @property
    def leads(self) -> bool:
        """Whether this is process 0."""
        return self.index == 0

    @contextlib.contextmanager
    def at_work(self, run: pathlib.Path) -> Iterator[None]:
        """Show the others that this process lives, until the block ends; then how it ended.

        Raises:
          InputError: process 0 does not appear in this directory.
        """
        if self.leads:
            shutil.rmtree(run / _FOLDER, ignore_errors=True)  # of earlier starts
        if self.count == 1:
            yield
            return
        self._folder = run / _FOLDER / self._token
        if self.leads:
            self._folder.mkdir(parents=True)
        else:
            self._find_leader(run)
        stop = threading.Event()
        beats = threading.Thread(target=self._live, args=(stop,), daemon=True)
        self._beat()
        beats.start()
        ended = 'was stopped'
        try:
            yield
            ended = 'is done'
        except ProcessLost:
            ended = 'ended because it missed another process'
            raise
        except Exception as error:
            ended = f'{_FAILED}: {printable(str(error))[:300] or type(error).__name__}'
            raise
        finally:
            stop.set()
            beats.join()
            self._own['ended'] = ended
            self._beat()

    def _find_leader(self, run: pathlib.Path) -> None:
        deadline = time.monotonic() + self._silence
        while not _is_there(self._folder):
            if time.monotonic() > deadline:
                raise InputError(
                    f'{run}: process {self.index} on {socket.gethostname()} does not find here what process 0 has '
                    'written; it has failed (see its own message), or this is not one directory that all processes '
                    'share'
                )
            time.sleep(0.05)

    def wait(self, name: str, tell: Callable[[str], None] | None = None) -> None:
        """Go on when every process has come to the point `name`.

        Args:
          name: of the point; each is waited for once.
          tell: gets a line when others are long in coming.

        Raises:
          ProcessLost: one of them never will.
          InputError: one of them has ended with an error.
        """
        if self.count == 1:
            return
        with self._lock:
            self._own['reached'].append(name)
            self._beat()
        start, told = time.monotonic(), tell is None
        while True:
            self._look()
            late = [peer for peer in self._peers() if name not in self._seen.get(peer, {}).get('reached', ())]
            if not late:
                return
            self._check(late)
            if not told and tell is not None and time.monotonic() - start > 2:
                told = True
                tell(f'waiting for {", ".join(map(self._name, late))}')
            time.sleep(0.05)

    def agree(self, name: str, decide: Callable[[], Any]) -> Any:
        """What process 0 decides, told to all; a JSON value.

        Raises:
          ProcessLost: process 0 has ended without deciding.
        """
        if self.count == 1:
            return json.loads(json.dumps(decide(), default=list))
        path = self._folder / f'agreed-{name}.json'
        if self.leads:
            _write(path, decide())
        while True:
            if _is_there(path):
                return json.loads(path.read_text(encoding='utf-8'))
            self._look()
            self._check([0])
            time.sleep(0.05)

    def _peers(self) -> list[int]:
        return [peer for peer in range(self.count) if peer != self.index]

    def _name(self, peer: int) -> str:
        found = self._seen.get(peer)
        return f'process {peer} ({found["host"]}, pid {found["pid"]})' if found else f'process {peer}'

    def _check(self, awaited: list[int]) -> None:
        for peer in awaited:
            ended = self._seen.get(peer, {}).get('ended') or self._gone.get(peer)
            if ended and ended.startswith(_FAILED):
                raise InputError(f'{self._name(peer)} {ended}; so process {self.index} ends too')
            if ended:
                raise ProcessLost(
                    f'{self._name(peer)} {ended}; process {self.index} has kept what it had to do so far. The same '
                    'command goes on where the run stands, with this or another number of processes'
                )

    def _live(self, stop: threading.Event) -> None:
        while not stop.wait(min(2.0, self._silence / 10)):
            self._beat()
            for peer in self._look():
                print(f'note: {self._name(peer)} {self._gone[peer]}; process {self.index} finishes its own part',
                      file=sys.stderr, flush=True)  # fmt: skip

    def _beat(self) -> None:
        with self._lock:
            self._own['beat'] += 1
            with contextlib.suppress(OSError):  # a file system that is away for a while: the next beat may pass
                _write(self._folder / f'{self.index:05d}.json', self._own)

    def _look(self) -> list[int]:
        """Read what the others have written; those that are found to be gone now."""
        lost = []
        with self._lock:
            now = time.monotonic()
            if now - self._looked > self._silence / 2:  # this process itself was asleep: the others may have been, too
                self._heard = dict.fromkeys(self._heard, now)
            self._looked = now
            for peer in self._peers():
                with contextlib.suppress(OSError, ValueError):
                    found = json.loads((self._folder / f'{peer:05d}.json').read_text(encoding='utf-8'))
                    if found != self._seen.get(peer):
                        self._seen[peer], self._heard[peer] = found, now
                silent = now - self._heard.setdefault(peer, now)
                ended = self._seen.get(peer, {}).get('ended')
                if silent > self._silence and not ended and peer not in self._gone:
                    self._gone[peer] = f'has given no sign of life for {silent:.0f} s'
                    lost.append(peer)
        return lost


def _is_there(path: pathlib.Path) -> bool:
    """Whether a file or folder exists: asked of its folder, since network file systems remember what was not there."""
    try:
        return path.name in os.listdir(path.parent)
    except OSError:
        return False


def _write(path: pathlib.Path, value: Any) -> None:
    """Write JSON so that a reader sees the old or the new file; unlike `files.write_json`, not down to the disk."""
    temporary = path.with_name(f'{path.name}.new')
    temporary.write_text(json.dumps(value, default=list), encoding='utf-8')
    os.replace(temporary, path)
