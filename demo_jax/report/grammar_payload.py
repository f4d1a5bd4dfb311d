"""What the page shows of the stage `grammar`: which motifs of a task need each other (edge: reads `curves.npz`)."""

from typing import Any

import numpy as np

from demo_jax.errors import InputError
from demo_jax.io import arrays, files
from demo_jax.report.collect import Collector, number
from demo_jax.report.figures_overview import spec_label

#: Of the curves' four arrangements, as `insilico.space.ARRANGEMENTS` has them, those on the same and on opposite
#: strands: the second motif before the first, and after it.
_BEFORE_AFTER = {'same': (2, 0), 'opposite': (3, 1)}
_NUMBERS = (
    'effect_first',
    'effect_second',
    'effect_both',
    'epistasis',
    'low',
    'high',
    'q_epistasis',
    'gap',
    'q_spacing',
)


def grammar_payload(collector: Collector, task: str) -> dict[str, Any] | None:
    """The pairs of motifs of a task, each with what every architecture says of it; None where the stage has not run.

    Returns:
      'pairs': those with the lowest q first; `models` of each has rows of grammar.tsv, and `x` and `y`: the epistasis
        over the distance, in the orientation of its highest. -1 - gap stands for the second motif before the first.
    """
    if not (collector.run.tables / 'grammar.tsv').is_file():
        return None
    pairs: dict[tuple[str, str], dict[str, Any]] = {}
    stored: dict[str, dict[str, np.ndarray]] = {}
    seen: dict[str, int] = {}
    for row in collector.table('grammar'):
        if row['task'] != task:
            continue
        spec = row['spec']
        if spec not in stored:
            stored[spec] = _curves(collector, task, spec)
        place = seen[spec] = seen.get(spec, -1) + 1
        curves = stored[spec]
        if not curves or place >= len(curves['mean']):
            continue
        before, after = (curves['mean'][place, at] for at in _BEFORE_AFTER[row['strands']])
        pair = pairs.setdefault(
            (row['first'], row['second']),
            {which: _motif(row, which) for which in ('first', 'second')} | {'models': []},
        )
        pair['models'].append(
            {name: _rounded(number(row[name])) for name in _NUMBERS}
            | {'spec': spec, 'label': spec_label(spec), 'order': row['order'], 'strands': row['strands']}
            | {
                'x': [*(-1 - curves['gaps'][::-1]).tolist(), *curves['gaps'].tolist()],
                'y': [_rounded(float(value)) for value in (*before[::-1], *after)],
            }
        )
    order = sorted(pairs.values(), key=lambda pair: min(_worst(one['q_epistasis']) for one in pair['models']))
    return {'pairs': order}


def _curves(collector: Collector, task: str, spec: str) -> dict[str, np.ndarray]:
    """The curves of a model; none where the file is missing or damaged, which is noted."""
    path = collector.run.path / 'grammar' / files.safe_name(task) / files.safe_name(spec) / 'curves.npz'
    try:
        return arrays.read_npz(path, ['gaps', 'mean'])
    except InputError as error:
        collector.missing.append(str(error))
        return {}


def _motif(row: dict[str, str], which: str) -> dict[str, Any]:
    found_in = [spec_label(spec) for spec in row[f'{which}_found_in'].split(',')]
    return {'name': row[f'{which}_name'], 'consensus': row[f'{which}_consensus'], 'found_in': found_in}


def _rounded(value: float) -> float | None:
    return float(f'{value:.3g}') if np.isfinite(value) else None


def _worst(q_value: float | None) -> float:
    return np.inf if q_value is None else q_value
