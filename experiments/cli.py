"""What every command shares: how it starts, and how it fails."""

import dataclasses
import errno
import functools
import io
import json
import os
import re
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from demo_jax.compute.cluster import Scheduler, parse_scheduler
from demo_jax.errors import InputError, brief
from demo_jax.io.files import expanded
from demo_jax.io.settings import meanings, read_settings

_CONFIG = 'configs/quickstart.py'


def define_config() -> flags.FlagHolder:
    """The flag --config, a file of settings."""
    try:
        return config_flags.DEFINE_config_file(
            'config', _CONFIG, 'Settings; override one with --config.SECTION.NAME=VALUE.'
        )
    except Exception as error:  # without --config, settings are looked up here already
        _refuse(error, sys.argv, True)


class _Path(flags.ArgumentParser):
    """A path, in which `~` is the home directory."""

    syntactic_help = 'a path; ~ is the home directory'

    def parse(self, argument: str) -> str:
        """The path that an argument names."""
        return expanded(argument)


class _Paths(flags.ListParser):
    """Paths separated by commas; `~` is the home directory in each."""

    def parse(self, argument: str | list[str]) -> list[str]:
        """The paths that an argument names."""
        return [expanded(part) for part in super().parse(argument)]


def define_path(name: str, default: str | None, help: str, *, required: bool = False) -> flags.FlagHolder:
    """A flag that is a path; every such flag of every command is made here, or by `define_paths`."""
    return flags.DEFINE(_Path(), name, default, help, required=required)


def define_paths(name: str, help: str) -> flags.FlagHolder:
    """A flag that is a list of paths, separated by commas; none by default."""
    return flags.DEFINE(_Paths(), name, [], help, serializer=flags.ListSerializer(','))


def define_workdir(default: str = 'runs/quickstart', help: str = '') -> flags.FlagHolder:
    """The flag --workdir, the run that a command makes or goes on with."""
    return define_path('workdir', default, help or 'Directory of the run: made, or resumed where it exists.')


def define_run() -> flags.FlagHolder:
    """The flag --run, a run that a command reads."""
    return define_path('run', None, 'Directory of a trained run.', required=True)


def define_own_specs() -> flags.FlagHolder:
    """The flag --own_specs, the user's own architectures that a run may import."""
    return flags.DEFINE_list(
        'own_specs',
        [],
        'Architectures of your own, MODULE:NAME separated by commas, that the run may import. '
        'Importing a module runs it, so a module that a run names is imported only if you name it too.',
    )


def define_members() -> flags.FlagHolder:
    """The flag --members, which models of a task and architecture answer."""
    return flags.DEFINE_enum(
        'members',
        'all',
        ['all', 'best'],
        'Models of several seeds or folds: all of them (mean score and the SD between them), or the one with the best '
        'validation AUROC.',
    )


def define_tf() -> flags.FlagHolder:
    """The flag --tf, which TF a task is of."""
    return flags.DEFINE_multi_string(
        'tf',
        [],
        'NAME=SYMBOL: the TF of a task, e.g. GSM1_K562=CTCF; may be given several times. That of others is '
        'found among the words of their names, and the plan says which was taken.',
    )


def define_settings(cls: type) -> Callable[[], Any]:
    """A flag for every setting of a dataclass, with its default and what its docstring says of it.

    A field's metadata may have `choices`, a function that names them, or its `kind`, 'path'. Settings that are a
    dataclass have no flag.

    Returns:
      A function that gives the settings, to be called once flags are parsed.

    Raises (the function):
      InputError: as the dataclass.
    """
    makers: dict[type, Callable[..., flags.FlagHolder]] = {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }
    made: dict[str, flags.FlagHolder] = {}
    for field in dataclasses.fields(cls):
        name, meaning = field.name, meanings(cls)[field.name]
        default: Any = field.default
        help = meaning[:1].upper() + meaning[1:]
        if 'choices' in field.metadata:
            made[name] = flags.DEFINE_enum(name, default, field.metadata['choices'](), help)
        elif field.metadata.get('kind') == 'path':
            made[name] = define_paths(name, help) if default == () else define_path(name, default, help)
        elif isinstance(default, tuple):
            made[name] = flags.DEFINE_list(name, list(default), help)
        elif type(default) in makers:
            made[name] = makers[type(default)](name, default, help)
    return lambda: read_settings(cls, {name: flag.value for name, flag in made.items()}, cls.__name__)


def define_set(section: str) -> flags.FlagHolder:
    """The flag --set, single settings of a section."""
    return flags.DEFINE_multi_string(
        'set', [], f'NAME=VALUE: another value for a setting of the section {section}; may be given several times.'
    )


def define_scheduler() -> Callable[[], Scheduler | None]:
    """The flags that say where work is handed to; what they say is a function, to be called once they are parsed.

    Raises (the function):
      InputError: no such form of a scheduler.
    """
    where = flags.DEFINE_string(
        'scheduler',
        '',
        'Train and explain on the workers of a Dask scheduler: tcp://HOST:8786, or tls://...; or '
        'local:N, which starts N worker processes on this machine. None = this process does all. See docs/cluster.md.',
    )
    patience = flags.DEFINE_float(
        'scheduler_timeout', 60.0, 'With --scheduler: seconds to wait for it, and for workers where there are none.'
    )
    return lambda: parse_scheduler(where.value, patience.value)


def parsed_settings(entries: Sequence[str]) -> dict[str, Any]:
    """Settings out of NAME=VALUE; a value is JSON where it can be read as such, else text.

    Raises:
      InputError: an entry has no '='.
    """
    values = {}
    for entry in entries:
        name, equals, text = entry.partition('=')
        if not equals:
            raise InputError(f'--set={brief(entry)}: expected NAME=VALUE')
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


def run(main: Callable[[Sequence[str]], int | None], *, words: Sequence[str] = ()) -> None:
    """Parse the flags and call `main(argv)`; an `InputError` becomes one line and exit status 2.

    A command with `words` takes one of them in front of, or behind, its flags.

    Unknown flags, left-over arguments and bad flag values are reported by absl (status 1) or here.
    A reader that closes the pipe early (`| head`) ends the command silently. A disk that is full, or a quota that is
    used up, is one line and status 1: what was written before is whole.
    """

    def guarded(argv: Sequence[str]) -> int | None:
        os.environ['MPLBACKEND'] = 'agg'  # figures become files; what a notebook set there may not be installed
        for stream in (sys.stdout, sys.stderr):  # a terminal without UTF-8 shows what it cannot as \xe9, and goes on
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors='backslashreplace')
        logging.set_verbosity(logging.FATAL)  # jax and orbax chat, and orbax logs tracebacks of what it raises anyway
        signal.signal(signal.SIGTERM, _interrupt)  # as Ctrl-C, so that locks and temporary files are cleared
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # set while modules were imported
            signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = functools.partial(_swallowed, sys.unraisablehook)
        try:
            if words and len(argv) > 1 and argv[1] not in words:
                raise InputError(f'unexpected argument {brief(argv[1])}, expected one of {", ".join(words)}')
            if len(argv) > 1 + bool(words):
                raise InputError(f'unexpected argument {argv[-1]!r}: every setting is a --flag (see --help)')
            return main(argv)
        except InputError as error:
            traceback.clear_frames(error.__traceback__)  # a progress bar under way ends its line before the error's
            print(f'error: {error}', file=sys.stderr)
            return 2
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            where = f'{error.filename}: ' if error.filename else ''
            print(f'error: {where}{error.strerror}; make room, and the same command goes on', file=sys.stderr)
            return 1
        except KeyboardInterrupt as stop:  # also SIGTERM; its text says what was kept
            print(str(stop) or 'interrupted', file=sys.stderr)
            return 130

    if words:
        flags.FLAGS.set_gnu_getopt(True)  # else flags behind the word are not read
    app.run(guarded, flags_parser=_parse)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _swallowed(usual: Callable[['sys.UnraisableHookArgs'], object], ignored: 'sys.UnraisableHookArgs') -> None:
    """Send SIGTERM again if it came during garbage collection: Python drops exceptions of the callback that JAX has."""
    if not issubclass(ignored.exc_type, KeyboardInterrupt):
        usual(ignored)
        return
    again = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
    again.daemon = True
    again.start()


def _parse(argv: Sequence[str]) -> list[str]:
    """absl's parser, but whatever is wrong with a flag or a config file is one line, and no traceback."""
    try:
        argv = [_with_home(argument) for argument in argv]
        rest = flags.FLAGS(argv)
        if 'config' in flags.FLAGS:
            config: Any = flags.FLAGS['config'].value
            config.keys()  # of a file that could not be read, the value raises when it is used
        return rest
    except BrokenPipeError:  # `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # ml_collections lets through what a config raises: KeyError, IOError, TypeError...
        _refuse(error, argv, 'config' in flags.FLAGS)


def _with_home(argument: str) -> str:
    """`--config=~/x.py` with the home directory in it; the flag is made by ml_collections, not by `define_path`."""
    found = re.fullmatch('(--?config=)(~.*)', argument, re.DOTALL)
    return found[1] + expanded(found[2]) if found else argument


def _refuse(error: Exception, argv: Sequence[str], with_config: bool) -> NoReturn:
    text = (_wrong_setting(argv) if with_config else '') or ' '.join(str(error).split()) or type(error).__name__
    print(f'error: {text}', file=sys.stderr)
    sys.exit(2)


def _wrong_setting(argv: Sequence[str]) -> str:
    """Which config file or setting of it is not there; nothing if all are."""
    path, names = _CONFIG, []
    for place, argument in enumerate(argv[1:], 1):
        found = re.fullmatch(r'--?config(?:\.([^=]+))?(?:=(.*))?', argument, re.DOTALL)
        if found and found[1]:
            names.append(found[1])
        elif found:
            path = found[2] if found[2] is not None else ''.join(argv[place + 1 : place + 2])
    if not os.path.isfile(path):
        return f'{path or "--config"}: no such config file'
    try:
        config = runpy.run_path(path)['get_config']()
    except Exception:  # told by the caller
        return ''
    for name in names:
        here, above = config, 'the config'
        for part in name.split('.'):
            if not isinstance(here, ConfigDict):
                return f'--config.{name}: no such setting; {above} is a value, not a section'
            if part not in here:
                return f'--config.{name}: no such setting; {above} has {", ".join(here)}'
            here, above = here[part], part
    return ''


def numbers_of(text: str, flag: str) -> list[int]:
    """Whole numbers and ranges: '2,5-7' is [2, 5, 6, 7].

    Raises:
      InputError: something else.
    """
    found: set[int] = set()
    for part in text.split(','):
        ends = re.fullmatch(r'\s*(\d{1,9})(?:-(\d{1,9}))?\s*', part)
        if not ends or int(ends[2] or ends[1]) < int(ends[1]):
            raise InputError(f'--{flag}={brief(text)}: expected numbers and ranges, e.g. 2,5-7')
        found |= set(range(int(ends[1]), int(ends[2] or ends[1]) + 1))
    return sorted(found)
