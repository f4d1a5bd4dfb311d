"""Stage `match`: motifs out of the explanations, their JASPAR matches, Table 4, and planted truth (edge)."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from demo_jax.data.corpus import Corpus
from demo_jax.errors import InputError, brief
from demo_jax.evaluation.proteins import told_symbols
from demo_jax.evaluation.table import Table
from demo_jax.explain.attribution import ATTRIBUTIONS
from demo_jax.explain.pieces import PIECES, SEARCHES, TRACKS, stored_maps
from demo_jax.io import files
from demo_jax.motifs import extract, matching, own, piles, scan
from demo_jax.motifs.column_scores import Targets
from demo_jax.motifs.matching import Key, Significance
from demo_jax.motifs.tomtom import prepare_targets
from demo_jax.nn.architecture import resolve
from demo_jax.runs import schema
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.done import Made, Records, digest
from demo_jax.runs.explanations import Explanations
from demo_jax.runs.preferred import prefer
from demo_jax.stages import motif_files, truth_tables
from demo_jax.stages.explain import sequences
from demo_jax.stages.hits import write_hits
from demo_jax.training.jobs import Job
from demo_jax.training.pool import name_seed

#: Changes whenever the files of the same explanations and settings do, so that those of an older version are replaced.
_FILES = 5


@dataclasses.dataclass(frozen=True)
class MatchSettings:
    """How motifs are matched, and what is written.

    Attributes:
      jaspar: release, e.g. 'JASPAR2016' (the paper's); '' = the one that simulated motifs were planted from, and for
        other data the newest that pyjaspar carries.
      tax_group: of the matrices, e.g. 'vertebrates'.
      collection: e.g. 'CORE'.
      rule: which matrices are a TF's own, see `matching.own_matrices`; 'monomer' is the paper's rule, which gives
        57 of its 108 tasks under JASPAR2016.
      tf: entries TASK=SYMBOL, separated by commas: whose matrices are a task's own where its name does not tell (see
        `proteins.find_protein`).
      measure, threshold: what counts as a match, see `matching.Significance`.
      hit_p_value: JASPAR hits, in `motifs/TASK/jaspar_hits.bed` and on the page, have at most this p-value. No word of
        a matrix of w columns is rarer than 4^-w (2.4e-4 with six, as in MAX's of JASPAR2024); of a matrix too short
        for the p-value the hits are its best words, and the names in the file and the page give the p-value of these.
      chance_draws: random windows per sequence that the chance level is counted from.
      filters: also write the first-layer filters as motifs, with their matches.
      modisco: also write the arrays that TF-MoDISco reads, and the same map as bigWig for peaks on a genome.
      modisco_map: which map they hold: 'saliency' (the gradient), 'integrated_gradients', 'deeplift' or 'mutagenesis',
        centred; 'auto': of those that the run has, the best by its certificate of trust, or else the first of
        `motif_files.MODISCO_MAPS`; `modisco.json` says which, and why.
    """

    jaspar: str = ''
    tax_group: str = 'vertebrates'
    collection: str = 'CORE'
    rule: str = 'monomer'
    tf: str = ''
    measure: str = 'q_value'
    threshold: float = 0.5
    hit_p_value: float = scan.THRESHOLD
    chance_draws: int = 4
    filters: bool = True
    modisco: bool = True
    modisco_map: str = 'auto'

    def __post_init__(self) -> None:
        if self.rule not in matching.OWN_RULES:
            raise InputError(f'match: rule is {self.rule!r}, expected one of {", ".join(matching.OWN_RULES)}')
        if not 0 < self.hit_p_value < 1:
            raise InputError(f'match: hit_p_value is {self.hit_p_value}, expected a number above 0 and below 1')
        if self.chance_draws < 1:
            raise InputError(f'match: chance_draws is {self.chance_draws}, expected 1 or more')
        if self.modisco_map not in ('auto', *motif_files.MODISCO_MAPS):
            raise InputError(
                f'match: modisco_map is {brief(self.modisco_map)}, expected one of auto, '
                f'{", ".join(motif_files.MODISCO_MAPS)}'
            )
        Significance(self.measure, self.threshold)
        told_symbols(self.tf)


@dataclasses.dataclass(frozen=True, eq=False)
class _Explained:
    """What one model's explanations say of its task's positive test sequences."""

    job: Job
    rows: np.ndarray  # (N,) corpus rows
    tokens: np.ndarray  # (N, L)
    lengths: np.ndarray  # (N,)
    score: np.ndarray | None  # (N,) of the model
    values: dict[str, np.ndarray]  # per method (N, L): how much each base matters
    windows: dict[str, extract.Windows]


def match_run(run: RunDirectory, settings: MatchSettings | None = None, *, progress: bool = True) -> dict[str, Table]:
    """Extract motifs from every explained model of a run, match them, and count.

    Writes, under `WORKDIR/motifs/TASK/SPEC/` (names made safe by `files.safe_name`), `windows.tsv` (every window
    with its sequence, place, strand and letters) and `windows.bed`, `motifs.meme` and `motifs.jaspar` (one
    motif per method, trimmed to its informative columns), `motifs.tsv` (how clear each is, and how many windows agree
    with it), `tomtom.tsv` (the matches of those that are clear, see `motifs.piles`), the same for the first layer's
    filters (`filters.meme`, `filters.tsv`, `filters_tomtom.tsv`), and `modisco_contributions.npz` with
    `modisco_sequences.npz` and `modisco.json` (which map they hold); `motifs/own.json`
    (which matrices are whose); `motifs/TASK/own_matrices.tsv` (their release, id and consensus, and where JASPAR2016's
    differ, see `own.matrix_row`); `motifs/TASK/jaspar_hits.bed` (BED6: where the TF's own matrices match in the task's
    explained sequences, positives and negatives; the hits that the page shows, named 'MA0035.3:Gata1', see
    `formats.hit_rows`); and under `WORKDIR/tables/`: `table4.tsv`, `table4_tasks.tsv`, and where the corpus knows its
    sites `truth.tsv` (per task, spec and method) and `truth_mean.tsv`.

    Hits have at most the p-value `hit_p_value`; of a matrix too short for it they are the best words, and their names
    say so ('MA0058.4:MAX:p=2.4e-04'). They lie on the genome where the task's sequences do, and those without a place
    there (shuffles) are left out; else within the named sequences. No matrix, an empty file.

    Nothing is done again unless settings, explanations or models changed; another p-value changes the hits only.

    Args:
      run: a run with explanations; the caller holds its lock.
      settings: see `MatchSettings`.
      progress: show bars.

    Returns:
      The tables by name.

    Raises:
      InputError: nothing is explained yet, no such JASPAR release, a model lacks the map that `modisco_map` names, or a
        TF is told of a task that is not there or is simulated.
    """
    settings = MatchSettings() if settings is None else settings
    store, folder = Explanations(run), run.path / 'motifs'
    jobs, corpus = store.jobs(), run.corpus()
    maps = {job: map_to_export(run, store, job, settings) for job in jobs}
    records = Records(folder)
    of_motifs, of_hits = _made_from(settings, store, jobs)
    matched = records.has('motifs', of_motifs)
    if matched and records.has('hits', of_hits):
        return _tables(run)
    earlier = schema.read_own(folder / 'own.json') if matched else None
    release = earlier['release'] if earlier else settings.jaspar
    found = own.find_own(
        corpus,
        list(dict.fromkeys(job.task for job in jobs)),
        release=release,
        tax_group=settings.tax_group,
        collection=settings.collection,
        rule=settings.rule,
        tf=settings.tf,
    )
    records.forget('hits')
    for task, ids in found.ids.items():
        write_hits(
            folder / files.safe_name(task),
            corpus,
            store.rows(task),
            [found.matrices[motif] for motif in ids],
            found.release,
            settings.hit_p_value,
        )
    if matched:
        records.keep('hits', of_hits)
        return _tables(run)
    records.forget('motifs')  # what is there is replaced, one model after the other
    tables = _make_motifs(run, settings, store, found, maps, progress=progress)
    records.keep('motifs', of_motifs, [folder / 'own.json'])
    records.keep('hits', of_hits)
    (folder / 'complete.json').unlink(missing_ok=True)  # of an older version
    return tables


def _made_from(settings: MatchSettings, store: Explanations, jobs: Sequence[Job]) -> tuple[Made, Made]:
    """What motifs and tables are made from, and what the hits are: these depend on another p-value, too."""
    pieces = [f'explain/{piece}/{job.index:05d}.npz' for piece in PIECES for job in jobs]
    inputs = {'explanations': digest(store.run.path, pieces, read=['explain/index.json'])}
    values = dataclasses.asdict(settings)
    hits = {name: values[name] for name in ('hit_p_value', 'jaspar', 'tax_group', 'collection', 'rule', 'tf')}
    del values['hit_p_value']
    return Made(values, inputs, _FILES), Made(hits, inputs)


@dataclasses.dataclass(frozen=True, eq=False)
class _Candidates:
    """What is matched and counted over all models.

    Attributes:
      words: the letters of each method's windows.
      chance: random words of the same sequences.
      motifs: of models alone (class optima, sufficient motifs), matrices (w, 4).
      truths: rows of truth.tsv.
      verdicts: how clear each motif is.
    """

    words: dict[Key, list[str]] = dataclasses.field(default_factory=dict)
    chance: dict[Key, list[str]] = dataclasses.field(default_factory=dict)
    motifs: dict[Key, list[np.ndarray]] = dataclasses.field(default_factory=dict)
    truths: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    verdicts: list[str] = dataclasses.field(default_factory=list)


def _make_motifs(
    run: RunDirectory,
    settings: MatchSettings,
    store: Explanations,
    found: own.OwnMatrices,
    maps: Mapping[Job, tuple[str, str] | None],
    *,
    progress: bool,
) -> dict[str, Table]:
    """Write the files of every model, the tables and own.json, and say what was left out."""
    corpus, folder = run.corpus(), run.path / 'motifs'
    targets = prepare_targets({motif: matrix.probabilities for motif, matrix in found.matrices.items()})
    candidates = _candidates(run, settings, store, targets, maps, progress=progress)
    words, chance = candidates.words, candidates.chance
    distinct = len({word for texts in (*words.values(), *chance.values()) for word in texts})
    with tqdm(total=distinct, desc='Tomtom', unit='word', disable=not progress) as bar:
        counted = matching.count_matches(
            words,
            chance,
            found.ids,
            targets,
            motifs=candidates.motifs,
            significance=Significance(settings.measure, settings.threshold),
            progress=bar.update,
        )
    matched = Matched(counted, found, candidates.truths, corpus.sites is None)
    tables = {
        derived.table.name: derived.table.of(rows) for derived in TABLES if (rows := derived.rows(matched)) is not None
    }
    for name, table in tables.items():
        files.write_tsv(run.tables / f'{name}.tsv', table.rows, table.columns)
    files.write_json(folder / 'own.json', found.as_json())
    for note in found.notes:
        print(f'note: {note}')
    if found.without:
        print(
            f'Table 4 leaves out {len(found.without)} of {len(found.ids)} tasks, whose TF has no matrix in '
            f'{found.release}: {", ".join(found.without[:6])}{" ..." if len(found.without) > 6 else ""}'
        )
    motif_files.say_what_is_there(candidates.verdicts, [chosen for chosen in maps.values() if chosen])
    return tables


def _candidates(
    run: RunDirectory,
    settings: MatchSettings,
    store: Explanations,
    targets: Targets,
    maps: Mapping[Job, tuple[str, str] | None],
    *,
    progress: bool,
) -> _Candidates:
    """Take motifs out of every model's explanations, and write the files of each."""
    corpus, candidates = run.corpus(), _Candidates()
    chance_of_task: dict[str, list[str]] = {}
    for job in tqdm(maps, desc='motifs', unit='model', disable=not progress):
        explained = _explained(store, corpus, job)
        if job.task not in chance_of_task:
            chance_of_task[job.task] = _random_words(explained, settings.chance_draws)
        aligned = {name: _aligned(windows, explained.tokens) for name, windows in explained.windows.items()}
        for name, windows in aligned.items():
            candidates.words[Key(job.task, job.spec, name)] = windows.words(explained.tokens)
        optima = _optima(store, job)
        for name, optimum in optima.items():
            candidates.motifs[Key(job.task, job.spec, name)] = [optimum]
        for name in (*aligned, *optima):
            candidates.chance[Key(job.task, job.spec, name)] = chance_of_task[job.task]
        if corpus.sites is not None:
            candidates.truths.extend(
                truth_tables.judge(
                    job,
                    explained.values,
                    explained.windows,
                    corpus.sites,
                    explained.rows,
                    explained.lengths,
                    explained.score,
                )
            )
        place = _folder_of(run, job)
        candidates.verdicts.extend(_export(place, store, explained, aligned, optima, corpus, targets, settings))
        (place / 'modisco.json').unlink(missing_ok=True)  # of maps that may have changed since
        export_map(run, store, corpus, job, maps[job])
    return candidates


def _tables(run: RunDirectory) -> dict[str, Table]:
    """The tables of an earlier call."""
    found = {}
    for table, _ in TABLES:
        path = run.tables / f'{table.name}.tsv'
        if path.exists():
            header = path.read_text(encoding='utf-8').split('\n', 1)[0].split('\t')
            found[table.name] = table.of(files.read_tsv(path))._replace(columns=tuple(header))
    return found


class Matched(NamedTuple):
    """What tables are made from.

    Attributes:
      counted: the matches of every method and model.
      found: whose matrices are whose.
      truths: rows of truth.tsv; none where sites are not known.
      published: whether published values may stand beside these.
    """

    counted: Any
    found: own.OwnMatrices
    truths: list[dict[str, Any]]
    published: bool


class Derived(NamedTuple):
    """A table, and its rows out of all that is matched; None where the run has no such table."""

    table: Table
    rows: Callable[[Matched], list[dict[str, Any]] | None]


#: The tables of the stage. Another table is another entry here, as in `evaluate.TABLES`.
TABLES: tuple[Derived, ...] = (
    Derived(matching.TABLE4, lambda matched: matching.table4(matched.counted, published=matched.published)),
    Derived(
        Table(
            [],
            matching.TASK_COLUMNS,
            'table4_tasks',
            printed=(),
            needed=('task', 'spec', 'method', 'matches', 'out_of'),
        ),
        lambda matched: matching.table4_tasks(matched.counted, matched.found.facts()),
    ),
    Derived(truth_tables.TRUTH, lambda matched: matched.truths or None),
    Derived(truth_tables.TRUTH_MEAN, lambda matched: truth_tables.means(matched.truths) if matched.truths else None),
)


def map_to_export(run: RunDirectory, store: Explanations, job: Job, settings: MatchSettings) -> tuple[str, str] | None:
    """The map of a model that is exported for TF-MoDISco and as bigWig, and what it was chosen by; None for none.

    Raises:
      InputError: the settings name one that there is not.
    """
    if not settings.modisco:
        return None
    there = [name for name in motif_files.MODISCO_MAPS if store.has(name, job.index)]
    return motif_files.modisco_map(settings.modisco_map, prefer(run.tables, job.task, job.spec, there), job.label)


def export_map(
    run: RunDirectory, store: Explanations, corpus: Corpus, job: Job, chosen: tuple[str, str] | None
) -> bool:
    """Write a map of a model for TF-MoDISco and as bigWig, unless that is what is there.

    Args:
      run: of the model; its folder is there.
      store: the run's explanations.
      corpus: the run's.
      job: the model.
      chosen: of `map_to_export`.

    Returns:
      Whether it was written.
    """
    folder = _folder_of(run, job)
    facts = files.read_json(folder / 'modisco.json') if (folder / 'modisco.json').is_file() else {}
    if chosen is None or (facts.get('map'), facts.get('chosen_by')) == chosen:
        return False
    rows = store.rows(job.task)
    positive = np.flatnonzero(np.asarray(corpus.labels[rows]) == 1)
    tokens, _ = sequences(corpus, rows)
    maps = store.load(ATTRIBUTIONS[chosen[0]].reads or chosen[0], job.index)
    contributions = stored_maps(chosen[0], maps, tokens).centred[positive]
    rows, tokens = rows[positive], tokens[positive]
    motif_files.write_modisco(folder, *chosen, contributions, tokens)
    motif_files.write_bigwig(folder, contributions, tokens, np.asarray(corpus.lengths[rows]), corpus, rows)
    return True


def _folder_of(run: RunDirectory, job: Job) -> pathlib.Path:
    """Where the files of a model go."""
    return run.path / 'motifs' / files.safe_name(job.task) / files.safe_name(job.spec)


def _explained(store: Explanations, corpus: Corpus, job: Job) -> _Explained:
    """What a model's explanations say."""
    rows = store.rows(job.task)
    positive = np.flatnonzero(np.asarray(corpus.labels[rows]) == 1)
    tokens, lengths = sequences(corpus, rows)  # as wide as the maps, whose longest sequence may be a negative
    lengths = np.full(len(rows), tokens.shape[1]) if lengths is None else lengths
    rows, tokens, lengths = rows[positive], tokens[positive], lengths[positive]
    values: dict[str, np.ndarray] = {}
    windows: dict[str, extract.Windows] = {}
    score = None
    stored: dict[str, dict[str, np.ndarray]] = {}
    for name, (track, piece) in TRACKS.items():
        if piece not in stored:
            if not PIECES[piece].applies(resolve(job.spec)) or not store.has(piece, job.index):
                continue
            loaded = store.load(piece, job.index)
            stored[piece] = {key: array[positive] if array.ndim else array for key, array in loaded.items()}
        arrays = stored[piece]
        values[name], windows[name] = track.read(arrays, tokens, lengths)
        score = arrays['score'] if score is None and name in ATTRIBUTIONS else score
    if not windows:
        raise InputError(f'{store.path}: {job.label} has no explanations to take motifs from; run the stage explain')
    return _Explained(job, rows, tokens, lengths, score, values, windows)


def _aligned(windows: extract.Windows, tokens: np.ndarray) -> extract.Windows:
    """The windows with their strands turned so that all show the motif the same way round."""
    return dataclasses.replace(windows, strand=windows.strand * extract.align_strands(windows.tokens(tokens)))


def _random_words(explained: _Explained, draws: int) -> list[str]:
    """Words at random places of the task's sequences; the same for all models and methods of the task."""
    rng = np.random.default_rng([name_seed(explained.job.task), 4])
    windows = next(iter(explained.windows.values()))
    return [
        word
        for _ in range(draws)
        for word in extract.random_windows(rng, windows, explained.lengths).words(explained.tokens)
    ]


def _optima(store: Explanations, job: Job) -> dict[str, np.ndarray]:
    """The motifs (w, 4) of what was searched for in a model, by piece."""
    return {
        name: search.motif(store.load(name, job.index))
        for name, search in SEARCHES.items()
        if store.has(name, job.index)
    }


def _export(
    folder: Any,
    store: Explanations,
    explained: _Explained,
    windows: Mapping[str, extract.Windows],
    optima: Mapping[str, np.ndarray],
    corpus: Corpus,
    targets: Targets,
    settings: MatchSettings,
) -> list[str]:
    """Write the files of one model that people and other tools read, and say how clear each method's motif is."""
    found = {name: piles.pile_windows(aligned.tokens(explained.tokens)) for name, aligned in windows.items()}
    found |= {name: piles.whole(optimum) for name, optimum in optima.items()}
    matched: dict[str, Any] = {'measure': settings.measure, 'threshold': settings.threshold}
    motif_files.write_windows(folder, explained.job.spec, explained.tokens, explained.rows, windows, corpus)
    motif_files.write_motifs(folder, found, targets, **matched)
    if settings.filters and store.has('filters', explained.job.index):
        motif_files.write_filters(folder, store.load('filters', explained.job.index), targets, **matched)
    return [pile.verdict for pile in found.values()]
