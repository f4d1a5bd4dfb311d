"""What models and ensembles of them have in common: titles, probabilities, the named attributions, Figure 2 (edge)."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from demo_jax import dna
from demo_jax.errors import InputError, brief
from demo_jax.evaluation.calibration import prior_shift
from demo_jax.explain import class_optimisation
from demo_jax.explain.pieces import PIECES
from demo_jax.explain.score import probability
from demo_jax.explain.sufficient_motif import SufficientMotifSettings
from demo_jax.motifs import scan
from demo_jax.motifs.jaspar import load_matrices
from demo_jax.motifs.matching import own_matrices
from demo_jax.predict.results import Maps, Optimum, Prediction, SufficientLetters, Temporal


class Predictor(abc.ABC):
    """Something that scores and explains plain strings: a `Model`, or an `Ensemble` of models.

    Attributes:
      task: the TF data set it was trained on; '' = not known.
      spec: name of its architecture.
      seed: of its training; None where models of several seeds or folds answer together.
      average_strands: predictions are the mean score of both strands.
      length: letters of the longest sequence it was trained on; 0 = not known.
      temperature: what scores are divided by before they become probabilities; None: not calibrated.
      shift: what is added to the log odds then, fitted with the temperature.
      prior_shift: what is added besides, see `with_prior`.
    """

    task: str
    spec: str
    seed: int | None
    average_strands: bool
    length: int
    temperature: float | None
    shift: float
    prior_shift: float

    @property
    def title(self) -> str:
        """What figures and printed results call it, e.g. 'CTCF / medium_cnn'."""
        return f'{self.task} / {self.spec}' if self.task else self.spec

    def probability(self, scores: Any) -> np.ndarray:
        """The probabilities of binding, float64 (...,), that scores S (...,) of this model mean."""
        return probability(scores, self.temperature or 1.0, self.shift + self.prior_shift)

    def with_prior(self, prior: float, trained: float = 0.5) -> Self:
        """The same with probabilities for data of which another share is bound; scores stay as they are.

        Args:
          prior: the share, e.g. 0.001 of the windows of a genome.
          trained: that of the sequences it was trained and calibrated on.

        Raises:
          InputError: a share is not between 0 and 1.
        """
        try:
            shift = prior_shift(prior, trained)
        except ValueError as error:
            raise InputError(str(error)) from None
        return dataclasses.replace(self, prior_shift=shift)  # type: ignore[type-var]

    @property
    @abc.abstractmethod
    def score(self) -> Any:
        """What gives the scores: a function of (params, x), or the architecture, which is one."""

    @abc.abstractmethod
    def predict(self, sequences: Sequence[str]) -> Prediction:
        """Scores and probabilities of sequences."""

    @abc.abstractmethod
    def attribute(
        self, method: str, sequences: Sequence[str], *, both_strands: bool | None = None, **settings: Any
    ) -> Maps:
        """How much each letter matters to the score that `predict` gives."""

    @abc.abstractmethod
    def temporal(
        self, sequences: Sequence[str], *, both_strands: bool | None = None, truncate: str = 'input'
    ) -> Temporal:
        """The scores of every prefix and every suffix."""

    @abc.abstractmethod
    def class_optimise(
        self,
        *,
        length: int | None = None,
        restarts: int = 4,
        seed: int = 0,
        settings: class_optimisation.ClassOptimisationSettings | None = None,
    ) -> Optimum:
        """The input that is found most like a bound sequence."""

    @abc.abstractmethod
    def sufficient_motif(
        self,
        *,
        length: int | None = None,
        restarts: int = 4,
        seed: int = 0,
        settings: SufficientMotifSettings | None = None,
    ) -> SufficientLetters:
        """The letters of fewest bits that suffice for a score."""

    @abc.abstractmethod
    def score_tokens(self, tokens: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Scores S, float32 (N,), of tokens uint8 (N, L); `lengths` int (N,) where they differ."""

    def saliency(self, sequences: Sequence[str], *, both_strands: bool | None = None) -> Maps:
        """The paper's saliency map: the size of dS/dX at each letter; see `attribute`."""
        return self.attribute('saliency', sequences, both_strands=both_strands)

    def gradient_x_input(
        self, sequences: Sequence[str], *, both_strands: bool | None = None, centred: bool = False
    ) -> Maps:
        """The gradient dS/dX at each letter with its sign, `centred` over the letters if wanted; see `attribute`."""
        return self.attribute('gradient_x_input', sequences, both_strands=both_strands, centred=centred)

    def integrated_gradients(
        self, sequences: Sequence[str], *, both_strands: bool | None = None, baseline: str = 'uniform', steps: int = 32
    ) -> Maps:
        """Gradients averaged on the way from a baseline to the sequence; see `attribute`."""
        return self.attribute(
            'integrated_gradients', sequences, both_strands=both_strands, baseline=baseline, steps=steps
        )

    def deeplift(
        self,
        sequences: Sequence[str],
        *,
        both_strands: bool | None = None,
        references: Any = 'shuffled',
        n_references: int = 20,
        seed: int = 0,
    ) -> Maps:
        """The exact share of each letter in the score's change from references (DeepSHAP); see `attribute`."""
        return self.attribute(
            'deeplift',
            sequences,
            both_strands=both_strands,
            references=references,
            n_references=n_references,
            seed=seed,
        )

    def mutagenesis(self, sequences: Sequence[str], *, both_strands: bool | None = None) -> Maps:
        """The exact change of the score for every single-letter mutant; see `attribute`."""
        return self.attribute('mutagenesis', sequences, both_strands=both_strands)

    def figure(self, sequence: str, *, tf: str = '', release: str = '') -> Any:
        """The paper's Figure 2 for one sequence: known motifs and their hits, saliency, temporal scores, class optimum.

        Temporal scores are shown where the model has a fast way to them.

        Args:
          sequence: as one of those that `predict` takes.
          tf: its JASPAR matrices are shown, e.g. 'CTCF'; '' = none.
          release: of JASPAR; '' = the newest installed.

        Returns:
          A matplotlib Figure.

        Raises:
          InputError: as `predict`, a TF without a matrix, or no such release.
        """
        from demo_jax.report.figures_sequence import ModelView, SequenceView, Span, dashboard_figure

        maps = self.saliency([sequence])
        known: list[tuple[str, np.ndarray]] = []
        hits: list[Span] | None = None
        temporal = self.temporal([sequence]) if PIECES['temporal'].applies(self.score) else None
        view = ModelView(
            self.spec.rsplit(':', 1)[-1],
            float(maps.score[0]),
            maps.values[0],
            None if temporal is None else temporal.forward[0],
            None if temporal is None else temporal.reverse[0],
            self.class_optimise(length=len(sequence)).matrix,
            (self.temperature or 1.0, self.shift + self.prior_shift),
        )
        if tf:
            matrices = load_matrices(release or None)
            ids = own_matrices(tf, matrices)
            if not ids:
                raise InputError(f'JASPAR has no matrix of {brief(tf)} in {release or "its newest release"}')
            known, hits = [(matrices[m].label, matrices[m].probabilities) for m in ids], []
            for motif in ids:
                found = scan.known_hits(matrices[motif].probabilities, dna.encode(sequence)[None], threshold=1e-4)
                spans = [(int(start), int(strand)) for start, strand, *_ in found.of_row(0)]
                hits += [Span(at, at + found.width, matrices[motif].name, strand) for at, strand in spans]
        title = f'{self.title}, {len(sequence)} letters'
        letters = dna.decode(dna.encode(sequence))
        return dashboard_figure(SequenceView(title, letters, None, [view], known[:3], hits))
