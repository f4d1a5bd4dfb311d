r"""Score the test sequences with every model of a run, and write its tables.

python -m experiments.evaluate --run=runs/quickstart
"""

from collections.abc import Sequence

from absl import flags

from demo_jax.io.settings import meanings
from demo_jax.stages.evaluate import EvaluateSettings
from experiments import cli, pipeline

_RUN = cli.define_run()
_OWN_SPECS = cli.define_own_specs()
_RESAMPLES = flags.DEFINE_integer(
    'n_resamples', EvaluateSettings.n_resamples, meanings(EvaluateSettings)['n_resamples'], lower_bound=1
)


def main(argv: Sequence[str]) -> None:
    """Evaluate, print the tables, and say where they lie."""
    del argv
    run = pipeline.run_one_stage(_RUN.value, 'evaluate', {'n_resamples': _RESAMPLES.value}, own_specs=_OWN_SPECS.value)
    print(f'results: {run.tables}')


if __name__ == '__main__':
    cli.run(main)
