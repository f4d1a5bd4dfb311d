"""The one place where models are chosen, always by validation AUROC (pure).

Of equals the first counts, and a missing AUROC (NaN) is below every other. Test values are never looked at.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

#: In place of an architecture's name: the models of all architectures of a task answer together.
ALL_SPECS = 'all'

Item = TypeVar('Item')
Group = TypeVar('Group', bound=Hashable)


def best(items: Iterable[Item], valid: Callable[[Item], float]) -> Item | None:
    """The item with the best validation AUROC; None where there are no items.

    Args:
      items: models, or whatever stands for them.
      valid: of an item, its validation AUROC; NaN where it has none.
    """
    return best_of_each(items, lambda _: True, valid).get(True)


def best_of_each(
    items: Iterable[Item], group: Callable[[Item], Group], valid: Callable[[Item], float]
) -> dict[Group, Item]:
    """Of each group the item with the best validation AUROC, in the order of the groups' first items.

    Args:
      items: as of `best`; they are looked at one by one, and no more than the best are held.
      group: of an item, what it competes with others in, e.g. (task, spec).
      valid: as of `best`.
    """
    found: dict[Group, tuple[float, Item]] = {}
    for item in items:
        key, rank = group(item), _rank(valid(item))
        if key not in found or rank > found[key][0]:
            found[key] = rank, item
    return {key: item for key, (_, item) in found.items()}


def best_of_each_kind(valid: Mapping[str, Mapping[str, float]], kind: Callable[[str], str]) -> dict[str, str]:
    """Of each kind the spec with the best mean validation AUROC, as {'cnn': 'medium_cnn', ...}.

    The mean is over the tasks that all specs of the kind have; where there are none, over each spec's own.

    Args:
      valid: spec -> task -> validation AUROC.
      kind: of a spec.
    """
    kinds: dict[str, list[str]] = {}
    for spec in valid:
        kinds.setdefault(kind(spec), []).append(spec)
    chosen = {}
    for name, specs in kinds.items():
        common = set.intersection(*(set(valid[spec]) for spec in specs))
        chosen[name] = _best_mean(specs, valid, common)
    return chosen


def _best_mean(specs: Sequence[str], valid: Mapping[str, Mapping[str, float]], common: set[str]) -> Any:
    return best(specs, lambda spec: float(np.mean([valid[spec][task] for task in common or valid[spec]])))


def _rank(valid: float) -> float:
    return -math.inf if math.isnan(valid) else valid
