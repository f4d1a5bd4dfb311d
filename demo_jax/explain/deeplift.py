"""DeepLIFT and DeepSHAP of any JAX function, as a transformation of it, like `jax.grad` (pure).

    found = jax.jit(deeplift(score))(params, x, references)   # score(params, x): (B, L, 4) -> (B,)
    found.contributions                                       # (B, L)

The score's change from a reference to the sequence is shared out among the letters, exactly: contributions sum to it
(Shrikumar, Greenside and Kundaje, ICML 2017). DeepSHAP is the mean over several references (Lundberg and Lee, NIPS
2017). `deeplift_rules` says how each primitive shares, and `deeplift_program` carries the shares back.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from demo_jax.errors import InputError, brief
from demo_jax.explain.deeplift_program import program_of
from demo_jax.explain.score import call, name_of, takes_lengths
from demo_jax.nn.kernels import Array


class Contributions(NamedTuple):
    """What DeepLIFT finds for B sequences with K references each.

    Attributes:
      score: float (B,), of the sequences.
      reference_score: float (B, K), of the references.
      contributions: float (B, L), of the letters that are there: means over the references. Their sum is the mean of
        score - reference_score, up to `error`.
      hypothetical: float (B, L, 4), what each letter would contribute in its place, with the multipliers of the letter
        that is there, as TF-MoDISco reads it: m - sum(m reference) over a position's letters.
      error: float (B, K), of every pair: the sum of its contributions, less score - reference_score.
    """

    score: Array
    reference_score: Array
    contributions: Array
    hypothetical: Array
    error: Array


def deeplift(score: Callable[..., Array], *, rows: int | None = None) -> Callable[..., Contributions]:
    """The function that explains a score by DeepLIFT; it can be compiled, and mapped over models.

    Args:
      score: pure, of (params, x), x float (B, L, 4), returns float (B,), one number per sequence that does not depend
        on the others; see `explain.score.Score`. It may be made of any primitives that `deeplift_rules.RULES` has, of
        loops with a fixed number of turns, of branches that do not depend on x, and of functions with derivatives of
        their own, whose values count.
      rows: pairs of a sequence and a reference that are computed at a time, roughly; None: all.

    Returns:
      A function of (params, x, references, lengths=None), x float (B, L, 4), references float (B, K, L, 4) and lengths
      None or int (B,), to `Contributions`. It raises InputError for arrays of other shapes or types, for lengths that
      the score does not take, for side effects or randomness, and for a primitive without a rule (`NoRule`), which the
      message names with its line.
    """

    def explain(params: Any, x: Array, references: Array, lengths: Array | None = None) -> Contributions:
        x, references = _array('x', x, '(B, L, 4)'), _array('references', references, '(B, K, L, 4)')
        _check_shapes(x, references)
        if lengths is not None and not takes_lengths(score):
            raise InputError(f'score {name_of(score)} takes no lengths: explain sequences of each length by themselves')
        batch, k = references.shape[:2]
        at_once = _divisor(k, k if rows is None else max(1, rows // batch))
        spread = lambda array: jnp.repeat(array, at_once, axis=0)  # noqa: E731
        many = None if lengths is None else spread(jnp.asarray(lengths))

        def function(letters: Array) -> Array:
            return call(score, params, letters, many)

        wide = spread(x)
        program = program_of(function, jax.ShapeDtypeStruct(wide.shape, wide.dtype))
        at_x = program.forward([wide])
        (output,) = program.outputs
        scores = at_x[output]
        if scores.shape != wide.shape[:1]:
            raise InputError(f'score returned {scores.shape} for {len(wide)} sequences, expected one number for each')

        def of_group(total: Any, group: Any) -> tuple[Any, tuple[Any, Any]]:
            reference = group.reshape(wide.shape)
            at_r = program.forward([reference], at_x, at_x=False)
            multipliers = {output: jnp.ones_like(scores)}
            program.backward(at_x, at_r, multipliers)
            m = multipliers.get(program.inputs[0], jnp.zeros_like(wide))
            hypothetical = m - (m * reference).sum(axis=-1, keepdims=True)
            # Where x is 0 and the reference is not (as in N), the sum over letters still counts the reference.
            change = (m * (wide - reference)).sum((1, 2))
            gap = change - (scores - at_r[output])
            each = hypothetical.reshape(batch, at_once, *x.shape[1:])
            return total + each.sum(axis=1), (at_r[output].reshape(batch, at_once), gap.reshape(batch, at_once))

        groups = references.reshape(batch, k // at_once, at_once, *x.shape[1:]).swapaxes(0, 1)
        start = jnp.zeros_like(x)
        if len(groups) == 1:
            total, (others, gap) = of_group(start, groups[0])
        else:
            total, pairs = jax.lax.scan(of_group, start, groups)
            others, gap = (pair.swapaxes(0, 1).reshape(batch, k) for pair in pairs)
        hypothetical = total / k
        return Contributions(
            scores.reshape(batch, at_once)[:, 0], others, (hypothetical * x).sum(axis=-1), hypothetical, gap
        )

    return explain


def _divisor(k: int, most: int) -> int:
    """The largest divisor of k that is no more than `most`."""
    return next(n for n in range(min(k, most), 0, -1) if k % n == 0)


def _array(name: str, value: Any, axes: str) -> Array:
    """An array of what should be one; InputError for None, text and the like."""
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise InputError(f'{name} is {brief(value)}, expected float {axes}') from error


def _check_shapes(x: Array, references: Array) -> None:
    """See that letters and references belong together.

    Raises:
      InputError: they do not.
    """
    for name, array, axes in (('x', x, '(B, L, 4)'), ('references', references, '(B, K, L, 4)')):
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise InputError(f'{name} is {array.dtype}, expected float {axes}')
    if x.ndim != 3 or not x.size:
        raise InputError(f'x has shape {x.shape}, expected (B, L, 4)')
    found = references.shape
    if len(found) != 4 or found[:1] + found[2:] != x.shape or not found[1]:
        raise InputError(f'references have shape {found}, expected ({len(x)}, K, {", ".join(map(str, x.shape[1:]))})')
