r"""Ask the models of a run: experiments with sequences made for the question.

    python -m experiments.ask marginalise --run=runs/mine --motifs=CTCF,GATA1,TGACTCA
    python -m experiments.ask marginalise --run=runs/mine --motifs=jaspar --nocontrol --figure=all.png
    python -m experiments.ask space --run=runs/mine --tasks=GATA1 --motifs=GATA1,TAL1 --gaps=0-30
    python -m experiments.ask epistasis --run=runs/mine --tasks=GATA1 --motifs=found
    python -m experiments.ask ablate --run=runs/mine --tasks=CTCF
    python -m experiments.ask ablate --run=runs/mine --tasks=CTCF --motifs=CTCF --fasta=mine.fa
    python -m experiments.ask compare --run=runs/mine --tasks=CTCF --specs=medium_cnn --other_specs=medium_cnn_rnn
    python -m experiments.ask compare --run=runs/liver --other=runs/brain --tasks=CTCF --fasta=mine.fa
    python -m experiments.ask design --run=runs/mine --tasks=CTCF --fasta=mine.fa --target=3 --protected=40-60

`marginalise`: what a motif does to the score when it is put into backgrounds. `space`: two motifs at every distance and
orientation. `epistasis`: what two motifs do beyond the sum of what each does. `ablate`: what each hit of a sequence is
worth; without --motifs, each of the hits that the stage discover called in test positives. `compare`: two conditions
(runs, tasks or architectures) side by side: the maps of the sequences that both have, what motifs do in each, and which
were found in one alone.
`design`: the fewest edits that reach a score in all models at once. Positions count from 1.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from demo_jax.errors import InputError, brief
from experiments import cli

QUESTIONS = ('marginalise', 'ablate', 'space', 'epistasis', 'compare', 'design')
_RUN = cli.define_run()
_OWN_SPECS = cli.define_own_specs()
_TASKS = flags.DEFINE_list('tasks', [], 'Only the models of these tasks, separated by commas; default all.')
_SPECS = flags.DEFINE_list(
    'specs',
    [],
    'Ask these specs; all = the models of all of them together (their mean score). Default, for each task, '
    'the one with the best validation AUROC.',
)
_MEMBERS = cli.define_members()
_MOTIFS = flags.DEFINE_list(
    'motifs',
    [],
    'Motifs, separated by commas: words (N = any letter), JASPAR ids or names, found motifs of the run '
    "(TASK/SPEC/METHOD/for_1), files that end in .meme or .jaspar, 'jaspar' (all matrices), 'found' (all of the "
    'tasks).',
)
_RELEASE = flags.DEFINE_string('release', '', 'Release of JASPAR; default the newest installed.')
_BACKGROUNDS = cli.define_path(
    'backgrounds',
    'shuffles',
    "Backgrounds: 'shuffles' (of test positives of the tasks, dinucleotides kept), "
    "'negatives' (of the tasks), or a FASTA file.",
)
_N = flags.DEFINE_integer(
    'n', 50, 'Backgrounds; for ablate, compare and design without --fasta, test positives.', lower_bound=1
)
_HOW = flags.DEFINE_enum(
    'how', 'consensus', ['consensus', 'sampled'], 'Matrices as their best word, or drawn anew for each background.'
)
_CONTROL = flags.DEFINE_bool(
    'control', True, 'marginalise: also insert the same letters in random order, for p and q; takes twice as long.'
)
_GAPS = flags.DEFINE_string('gaps', '', 'space: letters between the motifs, e.g. 0-30 or 2,5,10-20; default 0-60.')
_GAP = flags.DEFINE_integer('gap', 10, 'epistasis: letters between the motifs.', lower_bound=0)
_NULL = flags.DEFINE_integer(
    'null',
    None,
    'Meaningless words (ablate: windows without hits) for p; default 100 for epistasis, 50 for compare, else 0.',
    lower_bound=0,
)
_FASTA = cli.define_path(
    'fasta', None, 'ablate and design: the sequences, of one length; default test positives of the tasks.'
)
_TARGET = flags.DEFINE_float('target', 2.0, 'design: the score (log odds) that every model has to reach.')
_BELOW = flags.DEFINE_bool('below', False, 'design: scores have to be at most the target.')
_PROTECTED = flags.DEFINE_string('protected', '', 'design: positions that stay as they are, from 1, e.g. 40-60,75.')
_BANNED = flags.DEFINE_list('banned', [], 'design: words that must not occur, on either strand; N = any letter.')
_METHOD = flags.DEFINE_enum(
    'method', 'mutagenesis', ['mutagenesis', 'gradient'], 'design: score all mutants, or the most promising.'
)
_OTHER = cli.define_path('other', None, 'compare: the run of the second condition; default the same.')
_OTHER_TASK = flags.DEFINE_string('other_task', '', 'compare: the task of the second condition; default the same.')
_OTHER_SPECS = flags.DEFINE_string('other_specs', '', 'compare: the spec of the second condition; default the same.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of all that is drawn.')
_OUT = cli.define_path('out', None, 'Table to write; default QUESTION.tsv.')
_FIGURE = cli.define_path('figure', None, 'Also draw the answer to this file (png, svg or pdf).')

_MOST_ROWS = 20


def main(argv: Sequence[str]) -> None:
    """Ask, write the table, print the top of it and say where it lies."""
    if len(argv) != 2:
        raise InputError(f'expected one question, of {", ".join(QUESTIONS)}')
    question = argv[1]
    out = pathlib.Path(_OUT.value or f'{question}.tsv')
    if out.is_dir():
        raise InputError(f'{out}: is a directory, expected a file name for --out')
    figure = pathlib.Path(_FIGURE.value) if _FIGURE.value else None
    if figure and figure.suffix not in ('.png', '.svg', '.pdf'):
        raise InputError(f'{figure}: expected a name that ends in .png, .svg or .pdf for --figure')
    if question in ('ablate', 'design') and _FASTA.value is None and len(_TASKS.value) != 1:
        raise InputError(f'{question} needs --fasta, or one of the --tasks to take test positives of')
    for path in (out, _pairs(out), _of_sequences(out), _designed(out), figure):
        for given in (_FASTA.value, _BACKGROUNDS.value):
            if path and given and path.exists() and os.path.exists(given) and path.samefile(given):
                raise InputError(f'{path}: is an input file, choose another --out')
    from demo_jax.insilico.models import of_models
    from demo_jax.predict.run import load_run
    from demo_jax.predict.scoring import choose_models

    run = load_run(_RUN.value, own_specs=_OWN_SPECS.value)
    if question == 'compare':
        _compare(run, out, figure)
        return
    predictors = choose_models(run, _TASKS.value, _SPECS.value, _MEMBERS.value)
    models = of_models(predictors)
    print(f'{question}: {len(models)} models')
    if question == 'design':
        _design(run, models, out, figure)
        return
    if question == 'ablate':
        answer = _ablate(run, models, predictors[0].spec)
    else:
        answer = _with_backgrounds(question, run, models, _motifs(run))
    by = {'marginalise': 'effect', 'ablate': 'effect'}.get(question, 'epistasis')
    _write(answer.to_frame(), out, by)
    if question == 'ablate':
        if answer.pairs:
            _write(answer.pairs_frame(), _pairs(out), 'epistasis')
        for n, what in (
            (answer.n_unchanged, 'hits have one letter alone, so no other order: effect 0'),
            (answer.n_overlapping, 'pairs of hits overlap and are left out'),
        ):
            if n:
                print(f'note: {n} {what}')
    if question == 'space':
        peak = answer.peak()
        side = 'after' if peak.after else 'before'
        strands = 'the same strand' if peak.same_strand else 'opposite strands'
        p = '' if peak.p_value != peak.p_value else f', p {peak.p_value:.3g}'
        print(
            f'peak: {answer.second} {side} {answer.first}, gap {peak.gap}, on {strands}: '
            f'epistasis {peak.epistasis:.3f}{p}'
        )
    _draw(answer, figure)


def _pairs(out: pathlib.Path) -> pathlib.Path:
    """Where ablate writes its pairs of hits."""
    return out.with_name(f'{out.stem}_pairs.tsv')


def _of_sequences(out: pathlib.Path) -> pathlib.Path:
    """Where compare writes what it says of sequences."""
    return out.with_name(f'{out.stem}_sequences.tsv')


def _designed(out: pathlib.Path) -> pathlib.Path:
    """Where design writes its sequences."""
    return out.with_name(f'{out.stem}_designed.fa')


def _motifs(run: Any) -> dict[str, Any]:
    from demo_jax.insilico.sources import find_motifs

    if not _MOTIFS.value:
        raise InputError('no motif was given, expected --motifs')
    return find_motifs(_MOTIFS.value, run, _TASKS.value, release=_RELEASE.value)


def _with_backgrounds(question: str, run: Any, models: Any, motifs: dict[str, Any]) -> Any:
    from demo_jax.insilico import sources
    from demo_jax.insilico.epistasis import epistasis
    from demo_jax.insilico.marginalise import marginalise
    from demo_jax.insilico.space import space

    given = sources.backgrounds_of(_BACKGROUNDS.value, run, _TASKS.value, _N.value, seed=_SEED.value)
    print(f'backgrounds: {len(given.tokens)} of {given.tokens.shape[1]} letters ({_BACKGROUNDS.value})')
    _say_left_out(given)
    shared: dict[str, Any] = {'how': _HOW.value, 'seed': _SEED.value, 'progress': True}
    if question == 'marginalise':
        return marginalise(models, motifs, given.tokens, control=_CONTROL.value, **shared)
    if question == 'epistasis':
        null = 100 if _NULL.value is None else _NULL.value
        return epistasis(models, motifs, given.tokens, gap=_GAP.value, null=null, **shared)
    if len(motifs) != 2:
        raise InputError(f'space needs two motifs, --motifs names {len(motifs)}: {brief(", ".join(motifs))}')
    first, second = motifs.items()
    gaps = cli.numbers_of(_GAPS.value, 'gaps') if _GAPS.value else None
    return space(models, first, second, given.tokens, gaps=gaps, null=_NULL.value or 0, **shared)


def _sequences(run: Any) -> Any:
    import numpy as np

    from demo_jax.insilico import sources

    if _FASTA.value is not None:
        given = sources.read_sequences(_FASTA.value)
    else:
        rng = np.random.default_rng(_SEED.value)
        given = sources.test_sequences(run, _TASKS.value, _N.value, label=1, rng=rng)
    _say_left_out(given)
    return given


def _say_left_out(given: Any) -> None:
    if given.n_left_out:
        print(f'note: {given.n_left_out} sequences of other lengths than {given.tokens.shape[1]} are left out')


def _ablate(run: Any, models: Any, spec: str) -> Any:
    from demo_jax.insilico import sources
    from demo_jax.insilico.ablate import ablate

    if _MOTIFS.value:
        given = _sequences(run)
        motifs = _motifs(run)
        hits = sources.find_hits(motifs, given.tokens)
        if not hits:
            raise InputError(f'none of {len(motifs)} motifs has a hit in {len(given.tokens)} sequences')
    elif _FASTA.value is not None:
        raise InputError('no motif was given to look for in --fasta, expected --motifs')
    else:
        given, hits = sources.hits_of_run(run, _TASKS.value[0], spec, _N.value)
        _say_left_out(given)
    print(f'hits: {len(hits)} in {len({hit.row for hit in hits})} of {len(given.tokens)} sequences')
    return ablate(models, given.tokens, hits, null=_NULL.value or 0, seed=_SEED.value, progress=True)


def _compare(run: Any, out: pathlib.Path, figure: pathlib.Path | None) -> None:
    from demo_jax.insilico import compare, sources
    from demo_jax.predict.run import load_run
    from demo_jax.predict.scoring import choose_models

    if len(_TASKS.value) != 1 or len(_SPECS.value) > 1:
        raise InputError('compare needs one of the --tasks, and at most one of the --specs')
    task, other_task = _TASKS.value[0], _OTHER_TASK.value or _TASKS.value[0]
    other = load_run(_OTHER.value, own_specs=_OWN_SPECS.value) if _OTHER.value else run
    (first,) = choose_models(run, [task], _SPECS.value, _MEMBERS.value)
    (second,) = choose_models(other, [other_task], [_OTHER_SPECS.value or first.spec], _MEMBERS.value)
    if other.directory.path.samefile(run.directory.path) and (task, first.spec) == (other_task, second.spec):
        raise InputError(f'{first.title} is both conditions; name another with --other, --other_task or --other_specs')
    titles = (first.title, second.title)
    if titles[0] == titles[1]:
        titles = (f'{run.directory.path.name}: {first.title}', f'{other.directory.path.name}: {second.title}')
    if _FASTA.value is not None:
        given = sources.read_sequences(_FASTA.value)
    else:
        given = sources.shared_sequences(((run, task), (other, other_task)), _N.value, seed=_SEED.value)
    _say_left_out(given)
    print(f'compare: {titles[0]} with {titles[1]}, {len(given.tokens)} sequences')
    conditions = ((run, task, first.spec), (other, other_task, second.spec))
    motifs = (
        compare.Sources(_motifs(run), {}) if _MOTIFS.value else compare.Sources(*sources.motifs_of_both(conditions))
    )
    backgrounds = sources.backgrounds_of(_BACKGROUNDS.value, run, [task], _N.value, seed=_SEED.value)
    answer = compare.Comparison(
        compare.compare_motifs(
            first,
            second,
            motifs,
            backgrounds.tokens,
            names=titles,
            words=50 if _NULL.value is None else _NULL.value,
            how=_HOW.value,
            seed=_SEED.value,
            progress=True,
        ),
        compare.compare_maps(first, second, given.tokens, sequence_names=given.names, names=titles),
    )
    _write(answer.to_frame(), out, 'difference')
    _write(answer.maps.to_frame(), _of_sequences(out), 'map_second')
    _draw(answer, figure)


def _design(run: Any, models: Any, out: pathlib.Path, figure: pathlib.Path | None) -> None:
    import pandas as pd

    from demo_jax import dna
    from demo_jax.insilico import sources
    from demo_jax.insilico.design import design

    given = _sequences(run)
    protected = [position - 1 for position in cli.numbers_of(_PROTECTED.value, 'protected')] if _PROTECTED.value else []
    parts, made = [], []
    for number, (name, tokens) in enumerate(zip(given.names, given.tokens, strict=True)):
        found = design(
            models,
            dna.decode(tokens),
            _TARGET.value,
            below=_BELOW.value,
            protected=protected,
            banned=_BANNED.value,
            method=_METHOD.value,
        )
        made.append(found.sequence)
        worst = found.score.max() if _BELOW.value else found.score.min()
        print(f'{name}: {found}, the {"highest" if _BELOW.value else "lowest"} score is {worst:.3f}')
        frame = found.to_frame()
        frame.insert(0, 'sequence', name)
        parts.append(frame)
        if number == 0:
            _draw(found, figure)
    _write(pd.concat(parts, ignore_index=True), out, 'worth')
    fasta = _designed(out)
    sources.write_designs(fasta, given.names, made)
    print(f'designed sequences: {fasta}')


def _write(frame: Any, out: pathlib.Path, by: str) -> None:
    from demo_jax.io import files
    from demo_jax.report.tables import format_table

    files.write_tsv(out, frame.to_dict('records'), list(frame.columns))
    top = frame.reindex(frame[by].abs().sort_values(ascending=False, kind='stable').index)[:_MOST_ROWS]
    if len(top):
        title = f'The {len(top)} of {len(frame):,} rows with the largest {by}' if len(frame) > len(top) else ''
        print(format_table(top.to_dict('records'), list(frame.columns), title=title))
    print(f'table: {out}')


def _draw(answer: Any, figure: pathlib.Path | None) -> None:
    from demo_jax.io import files

    if figure:
        with files.atomic_path(figure) as temporary:
            answer.plot().savefig(temporary, format=figure.suffix[1:], dpi=150)
        print(f'figure: {figure}')


if __name__ == '__main__':
    cli.run(main, words=QUESTIONS)
