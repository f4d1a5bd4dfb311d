"""Letters and strips: what is drawn, against logomaker and by hand."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from demo_jax.report import plots
from tests.helpers_figures import drawn_letters


def axes():
    return Figure(figsize=(4, 2)).subplots()


def test_letters_are_stacked_by_hand():
    ax = axes()
    plots.letter_logo(ax, np.array([[0.5, 2.0, 0.0, -1.0], [np.nan, 0, -0.25, -0.5]]), ylabel='bits')
    expected = {
        ('A+', 0): (0, 0.5),
        ('C+', 0): (0.5, 2.5),
        ('T-', 0): (-1, 0),
        ('G-', 1): (-0.25, 0),
        ('T-', 1): (-0.75, -0.25),
    }
    found = drawn_letters(ax)
    assert found.keys() == expected.keys()
    for key, box in expected.items():
        np.testing.assert_allclose(found[key], box, atol=1e-6)
    assert ax.get_ylabel() == 'bits'
    assert ax.get_xlim() == (-0.5, 1.5)
    assert ax.get_ylim()[0] < -1 and ax.get_ylim()[1] > 2.5


def test_letters_are_where_logomaker_puts_them():
    import logomaker
    import pandas as pd

    heights = np.random.default_rng(0).normal(size=(7, 4))
    ours, theirs = axes(), axes()
    plots.letter_logo(ours, heights)
    logo = logomaker.Logo(
        pd.DataFrame(heights, columns=list('ACGT')),
        ax=theirs,
        color_scheme=plots.LETTER_COLOURS,
        flip_below=False,
        shade_below=0.35,
        font_name='DejaVu Sans',
        font_weight='bold',
    )
    found = drawn_letters(ours)
    colours = {patch.get_gid(): patch.get_facecolor()[:3] for patch in ours.artists + ours.patches if patch.get_gid()}
    assert len(found) == 28
    for glyph in logo.glyph_list:
        key = f'{glyph.c}{"+" if heights[int(glyph.p), "ACGT".index(glyph.c)] > 0 else "-"}'
        low, high = found[key, int(glyph.p)]
        np.testing.assert_allclose((low, high), (glyph.floor, glyph.ceiling), atol=1e-6)
        np.testing.assert_allclose(colours[key], to_rgb(glyph.color), atol=1e-6)
        box = glyph.patch.get_path().get_extents()
        assert abs((box.x0 + box.x1) / 2 - glyph.p) < 1e-6 and box.width <= plots._LETTER_WIDTH + 1e-6


def test_a_logo_of_nothing_can_be_drawn():
    for heights in (np.zeros((5, 4)), np.zeros((0, 4))):
        ax = axes()
        plots.letter_logo(ax, heights)
        assert drawn_letters(ax) == {}
    with pytest.raises(ValueError, match=r'\(3, 5\)'):
        plots.letter_logo(axes(), np.zeros((3, 5)))


@pytest.mark.parametrize('kind, low', [('saliency', 0.0), ('score', -4.0)])
def test_strips_have_their_values_and_colours(kind, low):
    ax = axes()
    values = np.array([np.nan, 0.0, 1.0, 4.0, -2.0]) if kind == 'score' else np.array([np.nan, 0.0, 1.0, 4.0])
    image = plots.strip(ax, values, kind=kind, label='forward')
    shown = image.get_array()
    np.testing.assert_array_equal(np.asarray(shown.filled(np.nan))[0], values)
    assert shown.mask[0].tolist() == np.isnan(values).tolist()
    assert (image.norm.vmin, image.norm.vmax) == (low, 4.0)
    colours = image.cmap(image.norm(shown))[0]
    np.testing.assert_allclose(colours[1][:3], 1, atol=0.01)  # zero is white
    red = colours[3]
    assert red[0] > red[2] and red[0] > red[1]
    if kind == 'score':
        assert colours[4][2] > colours[4][0]  # below zero is blue
    assert colours[0][:3].max() < 0.9  # blank is grey
    assert ax.get_ylabel() == 'forward'


def test_a_strip_without_values_is_blank_and_a_wrong_kind_is_refused():
    plots.strip(axes(), np.full(3, np.nan), kind='score')
    plots.strip(axes(), np.zeros(3), kind='saliency')
    with pytest.raises(ValueError, match='heat'):
        plots.strip(axes(), np.zeros(3), kind='heat')


def luminance(colour: str) -> float:
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot(parts, [0.2126, 0.7152, 0.0722]))


def test_letters_differ_in_lightness_too():
    """Told apart in print without colour: no two letters have the same luminance."""
    levels = sorted(luminance(colour) for colour in plots.LETTER_COLOURS.values())
    assert min(np.diff(levels)) > 0.02
