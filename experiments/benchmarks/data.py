"""Suite `data`: shuffling, corpus building, reading, planning on the host, and the bootstrap."""

import dataclasses
import functools
import gzip
import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from demo_jax import dna
from demo_jax.data import readers, storage
from demo_jax.data.build import Records, TaskRecords, build_corpus
from demo_jax.evaluation.metrics import bootstrap_auroc
from demo_jax.report.tables import format_table
from demo_jax.training.jobs import Recipe, epoch_order, make_jobs
from demo_jax.training.pool import build_pool
from experiments.benchmarks.measure import Settings, interleaved, summarise

TASK = 'random'
TEST_SHARE = 10
BOOTSTRAP_PAIRS = 500
BOOTSTRAP_RESAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class Task:
    """Something to time: `program`, which handles `count` sequences per call (None: report milliseconds)."""

    name: str
    program: Callable[[], Any]
    count: int | None = None


def run(settings: Settings) -> dict[str, Any]:
    """Measure; see `experiments.benchmark` for what the result holds."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = _tasks(settings, pathlib.Path(folder))
        seconds = interleaved({task.name: task.program for task in tasks}, settings.repeats)
    return {
        'sequences': settings.sequences,
        'length': settings.length,
        'rows': [_row(task, seconds[task.name]) for task in tasks],
    }


def _tasks(settings: Settings, folder: pathlib.Path) -> list[Task]:
    count, cores = settings.sequences, len(os.sched_getaffinity(0))
    rng = np.random.default_rng(0)
    tokens = rng.integers(4, size=(count, settings.length), dtype=np.uint8)
    n_test = max(count // TEST_SHARE, 2)
    train, test = _records(tokens), _records(tokens[:n_test], rng)
    parts = [TaskRecords(TASK, train, test)]
    deepbind, fasta = folder / 'deepbind', folder / 'fasta'
    _write_deepbind(deepbind, train, test)
    _write_fasta(fasta, train, test)
    corpus = build_corpus(parts)
    storage.save_corpus(corpus, folder / 'corpus')
    pool, rows = build_pool(corpus)
    recipe = Recipe(batch_size=settings.batch, reverse_complement=True)
    (job,) = make_jobs([TASK], ['medium_cnn_rnn'], recipe)
    per_epoch = len(rows[TASK].train)
    labels = np.repeat([1, 0], BOOTSTRAP_PAIRS)
    scores = rng.normal(size=len(labels)) + labels
    pairs = np.tile(np.arange(BOOTSTRAP_PAIRS), 2)
    n_read = count + n_test
    bootstrap = f'AUROC bootstrap ({BOOTSTRAP_RESAMPLES:,} resamples of {BOOTSTRAP_PAIRS} pairs)'
    threads = dict.fromkeys((1, cores))
    return [
        *(
            Task(
                f'dinucleotide shuffles, {number} thread{"s" * (number > 1)}',
                functools.partial(dna.dinucleotide_shuffle, tokens, rng, threads=number),
                count,
            )
            for number in threads
        ),
        Task('read DeepBind .seq.gz', lambda: readers.read_tasks('deepbind', [deepbind]), n_read),
        Task('read labelled FASTA', lambda: readers.read_tasks('fasta', [fasta]), n_read),
        Task('build a corpus, shuffles included', lambda: build_corpus(parts), len(corpus)),
        Task('save a corpus', lambda: storage.save_corpus(corpus, folder / 'again'), len(corpus)),
        Task('open a corpus', lambda: storage.load_corpus(folder / 'corpus')),
        Task('verify a corpus', lambda: storage.load_corpus(folder / 'corpus', verify=True), len(corpus)),
        Task('lay out the pool', lambda: build_pool(corpus), len(corpus)),
        Task('lay out the pool, 2 sets of negatives', lambda: build_pool(corpus, negative_sets=2), len(corpus)),
        Task('plan an epoch', lambda: epoch_order(recipe, job, rows[TASK], 0), per_epoch),
        Task(bootstrap, lambda: bootstrap_auroc(labels, scores, pairs, n_resamples=BOOTSTRAP_RESAMPLES)),
    ]


def _records(tokens: np.ndarray, rng: np.random.Generator | None = None) -> Records:
    """Positives; with `rng`, followed by a shuffle of each."""
    n = len(tokens)
    names = [f'seq_{number:05d}_peak' for number in range(n)]
    if rng is None:
        return Records(list(tokens), np.ones(n, np.uint8), names)
    shuffled = dna.dinucleotide_shuffle(tokens, rng)
    labels = np.repeat(np.array([1, 0], np.uint8), n)
    return Records([*tokens, *shuffled], labels, [*names, *(f'{name}_shuf' for name in names)])


def _write_deepbind(folder: pathlib.Path, train: Records, test: Records) -> None:
    folder.mkdir()
    for suffix, records in (('AC', train), ('B', test)):
        rows = zip(records.names, records.tokens, records.labels, strict=True)
        lines = [f'A\t{name}\t{dna.decode(tokens)}\t{label}\n' for name, tokens, label in rows]
        with gzip.open(folder / f'{TASK}_{suffix}.seq.gz', 'wt', encoding='ascii') as handle:
            handle.write('FoldID\tEventID\tseq\tBound\n' + ''.join(lines))


def _write_fasta(folder: pathlib.Path, train: Records, test: Records) -> None:
    folder.mkdir()
    for suffix, records in (('fa', train), ('test.fa', test)):
        rows = zip(records.names, records.tokens, records.labels, strict=True)
        text = ''.join(f'>{name} {label}\n{dna.decode(tokens)}\n' for name, tokens, label in rows)
        (folder / f'{TASK}.{suffix}').write_text(text, encoding='ascii')


def _row(task: Task, seconds: list[float]) -> dict[str, Any]:
    if task.count is None:
        return {'name': task.name, 'unit': 'ms', 'value': summarise([1e3 * value for value in seconds])}
    rates = summarise([task.count / value for value in seconds])
    return {'name': task.name, 'unit': 'sequences/s', 'count': task.count, 'value': rates}


def tables(result: Mapping[str, Any]) -> list[str]:
    """The result as printed tables."""
    rows = [
        {'what': row['name'], 'unit': row['unit']}
        | {key: _short(row['value'][key]) for key in ('median', 'min', 'max')}
        for row in result['rows']
    ]
    title = f'Data: {result["sequences"]:,} sequences of {result["length"]} letters; median, min and max of the repeats'
    return [format_table(rows, list(rows[0]), title=title)]


def _short(value: float) -> str:
    """A number with as many digits as can be read: 212,345 or 3.14."""
    return f'{value:,.0f}' if value >= 100 else f'{value:.3g}'
