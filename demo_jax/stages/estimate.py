"""How long each stage is likely to take on this machine, and how much of it is done: the lines of the plan (edge).

Times are rough: they rest on the rate of matrix products, measured for a tenth of a second.
"""

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax.data.corpus import Corpus
from demo_jax.explain.attribution import ATTRIBUTIONS
from demo_jax.explain.pieces import PIECES, TRACKS
from demo_jax.io.settings import read_settings
from demo_jax.nn.architecture import resolve
from demo_jax.nn.cost import forward_operations, operations_per_step
from demo_jax.nn.deepbind import PUBLISHED
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.explanations import Explanations
from demo_jax.stages.explain import ExplainSettings, work
from demo_jax.stages.grammar import GrammarSettings
from demo_jax.training.jobs import Job, Recipe, make_plan

#: Share of the machine's matrix-product rate that training reaches, as measured on CPUs (see RESULTS.md).
_EFFICIENCY = {'CNN': 0.35, 'RNN': 0.18, 'CNN-RNN': 0.4, 'DeepBind': 0.25, 'other': 0.2}
_COMPILE_SECONDS = 6.0  # per program
_WORDS_PER_SECOND = 15000.0  # of Tomtom, two cores
_RESAMPLES_PER_SECOND = 5000.0  # of the bootstrap


class Prospect(NamedTuple):
    """What lies before a run.

    Attributes:
      run: the directory, which may hold nothing yet.
      corpus, jobs, config: of the run, or as it would be made.
      share: how many times the devices of this process work on what goes to workers; 1 without workers.
    """

    run: RunDirectory
    corpus: Corpus
    jobs: Sequence[Job]
    config: Mapping[str, Any]
    share: float = 1.0

    @property
    def length(self) -> int:
        """Letters of the longest sequence."""
        return int(self.corpus.lengths.max(initial=1))


class Line(NamedTuple):
    """What a stage has to do, how much of it is done ('' where nobody counts), and how long the rest may take."""

    what: str
    done: str
    seconds: float


def train(prospect: Prospect) -> Line:
    """Of the stage train; workers make it the shorter, if each of their devices is as fast as one of this process."""
    corpus, jobs = prospect.corpus, [job for job in prospect.jobs if job.spec != PUBLISHED]
    recipe = read_settings(Recipe, prospect.config['recipe'], 'recipe')
    finished = prospect.run.finished_jobs()
    n_folds = max((job.fold for job in jobs), default=0)
    plans = {task: make_plan(recipe, _count_training(corpus, task, n_folds)) for task in corpus.tasks}
    left = [job for job in jobs if job.index not in finished]
    n_steps = sum(plans[job.task].steps for job in jobs)
    operations = sum(
        plans[job.task].steps
        * operations_per_step(resolve(job.spec), recipe.batch_size, prospect.length)
        / _EFFICIENCY[resolve(job.spec).kind]
        for job in left
    )
    seconds = 1.15 * operations / matrix_rate() + _COMPILE_SECONDS * len({job.spec for job in left})
    what = f'{len(jobs)} models, {n_steps:,} steps of {recipe.batch_size} sequences'
    return Line(what, f'{len(jobs) - len(left)}/{len(jobs)}', seconds / prospect.share)


def baseline(prospect: Prospect) -> Line:
    """Of the stage baseline."""
    n_tasks = prospect.corpus.n_tasks
    return Line(f'motifs in {n_tasks} tasks, without training', '', _COMPILE_SECONDS + 3e11 * n_tasks / matrix_rate())


def evaluate(prospect: Prospect) -> Line:
    """Of the stage evaluate."""
    corpus, jobs = prospect.corpus, prospect.jobs
    n_test = [_count(corpus, job.task, 'test') for job in jobs]
    resamples = prospect.config['evaluate']['n_resamples']
    scored = sum(
        n * forward_operations(resolve(job.spec), 1, prospect.length) for n, job in zip(n_test, jobs, strict=True)
    )
    seconds = 2 * scored / (0.2 * matrix_rate()) + 2 * len(jobs) * resamples / _RESAMPLES_PER_SECOND
    return Line(f'{sum(n_test):,} test scores, {resamples:,} bootstrap resamples per model', '', seconds)


def explain(prospect: Prospect) -> Line:
    """Of the stage explain, with workers as `train`."""
    models, (done, pieces), seconds, _ = _explain(prospect)
    return Line(f'{models} models, {pieces} pieces', f'{done}/{pieces}', seconds / prospect.share)


def match(prospect: Prospect) -> Line:
    """Of the stage match."""
    models, _, _, n_words = _explain(prospect)
    return Line(f'{n_words:,} windows against JASPAR', '', 5 + n_words / _WORDS_PER_SECOND + 0.2 * models)


def discover(prospect: Prospect) -> Line:
    """Of the stage discover: as many shuffles are explained as there are positives, then motifs are found."""
    models, (_, maps), seconds, _ = _explain(prospect, again=True)
    return Line(f'motifs in {maps} maps of {models} models, each beside maps of shuffles', '', seconds + 0.5 * maps)


def grammar(prospect: Prospect) -> Line:
    """Of the stage grammar, if every task has as many motifs as are tested; many have one, which takes no time."""
    models, _, _, _ = _explain(prospect)
    settings = read_settings(GrammarSettings, prospect.config.get('grammar', {}), 'grammar')
    pairs = settings.motifs * (settings.motifs - 1) // 2
    # Per pair of words some 6 designs for each gap (both, and either alone where it lies elsewhere than before).
    curves = settings.farthest * (pairs + settings.motifs * settings.words / 2)
    sequences = settings.backgrounds * 6 * curves if pairs else 0
    specs = {job.spec for job in prospect.jobs}
    operations = sum(
        forward_operations(resolve(name), 1, prospect.length) / _EFFICIENCY[resolve(name).kind] for name in specs
    )
    strands = 2 if prospect.config['recipe']['average_strands'] else 1
    seconds = sequences * strands * models / max(len(specs), 1) * operations / matrix_rate()
    return Line(f'at most {pairs} pairs of motifs in each of {models} models', '', seconds)


def report(prospect: Prospect) -> Line:
    """Of the stage report."""
    n_tasks = prospect.corpus.n_tasks
    return Line(f'figures and page of {n_tasks} tasks', '', 5 + 2.0 * n_tasks)


def _explain(prospect: Prospect, *, again: bool = False) -> tuple[int, tuple[int, int], float, int]:
    """Models explained, pieces (done, in all), seconds, and windows; with `again`, of attributions that are not done.

    Which specs are the best of their kind is known only after training: until then each kind's costliest counts.
    """
    run, corpus, jobs, config, _ = prospect
    rate, length = matrix_rate(), prospect.length
    explain = read_settings(ExplainSettings, config.get('explain', {}), 'explain')
    by_kind: dict[str, list[str]] = {}
    for name in dict.fromkeys(job.spec for job in jobs):
        by_kind.setdefault(resolve(name).kind, []).append(name)
    cost = {name: forward_operations(resolve(name), 1, length) for names in by_kind.values() for name in names}
    chosen = list(explain.specs)
    if chosen == ['all']:
        chosen = list(cost)
    elif not chosen:
        ranked = {kind: max(names, key=lambda name: cost[name]) for kind, names in by_kind.items()}
        chosen = [name for kind, name in ranked.items() if kind != 'DeepBind'] or list(ranked.values())
    store, total, done, seconds, n_words = Explanations(run), 0, 0, 0.0, 0
    for task in corpus.tasks:
        labels = np.asarray(corpus.labels[corpus.rows(task, 'test')])
        n_positive = int(labels.sum())
        n_positive = min(n_positive, explain.positives or n_positive)
        n = n_positive + min(len(labels) - int(labels.sum()), explain.negatives)
        for name in chosen:
            spec = resolve(name)
            mine = [job for job in jobs if (job.task, job.spec) == (task, name)]
            indices = [job.index for job in mine]
            n_members = len({(job.seed, job.fold) for job in mine}) if explain.members == 'all' else 1
            for piece in explain.pieces:
                if not PIECES[piece].applies(spec) or (again and piece not in ATTRIBUTIONS):
                    continue
                total += 1
                if not again and any(store.piece_path(piece, index).exists() for index in indices):
                    done += 1
                    continue
                strands = 2 if config['recipe']['average_strands'] else 1
                per_sequence = strands * 3 * cost.get(name, 0) / (_EFFICIENCY[spec.kind] * rate)
                seconds += (
                    n * per_sequence * work(piece, explain, length) * (n_members if PIECES[piece].together else 1)
                )
            n_words += n_positive * sum(PIECES[piece].applies(spec) for _, piece in TRACKS.values())
    programs = sum(PIECES[piece].applies(resolve(name)) for piece in explain.pieces for name in chosen)
    seconds += 0.4 * _COMPILE_SECONDS * programs if done < total else 0.0
    return len(chosen) * len(corpus.tasks), (done, total), seconds, n_words


def _count_training(corpus: Corpus, task: str, n_folds: int) -> int:
    """How many sequences train a model; with folds, on average."""
    train = _count(corpus, task, 'train')
    return train if n_folds < 2 else round((train + _count(corpus, task, 'valid')) * (1 - 1 / n_folds))


def _count(corpus: Corpus, task: str, split: str) -> int:
    rows = corpus.rows(task, split)
    return rows.stop - rows.start


@functools.lru_cache(maxsize=1)
def matrix_rate() -> float:
    """Float32 operations per second of all local devices together, measured for a tenth of a second."""
    size = 512
    matrix = jnp.eye(size)
    product = jax.jit(lambda x: jax.lax.fori_loop(0, 20, lambda _, y: y @ x, x))
    jax.block_until_ready(product(matrix))
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(product(matrix))
        best = max(best, 20 * 2 * size**3 / (time.perf_counter() - start))
    return best * jax.local_device_count()
