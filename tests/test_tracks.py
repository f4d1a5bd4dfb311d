"""BigWig tracks, read back with another library than they are written with."""

import types

import numpy as np
import pybigtools
import pyBigWig
import pytest

from demo_jax import dna
from demo_jax.data.corpus import INTERVAL_DTYPE
from demo_jax.predict import scoring, tracks
from demo_jax.predict.model import Model
from demo_jax.predict.windows import check_fasta
from demo_jax.stages import motif_files
from tests import helpers_models
from tests.helpers_models import fresh

few_filters = pytest.fixture(scope='module', autouse=True)(helpers_models.few_filters)

WIDTH = 30


@pytest.fixture(scope='module')
def models():
    return [
        Model(task, 'small_cnn', 0, fresh('small_cnn', seed), True, WIDTH) for seed, task in enumerate(('A', 'B/b'))
    ]


@pytest.fixture(scope='module')
def genome(tmp_path_factory):
    """Records in an order that is not the alphabet's: long, with N, one window, less than one window."""
    rng = np.random.default_rng(0)
    texts = {name: ''.join(rng.choice(list('ACGT'), n)) for name, n in (('chr2', 400), ('chr10', 30), ('chr1', 20))}
    texts['chr2'] = texts['chr2'][:150] + 90 * 'N' + texts['chr2'][240:]
    path = tmp_path_factory.mktemp('tracks') / 'genome.fa'
    path.write_text(''.join(f'>{name} text\n{text}\n' for name, text in texts.items()))
    return path, texts


def read(path, sizes):
    """Values of every base, NaN where there is none, by chromosome in the file's order."""
    handle = pybigtools.open(str(path))
    assert list(handle.chroms().items()) == sizes
    found = {}
    for name, length in sizes:
        found[name] = np.full(length, np.nan)
        for start, end, value in handle.records(name):
            assert np.isnan(found[name][start:end]).all()  # nothing overlaps
            found[name][start:end] = value
        with pyBigWig.open(str(path)) as other:  # what a browser shows of the whole chromosome
            np.testing.assert_allclose(other.stats(name, 0, length)[0], np.nanmean(found[name]), rtol=1e-4)
    every, summary = np.concatenate(list(found.values())), handle.info()['summary']
    assert (summary['min'], summary['max']) == (np.nanmin(every), np.nanmax(every))
    assert summary['basesCovered'] == np.isfinite(every).sum()
    return found


@pytest.mark.parametrize('stride', [1, 7, 45])
def test_scores_of_every_window(models, genome, tmp_path, stride, monkeypatch):
    from demo_jax.predict.score_tables import write_scores

    monkeypatch.setattr(scoring, 'BLOCK', 16)
    path, texts = genome
    sizes = [(name, len(text)) for name, text in texts.items()]
    fasta = check_fasta(path, models, stride=stride, progress=False, sizes=True)
    paths = tracks.track_paths(tmp_path / 'out.bw', models)
    assert [one.name for one in paths] == ['out.A.small_cnn.bw', 'out.B%2Fb.small_cnn.bw']
    write_scores(models, fasta, tmp_path / 'scores.tsv', bigwigs=paths, progress=False)
    for model, one in zip(models, paths, strict=True):
        found = read(one, sizes)
        for name, text in texts.items():
            expected = np.full(len(text), np.nan)
            last = max(len(text) - WIDTH, 0)
            starts = [s for s in (*range(0, last, stride), last) if text[s : s + WIDTH].count('N') * 2 <= WIDTH]
            scores = model.predict([text[s : s + WIDTH] for s in starts]).score
            span = len(text) if len(text) < WIDTH else min(stride, WIDTH)
            for start, score in zip(starts[::-1], scores[::-1], strict=True):  # the earlier window keeps its letters
                middle = start + (min(WIDTH, len(text)) - span) // 2
                expected[middle : middle + span] = score
            np.testing.assert_allclose(found[name], expected, atol=1e-5)
            assert np.isfinite(expected).any()


def test_contributions_of_every_base(models, genome, tmp_path, monkeypatch):
    monkeypatch.setattr(tracks, '_BLOCK', 3)
    path, texts = genome
    fasta = check_fasta(path, models, progress=False, sizes=True)
    paths = [tmp_path / 'a.bw', tmp_path / 'b.bw']
    n_bases = tracks.write_contributions(models, fasta, paths, 'gradient_x_input', progress=False)
    for model, one in zip(models, paths, strict=True):
        found = read(one, [(name, len(text)) for name, text in texts.items()])
        assert sum(np.isfinite(values).sum() for values in found.values()) == n_bases
        for name, text in texts.items():
            last = max(len(text) - WIDTH, 0)
            starts = [s for s in (*range(0, last, WIDTH // 2), last) if text[s : s + WIDTH].count('N') * 2 <= WIDTH]
            windows = [text[s : s + WIDTH] for s in starts]
            maps = model.gradient_x_input(windows).signed
            for place, value in enumerate(found[name]):
                own = [
                    (abs(2 * place + 1 - 2 * s - len(w)), row[place - s])
                    for s, w, row in zip(starts, windows, maps, strict=True)
                    if s <= place < s + len(w)
                ]
                if not own:
                    assert np.isnan(value)
                    continue
                nearest = min(distance for distance, _ in own)
                assert any(abs(value - v) < 1e-5 for distance, v in own if distance <= nearest + 1)
    assert np.isnan(read(paths[0], [(name, len(text)) for name, text in texts.items()])['chr2'][190])


def test_stretches_hold_their_letters(models, genome):
    path, texts = genome
    fasta = check_fasta(path, models, progress=False)
    for stretch in tracks.explain_bases(models[:1], fasta, 'saliency', progress=False):
        end = stretch.start + len(stretch.tokens)
        assert dna.decode(stretch.tokens) == texts[stretch.record.name][stretch.start : end]
        assert stretch.values.shape == (1, len(stretch.tokens))


def test_contributions_of_peaks(tmp_path):
    """Overlapping windows, one of the other strand, one without a place; in the order of the genome."""
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, 4, (4, 10)).astype(np.uint8)
    tokens[2, 8:] = dna.N
    lengths, contributions = np.array([10, 10, 8, 10]), rng.normal(size=(4, 10, 4))
    places = np.array([(1, 100, 1), (1, 106, -1), (0, 7, 1), (-1, 0, 1)], INTERVAL_DTYPE)
    corpus = types.SimpleNamespace(intervals=np.concatenate([places[:1], places]), chroms=('chr2', 'chr10'))
    motif_files.write_bigwig(tmp_path, contributions, tokens, lengths, corpus, np.arange(1, 5))
    found = read(tmp_path / 'contributions.bw', [('chr2', 15), ('chr10', 116)])
    own = np.take_along_axis(contributions, np.minimum(tokens, 3)[..., None], 2)[..., 0]
    np.testing.assert_allclose(found['chr2'], [*[np.nan] * 7, *own[2, :8]], rtol=1e-6)
    turned = own[1, ::-1]  # of 106 to 115; the middles are at 105 and 111
    np.testing.assert_allclose(found['chr10'][100:108], own[0, :8], rtol=1e-6)
    np.testing.assert_allclose(found['chr10'][109:], turned[3:], rtol=1e-6)
    assert np.isnan(found['chr10'][:100]).all()
    motif_files.write_bigwig(tmp_path / 'none', contributions, tokens, lengths, corpus, np.full(4, 4))
    assert not (tmp_path / 'none').exists()


def test_the_first_value_may_be_the_highest(tmp_path):
    tracks.write_placed(tmp_path / 'x.bw', ['chr1'], np.zeros(3, int), np.array([2, 3, 7]), np.array([9.0, 1.0, 2.0]))
    read(tmp_path / 'x.bw', [('chr1', 8)])
