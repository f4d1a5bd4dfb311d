"""Mutated files against every reader: what is not read is refused with one line, in bounded time and memory.

    python -m tests.robustness.fuzz --per_reader=10000 --seconds=600

Each reader runs in a process of its own, on small files that look real, one of which is damaged each time: bits and
bytes, lines and numbers, encodings, compression, the structure of JSON and NumPy files, and what lies in the file's
place (a directory, a loop of links, a pipe, a device, nothing). The same seed damages them in the same way.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from demo_jax.errors import InputError
from tests.robustness import fuzz_readers, fuzz_specials
from tests.robustness.mutation import mutated, replaced

#: Seconds of processor time after which a file counts as a hang, also of the special cases (which may be a million
#: records). Whoever waits uses none, so that there is a limit by the clock, too: so many times as long.
FILE_SECONDS, SPECIAL_SECONDS, BY_THE_CLOCK = 10.0, 90.0, 6.0
#: Seconds of a whole process beyond its share.
GRACE_SECONDS = 120.0
#: Characters of the longest message.
LONGEST_MESSAGE = 1500
MEGABYTE = 1 << 20


class Row(NamedTuple):
    """What became of the files that one reader was given.

    Attributes:
      reader: which reader, or which special case.
      files: how many it was given.
      accepted: read, with a result that holds what it should.
      refused: refused by an `InputError` of one line.
      unexpected: any other error, a result that does not hold together, a message of several lines, or a crash.
      hangs: not done within `FILE_SECONDS` of processor time, or `BY_THE_CLOCK` times as long.
      peak_mb: the largest memory (RSS) of its process, in MB.
      seconds: in all.
      examples: up to three unexpected ends, for whoever has to mend them.
    """

    reader: str
    files: int
    accepted: int
    refused: int
    unexpected: int
    hangs: int
    peak_mb: float
    seconds: float
    examples: list[str]


def run(
    per_reader: int = 10_000,
    seconds_limit: float = 900.0,
    *,
    readers: Sequence[str] | None = None,
    specials: bool = True,
    seed: int = 0,
    processes: int = 2,
) -> list[Row]:
    """Damage files, have them read, and count what came of it.

    Args:
      per_reader: files per reader.
      seconds_limit: for all readers together, special cases apart; a reader that has used up its equal share of
        what is left stops early, which shows in `files`.
      readers: names out of `fuzz_readers.READERS`; None = all.
      specials: also the special cases of `fuzz_specials.CASES` (gzip bombs, a line of 1 GB, ...), a row each.
      seed: of the damage. The same seed gives the same files.
      processes: how many share the readers among them.

    Returns:
      A row per reader and special case, in their order. `unexpected` and `hangs` should be 0, `peak_mb` below 1000.

    Raises:
      RuntimeError: a process of ours (not a reader's, which is counted) came to nothing.
    """
    names = list(fuzz_readers.READERS if readers is None else readers)
    cases = list(fuzz_specials.CASES) if specials else []
    environment = os.environ | {'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', 'JAX_PLATFORMS': 'cpu'}
    # Those that need jax are the last of the list: cut into two, one process would have them all.
    shares = [(names[number::processes], cases[number::processes]) for number in range(processes)]
    running = []
    for some, special in shares:
        request = {'per_reader': per_reader, 'seconds': seconds_limit, 'readers': some, 'seed': seed, 'cases': special}
        command = [sys.executable, '-m', 'tests.robustness.fuzz', f'--worker={json.dumps(request)}']
        root = pathlib.Path(__file__).resolve().parents[2]
        running.append(subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True))
    rows = {}
    for process in running:
        said, _ = process.communicate()
        rows |= {row.reader: row for row in (Row(**json.loads(line)) for line in said.splitlines() if line[:1] == '{')}
    missing = [name for name in [*names, *cases] if name not in rows]
    if missing:
        raise RuntimeError(f'no result of {", ".join(missing)}')
    return [rows[name] for name in [*names, *cases]]


class _Hang(BaseException):
    """A file took too long. Not an `Exception`, which readers of damaged files catch as a whole."""


def _alarm(*_: object) -> None:
    raise _Hang


class _Counts:
    """Counts of one reader, by how files end."""

    def __init__(self, seconds: float = FILE_SECONDS) -> None:
        self._seconds = seconds
        self.files = self.accepted = self.refused = self.unexpected = self.hangs = 0
        self.examples: list[str] = []

    def unexpectedly(self, what: str) -> None:
        """Note an end that should not be."""
        self.unexpected += 1
        if len(self.examples) < 3:
            self.examples.append(what)

    def attempt(self, read: Callable[[], Any], what: str) -> None:
        """Call a reader, and note how it ends."""
        self.files += 1
        before = {number: signal.signal(number, _alarm) for number in (signal.SIGPROF, signal.SIGALRM)}
        signal.setitimer(signal.ITIMER_PROF, self._seconds)
        signal.setitimer(signal.ITIMER_REAL, BY_THE_CLOCK * self._seconds)
        try:
            read()
            self.accepted += 1
        except InputError as error:
            text = str(error)
            if text and text.isprintable() and len(text) <= LONGEST_MESSAGE:
                self.refused += 1
            else:
                self.unexpectedly(f'{what}: message {text[:200]!r}')
        except _Hang:
            self.hangs += 1
            if len(self.examples) < 3:
                self.examples.append(f'{what}: hang')
        except Exception:
            last = ' | '.join(traceback.format_exc().strip().splitlines()[-7:])
            self.unexpectedly(f'{what}: {last[-700:]}')
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)


def _reader(name: str, per_reader: int, seconds: float, seed: int, folder: pathlib.Path) -> _Counts:
    reader = fuzz_readers.READERS[name](folder)
    rng = random.Random(f'{seed} {name}')
    counts, begun = _Counts(), time.monotonic()
    reader.read()  # as they are, they must be read
    originals = {path: path.read_bytes() for path in map(folder.joinpath, reader.files)}
    for number in range(per_reader):
        if time.monotonic() - begun > seconds:
            break
        path = rng.choice(list(originals))
        what = f'{name} {number} {path.name}'
        if rng.random() < 0.03:
            what += f' {replaced(path, rng)}'
        else:
            path.write_bytes(mutated(path.name, originals[path], rng, list(originals.values())))
        counts.attempt(reader.read, what)
        _restore(path, originals[path])
        reader.tidy()
    return counts


def _restore(path: pathlib.Path, data: bytes) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _special(name: str, folder: pathlib.Path) -> _Counts:
    counts = _Counts(SPECIAL_SECONDS)
    for what, read in fuzz_specials.CASES[name](folder):
        counts.attempt(read, f'{name}: {what}')
    return counts


@contextlib.contextmanager
def memory_folder() -> Iterator[pathlib.Path]:
    """A temporary folder, in memory where there is such a place: every file is flushed to the disk many times."""
    shm = pathlib.Path('/dev/shm')
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() and os.access(shm, os.W_OK) else None) as folder:
        yield pathlib.Path(folder)


def _isolated(name: str, work: Callable[[pathlib.Path], _Counts], seconds: float) -> Row:
    """Do the work in a process of its own with a temporary folder, and measure it."""
    with memory_folder() as place:
        answer, begun = place / 'answer.json', time.monotonic()
        sys.stdout.flush()
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # jax warns of forks; nothing of it has started yet
            child = os.fork()
        if not child:
            _child(place, answer, work)
        status, peak = _wait(child, seconds + GRACE_SECONDS)
        empty: dict[str, Any] = {'files': 0, 'accepted': 0, 'refused': 0, 'unexpected': 0, 'hangs': 0, 'examples': []}
        counts = json.loads(answer.read_text()) if status == 0 else empty
        if status is None:
            counts = empty | {'files': 1, 'hangs': 1, 'examples': [f'{name}: its process did not end']}
        elif status:
            counts['unexpected'] += 1
            said = (place / 'stderr').read_text(errors='replace')[-700:] if (place / 'stderr').exists() else ''
            last = ' | '.join(said.splitlines())
            counts['examples'].append(f'{name}: its process ended with wait status {status}: {last}')
        return Row(reader=name, peak_mb=round(peak, 1), seconds=round(time.monotonic() - begun, 1), **counts)


def _child(place: pathlib.Path, answer: pathlib.Path, work: Callable[[pathlib.Path], _Counts]) -> None:
    """The forked process: never returns."""
    status = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        # Of what libraries print about damaged files, only the last words of a crash are of use.
        os.dup2(os.open(place / 'stderr', os.O_WRONLY | os.O_CREAT, 0o600), 2)
        (place / 'work').mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            counts = work(place / 'work')
        answer.write_text(json.dumps({name: value for name, value in vars(counts).items() if name[0] != '_'}))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _wait(child: int, seconds: float) -> tuple[int | None, float]:
    """Wait status of a child (None if it had to be ended) and its peak memory in MB."""
    ended = time.monotonic() + seconds
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            return status, usage.ru_maxrss / 1024
        if time.monotonic() > ended:
            os.kill(child, signal.SIGKILL)
            return None, os.wait4(child, 0)[2].ru_maxrss / 1024
        time.sleep(0.01)


def _work(request: dict[str, Any]) -> Iterator[Row]:
    """All rows, one after the other."""
    # A reader that asks for far too much is stopped before the machine is.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 33, resource.RLIM_INFINITY))
    ends = time.monotonic() + request['seconds']
    names = sorted(request['readers'], key=lambda name: fuzz_readers.READERS[name].heavy)
    for place, name in enumerate(names):
        share = max((ends - time.monotonic()) / (len(names) - place), 1.0)
        arguments = (request['per_reader'], share, request['seed'])
        reader = fuzz_readers.READERS[name]
        reader.prepare()
        yield _isolated(name, lambda folder, name=name, arguments=arguments: _reader(name, *arguments, folder), share)
    for name in request['cases']:
        yield _isolated(name, lambda folder, name=name: _special(name, folder), 1200.0)


def main() -> None:
    """Print a line per reader, and fail if anything unexpected was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--per_reader', type=int, default=10_000, help='files per reader')
    parser.add_argument('--seconds', type=float, default=900.0, help='for all readers together')
    parser.add_argument('--readers', default='', help='only these, separated by commas')
    parser.add_argument('--seed', type=int, default=0, help='of the damage')
    parser.add_argument('--no_specials', action='store_true', help='leave out the special cases')
    parser.add_argument('--worker', default='', help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.worker:
        for row in _work(json.loads(flags.worker)):
            print(json.dumps(row._asdict()), flush=True)
        return
    chosen = [name for name in flags.readers.split(',') if name] or None
    rows = run(flags.per_reader, flags.seconds, readers=chosen, seed=flags.seed, specials=not flags.no_specials)
    for row in rows:
        counts = '  '.join(f'{name} {getattr(row, name):6d}' for name in Row._fields[1:6])
        print(f'{row.reader:28s} {counts}  peak {row.peak_mb:6.1f} MB  {row.seconds:6.1f} s')
        for example in row.examples:
            print(f'    {example}')
    sys.exit(any(row.unexpected or row.hangs or row.peak_mb > 1000 for row in rows))


if __name__ == '__main__':
    main()
