"""A page of all of DeepBind's published models: class optima, detector motifs, JASPAR matches (edge)."""

import base64
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from demo_jax.data.deepbind_models import Entry
from demo_jax.errors import InputError
from demo_jax.evaluation.published import k562_tasks
from demo_jax.evaluation.table import Table
from demo_jax.explain.class_optimisation import ClassOptimisationSettings, optimise_class
from demo_jax.io import files
from demo_jax.motifs import extract, jaspar, piles
from demo_jax.motifs.column_scores import Targets
from demo_jax.motifs.detectors import detector_motifs
from demo_jax.motifs.matching import Significance, own_matrices
from demo_jax.motifs.tomtom import match_motifs, prepare_targets
from demo_jax.nn.deepbind import Shape
from demo_jax.predict.deepbind import Library
from demo_jax.predict.model import Model
from demo_jax.report import page
from demo_jax.report.payload import criterion

MODEL_COLUMNS = (
    'id',
    'protein',
    'kind',
    'species',
    'family',
    'experiment',
    'cell',
    'detector_length',
    'hidden_units',
    'averages',
    'own_matrices',
    'optimum',
    'optimum_score',
    'optimum_bits',
    'optimum_own',
    'optimum_own_q',
    'optimum_best',
    'optimum_best_q',
    'optimum_chance',
    'detector',
    'detector_effect',
    'detector_own',
    'detector_own_q',
    'detector_best',
    'detector_best_q',
    'detector_chance',
)
COUNT_COLUMNS = ('models', 'motif', 'matches', 'out_of', 'chance')
#: Motifs of so many detectors are shown, those with the largest effect.
_DETECTORS = 3


@dataclasses.dataclass(frozen=True)
class LibrarySettings:
    """What is made of the published models.

    Attributes:
      restarts: random starts of a class optimum.
      steps: of its search.
      jaspar: release that motifs are matched with, e.g. 'JASPAR2016' (the paper's); '' = the newest that pyjaspar has.
      tax_group: of its matrices; a protein's own are those with its symbol, in any case of letters.
      measure, threshold: what counts as a match, see `matching.Significance`.
      chance_draws: for the chance level, every motif is matched so often with its columns in another order.
    """

    restarts: int = 2
    steps: int = 500
    jaspar: str = ''
    tax_group: str = 'vertebrates'
    measure: str = 'q_value'
    threshold: float = 0.5
    chance_draws: int = 4

    def __post_init__(self) -> None:
        if self.restarts < 1:
            raise InputError(f'restarts is {self.restarts}, expected 1 or more')
        if self.chance_draws < 1:
            raise InputError(f'chance_draws is {self.chance_draws}, expected 1 or more')
        _search(self)
        Significance(self.measure, self.threshold)


def _search(settings: LibrarySettings) -> ClassOptimisationSettings:
    """A fifth of the usual rate: larger steps leap over the threshold of a detector, and it never responds again."""
    return ClassOptimisationSettings(steps=settings.steps, learning_rate=0.01)


class Optimum(NamedTuple):
    """The class optimum of a model: probabilities float (L, 4) of its best start, and its score."""

    matrix: np.ndarray
    score: float


def class_optima(
    models: Sequence[Model], settings: LibrarySettings, *, progress: Callable[[int], object] = lambda n: None
) -> list[Optimum]:
    """Class optima of published models, of two detector lengths each: one compiled program per shape.

    The search does not start from noise alone, as the paper's does: to noise most detectors do not respond, so that
    there is no gradient. Each start has the best word of one detector in its middle, of those with the largest effects.

    Args:
      models: that score whole sequences.
      settings: `restarts` and `steps` are read.
      progress: called with the number of models done since the last call.
    """
    found: dict[int, Optimum] = {}
    shapes: dict[Shape, list[int]] = {}
    for place, model in enumerate(models):
        shapes.setdefault(model.score.shape, []).append(place)
    for shape, places in shapes.items():
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *(models[place].params for place in places))
        starts = np.stack([_starts(models[place].params, shape, settings.restarts) for place in places])
        best = optimise_class(
            stacked,
            models[places[0]].score,
            seeds=np.zeros(len(places), np.int64),
            length=2 * shape.detector_len,
            restarts=settings.restarts,
            settings=_search(settings),
            starts=starts,
        )
        for row, place in enumerate(places):
            at = int(best.best[row])
            found[place] = Optimum(best.matrix[row, at].astype(np.float64), float(best.score[row, at]))
        progress(len(places))
    return [found[place] for place in range(len(models))]


def _starts(params: Mapping[str, np.ndarray], shape: Shape, restarts: int) -> np.ndarray:
    """float32 (R, 2 d, 4): weak noise, and the best word of a detector in the middle."""
    motifs, d = detector_motifs(params, shape), shape.detector_len
    starts = np.random.default_rng(0).uniform(0, 0.05, (restarts, 2 * d, 4)).astype(np.float32)
    for start, detector in zip(starts, motifs.order[:restarts], strict=False):
        start[d // 2 : d // 2 + d] += np.eye(4, dtype=np.float32)[motifs.probabilities[detector].argmax(axis=1)]
    return starts


class _Matched(NamedTuple):
    """A motif against JASPAR.

    Attributes:
      best, best_q: the matrix of the lowest q-value.
      own, own_q: of the protein's own; '' and NaN where it has none.
      is_own: whether one of the own is a match.
      chance: share of draws with columns in another order that match an own; NaN without own.
    """

    best: str
    best_q: float
    own: str
    own_q: float
    is_own: bool
    chance: float


class _Matcher:
    """Matches motifs with a release of JASPAR."""

    def __init__(self, settings: LibrarySettings) -> None:
        self._settings, self._significance = settings, Significance(settings.measure, settings.threshold)
        self.release = settings.jaspar or jaspar.releases()[0]
        self.matrices = jaspar.load_matrices(self.release, tax_group=settings.tax_group)
        self._targets: Targets = prepare_targets({name: one.probabilities for name, one in self.matrices.items()})

    def own(self, entry: Entry) -> tuple[str, ...]:
        """Ids of the matrices of a model's protein."""
        return own_matrices(entry.protein, self.matrices)

    def match(self, motif: np.ndarray, own: Sequence[str], rng: np.random.Generator) -> _Matched:
        """Match a motif (w, 4), and with own matrices also its columns in other orders."""
        draws = [rng.permutation(motif, axis=0) for _ in range(self._settings.chance_draws)] if own else []
        found = match_motifs([motif, *draws], self._targets)
        value, q_value = getattr(found, self._significance.measure), found.q_value
        best = int(value[0].argmin())
        ids = list(self.matrices)
        if not own:
            return _Matched(ids[best], float(q_value[0, best]), '', np.nan, False, np.nan)
        columns = [ids.index(name) for name in own]
        nearest = columns[int(value[0, columns].argmin())]
        significant = (value[:, columns] <= self._significance.threshold).any(axis=1)
        return _Matched(
            ids[best],
            float(q_value[0, best]),
            ids[nearest],
            float(q_value[0, nearest]),
            bool(significant[0]),
            float(significant[1:].mean()),
        )


def describe_library(
    library: Library, words: Sequence[str], workdir: pathlib.Path, settings: LibrarySettings, *, progress: bool = True
) -> tuple[pathlib.Path, dict[str, Table]]:
    """Class optima, detector motifs, their matches, tables and the page of published models; nothing is trained.

    Writes `WORKDIR/tables/models.tsv` (a row per model), `WORKDIR/tables/table4.tsv` (how many match their own TF,
    beside chance) and `WORKDIR/dashboard/index.html`.

    Args:
      library: of models that score whole sequences.
      words: which of them, see `Index.select`.
      workdir: where to write.
      settings: see `LibrarySettings`.
      progress: show bars.

    Returns:
      The page to open, and the tables by name.

    Raises:
      InputError: a word describes no model, parameters cannot be read, or no such release of JASPAR.
    """
    matcher = _Matcher(settings)
    models = library.select(*words)
    with tqdm(total=len(models), desc='class optima', unit='model', disable=not progress) as bar:
        optima = class_optima(models, settings, progress=bar.update)
    entries = [library.entry(model.spec) for model in models]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        described = pool.map(functools.partial(_describe, matcher), entries, models, optima)
        found = list(tqdm(described, 'motifs', len(models), unit='model', disable=not progress))
    rows, shown = [row for row, _ in found], [of_page for _, of_page in found]
    counts = _counts(rows)
    tables = {
        'models': Table(rows, MODEL_COLUMNS, 'models', 'Published models'),
        'table4': Table(
            counts, COUNT_COLUMNS, 'table4', f"Models whose motif matches the TF's own matrix ({matcher.release})"
        ),
    }
    for name, table in tables.items():
        files.write_tsv(workdir / 'tables' / f'{name}.tsv', table.rows, table.columns)
    payload = {
        'title': 'DeepBind’s published models',
        'release': matcher.release,
        'models': shown,
        'counts': counts,
        'criterion': criterion(dataclasses.asdict(settings)),
    }
    return page.write_library(workdir / 'dashboard', payload), tables


def _describe(matcher: _Matcher, entry: Entry, model: Model, optimum: Optimum) -> tuple[dict[str, Any], dict[str, Any]]:
    """A model's row of models.tsv, and what the page shows of it."""
    shape = model.score.shape
    rng = np.random.default_rng([int(part) for part in entry.id.lstrip('D').split('.') if part.isdigit()])
    own = () if entry.is_rna else matcher.own(entry)
    best = extract.best_submatrix(optimum.matrix)
    of_optimum = matcher.match(best.probabilities, own, rng)
    motifs = detector_motifs(model.params, shape)
    order = motifs.order[:_DETECTORS]
    logos = [motifs.probabilities[n][piles.informative(motifs.probabilities[n])] for n in order]
    of_detector = matcher.match(extract.best_submatrix(logos[0]).probabilities, own, rng) if logos else None
    row = {
        'id': entry.id,
        'protein': entry.protein,
        'kind': entry.kind,
        'species': entry.species,
        'family': entry.family,
        'experiment': entry.experiment,
        'cell': entry.cell,
        'detector_length': shape.detector_len,
        'hidden_units': shape.n_hidden,
        'averages': int(shape.averages),
        'own_matrices': ';'.join(own),
        'optimum': extract.consensus(best.probabilities),
        'optimum_score': optimum.score,
        'optimum_bits': piles.best_bits(best.probabilities),
        **_match_columns('optimum', of_optimum, own),
    }
    if of_detector is not None:
        row |= {
            'detector': extract.consensus(logos[0]),
            'detector_effect': float(motifs.effect[order[0]]),
            **_match_columns('detector', of_detector, own),
        }
    wide = optimum.matrix[piles.informative(optimum.matrix)]
    of_page = {
        'id': entry.id,
        'protein': entry.protein,
        'kind': entry.kind,
        'species': entry.species,
        'family': entry.family,
        'experiment': entry.experiment,
        'cell': entry.cell,
        'optimum': _packed(wide),
        'score': float(f'{optimum.score:.4g}'),
        'detectors': [_packed(logo) for logo in logos],
        'effects': [float(f'{motifs.effect[n]:.3g}') for n in order],
        'matches': [_match_shown(found, matcher, own) for found in (of_optimum, of_detector) if found is not None],
    }
    return row, of_page


def _match_columns(name: str, found: _Matched, own: Sequence[str]) -> dict[str, Any]:
    """The columns of a motif's matches in models.tsv."""
    columns: dict[str, Any] = {f'{name}_best': found.best, f'{name}_best_q': found.best_q}
    if own:
        columns |= {f'{name}_own': int(found.is_own), f'{name}_own_q': found.own_q, f'{name}_chance': found.chance}
    return columns


def _match_shown(found: _Matched, matcher: _Matcher, own: Sequence[str]) -> dict[str, Any]:
    return {
        'best': matcher.matrices[found.best].label,
        'q': float(f'{found.best_q:.2g}'),
        'is_own': found.is_own,
        'own': matcher.matrices[found.own].label if own else None,
        'own_q': float(f'{found.own_q:.2g}') if own else None,
    }


def _packed(matrix: np.ndarray) -> str:
    """Probabilities (w, 4) as base64 of bytes, 255 = 1."""
    return base64.b64encode(np.rint(255 * matrix).astype(np.uint8).tobytes()).decode('ascii')


def _counts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How many models' motifs match their own TF, by group; only models whose TF has a matrix count."""
    paper = {task.deepbind_id for task in k562_tasks()}
    groups: dict[str, list[Mapping[str, Any]]] = {"the paper's K562 tasks": [row for row in rows if row['id'] in paper]}
    for row in rows:
        groups.setdefault(row['experiment'], []).append(row)
    groups['all'] = list(rows)
    counts = []
    for group, members in groups.items():
        for motif in ('optimum', 'detector'):
            known = [row for row in members if f'{motif}_own' in row]
            if known:
                counts.append(
                    {
                        'models': group,
                        'motif': {'optimum': 'class optimisation', 'detector': 'best detector'}[motif],
                        'matches': sum(row[f'{motif}_own'] for row in known),
                        'out_of': len(known),
                        'chance': float(sum(row[f'{motif}_chance'] for row in known)),
                    }
                )
    return counts
