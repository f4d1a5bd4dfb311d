"""What sequences are compared with where contributions add up to a change: their references, or baselines (pure)."""

import hashlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from demo_jax import dna
from demo_jax.errors import InputError, brief
from demo_jax.nn import kernels
from demo_jax.nn.kernels import Array

#: 'shuffled': dinucleotide shuffles; 'uniform': each letter 1/4; 'zeros'; 'gc': C and G each half of their share of the
#: sequence, A and T half of theirs.
KINDS = ('shuffled', 'uniform', 'zeros', 'gc')


def shuffles(tokens: np.ndarray, lengths: np.ndarray | None, count: int, seed: int) -> np.ndarray:
    """Dinucleotide shuffles of sequences, uint8 (..., K, L) of tokens uint8 (..., L); N behind a sequence's end.

    Those of a sequence depend on its letters and the seed alone: wherever it stands, it is explained alike. Seeds next
    to each other have nothing in common.

    Args:
      tokens: see above.
      lengths: None, or int (...): letters of each sequence.
      count: shuffles K of each.
      seed: of all of them.
    """
    rows = tokens.reshape(-1, tokens.shape[-1])
    ends = np.full(len(rows), rows.shape[1]) if lengths is None else np.asarray(lengths).reshape(-1)
    found = np.full((len(rows), count, rows.shape[1]), dna.N, np.uint8)
    known: dict[bytes, int] = {}  # several models are explained on the same sequences
    for place, (row, end) in enumerate(zip(rows, ends, strict=True)):
        letters = row[:end].tobytes()
        first = known.setdefault(letters, place)
        if first == place:
            own = int.from_bytes(hashlib.blake2b(letters, digest_size=16).digest(), 'little')
            rng = np.random.default_rng([seed, own])
            found[place, :, :end] = dna.dinucleotide_shuffle(np.repeat(row[None, :end], count, axis=0), rng, threads=1)
        else:
            found[place] = found[first]
    return found.reshape(*tokens.shape[:-1], count, tokens.shape[-1])


def letters(kind: str, x: Array, given: Array | None) -> Array:
    """The references of sequences as letters, float (B, K, L, 4); where x has none (N, padding), they have none.

    Args:
      kind: one of `KINDS`.
      x: the sequences, float (B, L, 4), one-hot.
      given: tokens uint8 (B, K, L) of the shuffles, or of other references; else None.
    """
    known = x.sum(axis=-1, keepdims=True)
    if given is not None:
        return kernels.one_hot(given, x.dtype) * known[:, None]
    if kind == 'gc':
        share = x[..., 1:3].sum((1, 2)) / jnp.maximum(known.sum((1, 2)), 1)
        each = jnp.stack([1 - share, share, share, 1 - share], axis=-1)[:, None] / 2
    else:
        each = jnp.full((1, 1, 4), 0.25 if kind == 'uniform' else 0.0, x.dtype)
    return (known * each)[:, None]


def drawn(
    settings: dict[str, Any], tokens: np.ndarray, lengths: np.ndarray | None
) -> tuple[dict[str, Any], np.ndarray | None]:
    """The settings of a method with references, and the tokens of these, uint8 (M, N, K, L), where they have any.

    Args:
      settings: `references` ('shuffled'), one of `KINDS` or tokens uint8 (M, N, K, L); `n_references` (20), shuffles of
        each sequence; `seed` (0) of these.
      tokens: uint8 (M, N, L).
      lengths: None, or int (M, N).

    Raises:
      InputError: an unknown kind, other shapes, letters or numbers.
    """
    kind, count = settings.get('references', 'shuffled'), settings.get('n_references', 20)
    seed = settings.get('seed', 0)
    for name, value, least in (('n_references', count, 1), ('seed', seed, 0)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise InputError(f'{name} is {brief(value)}, expected a whole number, {least} or more')
    if isinstance(kind, str):
        if kind not in KINDS:
            raise InputError(f'references is {kind!r}, expected one of {", ".join(KINDS)}, or tokens')
        return {'references': kind}, shuffles(tokens, lengths, int(count), int(seed)) if kind == 'shuffled' else None
    given = np.asarray(kind)
    if given.dtype.kind not in 'iufb':  # None, say
        raise InputError(f'references is {brief(given.flat[0])}, expected one of {", ".join(KINDS)}, or tokens')
    shape = tokens.shape
    if given.ndim != 4 or given.shape[:2] + given.shape[3:] != shape or not given.shape[2]:
        raise InputError(f'references have shape {given.shape}, expected {shape[:2]} + (K,) + {shape[2:]}')
    if given.dtype.kind not in 'iu' or given.min() < 0 or given.max() > dna.N:
        raise InputError(f'references are {given.dtype} from {given.min()} to {given.max()}, expected A C G T N = 0..4')
    return {'references': 'shuffled'}, given.astype(np.uint8)
