"""The sections of a config, made from the dataclasses of settings: names, defaults and meanings are written there."""

import dataclasses
import types
import typing
from typing import Any

from ml_collections import ConfigDict, config_dict

from demo_jax.io.settings import fields


def section(*classes: type, **ours: Any) -> ConfigDict:
    """The settings of some dataclasses as one section of a config.

    A tuple whose field says so (metadata `commas`) is text with commas between its parts.

    Args:
      *classes: dataclasses of settings; every field has a default.
      **ours: settings that differ from the defaults.

    Raises:
      KeyError: there is no setting of such a name.
    """
    made = ConfigDict()
    for cls in classes:
        hints = typing.get_type_hints(cls)
        for field in fields(cls):
            made[field.name] = _value(field, hints[field.name])
    unknown = set(ours) - set(made)
    if unknown:
        raise KeyError(f'no settings {", ".join(sorted(unknown))}; there are {", ".join(made)}')
    made.update(ours)
    return made


def _value(field: dataclasses.Field, hint: Any) -> Any:
    default: Any = field.default
    if dataclasses.is_dataclass(default):
        return section(type(default))
    if default is None:  # one setting or none: its kind is in the annotation alone
        (kind,) = (kind for kind in typing.get_args(hint) if kind is not types.NoneType)
        return config_dict.placeholder(kind)
    return ','.join(default) if field.metadata.get('commas') else default
