r"""Score your own sequences, or variants of them, with the trained models of a run.

    python -m experiments.score --run=runs/quickstart --fasta=mine.fa
    python -m experiments.score --run=runs/quickstart --fasta=mine.fa --specs=medium_cnn_rnn --explain
    python -m experiments.score --run=runs/quickstart --fasta=hg38.fa --variants=mine.vcf.gz

Sequences may have any length (up to 10 million letters; with --variants, whole genomes): those longer than the
training's are covered by windows, and the best window of each is reported. Positions in all tables count from 1, and
`end` is the last letter's.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from demo_jax.errors import InputError
from experiments import cli

_RUN = flags.DEFINE_string('run', None, 'Directory of a trained run.', required=True)
_FASTA = flags.DEFINE_string(
    'fasta', None, 'The sequences, plain or gzipped FASTA; with --variants, those the variants refer to (a genome).',
    required=True,
)  # fmt: skip
_TASKS = flags.DEFINE_list('tasks', [], 'Only these tasks of the run, separated by commas; default all.')
_SPECS = flags.DEFINE_list(
    'specs', [], 'Score with these specs; default, for each task, the one with the best validation AUROC.'
)
_STRIDE = flags.DEFINE_integer('stride', 10, 'Letters from one window of a long sequence to the next.', lower_bound=1)
_EXPLAIN = flags.DEFINE_bool(
    'explain', False, 'Also write, for the best window of each sequence, saliency and (recurrent specs) temporal '
    'scores per letter, to OUT with _explain.tsv.',
)  # fmt: skip
_FIGURES = flags.DEFINE_integer(
    'figures', 20, 'With --explain, draw the first so many sequences as PNG, in the folder OUT_explain; 0 = none.',
    lower_bound=0,
)  # fmt: skip
_VARIANTS = flags.DEFINE_string(
    'variants', None, 'Score these variants instead: a VCF (plain or gzipped), or a tab-separated table with the '
    'header sequence, position, ref, alt; positions from 1, indels with the base before them, as in VCF.',
)  # fmt: skip
_OUT = flags.DEFINE_string('out', None, 'Table to write; default scores.tsv, or variant_scores.tsv with --variants.')

_PRINTED = ('sequence', 'length', 'task', 'spec', 'start', 'end', 'score', 'probability')
_PRINTED_VARIANTS = (
    'id', 'sequence', 'position', 'ref', 'alt', 'task', 'spec', 'score_ref', 'score_alt', 'score_change',
    'probability_change',
)  # fmt: skip
_MOST_ROWS = 30


def main(argv: Sequence[str]) -> None:
    """Score, write the table, print the top of it and say where it lies."""
    del argv
    out = pathlib.Path(_OUT.value or ('variant_scores.tsv' if _VARIANTS.value else 'scores.tsv'))
    for name in (_FASTA.value, _VARIANTS.value):
        if name and out.exists() and os.path.exists(name) and out.samefile(name):
            raise InputError(f'{out}: is an input file, choose another --out')
    if out.is_dir():
        raise InputError(f'{out}: is a directory, expected a file name for --out')
    if _VARIANTS.value and _EXPLAIN.value:
        raise InputError('--explain goes with sequences, not with --variants')
    from demo_jax.runs import load_run
    from demo_jax.scoring import choose_models

    models = choose_models(load_run(_RUN.value), _TASKS.value, _SPECS.value)
    if _VARIANTS.value:
        _variants(models, _VARIANTS.value, out)
    else:
        _sequences(models, out)


def _sequences(models: Sequence[Any], out: pathlib.Path) -> None:
    from demo_jax import files, scoring

    records = scoring.read_records(_FASTA.value, models)
    best = scoring.score_records(models, records, stride=_STRIDE.value)
    rows = list(best.rows())
    files.write_tsv(out, rows, scoring.SCORE_COLUMNS)
    title = f'Best window of {models[0].length} letters of each sequence (positions from 1)'
    _print(rows, _PRINTED, 'score', title, out)
    print(f'scores: {out}')
    if _EXPLAIN.value:
        table = out.with_name(f'{out.stem}_explain.tsv')
        drawn = scoring.write_explanations(best, table, figures=_FIGURES.value)
        if drawn:
            left = f' (the first {drawn} of {len(records):,} sequences; --figures)' if drawn < len(records) else ''
            print(f'figures: {table.with_suffix("")}{left}')
        print(f'explanations: {table}')


def _variants(models: Sequence[Any], path: str, out: pathlib.Path) -> None:
    from demo_jax import files, variant_effects
    from demo_jax.data.variants import read_variants

    scores = variant_effects.score_variants(models, read_variants(path), _FASTA.value)
    rows = list(scores.rows())
    files.write_tsv(out, rows, variant_effects.VARIANT_COLUMNS)
    title = 'Variants: score (log odds) of either allele, and what changes from ref to alt (positions from 1)'
    _print(rows, _PRINTED_VARIANTS, 'score_change', title, out)
    for reason, count in scores.skipped.items():
        print(f'passed over: {count} {reason}')
    print(f'variant scores: {out}')


def _print(rows: list[dict[str, Any]], columns: Sequence[str], by: str, title: str, out: pathlib.Path) -> None:
    """Print a table; of a long one, the rows with the largest values (of changes, the largest either way)."""
    from demo_jax.report.tables import format_table

    shown = rows
    if len(rows) > _MOST_ROWS:
        size = abs if by == 'score_change' else float
        shown = sorted(rows, key=lambda row: -size(row[by]))[:_MOST_ROWS]
        title = f'{title}: the {_MOST_ROWS} with the {"largest change" if size is abs else "highest score"}'
    print()
    print(format_table(shown, [name for name in columns if any(row[name] != '' for row in shown)], title=title))
    if len(rows) > len(shown):
        print(f'... {len(rows) - len(shown):,} more rows in {out}')


if __name__ == '__main__':
    cli.run(main)
