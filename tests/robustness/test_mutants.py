"""The mutants fit the code as it is, and the machinery tells a change that is noticed from one that is not."""

import pathlib
import subprocess
import sys
import textwrap

import pytest

from tests.robustness import mutants
from tests.robustness.mutants import MUTANTS, ROOT, Mutant, names_of, places


@pytest.mark.parametrize('mutant', MUTANTS, ids=lambda mutant: f'{mutant.file}:{mutant.old[:40]}')
def test_a_mutant_fits_its_file(mutant):
    assert places(mutant) == 1, f'{mutant.file}: {mutant.old!r} occurs {places(mutant)} times'
    changed = (ROOT / 'demo_jax' / mutant.file).read_text().replace(mutant.old, mutant.new)
    compile(changed, mutant.file, 'exec')  # a mutant that is no Python would be killed by any test
    test, path = names_of(mutant)
    function = test.partition('::')[2]
    assert not function or f'def {function}(' in (ROOT / path).read_text()


def test_enough_of_the_core_is_mutated():
    files = {mutant.file for mutant in MUTANTS}
    folders = ('nn', 'training', 'evaluation', 'explain', 'motifs')
    assert len(MUTANTS) >= 60 and len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)
    assert all(any(file.startswith(f'{folder}/') for file in files) for folder in folders) and 'dna.py' in files


def test_a_mutant_is_put_in_place_and_taken_out(tmp_path):
    (tmp_path / 'demo_jax').mkdir()
    path = tmp_path / 'demo_jax' / 'a.py'
    path.write_text('x = 1 + 2\n')
    with mutants.mutated(Mutant('a.py', '1 + 2', '1 - 2', 'a'), tmp_path):
        assert path.read_text() == 'x = 1 - 2\n'
    assert path.read_text() == 'x = 1 + 2\n'
    path.write_text('x = 1 + 2\ny = 1 + 2\n')
    with pytest.raises(ValueError, match='occurs 2 times'), mutants.mutated(Mutant('a.py', '1 + 2', '', 'a'), tmp_path):
        pass


def test_noticed_and_unnoticed(tmp_path):
    """In a process of its own, for it forks: one mutant that a test notices, and one that none does."""
    script = tmp_path / 'judge.py'
    script.write_text(
        textwrap.dedent("""
        import pathlib, sys
        from tests.robustness.mutants import Mutant, judge
        tree = pathlib.Path(sys.argv[1])
        for new in ('a - b', 'b + a'):
            print(judge(Mutant('sums.py', 'a + b', new, 'sums::test_two'), tree).by or 'survived')
    """)
    )
    for folder in ('demo_jax', 'tests'):
        (tmp_path / 'tree' / folder).mkdir(parents=True)
        (tmp_path / 'tree' / folder / '__init__.py').touch()
    (tmp_path / 'tree/demo_jax/sums.py').write_text('def add(a, b):\n    return a + b\n')
    (tmp_path / 'tree/tests/test_sums.py').write_text(
        'from demo_jax.sums import add\n\ndef test_two():\n    assert add(2, 1) == 3\n'
    )
    done = subprocess.run(
        [sys.executable, script, tmp_path / 'tree'],
        cwd=ROOT,
        env={'PYTHONPATH': str(pathlib.Path(ROOT))},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == ['tests/test_sums.py::test_two', 'survived']
