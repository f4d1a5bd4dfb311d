"""One compiled program over many models and sequences: the loop that every explanation shares (pure)."""

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from demo_jax.errors import InputError
from demo_jax.explain.score import Score, check_params, name_of, shortest

_AXIS = 'shard'
#: XLA's lower level takes half the time for programs that draw random numbers, on a CPU, where they run as fast.
#: Where JAX is told to optimise hardly at all (`JAX_DISABLE_MOST_OPTIMIZATIONS`), this level would be the higher one.
_ON_CPU = {'xla_backend_optimization_level': 1}
#: Whether this thread compiles programs without running them, see `rehearsal`.
_rehearsing = contextvars.ContextVar('_rehearsing', default=False)
#: Held while a program is compiled, by the hash of what makes it: no two threads compile the same.
_compiling: dict[int, threading.Lock] = {}


@contextlib.contextmanager
def rehearsal() -> Iterator[None]:
    """Compile what `run` would run while the block lasts, in this thread: results are zeros of the right shapes.

    XLA compiles on one core and without Python's lock. So a thread that rehearses what is to come lets another
    thread find its programs ready. A rehearsal leaves out what another thread compiles just then.
    """
    token = _rehearsing.set(True)
    try:
        yield
    finally:
        _rehearsing.reset(token)


def run(
    function: Callable[..., Any],
    static: tuple[Any, ...],
    stacked_params: Any,
    arrays: Any,
    *,
    batch_size: int,
    width: int = 1,
    shard: str = 'sequences',
    progress: Callable[[int], object] | None = None,
) -> Any:
    """Run a function of one model and one batch for M models and N sequences, on all local devices.

    There is one compiled program, whatever N is: every batch has the same shape, and the last one is
    filled up by repeating its last sequence. Fewer than `batch_size` sequences run as the next power of two.

    Args:
      function: of (params of one model, arrays (B, ...), *static), returns nested arrays (B, ...). A
        function of a module, not one made on the spot, or it is compiled every time.
      static: hashable arguments, compiled in.
      stacked_params: nested arrays with a leading axis M.
      arrays: nested numpy arrays (M, N, ...), N at least 1; None leaves are passed on.
      batch_size: sequences at a time, on each device.
      width: models at a time, on each device. On a CPU 1 is fastest, since a model then stays in the
        cache; on a GPU as many as fit.
      shard: what the devices share out among them, 'sequences' or 'models'.
      progress: called after each batch with the number of its sequences, times models.

    Returns:
      The function's results as numpy arrays (M, N, ...).

    Raises:
      InputError: a batch size or width below 1, or stacked parameters of different numbers of models.
    """
    for name, value in (('batch_size', batch_size), ('width', width)):
        if value < 1:
            raise InputError(f'{name} is {value}, expected 1 or more')
    mesh = Mesh(np.array(jax.local_devices()), (_AXIS,))
    n_models, n = jax.tree.leaves(arrays)[0].shape[:2]
    models = np.arange(n_models)
    if shard == 'models':
        spread, along = 1, PartitionSpec(_AXIS)
        models = np.minimum(np.arange(-(-n_models // mesh.size) * mesh.size), n_models - 1)
        stacked_params = jax.tree.map(lambda leaf: leaf[models], stacked_params)
    else:
        spread, along = mesh.size, PartitionSpec(None, _AXIS)
    over_params = PartitionSpec(_AXIS) if shard == 'models' else PartitionSpec()
    params = jax.device_put(stacked_params, NamedSharding(mesh, over_params))
    size = spread * min(batch_size, 1 << (-(-n // spread) - 1).bit_length())
    parts: list[Any] = []
    lower = mesh.devices.flat[0].platform == 'cpu' and not jax.config.read('jax_disable_most_optimizations')
    program = _on_cpu if lower else _program
    for start in range(0, n, size):
        rows = np.minimum(np.arange(start, start + size), n - 1)
        batch = jax.tree.map(lambda array, rows=rows: array[models[:, None], rows[None]], arrays)
        call = (function, static, width, mesh, (over_params, along), params, batch)
        if not parts:
            _compile(program, call)
        if _rehearsing.get():
            shapes = program.eval_shape(*call)
            return jax.tree.map(lambda leaf: np.zeros((n_models, n, *leaf.shape[2:]), leaf.dtype), shapes)
        parts.append(program(*call))
        if progress is not None:
            jax.block_until_ready(parts[-1])
            progress(n_models * (min(start + size, n) - start))
    return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(a) for a in leaves], axis=1)[:n_models, :n], *parts)


def _compile(program: Any, call: tuple[Any, ...]) -> None:
    """Have JAX know the program of a call, compiled by this thread or by another."""
    *made_of, params, batch = call
    leaves, tree = jax.tree.flatten((params, batch))
    key = hash((*made_of, tree, *((leaf.shape, leaf.dtype) for leaf in leaves)))
    lock = _compiling.setdefault(key, threading.Lock())
    if lock.acquire(blocking=not _rehearsing.get()):
        try:
            program.lower(*call).compile()
        finally:
            lock.release()


def _of_devices(function, static, width, mesh, specs, params, batch):
    def of_device(params: Any, batch: Any) -> Any:
        return jax.lax.map(
            lambda one: function(*one, *static), (params, batch), batch_size=width if width > 1 else None
        )

    return jax.shard_map(of_device, mesh=mesh, in_specs=specs, out_specs=specs[1], check_vma=False)(params, batch)


_program = jax.jit(_of_devices, static_argnums=(0, 1, 2, 3, 4))
_on_cpu = jax.jit(_of_devices, static_argnums=(0, 1, 2, 3, 4), compiler_options=_ON_CPU)


def checked_sequences(
    score: Score, tokens: np.ndarray, lengths: np.ndarray | None, n_models: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The sequences of M models and their lengths, as uint8 (M, N, L) and int32 (M, N).

    Args:
      score: what will read them.
      tokens: uint8 (N, L), shared by all models, or (M, N, L).
      lengths: None, int (N,) or int (M, N).
      n_models: M.

    Returns:
      The tokens, with N behind each sequence's end, and the lengths: None where all sequences fill
      their rows (the models then run without a mask).

    Raises:
      InputError: shapes do not fit, a token is unknown, there is no sequence, or one is shorter than
        the model can read.
    """
    tokens = np.asarray(tokens)
    if tokens.dtype.kind not in 'iu' or tokens.ndim not in (2, 3):
        raise InputError(f'tokens are {tokens.dtype} of shape {tokens.shape}, expected uint8 (N, L) or (M, N, L)')
    if tokens.ndim == 3 and len(tokens) != n_models:
        raise InputError(f'tokens are of {len(tokens)} models, expected {n_models}')
    if not tokens.size:
        raise InputError(f'tokens have shape {tokens.shape}, expected at least one sequence')
    if tokens.max() > 4 or tokens.min() < 0:
        raise InputError(f'tokens go from {tokens.min()} to {tokens.max()}, expected A C G T N = 0..4')
    shape = (n_models, *tokens.shape[-2:])
    tokens = np.broadcast_to(tokens.astype(np.uint8), shape)
    if lengths is None:
        lengths = np.full(shape[1], shape[2])
    lengths = np.asarray(lengths)
    if lengths.shape not in (shape[1:2], shape[:2]) or lengths.dtype.kind not in 'iu':
        raise InputError(f'lengths are {lengths.dtype} {lengths.shape}, expected integers {shape[1:2]} or {shape[:2]}')
    lengths = np.broadcast_to(lengths.astype(np.int32), shape[:2])
    if lengths.max() > shape[2]:
        raise InputError(f'a length is {lengths.max()}, but rows hold {shape[2]} letters')
    if lengths.min() < shortest(score):
        row = np.unravel_index(np.argmin(lengths), lengths.shape)
        raise InputError(
            f'sequence {row[1]} has {lengths[row]} letters, {name_of(score)} needs at least {shortest(score)}'
        )
    if (lengths == shape[2]).all():
        return tokens, None
    inside = np.arange(shape[2]) < lengths[..., None]
    return np.where(inside, tokens, np.uint8(4)), lengths


def in_groups(function: Callable[[Any, None], Any], arrays: Any, lengths: np.ndarray, *, behind: float = 0.0) -> Any:
    """Run sequences of unequal lengths in groups of equal length, for scores that do not take lengths.

    Args:
      function: of (arrays (M, n, L'), None), returns nested arrays (M, n, ...), (M, n, L') or (M, n, L', 4).
      arrays: nested numpy arrays (M, N, ..., L), positions last.
      lengths: int32 (M, N), the same for all models.
      behind: what stands behind a sequence's end in results with positions.

    Returns:
      The function's results for all N, with L positions.

    Raises:
      InputError: the models' lengths differ.
    """
    if (lengths != lengths[:1]).any():
        raise InputError('sequences differ in length from model to model, which a score without lengths cannot read')
    longest = jax.tree.leaves(arrays)[0].shape[-1]
    whole: Any = None
    for length in np.unique(lengths[0]):
        rows = np.flatnonzero(lengths[0] == length)
        found = function(jax.tree.map(lambda array, r=rows, n=length: array[:, r][..., :n], arrays), None)

        def blank(part: np.ndarray, n: int = int(length)) -> np.ndarray:
            with_positions = part.ndim > 2 and part.shape[2] == n
            shape = (len(part), lengths.shape[1], *((longest, *part.shape[3:]) if with_positions else part.shape[2:]))
            return np.full(shape, behind if with_positions else 0, part.dtype)

        whole = jax.tree.map(blank, found) if whole is None else whole

        def fill(into: np.ndarray, part: np.ndarray, r: np.ndarray = rows) -> None:
            place: tuple[Any, ...] = (slice(None), r, *(slice(size) for size in part.shape[2:]))
            into[place] = part

        jax.tree.map(fill, whole, found)
    return whole


def count_models(stacked_params: Any) -> int:
    """M, the length of the leading axis that all stacked parameters share.

    Raises:
      InputError: they do not share one.
    """
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(stacked_params)}
    if len(sizes) != 1:
        raise InputError(f'stacked parameters have leading axes {sorted(sizes)}, expected one number of models')
    return sizes.pop()


def checked_seeds(
    score: Score, seeds: np.ndarray, n_models: int, *, length: int, restarts: int, chunk: int
) -> np.ndarray:
    """The seeds (M,) of a search from random starts, in letters of a length that the score can read.

    Raises:
      InputError: seeds that are not one integer per model, a number below 1, or a length below the score's shortest.
    """
    seeds = np.asarray(seeds)
    if seeds.shape != (n_models,) or seeds.dtype.kind not in 'iu':
        raise InputError(f'seeds are {seeds.dtype} {seeds.shape}, expected one integer for each of {n_models} models')
    for name, value in (('restarts', restarts), ('chunk', chunk)):
        if value < 1:
            raise InputError(f'{name} is {value}, expected 1 or more')
    if length < shortest(score):
        raise InputError(f'length is {length}, {name_of(score)} needs at least {shortest(score)}')
    return seeds


def stack_one(params: Any) -> Any:
    """The parameters of one model with a leading axis of 1.

    Raises:
      InputError: they are no pytree of arrays.
    """
    check_params(params)
    return jax.tree.map(lambda leaf: (leaf if hasattr(leaf, 'shape') else np.asarray(leaf))[None], params)
