"""Figures over all tasks of a run (edge: matplotlib, but no display; no files).

Every function takes plain arrays and returns a matplotlib Figure of the width of a printed page. The position of a spec
in the given order decides its colour and marker, so these are the same in all figures.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec

import numpy as np

from demo_jax.evaluation import calibration
from demo_jax.nn.architecture import name_of
from demo_jax.nn.deepbind import PUBLISHED
from demo_jax.report import plots
from demo_jax.report.figures_sequence import RC, WIDTH

#: Okabe and Ito's colours in an order in which neighbours differ in lightness, and a marker for each.
COLOURS = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00', '#4D4D4D')
MARKERS = 'osD^vPX<'  # one more than the colours, so that the combinations differ beyond seven specs
_GRID = '#E4E6EA'
_LEGEND_COLUMNS = 5
_P = ParamSpec('_P')


def _styled(draw: Callable[_P, Any]) -> Callable[_P, Any]:
    """Decorator: draw with the fonts and line widths of this project."""

    @functools.wraps(draw)
    def drawn(*args: _P.args, **kwargs: _P.kwargs) -> Any:
        import matplotlib

        with matplotlib.rc_context(RC):
            return draw(*args, **kwargs)

    return drawn


def spec_label(spec: str) -> str:
    """A spec's name as text: 'medium_cnn_rnn' -> 'medium CNN-RNN', 'my_models:dilated' -> 'dilated'."""
    if spec == PUBLISHED:
        return 'DeepBind’s models'
    if ':' in spec:
        return name_of(spec)
    written = {'rnn': 'RNN', 'cnn': 'CNN', 'deepbind': 'DeepBind', 'em': 'EM', 'meme': 'MEME', 'chip': 'ChIP'}
    words = ' '.join(written.get(word, word) for word in spec.split('_'))
    return words.replace('CNN RNN', 'CNN-RNN').replace('MEME ChIP', 'MEME-ChIP')


@_styled
def published_scatter(
    ours: Mapping[str, np.ndarray], published: np.ndarray, *, baseline: str = 'DeepBind (published)'
) -> Any:
    """Test AUROC of every task against the published value; above the diagonal, ours is higher.

    Args:
      ours: spec -> float (K,) AUROCs by task, NaN if there is none.
      published: float (K,), NaN if there is none.
      baseline: name of the published method.
    """
    figure, axes = _figure(4.6, 4.4)
    published = np.asarray(published, np.float64)
    for number, (spec, values) in enumerate(ours.items()):
        both = np.isfinite(values) & np.isfinite(published)
        better = int((np.asarray(values)[both] > published[both]).sum())
        axes.scatter(
            published[both],
            np.asarray(values)[both],
            s=16,
            color=_colour(number),
            marker=_marker(number),
            alpha=0.75,
            linewidths=0.3,
            edgecolors='white',
            label=f'{spec_label(spec)} (better on {better} of {int(both.sum())})',
        )
    _square(axes, [published, *ours.values()])
    axes.set_xlabel(f'test AUROC, {baseline}')
    axes.set_ylabel('test AUROC, ours')
    axes.set_title('AUROC per task', loc='left', weight='bold')
    axes.legend(loc='lower right', frameon=False)
    return figure


@_styled
def table2_violins(ours: Mapping[str, np.ndarray], *, published: Mapping[str, float] | None = None) -> Any:
    """The spread of test AUROC over tasks behind Table 2: violin, quartiles, and every task as a point.

    Args:
      ours: spec -> float (K,) AUROCs by task, NaN where there is none.
      published: spec -> the paper's mean, drawn as a diamond; none by default.
    """
    figure, axes = _figure(WIDTH, 0.5 * len(ours) + 1.3)
    columns = {spec: np.asarray(values)[np.isfinite(values)] for spec, values in ours.items()}
    for number, (spec, values) in enumerate(columns.items()):
        if not len(values):
            continue
        if len(values) > 2 and np.ptp(values) > 0:
            body = axes.violinplot([values], [number], orientation='horizontal', widths=0.8, showextrema=False)
            for part in body['bodies']:
                part.set(facecolor=_colour(number), alpha=0.22, linewidth=0)
        # The rank of a point decides its horizontal offset, so that the figure is reproducible.
        shift = (np.arange(len(values)) * 0.618 % 1 - 0.5) * 0.34
        axes.scatter(values, number + shift, s=7, color=_colour(number), alpha=0.8, linewidths=0)
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        axes.plot([low, high], [number, number], color='#1B1E24', lw=2.2, solid_capstyle='butt')
        axes.plot([middle, middle], [number - 0.2, number + 0.2], color='#1B1E24', lw=1.6)
        axes.text(
            1.012,
            number,
            f'mean {values.mean():.3f}\nmedian {middle:.3f}',
            va='center',
            fontsize=6.5,
            transform=axes.get_yaxis_transform(),
        )
        if published and spec in published:
            axes.scatter(
                published[spec],
                number + 0.3,
                marker='d',
                s=26,
                facecolor='white',
                edgecolor='#1B1E24',
                zorder=3,
                linewidths=0.9,
            )
    axes.set_yticks(range(len(columns)), [spec_label(spec) for spec in columns])
    axes.set_ylim(len(columns) - 0.45, -0.55)
    axes.set_xlabel('test AUROC')
    axes.xaxis.grid(True, color=_GRID, lw=0.6)
    axes.set_axisbelow(True)
    axes.set_title('Test AUROC over tasks (bar: quartiles, tick: median)', loc='left', weight='bold')
    if published and any(spec in published for spec in columns):
        label = "the paper's mean over its 108 tasks"
        axes.scatter([], [], marker='d', s=26, facecolor='white', edgecolor='#1B1E24', label=label)
        axes.legend(loc='lower left', frameon=False)
    return figure


@_styled
def pairwise_scatter(ours: Mapping[str, np.ndarray], *, shown: Sequence[str] | None = None, most: int = 4) -> Any:
    """Every spec against every other, one point per task, with the number of tasks in which each is better.

    Args:
      ours: spec -> float (K,) AUROCs by task, NaN where there is none.
      shown: the specs to draw, in this order; default: all.
      most: the maximal number of specs, so that panels stay readable.
    """
    from matplotlib.figure import Figure

    names = list(ours if shown is None else shown)[:most]
    place = list(ours).index
    side = max(len(names) - 1, 1)
    panel = min(2.4, WIDTH / side)
    figure = Figure(figsize=(panel * side + 0.3, panel * side + 0.4), facecolor='white', layout='constrained')
    grid = figure.subplots(side, side, squeeze=False)
    for row in range(side):
        for column in range(side):
            axes = grid[row, column]
            if column > row or len(names) < 2:
                axes.set_axis_off()
                continue
            x, y = np.asarray(ours[names[column]]), np.asarray(ours[names[row + 1]])
            both = np.isfinite(x) & np.isfinite(y)
            x, y = x[both], y[both]
            number = place(names[row + 1])
            axes.scatter(x, y, s=10, color=_colour(number), marker=_marker(number), alpha=0.75, linewidths=0)
            _square(axes, [x, y])
            axes.set_title(f'above {int((y > x).sum())}, below {int((x > y).sum())} of {len(x)}', loc='left', pad=3)
            axes.set_xlabel(spec_label(names[column]) if row == side - 1 else '')
            axes.set_ylabel(spec_label(names[row + 1]) if column == 0 else '')
    figure.suptitle('Test AUROC per task', x=0.01, ha='left', weight='bold')
    return figure


@_styled
def training_curves(history: Mapping[str, Mapping[str, np.ndarray]]) -> Any:
    """Loss and validation AUROC by epoch: median over jobs, and their middle half as a band.

    After the last epoch of a job its last value is used; otherwise the curves would jump when some tasks end earlier.

    Args:
      history: spec -> measure -> float (jobs, E), NaN after a job's last epoch; the measures are
        'train_loss', 'valid_loss' (nats) and 'valid_auroc'.
    """
    from matplotlib.figure import Figure

    rows = -(-len(history) // _LEGEND_COLUMNS)
    figure = Figure(figsize=(WIDTH, 2.6 + 0.2 * rows), facecolor='white', layout='constrained')
    panels = figure.subplots(1, 3)
    titles = {
        'train_loss': 'training loss (nats)',
        'valid_loss': 'validation loss (nats)',
        'valid_auroc': 'validation AUROC',
    }
    for axes, (measure, title) in zip(panels, titles.items(), strict=True):
        for number, (spec, measures) in enumerate(history.items()):
            values = np.asarray(measures[measure], np.float64)
            values = _held(np.where(np.isfinite(values), values, np.nan))
            kept = ~np.isnan(values).all(axis=0)
            if not kept.any():
                continue
            epochs = np.arange(1, values.shape[1] + 1)[kept]
            low, middle, high = np.nanquantile(values[:, kept], (0.25, 0.5, 0.75), axis=0)
            axes.fill_between(epochs, low, high, color=_colour(number), alpha=0.15, linewidth=0)
            axes.plot(
                epochs,
                middle,
                color=_colour(number),
                lw=1.4,
                label=spec_label(spec),
                marker=_marker(number),
                markevery=[-1],
                ms=4,
            )
        axes.set_xlabel('epoch')
        axes.set_title(title, loc='left')
        axes.grid(True, color=_GRID, lw=0.6)
    # The legend is below the panels: bands and curves leave no corner free.
    figure.legend(
        *panels[-1].get_legend_handles_labels(), loc='outside lower center', ncols=_LEGEND_COLUMNS, frameon=False
    )
    return figure


@_styled
def reliability(points: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], *, calibrated: bool) -> Any:
    """What probabilities of test sequences come to: the share that binds, in bins of equally many sequences.

    Args:
      points: spec -> 'before' and 'after' calibration -> labels and probabilities, float (N,), of the
        test sequences of all tasks.
      calibrated: whether any model is; without, one panel is drawn.
    """
    from matplotlib.figure import Figure

    titles = {'before': 'sigmoids of the scores'} | ({'after': 'calibrated'} if calibrated else {})
    size = (WIDTH * (0.66 if calibrated else 0.36), 2.8)
    figure = Figure(figsize=size, facecolor='white', layout='constrained')
    panels = figure.subplots(1, len(titles), squeeze=False)[0]
    for axes, (which, title) in zip(panels, titles.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=_GRID, lw=1.0)
        for number, (spec, found) in enumerate(points.items()):
            bins = calibration.reliability(*found[which])
            axes.plot(
                bins.predicted,
                bins.observed,
                color=_colour(number),
                lw=1.4,
                marker=_marker(number),
                ms=4,
                label=f'{spec_label(spec)}, error {calibration.calibration_error(*found[which]):.3f}',
            )
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect='equal', xlabel='probability of binding', ylabel='share that binds')
        axes.set_title(title, loc='left')
        axes.grid(True, color=_GRID, lw=0.6)
        axes.legend(loc='lower right', frameon=False, fontsize='x-small', handlelength=1.2)
    return figure


def _held(values: np.ndarray) -> np.ndarray:
    """Fill the gaps of each row, and the epochs after its end, with the value before: (jobs, E)."""
    known = np.where(np.isnan(values), -1, np.arange(values.shape[1]))
    last = np.maximum.accumulate(known, axis=1)
    return np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=1), np.nan)


@_styled
def position_profile(saliency: Mapping[str, np.ndarray], sites: np.ndarray | None = None) -> Any:
    """The mean saliency of positive sequences by position, and the positions of the true sites.

    Args:
      saliency: spec -> float (L,), mean over sequences of |saliency| divided by its sum over the sequence.
      sites: float (L,), share of sequences in which a true site covers the position; None = not known.
    """
    figure, axes = _figure(WIDTH, 2.8)
    handles = []
    if sites is not None:
        right = axes.twinx()
        right.fill_between(
            np.arange(1, len(sites) + 1), sites, color=plots.HIT_COLOUR, alpha=0.55, linewidth=0, label='planted sites'
        )
        right.set_ylabel('share of sequences with a planted site')
        right.set_ylim(0, None)
        right.spines['right'].set_visible(True)
        axes.set_zorder(right.get_zorder() + 1)
        axes.patch.set_visible(False)
        handles = list(right.get_legend_handles_labels()[0])
    for number, (spec, values) in enumerate(saliency.items()):
        (line,) = axes.plot(
            np.arange(1, len(values) + 1),
            values,
            color=_colour(number),
            lw=1.4,
            marker=_marker(number),
            ms=3.5,
            markevery=max(len(values) // 8, 1),
            label=spec_label(spec),
        )
        handles.append(line)
    axes.set_ylim(0, None)
    axes.set_xlabel('position in the sequence (bp)')
    axes.set_ylabel("mean share of a sequence's |saliency|")
    axes.set_title('Where the models look', loc='left', weight='bold')
    axes.legend(handles=handles, loc='upper right', frameon=False)
    return figure


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor='white', layout='constrained')
    return figure, figure.subplots()


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _marker(number: int) -> str:
    return MARKERS[number % len(MARKERS)]


def _square(axes: Any, columns: Sequence[np.ndarray]) -> None:
    """Equal axes around all values, with the diagonal."""
    values = np.concatenate([np.ravel(column) for column in columns])
    values = values[np.isfinite(values)]
    low = min(0.95, np.floor(values.min(initial=0.95) * 20 - 0.2) / 20)
    axes.plot([low, 1], [low, 1], color='#9AA0A8', lw=0.8, zorder=0)
    axes.set(xlim=(low, 1.005), ylim=(low, 1.005), aspect='equal')
    axes.grid(True, color=_GRID, lw=0.6)
    axes.set_axisbelow(True)
