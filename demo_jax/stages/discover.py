"""Stage `discover`: seqlets, motifs, hits and spacings of every explained model and method (edge)."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from demo_jax import dna
from demo_jax.data.corpus import Corpus
from demo_jax.errors import InputError, brief
from demo_jax.evaluation.table import Table
from demo_jax.explain.attribution import ATTRIBUTIONS, BEST_FIRST
from demo_jax.explain.pieces import PIECES, Subject, stored_maps
from demo_jax.io import arrays, files
from demo_jax.io.settings import read_settings
from demo_jax.motifs import own, seqlets
from demo_jax.motifs.discover import FoundMotif, competing, find_motifs
from demo_jax.motifs.hits import Pattern, find_map_hits
from demo_jax.motifs.jaspar import JasparMatrix
from demo_jax.motifs.spacing import Pairing, Sites, pair_motifs
from demo_jax.motifs.tomtom import match_motifs, prepare_targets
from demo_jax.nn.architecture import resolve
from demo_jax.predict.ensemble import combine
from demo_jax.predict.model import Model
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.done import Made, Records, digest
from demo_jax.runs.explanations import Explanations
from demo_jax.stages import discovered, explain, motif_files, trust
from demo_jax.stages.explain import mean_piece, sequences
from demo_jax.stages.match import MatchSettings, export_map, map_to_export
from demo_jax.training.jobs import Job
from demo_jax.training.pool import name_seed

#: Changes whenever the files of the same explanations and settings do.
_FILES = 5
#: Two motifs are the same for the column `seen_in` if they agree so well (see `own.compare`).
_SAME = 0.75


@dataclasses.dataclass(frozen=True)
class DiscoverSettings:
    """How seqlets, motifs and hits are found.

    Attributes:
      methods: attributions, of `explain.attribution.ATTRIBUTIONS`; empty = all whose maps the run has.
      seqlet_fdr: the largest false discovery rate of the seqlets that are listed and that motifs are made of. A motif
        takes many of them, so a few that are false do it no harm.
      hit_fdr: the largest false discovery rate of hits.
      shuffles: dinucleotide shuffles per explained positive, whose maps tell what is significant.
      neighbours: whether partners beside a motif's sites are looked for that contribute nothing themselves.
      match_q: a motif is named after its best JASPAR match with at most this q-value; without one it is unknown.
      placements: shuffled placements that spacings of motifs are compared with.
      random_seed: of the shuffles and the placements.
      certificate: also train the same models on a matched simulation, to tell how far the results can be trusted (see
        `stages.trust`); takes about as long as the run's training and this stage together.
    """

    methods: tuple[str, ...] = ()
    seqlet_fdr: float = 0.1
    hit_fdr: float = 0.05
    shuffles: int = 1
    neighbours: bool = True
    match_q: float = 0.05
    placements: int = 500
    random_seed: int = 0
    certificate: bool = False

    def __post_init__(self) -> None:
        for name in self.methods:
            if name not in ATTRIBUTIONS:
                raise InputError(f'discover: methods holds {brief(name)}, expected some of {", ".join(ATTRIBUTIONS)}')
        for name in ('seqlet_fdr', 'hit_fdr', 'match_q'):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f'discover: {name} is {getattr(self, name)}, expected a number above 0 and below 1')
        for name in ('shuffles', 'placements'):
            if getattr(self, name) < 1:
                raise InputError(f'discover: {name} is {getattr(self, name)}, expected 1 or more')


#: Both tables, without rows.
MOTIFS = Table(
    [],
    discovered.FOUND_COLUMNS,
    'motifs',
    'Motifs found',
    (
        'task',
        'spec',
        'method',
        'consensus',
        'sites',
        'of',
        'share',
        'match_name',
        'match_q',
        'own',
        'seen_in',
        'looked_in',
    ),
    needed=('task', 'spec', 'method', 'motif'),
)
SPACINGS = Table([], discovered.SPACING_COLUMNS, 'spacings', printed=(), needed=('task', 'spec', 'method'))
#: One row per model and method: what was called, and why there may be nothing.
SEQLETS = Table(
    [],
    ('task', 'spec', 'method', 'sequences', 'shuffles', 'for', 'against', 'motifs', 'hits', 'note'),
    'seqlets',
    printed=(),
    needed=('task', 'spec', 'method'),
)
TABLES = (MOTIFS, SPACINGS, SEQLETS, trust.TRUST)
#: Those that each map has a part of.
_OF_MAPS = TABLES[:3]


class _Map(NamedTuple):
    """One method's map of the positives that a model is explained on, and of their shuffles."""

    job: Job
    method: str
    rows: np.ndarray  # (N,) corpus rows
    tokens: np.ndarray  # (N, L)
    lengths: np.ndarray | None
    values: np.ndarray  # (N, L)
    null_tokens: np.ndarray  # (M, L)
    null: np.ndarray  # (M, L)


class _Result(NamedTuple):
    """Rows of the three tables that are one model's and method's."""

    motifs: list[dict[str, Any]]
    spacings: list[dict[str, Any]]
    summary: dict[str, Any]


def discover_run(
    run: RunDirectory,
    settings: DiscoverSettings | None = None,
    matching: MatchSettings | None = None,
    *,
    progress: bool = True,
) -> dict[str, Table]:
    """Find seqlets, motifs, hits and spacings in every map of the explained models of a run.

    Significance comes from maps of dinucleotide shuffles of the explained positives, which are drawn and explained
    here, with the settings of the map itself, and kept. Writes under `WORKDIR/motifs/TASK/SPEC/METHOD/` what
    `stages.discovered` says, and `motifs.tsv`, `spacings.tsv` and `seqlets.tsv` under `WORKDIR/tables/`. A map of which
    nothing is made, e.g. of fewer than 20 sequences, has its reason in `seqlets.tsv`, and empty files.

    Nothing is done again unless settings, maps or models changed.

    Args:
      run: a run with explanations; the caller holds its lock.
      settings: see `DiscoverSettings`.
      matching: which JASPAR matrices motifs are compared with, and which are a TF's own.
      progress: show a bar.

    Returns:
      The tables by name.

    Raises:
      InputError: nothing is explained yet, the run has none of the maps that are wanted, or as `own.find_own`.
    """
    settings, matching = settings or DiscoverSettings(), matching or MatchSettings()
    store, corpus = Explanations(run), run.corpus()
    wanted = [(job, method) for job in store.jobs() for method in methods_of(store, job, settings.methods)]
    if not wanted:
        known = ', '.join(settings.methods) or 'attribution'
        raise InputError(f'{store.path}: there is no map ({known}) to find motifs in; run the stage explain')
    found = own.find_own(
        corpus,
        list(dict.fromkeys(job.task for job, _ in wanted)),
        release=matching.jaspar,
        tax_group=matching.tax_group,
        collection=matching.collection,
        rule=matching.rule,
        tf=matching.tf,
    )
    targets = prepare_targets({motif: matrix.probabilities for motif, matrix in found.matrices.items()})
    results: list[_Result] = []
    with tqdm(wanted, desc='discover', unit='map', disable=not progress) as bar:
        for job, method in bar:
            bar.set_postfix_str(f'{method}: {job.spec} {job.task.split("_")[0][:20]}')
            results.append(_one(run, store, corpus, job, method, settings, found, targets))
    motifs = [row for result in results for row in result.motifs]
    _count_seen(motifs, run)
    tables = {
        table.name: table.of(rows)
        for table, rows in (
            (MOTIFS, motifs),
            (SPACINGS, [row for result in results for row in result.spacings]),
            (SEQLETS, [result.summary for result in results]),
        )
    }
    for name, table in tables.items():
        files.write_tsv(run.tables / f'{name}.tsv', table.rows, table.columns)
    _say(results)
    records, made = Records(run.path / 'motifs'), _certified(run, store, settings)
    if settings.certificate:
        records.forget('trust')
        tables['trust'] = _certify(run, store, settings, matching, motifs, progress=progress)
        records.keep('trust', made)
    elif (run.tables / 'trust.tsv').exists() and not records.has('trust', made):
        print('trust.tsv is of other motifs than there are now, and is removed (--config.discover.certificate=True)')
        (run.tables / 'trust.tsv').unlink()
    _export_best(run, store, corpus, matching)
    return tables


def _certified(run: RunDirectory, store: Explanations, settings: DiscoverSettings) -> Made:
    """What a certificate of trust is of: the motifs that were planted."""
    folders = {folder_of(run, job.task, job.spec, name) for job in store.jobs() for name in methods_of(store, job)}
    names = [str((folder / 'found.npz').relative_to(run.path)) for folder in sorted(folders)]
    return Made({'seqlet_fdr': settings.seqlet_fdr}, {'motifs': digest(run.path, [], read=names)})


def _export_best(run: RunDirectory, store: Explanations, corpus: Corpus, matching: MatchSettings) -> None:
    """Let the exports of the stage `match` hold the map that is best now, where that is another one."""
    changed = []
    for job in store.jobs():
        if (run.path / 'motifs' / files.safe_name(job.task) / files.safe_name(job.spec) / 'modisco.json').is_file():
            chosen = map_to_export(run, store, job, matching)
            if chosen is not None and export_map(run, store, corpus, job, chosen):
                changed.append(chosen)
    motif_files.say_maps(changed)


def _certify(
    run: RunDirectory,
    store: Explanations,
    settings: DiscoverSettings,
    matching: MatchSettings,
    motifs: Sequence[Mapping[str, Any]],
    *,
    progress: bool,
) -> Table:
    """The certificate of trust: train, explain and search a matched simulation, and judge what was found there."""
    jobs, corpus = store.jobs(), run.corpus()
    results = {job: run.load_result(job.index) for job in jobs}
    maps: dict[str, trust.Modelled] = {}
    for task in dict.fromkeys(job.task for job in jobs):
        found = [row for row in motifs if row['task'] == task and str(row['sign']) == '1']
        if found:
            job = max(
                (job for job in jobs if job.task == task and job.spec in {row['spec'] for row in found}),
                key=lambda job: results[job].best_auroc,
            )
            there = [row['method'] for row in found if row['spec'] == job.spec]
            method = sorted(there, key=BEST_FIRST.index)[0]
            rows = _positives(store, corpus, task)
            maps[task] = trust.Modelled(
                folder_of(run, task, job.spec, str(method)),
                results[job].best_auroc,
                _scorer(run, store, job),
                corpus.padded(rows),
                np.asarray(corpus.lengths[rows]),
            )
    specs = list(dict.fromkeys(job.spec for job in jobs))
    prepared = trust.prepare(run, maps, specs, settings.random_seed, progress=progress)
    if prepared is None:
        print('no task has a motif, so there is nothing to certify')
        return trust.write(run, [])
    beside, errors = prepared
    methods = list(dict.fromkeys(method for job in jobs for method in methods_of(store, job, settings.methods)))
    pieces = tuple(dict.fromkeys(ATTRIBUTIONS[method].reads or method for method in methods))
    explained = read_settings(explain.ExplainSettings, run.config().get('explain', {}), 'explain')
    most = max(len(of.tokens) for of in maps.values())
    chosen = dataclasses.replace(explained, specs=('all',), pieces=pieces, positives=most, negatives=0)
    explain.explain_run(beside, chosen, progress=progress)
    tables = discover_run(beside, dataclasses.replace(settings, certificate=False), matching, progress=progress)
    simulated, calls = Explanations(beside), {}
    for job in simulated.jobs():
        for method in methods_of(simulated, job, settings.methods):
            real = folder_of(run, job.task, job.spec, method)
            if not (real / 'seqlets.bed').exists():
                continue  # a map that the real run does not have
            mine = next(one for one in jobs if (one.task, one.spec) == (job.task, job.spec))
            calls[job.task, job.spec, method] = trust.Judged(
                folder_of(beside, job.task, job.spec, method),
                _for_binding(beside, simulated, job, method, settings),
                _for_binding(run, store, mine, method, settings),
            )
    return trust.write(run, trust.judge(beside, tables['motifs'].rows, maps, calls, errors))


def _for_binding(
    run: RunDirectory, store: Explanations, job: Job, method: str, settings: DiscoverSettings
) -> trust.Calls:
    """All seqlets and hits for binding of a map whose files are there, the strongest first."""
    corpus, folder = run.corpus(), folder_of(run, job.task, job.spec, method)
    of_map = store.made(ATTRIBUTIONS[method].reads or method, job.index)
    the_map = _read_map(run, store, corpus, job, method, settings, of_map, Records(folder))
    patterns = discovered.read_patterns(folder)
    signs = np.array([pattern.sign for pattern in patterns.values()], np.int64)
    try:
        called = _seqlets(the_map, settings)
    except InputError:  # said in seqlets.tsv
        called = seqlets.NO_SEQLETS
    hits = find_map_hits(the_map.values, the_map.tokens, patterns, null=(the_map.null, the_map.null_tokens))
    parts = []
    for of, sign, strength, fdr in (
        (called, called.sign, called.score, settings.seqlet_fdr),
        (hits, signs[hits.motif], hits.explained, settings.hit_fdr),
    ):
        mine = np.flatnonzero(sign > 0)
        mine = mine[np.argsort(-strength[mine], kind='stable')]
        places = np.stack([of.row[mine], of.start[mine], of.start[mine] + of.width[mine]], axis=1)
        parts.append(trust.Stretches(places, of.q_value[mine] <= fdr))
    return trust.Calls([corpus.name(int(row)) for row in the_map.rows], *parts)


def _seqlets(the_map: _Map, settings: DiscoverSettings) -> seqlets.Seqlets:
    """All seqlets of a map, whatever their q."""
    null_lengths = None if the_map.lengths is None else np.repeat(the_map.lengths, settings.shuffles)
    return seqlets.call_seqlets(the_map.values, the_map.null, lengths=the_map.lengths, null_lengths=null_lengths)


def _positives(store: Explanations, corpus: Corpus, task: str) -> np.ndarray:
    """The corpus rows (N,) of the positives that a task's models are explained on."""
    rows = store.rows(task)
    return rows[np.asarray(corpus.labels[rows]) == 1]


def _scorer(run: RunDirectory, store: Explanations, job: Job) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """How the models that an explanation is the mean of score tokens (N, L) of some lengths (N,)."""
    average = bool(run.config()['recipe']['average_strands'])
    models = [
        Model(job.task, job.spec, job.seed, run.load_result(member).params, average)
        for member in store.members(job.index)
    ]
    return lambda tokens, lengths: combine(np.stack([one.score_tokens(tokens, lengths) for one in models])).mean


def methods_of(store: Explanations, job: Job, wanted: Sequence[str] = ()) -> list[str]:
    """The attributions whose signed maps a model has, of those wanted (none: all), each stored map once."""
    names = wanted or [name for name, method in ATTRIBUTIONS.items() if not method.reads]
    return [name for name in names if store.has(ATTRIBUTIONS[name].reads or name, job.index)]


def folder_of(run: RunDirectory, task: str, spec: str, method: str) -> pathlib.Path:
    """Where the files of one model and method lie."""
    return run.path / 'motifs' / files.safe_name(task) / files.safe_name(spec) / method


def _one(
    run: RunDirectory,
    store: Explanations,
    corpus: Corpus,
    job: Job,
    method: str,
    settings: DiscoverSettings,
    found: own.OwnMatrices,
    targets: Any,
) -> _Result:
    """Make, or read, what there is of one model and method."""
    folder = folder_of(run, job.task, job.spec, method)
    records, piece = Records(folder), ATTRIBUTIONS[method].reads or method
    of_map = store.made(piece, job.index)
    inputs = {'map': repr(of_map.as_json()), 'jaspar': found.release, 'own': ' '.join(found.ids[job.task])}
    made = Made(dataclasses.asdict(settings) | {'methods': [method], 'certificate': False}, inputs, _FILES)
    tables = [folder / f'{table.name}.tsv' for table in _OF_MAPS]
    if records.has('motifs', made):
        motifs, spacings, (summary,) = (files.read_tsv(path) for path in tables)
        return _Result(motifs, spacings, summary)
    records.forget('motifs')
    the_map = _read_map(run, store, corpus, job, method, settings, of_map, records)
    result = _find(the_map, folder, corpus, settings, found, targets)
    for path, table, rows in zip(tables, _OF_MAPS, (result.motifs, result.spacings, [result.summary]), strict=True):
        files.write_tsv(path, rows, table.columns)
    written = [*tables, *(folder / name for name in ('seqlets.bed', 'hits.bed', 'found.npz', 'found.meme'))]
    records.keep('motifs', made, written)
    return result


def _read_map(
    run: RunDirectory,
    store: Explanations,
    corpus: Corpus,
    job: Job,
    method: str,
    settings: DiscoverSettings,
    of_map: Made,
    records: Records,
) -> _Map:
    """A stored map, and that of shuffles of its sequences, which is made where it is not there yet."""
    piece = PIECES[ATTRIBUTIONS[method].reads or method]
    rows = store.rows(job.task)
    positive = np.flatnonzero(np.asarray(corpus.labels[rows]) == 1)
    tokens, lengths = sequences(corpus, rows)
    signed = stored_maps(method, store.load(piece.name, job.index), tokens).signed[positive]
    tokens, rows = tokens[positive], rows[positive]
    lengths = None if lengths is None else lengths[positive]
    several = np.repeat(np.arange(len(rows)), settings.shuffles)
    rng = np.random.default_rng([name_seed(job.task), settings.random_seed, 5])
    null_lengths = None if lengths is None else lengths[several]
    null_tokens = dna.dinucleotide_shuffle(tokens[several], rng, null_lengths)
    path = folder_of(run, job.task, job.spec, method) / 'null.npz'
    made = Made({'shuffles': settings.shuffles, 'random_seed': settings.random_seed}, {'map': repr(of_map.as_json())})
    if records.has('null', made):
        null = arrays.read_npz(path, ['signed'])['signed']
    elif len(rows) < seqlets.LEAST_SEQUENCES:  # nothing will be called, and that is said
        null = np.zeros(null_tokens.shape, np.float32)
    else:
        assert piece.make is not None  # attributions are made of one model at a time
        options = {name: of_map.settings.get(name, default) for name, default in piece.options.items()}
        strands = bool(of_map.settings.get('both_strands', False))
        subjects = [
            Subject(run.load_result(member).params, resolve(job.spec), null_tokens, null_lengths, strands)
            for member in store.members(job.index)
        ]
        made_of = mean_piece([piece.make(subject, options) for subject in subjects])
        null = stored_maps(method, made_of, null_tokens).signed.astype(np.float32)
        with files.atomic_path(path) as temporary, open(temporary, 'wb') as handle:
            np.savez_compressed(handle, allow_pickle=False, signed=null, tokens=null_tokens)
        records.keep('null', made, [path])
    return _Map(job, method, rows, tokens, lengths, signed, null_tokens, null)


def _find(
    the_map: _Map,
    folder: pathlib.Path,
    corpus: Corpus,
    settings: DiscoverSettings,
    found: own.OwnMatrices,
    targets: Any,
) -> _Result:
    """Seqlets, motifs, hits and spacings of one map, and their files."""
    job, method, rows, tokens, _, values, null_tokens, null = the_map
    key = {'task': job.task, 'spec': job.spec, 'method': method}
    note, motifs = '', {}
    try:
        called = _seqlets(the_map, settings)
        called = called.take(called.q_value <= settings.seqlet_fdr)
        motifs = _named(find_motifs(values, tokens, called, neighbours=settings.neighbours))
        note = '' if motifs else 'no motif' if len(called) else 'no seqlet is significant'
    except InputError as error:
        called, note = seqlets.NO_SEQLETS, str(error)
    discovered.write_seqlets(folder / 'seqlets.bed', called, corpus, rows)
    discovered.write_found(folder, motifs, tokens, values)
    facts = [(motif.source, motif.sign, motif.contribution.mean()) for motif in motifs.values()]
    competes = competing(*map(np.array, zip(*facts, strict=True))).tolist() if facts else []
    patterns = {
        name: Pattern(motif.probabilities, motif.contributions, motif.sign)
        for (name, motif), one in zip(motifs.items(), competes, strict=True)
        if one
    }
    hits = find_map_hits(values, tokens, patterns, null=(null, null_tokens))
    hits = hits.take(hits.q_value <= settings.hit_fdr)
    discovered.write_hits(folder / 'hits.bed', hits, corpus, rows)
    sites = {
        name: Sites(hits.row[mine], hits.start[mine], hits.strand[mine], motif.width)
        if name in patterns
        else Sites(motif.row, motif.start, motif.strand, motif.width)
        for name, motif in motifs.items()
        for mine in [hits.motif == (list(patterns).index(name) if name in patterns else -1)]
    }
    pairs = pair_motifs(sites, len(rows), shuffles=settings.placements, seed=settings.random_seed)
    table = _motif_rows(key, motifs, the_map, settings, found, targets)
    summary = key | {
        'sequences': len(rows),
        'shuffles': len(null),
        'for': int((called.sign > 0).sum()),
        'against': int((called.sign < 0).sum()),
        'motifs': len(motifs),
        'hits': len(hits),
        'note': note,
    }
    return _Result(table, [_pair_row(key, pair) for pair in pairs], summary)


def _named(motifs: Sequence[FoundMotif]) -> dict[str, FoundMotif]:
    """Motifs as files call them: for_1, for_2, ..., against_1, ..."""
    named: dict[str, FoundMotif] = {}
    for sign, word in ((1, 'for'), (-1, 'against')):
        named |= {
            f'{word}_{number}': motif
            for number, motif in enumerate((motif for motif in motifs if motif.sign == sign), start=1)
        }
    return named


def _motif_rows(
    key: Mapping[str, str],
    motifs: Mapping[str, FoundMotif],
    the_map: _Map,
    settings: DiscoverSettings,
    found: own.OwnMatrices,
    targets: Any,
) -> list[dict[str, Any]]:
    """Rows with `FOUND_COLUMNS`; `seen_in` and `looked_in` are filled in when all maps are done."""
    if not motifs:
        return []
    matches, rows = match_motifs([motif.probabilities for motif in motifs.values()], targets), []
    for number, (name, motif) in enumerate(motifs.items()):
        best = int(matches.p_value[number].argmin())
        q_value = float(matches.q_value[number, best])
        total = float(np.maximum(motif.sign * the_map.values, 0).sum(dtype=np.float64))
        matrix = found.matrices[targets.ids[best]] if q_value <= settings.match_q else None
        own_q = [matches.q_value[number, targets.ids.index(motif_id)] for motif_id in found.ids[the_map.job.task]]
        rows.append(
            {
                **key,
                'motif': name,
                'sign': motif.sign,
                'source': motif.source,
                'consensus': motif.consensus,
                'width': motif.width,
                'bits': motif.bits,
                'sites': len(motif.row),
                'sequences': len(np.unique(motif.row)),
                'of': len(the_map.rows),
                'contribution': float(motif.contribution.mean()),
                'share': motif.sign * float(motif.contribution.sum()) / total if total > 0 else None,
                'match': '' if matrix is None else matrix.id,
                'match_name': 'unknown' if matrix is None else matrix.name,
                **(
                    {}
                    if matrix is None
                    else {
                        'match_q': q_value,
                        'match_offset': int(matches.offset[number, best]),
                        'match_overlap': int(matches.overlap[number, best]),
                        'match_strand': '+' if matches.forward[number, best] else '-',
                    }
                ),
                'own': int(min(own_q) <= settings.match_q) if own_q else None,
                'profile': ','.join(map(str, motif.profile(the_map.tokens.shape[1]).tolist())),
            }
        )
    return rows


def _pair_row(key: Mapping[str, str], pair: Pairing) -> dict[str, Any]:
    """A row of spacings.tsv."""
    return {**key, **pair._asdict(), 'same_strand': int(pair.same_strand)}


def _count_seen(rows: list[dict[str, Any]], run: RunDirectory) -> None:
    """Fill in, per motif, in how many maps of its task (of other methods and architectures) it was found, too."""
    by_task: dict[str, list[tuple[dict[str, Any], JasparMatrix]]] = {}
    stored: dict[pathlib.Path, dict[str, dict[str, np.ndarray]]] = {}
    for row in rows:
        folder = folder_of(run, row['task'], row['spec'], row['method'])
        if folder not in stored:
            stored[folder] = discovered.read_found(folder)
        of_motif = stored[folder][row['motif']]
        matrix = JasparMatrix(row['motif'], row['motif'], of_motif['counts'], of_motif['probabilities'])
        by_task.setdefault(row['task'], []).append((row, matrix))
    for entries in by_task.values():
        maps = {(row['spec'], row['method']) for row, _ in entries}
        for row, matrix in entries:
            seen = {
                (other['spec'], other['method'])
                for other, rival in entries
                if str(other['sign']) == str(row['sign']) and own.compare(matrix, rival).agreement >= _SAME
            }
            row['seen_in'], row['looked_in'] = len(seen), len(maps)


def _say(results: Sequence[_Result]) -> None:
    """Print what was found, and of how many maps nothing was made."""
    motifs = sum(len(result.motifs) for result in results)
    notes: dict[str, int] = {}
    for result in results:
        if result.summary['note']:
            notes[result.summary['note']] = notes.get(result.summary['note'], 0) + 1
    print(f'{motifs} motifs in {len(results)} maps (tables/motifs.tsv)')
    for note, count in notes.items():
        print(f'{count} of {len(results)} maps: {note}')
