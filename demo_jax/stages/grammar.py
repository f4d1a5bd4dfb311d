"""Stage `grammar`: which found motifs of a task need each other, and at which distance, in each architecture (edge).

WORKDIR/grammar/TASK/SPEC/curves.npz holds the epistasis of each pair at every distance (see
`insilico.grammar.Grammar`), tables/grammar.tsv the best distance of each pair, with p and q.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.evaluation.table import Column, Figure, Table
from demo_jax.insilico import grammar as asked
from demo_jax.insilico.estimates import Estimate, q_values
from demo_jax.insilico.models import of_models
from demo_jax.io import arrays, files
from demo_jax.motifs import own
from demo_jax.motifs.jaspar import JasparMatrix
from demo_jax.motifs.spacing import FARTHEST
from demo_jax.predict.run import Run
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.done import Made, Records
from demo_jax.runs.explanations import Explanations
from demo_jax.runs.preferred import prefer
from demo_jax.stages import discover, discovered
from demo_jax.training.jobs import Job
from demo_jax.training.pool import name_seed

#: Changes whenever the curves of the same models, motifs and settings do.
_FILES = 1
#: Two motifs are one if they agree so well (see `own.compare`): a pair of them would say nothing of grammar.
_SAME = 0.6


@dataclasses.dataclass(frozen=True)
class GrammarSettings:
    """Which pairs of found motifs are tested, and how well.

    Attributes:
      motifs: of each task, as many found motifs as make up the largest shares of the scores, those of all architectures
        taken together and each of them once; all their pairs are tested. 0 = none.
      words: words that mean nothing, for each motif. What a pair does beyond its motifs is compared with what they do
        beside each motif.
      backgrounds: shuffled test positives that motifs are put into.
      farthest: letters between two motifs at most.
      random_seed: of words and backgrounds.
    """

    motifs: int = 3
    words: int = 20
    backgrounds: int = 10
    farthest: int = FARTHEST
    random_seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (('motifs', 0), ('words', 4), ('backgrounds', 2), ('farthest', 0)):
            if getattr(self, name) < least:
                raise InputError(f'grammar: {name} is {getattr(self, name)}, expected {least} or more')


GRAMMAR = Table(
    [],
    (
        'task',
        'spec',
        'first',
        'second',
        'first_name',
        'second_name',
        'first_consensus',
        'second_consensus',
        'first_found_in',
        'second_found_in',
        'effect_first',
        'effect_second',
        'effect_both',
        'epistasis',
        'low',
        'high',
        'p_epistasis',
        'q_epistasis',
        'gap',
        'order',
        'strands',
        'preference',
        'p_spacing',
        'q_spacing',
        'backgrounds',
        'words',
    ),
    'grammar',
    'Motifs that need each other',
    (
        'task',
        'spec',
        'first_name',
        'second_name',
        'effect_first',
        'effect_second',
        'effect_both',
        'epistasis',
        'q_epistasis',
        'gap',
        'order',
        'strands',
        'q_spacing',
    ),
    figures=(
        Figure(
            'Motifs that need each other',
            (
                Column('task', 'Task'),
                Column('spec', 'Model', 'spec'),
                Column('first_name', 'Motif'),
                Column('second_name', 'Second motif'),
                Column('effect_first', 'Effect alone', 'signed'),
                Column('effect_second', 'Second alone', 'signed'),
                Column('effect_both', 'Both', 'signed'),
                Column('epistasis', 'Epistasis', 'signed'),
                Column('q_epistasis', 'q', 'p'),
                Column('gap', 'Letters between', 'count'),
                Column('q_spacing', 'q of the distance', 'p'),
            ),
            note='Log odds, means over backgrounds, at the distance where the epistasis f(ab) - f(a) - f(b) + f(0) is '
            'highest. q compares with words that mean nothing beside each motif, searched in the same way.',
            wide=True,
        ),
    ),
    needed=('task', 'spec', 'first', 'second'),
)
TABLES = (GRAMMAR,)


class _Motif(NamedTuple):
    """A motif of a task, found in some of its architectures."""

    name: str  # SPEC/METHOD/for_1 of the map where its share of the score is largest
    match: str  # its JASPAR match
    matrix: JasparMatrix
    found_in: tuple[str, ...]


class _Answer(NamedTuple):
    """What a model says of the pairs of its task."""

    job: Job
    motifs: Sequence[_Motif]
    pairs: Sequence[tuple[int, int]]
    curves: Mapping[str, np.ndarray]
    n_backgrounds: int


def grammar_run(
    run: RunDirectory, settings: GrammarSettings | None = None, *, progress: bool = True
) -> dict[str, Table]:
    """Test the spacing and the epistasis of the found motifs of each task in each explained model.

    Nothing is asked again unless models, motifs or settings changed. p are made of the words of all tasks of an
    architecture, q over all pairs of the run.

    Args:
      run: a run whose motifs were found; the caller holds its lock.
      settings: see `GrammarSettings`.
      progress: show a bar.

    Returns:
      The table by name; without rows where no task has two motifs.

    Raises:
      InputError: nothing is explained yet, or motifs were not looked for.
    """
    settings = settings or GrammarSettings()
    store, opened = Explanations(run), Run(run)
    path = run.tables / 'motifs.tsv'
    if not path.is_file():
        raise InputError(f'{path} is missing; run the stage discover')
    rows = files.read_tsv(path, discover.MOTIFS.columns)
    jobs, motifs = store.jobs(), {}
    for task in dict.fromkeys(job.task for job in jobs):
        motifs[task] = _motifs_of(run, [row for row in rows if row['task'] == task], settings.motifs)
    pairs = {task: _pairs_that_fit(run, store, task, found) for task, found in motifs.items()}
    wanted = [job for job in jobs if pairs[job.task]]
    answers = []
    with tqdm(wanted, desc='grammar', unit='model', disable=not progress) as bar:
        for job in bar:
            bar.set_postfix_str(f'{job.spec} {job.task.split("_")[0][:20]}, {len(pairs[job.task])} pairs')
            answers.append(_ask(opened, store, job, motifs[job.task], pairs[job.task], settings))
    table = GRAMMAR.of(_rows(answers))
    files.write_tsv(run.tables / 'grammar.tsv', table.rows, table.columns)
    alone = sum(not found for found in pairs.values())
    if alone and settings.motifs > 1:
        print(f'{alone} of {len(pairs)} tasks have no two different motifs, so no pair to test')
    return {'grammar': table}


def _motifs_of(run: RunDirectory, rows: Sequence[Mapping[str, str]], most: int) -> list[_Motif]:
    """The motifs of a task with the largest shares, of the best method of each architecture, alike ones once."""
    found: list[tuple[float, _Motif]] = []
    for spec in dict.fromkeys(row['spec'] for row in rows):
        mine = [row for row in rows if row['spec'] == spec]
        method = prefer(run.tables, mine[0]['task'], spec, [row['method'] for row in mine]).best
        stored = discovered.read_found(discover.folder_of(run, mine[0]['task'], spec, str(method)))
        for row in mine:
            if row['method'] == method:
                motif = stored[row['motif']]
                match = row['match_name'] if row['match_name'] != 'unknown' else row['consensus']
                matrix = JasparMatrix(row['motif'], match, motif['counts'], motif['probabilities'])
                share = abs(float(row['share'] or 0))
                found.append((share, _Motif(f'{spec}/{method}/{row["motif"]}', match, matrix, (spec,))))
    kept: list[_Motif] = []
    for _, motif in sorted(found, key=lambda one: -one[0]):
        same = next(
            (at for at, one in enumerate(kept) if own.compare(one.matrix, motif.matrix).agreement >= _SAME), None
        )
        if same is None:
            kept.append(motif)
        elif motif.found_in[0] not in kept[same].found_in:
            kept[same] = kept[same]._replace(found_in=kept[same].found_in + motif.found_in)
    return kept[:most]


def _pairs_that_fit(
    run: RunDirectory, store: Explanations, task: str, motifs: Sequence[_Motif]
) -> list[tuple[int, int]]:
    """All pairs of a task's motifs that fit side by side into its sequences."""
    if len(motifs) < 2:
        return []
    length = _backgrounds(run, store, task, 1, 0).shape[1]
    widths = [len(motif.matrix.probabilities) for motif in motifs]
    return [(i, j) for i, j in itertools.combinations(range(len(motifs)), 2) if widths[i] + widths[j] <= length]


def _backgrounds(run: RunDirectory, store: Explanations, task: str, n: int, seed: int) -> np.ndarray:
    """Shuffled explained positives, those of the most frequent length: uint8 (n or fewer, L)."""
    corpus, rows = run.corpus(), store.rows(task)
    rows = rows[np.asarray(corpus.labels[rows]) == 1]
    lengths = np.asarray(corpus.lengths[rows])
    length = int(np.bincount(lengths).argmax())
    rng = np.random.default_rng([name_seed(task), seed, 6])
    rows = rng.permutation(rows[lengths == length])[:n]
    return dna.dinucleotide_shuffle(corpus.padded(rows)[:, :length], rng)


def _word(matrix: JasparMatrix) -> str:
    """The most probable letter of each column; N, which leaves the background's letter, where none has half."""
    return ''.join('N' if letter.islower() else letter for letter in matrix.consensus)


def folder_of(run: RunDirectory, task: str, spec: str) -> pathlib.Path:
    """Where the curves of a model lie."""
    return run.path / 'grammar' / files.safe_name(task) / files.safe_name(spec)


def _ask(
    opened: Run,
    store: Explanations,
    job: Job,
    motifs: Sequence[_Motif],
    pairs: Sequence[tuple[int, int]],
    settings: GrammarSettings,
) -> _Answer:
    """Ask a model, or those that answer together by their mean score, or read what they said before."""
    run = opened.directory
    models = {number: run.load_result(number).digest for number in sorted(store.members(job.index))}
    folder = folder_of(run, job.task, job.spec)
    path, records = folder / 'curves.npz', Records(folder)
    backgrounds = _backgrounds(run, store, job.task, settings.backgrounds, settings.random_seed)
    words = {motif.name: _word(motif.matrix) for motif in motifs}
    said = ' '.join(f'{name}={word}' for name, word in words.items())
    digests = {'model' if len(models) == 1 else f'model{number}': digest for number, digest in models.items()}
    made = Made(dataclasses.asdict(settings), {**digests, 'motifs': said}, _FILES)
    if not records.has('curves', made):
        records.forget('curves')
        found = asked.grammar(
            of_models([opened.predictor_of([one for one in opened.jobs if one.index in models])], together=True),
            words,
            backgrounds,
            pairs=pairs,
            words=settings.words,
            farthest=settings.farthest,
            seed=settings.random_seed,
        )
        with files.atomic_path(path) as temporary, open(temporary, 'wb') as handle:
            np.savez_compressed(
                handle,
                allow_pickle=False,
                gaps=found.gaps,
                effects=found.effects[0],
                found=found.found[0],
                null=found.null[0],
                **{name: part[0] for name, part in found.epistasis._asdict().items()},
            )
        records.keep('curves', made, [path])
    return _Answer(job, motifs, pairs, arrays.read_npz(path), len(backgrounds))


def _rows(answers: Sequence[_Answer]) -> list[dict[str, Any]]:
    """Rows of grammar.tsv: p by the words of the same architecture, q over all pairs."""
    p_values: dict[int, np.ndarray] = {}
    for spec in dict.fromkeys(answer.job.spec for answer in answers):
        mine = [answer for answer in answers if answer.job.spec == spec]
        pool = np.concatenate([answer.curves['null'] for answer in mine])
        given = [(answer.curves['found'], answer.curves['null'][np.array(answer.pairs)]) for answer in mine]
        for answer, p in zip(mine, asked.p_values(given, pool), strict=True):
            p_values[answer.job.index] = p
    every = np.concatenate([p_values[answer.job.index] for answer in answers]) if answers else np.zeros((0, 2))
    q, rows = iter(q_values(every.T).T), []
    for answer in answers:
        curves, specs = answer.curves, answer.motifs
        said = asked.Grammar(
            tuple(motif.name for motif in specs),
            tuple(answer.pairs),
            (answer.job.spec,),
            curves['gaps'],
            curves['effects'][None],
            Estimate(*(curves[name][None] for name in Estimate._fields)),
            curves['found'][None],
            curves['null'][None],
            answer.n_backgrounds,
        )
        for number, (i, j) in enumerate(answer.pairs):
            best, (p_strength, p_preference) = said.best(number), p_values[answer.job.index][number]
            q_strength, q_preference = next(q)
            row: dict[str, Any] = {'task': answer.job.task, 'spec': answer.job.spec}
            for which, motif in (('first', specs[i]), ('second', specs[j])):
                row |= {
                    which: motif.name,
                    f'{which}_name': motif.match,
                    f'{which}_consensus': motif.matrix.consensus,
                    f'{which}_found_in': ','.join(motif.found_in),
                }
            row |= dict(zip(('effect_both', 'effect_first', 'effect_second'), best.effects, strict=True))
            row |= dict(zip(('epistasis', 'low', 'high'), map(float, best.epistasis), strict=True))
            row |= {
                'p_epistasis': p_strength,
                'q_epistasis': q_strength,
                'gap': best.gap,
                'order': 'after' if best.after else 'before',
                'strands': 'same' if best.same_strand else 'opposite',
                'preference': curves['found'][number, asked.PREFERENCE],
                'p_spacing': p_preference,
                'q_spacing': q_preference,
                'backgrounds': answer.n_backgrounds,
                'words': curves['null'].shape[1],
            }
            rows.append(row)
    return rows
