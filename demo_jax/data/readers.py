"""From files on disk to the records of tasks: DeepBind, DeepMotif, labelled FASTA, BED (edge: touches the disk)."""

import contextlib
import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from demo_jax.data import intervals, peak_files
from demo_jax.data.build import Records, TaskRecords, add_shuffles, build_corpus, hold_out, task_rng
from demo_jax.data.corpus import Corpus, clean_name
from demo_jax.data.genome import Genome
from demo_jax.errors import InputError, brief, listed
from demo_jax.io.textfile import check_size, encode_all, read_fasta, read_lines

# A file's name may hold anything, line ends too.
_DEEPBIND = re.compile(r'(?P<task>.+)_(?P<part>AC|B)\.seq(\.gz)?', re.DOTALL)
_DEEPMOTIF = re.compile(r'(?P<part>train|test)\.(fa|fasta)(\.gz)?')
_FASTA = re.compile(r'(?P<task>.+?)(\.(?P<part>train|test))?\.(fa|fasta|fna)(\.gz)?', re.DOTALL)
_DEEPBIND_HEADER = [b'FoldID', b'EventID', b'seq', b'Bound']


@dataclasses.dataclass(frozen=True)
class TaskFiles:
    """Where one task lies: its name, the layout, and the files (`test` is None where none is given)."""

    name: str
    source: str
    train: pathlib.Path
    test: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """The options of reading, besides the files: see `read_tasks`.

    `genome` is open where `peaks` are given, and `blacklist` is read where they name one.
    """

    seed: int
    test_fraction: float | None
    peaks: intervals.PeakOptions | None
    genome: Genome | None
    blacklist: intervals.Blacklist | None = None


@dataclasses.dataclass(frozen=True)
class FileFormat:
    """One layout of files on disk.

    Attributes:
      expected: the names of its files, for messages.
      find: of (files, path): the tasks among `files`, which are all files below the folder `path`, or the file `path`
        and its partner.
      read: of (task, options): reads one task.
    """

    expected: str
    find: Callable[[Sequence[pathlib.Path], pathlib.Path], list[TaskFiles]]
    read: Callable[[TaskFiles, ReadOptions], TaskRecords]


def find_tasks(source: str, paths: Sequence[str | os.PathLike]) -> list[TaskFiles]:
    """What tasks there are under files or folders (searched through and through), without reading them.

    Names come from files' names or, where a path is given as 'NAME=path', are those given; both are made printable by
    `corpus.clean_name`. Links to folders are not followed.

    Args:
      source: 'deepbind' (`X_AC.seq.gz` with `X_B.seq.gz`), 'deepmotif' (`X/train.fa` with `X/test.fa`),
        'fasta' (`X.fa`, and `X.test.fa` where there is one), 'bed' (`X.bed`, `X.narrowPeak`...), or 'auto':
        whatever there is of the first two, or else of the third.
      paths: files and folders. One with a name must hold one task.

    Returns:
      the tasks, sorted by name.

    Raises:
      InputError: a path does not exist, holds nothing of that layout, or several tasks where one name is given, or a
        partner file is missing.
    """
    if source not in ('auto', *FILE_FORMATS):
        raise InputError(f'source is {brief(source)}, expected one of auto, {", ".join(FILE_FORMATS)}')
    if not paths:
        raise InputError(f'source {source!r} needs an input: a file or a folder')
    tasks = []
    for name, path in map(split_name, paths):
        files = _files(path)
        if source == 'auto':
            found = FILE_FORMATS['deepbind'].find(files, path) + FILE_FORMATS['deepmotif'].find(files, path)
            found = found or FILE_FORMATS['fasta'].find(files, path)
        else:
            found = FILE_FORMATS[source].find(files, path)
        if not found:
            expected = _EXPECTED_BY_AUTO if source == 'auto' else FILE_FORMATS[source].expected
            raise InputError(f'{path}: holds no tasks, expected {expected}')
        if name is not None:
            if len(found) > 1:
                names = listed(task.name for task in found)
                raise InputError(f'{path}: holds {len(found)} tasks ({names}), but is given one name, {brief(name)}')
            found = [dataclasses.replace(found[0], name=clean_name(name))]
        tasks += found
    return sorted(dict.fromkeys(tasks), key=lambda task: task.name)


def split_name(given: str | os.PathLike) -> tuple[str | None, pathlib.Path]:
    """An input 'NAME=path' as (name, path); one without a name, or that exists as it stands, as (None, path)."""
    text = os.fspath(given)
    name, equals, path = text.partition('=')
    if not equals or not name.strip() or '/' in name or not path or os.path.lexists(text):
        return None, pathlib.Path(text)
    return name, pathlib.Path(path)


def check_names(tasks: Sequence[TaskFiles]) -> None:
    """See that no two tasks have the same name.

    Raises:
      InputError: two have; names the files, and says how to name tasks.
    """
    known: dict[str, TaskFiles] = {}
    for task in tasks:
        other = known.setdefault(task.name, task)
        if other is not task:
            raise InputError(
                f'two inputs are called {task.name!r}: {other.train} and {task.train}; name them as in '
                f'{task.name}_1={other.train},{task.name}_2={task.train}'
            )


def _files(path: pathlib.Path) -> list[pathlib.Path]:
    """A file and the partner beside it, or all files below a folder, sorted; hidden ones are left out."""
    if os.path.isfile(path):
        partners = [
            path.with_name(_partner(path, source))
            for pattern, source in ((_DEEPBIND, 'deepbind'), (_DEEPMOTIF, 'deepmotif'))
            if pattern.fullmatch(path.name)
        ]
        return [path, *(partner for partner in partners if os.path.isfile(partner))]
    if not os.path.isdir(path):
        there = os.path.lexists(path)
        raise InputError(f'{path}: is neither a file nor a folder' if there else f'{path}: does not exist')
    paths = []
    for folder, names, files in os.walk(path):
        names[:] = [name for name in names if not name.startswith('.')]
        paths += [pathlib.Path(folder, name) for name in files if not name.startswith('.')]
    return sorted(paths)


def _partners(files: Iterable[pathlib.Path], pattern: re.Pattern, source: str) -> list[TaskFiles]:
    """Training and test files of one layout, brought together."""
    groups: dict[tuple[pathlib.Path, str], dict[str, pathlib.Path]] = {}
    for file in files:
        match = pattern.fullmatch(file.name)
        if not match or (source == 'fasta' and _DEEPMOTIF.fullmatch(file.name)):
            continue
        task = clean_name(file.absolute().parent.name if source == 'deepmotif' else match['task'])
        is_test = match['part'] in ('B', 'test')
        group = groups.setdefault((file.parent, task), {})
        part = 'test' if is_test else 'train'
        if part in group:
            raise InputError(f'{file}: is the second {part} file of task {task!r}, beside {group[part].name}')
        group[part] = file
    tasks = []
    for (_, task), group in groups.items():
        if 'train' not in group or ('test' not in group and source != 'fasta'):
            there = next(iter(group.values()))
            missing = 'training' if 'train' not in group else 'test'
            raise InputError(f'{there}: the {missing} file that belongs to it ({_partner(there, source)}) is missing')
        tasks.append(TaskFiles(task, source, group['train'], group.get('test')))
    return tasks


def _partner(file: pathlib.Path, source: str) -> str:
    if source == 'deepbind':
        return re.sub(r'_(AC|B)(\.seq(\.gz)?)\Z', lambda m: ('_B' if m[1] == 'AC' else '_AC') + m[2], file.name)
    if 'train' in file.name:
        return file.name.replace('train', 'test')
    return file.name.replace('test', 'train') if source == 'deepmotif' else file.name.replace('.test', '')


def read_tasks(
    source: str,
    paths: Sequence[str | os.PathLike],
    *,
    tasks: Sequence[str] | None = None,
    seed: int = 0,
    test_fraction: float | None = None,
    peaks: intervals.PeakOptions | None = None,
    progress: Callable[[list[TaskFiles]], Iterable[TaskFiles]] | None = None,
) -> list[TaskRecords]:
    """Read all tasks of some files and folders.

    Letters may be lower case; N and the other IUPAC letters become N; sequences may differ in length;
    files may be gzip or plain, with Unix or Windows line ends.

    Args:
      source, paths: see `find_tasks`.
      tasks: only these tasks; None = all.
      seed: seeds what is held out and drawn, together with each task's name.
      test_fraction: share of the pairs held out for testing where a FASTA file has no test file (default
        0.1), or where no peak lies on a test chromosome (BED; default: refused).
      peaks: how peaks become windows; needed for 'bed'. Its blacklist is no task, wherever it lies.
      progress: wraps the list of tasks, e.g. `tqdm`.

    Raises:
      InputError: one line that names the file and the record.
    """
    if test_fraction is not None and not 0 < test_fraction < 1:
        raise InputError(f'test_fraction is {test_fraction}, expected a number above 0 and below 1')
    inputs = find_tasks(source, paths)
    if peaks is not None and peaks.blacklist is not None:  # it may lie in the folder of the peaks
        inputs = [task for task in inputs if os.path.realpath(task.train) != os.path.realpath(peaks.blacklist)]
        if not inputs:
            raise InputError(f'{peaks.blacklist}: is the only peak file, and the blacklist too')
    if tasks is not None:
        there = [task.name for task in inputs]
        for name in tasks:
            if name not in there:
                raise InputError(f'no task {name!r} in the input; it holds {listed(there)}')
        inputs = [task for task in inputs if task.name in set(tasks)]
    check_names(inputs)
    if any(task.source == 'bed' for task in inputs) and peaks is None:
        raise InputError('BED input needs a genome FASTA')
    with contextlib.ExitStack() as held:
        genome, blacklist = None, None
        if peaks is not None and source == 'bed':
            genome = held.enter_context(contextlib.closing(Genome(peaks.genome)))
            if peaks.blacklist is not None:
                blacklist = intervals.read_blacklist(peaks.blacklist, genome)
        options = ReadOptions(seed, test_fraction, peaks, genome, blacklist)
        found = inputs if progress is None else progress(inputs)
        return [FILE_FORMATS[task.source].read(task, options) for task in found]


def read_corpus(
    source: str,
    paths: Sequence[str | os.PathLike],
    *,
    valid_fraction: float = 0.1,
    seed: int = 0,
    **options: Any,
) -> Corpus:
    """`read_tasks` (which takes the other options) and `build_corpus` in one."""
    records = read_tasks(source, paths, seed=seed, **options)
    return build_corpus(records, valid_fraction=valid_fraction, seed=seed, source=source)


def _find_peaks(files: Sequence[pathlib.Path], path: pathlib.Path) -> list[TaskFiles]:
    chosen = [file for file in files if peak_files.is_peaks(file)] or [path] * os.path.isfile(path)
    return [TaskFiles(clean_name(peak_files.task_name(file)), 'bed', file) for file in chosen]


def _read_peaks(task: TaskFiles, options: ReadOptions) -> TaskRecords:
    assert options.genome is not None and options.peaks is not None  # or `read_tasks` has refused it
    return intervals.read_peak_task(
        task.name, task.train, options.genome, options.peaks, options.test_fraction, options.seed, options.blacklist
    )


def _read_deepbind(task: TaskFiles, options: ReadOptions) -> TaskRecords:
    """AC: training positives, which get shuffles later; B: positives and shuffles for testing."""
    del options
    assert task.test is not None  # `find_tasks` refuses a half
    return TaskRecords(
        task.name,
        _deepbind_file(task.train),
        _deepbind_file(task.test),
        {'files': [str(task.train), str(task.test)]},
    )


def _deepbind_file(path: pathlib.Path) -> Records:
    letters: list[bytes] = []
    names, labels, size = [], [], 0
    for line in read_lines(path):
        cells = line.text.split(b'\t')
        if line.number == 1:
            if cells != _DEEPBIND_HEADER:
                raise InputError(
                    f'{path}: line 1 is {brief(_text(line.text))}, expected the columns FoldID, EventID, seq, Bound'
                )
            continue
        if not line.text.strip():
            continue
        if len(cells) != 4:
            raise InputError(f'{path}: line {line.number} has {len(cells)} columns, expected 4')
        if cells[3] not in (b'0', b'1'):
            raise InputError(f'{path}: line {line.number}: Bound is {brief(_text(cells[3]))}, expected 0 or 1')
        if not cells[2]:
            raise InputError(f'{path}: line {line.number}: seq is empty')
        size += len(cells[2])
        check_size(path, len(letters) + 1, size)
        names.append(_text(cells[1]))
        letters.append(cells[2])
        labels.append(int(cells[3]))
    _need_positives(path, labels)
    return Records(encode_all(path, letters, names), labels, names)


def _read_labelled(task: TaskFiles, options: ReadOptions) -> TaskRecords:
    """A DeepMotif folder, or a labelled FASTA file with or without a test file."""
    train = _labelled_file(task.train)
    info: dict[str, Any] = {'files': [str(task.train)]}
    if task.test is None:
        if all(train.labels):  # each shuffle is to go where its positive goes
            train = add_shuffles(train, task_rng(options.seed, task.name, 'shuffle'))
            info['shuffles_made'] = len(train.labels) // 2
        test_fraction = options.test_fraction or 0.1
        train, test = hold_out(train, test_fraction, task_rng(options.seed, task.name, 'test'))
        info['test_fraction'] = test_fraction
    else:
        test = _labelled_file(task.test)
        info['files'].append(str(task.test))
    return TaskRecords(task.name, train, test, info)


def _labelled_file(path: pathlib.Path) -> Records:
    letters, names, labels = [], [], []
    for record in read_fasta(path):
        label, name = _label(path, record.number, record.header)
        labels.append(label)
        names.append(name or f'record_{record.number}')
        letters.append(record.letters)
    _need_positives(path, labels)
    return Records(encode_all(path, letters, names), labels, names)


def _label(path: pathlib.Path, number: int, header: str) -> tuple[int, str]:
    """The label in a FASTA header, and the rest of it: '>1', '> 1', '>peak7 0', '>1|peak7', '>peak7 label=1'."""
    fields = [field for field in re.split(r'[\s|]+', header) if field]
    tagged = [field for field in fields if field.startswith('label=')]
    if tagged:
        places = [fields.index(field) for field in tagged]
    else:
        places = [place for place in dict.fromkeys((0, len(fields) - 1)) if fields and fields[place] in ('0', '1')]
    values = {fields[place].removeprefix('label=') for place in places}
    if len(values) != 1 or not values <= {'0', '1'}:
        raise InputError(
            f'{path}: record {number}: header {brief(">" + header)}, expected a label 0 or 1 as its first or last '
            "field or as 'label=1'"
        )
    # Where first and last field are both the label, only the first is taken for it.
    rest = [field for place, field in enumerate(fields) if place != places[0]]
    return int(values.pop()), ' '.join(rest)


def _need_positives(path: pathlib.Path, labels: Sequence[int]) -> None:
    if not any(labels):
        raise InputError(f'{path}: no positives among {len(labels)} records, expected at least one')


def _text(data: bytes) -> str:
    return data.decode('utf-8', 'replace')


#: Every layout by the name of its source. Another one is another entry here, and a function that reads it.
FILE_FORMATS: dict[str, FileFormat] = {
    'deepbind': FileFormat(
        'X_AC.seq.gz with X_B.seq.gz', lambda files, _: _partners(files, _DEEPBIND, 'deepbind'), _read_deepbind
    ),
    'deepmotif': FileFormat(
        'X/train.fa with X/test.fa', lambda files, _: _partners(files, _DEEPMOTIF, 'deepmotif'), _read_labelled
    ),
    'fasta': FileFormat('X.fa or X.fasta', lambda files, _: _partners(files, _FASTA, 'fasta'), _read_labelled),
    'bed': FileFormat('X.bed or X.narrowPeak', _find_peaks, _read_peaks),
}
_EXPECTED_BY_AUTO = 'X_AC.seq.gz with X_B.seq.gz, X/train.fa with X/test.fa, or X.fa'
