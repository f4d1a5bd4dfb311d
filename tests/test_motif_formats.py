"""Every file is read back with the tool that it is for."""

import re

import numpy as np
import pyfaidx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo_jax import dna
from demo_jax.data.corpus import INTERVAL_DTYPE, Corpus
from demo_jax.dna import cumulative
from demo_jax.errors import InputError
from demo_jax.io import files
from demo_jax.motifs import extract, formats, piles, scan, tomtom
from tests.motif_tools import check_jaspar, check_meme

NASTY = ('plain', 'two words', 'tab\there', 'line\nend', '#comment', '>fasta', '50%', 'é ', 'MOTIF')


def some_motifs(names=NASTY, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.dirichlet([0.5] * 4, size=5 + number) for number, name in enumerate(names)}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=20))
def test_escaped_names_are_one_word_and_come_back(name):
    escaped = formats.escape(name)
    assert len(escaped.split()) == 1 and escaped.split() == escaped.splitlines()
    assert escaped[0] not in '#>'
    assert formats.unescape(escaped) == name


def test_ordinary_names_stay():
    for name in ('ARID3A_K562_ARID3A_(sc-8821)_Stanford', 'MA0139.1', 'GATA1::TAL1', 'JUN(var.2)'):
        assert formats.escape(name) == name


@pytest.mark.parametrize('sites', [None, 1, 7, 100, 10**6])
def test_meme_is_read_by_memelite_and_biopython(tmp_path, sites):
    """However few sites there were: Biopython rounds probability times sites, 0.4 of 20 sites and also 0.42."""
    from Bio import motifs

    written = some_motifs()
    given = None if sites is None else dict.fromkeys(written, sites)
    formats.write_meme(tmp_path / 'm.meme', written, sites=given, background=(0.3, 0.2, 0.2, 0.3))
    ours = check_meme(tmp_path / 'm.meme')
    assert list(ours) == list(written)
    for name, matrix in written.items():
        np.testing.assert_allclose(ours[name], matrix, atol=1e-6)
    with open(tmp_path / 'm.meme') as handle:
        parsed = motifs.parse(handle, 'minimal')
    assert parsed.background == {'A': 0.3, 'C': 0.2, 'G': 0.2, 'T': 0.3}
    assert {str(motif.num_occurrences).rstrip('0') for motif in parsed} == {str(sites or 20).rstrip('0')}


@pytest.mark.parametrize(
    'matrix, sites, expected',
    [
        ([[0.25] * 4], 20, 20),
        ([[0.25] * 4], 10, 100),  # 2.5 sites of each
        ([[1, 0, 0, 0], [0.95, 0, 0.05, 0]], 20, 20),  # counts of 20 sites
        ([[1, 0, 0, 0], [0.96, 0, 0.04, 0]], 20, 200),
        ([[3 / 7, 2 / 7, 1 / 7, 1 / 7]], 7, 7),
        ([[0.6463736488 / 20] * 3 + [18.06087905 / 20]], 20, 20_000),
        ([[0.9999999, 0.0000001, 0, 0]], 1, 1),
    ],
)
def test_sites_are_as_many_as_the_probabilities_need(matrix, sites, expected):
    assert formats.written_sites(np.array(matrix), sites) == expected


def test_meme_layout(tmp_path):
    """What MEME's own programs insist on: spaces after `=`, and a line end after the last matrix."""
    formats.write_meme(tmp_path / 'm.meme', some_motifs(['a']))
    text = (tmp_path / 'm.meme').read_text()
    assert re.search(r'^letter-probability matrix: alength= 4 w= 5 nsites= 20+ E= 0\n', text, re.MULTILINE)
    assert text.startswith('MEME version 4\n') and text.endswith('\n')


def test_read_meme_accepts_what_others_write(tmp_path):
    from memelite.io import write_meme

    matrices = some_motifs(['x', 'y'])
    write_meme(str(tmp_path / 'm.meme'), {name: matrix.T for name, matrix in matrices.items()})
    found = formats.read_meme(tmp_path / 'm.meme')
    for name, matrix in matrices.items():
        # memelite 0.5 writes the two sizes of its (4, w) matrices in order: alength= 4 w= 5
        np.testing.assert_allclose(found[name], matrix)


@pytest.mark.parametrize('total', [1, 100, 10**6])
def test_jaspar_is_read_by_biopython_and_lightmotif(tmp_path, total):
    written = {name: piles.whole_counts(matrix, total) for name, matrix in some_motifs().items()}
    formats.write_jaspar(tmp_path / 'm.jaspar', written)
    ours = check_jaspar(tmp_path / 'm.jaspar')
    assert list(ours) == list(written)
    for name, counts in written.items():
        np.testing.assert_array_equal(ours[name], counts)


@pytest.mark.parametrize('count, shown', [(0.5, '0.5'), (-1, '-1'), (19.22150679, '19.2215')])
def test_jaspar_holds_whole_counts_only(tmp_path, count, shown):
    """lightmotif refuses a whole file for one decimal; so we do not write it."""
    counts = np.full((3, 4), 5.0)
    counts[1, 2] = count
    with pytest.raises(InputError, match=f"motif 'b' has a count of {shown}, expected whole numbers"):
        formats.write_jaspar(tmp_path / 'm.jaspar', {'a': np.full((3, 4), 5.0), 'b': counts})
    assert not (tmp_path / 'm.jaspar').exists()
    (tmp_path / 'other.jaspar').write_text('>b\nA [ 0.5 ]\nC [ 1 ]\nG [ 1 ]\nT [ 1 ]\n')  # what others write is read
    assert formats.read_jaspar(tmp_path / 'other.jaspar')['b'].tolist() == [[0.5, 1, 1, 1]]


def test_read_jaspar_accepts_what_biopython_writes(tmp_path):
    from Bio import motifs

    made = motifs.create(['ACGTA', 'ACGTC', 'TCGTA'])
    made.matrix_id, made.name = 'MA0001.1', 'NAME'
    (tmp_path / 'm.jaspar').write_text(motifs.write([made], 'jaspar'))
    found = formats.read_jaspar(tmp_path / 'm.jaspar')
    assert list(found) == ['MA0001.1']
    np.testing.assert_array_equal(found['MA0001.1'].T, [made.counts[letter] for letter in 'ACGT'])


@pytest.fixture
def genome(tmp_path):
    """A genome of two chromosomes and a corpus of four rows: two strands, a short one, one of no known place."""
    rng = np.random.default_rng(0)
    chroms = {'chr1': rng.integers(0, 4, 500).astype(np.uint8), 'chr 2': rng.integers(0, 4, 300).astype(np.uint8)}
    (tmp_path / 'genome.fa').write_text(
        ''.join(f'>{formats.escape(name)}\n{dna.decode(tokens)}\n' for name, tokens in chroms.items())
    )
    intervals = np.array([(0, 40, 1), (1, 100, -1), (0, 7, -1), (-1, 0, 1)], INTERVAL_DTYPE)
    lengths = [101, 101, 30, 50]
    rows = []
    for (chrom, start, strand), length in zip(intervals, lengths, strict=True):
        tokens = rng.integers(0, 4, length) if chrom < 0 else list(chroms.values())[chrom][start : start + length]
        rows.append(dna.reverse_complement(np.asarray(tokens, np.uint8)) if strand < 0 else tokens)
    names = [b'one', b'two', b'three', b'no\tplace']
    corpus = Corpus(
        tokens=np.concatenate(rows).astype(np.uint8),
        starts=cumulative(lengths),
        labels=np.ones(4, np.uint8),
        pairs=np.full(4, -1),
        bounds=np.array([[0, 0, 0, 4]]),
        tasks=('t',),
        name_bytes=np.frombuffer(b''.join(names), np.uint8),
        name_starts=cumulative([len(name) for name in names]),
        intervals=intervals,
        chroms=tuple(chroms),
    )
    return corpus, pyfaidx.Fasta(str(tmp_path / 'genome.fa'))


def test_bed_points_at_the_words_in_the_genome(genome, tmp_path):
    corpus, fasta = genome
    rows = np.array([3, 1, 0, 2])
    tokens = corpus.padded(rows)
    scores = np.random.default_rng(1).random(tokens.shape)
    windows = extract.best_windows(scores, corpus.lengths[rows])
    windows = extract.Windows(windows.row, windows.start, np.array([1, 1, -1, -1], np.int8), windows.score)
    words = windows.words(tokens)
    bed = formats.bed_rows(windows, corpus, rows, label='my task\tsaliency')
    formats.write_bed(tmp_path / 'w.bed', bed)
    lines = (tmp_path / 'w.bed').read_text().splitlines()
    assert len(lines) == 4
    for line, word in zip(lines[1:], words[1:], strict=True):
        chrom, start, stop, name, score, strand = line.split('\t')
        assert name == 'my%20task%09saliency' and 0 <= int(score) <= 1000
        found = fasta[chrom][int(start) : int(stop)]
        assert (found.reverse.complement if strand == '-' else found).seq == word
    assert lines[0].split('\t')[:3] == ['no%09place', str(windows.start[0]), str(windows.start[0] + 9)]
    assert max(int(line.split('\t')[4]) for line in lines) == 1000
    assert formats.read_bed(tmp_path / 'w.bed') == bed


def test_bed_of_windows_without_scores_or_intervals(genome):
    corpus, _ = genome
    plain = Corpus(**{**vars(corpus), 'intervals': None, 'chroms': ()})
    windows = extract.best_windows(np.zeros((4, 101)), corpus.lengths)
    chance = extract.random_windows(np.random.default_rng(0), windows, corpus.lengths)
    for found in (windows, chance):
        bed = formats.bed_rows(found, plain, np.arange(4), label='x')
        assert [(row.chrom, row.score) for row in bed] == [('one', 0), ('two', 0), ('three', 0), ('no\tplace', 0)]


def test_hits_lie_on_the_genome_where_its_words_match(genome, tmp_path):
    """Every window of the rows' intervals, read from the genome on either strand, against the BED file."""
    corpus, fasta = genome
    scanner = scan.prepare_scanner(np.random.default_rng(5).dirichlet([0.3] * 4, 5))
    rows = np.array([2, 3, 1, 0])
    hits = scan.find_hits(scanner, corpus.padded(rows), threshold=0.08)
    formats.write_bed(tmp_path / 'h.bed', formats.hit_rows(hits, corpus, rows, label='MA1.1:A B'))
    found = formats.read_bed(tmp_path / 'h.bed')
    expected = set()
    for row in (0, 1, 2):
        place, name = corpus.intervals[row], corpus.chroms[corpus.intervals[row]['chrom']]
        for start in range(place['start'], place['start'] + corpus.lengths[row] - 4):
            word = fasta[formats.escape(name)][int(start) : int(start) + 5]
            both = {'+': dna.encode(word.seq), '-': dna.encode(word.reverse.complement.seq)}
            scores = {strand: int(scanner.scores[np.arange(5), letters].sum()) for strand, letters in both.items()}
            strand = max(scores, key=scores.get)
            p = float(scanner.p_value(scores[strand]))
            if p <= 0.08:
                expected.add((name, start, start + 5, 'MA1.1:A B', round(-100 * np.log10(p)), strand))
    here = [row for row in found if row.chrom != 'no\tplace']
    assert set(here) == expected and len(here) > 4 and {row.strand for row in here} == {'+', '-'}
    assert {row.chrom for row in here} == {'chr1', 'chr 2'}
    letters = corpus.sequence(3)
    elsewhere = [row for row in found if row.chrom == 'no\tplace']
    assert len(here) + len(elsewhere) == len(found) == len(hits.once()) and elsewhere
    for row in elsewhere:
        word = dna.encode(letters[row.start : row.stop])
        word = word if row.strand == '+' else dna.reverse_complement(word[None])[0]
        assert scanner.p_value(scanner.scores[np.arange(5), word].sum()) <= 0.08


@pytest.mark.parametrize('p, points', [(1.0, 0), (0.05, 130), (1e-4, 400), (2.5e-7, 660), (1e-10, 1000), (1e-15, 1000)])
def test_scores_of_hits_are_those_of_the_browser_tracks(genome, p, points):
    corpus, _ = genome
    hits = scan.Hits(np.array([0]), np.array([3]), np.array([-1], np.int8), np.array([9.0]), np.array([p]), 6)
    assert formats.hit_rows(hits, corpus, np.array([0]), label='x') == [('chr1', 43, 49, 'x', points, '-')]


def test_tomtom_table(tmp_path):
    rng = np.random.default_rng(0)
    database = {f'm {k}': rng.dirichlet([0.2] * 4, size=6 + k % 7) for k in range(60)}
    targets = tomtom.prepare_targets(database)
    queries = {'own\t7': database['m 7'], 'turned': database['m 7'][::-1, ::-1]}
    matches = tomtom.match_motifs(list(queries.values()), targets)
    formats.write_tomtom(tmp_path / 't.tsv', matches, queries, targets)
    rows = files.read_tsv(tmp_path / 't.tsv')
    assert list(rows[0]) == [
        'Query_ID',
        'Target_ID',
        'Optimal_offset',
        'p-value',
        'E-value',
        'q-value',
        'Overlap',
        'Query_consensus',
        'Target_consensus',
        'Orientation',
    ]
    assert len(rows) == (matches.q_value <= 0.5).sum()
    first, turned = rows[0], next(row for row in rows if row['Query_ID'] == 'turned')
    assert (first['Query_ID'], first['Target_ID'], first['Orientation']) == ('own%097', 'm%207', '+')
    assert (turned['Target_ID'], turned['Orientation']) == ('m%207', '-')
    for row in (first, turned):
        assert row['Target_consensus'] == row['Query_consensus']
        assert (row['Optimal_offset'], row['Overlap']) == ('0', '6')
    p_values = [float(row['p-value']) for row in rows if row['Query_ID'] == 'turned']
    assert p_values == sorted(p_values)
    formats.write_tomtom(tmp_path / 't.tsv', matches, queries, targets, measure='p_value', threshold=1)
    assert len(files.read_tsv(tmp_path / 't.tsv')) == 120


def planted_contributions(n: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of 101 bp with AGATAAGA somewhere in the middle, and contributions that see its letters, each as
    strongly as it happens (TF-MoDISco makes no pattern of sites whose contributions are all alike)."""
    rng = np.random.default_rng(0)
    motif = dna.encode('AGATAAGA')
    tokens = rng.integers(0, 4, (n, 101)).astype(np.uint8)
    contributions = rng.normal(0, 0.1, (n, 101, 4))
    for row, start in enumerate(rng.integers(15, 78, n)):
        tokens[row, start : start + 8] = motif
        contributions[row, start : start + 8] -= 0.3
        contributions[row, np.arange(start, start + 8), motif] += rng.uniform(0.6, 1.8, 8)
    return contributions, tokens


def test_modisco_arrays(tmp_path):
    contributions, tokens = planted_contributions()
    tokens[0, 90:] = dna.N
    formats.write_modisco(tmp_path / 'a.npz', tmp_path / 's.npz', contributions, tokens)
    with np.load(tmp_path / 'a.npz', allow_pickle=False) as attributions, np.load(tmp_path / 's.npz') as sequences:
        assert attributions.files == sequences.files == ['arr_0']
        np.testing.assert_array_equal(attributions['arr_0'], contributions.astype(np.float32).transpose(0, 2, 1))
        assert (sequences['arr_0'].sum(axis=1) == (tokens < 4)).all()
        assert (sequences['arr_0'][1:].argmax(axis=1) == tokens[1:]).all()
    np.testing.assert_array_equal(formats.read_arr_0(tmp_path / 's.npz'), dna.one_hot(tokens).transpose(0, 2, 1))
    with pytest.raises(ValueError, match='contributions'):
        formats.write_modisco(tmp_path / 'b.npz', tmp_path / 's.npz', contributions[:, :, :3], tokens)
    assert not (tmp_path / 'b.npz').exists()


@pytest.mark.parametrize(
    'read, text, message',
    [
        (formats.read_meme, 'MEME version 4\n', 'holds no motif in MEME format'),
        (formats.read_meme, 'MOTIF\n', 'line 1 has no name'),
        (formats.read_meme, 'MOTIF a\nletter-probability matrix: w= 2\n1 0 0 0\n', 'line 4 .* expected 4 numbers'),
        (formats.read_meme, 'MOTIF a\nletter-probability matrix: w= 1\n1 0 0\n', "line 3 is '1 0 0'"),
        (formats.read_meme, 'letter-probability matrix: w= 1\n1 0 0 0\n', 'line 1 .* MOTIF line before'),
        (formats.read_meme, 'MOTIF a\nletter-probability matrix: w= 1\n1 0 0 0\n' * 2, "motif 'a' is there twice"),
        (formats.read_jaspar, '', 'holds no motif in JASPAR format'),
        (formats.read_jaspar, 'A [ 1 ]\n', 'line 1 .* expected ">name"'),
        (formats.read_jaspar, '>a\nA [ 1 2 ]\nC [ 1 ]\n', "line 3 is '1' *, expected 2 numbers|line 3 .* expected 2"),
        (formats.read_jaspar, '>a\nA [ 1 ]\nC [ 1 ]\nG [ 1 ]\n', "motif 'a' has 3 rows"),
        (formats.read_jaspar, '>a\nA [ 1 ]\nG [ 1 ]\nG [ 1 ]\nT [ 1 ]', 'expected "C'),
        (formats.read_bed, 'chr1\t5\t2\tn\t0\t+\n', 'line 1 .* start <= stop'),
        (formats.read_bed, '# a comment\nchr1\t5\tx\tn\t0\t+\n', 'line 2 .* six columns'),
        (formats.read_arr_0, 'text', 'not an .npz file'),
    ],
)
def test_bad_files_are_named(tmp_path, read, text, message):
    (tmp_path / 'bad').write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / 'bad')
    assert str(tmp_path / 'bad') in str(caught.value) and '\n' not in str(caught.value)
    with pytest.raises(InputError, match='cannot be read'):
        read(tmp_path / 'missing')


def test_bad_matrices_are_not_written(tmp_path):
    for matrix in (np.ones((3, 4)), np.ones((3, 3)), np.full((2, 4), np.nan), np.empty((0, 4))):
        with pytest.raises(InputError, match="motif 'a'"):
            formats.write_meme(tmp_path / 'm.meme', {'a': matrix})
    assert list(tmp_path.iterdir()) == []


def meme(tmp_path, body, alphabet='ACGT'):
    path = tmp_path / 'x.meme'
    path.write_text(f'MEME version 5\n\nALPHABET= {alphabet}\n\n{body}\n')
    return path


@pytest.mark.parametrize(
    'body',
    [
        'strands: + -\n\nMOTIF a\nletter-probability matrix: alength= 4 w= 2 nsites= 0 E= 0\n1 0 0 0\n.25 .25 .25 .25',
        'MOTIF a b\nlog-odds matrix: alength= 4 w= 2\n100 -900 -900 -900\n1 2 3 4\n'
        'letter-probability matrix: w= 2\n1 0 0 0\n.25 .25 .25 .25',
        'MOTIF a\nletter-probability matrix: w= 2\n 0.998\t0 0 0 \n.253 .252 .25 .25',  # as rounded by others
    ],
)
def test_motifs_of_other_programs_are_read(tmp_path, body):
    for alphabet in ('ACGT', 'ACGU'):
        (matrix,) = formats.read_meme(meme(tmp_path, body, alphabet)).values()
        np.testing.assert_allclose(matrix, [[1, 0, 0, 0], [0.25] * 4], atol=4e-3)


@pytest.mark.parametrize(
    ('rows', 'alphabet', 'told'),
    [
        (
            '1 0 0 0\n.01 .02 .03 -.001',
            'ACGT',
            "'a' has .0.01, 0.02, 0.03, -0.001. in column 2, expected probabilities",
        ),
        ('1.5 -.5 0 0\n1 0 0 0', 'ACGT', 'in column 1, expected probabilities'),
        ('10 0 5 5\n20 0 0 0', 'ACGT', r'has .10.0, 0.0, 5.0, 5.0. in column 1, expected probabilities of A C G T$'),
        ('1 0 0 0\n1 0 0 0', 'TGCA', "line 3 is 'ALPHABET= TGCA', expected ALPHABET= ACGT"),
        ('1 0 0 0\n1 0 0 0', 'ACDEFGHIKLMNPQRSTVWY', 'expected ALPHABET= ACGT'),
    ],
)
def test_meme_files_of_other_things_than_dna_are_refused(tmp_path, rows, alphabet, told):
    with pytest.raises(InputError, match=told):
        formats.read_meme(meme(tmp_path, f'MOTIF a\nletter-probability matrix: alength= 4 w= 2\n{rows}', alphabet))


def test_negative_counts_are_refused_and_columns_without_any_are_kept(tmp_path):
    path = tmp_path / 'x.jaspar'
    path.write_text('>a b\nA [ 0 3 ]\nC [ 0 1 ]\nG [ 0 0 ]\nT [ 0 2 ]\n')
    assert formats.read_jaspar(path)['a'].tolist() == [[0, 0, 0, 0], [3, 1, 0, 2]]
    path.write_text('>a b\nA [ 0 3 ]\nC [ 0 -1 ]\nG [ 0 0 ]\nT [ 0 2 ]\n')
    with pytest.raises(InputError, match="motif 'a' has a count of -1, expected 0 or more"):
        formats.read_jaspar(path)
