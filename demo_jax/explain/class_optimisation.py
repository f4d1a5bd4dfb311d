"""Class optimisation: the input that a model finds most like a bound sequence (section 3.3 of the paper)."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from demo_jax.errors import InputError
from demo_jax.explain import batches
from demo_jax.explain.score import Score, check_score, float_type, probability
from demo_jax.explain.sizes import default_sizes
from demo_jax.nn.kernels import Array


@dataclass(frozen=True)
class ClassOptimisationSettings:
    """How the optimum is searched for; the defaults are those of the authors' code.

    Attributes:
      steps: of RMSProp.
      learning_rate: of RMSProp.
      decay: of RMSProp's mean of squared gradients (0.99 is Torch's default, which the authors used).
      l2: lambda, the weight of |X|^2.
      smoothing: added to every entry before the rows are normalised.
    """

    steps: int = 1000
    learning_rate: float = 0.05
    decay: float = 0.99
    l2: float = 0.009
    smoothing: float = 0.01

    def __post_init__(self) -> None:
        for name in ('learning_rate', 'smoothing'):
            if not getattr(self, name) > 0:
                raise InputError(f'{name} is {getattr(self, name)}, expected a positive number')
        if self.steps < 0:
            raise InputError(f'steps is {self.steps}, expected 0 or more')
        if not 0 <= self.decay < 1:
            raise InputError(f'decay is {self.decay}, expected 0 or more and below 1')
        if not self.l2 >= 0:
            raise InputError(f'l2 is {self.l2}, expected 0 or more')


@dataclass(frozen=True, eq=False)
class ClassOptimum:
    """What was found for M models from R random starts each.

    Attributes:
      matrix: float32 (M, R, L, 4), the optimum as a matrix of letter probabilities, rows sum to 1.
      raw: float32 (M, R, L, 4), the optimum itself.
      score: float32 (M, R), S of `raw`.
      objective: float32 (M, R), log S+ - lambda |X|^2 of `raw`.
      history: float32 (C, M, R), the objective at the start and after each chunk of steps.
      history_steps: int64 (C,), how many steps had been made then.
    """

    matrix: np.ndarray
    raw: np.ndarray
    score: np.ndarray
    objective: np.ndarray
    history: np.ndarray
    history_steps: np.ndarray

    @property
    def probability(self) -> np.ndarray:
        """(M, R), S+ of `raw`: the softmax probability of the positive class."""
        return probability(self.score)

    @property
    def best(self) -> np.ndarray:
        """int64 (M,), the restart with the highest objective."""
        return self.objective.argmax(axis=1)

    @property
    def best_matrix(self) -> np.ndarray:
        """(M, L, 4), the matrix of each model's best restart."""
        return self.matrix[np.arange(len(self.matrix)), self.best]


def optimise_class(
    stacked_params: Any,
    score: Score,
    *,
    seeds: np.ndarray,
    length: int = 101,
    restarts: int = 4,
    settings: ClassOptimisationSettings | None = None,
    starts: np.ndarray | None = None,
    width: int | None = None,
    chunk: int = 100,
    progress: Callable[[int, np.ndarray], None] | None = None,
) -> ClassOptimum:
    """Maximise log S+(X) - lambda |X|^2 over the input matrix X, by RMSProp from uniformly random starts.

    S+ is the softmax probability of the positive class. The paper prints its equation 7 as S+(X) +
    lambda |X|^2, with a plus sign, under which X would grow without bound; the authors' code decays X,
    and takes the logarithm. Afterwards, as there, X is clamped to [0, 1], divided by its maximum, and
    rows are smoothed and normalised (see `to_matrix`).

    All models and restarts run in one compiled program. A restart's result depends on the model, its
    seed, the restart's number and the settings, not on what runs beside it.

    Args:
      stacked_params: parameters with a leading axis M.
      score: a `ModelSpec`, or any function of (params, x) that gives log odds, see `explain.score`.
      seeds: int (M,), of the random starts, one per model.
      length: L, any that the model can read.
      restarts: R.
      settings: see `ClassOptimisationSettings`.
      starts: float (M, R, L, 4), where to start; None = from uniformly random numbers.
      width: models at a time on each device, see `batches.run`; None = what suits the device
        (`sizes.default_sizes`), on a CPU 1.
      chunk: steps between reports of progress.
      progress: called with the number of steps made and the objectives (M, R), at the start and after
        each chunk.

    Raises:
      InputError: a setting out of range, seeds that do not fit, a length that the score cannot read, or something
        that is no score.
    """
    settings = ClassOptimisationSettings() if settings is None else settings
    n_models = batches.count_models(stacked_params)
    seeds = batches.checked_seeds(score, seeds, n_models, length=length, restarts=restarts, chunk=chunk)
    if starts is not None and np.shape(starts) != (n_models, restarts, length, 4):
        raise InputError(f'starts have shape {np.shape(starts)}, expected {(n_models, restarts, length, 4)}')
    one = jax.tree.map(lambda leaf: leaf[0], stacked_params)
    check_score(score, one, np.arange(length, dtype=np.uint8) % 4, gradient=True)
    shape = (n_models, restarts, length)
    width = default_sizes('attribution', score, one, shape, batch_size=restarts, width=width).width
    # The devices share out the models: a model's restarts are one batch.
    run = functools.partial(
        batches.run, stacked_params=stacked_params, batch_size=restarts, width=width, shard='models'
    )
    dtype = float_type(stacked_params)
    drawn = _start(jnp.asarray(seeds), length, restarts, settings, dtype)
    if starts is not None:
        drawn = drawn._replace(x=jnp.asarray(starts, dtype))
    state = jax.tree.map(np.asarray, drawn)
    made, history = 0, []
    while True:
        value, objective = run(_value, (score, settings.l2), arrays=state.x)
        history.append((made, objective))
        if progress is not None:
            progress(made, objective)
        if made == settings.steps:
            break
        n_steps = min(chunk, settings.steps - made)
        state = run(_advance, (score, settings, n_steps), arrays=state)
        made += n_steps
    return ClassOptimum(
        matrix=to_matrix(state.x, settings.smoothing),
        raw=state.x,
        score=value,
        objective=objective,
        history=np.stack([values for _, values in history]),
        history_steps=np.array([steps for steps, _ in history]),
    )


def to_matrix(raw: np.ndarray, smoothing: float = 0.01) -> np.ndarray:
    """The optimum as letter probabilities: float (..., L, 4) -> float32 (..., L, 4), rows sum to 1.

    Entries are clamped to [0, 1] and divided by the largest of the sequence, `smoothing` is added, rows are
    normalised. A sequence with nothing above zero becomes uniform.
    """
    clamped = np.clip(np.asarray(raw, np.float64), 0, 1)
    largest = clamped.max(axis=(-2, -1), keepdims=True)
    scaled = clamped / np.where(largest > 0, largest, 1) + smoothing
    return (scaled / scaled.sum(axis=-1, keepdims=True)).astype(np.float32)


class _State(NamedTuple):
    x: Array  # (..., R, L, 4)
    optimiser: optax.OptState


class _Value(NamedTuple):
    score: Array  # (R,)
    objective: Array  # (R,)


def _optimiser(settings: ClassOptimisationSettings) -> optax.GradientTransformation:
    # As in Torch: the small constant is added to the root, not under it.
    return optax.rmsprop(settings.learning_rate, decay=settings.decay, eps=1e-8, eps_in_sqrt=False)


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _start(seeds, length, restarts, settings, dtype):
    """The states of all models (M, R, ...). RMSProp works on each entry alone, so restarts do not mix."""

    def uniform(seed: Array, restart: Array) -> Array:
        return jax.random.uniform(jax.random.fold_in(jax.random.key(seed), restart), (length, 4), dtype)

    x = jax.vmap(lambda seed: jax.vmap(functools.partial(uniform, seed))(jnp.arange(restarts)))(seeds)
    return _State(x, _optimiser(settings).init(x))


def _value(params: Any, x: Array, score: Score, l2: float) -> _Value:
    value = score(params, x)
    return _Value(value, jax.nn.log_sigmoid(value) - l2 * (x * x).sum((1, 2)))


def _advance(params: Any, state: _State, score: Score, settings: ClassOptimisationSettings, n_steps: int) -> _State:
    optimiser = _optimiser(settings)

    def loss(x: Array) -> Array:
        return -_value(params, x, score, settings.l2).objective.sum()

    def step(_: Array, state: _State) -> _State:
        updates, new = optimiser.update(jax.grad(loss)(state.x), state.optimiser, state.x)
        return _State(optax.apply_updates(state.x, updates), new)

    return jax.lax.fori_loop(0, n_steps, step, state)
