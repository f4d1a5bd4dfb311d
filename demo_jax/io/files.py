"""Atomic writing, tables, and reading with size limits (edge: touches the disk)."""

import contextlib
import hashlib
import io
import json
import math
import os
import pathlib
import secrets
import shutil
import stat
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from demo_jax.errors import InputError, brief
from demo_jax.io.filekinds import HEAD, check_kind

#: Bytes of the largest JSON file that is read; parsed, it may take twenty times as much memory.
MAX_JSON = 32_000_000
#: Bytes of a table's longest line.
MAX_TABLE_LINE = 10_000_000
#: Rows and cells of the largest table that is read.
MAX_ROWS, MAX_CELLS = 2_000_000, 8_000_000

# Temporary files are private (0600) and get the usual mode of a new file when they are renamed. Reading the umask
# requires setting it, which is not thread-safe, so do it once at import.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A temporary file beside `path` that is renamed to `path` when the block ends without an error.

    The data are flushed to the disk before the rename, so after a crash `path` is either the old file or the complete
    new one. On an error the temporary file is removed and `path` is unchanged. Before the rename, no other user can
    read the file (mode 0600).
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:  # a signal may come as soon as the file is there
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        yield temporary
        os.chmod(temporary, 0o666 & ~_UMASK)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A temporary directory that is renamed to `path` when the block ends without an error.

    An existing directory at `path` is replaced. On an error the temporary directory is removed and `path` is unchanged.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        temporary.mkdir(0o700)
        yield temporary
        os.chmod(temporary, 0o777 & ~_UMASK)
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


def _temporary(path: pathlib.Path) -> pathlib.Path:
    """An unused name beside `path`."""
    return path.with_name(f'.{path.name[:80]}.{secrets.token_hex(6)}.tmp')


def clear_leftovers(folder: pathlib.Path) -> None:
    """Remove the half-written files of killed processes below a folder that no other process writes to.

    A directory that was moved away to be replaced is put back if its replacement is missing.
    """
    for old in list(folder.rglob('.*.old')):
        place = old.with_name(old.name[1 : -len('.old')])
        if old.is_dir() and not old.is_symlink() and len(place.name) < 80 and not os.path.lexists(place):
            os.replace(old, place)
    for pattern in ('.*.tmp', '.*.old'):
        for path in list(folder.rglob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _sync(path: pathlib.Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text atomically. What UTF-8 cannot encode (half a surrogate pair) is written as `\\udc80`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding='utf-8', errors='backslashreplace', newline='\n')


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write a JSON file atomically: two spaces of indent, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + '\n')


def expanded(path: str) -> str:
    """A path from the command line, with `~` or `~USER` at its beginning replaced by that home directory.

    A shell expands `~` only at the beginning of a word, so not in `--run=~/runs/mine`. In NAME=PATH it is expanded at
    the beginning of PATH. Write `./~` for a folder that is called `~`.

    Raises:
      InputError: there is no such user, or the home directory is not known.
    """
    name, equals, rest = path.partition('=')
    if equals and '/' not in name and rest.startswith('~'):
        return f'{name}={expanded(rest)}'
    found = os.path.expanduser(path)
    if found.startswith('~'):
        raise InputError(f'{path}: no home directory of {brief(path.partition("/")[0])} is known')
    return found


def open_input(path: str | os.PathLike) -> io.BufferedReader:
    """Open a file of unknown origin for reading bytes.

    Only regular files are opened: a pipe or device could block the program, or never end.

    Raises:
      InputError: there is no such file, it cannot be read, or it is a directory, a pipe, a device or a loop of
        links; the message names it.
    """
    try:
        # Without O_NONBLOCK, opening a pipe blocks until another process writes to it.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f'{os.fspath(path)}: cannot be read ({error.strerror})') from error
    except ValueError as error:  # a NUL character in the name
        raise InputError(f'{os.fspath(path)}: cannot be read ({error})') from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = 'directory' if stat.S_ISDIR(mode) else 'pipe' if stat.S_ISFIFO(mode) else 'device'
        raise InputError(f'{os.fspath(path)}: cannot be read (it is a {kind}, expected a file)')
    return os.fdopen(handle, 'rb')


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file of at most `MAX_JSON` bytes.

    Raises:
      InputError: the file is missing, too large, or is not JSON; the message names the file.
    """
    with open_input(path) as handle:
        try:
            data = handle.read(MAX_JSON + 1)
        except OSError as error:
            raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    if len(data) > MAX_JSON:
        raise InputError(f'{path}: has more than {MAX_JSON:,} bytes, the most that is read')
    try:
        return json.loads(data.decode('utf-8'))
    except RecursionError as error:
        raise InputError(f'{path}: is not valid JSON (nested too deeply)') from error
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

    Cells are formatted by `format_cell`; a row with a key outside `columns` is a programming error.

    Raises:
      KeyError: a row has a key that is not in `columns`.
    """
    known = set(columns)
    lines = ['\t'.join(columns)]
    for row in rows:
        extra = set(row) - known
        if extra:
            raise KeyError(f'{path}: columns {sorted(extra)} are not in the header {list(columns)}')
        lines.append('\t'.join(format_cell(row.get(column)) for column in columns))
    write_text(path, '\n'.join(lines) + '\n')


def read_tsv(path: str | os.PathLike, columns: Iterable[str] = ()) -> list[dict[str, str]]:
    """Read a TSV with a header as a list of dictionaries of strings.

    Args:
      path: the file: UTF-8, lines of at most `MAX_TABLE_LINE` bytes, at most `MAX_ROWS` rows and `MAX_CELLS`
        cells.
      columns: the header must have these.

    Raises:
      InputError: the file is missing or empty, is not UTF-8, is too large, has a column twice or lacks one, or a
        row has another number of cells than the header; the message names the line.
    """
    header: list[str] = []
    rows: list[dict[str, str]] = []
    with open_input(path) as handle:
        check_kind(path, handle.peek(HEAD)[:HEAD], 'table')
        for number, cells in enumerate(_cells(path, handle), start=1):
            if number == 1:
                header = [cells[0].removeprefix('\ufeff'), *cells[1:]]
                twice = [name for name in header if header.count(name) > 1] if len(set(header)) < len(header) else []
                lacking = [name for name in columns if name not in header]
                if twice or lacking:
                    wrong = f'column {brief(twice[0])} twice' if twice else f'no column {brief(lacking[0])}'
                    raise InputError(f'{path}: has {wrong}, its header is {brief(chr(9).join(header))}')
                continue
            if len(cells) != len(header):
                raise InputError(f'{path}: line {number} has {len(cells)} cells, the header has {len(header)}')
            rows.append(dict(zip(header, cells, strict=True)))
            if number > MAX_ROWS or number * len(header) > MAX_CELLS:
                raise InputError(f'{path}: has more than {MAX_ROWS:,} rows or {MAX_CELLS:,} cells')
    if not header:
        raise InputError(f'{path}: is empty, expected a TSV with a header')
    return rows


def _cells(path: str | os.PathLike, handle: BinaryIO) -> Iterator[list[str]]:
    """The cells of each line of a table."""
    for number, line in enumerate(iter(lambda: handle.readline(MAX_TABLE_LINE + 1), b''), start=1):
        if len(line) > MAX_TABLE_LINE:
            raise InputError(f'{path}: line {number} has more than {MAX_TABLE_LINE:,} bytes')
        if b'\0' in line:
            raise InputError(f'{path}: line {number} has a NUL byte, expected text')
        try:
            yield line.removesuffix(b'\n').removesuffix(b'\r').decode('utf-8').split('\t')
        except UnicodeDecodeError as error:
            raise InputError(f'{path}: line {number} is not UTF-8 text ({error.reason})') from error


def stray_entry(folder: str | os.PathLike) -> pathlib.Path | None:
    """The first entry below a folder that is not part of it; None if there is none.

    Such an entry is a symbolic link that leads outside the folder or nowhere, or anything that is neither a file nor a
    folder (a pipe, a device). The folder itself may be a link. Links are not followed, so loops do no harm.
    """
    root = os.path.realpath(folder)
    left = [root]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_symlink():
                    target = os.path.realpath(entry.path)
                    if not os.path.exists(target) or os.path.commonpath([root, target]) != root:
                        return pathlib.Path(entry.path)
                elif entry.is_dir():
                    left.append(entry.path)
                elif not entry.is_file():
                    return pathlib.Path(entry.path)
    return None


def safe_name(name: str) -> str:
    """A task's name as a file or folder name: 'a/b' -> 'a%2Fb'. Ordinary names stay as they are.

    Letters, digits and `_.-~()+,=@` are kept; all other characters, and a leading dot, are percent-encoded as UTF-8.
    A result of more than 150 characters is cut, and ends in '~' and 12 digits of the sha256.
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
