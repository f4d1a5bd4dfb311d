"""`~` in every path that a person gives: flags of every command, settings of the config, and Python."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

import demo_jax
from demo_jax import dna
from demo_jax.compute import devices
from demo_jax.data.storage import load_corpus
from demo_jax.errors import InputError
from demo_jax.io import files
from demo_jax.stages.sources import fetch_deepmotif108
from tests.helpers import ROOT
from tests.helpers_commands import run_command

#: The flags of each command that are paths. Of `paper`, those that stand for settings are looked at with these.
PATHS = {
    'paper': ['workdir'],
    'train': ['workdir'],
    'precision': ['workdir'],
    'evaluate': ['run'],
    'explain': ['run'],
    'match': ['run'],
    'dashboard': ['run', 'out'],
    'screenshots': ['run', 'out'],
    'score': ['run', 'deepbind', 'fasta', 'track', 'hits', 'variants', 'out'],
    'prepare': ['input', 'genome', 'blacklist', 'cache', 'out'],
    'ask': ['run', 'other', 'backgrounds', 'fasta', 'out', 'figure'],
    'simulate_peaks': ['out'],
    'benchmark': ['json'],
    'discover': ['run'],
    'grammar': ['run'],
    'deepbind': ['deepbind', 'workdir'],
}
#: Flags of text that are none.
NO_PATHS = {
    'other_task',
    'other_specs',
    'own_specs',
    'tf',
    'source',
    'input',
    'peaks',
    'genome',
    'corpus',
    'tasks',
    'specs',
    'counts',
    'stages',
    'scheduler',
    'config',
    'set',
    'figure',
    'task',
    'suite',
    'widths',
    'jaspar',
    'negatives',
    'test_chroms',
    'motifs',
    'release',
    'gaps',
    'protected',
    'banned',
    'models',
    'track_of',
    'measure',
    'tax_group',
}
#: Every flag of every command that takes text, and what becomes of '~/x' in it.
LOOK = """
import importlib, json, sys
from absl import app, flags, logging
before, found = set(flags.FLAGS), {}
for name in sys.argv[1].split(','):
    importlib.import_module(f'experiments.{name}')
    mine = [flag for flag in flags.FLAGS if flag not in before and '.' not in flag]
    found[name] = {}
    for flag in mine:
        try:
            value = flags.FLAGS[flag].parser.parse('~/x,~/y' if flag == 'input' else '~/x')
        except (ValueError, AttributeError, OSError):  # a number or a choice
            continue
        if isinstance(value, str | list):
            found[name][flag] = value
    for flag in list(flags.FLAGS):
        if flag not in before:
            delattr(flags.FLAGS, flag)
print(json.dumps(found))
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home directory, and another directory to work in, where no folder `~` may come to be."""
    (tmp_path / 'home').mkdir()
    (tmp_path / 'work').mkdir()
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.chdir(tmp_path / 'work')
    yield tmp_path / 'home'
    assert not os.path.lexists('~')


def command(name, *flags):
    """Run a command where the test stands; its status, output and errors."""
    return run_command(name, *flags, folder=pathlib.Path.cwd())


def test_every_path_flag_of_every_command(home):
    commands = {path.stem for path in (ROOT / 'experiments').glob('*.py')} - {'__init__', 'cli', 'pipeline', 'plan'}
    assert commands == set(PATHS)
    done = subprocess.run(
        [sys.executable, '-c', LOOK, ','.join(PATHS)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        check=True,
    )
    found = json.loads(done.stdout)
    for name, values in found.items():
        replaced = {flag for flag, value in values.items() if '~' not in str(value)}
        assert replaced == set(PATHS[name]), name
        assert set(values) - replaced <= NO_PATHS, name
        for flag in replaced:
            expected = [f'{home}/x', f'{home}/y'] if (name, flag) == ('prepare', 'input') else f'{home}/x'
            assert values[flag] == expected, (name, flag)


@pytest.fixture
def peaks(home):
    """A genome, peaks and a blacklist in the home directory."""
    rng = np.random.default_rng(0)
    genome = ''.join(f'>{name}\n{dna.decode(rng.integers(0, 4, 6000))}\n' for name in ('chr1', 'chr8'))
    (home / 'g.fa').write_text(genome)
    rows = [f'{name}\t{at}\t{at + 40}\tp\t{at}\n' for name in ('chr1', 'chr8') for at in range(200, 5800, 150)]
    for name in ('a.bed', 'b.bed'):
        (home / name).write_text(''.join(rows))
    (home / 'black.bed').write_text('chr1\t0\t500\n')
    return home


def test_paths_of_prepare(peaks):
    status, out, err = command(
        'prepare',
        '--source=bed',
        '--input=~/a.bed,~/b.bed',
        '--genome=~/g.fa',
        '--blacklist=~/black.bed',
        '--out=~/made/corpus',
        '--cache=~/cache',
    )
    assert status == 0, err
    assert f'corpus: {peaks}/made/corpus' in out and ' blacklisted' in out
    assert load_corpus(peaks / 'made' / 'corpus').tasks == ('a', 'b')


@pytest.mark.parametrize('short', [True, False])
def test_paths_of_the_main_command(peaks, short, monkeypatch):
    """As short flags and as settings; --config too."""
    monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', '')  # it would come first
    (peaks / 'mine.py').write_text('from configs.default import get_config as get_config\n')
    given = ['--peaks=~/a.bed,~/b.bed', '--genome=~/g.fa']
    if not short:
        given = ['--config.corpus.source=bed', '--config.corpus.input=~/a.bed,~/b.bed', '--config.corpus.genome=~/g.fa']
    status, out, err = command(
        'paper',
        '--config=~/mine.py',
        '--workdir=~/run',
        '--dry_run',
        *given,
        '--config.corpus.blacklist=~/black.bed',
        '--config.machine.compilation_cache=~/programs',
    )
    assert status == 0, err
    assert '2 tasks' in out and 'blacklisted' in out and (peaks / 'programs').is_dir()
    status, _, err = command('paper', '--config=~/none.py', '--workdir=~/run', '--dry_run')
    assert status == 2 and err == f'error: {peaks}/none.py: no such config file\n'


def test_paths_in_python(home):
    shutil.copytree(ROOT / 'tests' / 'data' / 'run_v1', home / 'run')
    assert demo_jax.load_run('~/run').directory.path == home / 'run'
    assert demo_jax.load_run(pathlib.Path('~/run')).directory.path == home / 'run'
    assert devices.keep_programs('') == ''
    with pytest.raises(InputError, match=f'{home}/cache/.*: is not there'):
        fetch_deepmotif108([], download_it=False, cache='~/cache')


def test_what_is_expanded(home):
    for text, expected in (
        ('~', f'{home}'),
        ('~/a b', f'{home}/a b'),
        ('CTCF=~/a.bed', f'CTCF={home}/a.bed'),
        ('./~/x', './~/x'),
        ('a~', 'a~'),
        ('a/b=~/x', 'a/b=~/x'),
        ('x=y', 'x=y'),
        ('', ''),
        ('/x/~', '/x/~'),
    ):
        assert files.expanded(text) == expected
    for text in ('~nobody-of-this-name/x', 'A=~nobody-of-this-name/x'):
        with pytest.raises(InputError, match="no home directory of '~nobody-of-this-name' is known"):
            files.expanded(text)
    status, _, err = command('evaluate', '--run=~nobody-of-this-name/x')
    assert status == 2 and err.count('\n') == 1 and 'no home directory of' in err


def test_a_run_in_the_home_directory(home):
    """A command from its beginning to its end."""
    shutil.copytree(ROOT / 'tests' / 'data' / 'run_v1', home / 'run')
    (home / 'x.fa').write_text('>s\n' + 'ACGTTGACTCATCGATCGGGCTAAAGCTAGCTACGATCGATC' * 2 + '\n')
    status, out, err = command(
        'score', '--run=~/run', '--fasta=~/x.fa', '--out=~/s.tsv', '--track=~/t.bed', '--threshold=-inf'
    )
    assert status == 0, err
    assert (home / 's.tsv').is_file() and (home / 't.bed').is_file() and f'scores: {home}/s.tsv' in out
