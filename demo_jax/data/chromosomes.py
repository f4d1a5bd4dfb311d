"""Names by which two files meet: chromosomes of peaks, genomes and lists of regions (pure)."""

import os
from collections.abc import Collection, Iterable

import numpy as np

from demo_jax.errors import InputError, brief


def known_names(
    path: str | os.PathLike, names: np.ndarray, other: str | os.PathLike, known: Collection[str]
) -> np.ndarray:
    """Which records of a file lie on sequences that another file has.

    Args:
      path: the file, for messages.
      names: of the sequence that each record lies on, `str` objects (n,).
      other: the other file, for messages.
      known: the names of its sequences.

    Returns:
      bool (n,).

    Raises:
      InputError: none does; shows a name of either file, and what they differ by if that is plain.
    """
    found = np.array([name in known for name in names.tolist()], bool)
    if not found.any():
        ours = brief(next(iter(names.tolist()), ''))
        theirs = brief(next(iter(known), ''))
        raise InputError(
            f'{path}: none of its chromosomes ({ours}, ...) is in {other} ({theirs}, ...)'
            + hint(dict.fromkeys(names.tolist()), known)
        )
    return found


def hint(names: Iterable[str], known: Collection[str]) -> str:
    """What names differ by from those that are known, for the end of a message; '' if it is nothing plain."""
    names = list(names)
    if any(f'chr{name}' in known for name in names):
        return "; they lack the prefix 'chr'"
    if any(name.startswith('chr') and name[3:] in known for name in names):
        return "; they have the prefix 'chr', which the other file has not"
    folded = {name.casefold() for name in known}
    if any(name.casefold() in folded for name in names):
        return '; they differ in upper and lower case'
    return ''
