"""Which of a model's maps is taken where one is needed: by the page, exports, hits and grammar (edge: reads tables).

Where a run has a certificate of trust (`stages.trust`), the map whose seqlets did best in the matched simulation of the
task and architecture. Without one, the order of `explain.attribution.BEST_FIRST`, which is that of simulated data.
"""

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from demo_jax.explain.attribution import BEST_FIRST
from demo_jax.io import files

#: What an order of methods comes from.
CERTIFICATE, SIMULATIONS = 'the certificate of trust', 'their order on simulated data'


class Preferred(NamedTuple):
    """Methods, best first, and why: `CERTIFICATE` or `SIMULATIONS`."""

    methods: tuple[str, ...]
    why: str

    @property
    def best(self) -> str | None:
        """The best; None of none."""
        return self.methods[0] if self.methods else None


def prefer(tables: pathlib.Path, task: str, spec: str, methods: Iterable[str]) -> Preferred:
    """Methods of a model in the order in which they are to be trusted.

    Args:
      tables: the folder `tables` of the run.
      task, spec: whose maps they are.
      methods: those that there are.

    Raises:
      InputError: trust.tsv is damaged.
    """
    there = sorted(dict.fromkeys(methods), key=_rank)
    rated = {
        row['method']: worth(row) for row in _certificate(tables) if (row.get('task'), row.get('spec')) == (task, spec)
    }
    known = [method for method in there if method in rated]
    if not known:
        return Preferred(tuple(there), SIMULATIONS)
    known.sort(key=lambda method: -rated[method])
    return Preferred((*known, *(method for method in there if method not in rated)), CERTIFICATE)


def worth(row: Mapping[str, Any]) -> float:
    """What a row of trust.tsv says of a map: the harmonic mean of the recall and the precision of its seqlets."""
    recall, false = (_number(row.get(name)) for name in ('seqlet_recall', 'seqlet_fdr'))
    total = recall + 1 - false
    found = 2 * recall * (1 - false) / total if total > 0 else 0.0
    return found if np.isfinite(found) else 0.0


def _certificate(tables: pathlib.Path) -> list[dict[str, str]]:
    path = tables / 'trust.tsv'
    return files.read_tsv(path) if path.is_file() else []


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):  # an empty cell: nothing was called
        return float('nan')


def _rank(method: str) -> int:
    return BEST_FIRST.index(method) if method in BEST_FIRST else len(BEST_FIRST)
