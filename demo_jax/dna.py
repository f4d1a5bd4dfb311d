"""DNA as small integers: tokens, one-hot rows, reverse complements and dinucleotide shuffles (pure).

Tokens are uint8: A, C, G, T = 0, 1, 2, 3, and N = 4 for every unknown base and for the padding after the end of a
sequence.
"""

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from demo_jax.errors import InputError

LETTERS = 'ACGTN'
N = 4

_INVALID = 255
_END = 5  # a vertex after the last letter, where the paths of all sequences end
_LAST = np.uint64(1 << 60)


def _encoding() -> np.ndarray:
    table = np.full(256, _INVALID, np.uint8)
    for letters, token in (('A', 0), ('C', 1), ('G', 2), ('TU', 3), ('NRYSWKMBDHV', N)):
        for letter in letters:
            table[ord(letter)] = table[ord(letter.lower())] = token
    return table


_ENCODE = _encoding()
_DECODE = np.frombuffer(LETTERS.encode(), np.uint8)
_COMPLEMENT = np.array([3, 2, 1, 0, N], np.uint8)
_ONE_HOT = np.concatenate([np.eye(4, dtype=np.float32), np.zeros((1, 4), np.float32)])


def encode(text: str | bytes) -> np.ndarray:
    """Tokens of a sequence, e.g. 'acgUN' -> [0, 1, 2, 3, 4].

    Upper and lower case are the same, U is read as T, and the other IUPAC letters become N.

    Args:
      text: letters, as `str` or ASCII bytes.

    Returns:
      uint8 (L,).

    Raises:
      InputError: a character is not A, C, G, T, U, N or another IUPAC code; names it and its position.
    """
    try:
        data = text.encode('ascii') if isinstance(text, str) else bytes(text)
    except UnicodeEncodeError as error:
        raise InputError(f'position {error.start + 1} holds {text[error.start]!r}, expected a DNA letter') from None
    tokens = _ENCODE[np.frombuffer(data, np.uint8)]
    if tokens.size and tokens.max() == _INVALID:
        position = int(np.argmax(tokens == _INVALID))
        letter = data[position : position + 1].decode('latin-1')
        raise InputError(f'position {position + 1} holds {letter!r}, expected a DNA letter (ACGT, N or IUPAC)')
    return tokens


def decode(tokens: np.ndarray) -> str:
    """The letters of tokens uint8 (L,): [0, 1, 2, 3, 4] -> 'ACGTN'."""
    return _DECODE[np.asarray(tokens, np.uint8)].tobytes().decode('ascii')


def one_hot(tokens: np.ndarray) -> np.ndarray:
    """One-hot rows, float32 (..., L, 4), of tokens uint8 (..., L); N is a row of zeros."""
    return _ONE_HOT[tokens]


def reverse_complement(tokens: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
    """The other strand, uint8 (..., L), of tokens uint8 (..., L); N stays N.

    With `lengths` (N,), each row of (N, L) is turned within its own length, and N stands behind it.
    """
    if lengths is None:
        return _COMPLEMENT[tokens[..., ::-1]]
    place = lengths[:, None] - 1 - np.arange(tokens.shape[1])
    turned = np.take_along_axis(_COMPLEMENT[tokens], np.maximum(place, 0), axis=1)
    return np.where(place >= 0, turned, np.uint8(4))


def is_mostly_unknown(n_unknown: np.ndarray | int, length: np.ndarray | int) -> np.ndarray:
    """Whether more than half of a sequence is N; such sequences are not used for training, and not scored.

    Args:
      n_unknown: number of N in the sequence, int (n,) or ().
      length: number of letters in the sequence, int (n,) or ().

    Returns:
      bool (n,) or ().
    """
    return np.asarray(2 * n_unknown > length)


def dinucleotide_counts(tokens: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
    """Counts of each pair of neighbouring letters: int32 (N, 25) of tokens uint8 (N, L).

    The column is 5 times the first token plus the second. `lengths` (N,): positions past the length are not counted.
    """
    n, length = tokens.shape
    codes = tokens[:, :-1].astype(np.int64) * 5 + tokens[:, 1:] + 25 * np.arange(n)[:, None]
    if lengths is not None:
        codes = codes[np.arange(length - 1) < np.asarray(lengths)[:, None] - 1]
    return np.bincount(codes.ravel(), minlength=25 * n).reshape(n, 25).astype(np.int32)


def dinucleotide_shuffle(
    tokens: np.ndarray,
    rng: np.random.Generator,
    lengths: np.ndarray | None = None,
    *,
    threads: int | None = None,
) -> np.ndarray:
    """Shuffle every sequence, keeping its dinucleotide counts and its first and last letter exactly.

    The result is uniform over all sequences with those counts and ends (Altschul & Erickson 1985, Mol Biol Evol 2:526).
    A sequence is an Euler path over its letters; N counts as a fifth letter. The last edges out of all letters except
    the final letter form a tree into the final letter, and with a given tree every order of the other edges gives a
    path. So a tree is drawn among all trees (16, or 125 with N) with a probability proportional to the product of its
    edge counts, the other edges are put in random order, and the path is followed. No draw is rejected.

    Args:
      tokens: uint8 (N, L), 0..4.
      rng: source of randomness. The result depends on it and on the shapes, not on `threads`.
      lengths: int (N,), true lengths if sequences are shorter than L; None: all have L letters.
      threads: number of threads; default: the number of cores that this process may use.

    Returns:
      uint8 (N, L). Positions past a sequence's length are N.

    Raises:
      ValueError: a token above 4, or arrays of other shapes.
    """
    tokens = np.asarray(tokens, np.uint8)
    if tokens.ndim != 2:
        raise ValueError(f'tokens must be (N, L), got shape {tokens.shape}')
    n_rows, width = tokens.shape
    if tokens.size and tokens.max() > N:
        raise ValueError(f'tokens must be 0..{N}, found {tokens.max()}')
    if lengths is not None:
        lengths = np.asarray(lengths, np.int64)
        if lengths.shape != (n_rows,) or (n_rows and not (lengths.min() >= 0 and lengths.max() <= width)):
            raise ValueError(f'lengths must be ({n_rows},) with values 0..{width}')
        tokens = np.where(np.arange(width) < lengths[:, None], tokens, np.uint8(_END))
    shuffled = tokens.copy()
    if width > 3 and n_rows:  # with up to three letters there is only one path
        step = max(1, 150_000 // width)  # a block's arrays stay in the cache
        blocks = [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]
        generators = rng.spawn(len(blocks))

        def work(number: int) -> None:
            rows = blocks[number]
            shuffled[rows] = _shuffle_block(
                tokens[rows], generators[number], None if lengths is None else lengths[rows]
            )

        threads = min(threads or len(os.sched_getaffinity(0)), len(blocks))
        if threads == 1:
            for number in range(len(blocks)):
                work(number)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, range(len(blocks))))
    if lengths is not None:
        shuffled[shuffled == _END] = N
    return shuffled


def different_shuffle(
    tokens: np.ndarray, rng: np.random.Generator, lengths: np.ndarray | None = None, *, tries: int = 20
) -> tuple[np.ndarray, np.ndarray]:
    """As `dinucleotide_shuffle`, but a shuffle that equals its sequence is drawn again.

    Args:
      tokens: uint8 (N, L), 0..4; N past a sequence's length.
      rng: source of randomness.
      lengths: int (N,), true lengths if sequences are shorter than L; None: all have L letters.
      tries: the maximal number of draws per sequence.

    Returns:
      uint8 (N, L), and bool (N,): which shuffles still equal their sequence. Most of these sequences have no other
      shuffle, such as 'AAAA', 'ACACAC' and any sequence of three letters.
    """
    shuffled = dinucleotide_shuffle(tokens, rng, lengths)
    same = (shuffled == tokens).all(axis=1)
    for _ in range(tries - 1):
        rows = np.flatnonzero(same)
        if not len(rows):
            break
        shuffled[rows] = dinucleotide_shuffle(tokens[rows], rng, None if lengths is None else lengths[rows])
        same[rows] = (shuffled[rows] == tokens[rows]).all(axis=1)
    return shuffled, same


def _trees(size: int) -> np.ndarray:
    """All trees into vertex 0: int (size ** (size - 2), size), the parent of every vertex."""
    trees = []
    for parents in itertools.product(range(size), repeat=size - 1):
        parents = (0, *parents)
        reached = np.arange(size)
        for _ in range(size):
            reached = np.array(parents)[reached]
        if not reached.any():
            trees.append(parents)
    return np.array(trees)


_TREES = {size: _trees(size) for size in (4, 5)}


def _last_edges(counts: np.ndarray, root: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the tree of last edges. counts (B, K, K), root (B,) -> int (B, K): the target of each letter's last edge."""
    size = counts.shape[1]
    # Relabel the letters so that the root is 0; then one list of trees serves all rows.
    original = (root[:, None] + np.arange(size)) % size
    rows = np.arange(len(root))[:, None, None]
    relabelled = counts[rows, original[:, :, None], original[:, None, :]].astype(np.float64)
    # A letter that does not occur is attached to the root, so that it does not change the other probabilities.
    relabelled[:, :, 0] += relabelled.sum(axis=2) == 0
    trees = _TREES[size]
    weights = relabelled[:, 1, trees[:, 1]]
    for vertex in range(2, size):
        weights *= relabelled[:, vertex, trees[:, vertex]]
    total = np.cumsum(weights, axis=1)
    draw = rng.random(len(root)) * total[:, -1]
    chosen = trees[np.argmax(total > draw[:, None], axis=1)]
    last = np.empty_like(original)
    np.put_along_axis(last, original, np.take_along_axis(original, chosen, axis=1), axis=1)
    return last


def _shuffle_block(tokens: np.ndarray, rng: np.random.Generator, lengths: np.ndarray | None) -> np.ndarray:
    """`dinucleotide_shuffle` of one block (B, L), L > 3; positions past the length hold `_END`."""
    n_rows, width = tokens.shape
    rows = np.arange(n_rows)
    has_n = bool((tokens == N).any())
    size = 5 if has_n else 4
    n_vertices = 4 if lengths is None and not has_n else _END + 1
    source, target = tokens[:, :-1], tokens[:, 1:]
    edges = source * np.uint8(8) + target
    counts = np.bincount((edges + (rows * 64)[:, None]).ravel(), minlength=n_rows * 64).reshape(n_rows, 8, 8)
    if lengths is None:
        root = tokens[:, -1].astype(np.int64)
    else:
        root = np.where(lengths > 0, tokens[rows, np.maximum(lengths - 1, 0)], 0).astype(np.int64)

    # One sort per row orders its edges: by source, with the last edges last, otherwise at random.
    # Bits: source 61-63, last edge 60, random 3-59, target 0-2.
    keys = rng.integers(0, 2**64 - 1, size=source.shape, dtype=np.uint64, endpoint=True)
    keys &= np.uint64((1 << 60) - 8)
    keys |= target
    keys |= source.astype(np.uint64) << np.uint64(61)
    last = _last_edges(counts[:, :size, :size], root, rng)
    for letter in range(size):
        same = edges == (letter * 8 + last[:, letter]).astype(np.uint8)[:, None]
        first = same.argmax(axis=1)
        keys[rows, first] |= _LAST * (same[rows, first] & (root != letter))
    if lengths is not None:  # the final letter leaves for the end when it has no other edge left
        ends = rows[(lengths > 0) & (lengths < width)]
        keys[ends, lengths[ends] - 1] |= _LAST
    keys.sort(axis=1)

    # Walk all rows at once. `state` is row * n_vertices + letter; `pointer` its next unused edge.
    base = rows * n_vertices
    following = ((keys & np.uint64(7)).astype(np.int64) + base[:, None]).ravel()
    used = counts.sum(axis=2)[:, :n_vertices]
    pointer = (np.cumsum(used, axis=1) - used + (rows * (width - 1))[:, None]).ravel()
    states = np.empty((width, n_rows), np.int64)
    states[0] = base + tokens[:, 0]
    edge = np.empty(n_rows, np.int64)
    for position in range(1, width):
        state = states[position - 1]
        pointer.take(state, out=edge, mode='clip')
        following.take(edge, out=states[position], mode='clip')
        edge += 1
        pointer[state] = edge
    return (states - base).T.astype(np.uint8)


def cumulative(sizes: Sequence[int] | np.ndarray) -> np.ndarray:
    """Start of each of n consecutive stretches of sizes (n,), and the end of the last: int64 (n + 1,)."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def information_content(probabilities: np.ndarray) -> np.ndarray:
    """Bits per column, float64 (...,), of probabilities (..., 4): 2 + sum of p log2 p."""
    probabilities = np.asarray(probabilities, np.float64)
    logs = np.log2(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return 2.0 + (probabilities * logs).sum(axis=-1)
