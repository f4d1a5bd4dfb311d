"""Two conditions side by side: their maps of the same sequences, and what the same motifs do in each (results draw).

A condition is some models of one task and architecture: one model, or several seeds of it, whose means count. Two
trainings on the same data differ, too. So the difference of a motif's effects is compared with the differences of words
that mean nothing (`designs.meaningless`), and where both conditions have several models, their spread is told as well.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from demo_jax import dna
from demo_jax.errors import InputError, brief
from demo_jax.insilico import designs, drawing
from demo_jax.insilico.designs import Insertion, Motif
from demo_jax.insilico.estimates import Estimate, null_p, over_backgrounds, q_values
from demo_jax.insilico.models import of_models
from demo_jax.predict.ensemble import members_of
from demo_jax.predict.predictor import Predictor

#: Where a motif was found: in both conditions, in one alone, or nobody looked (it was given).
BOTH, FIRST, SECOND, GIVEN = 'both', 'first', 'second', ''
_MOST_DRAWN = 30


class Sources(NamedTuple):
    """Motifs by name, and where each was found, one of `BOTH`, `FIRST`, `SECOND`, `GIVEN`."""

    motifs: Mapping[str, Motif]
    found_in: Mapping[str, str]


@dataclasses.dataclass(frozen=True, eq=False)
class Differences:
    """What D motifs do in two conditions.

    Attributes:
      conditions: their two names.
      motifs: names (D,).
      found_in: (D,), see `BOTH`.
      effects: float64 (2, D), mean effect in each condition, over its models and the backgrounds.
      difference: (D,), second minus first, with its 95% interval over backgrounds.
      p_value: float64 (D,), share of K words of the motif's letters in another order whose difference is at least as
        far from 0; NaN without such words.
      q_value: float64 (D,), Benjamini and Hochberg's over the motifs.
      p_models: float64 (D,), Welch's test over the models of the conditions; NaN unless both have several.
      n_backgrounds, n_words: N and K.
    """

    conditions: tuple[str, str]
    motifs: tuple[str, ...]
    found_in: tuple[str, ...]
    effects: np.ndarray
    difference: Estimate
    p_value: np.ndarray
    q_value: np.ndarray
    p_models: np.ndarray
    n_backgrounds: int
    n_words: int

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row per motif.

        Columns: motif, found_in, effect_first, effect_second, difference, low, high, p_value, q_value, p_models.
        """
        import pandas as pd

        return pd.DataFrame(
            {
                'motif': self.motifs,
                'found_in': self.found_in,
                'effect_first': self.effects[0],
                'effect_second': self.effects[1],
                'difference': self.difference.mean,
                'low': self.difference.low,
                'high': self.difference.high,
                'p_value': self.p_value,
                'q_value': self.q_value,
                'p_models': self.p_models,
            }
        )

    def draw(self, ax: Any) -> None:
        """The differences that are farthest from 0, with their intervals; who found the motif is behind its name."""
        order = np.argsort(-np.abs(self.difference.mean), kind='stable')[:_MOST_DRAWN]
        order = order[np.argsort(-self.difference.mean[order], kind='stable')]
        where = {BOTH: ' (both)', FIRST: ' (first alone)', SECOND: ' (second alone)', GIVEN: ''}
        names = [f'{self.motifs[at]}{where[self.found_in[at]]}' for at in order]
        label = 'effect in the second minus effect in the first (log odds)'
        drawing.intervals(ax, names, *(part[order] for part in self.difference), label=label)
        title = f'first: {self.conditions[0]}; second: {self.conditions[1]}'
        ax.set_title(title, fontsize='small', loc='left', parse_math=False)


@dataclasses.dataclass(frozen=True, eq=False)
class MapDifferences:
    """The maps of N sequences in two conditions.

    Attributes:
      conditions: their two names.
      method: of `explain.attribution.ATTRIBUTIONS`.
      names: of the sequences.
      tokens: uint8 (N, L).
      scores: float32 (2, N).
      maps: float32 (2, N, L), contributions of the letters that are there.
      correlation: float64 (N,), Pearson's of the two maps; NaN where one is flat.
    """

    conditions: tuple[str, str]
    method: str
    names: tuple[str, ...]
    tokens: np.ndarray
    scores: np.ndarray
    maps: np.ndarray
    correlation: np.ndarray

    @property
    def most_different(self) -> np.ndarray:
        """int64 (N,), 0-based position where the maps of each sequence differ most."""
        return np.abs(self.maps[1] - self.maps[0]).argmax(axis=1)

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row per sequence.

        Columns: sequence, score_first, score_second, correlation, position (from 1) where the maps differ most, its
        base, map_first and map_second there.
        """
        import pandas as pd

        at, rows = self.most_different, np.arange(len(self.names))
        return pd.DataFrame(
            {
                'sequence': self.names,
                'score_first': self.scores[0],
                'score_second': self.scores[1],
                'correlation': self.correlation,
                'position': at + 1,
                'base': [dna.decode(self.tokens[row, place : place + 1]) for row, place in zip(rows, at, strict=True)],
                'map_first': self.maps[0, rows, at],
                'map_second': self.maps[1, rows, at],
            }
        )

    def draw(self, axes: Sequence[Any]) -> None:
        """Both maps, as letters, of the sequence where they differ most, on two axes."""
        from demo_jax.report import plots

        row = int(np.abs(self.maps[1] - self.maps[0]).max(axis=1).argmax())
        letters = dna.one_hot(self.tokens[row])
        for which, ax in enumerate(axes):
            plots.letter_logo(ax, letters * self.maps[which, row][:, None], ylabel='log odds')
            ax.set_xlim(-0.5, len(letters) - 0.5)
            title = f'{self.names[row]} in {self.conditions[which]}: score {self.scores[which, row]:.2f}'
            ax.set_title(title, fontsize='small', loc='left', parse_math=False)


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Two conditions: what motifs do in them, and the maps of the sequences that both have."""

    motifs: Differences
    maps: MapDifferences

    def to_frame(self) -> Any:
        """The motifs, see `Differences.to_frame`."""
        return self.motifs.to_frame()

    def plot(self) -> Any:
        """The motifs that differ, above the two maps of the sequence where maps differ most."""
        rows = min(len(self.motifs.motifs), _MOST_DRAWN)
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 0.24 * rows + 5.4), layout='constrained')
        axes = figure.subplots(3, 1, height_ratios=[0.24 * rows + 1, 2, 2])
        self.motifs.draw(axes[0])
        self.maps.draw(axes[1:])
        return figure


def compare_motifs(
    first: Predictor,
    second: Predictor,
    sources: Sources,
    backgrounds: np.ndarray,
    *,
    names: tuple[str, str] | None = None,
    words: int = 50,
    how: str = 'consensus',
    seed: int = 0,
    progress: bool = False,
) -> Differences:
    """The effect of each motif in two conditions, in the middle of the same backgrounds.

    Args:
      first, second: the conditions: models, or ensembles of them.
      sources: the motifs, and where they were found.
      backgrounds: uint8 (N, L).
      names: of the conditions; None = the titles of the models.
      words: meaningless words of each motif to compare with; no p is below 1 / (words + 1). 0 = none.
      how: matrices as their 'consensus', or 'sampled' anew for each background.
      seed: of what is drawn.
      progress: show a bar.

    Raises:
      InputError: no motif, one that does not fit, or as `ModelSet.score`.
    """
    backgrounds = designs.check_backgrounds(backgrounds)
    n, length = backgrounds.shape
    motifs = sources.motifs
    if not motifs:
        raise InputError('no motif was given or found in the conditions, expected at least one')
    if words < 0:
        raise InputError(f'words are {words}, expected 0 or more')
    members = members_of([first, second])
    models = of_models(members.models)
    rng = np.random.default_rng(seed)
    made: list[designs.Design] = [()]
    for name, motif in motifs.items():
        own = designs.words_of(name, motif, n, rng, how=how)
        at = designs.middle(own.shape[1], length)
        made += [(Insertion(one, at),) for one in (own, *(designs.meaningless(own, rng) for _ in range(words)))]
        designs.check_design(made[-1], n, length, [f'motif {name}'])
    scores = designs.score_designs(models, backgrounds, made, progress=progress).astype(np.float64)
    effects = (scores[:, 1:] - scores[:, :1]).reshape(len(models), len(motifs), 1 + words, n)
    of_condition = np.stack([effects[part].mean(axis=0) for part in members.parts])  # (2, D, 1 + K, N)
    change = of_condition[1] - of_condition[0]
    size = np.abs(change.mean(axis=-1))
    p_value = null_p(size[:, 0], size[:, 1:]) if words else np.full(len(motifs), np.nan)
    return Differences(
        names or (first.title, second.title),
        tuple(motifs),
        tuple(sources.found_in.get(name, GIVEN) for name in motifs),
        of_condition[:, :, 0].mean(axis=-1),
        over_backgrounds(change[:, 0]),
        p_value,
        q_values(p_value),
        _welch(*(effects[part, :, 0].mean(axis=-1) for part in members.parts)),
        n,
        words,
    )


def _welch(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Two-sided p of Welch's test of values (M, D) and (M', D); NaN unless M and M' are at least 2."""
    if min(len(one), len(two)) < 2:
        return np.full(one.shape[1], np.nan)
    return np.asarray(stats.ttest_ind(one, two, axis=0, equal_var=False).pvalue)


def compare_maps(
    first: Predictor,
    second: Predictor,
    tokens: np.ndarray,
    *,
    sequence_names: Sequence[str] = (),
    names: tuple[str, str] | None = None,
    method: str = 'mutagenesis',
) -> MapDifferences:
    """The maps of the same sequences in two conditions.

    Args:
      first, second: the conditions.
      tokens: uint8 (N, L), at least one sequence.
      sequence_names: N names; none = numbers from 1.
      names: of the conditions; None = the titles of the models.
      method: an attribution; of two models whose scores differ in size, compare the correlation and not the sizes.

    Raises:
      InputError: no sequence, names of another number, or as `Predictor.attribute`.
    """
    tokens = designs.check_backgrounds(tokens)
    given = tuple(sequence_names) or tuple(str(number + 1) for number in range(len(tokens)))
    if len(given) != len(tokens):
        raise InputError(f'{len(given)} names of {len(tokens)} sequences: {brief(given)}')
    texts = [dna.decode(row) for row in tokens]
    found = [predictor.attribute(method, texts) for predictor in (first, second)]
    maps = np.stack([np.stack(one.signed) for one in found])
    centred = maps.astype(np.float64) - maps.mean(axis=2, keepdims=True)
    norms = np.sqrt((centred**2).sum(axis=2))
    with np.errstate(divide='ignore', invalid='ignore'):
        correlation = (centred[0] * centred[1]).sum(axis=1) / (norms[0] * norms[1])
    scores = np.stack([one.score for one in found])
    return MapDifferences(names or (first.title, second.title), method, given, tokens, scores, maps, correlation)
