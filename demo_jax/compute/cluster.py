"""Work in other processes, on this machine or on others, by Dask (edge: opens network connections).

The main process hands out *bundles*: an item of work that one worker does from beginning to end with its own devices.
What a bundle yields comes back to the main process, so workers need no file system in common with it. Dask keeps
the list of workers, sends each bundle to one, and sends it to another when that one dies. A worker is a process with
one thread, since a bundle uses all devices that JAX sees.

Who can reach a Dask scheduler can run any code on it and on its workers; see docs/cluster.md.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import importlib.metadata
import itertools
import logging
import os
import pathlib
import platform
import queue
import re
import socket
import sys
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from demo_jax.errors import InputError, brief

#: Packages that the main process, the scheduler and the workers must have in the same version.
_PACKAGES = ('jax', 'jaxlib', 'numpy', 'flax', 'optax')
#: How often data that died with its workers is sent again.
_RESENT = 5
#: Bundles that wait at the scheduler beside those that workers have: more let a cluster that can grow do so.
_WAITING = 64

#: Called by a bundle with what it has done so far (in units of its own) and a short text.
Tell = Callable[[float, str], None]


@dataclasses.dataclass(frozen=True)
class Scheduler:
    """Where work is handed to.

    Attributes:
      address: of a running Dask scheduler, 'tcp://HOST:PORT' or 'tls://HOST:PORT'; '' where `workers` are started.
      workers: how many worker processes are started on this machine; 0 where there is an address.
      patience: seconds to wait for the scheduler, then for a first worker; and for another one when all have died.
    """

    address: str = ''
    workers: int = 0
    patience: float = 60.0

    def __str__(self) -> str:
        return self.address or f'local:{self.workers}'


def parse_scheduler(text: str, patience: float = 60.0) -> Scheduler | None:
    """What the flag --scheduler says; None for '': the work is done in this process.

    Args:
      text: '', 'tcp://HOST:PORT', 'tls://HOST:PORT' or 'local:N'.
      patience: see `Scheduler`.

    Raises:
      InputError: anything else, or a patience that is not positive.
    """
    if not patience > 0:
        raise InputError(f'scheduler: the time to wait is {patience:g} s, expected more than 0')
    if not text:
        return None
    local = re.fullmatch(r'local:(\d{1,4})', text)
    if local and int(local[1]):
        return Scheduler('', int(local[1]), patience)
    if local:
        raise InputError(f'scheduler {text} has no workers, expected local:1 or more')
    if re.fullmatch(r'(tcp|tls)://[^/\s]+:\d{1,5}', text):
        return Scheduler(text, 0, patience)
    raise InputError(f'scheduler is {brief(text)}, expected tcp://HOST:PORT, tls://HOST:PORT or local:N')


@dataclasses.dataclass(frozen=True)
class Setup:
    """How a worker starts JAX, so that it computes what the main process would.

    Attributes:
      versions: package -> version; 'demo_jax' is the checksum of its source, since versions of a checkout say little.
      threads: of XLA on a CPU, which splits sums by their number; the environment's NPROC.
      host_devices: see `devices.configure`; 0 = one per core of the worker, at most 8, and at most `threads`.
      compilation_cache: see `devices.keep_programs`.
    """

    versions: tuple[tuple[str, str], ...]
    threads: int
    host_devices: int = 0
    compilation_cache: str = ''


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a worker says of itself: its devices, their platform ('cpu', 'gpu', 'tpu'), the bytes that each can hold
    (None = it does not tell), and a note why it keeps no compiled programs ('' = it does)."""

    host: str
    devices: int
    platform: str
    memory: int | None
    note: str


def versions() -> tuple[tuple[str, str], ...]:
    """Of Python, of this package's source and of the packages that decide what is computed, as (name, version)."""
    found = {'Python': '.'.join(platform.python_version_tuple()[:2]), 'demo_jax': _source_checksum()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = 'none'
    return tuple(found.items())


@functools.cache
def _source_checksum() -> str:
    """The first letters of the SHA-256 of all modules of this package."""
    root, digest = pathlib.Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob('*.py')):
        digest.update(str(path.relative_to(root)).encode() + b'\0' + path.read_bytes() + b'\0')
    return digest.hexdigest()[:12]


def _check_versions(expected: Sequence[tuple[str, str]]) -> None:
    """Runs on the scheduler and on every worker: refuse versions other than those of the main process."""
    found = dict(versions())
    for name, version in expected:
        if found.get(name) != version:
            raise InputError(f'it has {name} {found.get(name)}, the main process has {version}')


def _check_threads(worker: Any) -> None:
    if worker.state.nthreads != 1:
        raise InputError(f'it has {worker.state.nthreads} threads, expected 1: start it with --nthreads=1')


#: The threads that JAX was started with in this worker process. It starts once and cannot change them.
_STARTED: dict[str, int] = {}


def _prepare(setup: Setup) -> str:
    """Runs on a worker before anything else does: start JAX as the main process did. Returns a note, or ''."""
    from demo_jax.compute import devices

    _check_versions(setup.versions)
    if _STARTED.setdefault('threads', setup.threads) != setup.threads:
        raise InputError(
            f'it has started JAX with NPROC={_STARTED["threads"]}, the main process has {setup.threads}; restart the '
            'worker, or set NPROC for the main process'
        )
    os.environ['NPROC'] = str(setup.threads)
    cores = min(len(os.sched_getaffinity(0)), 8)
    devices.configure(min(setup.host_devices or cores, setup.threads))
    return devices.keep_programs(setup.compilation_cache)


def _describe(setup: Setup, dask_worker: Any) -> Facts:
    """Runs on a worker: prepare it, and say what it has."""
    _check_threads(dask_worker)
    note = _prepare(setup)
    import jax

    local = jax.local_devices()
    memory = (local[0].memory_stats() or {}).get('bytes_limit')
    return Facts(socket.gethostname(), len(local), local[0].platform, memory, note)


def _sources_of(specs: Sequence[str]) -> dict[str, str]:
    """Each architecture of somebody's own -> checksum of its module's file, imported where this runs."""
    from demo_jax.nn.architecture import resolve

    found = {}
    for spec in specs:
        resolve(spec)  # says what is wrong with it
        if ':' in spec:
            path = importlib.import_module(spec.split(':')[0]).__file__
            found[spec] = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()[:12] if path else ''
    return found


class _Unwanted(Exception):
    """Nobody waits for this bundle any more: the main process has stopped, or has given it up."""


def _work(
    function: Callable[[Any, Any, Tell], Any], setup: Setup, topic: str, number: int, item: Any, shared: Any
) -> Any:
    """Runs on a worker, as a task of Dask: one bundle."""
    from distributed import get_worker

    worker = get_worker()
    try:  # it may have come after the others were described
        _check_threads(worker)
        _prepare(setup)
    except InputError as error:
        raise InputError(f'worker {worker.address}: {error}') from error
    key, told = worker.get_current_task(), [0.0]

    def tell(done: float, text: str) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == 'cancelled' or worker.status.name in ('closing', 'closed', 'failed'):
            raise _Unwanted
        if time.monotonic() - told[0] > 0.5:
            told[0] = time.monotonic()
            worker.log_event(topic, {'number': number, 'done': done, 'text': text})

    try:
        return function(item, shared, tell)
    except _Unwanted:
        return None


class Cluster:
    """Workers that bundles of work can be handed to; made by `connected`.

    Attributes:
      name: how messages call it, e.g. 'scheduler local:2'.
      facts: of the workers that were there at the start, by address.
    """

    def __init__(self, client: Any, scheduler: Scheduler, setup: Setup, facts: Mapping[str, Facts]):
        self.name, self.facts = f'scheduler {scheduler}', dict(facts)
        self._client, self._setup, self._patience = client, setup, scheduler.patience
        self._there, self._looked, self._alive = set(facts), time.monotonic(), time.monotonic()
        self._say: Callable[[str], object] = lambda text: None

    def __str__(self) -> str:
        hosts = len({facts.host for facts in self.facts.values()})
        platforms = '/'.join(sorted({facts.platform.upper() for facts in self.facts.values()}))
        where = f' on {hosts} hosts' if hosts > 1 else ''
        count = len(self.facts)
        return (
            f'{self.name}: {count} worker{"s" * (count > 1)}{where} with {self.devices} {platforms} '
            f'device{"s" * (self.devices > 1)}'
        )

    @property
    def workers(self) -> int:
        """How many workers there were at the start."""
        return len(self.facts)

    @property
    def devices(self) -> int:
        """Devices of all workers together."""
        return sum(facts.devices for facts in self.facts.values())

    @property
    def smallest(self) -> Facts:
        """The worker that holds least: bundles are made so that any worker can do them."""
        return min(self.facts.values(), key=lambda facts: (facts.devices, facts.memory or 0))

    def check_specs(self, specs: Sequence[str]) -> None:
        """See that every worker has the architectures, somebody's own with the same source.

        Raises:
          InputError: names the worker and what it does not have.
        """
        own = [spec for spec in specs if ':' in spec]
        if not own:
            return
        here = _sources_of(own)
        for address, found in self._on_all(_sources_of, own).items():
            for spec, checksum in found.items():
                if checksum != here[spec]:
                    raise InputError(f'{self.name}: worker {address}: spec {spec}: its module is not the same as here')

    def _on_all(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        return _on_workers(self._client, self.name, function, *arguments)

    def map(
        self,
        function: Callable[[Any, Any, Tell], Any],
        items: Iterable[Any],
        shared: Any = None,
        *,
        progress: Callable[[int, float, str], None] = lambda number, done, text: None,
        say: Callable[[str], object] = lambda text: None,
        label: Callable[[Any], str] = str,
    ) -> Generator[tuple[int, Any], None, None]:
        """Have workers call `function(item, shared, tell)` for each item; yields (number of the item, result).

        Results come in the order in which they are ready. An item that Dask gives up, since one worker after the other
        has died while having it, is tried once more when all others are done, alone: it may have been another's fault.
        When the caller stops early, workers give up at their next `tell`.

        Args:
          function: of a module that workers can import. It calls `tell` now and then.
          items: taken as workers need them, the first ones first.
          shared: what every call reads; it is sent to each worker once.
          progress: called in this thread with the number of an item, and what its `tell` was called with.
          say: called with a line when a worker is lost.
          label: what messages call an item.

        Raises:
          InputError: what `function` raised, or: workers died of an item, there are no workers left, the scheduler is
            gone. Other errors of `function` come as they are.
        """
        self._say = say
        suspects, died = list[tuple[int, Any, str]](), list[tuple[int, Any, str]]()
        yield from self._hand_out(function, enumerate(items), shared, progress, label, suspects)
        for number, item, _ in suspects:  # workers died of it, or of another that they had at the same time
            yield from self._hand_out(function, [(number, item)], shared, progress, label, died)
        if died:
            more = f' (and {len(died) - 1} more of its kind)' if len(died) > 1 else ''
            raise InputError(f'{self.name}: {died[0][2]}{more}')

    def _hand_out(
        self,
        function: Callable[[Any, Any, Tell], Any],
        entries: Iterable[tuple[int, Any]],
        shared: Any,
        progress: Callable[[int, float, str], None],
        label: Callable[[Any], str],
        died: list[tuple[int, Any, str]],
    ) -> Generator[tuple[int, Any], None, None]:
        """`map` over (number, item); an item that workers died of goes to `died`, with a message."""
        from distributed import CancelledError

        topic, messages = f'demo_jax-{uuid.uuid4().hex}', queue.SimpleQueue[Any]()
        self._client.subscribe_topic(topic, lambda event: messages.put(event[1]))
        waiting, running, again = iter(entries), dict[str, tuple[int, Any, Any]](), list[tuple[int, Any]]()
        held, sent, keys = None, 0, itertools.count()
        try:
            while True:
                while len(running) < 2 * len(self._there) + _WAITING and (entry := _next(again, waiting)):
                    if held is None or held.status != 'finished':
                        held, sent = self._send(shared, sent), sent + 1
                    future = self._client.submit(
                        _work, function, self._setup, topic, *entry, held, key=f'{topic}-{next(keys)}'
                    )
                    running[future.key] = (*entry, future)
                    future.add_done_callback(lambda future: messages.put(future.key))
                if not running:
                    break
                message = self._wait(messages)
                if isinstance(message, dict):
                    if any(number == message['number'] for number, *_ in running.values()):  # it may be late
                        progress(message['number'], message['done'], message['text'])
                    continue
                number, item, future = running.pop(message)
                if future.status == 'error':
                    died.append((number, item, self._cause(future, label(item))))
                    continue
                try:
                    result = future.result(timeout=self._patience)
                except (CancelledError, TimeoutError):  # what it reads, or its result, has died with its workers
                    again.append((number, item))
                else:
                    yield number, result
        finally:
            with contextlib.suppress(Exception):  # of a scheduler that is gone
                self._client.unsubscribe_topic(topic)
                self._client.cancel([future for *_, future in running.values()])

    def _send(self, shared: Any, sent: int) -> Any:
        """Give the shared data to every worker; wait for one where there is none."""
        self._check_alive()
        while not self._there:
            time.sleep(0.2)
            self._check_alive()
        if sent > _RESENT:
            raise InputError(f'{self.name}: its workers have died so often that their data was lost {sent} times')
        return self._client.scatter([shared], broadcast=True, hash=False)[0]

    def _cause(self, future: Any, label: str) -> str:
        """Why workers died of a bundle; anything else that it raised goes on."""
        from distributed import KilledWorker

        error = future.exception()
        if isinstance(error, KilledWorker):
            count = error.allowed_failures + 1
            return (
                f'{label}: {count} worker{"s" * (count > 1)} died while working on it, the last one '
                f'{error.last_worker.address}; see their logs (was there memory enough?). What is finished is kept, '
                'and the same command goes on'
            )
        if isinstance(error, InputError):
            raise InputError(f'{self.name}: {label}: {error}') from error
        raise error

    def _wait(self, messages: 'queue.SimpleQueue[Any]') -> Any:
        """The next message; meanwhile see that there are workers."""
        while True:
            if time.monotonic() - self._looked > 1:
                self._check_alive()
            with contextlib.suppress(queue.Empty):
                return messages.get(timeout=0.5)

    def _check_alive(self) -> None:
        """Tell of workers that are lost.

        Raises:
          InputError: the scheduler is gone, or all workers are and no other one came in time.
        """
        try:
            there = set(self._client.nthreads()) if self._client.status == 'running' else None
        except Exception:  # Dask's errors for a closed connection are of many kinds
            there = None
        if there is None:
            raise InputError(f'{self.name} is gone; what is finished is kept, and the same command goes on')
        now = self._looked = time.monotonic()
        for address in sorted(self._there - there):
            self._say(f'worker {address} is lost; what it had under way is given to another')
        self._there = there
        self._alive = now if there else self._alive
        if now - self._alive > self._patience:
            raise InputError(
                f'{self.name}: all workers are lost, and no other came within {self._patience:g} s; what is finished '
                'is kept, and the same command goes on'
            )


def _next(again: list[Any], waiting: Iterator[Any]) -> Any:
    """The next item to hand out, None if there is none."""
    return again.pop() if again else next(waiting, None)


def _on_workers(client: Any, name: str, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """Run a function on every worker, by address; the first error becomes one line that names its worker."""
    found = client.run(function, *arguments, on_error='return')
    for address, result in found.items():
        if isinstance(result, BaseException):
            raise InputError(f'{name}: worker {address}: {_reason(result)}') from result
    return found


def _reason(error: BaseException) -> str:
    if isinstance(error, InputError):
        return str(error)
    text = ' '.join(str(error).split())
    hint = '; is demo_jax installed there?' if isinstance(error, ImportError | AttributeError) else ''
    return f'{type(error).__name__}: {brief(text, 120)}{hint}'


def _threads(devices: int) -> int:
    """How many threads XLA has in this process."""
    text = os.environ.get('NPROC', '')
    return max(int(text) if text.isdecimal() and int(text) else len(os.sched_getaffinity(0)), devices)


@contextlib.contextmanager
def connected(scheduler: Scheduler | None, machine: Mapping[str, Any]) -> Iterator[Cluster | None]:
    """The workers of a scheduler, described and checked; workers on this machine live as long as the block.

    Args:
      scheduler: where; None: there are no workers, and the block gets None.
      machine: the section `machine` of the settings; `host_devices` and `compilation_cache` hold for workers too.

    Raises:
      InputError: Dask is not installed; the scheduler cannot be reached, or has no workers in time; a worker has
        another version of something, more than one thread, or cannot import this package.
    """
    if scheduler is None:
        yield None
        return
    try:
        import dask
        from distributed import Client, Security
    except ImportError as error:
        raise InputError(f'scheduler {scheduler}: Dask is not installed; pip install -e ".[cluster]"') from error
    import jax

    here, name = jax.local_device_count(), f'scheduler {scheduler}'
    setup = Setup(versions(), _threads(here), machine.get('host_devices', 0), machine.get('compilation_cache', ''))
    quiet = {'distributed.admin.large-graph-warning-threshold': '1TB'}  # a bundle holds a model and its sequences
    with contextlib.ExitStack() as held:
        held.enter_context(dask.config.set(quiet))
        for logger in ('distributed', 'distributed.client', 'distributed.gc'):  # errors and notes tell what matters
            logging.getLogger(logger).setLevel(logging.CRITICAL)
        where: Any = scheduler.address
        if scheduler.workers:
            where = held.enter_context(_local_workers(scheduler.workers))
            if jax.local_devices()[0].platform == 'cpu':
                setup = dataclasses.replace(setup, host_devices=max(1, here // scheduler.workers))
        if scheduler.address.startswith('tls:') and Security().get_connection_args('client')['ssl_context'] is None:
            raise InputError(f'{name}: no certificate is set; see docs/cluster.md, Security')
        try:
            client = held.enter_context(Client(where, timeout=scheduler.patience, set_as_default=False))
        except Exception as error:  # of a host that is not there, a port that answers something else, a certificate
            raise InputError(f'{name}: cannot be reached within {scheduler.patience:g} s ({_reason(error)})') from error
        try:
            client.wait_for_workers(max(1, scheduler.workers), timeout=scheduler.patience)
        except Exception as error:
            raise InputError(f'{name}: has no workers after {scheduler.patience:g} s') from error
        try:
            client.run_on_scheduler(_check_versions, setup.versions)
        except Exception as error:
            raise InputError(f'{name}: the scheduler process: {_reason(error)}') from error
        facts = _on_workers(client, name, _describe, setup)
        kinds = {found.platform: address for address, found in facts.items()}
        if len(kinds) > 1:  # such as a worker that has not found its GPU
            some = ', '.join(f'{address} has {kind.upper()} devices' for kind, address in sorted(kinds.items()))
            raise InputError(f'{name}: workers differ: {some}')
        for note in sorted({found.note for found in facts.values()} - {''}):
            print(f'note: {name}: {note}', file=sys.stderr)
        yield Cluster(client, scheduler, setup, facts)


@contextlib.contextmanager
def _local_workers(count: int) -> Iterator[Any]:
    """Worker processes on this machine, which nobody else can reach; each has GPUs of its own."""
    import dask
    import distributed

    security = _own_security()
    common = {
        'host': '127.0.0.1',
        'security': security,
        'protocol': 'tls' if security.require_encryption else 'tcp',
        # Dask opens an HTTP server without a dashboard, too, by default at port 8787, which another cluster may hold.
        'dashboard': False,
        'dashboard_address': '127.0.0.1:0',
    }
    of_workers = {
        'nthreads': 1,
        'memory_limit': 0,
        'silence_logs': logging.CRITICAL,
        # Ctrl-C reaches every process of a terminal: this one stops the workers in order.
        'preload': ['import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n'],
    }
    workers = {
        number: {'cls': distributed.Nanny, 'options': common | of_workers | {'env': environment}}
        for number, environment in enumerate(_gpus_of(count))
    }
    scheduler = {'cls': distributed.Scheduler, 'options': common | {'port': 0}}
    settings = {
        'distributed.worker.multiprocessing-method': 'spawn',  # JAX has threads, so that a fork would hang
        'distributed.nanny.pre-spawn-environ': {},  # it would be set in this process as well
    }
    with (
        dask.config.set(settings),
        distributed.SpecCluster(workers=workers, scheduler=scheduler, security=security, name='demo_jax') as cluster,
    ):
        yield cluster


def _own_security() -> Any:
    """A key of this process's own, without which other users of this machine could run code in its workers."""
    from distributed import Security

    try:
        return Security.temporary()
    except ImportError:
        print(
            'note: the package cryptography is not installed, so that other users of this machine can reach the '
            'workers; pip install -e ".[cluster]"',
            file=sys.stderr,
        )
        return Security(require_encryption=False)


def _gpus_of(count: int) -> list[dict[str, str]]:
    """What the environment of each worker on this machine says of GPUs: each gets its own, nothing without GPUs.

    Raises:
      InputError: more workers than GPUs.
    """
    import jax

    local = jax.local_devices()
    if local[0].platform != 'gpu':
        return [{}] * count
    if count > len(local):
        raise InputError(f'scheduler local:{count}: this machine has {len(local)} GPUs, and a worker needs its own')
    visible = os.environ.get('CUDA_VISIBLE_DEVICES', '')
    names = [name for name in visible.split(',') if name] or [str(number) for number in range(len(local))]
    return [{'CUDA_VISIBLE_DEVICES': ','.join(names[number::count])} for number in range(count)]
