"""What is explained: any pure JAX function of parameters and letters that gives one number per sequence (pure).

    def score(params, x, lengths=None):   # x: float (B, L, 4), one-hot or anything in its place
        return my_apply(params, x)[:, 0]  # (B,)

Every explanation takes such a function. The architectures of `nn.models` are scores, too, some with faster ways to
the same numbers (see `explain.temporal`).
"""

import inspect
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax.errors import InputError, brief
from demo_jax.nn import kernels
from demo_jax.nn.kernels import Array

#: Two scores of one sequence that differ by less are the same up to rounding, relative to the largest score.
_ROUNDING = 1e-3


class Score(Protocol):
    """A pure function from parameters and letters to one number per sequence.

    A score may have the attributes `name` (for messages and titles; default: the function's name) and `min_length`
    (letters of the shortest sequence that it can read; default 1).
    """

    def __call__(self, params: Any, x: Array, lengths: Array | None = None) -> Array:
        """Scores, float (B,): the log odds that the TF binds, or any other number to be explained.

        Args:
          params: any pytree of arrays.
          x: letters, float (B, L, 4).
          lengths: None where every sequence fills its row, else int (B,): positions behind are padding and must
            change nothing. A score may do without this argument: sequences of unequal lengths then run in groups of
            equal length, and each length is compiled anew.
        """
        ...


def probability(score: Any, temperature: Any = 1.0, shift: Any = 0.0) -> np.ndarray:
    """The probability of binding, float64 (...,), that scores S (...,), in log odds, mean.

    Args:
      score: (...,).
      temperature: a number or an array that fits the scores, divides them first: that of a model whose probabilities
        are calibrated, see `evaluation.calibration`.
      shift: a number or an array that fits, added to the log odds then: that of another prior than the training
        data's, see `evaluation.calibration.prior_shift`.
    """
    return 0.5 * (1 + np.tanh(0.5 * (np.asarray(score, np.float64) / temperature + shift)))


def name_of(score: Any) -> str:
    """What a score is called in messages and titles."""
    return str(getattr(score, 'name', None) or getattr(score, '__name__', None) or type(score).__name__)


def shortest(score: Any) -> int:
    """Letters of the shortest sequence that a score says it can read; 1 where it says nothing."""
    return int(getattr(score, 'min_length', 1))


def takes_lengths(score: Any) -> bool:
    """Whether a score has an argument `lengths`; one with **keywords hands them on to something else."""
    if hasattr(score, 'takes_lengths'):
        return bool(score.takes_lengths)
    try:
        return 'lengths' in inspect.signature(score).parameters
    except (TypeError, ValueError):  # a builtin, say
        return False


def call(score: Any, params: Any, x: Array, lengths: Array | None) -> Array:
    """Scores (B,) of letters x (B, L, 4); lengths (B,) are passed on only where there are any."""
    return score(params, x) if lengths is None else score(params, x, lengths=lengths)


def of_tokens(params: Any, batch: tuple[Array, Array | None], score: Any, average_strands: bool) -> Array:
    """Scores (B,) of tokens (B, L) with lengths (B,) or None; the mean score of both strands if so wished."""
    tokens, lengths = batch
    scores = call(score, params, kernels.one_hot(tokens, float_type(params)), lengths)
    if average_strands:
        other = kernels.one_hot(kernels.reverse_complement(tokens, lengths), float_type(params))
        scores = (scores + call(score, params, other, lengths)) / 2
    return scores


def float_type(params: Any) -> Any:
    """The dtype of the letters that a model with these parameters reads: that of its first float array, or float32."""
    types = (_type_of(leaf) for leaf in jax.tree.leaves(params))
    return next((dtype for dtype in types if jnp.issubdtype(dtype, jnp.floating)), jnp.float32)


def _type_of(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, 'dtype') else jnp.result_type(leaf)


def check_params(params: Any) -> None:
    """See that parameters are a pytree of arrays and numbers.

    Raises:
      InputError: a leaf is something else; the message names its place.
    """
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        numeric = isinstance(leaf, np.ndarray | jax.Array | jax.ShapeDtypeStruct | np.generic | int | float)
        if not numeric or getattr(_type_of(leaf), 'kind', 'V') in 'OSUmM':
            place = jax.tree_util.keystr(path) or 'the whole'
            raise InputError(
                f'params: {place} is a {type(leaf).__name__}, expected a pytree of arrays; keep functions and settings '
                'in the score itself (with Equinox: params, static = eqx.partition(model, eqx.is_array))'
            )


#: What has been checked already: per score, the shapes of parameters and letters, and whether its gradient was.
_checked: weakref.WeakKeyDictionary[Any, set[Any]] = weakref.WeakKeyDictionary()


def check_score(score: Any, params: Any, tokens: np.ndarray, *, gradient: bool) -> None:
    """See that a function is a score, by running it on three sequences; once for each score and shape.

    Args:
      score: any callable. Those of this package (with the attribute `trusted`) are taken to be right.
      params: of one model.
      tokens: uint8 (L,), one sequence.
      gradient: whether its gradient will be asked for.

    Raises:
      InputError: it fails, does not return one real number per sequence, returns numbers that depend on the other
        sequences of the batch, or has no gradient (it raises, is not finite, or is zero although scores differ).
    """
    if getattr(score, 'trusted', False):
        return
    if not callable(score):
        raise InputError(f'score is {brief(score)}, expected a function of (params, x)')
    check_params(params)
    name = name_of(score)
    try:
        known = _checked.setdefault(score, set())
    except TypeError as error:
        raise InputError(
            f'score {name} cannot be hashed, which compiling needs; wrap it in a function, and hand its arrays over as '
            'params'
        ) from error
    shapes = tuple((np.shape(leaf), str(_type_of(leaf))) for leaf in jax.tree.leaves(params))
    fact = (jax.tree.structure(params), shapes, len(tokens), gradient)
    if fact in known:
        return
    rng = np.random.default_rng(0)
    rows = np.stack([tokens, rng.permutation(tokens), rng.integers(0, 4, len(tokens)).astype(np.uint8)])
    x = jnp.asarray(np.eye(5, 4)[np.minimum(rows, 4)], float_type(params))
    _check_output(name, _tried(name, x, lambda: jax.eval_shape(score, params, x)))
    compiled = jax.jit(score)
    together = np.asarray(_tried(name, x, lambda: compiled(params, x)))
    # The first sequence in another place and other company.
    elsewhere = np.asarray(_tried(name, x, lambda: compiled(params, x[jnp.array([1, 1, 0])])))[2]
    if not np.isfinite(together).all():
        raise InputError(f'score {name} is {together[~np.isfinite(together)][0]}, expected finite numbers')
    if abs(together[0] - elsewhere) > _ROUNDING * (1 + np.abs(together).max()):
        raise InputError(
            f'score {name} of a sequence depends on the sequences beside it ({together[0]:.6g}, and {elsewhere:.6g} in '
            'other company); is batch normalisation or dropout in training mode?'
        )
    if gradient:
        _check_gradient(name, score, params, x, together)
    known.add(fact)


def _check_output(name: str, output: Any) -> None:
    """See that a score of three sequences is float (3,)."""
    leaves = jax.tree.leaves(output)
    if len(leaves) != 1 or not hasattr(output, 'shape'):
        raise InputError(f'score {name} returned {len(leaves)} arrays, expected one, (B,)')
    if output.shape != (3,):
        found = str(output.shape).replace('3', 'B', 1) if output.shape[:1] == (3,) else str(output.shape)
        raise InputError(
            f'score {name} returned an array of shape {found} for B sequences, expected (B,): one number per sequence, '
            'e.g. logits[:, 1] - logits[:, 0]'
        )
    if not jnp.issubdtype(output.dtype, jnp.floating):
        raise InputError(f'score {name} returned {output.dtype}, expected real numbers (B,): it has no gradient')


def _check_gradient(name: str, score: Any, params: Any, x: Array, scores: np.ndarray) -> None:
    # Also between the letters: the gradient at one-hot letters alone may be zero, as at the ends of a clip.
    points = jnp.concatenate([x, 0.6 * x + 0.1])
    slopes = np.asarray(
        _tried(name, x, lambda: jax.jit(jax.grad(lambda x: score(params, x).sum()))(points), 'has no gradient on')
    )
    if not np.isfinite(slopes).all():
        raise InputError(f'the gradient of score {name} is {slopes[~np.isfinite(slopes)][0]}, expected finite numbers')
    if not slopes.any() and np.ptp(scores) > _ROUNDING * (1 + np.abs(scores).max()):
        raise InputError(
            f'the gradient of score {name} is zero everywhere although its values differ ({scores[0]:.6g}, '
            f'{scores[1]:.6g}); does it round, compare or take an argmax? mutagenesis needs no gradient'
        )


def _tried(name: str, x: Array, run: Callable[[], Any], what: str = 'failed on') -> Any:
    """What a call of a user's function returns; whatever it raises becomes one line."""
    try:
        return run()
    except Exception as error:  # anybody's function may raise anything
        text = ' '.join(str(error).split())
        raise InputError(
            f'score {name} {what} letters {x.dtype} ({", ".join(map(str, ("B", *x.shape[1:])))}): '
            f'{type(error).__name__}: {brief(text, 200)}'
        ) from error
