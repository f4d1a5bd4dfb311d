"""What Fi-NeMo, tangermeme and TF-MoDISco's report make of our files; skipped where they are not installed."""

import contextlib
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

import demo_jax
from demo_jax import dna
from demo_jax.io import files
from demo_jax.motifs import formats
from demo_jax.motifs.discover import FoundMotif
from demo_jax.predict.tracks import BigWigs
from demo_jax.predict.windows import check_fasta, read_blocks
from demo_jax.stages import discovered

WORD = 'AGATAAGACC'
N, LENGTH = 60, 120


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """A folder with all that is exported of one planted motif, and where it is: rows, starts."""
    folder = tmp_path_factory.mktemp('tools')
    rng = np.random.default_rng(0)
    word, tokens = dna.encode(WORD), rng.integers(0, 4, (N, LENGTH)).astype(np.uint8)
    start, place = rng.integers(20, 90, N), np.arange(len(word))
    rows = np.arange(N)
    tokens[rows[:, None], start[:, None] + place] = word
    values = rng.normal(0, 0.02, (N, LENGTH)).astype(np.float32)
    values[rows[:, None], start[:, None] + place] += rng.uniform(0.5, 1.5, (N, len(word))).astype(np.float32)
    counts, shares = N * dna.one_hot(word), 0.97 * dna.one_hot(word) + 0.0075
    mean = dna.one_hot(word) * values[rows[:, None], start[:, None] + place].mean(axis=0)[:, None]
    motif = FoundMotif(counts, shares, mean, rows, start, np.ones(N, np.int8), np.full(N, 10.0), 1)
    discovered.write_found(folder, {'for_1': motif}, tokens, values)
    contributions = values[..., None] * dna.one_hot(tokens)
    formats.write_modisco(folder / 'a.npz', folder / 's.npz', contributions.astype(np.float32), tokens)
    fasta = folder / 'genome.fa'
    fasta.write_text(''.join(f'>chr{i}\n{dna.decode(row)}\n' for i, row in enumerate(tokens)))
    whole = demo_jax.wrap(lambda params, x: x.sum((1, 2)), np.ones(1, np.float32), length=LENGTH)
    checked = check_fasta(fasta, [whole], progress=False, sizes=True)
    with contextlib.ExitStack() as stack:
        into = BigWigs(stack, [folder / 'bases.bw'], checked)
        for block in read_blocks(checked, 16):
            for record in block.records:
                into.add(record, 0, 1, 1, values[record.number - 1][None])
    peaks = ''.join(f'chr{i}\t0\t{LENGTH}\tp{i}\t0\t.\t1\t-1\t-1\t{LENGTH // 2}\n' for i in range(N))
    (folder / 'peaks.narrowPeak').write_text(peaks)
    return folder, start


def tool(name):
    """The path of a command of this environment; skips the test where it is not."""
    command = shutil.which(name, path=pathlib.Path(sys.executable).parent)
    return command or pytest.skip(f'{name} is not installed')


def run(folder, command, *arguments):
    done = subprocess.run([command, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    'regions',
    [
        ('extract-regions-modisco-fmt', '-s', 's.npz', '-a', 'a.npz'),
        ('extract-regions-bw', '-p', 'peaks.narrowPeak', '-f', 'genome.fa', '-b', 'bases.bw'),
    ],
    ids=['npz', 'bigwig'],
)
def test_finemo_finds_the_sites(exported, tmp_path, regions):
    folder, start = exported
    finemo = tool('finemo')
    run(folder, finemo, *regions, '-w', str(LENGTH), '-o', str(tmp_path / 'regions.npz'))
    run(folder, finemo, 'call-hits', '-r', str(tmp_path / 'regions.npz'), '-m', 'found.h5', '-o', str(tmp_path))
    hits = files.read_tsv(tmp_path / 'hits.tsv')
    of_peaks = regions[0].endswith('bw')
    found = {(int(hit['chr'][3:] if of_peaks else hit['peak_id']), int(hit['start'])) for hit in hits}
    near = {(row, at) for row, at in enumerate(start.tolist()) if any((row, at + i) in found for i in range(-3, 4))}
    assert len(near) >= 0.95 * N and len(hits) <= 1.2 * N


def test_tangermeme_reads_the_motifs(exported):
    io = pytest.importorskip('tangermeme.io')
    (matrix,) = io.read_meme(str(exported[0] / 'found.meme')).values()
    np.testing.assert_allclose(matrix.numpy().T, formats.read_meme(exported[0] / 'found.meme')['for_1'], atol=1e-6)


def test_modisco_reports_the_motifs(exported, tmp_path):
    pytest.importorskip('tangermeme')  # it takes a while: only beside the other tools
    folder, _ = exported
    run(folder, tool('modisco'), 'report', '-i', 'found.h5', '-o', str(tmp_path))
    assert 'pos_patterns.pattern_0' in (tmp_path / 'report.html').read_text()
