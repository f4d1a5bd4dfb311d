"""The models that are asked together: one compiled program per architecture (pure)."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from demo_jax.errors import InputError
from demo_jax.explain import attribution, batches
from demo_jax.explain.score import Score, check_score, name_of, of_tokens
from demo_jax.explain.sizes import default_sizes
from demo_jax.predict.ensemble import members_of
from demo_jax.predict.predictor import Predictor


class Group(NamedTuple):
    """Models of one architecture.

    Attributes:
      score: a function of (params, x), see `explain.score`.
      params: nested arrays with a leading axis, one place per model.
      average_strands: scores are means over both strands.
      places: which of all models they are.
    """

    score: Score
    params: Any
    average_strands: bool
    places: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class ModelSet:
    """M models that read sequences of one length.

    Attributes:
      names: M names, for tables and titles.
      groups: the models by architecture.
    """

    names: tuple[str, ...]
    groups: tuple[Group, ...]

    def __len__(self) -> int:
        return len(self.names)

    def score(self, tokens: np.ndarray, *, progress: Callable[[int], object] | None = None) -> np.ndarray:
        """Scores float32 (M, N) of tokens uint8 (N, L).

        Args:
          tokens: sequences; all models read all of them.
          progress: called with the number of (model, sequence) pairs done since the last call.

        Raises:
          InputError: sequences that a model cannot read, or a function that is no score (`score.check_score`).
        """
        scores = np.empty((len(self), len(tokens)), np.float32)
        for group in self.groups:
            checked, _ = batches.checked_sequences(group.score, tokens, None, len(group.places))
            one = jax.tree.map(lambda leaf: leaf[0], group.params)
            check_score(group.score, one, checked[0, 0], gradient=False)
            rows = 2 if group.average_strands else 1
            sizes = default_sizes('score', group.score, one, checked.shape, rows=rows)
            scores[list(group.places)] = batches.run(
                of_tokens,
                (group.score, group.average_strands),
                group.params,
                (checked, None),
                batch_size=sizes.batch_size,
                width=sizes.width,
                progress=progress,
            )
        return scores

    def gradient(self, tokens: np.ndarray) -> np.ndarray:
        """The first-order change of the score by each letter in place of the one there: float32 (M, N, L, 4).

        Args:
          tokens: uint8 (N, L).

        Raises:
          InputError: as `score`, or a score without a gradient.
        """
        changes = np.empty((len(self), *tokens.shape, 4), np.float32)
        for group in self.groups:
            maps = attribution.attribute_models(
                'saliency', group.params, group.score, tokens, both_strands=group.average_strands
            )
            changes[list(group.places)] = maps.hypothetical - maps.signed[..., None]
        return changes


def of_score(score: Score, params: Any, *, names: Sequence[str] = (), average_strands: bool = False) -> ModelSet:
    """Any score with the parameters of M models.

    Args:
      score: a function of (params, x), see `explain.score`.
      params: a pytree of arrays with a leading axis M; of one model, `batches.stack_one(params)`.
      names: M names; none = the score's name, numbered from 1 if there are several.
      average_strands: scores are means over both strands.

    Raises:
      InputError: parameters without a common leading axis, or names of another number.
    """
    n = batches.count_models(params)
    made = names or ((name_of(score),) if n == 1 else tuple(f'{name_of(score)} {m + 1}' for m in range(n)))
    if len(made) != n:
        raise InputError(f'{len(made)} names of {n} models: {", ".join(made)}')
    return ModelSet(tuple(made), (Group(score, params, average_strands, tuple(range(n))),))


def of_models(predictors: Sequence[Predictor]) -> ModelSet:
    """Models such as `run.model(task, spec)` or `demo_jax.wrap(score, params)`, of any architectures.

    Each member of an ensemble is a model of its own, so that intervals over models are over its members, too.

    Raises:
      InputError: there is none.
    """
    models = members_of(predictors).models
    if not models:
        raise InputError('no model was given to ask, expected at least one')
    alike: dict[Any, list[int]] = {}
    for place, model in enumerate(models):
        shapes = tuple((np.shape(leaf), str(np.asarray(leaf).dtype)) for leaf in jax.tree.leaves(model.params))
        kind = (model.score, model.average_strands, jax.tree.structure(model.params), shapes)
        alike.setdefault(kind, []).append(place)
    groups = []
    for (score, average_strands, *_), places in alike.items():
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *(models[place].params for place in places))
        groups.append(Group(score, stacked, average_strands, tuple(places)))
    titles = [model.title for model in models]
    names = [
        f'{title} / seed {model.seed}' if titles.count(title) > 1 else title
        for title, model in zip(titles, models, strict=True)
    ]
    return ModelSet(tuple(names), tuple(groups))
