"""Words put into backgrounds, and their scores over (models x designs x backgrounds) (pure)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from demo_jax import dna
from demo_jax.errors import InputError, brief
from demo_jax.insilico.models import ModelSet

#: What a motif may be: a word; probabilities (w, 4); or words of equal length, such as found seqlets.
Motif = str | np.ndarray | Sequence[str]
#: How a matrix becomes words: its most probable letters, or letters drawn from it, anew for each background.
HOW = ('consensus', 'sampled')
_BLOCK = 8192  # sequences made at a time
_DRAWS, _SHIFTS = 10, 2  # of meaningless words, and how far they are shifted to be compared


class Insertion(NamedTuple):
    """A word at a place.

    Attributes:
      words: uint8 (1, w), the same word in every background, or (N, w), one for each; N (4) leaves the background's
        letter as it is.
      start: 0-based position of its first letter.
    """

    words: np.ndarray
    start: int


#: What is put into a background; nothing for the background itself.
Design = tuple[Insertion, ...]


class Pair(NamedTuple):
    """Designs with two words, and with each of them alone at the same place."""

    both: Design
    first: Design
    second: Design


def words_of(name: str, motif: Motif, n: int, rng: np.random.Generator, *, how: str = 'consensus') -> np.ndarray:
    """The words of a motif, uint8 (1, w), or (n, w) where each of n backgrounds has its own.

    Args:
      name: for messages.
      motif: a word, 'TGACTCA' (N = whatever letter is there); probabilities (w, 4); or words of equal length, of which
        each background gets one at random.
      n: backgrounds.
      rng: source of randomness.
      how: one of `HOW`, for matrices.

    Raises:
      InputError: no letters, letters that are no bases, words of different lengths, or numbers that are no
        probabilities.
    """
    if how not in HOW:
        raise InputError(f'how is {brief(how)}, expected {" or ".join(HOW)}')
    if isinstance(motif, np.ndarray):
        matrix = np.asarray(motif, np.float64)
        if matrix.ndim != 2 or matrix.shape[1:] != (4,) or not len(matrix) or not np.isfinite(matrix).all():
            raise InputError(f'motif {brief(name)} has shape {matrix.shape}, expected finite numbers (w, 4)')
        if (matrix < 0).any() or np.abs(matrix.sum(axis=1) - 1).max() > 1e-2:
            raise InputError(
                f'motif {brief(name)} has a column {matrix[np.abs(matrix.sum(axis=1) - 1).argmax()]}, '
                'expected probabilities of A C G T'
            )
        if how == 'consensus':
            return matrix.argmax(axis=1).astype(np.uint8)[None]
        below = np.cumsum(matrix / matrix.sum(axis=1, keepdims=True), axis=1)[:, :3]
        return (rng.random((n, len(matrix), 1)) > below).sum(axis=2).astype(np.uint8)
    given = (motif,) if isinstance(motif, str) else tuple(motif)
    if not given or len({len(word) for word in given}) != 1 or not given[0]:
        raise InputError(f'motif {brief(name)} is {brief(given)}, expected a word, or words of equal length')
    try:
        words = np.stack([dna.encode(word) for word in given])
    except InputError as error:
        raise InputError(f'motif {brief(name)}: {error}') from error
    return words if len(words) == 1 else words[rng.integers(0, len(words), n)]


def shuffled(words: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Words of the same letters in random order, uint8 (n, w), of words (1, w) or (n, w)."""
    return rng.permuted(np.broadcast_to(words, (n, words.shape[1])), axis=1)


def meaningless(words: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A word that means nothing, uint8 (1, w): the letters of one of the words (1 or n, w) in random order.

    Of ten orders that are drawn it is the one least like the word, on either strand and shifted by up to 2 letters: a
    short word is often its own shuffle, or nearly.
    """
    word = words[rng.integers(0, len(words))]
    drawn = shuffled(word[None], _DRAWS, rng)
    like = np.zeros(_DRAWS, np.int64)
    for one in (word, dna.reverse_complement(word)):
        for shift in range(min(_SHIFTS, len(word) - 1) + 1):
            rest = len(word) - shift
            for left, right in ((drawn[:, shift:], one[:rest]), (drawn[:, :rest], one[shift:])):
                like = np.maximum(like, ((left == right[None]) & (left < dna.N)).sum(axis=1))
    return drawn[np.argmin(like)][None]


def other_strand(words: np.ndarray, strand: int) -> np.ndarray:
    """Words (n, w) as they read on the given strand if theirs is `strand`, 1 or -1."""
    return words if strand > 0 else dna.reverse_complement(words)


def check_backgrounds(backgrounds: np.ndarray) -> np.ndarray:
    """Backgrounds as uint8 (N, L).

    Raises:
      InputError: they have another shape, or there is none.
    """
    backgrounds = np.asarray(backgrounds)
    if backgrounds.ndim != 2 or backgrounds.dtype.kind not in 'iu' or not backgrounds.size:
        raise InputError(
            f'backgrounds are {backgrounds.dtype} of shape {backgrounds.shape}, expected tokens (N, L), at least one'
        )
    return backgrounds.astype(np.uint8)


def check_design(design: Design, n: int, length: int, names: Sequence[str] = ()) -> None:
    """See that a design fits into n backgrounds of so many letters.

    Args:
      design: the words and their places.
      n: backgrounds.
      length: letters of each.
      names: of the words, for messages.

    Raises:
      InputError: a word juts out or is longer than the sequence, there are words for another number of backgrounds, or
        two insertions overlap.
    """
    called = [brief(name) for name in names] or [f'insertion {number + 1}' for number in range(len(design))]
    for name, (words, start) in zip(called, design, strict=True):
        width = words.shape[1]
        if width > length:
            raise InputError(f'{name} has {width} letters, more than the sequence ({length})')
        if start < 0 or start + width > length:
            raise InputError(f'{name} of {width} letters at position {start + 1} juts out of {length} letters')
        if len(words) not in (1, n):
            raise InputError(f'{name} has {len(words)} words for {n} backgrounds')
    order = sorted(range(len(design)), key=lambda at: design[at].start)
    for one, two in zip(order, order[1:], strict=False):
        end = design[one].start + design[one].words.shape[1]
        if end > design[two].start:
            raise InputError(
                f'{called[one]} (positions {design[one].start + 1}-{end}) and {called[two]} (from '
                f'{design[two].start + 1}) overlap'
            )


def build(backgrounds: np.ndarray, designs: Sequence[Design]) -> np.ndarray:
    """The sequences: uint8 (D, N, L) of D designs in backgrounds uint8 (N, L)."""
    tokens = np.repeat(backgrounds[None], len(designs), axis=0)
    for rows, design in zip(tokens, designs, strict=True):
        for words, start in design:
            part = rows[:, start : start + words.shape[1]]
            part[:] = np.where(words == dna.N, part, words)
    return tokens


def score_designs(
    models: ModelSet, backgrounds: np.ndarray, designs: Sequence[Design], *, progress: bool = False
) -> np.ndarray:
    """Scores float32 (M, D, N) of D designs in N backgrounds by M models; equal designs are scored once.

    Args:
      models: who is asked.
      backgrounds: uint8 (N, L).
      designs: D of them.
      progress: show a bar over (model, sequence) pairs.

    Raises:
      InputError: a design that does not fit (`check_design`), or as `ModelSet.score`.
    """
    backgrounds = check_backgrounds(backgrounds)
    n, length = backgrounds.shape
    unique: dict[tuple[tuple[int, int, bytes], ...], int] = {}
    chosen: list[Design] = []
    place = []
    for design in designs:
        key = tuple((start, words.shape[1], words.tobytes()) for words, start in design)
        if key not in unique:
            check_design(design, n, length)
            unique[key] = len(chosen)
            chosen.append(design)
        place.append(unique[key])
    scores = np.empty((len(models), len(chosen), n), np.float32)
    step = max(1, _BLOCK // n)
    starts, width = _windows(chosen, length)
    with tqdm(total=scores.size, desc='asking', unit='sequence', disable=not progress) as bar:
        for first in range(0, len(chosen), step):
            some = slice(first, first + step)
            tokens = build(backgrounds, chosen[some])
            scores[:, some] = models.score_edited(backgrounds, tokens, starts[some], width, progress=bar.update)
    return scores if len(chosen) == len(designs) else scores[:, place]


def _windows(designs: Sequence[Design], length: int) -> tuple[np.ndarray, int]:
    """Windows of one width that hold all insertions of each design: where they begin, int (D, W), and the width."""
    width = max((one.words.shape[1] for design in designs for one in design), default=1)
    most = max(1, *(len(design) for design in designs))
    starts = np.zeros((len(designs), most), np.int64)
    for row, design in zip(starts, designs, strict=True):
        at = [min(one.start, length - width) for one in design] or [0]
        row[:] = (at + at[:1] * most)[:most]
    return starts, width


def middle(width: int, length: int) -> int:
    """Where a stretch of `width` letters starts that lies in the middle of `length` letters."""
    return (length - width) // 2


def pair_of(
    first: np.ndarray, second: np.ndarray, length: int, *, gap: int, after: bool = True, same_strand: bool = True
) -> Pair:
    """Two words in the middle of a sequence, the first one on the given strand.

    Args:
      first, second: words uint8 (1 or N, w).
      length: letters of the sequence.
      gap: letters between them.
      after: the second lies to the right of the first.
      same_strand: both lie on the given strand; else the second lies on the other.

    Raises:
      InputError: they do not fit into the sequence, or would overlap.
    """
    second = other_strand(second, 1 if same_strand else -1)
    widths = first.shape[1], second.shape[1]
    if gap < 0:
        raise InputError(f'a gap of {gap} letters: two words of {widths[0]} and {widths[1]} letters would overlap')
    if sum(widths) + gap > length:
        raise InputError(
            f'two words of {widths[0]} and {widths[1]} letters with a gap of {gap} are longer than the sequence '
            f'({length} letters)'
        )
    left = middle(sum(widths) + gap, length)
    one = Insertion(first, left if after else left + widths[1] + gap)
    two = Insertion(second, left + widths[0] + gap if after else left)
    return Pair((one, two), (one,), (two,))


def pair_scores(
    models: ModelSet, backgrounds: np.ndarray, pairs: Sequence[Pair], *, progress: bool = False
) -> np.ndarray:
    """What pairs add to the scores of backgrounds, float32 (M, P, 4, N).

    The third axis: effect of both words, of the first alone, of the second alone, and the epistasis
    f(ab) - f(a) - f(b) + f(0).

    Args:
      models: M of them.
      backgrounds: uint8 (N, L).
      pairs: P of them.
      progress: show a bar.

    Raises:
      InputError: as `score_designs`.
    """
    designs: list[Design] = [(), *(design for pair in pairs for design in pair)]
    scores = score_designs(models, backgrounds, designs, progress=progress)
    effects = (scores[:, 1:] - scores[:, :1]).reshape(len(models), len(pairs), 3, -1)
    epistasis = effects[:, :, :1] - effects[:, :, 1:2] - effects[:, :, 2:]
    return np.concatenate([effects, epistasis], axis=2)
