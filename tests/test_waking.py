"""Whether a model has begun to learn: the bar, letters by position, and courses that training has taken."""

import dataclasses

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.evaluation.metrics import auroc, chance_deviation
from demo_jax.training import segments, stack, waking
from demo_jax.training.jobs import Plan, Recipe, epoch_order, make_jobs
from demo_jax.training.machine import ProgramSizes
from demo_jax.training.pool import TaskRows, build_pool
from demo_jax.training.state import Progress
from tests.helpers import toy_corpus

LABELS = np.arange(1282) % 2  # two deviations of chance: .0323


def test_the_bar_is_chance_or_letters_by_position():
    labels = np.arange(600) % 2
    # Scores of no meaning have an AUROC with an SD of sqrt(601 / (12 * 300 * 300)) = .0236, as a simulation says, too.
    rng = np.random.default_rng(0)
    drawn = [auroc(labels, rng.normal(size=600)) for _ in range(400)]
    assert chance_deviation(labels) == pytest.approx(0.02359, abs=1e-5) == pytest.approx(np.std(drawn), rel=0.1)
    assert waking.bar(labels, 0.5) == pytest.approx(0.54718, abs=1e-5) == waking.bar(labels, 0.54)
    assert waking.bar(labels, 0.6) == 0.6
    assert waking.bar(labels, 0.9) == 0.65  # a centred motif, which letters by position tell, too
    assert waking.bar(labels[:300], 0.6) == pytest.approx(0.56678, abs=1e-5)  # too few to compare two models
    assert waking.bar(labels[:20], 0.6) == 0.0  # too few to say so of any model
    assert waking.bar(np.ones(600, int), 0.6) == 0.0


@pytest.mark.parametrize('both_strands', [False, True])
@pytest.mark.parametrize('lengths', [None, (24, 30, 27)])
def test_letters_by_position_are_a_naive_bayes_classifier(both_strands, lengths):
    from sklearn.naive_bayes import CategoricalNB

    rng = np.random.default_rng(0)
    pool, rows = build_pool(toy_corpus({'a': 300}, **({} if lengths is None else {'lengths': lengths})))
    labels = np.asarray(pool.labels)
    tokens = np.where(rng.random(pool.tokens.shape) < 0.02, 4, pool.tokens).astype(np.uint8)
    tokens[:, 5] = np.where((labels == 1) & (tokens[:, 5] < 4), 2, tokens[:, 5])  # at position 5 positives have a G
    pool = pool.replace(tokens=tokens)
    train, valid = rows['a'].train[:, 0], rows['a'].valid

    def pairs(tokens):  # one category more than there are pairs: whatever holds no letter
        known = (tokens[:, :-1] < 4) & (tokens[:, 1:] < 4)
        return np.where(known, tokens[:, :-1].astype(int) * 4 + tokens[:, 1:], 16)

    bayes = CategoricalNB(alpha=1, min_categories=17).fit(pairs(tokens[train]), labels[train])
    ratio = [table[1] - table[0] for table in bayes.feature_log_prob_]

    def score(row, length):
        strands = [tokens[row]]
        if both_strands:
            turned = np.full_like(tokens[row], 4)
            turned[:length] = dna.reverse_complement(tokens[row][:length])
            strands.append(turned)
        return sum(w[k] for s in strands for w, k in zip(ratio, pairs(s[None])[0], strict=True) if k < 16)

    sizes = np.full(len(labels), tokens.shape[1]) if pool.lengths is None else pool.lengths
    expected = auroc(labels[valid], np.array([score(row, sizes[row]) for row in valid]))
    assert waking.position_auroc(pool, rows['a'], both_strands) == pytest.approx(expected, abs=1e-3)
    assert expected > 0.55
    alone = dataclasses.replace(rows['a'], valid=valid[labels[valid] == 1])
    assert waking.position_auroc(pool, alone, both_strands) == 0.5


def epochs_until_asleep(aurocs, monkeypatch, *, floor=0.5, labels=LABELS, attempt=0):
    """The epoch at which a job with these validation AUROCs is found asleep, 0 = never; each epoch is one step."""
    recipe = Recipe(batch_size=2000, epochs=len(aurocs), retries=1)
    job, plan = make_jobs(['a'], ['small_cnn'], recipe)[0], Plan(len(aurocs), 1)
    rows = TaskRows(train=np.zeros((1, 1), np.int32), valid=np.arange(len(labels), dtype=np.int32), test=labels[:0])
    sizes, values = ProgramSizes(slots=1, steps=1, snapshots=1, scored=1), iter(aurocs)
    monkeypatch.setattr(segments, 'auroc', lambda labels, scores: next(values))
    measured = stack.Measured(*np.zeros((3, 1)), np.zeros((1, 2000)))
    progress = Progress(0, attempt=attempt)
    for epoch in range(1, len(aurocs) + 1):
        part = segments.plan_part(progress, job, plan, rows, recipe, sizes, lambda e: epoch_order(recipe, job, rows, e))
        found = segments.account(progress, part, plan, job, recipe, measured, labels, lambda: floor)
        if found.asleep:
            return epoch
        progress = found.progress
    assert progress.recent == tuple(aurocs[-3:])
    return 0


@pytest.mark.parametrize(
    ('aurocs', 'floor', 'asleep'),
    [
        # One lucky epoch hides nobody: three in a row are above chance (.532) or are not.
        ([0.51, 0.50, 0.58, 0.50, 0.51, 0.50, 0.52, 0.51], 0.5, 4),
        ([0.51, 0.53, 0.54, 0.54, 0.53, 0.52, 0.52, 0.51], 0.5, 0),
        # Waiting at what letters by position tell, as an RNN on REST once did.
        ([0.53, 0.56, 0.58, 0.57, 0.58, 0.57, 0.58, 0.58], 0.62, 4),
        ([0.53, 0.56, 0.58, 0.57, 0.58, 0.57, 0.58, 0.58], 0.5, 0),
        # About to wake up, as CNN-RNNs that learn pairs: the last three rise. What falls back is asked again.
        ([0.50, 0.49, 0.50, 0.51, 0.52, 0.53, 0.65, 0.89, 0.97, 0.98], 0.5, 0),
        ([0.50, 0.51, 0.49, 0.50, 0.51, 0.50, 0.51, 0.51, 0.51, 0.51], 0.5, 6),
        ([0.50, 0.49, 0.50, 0.51, 0.50, 0.51], 0.5, 3),
        ([0.49, 0.50, 0.51, 0.50, 0.50, 0.50], 0.5, 4),
        # What has been learnt and lost again has been learnt.
        ([0.60, 0.70, 0.65, 0.50, 0.50, 0.50, 0.50, 0.50], 0.5, 0),
        # Fewer than three epochs are asked at the end.
        ([0.51, 0.50], 0.5, 2),
    ],
)
def test_courses_of_training(monkeypatch, aurocs, floor, asleep):
    assert epochs_until_asleep(aurocs, monkeypatch, floor=floor) == asleep
    # With no attempt left it goes on, and is told of at its end alone.
    assert epochs_until_asleep(aurocs, monkeypatch, floor=floor, attempt=1) == (len(aurocs) if asleep else 0)
