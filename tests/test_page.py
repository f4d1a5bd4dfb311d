"""The page's data and the stage that writes it: the numbers on disk, hostile names, missing pieces."""

import json
import pathlib
import re
import shutil
import time

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.evaluation import compare
from demo_jax.io import files
from demo_jax.motifs import formats, jaspar, scan
from demo_jax.report import page, payload
from demo_jax.report.choose import choose_sequences
from demo_jax.report.collect import Collector
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.explanations import Explanations
from demo_jax.stages import record
from demo_jax.stages.evaluate import AUROC_COLUMNS
from demo_jax.stages.report import ReportSettings, draw_sequence, report_run
from demo_jax.training.jobs import Recipe, make_jobs
from tests import fake_run
from tests.helpers_commands import run_command
from tests.helpers_figures import pdfs_without_fonts


def read_script(path) -> tuple[str, dict]:
    """The key and value that a data file hands to the page, as JavaScript would read them."""
    text = path.read_text(encoding='utf-8')
    match = re.fullmatch(r'demo\.receive\("([\w-]+)",(.*)\);\n', text, re.DOTALL)
    return match.group(1), json.loads(match.group(2))


@pytest.fixture(scope='module')
def reported(tmp_path_factory):
    run = fake_run.make(tmp_path_factory.mktemp('run') / 'a run')
    with pdfs_without_fonts():  # `test_figures.py` has whole PDFs
        report_run(run, record.all_tables(), ReportSettings(sequences=12, dashboards=1), progress=False)
    return run


def test_packed_values_come_back_to_half_a_step():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 40)) * np.array([1e-6, 1, 50, 0, 1e4])[:, None]
    values[1, 3] = np.nan
    values[2, 5] = np.inf
    packed = payload.pack(values)
    found = payload.unpack(packed)
    assert np.isnan(found[1, 3]) and np.isnan(found[2, 5])
    good = np.isfinite(values)
    step = np.where(good, np.abs(values), 0).max(axis=1, keepdims=True) / payload.FULL
    assert (np.abs(found - values)[good] <= (0.5001 * step + 1e-300).repeat(40, 1)[good]).all()
    assert json.loads(json.dumps(packed)) == packed


def test_scripts_are_harmless_as_text():
    value = {'</script>': '<!-- & \u2028 \u2029 ü "\' ${x}', 'n': [1.5, None]}
    text = page.script('run', value)
    assert not set('<>&\u2028\u2029') & set(text)
    assert json.loads(text[len('demo.receive("run",') : -3]) == value
    with pytest.raises(ValueError):
        page.script('run', {'n': float('nan')})


@pytest.mark.parametrize('scripts', [page.SCRIPTS, page.LIBRARY_SCRIPTS])
def test_the_page_forbids_the_network_and_runs_nothing_inline(scripts):
    html = page.index_page(scripts)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html).group(1)
    rules = dict(rule.strip().split(' ', 1) for rule in policy.split(';'))
    assert rules['default-src'] == "'none'" and 'connect-src' not in rules
    assert all('http' not in rule and 'unsafe' not in rule and '*' not in rule for rule in rules.values())
    assert re.findall(r'<script(?! src="[\w.]+"></script>)', html) == [] and ' style=' not in html
    assert not re.search(r'\son\w+=', html)
    for name in scripts:
        code = page.asset(name)
        assert f'src="{name}"' in html
        for unsafe in ('innerHTML', 'outerHTML', 'insertAdjacentHTML', 'document.write', 'eval(', 'new Function'):
            assert unsafe not in code
        assert 'http' not in code.replace('http://www.w3.org/2000/svg', '')


def test_the_page_holds_the_numbers_on_disk(reported):
    corpus, store = reported.corpus(), Explanations(reported)
    key, task = read_script(reported.path / 'dashboard' / 'data' / 'task-0000.js')
    assert (key, task['name']) == ('task-0000', fake_run.PLAIN)
    assert len(task['sequences']) == 12 and task['n_test'] == 2 * fake_run.N_TEST
    rows = store.rows(fake_run.PLAIN)
    at = [int(np.flatnonzero(rows == item['row'])[0]) for item in task['sequences']]
    one_hot = dna.one_hot(corpus.padded(rows))
    jobs = [job for job in store.jobs() if job.task == fake_run.PLAIN]
    for model, job in zip(task['models'], jobs, strict=True):
        saved = store.load('saliency', job.index)
        signed = (saved['hypothetical'] * one_hot).sum(-1)
        shown = payload.unpack(model['tracks']['saliency'])
        assert model['spec'] == job.spec and 'integrated_gradients' not in model['tracks']
        for place, index in enumerate(at):
            length = len(task['sequences'][place]['letters'])
            np.testing.assert_allclose(shown[place, :length], signed[index, :length], atol=2e-5 * abs(signed).max())
            assert np.isnan(shown[place, length:]).all()
        np.testing.assert_allclose(
            [item['scores'][task['models'].index(model)] for item in task['sequences']], saved['score'][at], rtol=1e-5
        )
        signed = store.load('mutagenesis', job.index)['signed']
        shown = payload.unpack(model['tracks']['mutagenesis'])
        np.testing.assert_allclose(shown[0, :50], signed[at[0], :50], atol=1e-4)
        best = store.load('class_optimisation', job.index)['matrix'][1]
        np.testing.assert_allclose(model['optimum'], best, atol=6e-4)
    cnn, rnn = task['models']
    assert cnn['forward'] is None
    saved = store.load('temporal', jobs[1].index)
    shown = payload.unpack(rnn['forward'])
    assert np.isnan(shown[:, :3]).all()
    np.testing.assert_allclose(shown[0, 3:50], saved['forward'][at[0], 3:50], atol=1e-4)
    for item in task['sequences']:
        assert item['letters'] == corpus.sequence(item['row']) and item['name'] == corpus.name(item['row'])
        assert item['label'] == corpus.labels[item['row']]


def test_the_page_holds_hits_matches_and_windows(reported):
    corpus = reported.corpus()
    _, task = read_script(reported.path / 'dashboard' / 'data' / 'task-0000.js')
    own = files.read_json(reported.path / 'motifs' / 'own.json')['tasks'][fake_run.PLAIN]
    assert [matrix['id'] for matrix in task['own']] == own and own
    matrices = jaspar.load_matrices()
    assert [matrix['consensus'] for matrix in task['own']] == [matrices[motif].consensus for motif in own]
    papers = {matrix['id'].partition('.')[0]: matrix['paper'] for matrix in task['own']}
    assert papers['MA0139'] == 'JASPAR2016: MA0139.1 TggCCACcAGGGGGCGCta'
    assert papers['MA1929'] is None  # 2016 has no matrix of this id
    assert {matrix['reached'] for matrix in task['own']} == {None}
    assert (task['protein'], task['protein_how']) == ('CTCF', 'from the table of the 108 tasks')
    for item in task['sequences']:
        tokens = dna.encode(item['letters'])[None]
        for number, motif in enumerate(own):
            found = scan.find_hits(scan.prepare_scanner(matrices[motif].probabilities), tokens)
            shown = {(start, stop) for start, stop, _, place, _, _ in item['hits'] if place == number}
            assert shown == {(start, start + found.width) for start in found.start.tolist()}
    model = task['models'][0]
    (query,) = [motif for motif in model['motifs'] if motif['method'] == 'saliency']
    folder = reported.path / 'motifs' / fake_run.PLAIN / 'medium_cnn'
    np.testing.assert_allclose(query['matrix'], formats.read_meme(folder / 'motifs.meme')['saliency'], atol=6e-4)
    assert (query['verdict'], query['agree']) == ('motif', [7, fake_run.N_TEST])
    best = files.read_tsv(folder / 'tomtom.tsv')[0]
    match = query['matches'][0]
    assert (match['target'], match['offset'], match['strand']) == (best['Target_ID'], 3, '+') == (own[0], 3, '+')
    assert match['p'] == float(best['p-value']) and match['q'] == float(best['q-value'])
    np.testing.assert_allclose(task['targets'][own[0]]['matrix'], matrices[own[0]].probabilities, atol=6e-4)
    windows = {row['row']: int(row['start']) for row in files.read_tsv(folder / 'windows.tsv')}
    for place, item in enumerate(task['sequences']):
        assert model['windows']['saliency'][place] == windows.get(str(item['row']))
    assert len(corpus.tasks) == 2


def test_a_flat_pile_has_no_match_to_show(reported):
    """It does have matches, which is what flat columns are like; those of a clear motif are shown."""
    folder = reported.path / 'motifs' / fake_run.PLAIN / 'medium_cnn'
    matched = {row['Query_ID'] for row in files.read_tsv(folder / 'tomtom.tsv')}
    assert matched == {'saliency', 'integrated_gradients'}
    _, task = read_script(reported.path / 'dashboard' / 'data' / 'task-0000.js')
    shown = {motif['method']: motif for motif in task['models'][0]['motifs']}
    flat = shown['integrated_gradients']
    assert (flat['verdict'], flat['matches'], flat['agree']) == ('none', [], [0, fake_run.N_TEST])
    assert 0 < flat['bits'] < 0.1 and len(flat['matrix']) == 9
    assert shown['saliency']['matches'] and shown['saliency']['bits'] >= 6
    clear = shown['mutagenesis']
    assert (clear['verdict'], clear['agree'], clear['matches']) == ('motif', None, []) and clear['bits'] >= 6
    _, run = read_script(reported.path / 'dashboard' / 'data' / 'run.js')
    assert run['motif_rule'] == {'columns': 6, 'bits': 6.0, 'one_in': 1000}


def test_motifs_of_an_earlier_version_are_judged_too(reported, tmp_path):
    """A run whose motifs were matched before piles were judged has no motifs.tsv; nobody counted what agrees."""
    copy = RunDirectory(tmp_path / 'run')
    shutil.copytree(reported.path, copy.path)
    judged = copy.path / 'motifs' / fake_run.PLAIN / 'medium_cnn' / 'motifs.tsv'
    text = judged.read_text(encoding='utf-8')
    judged.unlink()
    data = Collector(copy, record.all_tables()).task(fake_run.PLAIN)
    assert data.specs[0].agree == {}
    model = payload.task_payload(Collector(copy, record.all_tables()), data, sequences=2)['models'][0]
    shown = {motif['method']: motif for motif in model['motifs']}
    assert shown['saliency']['matches'] and shown['saliency']['agree'] is None
    assert (shown['integrated_gradients']['matches'], shown['integrated_gradients']['verdict']) == ([], 'none')
    judged.write_text(text.replace('\t7\t', '\tseven\t'), encoding='utf-8')
    with pytest.raises(InputError, match="motifs.tsv: line 2: agree is 'seven', expected a whole number"):
        Collector(copy, record.all_tables()).task(fake_run.PLAIN)


def test_roc_and_curves_are_those_of_the_scores(reported):
    from sklearn.metrics import roc_auc_score

    _, task = read_script(reported.path / 'dashboard' / 'data' / 'task-0000.js')
    corpus = reported.corpus()
    labels = np.asarray(corpus.labels[corpus.rows(fake_run.PLAIN, 'test')])
    for number, line in enumerate(task['roc']):
        scores = np.load(reported.path / 'predictions' / f'{2 * number:05d}.npy', allow_pickle=False)
        np.testing.assert_allclose(np.trapezoid(line['y'], line['x']), roc_auc_score(labels, scores), atol=1e-3)
        assert abs(line['auroc'] - roc_auc_score(labels, scores)) < 1e-4
    assert [len(line['valid_auroc']) for line in task['curves']] == [3, 3]


def test_hostile_names_and_dead_models(reported):
    _, run = read_script(reported.path / 'dashboard' / 'data' / 'run.js')
    assert [task['name'] for task in run['tasks']] == [fake_run.PLAIN, fake_run.HOSTILE]
    assert run['tasks'][1]['auroc'][1] is None and run['missing'] == []
    _, task = read_script(reported.path / 'dashboard' / 'data' / 'task-0001.js')
    assert [model['spec'] for model in task['models']] == ['medium_cnn']  # the other one diverged
    assert task['own'] == [] and len(task['roc']) == 1
    assert any('<img' in item['name'] for item in task['sequences'])
    for path in (reported.path / 'dashboard' / 'data').iterdir():
        assert '<' not in path.read_text(encoding='utf-8')
    drawn = reported.path / 'figures' / 'dashboards' / files.safe_name(fake_run.HOSTILE)
    assert sorted(path.suffix for path in drawn.iterdir()) == ['.pdf', '.png', '.svg']


#: task, spec, validation and test AUROC: the best by test is never the best by validation, and a baseline beats both.
RATINGS = (
    (fake_run.PLAIN, 'medium_cnn', 0.91, 0.71),
    (fake_run.PLAIN, 'medium_cnn_rnn', 0.90, 0.95),
    (fake_run.HOSTILE, 'medium_cnn', 0.80, 0.97),
    (fake_run.HOSTILE, 'medium_cnn_rnn', 0.85, 0.65),
    (fake_run.PLAIN, 'em_motifs_sum', 0.99, 0.99),
    (fake_run.HOSTILE, 'em_motifs_sum', 0.99, 0.99),
)


def rated(run, ratings=RATINGS, chosen=True):
    """The overview of a run whose models have these AUROCs, as the page is given it."""
    names = ('task', 'spec', 'valid_auroc', 'test_auroc')
    rows = [dict(zip(names, rating, strict=True)) | {'seed': 0, 'status': 'ok'} for rating in ratings]
    jobs = {(job.task, job.spec): job for job in run.jobs()}
    for row in rows:
        if (row['task'], row['spec']) in jobs:
            job = jobs[row['task'], row['spec']]
            row |= {'learning_rate': job.learning_rate, 'dropout': job.dropout}
    files.write_tsv(run.tables / 'auroc.tsv', rows, AUROC_COLUMNS)
    for name, table in (('table2', compare.table2(rows)), ('published', compare.beside_published(rows))):
        files.write_tsv(run.tables / f'{name}.tsv', table.rows if name == 'table2' or chosen else [], table.columns)
    return payload.run_payload(Collector(run, record.all_tables()), title='x', made=())


def test_the_first_number_is_the_test_auroc_of_what_validation_chose(tmp_path):
    run = fake_run.make(tmp_path / 'run', matched=False, explained=False)
    shown = rated(run)
    assert max(row['mean'] for row in shown['tables'][0]['rows'] if row['kind'] == 'cnn') == pytest.approx(0.84)
    assert shown['headline'] == {'mean': pytest.approx((0.71 + 0.65) / 2), 'n_tasks': 2, 'spec': None}
    assert [task['chosen'] for task in shown['tasks']] == ['medium_cnn', 'medium_cnn_rnn']
    # Other test scores change no choice.
    other = rated(run, [(task, spec, valid, round(1.6 - test, 3)) for task, spec, valid, test in RATINGS])
    assert [task['chosen'] for task in other['tasks']] == ['medium_cnn', 'medium_cnn_rnn']
    assert other['headline']['mean'] == pytest.approx((0.89 + 0.95) / 2)


def test_of_one_spec_the_first_number_is_its_mean(tmp_path):
    run = fake_run.make(tmp_path / 'run', matched=False, explained=False)
    one = [rating for rating in RATINGS if rating[1] != 'medium_cnn']
    expected = {'mean': pytest.approx(0.8), 'n_tasks': 2, 'spec': 'medium_cnn_rnn'}
    assert rated(run, one)['headline'] == expected
    assert rated(run, [rating for rating in RATINGS if 'motifs' in rating[1]])['headline'] is None  # no model of ours
    assert rated(run, [])['headline'] is None


def test_own_motifs_are_those_of_the_model_that_validation_chose(tmp_path):
    run = fake_run.make(tmp_path / 'run', matched=False)  # the second task's CNN-RNN is not explained
    counts = {
        (fake_run.PLAIN, 'medium_cnn'): 2,
        (fake_run.PLAIN, 'medium_cnn_rnn'): 9,
        (fake_run.HOSTILE, 'medium_cnn'): 5,
    }
    rows = [
        {'task': task, 'spec': spec, 'method': method, 'matches': matches + (method == 'mutagenesis'), 'out_of': 10}
        for (task, spec), matches in counts.items()
        for method in ('saliency', 'mutagenesis')
    ]
    files.write_tsv(run.tables / 'table4_tasks.tsv', rows, ('task', 'spec', 'method', 'matches', 'out_of'))
    plain, hostile = rated(run)['tasks']
    assert (plain['own'], plain['own_spec']) == (0.2, 'medium_cnn')  # not the 0.9 of the other
    assert hostile['chosen'] == 'medium_cnn_rnn' and (hostile['own'], hostile['own_spec']) == (0.5, 'medium_cnn')
    # A chosen spec that is not explained: the best by validation of those that are.
    third = [*RATINGS, (fake_run.PLAIN, 'large_cnn', 0.95, 0.5)]
    plain = rated(run, third)['tasks'][0]
    assert (plain['chosen'], plain['own'], plain['own_spec']) == ('large_cnn', 0.2, 'medium_cnn')
    plain, hostile = rated(run, [], chosen=False)['tasks']
    assert (plain['own'], plain['own_spec']) == (None, None)  # nothing says which of the two
    assert (hostile['own'], hostile['own_spec']) == (0.5, 'medium_cnn')


def test_what_is_missing_is_left_out_and_said(tmp_path):
    run = fake_run.make(tmp_path / 'run', matched=False, explained=False, source='simulated')
    with pdfs_without_fonts():
        index = report_run(run, record.all_tables(), progress=False)
    _, shown = read_script(index.parent / 'data' / 'run.js')
    assert [re.search('stage ([a-z]+)', line).group(1) for line in shown['missing']] == ['explain', 'match']
    _, task = read_script(index.parent / 'data' / 'task-0000.js')
    assert task['sequences'] == [] and task['own'] is None and len(task['roc']) == 2
    assert not (run.path / 'figures' / 'auroc_vs_published.png').exists()  # a simulation
    assert not (run.path / 'figures' / 'position_profile.png').exists()
    assert (run.path / 'figures' / 'table2.pdf').exists()
    with pytest.raises(InputError, match='run the stage explain'):
        draw_sequence(run, record.all_tables(), fake_run.PLAIN, 3)


def test_a_damaged_piece_is_named(tmp_path):
    run = fake_run.make(tmp_path / 'run', matched=False)
    path = Explanations(run).piece_path('mutagenesis', 0)
    path.write_bytes(path.read_bytes()[:200])
    collector = Collector(run, record.all_tables())
    data = collector.task(fake_run.PLAIN)
    assert 'mutagenesis' not in data.specs[0].tracks and 'mutagenesis' in data.specs[1].tracks
    assert any('mutagenesis' in line and 'cannot be read' in line for line in collector.missing)


def test_nothing_is_drawn_twice(reported):
    def times():
        paths = [*(reported.path / 'dashboard').rglob('*'), *(reported.path / 'figures').rglob('*')]
        return {path: path.stat().st_mtime_ns for path in paths if path.is_file()}

    settings = ReportSettings(sequences=12, dashboards=1)
    before = times()
    table = reported.tables / 'table2.tsv'
    time.sleep(0.01)
    table.write_bytes(table.read_bytes())  # the stage evaluate writes its tables anew each time
    report_run(reported, record.all_tables(), settings, progress=False)
    assert times() == before
    history = reported.path / 'history.tsv'
    history.write_text(history.read_text().replace('\t0.5\n', '\t0.625\n'))
    report_run(reported, record.all_tables(), settings, progress=False)
    after = times()
    changed = {path.name for path in before if before[path] != after[path]}
    assert {'task-0000.js', 'run.js', 'training_curves.png'} <= changed
    assert not any(path.parent.parent.name == 'dashboards' for path in before if before[path] != after[path])
    _, task = read_script(reported.path / 'dashboard' / 'data' / 'task-0000.js')
    assert task['curves'][0]['valid_auroc'] == [0.625] * 3


def test_each_job_of_a_grid_has_a_rating_of_its_own(tmp_path):
    run = fake_run.make(tmp_path / 'run', matched=False, explained=False)
    jobs = make_jobs(run.corpus().tasks, fake_run.SPECS, Recipe(), seeds=(0, 1), learning_rates=(1e-3, 3e-3))
    rows = [{name: getattr(job, name) for name in AUROC_COLUMNS[:5]} | {'test_auroc': job.index / 100} for job in jobs]
    files.write_tsv(run.tables / 'auroc.tsv', [row | {'status': 'ok'} for row in rows], AUROC_COLUMNS)
    collector = Collector(run, record.all_tables())
    assert len(jobs) == 16
    assert [float(collector.rating(job)['test_auroc']) for job in jobs] == [job.index / 100 for job in jobs]


def test_tensorboard_has_the_pictures_and_the_models(reported):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = reported.path / 'tensorboard' / 'report'
    events = EventAccumulator(str(folder), size_guidance={'images': 0})
    events.Reload()
    tags = events.Tags()['images']
    assert {'overview/table2', 'overview/position_profile'} <= set(tags)
    assert sum(tag.startswith('dashboards/') for tag in tags) == 2
    (tag,) = [tag for tag in tags if tag.startswith(f'dashboards/{fake_run.PLAIN}/')]
    (image,) = events.Images(tag)
    (path,) = (reported.path / 'figures' / 'dashboards' / fake_run.PLAIN).glob('*.png')
    assert image.encoded_image_string == path.read_bytes() and image.width == 1260
    models = sorted(path.name for path in (folder / 'models').iterdir())
    assert models == ['00000', '00001', '00002']  # the fourth has diverged
    scalars = EventAccumulator(str(folder / 'models' / '00002'))
    scalars.Reload()
    assert scalars.Scalars('test_auroc')[0].value == pytest.approx(0.82)
    assert 'hparams' in scalars.summary_metadata['_hparams_/session_start_info'].plugin_data.plugin_name


def test_one_sequence_on_demand(reported):
    row = int(Explanations(reported).rows(fake_run.PLAIN)[4])
    path = draw_sequence(reported, record.all_tables(), fake_run.PLAIN, row)
    assert path.name == f'row{row:06d}.png' and path.with_suffix('.svg').is_file()
    with pytest.raises(InputError, match='row 0 is not an explained sequence'):
        draw_sequence(reported, record.all_tables(), fake_run.PLAIN, 0)
    with pytest.raises(InputError, match="no task 'CTC'"):
        draw_sequence(reported, record.all_tables(), 'CTC', row)


def test_settings_are_checked():
    for bad in ({'sequences': 0}, {'dashboards': -1}, {'page_megabytes': 0.0}):
        with pytest.raises(InputError, match='dashboard: ' + next(iter(bad))):
            ReportSettings(**bad)


def test_a_page_that_would_be_too_large_shows_fewer_sequences(reported):
    from demo_jax.stages.report import _affordable

    collector = Collector(reported, record.all_tables())
    each = payload.bytes_per_sequence(collector)
    # Four tracks of three models, and two temporal scores of one of them.
    assert each == pytest.approx(14 * fake_run.LENGTH * 8 / 3 + 2 * (fake_run.LENGTH + 300))
    scripts = [(reported.path / 'dashboard' / 'data' / f'{page.task_key(place)}.js') for place in (0, 1)]
    size = sum(len(path.read_bytes()) for path in scripts)
    assert 12 * each < size + 2 * 3 * 12 * 3 * fake_run.LENGTH * 8 / 3  # here two of the four tracks are missing
    assert _affordable(collector, ReportSettings(sequences=50)) == 50 and not collector.missing
    rest = payload.bytes_without_sequences(collector)
    one = json.dumps(payload.task_payload(collector, collector.task(fake_run.PLAIN), sequences=1))
    assert 0.8 * 2 * len(one) - each < rest < 2 * len(one)
    assert _affordable(collector, ReportSettings(sequences=50, page_megabytes=(10.5 * each + rest) / 0.95e6)) == 10
    assert 'At most 10 sequences' in collector.missing[0]


def test_the_command_prints_the_page_last(reported):
    def call(*arguments):
        return run_command('dashboard', f'--run={reported.path}', *arguments)

    done = call('--sequences=3', '--set=dashboards=1', f'--out={reported.path / "elsewhere"}')
    assert done.status == 0, done.err
    index = pathlib.Path(done.out.splitlines()[-1].removeprefix('dashboard: '))
    assert index == reported.path / 'elsewhere' / 'index.html' and index.is_file()
    assert len(read_script(index.parent / 'data' / 'task-0000.js')[1]['sequences']) == 3
    failed = call(f'--figure={fake_run.PLAIN}:x')
    assert failed.status == 2 and 'expected TASK:ROW' in failed.err and 'Traceback' not in failed.err


def test_sequences_worth_a_look():
    rng = np.random.default_rng(0)
    labels = np.array([1] * 40 + [0] * 10)
    scores = rng.normal(size=(3, 50))
    chosen = choose_sequences(scores, labels, 20)
    assert len(chosen) == 20 and sum(labels[at] == 0 for at in chosen) == 4
    by_reason = {}
    for at, why in chosen.items():
        by_reason.setdefault(why, []).append(at)
    mean = scores.mean(0)
    assert by_reason['high score'] == np.argsort(-mean[:40], kind='stable')[:6].tolist()
    assert set(by_reason['low score']) == set(np.argsort(mean[:40], kind='stable')[:6].tolist())
    assert by_reason['false alarm'] == (40 + np.argsort(-mean[40:], kind='stable')[:2]).tolist()
    rest = [at for at in range(40) if at not in by_reason['high score'] + by_reason['low score']]
    spread = np.tanh(scores / 2).std(0)
    assert by_reason['disputed'] == sorted(rest, key=lambda at: -spread[at])[:4]
    assert len(choose_sequences(scores, labels, 500)) == 50
    assert sum(labels[at] for at in choose_sequences(scores[:, :44], labels[:44], 40)) == 36  # no more negatives
    assert choose_sequences(scores[:, :3], labels[:3], 50).keys() == {0, 1, 2}
    assert choose_sequences(np.zeros((0, 5)), labels[:5], 50) == {}


def test_package_holds_every_file_of_the_page():
    for name in page.ASSETS:
        assert page.asset(name).strip()


def test_what_was_guessed_while_matching_is_on_the_page(tmp_path):
    run = fake_run.make(tmp_path / 'run')
    path = run.path / 'motifs' / 'own.json'
    before = files.read_json(path)
    collector = Collector(run, record.all_tables())
    assert collector.protein(fake_run.HOSTILE).found == 'first word'  # as an earlier version matched it
    told = {'symbol': 'MAX', 'found': 'told', 'others': []}
    files.write_json(path, before | {'notes': ['Planted elsewhere.'], 'proteins': {fake_run.HOSTILE: told}})
    collector = Collector(run, record.all_tables())
    assert 'Planted elsewhere.' in collector.missing
    assert collector.protein(fake_run.HOSTILE) == ('MAX', 'told', ())
    for wrong in ({'notes': 'text'}, {'notes': [1]}, {'proteins': []}):
        files.write_json(path, before | wrong)
        with pytest.raises(InputError, match='is not what the stage match writes'):
            Collector(run, record.all_tables())
