"""Architectures of one's own, beside those of `nn.models`: two pure functions, or a Flax module (pure).

    # my_package/my_models.py
    from demo_jax import from_linen
    dilated = from_linen(DilatedCNN(channels=32))

    python -m experiments.paper --specs=medium_cnn,my_package.my_models:dilated ...

`ModelSpec` and `Architecture` have the same face: `name`, `kind`, `min_length`, `part_size`, `init(key)`,
`score(params, inputs, ...)`, and both can be called as scores (see `explain.score`).
"""

import dataclasses
import functools
import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from demo_jax.errors import InputError, brief
from demo_jax.nn import kernels
from demo_jax.nn.kernels import Array
from demo_jax.nn.models import SPECS, ModelSpec

#: `module:attribute`, e.g. 'my_package.my_models:dilated'.
_REFERENCE = re.compile(r'([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)', re.ASCII)


@dataclasses.dataclass(frozen=True, eq=False)
class Architecture:
    """A model of one's own: how to make its parameters, and how to score letters with them.

    Attributes:
      init: key -> parameters, any pytree of float arrays. Pure.
      apply: of (params, x), x float (B, L, 4), returns scores (B,) or (B, 1), the log odds that the TF binds, or
        logits (B, 2), columns (negative, positive). Pure. It may take any of these by name:
          lengths: None, or int (B,): positions behind are padding and must change nothing. Without it, all sequences
            must be equally long.
          dropout: while training the recipe's rate, float () (an array); else None.
          key: while training a random key; else None.
      name: how tables and commands call it.
      min_length: bp of the shortest sequence that it can read.
      part_size: sequences of a batch whose gradient a CPU computes at once; see `training.step`.
    """

    init: Callable[[Array], Any]
    apply: Callable[..., Array]
    name: str = 'mine'
    min_length: int = 1
    part_size: int = 64

    @property
    def kind(self) -> str:
        """'CNN', 'RNN', 'CNN-RNN' or 'other', by the words of its name."""
        words = name_of(self.name).lower().split('_')
        return '-'.join(word.upper() for word in ('cnn', 'rnn') if word in words) or 'other'

    def score(
        self,
        params: Any,
        inputs: Array,
        *,
        lengths: Array | None = None,
        dropout: Array | float | None = None,
        key: Array | None = None,
        dropout_bits: int = 8,
        hoist: bool = False,
    ) -> Array:
        """Scores S, (B,), of tokens uint8 (B, L) or letters float (B, L, 4); see `models.apply` for the arguments.

        Raises:
          ValueError: lengths for a model that does not take them, or another shape than those that `apply` may return.
        """
        del dropout_bits, hoist  # of this package's own kernels
        inputs = jnp.asarray(inputs)
        x = kernels.one_hot(inputs) if inputs.ndim == 2 else inputs
        if lengths is not None:
            if 'lengths' not in self._takes:
                raise ValueError(f'{self.name} takes no lengths, so its sequences must be equally long')
            x = x * (jnp.arange(x.shape[1])[None] < lengths[:, None])[..., None]
        options = {'lengths': lengths, 'dropout': dropout, 'key': key}
        output = self.apply(params, x, **{name: value for name, value in options.items() if name in self._takes})
        shape = getattr(output, 'shape', None)
        if shape == (len(x), 2):
            return output[:, 1] - output[:, 0]
        if shape == (len(x), 1):
            return output[:, 0]
        if shape != (len(x),):
            raise ValueError(f'{self.name} returned {shape} for {len(x)} sequences, expected (B,), (B, 1) or (B, 2)')
        return output

    def __call__(self, params: Any, x: Array, lengths: Array | None = None) -> Array:
        """Scores (B,) of letters float (B, L, 4): the architecture as a score."""
        return self.score(params, x, lengths=lengths)

    @functools.cached_property
    def _takes(self) -> frozenset[str]:
        # By name alone: a function with **keywords, such as a Flax module's apply, hands them on to something else.
        return frozenset(inspect.signature(self.apply).parameters) & {'lengths', 'dropout', 'key'}

    @property
    def takes_lengths(self) -> bool:
        """Whether sequences may differ in length."""
        return 'lengths' in self._takes


@functools.lru_cache(maxsize=256)
def parameter_shapes(architecture: 'AnyArchitecture') -> Any:
    """The parameters of an architecture as a pytree of `jax.ShapeDtypeStruct`."""
    # The key is made where nothing is computed: a page needs no device.
    return jax.eval_shape(lambda: architecture.init(jax.random.key(0)))


def named_leaves(params: Any) -> dict[str, Any]:
    """The leaves of a pytree by the names of their places, e.g. 'conv0/kernel'; '' where it is one leaf.

    Raises:
      ValueError: two leaves have the same name.
    """
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    named = {jax.tree_util.keystr(path, simple=True, separator='/'): leaf for path, leaf in leaves}
    if len(named) < len(leaves):
        raise ValueError('two parameters have the same name, as keys 1 and "1" of one dictionary would')
    return named


#: What can be trained: an architecture of this package, or one of somebody's own.
AnyArchitecture = ModelSpec | Architecture


def from_linen(module: Any, *, name: str | None = None, min_length: int = 1, length: int = 101) -> Architecture:
    """A Flax linen module as an architecture.

    Args:
      module: called with letters float (B, L, 4), returns what `Architecture.apply` may. If its `__call__` takes
        `deterministic`, `train` or `training`, it is told whether it trains, and gets the random stream 'dropout';
        if it takes `lengths`, it gets those. Dropout rates are the module's own.
      name: see `Architecture`; None: the class's name in lower case.
      min_length: see `Architecture`.
      length: letters of the sequence that its parameters are made with.

    Raises:
      InputError: it has state besides parameters, such as batch statistics, which a pure function cannot keep.
    """
    takes = set(inspect.signature(type(module).__call__).parameters)
    flags = {'deterministic': False, 'train': True, 'training': True}  # what each says while training

    def options(lengths: Array | None, trains: bool) -> dict[str, Any]:
        found: dict[str, Any] = {flag: value is trains for flag, value in flags.items() if flag in takes}
        return found | ({'lengths': lengths} if 'lengths' in takes else {})

    def init(key: Array) -> Any:
        variables = module.init(key, jnp.zeros((1, length, 4)), **options(None, False))
        others = sorted(set(variables) - {'params'})
        if others:
            raise InputError(
                f'{type(module).__name__} keeps {", ".join(others)} besides its parameters, which a pure function '
                'cannot; use GroupNorm or LayerNorm in place of BatchNorm'
            )
        return variables.get('params', {})

    def apply(params: Any, x: Array, key: Array | None = None, lengths: Array | None = None) -> Array:
        streams = None if key is None else {'dropout': key}
        return module.apply({'params': params}, x, **options(lengths, key is not None), rngs=streams)

    def apply_equal(params: Any, x: Array, key: Array | None = None) -> Array:
        return apply(params, x, key)

    return Architecture(
        init, apply if 'lengths' in takes else apply_equal, name or _snake(type(module).__name__), min_length
    )


def from_nnx(make: Callable[[Any], Any], *, name: str | None = None, min_length: int = 1) -> Architecture:
    """A Flax nnx module as an architecture, e.g. `from_nnx(lambda rngs: MyCNN(32, rngs=rngs))`.

    Args:
      make: makes the module out of a `flax.nnx.Rngs`; called with letters float (B, L, 4), the module returns what
        `Architecture.apply` may. It is set to `train()` or `eval()`; dropout rates are its own.
      name: see `Architecture`; None: the class's name in lower case.
      min_length: see `Architecture`.

    Raises:
      InputError: it has state besides parameters and random streams, such as batch statistics.
    """
    from flax import nnx

    def split(key: Array) -> tuple[Any, Any, Any]:
        parts: Any = nnx.split(make(nnx.Rngs(jnp.asarray(key))), nnx.Param, nnx.RngState, ...)
        graph, params, streams, rest = parts
        if jax.tree.leaves(rest):
            kinds = sorted({type(leaf).__name__ for leaf in jax.tree.leaves(rest, is_leaf=lambda v: True)} - {'State'})
            raise InputError(
                f'the module keeps state besides its parameters ({", ".join(kinds) or "other variables"}), which a '
                'pure function cannot; use GroupNorm or LayerNorm in place of BatchNorm'
            )
        return graph, params, streams

    def init(key: Array) -> Any:
        return nnx.to_pure_dict(split(key)[1])

    def apply(params: Any, x: Array, key: Array | None = None) -> Array:
        # Made anew in every trace: the random initial values are never computed, since nothing reads them.
        graph, own, streams = split(jax.random.key(0) if key is None else key)
        nnx.replace_by_pure_dict(own, params)
        module = nnx.merge(graph, own, streams)
        module.eval() if key is None else module.train()
        return module(x)

    if name is None:
        name = _snake(type(nnx.eval_shape(lambda: make(nnx.Rngs(0)))).__name__)
    return Architecture(init, apply, name, min_length)


def _snake(name: str) -> str:
    """'DilatedCNN' -> 'dilated_cnn'."""
    return re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()


def name_of(reference: str) -> str:
    """What tables call the architecture of a reference: 'medium_cnn', and 'dilated' for 'my_models:dilated'."""
    return reference.rsplit(':', 1)[-1]


def resolve(reference: str) -> AnyArchitecture:
    """The architecture that a name or 'module:attribute' stands for; the same object at every call.

    Only an `Architecture` is taken from a module, and nothing of it is called before it is trained or used.

    Raises:
      InputError: no such architecture; a module that cannot be imported; something that is no architecture.
    """
    return SPECS[reference] if reference in SPECS else _imported(reference)


@functools.lru_cache(maxsize=256)
def _imported(reference: str) -> AnyArchitecture:
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise InputError(
            f'unknown spec {brief(reference)}; the specs are {", ".join(SPECS)}, or MODULE:NAME for one of your own'
        )
    module, attribute = match.groups()
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # an imported module may raise anything
        text = ' '.join(str(error).split())
        reason = f'{type(error).__name__}: {brief(text, 120)}'
        raise InputError(f'spec {reference}: cannot be imported ({reason})') from error
    if not isinstance(found, ModelSpec | Architecture):
        raise InputError(
            f'spec {reference}: is a {type(found).__name__}, expected a demo_jax.Architecture; a Flax module becomes '
            'one by demo_jax.from_linen(module) or demo_jax.from_nnx(make)'
        )
    return dataclasses.replace(found, name=reference)
