r"""Find seqlets, motifs, hits and spacings in the maps of a run.

    python -m experiments.discover --run=runs/quickstart

Settings are those that the run was made with (section `discover` of its config); single ones can be changed,
e.g. --set=seqlet_fdr=0.05.
"""

from collections.abc import Sequence

from experiments import cli, pipeline

_RUN = cli.define_run()
_OWN_SPECS = cli.define_own_specs()
_SET = cli.define_set('discover')


def main(argv: Sequence[str]) -> None:
    """Run the stage, and say where its results lie."""
    del argv
    run = pipeline.run_one_stage(_RUN.value, 'discover', cli.parsed_settings(_SET.value), own_specs=_OWN_SPECS.value)
    print(f'results: {run.tables}')


if __name__ == '__main__':
    cli.run(main)
