"""The Deep Motif Dashboard in JAX: train, explain and compare models of TF binding, many at once.

Importing this package loads nothing heavy; `demo_jax.load_run(path)` opens what a training left.
"""

__version__ = '0.1.0'
__all__ = ['load_run']


def __getattr__(name: str) -> object:
    """Import `load_run` on first use: it needs jax, which takes a second to load."""
    if name == 'load_run':
        from demo_jax.runs import load_run

        return load_run
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
