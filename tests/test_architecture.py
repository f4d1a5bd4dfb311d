"""The shape of the code: what may import what, nothing that runs data as code, docstrings, short modules."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ('demo_jax', 'experiments', 'configs')
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob('*.py'))

# Arrays in, arrays out: no files, no flags, no logging.
CORE = ('demo_jax.nn', 'demo_jax.training', 'demo_jax.evaluation', 'demo_jax.explain', 'demo_jax.data.dna',
        'demo_jax.data.corpus', 'demo_jax.data.simulate', 'demo_jax.motifs.extract', 'demo_jax.motifs.tomtom',
        'demo_jax.motifs.finder', 'demo_jax.motifs.zoops', 'demo_jax.motifs.scan')
# What touches the disk or the screen.
EDGE = ('demo_jax.data.readers', 'demo_jax.data.storage', 'demo_jax.data.download', 'demo_jax.files',
        'demo_jax.runs', 'demo_jax.monitor', 'demo_jax.motifs.formats', 'demo_jax.motifs.jaspar', 'demo_jax.report',
        'demo_jax.motifs.meme_suite', 'demo_jax.scoring', 'demo_jax.variant_effects', 'demo_jax.data.variants',
        'demo_jax.explanations', 'demo_jax.stages')
EDGE_PACKAGES = ('absl', 'ml_collections', 'tensorboardX', 'orbax', 'tqdm', 'matplotlib', 'logomaker', 'jinja2')
COMMAND_LINE = ('absl', 'ml_collections', 'experiments', 'configs')
UNSAFE_PACKAGES = ('pickle', '_pickle', 'cPickle', 'cloudpickle', 'dill', 'joblib', 'shelve', 'marshal')
HEAVY = ('jax', 'flax', 'optax', 'orbax', 'scipy', 'sklearn', 'matplotlib', 'pandas', 'memelite', 'tensorboardX')
LONGEST_MODULE = 400


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def within(name: str, packages) -> bool:
    """Whether a dotted name is one of the packages or lies inside one."""
    return any(name == package or name.startswith(f'{package}.') for package in packages)


def imports(source: str, module: str, is_package: bool = False) -> list[str]:
    """Every dotted name that the source imports, at the top or inside functions.

    `from a import b` gives both 'a' and 'a.b', since `b` may be a module. Imports for type checkers alone count too.
    """
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                package = module.split('.') if is_package else module.split('.')[:-1]
                package = package[: len(package) - node.level + 1]
                base = '.'.join([*package, base] if base else package)
            names += [base, *(f'{base}.{alias.name}' for alias in node.names)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ('importlib.import_module', '__import__'):
            names += [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return names


def forbidden_imports(source: str, module: str, is_package: bool = False) -> list[str]:
    """The imports of a module that break the one-way street."""
    found = imports(source, module, is_package)
    bad = UNSAFE_PACKAGES
    if within(module, ('demo_jax',)):
        bad += COMMAND_LINE
    if within(module, CORE):
        bad += EDGE + EDGE_PACKAGES
    return sorted({name for name in found if within(name, bad)})


def unsafe_calls(source: str) -> list[str]:
    """Calls that run text as code, start a shell, or let NumPy unpickle."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in ('eval', 'exec', 'builtins.eval', 'builtins.exec', 'os.system', 'os.popen'):
            found.append(f'line {node.lineno}: {name}')
        for keyword in node.keywords:
            if keyword.arg in ('allow_pickle', 'shell') and not (
                isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            ):
                found.append(f'line {node.lineno}: {keyword.arg}={ast.unparse(keyword.value)}')
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


@pytest.mark.parametrize('path', MODULES, ids=module_name)
def test_module(path):
    source = path.read_text(encoding='utf-8')
    assert forbidden_imports(source, module_name(path), path.name == '__init__.py') == []
    assert unsafe_calls(source) == []
    assert len(source.splitlines()) <= LONGEST_MODULE
    if path.is_relative_to(ROOT / 'demo_jax'):
        assert without_docstring(source) == []


def test_the_modules_were_found():
    names = {module_name(path) for path in MODULES}
    assert {'demo_jax.files', 'demo_jax.evaluation.metrics', 'experiments.cli'} <= names


@pytest.mark.parametrize('source, module, expected', [
    ('import tqdm', 'demo_jax.training.fit', ['tqdm']),
    ('def f():\n    from matplotlib import pyplot', 'demo_jax.explain.saliency', ['matplotlib', 'matplotlib.pyplot']),
    ('from demo_jax import files', 'demo_jax.data.corpus', ['demo_jax.files']),
    ('from demo_jax.report.tables import format_table', 'demo_jax.nn.ops',
     ['demo_jax.report.tables', 'demo_jax.report.tables.format_table']),
    ('from ..motifs import jaspar', 'demo_jax.explain.match', ['demo_jax.motifs.jaspar']),
    ('from . import readers', 'demo_jax.data.dna', ['demo_jax.data.readers']),
    ('from absl import flags', 'demo_jax.runs', ['absl', 'absl.flags']),
    ('from configs import default', 'demo_jax.runs', ['configs', 'configs.default']),
    ('import importlib\nimportlib.import_module("experiments.cli")', 'demo_jax.runs', ['experiments.cli']),
    ('import pickle', 'experiments.train', ['pickle']),
    ('import tqdm\nfrom demo_jax import files', 'demo_jax.monitor', []),
    ('from absl import app', 'experiments.train', []),
    ('import numpy\nfrom demo_jax.errors import InputError', 'demo_jax.evaluation.metrics', []),
    ('import tqdm_like', 'demo_jax.nn.ops', []),
])
def test_forbidden_imports_are_found(source, module, expected):
    assert forbidden_imports(source, module) == expected


@pytest.mark.parametrize('source, n_found', [
    ('eval("1")', 1), ('exec(text)', 1), ('os.system("ls")', 1), ('subprocess.run(c, shell=True)', 1),
    ('np.load(path, allow_pickle=True)', 1), ('np.load(path, allow_pickle=flag)', 1),
    ('np.load(path, allow_pickle=False)', 0), ('jax.eval_shape(f, x)', 0), ('model.eval()', 0),
    ('subprocess.run(c, shell=False)', 0),
])
def test_unsafe_calls_are_found(source, n_found):
    assert len(unsafe_calls(source)) == n_found


def test_missing_docstrings_are_found():
    source = '"""Module."""\ndef f(): pass\ndef _g(): pass\nclass A:\n    """A."""\n    def h(self): pass\n'
    assert without_docstring(source) == ['f', 'A.h']
    assert without_docstring('def f():\n    """F."""') == ['module']
    assert without_docstring('') == []


def test_importing_the_package_loads_nothing_heavy():
    code = f'import sys, demo_jax; print(sorted(set(sys.modules) & set({HEAVY!r})))'
    run = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == '[]'
