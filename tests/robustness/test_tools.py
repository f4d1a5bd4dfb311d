"""Programs of others that take many seconds to read what we write; quicker ones are in the tests that CI runs."""

import importlib.metadata
import importlib.util
import pathlib
import shutil
import subprocess
import sys

import pytest

from demo_jax import dna
from demo_jax.motifs import extract, formats
from tests.test_motif_formats import planted_contributions


def test_modisco_finds_the_motif_in_the_export(tmp_path):
    if importlib.util.find_spec('modiscolite') is None:
        pytest.skip('modisco-lite is not installed')
    import h5py

    assert int(importlib.metadata.version('modisco-lite').split('.')[0]) >= 3  # `modisco` 2.5 has the same command
    formats.write_modisco(tmp_path / 'a.npz', tmp_path / 's.npz', *planted_contributions())
    command = shutil.which('modisco', path=pathlib.Path(sys.executable).parent)
    arguments = ['motifs', '-s', 's.npz', '-a', 'a.npz', '-n', '2000', '-w', '100', '-o', 'found.h5']
    done = subprocess.run([command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / 'found.h5') as results:
        matrix = results['pos_patterns/pattern_0/sequence'][:]
        n_seqlets = int(results['pos_patterns/pattern_0/seqlets/n_seqlets'][0])
    assert n_seqlets >= 100  # of 800 sites; 20 are the least that make a pattern
    part = extract.best_submatrix(matrix, width=8)
    assert dna.decode(part.probabilities.argmax(axis=1)) in ('AGATAAGA', 'TCTTATCT')
