"""In-silico experiments against scores whose effects are known, and against plain loops."""

import jax.numpy as jnp
import numpy as np
import pytest

import demo_jax
from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.insilico import designs, estimates
from demo_jax.insilico.marginalise import marginalise
from demo_jax.insilico.models import of_models, of_score
from demo_jax.insilico.space import ARRANGEMENTS, space
from tests.helpers_models import CNN, CNN_RNN, random_params


def contains(x, word):
    """Float (B, L - w + 1): 1 where a word stands; x is one-hot."""
    rows = jnp.asarray(dna.one_hot(dna.encode(word)))
    width, n_starts = len(word), x.shape[1] - len(word) + 1
    hits = sum(x[:, c : c + n_starts] @ rows[c] for c in range(width))
    return (hits > width - 0.5).astype(x.dtype)


def planted(params, x):
    """2 per 'GATTACA', 1 per 'CCCGGG', and 5 more where 'GATTACA' is followed by 'TTTGGGC' after exactly 4 letters."""
    a, b = contains(x, 'GATTACA'), contains(x, 'TTTGGGC')
    together = (a[:, : -7 - 4] * b[:, 7 + 4 :]).sum(1)
    return params['scale'] * (2 * a.sum(1) + contains(x, 'CCCGGG').sum(1) + 0.5 * b.sum(1) + 5 * together)


BACKGROUNDS = np.random.default_rng(3).choice(np.array([0, 3], np.uint8), (6, 50))  # A and T alone: no word is there


def three_models():
    return of_score(planted, {'scale': np.array([1.0, 2.0, 3.0], np.float32)})


def test_marginal_effects_are_those_of_the_score():
    motifs = {'a': 'GATTACA', 'b': np.repeat(np.eye(4)[[1, 2]], 3, axis=0), 'none': ['CGCGC', 'GCCCG']}
    found = marginalise(three_models(), motifs, BACKGROUNDS)
    np.testing.assert_allclose(found.effect.mean, np.outer([1, 2, 3], [2, 1, 0]), atol=1e-6)
    np.testing.assert_allclose(found.effect.low, found.effect.mean, atol=1e-6)  # all backgrounds agree
    np.testing.assert_allclose(found.together.mean, [4, 2, 0], atol=1e-6)
    # Models differ: 2 +- t(2) 1 / sqrt(3), times the effect.
    np.testing.assert_allclose(found.together.high, np.array([2, 1, 0]) * (2 + 4.302653 / np.sqrt(3)), rtol=1e-5)
    assert found.best() == 'a' and found.models == ('planted 1', 'planted 2', 'planted 3')
    frame = found.to_frame()
    assert len(frame) == 12 and set(frame[frame.model == 'all models'].effect.round(5)) == {4, 2, 0}
    assert frame.p_value[0] < 0.01  # the same letters in random order do nothing
    np.testing.assert_allclose(found.control[:, 2], 0)


def test_other_strand_place_and_free_letters():
    model = of_score(planted, {'scale': np.ones(1, np.float32)})
    turned = marginalise(model, {'a': 'TGTAATC'}, BACKGROUNDS, strand=-1, start=0, control=False)
    assert turned.effect.mean[0, 0] == 2 and np.isnan(turned.p_value).all()
    with_gap = marginalise(model, {'both': 'GATTACANNNNTTTGGGC'}, BACKGROUNDS, control=False)
    assert with_gap.effect.mean[0, 0] == 7.5


def test_words_are_drawn_from_a_matrix():
    matrix = np.array([[0.1, 0.2, 0.3, 0.4], [0, 1, 0, 0], [0.5, 0, 0, 0.5]])
    words = designs.words_of('m', matrix, 20_000, np.random.default_rng(0), how='sampled')
    shares = np.stack([np.bincount(column, minlength=4) for column in words.T]) / len(words)
    np.testing.assert_allclose(shares, matrix, atol=0.012)  # more than three standard errors


@pytest.mark.parametrize('spec', [CNN, CNN_RNN], ids=['cnn', 'cnn_rnn'])
def test_scores_are_those_of_a_loop_over_models(spec):
    params = [random_params(spec, seed) for seed in range(3)]
    models = [
        demo_jax.wrap(spec, one, name='m', average_strands=strands)
        for one, strands in zip(params, (True, True, False), strict=True)
    ]
    together = of_models(models)
    assert len(together.groups) == 2
    backgrounds = np.random.default_rng(0).integers(0, 4, (5, 30)).astype(np.uint8)
    found = marginalise(together, {'x': 'ACGTACG', 'y': 'TTT'}, backgrounds, control=False)
    for m, model in enumerate(models):
        before = model.predict([dna.decode(row) for row in backgrounds]).score
        for d, (word, start) in enumerate((('ACGTACG', 11), ('TTT', 13))):
            texts = [dna.decode(row) for row in backgrounds]
            after = model.predict([t[:start] + word + t[start + len(word) :] for t in texts]).score
            np.testing.assert_allclose(found.effect.mean[m, d], (after - before).mean(), rtol=1e-4, atol=1e-6)


def test_spacing_finds_the_gap_and_the_arrangement():
    found = space(three_models(), ('a', 'GATTACA'), ('b', 'TTTGGGC'), BACKGROUNDS, gaps=range(9), null=5)
    expected = np.zeros((3, 4, 9))
    expected[:, 0, 4] = [5, 10, 15]
    np.testing.assert_allclose(found.epistasis.mean, expected, atol=1e-5)
    alone = np.outer([1, 2, 3], [2.5, 2.0, 2.5, 2.0])[..., None]  # on the other strand 'TTTGGGC' is not read
    np.testing.assert_allclose(found.effect.mean, expected + alone, atol=1e-5)
    peak = found.peak()
    assert peak == found.peak('planted 2') and peak[:4] == (4, True, True, pytest.approx(10))
    assert peak.p_value == pytest.approx(1 / 6)
    frame = found.to_frame()
    row = frame[(frame.model == 'all models') & (frame.gap == 4) & (frame.order == 'after') & (frame.strands == 'same')]
    assert row.epistasis.tolist() == [10] and len(frame) == 4 * 4 * 9
    other = space(three_models(), ('b', 'TTTGGGC'), ('a', 'GATTACA'), BACKGROUNDS, gaps=[3, 4]).peak()
    assert (other.gap, other.after, other.same_strand) == (4, False, True) and np.isnan(other.p_value)


def test_spacing_is_that_of_a_plain_loop():
    params = random_params(CNN_RNN, 0)
    model = demo_jax.wrap(CNN_RNN, params, name='m')
    backgrounds = np.random.default_rng(0).integers(0, 4, (3, 24)).astype(np.uint8)
    found = space(of_models([model]), ('a', 'ACG'), ('b', 'TTGA'), backgrounds, gaps=[0, 5])
    texts = [dna.decode(row) for row in backgrounds]

    def scored(**put):
        made = []
        for text in texts:
            for start, word in put.values():
                text = text[:start] + word + text[start + len(word) :]
            made.append(text)
        return model.predict(made).score

    for number, (after, same) in enumerate(ARRANGEMENTS):
        for g, gap in enumerate((0, 5)):
            left = (24 - 7 - gap) // 2
            b = 'TTGA' if same else 'TCAA'
            a_at, b_at = (left, left + 3 + gap) if after else (left + 4 + gap, left)
            epistasis = scored(a=(a_at, 'ACG'), b=(b_at, b)) - scored(a=(a_at, 'ACG')) - scored(b=(b_at, b)) + scored()
            np.testing.assert_allclose(found.epistasis.mean[0, number, g], epistasis.mean(), rtol=1e-3, atol=1e-5)


def test_intervals_over_models_and_backgrounds_cover():
    rng = np.random.default_rng(0)
    n, m = 8, 5
    a, b, e = rng.normal(size=(m, 4000, 1)), 0.7 * rng.normal(size=(1, 4000, n)), rng.normal(size=(m, 4000, n))
    found = estimates.over_both(1.5 + a + b + e)
    covered = ((found.low <= 1.5) & (found.high >= 1.5)).mean()
    assert 0.935 < covered < 0.98
    one = estimates.over_both((1.5 + b + e)[:1])
    assert 0.94 < ((one.low <= 1.5) & (one.high >= 1.5)).mean() < 0.96


def test_p_and_q_of_known_numbers():
    values = np.array([[1.0, 2, 3, 4], [0, 0, 0, 0], [-1, 1, -1, 1]])
    np.testing.assert_allclose(estimates.paired_p(values), [0.0304660, 1, 1], rtol=1e-5)  # t = 3.873, 3 df
    np.testing.assert_allclose(estimates.null_p(np.array([2.0, 9]), np.array([[1.0, 2, 3], [1, 2, 3]])), [0.75, 0.25])
    np.testing.assert_allclose(estimates.q_values(np.array([0.01, 0.04, 0.03])), [0.03, 0.04, 0.04])


@pytest.mark.parametrize(
    'call, message',
    [
        (
            lambda m: marginalise(m, {'long': 'A' * 51}, BACKGROUNDS),
            "'motif long' has 51 letters, more than the sequence",
        ),
        (lambda m: marginalise(m, {'x': 'ACGT'}, BACKGROUNDS, start=48), 'position 49 juts out of 50 letters'),
        (lambda m: marginalise(m, {}, BACKGROUNDS), 'no motif was given'),
        (lambda m: marginalise(m, {'x': 'ACXT'}, BACKGROUNDS), "motif 'x': position 3 holds 'X'"),
        (lambda m: marginalise(m, {'x': np.ones((3, 4))}, BACKGROUNDS), 'expected probabilities'),
        (lambda m: marginalise(m, {'x': ['AC', 'ACG']}, BACKGROUNDS), 'words of equal length'),
        (lambda m: marginalise(m, {'x': 'AC'}, BACKGROUNDS, how='best'), "how is 'best'"),
        (lambda m: marginalise(m, {'x': 'AC'}, BACKGROUNDS[0]), 'expected tokens'),
        (lambda m: space(m, ('a', 'GATTACA'), ('b', 'AC'), BACKGROUNDS, gaps=[-1]), 'would overlap'),
        (lambda m: space(m, ('a', 'GATTACA'), ('b', 'AC'), BACKGROUNDS, gaps=[42]), 'longer than the sequence'),
        (lambda m: space(m, ('a', 'GATTACA'), ('b', 'AC'), BACKGROUNDS, gaps=[1, 1]), 'expected different numbers'),
        (lambda m: space(m, ('a', 'A' * 30), ('b', 'C' * 30), BACKGROUNDS), 'free letters: -10'),
    ],
)
def test_bad_questions_are_one_line(call, message):
    with pytest.raises(InputError, match=message.replace('(', r'\(')) as error:
        call(three_models())
    assert '\n' not in str(error.value)


def test_overlapping_insertions_are_named():
    word = dna.encode('ACGT')[None]
    design = (designs.Insertion(word, 10), designs.Insertion(word, 7))
    with pytest.raises(InputError, match=r'insertion 2 \(positions 8-11\) and insertion 1 \(from 11\) overlap'):
        designs.score_designs(three_models(), BACKGROUNDS, [design])


def test_figures_are_drawn(tmp_path):
    models = three_models()
    few = marginalise(models, {'a': 'GATTACA', 'b': 'CCCGGG'}, BACKGROUNDS).plot()
    assert [label.get_text() for label in few.axes[0].get_yticklabels()] == ['a', 'b']
    many = {f'm{i}': dna.decode(np.random.default_rng(i).integers(0, 4, 5).astype(np.uint8)) for i in range(45)}
    picture = marginalise(models, many, BACKGROUNDS, control=False).plot()
    assert picture.axes[0].images[0].get_array().shape == (3, 45)
    curve = space(models, ('a', 'GATTACA'), ('b', 'TTTGGGC'), BACKGROUNDS, gaps=range(9)).plot()
    assert len(curve.axes[0].lines) == 5
    for number, figure in enumerate((few, picture, curve)):
        figure.savefig(tmp_path / f'{number}.png')


@pytest.mark.parametrize('spec', [CNN, CNN_RNN], ids=['cnn', 'cnn_rnn'])
def test_following_edits_gives_the_scores_of_the_whole_sequences(spec, monkeypatch):
    params = [random_params(spec, seed) for seed in range(2)]
    models = of_models(
        [demo_jax.wrap(spec, one, name='m', average_strands=strands) for one in params for strands in (True, False)]
    )
    rng = np.random.default_rng(0)
    backgrounds = rng.integers(0, 5, (5, 70)).astype(np.uint8)  # with N

    def word(width, n=1):
        return rng.integers(0, 5, (n, width)).astype(np.uint8)

    made = [()]
    for _ in range(14):
        first, second = sorted(rng.permutation(60)[:2])
        made.append(
            (designs.Insertion(word(min(6, second - first)), int(first)), designs.Insertion(word(3, 5), int(second)))
        )
    made += [(designs.Insertion(word(4), 0),), (designs.Insertion(word(2), 68),)]
    expected = np.stack([models.score(tokens) for tokens in designs.build(backgrounds, made)], axis=1)
    calls = []
    monkeypatch.setattr(type(models), 'score', lambda *_, **__: calls.append(1))
    np.testing.assert_allclose(designs.score_designs(models, backgrounds, made), expected, rtol=1e-4, atol=1e-5)
    assert not calls and np.ptp(expected, axis=1).min() > 0.003
