"""The pool of sequences that training reads."""

import collections
import dataclasses

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.training import stack
from demo_jax.training.pool import build_pool, shortest
from tests.helpers import toy_corpus


def make_corpus(lengths=(30,)):
    return toy_corpus({'a': 20, 'b': 20}, lengths)


def dinucleotides(tokens):
    return collections.Counter(zip(tokens[:-1].tolist(), tokens[1:].tolist(), strict=True))


def test_one_set_is_the_corpus_itself():
    corpus = make_corpus()
    pool, rows = build_pool(corpus)
    assert pool.lengths is None and pool.tokens.shape == (len(corpus), 30)
    for task in corpus.tasks:
        for split in ('train', 'valid', 'test'):
            listed = getattr(rows[task], split)
            listed = listed[:, 0] if split == 'train' else listed
            span = corpus.rows(task, split)
            assert listed.tolist() == list(range(span.start, span.stop))
            assert [dna.decode(pool.tokens[row]) for row in listed] == [corpus.sequence(row) for row in listed]
            np.testing.assert_array_equal(pool.labels[listed], corpus.labels[span])


@pytest.mark.parametrize('lengths', [(30,), (24, 30)])
def test_further_sets_are_shuffles_of_the_same_positives(lengths):
    corpus = make_corpus(lengths)
    pool, rows = build_pool(corpus, negative_sets=3, seed=5)
    assert (pool.lengths is None) == (len(lengths) == 1)
    train = rows['b'].train
    assert train.shape[1] == 3
    positive = {int(corpus.pairs[row]): row for row in train[:, 0] if corpus.labels[row] == 1}
    n_changed = 0
    for original, *others in train:
        for other in others:
            if corpus.labels[original] == 1:
                assert other == original
                continue
            owner = positive[int(corpus.pairs[original])]
            size = corpus.lengths[owner]
            assert dinucleotides(pool.tokens[other][:size]) == dinucleotides(pool.tokens[owner][:size])
            assert (pool.tokens[other][size:] == dna.N).all()
            assert pool.labels[other] == 0
            n_changed += (pool.tokens[other] != pool.tokens[original]).any()
    assert n_changed > 0.9 * (train[:, 0].size // 2) * 2


def test_negatives_with_something_planted_are_not_drawn_anew():
    corpus = make_corpus()
    span, planted = corpus.rows('b', 'train'), []
    tokens = corpus.tokens.copy()
    for row in range(span.start, span.stop):
        if corpus.labels[row] == 0 and row % 3 == 0:
            start = corpus.starts[row]
            tokens[start : start + 8] = dna.encode('AAAAAAAA')  # no random sequence has as many AA
            planted.append(row)
    _, rows = build_pool(dataclasses.replace(corpus, tokens=tokens), negative_sets=3)
    fixed = {int(row) for row, *others in rows['b'].train if set(others) == {row} and corpus.labels[row] == 0}
    assert planted and fixed == set(planted)


def test_shuffles_stand_in_for_negatives_that_are_none():
    corpus = make_corpus()
    span, tokens = corpus.rows('b', 'train'), corpus.tokens.copy()
    planted = [row for row in range(span.start, span.stop) if corpus.labels[row] == 0 and row % 3 == 0]
    for row in planted:
        tokens[corpus.starts[row] : corpus.starts[row] + 8] = dna.encode('AAAAAAAA')
    corpus = dataclasses.replace(corpus, tokens=tokens)
    pool, rows = build_pool(corpus, negative_sets=2, shuffles_first=True)
    assert rows['a'].first is None  # its negatives are shuffles already
    positive = {int(corpus.pairs[row]): row for row in range(span.start, span.stop) if corpus.labels[row] == 1}
    for own, easy in zip(rows['b'].train[:, 0].tolist(), rows['b'].first.tolist(), strict=True):
        if own not in planted:
            assert easy == own
            continue
        assert pool.labels[easy] == 0 and (pool.tokens[easy] != pool.tokens[own]).any()
        assert dinucleotides(pool.tokens[easy]) == dinucleotides(pool.tokens[positive[int(corpus.pairs[own])]])
    plain, without = build_pool(corpus, negative_sets=2)
    assert without['b'].first is None  # nothing else changes
    np.testing.assert_array_equal(without['b'].train, rows['b'].train)
    np.testing.assert_array_equal(pool.tokens[: len(plain.tokens)], plain.tokens)


def test_a_tasks_shuffles_do_not_depend_on_its_company():
    corpus = make_corpus()
    both, rows = build_pool(corpus, negative_sets=2, seed=1)
    alone, own = build_pool(corpus.select(['b']), negative_sets=2, seed=1)
    np.testing.assert_array_equal(both.tokens[rows['b'].train], alone.tokens[own['b'].train])


def test_the_shortest_sequence_of_each_task():
    assert shortest(make_corpus((24, 30)), ['a', 'b']) == {'a': 24, 'b': 24}


def test_cpu_devices_share_the_pool():
    pool, _ = build_pool(toy_corpus({'A': 30, 'B': 7}), negative_sets=3)
    assert pool.tokens.ctypes.data % 64 == 0
    tokens = stack.put(pool.tokens, stack.model_mesh(), mapped=False)
    assert [shard.data.unsafe_buffer_pointer() for shard in tokens.addressable_shards] == [pool.tokens.ctypes.data] * 2


def test_no_further_shuffle_is_the_positive_itself():
    """Of sequences that have few shuffles, many would be; one that has but its negative gets that again."""
    corpus = make_corpus((24,))
    span, tokens = corpus.rows('a', 'train'), corpus.tokens.copy()
    rows = range(span.start, span.stop)
    pairs = {int(corpus.pairs[row]): row for row in rows if corpus.labels[row]}
    words = {1: 'A' * 20 + 'CAAA', 0: 'A' * 10 + 'C' + 'A' * 13}
    for row in rows:
        assert int(corpus.pairs[row]) in pairs
        tokens[corpus.starts[row] : corpus.starts[row + 1]] = dna.encode(words[int(corpus.labels[row])])
    pool, where = build_pool(dataclasses.replace(corpus, tokens=tokens), negative_sets=40)
    drawn = {dna.decode(pool.tokens[row]) for row in where['a'].train.ravel() if not pool.labels[row]}
    assert words[1] not in drawn and len(drawn) > 10
    assert {dna.decode(pool.tokens[row]) for row in where['a'].train.ravel() if pool.labels[row]} == {words[1]}


def test_a_shuffle_that_stays_the_positive_gives_way_to_the_one_in_the_corpus(monkeypatch):
    monkeypatch.setattr(dna, 'different_shuffle', lambda tokens, *_, **__: (tokens.copy(), np.ones(len(tokens), bool)))
    corpus = make_corpus((24, 30))
    pool, rows = build_pool(corpus, negative_sets=3)
    for task in corpus.tasks:
        first, others = rows[task].train[:, :1], rows[task].train[:, 1:]
        np.testing.assert_array_equal(pool.tokens[others], np.repeat(pool.tokens[first], 2, axis=1))
        assert (pool.labels[others] == pool.labels[first]).all()
