"""A few hundred damaged files per reader, and the special cases that are quick."""

import pathlib
import random
import time

import pytest

from demo_jax.errors import InputError
from tests.robustness import fuzz, fuzz_readers, fuzz_specials, mutation

#: In the short form each of these takes too long; `python -m tests.robustness.fuzz` has them all.
LONG = ('checkpoints',)
FILES = 100


@pytest.fixture(scope='module')
def rows() -> dict[str, fuzz.Row]:
    """One short run of everything."""
    quick = [name for name in fuzz_readers.READERS if name not in LONG]
    return {row.reader: row for row in fuzz.run(FILES, 600.0, readers=quick, specials=False, seed=4)}


@pytest.mark.parametrize('name', [name for name in fuzz_readers.READERS if name not in LONG])
def test_damaged_files_are_read_or_refused(rows, name):
    row = rows[name]
    assert row.unexpected == row.hangs == 0, row.examples
    assert row.files == row.accepted + row.refused
    assert row.files == FILES and row.accepted and row.refused > row.files // 4  # damage, and not only damage
    assert row.peak_mb < 1000


@pytest.mark.parametrize(
    'name',
    [
        'npz bomb, huge headers',
        'line of 1 GB',
        'NUL, UTF-16 and the like',
        'no file in its place',
        'hostile names',
        'gzip bomb, one line',
    ],
)
def test_special_cases(name):
    with fuzz.memory_folder() as folder:
        for what, read in fuzz_specials.CASES[name](folder):
            try:
                read()
            except InputError as error:
                assert str(error).isprintable() and 0 < len(str(error)) < fuzz.LONGEST_MESSAGE, what


def test_the_same_seed_damages_in_the_same_way():
    def damage(seed: int) -> list[bytes]:
        rng = random.Random(seed)
        texts = [b'>1\nACGT\n' * 9, b'chr1\t5\t9\n' * 9, b'{"a": [1, 2]}']
        return [mutation.mutated(name, text, rng, texts) for name in ('x.fa', 'x.json', 'x.npy') for text in texts]

    assert damage(1) == damage(1) != damage(2)


def test_what_is_wrong_is_counted(monkeypatch, tmp_path):
    """A reader that breaks its promises is noticed, in each way."""

    def bad(kind: int) -> None:
        if kind == 0:
            raise KeyError('x')
        if kind == 1:
            raise InputError('')
        if kind == 2:
            while True:
                pass
        if kind == 3:
            time.sleep(60)
        raise InputError('fine: one line')

    counts = fuzz._Counts(0.3)
    for kind in range(5):
        counts.attempt(lambda kind=kind: bad(kind), 'file')
    counts.attempt(lambda: None, 'file')
    assert (counts.files, counts.accepted, counts.refused, counts.unexpected, counts.hangs) == (6, 1, 1, 2, 2)
    row = fuzz._isolated('crash', lambda folder: fuzz.os.kill(fuzz.os.getpid(), 9), 5)
    assert row.unexpected == 1 and 'wait status 9' in row.examples[0]
    row = fuzz._isolated('large', lambda folder: [counts, bytes(bytearray(300 * fuzz.MEGABYTE)), counts][0], 5)
    assert row.peak_mb > 290 and row.files == 6


def test_what_replaces_a_file_is_what_it_is_called(tmp_path: pathlib.Path):
    seen = set()
    for seed in range(60):
        path = tmp_path / 'x'
        path.write_text('x')
        kind = mutation.replaced(path, random.Random(seed))
        seen.add(kind)
        assert path.is_file() is False and (kind == 'missing') == (not path.is_symlink() and not path.exists())
        fuzz._restore(path, b'x')
    assert len(seen) == 8
