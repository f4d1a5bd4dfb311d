"""Ablate: what the motif hits of given sequences are worth to the score, alone and in pairs (pure; results draw)."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from demo_jax.errors import InputError, brief
from demo_jax.insilico import designs, drawing
from demo_jax.insilico.designs import Design, Insertion
from demo_jax.insilico.estimates import ALL_MODELS, Estimate, null_p, over_backgrounds, over_both, q_values
from demo_jax.insilico.models import ModelSet

_MOST_DRAWN = 40


class Hit(NamedTuple):
    """A motif hit.

    Attributes:
      row: the sequence, from 0.
      start: 0-based position of its leftmost letter.
      width: letters.
      name: of the motif.
    """

    row: int
    start: int
    width: int
    name: str

    @property
    def label(self) -> str:
        """Name and place, positions from 1: 'CTCF 12-26'."""
        return f'{self.name} {self.start + 1}-{self.start + self.width}'


@dataclasses.dataclass(frozen=True, eq=False)
class Ablation:
    """H hits, and Q pairs of hits of one sequence, in M models.

    Attributes:
      hits: H of them.
      pairs: Q pairs of numbers of hits; pairs that overlap are left out.
      models: names (M,).
      effect: (M, H), score of the sequence minus that with the hit's letters in random order: mean over the orders, 95%
        interval. Above 0 = the hit speaks for binding.
      together: (H,), the same over all models; its interval is over orders and models.
      pair_effect: (M, Q), the same of both hits.
      epistasis: (M, Q), f(ab) - f(a) - f(b) + f(0), where f(a) is the score without hit b, and f(0) without both.
      p_value: float64 (M, H), against windows of the same sequence without hits; NaN without a null, and where a
        sequence has no room for such windows.
      q_value: float64 (M, H), Benjamini and Hochberg's over the hits of a model that have a p.
      pair_p_value, pair_q_value: float64 (M, Q), of the epistasis, against pairs of such windows.
      n_unchanged: hits of one letter repeated, which have no other order: their effect is 0.
      n_overlapping: pairs that were left out.
    """

    hits: tuple[Hit, ...]
    pairs: tuple[tuple[int, int], ...]
    models: tuple[str, ...]
    effect: Estimate
    together: Estimate
    pair_effect: Estimate
    epistasis: Estimate
    p_value: np.ndarray
    q_value: np.ndarray
    pair_p_value: np.ndarray
    pair_q_value: np.ndarray
    n_unchanged: int
    n_overlapping: int

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row per hit and model (several: also 'all models').

        Columns: sequence, start, end (all from 1), motif, model, effect, low, high, p_value, q_value.
        """
        import pandas as pd

        fixed = {
            'sequence': [hit.row + 1 for hit in self.hits],
            'start': [hit.start + 1 for hit in self.hits],
            'end': [hit.start + hit.width for hit in self.hits],
            'motif': [hit.name for hit in self.hits],
        }
        nothing = np.full(len(self.hits), np.nan)
        whole = [
            (name, Estimate(*(part[m] for part in self.effect)), self.p_value[m], self.q_value[m])
            for m, name in enumerate(self.models)
        ]
        whole += [(ALL_MODELS, self.together, nothing, nothing)] if len(self.models) > 1 else []
        return pd.concat(
            [
                pd.DataFrame(
                    fixed
                    | {
                        'model': name,
                        'effect': found.mean,
                        'low': found.low,
                        'high': found.high,
                        'p_value': p,
                        'q_value': q,
                    }
                )
                for name, found, p, q in whole
            ],
            ignore_index=True,
        )

    def pairs_frame(self) -> Any:
        """A pandas DataFrame, a row per pair of hits of one sequence and model.

        Columns: sequence, first, second (motifs), first_start, second_start (from 1), model, effect_both, epistasis,
        low, high, p_value, q_value.
        """
        import pandas as pd

        ends = [(self.hits[one], self.hits[two]) for one, two in self.pairs]
        fixed = {
            'sequence': [one.row + 1 for one, _ in ends],
            'first': [one.name for one, _ in ends],
            'second': [two.name for _, two in ends],
            'first_start': [one.start + 1 for one, _ in ends],
            'second_start': [two.start + 1 for _, two in ends],
        }
        return pd.concat(
            [
                pd.DataFrame(
                    fixed
                    | {
                        'model': name,
                        'effect_both': self.pair_effect.mean[m],
                        'epistasis': self.epistasis.mean[m],
                        'low': self.epistasis.low[m],
                        'high': self.epistasis.high[m],
                        'p_value': self.pair_p_value[m],
                        'q_value': self.pair_q_value[m],
                    }
                )
                for m, name in enumerate(self.models)
            ],
            ignore_index=True,
        )

    def plot(self) -> Any:
        """The effect of each hit with its interval, the largest first."""
        order = np.argsort(-np.abs(self.together.mean), kind='stable')[:_MOST_DRAWN]
        figure, (ax,) = drawing.axes(7, 0.22 * len(order) + 1.2)
        names = [f'{self.hits[at].row + 1}: {self.hits[at].label}' for at in order]
        label = 'loss of the score without the hit (log odds)'
        drawing.intervals(ax, names, *(part[order] for part in self.together), label=label)
        ax.set_title(
            ', '.join(self.models) if len(self.models) < 3 else f'{len(self.models)} models',
            fontsize='small',
            loc='left',
            parse_math=False,
        )
        return figure


class _Question(NamedTuple):
    """What is asked of one sequence: numbers of hits and pairs, and windows (start of each) that stand against them."""

    hits: list[int]
    pairs: list[int]
    windows: list[list[int]]
    pair_windows: list[list[tuple[int, int]]]


def ablate(
    models: ModelSet,
    sequences: np.ndarray,
    hits: Sequence[Hit],
    *,
    shuffles: int = 20,
    null: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> Ablation:
    """The effect of each hit of some sequences, and of each pair of hits of one sequence.

    Args:
      models: who is asked.
      sequences: uint8 (N, L).
      hits: in these sequences.
      shuffles: random orders of a hit's letters.
      null: windows (pairs of windows) that touch no hit, as wide as the hit, to compare each hit (pair) with; they may
        be drawn more than once. Two-sided.
      seed: of what is drawn.
      progress: show a bar over sequences.

    Raises:
      InputError: no hit, a hit outside of its sequence, no shuffle, or as `ModelSet.score`.
    """
    sequences = designs.check_backgrounds(sequences)
    n, length = sequences.shape
    hits = tuple(hits)
    if not hits:
        raise InputError('no hit was given, expected at least one')
    if shuffles < 1 or null < 0:
        raise InputError(f'shuffles are {shuffles} and null {null}, expected 1 or more and 0 or more')
    for hit in hits:
        if not 0 <= hit.row < n:
            raise InputError(f'hit {brief(hit.label)} is in sequence {hit.row + 1}, but there are {n}')
        if hit.width < 1 or hit.start < 0 or hit.start + hit.width > length:
            raise InputError(f'hit {brief(hit.label)} of sequence {hit.row + 1} juts out of {length} letters')
    in_one = [(i, j) for i, j in itertools.combinations(range(len(hits)), 2) if hits[i].row == hits[j].row]
    pairs = tuple((i, j) for i, j in in_one if _apart(hits[i].start, hits[i].width, hits[j].start, hits[j].width))
    rng = np.random.default_rng(seed)
    effect = np.empty((len(models), len(hits), shuffles))
    both, epistasis = np.empty((len(models), len(pairs), shuffles)), np.empty((len(models), len(pairs), shuffles))
    p_value, pair_p = np.full(effect.shape[:2], np.nan), np.full(both.shape[:2], np.nan)
    rows = sorted({hit.row for hit in hits})
    for row in tqdm(rows, desc='ablating', unit='sequence', disable=not progress):
        question = _question(hits, pairs, row, length, null, rng)
        own, widths = sequences[row], [hits[h].width for h in question.hits]
        found = _effects(models, own, [hits[h].start for h in question.hits], widths, shuffles, rng)
        effect[:, question.hits] = found
        if null:
            for h, starts in zip(question.hits, question.windows, strict=True):
                if starts:
                    against = _effects(models, own, starts, [hits[h].width] * len(starts), shuffles, rng)
                    p_value[:, h] = _two_sided(effect[:, h], against)
        for q, windows in zip(question.pairs, question.pair_windows, strict=True):
            i, j = pairs[q]
            size = (hits[i].width, hits[j].width)
            answers = _pair_effects(models, own, [(hits[i].start, hits[j].start), *windows], size, shuffles, rng)
            both[:, q], epistasis[:, q] = answers[:, 0, 0], answers[:, 0, 1]
            if windows:
                pair_p[:, q] = _two_sided(epistasis[:, q], answers[:, 1:, 1])
    same = sum(len(set(sequences[hit.row, hit.start : hit.start + hit.width].tolist())) == 1 for hit in hits)
    return Ablation(
        hits,
        pairs,
        models.names,
        over_backgrounds(effect),
        over_both(effect),
        over_backgrounds(both),
        over_backgrounds(epistasis),
        p_value,
        _q_of_known(p_value),
        pair_p,
        _q_of_known(pair_p),
        same,
        len(in_one) - len(pairs),
    )


def _apart(start: int, width: int, other: int, other_width: int) -> bool:
    return start + width <= other or other + other_width <= start


def _question(
    hits: Sequence[Hit], pairs: Sequence[tuple[int, int]], row: int, length: int, null: int, rng: np.random.Generator
) -> _Question:
    mine = [h for h, hit in enumerate(hits) if hit.row == row]
    own_pairs = [q for q, (i, _) in enumerate(pairs) if hits[i].row == row]

    def free(width: int) -> list[int]:
        return [
            start
            for start in range(length - width + 1)
            if all(_apart(start, width, hits[h].start, hits[h].width) for h in mine)
        ]

    windows = [_drawn(free(hits[h].width), null, rng) for h in mine]
    pair_windows = []
    for q in own_pairs if null else ():
        one, two = (hits[h].width for h in pairs[q])
        fitting = [(a, b) for a in free(one) for b in free(two) if _apart(a, one, b, two)]
        pair_windows.append(_drawn(fitting, null, rng))
    return _Question(mine, own_pairs, windows, pair_windows or [[] for _ in own_pairs])


def _drawn(places: list[Any], n: int, rng: np.random.Generator) -> list[Any]:
    return [places[at] for at in rng.integers(0, len(places), n)] if places else []


def _effects(
    models: ModelSet, own: np.ndarray, starts: Sequence[int], widths: Sequence[int], n: int, rng: np.random.Generator
) -> np.ndarray:
    """Score of a sequence minus that with each window in n random orders: float64 (M, windows, n)."""
    made: list[Design] = [(), *((_ablated(own, at, w, n, rng),) for at, w in zip(starts, widths, strict=True))]
    scores = designs.score_designs(models, np.repeat(own[None], n, axis=0), made).astype(np.float64)
    return scores[:, :1] - scores[:, 1:]


def _pair_effects(
    models: ModelSet,
    own: np.ndarray,
    starts: Sequence[tuple[int, int]],
    widths: tuple[int, int],
    n: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Effect of both windows, and their epistasis: float64 (M, pairs, 2, n)."""
    made: list[Design] = [()]
    for one, two in starts:
        first, second = _ablated(own, one, widths[0], n, rng), _ablated(own, two, widths[1], n, rng)
        made += [(first, second), (second,), (first,)]
    scores = designs.score_designs(models, np.repeat(own[None], n, axis=0), made).astype(np.float64)
    whole, rest = scores[:, :1], scores[:, 1:].reshape(len(models), len(starts), 3, n)
    neither, first_left, second_left = rest[:, :, 0], rest[:, :, 1], rest[:, :, 2]
    return np.stack([whole - neither, whole - first_left - second_left + neither], axis=2)


def _ablated(own: np.ndarray, start: int, width: int, n: int, rng: np.random.Generator) -> Insertion:
    return Insertion(designs.shuffled(own[None, start : start + width], n, rng), start)


def _two_sided(value: np.ndarray, null: np.ndarray) -> np.ndarray:
    """p, float64 (M,), of means over the last axis: values (M, S) by a null (M, K, S)."""
    return null_p(np.abs(value.mean(axis=-1)), np.abs(null.mean(axis=-1)))


def _q_of_known(p_value: np.ndarray) -> np.ndarray:
    """q over the columns that have a p, the same ones in each row."""
    q = np.full(p_value.shape, np.nan)
    known = ~np.isnan(p_value).any(axis=0)
    q[:, known] = q_values(p_value[:, known])
    return q
