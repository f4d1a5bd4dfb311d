"""What small variants change in the scores of a run's models (edge: reads files). Positions count from 1."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from demo_jax.data import dna
from demo_jax.data.genome import open_fasta
from demo_jax.data.variants import Alleles, Variant, Variants, cut_alleles
from demo_jax.errors import InputError
from demo_jax.model import Model
from demo_jax.nn.models import SPECS
from demo_jax.scoring import BLOCK, probability, score_windows

VARIANT_COLUMNS = (
    'line', 'id', 'sequence', 'position', 'ref', 'alt', 'task', 'spec', 'seed', 'start', 'end', 'score_ref',
    'score_alt', 'score_change', 'probability_ref', 'probability_alt', 'probability_change',
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class VariantScores:
    """The scores of V variants' alleles, for each of M models.

    Attributes:
      models: M of them.
      variants: V of them.
      alleles: V of them, the windows that were scored.
      skipped: how many alleles were passed over, by reason.
      ref, alt: float32 (M, V), S of either.
    """

    models: Sequence[Model]
    variants: Sequence[Variant]
    alleles: Sequence[Alleles]
    skipped: Mapping[str, int]
    ref: np.ndarray
    alt: np.ndarray

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row per variant and model, with `VARIANT_COLUMNS`; changes are alt less ref, the score's in log odds."""
        for v, (variant, alleles) in enumerate(zip(self.variants, self.alleles, strict=True)):
            for m, model in enumerate(self.models):
                ref, alt = float(self.ref[m, v]), float(self.alt[m, v])
                probabilities = float(probability(ref)), float(probability(alt))
                yield variant._asdict() | {
                    'task': model.task, 'spec': model.spec, 'seed': model.seed,
                    'start': alleles.start + 1, 'end': alleles.start + len(alleles.ref),
                    'score_ref': ref, 'score_alt': alt, 'score_change': alt - ref,
                    'probability_ref': probabilities[0], 'probability_alt': probabilities[1],
                    'probability_change': probabilities[1] - probabilities[0],
                }  # fmt: skip


def score_variants(
    models: Sequence[Model], variants: Variants, fasta_path: str | os.PathLike, *, progress: bool = True
) -> VariantScores:
    """Score both alleles of every variant, in a window of the training length around it (see `cut_alleles`).

    Alleles longer than that window are passed over, and counted.

    Args:
      models: of one run, from `choose_models`.
      variants: from `read_variants`.
      fasta_path: the sequences or genome that they refer to, by name.
      progress: show bars.

    Raises:
      InputError: a variant does not fit the sequences (see `cut_alleles`); a window holds a letter that is
        no DNA, or is too short for a model; or no variant is left.
    """
    width = models[0].length
    shortest = max(SPECS[model.spec].min_length for model in models)
    skipped = dict(variants.skipped)
    kept, alleles, tokens = [], [], []
    fasta = open_fasta(fasta_path)
    try:
        for variant in tqdm(variants.variants, desc='reading', unit='variant', disable=not progress):
            if max(len(variant.ref), len(variant.alt)) > width:
                reason = f'allele longer than {width} letters'
                skipped[reason] = skipped.get(reason, 0) + 1
                continue
            pair = cut_alleles(fasta, variants, variant, width)
            where = f'{variants.path}: line {variant.line}: {variant.sequence}:{variant.position}'
            for letters in pair[1:]:
                if len(letters) < shortest:
                    raise InputError(f'{where}: its sequence has {len(letters)} letters, expected at least {shortest}')
                try:
                    tokens.append(dna.encode(letters))
                except InputError as error:
                    raise InputError(f'{where}: the window in {fasta_path}: {error}') from error
            kept.append(variant)
            alleles.append(pair)
    finally:
        fasta.close()
    if not kept:
        reasons = ', '.join(f'{count} {reason}' for reason, count in skipped.items())
        raise InputError(f'{variants.path}: holds no variants that can be scored (passed over: {reasons})')
    scores = np.empty((len(models), len(tokens)), np.float32)
    with tqdm(total=scores.size, desc='scoring', unit='window', disable=not progress) as bar:
        for first in range(0, len(tokens), BLOCK):
            block = tokens[first : first + BLOCK]
            for m, model in enumerate(models):
                scores[m, first : first + BLOCK] = score_windows(model, block, width)
                bar.update(len(block))
    return VariantScores(models, kept, alleles, skipped, scores[:, ::2], scores[:, 1::2])
