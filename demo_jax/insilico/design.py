"""Design: the fewest edits that take a sequence over, or under, a score in all of several models (pure).

A beam search: each step makes one more edit of the best sequences so far, out of all single-letter mutants (exact
mutagenesis) or of those that the gradient ranks highest, whose scores are then computed as well. The first step that
reaches the target ends the search. Edits without which the target still holds are then taken back, one or two at a
time. Every score that is reported is that of the sequence that is returned.
"""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from demo_jax import dna
from demo_jax.errors import InputError, brief
from demo_jax.insilico import drawing
from demo_jax.insilico.models import ModelSet

METHODS = ('mutagenesis', 'gradient')
#: Mutants of a sequence that the gradient leaves to be scored.
SHORTLIST = 24
_PATIENCE = 3  # steps without a better sequence before the search gives up
_MOST_PAIRED = 20  # edits of which any two are taken back together


class Edit(NamedTuple):
    """One letter that was changed.

    Attributes:
      position: 0-based.
      old, new: the letters.
      worth: float32 (M,), how much each model's score would change back without this edit.
    """

    position: int
    old: str
    new: str
    worth: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Designed:
    """A sequence that was edited for M models.

    Attributes:
      start, sequence: before and after.
      models: names (M,).
      target: float64 (M,), the scores to be reached.
      below: scores had to fall to the target or below, not to rise.
      score_before, score: float32 (M,), of `start` and of `sequence`.
      reached: all models are at their targets, and no banned word is there.
      edits: from left to right.
      n_scored: sequences that were scored on the way.
    """

    start: str
    sequence: str
    models: tuple[str, ...]
    target: np.ndarray
    below: bool
    score_before: np.ndarray
    score: np.ndarray
    reached: bool
    edits: tuple[Edit, ...]
    n_scored: int

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row per edit and model: position (from 1), old, new, model, worth."""
        import pandas as pd

        rows = [
            {'position': edit.position + 1, 'old': edit.old, 'new': edit.new, 'model': name, 'worth': float(worth)}
            for edit in self.edits
            for name, worth in zip(self.models, edit.worth, strict=True)
        ]
        return pd.DataFrame(rows, columns=['position', 'old', 'new', 'model', 'worth'])

    def plot(self) -> Any:
        """The edits, each as wide as a letter and as high as its mean worth, and the scores before and after."""
        from demo_jax.report import plots

        figure, (ax,) = drawing.axes(min(max(0.12 * len(self.sequence) + 1.2, 7.5), 40), 2.2)
        worth = np.zeros(len(self.sequence))
        for edit in self.edits:
            worth[edit.position] = edit.worth.mean()
        plots.letter_logo(ax, dna.one_hot(dna.encode(self.sequence)) * worth[:, None], ylabel='worth (log odds)')
        scores = ', '.join(
            f'{name} {before:.2f} to {after:.2f}'
            for name, before, after in list(zip(self.models, self.score_before, self.score, strict=True))[:4]
        )
        ax.set_title(f'{self}: {scores}', fontsize='small', loc='left', parse_math=False)
        ax.set_xlim(-0.5, len(self.sequence) - 0.5)
        return figure

    def __str__(self) -> str:
        verdict = 'reached' if self.reached else 'not reached'
        return f'{len(self.edits)} edits, target {verdict}'


@dataclasses.dataclass
class _Search:
    """What the search is for: which sequences are better, and which are good enough."""

    models: ModelSet
    target: np.ndarray
    sign: int
    banned: list[np.ndarray]
    n_scored: int = 0

    def score(self, tokens: np.ndarray) -> np.ndarray:
        """Scores (M, N)."""
        self.n_scored += len(tokens)
        return self.models.score(tokens)

    def lacking(self, scores: np.ndarray) -> np.ndarray:
        """By how much scores (M, N) miss their targets, summed over the models: (N,), 0 = reached."""
        return np.maximum(self.target[:, None] - self.sign * scores.astype(np.float64), 0).sum(axis=0)

    def n_banned(self, tokens: np.ndarray) -> np.ndarray:
        """Banned words in sequences (N, L): int (N,)."""
        found = np.zeros(len(tokens), np.int64)
        for word in self.banned:
            if len(word) <= tokens.shape[1]:
                windows = np.lib.stride_tricks.sliding_window_view(tokens, len(word), axis=1)
                found += ((windows == word) | (word == dna.N)).all(axis=2).sum(axis=1)
        return found

    def order(self, tokens: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Numbers of sequences from the best: fewer banned words, less that is lacking, more in sum."""
        return np.lexsort((-self.sign * scores.sum(axis=0), self.lacking(scores), self.n_banned(tokens)))

    def good(self, tokens: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Which sequences will do: bool (N,)."""
        return (self.lacking(scores) <= 0) & (self.n_banned(tokens) == 0)


def design(
    models: ModelSet,
    sequence: str,
    target: float | Sequence[float],
    *,
    below: bool = False,
    protected: Collection[int] = (),
    banned: Sequence[str] = (),
    method: str = 'mutagenesis',
    beam: int = 4,
    most_edits: int = 30,
) -> Designed:
    """The fewest edits found that take a sequence to a score in every model.

    Args:
      models: all of them have to be satisfied.
      sequence: the letters to begin with.
      target: score of each model, or one for all.
      below: scores have to be at most the target, not at least.
      protected: 0-based positions that stay as they are.
      banned: words (N = any letter) that must not occur, on either strand.
      method: 'mutagenesis' scores all mutants, 'gradient' only the most promising.
      beam: sequences that are kept at each step.
      most_edits: when to give up.

    Raises:
      InputError: no position is left to edit, a protected position outside of the sequence, a letter or banned word
        that is none, targets of another number, an unknown method, or as `ModelSet.score`.
    """
    tokens = dna.encode(sequence)
    length = len(tokens)
    if method not in METHODS:
        raise InputError(f'method is {brief(method)}, expected {" or ".join(METHODS)}')
    if beam < 1 or most_edits < 1:
        raise InputError(f'beam is {beam} and most_edits {most_edits}, expected 1 or more')
    outside = [position for position in protected if not 0 <= position < length]
    if outside:
        raise InputError(f'protected position {outside[0] + 1} is outside of a sequence of {length} letters')
    free = np.setdiff1d(np.arange(length), np.array(list(protected), np.int64))
    if not len(free):
        raise InputError(f'all {length} positions are protected, none is left to edit')
    goals = np.asarray(target, np.float64)
    goals = np.full(len(models), goals) if goals.ndim == 0 else goals
    if goals.shape != (len(models),) or not np.isfinite(goals).all():
        raise InputError(f'target is {brief(target)}, expected a number, or one for each of {len(models)} models')
    sign = -1 if below else 1
    search = _Search(models, sign * goals, sign, _both_strands(banned))
    found = _climb(search, tokens, free, method, beam, most_edits)
    found = _pruned(search, tokens, found)
    changed = np.flatnonzero(found != tokens)
    back = np.repeat(found[None], len(changed), axis=0)
    back[np.arange(len(changed)), changed] = tokens[changed]
    scores = search.score(np.concatenate([tokens[None], found[None], back]))
    edits = tuple(
        Edit(int(at), dna.decode(tokens[at : at + 1]), dna.decode(found[at : at + 1]), scores[:, 1] - scores[:, 2 + k])
        for k, at in enumerate(changed)
    )
    reached = bool(search.good(found[None], scores[:, 1:2])[0])
    return Designed(
        dna.decode(tokens),
        dna.decode(found),
        models.names,
        goals,
        below,
        scores[:, 0],
        scores[:, 1],
        reached,
        edits,
        search.n_scored,
    )


def _both_strands(banned: Sequence[str]) -> list[np.ndarray]:
    words: dict[bytes, np.ndarray] = {}
    for text in banned:
        try:
            word = dna.encode(text)
        except InputError as error:
            raise InputError(f'banned word {brief(text)}: {error}') from error
        if not (word < dna.N).any():
            raise InputError(f'banned word {brief(text)} has no letter, expected A, C, G or T')
        words |= {one.tobytes(): one for one in (word, dna.reverse_complement(word))}
    return list(words.values())


def _climb(search: _Search, start: np.ndarray, free: np.ndarray, method: str, beam: int, most_edits: int) -> np.ndarray:
    """The best sequence of a beam search, uint8 (L,)."""
    kept, scores = start[None], search.score(start[None])
    best, best_score, waited = kept, scores, 0
    seen = {start.tobytes()}
    for _ in range(most_edits):
        if search.good(kept[:1], scores[:, :1])[0] or waited >= _PATIENCE:
            break
        mutants = _mutants(search, kept, scores, free, method)
        mutants = mutants[[row.tobytes() not in seen for row in mutants]]
        if not len(mutants):
            break
        found = search.score(mutants)
        order = search.order(mutants, found)[:beam]
        kept, scores = mutants[order], found[:, order]
        seen |= {row.tobytes() for row in kept}
        both, both_scores = np.concatenate([best, kept[:1]]), np.concatenate([best_score, scores[:, :1]], axis=1)
        better = search.order(both, both_scores)[0] == 1
        waited = 0 if better else waited + 1
        best, best_score = (kept[:1], scores[:, :1]) if better else (best, best_score)
    return best[0]


def _mutants(search: _Search, kept: np.ndarray, scores: np.ndarray, free: np.ndarray, method: str) -> np.ndarray:
    """Single mutants of sequences (B, L), each once: all, or those with the most promising gradient."""
    changes = search.models.gradient(kept) if method == 'gradient' else None
    parts = []
    for number, row in enumerate(kept):
        position, letter = np.divmod(np.arange(4 * len(free)), 4)
        position, letter = free[position], letter.astype(np.uint8)
        other = row[position] != letter
        position, letter = position[other], letter[other]
        made = np.repeat(row[None], len(position), axis=0)
        made[np.arange(len(position)), position] = letter
        if changes is not None:
            likely = scores[:, number, None] + changes[:, number, position, letter]
            made = made[search.order(made, likely)[:SHORTLIST]]
        parts.append(made)
    return np.unique(np.concatenate(parts), axis=0)


def _pruned(search: _Search, start: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The sequence without edits that it does not need; as it is if it does not reach the target."""
    if not search.good(found[None], search.score(found[None]))[0]:
        return found
    size = 1
    while True:
        changed = np.flatnonzero(found != start)
        if len(changed) < size or (size == 2 and len(changed) > _MOST_PAIRED):
            return found
        one, two = np.triu_indices(len(changed), 1) if size == 2 else (np.arange(len(changed)),) * 2
        made = np.repeat(found[None], len(one), axis=0)
        for side in (changed[one], changed[two]):
            made[np.arange(len(made)), side] = start[side]
        scores = search.score(made)
        good = np.flatnonzero(search.good(made, scores))
        if len(good):
            found, size = made[good[search.order(made[good], scores[:, good])[0]]], 1
        elif size == 2:
            return found
        else:
            size = 2
