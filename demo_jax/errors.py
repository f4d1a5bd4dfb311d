"""The one exception that bad input raises, and how its messages show what was found."""

from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave is wrong: a file, a record, a setting.

    The message is one line that names the file, the record or field, what was found and what was
    expected. Commands print it without a traceback and exit with status 2. What a terminal would not
    show as it is (line ends, escape sequences, bytes that are no text in a file's name) is written as `repr`
    writes it.
    """

    def __init__(self, message: object = '') -> None:
        super().__init__(printable(str(message)))


def printable(text: str) -> str:
    """Text on one line, with every unprintable character written as `repr` does: 'a\\nb' for a line end."""
    if text.isprintable():
        return text
    return ''.join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def brief(value: object, limit: int = 60) -> str:
    """`repr` of a value cut to `limit` characters, so that an error stays on one line."""
    if isinstance(value, str | bytes) and len(value) > limit:
        value = value[:limit]  # the repr of what is left is at least as long as the limit
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + '...'


def listed(names: Iterable[str], limit: int = 6) -> str:
    """Names for a message, in their order, the first `limit` of them: 'a, b, c and 2 more'."""
    names = list(names)
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more
