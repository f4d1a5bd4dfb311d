"""FASTA files asked by name and place: of any size, packed or not, regular or not; and what is refused."""

import contextlib
import gzip
import os
import random
import tracemalloc

import numpy as np
import pyfaidx
import pytest
from Bio import bgzf

from demo_jax import dna
from demo_jax.data import bgzip, fasta_index, genome
from demo_jax.data.genome import Genome
from demo_jax.data.intervals import PeakOptions
from demo_jax.data.readers import read_corpus
from demo_jax.errors import InputError
from demo_jax.io import textfile


def letters(n, seed=0):
    return dna.decode(np.random.default_rng(seed).integers(0, 4, n, dtype=np.uint8))


def in_lines(text, width, end='\n'):
    return ''.join(text[i : i + width] + end for i in range(0, len(text), width))


def packed(path, data, size=1 << 16):
    """Write `data` block-gzipped, in blocks of `size` bytes."""
    with bgzf.BgzfWriter(path) as writer:
        for start in range(0, len(data), size):
            writer.write(data[start : start + size])
            writer.flush()
    return path


def all_of(path):
    """Name and letters of every record, read at once and in pieces."""
    with contextlib.closing(Genome(path)) as fasta:
        whole = {name: fasta.letters(name, 0, size) for name, size in fasta.sizes.items()}
        for name, text in whole.items():
            parts = [fasta.letters(name, at, min(at + 7, len(text))) for at in range(0, len(text), 7)]
            assert b''.join(parts) == text
        return {name: text.decode() for name, text in whole.items()}


ONE, TWO = letters(200, 1), letters(130, 2)
REGULAR = f'>one\n{in_lines(ONE, 60)}>two words\n{in_lines(TWO, 60)}'
#: Files that hold the same two records.
SAME = {
    'regular': REGULAR,
    'blank at line ends': REGULAR.replace('\n', ' \n'),
    'tab at line ends': REGULAR.replace('\n', '\t\n'),
    'blank at one line end': REGULAR.replace(f'{ONE[60:120]}\n', f'{ONE[60:120]} \n'),
    'Windows': REGULAR.replace('\n', '\r\n'),
    'Windows, no end': REGULAR.replace('\n', '\r\n').rstrip(),
    'no end': REGULAR.rstrip(),
    'one line each': f'>one\n{ONE}\n>two\n{TWO}\n',
    'lines of several lengths': f'>one\n{ONE[:5]}\n{ONE[5:80]}\n{in_lines(ONE[80:], 11)}>two\n{in_lines(TWO, 60)}',
    'blank lines between records': REGULAR.replace('>two', '\n\n>two'),
    'blank lines everywhere': '\n\n' + REGULAR.replace('\n', '\n\n'),
    'byte-order mark': '\ufeff' + REGULAR,
    'blank after >': REGULAR.replace('>', '> '),
}


@pytest.mark.parametrize('name', SAME)
@pytest.mark.parametrize('kind', ['plain', 'gzip', 'bgzip'])
@pytest.mark.parametrize('block', [5, 64, 1 << 20])
def test_files_of_the_same_letters_are_the_same(tmp_path, monkeypatch, name, kind, block):
    """However they are laid out, and at whatever size they are read in one block or in many."""
    monkeypatch.setattr(genome, '_BLOCK', block)
    monkeypatch.setattr(bgzip, '_JOINED', block)
    path, data = tmp_path / 'g.fa', SAME[name].encode()
    if kind == 'bgzip':
        packed(path, data, 50)
    else:
        path.write_bytes(gzip.compress(data) if kind == 'gzip' else data)
    assert all_of(path) == {'one': ONE, 'two': TWO}
    assert os.listdir(tmp_path) == ['g.fa']  # no index is written


@pytest.mark.parametrize('blank', [' ', '\t', '\r', '  '])
def test_blanks_at_line_ends_move_no_window_of_a_large_genome(tmp_path, blank):
    """11 million letters: their blanks counted as letters, and the window held what lies 500 letters before it."""
    text = letters(11_000, 3) * 1000
    path = tmp_path / 'g.fa'
    path.write_text(f'>chr1\n{in_lines(text, 1000, blank + chr(10))}')
    with contextlib.closing(Genome(path)) as fasta:
        assert fasta.sizes == {'chr1': 11_000_000}
        assert fasta.letters('chr1', 500_100, 500_201).decode() == text[500_100:500_201]
        assert fasta.letters('chr1', 10_999_990, 11_000_000).decode() == text[-10:]


REFUSED = {
    'comment': ('>a\nACGT\n; made by hand\nACGT\n', r"line 3 is a comment \(';'\), which is not read; remove it"),
    'comment first': ('; hello\n>a\nACGT\n', r"line 1 is '; hello', expected a FASTA header \('>...'\)"),
    'blank within a line': ('>a\nACGT\nACGT ACGT\n', "line 3, column 5, holds ' ', expected letters"),
    'header within a line': ('>a\nACGT>b\nACGT\n', "line 2, column 5, holds '>', expected letters"),
    'indented header': ('>a\nACGT\n >b\nACGT\n', "line 3, column 2, holds '>', expected letters"),
    'numbers of lines': ('>a\n1 ACGT\n5 ACGT\n', "line 2, column 1, holds '1', expected letters"),
    'gap': ('>a\nACGT\nAC-T\n', "line 3, column 3, holds '-', expected letters"),
    'CR within a line': ('>a\nAC\rGT\nACGT\n', r"line 2, column 3, holds '\\r', expected letters"),
    'NUL': ('>a\nAC\0GT\n', 'line 2, column 3, holds a NUL byte, expected letters'),
    'NUL in a header': ('>a\0b\nACGT\n', 'record 1: its header has a NUL byte'),
    'no header': ('ACGT\n>a\nACGT\n', r"line 1 is 'ACGT', expected a FASTA header \('>...'\)"),
    'no header, blank line': ('\n\nACGT\n', r"line 3 is 'ACGT', expected a FASTA header \('>...'\)"),
    'twice': ('>a 1\nACGT\n>a 2\nACGT\n', "record 2: a second sequence is called 'a'"),
    'empty': ('', 'is empty'),
    'blank': ('\n \n', 'is empty'),
}


@pytest.mark.parametrize('name', REFUSED)
@pytest.mark.parametrize('block', [3, 8, 1 << 20])
def test_what_would_shift_positions_is_refused(tmp_path, monkeypatch, name, block):
    """With the line and the column, whatever parts the file is looked at in."""
    monkeypatch.setattr(genome, '_BLOCK', block)
    text, message = REFUSED[name]
    path = tmp_path / 'g.fa'
    path.write_bytes(text.encode())
    if block < 100 and message.startswith('line'):
        message = message.partition(' is ')[0]  # the line is shown as far as it has been read
    with pytest.raises(InputError, match=f'g.fa: {message}'):
        Genome(path)


def test_empty_records_are_there_and_have_no_letters(tmp_path):
    path = tmp_path / 'g.fa'
    for text in ('>a\n>b\nACGT\n\n>c\n\n>d\nAC\n>e', '>a\r\n>b\r\nAC\r\nGT\r\n>c\r\n>d\r\nAC\r\n>e\r\n'):
        path.write_bytes(text.encode())
        assert all_of(path) == {'a': '', 'b': 'ACGT', 'c': '', 'd': 'AC', 'e': ''}
    path.write_text('>a\n')
    assert all_of(path) == {'a': ''}


def test_an_index_of_another_file_is_not_believed(tmp_path):
    """Its sizes fit, and the file was replaced with its old times; or it was cut short; or it cannot be replaced."""
    path, index = tmp_path / 'g.fa', tmp_path / 'g.fa.fai'
    path.write_text(f'>one\n{ONE}\n>two\n{TWO}\n')
    pyfaidx.Fasta(str(path)).close()
    made = index.read_text()
    path.write_text(f'>two\n{TWO}\n>one\n{ONE}\n')  # of the same size
    os.utime(path, ns=(0, 0))
    for text in (made, made.splitlines()[0] + '\n', f'one\t{10**15}\t5\t60\t61\n', ''):
        index.write_text(text)
        assert all_of(path) == {'one': ONE, 'two': TWO}
        assert index.read_text() == text
    index.unlink()
    tmp_path.chmod(0o500)
    try:
        assert all_of(path) == {'one': ONE, 'two': TWO}
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize('kind', ['plain', 'bgzip'])
def test_as_pyfaidx(tmp_path, kind):
    """On a regular file, where it is right."""
    texts = {f'chr{n}': letters(n * 10_007, n) for n in range(1, 5)}
    path = tmp_path / ('g.fa' if kind == 'plain' else 'g.fa.gz')
    data = ''.join(f'>{name} text\n{in_lines(text, 61)}' for name, text in texts.items()).encode()
    if kind == 'plain':
        path.write_bytes(data)
    else:
        packed(path, data)
    rng = random.Random(0)
    with contextlib.closing(Genome(path)) as ours, pyfaidx.Fasta(str(path), as_raw=True) as theirs:
        assert ours.sizes == {name: len(theirs[name]) for name in texts}
        for _ in range(300):
            name = rng.choice(list(texts))
            start = rng.randrange(len(texts[name]))
            end = min(start + rng.choice([1, 61, 200, 9000]), len(texts[name]))
            assert ours.letters(name, start, end).decode() == theirs[name][start:end] == texts[name][start:end]
        assert ours.letters('chr1', 5, 5) == b''
        with pytest.raises(ValueError, match='does not lie on its 10007 letters'):
            ours.letters('chr1', 10_000, 10_008)


def test_any_mixture_is_read_as_read_fasta_reads_it(tmp_path, monkeypatch):
    """Records without letters are refused there alone."""
    rng, path = random.Random(1), tmp_path / 'g.fa'
    pieces = [
        '>a\n',
        '>b x\n',
        '>c\n',
        'ACGT\n',
        'acgtACGT\n',
        'ACGTA',
        '\n',
        ' ',
        '\r\n',
        '\t\n',
        'N' * 9 + '\n',
        'ACGT\n' * 3,
        'G \n',
        'ACGTA \n' * 2,
        ';c\n',
        '-',
        '>',
    ]
    counts = {'read': 0, 'refused': 0}
    for _ in range(3000):
        path.write_text('>z\n' + ''.join(rng.choice(pieces[: rng.choice([14, 17])]) for _ in range(rng.randrange(16))))
        monkeypatch.setattr(genome, '_BLOCK', rng.choice([3, 4, 7, 16, 1000]))
        try:
            records = [(*record.header.split(), '')[0:1] + (record.letters,) for record in textfile.read_fasta(path)]
            for *_, found in records:
                dna.encode(found)
            if len(dict(records)) < len(records):
                raise InputError('twice')
            expected = {name: found.decode() for name, found in records}
        except InputError as error:
            if 'no letters' in str(error):
                continue
            expected = None
        if expected is None:
            with pytest.raises(InputError):
                Genome(path)
        else:
            assert all_of(path) == expected
        counts['refused' if expected is None else 'read'] += 1
    assert min(counts.values()) > 200


def test_memory_is_bounded_by_blocks(tmp_path):
    """Of 24 million letters, half of them in one line, some blocks are held."""
    path, line = tmp_path / 'g.fa', letters(100, 5)
    with open(path, 'w') as file:
        file.write('>line\n' + line * 120_000 + '\n>lines\n')
        for _ in range(1200):
            file.write((line + '\n') * 100)
    tracemalloc.start()
    try:
        fasta = Genome(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    with contextlib.closing(fasta):
        assert fasta.sizes == {'line': 12_000_000, 'lines': 12_000_000}
        for name in fasta.sizes:
            assert fasta.letters(name, 6_000_050, 6_000_150).decode() == (line * 2)[50:150]
    assert peak < 12_000_000  # of the letters of one record


def test_a_regular_record_is_one_segment(tmp_path, monkeypatch):
    """Whatever the blocks; a line of another length adds a few, and too many of them are refused."""
    found = []
    monkeypatch.setattr(genome, '_BLOCK', 1000)
    original = fasta_index.FastaIndex.__init__

    def spy(self, names, segments):
        found.append(len(segments))
        original(self, names, segments)

    monkeypatch.setattr(fasta_index.FastaIndex, '__init__', spy)
    path = tmp_path / 'g.fa'
    path.write_text(f'>a\n{in_lines(letters(9990), 60)}>b\n{in_lines(letters(5000), 60)}')
    Genome(path)
    path.write_text(f'>a\n{in_lines(letters(9990), 60)}\n{letters(5)}\n{in_lines(letters(5000), 60)}')
    Genome(path)
    assert found[0] == 2 and 2 < found[1] < 6
    monkeypatch.setattr(fasta_index, 'MAX_PARTS', 20)
    path.write_text('>a\n' + ''.join(letters(n) + '\n' for n in range(1, 200)))
    with pytest.raises(InputError, match=r'its lines are of too many lengths.*seqkit seq -w 60'):
        Genome(path)


def test_a_file_that_changes_while_it_is_read(tmp_path):
    path = tmp_path / 'g.fa'
    path.write_text(REGULAR)
    with contextlib.closing(Genome(path)) as fasta:
        path.write_text(REGULAR.replace('>two words\n', '>longer_name_than_before\n'))
        with pytest.raises(InputError, match='g.fa: has changed since it was opened .*two'):
            fasta.letters('two', 0, 130)


def test_a_genome_whose_lines_end_in_blanks_gives_the_right_peaks(tmp_path):
    """From peaks to windows, gzipped without blocks too."""
    texts = {'chr1': letters(3000, 7), 'chr8': letters(3000, 8)}
    data = ''.join(f'>{name}\n{in_lines(text, 50, " " + chr(10))}' for name, text in texts.items()).encode()
    (tmp_path / 'x.bed').write_text(''.join(f'{c}\t{s}\t{s + 20}\n' for c in texts for s in range(100, 2800, 200)))
    for name in ('g.fa', 'g.fa.gz'):
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith('gz') else data)
        corpus = read_corpus('bed', [tmp_path / 'x.bed'], peaks=PeakOptions(tmp_path / name, width=21))
        rows = np.flatnonzero(corpus.labels)
        assert len(rows) == 28
        for row in rows:
            chrom, start = corpus.chroms[corpus.intervals['chrom'][row]], corpus.intervals['start'][row]
            assert corpus.sequence(row) == texts[chrom][start : start + 21]


def test_letters_of_no_base_count_and_are_refused_where_they_are_used(tmp_path):
    """A genome masked with X: its positions are right, and only windows on an X are refused."""
    text = letters(1000, 9)
    text = text[:500] + 'X' * 50 + text[550:]
    (tmp_path / 'g.fa').write_text(f'>chr1\n{in_lines(text, 60)}')
    (tmp_path / 'x.bed').write_text(''.join(f'chr1\t{at}\t{at + 20}\n' for at in (100, 200, 300, 400, 600, 800)))
    options = PeakOptions(tmp_path / 'g.fa', width=21)
    corpus = read_corpus('bed', [tmp_path / 'x.bed'], peaks=options, test_fraction=0.5)
    starts = corpus.intervals['start']
    assert [corpus.sequence(row) for row in np.flatnonzero(starts == 600)] == [text[600:621]]
    (tmp_path / 'x.bed').write_text('chr1\t100\t120\nchr1\t495\t505\n')
    with pytest.raises(InputError, match=r"g.fa: record 2 \('chr1:490-511'\): position 11 holds 'X'"):
        read_corpus('bed', [tmp_path / 'x.bed'], peaks=options, test_fraction=0.5)


@pytest.mark.parametrize('change', ['no end', 'half a block', 'a byte', 'not in blocks'])
def test_a_damaged_bgzip_file_is_refused(tmp_path, change):
    path = packed(tmp_path / 'g.fa.gz', REGULAR.encode(), 100)
    data = path.read_bytes()
    assert all_of(path) == {'one': ONE, 'two': TWO}
    if change == 'no end':  # at the end of a block: without a word, records would be lacking
        cut, message = data[:-28], 'is a truncated bgzip file'
    elif change == 'half a block':
        cut, message = data[:-40], 'is a damaged or truncated bgzip file'
    elif change == 'a byte':
        cut, message = data[:60] + bytes([data[60] ^ 1]) + data[61:], 'is a damaged or truncated bgzip file'
    else:
        cut, message = data + gzip.compress(b'>three\nACGT\n'), 'is a damaged or truncated bgzip file'
    path.write_bytes(cut)
    with pytest.raises(InputError, match=message):
        Genome(path)


def test_bgzip_files_one_after_the_other(tmp_path):
    """As `cat` makes them: the empty block between them does not end the file."""
    one, two = (
        packed(tmp_path / name, text.encode(), 90)
        for name, text in (('1.gz', f'>one\n{in_lines(ONE, 60)}'), ('2.gz', f'>two\n{in_lines(TWO, 60)}'))
    )
    (tmp_path / 'g.fa.gz').write_bytes(one.read_bytes() + two.read_bytes())
    assert all_of(tmp_path / 'g.fa.gz') == {'one': ONE, 'two': TWO}


def test_a_line_of_more_than_two_billion_letters(tmp_path):
    """Its places do not fit into 32 bits (the index is made of lines that are claimed, not written)."""
    rows = [[0, 3, 5 << 32, 3 << 32, (3 << 32) + 1], [1, 9 << 32, 4, 4, 0]]
    index = fasta_index.FastaIndex(['a', 'b'], np.array(rows))
    assert index.sizes == {'a': 5 << 32, 'b': 4}
    assert index.spans('a', (3 << 32) - 1, (3 << 32) + 1) == [((3 << 32) + 2, 3)]
    assert index.spans('b', 1, 3) == [((9 << 32) + 1, 2)]


def test_a_gzipped_genome_must_fit_into_memory(tmp_path, monkeypatch):
    """More letters than a line may have are held; of a whole genome it is said how to pack it."""
    block = letters(60) + '\n'
    path = tmp_path / 'y.fa.gz'
    path.write_bytes(gzip.compress(('>chrY\n' + block * 3000 + ('N' * 60 + '\n') * 170_000).encode(), 1))
    fasta_file = Genome(path)
    assert fasta_file.sizes == {'chrY': 60 * 173_000}
    assert fasta_file.letters('chrY', 60, 120) == block.strip().encode()
    monkeypatch.setattr(genome, 'MAX_LETTERS', 1_000_000)
    with pytest.raises(InputError, match=r'y.fa.gz: is gzipped, and unpacks to more than 1,000,000 bytes.*bgzip'):
        Genome(path)


def test_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match='nothing.fa: does not exist, expected a FASTA file'):
        Genome(tmp_path / 'nothing.fa')
    with pytest.raises(InputError, match='it is a directory'):
        Genome(tmp_path)
