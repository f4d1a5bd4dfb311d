"""What parts were made from: what is complete is skipped, what is stale made again, in every stage."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest

from demo_jax.io import files
from demo_jax.report.collect import Collector
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.done import NAME, Made, Records, digest, read_made
from demo_jax.runs.explanations import Explanations
from demo_jax.stages import baseline, evaluate, explain, match, record, report
from demo_jax.training.fit import Finished
from tests.test_stages import SETTINGS, make_run

MADE = Made({'steps': 3, 'names': ('a', 'b')}, {'model': 'f00'}, 2)


@pytest.mark.parametrize(
    'other, same',
    [
        (MADE, True),
        (Made({'names': ['a', 'b'], 'steps': 3}, {'model': 'f00'}, 2), True),
        (MADE._replace(layout=3), False),
        (MADE._replace(settings={'steps': 3}), False),
        (MADE._replace(inputs={'model': 'f01'}), False),
        (MADE._replace(inputs={}), False),
        (MADE._replace(settings=dict(MADE.settings) | {'steps': 3.5}), False),
    ],
)
def test_a_part_is_complete_where_it_was_made_from_the_same(tmp_path, other, same):
    Records(tmp_path).keep('one', MADE)
    for records in (Records(tmp_path), Records(tmp_path)):
        assert records.has('one', other) is same and not records.has('two', other)


def test_files_that_are_gone_or_cut_short_are_not_complete(tmp_path):
    path = tmp_path / 'deeper' / 'a.bin'
    files.write_text(path, 'whole')
    Records(tmp_path).keep('one', MADE, [path])
    assert Records(tmp_path).has('one', MADE)
    path.write_text('who')
    assert not Records(tmp_path).has('one', MADE) and Records(tmp_path).made('one') is None
    path.write_text('whole')
    assert Records(tmp_path).has('one', MADE)
    path.unlink()
    assert not Records(tmp_path).has('one', MADE)


def test_what_is_about_to_be_replaced_is_forgotten(tmp_path):
    records = Records(tmp_path)
    for part in 'ab':
        records.keep(part, MADE)
    records.forget('a', 'never there')
    assert not Records(tmp_path).has('a', MADE) and Records(tmp_path).has('b', MADE)
    before = os.stat(tmp_path / NAME).st_mtime_ns
    records.forget('a')
    assert os.stat(tmp_path / NAME).st_mtime_ns == before  # nothing to forget, nothing written


@pytest.mark.parametrize(
    'text',
    [
        '',
        '{"one": {"made": {"sett',
        '[1]',
        '{"one": "3f2a"}',
        '{"one": {"made": 3}}',
        '{"one": {"made": {"settings": 1, "inputs": {}, "layout": 1}, "sizes": {}}}',
    ],
)
def test_a_file_of_something_else_says_that_nothing_is_complete(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    records = Records(tmp_path)
    assert records.made('one') is None and not records.has('one', MADE)
    records.keep('one', MADE)
    assert Records(tmp_path).has('one', MADE)


def test_a_record_of_an_older_version_is_of_nothing_that_is_made_now():
    found = read_made({'best_epoch': 3, 'positives': 6})
    assert found == Made({'best_epoch': 3, 'positives': 6}, {}, 0)
    assert read_made(MADE.as_json()).as_json() == MADE.as_json() and read_made('text') is None


def test_a_digest_changes_with_what_counts(tmp_path):
    for name in ('a', 'deep/b', 'table'):
        files.write_text(tmp_path / name, name)

    def now():
        return digest(tmp_path, ['a', 'deep', 'missing'], read=['table'])

    before = now()
    files.write_text(tmp_path / 'table', 'table')  # written again with the same contents
    files.write_text(tmp_path / 'other', 'x')
    assert now() == before
    files.write_text(tmp_path / 'table', 'tables')
    assert now() != before
    files.write_text(tmp_path / 'table', 'table')
    assert now() == before
    os.utime(tmp_path / 'deep' / 'b', ns=(1, 1))
    assert now() != before


def times(run):
    """When each result was written; the record of the report and tables are written by every call."""
    folders = ('explain', 'predictions', 'motifs', 'figures', 'dashboard')
    return {
        path.relative_to(run.path): os.stat(path).st_mtime_ns
        for folder in folders
        for path in (run.path / folder).rglob('*')
        if path.is_file() and 'baseline_' not in path.name
    }


def all_stages(run):
    """Every stage but training; in the second call of the same nothing is made."""
    motifs = baseline.BaselineSettings('em', n_sequences=8, n_motifs=1)
    baseline.baseline_run(run, motifs, n_resamples=5, progress=False)
    evaluate.evaluate_run(run, evaluate.EvaluateSettings(5), progress=False)
    explain.explain_run(run, dataclasses.replace(SETTINGS, pieces=('saliency',)), progress=False)
    match.match_run(run, match.MatchSettings(jaspar='JASPAR2016', chance_draws=1), progress=False)
    report.report_run(run, record.all_tables(), report.ReportSettings(sequences=2, dashboards=1), progress=False)


@pytest.fixture(scope='module', autouse=True)
def empty_figures():
    """Files of figures without their contents: what they are made from is looked at here, and drawing takes longest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, '_save', save_nothing)
        yield


def save_nothing(figure, path, formats=report.FORMATS):
    for kind in formats:
        files.write_text(path.with_name(f'{path.name}.{kind}'), '')


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp('done') / 'run')
    all_stages(run)
    return run


def test_every_stage_keeps_what_it_made_in_the_same_record(whole):
    for folder, part in (
        ('motifs/baseline', 'GATA1_K562_GATA-1_USC'),
        ('predictions', '00000'),
        ('motifs', 'motifs'),
        ('motifs', 'hits'),
        ('figures', 'overview'),
    ):
        assert Records(whole.path / folder).made(part), (folder, part)
    before = times(whole)
    all_stages(whole)
    assert times(whole) == before


def test_a_model_that_has_changed_is_scored_explained_and_matched_again(whole, tmp_path):
    """Steps, epoch and shape are those of before: it is told by its parameters."""
    shutil.copytree(whole.path, tmp_path / 'copy')
    run = RunDirectory(tmp_path / 'copy')
    all_stages(run)  # its explanations may have other times
    one, other = (job.index for job in Explanations(run).jobs()[:2])
    scores, explained = 'predictions/{:05d}.npy', 'explain/saliency/{:05d}.npz'
    before, scored = times(run), np.load(run.path / scores.format(one))
    old = run.load_result(one)
    assert old.digest == whole.load_result(one).digest != run.load_result(other).digest
    params = {name: {key: value * 1.5 for key, value in layer.items()} for name, layer in old.params.items()}
    run.save_result(Finished(one, old.attempt, old.steps, old.best_epoch, old.best_auroc, params), old.history)
    all_stages(run)
    changed = {str(path) for path, time in times(run).items() if time != before.get(path)}
    assert {scores.format(one), explained.format(one), 'motifs/own.json'} <= changed
    assert not {scores.format(other), explained.format(other), 'motifs/baseline/made.json'} & changed
    assert not np.allclose(np.load(run.path / scores.format(one)), scored)


def test_a_run_of_an_older_version_is_made_again_once(whole, tmp_path):
    """It has no records, but `complete.json`, settings in its explanations, and sizes alone to tell predictions by."""
    shutil.copytree(whole.path, tmp_path / 'copy')
    run = RunDirectory(tmp_path / 'copy')
    for folder in ('motifs/baseline', 'predictions', 'motifs', 'figures'):
        (run.path / folder / NAME).unlink()
    old = {'jaspar': 'JASPAR2016', 'measure': 'e_value', 'threshold': 0.25}
    files.write_json(run.path / 'motifs' / 'complete.json', {'settings': old, 'hit_p_value': 1e-3, 'files': 2})
    files.write_json(run.path / 'motifs' / 'baseline' / 'settings.json', {'method': 'em'})
    store = Explanations(run)
    for job in store.jobs():
        arrays = store.load('saliency', job.index)
        path = store.piece_path('saliency', job.index)
        facts = {'best_epoch': 1, 'attempt': 0, 'steps': 10, 'positives': 6, 'negatives': 2, 'both_strands': True}
        np.savez(path, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)
        assert store.has('saliency', job.index)  # the page shows it as it is
    collector = Collector(run, record.all_tables())
    assert collector.hit_p_value == 1e-3 and collector.match_settings['measure'] == 'e_value'
    all_stages(run)
    assert not (run.path / 'motifs' / 'complete.json').exists()
    assert not (run.path / 'motifs' / 'baseline' / 'settings.json').exists()
    assert Collector(run, record.all_tables()).hit_p_value == 1e-4
    before = times(run)
    all_stages(run)
    assert times(run) == before
    for name in ('auroc', 'baseline', 'table4', 'truth_mean'):
        assert (run.tables / f'{name}.tsv').read_bytes() == (whole.tables / f'{name}.tsv').read_bytes()
