"""A model on plain strings, for everyday use: scores and explanations (edge).

`run.model(task, spec)` is one that a run has trained, `wrap(score, params)` one of somebody's own.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from demo_jax import dna
from demo_jax.errors import InputError, brief
from demo_jax.explain import attribution, batches, class_optimisation, temporal
from demo_jax.explain.score import check_params, check_score, name_of, of_tokens, takes_lengths
from demo_jax.explain.score import shortest as shortest_of
from demo_jax.explain.sizes import default_sizes, on_accelerator
from demo_jax.explain.sufficient_motif import SufficientMotifSettings, sufficient_motif
from demo_jax.nn.architecture import resolve
from demo_jax.nn.deepbind import DeepBind, score_models
from demo_jax.predict.predictor import Predictor
from demo_jax.predict.results import Maps, Optimum, Prediction, SufficientLetters, Temporal
from demo_jax.training import stack
from demo_jax.training.jobs import batches as in_batches
from demo_jax.training.pool import Pool


@dataclasses.dataclass(frozen=True, eq=False)
class Model(Predictor):
    """One model.

    Attributes:
      task: the TF data set it was trained on; '' = not known.
      spec: name of its architecture.
      seed: of its training.
      params: any pytree of arrays.
      average_strands: predictions are the mean score of both strands.
      length: letters of the longest sequence it was trained on; 0 = not known.
      function: what gives the scores, see `explain.score`; None: the architecture that `spec` names.
      temperature: what scores are divided by before they become probabilities, fitted on validation data by the stage
        evaluate; None: not known, and probabilities are the sigmoids of the scores.
      shift: what is added to the log odds then, fitted with the temperature.
      prior_shift: what is added besides, see `with_prior`.
    """

    task: str
    spec: str
    seed: int
    params: Any = dataclasses.field(repr=False)
    average_strands: bool = False
    length: int = 0
    function: Any = dataclasses.field(default=None, repr=False)
    temperature: float | None = None
    shift: float = 0.0
    prior_shift: float = 0.0

    @property
    def score(self) -> Any:
        """What gives the scores: a function of (params, x), or the architecture, which is one."""
        return resolve(self.spec) if self.function is None else self.function

    def predict(self, sequences: Sequence[str]) -> Prediction:
        """Score sequences of any lengths that the model can read.

        Args:
          sequences: strings of A, C, G, T and N (other IUPAC letters count as N), either case.

        Raises:
          InputError: a sequence that is no string, a letter that is no base, a sequence that is too short, or something
            that is no list of sequences, such as one string.
        """
        sequences = _strings(sequences)
        tokens, lengths = self.encode(sequences)
        return self._prediction(sequences, self.score_tokens(tokens, lengths))

    def attribute(
        self, method: str, sequences: Sequence[str], *, both_strands: bool | None = None, **settings: Any
    ) -> Maps:
        """How much each letter matters to the score that `predict` gives.

        Args:
          method: 'saliency', 'gradient_x_input', 'integrated_gradients', 'deeplift' or 'mutagenesis', see
            `explain.attribution.attribute`.
          sequences: as for `predict`, at least one.
          both_strands: average the map with that of the other strand, turned back. None: as the model's
            predictions do (`average_strands`), so that the map explains the score of `predict`. False: the
            given strand alone.
          **settings: of the method, e.g. `steps=64` and `baseline='zeros'` for integrated gradients; `batch_size`.

        Raises:
          InputError: as `predict`, no sequence, or an unknown method or setting.
        """
        sequences = _strings(sequences)
        tokens, lengths = self._encode_some(sequences)
        both = self.average_strands if both_strands is None else both_strands
        found = attribution.attribute(
            method, self.params, self.score, tokens, lengths=lengths, both_strands=both, **settings
        )
        error = found.completeness_error
        own = [len(text) for text in sequences]
        return Maps(
            self.title,
            method,
            both,
            sequences,
            found.score,
            _cut(found.signed, own),
            _cut(found.hypothetical, own),
            error,
        )

    def temporal(
        self, sequences: Sequence[str], *, both_strands: bool | None = None, truncate: str = 'input'
    ) -> Temporal:
        """The scores of every prefix and every suffix.

        Recurrent specs have a fast way to them; of any other model every truncated sequence is scored by itself.

        Args:
          sequences: as for `predict`, at least one.
          both_strands: average each prefix's (suffix's) score with that of its other strand. None: as the
            model's predictions do, so that with `truncate='input'` each value is what `predict` says of
            that prefix (suffix). False: the given strand alone, as in the paper.
          truncate: 'input', or for recurrent specs 'features', see `explain.temporal.temporal_scores`.

        Raises:
          InputError: as `predict`, no sequence, or `truncate='features'` of a model that is not recurrent.
        """
        sequences = _strings(sequences)
        tokens, lengths = self._encode_some(sequences)
        both = self.average_strands if both_strands is None else both_strands
        own = [len(text) for text in sequences]
        if both:  # the other strand's suffixes are the other strands of the prefixes
            turned = np.full_like(tokens, dna.N)
            for row, letters, length in zip(turned, tokens, own, strict=True):
                row[:length] = dna.reverse_complement(letters[:length])
            tokens = np.concatenate([tokens, turned])
            lengths = None if lengths is None else np.concatenate([lengths, lengths])
        forward, reverse = (
            _cut(
                temporal.temporal_scores(
                    self.params, self.score, tokens, lengths=lengths, truncate=truncate, direction=direction
                ),
                own * 2 if both else own,
            )
            for direction in temporal.DIRECTIONS
        )
        if both:
            n = len(own)
            forward, reverse = (
                tuple((given + other[::-1]) / 2 for given, other in zip(one[:n], two[n:], strict=True))
                for one, two in ((forward, reverse), (reverse, forward))
            )
        return Temporal(self.title, both, sequences, forward, reverse)

    def class_optimise(
        self,
        *,
        length: int | None = None,
        restarts: int = 4,
        seed: int = 0,
        settings: class_optimisation.ClassOptimisationSettings | None = None,
    ) -> Optimum:
        """The input that the model finds most like a bound sequence (section 3.3 of the paper).

        The score of one strand is maximised, also where predictions average both: an average over strands
        has no reason to put its letters on one of them.

        Args:
          length: L; None: that of the training sequences.
          restarts: random starts.
          seed: of the starts.
          settings: steps, learning rate, penalty, see `ClassOptimisationSettings`.

        Raises:
          InputError: a setting out of range, or a length that the model cannot read.
        """
        found = class_optimisation.optimise_class(
            batches.stack_one(self.params),
            self.score,
            seeds=np.array([seed]),
            length=length or self.length or 101,
            restarts=restarts,
            settings=settings,
        )
        best = int(found.best[0])
        return Optimum(
            self.title,
            found.matrix[0, best],
            found.raw[0, best],
            float(found.score[0, best]),
            float(found.objective[0, best]),
            found.objective[0],
        )

    def sufficient_motif(
        self,
        *,
        length: int | None = None,
        restarts: int = 4,
        seed: int = 0,
        settings: SufficientMotifSettings | None = None,
    ) -> SufficientLetters:
        """The letters of fewest bits whose sequences the model calls bound: a motif without any sequences.

        As in `class_optimise`, the score is that of one strand.

        Args:
          length: L; None: that of the training sequences.
          restarts: random starts.
          seed: of the starts.
          settings: the score that is asked for, steps, see `SufficientMotifSettings`.

        Raises:
          InputError: a setting out of range, or a length that the model cannot read.
        """
        found = sufficient_motif(
            batches.stack_one(self.params),
            self.score,
            seeds=np.array([seed]),
            length=length or self.length or 101,
            restarts=restarts,
            settings=settings,
        )
        best = int(found.best[0])
        return SufficientLetters(
            self.title,
            found.matrix[0, best],
            float(found.score[0, best]),
            float(found.bits[0, best]),
            float(found.without[0]),
            float(found.target[0]),
        )

    def score_tokens(self, tokens: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Scores S, float32 (N,), of tokens uint8 (N, L); `lengths` int (N,) where they differ."""
        if isinstance(self.score, DeepBind):
            return score_models([self.score], [self.params], tokens, lengths)[0]
        if not hasattr(self.score, 'init'):  # not one of an architecture, which has programs of its own
            return self._score_by_function(tokens, lengths)
        pool = Pool(tokens, np.zeros(len(tokens), np.int32), None if lengths is None else lengths.astype(np.int32))
        if not len(tokens):
            return np.zeros(0, np.float32)
        batch = self._batch_size(tokens, n_devices=1)
        rows = in_batches(np.arange(len(tokens), dtype=np.int32), batch)
        score = _compiled_score(self.score, self.average_strands, batch, on_accelerator())
        pieces = [np.asarray(score(_part(pool, batch), self.params)) for batch in rows]
        return np.concatenate(pieces)[: len(tokens)]

    def _batch_size(self, tokens: np.ndarray, n_devices: int | None = None) -> int:
        rows = 2 if self.average_strands else 1
        shape = (1, *tokens.shape)
        return default_sizes('score', self.score, self.params, shape, rows=rows, n_devices=n_devices).batch_size

    def _score_by_function(self, tokens: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        if not len(tokens):
            return np.zeros(0, np.float32)
        stacked = batches.stack_one(self.params)
        check_score(self.score, self.params, tokens[0] if lengths is None else tokens[0, : lengths[0]], gradient=False)
        checked, sizes = batches.checked_sequences(self.score, tokens, lengths, 1)
        batch = self._batch_size(tokens)

        def run(tokens: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
            static = (self.score, self.average_strands)
            return batches.run(of_tokens, static, stacked, (tokens, lengths), batch_size=batch)

        if sizes is None or takes_lengths(self.score):
            return run(checked, sizes)[0]
        return batches.in_groups(run, checked, sizes)[0]

    def encode(self, sequences: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None]:
        """Tokens (N, L) padded with N, and the lengths (N,), None when they are all the same.

        Raises:
          InputError: as `predict`.
        """
        shortest = shortest_of(self.score)
        encoded = []
        for number, sequence in enumerate(_strings(sequences), start=1):
            try:
                encoded.append(dna.encode(sequence))
            except InputError as error:
                raise InputError(f'sequence {number}: {error}') from error
            if len(encoded[-1]) < shortest:
                raise InputError(
                    f'sequence {number}: has {len(encoded[-1])} letters, {self.spec} needs at least {shortest}'
                )
        lengths = np.array([len(row) for row in encoded], np.int32)
        width = int(lengths.max(initial=shortest))
        tokens = np.full((len(encoded), width), dna.N, np.uint8)
        for row, letters in zip(tokens, encoded, strict=True):
            row[: len(letters)] = letters
        return tokens, None if (lengths == width).all() else lengths

    def _encode_some(self, sequences: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None]:
        tokens, lengths = self.encode(sequences)
        if not len(tokens):
            raise InputError('no sequences were given, expected at least one')
        return tokens, lengths

    def _prediction(self, sequences: tuple[str, ...], score: np.ndarray) -> Prediction:
        return Prediction(
            sequences,
            score,
            self.probability(score).astype(np.float32),
            self.temperature,
            self.shift + self.prior_shift,
        )


def wrap(
    score: Any, params: Any, *, name: str = '', task: str = '', average_strands: bool = False, length: int = 0
) -> Model:
    """A model of one's own, ready to predict and explain: any JAX function of parameters and letters.

    Args:
      score: of (params, x, lengths=None), x float (B, L, 4); returns (B,), the log odds that the TF binds or any other
        number to be explained. See `explain.score` for what it may leave out.
      params: any pytree of arrays.
      name: what results call it; '': the function's own name.
      task: the TF, for titles.
      average_strands: `predict` and the maps are means over both strands.
      length: letters that `class_optimise` takes unless told otherwise.

    Returns:
      A `Model`; `wrap(score, params).saliency(['ACGT...']).plot()`.

    Raises:
      InputError: parameters that are no pytree of arrays. What is wrong with the score is told when it first runs.
    """
    check_params(params)
    return Model(task, name or name_of(score), 0, params, average_strands, length, score)


def _strings(sequences: Iterable[str]) -> tuple[str, ...]:
    """The sequences as plain strings; NumPy's are strings, too.

    Raises:
      InputError: they are no list, or one of them is no string; names it.
    """
    if isinstance(sequences, str | bytes | bytearray | Mapping):
        kind = 'one string' if isinstance(sequences, str) else type(sequences).__name__
        raise InputError(f'a list of sequences is needed, not {kind}')
    try:
        listed = list(sequences)
    except TypeError:
        raise InputError(f'a list of sequences is needed, not {brief(sequences)}') from None
    for number, sequence in enumerate(listed, start=1):
        if not isinstance(sequence, str):
            raise InputError(
                f'sequence {number}: is {brief(sequence)} ({type(sequence).__name__}), expected a string of DNA letters'
            )
    return tuple(str(sequence) for sequence in listed)


def _cut(rows: np.ndarray, lengths: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Rows (N, L, ...) without what lies behind each sequence's end."""
    return tuple(row[:length] for row, length in zip(rows, lengths, strict=True))


def _part(pool: Pool, batch: np.ndarray) -> Pool:
    """The rows of one batch; places without a row repeat row 0, so that all batches have one shape."""
    at = np.maximum(batch, 0)
    return Pool(pool.tokens[at], pool.labels[at], None if pool.lengths is None else pool.lengths[at])


@functools.lru_cache(maxsize=64)
def _compiled_score(architecture: Any, average_strands: bool, batch_size: int, hoist: bool):
    rows = np.arange(batch_size, dtype=np.int32)[None]

    def score(pool, params):
        return stack.score_all(pool, params, rows, spec=architecture, average_strands=average_strands, hoist=hoist)[0]

    return jax.jit(score)
