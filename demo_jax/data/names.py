"""Names by which two files meet, those of chromosomes, and what one that is missing may be called instead (pure)."""

from collections.abc import Collection, Iterable

from demo_jax.errors import brief

_MITOCHONDRIAL = {'chrM': 'MT', 'MT': 'chrM', 'M': 'MT'}


def other_spelling(name: str, known: Collection[str]) -> str | None:
    """What a chromosome that is not among `known` names is called there: '1' for 'chr1', 'chrM' for 'MT'; or None."""
    bare = name[3:] if name[:3].lower() == 'chr' else name
    spellings = (bare, f'chr{bare}', f'Chr{bare}', _MITOCHONDRIAL.get(name, ''))
    return next((other for other in spellings if other and other != name and other in known), None)


def spelling_hint(names: Iterable[str], known: Collection[str]) -> str:
    """The end of a message that says that none of `names` is `known`: "; 'chr1' may be '1' there", or ''."""
    for name in names:
        other = other_spelling(name, known)
        if other is not None:
            return f'; {brief(name)} may be called {brief(other)} there (with or without "chr" in front)'
    return ''
