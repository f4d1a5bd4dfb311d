"""Models of several seeds that answer together: means and SDs against each model alone, by NumPy's own functions."""

import dataclasses

import jax
import numpy as np
import pytest

from demo_jax.errors import InputError
from demo_jax.explain.batches import stack_one
from demo_jax.explain.class_optimisation import ClassOptimisationSettings, optimise_class
from demo_jax.explain.pieces import optimisation_settings
from demo_jax.explain.score import probability
from demo_jax.insilico.models import of_models
from demo_jax.io import files
from demo_jax.nn.models import SPECS
from demo_jax.predict import score_tables, scoring, variant_effects
from demo_jax.predict.ensemble import Ensemble, combine, members_of
from demo_jax.predict.model import Model
from demo_jax.predict.scoring import choose_models
from demo_jax.stages.explain import ExplainSettings, explain_run, mean_piece
from demo_jax.training.pool import name_seed
from tests import helpers_models
from tests.helpers_commands import run_command
from tests.helpers_models import save_run
from tests.helpers_score import checked, fasta, letters, other, vcf

few_filters = pytest.fixture(scope='module', autouse=True)(helpers_models.few_filters)

SEQUENCES = [letters(30, 1), letters(24, 2)]


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Three seeds of a CNN and an RNN on two tasks of 30 letters."""
    return save_run(tmp_path_factory.mktemp('ensemble') / 'run', ('small_cnn', 'small_rnn'), seeds=(0, 1, 2))


@pytest.fixture(scope='module')
def ensemble(run):
    return run.model('one', 'small_rnn')


def test_combine_is_mean_and_sd():
    values = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    found = combine(values)
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.sd, values.std(axis=0, ddof=1), rtol=1e-6)
    assert found.mean.dtype == found.sd.dtype == np.float32
    alone = combine(values[:1])
    np.testing.assert_array_equal(alone.mean, values[0])
    assert np.isnan(alone.sd).all()


def test_a_run_gives_its_seeds_together(run):
    found = run.model('one', 'small_cnn')
    assert isinstance(found, Ensemble) and [m.seed for m in found] == [0, 1, 2] and len(found) == 3
    assert (found.task, found.spec, found.seed, found.title) == ('one', 'small_cnn', None, 'one / small_cnn x 3')
    best = run.model('one', 'small_cnn', members='best')
    assert isinstance(best, Model) and best.seed == 2 and run.model('one', 'small_cnn', 1).seed == 1
    with pytest.raises(InputError, match="members is 'some', expected one of all, best"):
        run.model('one', 'small_cnn', members='some')
    with pytest.raises(ValueError, match='members differ'):
        Ensemble((best, run.model('two', 'small_cnn', 0)))


def test_predictions_are_means(ensemble):
    found, alone = ensemble.predict(SEQUENCES), np.stack([m.predict(SEQUENCES).score for m in ensemble])
    np.testing.assert_allclose(found.score, alone.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.score_sd, alone.std(axis=0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(found.probability, 1 / (1 + np.exp(-alone.mean(axis=0))), rtol=1e-5)
    calibrated = dataclasses.replace(ensemble, temperature=2.0).predict(SEQUENCES)
    np.testing.assert_allclose(calibrated.probability, 1 / (1 + np.exp(-alone.mean(axis=0) / 2)), rtol=1e-5)
    assert list(found.to_frame()) == ['sequence', 'score', 'probability', 'score_sd']
    assert 'mean of 3 models' in str(found) and len(found.plot().axes[0].collections) == 1  # the whiskers
    with pytest.raises(InputError, match='sequence 1'):
        ensemble.predict(['AC-T'])


@pytest.mark.parametrize('method', ['saliency', 'mutagenesis', 'integrated_gradients'])
def test_maps_are_means(ensemble, method):
    found = getattr(ensemble, method)(SEQUENCES)
    alone = [getattr(m, method)(SEQUENCES) for m in ensemble]
    for n in range(2):
        signed = np.stack([maps.signed[n] for maps in alone])
        np.testing.assert_allclose(found.signed[n], signed.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(found.signed_sd[n], signed.std(axis=0, ddof=1), atol=1e-6)
        each = np.stack([maps.hypothetical[n] for maps in alone])
        np.testing.assert_allclose(found.hypothetical[n], each.mean(axis=0), atol=1e-6)
    frame = found.to_frame()
    assert len(frame) == 54 and list(frame)[-1] == 'signed_sd'
    assert 'of 3 models' in str(found) and ' ± ' in found.plot().axes[0].get_title(loc='left')
    one = found.only(1)
    assert one.sequences == (SEQUENCES[1],) and len(one.signed_sd) == 1 and one.n_members == 3


def test_temporal_scores_are_means(ensemble):
    found, alone = ensemble.temporal(SEQUENCES), [m.temporal(SEQUENCES) for m in ensemble]
    for name in ('forward', 'reverse'):
        values = np.stack([getattr(one, name)[1] for one in alone])
        np.testing.assert_allclose(getattr(found, name)[1], values.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(getattr(found, f'{name}_sd')[1], values.std(axis=0, ddof=1), atol=1e-6)
    assert list(found.to_frame())[-2:] == ['forward_sd', 'reverse_sd'] and 'SD' in str(found)
    assert len(found.plot().axes) == 4


def test_the_optimum_is_of_the_mean_score(run):
    ensemble = run.model('two', 'small_cnn')
    found = ensemble.class_optimise(length=20, restarts=2, settings=ClassOptimisationSettings(steps=5))
    score = jax.jit(SPECS['small_cnn'])
    scores = [float(np.asarray(score(m.params, found.raw[None]))[0]) for m in ensemble]
    assert found.score == pytest.approx(np.mean(scores), rel=1e-4) and found.title == 'two / small_cnn x 3'


def test_tables_hold_means_over_members_of_the_best_window(run, tmp_path):
    """Against the scores of every window of each member, cut here."""
    models = choose_models(run, ['one'], ['small_cnn'])
    text = letters(75, 3)
    path = fasta(tmp_path / 'x.fa', s=text, t=letters(30, 4))
    scored = checked(path, models, 5)
    score_tables.write_scores(
        models, scored, tmp_path / 'o.tsv', track=tmp_path / 'o.bed', threshold=-np.inf, progress=False
    )
    rows = files.read_tsv(tmp_path / 'o.tsv')
    assert tuple(rows[0]) == (*scoring.SCORE_COLUMNS, 'score_sd', 'members')
    cut = [text[start : start + 30] for start in range(0, 46, 5)]
    alone = np.stack([m.predict(cut).score for m in models[0]])
    best = int(alone.mean(axis=0).argmax())
    assert (int(rows[0]['start']), rows[0]['seed'], rows[0]['members']) == (5 * best + 1, '', '3')
    assert float(rows[0]['score']) == pytest.approx(alone[:, best].mean(), rel=1e-4)
    assert float(rows[0]['score_sd']) == pytest.approx(alone[:, best].std(ddof=1), rel=1e-4)
    assert float(rows[0]['probability']) == pytest.approx(float(probability(alone[:, best].mean())), rel=1e-4)
    lines = [line.split('\t') for line in (tmp_path / 'o.bed').read_text().splitlines()]
    assert lines[0][-2:] == ['seed', 'logOddsSd'] and {line[-2] for line in lines[1:]} == {'.'}
    np.testing.assert_allclose([float(line[-1]) for line in lines[1:11]], alone.std(axis=0, ddof=1), rtol=1e-4)


def test_a_change_spreads_as_the_members_changes_do(run, tmp_path):
    models = choose_models(run, ['one'], ['small_cnn'])
    text = letters(90, 5)
    (tmp_path / 'v.vcf').write_text(vcf(('s', 45, 'rs1', text[44], other(text[44]))))
    path = fasta(tmp_path / 'x.fa', s=text)
    found = variant_effects.score_variants(models, tmp_path / 'v.vcf', path, progress=False)
    (row,) = found.rows()
    pair = [text[row['start'] - 1 : row['end']], '']
    at = 45 - row['start']
    pair[1] = pair[0][:at] + other(text[44]) + pair[0][at + 1 :]
    changes = [float(np.diff(m.predict(pair).score)[0]) for m in models[0]]
    assert row['score_change'] == pytest.approx(np.mean(changes), abs=1e-5)
    assert row['score_change_sd'] == pytest.approx(np.std(changes, ddof=1), abs=1e-5)
    assert found.columns[-2:] == ('score_change_sd', 'members') and row['members'] == 3


def test_one_member_is_a_model_and_its_table_is_as_before(tmp_path):
    run = save_run(tmp_path / 'run', ('small_cnn',))
    (model,) = choose_models(run, ['one'])
    assert isinstance(model, Model) and scoring.score_columns([model]) == scoring.SCORE_COLUMNS
    assert scoring.explain_columns([model]) == scoring.EXPLAIN_COLUMNS
    assert model.predict(SEQUENCES).score_sd is None and model.saliency(SEQUENCES).signed_sd is None


def test_a_prior_moves_probabilities_and_no_score(run):
    plain, asked = choose_models(run, ['one'], ['small_cnn']), choose_models(run, ['one'], ['small_cnn'], prior=0.01)
    before, after = plain[0].predict(SEQUENCES), asked[0].predict(SEQUENCES)
    np.testing.assert_array_equal(before.score, after.score)
    odds = np.exp(before.score) * 0.01 / 0.99  # half of the training sequences are bound
    np.testing.assert_allclose(after.probability, odds / (1 + odds), rtol=1e-4)
    assert 'another prior' in str(after) and run.share('one') == 0.5
    assert scoring.describe_probabilities(asked, 0.01).endswith('(sigmoids of the scores), for a prior of 0.01')
    for prior in (0, 1, -1, np.nan):
        with pytest.raises(InputError, match='a share of bound sequences is'):
            choose_models(run, ['one'], ['small_cnn'], prior=prior)


def test_the_maps_of_a_run_are_means_over_members(tmp_path):
    """Against the ensemble's own; `members='best'` and pieces that have no mean are of the best model."""
    run = save_run(tmp_path / 'run', ('small_rnn',), tasks=('one',), seeds=(0, 1, 2))
    settings = ExplainSettings(pieces=('saliency', 'temporal'), positives=3, negatives=1)
    store = explain_run(run.directory, settings, progress=False)
    assert store.index()['jobs'] == [2] and store.members(2) == (0, 1, 2)
    corpus, ensemble = run.directory.corpus(), run.model('one', 'small_rnn')
    texts = [corpus.sequence(row) for row in store.rows('one')]
    maps, temporal = ensemble.saliency(texts), ensemble.temporal(texts, both_strands=False)
    found = store.load('saliency', 2)
    np.testing.assert_allclose(found['score'], maps.score, atol=1e-6)
    np.testing.assert_allclose(found['hypothetical'], np.stack(maps.hypothetical), atol=1e-6)
    np.testing.assert_allclose(store.load('temporal', 2)['forward'], np.stack(temporal.forward), atol=1e-6)
    made = store.made('saliency', 2)
    again = explain_run(run.directory, settings, progress=False)
    assert again.made('saliency', 2) == made
    alone = explain_run(run.directory, dataclasses.replace(settings, members='best'), progress=False)
    assert alone.members(2) == (2,) and 'members' not in alone.index()
    best = run.model('one', 'small_rnn', 2).saliency(texts)
    np.testing.assert_allclose(alone.load('saliency', 2)['hypothetical'], np.stack(best.hypothetical), atol=1e-6)
    with pytest.raises(InputError, match="explain: members is 'one', expected one of all, best"):
        ExplainSettings(members='one')


def test_the_optima_and_the_grammar_of_a_run_are_of_the_mean_score(tmp_path):
    """Against the ensemble's own optimum, and the mean of its members' curves."""
    run = save_run(tmp_path / 'run', ('small_rnn',), tasks=('one',), seeds=(0, 1, 2))
    options = {'restarts': 2, 'optimisation_steps': 3, 'sufficient_starts': 1, 'sufficient_steps': 2}
    settings = ExplainSettings(pieces=('class_optimisation', 'sufficient_motif'), **options)
    store = explain_run(run.directory, settings, progress=False)
    ensemble = run.model('one', 'small_rnn')
    together, length = ensemble._together(), run.directory.corpus().lengths.max()
    for piece, score in (('class_optimisation', 'score'), ('sufficient_motif', 'score')):
        found = store.load(piece, 2)
        tokens = found['matrix'].argmax(axis=-1).astype(np.uint8)
        assert tokens.shape[1] == length and np.isfinite(found[score]).all()
    seed = np.random.SeedSequence([2, name_seed('one')]).generate_state(1)
    alone = optimise_class(
        stack_one(together.params),
        together.score,
        seeds=seed,
        length=int(length),
        restarts=2,
        settings=optimisation_settings(settings.options),
    )
    np.testing.assert_allclose(store.load('class_optimisation', 2)['raw'], alone.raw[0], atol=1e-5)
    again = explain_run(run.directory, settings, progress=False)
    assert again.made('class_optimisation', 2) == store.made('class_optimisation', 2)


def test_a_mean_of_one_is_itself():
    given = {'start': np.arange(3), 'width': np.array(9)}
    assert mean_piece([given]) == given
    np.testing.assert_array_equal(
        mean_piece([given, {'start': np.arange(3) + 1, 'width': np.array(9)}])['start'], [0.5, 1.5, 2.5]
    )


def test_questions_ask_each_member(run):
    models = choose_models(run, ['one', 'two'], ['small_cnn'])
    asked = of_models(models)
    assert asked.names[:2] == ('one / small_cnn / seed 0', 'one / small_cnn / seed 1') and len(asked) == 6
    assert members_of(models).parts == (slice(0, 3), slice(3, 6))
    tokens = np.random.default_rng(0).integers(0, 4, (4, 30)).astype(np.uint8)
    together = of_models(models, together=True)
    assert len(together) == 2 and together.names == tuple(model.title for model in models)
    np.testing.assert_allclose(together.score(tokens), asked.score(tokens).reshape(2, 3, 4).mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(together.score(tokens)[1], models[1].score_tokens(tokens), atol=1e-6)
    np.testing.assert_allclose(
        together.gradient(tokens), asked.gradient(tokens).reshape(2, 3, 4, 30, 4).mean(axis=1), atol=1e-6
    )
    edited = np.broadcast_to(tokens, (2, *tokens.shape)).copy()
    edited[1, :, 11:13] = 3
    starts = np.array([[11], [11]])
    np.testing.assert_allclose(
        together.score_edited(tokens, edited, starts, 2),
        np.stack([together.score(one) for one in edited], axis=1),
        atol=1e-5,
    )
    assert of_models(choose_models(run, ['one'], ['small_cnn'], 'best')).names == ('one / small_cnn',)


def test_architectures_answer_together(run):
    """Their scores, maps, changes and optimum are means over all models; the best of them is one."""
    found = run.model('one', 'all')
    assert (found.spec, found.title, len(found)) == ('all', 'one / all x 6', 6)
    assert [model.spec for model in found] == ['small_cnn'] * 3 + ['small_rnn'] * 3
    alone = [run.model('one', spec, seed) for spec in ('small_cnn', 'small_rnn') for seed in (0, 1, 2)]
    scores = np.stack([model.predict(SEQUENCES).score for model in alone])
    np.testing.assert_allclose(found.predict(SEQUENCES).score, scores.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.predict(SEQUENCES).score_sd, scores.std(axis=0, ddof=1), rtol=1e-5)
    maps = np.stack([model.saliency(SEQUENCES[:1]).signed[0] for model in alone])
    np.testing.assert_allclose(found.saliency(SEQUENCES[:1]).signed[0], maps.mean(axis=0), atol=1e-6)
    best = found.class_optimise(length=20, restarts=1, settings=ClassOptimisationSettings(steps=2))
    score = {spec: jax.jit(SPECS[spec]) for spec in ('small_cnn', 'small_rnn')}
    each = [float(np.asarray(score[m.spec](m.params, best.raw[None]))[0]) for m in alone]
    assert best.score == pytest.approx(np.mean(each), rel=1e-4) and best.title == 'one / all x 6'
    assert [model.spec for model in run.model('one', 'all', 1)] == ['small_cnn', 'small_rnn']
    assert run.model('one', 'all', members='best').seed == 2
    (chosen,) = choose_models(run, ['one'], ['all'])
    asked = of_models([chosen], together=True)
    tokens = np.random.default_rng(0).integers(0, 4, (2, 30)).astype(np.uint8)
    np.testing.assert_allclose(asked.score(tokens)[0], chosen.score_tokens(tokens), atol=1e-6)
    with pytest.raises(InputError, match='sequence 1: has 3 letters, small_cnn needs at least'):
        found.predict(['ACG'])


def test_a_vcf_is_scored_by_all_architectures_together(run, tmp_path):
    text = letters(90, 5)
    (tmp_path / 'v.vcf').write_text(vcf(('s', 45, 'rs1', text[44], other(text[44]))))
    genome = fasta(tmp_path / 'x.fa', s=text)
    (row,) = variant_effects.score_variants(
        choose_models(run, ['one'], ['all']), tmp_path / 'v.vcf', genome, progress=False
    ).rows()
    pair = [text[row['start'] - 1 : row['end']], '']
    at = 45 - row['start']
    pair[1] = pair[0][:at] + other(text[44]) + pair[0][at + 1 :]
    changes = [float(np.diff(m.predict(pair).score)[0]) for m in run.model('one', 'all')]
    assert row['score_change'] == pytest.approx(np.mean(changes), abs=1e-5)
    assert (row['spec'], row['members']) == ('all', 6)


def test_the_command_explains_and_prints_means(tmp_path):
    with helpers_models.all_filters():
        run = save_run(tmp_path / 'run', ('small_cnn', 'small_rnn'), seeds=(0, 1, 2))
    path = fasta(tmp_path / 'x.fa', s=letters(60, 3))
    start = ('score', f'--run={run.directory.path}', f'--fasta={path}', '--tasks=one', '--specs=small_cnn')
    done = run_command(*start, '--explain', '--figures=0', folder=tmp_path)
    assert done.status == 0 and 'score_sd' in done.out.replace('score_\nsd', 'score_sd')
    rows = files.read_tsv(tmp_path / 'scores_explain.tsv')
    assert len(rows) == 30 and float(rows[3]['contribution_sd']) > 0
