"""The motifs that the stage `discover` found in a task, a row each (edge: matplotlib, but no display; no files)."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demo_jax.explain.attribution import ATTRIBUTIONS
from demo_jax.report import plots
from demo_jax.report.figures_overview import spec_label
from demo_jax.report.figures_sequence import RC, WIDTH, information_heights, printable

#: More motifs than these would need a second page; the figure says how many there are.
MOST_MOTIFS = 8
#: Inches: a motif, the two logos of its middle, the gap between them, and what stands above and below all.
_ROW, _LOGO, _GAP, _TOP, _BOTTOM = 1.1, 0.36, 0.08, 0.5, 0.2
#: Left end and width of each column, as shares of the figure's width.
_COLUMNS = {'text': (0.012, 0.25), 'contributions': (0.31, 0.22), 'letters': (0.58, 0.22), 'profile': (0.85, 0.135)}
#: Logos of fewer letters are not stretched further.
_LEAST_LETTERS = 12


def found_figure(task: str, motifs: Sequence[Mapping[str, Any]], targets: Mapping[str, Mapping[str, Any]]) -> Any:
    """The motifs of a task for print, as the page lists them: one row per motif.

    From the left: its match in JASPAR, its sites and its share of the score; the mean contribution of each letter; the
    JASPAR matrix (above) and the letters of the sites, aligned as by Tomtom, in bits; and the sites by position.

    Args:
      task: name of the task.
      motifs: entries of `found_payload.found_payload`, at least one; `MOST_MOTIFS` of them are drawn, the
        first of each architecture before the second of any.
      targets: the JASPAR matrices that they match, id -> 'name' and 'matrix'.

    Returns:
      A matplotlib Figure, `WIDTH` inches wide.
    """
    import matplotlib
    from matplotlib.figure import Figure

    shown = _fitting(motifs)
    total = _TOP + _ROW * len(shown) + _BOTTOM
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(WIDTH, total), facecolor='white')
        title = printable(f'Motifs found, {task}', 88)
        figure.text(0.012, 1 - 0.14 / total, title, weight='bold', fontsize=8.5, va='center', parse_math=False)
        if len(motifs) > len(shown):
            more = f'{len(shown)} of {len(motifs)}'
            figure.text(0.988, 1 - 0.14 / total, more, color=plots.GREY, ha='right', va='center')
        heads = {'contributions': 'mean contribution', 'letters': 'JASPAR above sites (bits)', 'profile': 'positions'}
        for column, head in heads.items():
            figure.text(_COLUMNS[column][0], 1 - 0.38 / total, head, color=plots.GREY, va='center')
        for number, motif in enumerate(shown):
            match = motif['match']
            _row(figure, total, _TOP + _ROW * number, motif, targets[match['target']] if match else None)
    return figure


def _fitting(motifs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """As many motifs as fit, in their order: the first of each architecture, then the second, ..."""
    number: collections.Counter[str] = collections.Counter()
    ranks = []
    for place, motif in enumerate(motifs):
        ranks.append((number[motif['spec']], place))
        number[motif['spec']] += 1
    return [motifs[place] for place in sorted(place for _, place in sorted(ranks)[:MOST_MOTIFS])]


def _row(figure: Any, total: float, at: float, motif: Mapping[str, Any], target: Mapping[str, Any] | None) -> None:
    """One motif, `at` inches below the top; its target is None where it matches nothing."""

    def axes(column: str, below: float, height: float) -> Any:
        left, width = _COLUMNS[column]
        return figure.add_axes((left, 1 - (at + below + height) / total, width, height / total))

    known = printable(f'{target["name"]} ({motif["match"]["target"]})', 30) if target else 'Unknown'
    figure.text(0.012, 1 - (at + 0.12) / total, known, weight='bold', va='center', parse_math=False)
    for line, text in enumerate(_numbers(motif)):
        figure.text(0.012, 1 - (at + 0.27 + 0.13 * line) / total, text, va='center', fontsize=6.5, parse_math=False)
    heights, letters, above = _aligned(motif, target)
    drawn = [('contributions', 0.1, 2 * _LOGO + _GAP, heights)]
    drawn += [('letters', 0.1, _LOGO, information_heights(above))] if above is not None else []
    drawn += [('letters', 0.1 + _LOGO + _GAP, _LOGO, information_heights(letters))]
    for column, below, height, values in drawn:
        box = axes(column, below, height)
        plots.letter_logo(box, values)
        box.set_xlim(-0.5, max(len(values), _LEAST_LETTERS) - 0.5)
        box.set_xticks([])
        box.locator_params(axis='y', nbins=2)
        if column == 'letters':
            box.set_ylim(0, 2)
    profile = axes('profile', 0.1, 2 * _LOGO + _GAP)
    counts = motif['profile']
    profile.bar(np.arange(len(counts)), counts, width=0.9, color='#0072B2')
    profile.set_xticks([0, len(counts) - 1], ['start', 'end'])
    profile.locator_params(axis='y', nbins=2, integer=True)


def _numbers(motif: Mapping[str, Any]) -> list[str]:
    """What is known of a motif, a line each."""
    lines = [
        f'{spec_label(motif["spec"])}, {ATTRIBUTIONS[motif["method"]].label}'
        if motif['method'] in ATTRIBUTIONS
        else '',
        f'{motif["sites"]:.0f} sites in {motif["sequences"]:.0f} of {motif["of"]:.0f} sequences',
    ]
    if motif['share'] is not None:
        percent = 100 * motif['share']
        lines.append(f'{percent:.{1 if abs(percent) < 10 else 0}f}% of the score')
    if motif['match']:
        lines.append(f'q {motif["match"]["q"]:.1e}' + ', own TF' * motif['own'])
    if motif['sign'] < 0 or motif['source'] == 'neighbour':
        lines.append('speaks against binding' if motif['sign'] < 0 else 'at a fixed distance from another')
    return lines


def _aligned(
    motif: Mapping[str, Any], target: Mapping[str, Any] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Contributions and probabilities of a motif, and its target's, each (w, 4) in one frame: zeros where it is not.

    The motif's first column lies under the target's column number `offset`, on the strand of the match.
    """
    heights, letters = np.array(motif['heights']), np.array(motif['matrix'])
    if target is None:
        return heights, letters, None
    above = np.array(target['matrix'])
    above = above[::-1, ::-1] if motif['match']['strand'] == '-' else above
    shift = motif['match']['offset']
    first, last = min(0, shift), max(len(above), shift + len(letters))

    def framed(matrix: np.ndarray, start: int) -> np.ndarray:
        return np.pad(matrix, ((start - first, last - start - len(matrix)), (0, 0)))

    return framed(heights, shift), framed(letters, shift), framed(above, 0)
