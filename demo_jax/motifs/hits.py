"""Hits: where the motifs of a task lie, found in maps, with the motifs in competition (pure).

At every place, on both strands, each motif explains a part of the map: the projection of the contributions under it on
its own mean contributions. What explains most is a hit, then what explains most of the rest, and so on; hits do not
overlap. So a letter that matters belongs to one motif, the one that fits it best, and a match of letters that the model
does not use is no hit. p of a hit is the share of hits in maps of sequences without sites that explain as much (the
null of `motifs.seqlets`); q is the false discovery rate among the hits of its sign that explain as much.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from demo_jax.dna import information_content
from demo_jax.errors import InputError, brief
from demo_jax.motifs import scan
from demo_jax.motifs.seqlets import against_null, checked_map

#: The largest p-value of a hit's letters: chance that a random word fits the motif as well (see `scan.Scanner`).
LETTERS_P = 0.003
_CELLS = 4_000_000  # scores held at a time: 16 MB


class Pattern(NamedTuple):
    """A motif that hits are looked for of.

    Attributes:
      probabilities: float (w, 4), A C G T.
      contributions: float (w, 4), mean contribution of each letter.
      sign: 1 for what speaks for binding, -1 for what speaks against.
    """

    probabilities: np.ndarray
    contributions: np.ndarray
    sign: int = 1


@dataclasses.dataclass(frozen=True, eq=False)
class MapHits:
    """H hits, in order of row and start.

    Attributes:
      motifs: the names of the motifs.
      motif: int64 (H,), which of them.
      row: int64 (H,), the sequence.
      start: int64 (H,), 0-based position of the leftmost letter.
      width: int64 (H,), letters.
      strand: int8 (H,), 1, or -1 where the motif lies on the reverse strand.
      contribution: float64 (H,), sum of the map over the hit.
      similarity: float64 (H,), cosine of the contributions under it and the motif's own, at most 1.
      explained: float64 (H,), length of the projection, what the motifs compete by.
      p_value, q_value: float64 (H,); NaN where no null was given.
    """

    motifs: tuple[str, ...]
    motif: np.ndarray
    row: np.ndarray
    start: np.ndarray
    width: np.ndarray
    strand: np.ndarray
    contribution: np.ndarray
    similarity: np.ndarray
    explained: np.ndarray
    p_value: np.ndarray
    q_value: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def take(self, chosen: np.ndarray) -> 'MapHits':
        """Some of them, by a mask (H,) or by their numbers."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return MapHits(**{name: value if name == 'motifs' else value[chosen] for name, value in arrays.items()})


_NONE, _NO_NUMBERS = np.zeros(0, np.int64), np.zeros(0)
#: None at all.
NO_HITS = MapHits(
    (),
    _NONE,
    _NONE,
    _NONE,
    _NONE,
    np.zeros(0, np.int8),
    _NO_NUMBERS,
    _NO_NUMBERS,
    _NO_NUMBERS,
    _NO_NUMBERS,
    _NO_NUMBERS,
)


def known_pattern(probabilities: np.ndarray) -> Pattern:
    """A motif whose contributions are not known, e.g. JASPAR's: the letters' shares times each column's bits."""
    probabilities = np.asarray(probabilities, np.float64)
    return Pattern(probabilities, probabilities * information_content(probabilities)[:, None])


def find_map_hits(
    values: np.ndarray,
    tokens: np.ndarray,
    motifs: Mapping[str, Pattern],
    *,
    null: tuple[np.ndarray, np.ndarray] | None = None,
    letters_p: float = LETTERS_P,
) -> MapHits:
    """The hits of some motifs in some maps, whatever their q-value.

    Args:
      values: float (N, L), contribution of the letter that is there.
      tokens: uint8 (N, L), padded with N; nothing lies over an N.
      motifs: those that compete, by name.
      null: values and tokens of sequences without sites, explained by the same model in the same way; None: there are
        no p- and q-values.
      letters_p: the largest p-value of a hit's letters. A motif too short to have a rarer word has its best words.

    Raises:
      InputError: maps of another shape or not finite, or a motif that is no matrix.
    """
    if not motifs:
        return NO_HITS
    values, tokens = _checked(values, tokens, 'the map')
    prepared = {name: _prepared(name, pattern, letters_p) for name, pattern in motifs.items()}
    found = _compete(values, tokens, list(prepared.values()))
    p_value, q_value = np.full(len(found[0]), np.nan), np.full(len(found[0]), np.nan)
    if null is not None:
        null_map = _checked(*null, 'the null map')
        background = _compete(*null_map, list(prepared.values()))
        signs = np.array([motif.sign for motif in prepared.values()], np.int64)
        for sign in (1, -1):
            mine, others = signs[found[0]] == sign, signs[background[0]] == sign
            p_value[mine], q_value[mine] = against_null(
                found[-1][mine], background[-1][others], len(values), len(null_map[0])
            )
    motif, row, start, width, strand, contribution, similarity, explained = found
    hits = MapHits(
        tuple(motifs), motif, row, start, width, strand, contribution, similarity, explained, p_value, q_value
    )
    return hits.take(np.lexsort((hits.start, hits.row)))


class _Prepared(NamedTuple):
    """A motif, ready to be compared."""

    scanner: scan.Scanner
    least: int  # lowest score of its letters
    unit: np.ndarray  # (w, 5): its contributions, of length 1; 0 for N
    sign: int


def _prepared(name: str, pattern: Pattern, letters_p: float) -> _Prepared:
    contributions = np.asarray(pattern.contributions, np.float64) * pattern.sign
    if contributions.shape != np.shape(pattern.probabilities) or not np.isfinite(contributions).all():
        raise InputError(
            f'motif {brief(name)} has contributions of shape {contributions.shape}, expected finite numbers of shape '
            f'{np.shape(pattern.probabilities)}'
        )
    scanner = scan.prepare_scanner(pattern.probabilities)
    least = scanner.least_score(scanner.reachable(letters_p))
    assert least is not None  # the best word is always reachable
    length = np.sqrt((contributions**2).sum())
    unit = contributions / length if length > 0 else contributions
    return _Prepared(scanner, least, np.pad(unit, ((0, 0), (0, 1))), pattern.sign)


def _compete(values: np.ndarray, tokens: np.ndarray, motifs: list[_Prepared]) -> tuple[np.ndarray, ...]:
    """Hits as `MapHits` has them, from `motif` to `explained`, block by block."""
    n, length = values.shape
    step = max(1, _CELLS // max(2 * length * len(motifs), 1))
    none = np.zeros(0, np.int64)
    parts: list[tuple[np.ndarray, ...]] = [(none, none, none, none, none.astype(np.int8), *[np.zeros(0)] * 3)]
    for first in range(0, n if motifs else 0, step):
        block = slice(first, first + step)
        parts += [(motif, first + row, *rest) for motif, row, *rest in _block(values[block], tokens[block], motifs)]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _block(values: np.ndarray, tokens: np.ndarray, motifs: list[_Prepared]) -> list[tuple[np.ndarray, ...]]:
    """The first hit of each sequence, then the second, ..."""
    n, length = values.shape
    scores = np.zeros((n, 2 * len(motifs), length), np.float32)
    widths = np.repeat([motif.scanner.width for motif in motifs], 2)
    for number, motif in enumerate(motifs):
        for side, strand in enumerate((1, -1)):
            _explain(values, tokens, motif, strand, scores[:, 2 * number + side])
    rows, place = np.arange(n), np.arange(length)
    parts: list[tuple[np.ndarray, ...]] = []
    squares = np.concatenate([np.zeros((n, 1)), np.cumsum(values**2, axis=1)], axis=1)
    total = np.concatenate([np.zeros((n, 1)), np.cumsum(values, axis=1)], axis=1)
    while len(rows):
        flat = scores.reshape(len(rows), -1)
        best = flat.argmax(axis=1)
        explained = flat[np.arange(len(rows)), best].astype(np.float64)
        good = explained > 0
        scores, rows, best, explained = scores[good], rows[good], best[good], explained[good]
        kind, start = np.divmod(best, length)
        width = widths[kind]
        norm = np.sqrt(squares[rows, start + width] - squares[rows, start])
        strand = np.where(kind % 2, -1, 1).astype(np.int8)
        contribution = total[rows, start + width] - total[rows, start]
        similarity = np.minimum(explained / np.maximum(norm, 1e-30), 1)
        parts.append((kind // 2, rows, start, width, strand, contribution, similarity, explained))
        overlaps = (place < (start + width)[:, None, None]) & (place + widths[:, None] > start[:, None, None])
        scores[overlaps] = 0
    return parts


def _explain(values: np.ndarray, tokens: np.ndarray, motif: _Prepared, strand: int, out: np.ndarray) -> None:
    """Write into out (n, L) what the motif explains where it starts; 0 where its letters do not fit or it juts out."""
    scores, unit = motif.scanner.scores, motif.unit
    if strand < 0:
        scores, unit = scores[::-1, ::-1], np.concatenate([unit[::-1, 3::-1], unit[:, 4:]], axis=1)
    scanner = dataclasses.replace(motif.scanner, scores=scores)
    letters = scan.word_scores(scanner, tokens)
    n_starts = letters.shape[1]
    explained = np.zeros(letters.shape)
    for column in range(scanner.width):
        part = slice(column, column + n_starts)
        explained += unit[column][tokens[:, part]] * values[:, part]
    out[:, :n_starts] = np.where(letters >= motif.least, np.maximum(motif.sign * explained, 0), 0)


def _checked(values: np.ndarray, tokens: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    values, _ = checked_map(values, None, what, least=1)
    tokens = np.asarray(tokens)
    if tokens.shape != values.shape:
        raise InputError(f'{what} has shape {values.shape}, its sequences {tokens.shape}')
    return values, tokens
