"""Print every setting of a config's sections, with its default and its meaning: `python -m configs`."""

import contextlib
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from configs import default
from demo_jax.io.settings import fields, meanings


def described() -> str:
    """Every setting as `--config.` takes it, with the value of `configs/default.py` and what it means."""
    config = default.get_config()
    lines = [f'{name} = {config[name]!r}' for name in config if name not in default.sections()]
    for section, classes in default.sections().items():
        for cls in classes:
            lines += ['', *_settings(section, cls, config[section])]
    return '\n'.join(lines)


def _settings(section: str, cls: type, values: Mapping[str, Any]) -> Iterator[str]:
    for field in fields(cls):
        name, value = f'{section}.{field.name}', values[field.name]
        if isinstance(field.default, tuple | str | int | float | None):
            yield f'{name} = {value!r}'
            yield textwrap.fill(meanings(cls)[field.name], 118, initial_indent='    ', subsequent_indent='    ')
        else:
            yield from _settings(name, type(field.default), value)


if __name__ == '__main__':
    with contextlib.suppress(BrokenPipeError):
        print(described(), flush=True)
