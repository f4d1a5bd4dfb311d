r"""How far this package can be trusted, measured: kills, full disks, poisoned tasks, damaged files, mutants, coverage.

    python -m tests.robustness                    # about 20 minutes on 2 cores; writes RELIABILITY.md
    python -m tests.robustness --short --out=/tmp/short.md
    python -m tests.robustness --only=kills,mutants --out=/tmp/some.md

The status is 1 where something is not as it should be; the table says what. Of the long form's parts, those that use
one core each run side by side.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.robustness import faults
from tests.robustness.mutants import MUTANTS, ROOT
from tests.robustness.oracles import ORACLES

#: Packages of the core, and the share of their lines and branches that tests must reach.
CORE, LEAST_COVERAGE = ('data', 'nn', 'training', 'evaluation', 'explain', 'motifs'), 0.95
LEAST_KILLED = 0.95
MOST_MEGABYTES = 1000
#: Tests that say nothing of the core's coverage: pages, pictures, commands in other processes, this machinery.
OTHERS = (
    'architecture',
    'benchmark',
    'browser',
    'cluster',
    'determinism',
    'figures',
    'main_command',
    'notebook',
    'page',
    'plots',
    'robustness',
    'runs',
)
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'scipy')


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table: what was tried, how often, what came of it, and whether that is as it should be."""

    what: str
    tried: str
    found: str
    good: bool
    seconds: float = 0.0
    details: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Size:
    """How much of each part is done."""

    kills: int
    files: int
    file_seconds: float
    specials: bool
    mutants: int


LONG = Size(kills=20, files=10_000, file_seconds=540.0, specials=True, mutants=len(MUTANTS))
SHORT = Size(kills=2, files=50, file_seconds=20.0, specials=False, mutants=6)
Say = Callable[[str], None]


def killed(size: Size, say: Say) -> list[Row]:
    """Training and explaining, killed and gone on with."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, faults.Launcher() as launcher:
        trained = pathlib.Path(folder) / 'trained'
        ended = faults.reference(launcher, trained, faults.STAGES['train'])
        for number, stage in enumerate(faults.STAGES):
            start, place = time.monotonic(), pathlib.Path(folder) / stage
            place.mkdir()
            result = faults.kills(
                size.kills, stage, place, launcher=launcher, trained=(trained, ended), seed=number, say=say
            )
            kinds = {'event': 'at a write', 'after': 'within 30 ms of one', 'time': 'at any time'}
            how = ', '.join(f'{result.killed[kind]} {words}' for kind, words in kinds.items() if kind in result.killed)
            rows.append(
                Row(
                    f'SIGKILL while {stage}ing, then the same command again',
                    f'{result.count} kills ({how})',
                    f'{result.whole} runs came to their end, {len(result.different)} of their files differ from an '
                    f'undisturbed run, {len(result.left)} temporary files left',
                    not result.different,
                    time.monotonic() - start,
                    tuple(result.different),
                )
            )
    return rows


def tests_of(what: str, files: Sequence[str], selected: str = '') -> Callable[[Size, Say], list[Row]]:
    """A part that runs tests and counts them."""

    def run(size: Size, say: Say) -> list[Row]:
        del size
        start = time.monotonic()
        command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-p', 'no:xdist']
        paths = [f'test_{file}.py' for file in files]
        paths = [f'tests/{"" if (ROOT / "tests" / path).exists() else "robustness/"}{path}' for path in paths]
        command += paths + (['-k', selected] if selected else [])
        done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)
        counted = re.findall(r'(\d+) (passed|failed|skipped|errors?)', done.stdout)
        counts = {word: int(number) for number, word in counted}
        failing = tuple(re.findall(r'^(?:FAILED|ERROR) (.*)', done.stdout, re.MULTILINE))
        say(f'{what}: {counts}')
        total = sum(counts.values())
        found = ', '.join(f'{number} {word}' for word, number in counts.items()) or 'no test ran'
        good = done.returncode == 0 and counts.get('passed', 0) > 0
        return [Row(what, f'{total} tests', found, good, time.monotonic() - start, failing)]

    return run


def fuzzed(size: Size, say: Say) -> list[Row]:
    """Damaged files against every reader."""
    from tests.robustness import fuzz

    start = time.monotonic()
    found = fuzz.run(size.files, size.file_seconds, specials=size.specials)
    files, refused, accepted = (sum(getattr(row, name) for row in found) for name in ('files', 'refused', 'accepted'))
    unexpected, hangs = (sum(getattr(row, name) for row in found) for name in ('unexpected', 'hangs'))
    peak = max(row.peak_mb for row in found)
    say(f'{files} damaged files: {unexpected} unexpected errors, {hangs} hangs')
    details = [
        f'{row.reader}: {row.files:,} files, {row.refused:,} refused, peak {row.peak_mb:.0f} MB' for row in found
    ]
    details += [f'{row.reader}: {example}' for row in found for example in row.examples]
    return [
        Row(
            f'Damaged files, {len(found)} readers and special cases',
            f'{files:,} files',
            f'{refused:,} refused with one line, {accepted:,} read, {unexpected} other errors, {hangs} hangs, '
            f'at most {peak:.0f} MB',
            not unexpected and not hangs and peak < MOST_MEGABYTES,
            time.monotonic() - start,
            tuple(details),
        )
    ]


def mutated(size: Size, say: Say) -> list[Row]:
    """The core broken on purpose, in a process of its own since the tests run in forks of it."""
    start = time.monotonic()
    step = -(-len(MUTANTS) // size.mutants)
    code = (
        'import json\nfrom tests.robustness import mutants\n'
        f'found = mutants.judge_all(mutants.MUTANTS[::{step}], say=lambda text: print(text, flush=True))\n'
        'print(json.dumps([[v.mutant.file, v.mutant.old, v.mutant.new, v.by] for v in found]))'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', code], cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = ''
    for line in process.stdout:
        if not line.startswith('[['):
            say(line.rstrip())
    if process.wait():
        return [Row('Mutants of the core', '', f'could not be judged (status {process.returncode})', False)]
    verdicts = json.loads(line)
    alive = [(file, old, new) for file, old, new, by in verdicts if not by]
    share = 1 - len(alive) / len(verdicts)
    files = len({file for file, *_ in verdicts})
    return [
        Row(
            f'Mutants of the core ({files} files)',
            f'{len(verdicts)} mutants',
            f'{len(verdicts) - len(alive)} killed ({share:.0%})',
            share >= LEAST_KILLED,
            time.monotonic() - start,
            tuple(f'survived: {file}: `{old}` -> `{new}`' for file, old, new in alive),
        )
    ]


def covered(size: Size, say: Say) -> list[Row]:
    """Lines and branches of the core that its tests reach."""
    del size
    start = time.monotonic()
    files = [str(path.relative_to(ROOT)) for path in sorted((ROOT / 'tests').glob('test_*.py'))]
    files = [file for file in files if pathlib.Path(file).stem.removeprefix('test_') not in OTHERS]
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / 'coverage.json'
        command = [
            sys.executable,
            '-m',
            'pytest',
            '-q',
            '-n',
            '2',
            '--dist',
            'loadfile',
            '-p',
            'no:cacheprovider',
            '--cov=demo_jax',
            '--cov-branch',
            f'--cov-report=json:{report}',
            *files,
        ]
        environment = _environment() | {'COVERAGE_FILE': f'{folder}/data'}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        last, failed = '', list[str]()
        for line in process.stdout:
            last = line.strip() or last
            if line.startswith(('FAILED', 'ERROR')):
                failed.append(line.strip())
                say(failed[-1])
            if '%]' in line:
                say(f'coverage: {line.strip()[-6:]}')
        if process.wait():
            seconds = time.monotonic() - start
            return [Row('Coverage of the core', f'{len(files)} files of tests', last, False, seconds, tuple(failed))]
        measured = json.loads(report.read_text(encoding='utf-8'))['files']
    rows, everything = [], []
    for package in CORE:
        summaries = [found['summary'] for name, found in measured.items() if name.startswith(f'demo_jax/{package}/')]
        everything += summaries
        rows.append('{}: {:.1%} of lines, {:.1%} of branches'.format(package, *_shares(summaries)))
    lines, branches = _shares(everything)
    for name, found in sorted(measured.items()):
        part = _shares([found['summary']])
        if name.split('/')[1] in CORE and min(part) < LEAST_COVERAGE:
            missing = ', '.join(map(str, found['missing_lines'][:12]))
            rows.append(f'{name}: {part[0]:.1%} of lines, {part[1]:.1%} of branches; not run: {missing or "branches"}')
    return [
        Row(
            'Coverage of the core',
            f'{len(files)} files of tests',
            f'{lines:.1%} of lines, {branches:.1%} of branches',
            min(lines, branches) >= LEAST_COVERAGE,
            time.monotonic() - start,
            tuple(rows),
        )
    ]


def _shares(summaries: Sequence[dict[str, int]]) -> tuple[float, float]:
    """Shares of lines and of branches that ran."""
    lines, run, branches, taken = (
        sum(summary[name] for summary in summaries)
        for name in ('num_statements', 'covered_lines', 'num_branches', 'covered_branches')
    )
    return run / max(lines, 1), (taken / branches if branches else 1.0)


#: The parts by name. Those of the first group use about one core each and run side by side.
PARTS: dict[str, Callable[[Size, Say], list[Row]]] = {
    'fuzz': fuzzed,
    'kills': killed,
    'faults': tests_of('Full disks (injected, and a small file system), SIGTERM and Ctrl-C', ['faults'], 'not killed'),
    'workers': tests_of('The main command on Dask workers, killed and stopped', ['workers']),
    'isolation': tests_of('A poisoned task (labels, nothing but N, losses not finite) beside others', ['isolation']),
    'determinism': tests_of('The same bits in another process; another layout of the work', ['determinism']),
    'oracles': tests_of('Every printed number against an independent oracle', ['oracles']),
    'upgrades': tests_of('A run that an earlier version wrote', ['upgrades']),
    'tools': tests_of('TF-MoDISco on our export', ['tools']),
    'mutants': mutated,
    'coverage': covered,
}
LANES = (('fuzz',), ('kills', 'faults', 'workers', 'isolation', 'determinism', 'oracles', 'upgrades', 'tools'))


def measure(size: Size, only: Sequence[str], say: Say) -> dict[str, list[Row]]:
    """Run the parts: two lanes side by side, then those that use both cores."""

    def lane(names: Sequence[str]) -> dict[str, list[Row]]:
        found = {}
        for name in names:
            if name in only:
                say(f'--- {name}')
                try:
                    found[name] = PARTS[name](size, say)
                except Exception as error:  # a part that breaks is a result too; the others go on
                    text = ' '.join(str(error).split())[:300]
                    found[name] = [Row(name, '', f'{type(error).__name__}: {text}', False)]
        return found

    with ThreadPoolExecutor(len(LANES)) as pool:
        results = {name: rows for part in pool.map(lane, LANES) for name, rows in part.items()}
    results |= lane([name for name in PARTS if not any(name in names for names in LANES)])
    return {name: results[name] for name in PARTS if name in results}


def describe(results: dict[str, list[Row]], *, command: str, seconds: float) -> str:
    """The page."""
    versions = ', '.join(f'{name} {importlib.metadata.version(name)}' for name in PACKAGES)
    rows = [row for part in results.values() for row in part]
    text = [
        '# Reliability',
        '',
        f'Made by `{command}` on {time.strftime("%Y-%m-%d")} in {seconds / 60:.0f} minutes on {os.cpu_count()} cores: '
        f'Python {platform.python_version()}, {versions}. A shorter form of each part is in the tests that CI runs.',
        '',
        '| what | tried | found | as it should be | minutes |',
        '|---|---|---|---|---|',
    ]
    text += [
        f'| {row.what} | {row.tried} | {row.found} | {"yes" if row.good else "**no**"} | {row.seconds / 60:.1f} |'
        for row in rows
    ]
    for row in rows:
        if row.details:
            text += ['', f'## {row.what}', '', *(f'- {detail}' for detail in row.details)]
    text += [
        '',
        '## Which oracle checks which number',
        '',
        'Tests are `file::test` in `tests/test_*.py`.',
        '',
        '| what | oracle | tests |',
        '|---|---|---|',
    ]
    text += [
        f'| {what} | {oracle} | {" ".join(f"`{test}`" for test in tests.split())} |'
        for what, (oracle, tests) in ORACLES.items()
    ]
    return '\n'.join(text) + '\n'


def _environment() -> dict[str, str]:
    return os.environ | {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description='Measure how far the package can be trusted.')
    parser.add_argument('--short', action='store_true', help='a few of each')
    parser.add_argument('--only', default=','.join(PARTS), help=f'some of {",".join(PARTS)}')
    parser.add_argument('--out', default=str(ROOT / 'RELIABILITY.md'), help='the page to write')
    given = parser.parse_args(arguments)
    only = [name for name in given.only.split(',') if name]
    unknown = [name for name in only if name not in PARTS]
    if unknown:
        parser.error(f'no part {unknown[0]!r}; the parts are {", ".join(PARTS)}')
    start = time.monotonic()

    def say(text: str) -> None:
        print(f'[{(time.monotonic() - start) / 60:4.1f} min] {text}', flush=True)

    results = measure(SHORT if given.short else LONG, only, say)
    command = 'python -m tests.robustness' + (' --short' if given.short else '')
    page = describe(results, command=command, seconds=time.monotonic() - start)
    pathlib.Path(given.out).write_text(page, encoding='utf-8')
    rows = [row for part in results.values() for row in part]
    for row in rows:
        say(f'{"good" if row.good else "BAD "} {row.what}: {row.tried}; {row.found}')
    say(f'written: {given.out}')
    return int(not all(row.good for row in rows))


if __name__ == '__main__':
    sys.exit(main())
