"""The Deep Motif Dashboard in JAX: train, explain and compare models of TF binding, many at once.

Importing this package loads nothing heavy. `load_run(path)` opens what a training left, `load_deepbind(folder)` the
models that DeepBind's authors have published; `wrap(score, params)` makes a model of any JAX function, to be explained,
and `dashboard` a page of such models; `Architecture`, `from_linen` and `from_nnx` make architectures to be trained.
"""

import importlib

__version__ = '0.1.0'
_HOMES = {
    'load_run': 'demo_jax.predict.run',
    'load_deepbind': 'demo_jax.predict.deepbind',
    'wrap': 'demo_jax.predict.model',
    'deeplift': 'demo_jax.explain.deeplift',
    'dashboard': 'demo_jax.stages.own_models',
    'save_models': 'demo_jax.stages.own_models',
    'Architecture': 'demo_jax.nn.architecture',
    'from_linen': 'demo_jax.nn.architecture',
    'from_nnx': 'demo_jax.nn.architecture',
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    """Import a name on first use: jax takes a second to load."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
