"""The command that asks a run's models, and where its motifs, backgrounds and sequences come from."""

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.dna import dinucleotide_counts
from demo_jax.errors import InputError
from demo_jax.insilico import sources
from demo_jax.io import files
from demo_jax.motifs import formats
from demo_jax.motifs.jaspar import load_matrices
from demo_jax.predict.run import load_run
from experiments.cli import numbers_of
from tests.helpers_commands import run_command
from tests.helpers_models import save_run


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    """A run of two tasks and one spec, with two found motifs of the first task."""
    folder = tmp_path_factory.mktemp('asked') / 'run'
    save_run(folder, ('small_cnn',), lengths=(30, 30, 30, 24))
    made = folder / 'motifs' / 'one' / 'small_cnn' / 'integrated_gradients'
    made.mkdir(parents=True)
    matrix = 0.9 * dna.one_hot(dna.encode('TGACTCA')) + 0.025
    formats.write_meme(made / 'found.meme', {'for_1': matrix, 'for_2': matrix[:5]})
    return folder


def ask(path, out, *words):
    return run_command('ask', *words, f'--run={path}', f'--out={out}', '--tasks=one', '--n=4')


def test_motifs_are_found_by_what_they_are_called(path, tmp_path):
    run, known = load_run(path), load_matrices()
    ctcf = [matrix.label for matrix in known.values() if matrix.name == 'CTCF']
    chosen = sources.find_motifs(['ctcf', 'GGNNCC', 'MA0139', 'found', 'MA0035.5'], run)
    assert list(chosen)[: len(ctcf)] == ctcf and chosen['GGNNCC'] == 'GGNNCC'
    assert 'one/small_cnn/integrated_gradients/for_2' in chosen
    assert [name for name in chosen if name.startswith('MA0035.5')]
    assert len(sources.find_motifs(['jaspar'], run)) == len(known)
    formats.write_meme(tmp_path / 'my.meme', {'mine': np.full((3, 4), 0.25)})
    formats.write_jaspar(tmp_path / 'my.jaspar', {'counts': np.array([[1, 1, 2, 0.0]])})
    chosen = sources.find_motifs([str(tmp_path / 'my.meme'), str(tmp_path / 'my.jaspar')], run)
    np.testing.assert_array_equal(chosen['counts'], [[0.25, 0.25, 0.5, 0]])


@pytest.mark.parametrize(
    'name, message',
    [
        ('CTFC', 'no motif is called .CTFC.; the nearest are .*CTCF'),
        ('one/small_cnn/integrated_gradients/for_3', 'the nearest are one/small_cnn/integrated_gradients/for_'),
        ('?', 'a word, a JASPAR id or name'),
        ('nowhere.meme', 'nowhere.meme'),
    ],
)
def test_an_unknown_motif_names_the_nearest(path, name, message):
    with pytest.raises(InputError, match=message) as error:
        sources.find_motifs([name], load_run(path))
    assert '\n' not in str(error.value)
    with pytest.raises(InputError, match='no motif was found for these tasks'):
        sources.find_motifs(['found'], load_run(path), ['two'])


def test_backgrounds_are_shuffles_negatives_or_given(path, tmp_path):
    run = load_run(path)
    corpus = run.directory.corpus()
    rows = np.arange(len(corpus))[corpus.rows('one', 'test')]
    long = rows[corpus.lengths[rows] == 30]
    shuffles = sources.backgrounds_of('shuffles', run, ['one'], 50)
    positives = corpus.padded(long[corpus.labels[long] == 1])
    counts = {row.tobytes() for row in dinucleotide_counts(positives)}
    assert {row.tobytes() for row in dinucleotide_counts(shuffles.tokens)} == counts
    negatives = sources.backgrounds_of('negatives', run, ['one'], 50)
    expected = {row.tobytes() for row in corpus.padded(long[corpus.labels[long] == 0])}
    assert {row.tobytes() for row in negatives.tokens} == expected
    assert negatives.n_left_out == (corpus.labels[rows] == 0).sum() - len(negatives.tokens)
    (tmp_path / 'b.fa').write_text('>a\nACGT\n>b\nTTTT\n>c\nACG\n')
    given = sources.backgrounds_of(str(tmp_path / 'b.fa'), run, [], 5)
    assert given.names == ('a', 'b') and given.n_left_out == 1
    with pytest.raises(InputError, match="backgrounds are 'noise', expected shuffles, negatives or a FASTA file"):
        sources.backgrounds_of('noise', run, [], 5)


def test_hits_are_on_both_strands():
    tokens = np.stack([dna.encode('AAAATGACTCGAAAA'), dna.encode('AAAACGAGTCAAAAA')])
    hits = sources.find_hits({'x': 'TGACTCG'}, tokens)
    assert [(hit.row, hit.start, hit.width) for hit in hits] == [(0, 4, 7), (1, 4, 7)]


def test_the_command_marginalises(path, tmp_path):
    out = tmp_path / 'm.tsv'
    done = ask(path, out, 'marginalise', '--motifs=TGACTCA,found', f'--figure={tmp_path / "m.png"}')
    assert done.status == 0, done.err
    rows = files.read_tsv(out)
    assert {row['motif'] for row in rows} == {
        'TGACTCA',
        *(f'one/small_cnn/integrated_gradients/for_{i}' for i in (1, 2)),
    }
    # The word and the found motif of the same best letters have the same effect.
    assert rows[0]['effect'] == rows[1]['effect'] != rows[2]['effect'] and rows[0]['p_value']
    assert (tmp_path / 'm.png').read_bytes().startswith(b'\x89PNG') and f'table: {out}' in done.out


def test_the_command_asks_for_pairs(path, tmp_path):
    out = tmp_path / 's.tsv'
    done = ask(path, out, 'space', '--motifs=TGACTCA,GGCC', '--gaps=0-2,5')
    assert done.status == 0, done.err
    assert len(files.read_tsv(out)) == 4 * 4 and 'peak: GGCC ' in done.out
    done = ask(path, out, '--motifs=TGACTCA,GGCC,AATT', '--gap=3', '--null=3', 'epistasis')
    assert done.status == 0, done.err
    assert [row['p_value'] for row in files.read_tsv(out)] and len(files.read_tsv(out)) == 3


def test_the_command_ablates_and_designs(path, tmp_path):
    (tmp_path / 'a.fa').write_text('>x\nCCCCTGACTCACCCCCCCCTGACTCACCCC\n>y\nACGTACGTACGTACGTACGTACGTACGTAC\n')
    out = tmp_path / 'a.tsv'
    done = ask(path, out, 'ablate', '--motifs=TGACTCA', f'--fasta={tmp_path / "a.fa"}')
    assert done.status == 0, done.err
    assert [row['start'] for row in files.read_tsv(out)] == ['5', '20'] and 'hits: 2 in 1 of 2' in done.out
    assert len(files.read_tsv(tmp_path / 'a_pairs.tsv')) == 1
    done = ask(path, out, 'design', f'--fasta={tmp_path / "a.fa"}', '--target=0.4', '--protected=1-10,30')
    assert done.status == 0, done.err
    designed = (tmp_path / 'a_designed.fa').read_text().split()
    edits = files.read_tsv(out)
    assert designed[1][:10] == 'CCCCTGACTC' and all(10 < int(row['position']) < 30 for row in edits)
    model = load_run(path).model('one', 'small_cnn')
    for name, text in zip(designed[::2], designed[1::2], strict=True):
        reached = f'{name[1:]}: {sum(row["sequence"] == name[1:] for row in edits)} edits, target '
        assert reached in done.out and f'{model.predict([text]).score[0]:.3f}' in done.out


@pytest.mark.parametrize(
    'words, message',
    [
        (['--motifs=ACGT'], 'expected one question, of marginalise'),
        (['wonder'], "unexpected argument 'wonder', expected one of marginalise"),
        (['marginalise', '--motifs=' + 31 * 'A'], 'has 31 letters, more than the sequence (30)'),
        (['space', '--motifs=ACGT'], 'space needs two motifs'),
        (['design', '--protected=1-30'], 'all 30 positions are protected'),
        (['marginalise', '--motifs=ACGT', '--figure=x.tif'], 'expected a name that ends in'),
    ],
)
def test_what_cannot_be_asked_is_one_line(path, tmp_path, words, message):
    done = ask(path, tmp_path / 'o.tsv', *words)
    assert done.status == 2 and done.err.splitlines()[-1].startswith('error: ') and message in done.err
    assert 'Traceback' not in done.err and not (tmp_path / 'o.tsv').exists()


def test_inputs_are_not_written_over(path, tmp_path):
    (tmp_path / 'o_designed.fa').write_text('>x\nACGTACGTACGTACGTACGTACGTACGTAC\n')
    done = ask(path, tmp_path / 'o.tsv', 'design', f'--fasta={tmp_path / "o_designed.fa"}')
    assert done.status == 2 and 'o_designed.fa: is an input file' in done.err


def test_numbers_and_ranges():
    assert numbers_of('5, 1-3,2', 'gaps') == [1, 2, 3, 5]
    for text in ('9-2', 'a', '', '-3', '1,,2'):
        with pytest.raises(InputError, match='--gaps='):
            numbers_of(text, 'gaps')
