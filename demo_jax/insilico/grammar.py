"""Grammar: which motifs need each other, and at which distance, against words that mean nothing (pure; results draw).

The epistasis f(ab) - f(a) - f(b) + f(0) of two motifs is measured at every distance, in either order, on the same and
on opposite strands. Two numbers are made of it: its *strength*, the highest there is, and the *preference*, how much
higher that is than in the median arrangement. The same two numbers of each motif with words that mean nothing
(`designs.meaningless`) tell how large they become by chance: the search for the best arrangement is in both.

A model with little curvature has small numbers, one with much has large ones. So the numbers of a motif are compared on
a logarithmic scale, in standard deviations from the median of its own words. What the words of all motifs of a run
reach on that scale, each compared with the other words of its motif, is the null distribution of `p_values`. Pooling
makes small p possible with few words for each motif (compare Tusher et al. 2001, PNAS 98:5116).
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from demo_jax.errors import InputError
from demo_jax.insilico import designs, drawing
from demo_jax.insilico.designs import Motif, Pair
from demo_jax.insilico.estimates import Estimate, over_backgrounds
from demo_jax.insilico.models import ModelSet
from demo_jax.insilico.space import ARRANGEMENTS
from demo_jax.motifs.spacing import FARTHEST

#: What is tested of a pair.
STRENGTH, PREFERENCE = 0, 1
#: Every gap up to this many letters is tested, beyond it every third: sites that touch are particular to the letter.
_EVERY, _STEP = 15, 3
#: Epistasis (log odds) that counts as none, and the smallest standard deviation of its logarithm.
_NONE, _LEAST_SPREAD = 0.01, 0.1
_LEAST_WORDS = 4
_TRIES = 20  # to draw a word that was not drawn before: short ones have few orders


class Best(NamedTuple):
    """Where the epistasis of two motifs is highest.

    Attributes:
      gap: letters between them.
      after: the second lies to the right of the first, which lies on the given strand.
      same_strand: both lie on one strand.
      effects: score with both, with the first and with the second alone at the same places, minus that of the
        backgrounds; means over backgrounds.
      epistasis: with its 95% interval over backgrounds. It was chosen as the highest, which flatters it.
    """

    gap: int
    after: bool
    same_strand: bool
    effects: tuple[float, float, float]
    epistasis: Estimate


@dataclasses.dataclass(frozen=True, eq=False)
class Grammar:
    """P pairs of motifs in M models, at G gaps, in the four `space.ARRANGEMENTS`.

    Attributes:
      motifs: names (F,).
      pairs: P pairs of numbers of motifs.
      models: names (M,).
      gaps: int64 (G,), letters between the motifs.
      effects: float64 (M, P, 3, 4, G), mean effects of both motifs, of the first alone and of the second alone.
      epistasis: (M, P, 4, G), mean over backgrounds, 95% interval.
      found: float64 (M, P, 2), strength and preference.
      null: float64 (M, F, K, 2), the same of each motif with K words that mean nothing.
      n_backgrounds: N.
    """

    motifs: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    models: tuple[str, ...]
    gaps: np.ndarray
    effects: np.ndarray
    epistasis: Estimate
    found: np.ndarray
    null: np.ndarray
    n_backgrounds: int

    def best(self, pair: int, model: int = 0) -> Best:
        """The arrangement of a pair whose epistasis is highest, over all gaps."""
        curve = self.epistasis.mean[model, pair]
        arrangement, at = np.unravel_index(np.argmax(curve), curve.shape)
        one, two, three = (float(self.effects[model, pair, kind, arrangement, at]) for kind in range(3))
        there = Estimate(*(part[model, pair, arrangement, at] for part in self.epistasis))
        return Best(int(self.gaps[at]), *ARRANGEMENTS[arrangement], (one, two, three), there)

    def p_values(self) -> np.ndarray:
        """float64 (M, P, 2), of strength and preference, by the words of this model's motifs alone."""
        return np.stack(
            [
                p_values([(self.found[m], self.null[m][list(map(list, self.pairs))])], self.null[m])[0]
                for m in range(len(self.models))
            ]
        )

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row per pair and model.

        Columns: first, second, model, effect_both, effect_first, effect_second, epistasis, low, high, gap, order,
        strands, p_epistasis, p_spacing.
        """
        import pandas as pd

        p = self.p_values()
        rows = []
        for (m, model), (number, (i, j)) in itertools.product(enumerate(self.models), enumerate(self.pairs)):
            best = self.best(number, m)
            rows.append(
                {'first': self.motifs[i], 'second': self.motifs[j], 'model': model}
                | dict(zip(('effect_both', 'effect_first', 'effect_second'), best.effects, strict=True))
                | dict(zip(('epistasis', 'low', 'high'), map(float, best.epistasis), strict=True))
                | {
                    'gap': best.gap,
                    'order': 'after' if best.after else 'before',
                    'strands': 'same' if best.same_strand else 'opposite',
                    'p_epistasis': p[m, number, STRENGTH],
                    'p_spacing': p[m, number, PREFERENCE],
                }
            )
        return pd.DataFrame(rows)

    def plot(self) -> Any:
        """Per pair, the epistasis over the distance (below 0: the second lies before the first) of each model.

        Drawn is the orientation of the model's best arrangement.
        """
        figure, axes = drawing.axes(8, 2.4 * len(self.pairs), len(self.pairs))
        for (number, (i, j)), ax in zip(enumerate(self.pairs), axes, strict=True):
            for m, model in enumerate(self.models):
                x, mean, low, high = self.curve(number, m)
                colour = drawing.COLOURS[m % len(drawing.COLOURS)]
                ax.plot(x, mean, color=colour, label=model, linewidth=1)
                ax.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
            ax.axhline(0, color='#5F6670', linewidth=0.5)
            ax.set_xlabel(f'letters from {self.motifs[i]} to {self.motifs[j]}', parse_math=False)
            ax.set_ylabel('epistasis (log odds)')
        axes[0].legend(fontsize=7)
        return figure

    def curve(self, pair: int, model: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The epistasis of a pair over the distance, in the orientation of its best arrangement.

        Returns:
          Distances int64 (2 G,), -1 - gap where the second motif lies before the first; mean, low and high ends.
        """
        same = self.best(pair, model).same_strand
        after, before = (ARRANGEMENTS.index((side, same)) for side in (True, False))
        parts = [np.concatenate([part[model, pair, before, ::-1], part[model, pair, after]]) for part in self.epistasis]
        return np.concatenate([-1 - self.gaps[::-1], self.gaps]), parts[0], parts[1], parts[2]


def grammar(
    models: ModelSet,
    motifs: Mapping[str, Motif],
    backgrounds: np.ndarray,
    *,
    pairs: Sequence[tuple[int, int]] = (),
    words: int = 20,
    farthest: int = FARTHEST,
    seed: int = 0,
    progress: bool = False,
) -> Grammar:
    """Every pair of motifs at every distance and orientation, and each motif with words that mean nothing.

    All sequences go through one program per architecture. A pair lies in the middle of the sequence, see `space`.

    Args:
      models: who is asked.
      motifs: F of them, by name; matrices as their consensus, see `designs.words_of`.
      backgrounds: uint8 (N, L).
      pairs: numbers of motifs; none = all pairs of two.
      words: meaningless words for each motif, made of the letters of its partners; at least 4.
      farthest: letters between motifs at most, as far as sequences are long enough.
      seed: of what is drawn.
      progress: show a bar.

    Raises:
      InputError: fewer than two motifs, a pair that is none, two motifs that do not fit side by side into a sequence,
        too few words, or as `ModelSet.score`.
    """
    backgrounds = designs.check_backgrounds(backgrounds)
    n, length = backgrounds.shape
    names = tuple(motifs)
    chosen = tuple(pairs) or tuple(itertools.combinations(range(len(names)), 2))
    if not chosen:
        raise InputError(f'{len(names)} motif was given, expected at least two')
    for pair in chosen:
        if len(set(pair)) != 2 or not 0 <= min(pair) < max(pair) < len(names):
            raise InputError(f'a pair is {pair}, expected two different numbers below {len(names)}')
    if words < _LEAST_WORDS or farthest < 0:
        raise InputError(f'words are {words} and farthest {farthest}, expected {_LEAST_WORDS} or more and 0 or more')
    rng = np.random.default_rng(seed)
    letters = [designs.words_of(name, motif, n, rng) for name, motif in motifs.items()]
    partners = {i: [b if a == i else a for a, b in chosen if i in (a, b)] for i in range(len(names))}
    widest = max(letters[i].shape[1] + letters[j].shape[1] for i, others in partners.items() for j in others)
    if widest > length:
        raise InputError(f'two motifs have {widest} letters together, more than the sequence ({length})')
    gaps = np.arange(min(farthest, length - widest) + 1)
    tested = (gaps <= _EVERY) | (gaps % _STEP == 0)

    def arranged(first: np.ndarray, second: np.ndarray, at: np.ndarray) -> list[Pair]:
        return [
            designs.pair_of(first, second, length, gap=int(gap), after=after, same_strand=same)
            for after, same in ARRANGEMENTS
            for gap in at
        ]

    made = [pair for i, j in chosen for pair in arranged(letters[i], letters[j], gaps)]
    n_real = len(made)
    for i, others in partners.items():
        for word in _meaningless([letters[j] for j in others], words, rng):
            made += arranged(letters[i], word, gaps[tested])
    scores = designs.pair_scores(models, backgrounds, made, progress=progress).astype(np.float64)
    real = scores[:, :n_real].reshape(len(models), len(chosen), 4, len(gaps), 4, n)
    epistasis = over_backgrounds(real[..., 3, :])
    by_chance = scores[:, n_real:, 3].mean(axis=-1).reshape(len(models), -1, 4, int(tested.sum()))
    null = np.full((len(models), len(names), words, 2), np.nan)
    null[:, [i for i, others in partners.items() if others]] = _numbers(by_chance).reshape(len(models), -1, words, 2)
    return Grammar(
        names,
        chosen,
        models.names,
        gaps,
        np.moveaxis(real[..., :3, :].mean(axis=-1), -1, 2),
        epistasis,
        _numbers(epistasis.mean[..., tested]),
        null,
        n,
    )


def _meaningless(partners: Sequence[np.ndarray], n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """n words that mean nothing, of the letters of each partner in turn, different ones as far as there are some."""
    drawn: dict[bytes, np.ndarray] = {}
    again: list[np.ndarray] = []
    for k in range(n if partners else 0):
        for _ in range(_TRIES):
            word = designs.meaningless(partners[k % len(partners)], rng)
            if word.tobytes() not in drawn:
                break
        again += [word] if word.tobytes() in drawn else []
        drawn[word.tobytes()] = word
    return [*drawn.values(), *again]


def _numbers(epistasis: np.ndarray) -> np.ndarray:
    """Strength and preference of epistasis (..., 4, G): float64 (..., 2)."""
    flat = epistasis.reshape(*epistasis.shape[:-2], -1)
    highest = flat.max(axis=-1)
    return np.stack([highest, highest - np.median(flat, axis=-1)], axis=-1)


def p_values(asked: Sequence[tuple[np.ndarray, np.ndarray]], pool: np.ndarray) -> list[np.ndarray]:
    """p of pairs by what words that mean nothing reach.

    Args:
      asked: for each model or task, numbers (P, 2) of its pairs, and (P, 2, K, 2) those of the words of either motif.
      pool: (F, K, 2), the words of all motifs, of which the null distribution is made.

    Returns:
      float64 (P, 2) for each: of either motif's p the larger, which is too large for a pair of which one motif is weak.
    """
    logs = np.log(np.maximum(pool[~np.isnan(pool).any(axis=(1, 2))], _NONE))
    usual = np.median(_spread(logs), axis=0)
    alone = [_surprise(logs[:, k], np.delete(logs, k, axis=1), usual) for k in range(logs.shape[1])]
    against = np.sort(np.stack(alone).reshape(-1, 2), axis=0)
    found = []
    for numbers, words in asked:
        given = np.repeat(np.log(np.maximum(numbers, _NONE))[:, None], 2, axis=1)  # (P, 2 motifs, 2)
        surprise = _surprise(given, np.log(np.maximum(words, _NONE)), usual)
        below = [np.searchsorted(against[:, t], surprise[..., t], side='left') for t in (STRENGTH, PREFERENCE)]
        found.append(((1.0 + len(against) - np.stack(below, -1)) / (1.0 + len(against))).max(axis=1))
    return found


def _spread(words: np.ndarray) -> np.ndarray:
    """The robust standard deviation of words (..., K, 2): one of them may be a motif."""
    return 1.4826 * np.median(np.abs(words - np.median(words, axis=-2, keepdims=True)), axis=-2)


def _surprise(value: np.ndarray, words: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Values (..., 2) in standard deviations from the median of words (..., K, 2).

    The standard deviation is the mean of that of these words, of which there are few, and the `usual` one (2,): else
    the largest surprises would be those of motifs whose words happen to be alike.
    """
    spread = (_spread(words) + usual) / 2
    return (value - np.median(words, axis=-2)) / np.maximum(spread, _LEAST_SPREAD)
