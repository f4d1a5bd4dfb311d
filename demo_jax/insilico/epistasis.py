"""Epistasis: what two motifs do together beyond the sum of what each does alone (pure; results draw)."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from demo_jax.errors import InputError, brief
from demo_jax.insilico import designs, drawing
from demo_jax.insilico.designs import Motif, Pair
from demo_jax.insilico.estimates import ALL_MODELS, Estimate, null_p, over_backgrounds, over_both, q_values
from demo_jax.insilico.models import ModelSet

_MOST_DRAWN = 40


class Arranged(NamedTuple):
    """Two motifs side by side.

    Attributes:
      first, second: their names.
      gap: letters between them.
      after: the second lies to the right of the first, which lies on the given strand.
      same_strand: both lie on one strand.
    """

    first: str
    second: str
    gap: int = 10
    after: bool = True
    same_strand: bool = True


@dataclasses.dataclass(frozen=True, eq=False)
class Epistasis:
    """P pairs of motifs in M models.

    Attributes:
      pairs: P of them.
      models: names (M,).
      effects: float64 (M, P, 3), mean effect of both motifs, of the first alone and of the second alone.
      epistasis: (M, P), f(ab) - f(a) - f(b) + f(0): mean over backgrounds, 95% interval.
      together: (P,), the same over all models; its interval is over backgrounds and models.
      p_value: float64 (M + 1, P), of each model and of the mean over all, against words that mean nothing.
      q_value: float64 (M + 1, P), Benjamini and Hochberg's over the pairs of a model.
      n_backgrounds, n_null: N, and the meaningless pairs of each kind.
    """

    pairs: tuple[Arranged, ...]
    models: tuple[str, ...]
    effects: np.ndarray
    epistasis: Estimate
    together: Estimate
    p_value: np.ndarray
    q_value: np.ndarray
    n_backgrounds: int
    n_null: int

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row per pair and model, and of several models one of 'all models'.

        Columns: first, second, gap, order, strands, model, effect_both, effect_first, effect_second, epistasis, low,
        high, p_value, q_value.
        """
        import pandas as pd

        arranged = {
            'first': [pair.first for pair in self.pairs],
            'second': [pair.second for pair in self.pairs],
            'gap': [pair.gap for pair in self.pairs],
            'order': ['after' if pair.after else 'before' for pair in self.pairs],
            'strands': ['same' if pair.same_strand else 'opposite' for pair in self.pairs],
        }
        whole = [
            (m, name, Estimate(*(part[m] for part in self.epistasis)), self.effects[m])
            for m, name in enumerate(self.models)
        ]
        if len(self.models) > 1:
            whole.append((len(self.models), ALL_MODELS, self.together, self.effects.mean(axis=0)))
        return pd.concat(
            [
                pd.DataFrame(
                    arranged
                    | {
                        'model': name,
                        'effect_both': effects[:, 0],
                        'effect_first': effects[:, 1],
                        'effect_second': effects[:, 2],
                        'epistasis': found.mean,
                        'low': found.low,
                        'high': found.high,
                        'p_value': self.p_value[m],
                        'q_value': self.q_value[m],
                    }
                )
                for m, name, found, effects in whole
            ],
            ignore_index=True,
        )

    def plot(self) -> Any:
        """The epistasis of each pair with its interval, the largest first; '*' marks q < 0.05."""
        order = np.argsort(-np.abs(self.together.mean), kind='stable')[:_MOST_DRAWN]
        figure, (ax,) = drawing.axes(7, 0.22 * len(order) + 1.2)
        q = self.q_value[-1]
        names = [f'{self.pairs[at].first} + {self.pairs[at].second}{" *" if q[at] < 0.05 else ""}' for at in order]
        drawing.intervals(ax, names, *(part[order] for part in self.together), label='epistasis (log odds)')
        who = self.models[0] if len(self.models) == 1 else f'{len(self.models)} models'
        ax.set_title(
            f'{who}, {self.n_backgrounds} backgrounds; *: q < 0.05', fontsize='small', loc='left', parse_math=False
        )
        return figure


def epistasis(
    models: ModelSet,
    motifs: Mapping[str, Motif],
    backgrounds: np.ndarray,
    *,
    pairs: Sequence[Arranged] = (),
    gap: int = 10,
    how: str = 'consensus',
    null: int = 100,
    seed: int = 0,
    progress: bool = False,
) -> Epistasis:
    """The epistasis of pairs of motifs, f(ab) - f(a) - f(b) + f(0), with a null.

    A word that means nothing is a motif's own letters in another order (`designs.meaningless`). Three kinds of pairs
    mean nothing: the first motif with such a word, such a word with the second, and two such words. p of a pair is the
    share of those whose epistasis is at least as far from 0, for the kind where it is largest: a strong motif is not
    called because it is strong.

    Args:
      models: who is asked.
      motifs: by name, see `designs.words_of`.
      backgrounds: uint8 (N, L).
      pairs: which pairs, and how they lie; none = all pairs of two motifs, on one strand, in the order given.
      gap: letters between them where `pairs` are not given.
      how: matrices as their 'consensus', or 'sampled' anew for each background.
      null: meaningless pairs of each kind; no p is below 1 / (null + 1). 0 = p and q are NaN.
      seed: of what is drawn.
      progress: show a bar.

    Raises:
      InputError: fewer than two motifs, a pair with an unknown motif, one that does not fit, or as `ModelSet.score`.
    """
    backgrounds = designs.check_backgrounds(backgrounds)
    n, length = backgrounds.shape
    listed = tuple(pairs) or tuple(Arranged(a, b, gap) for a, b in itertools.combinations(motifs, 2))
    if not listed:
        raise InputError(f'{len(motifs)} motif was given, expected at least two')
    for pair in listed:
        for name in pair[:2]:
            if name not in motifs:
                raise InputError(f'a pair has motif {brief(name)}; there are {", ".join(map(brief, motifs))}')
    if null < 0:
        raise InputError(f'null is {null}, expected 0 or more')
    rng = np.random.default_rng(seed)
    words = {name: designs.words_of(name, motif, n, rng, how=how) for name, motif in motifs.items()}
    random = {name: [designs.meaningless(word, rng) for _ in range(2 * null)] for name, word in words.items()}
    made: list[Pair] = []
    for first, second, distance, after, same in listed:
        a, b = words[first], words[second]
        others, partners = random[first][:null], random[second][null:]  # of one motif twice, too, different words
        drawn = [(a, b), *((a, y) for y in partners), *((x, b) for x in others), *zip(others, partners, strict=True)]
        made += [designs.pair_of(x, y, length, gap=distance, after=after, same_strand=same) for x, y in drawn]
    found = designs.pair_scores(models, backgrounds, made, progress=progress).astype(np.float64)
    found = found.reshape(len(models), len(listed), 1 + 3 * null, 4, n)
    value = found[:, :, 0, 3]
    mean = found[:, :, :, 3].mean(axis=-1)
    size = np.abs(np.concatenate([mean, mean.mean(axis=0, keepdims=True)]))  # (M + 1, P, 1 + 3 K)
    p_value = np.full(size.shape[:2], np.nan)
    if null:
        kinds = size[:, :, 1:].reshape(*size.shape[:2], 3, null)
        p_value = null_p(np.repeat(size[:, :, :1], 3, axis=2), kinds).max(axis=2)
    return Epistasis(
        listed,
        models.names,
        found[:, :, 0, :3].mean(axis=-1),
        over_backgrounds(value),
        over_both(value),
        p_value,
        q_values(p_value),
        n,
        null,
    )
