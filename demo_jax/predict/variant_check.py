"""Whether effects of variants can be trusted, on a run's own test sequences (edge: reads runs)."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from demo_jax.errors import InputError
from demo_jax.evaluation.metrics import auroc
from demo_jax.explain.truth import planted_alleles
from demo_jax.predict.alleles import AlleleScorer, Pairs
from demo_jax.predict.ensemble import members_of
from demo_jax.predict.predictor import Predictor
from demo_jax.predict.run import Run
from demo_jax.predict.variant_null import nulls_of, substitutions


def _changes(predictor: Predictor, pairs: Pairs) -> np.ndarray:
    """Changes of a predictor's score, float32 (n,)."""
    members = members_of([predictor])
    ref, alt = AlleleScorer(members.models).score(pairs)
    return members.combine(alt).mean[0] - members.combine(ref).mean[0]


def planted_auroc(run: Run, predictors: Sequence[Predictor], *, seed: int = 0) -> list[float]:
    """How well the loss of score tells alleles that break planted sites from alleles beside sites: an AUROC each.

    Args:
      run: a run on simulated data, whose sites are known.
      predictors: of this run.
      seed: of the alleles beside sites, see `truth.planted_alleles`.

    Raises:
      InputError: the run's sites are not known.
    """
    corpus = run.directory.corpus()
    if corpus.sites is None:
        raise InputError(f'{run.directory.path}: its motif sites are not known, expected a run on simulated data')
    found = []
    for predictor in predictors:
        rows = np.arange(len(corpus))[corpus.rows(predictor.task, 'test')]
        tokens, lengths = corpus.padded(rows, predictor.length), corpus.lengths[rows].astype(np.int32)
        alleles = planted_alleles(tokens, corpus.sites, rows, np.random.default_rng(seed))
        ref, sizes = tokens[alleles.row], lengths[alleles.row]
        alt = ref.copy()
        alt[np.arange(len(alt)), alleles.position] = alleles.letter
        pairs = Pairs(ref, alt, sizes, sizes, alleles.row, np.zeros(len(ref), np.int64), alleles.position)
        found.append(float(auroc(alleles.breaks.astype(int), -_changes(predictor, pairs))))
    return found


def null_p_values(run: Run, predictors: Sequence[Predictor], *, n: int = 1000, seed: int = 1) -> list[float]:
    """Whether p-values of random substitutions are uniform: Kolmogorov's and Smirnov's p for each predictor.

    Args:
      run: a trained run.
      predictors: of this run.
      n: substitutions, drawn at random from test sequences of the task, at most 2,000 of them.
      seed: of what is drawn, other than that of the null.
    """
    corpus = run.directory.corpus()
    nulls = nulls_of(run, predictors, progress=False)
    found = []
    for predictor, null in zip(predictors, nulls, strict=True):
        rng = np.random.default_rng([seed, corpus.task_index(predictor.task)])
        rows = np.arange(len(corpus))[corpus.rows(predictor.task, 'test')]
        rows = rng.permutation(rows)[:2000]
        pairs, kind = substitutions(
            corpus.padded(rows, predictor.length),
            corpus.lengths[rows],
            draws=len(rows) * predictor.length,
            strands=predictor.average_strands,
            rng=rng,
        )
        chosen = np.sort(rng.permutation(len(pairs))[:n])
        pairs = Pairs(*(array[chosen] for array in pairs))
        p_value, _ = null.rank(_changes(predictor, pairs), kind[chosen])
        found.append(float(stats.kstest(p_value, 'uniform').pvalue))
    return found
