"""Attributions: how much each letter of a sequence matters to a model's score S(X) = logit(+) - logit(-).

The paper's saliency map (equations 5 and 6) and three further methods, all under one signature. Sequences
do not interact, so one gradient of the sum of their scores holds the gradients of all of them.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from demo_jax.errors import InputError
from demo_jax.explain import batches
from demo_jax.explain.deeplift import deeplift
from demo_jax.explain.references import drawn
from demo_jax.explain.references import letters as letters_of_references
from demo_jax.explain.score import Score, call, check_score, float_type, takes_lengths
from demo_jax.explain.sizes import ON_CPU, default_sizes, on_accelerator
from demo_jax.nn import kernels, mutants
from demo_jax.nn.deepbind import DeepBind, Mutants, score_mutants
from demo_jax.nn.kernels import Array
from demo_jax.nn.models import ModelSpec

BASELINES = ('uniform', 'zeros', 'shuffled')


@dataclass(frozen=True, eq=False)
class Attribution:
    """The maps of N sequences, of one model or (with a leading axis M) of several.

    Positions behind a sequence's end are zero everywhere; N letters are zero in `signed` and `absolute`.

    Attributes:
      method: one of `ATTRIBUTIONS`.
      score: float32 (N,), S(X). With both strands, the mean over them.
      signed: float32 (N, L), contribution of the letter that is there; positive speaks for binding.
      hypothetical: float32 (N, L, 4), what each letter would contribute if it were there. Except for
        mutagenesis, `signed` is this at the letter that is there.
      completeness_error: how far the contributions' sum is from the score's change since the baseline,
        |sum - (S(X) - S(baseline))|: float32 (N,) for integrated gradients, (N, K) for DeepLIFT, with each of K
        references; else None.
    """

    method: str
    score: np.ndarray
    signed: np.ndarray
    hypothetical: np.ndarray
    completeness_error: np.ndarray | None = None

    @property
    def absolute(self) -> np.ndarray:
        """(N, L), the size of each letter's contribution, whatever its sign: the paper's saliency map."""
        return np.abs(self.signed)

    @property
    def values(self) -> np.ndarray:
        """(N, L), what the method ranks positions by (`Method.ranks`): `absolute` for saliency, else `signed`."""
        return self.absolute if ATTRIBUTIONS[self.method].ranks == 'size' else self.signed

    @property
    def centred(self) -> np.ndarray:
        """(N, L, 4), `hypothetical` less its mean over the letters, as motif discovery (TF-MoDISco) reads it.

        A constant added to a position's four letters means nothing to sequences, which always have one of
        them; taking it out also removes noise from gradients (Majdandzic et al. 2023).
        """
        return self.hypothetical - self.hypothetical.mean(axis=-1, keepdims=True)

    def model(self, index: int) -> 'Attribution':
        """The maps of one of M models."""
        error = self.completeness_error
        return Attribution(
            self.method,
            self.score[index],
            self.signed[index],
            self.hypothetical[index],
            None if error is None else error[index],
        )


def attribute(
    method: str,
    params: Any,
    score: Score,
    tokens: np.ndarray,
    *,
    lengths: np.ndarray | None = None,
    batch_size: int | None = None,
    both_strands: bool = False,
    progress: Callable[[int], object] | None = None,
    **settings: Any,
) -> Attribution:
    """Maps of one model for N sequences, e.g. `attribute('saliency', params, score, dna.encode(text)[None])`.

    Methods and their settings:
      'saliency': the gradient dS/dX at the letters that are there, ranked by size (equation 6).
      'gradient_x_input': the same numbers ranked with their sign. `centred` (False): subtract the mean
        over a position's four letters from the gradient first.
      'integrated_gradients': the gradient's mean along the straight line from a baseline to X, times
        X - baseline (Sundararajan et al. 2017). `baseline` ('uniform': each letter 0.25; 'zeros';
        'shuffled': the given `shuffles`, uint8 (N, K, L), averaged over), `steps` (32): points of the
        Gauss-Legendre rule. Where X has N, the baseline is X.
      'deeplift': the exact share of each letter in S(X) - S(reference), averaged over references (DeepLIFT and
        DeepSHAP, see `explain.deeplift`). `references` ('shuffled': dinucleotide shuffles; 'uniform'; 'zeros'; 'gc',
        see `explain.references.KINDS`; or tokens uint8 (N, K, L)), `n_references` (20) and `seed` (0) of the shuffles.
        Where X has N, so has the reference.
      'mutagenesis': `hypothetical` is the exact S(X with that letter there) - S(X), 0 for the letter that
        is there; `signed` is minus its mean over the three other letters (0 at N), so a letter whose
        loss lowers the score is positive.

    Args:
      method: one of `ATTRIBUTIONS`.
      params: of one model, any pytree of arrays.
      score: what the maps explain: a `ModelSpec`, or any function of (params, x), see `explain.score`.
      tokens: uint8 (N, L).
      lengths: int (N,) or None; positions behind are padding.
      batch_size: sequences at a time, on each device; None = what suits the device (`sizes.default_sizes`), on a CPU
        64.
      both_strands: average of the map, and of that of the reverse complement turned back.
      progress: called with the number of sequences done since the last call.
      **settings: of the method, see above.

    Raises:
      InputError: unknown method, setting or value; sequences that the model cannot read; something that is no score
        (see `score.check_score`).
    """
    for name in ('shuffles', 'references'):
        if not isinstance(settings.get(name, ''), str):
            settings[name] = np.asarray(settings[name])[None]
    result = attribute_models(
        method,
        batches.stack_one(params),
        score,
        tokens,
        lengths=lengths,
        batch_size=batch_size,
        both_strands=both_strands,
        progress=progress,
        **settings,
    )
    return result.model(0)


def attribute_models(
    method: str,
    stacked_params: Any,
    score: Score,
    tokens: np.ndarray,
    *,
    lengths: np.ndarray | None = None,
    batch_size: int | None = None,
    both_strands: bool = False,
    width: int | None = None,
    progress: Callable[[int], object] | None = None,
    **settings: Any,
) -> Attribution:
    """Maps of M models of one architecture, in one compiled program.

    Args:
      method: as in `attribute`, and so are `score`, `batch_size`, `both_strands`, `progress` and the settings
        (`shuffles` and `references` are (M, N, K, L) here).
      stacked_params: parameters with a leading axis M.
      tokens: uint8 (N, L), shared by the models, or (M, N, L).
      lengths: None, int (N,) or int (M, N).
      width: models at a time, see `batches.run`; None = what suits the device, on a CPU 1.

    Returns:
      An `Attribution` whose arrays have a leading axis M.

    Raises:
      InputError: as `attribute`.
    """
    if method not in ATTRIBUTIONS:
        raise InputError(f'attribution method is {method!r}, expected one of {", ".join(ATTRIBUTIONS)}')
    n_models = batches.count_models(stacked_params)
    tokens, lengths = batches.checked_sequences(score, tokens, lengths, n_models)
    shuffles = settings.pop('shuffles', None)
    settings = _checked_settings(method, settings, shuffles, tokens.shape)
    if method == 'deeplift':
        settings, shuffles = drawn(settings, tokens, lengths)
    if method == 'mutagenesis':
        inside = True if lengths is None else np.arange(tokens.shape[2]) < lengths[..., None]
        settings['alternatives'] = 4 if ((tokens == 4) & inside).any() else 3
    fixed = tuple(sorted(settings.items()))
    shuffles = None if shuffles is None else np.asarray(shuffles, np.uint8)
    one = jax.tree.map(lambda leaf: leaf[0], stacked_params)
    first = tokens[0, 0] if lengths is None else tokens[0, 0, : lengths[0, 0]]
    check_score(score, one, first, gradient=ATTRIBUTIONS[method].gradient)

    if method == 'mutagenesis' and isinstance(score, DeepBind) and not both_strands and (tokens == tokens[:1]).all():
        return _mutants_of_deepbind(stacked_params, score, tokens[0], lengths, progress)
    work, rows = 'attribution', settings.get('alternatives', 1) * (2 if both_strands else 1)
    if method == 'mutagenesis' and isinstance(score, ModelSpec) and mutants.follows(score):
        work, rows = 'mutants', mutants.rows(score, settings['alternatives'])
    if method == 'deeplift' and shuffles is not None and on_accelerator():
        rows *= shuffles.shape[2]
    sizes = default_sizes(work, score, one, tokens.shape, rows=rows, batch_size=batch_size, width=width)

    def run(batch: _Batch, lengths: np.ndarray | None) -> _Map:
        return batches.run(
            _of_model,
            (score, method, fixed, both_strands),
            stacked_params,
            batch._replace(lengths=lengths),
            batch_size=sizes.batch_size,
            width=sizes.width,
            progress=progress,
        )

    batch = _Batch(tokens, None, shuffles)
    if lengths is None or takes_lengths(score):
        maps: Any = run(batch, lengths)
    else:
        maps = batches.in_groups(run, batch, lengths)
    gap = np.stack(maps.gap, axis=-1) if isinstance(maps.gap, tuple) else maps.gap
    error = None if gap is None else np.abs(gap)
    return Attribution(method, maps.score, maps.signed, maps.hypothetical, error)


def _mutants_of_deepbind(
    stacked_params: Any,
    score: DeepBind,
    tokens: np.ndarray,
    lengths: np.ndarray | None,
    progress: Callable[[int], object] | None,
) -> Attribution:
    """Mutagenesis by the program that scores published models from tokens, many models at a time."""
    params = [jax.tree.map(lambda leaf, m=m: leaf[m], stacked_params) for m in range(len(stacked_params['offsets']))]
    found = score_mutants([score] * len(params), params, tokens, None if lengths is None else lengths[0])
    if progress is not None:
        progress(found.score.size)
    return mutation_maps(found, tokens)


def mutation_maps(found: Mutants, tokens: np.ndarray) -> Attribution:
    """The maps of method 'mutagenesis' out of scored mutants of tokens uint8 (N, L)."""
    signed = np.where(tokens < 4, -found.change.sum(axis=-1) / 3, 0)
    return Attribution('mutagenesis', found.score, signed, found.change)


class _Batch(NamedTuple):
    tokens: Array  # uint8 (B, L)
    lengths: Array | None  # (B,)
    shuffles: Array | None  # uint8 (B, K, L)


class _Map(NamedTuple):
    score: Array  # (B,)
    signed: Array  # (B, L)
    hypothetical: Array  # (B, L, 4)
    gap: Array | tuple[Array, ...] | None = None  # (B,), or that for each reference


#: Scores (B,) of letters (B, L, 4) with lengths (B,) or None.
_Score = Callable[[Array, Array | None], Array]


@dataclass(frozen=True, eq=False)
class _Scorer:
    """The `_Score` of a model, for methods that can do better than to call it."""

    score: Score
    params: Any

    def __call__(self, x: Array, lengths: Array | None, /) -> Array:
        return call(self.score, self.params, x, lengths)


def _of_model(
    params: Any, batch: _Batch, score: Score, method: str, settings: tuple[tuple[str, Any], ...], strands: bool
) -> _Map:
    scorer = _Scorer(score, params)
    explain = functools.partial(ATTRIBUTIONS[method].maps, scorer, dtype=float_type(params), **dict(settings))
    if not strands:
        return explain(batch)
    # One after the other in a loop: two calls take longer to compile.
    both = jax.lax.map(explain, jax.tree.map(lambda *parts: jnp.stack(parts), batch, _turn_batch(batch)))
    given, other = (jax.tree.map(lambda part, n=n: part[n], both) for n in (0, 1))
    other = other._replace(
        signed=_turn(other.signed, batch.lengths),
        hypothetical=_turn(other.hypothetical, batch.lengths)[..., ::-1],
    )
    return jax.tree.map(lambda a, b: (a + b) / 2, given, other)


def _letters(tokens: Array, lengths: Array | None, dtype: Any) -> Array:
    x = kernels.one_hot(tokens, dtype)
    return x if lengths is None else x * _inside(tokens, lengths)[..., None]


def _inside(tokens: Array, lengths: Array) -> Array:
    return jnp.arange(tokens.shape[1])[None] < lengths[:, None]


def _gradient(score: _Score, x: Array, lengths: Array | None) -> tuple[Array, Array]:
    scores, pullback = jax.vjp(lambda x: score(x, lengths), x)
    return scores, pullback(jnp.ones_like(scores))[0]


def _gradient_map(score: _Score, batch: _Batch, *, dtype: Any, centred: bool = False) -> _Map:
    x = _letters(batch.tokens, batch.lengths, dtype)
    scores, gradient = _gradient(score, x, batch.lengths)
    if centred:
        gradient = gradient - gradient.mean(axis=-1, keepdims=True)
    return _Map(scores, (gradient * x).sum(-1), gradient)


def _integrated_gradients(
    score: _Score, batch: _Batch, *, dtype: Any, baseline: str = 'uniform', steps: int = 32
) -> _Map:
    x = _letters(batch.tokens, batch.lengths, dtype)
    starts = jnp.swapaxes(letters_of_references(baseline, x, batch.shuffles), 0, 1)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    rule = (jnp.asarray((nodes + 1) / 2, dtype), jnp.asarray(weights / 2, dtype))
    scores = score(x, batch.lengths)

    def from_baseline(total: tuple[jax.Array, jax.Array], start: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        def at_node(mean: jax.Array, node: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            return mean + node[1] * _gradient(score, start + node[0] * (x - start), batch.lengths)[1], None

        mean, _ = jax.lax.scan(at_node, jnp.zeros_like(x), rule)
        # A letter's contribution is sum_c (letter_c - start_c) * mean_c: the mean at the letter less a constant.
        hypothetical = mean - (mean * start).sum(axis=-1, keepdims=True)
        gap = (hypothetical * x).sum((1, 2)) - (scores - score(start, batch.lengths))
        return (total[0] + hypothetical, total[1] + gap), None

    zero = (jnp.zeros_like(x), jnp.zeros_like(scores))
    (hypothetical, gap), _ = jax.lax.scan(from_baseline, zero, starts)
    hypothetical, gap = hypothetical / len(starts), gap / len(starts)
    return _Map(scores, (hypothetical * x).sum(-1), hypothetical, gap)


def _deeplift(score: _Score, batch: _Batch, *, dtype: Any, references: str) -> _Map:
    x = _letters(batch.tokens, batch.lengths, dtype)
    starts = letters_of_references(references, x, batch.shuffles)
    # On a CPU so few pairs at a time that what a layer makes stays in the cache.
    rows = None if on_accelerator() else ON_CPU['attribution']
    found = deeplift(lambda _, x, lengths=None: score(x, lengths), rows=rows)(None, x, starts, batch.lengths)
    return _Map(found.score, found.contributions, found.hypothetical, tuple(found.error.T))


def _mutagenesis(score: '_Scorer', batch: _Batch, *, dtype: Any, alternatives: int) -> _Map:
    tokens, lengths = batch.tokens, batch.lengths
    # The letters after the one that is there; with four of them, an N also gets all of its own.
    others = (tokens[None] + 1 + jnp.arange(alternatives, dtype=jnp.uint8)[:, None, None]) % 4
    others = jnp.where(others == tokens[None], 4, others)  # its own letter gets no entry
    spec = score.score
    if isinstance(spec, ModelSpec) and mutants.follows(spec):
        scores, changes = mutants.changes(score.params, spec, tokens, lengths, others)
    else:
        scores, changes = _changes(score, _letters(tokens, lengths, dtype), lengths, others)
    hypothetical = (changes[..., None] * kernels.one_hot(others, dtype)).sum(0)
    if lengths is not None:
        hypothetical = hypothetical * _inside(tokens, lengths)[..., None]
    return _Map(scores, jnp.where(tokens < 4, -hypothetical.sum(-1) / 3, 0), hypothetical)


def _changes(score: _Score, x: Array, lengths: Array | None, others: Array) -> tuple[Array, Array]:
    """Scores (B,) of letters x (B, L, 4), and how other letters (A, B, L) change them, one at a time: (A, B, L).

    Every mutant is scored whole: the plain way, for scores that `nn.mutants` cannot follow.
    """
    scores, (alternatives, n, length) = score(x, lengths), others.shape
    repeated = None if lengths is None else jnp.tile(lengths, alternatives)

    def at_position(position: Array) -> Array:
        letters = kernels.one_hot(others[:, :, position], x.dtype)
        mutated = jnp.broadcast_to(x[None], (alternatives, *x.shape)).at[:, :, position].set(letters)
        return score(mutated.reshape(-1, length, 4), repeated).reshape(alternatives, n) - scores[None]

    return scores, jax.lax.map(at_position, jnp.arange(length)).transpose(1, 2, 0)


class Option(NamedTuple):
    """A setting of an attribution that a run's config has.

    Attributes:
      argument: what `attribute` calls it.
      default: its value.
      least: the smallest value that it may have.
    """

    argument: str
    default: int
    least: int


class Method(NamedTuple):
    """All that is to be known of an attribution: whatever asks for its name, map, cost or label reads it here.

    Attributes:
      name: what `attribute`, configs, tables and files call it.
      label: what pages call it.
      signed: what the letters of a page show: label of the track, and of its column of numbers.
      maps: the mathematics, of (score, batch, *, dtype, **settings).
      settings: names of the settings that `attribute` takes for it.
      options: those that a run's config has, by the name that it has there.
      cost: operations in gradients of all sequences, of (options by name, letters L).
      ranks: what it ranks positions by: 'size' of the contribution, or the contribution with its 'sign'.
      reads: the method whose stored arrays it reads; '' = it is stored itself.
      keeps: axes of the arrays that are stored, by name: N sequences, L letters, K references, 4 the alphabet.
      gradient: whether its map is made of gradients: centred before motifs are made of it.
    """

    name: str
    label: str
    signed: tuple[str, str]
    maps: Callable[..., _Map]
    settings: tuple[str, ...] = ()
    options: Mapping[str, Option] = MappingProxyType({})
    cost: Callable[[Mapping[str, Any], int], float] = lambda options, length: 1.0
    ranks: str = 'sign'
    reads: str = ''
    keeps: Mapping[str, str] = MappingProxyType({'score': 'N', 'hypothetical': 'NL4'})
    gradient: bool = True


#: Every attribution, by name. To add one, add its record.
ATTRIBUTIONS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method('saliency', 'Saliency', ('Saliency (size)', '|saliency|'), _gradient_map, ranks='size'),
        Method(
            'gradient_x_input',
            'Gradient × input',
            ('Gradient × input (signed)', 'gradient × input'),
            _gradient_map,
            settings=('centred',),
            reads='saliency',
        ),
        Method(
            'integrated_gradients',
            'Integrated gradients',
            ('Integrated gradients (signed)', 'integrated gradients'),
            _integrated_gradients,
            settings=('baseline', 'steps'),
            options={'integration_steps': Option('steps', 32, 1)},
            cost=lambda options, length: float(options['integration_steps']),
            keeps={'score': 'N', 'hypothetical': 'NL4', 'completeness_error': 'N'},
        ),
        Method(
            'deeplift',
            'DeepLIFT',
            ('DeepLIFT (signed)', 'DeepLIFT'),
            _deeplift,
            settings=('references', 'n_references', 'seed'),
            options={'references': Option('n_references', 20, 1)},
            cost=lambda options, length: 2.0 + options['references'],
            keeps={'score': 'N', 'hypothetical': 'NL4', 'completeness_error': 'NK'},
        ),
        Method(
            'mutagenesis',
            'Mutagenesis',
            ('Mutagenesis (signed)', 'mutagenesis'),
            _mutagenesis,
            cost=lambda options, length: float(length),
            # signed is minus the mean change over the three other letters, not the hypothetical at the letter.
            keeps={'score': 'N', 'hypothetical': 'NL4', 'signed': 'NL'},
            gradient=False,
        ),
    )
}

#: Those that have hypothetical contributions, best first: how many of the planted sites of simulated data they find.
BEST_FIRST = ('mutagenesis', 'deeplift', 'integrated_gradients', 'saliency')


def _checked_settings(method: str, settings: dict[str, Any], shuffles: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    known = ATTRIBUTIONS[method].settings
    for name in settings:
        if name not in known:
            raise InputError(f'{method} has no setting {name!r}; its settings are {", ".join(known) or "none"}')
    if settings.get('steps', 1) < 1:
        raise InputError(f'steps is {settings["steps"]}, expected 1 or more')
    baseline = settings.get('baseline', 'uniform')
    if baseline not in BASELINES:
        raise InputError(f'baseline is {baseline!r}, expected one of {", ".join(BASELINES)}')
    if (baseline == 'shuffled') != (shuffles is not None):
        raise InputError("shuffles and baseline='shuffled' belong together: one is given without the other")
    if shuffles is not None:
        found = np.shape(shuffles)
        if len(found) != 4 or found[:2] + found[3:] != shape or not found[2]:
            raise InputError(f'shuffles have shape {found}, expected {shape[:2]} + (K,) + {shape[2:]}')
    return dict(settings)


def _turn_batch(batch: _Batch) -> _Batch:
    tokens, lengths, shuffles = batch
    if shuffles is not None:
        n, k, length = shuffles.shape
        repeated = None if lengths is None else jnp.repeat(lengths, k)
        shuffles = kernels.reverse_complement(shuffles.reshape(n * k, length), repeated).reshape(n, k, length)
    return _Batch(kernels.reverse_complement(tokens, lengths), lengths, shuffles)


def _turn(maps: Array, lengths: Array | None) -> Array:
    """Maps (B, L) or (B, L, 4) read from the other end of each sequence."""
    if lengths is None:
        return maps[:, ::-1]
    source = lengths[:, None] - 1 - jnp.arange(maps.shape[1])[None]
    shape = source.shape + (1,) * (maps.ndim - 2)
    turned = jnp.take_along_axis(maps, jnp.maximum(source, 0).reshape(shape), axis=1)
    return jnp.where((source >= 0).reshape(shape), turned, 0)
