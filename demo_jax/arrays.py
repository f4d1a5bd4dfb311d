"""Reading arrays out of `.npy` and `.npz` files of unknown origin (edge: touches the disk).

Nothing is unpickled, and a file is believed only as far as its size goes: the shape that it claims must be that of
the bytes that it holds, before any memory is taken for it. A compressed `.npz` may unpack to `MAX_INFLATED` bytes.
"""

import os
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, NamedTuple

import numpy as np

from demo_jax.errors import InputError, brief, printable
from demo_jax.files import open_input

#: Bytes that the compressed arrays of one file may have together.
MAX_INFLATED = 500_000_000
_MAX_AXES = 8


class _Header(NamedTuple):
    """What an array's header says; `offset` is where its first element lies."""

    shape: tuple[int, ...]
    dtype: np.dtype
    order: str
    offset: int

    @property
    def size(self) -> int:
        """Bytes of all elements; of Python's own numbers, which do not overflow."""
        total = self.dtype.itemsize
        for length in self.shape:
            total *= length
        return total


def read_npy(path: str | os.PathLike) -> np.ndarray:
    """The array of an `.npy` file.

    Raises:
      InputError: the file is missing, is no array, holds objects, or has another size than its header says.
    """
    with open_input(path) as handle:
        try:
            header = _header(handle, os.fstat(handle.fileno()).st_size)
            return _elements(handle, header)
        except Exception as error:  # whatever a damaged file makes NumPy raise
            raise _refused(path, error) from error


def map_npy(path: str | os.PathLike) -> np.ndarray:
    """The array of an `.npy` file, memory-mapped and read-only; an empty array takes no memory.

    Raises:
      InputError: as `read_npy`.
    """
    with open_input(path) as handle:
        try:
            header = _header(handle, os.fstat(handle.fileno()).st_size)
            if not header.size:
                return np.zeros(header.shape, header.dtype)
            shape, order = header.shape, 'F' if header.order == 'F' else 'C'
            return np.memmap(handle, header.dtype, 'r', header.offset, shape, order)  # type: ignore[call-overload]
        except Exception as error:  # as above
            raise _refused(path, error) from error


def read_npz(path: str | os.PathLike, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of an `.npz` file by name.

    Args:
      path: the file.
      names: which arrays; None = all.

    Raises:
      InputError: the file is missing, is no `.npz`, lacks one of the arrays, or one of them holds objects, is
        damaged or would be larger than the file can hold.
    """
    with open_input(path) as handle:
        try:
            with zipfile.ZipFile(handle) as archive:
                members = {member.filename.removesuffix('.npy'): member for member in archive.infolist()}
                wanted = list(members if names is None else names)
                _check(members, wanted, os.fstat(handle.fileno()).st_size)
                return {name: _member(archive, members[name]) for name in wanted}
        except Exception as error:  # whatever a damaged file makes zipfile, zlib and NumPy raise
            raise _refused(path, error) from error


def _check(members: Mapping[str, zipfile.ZipInfo], wanted: Sequence[str], file_size: int) -> None:
    """See that the wanted arrays are there, that those stored as they are fit in the file, others in `MAX_INFLATED`."""
    lacking = [name for name in wanted if name not in members]
    if lacking:
        raise ValueError(f'it has no array {brief(lacking[0])}')
    chosen = [members[name] for name in wanted]
    stored = sum(member.file_size for member in chosen if member.compress_type == zipfile.ZIP_STORED)
    packed = sum(member.file_size for member in chosen if member.compress_type != zipfile.ZIP_STORED)
    if stored > file_size or packed > MAX_INFLATED:
        raise ValueError(f'its arrays claim {stored + packed:,} bytes, the file has {file_size:,}')


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as handle:
        array = _elements(handle, _header(handle, member.file_size))
        if handle.read(1):  # also makes zipfile compare the checksum
            raise ValueError('an array goes on past its end')
        return array


def _header(handle: IO[bytes], size: int) -> _Header:
    """Read the header of an array that takes `size` bytes with it; ValueError if it cannot be so."""
    version = np.lib.format.read_magic(handle)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # headers that Python 2 wrote
        shape, fortran, dtype = read(handle)
    header = _Header(shape, dtype, 'F' if fortran else 'C', handle.tell())
    if dtype.hasobject or dtype.subdtype is not None or not dtype.itemsize:
        raise ValueError(f'it holds {brief(str(dtype))}, expected numbers or text')
    if len(shape) > _MAX_AXES or any(length < 0 for length in shape) or header.offset + header.size != size:
        raise ValueError(f'its header claims shape {brief(shape)} of {brief(str(dtype))}, but it has {size:,} bytes')
    return header


def _elements(handle: IO[bytes], header: _Header) -> np.ndarray:
    data = bytearray(header.size)
    view, at = memoryview(data), 0
    while at < len(data):
        count = handle.readinto(view[at:])  # type: ignore[attr-defined]
        if not count:
            raise ValueError(f'it ends after {at:,} of {len(data):,} bytes')
        at += count
    return np.frombuffer(data, header.dtype).reshape(header.shape, order='F' if header.order == 'F' else 'C')


def _refused(path: str | os.PathLike, error: Exception) -> InputError:
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
    elif isinstance(error, KeyError):
        reason = 'it is no array of a version that we know'
    else:
        reason = ' '.join(str(error).split()) or type(error).__name__
    return InputError(f'{os.fspath(path)}: cannot be read ({printable(reason)[:200]})')
