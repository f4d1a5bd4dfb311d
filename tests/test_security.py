"""What comes from elsewhere is data: it runs nothing, leads nowhere, and is shown as text."""

import ast
import io
import json
import os
import pathlib
import re
import stat
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from matplotlib.text import Text

import demo_jax
from demo_jax import dna
from demo_jax.data import storage
from demo_jax.data.download import extract
from demo_jax.errors import InputError
from demo_jax.io import arrays, files
from demo_jax.motifs import formats
from demo_jax.predict.results import Maps, Optimum
from demo_jax.predict.run import load_run
from demo_jax.report import page
from demo_jax.runs import explanations, schema
from demo_jax.runs.directory import FORMAT, HISTORY_COLUMNS, VERSION, RunDirectory
from demo_jax.runs.explanations import Explanations
from tests.helpers import ROOT, make_run, small_corpus
from tests.helpers_source import MODULES, imports, module_name, unsafe_calls

HOSTILE = (
    '</script><script>alert(1)</script>',
    '<!--<script>',
    '"onmouseover="alert(1)',
    "'-alert(1)-'",
    'javascript:alert(1)',
    '${alert(1)}',
    '{{7*7}}',
    '&lt;b&gt;',
    '\u2028alert(1)//',
    ']]>',
    '\\u003cscript\\u003e',
    '../../index.html',
    '%3Cscript%3E',
    'data:text/html,<script>',
    '\ud800',
    '\x00',
    '__proto__',
    'constructor',
)


# The code.

#: Names that turn data into code or start a shell, wherever they are called or passed on.
FORBIDDEN_NAMES = ('eval', 'exec', 'compile', '__import__')
FORBIDDEN_ATTRIBUTES = {
    'os': ('system', 'popen', 'spawnl', 'spawnv', 'spawnlp', 'spawnvp', 'execl', 'execv', 'execlp', 'execvp'),
    'subprocess': ('getoutput', 'getstatusoutput'),
    'np': ('load', 'loads', 'fromregex', 'DataSource'),
    'numpy': ('load', 'loads'),
    'yaml': ('load', 'unsafe_load', 'full_load'),
    'pd': ('read_pickle', 'eval'),
    'tempfile': ('mktemp',),
    'shutil': ('unpack_archive',),
}
PICKLERS = ('pickle', '_pickle', 'cloudpickle', 'dill', 'joblib', 'shelve', 'marshal', 'code', 'codeop', 'pty')


def dangers(source: str) -> list[str]:
    """Every use of a name that runs data or reads it unsafely, also when it is only passed on."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id in FORBIDDEN_NAMES:
            found.append(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            unpacks = node.attr in ('extractall', 'extract') and node.value.id in ('tar', 'archive', 'tarfile')
            if unpacks or node.attr in FORBIDDEN_ATTRIBUTES.get(node.value.id, ()):
                found.append(f'{node.value.id}.{node.attr}')
    return found


@pytest.mark.parametrize('path', MODULES, ids=module_name)
def test_no_code_out_of_data(path):
    source = path.read_text(encoding='utf-8')
    assert dangers(source) == [] and unsafe_calls(source) == []
    loaded = imports(source, module_name(path), path.name == '__init__.py')
    assert not {name.split('.')[0] for name in loaded} & set(PICKLERS)


@pytest.mark.parametrize(
    'source',
    [
        'eval("1")',
        'map(eval, texts)',
        'np.load(path, allow_pickle=False)',
        'os.system(x)',
        'f = os.execv',
        'tar.extractall()',
        'tempfile.mktemp()',
        '__import__("os")',
        'yaml.load(x)',
        'compile(text, "", "exec")',
    ],
)
def test_dangers_are_found(source):
    assert dangers(source)


def test_harmless_code_is_left_alone():
    assert dangers('re.compile(x); jax.eval_shape(f); model.eval(); json.load(h); tar.extractfile(m); a.map(f)') == []


def test_programs_are_started_without_a_shell():
    """Only the motif programs and the tools in experiments start others, from lists."""
    starting = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith('subprocess.'):
                starting.setdefault(module_name(path), []).append(node)
    assert {name for name in starting if name.startswith('demo_jax')} <= {'demo_jax.baseline.meme_suite'}
    for calls in starting.values():
        for call in calls:
            assert not any(keyword.arg in ('shell', 'executable') for keyword in call.keywords)
            assert not isinstance(call.args[0], ast.Constant | ast.JoinedStr) if call.args else True


# Pickles.


class Bomb:
    """An object that would be noticed if it were unpickled."""

    def __reduce__(self):
        return (os.mkdir, (os.environ['DEMO_JAX_BOMB'],))


@pytest.fixture
def objects(tmp_path, monkeypatch) -> np.ndarray:
    """An object array that makes a directory when it is unpickled; the test fails if that is there at the end."""
    trace = tmp_path / 'it-went-off'
    monkeypatch.setenv('DEMO_JAX_BOMB', str(trace))
    yield np.array([Bomb()], object)
    assert not trace.exists()


#: What NumPy says.
NO_OBJECTS = "(Object arrays cannot be loaded|Array can't be memory-mapped: Python objects)"


def test_the_bomb_works(tmp_path, monkeypatch):
    monkeypatch.setenv('DEMO_JAX_BOMB', str(tmp_path / 'trace'))
    np.save(tmp_path / 'x.npy', np.array([Bomb()], object), allow_pickle=True)
    np.load(tmp_path / 'x.npy', allow_pickle=True)
    assert (tmp_path / 'trace').is_dir()


def test_objects_in_arrays_are_refused(objects, tmp_path):
    np.save(tmp_path / 'x.npy', objects, allow_pickle=True)
    np.savez(tmp_path / 'x.npz', arr_0=objects)
    for read, name in (
        (arrays.read_npy, 'x.npy'),
        (arrays.map_npy, 'x.npy'),
        (arrays.read_npz, 'x.npz'),
        (formats.read_arr_0, 'x.npz'),
    ):
        with pytest.raises(InputError, match=rf'{name}: [a-z0-9_. ]+ \({NO_OBJECTS}'):
            read(tmp_path / name)
    (tmp_path / 'x.npz').write_bytes(b'\x80\x04' + (tmp_path / 'x.npy').read_bytes())  # as a bare pickle begins
    for read in (arrays.read_npy, arrays.read_npz, formats.read_arr_0):
        with pytest.raises(InputError):
            read(tmp_path / 'x.npz')


def test_objects_in_a_corpus_are_refused(objects, tmp_path):
    folder = tmp_path / 'corpus'
    for path in [f'{name}.npy' for name in storage._ARRAYS]:
        storage.save_corpus(small_corpus(), folder)
        np.save(folder / path, objects, allow_pickle=True)
        with pytest.raises(InputError, match=rf'{path}: is damaged \({NO_OBJECTS}'):
            storage.load_corpus(folder)


def test_objects_in_a_run_are_refused(objects, tmp_path):
    make_run(tmp_path / 'run')
    run = RunDirectory(tmp_path / 'run')
    store = Explanations(run)
    for piece, axes in explanations.PIECES.items():
        path = store.piece_path(piece, 0)
        path.parent.mkdir(parents=True)
        np.savez(path, facts=np.array('{}'), **dict.fromkeys(axes, objects))
        with pytest.raises(InputError, match=rf'00000\.npz: cannot be read \({NO_OBJECTS}'):
            store.load(piece, 0)
        assert not store.has(piece, 0)
    model = run.model_path(0)
    np.savez(model, facts=objects, history=objects)
    with pytest.raises(InputError, match=r'00000\.npz: cannot be read'):
        run.load_result(0)


# Archives.


def tar_of(path: pathlib.Path, *entries: tuple[str, bytes, str]) -> pathlib.Path:
    """An archive of (name, type, link target) entries."""
    with tarfile.open(path, 'w:gz') as tar:
        for name, kind, target in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            content = b'evil' if kind == tarfile.REGTYPE else b''
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    'entries',
    [
        [('../evil', tarfile.REGTYPE, '')],
        [('a/../../evil', tarfile.REGTYPE, '')],
        [('/tmp/demo_jax_evil', tarfile.REGTYPE, '')],
        [('//tmp/demo_jax_evil', tarfile.REGTYPE, '')],
        [('..', tarfile.DIRTYPE, '')],
        [('a', tarfile.SYMTYPE, '..'), ('a/evil', tarfile.REGTYPE, '')],
        [('a', tarfile.SYMTYPE, '/etc'), ('a/passwd', tarfile.REGTYPE, '')],
        [('a', tarfile.LNKTYPE, '/etc/passwd')],
        [('f', tarfile.REGTYPE, ''), ('a', tarfile.LNKTYPE, 'f')],
        [('a', tarfile.FIFOTYPE, '')],
        [('a', tarfile.CHRTYPE, '')],
        [('a', tarfile.BLKTYPE, '')],
        [('a', tarfile.CONTTYPE, '')],
        [('a', tarfile.GNUTYPE_SPARSE, '')],
        [('f', tarfile.REGTYPE, ''), ('f/evil', tarfile.REGTYPE, '')],
        [('f', tarfile.REGTYPE, ''), ('f', tarfile.REGTYPE, '')],
    ],
)
def test_archives_stay_inside(tmp_path, entries):
    place = tmp_path / 'deep' / 'er'
    place.mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        extract(tar_of(tmp_path / 'a.tar.gz', *entries), place / 'out')
    assert str(caught.value).isprintable()
    assert not list(tmp_path.rglob('*evil*')) and not list(place.iterdir())
    assert not pathlib.Path('/tmp/demo_jax_evil').exists()


def test_what_is_unpacked_has_no_power(tmp_path):
    """Neither owners nor set-uid bits of an archive are taken over."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as tar:
        info = tarfile.TarInfo('x/y')
        info.mode, info.uid, info.size = 0o6777, 4321, 2
        tar.addfile(info, io.BytesIO(b'hi'))
    (tmp_path / 'a.tar').write_bytes(buffer.getvalue())
    found = (extract(tmp_path / 'a.tar', tmp_path / 'out') / 'x' / 'y').stat()
    assert not found.st_mode & (stat.S_ISUID | stat.S_ISGID | 0o111) and found.st_uid == os.getuid()


# Temporary files.


def test_temporary_files_are_private_and_beside_their_place(tmp_path):
    for make, private in ((files.atomic_path, 0o600), (files.atomic_directory, 0o700)):
        with make(tmp_path / 'sub' / 'x') as temporary:
            assert temporary.parent == tmp_path / 'sub' and temporary.name.startswith('.x.')
            assert stat.S_IMODE(temporary.stat().st_mode) == private
        assert [path.name for path in (tmp_path / 'sub').iterdir()] == ['x']
        (tmp_path / 'sub' / 'x').unlink() if private == 0o600 else (tmp_path / 'sub' / 'x').rmdir()
    with pytest.raises(RuntimeError), files.atomic_path(tmp_path / 'sub' / 'y'):
        raise RuntimeError
    assert not list((tmp_path / 'sub').iterdir())


@pytest.mark.parametrize(('make', 'name'), [(files.atomic_path, 'open'), (files.atomic_directory, 'mkdir')])
def test_a_signal_as_soon_as_the_temporary_file_is_there_leaves_none(tmp_path, monkeypatch, make, name):
    usual, made = getattr(os, name), []

    def interrupted(path, *arguments, **keywords):
        found = usual(path, *arguments, **keywords)
        if str(path).endswith('.tmp') and not made:
            made.append(path)
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(os, name, interrupted)
    with pytest.raises(KeyboardInterrupt), make(tmp_path / 'x'):
        pass
    assert len(made) == 1 and list(tmp_path.iterdir()) == []


def test_a_folder_whose_successor_never_came_is_put_back(tmp_path):
    for name, text in (('.a.old', 'before'), ('.b.old', 'before'), ('b', 'after'), ('.a.12.tmp', 'half')):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'file').write_text(text)
    files.clear_leftovers(tmp_path)
    assert {path.name: (path / 'file').read_text() for path in tmp_path.iterdir()} == {'a': 'before', 'b': 'after'}


def test_finished_files_follow_the_umask(tmp_path):
    code = (
        'import os, sys; os.umask(0o077)\n'
        'from demo_jax.io import files\n'
        'files.write_text(sys.argv[1] + "/x", "text")\n'
        'with files.atomic_directory(sys.argv[1] + "/d"): pass\n'
    )
    subprocess.run([sys.executable, '-c', code, str(tmp_path)], cwd=ROOT, check=True)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {'x': 0o600, 'd': 0o700}


def test_a_link_at_the_target_is_replaced_and_not_followed(tmp_path):
    precious = tmp_path / 'precious'
    precious.write_text('mine')
    (tmp_path / 'x').symlink_to(precious)
    files.write_text(tmp_path / 'x', 'new')
    assert precious.read_text() == 'mine' and not (tmp_path / 'x').is_symlink()


# The page.


@pytest.mark.parametrize('text', HOSTILE)
def test_scripts_of_the_page_hold_text_as_text(text):
    value = {text: [text, {'name': text}], 'n': 1}
    made = page.script(text, value)
    assert made.isascii() and not set('<>&\x00\u2028') & set(made) and made.count('\n') == 1
    inside = made.removeprefix('demo.receive(').removesuffix(');\n')
    key, back = json.loads(f'[{inside}]')
    assert key == text and back == value


def test_text_reaches_the_page_as_text_nodes():
    """No script of the page writes HTML, and every address in it is made by `demo.link` or lies in the page."""
    for name in page.SCRIPTS:
        code = page.asset(name)
        for unsafe in (
            'innerHTML',
            'outerHTML',
            'insertAdjacentHTML',
            'document.write',
            'eval(',
            'new Function',
            'setTimeout("',
            "setTimeout('",
            'srcdoc',
            'createContextualFragment',
            'DOMParser',
        ):
            assert unsafe not in code, (name, unsafe)
        for address in re.findall(r'\bhref(?::\s*|=)([^,}\s]+)', code):
            assert address.startswith(('demo.link(', "'#", 'url', '`#')), (name, address)
        assert not re.search(r'location\s*(\.href)?\s*=[^=]', code)
        for target in re.findall(r'location\.hash\s*=\s*([^;]+)', code):
            assert target.startswith(('demo.link(', "'#")), (name, target)
        for source in re.findall(r'\.src\s*=\s*([^;]+)', code):
            assert source == '`data/${key}.js`'
    link = re.search(r'demo\.link = .*?\n  };', page.asset('base.js'), re.DOTALL).group()
    assert 'encodeURIComponent' in link and "'#/" in link.replace('`', "'")


def test_names_in_figures_are_text_and_no_mathematics(tmp_path):
    """What stands between dollar signs would be set as a formula, and fail where it is none."""
    name, letters = r'$\frac$ a_b^{ $x$', 'ACGTACGTAC'
    matrix = np.full((10, 4), 0.25)
    optimum = Optimum(name, matrix, matrix, 1.0, 0.5, np.zeros(2))
    hypothetical = np.random.default_rng(0).normal(size=(1, 10, 4)).astype(np.float32)
    signed = [(hypothetical[0] * dna.one_hot(dna.encode(letters))).sum(-1)]
    maps = Maps(name, 'saliency', False, (letters,), np.ones(1), signed, [hypothetical[0]], None)
    for number, figure in enumerate((optimum.plot(), maps.plot())):
        figure.savefig(tmp_path / f'{number}.svg', format='svg')
        assert name in ''.join(text.get_text() for text in figure.findobj(Text))


# Run directories from elsewhere.


@pytest.fixture
def run(tmp_path) -> pathlib.Path:
    """A small run."""
    make_run(tmp_path / 'run')
    return tmp_path / 'run'


def jobs_with(run: pathlib.Path, **changes: str) -> None:
    """The job table with other cells in its first row."""
    rows = files.read_tsv(run / 'jobs.tsv')
    rows[0] |= changes
    files.write_tsv(run / 'jobs.tsv', rows, list(rows[0]))


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'spec': '../../../../tmp/evil'}, "unknown spec '../../../../tmp/evil'"),
        ({'spec': '/etc'}, "unknown spec '/etc'"),
        ({'spec': 'this:d'}, "spec 'this:d' is not of this package; to have it imported, name it"),
        ({'index': '../1'}, r"index is '\.\./1', expected int"),
        ({'index': '-1'}, 'index is -1, expected 0'),
        ({'index': '1'}, 'index is 1, expected 0'),
        ({'seed': '1_0'}, "seed is '1_0', expected int"),
        ({'seed': '9' * 5000}, 'seed is .* expected int'),
        ({'learning_rate': 'nan'}, "learning_rate is 'nan', expected float"),
        ({'learning_rate': '1e999'}, "learning_rate is '1e999', expected float"),
    ],
)
def test_hostile_job_tables_are_refused(run, changes, message):
    jobs_with(run, **changes)
    with pytest.raises(InputError, match=f'jobs.tsv: is not a job table .line 2: {message}'):
        schema.read_jobs(run / 'jobs.tsv')


def test_a_module_that_a_run_names_is_imported_only_if_the_user_names_it(run, tmp_path, monkeypatch):
    """To import a module is to run it."""
    (tmp_path / 'hostile_models.py').write_text(
        'import pathlib\nimport demo_jax\n'
        f'pathlib.Path({str(tmp_path / "ran")!r}).touch()\n'
        'net = demo_jax.Architecture(lambda key: {}, lambda params, x: x.sum((1, 2)))\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    jobs_with(run, spec='hostile_models:net')
    for open_it in (
        lambda: schema.read_jobs(run / 'jobs.tsv'),
        lambda: demo_jax.load_run(run),
        lambda: schema.read_jobs(run / 'jobs.tsv', ['hostile_models:other']),
    ):
        with pytest.raises(InputError, match="line 2: spec 'hostile_models:net' is not of this package"):
            open_it()
    assert not (tmp_path / 'ran').exists()
    assert schema.read_jobs(run / 'jobs.tsv', ['hostile_models:net'])[0].spec == 'hostile_models:net'
    assert (tmp_path / 'ran').exists()


def test_task_names_lead_nowhere(tmp_path):
    """Names with slashes and dots are names: nothing outside the run is read or written."""
    names = ('../../evil', '/etc/passwd', '..', 'a/b', '</script>', '%2e%2e%2f', '~root')
    corpus = small_corpus(names)
    storage.save_corpus(corpus, tmp_path / 'corpus')
    assert storage.load_corpus(tmp_path / 'corpus', verify=True).tasks == names
    for name in names:
        place = tmp_path / 'motifs' / files.safe_name(name)
        files.write_text(place / 'x.txt', name)
        assert place.resolve().parent == tmp_path / 'motifs'
    assert len(list((tmp_path / 'motifs').iterdir())) == len(names)


@pytest.mark.parametrize(
    'facts, message',
    [
        ([], 'is not of a demo_jax run'),
        ({'version': 99}, 'is not of a demo_jax run, version 1'),
        ({'tasks': 'one'}, "tasks is 'one', expected a list"),
        ({'tasks': [['one']]}, r"tasks holds \['one'\], expected printable names"),
        ({'tasks': ['a\nb']}, 'expected printable names'),
        ({'tasks': ['one', 'one']}, 'names one task twice'),
        ({'versions': []}, r'versions is \[\], expected a dict'),
        ({'fingerprint': None}, 'fingerprint is None, expected a str'),
    ],
)
def test_hostile_run_files_are_refused(run, facts, message):
    known = files.read_json(run / 'run.json')
    files.write_json(run / 'run.json', known | facts if isinstance(facts, dict) else facts)
    with pytest.raises(InputError, match=f'run.json: .*{message}'):
        schema.read_facts(run / 'run.json', FORMAT, VERSION)


@pytest.mark.parametrize(
    'config, message',
    [
        ([1], r'is \[1\], expected settings'),
        ({'recipe': 'x'}, "'recipe' is 'x', expected settings by name"),
        ({'recipe': {'average_strands': 'yes'}}, "average_strands is 'yes', expected true or false"),
    ],
)
def test_hostile_configs_are_refused(run, config, message):
    files.write_json(run / 'config.json', config)
    with pytest.raises(InputError, match=f'config.json: .*{message}'):
        schema.read_config(run / 'config.json')


def test_links_out_of_a_run_are_refused(run, tmp_path):
    schema.check_links(run)
    (run / 'inside').symlink_to('models')  # leads nowhere else
    (run / 'loop').symlink_to(run)
    schema.check_links(run)
    outside = tmp_path / 'outside'
    outside.mkdir()
    (outside / 'file').write_text('mine')
    for target in (outside, outside / 'file', '/etc/passwd', '../../outside', 'nowhere', '../..'):
        link = run / 'models' / 'link'
        link.symlink_to(target)
        with pytest.raises(InputError, match='models/link: is a link that leads out of the run directory'):
            schema.check_links(run)
        link.unlink()
    os.mkfifo(run / 'models' / 'pipe')
    with pytest.raises(InputError, match='models/pipe: is a pipe or device'):
        schema.check_links(run)
    (run / 'models' / 'pipe').unlink()
    with pytest.raises(InputError, match='cannot be read'):
        schema.check_links(run / 'nowhere')
    (tmp_path / 'other').symlink_to(run)  # the run itself may be reached through a link
    schema.check_links(tmp_path / 'other')


KINDS = {'job': int, 'status': str, 'attempt': int, 'steps': int, 'best_epoch': int, 'best_auroc': float}


def read_model(run: pathlib.Path, spec: str | None = 'small_rnn') -> schema.StoredModel:
    return schema.read_model(run / 'models' / '00000.npz', KINDS, len(HISTORY_COLUMNS), spec)


def test_models_of_another_shape_are_refused(run):
    good = read_model(run)
    assert good.facts['best_auroc'] == 0.75 and good.history.shape == (2, len(HISTORY_COLUMNS))
    path = run / 'models' / '00000.npz'
    stored = arrays.read_npz(path)
    kernel = next(name for name in stored if name.endswith('dense/kernel'))
    for change, message in (
        ({kernel: np.zeros((5, 5), np.float32)}, "'dense/kernel' is"),
        ({kernel: np.zeros((32, 2), np.int64)}, r"'dense/kernel' is \(32, 2\) int64, small_rnn has \(32, 2\)"),
        ({'params/evil/x': np.zeros(3, np.float32)}, "'evil/x' is"),
        ({'params/a/../../b': np.zeros(3, np.float32)}, "'a/../../b' is"),
        ({'other': np.zeros(3, np.float32)}, "array 'other' is no parameter"),
        ({'history': np.zeros((3, 2))}, 'its history has shape'),
        ({'facts': np.array('{"job": 0}')}, 'its facts are'),
        ({'facts': np.array('[' * 100_000)}, 'recursion'),
        ({'facts': np.array(json.dumps(good.facts | {'job': '0'}))}, "job is '0', expected int"),
        ({'facts': np.array(json.dumps(good.facts | {'steps': True}))}, 'steps is True, expected int'),
    ):
        np.savez(path, allow_pickle=False, **(stored | change))
        with pytest.raises(InputError, match=f'00000.npz: cannot be read .*{message}'):
            read_model(run)
    np.savez(path, allow_pickle=False, **{name: stored[name] for name in stored if name != kernel})
    with pytest.raises(InputError, match="'dense/kernel' is missing"):
        read_model(run)
    assert read_model(run, spec=None).params


def test_bombs_in_a_run_are_refused(run):
    """Arrays that claim terabytes, or unpack to gigabytes, take no memory and no time."""
    path = run / 'models' / '00000.npz'
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {'descr': '<f4', 'fortran_order': False, 'shape': (1 << 40,)})
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('params/dense/kernel.npy', header.getvalue() + bytes(100))
    with pytest.raises(InputError, match='there is no memory for what it claims: .*4.00 TiB'):
        read_model(run)
    index = run / 'explain' / 'index.json'
    for value in (
        {'jobs': [0], 'rows': {'one': [0, 10**9]}},
        {'jobs': [0], 'rows': {'one': [-1]}},
        {'jobs': [0], 'rows': {'one': [10**30]}},
        {'jobs': '0', 'rows': {}},
        {'jobs': [0]},
        [],
    ):
        files.write_json(index, value)
        with pytest.raises(InputError, match=r'index\.json: (names rows outside|is no index)'):
            Explanations(RunDirectory(run)).rows('one')


def test_opening_a_run_changes_nothing(run):
    def state() -> dict[str, tuple[int, int]]:
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in run.rglob('*') if path.is_file()}

    before = state()
    opened = load_run(run)
    opened.model(opened.tasks[0], 'small_rnn')
    assert state() == before


def test_arrays_fill_their_files(tmp_path):
    """What is behind an array, or missing of it, is no array of this size; empty ones and both orders are read."""
    arrays_of = {
        'c': np.arange(6.0).reshape(2, 3),
        'f': np.asfortranarray(np.arange(6).reshape(2, 3)),
        'none': np.zeros((0, 3)),
        'text': np.array(['', 'ab']),
        'scalar': np.array(3, np.uint8),
    }
    np.savez(tmp_path / 'a.npz', **arrays_of)
    np.savez_compressed(tmp_path / 'b.npz', **arrays_of)
    for name, array in arrays_of.items():
        path = tmp_path / f'{name}.npy'
        np.save(path, array)
        found = [arrays.read_npy(path), *(arrays.read_npz(tmp_path / file)[name] for file in ('a.npz', 'b.npz'))]
        for one in [*found, arrays.map_npy(path)] if array.ndim else found:
            assert one.dtype == array.dtype and one.tolist() == array.tolist()
        data = path.read_bytes()
        for changed in (data + b'\0', data[:-1]):
            path.write_bytes(changed)
            for read in (arrays.read_npy, arrays.map_npy):
                with pytest.raises(InputError, match=f'{name}.npy: cannot be read'):
                    read(path)
    for member, message in ((data + b'\0', 'but it has more'), (data[:-1], 'EOF')):
        with zipfile.ZipFile(tmp_path / 'c.npz', 'w') as archive:
            archive.writestr('x.npy', member)
        with pytest.raises(InputError, match=f'c.npz: cannot be read .*{message}'):
            arrays.read_npz(tmp_path / 'c.npz')


def test_words_without_letters_are_no_array(tmp_path):
    """A few bytes could claim any number of them."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {'descr': '<U0', 'fortran_order': False, 'shape': (1 << 40,)})
    (tmp_path / 'a.npy').write_bytes(header.getvalue())
    with zipfile.ZipFile(tmp_path / 'a.npz', 'w') as archive:
        archive.writestr('x.npy', header.getvalue())
    for read, name in ((arrays.read_npy, 'a.npy'), (arrays.map_npy, 'a.npy'), (arrays.read_npz, 'a.npz')):
        with pytest.raises(InputError, match=f'{name}: cannot be read'):
            read(tmp_path / name)


def test_many_names_for_the_same_bytes_are_refused(tmp_path, monkeypatch):
    """Entries of a zip file may lie in one another, so that none is large and all together are."""
    monkeypatch.setattr(arrays, 'MAX_INFLATED', 5000)
    np.savez_compressed(tmp_path / 'a.npz', x=np.zeros(400), y=np.zeros(400))
    with pytest.raises(InputError, match='its arrays claim 6,656 bytes, the file has'):
        arrays.read_npz(tmp_path / 'a.npz')
    assert arrays.read_npz(tmp_path / 'a.npz', ['y'])['y'].shape == (400,)
    np.savez(tmp_path / 'b.npz', x=np.zeros(400), y=np.zeros(400))  # as large as its file
    assert len(arrays.read_npz(tmp_path / 'b.npz')) == 2
