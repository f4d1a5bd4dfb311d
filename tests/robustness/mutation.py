"""Ways to damage a file, each drawn from a `random.Random`: what `tests.robustness.fuzz` feeds to readers."""

import gzip
import io
import json
import os
import pathlib
import random
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_NUMBERS = (
    b'0',
    b'-1',
    b'1e999',
    b'nan',
    b'inf',
    b'-inf',
    b'9' * 18,
    b'9' * 30,
    b'-' + b'9' * 40,
    b'9' * 5000,
    b'1e-400',
    b'1_0',
    b'0x10',
    b'',
    b'2147483648',
    b'9223372036854775807',
    b'1.5',
    '\u0663'.encode(),
)
_WORDS = (
    b'\0',
    b'\xff\xfe',
    b'\xef\xbb\xbf',
    '🧬'.encode(),
    'é'.encode('latin-1'),
    b'"',
    b"'",
    b'\\',
    b'../../etc/passwd',
    b'%2e%2e',
    b'</script>',
    b'\x1b[31m',
    b'\r',
    b'\r\n',
    b'\n',
    b'\n\n',
    b'\t',
    b'\t\t',
    b' ',
    b'>',
    b'#',
    b'##',
    b';',
    b'\x85',
    '\u2028'.encode(),
    '\u202e'.encode(),
    b'MOTIF',
    b'>1\n',
    b'null',
    b'[',
    b'{',
    b'[[[[[[[[',
    b'\x80\x02cos\nsystem\n',
    b'A' * 70_000,
)
_JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    float('nan'),
    '',
    'x',
    '../..',
    '\udc80',
    'a\nb',
    [],
    [[]],
    {},
    {'a': {}},
    [1.5],
    ['x', 3],
    -(10**19),
    [10**25],
    [-1],
)


def mutated(name: str, data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """The bytes of a file with one to four pieces of damage.

    Args:
      name: the file's; its suffix says how it is built.
      data: its bytes, undamaged.
      rng: decides.
      others: other files, to splice in.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        data = _once(name, data, rng, others)
    return data


def _once(name: str, data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    inside = rng.random() < 0.7
    if data[:2] == b'\x1f\x8b' and inside:
        try:
            unpacked = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):  # damaged before
            unpacked = data
        return gzip.compress(_text(unpacked, rng, others), 1, mtime=0)
    if name.endswith('.npz') and inside:
        return _npz(data, rng, others)
    if name.endswith('.npy') and rng.random() < 0.4:
        return _array(rng)
    if name.endswith('.json') and inside:
        return _json(data, rng)
    return _text(data, rng, others)


def _text(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return rng.choice(_WAYS)(data, rng, others)


def _span(data: bytes, rng: random.Random) -> tuple[int, int]:
    first = rng.randrange(len(data) + 1)
    return first, min(len(data), first + rng.choice((1, 2, 5, 30, 500)))


def _bits(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _noise(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    first, last = _span(data, rng)
    return data[:first] + rng.randbytes(last - first) + data[last:]


def _cut(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _remove(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    first, last = _span(data, rng)
    return data[:first] + data[last:]


def _repeat(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    first, last = _span(data, rng)
    return data[:last] + data[first:last] * rng.choice((1, 2, 50)) + data[last:]


def _insert(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(_WORDS) + data[at:]


def _splice(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    first, last = _span(other, rng)
    at = rng.randrange(len(data) + 1)
    return data[:at] + other[first : rng.choice((last, len(other)))] + data[at:]


def _number(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    found = list(re.finditer(rb'-?\d+(\.\d+)?', data[:200_000]))
    if not found:
        return data + rng.choice(_NUMBERS)
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(_NUMBERS) + data[match.end() :]


def _lines(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    lines = data.split(b'\n')
    place = rng.randrange(len(lines))
    way = rng.randrange(5)
    if way == 0:
        lines.insert(place, rng.choice(lines))
    elif way == 1:
        del lines[place]
    elif way == 2:
        rng.shuffle(lines)
    elif way == 3:
        lines[place] = b'\t'.join([*lines[place].split(b'\t'), b'more'])
    else:
        lines[place] = lines[place].replace(b'\t', b' ')
    return b'\n'.join(lines)


def _encoded(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    text = data.decode('latin-1')
    return rng.choice(
        (
            lambda: text.encode('utf-16'),
            lambda: text.encode('utf-16-be'),
            lambda: text.encode('utf-32'),
            lambda: b'\xef\xbb\xbf' + data,
            lambda: data.replace(b'\n', b'\r\n'),
            lambda: data.replace(b'\n', b'\r'),
            lambda: data.upper(),
            lambda: data.lower(),
            lambda: gzip.compress(data, 1, mtime=0),
            lambda: b'',
            lambda: b'\n' * 1000,
            lambda: data * 3,
            lambda: text.encode('utf-8'),
        )
    )()


_WAYS: tuple[Callable[[bytes, random.Random, Sequence[bytes]], bytes], ...] = (
    _bits,
    _bits,
    _noise,
    _cut,
    _remove,
    _repeat,
    _insert,
    _insert,
    _splice,
    _number,
    _number,
    _number,
    _lines,
    _lines,
    _encoded,
)


def _json(data: bytes, rng: random.Random) -> bytes:
    """Another value, or none, somewhere in the tree of a JSON file."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):  # damaged before
        return data + b' '
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(value)
    if not places or rng.random() < 0.05:
        value = rng.choice(_JUNK)
    else:
        node, key = rng.choice(places)
        way = rng.random()
        if way < 0.2:
            del node[key]
        elif way < 0.4 and isinstance(node, dict):
            node[rng.choice(('x', '', '../..', '\udc80', 'extra'))] = node.pop(key)
        elif way < 0.5:
            node[key] = [node[key]]
        else:
            node[key] = rng.choice(_JUNK)
    return json.dumps(value).encode()


def _array(rng: random.Random) -> bytes:
    """Another array altogether, or a header that claims more than there is, or objects."""
    way = rng.randrange(8)
    buffer = io.BytesIO()
    if way < 5:
        shape = rng.choice(((), (0,), (1,), (3,), (2, 4), (3, 3, 3), (0, 4)))
        dtype = rng.choice(('<f4', '<f8', 'u1', '<i8', '>i4', '?', '<U3', 'S2', '<c8', '<M8[s]', 'V3', [('a', '<i4')]))
        raw = rng.randbytes(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        array = np.frombuffer(bytearray(raw), dtype).reshape(shape)
        np.lib.format.write_array(buffer, array, allow_pickle=False)
    elif way == 5:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            np.lib.format.write_array(buffer, np.array([{}, None], object), allow_pickle=True)
    else:
        shape = rng.choice(((10**12,), (2**62, 2**62), (10**9, 4), (1,) * 40, (-1,), (2**40, 0)))
        np.lib.format.write_array_header_1_0(
            buffer, {'descr': rng.choice(('<f4', '|O', '<U1000000')), 'fortran_order': False, 'shape': shape}
        )
        buffer.write(b'\0' * rng.choice((0, 64)))
    return buffer.getvalue()


def _npz(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A member that is damaged, missing, renamed, twice there or replaced, in an archive that is whole."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(member.filename, archive.read(member)) for member in archive.infolist()]
    except Exception:  # damaged before
        return data
    if not members:
        return data
    at = rng.randrange(len(members))
    name, content = members[at]
    way = rng.randrange(6)
    if way == 0:
        del members[at]
    elif way == 1:
        members[at] = (rng.choice(('x.npy', '', '../../x.npy', 'params/a.npy', 'params/a/b/c.npy', 'facts')), content)
    elif way == 2:
        members[at] = (name, _array(rng))
    elif way == 3:
        members.append(members[at])
    else:
        members[at] = (name, _text(content, rng, others))
    buffer = io.BytesIO()
    packing = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, 'w', packing) as archive:
        warnings.simplefilter('ignore')  # of a name that is there twice
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name or 'x'), content, packing)
    return buffer.getvalue()


def replaced(path: pathlib.Path, rng: random.Random) -> str:
    """Put something else in the place of a file: its name is returned."""
    path.unlink()
    kind = rng.choice(('directory', 'loop', 'dangling', 'pipe', 'zero', 'null', 'upwards', 'missing'))
    if kind == 'directory':
        path.mkdir()
    elif kind == 'loop':
        path.symlink_to(path.name)
    elif kind == 'dangling':
        path.symlink_to('nowhere')
    elif kind == 'pipe':
        os.mkfifo(path)
    elif kind in ('zero', 'null'):
        path.symlink_to(f'/dev/{kind}')
    elif kind == 'upwards':
        path.symlink_to('..')
    return kind
