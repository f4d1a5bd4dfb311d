"""Stage `explain`: maps, temporal scores, class optima and activations of a run's models (edge)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from demo_jax.data.corpus import Corpus
from demo_jax.done import Made
from demo_jax.errors import InputError, brief
from demo_jax.evaluation import choose
from demo_jax.evaluation.compare import kind_of
from demo_jax.explain.class_optimisation import ClassOptimum, optimise_class
from demo_jax.explain.pieces import CLASS_OPTIMISATION, PIECES, Subject, optimisation_settings, options
from demo_jax.explanations import Explanations
from demo_jax.nn.architecture import AnyArchitecture, resolve
from demo_jax.nn.operations import forward_operations
from demo_jax.processes import Team
from demo_jax.runs import JobResult, RunDirectory
from demo_jax.training.jobs import Job, share
from demo_jax.training.pool import name_seed

#: Class optimisation runs so many models per program call, and keeps them as they end.
_GROUP = 16
#: The settings that choose which sequences are explained.
_OF_ROWS = ('positives', 'negatives')


#: The settings of the pieces, as fields: `explain.pieces` has each with what depends on it.
_OfPieces: Any = dataclasses.make_dataclass(
    '_OfPieces', [(name, type(default), default) for name, default in options().items()], frozen=True
)


@dataclasses.dataclass(frozen=True)
class ExplainSettings(_OfPieces):
    """What is explained, and how. Fields from `integration_steps` on are settings of the pieces, see `explain.pieces`.

    Attributes:
      specs: names; empty = of each kind (RNN, CNN, CNN-RNN, other) the spec with the best mean validation AUROC,
        as in the paper; ('all',) = every spec of the run.
      pieces: which explanations, of `explain.pieces.PIECES`; those that a spec has no use for are left out.
      positives: at most so many test positives per task, in their order; 0 = all.
      negatives: at most so many test negatives per task.
      integration_steps: points of integrated gradients.
      truncate: see `explain.temporal.temporal_scores`.
      restarts: random starts of class optimisation.
      optimisation_steps, optimisation_rate, optimisation_l2: see `ClassOptimisationSettings`.
    """

    specs: tuple[str, ...] = ()
    pieces: tuple[str, ...] = tuple(PIECES)
    positives: int = 500
    negatives: int = 50

    def __post_init__(self) -> None:
        for piece in self.pieces:
            if piece not in PIECES:
                raise InputError(f'explain: pieces holds {brief(piece)}, expected some of {", ".join(PIECES)}')
        for name in ('positives', 'negatives'):
            if getattr(self, name) < 0:
                raise InputError(f'explain: {name} is {getattr(self, name)}, expected 0 or more')
        for piece in PIECES.values():
            piece.check(self.options)

    @property
    def options(self) -> dict[str, Any]:
        """The settings of the pieces, by name."""
        return {name: getattr(self, name) for name in options()}


def explain_run(
    run: RunDirectory, settings: ExplainSettings | None = None, *, team: Team | None = None, progress: bool = True
) -> Explanations:
    """Explain the trained models of a run on their tasks' test sequences, and keep what is found.

    Of several seeds (or rows of a grid) of a task and spec, the model with the best validation AUROC is
    explained. What is there already, made with the same settings of the same model, is not made again.
    Attributions are averages over both strands where the run's predictions are; temporal scores,
    activations and class optima are of the strand as given. Of several processes, each explains its share of the
    models and waits for the others at the end.

    Args:
      run: a trained run; the caller holds its lock.
      settings: see `ExplainSettings`.
      team: the processes at work on the run; default: this one alone.
      progress: show a bar over models and pieces.

    Raises:
      InputError: nothing is trained yet, or a setting names a spec that the run does not have.
      ProcessLost: another process is gone; this one's share is explained and kept.
    """
    settings, team = settings or ExplainSettings(), team or Team()
    corpus, average = run.corpus(), bool(run.config()['recipe']['average_strands'])

    def choose() -> list[int]:
        best = best_results(run)
        specs = chosen_specs(best, settings.specs)
        return [job.index for job in best if job.spec in specs]

    explained = set(team.agree('explained', choose))  # a shared disk may list new files later to one than to another
    results = {job: run.load_result(job.index) for job in run.jobs() if job.index in explained}
    specs = tuple(dict.fromkeys(job.spec for job in results))
    rows = {task: explained_rows(corpus, task, settings) for task in dict.fromkeys(job.task for job in results)}
    store = Explanations(run)
    if team.leads:
        store.write_index(list(results), rows, {name: getattr(settings, name) for name in _OF_ROWS})

    longest = int(corpus.lengths.max(initial=1))
    costs = {job.index: _cost(resolve(job.spec), settings, longest) for job in results}
    mine = set(share(costs, team.count)[team.index])
    todo: list[tuple[str, Job, Made]] = []
    for piece in settings.pieces:
        for job, result in results.items():
            facts = _facts(piece, settings, result, average)
            wanted = job.index in mine and PIECES[piece].applies(resolve(job.spec))
            if wanted and not store.has(piece, job.index, facts):
                todo.append((piece, job, facts))
    weights = {piece: max(1, round(10 * work(piece, settings, longest))) for piece in PIECES}
    with tqdm(
        total=sum(weights[piece] for piece, _, _ in todo), disable=not progress,
        bar_format='{l_bar}{bar}| [{elapsed}<{remaining}{postfix}]',
    ) as bar:  # fmt: skip
        for number, (piece, job, facts) in enumerate(todo):
            make = PIECES[piece].make
            if make is None:
                continue
            bar.set_description(f'{number}/{len(todo)} {piece}: {job.spec} {_short(job.task)}')
            chosen = rows[job.task]
            if PIECES[piece].of == 'positives':
                chosen = chosen[np.asarray(corpus.labels[chosen]) == 1]
            tokens, lengths = sequences(corpus, chosen)
            subject = Subject(results[job].params, resolve(job.spec), tokens, lengths, average)
            store.save(piece, job.index, make(subject, settings.options), facts)
            bar.update(weights[piece])
        for spec in specs:
            waiting = [(job, facts) for piece, job, facts in todo if piece == CLASS_OPTIMISATION and job.spec == spec]
            for first in range(0, len(waiting), _GROUP):
                group = waiting[first : first + _GROUP]
                jobs, full = [job for job, _ in group], len(waiting) > _GROUP
                optima = _optimise(jobs, results, corpus, settings, bar, full=full)
                for number, (job, facts) in enumerate(group):
                    arrays = {name: getattr(optima, name)[number] for name in PIECES[CLASS_OPTIMISATION].arrays}
                    store.save(CLASS_OPTIMISATION, job.index, arrays, facts)
                bar.update(weights[CLASS_OPTIMISATION] * len(group))
    team.wait('explained', tqdm.write)
    return store


def _cost(spec: AnyArchitecture, settings: ExplainSettings, length: int) -> float:
    """How long all pieces of a model take, in an arbitrary unit."""
    pieces = sum(work(piece, settings, length) for piece in settings.pieces if PIECES[piece].applies(spec))
    return pieces * forward_operations(spec, 1, max(length, spec.min_length))


def best_results(run: RunDirectory) -> dict[Job, JobResult]:
    """Of each task and spec the trained model with the best validation AUROC; diverged ones are left out.

    Raises:
      InputError: no model is trained.
    """
    finished = run.finished_jobs()
    trained = ((job, run.load_result(job.index)) for job in run.jobs() if job.index in finished)
    alive = ((job, result) for job, result in trained if result.params is not None)
    best = choose.best_of_each(alive, lambda one: (one[0].task, one[0].spec), lambda one: one[1].best_auroc)
    if not best:
        raise InputError(f'{run.path}: no model is trained yet; run the stage train')
    return dict(best.values())


def chosen_specs(results: Mapping[Job, JobResult], names: Sequence[str]) -> tuple[str, ...]:
    """The specs that `ExplainSettings.specs` names, in the order of the job table.

    Raises:
      InputError: a spec that the run does not have; the message lists those it has.
    """
    there = tuple(dict.fromkeys(job.spec for job in results))
    if tuple(names) == ('all',):
        return there
    for name in names:
        if name not in there:
            raise InputError(f'explain: the run has no trained spec {brief(name)}; it has {", ".join(there)}')
    if names:
        return tuple(spec for spec in there if spec in names)
    valid: dict[str, dict[str, float]] = {}
    for job, result in results.items():
        valid.setdefault(job.spec, {})[job.task] = result.best_auroc
    best = choose.best_of_each_kind(valid, kind_of)
    chosen = [spec for kind, spec in best.items() if kind != 'deepbind'] or list(best.values())
    return tuple(spec for spec in there if spec in chosen)


def explained_rows(corpus: Corpus, task: str, settings: ExplainSettings) -> np.ndarray:
    """int64 (N,): the corpus rows of a task that are explained, test positives first and then negatives."""
    span = corpus.rows(task, 'test')
    labels = np.asarray(corpus.labels[span])
    positives = span.start + np.flatnonzero(labels == 1)
    negatives = span.start + np.flatnonzero(labels == 0)
    positives = positives[: settings.positives] if settings.positives else positives
    return np.concatenate([positives, negatives[: settings.negatives]])


def sequences(corpus: Corpus, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Tokens (N, L) of some rows, padded to the longest of them, and their lengths where they differ."""
    tokens, lengths = corpus.padded(rows), np.asarray(corpus.lengths[rows])
    return tokens, None if (lengths == tokens.shape[1]).all() else lengths


def _short(task: str) -> str:
    return task.split('_')[0][:20]


def _facts(piece: str, settings: ExplainSettings, result: JobResult, average: bool) -> Made:
    """What a piece is made from: the model, and those settings that it reads."""
    found = PIECES[piece]
    names = [*found.options, *(() if found.of == 'model' else _OF_ROWS)]
    chosen = {name: getattr(settings, name) for name in sorted(names)}
    return Made(chosen | ({'both_strands': average} if found.averages else {}), {'model': result.digest})


def work(piece: str, settings: ExplainSettings, length: int) -> float:
    """How long a piece takes, in gradients of all of a task's sequences, roughly: for progress and plans."""
    return PIECES[piece].cost(settings.options, length)


def _optimise(
    jobs: Sequence[Job], results: Mapping[Job, JobResult], corpus: Corpus, settings: ExplainSettings, bar: Any, *,
    full: bool,
) -> ClassOptimum:  # fmt: skip
    """Class optima of some models of one architecture, in one program that is compiled once per spec.

    `full` fills the group up to `_GROUP` by repeating its last model, so that the last group of several needs
    no program of its own. A start depends on the job's task and seed alone, whatever is optimised beside it.
    """
    filled = [*jobs, *[jobs[-1]] * (_GROUP - len(jobs) if full else 0)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *(results[job].params for job in filled))
    seeds = [int(np.random.SeedSequence([job.seed, name_seed(job.task)]).generate_state(1)[0]) for job in filled]
    spec, steps = resolve(jobs[0].spec), settings.options['optimisation_steps']

    def show(made: int, objective: np.ndarray) -> None:
        best = float(objective.max(axis=1).mean())
        bar.set_description(f'class optimisation: {spec.name}, step {made}/{steps}, mean objective {best:.2f}')

    return optimise_class(
        stacked, spec, seeds=np.array(seeds, np.uint32), length=int(corpus.lengths.max(initial=spec.min_length)),
        restarts=settings.options['restarts'], settings=optimisation_settings(settings.options), progress=show,
    )  # fmt: skip
