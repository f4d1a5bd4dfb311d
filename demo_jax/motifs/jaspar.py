"""JASPAR matrices, out of the databases that pyjaspar carries (edge: touches the disk)."""

import contextlib
import dataclasses
import functools
import sqlite3
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from demo_jax.data import dna
from demo_jax.errors import InputError, brief
from demo_jax.evaluation.proteins import symbols_of
from demo_jax.motifs.extract import information_content

#: The release that the paper used.
PAPER = 'JASPAR2016'
#: Names that a release gives to another protein's matrix: base id -> (that name, the right one). The nuclear
#: respiratory factor NRF1 binds GCGCATGCGC. NFE2L1, whose alias is NRF1 too, binds TGACTCAGCA beside a small MAF, and
#: that is what every version of MA0089 holds. JASPAR2026 names them after the former and cites its accession, Q16656.
MISNAMED: Mapping[str, tuple[str, str]] = {'MA0089': ('MAFG::NRF1', 'MAFG::NFE2L1')}


@dataclasses.dataclass(frozen=True, eq=False)
class JasparMatrix:
    """One motif.

    Attributes:
      id: JASPAR id with version, e.g. 'MA0139.1'.
      name: the protein's symbol, e.g. 'CTCF'; a complex is written 'GATA1::TAL1'. As in the release, but for
        the names in `MISNAMED`.
      counts: float64 (w, 4), how often each of A C G T was seen in each column.
      probabilities: float64 (w, 4), counts divided by their column's sum; no pseudocount.
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
        """The likeliest letter of each column, small where it has less than half: 'TtCTTATCTgT'."""
        letters, share = dna.decode(self.probabilities.argmax(axis=1)), self.probabilities.max(axis=1)
        return ''.join(
            letter if most >= 0.5 else letter.lower() for letter, most in zip(letters, share, strict=True)
        )

    @property
    def bits(self) -> float:
        """Information of the whole matrix."""
        return float(information_content(self.probabilities).sum())


def releases() -> tuple[str, ...]:
    """The releases that the installed pyjaspar carries, newest first, e.g. 'JASPAR2026'."""
    import pyjaspar

    return tuple(sorted(pyjaspar.jaspar_releases, reverse=True))


def load_matrices(
    release: str | None = None, *, tax_group: str = 'vertebrates', collection: str = 'CORE'
) -> dict[str, JasparMatrix]:
    """The newest version of every matrix of a JASPAR release.

    All counts come with one query, so that some hundred matrices take well under a second (pyjaspar
    itself asks four times per matrix).

    Args:
      release: e.g. 'JASPAR2016'; None is the newest release installed.
      tax_group: e.g. 'vertebrates', 'plants'.
      collection: e.g. 'CORE'.

    Returns:
      id -> matrix, sorted by id.

    Raises:
      InputError: no such release (lists those there are), or no matrix of that group and collection.
    """
    release = releases()[0] if release is None else release
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
        wrong, right = MISNAMED.get(base, ('', ''))
        name = right if name.strip() == wrong else name.strip()
        matrices[f'{base}.{version}'] = JasparMatrix(f'{base}.{version}', name, counts, probabilities)
    return matrices


@functools.cache
def symbols() -> frozenset[str]:
    """The symbols, in capitals, of all proteins with a matrix in the vertebrates' CORE of any installed release."""
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
    """The installed releases, newest first, whose vertebrates' CORE holds all these ids in these versions."""
    return tuple(release for release in releases() if set(ids) <= load_matrices(release).keys())


def other_version(motif: str, matrices: Collection[str]) -> str | None:
    """The id with another version of the same base, e.g. 'MA0035.5' for 'MA0035.3'; None where there is none."""
    base = motif.partition('.')[0]
    return next((known for known in matrices if known.partition('.')[0] == base), None)


@contextlib.contextmanager
def _opened(release: str) -> Iterator[sqlite3.Connection]:
    """The database of a release; what goes wrong with it is an InputError."""
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

