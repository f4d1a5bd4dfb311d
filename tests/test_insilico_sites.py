"""Epistasis, ablation and design against scores whose answers are known."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import demo_jax
from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.insilico import designs
from demo_jax.insilico.ablate import Hit, ablate
from demo_jax.insilico.design import design
from demo_jax.insilico.epistasis import Arranged, epistasis
from demo_jax.insilico.models import of_models, of_score
from tests.helpers_models import CNN, CNN_RNN, random_params
from tests.test_insilico import BACKGROUNDS, contains, three_models

MOTIFS = {'a': 'GATTACA', 'b': 'TTTGGGC', 'c': 'CCCGGG'}


def test_epistasis_is_that_of_the_score():
    pairs = [Arranged('a', 'b', gap=4), Arranged('b', 'a', gap=4), Arranged('a', 'b', gap=5), Arranged('a', 'c')]
    found = epistasis(three_models(), MOTIFS, BACKGROUNDS, pairs=pairs, null=19)
    np.testing.assert_allclose(found.epistasis.mean, np.outer([1, 2, 3], [5, 0, 0, 0]), atol=1e-5)
    np.testing.assert_allclose(found.effects[1], [[15, 4, 1], [5, 1, 4], [5, 4, 1], [6, 4, 2]], atol=1e-5)
    np.testing.assert_allclose(found.p_value[:, 0], 1 / 20)  # none of the meaningless pairs does as much
    np.testing.assert_allclose(found.p_value[:, 1:], 1)
    np.testing.assert_allclose(found.q_value[:, 0], 4 / 20)
    frame = found.to_frame()
    assert len(frame) == 4 * 4 and frame[frame.model == 'all models'].epistasis.round(4).tolist() == [10, 0, 0, 0]
    every = epistasis(three_models(), MOTIFS, BACKGROUNDS, gap=4, null=0)
    assert [pair[:2] for pair in every.pairs] == [('a', 'b'), ('a', 'c'), ('b', 'c')]
    assert np.isnan(every.p_value).all() and np.isnan(every.q_value).all()
    assert len(every.plot().axes[0].get_yticklabels()) == 3


def test_meaningless_pairs_are_called_at_the_nominal_rate_at_most():
    model = of_models([demo_jax.wrap(CNN_RNN, random_params(CNN_RNN, 0), name='m')])
    rng = np.random.default_rng(0)
    words = {str(i): dna.decode(rng.integers(0, 4, 6).astype(np.uint8)) for i in range(160)}
    pairs = [Arranged(str(i), str(i + 1), gap=2) for i in range(0, 160, 2)]
    backgrounds = rng.integers(0, 4, (4, 24)).astype(np.uint8)
    p = epistasis(model, words, backgrounds, pairs=pairs, null=19).p_value[0]
    # 80 pairs: binomial, so that more than 9 at 5% or 14 at 10% have a chance below 1%.
    assert (p <= 0.05).sum() <= 9 and (p <= 0.1).sum() <= 14 and (p <= 0.5).sum() <= 51
    assert 0.5 < p.mean() < 0.85  # the largest of three; not far from uniform


def test_meaningless_words_have_the_letters_and_are_not_the_word():
    rng = np.random.default_rng(0)
    word = dna.encode('AGATAA')[None]
    drawn = {dna.decode(designs.meaningless(word, rng)[0]) for _ in range(200)}
    assert all(sorted(text) == sorted('AGATAA') for text in drawn) and len(drawn) > 3
    assert not any('GATA' in text for text in drawn)
    sampled = designs.meaningless(np.stack([dna.encode('ACGT'), dna.encode('AAAA')]), rng)
    assert sampled.shape == (1, 4)
    matrix = 0.7 * np.eye(4)[[0, 1, 2, 3, 0]] + 0.075
    found = epistasis(three_models(), {'x': matrix, 'y': 'ACC'}, BACKGROUNDS, how='sampled', null=2)
    assert (found.p_value > 0).all()


def sites(*places):
    """One sequence of A and T with words at places, and hits of them."""
    text = dna.decode(BACKGROUNDS[0])
    for start, word in places:
        text = text[:start] + word + text[start + len(word) :]
    return dna.encode(text)[None]


def test_ablation_takes_away_what_a_hit_is_worth():
    sequence = sites((5, 'GATTACA'), (16, 'TTTGGGC'), (35, 'CCCGGG'))
    hits = [Hit(0, 5, 7, 'a'), Hit(0, 16, 7, 'b'), Hit(0, 35, 6, 'c'), Hit(0, 36, 3, 'inner')]
    found = ablate(three_models(), sequence, hits, shuffles=15, null=19)
    # a: 2 and the 5 of the pair; b: 0.5 and the 5; c: 1. A shuffle may give the word itself back, or half of it.
    np.testing.assert_allclose(found.effect.mean[0], [7, 5.5, 1, 0.5], atol=0.6)
    np.testing.assert_allclose(found.effect.mean[2], 3 * found.effect.mean[0], rtol=1e-5)
    named = {(hits[i].name, hits[j].name): q for q, (i, j) in enumerate(found.pairs)}
    assert ('c', 'inner') not in named and found.n_overlapping == 1 and len(named) == 5
    np.testing.assert_allclose(found.epistasis.mean[0, named['a', 'b']], 5, atol=0.4)
    np.testing.assert_allclose(found.pair_effect.mean[0, named['a', 'b']], 7.5, atol=0.6)
    np.testing.assert_allclose(found.epistasis.mean[0, named['a', 'c']], 0, atol=1e-5)
    assert (found.p_value[:, :3] <= 1 / 20).all() and (found.pair_p_value[:, named['a', 'b']] == 1 / 20).all()
    assert (found.pair_p_value[:, named['a', 'c']] == 1).all() and found.n_unchanged == 0
    frame, pairs = found.to_frame(), found.pairs_frame()
    assert frame[['sequence', 'start', 'end', 'motif']].iloc[1].tolist() == [1, 17, 23, 'b'] and len(frame) == 16
    assert pairs[['first', 'second', 'first_start', 'second_start']].iloc[0].tolist() == ['a', 'b', 6, 17]
    assert len(found.plot().axes[0].get_yticklabels()) == 4


def test_ablation_is_that_of_a_plain_loop_over_all_orders():
    params = random_params(CNN, 1)
    model = demo_jax.wrap(CNN, params, name='m')
    text = 'ACGTTGCAATCGGATCTTAC'
    found = ablate(of_models([model]), dna.encode(text)[None], [Hit(0, 6, 3, 'x')], shuffles=600)
    orders = [text[:6] + ''.join(order) + text[9:] for order in itertools.permutations(text[6:9])]
    expected = float(model.predict([text]).score[0] - model.predict(orders).score.mean())
    assert abs(found.effect.mean[0, 0] - expected) < 3 * (found.effect.high - found.effect.mean)[0, 0] / 1.96


def counting(params, x):
    """How many letters agree with a word at its best place, to the power that makes the last ones worth more."""
    rows = jnp.asarray(dna.one_hot(dna.encode('GACGTC')))
    agree = sum(x[:, c : c + x.shape[1] - 5] @ rows[c] for c in range(6))
    return params * (agree**2).max(axis=1)


@pytest.mark.parametrize('method', ['mutagenesis', 'gradient'])
def test_the_fewest_edits_are_found(method):
    model = of_score(counting, np.ones(1, np.float32))
    start = 'TTTTTTTTTTGATTTCTTTTTTTTTT'  # of GATTTC, G A and the last T C agree
    found = design(model, start, 36.0, method=method)
    assert found.reached and found.sequence.count('GACGTC') == 1 and len(found.edits) == 2
    assert found.score[0] == 36 == demo_jax.wrap(counting, np.float32(1)).predict([found.sequence]).score[0]
    np.testing.assert_allclose([edit.worth[0] for edit in found.edits], 36 - 25)
    assert [(e.old, e.new) for e in found.edits] == [('T', 'C'), ('T', 'G')]
    assert found.to_frame().position.tolist() == [13, 14] and str(found) == '2 edits, target reached'
    found.plot()


def test_designs_go_down_too_and_keep_what_is_protected():
    model = of_score(counting, np.ones(1, np.float32))
    start = 'TTTTTTTTTTGACGTCTTTTTTTTTT'
    down = design(model, start, 25.0, below=True)
    assert down.reached and down.score[0] <= 25 and len(down.edits) == 1
    kept = design(model, start, 16.0, below=True, protected=range(10, 14))
    assert kept.reached and kept.sequence[10:14] == 'GACG' and [e.position for e in kept.edits] == [14, 15]
    nowhere = design(model, start, 9.0, below=True, protected=range(10, 14))
    assert not nowhere.reached and nowhere.score[0] == 16 and str(nowhere).endswith('not reached')


def test_banned_words_are_not_made_and_removed():
    model = of_score(counting, np.ones(1, np.float32))
    start = 'TTTTTTTTTTGATTTCTTTTTTTTTT'
    found = design(model, start, 25.0, banned=['GACTT'])  # of the two words that score 25, GACTTC and GATGTC
    assert found.reached and 'GATGTC' in found.sequence and len(found.edits) == 1
    neither = design(model, start, 25.0, banned=['GACTT', 'GACATC'])  # the second as it reads on the other strand
    assert not any(word in neither.sequence for word in ('GACTT', 'AAGTC', 'GACATC', 'GATGTC'))
    without = design(model, 'TTTTGGATCCTTTT', 0.0, banned=['GGATCC'])
    assert without.reached and 'GGATCC' not in without.sequence and len(without.edits) == 1


def test_a_robust_design_satisfies_every_model():
    def two(params, x):
        return params[0] * contains(x, 'GAC').max(1) + params[1] * contains(x, 'CTG').max(1)

    models = of_score(two, np.array([[3.0, 0.0], [0.0, 3.0]], np.float32), names=('gac', 'ctg'))
    found = design(models, 'AAAAAAGAAAAAAAACTAAAAAA', 2.0)
    assert found.reached and (found.score == 3).all() and len(found.edits) == 2
    one = of_score(two, np.array([[3.0, 0.0]], np.float32))
    assert len(design(one, 'AAAAAAGAAAAAAAACTAAAAAA', 2.0).edits) == 1


def test_the_best_pair_of_edits_of_a_network_is_found_as_by_brute_force():
    model = of_models([demo_jax.wrap(CNN, random_params(CNN, 2), name='m')])
    tokens = np.random.default_rng(5).integers(0, 4, 16).astype(np.uint8)
    pairs = []
    for (i, a), (j, b) in itertools.combinations(itertools.product(range(16), range(4)), 2):
        if i != j and a != tokens[i] and b != tokens[j]:
            row = tokens.copy()
            row[i], row[j] = a, b
            pairs.append(row)
    best = model.score(np.stack(pairs))[0].max()
    found = design(model, dna.decode(tokens), float(best) - 1e-5, beam=48)
    assert found.reached and len(found.edits) <= 2


def dna_sequences():
    return np.zeros((1, 20), np.uint8)


@pytest.mark.parametrize(
    'call, message',
    [
        (lambda m: epistasis(m, {'a': 'ACG'}, BACKGROUNDS), '1 motif was given, expected at least two'),
        (
            lambda m: epistasis(m, MOTIFS, BACKGROUNDS, pairs=[Arranged('a', 'z')]),
            "has motif 'z'; there are 'a', 'b', 'c'",
        ),
        (lambda m: epistasis(m, MOTIFS, BACKGROUNDS, gap=40), 'are longer than the sequence'),
        (lambda m: epistasis(m, MOTIFS, BACKGROUNDS, gap=-3), 'would overlap'),
        (lambda m: ablate(m, dna_sequences(), []), 'no hit was given'),
        (lambda m: ablate(m, dna_sequences(), [Hit(1, 0, 4, 'x')]), 'is in sequence 2, but there are 1'),
        (
            lambda m: ablate(m, dna_sequences(), [Hit(0, 18, 4, 'x')]),
            "hit 'x 19-22' of sequence 1 juts out of 20 letters",
        ),
        (lambda m: design(m, 'ACGTACGTACGT', 1, protected=range(12)), 'all 12 positions are protected'),
        (
            lambda m: design(m, 'ACGTACGTACGT', 1, protected=[12]),
            'protected position 13 is outside of a sequence of 12',
        ),
        (lambda m: design(m, 'ACGTACGTACGT', [1, 2]), 'one for each of 3 models'),
        (lambda m: design(m, 'ACGTACGTACGT', 1, banned=['AXC']), "banned word 'AXC': position 2 holds 'X'"),
        (lambda m: design(m, 'ACGTACGTACGT', 1, method='luck'), "method is 'luck', expected mutagenesis or gradient"),
    ],
)
def test_bad_questions_are_one_line(call, message):
    with pytest.raises(InputError) as error:
        call(three_models())
    assert message in str(error.value) and '\n' not in str(error.value)
