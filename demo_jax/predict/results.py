"""The results of a `Model` or an `Ensemble`: each prints, becomes a table (`to_frame`) and a figure (`plot`) (edge).

Sequences are numbered from 1 in the given order, and positions from 1 within each sequence, as in VCF files. Tables are
pandas DataFrames. Figures are matplotlib Figures that need no display (`figure.savefig(path)`). Results of an ensemble
hold the mean over its members and the standard deviation between them (`*_sd`); of one model there is none (None).
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from demo_jax import dna
from demo_jax.dna import information_content
from demo_jax.errors import InputError
from demo_jax.explain.attribution import ATTRIBUTIONS
from demo_jax.explain.score import probability
from demo_jax.explain.sufficient_motif import SLACK, motif_of
from demo_jax.motifs.extract import WIDTH, Windows, align_strands, best_windows
from demo_jax.motifs.jaspar import load_matrices
from demo_jax.motifs.piles import Pile, pile_windows
from demo_jax.motifs.tomtom import match_motifs, prepare_targets

_WRAP = 101  # letters per printed line: a window of the usual length fits on one line
_SHOWN = 20  # sequences that are printed or drawn


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """Scores of some sequences.

    Attributes:
      sequences: as given.
      score: float32 (N,), S = logit(+) - logit(-), the log odds that the TF binds.
      probability: float32 (N,), the probability of binding: the sigmoid of score / temperature + shift.
      temperature: that of a calibrated model; None = not calibrated, which counts as 1.
      shift: fitted with the temperature, and that of another prior than the training data's.
      score_sd: float32 (N,), the SD of the score between the members of an ensemble; None for one model.
      n_members: how many models the scores are means of.
    """

    sequences: tuple[str, ...]
    score: np.ndarray
    probability: np.ndarray
    temperature: float | None = None
    shift: float = 0.0
    score_sd: np.ndarray | None = None
    n_members: int = 1

    def to_frame(self) -> Any:
        """A pandas DataFrame with the columns sequence, score, probability, and score_sd of an ensemble."""
        columns = {'sequence': self.sequences, 'score': self.score, 'probability': self.probability}
        return _frame(columns | ({} if self.score_sd is None else {'score_sd': self.score_sd}))

    def plot(self, limit: int = 50) -> Any:
        """A bar chart of the probabilities of the first `limit` sequences; whiskers are one SD between members."""
        shown = self.probability[:limit]
        figure, ax = _figure(6, 0.25 * len(shown) + 0.8)
        spread = None
        if self.score_sd is not None:
            scores, sd = (values[:limit].astype(np.float64) for values in (self.score, self.score_sd))
            scale = self.temperature or 1.0, self.shift
            ends = (probability(scores + sign * sd, *scale) for sign in (-1, 1))
            spread = np.abs(np.stack(list(ends)) - probability(scores, *scale))
        ax.barh(np.arange(len(shown)), shown, color='#0072B2', xerr=spread, ecolor='#5F6670')
        ax.set_yticks(np.arange(len(shown)), [_short(text, 20) for text in self.sequences[:limit]], family='monospace')
        ax.set_xlim(0, 1)
        ax.set_ylim(len(shown) - 0.5, -0.5)
        ax.axvline(0.5, color='#5F6670', linewidth=0.5)
        ax.set_xlabel('calibrated probability of binding' if self.temperature else 'probability of binding')
        return figure

    def __str__(self) -> str:
        lines = [
            'probability    score  sequence' if self.score_sd is None else 'probability    score      SD  sequence'
        ]
        spread = [''] * len(self.score) if self.score_sd is None else [f'{sd:8.3f}' for sd in self.score_sd]
        for sequence, score, chance, sd in zip(self.sequences, self.score, self.probability, spread, strict=True):
            lines.append(f'{chance:11.4f} {score:8.3f}{sd}  {_short(sequence, 60)}')
        if self.score_sd is not None:
            lines.append(f'score: mean of {self.n_members} models, SD: between them')
        if self.temperature is not None:
            scale = f'score / {self.temperature:.3g}' + (f' {self.shift:+.3g}' if self.shift else '')
            lines.append(f'probabilities are calibrated on validation data: log odds {scale}')
        elif self.shift:
            lines.append(f'probabilities are for another prior: log odds score {self.shift:+.3g}')
        return '\n'.join(lines)


@dataclasses.dataclass(frozen=True, eq=False)
class Maps:
    """How much each letter of some sequences matters to a model's score; see `explain.attribution`.

    Attributes:
      title: the model, e.g. 'CTCF / medium_cnn'.
      method: 'saliency', 'gradient_x_input', 'integrated_gradients', 'deeplift' or 'mutagenesis'.
      both_strands: the maps are averages over both strands, and so is the score.
      sequences: as given.
      score: float32 (N,), the score S that the maps explain.
      signed: N arrays, float32 (L,), L the length of the sequence: the contribution of the letter that is there.
      hypothetical: N arrays, float32 (L, 4): the contribution of each of A, C, G, T in its place; for mutagenesis, the
        exact change of the score with that letter.
      completeness_error: float32 (N,) for integrated gradients, (N, K) for DeepLIFT with K references (see
        `explain.attribution.Attribution`), else None; of an ensemble the largest of its members.
      score_sd, signed_sd, hypothetical_sd: in the shapes of `score`, `signed` and `hypothetical`, the SD between the
        members of an ensemble; None for one model.
      n_members: how many models the maps are means of.
    """

    title: str
    method: str
    both_strands: bool
    sequences: tuple[str, ...]
    score: np.ndarray
    signed: tuple[np.ndarray, ...]
    hypothetical: tuple[np.ndarray, ...]
    completeness_error: np.ndarray | None = None
    score_sd: np.ndarray | None = None
    signed_sd: tuple[np.ndarray, ...] | None = None
    hypothetical_sd: tuple[np.ndarray, ...] | None = None
    n_members: int = 1

    @property
    def values(self) -> tuple[np.ndarray, ...]:
        """N arrays (L,), the values that rank positions: |signed| for saliency (the paper's map), otherwise signed."""
        return tuple(map(np.abs, self.signed)) if ATTRIBUTIONS[self.method].ranks == 'size' else self.signed

    def motif(self, width: int = WIDTH) -> 'Motif':
        """The motif of the most important windows, one per sequence.

        Args:
          width: letters per window; shorter sequences are left out.

        Raises:
          InputError: no sequence is long enough.
        """
        kept = [n for n, values in enumerate(self.values) if len(values) >= width]
        if not kept:
            raise InputError(f'no sequence has {width} letters, which a window needs')
        longest = max(len(self.values[n]) for n in kept)
        lengths = np.array([len(self.values[n]) for n in kept])
        values, tokens = np.zeros((len(kept), longest)), np.full((len(kept), longest), dna.N, np.uint8)
        for row, n in enumerate(kept):
            values[row, : lengths[row]], tokens[row, : lengths[row]] = self.values[n], dna.encode(self.sequences[n])
        windows = best_windows(values, lengths, width=width)
        strand = windows.strand * align_strands(windows.tokens(tokens))
        windows = dataclasses.replace(windows, strand=strand, row=np.array(kept)[windows.row])
        padded = np.full((len(self.sequences), longest), dna.N, np.uint8)
        padded[kept] = tokens
        return Motif(
            self.title, self.method, windows, tuple(windows.words(padded)), pile_windows(windows.tokens(padded))
        )

    def only(self, n: int) -> 'Maps':
        """The map of sequence n (from 0) alone."""
        return _only(self, n)

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row per letter.

        Columns: sequence (number, from 1), position (from 1), base, value (see `values`), signed, A, C, G, T
        (hypothetical), and of an ensemble signed_sd.
        """
        columns = _positions(self.sequences)
        columns['value'] = _joined(self.values)
        columns['signed'] = _joined(self.signed)
        hypothetical = np.concatenate([np.zeros((0, 4), np.float32), *self.hypothetical])
        columns |= {letter: hypothetical[:, i] for i, letter in enumerate('ACGT')}
        return _frame(columns | ({} if self.signed_sd is None else {'signed_sd': _joined(self.signed_sd)}))

    def plot(self, limit: int = _SHOWN) -> Any:
        """A logo of each of the first `limit` sequences: letters as high as their values, whiskers of one SD."""

        def draw(axes: np.ndarray, n: int) -> None:
            self.draw(axes[0], n)
            spread = '' if self.score_sd is None else f' ± {self.score_sd[n]:.2f}'
            axes[0].set_title(f'{n + 1}: score {self.score[n]:.2f}{spread}', loc='left', fontsize='medium')

        return _rows(self.sequences[:limit], [1.0], draw, title=f'{self.title}: {_named(self.method)}')

    def draw(self, ax: Any, n: int = 0, *, first: int = 1) -> None:
        """Draw the logo of sequence n (from 0) on matplotlib axes; its first letter's position is `first`."""
        from demo_jax.report import plots

        label = {'saliency': '|gradient|', 'mutagenesis': 'loss when mutated'}.get(self.method, 'contribution')
        letters = dna.one_hot(dna.encode(self.sequences[n]))
        plots.letter_logo(ax, letters * self.values[n][:, None], ylabel=label)
        if self.signed_sd is not None:
            at, middle, sd = np.arange(len(letters)), self.values[n], self.signed_sd[n]
            ax.vlines(at, middle - sd, middle + sd, color='#5F6670', linewidth=0.6)
            low, high = ax.get_ylim()
            ax.set_ylim(min(low, float((middle - sd).min())), max(high, float((middle + sd).max())))
        ax.spines[['top', 'right']].set_visible(False)
        _number_positions(ax, len(letters), first)

    def __str__(self) -> str:
        strands = ', both strands averaged' if self.both_strands else ''
        signs = '' if ATTRIBUTIONS[self.method].ranks == 'size' else '; lower-case letters speak against binding'
        lines = [
            f'{_named(self.method)} of {self.title}{strands}',
            f'digits: tenths of the largest contribution in the sequence{signs}',
        ]
        for n, (sequence, values) in enumerate(zip(self.sequences[:_SHOWN], self.values, strict=False)):
            size = np.abs(values)
            digits = np.minimum(10 * size / (size.max(initial=0) or 1), 9).astype(int)
            negative = (values < 0) & (digits > 0)
            letters = dna.decode(dna.encode(sequence))
            letters = ''.join(a.lower() if against else a for a, against in zip(letters, negative, strict=True))
            gap = self.completeness_error
            error = '' if gap is None else f', completeness error {np.max(gap[n]):.2g}'
            spread = '' if self.score_sd is None else f' (SD {self.score_sd[n]:.3f} of {self.n_members} models)'
            largest = f'largest contribution {size.max(initial=0):.3g}'
            if self.signed_sd is not None and len(size):
                largest += f' (SD {self.signed_sd[n][size.argmax()]:.2g})'
            lines.append(f'{n + 1}: score {self.score[n]:.3f}{spread}, {largest}{error}')
            lines += _wrapped(('', ''), letters, ''.join(map(str, digits)))
        return '\n'.join([*lines, *_left_out(len(self.sequences))])


@dataclasses.dataclass(frozen=True, eq=False)
class Motif:
    """The motif of the most important windows; see `motifs.piles`.

    Attributes:
      title: the model.
      method: the attribution that chose the windows.
      windows: one per sequence that is long enough, with strands on which all show the motif in the same orientation;
        `row` is the index of the sequence, from 0.
      words: the letters of the windows.
      pile: the matrix of the windows without its uninformative ends, and whether it is a motif.
    """

    title: str
    method: str
    windows: Windows
    words: tuple[str, ...]
    pile: Pile

    @property
    def probabilities(self) -> np.ndarray:
        """float64 (w, 4), the trimmed matrix: A C G T in columns, rows add up to 1."""
        return self.pile.probabilities

    def match(self, release: str = '', *, most: int = 10) -> Any:
        """The best matches in JASPAR, by Tomtom (Euclidean distance) with MEME's q-values.

        Args:
          release: e.g. 'JASPAR2024'; '' = the newest installed.
          most: the maximal number of rows.

        Returns:
          A pandas DataFrame: id, name, p_value, e_value, q_value, offset, strand; best first. Empty if the pile is not
          a clear motif, since flat columns match anything.

        Raises:
          InputError: no such release.
        """
        columns = ('id', 'name', 'p_value', 'e_value', 'q_value', 'offset', 'strand')
        if self.pile.verdict != 'motif':
            return _frame({column: [] for column in columns})
        known = load_matrices(release or None)
        found = match_motifs([self.probabilities], prepare_targets({m: x.probabilities for m, x in known.items()}))
        best = np.argsort(found.p_value[0], kind='stable')[:most]
        ids = [list(known)[at] for at in best]
        return _frame(
            {
                'id': ids,
                'name': [known[motif].name for motif in ids],
                'p_value': found.p_value[0, best],
                'e_value': found.e_value[0, best],
                'q_value': found.q_value[0, best],
                'offset': found.offset[0, best],
                'strand': np.where(found.forward[0, best], '+', '-'),
            }
        )

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row per window: sequence, start (both from 1), strand, word, score."""
        windows = self.windows
        return _frame(
            {
                'sequence': windows.row + 1,
                'start': windows.start + 1,
                'strand': np.where(windows.strand < 0, '-', '+'),
                'word': self.words,
                'score': windows.score,
            }
        )

    def plot(self) -> Any:
        """The motif as an information logo, in bits."""
        from demo_jax.report import plots

        figure, ax = _figure(0.45 * len(self.probabilities) + 1.5, 2.0)
        plots.letter_logo(ax, self.probabilities * information_content(self.probabilities)[:, None], ylabel='bits')
        ax.set_ylim(0, 2.0)
        _number_positions(ax, len(self.probabilities))
        ax.set_title(str(self).splitlines()[0], loc='left', fontsize='small', parse_math=False)
        return figure

    def __str__(self) -> str:
        best = ''.join('ACGT'[at] for at in self.probabilities.argmax(axis=1))
        verdict = {'motif': 'motif', 'vague': 'vague motif', 'none': 'no motif'}[self.pile.verdict]
        return (
            f'{verdict} {best} of {self.title} by {_named(self.method)}: {self.pile.agree} of {len(self.words)} '
            f'windows agree, {self.pile.bits:.1f} of 12 bits in its best six columns'
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Temporal:
    """The scores of every prefix and suffix of some sequences; see `explain.temporal`.

    Attributes:
      title: the model.
      both_strands: scores are averages over both strands of each prefix or suffix.
      sequences: as given.
      forward: N arrays, float32 (L,): S of the prefix that ends with each position; NaN if it is too short.
      reverse: N arrays, float32 (L,): S of the suffix that begins with each position.
      forward_sd, reverse_sd: in the shapes of both, the SD between the members of an ensemble; None for one model.
    """

    title: str
    both_strands: bool
    sequences: tuple[str, ...]
    forward: tuple[np.ndarray, ...]
    reverse: tuple[np.ndarray, ...]
    forward_sd: tuple[np.ndarray, ...] | None = None
    reverse_sd: tuple[np.ndarray, ...] | None = None

    def only(self, n: int) -> 'Temporal':
        """The scores of sequence n (from 0) alone."""
        return _only(self, n)

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row per letter.

        Columns: sequence, position (both from 1), base, forward, reverse, and of an ensemble forward_sd, reverse_sd.
        """
        columns = _positions(self.sequences)
        for name in ('forward', 'reverse', 'forward_sd', 'reverse_sd'):
            if getattr(self, name) is not None:
                columns[name] = _joined(getattr(self, name))
        return _frame(columns)

    def plot(self, limit: int = _SHOWN) -> Any:
        """Two strips per sequence, each on its own scale; the first `limit` sequences.

        Red: the score so far is positive, blue: negative. The forward strip is read from left to right,
        the reverse strip from right to left.
        """

        def draw(axes: np.ndarray, n: int) -> None:
            self.draw(axes[0], axes[1], n)
            spread = '' if self.forward_sd is None else f' ± {self.forward_sd[n][-1]:.2f}'
            axes[0].set_title(f'{n + 1}: score {self.forward[n][-1]:.2f}{spread}', loc='left', fontsize='medium')

        title = f'{self.title}: temporal scores (red: positive, blue: negative, each strip on its own scale)'
        return _rows(self.sequences[:limit], [0.3, 0.3], draw, title=title)

    def draw(self, upper: Any, lower: Any, n: int = 0) -> None:
        """Draw the forward and the reverse strip of sequence n (from 0) on two matplotlib axes, and its letters."""
        from demo_jax.report import plots

        plots.strip(upper, self.forward[n], kind='score', label='forward')
        plots.strip(lower, self.reverse[n], kind='score', label='reverse')
        letters = dna.decode(dna.encode(self.sequences[n]))
        upper.set_xticks([])
        lower.set_xticks(np.arange(len(letters)), list(letters), fontsize=7, family='monospace')
        lower.tick_params(length=0)
        for ax in (upper, lower):
            ax.spines[:].set_visible(False)

    def __str__(self) -> str:
        strands = ', both strands averaged' if self.both_strands else ''
        lines = [
            f'temporal scores of {self.title}{strands}',
            'digits: tenths of the probability that the sequence up to there (forward), or from there (reverse), binds',
        ]
        for n, sequence in enumerate(self.sequences[:_SHOWN]):
            spread = '' if self.forward_sd is None else f' (SD {self.forward_sd[n][-1]:.3f})'
            lines.append(f'{n + 1}: score {self.forward[n][-1]:.3f}{spread}')
            rows = (dna.decode(dna.encode(sequence)), _tenths(self.forward[n]), _tenths(self.reverse[n]))
            lines += _wrapped(('', 'forward', 'reverse'), *rows)
        return '\n'.join([*lines, *_left_out(len(self.sequences))])


@dataclasses.dataclass(frozen=True, eq=False)
class LetterDistribution(abc.ABC):
    """Probabilities of the letters of each position, found for a model.

    Attributes:
      title: the model.
      matrix: float32 (L, 4), rows sum to 1.
    """

    title: str
    matrix: np.ndarray

    @property
    def consensus(self) -> str:
        """The most probable letter of each position, in lower case if its probability is below 1/2."""
        best = self.matrix.argmax(axis=1)
        sure = self.matrix.max(axis=1) >= 0.5
        return ''.join(a if s else a.lower() for a, s in zip(dna.decode(best.astype(np.uint8)), sure, strict=True))

    @property
    @abc.abstractmethod
    def summary(self) -> str:
        """What was found, in a few words."""

    def to_frame(self) -> Any:
        """A pandas DataFrame with four rows per position: position (from 1), base, probability, information (bits)."""
        length = len(self.matrix)
        return _frame(
            {
                'position': np.repeat(np.arange(1, length + 1), 4),
                'base': np.tile(np.array(list('ACGT')), length),
                'probability': self.matrix.ravel(),
                'information': np.repeat(information_content(self.matrix), 4),
            }
        )

    def plot(self) -> Any:
        """An information logo, in bits."""
        from demo_jax.report import plots

        figure, ax = _figure(_width(len(self.matrix)), 1.9)
        plots.letter_logo(ax, self.matrix * information_content(self.matrix)[:, None], ylabel='bits')
        ax.set_ylim(0, max(2.0, ax.get_ylim()[1]))
        _number_positions(ax, len(self.matrix))
        ax.set_title(f'{self.title}: {self.summary}', loc='left', fontsize='medium', parse_math=False)
        return figure

    def __str__(self) -> str:
        lines = [
            f'{self.title}: {self.summary}',
            'lower-case letters have a probability below a half; digits: tenths of 2 bits',
        ]
        bits = np.clip(5 * information_content(self.matrix), 0, 9).astype(int)
        return '\n'.join([*lines, *_wrapped(('', ''), self.consensus, ''.join(map(str, bits)))])


@dataclasses.dataclass(frozen=True, eq=False)
class Optimum(LetterDistribution):
    """The input that maximises a model's probability of binding; see `explain.class_optimisation`.

    Attributes:
      title: the model.
      matrix: float32 (L, 4), the optimum of the best restart as letter probabilities; rows sum to 1.
      raw: float32 (L, 4), the optimum itself.
      score: S of `raw`.
      objective: log S+ - lambda |X|^2 of `raw`.
      restarts: float32 (R,), the objective of every restart.
    """

    raw: np.ndarray
    score: float
    objective: float
    restarts: np.ndarray

    @property
    def summary(self) -> str:
        """E.g. 'class optimum, score 7.2, objective -0.1, best of 4 restarts'."""
        best_of = f'best of {len(self.restarts)} restarts'
        return f'class optimum, score {self.score:.2f}, objective {self.objective:.4f}, {best_of}'


@dataclasses.dataclass(frozen=True, eq=False)
class SufficientLetters(LetterDistribution):
    """The letters of fewest bits whose sequences a model calls bound; see `explain.sufficient_motif`.

    Attributes:
      title: the model.
      matrix: float32 (L, 4), letter probabilities of the best start; rows sum to 1.
      score: the mean of S over sequences drawn from it.
      bits: its divergence from the background, summed over positions.
      without: the mean of S over sequences of the background.
      target: the mean S that was asked for.
    """

    score: float
    bits: float
    without: float
    target: float

    @property
    def reached(self) -> bool:
        """Whether `score` is at most `SLACK` below the target."""
        return self.score >= self.target - SLACK

    @property
    def motif(self) -> np.ndarray:
        """Float64 (w, 4): the informative columns, at most `WIDEST`."""
        return motif_of(self.matrix)

    @property
    def summary(self) -> str:
        """E.g. 'sufficient letters, 11.8 bits, mean score 3.1 (-1.3 without them)'."""
        missed = '' if self.reached else f', which misses {self.target:.1f}'
        return (
            f'sufficient letters, {self.bits:.1f} bits, mean score {self.score:.1f} ({self.without:.1f} without them)'
            f'{missed}'
        )


Sliced = TypeVar('Sliced', Maps, Temporal)


def _only(results: Sliced, n: int) -> Sliced:
    """The result of sequence n (from 0) alone: of every field that holds N parts, that part."""
    parts = {field.name: getattr(results, field.name) for field in dataclasses.fields(results)}
    kept: dict[str, Any] = {
        name: part[n : n + 1] for name, part in parts.items() if isinstance(part, tuple | np.ndarray)
    }
    return dataclasses.replace(results, **kept)


def _named(method: str) -> str:
    return method.replace('_x_', ' times ').replace('_', ' ')


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f'{text[: limit - 3]}...'


def _tenths(score: np.ndarray) -> str:
    """A digit per score, 0 to 9: its probability in tenths; blank if there is none."""
    digits = np.minimum(10 * probability(np.nan_to_num(score)), 9).astype(int)
    return ''.join(' ' if np.isnan(s) else str(d) for s, d in zip(score, digits, strict=True))


def _wrapped(labels: tuple[str, ...], *rows: str) -> list[str]:
    """Labelled rows of equal length below each other, `_WRAP` letters at a time."""
    size = max(map(len, labels)) + 2
    return [
        f'{label:>{size}}  {row[start : start + _WRAP]}'.rstrip()
        for start in range(0, len(rows[0]), _WRAP)
        for label, row in zip(labels, rows, strict=True)
    ]


def _left_out(n: int) -> list[str]:
    return [f'... {n - _SHOWN} more sequences: see to_frame()'] if n > _SHOWN else []


def _joined(arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *arrays])


def _positions(sequences: tuple[str, ...]) -> dict[str, Any]:
    """The columns sequence, position and base of all letters."""
    lengths = [len(text) for text in sequences]
    return {
        'sequence': np.repeat(np.arange(1, len(lengths) + 1), lengths),
        'position': np.concatenate([np.zeros(0, np.int64), *(np.arange(1, n + 1) for n in lengths)]),
        'base': np.array(list(''.join(dna.decode(dna.encode(text)) for text in sequences)), dtype='U1'),
    }


def _frame(columns: dict[str, Any]) -> Any:
    import pandas as pd

    return pd.DataFrame(columns)


def _width(length: int) -> float:
    """The width of a row of letters, in inches."""
    return min(max(0.12 * length + 1.2, 7.5), 40.0)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    """A new figure (not managed by pyplot) and its only axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout='constrained')
    return figure, figure.add_subplot()


def _number_positions(ax: Any, length: int, first: int = 1) -> None:
    """Ticks at every tenth letter (fewer for long sequences) of letters drawn at 0, 1, 2, ..."""
    step = 10 if length <= 200 else 10 * (length // 100)
    ticks = np.arange(0, length, step)
    ax.set_xticks(ticks, ticks + first)


def _rows(sequences: tuple[str, ...], heights: list[float], draw: Callable[[np.ndarray, int], None], title: str) -> Any:
    """A figure with a group of axes per sequence (`heights` in inches), every letter equally wide."""
    from matplotlib.figure import Figure

    longest, n_each = max(map(len, sequences)), len(heights)
    size = (_width(longest), (sum(heights) + 0.55) * len(sequences) + 0.4)
    figure = Figure(figsize=size, layout='constrained')
    figure.suptitle(title, fontsize='medium', parse_math=False)
    axes = figure.subplots(n_each * len(sequences), 1, squeeze=False, height_ratios=heights * len(sequences))[:, 0]
    for n in range(len(sequences)):
        draw(axes[n * n_each : (n + 1) * n_each], n)
    for ax in axes:
        ax.set_xlim(-0.5, longest - 0.5)
    return figure
