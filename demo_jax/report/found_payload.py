"""What the page shows of the motifs that the stage `discover` found in a task (edge: reads `found.npz`)."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from demo_jax.errors import InputError
from demo_jax.io import arrays, files
from demo_jax.report.collect import Collector, TaskData, number
from demo_jax.runs.preferred import prefer

#: What the page shows of trust.tsv.
_EXPECTED = (
    *(f'{kind}_{share}' for kind in ('seqlet', 'hit') for share in ('recall', 'recall_low', 'recall_high', 'fdr')),
    'motif_recall',
    'invented',
)


def found_payload(collector: Collector, data: TaskData, targets: dict[str, Any]) -> dict[str, Any] | None:
    """The motifs of a task, each with what is to be known of it; None where the stage has not run.

    Args:
      collector: of the run.
      data: of the task.
      targets: gets the JASPAR matrices that motifs match: id -> name and matrix.

    Returns:
      'motifs': one entry per motif, in each map in the order of its sites; those with 'default' are of the map of
        their architecture that is to be trusted most, see `runs.preferred`.
      'chosen_by': what makes it so.
      'trust': rows of trust.tsv: what to expect of each map.
      'empty': model, method and reason of each map without a motif.
      'spacings': pairs of motifs that prefer a spacing or occur together (q at most 0.05), rows of spacings.tsv.
    """
    summaries = [row for row in collector.table('seqlets') if row['task'] == data.task]
    if not summaries:
        return None
    rows = [row for row in collector.table('motifs') if row['task'] == data.task]
    stored: dict[tuple[str, str], Mapping[str, np.ndarray]] = {}
    trust = [row for row in collector.table('trust') if row['task'] == data.task]
    order = {
        spec: prefer(collector.run.tables, data.task, spec, [row['method'] for row in rows if row['spec'] == spec])
        for spec in dict.fromkeys(row['spec'] for row in rows)
    }
    motifs = []
    for row in sorted(rows, key=lambda row: order[row['spec']].methods.index(row['method'])):
        key = row['spec'], row['method']
        if key not in stored:
            stored[key] = _stored(collector, data.task, *key)
        motif = _motif(collector, row, stored[key], data, targets)
        if motif is not None:
            motifs.append(motif | {'default': row['method'] == order[row['spec']].best})
    return {
        'motifs': motifs,
        'chosen_by': ' and '.join(dict.fromkeys(found.why for found in order.values())),
        'trust': [
            {name: number(row[name]) if row.get(name) else None for name in _EXPECTED}
            | {'spec': row['spec'], 'method': row['method']}
            for row in trust
        ],
        'empty': [
            {'spec': row['spec'], 'method': row['method'], 'note': row['note']} for row in summaries if row['note']
        ],
        'spacings': [
            row
            for row in collector.table('spacings')
            if row['task'] == data.task and min(_q(row['q_spacing']), _q(row['q_together'])) <= 0.05
        ],
    }


def _q(cell: str) -> float:
    return number(cell) if cell else np.inf


def _stored(collector: Collector, task: str, spec: str, method: str) -> Mapping[str, np.ndarray]:
    """The arrays of a map's motifs; none where the file is missing or damaged, which is noted."""
    folder = collector.run.path / 'motifs' / files.safe_name(task) / files.safe_name(spec)
    try:
        return arrays.read_npz(pathlib.Path(folder) / files.safe_name(method) / 'found.npz')
    except InputError as error:
        collector.missing.append(str(error))
        return {}


def _motif(
    collector: Collector,
    row: Mapping[str, str],
    stored: Mapping[str, np.ndarray],
    data: TaskData,
    targets: dict[str, Any],
) -> dict[str, Any] | None:
    """One motif; None where its arrays are not there."""
    names = ('probabilities', 'contributions', 'row')
    if any(f'{row["motif"]}/{name}' not in stored for name in names):
        return None
    probabilities, contributions, of_rows = (stored[f'{row["motif"]}/{name}'] for name in names)
    positives = data.rows[data.labels == 1]
    held = [int(positives[at]) for at in np.unique(of_rows).tolist() if at < len(positives)]
    match = None
    known = collector.matrices.get(row['match']) if row['match'] else None
    if known is not None:
        targets[row['match']] = {'name': known.name, 'matrix': _rounded(known.probabilities)}
        match = {
            'target': row['match'],
            'offset': int(row['match_offset']),
            'overlap': int(row['match_overlap']),
            'strand': row['match_strand'],
            'q': float(f'{number(row["match_q"]):.3g}'),
        }
    return {
        'spec': row['spec'],
        'method': row['method'],
        'name': row['motif'],
        'sign': int(row['sign']),
        'source': row['source'],
        'matrix': _rounded(probabilities),
        'heights': _rounded(contributions),
        'match': match,
        'own': row['own'] == '1',
        'profile': [int(count) for count in row['profile'].split(',')],
        'rows': held,
        **{
            name: number(row[name]) if row[name] else None
            for name in ('sites', 'sequences', 'of', 'contribution', 'share', 'bits', 'seen_in', 'looked_in')
        },
    }


def _rounded(matrix: np.ndarray) -> list[list[float]]:
    return [[float(f'{value:.4g}') for value in column] for column in np.asarray(matrix).tolist()]
