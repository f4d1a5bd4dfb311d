r"""Score the test sequences with every model of a run, and write its tables.

    python -m experiments.evaluate --run=runs/quickstart
"""

from collections.abc import Sequence

from absl import flags

from experiments import cli, pipeline

_RUN = cli.define_run()
_RESAMPLES = flags.DEFINE_integer(
    'n_resamples', 1000, 'Bootstrap resamples of positive/shuffle pairs for the 95% intervals.', lower_bound=1
)


def main(argv: Sequence[str]) -> None:
    """Evaluate, print the tables, and say where they lie."""
    del argv
    run = pipeline.run_one_stage(_RUN.value, 'evaluate', {'n_resamples': _RESAMPLES.value})
    print(f'results: {run.tables}')


if __name__ == '__main__':
    cli.run(main)
