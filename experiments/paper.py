r"""The main command: from sequences to trained models, tables, explanations and motifs.

    python -m experiments.paper --config=configs/quickstart.py --workdir=runs/quickstart

Each stage skips what is complete in WORKDIR and resumes what is not.
"""

import time
from collections.abc import Sequence

from absl import flags

from experiments import cli, pipeline

_CONFIG = cli.define_config()
_WORKDIR = cli.define_workdir()
_STAGES = flags.DEFINE_list('stages', list(pipeline.STAGES), 'Stages to run after training, separated by commas.')


def main(argv: Sequence[str]) -> None:
    """Prepare, train, and run the stages that follow."""
    del argv
    config, start = _CONFIG.value.to_dict(), time.monotonic()
    pipeline.check_stages(_STAGES.value)
    with pipeline.trained(config, _WORKDIR.value) as run:
        from demo_jax.report import console

        seconds = {'training': time.monotonic() - start}
        seconds |= pipeline.run_stages(run, config, _STAGES.value)
        print()
        print(console.cost(**seconds))
        print(f'results: {run.tables}')


if __name__ == '__main__':
    cli.run(main)
