"""BigWig tracks, read back with another library than they are written with."""

import numpy as np
import pybigtools
import pytest

from demo_jax import dna
from demo_jax.predict import scoring, tracks
from demo_jax.predict.model import Model
from demo_jax.predict.windows import check_fasta
from tests.helpers_models import fresh

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
