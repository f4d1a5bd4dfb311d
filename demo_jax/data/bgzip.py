"""Block-gzipped files (bgzip), read at any place (edge: reads files).

Such a file is a row of gzip members of at most 64 kB each, and each says how long it is; an empty one ends the file.
"""

import bisect
import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from demo_jax.errors import InputError
from demo_jax.io.textfile import check_ratio

_MAX_BLOCK = 1 << 16
_JOINED = 1 << 22  # bytes, about, that `blocks` gives at a time


def is_bgzip(head: bytes) -> bool:
    """Whether a file that begins with these bytes (20 or more) is block-gzipped."""
    return head[:4] == b'\x1f\x8b\x08\x04' and _block_size(head[12 : 12 + struct.unpack('<H', head[10:12])[0]]) > 0


def _block_size(extra: bytes) -> int:
    """Bytes of a gzip member, by the extra field of its header; 0 if that does not say."""
    while len(extra) >= 6:
        size = struct.unpack('<H', extra[2:4])[0]
        if extra[:2] == b'BC' and size == 2:
            return struct.unpack('<H', extra[4:6])[0] + 1
        extra = extra[4 + size :]
    return 0


class Bgzip:
    """A block-gzipped file. `blocks` must have gone through all of it before `read` is used."""

    def __init__(self, path: str | os.PathLike, raw: BinaryIO) -> None:
        """Take an open file, which this object closes, and its path for messages."""
        self.path = path
        self._raw = raw
        self._packed, self._unpacked = list[int](), list[int]()  # where each block begins, packed and unpacked
        self._held: tuple[int, bytes] = (-1, b'')  # the block that was read last

    def blocks(self) -> Iterator[bytes]:
        """All that the file unpacks to, in pieces of some megabytes.

        Raises:
          InputError: the file is damaged or truncated, or unpacks to very many times its size.
        """
        self._raw.seek(0)
        place, size, pieces, waiting, data = 0, 0, list[bytes](), 0, b'.'
        while found := self._member(place):
            after, data = found
            if data:
                self._packed.append(place)
                self._unpacked.append(size)
                pieces.append(data)
            place, size, waiting = after, size + len(data), waiting + len(data)
            if waiting >= _JOINED:
                check_ratio(self.path, size, place)
                yield b''.join(pieces)
                pieces, waiting = [], 0
        if data:
            raise InputError(
                f'{self.path}: is a truncated bgzip file (the empty block at its end is missing); if it is whole, '
                'gunzip -c OLD | bgzip > NEW mends it'
            )
        if pieces:
            yield b''.join(pieces)

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes at `offset` of what the file unpacks to; fewer where it ends.

        Raises:
          InputError: the file is damaged.
        """
        pieces = []
        number = bisect.bisect_right(self._unpacked, offset) - 1
        while size > 0 and 0 <= number < len(self._packed):
            if self._held[0] != number:
                member = self._member(self._packed[number])
                self._held = (number, member[1] if member else b'')
            begin = offset - self._unpacked[number]
            piece = self._held[1][begin : begin + size]
            if not piece:
                break
            pieces.append(piece)
            offset, size, number = offset + len(piece), size - len(piece), number + 1
        return b''.join(pieces)

    def _member(self, place: int) -> tuple[int, bytes] | None:
        """The place after the block at `place`, and what the block unpacks to; None at the end of the file."""
        try:
            self._raw.seek(place)
            head = self._raw.read(12)
            if not head:
                return None
            extra = self._raw.read(struct.unpack('<H', head[10:12])[0] if head[:4] == b'\x1f\x8b\x08\x04' else 0)
            size = _block_size(extra)
            rest = self._raw.read(max(size - len(head) - len(extra), 0))
            unpacking = zlib.decompressobj(31)  # gzip: its checksum is looked at, too
            data = unpacking.decompress(head + extra + rest, _MAX_BLOCK + 1) if size else b''
            if not unpacking.eof or len(data) > _MAX_BLOCK or unpacking.unused_data:
                raise zlib.error(f'no whole block at byte {place}')
        except (zlib.error, struct.error) as error:
            raise InputError(f'{self.path}: is a damaged or truncated bgzip file ({error})') from error
        except OSError as error:
            raise InputError(f'{self.path}: cannot be read ({error.strerror or error})') from error
        return place + size, data

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
