"""Letters and strips: what every figure of a sequence is made of (edge: matplotlib, but no display)."""

import functools
from typing import Any

import numpy as np

#: Okabe and Ito's colours, which colour-blind readers can distinguish; the hues are the usual ones of logos.
LETTER_COLOURS = {'A': '#009E73', 'C': '#0072B2', 'G': '#E69F00', 'T': '#D55E00'}
#: The colour of a base without a letter colour (N), of axes and of small print.
GREY = '#5F6670'
#: Low, middle and high of the two kinds of strips.
STRIP_COLOURS = {'saliency': ('#FFFFFF', '#F4A582', '#B2182B'), 'score': ('#2166AC', '#FFFFFF', '#B2182B')}
#: The background of letters that known motifs cover.
HIT_COLOUR = '#F7B6D2'
_BLANK = '#DDDFE3'
_LETTER_WIDTH = 0.95
_SHADE_BELOW = 0.35  # letters below the line are darker


def letter_logo(ax: Any, heights: np.ndarray, *, ylabel: str = '') -> None:
    """Draw letters with heights equal to their values: positive ones stack upwards (smallest first), negative down.

    The layout is that of logomaker's `Logo` (a test compares the two). All copies of a letter are one path, which is
    about thirty times faster: a dashboard has thousands of letters.

    Args:
      ax: matplotlib axes.
      heights: float (L, 4), columns A C G T, e.g. bits or contributions; 0 and NaN draw nothing.
      ylabel: what the heights are, with their unit, e.g. 'bits'.

    Raises:
      ValueError: other than four columns.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.patches import PathPatch

    heights = np.nan_to_num(np.asarray(heights, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if heights.ndim != 2 or heights.shape[1] != 4:
        raise ValueError(f'heights have shape {heights.shape}, expected (L, 4)')
    for letter, boxes in enumerate(_letter_boxes(heights)):
        for sign, shade in ((1, 1.0), (-1, 1 - _SHADE_BELOW)):
            position, low, high = boxes[boxes[:, 3] == sign, :3].T
            if not len(position):
                continue
            colour = shade * np.array(to_rgb(LETTER_COLOURS['ACGT'[letter]]))
            path = _stretched('ACGT'[letter], position - _LETTER_WIDTH / 2, low, _LETTER_WIDTH, high - low)
            patch = PathPatch(path, facecolor=colour, linewidth=0)
            patch.set_gid(f'{"ACGT"[letter]}{"+" if sign > 0 else "-"}')
            patch.set_clip_path(ax.patch)
            ax.add_artist(patch)
    ax.axhline(0, color='#1B1E24', linewidth=0.5)
    low, high = np.minimum(heights, 0).sum(1).min(initial=0), np.maximum(heights, 0).sum(1).max(initial=0)
    margin = 0.03 * (high - low or 1)
    ax.set_ylim(low - (margin if low < 0 else 0), high + margin)
    ax.set_xlim(-0.5, max(len(heights), 1) - 0.5)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_ylabel(ylabel)


def _letter_boxes(heights: np.ndarray) -> list[np.ndarray]:
    """For each letter its boxes: float (n, 4) of position, bottom, top, and sign of the height."""
    order = np.argsort(heights, axis=1, kind='stable')
    stacked = np.take_along_axis(heights, order, axis=1)
    above = np.cumsum(np.maximum(stacked, 0), axis=1)
    # Below the line the most negative letter is lowest, so these letters stack from the line in reverse order.
    below = np.cumsum(np.minimum(stacked, 0)[:, ::-1], axis=1)[:, ::-1]
    bottom = np.where(stacked > 0, above - stacked, below)
    boxes = np.stack(
        [
            np.broadcast_to(np.arange(len(heights))[:, None], stacked.shape),
            bottom,
            bottom + np.abs(stacked),
            np.sign(stacked),
        ],
        axis=-1,
    )
    return [boxes[(order == letter) & (stacked != 0)] for letter in range(4)]


@functools.cache
def _outline(letter: str) -> Any:
    """A letter's outline, stretched to fill the box from (0, 0) to (1, 1)."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.path import Path
    from matplotlib.textpath import TextPath

    path = TextPath((0, 0), letter, size=1, prop=FontProperties(family='DejaVu Sans', weight='bold'))
    extent = path.get_extents()
    return Path((path.vertices - extent.min) / extent.size, path.codes)


def _stretched(letter: str, left: np.ndarray, bottom: np.ndarray, width: float, height: np.ndarray) -> Any:
    """One path of many copies of a letter, each in its own box."""
    from matplotlib.path import Path

    outline = _outline(letter)
    vertices = outline.vertices[None] * np.stack([np.full_like(height, width), height], axis=-1)[:, None]
    vertices = vertices + np.stack([left, bottom], axis=-1)[:, None]
    return Path(vertices.reshape(-1, 2), np.tile(outline.codes, len(height)))


def strip(ax: Any, values: np.ndarray, *, kind: str, label: str = '') -> Any:
    """Draw one coloured cell per position.

    Args:
      ax: matplotlib axes.
      values: float (L,); NaN is grey.
      kind: 'saliency' (white at 0 to red) or 'score' (blue below zero, white at zero, red above).
      label: written to the left.

    Returns:
      The matplotlib image.

    Raises:
      ValueError: another kind.
    """
    from matplotlib.colors import LinearSegmentedColormap

    if kind not in STRIP_COLOURS:
        raise ValueError(f'kind is {kind!r}, expected one of {", ".join(STRIP_COLOURS)}')
    values = np.asarray(values, np.float64)
    size = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    colours = LinearSegmentedColormap.from_list(kind, STRIP_COLOURS[kind]).with_extremes(bad=_BLANK)
    image = ax.imshow(
        np.ma.masked_invalid(values)[None],
        cmap=colours,
        vmin=0 if kind == 'saliency' else -size,
        vmax=size,
        aspect='auto',
        interpolation='nearest',
        extent=(-0.5, len(values) - 0.5, 0, 1),
    )
    ax.set_yticks([])
    ax.set_ylabel(label, rotation=0, ha='right', va='center')
    return image
