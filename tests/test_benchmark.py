"""The benchmark: operations counted, what the file holds, and that PyTorch's models are the same as ours."""

import dataclasses
import functools
import inspect
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from demo_jax import dna
from demo_jax.errors import InputError
from demo_jax.explain.attribution import attribute
from demo_jax.explain.temporal import temporal_scores_models
from demo_jax.nn import kernels, models
from demo_jax.nn.cost import forward_operations, operations_per_step
from demo_jax.nn.models import SPECS
from experiments import benchmark
from experiments.benchmarks import asking, explaining
from experiments.benchmarks.measure import Settings, interleaved, summarise
from tests.helpers_commands import run_command


def shapes_of(spec):
    """The shapes of a model's parameters."""
    return jax.eval_shape(functools.partial(models.init, spec=spec), jax.random.key(0))


def test_operations_by_hand():
    # Windows of 9 x 4 letters at 93 positions, halved to 46; windows of 5 x 64 at 42; then 64 x 2.
    first, second, dense = 2 * 93 * 36 * 64, 2 * 42 * 320 * 64, 2 * 64 * 2
    assert operations_per_step(SPECS['small_cnn'], 1, 101) == 2 * first + 3 * (second + dense)
    assert operations_per_step(SPECS['small_cnn'], 256, 101) == 256 * 6018816
    # Two directions, 10 positions: 4 letters and 16 hidden units into 4 x 16 gates; then 32 x 2.
    letters, hidden, dense = 2 * 20 * 4 * 64, 2 * 20 * 16 * 64, 2 * 32 * 2
    assert operations_per_step(SPECS['small_rnn'], 1, 10) == 2 * letters + 3 * (hidden + dense) == 143744
    # Two strands, 101 + 23 positions, windows of 24 x 4; then maximum and mean of 16 filters.
    first, dense = 2 * 2 * 124 * 96 * 16, 2 * 2 * 32 * 2
    assert operations_per_step(SPECS['deepbind'], 1, 101) == 2 * first + 3 * dense == 1524480


def dot_operations(jaxpr) -> int:
    """Operations of all matrix products in a traced program, those in loops as often as they run."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == 'dot_general':
            (contracted, _), _ = equation.params['dimension_numbers']
            left = equation.invars[0].aval
            depth = int(np.prod([left.shape[axis] for axis in contracted]))
            total += 2 * depth * int(np.prod(equation.outvars[0].aval.shape))
        times = equation.params.get('length', 1) if equation.primitive.name == 'scan' else 1
        for value in equation.params.values():
            inner = getattr(value, 'jaxpr', value)  # a closed jaxpr holds an open one
            if hasattr(inner, 'eqns'):
                total += times * dot_operations(inner)
    return total


@pytest.mark.parametrize('name', SPECS)
def test_operations_are_those_of_the_traced_program(name, monkeypatch):
    # Its own gradient also multiplies the zeros around the output's; that of its products with the windows does not.
    monkeypatch.setattr(kernels, 'conv1d', inspect.unwrap(kernels.conv1d))  # also out of the tests' checks of shapes
    monkeypatch.setattr(kernels, '_correlate', kernels._correlate_product)
    monkeypatch.setattr(kernels, '_saves_products', lambda *_: False)  # what is counted is the usual number of them
    spec, batch, length = SPECS[name], 3, 61
    params = shapes_of(spec)
    tokens = jax.ShapeDtypeStruct((batch, length), jnp.uint8)

    def total_score(params, tokens):
        return models.apply(params, tokens, spec).score.sum()

    forward = jax.make_jaxpr(total_score)(params, tokens)
    assert forward_operations(spec, batch, length) == dot_operations(forward.jaxpr)
    if spec.conv:  # a scan's own gradient lists the input's gradient, which the compiler then drops
        both = jax.make_jaxpr(jax.grad(total_score))(params, tokens)
        assert operations_per_step(spec, batch, length) == dot_operations(both.jaxpr)


def test_summary_and_turns():
    assert summarise([4.0, 1.0, 2.0, 3.0, 10.0]) == {
        'median': 3.0,
        'quartile_low': 2.0,
        'quartile_high': 4.0,
        'min': 1.0,
        'max': 10.0,
        'repeats': [4.0, 1.0, 2.0, 3.0, 10.0],
    }
    calls = []
    seconds = interleaved({name: functools.partial(calls.append, name) for name in 'ab'}, 2)
    assert ''.join(calls) == 'aabb' + 'abab'
    assert {name: len(values) for name, values in seconds.items()} == {'a': 2, 'b': 2}


@pytest.mark.parametrize(
    'change, message',
    [
        ({'specs': ('small_cnn', 'huge_cnn')}, "unknown spec 'huge_cnn'"),
        ({'length': 20, 'specs': ('medium_cnn',)}, 'length is 20, medium_cnn needs at least 28'),
        ({'widths': (1, -2)}, 'widths holds -2'),
        ({'widths': ()}, 'at least one'),
        ({'repeats': 0}, 'repeats is 0, expected 1 or more'),
        ({'tasks': (1, 27)}, r'tasks is \(1, 27\), expected numbers of 1 or more, 6 among them'),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(InputError, match=message):
        Settings(**change)


def test_bad_width_flag():
    with pytest.raises(InputError, match="--widths: '1.5' is not a whole number"):
        benchmark.whole_numbers('widths', ['1', '1.5'])
    assert benchmark.whole_numbers('widths', ['1', '0']) == (1, 0)


@pytest.fixture(scope='module')
def result(tmp_path_factory):
    """What the command measures on two host devices, tiny, and what it prints."""
    path = tmp_path_factory.mktemp('benchmark') / 'measured.json'
    flags = ['--suite=all', f'--json={path}', '--specs=small_cnn', '--widths=1,8,0', '--models=1', '--repeats=2']
    flags += ['--batch=4', '--length=18', '--steps=2', '--sequences=10', '--counts=1,6', '--host_devices=2']
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('OMP_WAIT_POLICY', 'PASSIVE')  # threads of torch that spin take seconds of a busy machine
        status, out, err = run_command('benchmark', *flags)
    assert status == 0, err
    return json.loads(path.read_text(encoding='utf-8')), out


def is_summary(value) -> bool:
    ordered = [value[key] for key in ('min', 'quartile_low', 'median', 'quartile_high', 'max')]
    return len(value['repeats']) == 2 and ordered[0] > 0 and ordered == sorted(ordered)


def test_file_of_the_command(result):
    found, _ = result
    assert set(found) == {'format', 'version', 'settings', 'machine', 'suites'}
    assert (found['format'], found['version']) == (benchmark.FORMAT, benchmark.VERSION)
    assert found['settings']['specs'] == ['small_cnn'] and found['settings']['repeats'] == 2
    machine = found['machine']
    assert machine['devices'] == (2 if machine['device_platform'] == 'cpu' else machine['devices'])
    assert machine['jax'] == jax.__version__ and machine['cpu'] and machine['date'].startswith('20')
    assert set(found['suites']) == set(benchmark.SUITES)


def test_train_suite(result):
    train = result[0]['suites']['train']
    devices = result[0]['machine']['devices']
    assert [(row['width'], row['all']) for row in train['rows']] == [(1, True)]  # 8 and 0 are the same program
    for row in train['rows']:
        assert row['spec'] == 'small_cnn' and row['kind'] == 'CNN' and row['models'] == devices
        assert row['parameters'] == 9 * 4 * 64 + 64 + 5 * 64 * 64 + 64 + 64 * 2 + 2
        assert is_summary(row['ms_per_step']) and row['compile_seconds'] > 0
        assert row['operations_per_step'] == operations_per_step(SPECS['small_cnn'], 4, 18)
        per_second = 1000 / row['ms_per_step']['median']
        assert row['sequences_per_second'] == pytest.approx(4 * per_second)
        share = row['operations_per_step'] * per_second / train['peak']['operations_per_second']
        assert row['share_of_peak'] == pytest.approx(share)
    rates = [entry['operations_per_second'] for entry in train['peak']['measurements']]
    repeats = result[0]['settings']['repeats']  # measured in turns with the program; three products before, three after
    assert train['peak']['operations_per_second'] == max(rates) and len(rates) == 6 + repeats
    beside = row['operations_per_step'] * per_second / np.median(rates[3:-3])
    assert row['share_beside'] == pytest.approx(beside)


def test_peers_beside(result):
    pytest.importorskip('torch', reason='torch is not installed')
    train = result[0]['suites']['train']
    peers = {peer['variant']: peer for peer in train['peers']}
    assert set(peers) == {'conv1d', 'channels_last', 'stacked'}
    assert peers['stacked']['models'] == peers['conv1d']['models'] == 1
    assert all(is_summary(peer['ms_per_step']) for peer in peers.values())
    (line,) = train['comparison']
    single = min(peers[variant]['ms_per_step']['median'] for variant in ('conv1d', 'channels_last'))
    ours = {row['width']: row['ms_per_step']['median'] for row in train['rows']}
    assert line['torch_ms'] == single and line['best_ms'] == min(ours.values())
    assert line['times_faster_best'] == pytest.approx(single / min(ours.values()))


def test_explain_suite(result):
    suite = result[0]['suites']['explain']
    rows = {(row['what'], row['program']): row for row in suite['rows']}
    ours = {what for what, program in rows if program == 'demo_jax'}
    assert ours == {'saliency', 'integrated_gradients', 'deeplift', 'mutagenesis', 'class_optimisation'}
    assert all(is_summary(row['per_second']) for row in rows.values())
    assert rows['saliency', 'demo_jax']['count'] == 6 * 10
    assert suite['tomtom']['words'] == 100 and suite['tomtom']['targets'] == 519 and suite['tomtom']['seconds'] > 0
    for line in suite['comparison']:
        best = max(
            row['per_second']['median']
            for (what, program), row in rows.items()
            if what == line['what'] and program != 'demo_jax'
        )
        assert line['times_faster'] == pytest.approx(rows[line['what'], 'demo_jax']['per_second']['median'] / best)


def test_what_temporal_scores_are_compared_with_gives_the_same(monkeypatch):
    monkeypatch.setattr(explaining, 'MODELS', 2)
    spec = dataclasses.replace(SPECS['small_rnn'], name='tiny', lstm_size=3)
    params = jax.vmap(functools.partial(models.init, spec=spec))(jax.random.split(jax.random.key(1), 2))
    tokens = np.random.default_rng(0).integers(4, size=(3, 11), dtype=np.uint8)
    expected = temporal_scores_models(params, spec, tokens)
    np.testing.assert_allclose(explaining._every_prefix(params, spec, tokens), expected, atol=1e-5)


def test_ask_suite(result):
    suite = result[0]['suites']['ask']
    ours = suite['rows'][0]
    assert (ours['program'], ours['effects']) == ('demo_jax', 2 * 4 * 3) and is_summary(ours['per_second'])
    assert ours['per_processor_second'] > 0
    assert all(line['times'] > 0 for line in suite['comparison'])


def test_designs_are_measured_by_their_real_scores():
    spec = SPECS['small_cnn']
    params = jax.tree.map(lambda leaf: 3 * np.asarray(leaf)[None], spec.init(jax.random.key(0)))
    backgrounds = np.random.default_rng(0).integers(4, size=(3, 24), dtype=np.uint8)
    asked = asking.Asked(spec, params, False, backgrounds, ('ACGT',))
    goal = float(asked.models().score(backgrounds).max()) + 0.2
    for row in asking.design_rows(asked, count=2, target=goal, peers=False):
        assert row['of'] == 2 and row['reached'] == 2 and row['score'] >= goal - 1e-3 and row['edits'] >= 1


def test_scaling_suite(result):
    suite = result[0]['suites']['scaling']
    one, six = suite['rows']
    assert (one['tasks'], six['tasks'], six['times_that_of_6']) == (1, 6, 1)
    assert one['times_that_of_6'] == one['seconds_per_task']['median'] / six['seconds_per_task']['median']
    busy = suite['utilisation']
    assert (busy['tasks'], busy['slots']) == (6, 2) and 0.5 < busy['utilisation'] <= 1


def test_data_suite(result):
    rows = result[0]['suites']['data']['rows']
    assert all(is_summary(row['value']) and row['unit'] in ('sequences/s', 'ms') for row in rows)
    text = ' | '.join(row['name'] for row in rows)
    for part in ('shuffles, 1 thread', 'DeepBind', 'FASTA', 'build a corpus', 'plan an epoch', 'bootstrap'):
        assert part in text


def test_printed_tables(result):
    found, printed = result
    assert printed.strip() == benchmark.describe(found)
    for part in ('small_cnn', '1 = all', 'matrix-product peak', 'AUROC bootstrap', found['machine']['cpu']):
        assert part in printed


# PyTorch's models


@pytest.mark.parametrize('name', SPECS)
def test_torch_models_have_as_many_parameters(name):
    pytest.importorskip('torch', reason='torch is not installed')
    from experiments.benchmarks import torch_peer

    for variant in torch_peer.variants(SPECS[name]):
        trained = torch_peer.TorchModel(SPECS[name], variant).trained()
        assert sum(parameter.numel() for parameter in trained) == models.count_parameters(shapes_of(SPECS[name]))


@pytest.mark.parametrize('name', ['large_rnn', 'large_cnn', 'large_cnn_rnn', 'deepbind'])
def test_torch_models_give_the_same_logits(name):
    torch = pytest.importorskip('torch', reason='torch is not installed')
    from experiments.benchmarks import torch_peer

    torch.set_num_threads(1)
    spec = SPECS[name]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(scale=0.2, size=leaf.shape).astype(np.float32), shapes_of(spec))
    tokens = rng.integers(4, size=(3, 60), dtype=np.uint8)
    run = jax.jit(lambda p, x: models.apply(p, x, spec).logits, compiler_options={'xla_backend_optimization_level': 0})
    expected = np.asarray(run(params, tokens))
    for variant in torch_peer.variants(spec):
        model = torch_peer.carry_over(params, torch_peer.TorchModel(spec, variant)).eval()
        with torch.no_grad():
            logits = model(model.prepare(torch.as_tensor(dna.one_hot(tokens)))).numpy()
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', ['small_cnn', 'small_cnn_rnn'])
def test_torch_saliency_is_ours(name):
    torch = pytest.importorskip('torch', reason='torch is not installed')
    from experiments.benchmarks import torch_peer

    torch.set_num_threads(1)
    spec = SPECS[name]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(scale=0.2, size=leaf.shape).astype(np.float32), shapes_of(spec))
    tokens = rng.integers(4, size=(4, 24), dtype=np.uint8)
    expected = attribute('saliency', params, spec, tokens).signed
    for variant in torch_peer.variants(spec):
        stacked = jax.tree.map(lambda leaf: leaf[None], params)
        peer = torch_peer.TorchSaliency(spec, variant, tokens, stacked, batch=4, where=torch.device('cpu'))
        (found,) = peer()
        moved = {'conv1d': (0, 2, 1), 'channels_last': (0, 3, 1, 2), 'batch_first': (0, 2, 1), 'time_first': (0, 2, 1)}
        found = found.permute(*moved[variant]).reshape(4, 24, 4).sum(-1)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', ['small_cnn', 'small_rnn'])
def test_torch_mutants_are_ours(name):
    """tangermeme's mutagenesis of the carried-over model, as it centres it, is three quarters of our `signed`."""
    torch = pytest.importorskip('torch', reason='torch is not installed')
    pytest.importorskip('tangermeme', reason='tangermeme is not installed')
    from experiments.benchmarks import torch_peer

    torch.set_num_threads(1)
    spec = SPECS[name]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(scale=0.2, size=leaf.shape).astype(np.float32), shapes_of(spec))
    tokens = rng.integers(4, size=(2, 24), dtype=np.uint8)
    stacked = jax.tree.map(lambda leaf: leaf[None], params)
    (found,) = torch_peer.TangermemeMutagenesis(spec, tokens, stacked, batch=32, fast=False)()
    expected = attribute('mutagenesis', params, spec, tokens).signed
    np.testing.assert_allclose(found.sum(1).numpy(), 0.75 * expected, rtol=1e-4, atol=1e-5)


def test_rates_beside_the_reference_build():
    row = {'spec': 'medium_rnn', 'what': 'temporal', 'program': 'demo_jax', 'per_processor_second': {'median': 30.0}}
    kept = {'rows': {'medium_rnn': {'temporal': 10.0, 'mutagenesis': 5.0}}}
    (line,) = explaining.beside_reference([row, row | {'program': 'every prefix'}], kept)
    assert (line['reference'], line['ratio']) == (10.0, 3.0)
    assert all(spec in SPECS for spec in explaining.reference()['rows'])
