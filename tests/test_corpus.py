"""Building, selecting, saving and loading a corpus."""

import json

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.data.build import Records, TaskRecords, build_corpus, find_pairs, hold_out
from demo_jax.data.storage import load_corpus, save_corpus
from demo_jax.errors import InputError
from tests.helpers import labelled, positives


def task(name, seed=0, n_train=40, n_test=10, **changes):
    train = changes.get('train', positives(n_train, seed))
    return TaskRecords(name, train, changes.get('test', labelled(n_test, seed)))


@pytest.fixture(scope='module')
def corpus():
    return build_corpus([task('a'), task('b', seed=1, n_train=7), task('c', train=labelled(30, 2, unpaired=20))])


def test_layout_and_counts(corpus):
    assert corpus.tasks == ('a', 'b', 'c') and corpus.n_tasks == 3
    assert corpus.bounds.tolist() == [[0, 72, 80, 100], [100, 112, 114, 134], [134, 206, 214, 234]]
    assert corpus.info['tasks']['a']['shuffles_made'] == 40
    assert corpus.info['tasks']['c']['counts']['train'] == {'positives': 27, 'negatives': 45, 'pairs': 27}
    assert corpus.info['tasks']['c']['counts']['valid'] == {'positives': 3, 'negatives': 5, 'pairs': 3}
    assert corpus.rows('b', 'valid') == corpus.rows(1, 'valid') == slice(112, 114)
    assert len(corpus) == len(corpus.labels) == 234
    assert corpus.starts[-1] == len(corpus.tokens)


def test_every_input_sequence_is_in_the_corpus_once(corpus):
    given = positives(40)
    rows = np.r_[corpus.rows('a', 'train'), corpus.rows('a', 'valid')]
    found = {corpus.name(row): corpus.sequence(row) for row in rows if corpus.labels[row]}
    assert found == {name: dna.decode(tokens) for name, tokens in zip(given.names, given.tokens, strict=True)}


def test_pairs_share_a_split_and_their_dinucleotides(corpus):
    split_of = np.zeros(len(corpus), int)
    for number, edge in enumerate(corpus.bounds.ravel()):
        split_of[edge:] = number
    for pair in np.unique(corpus.pairs[corpus.pairs >= 0]):
        rows = np.flatnonzero(corpus.pairs == pair)
        assert sorted(corpus.labels[rows]) == [0, 1]
        assert len(set(split_of[rows])) == 1
        counts = [sorted(zip(s, s[1:], strict=False)) for s in map(corpus.sequence, rows)]
        assert counts[0] == counts[1]
    assert (corpus.pairs == -1).sum() == 20


def test_validation_depends_on_seed_and_name_alone(corpus):
    alone = build_corpus([task('b', seed=1, n_train=7)])
    rows, own = corpus.rows('b', 'valid'), alone.rows('b', 'valid')
    assert [corpus.sequence(n) for n in range(rows.start, rows.stop)] == [
        alone.sequence(n) for n in range(own.start, own.stop)
    ]
    big = [build_corpus([task('a', n_train=200)], seed=seed) for seed in (0, 1)]
    names = [{c.name(n) for n in range(c.bounds[0, 1], c.bounds[0, 2])} for c in big]
    assert names[0] != names[1]


def test_padded(corpus):
    rows = corpus.rows('a', 'test')
    padded = corpus.padded(rows, 40)
    assert padded.shape == (20, 40) and padded.dtype == np.uint8
    for number, row in enumerate(range(rows.start, rows.stop)):
        assert dna.decode(padded[number]) == corpus.sequence(row).ljust(40, 'N')
    assert corpus.padded(np.array([5, 3])).shape[1] == max(corpus.lengths[[5, 3]])
    assert corpus.padded(slice(len(corpus) - 1, None), 45)[0, -1] == dna.N
    with pytest.raises(ValueError, match='does not fit'):
        corpus.padded(rows, 5)


def test_unknown_names_list_what_there_is(corpus):
    with pytest.raises(InputError, match="no task 'x'.*a, b, c"):
        corpus.rows('x', 'train')
    with pytest.raises(InputError, match='train, valid, test'):
        corpus.rows('a', 'dev')


def test_select(corpus):
    chosen = corpus.select(['c', 'a'])
    assert chosen.tasks == ('c', 'a')
    for name in chosen.tasks:
        for split in ('train', 'valid', 'test'):
            new, old = chosen.rows(name, split), corpus.rows(name, split)
            np.testing.assert_array_equal(chosen.padded(new, 60), corpus.padded(old, 60))
            np.testing.assert_array_equal(chosen.labels[new], corpus.labels[old])
            np.testing.assert_array_equal(chosen.pairs[new], corpus.pairs[old])
            assert chosen.name(new.start) == corpus.name(old.start)
    assert list(chosen.info['tasks']) == ['c', 'a']
    assert corpus.select(corpus.tasks).fingerprint() == corpus.fingerprint() != chosen.fingerprint()
    with pytest.raises(InputError, match='twice'):
        corpus.select(['a', 'a'])


def test_fingerprint_sees_every_part(corpus):
    import dataclasses

    seen = {corpus.fingerprint()}
    for name in ('tokens', 'labels', 'pairs', 'bounds', 'starts'):
        changed = getattr(corpus, name).copy()
        changed[-1] += 1
        seen.add(dataclasses.replace(corpus, **{name: changed}).fingerprint())
    seen.add(dataclasses.replace(corpus, tasks=('a', 'b', 'd')).fingerprint())
    assert len(seen) == 7


def test_find_pairs_takes_each_partner_once():
    texts = ['ACGTA', 'ACGTA', 'ACGTA', 'TTTTT', 'ACGTC']
    tokens = [dna.encode(text) for text in texts]
    pairs = find_pairs(tokens, np.array([0, 1, 0, 1, 0]))
    assert pairs.tolist() == [0, 0, -1, -1, -1]


def test_hold_out_keeps_pairs_together():
    rest, held = hold_out(labelled(20, unpaired=10), 0.25, np.random.default_rng(0))
    assert (len(rest.names), len(held.names)) == (38, 12)
    assert sorted(np.unique(held.pairs, return_counts=True)[1].tolist()) == [2] * 6
    assert not set(rest.names) & set(held.names)


def test_too_little_or_wrong_input_is_refused():
    one_class = Records([dna.encode('ACGT')] * 3, [0, 0, 0], ['x', 'y', 'z'])
    with pytest.raises(InputError, match="task 'a' occurs 2 times"):
        build_corpus([task('a'), task('b'), task('a')])
    with pytest.raises(InputError, match="task 'a', train: no positives among 3"):
        build_corpus([task('a', train=one_class)])
    with pytest.raises(InputError, match="task 'a', test: 4 positives and 0 negatives"):
        build_corpus([task('a', test=positives(4))])
    with pytest.raises(InputError, match="task 'a', valid: 0 positives and 0 negatives, .*; 2 sequences are too few"):
        build_corpus([task('a', n_train=1)])
    with pytest.raises(InputError, match="record 'y' has no letters"):
        build_corpus([task('a', train=Records([dna.encode('ACG'), dna.encode('')], [1, 0], ['x', 'y']))])
    with pytest.raises(InputError, match='no tasks'):
        build_corpus([])
    with pytest.raises(InputError, match='valid_fraction'):
        build_corpus([task('a')], valid_fraction=1.0)


def test_save_and_load(corpus, tmp_path):
    save_corpus(corpus, tmp_path / 'corpus')
    loaded = load_corpus(tmp_path / 'corpus', verify=True)
    assert isinstance(loaded.tokens, np.memmap) and not loaded.tokens.flags.writeable
    assert loaded.fingerprint() == corpus.fingerprint()
    assert loaded.tasks == corpus.tasks and loaded.info == corpus.info
    assert loaded.name(17) == corpus.name(17)
    assert loaded.intervals is None and loaded.sites is None
    np.testing.assert_array_equal(loaded.padded(loaded.rows('c', 'test')), corpus.padded(corpus.rows('c', 'test')))
    assert [path.name for path in tmp_path.iterdir()] == ['corpus']


def test_intervals_and_sites_survive_building_selecting_and_saving(tmp_path):
    train, test = labelled(10), labelled(4)
    places = [('chr2', 100 * n, 1) for n in range(20)]
    sites = [(n, 3, 8, -1, 'MA0035.4', 'primary') for n in range(10)] + [(0, 12, 6, 1, 'MA0001.1', 'decoy')]
    train = Records(train.tokens, train.labels, train.names, None, places, sites)
    built = build_corpus([task('plain'), TaskRecords('rich', train, test)])
    save_corpus(built, tmp_path / 'corpus')
    for c in (built, load_corpus(tmp_path / 'corpus'), built.select(['rich'])):
        assert c.chroms == ('chr2',) and c.site_motifs == ('MA0001.1', 'MA0035.4')
        assert len(c.sites) == 11
        for site in c.sites:
            number = int(c.name(site['row']).rsplit('_')[-1])
            assert c.intervals[site['row']].tolist() == (0, 100 * number, 1)
            assert site['start'] == (3 if c.site_motifs[site['motif']] == 'MA0035.4' else 12)
    assert (built.intervals['chrom'][: built.bounds[0, -1]] == -1).all()
    assert len(built.select(['plain']).sites) == 0


def cut(path):
    path.write_bytes(path.read_bytes()[:-50])


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda folder: cut(folder / 'tokens.npy'), r'tokens\.npy: is damaged'),
        (lambda folder: (folder / 'labels.npy').unlink(), r'labels\.npy: is missing'),
        (lambda folder: np.save(folder / 'pairs.npy', np.zeros(3)), r'pairs\.npy: holds float64'),
        (lambda folder: np.save(folder / 'pairs.npy', np.array([{}] * 234)), r'pairs\.npy: is damaged'),
        (lambda folder: cut(folder / 'manifest.json'), 'not valid JSON'),
        (lambda folder: (folder / 'manifest.json').unlink(), 'cannot be read'),
        (lambda folder: edit(folder / 'manifest.json', version=99), 'format version 99, expected 1'),
        (lambda folder: edit(folder / 'manifest.json', format='other'), 'not the manifest of a corpus'),
        (lambda folder: edit(folder / 'manifest.json', tasks=['a']), 'do not fit together'),
        (lambda folder: edit(folder / 'manifest.json', tasks=['a', 'b', 'x']), 'fingerprint'),
    ],
)
def test_a_damaged_corpus_is_refused(corpus, tmp_path, damage, message):
    folder = tmp_path / 'corpus'
    save_corpus(corpus, folder)
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        load_corpus(folder, verify=True)
    assert '\n' not in str(caught.value)
    with pytest.raises(InputError, match='is not a directory'):
        load_corpus(tmp_path / 'nothing')


def test_both_of_a_pair_are_left_out_where_one_is_mostly_n():
    train, test = labelled(10), labelled(4)
    tokens = [np.array(sequence) for sequence in train.tokens]
    pairs = np.tile(np.arange(len(tokens) // 2), 2)
    tokens[-1][:] = dna.N  # a negative that is no shuffle
    built = build_corpus([TaskRecords('x', Records(tokens, [1] * 10 + [0] * 10, train.names, pairs), test)])
    facts = built.info['tasks']['x']
    assert facts['dropped'] == {'mostly_N': 1}
    counts = [facts['counts'][split] for split in ('train', 'valid')]
    assert [sum(count[kind] for count in counts) for kind in ('positives', 'negatives')] == [9, 9]
    assert all((built.pairs == pair).sum() == 2 for pair in built.pairs if pair >= 0)
