"""The comparison of precisions: the CPU rounds what it multiplies, and the table holds what was trained."""

import jax
import numpy as np
import pytest
from jax.interpreters import mlir

from demo_jax.evaluation.compare import paired_tests
from demo_jax.io import files
from demo_jax.nn import kernels
from demo_jax.runs.directory import RunDirectory
from demo_jax.training.machine import PRECISIONS
from experiments.benchmarks import rounding
from tests.helpers_commands import run_command


@pytest.fixture
def rounded():
    """The CPU rounds as asked, for the length of a test."""
    usual = {each: mlir._platform_specific_lowerings['cpu'][each].rule for each in rounding.PRODUCTS}
    rounding.round_on_cpu()
    yield
    for primitive, rule in usual.items():
        mlir.register_lowering(primitive, rule, platform='cpu')


def to_bits(x: np.ndarray, bits: int) -> np.ndarray:
    """float32 rounded to so many bits of mantissa, to the nearest, ties to even."""
    words = x.view(np.uint32).astype(np.uint64)
    drop = np.uint64(23 - bits)
    half = (np.uint64(1) << (drop - np.uint64(1))) - np.uint64(1) + ((words >> drop) & np.uint64(1))
    return (((words + half) >> drop) << drop).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize('name, bits', [('float32', 23), ('tf32', 10), ('bf16', 7)])
def test_operands_are_rounded_and_sums_are_not(rounded, name, bits):
    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=shape).astype(np.float32) for shape in ((30, 50), (50, 20)))
    with jax.default_matmul_precision(PRECISIONS[name]):
        # A function of its own for each precision: what was compiled before is not rounded.
        found, gradient = jax.jit(lambda a, b: (a @ b, jax.grad(lambda a: (a @ b).sum())(a)))(left, right)
    sides = (left, right) if bits == 23 else (to_bits(left, bits), to_bits(right, bits))
    expected = sides[0].astype(np.float64) @ sides[1].astype(np.float64)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(gradient, np.broadcast_to(sides[1].astype(np.float64).sum(1), left.shape), atol=1e-5)
    exact = left.astype(np.float64) @ right.astype(np.float64)
    assert (np.abs(np.asarray(found) - exact).max() > 1e-4) == (bits < 23)


@pytest.mark.parametrize('name, bits', [('float32', 23), ('tf32', 10), ('bf16', 7)])
def test_convolutions_are_rounded_too(rounded, name, bits):
    rng = np.random.default_rng(1)
    x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in ((20, 3, 16), (5, 16, 8)))

    def convolution(x, kernel):
        return kernels.conv1d(x, kernel, np.zeros(8, np.float32), 'valid')

    with jax.default_matmul_precision(PRECISIONS[name]):
        found = jax.jit(lambda x, kernel: convolution(x, kernel))(x, kernel)
    sides = (x, kernel) if bits == 23 else (to_bits(x, bits), to_bits(kernel, bits))
    a, k = (side.astype(np.float64) for side in sides)
    np.testing.assert_allclose(found, sum(a[i : i + 16] @ k[i] for i in range(5)), atol=1e-5)


def test_otherwise_a_cpu_multiplies_in_float32():
    factor = np.diag(np.full(8, 1.0001, np.float32))
    with jax.default_matmul_precision(PRECISIONS['bf16']):
        np.testing.assert_allclose(jax.jit(lambda a: a @ a)(factor), factor**2, rtol=1e-7)


def test_tables():
    aurocs = {
        'float32': {('a', 'cnn', 3): 0.9, ('b', 'cnn', 3): 0.8, ('a', 'cnn', 4): 0.91, ('b', 'cnn', 4): 0.79},
        'tf32': {('a', 'cnn', 3): 0.9, ('b', 'cnn', 3): 0.81},
        'bf16': {('a', 'cnn', 3): 0.88},  # the other has diverged
    }
    per_model, differences = rounding.tables(aurocs)
    assert per_model.rows[1] == {
        'task': 'b',
        'spec': 'cnn',
        'float32': 0.8,
        'another_seed': 0.79,
        'tf32': 0.81,
        'bf16': None,
    }
    by_name = {row['against float32']: row for row in differences.rows}
    assert by_name['another_seed']['mean'] == pytest.approx(0)
    assert by_name['tf32']['largest'] == pytest.approx(0.01)
    assert by_name['tf32']['p_t'] == paired_tests([0.9, 0.81], [0.9, 0.8]).p_t
    assert by_name['bf16']['n'] == 1 and by_name['bf16']['largest'] == pytest.approx(-0.02)


def test_the_command(tmp_path):
    rng = np.random.default_rng(0)
    lines = []
    for number in range(60):
        letters = [''.join(rng.choice(list('ACGT'), 30)) for _ in range(2)]
        letters[0] = f'{letters[0][:10]}TGACTCA{letters[0][17:]}'
        lines += [f'>s{number} label={label}\n{word}\n' for label, word in zip((1, 0), letters, strict=True)]
    (tmp_path / 'a.fa').write_text(''.join(lines))
    (tmp_path / 'a.test.fa').write_text(''.join(lines[:40]))
    flags = [
        '--config=configs/default.py',
        f'--workdir={tmp_path / "run"}',
        '--config.corpus.source=fasta',
        f'--config.corpus.input={tmp_path / "a.fa"}',
        '--config.specs=("small_rnn",)',
        '--config.recipe.epochs=2',
        '--config.recipe.min_steps=0',
        '--config.recipe.batch_size=16',
        '--config.evaluate.n_resamples=20',
        '--config.machine.compilation_cache=',
    ]
    done = run_command('precision', *flags)
    assert done.status == 0, done.err
    assert 'the CPU rounds' in done.out
    (row,) = files.read_tsv(tmp_path / 'run' / 'precision.tsv')
    assert all(0 <= float(row[name]) <= 1 for name in rounding.COLUMNS[2:])
    models = {name: RunDirectory(tmp_path / 'run' / name).load_result(0).params for name in PRECISIONS}
    kernels = [params['dense']['kernel'] for params in models.values()]
    assert 0 < np.abs(kernels[1] - kernels[0]).max() < np.abs(kernels[2] - kernels[0]).max() < 0.1
    refused = run_command('precision', *flags, '--config.machine.precision=bf16')
    assert refused.status == 2 and 'precision is chosen by this command' in refused.err
