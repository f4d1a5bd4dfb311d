r"""The main command: from sequences to trained models and tables.

    python -m experiments.paper --config=configs/quickstart.py --workdir=runs/quickstart

Each stage skips what is complete in WORKDIR and resumes what is not.
"""

import time
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from experiments import cli, pipeline

_CONFIG = config_flags.DEFINE_config_file(
    'config', 'configs/quickstart.py', 'Settings; override one with --config.SECTION.NAME=VALUE.'
)
_WORKDIR = flags.DEFINE_string('workdir', 'runs/quickstart', 'Directory of the run: made, or resumed where it exists.')


def main(argv: Sequence[str]) -> None:
    """Prepare, train, evaluate."""
    del argv
    config, start = _CONFIG.value.to_dict(), time.monotonic()
    with pipeline.trained(config, _WORKDIR.value) as run:
        from demo_jax.report import console
        from demo_jax.stages.evaluate import evaluate_run

        trained = time.monotonic()
        console.print_tables(evaluate_run(run, n_resamples=config['evaluate']['n_resamples']))
        print(console.cost(training=trained - start, evaluation=time.monotonic() - trained))
        print(f'results: {run.tables}')


if __name__ == '__main__':
    cli.run(main)
