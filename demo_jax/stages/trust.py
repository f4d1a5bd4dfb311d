"""The certificate of trust: how much of a run's seqlets, motifs and hits to believe, by a matched simulation (edge).

For every task with motifs, sequences are made that are like its own: as many, as long, with the same dinucleotides
(shuffles of the task's positives), with the task's own motifs in the arrangements in which they were found. Only motifs
that the model uses are planted (`USED`). How many positives hold sites, and how strong these are, is read from the
model's scores: those of the real positives are a mixture of those of sequences without sites and with sites of several
strengths (`mix_strengths`). The same architectures are trained on them by the same recipe, in a run of its own
(WORKDIR/trust), explained on as many positives, and searched in the same way. There it is known where the sites are.

How much a threshold of q calls is known of the real run, and varies with the shuffles that q-values come from: a few
strong chance matches decide. So as much is called in the simulation as in the real run, the strongest first, and the
question is how much of it lies on sites. What remains uncertain with so many sequences is told by resampling them
(`expected`).

In the recall, sites count as much as the map shows of their motif: a partner that a model does without contributes
nothing at its sites, and no map can find it (`weighted_sites`).
"""

import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from demo_jax import dna
from demo_jax.data.build import Records, TaskRecords, build_corpus, task_rng
from demo_jax.data.corpus import ROLES, Corpus
from demo_jax.evaluation.table import Table
from demo_jax.explain.attribution import ATTRIBUTIONS, BEST_FIRST
from demo_jax.explain.pieces import stored_maps
from demo_jax.io import files
from demo_jax.io.settings import read_settings
from demo_jax.motifs import own
from demo_jax.motifs.jaspar import JasparMatrix
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.explanations import Explanations
from demo_jax.runs.preferred import worth
from demo_jax.stages import discovered, explain, train
from demo_jax.training.jobs import Job, Recipe, make_jobs

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
        'seqlet_recall_low',
        'seqlet_recall_high',
        'seqlet_fdr',
        'hit_recall',
        'hit_recall_low',
        'hit_recall_high',
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
#: A model uses a motif whose sites contribute, on average, at least this share of what those of its first motif do.
USED = 0.1
#: How strong sites are: their letters are drawn from probabilities ** strength.
STRENGTHS = (0.6, 1.0, 1.5)
_BINS = 40  # of scores, for their distributions
_RESAMPLES = 500  # of sequences, for intervals
_RESAMPLES_OF_SHARES, _ROUNDS_AGAIN = 50, 200  # of scores, and rounds of the expectation maximisation of each
_SURE = 0.95  # of an interval


class Arrangement(NamedTuple):
    """What is known of a task's own sites.

    Attributes:
      motifs: name -> probabilities (w, 4), those for binding that the model uses, what contributes most first.
      sites: one entry per explained positive that has some: (motif, start, strand) of each.
      strengths: of `STRENGTHS`, the share of the positives that get sites of this strength in the simulation.
      error: standard error of the share of positives that get any, as a share of it, by resampling scores.
    """

    motifs: Mapping[str, np.ndarray]
    sites: Sequence[Sequence[tuple[str, int, int]]]
    strengths: Mapping[float, float]
    error: float


class Modelled(NamedTuple):
    """A map of the real run whose motifs are planted, and the model that it explains.

    Attributes:
      folder: of the map, see `stages.discovered`.
      auroc: validation AUROC of the model.
      score: tokens uint8 (N, L) and lengths int (N,) -> the model's scores (N,).
      tokens: uint8 (N, L), the explained positives.
      lengths: int (N,), theirs.
    """

    folder: pathlib.Path
    auroc: float
    score: Callable[[np.ndarray, np.ndarray], np.ndarray]
    tokens: np.ndarray
    lengths: np.ndarray


class Stretches(NamedTuple):
    """Seqlets or hits for binding, the strongest first.

    Attributes:
      places: int64 (S, 3), row of the sequence, start and stop of each.
      called: bool (S,), which of them have a q-value low enough.
    """

    places: np.ndarray
    called: np.ndarray


class Calls(NamedTuple):
    """What a map shows for binding, whatever its q-value.

    Attributes:
      names: of the N sequences that are explained.
      seqlets, hits: see `Stretches`.
    """

    names: Sequence[str]
    seqlets: Stretches
    hits: Stretches


class Judged(NamedTuple):
    """A map of the simulated run, and the same of the real run.

    Attributes:
      folder: of the simulated map, see `stages.discovered`.
      simulated, real: what they show.
    """

    folder: pathlib.Path
    simulated: Calls
    real: Calls


class Expected(NamedTuple):
    """What is expected of calls: shares, NaN of none; `low` and `high` are those of `recall`, 95% of the resamples."""

    recall: float
    low: float
    high: float
    fdr: float


def used_motifs(folder: pathlib.Path) -> dict[str, dict[str, np.ndarray]]:
    """The motifs of a map that speak for binding and that the model uses (`USED`), what contributes most first.

    Raises:
      InputError: found.npz is missing or damaged.
    """
    found = {name: motif for name, motif in discovered.read_found(folder).items() if int(motif['sign']) > 0}
    mean = {name: float(motif['contribution'].mean()) for name, motif in found.items()}
    least = USED * max(mean.values(), default=0.0)
    return {name: found[name] for name in sorted(mean, key=lambda name: -mean[name]) if mean[name] >= least}


def arrangement(of: Modelled, rng: np.random.Generator) -> Arrangement | None:
    """The motifs of a map, how they lie and how strong they are; None where it has none for binding.

    Args:
      of: the map.
      rng: of the shuffles and sites that the model scores for `mix_strengths`.

    Raises:
      InputError: found.npz is missing or damaged.
    """
    used = used_motifs(of.folder)
    if not used:
        return None
    by_row: dict[int, list[tuple[str, int, int]]] = {}
    for name, motif in used.items():
        for row, start, strand in zip(motif['row'], motif['start'], motif['strand'], strict=True):
            by_row.setdefault(int(row), []).append((name, int(start), int(strand)))
    like = Arrangement({name: motif['probabilities'] for name, motif in used.items()}, list(by_row.values()), {}, 0.0)
    known = []
    for strength in (None, *STRENGTHS):
        tokens = dna.dinucleotide_shuffle(of.tokens, rng, of.lengths)
        if strength is not None:
            _plant(tokens, of.lengths, like._replace(strengths={strength: 1.0}), rng)
        known.append(of.score(tokens, of.lengths))
    scores = of.score(of.tokens, of.lengths)
    shares = mix_strengths(scores, known)
    again = [
        1 - mix_strengths(*_resampled(scores, known, rng), rounds=_ROUNDS_AGAIN)[0] for _ in range(_RESAMPLES_OF_SHARES)
    ]
    error = float(np.std(again) / max(np.mean(again), 1e-9))
    return like._replace(strengths=dict(zip(STRENGTHS, shares[1:].tolist(), strict=True)), error=error)


def _resampled(
    scores: np.ndarray, known: Sequence[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    return rng.choice(scores, len(scores)), [rng.choice(part, len(part)) for part in known]


def mix_strengths(scores: np.ndarray, known: Sequence[np.ndarray], *, rounds: int = 500) -> np.ndarray:
    """The shares in which known distributions of scores make up another, by maximum likelihood.

    Expectation maximisation over the histograms of all, with bins that hold equal numbers of scores.

    Args:
      scores: float (N,), those that are a mixture.
      known: K arrays (n,), samples of each of its parts.
      rounds: of the expectation maximisation.

    Returns:
      float64 (K,), which sum to 1.
    """
    edges = np.quantile(np.concatenate([scores, *known]), np.linspace(0, 1, _BINS + 1)[1:-1])
    mixed, *parts = (
        np.bincount(np.searchsorted(edges, sample), minlength=_BINS) / len(sample) for sample in (scores, *known)
    )
    # One score of each sample's number is spread over all bins, so that none is impossible.
    rates = np.stack(
        [(part * len(sample) + 1 / _BINS) / (len(sample) + 1) for part, sample in zip(parts, known, strict=True)], 1
    )
    shares = np.full(len(known), 1 / len(known))
    for _ in range(rounds):
        weights = rates * shares
        shares = mixed @ (weights / weights.sum(axis=1, keepdims=True))
    return shares


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
    kinds = list(like.strengths)
    drawn = np.searchsorted(np.cumsum(list(like.strengths.values())), rng.random(len(tokens)), side='right')
    cumulative = {
        (name, kind): np.cumsum(matrix**kind / (matrix**kind).sum(axis=1, keepdims=True), axis=1)
        for name, matrix in like.motifs.items()
        for kind in kinds
    }
    for row in np.flatnonzero(drawn < len(kinds)).tolist():
        taken = np.zeros(tokens.shape[1], bool)
        for name, start, strand in like.sites[int(rng.integers(len(like.sites)))]:
            columns = cumulative[name, kinds[drawn[row]]]
            width = len(columns)
            if start < 0 or start + width > lengths[row] or taken[start : start + width].any():
                continue
            letters = (rng.random((width, 1)) * columns[:, 3:] >= columns[:, :3]).sum(axis=1)
            letters = letters.astype(np.uint8)
            tokens[row, start : start + width] = letters if strand > 0 else dna.reverse_complement(letters)
            taken[start : start + width] = True
            planted.append((row, start, width, strand, name, 'primary' if name == primary else 'cofactor'))
    return planted


def prepare(
    run: RunDirectory,
    maps: Mapping[str, Modelled],
    specs: Sequence[str],
    seed: int,
    *,
    progress: bool = True,
) -> tuple[RunDirectory, dict[str, float]] | None:
    """Make and train the simulated run beside a real one; None where no task has a motif.

    Args:
      run: the real run; the caller holds its lock.
      maps: task -> the map whose motifs are planted.
      specs: architectures.
      seed: of the simulation.
      progress: show bars.

    Returns:
      The simulated run, and `Arrangement.error` of each of its tasks.

    Raises:
      InputError: as `train_run`.
    """
    corpus, config = run.corpus(), run.config()
    found = {task: arrangement(of, task_rng(seed, task, 'trust strengths')) for task, of in maps.items()}
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
    return beside, {task: like.error for task, like in found.items() if like is not None}


def judge(
    beside: RunDirectory,
    rows: Sequence[Mapping[str, Any]],
    maps: Mapping[str, Modelled],
    calls: Mapping[tuple[str, str, str], Judged],
    errors: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Rows of trust.tsv: what was found in the simulated run, against what was planted.

    Args:
      beside: the simulated run, searched.
      rows: of its motifs.tsv.
      maps: as of `prepare`.
      calls: (task, spec, method) -> that map of both runs.
      errors: of `prepare`.
    """
    store, corpus = Explanations(beside), beside.corpus()
    best = explain.best_results(beside)
    simulated = {(job.task, job.spec): result.best_auroc for job, result in best.items()}
    made: list[dict[str, Any]] = []
    assert corpus.sites is not None  # it is simulated
    jobs = {(job.task, job.spec): job for job in store.jobs()}
    for (task, spec, method), of in calls.items():
        of_task = weighted_sites(store, corpus, jobs[task, spec], method)
        row: dict[str, Any] = {
            'task': task,
            'spec': spec,
            'method': method,
            'auroc': maps[task].auroc,
            'simulated_auroc': simulated[task, spec],
            'sites': sum(weight for sites in of_task.values() for *_, weight in sites),
            'best': 0,
        }
        for what, here, real in (
            ('seqlet', of.simulated.seqlets, of.real.seqlets),
            ('hit', of.simulated.hits, of.real.hits),
        ):
            numbers = np.bincount(real.places[real.called, 0], minlength=len(of.real.names))
            rng = task_rng(0, task, f'trust {spec} {method} {what}')
            one = expected(here.places, of.simulated.names, of_task, numbers, rng, error=errors[task])
            row |= {
                f'{what}_recall': one.recall,
                f'{what}_recall_low': one.low,
                f'{what}_recall_high': one.high,
                f'{what}_fdr': one.fdr,
            }
        planted = used_motifs(maps[task].folder)
        mine = [one for one in rows if (one['task'], one['spec'], one['method']) == (task, spec, method)]
        row |= _motifs(planted, mine, discovered.read_found(of.folder))
        made.append(row)
    for model in dict.fromkeys((row['task'], row['spec']) for row in made):
        mine = [row for row in made if (row['task'], row['spec']) == model]
        rank = {method: place for place, method in enumerate(BEST_FIRST)}
        max(mine, key=lambda row: (worth(row), -rank.get(row['method'], len(rank))))['best'] = 1
    return made


def weighted_sites(
    store: Explanations, corpus: Corpus, job: Job, method: str
) -> dict[str, list[tuple[int, int, float]]]:
    """Name of each explained positive -> (start, stop, weight) of its planted sites, decoys left out.

    The weight is that of the motif: the mean contribution of its sites, as a share of that of the motif that
    contributes most; 0 where that is below 0.

    Args:
      store: explanations of a simulated run.
      corpus: with the sites of primary motifs and cofactors.
      job: the model.
      method: of the map.
    """
    rows = store.rows(job.task)
    tokens, _ = explain.sequences(corpus, rows)
    signed = stored_maps(method, store.load(ATTRIBUTIONS[method].reads or method, job.index), tokens).signed
    total = np.cumsum(np.pad(signed, ((0, 0), (1, 0))), axis=1)
    place = {int(row): number for number, row in enumerate(rows)}
    assert corpus.sites is not None  # it is simulated
    sites = corpus.sites[np.isin(corpus.sites['row'], rows[np.asarray(corpus.labels[rows]) == 1])]
    sites = sites[np.isin(sites['role'], [ROLES.index(role) for role in ('primary', 'cofactor')])]
    at, start = np.array([place[int(row)] for row in sites['row']], np.int64), sites['start'].astype(np.int64)
    stop = start + sites['width']
    contribution = total[at, stop] - total[at, start]
    mean = {motif: contribution[sites['motif'] == motif].mean() for motif in np.unique(sites['motif']).tolist()}
    most = max(mean.values(), default=0.0)
    found: dict[str, list[tuple[int, int, float]]] = {
        corpus.name(int(row)): [] for row in rows if corpus.labels[row] == 1
    }
    for row, motif, first, last in zip(sites['row'], sites['motif'].tolist(), start, stop, strict=True):
        weight = max(mean[motif], 0.0) / most if most > 0 else 0.0
        found[corpus.name(int(row))].append((int(first), int(last), float(weight)))
    return found


def expected(
    stretches: np.ndarray,
    names: Sequence[str],
    sites: Mapping[str, Sequence[tuple[int, int, float]]],
    called: np.ndarray,
    rng: np.random.Generator,
    *,
    error: float = 0.0,
) -> Expected:
    """Recall and false discovery rate of the strongest stretches, as many per sequence as are called elsewhere.

    A stretch and a site are one if they share at least half of the shorter of the two.

    Args:
      stretches: int (S, 3), row, start and stop of each, the strongest first.
      names: of the N sequences.
      sites: name of a sequence -> (start, stop, weight in the recall) of its sites.
      called: int (M,), how many are called in each sequence of the real run.
      rng: of the resamples of the N and of the M sequences, which the interval of the recall comes from.
      error: standard error of how many sites the real sequences hold for one of these here. It widens the interval.
    """
    row, hit = stretches[:, 0].astype(np.int64), np.zeros(len(stretches), bool)
    found_by: list[int] = []  # the strongest stretch on each site
    of_sites: list[tuple[int, float]] = []  # row and weight
    of_row: dict[int, list[int]] = {}
    for number, at in enumerate(row.tolist()):
        of_row.setdefault(at, []).append(number)
    for at, name in enumerate(names):
        for first, last, weight in sites.get(name, ()):
            on = [
                number
                for number in of_row.get(at, ())
                for _, start, stop in [stretches[number].tolist()]
                if 2 * (min(stop, last) - max(start, first)) >= min(stop - start, last - first)
            ]
            hit[on] = True
            found_by.append(min(on, default=len(stretches)))
            of_sites.append((at, weight))
    site_row = np.array([at for at, _ in of_sites], np.int64)
    site_weight = np.array([weight for _, weight in of_sites], np.float64)

    def shares(weights: np.ndarray, total: float) -> tuple[float, float]:
        taken = int(np.searchsorted(np.cumsum(weights[row]), total + 0.5))
        every, of_calls = weights[site_row] * site_weight, weights[row[:taken]]
        found = np.asarray(found_by) < taken
        return (
            float(every[found].sum() / every.sum()) if every.sum() else np.nan,
            float(of_calls[~hit[:taken]].sum() / of_calls.sum()) if of_calls.sum() else np.nan,
        )

    n, m = len(names), len(called)
    recall, fdr = shares(np.ones(n), called.mean() * n)
    per_site = np.exp(error * rng.standard_normal(_RESAMPLES))
    drawn = [
        shares(rng.multinomial(n, np.full(n, 1 / n)), float(called[rng.integers(0, m, m)].mean()) * n / sites_more)[0]
        for sites_more in per_site.tolist()
    ]
    low, high = np.nanquantile(drawn, [(1 - _SURE) / 2, (1 + _SURE) / 2])
    return Expected(recall, float(low), float(high), fdr)


def _motifs(
    planted: Mapping[str, Mapping[str, np.ndarray]],
    rows: Sequence[Mapping[str, Any]],
    found: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, Any]:
    """How many motifs were found, which share of those planted is among them, and how many are none of these."""
    truth = [_matrix(motif) for motif in planted.values()]
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


def write(run: RunDirectory, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Write trust.tsv, and give it."""
    table = TRUST.of(rows)
    files.write_tsv(run.tables / 'trust.tsv', table.rows, table.columns)
    return table
