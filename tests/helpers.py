"""Small corpora, what every corpus must hold, the files of a run, flags of the compiler; JAX is not imported."""

import functools
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from demo_jax import dna
from demo_jax.data.build import Records, TaskRecords, build_corpus
from demo_jax.data.corpus import Corpus

ROOT = pathlib.Path(__file__).resolve().parent.parent
#: Flags of the compiler for programs that run once or twice: compiling is most of what tests would wait for.
XLA_FLAGS = (
    '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true '
    '--xla_cpu_parallel_codegen_split_count=1'  # a module for each of 32 parts costs more than they save
)
if importlib.metadata.version('jaxlib').startswith('0.10.'):  # later versions have no such option
    XLA_FLAGS += ' --xla_cpu_use_fusion_emitters=false'

#: Names the folder of compiled programs that the commands which tests start have in common (set by `conftest.py`).
PROGRAMS = 'DEMO_JAX_TEST_PROGRAMS'


def keep_programs(folder: str = '') -> dict[str, str]:
    """Variables by which a process that a test starts reads programs that another one has compiled."""
    return {
        'JAX_COMPILATION_CACHE_DIR': folder or os.environ[PROGRAMS],
        'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
        'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
    }


def toy_corpus(sizes: dict[str, int], lengths: tuple[int, ...] = (30,), motif: str = 'TGACTCA') -> Corpus:
    """Tasks with `sizes[name]` training pairs (and 20 test pairs) whose positives hold a motif, quick to learn."""
    word = dna.encode(motif)

    def records(count, rng, name):
        tokens, labels, pairs = [], [], []
        for i in range(count):
            positive = rng.integers(0, 4, lengths[i % len(lengths)]).astype(np.uint8)
            at = rng.integers(0, len(positive) - len(word) + 1)
            positive[at : at + len(word)] = word
            tokens += [positive, dna.dinucleotide_shuffle(positive[None], rng)[0]]
            labels += [1, 0]
            pairs += [i, i]
        return Records(tokens, np.array(labels, np.uint8), [f'{name}{i}' for i in range(2 * count)], np.array(pairs))

    tasks = []
    for number, (name, count) in enumerate(sizes.items()):
        rng = np.random.default_rng(number)
        tasks.append(TaskRecords(name, records(count, rng, 'train'), records(20, rng, 'test')))
    return build_corpus(tasks)


def positives(n, seed=0, low=20, high=30):
    rng = np.random.default_rng(seed)
    tokens = [rng.integers(0, 4, rng.integers(low, high), dtype=np.uint8) for _ in range(n)]
    return Records(tokens, np.ones(n, np.uint8), [f'peak_{seed}_{number}' for number in range(n)])


def labelled(n, seed=0, unpaired=0):
    """Positives, then their shuffles in another order, then negatives without a partner; pairs not given."""
    given = positives(n, seed)
    rng = np.random.default_rng(seed + 100)
    shuffles = [dna.dinucleotide_shuffle(sequence[None], rng)[0] for sequence in given.tokens[::-1]]
    strangers = [rng.integers(0, 4, 50, dtype=np.uint8) for _ in range(unpaired)]
    tokens = [*given.tokens, *shuffles, *strangers]
    labels = [1] * n + [0] * (n + unpaired)
    return Records(tokens, labels, [f'record_{seed}_{number}' for number in range(len(tokens))])


def small_corpus(tasks: Sequence[str] = ('one', 'two')) -> Corpus:
    """Tasks of ten sequences with places, sites and shuffles."""
    rng = np.random.default_rng(0)

    def records(count: int) -> Records:
        tokens = [rng.integers(0, 5, 20).astype(np.uint8) for _ in range(2 * count)]
        return Records(
            tokens,
            [1, 0] * count,
            [f'r{i}' for i in range(2 * count)],
            pairs=np.repeat(np.arange(count), 2),
            intervals=[('chr1', 10 * i, 1) if i % 2 else (None, 0, 1) for i in range(2 * count)],
            sites=[(0, 3, 5, 1, 'MA0001.1', 'primary'), (1, 2, 8, -1, 'MA0002.1', 'decoy')],
        )

    return build_corpus([TaskRecords(name, records(3), records(2), {'motif': 'x'}) for name in tasks])


def check_corpus(corpus: Corpus) -> None:
    """A corpus as readers promise it."""
    n = len(corpus)
    assert corpus.starts.shape == (n + 1,) and corpus.starts[-1] == len(corpus.tokens)
    assert corpus.tokens.max(initial=0) <= 4 and set(np.unique(corpus.labels)) <= {0, 1}
    assert corpus.bounds.shape == (corpus.n_tasks, 4) and (not corpus.n_tasks or corpus.bounds[-1, -1] == n)
    for task in corpus.tasks:
        assert ' '.join(task.split()) == task and task.isprintable()
        rows = corpus.rows(task, 'test')
        dna.one_hot(corpus.padded(rows))
    for row in range(min(n, 3)):
        corpus.name(row), corpus.sequence(row)
    json.dumps(dict(corpus.info))


def check_motifs(motifs: dict[str, np.ndarray]) -> None:
    """Named matrices of finite numbers."""
    assert motifs
    for matrix in motifs.values():
        assert matrix.ndim == 2 and matrix.shape[1] == 4 and len(matrix) and np.isfinite(matrix).all()


def make_run(folder: pathlib.Path) -> None:
    """A run directory of two tasks and one small spec, with models of random parameters."""
    from demo_jax.runs.directory import HISTORY_COLUMNS, RunDirectory
    from demo_jax.training.jobs import Recipe, make_jobs

    corpus = small_corpus()
    jobs = make_jobs(corpus.tasks, ('small_rnn',), Recipe())
    config = {'corpus': {'source': 'fasta'}, 'specs': ['small_rnn'], 'seeds': [0], 'recipe': {'average_strands': True}}
    run = RunDirectory(folder)
    run.create(corpus, config, jobs)
    (folder / 'models').mkdir()
    rng = np.random.default_rng(0)
    for job in jobs:
        facts = {'job': job.index, 'status': 'ok', 'attempt': 0, 'steps': 3, 'best_epoch': 1, 'best_auroc': 0.75}
        history = np.full((2, len(HISTORY_COLUMNS)), 0.5)
        history[:, :3] = [[job.index, 0, 1], [job.index, 0, 2]]
        params = {
            f'params/{layer}/{name}': rng.normal(size=leaf.shape).astype(np.float32)
            for layer, leaves in small_rnn_shapes().items()
            for name, leaf in leaves.items()
        }
        np.savez(
            folder / 'models' / f'{job.index:05d}.npz',
            allow_pickle=False,
            facts=np.array(json.dumps(facts)),
            history=history,
            **params,
        )


@functools.cache
def small_rnn_shapes() -> dict[str, dict[str, Any]]:
    """The shapes of the small RNN's parameters."""
    import jax

    from demo_jax.nn.models import SPECS, init

    return jax.eval_shape(lambda: init(jax.random.key(0), SPECS['small_rnn']))


def contents(run: pathlib.Path) -> dict[str, bytes]:
    """What a run found, by file: parameters, tables, explanations, motifs; not the logs that hold times."""
    folders = ('models', 'tables', 'explain', 'motifs', 'corpus')
    paths = [path for folder in folders for path in (run / folder).rglob('*')]
    paths += [run / name for name in ('history.tsv', 'jobs.tsv', 'config.json', 'run.json')]
    # made.json holds the times of the files that parts were made from.
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(paths)
        if path.is_file() and not path.name.startswith('.') and path.name != 'made.json'
    }
