"""Sufficient motifs: the least specific letters that make a model say bound (pure).

Class optimisation, as the paper has it (`class_optimisation`), asks for the input with the highest score. That input
holds all that ever helped the model, piled up in one sequence. Here the question is turned around: which distribution
of letters needs the fewest bits, and yet gives sequences that the model calls bound?

A distribution q of sequences with independent columns, q = softmax(theta), is sought by

    minimise  KL(q || background)   subject to   E_q[S(x)] >= target.

It is a PWM: a column that the model does not need stays at the background, one where two letters serve as well shows
both. The score is only read at sequences of letters, as the model was trained on; its gradient passes from a sampled
sequence to the probabilities (the straight-through estimator of Bengio et al. 2013, as Linder and Seelig 2021 use it to
design sequences). With a weight lambda on the divergence, E_q[S] - lambda KL is climbed by Adam: first with a small
lambda, so that a site is found, then with one that grows; the last distribution that reaches the target is kept.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from demo_jax.errors import InputError
from demo_jax.explain import batches
from demo_jax.explain.score import Score, check_score, float_type
from demo_jax.explain.sizes import default_sizes
from demo_jax.motifs import extract, piles
from demo_jax.nn.kernels import Array

#: Sequences that a distribution is judged by at the end.
JUDGED = 64
#: How far below the target the mean score of these may lie, since it has an error of its own.
SLACK = 0.5
#: Letters of the widest motif that is read from an optimum.
WIDEST = 25


@dataclasses.dataclass(frozen=True)
class SufficientMotifSettings:
    """How sufficient motifs are searched for.

    Attributes:
      target: the mean score S (log odds) to reach; 3 is a probability of .95.
      steps: of Adam.
      learning_rate: of Adam, on the log probabilities.
      samples: sequences drawn at each step.
      search: share of the steps with the smallest weight, in which a site is found.
      weights: the smallest and the largest weight of the divergence, in score per nat. It grows between them as a
        power of the step.
      memory: of the running mean of the score that is compared with the target, from step to step.
    """

    target: float = 3.0
    steps: int = 400
    learning_rate: float = 0.1
    samples: int = 4
    search: float = 0.4
    weights: tuple[float, float] = (0.02, 3.0)
    memory: float = 0.8

    def __post_init__(self) -> None:
        for name in ('steps', 'samples'):
            if getattr(self, name) < 1:
                raise InputError(f'{name} is {getattr(self, name)}, expected 1 or more')
        if not self.learning_rate > 0:
            raise InputError(f'learning_rate is {self.learning_rate}, expected a positive number')
        if not np.isfinite(self.target):
            raise InputError(f'target is {self.target}, expected a number')
        for name in ('search', 'memory'):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f'{name} is {getattr(self, name)}, expected 0 or more and below 1')
        if len(self.weights) != 2 or not 0 < self.weights[0] <= self.weights[1]:
            raise InputError(f'weights are {self.weights}, expected two positive numbers, the smaller first')


@dataclasses.dataclass(frozen=True, eq=False)
class SufficientMotif:
    """What was found for M models from R random starts each.

    Attributes:
      matrix: float32 (M, R, L, 4), letter probabilities, rows sum to 1.
      score: float32 (M, R), the mean of S over `JUDGED` sequences drawn from `matrix`.
      bits: float32 (M, R), the divergence from the background, summed over columns.
      without: float32 (M,), the mean of S over `JUDGED` sequences of the background.
      target: float32 (M,), the score that was asked for.
    """

    matrix: np.ndarray
    score: np.ndarray
    bits: np.ndarray
    without: np.ndarray
    target: np.ndarray

    @property
    def reached(self) -> np.ndarray:
        """bool (M, R), whether `score` is at most `SLACK` below the target."""
        return self.score >= self.target[:, None] - SLACK

    @property
    def best(self) -> np.ndarray:
        """int64 (M,), see `best_start`."""
        starts = zip(self.score, self.bits, self.target, strict=True)
        return np.array([best_start(*one) for one in starts], np.int64)

    @property
    def best_matrix(self) -> np.ndarray:
        """(M, L, 4), the matrix of each model's best start."""
        return self.matrix[np.arange(len(self.matrix)), self.best]


def best_start(score: np.ndarray, bits: np.ndarray, target: float) -> int:
    """The start with the fewest bits of those that reached the target; where none did, that with the highest score.

    Args:
      score: (R,), of each start.
      bits: (R,).
      target: see `SufficientMotifSettings`.
    """
    reached = np.asarray(score) >= target - SLACK
    return int(np.where(reached, bits, np.inf).argmin() if reached.any() else np.argmax(score))


def motif_of(matrix: np.ndarray) -> np.ndarray:
    """The motif (w, 4) in an optimum (L, 4): the most informative `WIDEST` columns without flat ends (`piles`)."""
    matrix = np.asarray(matrix, np.float64)
    part = extract.best_submatrix(matrix / matrix.sum(axis=1, keepdims=True), width=WIDEST).probabilities
    return part[piles.informative(part)]


def sufficient_motif(
    stacked_params: Any,
    score: Score,
    *,
    seeds: np.ndarray,
    length: int = 101,
    restarts: int = 4,
    settings: SufficientMotifSettings | None = None,
    background: np.ndarray | None = None,
    width: int | None = None,
    chunk: int = 100,
    progress: Callable[[int, np.ndarray], object] | None = None,
) -> SufficientMotif:
    """The letter distribution of fewest bits whose sequences M models call bound, from R random starts.

    All models and starts run in one compiled program. A start's result depends on the model, its seed, the start's
    number and the settings, not on what runs beside it.

    Args:
      stacked_params: parameters with a leading axis M.
      score: a `ModelSpec`, or any function of (params, x) that gives log odds, see `explain.score`.
      seeds: int (M,), of starts and samples, one per model.
      length: L, any that the model can read.
      restarts: R.
      settings: see `SufficientMotifSettings`.
      background: float (4,), letter frequencies; None = uniform.
      width: models at a time on each device, see `batches.run`; None = what suits the device.
      chunk: steps between reports of progress.
      progress: called with the number of steps made and the mean scores (M, R) of what is kept, after each chunk.

    Raises:
      InputError: a setting out of range, seeds or a background that do not fit, a length that the score cannot read, or
        something that is no score.
    """
    settings = SufficientMotifSettings() if settings is None else settings
    n_models = batches.count_models(stacked_params)
    seeds = batches.checked_seeds(score, seeds, n_models, length=length, restarts=restarts, chunk=chunk)
    letters = _letters(background)
    one = jax.tree.map(lambda leaf: leaf[0], stacked_params)
    check_score(score, one, np.arange(length, dtype=np.uint8) % 4, gradient=True)
    shape = (n_models, restarts, length)
    drawn = restarts * settings.samples
    width = default_sizes('attribution', score, one, shape, batch_size=drawn, width=width).width
    run = functools.partial(
        batches.run, stacked_params=stacked_params, batch_size=restarts, width=width, shard='models'
    )
    # The target is an input of the program: another one needs no other program.
    static = (score, dataclasses.replace(settings, target=0.0), letters)
    state = _start(seeds, restarts, length, settings, letters, float_type(stacked_params))
    made = 0
    while made < settings.steps:
        made = min(made + chunk, settings.steps)
        state = run(_advance, static, arrays=state._replace(until=np.full_like(state.until, made)))
        if progress is not None:
            progress(made, state.kept_mean)
    found = run(_judge, static, arrays=state)
    return SufficientMotif(
        matrix=found.matrix,
        score=found.score,
        bits=found.divergence / np.float32(np.log(2)),
        without=found.without[:, 0],
        target=np.full(n_models, settings.target, np.float32),
    )


class _State(NamedTuple):
    """Of R starts.

    Attributes:
      key: uint32 (R, 2), of all that is drawn for a start.
      step: int32 (R,), steps made.
      theta: (R, L, 4), log probabilities but for a constant per row.
      optimiser: of optax; counts have an axis R, too.
      mean: (R,), the running mean of the score.
      kept: (R, L, 4), the theta that is kept so far.
      kept_mean: (R,), its `mean`.
      target: (R,), the score to reach.
      until: int32 (R,), steps to be made by the end of the call; an input, so that every call is of one program.
    """

    key: Array
    step: Array
    theta: Array
    optimiser: optax.OptState
    mean: Array
    kept: Array
    kept_mean: Array
    target: Array
    until: Array


class _Judged(NamedTuple):
    matrix: Array  # (R, L, 4)
    score: Array  # (R,)
    divergence: Array  # (R,), in nats
    without: Array  # (R,)


def _letters(background: np.ndarray | None) -> tuple[float, ...]:
    """The background's frequencies; InputError as `sufficient_motif`."""
    letters = np.full(4, 0.25) if background is None else np.asarray(background, np.float64)
    if letters.shape != (4,) or not (letters > 0).all() or abs(letters.sum() - 1) > 1e-6:
        raise InputError(f'background is {letters.tolist()}, expected four positive frequencies that add up to 1')
    return tuple(letters.tolist())


def _start(seeds, restarts, length, settings, letters, dtype) -> _State:
    """The states of all models (M, R, ...): near the background, so that no place is preferred.

    All but what is drawn is NumPy's: JAX would compile a program for every step of it.
    """
    key, noise = map(np.asarray, _drawn(jnp.asarray(seeds), restarts, length, dtype))
    shape = key.shape[:2]
    theta = np.log(np.asarray(letters, dtype)) + np.asarray(0.5, dtype) * noise
    zeros = jax.tree.map(lambda leaf: np.zeros((*shape, *leaf.shape), leaf.dtype), _optimiser_shapes(settings, theta))
    step, mean = np.zeros(shape, np.int32), np.zeros(shape, dtype)
    low, target = np.full(shape, -np.inf, dtype), np.full(shape, settings.target, dtype)
    return _State(key, step, theta, zeros, mean, theta, low, target, step)


def _optimiser_shapes(settings: SufficientMotifSettings, theta: Array) -> optax.OptState:
    """Shapes of the optimiser's state of one start; Adam begins with zeros."""
    return jax.eval_shape(_optimiser(settings).init, jax.ShapeDtypeStruct(theta.shape[2:], theta.dtype))


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _drawn(seeds: Array, restarts: int, length: int, dtype: Any) -> tuple[Array, Array]:
    """The keys (M, R, 2) of all starts, and a normal number for each entry of theta (M, R, L, 4)."""

    def one(seed: Array, restart: Array) -> tuple[Array, Array]:
        key = jax.random.fold_in(jax.random.key(seed), restart)
        return jax.random.key_data(key), jax.random.normal(jax.random.fold_in(key, 0), (length, 4), dtype)

    return jax.vmap(lambda seed: jax.vmap(functools.partial(one, seed))(jnp.arange(restarts)))(seeds)


def _optimiser(settings: SufficientMotifSettings) -> optax.GradientTransformation:
    return optax.adam(settings.learning_rate)


def _draw(key: Array, theta: Array, number: Array | int, samples: int) -> Array:
    """One-hot sequences (R, K, L, 4) of the distributions theta (R, L, 4), by their keys (R, 2) and a number."""

    def one(key: Array, theta: Array, number: Array) -> Array:
        key = jax.random.fold_in(jax.random.wrap_key_data(jnp.asarray(key)), number)
        noise = jax.random.gumbel(key, (samples, *theta.shape), theta.dtype)
        return jax.nn.one_hot((theta[None] + noise).argmax(-1), 4, dtype=theta.dtype)

    return jax.vmap(one)(key, theta, jnp.broadcast_to(jnp.asarray(number, jnp.int32), key.shape[:1]))


def _mean_score(params: Any, score: Score, x: Array) -> Array:
    """(R,): the mean of S over sequences (R, K, L, 4)."""
    return score(params, x.reshape(-1, *x.shape[2:])).reshape(x.shape[:2]).mean(1)


def _divergence(matrix: Array, letters: tuple[float, ...]) -> Array:
    """(R,), KL of columns (R, L, 4) from the background, in nats."""
    log = jnp.log(jnp.maximum(matrix, 1e-9)) - jnp.log(jnp.asarray(letters, matrix.dtype))[None, None]
    return (matrix * log).sum((1, 2))


def _advance(
    params: Any, state: _State, score: Score, settings: SufficientMotifSettings, letters: tuple[float, ...]
) -> _State:
    optimiser, (least, most) = _optimiser(settings), settings.weights
    searching = settings.search * settings.steps

    def loss(theta: Array, x: Array, weight: Array) -> tuple[Array, Array]:
        matrix = jax.nn.softmax(theta, -1)
        # In value the drawn letters, in gradient the probabilities.
        through = matrix[:, None] + jax.lax.stop_gradient(x - matrix[:, None])
        mean = _mean_score(params, score, through)
        return -(mean - weight * _divergence(matrix, letters)).sum(), mean

    def step(_: Array, state: _State) -> _State:
        x = _draw(state.key, state.theta, state.step + 1, settings.samples)
        grown = jnp.maximum(state.step - searching, 0) / (settings.steps - searching)
        weight = (least * (most / least) ** grown).astype(state.mean.dtype)
        gradient, value = jax.grad(loss, has_aux=True)(state.theta, x, weight)
        mean = jnp.where(state.step == 0, value, settings.memory * state.mean + (1 - settings.memory) * value)
        # Above the target the latest counts, which has the fewest bits; below it, the highest.
        enough = (jnp.minimum(mean, value) >= state.target) & (state.step >= searching)
        take = jnp.where(state.kept_mean >= state.target, enough, mean >= state.kept_mean)
        updates, new = jax.vmap(optimiser.update)(gradient, state.optimiser)
        return _State(
            state.key,
            state.step + 1,
            optax.apply_updates(state.theta, updates),
            new,
            mean,
            jnp.where(take[:, None, None], state.theta, state.kept),
            jnp.where(take, mean, state.kept_mean),
            state.target,
            state.until,
        )

    return jax.lax.fori_loop(state.step[0], state.until[0], step, state)


def _judge(
    params: Any, state: _State, score: Score, settings: SufficientMotifSettings, letters: tuple[float, ...]
) -> _Judged:
    def mean(theta: Array) -> Array:
        def some(number: Array) -> Array:
            return _mean_score(params, score, _draw(state.key, theta, settings.steps + 1 + number, settings.samples))

        return jax.lax.map(some, jnp.arange(-(-JUDGED // settings.samples))).mean(0)

    matrix = jax.nn.softmax(state.kept, -1)
    flat = jnp.broadcast_to(jnp.log(jnp.asarray(letters, matrix.dtype)), matrix.shape)
    return _Judged(matrix, mean(state.kept), _divergence(matrix, letters), mean(flat))
