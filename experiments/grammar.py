r"""Ask the models of a run which of its found motifs need each other, and at which distance.

    python -m experiments.grammar --run=runs/quickstart

Settings are those that the run was made with (section `grammar` of its config); single ones can be changed,
e.g. --set=motifs=5.
"""

from collections.abc import Sequence

from experiments import cli, pipeline

_RUN = cli.define_run()
_OWN_SPECS = cli.define_own_specs()
_SET = cli.define_set('grammar')


def main(argv: Sequence[str]) -> None:
    """Run the stage, and say where its results lie."""
    del argv
    run = pipeline.run_one_stage(_RUN.value, 'grammar', cli.parsed_settings(_SET.value), own_specs=_OWN_SPECS.value)
    print(f'results: {run.tables / "grammar.tsv"}')


if __name__ == '__main__':
    cli.run(main)
