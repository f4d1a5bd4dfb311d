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


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Runs a notebook in a folder of its own, and returns its cells of code with what they made."""
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    monkeypatch.setenv('IPYTHONDIR', str(tmp_path / 'ipython'))

    def run(name, smaller=()):
        """`smaller`: (number in the notebook, one that takes less time)."""
        notebook = nbformat.read(ROOT / 'experiments' / 'notebooks' / f'{name}.ipynb', as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
        for given, less in smaller:
            (cell,) = (cell for cell in cells if given in cell.source)
            cell.source = cell.source.replace(given, less)
        nbclient.NotebookClient(notebook, timeout=300, resources={'metadata': {'path': str(tmp_path)}}).execute()
        return cells

    return run


def test_gradients(tmp_path, monkeypatch, execute):
    save_run(tmp_path / 'run', ('small_cnn', 'small_rnn', 'medium_cnn_rnn'), tasks=('one',))
    monkeypatch.setenv('RUN', str(tmp_path / 'run'))
    code = execute('gradients')
    pictures = [output for cell in code for output in cell.outputs if 'image/png' in getattr(output, 'data', {})]
    assert len(pictures) == 5
    text = ''.join(output.text for cell in code for output in cell.outputs if output.output_type == 'stream')
    assert 'CNN      entries of the Hessian that are not zero: 0.0%, largest 0\n' in text
    assert 'CNN: 17 prefixes are too short for it' in text
    hessian = [line for line in text.splitlines() if line.startswith('CNN-RNN  entries of the Hessian')]
    assert len(hessian) == 1 and not hessian[0].endswith('largest 0')


#: A page of fewer maps, and of searches of a few steps.
LESS = "'positives': 24, 'integration_steps': 4, 'references': 2, 'sufficient_steps': 20, 'optimisation_steps': 20}"


def test_own_model(tmp_path, execute):
    code = execute('own_model', [("'positives': 100, 'optimisation_steps': 300}", LESS)])
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
    outputs = [output for cell in execute('ask') for output in cell.outputs]
    assert len([one for one in outputs if 'image/png' in getattr(one, 'data', {})]) == 6
    text = ''.join(one.text for one in outputs if one.output_type == 'stream')
    assert 'Peak(gap=9, after=True, same_strand=True' in text and 'target reached' in text
