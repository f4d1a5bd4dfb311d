"""The effects of small variants on the scores of a run's models (edge: reads and writes files); positions from 1.

Files of any size are read once, a block of variants at a time. What is written holds p-values as soon as they are
known; q-values are filled in by a second pass over what has been written. For these only the number of variants with
each p-value is kept, of which there are no more than substitutions in the null.
"""

import collections
import contextlib
import dataclasses
import heapq
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from demo_jax import dna
from demo_jax.data.genome import Genome, Nearby
from demo_jax.data.names import no_name_is_known
from demo_jax.data.variants import (
    UNKNOWN,
    Alleles,
    Names,
    Skipped,
    UnfitVariant,
    Variant,
    cut_alleles,
    margins,
    normalised,
    read_variants,
    skipped,
)
from demo_jax.errors import InputError
from demo_jax.explain.score import shortest as shortest_of
from demo_jax.io import files
from demo_jax.predict.alleles import AlleleScorer, Pairs
from demo_jax.predict.ensemble import count_members, members_of
from demo_jax.predict.predictor import Predictor
from demo_jax.predict.scoring import padded_windows
from demo_jax.predict.variant_motifs import Bank
from demo_jax.predict.variant_null import OTHER, Null, kinds_of

VARIANT_COLUMNS = (
    'line',
    'id',
    'sequence',
    'position',
    'ref',
    'alt',
    'task',
    'spec',
    'seed',
    'start',
    'end',
    'score_ref',
    'score_alt',
    'score_change',
    'probability_ref',
    'probability_alt',
    'probability_change',
)
#: What the table has besides where any of the models is an ensemble.
SPREAD_COLUMNS = ('score_change_sd', 'members')
#: What it has besides with a null, and with motifs.
NULL_COLUMNS = ('p_value', 'percentile', 'q_value')
MOTIF_COLUMNS = ('motifs_gained', 'motifs_lost')
#: Variants that are held and scored at a time.
BLOCK = 4096
#: How many names of sequences that are not in the FASTA a message shows.
_NAMED = 3
_CELL = 6  # significant digits


class Placed(NamedTuple):
    """A variant and its windows.

    Attributes:
      variant: as the file has it.
      alleles: the windows of its leftmost and shortest form (`normalised`).
      at: where either allele of that form begins in its window, from 0.
      letters: how many it has.
      genuine: the reference window is the FASTA's, letter by letter (but for U and case).
    """

    variant: Variant
    alleles: Alleles
    at: tuple[int, int]
    letters: tuple[int, int]
    genuine: bool


@dataclasses.dataclass(frozen=True, eq=False)
class VariantScores:
    """The scores of both alleles of V variants, for each of M models.

    Attributes:
      models: the M models.
      variants: the V variants.
      alleles: the windows of the V variants that were scored.
      skipped: number of skipped alleles, by reason.
      unknown: the first names of sequences that are not in the FASTA.
      ref, alt: float32 (M, V), the scores S of the alleles; of ensembles, means.
      change_sd: float32 (M, V), the SD of alt minus ref between the members of an ensemble; NaN of one model.
      p_value, percentile: float64 (M, V), see `variant_null.Null.rank`; None without a null.
      gained, lost: for each model and variant the names of motifs that match over one allele only, joined by ';'; None
        where none were asked for.
    """

    models: Sequence[Predictor]
    variants: Sequence[Variant]
    alleles: Sequence[Alleles]
    skipped: Mapping[str, int]
    unknown: Sequence[str]
    ref: np.ndarray
    alt: np.ndarray
    change_sd: np.ndarray
    p_value: np.ndarray | None = None
    percentile: np.ndarray | None = None
    gained: Sequence[Sequence[str]] | None = None
    lost: Sequence[Sequence[str]] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """`VARIANT_COLUMNS`, and of the others those that apply; q-values are for `write_variants` to add."""
        more = SPREAD_COLUMNS if members_of(self.models).several else ()
        more += NULL_COLUMNS[:2] if self.p_value is not None else ()
        return VARIANT_COLUMNS + more + (MOTIF_COLUMNS if self.gained is not None else ())

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row per variant and model, with `columns`; a change is alt minus ref, of scores in log odds."""
        columns = self.columns
        chances = [
            (model.probability(self.ref[m]), model.probability(self.alt[m])) for m, model in enumerate(self.models)
        ]
        for v, (variant, alleles) in enumerate(zip(self.variants, self.alleles, strict=True)):
            for m, model in enumerate(self.models):
                ref, alt = float(self.ref[m, v]), float(self.alt[m, v])
                row = variant._asdict() | {
                    'task': model.task,
                    'spec': model.spec,
                    'seed': model.seed,
                    'start': alleles.start + 1,
                    'end': alleles.start + len(alleles.ref),
                    'score_ref': ref,
                    'score_alt': alt,
                    'score_change': alt - ref,
                    'probability_ref': float(chances[m][0][v]),
                    'probability_alt': float(chances[m][1][v]),
                    'probability_change': float(chances[m][1][v] - chances[m][0][v]),
                    'score_change_sd': float(self.change_sd[m, v]),
                    'members': count_members(model),
                    'p_value': None if self.p_value is None else float(self.p_value[m, v]),
                    'percentile': None if self.percentile is None else float(self.percentile[m, v]),
                    'motifs_gained': None if self.gained is None else self.gained[m][v],
                    'motifs_lost': None if self.lost is None else self.lost[m][v],
                }
                yield {name: row[name] for name in columns}


@contextlib.contextmanager
def skipped_table(path: pathlib.Path) -> Iterator[Callable[[Skipped], None]]:
    """A function that adds a row to the tab-separated table of skipped alleles.

    The columns are those of `Skipped`, so a corrected table can be read as a table of variants. The file appears when
    the block ends without an error, and only if it has rows; an older file is removed.
    """
    with contextlib.ExitStack() as stack:
        handles: list[Any] = []

        def enter(allele: Skipped) -> None:
            if not handles:
                temporary = stack.enter_context(files.atomic_path(path))
                handle = open(temporary, 'w', encoding='utf-8', errors='backslashreplace', newline='\n')  # noqa: SIM115
                handles.append(stack.enter_context(handle))
                handle.write('\t'.join(Skipped._fields) + '\n')
            handles[0].write('\t'.join(map(files.format_cell, allele)) + '\n')

        yield enter
        if not handles:
            path.unlink(missing_ok=True)


class _Passed:
    """Counts skipped alleles, and hands them on."""

    def __init__(self, enter: Callable[[Skipped], None] | None) -> None:
        self._enter = enter
        self.counts: dict[str, int] = {}
        self.first: Skipped | None = None
        self.unknown: list[str] = []

    def add(self, allele: Skipped) -> None:
        """Count an allele."""
        self.first = self.first or allele
        self.counts[allele.reason] = self.counts.get(allele.reason, 0) + 1
        if allele.reason == UNKNOWN and len(self.unknown) < _NAMED and allele.sequence not in self.unknown:
            self.unknown.append(allele.sequence)
        if self._enter is not None:
            self._enter(allele)

    def told(self) -> str:
        """The counts, and what is wrong with the first allele, as the end of a message."""
        if self.first is None:
            return ''
        counts = ', '.join(f'{count:,} {reason}' for reason, count in self.counts.items())
        return f' (passed over: {counts}; the first, line {self.first.line}, {self.first.detail})'


class _Reader:
    """Reads variants, and cuts the windows of those that can be scored."""

    def __init__(
        self,
        models: Sequence[Predictor],
        path: str | os.PathLike,
        fasta_path: str | os.PathLike,
        strict: bool,
        passed: _Passed,
        say: Callable[[str], object],
    ) -> None:
        self.width = models[0].length
        self._needed = max(shortest_of(model.score) for model in models)
        self._path, self._fasta_path, self._strict, self._passed, self._say = path, fasta_path, strict, passed, say

    def placed(self) -> Iterator[Placed]:
        """The variants that can be scored, in the order of the file.

        Raises:
          InputError: as `score_blocks`.
        """
        met, kept = False, False  # whether a sequence of the variants is in the FASTA, and a variant could be scored
        fasta = Genome(self._fasta_path)
        try:
            names, letters = Names(fasta.sizes), Nearby(fasta)
            for item in read_variants(self._path, strict=self._strict, say=self._say):
                if isinstance(item, Skipped):
                    self._passed.add(item)
                    continue
                variant = names.resolve(item)
                met = met or variant.sequence in fasta.sizes
                found = self._place(letters, variant, item.sequence)
                if isinstance(found, Skipped):
                    self._passed.add(found)
                    continue
                kept = True
                yield found
            sizes = fasta.sizes
        finally:
            fasta.close()
        if told := names.told(self._path, self._fasta_path):
            self._say(told)
        if self._passed.unknown and not met:
            raise no_name_is_known(self._path, self._passed.unknown, self._fasta_path, sizes)
        if not kept:
            raise InputError(f'{self._path}: holds no variants that can be scored{self._passed.told()}')

    def _place(self, fasta: Nearby, variant: Variant, name: str) -> Placed | Skipped:
        """The windows of a variant, or why it has none; with `strict`, `UnfitVariant`.

        The variant is on a sequence as the FASTA calls it; `name` is what its own file calls it.
        """
        given = variant._replace(sequence=name)
        longest = max(len(variant.ref), len(variant.alt))
        if longest > self.width and variant.sequence in fasta.sizes:
            detail = f'has an allele of {longest} letters, expected at most {self.width}'
            return skipped(given, f'allele longer than {self.width} letters', detail)
        try:
            pair, least = cut_alleles(fasta, self._path, variant, self.width), variant
            if longest > 1:
                least = normalised(fasta, variant)
                pair = pair if least == variant else cut_alleles(fasta, self._path, least, self.width)
            if min(len(pair.ref), len(pair.alt)) < self._needed:
                place = f'{variant.sequence}:{variant.position}'
                detail = f'{place}: its sequence has {len(pair.ref)} letters, expected at least {self._needed}'
                reason = f'sequence shorter than {self._needed} letters'
                raise UnfitVariant(self._path, variant.line, reason, detail)
        except UnfitVariant as error:
            if self._strict:
                raise
            return skipped(given, error.reason, error.detail)
        (left, _), (left_alt, _) = margins(least, fasta.sizes[least.sequence], self.width)
        first = least.position - 1
        genuine = fasta.letters(least.sequence, first, first + len(least.ref)).decode('latin-1').upper() == least.ref
        return Placed(given, pair, (left, left_alt), (len(least.ref), len(least.alt)), genuine)


def _blocks(placed: Iterator[Placed]) -> Iterator[list[Placed]]:
    block: list[Placed] = []
    for one in placed:
        block.append(one)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block


def _pairs(path: str | os.PathLike, fasta_path: str | os.PathLike, block: Sequence[Placed], width: int) -> Pairs:
    """The tokens of both alleles of some variants."""
    names: dict[str, int] = {}
    arrays = []
    for which in ('ref', 'alt'):
        windows = [getattr(one.alleles, which) for one in block]
        try:
            whole = dna.encode(b''.join(windows))
        except InputError:
            for one, window in zip(block, windows, strict=True):
                try:
                    dna.encode(window)
                except InputError as error:
                    place = f'{one.variant.sequence}:{one.variant.position}'
                    message = f'{path}: line {one.variant.line}: {place}: the window in {fasta_path}: {error}'
                    raise InputError(message) from error
            raise
        ends = np.cumsum([len(window) for window in windows])
        if (np.diff(ends, prepend=0) == width).all():
            arrays.append((whole.reshape(-1, width), np.full(len(block), width, np.int32)))
        else:
            arrays.append(padded_windows(np.split(whole, ends[:-1]), width))
    (ref, ref_length), (alt, alt_length) = arrays
    group = np.array([names.setdefault(one.variant.sequence, len(names)) for one in block], np.int64)
    own = np.flatnonzero([not one.genuine for one in block])
    group[own] = len(names) + np.arange(len(own))  # a window that differs from the FASTA shares nothing with others
    start = np.array([one.alleles.start for one in block], np.int64)
    differs = ref != alt
    single = (differs.sum(axis=1) == 1) & (ref_length == alt_length)
    position = np.where(single, differs.argmax(axis=1), -1)
    return Pairs(ref, alt, ref_length, alt_length, group, start, position)


def score_blocks(
    models: Sequence[Predictor],
    path: str | os.PathLike,
    fasta_path: str | os.PathLike,
    *,
    strict: bool = False,
    passed_over: Callable[[Skipped], None] | None = None,
    say: Callable[[str], object] = lambda text: None,
    nulls: Callable[[], Sequence[Null]] | None = None,
    bank: Bank | None = None,
    progress: bool = True,
) -> Iterator[VariantScores]:
    """Score both alleles of every variant, `BLOCK` variants at a time, in the order of the file.

    A window has the training length (see `cut_alleles`). Insertions and deletions are scored at their leftmost place
    (`normalised`), so that it does not matter how they are written. A chromosome that the FASTA calls otherwise, with
    or without 'chr', is found where only one name fits.

    Alleles that cannot be scored are skipped and counted: those that `read_variants` skips, those that do not fit the
    sequences, those longer than the window, and those on sequences that are too short for a model.

    Args:
      models: of one run, from `choose_models`.
      path: the variants, see `read_variants`.
      fasta_path: the sequences or genome that they refer to, by name.
      strict: refuse the file for a variant that cannot be read or does not fit the sequences.
      passed_over: called with each skipped allele, in the order of the file.
      say: called with a sentence for whatever had to be guessed.
      nulls: makes one null per model, see `variant_null.nulls_of`, and is called once there is a variant; or None.
      bank: the motifs of all models, from `variant_motifs.make_bank`, or None.
      progress: show a bar over variants.

    Raises:
      InputError: a file cannot be read, no sequence of the variants is in the FASTA, a window has a letter that is not
        DNA, or no variant remains; with `strict`, a variant is refused.
    """
    passed = _Passed(passed_over)
    reader = _Reader(models, path, fasta_path, strict, passed, say)
    members = members_of(models)
    scorer = AlleleScorer(members.models)
    made: Sequence[Null] | None = None
    with tqdm(desc='scoring', unit='variant', disable=not progress) as bar:
        for block in _blocks(reader.placed()):
            made = nulls() if nulls and made is None else made
            pairs = _pairs(path, fasta_path, block, reader.width)
            ref, alt = scorer.score(pairs)
            means = members.combine(ref).mean, members.combine(alt).mean
            spread = members.combine(alt - ref).sd
            p_value, percentile = _ranked(made, means[1] - means[0], pairs) if made is not None else (None, None)
            gained, lost = _motif_changes(bank, len(models), pairs, block) if bank else (None, None)
            variants, windows = [one.variant for one in block], [one.alleles for one in block]
            yield VariantScores(
                models,
                variants,
                windows,
                passed.counts,
                passed.unknown,
                *means,
                spread,
                p_value,
                percentile,
                gained,
                lost,
            )
            bar.update(len(block))


def _ranked(nulls: Sequence[Null], change: np.ndarray, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """p-values and percentiles (M, n) of changes (M, n)."""
    rows, at = np.arange(len(pairs)), pairs.position
    edge = (at < 1) | (at > pairs.ref_length - 2)
    inner = np.clip(at, 1, pairs.ref.shape[1] - 2)
    letters = (pairs.ref[rows, inner - 1], pairs.ref[rows, inner], pairs.ref[rows, inner + 1], pairs.alt[rows, inner])
    found = []
    for null, changes in zip(nulls, change, strict=True):
        found.append(null.rank(changes, np.where(edge, OTHER, kinds_of(*letters, null.strands))))
    return np.stack([p for p, _ in found]), np.stack([percentile for _, percentile in found])


def _motif_changes(
    bank: Bank, n_models: int, pairs: Pairs, block: Sequence[Placed]
) -> tuple[list[list[str]], list[list[str]]]:
    """The names of motifs that match over ALT alone, and over REF alone, for each model and variant."""
    at, letters = (np.array([getattr(one, name) for one in block]) for name in ('at', 'letters'))
    ref, alt = (
        bank.matches(tokens, at[:, which], letters[:, which]) for which, tokens in enumerate((pairs.ref, pairs.alt))
    )
    changed = []
    for hits in (alt & ~ref, ref & ~alt):
        names: list[list[list[str]]] = [[[] for _ in block] for _ in range(n_models)]
        for v, k in zip(*(index.tolist() for index in np.nonzero(hits)), strict=True):
            names[bank.model[k]][v].append(bank.names[k])
        changed.append([[';'.join(of_variant) for of_variant in of_model] for of_model in names])
    return changed[0], changed[1]


def score_variants(
    models: Sequence[Predictor], path: str | os.PathLike, fasta_path: str | os.PathLike, **options: Any
) -> VariantScores:
    """All blocks of `score_blocks` as one: for files that fit into memory. Arguments and errors are the same."""
    parts = list(score_blocks(models, path, fasta_path, **options))
    last = parts[-1]

    def joined(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        if arrays[0] is None:
            return None
        if isinstance(arrays[0], np.ndarray):
            return np.concatenate(arrays, axis=-1)
        return [[text for one in arrays for text in one[m]] for m in range(len(models))]

    arrays = {name: joined(name) for name in ('ref', 'alt', 'change_sd', 'p_value', 'percentile', 'gained', 'lost')}
    return VariantScores(
        models,
        [variant for part in parts for variant in part.variants],
        [pair for part in parts for pair in part.alleles],
        last.skipped,
        last.unknown,
        **arrays,
    )


class Written(NamedTuple):
    """What `write_variants` has written.

    Attributes:
      n_rows: rows of the table.
      columns: of the table.
      top: the rows with the largest change either way, largest first; all rows, in order, if they are no more.
      windows: the windows of each of `top`.
      skipped: number of skipped alleles, by reason.
      unknown: the first names of sequences that are not in the FASTA.
    """

    n_rows: int
    columns: tuple[str, ...]
    top: list[dict[str, Any]]
    windows: list[Alleles]
    skipped: Mapping[str, int]
    unknown: Sequence[str]


def write_variants(
    models: Sequence[Predictor],
    path: str | os.PathLike,
    fasta_path: str | os.PathLike,
    out: pathlib.Path,
    *,
    n_top: int = 30,
    **options: Any,
) -> Written:
    """Score the variants of a file of any size into a table. It appears only when all of it is written.

    Args:
      models, path, fasta_path: see `score_blocks`.
      out: the table, tab-separated, a row per variant and model: `VariantScores.columns`, and with a null `q_value`,
        the false discovery rate (Benjamini and Hochberg 1995) among all variants of the model.
      n_top: rows to return.
      **options: of `score_blocks`.

    Raises:
      InputError: as `score_blocks`.
    """
    top: list[tuple[float, int, dict[str, Any], Alleles]] = []
    n_rows, with_null = 0, bool(options.get('nulls'))
    counts: list[collections.Counter[str]] = [collections.Counter() for _ in models]
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_path(out) as final, contextlib.ExitStack() as stack:
        first = final.with_name(f'{final.name}.p') if with_null else final
        if with_null:
            stack.callback(first.unlink, missing_ok=True)
        with open(first, 'w', encoding='utf-8', errors='backslashreplace', newline='\n') as table:
            for block in score_blocks(models, path, fasta_path, **options):
                if not n_rows:
                    columns = block.columns
                    table.write('\t'.join(columns) + '\n')
                table.writelines(_lines(block))
                _count(counts, block)
                top = _largest(top, block, n_rows, n_top)
                n_rows += len(block.variants) * len(models)
        if with_null:
            columns = _with_q(first, final, [_q_values(count) for count in counts], columns, top)
    chosen = sorted(top, key=lambda one: (-one[0], one[1]) if n_rows > n_top else one[1])
    return Written(
        n_rows, columns, [one[2] for one in chosen], [one[3] for one in chosen], block.skipped, block.unknown
    )


def _formatted(values: np.ndarray) -> list[str]:
    """Cells of numbers (n,), as `files.format_cell` writes them."""
    return [f'{value:.6g}' if value == value else '' for value in values.tolist()]


def _lines(block: VariantScores) -> Iterator[str]:
    """The rows of a block as lines; the same as `rows`, several times as fast."""
    per_model = []
    several = members_of(block.models).several
    for m, model in enumerate(block.models):
        ref, alt = block.ref[m], block.alt[m]
        change = alt.astype(np.float64) - ref
        chances = model.probability(ref), model.probability(alt)
        numbers = [ref, alt, change, *chances, chances[1] - chances[0]]
        parts = [_formatted(part) for part in numbers]
        if several:
            parts += [_formatted(block.change_sd[m]), [str(count_members(model))] * len(change)]
        if block.p_value is not None and block.percentile is not None:
            parts += [_formatted(block.p_value[m]), _formatted(block.percentile[m])]
        if block.gained is not None and block.lost is not None:
            parts += [list(block.gained[m]), list(block.lost[m])]
        per_model.append(['\t'.join(cells) for cells in zip(*parts, strict=True)])
    named = ['\t'.join(map(files.format_cell, (model.task, model.spec, model.seed))) for model in block.models]
    for v, (variant, alleles) in enumerate(zip(block.variants, block.alleles, strict=True)):
        cells = (files.format_cell(variant.id), files.format_cell(variant.sequence), variant.position, *variant[4:])
        whose = f'{variant.line}\t' + '\t'.join(map(str, cells))
        where = f'{alleles.start + 1}\t{alleles.start + len(alleles.ref)}'
        for name, numbers in zip(named, per_model, strict=True):
            yield f'{whose}\t{name}\t{where}\t{numbers[v]}\n'


def _count(counts: Sequence[collections.Counter[str]], block: VariantScores) -> None:
    """Count the p-values of each model, as they are written."""
    if block.p_value is not None:
        for count, p_values in zip(counts, block.p_value, strict=True):
            values, numbers = np.unique(p_values, return_counts=True)
            count.update(dict(zip(_formatted(values), numbers.tolist(), strict=True)))


def _q_values(count: collections.Counter[str]) -> dict[str, str]:
    """Benjamini and Hochberg's q for each p-value that occurs, both as they are written."""
    cells = sorted((cell for cell in count if cell), key=float)
    numbers = np.array([count[cell] for cell in cells])
    rates = np.array([float(cell) for cell in cells]) * numbers.sum() / np.maximum(np.cumsum(numbers), 1)
    q_values = np.minimum(np.minimum.accumulate(rates[::-1])[::-1], 1)
    return dict(zip(cells, _formatted(q_values), strict=True)) | {'': ''}


def _with_q(
    first: pathlib.Path,
    final: pathlib.Path,
    q_values: Sequence[Mapping[str, str]],
    columns: tuple[str, ...],
    top: Sequence[tuple[float, int, dict[str, Any], Alleles]],
) -> tuple[str, ...]:
    """Copy a table with q-values behind the percentiles, and put them into the rows that are kept; its new columns."""
    at, behind = columns.index('p_value'), columns.index('percentile') + 1
    with (
        open(first, encoding='utf-8', newline='\n') as source,
        open(final, 'w', encoding='utf-8', errors='backslashreplace', newline='\n') as table,
    ):
        for number, line in enumerate(source):
            cells = line.rstrip('\n').split('\t')
            q_value = q_values[(number - 1) % len(q_values)][cells[at]] if number else NULL_COLUMNS[2]
            table.write('\t'.join((*cells[:behind], q_value, *cells[behind:])) + '\n')
    for _, place, row, _ in top:
        row['q_value'] = float(q_values[place % len(q_values)][files.format_cell(row['p_value'])] or 'nan')
    return (*columns[:behind], NULL_COLUMNS[2], *columns[behind:])


def _largest(
    top: list[tuple[float, int, dict[str, Any], Alleles]], block: VariantScores, n_rows: int, n_top: int
) -> list[tuple[float, int, dict[str, Any], Alleles]]:
    """The rows with the largest changes so far: (change, place in the table, row, windows)."""
    size = np.abs(block.alt - block.ref).T.ravel()  # in the order of the rows
    places = np.sort(np.argsort(-size, kind='stable')[:n_top])
    chosen = _only(block, np.unique(places // len(block.models)))
    rows = list(chosen.rows())
    which = {v: n for n, v in enumerate(np.unique(places // len(block.models)).tolist())}
    for place in places.tolist():
        v, m = divmod(place, len(block.models))
        row = rows[which[v] * len(block.models) + m]
        top.append((float(size[place]), n_rows + place, row, block.alleles[v]))
    return heapq.nsmallest(n_top, top, key=lambda one: (-one[0], one[1]))


def _only(block: VariantScores, chosen: np.ndarray) -> VariantScores:
    """A block with some of its variants."""

    def part(values: Any) -> Any:
        if values is None or isinstance(values, np.ndarray):
            return None if values is None else values[:, chosen]
        return [[one[v] for v in chosen] for one in values]

    arrays = {
        name: part(getattr(block, name))
        for name in ('ref', 'alt', 'change_sd', 'p_value', 'percentile', 'gained', 'lost')
    }
    variants, windows = ([of[v] for v in chosen] for of in (block.variants, block.alleles))
    return dataclasses.replace(block, variants=variants, alleles=windows, **arrays)
