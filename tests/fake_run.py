"""A run directory with made-up results and hostile names, for tests of what is shown."""

import pathlib

import numpy as np

from demo_jax import dna
from demo_jax.data.build import Records, TaskRecords, build_corpus
from demo_jax.io import files
from demo_jax.motifs import formats, jaspar
from demo_jax.motifs.extract import best_windows
from demo_jax.motifs.matching import own_matrices
from demo_jax.motifs.tomtom import match_motifs, prepare_targets
from demo_jax.runs.directory import HISTORY_COLUMNS, RunDirectory
from demo_jax.runs.done import Made
from demo_jax.runs.explanations import Explanations
from demo_jax.stages.evaluate import AUROC_COLUMNS
from demo_jax.stages.motif_files import MOTIF_COLUMNS, WINDOW_COLUMNS
from demo_jax.training.jobs import Recipe, make_jobs

HOSTILE = '<script>alert(1)</script>'
PLAIN = 'CTCF_K562_CTCF_Broad'
HEADER = 'chr1 "quoted" \'single\' <img src=x onerror=alert(1)> & \u2028 {{7*7}} \t=1+1'
LENGTH = 60
N_TEST = 15
SPECS = ('medium_cnn', 'medium_cnn_rnn')


def make(path: pathlib.Path, *, matched: bool = True, explained: bool = True, source: str = 'fasta') -> RunDirectory:
    """A run of two tasks and two specs; its second task's CNN-RNN has diverged."""
    rng = np.random.default_rng(0)
    matrices = jaspar.load_matrices()
    site = matrices[own_matrices('CTCF', matrices)[0]].probabilities.argmax(axis=1).astype(np.uint8)
    corpus = build_corpus([_task(name, site, rng) for name in (PLAIN, HOSTILE)])
    jobs = make_jobs(corpus.tasks, SPECS, Recipe(), seeds=(0,))
    config = {'corpus': {'source': source}, 'specs': SPECS, 'seeds': (0,), 'recipe': {'average_strands': False}}
    run = RunDirectory(path)
    run.create(corpus, config, jobs)
    alive = [job for job in jobs if (job.task, job.spec) != (HOSTILE, SPECS[1])]
    _tables(run, jobs, alive, rng)
    store = Explanations(run)
    if explained:
        rows = {}
        for task in corpus.tasks:
            span = corpus.rows(task, 'test')
            labels = np.asarray(corpus.labels[span])
            rows[task] = span.start + np.concatenate([np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)])
        store.write_index(alive, rows)
        for job in alive:
            _explain(store, job, len(rows[job.task]), rng)
    if matched:
        _match(run, store, alive, rng)
    return run


def _task(name: str, site: np.ndarray, rng: np.random.Generator) -> TaskRecords:
    def records(count: int, part: str) -> Records:
        tokens, labels, pairs, names = [], [], [], []
        for i in range(count):
            positive = rng.integers(0, 4, LENGTH - (i % 3 == 1)).astype(np.uint8)
            if i % 3 == 0:
                positive[20 : 20 + len(site)] = site
            tokens += [positive, dna.dinucleotide_shuffle(positive[None], rng)[0]]
            labels += [1, 0]
            pairs += [i, i]
            names += [f'{part}{i} {HEADER}' if i % 2 else f'{part}{i}', f'{part}{i} shuffled']
        return Records(tokens, np.array(labels, np.uint8), names, np.array(pairs))

    return TaskRecords(name, records(30, 'train'), records(N_TEST, 'test'))


def _tables(run: RunDirectory, jobs, alive, rng) -> None:
    rows, history = [], []
    for job in jobs:
        row = {name: getattr(job, name) for name in AUROC_COLUMNS[:5]}
        row['status'] = 'ok' if job in alive else 'diverged'
        if job in alive:
            row |= {
                'valid_auroc': 0.9,
                'test_auroc': 0.8 + 0.01 * job.index,
                'test_auroc_low': 0.7,
                'test_auroc_high': 0.9,
                'test_auprc': 0.8,
            }
            path = run.path / 'predictions' / f'{job.index:05d}.npy'
            path.parent.mkdir(exist_ok=True)
            np.save(path, rng.normal(size=2 * N_TEST).astype(np.float32), allow_pickle=False)
            for epoch in (1, 2, 3):
                values = dict.fromkeys(HISTORY_COLUMNS, 0.5) | {'job': job.index, 'attempt': 0, 'epoch': epoch}
                history.append({'task': job.task, 'spec': job.spec, 'seed': 0} | values)
        rows.append(row)
    files.write_tsv(run.tables / 'auroc.tsv', rows, AUROC_COLUMNS)
    files.write_tsv(run.path / 'history.tsv', history, ('task', 'spec', 'seed', *HISTORY_COLUMNS))
    files.write_tsv(
        run.tables / 'table2.tsv',
        [{'model': spec, 'kind': 'cnn', 'n_tasks': 2, 'mean': 0.8, 'median': 0.8, 'sd': None} for spec in SPECS],
        ('model', 'kind', 'n_tasks', 'mean', 'median', 'sd', 'published_mean', 'published_median', 'published_sd'),
    )
    files.write_tsv(
        run.tables / 'published.tsv',
        [{'task': task, 'spec': SPECS[0], 'deepbind': 0.9} for task in (PLAIN, HOSTILE)],
        ('task', 'spec', 'deepbind'),
    )


def _explain(store: Explanations, job, n: int, rng) -> None:
    score = rng.normal(size=n).astype(np.float32)
    hypothetical = rng.normal(size=(n, LENGTH, 4)).astype(np.float32)
    store.save('saliency', job.index, {'score': score, 'hypothetical': hypothetical}, Made({}, {}))
    store.save(
        'mutagenesis',
        job.index,
        {
            'score': score,
            'hypothetical': hypothetical,
            'signed': hypothetical[..., 0] / 7,
        },
        Made({}, {}),
    )
    if job.spec == SPECS[1]:
        temporal = rng.normal(size=(2, n, LENGTH)).astype(np.float32)
        temporal[:, :, :3] = np.nan
        store.save('temporal', job.index, {'forward': temporal[0], 'reverse': temporal[1]}, Made({}, {}))
    matrix = rng.dirichlet(np.ones(4), (2, LENGTH)).astype(np.float32)
    store.save(
        'class_optimisation',
        job.index,
        {
            'matrix': matrix,
            'raw': matrix,
            'score': np.ones(2),
            'objective': np.array([0.0, 1.0]),
        },
        Made({}, {}),
    )


def _match(run: RunDirectory, store: Explanations, alive, rng) -> None:
    release = jaspar.releases()[0]
    matrices = jaspar.load_matrices(release)
    own = {PLAIN: list(own_matrices('CTCF', matrices)), HOSTILE: []}
    some = dict.fromkeys([*own[PLAIN], *list(matrices)[:60]])
    targets = prepare_targets({motif: matrices[motif].probabilities for motif in some})
    corpus = run.corpus()
    for job in alive:
        folder = run.path / 'motifs' / files.safe_name(job.task) / job.spec
        motifs = {
            'saliency': matrices[list(some)[0]].probabilities[3:12],
            'mutagenesis': rng.dirichlet([0.3] * 4, 9),
            'integrated_gradients': np.full((9, 4), 0.25) + np.array([0.01, -0.01, 0.02, -0.02]),
        }
        formats.write_meme(folder / 'motifs.meme', motifs)
        matches = match_motifs(list(motifs.values()), targets)
        formats.write_tomtom(folder / 'tomtom.tsv', matches, motifs, targets)
        files.write_tsv(
            folder / 'motifs.tsv',
            [
                {'name': name, 'consensus': 'N' * 9, 'windows': N_TEST, 'agree': agree, 'start': 0, 'end': 9}
                for name, agree in (('saliency', 7), ('mutagenesis', None), ('integrated_gradients', 0))
            ],
            MOTIF_COLUMNS,
        )
        rows = store.rows(job.task)[:N_TEST] if store.path.is_dir() else np.zeros(0, np.int64)
        windows = best_windows(rng.random((len(rows), LENGTH)), np.asarray(corpus.lengths[rows]))
        columns = (windows.row, windows.start, windows.score)
        cells = [
            ('saliency', rows[row], corpus.name(int(rows[row])), start, start + 9, '+', 'ACGTACGTA', score)
            for row, start, score in zip(*columns, strict=True)
        ]
        files.write_tsv(
            folder / 'windows.tsv', [dict(zip(WINDOW_COLUMNS, row, strict=True)) for row in cells], WINDOW_COLUMNS
        )
    files.write_json(run.path / 'motifs' / 'own.json', {'release': release, 'tasks': own})
