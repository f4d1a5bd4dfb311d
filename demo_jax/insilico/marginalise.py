"""Marginalise: what a motif does to the score when it is put into backgrounds (pure; results draw)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from demo_jax.errors import InputError
from demo_jax.insilico import designs, drawing
from demo_jax.insilico.designs import Insertion, Motif
from demo_jax.insilico.estimates import ALL_MODELS, Estimate, over_backgrounds, over_both, paired_p, q_values
from demo_jax.insilico.models import ModelSet

_MOST_POINTS = 40  # motifs that are drawn as points with intervals


@dataclasses.dataclass(frozen=True, eq=False)
class Marginal:
    """The effects of D motifs on M models.

    Attributes:
      motifs, models: their names, (D,) and (M,).
      effect: (M, D), score with the motif minus score of the background, mean over backgrounds and its 95% interval.
      together: (D,), the same over all models; its interval is over backgrounds and models.
      control: float64 (M, D), mean effect of the same letters in random order; NaN if none was asked for.
      p_value: float64 (M, D), that motif and control have the same effect (paired over backgrounds, two-sided).
      q_value: float64 (M, D), Benjamini and Hochberg's over the motifs of each model.
      n_backgrounds: N.
    """

    motifs: tuple[str, ...]
    models: tuple[str, ...]
    effect: Estimate
    together: Estimate
    control: np.ndarray
    p_value: np.ndarray
    q_value: np.ndarray
    n_backgrounds: int

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row per motif and model: effect, low, high, control, p_value, q_value.

        Of several models there is another row per motif, 'all models', with the interval over models, too.
        """
        import pandas as pd

        n = len(self.motifs)
        parts = [
            pd.DataFrame(
                {
                    'motif': self.motifs,
                    'model': name,
                    'effect': self.effect.mean[m],
                    'low': self.effect.low[m],
                    'high': self.effect.high[m],
                    'control': self.control[m],
                    'p_value': self.p_value[m],
                    'q_value': self.q_value[m],
                }
            )
            for m, name in enumerate(self.models)
        ]
        if len(self.models) > 1:
            parts.append(
                pd.DataFrame(
                    {
                        'motif': self.motifs,
                        'model': ALL_MODELS,
                        'effect': self.together.mean,
                        'low': self.together.low,
                        'high': self.together.high,
                        'control': self.control.mean(axis=0),
                        'p_value': np.full(n, np.nan),
                        'q_value': np.full(n, np.nan),
                    }
                )
            )
        return pd.concat(parts, ignore_index=True)

    def best(self, model: str | None = None) -> str:
        """The motif with the largest effect on a model; None = on average over all.

        Raises:
          InputError: no such model.
        """
        if model is not None and model not in self.models:
            raise InputError(f'no model {model!r}; there are {", ".join(self.models)}')
        effect = self.together.mean if model is None else self.effect.mean[self.models.index(model)]
        return self.motifs[int(np.argmax(effect))]

    def plot(self) -> Any:
        """Effects with intervals; of many motifs, a picture of models by motifs, similar ones side by side."""
        label = 'change of the score (log odds)'
        if len(self.motifs) <= _MOST_POINTS or len(self.models) == 1:
            order = np.argsort(-self.together.mean, kind='stable')[:_MOST_POINTS]
            figure, (ax,) = drawing.axes(6.5, 0.22 * len(order) + 1.2)
            names = [self.motifs[at] for at in order]
            drawing.intervals(ax, names, *(part[order] for part in self.together), label=label)
            left = f', the {len(order)} largest of {len(self.motifs)}' if len(order) < len(self.motifs) else ''
            who = self.models[0] if len(self.models) == 1 else f'{len(self.models)} models'
            ax.set_title(
                f'{who}, {self.n_backgrounds} backgrounds{left}', fontsize='small', loc='left', parse_math=False
            )
            return figure
        figure, (ax,) = drawing.axes(14, min(0.16 * len(self.models), 10) + 2)
        drawing.clustered(ax, self.effect.mean, list(self.models), list(self.motifs), label=label)
        return figure


def marginalise(
    models: ModelSet,
    motifs: Mapping[str, Motif],
    backgrounds: np.ndarray,
    *,
    how: str = 'consensus',
    start: int | None = None,
    strand: int = 1,
    control: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> Marginal:
    """The effect of each motif: score with it minus score without, over backgrounds.

    Args:
      models: who is asked.
      motifs: by name, each a word, probabilities (w, 4), or words of equal length; see `designs.words_of`. A whole
        database is `{m.label: m.probabilities for m in jaspar.load_matrices().values()}`.
      backgrounds: uint8 (N, L), such as shuffled positives or the task's negatives.
      how: matrices as their 'consensus', or 'sampled' anew for each background.
      start: 0-based position of the first letter; None = the middle.
      strand: 1, or -1 to insert the reverse complement.
      control: insert the same letters in random order, too, which takes as long again.
      seed: of what is drawn.
      progress: show a bar.

    Raises:
      InputError: no motif, a motif that is none or does not fit, backgrounds of no use, or as `ModelSet.score`.
    """
    backgrounds = designs.check_backgrounds(backgrounds)
    n, length = backgrounds.shape
    if not motifs:
        raise InputError('no motif was given, expected at least one')
    rng = np.random.default_rng(seed)
    made: list[designs.Design] = [()]
    for name, motif in motifs.items():
        words = designs.other_strand(designs.words_of(name, motif, n, rng, how=how), strand)
        at = designs.middle(words.shape[1], length) if start is None else start
        of_motif = [words, designs.shuffled(words, n, rng)] if control else [words]
        made += [(Insertion(one, at),) for one in of_motif]
        designs.check_design(made[-1], n, length, [f'motif {name}'])
    scores = designs.score_designs(models, backgrounds, made, progress=progress)
    effects = (scores[:, 1:] - scores[:, :1]).astype(np.float64)
    nothing = np.full((len(models), len(motifs)), np.nan)
    against, p_value, q_value = nothing, nothing, nothing
    if control:
        effects, random = effects[:, ::2], effects[:, 1::2]
        against, p_value = random.mean(axis=-1), paired_p(effects - random)
        q_value = q_values(p_value)
    return Marginal(
        tuple(motifs), models.names, over_backgrounds(effects), over_both(effects), against, p_value, q_value, n
    )
