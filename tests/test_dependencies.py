"""setup.cfg requires what the code imports: no more, and no less."""

import ast
import configparser
import importlib.metadata
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
CODE = ('demo_jax', 'experiments', 'configs')
#: Parts of a distribution that is required: jax brings its jaxlib, matplotlib reads and writes pictures by Pillow,
#: distributed is a part of Dask.
BROUGHT_BY = {'jaxlib': 'jax', 'pillow': 'matplotlib', 'dask': 'distributed'}
#: What the extra `test` holds to be run or plugged in, not imported.
TOOLS = {'cryptography', 'ipykernel', 'modisco-lite', 'mypy', 'pytest-cov', 'pytest-xdist', 'ruff'}


def required(text: str) -> set[str]:
    """The distributions of a list of requirements."""
    return {re.split(r'[\[<>=! ]', line.strip())[0].lower() for line in text.split('\n') if line.strip()}


def imports(source: str) -> tuple[set[str], set[str]]:
    """Packages that are imported with the module, and those that are imported when a function is called."""
    first, later = set(), set()

    def look(node: ast.AST, into: set[str]) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                into |= {alias.name.split('.')[0] for alias in child.names}
            elif isinstance(child, ast.ImportFrom) and not child.level:
                into.add(str(child.module).split('.')[0])
            elif isinstance(child, ast.Call) and ast.unparse(child.func).endswith(('import_module', 'importorskip')):
                into |= {arg.value.split('.')[0] for arg in child.args if isinstance(arg, ast.Constant)}
            look(child, later if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else into)

    look(ast.parse(source), first)
    return first, later


def distributions(packages: set[str]) -> set[str]:
    """The distributions that packages come from, without Python's own and this one's."""
    known = importlib.metadata.packages_distributions()
    known |= {'haiku': ['dm-haiku'], 'torch': ['torch'], 'modiscolite': ['modisco-lite'], 'playwright': ['playwright']}
    found = set()
    for package in packages - set(sys.stdlib_module_names) - {*CODE, 'tests'}:
        (name,) = {name.lower().replace('_', '-') for name in known.get(package, [package])}
        found.add(name)
    return found


def imported(*folders: str) -> tuple[set[str], set[str]]:
    """The distributions of what all modules of some folders import, as `imports`."""
    first, later = set(), set()
    for folder in folders:
        for path in (ROOT / folder).rglob('*.py'):
            found = imports(path.read_text(encoding='utf-8'))
            first, later = first | found[0], later | found[1]
    return distributions(first), distributions(later)


@pytest.fixture(scope='module')
def config() -> dict[str, set[str]]:
    """The requirements of setup.cfg by extra; those of every user under ''."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / 'setup.cfg')
    extras = {name: required(text) for name, text in parser['options.extras_require'].items()}
    return {'': required(parser['options']['install_requires']), **extras}


def of_users(config: dict[str, set[str]]) -> set[str]:
    """What is required for all that the package can do."""
    return set().union(*(names for extra, names in config.items() if extra not in ('test', 'peers')))


def test_what_is_required_is_what_is_imported(config):
    first, later = imported(*CODE)
    users = of_users(config)
    assert config[''] <= first | later  # nothing that tests alone import
    # Of the benchmarks, and the pictures for README.md: extras for developers.
    for_developers = {
        'torch': 'peers',
        'captum': 'peers',
        'ledidi': 'peers',
        'tangermeme': 'peers',
        'playwright': 'test',
    }
    assert all(name in config[extra] for name, extra in for_developers.items())
    wanted = {BROUGHT_BY.get(name, name) for name in first | later} - set(for_developers)
    assert wanted <= users
    # What an extra alone brings is imported only where it is asked for.
    assert wanted - config[''] <= later - first


def test_the_package_itself_imports_nothing_for_developers(config):
    first, later = imported('demo_jax', 'configs')
    assert not (first | later) & (config['test'] | config['peers']) - of_users(config)


def test_the_tests_extra_is_what_tests_import(config):
    first, later = imported('tests')
    tests = {BROUGHT_BY.get(name, name) for name in first | later}
    assert tests - config[''] - {'torch', 'tangermeme'} == config['test'] - TOOLS
    assert config['test'] >= TOOLS
    assert not config['test'] & config['']


def test_imports_are_found():
    source = 'import a.b, c\nfrom d.e import f\nfrom . import g\ndef h():\n    import i\n    x("j")\n'
    assert imports(source) == ({'a', 'c', 'd'}, {'i'})
    assert imports('try:\n    import a\nexcept ImportError: ...\nclass B:\n    import c\n') == ({'a', 'c'}, set())
    assert imports('def f():\n    importlib.import_module("a.b")') == (set(), {'a'})
    assert required('\n a-B>=1\njax[cuda12]>=0.10,<0.12\nc') == {'a-b', 'jax', 'c'}
