"""Writing that never leaves half a file behind, and the tables (edge: touches the disk)."""

import contextlib
import csv
import hashlib
import json
import math
import os
import pathlib
import shutil
import tempfile
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from demo_jax.errors import InputError


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A temporary file beside `path` that takes its name when the block ends without an error.

    The data are flushed to the disk before the rename, so after a crash `path` is either the old
    file or the whole new one. On an error the temporary file is removed and `path` is untouched.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name[:80]}.', suffix='.tmp')
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o644)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A temporary directory that takes the name `path` when the block ends without an error.

    A directory already at `path` is replaced. On an error nothing is left and `path` is untouched.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(dir=path.parent, prefix=f'.{path.name[:80]}.', suffix='.tmp'))
    try:
        yield temporary
        os.chmod(temporary, 0o755)
        for file in temporary.rglob('*'):
            if file.is_file():
                _sync(file)
        if path.exists():
            old = path.with_name(f'.{path.name[:80]}.old')
            shutil.rmtree(old, ignore_errors=True)
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(temporary, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(path: pathlib.Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write a JSON file atomically: two spaces of indent, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + '\n')


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file.

    Raises:
      InputError: the file is missing or is not JSON; the message names the file.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    except ValueError as error:
        raise InputError(f'{path}: is not valid JSON ({error})') from error


def format_cell(value: Any) -> str:
    """A table cell: floats with 6 significant digits, None and NaN empty, no tab or line end."""
    if value is None:
        return ''
    if isinstance(value, bool):
        return str(int(value))
    if hasattr(value, 'item'):
        value = value.item()
    if isinstance(value, float):
        return '' if math.isnan(value) else f'{value:.6g}'
    return ' '.join(str(value).split())


def write_tsv(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows (mappings) as a TSV with a header, atomically.

    Cells are formatted by `format_cell`; a row with a key outside `columns` is a programming error
    and raises KeyError.
    """
    known = set(columns)
    lines = ['\t'.join(columns)]
    for row in rows:
        extra = set(row) - known
        if extra:
            raise KeyError(f'{path}: columns {sorted(extra)} are not in the header {list(columns)}')
        lines.append('\t'.join(format_cell(row.get(column)) for column in columns))
    write_text(path, '\n'.join(lines) + '\n')


def read_tsv(path: str | os.PathLike) -> list[dict[str, str]]:
    """Read a TSV with a header as a list of dictionaries of strings.

    Raises:
      InputError: the file is missing, or a row has another number of cells than the header.
    """
    try:
        with open(path, encoding='utf-8', newline='') as handle:
            table = list(csv.reader(handle, delimiter='\t', quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    if not table:
        raise InputError(f'{path}: is empty, expected a TSV with a header')
    header, *rows = table
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise InputError(f'{path}: line {number} has {len(row)} cells, the header has {len(header)}')
    return [dict(zip(header, row, strict=True)) for row in rows]


def safe_name(name: str) -> str:
    """A task's name as a file or folder name: 'a/b' -> 'a%2Fb'. Ordinary names stay as they are.

    Letters, digits and `_.-~()+,=@` are kept, all else is percent-encoded as UTF-8, and so is a leading dot.
    Names that would be longer than 150 characters are cut and end in '~' and 12 digits of their sha256.
    """
    text = urllib.parse.quote(name, safe='()+,=@', errors='backslashreplace')
    if text.startswith('.') or not text:
        text = f'%2E{text[1:]}'
    if len(text) > 150:
        text = f'{text[:137]}~{hashlib.sha256(text.encode()).hexdigest()[:12]}'
    return text


def sha256(path: str | os.PathLike) -> str:
    """The sha256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, 'rb') as handle:
        return hashlib.file_digest(handle, 'sha256').hexdigest()
