"""The models that are asked together: one compiled program per architecture (pure)."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax.errors import InputError
from demo_jax.explain import attribution, batches
from demo_jax.explain.score import Score, check_score, float_type, name_of, of_tokens
from demo_jax.explain.sizes import default_sizes, on_accelerator
from demo_jax.nn import edits, kernels, mutants
from demo_jax.nn.kernels import Array
from demo_jax.nn.models import ModelSpec
from demo_jax.predict.ensemble import combine, members_of
from demo_jax.predict.predictor import Predictor

#: Designs and backgrounds whose edits are followed at a time, on each device: so many that they stay in the cache.
_TOGETHER, _BACKGROUNDS = 4, 64
#: Letters around a window that it changes something for, roughly: where windows and these fill the sequence, nothing is
#: gained.
_AROUND = 16


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

    def score_edited(
        self,
        backgrounds: np.ndarray,
        tokens: np.ndarray,
        starts: np.ndarray,
        width: int,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> np.ndarray:
        """Scores float32 (M, D, N) of D designs in N backgrounds.

        Where a model's layers can follow what a few other letters change (`nn.mutants`), nothing else is computed. The
        scores are those of `score` up to rounding.

        Args:
          backgrounds: uint8 (N, L).
          tokens: uint8 (D, N, L), the backgrounds with other letters in windows alone.
          starts: int (D, W), where the windows begin; they may be the same, and overlap.
          width: letters of each.
          progress: as of `score`.

        Raises:
          InputError: as `score`.
        """
        d, n, length = tokens.shape
        scores = np.empty((len(self), d, n), np.float32)
        order = np.argsort(
            starts.min(axis=1), kind='stable'
        )  # LSTMs go on from the first letter that any of some changes
        for group in self.groups:
            if not _follows(group.score, starts.shape[1], width, length):
                part = ModelSet(self.names, (group._replace(places=tuple(range(len(group.places)))),))
                found = part._plain(tokens.reshape(-1, length), progress).reshape(-1, d, n)
                scores[list(group.places)] = found
                continue
            checked, _ = batches.checked_sequences(group.score, backgrounds, None, len(group.places))
            padded = np.append(order, np.repeat(order[-1:], -d % _TOGETHER))
            shared = tokens[padded].transpose(1, 0, 2), np.repeat(starts[None, padded], n, axis=0)
            arrays = (checked, *(np.broadcast_to(array, (len(group.places), *array.shape)) for array in shared))
            n_devices = jax.local_device_count()
            parts = -(-n // (n_devices * _BACKGROUNDS))
            found = batches.run(
                _edited,
                (group.score, group.average_strands, width),
                group.params,
                arrays,
                batch_size=-(-n // (n_devices * parts)),
                progress=None if progress is None else lambda done: progress(done * d),
            )
            scores[np.array(group.places)[:, None], order[None]] = found[:, :, :d].transpose(0, 2, 1)
        return scores

    def _plain(self, tokens: np.ndarray, progress: Callable[[int], object] | None) -> np.ndarray:
        return dataclasses.replace(self, names=self.names[: len(self.groups[0].places)]).score(
            tokens, progress=progress
        )

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


@dataclasses.dataclass(frozen=True, eq=False)
class MeanSet(ModelSet):
    """Predictors of which each answers with the mean score of its members.

    Attributes:
      names: of the predictors.
      groups: the members by architecture; places are those of all members.
      parts: which members are whose.
    """

    parts: tuple[slice, ...] = ()

    def score(self, tokens: np.ndarray, *, progress: Callable[[int], object] | None = None) -> np.ndarray:
        """See `ModelSet.score`."""
        return self._mean(self._members().score(tokens, progress=progress))

    def score_edited(self, *arrays: Any, **options: Any) -> np.ndarray:
        """See `ModelSet.score_edited`."""
        return self._mean(self._members().score_edited(*arrays, **options))

    def gradient(self, tokens: np.ndarray) -> np.ndarray:
        """See `ModelSet.gradient`."""
        return self._mean(self._members().gradient(tokens))

    def _members(self) -> ModelSet:
        return ModelSet(('',) * self.parts[-1].stop, self.groups)

    def _mean(self, of_members: np.ndarray) -> np.ndarray:
        return np.stack([combine(of_members[part]).mean for part in self.parts])


def _follows(score: Score, windows: int, width: int, length: int) -> bool:
    """Whether it pays to compute only what windows change: on a CPU, where they are a small part of the sequence."""
    small = windows * (width + _AROUND) < length
    return small and isinstance(score, ModelSpec) and mutants.follows(score) and not on_accelerator()


def _edited(
    params: Any, batch: tuple[Array, Array, Array], score: ModelSpec, average_strands: bool, width: int
) -> Array:
    """Scores (B, D) of mutants (B, D, L) of backgrounds (B, L), which differ in windows that begin at (B, D, W)."""
    own, mutated, starts = batch
    found = _edited_strand(params, own, mutated, starts[0], score, width)
    if average_strands:
        d, length = mutated.shape[1:]
        turned = kernels.reverse_complement(mutated.reshape(-1, length), None).reshape(-1, d, length)
        own = kernels.reverse_complement(own, None)
        found = (found + _edited_strand(params, own, turned, length - width - starts[0], score, width)) / 2
    return found


def _edited_strand(params: Any, own: Array, mutated: Array, starts: Array, score: ModelSpec, width: int) -> Array:
    dtype = float_type(params)
    known = mutants.keep(params, score, kernels.one_hot(own, dtype), width=width)
    behind = len(known.letters.array) - own.shape[1]
    padded = jnp.pad(mutated, ((0, 0), (0, 0), (0, behind)), constant_values=4)

    def some(chunk: tuple[Array, Array]) -> Array:
        tokens, at = chunk  # (m, B, L), (m, W)
        blocks = at // known.span.grid
        windows = []
        for window in range(at.shape[1]):
            place = edits.positions(known.span, blocks[:, window])  # (width of the span, m)
            letters = tokens[np.arange(len(tokens))[None], :, place]  # (width of the span, m, B)
            windows.append((blocks[:, window], kernels.one_hot(letters, dtype)))
        return mutants.score(params, score, known, windows)

    b, d = mutated.shape[:2]
    chunks = padded.transpose(1, 0, 2).reshape(-1, _TOGETHER, b, padded.shape[2])
    return jax.lax.map(some, (chunks, starts.reshape(-1, _TOGETHER, starts.shape[1]))).reshape(d, b).T


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


def of_models(predictors: Sequence[Predictor], *, together: bool = False) -> ModelSet:
    """Models such as `run.model(task, spec)` or `demo_jax.wrap(score, params)`, of any architectures.

    Args:
      predictors: at least one.
      together: members of an ensemble answer with their mean score. Else each is a model of its own, so that intervals
        over models are over its members, too.

    Raises:
      InputError: there is none.
    """
    models, parts = members_of(predictors)
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
    if together:
        return MeanSet(tuple(one.title for one in predictors), tuple(groups), parts)
    titles = [model.title for model in models]
    names = [
        f'{title} / seed {model.seed}' if titles.count(title) > 1 else title
        for title, model in zip(titles, models, strict=True)
    ]
    return ModelSet(tuple(names), tuple(groups))
