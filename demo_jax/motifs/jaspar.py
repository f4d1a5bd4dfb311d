"""JASPAR matrices, out of the databases that pyjaspar carries (edge: touches the disk)."""

import dataclasses
import sqlite3

import numpy as np

from demo_jax.errors import InputError, brief


@dataclasses.dataclass(frozen=True, eq=False)
class JasparMatrix:
    """One motif.

    Attributes:
      id: JASPAR id with version, e.g. 'MA0139.1'.
      name: the protein's symbol, e.g. 'CTCF'; a complex is written 'GATA1::TAL1'.
      counts: float64 (w, 4), how often each of A C G T was seen in each column.
      probabilities: float64 (w, 4), counts divided by their column's sum; no pseudocount.
    """

    id: str
    name: str
    counts: np.ndarray
    probabilities: np.ndarray


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
    import pyjaspar

    known = releases()
    release = known[0] if release is None else release
    if release not in known:
        raise InputError(f'JASPAR release {brief(release)} is not installed; pyjaspar has {", ".join(known)}')
    connection = pyjaspar.jaspardb(release=release).conn
    try:
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
    except sqlite3.Error as error:
        raise InputError(f'{release}: its database cannot be read ({error})') from error
    finally:
        connection.close()
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
        matrices[f'{base}.{version}'] = JasparMatrix(f'{base}.{version}', name.strip(), counts, probabilities)
    return matrices

