"""Motif against motif: Tomtom's p-, E- and q-values, as MEME 5.5.8 gives them (pure).

Tomtom (Gupta et al. 2007, Genome Biology 8:R24) slides a query along a target and sums the similarity of aligned
columns, here minus their Euclidean distance. Unaligned columns cost nothing, because the scores of each query column
are first shifted by their median over all target columns ("complete scores", Tanaka et al. 2011, Bioinformatics
27:1603). The p-value is the chance that the best of all alignments scores at least as high if the columns of the target
are drawn at random from the columns of all targets.

q-values are Storey's: pi0, the share of true nulls, times Benjamini-Hochberg over the p-values of one
query against both strands of every target.

It is written in numpy for two reasons. First, the queries are tens of thousands of short words that consist of only
four different columns; they share most of the work, which a general implementation repeats. Second, `memelite.tomtom`
is compiled on first use, which takes a minute or more. The tests compare the two: with `n_target_bins=None` and enough
bins for the medians, memelite gives the same p-values.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from demo_jax import dna
from demo_jax.errors import InputError, brief
from demo_jax.motifs.column_scores import ColumnScores, PaddedTargets, Targets

WORD_PSEUDOCOUNT = 0.01  # added to each letter of a word's column: .9712 for its letter, .0096 for the others

# MEME's settings for pi0: the number of lambdas, the largest lambda, and the p-values per bootstrap sample.
_N_LAMBDA, _MAX_LAMBDA, _BOOTSTRAP_SIZE = 100, 0.5, 1000
_MIN_P_VALUES = 100  # with this many p-values or fewer, MEME sets pi0 = 1
_BLOCK = 512  # words scored at once: limits memory to about 50 MB per thread


class Matches(NamedTuple):
    """Q queries against n targets; every array is (Q, n), for the better strand.

    Attributes:
      p_value: float64, over both strands: 1 - (1 - p)^2 of the better strand's p.
      e_value: float64, p_value times n: the number of targets expected to match as well by chance.
      q_value: float64, the false discovery rate among this query's matches.
      offset: int32, as in MEME: 2 means that the query starts at the target's third column.
      overlap: int32, number of aligned columns.
      forward: bool, True if the given target matches better than its reverse complement.
    """

    p_value: np.ndarray
    e_value: np.ndarray
    q_value: np.ndarray
    offset: np.ndarray
    overlap: np.ndarray
    forward: np.ndarray


class WordMatches(NamedTuple):
    """D distinct words against K chosen targets; every array is float32 (D, K), of the better strand."""

    p_value: np.ndarray
    e_value: np.ndarray
    q_value: np.ndarray


def prepare_targets(matrices: Mapping[str, np.ndarray]) -> Targets:
    """Prepare a motif database for searching.

    Args:
      matrices: id -> probabilities (w, 4), columns A C G T whose rows add up to 1 (to 1e-3).

    Raises:
      InputError: no matrices, or one that is not a matrix of probabilities (w, 4); names it.
    """
    if not matrices:
        raise InputError('the motif database is empty, expected at least one matrix')
    checked = {motif: _checked(matrix, f'motif {brief(motif)}') for motif, matrix in matrices.items()}
    both_strands = [*checked.values(), *(matrix[::-1, ::-1] for matrix in checked.values())]
    return Targets(
        ids=tuple(checked),
        widths=np.array([len(matrix) for matrix in checked.values()], np.int64),
        columns=np.concatenate(both_strands),
    )


def word_motif(word: str, pseudocount: float = WORD_PSEUDOCOUNT) -> np.ndarray:
    """One sequence as a motif, float64 (w, 4): counts of 1 plus the pseudocount per letter; N is uniform."""
    counts = dna.one_hot(dna.encode(word)).astype(np.float64)
    counts[dna.encode(word) == dna.N] = 0.25
    return (counts + pseudocount) / (1 + 4 * pseudocount)


def match_motifs(queries: Sequence[np.ndarray], targets: Targets) -> Matches:
    """Compare motifs with a database: `tomtom -dist ed -motif-pseudo 0 -thresh 1`.

    Args:
      queries: Q arrays of probabilities (w, 4); widths may differ.
      targets: from `prepare_targets`. With few targets (MEME warns below 50) p-values mean little, since
        the targets are themselves the background.

    Raises:
      InputError: a query is not a matrix of probabilities (w, 4); names its number.
    """
    checked = [_checked(query, f'query {number}') for number, query in enumerate(queries)]
    n_targets = len(targets)
    shape = (len(checked), n_targets)
    results = Matches(
        np.empty(shape),
        np.empty(shape),
        np.empty(shape),
        np.empty(shape, np.int32),
        np.empty(shape, np.int32),
        np.empty(shape, bool),
    )
    for row, query in enumerate(checked):
        letters = np.arange(len(query))[None]
        padded = PaddedTargets.of(targets, len(query))
        scores = ColumnScores(query, targets, padded, letters[0])
        best, offset, overlap = scores.alignments(letters)
        p_value = _both_strands(scores.p_values(best, letters))
        q_value = q_values(p_value)
        forward = p_value[0, :n_targets] <= p_value[0, n_targets:]
        chosen = np.where(forward, 0, n_targets) + np.arange(n_targets)
        results.p_value[row] = p_value[0, chosen]
        results.q_value[row] = q_value[0, chosen]
        results.offset[row] = offset[chosen]
        results.overlap[row] = overlap[chosen]
        results.forward[row] = forward
    results.e_value[:] = results.p_value * n_targets
    return results


def match_words(
    words: Sequence[str],
    targets: Targets,
    *,
    keep: Sequence[int] | None = None,
    pseudocount: float = WORD_PSEUDOCOUNT,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> WordMatches:
    """Compare sequences of one length, e.g. ['TGATAAGCA', ...], with a database.

    The result is that of `match_motifs` of every `word_motif`, but many times faster. A word and its reverse complement
    have the same matches on opposite strands, so only one of the two is computed. All p-values of a word enter its
    q-values; only those of the targets in `keep` are stored.

    Args:
      words: D words of equal length, letters ACGTN. Repeats are computed once.
      targets: from `prepare_targets`.
      keep: indices of the targets to return; None: all n (D x n x 12 bytes of memory).
      pseudocount: see `word_motif`.
      threads: default: the number of cores that this process may use.
      progress: called with the number of distinct words completed since the last call.

    Returns:
      Rows in the order of `words`, columns in the order of `keep`.

    Raises:
      InputError: words of different lengths, or a letter other than ACGTN.
    """
    keep = np.arange(len(targets)) if keep is None else np.asarray(keep, np.int64)
    if not len(words):
        return WordMatches(*(np.empty((0, len(keep)), np.float32) for _ in range(3)))
    width = len(words[0])
    uneven = next((word for word in words if len(word) != width), None)
    if uneven is not None or width == 0:
        raise InputError(f'words must have one length, found {brief(words[0])} and {brief(uneven)}')
    tokens = dna.encode(''.join(words)).reshape(-1, width)
    # Base-5 numbers stand for the words; the smaller of a word and its reverse complement is the one computed.
    powers = 5 ** np.arange(width - 1, -1, -1, dtype=np.int64) if width <= 27 else None
    if powers is None:
        raise InputError(f'words of {width} letters are too long, expected at most 27')
    codes = np.minimum(tokens @ powers, dna.reverse_complement(tokens) @ powers)
    distinct, inverse = np.unique(codes, return_inverse=True)
    letters = (distinct[:, None] // powers % 5).astype(np.int64)

    result = WordMatches(*(np.empty((len(distinct), len(keep)), np.float32) for _ in range(3)))
    alphabet = np.concatenate([word_motif('ACGT', pseudocount), np.full((1, 4), 0.25)])
    padded = PaddedTargets.of(targets, width)
    n_targets = len(targets)
    used = np.bitwise_or.reduce(1 << letters, axis=1)
    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        for letter_set in np.unique(used):  # words of the same letters share one scale of scores
            present = [letter for letter in range(len(alphabet)) if letter_set >> letter & 1]
            scores = ColumnScores(alphabet, targets, padded, present)
            of_set = np.flatnonzero(used == letter_set)

            def work(rows: np.ndarray, scores: ColumnScores = scores) -> int:
                p_value = _both_strands(scores.p_values(scores.best(letters[rows]), letters[rows]))
                q_value = q_values(p_value)
                result.p_value[rows] = np.minimum(p_value[:, keep], p_value[:, keep + n_targets])
                result.q_value[rows] = np.minimum(q_value[:, keep], q_value[:, keep + n_targets])
                return len(rows)

            for done in pool.map(work, [of_set[start : start + _BLOCK] for start in range(0, len(of_set), _BLOCK)]):
                if progress is not None:
                    progress(done)
    np.multiply(result.p_value, n_targets, out=result.e_value)
    return WordMatches(*(values[inverse] for values in result))


def q_values(p_value: np.ndarray) -> np.ndarray:
    """MEME's q-values of each row of p-values, float64 (Q, m): Storey's pi0 times Benjamini-Hochberg.

    q of the r-th smallest p is the least of pi0 * m * p / r over it and all larger ones, at most 1.
    """
    n_values = p_value.shape[1]
    order = np.argsort(p_value, axis=1)
    rates = np.take_along_axis(p_value, order, axis=1) * (n_values * null_share(p_value)[:, None])
    rates /= np.arange(1, n_values + 1)
    rates = np.minimum.accumulate(rates[:, ::-1], axis=1)[:, ::-1]
    q_value = np.empty_like(p_value)
    np.put_along_axis(q_value, order, np.minimum(rates, 1.0), axis=1)
    return q_value


def null_share(p_value: np.ndarray) -> np.ndarray:
    """Storey's pi0 of each row of p-values (Q, m), float64 (Q,), as MEME estimates it.

    pi0(lambda) = #(p >= lambda) / (m (1 - lambda)) for 100 lambdas up to 0.5. Storey (2002, J R Stat Soc B
    64:479) takes the lambda whose bootstrap estimates scatter least, in mean square, about the smallest
    pi0(lambda). MEME draws 100 bootstrap samples of 1000; the count in one of them is binomial, so their
    mean squared error is known without drawing. With 100 p-values or fewer pi0 is 1.
    """
    n_rows, n_values = p_value.shape
    if n_values <= _MIN_P_VALUES:
        return np.ones(n_rows)
    lambdas = np.arange(1, _N_LAMBDA + 1) * (_MAX_LAMBDA / _N_LAMBDA)
    # Class b holds lambda_(b) <= p < lambda_(b + 1), where lambda_(0) is 0.
    classes = np.minimum(p_value * (_N_LAMBDA / _MAX_LAMBDA), _N_LAMBDA).astype(np.int64)
    classes += np.arange(n_rows)[:, None] * (_N_LAMBDA + 1)
    counts = np.bincount(classes.ravel(), minlength=n_rows * (_N_LAMBDA + 1)).reshape(n_rows, -1)
    share = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1][:, 1:] / n_values
    with np.errstate(invalid='ignore'):
        estimate = np.where(share > 0, share / (1 - lambdas), np.inf)  # MEME: no estimate where no p exceeds lambda
        smallest = estimate.min(axis=1, keepdims=True)
        error = share * (1 - share) / (_BOOTSTRAP_SIZE * (1 - lambdas) ** 2) + (estimate - smallest) ** 2
    error = np.where(share > 0, error, np.inf)
    best = np.take_along_axis(estimate, error.argmin(axis=1)[:, None], axis=1)[:, 0]
    return np.minimum(best, 1.0)


def _both_strands(p_value: np.ndarray) -> np.ndarray:
    """The chance that one of two strands does as well: 1 - (1 - p)^2, kept exact for small p."""
    return p_value * (2 - p_value)


def _checked(matrix: np.ndarray, what: str) -> np.ndarray:
    """The matrix as float64 (w, 4), its rows adding up to 1."""
    matrix = np.asarray(matrix, np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != 4 or not len(matrix):
        raise InputError(f'{what} has shape {matrix.shape}, expected (width, 4)')
    if not (np.isfinite(matrix).all() and matrix.min() >= 0 and np.abs(matrix.sum(axis=1) - 1).max() < 1e-3):
        row = int(np.argmax(~(np.abs(matrix.sum(axis=1) - 1) < 1e-3) | (matrix < 0).any(axis=1)))
        found = brief(matrix[row].tolist())
        raise InputError(f'{what}, column {row + 1} holds {found}, expected probabilities of A C G T that add up to 1')
    return matrix
