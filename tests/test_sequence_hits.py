"""Hits in somebody's own sequences: planted sites, seams of rows, false discovery rates, and where motifs come from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import demo_jax
from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.io import files
from demo_jax.motifs.hits import find_map_hits, known_pattern
from demo_jax.predict import tracks
from demo_jax.predict.model import Model
from demo_jax.predict.scoring import score_fasta
from demo_jax.predict.windows import check_fasta
from demo_jax.stages import sequence_hits
from demo_jax.stages.sequence_hits import Wanted, wanted_motifs, write_hits
from tests.helpers_models import fresh, save_run

WORD = 'TGACTCATTC'
WIDTH = 40


def motif(word):
    return known_pattern(0.91 * dna.one_hot(dna.encode(word)) + 0.0225)


WANTED = Wanted({'planted': motif(WORD), 'other': motif('GGGCGGTTAA')}, 'gradient_x_input', 'given motifs')


def best_match(kernel, x):
    """(B,) the best match of a word."""
    found = jax.lax.conv_general_dilated(x, kernel, (1,), 'VALID', dimension_numbers=('NWC', 'WIO', 'NWC'))
    return jax.nn.relu(found - 6).sum(axis=(1, 2))


@pytest.fixture(scope='module')
def planted(tmp_path_factory):
    """Records of which every other holds the word, and a long one that holds it every 100 letters."""
    rng = np.random.default_rng(0)
    texts = [''.join(rng.choice(list('ACGT'), n)) for n in [150] * 20 + [3000]]
    for i in range(0, 20, 2):
        texts[i] = texts[i][:70] + WORD + texts[i][70 + len(WORD) :]
    for at in range(0, 3000, 100):
        texts[20] = texts[20][:at] + WORD + texts[20][at + len(WORD) :]
    path = tmp_path_factory.mktemp('hits') / 'a.fa'
    path.write_text(''.join(f'>seq{i}\n{text}\n' for i, text in enumerate(texts)))
    kernel = np.asarray(dna.one_hot(dna.encode(WORD)), np.float32)[..., None]
    return path, demo_jax.wrap(best_match, jnp.asarray(kernel), name='word', task='T', length=WIDTH)


def places(path):
    return [
        (row['#chrom'], int(row['start']), int(row['end']), row['name'], row['strand']) for row in files.read_tsv(path)
    ]


def test_planted_sites_are_found(planted, tmp_path):
    path, model = planted
    fasta = check_fasta(path, [model], progress=False)
    n_hits = write_hits(tmp_path / 'hits.bed', [model], [WANTED], fasta, progress=False)
    n = len(WORD)
    sites = {(f'seq{i}', 70, 70 + n, 'planted', '+') for i in range(0, 20, 2)}
    sites |= {('seq20', at, at + n, 'planted', '+') for at in range(0, 3000, 100)}
    found = places(tmp_path / 'hits.bed')
    assert len(found) == n_hits and sites <= set(found) and len(found) < 1.1 * len(sites)
    best = score_fasta([model], fasta, progress=False)
    assert write_hits(tmp_path / 'best.bed', [model], [WANTED], fasta, best=best, progress=False) in (11, 12)
    assert {name for name, *_ in places(tmp_path / 'best.bed')} >= {f'seq{i}' for i in range(0, 21, 2)}


def test_rows_and_rates(planted, tmp_path, monkeypatch):
    """Those of the whole map at once, wherever rows and blocks end, with rates counted one by one."""
    path, _ = planted
    monkeypatch.setattr(sequence_hits, '_MOST_P', 1.0)
    model = Model('T', 'small_cnn', 0, fresh('small_cnn'), False, WIDTH)
    fasta = check_fasta(path, [model], progress=False)
    write_hits(tmp_path / 'a.bed', [model], [WANTED], fasta, fdr=1, progress=False)
    for owner, name, value in ((sequence_hits, '_CORE', 50), (sequence_hits, '_ROWS', 3), (tracks, '_BLOCK', 7)):
        monkeypatch.setattr(owner, name, value)
    write_hits(tmp_path / 'b.bed', [model], [WANTED], fasta, fdr=1, progress=False)
    assert places(tmp_path / 'a.bed') == places(tmp_path / 'b.bed')
    whole = []  # place and what is explained, of every record but the long one
    for stretch in tracks.explain_bases([model], fasta, WANTED.method, progress=False):
        if stretch.record.number < 21:
            hits = find_map_hits(stretch.values, stretch.tokens[None], WANTED.motifs)
            whole += [(stretch.record.number - 1, *at) for at in zip(hits.start, hits.explained, strict=True)]
    rows = {
        (int(row['#chrom'][3:]), int(row['start'])): float(row['q'])
        for row in files.read_tsv(tmp_path / 'a.bed')
        if row['#chrom'] != 'seq20'
    }
    assert len(rows) > 10 and set(rows) == {(number, start) for number, start, _ in whole}
    in_order = [rows[number, start] for number, start, _ in sorted(whole, key=lambda one: -one[2])]
    assert in_order == sorted(in_order) and in_order[0] < in_order[-1] <= 1


def test_false_discovery_rates():
    """Of the null's 3 hits in 100 letters, k explain as much; the file has 200 letters."""
    null = sequence_hits._Null({1: np.array([1.0, 2.0, 3.0]), -1: np.zeros(0)}, 100)
    q = sequence_hits._q_values(
        np.array([10, 0, 2, 8]), null, 1, 200
    )  # hits that 0, 1, 2, 3 of them explain as much as
    np.testing.assert_allclose(q, [1.5 / 10, 6 / 20, 6 / 20, 6 / 20])


def test_shuffles_are_of_what_lies_beside_hits():
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, 2, (4, 30)).astype(np.uint8)  # A and C
    inside, lengths = np.zeros(tokens.shape, bool), np.array([30, 30, 25, 30])
    for row, part in ((0, slice(10, 18)), (2, slice(0, 5)), (3, slice(0, 20))):
        inside[row, part], tokens[row, part] = True, 3  # hits are of T
    tokens[2, 25:] = dna.N
    made = sequence_hits._without_hits(tokens, lengths, inside, rng)
    assert ((made < dna.N).sum(axis=1) == lengths).all() and (made[2, 25:] == dna.N).all()
    assert (made[:3, :25] < 2).all()
    assert sorted(made[1]) == sorted(tokens[1]) and sorted(made[3]) == sorted(tokens[3])  # most of the last is a hit


def test_a_motif_that_files_hold_is_as_rare_in_the_null_as_in_chance(planted, monkeypatch):
    path, model = planted
    fasta = check_fasta(path, [model], progress=False)
    windows, rng = sequence_hits._windows(fasta), np.random.default_rng(0)
    assert sequence_hits.SHUFFLES <= len(windows[0]) <= sequence_hits.MOST_SHUFFLES
    strong = lambda null: int((null.explained[1] > 2).sum())  # noqa: E731
    closer = strong(sequence_hits._null(model, WANTED, windows, rng))
    monkeypatch.setattr(sequence_hits, '_LEFT_OUT_Q', -1.0)
    assert closer < strong(sequence_hits._null(model, WANTED, windows, rng))


def test_where_motifs_come_from(tmp_path):
    save_run(tmp_path / 'run', ('small_cnn',), tasks=('CTCF', 'nobody'))
    run = demo_jax.load_run(tmp_path / 'run')
    wanted = wanted_motifs(run, run.model('CTCF', 'small_cnn'))
    assert any('CTCF' in name for name in wanted.motifs) and 'matrices of the TF' in wanted.source
    given = wanted_motifs(run, run.model('nobody', 'small_cnn'), ['MA0139'])
    assert [name.partition(':')[2] for name in given.motifs] == ['CTCF']
    for names, message in (((), 'no motif was found for nobody'), (['ACGT'], 'motif ACGT is a word')):
        with pytest.raises(InputError, match=message):
            wanted_motifs(run, run.model('nobody', 'small_cnn'), names)
