"""What every command shares: how it starts, and how it fails."""

import os
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from demo_jax.errors import InputError


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Parse the flags and call `main(argv)`; an `InputError` becomes one line and exit status 2.

    Unknown flags, left-over arguments and bad flag values are reported by absl (status 1) or here.
    A reader that closes the pipe early (`| head`) ends the command silently.
    """

    def guarded(argv: Sequence[str]) -> int | None:
        logging.set_verbosity(logging.ERROR)  # jax and orbax chat at INFO and WARNING
        try:
            if len(argv) > 1:
                raise InputError(f'unexpected argument {argv[1]!r}: every setting is a --flag (see --help)')
            return main(argv)
        except InputError as error:
            print(f'error: {error}', file=sys.stderr)
            return 2
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except KeyboardInterrupt as stop:  # also SIGTERM; its text says what was kept
            print(str(stop) or 'interrupted', file=sys.stderr)
            return 130

    app.run(guarded, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    """absl's parser, but whatever is wrong with a flag or a config file is one line, and no traceback."""
    try:
        return flags.FLAGS(argv)
    except Exception as error:  # ml_collections lets through what a config raises: KeyError, IOError, TypeError...
        print(f'error: {" ".join(str(error).split()) or type(error).__name__}', file=sys.stderr)
        sys.exit(2)
