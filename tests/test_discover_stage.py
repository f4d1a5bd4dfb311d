"""The stage discover, on a run whose maps are made up: what it finds, writes, keeps and says."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from demo_jax import dna
from demo_jax.data.simulate import SimulationSettings, simulate_corpus
from demo_jax.errors import InputError
from demo_jax.io import files
from demo_jax.motifs import formats, jaspar
from demo_jax.nn import models
from demo_jax.report import found_payload
from demo_jax.report.collect import Collector
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.done import Made
from demo_jax.runs.explanations import Explanations
from demo_jax.stages import discover, discovered, record, report
from demo_jax.training.fit import Finished
from demo_jax.training.jobs import Recipe, make_jobs

TASK, FEW = 'GATA1_K562_GATA-1_USC', 'few_K562'
POSITIVES = 60


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A run of two tasks; saliency and mutagenesis of the first see its planted sites, the second has 4 positives."""
    matrices = {name: matrix.probabilities for name, matrix in jaspar.load_matrices('JASPAR2016').items()}
    corpus = simulate_corpus(
        [TASK, FEW],
        matrices,
        task_motifs={TASK: 'MA0035.3'},
        n_train=4,
        n_test=POSITIVES,
        release='JASPAR2016',
        settings=SimulationSettings(length=61, cofactor_tasks=0.0, motif_share=(1, 1), weak_share=(0, 0)),
    )
    jobs = make_jobs(corpus.tasks, ('small_cnn',), Recipe())
    run = RunDirectory(tmp_path_factory.mktemp('discover') / 'run')
    run.create(corpus, {'corpus': {'source': 'simulated'}, 'recipe': {'average_strands': False}}, jobs)
    rows = {}
    for job in jobs:
        params = jax.tree.map(np.asarray, models.init(jax.random.key(0), models.SPECS[job.spec]))
        run.save_result(Finished(job.index, 0, 10, 1, 0.8, params), [])
        span = corpus.rows(job.task, 'test')
        positive = span.start + np.flatnonzero(np.asarray(corpus.labels[span]) == 1)
        rows[job.task] = np.append(positive[: 4 if job.task == FEW else None], span.stop - 1)
    store = Explanations(run)
    store.write_index(list(jobs), rows)
    for job in jobs:
        tokens = corpus.padded(rows[job.task])
        at_letters = 0.01 * np.random.default_rng(job.index).standard_normal(tokens.shape)
        for site in corpus.sites[(corpus.sites['role'] == 0)]:
            for row in np.flatnonzero(rows[job.task] == site['row']):
                at_letters[row, site['start'] : site['start'] + site['width']] += 1
        hypothetical = (at_letters[..., None] * dna.one_hot(tokens)).astype(np.float32)
        facts = Made({'both_strands': False}, {'model': 'made up'})
        score = np.ones(len(tokens), np.float32)
        store.save('saliency', job.index, {'score': score, 'hypothetical': hypothetical}, facts)
        store.save(
            'mutagenesis',
            job.index,
            {
                'score': score,
                'hypothetical': hypothetical,
                'signed': at_letters.astype(np.float32),
            },
            facts,
        )
    return run


@pytest.fixture(scope='module')
def tables(made):
    return discover.discover_run(made, discover.DiscoverSettings(placements=20), progress=False)


def folder(run, method='saliency', task=TASK):
    return discover.folder_of(run, task, 'small_cnn', method)


def sites_of(run):
    """Where the planted sites of the explained positives lie: name -> (start, stop, strand)."""
    corpus = run.corpus()
    rows = set(Explanations(run).rows(TASK).tolist())
    return {
        corpus.name(int(site['row'])): (int(site['start']), int(site['start'] + site['width']), int(site['strand']))
        for site in corpus.sites
        if site['role'] == 0 and int(site['row']) in rows
    }


def test_the_planted_motif_is_found_and_named(made, tables):
    rows = {row['method']: row for row in tables['motifs'].rows if row['task'] == TASK and row['motif'] == 'for_1'}
    assert set(rows) == {'saliency', 'mutagenesis'}
    for row in rows.values():
        assert row['own'] == 1 and row['match_q'] <= 0.05 and row['match'] in jaspar.load_matrices('JASPAR2016')
        assert row['sites'] >= 0.9 * POSITIVES and row['of'] == POSITIVES
        assert row['share'] > 0.8 and (row['seen_in'], row['looked_in']) == (2, 2)
        assert sum(map(int, row['profile'].split(','))) == row['sites']
    again = files.read_tsv(made.tables / 'motifs.tsv')
    assert [row['consensus'] for row in again] == [row['consensus'] for row in tables['motifs'].rows]


def test_seqlets_and_hits_lie_on_the_sites(made, tables):
    truth = sites_of(made)
    for name, columns in (('seqlets.bed', discovered.SEQLET_BED), ('hits.bed', discovered.HIT_BED)):
        lines = [line.split('\t') for line in (folder(made) / name).read_text(encoding='utf-8').splitlines()]
        assert lines[0][:6] == ['#chrom', 'start', 'end', 'name', 'score', 'strand'] and tuple(lines[0][6:]) == columns
        assert len(lines) - 1 >= 0.9 * POSITIVES
        good = 0
        for chrom, start, stop, *_ in lines[1:]:
            left, right, _ = truth[formats.unescape(chrom)]
            shared = min(int(stop), right) - max(int(start), left)
            good += 2 * shared >= min(int(stop) - int(start), right - left)
        assert good >= 0.9 * (len(lines) - 1)
    strands = {
        truth[formats.unescape(line.split('\t')[0])][2] * (1 if line.split('\t')[5] == '+' else -1)
        for line in (folder(made) / 'hits.bed').read_text(encoding='utf-8').splitlines()[1:]
    }
    assert len(strands) == 1  # all the same way round


def test_the_certificate_reads_what_the_files_hold(made, tables):
    store, settings = Explanations(made), discover.DiscoverSettings(placements=20)
    job = next(job for job in store.jobs() if job.task == TASK)
    shown = discover._for_binding(made, store, job, 'saliency', settings)
    for stretches, name in ((shown.seqlets, 'seqlets.bed'), (shown.hits, 'hits.bed')):
        lines = [line.split('\t') for line in (folder(made) / name).read_text(encoding='utf-8').splitlines()[1:]]
        listed = {
            (formats.unescape(chrom), int(start), int(stop)) for chrom, start, stop, kind, *_ in lines if kind[0] == 'f'
        }
        called = stretches.places[stretches.called]
        assert {(shown.names[row], start, stop) for row, start, stop in called.tolist()} == listed
        assert stretches.called[: len(called)].all()  # the strongest first


def test_a_map_of_too_few_sequences_has_a_reason_and_empty_files(made, tables):
    (row,) = (row for row in tables['seqlets'].rows if (row['task'], row['method']) == (FEW, 'saliency'))
    assert row['note'] == 'the map is of 4 sequences, expected 20 or more' and row['motifs'] == 0
    place = folder(made, task=FEW)
    for name in ('seqlets.bed', 'hits.bed'):
        assert (place / name).read_text(encoding='utf-8').count('\n') == 1
    assert files.read_tsv(place / 'motifs.tsv') == []
    assert discovered.read_found(place) == {}


def test_what_is_there_is_not_made_again_and_shuffles_outlive_other_settings(made, tables, tmp_path, monkeypatch):
    shutil.copytree(made.path, tmp_path / 'copy')
    run = RunDirectory(tmp_path / 'copy')

    def times(pattern):
        return {path: os.stat(path).st_mtime_ns for path in run.path.glob(f'motifs/{pattern}')}

    before = times('*/*/*/*')
    again = discover.discover_run(run, discover.DiscoverSettings(placements=20), progress=False)
    assert times('*/*/*/*') == before
    as_text = [{key: files.format_cell(value) for key, value in row.items()} for row in tables['motifs'].rows]
    assert [{key: files.format_cell(value) for key, value in row.items()} for row in again['motifs'].rows] == as_text
    nulls = times('*/*/*/null.npz')
    assert len(nulls) == 2  # none where there are too few sequences
    discover.discover_run(run, discover.DiscoverSettings(placements=20, hit_fdr=0.2), progress=False)
    assert times('*/*/*/null.npz') == nulls and times('*/*/*/hits.bed') != before
    discover.discover_run(run, discover.DiscoverSettings(placements=20, random_seed=1), progress=False)
    assert all(when != nulls[path] for path, when in times('*/*/*/null.npz').items())


def test_null_maps_are_of_shuffles_of_the_positives(made, tables):
    with np.load(folder(made) / 'null.npz', allow_pickle=False) as stored:
        tokens, signed = stored['tokens'], stored['signed']
    rows = Explanations(made).rows(TASK)
    corpus = made.corpus()
    positives = corpus.padded(rows[np.asarray(corpus.labels[rows]) == 1])
    np.testing.assert_array_equal(dna.dinucleotide_counts(tokens), dna.dinucleotide_counts(positives))
    assert (tokens != positives).any(axis=1).all() and signed.shape == tokens.shape and signed.any()


def test_other_tools_read_the_motifs(made, tables, tmp_path):
    place = folder(made)
    meme, counts = formats.read_meme(place / 'found.meme'), formats.read_jaspar(place / 'found.jaspar')
    found = discovered.read_found(place)
    assert list(meme) == list(counts) == list(found)
    np.testing.assert_allclose(meme['for_1'], found['for_1']['probabilities'], atol=1e-5)
    if importlib.util.find_spec('modiscolite') is None:
        pytest.skip('modisco-lite is not installed')
    command = shutil.which('modisco', path=pathlib.Path(sys.executable).parent)
    arguments = ['meme', '-i', str(place / 'found.h5'), '-t', 'PFM', '-o', 'patterns.meme']
    done = subprocess.run([command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    patterns = formats.read_meme(tmp_path / 'patterns.meme')
    (pattern,) = (matrix for name, matrix in patterns.items() if 'pattern_0' in name)
    inner = pattern[discovered.BESIDE : -discovered.BESIDE]  # sites at the ends of sequences are not among its own
    np.testing.assert_allclose(inner, found['for_1']['probabilities'], atol=0.12)


def test_the_page_is_given_the_motifs_and_the_sequences_that_hold_them(made, tables):
    collector = Collector(made, record.all_tables())
    data = collector.task(TASK)
    targets = {}
    shown = found_payload.found_payload(collector, data, targets)
    assert [motif['method'] for motif in shown['motifs']][0] == 'mutagenesis'  # the best first
    stored = discovered.read_found(folder(made, 'mutagenesis'))['for_1']
    motif = shown['motifs'][0]
    np.testing.assert_allclose(motif['matrix'], stored['probabilities'], rtol=1e-3)
    np.testing.assert_allclose(motif['heights'], stored['contributions'], rtol=1e-3, atol=1e-6)
    positives = data.rows[data.labels == 1]
    assert motif['rows'] == sorted(set(positives[stored['row']].tolist()))
    assert motif['own'] and motif['sites'] == len(stored['row'])
    json.dumps(shown, allow_nan=False)
    few = found_payload.found_payload(collector, collector.task(FEW), targets)
    # Its figure for print is drawn where there are motifs, and goes where there are none any more.
    drawn = report._write_found(made, TASK, {'found': shown, 'targets': targets})
    assert [path.suffix for path in drawn] == ['.png', '.svg', '.pdf'] and all(path.stat().st_size for path in drawn)
    assert report._write_found(made, TASK, {'found': few, 'targets': targets}) == []
    assert not any(path.exists() for path in drawn)
    assert few['motifs'] == [] and few['empty'][0]['note'].startswith('the map is of 4')
    # A damaged file is noted, and leaves the motif out.
    (folder(made, 'mutagenesis') / 'found.npz').rename(folder(made, 'mutagenesis') / 'moved.npz')
    try:
        left = found_payload.found_payload(collector, data, targets)['motifs']
        assert {one['method'] for one in left} == {'saliency'} and 'found.npz' in collector.missing[-1]
    finally:
        (folder(made, 'mutagenesis') / 'moved.npz').rename(folder(made, 'mutagenesis') / 'found.npz')


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'methods': ('nothing',)}, 'methods holds .nothing., expected some of saliency'),
        ({'seqlet_fdr': 0.0}, 'seqlet_fdr is 0.0, expected a number above 0'),
        ({'shuffles': 0}, 'shuffles is 0, expected 1 or more'),
    ],
)
def test_bad_settings_are_one_line(values, words):
    with pytest.raises(InputError, match=words):
        discover.DiscoverSettings(**values)


def test_a_run_without_such_maps_is_one_line(made):
    with pytest.raises(InputError, match=r'there is no map \(integrated_gradients\) to find motifs in'):
        discover.discover_run(
            made, dataclasses.replace(discover.DiscoverSettings(), methods=('integrated_gradients',)), progress=False
        )
