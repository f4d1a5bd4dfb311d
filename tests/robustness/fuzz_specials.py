"""Files made to hurt, against every reader that could meet them: the special cases of `tests.robustness.fuzz`.

A case is a function of an empty folder that yields (what it is, a call of the reader), one after the other.
"""

import functools
import gzip
import io
import json
import os
import pathlib
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from demo_jax.data import download, peak_files, storage, variants
from demo_jax.data.genome import Genome
from demo_jax.data.readers import read_corpus
from demo_jax.errors import InputError
from demo_jax.io import arrays, files
from demo_jax.motifs import formats
from tests.helpers import check_corpus, small_corpus

Attempt = tuple[str, Callable[[], Any]]
Case = Callable[[pathlib.Path], Iterator[Attempt]]

MEGABYTE = 1 << 20
PIECE = 8 * MEGABYTE
NAMES = (
    "it's",
    'a "b" c',
    'line\nend',
    'tab\there',
    '🧬 emoji 👩\u200d🔬',
    '..',
    '...',
    '-rf',
    '$(id)',
    '`id`',
    'a;b',
    '%2e%2e',
    'back\\slash',
    '<script>alert(1)',
    ' blank ',
    'two  blanks',
    '\x1b[31mred',
    'é',
    'e\u0301',
    '\u202eevil',
    'x' * 200,
    '*?',
    '~',
    '#',
    'con',
    'a:b',
    '\x7f',
    os.fsdecode(b'caf\xe9'),
)


def _deepbind(path: pathlib.Path) -> Any:
    other = path.with_name(path.name.replace('_AC', '_B'))
    if os.path.isfile(path) and not other.exists():
        other.write_text('FoldID\tEventID\tseq\tBound\nB\tx\tACGTACGT\t1\nB\ty\tACGTACGA\t0\n')
    return read_corpus('deepbind', [path])


def _blacklisted(path: pathlib.Path) -> Any:
    return peak_files.read_peaks(path)


def _variants(path: pathlib.Path) -> None:
    """As `experiments.score` does: lines that cannot be scored are skipped, a file of nothing else is refused."""
    if not sum(isinstance(line, variants.Variant) for line in variants.read_variants(path)):  # reads to the end
        raise InputError(f'{path}: holds no variants that can be scored')


def _genome(path: pathlib.Path) -> None:
    genome = Genome(path)
    try:
        for name, size in list(genome.sizes.items())[:3]:
            genome.letters(name, 0, min(size, 100))
    finally:
        genome.close()


#: What reads a file of text: its name, the reader, its first lines, a record, and a record with nothing in it.
TEXT: dict[str, tuple[str, Callable[[pathlib.Path], Any], bytes, bytes, bytes]] = {
    'DeepBind': ('T_AC.seq.gz', _deepbind, b'FoldID\tEventID\tseq\tBound\n', b'A\tx\tACGTACGT\t1\n', b'\t\t\t\n'),
    'FASTA': ('t.fa', lambda path: read_corpus('fasta', [path]), b'', b'>1\nACGTACGT\n>0\nACGTACGA\n', b'>\n'),
    'variants FASTA': ('s.fa', Genome, b'', b'>s\nACGT\n', b'>\n'),
    'genome': ('g.fa', _genome, b'', b'>s\nACGT\n', b'>\n'),
    'peaks': ('p.bed', _blacklisted, b'', b'chr1\t5\t9\n', b'\t\t\n'),
    'VCF': ('v.vcf', _variants, b'#CHROM\tPOS\tID\tREF\tALT\n', b's\t5\t.\tA\tC\n', b'\t\t\t\t\n'),
    'MEME': ('m.meme', formats.read_meme, b'MEME version 4\n', b'MOTIF a\n', b'MOTIF\n'),
    'JASPAR': ('m.jaspar', formats.read_jaspar, b'', b'>a\nA [ 1 ]\nC [ 1 ]\nG [ 1 ]\nT [ 1 ]\n', b'>\n'),
    'BED windows': ('w.bed', formats.read_bed, b'', b'chr1\t5\t9\tn\t0\t+\n', b'\t\t\t\t\t\n'),
    'table': ('t.tsv', files.read_tsv, b'a\tb\n', b'1\t2\n', b'\t\n'),
    'JSON': ('x.json', files.read_json, b'[0\n', b',[]\n', b',\n'),
}
#: What reads a file that is no text.
BINARY: dict[str, tuple[str, Callable[[pathlib.Path], Any]]] = {
    'npz': ('a.npz', arrays.read_npz),
    'npy': ('a.npy', arrays.read_npy),
    'mapped npy': ('m.npy', arrays.map_npy),
    'archive': ('a.tar.gz', lambda path: download.extract(path, path.with_name('out'))),
}


def refused(read: Callable[[pathlib.Path], Any], path: pathlib.Path) -> Callable[[], Any]:
    """A call that must be refused: a reader which takes the file is as wrong as one that fails."""

    def call() -> None:
        read(path)
        raise AssertionError(f'{path.name} was accepted')

    return call


def packed(path: pathlib.Path, first: bytes, piece: bytes, times: int) -> pathlib.Path:
    """A gzip file of `first` and `times` times `piece`, without compressing it so often: members may follow another."""
    member = gzip.compress(piece, 6, mtime=0)
    with open(path, 'wb') as handle:
        handle.write(gzip.compress(first, mtime=0) if first else b'')
        for _ in range(times):
            handle.write(member)
    return path


def sparse(path: pathlib.Path, first: bytes, size: int, last: bytes = b'') -> pathlib.Path:
    """A file of `size` NUL bytes between first and last ones that takes no room on the disk."""
    with open(path, 'wb') as handle:
        handle.write(first)
        handle.truncate(len(first) + size)
        handle.seek(0, os.SEEK_END)
        handle.write(last)
    return path


def bomb_of_one_line(folder: pathlib.Path) -> Iterator[Attempt]:
    """A few megabytes that are one line of 8 GB unpacked."""
    for what, (name, read, first, record, _) in TEXT.items():
        start = first + record.rstrip(b'\n')
        yield what, refused(read, packed(folder / name, start, b'A' * PIECE, 1000))
        (folder / name).unlink()


def bomb_of_records(folder: pathlib.Path) -> Iterator[Attempt]:
    """A few megabytes that are 8 GB of good short records unpacked."""
    for what, (name, read, first, record, _) in TEXT.items():
        yield what, refused(read, packed(folder / name, first, record * (PIECE // len(record)), 1000))
        (folder / name).unlink()


def bomb_of_arrays(folder: pathlib.Path) -> Iterator[Attempt]:
    """An .npz of 3 MB that holds 600 MB of zeros, and headers that claim terabytes."""
    header = io.BytesIO()
    fields = {'descr': '|u1', 'fortran_order': False}
    np.lib.format.write_array_header_1_0(header, fields | {'shape': (75 * PIECE,)})
    path = folder / 'a.npz'
    archive = zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open('x.npy', 'w', force_zip64=True) as out:
        out.write(header.getvalue())
        for _ in range(75):
            out.write(bytes(PIECE))
    yield 'zeros', refused(arrays.read_npz, path)
    for dtype in ('|u1', '<f8', '|O', '<U100000000'):
        for shape in ((1 << 44,), (1 << 62, 1 << 62), (0, 1 << 62)):
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {'descr': dtype, 'fortran_order': False, 'shape': shape})
            (folder / 'a.npy').write_bytes(header.getvalue() + bytes(64))
            for read in (arrays.read_npy, arrays.map_npy):
                yield f'header {dtype} {shape}', refused(read, folder / 'a.npy')
            with zipfile.ZipFile(path, 'w') as archive:
                archive.writestr('x.npy', header.getvalue() + bytes(64))
            yield f'npz header {dtype} {shape}', refused(arrays.read_npz, path)


def bomb_of_archives(folder: pathlib.Path) -> Iterator[Attempt]:
    """Tar archives: a header of 8 GB, a file of 8 GB, a million files, and headers within headers."""

    def header(kind: bytes, size: int, name: str = 'x') -> bytes:
        info = tarfile.TarInfo(name)
        info.type, info.size = kind, size
        return info.tobuf(tarfile.GNU_FORMAT)

    path = folder / 'a.tar.gz'
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE, tarfile.REGTYPE):
        packed(path, header(kind, 1000 * PIECE), bytes(PIECE), 1000)
        yield f'entry of type {kind!r}', refused(BINARY['archive'][1], path)
    packed(path, b'', header(tarfile.DIRTYPE, 0, 'd') * 1000, 1000)
    yield 'a million entries', refused(BINARY['archive'][1], path)
    chain = (header(tarfile.GNUTYPE_LONGNAME, 2) + b'y\0'.ljust(512, b'\0')) * 5000
    packed(path, b'', chain, 1)
    yield 'headers of headers', refused(BINARY['archive'][1], path)
    assert not (folder / 'out').exists()


def line_of_a_gigabyte(folder: pathlib.Path) -> Iterator[Attempt]:
    """Plain files with one line of 1 GB of NUL bytes, which takes no room on the disk, or of 32 MB of letters."""
    for what, (name, read, first, record, _) in TEXT.items():
        yield f'{what}, NUL', refused(read, sparse(folder / name, first + record.rstrip(b'\n'), 1 << 30, b'\n'))
        yield f'{what}, only NUL', refused(read, sparse(folder / name, b'', 1 << 30))
    for what, (name, read) in BINARY.items():
        yield what, refused(read, sparse(folder / name, b'', 1 << 30))
    with open(folder / 'letters', 'wb') as handle:
        handle.write(b'A' * (4 * PIECE))
    for what, (_, read, _, _, _) in TEXT.items():
        if what not in ('genome', 'DeepBind'):  # a chromosome may have so many letters; its partner has another name
            yield f'{what}, letters', refused(read, folder / 'letters')


def a_million_empty_records(folder: pathlib.Path) -> Iterator[Attempt]:
    """A million records with nothing in them, a million empty lines, and a million records of one letter."""
    for what, (name, read, first, _, empty) in TEXT.items():
        path = folder / name
        path.write_bytes(first + empty * 1_000_000)
        good = what in ('table', 'BED windows')
        yield f'{what}, records', functools.partial(read, path) if good else refused(read, path)
        path.write_bytes(first + b'\n' * 1_000_000)
        yield f'{what}, lines', functools.partial(read, path) if what == 'BED windows' else refused(read, path)
    (folder / 't.fa').write_bytes(b'>1\nA\n>0\nC\n' * 500_000)
    yield 'FASTA of single letters', functools.partial(read_corpus, 'fasta', [folder / 't.fa'])
    (folder / 'one.tsv').write_bytes(b'a\n' + b'\n' * 1_000_000)
    yield 'table of one empty column', functools.partial(files.read_tsv, folder / 'one.tsv')


def strange_encodings(folder: pathlib.Path) -> Iterator[Attempt]:
    """UTF-16 and UTF-32 with and without a mark, NUL bytes, Latin-1, and half a surrogate pair."""
    for what, (name, read, first, record, _) in TEXT.items():
        text = (first + record * 3).decode()
        for encoding in ('utf-16', 'utf-16-le', 'utf-16-be', 'utf-32', 'utf-32-be'):
            (folder / name).write_bytes(text.encode(encoding))
            yield f'{what} in {encoding}', refused(read, folder / name)
        (folder / name).write_bytes(first + record.replace(b'\n', b'\0\n') * 3)
        yield f'{what} with NUL', refused(read, folder / name)
        if what in ('MEME', 'JASPAR', 'BED windows', 'table', 'JSON', 'peaks'):
            for odd in (b'\xe9', b'\xed\xa0\x80', b'\xff'):
                (folder / name).write_bytes(first + record + odd + record)
                yield f'{what} with {odd!r}', refused(read, folder / name)


def something_in_the_place_of_a_file(folder: pathlib.Path) -> Iterator[Attempt]:
    """A directory, a loop of links, a link to nothing, a pipe, devices, and a name that is too long or has a NUL."""
    readers = {what: (name, read) for what, (name, read, *_) in TEXT.items()} | BINARY
    for what, (name, read) in readers.items():
        place = folder / what
        place.mkdir()
        path = place / name
        path.mkdir()
        yield f'{what}: directory', refused(read, path)
        path.rmdir()
        for target in (name, 'nowhere', '/dev/zero', '/dev/null', '/dev/random', '..'):
            path.symlink_to(target)
            yield f'{what}: link to {target}', refused(read, path)
            path.unlink()
        os.mkfifo(path)
        yield f'{what}: pipe', refused(read, path)
        path.unlink()
        yield f'{what}: nothing', refused(read, path)
        yield f'{what}: long name', refused(read, place / ('x' * 300 + name))
        yield f'{what}: NUL in the name', refused(read, place / f'\0{name}')
    loop = folder / 'loop'
    (loop / 'deep').mkdir(parents=True)
    (loop / 'deep' / 'again').symlink_to(loop)
    (loop / 'self').symlink_to('self')
    yield 'folder that links to itself', refused(lambda path: read_corpus('auto', [path]), loop)
    yield 'corpus folder that links to itself', refused(storage.load_corpus, loop / 'self')


def hostile_names(folder: pathlib.Path) -> Iterator[Attempt]:
    """Files and folders with quotes, dots, line ends, emoji and no text in their names become tasks, and survive."""
    text = b''.join(b'>1\nACGTACG%c\n>0\nACGTAAG%c\n' % (letter, letter) for letter in b'ACGT')

    def survives(source: str, path: pathlib.Path) -> None:
        try:
            corpus = read_corpus(source, [path], test_fraction=0.5)
        except InputError as error:
            raise AssertionError('refused') from error
        check_corpus(corpus)
        (task,) = corpus.tasks
        storage.save_corpus(corpus, folder / 'saved')
        loaded = storage.load_corpus(folder / 'saved', verify=True)
        assert loaded.tasks == corpus.tasks and loaded.info == json.loads(json.dumps(dict(corpus.info)))
        files.write_tsv(folder / 'jobs.tsv', [{'index': 0, 'task': task}], ('index', 'task'))
        assert files.read_tsv(folder / 'jobs.tsv')[0]['task'] == task
        safe = files.safe_name(task)
        assert safe.isascii() and '/' not in safe and not safe.startswith('.') and len(safe) <= 150
        files.write_text(folder / 'out' / safe / 'x.txt', task)
        assert [path.name for path in (folder / 'out').iterdir()] == [safe]
        (folder / 'out' / safe / 'x.txt').unlink()
        (folder / 'out' / safe).rmdir()

    for number, name in enumerate(NAMES):
        place = folder / str(number)
        place.mkdir()
        (place / f'{name}.fa').write_bytes(text)
        if name.startswith('.'):  # hidden files and folders are left out
            yield f'FASTA {name!r}', refused(lambda path: read_corpus('fasta', [path]), place)
            continue
        yield f'FASTA {name!r}', functools.partial(survives, 'fasta', place)
        motif = place / 'm' / name
        motif.mkdir(parents=True)
        for part in ('train.fa', 'test.fa'):
            (motif / part).write_bytes(text)
        yield f'DeepMotif {name!r}', functools.partial(survives, 'deepmotif', place / 'm')


def deep_and_wide_json(folder: pathlib.Path) -> Iterator[Attempt]:
    """JSON nested a million deep, with a million keys, and with numbers of a million digits."""
    for what, text in (
        ('deep list', '[' * 1_000_000),
        ('deep object', '{"a":' * 1_000_000),
        ('digits', '9' * 1_000_000),
        ('sparse', '[1,' + ' ' * 33_000_000 + '2]'),
    ):
        path = folder / 'manifest.json'
        path.write_text(text)
        yield what, refused(files.read_json, path)
        yield f'corpus of {what}', refused(storage.load_corpus, folder)
    storage.save_corpus(small_corpus(), folder / 'corpus')
    manifest = json.loads((folder / 'corpus' / 'manifest.json').read_text())
    many = [f't{number}' for number in range(1_000_000)]
    (folder / 'corpus' / 'manifest.json').write_text(json.dumps(manifest | {'tasks': many}))
    yield 'corpus of a million tasks', refused(storage.load_corpus, folder / 'corpus')


CASES: dict[str, Case] = {
    'gzip bomb, one line': bomb_of_one_line,
    'gzip bomb, records': bomb_of_records,
    'npz bomb, huge headers': bomb_of_arrays,
    'tar bomb': bomb_of_archives,
    'line of 1 GB': line_of_a_gigabyte,
    'a million empty records': a_million_empty_records,
    'NUL, UTF-16 and the like': strange_encodings,
    'no file in its place': something_in_the_place_of_a_file,
    'hostile names': hostile_names,
    'deep and wide JSON': deep_and_wide_json,
}
