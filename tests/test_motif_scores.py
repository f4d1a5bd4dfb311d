"""Scores by motifs against brute force, and the stage that makes the baseline's rows for the tables."""

import itertools
import math
import sys

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from demo_jax import dna
from demo_jax.baseline import finder, motif_scores
from demo_jax.baseline.zoops import Background
from demo_jax.errors import InputError
from demo_jax.evaluation import compare, metrics
from demo_jax.io import files
from demo_jax.motifs import formats
from demo_jax.runs.directory import RunDirectory
from demo_jax.stages import baseline, evaluate
from demo_jax.stages.baseline import BaselineSettings, baseline_run
from demo_jax.training.jobs import Recipe, make_jobs
from tests.helpers import toy_corpus


@pytest.fixture(scope='module')
def sequences():
    """Random letters with some N, different lengths, and one shorter than the wider motif."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 4, (7, 24)).astype(np.uint8)
    tokens[0, 20:] = tokens[1, 3] = tokens[2, 10:12] = tokens[3, 5:] = dna.N
    return tokens


@pytest.fixture(scope='module')
def motifs():
    rng = np.random.default_rng(1)
    matrices = [rng.dirichlet([0.3] * 4, width) for width in (4, 9)]
    matrices[0][1] = [0, 1, 0, 0]  # letters that never occur, as programs write them
    return matrices


@pytest.fixture(scope='module')
def background():
    rng = np.random.default_rng(2)
    return Background.of([rng.choice(4, 200, p=[0.4, 0.1, 0.2, 0.3]).astype(np.uint8)])


def brute_force(sequence, matrix, background):
    """Odds of every window without N, on both strands."""
    matrix = (matrix + 1e-3 * background.letters) / (1 + 1e-3)
    odds = []
    for start in range(len(sequence) - len(matrix) + 1):
        word = sequence[start : start + len(matrix)].astype(int)
        if (word == dna.N).any():
            continue
        chance = background.letters[word[0]]
        for a, b in itertools.pairwise(word):
            chance *= background.transitions[a, b]
        for read in (word, 3 - word[::-1]):
            odds.append(math.prod(column[letter] for column, letter in zip(matrix, read, strict=True)) / chance)
    return odds


def test_scores_against_brute_force(sequences, motifs, background):
    scores = motif_scores.score_motifs(sequences, motifs, background)
    assert scores.best.shape == scores.mean.shape == (7, 2)
    for row, sequence in enumerate(sequences):
        for number, matrix in enumerate(motifs):
            odds = brute_force(sequence, matrix, background)
            best, mean = (math.log(max(odds)), math.log(np.mean(odds))) if odds else (0, 0)
            assert scores.best[row, number] == pytest.approx(best, abs=1e-4)
            assert scores.mean[row, number] == pytest.approx(mean, abs=1e-4)
    assert scores.best[3, 1] == 0 != scores.best[3, 0]  # five letters: room for the narrow one only


def test_scores_do_not_depend_on_strand_padding_or_company(sequences, motifs, background, monkeypatch):
    scores = motif_scores.score_motifs(sequences, motifs, background)
    turned = motif_scores.score_motifs(dna.reverse_complement(sequences), motifs, background)
    longer = motif_scores.score_motifs(np.pad(sequences, ((0, 0), (0, 6)), constant_values=dna.N), motifs, background)
    alone = motif_scores.score_motifs(sequences, motifs[1:], background, length=30)
    monkeypatch.setattr(motif_scores, '_BLOCK_LETTERS', 50)
    blocks = motif_scores.score_motifs(sequences, motifs, background)
    for name in ('best', 'mean'):
        expected = getattr(scores, name)
        for other in (turned, longer, blocks):
            np.testing.assert_allclose(getattr(other, name), expected, atol=1e-4)
        np.testing.assert_allclose(getattr(alone, name)[:, 0], expected[:, 1], atol=1e-4)


def test_nothing_to_score(sequences, motifs, background):
    assert motif_scores.score_motifs(sequences, [], background).best.shape == (7, 0)
    assert motif_scores.score_motifs(sequences[:0], motifs, background).mean.shape == (0, 2)
    none = motif_scores.score_motifs(sequences, [], background)
    assert motif_scores.combine(none, 'sum').tolist() == [0.0] * 7


def test_shares_are_the_likeliest():
    rng = np.random.default_rng(0)
    mean = np.stack([np.where(rng.random(400) < share, 6, -3) + rng.standard_normal(400) for share in (0.2, 0.7)], 1)
    found = motif_scores.fit_shares(mean)
    for column, share in zip(mean.T, found, strict=True):

        def loss(gamma, column=column):
            prior = 0.5 * (math.log(gamma) + math.log(1 - gamma))
            return -np.log(1 - gamma + gamma * np.exp(column)).sum() - prior

        best = minimize_scalar(loss, bounds=(1e-3, 1 - 1e-3), method='bounded', options={'xatol': 1e-8})
        assert share == pytest.approx(best.x, abs=1e-4)
    assert found == pytest.approx([0.2, 0.7], abs=0.06)
    assert motif_scores.fit_shares(np.full((3, 1), -50.0))[0] > 0
    assert motif_scores.fit_shares(np.full((3, 1), 500.0))[0] < 1


def test_rules():
    scores = motif_scores.MotifScores(np.array([[1.0, 2.0], [3.0, -4.0]]), np.array([[0.5, -1.0], [300.0, 0.0]]))
    assert motif_scores.combine(scores, 'sum').tolist() == [3.0, -1.0]
    shares = [0.2, 0.9]
    first = math.log(0.8 + 0.2 * math.exp(0.5)) + math.log(0.1 + 0.9 * math.exp(-1))
    second = math.log(0.2) + 300
    np.testing.assert_allclose(motif_scores.combine(scores, 'zoops', shares), [first, second])
    with pytest.raises(ValueError, match='best'):
        motif_scores.combine(scores, 'best')
    with pytest.raises(ValueError, match='zoops with shares'):
        motif_scores.combine(scores, 'zoops')


# --- The stage ---


@pytest.fixture(scope='module')
def corpus():
    return toy_corpus({'one/a': 70, 'two': 60})


def new_run(path, corpus, source='fasta') -> RunDirectory:
    run = RunDirectory(path)
    run.create(corpus, {'corpus': {'source': source}}, make_jobs(corpus.tasks, ('small_cnn',), Recipe()))
    return run


@pytest.fixture(scope='module')
def made(corpus, tmp_path_factory):
    run = new_run(tmp_path_factory.mktemp('baseline') / 'run', corpus)
    settings = BaselineSettings('em', n_sequences=64, n_motifs=2)
    return run, settings, baseline_run(run, settings, n_resamples=20, progress=False)


def test_rows_of_the_tables(made, corpus):
    run, _, rows = made
    assert [(row['task'], row['spec']) for row in rows] == [
        (task, spec) for task in corpus.tasks for spec in ('em_motifs_sum', 'em_motifs_zoops')
    ]
    for row in rows:
        assert set(row) <= set(evaluate.AUROC_COLUMNS) and row['status'] == 'ok' and row['n_test'] == 40
        assert row['test_auroc'] > 0.9 and row['valid_auroc'] > 0.8  # every positive holds the motif
        scores = np.load(run.path / 'predictions' / f'baseline_{row["spec"]}_{files.safe_name(row["task"])}.npy')
        assert scores.dtype == np.float32
        labels = corpus.labels[corpus.rows(row['task'], 'test')]
        assert row['test_auroc'] == pytest.approx(metrics.auroc(labels, scores), abs=1e-6)
        assert row['test_auroc_low'] <= row['test_auroc'] <= row['test_auroc_high']
    table = compare.table2(rows, published=False)
    assert {row['model'] for row in table.rows} >= {'em_motifs_sum', 'em_motifs_zoops'}


def test_motifs_and_table_are_written(made):
    run, *_ = made
    motifs = formats.read_meme(run.path / 'motifs' / 'baseline' / 'one%2Fa.meme')
    assert 'TGACTCA' in ''.join(motifs).replace('N', '') or 'TGAGTCA' in ''.join(motifs).replace('N', '')
    assert [name[:2] for name in motifs] == ['1-', '2-'][: len(motifs)]
    rows = files.read_tsv(run.tables / 'baseline.tsv')
    assert [row['n_sequences'] for row in rows] == ['63', '54']  # 64 were asked for; validation rows are not used
    assert all(row['method'] == 'em' and row['meme_sum'] == '' for row in rows)
    assert all(float(row['test_sum']) > 0.9 and len(row['shares'].split()) == int(row['n_motifs']) for row in rows)


def test_what_is_there_is_not_made_again(made, corpus, tmp_path, monkeypatch):
    run, settings, rows = made
    searched = []
    real = finder.find_motifs

    def counted(tops, **options):
        searched.append(len(tops))
        return real(tops, **options)

    monkeypatch.setattr(finder, 'find_motifs', counted)
    assert baseline_run(run, settings, n_resamples=20, progress=False) == rows
    assert searched == []
    path = run.path / 'motifs' / 'baseline' / 'two.meme'
    before = path.read_bytes()
    for damage in (b'', before[:40]):
        path.write_bytes(damage)
        searched.clear()
        assert baseline_run(run, settings, n_resamples=20, progress=False) == rows
        assert searched == [1] and path.read_bytes() == before
    other = BaselineSettings('em', n_sequences=64, n_motifs=1)
    searched.clear()
    monkeypatch.setattr(finder, 'find_motifs', lambda tops, **_: searched.append(len(tops)) or [[] for _ in tops])
    baseline_run(run, other, n_resamples=20, progress=False)
    assert searched == [2]


def test_the_top_are_the_first_positives_of_training(corpus):
    rows = corpus.rows('two', 'train')
    positives = [row for row in range(rows.start, rows.stop) if corpus.labels[row] == 1]
    top = baseline.top_positives(corpus, 'two', 5)
    assert [dna.decode(sequence) for sequence in top] == [corpus.sequence(row) for row in positives[:5]]
    assert len(baseline.top_positives(corpus, 'two', 10**6)) == len(positives)


@pytest.fixture
def streme(tmp_path, monkeypatch):
    """A `streme` on the PATH that finds the toy motif, or does what else it is told to."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    monkeypatch.setenv('PATH', str(folder))

    def make(body=None):
        matrix = '\n'.join(' '.join('0.97' if a == b else '0.01' for a in 'ACGT') for b in 'TGACTCA')
        text = f'MEME version 5\n\nMOTIF 1-TGACTCA STREME-1\nletter-probability matrix: alength= 4 w= 7\n{matrix}\n'
        write = 'out = sys.argv[sys.argv.index("--oc") + 1]\nos.makedirs(out)\n'
        write += f'open(out + "/streme.txt", "w").write({text!r})'
        (folder / 'streme').write_text(f'#!{sys.executable}\nimport os, sys\n{body or write}\n')
        (folder / 'streme').chmod(0o755)

    return make


def test_a_program_of_the_meme_suite(corpus, tmp_path, streme):
    run = new_run(tmp_path / 'run', corpus)
    assert BaselineSettings().found_by() == 'em'
    streme()
    assert BaselineSettings().found_by() == 'streme'
    rows = baseline_run(run, BaselineSettings(), n_resamples=20, progress=False)
    assert {row['spec'] for row in rows} == {'streme_motifs_sum', 'streme_motifs_zoops'}
    assert all(row['test_auroc'] > 0.95 for row in rows)
    assert files.read_tsv(run.tables / 'baseline.tsv')[0]['motifs'] == '1-TGACTCA'
    streme('sys.exit("no memory")')  # it is not asked again
    assert baseline_run(run, BaselineSettings(), n_resamples=20, progress=False) == rows


def test_a_program_that_fails_leaves_nothing(corpus, tmp_path, streme):
    run = new_run(tmp_path / 'run', corpus)
    streme('sys.exit("no memory")')
    with pytest.raises(InputError, match=r'streme: ended with status 1 .*no memory.*; the baseline method em needs'):
        baseline_run(run, BaselineSettings('streme'), n_resamples=20, progress=False)
    assert not (run.path / 'tables').exists() and not list(run.path.glob('motifs/baseline/*.meme'))


def test_a_task_without_a_motif_has_no_auroc(corpus, tmp_path, monkeypatch):
    run = new_run(tmp_path / 'run', corpus, source='simulated')
    monkeypatch.setattr(finder, 'find_motifs', lambda tops, **_: [[] for _ in tops])
    rows = baseline_run(run, BaselineSettings('em'), n_resamples=20, progress=False)
    assert [row['status'] for row in rows] == ['no motif'] * 4 and 'test_auroc' not in rows[0]
    assert [row['n_motifs'] for row in files.read_tsv(run.tables / 'baseline.tsv')] == ['0', '0']


@pytest.mark.parametrize(
    'setting, message',
    [
        ({'method': 'dreme'}, "method is 'dreme', expected one of auto, em, streme, meme-chip"),
        ({'n_sequences': 0}, 'n_sequences is 0'),
        ({'n_motifs': -1}, 'n_motifs is -1'),
        ({'timeout': 0.0}, 'timeout is 0.0'),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(InputError, match=message):
        BaselineSettings(**setting)


def test_spec_names():
    assert baseline.spec_name('meme-chip', 'sum') == 'meme_chip_motifs_sum'
