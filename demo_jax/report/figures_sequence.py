"""The dashboard of one sequence, as the paper's Figure 2 (edge: matplotlib, but no display; no files)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from demo_jax import dna
from demo_jax.dna import information_content
from demo_jax.explain.score import probability
from demo_jax.report import plots
from demo_jax.report.tables import shorten

#: Width of a printed page's text, in inches.
WIDTH = 7.0
#: Longer sequences are cut to their most salient part, since their letters would be too small to read.
MOST_LETTERS = 120
#: Gap between two JASPAR logos, as a share of the figure's width: room for the ticks of the right one.
_LOGO_GAP = 0.045
RC: dict[Any, Any] = {
    'font.family': 'DejaVu Sans',
    'font.size': 7,
    'axes.titlesize': 7.5,
    'axes.labelsize': 6.5,
    'xtick.labelsize': 6,
    'ytick.labelsize': 6,
    'legend.fontsize': 6.5,
    'svg.fonttype': 'none',
    'pdf.fonttype': 42,
    'axes.linewidth': 0.6,
    'xtick.major.width': 0.6,
    'ytick.major.width': 0.6,
    'xtick.major.size': 2,
    'ytick.major.size': 2,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'text.color': '#1B1E24',
    'axes.labelcolor': '#1B1E24',
}


@dataclasses.dataclass(frozen=True)
class Span:
    """A marked stretch of a sequence: 0-based `start`, `stop` after its last letter, strand 1 or -1."""

    start: int
    stop: int
    name: str
    strand: int = 1


@dataclasses.dataclass(frozen=True, eq=False)
class ModelView:
    """The results of one model for a sequence.

    Attributes:
      label: e.g. 'medium CNN-RNN'.
      score: S(X), log odds of binding.
      saliency: float (L,), not negative.
      forward, reverse: float (L,) temporal scores, NaN where there is none; None for a CNN.
      optimum: float (L', 4), class-optimised letter probabilities, or None.
      scale: how the score becomes a probability: a temperature and a shift, see `evaluation.calibration.Scale`.
    """

    label: str
    score: float
    saliency: np.ndarray
    forward: np.ndarray | None = None
    reverse: np.ndarray | None = None
    optimum: np.ndarray | None = None
    scale: tuple[float, float] = (1.0, 0.0)

    @property
    def temporal(self) -> tuple[tuple[str, np.ndarray | None], ...]:
        """The temporal scores by direction of reading."""
        return ('forward', self.forward), ('backward', self.reverse)

    @property
    def probability(self) -> float:
        """The score as a probability of binding."""
        return float(probability(self.score, *self.scale))


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceView:
    """One sequence and everything that its figure shows.

    Attributes:
      title: e.g. 'CTCF_K562_CTCF_Broad, test sequence 12'.
      letters: the sequence.
      bound: its label; None = not known.
      models: the results of each model.
      jaspar: (label, probabilities (w, 4)) of the TF's known motifs; empty if there are none.
      hits: where those motifs match; None = not scanned.
      sites: planted sites of a simulated sequence.
    """

    title: str
    letters: str
    bound: bool | None
    models: Sequence[ModelView]
    jaspar: Sequence[tuple[str, np.ndarray]] = ()
    hits: Sequence[Span] | None = None
    sites: Sequence[Span] = ()


def information_heights(probabilities: np.ndarray) -> np.ndarray:
    """Letter heights of a sequence logo, float (w, 4) in bits: probabilities times their column's information."""
    probabilities = np.asarray(probabilities, np.float64)
    return probabilities * information_content(probabilities)[:, None]


def printable(text: str, size: int) -> str:
    """A name for drawing: one line, at most `size` characters, without characters that the font does not have."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family=RC['font.family'])))
    line = ' '.join(''.join(letter if letter.isprintable() else ' ' for letter in text).split())
    return shorten(''.join(letter if font.get_char_index(ord(letter)) else '\ufffd' for letter in line), size)


def dashboard_figure(view: SequenceView) -> Any:
    """Figure 2 of the paper for one sequence: known motif, class optima, and how each model reads the sequence.

    From the top: logos of the TF's JASPAR motifs (at most three), the class-optimised sequence of each
    model, the sequence with JASPAR hits in pink boxes (and planted sites underlined), and per model its
    saliency as letter heights and as a strip and, where it has them, its temporal scores as strips.

    Args:
      view: see `SequenceView`; missing parts are left out, and a line of the figure says so.

    Returns:
      A matplotlib Figure, `WIDTH` inches wide.
    """
    import matplotlib
    from matplotlib.figure import Figure

    view = _cut(view)
    optima = [model for model in view.models if model.optimum is not None]
    heights = [0.62] + [0.42] * len(optima) + [0.30]
    for model in view.models:
        heights += [0.52, 0.13] + [0.13] * ((model.forward is not None) + (model.reverse is not None))
    gaps = [0.24] + [0.22] * len(optima) + [0.34]
    for model in view.models:
        n_strips = 1 + (model.forward is not None) + (model.reverse is not None)
        gaps += [0.03] * n_strips + [0.26]
    top, bottom = 0.42, 0.24
    total = top + sum(heights) + sum(gaps) + bottom
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(WIDTH, total), facecolor='white')
        rows = _Rows(figure, total, top)
        figure.text(
            0.012,
            1 - 0.16 / total,
            printable(view.title, 88),
            weight='bold',
            fontsize=8.5,
            va='center',
            parse_math=False,
        )
        label = {True: 'bound (label 1)', False: 'not bound (label 0)', None: ''}[view.bound]
        figure.text(0.988, 1 - 0.16 / total, label, color=plots.GREY, ha='right', va='center')
        _jaspar(rows, view, heights[0], gaps[0])
        for model, gap in zip(optima, gaps[1:], strict=False):
            axes = rows.add(0.42, gap)
            assert model.optimum is not None  # `optima` are those that have one
            _logo(axes, information_heights(model.optimum), 'bits')
            axes.set_title(f'class-optimised sequence, {model.label}', loc='left', pad=2)
            axes.set_xticks([])
        sequence = rows.add(0.30, 0.34)
        _sequence(sequence, view)
        for model in view.models:
            _model(rows, model, view.letters)
        _legend(figure, total, any(model.forward is not None for model in view.models), bool(view.sites))
    return figure


class _Rows:
    """Puts axes one below the other, measured in inches."""

    def __init__(self, figure: Any, total: float, top: float):
        self.figure, self.total, self.at = figure, total, top

    def add(self, height: float, gap: float, left: float = 0.115, width: float = 0.825) -> Any:
        axes = self.figure.add_axes((left, 1 - (self.at + height) / self.total, width, height / self.total))
        self.at += height + gap
        return axes


def _cut(view: SequenceView) -> SequenceView:
    """The view of the most salient part of a sequence that is too long to be drawn completely."""
    length = len(view.letters)
    if length <= MOST_LETTERS:
        return view
    weight = np.zeros(length)
    for model in view.models:
        weight += np.nan_to_num(model.saliency) / (np.nanmax(model.saliency) or 1)
    start = int(np.argmax(np.convolve(weight, np.ones(MOST_LETTERS), 'valid')))
    part = slice(start, start + MOST_LETTERS)

    def moved(spans: Sequence[Span]) -> list[Span]:
        shifted = [Span(max(s.start - start, 0), min(s.stop - start, MOST_LETTERS), s.name, s.strand) for s in spans]
        return [span for span in shifted if span.start < span.stop]

    models = [
        dataclasses.replace(
            model,
            saliency=model.saliency[part],
            forward=None if model.forward is None else model.forward[part],
            reverse=None if model.reverse is None else model.reverse[part],
        )
        for model in view.models
    ]
    title = f'{view.title}, positions {start + 1}-{start + MOST_LETTERS} of {length}'
    hits = None if view.hits is None else moved(view.hits)
    return dataclasses.replace(
        view, title=title, letters=view.letters[part], models=models, hits=hits, sites=moved(view.sites)
    )


def _logo(axes: Any, heights: np.ndarray, unit: str) -> None:
    """Draw a logo without the letters that are too small to see, which would only make the files large."""
    largest = np.abs(heights).sum(axis=1).max(initial=0)
    plots.letter_logo(axes, np.where(np.abs(heights) < 0.02 * largest, 0, heights), ylabel=unit)
    axes.yaxis.set_major_locator(_few_ticks())
    axes.yaxis.set_label_coords(-0.058 / axes.get_position().width, 0.5)
    axes.tick_params(axis='x', length=0)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(2, min_n_ticks=2)


def _jaspar(rows: _Rows, view: SequenceView, height: float, gap: float) -> None:
    shown = list(view.jaspar)[:3]
    if not shown:
        axes = rows.add(height, gap)
        axes.set_axis_off()
        axes.text(0, 0.5, 'No JASPAR motif of this TF.', transform=axes.transAxes, color=plots.GREY, va='center')
        return
    more = f'+ {len(view.jaspar) - 3} more' if len(view.jaspar) > 3 else ''
    left, at = 0.115, rows.at
    space = 0.825 - _LOGO_GAP * (len(shown) - 1) - (_LOGO_GAP + _text_width(more) if more else 0)
    widths = [max(0.12, len(matrix) * 0.0128) for _, matrix in shown]
    least = _text_width('JASPAR MA0000.0...')  # at least the id of each logo must be readable
    while sum(max(width, least) for width in widths) > space:
        widths = [width * 0.99 for width in widths]
    titles = [f'JASPAR {printable(label, 200)}' for label, _ in shown]
    places = _places([max(width, least) for width in widths], [_text_width(title) for title in titles], space)
    for (_, matrix), title, width, place in zip(shown, titles, widths, places, strict=True):
        rows.at = at
        axes = rows.add(height, gap, left, width)
        _logo(axes, information_heights(matrix), 'bits' if left < 0.12 else '')
        axes.set_ylim(0, 2)
        axes.set_title(_fitted(title, place), loc='left', pad=2, parse_math=False)
        axes.set_xticks([])
        left += place + _LOGO_GAP
    if more:
        rows.figure.text(left, 1 - (at + height / 2) / rows.total, more, color=plots.GREY, va='center')


def _text_width(text: str) -> float:
    """Width of a title as a share of the figure's."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(family=RC['font.family'], size=RC['axes.titlesize'])
    return TextToPath().get_text_width_height_descent(text, font, ismath=False)[0] / 72 / WIDTH


def _places(logos: Sequence[float], titles: Sequence[float], space: float) -> list[float]:
    """The width reserved for each logo: that of its title if this is wider, while there is space.

    If there is not enough space for all titles, the widest ones get less. The minimal widths `logos` must fit.
    """
    low, high = 0.0, max(titles)
    for _ in range(40):  # bisection of the widest title that fits
        most = (low + high) / 2
        fits = sum(max(logo, min(title, most)) for logo, title in zip(logos, titles, strict=True)) <= space
        low, high = (most, high) if fits else (low, most)
    most = high if sum(map(max, logos, titles)) <= space else low
    return [max(logo, min(title, most)) for logo, title in zip(logos, titles, strict=True)]


def _fitted(text: str, width: float) -> str:
    """A title shortened to a width, given as a share of the figure's width; a cut end becomes '...'."""
    if _text_width(text) <= width + 1e-6:
        return text
    size = len(text)
    while size and _text_width(f'{text[:size]}...') > width:
        size -= 1
    return f'{text[:size]}...'


def _sequence(axes: Any, view: SequenceView) -> None:
    """Draw the letters on one line: hits behind them, planted sites below."""
    from matplotlib.patches import Rectangle

    axes.set_xlim(-0.5, len(view.letters) - 0.5)
    axes.set_ylim(0, 1)
    for hit in view.hits or ():
        box = Rectangle(
            (hit.start - 0.5, 0.22), hit.stop - hit.start, 0.78, facecolor=plots.HIT_COLOUR, edgecolor='#C4457F', lw=0.6
        )
        box.set_gid('hit')
        axes.add_patch(box)
    for site in view.sites:
        axes.plot([site.start - 0.4, site.stop - 0.6], [0.1, 0.1], color='#1B1E24', lw=1.4, solid_capstyle='butt')
    size = min(7.0, 5.775 * 72 / max(len(view.letters), 1) / 0.66)
    for position, letter in enumerate(view.letters):
        axes.text(
            position,
            0.6,
            letter,
            ha='center',
            va='center',
            family='DejaVu Sans Mono',
            fontsize=size,
            weight='bold',
            color=plots.LETTER_COLOURS.get(letter, plots.GREY),
        )
    axes.set_yticks([])
    axes.spines['left'].set_visible(False)
    axes.spines['bottom'].set_visible(False)
    ticks = np.unique([0, *range(9, len(view.letters), 10)])
    axes.set_xticks(ticks, [str(tick + 1) for tick in ticks])
    found = 'not looked for' if view.hits is None else f'{len(view.hits)}' if view.hits else 'none'
    axes.set_title(f'sequence (JASPAR hits: {found})', loc='left', pad=3)


def _model(rows: _Rows, model: ModelView, letters: str) -> None:
    """Draw a model's saliency as letters and as a strip, and its temporal scores as strips."""
    axes = rows.add(0.52, 0.03)
    saliency = np.nan_to_num(np.asarray(model.saliency, np.float64))
    _logo(axes, saliency[:, None] * dna.one_hot(dna.encode(letters)), '|saliency|')
    scale = '' if tuple(model.scale) == (1.0, 0.0) else ' (calibrated)'
    title = f'{model.label}:  score {model.score:+.2f},  P(bound) {model.probability:.3f}{scale}'
    axes.set_title(title, loc='left', pad=2)
    axes.set_xticks([])
    strips = [('saliency', model.saliency, 'saliency')]
    strips += [(name, values, 'score') for name, values in model.temporal if values is not None]
    for number, (label, values, kind) in enumerate(strips):
        axes = rows.add(0.13, 0.03 if number < len(strips) - 1 else 0.26)
        plots.strip(axes, values, kind=kind, label=label)
        axes.set_xticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        largest = np.nanmax(np.abs(values), initial=0)
        sign = '\u00b1' if kind == 'score' else ''
        axes.text(
            1.006, 0.5, f'{sign}{largest:.2g}', transform=axes.transAxes, va='center', fontsize=5.5, color=plots.GREY
        )


def _legend(figure: Any, total: float, temporal: bool, sites: bool) -> None:
    """Draw a legend of one line: letters, boxes, and the meaning of the strips' colours."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=colour, label=letter) for letter, colour in plots.LETTER_COLOURS.items()]
    handles.append(Patch(facecolor=plots.HIT_COLOUR, edgecolor='#C4457F', lw=0.6, label='JASPAR hit'))
    if sites:
        handles.append(Line2D([], [], color='#1B1E24', lw=1.4, label='planted site'))
    figure.legend(
        handles=handles,
        loc='lower left',
        bbox_to_anchor=(0.105, 0.01 / total),
        ncols=len(handles),
        frameon=False,
        handlelength=0.9,
        handleheight=0.9,
        columnspacing=1.0,
        handletextpad=0.4,
        borderpad=0.2,
    )
    bars = [('saliency', 0.655, ('0', 'max'))]
    if temporal:
        bars.append(('score', 0.825, ('\u2212', '+')))
    for kind, left, ends in bars:
        axes = figure.add_axes((left, 0.13 / total, 0.055, 0.09 / total))
        plots.strip(axes, np.linspace(0 if kind == 'saliency' else -1, 1, 64), kind=kind)
        axes.set_xticks([])
        axes.set_axis_off()
        axes.text(-0.06, 0.5, ends[0], transform=axes.transAxes, ha='right', va='center', fontsize=6)
        name = '|saliency|' if kind == 'saliency' else 'score so far'
        axes.text(1.06, 0.5, f'{ends[1]}  {name}', transform=axes.transAxes, va='center', fontsize=6)
        axes.set_label(f'legend {kind}')
