"""Windows that share what they have in common, against the same windows scored one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import demo_jax
from demo_jax.nn import deepbind, dense, models
from demo_jax.nn.layers import Convolution, Dense, Dropout, MaxPool, Summary
from demo_jax.nn.models import SPECS, ModelSpec
from demo_jax.predict import overlapping, scoring
from demo_jax.predict.model import Model
from demo_jax.predict.windows import check_fasta
from tests import helpers_models
from tests.helpers_models import fresh, random_params
from tests.test_deepbind_models import write_library
from tests.test_mutants import POOLED_CNN, POOLED_RNN, RNNS, STRANDS, Squash

few_filters = pytest.fixture(scope='module', autouse=True)(helpers_models.few_filters)

EVEN = ModelSpec(
    'even',
    own_layers=(
        Convolution('conv0', 4, 5, 'same'),
        MaxPool(block=3),
        Dropout(),
        Convolution('conv1', 2, 3, 'full'),
        MaxPool(block=2),
        Summary(how='max_mean'),
        Dense('dense'),
    ),
)


@functools.partial(jax.jit, static_argnums=(1, 3, 4))
def shared_scores(params, spec, tokens, stride, windows):
    return dense.score(params, spec, tokens, stride, windows)


def cut(tokens, width, stride):
    """The windows (B, K, width) along sequences (B, L)."""
    return np.lib.stride_tricks.sliding_window_view(tokens, width, axis=1)[:, ::stride]


@pytest.mark.parametrize(
    'spec, stride',
    [(POOLED_CNN, 1), (POOLED_CNN, 5), (POOLED_RNN, 5), (RNNS, 1), (STRANDS, 5), (EVEN, 1), (EVEN, 5)],
    ids=lambda value: str(getattr(value, 'name', value)),
)
def test_every_window_as_by_itself(spec, stride):
    """In float64, at both ends of the sequence, with N, and dealt out to the classes of every pool."""
    width = 31 if stride == 1 else 28
    assert dense.shares(spec, width)
    windows = 2 * dense.classes(spec, stride)
    tokens = np.random.default_rng(0).integers(0, 5, (2, stride * (windows - 1) + width)).astype(np.uint8)
    with jax.enable_x64(True):
        params = random_params(spec, dtype=np.float64)
        found = np.asarray(shared_scores(params, spec, tokens, stride, windows))
        x = np.eye(5)[cut(tokens, width, stride).reshape(-1, width)][..., :4]
        score = jax.jit(lambda x: models.apply(params, x, spec).score)
        expected = np.asarray(score(x)).reshape(2, windows)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert expected.std() > 0.002


def test_who_shares():
    assert all(dense.shares(spec, 101) for spec in SPECS.values())
    assert not dense.shares(SPECS['large_cnn'], 40)  # every position sees one of the ends
    parts = (Convolution('conv0', 3, 4), Summary(how='max'), Dense('dense'))
    assert dense.shares(ModelSpec('own', own_layers=(*parts[:-1], Squash(), parts[-1])), 20)  # behind the summary
    assert not dense.shares(ModelSpec('own', own_layers=(parts[0], Squash(), *parts[1:])), 20)
    cnn = Model('t', 'small_cnn', 0, None)
    assert overlapping.sharing(cnn, 101, 50) and not overlapping.sharing(cnn, 101, 51)
    assert overlapping.sharing(demo_jax.wrap(lambda params, x: x.sum((1, 2)), {}), 101, 1) is None


def test_every_window_is_in_one_piece():
    rng = np.random.default_rng(1)
    for follows in (rng.random(3000) < 0.99, np.ones(500, bool), np.zeros(7, bool), np.zeros(0, bool)):
        calls, left = overlapping.pieces(follows, [(64, 2), (8, 16), (2, 64)])
        seen = [left]
        for piece in calls:
            first = np.unique(piece.first)
            at = first[:, None] + np.arange(piece.windows)
            assert follows[at[:, 1:]].all()  # of one run
            assert 4 * len(first) >= len(piece.first) == 128 // piece.windows
            seen.append(at.ravel())
        np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(len(follows)))
        assert len(left) < 200


def write_records(path):
    """Long and short records, N at both ends and within."""
    rng = np.random.default_rng(2)
    texts = [''.join(rng.choice(list('ACGT'), n)) for n in (2500, 101, 60, 150, 700)]
    texts[0] = texts[0][:400] + 150 * 'N' + texts[0][550:]
    texts[4] = 20 * 'N' + texts[4][20:]
    path.write_text(''.join(f'>r{i}\n{text}\n' for i, text in enumerate(texts)))
    return path


def scored(models, path, stride):
    """What `score_blocks` finds, and what scoring window by window does, each (M, n)."""
    fasta = check_fasta(path, models, stride=stride, progress=False)
    blocks = list(scoring.score_blocks(models, fasta, progress=False))
    alone = [scoring.score_all(models, block.windows.tokens, block.windows.lengths) for block in blocks]
    return np.concatenate([block.scores for block in blocks], axis=1), np.concatenate(alone, axis=1)


def test_a_file_of_every_kind_of_record(tmp_path, monkeypatch):
    """Both strands, models of one program, a model that shares nothing; few windows are left to be scored alone."""
    monkeypatch.setattr(overlapping, '_LETTERS', 200)
    monkeypatch.setattr(overlapping, '_KINDS', 1)  # fewer programs to compile
    left, rest = [], scoring.score_all
    chosen = [('small_cnn', True), ('small_cnn', True), ('small_cnn_rnn', False), ('deepbind', True)]
    members = [Model('t', spec, seed, fresh(spec, seed), both, 101) for seed, (spec, both) in enumerate(chosen)]
    own = demo_jax.wrap(
        lambda params, x, lengths=None: x[:, :50] @ params @ jnp.ones(50),
        np.arange(4, dtype=np.float32) - 1,
        length=101,
    )
    found, expected = scored([*members, own], write_records(tmp_path / 'a.fa'), 6)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert expected.std(axis=1).min() > 0.01
    monkeypatch.setattr(
        scoring,
        'score_all',
        lambda models, tokens, *rows, **kw: left.append(len(tokens)) or rest(models, tokens, *rows, **kw),
    )
    list(scoring.score_blocks(members[:1], check_fasta(tmp_path / 'a.fa', members, stride=6, progress=False)))
    assert 0 < sum(left) < 0.5 * found.shape[1]


@pytest.mark.parametrize('windows', [True, False])
def test_published_models(tmp_path, windows):
    """Every shape, by the best of the tool's windows and as a whole."""
    write_library(tmp_path)
    models = demo_jax.load_deepbind(tmp_path, windows=windows).select()
    rng = np.random.default_rng(3)
    tokens = rng.integers(0, 5, (2, 130)).astype(np.uint8)
    for model in models:
        shape, stacked = model.score.shape, jax.tree.map(lambda leaf: leaf[None], model.params)
        found = deepbind.score_overlapping(stacked, tokens, shape=shape, windows=windows, width=101, stride=3)
        expected = model.score_tokens(cut(tokens, 101, 3).reshape(-1, 101)).reshape(2, -1)
        np.testing.assert_allclose(np.asarray(found)[0], expected, atol=1e-5)
