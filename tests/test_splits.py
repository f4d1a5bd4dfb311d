"""What is trained on and what judges a model share no sequence: overlapping windows, duplicates, either strand."""

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.data.build import Records, TaskRecords, build_corpus, hold_out
from demo_jax.data.intervals import PeakOptions
from demo_jax.data.readers import read_corpus
from demo_jax.data.splits import choose_rows, related
from demo_jax.errors import InputError
from demo_jax.stages.sources import describe, seen_in_training
from tests.helpers import labelled, positives

WIDTH = 20


def two_summits(n, apart):
    """Windows around the two summits, so far apart, of n peaks, 1,000 bp from one another."""
    rng = np.random.default_rng(0)
    places = [('chr1', 1000 * peak + summit, 1) for peak in range(n) for summit in (0, apart)]
    tokens = [rng.integers(0, 4, WIDTH, dtype=np.uint8) for _ in places]
    names = [f'{chrom}:{start}' for chrom, start, _ in places]
    return Records(tokens, np.ones(2 * n, np.uint8), names, intervals=places)


def groups_of(intervals, lengths):
    tokens = [np.random.default_rng(n).integers(0, 4, length, dtype=np.uint8) for n, length in enumerate(lengths)]
    return related(tokens, np.full(len(tokens), -1), intervals).tolist()


def test_windows_that_overlap_by_one_letter_belong_together_and_those_that_touch_do_not():
    places = [('chr1', 100, 1), ('chr1', 119, -1), ('chr1', 139, 1), ('chr2', 100, 1), (None, 0, 1), (None, 0, 1)]
    assert groups_of(places, [20] * 6) == [0, 0, 1, 2, 3, 4]


def test_a_chain_of_windows_is_one_group_whatever_their_order_and_length():
    places = [('chr1', 300, 1), ('chr1', 0, 1), ('chr1', 290, 1), ('chr1', 50, 1), ('chr1', 320, 1)]
    assert groups_of(places, [20, 300, 20, 10, 10]) == [0, 0, 0, 0, 1]


def test_equal_letters_on_either_strand_and_pairs_belong_together():
    tokens = [dna.encode(text) for text in ('AACCG', 'CGGTT', 'AACCG', 'AACCT', 'GGGGG', 'AACC')]
    assert related(tokens, np.array([-1, 7, -1, -1, 7, -1])).tolist() == [0, 0, 0, 1, 0, 2]


@pytest.mark.parametrize('fraction', [0.1, 0.3])
@pytest.mark.parametrize('given_pairs', [True, False])
def test_summits_of_one_peak_stay_in_one_split(fraction, given_pairs):
    train = two_summits(50, 7)
    rng = np.random.default_rng(1)
    if given_pairs:
        train = Records(
            [*train.tokens, *dna.dinucleotide_shuffle(np.stack(train.tokens), rng)],
            [1] * 100 + [0] * 100,
            [*train.names, *train.names],
            np.tile(np.arange(100), 2),
            [*train.intervals, *[(None, 0, 1)] * 100],
        )
    corpus = build_corpus([TaskRecords('a', train, labelled(10))], valid_fraction=fraction)
    counts = corpus.info['tasks']['a']['counts']
    assert counts['valid'] == {name: round(100 * fraction) for name in ('positives', 'negatives', 'pairs')}
    splits = {'train': set(), 'valid': set()}
    for split, peaks in splits.items():
        span = corpus.rows('a', split)
        peaks |= {int(start) // 1000 for start in corpus.intervals['start'][span][corpus.labels[span] == 1]}
    assert splits['train'] | splits['valid'] == set(range(50)) and not splits['train'] & splits['valid']
    apart = build_corpus([TaskRecords('a', two_summits(50, WIDTH), labelled(10))], valid_fraction=fraction)
    starts = [set(apart.intervals['start'][apart.rows('a', split)] // 1000) for split in ('train', 'valid')]
    assert starts[0] & starts[1] - {0}  # windows that only touch are free to go apart


def test_what_is_held_out_for_testing_overlaps_nothing_that_is_left():
    rest, held = hold_out(two_summits(50, 7), 0.2, np.random.default_rng(0))
    peaks = [{start // 1000 for _, start, _ in part.intervals} for part in (rest, held)]
    assert len(held.tokens) == 20 and len(peaks[1]) == 10 and not peaks[0] & peaks[1]


def test_without_relations_the_choice_is_what_it_was():
    labels, pairs = np.array([1, 0] * 30 + [1] * 20 + [0] * 25), np.array([*np.repeat(np.arange(30), 2), *[-1] * 45])
    tokens = [np.random.default_rng(n).integers(0, 4, 30, dtype=np.uint8) for n in range(len(labels))]
    alone = choose_rows(labels, pairs, 0.2, np.random.default_rng(3))
    assert (alone == choose_rows(labels, pairs, 0.2, np.random.default_rng(3), related(tokens, pairs))).all()
    rng = np.random.default_rng(3)  # of the pairs, the positives and the negatives, the first share of a permutation
    expected = set(np.flatnonzero(np.isin(pairs, rng.permutation(30)[:6])).tolist())
    expected |= set((60 + rng.permutation(20)[:4]).tolist()) | set((80 + rng.permutation(25)[:5]).tolist())
    assert set(np.flatnonzero(alone).tolist()) == expected


def test_a_large_group_is_taken_only_where_nothing_smaller_is_there():
    labels, pairs = np.ones(10, int), np.full(10, -1)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert choose_rows(labels, pairs, 0.2, rng, np.array([0] * 8 + [1, 2])).tolist() == [False] * 8 + [True] * 2
        assert choose_rows(labels, pairs, 0.2, rng, np.array([0] * 6 + [1] * 4)).tolist() == [False] * 6 + [True] * 4
        assert not choose_rows(labels, pairs, 0.2, rng, np.zeros(10, int)).any()


def test_sequences_that_cannot_be_parted_are_refused():
    same = Records([dna.encode('ACGTACGGTTA')] * 6, [1] * 6, list('abcdef'))
    with pytest.raises(InputError, match="^task 'a': all 12 sequences overlap or are equal"):
        build_corpus([TaskRecords('a', same, labelled(5))])
    with pytest.raises(InputError, match='^all 6 sequences .* none of them can be set aside'):
        hold_out(Records(same.tokens, [1] * 6, same.names, np.full(6, -1)), 0.5, np.random.default_rng(0))


def test_a_group_of_several_kinds_is_taken_whole():
    labels, pairs = np.array([1, 0, 1, 0, 1, 1, 1, 0, 0, 0]), np.array([0, 0, 1, 1, -1, -1, -1, -1, -1, -1])
    groups = np.array([0, 0, 1, 1, 0, 2, 3, 1, 4, 5])  # a positive as in pair 0, a negative as in pair 1
    for seed in range(20):
        chosen = choose_rows(labels, pairs, 0.3, np.random.default_rng(seed), groups)
        assert all(len(set(chosen[groups == group].tolist())) == 1 for group in range(6))
        assert [int(chosen[rows].sum()) for rows in (slice(0, 4), slice(4, 7), slice(7, 10))] == [2, 1, 1]


def test_test_sequences_that_training_holds_are_counted_and_said():
    given = labelled(10)
    again = [positives(40).tokens[3], dna.reverse_complement(positives(40).tokens[5])]
    test = Records([*again, *given.tokens], [1, 1, *given.labels], ['same', 'turned', *given.names])
    corpus = build_corpus(
        [
            TaskRecords('a', positives(40), test),
            TaskRecords('b', positives(40), labelled(10, 7)),
        ]
    )
    info = corpus.info['tasks']
    overlap = {dna.decode(tokens) for tokens in given.tokens} & {dna.decode(tokens) for tokens in positives(40).tokens}
    assert info['a']['test_in_training'] == 2 + len(overlap) and info['b']['test_in_training'] == 0
    assert f'{2 + len(overlap)} of test also in training' in describe(corpus).splitlines()[1]
    assert seen_in_training(corpus).startswith(f'{2 + len(overlap)} test sequences')
    assert not seen_in_training(corpus.select(['b']))


CHROMS = ('chr1', 'chr1_KI270706v1_random', 'chr8', 'chr8_KI270821v1_alt', 'chr80', 'chrUn_GL000195v1')


@pytest.fixture
def genome(tmp_path):
    """Two chromosomes with a piece each, one whose name begins as another's, and one that is not placed."""
    rng = np.random.default_rng(5)
    with open(tmp_path / 'genome.fa', 'w') as file:
        for chrom in CHROMS:
            text = dna.decode(rng.integers(0, 4, 3000, dtype=np.uint8))
            file.write(f'>{chrom}\n{text}\n')
    return tmp_path / 'genome.fa'


def peak_file(path):
    path.write_text(''.join(f'{chrom}\t{at}\t{at + 101}\n' for chrom in CHROMS for at in range(200, 1000, 200)))
    return path


@pytest.mark.parametrize('negatives', ['shuffle', 'gc'])
@pytest.mark.parametrize(
    ('test_chroms', 'held'),
    [
        (('chr8',), {'chr8', 'chr8_KI270821v1_alt'}),
        (('chr1',), {'chr1', 'chr1_KI270706v1_random'}),
        (('chr80',), {'chr80'}),
        (('chr8_KI270821v1_alt',), {'chr8_KI270821v1_alt'}),
        (('chrUn',), {'chrUn_GL000195v1'}),
    ],
)
def test_the_pieces_of_a_test_chromosome_are_no_training_data(tmp_path, genome, test_chroms, held, negatives):
    options = PeakOptions(genome, test_chroms=test_chroms, negatives=negatives)
    corpus = read_corpus('bed', [peak_file(tmp_path / 'p.bed')], peaks=options)
    found = {
        split: {corpus.chroms[number] for number in corpus.intervals['chrom'][corpus.rows('p', split)] if number >= 0}
        for split in ('train', 'valid', 'test')
    }
    assert found['test'] == held and found['train'] | found['valid'] == set(CHROMS) - held
    pieces = sorted(held - set(test_chroms))
    said = [note for note in corpus.info['tasks']['p']['notes'] if 'pieces' in note]
    assert bool(said) == bool(pieces) and all(piece in said[0] for piece in pieces)


def test_a_blacklist_in_the_folder_of_the_peaks_is_no_task(tmp_path, genome):
    folder = tmp_path / 'peaks'
    folder.mkdir()
    peak_file(folder / 'ctcf.bed')
    black = folder / 'hg38-blacklist.bed'
    black.write_text('chr1\t0\t350\n')
    (folder / '._ctcf.bed').write_bytes(b'\0\5\26\7Mac OS X')  # as macOS leaves beside a copied file
    corpus = read_corpus('bed', [folder], peaks=PeakOptions(genome, test_chroms=('chr8',), blacklist=black))
    assert corpus.tasks == ('ctcf',) and corpus.info['tasks']['ctcf']['dropped']['blacklisted'] == 1
    with pytest.raises(InputError, match='is the only peak file, and the blacklist too'):
        read_corpus('bed', [black], peaks=PeakOptions(genome, test_chroms=('chr8',), blacklist=black))
    with pytest.raises(InputError, match='hg38-blacklist.bed: no peak lies on the test'):
        read_corpus('bed', [folder], peaks=PeakOptions(genome, test_chroms=('chr8',)))
