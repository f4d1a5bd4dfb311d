"""Jobs in bundles: how they are cut, and that a bundle trains what a process with all jobs does."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from demo_jax.training.bundles import Bundle, Shared, make_bundles, train_bundle
from demo_jax.training.fit import fit
from demo_jax.training.jobs import Recipe, make_jobs
from demo_jax.training.machine import Machine
from demo_jax.training.pool import build_pool
from tests import helpers_models
from tests.helpers import toy_corpus

few_filters = pytest.fixture(scope='module', autouse=True)(helpers_models.few_filters)

ROOT = pathlib.Path(__file__).parent.parent
RECIPE = Recipe(batch_size=8, epochs=2, learning_rate=3e-3)
SIZES = {'a': 40, 'b': 30, 'c': 20, 'd': 20, 'e': 12}


@pytest.fixture(scope='module')
def shared():
    pool, rows = build_pool(toy_corpus(SIZES), negative_sets=1, seed=0)
    return Shared(pool, rows, RECIPE, Machine(segment_steps=4))


def cut(shared, jobs, left=None, **options):
    """Tasks of the jobs of each bundle, and its slots."""
    left = {job.index: float(SIZES[job.task]) for job in jobs} if left is None else left
    usual = {'workers': 2, 'n_devices': 2, 'on_cpu': True}
    found = make_bundles(jobs, left, shared, **usual | options)
    return [(''.join(job.task for job in bundle.jobs), bundle.sizes.slots) for bundle in found]


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({}, [('bc', 2), ('a', 2), ('de', 2)]),
        ({'workers': 1}, [('bc', 2), ('a', 2), ('de', 2)]),
        ({'workers': 5}, [('a', 1), ('b', 1), ('c', 1), ('d', 1), ('e', 1)]),
        ({'workers': 9}, [('a', 1), ('b', 1), ('c', 1), ('d', 1), ('e', 1)]),
        ({'n_devices': 1}, [('a', 1), ('b', 1), ('c', 1), ('d', 1), ('e', 1)]),
        ({'n_devices': 8, 'workers': 1}, [('abcde', 5)]),
        ({'n_devices': 1, 'on_cpu': False, 'workers': 2}, [('ab', 3), ('cde', 3)]),
        ({'n_devices': 1, 'on_cpu': False, 'workers': 1, 'memory': 1}, [(task, 1) for task in 'abcde']),
    ],
)
def test_bundles_are_equal_in_size_and_the_costliest_come_first(shared, options, expected):
    jobs = make_jobs(tuple(SIZES), ['small_cnn'], RECIPE)
    found = cut(shared, jobs, **options)
    assert sorted(found) == sorted(expected)
    costs = [sum(SIZES[task] for task in tasks) for tasks, _ in found]
    assert costs == sorted(costs, reverse=True)


def test_programs_are_kept_apart_and_finished_jobs_are_left_out(shared):
    jobs = make_jobs(('a', 'b'), ['small_cnn', 'small_rnn'], RECIPE, dropouts=(0.5, 0.3))
    left = {job.index: 1.0 for job in jobs if job.index != 0}
    found = make_bundles(jobs, left, shared, workers=1, n_devices=4, on_cpu=True)
    assert sorted(job.index for bundle in found for job in bundle.jobs) == sorted(left)
    assert sorted(sorted({(job.spec, job.dropout_bits) for job in bundle.jobs}) for bundle in found) == [
        [('small_cnn', 1)],
        [('small_cnn', 8)],
        [('small_rnn', 1)],
        [('small_rnn', 8)],
    ]
    assert make_bundles(jobs, {}, shared, workers=1, n_devices=4, on_cpu=True) == []


def test_sizes_of_a_program_do_not_depend_on_what_is_left(shared):
    """Else a restart, or another number of workers, would compile other programs, which round differently."""
    jobs = make_jobs(tuple(SIZES), ['small_cnn'], RECIPE)
    costs = {job.index: 1.0 for job in jobs}
    sizes = {
        dataclasses.replace(bundle.sizes, slots=0)
        for left in (costs, {4: 1.0}, {0: 1.0, 4: 1.0})
        for workers in (1, 2, 5)
        for bundle in make_bundles(jobs, left, shared, workers=workers, n_devices=1, on_cpu=True)
    }
    assert len(sizes) == 1


def test_a_label_names_a_few_jobs():
    jobs = make_jobs(tuple(SIZES), ['small_cnn'], RECIPE)
    assert str(Bundle(jobs[:1], None)) == 'a / small_cnn / seed 0'
    assert str(Bundle(jobs, None)) == 'a / small_cnn / seed 0, b / small_cnn / seed 0, c / small_cnn / seed 0, ...'


def test_a_bundle_trains_what_all_jobs_together_do(shared):
    jobs = make_jobs(('a', 'b', 'c'), ['small_cnn'], RECIPE)
    reports = list(fit(jobs, shared.pool, shared.rows, RECIPE, machine=shared.machine))
    expected = {done.job: done for report in reports for done in report.finished}
    bundles = make_bundles(
        jobs, {job.index: 1.0 for job in jobs}, shared, workers=3, n_devices=jax.local_device_count(), on_cpu=True
    )
    assert len(bundles) == 3
    for bundle in bundles:
        told = []
        (done,) = (found := train_bundle(bundle, shared, lambda *what, told=told: told.append(what))).finished
        best = expected[done.job]
        assert (done.steps, done.best_epoch, done.best_auroc) == (best.steps, best.best_epoch, best.best_auroc)
        jax.tree.map(np.testing.assert_array_equal, done.params, best.params)
        assert found.epochs == tuple(record for report in reports for record in report.epochs if record.job == done.job)
        assert told[0] == (0.0, 'small_cnn: compiling') and told[-1] == (float(done.steps), 'small_cnn')
        assert [steps for steps, _ in told] == sorted(steps for steps, _ in told)


def test_a_bundle_goes_on_where_a_checkpoint_stands(shared):
    jobs = make_jobs(('a', 'b'), ['small_cnn'], RECIPE)
    reports = list(fit(jobs, shared.pool, shared.rows, RECIPE, machine=shared.machine))
    expected = {done.job: done for report in reports for done in report.finished}
    begin = next(fit(jobs, shared.pool, shared.rows, RECIPE, machine=shared.machine))
    started = {job.progress.job: job for job in begin.state.started()}
    assert started
    left = {job.index: 1.0 for job in jobs}
    told = []
    for bundle in make_bundles(jobs, left, shared, workers=1, n_devices=2, on_cpu=True, started=started):
        assert [job.progress.job for job in bundle.started] == [j.index for j in bundle.jobs if j.index in started]
        found = train_bundle(bundle, shared, lambda *what: told.append(what))
        for done in found.finished:
            jax.tree.map(np.testing.assert_array_equal, done.params, expected[done.job].params)
        assert all(record.step > 4 for record in found.epochs)
    assert told[0][0] == 4.0 * len(started)


FOUR_DEVICES = """
import jax, numpy as np
from demo_jax.compute import devices
devices.configure(4)
from demo_jax.nn.models import SPECS
from demo_jax.training import segments, stack
from demo_jax.training.fit import programs_of
from demo_jax.training.jobs import Recipe, make_jobs
from demo_jax.training.machine import ProgramSizes, Machine
from demo_jax.training.pool import Pool
assert len(jax.devices()) == 4
recipe, sizes = Recipe(batch_size=4, reverse_complement=True), ProgramSizes(slots=4, steps=2, snapshots=1, scored=1)
pool = Pool(np.zeros((8, 30), np.uint8), np.zeros(8, np.int32), None)
for spec in ('small_cnn_rnn',):
    segment, keep = programs_of(make_jobs(['a'], [spec], recipe)[0], recipe, Machine(), stack.model_mesh())
    slots = stack.blank_slots(SPECS[spec], 4, 1)
    work = jax.tree.map(lambda x: np.stack([x] * 4), segments.idle_work(recipe, sizes))
    print(segment.lower(pool, slots, work).compile().as_text())
    print(keep.lower(slots, np.zeros(4, np.int32)).compile().as_text())
"""


def test_four_devices_never_talk_to_each_other():
    environment = os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)}
    found = subprocess.run([sys.executable, '-c', FOUR_DEVICES], env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout.count('num_partitions=4') == 2
    for collective in ('all-reduce', 'all-gather', 'all-to-all', 'collective-', 'reduce-scatter', ' send(', ' recv('):
        assert collective not in found.stdout
