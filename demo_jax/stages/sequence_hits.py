"""Hits of motifs in somebody's own sequences, or in a whole genome, in bounded memory (edge: reads and writes files).

Every base is explained (`predict.tracks.explain_bases`), and motifs compete for the map (`motifs.hits`). Hits go to a
temporary file, with how many hits in maps of shuffled sequences explain as much. When all are there, their false
discovery rates are known, and the table is written.
"""

import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

import numpy as np

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.insilico.sources import find_motifs
from demo_jax.io import files
from demo_jax.motifs import formats, own
from demo_jax.motifs.hits import MapHits, Pattern, find_map_hits, known_pattern
from demo_jax.predict.predictor import Predictor
from demo_jax.predict.run import Run
from demo_jax.predict.scoring import BestWindows
from demo_jax.predict.tracks import Stretch, explain_bases
from demo_jax.predict.windows import Fasta, read_blocks
from demo_jax.runs.preferred import prefer
from demo_jax.stages.discovered import read_patterns

COLUMNS = ('chrom', 'start', 'end', 'name', 'score', 'strand', 'contribution', 'similarity', 'q', 'task', 'spec')
#: How bases are explained where motifs do not come with a method.
METHOD = 'integrated_gradients'
#: Shuffled windows whose maps tell what is significant: at least, and at most where the file has more letters.
SHUFFLES, MOST_SHUFFLES = 400, 2000
#: Shuffled letters for one of the file: q of few sites cannot be lower than one in as many.
_TIMES = 4
#: Windows' own hits up to this q, by plain shuffles, are left out of what is shuffled.
_LEFT_OUT_Q = 0.5
_CORE, _MARGIN, _ROWS = 1024, 64, 64  # letters of a row that count, letters beside them, rows at a time
#: Hits that more of the null's explain as much as are not kept: this share of them, or so many if there are few.
_MOST_P, _FEW = 0.2, 50
_HIT = np.dtype(
    [
        ('record', 'i8'),
        ('start', 'i8'),
        ('width', 'i4'),
        ('motif', 'i4'),
        ('strand', 'i1'),
        ('above', 'i4'),
        ('contribution', 'f4'),
        ('similarity', 'f4'),
        ('explained', 'f4'),
    ]
)


class Wanted(NamedTuple):
    """Motifs that compete in the maps of a model, by what the table calls them, and how the maps are made."""

    motifs: Mapping[str, Pattern]
    method: str
    source: str


def wanted_motifs(run: Run, model: Predictor, names: Sequence[str] = ()) -> Wanted:
    """The motifs to look for in the maps of a model.

    Args:
      run: its run.
      model: of `choose_models`.
      names: as `insilico.sources.find_motifs` takes them; none: those that the stage discover found for the model, or,
        where it found none, JASPAR's matrices of the TF.

    Raises:
      InputError: a name that nothing has, or there is neither.
    """
    if names:
        found = find_motifs(names, run, [model.task])
        words = {name: motif for name, motif in found.items() if isinstance(motif, str)}
        if words:
            raise InputError(f'motif {next(iter(words))} is a word, expected a matrix (JASPAR, .meme, found)')
        patterns = {name: known_pattern(np.asarray(motif)) for name, motif in found.items()}
        return Wanted(patterns, METHOD, 'given motifs')
    folder = run.directory.path / 'motifs' / files.safe_name(model.task) / files.safe_name(model.spec)
    there = [path.parent.name for path in sorted(folder.glob('*/found.npz')) if read_patterns(path.parent)]
    method = prefer(run.directory.tables, model.task, model.spec, there).best
    if method is not None:
        return Wanted(read_patterns(folder / method), method, 'motifs found')
    matrices = own.find_own(run.directory.corpus(), [model.task])
    ids = matrices.ids[model.task]
    if not ids:
        raise InputError(
            f'{run.directory.path}: no motif was found for {model.task}, {model.spec}, and JASPAR has none of its TF; '
            'name some with --motifs'
        )
    known = {matrices.matrices[one].label: known_pattern(matrices.matrices[one].probabilities) for one in ids}
    return Wanted(known, METHOD, f'{matrices.release} matrices of the TF')


class _Null(NamedTuple):
    """What hits in maps of shuffled windows explain, ascending, by sign of their motifs; and their possible places."""

    explained: dict[int, np.ndarray]
    places: int


def write_hits(
    path: pathlib.Path,
    models: Sequence[Predictor],
    wanted: Sequence[Wanted],
    fasta: Fasta,
    *,
    best: BestWindows | None = None,
    fdr: float = 0.05,
    seed: int = 0,
    progress: bool = True,
) -> int:
    """Hits in all bases of a file, or in the best windows, model by model: BED6 and contribution, similarity, q, ...

    q is the number of hits in as many letters of shuffled sequences that explain as much, divided by that of the hits
    that do. The shuffles are of windows all over the file, without what looks like sites: a shuffle of a window with a
    site holds much of the motif again, far more often than the rest of the file does (`_without_hits`).

    Args:
      path: the table; its rows are in the order of the FASTA.
      models: of one run, from `choose_models`.
      wanted: of each model.
      fasta: from `check_fasta` with these models.
      best: of these models; look in the best window of each record alone.
      fdr: the largest q.
      seed: of the shuffles.
      progress: show a bar over windows.

    Returns:
      How many hits.

    Raises:
      InputError: the file has changed since it was checked.
    """
    n_hits = 0
    windows = _windows(fasta)
    with files.atomic_path(path) as temporary, open(temporary, 'w', encoding='utf-8', newline='\n') as table:
        table.write('#' + '\t'.join(COLUMNS) + '\n')
        for number, (model, mine) in enumerate(zip(models, wanted, strict=True)):
            null = _null(model, mine, windows, np.random.default_rng([seed, 11]))
            with tempfile.TemporaryFile(dir=path.parent) as spool:
                names: list[str] = []
                if best is None:
                    stretches = explain_bases([model], fasta, mine.method, progress=progress)
                else:
                    stretches = _best_stretches(best, number, mine.method)
                counts, letters = _collect(spool, stretches, mine, null, names)
                q_of = {sign: _q_values(counts[sign], null, sign, letters) for sign in counts}
                signs = [pattern.sign for pattern in mine.motifs.values()]
                for hit in _apart(spool):
                    q = q_of[signs[hit['motif']]][hit['above']]
                    if q <= fdr:
                        table.write(_line(hit, q, names, list(mine.motifs), model))
                        n_hits += 1
    return n_hits


def _best_stretches(best: BestWindows, number: int, method: str) -> Iterator[Stretch]:
    """The best windows of a model, explained."""
    for first in range(0, len(best.records), _ROWS):
        part = range(first, min(first + _ROWS, len(best.records)))
        windows = [best.window(number, r) for r in part]
        found = best.models[number].attribute(method, windows).signed
        for r, window, values in zip(part, windows, found, strict=True):
            start = int(best.records[r].start[number])
            yield Stretch(best.records[r].record, start, dna.encode(window), values[None])


def _windows(fasta: Fasta) -> tuple[np.ndarray, np.ndarray]:
    """Windows all over a file, uint8 (n, width), as many as are shuffled at the most, and their lengths.

    They are as many as hold the letters of the file `_TIMES` times, within `SHUFFLES` and `MOST_SHUFFLES`; of a file
    with fewer windows each comes several times.
    """
    every = max(1, fasta.n_windows // MOST_SHUFFLES)
    parts, lengths, seen = [], [], 0
    for block in read_blocks(fasta, 4096):
        chosen = np.arange(-seen % every, len(block.lengths), every)
        parts.append(block.tokens[chosen])
        lengths.append(block.lengths[chosen])
        seen += len(block.lengths)
    tokens, sizes = np.concatenate(parts), np.concatenate(lengths)
    letters = fasta.n_windows * min(fasta.stride, fasta.width)
    n = int(np.clip(_TIMES * letters // fasta.width, SHUFFLES, MOST_SHUFFLES))
    again = np.arange(n) * len(tokens) // n
    return tokens[again], sizes[again]


def _null(model: Predictor, wanted: Wanted, windows: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> _Null:
    """What the motifs explain in shuffles of windows without their own sites."""
    tokens, lengths = windows
    # A motif has fewer places in windows than in as many letters of the file, whose maps have no seams.
    places = np.maximum(lengths - max(len(pattern.probabilities) for pattern in wanted.motifs.values()) + 1, 1)
    few = np.unique(np.linspace(0, len(tokens) - 1, SHUFFLES).astype(np.int64))
    shuffled = dna.dinucleotide_shuffle(tokens[few], rng, lengths[few])
    plain, _ = _explained(model, wanted, shuffled, lengths[few])
    _, hits = _explained(model, wanted, tokens, lengths)
    signs = np.array([pattern.sign for pattern in wanted.motifs.values()])
    inside = np.zeros(tokens.shape, bool)
    for sign, explained in plain.items():
        mine = np.flatnonzero(signs[hits.motif] == sign)
        above = len(explained) - np.searchsorted(explained, hits.explained[mine], side='left')
        counts = np.bincount(above, minlength=len(explained) + 1)
        null = _Null(plain, int(places[few].sum()))
        for hit in mine[_q_values(counts, null, sign, int(places.sum()))[above] <= _LEFT_OUT_Q].tolist():
            inside[hits.row[hit], hits.start[hit] : hits.start[hit] + hits.width[hit]] = True
    background = _without_hits(tokens, lengths, inside, rng)
    return _Null(_explained(model, wanted, background, lengths)[0], int(places.sum()))


def _without_hits(tokens: np.ndarray, lengths: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shuffles of the letters (n, width) outside of hits, filled up to their lengths by other shuffles of these.

    Where hits cover more than half of a window, all of it is shuffled.
    """
    beside = ~inside & (np.arange(tokens.shape[1]) < lengths[:, None])
    kept = np.where((2 * beside.sum(axis=1) >= lengths)[:, None], beside, np.arange(tokens.shape[1]) < lengths[:, None])
    sizes = kept.sum(axis=1)
    packed = np.full(tokens.shape, dna.N, np.uint8)
    packed[np.arange(tokens.shape[1]) < sizes[:, None]] = tokens[kept]
    made, again = (dna.dinucleotide_shuffle(packed, rng, sizes) for _ in range(2))
    for row in np.flatnonzero(sizes < lengths).tolist():
        made[row, sizes[row] : lengths[row]] = again[row, : lengths[row] - sizes[row]]
    return made


def _explained(
    model: Predictor, wanted: Wanted, tokens: np.ndarray, lengths: np.ndarray
) -> tuple[dict[int, np.ndarray], MapHits]:
    """What hits in some windows explain, ascending, by sign of their motifs; and the hits."""
    texts = [dna.decode(row[:n]) for row, n in zip(tokens, lengths, strict=True)]
    values = np.zeros(tokens.shape, np.float32)
    for row, found in zip(values, model.attribute(wanted.method, texts).signed, strict=True):
        row[: len(found)] = found
    hits = find_map_hits(values, tokens, wanted.motifs)
    signs = np.array([pattern.sign for pattern in wanted.motifs.values()])[hits.motif]
    return {sign: np.sort(hits.explained[signs == sign]) for sign in (1, -1)}, hits


def _collect(
    spool: IO[bytes], stretches: Iterator[Stretch], wanted: Wanted, null: _Null, names: list[str]
) -> tuple[dict[int, np.ndarray], int]:
    """Write the hits of some stretches; returns, by sign, how many there are for each `above`, and all letters."""
    signs = np.array([pattern.sign for pattern in wanted.motifs.values()])
    counts = {sign: np.zeros(len(explained) + 1, np.int64) for sign, explained in null.explained.items()}
    letters = 0
    for rows in _batches(_rows(stretches)):
        length = max(len(row.tokens) for row in rows)
        tokens = np.full((len(rows), length), dna.N, np.uint8)
        values = np.zeros((len(rows), length), np.float32)
        for i, row in enumerate(rows):
            tokens[i, : len(row.tokens)], values[i, : len(row.tokens)] = row.tokens, row.values
            if not names or row.record > len(names) - 1:
                names += [''] * (row.record + 1 - len(names))
            names[row.record] = row.name
            letters += row.last - row.first
        hits = find_map_hits(values, tokens, wanted.motifs)
        at = hits.start + np.array([row.start for row in rows])[hits.row]
        inside = (at >= np.array([row.first for row in rows])[hits.row]) & (
            at < np.array([row.last for row in rows])[hits.row]
        )
        made = _stored(hits, at, rows)[inside]
        for sign, explained in null.explained.items():
            mine = signs[made['motif']] == sign
            made['above'][mine] = len(explained) - np.searchsorted(explained, made['explained'][mine], side='left')
            counts[sign] += np.bincount(made['above'][mine], minlength=len(explained) + 1)
        most = np.array([max(int(_MOST_P * len(null.explained[sign])), _FEW) for sign in signs])
        spool.write(made[made['above'] <= most[made['motif']]].tobytes())
    return counts, letters


def _stored(hits: MapHits, at: np.ndarray, rows: Sequence['_Row']) -> np.ndarray:
    made = np.zeros(len(hits), _HIT)
    made['record'], made['start'] = np.array([row.record for row in rows])[hits.row], at
    for name in ('width', 'motif', 'strand', 'contribution', 'similarity', 'explained'):
        made[name] = getattr(hits, name)
    return made


class _Row(NamedTuple):
    """Bases of a record from `start` on; hits count that begin from `first` to before `last`."""

    record: int
    name: str
    start: int
    first: int
    last: int
    tokens: np.ndarray
    values: np.ndarray


def _rows(stretches: Iterator[Stretch]) -> Iterator[_Row]:
    """Stretches in rows of bounded length, which overlap so that no hit is cut."""
    held: Stretch | None = None
    done = 0

    def row(last: int, end: int) -> _Row:
        assert held is not None
        start = max(held.start, done - _MARGIN)
        here = slice(start - held.start, end - held.start)
        number, name = held.record.number - 1, held.record.name
        return _Row(number, name, start, done, last, held.tokens[here], held.values[0, here])

    for stretch in stretches:
        goes_on = (
            held is not None
            and held.record.number == stretch.record.number
            and held.start + len(held.tokens) == stretch.start
        )
        if goes_on and held is not None:
            keep = max(0, done - _MARGIN - held.start)
            tokens = np.concatenate([held.tokens[keep:], stretch.tokens])
            held = Stretch(held.record, held.start + keep, tokens, np.hstack([held.values[:, keep:], stretch.values]))
        else:
            if held is not None:
                yield row(held.start + len(held.tokens), held.start + len(held.tokens))
            held, done = stretch, stretch.start
        end = held.start + len(held.tokens)
        while done + _CORE + _MARGIN <= end:
            yield row(done + _CORE, done + _CORE + _MARGIN)
            done += _CORE
    if held is not None:
        yield row(held.start + len(held.tokens), held.start + len(held.tokens))


def _batches(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    batch: list[_Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _q_values(counts: np.ndarray, null: _Null, sign: int, letters: int) -> np.ndarray:
    """q of hits by how many of the null's explain as much, which is 0 to m."""
    m = len(null.explained[sign])
    expected = max(m, 1) * letters / max(null.places, 1) * (np.arange(m + 1) + 1) / (m + 1)
    rates = expected / np.maximum(np.cumsum(counts), 1)
    return np.minimum(np.minimum.accumulate(rates[::-1])[::-1], 1)


def _apart(spool: IO[bytes]) -> Iterator[Any]:
    """The stored hits; of two that overlap, as at the seam of two rows, the one that explains more."""
    spool.seek(0)
    last: Any = None
    while part := spool.read(_HIT.itemsize * 65_536):
        for hit in np.frombuffer(part, _HIT):
            if last is not None and hit['record'] == last['record'] and hit['start'] < last['start'] + last['width']:
                last = max(last, hit, key=lambda one: one['explained'])
                continue
            if last is not None:
                yield last
            last = hit
    if last is not None:
        yield last


def _line(hit: Any, q: float, names: Sequence[str], motifs: Sequence[str], model: Predictor) -> str:
    start = int(hit['start'])
    cells = (
        formats.escape(names[hit['record']]),
        start,
        start + int(hit['width']),
        formats.escape(motifs[hit['motif']]),
        int(np.rint(np.clip(-100 * np.log10(max(q, 1e-10)), 0, 1000))),
        '-' if hit['strand'] < 0 else '+',
        *(f'{float(number):.6g}' for number in (hit['contribution'], hit['similarity'], q)),
        model.task,
        model.spec,
    )
    return '\t'.join(map(str, cells)) + '\n'
