"""The page of figures: what is bad is marked, parts that break are results too, and shares are counted by hand."""

import pytest

from tests.robustness import reliability
from tests.robustness.reliability import Row


def test_the_page_marks_what_is_bad():
    rows = {
        'a': [Row('Kills', '3 kills', 'all survived', True, 90.0)],
        'b': [Row('Mutants', '2 mutants', '1 killed', False, details=('survived: x.py: `a` -> `b`',))],
    }
    page = reliability.describe(rows, command='python -m tests.robustness', seconds=600)
    assert '| Kills | 3 kills | all survived | yes | 1.5 |' in page.splitlines()
    assert '| Mutants | 2 mutants | 1 killed | **no** | 0.0 |' in page.splitlines()
    assert '- survived: x.py: `a` -> `b`' in page and 'in 10 minutes' in page and 'jax ' in page
    assert '| test_auroc | scikit-learn | `oracles::test_auroc_table` |' in page.splitlines()


def test_shares_of_lines_and_branches():
    one = {'num_statements': 10, 'covered_lines': 9, 'num_branches': 4, 'covered_branches': 2}
    other = {'num_statements': 30, 'covered_lines': 30, 'num_branches': 0, 'covered_branches': 0}
    assert reliability._shares([one, other]) == (39 / 40, 0.5)
    assert reliability._shares([other]) == (1.0, 1.0)


def test_a_part_that_breaks_is_a_result_and_the_others_go_on(monkeypatch):
    def breaks(size, say):
        raise RuntimeError('no\nluck')

    good = Row('fine', '1', '1', True)
    monkeypatch.setitem(reliability.PARTS, 'kills', breaks)
    monkeypatch.setitem(reliability.PARTS, 'faults', lambda size, say: [good])
    found = reliability.measure(reliability.SHORT, ['kills', 'faults'], lambda text: None)
    assert found == {'kills': [Row('kills', '', 'RuntimeError: no luck', False)], 'faults': [good]}


def test_every_part_has_its_place():
    side_by_side = [name for lane in reliability.LANES for name in lane]
    assert len(set(side_by_side)) == len(side_by_side) and set(side_by_side) < set(reliability.PARTS)
    with pytest.raises(SystemExit):
        reliability.main(['--only=kill'])
