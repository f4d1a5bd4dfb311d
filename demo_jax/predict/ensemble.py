"""Models of one task that answer together: mean scores, mean maps, and their spread (edge).

An ensemble's score is the mean of its members' scores S, in log odds. Log odds and not probabilities, because
explanations are of log odds and a mean of maps is then the map of the mean; because a mean of log odds weighs evidence
as a product of odds does (a geometric mean), where a mean of probabilities near 0 or 1 loses it; and because a change
of score (a variant's, a motif's) is the mean of the members' changes. Its probability is the sigmoid of the score over
a temperature of its own and a shift, which keep the ranking.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax.evaluation.choose import ALL_SPECS
from demo_jax.explain import class_optimisation
from demo_jax.explain.score import call, name_of, shortest, takes_lengths
from demo_jax.explain.sufficient_motif import SufficientMotifSettings
from demo_jax.predict.model import Model
from demo_jax.predict.predictor import Predictor
from demo_jax.predict.results import Maps, Optimum, Prediction, SufficientLetters, Temporal


class Spread(NamedTuple):
    """What some members say together.

    Attributes:
      mean: (...,), of one member its own value, to the last bit.
      sd: (...,), the standard deviation between them (n - 1 in the denominator); NaN of one member.
    """

    mean: np.ndarray
    sd: np.ndarray


def combine(values: Any) -> Spread:
    """Mean and standard deviation over members.

    Args:
      values: (members, ...), at least one member; sums are float64, results have the dtype of floats, else float64.
    """
    values = np.asarray(values)
    values = values if values.dtype.kind == 'f' else values.astype(np.float64)
    if len(values) == 1:
        return Spread(values[0], np.full(values.shape[1:], np.nan, values.dtype))
    mean = values.mean(axis=0, dtype=np.float64)
    sd = np.sqrt(np.square(values - mean).sum(axis=0) / (len(values) - 1))
    return Spread(mean.astype(values.dtype), sd.astype(values.dtype))


class Members(NamedTuple):
    """Models of several predictors in one list, and which of them belong together.

    Attributes:
      models: M of them.
      parts: G slices of these, one per predictor.
    """

    models: list[Model]
    parts: tuple[slice, ...]

    def combine(self, values: np.ndarray) -> Spread:
        """Mean and SD float (G, ...) of values (M, ...) of the models, see `combine`."""
        found = [combine(values[part]) for part in self.parts]
        if not found:
            return Spread(values, values)
        return Spread(np.stack([one.mean for one in found]), np.stack([one.sd for one in found]))

    @property
    def several(self) -> bool:
        """Whether any of the predictors has more than one model."""
        return len(self.models) > len(self.parts)


def members_of(predictors: Sequence[Predictor]) -> Members:
    """The models of some predictors, in their order."""
    models: list[Model] = []
    parts = []
    for predictor in predictors:
        own = predictor.members if isinstance(predictor, Ensemble) else (predictor,)
        parts.append(slice(len(models), len(models) + len(own)))
        models += own  # type: ignore[arg-type]
    return Members(models, tuple(parts))


def count_members(predictor: Predictor) -> int:
    """How many models a predictor is made of."""
    return len(predictor.members) if isinstance(predictor, Ensemble) else 1


@dataclasses.dataclass(frozen=True)
class MeanScore:
    """The mean of several scores, each with parameters of its own, as a score itself: of (tuple of params, x).

    Attributes:
      of: the score of each, see `explain.score`; at least one.
    """

    of: tuple[Any, ...]

    def __call__(self, params: Any, x: Any, lengths: Any = None) -> Any:
        """Scores (B,); see `explain.score.Score`."""
        each = [call(score, one, x, lengths) for score, one in zip(self.of, params, strict=True)]
        return jnp.mean(jnp.stack(each), axis=0)

    @property
    def name(self) -> str:
        """For messages and titles."""
        return f'mean of {", ".join(dict.fromkeys(map(name_of, self.of)))}'

    @property
    def min_length(self) -> int:
        """Letters of the shortest sequence that it can read."""
        return max(map(shortest, self.of))

    @property
    def takes_lengths(self) -> bool:
        """Whether each of the scores has an argument `lengths`."""
        return all(map(takes_lengths, self.of))


@dataclasses.dataclass(frozen=True, eq=False)
class Ensemble(Predictor):
    """The models of one task, of several seeds, folds or architectures, as one.

    Every method is that of `Model`. Results hold means over the members and SDs between them; the class optimum is
    that of the mean score.

    Attributes:
      members: at least one model; all of one task, alike in `average_strands` and `length`.
      temperature: of the mean score, fitted on validation data by the stage evaluate; None: not calibrated.
      shift: what is added to the log odds then, fitted with the temperature.
      prior_shift: what is added besides, see `with_prior`.
    """

    members: tuple[Model, ...]
    temperature: float | None = None
    shift: float = 0.0
    prior_shift: float = 0.0

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError('an ensemble needs a member')
        kinds = {(model.task, model.average_strands) for model in self.members}
        if len(kinds) > 1:
            raise ValueError(f'members differ in task or strands: {sorted(kinds)}')

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Model]:
        return iter(self.members)

    @property
    def task(self) -> str:  # type: ignore[override]
        """The TF data set that the members were trained on."""
        return self.members[0].task

    @property
    def spec(self) -> str:  # type: ignore[override]
        """Name of the members' architecture; 'all' where they have several."""
        specs = {model.spec for model in self.members}
        return specs.pop() if len(specs) == 1 else ALL_SPECS

    @property
    def seed(self) -> None:  # type: ignore[override]
        """None: its members have seeds."""
        return None

    @property
    def average_strands(self) -> bool:  # type: ignore[override]
        """Whether predictions are the mean score of both strands."""
        return self.members[0].average_strands

    @property
    def length(self) -> int:  # type: ignore[override]
        """Letters of the longest sequence that the members were trained on."""
        return self.members[0].length

    @property
    def score(self) -> Any:
        """What gives the scores of each member, with parameters of its own; of several architectures their mean."""
        scores = tuple(model.score for model in self.members)
        return scores[0] if len(set(scores)) == 1 else MeanScore(scores)

    @property
    def title(self) -> str:
        """As of a model, with the number of members."""
        return f'{super().title} x {len(self.members)}'

    def __repr__(self) -> str:
        return f'Ensemble({self.title}: seeds {", ".join(str(model.seed) for model in self.members)})'

    def predict(self, sequences: Sequence[str]) -> Prediction:
        """Mean scores and their SD; see `Model.predict`."""
        needy = max(self.members, key=lambda model: shortest(model.score))  # what it can read, all can
        encoded = needy.encode(sequences)
        found = combine(self.member_scores(*encoded))
        chances = self.probability(found.mean).astype(np.float32)
        return Prediction(
            tuple(sequences),
            found.mean,
            chances,
            self.temperature,
            self.shift + self.prior_shift,
            self._sd(found),
            len(self),
        )

    def attribute(
        self, method: str, sequences: Sequence[str], *, both_strands: bool | None = None, **settings: Any
    ) -> Maps:
        """Mean maps and their SD; see `Model.attribute`."""
        found = [model.attribute(method, sequences, both_strands=both_strands, **settings) for model in self.members]
        score = combine(np.stack([one.score for one in found]))
        signed, hypothetical = (
            _by_sequence([getattr(one, name) for one in found]) for name in ('signed', 'hypothetical')
        )
        errors = [one.completeness_error for one in found if one.completeness_error is not None]
        several = len(self) > 1
        return dataclasses.replace(
            found[0],
            title=self.title,
            score=score.mean,
            signed=tuple(one.mean for one in signed),
            hypothetical=tuple(one.mean for one in hypothetical),
            completeness_error=np.max(errors, axis=0) if errors else None,
            score_sd=self._sd(score),
            signed_sd=tuple(one.sd for one in signed) if several else None,
            hypothetical_sd=tuple(one.sd for one in hypothetical) if several else None,
            n_members=len(self),
        )

    def temporal(
        self, sequences: Sequence[str], *, both_strands: bool | None = None, truncate: str = 'input'
    ) -> Temporal:
        """Mean temporal scores and their SD; see `Model.temporal`."""
        found = [model.temporal(sequences, both_strands=both_strands, truncate=truncate) for model in self.members]
        forward, reverse = (_by_sequence([getattr(one, name) for one in found]) for name in ('forward', 'reverse'))
        several = len(self) > 1
        return dataclasses.replace(
            found[0],
            title=self.title,
            forward=tuple(one.mean for one in forward),
            reverse=tuple(one.mean for one in reverse),
            forward_sd=tuple(one.sd for one in forward) if several else None,
            reverse_sd=tuple(one.sd for one in reverse) if several else None,
        )

    def class_optimise(
        self,
        *,
        length: int | None = None,
        restarts: int = 4,
        seed: int = 0,
        settings: class_optimisation.ClassOptimisationSettings | None = None,
    ) -> Optimum:
        """The input that maximises the mean score; see `Model.class_optimise`."""
        found = self._together().class_optimise(length=length, restarts=restarts, seed=seed, settings=settings)
        return dataclasses.replace(found, title=self.title)

    def sufficient_motif(
        self,
        *,
        length: int | None = None,
        restarts: int = 4,
        seed: int = 0,
        settings: SufficientMotifSettings | None = None,
    ) -> SufficientLetters:
        """The letters of fewest bits that suffice for the mean score; see `Model.sufficient_motif`."""
        found = self._together().sufficient_motif(length=length, restarts=restarts, seed=seed, settings=settings)
        return dataclasses.replace(found, title=self.title)

    def _together(self) -> Model:
        """One model whose score is the mean of the members'."""
        params = tuple(jax.tree.map(jnp.asarray, model.params) for model in self.members)
        function = MeanScore(tuple(model.score for model in self.members))
        return dataclasses.replace(self.members[0], spec=self.spec, params=params, function=function)

    def score_tokens(self, tokens: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Mean scores S, float32 (N,), of tokens uint8 (N, L); `lengths` int (N,) where they differ."""
        return combine(self.member_scores(tokens, lengths)).mean

    def member_scores(self, tokens: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Scores S of each member, float32 (members, N); arguments as of `score_tokens`."""
        return np.stack([model.score_tokens(tokens, lengths) for model in self.members])

    def _sd(self, found: Spread) -> np.ndarray | None:
        return found.sd if len(self) > 1 else None


def _by_sequence(found: Sequence[tuple[np.ndarray, ...]]) -> list[Spread]:
    """Of each sequence, what the members say together: `found` has N arrays per member."""
    return [combine(np.stack(parts)) for parts in zip(*found, strict=True)]
