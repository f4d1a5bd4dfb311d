"""README, docs/ and RELIABILITY.md: the commands, flags, settings, files, links and tests they name exist, and their
Python code runs.
"""

import ast
import json
import pathlib
import re
import subprocess
import sys
import types

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

from configs import default
from demo_jax.explain import attribution
from demo_jax.explain.pieces import Subject
from demo_jax.nn import architecture
from tests.helpers import ROOT
from tests.helpers_models import save_run
from tests.robustness.oracles import ORACLES

DOCUMENTS = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
#: Commands of the documents, by the module they run; each has its own flags.
COMMANDS = sorted(path.stem for path in (ROOT / 'experiments').glob('*.py') if 'cli.run(main' in path.read_text())
SETTING = re.compile(r'--config\.(\w+(?:\.\w+)*)')
#: Flags of programs that are not ours, and of `pip` and `pytest`; a cluster's programs have a test of their own.
FOREIGN = re.compile(r'^.*(?:\bpip install|-m pytest|/tensorboard |\bdask |openssl|SBATCH|DASK|--nthreads).*$', re.M)
FLAGS_OF_COMMANDS = """
import importlib, json, sys
from absl import flags
found = {}
for name in sys.argv[1:]:
    sys.argv[1:] = []
    before = set(flags.FLAGS)
    importlib.import_module(f'experiments.{name}')
    found[name] = sorted(set(flags.FLAGS) - before)
    for flag in found[name]:
        delattr(flags.FLAGS, flag)
print(json.dumps(found))
"""


def text_of(path: pathlib.Path) -> str:
    """A document, with each command in one line."""
    return re.sub(r' *\\\n *', ' ', path.read_text(encoding='utf-8'))


def python_blocks(name: str) -> list[str]:
    """The Python code of a document."""
    return re.findall(r'^```python\n(.*?)^```$', (ROOT / name).read_text(encoding='utf-8'), re.M | re.S)


def commands(text: str) -> list[tuple[str, list[str]]]:
    """(module of `experiments`, its flags) for every command in a text; settings (`--config.X`) are left out."""
    found = re.findall(r'experiments\.([a-z_]+)((?: [^\s`&|#]+)*)', FOREIGN.sub('', text))
    return [(name, re.findall(r' --(?!config\.)(\w+)', rest)) for name, rest in found]


def has_setting(name: str) -> bool:
    """Whether the default config has a setting or section of this name, e.g. 'match.hit_p_value'."""
    value = default.get_config()
    for part in name.split('.'):
        if not hasattr(value, 'keys') or part not in value:
            return False
        value = value[part]
    return True


@pytest.fixture(scope='module')
def known():
    """Command -> the names of its flags, as the commands define them."""
    done = subprocess.run(
        [sys.executable, '-c', FLAGS_OF_COMMANDS, *COMMANDS], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return {name: set(names) for name, names in json.loads(done.stdout).items()}


each_document = pytest.mark.parametrize('path', DOCUMENTS, ids=lambda path: path.name)


def test_what_is_looked_for_is_seen(known):
    text = 'Run `python -m experiments.paper --input=a --nothing=1 --config.corpus.nothing=2` or `experiments.gone`.'
    assert commands(text) == [('paper', ['input', 'nothing']), ('gone', [])]
    assert {'input', 'workdir', 'tf', 'config'} <= known['paper'] and 'nothing' not in known['paper']
    assert {'fasta', 'strict'} <= known['score'] and 'workdir' not in known['score']
    assert SETTING.findall(text) == ['corpus.nothing']
    assert has_setting('corpus.simulation.gc') and not has_setting('corpus.nothing') and not has_setting('nothing')


@each_document
def test_commands_and_their_flags_exist(path, known):
    text = text_of(path)
    for name, flags in commands(text):
        if name != 'notebooks':
            assert name in known, f'experiments.{name}'
            assert set(flags) <= known[name], f'experiments.{name} has no flag {set(flags) - known[name]}'
    everywhere = set().union(*known.values())
    prose = re.sub(r'^```.*?^```$', '', FOREIGN.sub('', text), flags=re.M | re.S)
    for flag in re.findall(r'`--(?!config\.)(\w+)', prose):
        assert flag in everywhere, f'--{flag}'


@each_document
def test_settings_exist(path):
    text = text_of(path)
    for name in SETTING.findall(text):
        assert has_setting(name) or name == 'SECTION.NAME', name
    for section, name in re.findall(r'`([a-z]+)\.([a-z_]+)`', text):
        known = section not in default.sections() or name == 'tsv' or has_setting(f'{section}.{name}')
        assert known, f'{section}.{name}'


@each_document
def test_links_and_files_exist(path):
    text = path.read_text(encoding='utf-8')
    for link in re.findall(r'\]\(([^)\s]+)\)', text):
        if not link.startswith('https://'):
            assert (path.parent / link.partition('#')[0]).exists(), link
    ours = [
        str(file.relative_to(ROOT))
        for folder in ('demo_jax', 'experiments', 'configs', 'tests')
        for file in (ROOT / folder).rglob('*')
    ]
    for name in re.findall(r'(?:`|config=)([\w/]+\.(?:py|ipynb))\b', text):
        assert name == 'my_models.py' or any(f'/{file}'.endswith(f'/{name}') for file in ours), name
    for name, file in re.findall(r'`(\w+)` (?:of|in) `(demo_jax/[\w/]+\.py)`', text):
        assert re.search(rf'\b{name}\b', (ROOT / file).read_text(encoding='utf-8')), f'{name} in {file}'


def test_the_table_of_inputs_has_every_source():
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    table = text[text.index('| `--corpus` |') :].partition('\n\n')[0]
    from demo_jax.stages.sources import source_names

    assert sorted(re.findall(r'^\| `(\w+)`', table, re.M)) == sorted(source_names())


def test_the_table_of_stages_has_every_stage_in_order():
    from demo_jax.stages import record

    text = (ROOT / 'docs' / 'files.md').read_text(encoding='utf-8')
    table = text[text.index('| stage |') :].partition('\n\n')[0]
    assert tuple(re.findall(r'^\| `(\w+)` \|', table, re.M)) == tuple(stage.name for stage in record.STAGES)


def test_the_line_that_tests_stands_where_the_ci_reads_it():
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    lines = re.search(r'^<!-- test line -->\n```bash\n(.*?)```$', text, re.M | re.S)
    assert lines and 'python -m pytest' in lines[1] and lines[1].count('\n') == 1


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory from which `my_models` is imported anew."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'my_models', raising=False)
    architecture._imported.cache_clear()
    yield tmp_path
    sys.modules.pop('my_models', None)
    architecture._imported.cache_clear()
    plt.close('all')


def run_block(code: str) -> types.SimpleNamespace:
    names: dict = {}
    exec(compile(code, 'document', 'exec'), names)
    return types.SimpleNamespace(**names)


def test_a_function_of_ones_own_is_explained_as_the_readme_does(folder, capsys):
    (code,) = (block for block in python_blocks('README.md') if 'demo_jax.wrap' in block)
    names = run_block(code)
    assert (folder / 'maps.png').stat().st_size > 5000
    # The score is not linear, so that the map has to be complete: its sum is the score less that of the baseline.
    x = jax.numpy.full((1, 20, 4), 0.25)
    np.testing.assert_allclose(
        [row.sum() for row in names.maps.signed], names.maps.score - names.score(names.params, x), atol=1e-3
    )
    assert 'position' in capsys.readouterr().out


@pytest.mark.parametrize(
    'name, document, like',
    [
        ('dilated', 'README.md', 'from_linen'),
        ('scaled', 'docs/design.md', 'own_layers'),
        ('plain', 'docs/design.md', 'demo_jax.Architecture(init'),
    ],
)
def test_an_architecture_of_ones_own_is_found_as_the_documents_write_it(folder, name, document, like):
    (code,) = (block for block in python_blocks(document) if like in block and block.startswith('# my_models.py'))
    (folder / 'my_models.py').write_text(code)
    mine = architecture.resolve(f'my_models:{name}')
    params = mine.init(jax.random.key(0))
    tokens = np.random.default_rng(0).integers(0, 4, (3, 30)).astype(np.uint8)
    scores = np.asarray(mine.score(params, tokens))
    assert scores.shape == (3,) and np.ptp(scores) > 0


def test_a_run_opens_as_the_documents_open_it(folder):
    save_run(folder / 'runs' / 'quickstart', ('small_rnn',), tasks=('one',))
    (code,) = (block for block in python_blocks('docs/files.md') if 'load_run' in block)
    code = code.replace('medium_cnn_rnn', 'small_rnn')  # to be quick
    run_block(code.replace('class_optimise()', 'class_optimise(length=12, restarts=1)'))
    assert (folder / 'saliency.png').stat().st_size > 5000 and (folder / 'optimum.png').stat().st_size > 5000


def test_records_of_the_design_page_are_records(folder):
    method, piece = (
        run_block(next(block for block in python_blocks('docs/design.md') if f'\n{name} = ' in block))
        for name in ('method', 'piece')
    )
    tokens = np.random.default_rng(0).integers(0, 4, (2, 6)).astype(np.uint8)
    params = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)  # a weight per position and letter
    mine = architecture.Architecture(lambda key: params, lambda params, x: (params[None] * x).sum((1, 2)))
    batch = attribution._Batch(tokens, None, None)
    squared = method.method.maps(lambda x, lengths: mine(params, x), batch, dtype=np.float32)
    np.testing.assert_allclose(squared.hypothetical, np.stack([params**2] * 2), rtol=1e-6)
    np.testing.assert_allclose(squared.signed, params[np.arange(6), tokens] ** 2, rtol=1e-6)
    other = piece.piece.make(Subject(params, mine, tokens, None, False), {})
    assert set(other) == set(piece.piece.arrays)
    np.testing.assert_allclose(other['score'], params[np.arange(6), 3 - tokens[:, ::-1]].sum(1), rtol=1e-5)


def test_models_are_asked_as_the_documents_ask_them(folder, capsys):
    (code,) = (block for block in python_blocks('docs/files.md') if 'marginalise(' in block)
    names = run_block(code)
    assert (folder / 'effects.png').stat().st_size > 5000 and 'AP-1' in capsys.readouterr().out
    letters = np.asarray(names.params)[:, 0, 0]
    middle = names.backgrounds[:, 21:28]
    expected = letters[:, [3, 2, 0, 1, 3, 1, 0]].sum(axis=1) - letters[:, middle].sum(axis=2).mean(axis=1)
    np.testing.assert_allclose(names.answer.effect.mean[:, 0], expected, atol=1e-4)


def test_the_tests_that_check_the_numbers_exist():
    functions = {
        path.stem: {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
        for path in (ROOT / 'tests').glob('test_*.py')
    }
    for what, (_, tests) in ORACLES.items():
        for name in tests.split():
            file, function = name.split('::')
            assert function in functions[f'test_{file}'], (what, name)
