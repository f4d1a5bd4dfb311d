"""Tomtom against MEME's own output, and its parts against direct calculation."""

import itertools
import os
import pathlib

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.io import files
from demo_jax.motifs import formats, jaspar, tomtom

DATA = pathlib.Path(__file__).parent / 'data'


@pytest.fixture(scope='module')
def targets() -> tomtom.Targets:
    matrices = jaspar.load_matrices('JASPAR2016')
    return tomtom.prepare_targets({motif: matrix.probabilities for motif, matrix in matrices.items()})


@pytest.fixture(scope='module')
def few_targets() -> tomtom.Targets:
    rng = np.random.default_rng(5)
    return tomtom.prepare_targets({f'm{k}': rng.dirichlet([0.3] * 4, size=2 + k % 9) for k in range(60)})


def random_words(n: int, width: int = 9, seed: int = 0, letters: int = 4) -> list[str]:
    tokens = np.random.default_rng(seed).integers(0, letters, (n, width)).astype(np.uint8)
    return [dna.decode(row) for row in tokens]


def read_oracle(path: pathlib.Path, tmp_path: pathlib.Path) -> list[dict[str, str]]:
    """MEME's rows; comment lines are left out."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith('#')]
    files.write_text(tmp_path / 'oracle.tsv', '\n'.join(lines) + '\n')
    return files.read_tsv(tmp_path / 'oracle.tsv')


def check_against_meme(queries: dict, rows: list[dict[str, str]], targets: tomtom.Targets) -> None:
    names = list(queries)
    matches = tomtom.match_motifs(list(queries.values()), targets)
    at = tuple(np.array([(names.index(row['Query_ID']), targets.index(row['Target_ID'])) for row in rows]).T)
    for field, column in (('p_value', 'p-value'), ('e_value', 'E-value')):
        difference = np.log10(getattr(matches, field)[at]) - np.log10([float(row[column]) for row in rows])
        assert np.abs(difference).max() < 1e-4  # the figures have six digits
    # MEME draws its bootstrap samples at random, so its pi0, a factor of all q-values, scatters a little.
    q_value = np.array([float(row['q-value']) for row in rows])
    assert np.abs(np.log10(matches.q_value[at]) - np.log10(q_value)).max() < 0.005
    for threshold in (0.1, 0.5):
        ours, theirs = matches.q_value[at] < threshold, q_value < threshold
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.99
    assert (matches.offset[at] == [int(row['Optimal_offset']) for row in rows]).all()
    assert (matches.overlap[at] == [int(row['Overlap']) for row in rows]).all()
    assert (matches.forward[at] == [row['Orientation'] == '+' for row in rows]).all()
    # The oracle has every pair with p <= 0.05 and no other.
    assert (matches.p_value <= 0.05).sum() == len(rows)


def test_matches_meme(targets, tmp_path):
    rows = read_oracle(DATA / 'tomtom_oracle.tsv', tmp_path)
    check_against_meme(formats.read_meme(DATA / 'tomtom_oracle_queries.meme'), rows, targets)


def test_matches_meme_on_sixty_queries(targets, tmp_path):
    reference = pathlib.Path(os.environ.get('DEMO_JAX_DATA', '')).absolute().parent / 'reference'
    if 'DEMO_JAX_DATA' not in os.environ or not (reference / 'tomtom_queries.meme').exists():
        pytest.skip('the full oracle is not here')
    rows = read_oracle(reference / 'tomtom_meme558_jaspar2016.tsv', tmp_path)
    check_against_meme(formats.read_meme(reference / 'tomtom_queries.meme'), rows, targets)


@pytest.mark.skipif('DEMO_JAX_SLOW' not in os.environ, reason='DEMO_JAX_SLOW is not set: memelite compiles for minutes')
def test_memelite_gives_the_same_p_values(targets):
    from memelite.tomtom import tomtom as memelite_tomtom

    queries = list(formats.read_meme(DATA / 'tomtom_oracle_queries.meme').values())
    stops = np.cumsum(np.tile(targets.widths, 2))
    strandwise = memelite_tomtom(
        [np.ascontiguousarray(query.T) for query in queries],
        [np.ascontiguousarray(matrix.T) for matrix in np.split(targets.columns, stops[:-1])],
        reverse_complement=False,
        n_target_bins=None,
        n_median_bins=100_000,
    )[0]
    better = np.minimum(strandwise[:, : len(targets)], strandwise[:, len(targets) :])
    expected = 1 - (1 - better) ** 2  # the chance that one of two strands does as well
    expected = np.where(better < 1e-9, 2 * better, expected)  # where 1 - p is rounded
    found = tomtom.match_motifs(queries, targets).p_value
    assert np.mean(np.abs(np.log10(found) - np.log10(expected)) < 1e-3) > 0.999


@pytest.mark.parametrize('width', [1, 3, 6])
def test_p_values_count_alignments_to_random_targets(few_targets, width):
    """The p-value formula, from the definition: every alignment is independent, with columns drawn at random."""
    query = np.random.default_rng(1).dirichlet([0.5] * 4, size=width)
    distance = np.sqrt(((query[:, None] - few_targets.columns[None]) ** 2).sum(axis=2))
    median = np.sort(-distance, axis=1)[:, distance.shape[1] // 2 - 1]
    score = -distance - median[:, None]
    lowest = np.floor(score.min())
    scale = np.floor(100 / (score.max() - lowest))
    bins = np.floor(score * scale + 0.5).astype(int)  # of column i against every target column

    def chances(columns: range) -> dict[int, float]:
        total = {0: 1.0}
        for column in columns:
            values, counts = np.unique(bins[column], return_counts=True)
            following: dict[int, float] = {}
            for have, value in itertools.product(total, range(len(values))):
                key = have + int(values[value])
                following[key] = following.get(key, 0.0) + total[have] * counts[value] / counts.sum()
            total = following
        return total

    matches = tomtom.match_motifs([query], few_targets)
    ends = np.cumsum(few_targets.widths)
    for target in (0, 3, 8, 20):
        size = int(few_targets.widths[target])
        columns = bins[:, ends[target] - size : ends[target]]
        reverse = bins[:, ends[-1] + ends[target] - size : ends[-1] + ends[target]]
        p_values = []
        for strand in (columns, reverse):
            scores, none_reaches = [], 1.0
            spans = []
            for offset in range(-(width - 1), size):
                aligned = range(max(0, -offset), min(width, size - offset))
                scores.append(sum(strand[column, column + offset] for column in aligned))
                spans.append(aligned)
            for aligned in spans:
                none_reaches *= sum(share for value, share in chances(aligned).items() if value < max(scores))
            p_values.append(1 - none_reaches)
        assert matches.p_value[0, target] == pytest.approx(1 - (1 - min(p_values)) ** 2, rel=1e-9)


def test_q_values_are_pi0_times_benjamini_hochberg():
    p_value = np.random.default_rng(3).beta(0.6, 1, size=(5, 400))
    shares = tomtom.null_share(p_value)
    for row, share in zip(p_value, shares, strict=True):
        expected = np.minimum(false_discovery_control(row) * share, share)
        np.testing.assert_allclose(tomtom.q_values(row[None])[0], expected, rtol=1e-12)
    assert (shares < 0.95).all() and (shares > 0.3).all()


def test_null_share_is_the_bootstrap_choice():
    """Storey's procedure with real bootstrap samples, many of them, picks the same lambda or one as good."""
    rng = np.random.default_rng(0)
    p_value = np.concatenate([rng.random(700), rng.beta(0.2, 4, 300)])
    lambdas = np.arange(1, 101) * 0.005

    def estimates(values: np.ndarray) -> np.ndarray:
        return (values[:, None] >= lambdas).mean(axis=0) / (1 - lambdas)

    error = np.zeros(100)
    for _ in range(3000):
        error += (estimates(rng.choice(p_value, 1000)) - estimates(p_value).min()) ** 2
    expected = estimates(p_value)[error.argmin()]
    assert tomtom.null_share(p_value[None])[0] == pytest.approx(expected, rel=0.01)
    assert expected < 0.85


def test_null_share_of_few_or_uniform_or_small_p_values():
    rng = np.random.default_rng(0)
    assert tomtom.null_share(rng.random((2, 100)) / 10).tolist() == [1.0, 1.0]
    assert tomtom.null_share(rng.random((1, 5000)))[0] > 0.93
    assert tomtom.null_share(np.full((1, 200), 0.001)).tolist() == [1.0]  # nothing above any lambda: no estimate
    assert tomtom.null_share(np.linspace(0, 1, 300)[None] ** 2)[0] < 0.75


def test_words_are_matched_like_motifs(targets):
    words = random_words(20) + ['AAAAAAAAA', 'ACACACACA', 'ANNNNNNNT', 'NNNNNNNNN']
    keep = [0, 7, 300, 518]
    expected = tomtom.match_motifs([tomtom.word_motif(word) for word in words], targets)
    found = tomtom.match_words(words, targets)
    assert found.p_value.shape == (len(words), len(targets))
    chosen = tomtom.match_words(words, targets, keep=keep, threads=1)
    for field in ('p_value', 'e_value', 'q_value'):
        np.testing.assert_allclose(getattr(found, field), getattr(expected, field), rtol=1e-5)
        np.testing.assert_array_equal(getattr(chosen, field), getattr(found, field)[:, keep])


@pytest.mark.parametrize('width', [1, 5, 12])
def test_words_of_other_widths(few_targets, width):
    words = random_words(10, width)
    expected = tomtom.match_motifs([tomtom.word_motif(word) for word in words], few_targets)
    np.testing.assert_allclose(tomtom.match_words(words, few_targets).p_value, expected.p_value, rtol=1e-5)


def test_reverse_complements_match_on_the_other_strand(targets):
    words = random_words(6, seed=2)
    turned = [dna.decode(dna.reverse_complement(dna.encode(word))) for word in words]
    here, there = (tomtom.match_motifs([tomtom.word_motif(word) for word in some], targets) for some in (words, turned))
    np.testing.assert_allclose(here.p_value, there.p_value, rtol=1e-9)
    np.testing.assert_allclose(here.q_value, there.q_value, rtol=1e-9)
    assert (here.forward != there.forward).mean() > 0.95  # a motif equal to its own reverse complement stays


def test_repeated_words_are_computed_once(few_targets):
    done = []
    words = ['ACGTTGCAA', 'TTGCAACGT', 'ACGTTGCAA', 'CCCCCCCCC']
    found = tomtom.match_words(words, few_targets, progress=done.append)
    assert sum(done) == 2  # the second is the first on the other strand
    np.testing.assert_array_equal(found.p_value[0], found.p_value[2])
    np.testing.assert_array_equal(found.p_value[0], found.p_value[1])
    assert tomtom.match_words([], few_targets, keep=[3]).q_value.shape == (0, 1)


def test_a_motif_finds_itself(targets):
    for motif in ('MA0139.1', 'MA0035.3'):
        number = targets.index(motif)
        start = targets.widths[:number].sum()
        matrix = targets.columns[start : start + targets.widths[number]]
        matches = tomtom.match_motifs([matrix, matrix[::-1, ::-1]], targets)
        assert matches.p_value.argmin(axis=1).tolist() == [number, number]
        assert matches.p_value[0, number] < 1e-8
        assert matches.offset[:, number].tolist() == [0, 0]
        assert matches.forward[:, number].tolist() == [True, False]


def test_word_motif():
    motif = tomtom.word_motif('gN')
    np.testing.assert_allclose(motif[0], [0.01 / 1.04, 0.01 / 1.04, 1.01 / 1.04, 0.01 / 1.04])
    np.testing.assert_allclose(motif[1], 0.25)


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda targets: tomtom.prepare_targets({}), 'database is empty'),
        (lambda targets: tomtom.prepare_targets({'a': np.ones((3, 5)) / 5}), r"'a' has shape \(3, 5\)"),
        (lambda targets: tomtom.prepare_targets({'a': np.eye(4) * 2}), "'a', column 1 holds .* add up to 1"),
        (lambda targets: tomtom.match_motifs([np.eye(4), np.full((2, 4), np.nan)], targets), 'query 1, column 1 holds'),
        (lambda targets: tomtom.match_words(['ACG', 'AC'], targets), "one length, found 'ACG' and 'AC'"),
        (lambda targets: tomtom.match_words([''], targets), 'one length'),
        (lambda targets: tomtom.match_words(['ACE'], targets), "'E'"),
        (lambda targets: tomtom.match_words(['A' * 28], targets), '28 letters'),
        (lambda targets: targets.index('MA9'), "no motif 'MA9' among the 60 targets"),
    ],
)
def test_bad_input(few_targets, make, message):
    with pytest.raises(InputError, match=message) as caught:
        make(few_targets)
    assert '\n' not in str(caught.value)
