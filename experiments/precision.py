r"""What rounding the operands of matrix products costs in test AUROC: the same models in float32, tf32 and bf16.

    python -m experiments.precision --config=configs/default.py --workdir=runs/precision --config.corpus.input=DATA

A GPU multiplies as `machine.precision` asks. A CPU multiplies in float32 whatever is asked; here it rounds the operands
of every product to as many bits first, and so computes what a GPU would, but for the order of its sums. The float32
models are trained with a second seed as well: differences between precisions mean something beside those between seeds.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from demo_jax.errors import InputError
from demo_jax.io import files
from demo_jax.report import console
from demo_jax.training.machine import PRECISIONS
from experiments import cli, pipeline
from experiments.benchmarks import rounding

_CONFIG = cli.define_config()
_WORKDIR = cli.define_workdir('runs/precision', 'Folder of the runs, one per precision, and of the tables.')


def train_in(precision: str, config: Mapping[str, Any], workdir: pathlib.Path) -> dict[tuple[str, str, int], float]:
    """Train and evaluate in one precision, and return the test AUROC by task, spec and seed."""
    seeds = tuple(config['seeds'])[:1]
    seeds += (max(seeds) + 1,) if precision == 'float32' else ()
    settings = {**config, 'seeds': seeds, 'machine': {**config['machine'], 'precision': precision}}
    with pipeline.opened(settings, str(workdir / precision)) as here:
        pipeline.run_stages(here, ['train', 'evaluate'])
        rows = files.read_tsv(here.run.tables / 'auroc.tsv')
    return {
        (row['task'], row['spec'], int(row['seed'])): float(row['test_auroc']) for row in rows if row['status'] == 'ok'
    }


def main(argv: Sequence[str]) -> None:
    """Train in every precision, and print how the AUROCs differ."""
    del argv
    config, workdir = _CONFIG.value.to_dict(), pathlib.Path(_WORKDIR.value)
    if config['machine']['precision'] != 'float32':
        raise InputError('machine: precision is chosen by this command, and is not to be set')
    pipeline.start_devices(config['machine'])
    if jax.default_backend() == 'cpu':
        rounding.round_on_cpu()
        print('no GPU: the CPU rounds the operands of each product')
    aurocs = {}
    for precision in PRECISIONS:
        print(f'\n{precision}')
        aurocs[precision] = train_in(precision, config, workdir)
    found = dict(zip(('precision', 'precision_differences'), rounding.tables(aurocs), strict=True))
    for name, table in found.items():
        files.write_tsv(workdir / f'{name}.tsv', table.rows, table.columns)
    print()
    console.print_tables(found)


if __name__ == '__main__':
    cli.run(main)
