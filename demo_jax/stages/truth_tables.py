"""Tables of how well explanations find planted sites (pure): part of the stage `match`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demo_jax.evaluation.table import Column, Figure, Table
from demo_jax.explain.truth import Truth, score_truth
from demo_jax.motifs.extract import Windows
from demo_jax.training.jobs import Job

TRUTH_COLUMNS = ('task', 'spec', 'method', *(field.name for field in dataclasses.fields(Truth)))
TRUTH_MEAN_COLUMNS = ('spec', 'method', 'n_tasks', *TRUTH_COLUMNS[3:])
#: Both tables, without rows.
TRUTH = Table([], TRUTH_COLUMNS, 'truth', printed=(), needed=('task',))
TRUTH_MEAN = Table(
    [],
    TRUTH_MEAN_COLUMNS,
    'truth_mean',
    'Truth: planted sites found, means over tasks (correctly classified positives)',
    ('spec', 'method', 'n_tasks', 'n_sites', 'auprc', 'auprc_chance', 'recall', 'recall_chance', 'whole'),
    figures=(
        Figure(
            'Planted sites: AUPRC of bases',
            (Column('auprc', '', 'three'), Column('auprc_chance', 'chance', 'three')),
            by_method=True,
            note='Bases of planted sites against all others, ranked by the explanation. Means over tasks.',
        ),
        Figure(
            'Planted sites: recall',
            (Column('recall', '', 'three'), Column('recall_chance', 'chance', 'three')),
            by_method=True,
            note='Share of primary sites that the sequence’s motif window overlaps by half of the shorter of the '
            'two, or more. Means over tasks.',
        ),
    ),
)


def judge(
    job: Job,
    values: Mapping[str, np.ndarray],
    windows: Mapping[str, Windows],
    sites: np.ndarray,
    rows: np.ndarray,
    lengths: np.ndarray,
    score: np.ndarray | None,
) -> list[dict[str, Any]]:
    """How well each method finds the planted sites of the positives that the model gets right.

    Args:
      job: the model.
      values: method -> float (N, L), how much each base matters.
      windows: method -> its windows in these sequences.
      sites: of the corpus.
      rows: int (N,), corpus rows of the sequences.
      lengths: int (N,).
      score: float (N,), of the model, right above 0; None: all are looked at.

    Returns:
      Rows with `TRUTH_COLUMNS`.
    """
    keep = None if score is None else score > 0
    found = []
    for name, value in values.items():
        truth = score_truth(values=value, windows=windows[name], sites=sites, rows=rows, keep=keep, lengths=lengths)
        found.append({'task': job.task, 'spec': job.spec, 'method': name} | dataclasses.asdict(truth))
    return found


def means(truths: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over tasks per spec and method, rows with `TRUTH_MEAN_COLUMNS`; counts of sequences and sites are sums."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for truth in truths:
        groups.setdefault((truth['spec'], truth['method']), []).append(truth)
    rows = []
    for (spec, method), group in groups.items():
        judged = [row for row in group if row['n_sequences']]
        row: dict[str, Any] = {'spec': spec, 'method': method, 'n_tasks': len(judged)}
        for name in TRUTH_COLUMNS[3:]:
            total = sum if name.startswith('n_') else np.mean
            row[name] = total([one[name] for one in judged]) if judged else None
        rows.append(row)
    return rows
