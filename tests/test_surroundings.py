"""What surrounds a run and must not change it: environment variables, schedulers, terminals, locks.

Settings of the environment are read when a program starts, so most of these start one.
"""

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.motifs import tomtom
from demo_jax.runs import directory
from demo_jax.runs.directory import RunDirectory
from experiments import pipeline
from tests.helpers import ROOT, keep_programs
from tests.helpers_commands import launcher
from tests.helpers_models import save_run


def python(*arguments, **environment):
    """Run Python here with further environment variables."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(('SLURM', 'CUDA', 'JAX'))}
    clean |= {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'} | keep_programs() | environment
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=clean, capture_output=True, timeout=240, check=False
    )


def test_a_training_is_the_same_whatever_the_environment_asks_of_jax(tmp_path):
    plain = launcher().run('tests.train_once', [str(tmp_path / 'plain')], tmp_path / 'none')
    assert plain.status == 0 and plain.out.startswith("['float32'] "), plain.err
    asked = python(
        '-O',
        '-m',
        'tests.train_once',
        str(tmp_path / 'other'),
        JAX_ENABLE_X64='1',
        JAX_DEFAULT_PRNG_IMPL='rbg',
        JAX_THREEFRY_PARTITIONABLE='0',
        JAX_DISABLE_MOST_OPTIMIZATIONS='1',  # as here
    )
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.decode() == plain.out


@pytest.fixture(scope='module')
def scored(tmp_path_factory):
    """A folder with what a command writes whose terminal is not of UTF-8 and that has no backend; what it prints."""
    folder = tmp_path_factory.mktemp('surroundings')
    save_run(folder / 'rün', ('small_cnn',), tasks=('TF é',))
    (folder / 'a.fa').write_text('>ü\nACGTTGACTCATCGATCGGGCTAAAGCT\n', encoding='utf-8')
    done = python(
        '-m',
        'experiments.score',
        f'--run={folder / "rün"}',
        f'--fasta={folder / "a.fa"}',
        f'--out={folder / "ö.tsv"}',
        '--explain',
        PYTHONIOENCODING='ascii',
        MPLBACKEND='module://no_such_package.backend_inline',
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_terminal_without_utf8_shows_escapes(scored):
    folder, out = scored
    assert any(line.endswith(rb'\xf6.tsv') for line in out.splitlines()) and rb'TF \xe9' in out
    table = (folder / 'ö.tsv').read_text(encoding='utf-8')
    assert '\tü\t' in table and '\tTF é\t' in table  # files are UTF-8 everywhere


def test_figures_are_drawn_whatever_backend_matplotlib_is_told_to_use(scored):
    (picture,) = (scored[0] / 'ö_explain').glob('0001_*.png')
    assert picture.read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize(
    ('code', 'told'),
    [
        (errno.ENOLCK, 'cannot be locked (No locks available)'),
        (errno.ENOSYS, 'cannot be locked (Function not'),
        (errno.EWOULDBLOCK, 'is in use by process 12 on node3'),
        (errno.EACCES, 'is in use by process 12 on node3'),
    ],
)
def test_a_file_system_without_locks_is_not_taken_for_another_process(tmp_path, monkeypatch, code, told):
    def flock(*_):
        raise OSError(code, os.strerror(code))

    (tmp_path / '.lock').write_text('process 12 on node3')
    monkeypatch.setattr(directory.fcntl, 'flock', flock)
    with pytest.raises(InputError) as refused, RunDirectory(tmp_path).locked():
        pass
    assert told in str(refused.value)


@pytest.mark.parametrize('cores', [1, 3])
def test_as_many_threads_as_cores_that_the_process_may_use(monkeypatch, cores):
    started = []

    def pool(threads):
        started.append(threads)
        return ThreadPoolExecutor(threads)

    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(cores)))
    monkeypatch.setattr(os, 'cpu_count', lambda: 96)  # of the node, of which a scheduler has given a few
    for module in (dna, tomtom):
        monkeypatch.setattr(module, 'ThreadPoolExecutor', pool)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 4, (8000, 101), dtype=np.uint8)
    given = dna.dinucleotide_shuffle(tokens, np.random.default_rng(1))
    assert (given == dna.dinucleotide_shuffle(tokens, np.random.default_rng(1), threads=2)).all()
    assert started == ([2] if cores == 1 else [3, 2])  # a single one needs no pool
    matrices = {name: rng.dirichlet(np.ones(4), 8) for name in 'abc'}
    tomtom.match_words(['ACGTACGT'], tomtom.prepare_targets(matrices), keep=[0])
    assert started[-1] == cores


@pytest.mark.parametrize(
    ('text', 'parts'),
    [
        ('chr8,chr9', ('chr8', 'chr9')),
        ('chr8, chr9', ('chr8', 'chr9')),
        (' chr8 ,, chr9 ', ('chr8', 'chr9')),
        ('', ()),
        ('"a,b.bed", c d=e.bed', ('a,b.bed', 'c d=e.bed')),
        ('"a ""b"".bed"', ('a "b".bed',)),
    ],
)
def test_lists_of_the_config_have_commas_and_perhaps_blanks_between_their_parts(text, parts):
    assert pipeline._listed(text) == parts


def test_a_list_with_an_open_quote_is_refused():
    with pytest.raises(InputError, match='is no list with commas'):
        pipeline._listed('"a,b.bed')
