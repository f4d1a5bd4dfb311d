r"""Prepare the sequences and train, without the stages that follow.

    python -m experiments.train --config=configs/default.py --workdir=runs/mine --config.corpus.input=DATA
"""

from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from experiments import cli, pipeline

_CONFIG = config_flags.DEFINE_config_file(
    'config', 'configs/quickstart.py', 'Settings; override one with --config.SECTION.NAME=VALUE.'
)
_WORKDIR = flags.DEFINE_string('workdir', 'runs/quickstart', 'Directory of the run: made, or resumed where it exists.')


def main(argv: Sequence[str]) -> None:
    """Prepare and train."""
    del argv
    with pipeline.trained(_CONFIG.value.to_dict(), _WORKDIR.value) as run:
        print(f'models: {run.path / "models"}')


if __name__ == '__main__':
    cli.run(main)
