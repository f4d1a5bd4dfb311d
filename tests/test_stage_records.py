"""A stage is one record: the config, the checks, the plan, the run and what it prints derive from it."""

import dataclasses

import pytest

from configs import default
from demo_jax.errors import InputError
from demo_jax.evaluation.compare import Table
from demo_jax.stages import record
from demo_jax.stages.estimate import Line
from demo_jax.training.jobs import Recipe
from experiments import pipeline, plan
from tests.test_stages import make_run


@dataclasses.dataclass(frozen=True)
class Counting:
    """Of a stage of this test.

    Attributes:
      letters: which letters are counted.
    """

    letters: str = 'GC'

    def __post_init__(self):
        if not self.letters:
            raise InputError('count: letters is empty')


def count(work):
    corpus = work.run.corpus()
    text = ''.join(corpus.sequence(row) for row in range(len(corpus)))
    number = sum(text.count(letter) for letter in work.settings.letters)
    return {'counts': Table([{'letters': work.settings.letters, 'number': number}], ('letters', 'number'))}


def describe(prospect):
    return Line(f'letters of {len(prospect.corpus)} sequences', '', 2.0)


def refuse(chosen):
    if 'U' in chosen.letters:
        raise InputError('count: letters has a U, expected DNA')


@pytest.fixture
def counting(monkeypatch):
    stage = record.Stage('count', 'counting', Counting, count, describe, check=refuse)
    monkeypatch.setattr(record, 'STAGES', (*record.STAGES, stage))
    return stage


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp('records') / 'run')


def test_a_stage_is_in_the_config_the_plan_and_the_run(run, counting, capsys):
    config = default.get_config()
    assert config.counting.letters == 'GC'
    values = config.to_dict() | {'recipe': dataclasses.asdict(Recipe(average_strands=True))}
    text = plan.describe(run.corpus(), run.jobs(), values, run)
    assert 'count     letters of' in text and text.index('report ') < text.index('count ')
    here = pipeline.Opened(run, values)
    capsys.readouterr()
    seconds = pipeline.run_stages(here, ['count'])
    assert list(seconds) == ['count']
    said, _, table = capsys.readouterr().out.partition('\n')
    corpus = run.corpus()
    letters = ''.join(corpus.sequence(row) for row in range(len(corpus)))
    assert said == f'count: letters of {len(corpus)} sequences; likely 2 s'
    assert table.split()[-2:] == ['GC', str(letters.count('G') + letters.count('C'))]


def test_its_settings_are_checked_before_anything_is_done(counting):
    values = default.get_config().to_dict()
    pipeline.check_settings(values)
    for wrong, message in (
        ({'letters': ''}, 'count: letters is empty'),
        ({'letters': 'AU'}, 'has a U, expected DNA'),
        ({'words': 'GC'}, "counting: unknown setting 'words'"),
        ({'letters': 3}, 'expected str'),
    ):
        with pytest.raises(InputError, match=message):
            pipeline.check_settings(values | {'counting': wrong})


def test_single_settings_of_a_stage_can_be_changed(run, counting, capsys):
    pipeline.run_one_stage(run.path, 'count', {'letters': 'A'})
    corpus = run.corpus()
    number = sum(corpus.sequence(row).count('A') for row in range(len(corpus)))
    assert capsys.readouterr().out.split()[-2:] == ['A', str(number)]


def test_stages_have_names_and_sections_of_their_own(counting):
    names, sections = [stage.name for stage in record.STAGES], [stage.section for stage in record.STAGES]
    assert names == ['train', 'baseline', 'evaluate', 'explain', 'match', 'discover', 'grammar', 'report', 'count']
    assert len(set(sections)) == len(sections)
    assert [stage.name for stage in record.STAGES if stage.workers] == ['train', 'explain']
    pipeline.check_stages(['count', 'train'])
    with pytest.raises(InputError, match="no stage 'fold'; the stages are train, .*, report, count"):
        pipeline.check_stages(['count', 'fold'])
