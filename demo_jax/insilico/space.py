"""Space and orient: two motifs at every distance, in either order, on the same or opposite strands (pure)."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from demo_jax.errors import InputError, brief
from demo_jax.insilico import designs, drawing
from demo_jax.insilico.designs import Motif
from demo_jax.insilico.estimates import ALL_MODELS, Estimate, null_p, over_backgrounds, over_both
from demo_jax.insilico.models import ModelSet
from demo_jax.motifs.spacing import FARTHEST

#: (the second motif lies to the right of the first, both lie on one strand), read on the first motif's strand.
ARRANGEMENTS = ((True, True), (True, False), (False, True), (False, False))


class Peak(NamedTuple):
    """Where the epistasis of two motifs is highest.

    Attributes:
      gap: letters between them.
      after: the second lies to the right of the first.
      same_strand: both lie on one strand.
      epistasis: f(ab) - f(a) - f(b) + f(0) there.
      p_value: share of pairs with a meaningless word whose highest epistasis, over all gaps and arrangements, is at
        least as high; NaN without a null.
    """

    gap: int
    after: bool
    same_strand: bool
    epistasis: float
    p_value: float


@dataclasses.dataclass(frozen=True, eq=False)
class Spacing:
    """Two motifs in M models at G gaps, in the four `ARRANGEMENTS`.

    Attributes:
      first, second: their names.
      models: names (M,).
      gaps: int64 (G,), letters between the motifs.
      effect: (M, 4, G), score with both minus that of the background: mean over backgrounds, 95% interval.
      epistasis: (M, 4, G), what is more than the sum of their single effects at the same places.
      together: (4, G), the epistasis over all models; its interval is over backgrounds and models.
      p_value: float64 (M + 1,), of each model's peak, and of that of `together`; NaN without a null.
      n_backgrounds: N.
    """

    first: str
    second: str
    models: tuple[str, ...]
    gaps: np.ndarray
    effect: Estimate
    epistasis: Estimate
    together: Estimate
    p_value: np.ndarray
    n_backgrounds: int

    def peak(self, model: str | None = None) -> Peak:
        """The highest mean epistasis of a model; None = of the mean over all.

        Raises:
          InputError: no such model.
        """
        if model is not None and model not in self.models:
            raise InputError(f'no model {model!r}; there are {", ".join(self.models)}')
        m = -1 if model is None else self.models.index(model)
        curve = self.together.mean if model is None else self.epistasis.mean[m]
        arrangement, at = np.unravel_index(np.argmax(curve), curve.shape)
        highest = float(curve[arrangement, at])
        return Peak(int(self.gaps[at]), *ARRANGEMENTS[arrangement], highest, float(self.p_value[m]))

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row per model, arrangement and gap.

        Columns: first, second, model, order ('after': the second to the right of the first), strands ('same' or
        'opposite'), gap, effect and epistasis with low and high ends. Of several models, 'all models' has the
        epistasis alone.
        """
        import pandas as pd

        parts = []
        for m, name in enumerate(self.models):
            for a, arrangement in enumerate(ARRANGEMENTS):
                parts.append(
                    self._rows(
                        name,
                        arrangement,
                        {
                            'effect': self.effect.mean[m, a],
                            'effect_low': self.effect.low[m, a],
                            'effect_high': self.effect.high[m, a],
                            'epistasis': self.epistasis.mean[m, a],
                            'epistasis_low': self.epistasis.low[m, a],
                            'epistasis_high': self.epistasis.high[m, a],
                        },
                    )
                )
        nothing = np.full(len(self.gaps), np.nan)
        for a, arrangement in enumerate(ARRANGEMENTS if len(self.models) > 1 else ()):
            parts.append(
                self._rows(
                    ALL_MODELS,
                    arrangement,
                    {
                        'effect': self.effect.mean[:, a].mean(axis=0),
                        'effect_low': nothing,
                        'effect_high': nothing,
                        'epistasis': self.together.mean[a],
                        'epistasis_low': self.together.low[a],
                        'epistasis_high': self.together.high[a],
                    },
                )
            )
        return pd.concat(parts, ignore_index=True)

    def _rows(self, model: str, arrangement: tuple[bool, bool], columns: dict[str, np.ndarray]) -> Any:
        import pandas as pd

        after, same = arrangement
        fixed = {
            'first': self.first,
            'second': self.second,
            'model': model,
            'order': 'after' if after else 'before',
            'strands': 'same' if same else 'opposite',
        }
        return pd.DataFrame(fixed | {'gap': self.gaps} | columns)

    def plot(self) -> Any:
        """A curve of the epistasis per arrangement, with its 95% interval; of several models, of the mean over all."""
        shown = self.together if len(self.models) > 1 else Estimate(*(part[0] for part in self.epistasis))
        figure, (ax,) = drawing.axes(8, 3.5)
        for a, (after, same) in enumerate(ARRANGEMENTS):
            label = f'{"after" if after else "before"}, {"same strand" if same else "opposite strands"}'
            ax.plot(self.gaps, shown.mean[a], color=drawing.COLOURS[a], label=label, linewidth=1)
            ax.fill_between(self.gaps, shown.low[a], shown.high[a], color=drawing.COLOURS[a], alpha=0.2, linewidth=0)
        ax.axhline(0, color='#5F6670', linewidth=0.5)
        ax.set_xlabel(f'letters between {self.first} and {self.second}', parse_math=False)
        ax.set_ylabel('epistasis (log odds)')
        ax.legend(title=f'{self.second} is', fontsize=7, title_fontsize=7)
        who = self.models[0] if len(self.models) == 1 else f'{len(self.models)} models'
        ax.set_title(f'{who}, {self.n_backgrounds} backgrounds', fontsize='small', loc='left', parse_math=False)
        return figure


def space(
    models: ModelSet,
    first: tuple[str, Motif],
    second: tuple[str, Motif],
    backgrounds: np.ndarray,
    *,
    gaps: Sequence[int] | None = None,
    how: str = 'consensus',
    null: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> Spacing:
    """The effect and the epistasis of two motifs at every gap and arrangement.

    The pair lies in the middle of the sequence, the first motif on the given strand. Single effects are those of each
    motif at the very place that it has in the pair, so that what depends on the place alone is no epistasis.

    Args:
      models: who is asked.
      first, second: (name, motif), see `designs.words_of`.
      backgrounds: uint8 (N, L).
      gaps: letters between the motifs; None = 0 to 60, as far as the sequence is long enough.
      how: matrices as their 'consensus', or 'sampled' anew for each background.
      null: pairs with a meaningless word (its letters in another order) to compare with, for either motif. The p of
        the peak is the larger of the two. It takes as many times as long, twice.
      seed: of what is drawn.
      progress: show a bar.

    Raises:
      InputError: a motif that is none or does not fit, a gap below 0 or given twice, no gap, or as `ModelSet.score`.
    """
    backgrounds = designs.check_backgrounds(backgrounds)
    n, length = backgrounds.shape
    rng = np.random.default_rng(seed)
    one, two = (designs.words_of(name, motif, n, rng, how=how) for name, motif in (first, second))
    for (name, _), words in ((first, one), (second, two)):
        designs.check_design((designs.Insertion(words, 0),), n, length, [f'motif {name}'])
    free = length - one.shape[1] - two.shape[1]
    gaps = range(min(FARTHEST, free) + 1) if gaps is None else gaps
    chosen = np.array(sorted(gaps), np.int64)
    if not len(chosen) or len(np.unique(chosen)) != len(chosen):
        raise InputError(f'gaps are {brief(list(gaps))} (free letters: {free}), expected different numbers from 0')

    def curves(a: np.ndarray, b: np.ndarray, bar: bool) -> np.ndarray:
        """(M, 4, G, 4, N), see `designs.pair_scores`."""
        pairs = [
            designs.pair_of(a, b, length, gap=int(gap), after=after, same_strand=same)
            for after, same in ARRANGEMENTS
            for gap in chosen
        ]
        found = designs.pair_scores(models, backgrounds, pairs, progress=bar)
        return found.reshape(len(models), len(ARRANGEMENTS), len(chosen), 4, n)

    found = curves(one, two, progress)
    epistasis = found[..., 3, :]
    p_value = np.full(len(models) + 1, np.nan)
    if null:
        highest = _highest(epistasis)
        without_second = [_highest(curves(one, designs.meaningless(two, rng), False)[..., 3, :]) for _ in range(null)]
        without_first = [_highest(curves(designs.meaningless(one, rng), two, False)[..., 3, :]) for _ in range(null)]
        p_value = np.maximum(*(null_p(highest, np.stack(one, -1)) for one in (without_first, without_second)))
    return Spacing(
        first[0],
        second[0],
        models.names,
        chosen,
        over_backgrounds(found[..., 0, :]),
        over_backgrounds(epistasis),
        over_both(epistasis),
        p_value,
        n,
    )


def _highest(epistasis: np.ndarray) -> np.ndarray:
    """Peaks of (M, 4, G, N): float (M + 1,), of each model and of the mean over all."""
    mean = epistasis.mean(axis=-1)
    return np.append(mean.max(axis=(1, 2)), mean.mean(axis=0).max())
