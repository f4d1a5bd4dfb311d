"""Readers: the four layouts, what they accept, and the line they give for what they refuse."""

import gzip

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.data import readers
from demo_jax.data.build import Records, TaskRecords, add_shuffles
from demo_jax.data.readers import find_tasks, read_corpus, read_tasks
from demo_jax.errors import InputError
from demo_jax.evaluation.published import published_task
from demo_jax.io import textfile
from demo_jax.stages import sources

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
        ('1', 1, 'record_1'),
        (' 0', 0, 'record_1'),
        ('1 peak', 1, 'peak'),
        ('peak|a 0', 0, 'peak a'),
        ('peak label=1 x', 1, 'peak x'),
        ('1 1', 1, '1'),
        ('0 label=1', 1, '0'),
    ],
)
def test_labels_in_fasta_headers(tmp_path, header, label, name):
    file = tmp_path / 'task.fa'
    file.write_text(f'>{header}\nACGT\n' + labelled_text(8))
    task = read_tasks('fasta', [file])[0]
    found = {
        (name, int(label))
        for part in (task.train, task.test)
        for sequence, label, name in zip(part.tokens, part.labels, part.names, strict=True)
        if len(sequence) == 4
    }
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
    two = r'/T_AC\.seq\.gz and .*/copy/T_AC\.seq\.gz; name them as in T_1='
    with pytest.raises(InputError, match=f"two inputs are called 'T': .*{two}"):
        read_corpus('deepbind', [deepbind])


def test_another_layout_is_one_more_entry(monkeypatch, tmp_path):
    def read(task, options):
        assert options.test_fraction is None
        sequences = [dna.encode(line) for line in task.train.read_text().split()]
        names = [f'{options.seed}.{number}' for number in range(len(sequences))]
        part = add_shuffles(Records(sequences, np.ones(len(sequences), np.uint8), names), np.random.default_rng(0))
        return TaskRecords(task.name, part, part)

    def find(files, path):
        return [readers.TaskFiles(file.stem, 'lines', file) for file in files if file.suffix == '.lines']

    monkeypatch.setitem(readers.FILE_FORMATS, 'lines', readers.FileFormat('X.lines', find, read))
    with pytest.raises(InputError, match='holds no tasks, expected X.lines'):
        find_tasks('lines', [tmp_path])
    sequences = random_sequences(10)
    (tmp_path / 'B.lines').write_text('\n'.join(sequences))
    (tmp_path / 'A.lines').write_text('\n'.join(sequences[::-1]))
    corpus = read_corpus('lines', [tmp_path], seed=3)
    assert corpus.tasks == ('A', 'B')
    row = corpus.rows('B', 'test').start
    assert (corpus.sequence(row), corpus.name(row)) == (sequences[0], '3.0')
    assert set(readers.FILE_FORMATS) - {'lines'} < set(sources.source_names())


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


def test_inputs_of_one_name_and_names_that_are_given(tmp_path, monkeypatch):
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'K562.fa').write_text(labelled_text(30, seed=ord(folder)))
    first, second = (str(tmp_path / folder / 'K562.fa') for folder in 'ab')
    told = f"two inputs are called 'K562': {first} and {second}; name them as in K562_1={first},K562_2={second}"
    with pytest.raises(InputError, match=told):
        read_tasks('fasta', [first, second])
    tasks = read_tasks('fasta', [f'one={first}', f'two  words={second}'])
    assert [task.name for task in tasks] == ['one', 'two words']
    assert [task.info['files'] for task in tasks] == [[first], [second]]
    assert [task.name for task in read_tasks('fasta', [first, f'two={tmp_path / "b"}'])] == ['K562', 'two']
    with pytest.raises(InputError, match=r"holds 2 tasks \(K562, K562\), but is given one name, 'both'"):
        find_tasks('fasta', [f'both={tmp_path}'])
    # A name is a name only where no such file is there.
    (tmp_path / 'x=y.fa').write_text(labelled_text(30))
    monkeypatch.chdir(tmp_path)
    given = ['x=y.fa', str(tmp_path / 'x=y.fa'), 'z=x=y.fa']
    assert [task.name for task in find_tasks('fasta', given)] == ['x=y', 'x=y', 'z']
    with pytest.raises(InputError, match='y: does not exist'):
        find_tasks('fasta', ['x=y'])


def test_names_of_deepbind_and_deepmotif_tasks(deepbind, tmp_path):
    (tmp_path / 'd').mkdir()
    (tmp_path / 'd' / 'train.fa').write_text(labelled_text(20))
    (tmp_path / 'd' / 'test.fa').write_text(labelled_text(5))
    given = [f'N={deepbind / "T_AC.seq.gz"}', f'M={tmp_path / "d"}']
    found = [(task.name, task.test.name) for task in find_tasks('auto', given)]
    assert found == [('M', 'test.fa'), ('N', 'T_B.seq.gz')]


def test_sequences_of_mostly_n_are_left_out(tmp_path):
    half, more = 'ACGTACGTAC' + 'N' * 10, 'ACGTACGTA' + 'N' * 11
    extra = f'>1 half\n{half}\n>1 more\n{more}\n>0 also\n{more[::-1]}\n'
    (tmp_path / 'one.fa').write_text(labelled_text(30) + extra)
    (tmp_path / 'one.test.fa').write_text(labelled_text(10, seed=1) + f'>1\n{"N" * 20}\n>0\n{"N" * 20}\n')
    corpus = read_corpus('fasta', [tmp_path])
    facts = corpus.info['tasks']['one']
    assert facts['dropped'] == {'mostly_N': 3}  # a pair counts once
    assert {corpus.name(row) for row in range(len(corpus))} >= {'half'}
    assert {corpus.name(row) for row in range(len(corpus))}.isdisjoint({'more', 'also'})
    assert facts['counts']['test'] == {'positives': 10, 'negatives': 10, 'pairs': 10}
    assert sources.left_out(corpus) == '3 mostly N' and '3 mostly N' in sources.describe(corpus)


def test_no_training_pair_is_of_two_equal_sequences(tmp_path):
    """Left out of training; in a set for testing, which others report on, they are kept and counted."""
    poly, mixed = 'A' * 20, 'ACACACACACGT'
    text = ''.join(f'>1\n{letters}\n>0\n{letters}\n' for letters in (poly, mixed))
    (tmp_path / 'one.fa').write_text(labelled_text(30) + text)
    (tmp_path / 'one.test.fa').write_text(labelled_text(10, seed=1) + text)
    (tmp_path / 'two.fa').write_text(labelled_text(30))
    corpus = read_corpus('fasta', [tmp_path], test_fraction=0.2)
    facts = corpus.info['tasks']['one']
    assert facts['dropped'] == {'equal_to_their_negative': 2} and facts['equal_test_pairs'] == 2
    assert facts['counts']['test'] == {'positives': 12, 'negatives': 12, 'pairs': 12}
    rows = [corpus.rows('one', split) for split in ('train', 'valid')]
    assert not {poly, mixed} & {corpus.sequence(row) for span in rows for row in range(span.start, span.stop)}
    assert corpus.info['tasks']['two']['dropped'] == {} and corpus.info['tasks']['two']['equal_test_pairs'] == 0
    assert '2 test positives are equal to their negatives (one)' in sources.remarks(corpus)


def test_positives_without_another_shuffle_are_left_out(deepbind):
    letters = random_sequences(20) + ['A' * 30, 'CG' * 15, 'N' * 30, 'ACGT']
    (deepbind / 'T_AC.seq.gz').write_bytes(gzip.compress(deepbind_text(letters, [1] * 24).encode()))
    corpus = read_corpus('deepbind', [deepbind])
    facts = corpus.info['tasks']['T']
    assert facts['dropped'] == {'mostly_N': 1, 'without_another_shuffle': 3} and facts['shuffles_made'] == 20
    assert facts['counts']['train'] == {'positives': 18, 'negatives': 18, 'pairs': 18}
    (deepbind / 'T_AC.seq.gz').write_bytes(gzip.compress(deepbind_text(['A' * 30] * 5, [1] * 5).encode()))
    with pytest.raises(InputError, match=r"task 'T', train: no positives .* \(left out: 5 without another shuffle\)"):
        read_corpus('deepbind', [deepbind])
