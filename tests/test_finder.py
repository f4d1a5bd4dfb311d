"""The motif finder against brute force in float64, against planted motifs, and against itself under symmetries."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from demo_jax import dna
from demo_jax.baseline import finder, zoops
from demo_jax.baseline.finder import FinderSettings
from demo_jax.baseline.zoops import Background, Candidates
from demo_jax.data.readers import read_corpus
from demo_jax.errors import InputError
from demo_jax.motifs import jaspar, tomtom
from demo_jax.stages.baseline import top_positives

SETTINGS = FinderSettings(n_motifs=2, widths=(8, 11, 14), n_seeds=2, seed_lengths=(6,), seed_width=8)
SHAPE = (3, 170, 64)  # of every search below, so that there is one program to compile
find = functools.partial(finder.find_motifs, settings=SETTINGS, shape=SHAPE)
# Compiled as a whole: one by one their operations take longer to compile.
make_windows = jax.jit(zoops.make_windows)
expectation = jax.jit(zoops.expectation)
maximisation = jax.jit(zoops.maximisation)
covered = jax.jit(zoops.covered)
enriched_words = jax.jit(finder.enriched_words, static_argnums=5)


# --- Brute force, one sequence and one window at a time ---


def log_background(word, background: Background) -> float:
    steps = [math.log(background.transitions[a, b]) for a, b in itertools.pairwise(word)]
    return math.log(background.letters[word[0]]) + sum(steps)


def places(sequence, free, width):
    return [j for j in range(len(sequence) - width + 1) if free[j : j + width].all()]


def brute_force(tokens, free, weights, background, matrix, share, pseudocount):
    """log_odds (2, N, L), sites (2, N, L), log ratios (N,), objective, and the next matrix and share."""
    n, length = tokens.shape
    width = len(matrix)
    odds, sites = np.full((2, n, length), -np.inf), np.zeros((2, n, length))
    ratios, counts, n_able = np.zeros(n), pseudocount * np.tile(background.letters, (width, 1)), 0.0
    for row in range(n):
        starts = places(tokens[row], free[row], width)
        for j in starts:
            word = tokens[row, j : j + width].astype(int)
            for strand, read in enumerate((word, 3 - word[::-1])):
                log_p = sum(math.log(matrix[i, a]) for i, a in enumerate(read))
                odds[strand, row, j] = log_p - log_background(word, background)
        if not starts:
            continue
        n_able += weights[row]
        each = share / (2 * len(starts)) * np.exp(odds[:, row])
        ratios[row] = math.log(1 - share + each.sum())
        sites[:, row] = each / math.exp(ratios[row])
        for j in starts:
            word = tokens[row, j : j + width].astype(int)
            for strand, read in enumerate((word, 3 - word[::-1])):
                counts[np.arange(width), read] += weights[row] * sites[strand, row, j]
    objective = (ratios * weights).sum() + pseudocount * (np.log(matrix) * background.letters).sum()
    objective += 0.5 * (math.log(share) + math.log(1 - share))
    held = (sites.sum(axis=(0, 2)) * weights).sum()
    return odds, sites, ratios, objective, counts / counts.sum(axis=1, keepdims=True), (held + 0.5) / (n_able + 1)


@pytest.fixture(scope='module')
def small():
    """A few sequences with N, of different lengths, partly masked, one too short for any window; two candidates."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 4, (6, 20)).astype(np.uint8)
    tokens[1, 12:] = tokens[2, 5] = tokens[3, :18] = dna.N
    free = tokens < dna.N
    free[4, 7:11] = False
    weights = np.array([1, 2, 1, 1, 0.5, 0], np.float32)
    background = Background.of([row[row < dna.N] for row in tokens])
    matrices = [rng.dirichlet([0.5] * 4, width) * 0.96 + 0.01 for width in (4, 7)]
    padded = np.full((2, 7, 4), 0.25, np.float32)
    for number, matrix in enumerate(matrices):
        padded[number, : len(matrix)] = matrix
    model = Candidates(jnp.asarray(padded), jnp.array([0.3, 0.8]), jnp.array([4, 7]))
    letters, transitions = background.logs()
    windows = make_windows(tokens, free, weights, letters, transitions, model)
    return tokens, free, weights, background, matrices, model, windows


def test_steps_against_brute_force(small):
    tokens, free, weights, background, matrices, model, windows = small
    expected = expectation(model, windows, 0.7)
    new = maximisation(expected, windows, model, 0.7)
    for number, matrix in enumerate(matrices):
        odds, sites, ratios, objective, after, share = brute_force(
            tokens, free, weights, background, matrix, float(model.share[number]), 0.7
        )
        np.testing.assert_allclose(expected.log_odds[..., number], odds, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(expected.sites[..., number], sites, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(expected.log_ratio[:, number], ratios, rtol=1e-4, atol=1e-5)
        assert expected.log_likelihood[number] == pytest.approx((ratios * weights).sum(), abs=1e-4)
        assert expected.objective[number] == pytest.approx(objective, abs=1e-4)
        np.testing.assert_allclose(new.probabilities[number, : len(matrix)], after, rtol=1e-4, atol=1e-6)
        assert new.share[number] == pytest.approx(share, abs=1e-5)
    assert expected.log_ratio[3].tolist() == [0, 0]  # no window fits


def test_em_never_lowers_its_objective(small):
    *_, model, windows = small

    history = []
    for _ in range(40):
        expected = expectation(model, windows, 0.7)
        model = maximisation(expected, windows, model, 0.7)
        history.append(np.asarray(expected.objective))
    gains = np.diff(np.array(history), axis=0)
    assert gains.min() > -1e-4 and (history[-1] - history[0] > 0.5).all()


def test_what_a_site_covers(small):
    tokens, free, weights, background, *_ = small
    share, matrix = 0.95, np.full((5, 4), 0.02)
    matrix[np.arange(5), tokens[0, 8:13]] = 0.94  # a word that is there, and its neighbours by a letter or two
    model = Candidates(jnp.asarray(matrix, jnp.float32)[None], jnp.array([share]), jnp.array([5]))
    windows = make_windows(tokens, free, weights, *background.logs(), model)
    odds = brute_force(tokens, free, weights, background, matrix, share, 1.0)[0]
    under = np.zeros(tokens.shape, bool)
    for row in range(len(tokens)):
        starts = places(tokens[row], free[row], 5)
        for j in starts:
            if share / (2 * len(starts)) * np.exp(odds[:, row, j]).max() > 1:
                under[row, j : j + 5] = True
    np.testing.assert_array_equal(covered(expectation(model, windows, 1.0), model, windows), under)
    assert under[0, 8:13].all() and 5 <= under.sum() < free.sum() / 2


def test_background_is_the_same_on_both_strands():
    sequence = dna.encode('AACGTTGGA')
    background = Background.of([sequence, dna.encode('NN')], pseudocount=0.0)
    pairs = ['AA', 'AC', 'CG', 'GT', 'TT', 'TG', 'GG', 'GA', 'AA']  # the last one closes the circle
    pairs += [dna.decode(dna.reverse_complement(dna.encode(pair))) for pair in pairs]
    for first, second in itertools.product('ACGT', repeat=2):
        total = sum(pair[0] == first for pair in pairs)
        found = background.transitions['ACGT'.index(first), 'ACGT'.index(second)]
        assert found == pytest.approx(pairs.count(first + second) / total)
    rng = np.random.default_rng(0)
    background = Background.of([rng.integers(0, 5, 30).astype(np.uint8) for _ in range(3)])
    for word in rng.integers(0, 4, (20, 7)):
        assert log_background(word, background) == pytest.approx(log_background(3 - word[::-1], background))
    assert background.letters.sum() == pytest.approx(1)
    np.testing.assert_allclose(background.letters @ background.transitions, background.letters)  # stationary


def test_seeds_are_the_most_enriched_words():
    rng = np.random.default_rng(3)
    tokens = rng.integers(0, 4, (30, 40)).astype(np.uint8)
    for row in range(14):
        word = dna.encode('GATTAC')
        tokens[row, 9:15] = word if row % 2 else dna.reverse_complement(word)
    weights = np.array([1.0] * 28 + [0.0] * 2, np.float32)
    background = Background.of(list(tokens[:28]))
    free = tokens < dna.N

    def words(*sizes):
        settings = FinderSettings(n_seeds=2, seed_lengths=sizes, seed_width=8)
        return np.asarray(enriched_words(tokens, free, weights, *background.logs(), settings))

    for size in (6, 4):
        scores = {}
        for letters in itertools.product(range(4), repeat=size):
            word = np.array(letters)
            other = 3 - word[::-1]
            if tuple(other) < letters:
                continue
            text = {word.astype(np.uint8).tobytes(), other.astype(np.uint8).tobytes()}
            seen = sum(any(one in row.tobytes() for one in text) for row in tokens[:28])
            rate = math.exp(log_background(word, background)) * len(text)
            likely = 28 * (1 - math.exp(-rate * (40 - size + 1)))
            if seen > likely:
                scores[letters] = seen * math.log(seen / likely) - (seen - likely)
        assert tuple(words(size)[0].tolist()) == max(scores, key=scores.get)
    both = [dna.decode(word) for word in words(6, 4)]
    assert both[0] == 'GATTAC'  # of the two strands' words the first in the alphabet
    assert both[1] != both[0] and both[2] not in 'GATTACNGTAATC'  # taken out after the first, for the shorter too
    assert both[2].endswith('NN') and len(both) == 4


# --- Whole searches ---


def planted(seed: int, motifs, n: int = 150, length: int = 60):
    """Sequences of a random chain with sites of (matrix, share) on either strand, side by side."""
    rng = np.random.default_rng(seed)
    chain = np.cumsum(rng.dirichlet([4] * 4, 4), axis=1)
    tokens = np.zeros((n, length), np.uint8)
    for at in range(1, length):
        tokens[:, at] = (rng.random((n, 1)) > chain[tokens[:, at - 1]]).sum(axis=1)
    room = length // len(motifs)
    for number, (matrix, share) in enumerate(motifs):
        for row in np.flatnonzero(rng.random(n) < share):
            site = np.array([rng.choice(4, p=column / column.sum()) for column in matrix], np.uint8)
            start = number * room + rng.integers(0, room - len(site) + 1)
            tokens[row, start : start + len(site)] = site if rng.random() < 0.5 else dna.reverse_complement(site)
    return list(tokens)


@pytest.fixture(scope='module')
def known():
    matrices = jaspar.load_matrices('JASPAR2016')
    return {name: matrices[name].probabilities for name in ('MA0035.3', 'MA0099.2', 'MA0062.2')}


@pytest.fixture(scope='module')
def tasks(known):
    gata, jun, gabpa = known.values()
    return [planted(1, [(gata, 0.8), (jun, 0.5)]), planted(2, [(gabpa, 0.7)], n=140)]


@pytest.fixture(scope='module')
def found(tasks):
    return find(tasks)


def test_planted_motifs_are_found(found):
    matrices = jaspar.load_matrices('JASPAR2016')
    targets = tomtom.prepare_targets({motif: matrix.probabilities for motif, matrix in matrices.items()})
    for motif, name, share in (
        (found[0][0], 'GATA', 0.8),
        (found[0][1], 'JUN', 0.5),
        (found[1][0], 'GABPA', 0.7),
    ):
        matches = tomtom.match_motifs([motif.probabilities], targets)
        best = matrices[targets.ids[int(matches.p_value[0].argmin())]].name.upper()
        # Families share a motif: the nearest matrix is one of the family's.
        family = {'GATA': 'GATA TAL1', 'JUN': 'JUN FOS BATF NFE2', 'GABPA': 'GABPA ELK ELF ETV ETS ERG FLI'}
        assert any(member in best for member in family[name].split()), best
        assert matches.q_value[0].min() < 1e-3
        assert motif.share == pytest.approx(share, abs=0.12)
        assert 0 < motif.n_sites <= 150 and motif.log_likelihood_ratio > 50
        np.testing.assert_allclose(motif.probabilities.sum(axis=1), 1)


def test_matrices_are_those_that_were_planted(found, known):
    for motif, truth in zip((found[0][0], found[0][1], found[1][0]), known.values(), strict=True):
        assert similarity(motif.probabilities, truth) > 0.95


def similarity(one, other) -> float:
    """The best correlation of the overlapping parts, 6 columns or more, over shifts and strands."""
    best = -1.0
    for turned in (other, other[::-1, ::-1]):
        for shift in range(-len(turned) + 6, len(one) - 5):
            a = one[max(shift, 0) : shift + len(turned)]
            b = turned[max(-shift, 0) :][: len(a)]
            best = max(best, float(np.corrcoef(a.ravel(), b.ravel())[0, 1]))
    return best


def test_a_real_set(real_data):
    """The middle of the first GATA1 peaks, in the same compiled program as the rest."""
    corpus = read_corpus('deepmotif', [real_data / 'deepmotif'], tasks=['GATA1_K562_GATA-1_USC'])
    top = [sequence[20:80] for sequence in top_positives(corpus, corpus.tasks[0], 170)]
    first = find([top])[0][0]
    word = dna.decode(first.probabilities.argmax(axis=1))
    assert 'GATAA' in word or 'TTATC' in word
    assert first.share > 0.7


def test_a_found_motif_is_masked_before_the_next(found):
    for motifs in found:
        assert similarity(motifs[0].probabilities, motifs[1].probabilities) < 0.8


def assert_same(one, other, turned: bool = False):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        probabilities = b.probabilities[::-1, ::-1] if turned else b.probabilities
        np.testing.assert_allclose(a.probabilities, probabilities, atol=2e-3)
        assert a.log_likelihood_ratio == pytest.approx(b.log_likelihood_ratio, rel=1e-3)
        assert a.seed == b.seed


def test_company_and_place_do_not_matter(tasks, found):
    alone = find([tasks[1]])
    assert_same(alone[0], found[1])
    swapped = find([tasks[1], tasks[0]])
    assert_same(swapped[1], found[0])


def test_padding_changes_nothing(tasks, found):
    longer = [np.concatenate([sequence, np.full(4, dna.N, np.uint8)]) for sequence in tasks[0]]
    assert_same(find([longer])[0], found[0])


def test_several_tasks_at_a_time(tasks, found):
    """As on a GPU, and without padding: two tasks at once on each of the two devices of these tests."""
    for number, motifs in enumerate(finder.find_motifs(tasks * 2, settings=SETTINGS, tasks_at_once=2)):
        assert_same(motifs, found[number % 2])


def test_strands_are_alike(tasks, found):
    """Every sequence on its other strand: the seeds are the same words, and so are the motifs."""
    assert_same(find([[dna.reverse_complement(sequence) for sequence in tasks[0]]])[0], found[0])


def test_nothing_to_find():
    short = [dna.encode('ACGTA')] * 5
    few = [dna.encode('ACGTTGACCATGGA')]
    result = find([[], short, few])
    assert result[0] == result[1] == []
    assert len(result[2]) <= 2
    assert find([[dna.encode('N' * 30)] * 9]) == [[]]
    with pytest.raises(InputError, match='no tasks'):
        find([])


@pytest.mark.parametrize(
    'setting, message',
    [
        ({'n_motifs': 0}, 'n_motifs is 0'),
        ({'widths': ()}, 'widths'),
        ({'widths': (9, 8)}, 'ascending'),
        ({'seed_lengths': (6, 8)}, 'descending'),
        ({'seed_lengths': (10,)}, 'from 9 to 2'),
        ({'seed_width': 7}, 'seed_width'),
        ({'tolerance': 0.0}, 'tolerance'),
        ({'pseudocount': -1.0}, 'pseudocount'),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(InputError, match=message):
        FinderSettings(**setting)
