r"""Explain the models of a trained run: maps, temporal scores, class optima, activations.

    python -m experiments.explain --run=runs/quickstart

Settings are those that the run was made with (section `explain` of its config); single ones can be changed,
e.g. --set=positives=100.
"""

from collections.abc import Sequence

from experiments import cli, pipeline

_RUN = cli.define_run()
_OWN_SPECS = cli.define_own_specs()
_SET = cli.define_set('explain')
_SCHEDULER = cli.define_scheduler()


def main(argv: Sequence[str]) -> None:
    """Run the stage, and say where its results lie."""
    del argv
    run = pipeline.run_one_stage(_RUN.value, 'explain', cli.parsed_settings(_SET.value), _SCHEDULER(), _OWN_SPECS.value)
    print(f'explanations: {run.path / "explain"}')


if __name__ == '__main__':
    cli.run(main)
