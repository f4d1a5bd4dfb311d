"""Tables as aligned plain text, for the terminal (edge).

Not pandas' `to_string`: it breaks no headers, so tables of short numbers under long names do not fit a terminal; it
shortens no words in the middle, sets words to the right, and prints 0.000 for small numbers of a column.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_GAP = '  '
_SHORTEST_TEXT = 12
_UNBROKEN_HEADER = 8


def format_table(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    title: str = '',
    width: int = 120,
    precision: int = 3,
) -> str:
    """Rows as aligned text: numbers are right-aligned and rounded, words are left-aligned.

    Cells may be numbers or their text, as `files.read_tsv` returns them. p-values (columns with the word `p` in their
    name, such as `p_holm`) are scientific with three digits. Columns of whole numbers stay whole. Other numbers have
    `precision` decimals, or are scientific if that would print a zero. None, NaN or an empty cell is '-'. Headers break
    at underscores. If a line is longer than `width`, words are shortened in the middle ('ARID3A_K5...Stanford'), the
    longest column first. Numbers are never cut, so a table of many numbers may still exceed `width`.

    Args:
      rows: mappings from column to cell; keys outside `columns` are ignored.
      columns: names, in order.
      title: a line above the table; none by default.
      width: characters of the longest line.
      precision: decimals of numbers that are not whole, e.g. 3 for an AUROC of 0.925.

    Returns:
      The text, without a line end after the last line.
    """
    rows = list(rows)
    bodies, numeric = [], []
    for column in columns:
        cells = [row.get(column) for row in rows]
        numbers = [_number(cell) for cell in cells]
        numeric.append(
            any(number is not None for number in numbers)
            and all(number is not None or _missing(cell) for number, cell in zip(numbers, cells, strict=True))
        )
        if numeric[-1]:
            bodies.append(_format_numbers(numbers, 'p' in column.split('_'), precision))
        else:
            bodies.append(['-' if _missing(cell) else ' '.join(str(cell).split()) for cell in cells])

    longest = [max(map(len, body), default=0) for body in bodies]
    headers = [_break_header(column, size) for column, size in zip(columns, longest, strict=True)]
    header_widths = [max(map(len, header)) for header in headers]
    sizes = [max(pair) for pair in zip(longest, header_widths, strict=True)]
    shortest = [
        size if is_number else max(_SHORTEST_TEXT, head)
        for size, is_number, head in zip(sizes, numeric, header_widths, strict=True)
    ]
    while sum(sizes) + len(_GAP) * (len(sizes) - 1) > width:
        cuttable = [index for index, size in enumerate(sizes) if size > shortest[index]]
        if not cuttable:
            break
        sizes[max(cuttable, key=lambda index: sizes[index])] -= 1

    height = max(map(len, headers), default=0)
    lines = [[''] * (height - len(header)) + header for header in headers]  # short headers stand at the bottom
    table = [*zip(*lines, strict=True), tuple('-' * size for size in sizes), *zip(*bodies, strict=True)]
    text = [title] if title else []
    for row in table:
        cells = [
            shorten(cell, size).rjust(size) if is_number else shorten(cell, size).ljust(size)
            for cell, size, is_number in zip(row, sizes, numeric, strict=True)
        ]
        text.append(_GAP.join(cells).rstrip())
    return '\n'.join(text)


def shorten(text: str, size: int) -> str:
    """The text with its middle replaced by '...' so that it has at most `size` characters (at least 5)."""
    if len(text) <= size:
        return text
    n_kept = max(size, 5) - 3
    head = (n_kept + 1) // 2
    return f'{text[:head]}...{text[len(text) - (n_kept - head) :]}'


def _missing(cell: Any) -> bool:
    return cell is None or cell == '' or (isinstance(cell, float) and math.isnan(cell))


def _number(cell: Any) -> float | None:
    """The number in a cell, or None if there is none (also for NaN)."""
    if _missing(cell) or (isinstance(cell, str) and '_' in cell):
        return None
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(value) else value


def _format_numbers(numbers: Sequence[float | None], is_p: bool, precision: int) -> list[str]:
    known = [number for number in numbers if number is not None]
    whole = all(number.is_integer() for number in known) and not is_p

    def one(number: float | None) -> str:
        if number is None:
            return '-'
        if is_p:
            return f'{number:.2e}'
        if whole:
            return f'{number:.0f}'
        text = f'{number:.{precision}f}'
        return f'{number:.1e}' if number and not float(text) else text

    return [one(number) for number in numbers]


def _break_header(column: str, size: int) -> list[str]:
    """The header in lines no longer than the cells below it, its own longest word, or `_UNBROKEN_HEADER`."""
    words = [f'{word}_' for word in column.split('_')]
    words[-1] = words[-1][:-1]
    limit = max([size, _UNBROKEN_HEADER, *map(len, words)])
    lines = ['']
    for word in words:
        if len(lines[-1]) + len(word) <= limit:
            lines[-1] += word
        else:
            lines.append(word)
    return lines
