"""The training loop: what a job computes depends on the job alone, and nothing that fails spreads."""

import dataclasses
from unittest import mock

import jax
import numpy as np
import pytest

from demo_jax.compute.devices import compilations
from demo_jax.errors import InputError
from demo_jax.nn import models
from demo_jax.nn.cost import bytes_per_model
from demo_jax.nn.models import SPECS, ModelSpec
from demo_jax.training import segments, stack
from demo_jax.training.fit import Machine, Progress, Started, fit, programs_of
from demo_jax.training.jobs import Plan, Recipe, epoch_order, make_jobs
from demo_jax.training.machine import ProgramSizes, program_sizes
from demo_jax.training.pool import build_pool
from demo_jax.training.step import job_hyper
from tests.helpers import toy_corpus

RECIPE = Recipe(batch_size=16, epochs=4, learning_rate=3e-3, reverse_complement=True, average_strands=True)
SIZES = {'a': 60, 'b': 25, 'c': 90}
#: A CNN as the paper's, with fewer filters: its programs compile and run in half the time.
TINY = ModelSpec('tiny_cnn', conv=((7, 12), (3, 12)), pool=2)
#: Of the program that every training here shares which asks for no other.
ONE_SLOT = ProgramSizes(slots=1, steps=32, snapshots=12, scored=12)


@pytest.fixture(scope='module', autouse=True)
def tiny():
    with mock.patch.dict(SPECS, {TINY.name: TINY}):
        yield


@pytest.fixture(scope='module')
def data():
    return build_pool(toy_corpus(SIZES))


def train(data, spec=TINY.name, tasks=tuple(SIZES), recipe=RECIPE, machine=None, devices=None, jobs=None):
    """Results by task, all epoch records and all notes of a training; on one slot of one device unless told."""
    pool, rows = data
    jobs = jobs or make_jobs(tasks, [spec], recipe)
    finished, epochs, notes = {}, [], []
    layout = {'sizes': ONE_SLOT} if machine is None else {'machine': machine}
    for report in fit(jobs, pool, rows, recipe, devices=devices or jax.devices()[:1], **layout):
        epochs += report.epochs
        notes += report.notes
        finished |= {jobs[done.job].task: done for done in report.finished}
    return finished, epochs, notes


def difference(a, b):
    return max(float(np.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.fixture(scope='module')
def alone(data):
    """Task a trained by itself, one model at a time on one device."""
    return train(data, tasks=('a',))


def test_training_learns_and_keeps_the_best_epoch(data, alone):
    finished, epochs, notes = alone
    done = finished['a']
    assert notes == []
    aurocs = [record.valid_auroc for record in epochs]
    assert [record.epoch for record in epochs] == [1, 2, 3, 4]
    assert done.best_auroc == max(aurocs)
    assert done.best_epoch == 1 + int(np.argmax(aurocs))
    assert epochs[-1].train_loss < epochs[0].train_loss
    assert done.steps == 4 * -(-len(data[1]['a'].train) // 16)


def test_the_kept_parameters_give_the_reported_auroc(data, alone):
    from sklearn.metrics import roc_auc_score

    pool, rows = data
    done = alone[0]['a']
    valid = rows['a'].valid
    tokens = pool.tokens[valid]
    one_strand = jax.jit(lambda tokens: models.apply(done.params, tokens, TINY).score)
    other = np.where(tokens < 4, 3 - tokens, tokens)[:, ::-1]
    score = np.mean([one_strand(tokens), one_strand(other)], axis=0)
    assert roc_auc_score(pool.labels[valid], score) == pytest.approx(done.best_auroc, abs=1e-9)


def test_company_changes_no_bit_at_the_same_width(data, alone):
    together, _, _ = train(data)
    assert difference(alone[0]['a'].params, together['a'].params) == 0
    assert together['a'].best_epoch == alone[0]['a'].best_epoch


@pytest.mark.parametrize(
    ('machine', 'n_devices'),
    [
        (Machine(width=0, slots=3), 1),
        (Machine(width=2, slots=3, segment_steps=5), 1),
        (Machine(width=1, slots=4, segment_steps=7), 2),
    ],
)
def test_width_devices_and_segments_change_only_the_rounding(data, alone, machine, n_devices):
    finished, _, _ = train(data, machine=machine, devices=jax.devices()[:n_devices])
    assert set(finished) == set(SIZES)
    assert difference(alone[0]['a'].params, finished['a'].params) < 1e-5
    assert finished['a'].best_epoch == alone[0]['a'].best_epoch


def test_the_same_holds_for_a_recurrent_spec(data):
    recipe = dataclasses.replace(RECIPE, epochs=2)
    alone, _, _ = train(data, 'small_rnn', ('a',), recipe)
    together, _, _ = train(data, 'small_rnn', ('a', 'b'), recipe, Machine(width=0, slots=2))
    assert difference(alone['a'].params, together['a'].params) < 1e-5


@pytest.fixture(scope='module')
def interrupted(data):
    """Three jobs on one slot: the results, and after each segment what is under way and what is left."""
    pool, rows = data
    jobs = make_jobs(tuple(SIZES), [TINY.name], RECIPE)
    whole, moments = {}, []
    machine = Machine(segment_steps=5, slots=1)
    for report in fit(jobs, pool, rows, RECIPE, machine=machine, devices=jax.devices()[:1]):
        whole |= {done.job: done for done in report.finished}
        moments.append((report.state.started(), [job for job in jobs if job.index not in whole]))
    return whole, moments


def go_on(data, started, left, machine, n_devices=1):
    """Results of the jobs that were left, and the states of the training that went on."""
    pool, rows = data
    resumed, states = {}, []
    devices = jax.devices()[:n_devices]
    for report in fit(left, pool, rows, RECIPE, machine=machine, devices=devices, started=started):
        resumed |= {done.job: done for done in report.finished}
        states.append(report.state.started())
    return resumed, states


def same(one, other):
    """Whether two finished jobs are the same to the last bit."""
    facts = [(done.best_epoch, done.best_auroc, done.steps, done.attempt) for done in (one, other)]
    return difference(one.params, other.params) == 0 and facts[0] == facts[1]


@pytest.mark.parametrize('place', [0, 0.3, 0.6])
def test_going_on_from_any_segment_gives_the_same_bits(data, interrupted, place):
    whole, moments = interrupted
    started, left = moments[int(place * len(moments))]
    resumed, _ = go_on(data, started, left, Machine(segment_steps=5, slots=1))
    assert set(resumed) == {job.index for job in left}
    assert all(same(done, whole[index]) for index, done in resumed.items())


def test_a_training_goes_on_over_other_numbers_of_devices_and_slots(data, interrupted):
    whole, moments = interrupted
    started, left = moments[3]
    assert len(started) == 1 and len(left) == 3
    pool, rows = data
    wide = fit(
        left, pool, rows, RECIPE, machine=Machine(segment_steps=4, slots=4), devices=jax.devices()[:2], started=started
    )
    report = next(wide)  # three jobs in four slots of two devices: one slot is idle
    assert [p is None for p in report.state.progress] == [False, False, False, True]
    started = report.state.started()
    assert sorted(job.progress.job for job in started) == [0, 1, 2]
    assert not report.finished
    resumed, states = go_on(data, started, left, Machine(segment_steps=7, slots=1))  # back on one: two have to wait
    assert [len(state) for state in states][:2] == [3, 3]
    assert all(same(resumed[index], whole[index]) for index in range(3))


def test_a_job_that_is_not_asked_for_is_refused(data, interrupted):
    started, left = interrupted[1][0]
    other = [job for job in left if job.index != started[0].progress.job]
    with pytest.raises(ValueError, match='are under way, but not to be trained'):
        go_on(data, started, other, Machine())


def test_a_job_that_diverges_starts_again_and_the_others_never_notice(data):
    pool, rows = data
    calm, _, _ = train(data)
    jobs = make_jobs(tuple(SIZES), [TINY.name], RECIPE)
    wild = dataclasses.replace(jobs[1], learning_rate=1e38)
    finished, epochs, notes = train(data, jobs=(jobs[0], wild, jobs[2]))
    assert finished['b'].params is None
    assert finished['b'].attempt == RECIPE.retries
    assert len(notes) == RECIPE.retries + 1
    assert 'b / tiny_cnn / seed 0: not finite' in notes[0] and 'started again at 5e+37' in notes[0]
    assert 'given up after 4 attempts' in notes[-1]
    for task in ('a', 'c'):
        assert difference(finished[task].params, calm[task].params) == 0


def test_a_restart_uses_half_the_rate(data):
    pool, rows = data
    (job,) = make_jobs(('a',), [TINY.name], RECIPE)
    half = dataclasses.replace(job, learning_rate=job.learning_rate / 2)
    expected, _, _ = train(data, jobs=(half,))
    blank = jax.tree.map(lambda x: x[0], stack.blank_slots(TINY, 1, 1))
    again = Started(Progress(job.index, attempt=1), blank.model, blank.best)
    for report in fit((job,), pool, rows, RECIPE, devices=jax.devices()[:1], started=[again], sizes=ONE_SLOT):
        for done in report.finished:
            assert difference(done.params, expected['a'].params) == 0
            assert done.attempt == 1


def test_a_job_that_died_is_told_from_one_that_is_only_bad(data):
    pool, rows = data
    sizes = ProgramSizes(slots=1, steps=8, snapshots=2, scored=4)
    (job,) = make_jobs(('a',), [TINY.name], RECIPE)
    plan = Plan(epochs=4, steps_per_epoch=4)
    part = segments.plan_part(
        Progress(0), job, plan, rows['a'], RECIPE, sizes, lambda epoch: epoch_order(RECIPE, job, rows['a'], epoch)
    )
    assert part.ends == (0, 1)
    n_valid = len(rows['a'].valid)
    scores = np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    steps = np.ones(8, np.float32)
    good = stack.Measured(steps, steps, steps, scores)
    assert segments.fault_of(good, part, n_valid) == ''
    batches = int(part.work.n_scored) // 2
    dead = scores.copy()
    dead[batches : 2 * batches] = 0.25  # all scores of the second epoch are the same
    assert segments.fault_of(good.replace(scores=dead), part, n_valid) == 'the same score for every sequence'
    almost = np.where(dead == 0.25, 0.25 + 1e-5 * scores, dead).astype(np.float32)  # but for rounding
    assert segments.fault_of(good.replace(scores=almost), part, n_valid) == 'the same score for every sequence'
    slow = np.where(dead == 0.25, 0.25 + 0.01 * scores, dead).astype(np.float32)  # hardly any spread, but some
    assert segments.fault_of(good.replace(scores=slow), part, n_valid) == ''
    nan = steps.copy()
    nan[3] = np.nan
    assert segments.fault_of(good.replace(loss=nan), part, n_valid) == 'not finite'
    fault = 'the same score for every sequence'
    after = segments.start_again(Progress(0, attempt=1, step=8), job, RECIPE, fault)
    assert after.progress == Progress(0, attempt=2)
    assert after.note.endswith('every sequence after step 8 at learning rate 0.0015; started again at 0.00075')


def test_a_job_that_does_not_begin_to_learn_starts_again_with_other_weights():
    # Shuffles of their positives and nothing planted: there is nothing to learn.
    pool, rows = build_pool(toy_corpus({'none': 400, 'some': 400}))
    rng = np.random.default_rng(0)
    pool = pool.replace(labels=np.array(pool.labels))
    for part in (rows['none'].train, rows['none'].valid):
        own = np.unique(part)
        pool.labels[own] = rng.permutation(pool.labels[own])
    recipe = Recipe(batch_size=64, epochs=6, learning_rate=3e-3, waking=0.5, retries=2)
    jobs = make_jobs(('none', 'some'), [TINY.name], recipe)
    for machine in (Machine(segment_steps=3), Machine(segment_steps=100)):
        finished, epochs, notes = train((pool, rows), jobs=jobs, recipe=recipe, machine=machine)
        none, some = finished['none'], finished['some']
        assert (some.attempt, some.asleep, none.attempt, none.asleep) == (0, 0, 2, 2)
        # The last attempt goes to its end, and is kept; the first two ended from the middle on.
        ends = [int(text.split('after step ')[1].split()[0]) for text in notes]
        assert all(none.steps // 2 <= end <= none.steps for end in ends) and ends[2] == none.steps
        assert [record.epoch for record in epochs if record.job == 0 and record.attempt == 2] == [1, 2, 3, 4, 5, 6]
        assert none.params is not None and none.best_auroc < 0.6
        for text, end, rate in zip(
            notes, ends, ('0.003; started', '0.003; started', '0.0015; it is kept'), strict=True
        ):
            assert f'after step {end} at learning rate {rate}' in text
        assert 'none / tiny_cnn / seed 0: validation AUROC 0.' in notes[0] and '(chance or letters by' in notes[0]
    keys = [tuple(job_hyper(jobs[0], recipe, asleep).key) for asleep in (0, 1, 2)]
    assert len(set(keys)) == 3
    never, _, quiet = train((pool, rows), jobs=jobs, recipe=dataclasses.replace(recipe, waking=0.0), machine=machine)
    assert never['none'].attempt == 0 and quiet == []


def test_patience_stops_a_job_wherever_the_segments_end(data):
    recipe = dataclasses.replace(RECIPE, epochs=30, patience=2, schedule='constant')
    results = [
        train(data, tasks=('b',), recipe=recipe, machine=machine) for machine in (Machine(segment_steps=3), None)
    ]
    (one, epochs, _), (other, others, _) = results
    assert one['b'].best_epoch == other['b'].best_epoch
    assert difference(one['b'].params, other['b'].params) == 0
    assert epochs == others
    assert len(epochs) < 30
    assert epochs[-1].epoch - one['b'].best_epoch == 2
    slower = dataclasses.replace(recipe, patience_share=0.2)  # a fifth of 30 epochs
    third, longer, _ = train(data, tasks=('b',), recipe=slower)
    assert longer[-1].epoch - third['b'].best_epoch == 6 or len(longer) == 30
    assert len(longer) > len(epochs)
    never = dataclasses.replace(slower, patience=0)  # as a flag switches it off, beside a config's share
    assert len(train(data, tasks=('b',), recipe=never)[1]) == 30


def test_sequences_of_different_lengths_train(data):
    corpus = toy_corpus({'a': 40}, lengths=(24, 30, 27))
    finished, epochs, _ = train(build_pool(corpus, negative_sets=2), tasks=('a',))
    assert finished['a'].best_auroc > 0.5
    assert np.isfinite([record.train_loss for record in epochs]).all()


def lowered(data, n_devices=1, **machine):
    """The training program of small_cnn for so many devices, before its compilation."""
    pool, rows = data
    jobs = make_jobs(tuple(SIZES), ['small_cnn'], RECIPE)
    segment, _ = programs_of(jobs[0], RECIPE, Machine(**machine), stack.model_mesh(jax.devices()[:n_devices]))
    sizes = ProgramSizes(slots=n_devices, steps=4, snapshots=1, scored=1)
    arrays = stack.blank_slots(SPECS['small_cnn'], sizes.slots, sizes.snapshots)
    work = jax.tree.map(lambda x: np.stack([x] * n_devices), segments.idle_work(RECIPE, sizes))
    return segment.lower(pool, arrays, work)


def test_the_program_never_communicates(data):
    text = lowered(data, n_devices=2).compile().as_text()
    for collective in ('all-reduce', 'all-gather', 'all-to-all', 'collective-permute', 'reduce-scatter'):
        assert collective not in text


@pytest.mark.parametrize(
    ('precision', 'asked', 'others'),
    [
        ('float32', 'precision = [HIGHEST, HIGHEST]', ('[DEFAULT, DEFAULT]', '[HIGH, HIGH]')),
        ('tf32', 'precision = [HIGH, HIGH]', ('[DEFAULT, DEFAULT]', '[HIGHEST, HIGHEST]')),
        ('bf16', 'lhs_precision_type = bf16, rhs_precision_type = bf16, accumulation_type = f32', ('HIGH',)),
    ],
)
def test_every_product_has_the_precision_that_is_asked_for(data, precision, asked, others):
    # In lockstep, as on a GPU: then every convolution is a product.
    text = lowered(data, precision=precision, width=0).as_text()
    assert 'stablehlo.convolution' not in text
    products = [line for line in text.splitlines() if 'dot_general' in line]
    assert len(products) >= 8  # forward and backward, and the validation scores
    assert all(asked in line and not any(other in line for other in others) for line in products)
    assert all(line.rstrip().endswith('xf32>') for line in products)  # sums stay float32


def test_a_training_compiles_two_programs_whatever_the_sizes(data):
    pool, rows = data
    recipe = dataclasses.replace(RECIPE, epochs=3, average_strands=False)
    jobs = make_jobs(tuple(SIZES), ['small_rnn'], recipe, seeds=(0, 1))
    with compilations() as compiled:
        reports = list(fit(jobs, pool, rows, recipe, machine=Machine(segment_steps=4), devices=jax.devices()[:2]))
    assert len(reports) > 9 and sum(len(report.finished) for report in reports) == 6
    assert compiled.programs == 2 and compiled.seconds > 0
    with compilations() as compiled:  # for the same spec and sizes again: none
        list(fit(jobs, pool, rows, recipe, machine=Machine(segment_steps=4), devices=jax.devices()[:2]))
    assert compiled.programs == 0


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="precision is 'float16', expected one of float32, tf32, bf16"):
        Machine(precision='float16')
    with pytest.raises(InputError, match='slots is -1, expected 0'):
        Machine(slots=-1)


def test_jobs_that_the_devices_do_not_divide_leave_slots_idle():
    plans, valid = [Plan(4, 10)] * 5, [30] * 5

    def slots(n_devices, on_cpu, **machine):
        return program_sizes(plans, valid, RECIPE, Machine(**machine), n_devices=n_devices, on_cpu=on_cpu).slots

    assert slots(4, on_cpu=True) == 4  # one per core; the fifth job waits
    assert slots(4, on_cpu=False) == 8  # all at once
    assert slots(8, on_cpu=False) == slots(8, on_cpu=True) == 8
    assert slots(2, on_cpu=False, slots=3) == 4


def test_many_jobs_take_turns_on_a_gpu():
    def slots(n_jobs, n_devices):
        plans, valid = [Plan(4, 10)] * n_jobs, [30] * n_jobs
        return program_sizes(plans, valid, RECIPE, Machine(), n_devices=n_devices, on_cpu=False).slots

    assert slots(108, 1) == slots(108, 2) == 108
    assert slots(130, 1) == 65  # twice 65, and not 128 and 2
    assert slots(1000, 4) == 500


def test_models_that_a_gpu_has_no_room_for_wait():
    plans, valid = [Plan(4, 10)] * 100, [30] * 100
    sizes = program_sizes(plans, valid, RECIPE, Machine(), n_devices=2, on_cpu=False, room=10)
    assert sizes.slots == 20
    spec = SPECS['medium_cnn_rnn']
    assert bytes_per_model(spec, 256, 1000) == pytest.approx(1.7e9, rel=0.02)
    assert program_sizes(plans, valid, RECIPE, Machine(), n_devices=1, on_cpu=True, room=10).slots == 1


def test_jobs_of_two_programs_are_refused(data):
    jobs = make_jobs(('a',), ['small_cnn', 'small_rnn'], RECIPE)
    with pytest.raises(ValueError, match='share the spec'):
        next(fit(jobs, *data, RECIPE))
