"""From sections of a config to the dataclasses of settings that the stages take (pure)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from demo_jax.errors import InputError


def settings(cls: type, values: Mapping[str, Any], section: str) -> Any:
    """A dataclass of settings from a section of the config.

    Where the default is a tuple, lists (as JSON stores them) are tuples too.

    Raises:
      InputError: an unknown key, or a value of another type than the default's.
    """
    known = {field.name: field for field in dataclasses.fields(cls)}
    checked = {}
    for name, value in values.items():
        if name not in known:
            raise InputError(f'{section}: unknown setting {name!r}; it has {", ".join(known)}')
        default = known[name].default
        if isinstance(default, tuple) and isinstance(value, list):
            value = tuple(value)
        good = (int, float) if isinstance(default, float) else type(default)
        as_bool = isinstance(value, bool) == isinstance(default, bool)
        if default is not None and not (isinstance(value, good) and as_bool):
            raise InputError(f'{section}: {name} is {value!r}, expected {type(default).__name__}')
        checked[name] = value
    return cls(**checked)
