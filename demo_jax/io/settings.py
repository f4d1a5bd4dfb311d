"""Dataclasses of settings, and the sections of a config that are made from them and read into them (pure).

A setting's name, default and meaning are written once, in its dataclass: configs, flags and checks derive from it.
"""

import dataclasses
import inspect
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from demo_jax.errors import InputError, brief

#: Settings that older versions had in another section: (section, name) -> where they are now.
MOVED: Mapping[tuple[str, str], tuple[str, str]] = {('dashboard', 'hit_p_value'): ('match', 'hit_p_value')}
#: Metadata of a field that no config has: it is for callers in Python alone.
PYTHON_ONLY = {'in_config': False}


def read_settings(cls: type, values: Mapping[str, Any], section: str) -> Any:
    """A dataclass of settings from a section of the config.

    Where the default is a tuple, lists (as JSON stores them) are tuples too; where it is a float, whole numbers are
    floats. Names in a tuple must be of the type of the default's first, or text where the default is empty.

    Args:
      cls: the dataclass; every field has a default.
      values: name -> value.
      section: what messages call it.

    Raises:
      InputError: `values` is no mapping, or holds an unknown key or a value of another type than the default's.
    """
    if not isinstance(values, Mapping):
        raise InputError(f'{section} is {brief(values)}, expected settings by name')
    known = {field.name: field for field in dataclasses.fields(cls)}
    checked = {}
    for name, value in values.items():
        if (section, name) in MOVED:
            raise InputError(f'{section}: {name} is now {".".join(MOVED[section, name])}')
        if name not in known:
            raise InputError(f'{section}: unknown setting {brief(name)}; it has {", ".join(known)}')
        checked[name] = _checked(value, known[name].default, f'{section}: {name}')
    return cls(**checked)


class Updated(NamedTuple):
    """A config with every setting in the section where it is now, and a note for each that has moved."""

    config: dict[str, Any]
    notes: tuple[str, ...]


def updated(config: Mapping[str, Any]) -> Updated:
    """The config of an older version as this one has it; what it says under a setting's present name comes first.

    Args:
      config: section -> its settings by name, beside single settings.
    """
    now, notes = dict(config), []
    for (section, name), (new_section, new_name) in MOVED.items():
        if name not in now.get(section, {}):
            continue
        value = now[section][name]
        now[section] = {key: one for key, one in now[section].items() if key != name}
        now[new_section] = {new_name: value} | now.get(new_section, {})
        notes.append(f'the setting {section}.{name} ({brief(value)}) is now {new_section}.{new_name}')
    return Updated(now, tuple(notes))


def fields(cls: type) -> tuple[dataclasses.Field, ...]:
    """The fields of a dataclass of settings that a config has, in order."""
    return tuple(field for field in dataclasses.fields(cls) if field.metadata.get('in_config', True))


def meanings(cls: type) -> dict[str, str]:
    """What the docstring of a dataclass says of each of its fields; '' of a field that it does not name.

    Read are the lines below 'Attributes:', each 'name: text' or 'name, other name: text', with further lines indented.
    """
    found = {field.name: '' for field in dataclasses.fields(cls)}
    lines = inspect.cleandoc(cls.__doc__ or '').partition('Attributes:\n')[2]
    for entry in re.split(r'\n(?=  \S)', lines):
        names, _, text = entry.strip().partition(': ')
        found |= {name: ' '.join(text.split()) for name in re.split(', ?', names) if name in found}
    return found


def _checked(value: Any, default: Any, where: str) -> Any:
    """The value as the default's type; InputError if it is of another."""
    if default is None or (dataclasses.is_dataclass(default) and isinstance(value, type(default))):
        return value
    if dataclasses.is_dataclass(default):
        return read_settings(type(default), value, where.rpartition(': ')[2])
    wrong = InputError(f'{where} is {brief(value)}, expected {type(default).__name__}')
    if isinstance(default, tuple):
        if not isinstance(value, tuple | list):
            raise wrong
        example = default[0] if default else ''
        return tuple(_checked(item, example, f'{where}[{place}]') for place, item in enumerate(value))
    if isinstance(value, bool) != isinstance(default, bool):
        raise wrong
    if isinstance(default, float) and isinstance(value, int):
        try:
            return float(value)
        except OverflowError:
            raise wrong from None
    if not isinstance(value, type(default)):
        raise wrong
    return value
