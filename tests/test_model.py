"""A trained model on plain strings: every result against the functions and single predictions behind it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from demo_jax import dna
from demo_jax.dna import information_content
from demo_jax.errors import InputError
from demo_jax.explain.attribution import attribute
from demo_jax.explain.class_optimisation import ClassOptimisationSettings, optimise_class
from demo_jax.nn import models
from demo_jax.nn.models import SPECS, ModelSpec
from demo_jax.predict.model import Model
from demo_jax.predict.results import Temporal
from tests.helpers_models import random_params, save_run

TINY = {
    'tiny_cnn': ModelSpec('tiny_cnn', conv=((5, 6), (3, 4)), pool=2),
    'tiny_rnn': ModelSpec('tiny_rnn', lstm_layers=1, lstm_size=3, summary='mean'),
    'tiny_cnn_rnn': ModelSpec(
        'tiny_cnn_rnn', conv=((4, 5),), padding='same', lstm_layers=1, lstm_size=3, summary='mean'
    ),
}
LONG = 'ACGTTGACTCAGGATCCAGTNNACGTAG'
SEQUENCES = [LONG, LONG[3:20].lower(), LONG[5:]]


def turned(text):
    return dna.decode(dna.reverse_complement(dna.encode(text)))


@pytest.fixture
def tiny(monkeypatch):
    """Models of small architectures by kind, for as long as a test runs."""
    for name, spec in TINY.items():
        monkeypatch.setitem(SPECS, name, spec)

    def make(name, average_strands=True):
        return Model('task', name, 0, random_params(TINY[name], 3), average_strands=average_strands, length=28)

    return make


@pytest.mark.parametrize(
    'method, average',
    [
        ('saliency', True),
        ('saliency', False),
        ('integrated_gradients', True),
    ],
)
def test_maps_explain_the_score_that_predict_gives(tiny, method, average):
    model = tiny('tiny_cnn', average)
    found = getattr(model, method)(SEQUENCES)
    np.testing.assert_allclose(found.score, model.predict(SEQUENCES).score, atol=1e-5)
    assert found.both_strands is average
    assert [len(signed) for signed in found.signed] == [len(text) for text in SEQUENCES]
    tokens = dna.encode(SEQUENCES[1])[None]
    alone = attribute(method, model.params, TINY['tiny_cnn'], tokens, both_strands=average)
    np.testing.assert_allclose(found.signed[1], alone.signed[0], atol=1e-5)
    np.testing.assert_allclose(found.hypothetical[1], alone.hypothetical[0], atol=1e-5)
    np.testing.assert_allclose(found.values[1], alone.values[0], atol=1e-5)
    assert np.abs(found.signed[1]).max() > 0.01
    if method == 'integrated_gradients':
        np.testing.assert_allclose(found.completeness_error[1], alone.completeness_error[0], atol=1e-5)


def test_mutagenesis_is_what_predict_says_of_mutants(tiny):
    model = tiny('tiny_cnn')
    found = model.mutagenesis(SEQUENCES)
    text = SEQUENCES[1]
    mutants = [text[:i] + letter + text[i + 1 :] for i in range(len(text)) for letter in 'ACGT']
    change = model.predict(mutants).score.reshape(-1, 4) - model.predict([text]).score
    np.testing.assert_allclose(found.hypothetical[1], change, atol=1e-5)
    np.testing.assert_allclose(found.signed[1], -change.sum(1) / 3, atol=1e-5)


def test_the_strand_can_be_chosen(tiny):
    model = tiny('tiny_cnn')
    one, other = (model.saliency([text, *SEQUENCES[1:]], both_strands=False) for text in (LONG, turned(LONG)))
    both = model.saliency(SEQUENCES)
    np.testing.assert_allclose(both.signed[0], (one.signed[0] + other.signed[0][::-1]) / 2, atol=1e-6)
    assert np.abs(one.signed[0] - both.signed[0]).max() > 1e-3
    with pytest.raises(InputError, match="saliency has no setting 'steps'"):
        model.attribute('saliency', SEQUENCES, steps=3)


@pytest.mark.parametrize('average', [True, False])
def test_temporal_scores_are_what_predict_says_of_prefixes_and_suffixes(tiny, average):
    model = tiny('tiny_cnn_rnn' if average else 'tiny_rnn', average)
    found = model.temporal(SEQUENCES)
    for n, text in enumerate(SEQUENCES):
        ends = range(len(text))
        both = model.predict([text[: i + 1] for i in ends] + [text[i:] for i in ends] + [LONG]).score
        prefixes, suffixes = both[: len(text)], both[len(text) : -1]
        np.testing.assert_allclose(found.forward[n], prefixes, atol=1e-5)
        np.testing.assert_allclose(found.reverse[n], suffixes, atol=1e-5)
        assert np.ptp(found.forward[n]) > 0.01
    assert found.both_strands is average


def test_class_optimum(tiny):
    model, settings = tiny('tiny_rnn'), ClassOptimisationSettings(steps=30)
    found = model.class_optimise(restarts=3, seed=5, settings=settings)
    stacked = jax.tree.map(lambda leaf: leaf[None], model.params)
    whole = optimise_class(stacked, TINY['tiny_rnn'], seeds=np.array([5]), length=28, restarts=3, settings=settings)
    best = int(np.argmax(whole.objective[0]))
    np.testing.assert_array_equal(found.matrix, whole.matrix[0, best])
    assert found.objective == found.restarts.max() and len(np.unique(found.restarts)) == 3
    score = models.apply(model.params, jnp.asarray(found.raw[None]), TINY['tiny_rnn']).score[0]
    assert found.score == pytest.approx(float(score), abs=1e-5)
    assert len(found.consensus) == 28
    for letter, row in zip(found.consensus, found.matrix, strict=True):
        assert 'ACGT'.index(letter.upper()) == row.argmax() and letter.isupper() == (row.max() >= 0.5)
    frame = found.to_frame()
    np.testing.assert_array_equal(frame['probability'].to_numpy().reshape(-1, 4), found.matrix)
    np.testing.assert_array_equal(frame['information'][::4], information_content(found.matrix))
    assert ''.join(frame['base'][:8]) == 'ACGTACGT' and frame['position'].tolist()[:5] == [1, 1, 1, 1, 2]
    assert 'best of 3 restarts' in str(found) and found.consensus in str(found)


def test_frames_hold_every_letter_once(tiny):
    maps = tiny('tiny_cnn').integrated_gradients(SEQUENCES)
    frame = maps.to_frame()
    assert list(frame.columns) == ['sequence', 'position', 'base', 'value', 'signed', 'A', 'C', 'G', 'T']
    for n, text in enumerate(SEQUENCES):
        rows = frame[frame['sequence'] == n + 1]
        assert ''.join(rows['base']) == text.upper()
        assert rows['position'].tolist() == list(range(1, len(text) + 1))
        np.testing.assert_array_equal(rows['signed'], maps.signed[n])
        np.testing.assert_array_equal(rows[list('ACGT')], maps.hypothetical[n])
    temporal = tiny('tiny_rnn', False).temporal(SEQUENCES)
    frame = temporal.to_frame()
    np.testing.assert_array_equal(frame[frame['sequence'] == 2]['reverse'], temporal.reverse[1])
    assert len(frame) == sum(map(len, SEQUENCES))
    one = temporal.only(1)
    assert one.sequences == (SEQUENCES[1],)
    np.testing.assert_array_equal(one.forward[0], temporal.forward[1])
    one = maps.only(2)
    np.testing.assert_array_equal(one.hypothetical[0], maps.hypothetical[2])
    assert one.completeness_error.tolist() == [maps.completeness_error[2]]


def test_results_print_the_sequence_with_its_values(tiny):
    model = tiny('tiny_cnn')
    saliency = model.saliency([*SEQUENCES, 'N' * 20])
    lines = str(saliency).splitlines()
    assert lines[0] == 'saliency of task / tiny_cnn, both strands averaged'
    at = next(i for i, line in enumerate(lines) if line.startswith('1: score'))
    assert lines[at + 1].strip() == LONG
    digits = lines[at + 2].strip()
    size = np.abs(saliency.signed[0])
    assert digits == ''.join(str(min(int(10 * value / size.max()), 9)) for value in size)
    assert digits[size.argmax()] == '9'
    signed = model.gradient_x_input([*SEQUENCES, 'N' * 20])
    letters = str(signed).splitlines()[3].strip()
    assert letters.upper() == LONG
    lower = np.array([letter.islower() for letter in letters])
    assert lower.any() and (signed.signed[0][lower] < 0).all() and not lower[signed.signed[0] > 0].any()
    score = np.linspace(-4, 4, 240, dtype=np.float32)
    temporal = Temporal('task / tiny_rnn', False, ('ACGT' * 60,), (score,), (score[::-1],))
    lines = str(temporal).splitlines()
    forward = ''.join(line.split()[1] for line in lines if line.lstrip().startswith('forward'))
    probability = 1 / (1 + np.exp(-temporal.forward[0].astype(float)))
    assert forward == ''.join(str(int(10 * value)) for value in probability)
    assert forward[0] == '0' and forward[-1] == '9'
    assert max(map(len, lines)) <= 120
    many = str(
        dataclasses.replace(saliency, sequences=(LONG,) * 22, score=np.zeros(22), signed=(saliency.signed[0],) * 22)
    )
    assert '20: score' in many and '21: score' not in many and many.endswith('... 2 more sequences: see to_frame()')


def test_figures(tiny):
    model = tiny('tiny_cnn')
    figure = model.saliency(SEQUENCES).plot()
    assert len(figure.axes) == 3
    for ax, text, saliency in zip(figure.axes, SEQUENCES, model.saliency(SEQUENCES).values, strict=True):
        assert ax.get_xlim() == (-0.5, len(LONG) - 0.5)  # letters are equally wide in all rows
        assert ax.get_ylim()[1] == pytest.approx(1.03 * saliency.max(), rel=1e-5)
        tops = [patch.get_window_extent().transformed(ax.transData.inverted()).y1 for patch in ax.patches]
        assert max(tops) == pytest.approx(saliency.max(), rel=0.02)  # the highest letter
        assert f'score {model.predict([text]).score[0]:.2f}' in ax.get_title('left')
    signed = model.mutagenesis(SEQUENCES).plot()
    assert signed.axes[0].get_ylim()[0] < 0
    temporal = tiny('tiny_rnn', False).temporal(SEQUENCES)
    figure = temporal.plot(limit=2)
    assert len(figure.axes) == 4
    for ax, values in zip(figure.axes[:2], (temporal.forward[0], temporal.reverse[0]), strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array()[0], values)
    assert ''.join(label.get_text() for label in figure.axes[1].get_xticklabels()) == LONG
    optimum = tiny('tiny_rnn').class_optimise(restarts=1, settings=ClassOptimisationSettings(steps=2)).plot()
    assert optimum.axes[0].get_ylim() == (0, 2) and optimum.axes[0].get_ylabel() == 'bits'
    bars = model.predict(SEQUENCES).plot()
    widths = [bar.get_width() for bar in bars.axes[0].patches]
    np.testing.assert_allclose(widths, model.predict(SEQUENCES).probability)


@pytest.mark.parametrize(
    'call, message',
    [
        (
            lambda model: model('tiny_cnn').temporal(SEQUENCES, truncate='features'),
            "truncate='features' needs a spec with LSTMs, which tiny_cnn is not",
        ),
        (lambda model: model('tiny_cnn').saliency([]), 'no sequences were given'),
        (lambda model: model('tiny_cnn').saliency(LONG), 'a list of sequences is needed'),
        (
            lambda model: model('tiny_cnn').mutagenesis([LONG, 'ACG']),
            'sequence 2: has 3 letters, tiny_cnn needs at least',
        ),
        (lambda model: model('tiny_rnn').temporal([LONG, 'MKLV']), "sequence 2: position 3 holds 'L', expected a DNA"),
        (
            lambda model: model('tiny_cnn').attribute('occlusion', [LONG]),
            "method is 'occlusion', expected one of saliency",
        ),
        (lambda model: model('tiny_cnn').class_optimise(length=4), 'length is 4, tiny_cnn needs at least'),
        (lambda model: model('tiny_rnn').temporal([LONG], truncate='output'), "truncate is 'output', expected one of"),
    ],
)
def test_bad_input(tiny, call, message):
    with pytest.raises(InputError, match=message) as caught:
        call(tiny)
    assert '\n' not in str(caught.value)


CALLS = {
    'predict': lambda model, given: model.predict(given),
    'encode': lambda model, given: model.encode(given),
    'saliency': lambda model, given: model.saliency(given),
    'gradient_x_input': lambda model, given: model.gradient_x_input(given),
    'integrated_gradients': lambda model, given: model.integrated_gradients(given, steps=2),
    'deeplift': lambda model, given: model.deeplift(given, n_references=2),
    'mutagenesis': lambda model, given: model.mutagenesis(given),
    'temporal': lambda model, given: model.temporal(given),
}


@pytest.mark.parametrize('call', CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    'value, kind',
    [
        (float('nan'), r'nan \(float\)'),
        (None, r'None \(NoneType\)'),
        (5, r'5 \(int\)'),
        (np.float32(2), r'.*\(float32\)'),
        (LONG.encode(), r"b'ACGT.*\(bytes\)"),
        ([LONG], r'\[.*\(list\)'),
        (np.zeros((2, 2)), r'array\(.*\(ndarray\)'),
    ],
)
def test_what_is_no_string_is_refused_by_its_number(tiny, call, value, kind):
    with pytest.raises(InputError, match=rf'^sequence 2: is {kind}, expected a string of DNA letters$'):
        call(tiny('tiny_rnn'), [LONG, value])


@pytest.mark.parametrize(
    'given, message',
    [
        (LONG, 'not one string'),
        (LONG.encode(), 'not bytes'),
        (None, 'not None'),
        (3.5, 'not 3.5'),
        ({'a': LONG}, 'not dict'),
    ],
)
@pytest.mark.parametrize('call', [CALLS['predict'], CALLS['temporal']])
def test_what_is_no_list_is_refused(tiny, call, given, message):
    with pytest.raises(InputError, match=f'^a list of sequences is needed, {message}$'):
        call(tiny('tiny_rnn'), given)


def test_any_iterable_of_strings_is_a_list(tiny):
    model = tiny('tiny_rnn')
    expected = model.predict(SEQUENCES)
    for given in (np.array(SEQUENCES), tuple(SEQUENCES), (text for text in SEQUENCES), pd.Series(SEQUENCES)):
        found = model.predict(given)
        assert found.sequences == tuple(SEQUENCES) and {type(text) for text in found.sequences} == {str}
        np.testing.assert_array_equal(found.score, expected.score)
    assert model.saliency(text for text in SEQUENCES).sequences == tuple(SEQUENCES)


def test_a_run_gives_models_that_know_their_length(tmp_path):
    run = save_run(tmp_path / 'run', ('small_rnn',), lengths=(30, 22))
    model = run.model('two', 'small_rnn')
    assert (model.length, model.average_strands, model.title) == (30, True, 'two / small_rnn')
    assert 'params' not in repr(model)
