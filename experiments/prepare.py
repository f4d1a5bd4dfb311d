r"""Prepare a corpus: from files on disk, the public 108-task archive, or a simulation.

    python -m experiments.prepare --source=auto --input=DATA --out=corpus
    python -m experiments.prepare --source=deepmotif108 --download --out=corpus
    python -m experiments.prepare --source=bed --input=ctcf.narrowPeak.gz --genome=hg38.fa --out=corpus
    python -m experiments.prepare --source=simulated --out=corpus

The directory --out holds memory-mapped arrays and a manifest; other commands take it as their data.
"""

from collections.abc import Sequence

from absl import flags

from demo_jax.stages.sources import CorpusSettings, describe, prepare_corpus, save_prepared, unread
from experiments import cli

_SETTINGS = cli.define_settings(CorpusSettings)
_TF = cli.define_tf()
_OUT = cli.define_path('out', None, 'Directory to write the corpus to.', required=True)
_FORCE = flags.DEFINE_bool('force', False, 'Replace another corpus that is already in --out.')


def main(argv: Sequence[str]) -> None:
    """Prepare the corpus that the flags describe, and say what is in it."""
    del argv
    chosen = _SETTINGS()
    if ignored := unread(chosen):
        print(f'note: source {chosen.source} does not read {", ".join(ignored)}')
    corpus = prepare_corpus(chosen, tf=_TF.value)
    save_prepared(corpus, _OUT.value, force=_FORCE.value)
    print(describe(corpus))
    print(f'corpus: {_OUT.value}')


if __name__ == '__main__':
    cli.run(main)
