"""A table is one entry: it is written, printed and on the page as it says itself."""

import json

import pytest

from demo_jax.evaluation.table import Column, Figure, Table
from demo_jax.io import files
from demo_jax.report import console, payload
from demo_jax.report.collect import Collector
from demo_jax.stages import evaluate, record
from tests import fake_run
from tests.test_stages import make_run

LENGTHS = Table(
    [],
    ('spec', 'n', 'share', 'nothing'),
    'lengths',
    'How long the names are',
    ('spec', 'n'),
    needed=('n',),
    figures=(
        Figure(
            'Lengths of names',
            (
                Column('spec', 'Model', 'spec'),
                Column('n', 'Letters', 'count'),
                Column('nothing', 'Paper', 'three', 'nothing'),
            ),
            note=lambda rows, release: f'Of {len(rows)}.',
            empty='Nobody has a name.',
        ),
    ),
)


def lengths(scored):
    return [{'spec': spec, 'n': len(spec), 'share': 0.5} for spec in dict.fromkeys(row['spec'] for row in scored.rows)]


@pytest.fixture
def added(monkeypatch):
    monkeypatch.setattr(evaluate, 'TABLES', (*evaluate.TABLES, evaluate.Derived(LENGTHS, lengths)))


def test_a_table_is_one_entry(added, tmp_path, capsys):
    run = make_run(tmp_path / 'run')
    tables = evaluate.evaluate_run(run, evaluate.EvaluateSettings(5), progress=False)
    rows = files.read_tsv(run.tables / 'lengths.tsv')
    assert rows == [{'spec': spec, 'n': '9', 'share': '0.5', 'nothing': ''} for spec in ('small_cnn', 'small_rnn')]
    console.print_tables({'lengths': tables['lengths']})
    lines = capsys.readouterr().out.split('\n')
    assert lines[1:3] == ['How long the names are', 'spec       n'] and lines[4] == 'small_cnn  9'
    shown = payload.run_payload(Collector(run, record.all_tables()), title='x', made=())['tables']
    (table,) = (table for table in shown if table['name'] == 'lengths')
    assert (table['title'], table['note']) == ('Lengths of names', 'Of 2.')
    assert [(one['name'], one['label'], one['format']) for one in table['columns']] == [
        ('spec', 'Model', 'spec'),
        ('n', 'Letters', 'count'),
    ]
    assert table['rows'][0] == {'spec': 'small_cnn', 'n': 9.0, 'share': 0.5, 'nothing': None}
    json.dumps(shown)
    files.write_tsv(run.tables / 'lengths.tsv', [], ('spec', 'n'))
    shown = payload.run_payload(Collector(run, record.all_tables()), title='x', made=())['tables']
    assert [table['empty'] for table in shown if table['name'] == 'lengths'] == ['Nobody has a name.']


def test_tables_have_names_of_their_own_and_say_what_their_columns_are():
    tables = record.all_tables()
    assert len({table.name for table in tables}) == len(tables) >= 12
    for table in tables:
        shown = {name for figure in table.figures for column in figure.columns for name in (column.name, column.where)}
        assert {*(table.printed or ()), *table.needed, *shown - {''}} <= set(table.columns), table.name
        assert table.printed == () or table.title, table.name


def test_the_page_says_which_stage_is_missing(tmp_path):
    collector = Collector(fake_run.make(tmp_path / 'run', matched=False), record.all_tables())
    shown = payload.run_payload(collector, title='x', made=())['tables']
    told = {table['name']: table['empty'] for table in shown if not table['rows']}
    assert told == {
        'table3': 'Fewer than two kinds of models: nothing to compare.',
        'table4': 'Motifs are not matched yet (run the stage match).',
    }
    columns = next(table['columns'] for table in shown if table['name'] == 'table2')
    assert [column['label'] for column in columns] == ['Model', 'Tasks', 'Mean', 'Median', 'SD']  # nothing published


def test_what_trainings_took_per_architecture():
    def row(spec, attempt, asleep, steps, status='ok'):
        return {
            'spec': spec,
            'attempt': attempt,
            'asleep': asleep,
            'steps': steps,
            'planned_steps': 100,
            'status': status,
        }

    rows = [row('a', 2, 1, 100), row('b', 0, 0, 60), row('a', 3, 0, 7, 'diverged'), row('b', 1, 1, 100)]
    baseline = {'spec': 'em_motifs_sum', 'status': 'ok', 'attempt': '', 'planned_steps': ''}
    (table,) = (derived for derived in evaluate.TABLES if derived.table.name == 'training')
    assert table.rows(evaluate.Scored([*rows, baseline], [], set(), False, [])) == [
        {
            'spec': 'a',
            'models': 2,
            'steps': 107,
            'planned_steps': 200,
            'saved': 0.0,
            'died': 4,
            'asleep': 1,
            'given_up': 1,
        },
        {
            'spec': 'b',
            'models': 2,
            'steps': 160,
            'planned_steps': 200,
            'saved': pytest.approx(0.2),
            'died': 0,
            'asleep': 1,
            'given_up': 0,
        },
    ]
