"""Fetching and unpacking the archive of the 108 K562 data sets (edge: network and disk)."""

import contextlib
import functools
import gzip
import os
import pathlib
import shutil
import tarfile
import zlib
from typing import IO, Any, NamedTuple

from demo_jax.errors import InputError, brief
from demo_jax.io.files import atomic_directory, open_input, sha256
from demo_jax.io.textfile import check_ratio

_CHUNK = 1 << 18
_PIECE = 1 << 12  # bytes of a download; up to so many are lost where the connection is cut
_LONGEST_HEADER = 1 << 20  # bytes; headers hold names and are read whole


class Archive(NamedTuple):
    """A file on the net: where it is, its size in bytes, and its sha256."""

    url: str
    size: int
    sha256: str


DEEPMOTIF_108 = Archive(
    url='https://media.githubusercontent.com/media/QData/DeepMotif/master/data/deepbind.tar.gz',
    size=107_022_470,
    sha256='b76db7e6559dae494132ab2c1178ecf84deec5edbdc1498fa8620a4da1de4050',
)


def download(
    archive: Archive,
    path: str | os.PathLike,
    *,
    attempts: int = 5,
    timeout: float = 60.0,
    progress: bool = True,
) -> pathlib.Path:
    """Fetch a file unless a whole copy is at `path` already.

    pooch tries again after 1, 2, 3 ... seconds (at most 10), and gives the file its name when the sha256 is right.
    What has arrived is kept as `path` + '.part': the next try, or the next call, goes on from there (HTTP Range), or
    from the start where the server does not offer that.

    Args:
      archive: what to fetch.
      path: where to put it.
      attempts: how often to try; a try is over when the connection ends.
      timeout: seconds without an answer after which a try has failed.
      progress: show a progress bar, and say when a try failed.

    Returns:
      `path`.

    Raises:
      InputError: the server refuses, cannot be reached, or what came has another size or sha256 (it is then
        removed), or a file at `path` is not this archive.
    """
    path = pathlib.Path(path)
    if path.exists():
        verify(path, archive)
        return path
    import pooch
    import requests

    pooch.get_logger().setLevel('INFO' if progress else 'WARNING')
    part = path.with_name(path.name + '.part')
    store = pooch.create(
        path.parent,
        '',
        registry={path.name: archive.sha256},
        urls={path.name: archive.url},
        retry_if_failed=attempts - 1,
    )
    try:
        store.fetch(path.name, downloader=functools.partial(_fetch, archive, part, timeout, progress))
    except _Refused as error:
        raise InputError(f'{archive.url}: {error}') from error
    except OSError as error:  # of the disk, and all those of requests: pooch tries again after these alone
        have = part.stat().st_size if part.exists() else 0
        reason = str(getattr(error.args[0], 'reason', error)) if error.args else type(error).__name__
        tried = f' after {attempts} attempts' if isinstance(error, requests.RequestException) else ''
        raise InputError(
            f'{archive.url}: cannot be downloaded{tried} ({" ".join(reason.split())}); '
            f'{have:,} of {archive.size:,} bytes are kept in {part}'
        ) from error
    return path


def verify(path: str | os.PathLike, archive: Archive) -> None:
    """Check a file's size and sha256.

    Raises:
      InputError: names what was found and what was expected.
    """
    try:
        size = os.stat(path).st_size
        found = sha256(path) if size == archive.size else None
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    if found is None:
        raise InputError(f'{path}: has {size:,} bytes, expected {archive.size:,}')
    if found != archive.sha256:
        raise InputError(f'{path}: has sha256 {found}, expected {archive.sha256}')


class _Refused(Exception):
    """No further try would help."""


def _fetch(archive: Archive, part: pathlib.Path, timeout: float, progress: bool, url: str, output: str, _: Any) -> None:
    """What pooch calls for every try: append to `part` what the server sends, and make it `output` when it is whole."""
    import requests
    from tqdm import tqdm

    have = part.stat().st_size if part.exists() else 0
    headers = {'Accept-Encoding': 'identity'} | ({'Range': f'bytes={have}-'} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as answer:
        if answer.status_code == 416:  # what is there is no part of what the server has
            part.unlink(missing_ok=True)
        elif 400 <= answer.status_code < 500 and answer.status_code not in (408, 429):
            raise _Refused(f'cannot be downloaded (HTTP status {answer.status_code} {answer.reason})')
        if not answer.ok:
            raise requests.HTTPError(f'HTTP status {answer.status_code} {answer.reason}')
        goes_on = answer.headers.get('Content-Range', '').startswith(f'bytes {have}-')
        with (
            open(part, 'ab' if goes_on else 'wb') as target,
            tqdm(total=archive.size, unit='B', unit_scale=True, desc=part.stem, disable=not progress) as bar,
        ):
            bar.update(target.tell())
            with contextlib.suppress(requests.exceptions.ChunkedEncodingError):  # cut: the size tells
                for chunk in answer.iter_content(_PIECE):
                    target.write(chunk)
                    bar.update(len(chunk))
                    if target.tell() > archive.size:
                        break
    if part.stat().st_size < archive.size:
        raise requests.ConnectionError('the connection ended')
    try:
        verify(part, archive)
    except InputError:
        part.unlink()
        raise _Refused(
            f'what was downloaded is not the expected file of {archive.size:,} bytes with sha256 {archive.sha256}; '
            'it was removed'
        ) from None
    os.replace(part, output)


def extract(
    archive: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    max_bytes: int = 4_000_000_000,
    max_members: int = 100_000,
) -> pathlib.Path:
    """Unpack a tar archive (gzip or plain) as the new directory `folder`, atomically.

    Only regular files and directories whose paths stay inside are unpacked; anything else is refused
    before the folder comes into being.

    Args:
      archive: the file.
      folder: the directory to make; one that is there already is replaced.
      max_bytes: how much may come out of it.
      max_members: how many files and directories it may have.

    Raises:
      InputError: not a tar archive, truncated, too large, or an entry that is absolute, holds '..', or is a
        link or device.
    """
    folder = pathlib.Path(folder)
    total, count = 0, 0
    try:
        with open_input(archive) as raw, atomic_directory(folder) as temporary, _opened(archive, raw) as tar:
            for count, member in enumerate(tar, start=1):
                target = temporary / _safe(archive, member)
                total += member.size
                if total > max_bytes or count > max_members:
                    raise InputError(
                        f'{archive}: holds more than {max_bytes:,} bytes or {max_members:,} entries, which is refused'
                    )
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(member)
                assert source is not None  # `_safe` lets only files and directories through
                with source, open(target, 'xb') as out:
                    shutil.copyfileobj(source, out, _CHUNK)
                if target.stat().st_size != member.size:
                    raise InputError(f'{archive}: is truncated in entry {brief(member.name)}')
            if not count:
                raise InputError(f'{archive}: is not a whole tar archive (it holds nothing)')
    except InputError:
        raise
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f'{archive}: is not a whole tar archive ({" ".join(str(error).split())})') from error
    except OSError as error:
        raise InputError(f'{archive}: cannot be unpacked ({error.strerror or error})') from error
    return folder


class _InSmallPieces:
    """A file out of which nothing large can be read at once: tarfile believes what a header says of its own size."""

    def __init__(self, path: str | os.PathLike, raw: IO[bytes], handle: Any):
        self._path, self._raw, self._handle = path, raw, handle
        self.seek, self.tell = handle.seek, handle.tell

    def read(self, size: int) -> bytes:
        """The next bytes.

        Raises:
          tarfile.ReadError: more than a header may have are asked for.
          InputError: the file unpacks to far more than its size.
        """
        if self._handle is not self._raw:
            check_ratio(self._path, self.tell(), self._raw.tell())
        if not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f'a header of {size:,} bytes')
        return self._handle.read(size)


def _opened(path: str | os.PathLike, raw: IO[bytes]) -> tarfile.TarFile:
    packed = raw.read(2) == b'\x1f\x8b'
    raw.seek(0)
    handle: Any = _InSmallPieces(path, raw, gzip.GzipFile(fileobj=raw) if packed else raw)
    return tarfile.open(fileobj=handle, mode='r:')


def _safe(archive: str | os.PathLike, member: tarfile.TarInfo) -> pathlib.PurePosixPath:
    """The path of an entry inside the folder; InputError for one that is not a plain file or directory inside."""
    path = pathlib.PurePosixPath(member.name)
    if path.is_absolute() or '..' in path.parts or '\\' in member.name or '\0' in member.name:
        raise InputError(f'{archive}: entry {brief(member.name)} leaves the folder, which is refused')
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        raise InputError(f'{archive}: entry {brief(member.name)} is a link or device (or sparse), which is refused')
    return path
