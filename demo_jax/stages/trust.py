"""The certificate of trust: how much of a run's seqlets, motifs and hits to believe, by a matched simulation (edge).

For every task with motifs, sequences are made that are like its own: as many, as long, with the same dinucleotides
(shuffles of the task's positives), with the task's own motifs in the arrangements in which they were found, in such a
share of the positives that a model that knows the sites would have the validation AUROC of the real one. The same
architectures are trained on them by the same recipe, in a run of its own (WORKDIR/trust), explained and searched in
the same way. There it is known where the sites are.
"""

import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from demo_jax import dna
from demo_jax.data.build import Records, TaskRecords, build_corpus, task_rng
from demo_jax.data.corpus import Corpus
from demo_jax.evaluation.table import Table
from demo_jax.io import files
from demo_jax.io.settings import read_settings
from demo_jax.motifs import formats, own
from demo_jax.motifs.jaspar import JasparMatrix
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.explanations import Explanations
from demo_jax.stages import discovered, explain, train
from demo_jax.training.jobs import Recipe, make_jobs

#: One row per simulated task, architecture and method. Shares are NaN, an empty cell, where nothing was called.
TRUST = Table(
    [],
    (
        'task',
        'spec',
        'method',
        'auroc',
        'simulated_auroc',
        'sites',
        'seqlet_recall',
        'seqlet_fdr',
        'hit_recall',
        'hit_fdr',
        'motifs',
        'motif_recall',
        'invented',
        'best',
    ),
    'trust',
    'What to expect of seqlets, hits and motifs, by a matched simulation',
    (
        'task',
        'spec',
        'method',
        'auroc',
        'simulated_auroc',
        'seqlet_recall',
        'seqlet_fdr',
        'hit_recall',
        'hit_fdr',
        'motif_recall',
        'invented',
        'best',
    ),
    needed=('task', 'spec', 'method'),
)
#: Two motifs are the same if they agree so well, see `own.compare`.
SAME = 0.75


class Arrangement(NamedTuple):
    """What is known of a task's own sites.

    Attributes:
      motifs: name -> probabilities (w, 4), those for binding.
      sites: one entry per explained positive that has some: (motif, start, strand) of each.
      share: of the positives that get sites in the simulation.
    """

    motifs: Mapping[str, np.ndarray]
    sites: Sequence[Sequence[tuple[str, int, int]]]
    share: float


def arrangement(folder: pathlib.Path, auroc: float) -> Arrangement | None:
    """The motifs of a map and how they lie, of the files of `stages.discovered`; None where it has none for binding.

    Args:
      folder: of the map.
      auroc: of the model. One that tells sites from none, and knows nothing else, has 1/2 + share/2.

    Raises:
      InputError: found.npz is missing or damaged.
    """
    found = {name: motif for name, motif in discovered.read_found(folder).items() if int(motif['sign']) > 0}
    if not found:
        return None
    by_row: dict[int, list[tuple[str, int, int]]] = {}
    for name, motif in found.items():
        for row, start, strand in zip(motif['row'], motif['start'], motif['strand'], strict=True):
            by_row.setdefault(int(row), []).append((name, int(start), int(strand)))
    share = float(np.clip(2 * auroc - 1, 0.05, 1))
    return Arrangement({name: motif['probabilities'] for name, motif in found.items()}, list(by_row.values()), share)


def simulate_task(name: str, corpus: Corpus, like: Arrangement, seed: int) -> TaskRecords:
    """Sequences like those of a task, with known sites of its own motifs.

    Args:
      name: of the task.
      corpus: the real one.
      like: see `arrangement`. Its first motif is the primary one, the others are cofactors.
      seed: any integer.
    """
    parts = []
    for part, splits in (('train', ('train', 'valid')), ('test', ('test',))):
        rows = np.concatenate([np.arange(*corpus.rows(name, split).indices(len(corpus))) for split in splits])
        positives = rows[np.asarray(corpus.labels[rows]) == 1]
        rng = task_rng(seed, name, f'trust {part}')
        lengths = np.asarray(corpus.lengths[positives])
        tokens = dna.dinucleotide_shuffle(corpus.padded(positives), rng, lengths)
        sites = _plant(tokens, lengths, like, rng)
        negatives = dna.dinucleotide_shuffle(tokens, rng, lengths)
        n = len(tokens)
        parts.append(
            Records(
                tokens=[
                    row[:length] for array in (tokens, negatives) for row, length in zip(array, lengths, strict=True)
                ],
                labels=np.repeat(np.array([1, 0], np.uint8), n),
                names=[f'{part}_{kind}_{number}' for kind in ('site', 'shuffle') for number in range(n)],
                pairs=np.tile(np.arange(n), 2),
                sites=sites,
            )
        )
    return TaskRecords(name, parts[0], parts[1], {'motif': next(iter(like.motifs)), 'motif_assigned': True})


def _plant(
    tokens: np.ndarray, lengths: np.ndarray, like: Arrangement, rng: np.random.Generator
) -> list[tuple[int, int, int, int, str, str]]:
    """Write sites into a share of the sequences (N, L), in place, as they lie in one that is drawn for each."""
    primary, planted = next(iter(like.motifs)), []
    cumulative = {name: np.cumsum(matrix, axis=1) for name, matrix in like.motifs.items()}
    for row in np.flatnonzero(rng.random(len(tokens)) < like.share).tolist():
        taken = np.zeros(tokens.shape[1], bool)
        for name, start, strand in like.sites[int(rng.integers(len(like.sites)))]:
            width = len(cumulative[name])
            if start < 0 or start + width > lengths[row] or taken[start : start + width].any():
                continue
            letters = (rng.random((width, 1)) * cumulative[name][:, 3:] >= cumulative[name][:, :3]).sum(axis=1)
            letters = letters.astype(np.uint8)
            tokens[row, start : start + width] = letters if strand > 0 else dna.reverse_complement(letters)
            taken[start : start + width] = True
            planted.append((row, start, width, strand, name, 'primary' if name == primary else 'cofactor'))
    return planted


def prepare(
    run: RunDirectory,
    maps: Mapping[str, tuple[pathlib.Path, float]],
    specs: Sequence[str],
    seed: int,
    *,
    progress: bool = True,
) -> RunDirectory | None:
    """Make and train the simulated run beside a real one; None where no task has a motif.

    Args:
      run: the real run; the caller holds its lock.
      maps: task -> the folder of the map whose motifs are planted, and its model's validation AUROC.
      specs: architectures.
      seed: of the simulation.
      progress: show bars.

    Raises:
      InputError: as `train_run`.
    """
    corpus, config = run.corpus(), run.config()
    found = {task: arrangement(folder, auroc) for task, (folder, auroc) in maps.items()}
    tasks = [simulate_task(task, corpus, like, seed) for task, like in found.items() if like is not None]
    if not tasks:
        return None
    simulated = build_corpus(
        tasks, valid_fraction=config.get('corpus', {}).get('valid_fraction', 0.1), seed=seed, source='simulated'
    )
    recipe = read_settings(Recipe, config['recipe'], 'recipe')
    beside = RunDirectory(run.path / 'trust', specs)
    config = {**config, 'corpus': {**config.get('corpus', {}), 'source': 'simulated'}, 'specs': list(specs)}
    if (beside.path / 'run.json').exists() and beside.facts()['fingerprint'] != simulated.fingerprint():
        shutil.rmtree(beside.path)  # of motifs that have changed since
    beside.create(simulated, config, make_jobs(simulated.tasks, specs, recipe))
    train.train_run(beside, progress=progress)
    return beside


def judge(
    beside: RunDirectory,
    rows: Sequence[Mapping[str, Any]],
    maps: Mapping[str, tuple[pathlib.Path, float]],
    folders: Mapping[tuple[str, str, str], pathlib.Path],
) -> list[dict[str, Any]]:
    """Rows of trust.tsv: what was found in the simulated run, against what was planted.

    Args:
      beside: the simulated run, searched.
      rows: of its motifs.tsv.
      maps: as of `prepare`.
      folders: (task, spec, method) -> where the files of that map of the simulated run lie.
    """
    store, corpus = Explanations(beside), beside.corpus()
    best = explain.best_results(beside)
    simulated = {(job.task, job.spec): result.best_auroc for job, result in best.items()}
    made: list[dict[str, Any]] = []
    assert corpus.sites is not None  # it is simulated
    for (task, spec, method), folder in folders.items():
        explained = store.rows(task)
        of_task: dict[str, list[tuple[int, int]]] = {
            corpus.name(int(row)): [] for row in explained if corpus.labels[row] == 1
        }
        names = {int(row): corpus.name(int(row)) for row in explained}
        for site in corpus.sites[np.isin(corpus.sites['row'], explained)]:
            of_task[names[int(site['row'])]].append((int(site['start']), int(site['start'] + site['width'])))
        n_sites = sum(map(len, of_task.values()))
        row: dict[str, Any] = {
            'task': task,
            'spec': spec,
            'method': method,
            'auroc': maps[task][1],
            'simulated_auroc': simulated[task, spec],
            'sites': n_sites,
            'best': 0,
        }
        for what, name in (('seqlet', 'seqlets.bed'), ('hit', 'hits.bed')):
            recall, false = score_bed(folder / name, of_task)
            row |= {f'{what}_recall': recall, f'{what}_fdr': false}
        planted = discovered.read_found(maps[task][0])
        mine = [one for one in rows if (one['task'], one['spec'], one['method']) == (task, spec, method)]
        row |= _motifs(planted, mine, discovered.read_found(folder))
        made.append(row)
    for task in maps:
        mine = [row for row in made if row['task'] == task]
        if mine:
            max(mine, key=_worth)['best'] = 1
    return made


def score_bed(path: pathlib.Path, sites: Mapping[str, Sequence[tuple[int, int]]]) -> tuple[float, float]:
    """Recall and false discovery rate of the stretches of a file of `stages.discovered` that speak for binding.

    A stretch and a site are one if they share at least half of the shorter of the two.

    Args:
      path: the file, with names of sequences in its first column.
      sites: name of a sequence -> (start, stop) of its sites.

    Returns:
      NaN for a share of none.
    """
    found, called, false = set(), 0, 0
    for line in path.read_text(encoding='utf-8').splitlines()[1:]:
        chrom, first, last, name, *_ = line.split('\t')
        if name.startswith('against'):
            continue
        chrom, start, stop = formats.unescape(chrom), int(first), int(last)
        hit = {
            (chrom, site)
            for site in sites.get(chrom, ())
            if 2 * (min(stop, site[1]) - max(start, site[0])) >= min(stop - start, site[1] - site[0])
        }
        found |= hit
        called, false = called + 1, false + (not hit)
    total = sum(map(len, sites.values()))
    return len(found) / total if total else np.nan, false / called if called else np.nan


def _motifs(
    planted: Mapping[str, Mapping[str, np.ndarray]],
    rows: Sequence[Mapping[str, Any]],
    found: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, Any]:
    """How many motifs were found, which share of those planted is among them, and how many are none of these."""
    truth = [_matrix(motif) for motif in planted.values() if int(motif['sign']) > 0]
    mine = [_matrix(found[row['motif']]) for row in rows if str(row['sign']) == '1']
    same = np.array([[own.compare(one, other).agreement >= SAME for other in truth] for one in mine], bool)
    same = same.reshape(len(mine), len(truth))
    return {
        'motifs': len(mine),
        'motif_recall': float(same.any(axis=0).mean()),
        'invented': int((~same.any(axis=1)).sum()),
    }


def _matrix(motif: Mapping[str, np.ndarray]) -> JasparMatrix:
    return JasparMatrix('', '', motif['counts'], motif['probabilities'])


def _worth(row: Mapping[str, Any]) -> float:
    """The harmonic mean of the seqlets' recall and precision."""
    recall, precision = row['seqlet_recall'], 1 - row['seqlet_fdr']
    worth = 2 * recall * precision / (recall + precision) if recall + precision > 0 else 0.0
    return worth if np.isfinite(worth) else 0.0


def write(run: RunDirectory, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Write trust.tsv, and give it."""
    table = TRUST.of(rows)
    files.write_tsv(run.tables / 'trust.tsv', table.rows, table.columns)
    return table
