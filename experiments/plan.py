"""What a run will do, and roughly how long it will take on this machine: the plan that commands print."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from demo_jax.compute.cluster import Cluster
from demo_jax.data.corpus import Corpus
from demo_jax.evaluation.proteins import FOUND, told_symbols
from demo_jax.io.settings import read_settings
from demo_jax.motifs import own
from demo_jax.nn.architecture import resolve
from demo_jax.nn.cost import bytes_per_model
from demo_jax.report.tables import format_table
from demo_jax.runs.directory import RunDirectory
from demo_jax.stages import record
from demo_jax.stages.estimate import Prospect
from demo_jax.stages.sources import left_out, remarks, seen_in_training
from demo_jax.training.jobs import Job, Recipe
from demo_jax.training.machine import MAX_SLOTS


def memory(corpus: Corpus, jobs: Sequence[Job], config: Mapping[str, Any]) -> float:
    """Roughly the largest memory that training holds, in bytes: the program, the pool, and a batch's activations.

    On GPUs, which take fewer models at once where they have no room, that of all of them together.
    """
    recipe = read_settings(Recipe, config['recipe'], 'recipe')
    length = int(corpus.lengths.max(initial=1))
    rows = len(corpus) + (recipe.negative_sets - 1) * len(corpus) // 2
    devices = jax.local_devices()
    largest = 0.0
    for name, count in Counter(job.spec for job in jobs).items():
        at_once = 1 if devices[0].platform == 'cpu' else min(MAX_SLOTS, -(-count // len(devices)))
        largest = max(largest, at_once * bytes_per_model(resolve(name), recipe.batch_size, length))
    return 0.7e9 + 3.0 * rows * length + len(devices) * largest


def describe(
    corpus: Corpus,
    jobs: Sequence[Job],
    config: Mapping[str, Any],
    run: RunDirectory,
    cluster: Cluster | None = None,
) -> str:
    """The plan as text."""
    lengths = corpus.lengths
    sizes = f'{lengths.min()}' if lengths.min() == lengths.max() else f'{lengths.min()}-{lengths.max()}'
    specs = list(dict.fromkeys(job.spec for job in jobs))
    seeds, folds = len({job.seed for job in jobs}), max((job.fold for job in jobs), default=0)
    lines = [
        f'run {run.path}: {corpus.n_tasks} tasks, {len(corpus):,} sequences of {sizes} bp, {len(jobs)} models '
        f'({len(specs)} spec{"s" * (len(specs) > 1)}, {seeds} seed{"s" * (seeds > 1)}'
        + (f', {folds} folds)' if folds else ')'),
        f'specs: {", ".join(specs)}',
    ]
    lines += _proteins(corpus, config)
    if left_out(corpus):
        lines.append(f'left out: {left_out(corpus)}')
    lines += remarks(corpus)
    if seen_in_training(corpus):
        lines.append(f'note: {seen_in_training(corpus)}')
    rows = [
        {'stage': stage.name, 'what': line.what, 'done': line.done, 'likely_time': duration(line.seconds)}
        for stage in record.STAGES
        for line in [stage.describe(_prospect(corpus, jobs, config, run, cluster))]
    ]
    devices = jax.local_devices()
    where = f'{len(devices)} {devices[0].platform.upper()} device{"s" * (len(devices) > 1)}'
    if cluster:
        where = f'{cluster.workers} worker{"s" * (cluster.workers > 1)} with {cluster.devices} devices'
    return '\n'.join(
        [
            *lines,
            format_table(rows, list(rows[0])),
            f'on {where}; memory about {memory(corpus, jobs, config) / 1e9:.1f} GB; times are rough',
        ]
    )


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
    stage: str,
    corpus: Corpus,
    jobs: Sequence[Job],
    config: Mapping[str, Any],
    run: RunDirectory,
    cluster: Cluster | None = None,
) -> str:
    """What one stage is about to do and how long it is likely to take, as a line."""
    found = record.find_stage(stage).describe(_prospect(corpus, jobs, config, run, cluster))
    done = f', {found.done} done' if found.done else ''
    return f'{stage}: {found.what}{done}; likely {duration(found.seconds)}'


def _prospect(
    corpus: Corpus, jobs: Sequence[Job], config: Mapping[str, Any], run: RunDirectory, cluster: Cluster | None
) -> Prospect:
    share = cluster.devices / jax.local_device_count() if cluster else 1.0
    return Prospect(run, corpus, jobs, config, share)


def duration(seconds: float) -> str:
    """Seconds as '40 s', '13 min' or '2.5 h'; '-' for none."""
    if seconds < 1:
        return '-'
    if seconds < 90:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'
