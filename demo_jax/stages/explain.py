"""Stage `explain`: maps, temporal scores, class optima and activations of a run's models (edge)."""

import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from demo_jax.compute.cluster import Cluster
from demo_jax.data.corpus import Corpus
from demo_jax.errors import InputError, brief
from demo_jax.evaluation import choose
from demo_jax.evaluation.compare import kind_of
from demo_jax.explain import batches
from demo_jax.explain.pieces import PIECES, SEARCHES, Piece, Subject, options
from demo_jax.explain.sizes import models_together
from demo_jax.nn.architecture import resolve
from demo_jax.predict.ensemble import MeanScore, combine
from demo_jax.predict.run import MEMBERS
from demo_jax.runs.directory import JobResult, RunDirectory
from demo_jax.runs.done import Made
from demo_jax.runs.explanations import Explanations
from demo_jax.training.jobs import Job
from demo_jax.training.pool import name_seed

#: Class optimisation runs so many models per program call, and keeps them as they end.
_GROUP = 16
#: At most so many threads compile ahead of what is made, each of which takes memory (some 100 MB).
_MOST_AHEAD = 3
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
      members: of models of several seeds or folds, 'all': maps and temporal scores are means over them; 'best': of the
        best by validation alone, and optima those of their mean score. Activations and filters are of the best anyway.
      pieces: which explanations, of `explain.pieces.PIECES`; those that a spec has no use for are left out.
      positives: at most so many test positives per task, in their order; 0 = all.
      negatives: at most so many test negatives per task.
      integration_steps: points of integrated gradients.
      references: dinucleotide shuffles of each sequence that DeepLIFT compares it with.
      truncate: see `explain.temporal.temporal_scores`.
      restarts: random starts of class optimisation.
      optimisation_steps, optimisation_rate, optimisation_l2: see `ClassOptimisationSettings`.
      sufficient_starts: random starts of sufficient motifs.
      sufficient_steps, sufficient_score: see `SufficientMotifSettings` (steps, target).
    """

    specs: tuple[str, ...] = ()
    members: str = 'all'
    pieces: tuple[str, ...] = tuple(PIECES)
    positives: int = 500
    negatives: int = 50

    def __post_init__(self) -> None:
        for piece in self.pieces:
            if piece not in PIECES:
                raise InputError(f'explain: pieces holds {brief(piece)}, expected some of {", ".join(PIECES)}')
        if self.members not in MEMBERS:
            raise InputError(f'explain: members is {brief(self.members)}, expected one of {", ".join(MEMBERS)}')
        for name in ('positives', 'negatives'):
            if getattr(self, name) < 0:
                raise InputError(f'explain: {name} is {getattr(self, name)}, expected 0 or more')
        for piece in PIECES.values():
            piece.check(self.options)

    @property
    def options(self) -> dict[str, Any]:
        """The settings of the pieces, by name."""
        return {name: getattr(self, name) for name in options()}


@dataclasses.dataclass(frozen=True)
class _Bundle:
    """Some pieces of some models of one architecture, with all that they are made of.

    Attributes:
      jobs: the models'.
      params: of each of them; of several members, those of the first job's, then those of the second's, and so on.
      pieces: their names.
      tokens: what each model's pieces read, by `Piece.of`: tokens (N, L), and lengths (N,) or None. Empty for optima.
      average: whether the run's predictions are averages over both strands.
      settings: see `ExplainSettings`.
      length: bp of the longest sequence of the corpus.
      fill: whether a search fills the group of models up to `_GROUP`.
      n_members: parameters per job, over which the pieces are means, or of whose mean score they are.
    """

    jobs: tuple[Job, ...]
    params: tuple[Any, ...]
    pieces: tuple[str, ...]
    tokens: tuple[Mapping[str, tuple[np.ndarray, np.ndarray | None]], ...]
    average: bool
    settings: ExplainSettings
    length: int
    fill: bool = False
    n_members: int = 1

    def __str__(self) -> str:
        more = ', ...' if len(self.jobs) > 1 else ''
        return f'{", ".join(self.pieces)} of {self.jobs[0].label}{more}'


def explain_run(
    run: RunDirectory, settings: ExplainSettings | None = None, *, cluster: Cluster | None = None, progress: bool = True
) -> Explanations:
    """Explain the trained models of a run on their tasks' test sequences, and keep what is found.

    Of several rows of a grid of a task and spec, the model with the best validation AUROC is explained. Of several
    seeds and folds maps are means, and optima those of the mean score (see `ExplainSettings.members`), kept under the
    job with the best AUROC. What is
    there already, made with the same settings of the same models, is not made again. Attributions are averages over
    both strands where the run's predictions are; temporal scores, activations and class optima are of the strand as
    given.

    Args:
      run: a trained run; the caller holds its lock.
      settings: see `ExplainSettings`.
      cluster: workers that make the pieces; None: this process makes them.
      progress: show a bar over models and pieces.

    Raises:
      InputError: nothing is trained yet, a setting names a spec that the run does not have, or the cluster fails (see
        `Cluster.map`).
    """
    settings = settings or ExplainSettings()
    corpus, average = run.corpus(), bool(run.config()['recipe']['average_strands'])
    best = best_results(run)
    specs = chosen_specs(best, settings.specs)
    members = member_results(run) if settings.members == 'all' else {}
    results = {job: best[job] for job in run.jobs() if job in best and job.spec in specs}
    rows = {task: explained_rows(corpus, task, settings) for task in dict.fromkeys(job.task for job in results)}
    store = Explanations(run)
    together = {
        job: found for job in results if len(found := members.get((job.task, job.spec), {})) > 1 and job in found
    }
    several = {job.index: sorted(one.index for one in found) for job, found in together.items()}
    store.write_index(list(results), rows, {name: getattr(settings, name) for name in _OF_ROWS}, several)

    longest = int(corpus.lengths.max(initial=1))
    todo: dict[tuple[str, int], Made] = {}
    for job, result in results.items():
        for piece in settings.pieces:
            of = list(together[job].values()) if job in together and PIECES[piece].together else [result]
            facts = _facts(piece, settings, of, average)
            if PIECES[piece].applies(resolve(job.spec)) and not store.has(piece, job.index, facts):
                todo[piece, job.index] = facts
    weights = {piece: max(1, round(10 * work(piece, settings, longest))) for piece in PIECES}
    bundles = functools.partial(_bundles, results, together, todo, rows, corpus, average, settings)
    left, total = len(todo), sum(weights[piece] for piece, _ in todo)
    bar_format = '{l_bar}{bar}| [{elapsed}<{remaining}{postfix}]'
    ahead = _rehearsed(bundles()) if cluster is None else contextlib.nullcontext()
    with ahead, tqdm(total=total, disable=not progress, bar_format=bar_format) as bar:

        def show(text: str) -> None:
            bar.set_description(f'{len(todo) - left}/{len(todo)} {text}')

        for piece, job_index, arrays in _made(bundles(), cluster, specs, show):
            store.save(piece, job_index, arrays, todo[piece, job_index])
            left -= 1
            bar.update(weights[piece])
    return store


#: One piece of one job: its name, the job's index, its arrays.
_Made = tuple[str, int, dict[str, np.ndarray]]


def _bundles(
    results: Mapping[Job, JobResult],
    members: Mapping[Job, Mapping[Job, JobResult]],
    todo: Collection[tuple[str, int]],
    rows: Mapping[str, np.ndarray],
    corpus: Corpus,
    average: bool,
    settings: ExplainSettings,
) -> Iterator[_Bundle]:
    """What is to be made, in groups of models of one architecture: pieces of sequences, then those of models alone."""
    length = int(corpus.lengths.max(initial=1))

    def parameters(jobs: Iterable[Job], n: int) -> tuple[Any, ...]:
        own = [members[job].values() if n > 1 else [results[job]] for job in jobs]
        return tuple(result.params for found in own for result in found)

    alike: dict[tuple[str, tuple[str, ...], int], list[Job]] = {}
    for job in results:
        pieces = [piece for piece in settings.pieces if PIECES[piece].make and (piece, job.index) in todo]
        n = len(members.get(job, ())) or 1
        parts = {n: [piece for piece in pieces if PIECES[piece].together or n == 1]}
        if n > 1:
            parts[1] = [piece for piece in pieces if not PIECES[piece].together]
        for count, part in parts.items():
            if part:
                alike.setdefault((job.spec, tuple(part), count), []).append(job)
    for (_, pieces_of, n), jobs in alike.items():
        together = max(1, models_together() // n)
        for first in range(0, len(jobs), together):
            group = tuple(jobs[first : first + together])
            read = dict.fromkeys(PIECES[piece].of for piece in pieces_of)
            tokens = tuple(
                {of: sequences(corpus, _rows_of(of, corpus, rows[job.task])) for of in read} for job in group
            )
            yield _Bundle(group, parameters(group, n), pieces_of, tokens, average, settings, length, n_members=n)
    kinds = {job: (job.spec, len(members.get(job, ())) or 1) for job in results}
    for piece, (spec, n) in itertools.product(SEARCHES, dict.fromkeys(kinds.values())):
        waiting = [job for job in results if kinds[job] == (spec, n) and (piece, job.index) in todo]
        for first in range(0, len(waiting), _GROUP):
            group, fill = tuple(waiting[first : first + _GROUP]), len(waiting) > _GROUP
            yield _Bundle(group, parameters(group, n), (piece,), (), average, settings, length, fill, n)


def _rows_of(of: str, corpus: Corpus, rows: np.ndarray) -> np.ndarray:
    """Those of the explained rows (N,) of a task that a piece reads."""
    return rows[np.asarray(corpus.labels[rows]) == 1] if of == 'positives' else rows


def _made(
    bundles: Iterable[_Bundle], cluster: Cluster | None, specs: Sequence[str], show: Callable[[str], None]
) -> Iterator[_Made]:
    """The pieces of all bundles, as they are made here or come back from workers."""
    if cluster is None:
        for bundle in bundles:
            yield from _make(bundle, lambda done, text: show(text))
        return
    cluster.check_specs(specs)
    found = cluster.map(explain_bundle, bundles, progress=lambda number, done, text: show(text), say=tqdm.write)
    with contextlib.closing(found):
        for _, made in found:
            yield from made


@contextlib.contextmanager
def _rehearsed(bundles: Iterable[_Bundle]) -> Iterator[None]:
    """Let other cores compile the programs of bundles while the block makes them, see `batches.rehearsal`.

    The block makes the first bundle first, so threads begin with the last: where they meet, all is compiled.
    """
    threads = min(len(os.sched_getaffinity(0)) - 1, _MOST_AHEAD)
    if threads < 1:
        yield
        return
    # Bundles of the same architecture and pieces share their programs.
    kinds = {(bundle.jobs[0].spec, bundle.pieces, bundle.n_members): bundle for bundle in bundles}
    with ThreadPoolExecutor(threads) as pool:
        for bundle in reversed(kinds.values()):
            for piece in reversed(bundle.pieces):
                pool.submit(_rehearse, dataclasses.replace(bundle, pieces=(piece,)))
        try:
            yield
        finally:
            pool.shutdown(cancel_futures=True)


def _rehearse(bundle: _Bundle) -> None:
    """Compile the programs of a bundle's pieces. What fails here will fail, and be told, where it is made."""
    with contextlib.suppress(Exception), batches.rehearsal():
        for _ in _make(bundle, lambda done, text: None):
            pass


def explain_bundle(bundle: _Bundle, shared: None, tell: Callable[[float, str], None]) -> list[_Made]:
    """Make the pieces of a bundle on a worker; `tell` is called before each of them, and while optima are sought."""
    del shared
    return list(_make(bundle, tell))


def _make(bundle: _Bundle, tell: Callable[[float, str], None]) -> Iterator[_Made]:
    """The pieces of a bundle, one by one."""
    spec = resolve(bundle.jobs[0].spec)
    for number, piece in enumerate(bundle.pieces):
        make = PIECES[piece].make
        if make is None:
            found = _search(piece, bundle, tell)
            for place, job in enumerate(bundle.jobs):
                yield piece, job.index, {name: getattr(found, name)[place] for name in PIECES[piece].arrays}
            continue
        of, options, others = PIECES[piece].of, bundle.settings.options, len(bundle.params) - 1
        more = f' and {others} more' if others else ''
        tell(number, f'{piece}: {spec.name} {_short(bundle.jobs[0].task)}{more}')
        subjects = [
            Subject(params, spec, *tokens[of], bundle.average)
            for place, params in enumerate(bundle.params)
            for tokens in [bundle.tokens[place // bundle.n_members]]
        ]
        made = iter(pieces_of_members(PIECES[piece], subjects, options))
        for job in bundle.jobs:
            yield piece, job.index, mean_piece(list(itertools.islice(made, bundle.n_members)))


def pieces_of_members(
    piece: Piece, subjects: Sequence[Subject], options: Mapping[str, Any]
) -> Iterable[dict[str, np.ndarray]]:
    """The arrays of a piece for each of some models of one architecture, in one program where it has one."""
    if piece.many is not None:
        return piece.many(subjects, options)
    assert piece.make is not None
    make = piece.make
    return (make(subject, options) for subject in subjects)


def mean_piece(members: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The mean of a piece's arrays over members; of one, its own."""
    if len(members) == 1:
        return dict(members[0])
    return {name: combine(np.stack([np.asarray(one[name]) for one in members])).mean for name in members[0]}


def member_results(run: RunDirectory) -> dict[tuple[str, str], dict[Job, JobResult]]:
    """Of each task and spec the trained models that answer together: of a grid, each seed's and fold's best.

    Of one model each where there is one; diverged ones are left out.
    """
    finished = run.finished_jobs()
    trained = ((job, run.load_result(job.index)) for job in run.jobs() if job.index in finished)
    alive = ((job, result) for job, result in trained if result.params is not None)
    best = choose.best_of_each(
        alive, lambda one: (one[0].task, one[0].spec, one[0].seed, one[0].fold), lambda one: one[1].best_auroc
    )
    found: dict[tuple[str, str], dict[Job, JobResult]] = {}
    for job, result in best.values():
        found.setdefault((job.task, job.spec), {})[job] = result
    return found


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


def _facts(piece: str, settings: ExplainSettings, results: Sequence[JobResult], average: bool) -> Made:
    """What a piece is made from: the model or models, and those settings that it reads."""
    found = PIECES[piece]
    names = [*found.options, *(() if found.of == 'model' else _OF_ROWS)]
    chosen = {name: getattr(settings, name) for name in sorted(names)}
    return Made(
        chosen | ({'both_strands': average} if found.averages else {}),
        {'model': '+'.join(result.digest for result in results)},
    )


def work(piece: str, settings: ExplainSettings, length: int) -> float:
    """How long a piece takes, in gradients of all of a task's sequences, roughly: for progress and plans."""
    return PIECES[piece].cost(settings.options, length)


def _search(piece: str, bundle: _Bundle, tell: Callable[[float, str], None]) -> Any:
    """What `Search.run` finds in some models of one architecture, in one program that is compiled once per spec.

    `fill` fills the group up to `_GROUP` by repeating its last model, so that the last group of several needs
    no program of its own. A start depends on the job's task and seed alone, whatever is searched beside it. Models that
    answer together are one, whose score is their mean.
    """
    more, n = _GROUP - len(bundle.jobs) if bundle.fill else 0, bundle.n_members
    own = [bundle.params[at : at + n] if n > 1 else bundle.params[at] for at in range(0, len(bundle.params), n)]
    jobs, params = [*bundle.jobs, *[bundle.jobs[-1]] * more], [*own, *[own[-1]] * more]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *params)
    seeds = [int(np.random.SeedSequence([job.seed, name_seed(job.task)]).generate_state(1)[0]) for job in jobs]
    spec, seeds_of = resolve(jobs[0].spec), np.array(seeds, np.uint32)
    length = max(bundle.length, spec.min_length)
    score = MeanScore((spec,) * n) if n > 1 else spec
    return SEARCHES[piece].run(stacked, score, seeds_of, length, bundle.settings.options, tell)
