"""Curves as TensorBoard reads them: every epoch of the history once, in order, whatever a run has been through."""

import contextlib
import dataclasses
import pathlib

import pytest

from demo_jax.runs import monitor
from demo_jax.runs.directory import RunDirectory
from demo_jax.stages.train import _enter
from demo_jax.training.jobs import Recipe, make_jobs
from demo_jax.training.state import EpochRecord, Finished, Report

MEASURES = ('train_loss', 'valid_loss', 'valid_auroc', 'learning_rate', 'gradient_norm', 'update_norm')


def record(job, epoch, attempt=0, auroc=None):
    """An epoch whose values tell it from all others."""
    at = job + epoch / 100 + attempt / 10_000
    auroc = at if auroc is None else auroc
    return EpochRecord(job, attempt, epoch, 10 * epoch, at + 1, at + 2, at + 3, at + 4, at + 5, auroc)


def curves(folder):
    """Tag -> steps and values, as read by both of TensorBoard's readers of event files."""
    from tensorboard.backend.event_processing import event_accumulator, plugin_event_multiplexer
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.context import RequestContext
    from tensorboard.data.provider import RunTagFilter

    events = event_accumulator.EventAccumulator(str(folder), size_guidance={'scalars': 0})
    events.Reload()
    found = {
        tag: ([event.step for event in events.Scalars(tag)], [event.value for event in events.Scalars(tag)])
        for tag in events.Tags()['scalars']
    }
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRun(str(folder), 'run')
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    read = provider.read_scalars(
        RequestContext(),
        experiment_id='',
        plugin_name='scalars',
        downsample=10_000,
        run_tag_filter=RunTagFilter(runs=['run']),
    )
    assert {tag: [point.step for point in points] for tag, points in read.get('run', {}).items()} == {
        tag: steps for tag, (steps, _) in found.items()
    }
    return found


def check(folder, jobs, history):
    """The curves are those of the history, and nothing else is there but the means."""
    found, tags = curves(folder), monitor.job_tags(jobs)
    for job, records in history.items():
        for measure in MEASURES if records else ():
            steps, values = found.pop(f'{tags[job]}/{measure}')
            assert steps == [r.epoch for r in records] == list(range(1, len(records) + 1))
            assert values == pytest.approx([getattr(r, measure) for r in records])
    for steps, _ in found.values():
        assert steps == sorted(set(steps))
    assert all(tag.startswith('all_tasks/') for tag in found)
    return found


JOBS = make_jobs(('a', 'b'), ('small_cnn', 'small_rnn'), Recipe())
CNN = [job.index for job in JOBS if job.spec == 'small_cnn']
RNN = [job.index for job in JOBS if job.spec == 'small_rnn']


@pytest.fixture
def begin():
    """A monitor; what is not closed by a test, as when a process is killed, is so when the test has ended."""
    made = []

    def start(folder, history, running=None, jobs=JOBS):
        made.append(monitor.Monitor(folder, jobs, {'text': 'a\nb'}, history, history if running is None else running))
        return made[-1]

    yield start
    for one in made:
        with contextlib.suppress(ValueError):  # it is closed
            one.close()


def enter(made, history, *records):
    for one in records:
        kept = history[one.job]
        kept[:] = [r for r in kept if r.attempt == one.attempt and r.epoch < one.epoch] + [one]
    made.enter(records)


def test_a_run_without_trouble(begin, tmp_path):
    history = {job.index: [] for job in JOBS}
    made = begin(tmp_path, history)
    for epoch in (1, 2, 3):
        enter(made, history, *(record(job, epoch) for job in CNN))
    enter(made, history, record(RNN[0], 1), record(RNN[0], 2))
    enter(made, history, record(RNN[1], 1))
    made.finish(CNN)
    made.close()
    means = check(tmp_path, JOBS, history)
    assert means.pop('all_tasks/small_cnn/valid_auroc_mean')[1] == pytest.approx([0.51, 0.52, 0.53])
    assert means.pop('all_tasks/small_rnn/valid_auroc_median')[0] == [1]  # one of two has come to the second epoch
    assert set(means) == {'all_tasks/small_cnn/valid_auroc_median', 'all_tasks/small_rnn/valid_auroc_mean'}


def test_killed_and_resumed_from_an_earlier_checkpoint(begin, tmp_path):
    history = {job.index: [] for job in JOBS}
    made = begin(tmp_path, history)
    for epoch in (1, 2, 3, 4):
        enter(made, history, *(record(job, epoch) for job in CNN))
    made._flush()  # and no more: the process is killed here
    kept = {job: records[:2] for job, records in history.items()}
    for _ in range(3):  # started again and killed again within the second
        made = begin(tmp_path, kept)
        assert len(list(tmp_path.iterdir())) == 2
        check(tmp_path, JOBS, kept)
    enter(made, kept, *(record(job, 3, auroc=0.5) for job in CNN))
    made.finish(CNN)
    means = check(tmp_path, JOBS, kept)  # what is finished is on the disk without `close`
    assert means['all_tasks/small_cnn/valid_auroc_mean'] == ([1, 2, 3], pytest.approx([0.51, 0.52, 0.5]))


@pytest.mark.parametrize('hour', [-1, 1])
def test_a_file_of_another_clock_is_not_read_after_the_new_one(begin, tmp_path, hour):
    """As from another machine: what its name says is later than the new file is removed, else it may stay."""
    history = {job.index: [record(job.index, epoch) for epoch in range(1, 6)] for job in JOBS}
    begin(tmp_path, history).close()
    (path,) = tmp_path.iterdir()
    *first, seconds, last = path.name.split('.', 4)
    moved = path.rename(path.with_name('.'.join([*first, str(int(seconds) + 3600 * hour), last])))
    kept = {job: records[:2] for job, records in history.items()}
    begin(tmp_path, kept).close()
    assert moved.exists() is (hour < 0)
    check(tmp_path, JOBS, kept)


@pytest.mark.parametrize('epochs', [1, 3])
def test_a_job_that_is_started_again_begins_its_curve_anew(begin, tmp_path, epochs):
    history = {job.index: [] for job in JOBS}
    made = begin(tmp_path, history)
    for epoch in (1, 2, 3, 4):
        enter(made, history, *(record(job, epoch) for job in (*CNN, RNN[0])))
    enter(made, history, *(record(CNN[1], epoch, attempt=1, auroc=0.25) for epoch in range(1, epochs + 1)))
    made._flush()
    means = check(tmp_path, JOBS, history)
    assert [r.attempt for r in history[CNN[1]]] == [1] * epochs
    expected = [(CNN[0] + epoch / 100 + 0.25) / 2 for epoch in range(1, epochs + 1)]
    assert means['all_tasks/small_cnn/valid_auroc_mean'] == (list(range(1, epochs + 1)), pytest.approx(expected))
    for epoch in range(epochs + 1, 5):
        enter(made, history, record(CNN[1], epoch, attempt=1))
    made.finish(CNN)
    assert check(tmp_path, JOBS, history)['all_tasks/small_cnn/valid_auroc_mean'][0] == [1, 2, 3, 4]


def test_epochs_that_only_some_jobs_reached_are_entered_when_all_have_ended(begin, tmp_path):
    history = {job.index: [] for job in JOBS}
    made = begin(tmp_path, history)
    enter(made, history, *(record(CNN[0], epoch) for epoch in (1, 2, 3)))
    made.finish(CNN[:1])
    assert check(tmp_path, JOBS, history) == {}
    enter(made, history, record(CNN[1], 1))  # and it has run out of patience
    made.finish(CNN[1:])
    means = check(tmp_path, JOBS, history)
    assert means['all_tasks/small_cnn/valid_auroc_mean'] == ([1, 2, 3], pytest.approx([0.51, 0.02, 0.03]))
    again = begin(tmp_path, history, RNN)  # a resumed run of which this spec is finished
    again.close()
    assert check(tmp_path, JOBS, history) == means


def test_what_a_segment_reports_is_entered_as_history_has_it(begin, tmp_path, monkeypatch):
    """Through the stage: two epochs, a new start at half the rate, its first epochs, the end of the job."""
    run, saved = RunDirectory(tmp_path), []
    monkeypatch.setattr(run, 'save_result', lambda done, records: saved.append((done.job, list(records))))
    history = {job.index: [] for job in JOBS}
    made = begin(tmp_path / 'tensorboard', history)
    job = CNN[0]
    for epochs, ended in (
        ([record(job, 1), record(job, 2)], ()),
        ([], ()),
        ([record(job, 1, 1), record(job, 2, 1), record(job, 3, 1)], (job,)),
    ):
        finished = tuple(Finished(index, 1, 30, 1, 0.5, {}) for index in ended)
        _enter(run, Report((1,), tuple(epochs), finished, (), None), history, made)
    assert saved == [(job, [record(job, 1, 1), record(job, 2, 1), record(job, 3, 1)])]
    check(tmp_path / 'tensorboard', JOBS, history)


TASKS = [
    (['K562 CTCF (rep 1)', 'K562 CTCF [rep 1]'], ['K562_CTCF__rep_1__1', 'K562_CTCF__rep_1__2']),
    (['a b', 'a_b', 'a_b_1', 'c'], ['a_b_2', 'a_b_3', 'a_b_1', 'c']),
    (['β1', 'γ1'], ['_1_1', '_1_2']),
    (['a/b', 'a_b'], ['a_b_1', 'a_b_2']),
    (['a/b', 'a-b'], ['a_b', 'a-b']),
]


@pytest.mark.parametrize('tasks, expected', TASKS)
def test_every_task_has_curves_of_its_own(begin, tmp_path, tasks, expected):
    assert list(monitor.task_tags(tasks).values()) == expected
    jobs = make_jobs(tasks, ('small_cnn',), Recipe(), seeds=(0, 1), learning_rates=(0.003, 0.0030000001))
    history = {job.index: [record(job.index, 1), record(job.index, 2)] for job in jobs}
    made = begin(tmp_path, history, (), jobs)
    made.close()
    found = check(tmp_path, jobs, history)
    assert set(found) == {'all_tasks/small_cnn/valid_auroc_mean', 'all_tasks/small_cnn/valid_auroc_median'}
    assert len(made.numbered) == sum(
        tag != monitor._clean(task.replace('/', '_')) for task, tag in zip(tasks, expected, strict=True)
    )


def test_pictures_of_tasks_with_like_names_are_told_apart(tmp_path):
    from demo_jax.io.files import safe_name
    from demo_jax.stages.report import _pictures

    tasks = ['x (1)', 'x [1]']
    for task in tasks:
        path = pathlib.Path(tmp_path, 'dashboards', safe_name(task), 'row000003.png')
        path.parent.mkdir(parents=True)
        path.write_bytes(task.encode())
    assert dict(_pictures(tmp_path, tasks)) == {
        'dashboards/x__1__1/row000003': b'x (1)',
        'dashboards/x__1__2/row000003': b'x [1]',
    }


def test_a_record_has_the_measures_that_are_drawn():
    assert set(MEASURES) <= {field.name for field in dataclasses.fields(EpochRecord)} and MEASURES == monitor._MEASURES
