"""Figure 1: drawings of the architectures, with all sizes taken from their layers (edge)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from demo_jax.nn.architecture import AnyArchitecture, name_of, parameter_shapes
from demo_jax.nn.models import ModelSpec

# Okabe and Ito's colours, light enough for black text.
_COLOURS = {
    'input': '#D9D9D9',
    'convolution': '#8EC3E6',
    'pool': '#CFE6F5',
    'lstm': '#F3B183',
    'summary': '#A8D8C4',
    'dense': '#F0E59A',
}
_OTHER = '#E3D5EF'  # for all other kinds of layers
_EDGE, _TEXT = '#4A4F57', '#1F2328'
_PER_ROW = 3
_GAP = 0.62  # between two layers, in units of the drawing: room for the operation's name


class Drawn(NamedTuple):
    """One layer and its output.

    Attributes:
      kind: 'input', the kind of the layer ('convolution', 'pool', 'lstm', 'summary', 'dense', ...), or 'own'.
      operation: what the layer does, e.g. 'convolution 9 x 64, ReLU'.
      positions: L', rows of its output; 1 after the summary over positions.
      channels: columns of its output, per direction for LSTMs.
      copies: 2 if there is an output per direction (LSTMs) or per strand (DeepBind), else 1.
    """

    kind: str
    operation: str
    positions: int
    channels: int
    copies: int = 1


def drawn_layers(spec: AnyArchitecture, length: int = 101) -> list[Drawn]:
    """The layers of an architecture, first to last, for sequences of `length` bp.

    An `Architecture` of the user is drawn as one layer, with the number of its parameters.

    Raises:
      ValueError: sequences are shorter than the architecture can read.
    """
    if not isinstance(spec, ModelSpec):
        count = sum(leaf.size for leaf in jax.tree.leaves(parameter_shapes(spec)))
        return [Drawn('input', 'one-hot letters', length, 4), Drawn('own', f'{count:,} parameters', 1, 1)]
    sizes = spec.sizes(length)
    strands = 2 if spec.both_strands else 1
    drawn = [Drawn('input', f'one-hot letters{", both strands" * (strands > 1)}', length, 4, strands)]
    return drawn + [
        Drawn(layer.kind, layer.label(size), *size)
        for layer, size in zip(spec.layers, sizes[1:], strict=True)
        if layer.kind
    ]


def architecture_figure(specs: Sequence[AnyArchitecture], *, length: int = 101, width: float = 7.0) -> Any:
    """One column per architecture, from the letters at the top to the probability at the bottom, as in Figure 1.

    Each array is a bar: its width is the number of positions, its height grows with the number of channels, and its
    text is 'positions x channels'.

    Args:
      specs: the architectures, e.g. the three best.
      length: bp of the sequences.
      width: of the figure, in inches.

    Returns:
      A matplotlib Figure.
    """
    from matplotlib.figure import Figure

    columns = [drawn_layers(spec, length) for spec in specs]
    grid = [columns[start : start + _PER_ROW] for start in range(0, len(columns), _PER_ROW)]
    depths = [max(sum(_height(layer) + _GAP for layer in column) for column in row) for row in grid]
    figure = Figure(figsize=(width, 0.4 * len(grid) + 0.6 * sum(depths)))
    n_columns = min(len(specs), _PER_ROW)
    axes = figure.subplots(
        len(grid),
        n_columns,
        squeeze=False,
        gridspec_kw={
            'height_ratios': depths,
            'left': 0.01,
            'right': 0.99,
            'top': 0.96,
            'bottom': 0.01,
            'hspace': 0.08,
            'wspace': 0.02,
        },
    ).ravel()
    widest = max(layer.positions for column in columns for layer in column)
    for number, ax in enumerate(axes):
        ax.axis('off')
        if number < len(specs):
            _draw(ax, columns[number], widest, depths[number // _PER_ROW])
            ax.set_title(f'({"abcdefghijklmnop"[number]}) {label(specs[number])}', fontsize=9, color=_TEXT)
    return figure


def label(spec: AnyArchitecture) -> str:
    """The label of an architecture in figures: 'medium CNN-RNN', 'DeepBind', or the name of a user's architecture."""
    if not isinstance(spec, ModelSpec) or spec.own_layers:
        return name_of(spec.name)
    size = spec.name.split('_')[0]
    return f'{size} {spec.kind}' if size in ('small', 'medium', 'large') else spec.kind


def _height(layer: Drawn) -> float:
    return 0.3 + 0.07 * float(np.log2(layer.channels))


def _draw(ax: Any, column: Sequence[Drawn], widest: int, depth: float) -> None:
    from matplotlib.patches import FancyArrowPatch, Rectangle

    ax.set_xlim(-0.75, 0.75)
    ax.set_ylim(depth, -0.05)
    top = 0.0
    for number, layer in enumerate(column):
        height = _height(layer)
        if number:
            ends = (0, top - _GAP + 0.04), (0, top - 0.04)
            ax.add_patch(FancyArrowPatch(*ends, arrowstyle='-|>', mutation_scale=7, color=_EDGE, linewidth=0.8))
            ax.text(
                0.05,
                top - _GAP / 2,
                layer.operation.replace(', ', ',\n'),
                fontsize=6.5,
                color=_TEXT,
                ha='left',
                va='center',
                linespacing=1.05,
            )
        for copy in range(layer.copies):
            text = f'{layer.positions} x {layer.channels}' if layer.positions > 1 else f'{layer.channels}'
            if layer.kind == 'lstm':
                text = f'{text} {"→" if copy == 0 else "←"}'
            # Two copies share the space of one; no bar is narrower than its text.
            size = max(layer.positions / widest / (1.6 if layer.copies > 1 else 1), 0.056 * len(text) + 0.03)
            left = -size / 2 if layer.copies == 1 else (-size - 0.012, 0.012)[copy]
            colour = _COLOURS.get(layer.kind, _OTHER)
            ax.add_patch(Rectangle((left, top), size, height, facecolor=colour, edgecolor=_EDGE, linewidth=0.7))
            ax.text(left + size / 2, top + height / 2, text, fontsize=6.5, color=_TEXT, ha='center', va='center')
        top += height + _GAP
    ax.text(0, top - _GAP + 0.22, 'P(unbound), P(bound)', fontsize=6.5, color=_TEXT, ha='center', va='center')
