r"""Prepare the sequences and train, without the stages that follow.

python -m experiments.train --config=configs/default.py --workdir=runs/mine --config.corpus.input=DATA
"""

from collections.abc import Sequence

from experiments import cli, pipeline

_CONFIG = cli.define_config()
_WORKDIR = cli.define_workdir()
_SCHEDULER = cli.define_scheduler()


def main(argv: Sequence[str]) -> None:
    """Prepare and train."""
    del argv
    config = _CONFIG.value.to_dict()
    with pipeline.opened(config, _WORKDIR.value, _SCHEDULER()) as here:
        pipeline.run_stages(here, ['train'])
        print(f'models: {here.run.path / "models"}')


if __name__ == '__main__':
    cli.run(main)
