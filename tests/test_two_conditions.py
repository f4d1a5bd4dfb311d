"""Two conditions side by side, and the hits that a run called, against models whose answers are known."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

import demo_jax
from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.insilico import compare, sources
from demo_jax.io import files
from demo_jax.motifs import formats
from demo_jax.predict.ensemble import Ensemble
from demo_jax.predict.run import load_run
from demo_jax.runs.explanations import Explanations
from tests.helpers_commands import run_command
from tests.helpers_models import CNN, random_params, save_run
from tests.test_insilico import BACKGROUNDS, planted

MOTIFS = compare.Sources({'a': 'GATTACA', 'c': 'CCCGGG', 'w': 'ACACA'}, {'a': 'both', 'c': 'second'})
TEXTS = ('TTGATTACATTTTTTT', 'TTCCCGGGTTTTTTTT')


def model(scale, name='m'):
    """'GATTACA' is worth twice the scale, 'CCCGGG' once."""
    return demo_jax.wrap(planted, {'scale': np.float32(scale)}, name=name)


def test_motif_differences_are_those_of_the_scores():
    found = compare.compare_motifs(model(1, 'one'), model(4, 'two'), MOTIFS, BACKGROUNDS, words=19)
    assert found.conditions == ('one', 'two') and found.found_in == ('both', 'second', '')
    np.testing.assert_allclose(found.effects, [[2, 1, 0], [8, 4, 0]], atol=1e-5)
    np.testing.assert_allclose(found.difference, np.tile([6, 3, 0], (3, 1)), atol=1e-5)  # all backgrounds agree
    np.testing.assert_allclose(found.p_value, [1 / 20, 1 / 20, 1])
    np.testing.assert_allclose(found.q_value, [3 / 40, 3 / 40, 1])
    assert np.isnan(found.p_models).all()
    frame = found.to_frame()
    assert frame.motif.tolist() == ['a', 'c', 'w'] and frame.difference.round(4).tolist() == [6, 3, 0]
    assert np.isnan(compare.compare_motifs(model(1), model(4), MOTIFS, BACKGROUNDS, words=0).p_value).all()


def test_several_models_of_a_condition_are_a_mean_and_tested():
    def ensemble(seeds, shift):
        return Ensemble(tuple(demo_jax.wrap(CNN, shifted(random_params(CNN, s), shift), name='m') for s in seeds))

    def shifted(params, shift):
        params['dense']['bias'] = params['dense']['bias'] + np.float32(shift)
        return params

    backgrounds = np.random.default_rng(0).integers(0, 4, (4, 20)).astype(np.uint8)
    motifs = compare.Sources({'x': 'ACGTA'}, {})
    found = compare.compare_motifs(ensemble((0, 1, 2), 0), ensemble((3, 4), 0), motifs, backgrounds, words=0)
    effects = []
    for seed in range(5):
        one = demo_jax.wrap(CNN, random_params(CNN, seed), name='m')
        texts = [dna.decode(row) for row in backgrounds]
        after = one.predict([text[:7] + 'ACGTA' + text[12:] for text in texts]).score
        effects.append(float((after.astype(np.float64) - one.predict(texts).score).mean()))
    np.testing.assert_allclose(found.effects[:, 0], [np.mean(effects[:3]), np.mean(effects[3:])], rtol=1e-4)
    m, s = (
        [np.mean(effects[:3]), np.mean(effects[3:])],
        [np.var(effects[:3], ddof=1) / 3, np.var(effects[3:], ddof=1) / 2],
    )
    t, freedom = (m[0] - m[1]) / np.sqrt(sum(s)), sum(s) ** 2 / (s[0] ** 2 / 2 + s[1] ** 2 / 1)
    np.testing.assert_allclose(found.p_models, 2 * stats.t.sf(abs(t), freedom), rtol=1e-3)
    same = compare.compare_motifs(ensemble((0, 1), 0), ensemble((0, 1), 9), motifs, backgrounds, words=5)
    np.testing.assert_allclose(same.difference.mean, 0, atol=1e-5)  # a constant is no effect


def test_maps_of_the_same_sequences():
    tokens = np.stack([dna.encode(text) for text in TEXTS])
    found = compare.compare_maps(
        demo_jax.wrap(CNN, random_params(CNN, 0), name='one'),
        demo_jax.wrap(CNN, random_params(CNN, 1), name='two'),
        tokens,
    )
    for which in range(2):
        alone = demo_jax.wrap(CNN, random_params(CNN, which), name='x').attribute('mutagenesis', TEXTS)
        np.testing.assert_allclose(found.maps[which], np.stack(alone.signed), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.scores[which], alone.score, rtol=1e-5)
    for row in range(2):
        assert found.correlation[row] == pytest.approx(np.corrcoef(found.maps[:, row])[0, 1], rel=1e-5)
    frame, at = found.to_frame(), np.abs(found.maps[1] - found.maps[0]).argmax(axis=1)
    assert frame.position.tolist() == (at + 1).tolist() and frame.base[0] == TEXTS[0][at[0]]
    both = compare.Comparison(
        compare.compare_motifs(model(1), model(2), MOTIFS, BACKGROUNDS, words=0),
        found,
    )
    assert len(both.plot().axes) == 3
    with pytest.raises(InputError, match='1 names of 2 sequences'):
        compare.compare_maps(model(1), model(2), tokens, sequence_names=['x'])


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    """A run of two tasks and two specs, with motifs and hits of the first task."""
    folder = tmp_path_factory.mktemp('conditions') / 'run'
    save_run(folder, ('small_cnn', 'small_rnn'))
    run = load_run(folder).directory
    corpus = run.corpus()
    Explanations(run).write_index(
        run.jobs(), {task: np.arange(len(corpus))[corpus.rows(task, 'test')] for task in corpus.tasks}
    )
    words = {'small_cnn': ['TGACTCA', 'GGCCAA'], 'small_rnn': ['TGAGTCA', 'CATCAT']}  # the first read backwards
    for spec, found in words.items():
        made = folder / 'motifs' / 'one' / spec / 'mutagenesis'
        made.mkdir(parents=True)
        matrices = {f'for_{k}': 0.9 * dna.one_hot(dna.encode(word)) + 0.025 for k, word in enumerate(found, start=1)}
        formats.write_meme(made / 'found.meme', matrices)
    rows = Explanations(run).rows('one')
    positives = [corpus.name(int(row)) for row in rows if corpus.labels[row] == 1]
    lines = ['#chrom\tstart\tend\tname\tscore\tstrand', f'{formats.escape(positives[0])}\t3\t10\tfor_1\t9\t+']
    lines += [f'{formats.escape(positives[-1])}\t20\t26\tfor_2\t9\t-', 'elsewhere\t1\t5\tfor_1\t9\t+']
    made = folder / 'motifs' / 'one' / 'small_cnn'
    files.write_text(made / 'mutagenesis' / 'hits.bed', '\n'.join(lines) + '\n')
    return folder


def test_motifs_found_here_or_there(path):
    run = load_run(path)
    motifs, found_in = sources.motifs_of_both(((run, 'one', 'small_cnn'), (run, 'one', 'small_rnn')))
    assert found_in == {
        '1:small_cnn/mutagenesis/for_1': 'both',
        '1:small_cnn/mutagenesis/for_2': 'first',
        '2:small_rnn/mutagenesis/for_2': 'second',
    }
    assert list(motifs) == list(found_in)
    assert sources.motifs_of_both(((run, 'two', 'small_cnn'), (run, 'two', 'small_rnn'))) == ({}, {})


def test_hits_of_the_run_are_ablated(path, tmp_path):
    run = load_run(path)
    given, hits = sources.hits_of_run(run, 'one', 'small_cnn', 50)
    assert [(hit.start, hit.width, hit.name) for hit in hits] == [(3, 7, 'for_1'), (20, 6, 'for_2')]
    assert [hit.row for hit in hits] == [0, len(given.names) - 1]
    out = tmp_path / 'a.tsv'
    done = run_command('ask', 'ablate', f'--run={path}', '--tasks=one', '--specs=small_cnn', f'--out={out}')
    assert done.status == 0, done.err
    assert [(row['start'], row['end'], row['motif']) for row in files.read_tsv(out)] == [
        ('4', '10', 'for_1'),
        ('21', '26', 'for_2'),
    ]
    with pytest.raises(InputError, match='there are no hits of the run; run the stage discover, or name --motifs'):
        sources.hits_of_run(run, 'two', 'small_cnn', 5)


def test_hits_on_the_reverse_strand_of_the_genome_are_turned(path, monkeypatch):
    run = load_run(path)
    corpus, rows = run.directory.corpus(), Explanations(run.directory).rows('one')
    intervals = np.zeros(len(corpus), [('chrom', np.int32), ('start', np.int64), ('strand', np.int8)])
    intervals['chrom'], intervals['start'], intervals['strand'] = -1, 0, 1
    first = int(next(row for row in rows if corpus.labels[row] == 1))
    intervals[first] = (0, 100, -1)
    placed = dataclasses.replace(corpus, intervals=intervals, chroms=('chr1',))
    monkeypatch.setattr(type(run.directory), 'corpus', lambda self: placed)
    folder = path / 'motifs' / 'one' / 'small_rnn' / 'deeplift'
    folder.mkdir(exist_ok=True)
    # Of 30 letters from 100 on, the other way round: 104-110 are the letters 20 to 26.
    (folder / 'hits.bed').write_text('chr1\t104\t110\tfor_1\t1\t-\nchr1\t99\t105\tfor_1\t1\t-\n')
    _, (hit,) = sources.hits_of_run(run, 'one', 'small_rnn', 50)
    assert (hit.row, hit.start, hit.width) == (0, 20, 6)
    (folder / 'hits.bed').write_text('chr1\t104\tx\tfor_1\n')
    with pytest.raises(InputError, match='hits.bed: line 1: .*, expected BED with a name'):
        sources.hits_of_run(run, 'one', 'small_rnn', 50)


def compare_command(path, out, *words):
    return run_command('ask', 'compare', f'--run={path}', f'--out={out}', '--n=4', '--null=3', *words)


def test_the_command_compares(path, tmp_path):
    out = tmp_path / 'c.tsv'
    words = ('--tasks=one', '--specs=small_cnn', '--other_specs=small_rnn', f'--figure={tmp_path / "c.png"}')
    done = compare_command(path, out, *words)
    assert done.status == 0, done.err
    rows = {row['motif']: row for row in files.read_tsv(out)}
    assert [row['found_in'] for row in rows.values()] == ['both', 'first', 'second']
    run, row = load_run(path), rows['1:small_cnn/mutagenesis/for_1']
    assert float(row['difference']) == pytest.approx(float(row['effect_second']) - float(row['effect_first']), abs=1e-4)
    told = files.read_tsv(tmp_path / 'c_sequences.tsv')
    corpus = run.directory.corpus()
    rows = range(len(corpus))[corpus.rows('one', 'test')]
    texts = {corpus.name(row): corpus.sequence(row) for row in rows}
    for one in told:
        for spec, column in (('small_cnn', 'score_first'), ('small_rnn', 'score_second')):
            score = run.model('one', spec).predict([texts[one['sequence']]]).score[0]
            assert float(one[column]) == pytest.approx(score, rel=1e-3)
    assert (tmp_path / 'c.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize(
    'words, message',
    [
        (['--tasks=one', '--specs=small_cnn'], 'one / small_cnn is both conditions; name another with --other'),
        (
            ['--tasks=one', '--other_task=two', '--motifs=ACG'],
            'share no bound test sequence; name some that both shall',
        ),
        (['--specs=small_cnn'], 'compare needs one of the --tasks'),
        (['--tasks=two', '--specs=small_cnn', '--other_specs=small_rnn'], 'no motif was given or found'),
    ],
)
def test_what_cannot_be_compared_is_one_line(path, tmp_path, words, message):
    done = compare_command(path, tmp_path / 'o.tsv', *words)
    assert done.status == 2 and done.err.splitlines()[-1].startswith('error: ') and message in done.err
    assert 'Traceback' not in done.err and not (tmp_path / 'o.tsv').exists()
