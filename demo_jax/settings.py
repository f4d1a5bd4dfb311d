"""From sections of a config to the dataclasses of settings that the stages take (pure)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from demo_jax.errors import InputError, brief


def settings(cls: type, values: Mapping[str, Any], section: str) -> Any:
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
        if name not in known:
            raise InputError(f'{section}: unknown setting {brief(name)}; it has {", ".join(known)}')
        checked[name] = _checked(value, known[name].default, f'{section}: {name}')
    return cls(**checked)


def _checked(value: Any, default: Any, where: str) -> Any:
    """The value as the default's type; InputError if it is of another."""
    if default is None:
        return value
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
