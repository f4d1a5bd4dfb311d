"""Records of one name: each gets a name of its own in tables, tracks, explanations and figures, and it is said."""

import gzip
import math

import pytest

from demo_jax.errors import InputError
from demo_jax.io import files, textfile
from demo_jax.predict import score_tables, windows
from demo_jax.predict.scoring import choose_models
from tests.helpers_models import save_run
from tests.helpers_score import checked, letters, vcf


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp('names') / 'run', ('small_cnn',))


@pytest.fixture(scope='module')
def models(run):
    return choose_models(run, ['one'])


def written(path, headers, length=40):
    text = ''.join(f'>{header}\n{letters(length, n)}\n' for n, header in enumerate(headers)).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == '.gz' else text)
    return path


NAMES = [
    (['a', 'b', 'c'], ['a', 'b', 'c']),
    (['seq 0', 'seq 1', 'other'], ['seq_record_1', 'seq_record_2', 'other']),
    ([' seq 0', ' seq 1'], ['seq_record_1', 'seq_record_2']),
    (['x', 'y', 'x', 'y', 'z', 'x'], ['x_record_1', 'y_record_2', 'x_record_3', 'y_record_4', 'z', 'x_record_6']),
    # Names that the file has already are left to those that have them.
    (['x', 'x', 'x_record_2'], ['x__record_1', 'x__record_2', 'x_record_2']),
    (['x', 'x__record_2', 'x', 'x_record_x'], ['x___record_1', 'x__record_2', 'x___record_3', 'x_record_x']),
    (['', 'record_1', ''], ['record_1_record_1', 'record_1_record_2', 'record_3']),
    (['chr1', 'CHR1', 'chr1.'], ['chr1', 'CHR1', 'chr1.']),
    (['β', 'β'], ['β_record_1', 'β_record_2']),
]


@pytest.mark.parametrize('headers, expected', NAMES)
@pytest.mark.parametrize('part, name', [(1 << 20, 'x.fa'), (16, 'x.fa.gz')])
def test_every_record_has_a_name_of_its_own(models, tmp_path, monkeypatch, headers, expected, part, name):
    monkeypatch.setattr(textfile, 'PART', part)
    found = checked(written(tmp_path / name, headers), models)
    records = [record.name for block in windows.read_blocks(found, 7) for record in block.ended]
    assert records == expected and len(set(records)) == len(records)
    changed = sum(given.split()[:1] != [got] for given, got in zip(headers, expected, strict=True))
    assert found.shared.n_records == (changed if '' not in headers else 2)


def test_the_command_tells_records_apart(run, tmp_path, call, capsys):
    path = written(tmp_path / 'x.fa', ['seq 0', 'seq 1', 'other'])
    flags = {'run': str(run.directory.path), 'fasta': str(path), 'tasks': ['one'], 'out': str(tmp_path / 'o.tsv')}
    call(track=str(tmp_path / 'o.bed'), threshold=-math.inf, explain=True, figures=3, **flags)
    expected = ['seq_record_1', 'seq_record_2', 'other']
    assert [row['sequence'] for row in files.read_tsv(tmp_path / 'o.tsv')] == expected
    tracked = [line.split('\t')[0] for line in (tmp_path / 'o.bed').read_text().splitlines()[1:]]
    assert tracked == [name for name in expected for _ in range(2)]  # windows at 0 and 10
    explained = [row['sequence'] for row in files.read_tsv(tmp_path / 'o_explain.tsv')]
    assert explained == [name for name in expected for _ in range(30)]
    assert sorted(p.name for p in (tmp_path / 'o_explain').iterdir()) == [
        '0001_seq_record_1.png',
        '0002_seq_record_2.png',
        '0003_other.png',
    ]
    note = 'note: 2 records share their names (first words of headers) with others; they are called NAME_record_NUMBER'
    assert note in capsys.readouterr().out
    written(path, ['a', 'b'])
    call(**flags)
    assert 'share their names' not in capsys.readouterr().out


def test_scores_do_not_depend_on_the_names(models, tmp_path):
    rows = []
    for headers in (['x', 'x', 'y'], ['a', 'b', 'c']):
        score_tables.write_scores(
            models, checked(written(tmp_path / 'x.fa', headers), models), tmp_path / 'o.tsv', progress=False
        )
        rows.append([{k: v for k, v in row.items() if k != 'sequence'} for row in files.read_tsv(tmp_path / 'o.tsv')])
    assert rows[0] == rows[1] and len(rows[0]) == 3


def test_where_names_are_looked_up_two_of_one_are_an_error(run, tmp_path, call):
    path = written(tmp_path / 'x.fa', ['seq 0', 'seq 1'])
    (tmp_path / 'v.vcf').write_text(vcf(('seq', 4, '.', letters(40)[3], 'A')))
    with pytest.raises(InputError, match=r"x.fa: record 2: a second sequence is called 'seq'"):
        call(run=str(run.directory.path), fasta=str(path), variants=str(tmp_path / 'v.vcf'))
