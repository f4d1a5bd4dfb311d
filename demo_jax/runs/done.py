"""What each part of a stage's results was made from: kept and asked in the same way by every stage (edge).

A part is complete where its record says that it was made from what it would be made from now: the same settings, the
same inputs, the same layout of its files. A record is written after the files of its part, and forgotten before these
are replaced, so that a killed stage leaves nothing that passes for complete.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from demo_jax.io import files
from demo_jax.errors import InputError

#: The file that holds the records of the parts in its folder.
NAME = 'made.json'


class Made(NamedTuple):
    """What a part was made from.

    Attributes:
      settings: those that it depends on, by name.
      inputs: digests (or other names) of what else it depends on: a model, files of earlier stages, code.
      layout: version of the part's files, raised whenever the same settings and inputs give other files.
    """

    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    layout: int = 1

    def as_json(self) -> dict[str, Any]:
        """The record as JSON has it: tuples are lists."""
        return json.loads(json.dumps(self._asdict()))


def read_made(value: Any) -> Made | None:
    """The record in a value out of a JSON file; None where it is something else.

    Settings alone, by name, are a record of an older version: one of layout 0, which nothing is made from now.
    """
    if not isinstance(value, dict):
        return None
    if set(value) != set(Made._fields):
        return Made(value, {}, 0)
    settings, inputs, layout = (value[name] for name in Made._fields)
    good = isinstance(settings, dict) and isinstance(inputs, dict) and type(layout) is int
    return Made(settings, inputs, layout) if good else None


class Records:
    """What the parts in a folder were made from, in its file `made.json`.

    Args:
      folder: of the parts. A file that is missing, cut short or of something else holds no records.
    """

    def __init__(self, folder: str | os.PathLike):
        self._folder = pathlib.Path(folder)
        try:
            stored = files.read_json(self._folder / NAME) if (self._folder / NAME).is_file() else {}
        except InputError:
            stored = {}
        self._parts: dict[str, Any] = {
            part: entry for part, entry in (stored.items() if isinstance(stored, dict) else ())
            if isinstance(entry, dict) and isinstance(entry.get('sizes'), dict)
        }

    def made(self, part: str) -> Made | None:
        """What a part was made from; None where it is not complete, or its files are gone or of another size."""
        entry = self._parts.get(part)
        if entry is None or any(_size(self._folder / name) != size for name, size in entry['sizes'].items()):
            return None
        return read_made(entry.get('made'))

    def has(self, part: str, made: Made) -> bool:
        """Whether a part is complete and was made from this."""
        found = self.made(part)
        return found is not None and found.as_json() == made.as_json()

    def keep(self, part: str, made: Made, written: Iterable[str | os.PathLike] = ()) -> None:
        """Say that a part is complete.

        Args:
          part: its name.
          made: what it was made from.
          written: its files; the part counts as complete for as long as they are there with the sizes they have now.
        """
        sizes = {os.path.relpath(path, self._folder): _size(pathlib.Path(path)) for path in written}
        self._parts[part] = {'made': made.as_json(), 'sizes': sizes}
        self._write()

    def forget(self, *parts: str) -> None:
        """Say that parts are not complete, because their files are about to be replaced."""
        if [self._parts.pop(part) for part in parts if part in self._parts]:
            self._write()

    def _write(self) -> None:
        files.write_json(self._folder / NAME, self._parts)


def digest(root: str | os.PathLike, names: Iterable[str], *, read: Sequence[str] = ()) -> str:
    """sha256 of the names, sizes and times of some files, and of the contents of others.

    Args:
      root: the folder that names are relative to. A folder stands for all files in it; what is missing is left out.
      names: files whose size and time count: they are written only when they change.
      read: files whose contents count: they are written anew by every call of their stage.
    """
    root, found = pathlib.Path(root), []
    for name in (*names, *read):
        path = root / name
        for file in sorted(path.rglob('*')) if path.is_dir() else [path]:
            if not file.is_file():
                continue
            status = os.stat(file)
            content = files.sha256(file) if name in read else [status.st_size, status.st_mtime_ns]
            found.append([str(file.relative_to(root)), content])
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _size(path: pathlib.Path) -> int:
    """Bytes of a file; -1 where there is none."""
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
