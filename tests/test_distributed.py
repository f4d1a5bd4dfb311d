"""Several processes on one run, and other numbers of devices: the same models to the last bit, whoever is killed."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from demo_jax import processes
from demo_jax.errors import InputError
from demo_jax.processes import Meeting, ProcessLost, Team
from demo_jax.runs import RunDirectory
from tests.helpers import ROOT

N_JOBS = 5
TINY = (
    '--config=configs/quickstart.py', '--config.corpus.n_tasks=1', '--config.corpus.n_train=200',
    '--config.corpus.n_test=20', '--config.specs=("small_cnn",)', '--config.seeds=(0,1,2,3,4)',
    '--config.recipe.epochs=3', '--config.recipe.batch_size=32', '--config.machine.segment_steps=9',
    '--config.checkpoint_seconds=0.0',
)  # fmt: skip


class Commands:
    """The command `experiments.train` as processes of their own, which share their compiled programs."""

    def __init__(self, cache: pathlib.Path):
        self.cache = cache

    def start(self, workdir, *flags, devices=1):
        """One process; its output goes to files, so that nobody has to read it while it runs."""
        environment = os.environ | {
            'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT), 'JAX_COMPILATION_CACHE_DIR': str(self.cache),
            'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
            # XLA's threads, as many with one device as with four: by their number it splits some sums of convolutions.
            'NPROC': '4',
        }  # fmt: skip
        arguments = [
            sys.executable, '-m', 'experiments.train', *TINY, f'--config.machine.host_devices={devices}',
            f'--workdir={workdir}', *flags,
        ]  # fmt: skip
        with open(f'{workdir}.{len(flags)}.{time.monotonic_ns()}', 'w+b') as output:
            process = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        process.output = pathlib.Path(output.name)
        return process

    def start_two(self, workdir, *flags):
        """Two processes that meet at a free port."""
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        meeting = (f'--coordinator=127.0.0.1:{port}', '--num_processes=2', '--peer_timeout=15')
        return [self.start(workdir, *meeting, f'--process_id={index}', *flags) for index in range(2)]


def finish(process, timeout=300):
    """The exit status of a command, and all that it printed."""
    process.wait(timeout=timeout)
    return process.returncode, process.output.read_text(errors='replace')


def until(condition, *running, timeout=240):
    """Wait for something that these commands bring about."""
    deadline = time.monotonic() + timeout
    while not condition():
        for process in running:
            assert process.poll() is None, finish(process)[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def checkpointed(workdir, process=0):
    folder = workdir / (f'checkpoints.{process}' if process else 'checkpoints')
    return lambda: any(path.name.isdigit() for path in folder.glob('*'))


@pytest.fixture(scope='module')
def commands(tmp_path_factory):
    return Commands(tmp_path_factory.mktemp('programs'))


@pytest.fixture(scope='module')
def alone(commands, tmp_path_factory):
    """The run of a single process with a single device, never disturbed."""
    workdir = tmp_path_factory.mktemp('alone') / 'run'
    status, printed = finish(commands.start(workdir))
    assert status == 0, printed
    assert 'compiling took' in printed and '2 programs' in printed
    return workdir


def assert_same_run(workdir, expected):
    for index in range(N_JOBS):
        one, other = (RunDirectory(path).load_result(index) for path in (workdir, expected))
        assert one.history == other.history
        assert (one.best_epoch, one.best_auroc, one.steps) == (other.best_epoch, other.best_auroc, other.steps)
        for layer, leaves in one.params.items():
            for name, leaf in leaves.items():
                np.testing.assert_array_equal(leaf, other.params[layer][name])
    assert (workdir / 'history.tsv').read_text() == (expected / 'history.tsv').read_text()


def test_two_processes_go_on_from_one_to_the_same_bits(commands, alone, tmp_path):
    workdir = tmp_path / 'run'
    single = commands.start(workdir, devices=2)
    until(checkpointed(workdir), single)
    single.send_signal(signal.SIGTERM)
    status, printed = finish(single)
    assert status == 130 and 'a checkpoint is in' in printed
    done_by_one = RunDirectory(workdir).finished_jobs()
    assert len(done_by_one) < N_JOBS - 1  # so that both have something to do

    first, second = commands.start_two(workdir, '--config.machine.host_devices=2')
    status, printed = finish(first)
    assert status == 0, printed
    status, other = finish(second)
    assert status == 0, other
    assert_same_run(workdir, alone)
    assert f'models: {workdir / "models"}' in printed and '5/5 models' in printed
    lines = other.splitlines()
    assert lines[0] == f'process 1 of 2 works on {workdir}' and all(line.startswith('note: ') for line in lines[1:])
    assert list((workdir / 'tensorboard').glob('events*')) and list((workdir / 'tensorboard/process_1').glob('events*'))


def test_the_first_process_is_killed_and_four_devices_go_on(commands, alone, tmp_path):
    workdir = tmp_path / 'run'
    first, second = commands.start_two(workdir)
    until(checkpointed(workdir, process=1), first, second)
    until(checkpointed(workdir), first, second)
    first.send_signal(signal.SIGKILL)
    first.wait()
    killed = time.monotonic()
    status, printed = finish(second)
    assert status == 75
    assert time.monotonic() - killed < 90  # its own share, and the timeout
    error = printed.splitlines()[-1]
    assert error.startswith('error: process 0 (') and f'pid {first.pid}) has given no sign of life for' in error
    assert error.endswith('The same command goes on where the run stands, with this or another number of processes')
    assert 'stack trace' not in printed and 'Traceback' not in printed
    left = set(range(N_JOBS)) - RunDirectory(workdir).finished_jobs()
    assert 0 < len(left) <= (N_JOBS + 1) // 2  # the survivor's are all there

    status, printed = finish(commands.start(workdir, '--config.machine.host_devices=4'))  # more devices than jobs
    assert status == 0, printed
    assert_same_run(workdir, alone)
    assert not (workdir / 'checkpoints.1').exists()


def test_processes_with_other_settings_are_refused(commands, alone, tmp_path):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    meeting = (f'--coordinator=127.0.0.1:{port}', '--num_processes=2')
    first = commands.start(alone, *meeting, '--process_id=0')
    second = commands.start(alone, *meeting, '--process_id=1', '--config.recipe.epochs=4')
    status, printed = finish(second)
    assert status == 2 and len(printed.splitlines()) == 2
    assert 'error: ' in printed and 'process 1 was started with other settings than process 0: recipe is' in printed
    status, printed = finish(first)  # everything is trained: it has nothing to wait for
    assert status == 0, printed


def test_a_process_whom_nobody_joins_gives_up_with_one_line(commands, tmp_path):
    meeting = ('--coordinator=127.0.0.1:1', '--num_processes=2', '--process_id=1', '--start_timeout=1')
    status, printed = finish(commands.start(tmp_path / 'run', *meeting), timeout=200)
    assert status == 2
    assert printed == 'error: processes: process 1 has not met the others, 2 together, at 127.0.0.1:1 within 1 s\n'
    assert not (tmp_path / 'run').exists()


FOUR_DEVICES = """
import jax, numpy as np
from demo_jax import devices
devices.configure(4)
from demo_jax.nn.models import SPECS
from demo_jax.training import segments, stack
from demo_jax.training.fit import programs_of
from demo_jax.training.jobs import Recipe, make_jobs
from demo_jax.training.layout import Layout, Machine
from demo_jax.training.pool import Pool
assert len(jax.devices()) == 4
recipe, layout = Recipe(batch_size=4, reverse_complement=True), Layout(slots=4, steps=2, snapshots=1, scored=1)
pool = Pool(np.zeros((8, 30), np.uint8), np.zeros(8, np.int32), None)
for spec in ('small_cnn_rnn',):
    segment, keep = programs_of(make_jobs(['a'], [spec], recipe)[0], recipe, Machine(), stack.model_mesh())
    slots = stack.blank_slots(SPECS[spec], 4, 1)
    work = jax.tree.map(lambda x: np.stack([x] * 4), segments.idle_work(recipe, layout))
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


# What processes say to each other needs no JAX: here each is a thread.


def crew(tmp_path, *works, silence=0.6):
    """Run a function of a `Team` in a thread each; what each returned or raised."""
    results = {}

    def work(index, function):
        team = Team(index, len(works), 'token', silence)
        try:
            with team.at_work(tmp_path):
                results[index] = function(team)
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    return [results[index] for index in range(len(works))]


def test_all_wait_for_the_last_and_agree_with_the_first(tmp_path):
    times = {}

    def work(team):
        value = team.agree('what', lambda: {'by': team.index, 'list': (1, 2)})
        time.sleep(0.4 * team.index)
        times[team.index] = time.monotonic()
        team.wait('here')
        assert time.monotonic() >= max(times.values())
        team.wait('there')
        return value

    assert crew(tmp_path, work, work, work) == [{'by': 0, 'list': [1, 2]}] * 3


def test_a_process_alone_never_waits_and_writes_nothing(tmp_path):
    team = Team()
    with team.at_work(tmp_path):
        team.wait('here')
        assert team.agree('what', lambda: (1,)) == [1]
    assert list(tmp_path.iterdir()) == []


def test_who_was_asleep_itself_accuses_nobody(tmp_path, monkeypatch):
    """A machine that stands still for a while stops all of its processes."""
    clock = [100.0]
    monkeypatch.setattr(processes.time, 'monotonic', lambda: clock[0])
    team = Team(0, 2, 'token', 60.0)
    for seconds, lost in ((0, []), (10, []), (3600, []), (20, []), (20, []), (21, [1])):
        clock[0] += seconds
        assert team._look() == lost, seconds


def test_who_falls_silent_is_named(tmp_path, capsys):
    def silent(team):
        team._beat = lambda: None
        time.sleep(5)

    def waiting(team):
        team.wait('here')

    def busy(team):
        time.sleep(4)
        team.wait('here')

    lost = crew(tmp_path, busy, silent, waiting, silence=2.0)  # long, for a busy machine silences threads too
    for index in (0, 2):
        assert isinstance(lost[index], ProcessLost)
        assert f'process 1 ({socket.gethostname()}, pid {os.getpid()}) has given no sign of life' in str(lost[index])
        assert f'process {index} has kept what it had to do so far' in str(lost[index])
    notes = capsys.readouterr().err.splitlines()
    (note,) = [note for note in notes if note.endswith('; process 0 finishes its own part')]  # it has work to do
    assert all(note.startswith('note: process 1 (') for note in notes), notes


@pytest.mark.parametrize(
    ('raised', 'expected', 'message'),
    [
        (InputError('x.fa: bad letter'), InputError, 'ended with an error: x.fa: bad letter; so process 1 ends too'),
        (KeyboardInterrupt(), ProcessLost, 'was stopped; process 1 has kept what it had to do so far. The same'),
    ],
)
def test_who_ends_early_is_missed_at_once(tmp_path, raised, expected, message):
    def failing(team):
        raise raised

    start = time.monotonic()
    result = crew(tmp_path, failing, lambda team: team.agree('what', dict), silence=60)[1]
    assert isinstance(result, expected) and message in str(result)
    assert time.monotonic() - start < 10


def test_processes_without_a_common_directory_say_so(tmp_path):
    (tmp_path / 'elsewhere').mkdir()
    team = Team(1, 2, 'token', silence=0.3)
    message = 'process 1 on .* does not find here what process 0 has written'
    with pytest.raises(InputError, match=message), team.at_work(tmp_path / 'elsewhere'):
        raise AssertionError


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'count': 2}, 'but no coordinator'),
        ({'coordinator': 'host'}, "coordinator is 'host', expected HOST:PORT, or auto"),
        ({'coordinator': 'host:1'}, 'the number of processes and the number of this process are needed'),
        ({'coordinator': 'host:1', 'count': 0, 'index': 0}, 'their number is 0, expected 1 or more'),
        ({'coordinator': 'host:1', 'count': 2, 'index': 2}, 'this is number 2, expected 0 to 1'),
        ({'coordinator': 'host:1', 'count': 2, 'index': 1, 'silence': 0.0}, 'must be positive'),
    ],
)
def test_a_meeting_that_cannot_be(fields, message):
    with pytest.raises(InputError, match=message):
        Meeting(**fields)


def test_without_a_coordinator_nothing_is_started(monkeypatch):
    import jax

    monkeypatch.setattr(jax.distributed, 'initialize', lambda *_, **__: pytest.fail('touches the network'))
    team = processes.gather(Meeting())
    assert (team.index, team.count, team.leads) == (0, 1, True)


def test_a_directory_with_a_process_of_an_earlier_start_is_in_use(tmp_path):
    run = RunDirectory(tmp_path)
    with run.locked(1), pytest.raises(InputError, match=f'is in use by process {os.getpid()} on'), run.locked():
        pass
    with run.locked(), run.locked(1), pytest.raises(InputError, match='is in use'), run.locked():
        pass


def test_notes_of_several_processes_are_all_kept(tmp_path):
    run = RunDirectory(tmp_path)
    threads = [threading.Thread(target=run.note, args=(f'line {n % 20}',)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((tmp_path / 'notes.txt').read_text().splitlines()) == sorted(f'line {n}' for n in range(20))
