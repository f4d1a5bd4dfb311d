"""The printed output of the commands: tables, and the time and memory that they took (edge)."""

import resource
import sys
from collections.abc import Mapping

from demo_jax.evaluation.compare import TABLE3_PRINTED, Table
from demo_jax.report.tables import format_table

_TITLES = {
    'auroc': 'Test AUROC per model (95% interval over positive/shuffle pairs)',
    'table2': 'Table 2: test AUROC over tasks',
    'table3': 'Table 3: paired comparisons over tasks',
    'table3_pairs': 'Table 3 over the tasks in which only the spacing of two motifs tells',
    'table3_single': 'Table 3 over the tasks with one motif',
    'published': 'Per task: the spec with the best validation AUROC, beside DeepBind as published',
    'ensemble': 'Ensembles: scores averaged over seeds',
    'published_ensemble': 'Ensembles beside DeepBind as published',
    'table4': "Table 4: motifs that match the TF's own JASPAR matrix, beside chance and the paper",
    'truth_mean': 'Truth: planted sites found, means over tasks (correctly classified positives)',
}
_PRINTED = {
    'auroc': ('task', 'spec', 'seed', 'valid_auroc', 'test_auroc', 'test_auroc_low', 'test_auroc_high', 'best_epoch'),
    'ensemble': ('task', 'spec', 'test_auroc', 'test_auroc_low', 'test_auroc_high'),
    'table3': TABLE3_PRINTED,
    'table3_pairs': TABLE3_PRINTED,
    'table3_single': TABLE3_PRINTED,
    'truth_mean': ('spec', 'method', 'n_tasks', 'n_sites', 'auprc', 'auprc_chance', 'recall', 'recall_chance', 'whole'),
}
#: Tables that are written but not printed: one row per task, spec and method.
_LONG = ('table4_tasks', 'truth')
#: The maximal number of rows to print of a table with a row per model; the file has all rows.
MOST_ROWS = 40


def print_tables(tables: Mapping[str, Table]) -> None:
    """Print tables as aligned text, long ones cut short."""
    for name, table in tables.items():
        if not table.rows or name in _LONG:
            continue
        columns = _PRINTED.get(name, table.columns)
        rows = table.rows[:MOST_ROWS]
        print()
        print(format_table(rows, columns, title=_TITLES.get(name, name)))
        if len(table.rows) > len(rows):
            print(f'... {len(table.rows) - len(rows)} more rows in the file')


def cost(**seconds: float) -> str:
    """How long each stage took in this call, in seconds, and the largest memory this process held, in GB."""
    # getrusage counts in kilobytes on Linux and in bytes on macOS.
    unit = 1 if sys.platform == 'darwin' else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    parts = [f'{name} {value:.0f} s' for name, value in seconds.items()]
    return f'{", ".join(parts)}; peak memory {peak:.2f} GB'
