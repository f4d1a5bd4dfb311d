"""Configs are made from dataclasses of settings: names, defaults and meanings are those of the dataclasses."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import __main__ as listing
from configs import accurate, deepbind, default, pairs, paper, paper_awake, quickstart, simulated108
from configs.sections import section
from demo_jax.data.simulate import SimulationSettings, simulate_corpus
from demo_jax.errors import InputError
from demo_jax.io import files
from demo_jax.io.settings import PYTHON_ONLY, fields, meanings, read_settings, updated
from demo_jax.runs.directory import RunDirectory
from demo_jax.stages import sources
from demo_jax.stages.match import MatchSettings
from demo_jax.stages.report import ReportSettings
from demo_jax.stages.sources import CorpusSettings, prepare_corpus
from experiments import pipeline
from tests import fake_run

#: Names and values as users' configs and command lines know them.
SNAPSHOT = {
    'corpus': {
        'source': 'auto',
        'input': '',
        'tasks': '',
        'seed': 0,
        'valid_fraction': 0.1,
        'n_tasks': 0,
        'n_train': 1000,
        'n_test': 500,
        'n_pair_tasks': 0,
        'simulation': {
            'length': 101,
            'gc': (0.42, 0.60),
            'gc_spread': 0.25,
            'gc_peak': 0.25,
            'motif_share': (0.85, 0.97),
            'weak_share': (0.10, 0.35),
            'sharpness': 1.4,
            'weak_sharpness': 0.7,
            'centre_sd': 15.0,
            'cofactor_tasks': 0.4,
            'cofactor_share': 0.5,
            'decoys': 2,
            'decoy_share': 0.4,
            'pair_tasks': (),
            'pair_margin': 3,
        },
        'jaspar': 'JASPAR2022',
        'test_fraction': 0.0,
        'genome': '',
        'width': 101,
        'top': 0,
        'test_chroms': 'chr8,chr9',
        'blacklist': '',
        'negatives': 'shuffle',
        'download': False,
        'cache': '~/.cache/demo_jax',
    },
    'specs': ('medium_cnn', 'medium_rnn', 'medium_cnn_rnn'),
    'seeds': (0,),
    'folds': 1,
    'fold_by': 'auto',
    'learning_rates': (),
    'dropouts': (),
    'recipe': {
        'batch_size': 64,
        'epochs': 8,
        'min_steps': 1900,
        'learning_rate': 8e-3,
        'lstm_rate': 2.0,
        'centred': True,
        'schedule': 'cosine',
        'halve_every': 10,
        'warmup': 0.1,
        'dropout': 0.1,
        'weight_decay': 0.05,
        'clip_value': 0.0,
        'clip_norm': 1.0,
        'reverse_complement': True,
        'average_strands': True,
        'negative_sets': 4,
        'shuffles_first': 0.0,
        'patience': 5,
        'patience_share': 0.4,
        'waking': 0.5,
        'retries': 3,
    },
    'machine': {
        'host_devices': 0,
        'width': None,
        'slots': 0,
        'segment_steps': 0,
        'precision': 'float32',
        'compilation_cache': '~/.cache/demo_jax/xla',
    },
    'checkpoint_seconds': 60.0,
    'deepbind': '',
    'baseline': {'method': 'auto', 'n_sequences': 500, 'n_motifs': 5, 'timeout': 600.0},
    'evaluate': {'n_resamples': 1000},
    'explain': {
        'specs': (),
        'members': 'all',
        'pieces': (
            'saliency',
            'integrated_gradients',
            'deeplift',
            'mutagenesis',
            'temporal',
            'activations',
            'influential_activations',
            'filters',
            'class_optimisation',
            'sufficient_motif',
        ),
        'positives': 500,
        'negatives': 50,
        'integration_steps': 32,
        'references': 20,
        'truncate': 'input',
        'restarts': 4,
        'optimisation_steps': 1000,
        'optimisation_rate': 0.05,
        'optimisation_l2': 0.009,
        'sufficient_starts': 4,
        'sufficient_steps': 400,
        'sufficient_score': 3.0,
    },
    'match': {
        'jaspar': '',
        'tax_group': 'vertebrates',
        'collection': 'CORE',
        'rule': 'monomer',
        'tf': '',
        'measure': 'q_value',
        'threshold': 0.5,
        'hit_p_value': 1e-4,
        'chance_draws': 4,
        'filters': True,
        'modisco': True,
        'modisco_map': 'auto',
    },
    'discover': {
        'methods': (),
        'seqlet_fdr': 0.1,
        'hit_fdr': 0.05,
        'shuffles': 1,
        'neighbours': True,
        'match_q': 0.05,
        'placements': 500,
        'random_seed': 0,
        'certificate': False,
    },
    'grammar': {'motifs': 3, 'words': 20, 'backgrounds': 10, 'farthest': 60, 'random_seed': 0},
    'dashboard': {'sequences': 50, 'dashboards': 2, 'page_megabytes': 60.0},
}


def typed(value):
    """A config's values with their types, which `--config.NAME=VALUE` is checked against."""
    if isinstance(value, dict):
        return {name: typed(one) for name, one in value.items()}
    return [typed(one) for one in value] + ['tuple'] if isinstance(value, tuple) else (type(value).__name__, value)


def test_the_config_has_the_names_and_defaults_that_it_always_had():
    config = default.get_config()
    assert typed(config.to_dict()) == typed(SNAPSHOT)
    config.machine.width = 3  # none by default, and a whole number
    with pytest.raises(TypeError):
        config.machine.width = 'all'


@pytest.mark.parametrize('module', [accurate, deepbind, pairs, paper, paper_awake, quickstart, simulated108])
def test_other_configs_have_the_same_settings(module):
    def names(config, prefix=''):
        return {f'{prefix}{name}' for name in config} | {
            inner
            for name, value in config.items()
            if isinstance(value, ConfigDict)
            for inner in names(value, f'{prefix}{name}.')
        }

    assert names(module.get_config()) == names(default.get_config())


@dataclasses.dataclass(frozen=True)
class Shape:
    """Of a test.

    Attributes:
      sides, corners: how many; they
        are equal.
      colour: none = white.
      inner: a smaller one.
    """

    sides: int = 3
    corners: int = 3
    colour: str | None = None
    names: tuple[str, ...] = dataclasses.field(default=('a', 'b'), metadata={'commas': True})
    hidden: int = dataclasses.field(default=1, metadata=PYTHON_ONLY)
    inner: MatchSettings = MatchSettings()


def test_a_setting_is_written_once():
    """A field of a dataclass is in the section, the list of settings and the check, with its default and meaning."""
    made = section(Shape, sides=4)
    assert made.to_dict() == {
        'sides': 4,
        'corners': 3,
        'colour': None,
        'names': 'a,b',
        'inner': section(MatchSettings).to_dict(),
    }
    with pytest.raises(KeyError, match='no settings size; there are colour, corners'):
        section(Shape, size=1)
    assert meanings(Shape) == {
        'sides': 'how many; they are equal.',
        'corners': 'how many; they are equal.',
        'colour': 'none = white.',
        'names': '',
        'hidden': '',
        'inner': 'a smaller one.',
    }
    assert [field.name for field in fields(Shape)] == ['sides', 'corners', 'colour', 'names', 'inner']
    assert read_settings(Shape, {'inner': {'threshold': 1}}, 'shape').inner.threshold == 1.0
    with pytest.raises(InputError, match="inner: unknown setting 'x'"):
        read_settings(Shape, {'inner': {'x': 1}}, 'shape')


def test_every_setting_has_a_meaning():
    for classes in default.sections().values():
        for cls in classes:
            assert [field.name for field in fields(cls) if not meanings(cls)[field.name]] == []
    text = listing.described()
    assert "corpus.test_chroms = 'chr8,chr9'\n    bed: chromosomes" in text
    assert 'corpus.simulation.decoys = 2\n    number of unrelated motifs' in text
    assert text.count(' = ') >= sum(len(names) for names in SNAPSHOT.values() if isinstance(names, dict)) + 5


def test_flags_of_prepare_are_the_settings_of_the_corpus():
    code = (
        'from experiments import prepare; from absl import flags; import json; flags.FLAGS(["x", "--out=o"]); '
        'print(json.dumps([prepare._SETTINGS().__dict__, {n: flags.FLAGS[n].help for n in flags.FLAGS}], '
        'default=lambda value: value.__dict__))'
    )
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    values, helps = json.loads(run.stdout)
    expected = json.loads(json.dumps(dataclasses.asdict(CorpusSettings())))
    assert {**values, 'cache': ''} == {**expected, 'cache': ''} and values['cache'].endswith('/.cache/demo_jax')
    assert '~' not in values['cache']
    for name, meaning in meanings(CorpusSettings).items():
        assert name == 'simulation' or helps[name].lower().endswith(meaning.lower())


def test_a_source_is_one_entry(tmp_path, monkeypatch):
    """It is made, listed, a choice of the flag, and told which settings it does not read."""

    def letters(given, told, progress):
        matrices = {
            'M': np.full((8, 4), 0.25),
            'N': np.eye(4).repeat(2, 0) * 0.9 + 0.025,
            'O': np.eye(4)[::-1].repeat(2, 0) * 0.9 + 0.025,
            'P': np.eye(4)[[0, 2, 1, 3] * 2] * 0.9 + 0.025,
        }
        shape = SimulationSettings(decoys=0, cofactor_tasks=0.0)
        return simulate_corpus(['mine'], matrices, n_train=given.n_train, n_test=given.n_test, settings=shape)

    source = sources.Source('letters', letters, ('n_train', 'n_test'), needs_input=False)
    with pytest.raises(InputError, match="source is 'letters', expected one of auto"):
        CorpusSettings(source='letters')
    monkeypatch.setattr(sources, 'SOURCES', (*sources.SOURCES, source))
    given = CorpusSettings(source='letters', n_train=12, n_test=4, width=99)
    assert sources.unread(given) == ('width',)
    assert prepare_corpus(given).tasks == ('mine',)
    config = default.get_config()
    config.corpus.update({'source': 'letters', 'n_train': 12, 'n_test': 4})
    corpus = pipeline.read_corpus(config.corpus.to_dict(), RunDirectory(tmp_path / 'run'))
    assert corpus.tasks == ('mine',) and len(corpus) == 32
    (flag,) = [f.metadata['choices']() for f in dataclasses.fields(CorpusSettings) if f.name == 'source']
    assert flag[-1] == 'letters'


def test_every_setting_is_read_for_some_source():
    read = {name for source in sources.SOURCES for name in source.reads}
    assert read | {'source'} == {field.name for field in dataclasses.fields(CorpusSettings)}
    for name, meaning in meanings(CorpusSettings).items():
        prefix, colon, _ = meaning.partition(': ')
        if colon and prefix in sources.source_names():
            assert [source.name for source in sources.SOURCES if name in source.reads] == [prefix]


def test_the_corpus_of_settings_is_that_of_arguments():
    given = CorpusSettings(source='simulated', n_tasks=2, n_train=12, n_test=4)
    one = prepare_corpus(given, progress=False)
    assert one.n_tasks == 2
    other = prepare_corpus(source='simulated', n_tasks=2, n_train=12, n_test=4, jaspar=None, progress=False)
    assert other.fingerprint() == one.fingerprint()
    assert prepare_corpus(given, seed=1, progress=False).fingerprint() != one.fingerprint()
    with pytest.raises(InputError, match="corpus: unknown setting 'letters'"):
        prepare_corpus(given, letters=3)
    with pytest.raises(InputError, match="corpus: n_train is '12', expected int"):
        prepare_corpus(given, n_train='12')


@pytest.mark.parametrize(
    'old, new, said',
    [
        (
            {'dashboard': {'sequences': 3, 'hit_p_value': 1e-3}, 'match': {'rule': 'any'}},
            {'dashboard': {'sequences': 3}, 'match': {'rule': 'any', 'hit_p_value': 1e-3}},
            1,
        ),
        ({'dashboard': {'hit_p_value': 1e-3}}, {'dashboard': {}, 'match': {'hit_p_value': 1e-3}}, 1),
        (
            {'dashboard': {'hit_p_value': 1e-3}, 'match': {'hit_p_value': 1e-2}},
            {'dashboard': {}, 'match': {'hit_p_value': 1e-2}},
            1,
        ),
        ({'dashboard': {'sequences': 3}, 'seeds': [0]}, {'dashboard': {'sequences': 3}, 'seeds': [0]}, 0),
    ],
)
def test_a_setting_that_has_moved_is_found_in_old_configs(old, new, said):
    before = json.dumps(old)
    assert updated(old).config == new and len(updated(old).notes) == said
    assert json.dumps(old) == before


def test_a_setting_that_has_moved_is_said_and_moved(tmp_path, capsys):
    run = fake_run.make(tmp_path / 'run')
    path = run.path / 'config.json'
    old = files.read_json(path) | {'dashboard': {'sequences': 3, 'hit_p_value': 1e-3}}
    files.write_json(path, old)
    assert run.config()['match'] == {'hit_p_value': 1e-3} and files.read_json(path) == old
    run.update_config()
    note = 'the setting dashboard.hit_p_value (0.001) is now match.hit_p_value'
    assert capsys.readouterr().out == f'note: {path}: {note}\n'
    assert files.read_json(path) == RunDirectory(run.path).config()
    assert files.read_json(path)['dashboard'] == {'sequences': 3}
    assert note in (run.path / 'notes.txt').read_text()
    run.update_config()
    assert capsys.readouterr().out == ''
    with pytest.raises(InputError, match='dashboard: hit_p_value is now match.hit_p_value'):
        read_settings(ReportSettings, {'hit_p_value': 1e-3}, 'dashboard')
    with pytest.raises(InputError, match='match: hit_p_value is 1.0, expected a number above 0'):
        read_settings(MatchSettings, {'hit_p_value': 1}, 'match')
