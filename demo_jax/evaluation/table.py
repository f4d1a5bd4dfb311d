"""A table with all that is to be known of it: its file, its title, and how the console and the page show it (pure)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Column(NamedTuple):
    """A column on the page.

    Attributes:
      name: of the table's column.
      label: its heading; beside another value, the word before it.
      format: 'text', 'count', 'one' or 'three' decimals, 'signed' (three decimals with a sign), 'p' (a p-value), 'spec'
        (an architecture by its label), or 'tasks' (a dot for every task's test AUROC).
      where: leave it out of a table in which this column is empty throughout; '' = never leave it out.
    """

    name: str
    label: str
    format: str = 'text'
    where: str = ''


Note = Callable[[Sequence[Mapping[str, Any]], str | None], str]


class Figure(NamedTuple):
    """How a table stands on the page.

    Attributes:
      title: above it.
      columns: one row each of the table's; or with `by_method` what stands in a cell, the others in small behind the
        first.
      by_method: a row per method and a column per architecture, instead of a row per row.
      note: below it: text, or a function of the rows (numbers are numbers) and the JASPAR release.
      empty: what stands in its place where the table has no rows, as `note`; '' = nothing.
      wide: whether it takes the page's whole width.
    """

    title: str
    columns: tuple[Column, ...]
    by_method: bool = False
    note: str | Note = ''
    empty: str | Note = ''
    wide: bool = False


class Table(NamedTuple):
    """Rows, and what is to be known of them. One without rows says what such a table is like.

    Attributes:
      rows: column -> cell.
      columns: of the file, in order.
      name: the file is `tables/NAME.tsv`.
      title: on the console.
      printed: the columns that the console shows; None = all, () = it is not printed.
      figures: how the page shows it.
      needed: columns that figures and page cannot do without.
    """

    rows: list[dict[str, Any]]
    columns: tuple[str, ...]
    name: str = ''
    title: str = ''
    printed: tuple[str, ...] | None = None
    figures: tuple[Figure, ...] = ()
    needed: tuple[str, ...] = ()

    def of(self, rows: Sequence[Mapping[str, Any]]) -> 'Table':
        """Such a table with these rows."""
        return self._replace(rows=[dict(row) for row in rows])
