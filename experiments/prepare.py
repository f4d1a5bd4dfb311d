r"""Prepare a corpus: from files on disk, the public 108-task archive, or a simulation.

    python -m experiments.prepare --source=auto --input=DATA --out=corpus
    python -m experiments.prepare --source=deepmotif108 --download --out=corpus
    python -m experiments.prepare --source=bed --input=ctcf.narrowPeak.gz --genome=hg38.fa --out=corpus
    python -m experiments.prepare --source=simulated --out=corpus

The directory --out holds memory-mapped arrays and a manifest; other commands take it as their data.
"""

from collections.abc import Sequence
from typing import Any

from absl import flags

from demo_jax.data.prepare import SOURCES, describe, prepare_corpus, save_prepared
from demo_jax.data.simulate import RELEASE
from experiments import cli

_FLAGS: dict[str, flags.FlagHolder[Any]] = {
    'source': flags.DEFINE_enum(
        'source',
        'auto',
        SOURCES,
        'What the input is. auto: DeepBind and DeepMotif files wherever they lie in the input, or else labelled '
        'FASTA. deepbind: X_AC.seq.gz with X_B.seq.gz. deepmotif: X/train.fa with X/test.fa. fasta: X.fa with '
        'labels 0/1 in the headers. bed: peaks, with --genome. simulated: planted motifs, no input. deepmotif108: '
        'the 108 K562 sets, with --download or the archive as --input.',
    ),
    'input': cli.define_paths(
        'input', 'Files and folders to read, separated by commas; folders are searched. NAME=PATH names the task of a '
        'file.',
    ),
    'tasks': flags.DEFINE_list('tasks', [], 'Only these tasks, by name; default all.'),
    'seed': flags.DEFINE_integer('seed', 0, 'Seeds shuffles, validation rows, held-out rows and the simulation.'),
    'valid_fraction': flags.DEFINE_float(
        'valid_fraction', 0.1, 'Share of the training pairs that is set aside to choose models by.'
    ),
    'test_fraction': flags.DEFINE_float(
        'test_fraction', None, 'Share held out for testing where the input names no test set (FASTA: 0.1).'
    ),
    'genome': cli.define_path('genome', None, 'bed: FASTA file of the genome.'),
    'width': flags.DEFINE_integer('width', 101, 'bed: letters per window, centred on the summit.'),
    'top': flags.DEFINE_integer('top', None, 'bed: keep only so many peaks, the strongest; default all.'),
    'test_chroms': flags.DEFINE_list('test_chroms', ['chr8', 'chr9'], 'bed: chromosomes whose peaks are for testing.'),
    'blacklist': cli.define_path('blacklist', None, 'bed: BED file of regions to leave out.'),
    'negatives': flags.DEFINE_enum(
        'negatives', 'shuffle', ['shuffle', 'gc'],
        'bed: dinucleotide shuffles of the positives, or windows of the genome with the same GC content.',
    ),
    'n_tasks': flags.DEFINE_integer('n_tasks', None, 'simulated: how many of the 108 K562 tasks; default all.'),
    'n_train': flags.DEFINE_integer('n_train', 1000, 'simulated: training positives per task.'),
    'n_test': flags.DEFINE_integer('n_test', 500, 'simulated: test positives per task.'),
    'n_pair_tasks': flags.DEFINE_integer(
        'n_pair_tasks', 0, 'simulated: in so many tasks only the spacing of two motifs tells positives from negatives.'
    ),
    'jaspar': flags.DEFINE_string('jaspar', None, f'simulated: JASPAR release of the motifs; default {RELEASE}.'),
    'tf': cli.define_tf(),
    'download': flags.DEFINE_bool(
        'download', False, 'deepmotif108: fetch the archive (107 MB) into --cache unless it is there.'
    ),
    'cache': cli.define_path(
        'cache', '~/.cache/demo_jax', 'deepmotif108: folder where the archive is kept and unpacked.'
    ),
}  # fmt: skip
_OUT = cli.define_path('out', None, 'Directory to write the corpus to.', required=True)
_FORCE = flags.DEFINE_bool('force', False, 'Replace another corpus that is already in --out.')


def main(argv: Sequence[str]) -> None:
    """Prepare the corpus that the flags describe, and say what is in it."""
    del argv
    corpus = prepare_corpus(**{name: flag.value for name, flag in _FLAGS.items()})
    save_prepared(corpus, _OUT.value, force=_FORCE.value)
    print(describe(corpus))
    print(f'corpus: {_OUT.value}')


if __name__ == '__main__':
    cli.run(main)
