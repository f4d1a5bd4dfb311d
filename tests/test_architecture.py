"""The shape of the code: what may import what, nothing that runs data as code, docstrings, short modules."""

import ast
import subprocess
import sys

import pytest

from tests.helpers import ROOT
from tests.helpers_source import MODULES, imports, module_name, unsafe_calls

# Data flow downhill: a package imports only those before it. A file beside the packages counts as one.
ORDER = (
    'errors',
    'dna',
    'io',
    'nn',
    'compute',
    'data',
    'evaluation',
    'motifs',
    'baseline',
    'training',
    'explain',
    'runs',
    'report',
    'predict',
    'insilico',
    'stages',
)
# Arrays in, arrays out: no files, no flags, no logging.
CORE = (
    'demo_jax.dna',
    'demo_jax.nn',
    'demo_jax.training',
    'demo_jax.evaluation',
    'demo_jax.explain',
    'demo_jax.baseline.finder',
    'demo_jax.baseline.zoops',
    'demo_jax.baseline.motif_scores',
    'demo_jax.data.corpus',
    'demo_jax.data.simulate',
    'demo_jax.motifs.extract',
    'demo_jax.motifs.tomtom',
    'demo_jax.motifs.scan',
    'demo_jax.motifs.piles',
    'demo_jax.motifs.seqlets',
    'demo_jax.motifs.discover',
    'demo_jax.motifs.hits',
    'demo_jax.motifs.spacing',
)
# What touches the disk or the screen.
EDGE = (
    'demo_jax.io.files',
    'demo_jax.io.arrays',
    'demo_jax.io.textfile',
    'demo_jax.compute',
    'demo_jax.runs',
    'demo_jax.data.readers',
    'demo_jax.data.peak_table',
    'demo_jax.data.peak_files',
    'demo_jax.data.intervals',
    'demo_jax.data.storage',
    'demo_jax.data.download',
    'demo_jax.data.variants',
    'demo_jax.motifs.formats',
    'demo_jax.motifs.jaspar',
    'demo_jax.baseline.meme_suite',
    'demo_jax.report',
    'demo_jax.predict.run',
    'demo_jax.predict.windows',
    'demo_jax.predict.scoring',
    'demo_jax.predict.score_tables',
    'demo_jax.predict.variant_check',
    'demo_jax.predict.variant_effects',
    'demo_jax.predict.variant_maps',
    'demo_jax.predict.variant_null',
    'demo_jax.predict.alleles',
    'demo_jax.stages',
)
EDGE_PACKAGES = (
    'absl',
    'ml_collections',
    'tensorboardX',
    'orbax',
    'tqdm',
    'matplotlib',
    'logomaker',
    'jinja2',
    'dask',
    'distributed',
)
COMMAND_LINE = ('absl', 'ml_collections', 'experiments', 'configs')
UNSAFE_PACKAGES = ('pickle', '_pickle', 'cPickle', 'cloudpickle', 'dill', 'joblib', 'shelve', 'marshal')
HEAVY = ('jax', 'flax', 'optax', 'orbax', 'scipy', 'sklearn', 'matplotlib', 'pandas', 'memelite', 'tensorboardX')
LONGEST_FUNCTION = 70  # lines without the docstring


def within(name: str, packages) -> bool:
    """Whether a dotted name is one of the packages or lies inside one."""
    return any(name == package or name.startswith(f'{package}.') for package in packages)


def forbidden_imports(source: str, module: str, is_package: bool = False) -> list[str]:
    """The imports of a module that break the one-way street."""
    found = imports(source, module, is_package)
    bad = UNSAFE_PACKAGES
    if within(module, ('demo_jax',)):
        bad += COMMAND_LINE
    if within(module, CORE):
        bad += EDGE + EDGE_PACKAGES
    return sorted({name for name in found if within(name, bad)})


def upward_imports(source: str, module: str, is_package: bool = False) -> list[str]:
    """The imports of a module of `demo_jax` that run against `ORDER`."""
    if not module.startswith('demo_jax.'):
        return []
    place = ORDER.index(module.split('.')[1])
    parts = {name: name.split('.')[1] for name in imports(source, module, is_package) if name.startswith('demo_jax.')}
    return sorted(name for name, part in parts.items() if part in ORDER and ORDER.index(part) > place)


def long_functions(source: str) -> list[str]:
    """Functions and methods of more than `LONGEST_FUNCTION` lines, their docstrings not counted."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            lines = node.end_lineno - node.lineno + 1 - (len(text.splitlines()) if text else 0)
            if lines > LONGEST_FUNCTION:
                found.append(f'{node.name}: {lines} lines')
    return found


def without_docstring(source: str) -> list[str]:
    """The module, and its public functions, classes and their methods, where they have no docstring."""
    tree = ast.parse(source)
    found = [] if ast.get_docstring(tree) or not tree.body else ['module']

    def look(body, prefix=''):
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith('_'):
                continue
            overload = any('overload' in ast.unparse(decorator) for decorator in node.decorator_list)
            if not ast.get_docstring(node) and not overload:
                found.append(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                look(node.body, f'{prefix}{node.name}.')

    look(tree.body)
    return found


#: Errors of the programmer's own making, which are not for a caller to catch.
OWN_ERRORS = ('AssertionError', 'NotImplementedError', 'AttributeError', 'KeyboardInterrupt')


def public_parts(tree: ast.Module):
    """(dotted name, node) of public functions, classes and their methods."""

    def look(body, prefix=''):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith('_'):
                yield prefix + node.name, node
                if isinstance(node, ast.ClassDef):
                    yield from look(node.body, f'{prefix}{node.name}.')

    return look(tree.body)


def raised(function: ast.FunctionDef) -> set[str]:
    """The names of the errors that a function's own body raises, not those of functions inside it."""
    found, left = set(), list(function.body)
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Raise) and node.exc is not None:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(error).split('.')[-1]
            found |= {name} if name[:1].isupper() and name not in OWN_ERRORS else set()
        left += ast.iter_child_nodes(node)
    return found


def undocumented(source: str) -> list[str]:
    """Errors that a public docstring does not name. What shapes arrays have is checked as the tests run: shapes.py."""
    found = []
    for name, node in public_parts(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            text = ast.get_docstring(node) or ''
            found += [f'{name}: raises {error}' for error in sorted(raised(node)) if error not in text]
    return found


@pytest.mark.parametrize('path', MODULES, ids=module_name)
def test_module(path):
    source = path.read_text(encoding='utf-8')
    assert forbidden_imports(source, module_name(path), path.name == '__init__.py') == []
    assert upward_imports(source, module_name(path), path.name == '__init__.py') == []
    assert unsafe_calls(source) == []
    if not path.is_relative_to(ROOT / 'configs'):
        assert long_functions(source) == []
    if path.is_relative_to(ROOT / 'demo_jax'):
        assert without_docstring(source) == []
        assert undocumented(source) == []


def test_the_modules_were_found():
    names = {module_name(path) for path in MODULES}
    assert {'demo_jax.io.files', 'demo_jax.evaluation.metrics', 'experiments.cli'} <= names


@pytest.mark.parametrize(
    'source, module, expected',
    [
        ('import tqdm', 'demo_jax.training.fit', ['tqdm']),
        (
            'def f():\n    from matplotlib import pyplot',
            'demo_jax.explain.saliency',
            ['matplotlib', 'matplotlib.pyplot'],
        ),
        ('from demo_jax.io import files', 'demo_jax.data.corpus', ['demo_jax.io.files']),
        (
            'from demo_jax.report.tables import format_table',
            'demo_jax.nn.kernels',
            ['demo_jax.report.tables', 'demo_jax.report.tables.format_table'],
        ),
        ('from ..motifs import jaspar', 'demo_jax.explain.match', ['demo_jax.motifs.jaspar']),
        ('from . import readers', 'demo_jax.data.corpus', ['demo_jax.data.readers']),
        ('from absl import flags', 'demo_jax.runs.directory', ['absl', 'absl.flags']),
        ('from configs import default', 'demo_jax.runs.directory', ['configs', 'configs.default']),
        (
            'import importlib\nimportlib.import_module("experiments.cli")',
            'demo_jax.runs.directory',
            ['experiments.cli'],
        ),
        ('import pickle', 'experiments.train', ['pickle']),
        ('import tqdm\nfrom demo_jax.io import files', 'demo_jax.runs.monitor', []),
        ('from absl import app', 'experiments.train', []),
        ('import numpy\nfrom demo_jax.errors import InputError', 'demo_jax.evaluation.metrics', []),
        ('import tqdm_like', 'demo_jax.nn.kernels', []),
    ],
)
def test_forbidden_imports_are_found(source, module, expected):
    assert forbidden_imports(source, module) == expected


def test_upward_imports_are_found():
    source = 'from demo_jax import dna\nfrom demo_jax.predict.run import Run\ndef f(): import demo_jax.stages.train'
    found = upward_imports(source, 'demo_jax.runs.schema')
    assert found == ['demo_jax.predict.run', 'demo_jax.predict.run.Run', 'demo_jax.stages.train']
    assert upward_imports(source, 'demo_jax.stages.report') == []
    assert set(ORDER) == {name.split('.')[1] for name in map(module_name, MODULES) if name.startswith('demo_jax.')}


def test_long_functions_are_found():
    body = '    x = 1\n' * LONGEST_FUNCTION
    assert long_functions(f'def f():\n    """F.\n\n    More.\n    """\n{body[10:]}') == []
    assert long_functions(f'def f():\n    """F."""\n{body}') == [f'f: {LONGEST_FUNCTION + 1} lines']


@pytest.mark.parametrize(
    'source, n_found',
    [
        ('eval("1")', 1),
        ('exec(text)', 1),
        ('os.system("ls")', 1),
        ('subprocess.run(c, shell=True)', 1),
        ('np.load(path, allow_pickle=True)', 1),
        ('np.load(path, allow_pickle=flag)', 1),
        ('np.load(path, allow_pickle=False)', 0),
        ('jax.eval_shape(f, x)', 0),
        ('model.eval()', 0),
        ('subprocess.run(c, shell=False)', 0),
    ],
)
def test_unsafe_calls_are_found(source, n_found):
    assert len(unsafe_calls(source)) == n_found


def test_missing_docstrings_are_found():
    source = '"""Module."""\ndef f(): pass\ndef _g(): pass\nclass A:\n    """A."""\n    def h(self): pass\n'
    assert without_docstring(source) == ['f', 'A.h']
    assert without_docstring('def f():\n    """F."""') == ['module']
    assert without_docstring('') == []


@pytest.mark.parametrize(
    'source, expected',
    [
        ('def _f(x: np.ndarray):\n    raise ValueError(x)', []),
        ('def f():\n    """F."""\n    raise InputError("x")', ['f: raises InputError']),
        (
            'class A:\n    """A."""\n    def g(self):\n        """G."""\n        raise InputError("x")',
            ['A.g: raises InputError'],
        ),
        ('def f():\n    """F.\n\n    Raises:\n      InputError: never.\n    """\n    raise InputError("x")', []),
        ('def f():\n    """F."""\n    def g():\n        raise KeyError("x")\n    raise', []),
        ('def f():\n    """F."""\n    if 1:\n        raise errors.Bad(3) from None', ['f: raises Bad']),
        ('def f():\n    """F."""\n    raise AssertionError', []),
    ],
)
def test_undocumented_errors_are_found(source, expected):
    assert undocumented(source) == expected


def test_importing_the_package_loads_nothing_heavy():
    code = f'import sys, demo_jax; print(sorted(set(sys.modules) & set({HEAVY!r})))'
    run = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == '[]'


def test_tests_are_strict():
    """Arrays of different ranks do not meet silently, and a warning fails the test that causes it."""
    import warnings

    import jax.numpy as jnp

    with pytest.raises(ValueError, match='rank_promotion'):
        jnp.ones((2, 3)) + jnp.ones(3)
    with pytest.raises(UserWarning):
        warnings.warn('anything', stacklevel=1)
