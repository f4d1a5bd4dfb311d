"""A JAX function as a list of steps that multipliers can be carried back through (pure).

`program_of` traces a function and takes its calls apart (`jit`, `custom_jvp`, `custom_vjp`, `remat`). What depends on
the input is *active*; only that has a value at x and another at the reference. `Program.forward` computes values,
`Program.backward` applies the rules of `deeplift_rules` from the last step to the first. Loops keep what their rules
will read of every turn, and nothing else.
"""

import dataclasses
import functools
import os
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax.errors import InputError
from demo_jax.explain.deeplift_rules import CHEAP, RULES, WHOLE, Call, Contest, Held, Step, draws, sorting
from demo_jax.nn import kernels
from demo_jax.nn.kernels import Array

#: Turns of a `while` that are counted by running its condition.
_MOST_TURNS = 10_000
#: Steps from a comparison back to what it compares.
_DEEPEST = 20
#: Where a call keeps what it calls, by the name of its primitive.
_CALLS = {
    'jit': 'jaxpr',
    'pjit': 'jaxpr',
    'closed_call': 'call_jaxpr',
    'core_call': 'call_jaxpr',
    'remat': 'jaxpr',
    'remat2': 'jaxpr',
    'checkpoint': 'jaxpr',
    'custom_jvp_call': 'call_jaxpr',
    'custom_vjp_call': 'call_jaxpr',
    'custom_vjp_call_jaxpr': 'fun_jaxpr',
    'custom_vmap_call': 'call',
}
#: Code that is nobody's own: libraries, and this package's explanations.
_LIBRARIES = (sysconfig.get_paths()['stdlib'], os.path.dirname(__file__), '<frozen')

Values = dict[int, Any]


class NoRule(InputError):
    """A primitive that multipliers cannot be carried through."""


@dataclasses.dataclass(eq=False)
class Program:
    """Steps from inputs to outputs.

    Attributes:
      steps: in the order in which they run.
      inputs: their slots.
      outputs: theirs.
      constants: slot -> value, of literals and of arrays that the function holds.
      shapes: slot -> shape and dtype; of what a loop keeps, a tuple of these.
      active: slots that depend on the inputs that do.
      sources: slot -> number of the step that fills it.
      twins: slot -> the first slot that was filled in the same way, for steps that are cheap.
    """

    steps: list[Step] = dataclasses.field(default_factory=list)
    inputs: list[int] = dataclasses.field(default_factory=list)
    outputs: list[int] = dataclasses.field(default_factory=list)
    constants: Values = dataclasses.field(default_factory=dict)
    shapes: dict[int, Any] = dataclasses.field(default_factory=dict)
    active: set[int] = dataclasses.field(default_factory=set)
    sources: dict[int, int] = dataclasses.field(default_factory=dict)
    twins: dict[int, int] = dataclasses.field(default_factory=dict)
    _ways: dict[Any, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    def slot(self, shape: Any, active: bool = False) -> int:
        """A new place for a value."""
        slot = len(self.shapes)
        self.shapes[slot] = shape
        if active:
            self.active.add(slot)
        return slot

    def constant(self, value: Any, aval: Any) -> int:
        """A place that holds a value."""
        slot = self.slot(_shape(aval))
        self.constants[slot] = value
        return slot

    def add(self, step: Step) -> None:
        """Put a step behind the others."""
        self.sources |= dict.fromkeys(step.outputs, len(self.steps))
        self.steps.append(step)
        if step.name in CHEAP:
            way = step.name, _text(step.params), tuple(self.same(slot) for slot in step.inputs)
            self.twins |= zip(step.outputs, self._ways.setdefault(way, step.outputs), strict=True)

    def same(self, slot: int) -> Any:
        """What stands for all slots with the same value: one of them, or the number that they hold."""
        value = self.constants.get(slot)
        if value is not None and not isinstance(value, jax.core.Tracer) and np.ndim(value) == 0:
            return 'constant', np.asarray(value).item(), str(self.shapes[slot].dtype)
        return self.twins.get(slot, slot)

    def source(self, slot: int) -> Step | None:
        """The step that fills a slot."""
        return self.steps[self.sources[slot]] if slot in self.sources else None

    def prune(self, live: Sequence[bool]) -> None:
        """Leave out the steps that those outputs do not need."""
        needed = {slot for slot, used in zip(self.outputs, live, strict=True) if used}
        kept = []
        for step in reversed(self.steps):
            used = [slot in needed for slot in step.outputs]
            if not any(used):
                continue
            if step.inner is not None:
                step.inner.prune(self, used)
            kept.append(step)
            needed |= {*step.inputs}
            if step.contest is not None:
                needed |= {*step.contest.outcomes}
        self.steps = kept[::-1]
        self.sources = {slot: number for number, step in enumerate(self.steps) for slot in step.outputs}

    def forward(self, inputs: Sequence[Any], known: Mapping[int, Any] | None = None, *, at_x: bool = True) -> Values:
        """All values, `at_x` or at the reference; what does not depend on the input may be `known` from x."""
        if known is None:
            values = dict(self.constants)
        else:
            values = {slot: value for slot, value in known.items() if slot not in self.active}
        values |= zip(self.inputs, inputs, strict=True)
        for step in self.steps:
            if all(slot in values for slot in step.outputs):
                continue
            read = [values[slot] for slot in step.inputs]
            if step.inner is not None:
                values |= step.inner.forward(step, read, at_x=at_x)
            else:
                values |= zip(step.outputs, step.bind(*read), strict=True)
        return values

    def backward(self, at_x: Held, at_r: Held, multipliers: dict[int, Any]) -> None:
        """Carry multipliers (slot -> multiplier; of the outputs, and of what is added to) back to the inputs."""

        def accumulate(slot: int, part: Any) -> None:
            there = multipliers.get(slot)
            if callable(part):
                multipliers[slot] = part(there)
            else:
                multipliers[slot] = part if there is None else there + part

        for step in reversed(self.steps):
            if not any(step.active):
                continue
            found = tuple(multipliers.pop(slot, None) for slot in step.outputs)
            if all(part is None for part in found):
                continue
            call = Call(step, at_x, at_r, self.shapes, found)
            parts = step.inner.backward(call) if step.inner is not None else _by_rule(call)
            for slot, part, active in zip(step.inputs, parts, step.active, strict=True):
                if active and part is not None:
                    accumulate(slot, part)


def _by_rule(call: Call) -> list[Any]:
    try:
        return RULES[call.step.name](call)
    except (KeyError, NotImplementedError) as error:
        raise _refusal(call.step) from error


def _refusal(step: Step, why: str = '') -> NoRule:
    return NoRule(f'DeepLIFT has no rule for {step.name}{why} ({step.where()})')


def _shape(aval: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)


def line_of(*equations: Any) -> str:
    """The line of code that made an equation, 'FILE:LINE in FUNCTION': the innermost one outside of libraries.

    Args:
      *equations: calls, the outer one first, and the equation inside them. What a compiled function holds was traced
        where it was first called: its lines count only if they lie under the line of the call.
    """
    found = None
    for equation in equations:
        traceback = equation.source_info.traceback
        frames = [] if traceback is None else traceback.frames
        own = [
            (frame.file_name, frame.line_num, frame.function_name)
            for frame in frames
            if 'site-packages' not in frame.file_name and not frame.file_name.startswith(_LIBRARIES)
        ]
        if own and (found is None or found in own):
            found = own[0]
    return 'its line is not known' if found is None else f'{found[0]}:{found[1]} in {found[2]}'


def program_of(function: Callable[..., Any], *inputs: Any) -> Program:
    """The program of a function of active arrays, ready for `forward` and `backward`.

    Args:
      function: pure, of arrays, returns one array. It may close over other arrays.
      *inputs: arrays or their shapes.

    Raises:
      InputError: it has side effects or draws random numbers.
      NoRule: a primitive without a rule depends on the inputs; the message names it, and the line that made it.
    """
    closed = jax.make_jaxpr(function)(*inputs)
    if closed.effects:
        found = next((e for e in _equations(closed.jaxpr) if e.effects and not _inner_jaxprs(e)), None)
        what = 'side effects' if found is None else f'{found.primitive.name}, a side effect ({line_of(found)})'
        raise InputError(f'DeepLIFT explains pure functions: this one has {what}')
    program = _flat(closed, [True] * len(inputs))
    program.prune([True] * len(program.outputs))
    _check_all(program)
    return program


def _check_all(program: Program) -> None:
    for step in program.steps:
        _check(step)
        types = [program.shapes[slot].dtype for slot in step.outputs if slot in program.active]
        if step.name not in WHOLE and any(jnp.issubdtype(dtype, jnp.integer) for dtype in types):
            raise _refusal(step, ', which makes whole numbers of the letters')


def _check(step: Step) -> None:
    """Refuse random numbers, and primitives without a rule."""
    if draws(step.name):
        raise InputError(
            f'DeepLIFT explains functions without randomness: this one draws random numbers, by {step.name} '
            f'({step.where()}); is dropout in training mode?'
        )
    for inner in step.inner.programs() if step.inner is not None else ():
        _check_all(inner)
    if not any(step.active):
        for jaxpr in _jaxprs(step.params):
            for equation in _equations(jaxpr):
                if draws(equation.primitive.name):
                    _check(dataclasses.replace(step, primitive=equation.primitive))
    elif step.inner is None and step.name not in RULES:
        raise _refusal(step)


def _jaxprs(params: Mapping[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else [value]:
            if hasattr(one, 'eqns'):
                yield one
            elif hasattr(one, 'jaxpr') and hasattr(one.jaxpr, 'eqns'):
                yield one.jaxpr


def _inner_jaxprs(equation: Any) -> list[Any]:
    return list(_jaxprs(equation.params))


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for inner in _inner_jaxprs(equation):
            yield from _equations(inner)


def _flat(closed: Any, active: Sequence[bool], calls: tuple[Any, ...] = ()) -> Program:
    """The program of a closed jaxpr, of whose inputs some are active, and which stands in some calls."""
    program = Program()
    program.inputs = [
        program.slot(_shape(var.aval), flag) for var, flag in zip(closed.jaxpr.invars, active, strict=True)
    ]
    program.outputs = _inline(program, closed.jaxpr, closed.consts, program.inputs, calls)
    return program


def _inline(
    program: Program, jaxpr: Any, constants: Sequence[Any], inputs: Sequence[int], calls: tuple[Any, ...]
) -> list[int]:
    """Add the steps of a jaxpr, which stands in some calls, to a program; returns the slots of its outputs."""
    slots: dict[Any, int] = dict(zip(jaxpr.invars, inputs, strict=True))
    for var, value in zip(jaxpr.constvars, constants, strict=True):
        slots[var] = program.constant(value, var.aval)

    def of(atom: Any) -> int:
        return program.constant(atom.val, atom.aval) if hasattr(atom, 'val') else slots[atom]

    for equation in jaxpr.eqns:
        read = [of(atom) for atom in equation.invars]
        outputs = _called(program, equation, read, calls)
        if outputs is None:
            outputs = _stepped(program, equation, read, calls)
        slots |= zip(equation.outvars, outputs, strict=True)
    return [of(atom) for atom in jaxpr.outvars]


def _called(program: Program, equation: Any, read: list[int], calls: tuple[Any, ...]) -> list[int] | None:
    """The outputs of a call, taken apart; None where an equation is none."""
    name, params = equation.primitive.name, equation.params
    if not program.active & {*read}:
        return None
    calls = (*calls, equation)
    if name == 'cond':
        index = _concrete(program, read[0])
        if index is None:
            return None
        inner = params['branches'][int(np.clip(index, 0, len(params['branches']) - 1))]
        return _inline(program, inner.jaxpr, inner.consts, read[1:], calls)
    if name == 'sort' and len(read) == 1 and jnp.issubdtype(program.shapes[read[0]].dtype, jnp.floating):
        network = jax.make_jaxpr(functools.partial(sorting, dimension=params['dimension']))(program.shapes[read[0]])
        return _inline(program, network.jaxpr, network.consts, read, calls)
    if name not in _CALLS or _is_linear_kernel(equation, program, read):
        return None
    inner = params[_CALLS[name]]
    if not hasattr(inner, 'consts'):
        return _inline(program, inner, (), read, calls)
    return _inline(program, inner.jaxpr, inner.consts, read, calls)


def _is_linear_kernel(equation: Any, program: Program, read: list[int]) -> bool:
    """Whether a call is a kernel of this package that is linear in all that is active, with a fast transposed one."""
    backward = getattr(equation.params.get('bwd'), 'f', None)
    return backward in kernels.LINEAR_IN_FIRST and not program.active & {*read[1:]}


def _stepped(program: Program, equation: Any, read: list[int], calls: tuple[Any, ...]) -> list[int]:
    """The outputs of an equation that becomes a step."""
    flags = tuple(slot in program.active for slot in read)
    calls = (*calls, equation)
    where = functools.partial(line_of, *calls)
    step = Step(equation.primitive, equation.params, tuple(read), (), flags, where)
    active: Sequence[bool] = [any(flags)] * len(equation.outvars)
    if any(flags):
        step, active = _with_inner(program, step, active, calls)
    outputs = tuple(program.slot(_shape(v.aval), flag) for v, flag in zip(equation.outvars, active, strict=True))
    step = dataclasses.replace(step, outputs=outputs)
    if step.name == 'select_n' and flags[0]:
        step = dataclasses.replace(step, contest=_contest(program, step))
    program.add(step)
    return list(outputs)


def _with_inner(
    program: Program, step: Step, active: Sequence[bool], calls: tuple[Any, ...]
) -> tuple[Step, Sequence[bool]]:
    """A loop's or a branch's step with what it runs, and which of its outputs are active."""
    if step.name == 'scan':
        params = step.params
        loop = Loop.of(
            program,
            params['jaxpr'],
            step.active,
            *_scan_sizes(params, len(step.inputs)),
            params['length'],
            params['reverse'],
            params.get('unroll', 1),
            calls,
        )
        return dataclasses.replace(step, inner=loop), loop.active_outputs()
    if step.name == 'while':
        loop = _counted(program, step, calls)
        used = step.inputs[step.params['cond_nconsts'] :]
        flags = step.active[step.params['cond_nconsts'] :]
        return dataclasses.replace(step, inner=loop, inputs=used, active=flags), loop.active_outputs()
    if step.name == 'cond':
        if step.active[0]:
            raise _refusal(step, ' whose predicate depends on the letters')
        branches = [_flat(branch, step.active[1:], calls) for branch in step.params['branches']]
        flags = [any(b.outputs[n] in b.active for b in branches) for n in range(len(active))]
        return dataclasses.replace(step, inner=Branches(branches)), flags
    return step, active


def _scan_sizes(params: Mapping[str, Any], inputs: int) -> tuple[int, int]:
    """How many inputs of a `scan` are constants, and how many are carried: jax 0.10 says it, 0.11 groups them."""
    if 'num_consts' in params:
        return params['num_consts'], params['num_carry']
    consts, carry, _ = params['ft_in'].update(range(inputs)).unpack()
    return len(list(consts)), len(list(carry))


def _concrete(program: Program, slot: int) -> Any:
    """The value of a slot that depends on no argument, as a number; else None."""
    if slot in program.constants:
        value = program.constants[slot]
        return None if isinstance(value, jax.core.Tracer) else np.asarray(value)
    step = program.source(slot)
    if step is None or any(step.active) or len(step.outputs) != 1 or _inner_jaxprs_of(step):
        return None
    read = [_concrete(program, one) for one in step.inputs]
    if any(value is None for value in read):
        return None
    with jax.ensure_compile_time_eval():
        return np.asarray(step.bind(*read)[0])


def _inner_jaxprs_of(step: Step) -> list[Any]:
    return list(_jaxprs(step.params))


def _contest(program: Program, choice: Step) -> Contest | None:
    """What a choice takes the larger of, if it is such a choice; see `Contest`."""
    spread: list[Step] = []
    slot = choice.inputs[0]
    while (step := program.source(slot)) is not None and step.name in ('broadcast_in_dim', 'reshape', 'squeeze'):
        spread.insert(0, step)
        slot = step.inputs[0]
    if step is None or step.name not in ('gt', 'ge', 'lt', 'le') or any(len(s.inputs) != 1 for s in spread):
        return None
    _, fails, holds = choice.inputs
    left, right = step.inputs
    if program.shapes[left].shape != program.shapes[right].shape:
        return None
    larger = 1 if step.name in ('gt', 'ge') else -1  # the sign where the left side is the outcome of what is taken
    for of_holds, of_fails, sign in ((left, right, larger), (right, left, -larger)):
        if _expression(program, of_holds, holds) == _expression(program, of_fails, fails):
            return Contest((of_fails, of_holds), sign, tuple(spread))
    return None


def _expression(program: Program, slot: int, leaf: int, depth: int = 0) -> Any:
    """How a slot is computed of another one, comparable with the same of another pair."""
    if program.same(slot) == program.same(leaf):
        return 'leaf'
    step = program.source(slot)
    if step is None or not any(step.active) or step.inner is not None or depth > _DEEPEST:
        return program.same(slot)
    inputs = tuple(_expression(program, one, leaf, depth + 1) for one in step.inputs)
    return step.name, _text(step.params), step.outputs.index(slot), inputs


def _text(params: Mapping[str, Any]) -> str:
    """The parameters of a primitive, comparable."""
    return repr(sorted((name, repr(value)) for name, value in params.items()))


def _counted(program: Program, step: Step, calls: tuple[Any, ...]) -> 'Loop':
    """A `while` as a loop with as many turns as its condition takes, if that does not depend on any argument."""
    params = step.params
    n_condition, n_body = params['cond_nconsts'], params['body_nconsts']
    start = n_condition + n_body
    n_carried = len(step.inputs) - start
    condition = _flat(params['cond_jaxpr'], [False] * (n_condition + n_carried))
    turn = _flat(params['body_jaxpr'], [False] * (n_body + n_carried))
    used = _used(condition, condition.outputs)
    needed = {n for n in range(n_carried) if condition.inputs[n_condition + n] in used}
    while True:
        used = _used(turn, [turn.outputs[n] for n in needed])
        more = needed | {n for n in range(n_carried) if turn.inputs[n_body + n] in used}
        if more == needed:
            break
        needed = more
    turn.prune([n in needed for n in range(n_carried)])
    values = [_concrete(program, slot) for slot in step.inputs]
    state = [value if n in needed else 0 for n, value in enumerate(values[start:])]
    turns = 0
    with jax.ensure_compile_time_eval():
        try:
            while condition.forward([*values[:n_condition], *state])[condition.outputs[0]]:
                found = turn.forward([*values[n_condition:start], *state])
                state = [found[turn.outputs[n]] if n in needed else 0 for n in range(n_carried)]
                turns += 1
                if turns > _MOST_TURNS:
                    raise TypeError
        except (TypeError, jax.errors.JAXTypeError) as error:  # something is no number that is known now
            raise _refusal(step, ' whose number of turns is not fixed') from error
    return Loop.of(program, params['body_jaxpr'], step.active[n_condition:], n_body, n_carried, turns, False, 1, calls)


def _used(program: Program, outputs: Iterable[int]) -> set[int]:
    """What some slots are computed of."""
    used = {*outputs}
    for step in reversed(program.steps):
        if used & {*step.outputs}:
            used |= {*step.inputs}
    return used


class _Kept(NamedTuple):
    """What a loop keeps of every turn: slots of its body."""

    at_x: tuple[int, ...] = ()
    at_r: tuple[int, ...] = ()
    passive: tuple[int, ...] = ()  # carried, and not depending on x


class _Lazy:
    """Values of a turn of a loop: those that are there, and those that can be computed of them when they are read."""

    def __init__(self, program: Program, values: Values, passive: '_Lazy | None' = None) -> None:
        self._program, self._values, self._passive = program, values, passive

    def __contains__(self, slot: object) -> bool:
        return self._passive is None or slot in self._program.active

    def __getitem__(self, slot: int) -> Any:
        if slot in self._values:
            return self._values[slot]
        if self._passive is not None and slot not in self._program.active:
            return self._passive[slot]
        step = self._program.source(slot)
        assert step is not None  # or it would be there
        self._values |= zip(step.outputs, step.bind(*[self[one] for one in step.inputs]), strict=True)
        return self._values[slot]


class _Asked:
    """Notes which slots are read, and gives zeros."""

    def __init__(self, program: Program, active_only: bool) -> None:
        self._program, self._active_only, self.slots = program, active_only, set[int]()

    def __contains__(self, slot: object) -> bool:
        return not self._active_only or slot in self._program.active

    def __getitem__(self, slot: int) -> Any:
        self.slots.add(slot)
        return jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), self._program.shapes[slot])


def _zeros(shape: Any) -> Array:
    """A multiplier of nothing."""
    return jnp.zeros(shape.shape, jnp.float32 if shape.dtype == jnp.bool_ else shape.dtype)


@dataclasses.dataclass(eq=False)
class Loop:
    """A `scan`, or a `while` whose turns are counted.

    Attributes:
      body: of (constants, carried, read) to (carried, written).
      n_constants, n_carried: how many.
      length: turns.
      backwards: from the last turn to the first.
      unroll: as in `scan`.
      stores: slots of the program around it for what is kept at x and at the reference.
      kept: see `_Kept`.
      written: which of the written outputs are needed.
    """

    body: Program
    n_constants: int
    n_carried: int
    length: int
    backwards: bool
    unroll: Any
    stores: tuple[int, int]
    kept: _Kept = _Kept()
    written: list[bool] = dataclasses.field(default_factory=list)

    @classmethod
    def of(
        cls,
        around: Program,
        closed: Any,
        active: Sequence[bool],
        n_constants: int,
        n_carried: int,
        length: int,
        backwards: bool,
        unroll: Any,
        calls: tuple[Any, ...],
    ) -> 'Loop':
        """A loop in a program, some of whose inputs are active; what is carried becomes active over the turns."""
        flags = list(active)
        while True:
            body = _flat(closed, flags, calls)
            grown = list(flags)
            for n in range(n_carried):
                grown[n_constants + n] |= body.outputs[n] in body.active
            if grown == flags:
                break
            flags = grown
        stores = around.slot((), active=True), around.slot((), active=True)
        return cls(body, n_constants, n_carried, length, backwards, unroll, stores)

    def programs(self) -> list[Program]:
        """What it runs."""
        return [self.body]

    def active_outputs(self) -> list[bool]:
        """Which outputs depend on x. A carried one does if it does at its first turn, or later."""
        carried = self.body.inputs[self.n_constants : self.n_constants + self.n_carried]
        return [slot in self.body.active for slot in [*carried, *self.body.outputs[self.n_carried :]]]

    def prune(self, around: Program, used: Sequence[bool]) -> None:
        """Leave out what the used outputs do not need, and see what has to be kept."""
        self.written = list(used[self.n_carried :])
        self.body.prune([True] * self.n_carried + self.written)
        self.kept = self._reads()
        shapes = self.body.shapes
        for store, slots in zip(self.stores, (self.kept.at_x + self.kept.passive, self.kept.at_r), strict=True):
            around.shapes[store] = [
                jax.tree.map(
                    lambda one: jax.ShapeDtypeStruct((self.length, int(np.prod(one.shape))), one.dtype), shapes[slot]
                )
                for slot in slots
            ]

    def _reads(self) -> _Kept:
        """What its rules read that is not cheap to compute of what is there."""
        body = self.body
        asked_x, asked_r = _Asked(body, False), _Asked(body, True)
        outputs = [*body.outputs[: self.n_carried], *self._needed(body.outputs[self.n_carried :])]

        def back() -> None:
            multipliers = {slot: _zeros(body.shapes[slot]) for slot in outputs if slot in body.active}
            body.backward(asked_x, asked_r, multipliers)

        jax.eval_shape(back)
        constants, carried, read = self.split(body.inputs)
        given = {*constants, *read, *body.constants}

        def chosen(asked: set[int]) -> tuple[int, ...]:
            """In the order of the steps: those that are not cheap, or made of what is not kept."""
            kept: set[int] = set()

            def there(slot: int) -> bool:
                if slot in given or slot in kept or slot not in body.active:
                    return True
                step = body.source(slot)
                return step is not None and step.name in CHEAP and all(there(one) for one in step.inputs)

            for slot in sorted(asked & body.active, key=lambda one: body.sources.get(one, -1)):
                if not there(slot):
                    kept.add(slot)
            return tuple(sorted(kept))

        kept = chosen(asked_x.slots), chosen(asked_r.slots)
        passive = _used(body, asked_x.slots | asked_r.slots) & {*carried} - body.active
        return _Kept(*kept, tuple(sorted(passive)))

    def _needed(self, written: Sequence[Any]) -> list[Any]:
        return [one for one, used in zip(written, self.written, strict=True) if used]

    def split(self, values: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Constants, carried and read ones."""
        a, b = self.n_constants, self.n_constants + self.n_carried
        return list(values[:a]), list(values[a:b]), list(values[b:])

    def forward(self, step: Step, inputs: Sequence[Any], *, at_x: bool) -> Values:
        """Its outputs, and what is kept."""
        constants, carried, read = self.split(inputs)
        body, n = self.body, self.n_carried
        slots = self.kept.at_x + self.kept.passive if at_x else self.kept.at_r
        types = [body.shapes[slot].dtype for slot in self.split(body.inputs)[1]]

        def typed(values: Sequence[Any]) -> list[Array]:
            return [jnp.asarray(value, dtype) for value, dtype in zip(values, types, strict=True)]

        def turn(carried: Any, read: Any) -> tuple[Any, Any]:
            values = body.forward([*constants, *carried, *read], at_x=at_x)
            written = [values[slot] for slot in self._needed(body.outputs[n:])]
            # As rows: XLA writes one long row faster than many short ones.
            kept = [jax.tree.map(jnp.ravel, values[slot]) for slot in slots]
            return typed([values[slot] for slot in body.outputs[:n]]), (written, kept)

        last, (written, kept) = jax.lax.scan(
            turn, typed(carried), read, length=self.length, reverse=self.backwards, unroll=self.unroll
        )
        outputs = [*step.outputs[:n], *self._needed(step.outputs[n:])]
        return dict(zip(outputs, [*last, *written], strict=True)) | {self.stores[0 if at_x else 1]: kept}

    def backward(self, call: Call) -> list[Any]:
        """Multipliers of its inputs: turn by turn, from the last one."""
        body, n = self.body, self.n_carried
        at_x = self.split([call.x(place) for place in range(len(call.step.inputs))])
        at_r = self.split([call.r(place) for place in range(len(call.step.inputs))])
        slots = self.split(body.inputs)
        active = [[slot for slot in part if slot in body.active] for part in slots]
        m_carried, m_written = call.multipliers[:n], call.multipliers[n:]
        pairs = zip(body.outputs[n:], m_written, strict=True)
        written = {place: (slot, m) for place, (slot, m) in enumerate(pairs) if m is not None}
        ends = [out for out, slot in zip(body.outputs[:n], slots[1], strict=True) if slot in body.active]

        def turn(state: Any, given: Any) -> tuple[Any, Any]:
            sums, carried = state
            m_out, (kept_x, read_x), (kept_r, read_r) = given
            multipliers = dict(zip(active[0], sums, strict=True))
            outputs = [slot for slot, _ in written.values()]
            for slot, m in [*zip(ends, carried, strict=True), *zip(outputs, m_out, strict=True)]:
                if slot in body.active:
                    multipliers[slot] = multipliers[slot] + m if slot in multipliers else m
            values = self._turn(kept_x, [*at_x[0]], read_x)
            body.backward(values, self._turn(kept_r, [*at_r[0]], read_r, values), multipliers)
            sums, carried, m_read = (
                [multipliers[slot] if slot in multipliers else _zeros(body.shapes[slot]) for slot in part]
                for part in active
            )
            return (sums, carried), m_read

        start = [
            _zeros(body.shapes[slot]) if m is None else m
            for slot, m in zip(slots[1], m_carried, strict=True)
            if slot in body.active
        ]
        nothing = [_zeros(body.shapes[slot]) for slot in active[0]]
        given = (
            [m for _, m in written.values()],
            (call.at_x[self.stores[0]], at_x[2]),
            (call.at_r[self.stores[1]], at_r[2]),
        )
        (sums, carried), m_read = jax.lax.scan(
            turn, (nothing, start), given, length=self.length, reverse=not self.backwards, unroll=self.unroll
        )
        names = [slot for part in active for slot in part]
        found = dict(zip(names, [*sums, *carried, *m_read], strict=True))
        return [found.get(slot) for slot in body.inputs]

    def _turn(self, kept: Any, constants: list[Any], read: Any, at_x: _Lazy | None = None) -> _Lazy:
        """The values of one turn that its rules may read: at x, or with those, at the reference."""
        body = self.body
        names = self.kept.at_r if at_x is not None else self.kept.at_x + self.kept.passive
        values: Values = {
            slot: jax.tree.map(lambda shape, row: row.reshape(shape.shape), body.shapes[slot], rows)
            for slot, rows in zip(names, kept, strict=True)
        }
        of_constants, _, of_read = self.split(body.inputs)
        values |= body.constants | dict(zip([*of_constants, *of_read], [*constants, *read], strict=True))
        return _Lazy(body, values, at_x)


@dataclasses.dataclass(eq=False)
class Branches:
    """A `cond` whose predicate does not depend on x but is not known either.

    Attributes:
      branches: of the operands.
    """

    branches: list[Program]

    def programs(self) -> list[Program]:
        """What it runs."""
        return self.branches

    def prune(self, around: Program, used: Sequence[bool]) -> None:
        """Leave out what the used outputs do not need."""
        for branch in self.branches:
            branch.prune(used)

    def forward(self, step: Step, inputs: Sequence[Any], *, at_x: bool) -> Values:
        """Its outputs."""
        return dict(zip(step.outputs, step.bind(*inputs), strict=True))

    def backward(self, call: Call) -> list[Any]:
        """Multipliers of its inputs: the branch is run again, and taken back."""
        places = [place for place in call.active if place]
        inputs = range(1, len(call.step.inputs))

        def back(branch: Program, x: list[Any], r: list[Any], m: list[Any]) -> list[Array]:
            at_x = branch.forward(x)
            at_r = branch.forward(r, at_x, at_x=False)
            multipliers: dict[int, Array] = {}
            for slot, part in zip(branch.outputs, m, strict=True):
                if part is not None and slot in branch.active:
                    multipliers[slot] = multipliers[slot] + part if slot in multipliers else part
            branch.backward(at_x, at_r, multipliers)
            return [multipliers.get(branch.inputs[p - 1], _zeros(call.shape(p))) for p in places]

        ways = [functools.partial(back, branch) for branch in self.branches]
        index = jnp.clip(call.x(0).astype(jnp.int32), 0, len(ways) - 1)
        found = jax.lax.switch(
            index, ways, [call.x(p) for p in inputs], [call.r(p) for p in inputs], list(call.multipliers)
        )
        parts = dict(zip(places, found, strict=True))
        return [parts.get(place) for place in range(len(call.step.inputs))]
