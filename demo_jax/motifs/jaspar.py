"""JASPAR matrices from the databases that pyjaspar brings (edge: touches the disk)."""

import contextlib
import dataclasses
import functools
import sqlite3
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from demo_jax import dna
from demo_jax.dna import information_content
from demo_jax.errors import InputError, brief
from demo_jax.evaluation.proteins import symbols_of

#: The release that the paper used.
PAPER = 'JASPAR2016'
#: Wrong names in a release: base id -> (name in JASPAR, right name). The nuclear respiratory factor NRF1 binds
#: GCGCATGCGC. NFE2L1, which also has the alias NRF1, binds TGACTCAGCA together with a small MAF, and this is the motif
#: of every version of MA0089. JASPAR2026 calls them NRF1 and cites the accession of the former, Q16656.
MISNAMED: Mapping[str, tuple[str, str]] = {'MA0089': ('MAFG::NRF1', 'MAFG::NFE2L1')}


@dataclasses.dataclass(frozen=True, eq=False)
class JasparMatrix:
    """One motif.

    Attributes:
      id: JASPAR id with version, e.g. 'MA0139.1'.
      name: the protein's symbol, e.g. 'CTCF'; a complex is written 'GATA1::TAL1'. As in the release, except for the
        names in `MISNAMED`.
      counts: float64 (w, 4), counts of A C G T in each column.
      probabilities: float64 (w, 4), counts divided by the sum of their column; no pseudocount.
    """

    id: str
    name: str
    counts: np.ndarray
    probabilities: np.ndarray

    @property
    def label(self) -> str:
        """Id and name, e.g. 'MA0035.3:Gata1'."""
        return f'{self.id}:{self.name}'

    @property
    def consensus(self) -> str:
        """The most probable letter of each column, lower case if it has less than half: 'TtCTTATCTgT'."""
        letters, share = dna.decode(self.probabilities.argmax(axis=1)), self.probabilities.max(axis=1)
        return ''.join(letter if most >= 0.5 else letter.lower() for letter, most in zip(letters, share, strict=True))

    @property
    def bits(self) -> float:
        """Information content of the matrix, summed over its columns."""
        return float(information_content(self.probabilities).sum())


def releases() -> tuple[str, ...]:
    """The releases in the installed pyjaspar, newest first, e.g. 'JASPAR2026'."""
    import pyjaspar

    return tuple(sorted(pyjaspar.jaspar_releases, reverse=True))


def load_matrices(
    release: str | None = None, *, tax_group: str = 'vertebrates', collection: str = 'CORE'
) -> dict[str, JasparMatrix]:
    """The newest version of every matrix of a JASPAR release.

    One query reads all counts, so that hundreds of matrices take well under a second (pyjaspar makes four queries per
    matrix), and a process reads them once.

    Args:
      release: e.g. 'JASPAR2016'; None is the newest release installed.
      tax_group: e.g. 'vertebrates', 'plants'.
      collection: e.g. 'CORE'.

    Returns:
      id -> matrix, sorted by id; their arrays cannot be written to.

    Raises:
      InputError: no such release (the message lists the installed ones), or no matrix of that group and collection.
    """
    return dict(_read(releases()[0] if release is None else release, tax_group, collection))


@functools.lru_cache(maxsize=16)
def _read(release: str, tax_group: str, collection: str) -> dict[str, JasparMatrix]:
    """See `load_matrices`."""
    with _opened(release) as connection:
        chosen = connection.execute(
            """
            SELECT m.ID, m.BASE_ID, m.VERSION, m.NAME FROM MATRIX m
            JOIN MATRIX_ANNOTATION a ON a.ID = m.ID AND a.TAG = 'tax_group' AND a.VAL = ? COLLATE NOCASE
            WHERE m.COLLECTION = ? COLLATE NOCASE
            """,
            (tax_group, collection),
        ).fetchall()
        newest: dict[str, tuple[int, int, str]] = {}
        for number, base, version, name in chosen:
            if base not in newest or int(version) > newest[base][1]:
                newest[base] = (number, int(version), name)
        cells = connection.execute('SELECT ID, row, col, val FROM MATRIX_DATA').fetchall()
    if not newest:
        raise InputError(f'{release} has no matrices with tax_group {tax_group!r} and collection {collection!r}')

    by_number: dict[int, list[tuple[int, str, float]]] = {number: [] for number, _, _ in newest.values()}
    for number, letter, column, value in cells:
        if number in by_number:
            by_number[number].append((column, letter, value))
    matrices = {}
    for base, (number, version, name) in sorted(newest.items()):
        values = [value for _, _, value in sorted(by_number[number])]  # column by column, A C G T
        counts = np.array(values, np.float64).reshape(-1, 4)
        probabilities = counts / counts.sum(axis=1, keepdims=True)
        for array in (counts, probabilities):  # of all who ask
            array.flags.writeable = False
        wrong, right = MISNAMED.get(base, ('', ''))
        name = right if name.strip() == wrong else name.strip()
        matrices[f'{base}.{version}'] = JasparMatrix(f'{base}.{version}', name, counts, probabilities)
    return matrices


@functools.cache
def symbols() -> frozenset[str]:
    """Upper-case symbols of all proteins with a matrix in the vertebrate CORE collection of any installed release."""
    found: set[str] = set()
    for release in releases():
        with _opened(release) as connection:
            names = connection.execute(
                """
                SELECT DISTINCT m.NAME FROM MATRIX m
                JOIN MATRIX_ANNOTATION a ON a.ID = m.ID AND a.TAG = 'tax_group' AND a.VAL = 'vertebrates' COLLATE NOCASE
                WHERE m.COLLECTION = 'CORE' COLLATE NOCASE
                """
            ).fetchall()
        found.update(symbol for (name,) in names for symbol in symbols_of(name.strip()))
    return frozenset(found)


def releases_with(ids: Collection[str]) -> tuple[str, ...]:
    """The installed releases, newest first, whose vertebrate CORE collection contains all these versioned ids."""
    return tuple(release for release in releases() if set(ids) <= load_matrices(release).keys())


def other_version(motif: str, matrices: Collection[str]) -> str | None:
    """Another version of the same base id, e.g. 'MA0035.5' for 'MA0035.3'; None if there is none."""
    base = motif.partition('.')[0]
    return next((known for known in matrices if known.partition('.')[0] == base), None)


@contextlib.contextmanager
def _opened(release: str) -> Iterator[sqlite3.Connection]:
    """The database of a release; its errors become `InputError`."""
    import pyjaspar

    known = releases()
    if release not in known:
        raise InputError(f'JASPAR release {brief(release)} is not installed; pyjaspar has {", ".join(known)}')
    connection = pyjaspar.jaspardb(release=release).conn
    try:
        yield connection
    except sqlite3.Error as error:
        raise InputError(f'{release}: its database cannot be read ({error})') from error
    finally:
        connection.close()
