"""Which motifs need each other: the numbers against a score whose grammar is known, and the stage that asks a run."""

import dataclasses
import os

import numpy as np
import pytest

import demo_jax
from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.insilico import grammar as asked
from demo_jax.insilico.models import of_models, of_score
from demo_jax.io import files
from demo_jax.report.collect import Collector
from demo_jax.report.grammar_payload import grammar_payload
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.explanations import Explanations
from demo_jax.stages import discover, grammar, record
from tests.helpers_models import CNN_RNN, random_params, save_run
from tests.test_insilico import BACKGROUNDS, contains, three_models

#: 'GATTACA' is worth 2 and 'TTTGGGC' a half; together, with 4 letters between, 5 more. 'CCCGGG' is worth 1 anywhere.
MOTIFS = {'a': 'GATTACA', 'b': 'TTTGGGC', 'c': 'CCCGGG'}


def test_a_pair_is_found_with_its_distance():
    found = asked.grammar(three_models(), MOTIFS, BACKGROUNDS, words=5, farthest=9)
    assert found.pairs == ((0, 1), (0, 2), (1, 2)) and found.gaps.tolist() == list(range(10))
    best = found.best(0, model=1)
    assert best[:3] == (4, True, True) and best.effects == pytest.approx((15, 4, 1))
    np.testing.assert_allclose(best.epistasis, 10, atol=1e-5)
    np.testing.assert_allclose(found.found[:, 0], [[5, 5], [10, 10], [15, 15]], atol=1e-5)
    np.testing.assert_allclose(found.found[:, 1:], 0, atol=1e-5)
    assert (np.abs(found.null) < 1e-5).mean() > 0.7  # words that mean nothing do nothing, but by chance
    p = found.p_values()
    np.testing.assert_allclose(p[:, 0], 1 / 16)  # 3 motifs with 5 words
    assert (p[:, 1:] > 0.5).all()
    x, mean, low, _ = found.curve(0)
    assert mean[x == 4] == pytest.approx(5) and x.tolist() == list(range(-10, 10)) and (low <= mean).all()
    frame = found.to_frame()
    assert len(frame) == 9 and frame.gap[0] == 4 and frame.p_spacing[0] == pytest.approx(1 / 16)
    assert len(found.plot().axes) == 3
    turned = asked.grammar(three_models(), {'a': 'GATTACA', 'b': 'GCCCAAA'}, BACKGROUNDS, words=4, farthest=9)
    assert turned.best(0)[:3] == (4, True, False)  # read on the other strand


def test_synergy_at_any_distance_is_no_preference():
    def both(params, x):  # 3 where both words stand anywhere
        first, second = (contains(x, word).max(1) for word in ('GATTACA', 'CCGCCG'))
        return params['scale'] * 3 * first * second

    model = of_score(both, {'scale': np.ones(1, np.float32)})
    found = asked.grammar(model, {'a': 'GATTACA', 'c': 'CCGCCG'}, BACKGROUNDS, words=6, farthest=12)
    same_strand = found.epistasis.mean[0, 0, [0, 2]]
    np.testing.assert_allclose(same_strand, 3, atol=1e-6)
    # The word is not read on the other strand, so that half of the arrangements are worth 3, and half nothing.
    np.testing.assert_allclose(found.found[0, 0], [3, 1.5], atol=1e-6)
    one = asked.grammar(model, {'a': 'GATTACANNCCGCCG', 'b': 'TTTTTTTT'}, BACKGROUNDS, words=4, farthest=5)
    np.testing.assert_allclose(one.found[0, 0], 0, atol=1e-6)  # what one of them does alone is no epistasis


def test_words_that_mean_nothing_are_called_at_the_nominal_rate_at_most():
    model = of_models([demo_jax.wrap(CNN_RNN, random_params(CNN_RNN, 0), name='m')])
    rng = np.random.default_rng(0)
    words = {str(i): dna.decode(rng.integers(0, 4, 6).astype(np.uint8)) for i in range(80)}
    pairs = [(i, i + 1) for i in range(0, 80, 2)]
    backgrounds = rng.integers(0, 4, (4, 24)).astype(np.uint8)
    p = asked.grammar(model, words, backgrounds, pairs=pairs, words=8, farthest=4).p_values()[0]
    # 40 pairs: binomial, so that more than 6 at 5% or 9 at 10% have a chance below 1%. The larger of two p is no lower.
    assert ((p <= 0.05).sum(axis=0) <= 6).all() and ((p <= 0.1).sum(axis=0) <= 9).all()
    assert (p.mean(axis=0) > 0.45).all()


@pytest.mark.parametrize(
    'change, message',
    [
        ({'motifs': {'a': 'ACGT'}}, '1 motif was given, expected at least two'),
        ({'pairs': [(0, 3)]}, r'a pair is \(0, 3\), expected two different numbers below 3'),
        ({'motifs': {'a': 'ACGT', 'b': 47 * 'AC'[:1]}}, 'two motifs have 51 letters together, more than the sequence'),
        ({'words': 3}, 'words are 3 and farthest 60, expected 4 or more'),
    ],
)
def test_what_cannot_be_asked_is_one_line(change, message):
    given = {'motifs': MOTIFS} | change
    with pytest.raises(InputError, match=message):
        asked.grammar(three_models(), given.pop('motifs'), BACKGROUNDS, **given)


SPECS = ('small_cnn', 'small_cnn_rnn')
SETTINGS = grammar.GrammarSettings(words=4, backgrounds=2, farthest=3)


def motif_rows(task, spec, words):
    """Rows of motifs.tsv, the first of the largest share."""
    return [
        {'task': task, 'spec': spec, 'method': 'mutagenesis', 'motif': f'for_{k}', 'sign': 1, 'consensus': word}
        | {'share': 0.5 / k, 'match_name': 'unknown' if k == 1 else f'TF{k}'}
        for k, word in enumerate(words, start=1)
    ]


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Two tasks with random models: the first has three motifs (one found twice), the second has one."""
    folder = tmp_path_factory.mktemp('grammar') / 'run'
    save_run(folder, SPECS)
    run = RunDirectory(folder)
    corpus, jobs, rows = run.corpus(), run.jobs(), []
    Explanations(run).write_index(
        jobs, {task: np.arange(len(corpus))[corpus.rows(task, 'test')] for task in corpus.tasks}
    )
    found = {
        ('one', SPECS[0]): ['GATTACA', 'CCGG'],
        ('one', SPECS[1]): ['TGTAATC', 'AAGGGG'],
        ('two', SPECS[0]): ['AC'],
    }
    for (task, spec), words in found.items():
        place = discover.folder_of(run, task, spec, 'mutagenesis')
        place.mkdir(parents=True)
        arrays = {}
        for k, word in enumerate(words, start=1):
            one_hot = dna.one_hot(dna.encode(word))
            arrays |= {f'for_{k}/counts': 10 * one_hot, f'for_{k}/probabilities': 0.9 * one_hot + 0.025}
        np.savez(place / 'found.npz', **arrays)
        rows += motif_rows(task, spec, words)
    files.write_tsv(run.tables / 'motifs.tsv', rows, discover.MOTIFS.columns)
    return run


@pytest.fixture(scope='module')
def table(run):
    return grammar.grammar_run(run, SETTINGS, progress=False)['grammar']


def test_the_motifs_of_all_architectures_are_asked_of_each(run, table, capsys):
    assert len(table.rows) == 2 * 3  # GATTACA, its other strand left out, CCGG and AAGGGG
    assert {row['spec'] for row in table.rows} == set(SPECS) and {row['task'] for row in table.rows} == {'one'}
    first = table.rows[0]
    assert first['first'] == 'small_cnn/mutagenesis/for_1' and first['first_name'] == 'GATTACA'
    assert first['first_found_in'] == 'small_cnn,small_cnn_rnn' and first['second_found_in'] in SPECS
    assert first['backgrounds'] == 2 and first['words'] == 4
    p = np.array([[row['p_epistasis'], row['p_spacing']] for row in table.rows])
    q = np.array([[row['q_epistasis'], row['q_spacing']] for row in table.rows])
    assert (q >= p).all() and (p >= 1 / 13 - 1e-9).all() and (q <= 1).all()
    assert [row['spec'] for row in files.read_tsv(run.tables / 'grammar.tsv')] == [row['spec'] for row in table.rows]


def test_effects_are_those_of_the_model(run, table):
    row = next(row for row in table.rows if row['spec'] == 'small_cnn_rnn' and row['second_name'] == 'TF2')
    model = demo_jax.load_run(run.path).model('one', 'small_cnn_rnn')
    texts = [dna.decode(one) for one in grammar._backgrounds(run, Explanations(run), 'one', 2, 0)]
    first = row['first_consensus']
    second = row['second_consensus'] if row['strands'] == 'same' else reverse(row['second_consensus'])
    width = len(first) + len(second) + row['gap']
    left = (30 - width) // 2
    at = {'after': (left, left + len(first) + row['gap']), 'before': (left + len(second) + row['gap'], left)}
    one, two = at[row['order']]

    def scored(*put):
        made = list(texts)
        for start, word in put:
            made = [text[:start] + word + text[start + len(word) :] for text in made]
        return model.predict(made).score.astype(np.float64)

    none, a, b, both = scored(), scored((one, first)), scored((two, second)), scored((one, first), (two, second))
    for name, value in (('effect_first', a - none), ('effect_second', b - none), ('effect_both', both - none)):
        assert row[name] == pytest.approx(value.mean(), rel=1e-3, abs=1e-5)
    assert row['epistasis'] == pytest.approx((both - a - b + none).mean(), rel=1e-2, abs=1e-4)


def reverse(word):
    return dna.decode(dna.reverse_complement(dna.encode(word)[None])[0])


def test_what_is_there_is_not_asked_again(run, table):
    def times():
        return {path: os.stat(path).st_mtime_ns for path in run.path.glob('grammar/*/*/curves.npz')}

    before = times()
    assert len(before) == 2
    again = grammar.grammar_run(run, SETTINGS, progress=False)['grammar']
    assert times() == before and again.rows == table.rows
    other = grammar.grammar_run(run, dataclasses.replace(SETTINGS, motifs=2), progress=False)['grammar']
    assert len(other.rows) == 2 and times() != before
    none = grammar.grammar_run(run, dataclasses.replace(SETTINGS, motifs=1), progress=False)['grammar']
    assert none.rows == [] and files.read_tsv(run.tables / 'grammar.tsv', grammar.GRAMMAR.columns) == []
    grammar.grammar_run(run, SETTINGS, progress=False)


def test_the_page_is_given_the_curves(run, table):
    collector = Collector(run, record.all_tables())
    shown = grammar_payload(collector, 'one')['pairs']
    assert len(shown) == 3 and [one['spec'] for one in shown[0]['models']] == list(SPECS)
    pair = next(pair for pair in shown if pair['second']['name'] == 'TF2' and pair['first']['name'] == 'GATTACA')
    for one in pair['models']:
        row = next(
            row
            for row in table.rows
            if (row['spec'], row['first_name'], row['second_consensus'])
            == (one['spec'], 'GATTACA', pair['second']['consensus'])
        )
        at = row['gap'] if row['order'] == 'after' else -1 - row['gap']
        assert one['y'][one['x'].index(at)] == pytest.approx(row['epistasis'], rel=1e-2) == max(one['y'])
    assert grammar_payload(collector, 'two') == {'pairs': []}


def test_a_run_without_motifs_is_one_line(run, tmp_path):
    save_run(tmp_path / 'run', SPECS[:1])
    empty = RunDirectory(tmp_path / 'run')
    Explanations(empty).write_index(empty.jobs(), {'one': np.arange(0), 'two': np.arange(0)})
    with pytest.raises(InputError, match='motifs.tsv is missing; run the stage discover'):
        grammar.grammar_run(empty, SETTINGS, progress=False)
    assert grammar_payload(Collector(empty, record.all_tables()), 'one') is None


@pytest.mark.parametrize('name, value', [('words', 3), ('backgrounds', 1), ('motifs', -1)])
def test_bad_settings_are_one_line(name, value):
    with pytest.raises(InputError, match=f'grammar: {name} is {value}, expected'):
        grammar.GrammarSettings(**{name: value})
