"""The modules of this repository, and what their source imports and calls."""

import ast
import pathlib

from tests.helpers import ROOT

FOLDERS = ('demo_jax', 'experiments', 'configs')
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob('*.py'))


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


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
