r"""Draw what a run found: figures, and the page that opens from disk.

    python -m experiments.dashboard --run=runs/quickstart

The last line is the page to open. With --figure=TASK:ROW only the dashboard of that sequence is drawn; the page
gives the row of each sequence in its address. Settings are those that the run was made with (section `dashboard`
of its config); single ones can be changed, e.g. --set=sequences=100.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from experiments import cli

_RUN = cli.define_run()
_OWN_SPECS = cli.define_own_specs()
_SET = cli.define_set('dashboard')
_SEQUENCES = flags.DEFINE_integer('sequences', None, 'Test sequences per task on the page.', lower_bound=1)
_OUT = cli.define_path('out', None, 'Folder of the page; default RUN/dashboard.')
_FIGURE = flags.DEFINE_multi_string('figure', [], 'TASK:ROW, a sequence to draw instead; may be given several times.')


def main(argv: Sequence[str]) -> None:
    """Run the stage, and print where the page lies."""
    del argv
    from demo_jax.errors import InputError
    from demo_jax.io.settings import read_settings
    from demo_jax.runs.directory import RunDirectory
    from demo_jax.stages.record import all_tables
    from demo_jax.stages.report import ReportSettings, draw_sequence, report_run

    run = RunDirectory(_RUN.value, _OWN_SPECS.value)
    run.facts()
    with run.locked():
        run.update_config()
    values = run.config().get('dashboard', {}) | cli.parsed_settings(_SET.value)
    if _SEQUENCES.value is not None:
        values['sequences'] = _SEQUENCES.value
    chosen = read_settings(ReportSettings, values, 'dashboard')
    with run.locked():
        for text in _FIGURE.value:
            task, _, row = text.rpartition(':')
            if not task or not row.isdigit():
                raise InputError(f'--figure={text}: expected TASK:ROW, e.g. CTCF_K562_CTCF_Broad:1234')
            print(draw_sequence(run, all_tables(), task, int(row), chosen))
        if not _FIGURE.value:
            folder = None if _OUT.value is None else pathlib.Path(_OUT.value)
            print(f'dashboard: {report_run(run, all_tables(), chosen, folder=folder)}')


if __name__ == '__main__':
    cli.run(main)
