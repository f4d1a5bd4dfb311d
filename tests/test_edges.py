"""The core's refusals and rare turns that no other test takes: settings out of range, damaged corpora, odd shapes."""

import json

import numpy as np
import pytest

from demo_jax.data.build import Records, TaskRecords, build_corpus
from demo_jax.data.intervals import PeakOptions
from demo_jax.data.peak_files import read_peaks
from demo_jax.data.storage import load_corpus, save_corpus, stored_fingerprint
from demo_jax.errors import InputError
from demo_jax.explain.attribution import attribute
from demo_jax.explain.batches import checked_sequences, count_models
from demo_jax.explain.truth import score_truth
from demo_jax.io.textfile import check_ratio, check_size, read_fasta, read_lines
from demo_jax.motifs.extract import Windows
from demo_jax.nn.models import SPECS
from demo_jax.stages import sources
from demo_jax.training.pool import build_pool
from tests import helpers_models
from tests.helpers import toy_corpus
from tests.helpers_models import fresh, some_tokens

few_filters = pytest.fixture(scope='module', autouse=True)(helpers_models.few_filters)


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'width': 3}, 'width is 3, expected 4 or more'),
        ({'top': 0}, 'top is 0, expected 1 or more'),
        ({'negatives': 'none'}, "negatives is 'none', expected 'shuffle' or 'gc'"),
    ],
)
def test_peak_options_out_of_range(changed, message):
    with pytest.raises(InputError, match=message):
        PeakOptions(**{'genome': 'g.fa'} | changed)


def test_peaks_with_a_dot_for_the_signal_and_broad_peaks(tmp_path):
    path = tmp_path / 'a.bed'
    path.write_text('track x\n\nchr1\t10\t20\tp\t.\nchr1 5 9 p .\n')
    assert read_peaks(path).signals.tolist() == [0.0, 0.0]
    path.write_text('chr1\t10\t20\tp\t0\t.\t7.5\t-1\t-1\n')
    assert (read_peaks(path).signals.tolist(), read_peaks(path).centres.tolist()) == ([7.5], [15])
    for text, message in (
        ('# x\n', 'holds no peaks'),
        ('chr1\t1\t5\tp\tnan\n', "signal is 'nan'"),
        ('chr1\té\t5\n', "start is 'é', expected a whole number"),
    ):
        path.write_text(text, encoding='utf-8')
        with pytest.raises(InputError, match=message):
            read_peaks(path)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'source': 'genbank'}, "source is 'genbank'"),
        ({'source': 'bed', 'input': ['a.bed']}, 'needs --genome'),
        ({'source': 'simulated', 'n_tasks': -1}, 'n_tasks is -1'),
        ({'source': 'simulated', 'n_tasks': 2, 'n_pair_tasks': 3}, 'n_pair_tasks is 3, expected 0 to 2'),
        ({'source': 'simulated', 'n_tasks': 1, 'simulation': {'gravity': 1}}, 'simulation: .*gravity'),
        ({'source': 'deepmotif108', 'input': ['a', 'b']}, 'takes one input, not 2'),
        ({'source': 'deepmotif108', 'input': ['nowhere']}, 'nowhere: does not exist'),
    ],
)
def test_preparing_refuses(settings, message):
    with pytest.raises(InputError, match=message):
        sources.prepare_corpus(**settings, progress=False)


def test_preparing_peaks_and_describing_them(tmp_path, capsys):
    rng = np.random.default_rng(0)
    genome = ''.join(f'>{name}\n{"".join(rng.choice(list("ACGT"), 3000))}\n' for name in ('chr1', 'chr8'))
    (tmp_path / 'g.fa').write_text(genome)
    rows = [f'{name}\t{at}\t{at + 40}\tp\t{at}\n' for name in ('chr1', 'chr8') for at in range(100, 2800, 150)]
    (tmp_path / 'a.bed').write_text(''.join(rows) + 'chr1\t0\t30\tedge\t1\n')
    corpus = sources.prepare_corpus(
        source='bed', input=[str(tmp_path / 'a.bed')], genome=str(tmp_path / 'g.fa'), width=41, progress=True
    )
    assert len(corpus) == 2 * len(rows)
    text = sources.describe(corpus)
    assert '1 outside chromosome' in text and f'1 tasks, {len(corpus)} sequences' in text
    capsys.readouterr()
    out = tmp_path / 'out'
    sources.save_prepared(corpus, out)
    sources.save_prepared(corpus, out)  # the same one: nothing to do
    other = toy_corpus({'a': 10})
    with pytest.raises(InputError, match='holds another corpus; add --force'):
        sources.save_prepared(other, out)
    sources.save_prepared(other, out, force=True)
    assert load_corpus(out, verify=True).fingerprint() == other.fingerprint() == stored_fingerprint(out)
    with pytest.raises(InputError, match='exists and is not a corpus'):
        sources.save_prepared(corpus, tmp_path / 'g.fa')


def test_describing_simulated_and_held_out_tasks():
    corpus = sources.prepare_corpus(source='simulated', n_tasks=3, n_train=20, n_test=5, n_pair_tasks=1, progress=False)
    assert corpus.info['tasks'][corpus.tasks[0]]['is_pair']
    facts = {
        'shuffles_made': 3,
        'test_fraction': 0.1,
        'dropped': {'too_long': 2, 'no_n': 0},
        'gc_unmatched': 4,
        'motif': 'MA1',
        'motif_assigned': True,
    }
    assert sources._notes(facts) == (
        '3 shuffles made, test = 0.1 held out, 2 too long, 4 without a GC match, MA1 (assigned)'
    )
    assert corpus.info['tasks'][corpus.tasks[1]]['motif'] in sources.describe(corpus)


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / 'corpus'
    save_corpus(sources.prepare_corpus(source='simulated', n_tasks=1, n_train=12, n_test=4, progress=False), path)
    return path


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'tasks': 3}, 'tasks is 3, expected a list'),
        ({'tasks': [1]}, 'tasks holds 1, expected names'),
        ({'tasks': ['a\nb']}, 'expected printable names'),
        ({'tasks': ['a', 'a']}, 'names one task twice'),
        ({'info': {'tasks': []}}, 'expected facts of each task'),
        ({'version': 99}, 'format version 99'),
        ({'format': 'x'}, 'is not the manifest of a corpus'),
        ({'fingerprint': 'x'}, 'does not have the fingerprint'),
        ({'shapes': {}}, 'lists no array'),
    ],
)
def test_a_manifest_that_lies(stored, changed, message):
    manifest = json.loads((stored / 'manifest.json').read_text())
    (stored / 'manifest.json').write_text(json.dumps(manifest | changed))
    with pytest.raises(InputError, match=message):
        load_corpus(stored, verify=True)


@pytest.mark.parametrize(
    ('name', 'change', 'message'),
    [
        ('tokens', lambda a: a + 7, 'tokens.npy: holds values out of range'),
        ('labels', lambda a: a + 2, 'labels.npy: holds values out of range'),
        ('pairs', lambda a: a - 9, 'pairs.npy: holds values out of range'),
        ('starts', lambda a: a[::-1], 'do not fit together'),
        ('bounds', lambda a: a - 1, 'do not fit together'),
        ('sites', lambda a: a[::-1], 'sites.npy: holds values out of range'),
        ('labels', lambda a: a[:-1], 'expected uint8 of shape'),
        ('labels', lambda a: None, 'labels.npy: is missing'),
    ],
)
def test_arrays_that_do_not_fit(stored, name, change, message):
    array = change(np.array(np.load(stored / f'{name}.npy', allow_pickle=False)))
    if array is None:
        (stored / f'{name}.npy').unlink()
    else:
        np.save(stored / f'{name}.npy', array, allow_pickle=False)
    with pytest.raises(InputError, match=message):
        load_corpus(stored)


def test_what_is_no_corpus(tmp_path):
    with pytest.raises(InputError, match='is not a directory'):
        load_corpus(tmp_path / 'nothing')


def test_text_files_at_their_limits(tmp_path, monkeypatch):
    from demo_jax.io import textfile

    path = tmp_path / 'a.fa'
    for data, message in (
        (b'\xff\xfe>\0', 'UTF-16'),
        (b'>a\nAC\0\n', 'NUL byte'),
        (b'\n\n', 'is empty'),
        (b'ACGT\n', 'expected a FASTA header'),
        (b'>a\n>b\nA\n', 'has no letters'),
    ):
        path.write_bytes(data)
        with pytest.raises(InputError, match=message):
            list(read_fasta(path))
    path.write_bytes(b'\xef\xbb\xbf>a\nAC\nGT\n>b\nA\n')
    assert [record.letters for record in read_fasta(path)] == [b'ACGT', b'A']
    monkeypatch.setattr(textfile, 'MAX_LINE', 6)
    path.write_bytes(b'>a\nACGT\nACGT\n')
    with pytest.raises(InputError, match='more than 6 letters'):
        list(read_fasta(path))
    path.write_bytes(b'>abcdefgh\n')
    with pytest.raises(InputError, match='more than 6 bytes'):
        list(read_lines(path))
    monkeypatch.setattr(textfile, 'MAX_RECORDS', 2)
    with pytest.raises(InputError, match='more than 2 records'):
        check_size(path, 3)
    with pytest.raises(InputError, match='unpacks to more than'):
        check_ratio(path, 10 * textfile.FREE_BYTES * textfile.MAX_RATIO, 1)


def test_integrated_gradients_from_shuffles_on_both_strands():
    """The mean over baselines and strands is that of the strands by themselves."""
    spec, params, tokens = SPECS['small_rnn'], fresh('small_rnn'), some_tokens(2, 10, seed=3) % 4
    shuffles = np.random.default_rng(0).permuted(np.repeat(tokens[:, None], 3, axis=1), axis=2)
    lengths = np.array([10, 8])
    tokens[1, 8:], shuffles[1, :, 8:] = 4, 4
    extra = {'baseline': 'shuffled', 'steps': 4}
    both = attribute(
        'integrated_gradients', params, spec, tokens, lengths=lengths, shuffles=shuffles, both_strands=True, **extra
    )
    complement = np.array([3, 2, 1, 0, 4], np.uint8)
    parts = []
    for row, size in enumerate(lengths):
        given, turned = (
            attribute('integrated_gradients', params, spec, one[None], shuffles=some[None], **extra).signed[0]
            for one, some in (
                (tokens[row, :size], shuffles[row, :, :size]),
                (complement[tokens[row, :size][::-1]], complement[shuffles[row, :, :size][:, ::-1]]),
            )
        )
        parts.append((given + turned[::-1]) / 2)
    for row, part in enumerate(parts):
        np.testing.assert_allclose(both.signed[row, : len(part)], part, atol=1e-5)


@pytest.mark.parametrize(
    ('shuffles', 'baseline', 'message'),
    [
        (np.zeros((1, 2, 9), np.uint8), 'shuffled', 'shuffles have shape'),
        (np.zeros((1, 2, 10), np.uint8), 'zeros', 'belong together'),
        (None, 'shuffled', 'belong together'),
        (None, 'thirds', "baseline is 'thirds'"),
    ],
)
def test_shuffles_that_do_not_fit(shuffles, baseline, message):
    given = {} if shuffles is None else {'shuffles': shuffles}
    with pytest.raises(InputError, match=message):
        attribute(
            'integrated_gradients',
            fresh('small_rnn'),
            SPECS['small_rnn'],
            some_tokens(1, 10),
            baseline=baseline,
            **given,
        )


def test_models_and_sequences_that_do_not_fit():
    spec = SPECS['small_cnn']
    with pytest.raises(InputError, match='tokens are of 2 models, expected 3'):
        checked_sequences(spec, np.zeros((2, 1, 30), np.uint8), None, 3)
    with pytest.raises(InputError, match='at least one sequence'):
        checked_sequences(spec, np.zeros((0, 30), np.uint8), None, 1)
    with pytest.raises(InputError, match='a length is 31'):
        checked_sequences(spec, np.zeros((1, 30), np.uint8), np.array([31]), 1)
    with pytest.raises(InputError, match='expected one number of models'):
        count_models({'a': np.zeros(2), 'b': np.zeros(3)})


def test_truth_of_two_windows_in_one_sequence_is_refused():
    windows = Windows(np.array([0, 0]), np.array([1, 2]), np.ones(2, np.int8), np.zeros(2))
    with pytest.raises(ValueError, match='two windows'):
        score_truth(values=np.zeros((1, 20)), windows=windows, sites=np.zeros(0), rows=np.arange(1))
    with pytest.raises(ValueError, match='keep'):
        score_truth(values=np.zeros((1, 20)), windows=windows, sites=np.zeros(0), rows=np.arange(1), keep=np.ones(2))


def test_a_pool_of_unpaired_rows_has_nothing_to_shuffle_anew():
    rng = np.random.default_rng(0)
    records = [
        Records(
            [rng.integers(0, 4, 30).astype(np.uint8) for _ in range(8)],
            np.array([1, 0] * 4, np.uint8),
            [f'{part}{i}' for i in range(8)],
            np.full(8, -1),
        )
        for part in ('train', 'test')
    ]
    corpus = build_corpus([TaskRecords('a', *records)])
    pool, rows = build_pool(corpus, negative_sets=3)
    assert len(pool.tokens) == len(corpus)
    assert (rows['a'].train == rows['a'].train[:, :1]).all()
    assert rows['a'].train.shape == (corpus.rows('a', 'train').stop, 3)
