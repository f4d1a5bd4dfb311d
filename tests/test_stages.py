"""The stages explain and match on a run of untrained models: what is kept, what is skipped, what the tables count."""

import dataclasses
import json
import os
import shutil

import jax
import numpy as np
import pytest

from demo_jax import dna
from demo_jax.data.build import Records, TaskRecords, build_corpus
from demo_jax.data.simulate import SimulationSettings, simulate_corpus
from demo_jax.errors import InputError
from demo_jax.evaluation.proteins import Protein
from demo_jax.explain.attribution import attribute
from demo_jax.explain.pieces import TRACKS
from demo_jax.explain.temporal import temporal_scores
from demo_jax.io import files
from demo_jax.motifs import extract, formats, jaspar, matching, piles, scan
from demo_jax.motifs.tomtom import match_motifs, prepare_targets, word_motif
from demo_jax.nn import models
from demo_jax.report.collect import Collector
from demo_jax.report.payload import task_payload
from demo_jax.runs import done, preferred
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.explanations import PIECES, Explanations
from demo_jax.stages import evaluate, explain, match, motif_files, record
from demo_jax.stages.baseline import BaselineSettings, baseline_run
from demo_jax.training.fit import Finished
from demo_jax.training.jobs import Recipe, make_jobs
from tests import helpers_models
from tests.motif_tools import check_jaspar, check_meme

few_filters = pytest.fixture(scope='module', autouse=True)(helpers_models.few_filters)
OWN, NONE = 'GATA1_K562_GATA-1_USC', 'no/such protein_K562'
SPECS = ('small_cnn', 'small_rnn')
SETTINGS = explain.ExplainSettings(
    specs=('all',),
    positives=6,
    negatives=2,
    integration_steps=3,
    references=2,
    restarts=2,
    optimisation_steps=4,
    sufficient_starts=2,
    sufficient_steps=4,
)


def make_run(path):
    """Two tasks, two specs and two seeds, with the parameters of untrained models in place of a training."""
    matrices = jaspar.load_matrices('JASPAR2016')
    corpus = simulate_corpus(
        [OWN, NONE],
        {motif: matrix.probabilities for motif, matrix in matrices.items()},
        task_motifs={OWN: 'MA0035.3'},
        n_train=4,
        n_test=8,
        settings=SimulationSettings(length=61),
    )
    recipe = Recipe(average_strands=True)
    jobs = make_jobs(corpus.tasks, SPECS, recipe, seeds=(0, 1))
    run = RunDirectory(path)
    run.create(corpus, {'corpus': {'source': 'simulated'}, 'recipe': {'average_strands': True}}, jobs)
    for job in jobs:
        key = jax.random.key(job.index)
        params = jax.tree.map(np.asarray, models.init(key, models.SPECS[job.spec]))
        auroc = 0.6 + 0.1 * job.seed * (job.spec == 'small_cnn')
        run.save_result(Finished(job.index, 0, 10, 1, auroc, params), [])
    return run


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    directory = make_run(tmp_path_factory.mktemp('stages') / 'run')
    explain.explain_run(directory, SETTINGS, progress=False)
    return directory


def test_explained_together_is_explained_alone(run, tmp_path, monkeypatch):
    """As an accelerator does it, on which several models go together; `test_together.py` has every piece."""
    settings = dataclasses.replace(SETTINGS, pieces=('saliency', 'temporal', 'class_optimisation'))
    copy = RunDirectory(shutil.copytree(run.path, tmp_path / 'run'))
    shutil.rmtree(copy.path / 'explain')
    monkeypatch.setattr(explain, 'models_together', lambda: 3)
    explain.explain_run(copy, settings, progress=False)
    before, after = Explanations(run), Explanations(copy)
    assert before.jobs() == after.jobs() and len(before.jobs()) > 3
    for job in before.jobs():
        for piece in settings.pieces:
            assert before.piece_path(piece, job.index).exists() == after.piece_path(piece, job.index).exists()
            if before.piece_path(piece, job.index).exists():
                expected, found = before.load(piece, job.index), after.load(piece, job.index)
                for name, array in expected.items():
                    np.testing.assert_allclose(found[name], array, atol=1e-4, rtol=1e-4, err_msg=f'{piece} {name}')


@pytest.fixture(scope='module')
def tables(run):
    return match.match_run(run, match.MatchSettings(jaspar='JASPAR2016', chance_draws=2), progress=False)


def test_negatives_may_be_longer_than_every_positive(tmp_path):
    rng = np.random.default_rng(0)

    def records(count):
        tokens = [rng.integers(0, 4, length).astype(np.uint8) for length in (61, 80) for _ in range(count)]
        return Records(tokens, np.repeat([1, 0], count).astype(np.uint8), [f'r{i}' for i in range(2 * count)])

    corpus = build_corpus([TaskRecords(OWN, records(10), records(5))])
    jobs = make_jobs(corpus.tasks, SPECS, Recipe())
    run = RunDirectory(tmp_path / 'run')
    run.create(corpus, {'corpus': {'source': 'fasta'}, 'recipe': {'average_strands': False}}, jobs)
    for job in jobs:
        params = jax.tree.map(np.asarray, models.init(jax.random.key(0), models.SPECS[job.spec]))
        run.save_result(Finished(job.index, 0, 10, 1, 0.6, params), [])
    pieces = ('saliency', 'temporal', 'activations')
    explain.explain_run(run, dataclasses.replace(SETTINGS, pieces=pieces), progress=False)
    match.match_run(run, match.MatchSettings(jaspar='JASPAR2016', filters=False), progress=False)
    for spec in SPECS:
        rows = files.read_tsv(run.path / 'motifs' / files.safe_name(OWN) / spec / 'windows.tsv')
        assert len(rows) >= 10
        for row in rows:
            assert corpus.labels[int(row['row'])] == 1 and 0 <= int(row['start']) <= 61 - 9


def test_pieces_of_other_sequences_are_not_matched(tmp_path, run):
    """Saliency is made for fewer sequences after all else: the rest would be read by the wrong rows."""
    shutil.copytree(run.path, tmp_path / 'copy')
    copy = RunDirectory(tmp_path / 'copy')
    fewer = dataclasses.replace(SETTINGS, positives=4, negatives=4, pieces=('saliency',))
    store = explain.explain_run(copy, fewer, progress=False)
    for reader in (store, Explanations(copy)):
        kept = {piece for job in store.jobs() for piece in PIECES if reader.has(piece, job.index)}
        assert kept == {'saliency', 'class_optimisation', 'sufficient_motif'}
    with pytest.raises(InputError, match='of other sequences than those explained last .positives 6, now 4.'):
        store.load('mutagenesis', store.jobs()[0].index)
    match.match_run(copy, match.MatchSettings(jaspar='JASPAR2016'), progress=False)
    rows = files.read_tsv(copy.path / 'motifs' / OWN / 'small_cnn' / 'windows.tsv')
    assert {row['method'] for row in rows} == {'saliency', 'gradient_x_input'}
    explain.explain_run(copy, SETTINGS, progress=False)
    assert all(Explanations(copy).has('mutagenesis', job.index) for job in store.jobs())


def test_an_interrupted_matching_is_not_taken_for_the_one_before(tmp_path, run, monkeypatch):
    shutil.copytree(run.path, tmp_path / 'copy')
    copy = RunDirectory(tmp_path / 'copy')
    usual = match.MatchSettings(jaspar='JASPAR2016', chance_draws=2)
    match.match_run(copy, usual, progress=False)
    before = {path: path.read_bytes() for path in copy.path.glob('motifs/*/*/*.tsv')}
    assert before
    with monkeypatch.context() as patch:
        patch.setattr(match.matching, 'count_matches', lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            match.match_run(copy, dataclasses.replace(usual, threshold=0.9), progress=False)
    assert any(path.read_bytes() != found for path, found in before.items())
    match.match_run(copy, usual, progress=False)
    assert all(path.read_bytes() == found for path, found in before.items())


def written(run):
    """When each file of the explanations was written."""
    return {path: os.stat(path).st_mtime_ns for path in run.path.glob('explain/*/*.npz')}


def test_the_best_seed_by_validation_is_explained(run):
    chosen = {(job.task, job.spec): job.seed for job in Explanations(run).jobs()}
    assert chosen == {(task, spec): int(spec == 'small_cnn') for task in (OWN, NONE) for spec in SPECS}


def test_every_piece_that_applies_is_kept(run):
    store = Explanations(run)
    for job in store.jobs():
        kept = {piece for piece in PIECES if store.has(piece, job.index)}
        without = {'temporal'} if job.spec == 'small_cnn' else {'activations', 'influential_activations', 'filters'}
        assert kept == set(PIECES) - without


def test_positives_come_first_and_all_are_test_rows(run):
    corpus, rows = run.corpus(), Explanations(run).rows(OWN)
    assert np.asarray(corpus.labels)[rows].tolist() == [1] * 6 + [0] * 2
    span = corpus.rows(OWN, 'test')
    assert rows.min() >= span.start and rows.max() < span.stop


def test_what_is_kept_is_what_the_functions_give(run):
    """Maps are means over the models of a task and spec, here of both seeds of the CNN."""
    store, corpus = Explanations(run), run.corpus()
    for job in store.jobs():
        spec = models.SPECS[job.spec]
        alike = [other.index for other in run.jobs() if (other.task, other.spec) == (job.task, job.spec)]
        members = [run.load_result(index).params for index in alike]
        tokens = corpus.padded(store.rows(job.task))
        for method, extra in (
            ('saliency', {}),
            ('integrated_gradients', {'steps': 3}),
            ('deeplift', {'n_references': 2}),
            ('mutagenesis', {}),
        ):
            direct = [attribute(method, params, spec, tokens, both_strands=True, **extra) for params in members]
            kept = store.load(method, job.index)
            for name in ('hypothetical', 'score'):
                expected = np.mean([getattr(one, name) for one in direct], axis=0)
                np.testing.assert_allclose(kept[name], expected, atol=1e-5)
        if job.spec == 'small_rnn':
            kept = store.load('temporal', job.index)
            curves = [temporal_scores(params, spec, tokens, direction='reverse') for params in members]
            np.testing.assert_allclose(kept['reverse'], np.mean(curves, axis=0), atol=1e-5)
        assert store.load('class_optimisation', job.index)['matrix'].shape == (2, 61, 4)


def test_only_what_is_missing_damaged_or_set_otherwise_is_made_again(tmp_path, run):
    shutil.copytree(run.path, tmp_path / 'copy')
    copy = RunDirectory(tmp_path / 'copy')
    before = written(copy)
    store = Explanations(copy)
    damaged = store.piece_path('saliency', store.jobs()[0].index)
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(InputError, match='cannot be read'):
        store.load('saliency', store.jobs()[0].index)
    before[damaged] = os.stat(damaged).st_mtime_ns
    explain.explain_run(copy, SETTINGS, progress=False)
    changed = {path for path, time in written(copy).items() if time != before[path]}
    assert changed == {damaged}
    assert damaged.read_bytes() == (run.path / damaged.relative_to(copy.path)).read_bytes()
    before = written(copy)
    explain.explain_run(copy, dataclasses.replace(SETTINGS, integration_steps=2), progress=False)
    changed = {path.parent.name for path, time in written(copy).items() if time != before[path]}
    assert changed == {'integrated_gradients'}


def test_a_start_of_class_optimisation_does_not_depend_on_the_company(tmp_path, run, monkeypatch):
    monkeypatch.setattr(explain, '_GROUP', 1)
    alone = make_run(tmp_path / 'alone')
    explain.explain_run(alone, dataclasses.replace(SETTINGS, pieces=('class_optimisation',)), progress=False)
    for job in Explanations(run).jobs():
        together, single = (Explanations(one).load('class_optimisation', job.index) for one in (run, alone))
        np.testing.assert_allclose(single['raw'], together['raw'], atol=1e-5)


@pytest.mark.parametrize('specs, expected', [((), SPECS), (('small_rnn',), ('small_rnn',)), (('all',), SPECS)])
def test_which_specs_are_explained(run, specs, expected):
    assert explain.chosen_specs(explain.best_results(run), specs) == expected


def test_unknown_specs_settings_and_empty_runs_are_refused(tmp_path, run):
    with pytest.raises(InputError, match='no trained spec .*it has small_cnn, small_rnn'):
        explain.chosen_specs(explain.best_results(run), ('large_cnn',))
    with pytest.raises(InputError, match="pieces holds 'salience', expected some of saliency"):
        explain.ExplainSettings(pieces=('salience',))
    with pytest.raises(InputError, match='truncate'):
        explain.ExplainSettings(truncate='middle')
    with pytest.raises(InputError, match='rule'):
        match.MatchSettings(rule='all')
    with pytest.raises(InputError, match='JASPAR release .* is not installed; pyjaspar has'):
        match.match_run(run, match.MatchSettings(jaspar='JASPAR1999'), progress=False)
    empty = RunDirectory(tmp_path / 'empty')
    empty.create(run.corpus(), run.config(), run.jobs())
    with pytest.raises(InputError, match='run the stage train'):
        explain.explain_run(empty, SETTINGS, progress=False)
    with pytest.raises(InputError, match='run the stage explain'):
        match.match_run(empty, progress=False)
    with pytest.raises(InputError, match="no task 'x'"):
        Explanations(run).rows('x')


def test_windows_hold_the_letters_that_are_there(run, tables):
    corpus = run.corpus()
    for task in (OWN, NONE):
        rows = files.read_tsv(run.path / 'motifs' / files.safe_name(task) / 'small_rnn' / 'windows.tsv')
        assert {row['method'] for row in rows} == {
            'saliency',
            'gradient_x_input',
            'integrated_gradients',
            'deeplift',
            'mutagenesis',
            'temporal',
            'temporal_reverse',
        }
        assert len(rows) == 7 * 6
        for row in rows:
            letters = corpus.sequence(int(row['row']))[int(row['start']) : int(row['end'])]
            turned = dna.decode(dna.reverse_complement(dna.encode(letters)[None])[0])
            assert row['word'] == (letters if row['strand'] == '+' else turned)
            assert row['name'] == corpus.name(int(row['row']))


def test_saliency_windows_have_the_highest_sum(run, tables):
    store = Explanations(run)
    job = next(job for job in store.jobs() if (job.task, job.spec) == (OWN, 'small_rnn'))
    rows = files.read_tsv(run.path / 'motifs' / OWN / job.spec / 'windows.tsv')
    corpus, stored = run.corpus(), store.load('saliency', job.index)
    for row in rows:
        if row['method'] in ('saliency', 'gradient_x_input'):
            at = store.rows(OWN).tolist().index(int(row['row']))
            letters = dna.encode(corpus.sequence(int(row['row'])))
            signed = stored['hypothetical'][at, np.arange(61), letters]
            values = np.abs(signed) if row['method'] == 'saliency' else signed
            sums = [values[start : start + 9].sum() for start in range(53)]
            assert int(row['start']) == int(np.argmax(sums))
            assert float(row['score']) == pytest.approx(max(sums), rel=1e-4)


def test_table4_counts_the_windows_that_match(run, tables):
    matrices = jaspar.load_matrices('JASPAR2016')
    targets = prepare_targets({motif: matrix.probabilities for motif, matrix in matrices.items()})
    own = json.loads((run.path / 'motifs' / 'own.json').read_text())
    assert own['release'] == 'JASPAR2016' and own['tasks'][OWN] == ['MA0035.3'] and own['without'] == []
    column = targets.index('MA0035.3')
    words = [
        row['word']
        for row in files.read_tsv(run.path / 'motifs' / OWN / 'small_cnn' / 'windows.tsv')
        if row['method'] == 'saliency'
    ]
    expected = int((match_motifs([word_motif(word) for word in words], targets).q_value[:, column] <= 0.5).sum())
    (row,) = [
        row
        for row in tables['table4_tasks'].rows
        if (row['task'], row['spec'], row['method']) == (OWN, 'small_cnn', 'saliency')
    ]
    assert (row['matches'], row['out_of'], row['chance_out_of']) == (expected, 6, 12)
    whole = {(row['spec'], row['method']): row for row in tables['table4'].rows}
    assert whole['small_cnn', 'saliency']['n_tasks'] == 2
    assert all(row['published'] is None for row in whole.values())  # the tasks are simulated
    assert ('small_cnn', 'temporal') not in whole and ('small_rnn', 'temporal') in whole
    assert whole['small_cnn', 'class_optimisation']['out_of'] == 2


def test_the_tables_name_release_id_and_consensus(run, tables):
    known = jaspar.load_matrices('JASPAR2016')
    planted = run.corpus().info['tasks'][NONE]['motif']
    for row in tables['table4_tasks'].rows:
        (motif,) = row['matrices'].split(';')
        assert motif == ('MA0035.3' if row['task'] == OWN else planted)
        assert (row['tf'], row['release']) == ('GATA1' if row['task'] == OWN else 'no/such protein', 'JASPAR2016')
        assert row['consensus'] == known[motif].consensus and row['planted'].partition(':')[2] == motif
    assert files.read_tsv(run.tables / 'table4_tasks.tsv')[0].keys() == set(matching.TASK_COLUMNS)
    own = json.loads((run.path / 'motifs' / 'own.json').read_text())
    assert own['matrices']['MA0035.3'] == {'name': 'Gata1', 'consensus': 'TtCTTATCTgT'}
    assert own['proteins'][OWN] == {'symbol': 'GATA1', 'found': 'table', 'others': []}
    assert any('does not say which JASPAR release' in note for note in own['notes'])  # made without naming one
    (row,) = files.read_tsv(run.path / 'motifs' / OWN / 'own_matrices.tsv')
    assert (row['release'], row['id'], row['consensus']) == ('JASPAR2016', 'MA0035.3', 'TtCTTATCTgT')
    assert (float(row['hit_p_value']), row['paper_id']) == (1e-4, '')


def test_the_tf_of_a_task_is_told(tmp_path):
    """Another word on the TF makes the tables anew; with a simulation, or a task that is not there, it is refused."""
    run = genome_run(tmp_path / 'run', np.zeros(11, np.uint8))
    before = match.match_run(run, match.MatchSettings(jaspar='JASPAR2016', filters=False), progress=False)
    assert {row['task'] for row in before['table4_tasks'].rows} == {OWN}
    told = match.MatchSettings(jaspar='JASPAR2016', filters=False, tf=f'{NONE}=CTCF')
    after = match.match_run(run, told, progress=False)
    assert {(row['task'], row['tf'], row['matrices']) for row in after['table4_tasks'].rows} == {
        (OWN, 'GATA1', 'MA0035.3'),
        (NONE, 'CTCF', 'MA0139.1'),
    }
    assert Collector(run, record.all_tables()).task(NONE, windows=False).protein == Protein('CTCF', 'told')
    with pytest.raises(InputError, match='no such task'):
        match.match_run(run, dataclasses.replace(told, tf='x=CTCF'), progress=False)
    with pytest.raises(InputError, match='expected NAME=SYMBOL'):
        match.MatchSettings(tf='CTCF')


def test_a_matrix_too_short_for_the_p_value_says_so(tmp_path):
    """MAX in JASPAR2026 is CACGTG: its best word has p 4^-6, which the file, its table and the page say."""
    site = dna.encode('CACGTG')
    run = genome_run(tmp_path / 'run', site)
    settings = match.MatchSettings(jaspar='JASPAR2026', filters=False, tf=f'{NONE}=MAX')
    match.match_run(run, settings, progress=False)
    folder = run.path / 'motifs' / files.safe_name(NONE)
    points = round(-100 * np.log10(4.0**-6))
    assert points < 400  # of 1e-4
    name = 'MA0058.4:MAX:p=2.4e-04'
    assert formats.read_bed(folder / 'jaspar_hits.bed') == [
        ('chr1', 100, 106, name, points, '+'),
        ('chr1', 300, 306, name, points, '-'),
    ]
    (row,) = files.read_tsv(folder / 'own_matrices.tsv')
    assert (row['consensus'], row['columns'], row['paper_id'], row['paper_consensus']) == (
        'CACGTG',
        '6',
        'MA0058.3',
        'acCACGTGct',
    )
    assert float(row['hit_p_value']) == pytest.approx(4.0**-6, rel=1e-4)
    collector = Collector(run, record.all_tables())
    (shown,) = task_payload(collector, collector.task(NONE), sequences=5)['own']
    assert shown['reached'] == pytest.approx(2.4e-4) and shown['paper'] == 'JASPAR2016: MA0058.3 acCACGTGct'
    (gata,) = task_payload(collector, collector.task(OWN), sequences=5)['own']
    assert gata['reached'] is None  # seven columns are enough


def test_truth_judges_the_positives_that_the_model_gets_right(run, tables):
    store, corpus = Explanations(run), run.corpus()
    judged = 0
    for job in store.jobs():
        rows, score = store.rows(job.task)[:6], store.load('saliency', job.index)['score'][:6]
        right = set(rows[score > 0].tolist())
        sites = [site for site in corpus.sites if site['row'] in right and site['role'] == 0]
        (row,) = [
            row
            for row in tables['truth'].rows
            if (row['task'], row['spec'], row['method']) == (job.task, job.spec, 'mutagenesis')
        ]
        assert row['n_sites'] == len(sites)
        folder = run.path / 'motifs' / files.safe_name(job.task) / job.spec
        windows = {
            int(entry['row']): int(entry['start'])
            for entry in files.read_tsv(folder / 'windows.tsv')
            if entry['method'] == 'mutagenesis'
        }
        hits = 0
        for site in sites:
            start, stop = windows[int(site['row'])], windows[int(site['row'])] + 9
            shared = min(stop, site['start'] + site['width']) - max(start, site['start'])
            hits += 2 * shared >= min(9, site['width'])
        if sites:
            assert row['recall'] == pytest.approx(hits / len(sites))
        judged += len(sites)
    assert judged > 0
    methods = {row['method'] for row in tables['truth_mean'].rows if row['spec'] == 'small_rnn'}
    assert methods == set(TRACKS) - {'activations', 'influential_activations'}


def test_every_motif_file_is_read_by_other_tools(run, tables):
    baseline_run(run, BaselineSettings('em', n_motifs=1), n_resamples=10, progress=False)
    found = {path.name for path in (run.path / 'motifs').rglob('*') if path.suffix in ('.meme', '.jaspar')}
    tasks = {f'{files.safe_name(task)}.meme' for task in (OWN, NONE)}
    assert found == {'motifs.meme', 'motifs.jaspar', 'filters.meme', *tasks}
    for path in sorted((run.path / 'motifs').rglob('*.meme')):
        check_meme(path)
    for path in sorted((run.path / 'motifs').rglob('*.jaspar')):
        check_jaspar(path)


def test_a_clear_optimum_and_a_pile_of_windows_as_they_are_written(run, tables):
    folder = run.path / 'motifs' / OWN / 'small_cnn'
    probabilities, counts = formats.read_meme(folder / 'motifs.meme'), formats.read_jaspar(folder / 'motifs.jaspar')
    assert (
        list(probabilities)
        == list(counts)
        == [
            'saliency',
            'gradient_x_input',
            'integrated_gradients',
            'deeplift',
            'mutagenesis',
            'activations',
            'influential_activations',
            'class_optimisation',
            'sufficient_motif',
        ]
    )
    rows = {row['name']: row for row in files.read_tsv(folder / 'motifs.tsv')}
    for method, row in rows.items():
        matrix = probabilities[method]
        assert len(matrix) == len(counts[method]) == int(row['end']) - int(row['start'])
        best = np.sort(dna.information_content(matrix))[-6:].sum()
        assert float(row['bits']) == pytest.approx(best, abs=1e-4)
        assert row['verdict'] == ('motif' if best >= 6 else 'vague' if best >= 3 else 'none')
        if method in ('class_optimisation', 'sufficient_motif'):
            width = '9' if method == 'class_optimisation' else row['end']
            assert (row['windows'], row['agree'], row['start'], row['end']) == ('', '', '0', width)
            np.testing.assert_allclose(counts[method] / 1000, matrix, atol=1e-3)
            continue
        words = [one['word'] for one in files.read_tsv(folder / 'windows.tsv') if one['method'] == method]
        letters = dna.encode(''.join(words)).reshape(6, 9)[:, int(row['start']) : int(row['end'])]
        np.testing.assert_array_equal(counts[method], extract.count_matrix(letters))
        np.testing.assert_allclose(matrix, (counts[method] + 0.5) / 8, atol=1e-6)
        assert (int(row['windows']), int(row['agree'])) == (6, piles.agreeing(matrix, letters).sum())
    matched = {row['Query_ID'] for row in files.read_tsv(folder / 'tomtom.tsv')}
    assert matched <= {method for method, row in rows.items() if row['verdict'] == 'motif'}


def test_only_clear_motifs_are_matched(tmp_path):
    """Flat columns match flat columns of JASPAR at tiny p-values; a word of six letters does not need them."""
    matrices = jaspar.load_matrices('JASPAR2016')
    targets = prepare_targets({motif: matrix.probabilities for motif, matrix in matrices.items()})
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 4, (100, 9)).astype(np.uint8)
    word = noise.copy()
    word[:, 2:7] = dna.encode('GATAA')
    mixed = np.where(rng.random(100)[:, None] < 0.6, word, noise).astype(np.uint8)
    made = {'noise': noise, 'word': word, 'mixed': mixed}
    found = {name: piles.pile_windows(tokens) for name, tokens in made.items()}
    motif_files.write_motifs(tmp_path, found, targets, measure='q_value', threshold=0.5)
    rows = {row['name']: row for row in files.read_tsv(tmp_path / 'motifs.tsv')}
    assert [row['verdict'] for row in rows.values()] == ['none', 'motif', 'vague']
    assert (rows['word']['consensus'], rows['word']['start'], rows['word']['agree']) == ('GATAA', '2', '100')
    assert (rows['mixed']['consensus'], 55 <= int(rows['mixed']['agree']) <= 70) == ('GATAA', True)
    matches = files.read_tsv(tmp_path / 'tomtom.tsv')
    assert {row['Query_ID'] for row in matches} == {'word'}
    names = [matrices[row['Target_ID']].name.upper() for row in matches[:3]]
    assert any(name.startswith('GATA') for name in names) and matches[0]['Query_consensus'] == 'GATAA'
    assert list(check_meme(tmp_path / 'motifs.meme')) == list(check_jaspar(tmp_path / 'motifs.jaspar')) == list(made)
    whole = match_motifs([extract.pwm_from_windows(noise)], targets)
    assert whole.q_value.min() < 0.5  # it would have had a match


@pytest.mark.parametrize(
    'wanted, expected',
    [
        ('auto', 'mutagenesis'),
        ('saliency', 'saliency'),
        ('integrated_gradients', 'integrated_gradients'),
    ],
)
def test_the_map_that_is_exported_for_modisco(tmp_path, run, capsys, wanted, expected):
    copy = RunDirectory(tmp_path / 'run')
    shutil.copytree(run.path, copy.path)
    settings = match.MatchSettings(jaspar='JASPAR2016', filters=False, modisco_map=wanted)
    match.match_run(copy, settings, progress=False)
    store = Explanations(copy)
    printed = capsys.readouterr().out
    why = 'their order on simulated data' if wanted == 'auto' else 'match.modisco_map'
    assert f'TF-MoDISco is given the maps {expected} of 4 models (by {why})\n' in printed
    verdicts = [row['verdict'] for path in copy.path.rglob('motifs.tsv') for row in files.read_tsv(path)]
    vague = len(verdicts) - verdicts.count('motif')
    assert f'{vague} of {len(verdicts)} motifs have fewer than 6 bits in their best 6 columns' in printed and vague
    for job in store.jobs():
        folder = copy.path / 'motifs' / files.safe_name(job.task) / job.spec
        facts = {'map': expected, 'chosen_by': why, 'centred': True, 'sequences': 6, 'length': 61, 'window': 60}
        assert files.read_json(folder / 'modisco.json') == facts
        contributions = formats.read_arr_0(folder / 'modisco_contributions.npz').transpose(0, 2, 1)
        rows = store.rows(job.task)
        positive = np.flatnonzero(copy.corpus().labels[rows] == 1)
        stored = store.load(expected, job.index)['hypothetical'][positive]
        np.testing.assert_allclose(contributions, stored - stored.mean(axis=-1, keepdims=True), atol=1e-6)
        letters = formats.read_arr_0(folder / 'modisco_sequences.npz').transpose(0, 2, 1)
        assert np.abs((contributions * letters).sum(axis=-1)).max() > 0  # mutagenesis has 0 there before it is centred


def test_the_certificate_chooses_the_map_that_is_exported(tmp_path, run, capsys):
    copy = RunDirectory(tmp_path / 'run')
    shutil.copytree(run.path, copy.path)
    settings, store, corpus = match.MatchSettings(jaspar='JASPAR2016', filters=False), Explanations(copy), run.corpus()
    job = next(job for job in store.jobs() if job.task == OWN)
    rows = [('saliency', '0.9', '0.1'), ('mutagenesis', '0.9', '0.5'), ('integrated_gradients', '', '')]
    columns = ('task', 'spec', 'method', 'seqlet_recall', 'seqlet_fdr')
    table = [dict(zip(columns, (job.task, job.spec, *row), strict=True)) for row in rows]
    files.write_tsv(copy.tables / 'trust.tsv', table, columns)
    assert preferred.prefer(copy.tables, job.task, job.spec, preferred.BEST_FIRST) == (
        ('saliency', 'mutagenesis', 'integrated_gradients', 'deeplift'),
        preferred.CERTIFICATE,
    )
    assert preferred.prefer(copy.tables, 'another', job.spec, ['saliency', 'deeplift']) == (
        ('deeplift', 'saliency'),
        preferred.SIMULATIONS,
    )
    chosen = match.map_to_export(copy, store, job, settings)
    folder = copy.path / 'motifs' / files.safe_name(job.task) / job.spec
    folder.mkdir(parents=True, exist_ok=True)
    assert match.export_map(copy, store, corpus, job, chosen) and not match.export_map(copy, store, corpus, job, chosen)
    facts = files.read_json(folder / 'modisco.json')
    assert (facts['map'], facts['chosen_by']) == ('saliency', 'the certificate of trust')


def test_auto_takes_the_best_map_that_there_is(tmp_path, run):
    copy = RunDirectory(tmp_path / 'run')
    shutil.copytree(run.path, copy.path)
    store = Explanations(copy)
    for job in store.jobs():
        store.piece_path('mutagenesis', job.index).unlink()
    settings = match.MatchSettings(jaspar='JASPAR2016', filters=False, modisco_map='mutagenesis')
    with pytest.raises(InputError, match='has no map mutagenesis for TF-MoDISco, only deeplift, integrated_grad'):
        match.match_run(copy, settings, progress=False)
    match.match_run(copy, dataclasses.replace(settings, modisco=False), progress=False)  # nothing is asked of it
    match.match_run(copy, dataclasses.replace(settings, modisco_map='auto'), progress=False)
    assert files.read_json(copy.path / 'motifs' / OWN / 'small_cnn' / 'modisco.json')['map'] == 'deeplift'
    with pytest.raises(InputError, match="modisco_map is 'best', expected one of auto, mutagenesis, deepl"):
        match.MatchSettings(modisco_map='best')


def test_other_exports_are_read_back(run, tables):
    folder = run.path / 'motifs' / OWN / 'small_cnn'
    contributions, letters = (
        formats.read_arr_0(folder / f'modisco_{name}.npz') for name in ('contributions', 'sequences')
    )
    assert contributions.shape == letters.shape == (6, 4, 61)
    np.testing.assert_allclose(contributions.sum(axis=1), 0, atol=1e-5)  # centred
    assert len(formats.read_bed(folder / 'windows.bed')) == 7 * 6
    header = (folder / 'tomtom.tsv').read_text(encoding='utf-8').split('\n')[0]
    assert header.split('\t') == list(formats.TOMTOM_COLUMNS)


def test_matching_again_changes_nothing_and_reads_the_tables(run, tables, capsys):
    path = run.tables / 'table4_tasks.tsv'
    before = os.stat(path).st_mtime_ns
    again = match.match_run(run, match.MatchSettings(jaspar='JASPAR2016', chance_draws=2), progress=False)
    assert os.stat(path).st_mtime_ns == before
    assert set(again) == set(tables)
    assert [row['matches'] for row in again['table4_tasks'].rows] == [
        str(row['matches']) for row in tables['table4_tasks'].rows
    ]


def genome_run(path, site):
    """A task on a genome of C with a site on each strand, in windows of either strand, two of which share a site."""
    genome = np.full(600, 1, np.uint8)
    genome[100 : 100 + len(site)] = site
    genome[300 : 300 + len(site)] = dna.reverse_complement(site[None])[0]
    places = [('chr1', 80, 1), ('chr1', 280, -1), ('chr1', 90, 1)]
    tokens = [genome[start : start + 61] for _, start, _ in places]
    tokens[1] = dna.reverse_complement(tokens[1][None])[0]
    shuffle = np.full(61, 1, np.uint8)
    shuffle[7 : 7 + len(site)] = site  # has no place, so that no hit of it has one

    labels = np.array([1, 1, 1, 0], np.uint8)
    test = Records([*tokens, shuffle], labels, ['a', 'b', 'c', 'a shuffled'], intervals=[*places, (None, 0, 1)])
    windows = [genome[40 + number : 101 + number] for number in range(20)]
    train = Records(windows, np.arange(20) % 2, [f't{number}' for number in range(20)])
    corpus = build_corpus([TaskRecords(name, train, test) for name in (OWN, NONE)])
    jobs = make_jobs(corpus.tasks, SPECS[:1], Recipe())
    run = RunDirectory(path)
    run.create(corpus, {'corpus': {'source': 'bed'}, 'recipe': {'average_strands': False}}, jobs)
    for job in jobs:
        params = jax.tree.map(np.asarray, models.init(jax.random.key(0), models.SPECS[job.spec]))
        run.save_result(Finished(job.index, 0, 10, 1, 0.6, params), [])
    explain.explain_run(run, dataclasses.replace(SETTINGS, pieces=('saliency',)), progress=False)
    return run


def test_hits_of_own_matrices_are_written_as_bed_on_the_genome(tmp_path):
    matrix = jaspar.load_matrices('JASPAR2016')['MA0035.3']
    run = genome_run(tmp_path / 'run', matrix.probabilities.argmax(axis=1).astype(np.uint8))
    match.match_run(run, match.MatchSettings(jaspar='JASPAR2016', filters=False), progress=False)
    width = len(matrix.probabilities)
    points = round(-100 * np.log10(4.0**-width))  # no word scores more than the likeliest
    name = f'MA0035.3:{matrix.name}'
    assert formats.read_bed(run.path / 'motifs' / OWN / 'jaspar_hits.bed') == [
        ('chr1', 100, 100 + width, name, points, '+'),
        ('chr1', 300, 300 + width, name, points, '-'),
    ]
    assert (run.path / 'motifs' / files.safe_name(NONE) / 'jaspar_hits.bed').read_bytes() == b''  # has no matrix


def hit_files(run):
    """The hits of each task, by file."""
    return {path: path.read_text() for path in sorted(run.path.glob('motifs/*/jaspar_hits.bed'))}


def test_hits_within_sequences_are_those_of_the_page(run, tables):
    corpus, collector = run.corpus(), Collector(run, record.all_tables())
    assert len(hit_files(run)) == 2
    strands = set()
    for task in (OWN, NONE):
        data = collector.task(task, windows=False)
        (motif,) = data.own
        scanner = scan.prepare_scanner(data.own[motif].probabilities)
        expected, name = [], f'{motif}:{data.own[motif].name}'
        for at, row in enumerate(Explanations(run).rows(task)):
            shown = [(start, strand) for start, strand, _, _ in data.hits[motif].of_row(at)]
            letters = dna.encode(corpus.sequence(row))
            both = {1: letters, -1: dna.reverse_complement(letters[None])[0]}
            for start in range(61 - scanner.width + 1):
                places = {1: start, -1: 61 - scanner.width - start}
                scores = {
                    strand: scanner.scores[np.arange(scanner.width), both[strand][place : place + scanner.width]].sum()
                    for strand, place in places.items()
                }
                strand = max(scores, key=scores.get)
                p = float(scanner.p_value(scores[strand]))
                assert ((start, strand) in shown) == (p <= 1e-4)
                if p <= 1e-4:
                    expected.append(
                        (
                            corpus.name(row),
                            start,
                            start + scanner.width,
                            name,
                            round(-100 * np.log10(p)),
                            '+' if strand > 0 else '-',
                        )
                    )
        bed = formats.read_bed(run.path / 'motifs' / files.safe_name(task) / 'jaspar_hits.bed')
        assert bed == sorted(expected)
        strands |= {row.strand for row in bed}
    assert strands == {'+', '-'}


def test_hits_are_made_anew_alone_where_they_are_missing_or_of_another_p_value(tmp_path, run, tables, monkeypatch):
    shutil.copytree(run.path, tmp_path / 'copy')
    copy = RunDirectory(tmp_path / 'copy')
    usual = match.MatchSettings(jaspar='JASPAR2016', chance_draws=2)
    match.match_run(copy, usual, progress=False)  # the explanations have other times here
    before = hit_files(copy)
    others = {path: os.stat(path).st_mtime_ns for path in copy.path.glob('motifs/*/*/*')}
    # A run of which all but the hits was made.
    for path in before:
        path.unlink()
    done.Records(copy.path / 'motifs').forget('hits')
    again = match.match_run(copy, usual, progress=False)
    assert hit_files(copy) == before and set(again) == set(tables)
    times = {path: os.stat(path).st_mtime_ns for path in before}
    match.match_run(copy, usual, progress=False)
    assert {path: os.stat(path).st_mtime_ns for path in before} == times
    # Another p-value, and a kill while its hits are written.
    more = dataclasses.replace(usual, hit_p_value=1e-2)
    write_bed, calls = formats.write_bed, []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) > 1:
            raise KeyboardInterrupt
        write_bed(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(formats, 'write_bed', killed)
        with pytest.raises(KeyboardInterrupt):
            match.match_run(copy, more, progress=False)
    assert sum(hit_files(copy)[path] != text for path, text in before.items()) == 1
    match.match_run(copy, usual, progress=False)
    assert hit_files(copy) == before and Collector(copy, record.all_tables()).hit_p_value == 1e-4
    match.match_run(copy, more, progress=False)
    assert all(len(text) > len(before[path]) for path, text in hit_files(copy).items())
    assert Collector(copy, record.all_tables()).hit_p_value == 1e-2  # the page shows the hits of the file
    assert {path: os.stat(path).st_mtime_ns for path in copy.path.glob('motifs/*/*/*')} == others
    with pytest.raises(InputError, match='match: hit_p_value is 2'):
        dataclasses.replace(usual, hit_p_value=2)


@pytest.mark.parametrize(
    'name, expected',
    [
        ('CTCF_K562_(SC-98982)', 'CTCF_K562_(SC-98982)'),
        ('a/b c', 'a%2Fb%20c'),
        ('..', '%2E.'),
        ('', '%2E'),
        ('x"<é\n', 'x%22%3C%C3%A9%0A'),
    ],
)
def test_safe_names(name, expected):
    assert files.safe_name(name) == expected


def test_long_names_stay_apart():
    one, two = (files.safe_name('x' * 200 + end) for end in 'ab')
    assert one != two and len(one) == 150


def test_pair_tasks_have_a_table_of_their_own(tmp_path):
    matrices = {motif: m.probabilities for motif, m in jaspar.load_matrices('JASPAR2016').items()}
    names = ['GATA1_a', 'MYC_b', 'MAX_c', 'REST_d']
    corpus = simulate_corpus(
        names,
        matrices,
        task_motifs={'GATA1_a': 'MA0035.3', 'MYC_b': 'MA0147.2'},
        n_train=4,
        n_test=8,
        settings=SimulationSettings(pair_tasks=tuple(names[:2])),
    )
    run = RunDirectory(tmp_path / 'run')
    jobs = make_jobs(corpus.tasks, SPECS, Recipe())
    run.create(corpus, {'corpus': {'source': 'simulated'}, 'recipe': {'average_strands': False}}, jobs)
    for job in jobs:
        params = jax.tree.map(np.asarray, models.init(jax.random.key(job.index), models.SPECS[job.spec]))
        run.save_result(Finished(job.index, 0, 1, 1, 0.5, params), [])
    tables = evaluate.evaluate_run(run, evaluate.EvaluateSettings(5), progress=False)
    aurocs = {(row['task'], row['spec']): row['test_auroc'] for row in tables['auroc'].rows}
    for name, tasks in (('table3_pairs', names[:2]), ('table3_single', names[2:])):
        (row,) = tables[name].rows
        gaps = [aurocs[task, 'small_cnn'] - aurocs[task, 'small_rnn'] for task in tasks]
        assert row['n_tasks'] == 2 and row['comparison'] == 'CNN vs RNN'
        assert row['mean_difference'] == pytest.approx(np.mean(gaps))
        assert (run.tables / f'{name}.tsv').exists()
