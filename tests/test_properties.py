"""What holds for any input: round trips, invariants, and for arbitrary bytes a valid result or `InputError`."""

import atexit
import dataclasses
import functools
import gzip
import json
import pathlib
import shutil
import string
import tempfile
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from demo_jax import dna
from demo_jax.data import build, intervals, peak_files, readers, storage, variants
from demo_jax.data.build import Records, TaskRecords, build_corpus
from demo_jax.data.corpus import clean_name
from demo_jax.data.genome import Genome
from demo_jax.data.splits import either_strand
from demo_jax.errors import InputError, brief, printable
from demo_jax.io import arrays, files, textfile
from demo_jax.io.settings import read_settings
from demo_jax.motifs import formats
from tests.helpers import check_corpus, check_motifs

# The same examples everywhere and no clock: a test that fails does so again.
quickly = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

letters = st.text('ACGTN', min_size=1, max_size=40)
anything = st.text(max_size=30)  # without half surrogate pairs
# What is half a pair alone; two halves that meet are one character, in JSON and everywhere.
surrogates = (st.text(st.characters(), max_size=30) | st.text(st.sampled_from('\udc80\ud800ab \n'), max_size=8)).map(
    lambda text: text.encode('utf-16', 'surrogatepass').decode('utf-16', 'surrogatepass')
)
token_rows = hnp.arrays(np.uint8, st.tuples(st.integers(0, 6), st.integers(0, 40)), elements=st.integers(0, 4))


@functools.cache
def scratch() -> pathlib.Path:
    """One folder for the files of all examples, removed when Python ends."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix='demo_jax_properties_'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def written(name: str, data: bytes) -> pathlib.Path:
    path = scratch() / name
    path.write_bytes(data)
    return path


# Letters, tokens, shuffles.


@quickly
@given(letters)
def test_encoding_comes_back(text):
    tokens = dna.encode(text)
    assert dna.decode(tokens) == text and tokens.dtype == np.uint8
    np.testing.assert_array_equal(dna.encode(text.lower().encode()), tokens)
    np.testing.assert_array_equal(dna.one_hot(tokens).sum(-1), tokens < dna.N)
    np.testing.assert_array_equal(dna.one_hot(tokens).argmax(-1)[tokens < dna.N], tokens[tokens < dna.N])


@quickly
@given(st.text(max_size=20) | st.binary(max_size=20))
def test_any_text_is_tokens_or_refused(text):
    allowed = set('ACGTUNRYSWKMBDHV') | set('acgtunryswkmbdhv')
    shown = text if isinstance(text, str) else text.decode('latin-1')
    try:
        tokens = dna.encode(text)
    except InputError as error:
        first = next(place for place, letter in enumerate(shown, start=1) if letter not in allowed)
        assert not set(shown) <= allowed and str(error).startswith('position ')
        if shown.isascii():
            assert str(error).startswith(f'position {first} ')
    else:
        assert set(shown) <= allowed and len(tokens) == len(text) and tokens.max(initial=0) <= dna.N


@quickly
@given(token_rows)
def test_the_reverse_complement_is_an_involution(tokens):
    turned = dna.reverse_complement(tokens)
    np.testing.assert_array_equal(dna.reverse_complement(turned), tokens)
    np.testing.assert_array_equal((turned == dna.N)[:, ::-1], tokens == dna.N)
    one_hot = dna.one_hot(tokens)
    np.testing.assert_array_equal(dna.one_hot(turned), one_hot[:, ::-1, ::-1])


@quickly
@given(token_rows, st.integers(0, 2**32), st.booleans())
@example(np.array([[4, 4, 4, 4, 4]], np.uint8), 0, True)
@example(np.array([[0, 1, 0, 1, 0, 1]], np.uint8), 0, False)
def test_shuffles_keep_dinucleotides_and_ends(tokens, seed, ragged):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, tokens.shape[1] + 1, len(tokens)) if ragged else None
    before = tokens.copy()
    shuffled = dna.dinucleotide_shuffle(tokens, np.random.default_rng(seed), lengths)
    again = dna.dinucleotide_shuffle(tokens, np.random.default_rng(seed), lengths, threads=1)
    np.testing.assert_array_equal(shuffled, again)
    np.testing.assert_array_equal(tokens, before)  # the input is untouched
    assert shuffled.shape == tokens.shape and shuffled.dtype == np.uint8
    for row in range(len(tokens)):
        size = tokens.shape[1] if lengths is None else lengths[row]
        old, new = tokens[row, :size], shuffled[row, :size]
        assert sorted(zip(old, old[1:], strict=False)) == sorted(zip(new, new[1:], strict=False))
        assert (old[:1] == new[:1]).all() and (old[-1:] == new[-1:]).all()
        assert (shuffled[row, size:] == dna.N).all()
    if tokens.shape[1]:
        counts = dna.dinucleotide_counts(tokens, lengths)
        np.testing.assert_array_equal(counts, dna.dinucleotide_counts(shuffled, lengths))


# Names and messages.


@quickly
@given(surrogates)
def test_names_become_printable_and_stay(name):
    clean = clean_name(name)
    assert clean and clean.isprintable() and clean == clean_name(clean) == ' '.join(clean.split())
    assert files.format_cell(clean) == clean
    if name.isprintable() and name == ' '.join(name.split()) and name:
        assert clean == name


@quickly
@given(surrogates)
def test_messages_are_one_printable_line(text):
    message = str(InputError(text))
    assert message.isprintable() and printable(message) == message
    if text.isprintable():
        assert message == text
    assert len(brief(text)) <= 60 and brief('x' * 10**6).endswith('...')
    if len(repr(text)) <= 60:
        assert brief(text) == repr(text)


@quickly
@given(st.lists(surrogates, min_size=2, max_size=2, unique=True))
def test_safe_names_are_file_names_of_their_own(names):
    safe = [files.safe_name(name) for name in names]
    for name, text in zip(names, safe, strict=True):
        assert text.isascii() and text.isprintable() and 0 < len(text) <= 150
        assert not set('/\\ "\'$`<>&|;*?') & set(text) and not text.startswith('.')
        if set(name) <= set(string.ascii_letters + string.digits + '_-~()+,=@') and name:
            assert text == name
    if all(name.isascii() or name.isprintable() for name in names):
        assert safe[0] != safe[1]


@quickly
@given(st.lists(anything, max_size=5))
def test_escaped_motif_names_come_back(names):
    for name in names:
        assert formats.unescape(formats.escape(name)) == name


# Tables, JSON, arrays.

cells = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(width=32) | surrogates


@quickly
@given(st.lists(st.tuples(cells, cells, cells), max_size=6), st.integers(1, 3))
@example([(None, None, None)], 1)
@example([('x' * 200_000, '"', "'")], 3)
def test_tables_come_back_as_their_cells(rows, width):
    columns = ('task', 'b c', '"x"')[:width]
    path = scratch() / 't.tsv'
    files.write_tsv(path, [dict(zip(columns, row, strict=False)) for row in rows], columns)
    found = files.read_tsv(path, columns)
    assert len(found) == len(rows)
    for row, back in zip(rows, found, strict=True):
        assert tuple(back) == columns
        for value, cell in zip(row, back.values(), strict=False):
            assert cell == files.format_cell(value).encode('utf-8', 'backslashreplace').decode()
            if isinstance(value, float) and np.isfinite(value):
                assert float(cell) == pytest.approx(value, rel=1e-5, abs=1e-300)
            elif value is None:
                assert cell == ''


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | surrogates,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(surrogates, inner, max_size=4),
    max_leaves=12,
)


@quickly
@given(json_values)
def test_json_comes_back(value):
    files.write_json(scratch() / 'x.json', value)
    assert files.read_json(scratch() / 'x.json') == value


@quickly
@given(
    hnp.arrays(
        st.sampled_from(['u1', '<i8', '<f4', '>f8', '?', '<U5', 'S3', '<c8']),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
    st.booleans(),
)
def test_arrays_come_back(array, fortran):
    array = np.asfortranarray(array) if fortran else array
    np.save(scratch() / 'a.npy', array, allow_pickle=False)
    np.savez(scratch() / 'a.npz', allow_pickle=False, x=array, y=array)
    found = arrays.read_npz(scratch() / 'a.npz', ['y', 'x'])
    for back in (arrays.read_npy(scratch() / 'a.npy'), arrays.map_npy(scratch() / 'a.npy'), *found.values()):
        assert back.dtype == array.dtype and back.shape == array.shape and back.tobytes() == array.tobytes()


# Sequences.


@quickly
@given(
    st.lists(st.tuples(st.integers(0, 1), letters), min_size=1, max_size=12),
    st.sampled_from(['\n', '\r\n']),
    st.booleans(),
    st.integers(1, 50),
)
def test_fasta_is_read_as_it_was_written(records, end, packed, width):
    text = ''
    for label, sequence in records:
        text += f'> {label}{end}'
        text += ''.join(f'{sequence[at : at + width]}{end}' for at in range(0, len(sequence), width))
    data = text.encode()
    path = written('task.fa', gzip.compress(data) if packed else data)
    found = list(textfile.read_fasta(path))
    assert [(record.header, record.letters.decode()) for record in found] == [(str(n), s) for n, s in records]
    positives = sum(label for label, _ in records)
    try:
        (task,) = readers.read_tasks('fasta', [path], test_fraction=0.3)
    except InputError as error:
        assert ('no positives among' if positives == 0 else 'none of them can be set aside') in str(error)
        assert positives == 0 or len({either_strand(dna.encode(sequence)) for _, sequence in records}) < len(records)
    else:
        read = [
            (int(label), dna.decode(tokens))
            for part in (task.train, task.test)
            for label, tokens, name in zip(part.labels, part.tokens, part.names, strict=True)
            if not name.endswith('_shuffle')
        ]
        made = len(task.train.labels) + len(task.test.labels) - len(read)
        assert made == (len(read) if positives == len(records) else 0)  # positives alone get shuffles
        left_out = list((Counter(records) - Counter(read)).elements())
        assert not Counter(read) - Counter(records) and sum(task.train.left_out.values()) == len(left_out)
        assert not left_out or positives == len(records)  # the others are judged when a corpus is built
        for _, sequence in left_out:
            tokens = np.tile(dna.encode(sequence), (30, 1))
            assert 2 * sequence.count('N') > len(sequence) or (
                (dna.dinucleotide_shuffle(tokens, np.random.default_rng(0)) == tokens).all()
            )


@quickly
@given(st.lists(st.tuples(letters, st.integers(0, 1)), min_size=1, max_size=10), surrogates)
def test_deepbind_is_read_as_it_was_written(records, name):
    name = ' '.join(name.split()) or 'x'
    rows = ''.join(f'A\t{name}\t{sequence}\t{label}\n' for sequence, label in records)
    data = f'FoldID\tEventID\tseq\tBound\n{rows}'.encode('utf-8', 'surrogateescape' if name.isascii() else 'replace')
    for part in ('AC', 'B'):
        written(f'T_{part}.seq.gz', gzip.compress(data))
    try:
        (task,) = readers.read_tasks('deepbind', [scratch() / 'T_AC.seq.gz'])
    except InputError:
        assert '\0' in name or not any(label for _, label in records)
    else:
        assert [(dna.decode(t), int(n)) for t, n in zip(task.train.tokens, task.train.labels, strict=True)] == records


@quickly
@given(
    st.lists(
        st.tuples(
            st.sampled_from(['chr1', 'chr2', 'chrX']),
            st.integers(0, 10**9),
            st.integers(1, 10**4),
            st.floats(-1e6, 1e6),
            st.integers(-1, 0),
        ),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)
def test_peaks_are_read_as_they_were_written(peaks, narrow):
    lines = []
    for chrom, start, size, signal, summit in peaks:
        tail = f'\t.\t0\t.\t{signal!r}\t-1\t-1\t{summit}' if narrow else f'\tname\t{signal!r}'
        lines.append(f'{chrom}\t{start}\t{start + size}{tail}\n')
    found = peak_files.read_peaks(written('p.narrowPeak' if narrow else 'p.bed', ''.join(lines).encode()))
    assert list(found.chroms) == [peak[0] for peak in peaks]
    assert found.starts.tolist() == [peak[1] for peak in peaks]
    assert found.ends.tolist() == [peak[1] + peak[2] for peak in peaks]
    assert found.signals.tolist() == [peak[3] for peak in peaks]
    middle = [start + size // 2 if not narrow or summit < 0 else start for _, start, size, _, summit in peaks]
    assert np.abs(found.centres - middle).max() <= 1  # (start + end) // 2 rounds the sum


@quickly
@given(
    st.lists(st.tuples(st.sampled_from('ab'), st.integers(0, 60), st.integers(1, 20)), min_size=1, max_size=8),
    st.lists(st.integers(-5, 90), min_size=1, max_size=10),
    st.integers(1, 12),
)
def test_overlap_is_that_of_every_letter(regions, starts, width):
    chroms, first, sizes = (list(column) for column in zip(*regions, strict=True))
    merged = intervals.Regions(chroms, np.array(first), np.array(first) + np.array(sizes))
    covered = {(c, at) for c, s, n in regions for at in range(s, s + n)}
    for chrom in 'abc':
        expected = [any((chrom, at) in covered for at in range(start, start + width)) for start in starts]
        assert merged.overlap(chrom, np.array(starts), width).tolist() == expected


@quickly
@given(letters, st.data())
def test_alleles_are_cut_as_by_hand(reference, data):
    reference = reference.replace('N', 'A')
    position = data.draw(st.integers(1, len(reference)))
    ref = reference[position - 1 : position - 1 + data.draw(st.integers(1, 4))]
    alt = data.draw(st.text('ACGT', min_size=1, max_size=4))
    width = data.draw(st.integers(max(len(ref), len(alt)), 30))
    fasta = Genome(written('s.fa', f'>s\n{reference}\n'.encode()))
    path = written('v.vcf', f'##x\n#CHROM\tPOS\tID\tREF\tALT\ns\t{position}\t.\t{ref}\t{alt}\n'.encode())
    (variant,) = variants.read_variants(path)
    assert variant == variants.Variant(3, '', 's', position, ref, alt)
    alleles = variants.cut_alleles(fasta, path, variant, width)
    changed = reference[: position - 1] + alt + reference[position - 1 + len(ref) :]
    assert alleles.ref.decode() == reference[alleles.start : alleles.start + len(alleles.ref)]
    assert alleles.alt.decode() in changed and len(alleles.ref) <= width >= len(alleles.alt)
    assert len(alleles.ref) == min(width, len(reference))


# Corpora.

names = surrogates.map(clean_name)
records_of = st.lists(letters, min_size=2, max_size=6)


@quickly
@given(
    st.lists(st.tuples(names, records_of, records_of), min_size=1, max_size=3, unique_by=lambda task: task[0]),
    st.integers(0, 9),
    st.lists(surrogates, min_size=1, max_size=3),
)
def test_corpora_come_back(tasks, seed, record_names):
    def both(sequences: list[str]) -> list[str]:  # never mostly N, nor those of another on this or the other strand
        return ['AA' + s + letter * len(s) for letter in 'CA' for s in sequences]

    def records(sequences: list[str]) -> Records:
        n = len(sequences)
        named = [record_names[i % len(record_names)] for i in range(2 * n)]
        return Records([dna.encode(s) for s in both(sequences)], [1] * n + [0] * n, named, np.tile(np.arange(n), 2))

    made = [TaskRecords(n, records(a), records(b), {'x': n}) for n, a, b in tasks]
    if any(len(set(train)) < 2 for _, train, _ in tasks):
        with pytest.raises(InputError, match='none of them can be set aside'):
            build_corpus(made, seed=seed)
        return
    corpus = build_corpus(made, seed=seed)
    check_corpus(corpus)
    storage.save_corpus(corpus, scratch() / 'corpus')
    back = storage.load_corpus(scratch() / 'corpus', verify=True)
    assert back.tasks == corpus.tasks and back.fingerprint() == corpus.fingerprint()
    assert [back.name(row) for row in range(len(back))] == [corpus.name(row) for row in range(len(corpus))]
    assert back.info == json.loads(json.dumps(dict(corpus.info)))
    for name, train, test in tasks:
        for parts, sequences in ((('train', 'valid'), train), (('test',), test)):
            spans = [corpus.rows(name, part) for part in parts]
            rows = [row for span in spans for row in range(span.start, span.stop)]
            assert sorted(corpus.sequence(row) for row in rows) == sorted(both(sequences))
    assert corpus.select(corpus.tasks).fingerprint() == corpus.fingerprint()
    valid = [corpus.pairs[corpus.rows(name, 'valid')] for name in corpus.tasks]
    for pairs in valid:  # a positive and its shuffle on the same side
        assert all((pairs == pair).sum() == 2 for pair in pairs if pair >= 0)


@quickly
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(-1, 4)), max_size=20), st.floats(0.01, 0.99), st.integers(0, 9)
)
def test_what_is_held_out_keeps_pairs_together(rows, fraction, seed):
    labels, pairs = (np.array([row[at] for row in rows], np.int64) for at in (0, 1))
    chosen = build.choose_rows(labels, pairs, fraction, np.random.default_rng(seed))
    for pair in set(pairs[pairs >= 0].tolist()):
        assert len(set(chosen[pairs == pair].tolist())) == 1
    for label in (0, 1):
        kind = (pairs < 0) & (labels == label)
        assert not kind.any() or not chosen[kind].all()
        assert kind.sum() < 2 or chosen[kind].any()


@pytest.mark.parametrize('name', ['a\tb', ' a', 'a\n', '', 'two  blanks', '\udc80', '\x1b[1m'])
def test_a_task_that_tables_cannot_hold_is_refused(name):
    part = Records([dna.encode('ACGT')] * 4, [1, 1, 0, 0], list('abcd'))
    with pytest.raises(InputError, match='tables cannot hold this name'):
        build_corpus([TaskRecords(name, part, part)])


# Motifs.

motif_names = st.lists(anything, min_size=1, max_size=4, unique=True)


@quickly
@given(motif_names, st.integers(0, 99))
def test_motifs_come_back(names, seed):
    rng = np.random.default_rng(seed)
    matrices = {name: rng.dirichlet([0.4] * 4, size=1 + number) for number, name in enumerate(names)}
    formats.write_meme(scratch() / 'm.meme', matrices)
    found = formats.read_meme(scratch() / 'm.meme')
    assert list(found) == names
    counts = {name: rng.integers(0, 10**6, matrix.shape) for name, matrix in matrices.items()}
    formats.write_jaspar(scratch() / 'm.jaspar', counts)
    back = formats.read_jaspar(scratch() / 'm.jaspar')
    assert list(back) == names
    for name in names:
        np.testing.assert_allclose(found[name], matrices[name], atol=5.1e-7)
        np.testing.assert_array_equal(back[name], counts[name])


@quickly
@given(
    st.lists(
        st.builds(
            formats.BedRow,
            anything,
            st.integers(0, 10**9),
            st.integers(10**9, 10**10),
            anything,
            st.integers(0, 1000),
            st.sampled_from('+-'),
        ),
        max_size=6,
    )
)
def test_windows_come_back(rows):
    assume(not any(row.chrom.startswith(('track', 'browser')) for row in rows))
    formats.write_bed(scratch() / 'w.bed', rows)
    assert formats.read_bed(scratch() / 'w.bed') == rows


# Settings.


@dataclasses.dataclass(frozen=True)
class Example:
    """A section of settings with every kind of default."""

    size: int = 3
    rate: float = 0.5
    name: str = 'x'
    flag: bool = False
    words: tuple[str, ...] = ()
    range: tuple[float, float] = (0.1, 0.9)
    path: str | None = None


@quickly
@given(
    st.dictionaries(
        st.sampled_from([field.name for field in dataclasses.fields(Example)]) | anything, json_values, max_size=4
    )
)
def test_settings_have_their_types_or_are_refused(values):
    known = {field.name: field.default for field in dataclasses.fields(Example)}
    try:
        made = read_settings(Example, values, 'section')
    except InputError as error:
        assert str(error).startswith('section: ')
        return
    assert set(values) <= set(known)
    for name, default in known.items():
        value = getattr(made, name)
        assert default is None or type(value) is type(default)
        if name not in values:
            assert value == default
        elif isinstance(default, float):
            assert value == values[name]
    assert all(isinstance(word, str) for word in made.words) and all(isinstance(x, float) for x in made.range)


@pytest.mark.parametrize(
    'values, message',
    [
        ({'sise': 3}, "section: unknown setting 'sise'; it has size, rate"),
        ({'size': '3'}, "section: size is '3', expected int"),
        ({'size': True}, 'section: size is True, expected int'),
        ({'size': 3.0}, 'section: size is 3.0, expected int'),
        ({'rate': 10**400}, r'section: rate is 1000.*\.\.\., expected float'),
        ({'rate': None}, 'section: rate is None, expected float'),
        ({'flag': 1}, 'section: flag is 1, expected bool'),
        ({'words': 'abc'}, "section: words is 'abc', expected tuple"),
        ({'words': ['a', 3]}, r'section: words\[1\] is 3, expected str'),
        ({'range': [0.1, 'b']}, r"section: range\[1\] is 'b', expected float"),
        ('abc', "section is 'abc', expected settings by name"),
        (None, 'section is None, expected settings by name'),
    ],
)
def test_wrong_settings_are_named(values, message):
    with pytest.raises(InputError, match=message):
        read_settings(Example, values, 'section')


# Arbitrary bytes: a valid result, or InputError of one line, and nothing else.


def read_sources(path: pathlib.Path) -> None:
    check_corpus(readers.read_corpus('fasta', [path], test_fraction=0.4))


def read_meme(path: pathlib.Path) -> None:
    check_motifs(formats.read_meme(path))


def read_jaspar(path: pathlib.Path) -> None:
    check_motifs(formats.read_jaspar(path))


def read_deepbind(path: pathlib.Path) -> None:
    path.with_name('any_B.seq').write_text('FoldID\tEventID\tseq\tBound\nB\tx\tACGT\t1\nB\ty\tACGA\t0\n')
    check_corpus(readers.read_corpus('deepbind', [path]))


def read_variants(path: pathlib.Path) -> None:
    for item in variants.read_variants(path):
        assert isinstance(item, variants.Skipped) or item.position >= 1 and set(item.ref + item.alt) <= set('ACGTN')


def read_genome(path: pathlib.Path) -> None:
    genome = Genome(path)
    try:
        for name, size in genome.sizes.items():
            assert len(genome.letters(name, 0, size)) == size
    finally:
        genome.close()


FRAGMENTS = {
    'any.fa': (
        read_sources,
        [
            b'>1\n',
            b'> 0 x\n',
            b'>label=1\n',
            b'ACGT\n',
            b'acgu',
            b'\r\n',
            b'\n',
            b'N',
            b'\x1f\x8b',
            b'\0',
        ],
    ),
    'any_AC.seq': (
        read_deepbind,
        [
            b'FoldID\tEventID\tseq\tBound\n',
            b'A\tx\tACGT\t1\n',
            b'A\ty\tACGA\t0\n',
            b'\t',
            b'2\n',
        ],
    ),
    'any.bed': (
        peak_files.read_peaks,
        [
            b'chr1\t5\t9\n',
            b'chr1 5 9\n',
            b'track\n',
            b'\t',
            b'-1',
            b'9' * 20,
            b'.',
            b'nan',
        ],
    ),
    'any.vcf': (
        read_variants,
        [
            b'##x\n',
            b'#CHROM\tPOS\tID\tREF\tALT\n',
            b's\t5\t.\tA\tC,G\n',
            b'<DEL>',
            b',',
            b'\t',
        ],
    ),
    'any.tsv': (
        read_variants,
        [
            b'sequence\tposition\tref\talt\n',
            b's\t5\tA\tC\n',
            b'ref',
            b'\t',
            b'\n',
            b'#',
        ],
    ),
    'any.meme': (
        read_meme,
        [
            b'MOTIF a\n',
            b'letter-probability matrix: w= 1\n',
            b'0 0 1 0\n',
            b'w= 0',
            b'9' * 5000,
            b'\n',
        ],
    ),
    'any.jaspar': (
        read_jaspar,
        [
            b'>a\n',
            b'A [ 1 ]\n',
            b'C [ 1 ]\n',
            b'G [ 1 ]\n',
            b'T [ 1 ]\n',
            b'T [ 1 2 ]\n',
            b'1e999',
            b'\n',
        ],
    ),
    'any6.bed': (formats.read_bed, [b'chr1\t5\t9\tn\t0\t+\n', b'\t', b'1_0', b'\n', b'track name=x\n', b'%zz']),
    'table': (files.read_tsv, [b'a\tb\n', b'1\t2\n', b'\t', b'\n', b'\r\n', b'\xff', b'"']),
    'x.json': (files.read_json, [b'{"a":', b'[', b']', b'}', b'1', b'"\\ud800"', b'NaN', b'9' * 5000]),
    'genome.fa': (read_genome, [b'>s\n', b'ACGT\n', b'acgt\n', b'AC\n', b'\n', b'\r\n', b' ', b'>', b'\t', b'\xff']),
    'a.npz': (arrays.read_npz, [b'PK\x03\x04', b'PK\x05\x06' + b'\0' * 18, b'\x93NUMPY', b'\0']),
    'a.npy': (
        arrays.read_npy,
        [
            b'\x93NUMPY\x01\0',
            b'v\0',
            b"{'descr': '|O', 'fortran_order': False, 'shape': (), }",
        ],
    ),
}


@pytest.mark.parametrize('name', FRAGMENTS)
def test_arbitrary_bytes_are_read_or_refused(name):
    read, pieces = FRAGMENTS[name]
    outcomes = set()

    @quickly
    @given(
        st.binary(max_size=60)
        | st.lists(st.sampled_from(pieces) | st.binary(max_size=6), max_size=14).map(b''.join)
        | st.lists(st.sampled_from(pieces), max_size=14).map(b''.join)
    )
    def check(data):
        path = written(name, data)
        try:
            read(path)
        except InputError as error:
            assert str(error).isprintable() and str(error)
            outcomes.add('refused')
        else:
            outcomes.add('read')

    check()
    assert 'refused' in outcomes
