"""The rules of DeepLIFT, one for each primitive of JAX: how the change of an output is shared among its inputs (pure).

Values come in pairs, at the input x and at the reference r. A *multiplier* of a value says how much of the score's
change each unit of that value's change brings: the sum of multiplier times (value at x - value at r) over a layer is
the change of the score, whatever the layer (Shrikumar, Greenside and Kundaje, ICML 2017, section 3.2). A rule takes the
multipliers of what comes out of a primitive to those of what goes in, and keeps that sum:

- linear in what depends on x: the transposed map, exactly;
- a function of one number: the slope of the secant, (f(x) - f(r)) / (x - r), the *rescale* rule; where the two
  numbers meet, its limit, the derivative;
- a product of two numbers that both depend on x: half of the change with either factor moved first (the Shapley value
  of two players), which is the derivative in the middle between r and x; so with matrix products and quotients;
- a maximum: the change goes to the place that holds the larger one of the maxima at x and at r; equal maxima share it;
  a running maximum is a maximum at each place; sorting is a network of maxima and minima of two;
- the place of a maximum: its change goes to what is largest at x and to what is largest at r, as in their comparison;
- a choice between two values by a comparison that depends on x: if it is a maximum of something, as a maximum; else
  each value counts by the half for each point where it is chosen, and the rest goes to what is compared.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from demo_jax.nn.kernels import Array

#: How rules add to a multiplier that may be there already: of it, or None, returns the new one.
Adding = Callable[[Array | None], Array]


@dataclass(frozen=True, eq=False)
class Step:
    """One equation of a program.

    Attributes:
      primitive: of JAX.
      params: its parameters.
      inputs: slots (places of values) that it reads.
      outputs: slots that it fills.
      active: of each input, whether it depends on x.
      where: the line of code that made it.
      inner: what stands in place of the jaxprs of a loop or of branches; else None.
      contest: of a choice that takes the larger of two; else None.
    """

    primitive: Any
    params: Mapping[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    active: tuple[bool, ...]
    where: Callable[[], str]
    inner: Any = None
    contest: 'Contest | None' = None

    @property
    def name(self) -> str:
        """Of the primitive."""
        return self.primitive.name

    def bind(self, *values: Any) -> list[Any]:
        """What it computes of its inputs."""
        params = self.primitive.get_bind_params(self.params)
        functions, params = params if isinstance(params, tuple) else ((), params)  # the former: older versions of JAX
        found = self.primitive.bind(*functions, *values, **params)
        return list(found) if self.primitive.multiple_results else [found]


class Contest(NamedTuple):
    """What a choice takes the larger (or smaller) of.

    Attributes:
      outcomes: slots of what is compared, of the value taken where the comparison fails, and of the other.
      sign: 1 where the larger one is taken, -1 where the smaller one is.
      spread: the steps that lay the comparison's result out over the values' shape.
    """

    outcomes: tuple[int, int]
    sign: int
    spread: tuple[Step, ...]


class Held(Protocol):
    """Values by slot."""

    def __getitem__(self, slot: int, /) -> Any:
        """The value of a slot."""

    def __contains__(self, slot: object, /) -> bool:
        """Whether there is one."""


@dataclass(frozen=True)
class Call:
    """What a rule sees: a step, the values at x and at the reference, and the multipliers of what comes out.

    Attributes:
      step: the equation.
      at_x: slot -> value.
      at_r: slot -> value, of what depends on x.
      shapes: slot -> shape and dtype.
      multipliers: of each output, None where it is zero.
    """

    step: Step
    at_x: Held
    at_r: Held
    shapes: Mapping[int, Any]
    multipliers: tuple[Array | None, ...]

    @property
    def m(self) -> Array:
        """The multiplier of the only output."""
        (found,) = self.multipliers
        assert found is not None  # or the rule would not be asked
        return found

    def x(self, place: int) -> Array:
        """Input number `place` at x; also of inputs that do not depend on x."""
        return self.at_x[self.step.inputs[place]]

    def r(self, place: int) -> Array:
        """Input number `place` at the reference."""
        slot = self.step.inputs[place]
        return self.at_r[slot] if self.step.active[place] else self.at_x[slot]

    def middle(self, place: int) -> Array:
        """The mean of both."""
        if not self.step.active[place]:
            return self.x(place)
        x, r = self.x(place), self.r(place)
        return (_number(x) + _number(r)) * 0.5

    def pair(self, slot: int) -> tuple[Array, Array]:
        """What is in a slot, at x and at the reference; the same where it does not depend on x."""
        return self.at_x[slot], self.at_r[slot] if slot in self.at_r else self.at_x[slot]

    def y(self) -> tuple[Array, Array]:
        """The only output at x and at the reference."""
        (slot,) = self.step.outputs
        return self.at_x[slot], self.at_r[slot]

    def shape(self, place: int) -> Any:
        """Shape and dtype of input number `place`."""
        return self.shapes[self.step.inputs[place]]

    @property
    def active(self) -> list[int]:
        """Numbers of the inputs that depend on x."""
        return [place for place, active in enumerate(self.step.active) if active]


Rule = Callable[[Call], list[Any]]


def _number(value: Array) -> Array:
    """Truth values as 0 and 1."""
    return value.astype(jnp.float32) if value.dtype == jnp.bool_ else value


def _fit(multiplier: Array, shape: Any) -> Array:
    """A multiplier of an input that a primitive spread over its output: a scalar, or axes of one beside longer ones."""
    if multiplier.shape == shape.shape:
        return multiplier
    if not shape.shape:
        return multiplier.sum()
    spread = [axis for axis, size in enumerate(shape.shape) if size != multiplier.shape[axis]]
    return multiplier.sum(spread, keepdims=True)


def linear(call: Call) -> list[Any]:
    """Of what is linear, plus a constant, in all that depends on x together."""
    return _transposed(call, [jnp.zeros(call.shape(p).shape, call.shape(p).dtype) for p in call.active])


def multilinear(call: Call) -> list[Any]:
    """Of a product, linear in each of two inputs: in the middle, the derivative is exact."""
    return linear(call) if len(call.active) == 1 else _transposed(call, [call.middle(p) for p in call.active])


def _transposed(call: Call, points: Sequence[Array]) -> list[Any]:
    """The derivative at some values of the active inputs, transposed."""
    places = call.active
    dtype = next(m.dtype for m in call.multipliers if m is not None)

    places_of = jnp.issubdtype(call.shapes[call.step.outputs[0]].dtype, jnp.integer)
    if any(jnp.issubdtype(call.shape(p).dtype, jnp.integer) for p in places) and not places_of:
        raise NotImplementedError  # letters choose what is read

    def number(value: Array) -> Array:  # truth values can be laid out, too, and so can the places of maxima
        whole = places_of and jnp.issubdtype(value.dtype, jnp.integer)
        return value.astype(dtype) if (value.dtype == jnp.bool_ and call.step.name != 'select_n') or whole else value

    def outputs(*values: Array) -> list[Array]:
        inputs = [None if p in places else number(call.x(p)) for p in range(len(call.step.inputs))]
        for place, value in zip(places, values, strict=True):
            inputs[place] = value
        return call.step.bind(*inputs)

    shapes, pull = jax.vjp(outputs, *map(number, points))
    given = [
        jnp.zeros(shape.shape, shape.dtype) if m is None else m
        for m, shape in zip(call.multipliers, shapes, strict=True)
    ]
    found: list[Any] = [None] * len(call.step.inputs)
    for place, part in zip(places, pull(given), strict=True):
        found[place] = part
    return found


def same(call: Call) -> list[Any]:
    """Of what hands its inputs on as they are."""
    return [m if active else None for m, active in zip(call.multipliers, call.step.active, strict=True)]


def product(call: Call) -> list[Any]:
    """Of two numbers: each is multiplied by the middle of the other."""
    found: list[Any] = [None, None]
    for place in call.active:
        found[place] = _fit(call.m * call.middle(1 - place), call.shape(place))
    return found


def _times(call: Call) -> list[Any]:
    return multilinear(call) if len(call.active) == 1 else product(call)


def quotient(call: Call) -> list[Any]:
    """Of a / b = a * (1 / b); the secant of 1 / b is -1 / (b at x * b at r), so that nothing is divided by a change."""
    if not call.step.active[1]:
        return linear(call)
    found: list[Any] = [None, None]
    b, s = call.x(1), call.r(1)
    if call.step.active[0]:
        found[0] = _fit(call.m * (1 / b + 1 / s) * 0.5, call.shape(0))
    found[1] = _fit(-call.m * call.middle(0) / (b * s), call.shape(1))
    return found


def _close(dtype: Any) -> float:
    """Up to which change of a smooth function's argument the mean derivative is nearer to the secant than its quotient.

    The quotient is wrong by about the rounding error over the change, the mean of the derivatives at both ends by a
    twelfth of its square.
    """
    return float((12 * jnp.finfo(dtype).eps) ** (1 / 3))


def secant(change: Array, x: Array, r: Array, limit: Array | float, close: Array | float = 0.0) -> Array:
    """The slope change / (x - r), or the limit where x and r differ by no more than `close`."""
    step = x - r
    near = jnp.abs(step) <= close if isinstance(close, jax.Array) or close else step == 0
    return jnp.where(near, limit, change / jnp.where(near, jnp.ones_like(step), step))


def rescale(call: Call) -> list[Any]:
    """Of a smooth function of one number: the secant; its limit by the derivative in the middle."""
    (place,) = call.active
    x, r = call.x(place), call.r(place)
    others = [None if p == place else call.x(p) for p in range(len(call.step.inputs))]

    def function(value: Array) -> Array:
        return call.step.bind(*[value if p == place else other for p, other in enumerate(others)])[0]

    y, reference = call.y()
    middle = 0.5 * (x + r)
    _, slope = jax.jvp(function, (middle,), (jnp.ones_like(middle),))
    near = _close(x.dtype) * jnp.clip(jnp.maximum(jnp.abs(x), jnp.abs(r)), 0, 1)
    found: list[Any] = [None] * len(call.step.inputs)
    found[place] = _fit(call.m * secant(y - reference, x, r, slope, near), call.shape(place))
    return found


def _slope(formula: Callable[..., Array]) -> Rule:
    """The rule of a function of one number by a formula for its secant, of (x, r, f(x), f(r), params)."""

    def rule(call: Call) -> list[Any]:
        return [call.m * formula(call.x(0), call.r(0), *call.y(), call.step.params)]

    return rule


def _smooth(derivative: Callable[[Array, Array], Array]) -> Rule:
    """The rule of a function of one number whose derivative is a formula of x and f(x)."""

    def formula(x: Array, r: Array, y: Array, s: Array, params: Any) -> Array:
        limit = 0.5 * (derivative(x, y) + derivative(r, s))
        return secant(y - s, x, r, limit, _close(x.dtype))

    return _slope(formula)


def _power(x: Array, r: Array, y: Array, s: Array, params: Any) -> Array:
    """(x**n - r**n) / (x - r) is a sum of products, also where x = r."""
    n = abs(params['y'])
    total = sum((x**i * r ** (n - 1 - i) for i in range(1, n)), r ** (n - 1) if n > 1 else jnp.ones_like(x))
    return total if params['y'] > 0 else -total * y * s


def _integer_power(call: Call) -> list[Any]:
    if call.step.params['y'] == 0 or abs(call.step.params['y']) > 8:
        return rescale(call)
    return _slope(_power)(call)


def _log_secant(step: Array, r: Array) -> Array:
    """(log(r + step) - log(r)) / step."""
    zero = step == 0
    return jnp.where(zero, 1 / r, jnp.log1p(step / r) / jnp.where(zero, jnp.ones_like(step), step))


def kinked(call: Call) -> list[Any]:
    """Of a function of one number that is made of straight pieces or steps: the secant, flat where x = r on an edge.

    So the derivative of ReLU at 0 is 0, as in `jax.nn.relu` and PyTorch.
    """
    (place,) = call.active
    x, r = call.x(place), call.r(place)
    y, reference = call.y()
    name, others = call.step.name, [call.x(p) for p in range(len(call.step.inputs)) if p != place]
    if name in ('max', 'min'):
        slope = (x > others[0] if name == 'max' else x < others[0]).astype(x.dtype)
    elif name == 'clamp':
        low, high = others
        slope = ((x > low) & (x < high)).astype(x.dtype)
    elif name == 'abs':
        slope = jnp.sign(x)
    else:
        slope = jnp.zeros_like(x)
    found: list[Any] = [None] * len(call.step.inputs)
    found[place] = _fit(call.m * secant(y - reference, x, r, slope), call.shape(place))
    return found


def _extreme_of_two(call: Call) -> list[Any]:
    """Of the larger (smaller) of two numbers."""
    if len(call.active) == 1:
        return kinked(call)
    sign = 1 if call.step.name == 'max' else -1
    shape = call.m.shape
    x, r = (jnp.stack([jnp.broadcast_to(sign * at(p), shape) for p in (0, 1)]) for at in (call.x, call.r))
    parts = _share(x, r, 0) * call.m[None]
    return [_fit(part, call.shape(place)) for place, part in enumerate(parts)]


def _share(x: Array, r: Array, axes: Any) -> Array:
    """Multipliers of numbers for their maximum over some axes."""
    largest, reference = x.max(axes, keepdims=True), r.max(axes, keepdims=True)
    up = largest >= reference
    won = jnp.where(up, x == largest, r == reference)
    winners = won.sum(axes, keepdims=True, dtype=x.dtype)
    slope = secant(largest - reference, x, r, 1.0)
    return jnp.where(won, jnp.where(winners == 1, slope, slope / winners), jnp.zeros((), x.dtype))


def extreme(call: Call) -> list[Any]:
    """Of the maximum (minimum) over axes; of truth values that is whether any (all) of them hold."""
    sign = 1 if call.step.name in ('reduce_max', 'reduce_or') else -1
    axes = tuple(call.step.params['axes'])
    if call.shape(0).dtype != jnp.bool_ and call.step.name in ('reduce_or', 'reduce_and'):
        raise NotImplementedError
    x, r = (sign * value.astype(call.m.dtype) for value in (call.x(0), call.r(0)))
    return [_share(x, r, axes) * jnp.expand_dims(call.m, axes)]


def window_extreme(call: Call) -> list[Any]:
    """Of the maximum (minimum) over windows, which may overlap: the windows' places are laid over each other."""
    params = call.step.params
    if any(dilation != 1 for dilation in params['base_dilation']):
        raise NotImplementedError
    sign = 1 if call.step.name == 'reduce_window_max' else -1
    pads = [(low, high, 0) for low, high in params['padding']]
    strides, dilations = params['window_strides'], params['window_dilation']
    sizes = list(call.m.shape)

    def places(value: Array) -> Array:
        wide = jax.lax.pad(value, jnp.asarray(-jnp.inf, value.dtype), pads)
        found = []
        for offset in itertools.product(*map(range, params['window_dimensions'])):
            start = [o * d for o, d in zip(offset, dilations, strict=True)]
            stop = [a + (n - 1) * s + 1 for a, n, s in zip(start, sizes, strides, strict=True)]
            found.append(jax.lax.slice(wide, start, stop, strides))
        return jnp.stack(found)

    shares = _share(places(sign * call.x(0)), places(sign * call.r(0)), 0) * call.m[None]
    # Laying out is linear but for the padding, which gets nothing.
    _, pull = jax.vjp(places, jnp.zeros(call.shape(0).shape, call.shape(0).dtype))
    return list(pull(shares))


def running_extreme(call: Call) -> list[Any]:
    """Of the running maximum (minimum) along an axis: at each of L places that of up to L numbers, L x L in memory."""
    sign = 1 if call.step.name == 'cummax' else -1
    axis, reverse = call.step.params['axis'], call.step.params['reverse']
    n = call.shape(0).shape[axis]
    place, read = jnp.arange(n)[:, None], jnp.arange(n)[None]
    within = read >= place if reverse else read <= place

    def rows(value: Array) -> Array:
        wide = jnp.moveaxis(sign * value, axis, -1)[..., None, :]
        return jnp.where(within.reshape((1,) * (wide.ndim - 2) + (n, n)), wide, -jnp.inf)

    shares = _share(rows(call.x(0)), rows(call.r(0)), -1) * jnp.moveaxis(call.m, axis, -1)[..., None]
    return [jnp.moveaxis(shares.sum(-2), -1, axis)]


def place_of_extreme(call: Call) -> list[Any]:
    """Of the place p of the largest (smallest) number at x, and q at the reference: a comparison of numbers p and q.

    Number p is ahead of q by a >= 0 at x and by b <= 0 at the reference, and a - b brings p - q.
    """
    (axis,) = call.step.params['axes']
    at_x, at_r = call.x(0), call.r(0)
    p, q = (jnp.expand_dims(place, axis) for place in call.y())
    there = jax.lax.broadcasted_iota(p.dtype, at_x.shape, axis)
    ahead = lambda value: jnp.take_along_axis(value, p, axis) - jnp.take_along_axis(value, q, axis)  # noqa: E731
    m = jnp.expand_dims(call.m, axis)
    slope = m * secant((p - q).astype(m.dtype), ahead(at_x), ahead(at_r), 0.0)
    return [slope * ((there == p).astype(m.dtype) - (there == q).astype(m.dtype))]


def sorting(value: jax.Array, dimension: int) -> jax.Array:
    """The numbers of an array in rising order along an axis, by maxima and minima of neighbours, which have rules."""
    value = jnp.moveaxis(value, dimension, -1)
    n = value.shape[-1]

    def swap(value: jax.Array, first: int) -> jax.Array:
        last = first + (n - first) // 2 * 2
        pairs = value[..., first:last].reshape(*value.shape[:-1], -1, 2)
        one, other = pairs[..., 0], pairs[..., 1]
        swapped = jnp.stack([jnp.minimum(one, other), jnp.maximum(one, other)], -1)
        middle = swapped.reshape(*value.shape[:-1], -1)
        return jnp.concatenate([value[..., :first], middle, value[..., last:]], -1)

    ordered, _ = jax.lax.scan(lambda value, _: (swap(swap(value, 0), 1), None), value, length=(n + 1) // 2)
    return jnp.moveaxis(ordered, -1, dimension)


def choose(call: Call) -> list[Any]:
    """Of a choice between two values, where what chooses depends on x.

    Where it takes the larger one of two values, or of two rows by some outcome of theirs (`Step.contest`), the rule of
    the maximum of the outcomes holds. Else a value gets half of the multiplier for each of x and r where it is taken,
    and the chooser, as 0 or 1, gets the rest.
    """
    if not call.step.active[0]:
        return linear(call)
    if call.shape(0).dtype != jnp.bool_:
        raise NotImplementedError
    m = call.m
    pick, pick_r = (jnp.broadcast_to(at(0), m.shape) for at in (call.x, call.r))
    parts = [m * (0.5 * ((pick == p).astype(m.dtype) + (pick_r == p).astype(m.dtype))) for p in (False, True)]
    gap, gap_r = (at(2) - at(1) for at in (call.x, call.r))
    chooser = jnp.where(pick == pick_r, jnp.zeros_like(m), m * (0.5 * (gap + gap_r)))
    if call.step.contest is not None:
        holds, shares = _contest(call, call.step.contest)
        parts = [jnp.where(holds, m * share, part) for part, share in zip(parts, shares, strict=True)]
        chooser = jnp.where(holds, jnp.zeros_like(m), chooser)
    found = [_fit(part, call.shape(place)) for place, part in enumerate((chooser, *parts))]
    return [part if active else None for part, active in zip(found, call.step.active, strict=True)]


def _contest(call: Call, contest: Contest) -> tuple[Array, list[Array]]:
    """Where the multiplier asks for the outcome of a contest, and each value's share of the multiplier there."""
    pairs = [call.pair(slot) for slot in contest.outcomes]
    at_x, at_r = (contest.sign * jnp.stack(outcomes) for outcomes in zip(*pairs, strict=True))
    shares = _share(at_x, at_r, 0)

    def spread(part: Array) -> Array:
        for step in contest.spread:
            (part,) = step.bind(part)
        return jnp.broadcast_to(part, call.m.shape)

    of_each = [spread(share) for share in shares]
    changes = [call.m * (call.x(place) - call.r(place)) for place in (1, 2)]
    y, reference = call.y()
    # All that one outcome decides must add up, which it does if the multiplier is a multiple of what makes the outcome.
    _, gather = jax.vjp(spread, jnp.zeros_like(shares[0]))
    whole = call.m * (y - reference)
    (missing,) = gather(whole - sum(share * change for share, change in zip(of_each, changes, strict=True)))
    (size,) = gather(jnp.abs(whole) + sum(map(jnp.abs, changes)))
    return spread((jnp.abs(missing) <= 1e3 * jnp.finfo(size.dtype).eps * size).astype(size.dtype)) > 0, of_each


def compare(call: Call) -> list[Any]:
    """Of a comparison: a step of the difference of its sides, with the truth values 0 and 1."""
    y, reference = (_number(value).astype(call.m.dtype) for value in call.y())
    step = (call.x(0) - call.r(0)) - (call.x(1) - call.r(1))
    slope = call.m * secant(y - reference, step, jnp.zeros_like(step), 0.0)
    found = [_fit(slope, call.shape(0)), _fit(-slope, call.shape(1))]
    return [part if active else None for part, active in zip(found, call.step.active, strict=True)]


def logic(call: Call) -> list[Any]:
    """Of truth values as 0 and 1: not a = 1 - a, a and b = a b, a or b = a + b - a b."""
    if any(call.shape(p).dtype != jnp.bool_ for p in range(len(call.step.inputs))):
        raise NotImplementedError
    if call.step.name == 'not':
        return [-call.m]
    found: list[Any] = [None, None]
    for place in call.active:
        other = _number(call.middle(1 - place)).astype(call.m.dtype)
        factor = {'and': other, 'or': 1 - other, 'xor': 1 - 2 * other}[call.step.name]
        found[place] = _fit(call.m * factor, call.shape(place))
    return found


def convert(call: Call) -> list[Any]:
    """Of another type of number; truth values become 0 and 1."""
    old, new = call.shape(0).dtype, call.step.params['new_dtype']
    if old == jnp.bool_:
        return [call.m]
    if jnp.issubdtype(old, jnp.integer) and jnp.issubdtype(new, jnp.floating):
        return [call.m]
    if not (jnp.issubdtype(old, jnp.floating) and jnp.issubdtype(new, jnp.floating)):
        raise NotImplementedError
    return [call.m.astype(old)]


def finite(call: Call) -> list[Any]:
    """Of what is the same at x and at r, or the numbers are useless anyhow."""
    return [None] * len(call.step.inputs)


def two_numbers(call: Call) -> list[Any]:
    """Of any function of two numbers: the mean of the changes with either moved first (Shapley)."""
    if len(call.active) == 1:
        return rescale(call)
    (a, b), (r, s) = (call.x(0), call.x(1)), (call.r(0), call.r(1))
    function = lambda left, right: call.step.bind(left, right)[0]  # noqa: E731
    mid = call.middle
    _, slopes = jax.vjp(function, mid(0), mid(1))
    slope_a, slope_b = slopes(jnp.ones_like(call.m))
    y, reference = call.y()
    ab, rb = function(a, s), function(r, b)
    near = _close(a.dtype)
    change_a, change_b = 0.5 * ((y - rb) + (ab - reference)), 0.5 * ((y - ab) + (rb - reference))
    return [
        _fit(call.m * secant(change_a, a, r, slope_a, near), call.shape(0)),
        _fit(call.m * secant(change_b, b, s, slope_b, near), call.shape(1)),
    ]


def read_slice(call: Call) -> list[Any]:
    """Of a slice whose place is computed: added where it was read, in place, since a loop reads one after the other."""
    if call.active != [0]:
        raise NotImplementedError
    sizes, shape = call.step.params['slice_sizes'], call.shape(0)
    starts = [call.x(place) for place in range(1, len(call.step.inputs))]

    def add(there: Array | None) -> Array:
        if there is None:
            there = jnp.zeros(shape.shape, call.m.dtype)
        return jax.lax.dynamic_update_slice(there, jax.lax.dynamic_slice(there, starts, sizes) + call.m, starts)

    return [add, *[None] * len(starts)]


#: The rule of each primitive, by name. Loops, branches and calls are taken apart before, see `deeplift_program`.
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(
        (
            'add',
            'add_any',
            'broadcast_in_dim',
            'concatenate',
            'copy',
            'cumsum',
            'dynamic_update_slice',
            'expand_dims',
            'gather',
            'neg',
            'pad',
            'reduce_precision',
            'reduce_sum',
            'reduce_window_sum',
            'reshape',
            'rev',
            'scatter',
            'scatter-add',
            'scatter_add',
            'slice',
            'split',
            'squeeze',
            'stack',
            'sub',
            'tile',
            'transpose',
            'unstack',
        ),
        linear,
    ),
    **dict.fromkeys(('custom_vjp_call', 'custom_vmap_call'), linear),
    **dict.fromkeys(('copy_p', 'name', 'optimization_barrier', 'pvary', 'sharding_constraint', 'stop_gradient'), same),
    **dict.fromkeys(('conv_general_dilated', 'dot_general'), multilinear),
    **dict.fromkeys(
        (
            'acos',
            'acosh',
            'asin',
            'asinh',
            'atan',
            'atanh',
            'bessel_i0e',
            'bessel_i1e',
            'cbrt',
            'cos',
            'cosh',
            'digamma',
            'erf',
            'erf_inv',
            'erfc',
            'lgamma',
            'sin',
            'sinh',
            'tan',
        ),
        rescale,
    ),
    **dict.fromkeys(('abs', 'ceil', 'clamp', 'floor', 'round', 'sign'), kinked),
    **dict.fromkeys(('eq', 'ge', 'gt', 'le', 'lt', 'ne'), compare),
    **dict.fromkeys(('and', 'not', 'or', 'xor'), logic),
    **dict.fromkeys(('max', 'min'), _extreme_of_two),
    **dict.fromkeys(('reduce_and', 'reduce_max', 'reduce_min', 'reduce_or'), extreme),
    **dict.fromkeys(('reduce_window_max', 'reduce_window_min'), window_extreme),
    **dict.fromkeys(('argmax', 'argmin'), place_of_extreme),
    **dict.fromkeys(('atan2', 'pow'), two_numbers),
    **dict.fromkeys(('cummax', 'cummin'), running_extreme),
    'convert_element_type': convert,
    'div': quotient,
    'dynamic_slice': read_slice,
    'exp': _smooth(lambda x, y: y),
    'exp2': _smooth(lambda x, y: math.log(2) * y),
    'expm1': _smooth(lambda x, y: y + 1),
    'integer_pow': _integer_power,
    'is_finite': finite,
    'log': _slope(lambda x, r, y, s, params: _log_secant(x - r, r)),
    'log1p': _slope(lambda x, r, y, s, params: _log_secant(x - r, 1 + r)),
    'logistic': _smooth(lambda x, y: y * (1 - y)),
    'mul': _times,
    'rsqrt': _slope(lambda x, r, y, s, params: -((y * s) ** 2) / (y + s)),
    'select_n': choose,
    'sqrt': _slope(lambda x, r, y, s, params: 1 / (y + s)),
    'square': _slope(lambda x, r, y, s, params: x + r),
    'tanh': _smooth(lambda x, y: 1 - y * y),
}

#: Primitives that may make whole numbers of the letters: the places of maxima, laid out.
WHOLE = frozenset(
    {'argmax', 'argmin', 'broadcast_in_dim', 'copy', 'expand_dims', 'reshape', 'rev', 'slice', 'squeeze', 'transpose'}
)

#: Primitives whose results are cheaper to compute again than to keep, in a loop.
CHEAP = frozenset(
    {
        'abs',
        'add',
        'broadcast_in_dim',
        'convert_element_type',
        'copy',
        'dynamic_slice',
        'eq',
        'expand_dims',
        'ge',
        'gt',
        'le',
        'lt',
        'max',
        'min',
        'mul',
        'ne',
        'neg',
        'not',
        'reshape',
        'rev',
        'select_n',
        'slice',
        'split',
        'squeeze',
        'stop_gradient',
        'sub',
        'transpose',
    }
)


def draws(name: str) -> bool:
    """Whether a primitive draws random numbers."""
    return name.startswith(('random_', 'rng_')) or name == 'threefry2x32'
