"""The notebook from start to end, on a small run; its own assertions compare what is done by hand with the library."""

import os

import nbclient
import nbformat
import pytest

from demo_jax.io import files
from tests.helpers import ROOT
from tests.helpers_models import save_run

NOTEBOOKS = sorted((ROOT / 'experiments' / 'notebooks').glob('*.ipynb'))


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_without_what_they_made(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == 'code']
    assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert {cell.cell_type for cell in notebook.cells} == {'code', 'markdown'}


@pytest.fixture(scope='module')
def kernel(tmp_path_factory):
    """One kernel for all notebooks: importing JAX and matplotlib takes seconds."""
    folder = tmp_path_factory.mktemp('kernel')
    profile = folder / 'ipython' / 'profile_default'
    profile.mkdir(parents=True)
    (profile / 'ipython_kernel_config.py').write_text(  # pictures are counted here, not looked at
        "c = get_config()\nc.InlineBackend.print_figure_kwargs = {'bbox_inches': None, 'dpi': 30}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))
        patch.setenv('JAX_PLATFORMS', 'cpu')
        patch.setenv('IPYTHONDIR', str(folder / 'ipython'))
        place = {'metadata': {'path': str(folder)}}
        client = nbclient.NotebookClient(nbformat.v4.new_notebook(), shutdown_kernel='immediate', resources=place)
        client.create_kernel_manager()
        client.start_new_kernel()
    yield client.km
    client._cleanup_kernel()


@pytest.fixture
def execute(tmp_path, kernel):
    """Runs a notebook in a folder of its own, and returns its cells of code with what they made."""

    def run(name, smaller=()):
        """`smaller`: (what stands in the notebook, what takes less time)."""
        notebook = nbformat.read(ROOT / 'experiments' / 'notebooks' / f'{name}.ipynb', as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
        for given, less in smaller:
            (cell,) = (cell for cell in cells if given in cell.source)
            cell.source = cell.source.replace(given, less)
        # No name of the notebook before is left.
        begin = f"import os\nos.chdir({str(tmp_path)!r})\nos.environ['RUN'] = 'run'\n%reset -f"
        notebook.cells.insert(0, nbformat.v4.new_code_cell(begin))
        client = nbclient.NotebookClient(notebook, timeout=300, km=kernel)
        try:
            client.execute()
        finally:
            client.kc.stop_channels()
        return cells

    return run


def test_gradients(tmp_path, execute):
    save_run(tmp_path / 'run', ('small_cnn', 'small_rnn', 'small_cnn_rnn'), tasks=('one',))
    code = execute('gradients')
    pictures = [output for cell in code for output in cell.outputs if 'image/png' in getattr(output, 'data', {})]
    assert len(pictures) == 5
    text = ''.join(output.text for cell in code for output in cell.outputs if output.output_type == 'stream')
    assert 'CNN      entries of the Hessian that are not zero: 0.0%, largest 0\n' in text
    assert 'CNN: 17 prefixes are too short for it' in text
    hessian = [line for line in text.splitlines() if line.startswith('CNN-RNN  entries of the Hessian')]
    assert len(hessian) == 1 and not hessian[0].endswith('largest 0')


#: Fewer and shorter sequences, a page of fewer maps and figures, and searches of a few steps.
LESS = (
    ('n_train=1500, n_test=200', "n_train=1500, n_test=100, simulation={'length': 70}"),
    ('model.figure(sure[0],', 'model.figure(sure[0][:30],'),
    (
        "'explain': {'positives': 100, 'optimisation_steps': 300}}",
        "'explain': {'positives': 24, 'integration_steps': 4, 'references': 2, 'restarts': 2, 'optimisation_steps': 10,"
        " 'sufficient_starts': 2, 'sufficient_steps': 10}, 'dashboard': {'dashboards': 0}}",
    ),
)


def test_own_model(tmp_path, execute):
    code = execute('own_model', LESS)
    lines = [line for cell in code[2:] for line in cell.source.splitlines() if line.strip()]
    assert len(lines) <= 20  # of the user, once the model is there
    text = ''.join(output.text for cell in code for output in cell.outputs if output.output_type == 'stream')
    assert 'motif ' in text and 'no motif' not in text
    shown = [output.data.get('text/plain', '') for cell in code for output in cell.outputs if hasattr(output, 'data')]
    matches = [text for text in shown if 'q_value' in text]
    assert len(matches) == 1 and 'USF1' in matches[0]
    pictures = [output for cell in code for output in cell.outputs if 'image/png' in getattr(output, 'data', {})]
    assert len(pictures) == 3
    page = tmp_path / 'runs' / 'my_net' / 'dashboard' / 'index.html'
    assert page.exists() and str(page.relative_to(tmp_path)) in text
    (row,) = files.read_tsv(tmp_path / 'runs' / 'my_net' / 'tables' / 'auroc.tsv')
    assert (row['spec'], row['status']) == ('__main__:my_net', 'ok')
    assert float(row['test_auroc']) > 0.8


def test_ask(execute):
    code = execute('ask', [('words=10, farthest=20', 'words=10, farthest=12')])
    outputs = [output for cell in code for output in cell.outputs]
    assert len([one for one in outputs if 'image/png' in getattr(one, 'data', {})]) == 6
    text = ''.join(one.text for one in outputs if one.output_type == 'stream')
    assert 'Peak(gap=9, after=True, same_strand=True' in text and 'target reached' in text
