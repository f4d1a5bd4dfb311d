"""Names by which two files meet, those of chromosomes, and what one that is missing may be called instead (pure)."""

import os
from collections.abc import Collection, Iterable

import numpy as np

from demo_jax.errors import InputError, brief

_MITOCHONDRIAL = {'chrM': 'MT', 'MT': 'chrM', 'M': 'MT'}


def spellings(name: str, known: Collection[str]) -> list[str]:
    """What a chromosome may be called among `known` names other than `name`: '1' for 'chr1', 'chrM' for 'MT'."""
    bare = name[3:] if name[:3].lower() == 'chr' else name
    other = dict.fromkeys((bare, f'chr{bare}', f'Chr{bare}', _MITOCHONDRIAL.get(name, '')))
    return [spelling for spelling in other if spelling and spelling != name and spelling in known]


def other_spelling(name: str, known: Collection[str]) -> str | None:
    """The first of `spellings`, or None."""
    return next(iter(spellings(name, known)), None)


def spelling_hint(names: Iterable[str], known: Collection[str]) -> str:
    """The end of a message that says that none of `names` is `known`: "; 'chr1' may be '1' there", or ''."""
    names = list(names)
    for name in names:
        other = other_spelling(name, known)
        if other is not None:
            return f'; {brief(name)} may be called {brief(other)} there (with or without "chr" in front)'
    folded = {other.casefold(): other for other in known}
    for name in names:
        if name.casefold() in folded:
            return f'; {brief(name)} may be called {brief(folded[name.casefold()])} there'
    return ''


def no_name_is_known(
    path: str | os.PathLike, names: Iterable[str], other: str | os.PathLike, known: Collection[str]
) -> InputError:
    """The error that no sequence of a file is in another: shows a name of either, and how they differ if that is plain.

    Args:
      path: the file.
      names: of its sequences, or some of them, at least one.
      other: the other file.
      known: the names of its sequences.
    """
    names = list(names)
    ours, theirs = (brief(next(iter(some), '')) for some in (names, known))
    return InputError(
        f'{path}: none of its chromosomes ({ours}, ...) is in {other} ({theirs}, ...){spelling_hint(names, known)}'
    )


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
    is_known = np.array([name in known for name in names.tolist()], bool)
    if not is_known.any():
        raise no_name_is_known(path, dict.fromkeys(names.tolist()), other, known)
    return is_known
