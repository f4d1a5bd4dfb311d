"""The one exception that bad input raises."""


class InputError(ValueError):
    """Something the user gave is wrong: a file, a record, a setting.

    The message is one line that names the file, the record or field, what was found and what was
    expected. Commands print it without a traceback and exit with status 2.
    """


def brief(value: object, limit: int = 60) -> str:
    """`repr` of a value cut to `limit` characters, so that an error stays on one line."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + '...'
