r"""Faults on purpose: runs that are killed at chosen moments, and disks that are full.

A helper process imports JAX once and forks a child for every command, so that a round costs what the command
itself costs and not the seconds that Python takes to start. In the child an audit hook counts what touches the
run directory (opening for writing, renaming, removing, making folders, and each array of an .npz), and at the
count that the fault names it kills the process, or lets the disk be full.

    python -m tests.robustness.faults --kills=20 --stage=train   # status 1 if a bit differs
"""

import argparse
import contextlib
import dataclasses
import errno
import faulthandler
import gc
import importlib
import itertools
import json
import os
import pathlib
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tests.helpers import PROGRAMS, ROOT, XLA_FLAGS, contents, keep_programs

#: A corpus and a training that take seconds: three models, on two devices, so that one has to wait for its slot.
CONFIG = (
    '--config=configs/quickstart.py',
    '--config.corpus.n_tasks=3',
    '--config.corpus.n_train=60',
    '--config.corpus.n_test=12',
    '--config.corpus.simulation.length=60',
    '--config.specs=("small_cnn",)',
    '--config.recipe.epochs=4',
    '--config.recipe.batch_size=16',
    '--config.recipe.min_steps=0',
    '--config.evaluate.n_resamples=20',
    '--config.machine.segment_steps=7',
    '--config.machine.host_devices=2',
    '--config.checkpoint_seconds=0.0',
    '--config.explain.positives=6',
    '--config.explain.negatives=2',
    '--config.explain.integration_steps=2',
    '--config.explain.restarts=1',
    '--config.explain.optimisation_steps=4',
    '--config.explain.sufficient_starts=1',
    '--config.explain.sufficient_steps=4',
    '--config.match.jaspar=JASPAR2016',
    '--config.match.chance_draws=1',
)
#: The stages of the main command that each kind of kill interrupts.
STAGES = {'train': 'train,evaluate', 'explain': 'explain,match'}
#: Seconds after which a command that has not ended says where each of its threads stands, and ends with status 1.
LIMIT = 300
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_EVENTS = ('open', 'os.rename', 'os.remove', 'os.rmdir', 'os.mkdir', 'os.truncate', 'os.link', 'os.symlink')


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong, and when.

    Attributes:
      kind: 'none'; 'event', SIGKILL at a write; 'after', SIGKILL `seconds` after it; 'time', SIGKILL `seconds`
        after the start; 'full', every write from there on fails with ENOSPC; 'term' and 'int', that signal
        `seconds` after the write.
      event: the number of the write, from 1.
      seconds: see `kind`.
    """

    kind: str = 'none'
    event: int = 0
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended: `status` is its exit status, minus the signal's number where one ended it.

    `events` counts writes up to the end, 0 where it was killed before that. `struck` tells whether the fault came.
    `waited` is the time from a signal to the end.
    """

    status: int
    out: str
    err: str
    seconds: float
    events: int
    struck: bool
    waited: float


class Launcher:
    """Runs commands with faults, each in a child forked off a process that has imported what they need."""

    def __enter__(self) -> 'Launcher':
        # Compilation is most of what a round costs: quick, and once for all children.
        self._folder = tempfile.TemporaryDirectory()
        environment = os.environ | {
            'JAX_PLATFORMS': 'cpu',
            'PYTHONPATH': str(ROOT),
            **keep_programs(os.environ.get(PROGRAMS, self._folder.name)),
            'XLA_FLAGS': XLA_FLAGS,
        }
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'tests.robustness.faults', '--serve'],
            cwd=ROOT,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, *_: object) -> None:
        with self._folder, contextlib.suppress(BrokenPipeError), self._process:
            pass  # closes its pipes, and waits for it

    def run(
        self,
        module: str,
        flags: Sequence[str],
        root: pathlib.Path,
        fault: Fault | None = None,
        *,
        folder: pathlib.Path = ROOT,
        environment: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run `python -m MODULE FLAGS` with a fault that counts what is written below `root`.

        It runs in `folder`, with the variables of `environment` besides those of the launcher.
        """
        request = {
            'module': module,
            'flags': list(flags),
            'root': str(root),
            'fault': dataclasses.asdict(fault or Fault()),
            'folder': str(folder),
            'environment': dict(environment or {}),
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        answer = ''
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + '\n')
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f'the process that forks has ended with status {self._process.wait()}')
        return Ended(**json.loads(answer))


def _serve() -> None:
    """Read requests from stdin, one JSON object a line, and answer each when its child has ended."""
    _prepare()
    answers = os.fdopen(os.dup(1), 'w')
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            note = pathlib.Path(folder)
            start = time.monotonic()
            child = os.fork()
            if not child:
                _child(request, note)
            _, status = os.waitpid(child, 0)
            ended, read = time.monotonic(), lambda name, note=note: (note / name).read_text(errors='replace')
            struck = float(read('struck')) if (note / 'struck').exists() else None
            answer = Ended(
                status=os.waitstatus_to_exitcode(status),
                out=read('out'),
                err=read('err'),
                seconds=ended - start,
                events=int(read('events')) if (note / 'events').exists() else 0,
                struck=struck is not None,
                waited=0.0 if struck is None else ended - struck,
            )
        print(json.dumps(dataclasses.asdict(answer)), file=answers, flush=True)


def _prepare() -> None:
    """Import and read what most commands need, once for all children."""
    for name in ('backend_agg', 'backend_pdf', 'backend_svg'):
        importlib.import_module(f'matplotlib.backends.{name}')
    # JAX is imported before the forks, its backends start in the children.
    names = ('jax', 'orbax.checkpoint', 'tensorboardX', 'demo_jax.report.collect')
    for name in (*names, 'experiments.cli', 'experiments.pipeline', 'experiments.plan'):
        importlib.import_module(name)
    from demo_jax.data import simulate
    from demo_jax.motifs import jaspar

    for release in (None, simulate.RELEASE, 'JASPAR2016'):  # of other data, of simulated ones, of the paper
        jaspar.load_matrices(release)
    os.fsync = lambda _: None  # it is processes that are killed, not the machine
    gc.collect()
    gc.freeze()  # what is not walked over stays shared with the children
    gc.set_threshold(20_000, 20, 20)


def _child(request: dict[str, Any], note: pathlib.Path) -> None:
    """Run one command in this process, and end it."""
    status = 1
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        for number, name in ((1, 'out'), (2, 'err')):
            os.dup2(os.open(note / name, os.O_WRONLY | os.O_CREAT), number)
        faulthandler.dump_traceback_later(LIMIT, exit=True, file=2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(request['folder'])
        os.environ.update(request['environment'])
        folders = os.environ.get('PYTHONPATH', '').split(os.pathsep)  # read before, when Python started
        sys.path[1:1] = [folder for folder in folders if folder not in sys.path]
        _hear_platforms()
        count = _strike(Fault(**request['fault']), request['root'], note)
        sys.argv = [request['module'], *request['flags']]
        try:
            runpy.run_module(request['module'], run_name='__main__', alter_sys=True)
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        _put(note / 'events', str(count()))
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _hear_platforms() -> None:
    """Tell JAX what the environment says of platforms now: it was imported before."""
    import jax

    for variable, name in (('JAX_PLATFORMS', 'jax_platforms'), ('JAX_PLATFORM_NAME', 'jax_platform_name')):
        if variable in os.environ:
            jax.config.update(name, os.environ[variable])


def _put(path: pathlib.Path, text: str) -> None:
    """Write a file in one step: a process killed meanwhile leaves none, rather than an empty one."""
    half = path.with_suffix('.half')
    half.write_text(text)
    half.replace(path)


def _strike(fault: Fault, root: str, note: pathlib.Path) -> Callable[[], int]:
    """Arm a fault in this process; the result tells how many writes there have been."""
    numbers = itertools.count(1)
    last = [0]
    local = threading.local()

    def mark() -> None:
        _put(note / 'struck', str(time.monotonic()))

    def send(number: int) -> None:
        mark()
        os.kill(os.getpid(), number)

    def later(number: int) -> None:
        timer = threading.Timer(fault.seconds, send, (number,))
        timer.daemon = True
        timer.start()

    def write() -> None:
        if getattr(local, 'busy', False):
            return
        local.busy = True
        try:
            last[0] = next(numbers)
            if fault.kind == 'full' and last[0] >= fault.event:
                mark()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if last[0] != fault.event:
                return
            if fault.kind == 'event':
                send(signal.SIGKILL)
            elif fault.kind in ('after', 'term', 'int'):
                later({'after': signal.SIGKILL, 'term': signal.SIGTERM, 'int': signal.SIGINT}[fault.kind])
        finally:
            local.busy = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS or not arguments:
            return
        # Removing makes room; a full disk does not refuse it.
        if event == 'open' and not (isinstance(arguments[2], int) and arguments[2] & _WRITES):
            return
        if fault.kind == 'full' and event in ('os.remove', 'os.rmdir'):
            return
        path = arguments[0]
        path = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ''
        if path.startswith(root) and not path.endswith('.lock'):
            write()

    def array(*arguments: Any, **keywords: Any) -> Any:
        write()
        return write_array(*arguments, **keywords)

    write_array = np.lib.format.write_array
    np.lib.format.write_array = array
    sys.addaudithook(hook)
    if fault.kind == 'time':
        later(signal.SIGKILL)
    return lambda: last[0]


def leftovers(run: pathlib.Path) -> list[str]:
    """Temporary files and folders in a run directory."""
    return sorted(
        str(path.relative_to(run))
        for path in run.rglob('*')
        if path.name.endswith(('.tmp', '.old')) or 'orbax-checkpoint-tmp' in path.name
    )


@dataclasses.dataclass
class Kills:
    """What came of a number of kills.

    Attributes:
      stage: 'train' or 'explain'.
      killed: kills that struck, by kind.
      whole: how many times a run came to its end.
      different: files that differed from the undisturbed run's, 'run N: FILE', and runs that failed.
      left: temporary files that the last run left behind.
    """

    stage: str
    killed: dict[str, int] = dataclasses.field(default_factory=dict)
    whole: int = 0
    different: list[str] = dataclasses.field(default_factory=list)
    left: list[str] = dataclasses.field(default_factory=list)

    @property
    def count(self) -> int:
        """How many kills struck."""
        return sum(self.killed.values())


def command(workdir: pathlib.Path, stages: str, *flags: str) -> tuple[str, list[str]]:
    """The main command on the small corpus, with some stages: module and flags."""
    return 'experiments.paper', [*CONFIG, f'--stages={stages}', f'--workdir={workdir}', *flags]


def reference(launcher: Launcher, workdir: pathlib.Path, stages: str) -> Ended:
    """An undisturbed run.

    Raises:
      RuntimeError: it failed.
    """
    ended = launcher.run(*command(workdir, stages), workdir)
    if ended.status:
        raise RuntimeError(f'the undisturbed run failed: {ended.err}')
    return ended


def kills(
    count: int,
    stage: str,
    folder: pathlib.Path,
    *,
    launcher: Launcher,
    trained: tuple[pathlib.Path, Ended] | None = None,
    seed: int = 0,
    say: Callable[[str], object] = lambda text: None,
) -> Kills:
    """Kill the main command `count` times, each time go on, and compare every finished run with an undisturbed one.

    A third of the kills come at a write (before it is made: an open that leaves an empty file, a rename that
    leaves the temporary one, an .npz between two arrays), a third up to 30 ms after one (within Orbax's threads),
    a third at any time. When a run comes to its end before its kill, the next one begins from nothing.

    Args:
      count: how many kills must strike.
      stage: 'train' (with evaluate) or 'explain' (with match), which starts from a trained run.
      folder: an empty folder to work in.
      launcher: what runs the commands.
      trained: an undisturbed run with its tables, and how it ended; None: it is made.
      seed: of the moments.
      say: called with one line per kill.
    """
    rng = np.random.default_rng(seed)
    result = Kills(stage)
    undisturbed, usual = trained or (folder / 'trained', reference(launcher, folder / 'trained', STAGES['train']))
    before = None if stage == 'train' else undisturbed
    begin = _beginning(folder, before)
    if before is not None:
        undisturbed = next(begin)
        usual = reference(launcher, undisturbed, STAGES[stage])
    expected = contents(undisturbed)
    run, ended = next(begin), usual
    while result.count < count or ended.status < 0:
        fault = _drawn(rng, usual) if result.count < count else Fault()
        ended = launcher.run(*command(run, STAGES[stage]), run, fault)
        if ended.status == -signal.SIGKILL:
            result.killed[fault.kind] = result.killed.get(fault.kind, 0) + 1
            say(f'{stage}: kill {result.count} of {count} ({fault.kind}) after {ended.seconds:.1f} s')
            continue
        result.whole += 1
        if ended.status:
            result.different.append(f'run {result.whole}: status {ended.status}: {ended.err.strip()[-300:]}')
        found = contents(run)
        names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        result.different += [f'run {result.whole}: {name}' for name in names]
        result.left = leftovers(run)
        say(f'{stage}: a run came to its end, {len(names)} of {len(expected)} files differ')
        shutil.rmtree(run)
        if result.count < count:
            run = next(begin)
    return result


def _drawn(rng: np.random.Generator, usual: Ended) -> Fault:
    kind = ('event', 'after', 'time')[rng.integers(3)]
    return Fault(
        kind,
        event=int(rng.integers(1, max(2, usual.events // 2))),
        seconds=float(rng.uniform(0, usual.seconds) if kind == 'time' else rng.uniform(0, 0.03)),
    )


def _beginning(folder: pathlib.Path, before: pathlib.Path | None) -> Iterator[pathlib.Path]:
    """Run directories one after the other: not there yet, or copies of one."""
    for number in itertools.count():
        path = folder / f'run{number}'
        yield path if before is None else copied(before, path)


def copied(run: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    """A copy of a run directory."""
    shutil.copytree(run, path)
    return path


def steps(run: pathlib.Path) -> list[str]:
    """The checkpoints of a run that are whole."""
    return sorted(path.name for path in (run / 'checkpoints').glob('*') if path.name.isdigit())


@contextlib.contextmanager
def small_disk(folder: pathlib.Path, megabytes: float) -> Iterator[bool]:
    """A file system of this size at `folder`; False where this user or machine cannot mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    tool = shutil.which('mount')
    size = f'size={int(megabytes * 1024)}k'
    mounted = (
        bool(tool)
        and not subprocess.run(
            [str(tool), '-t', 'tmpfs', '-o', size, 'tmpfs', str(folder)], capture_output=True, check=False
        ).returncode
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(['umount', str(folder)], check=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description='Kill runs at random moments and compare what comes of them.')
    parser.add_argument('--serve', action='store_true', help='fork children for another process (internal)')
    parser.add_argument('--kills', type=int, default=20, help='how many kills must strike')
    parser.add_argument('--stage', choices=sorted(STAGES), default='train', help='what is killed')
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    given = parser.parse_args(arguments)
    if given.serve:
        _serve()
        return 0
    with tempfile.TemporaryDirectory() as folder, Launcher() as launcher:
        result = kills(given.kills, given.stage, pathlib.Path(folder), launcher=launcher, seed=given.seed, say=print)
    print(f'{result.count} kills {result.killed}, {result.whole} runs came to their end')
    print('\n'.join(result.different) or 'every parameter and table is that of the undisturbed run')
    print(f'temporary files left: {", ".join(result.left) or "none"}')
    return 1 if result.different else 0


if __name__ == '__main__':
    sys.exit(main())
