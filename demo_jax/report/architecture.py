"""Figure 1: drawings of the architectures, every size read off their `ModelSpec` (edge)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from demo_jax.nn.layers import Layer, layers
from demo_jax.nn.models import ModelSpec

# Okabe and Ito's colours, light enough for black text.
_COLOURS = {
    'input': '#D9D9D9', 'convolution': '#8EC3E6', 'pool': '#CFE6F5', 'lstm': '#F3B183', 'summary': '#A8D8C4',
    'dense': '#F0E59A',
}  # fmt: skip
_EDGE, _TEXT = '#4A4F57', '#1F2328'
_PER_ROW = 3
_GAP = 0.62  # between two layers, in units of the drawing: room for the operation's name


def architecture_figure(specs: Sequence[ModelSpec], *, length: int = 101, width: float = 7.0) -> Any:
    """A column per architecture, from the letters on top to the probability at the bottom, as the paper's Figure 1.

    Each array is a bar: as wide as it has positions, higher with more channels, with 'positions x channels' in it.

    Args:
      specs: the architectures, e.g. the three best.
      length: bp of the sequences.
      width: of the figure, in inches.

    Returns:
      A matplotlib Figure.
    """
    from matplotlib.figure import Figure

    columns = [layers(spec, length) for spec in specs]
    grid = [columns[start : start + _PER_ROW] for start in range(0, len(columns), _PER_ROW)]
    depths = [max(sum(_height(layer) + _GAP for layer in column) for column in row) for row in grid]
    figure = Figure(figsize=(width, 0.4 * len(grid) + 0.6 * sum(depths)))
    n_columns = min(len(specs), _PER_ROW)
    axes = figure.subplots(
        len(grid), n_columns, squeeze=False,
        gridspec_kw={'height_ratios': depths, 'left': 0.01, 'right': 0.99, 'top': 0.96, 'bottom': 0.01, 'hspace': 0.08,
                     'wspace': 0.02},
    ).ravel()  # fmt: skip
    widest = max(layer.positions for column in columns for layer in column)
    for number, ax in enumerate(axes):
        ax.axis('off')
        if number < len(specs):
            _draw(ax, columns[number], widest, depths[number // _PER_ROW])
            ax.set_title(f'({"abcdefghijklmnop"[number]}) {label(specs[number])}', fontsize=9, color=_TEXT)
    return figure


def label(spec: ModelSpec) -> str:
    """How figures call an architecture: 'medium CNN-RNN', 'DeepBind'."""
    size = spec.name.split('_')[0]
    return f'{size} {spec.kind}' if size in ('small', 'medium', 'large') else spec.kind


def _height(layer: Layer) -> float:
    return 0.3 + 0.07 * float(np.log2(layer.channels))


def _draw(ax: Any, column: Sequence[Layer], widest: int, depth: float) -> None:
    from matplotlib.patches import FancyArrowPatch, Rectangle

    ax.set_xlim(-0.75, 0.75)
    ax.set_ylim(depth, -0.05)
    top = 0.0
    for number, layer in enumerate(column):
        height = _height(layer)
        if number:
            ends = (0, top - _GAP + 0.04), (0, top - 0.04)
            ax.add_patch(FancyArrowPatch(*ends, arrowstyle='-|>', mutation_scale=7, color=_EDGE, linewidth=0.8))
            ax.text(0.05, top - _GAP / 2, layer.operation.replace(', ', ',\n'), fontsize=6.5, color=_TEXT, ha='left',
                    va='center', linespacing=1.05)  # fmt: skip
        for copy in range(layer.copies):
            text = f'{layer.positions} x {layer.channels}' if layer.positions > 1 else f'{layer.channels}'
            if layer.kind == 'lstm':
                text = f'{text} {"→" if copy == 0 else "←"}'
            # Two copies share the room of one; no bar is narrower than its text.
            size = max(layer.positions / widest / (1.6 if layer.copies > 1 else 1), 0.056 * len(text) + 0.03)
            left = -size / 2 if layer.copies == 1 else (-size - 0.012, 0.012)[copy]
            ax.add_patch(Rectangle((left, top), size, height, facecolor=_COLOURS[layer.kind], edgecolor=_EDGE,
                                   linewidth=0.7))  # fmt: skip
            ax.text(left + size / 2, top + height / 2, text, fontsize=6.5, color=_TEXT, ha='center', va='center')
        top += height + _GAP
    ax.text(0, top - _GAP + 0.22, 'P(unbound), P(bound)', fontsize=6.5, color=_TEXT, ha='center', va='center')
