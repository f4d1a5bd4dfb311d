r"""Make a genome and peak files of simulated TFs, to try the way from peaks to the dashboard without a download.

    python -m experiments.simulate_peaks --out=peaks --n_tasks=2 --n_peaks=2000
    python -m experiments.paper --config=configs/default.py --workdir=runs/peaks \
        --peaks=peaks/FILE.narrowPeak,... --genome=peaks/genome.fa

Each peak's summit is the centre of a simulated positive (see `demo_jax.data.simulate`). The peaks of all TFs are
spread at random over chr1 to chr10, one every `--distance` bp. The last line that is printed is the second command.
"""

import pathlib
import re
from collections.abc import Sequence

import numpy as np
from absl import flags
from tqdm import tqdm

from demo_jax import dna
from demo_jax.data import simulate
from demo_jax.data.corpus import SPLITS, Corpus
from demo_jax.errors import InputError
from demo_jax.io import files
from demo_jax.stages.sources import prepare_corpus
from experiments import cli

_OUT = cli.define_path('out', None, 'New folder for genome.fa and one narrowPeak file per TF.', required=True)
_TASKS = flags.DEFINE_integer('n_tasks', 2, 'How many of the 108 K562 tasks, 1 to 108.')
_PEAKS = flags.DEFINE_integer('n_peaks', 2000, 'Peaks per task.', lower_bound=4)
_DISTANCE = flags.DEFINE_integer('distance', 500, 'bp of genome per peak.', lower_bound=400)
_SEED = flags.DEFINE_integer('seed', 0, 'Of everything that is drawn.')
_CHROMS = 10
_LINE = 60  # letters per line of the FASTA file
_FLANK = 150  # bp on either side of a summit that its peak covers


def positives(corpus: Corpus, task: str) -> np.ndarray:
    """Tokens (N, L) of all positives of a task."""
    rows = np.concatenate([np.arange(len(corpus))[corpus.rows(task, split)] for split in SPLITS])
    return corpus.padded(rows[np.asarray(corpus.labels)[rows] == 1])


def write_peaks(tokens: dict[str, np.ndarray], folder: pathlib.Path, distance: int, rng: np.random.Generator) -> None:
    """Write genome.fa and NAME.narrowPeak, with the centre of every row of tokens[NAME] (N, L) under a summit.

    Args:
      tokens: per name, uint8 (N, L); L is the same for all.
      folder: where to.
      distance: bp of genome per peak.
      rng: where places, strengths and the background are drawn from.
    """
    width = next(iter(tokens.values())).shape[1]
    names, sizes = list(tokens), [len(rows) for rows in tokens.values()]
    per_chrom = -(-sum(sizes) // _CHROMS)
    stretches = np.concatenate(list(tokens.values()))
    place = rng.permutation(_CHROMS * per_chrom)[: len(stretches)]  # of each row, in stretches of `distance`
    before = distance // 2 - width // 2
    with open(folder / 'genome.fa', 'w', encoding='ascii') as genome:
        for chrom in tqdm(range(_CHROMS), desc='genome', unit='chromosome'):
            settings = simulate.SimulationSettings(length=distance, gc_peak=0.0)
            letters = simulate.background(per_chrom, 0.42, settings, rng)
            here = np.flatnonzero(place // per_chrom == chrom)
            letters[place[here] % per_chrom, before : before + width] = stretches[here]
            text = dna.decode(letters.reshape(-1))
            genome.write(f'>chr{chrom + 1}\n')
            genome.writelines(f'{text[start : start + _LINE]}\n' for start in range(0, len(text), _LINE))
    summit = place % per_chrom * distance + before + width // 2
    strength = rng.lognormal(3, 1, len(stretches))
    for name, rows in zip(names, np.split(np.arange(len(stretches)), np.cumsum(sizes)[:-1]), strict=True):
        lines = [
            f'chr{place[row] // per_chrom + 1}\t{summit[row] - _FLANK}\t{summit[row] + _FLANK}\tpeak{number}\t0\t.\t'
            f'{strength[row]:.4g}\t-1\t-1\t{_FLANK}\n'
            for number, row in enumerate(rows, 1)
        ]
        (folder / f'{name}.narrowPeak').write_text(''.join(lines), encoding='ascii')


def main(argv: Sequence[str]) -> None:
    """Simulate, and write the genome and the peaks; the folder appears when it is whole."""
    del argv
    out = pathlib.Path(_OUT.value)
    if out.exists():
        raise InputError(f'{out}: is there already; choose another --out')
    corpus = prepare_corpus(
        source='simulated', n_tasks=_TASKS.value, n_train=_PEAKS.value - 1, n_test=1, seed=_SEED.value
    )
    # Not the published names: published AUROCs of real sets must not stand beside these.
    tokens = {re.sub(r'[^\w.-]', '.', task) + '_simulated': positives(corpus, task) for task in corpus.tasks}
    with files.atomic_directory(out) as folder:
        write_peaks(tokens, folder, _DISTANCE.value, np.random.default_rng([_SEED.value, 1]))
    peaks = ','.join(str(out / f'{name}.narrowPeak') for name in tokens)
    print(
        f'{len(tokens)} peak files of {_PEAKS.value:,} peaks, genome of {len(tokens) * _PEAKS.value:,} x '
        f'{_DISTANCE.value} bp: {out}'
    )
    print(
        'python -m experiments.paper --config=configs/default.py --workdir=runs/peaks '
        f'--peaks={peaks} --genome={out / "genome.fa"}'
    )


if __name__ == '__main__':
    cli.run(main)
