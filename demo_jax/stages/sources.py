"""One call from settings to a corpus, whatever its source, and a table of what is in it (edge: touches the disk)."""

import dataclasses
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from demo_jax.data import download as downloads
from demo_jax.data import intervals, readers, simulate, storage
from demo_jax.data.corpus import SPLITS, Corpus
from demo_jax.errors import InputError, brief, listed
from demo_jax.evaluation.proteins import check_told, find_protein, read_protein, told_symbols
from demo_jax.io.files import expanded
from demo_jax.io.settings import read_settings

ARCHIVE_NAME = 'deepbind.tar.gz'


def source_names() -> tuple[str, ...]:
    """The names of `SOURCES`."""
    return tuple(source.name for source in SOURCES)


# Metadata of fields: a path, and a tuple that configs write as text with commas between the parts.
_PATH = {'kind': 'path'}
_COMMAS = {'commas': True}


@dataclasses.dataclass(frozen=True)
class CorpusSettings:
    """Where the sequences come from. Settings behind a source's name are read for that source alone.

    Attributes:
      source: what the input is. auto: DeepBind and DeepMotif files wherever they lie in the input, or else labelled
        FASTA. deepbind: X_AC.seq.gz with X_B.seq.gz. deepmotif: X/train.fa with X/test.fa. fasta: X.fa with labels 0/1
        in the headers. bed: peaks, with `genome`. simulated: planted motifs, no input. deepmotif108: the 108 K562 sets,
        with `download` or the archive as `input`. prepared: a corpus on disk.
      input: files and folders to read, separated by commas; folders are searched. NAME=PATH names the task of a file.
      tasks: only these tasks, by name, separated by commas; none = all.
      seed: of shuffles, validation rows, held-out rows and the simulation.
      valid_fraction: share of the training pairs that is set aside to choose epochs and models by.
      test_fraction: share held out for testing where the input names no test set; 0 = 0.1 of FASTA, and peaks are
        refused.
      genome: bed: FASTA file of the genome.
      width: bed: letters per window, centred on the summit.
      top: bed: keep only so many peaks, the strongest; 0 = all.
      test_chroms: bed: chromosomes whose peaks are for testing, separated by commas.
      blacklist: bed: BED file of regions to leave out.
      negatives: bed: shuffle (dinucleotide shuffles of the positives), or gc (windows of the genome with the same GC
        content).
      n_tasks: simulated: how many of the 108 K562 tasks (or of `tasks`), spread over the list; 0 = all.
      n_train: simulated: training positives per task.
      n_test: simulated: test positives per task.
      n_pair_tasks: simulated: in so many tasks, the first, only the spacing of two motifs tells positives from
        negatives.
      jaspar: simulated: JASPAR release of the motifs.
      simulation: simulated: what the sequences look like, see `simulate.SimulationSettings`.
      download: deepmotif108: fetch the archive (107 MB) into `cache` unless it is there.
      cache: deepmotif108: folder where the archive is kept and unpacked.
    """

    source: str = dataclasses.field(default='auto', metadata={'choices': source_names})
    input: tuple[str, ...] = dataclasses.field(default=(), metadata=_PATH | _COMMAS)
    tasks: tuple[str, ...] = dataclasses.field(default=(), metadata=_COMMAS)
    seed: int = 0
    valid_fraction: float = 0.1
    test_fraction: float = 0.0
    genome: str = dataclasses.field(default='', metadata=_PATH)
    width: int = intervals.PeakOptions.width
    top: int = 0
    test_chroms: tuple[str, ...] = dataclasses.field(default=intervals.PeakOptions.test_chroms, metadata=_COMMAS)
    blacklist: str = dataclasses.field(default='', metadata=_PATH)
    negatives: str = dataclasses.field(
        default=intervals.PeakOptions.negatives, metadata={'choices': lambda: intervals.NEGATIVES}
    )
    n_tasks: int = 0
    n_train: int = 1000
    n_test: int = 500
    n_pair_tasks: int = 0
    jaspar: str = simulate.RELEASE
    simulation: simulate.SimulationSettings = simulate.SimulationSettings()
    download: bool = False
    cache: str = dataclasses.field(default='~/.cache/demo_jax', metadata=_PATH)

    def __post_init__(self) -> None:
        if self.source not in source_names():
            raise InputError(f'source is {brief(self.source)}, expected one of {", ".join(source_names())}')


def prepare_corpus(
    given: CorpusSettings | None = None, *, tf: Sequence[str] = (), progress: bool = True, **changes: Any
) -> Corpus:
    """Make a corpus out of files, the public archive or the simulation.

    Args:
      given: the settings; default: `CorpusSettings()`.
      tf: entries TASK=SYMBOL, which TF a task is of; that of others is found in their names (see
        `proteins.find_protein`). The corpus keeps both (`info['tasks'][name]['tf']`).
      progress: show a bar over the tasks.
      **changes: fields of `CorpusSettings` that replace those of `given`; None leaves a field as it is.

    Raises:
      InputError: one line that says what is wrong with the input or a setting.
    """
    given = given or CorpusSettings()
    values = {field.name: getattr(given, field.name) for field in dataclasses.fields(given)}
    values |= {name: value for name, value in changes.items() if value is not None}
    chosen: CorpusSettings = read_settings(CorpusSettings, values, 'corpus')
    return find_source(chosen.source).make(chosen, told_symbols(tf), progress)


class Source(NamedTuple):
    """Where sequences may come from.

    Attributes:
      name: what `CorpusSettings.source` calls it.
      make: of (settings, task -> TF as told, whether to show progress), the corpus.
      reads: the settings that it reads, beside `source`.
      needs_input: whether `input` has to name something; a run without it goes on with the sequences that it holds.
      from_settings: whether the settings alone say what comes out, so that it need not be made again.
    """

    name: str
    make: Callable[[CorpusSettings, Mapping[str, str], bool], Corpus]
    reads: tuple[str, ...]
    needs_input: bool = True
    from_settings: bool = False


def find_source(name: str) -> Source:
    """The source of a name.

    Raises:
      InputError: there is none; the message lists those there are.
    """
    for source in SOURCES:
        if source.name == name:
            return source
    raise InputError(f'source is {brief(name)}, expected one of {", ".join(source_names())}')


def unread(given: CorpusSettings) -> tuple[str, ...]:
    """The settings that differ from their defaults, but are not read for this source."""
    reads = ('source', *find_source(given.source).reads)
    default = CorpusSettings(cache=expanded(CorpusSettings.cache))  # as flags give it
    return tuple(
        field.name
        for field in dataclasses.fields(given)
        if field.name not in reads and getattr(given, field.name) not in (field.default, getattr(default, field.name))
    )


def _from_files(given: CorpusSettings, told: Mapping[str, str], progress: bool) -> Corpus:
    return _read(given.source, given.input, given, told, progress)


def _from_peaks(given: CorpusSettings, told: Mapping[str, str], progress: bool) -> Corpus:
    if not given.genome:
        raise InputError('source bed needs --genome, the FASTA file of the genome')
    peaks = intervals.PeakOptions(
        genome=given.genome,
        width=given.width,
        top=given.top or None,
        test_chroms=given.test_chroms,
        blacklist=given.blacklist or None,
        negatives=given.negatives,
    )
    return _read('bed', given.input, given, told, progress, peaks)


def _from_archive(given: CorpusSettings, told: Mapping[str, str], progress: bool) -> Corpus:
    folder = fetch_deepmotif108(given.input, download_it=given.download, cache=given.cache, progress=progress)
    return _read('deepmotif', [folder], given, told, progress)


def _from_corpus(given: CorpusSettings, told: Mapping[str, str], progress: bool) -> Corpus:
    if len(given.input) != 1:
        raise InputError('corpus: source prepared takes one input, a directory made by experiments.prepare')
    corpus = storage.load_corpus(given.input[0])
    corpus = corpus.select(given.tasks) if given.tasks else corpus
    return with_proteins(corpus, told) if told else corpus


def _read(
    layout: str,
    paths: Sequence[str | os.PathLike],
    given: CorpusSettings,
    told: Mapping[str, str],
    progress: bool,
    peaks: intervals.PeakOptions | None = None,
) -> Corpus:
    corpus = readers.read_corpus(
        layout,
        list(paths),
        tasks=list(given.tasks) or None,
        valid_fraction=given.valid_fraction,
        seed=given.seed,
        test_fraction=given.test_fraction or None,
        peaks=peaks,
        progress=_bar if progress else None,
    )
    return with_proteins(corpus, told)


def with_proteins(corpus: Corpus, told: Mapping[str, str]) -> Corpus:
    """The corpus with the TF of every task in its facts.

    Raises:
      InputError: a symbol is told for a task that is not there.
    """
    from demo_jax.motifs.own import protein_of

    check_told(told, corpus.tasks)
    facts = {
        name: {**corpus.info.get('tasks', {}).get(name, {}), 'tf': protein_of(corpus, name, told).facts()}
        for name in corpus.tasks
    }
    return dataclasses.replace(corpus, info={**corpus.info, 'tasks': facts})


def fetch_deepmotif108(paths: Sequence[str], *, download_it: bool, cache: str, progress: bool = True) -> pathlib.Path:
    """The folder with the unpacked 108 data sets.

    `paths` may name the archive, or a folder where it lies or where it was unpacked. Otherwise it is looked
    for in `cache`, and fetched into it if `download_it`. It is unpacked in `cache`, once.

    Raises:
      InputError: there is no archive, it cannot be fetched, or it is another file than the public one.
    """
    folder = pathlib.Path(expanded(cache))
    if len(paths) > 1:
        raise InputError(f'source deepmotif108 takes one input, not {len(paths)}')
    archive = folder / ARCHIVE_NAME
    if paths:
        given = pathlib.Path(paths[0])
        if not given.exists():
            raise InputError(f'{given}: does not exist, expected {ARCHIVE_NAME} or a folder')
        archive = given / ARCHIVE_NAME if given.is_dir() else given
        if not archive.is_file():
            return given
        downloads.verify(archive, downloads.DEEPMOTIF_108)
    unpacked = folder / f'deepmotif108-{downloads.DEEPMOTIF_108.sha256[:12]}'
    if unpacked.is_dir():
        return unpacked
    if not archive.exists() and not download_it:
        raise InputError(
            f'{archive}: is not there; add --download to fetch it ({downloads.DEEPMOTIF_108.size / 1e6:.0f} MB), or '
            'name a copy with --input'
        )
    downloads.download(downloads.DEEPMOTIF_108, archive, progress=progress)
    return downloads.extract(archive, unpacked)


def _simulated(given: CorpusSettings, told: Mapping[str, str], progress: bool) -> Corpus:
    from demo_jax.evaluation.published import k562_tasks
    from demo_jax.motifs.jaspar import load_matrices, symbols
    from demo_jax.motifs.matching import own_matrices

    names = list(given.tasks) if given.tasks else [task.name for task in k562_tasks()]
    if given.n_tasks:
        if not 1 <= given.n_tasks <= len(names):
            raise InputError(f'n_tasks is {given.n_tasks}, expected 1 to {len(names)} (or 0, all)')
        # Spread over the list, so that a few tasks are not all of one family.
        names = [names[number * len(names) // given.n_tasks] for number in range(given.n_tasks)]
    if not 0 <= given.n_pair_tasks <= len(names):
        raise InputError(f'n_pair_tasks is {given.n_pair_tasks}, expected 0 to {len(names)}')
    chosen = given.simulation
    if given.n_pair_tasks and not chosen.pair_tasks:
        chosen = dataclasses.replace(chosen, pair_tasks=tuple(names[: given.n_pair_tasks]))
    check_told(told, names)
    release = given.jaspar or simulate.RELEASE
    known = load_matrices(release)
    matrices = {motif: matrix.probabilities for motif, matrix in known.items()}
    own = {}
    for name in names:
        found = own_matrices(told.get(name) or find_protein(name, symbols()).symbol, known)
        if found:
            own[name] = simulate.most_informative(found, matrices, chosen.length)
    corpus = simulate.simulate_corpus(
        names,
        matrices,
        task_motifs=own,
        n_train=given.n_train,
        n_test=given.n_test,
        settings=chosen,
        valid_fraction=given.valid_fraction,
        seed=given.seed,
        release=release,
    )
    return with_proteins(corpus, told)


_EVERY = ('tasks', 'seed', 'valid_fraction')
_PEAKS = ('genome', 'width', 'top', 'test_chroms', 'blacklist', 'negatives')
_SIMULATED = ('n_tasks', 'n_train', 'n_test', 'n_pair_tasks', 'jaspar', 'simulation')

#: Where sequences may come from. Another source is another entry here, and a function that makes a corpus.
SOURCES: tuple[Source, ...] = (
    Source('auto', _from_files, ('input', 'test_fraction', *_EVERY)),
    *(
        Source(
            name,
            _from_peaks if name == 'bed' else _from_files,
            ('input', 'test_fraction', *_EVERY, *(_PEAKS if name == 'bed' else ())),
        )
        for name in readers.FILE_FORMATS
    ),
    Source('simulated', _simulated, (*_EVERY, *_SIMULATED), needs_input=False, from_settings=True),
    Source('deepmotif108', _from_archive, ('input', 'download', 'cache', *_EVERY), needs_input=False),
    Source('prepared', _from_corpus, ('input', 'tasks'), needs_input=False),  # says itself that it takes one
)


def _bar(tasks: list[readers.TaskFiles]) -> Any:
    from tqdm import tqdm

    return tqdm(tasks, desc='reading', unit='task')


def save_prepared(corpus: Corpus, out: str | os.PathLike, *, force: bool = False) -> None:
    """Write a corpus unless the same one is there; another one is replaced only with `force`.

    Raises:
      InputError: `out` holds another corpus, or something that is not a corpus.
    """
    out = pathlib.Path(out)
    if storage.is_corpus(out) and not force:
        if storage.load_corpus(out, verify=True).fingerprint() == corpus.fingerprint():
            return
        raise InputError(f'{out}: holds another corpus; add --force to replace it')
    if out.exists() and not storage.is_corpus(out) and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f'{out}: exists and is not a corpus, so it is not replaced; choose another --out')
    storage.save_corpus(corpus, out)


def describe(corpus: Corpus) -> str:
    """A table of the tasks: their TFs, the counts of positives and negatives per split, lengths, and what was done."""
    rows = [('task', 'TF', *(f'{split} +/-' for split in SPLITS), 'length', 'notes')]
    lengths = corpus.lengths
    for number, name in enumerate(corpus.tasks):
        labels = [corpus.labels[corpus.rows(number, split)] for split in SPLITS]
        sizes = lengths[corpus.bounds[number, 0] : corpus.bounds[number, -1]]
        span = str(sizes.min()) if sizes.min() == sizes.max() else f'{sizes.min()}-{sizes.max()}'
        counts = [f'{int(part.sum())}/{len(part) - int(part.sum())}' for part in labels]
        facts = corpus.info.get('tasks', {}).get(name, {})
        protein = read_protein(facts.get('tf'))
        rows.append((name, protein.symbol if protein else '', *counts, span, _notes(facts)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        '  '.join(
            [cell.ljust(width) for cell, width in zip(row[:2], widths, strict=False)]
            + [cell.rjust(width) for cell, width in zip(row[2:-1], widths[2:-1], strict=True)]
            + [row[-1]]
        ).rstrip()
        for row in rows
    ]
    total = f'{corpus.n_tasks} tasks, {len(corpus):,} sequences, {len(corpus.tokens):,} letters'
    planted = f', motifs planted from {corpus.info["jaspar"]}' if corpus.info.get('jaspar') else ''
    return '\n'.join([*lines, f'{total}{planted}, fingerprint {corpus.fingerprint()[:16]}'])


def left_out(corpus: Corpus) -> str:
    """How many peaks or sequences were left out over all tasks, and why; empty if none."""
    by_task = {name: _left_out(facts) for name, facts in corpus.info.get('tasks', {}).items()}
    total = sum(map(Counter, by_task.values()), Counter[str]())
    if not total:
        return ''
    most = max(by_task, key=lambda name: sum(by_task[name].values()))
    told = ', '.join(f'{count:,} {reason}' for reason, count in total.items())
    return f'{told} (most in {most}: {sum(by_task[most].values()):,})' if len(by_task) > 1 else told


def seen_in_training(corpus: Corpus) -> str:
    """How many test sequences the training part of their task holds as well, over all tasks; empty if none."""
    counts = {name: facts.get('test_in_training', 0) for name, facts in corpus.info.get('tasks', {}).items()}
    total = sum(counts.values())
    if not total:
        return ''
    most = max(counts, key=lambda name: counts[name])
    where = f' (most in {most}: {counts[most]:,})' if len(counts) > 1 else ''
    return f'{total:,} test sequences are in the training part as well, on this or the other strand{where}'


def remarks(corpus: Corpus) -> list[str]:
    """What is to be said of how files were read, one line each: what peak files were taken for, what lay elsewhere.

    Each line ends with the tasks it is about, unless that is the only one.
    """
    tasks_of: dict[str, list[str]] = {}
    for name, facts in corpus.info.get('tasks', {}).items():
        for remark in _remarks(facts):
            tasks_of.setdefault(remark, []).append(name)
    return [
        remark + f' ({"all tasks" if len(names) == corpus.n_tasks else listed(names, 3)})' * (corpus.n_tasks > 1)
        for remark, names in tasks_of.items()
    ]


def _remarks(facts: Mapping[str, Any]) -> list[str]:
    found = [f'peaks: {facts["read_as"]}'] if 'read_as' in facts else []
    found += facts.get('notes', [])
    black = facts.get('blacklist', {})
    if black.get('unknown_chromosome'):
        found.append(
            f'{black["unknown_chromosome"]:,} of {black["regions"]:,} regions of the blacklist lie on chromosomes that '
            f'the genome lacks ({black["unknown_chromosomes"]})'
        )
    if facts.get('equal_test_pairs'):
        found.append(f'{facts["equal_test_pairs"]:,} test positives are equal to their negatives')
    return found


def _left_out(facts: Mapping[str, Any]) -> dict[str, int]:
    counts = {reason.replace('_', ' '): count for reason, count in facts.get('dropped', {}).items()}
    counts['without a GC match'] = facts.get('gc_unmatched', 0)
    return {reason: count for reason, count in counts.items() if count}


def _notes(facts: Mapping[str, Any]) -> str:
    notes = []
    if facts.get('shuffles_made'):
        notes.append(f'{facts["shuffles_made"]} shuffles made')
    if 'test_fraction' in facts:
        notes.append(f'test = {facts["test_fraction"]:g} held out')
    notes += [f'{count} {reason}' for reason, count in _left_out(facts).items()]
    if facts.get('test_in_training'):
        notes.append(f'{facts["test_in_training"]} of test also in training')
    if 'motif' in facts:
        notes.append(f'{facts["motif"]}{" (assigned)" if facts["motif_assigned"] else ""}')
    protein = read_protein(facts.get('tf'))
    if protein is not None and (protein.found not in ('table', 'symbol') or protein.others):
        notes.append(f'TF: {protein.how}')
    return '; '.join([*_remarks(facts), *[', '.join(notes)] * bool(notes)])
