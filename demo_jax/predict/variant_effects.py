"""The effects of small variants on the scores of a run's models (edge: reads and writes files); positions from 1."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from demo_jax import dna
from demo_jax.data.genome import Genome
from demo_jax.data.names import no_name_is_known
from demo_jax.data.variants import (
    UNKNOWN,
    Alleles,
    Skipped,
    UnfitVariant,
    Variant,
    cut_alleles,
    read_variants,
    skipped,
)
from demo_jax.errors import InputError
from demo_jax.explain.score import shortest as shortest_of
from demo_jax.io import files
from demo_jax.io.textfile import check_size
from demo_jax.predict.ensemble import count_members, members_of
from demo_jax.predict.predictor import Predictor
from demo_jax.predict.scoring import BLOCK, padded_windows, score_all

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
#: How many names of sequences that are not in the FASTA a message shows.
_NAMED = 3


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
    """

    models: Sequence[Predictor]
    variants: Sequence[Variant]
    alleles: Sequence[Alleles]
    skipped: Mapping[str, int]
    unknown: Sequence[str]
    ref: np.ndarray
    alt: np.ndarray
    change_sd: np.ndarray

    @property
    def columns(self) -> tuple[str, ...]:
        """`VARIANT_COLUMNS`, with `SPREAD_COLUMNS` if any of the models is an ensemble."""
        return VARIANT_COLUMNS + (SPREAD_COLUMNS if members_of(self.models).several else ())

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row per variant and model, with `columns`; a change is alt minus ref, of scores in log odds."""
        columns = self.columns
        for v, (variant, alleles) in enumerate(zip(self.variants, self.alleles, strict=True)):
            for m, model in enumerate(self.models):
                ref, alt = float(self.ref[m, v]), float(self.alt[m, v])
                probabilities = float(model.probability(ref)), float(model.probability(alt))
                row = variant._asdict() | {
                    'task': model.task,
                    'spec': model.spec,
                    'seed': model.seed,
                    'start': alleles.start + 1,
                    'end': alleles.start + len(alleles.ref),
                    'score_ref': ref,
                    'score_alt': alt,
                    'score_change': alt - ref,
                    'probability_ref': probabilities[0],
                    'probability_alt': probabilities[1],
                    'probability_change': probabilities[1] - probabilities[0],
                    'score_change_sd': float(self.change_sd[m, v]),
                    'members': count_members(model),
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


def score_variants(
    models: Sequence[Predictor],
    path: str | os.PathLike,
    fasta_path: str | os.PathLike,
    *,
    strict: bool = False,
    passed_over: Callable[[Skipped], None] | None = None,
    progress: bool = True,
) -> VariantScores:
    """Score both alleles of every variant, in a window of the training length around it (see `cut_alleles`).

    Alleles that cannot be scored are skipped and counted: those that `read_variants` skips, those that do not fit the
    sequences, those longer than the window, and those on sequences that are too short for a model.

    Args:
      models: of one run, from `choose_models`.
      path: the variants, see `read_variants`.
      fasta_path: the sequences or genome that they refer to, by name.
      strict: refuse the file for a variant that cannot be read or does not fit the sequences.
      passed_over: called with each skipped allele, in the order of the file.
      progress: show bars.

    Raises:
      InputError: a file cannot be read, no sequence of the variants is in the FASTA, a window has a letter that is not
        DNA, or no variant remains; with `strict`, a variant is refused.
    """
    width = models[0].length
    passed = _Passed(passed_over)
    kept: list[Variant] = []
    alleles: list[Alleles] = []
    tokens: list[np.ndarray] = []
    met = False  # whether a sequence of the variants is in the FASTA
    fasta = Genome(fasta_path)
    try:
        for item in tqdm(read_variants(path, strict=strict), desc='reading', unit='variant', disable=not progress):
            if isinstance(item, Skipped):
                passed.add(item)
                continue
            met = met or item.sequence in fasta.sizes
            if item.sequence in fasta.sizes and max(len(item.ref), len(item.alt)) > width:
                detail = f'has an allele of {max(len(item.ref), len(item.alt))} letters, expected at most {width}'
                passed.add(skipped(item, f'allele longer than {width} letters', detail))
                continue
            try:
                pair = cut_alleles(fasta, path, item, width)
                both = _encode(models, path, fasta, item, pair)
            except UnfitVariant as error:
                if strict:
                    raise
                passed.add(skipped(item, error.reason, error.detail))
                continue
            check_size(path, len(kept) + 1)
            kept.append(item)
            alleles.append(pair)
            tokens += both
        sizes = fasta.sizes
    finally:
        fasta.close()
    if passed.unknown and not met:
        raise no_name_is_known(path, passed.unknown, fasta_path, sizes)
    if not kept:
        raise InputError(f'{path}: holds no variants that can be scored{passed.told()}')
    members = members_of(models)
    scores = np.empty((len(members.models), len(tokens)), np.float32)
    with tqdm(total=scores.size, desc='scoring', unit='window', disable=not progress) as bar:
        for first in range(0, len(tokens), BLOCK):
            block = padded_windows(tokens[first : first + BLOCK], width)
            scores[:, first : first + BLOCK] = score_all(members.models, *block, progress=bar.update)
    ref, alt = scores[:, ::2], scores[:, 1::2]
    means = members.combine(ref).mean, members.combine(alt).mean
    return VariantScores(models, kept, alleles, passed.counts, passed.unknown, *means, members.combine(alt - ref).sd)


def _encode(
    models: Sequence[Predictor], path: str | os.PathLike, fasta: Genome, variant: Variant, pair: Alleles
) -> list[np.ndarray]:
    """The tokens of an allele's window, uint8 (L,)."""
    shortest = max(shortest_of(model.score) for model in models)
    place = f'{variant.sequence}:{variant.position}'
    encoded = []
    for letters in pair[1:]:
        if len(letters) < shortest:
            detail = f'{place}: its sequence has {len(letters)} letters, expected at least {shortest}'
            reason = f'sequence shorter than {shortest} letters'
            raise UnfitVariant(path, variant.line, reason, detail)
        try:
            encoded.append(dna.encode(letters))
        except InputError as error:
            raise InputError(f'{path}: line {variant.line}: {place}: the window in {fasta.path}: {error}') from error
    return encoded
