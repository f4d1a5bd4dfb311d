"""Figures: what they contain, not how they look."""

import itertools
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from demo_jax.report import figures_overview as overview
from demo_jax.report.figures_found import MOST_MOTIFS, found_figure
from demo_jax.report.figures_sequence import (
    MOST_LETTERS,
    WIDTH,
    ModelView,
    SequenceView,
    Span,
    dashboard_figure,
    information_heights,
)
from tests.helpers_figures import drawn_letters

LETTERS = 'ACGTNACGTTGACTCATTTACG'


def a_view(letters: str = LETTERS, **changes) -> SequenceView:
    rng = np.random.default_rng(0)
    length = len(letters)
    forward = rng.normal(size=length)
    forward[:3] = np.nan
    models = [
        ModelView('medium CNN', 1.5, rng.random(length), optimum=rng.dirichlet(np.ones(4), length)),
        ModelView('medium RNN', -0.5, rng.random(length), forward, rng.normal(size=length)),
    ]
    values = {
        'title': 'a task, a name',
        'letters': letters,
        'bound': True,
        'models': models,
        'jaspar': [('MA0099.3 FOS::JUN', rng.dirichlet(np.ones(4), 7))],
        'hits': [Span(9, 16, 'MA0099.3')],
        'sites': [Span(9, 16, 'MA0099.3')],
    } | changes
    return SequenceView(**values)


def titles(figure) -> list[str]:
    return [axes.get_title(loc='left') for axes in figure.axes if axes.get_title(loc='left')]


def labelled(figure, label: str) -> list:
    return [axes for axes in figure.axes if axes.get_ylabel() == label]


def test_dashboard_holds_what_it_is_given():
    view = a_view()
    figure = dashboard_figure(view)
    assert figure.get_figwidth() == WIDTH
    assert titles(figure) == [
        'JASPAR MA0099.3 FOS::JUN',
        'class-optimised sequence, medium CNN',
        'sequence (JASPAR hits: 1)',
        'medium CNN:  score +1.50,  P(bound) 0.818',
        'medium RNN:  score -0.50,  P(bound) 0.378',
    ]
    # Saliency letters are as high as the saliency, and N has none.
    for axes, model in zip(labelled(figure, '|saliency|'), view.models, strict=True):
        drawn = {place: (key, high - low) for (key, place), (low, high) in drawn_letters(axes).items()}
        expected = {
            place: (f'{letter}+', value)
            for place, (letter, value) in enumerate(zip(view.letters, model.saliency, strict=True))
            if letter != 'N' and value >= 0.02 * model.saliency.max()
        }
        assert drawn.keys() == expected.keys()
        for place, (key, height) in expected.items():
            assert drawn[place][0] == key
            np.testing.assert_allclose(drawn[place][1], height, rtol=1e-5)
    # Strips hold the values; only the recurrent model has temporal ones.
    for label, values in (
        ('saliency', [model.saliency for model in view.models]),
        ('forward', [view.models[1].forward]),
        ('backward', [view.models[1].reverse]),
    ):
        found = labelled(figure, label)
        assert len(found) == len(values)
        for axes, expected in zip(found, values, strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array().filled(np.nan)[0], expected)
    # One pink box where the hit is, one line under the site.
    (sequence,) = [axes for axes in figure.axes if axes.get_title(loc='left').startswith('sequence')]
    boxes = [patch for patch in sequence.patches if patch.get_gid() == 'hit']
    assert [(box.get_x(), box.get_width()) for box in boxes] == [(8.5, 7)]
    assert [text.get_text() for text in sequence.texts] == list(view.letters)
    assert len(sequence.lines) == 1
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ['A', 'C', 'G', 'T', 'JASPAR hit', 'planted site']


def test_dashboard_leaves_out_what_is_missing_and_says_so():
    figure = dashboard_figure(a_view(jaspar=(), hits=None, sites=(), bound=False))
    text = [item.get_text() for axes in figure.axes for item in axes.texts]
    assert 'No JASPAR motif of this TF.' in text
    assert 'sequence (JASPAR hits: not looked for)' in titles(figure)
    assert [item.get_text() for item in figure.texts] == ['a task, a name', 'not bound (label 0)']
    assert 'planted site' not in [item.get_text() for item in figure.legends[0].get_texts()]
    assert 'sequence (JASPAR hits: none)' in titles(dashboard_figure(a_view(hits=[])))


def test_a_long_sequence_is_cut_to_its_most_salient_part():
    letters = 'ACGT' * 60
    saliency = np.zeros(240)
    saliency[150:160] = 1.0
    models = [ModelView('medium CNN', 0.0, saliency)]
    figure = dashboard_figure(a_view(letters, models=models, hits=[Span(0, 9, 'x'), Span(152, 161, 'x')], sites=()))
    (axes,) = labelled(figure, 'saliency')
    shown = axes.images[0].get_array()[0]
    assert len(shown) == MOST_LETTERS and shown.sum() == 10
    (sequence,) = [axes for axes in figure.axes if axes.get_title(loc='left').startswith('sequence')]
    (box,) = [patch for patch in sequence.patches if patch.get_gid() == 'hit']
    start = int(box.get_x() + 0.5)
    assert shown[start - 2 : start + 8].tolist() == [1.0] * 10
    first = int(re.search(r'positions (\d+)-', figure.texts[0].get_text()).group(1))
    assert first - 1 + start == 152


def test_information_heights():
    heights = information_heights(np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]]))
    np.testing.assert_allclose(heights, [[2, 0, 0, 0], [0] * 4, [0.5, 0.5, 0, 0]], atol=1e-12)


def test_dashboard_is_saved_with_text_as_text(tmp_path):
    from demo_jax.stages.report import _save

    figure = dashboard_figure(a_view(title='CTCF_K562, "quoted" & <b>'))
    _save(figure, tmp_path / 'figure')
    svg = (tmp_path / 'figure.svg').read_text()
    assert 'CTCF_K562, "quoted" &amp; &lt;b&gt;' in svg and '<text' in svg
    assert (tmp_path / 'figure.pdf').read_bytes().startswith(b'%PDF')
    assert (tmp_path / 'figure.png').read_bytes().startswith(b'\x89PNG')
    first = svg
    _save(dashboard_figure(a_view(title='CTCF_K562, "quoted" & <b>')), tmp_path / 'figure', ('svg',))
    assert (tmp_path / 'figure.svg').read_text() == first  # the same input gives the same bytes


OURS = {
    'medium_rnn': np.array([0.8, 0.9, np.nan, 0.7]),
    'medium_cnn': np.array([0.85, 0.95, 0.9, 0.6]),
    'medium_cnn_rnn': np.array([0.9, 0.92, 0.99, 0.65]),
}


def test_published_scatter():
    published = np.array([0.84, np.nan, 0.95, 0.62])
    axes = overview.published_scatter(OURS, published).axes[0]
    points = [collection.get_offsets() for collection in axes.collections]
    np.testing.assert_allclose(points[0], [[0.84, 0.8], [0.62, 0.7]])
    np.testing.assert_allclose(points[1], [[0.84, 0.85], [0.95, 0.9], [0.62, 0.6]])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        'medium RNN (better on 1 of 2)',
        'medium CNN (better on 1 of 3)',
        'medium CNN-RNN (better on 3 of 3)',
    ]
    assert 'DeepBind (published)' in axes.get_xlabel()


def test_table2_violins():
    axes = overview.table2_violins(OURS, published={'medium_cnn': 0.902}).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ['medium RNN', 'medium CNN', 'medium CNN-RNN']
    points = [c.get_offsets()[:, 0] for c in axes.collections if len(c.get_offsets()) > 2]
    np.testing.assert_allclose(points[0], [0.8, 0.9, 0.7])
    np.testing.assert_allclose(points[1], OURS['medium_cnn'])
    bars = [line.get_xdata() for line in axes.lines if len(set(line.get_ydata())) == 1]
    np.testing.assert_allclose(bars[1], np.quantile(OURS['medium_cnn'], [0.25, 0.75]))
    assert 'mean 0.825\nmedian 0.875' in [text.get_text() for text in axes.texts]
    assert axes.get_legend().get_texts()[0].get_text() == "the paper's mean over its 108 tasks"
    assert overview.table2_violins({'medium_cnn': np.array([0.9])}).axes[0].get_legend() is None


def test_pairwise_scatter():
    figure = overview.pairwise_scatter(OURS, shown=['medium_cnn_rnn', 'medium_rnn', 'medium_cnn'], most=2)
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.collections[0].get_offsets(), [[0.9, 0.8], [0.92, 0.9], [0.65, 0.7]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ('medium CNN-RNN', 'medium RNN')
    assert axes.get_title(loc='left') == 'above 1, below 2 of 3'
    assert len([axes for axes in overview.pairwise_scatter(OURS).axes if axes.collections]) == 3


def test_training_curves():
    values = np.array([[0.7, 0.6, np.nan], [0.5, 0.4, 0.3], [0.9, np.inf, 0.1]])
    history = {'medium_cnn': {'train_loss': values, 'valid_loss': values, 'valid_auroc': 1 - values}}
    panels = overview.training_curves(history).axes
    assert [axes.get_title(loc='left') for axes in panels] == [
        'training loss (nats)',
        'validation loss (nats)',
        'validation AUROC',
    ]
    # Gaps keep the value before them.
    np.testing.assert_allclose(panels[0].lines[0].get_xydata(), [[1, 0.7], [2, 0.6], [3, 0.3]])


def test_position_profile():
    figure = overview.position_profile({'medium_cnn': np.array([0.1, 0.5, 0.4])}, np.array([0, 1, 0.5]))
    lines = [axes.lines[0] for axes in figure.axes if axes.lines]
    np.testing.assert_allclose(lines[0].get_xydata(), [[1, 0.1], [2, 0.5], [3, 0.4]])
    assert len(figure.axes) == 2
    assert len(overview.position_profile({'medium_cnn': np.ones(3)}).axes) == 1


@pytest.mark.parametrize(
    'spec, label',
    [
        ('medium_cnn_rnn', 'medium CNN-RNN'),
        ('large_cnn', 'large CNN'),
        ('small_rnn', 'small RNN'),
        ('deepbind', 'DeepBind'),
        ('mine', 'mine'),
        ('meme_chip_motifs_sum', 'MEME-ChIP motifs sum'),
    ],
)
def test_spec_label(spec, label):
    assert overview.spec_label(spec) == label


def test_a_spec_has_a_look_of_its_own():
    looks = {(overview._colour(number), overview._marker(number)) for number in range(12)}
    assert len(looks) == 12


def test_no_display_is_needed():
    assert type(dashboard_figure(a_view())) is Figure


def test_any_name_can_be_drawn(tmp_path):
    """Control characters, letters that the font lacks, and what matplotlib would take for a formula."""
    from demo_jax.stages.report import _save

    title = 'a\tb\x00c\u2028 $x_{ \\frac 染色体 ' + 'long' * 40
    figure = dashboard_figure(a_view(title=title))
    drawn = figure.texts[0].get_text()
    assert drawn.startswith('a b c $x_{ \\frac \ufffd') and len(drawn) == 88
    _save(figure, tmp_path / 'figure', ('svg',))  # a missing glyph would be a warning, and so an error
    assert 'a b c $x_{' in (tmp_path / 'figure.svg').read_text()


LONG = 'MA1142.2 FOSL1::JUND(var.2)::A_THIRD_PARTNER'


@pytest.mark.parametrize(
    'labels, widths',
    [
        (['MA0139.2 CTCF'], [15]),
        ([LONG * 3], [6]),
        (['MA0476.2 FOS', 'MA1951.2 FOS'], [9, 14]),  # the case in which the first ran into the second
        (['MA0476.2 FOS', 'MA1951.2 FOS'], [6, 6]),
        ([LONG, LONG], [7, 7]),
        ([LONG, 'MA1930.2 CTCF'], [35, 34]),
        (['MA0476.2 FOS', 'MA1951.2 FOS', 'MA1142.2 FOSL1::JUND'], [7, 7, 7]),
        ([LONG] * 3, [6, 6, 6]),
        ([LONG, LONG, 'MA1930.2 CTCF'], [30, 34, 6]),
        ([LONG, 'MA0476.2 FOS', 'MA1951.2 FOS', 'MA0001.1 X'], [9, 9, 9, 9]),
    ],
)
def test_titles_of_jaspar_logos_do_not_meet(labels, widths):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    rng = np.random.default_rng(0)
    known = [(label, rng.dirichlet(np.ones(4), width)) for label, width in zip(labels, widths, strict=True)]
    figure = dashboard_figure(a_view(jaspar=known))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    logos = [axes for axes in figure.axes if axes.get_title(loc='left').startswith('JASPAR ')]
    assert len(logos) == min(len(known), 3)
    extents = [axes.get_tightbbox(canvas.get_renderer()) for axes in logos]  # with titles and ticks
    more = [text.get_window_extent() for text in figure.texts if text.get_text().startswith('+')]
    assert len(more) == (len(known) > 3)
    for left, right in itertools.pairwise([*extents, *more]):
        assert left.x1 < right.x0
    assert [*extents, *more][-1].x1 <= figure.bbox.x1
    for axes, label in zip(logos, labels, strict=False):
        title = axes.get_title(loc='left')
        assert title == f'JASPAR {label}' or (title.endswith('...') and f'JASPAR {label}'.startswith(title[:-3]))
        assert title.startswith(f'JASPAR {label.split()[0]}')  # the id can always be read
    if sum(map(len, labels)) < 50:
        assert [axes.get_title(loc='left') for axes in logos] == [f'JASPAR {label}' for label in labels]


def a_motif(**changes) -> dict:
    return {
        'spec': 'medium_cnn',
        'method': 'mutagenesis',
        'sign': 1,
        'source': 'seqlets',
        'heights': (2 * np.eye(4)[[2, 3]]).tolist(),
        'matrix': np.eye(4)[[2, 3]].tolist(),
        'match': {'target': 'MA1', 'offset': 1, 'overlap': 2, 'strand': '-', 'q': 0.002},
        'own': True,
        'profile': [0, 3, 1],
        'sites': 4,
        'sequences': 3,
        'of': 9,
        'share': 0.25,
    } | changes


def test_a_motif_lies_under_its_match():
    targets = {'MA1': {'name': 'FOS', 'matrix': np.eye(4)[[2, 0, 1, 3]].tolist()}}  # GACT; turned around AGTC
    figure = found_figure('a task', [a_motif(), a_motif(match=None, own=False, share=None)], targets)
    contributions, above, letters, profile, *others = figure.axes
    assert set(drawn_letters(contributions)) == {('G+', 1), ('T+', 2)}
    assert drawn_letters(contributions)['G+', 1] == pytest.approx((0, 2))
    assert set(drawn_letters(above)) == {('A+', 0), ('G+', 1), ('T+', 2), ('C+', 3)}
    assert set(drawn_letters(letters)) == {('G+', 1), ('T+', 2)}
    assert [bar.get_height() for bar in profile.patches] == [0, 3, 1]
    assert len(others) == 3 and set(drawn_letters(others[1])) == {('G+', 0), ('T+', 1)}  # no match, no frame
    texts = [text.get_text() for text in figure.texts]
    told = [
        'FOS (MA1)',
        'medium CNN, Mutagenesis',
        '4 sites in 3 of 9 sequences',
        '25% of the score',
        'q 2.0e-03, own TF',
    ]
    assert texts[4:9] == told
    assert texts[9:] == ['Unknown', *told[1:3]]


def test_more_motifs_than_a_figure_holds_are_counted():
    motifs = [a_motif(match=None)] * (MOST_MOTIFS + 1) + [a_motif(match=None, spec='medium_rnn', share=0.0032)]
    figure = found_figure('a task', motifs, {})
    assert len(figure.axes) == 3 * MOST_MOTIFS
    texts = [text.get_text() for text in figure.texts]
    assert f'{MOST_MOTIFS} of {MOST_MOTIFS + 2}' in texts
    assert texts.count('medium RNN, Mutagenesis') == 1  # no architecture is left out
    assert '0.3% of the score' in texts
