r"""Score your own sequences, or variants of them, with the trained models of a run.

    python -m experiments.score --run=runs/quickstart --fasta=mine.fa
    python -m experiments.score --run=runs/quickstart --fasta=mine.fa --specs=medium_cnn_rnn --explain
    python -m experiments.score --run=runs/quickstart --fasta=hg38.fa --stride=50 --track=hits.bed --threshold=2
    python -m experiments.score --run=runs/quickstart --fasta=hg38.fa --stride=4 --track=scores.bw
    python -m experiments.score --run=runs/quickstart --fasta=mine.fa --track=bases.bw --track_of=integrated_gradients
    python -m experiments.score --run=runs/quickstart --fasta=mine.fa --hits=hits.bed
    python -m experiments.score --run=runs/quickstart --fasta=hg38.fa --variants=mine.vcf.gz
    python -m experiments.score --deepbind=deepbind --models=K562,D00328.018 --fasta=mine.fa

With --deepbind, the models are those that DeepBind's authors have published (see docs/files.md).
Sequences may have any length, and files any size: those longer than the training's are covered by windows, and the best
window of each is reported. Positions in tables count from 1, and `end` is the last letter's. With --track, every window
that scores high enough is written, too, in BED format (positions are 0-based and half-open), or all scores as bigWig.
"""

import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from demo_jax.errors import InputError, brief
from experiments import cli

_RUN = cli.define_path('run', None, 'Directory of a trained run; or give --deepbind.')
_DEEPBIND = cli.define_path(
    'deepbind', None, "Folder of DeepBind's published models (db.tsv and params/) to score with, in place of a run."
)
_DOWNLOAD = flags.DEFINE_bool('download', False, 'With --deepbind, fetch the models if the folder is not there.')
_MODELS = flags.DEFINE_list(
    'models',
    [],
    'With --deepbind, only these models, separated by commas: ids, proteins, TF, RBP, experiments '
    '(ChIP-seq, SELEX, PBM, RNAcompete), cell lines, families or species; joined by + all must hold, e.g. '
    'CTCF+ChIP-seq. Default all.',
)
_WHOLE = flags.DEFINE_bool(
    'whole',
    False,
    'With --deepbind, score a sequence at once, not by its best window of 1.5 detector lengths, as '
    "DeepBind's tool does unless told otherwise.",
)
_OWN_SPECS = cli.define_own_specs()
_FASTA = cli.define_path(
    'fasta',
    None,
    'The sequences, plain or gzipped FASTA; with --variants, those the variants refer to (a genome).',
    required=True,
)
_TASKS = flags.DEFINE_list('tasks', [], 'Only these tasks of the run, separated by commas; default all.')
_SPECS = flags.DEFINE_list(
    'specs',
    [],
    'Score with these specs; all = the models of all of them together (their mean score). Default, for each task, '
    'the one with the best validation AUROC.',
)
_MEMBERS = cli.define_members()
_PRIOR = flags.DEFINE_float(
    'prior',
    None,
    'Share of the sequences (windows of a genome, say) that are bound; default that of the training sequences, usually '
    'a half. It changes probabilities alone.',
)
_STRIDE = flags.DEFINE_integer(
    'stride',
    None,
    'Letters from one window of a long sequence to the next; default 10, with --deepbind as many as change nothing.',
    lower_bound=1,
)
_EXPLAIN = flags.DEFINE_bool(
    'explain',
    False,
    'Also write, for the best window of each sequence, saliency and (recurrent specs) temporal '
    'scores per letter, to OUT with _explain.tsv. With --variants: maps of both alleles of those that change most, as '
    'figures and a page, in the folder OUT_alleles.',
)
_FIGURES = flags.DEFINE_integer(
    'figures',
    20,
    'With --explain, draw the first so many sequences as PNG, in the folder OUT_explain; 0 = none. With --variants, '
    'so many rows of the table.',
    lower_bound=0,
)
_TRACK = cli.define_path(
    'track',
    None,
    'Also write a track. If the name ends in .bw or .bigWig: a bigWig file of the score of every window, at its middle '
    '--stride letters; of several models a file each, FILE.TASK.SPEC.bw. Any other name: every window that scores at '
    'least --threshold, for every model, in BED format (6 + 4 columns, in the order of the FASTA): chrom (first word '
    'of the header; where records share it, their number behind it), chromStart and chromEnd (0-based, half-open), '
    'name (task), score (1000 times the probability, rounded), strand (+ where the model reads the strand that is '
    'given, . where its score is of both), logOdds (the score), probability, spec, seed.',
)
_TRACK_OF = flags.DEFINE_string(
    'track_of',
    'score',
    'What a --track in bigWig format holds: score, or the contribution of every base to it by an attribution '
    '(integrated_gradients, deeplift, ...), which browsers draw as letters (dynseq).',
)
_HITS = cli.define_path(
    'hits',
    None,
    'With --run: also explain every base, and write where motifs lie to this file (BED6 with contribution, similarity, '
    'q, task, spec). With --explain, OUT_hits.bed has those in the best windows.',
)
_MOTIFS = flags.DEFINE_list(
    'motifs',
    [],
    'Motifs that compete for hits, separated by commas: JASPAR ids or names, files (.meme, .jaspar), jaspar (all). '
    "Default: those that the run's stage discover found, or else JASPAR's of the TF. With --variants: "
    'those whose matches over one allele only are listed.',
)
_HIT_FDR = flags.DEFINE_float(
    'hit_fdr', 0.05, 'The largest false discovery rate of hits.', lower_bound=0.0, upper_bound=1.0
)
_THRESHOLD = flags.DEFINE_float(
    'threshold',
    None,
    'With a --track in BED format: the lowest score (log odds, column score of OUT) to be written; default 0, a '
    'probability of one half (without --prior). -inf = all windows.',
)
_VARIANTS = cli.define_path(
    'variants',
    None,
    'Score these variants instead: a VCF (plain or gzipped), or a tab-separated table with the '
    'header sequence, position, ref, alt; positions from 1, indels with the base before them, as in VCF. Alleles that '
    'cannot be scored are counted, and listed with the reason in OUT with _skipped.tsv.',
)
_STRICT = flags.DEFINE_bool(
    'strict', False, 'With --variants: refuse the file for one variant that cannot be read or does not fit the FASTA.'
)
_NULL = flags.DEFINE_integer(
    'null',
    500,
    "With --variants of a run: p-values and percentiles among so many random substitutions of each kind in the task's "
    'own sequences (of the same letter between the same neighbours); 0 = none.',
    lower_bound=0,
)
_OUT = cli.define_path('out', None, 'Table to write; default scores.tsv, or variant_scores.tsv with --variants.')

_PRINTED = ('sequence', 'length', 'task', 'spec', 'start', 'end', 'score', 'score_sd', 'probability')
_PRINTED_VARIANTS = (
    'id',
    'sequence',
    'position',
    'ref',
    'alt',
    'task',
    'spec',
    'score_ref',
    'score_alt',
    'score_change',
    'score_change_sd',
    'probability_change',
    'p_value',
    'q_value',
    'motifs_gained',
    'motifs_lost',
)
_MOST_ROWS = 30


def main(argv: Sequence[str]) -> None:
    """Score, write the table, print the top of it and say where it lies."""
    del argv
    out = pathlib.Path(_OUT.value or ('variant_scores.tsv' if _VARIANTS.value else 'scores.tsv'))
    track = pathlib.Path(_TRACK.value) if _TRACK.value else None
    hits = pathlib.Path(_HITS.value) if _HITS.value else None
    more = [_skipped(out)] if _VARIANTS.value else [_explained(out), _hits(out)] if _EXPLAIN.value else []
    for flag, path in (('out', out), ('track', track), ('hits', hits), *(('out', path) for path in more)):
        for name in (_FASTA.value, _VARIANTS.value):
            if path and name and path.exists() and os.path.exists(name) and path.samefile(name):
                raise InputError(f'{path}: is an input file, choose another --{flag}')
        if path and path.is_dir():
            raise InputError(f'{path}: is a directory, expected a file name for --{flag}')
    for flag, given in (('track', track), ('hits', hits)):
        if _VARIANTS.value and given:
            raise InputError(f'--{flag} goes with sequences, not with --variants')
    if _STRICT.value and not _VARIANTS.value:
        raise InputError('--strict goes with --variants')
    if track and os.path.realpath(track) in (os.path.realpath(out), os.path.realpath(_explained(out))):
        raise InputError(f'{track}: is a table of scores, choose another --track')
    bigwig = track is not None and _is_bigwig(track)
    if _THRESHOLD.value is not None and (not track or bigwig):
        raise InputError('--threshold goes with a --track in BED format')
    if _TRACK_OF.value != 'score' and not bigwig:
        raise InputError('--track_of goes with a --track in bigWig format, whose name ends in .bw')
    if _THRESHOLD.value is not None and math.isnan(_THRESHOLD.value):
        raise InputError('threshold is nan, expected a number')
    if hits and _RUN.value is None:
        raise InputError('--hits goes with --run')
    if _MOTIFS.value and not (hits or _EXPLAIN.value or _VARIANTS.value):
        raise InputError('--motifs goes with --hits, --explain or --variants')
    models = _models()
    if _VARIANTS.value:
        _variants(models, _VARIANTS.value, out)
    else:
        _sequences(models, out, track, hits)


def _models() -> Sequence[Any]:
    """Of a run, or those that DeepBind's authors have published."""
    if (_RUN.value is None) == (_DEEPBIND.value is None):
        raise InputError('expected either --run or --deepbind')
    if _PRIOR.value is not None and _RUN.value is None:
        raise InputError('--prior goes with --run')
    for flag, of_run in (
        ('tasks', True),
        ('specs', True),
        ('own_specs', True),
        ('models', False),
        ('whole', False),
        ('download', False),
    ):
        if flags.FLAGS[flag].value and of_run != (_RUN.value is not None):
            raise InputError(f'--{flag} goes with {"--run" if of_run else "--deepbind"}')
    if _RUN.value is not None:
        from demo_jax.predict.run import load_run
        from demo_jax.predict.scoring import choose_models

        return choose_models(
            load_run(_RUN.value, own_specs=_OWN_SPECS.value),
            _TASKS.value,
            _SPECS.value,
            _MEMBERS.value,
            prior=_PRIOR.value,
        )
    from demo_jax.data.deepbind_models import fetch
    from demo_jax.predict.deepbind import load_deepbind

    if _DOWNLOAD.value:
        fetch(_DEEPBIND.value)
    library = load_deepbind(_DEEPBIND.value, windows=not _WHOLE.value)
    models = library.select(*_MODELS.value)
    n_rna = sum(library.entry(model.spec).is_rna for model in models)
    if n_rna:
        print(f'note: {n_rna} of {len(models)} models are of RNA: T counts as U, and the given strand alone is scored')
    return models


def _is_bigwig(track: pathlib.Path) -> bool:
    from demo_jax.predict.tracks import is_bigwig

    return is_bigwig(track)


def _explained(out: pathlib.Path) -> pathlib.Path:
    """Where --explain writes its table."""
    return out.with_name(f'{out.stem}_explain.tsv')


def _skipped(out: pathlib.Path) -> pathlib.Path:
    """Where --variants lists what it passes over."""
    return out.with_name(f'{out.stem}_skipped.tsv')


def _hits(out: pathlib.Path) -> pathlib.Path:
    """Where --explain writes hits."""
    return out.with_name(f'{out.stem}_hits.bed')


def _sequences(models: Sequence[Any], out: pathlib.Path, track: pathlib.Path | None, hits: pathlib.Path | None) -> None:
    from demo_jax.explain.attribution import ATTRIBUTIONS
    from demo_jax.predict import score_tables, scoring, tracks
    from demo_jax.predict.windows import check_fasta

    bigwigs = tracks.track_paths(track, models) if track and tracks.is_bigwig(track) else []
    of_scores = _TRACK_OF.value == 'score'
    if not of_scores and _TRACK_OF.value not in ATTRIBUTIONS:
        raise InputError(f'--track_of is {brief(_TRACK_OF.value)}, expected score, {", ".join(ATTRIBUTIONS)}')
    stride = _STRIDE.value or scoring.default_stride(models)
    fasta = check_fasta(_FASTA.value, models, stride=stride, sizes=bool(bigwigs))
    held = fasta.n_records * len(models)
    if _EXPLAIN.value and held > scoring.MAX_EXPLAINED:
        raise InputError(
            f'{fasta.path}: has {fasta.n_records:,} records, {held:,} best windows of {len(models)} models in all, but '
            f'--explain holds at most {scoring.MAX_EXPLAINED:,}'
        )
    wanted = _wanted(models) if hits or (_EXPLAIN.value and _RUN.value is not None) else []
    done = score_tables.write_scores(
        models,
        fasta,
        out,
        track=None if bigwigs else track,
        bigwigs=bigwigs if of_scores else (),
        threshold=_THRESHOLD.value or 0.0,
        keep=_EXPLAIN.value,
        n_top=_MOST_ROWS,
    )
    title = f'Best window of {fasta.width} letters of each sequence (positions from 1)'
    _print(done.top, _PRINTED, 'score', title, out, done.n_rows)
    if fasta.shared.n_records:
        print(
            f'note: {fasta.shared.n_records:,} records share their names (first words of headers) with others; they '
            f'are called NAME{fasta.shared.mark}NUMBER, by their place in the file'
        )
    print(scoring.describe_probabilities(models, _PRIOR.value))
    print(f'scores: {out}')
    if not of_scores:
        n_bases = tracks.write_contributions(models, fasta, bigwigs, _TRACK_OF.value)
        print(f'{_TRACK_OF.value} of {n_bases:,} bases')
    for path in bigwigs:
        print(f'track: {path}')
    if track and not bigwigs:
        print(f'track: {track} ({done.n_tracked:,} windows)')
    if _EXPLAIN.value:
        table = _explained(out)
        drawn = scoring.write_explanations(done.best, table, figures=_FIGURES.value)
        if drawn:
            n = fasta.n_records
            left = f' (the first {drawn} of {n:,} sequences; --figures)' if drawn < n else ''
            print(f'figures: {table.with_suffix("")}{left}')
        print(f'explanations: {table}')
    if wanted:
        from demo_jax.stages.sequence_hits import write_hits

        path, best = (hits, None) if hits else (_hits(out), done.best)
        n_hits = write_hits(path, models, wanted, fasta, best=best, fdr=_HIT_FDR.value)
        print(f'hits: {path} ({n_hits:,})')


def _wanted(models: Sequence[Any]) -> list[Any]:
    """The motifs whose hits are looked for in the maps of each model; with --explain alone there may be none."""
    from demo_jax.predict.run import load_run
    from demo_jax.stages.sequence_hits import wanted_motifs

    run = load_run(_RUN.value, own_specs=_OWN_SPECS.value)
    wanted = []
    for model in models:
        try:
            wanted.append(wanted_motifs(run, model, _MOTIFS.value))
        except InputError as error:
            if _HITS.value or _MOTIFS.value:
                raise
            print(f'note: no hits: {error}')
            return []
        print(f'hits of {model.title}: {len(wanted[-1].motifs)} {wanted[-1].source}, {wanted[-1].method}')
    return wanted


def _variants(models: Sequence[Any], path: str, out: pathlib.Path) -> None:
    from demo_jax.data.variants import UNKNOWN
    from demo_jax.predict import variant_effects, variant_maps
    from demo_jax.predict.scoring import describe_probabilities

    notes: list[str] = []
    nulls, bank = _of_variants(models)
    with variant_effects.skipped_table(_skipped(out)) as enter:
        done = variant_effects.write_variants(
            models,
            path,
            _FASTA.value,
            out,
            strict=_STRICT.value,
            passed_over=enter,
            say=notes.append,
            nulls=nulls,
            bank=bank,
            n_top=max(_MOST_ROWS, _FIGURES.value if _EXPLAIN.value else 0),
        )
    title = 'Variants: score (log odds) of either allele, and what changes from ref to alt (positions from 1)'
    printed = [name for name in _PRINTED_VARIANTS if name in done.columns]
    _print(done.top, printed, 'score_change', title, out, done.n_rows)
    print(describe_probabilities(models, _PRIOR.value))
    for note in dict.fromkeys(notes):
        print(f'note: {note}')
    for reason, count in done.skipped.items():
        named = f': {", ".join(map(brief, done.unknown))}, ...' if reason == UNKNOWN else ''
        print(f'passed over: {count:,} {reason}{named}')
    if done.skipped:
        print(f'passed over, one by one: {_skipped(out)}')
    if _EXPLAIN.value:
        page = variant_maps.write_maps(models, done, out.with_name(f'{out.stem}_alleles'), figures=_FIGURES.value)
        print(f'maps of both alleles: {page}')
    print(f'variant scores: {out}')


def _of_variants(models: Sequence[Any]) -> tuple[Any, Any]:
    """What makes the nulls, and the motifs of the models of a run; None where not wanted, or where there is no run."""
    if _RUN.value is None:
        return None, None
    from demo_jax.predict import variant_motifs, variant_null
    from demo_jax.predict.run import load_run
    from demo_jax.stages.sequence_hits import wanted_motifs

    run = load_run(_RUN.value, own_specs=_OWN_SPECS.value)
    motifs: list[dict[str, Any]] = []
    for model in models:
        try:
            wanted = wanted_motifs(run, model, _MOTIFS.value).motifs
            motifs.append({name: pattern.probabilities for name, pattern in wanted.items()})
        except InputError as error:
            if _MOTIFS.value:
                raise
            print(f'note: no motifs: {error}')
            motifs.append({})

    def nulls() -> Any:
        return variant_null.nulls_of(run, models, draws=_NULL.value)

    return nulls if _NULL.value else None, variant_motifs.make_bank(motifs)


def _print(
    rows: list[dict[str, Any]], columns: Sequence[str], by: str, title: str, out: pathlib.Path, n_rows: int
) -> None:
    """Print a table; of a long one, the rows with the largest values (of changes, the largest either way).

    Of its `n_rows`, `rows` are all, or those with the largest values.
    """
    from demo_jax.report.tables import format_table

    shown = rows
    if n_rows > _MOST_ROWS:
        size = abs if by == 'score_change' else float
        shown = sorted(rows, key=lambda row: -size(row[by]))[:_MOST_ROWS]
        title = f'{title}: the {_MOST_ROWS} with the {"largest change" if size is abs else "highest score"}'
    print()
    filled = [name for name in columns if any(row.get(name, '') != '' for row in shown)]
    print(format_table(shown, filled, title=title))
    if n_rows > len(shown):
        print(f'... {n_rows - len(shown):,} more rows in {out}')


if __name__ == '__main__':
    cli.run(main)
