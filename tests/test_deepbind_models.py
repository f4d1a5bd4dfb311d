"""DeepBind's published models: files, scores against a plain NumPy scorer and the tool's own, commands."""

import dataclasses
import itertools
import os
import pathlib
import shutil
import tarfile
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import demo_jax
from demo_jax import dna
from demo_jax.data import deepbind_models
from demo_jax.errors import InputError
from demo_jax.evaluation.metrics import auroc
from demo_jax.explain.class_optimisation import ClassOptimisationSettings
from demo_jax.io import files
from demo_jax.motifs.detectors import detector_motifs
from demo_jax.motifs.jaspar import load_matrices
from demo_jax.nn import deepbind
from demo_jax.nn.deepbind import PUBLISHED, Shape
from demo_jax.predict.deepbind import mutagenesis
from demo_jax.predict.run import load_run
from demo_jax.report.page import LIBRARY_ASSETS
from demo_jax.runs.directory import RunDirectory
from demo_jax.stages.deepbind import LibrarySettings, describe_library
from demo_jax.stages.evaluate import EvaluateSettings, evaluate_run
from demo_jax.stages.published_models import enter, with_published
from demo_jax.training.jobs import Recipe, make_jobs
from tests.helpers import small_corpus
from tests.helpers_commands import run_command

#: With and without the other strand, means and a hidden layer.
SHAPES = [
    Shape(7, 3, True, False, 0),
    Shape(4, 3, True, True, 5),
    Shape(6, 3, False, True, 0),
    Shape(4, 3, False, False, 5),
]
SEQUENCES = ['ACGTTGCATTACGGATCCA', 'GATTNNACAGGNT', 'ACG', 'T', 'CCGGTTAACCAAGGAACCTTAGACCAGATAT', 'NNNNNNNNNN']


def make_values(shape: Shape, seed: int) -> dict[str, np.ndarray]:
    """The arrays of a parameter file, as the format has them."""
    rng = np.random.default_rng(seed)
    n, hidden = shape.n_detectors, shape.n_hidden
    features = n * (2 if shape.averages else 1)
    sizes = {
        'detectors': shape.detector_len * 4 * n,
        'thresholds': n,
        'weights1': features * (hidden or 1),
        'biases1': hidden or 1,
        'weights2': hidden,
        'biases2': int(hidden > 0),
    }
    return {name: rng.normal(size=size) for name, size in sizes.items()}


def write_model(path: pathlib.Path, shape: Shape, values: dict[str, np.ndarray], end: str = '\r\n') -> None:
    """A parameter file."""
    counts = {
        'reverse_complement': int(shape.both_strands),
        'num_detectors': shape.n_detectors,
        'detector_len': shape.detector_len,
        'has_avg_pooling': int(shape.averages),
        'num_hidden': shape.n_hidden,
    }
    lines = ['# deepbind 0.1', *(f'{name} = {value}' for name, value in counts.items())]
    lines += [f'{name} = {",".join(f"{value:.9e}" for value in array)}' for name, array in values.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(end.join(lines) + end, newline='')


def plain_score(shape: Shape, values: dict[str, np.ndarray], letters: str, window: int | None) -> float:
    """What the tool says, position by position: its own loops over strands, windows, positions and detectors."""
    columns = {'A': 0, 'C': 1, 'G': 2, 'T': 3}
    rows = np.full((len(letters), 4), 0.25)
    for i, letter in enumerate(letters):
        if letter in columns:
            rows[i] = np.eye(4)[columns[letter]]
    turned = rows[::-1, ::-1]
    n, d = shape.n_detectors, shape.detector_len
    detectors = values['detectors'].reshape(d, 4, n)

    def of(part: np.ndarray) -> float:
        responses = []
        for position in range(-d + 1, len(part)):
            sums = values['thresholds'].copy()
            for i in range(d):
                at = position + i
                sums += (part[at] if 0 <= at < len(part) else np.full(4, 0.25)) @ detectors[i]
            responses.append(np.maximum(sums, 0))
        features = np.max(responses, axis=0)
        if shape.averages:
            features = np.stack([features, np.mean(responses, axis=0)], axis=1).ravel()
        if not shape.n_hidden:
            return float(features @ values['weights1'] + values['biases1'][0])
        units = features @ values['weights1'].reshape(-1, shape.n_hidden) + values['biases1']
        return float(np.maximum(units, 0) @ values['weights2'] + values['biases2'][0])

    window = len(rows) if window is None else min(window, len(rows))
    scores = []
    for strand in (rows, turned) if shape.both_strands else (turned,):
        scores += [of(strand[start : start + window]) for start in range(len(strand) - window + 1)]
    return max(scores)


def write_library(folder: pathlib.Path) -> dict[str, tuple[Shape, dict[str, np.ndarray]]]:
    """A folder of one model per shape; returns shapes and arrays by id."""
    columns = ('ID', 'Protein', 'Type', 'Species', 'Family', 'Class', 'Experiment', 'Experiment Details', 'Labels')
    lines, made = ['# made up', '\t'.join(columns)], {}
    for number, shape in enumerate(SHAPES, start=1):
        name = f'D{number:05}.001'
        rna = not shape.both_strands
        cells = (
            name,
            f'PROT{number}',
            'RBP' if rna else 'TF',
            'Homo sapiens',
            'RRM' if rna else 'C2H2 ZF,Homeodomain',
            '',
            'RNAcompete' if rna else 'ChIP-seq',
            "['CellLine=K562','Lab=A']",
            '',
        )
        lines.append('\t'.join(cells))
        made[name] = (shape, make_values(shape, number))
        write_model(folder / 'params' / f'{name}.txt', *made[name])
    lines.append('\t'.join(('D00900.001', 'OLD', 'TF', 'Homo sapiens', '', '', 'SELEX', '[]', 'deprecated')))
    (folder / 'db.tsv').write_text('\n'.join(lines) + '\n')
    return made


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    """A folder of made-up models, and what is in them."""
    folder = tmp_path_factory.mktemp('deepbind')
    return folder, write_library(folder)


def tool_differences(models: Sequence[Any], reference: pathlib.Path, *, windows: bool) -> np.ndarray:
    """How far the scores (M, 24) are from those that version 0.11 of the tool prints."""
    texts = (reference / 'deepbind_v011_sequences.txt').read_text().split()
    rows = files.read_tsv(reference / 'deepbind_v011_scores.tsv')
    column = 'default_window' if windows else 'whole_sequence'
    printed = {(row['model'], int(row['sequence'])): float(row[column]) for row in rows}
    tokens, lengths = models[0].encode(texts)
    found = deepbind.score_models([m.score for m in models], [m.params for m in models], tokens, lengths)
    return np.abs(found - [[printed[model.spec, i] for i in range(len(texts))] for model in models])


@pytest.mark.parametrize('windows', [True, False])
def test_scores_are_those_of_a_plain_scorer(library, windows):
    """Every shape: stacked, alone, and as a function of letters, for sequences shorter and longer than a window."""
    folder, made = library
    models = demo_jax.load_deepbind(folder, windows=windows).select()
    assert [model.spec for model in models] == list(made)
    tokens, lengths = models[0].encode(SEQUENCES)
    scores = [model.score for model in models]
    found = deepbind.score_models(scores, [model.params for model in models], tokens, lengths)
    for row, model in zip(found, models, strict=True):
        shape, values = made[model.spec]
        wanted = [plain_score(shape, values, text, shape.window if windows else None) for text in SEQUENCES]
        np.testing.assert_allclose(row, wanted, atol=1e-4)
        np.testing.assert_allclose(model.predict(SEQUENCES).score, wanted, atol=1e-4)
        x = dna.one_hot(tokens)
        np.testing.assert_allclose(jax.jit(model.score)(model.params, x, lengths), wanted, atol=1e-4)


def test_explanations_are_of_the_score(library):
    """A gradient is the slope of the score, a mutant's entry the change of the predicted score."""
    folder, made = library
    model = demo_jax.load_deepbind(folder)['D00002.001']
    text = SEQUENCES[4]
    x = jnp.asarray(dna.one_hot(dna.encode(text)))[None]
    score = jax.jit(lambda x: model.score(model.params, x))
    gradient = jax.jit(jax.grad(lambda x: score(x).sum()))(x)
    direction = np.random.default_rng(0).normal(size=x.shape)
    step = 1e-3 * direction
    slope = (score(x + step) - score(x - step)) / 2e-3
    np.testing.assert_allclose(slope[0], (gradient * direction).sum(), rtol=2e-2)
    maps = model.mutagenesis([text])
    mutant = text[:9] + ('A' if text[9] != 'A' else 'C') + text[10:]
    letter = 'ACGT'.index(mutant[9])
    change = plain_score(*made[model.spec], mutant, model.score.shape.window) - plain_score(
        *made[model.spec], text, model.score.shape.window
    )
    np.testing.assert_allclose(maps.hypothetical[0][9, letter], change, atol=1e-4)
    others = demo_jax.load_deepbind(folder).select('D00001.001', 'D00002.001')
    together = mutagenesis(others, [text, 'ACGTN'])[1]
    np.testing.assert_allclose(together.hypothetical[0], maps.hypothetical[0], atol=1e-5)
    np.testing.assert_allclose(together.signed[0], maps.signed[0], atol=1e-5)
    assert [row.shape for row in together.hypothetical] == [(len(text), 4), (5, 4)] and together.signed[1][4] == 0
    settings = ClassOptimisationSettings(steps=5)
    assert model.class_optimise(length=20, restarts=2, settings=settings).matrix.shape == (20, 4)


def test_models_are_chosen_by_words(library):
    """Ids, proteins, kinds, families, experiments; '+' joins; the nearest are named where there is none."""
    index = deepbind_models.read_index(library[0])
    names = {
        word: [entry.id for entry in index.select([word])]
        for word in ('d00002.001', 'prot3', 'RBP', 'homeodomain', 'K562+chip-seq')
    }
    assert names['d00002.001'] == ['D00002.001'] and names['prot3'] == ['D00003.001']
    assert names['RBP'] == [f'D{n:05}.001' for n in (3, 4)]
    assert names['homeodomain'] == names['K562+chip-seq'] == [f'D{n:05}.001' for n in (1, 2)]
    with pytest.raises(InputError, match=r"no model is called 'PRTO3'.*nearest are .*PROT3"):
        index.select(['PRTO3'])
    with pytest.raises(InputError, match=r"no model is all of 'RBP', 'ChIP-seq'"):
        index.select(['RBP+ChIP-seq'])
    with pytest.raises(InputError, match=r"'D00001\.002'.*nearest are D0000"):
        demo_jax.load_deepbind(library[0])['D00001.002']
    with pytest.raises(InputError, match=r"'RBP' describes 2 models, expected an id such as D00003\.001"):
        demo_jax.load_deepbind(library[0])['RBP']


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('# deepbind 0.1', '# deepbind 0.2', r"line 1 is '# deepbind 0.2', expected '# deepbind 0.1'"),
        ('num_hidden = 0', 'num_hidden = many', r"line 6: num_hidden is 'many', expected an integer 0 to 1024"),
        ('detector_len = 7', 'detector_len = 5', r'line 7: detectors has 84 values, expected 60'),
        ('num_detectors = 3', 'num_detectors = 0', r"num_detectors is '0', expected an integer 1 to 1024"),
        ('thresholds = ', 'thresholds = nan,', r'line 8: thresholds has 4 values, expected 3'),
        ('biases1 = ', 'biases = ', r"line 10: begins with 'biases', expected NAME = VALUES"),
        ('biases2 = ', 'biases1 = ', r'line 12: biases1 was given before'),
    ],
)
def test_damaged_parameters_are_one_line(library, tmp_path, old, new, message):
    """The message names the file, the line, and what was expected."""
    text = (library[0] / 'params' / 'D00001.001.txt').read_text()
    assert old in text
    path = tmp_path / 'x.txt'
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=rf'x\.txt: .*{message}'):
        deepbind_models.read_parameters(path)


def test_other_damage(library, tmp_path):
    """A value that is no number, a file cut short anywhere, folders without index or parameters."""
    shape, values = library[1]['D00001.001']
    path = tmp_path / 'x.txt'
    for bad in (np.nan, np.inf):
        write_model(path, shape, values | {'weights1': np.array([0.1, bad, 0.2])}, end='\n')
        with pytest.raises(InputError, match=r'line 9: weights1: value 2 is .*, expected a finite number'):
            deepbind_models.read_parameters(path)
    data = (library[0] / 'params' / 'D00002.001.txt').read_bytes()
    for size in range(0, len(data) - 20, 97):
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match=r'x\.txt: '):
            deepbind_models.read_parameters(path)
    with pytest.raises(InputError, match=r'is no folder of DeepBind models, it has no db\.tsv'):
        demo_jax.load_deepbind(tmp_path)
    (tmp_path / 'db.tsv').write_text((library[0] / 'db.tsv').read_text())
    with pytest.raises(InputError, match=r'holds the parameters of none of the 5 models'):
        demo_jax.load_deepbind(tmp_path)
    (tmp_path / 'db.tsv').write_text('ID\tProtein\n')
    with pytest.raises(InputError, match=r'line 1: has no column Type'):
        demo_jax.load_deepbind(tmp_path)


def test_command_scores_sequences_and_variants(library, tmp_path):
    """A long sequence has the score of the plain scorer, since every window of 1.5 detector lengths is looked at."""
    folder, made = library
    text = ''.join(np.random.default_rng(3).choice(list('ACGT'), 260))
    fasta, out = tmp_path / 'mine.fa', tmp_path / 'scores.tsv'
    fasta.write_text(f'>long\n{text}\n>short\nACGUNA\n')
    done = run_command('score', f'--deepbind={folder}', '--models=prot2,RBP', f'--fasta={fasta}', f'--out={out}')
    assert done.status == 0 and done.out.count('note: 2 of 3 models are of RNA: T counts as U') == 1
    rows = files.read_tsv(out)
    assert len(rows) == 6
    for row in rows:
        shape, values = made[row['spec']]
        letters = text if row['sequence'] == 'long' else 'ACGTNA'
        np.testing.assert_allclose(float(row['score']), plain_score(shape, values, letters, shape.window), atol=2e-4)
    variants = tmp_path / 'variants.tsv'
    other = 'A' if text[129] != 'A' else 'C'
    variants.write_text(f'sequence\tposition\tref\talt\nlong\t130\t{text[129]}\t{other}\n')
    of = (f'--deepbind={folder}', '--models=D00002.001', f'--fasta={fasta}')
    assert run_command('score', *of, f'--variants={variants}', f'--out={out}').status == 0
    (row,) = files.read_tsv(out)
    start, end = int(row['start']) - 1, int(row['end'])
    shape, values = made['D00002.001']
    for name, letters in (('score_ref', text), ('score_alt', text[:129] + other + text[130:])):
        wanted = plain_score(shape, values, letters[start:end], shape.window)
        np.testing.assert_allclose(float(row[name]), wanted, atol=2e-4)


def test_command_refuses(library, tmp_path):
    """Protein letters, both a run and published models, flags of the other."""
    fasta = tmp_path / 'mine.fa'
    fasta.write_text('>p\nMKVLEQ\n')
    folder = f'--deepbind={library[0]}'
    for flags, message in (
        ([folder], "'L', expected a DNA letter"),
        ([], 'expected either --run or --deepbind'),
        ([folder, '--specs=medium_cnn'], '--specs goes with --run'),
        ([folder, '--models=PRTO3'], 'the nearest are'),
    ):
        done = run_command('score', *flags, f'--fasta={fasta}')
        assert done.status == 2 and message in done.err and done.err.count('error: ') == 1


def test_motifs_of_detectors(library):
    """The mean response under the motif is half of the largest of all words; effects are changes of the score."""
    shape = Shape(4, 2, True, False, 0)
    values = make_values(shape, 5) | {'thresholds': np.array([-0.5, -50.0]), 'weights1': np.array([0.7, 0.1])}
    params = deepbind.canonical(shape, **values)
    motifs = detector_motifs(params, shape)
    detectors = values['detectors'].reshape(4, 4, 2)
    words = list(itertools.product(range(4), repeat=4))
    responses = np.array([sum(detectors[i, a] for i, a in enumerate(word)) for word in words]) + values['thresholds']
    np.testing.assert_allclose(motifs.largest, [responses[:, 0].max(), 0], atol=1e-5)
    shares = np.array([np.prod([motifs.probabilities[0, i, a] for i, a in enumerate(word)]) for word in words])
    np.testing.assert_allclose(shares @ responses[:, 0], motifs.largest[0] / 2, atol=1e-5)
    # Of all such distributions it has the most entropy: log odds are proportional to the weights.
    log_odds = np.log(motifs.probabilities[0]) - np.log(motifs.probabilities[0]).mean(axis=1, keepdims=True)
    ratio = log_odds / params['detectors'][:, :, 0]
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
    assert motifs.order.tolist() == [0] and (motifs.probabilities[1] == 0.25).all()
    best = ''.join('ACGT'[a] for a in words[int(responses[:, 0].argmax())])
    padding = 'N' * 4
    change = plain_score(shape, values, padding + best + padding, None) - plain_score(shape, values, padding * 3, None)
    np.testing.assert_allclose(motifs.effect[0], change, atol=1e-5)


def test_published_models_beside_ours(library, tmp_path):
    """Jobs for the tasks that have a model: entered, not trained, scored as by the plain scorer, without validation."""
    folder = tmp_path / 'models'
    shutil.copytree(library[0], folder)
    lines = (folder / 'db.tsv').read_text().splitlines()
    columns = lines[1] + '\tPath'
    rows = [f'{line}\tE:/x/{name}' for line, name in zip(lines[2:4], ('one', 'other'), strict=True)]
    (folder / 'db.tsv').write_text('\n'.join([columns, *rows]) + '\n')
    corpus, recipe = small_corpus(('one', 'two')), Recipe()
    jobs = make_jobs(corpus.tasks, ['small_cnn'], recipe, seeds=(0, 1))
    both = with_published(jobs, corpus.tasks, folder)
    assert both[:4] == jobs and [(job.index, job.task, job.spec) for job in both[4:]] == [(4, 'one', PUBLISHED)]
    assert with_published(jobs, corpus.tasks, '') == jobs
    with pytest.raises(InputError, match='has no model of these tasks'):
        with_published(jobs, ['two'], folder)
    with pytest.raises(InputError, match='is not trained; name the folder'):
        with_published(make_jobs(corpus.tasks, [PUBLISHED], recipe), corpus.tasks, '')

    only = with_published(make_jobs(corpus.tasks, [PUBLISHED], recipe), corpus.tasks, folder)
    run = RunDirectory(tmp_path / 'run')
    config = {
        'corpus': {'source': 'fasta', 'seed': 0},
        'specs': [PUBLISHED],
        'seeds': [0],
        'learning_rates': [],
        'dropouts': [],
        'recipe': dataclasses.asdict(recipe),
    }
    run.create(corpus, config, only)
    enter(run, corpus, run.jobs(), folder)
    tables = evaluate_run(run, EvaluateSettings(n_resamples=5), progress=False)
    assert {row['spec'] for row in tables['calibration'].rows} == {job.spec for job in run.jobs()} - {PUBLISHED}
    (row,) = tables['auroc'].rows
    assert row['steps'] == 0 and np.isnan(row['valid_auroc']) and not tables['training'].rows
    labels, texts = [], []
    for number in range(*corpus.rows('one', 'test').indices(len(corpus))):
        labels.append(int(corpus.labels[number]))
        texts.append(dna.decode(corpus.tokens[corpus.starts[number] : corpus.starts[number + 1]]))
    wanted = [plain_score(*library[1]['D00001.001'], text, None) for text in texts]
    model = load_run(run.path).model('one', PUBLISHED)
    np.testing.assert_allclose(model.predict(texts).score, wanted, atol=1e-4)
    assert row['test_auroc'] == pytest.approx(auroc(np.array(labels), np.array(wanted)), abs=1e-6)
    assert [one['kind'] for one in tables['table2'].rows][0] == 'published_models'


@pytest.mark.parametrize('number', [1, 2])
def test_every_shape_fits_in_one(library, number):
    """The architecture of a run gives the scores of models with and without means and a hidden layer."""
    name = f'D{number:05}.001'
    model = demo_jax.load_deepbind(library[0], windows=False)[name]
    tokens, lengths = model.encode(SEQUENCES)
    params = deepbind.in_one_shape(model.params, model.score.shape)
    found = jax.jit(deepbind.deepbind_published)(params, dna.one_hot(tokens), lengths)
    np.testing.assert_allclose(found, [plain_score(*library[1][name], text, None) for text in SEQUENCES], atol=1e-4)
    with pytest.raises(InputError, match='does not fit in'):
        deepbind.in_one_shape(model.params, model.score.shape._replace(both_strands=False))


def test_page_of_published_models(library, tmp_path):
    """One row per model; a detector of JASPAR's matrix of its own protein is a match, and random ones are none."""
    folder = tmp_path / 'models'
    shape = Shape(12, 2, True, False, 0)
    matrix = load_matrices('JASPAR2016')['MA0139.1'].probabilities[3:15]
    weights = np.zeros((12, 4, 2))
    weights[:, :, 0] = np.log(np.maximum(matrix, 0.01) / 0.25)
    values = {
        'detectors': weights.ravel(),
        'thresholds': np.array([-6.0, -1.0]),
        'weights1': np.array([1.0, 0.0]),
        'biases1': np.array([-2.0]),
        'weights2': np.zeros(0),
        'biases2': np.zeros(0),
    }
    index = (library[0] / 'db.tsv').read_text().splitlines()
    columns = index[1].split('\t')
    row = ['D00001.001', 'CTCF', 'TF', 'Homo sapiens', 'C2H2 ZF', '', 'ChIP-seq', "['CellLine=K562']", '']
    write_model(folder / 'params' / 'D00001.001.txt', shape, values)
    (folder / 'db.tsv').write_text('\n'.join(['\t'.join(columns), '\t'.join(row)]) + '\n')
    settings = LibrarySettings(restarts=1, steps=30, jaspar='JASPAR2016', chance_draws=5)
    loaded = demo_jax.load_deepbind(folder, windows=False)
    page, tables = describe_library(loaded, [], tmp_path / 'out', settings, progress=False)
    (found,) = files.read_tsv(tmp_path / 'out' / 'tables' / 'models.tsv')
    assert found['id'] == 'D00001.001' and found['detector_own'] == '1' and found['optimum_own'] == '1'
    assert 'MA0139.1' in found['own_matrices'] and float(found['detector_own_q']) < 0.01
    assert float(found['optimum_chance']) < 1
    counted = {(row['models'], row['motif']): row['matches'] for row in tables['table4'].rows}
    assert counted['ChIP-seq', 'class optimisation'] == counted['all', 'best detector'] == 1
    text = (page.parent / 'data' / 'library.js').read_text()
    assert text.startswith('demo.receive("library",') and '"protein":"CTCF"' in text
    assert {path.name for path in page.parent.iterdir()} == {*LIBRARY_ASSETS, 'data'}


def test_models_are_fetched_and_checked(library, tmp_path, monkeypatch):
    """The archive may be packed in any way; other models, and what is no archive, leave nothing behind."""
    packed = tmp_path / 'served' / 'deepbind.tgz'
    packed.parent.mkdir()
    with tarfile.open(packed, 'w:gz') as archive:
        archive.add(library[0], 'deepbind/db')

    def retrieve(url, known, *, fname, path, progressbar):
        return shutil.copy(packed, pathlib.Path(path) / fname)

    monkeypatch.setattr('pooch.retrieve', retrieve)
    target = tmp_path / 'models'
    with pytest.raises(InputError, match='holds other models than those of version 0.11'):
        deepbind_models.fetch(target, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['served']
    monkeypatch.setattr(deepbind_models, 'DIGEST', deepbind_models.content_digest(library[0]))
    deepbind_models.fetch(target, progress=False)
    assert len(demo_jax.load_deepbind(target)) == len(SHAPES)
    packed.write_bytes(b'no archive')
    deepbind_models.fetch(target, progress=False)  # it is there
    with pytest.raises(InputError, match='is not a whole tar archive'):
        deepbind_models.fetch(tmp_path / 'again', progress=False)


@pytest.mark.skipif('DEMO_JAX_DATA' not in os.environ, reason='DEMO_JAX_DATA names no real data')
@pytest.mark.parametrize('windows', [True, False])
def test_published_models_score_as_the_tool(windows):
    """Version 0.11 of the tool: its scores of 24 sequences by five models of three shapes.

    All 927 models, `library.select()`, agree as well, but compiling their fifteen shapes takes minutes.
    """
    data = pathlib.Path(os.environ['DEMO_JAX_DATA'])
    library = demo_jax.load_deepbind(data / 'deepbind_models', windows=windows)
    assert len(library) == 927
    models = [library[name] for name in ('D00328.018', 'D00736.002', 'D00765.001', 'D00114.002', 'D00208.001')]
    differences = tool_differences(models, data.parent / 'reference', windows=windows)
    assert differences.shape == (5, 24) and differences.max() < 1e-4
