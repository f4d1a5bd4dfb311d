"""The models on the page: what JavaScript computes is what JAX computes, and what a reader can ask of them."""

import base64
import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from demo_jax import dna
from demo_jax.explain.score import of_tokens
from demo_jax.nn.architecture import Architecture, parameter_shapes
from demo_jax.nn.layers import Convolution, Dense, Layer, Summary
from demo_jax.nn.models import SPECS, ModelSpec
from demo_jax.report import model_payload, payload
from demo_jax.report import page as page_files
from demo_jax.report.collect import Collector
from demo_jax.runs.done import Made
from demo_jax.runs.explanations import Explanations
from demo_jax.stages import record
from demo_jax.stages.report import ReportSettings, _affordable, _weights
from demo_jax.training.state import Finished
from tests import fake_run, test_browser
from tests.helpers_models import fewer

browser = test_browser.browser
N_SEQUENCES = 50
#: Of the ten specs, those whose gradients are compared, too: compiling all of them would take a minute.
WITH_GRADIENT = ('large_rnn', 'large_cnn', 'large_cnn_rnn', 'deepbind')
#: The others have fewer filters and units, that is all that they differ in.
MODELS = {name: spec if name in WITH_GRADIENT else fewer(spec) for name, spec in SPECS.items()}
#: A caller that asks JavaScript for scores, saliency and mutants of some models.
ASK = """async ([key, sequences, gradients, mutated]) => {
  const {models} = await demo.load(key);
  const {model, tokensOf} = demo.modelCode();
  return models.map((payload) => {
    const one = model(payload);
    const at = one.mutants(tokensOf(mutated));
    const places = [...mutated].map((_, position) => position).filter((position) => position % 7 < 2);
    const mutants = places.map((position) => [...at(position)]);
    const again = places.map((position) => [...'ACGT'].map(
      (letter) => one.score(tokensOf(mutated.slice(0, position) + letter + mutated.slice(position + 1)))));
    return {
      scores: sequences.map((letters) => one.score(tokensOf(letters))),
      saliency: sequences.slice(0, gradients).map((letters) => [...one.saliency(tokensOf(letters)).values]),
      mutants, again,
    };
  });
}"""


def some_params(spec: ModelSpec, seed: int = 0):
    """Parameters whose scores spread as those of a trained model: no bias is zero, and the last layer is large."""
    rng = np.random.default_rng(seed)

    def drawn(leaf):
        inputs = leaf.shape[-2] * (leaf.shape[0] if leaf.shape[0] > 2 else 1) if len(leaf.shape) > 1 else 25
        size = 30 if leaf.shape[-1] == 2 else 1.6
        return (size * rng.normal(size=leaf.shape) / np.sqrt(inputs)).astype(np.float32)

    return jax.tree.map(drawn, parameter_shapes(spec))


def members_of(spec: ModelSpec) -> list:
    """The models that answer as one: of DeepBind's two, of the others one."""
    return [some_params(spec, seed) for seed in range(2 if spec.name == 'deepbind' else 1)]


def some_sequences(n: int, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (n, high) of many lengths, a twentieth of them N, and the lengths."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(low, high + 1, n)
    tokens = rng.integers(0, 4, (n, high)).astype(np.uint8)
    tokens[rng.random(tokens.shape) < 0.05] = 4
    return np.where(np.arange(high) < lengths[:, None], tokens, 4).astype(np.uint8), lengths


def test_weights_come_back_to_half_a_step():
    rng = np.random.default_rng(0)
    for shape, bits in (((9, 4, 5), 24), ((7, 3), 24), ((5,), 24), ((1, 1), 24), ((41, 4, 64), 20), ((3, 3, 1117), 20)):
        weights = rng.normal(size=shape).astype(np.float32)
        weights[..., 0] *= 1e-3
        packed = model_payload.pack_weights(weights)
        found = model_payload.unpack_weights(packed)
        rows = weights.reshape(-1, shape[-1]).T if len(shape) > 1 else weights[None]
        assert found.shape == rows.shape and packed['width'] == rows.shape[1]
        assert packed['bits'] == bits and len(base64.b64decode(packed['data'])) == -(-weights.size * bits // 8)
        half = np.abs(rows).max(axis=1, keepdims=True) / (2**bits - 2)
        assert (np.abs(found - rows) <= 1.01 * half + 1e-7 * np.abs(rows)).all()
    assert (model_payload.unpack_weights(model_payload.pack_weights(np.zeros((3, 2)))) == 0).all()


def test_an_architecture_that_the_page_does_not_know_says_why():
    @dataclasses.dataclass(frozen=True)
    class Double(Layer):
        def apply(self, params, signal, run):
            return signal._replace(x=2 * signal.x)

    @dataclasses.dataclass(frozen=True)
    class Leaky(Convolution):  # it would be computed as a convolution with ReLU
        def apply(self, params, signal, run):
            return super().apply(params, signal, run)._replace(x=signal.x)

    @dataclasses.dataclass(frozen=True)
    class Known(Leaky):
        def page(self, params):
            return Convolution.page(self, params)

    ends = (Summary(how='max'), Dense('dense'))
    for layer, why in ((Double(), 'Double'), (Leaky('conv0', 5, 4), 'Leaky'), (Known('conv0', 5, 4), '')):
        first = (Convolution('conv', 3, 4),) if layer.name == '' else ()
        found = model_payload.why_not(ModelSpec('mine', own_layers=(*first, layer, *ends)))
        assert (why in found) if why else found == ''
    assert 'layers' in model_payload.why_not(Architecture(lambda key: {}, lambda params, x: x.sum((1, 2))))
    assert not any(map(model_payload.why_not, SPECS.values()))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A page with the ten specs as the models of one task."""
    made = tmp_path_factory.mktemp('page')
    page_files.write_assets(made)
    models = [
        model_payload.model_payload(spec, members_of(spec), average_strands=place % 2 == 1)
        for place, spec in enumerate(MODELS.values())
    ]
    page_files.write_models(made, 0, {'models': models, 'without': []})
    return made


def gradient_maps(members, tokens, lengths, spec: ModelSpec, average: bool) -> np.ndarray:
    """JAX's gradient times input at each letter, (N, L), the mean over members."""
    one_hot = np.eye(5, dtype=np.float32)[tokens][..., :4]

    def score(x, params):
        own = spec(params, x, lengths)
        if not average:
            return own.sum()
        # Behind a sequence there is padding: it is turned to the front, and rolled back behind.
        turned = jax.vmap(lambda row, n: jnp.roll(row[::-1, ::-1], n - row.shape[0], axis=0))(x, lengths)
        return (own + spec(params, turned, lengths)).sum() / 2

    gradient = jax.jit(jax.grad(score))
    return np.mean([(np.asarray(gradient(one_hot, params)) * one_hot).sum(-1) for params in members], axis=0)


def test_scores_gradients_and_mutants_are_those_of_jax(browser, folder):
    """All ten specs, with weights in float32 on one side and as they travel on the other."""
    tokens, lengths = some_sequences(N_SEQUENCES, 48, 72)
    sequences = [dna.decode(row[:length]) for row, length in zip(tokens, lengths, strict=True)]
    n_gradients = 6
    shown = browser.new_page()
    shown.goto((folder / 'index.html').as_uri())
    found = shown.evaluate(ASK, ['models-0000', sequences, n_gradients, sequences[0]])
    shown.close()
    assert len(found) == 10
    for place, (name, spec) in enumerate(MODELS.items()):
        average = place % 2 == 1
        score = jax.jit(functools.partial(of_tokens, score=spec, average_strands=average))
        scores = np.mean([score(params, (tokens, lengths)) for params in members_of(spec)], axis=0)
        assert scores.std() > 0.05
        np.testing.assert_allclose(found[place]['scores'], scores, atol=1e-4, err_msg=name)
        # What a mutant changes is computed anew, and nothing else.
        np.testing.assert_allclose(found[place]['mutants'], found[place]['again'], atol=1e-9, err_msg=name)
        if name not in WITH_GRADIENT:
            continue
        maps = gradient_maps(members_of(spec), tokens[:n_gradients], lengths[:n_gradients], spec, average)
        for index, values in enumerate(found[place]['saliency']):
            expected = maps[index, : lengths[index]]
            np.testing.assert_allclose(values, expected, atol=2e-4 * abs(expected).max(), err_msg=name)


@pytest.fixture(scope='module')
def asked(tmp_path_factory):
    """The made-up run, with models behind its scores in the first task; the second has none."""
    run = fake_run.make(tmp_path_factory.mktemp('run') / 'run')
    store = Explanations(run)
    rows = store.rows(fake_run.PLAIN)
    tokens, lengths = run.corpus().padded(rows), np.asarray(run.corpus().lengths[rows])
    score = {}
    for job in store.jobs():
        if job.task != fake_run.PLAIN:
            continue
        spec = SPECS[job.spec]
        params = some_params(spec, seed=3)
        score[job.spec] = jax.jit(functools.partial(of_tokens, params, score=spec, average_strands=False))
        run.save_result(Finished(job.index, 0, 0, 1, 0.9, params), [])
        arrays = dict(store.load('saliency', job.index))
        arrays['score'] = np.asarray(score[job.spec]((tokens, lengths)))
        store.save('saliency', job.index, arrays, Made({}, {}))
    return run, lambda spec, letters: _scores(score[spec], letters)


def _scores(score, letters: str) -> float:
    """JAX's score of one sequence, padded to the length of the others so that nothing is compiled again."""
    tokens = np.full((fake_run.N_TEST * 2, fake_run.LENGTH), 4, np.uint8)
    tokens[:, : len(letters)] = dna.encode(letters)
    return float(score((tokens, np.full(len(tokens), len(letters))))[0])


def write_page(run, folder: pathlib.Path, specs=tuple(SPECS)):
    """The page of the made-up run; returns the first task's payload."""
    collector = Collector(run, record.all_tables())
    page_files.write_assets(folder)
    for place, task in enumerate(collector.corpus.tasks):
        models = page_files.write_models(folder, place, model_payload.models_payload(collector, task, specs))
        shown = payload.task_payload(collector, collector.task(task), sequences=20, answers=models is not None)
        page_files.write_task(folder, place, shown)
        first = shown if place == 0 else first  # noqa: F821
    page_files.write_run(folder, payload.run_payload(collector, title='run', made=collector.corpus.tasks))
    return first


@pytest.fixture(scope='module')
def page(asked):
    folder = asked[0].path / 'dashboard'
    return folder, write_page(asked[0], folder)


@pytest.fixture
def watched(browser, page):
    view = test_browser.Watched(browser, page[0])
    yield view
    view.check()
    view.page.close()


def open_change(watched, row: int, **options):
    watched.open('task', fake_run.PLAIN, 'change', row, **options)
    watched.page.get_by_text('All mutants are computed.').wait_for()


def cell(shown, spec: str, name: str) -> float:
    return test_browser.number(shown.locator(f'[data-cell="{spec}:{name}"]').inner_text())


def test_a_letter_is_clicked_undone_and_put_back(watched, page, asked):
    shown, (_, score_of) = watched.page, asked
    item = page[1]['sequences'][0]
    watched.open('task', fake_run.PLAIN, 'sequence', item['row'])
    shown.get_by_role('link', name='Ask the models').click()
    shown.get_by_text('All mutants are computed.').wait_for()
    assert len(shown.workers) == 1
    for place, spec in enumerate(fake_run.SPECS):
        assert abs(cell(shown, spec, 'score') - item['scores'][place]) < 0.006
        assert cell(shown, spec, 'change') == 0
    # Position 18 is clicked: the letter behind it in ACGT, and what the squares have said of it before.
    position, letters = 17, item['letters']
    new = 'ACGT'[('ACGT'.index(letters[position]) + 1) % 4]
    area = shown.locator('.stage .figure').bounding_box()
    step = (area['width'] - 82) / len(letters)
    spot = {'x': 76 + (position + 0.5) * step, 'y': 28}
    shown.locator('.stage .figure').hover(position=spot)
    foreseen = {spec: cell(shown, spec, new) for spec in fake_run.SPECS}
    shown.locator('.stage .figure').click(position=spot)
    changed = letters[:position] + new + letters[position + 1 :]
    assert shown.get_by_label('Sequence: type or paste').input_value() == changed
    shown.get_by_text('All mutants are computed.').wait_for()
    assert shown.locator('#base').inner_text() == new and '1 changed' in shown.locator('.lead').inner_text()
    for spec in fake_run.SPECS:
        expected = score_of(spec, changed)
        assert abs(cell(shown, spec, 'score') - expected) < 0.006
        assert abs(cell(shown, spec, 'change') - (expected - score_of(spec, letters))) < 0.006
        assert abs(foreseen[spec] - (expected - score_of(spec, letters))) < 0.006
    assert f'letters={changed}' in shown.url and shown.locator('.edited').count() == 1
    # A square, the keyboard, undo and redo, and the original.
    shown.locator('.stage .figure').click(position={'x': 76 + 3.5 * step, 'y': 60 + 24 + 54 + 8 + 11 * 3 + 5})
    assert shown.get_by_label('Sequence: type or paste').input_value()[3] == 'T'
    shown.locator('.stage').focus()
    shown.keyboard.press('Home')
    shown.keyboard.press('n')
    assert shown.get_by_label('Sequence: type or paste').input_value()[0] == 'N'
    shown.keyboard.press('Backspace')
    assert shown.get_by_label('Sequence: type or paste').input_value()[0] == letters[0]
    for _ in range(3 + (letters[3] != 'T') - 1):
        shown.keyboard.press('Control+z')
    assert shown.get_by_label('Sequence: type or paste').input_value() == changed
    shown.get_by_role('button', name='Undo').click()
    assert shown.get_by_label('Sequence: type or paste').input_value() == letters
    assert shown.get_by_role('button', name='Undo').is_disabled()
    shown.get_by_role('button', name='Redo').click()
    assert shown.get_by_label('Sequence: type or paste').input_value() == changed
    shown.get_by_role('button', name='Reset to the original').click()
    assert shown.get_by_label('Sequence: type or paste').input_value() == letters and 'letters=' not in shown.url
    shown.get_by_text('All mutants are computed.').wait_for()
    for place, spec in enumerate(fake_run.SPECS):
        assert abs(cell(shown, spec, 'score') - item['scores'][place]) < 0.006


def test_a_sequence_is_typed_and_what_is_wrong_with_it_is_said(watched, page, asked):
    shown, item = watched.page, page[1]['sequences'][0]
    open_change(watched, item['row'])
    box, trouble = shown.get_by_label('Sequence: type or paste'), shown.locator('#letters-trouble')
    for text, problem in (
        ('ACGTACGTX', 'Letter 9 is “X”: a sequence has only the letters A, C, G, T and N.'),
        ('ACGT>ACG', 'Letter 5 is “>”'),
        ('', '0 letters are too few'),
        ('A' * 1001, '1,001 letters are too many: this page computes at most 1,000.'),
    ):
        box.fill(text)
        assert problem in trouble.inner_text() and box.get_attribute('aria-invalid') == 'true'
    box.fill('>some name\nacgtaaggcc\nTTACG TNNAC GATTTACCAG\nGG')
    assert trouble.text_content() == '' and box.get_attribute('aria-invalid') is None
    assert '32 letters' in shown.locator('.lead').inner_text()
    shown.get_by_text('All mutants are computed.').wait_for()
    letters = 'ACGTAAGGCCTTACGTNNACGATTTACCAGGG'
    for spec in fake_run.SPECS:
        assert abs(cell(shown, spec, 'score') - asked[1](spec, letters)) < 0.006
    box.fill('GATTACA' * 60)  # is not waited for: the next question ends it
    box.fill('ACGTACGTAC')  # the CNN's filters need more, the CNN-RNN's do not
    assert f'needs at least {SPECS["medium_cnn"].min_length} letters' in shown.locator('.readout').inner_text()
    shown.get_by_text('All mutants are computed.').wait_for()
    assert abs(cell(shown, 'medium_cnn_rnn', 'score') - asked[1]('medium_cnn_rnn', 'ACGTACGTAC')) < 0.006
    with shown.expect_download() as waiting:
        shown.get_by_role('button', name='Download numbers (TSV)').click()
    lines = pathlib.Path(waiting.value.path()).read_text(encoding='utf-8').splitlines()
    table = [line.split('\t') for line in lines if not line.startswith('#')]
    assert ''.join(cells[1] for cells in table[1:]) == 'ACGTACGTAC'
    column = table[0].index('medium_cnn_rnn:T')
    assert abs(float(table[1][column]) - asked[1]('medium_cnn_rnn', 'TCGTACGTAC')) < 1e-4


def test_a_motif_is_dragged_in_and_put_by_keyboard(watched, page):
    shown, item = watched.page, page[1]['sequences'][0]
    open_change(watched, item['row'])
    box = shown.get_by_label('Sequence: type or paste')
    chip = shown.locator('.chip').first
    word = chip.get_attribute('title')
    area = shown.locator('.stage .figure').bounding_box()
    step = (area['width'] - 82) / len(item['letters'])
    middle = 76 + (30 + len(word) / 2) * step
    chip.drag_to(shown.locator('.stage .figure'), target_position={'x': middle, 'y': 28})
    assert box.input_value() == item['letters'][:30] + word + item['letters'][30 + len(word) :]
    shown.get_by_role('button', name='Undo').click()
    chip = shown.locator('.chip').first
    chip.focus()
    shown.keyboard.press('Enter')
    assert shown.locator('.chip[aria-pressed="true"]').count() == 1
    shown.get_by_label('reverse strand').check()
    shown.get_by_label('first position').fill('5')
    shown.get_by_role('button', name='Put it there').click()
    turned = dna.decode(dna.reverse_complement(dna.encode(word)))
    assert box.input_value() == item['letters'][:4] + turned + item['letters'][4 + len(word) :]
    shown.get_by_label('first position').fill('55')
    shown.get_by_role('button', name='Put it there').click()
    assert 'it can begin at positions 1 to' in shown.get_by_role('alert').inner_text()


def test_an_answer_that_the_run_contradicts_is_not_shown(browser, asked, tmp_path):
    """So is a model whose weights did not fit; and a task without weights has no such view."""
    import json

    shown_task = write_page(asked[0], tmp_path, specs=('medium_cnn',))
    shown_task['sequences'][0]['scores'][0] += 0.5
    page_files.write_task(tmp_path, 0, json.loads(json.dumps(shown_task)))
    view = test_browser.Watched(browser, tmp_path)
    open_change(view, shown_task['sequences'][0]['row'])
    text = view.page.locator('.readout').inner_text()
    assert 'is not shown: this page computes' in text and 'the run holds' in text
    assert 'cannot be computed on this page: its weights would make the page too large' in text
    view.open('task', fake_run.HOSTILE, 'sequence', 0)
    assert view.page.get_by_role('link', name='Ask the models').count() == 0
    view.check()
    view.page.close()


def test_without_workers_it_computes_beside_the_page(watched, page):
    watched.page.add_init_script('window.Worker = undefined')
    item = page[1]['sequences'][0]
    open_change(watched, item['row'])
    assert not watched.page.workers
    for place, spec in enumerate(fake_run.SPECS):
        assert abs(cell(watched.page, spec, 'score') - item['scores'][place]) < 0.006


@pytest.mark.parametrize('width', [360, 1200])
@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_it_fits_and_is_readable(watched, page, width, theme):
    shown = watched.page
    shown.set_viewport_size({'width': width, 'height': 780})
    shown.emulate_media(color_scheme=theme, reduced_motion='reduce')
    item = page[1]['sequences'][0]
    open_change(watched, item['row'], letters=f'N{item["letters"][1:]}')
    assert shown.evaluate('document.documentElement.scrollWidth <= window.innerWidth')
    assert shown.evaluate(test_browser.UNLABELLED) == []
    assert shown.evaluate(test_browser.CONTRAST) == []


def test_weights_take_their_share_of_the_page(asked):
    """The architectures that take least come first, the others are named; the sequences share what is left."""
    collector = Collector(asked[0], record.all_tables())
    assert 100_000 < model_payload.weights_size(SPECS['medium_cnn']) < 130_000
    both = _weights(collector, ReportSettings())
    # The second task has no CNN-RNN, so that the CNN takes more.
    assert list(both) == ['medium_cnn_rnn', 'medium_cnn'] and not collector.missing
    assert both['medium_cnn'] == 2 * model_payload.weights_size(SPECS['medium_cnn'])
    small = ReportSettings(page_megabytes=0.5)
    chosen = _weights(collector, small)
    assert list(chosen) == ['medium_cnn_rnn'] and 'does not compute medium_cnn:' in collector.missing[-1]
    each, rest = payload.bytes_per_sequence(collector), payload.bytes_without_sequences(collector)
    room = 0.95e6 * small.page_megabytes
    assert _affordable(collector, small, room - rest - 7.5 * each) == 7
    task = model_payload.models_payload(collector, fake_run.PLAIN, chosen)
    written = len(page_files.script('models-0000', task))
    assert model_payload.weights_size(SPECS['medium_cnn_rnn']) == pytest.approx(written, abs=200)
    assert model_payload.models_payload(collector, fake_run.HOSTILE, chosen) is None


def test_the_library_fits_its_long_logos(browser, tmp_path):
    column = base64.b64encode(np.tile([120, 60, 50, 25], (32, 1)).astype(np.uint8).tobytes()).decode()
    model = {'id': 'D1', 'protein': 'CTCF', 'kind': 'TF', 'species': 'x', 'family': '', 'experiment': '', 'cell': ''}
    model |= {'optimum': column, 'score': 1.0, 'detectors': [column] * 3, 'effects': [3, 2, 1], 'matches': []}
    criterion = payload.criterion({'measure': 'q_value', 'threshold': 0.5})
    assert criterion == 'q at most 0.5'
    facts = {'title': 'x', 'release': 'y', 'models': [model], 'counts': [], 'criterion': criterion}
    page_files.write_library(tmp_path, facts)
    view = test_browser.Watched(browser, tmp_path)
    for width in (1200, 768, 360):
        view.page.set_viewport_size({'width': width, 'height': 800})
        view.open()
        assert view.page.locator('.logo').count() == 4
        assert view.page.evaluate('document.documentElement.scrollWidth <= window.innerWidth')
        assert not view.page.get_by_role('button', name='Show more').is_visible()
    view.check()
    view.page.close()
