"""Shapes and types of the arrays that go in and out of the core, checked wherever a test calls it (`conftest.py`).

A letter is one size throughout a call: B sequences of a batch, N sequences, L positions, W a filter's width, C
channels, F filters, H hidden units, M models, R restarts, K places or points in time.
"""

import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Float, Integer, jaxtyped

Array = Any  # of NumPy, of a device, or traced

#: Arguments and results of functions, in the order in which sizes are bound.
FUNCTIONS: dict[str, dict[str, Any]] = {
    'nn.kernels.one_hot': {'tokens': Integer[Array, '*any'], 'return': Float[Array, '*any 4']},
    'nn.kernels.reverse_complement': {
        'tokens': Integer[Array, 'B L'],
        'lengths': Integer[Array, ' B'] | None,
        'return': Integer[Array, 'B L'],
    },
    'nn.kernels.conv1d': {
        'x': Float[Array, 'L B C'],
        'kernel': Float[Array, 'W C F'],
        'bias': Float[Array, ' F'],
        'return': Float[Array, '_ B F'],
    },
    'nn.kernels.max_pool1d': {'x': Float[Array, 'L B C'], 'return': Float[Array, '_ B C']},
    'nn.kernels.dropout': {'x': Float[Array, '*any'], 'return': Float[Array, '*any']},
    'nn.kernels.lstm_step': {
        'z_input': Float[Array, 'B _'],
        'recurrent': Float[Array, 'H 4*H'],
        'return': (Float[Array, 'B H'], *[Float[Array, 'B H']] * 5),
    },
    'nn.kernels.bilstm_scan': {
        'inputs': (Float[Array, 'L B C'],),
        'recurrent': Float[Array, '2 H 4*H'],
        'kernel': Float[Array, '2 C 4*H'],
        'bias': Float[Array, '2 4*H'],
        'mask': Array,
        'return': (Float[Array, 'L B H'], Float[Array, 'L B H']),
    },
}
#: Fields of results; '*M': of one model, or of several on a leading axis.
RESULTS: dict[str, dict[str, Any]] = {
    'explain.attribution.Attribution': {
        'score': Float[Array, '*M N'],
        'signed': Float[Array, '*M N L'],
        'hypothetical': Float[Array, '*M N L 4'],
        'completeness_error': Float[Array, '*M N'] | Float[Array, '*M N K'] | None,
    },
    'explain.class_optimisation.ClassOptimum': {
        'matrix': Float[Array, 'M R L 4'],
        'raw': Float[Array, 'M R L 4'],
        'score': Float[Array, 'M R'],
        'objective': Float[Array, 'M R'],
        'history': Float[Array, 'K M R'],
        'history_steps': Integer[Array, ' K'],
    },
    'explain.sufficient_motif.SufficientMotif': {
        'matrix': Float[Array, 'M R L 4'],
        'score': Float[Array, 'M R'],
        'bits': Float[Array, 'M R'],
        'without': Float[Array, ' M'],
        'target': Float[Array, ' M'],
    },
    'explain.interactions.Interactions': {'positions': Integer[Array, ' K'], 'rows': Float[Array, 'K L']},
}


def check(where: str, values: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compare what there is with what is expected.

    Raises:
      TypeError: the first value that is of another type or shape, or whose sizes are not those of the values before.
    """
    for name, kind in expected.items():
        if kind is Array:
            continue
        if isinstance(kind, tuple):  # the leaves of a tuple or of a state; one kind for all, or one for each
            import jax

            leaves = jax.tree.leaves(values[name])
            kinds = dict(enumerate(kind * len(leaves) if len(kind) == 1 else kind))
            check(f'{where}, {name}', dict(enumerate(leaves)), kinds)
        elif not isinstance(values[name], kind):
            found = getattr(values[name], 'shape', None), getattr(values[name], 'dtype', type(values[name]))
            raise TypeError(f'{where}: {name} is {found}, expected {kind}')


def checked(function: Callable[..., Any], expected: Mapping[str, Any]) -> Callable[..., Any]:
    """The function, with its arguments and its result checked at every call."""
    signature = inspect.signature(function)
    of_arguments = {name: kind for name, kind in expected.items() if name != 'return'}

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        given = signature.bind(*arguments, **keywords)
        given.apply_defaults()
        with jaxtyped('context'):
            check(function.__name__, given.arguments, of_arguments)
        result = function(*arguments, **keywords)
        with jaxtyped('context'):
            check(function.__name__, given.arguments | {'return': result}, expected)
        return result

    call.__wrapped__ = getattr(function, '__wrapped__', function)  # whoever unwraps it finds what there was
    return call


def install() -> None:
    """Put checks around functions and results of the core, in this process."""
    for table in (FUNCTIONS, RESULTS):
        for place, expected in table.items():
            module_name, _, name = place.rpartition('.')
            module = importlib.import_module(f'demo_jax.{module_name}')
            found = getattr(module, name)
            if not inspect.isclass(found):
                setattr(module, name, checked(found, expected))
                continue
            assert dataclasses.is_dataclass(found), place
            made = found.__init__

            def init(self, *arguments, made=made, expected=expected, place=place, **keywords):
                made(self, *arguments, **keywords)
                with jaxtyped('context'):
                    check(place, {name: getattr(self, name) for name in expected}, expected)

            found.__init__ = init
