"""What the figures of experiments share (edge: draws)."""

from typing import Any

import numpy as np

#: Colours of curves and points, distinguishable without red and green (Okabe and Ito 2008).
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7')
MOST_LABELS = 60  # beyond which rows of a picture have no names


def axes(width: float, height: float, n_rows: int = 1) -> tuple[Any, list[Any]]:
    """A figure that needs no display, and its axes from top to bottom; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout='constrained')
    return figure, list(figure.subplots(n_rows, 1, squeeze=False)[:, 0])


def intervals(ax: Any, names: list[str], mean: np.ndarray, low: np.ndarray, high: np.ndarray, *, label: str) -> None:
    """A row per name: a point and its interval."""
    rows = np.arange(len(names))
    ax.hlines(rows, low, high, color=COLOURS[0])
    ax.plot(mean, rows, 'o', color=COLOURS[0], markersize=4)
    ax.axvline(0, color='#5F6670', linewidth=0.5)
    ax.set_yticks(rows, names, parse_math=False)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(label)
    ax.spines[['top', 'right']].set_visible(False)


def clustered(ax: Any, values: np.ndarray, rows: list[str], columns: list[str], *, label: str) -> None:
    """A picture of values (R, C), red above and blue below 0, with similar rows and columns side by side."""
    down, across = similar_order(values), similar_order(values.T)
    most = np.abs(values).max() or 1.0
    image = ax.imshow(
        values[down][:, across], cmap='RdBu_r', vmin=-most, vmax=most, aspect='auto', interpolation='nearest'
    )
    for names, order, put, turn in ((rows, down, ax.set_yticks, 0), (columns, across, ax.set_xticks, 90)):
        few = len(names) <= MOST_LABELS
        places = np.arange(len(names) if few else 0)
        put(places, [names[at] for at in order] if few else [], rotation=turn, fontsize=6, parse_math=False)
    ax.figure.colorbar(image, ax=ax, label=label)


def similar_order(values: np.ndarray) -> np.ndarray:
    """An order of the rows of values (R, C) in which similar ones are neighbours (average linkage, ordered leaves)."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    if len(values) < 3:
        return np.arange(len(values))
    return leaves_list(linkage(values, 'average', optimal_ordering=len(values) <= 500))
