"""The files of a run directory of unknown origin, checked before anything is done with them (edge: touches the disk).

A run directory may come from someone else. Before it is used, these checks make sure that task and spec names are safe
file names, that settings and parameters have the expected types and shapes, and that no link leads outside the run:
through such a link a stage would read or write other files.
"""

import functools
import json
import math
import os
import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, get_type_hints

import numpy as np

from demo_jax.io import arrays, files
from demo_jax.runs import done
from demo_jax.data.corpus import clean_name
from demo_jax.errors import InputError, brief
from demo_jax.io.settings import updated
from demo_jax.training.jobs import Job

#: What stands in a config beside its sections.
_SINGLE = ('specs', 'seeds', 'folds', 'fold_by', 'learning_rates', 'dropouts', 'checkpoint_seconds', 'deepbind')
_NUMBER = {int: r'-?[0-9]{1,18}', float: r'[-+0-9.eE]{1,30}'}


class StoredModel(NamedTuple):
    """The contents of a model's file.

    Attributes:
      facts: by name, of the kinds that were asked for.
      history: float64 (E, columns), a row per epoch.
      params: the parameters of its spec, any pytree of arrays; None where training diverged.
    """

    facts: dict[str, Any]
    history: np.ndarray
    params: Any


def check_links(folder: str | os.PathLike) -> None:
    """See that nothing in a run directory leads out of it, and that there are only files and folders.

    Raises:
      InputError: a symbolic link does, or something is a pipe or device; the message names it.
    """
    try:
        stray = files.stray_entry(folder)
    except OSError as error:
        raise InputError(f'{folder}: cannot be read ({error.strerror})') from error
    if stray is not None:
        what = 'link that leads out of the run directory' if stray.is_symlink() else 'pipe or device'
        raise InputError(f'{stray}: is a {what}; put a file or folder in its place')


def read_own(path: str | os.PathLike) -> dict[str, Any] | None:
    """The contents of motifs/own.json: the JASPAR release, each task's own matrices and TF; None where it is missing.

    Raises:
      InputError: it cannot be read, or is something else.
    """
    if not os.path.isfile(path):
        return None
    own = files.read_json(path)
    if not (
        isinstance(own, dict)
        and isinstance(own.get('release'), str)
        and isinstance(own.get('tasks'), dict)
        and all(_texts(ids) for ids in own['tasks'].values())
        and _texts(own.get('notes', []))
        and isinstance(own.get('proteins', {}), dict)
    ):
        raise InputError(f'{path}: is not what the stage match writes; run it again')
    return own


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def read_match_settings(folder: str | os.PathLike) -> dict[str, Any]:
    """The settings that the stage match has made a run's `motifs/` with; none where it has not run.

    Raises:
      InputError: they cannot be read, or are something else.
    """
    records, path = done.Records(folder), os.path.join(folder, 'complete.json')
    found: dict[str, Any] = {}
    for made in (records.made('motifs'), records.made('hits')):
        found |= dict(made.settings) if made else {}
    if not found and os.path.isfile(path):  # of an older version
        state = files.read_json(path)
        state = state if isinstance(state, dict) else {}
        found = {name: state[name] for name in ('hit_p_value',) if name in state}
        found |= state['settings'] if isinstance(state.get('settings'), dict) else {'': state}
    p_value = found.get('hit_p_value', 0.5)
    if not isinstance(p_value, float) or not all(isinstance(value, str | int | float) for value in found.values()):
        raise InputError(f'{path}: is not what the stage match writes; run it again')
    if not 0 < p_value < 1:
        raise InputError(f'{folder}: hit_p_value is {brief(p_value)}, expected a number above 0 and below 1')
    return found


def read_facts(path: str | os.PathLike, form: str, version: int) -> dict[str, Any]:
    """The contents of run.json.

    Args:
      path: the file.
      form, version: what it must say of itself.

    Raises:
      InputError: it is of something else, or its tasks are not distinct printable names.
    """
    facts = files.read_json(path)
    if not isinstance(facts, dict) or facts.get('format') != form or facts.get('version') != version:
        raise InputError(f'{path}: is not of a {form}, version {version}')
    for name, kind in (('fingerprint', str), ('tasks', list), ('versions', dict)):
        if not isinstance(facts.get(name), kind):
            raise InputError(f'{path}: {name} is {brief(facts.get(name))}, expected a {kind.__name__}')
    tasks = facts['tasks']
    for task in tasks:
        if not isinstance(task, str) or clean_name(task) != task:
            raise InputError(f'{path}: tasks holds {brief(task)}, expected printable names')
    if len(set(tasks)) < len(tasks):
        raise InputError(f'{path}: tasks names one task twice')
    return facts


def read_config(path: str | os.PathLike) -> dict[str, Any]:
    """The contents of config.json, with settings where this version has them; they are checked where they are used.

    Raises:
      InputError: it is not an object, or something in it that is no single setting is not.
    """
    config = files.read_json(path)
    if not isinstance(config, dict):
        raise InputError(f'{path}: is {brief(config)}, expected settings by name')
    for section in config:
        if section not in _SINGLE and not isinstance(config[section], dict):
            raise InputError(f'{path}: {brief(section)} is {brief(config[section])}, expected settings by name')
    average = config.get('recipe', {}).get('average_strands', False)
    if not isinstance(average, bool):
        raise InputError(f'{path}: recipe: average_strands is {brief(average)}, expected true or false')
    return updated(config).config


#: Columns that older job tables lack, and what they stand for there.
_LATER_COLUMNS = {'fold': '0'}


def read_jobs(path: str | os.PathLike, own_specs: Collection[str] | bool = ()) -> tuple[Job, ...]:
    """The job table.

    Args:
      path: the file.
      own_specs: architectures of somebody's own ('module:name') that may be imported; True: all.

    Raises:
      InputError: a column is missing or unknown, a cell is of the wrong kind, an index is not its row's number, or
        there is no such spec or it may not be imported; the message names the line.
    """
    kinds = get_type_hints(Job)
    try:
        rows = files.read_tsv(path, [name for name in kinds if name not in _LATER_COLUMNS])
        rows = [{**_LATER_COLUMNS, **row} for row in rows]
        if rows and set(rows[0]) != set(kinds):
            raise InputError(f'unknown columns {brief(sorted(set(rows[0]) - set(kinds)))}')
        if not rows:
            raise InputError('it holds no jobs')
        return tuple(_job(number, row, kinds, own_specs) for number, row in enumerate(rows))
    except InputError as error:
        if isinstance(error.__cause__, OSError):
            raise
        reason = str(error).removeprefix(f'{path}: ')
        raise InputError(f'{path}: is not a job table ({reason})') from error


def _job(number: int, row: Mapping[str, str], kinds: Mapping[str, Any], own_specs: Collection[str] | bool) -> Job:
    """The job in a row of the table; InputError without the file's name."""
    from demo_jax.nn.architecture import resolve
    from demo_jax.nn.deepbind import PUBLISHED
    from demo_jax.nn.models import SPECS

    values: dict[str, Any] = {}
    for name, kind in kinds.items():
        try:
            value = kind(row[name]) if re.fullmatch(_NUMBER.get(kind, '.+'), row[name]) else None
        except ValueError:
            value = None
        if value is None or (kind is float and not math.isfinite(value)):
            raise InputError(f'line {number + 2}: {name} is {brief(row[name])}, expected {kind.__name__}')
        values[name] = value
    job = Job(**values)
    if job.index != number:
        raise InputError(f'line {number + 2}: index is {job.index}, expected {number}')
    if job.spec not in SPECS and job.spec != PUBLISHED:
        # To import a module is to run it, and a run may come from anywhere: only what the user named is imported.
        allowed = own_specs if isinstance(own_specs, bool) else job.spec in own_specs
        if ':' in job.spec and not allowed:
            raise InputError(
                f'line {number + 2}: spec {brief(job.spec)} is not of this package; to have it imported, name it '
                '(--specs or --own_specs, or load_run(path, own_specs=True))'
            )
        try:
            resolve(job.spec)
        except InputError as error:
            raise InputError(f'line {number + 2}: {error}') from error
    if clean_name(job.task) != job.task:
        raise InputError(f'line {number + 2}: task is {brief(job.task)}, expected a printable name')
    return job


def read_model(
    path: str | os.PathLike, kinds: Mapping[str, Any], columns: int, spec: str | None = None,
    later: Mapping[str, Any] = MappingProxyType({}),
) -> StoredModel:
    """A model's file.

    Args:
      path: the file.
      kinds: the facts it must hold, name -> int, float or str.
      columns: of its history.
      spec: whose parameters it must hold; None: any.
      later: facts that files of older versions lack, with the values that these have.

    Raises:
      InputError: it is missing or damaged, or holds something else.
    """
    stored = arrays.read_npz(path)
    try:
        facts = json.loads(str(stored.pop('facts')))
        history = stored.pop('history')
    except (KeyError, ValueError, RecursionError) as error:
        raise InputError(f'{path}: cannot be read ({brief(" ".join(str(error).split()))})') from error
    facts = {**later, **facts} if isinstance(facts, dict) else facts
    if not isinstance(facts, dict) or set(facts) != set(kinds):
        raise InputError(f'{path}: cannot be read (its facts are {brief(facts)}, expected {", ".join(kinds)})')
    for name, kind in kinds.items():
        good = (int, float) if kind is float else kind
        if not isinstance(facts[name], good) or isinstance(facts[name], bool):
            raise InputError(f'{path}: cannot be read ({name} is {brief(facts[name])}, expected {kind.__name__})')
    if history.dtype != np.float64 or history.ndim != 2 or history.shape[1] != columns:
        raise InputError(f'{path}: cannot be read (its history has shape {history.shape}, expected {columns} columns)')
    params: dict[str, np.ndarray] = {}
    for key, array in stored.items():
        kind, slash, place = key.partition('/')
        if kind != 'params' or not slash or array.dtype.kind not in 'fiu':
            raise InputError(f'{path}: cannot be read (array {brief(key)} is no parameter)')
        params[place] = array
    return StoredModel(facts, history, _in_place(path, params, spec) if params else None)


def _in_place(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], spec: str | None) -> Any:
    """Named arrays as the pytree that the spec's parameters are; without a spec as nested dictionaries."""
    import jax

    from demo_jax.nn.architecture import named_leaves, parameter_shapes, resolve

    if spec is None:
        nested: dict[str, Any] = {}
        for name, array in arrays.items():
            *layers, last = name.split('/')
            functools.reduce(lambda level, layer: level.setdefault(layer, {}), layers, nested)[last] = array
        return nested
    tree = parameter_shapes(resolve(spec))
    expected = named_leaves(tree)
    for name in sorted(set(arrays) | set(expected)):
        found, wanted = (_shape(named.get(name)) for named in (arrays, expected))
        if found != wanted:
            raise InputError(
                f'{path}: cannot be read ({brief(name)} is {found or "missing"}, {spec} has '
                f'{wanted or "no such parameter"})'
            )
    return jax.tree.unflatten(jax.tree.structure(tree), [arrays[name] for name in expected])


def _shape(array: Any) -> str:
    """'(9, 4, 64)', with the kind of number where it is not float32; '' of None."""
    if array is None:
        return ''
    return f'{tuple(array.shape)}{"" if array.dtype == np.float32 else f" {array.dtype}"}'
