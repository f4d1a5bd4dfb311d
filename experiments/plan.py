"""What a run will do, and roughly how long it will take on this machine: the plan that commands print."""

import dataclasses
import functools
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax.cluster import Cluster
from demo_jax.data.corpus import Corpus
from demo_jax.data.prepare import left_out, remarks, seen_in_training
from demo_jax.evaluation.proteins import FOUND, told_symbols
from demo_jax.explain.pieces import PIECES, TRACKS
from demo_jax.explanations import Explanations
from demo_jax.motifs import own
from demo_jax.nn.architecture import resolve
from demo_jax.nn.operations import bytes_per_model, forward_operations, operations_per_step
from demo_jax.report.tables import format_table
from demo_jax.runs import RunDirectory
from demo_jax.settings import settings
from demo_jax.stages.explain import ExplainSettings, work
from demo_jax.training.jobs import Job, Recipe, make_plan
from demo_jax.training.layout import MAX_SLOTS

#: Share of the machine's matrix-product rate that training reaches, as measured on CPUs (see RESULTS.md).
_EFFICIENCY = {'CNN': 0.35, 'RNN': 0.18, 'CNN-RNN': 0.4, 'DeepBind': 0.25, 'other': 0.2}
_COMPILE_SECONDS = 6.0  # per program
_WORDS_PER_SECOND = 15000.0  # of Tomtom, two cores
_RESAMPLES_PER_SECOND = 5000.0  # of the bootstrap


@dataclasses.dataclass(frozen=True)
class Stage:
    """One line of the plan: what a stage has to do, how much of it is done, and how long the rest may take."""

    stage: str
    what: str
    done: str
    seconds: float


def stages(
    corpus: Corpus, jobs: Sequence[Job], config: Mapping[str, Any], run: RunDirectory,
    cluster: Cluster | None = None,
) -> list[Stage]:
    """What each stage has to do for these jobs, given what the run directory holds already.

    Training and explaining take the shorter, the more devices the workers have than this process; that each is as
    fast as one of this process is a guess.
    """
    rate = matrix_rate()
    share = cluster.devices / jax.local_device_count() if cluster else 1.0
    recipe = settings(Recipe, config['recipe'], 'recipe')
    finished = run.finished_jobs()
    length = int(corpus.lengths.max(initial=1))
    plans = {task: make_plan(recipe, _count(corpus, task, 'train')) for task in corpus.tasks}
    left = [job for job in jobs if job.index not in finished]
    n_steps = sum(plans[job.task].steps for job in jobs)
    operations = sum(
        plans[job.task].steps * operations_per_step(resolve(job.spec), recipe.batch_size, length)
        / _EFFICIENCY[resolve(job.spec).kind]
        for job in left
    )  # fmt: skip
    train = 1.15 * operations / rate + _COMPILE_SECONDS * len({job.spec for job in left})
    n_test = sum(_count(corpus, job.task, 'test') for job in jobs)
    resamples = config['evaluate']['n_resamples']
    scored = sum(_count(corpus, job.task, 'test') * forward_operations(resolve(job.spec), 1, length) for job in jobs)
    evaluate = 2 * scored / (0.2 * rate) + 2 * len(jobs) * resamples / _RESAMPLES_PER_SECOND
    explained, pieces, seconds, n_words = _explain(corpus, jobs, config, run, rate, length)
    return [
        Stage('train', f'{len(jobs)} models, {n_steps:,} steps of {recipe.batch_size} sequences',
              f'{len(jobs) - len(left)}/{len(jobs)}', train / share),
        Stage('baseline', f'motifs in {corpus.n_tasks} tasks, without training', '', _COMPILE_SECONDS
              + 3e11 * corpus.n_tasks / rate),
        Stage('evaluate', f'{n_test:,} test scores, {resamples:,} bootstrap resamples per model', '', evaluate),
        Stage('explain', f'{explained} models, {pieces[1]} pieces', f'{pieces[0]}/{pieces[1]}', seconds / share),
        Stage('match', f'{n_words:,} windows against JASPAR', '', 5 + n_words / _WORDS_PER_SECOND + 0.2 * explained),
        Stage('report', f'figures and page of {corpus.n_tasks} tasks', '', 5 + 2.0 * corpus.n_tasks),
    ]  # fmt: skip


def _explain(
    corpus: Corpus, jobs: Sequence[Job], config: Mapping[str, Any], run: RunDirectory, rate: float, length: int
) -> tuple[int, tuple[int, int], float, int]:
    """Models explained, pieces (done, in all), seconds, and windows.

    Which specs are the best of their kind is known only after training: until then each kind's costliest counts.
    """
    explain = settings(ExplainSettings, config.get('explain', {}), 'explain')
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
            indices = [job.index for job in jobs if (job.task, job.spec) == (task, name)]
            for piece in explain.pieces:
                if not PIECES[piece].applies(spec):
                    continue
                total += 1
                if any(store.piece_path(piece, index).exists() for index in indices):
                    done += 1
                    continue
                strands = 2 if config['recipe']['average_strands'] else 1
                per_sequence = strands * 3 * cost.get(name, 0) / (_EFFICIENCY[spec.kind] * rate)
                seconds += n * per_sequence * work(piece, explain, length)
            n_words += n_positive * sum(PIECES[piece].applies(spec) for _, piece in TRACKS.values())
    programs = sum(PIECES[piece].applies(resolve(name)) for piece in explain.pieces for name in chosen)
    seconds += 0.4 * _COMPILE_SECONDS * programs if done < total else 0.0
    return len(chosen) * len(corpus.tasks), (done, total), seconds, n_words


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


def memory(corpus: Corpus, jobs: Sequence[Job], config: Mapping[str, Any]) -> float:
    """Roughly the largest memory that training holds, in bytes: the program, the pool, and a batch's activations.

    On GPUs, which take fewer models at once where they have no room, that of all of them together.
    """
    recipe = settings(Recipe, config['recipe'], 'recipe')
    length = int(corpus.lengths.max(initial=1))
    rows = len(corpus) + (recipe.negative_sets - 1) * len(corpus) // 2
    devices = jax.local_devices()
    largest = 0.0
    for name, count in Counter(job.spec for job in jobs).items():
        at_once = 1 if devices[0].platform == 'cpu' else min(MAX_SLOTS, -(-count // len(devices)))
        largest = max(largest, at_once * bytes_per_model(resolve(name), recipe.batch_size, length))
    return 0.7e9 + 3.0 * rows * length + len(devices) * largest


def describe(
    corpus: Corpus, jobs: Sequence[Job], config: Mapping[str, Any], run: RunDirectory,
    cluster: Cluster | None = None,
) -> str:
    """The plan as text."""
    lengths = corpus.lengths
    sizes = f'{lengths.min()}' if lengths.min() == lengths.max() else f'{lengths.min()}-{lengths.max()}'
    specs = list(dict.fromkeys(job.spec for job in jobs))
    seeds = len({job.seed for job in jobs})
    lines = [
        f'run {run.path}: {corpus.n_tasks} tasks, {len(corpus):,} sequences of {sizes} bp, {len(jobs)} models '
        f'({len(specs)} spec{"s" * (len(specs) > 1)}, {seeds} seed{"s" * (seeds > 1)})',
        f'specs: {", ".join(specs)}',
    ]  # fmt: skip
    lines += _proteins(corpus, config)
    if left_out(corpus):
        lines.append(f'left out: {left_out(corpus)}')
    lines += remarks(corpus)
    if seen_in_training(corpus):
        lines.append(f'note: {seen_in_training(corpus)}')
    rows = [
        {'stage': stage.stage, 'what': stage.what, 'done': stage.done, 'likely_time': duration(stage.seconds)}
        for stage in stages(corpus, jobs, config, run, cluster)
    ]
    devices = jax.local_devices()
    where = f'{len(devices)} {devices[0].platform.upper()} device{"s" * (len(devices) > 1)}'
    if cluster:
        where = f'{cluster.workers} worker{"s" * (cluster.workers > 1)} with {cluster.devices} devices'
    return '\n'.join([
        *lines,
        format_table(rows, list(rows[0])),
        f'on {where}; memory about {memory(corpus, jobs, config) / 1e9:.1f} GB; times are rough',
    ])  # fmt: skip


def _proteins(corpus: Corpus, config: Mapping[str, Any], most: int = 6) -> list[str]:
    """Which TF each task is taken for, and where a simulation's motifs come from and what they are matched with."""
    match = config.get('match', {})
    told = told_symbols(match.get('tf', ''))
    found = {task: own.protein_of(corpus, task, told) for task in corpus.tasks}
    by_how: dict[str, list[str]] = {}
    for task, protein in found.items():
        by_how.setdefault(protein.found, []).append(f'{task} {protein.symbol}')
    lines = [
        f'TF ({FOUND[how]}): {", ".join(named[:most])}{f" and {len(named) - most} more" if len(named) > most else ""}'
        for how, named in by_how.items()
        if how != 'table'
    ]
    several = [f'{task} {", ".join(protein.others)}' for task, protein in found.items() if protein.others]
    if several:
        listed = '; '.join(several[:most]) + ' ...' * (len(several) > most)
        lines.append(f'further symbols in names, not taken: {listed}')
    if corpus.sites is not None:
        source, stored = own.planted_release(corpus)
        release = own.choose_release(corpus, match.get('jaspar', ''))
        guessed = '' if stored else ' (the corpus does not say; the newest that has all of them)' if source else ''
        lines.append(f'motifs planted from {source or "an unknown release"}{guessed}, matched with {release}')
    return lines


def describe_stage(
    stage: str, corpus: Corpus, jobs: Sequence[Job], config: Mapping[str, Any], run: RunDirectory,
    cluster: Cluster | None = None,
) -> str:
    """What one stage is about to do and how long it is likely to take, as a line."""
    found = next(line for line in stages(corpus, jobs, config, run, cluster) if line.stage == stage)
    done = f', {found.done} done' if found.done else ''
    return f'{stage}: {found.what}{done}; likely {duration(found.seconds)}'


def duration(seconds: float) -> str:
    """Seconds as '40 s', '13 min' or '2.5 h'; '-' for none."""
    if seconds < 1:
        return '-'
    if seconds < 90:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'
