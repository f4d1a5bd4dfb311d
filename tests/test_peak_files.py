"""Peak files: what each layout that people bring is taken for, where its windows lie, and what ranks its peaks."""

import numpy as np
import pytest

from demo_jax.data.peak_files import is_peaks, read_peaks, task_name
from demo_jax.data.peak_table import read_places
from demo_jax.errors import InputError

SUMMIT = 'summits of column 10'
#: chr1:158-458 with its summit at 158 + 186 = 344, and its middle at 308.
NARROW = 'chr1 158 458 p 9 . 9 1 1 186'
IDR = 'chr1 158 458 . 9 . 9 1 1 186 1.2 1.5 158 458 9 186 161 454 9 183'
BED12 = 'chr1 158 458 p 9 + 158 458 0 2 100,50 0,250'


def written(tmp_path, name, *lines):
    path = tmp_path / name
    path.write_text(''.join(line.replace(' ', '\t').replace('_', ' ') + '\n' for line in lines), encoding='utf-8')
    return path


@pytest.mark.parametrize(
    ('name', 'line', 'centre', 'signal', 'told'),
    [
        ('x.narrowPeak', NARROW, 344, 9, f'narrowPeak, {SUMMIT}, ranked by column 7'),
        ('x.bed', NARROW, 344, 9, f'narrowPeak, {SUMMIT}, ranked by column 7'),
        ('x.narrowPeak', NARROW + ' ', 344, 9, f'narrowPeak, {SUMMIT}, ranked by column 7'),  # a tab at the line's end
        ('x.bed.txt', NARROW + '   ', 344, 9, f'narrowPeak, {SUMMIT}, ranked by column 7'),
        ('x.bed', NARROW + ' 1', 344, 9, f'narrowPeak and 1 more column, {SUMMIT}, ranked by column 7'),  # intersect -c
        (
            'x.narrowPeak',
            NARROW + ' chr1 100 400 gene',
            344,
            9,
            f'narrowPeak and 4 more columns, {SUMMIT}, ranked by column 7',
        ),  # intersect -wa -wb
        ('x.bed', IDR, 344, 9, f'narrowPeak as IDR writes it, {SUMMIT}, ranked by column 7'),
        ('x.txt', IDR, 344, 9, f'narrowPeak as IDR writes it, {SUMMIT}, ranked by column 7'),
        (
            'x.bed',
            NARROW.replace('186', '-1'),
            308,
            9,
            'narrowPeak, middles (no peak has a summit in column 10), ranked by column 7',
        ),
        (
            'x.narrowPeak',
            NARROW.replace('186', '.'),
            308,
            9,
            'narrowPeak, middles (no peak has a summit in column 10), ranked by column 7',
        ),
        ('x.regionPeak', NARROW.replace('186', '2'), 160, 9, f'narrowPeak, {SUMMIT}, ranked by column 7'),
        (
            'x.narrowPeak',
            NARROW.replace('186', '0'),
            158,
            9,
            f'narrowPeak, {SUMMIT}, ranked by column 7; every summit is 0, so windows are centred where peaks start',
        ),
        # Broad peaks, of which bedtools may have counted something.
        ('x.broadPeak', 'chr1 158 458 p 9 . 8 1 1', 308, 8, 'broadPeak, middles, ranked by column 7'),
        ('x.broadPeak', 'chr1 158 458 p 9 . 8 1 1 ', 308, 8, 'broadPeak, middles, ranked by column 7'),
        ('x.bed', 'chr1 158 458 p 9 . 8 1 1', 308, 8, 'broadPeak, middles, ranked by column 7'),
        ('x.bed', 'chr1 158 458 p 9 . 3 5 1', 308, 3, 'broadPeak, middles, ranked by column 7'),  # before the peak
        ('x.bed', 'chr1 158 458 p 9 . 500 700 1', 308, 500, 'broadPeak, middles, ranked by column 7'),  # behind it
        ('x.bed', 'chr1 158 458 p 9 . 200 500 1', 308, 200, 'broadPeak, middles, ranked by column 7'),
        (
            'x.broadPeak',
            'chr1 158 458 p 9 . 8 1 1 186',
            308,
            8,
            'broadPeak and 1 more column, middles, ranked by column 7',
        ),
        (
            'x.bed',
            'chr1 158 458 p 9 . 8 1 1 2',
            308,
            8,
            'broadPeak and 1 more column, middles, ranked by column 7; '
            'column 10 is too small for summits; name the file .narrowPeak if it holds them',
        ),
        (
            'x.bed',
            'chr1 158 458 . 9 . 8 1 1 1.2 1.5 158 458 9 161 454 9',
            308,
            8,
            'broadPeak as IDR writes it, middles, ranked by column 7',
        ),
        ('x.gappedPeak', BED12 + ' 7 6 5', 308, 7, 'gappedPeak, middles, ranked by column 13'),
        # BED and its relatives.
        ('x.bed', 'chr1 158 458', 308, 0, 'BED, middles, ranked by nothing (no column is known to be a score)'),
        (
            'x.narrowPeak',
            'chr1 158 458',
            308,
            0,
            'BED, middles, ranked by nothing (no column is known to be a score); '
            'its name says narrowPeak, but not its columns',
        ),
        ('x_summits.bed', 'chr1 344 345 p 9.5', 344, 9.5, 'BED, middles, ranked by column 5'),
        ('x_summits.bed', 'chr1 344 345 p 9.5 2', 344, 9.5, 'BED5 and 1 more column, middles, ranked by column 5'),
        ('x.bed', 'chr1 158 458 p 9 +', 308, 9, 'BED, middles, ranked by column 5'),
        ('x.bed', 'chr1 158 458 p 9 + 158 458', 308, 9, 'BED8, middles, ranked by column 5'),
        ('x.bed', 'chr1 158 458 p 9 + 160 400 255,0,0', 308, 9, 'BED9, middles, ranked by column 5'),
        ('x.bed', 'chr1 158 458 p 9 + 160 400 0 180', 308, 9, 'BED9 and 1 more column, middles, ranked by column 5'),
        (
            'x.bed',
            'chr1 158 458 MYC:K562 9 . 344 345 154,205,50',
            344,
            9,
            'BED9, summits of column 7, ranked by column 5',
        ),
        ('x.bed', BED12, 308, 9, 'BED12, middles, ranked by column 5'),
        ('x.bed', BED12 + ' 3', 308, 9, 'BED12 and 1 more column, middles, ranked by column 5'),
        # Our own --track, also under another layout's name, and the peaks of epic2.
        (
            'x.bed',
            'chr1 575 676 MYC 637 . 0.56 0.637 medium__cnn 0',
            625,
            637,
            'BED6 and 4 more columns, middles, ranked by column 5',
        ),
        (
            'x.narrowPeak',
            'chr1 575 676 MYC 637 . 0.56 0.637 medium__cnn 0',
            625,
            637,
            'BED6 and 4 more columns, middles, ranked by column 5; its name says narrowPeak, but not its columns',
        ),
        (
            'x.bed',
            'chr1 158 458 1e-9 70 . 30 12 1e-7 1.31',
            308,
            70,
            'BED6 and 4 more columns, middles, ranked by column 5',
        ),
        # Where column 5 is no score: two regions side by side (bedtools -wa -wb), the islands of SICER.
        (
            'x.bed',
            'chr1 158 458 chr1 100 400',
            308,
            0,
            'BED3 and 3 more columns, middles, ranked by nothing (no column is known to be a score)',
        ),
        (
            'x.bed',
            'chr1 158 458 62 20 1e-9 3.1 1e-8',
            308,
            0,
            'BED3 and 5 more columns, middles, ranked by nothing (no column is known to be a score)',
        ),
        ('x.bed', 'chr1 158 458 900.5 31 chr1:200-250', 308, 31, 'BED as SEACR writes it, middles, ranked by column 5'),
        (
            'x.bed',
            'chr1 158 458 p + gene',
            308,
            0,
            'BED5 and 1 more column, middles, ranked by nothing (column 5 holds text)',
        ),
    ],
)
def test_what_a_file_is_taken_for(tmp_path, name, line, centre, signal, told):
    for lines in ([line], [line] * 3):
        peaks = read_peaks(written(tmp_path, name, *lines))
        assert peaks.centres.tolist() == [centre] * len(lines)
        assert peaks.signals.tolist() == [signal] * len(lines)
        if len(lines) == 1:
            assert str(peaks.format) == told.replace('__', '_')
        else:
            assert peaks.format.name == str(peaks.format).split(',')[0] == told.split(',')[0].replace('__', '_')


def test_the_layout_is_that_of_all_lines(tmp_path):
    """One line alone might be a narrowPeak: 10 columns, numbers, and a small whole number at the end."""
    narrow = 'chr1 158 458 p 9 . 9 1 1 186'
    longer = 'chr1 158 458 p 9 . 9 1 1 300'
    assert read_peaks(written(tmp_path, 'a.bed', narrow)).centres.tolist() == [344]
    other = read_peaks(written(tmp_path, 'b.bed', narrow, longer, longer))
    assert other.centres.tolist() == [308] * 3 and other.format.name == 'BED6 and 4 more columns'
    with pytest.raises(InputError, match=r'c\.bed: line 3: summit 300 lies outside the peak of 300 letters'):
        read_peaks(written(tmp_path, 'c.bed', narrow, narrow, longer))  # a narrowPeak that is damaged
    with pytest.raises(InputError, match=r'd\.bed: line 2 has 9 columns, line 1 has 10'):
        read_peaks(written(tmp_path, 'd.bed', narrow, narrow.rpartition(' ')[0]))
    short = read_peaks(written(tmp_path, 'e.bed', narrow, narrow.rpartition(' ')[0] + ' '))  # its last cell is empty
    assert short.centres.tolist() == [344, 308]


def test_summits_that_are_missing_are_counted(tmp_path):
    places = ((100, 186), (500, -1), (900, 7))
    lines = [f'chr1 {start} {start + 300} p 9 . {start} 1 1 {summit}' for start, summit in places]
    peaks = read_peaks(written(tmp_path, 'x.narrowPeak', *lines))
    assert peaks.centres.tolist() == [286, 650, 907]
    assert peaks.format.centres == 'summits of column 10 (1 of 3 have none: middles)'


def ranked(tmp_path, name, *lines):
    peaks = read_peaks(written(tmp_path, name, *lines))
    return peaks.signals.tolist(), peaks.format.ranked_by, peaks.format.why


def test_the_column_that_differs_ranks_the_peaks(tmp_path):
    line = 'chr1 158 458 p {} . {} {} {} 186'
    same = 'column 7 is the same on every line'
    cases = [
        ((20, '0.00000', 1, 5), (30, '0.00001', 2, 6), ([0.0, 1e-5], 7, '')),
        ((20, '0.00000', 1, 5), (30, '0.00000', 2, 6), ([5.0, 6.0], 9, same)),
        ((20, '0.00000', 1, 5), (30, '0.00000', 2, 5), ([1.0, 2.0], 8, same)),
        ((20, '0.00000', '0.00000', '0.00000'), (30, '0.00000', '0.00000', '0.00000'), ([20.0, 30.0], 5, same)),
        (('a', 7, -1, -1), ('b', 7, -1, -1), ([7.0, 7.0], None, 'columns 7, 9, 8, 5: the same on every line')),
        (('.', 7, -1, -1), ('3', 7, -1, -1), ([0.0, 3.0], 5, same)),
    ]
    for first, second, expected in cases:
        assert ranked(tmp_path, 'x.narrowPeak', line.format(*first), line.format(*second)) == expected
    expected = ([5, 5], None, 'column 5: the same on every line')
    assert ranked(tmp_path, 'x.bed', 'chr1 1 9 p 5', 'chr1 1 9 p 5') == expected
    assert ranked(tmp_path, 'x.bed', 'chr1 1 9 p 5', 'chr1 1 9 p 6') == ([5, 6], 5, '')
    with pytest.raises(InputError, match=r"x\.bed: line 2: signal is 'high', expected a number"):
        ranked(tmp_path, 'x.bed', 'chr1 1 9 p 5', 'chr1 1 9 p high')
    peaks = read_peaks(written(tmp_path, 'x.bed', 'chr1 1 9 p 5', 'chr1 1 9 p .', 'chr1 1 9 p 7'))
    assert str(peaks.format) == "BED, middles, ranked by column 5; column 5 is '.' on 1 of 3 lines, taken for 0"


def test_contigs_may_be_called_as_lines_for_a_browser(tmp_path):
    lines = [
        'track_name=peaks',
        'track type=narrowPeak',
        'track',
        'browser position chr1:1-9',
        'browser hide all',
        'trackway1 5 9',
        'browserA 6 10',
        'track 7 11',
        'browser 8 12',
    ]
    peaks = read_peaks(written(tmp_path, 'x.bed', *lines))
    assert peaks.chroms.tolist() == ['trackway1', 'browserA', 'track', 'browser']
    assert peaks.starts.tolist() == [5, 6, 7, 8]
    assert read_places(tmp_path / 'x.bed').starts.tolist() == [5, 6, 7, 8]


def test_names_of_any_letters(tmp_path):
    path = written(tmp_path, 'x.bed', 'chr1 1 9 Gipfel_ä 4', 'chrΩ 2 9 峰 5')
    assert read_peaks(path).chroms.tolist() == ['chr1', 'chrΩ'] and read_peaks(path).signals.tolist() == [4, 5]
    path.write_bytes('chr1\t1\t9\tpéak\t4\n'.encode('latin-1'))
    assert read_peaks(path).signals.tolist() == [4]
    path.write_bytes('chrä\t1\t9\n'.encode('latin-1'))
    with pytest.raises(InputError, match=r"x\.bed: line 1: chromosome is b'chr\\xe4', expected UTF-8 text"):
        read_peaks(path)


def test_one_letter_in_columns_7_and_8_is_a_summit_if_it_is_on_every_line(tmp_path):
    first, second = 'chr1 158 458 a 9 . 344 345 0', 'chr1 158 458 a 9 . 344 346 0'
    assert read_peaks(written(tmp_path, 'x.bed', first, second)).centres.tolist() == [308, 308]
    assert read_peaks(written(tmp_path, 'x.bed', first, first)).centres.tolist() == [344, 344]
    short = 'chr1 158 159 a 9 . 158 159 0'  # nothing else can be said of peaks of one letter
    assert str(read_peaks(written(tmp_path, 'x.bed', short)).format) == 'BED9, middles, ranked by column 5'


def test_blanks_around_a_chromosome_are_no_part_of_its_name(tmp_path):
    (tmp_path / 'x.bed').write_text('chr1 \t1\t9\nchr1\t 2 \t9\n')
    assert read_peaks(tmp_path / 'x.bed').chroms.tolist() == ['chr1', 'chr1']


def test_regions_may_have_any_columns(tmp_path):
    """Lists of regions are not ranked, so that what lies behind their places does not matter."""
    path = written(tmp_path, 'x.bed', 'chr1 0 45700 Low_Mappability', 'chr1 5 9', 'chr2 1 7 x nan . . . . 99')
    chroms, starts, ends = read_places(path)
    assert chroms.tolist() == ['chr1', 'chr1', 'chr2']
    assert (starts.tolist(), ends.tolist()) == ([0, 5, 1], [45700, 9, 7])
    path.write_text('# nothing\n')
    with pytest.raises(InputError, match=r'x\.bed: holds no regions'):
        read_places(path)


def test_task_names_of_peak_files(tmp_path):
    kinds = ('narrowPeak.gz', 'bed', 'bed.gz', 'broadPeak', 'regionPeak.gz', 'gappedPeak')
    for name in (f'CTCF_K562.{kind}' for kind in kinds):
        assert task_name(tmp_path / name) == 'CTCF_K562' and is_peaks(tmp_path / name)
    assert task_name(tmp_path / 'a.b.bed') == 'a.b'
    assert not is_peaks(tmp_path / 'a.txt')


def test_many_lines_of_a_real_kind(tmp_path):
    """Summits spread over their peaks, as a peak caller writes them, beside counts in the same column."""
    rng = np.random.default_rng(0)
    starts, summits, counts = rng.integers(0, 10**6, 200), rng.integers(0, 300, 200), rng.poisson(1.5, 200)
    for name, column, expected in (('n.bed', summits, starts + summits), ('b.bed', counts, starts + 150)):
        lines = [f'chr1 {s} {s + 300} p 9 . 4.5 3 2 {c}' for s, c in zip(starts, column, strict=True)]
        np.testing.assert_array_equal(read_peaks(written(tmp_path, name, *lines)).centres, expected)


def test_starts_that_count_from_1_are_refused_where_lengths_show_it(tmp_path):
    lines = ['chr1 159 458 300 344 20 9 3 7 p1', 'chr1 700 799 100 740 20 9 3 7 p2']  # MACS's .xls without its header
    with pytest.raises(InputError, match=r'x.bed: column 4 is end - start \+ 1 on every line, so that starts count'):
        read_peaks(written(tmp_path, 'x.bed', *lines))
    as_bed = ['chr1 158 458 300', 'chr1 699 799 100']  # the lengths of BED are no reason
    assert read_peaks(written(tmp_path, 'x.bed', *as_bed)).starts.tolist() == [158, 699]
    assert read_peaks(written(tmp_path, 'x.bed', 'chr1 158 458 301')).starts.tolist() == [158]  # a score, by chance


@pytest.mark.parametrize(
    ('strands', 'told'),
    [
        (('+', '-'), True),
        (('+', '+'), True),
        (('+', '.'), False),
        (('p1', '-'), False),
    ],
)
def test_strands_in_column_4_are_told(tmp_path, strands, told):
    lines = [f'chr1 {start} {start + 300} {strand} p' for start, strand in zip((158, 600), strands, strict=True)]
    peaks = read_peaks(written(tmp_path, 'x.bed', *lines))
    assert peaks.starts.tolist() == [158, 600] and peaks.centres.tolist() == [308, 750]
    assert ('interval lists, whose starts count from 1; here they are read from 0' in str(peaks.format)) == told
