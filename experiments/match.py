r"""Take motifs out of the explanations of a run, match them with JASPAR, and count.

    python -m experiments.match --run=runs/quickstart

Settings are those that the run was made with (section `match` of its config); single ones can be changed,
e.g. --set=jaspar=JASPAR2016.
"""

from collections.abc import Sequence

from experiments import cli, pipeline

_RUN = cli.define_run()
_OWN_SPECS = cli.define_own_specs()
_SET = cli.define_set('match')


def main(argv: Sequence[str]) -> None:
    """Run the stage, and say where its results lie."""
    del argv
    run = pipeline.run_one_stage(_RUN.value, 'match', cli.parsed_settings(_SET.value), own_specs=_OWN_SPECS.value)
    print(f'results: {run.tables}')


if __name__ == '__main__':
    cli.run(main)
