"""Reading arrays out of `.npy` and `.npz` files of unknown origin (edge: touches the disk).

NumPy reads them, and is told to unpickle nothing. What else is to be seen to is done here: only regular files are
opened, an array fills its file to the end, and an `.npz` does not unpack to more than `MAX_INFLATED` bytes.
"""

import contextlib
import os
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np

from demo_jax.errors import InputError, brief, printable
from demo_jax.io.files import open_input

#: Bytes that the arrays of one compressed file may have together.
MAX_INFLATED = 500_000_000


def read_npy(path: str | os.PathLike) -> np.ndarray:
    """The array of an `.npy` file.

    Raises:
      InputError: the file is missing, is no array, holds objects, or has another size than its header says.
    """
    with _opened(path) as handle:
        return _whole(handle)


def map_npy(path: str | os.PathLike) -> np.ndarray:
    """The array of an `.npy` file, memory-mapped and read-only.

    Raises:
      InputError: as `read_npy`.
    """
    with _opened(path) as handle:
        array = np.lib.format.open_memmap(os.fspath(path), mode='r')  # never of objects
        _check(array, array.offset + array.nbytes == os.fstat(handle.fileno()).st_size)
        return array


def read_npz(path: str | os.PathLike, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of an `.npz` file by name.

    Args:
      path: the file.
      names: which arrays; None = all.

    Raises:
      InputError: the file is missing, is no `.npz`, lacks one of the arrays, or one of them holds objects or is
        damaged; or together they are larger than the file and than `MAX_INFLATED`.
    """
    with _opened(path) as handle, zipfile.ZipFile(handle) as archive:
        found = {}
        for name, member in _chosen(archive, names, os.fstat(handle.fileno()).st_size).items():
            with archive.open(member) as inside:
                found[name] = _whole(inside)
        return found


def _chosen(archive: zipfile.ZipFile, names: Iterable[str] | None, size: int) -> dict[str, zipfile.ZipInfo]:
    members = {member.filename.removesuffix('.npy'): member for member in archive.infolist()}
    wanted = list(members if names is None else names)
    lacking = [name for name in wanted if name not in members]
    if lacking:
        raise ValueError(f'it has no array {brief(lacking[0])}')
    claimed = sum(members[name].file_size for name in wanted)
    if claimed > max(MAX_INFLATED, size):
        raise ValueError(f'its arrays claim {claimed:,} bytes, the file has {size:,}')
    return {name: members[name] for name in wanted}


def _whole(handle: IO[bytes]) -> np.ndarray:
    """The array that a file holds, and nothing behind it."""
    array = np.lib.format.read_array(handle, allow_pickle=False)
    _check(array, not handle.read(1))
    return array


def _check(array: np.ndarray, fits: bool) -> None:
    if not fits:
        raise ValueError(f'its header claims shape {brief(array.shape)} of {brief(str(array.dtype))}, but it has more')
    if not array.dtype.itemsize:  # a few bytes could claim any number of empty words
        raise ValueError(f'it holds {brief(str(array.dtype))}, expected numbers or text')


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    with open_input(path) as handle, warnings.catch_warnings():
        warnings.simplefilter('error')  # of headers that Python 2 wrote, and sizes that overflow
        try:
            yield handle
        except Exception as error:  # whatever a damaged file makes zipfile, zlib and NumPy raise
            reason = ' '.join(str(getattr(error, 'strerror', None) or error).split()) or type(error).__name__
            if isinstance(error, MemoryError):
                reason = f'there is no memory for what it claims: {reason}'
            raise InputError(f'{os.fspath(path)}: cannot be read ({printable(reason)[:200]})') from error
