"""What is kept of an explained model: one record per piece, from which plans, files, tables and pages derive (pure).

A *piece* is a set of arrays that the stage `explain` makes of one model and its task's sequences, and keeps.
A *track* is what one piece says of each position, and the window that it finds in each sequence: what motifs,
truth tables and pages are made of. Every attribution is a piece and a track (or a second track of another's piece).
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from demo_jax import dna
from demo_jax.errors import InputError, brief
from demo_jax.explain.activations import (
    StrongestActivation,
    filter_motifs,
    influential_activations,
    strongest_activations,
)
from demo_jax.explain.attribution import ATTRIBUTIONS, Attribution, attribute_models
from demo_jax.explain.class_optimisation import ClassOptimisationSettings, optimise_class
from demo_jax.explain.sufficient_motif import SufficientMotifSettings, best_start, motif_of, sufficient_motif
from demo_jax.explain.temporal import DIRECTIONS, TRUNCATIONS, temporal_scores_models
from demo_jax.motifs import extract
from demo_jax.motifs.seqlets import signed_at
from demo_jax.nn.architecture import AnyArchitecture
from demo_jax.nn.layers import Convolution
from demo_jax.nn.models import ModelSpec

#: The arrays of pieces of first-layer responses, with their axes.
_OF_ACTIVATIONS: Mapping[str, str] = {'start': 'N', 'filter': 'N', 'strength': 'N', 'width': ''}

CLASS_OPTIMISATION = 'class_optimisation'
SUFFICIENT_MOTIF = 'sufficient_motif'

Arrays = Mapping[str, np.ndarray]
Options = Mapping[str, Any]


class Subject(NamedTuple):
    """A model and the sequences that it is explained on.

    Attributes:
      params: its parameters.
      architecture: what they belong to, a `ModelSpec` or an `Architecture`.
      tokens: uint8 (N, L).
      lengths: int (N,), or None where all sequences fill their rows.
      both_strands: attributions are averages over both strands.
    """

    params: Any
    architecture: Any
    tokens: np.ndarray
    lengths: np.ndarray | None
    both_strands: bool


class Positions(NamedTuple):
    """What a track says of N sequences.

    Attributes:
      values: float (N, L), how much each position matters.
      windows: the window of each sequence.
    """

    values: np.ndarray
    windows: extract.Windows


class Track(NamedTuple):
    """A way to read a piece, position by position.

    Attributes:
      name: what tables and files call it.
      label: what pages call it.
      read: of (arrays of the piece, tokens (N, L), lengths (N,)).
      shown: labels of the page's track and of its column of numbers; empty where the page draws it otherwise.
    """

    name: str
    label: str
    read: Callable[[Arrays, np.ndarray, np.ndarray], Positions]
    shown: tuple[str, str] | tuple[()] = ()


class Search(NamedTuple):
    """How a piece is found that is of a model alone, of no sequences: by steps from random starts.

    Attributes:
      label: what pages call it.
      run: of (parameters with a leading axis M, architecture, seeds (M,), letters L, options by name, progress). It
        returns an object that holds the piece's arrays with a leading axis M. Progress takes the number of steps made
        and a line of text.
      motif: the motif (w, 4) in the piece's arrays.
    """

    label: str
    run: Callable[[Any, Any, np.ndarray, int, Options, Callable[[int, str], object]], Any]
    motif: Callable[[Arrays], np.ndarray]


class Piece(NamedTuple):
    """What is kept of an explained model.

    Attributes:
      name: what configs and files call it.
      arrays: the axes of its arrays, by name: N sequences, L letters of the longest, K references, R restarts, F
        first-layer filters of W letters, 4 the alphabet. Equal letters are equal lengths within a piece.
      make: of (subject, options by name); None where there is a `search` instead.
      many: of (subjects of one architecture, options by name): the same for each of them, in one program; None where
        one model is made after the other.
      options: the settings it depends on, and their defaults.
      check: raises InputError for options that are out of range.
      applies: whether it makes sense for an architecture.
      cost: operations in gradients of all sequences, of (options, letters L).
      of: 'sequences' (all that are explained), 'positives', or 'model' (none).
      averages: it is an average over strands where predictions are.
      together: of several models that answer together it is the mean, or what is searched for their mean score; other
        pieces say something of filters, which are a model's own, and are of the best one alone.
      tracks: what it says of positions.
      search: how it is found of many models at once; of a piece of 'model' alone.
    """

    name: str
    arrays: Mapping[str, str]
    make: Callable[[Subject, Options], dict[str, np.ndarray]] | None
    options: Options = MappingProxyType({})
    check: Callable[[Options], object] = lambda options: None
    applies: Callable[[AnyArchitecture], bool] = lambda architecture: True
    cost: Callable[[Options, int], float] = lambda options, length: 1.0
    of: str = 'sequences'
    averages: bool = False
    together: bool = False
    tracks: tuple[Track, ...] = ()
    many: Callable[[Sequence[Subject], Options], list[dict[str, np.ndarray]]] | None = None
    search: Search | None = None


def stacked(subjects: Sequence[Subject]) -> Subject:
    """Several models of one architecture as one: all arrays have a leading axis M.

    A model with fewer sequences than another repeats its last, and shorter sequences are padded with N: `own_part`
    takes both away again.
    """
    n, length = (max(subject.tokens.shape[axis] for subject in subjects) for axis in (0, 1))
    tokens = np.full((len(subjects), n, length), dna.N, np.uint8)
    lengths = np.empty((len(subjects), n), np.int32)
    for place, subject in enumerate(subjects):
        own, width = subject.tokens.shape
        rows = np.minimum(np.arange(n), own - 1)
        tokens[place, :, :width] = subject.tokens[rows]
        lengths[place] = width if subject.lengths is None else subject.lengths[rows]
    first = subjects[0]
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *(subject.params for subject in subjects))
    same = None if (lengths == length).all() else lengths
    return Subject(params, first.architecture, tokens, same, first.both_strands)


def own_part(array: np.ndarray, axes: str, subject: Subject) -> np.ndarray:
    """One model's array, whose axes are named as in `Piece.arrays`, with its own sequences N and letters L alone."""
    sizes = dict(zip('NL', subject.tokens.shape, strict=True))
    return array[tuple(slice(sizes.get(axis)) for axis in axes)]


def stored_maps(name: str, arrays: Arrays, tokens: np.ndarray) -> Attribution:
    """The stored maps of an attribution, for tokens (N, L)."""
    signed = arrays.get('signed')
    if signed is None:
        signed = signed_at(arrays['hypothetical'], tokens)
    return Attribution(name, arrays['score'], signed, arrays['hypothetical'])


def _of_method(name: str) -> Track:
    method = ATTRIBUTIONS[name]

    def read(arrays: Arrays, tokens: np.ndarray, lengths: np.ndarray) -> Positions:
        values = stored_maps(name, arrays, tokens).values
        return Positions(values, extract.best_windows(values, lengths))

    return Track(name, method.label, read, method.signed)


def _attribution(name: str) -> Piece:
    method = ATTRIBUTIONS[name]

    def many(subjects: Sequence[Subject], options: Options) -> list[dict[str, np.ndarray]]:
        settings = {option.argument: options[key] for key, option in method.options.items()}
        all_of = stacked(subjects)
        found = attribute_models(
            name,
            all_of.params,
            all_of.architecture,
            all_of.tokens,
            lengths=all_of.lengths,
            both_strands=all_of.both_strands,
            **settings,
        )
        return [
            {array: own_part(getattr(found, array)[place], axes, subject) for array, axes in method.keeps.items()}
            for place, subject in enumerate(subjects)
        ]

    def make(subject: Subject, options: Options) -> dict[str, np.ndarray]:
        return many([subject], options)[0]

    def check(options: Options) -> None:
        for key, option in method.options.items():
            if options[key] < option.least:
                raise InputError(f'explain: {key} is {brief(options[key])}, expected {option.least} or more')

    others = (other.name for other in ATTRIBUTIONS.values() if other.reads == name)
    return Piece(
        name,
        method.keeps,
        make,
        {key: option.default for key, option in method.options.items()},
        check,
        cost=method.cost,
        averages=True,
        together=True,
        tracks=tuple(map(_of_method, (name, *others))),
        many=many,
    )


def _temporal_of_many(subjects: Sequence[Subject], options: Options) -> list[dict[str, np.ndarray]]:
    all_of = stacked(subjects)
    found = {
        direction: temporal_scores_models(
            all_of.params,
            all_of.architecture,
            all_of.tokens,
            lengths=all_of.lengths,
            truncate=options['truncate'],
            direction=direction,
        )
        for direction in DIRECTIONS
    }
    return [
        {direction: own_part(scores[place], 'NL', subject) for direction, scores in found.items()}
        for place, subject in enumerate(subjects)
    ]


def _temporal(subject: Subject, options: Options) -> dict[str, np.ndarray]:
    return _temporal_of_many([subject], options)[0]


def _check_truncate(options: Options) -> None:
    if options['truncate'] not in TRUNCATIONS:
        raise InputError(f'explain: truncate is {brief(options["truncate"])}, expected one of {", ".join(TRUNCATIONS)}')


def _rises(name: str, label: str, direction: str) -> Track:
    """How much each base raised a temporal score; 0 where no score is known."""
    reverse = direction == 'reverse'

    def read(arrays: Arrays, tokens: np.ndarray, lengths: np.ndarray) -> Positions:
        curve = arrays[direction][:, ::-1] if reverse else arrays[direction]
        rise = np.diff(curve, axis=1, prepend=np.nan)
        rise = np.where(np.isnan(rise), 0, rise)
        windows = extract.steepest_windows(arrays[direction], lengths, reverse=reverse)
        return Positions(rise[:, ::-1] if reverse else rise, windows)

    return Track(name, label, read)


def _activations(find: Callable[..., StrongestActivation]) -> Callable[[Subject, Options], dict[str, np.ndarray]]:
    def make(subject: Subject, options: Options) -> dict[str, np.ndarray]:
        found = find(subject.params, subject.architecture, subject.tokens, lengths=subject.lengths)
        return {name: getattr(found, name) for name in _OF_ACTIVATIONS}

    return make


def _under_filter(arrays: Arrays, tokens: np.ndarray, lengths: np.ndarray) -> Positions:
    start, width = arrays['start'], int(arrays['width'])
    position = np.arange(tokens.shape[1]) - start[:, None]
    values = ((position >= 0) & (position < width)).astype(np.float32)
    return Positions(values, extract.activation_windows(start, width, lengths, score=arrays['strength']))


def _filters(subject: Subject, options: Options) -> dict[str, np.ndarray]:
    found = filter_motifs(subject.params, subject.architecture, subject.tokens, lengths=subject.lengths)
    return {name: getattr(found, name) for name in ('counts', 'n_windows', 'maximum')}


def optimisation_settings(options: Options) -> ClassOptimisationSettings:
    """The settings of class optimisation.

    Raises:
      InputError: one is out of range.
    """
    return ClassOptimisationSettings(
        steps=options['optimisation_steps'], learning_rate=options['optimisation_rate'], l2=options['optimisation_l2']
    )


def _check_optimisation(options: Options) -> None:
    if options['restarts'] < 1:
        raise InputError(f'explain: restarts is {options["restarts"]}, expected 1 or more')
    optimisation_settings(options)


def _optimise(params, architecture, seeds, length, options, progress) -> Any:
    def show(made: int, objective: np.ndarray) -> None:
        best, steps = float(objective.max(axis=1).mean()), options['optimisation_steps']
        progress(made, f'class optimisation: {architecture.name}, step {made}/{steps}, mean objective {best:.2f}')

    return optimise_class(
        params,
        architecture,
        seeds=seeds,
        length=length,
        restarts=options['restarts'],
        settings=optimisation_settings(options),
        progress=show,
    )


def _nine_columns(arrays: Arrays) -> np.ndarray:
    """The most informative nine columns of the best start's matrix, (9, 4)."""
    best = arrays['matrix'][int(arrays['objective'].argmax())].astype(np.float64)
    return extract.best_submatrix(best / best.sum(axis=1, keepdims=True)).probabilities


def sufficient_settings(options: Options) -> SufficientMotifSettings:
    """The settings of sufficient motifs.

    Raises:
      InputError: one is out of range.
    """
    return SufficientMotifSettings(target=options['sufficient_score'], steps=options['sufficient_steps'])


def _suffice(params, architecture, seeds, length, options, progress) -> Any:
    def show(made: int, score: np.ndarray) -> None:
        best, steps = float(score.max(axis=1).mean()), options['sufficient_steps']
        progress(made, f'sufficient motifs: {architecture.name}, step {made}/{steps}, mean score {best:.2f}')

    return sufficient_motif(
        params,
        architecture,
        seeds=seeds,
        length=length,
        restarts=options['sufficient_starts'],
        settings=sufficient_settings(options),
        progress=show,
    )


def best_sufficient(arrays: Arrays) -> int:
    """The best start of the piece's arrays, see `sufficient_motif.best_start`."""
    return best_start(arrays['score'], arrays['bits'], float(arrays['target']))


def _check_sufficient(options: Options) -> None:
    if options['sufficient_starts'] < 1:
        raise InputError(f'explain: sufficient_starts is {options["sufficient_starts"]}, expected 1 or more')
    sufficient_settings(options)


def _has_convolutions(architecture: AnyArchitecture) -> bool:
    return isinstance(architecture, ModelSpec) and any(isinstance(layer, Convolution) for layer in architecture.layers)


#: Every piece, by name. To add an explanation that is no attribution, add its record.
PIECES: Mapping[str, Piece] = {
    piece.name: piece
    for piece in (
        *(_attribution(method.name) for method in ATTRIBUTIONS.values() if not method.reads),
        Piece(
            'temporal',
            {'forward': 'NL', 'reverse': 'NL'},
            _temporal,
            {'truncate': 'input'},
            _check_truncate,
            # Of any score, but only of the recurrent ones of this package at a reasonable price.
            applies=lambda architecture: isinstance(architecture, ModelSpec) and bool(architecture.lstm_layers),
            cost=lambda options, length: length / 12,
            tracks=(
                _rises('temporal', 'Temporal, forward', 'forward'),
                _rises('temporal_reverse', 'Temporal, backward', 'reverse'),
            ),
            many=_temporal_of_many,
            together=True,
        ),
        Piece(
            'activations',
            _OF_ACTIVATIONS,
            _activations(strongest_activations),
            applies=_has_convolutions,
            tracks=(Track('activations', 'Convolution activations', _under_filter),),
        ),
        Piece(
            'influential_activations',
            _OF_ACTIVATIONS,
            _activations(influential_activations),
            applies=_has_convolutions,
            tracks=(Track('influential_activations', 'Influential activations', _under_filter),),
        ),
        Piece(
            'filters',
            {'counts': 'FW4', 'n_windows': 'F', 'maximum': 'F'},
            _filters,
            applies=_has_convolutions,
            of='positives',
        ),
        Piece(
            CLASS_OPTIMISATION,
            {'matrix': 'RL4', 'raw': 'RL4', 'score': 'R', 'objective': 'R'},
            None,
            {'restarts': 4, 'optimisation_steps': 1000, 'optimisation_rate': 0.05, 'optimisation_l2': 0.009},
            _check_optimisation,
            cost=lambda options, length: options['optimisation_steps'] * options['restarts'] / 100,
            of='model',
            together=True,
            search=Search('Class optimisation', _optimise, _nine_columns),
        ),
        Piece(
            SUFFICIENT_MOTIF,
            {'matrix': 'RL4', 'score': 'R', 'bits': 'R', 'without': '', 'target': ''},
            None,
            {'sufficient_starts': 4, 'sufficient_steps': 400, 'sufficient_score': 3.0},
            _check_sufficient,
            cost=lambda options, length: options['sufficient_steps'] * options['sufficient_starts'] * 4 / 100,
            of='model',
            together=True,
            search=Search(
                'Sufficient motif', _suffice, lambda arrays: motif_of(arrays['matrix'][best_sufficient(arrays)])
            ),
        ),
    )
}

#: Pieces that are searched for, of models alone.
SEARCHES: Mapping[str, Search] = {piece.name: piece.search for piece in PIECES.values() if piece.search is not None}

#: What pieces say of positions: the track and the name of its piece, by the track's name.
TRACKS: Mapping[str, tuple[Track, str]] = {
    track.name: (track, piece.name) for piece in PIECES.values() for track in piece.tracks
}


def options() -> dict[str, Any]:
    """The settings of all pieces, by name, with their defaults."""
    return {name: default for piece in PIECES.values() for name, default in piece.options.items()}


def labels(several: bool = False) -> dict[str, str]:
    """What pages call the methods that motifs come from: tracks, and what is searched for in models.

    Args:
      several: models of several seeds or folds answer together. What is of the best of them alone says so.
    """
    found = {name: (track.label, piece) for name, (track, piece) in TRACKS.items()} | {
        name: (search.label, name) for name, search in SEARCHES.items()
    }
    alone = ' (best seed alone)'
    return {name: label + alone * (several and not PIECES[piece].together) for name, (label, piece) in found.items()}
