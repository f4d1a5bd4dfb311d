"""Work on Dask workers: the same bits as in one process whoever is killed, and one line for whatever is wrong."""

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from unittest import mock

import jax
import numpy as np
import pytest

from demo_jax.compute import cluster as cluster_module
from demo_jax.compute.cluster import Scheduler, connected, parse_scheduler, versions
from demo_jax.errors import InputError
from demo_jax.runs.directory import RunDirectory
from demo_jax.stages.explain import ExplainSettings, explain_run
from demo_jax.stages.train import train_run
from demo_jax.training.bundles import Shared, make_bundles, train_bundle
from demo_jax.training.fit import fit
from demo_jax.training.jobs import Recipe, make_jobs
from demo_jax.training.machine import Machine
from demo_jax.training.pool import build_pool
from tests import cluster_work
from tests.helpers import ROOT, contents, toy_corpus
from tests.helpers_cluster import until
from tests.helpers_commands import run_command

ADDRESS = r'(?:tcp|tls)://127\.0\.0\.1:\d+'


# What the flag says.


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('', None),
        ('local:1', Scheduler('', 1, 5.0)),
        ('local:16', Scheduler('', 16, 5.0)),
        ('tcp://node1:8786', Scheduler('tcp://node1:8786', 0, 5.0)),
        ('tls://10.0.0.1:1', Scheduler('tls://10.0.0.1:1', 0, 5.0)),
    ],
)
def test_forms_of_a_scheduler(text, expected):
    assert parse_scheduler(text, 5.0) == expected
    assert expected is None or str(expected) == text


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('local:0', 'scheduler local:0 has no workers, expected local:1 or more'),
        ('local:', "scheduler is 'local:', expected tcp://HOST:PORT, tls://HOST:PORT or local:N"),
        ('local:-1', "scheduler is 'local:-1', expected tcp"),
        ('node1:8786', "scheduler is 'node1:8786', expected tcp"),
        ('tcp://node1', "scheduler is 'tcp://node1', expected tcp"),
        ('http://node1:8786', "scheduler is 'http://node1:8786', expected tcp"),
    ],
)
def test_a_scheduler_that_cannot_be(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        parse_scheduler(text)
    with pytest.raises(InputError, match='the time to wait is 0 s'):
        parse_scheduler('', 0.0)


def test_without_a_scheduler_there_are_no_workers_and_no_dask():
    code = (
        'import sys; from demo_jax.compute.cluster import connected, parse_scheduler\n'
        'with connected(parse_scheduler(""), {}) as found: print(found, "distributed" in sys.modules)'
    )
    run = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == 'None False\n'


def refused(scheduler, message, machine=None):
    with pytest.raises(InputError) as error, connected(scheduler, machine or {}):
        pytest.fail('was accepted')
    assert re.fullmatch(message, str(error.value)), error.value


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'distributed', None)
    refused(Scheduler('', 2), r'scheduler local:2: Dask is not installed; pip install -e "\.\[cluster\]"')


def test_a_scheduler_that_is_not_there():
    message = r'scheduler tcp://127\.0\.0\.1:1: cannot be reached within 0\.5 s .*'
    refused(Scheduler('tcp://127.0.0.1:1', 0, 0.5), message)


def test_tls_without_certificates():
    message = r'scheduler tls://127\.0\.0\.1:1: no certificate is set; see docs/cluster\.md, Security'
    refused(Scheduler('tls://127.0.0.1:1', 0, 0.5), message)


@pytest.mark.parametrize(
    ('count', 'visible', 'expected'),
    [
        (1, '', ['0,1,2']),
        (2, '', ['0,2', '1']),
        (3, '', ['0', '1', '2']),
        (3, '4,6,7', ['4', '6', '7']),
        (2, 'GPU-a,GPU-b,GPU-c', ['GPU-a,GPU-c', 'GPU-b']),
        (4, '', None),
    ],
)
def test_every_worker_of_this_machine_has_gpus_of_its_own(monkeypatch, count, visible, expected):
    class Gpu:
        platform = 'gpu'

    monkeypatch.setattr(jax, 'local_devices', lambda: [Gpu()] * 3)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    if expected is None:
        with pytest.raises(InputError, match='scheduler local:4: this machine has 3 GPUs, and a worker needs its own'):
            cluster_module._gpus_of(count)
    else:
        assert cluster_module._gpus_of(count) == [{'CUDA_VISIBLE_DEVICES': names} for names in expected]


def test_without_gpus_the_environment_says_nothing_of_them():
    assert cluster_module._gpus_of(2) == [{}, {}]


def test_another_version_is_named(monkeypatch):
    expected = dict(versions())
    assert {'Python', 'demo_jax', 'jax', 'jaxlib', 'numpy'} <= expected.keys() and expected['jax'] == jax.__version__
    cluster_module._check_versions(tuple(expected.items()))
    for name in expected:
        other = tuple((expected | {name: '0.0.1'}).items())
        with pytest.raises(InputError, match=f'it has {name} {re.escape(expected[name])}, the main process has 0.0.1'):
            cluster_module._check_versions(other)


def test_a_process_that_has_started_jax_with_other_threads_is_refused(monkeypatch):
    monkeypatch.setattr(cluster_module, '_STARTED', {})
    monkeypatch.setenv('NPROC', '3')
    cluster_module._prepare(cluster_module.Setup(versions(), 3))
    with pytest.raises(InputError, match='it has started JAX with NPROC=3, the main process has 4; restart the worker'):
        cluster_module._prepare(cluster_module.Setup(versions(), 4))
    assert os.environ['NPROC'] == '3'


def test_workers_of_different_kinds_are_refused(monkeypatch):
    """As where one of them has not found its GPU."""
    found = {'a': cluster_module.Facts('h', 1, 'gpu', 8, ''), 'b': cluster_module.Facts('h', 1, 'cpu', None, '')}
    monkeypatch.setattr(cluster_module, '_local_workers', lambda count: contextlib.nullcontext('where'))
    monkeypatch.setattr(cluster_module, '_on_workers', lambda *_: found)
    monkeypatch.setattr('distributed.Client', lambda *_, **__: contextlib.nullcontext(mock.Mock()))
    refused(Scheduler('', 2), 'scheduler local:2: workers differ: b has CPU devices, a has GPU devices')
    found['b'] = dataclasses.replace(found['a'], devices=3)
    with connected(Scheduler('', 2), {}) as cluster:
        assert (cluster.devices, cluster.smallest, str(cluster)) == (
            4,
            found['a'],
            'scheduler local:2: 2 workers with 4 GPU devices',
        )


# A scheduler and a worker as threads of this process, which is quick.


@pytest.fixture
def thread_workers(monkeypatch):
    """A Dask cluster in this process, with a worker of so many threads."""
    import distributed

    monkeypatch.setattr(cluster_module, '_STARTED', {})
    monkeypatch.setenv('NPROC', str(cluster_module._threads(jax.local_device_count())))
    made = []

    def make(n_workers, threads=1):
        made.append(
            distributed.LocalCluster(
                n_workers=n_workers,
                threads_per_worker=threads,
                processes=False,
                protocol='tcp',
                host='127.0.0.1',
                dashboard_address='127.0.0.1:0',
                memory_limit=0,
            )
        )
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_scheduler_without_workers(thread_workers):
    address = thread_workers(0).scheduler_address
    refused(Scheduler(address, 0, 0.5), f'scheduler {ADDRESS}: has no workers after 0.5 s')


def test_a_worker_with_two_threads(thread_workers):
    address = thread_workers(1, threads=2).scheduler_address
    refused(
        Scheduler(address, 0, 20.0),
        f'scheduler {ADDRESS}: worker {ADDRESS}: it has 2 threads, expected 1: start it with --nthreads=1',
    )


@pytest.mark.parametrize('gone', ['workers', 'scheduler'])
def test_everything_is_lost_in_the_middle(thread_workers, tmp_path, gone):
    dask = thread_workers(1)
    with connected(Scheduler(dask.scheduler_address, 0, 2.0), {}) as cluster:

        def lose(number, done, text):
            if gone == 'workers':
                dask.scale(0)
            else:
                dask.close()

        message = {
            'workers': 'all workers are lost, and no other came within 2 s; what is finished is kept',
            'scheduler': 'is gone; what is finished is kept, and the same command goes on',
        }[gone]
        start = time.monotonic()
        with pytest.raises(InputError, match=message):
            list(cluster.map(cluster_work.endless, [str(tmp_path / 'stopped')], progress=lose))
        assert time.monotonic() - start < 30


# Worker processes.


@pytest.fixture(scope='module')
def two():
    """Two worker processes of this machine."""
    with connected(Scheduler('', 2), {'host_devices': 2}) as cluster:
        yield cluster


def test_two_workers_do_all_and_have_the_shared_data_once(two):
    assert re.fullmatch(r'scheduler local:2: 2 workers with \d+ CPU devices', str(two))
    told = []
    found = dict(two.map(cluster_work.double, range(7), {'a': 1}, progress=lambda *what: told.append(what)))
    assert {number: result[:2] for number, result in found.items()} == {n: (2 * n, {'a': 1}) for n in range(7)}
    pids = {result[2] for result in found.values()}
    assert 1 <= len(pids) <= 2 and os.getpid() not in pids
    assert set(told) <= {(n, 1.0, f'doubling {n}') for n in range(7)} and told
    assert list(two.map(cluster_work.double, [])) == []


def test_workers_start_jax_as_the_main_process_did(two):
    threads = str(cluster_module._threads(jax.local_device_count()))
    ((_, found),) = two.map(cluster_work.environment, [None])
    assert found == (threads, max(1, jax.local_device_count() // 2), 'float32')


def test_bad_input_on_a_worker_is_one_line(two):
    with pytest.raises(InputError, match=r'^scheduler local:2: 7: 7\.fa: bad letter$'):
        list(two.map(cluster_work.refuse, [7]))
    with pytest.raises(ZeroDivisionError):
        list(two.map(cluster_work.fail, [7]))


def test_a_worker_stops_when_nobody_waits_any_more(two, tmp_path):
    class Enough(Exception):
        pass

    def stop(number, done, text):
        raise Enough

    with pytest.raises(Enough):
        list(two.map(cluster_work.endless, [str(tmp_path / 'stopped')], progress=stop))
    until(lambda: (tmp_path / 'stopped').exists(), timeout=20)


def test_an_architecture_that_workers_do_not_have(two, tmp_path, monkeypatch):
    source = 'import demo_jax\nmine = demo_jax.Architecture(lambda key: {}, lambda params, x: x[:, 0, 0])\n'
    (tmp_path / 'mine_only_here.py').write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    two.check_specs(['small_cnn'])
    with pytest.raises(InputError, match=rf'^scheduler local:2: worker {ADDRESS}: spec mine_only_here:mine: cannot be'):
        two.check_specs(['small_cnn', 'mine_only_here:mine'])


def test_an_architecture_of_ones_own_trains_to_the_same_bits(two):
    recipe = Recipe(batch_size=8, epochs=2)
    pool, rows = build_pool(toy_corpus({'a': 40, 'b': 24}, lengths=(24,)), negative_sets=1, seed=0)
    jobs, shared = make_jobs(('a', 'b'), ['tests.cluster_work:mine'], recipe), Shared(pool, rows, recipe, Machine())
    two.check_specs([job.spec for job in jobs])
    bundles = make_bundles(jobs, {job.index: 1.0 for job in jobs}, shared, workers=2, n_devices=1, on_cpu=True)
    found = {done.job: done for _, trained in two.map(train_bundle, bundles, shared) for done in trained.finished}
    assert found.keys() == {0, 1}
    for report in fit(jobs, pool, rows, recipe):
        for done in report.finished:
            np.testing.assert_array_equal(found[done.job].params['letters'], done.params['letters'])
            assert found[done.job].best_auroc == done.best_auroc


def test_a_killed_worker_changes_no_bit(two, tmp_path, monkeypatch, capsys):
    """Of trainings and explanations; `tests/robustness/test_workers.py` kills workers of the main command, too."""
    recipe, save, killed = Recipe(batch_size=16, epochs=3), RunDirectory.save_result, []
    settings = ExplainSettings(specs=('all',), positives=4, negatives=2, pieces=('saliency',))
    pids = two._client.run(os.getpid)

    def save_and_kill(run, *what):
        save(run, *what)
        if not killed:
            killed.append(next(worker for worker, keys in two._client.processing().items() if keys))
            os.kill(pids[killed[0]], signal.SIGKILL)

    found = []
    for name, cluster in (('alone', None), ('workers', two)):
        run = RunDirectory(tmp_path / name)
        corpus = toy_corpus({'a': 40, 'b': 24}, lengths=(24,))
        config = {'corpus': {'source': 'fasta', 'seed': 0}, 'recipe': dataclasses.asdict(recipe)}
        run.create(corpus, config, make_jobs(corpus.tasks, ['small_cnn'], recipe, seeds=(0, 1, 2)))
        if cluster is not None:
            monkeypatch.setattr(RunDirectory, 'save_result', save_and_kill)
        train_run(run, cluster=cluster, progress=False)
        explain_run(run, settings, cluster=cluster, progress=False)
        found.append(contents(run.path))
    lost = f'worker {killed[0]} is lost; what it had under way is given to another'
    assert lost in ' '.join(capsys.readouterr())
    assert found[0].keys() == found[1].keys() and sum(name.startswith('models/') for name in found[0]) == 6
    assert [name for name in found[0] if found[0][name] != found[1][name]] == []


def test_a_worker_with_other_source_is_refused(tmp_path):
    """A scheduler and a worker that were started by hand; the worker's package differs by one line."""
    shutil.copytree(ROOT / 'demo_jax', tmp_path / 'demo_jax', ignore=shutil.ignore_patterns('__pycache__'))
    with open(tmp_path / 'demo_jax' / 'errors.py', 'a') as handle:
        handle.write('# another version\n')
    (tmp_path / 'elsewhere').mkdir()
    command = [sys.executable, '-m', 'dask']
    usual = os.environ | {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}
    other = usual | {'PYTHONPATH': str(tmp_path)}
    address = tmp_path / 'scheduler.json'
    options = ['--scheduler-file', str(address), '--no-dashboard', '--host', '127.0.0.1']
    place = {'cwd': tmp_path / 'elsewhere', 'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
    scheduling = [*command, 'scheduler', *options, '--port', '0']
    with subprocess.Popen(scheduling, env=usual, **place) as scheduler:
        until(address.exists, scheduler)
        where = re.search(ADDRESS, address.read_text()).group()
        worker = [*command, 'worker', where, '--nthreads', '1', '--no-nanny', '--no-dashboard']
        with subprocess.Popen(worker, env=other, **place) as process:
            try:
                refused(
                    Scheduler(where, 0, 60.0),
                    f'scheduler {where}: worker {ADDRESS}: it has demo_jax [0-9a-f]{{12}}, the main process has '
                    + dict(versions())['demo_jax'],
                )
            finally:
                process.kill()
                scheduler.kill()


# What docs/cluster.md says.


def documented():
    """Commands of docs/cluster.md: (module, words after it)."""
    text = (ROOT / 'docs' / 'cluster.md').read_text(encoding='utf-8')
    found = []
    for block in re.findall(r'^```(?:bash|yaml)\n(.*?)^```', text, re.DOTALL | re.MULTILINE):
        for line in block.replace('\\\n', ' ').splitlines():
            line = line.partition(' #')[0]
            if line.startswith('command: ['):
                line = ' '.join(word.strip(' "') for word in line[len('command: [') :].rstrip(']').split(','))
            for module, rest in re.findall(r'python -m (experiments\.\w+|dask \w+) ([^&]*)', line):
                found.append((module, rest.split()))
    return found


def test_the_documented_commands_have_the_flags_that_they_name():
    from distributed.cli import dask_scheduler, dask_ssh, dask_worker

    known = {
        f'dask {name}': {option for one in module.main.params for option in one.opts + one.secondary_opts}
        for name, module in (('scheduler', dask_scheduler), ('worker', dask_worker), ('ssh', dask_ssh))
    }
    commands = documented()
    assert {module for module, _ in commands} == {*known, 'experiments.paper'} and len(commands) > 12
    for module in ('experiments.paper', 'experiments.train', 'experiments.explain'):
        told = run_command(module.removeprefix('experiments.'), '--helpfull').out
        known[module] = set(re.findall(r'^ +(--)(?:\[no\])?(\w+)', told, re.MULTILINE))
        known[module] = {dashes + name for dashes, name in known[module]}
        assert {'--scheduler', '--scheduler_timeout'} <= known[module]
    for module, words in commands:
        flags = [word.partition('=') for word in words if word.startswith('--')]
        assert [name for name, *_ in flags if name not in known[module]] == [], module
        where = {name: value for name, _, value in flags}.get('--scheduler', '')
        if not where.startswith('$'):
            parse_scheduler(where)
        if module == 'dask worker':
            assert ' '.join(words).find('--nthreads 1 --memory-limit 0') > 0
