r"""The main command: from sequences to trained models, tables, motifs and the dashboard.

    python -m experiments.paper --config=configs/quickstart.py --workdir=runs/quickstart
    python -m experiments.paper --config=configs/default.py --workdir=runs/mine --input=DATA
    python -m experiments.paper --config=configs/default.py --workdir=runs/peaks \\
        --peaks=a.narrowPeak,b.bed --genome=hg38.fa
    python -m experiments.paper --config=configs/paper.py --workdir=runs/paper --corpus=deepmotif108 --dry_run

Each stage skips what is complete in WORKDIR and resumes what is not.
"""

import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from demo_jax.errors import InputError
from demo_jax.evaluation.proteins import told_symbols
from demo_jax.stages import record
from experiments import cli, pipeline

_CONFIG = cli.define_config()
_WORKDIR = cli.define_workdir()
_CORPUS = flags.DEFINE_string(
    'corpus',
    None,
    'Short for --config.corpus.source: auto, deepbind, deepmotif, fasta, bed, simulated, deepmotif108, prepared.',
)
_INPUT = flags.DEFINE_string(
    'input',
    None,
    'Short for --config.corpus.input: files and folders, separated by commas. NAME=FILE names the task of a file.',
)
_PEAKS = flags.DEFINE_string(
    'peaks',
    None,
    'Peak files (BED, narrowPeak, broadPeak), separated by commas; needs --genome. NAME=FILE names the task of a file.',
)
_GENOME = flags.DEFINE_string('genome', None, 'FASTA file of the genome that --peaks refers to.')
_TASKS = flags.DEFINE_string('tasks', None, 'Only these tasks, separated by commas.')
_TF = cli.define_tf()
_SPECS = flags.DEFINE_list('specs', None, 'Only these architectures, separated by commas.')
_FOLDS = flags.DEFINE_integer('folds', None, 'Short for --config.folds: cross-validation with so many folds.')
_STAGES = flags.DEFINE_list('stages', [stage.name for stage in record.STAGES], 'Stages to run, separated by commas.')
_SCHEDULER = cli.define_scheduler()
_DRY_RUN = flags.DEFINE_bool('dry_run', False, 'Print the plan, with jobs, steps, memory and likely times, and stop.')


def settings() -> dict[str, Any]:
    """The config with what the short flags change.

    Raises:
      InputError: flags that do not go together.
    """
    config = _CONFIG.value.to_dict()
    corpus = config['corpus']
    if (_PEAKS.value is None) != (_GENOME.value is None):
        raise InputError('--peaks and --genome belong together: one is given without the other')
    if _PEAKS.value is not None:
        if _INPUT.value is not None or _CORPUS.value not in (None, 'bed'):
            raise InputError('--peaks is an input of its own: leave out --input and --corpus')
        corpus |= {'source': 'bed', 'input': _PEAKS.value, 'genome': _GENOME.value}
    for name, flag in (('source', _CORPUS), ('input', _INPUT), ('tasks', _TASKS)):
        if flag.value is not None:
            corpus[name] = flag.value
    if _TF.value:
        told = told_symbols(config['match']['tf']) | told_symbols(_TF.value)
        config['match']['tf'] = ','.join(f'{name}={symbol}' for name, symbol in told.items())
    if _FOLDS.value is not None:
        config['folds'] = _FOLDS.value
    if _SPECS.value is not None:
        config['specs'] = tuple(_SPECS.value)
    return config


def main(argv: Sequence[str]) -> None:
    """Prepare the sequences, and run the stages."""
    del argv
    config, start = settings(), time.monotonic()
    pipeline.check_stages(_STAGES.value)
    if _DRY_RUN.value:
        print(pipeline.describe_plan(config, _WORKDIR.value, _SCHEDULER()))
        return
    with pipeline.opened(config, _WORKDIR.value, _SCHEDULER()) as here:
        from demo_jax.report import console
        from experiments import plan

        run = here.run
        print(plan.describe(run.corpus(), run.jobs(), config, run, here.cluster), flush=True)
        seconds = {'preparing': time.monotonic() - start}
        seconds |= pipeline.run_stages(here, _STAGES.value)
        print()
        print(console.cost(**seconds))
        print(f'results: {run.tables}')
        if 'report' in seconds:
            print(f'dashboard: {run.path / "dashboard" / "index.html"}')


if __name__ == '__main__':
    cli.run(main)
