"""The page: one folder that opens from disk, without a server and without a network (edge: touches the disk).

FOLDER/
  index.html, *.js, style.css   the same for every run
  data/run.js                   the overview
  data/task-0000.js             one per task, loaded when it is opened
  data/models-0000.js           the weights of its models, loaded when they are asked

The page of published models is such a folder, too, with other scripts, and data/library.js.
"""

import importlib.resources
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from demo_jax.io import files

#: In the order of loading.
SCRIPTS = (
    'base.js',
    'draw.js',
    'overview.js',
    'found.js',
    'grammar.js',
    'task.js',
    'viewer.js',
    'model.js',
    'change.js',
    'app.js',
)
ASSETS = ('index.html', 'style.css', *SCRIPTS)
#: The same of the page of published models.
LIBRARY_SCRIPTS = ('base.js', 'draw.js', 'library.js')
LIBRARY_ASSETS = ('index.html', 'style.css', *LIBRARY_SCRIPTS)
_UNSAFE = {'<': '\\u003c', '>': '\\u003e', '&': '\\u0026', '\u2028': '\\u2028', '\u2029': '\\u2029'}


def asset(name: str) -> str:
    """The text of a file of `page_files`."""
    return importlib.resources.files('demo_jax.report').joinpath('page_files', name).read_text(encoding='utf-8')


def script(key: str, value: Any) -> str:
    """A script that hands a value to the page. Names in the value are escaped, so that they cannot run as code.

    Raises:
      ValueError: a number that JSON does not have (NaN, infinity).
    """
    key, text = json.dumps(key), json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(',', ':'))
    for character, escaped in _UNSAFE.items():
        key, text = key.replace(character, escaped), text.replace(character, escaped)
    return f'demo.receive({key},{text});\n'


def task_key(place: int) -> str:
    """The name of a task's data file: its index in the corpus, since task names may contain any character."""
    return f'task-{place:04d}'


def index_page(scripts: Sequence[str]) -> str:
    """The text of index.html, which loads these scripts in this order."""
    lines = '\n'.join(f'<script src="{name}"></script>' for name in scripts)
    return asset('index.html').replace('<!-- scripts -->', lines)


def write_assets(folder: pathlib.Path) -> None:
    """Write the files that are the same for every run, unless they are there already."""
    _write(folder, ASSETS, SCRIPTS)


def _write(folder: pathlib.Path, assets: Sequence[str], scripts: Sequence[str]) -> None:
    for name in assets:
        text = index_page(scripts) if name == 'index.html' else asset(name)
        path = folder / name
        if not path.is_file() or path.read_text(encoding='utf-8') != text:
            files.write_text(path, text)


def write_run(folder: pathlib.Path, payload: Mapping[str, Any]) -> None:
    """Write the overview's data."""
    files.write_text(folder / 'data' / 'run.js', script('run', payload))


def write_task(folder: pathlib.Path, place: int, payload: Mapping[str, Any]) -> None:
    """Write one task's data."""
    key = task_key(place)
    files.write_text(folder / 'data' / f'{key}.js', script(key, payload))


def write_models(folder: pathlib.Path, place: int, payload: Mapping[str, Any] | None) -> pathlib.Path | None:
    """Write the weights of a task's models and return the file; None = there are none, and an older file goes."""
    key = f'models-{place:04d}'
    path = folder / 'data' / f'{key}.js'
    if payload is None:
        path.unlink(missing_ok=True)
        return None
    files.write_text(path, script(key, payload))
    return path


def write_library(folder: pathlib.Path, payload: Mapping[str, Any]) -> pathlib.Path:
    """Write the page of published models (see `stages.deepbind`); returns the file to open."""
    _write(folder, LIBRARY_ASSETS, LIBRARY_SCRIPTS)
    files.write_text(folder / 'data' / 'library.js', script('library', payload))
    return folder / 'index.html'
