"""Own sequences and variants scored: every number against `predict` on strings that the test cuts and edits itself."""

import dataclasses
import gzip
import math
import tracemalloc

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.data import variants
from demo_jax.data.genome import Genome
from demo_jax.errors import InputError
from demo_jax.io import files, textfile
from demo_jax.predict import score_tables, scoring, variant_effects, windows
from demo_jax.predict.model import Model
from demo_jax.predict.scoring import choose_models, score_fasta
from demo_jax.report.plots import LETTER_COLOURS
from demo_jax.stages import sequence_hits
from demo_jax.training.fit import Finished
from tests.helpers_commands import run_command
from tests.helpers_models import save_run
from tests.helpers_score import checked, fasta, letters, other, read, vcf

WIDTH = 30


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A run of a CNN and an RNN on two tasks of 30 letters; the best by validation is the RNN of seed 1."""
    return save_run(tmp_path_factory.mktemp('score') / 'run', ('small_cnn', 'small_rnn'), seeds=(0, 1))


@pytest.fixture(scope='module')
def models(run):
    return choose_models(run, ['one'], ['small_cnn', 'small_rnn'], 'best')


def test_the_best_model_by_validation_is_chosen(run):
    chosen = choose_models(run, members='best')
    assert [(m.task, m.spec, m.seed) for m in chosen] == [('one', 'small_rnn', 1), ('two', 'small_rnn', 1)]
    chosen = choose_models(run, ['two'], ['small_cnn', 'small_rnn'], 'best')
    assert [(m.task, m.spec, m.seed) for m in chosen] == [('two', 'small_cnn', 1), ('two', 'small_rnn', 1)]
    job = next(job for job in run.jobs if (job.task, job.spec, job.seed) == ('two', 'small_cnn', 1))
    kernel = run.directory.load_result(job.index).params['conv0']['kernel']
    np.testing.assert_array_equal(chosen[0].params['conv0']['kernel'], kernel)


def test_models_that_are_not_there(run, tmp_path):
    with pytest.raises(InputError, match="no task 'three'; it has one, two"):
        choose_models(run, ['three'])
    with pytest.raises(InputError, match="no spec 'large_cnn'; it has small_cnn, small_rnn"):
        choose_models(run, [], ['small_cnn', 'large_cnn'])
    half = save_run(tmp_path / 'half', ('small_cnn', 'small_rnn'))
    for job in half.jobs:  # of task one nothing is left, of task two the better model has diverged
        if job.task == 'one':
            half.directory.model_path(job.index).unlink()
        elif job.spec == 'small_rnn':
            half.directory.save_result(Finished(job.index, 3, 1, 0, 0.0, None), ())
    assert [m.spec for m in choose_models(half, ['two'])] == ['small_cnn']
    with pytest.raises(InputError, match='no model of one with small_cnn, small_rnn has been trained'):
        choose_models(half)


def scored_starts(path, stride, width=WIDTH):
    """Where the windows begin that are scored of a file's only record."""
    model = Model('one', 'small_rnn', 0, {}, length=width)
    found = checked(path, [model], stride)
    starts = [int(start) for block in windows.read_blocks(found, 7) for start in block.start]
    assert found.n_windows == len(starts)
    return starts


@pytest.mark.parametrize('length, stride', [(30, 10), (29, 1), (5, 7), (31, 10), (75, 10), (70, 10), (64, 1), (64, 90)])
def test_windows_reach_both_ends(tmp_path, length, stride):
    starts = scored_starts(fasta(tmp_path / 'x.fa', s='A' * length), stride)
    expected, at = [], 0
    while at + WIDTH < length:
        expected.append(at)
        at += stride
    assert starts == [*expected, max(length - WIDTH, 0)]


def test_windows_of_unknown_letters_are_passed_over(tmp_path):
    text = letters(40) + 'N' * 60 + letters(30)
    starts = scored_starts(fasta(tmp_path / 'x.fa', s=text), 1)
    assert starts == [at for at in range(101) if text[at : at + WIDTH].count('N') <= WIDTH / 2]
    assert 25 in starts and 26 not in starts
    assert scored_starts(fasta(tmp_path / 'n.fa', s='N' * 50), 10) == [0, 10, 20]


@pytest.mark.parametrize('part', [11, 1 << 20])
def test_the_best_window_is_found(models, tmp_path, monkeypatch, part):
    monkeypatch.setattr(scoring, 'BLOCK', 9)  # sequences are cut by the blocks
    monkeypatch.setattr(textfile, 'PART', part)
    texts = {'long': letters(77), 'short': letters(20, 1).lower(), 'exact': letters(30, 2), 'another': letters(131, 3)}
    path = fasta(tmp_path / 'x.fa', **texts)
    best = score_fasta(models, checked(path, models, stride=4), progress=False)
    rows = list(best.rows())
    assert len(rows) == 8 and tuple(rows[0]) != () and set(rows[0]) == set(scoring.SCORE_COLUMNS)
    several = 0
    for row in rows:
        text = texts[row['sequence']]
        starts = sorted({*range(0, max(len(text) - WIDTH, 0) + 1, 4), max(len(text) - WIDTH, 0)})
        model = next(model for model in models if model.spec == row['spec'])
        found = model.predict([text[start : start + WIDTH] for start in starts])
        top = int(np.argmax(found.score))
        several += top > 0
        assert (row['start'], row['end']) == (starts[top] + 1, min(starts[top] + WIDTH, len(text)))
        assert row['score'] == pytest.approx(found.score[top], abs=1e-5)
        assert row['probability'] == pytest.approx(found.probability[top], abs=1e-6)
        assert (row['n_windows'], row['length']) == (len(starts), len(text))
        window = best.window(models.index(model), row['record'] - 1)
        assert window == text[row['start'] - 1 : row['end']].upper()
    assert several > 1


BLANKS = b' ' * 30
NASTY = [
    b'>a b\nAC GT\n',
    b'>a\r\nACGT\r\nAC\r\n\r\n>b\r\nG\r\n',
    b'\n\n>a\n\nAC\n\n  GT \n>b\t x \nA',
    b'>a\n>b\nAC\n',
    b'>a',
    b'>a\nAC>GT\nGGGGGGGGGGGGGGGGG>T\n',
    b'>a\n >b\nAC\n',
    b'  \nACGT\n',
    b'ACGTACGTACGTACGTACGT',
    b' \n \n',
    b'>a\nAC\0GT\n',
    b'>\nACGT' + BLANKS + b'\r\n>b\n' + BLANKS + b'AC\r' + b'GT' * 20 + b'\r\r\n',
    b'>a\nA\n>b\n \n',
    b'>\xff\nAC\rGT\nA\n',
    b'\xef\xbb\xbf>a\nACGT\n>b c d e f g h i j k l m n o p\nAC' + BLANKS + b'GT\n',
    b'',
    b'\xff\xfe>\0',
]


def outcome(read):
    """What reading gives, or the error."""
    try:
        return read()
    except InputError as error:
        return str(error)


@pytest.mark.parametrize('part', [3, 4, 5, 16, 1 << 20])
@pytest.mark.parametrize('packed', [False, True])
def test_parts_hold_what_records_do(tmp_path, monkeypatch, part, packed):
    monkeypatch.setattr(textfile, 'PART', part)
    path = tmp_path / 'x.fa'

    def joined():
        records = {}
        for piece in textfile.read_fasta_parts(path):
            header, letters = records.get(piece.number, (piece.header, b''))
            assert (piece.start, piece.header) == (len(letters), header) and piece.letters
            assert len(piece.letters) <= 3 * part + len(BLANKS)
            records[piece.number] = (header, letters + piece.letters)
        return list(records.items())

    refused = 0
    for text in NASTY:
        path.write_bytes(gzip.compress(text) if packed else text)
        whole = outcome(lambda: [(r.number, (r.header, r.letters)) for r in textfile.read_fasta(path)])
        found = outcome(joined)
        refused += isinstance(whole, str)
        if isinstance(whole, str) and 'FASTA header' in whole:  # a long line is shown as far as it has been read
            assert found.split(' is ')[0] == whole.split(' is ')[0]
        else:
            assert found == whole
    assert 5 < refused < len(NASTY) - 5


def test_lines_and_records_may_have_any_length(models, tmp_path, monkeypatch):
    for name, value in (('PART', 100), ('MAX_LINE', 300), ('MAX_LETTERS', 300), ('MAX_RECORDS', 2)):
        monkeypatch.setattr(textfile, name, value)
    texts = {'a': letters(1000), 'b': letters(1200, 1), 'c': letters(40, 2)}
    found = checked(fasta(tmp_path / 'x.fa', **texts), models)
    assert (found.n_records, found.n_windows) == (3, 98 + 118 + 2)
    path = tmp_path / 'bad.fa'
    for text, message in (
        (f'>{"h" * 400}\nACGT\n', 'line 1 has more than 300 bytes'),
        (f'>h\nACGT\nAC{" " * 600}\n', 'line 3 has more than 300 bytes'),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            checked(path, models)


def test_memory_is_bounded_and_no_window_lost(tmp_path, monkeypatch):
    """Two records longer than `read_fasta` reads, one of them on a single line."""
    monkeypatch.setattr(textfile, 'PART', 1 << 16)
    path, n = tmp_path / 'x.fa', 12_000_000
    with open(path, 'wb') as handle:
        handle.write(b'>line\n' + b'ACGTTGCA' * (n // 8) + b'\n>lines\n')
        for _ in range(n // 80):
            handle.write(b'ACGTTGCAGG' * 8 + b'\n')
    model = Model('one', 'small_rnn', 0, {}, length=101)
    tracemalloc.start()
    try:
        found = checked(path, [model], 1000)
        starts = [block.start for block in windows.read_blocks(found, 4096)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    expected = [*range(0, n - 101, 1000), n - 101]
    assert np.concatenate(starts).tolist() == expected * 2
    assert peak < n / 3  # of the letters of a single record


@pytest.mark.parametrize('part', [13, 64])
@pytest.mark.parametrize('stride', [1, 7, 200])
def test_windows_do_not_depend_on_the_parts(tmp_path, monkeypatch, part, stride):
    texts = {'a': letters(500), 'n': 'N' * 300, 'b': letters(200, 1) + 'N' * 200 + letters(33, 2), 'c': letters(29, 3)}
    path = fasta(tmp_path / 'x.fa', **texts)
    lines = path.read_text().split('\n')
    path.write_text('\n'.join(line[i : i + 17] for line in lines for i in range(0, len(line), 17)))
    model = Model('one', 'small_rnn', 0, {}, length=WIDTH)

    def windows_of(size):
        found = []
        for block in windows.read_blocks(checked(path, [model], stride), size):
            names = [block.records[owner].name for owner in block.owner]
            rows = zip(names, block.start.tolist(), block.lengths.tolist(), block.tokens, strict=True)
            found += [(name, start, dna.decode(tokens[:length])) for name, start, length, tokens in rows]
            assert (block.tokens[np.arange(WIDTH) >= block.lengths[:, None]] == dna.N).all()
        return found

    expected = []
    for name, text in texts.items():
        last = max(len(text) - WIDTH, 0)
        cut = [(name, start, text[start : start + WIDTH]) for start in sorted({*range(0, last + 1, stride), last})]
        known = [window for window in cut if window[2].count('N') <= WIDTH / 2]
        expected += known or cut
    assert windows_of(4096) == expected
    monkeypatch.setattr(textfile, 'PART', part)
    assert windows_of(4096) == windows_of(10) == expected


def test_a_long_record_scores_the_same_in_parts(run, tmp_path, monkeypatch):
    models = choose_models(run, [], ['small_cnn', 'small_rnn'])
    path = fasta(tmp_path / 'x.fa', long=letters(3000), n='N' * 70, short=letters(20, 1), other=letters(400, 2))
    outputs = []
    for part in (1 << 20, 50):
        monkeypatch.setattr(textfile, 'PART', part)
        out, track = tmp_path / f'{part}.tsv', tmp_path / f'{part}.bed'
        fasta_file = checked(path, models, 3)
        score_tables.write_scores(models, fasta_file, out, track=track, threshold=-math.inf, progress=False)
        outputs.append((out.read_bytes(), track.read_bytes()))
    assert outputs[0] == outputs[1] and outputs[0][1].count(b'\n') == 1 + 4 * fasta_file.n_windows


def deep(path, letter):
    """Two records, the second with a wrong letter far in it."""
    text = letters(5000, 8)
    text = text[:4321] + letter + text[4322:]
    lines = '\n'.join(text[i : i + 60] for i in range(0, len(text), 60))
    path.write_text(f'>fine\n{letters(90)}\n>deep one\n{lines}\n')
    return path


@pytest.mark.parametrize('letter', ['!', ' ', '>', 'é'])
def test_a_bad_letter_deep_in_a_record(models, tmp_path, monkeypatch, letter):
    path = deep(tmp_path / 'x.fa', letter)
    found = dict.fromkeys((1 << 20, 100, 7), '')
    for part in found:
        monkeypatch.setattr(textfile, 'PART', part)
        with pytest.raises(InputError) as caught:
            checked(path, models)
        found[part] = str(caught.value)
    (message,) = set(found.values())
    assert message.startswith(f"{path}: record 2 ('deep'): position 4322 holds '")
    assert message.endswith('expected a DNA letter (ACGT, N or IUPAC)')


def test_a_file_that_changes_in_between(models, tmp_path):
    path = fasta(tmp_path / 'x.fa', a=letters(90))
    found = checked(path, models)
    for text in (letters(190), letters(40), 'N' * 90):
        fasta(path, a=text)
        with pytest.raises(InputError, match='x.fa: has changed while it was read'):
            score_tables.write_scores(models, found, tmp_path / 'never.tsv', progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ['x.fa']


@pytest.mark.parametrize('average', [True, False])
def test_the_track_holds_every_window_from_the_threshold_up(tmp_path, monkeypatch, average):
    """Against the score of either strand, of strings that are cut here."""
    run = save_run(tmp_path / 'run', ('small_cnn', 'deepbind'), average_strands=average)
    models = choose_models(run, [], ['small_cnn', 'deepbind'])
    monkeypatch.setattr(scoring, 'BLOCK', 16)
    monkeypatch.setattr(score_tables, '_LINES', 5)
    texts = {'b': letters(131), 'a': letters(60, 1) + 'N' * 40, 'short': letters(25, 2)}
    found = checked(fasta(tmp_path / 'x.fa', **texts), models, 7)
    expected = []
    for name, text in texts.items():
        last = max(len(text) - WIDTH, 0)
        for start in sorted({*range(0, last + 1, 7), last}):
            window = text[start : start + WIDTH]
            if window.count('N') > WIDTH / 2:
                continue
            for model in models:
                single = dataclasses.replace(model, average_strands=False)
                given, turned = single.predict([window, dna.decode(dna.reverse_complement(dna.encode(window)))]).score
                score = float(given + turned) / 2 if average else float(given)
                both = average or model.spec == 'deepbind'
                expected.append((name, start, start + len(window), model.task, '.' if both else '+', score, model.spec))
    values = sorted(row[5] for row in expected)
    gap = int(np.argmax(np.diff(values[5:-5]))) + 5  # rounding shall not matter
    middle = (values[gap] + values[gap + 1]) / 2
    for threshold in (-math.inf, middle, math.inf):
        done = score_tables.write_scores(
            models, found, tmp_path / 'o.tsv', track=tmp_path / 'o.bed', threshold=threshold, progress=False
        )
        header, *lines = (tmp_path / 'o.bed').read_text().splitlines()
        assert tuple(header.removeprefix('#').split('\t')) == score_tables.TRACK_COLUMNS and header[0] == '#'
        kept = [row for row in expected if row[5] >= threshold]
        assert done.n_tracked == len(lines) == len(kept)
        for line, (name, start, end, task, strand, score, spec) in zip(lines, kept, strict=True):
            cells = line.split('\t')
            assert cells[:4] == [name, str(start), str(end), task] and cells[5] == strand and cells[8:] == [spec, '0']
            probability = 1 / (1 + math.exp(-score))
            assert float(cells[6]) == pytest.approx(score, abs=2e-5)
            assert float(cells[7]) == pytest.approx(probability, abs=1e-5)
            assert abs(int(cells[4]) - 1000 * probability) < 0.51
    assert 5 <= gap < len(expected) - 5


def test_a_window_exactly_at_the_threshold_is_written(models, tmp_path):
    found = checked(fasta(tmp_path / 'x.fa', s=letters(90)), models)
    best = score_fasta(models[:1], found, progress=False).records[0]
    exact = float(best.score[0])
    for threshold, n in ((exact, 1), (math.nextafter(exact, math.inf), 0)):
        done = score_tables.write_scores(
            models[:1], found, tmp_path / 'o.tsv', track=tmp_path / 'o.bed', threshold=threshold, progress=False
        )
        assert done.n_tracked == n
    assert done.best.records == [] and [row['score'] for row in done.top] == [exact]


def test_nothing_is_half_written(models, tmp_path, monkeypatch):
    found = checked(fasta(tmp_path / 'x.fa', a=letters(30), s=letters(900)), models)
    (tmp_path / 'o.bed').write_text('of before')
    monkeypatch.setattr(scoring, 'BLOCK', 16)
    scored = []

    def failing(*args):
        scored.append(args)
        if len(scored) > 4:
            raise KeyboardInterrupt
        return np.zeros(16, np.float32)

    monkeypatch.setattr(scoring, '_score_padded', failing)
    with pytest.raises(KeyboardInterrupt):
        score_tables.write_scores(models, found, tmp_path / 'o.tsv', track=tmp_path / 'o.bed', progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['o.bed', 'x.fa']
    assert (tmp_path / 'o.bed').read_text() == 'of before'


def test_the_highest_rows_are_found_among_many(models, tmp_path):
    found = checked(fasta(tmp_path / 'x.fa', **{f's{n}': letters(30, n % 90) for n in range(150)}), models)
    done = score_tables.write_scores(models[:1], found, tmp_path / 'o.tsv', n_top=2, progress=False)
    rows = list(score_fasta(models[:1], found, progress=False).rows())
    assert done.top == sorted(rows, key=lambda row: -row['score'])[:2] and done.n_rows == len(rows) == 150
    written = files.read_tsv(tmp_path / 'o.tsv')
    assert written == [{name: files.format_cell(row[name]) for name in scoring.SCORE_COLUMNS} for row in rows]


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'is empty'),
        (
            '>a\nACGTACGTACGTACGTACGT\n>prot x\nMKTAYIAKQRQISFVKSHFSRQ\n',
            r"record 2 \('prot'\): position 6 holds 'I', expected a DNA letter",
        ),
        ('>a\nACGTACGTACGTACGTACGT\n>tiny\nACGTA\n', r"record 2 \('tiny'\) has 5 letters, small_cnn needs at least 18"),
        ('ACGT\n', 'expected a FASTA header'),
        ('>a\n', r"record 1 \('a'\) has no letters"),
    ],
)
def test_bad_fasta(models, tmp_path, text, message):
    path = tmp_path / 'bad.fa'
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        checked(path, models)
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)


def test_explanations_are_of_the_best_window(models, tmp_path):
    texts = {'long': letters(64), 'short': letters(20, 1), 'a/b': letters(30, 2)}
    best = score_fasta(models, checked(fasta(tmp_path / 'x.fa', **texts), models), progress=False)
    drawn = scoring.write_explanations(best, tmp_path / 'out_explain.tsv', figures=2, progress=False)
    rows = files.read_tsv(tmp_path / 'out_explain.tsv')
    for summary in best.rows():
        window = texts[summary['sequence']][summary['start'] - 1 : summary['end']]
        own = [row for row in rows if (row['sequence'], row['spec']) == (summary['sequence'], summary['spec'])]
        assert ''.join(row['base'] for row in own) == window
        assert [int(row['position']) for row in own] == list(range(summary['start'], summary['end'] + 1))
        model = next(model for model in models if model.spec == summary['spec'])
        mixed = [window, letters(30, 9), letters(30, 8), letters(25, 7)]  # the shapes that were compiled above
        signed = model.saliency(mixed).signed[0]
        np.testing.assert_allclose([float(row['contribution']) for row in own], signed, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose([float(row['saliency']) for row in own], np.abs(signed), rtol=1e-4, atol=1e-5)
        if model.spec == 'small_cnn':
            assert {row['forward'] for row in own} == {row['reverse'] for row in own} == {''}
        else:
            temporal = model.temporal(mixed)
            np.testing.assert_allclose([float(row['forward']) for row in own], temporal.forward[0], atol=1e-4)
            np.testing.assert_allclose([float(row['reverse']) for row in own], temporal.reverse[0], atol=1e-4)
            assert float(own[-1]['forward']) == pytest.approx(summary['score'], abs=1e-4)
    assert drawn == 2
    names = sorted(path.name for path in (tmp_path / 'out_explain').iterdir())
    assert names == ['0001_long.png', '0002_short.png']
    assert (tmp_path / 'out_explain' / names[0]).read_bytes()[:8] == b'\x89PNG\r\n\x1a\n'
    explained = [item for item in scoring.explain_windows(best, progress=False) if item.record == 2]
    figure = scoring.draw_windows(best, explained)
    assert len(figure.axes) == 1 + 3  # the CNN's logo; the RNN's logo and two strips
    assert figure.get_suptitle() == 'a/b, 30 letters'
    assert len(LETTER_COLOURS) == 4


SEQUENCE = letters(90, 5)


def edited(position, ref, alt):
    """The whole sequence with a variant in it."""
    assert SEQUENCE[position - 1 : position - 1 + len(ref)] == ref
    return SEQUENCE[: position - 1] + alt + SEQUENCE[position - 1 + len(ref) :]


def test_vcf_and_table_are_read_alike(tmp_path):
    lines = [
        ('s', 7, 'rs7', 'A', 'C,G'),
        ('s', 9, '.', 'AT', 'A'),
        ('t', 3, 'x', 'c', 'cgg'),
        ('s', 20, '.', 'A', '<DEL>,T'),
        ('s', 21, '.', 'A', '*'),
        ('s', 22, '.', 'A', '.'),
        ('s', 23, '.', 'A', 'A[s:40['),
    ]
    packed = tmp_path / 'x.vcf.gz'
    packed.write_bytes(gzip.compress(vcf(*lines).encode()))
    found, passed = read(packed)
    assert [tuple(variant) for variant in found] == [
        (3, 'rs7', 's', 7, 'A', 'C'),
        (3, 'rs7', 's', 7, 'A', 'G'),
        (4, '', 's', 9, 'AT', 'A'),
        (5, 'x', 't', 3, 'C', 'CGG'),
        (6, '', 's', 20, 'A', 'T'),
    ]
    assert [(allele.line, allele.alt, allele.reason) for allele in passed] == [
        (6, '<DEL>', variants.SYMBOLIC),
        (7, '*', variants.DELETED),
        (8, '.', variants.NO_ALLELE),
        (9, 'A[s:40[', variants.SYMBOLIC),
    ]
    table = tmp_path / 'x.tsv'
    table.write_text(
        'alt\tref\tnote\tsequence\tposition\n'
        + ''.join(f'{alt}\t{ref}\tany\t{name}\t{position}\n' for name, position, _, ref, alt in lines)
    )
    again, passed_again = read(table)
    assert [v._replace(line=0, id='') for v in again] == [v._replace(line=0, id='') for v in found]
    assert [v._replace(line=0, id='') for v in passed_again] == [v._replace(line=0, id='') for v in passed]


@pytest.mark.parametrize(
    'text, message',
    [
        (vcf(('s', 0, '.', 'A', 'C')), "line 3: position is '0', expected a whole number from 1"),
        (vcf(('s', 'x', '.', 'A', 'C')), "line 3: position is 'x'"),
        (vcf(('s', 4, '.', '-', 'C')), "line 3: ref is '-', expected letters ACGTN"),
        (vcf(('s', 4, '.', 'A', 'C;G')), "line 3: alt is 'C;G', expected letters ACGTN"),
        ('##fileformat=VCFv4.2\n', 'has no header line'),
        ('#CHROM\tPOS\tREF\tALT\n', 'line 1 is .*, expected a VCF, or a tab-separated header with sequence, position'),
        ('sequence position ref alt\n', 'line 1 is .*expected a VCF'),
        ('sequence\tposition\tref\talt\ns\t4\tA\n', 'line 2 has 3 tab-separated columns, expected 4'),
        ('', 'is empty'),
    ],
)
def test_bad_variant_files(tmp_path, text, message):
    path = tmp_path / 'bad.vcf'
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        list(variants.read_variants(path, strict=True))
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'position, ref_length, alt',
    [
        (45, 1, None),
        (1, 1, None),
        (90, 1, None),
        (15, 1, None),
        (45, 1, 'ACCGT'),
        (45, 8, 'A'),
        (2, 3, 'G'),
        (88, 3, 'G'),
        (25, 30, 'A'),
        (45, 1, 'ACGTA' * 6),
        (60, 1, 'ACCGTT'),
        (1, 12, 'C'),
    ],
)
def test_both_alleles_are_cut_to_the_training_length(tmp_path, position, ref_length, alt):
    ref = SEQUENCE[position - 1 : position - 1 + ref_length]
    alt = alt or other(ref)
    with_alt = edited(position, ref, alt)
    variant = variants.Variant(3, '', 's', position, ref, alt)
    found = variants.cut_alleles(Genome(fasta(tmp_path / 'x.fa', s=SEQUENCE)), 'v.vcf', variant, WIDTH)
    cut_ref, cut_alt = found.ref.decode(), found.alt.decode()
    assert len(cut_ref) == len(cut_alt) == WIDTH
    assert SEQUENCE[found.start : found.start + WIDTH] == cut_ref
    assert cut_alt in with_alt
    assert found.start <= position - 1 and position - 1 + ref_length <= found.start + WIDTH
    assert alt in cut_alt
    if 15 <= position <= 60 and ref_length == len(alt) == 1:
        assert found.start == position - 1 - (WIDTH - 1) // 2
    if 15 <= position <= 60:  # the same letters before, and the longer allele in the middle
        before = position - 1 - found.start
        assert cut_alt[:before] == cut_ref[:before] and cut_alt[before : before + len(alt)] == alt
        assert abs(WIDTH - max(ref_length, len(alt)) - 2 * before) <= 1


def test_a_short_sequence_is_used_whole(tmp_path):
    source = Genome(fasta(tmp_path / 'x.fa', s='ACGTACGTACGTACGTACGT'))
    variant = variants.Variant(3, '', 's', 4, 'TAC', 'T')
    found = variants.cut_alleles(source, 'v.vcf', variant, WIDTH)
    assert tuple(found) == (0, b'ACGTACGTACGTACGTACGT', b'ACGTGTACGTACGTACGT')


CHANGES = [
    (45, SEQUENCE[44], other(SEQUENCE[44])),
    (3, SEQUENCE[2], other(SEQUENCE[2], 2)),
    (50, SEQUENCE[49], SEQUENCE[49] + 'GGTGA'),
    (70, SEQUENCE[69:76], SEQUENCE[69]),
]


def test_variants_are_scored_as_predict_does(models, tmp_path):
    path = tmp_path / 'x.fa'
    lower = SEQUENCE[:40] + SEQUENCE[40:60].lower() + SEQUENCE[60:]
    lines = '\n'.join(lower[i : i + 20] for i in range(0, len(lower), 20))
    path.write_text(f'>other\nACGT\n>s some words\n{lines}\n')
    (tmp_path / 'v.vcf').write_text(
        vcf(*[('s', position, '.', ref, alt) for position, ref, alt in CHANGES], ('s', 45, '.', SEQUENCE[44], 'A' * 31))
    )
    found = variant_effects.score_variants(models, tmp_path / 'v.vcf', path, progress=False)
    assert found.skipped == {'allele longer than 30 letters': 1}
    rows = list(found.rows())
    assert len(rows) == 8 and set(rows[0]) == set(variant_effects.VARIANT_COLUMNS)
    for row in rows:
        model = next(model for model in models if model.spec == row['spec'])
        ref, alt = row['ref'], row['alt']
        start = row['start'] - 1
        window = SEQUENCE[start : row['end']]
        whole = edited(row['position'], ref, alt)
        changed = whole[min(start, len(whole) - WIDTH) :][:WIDTH]
        both = model.predict([window, changed])
        assert len(window) == len(changed) == WIDTH
        assert (row['score_ref'], row['score_alt']) == pytest.approx(tuple(both.score), abs=1e-5)
        assert row['score_change'] == pytest.approx(both.score[1] - both.score[0], abs=2e-5)
        assert row['probability_change'] == pytest.approx(both.probability[1] - both.probability[0], abs=1e-5)
        assert row['score_change'] != 0
    assert np.abs(found.alt - found.ref).max() > 1e-2


@pytest.mark.parametrize(
    'line, message',
    [
        (
            ('s', 45, '.', other(SEQUENCE[44]), 'N'),
            f"line 3: REF is '{other(SEQUENCE[44])}', but .*x.fa has '{SEQUENCE[44]}' at s:45",
        ),
        (('chr1', 45, '.', 'A', 'C'), "line 3: sequence 'chr1' is not in .*x.fa, which has 's', 'p', 'tiny', 'r'"),
        (('s', 91, '.', 'A', 'C'), "line 3: position 91 with REF 'A' lies beyond the 90 letters of 's'"),
        (('p', 1, '.', 'M', 'C'), "line 3: ref is 'M', expected letters"),
        (('p', 3, '.', 'T', 'C'), "line 3: p:3: the window in .*x.fa: position 6 holds 'I', expected a DNA letter"),
        (('tiny', 1, '.', 'A', 'C'), 'line 3: tiny:1: its sequence has 5 letters, expected at least 18'),
        (('s', 45, '.', SEQUENCE[44], 'A' * 40), 'holds no variants .*1 allele longer than 30 letters'),
    ],
)
def test_variants_that_do_not_fit(models, tmp_path, line, message):
    path = fasta(tmp_path / 'x.fa', s=SEQUENCE, p='MKTAYIAKQRQISFVKSHFSRQ', tiny='ACGTA', r='R' * 40)
    (tmp_path / 'v.vcf').write_text(vcf(line))
    with pytest.raises(InputError, match=message) as caught:
        variant_effects.score_variants(models, tmp_path / 'v.vcf', path, strict=True, progress=False)
    assert 'v.vcf' in str(caught.value) and '\n' not in str(caught.value)


def test_ref_may_name_one_base_of_an_ambiguity_letter(tmp_path):
    source = Genome(fasta(tmp_path / 'x.fa', s='ACGTRACGTN'))
    found = variants.cut_alleles(source, 'v.vcf', variants.Variant(1, '', 's', 5, 'A', 'C'), 30)
    assert (found.ref, found.alt) == (b'ACGTAACGTN', b'ACGTCACGTN')
    with pytest.raises(InputError, match="REF is 'A', but .* has 'N' at s:10"):
        variants.cut_alleles(source, 'v.vcf', variants.Variant(1, '', 's', 10, 'A', 'C'), 30)


def test_the_command_writes_and_prints(run, tmp_path, call, capsys):
    many = {f'sequence{n}': letters(45, n) for n in range(20)}
    path = fasta(tmp_path / 'x.fa', **many)
    out = tmp_path / 'new' / 'my.tsv'
    call(run=str(run.directory.path), fasta=str(path), out=str(out), specs=['small_cnn'], members='best')
    rows = files.read_tsv(out)
    assert tuple(rows[0]) == scoring.SCORE_COLUMNS and len(rows) == 40
    assert {(row['task'], row['spec'], row['seed']) for row in rows} == {
        ('one', 'small_cnn', '1'),
        ('two', 'small_cnn', '1'),
    }
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == f'scores: {out}'
    assert 'the 30 with the highest score' in printed.out and f'... 10 more rows in {out}' in printed.out
    highest = max(rows, key=lambda row: float(row['score']))
    assert printed.out.splitlines()[4].split()[0] == highest['sequence']
    assert '120/120' in printed.err  # three windows of 20 sequences for 2 models
    assert sorted(p.name for p in out.parent.iterdir()) == ['my.tsv']


def test_the_command_refuses_to_overwrite_its_input(run, tmp_path, call):
    path = fasta(tmp_path / 'x.fa', s=SEQUENCE)
    before = path.read_bytes()
    for values, message in (
        ({'out': str(path)}, 'is an input file'),
        ({'out': str(tmp_path)}, 'is a directory'),
        ({'track': 'x.bed', 'variants': str(path)}, '--track goes with sequences'),
        ({'track': str(path)}, 'is an input file, choose another --track'),
        ({'track': str(tmp_path)}, 'is a directory, expected a file name for --track'),
        ({'out': 'a.tsv', 'track': './a.tsv'}, 'is a table of scores, choose another --track'),
        ({'out': 'a.tsv', 'track': 'a_explain.tsv'}, 'is a table of scores, choose another --track'),
        ({'threshold': 1.0}, '--threshold goes with a --track in BED format'),
        ({'track': 'x.bw', 'threshold': 1.0}, '--threshold goes with a --track in BED format'),
        ({'track': 'x.bed', 'track_of': 'saliency'}, '--track_of goes with a --track in bigWig format'),
        ({'track': 'x.bw', 'track_of': 'magic'}, "--track_of is 'magic', expected score, "),
        ({'download': True}, '--download goes with --deepbind'),
        ({'motifs': ['CTCF']}, '--motifs goes with --hits, --explain or --variants'),
        ({'hits': str(path)}, 'is an input file, choose another --hits'),
        ({'track': 'x.bed', 'threshold': math.nan}, 'threshold is nan, expected a number'),
    ):
        with pytest.raises(InputError, match=message):
            call(run=str(run.directory.path), fasta=str(path), **values)
    assert path.read_bytes() == before


def test_the_command_writes_a_track(run, tmp_path, call, capsys):
    path = fasta(tmp_path / 'x.fa', s=SEQUENCE, t=letters(70, 6))
    track = tmp_path / 'new' / 'o.bed'
    call(run=str(run.directory.path), fasta=str(path), out=str(tmp_path / 'o.tsv'), track=str(track), members='best')
    lines = track.read_text().splitlines()[1:]
    scores = [float(line.split('\t')[6]) for line in lines]
    assert 0 < len(lines) < 24 and min(scores) >= 0 and not any(line.split('\t')[4] < '500' for line in lines)
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == f'track: {track} ({len(lines)} windows)'
    assert '24/24' in printed.err and 'reading: 160' in printed.err
    best = [row for row in files.read_tsv(tmp_path / 'o.tsv') if float(row['score']) >= 0]
    cells = [line.split('\t') for line in lines]
    for row in best:
        assert [row['sequence'], str(int(row['start']) - 1), row['end'], row['task'], row['score']] in [
            [*line[:4], line[6]] for line in cells
        ]


def test_the_command_writes_bigwigs(run, tmp_path, call, capsys):
    path = tmp_path / 'x.fa'
    path.write_text(f'>one record\n{"ACGTTGCA" * 12}\n')
    options = {'run': str(run.directory.path), 'fasta': str(path), 'out': str(tmp_path / 'o.tsv'), 'members': 'best'}
    call(**options, track=str(tmp_path / 'o.bw'), stride=2, tasks=['one'], specs=['small_cnn'])
    call(**options, track=str(tmp_path / 'b.bigWig'), track_of='saliency', specs=['small_cnn'])
    made = sorted(one.name for one in tmp_path.iterdir() if 'w' in one.suffix.lower())
    assert made == ['b.one.small_cnn.bigWig', 'b.two.small_cnn.bigWig', 'o.bw']
    assert 'saliency of 96 bases' in capsys.readouterr().out


def test_the_command_writes_hits(run, tmp_path, call, capsys, monkeypatch):
    monkeypatch.setattr(sequence_hits, 'SHUFFLES', 40)
    path = fasta(tmp_path / 'x.fa', a=letters(70, 1), b=letters(40, 2))
    options = {'run': str(run.directory.path), 'fasta': str(path), 'specs': ['small_cnn'], 'members': 'best'}
    call(**options, out=str(tmp_path / 'o.tsv'), explain=True, figures=0, motifs=['CTCF'])
    call(**options, out=str(tmp_path / 'p.tsv'), explain=True, figures=0)  # no TF of JASPAR is called 'one'
    with pytest.raises(InputError, match='no motif was found for one, small_cnn, and JASPAR has none'):
        call(**options, out=str(tmp_path / 'q.tsv'), hits=str(tmp_path / 'q.bed'))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *('o.tsv', 'o_explain.tsv', 'o_hits.bed', 'p.tsv', 'p_explain.tsv', 'x.fa'),
    ]
    assert (tmp_path / 'o_hits.bed').read_text().startswith('#chrom\tstart\tend\tname\t')
    assert 'note: no hits: ' in capsys.readouterr().out


def test_the_command_says_what_it_cannot_explain(run, tmp_path, call, monkeypatch):
    monkeypatch.setattr(scoring, 'MAX_EXPLAINED', 3)
    path = fasta(tmp_path / 'x.fa', s=SEQUENCE, t=letters(70, 6))
    with pytest.raises(
        InputError, match='x.fa: has 2 records, 4 best windows of 2 models in all, but --explain holds at most 3$'
    ):
        call(run=str(run.directory.path), fasta=str(path), out=str(tmp_path / 'o.tsv'), explain=True)
    assert [p.name for p in tmp_path.iterdir()] == ['x.fa']


def test_from_the_shell(run, tmp_path):
    path = fasta(tmp_path / 'x.fa', s=SEQUENCE)
    (tmp_path / 'v.vcf').write_text(vcf(('s', 45, 'rs1', SEQUENCE[44], f'{other(SEQUENCE[44])},<DEL>')))
    (tmp_path / 'bad.vcf').write_text(vcf(('s', 45, 'rs1', other(SEQUENCE[44]), 'N')))
    start = (f'--run={run.directory.path}', f'--fasta={path}')

    def shell(*more):
        return run_command('score', *start, *more, folder=tmp_path)

    done = shell('--variants=v.vcf', '--tasks=two')
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert lines[-3:] == [
        'passed over: 1 symbolic allele',
        'passed over, one by one: variant_scores_skipped.tsv',
        'variant scores: variant_scores.tsv',
    ]
    assert any(line.split()[:4] == ['rs1', 's', '45', SEQUENCE[44]] for line in lines)
    (row,) = files.read_tsv(tmp_path / 'variant_scores.tsv')
    assert (row['task'], row['spec'], row['start'], row['end']) == ('two', 'small_rnn', '31', '60')
    before = set(tmp_path.iterdir())
    failed = shell('--variants=bad.vcf', '--out=never.tsv', '--strict')
    assert failed.status == 2 and 'Traceback' not in failed.err
    assert failed.err.splitlines()[-1].startswith("error: bad.vcf: line 3: REF is '")
    assert set(tmp_path.iterdir()) == before
    failed = shell(f'--fasta={deep(tmp_path / "x.fa", "!").name}', '--out=never.tsv', '--track=never.bed')
    assert failed.status == 2 and 'Traceback' not in failed.err
    assert failed.err.splitlines()[-1] == (
        "error: x.fa: record 2 ('deep'): position 4322 holds '!', expected a DNA letter (ACGT, N or IUPAC)"
    )
    assert set(tmp_path.iterdir()) == before
