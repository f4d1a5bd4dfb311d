"""Peaks: windows, negatives, and the line they give for what they refuse."""

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.data.intervals import PeakOptions, Regions
from demo_jax.data.peak_files import read_peaks
from demo_jax.data.readers import read_corpus, read_tasks
from demo_jax.errors import InputError
from demo_jax.stages import sources

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
        'unknown_chromosome': 0,
        'outside_chromosome': 0,
        'blacklisted': 0,
        'repeated': 0,
        'mostly_N': 0,
    }
    negatives = np.flatnonzero(corpus.labels == 0)
    assert len(negatives) == 18 - info['gc_unmatched'] >= 14 and corpus.labels.sum() == len(negatives)
    bins = {}
    for split in (slice(0, corpus.bounds[0, 2]), corpus.rows(0, 'test')):
        for row in range(split.start, split.stop):
            gc = sum(letter in 'GC' for letter in corpus.sequence(row)) * 50 // 41
            key = (split.start, gc)
            bins.setdefault(key, [0, 0])[corpus.labels[row]] += 1
    assert all(negative == positive for negative, positive in bins.values())
    for row in negatives:
        chrom, start = corpus.chroms[corpus.intervals['chrom'][row]], int(corpus.intervals['start'][row])
        assert corpus.sequence(row) == letters[chrom][start : start + 41]
        assert 'N' not in corpus.sequence(row)
        assert not (start < 400 + 110 * 5 and start + 41 > 150)  # peaks cover 150-950 of every chromosome
        assert not (chrom == 'chr1' and start < 3000 and start + 41 > 1500)
        assert (row >= corpus.bounds[0, 2]) == (chrom == 'chr8')
    assert read_corpus('bed', [file], peaks=options, seed=3).fingerprint() == corpus.fingerprint()


def test_peaks_without_a_window_of_their_gc_content_are_left_out(tmp_path):
    """A genome of A and T with C and G in the peaks and few other places: what is left is balanced in GC."""
    rng = np.random.default_rng(0)
    size, at = 9000, range(200, 4200, 200)
    lines, chroms = [], []
    for chrom in ('chr1', 'chr8'):
        letters = rng.choice(list('AT'), size)
        for number, start in enumerate(at):  # half of the peaks are of A and T as well
            if number % 2:
                letters[start : start + 40] = rng.choice(list('CG'), 40)
            lines.append(f'{chrom}\t{start}\t{start + 40}\tp\t{number}\n')
        letters[5000:5040] = letters[6000:6040] = 'C'  # so many windows can match the peaks of C and G
        chroms.append(f'>{chrom}\n{"".join(letters)}\n')
    (tmp_path / 'g.fa').write_text(''.join(chroms))
    (tmp_path / 'x.bed').write_text(''.join(lines))
    options = PeakOptions(tmp_path / 'g.fa', width=40, negatives='gc')
    corpus = read_corpus('bed', [tmp_path / 'x.bed'], peaks=options)
    unmatched = corpus.info['tasks']['x']['gc_unmatched']
    assert unmatched == 16 and len(corpus) == 2 * (40 - unmatched)
    for rows in (slice(0, corpus.bounds[0, 2]), corpus.rows(0, 'test')):
        gc = np.array([sum(letter in 'CG' for letter in corpus.sequence(row)) for row in range(rows.start, rows.stop)])
        labels = np.asarray(corpus.labels[rows])
        assert sorted(gc[labels == 1]) == sorted(gc[labels == 0])
    assert sources.left_out(corpus) == f'{unmatched} without a GC match'
    kept = [row for row in np.flatnonzero(corpus.labels) if set(corpus.sequence(row)) <= set('CG')]
    assert sorted(corpus.intervals['start'][kept]) == [3600, 3600, 4000, 4000]  # the strongest of both chromosomes
    lines = [line for number, line in enumerate(lines) if number % 2]
    (tmp_path / 'y.bed').write_text(''.join(lines))
    (tmp_path / 'g.fa').write_text(''.join(chroms).replace('C' * 40, 'A' * 40))
    with pytest.raises(InputError, match=r'y\.bed: no window of .*g\.fa has the GC content of one of its peaks'):
        read_corpus('bed', [tmp_path / 'y.bed'], peaks=options)


def test_windows_that_cannot_be_used_are_counted(tmp_path, genome):
    path, _ = genome
    file = tmp_path / 'x.bed'
    good = ''.join(f'chr2 {300 * k} {300 * k + 9}\n' for k in range(1, 10)) + 'chr8\t500\t600\n'
    file.write_text(good + 'chr2 300 309\nchr1\t0\t10\nchr1\t5990\t6000\nchrUn\t5\t9\nchr2 4000 4100\n')
    (tmp_path / 'black.bed').write_text('chr2\t4090\t4200\n')
    options = PeakOptions(path, width=101, blacklist=tmp_path / 'black.bed')
    corpus = read_corpus('bed', [file], peaks=options)
    assert corpus.info['tasks']['x']['dropped'] == {
        'unknown_chromosome': 1,
        'outside_chromosome': 2,
        'blacklisted': 1,
        'repeated': 1,
        'mostly_N': 0,
    }
    assert corpus.labels.sum() == 10


def test_no_peak_on_the_test_chromosomes(tmp_path, genome):
    path, _ = genome
    file = narrow_peaks(tmp_path / 'x.bed')
    options = PeakOptions(path, width=31, test_chroms=('chr20',))
    with pytest.raises(InputError, match=r'x\.bed: no peak .* test chromosomes chr20 \(.*genome\.fa has no chr20'):
        read_tasks('bed', [file], peaks=options)
    corpus = read_corpus('bed', [file], peaks=options, test_fraction=0.25)
    assert corpus.info['tasks']['x']['counts']['test'] == {'positives': 9, 'negatives': 9, 'pairs': 9}


NARROW = 'chr1 1 7 n 0 . 4 1 1 '


@pytest.mark.parametrize(
    ('name', 'first', 'line', 'message'),
    [
        ('x.bed', 'chr1 1 5', 'chr1 5', 'line 2 has 2 columns'),
        ('x.bed', 'chr1 1 5', 'chr1 x 7', "line 2: start is 'x', expected a whole number"),
        ('x.bed', 'chr1 1 5', 'chr1 9 7', 'line 2: start 9 and end 7'),
        ('x.bed', 'chr1 1 5', 'chr1 7 9 p', 'line 1 has 3 columns, line 2 has 4'),
        ('x.bed', NARROW + '2', 'chr1 1 7 n 0 . nan 1 1 2', "line 2: signal is 'nan'"),
        ('x.bed', NARROW + '2', NARROW + '6', 'line 2: summit 6 lies outside'),
        (
            'x.narrowPeak',
            NARROW + '6',
            NARROW + '2',
            'line 1: summit 6 lies outside the peak of 6 letters; the file was taken for narrowPeak',
        ),
        ('x.narrowPeak', NARROW + '2', NARROW + '2.5', "line 2: summit is '2.5', expected a whole number"),
        (
            'x.narrowPeak',
            NARROW + '2',
            'chr1 1 7 n 0 . 4 1 -7 2',
            r"line 2: q-value \(column 9\) is '-7', expected a number of at least -1",
        ),
        ('x.broadPeak', NARROW, 'chr1 1 7 n 0 x 4 1 1', "line 2: column 6 is 'x', expected a strand"),
        (
            'x.bed',
            '#peaks',
            'chr start end length abs_summit pileup',
            'line 2: start .* table of MACS, which counts from 1',
        ),
        ('x.bed', '#peaks', 'chr1-1 chr1 100 200 + 4', "line 2: start is 'chr1', .*HOMER, which count from 1"),
        ('x.bed', '#peaks', 'chr1 m peak 100 200 4 . . ID=a', 'is a GFF or GTF file, .*; it counts from 1'),
    ],
)
def test_bad_peak_files(tmp_path, name, first, line, message):
    (tmp_path / name).write_text(f'{first}\n{line}\n'.replace(' ', '\t'))
    with pytest.raises(InputError, match=rf'{name}: {message}'):
        read_peaks(tmp_path / name)


def plain_genome(folder, chroms=('chr1', 'chr8'), size=9000):
    """A genome of random letters; lines of peaks without a signal, one every 300 letters; and the letters."""
    rng = np.random.default_rng(0)
    letters = {chrom: dna.decode(rng.integers(0, 4, size, dtype=np.uint8)) for chrom in chroms}
    (folder / 'g.fa').write_text(''.join(f'>{chrom}\n{text}\n' for chrom, text in letters.items()))
    return [f'{chrom}\t{at}\t{at + 20}\n' for at in range(150, size - 300, 300) for chrom in chroms], letters


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (('1', '8'), r"\('1', \.\.\.\) is in .*g\.fa \('chr1', \.\.\.\); '1' may be called 'chr1' there"),
        (('CHR1',), r"\('CHR1', \.\.\.\) is in .*g\.fa \('chr1', \.\.\.\); 'CHR1' may be called 'chr1' there"),
        (('NC_000001.11',), r"\('NC_000001.11', \.\.\.\) is in .*g\.fa \('chr1', \.\.\.\)$"),
    ],
)
def test_files_that_meet_nothing_by_name_are_refused(tmp_path, names, message):
    lines, _ = plain_genome(tmp_path)
    (tmp_path / 'x.bed').write_text(''.join(lines))
    (tmp_path / 'list.bed').write_text(''.join(f'{name}\t150\t170\n' for name in names))
    with pytest.raises(InputError, match=rf'list\.bed: none of its chromosomes {message}'):
        read_tasks('bed', [tmp_path / 'x.bed'], peaks=PeakOptions(tmp_path / 'g.fa', blacklist=tmp_path / 'list.bed'))
    with pytest.raises(InputError, match=rf'list\.bed: none of its chromosomes {message}'):
        read_tasks('bed', [tmp_path / 'list.bed'], peaks=PeakOptions(tmp_path / 'g.fa'))


def test_a_genome_without_the_prefix(tmp_path):
    lines, _ = plain_genome(tmp_path, ('1', '8'))
    (tmp_path / 'x.bed').write_text(''.join(lines))
    (tmp_path / 'black.bed').write_text('chr1\t150\t170\n')
    options = PeakOptions(tmp_path / 'g.fa', blacklist=tmp_path / 'black.bed', test_chroms=('8',))
    with pytest.raises(InputError, match=r"black\.bed: .*; 'chr1' may be called '1' there"):
        read_tasks('bed', [tmp_path / 'x.bed'], peaks=options)
    message = r"no peak .* chr8, chr9 \(.*g\.fa has no chr8, chr9; 'chr8' may be called '8' there"
    with pytest.raises(InputError, match=message):
        read_tasks('bed', [tmp_path / 'x.bed'], peaks=PeakOptions(tmp_path / 'g.fa'))


def test_files_that_meet_in_part_are_counted(tmp_path):
    lines, _ = plain_genome(tmp_path)
    (tmp_path / 'x.bed').write_text(''.join(lines) + 'chrUn\t500\t520\nchrM\t5\t9\nchrUn\t700\t720\n')
    black = 'chr1\t150\t170\nchrM\t1\t9\nchrEBV\t5\t9\nchrY\t5\t9\nchrX\t5\t9\n'
    (tmp_path / 'black.bed').write_text(black)
    options = PeakOptions(tmp_path / 'g.fa', blacklist=tmp_path / 'black.bed')
    corpus = read_corpus('bed', [tmp_path / 'x.bed'], peaks=options)
    facts = corpus.info['tasks']['x']
    assert (facts['dropped']['unknown_chromosome'], facts['dropped']['blacklisted']) == (3, 1)
    told = [
        'peaks: BED, middles, ranked by nothing (no column is known to be a score)',
        'g.fa has no chrUn, chrM',
        'g.fa has no chr9, named as a test chromosome',
        '4 of 5 regions of the blacklist lie on chromosomes that the genome lacks (chrM, chrEBV, chrY and 1 more)',
    ]
    assert sources.remarks(corpus) == told
    table = sources.describe(corpus)
    assert all(line in table for line in [*told, '3 unknown chromosome', '1 blacklisted'])
    (tmp_path / 'black.bed').write_text('chr1\t150\t170\n')
    corpus = read_corpus('bed', [tmp_path / 'x.bed'], peaks=options)
    assert 'regions of the blacklist' not in sources.describe(corpus)


def test_remarks_name_the_tasks_they_are_about(tmp_path):
    lines, _ = plain_genome(tmp_path)
    for name in 'abc':
        (tmp_path / f'{name}.bed').write_text(''.join(lines) + 'chrUn\t500\t520\n' * (name == 'b'))
    corpus = read_corpus('bed', [tmp_path], peaks=PeakOptions(tmp_path / 'g.fa', test_chroms=('chr8',)))
    assert sources.remarks(corpus) == [
        'peaks: BED, middles, ranked by nothing (no column is known to be a score) (all tasks)',
        'g.fa has no chrUn (b)',
    ]


def test_all_peaks_on_test_chromosomes(tmp_path):
    lines, _ = plain_genome(tmp_path)
    (tmp_path / 'x.bed').write_text(''.join(line for line in lines if line.startswith('chr8')))
    for fraction in (None, 0.3):
        with pytest.raises(InputError, match=r'x\.bed: all of its 29 peaks .* chr8, chr9, and none is left'):
            read_tasks('bed', [tmp_path / 'x.bed'], peaks=PeakOptions(tmp_path / 'g.fa'), test_fraction=fraction)


def test_what_top_takes_of_peaks_that_nothing_ranks(tmp_path):
    lines, _ = plain_genome(tmp_path)

    def notes(*signals):
        chosen = [f'{line.rstrip()}\tp\t{signal}\n' for line, signal in zip(lines, signals, strict=False)]
        (tmp_path / 'x.bed').write_text(''.join(chosen))
        corpus = read_corpus('bed', [tmp_path / 'x.bed'], peaks=PeakOptions(tmp_path / 'g.fa', top=8))
        starts = corpus.intervals['start'][corpus.labels == 1]
        return corpus.info['tasks']['x']['notes'][:-1], sorted(set(starts.tolist()))

    first = [160 - 50 + 300 * k for k in range(4)]
    said, starts = notes(*[7] * 20)
    assert said == ['top: nothing ranks the peaks, so the first 8 in the file are used'] and starts == first
    said, starts = notes(*[7] * 8)  # all of them are used
    assert said == [] and starts == first
    said, starts = notes(*[7] * 6, *[3] * 10, *[9] * 2)
    assert said == [] and starts == [*first[:3], 160 - 50 + 300 * 8]
    said, starts = notes(*[7] * 6, *[3] * 10)
    assert said == ['top: 10 peaks have the same value (3), of which the first 2 in the file are used']


def test_windows_of_mostly_n_are_left_out(tmp_path):
    """Of 101 letters 50 may be N, and 51 may not; the next strongest peaks take the place of those left out."""
    lines, letters = plain_genome(tmp_path)
    text = letters['chr1']
    for number, n_unknown in enumerate((101, 51, 50, 1)):
        start = 160 - 50 + 300 * number
        text = text[:start] + 'N' * n_unknown + text[start + n_unknown :]
    (tmp_path / 'g.fa').write_text(f'>chr1\n{text}\n>chr8\n{letters["chr8"]}\n')
    ranked = [f'{line.rstrip()}\tp\t{len(lines) - number}\n' for number, line in enumerate(lines)]
    (tmp_path / 'x.bed').write_text(''.join(ranked))
    for top, left_out in ((None, 2), (8, 2), (1000, 2)):
        corpus = read_corpus('bed', [tmp_path / 'x.bed'], peaks=PeakOptions(tmp_path / 'g.fa', top=top))
        assert corpus.info['tasks']['x']['dropped']['mostly_N'] == left_out
        assert sources.left_out(corpus) == f'{left_out} mostly N'
        positives = [corpus.sequence(row) for row in np.flatnonzero(corpus.labels)]
        assert len(positives) == (8 if top == 8 else len(lines) - 2)
        assert sorted(sequence.count('N') for sequence in positives)[-3:] == [0, 1, 50]
    (tmp_path / 'g.fa').write_text(f'>chr1\n{"N" * 9000}\n>chr8\n{"N" * 9000}\n')
    with pytest.raises(InputError, match=r'x\.bed: none of its 58 peaks is left \(58 mostly N\)'):
        read_corpus('bed', [tmp_path / 'x.bed'], peaks=PeakOptions(tmp_path / 'g.fa'))


def test_a_peak_whose_only_shuffle_is_itself_is_left_out(tmp_path):
    lines, letters = plain_genome(tmp_path)
    text = letters['chr1']
    for number, word in enumerate(('A', 'CA')):
        start = 160 - 50 + 300 * number
        text = text[:start] + (word * 101)[:101] + text[start + 101 :]
    (tmp_path / 'g.fa').write_text(f'>chr1\n{text}\n>chr8\n{letters["chr8"]}\n')
    (tmp_path / 'x.bed').write_text(''.join(lines))
    corpus = read_corpus('bed', [tmp_path / 'x.bed'], peaks=PeakOptions(tmp_path / 'g.fa'))
    assert sources.left_out(corpus) == '2 without another shuffle'
    assert len(corpus) == 2 * (len(lines) - 2)
    assert len({corpus.sequence(row) for row in range(len(corpus))}) == len(corpus)
    both = read_corpus('bed', [tmp_path / 'x.bed'], peaks=PeakOptions(tmp_path / 'g.fa', negatives='gc'))
    assert 'A' * 101 not in {both.sequence(row) for row in np.flatnonzero(both.labels == 0)}


def test_peaks_that_all_lie_outside_of_their_chromosome(tmp_path):
    (tmp_path / 'g.fa').write_text('>chr1\nACGT\n')
    (tmp_path / 'x.bed').write_text('chr1\t0\t30\nchr1\t500\t530\n')
    for top in (None, 5):
        with pytest.raises(InputError, match=r'x\.bed: none of its 2 peaks is left \(2 outside chromosome\)'):
            read_tasks('bed', [tmp_path / 'x.bed'], peaks=PeakOptions(tmp_path / 'g.fa', top=top))


def test_bad_genomes(tmp_path, genome):
    file = narrow_peaks(tmp_path / 'x.bed')
    with pytest.raises(InputError, match='does not exist, expected a FASTA file'):
        read_tasks('bed', [file], peaks=PeakOptions(tmp_path / 'none.fa'))
    for name, content in (('blank.fa', '>chr1\nACGT\nAC GT\n'), ('empty.fa', '')):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=name):
            read_tasks('bed', [file], peaks=PeakOptions(tmp_path / name))
    (tmp_path / 'other.fa').write_text('>1\nACGT\n')
    with pytest.raises(InputError, match='none of its chromosomes'):
        read_tasks('bed', [file], peaks=PeakOptions(tmp_path / 'other.fa'))


@pytest.mark.parametrize(
    'cells, signal',
    [
        ('chr1 900000 900200 x 10 + 900000 900200 255,0,0', 10),
        ('chr1 900000 900200 x 10 + 900020 900100 0', 10),
        ('chr1 900000 900200 x 10 . 7.5 3.1 -1', 7.5),
        ('chr1 5 900 x 10 . 4 3 -1', 4),
        ('chr1 5 900 x 10', 10),
    ],
)
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
