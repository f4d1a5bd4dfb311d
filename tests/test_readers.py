"""Readers: the four layouts, what they accept, and the line they give for what they refuse."""

import gzip

import numpy as np
import pytest

from demo_jax.data import dna, textfile
from demo_jax.data.genome import Genome
from demo_jax.data.intervals import PeakOptions, Regions, read_peaks, task_name
from demo_jax.data.readers import find_tasks, read_corpus, read_tasks
from demo_jax.errors import InputError
from demo_jax.evaluation.published import published_task

HEADER = 'FoldID\tEventID\tseq\tBound\n'


def random_sequences(n, length=30, seed=0):
    return [dna.decode(row) for row in np.random.default_rng(seed).integers(0, 4, (n, length), dtype=np.uint8)]


def deepbind_text(sequences, labels):
    rows = [f'A\tseq_{i}\t{s}\t{label}\n' for i, (s, label) in enumerate(zip(sequences, labels, strict=True))]
    return HEADER + ''.join(rows)


def shuffles(sequences, seed=1):
    rng = np.random.default_rng(seed)
    return [dna.decode(dna.dinucleotide_shuffle(dna.encode(s)[None], rng)[0]) for s in sequences]


@pytest.fixture
def deepbind(tmp_path):
    """A folder with one small DeepBind task, gzipped."""
    train, test = random_sequences(20), random_sequences(6, seed=5)
    (tmp_path / 'T_AC.seq.gz').write_bytes(gzip.compress(deepbind_text(train, [1] * 20).encode()))
    both = test + shuffles(test)[::-1]
    (tmp_path / 'T_B.seq.gz').write_bytes(gzip.compress(deepbind_text(both, [1] * 6 + [0] * 6).encode()))
    return tmp_path


def labelled_text(n, seed=0, form='> {}\n{}\n'):
    sequences = random_sequences(n, seed=seed)
    pairs = zip(sequences, shuffles(sequences), strict=True)
    return ''.join(form.format(1, p) + form.format(0, s) for p, s in pairs)


def test_deepbind(deepbind):
    corpus = read_corpus('deepbind', [deepbind])
    assert corpus.tasks == ('T',)
    counts = corpus.info['tasks']['T']['counts']
    assert counts['train'] == {'positives': 18, 'negatives': 18, 'pairs': 18}
    assert counts['test'] == {'positives': 6, 'negatives': 6, 'pairs': 6}
    first = corpus.rows('T', 'test').start
    assert corpus.sequence(first) == random_sequences(6, seed=5)[0] and corpus.name(first) == 'seq_0'
    # A single file brings its partner along, and naming both is not naming the task twice.
    both = [deepbind / 'T_AC.seq.gz', deepbind / 'T_B.seq.gz']
    assert read_corpus('auto', both).fingerprint() == corpus.fingerprint()


def test_deepmotif_in_nested_folders(tmp_path):
    for task in ('x', 'y'):
        folder = tmp_path / 'some' / 'where' / task
        folder.mkdir(parents=True)
        (folder / 'train.fa').write_text(labelled_text(20))
        (folder / 'test.fa').write_text(labelled_text(5, 1, '>{}\n{}\n'))
    corpus = read_corpus('deepmotif', [tmp_path])
    assert corpus.tasks == ('x', 'y')
    assert corpus.info['tasks']['y']['shuffles_made'] == 0
    assert corpus.bounds[0].tolist() == [0, 36, 40, 50]
    assert [task.name for task in find_tasks('auto', [tmp_path])] == ['x', 'y']
    assert [task.name for task in read_tasks('auto', [tmp_path], tasks=['y'])] == ['y']
    with pytest.raises(InputError, match="no task 'z' in the input; it holds x, y"):
        read_tasks('auto', [tmp_path], tasks=['z'])


@pytest.mark.parametrize(
    ('header', 'label', 'name'),
    [
        ('1', 1, 'record_1'), (' 0', 0, 'record_1'), ('1 peak', 1, 'peak'), ('peak|a 0', 0, 'peak a'),
        ('peak label=1 x', 1, 'peak x'), ('1 1', 1, '1'), ('0 label=1', 1, '0'),
    ],
)  # fmt: skip
def test_labels_in_fasta_headers(tmp_path, header, label, name):
    file = tmp_path / 'task.fa'
    file.write_text(f'>{header}\nACGT\n' + labelled_text(8))
    task = read_tasks('fasta', [file])[0]
    found = {
        (name, int(label)) for part in (task.train, task.test)
        for sequence, label, name in zip(part.tokens, part.labels, part.names, strict=True) if len(sequence) == 4
    }  # fmt: skip
    assert found == {(name, label)}


@pytest.mark.parametrize('header', ['', 'peak', '2', '0 1', 'label=2', 'label=0 label=1'])
def test_bad_labels_in_fasta_headers(tmp_path, header):
    (tmp_path / 'task.fa').write_text(f'>1\nACGT\n>{header}\nACGT\n')
    with pytest.raises(InputError, match=r'task\.fa: record 2: header .* expected a label 0 or 1'):
        read_tasks('fasta', [tmp_path])


def test_positives_alone_are_split_with_the_shuffles_made_of_them(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / 'one.fa').write_text(''.join(f'>p{i} 1\n{dna.decode(rng.integers(0, 4, 30))}\n' for i in range(30)))
    facts = read_corpus('fasta', [tmp_path], test_fraction=0.2).info['tasks']['one']
    assert facts['counts']['test'] == {'positives': 6, 'negatives': 6, 'pairs': 6}
    assert facts['counts']['train']['pairs'] + facts['counts']['valid']['pairs'] == 24
    assert facts['shuffles_made'] == 30


def test_fasta_with_and_without_a_test_file(tmp_path):
    (tmp_path / 'one.fa').write_text(labelled_text(30))
    (tmp_path / 'two.fasta.gz').write_bytes(gzip.compress(labelled_text(30).encode()))
    (tmp_path / 'two.test.fasta').write_text(labelled_text(4, seed=9))
    corpus = read_corpus('fasta', [tmp_path], test_fraction=0.2)
    facts = corpus.info['tasks']
    assert facts['one']['counts']['test'] == {'positives': 6, 'negatives': 6, 'pairs': 6}
    assert facts['one']['test_fraction'] == 0.2 and 'test_fraction' not in facts['two']
    assert facts['two']['counts']['test']['pairs'] == 4


def test_what_is_accepted(tmp_path):
    """Lower case, N and IUPAC, Windows line ends, several lines per record, a byte-order mark, any file name."""
    text = '\ufeff>1 a\r\nacgu\r\nNNRY\r\n\r\n>0 b\r\nACGTACGTACG\r\n' + labelled_text(6)
    file = tmp_path / 'plain.fa'
    packed = tmp_path / 'packed.fa'  # gzip, and nothing in the name says so
    file.write_bytes(text.encode('utf-8'))
    packed.write_bytes(gzip.compress(text.encode('utf-8')))
    for task in read_tasks('fasta', [file, packed]):
        found = {}
        for part in (task.train, task.test):
            found |= dict(zip(part.names, map(dna.decode, part.tokens), strict=True))
        assert found['a'] == 'ACGTNNNN' and found['b'] == 'ACGTACGTACG'


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'is empty'),
        (gzip.compress(b'', mtime=0), 'is empty'),
        (gzip.compress(HEADER.encode() * 50, mtime=0)[:-20], 'truncated gzip'),
        (gzip.compress(HEADER.encode(), mtime=0)[:20] + b'xxxxxxxxxxxxxxxxxx', '(damaged|truncated) gzip'),
        (HEADER.encode('utf-16'), 'UTF-16'),
        (HEADER.encode() + b'A\tx\tAC\0GT\t1\n', 'line 2 has a NUL byte'),
        (b'a\tb\n', "line 1 is 'a.tb', expected the columns FoldID, EventID, seq, Bound"),
        (HEADER.encode() + b'A\tx\tACGT\n', 'line 2 has 3 columns, expected 4'),
        (HEADER.encode() + b'A\tx\tACGT\t0.5\n', "line 2: Bound is '0.5', expected 0 or 1"),
        (HEADER.encode() + b'A\tx\t\t1\n', 'line 2: seq is empty'),
        (HEADER.encode() + b'A\tx\tACGT\t1\nA\ty\tAC!T\t1\n', r"record 2 \('y'\): position 3 holds '!'"),
        (HEADER.encode() + b'A\tx\tACGT\t0\n', 'no positives among 1 records'),
        (HEADER.encode(), 'no positives among 0 records'),
    ],
)
def test_bad_deepbind_files(deepbind, content, message):
    (deepbind / 'T_AC.seq.gz').write_bytes(content)
    with pytest.raises(InputError, match=f'T_AC.seq.gz: .*{message}') as caught:
        read_corpus('deepbind', [deepbind])
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('\n \n', 'is empty'),
        ('ACGT\n', "line 1 is b'ACGT', expected a FASTA header"),
        ('>1\nACGT\n>1\n>0\nACGT\n', "record 2 .'1'. has no letters"),
        ('>0\nACGT\n', 'no positives among 1 records'),
        ('>1\nACGT\n>1 x\nAC?T\n', r"record 2 \('x'\): position 3 holds '\?'"),
    ],
)
def test_bad_fasta_files(tmp_path, content, message):
    (tmp_path / 'task.fa').write_text(content)
    with pytest.raises(InputError, match=rf'task\.fa: {message}'):
        read_tasks('fasta', [tmp_path])


def test_a_gzip_bomb_of_one_line_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(textfile, 'MAX_LINE', 1000)
    for text in ('>1\n' + 'A' * 5000, '>1\n' + 'AAAAAAAAAA\n' * 500):
        (tmp_path / 'task.fa').write_bytes(gzip.compress(text.encode()))
        with pytest.raises(InputError, match='has more than 1,000'):
            read_tasks('fasta', [tmp_path])


def test_missing_things(deepbind, tmp_path):
    (deepbind / 'T_B.seq.gz').unlink()
    with pytest.raises(InputError, match=r'T_AC\.seq\.gz: the test file .* \(T_B\.seq\.gz\) is missing'):
        read_tasks('deepbind', [deepbind])
    with pytest.raises(InputError, match='holds no tasks, expected X/train.fa'):
        read_tasks('deepmotif', [deepbind])
    with pytest.raises(InputError, match='nothing: does not exist'):
        read_tasks('auto', [tmp_path / 'nothing'])
    with pytest.raises(InputError, match='needs an input'):
        read_tasks('auto', [])
    with pytest.raises(InputError, match='expected one of auto, deepbind'):
        read_tasks('bam', [deepbind])
    with pytest.raises(InputError, match='needs a genome'):
        (tmp_path / 'x.bed').write_text('chr1\t1\t5\n')
        read_tasks('bed', [tmp_path / 'x.bed'])


def test_the_same_task_twice_is_refused(deepbind):
    copy = deepbind / 'copy'
    copy.mkdir()
    for file in list(deepbind.glob('*.gz')):
        (copy / file.name).write_bytes(file.read_bytes())
    with pytest.raises(InputError, match="task 'T' occurs 2 times"):
        read_corpus('deepbind', [deepbind])


def test_real_data(real_data):
    corpus = read_corpus('auto', [real_data])
    assert corpus.n_tasks == 6
    made = {name.split('_')[0]: facts['shuffles_made'] for name, facts in corpus.info['tasks'].items()}
    assert made == {'ARID3A': 8526, 'CTCFL': 11033, 'GATA1': 0, 'MYC': 4051, 'REST': 6406, 'ZBTB7A': 8689}
    for facts in corpus.info['tasks'].values():
        assert facts['counts']['test'] == {'positives': 500, 'negatives': 500, 'pairs': 500}
        for split in ('train', 'valid'):
            assert len(set(facts['counts'][split].values())) == 1  # every positive has its shuffle
    gata = corpus.info['tasks']['GATA1_K562_GATA-1_USC']['counts']
    assert gata['train']['positives'] + gata['valid']['positives'] == 3574
    assert set(corpus.lengths) == {101}
    assert (corpus.pairs >= 0).all() and len(np.unique(corpus.pairs)) * 2 == len(corpus)
    assert published_task('GATA1_K562_GATA-1_USC') is not None


# Peaks and a genome.

SIZES = {'chr1': 6000, 'chr2': 5000, 'chr8': 4000}


@pytest.fixture
def genome(tmp_path):
    """Three chromosomes with a run of N on chr1; also their letters."""
    rng = np.random.default_rng(0)
    letters = {chrom: dna.decode(rng.integers(0, 4, size, dtype=np.uint8)) for chrom, size in SIZES.items()}
    letters['chr1'] = letters['chr1'][:5000] + 'N' * 200 + letters['chr1'][5200:].lower()
    path = tmp_path / 'genome.fa'
    with open(path, 'w') as file:
        for chrom, text in letters.items():
            file.write(f'>{chrom} description\n')
            file.writelines(f'{text[i : i + 60]}\n' for i in range(0, len(text), 60))
    return path, {chrom: text.upper() for chrom, text in letters.items()}


def narrow_peaks(path, n=12):
    """n peaks on each chromosome; the k-th has its summit at 200 + 110 k and signal k."""
    lines = ['track type=narrowPeak\n']
    for chrom in SIZES:
        lines += [f'{chrom}\t{150 + 110 * k}\t{400 + 110 * k}\t.\t0\t.\t{k}\t-1\t-1\t50\n' for k in range(n)]
    path.write_text(''.join(lines))
    return path


def test_narrow_peaks_give_windows_around_the_summit(tmp_path, genome):
    path, letters = genome
    file = narrow_peaks(tmp_path / 'ctcf.narrowPeak')
    options = PeakOptions(path, width=51, top=20)
    corpus = read_corpus('bed', [file], peaks=options)
    assert corpus.tasks == ('ctcf',) and set(corpus.lengths) == {51}
    assert corpus.chroms == ('chr1', 'chr2', 'chr8')
    signals = []
    for row in np.flatnonzero(corpus.labels):
        chrom, start = corpus.chroms[corpus.intervals['chrom'][row]], corpus.intervals['start'][row]
        assert corpus.sequence(row) == letters[chrom][start : start + 51]
        assert corpus.name(row) == f'{chrom}:{start}-{start + 51}'
        assert (row >= corpus.bounds[0, 2]) == (chrom == 'chr8')
        assert (start + 25 - 200) % 110 == 0
        signals.append((start + 25 - 200) // 110)
    assert sorted(signals, reverse=True) == np.repeat(np.arange(11, 4, -1), 3)[:20].tolist()
    assert (corpus.intervals['chrom'][corpus.labels == 0] == -1).all()
    assert (corpus.pairs >= 0).all()


def test_gc_matched_negatives(tmp_path, genome):
    path, letters = genome
    file = narrow_peaks(tmp_path / 'x.bed', n=6)
    blacklist = tmp_path / 'black.bed'
    blacklist.write_text('chr1\t1500\t3000\nchr2\t250\t260\n')
    options = PeakOptions(path, width=41, negatives='gc', blacklist=blacklist)
    corpus = read_corpus('bed', [file], peaks=options, seed=3)
    info = corpus.info['tasks']['x']
    assert info['dropped'] == {
        'unknown_chromosome': 0, 'outside_chromosome': 0, 'blacklisted': 0, 'repeated': 0,
    }  # fmt: skip
    negatives = np.flatnonzero(corpus.labels == 0)
    assert len(negatives) == 18 - info['gc_unmatched'] >= 14
    bins = {}
    for split in (slice(0, corpus.bounds[0, 2]), corpus.rows(0, 'test')):
        for row in range(split.start, split.stop):
            gc = sum(letter in 'GC' for letter in corpus.sequence(row)) * 50 // 41
            key = (split.start, gc)
            bins.setdefault(key, [0, 0])[corpus.labels[row]] += 1
    assert all(negative <= positive for negative, positive in bins.values())
    for row in negatives:
        chrom, start = corpus.chroms[corpus.intervals['chrom'][row]], int(corpus.intervals['start'][row])
        assert corpus.sequence(row) == letters[chrom][start : start + 41]
        assert 'N' not in corpus.sequence(row)
        assert not (start < 400 + 110 * 5 and start + 41 > 150)  # peaks cover 150-950 of every chromosome
        assert not (chrom == 'chr1' and start < 3000 and start + 41 > 1500)
        assert (row >= corpus.bounds[0, 2]) == (chrom == 'chr8')
    assert read_corpus('bed', [file], peaks=options, seed=3).fingerprint() == corpus.fingerprint()


def test_windows_that_cannot_be_used_are_counted(tmp_path, genome):
    path, _ = genome
    file = tmp_path / 'x.bed'
    good = ''.join(f'chr2 {300 * k} {300 * k + 9}\n' for k in range(1, 10)) + 'chr8\t500\t600\n'
    file.write_text(good + 'chr2 300 309\nchr1\t0\t10\nchr1\t5990\t6000\nchrUn\t5\t9\nchr2 4000 4100\n')
    (tmp_path / 'black.bed').write_text('chr2\t4090\t4200\n')
    options = PeakOptions(path, width=101, blacklist=tmp_path / 'black.bed')
    corpus = read_corpus('bed', [file], peaks=options)
    assert corpus.info['tasks']['x']['dropped'] == {
        'unknown_chromosome': 1, 'outside_chromosome': 2, 'blacklisted': 1, 'repeated': 1,
    }  # fmt: skip
    assert corpus.labels.sum() == 10


def test_no_peak_on_the_test_chromosomes(tmp_path, genome):
    path, _ = genome
    file = narrow_peaks(tmp_path / 'x.bed')
    options = PeakOptions(path, width=31, test_chroms=('chr20',))
    with pytest.raises(InputError, match=r'x\.bed: no peak lies on the test chromosomes chr20'):
        read_tasks('bed', [file], peaks=options)
    corpus = read_corpus('bed', [file], peaks=options, test_fraction=0.25)
    assert corpus.info['tasks']['x']['counts']['test'] == {'positives': 9, 'negatives': 9, 'pairs': 9}


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('chr1\t5', 'line 2 has 2 columns'),
        ('chr1\tx\t7', "line 2: start is 'x', expected a whole number"),
        ('chr1\t9\t7', 'line 2: start 9 and end 7'),
        ('chr1\t1\t7\tn\t0\t.\tnan\t1\t1\t2', "line 2: signal is 'nan'"),
        ('chr1\t1\t7\tn\t0\t.\t4\t1\t1\t6', 'line 2: summit 6 lies outside'),
    ],
)
def test_bad_peak_files(tmp_path, line, message):
    (tmp_path / 'x.bed').write_text('chr1\t1\t5\n' + line + '\n')
    with pytest.raises(InputError, match=rf'x\.bed: {message}'):
        read_peaks(tmp_path / 'x.bed')


def test_bad_genomes(tmp_path, genome):
    file = narrow_peaks(tmp_path / 'x.bed')
    with pytest.raises(InputError, match='does not exist, expected a genome FASTA'):
        read_tasks('bed', [file], peaks=PeakOptions(tmp_path / 'none.fa'))
    for name, content in (('uneven.fa', '>chr1\nAC\nACGT\nACG\nACGTA\n'), ('empty.fa', '')):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=name):
            read_tasks('bed', [file], peaks=PeakOptions(tmp_path / name))
    (tmp_path / 'other.fa').write_text('>1\nACGT\n')
    with pytest.raises(InputError, match='none of its chromosomes'):
        read_tasks('bed', [file], peaks=PeakOptions(tmp_path / 'other.fa'))


@pytest.mark.parametrize('cells, signal', [
    ('chr1 900000 900200 x 10 + 900000 900200 255,0,0', 10), ('chr1 900000 900200 x 10 + 900020 900100 0', 10),
    ('chr1 900000 900200 x 10 . 7.5 3.1 -1', 7.5), ('chr1 5 900 x 10 . 4 3 -1', 4), ('chr1 5 900 x 10', 10),
])  # fmt: skip
def test_nine_columns_are_a_broad_peak_or_a_coloured_region(tmp_path, cells, signal):
    (tmp_path / 'x.bed').write_text(cells.replace(' ', '\t') + '\n')
    assert read_peaks(tmp_path / 'x.bed').signals.tolist() == [signal]


def test_negatives_keep_away_from_windows_that_reach_out_of_their_peaks(tmp_path):
    """Peaks of one letter, every 300 in 3,000 letters of equal GC: most windows touch a positive."""
    rng = np.random.default_rng(0)
    letters = ''.join(''.join(rng.permutation(list('ACGT'))) for _ in range(750))
    (tmp_path / 'g.fa').write_text(f'>chr1\n{letters}\n>chr8\n{letters}\n')
    peaks = ''.join(f'{chrom}\t{at}\t{at + 1}\n' for chrom in ('chr1', 'chr8') for at in range(150, 3000, 300))
    (tmp_path / 'x.bed').write_text(peaks)
    options = PeakOptions(tmp_path / 'g.fa', width=101, negatives='gc')
    corpus = read_corpus('bed', [tmp_path / 'x.bed'], peaks=options)
    starts, labels = corpus.intervals['start'], np.asarray(corpus.labels)
    assert (labels == 0).sum() > 10
    for row in np.flatnonzero(labels == 0):
        same = (labels == 1) & (corpus.intervals['chrom'] == corpus.intervals['chrom'][row])
        assert np.abs(starts[same] - starts[row]).min() >= 101


def test_regions_against_brute_force():
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 200, 15)
    ends = starts + rng.integers(1, 20, 15)
    covered = np.zeros(300, bool)
    for start, end in zip(starts, ends, strict=True):
        covered[start:end] = True
    regions = Regions(['c'] * 15, starts, ends)
    windows = np.arange(250)
    expected = [covered[start : start + 7].any() for start in windows]
    np.testing.assert_array_equal(regions.overlap('c', windows, 7), expected)
    assert not regions.overlap('d', windows, 7).any()


def test_task_names_of_peak_files(tmp_path):
    for name in ('CTCF_K562.narrowPeak.gz', 'CTCF_K562.bed', 'CTCF_K562.bed.gz', 'CTCF_K562.broadPeak'):
        assert task_name(tmp_path / name) == 'CTCF_K562'
    assert task_name(tmp_path / 'a.b.bed') == 'a.b'


def test_an_index_with_an_impossible_length_is_refused(tmp_path):
    (tmp_path / 'g.fa').write_text('>chr1\nACGTACGT\n')
    (tmp_path / 'g.fa.fai').write_text(f'chr1\t{10**15}\t6\t8\t9\n')
    with pytest.raises(InputError, match=f'g.fa: cannot be used as a genome FASTA.*{10**15}'):
        Genome(tmp_path / 'g.fa')
