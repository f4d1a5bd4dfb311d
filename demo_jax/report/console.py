"""The printed output of the commands: tables, and the time and memory that they took (edge)."""

import resource
import sys
from collections.abc import Mapping

from demo_jax.evaluation.table import Table
from demo_jax.report.tables import format_table

#: The maximal number of rows to print of a table with a row per model; the file has all rows.
MOST_ROWS = 40


def print_tables(tables: Mapping[str, Table]) -> None:
    """Print tables as aligned text, long ones cut short."""
    for name, table in tables.items():
        if not table.rows or table.printed == ():
            continue
        columns = table.columns if table.printed is None else table.printed
        rows = table.rows[:MOST_ROWS]
        print()
        print(format_table(rows, columns, title=table.title or name))
        if len(table.rows) > len(rows):
            print(f'... {len(table.rows) - len(rows)} more rows in the file')


def cost(**seconds: float) -> str:
    """How long each stage took in this call, in seconds, and the largest memory this process held, in GB."""
    # getrusage counts in kilobytes on Linux and in bytes on macOS.
    unit = 1 if sys.platform == 'darwin' else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    parts = [f'{name} {value:.0f} s' for name, value in seconds.items()]
    return f'{", ".join(parts)}; peak memory {peak:.2f} GB'
