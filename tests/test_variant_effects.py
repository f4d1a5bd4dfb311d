"""Variants by the block: alleles that share what they can, nulls, motifs made and broken, tables and maps."""

import jax
import numpy as np
import pytest
from scipy import stats

from demo_jax import dna
from demo_jax.data import genome
from demo_jax.data.corpus import SITE_DTYPE
from demo_jax.explain.truth import planted_alleles
from demo_jax.io import files
from demo_jax.motifs import scan
from demo_jax.nn import alleles, kernels
from demo_jax.nn.models import SPECS, ModelSpec
from demo_jax.predict import variant_effects, variant_maps, variant_motifs, variant_null
from demo_jax.predict.alleles import AlleleScorer, Pairs
from demo_jax.predict.scoring import choose_models, score_all
from tests import helpers_models
from tests.helpers_models import random_params, save_run
from tests.helpers_score import fasta, letters, vcf

few_filters = pytest.fixture(scope='module', autouse=True)(helpers_models.few_filters)

WIDTH = 30
TEXT = letters(150, 8)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp('effects') / 'run', ('small_cnn', 'small_rnn'), seeds=(0, 1))


@pytest.fixture(scope='module')
def models(run):
    return choose_models(run, specs=['small_cnn'])


@pytest.mark.parametrize('conv, pool', [(((4, 6), (3, 5), (3, 4), (2, 3)), 3), (((5, 6), (3, 4)), 2), (((4, 3),), 1)])
def test_windows_of_rows_and_their_mutants_score_as_the_whole_model(conv, pool):
    spec = ModelSpec('cnn', conv=conv, pool=pool)
    rng = np.random.default_rng(1)
    width, grid = spec.min_length + 5, alleles.grid(spec)
    n = 60
    tokens = rng.integers(0, 5, (4, width + 6 * grid)).astype(np.uint8)
    row, start = rng.integers(0, 4, n), grid * rng.integers(0, 7, n)
    position, letter = start + rng.integers(0, width, n), rng.integers(0, 5, n).astype(np.uint8)
    params = random_params(spec)
    windows, mutants = alleles.Windows(row, start), alleles.Mutants(row, start, position, letter)
    score = jax.jit(alleles.score, static_argnums=(1, 5))
    own, found = score(params, spec, tokens, windows, mutants, width)
    cut = np.stack([tokens[r, s : s + width] for r, s in zip(row, start, strict=True)])
    whole = jax.jit(lambda tokens: spec(params, kernels.one_hot(tokens)))
    np.testing.assert_allclose(own, whole(cut), rtol=1e-5, atol=1e-5)
    cut[np.arange(n), position - start] = letter
    np.testing.assert_allclose(found, whole(cut), rtol=1e-5, atol=1e-5)
    assert np.abs(own - found).max() > 0.1


def test_what_is_shared_is_known():
    assert alleles.shares(SPECS['medium_cnn']) and alleles.shares(SPECS['large_cnn'])
    assert not any(alleles.shares(SPECS[name]) for name in ('deepbind', 'small_rnn', 'medium_cnn_rnn'))
    assert not alleles.shares(ModelSpec('same', conv=((3, 4),), padding='same'))


def pairs_of(starts, rng):
    """Windows of TEXT: substitutions, and every fourth changed in the second half; the last two are short."""
    text, n = dna.encode(TEXT), len(starts)
    ref = np.stack([text[start : start + WIDTH] for start in starts])
    alt, position = ref.copy(), rng.integers(0, WIDTH, n)
    alt[np.arange(n), position] = (alt[np.arange(n), position] + 1) % 4
    alt[::4, 15:], position[::4] = alt[::4, :15], -1
    lengths = np.full(n, WIDTH, np.int32)
    lengths[-2:] = 20
    ref[-2:, 20:], alt[-2:, 20:], position[-2:] = dna.N, dna.N, -1
    return Pairs(ref, alt, lengths, lengths, np.arange(n) % 3, np.asarray(starts), position)


def test_alleles_score_as_whole_windows(run):
    models = [run.model_of(job) for job in run.jobs]  # CNNs and RNNs of two tasks and seeds
    rng = np.random.default_rng(2)
    pairs = pairs_of(np.sort(rng.integers(0, len(TEXT) - WIDTH, 70)), rng)
    ref, alt = AlleleScorer(models).score(pairs)
    np.testing.assert_allclose(ref, score_all(models, pairs.ref, pairs.ref_length), atol=2e-5)
    np.testing.assert_allclose(alt, score_all(models, pairs.alt, pairs.alt_length), atol=2e-5)
    assert np.abs(ref - alt).max() > 0.05


@pytest.mark.parametrize('padding, width', [('valid', 7), ('same', 4), ('full', 3)])
def test_words_of_letters_are_looked_up_as_a_convolution_sums_them(padding, width):
    rng = np.random.default_rng(9)
    kernel, bias = rng.normal(size=(width, 4, 5)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    tokens = rng.integers(0, 5, (11, 3)).astype(np.uint8)
    summed = jax.jit(lambda tokens: kernels.conv1d(kernels.one_hot(tokens), kernel, bias, padding))
    found = jax.jit(lambda tokens: kernels.conv1d_tokens(tokens, kernel, bias, padding))
    np.testing.assert_allclose(found(tokens), summed(tokens), atol=1e-5)
    with pytest.raises(ValueError, match='shorter than the filter width 9'):
        kernels.conv1d_tokens(tokens[:5], np.zeros((9, 4, 5), np.float32), bias, 'valid')


def test_letters_nearby_are_those_of_the_genome(tmp_path, monkeypatch):
    monkeypatch.setattr(genome, '_NEARBY', 64)
    whole = genome.Genome(fasta(tmp_path / 'x.fa', a=TEXT, b=TEXT[::-1]))
    nearby, rng = genome.Nearby(whole), np.random.default_rng(10)
    for _ in range(100):
        name, start = rng.choice(['a', 'b']), int(rng.integers(0, 150))
        end = int(rng.integers(start, min(start + 40, 150) + 1))
        assert nearby.letters(name, start, end) == whole.letters(name, start, end)
    with pytest.raises(ValueError, match='does not lie on'):
        nearby.letters('a', 140, 151)
    whole.close()


def test_planted_sites_are_broken_where_it_hurts():
    """Three sites of ACG, the last of them on the other strand (CGT); the second sequence has two and is left out."""
    tokens = np.stack([dna.encode(text) for text in ('TTTTACGTTTTTTTTT', 'ACGTTTTTTTTTTACG', 'TTTTTTTTTTTTCGTT')])
    sites = np.array([(10, 4, 3, 1), (11, 0, 3, 1), (11, 13, 3, 1), (12, 12, 3, -1)], 'i8,i4,i4,i1')
    known = np.zeros(4, SITE_DTYPE)
    for name, column in zip(('row', 'start', 'width', 'strand'), sites.dtype.names, strict=True):
        known[name] = sites[column]
    found = planted_alleles(tokens, known, np.array([10, 11, 12]), np.random.default_rng(0))
    assert found.row.tolist() == [0, 0, 2, 2] and found.breaks.tolist() == [True, False] * 2
    # All three columns are equally sure: the first, A, is replaced by C; on the other strand the last, T, by G.
    broken = zip(found.position[found.breaks].tolist(), found.letter[found.breaks].tolist(), strict=True)
    assert list(broken) == [(4, 1), (14, 2)]
    for row, position, letter, breaks in zip(*found, strict=True):
        start = {0: 4, 2: 12}[row]
        assert letter != tokens[row, position] and (breaks or not start - 3 <= position < start + 6)


def test_a_kind_is_the_letters_around_and_the_strand():
    kind = variant_null.kinds_of
    one, turned = ([np.array([dna.encode(letter)[0]]) for letter in text] for text in ('ACGT', 'CGTA'))
    assert kind(*one, False) == 16 * 1 + 4 * 2 + 3 != kind(*turned, False)
    assert kind(*one, True) == kind(*turned, True)  # ACG>ATG is CGT>CAT on the other strand
    every = np.array(np.meshgrid(*[np.arange(4)] * 4)).reshape(4, -1).astype(np.uint8)
    assert len(set(kind(*every, True).tolist()) - {-1}) == 96 and len(set(kind(*every, False).tolist()) - {-1}) == 192
    assert kind(*[np.array([4]), *one[1:]], False) == kind(one[0], one[1], one[2], one[1], False) == -1


def test_p_and_percentile_are_counts_among_the_same_kind():
    rng = np.random.default_rng(4)
    changes, kind = rng.normal(size=300).astype(np.float32), rng.integers(0, 3, 300)
    kind[:5] = 7  # too few of them
    null = variant_null.make_null(changes, kind, True)
    asked, kinds = np.array([0.7, -1.2, 0.0, 9, 0.3], np.float32), np.array([0, 1, 2, 7, -1])
    p_value, percentile = null.rank(asked, kinds)
    for change, one, p, share in zip(asked, kinds, p_value, percentile, strict=True):
        values = changes if one in (7, -1) else changes[kind == one]
        assert p == pytest.approx((1 + (np.abs(values) >= abs(change)).sum()) / (1 + len(values)))
        assert share == pytest.approx(100 * (values < change).mean())


def test_p_of_random_substitutions_is_uniform(models):
    """Those of other sequences of the same kind as those of the null."""
    tokens, lengths = np.random.default_rng(5).integers(0, 4, (300, WIDTH)).astype(np.uint8), np.full(300, WIDTH)
    scorer, changes, kinds = AlleleScorer(models[0].members), [], []
    for half, draws in ((slice(0, 200), 150), (slice(200, 300), 5)):
        drawn, kind = variant_null.substitutions(
            tokens[half], lengths[half], draws=draws, strands=True, rng=np.random.default_rng(draws)
        )
        assert np.bincount(kind).max() <= draws
        ref, alt = scorer.score(drawn)
        changes.append(alt.mean(axis=0) - ref.mean(axis=0))
        kinds.append(kind)
    null = variant_null.make_null(changes[0], kinds[0], True)
    p_value, percentile = null.rank(changes[1], kinds[1])
    assert len(p_value) == 480
    assert stats.kstest(p_value, 'uniform').pvalue > 0.01
    assert stats.kstest(percentile / 100, 'uniform').pvalue > 0.01


def test_the_null_is_of_the_tasks_test_sequences(run, models):
    once, again = (variant_null.nulls_of(run, models[:1], draws=20, progress=False)[0] for _ in range(2))
    np.testing.assert_array_equal(once.changes, again.changes)
    corpus = run.directory.corpus()
    rows = np.arange(len(corpus))[corpus.rows('one', 'test')]
    scores = models[0].predict([dna.decode(row) for row in corpus.padded(rows)]).score
    assert len(once.every) > 100 and np.abs(once.every).max() < 2 * np.ptp(scores) + 5
    assert np.diff(once.bounds).max() <= 20 and once.bounds[-1] == len(once.every)


def test_motifs_over_an_allele_are_those_that_a_scan_finds():
    rng = np.random.default_rng(6)
    motifs = {f'm{n}': rng.dirichlet([0.2] * 4, size=int(rng.integers(4, 9))) for n in range(4)}
    bank = variant_motifs.make_bank([{}, motifs], p_value=5e-3)
    tokens = rng.integers(0, 4, (200, 25)).astype(np.uint8)
    tokens[rng.random(tokens.shape) < 0.02] = dna.N
    at = rng.integers(0, 25, 200)
    length = np.minimum(rng.integers(1, 4, 200), 25 - at)
    expected = np.zeros((200, 4), bool)
    for k, matrix in enumerate(motifs.values()):
        hits = scan.known_hits(matrix, tokens, threshold=5e-3)
        over = (hits.start < (at + length)[hits.row]) & (hits.start + hits.width > at[hits.row])
        expected[hits.row[over], k] = True
    np.testing.assert_array_equal(bank.matches(tokens, at, length), expected)
    assert bank.names == tuple(motifs) and set(bank.model) == {1}
    assert 20 < expected.sum() < 400


@pytest.fixture(scope='module')
def scored(run, models, tmp_path_factory):
    """A table with everything, made in blocks of 16 variants."""
    folder = tmp_path_factory.mktemp('table')
    lines = [('s', p, f'rs{p}', TEXT[p - 1], 'ACGT'[('ACGT'.index(TEXT[p - 1]) + 1) % 4]) for p in range(3, 148, 4)]
    lines[5] = ('s', 23, '<b>&', TEXT[22:25], TEXT[22])
    path, sequences = folder / 'v.vcf', fasta(folder / 'x.fa', s=TEXT)
    path.write_text(vcf(*lines))
    options = {'nulls': lambda: variant_null.nulls_of(run, models, draws=40, progress=False), 'progress': False}
    options['bank'] = variant_motifs.make_bank([{'word': np.eye(4)[[0, 2, 3]]}] * len(models), p_value=0.02)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variant_effects, 'BLOCK', 16)
        written = variant_effects.write_variants(models, path, sequences, folder / 'o.tsv', n_top=7, **options)
    return written, variant_effects.score_variants(models, path, sequences, **options), folder


def test_the_table_holds_the_rows_of_all_blocks(scored):
    written, whole, folder = scored
    rows = files.read_tsv(folder / 'o.tsv')
    assert tuple(rows[0]) == written.columns and written.n_rows == len(rows) == 74
    assert [p.name for p in folder.iterdir() if p.name.startswith(('o', '.'))] == ['o.tsv']
    for row, expected in zip(rows, whole.rows(), strict=True):
        cells = {name: files.format_cell(value) for name, value in expected.items()}
        near = {name for name in cells if name.startswith(('score', 'prob', 'p_', 'perc'))}
        assert {name: row[name] for name in cells.keys() - near} == {name: cells[name] for name in cells.keys() - near}
        for name in near:
            assert float(row[name]) == pytest.approx(float(cells[name]), abs=2e-5)
    assert {row['members'] for row in rows} == {'2'}
    order = sorted(rows, key=lambda row: -abs(float(row['score_change'])))[:7]
    assert [(row['line'], row['task']) for row in order] == [(str(row['line']), row['task']) for row in written.top]
    assert [float(row['q_value']) for row in order] == pytest.approx([row['q_value'] for row in written.top], rel=1e-4)


def test_q_is_that_of_benjamini_and_hochberg(scored):
    rows = files.read_tsv(scored[2] / 'o.tsv')
    for task in ('one', 'two'):
        mine = [row for row in rows if row['task'] == task]
        expected = stats.false_discovery_control([float(row['p_value']) for row in mine])
        np.testing.assert_allclose([float(row['q_value']) for row in mine], expected, rtol=1e-4)


def test_motifs_gained_and_lost_are_words_that_come_and_go(scored):
    rows = files.read_tsv(scored[2] / 'o.tsv')
    seen = set()
    for row in rows:
        at, ref, alt = int(row['position']) - 1, row['ref'], row['alt']
        if len(ref) > 1:
            continue
        before, after = (TEXT[at - 2 : at] + allele + TEXT[at + 1 : at + 3] for allele in (ref, alt))
        had, has = ('AGT' in text or 'ACT' in text for text in (before, after))
        assert (row['motifs_gained'], row['motifs_lost']) == (('word', '') if has > had else ('', 'word' * (had > has)))
        seen.add((had, has))
    assert {(False, True), (True, False), (False, False)} <= seen


def test_maps_of_both_alleles_open_from_disk(scored, models):
    written, _, folder = scored
    page = variant_maps.write_maps(models, written, folder / 'maps', figures=2)
    text = page.read_text()
    pictures = sorted(path.name for path in page.parent.glob('*.png'))
    assert len(pictures) == 2 and all(name.replace('%', '%25') in text for name in pictures)
    assert '<b>' not in text and 'http' not in text and 'score of alt' in text and text.count('<img') == 2


def test_both_alleles_are_drawn_on_one_scale(scored, models):
    written, _, _ = scored
    row, windows = written.top[0], written.windows[0]
    model = next(model for model in models if model.task == row['task'])
    maps = model.mutagenesis([window.decode() for window in windows[1:]])
    axes = variant_maps._drawn(maps, 0, row, windows).axes
    values = np.concatenate(maps.values)
    assert axes[0].get_ylim() == axes[1].get_ylim()
    assert axes[0].get_ylim()[0] <= values.min() and values.max() <= axes[0].get_ylim()[1]


def test_a_run_of_one_model_has_no_spread(run, tmp_path):
    one = choose_models(run, ['one'], ['small_cnn'], 'best')
    (tmp_path / 'v.vcf').write_text(vcf(('s', 40, '.', TEXT[39], 'ACGT'[('ACGT'.index(TEXT[39]) + 1) % 4])))
    sequences = fasta(tmp_path / 'x.fa', s=TEXT)
    done = variant_effects.write_variants(one, tmp_path / 'v.vcf', sequences, tmp_path / 'o.tsv', progress=False)
    assert done.columns == variant_effects.VARIANT_COLUMNS and done.n_rows == 1
