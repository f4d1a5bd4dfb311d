"""Out of a run directory into the arrays that figures and the page show (edge: reads the disk).

Whatever a run does not hold is None or empty, with a line in `Collector.missing` that says which stage makes it.
"""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from demo_jax.data.corpus import ROLES
from demo_jax.errors import InputError, brief
from demo_jax.evaluation import calibration, choose
from demo_jax.evaluation.proteins import Protein
from demo_jax.evaluation.published import published_auroc
from demo_jax.evaluation.table import Table
from demo_jax.explain.attribution import ATTRIBUTIONS
from demo_jax.explain.pieces import CLASS_OPTIMISATION, SUFFICIENT_MOTIF, Arrays, best_sufficient, stored_maps
from demo_jax.explain.score import probability
from demo_jax.io import arrays, files
from demo_jax.motifs import formats, jaspar, own, scan
from demo_jax.runs import schema
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.explanations import Explanations
from demo_jax.training.jobs import Job

#: Attributions that are shown, the paper's first.
TRACKS = tuple(name for name, method in ATTRIBUTIONS.items() if not method.reads)
#: Pieces of the explanations that are shown.
PIECES = (*TRACKS, 'temporal', CLASS_OPTIMISATION, SUFFICIENT_MOTIF)
MEASURES = ('train_loss', 'valid_loss', 'valid_auroc')
#: What tells a job in auroc.tsv.
_JOB = ('task', 'spec', 'seed', 'learning_rate', 'dropout')


class Sufficient(NamedTuple):
    """The best start of the piece 'sufficient_motif', see `explain.sufficient_motif`.

    Attributes:
      matrix: float (L', 4), letter probabilities.
      score, bits, without, target: as of `SufficientMotif`.
    """

    matrix: np.ndarray
    score: float
    bits: float
    without: float
    target: float


@dataclasses.dataclass(frozen=True, eq=False)
class SpecData:
    """One explained model.

    Attributes:
      spec: its architecture.
      job: its index.
      score: float (N,), S of the explained sequences.
      scale: how they become probabilities; 1 and 0 where none is known.
      tracks: name (see `TRACKS`) -> float (N, L), signed contributions of the letters that are there.
      forward, reverse: float (N, L) temporal scores, or None.
      optimum: float (L', 4), the best class-optimised matrix, or None.
      sufficient: the letters of fewest bits that suffice, or None.
      motifs: method -> probabilities (w, 4).
      agree: method -> (windows that agree with its motif, windows it is made of); those without windows are left out.
      matches: rows of tomtom.tsv, best first.
      windows: rows of windows.tsv.
    """

    spec: str
    job: int
    score: np.ndarray
    tracks: dict[str, np.ndarray]
    forward: np.ndarray | None
    reverse: np.ndarray | None
    optimum: np.ndarray | None
    motifs: dict[str, np.ndarray]
    agree: dict[str, tuple[int, int]]
    matches: list[dict[str, str]]
    windows: list[dict[str, str]]
    scale: calibration.Scale = calibration.Scale()
    sufficient: Sufficient | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class TaskData:
    """All that is shown of a task.

    Attributes:
      task: its name.
      protein: its TF.
      rows: int64 (N,), corpus rows of the explained sequences.
      tokens: uint8 (N, L), padded with N. lengths, labels: (N,).
      specs: the explained models; empty where nothing is explained.
      own: JASPAR id -> matrix of the TF itself; None where the stage match has not run.
      hits: per own matrix, where it matches in the N sequences; None as `own`.
    """

    task: str
    protein: Protein
    rows: np.ndarray
    tokens: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    specs: list[SpecData]
    own: dict[str, jaspar.JasparMatrix] | None
    hits: dict[str, scan.Hits] | None


class Collector:
    """Reads a run directory, piece by piece.

    Attributes:
      run, corpus, jobs: of the run.
      kinds: what the tables of a run are like, without rows.
      missing: what the run does not hold yet, or what was guessed, one line each.
    """

    def __init__(self, run: RunDirectory, kinds: Sequence[Table]):
        self.kinds = tuple(kinds)
        self._known = {table.name: table.needed for table in self.kinds}
        run.facts()
        self.run, self.corpus, self.jobs = run, run.corpus(), run.jobs()
        self.missing: list[str] = []
        self._tables: dict[str, list[dict[str, str]]] = {}
        self._explanations = Explanations(run)
        try:
            self._explained = self._explanations.jobs()
        except InputError:
            self._explained = ()
            self.missing.append('Nothing is explained yet: no sequences to look at (run the stage explain).')
        self._own = schema.read_own(run.path / 'motifs' / 'own.json')
        if self._own is None:
            self.missing.append('Motifs are not matched with JASPAR yet (run the stage match).')
        else:
            self.missing += self._own.get('notes', [])

    @property
    def specs(self) -> tuple[str, ...]:
        """The run's architectures, in the order of the job table."""
        return tuple(dict.fromkeys(job.spec for job in self.jobs))

    @property
    def scored(self) -> tuple[str, ...]:
        """The same, and whatever else has a test AUROC, such as a baseline."""
        return tuple(dict.fromkeys([*self.specs, *(row['spec'] for row in self.table('auroc'))]))

    @property
    def real(self) -> bool:
        """Whether published figures may stand beside this run's: a simulated corpus only borrows the tasks' names."""
        return not self.run.is_simulated()

    @property
    def release(self) -> str | None:
        """The JASPAR release that motifs were matched with."""
        return None if self._own is None else self._own['release']

    def protein(self, task: str) -> Protein:
        """The TF of a task."""
        return own.protein_matched(self._own, self.corpus, task)

    @functools.cached_property
    def matrices(self) -> dict[str, jaspar.JasparMatrix]:
        """Every matrix of that release."""
        if self.release is None:
            return {}
        made_with = {key: value for key, value in self.match_settings.items() if key in ('tax_group', 'collection')}
        return jaspar.load_matrices(self.release, **made_with)

    @functools.cached_property
    def match_settings(self) -> dict[str, Any]:
        """The settings that motifs were matched with."""
        return schema.read_match_settings(self.run.path / 'motifs')

    @property
    def hit_p_value(self) -> float:
        """The largest p-value of JASPAR hits, as the stage match wrote them."""
        return self.match_settings.get('hit_p_value', scan.THRESHOLD)

    def table(self, name: str) -> list[dict[str, str]]:
        """The rows of tables/NAME.tsv, read once; none where there is no such table."""
        if name not in self._tables:
            path = self.run.tables / f'{name}.tsv'
            self._tables[name] = files.read_tsv(path, self._known.get(name, ())) if path.is_file() else []
        return self._tables[name]

    def rating(self, job: Job) -> dict[str, str] | None:
        """The row of auroc.tsv that is this job's; None where there is none."""
        names = (*_JOB, 'fold') if job.fold else _JOB
        wanted = {name: files.format_cell(getattr(job, name)) for name in names}
        return next((row for row in self.table('auroc') if wanted.items() <= row.items()), None)

    @functools.cached_property
    def auroc(self) -> dict[str, np.ndarray]:
        """Spec -> float (K,) test AUROC by task, as Table 2 counts it; NaN where there is none.

        Of a grid each seed's best model by validation, averaged over seeds.
        """
        scored = (row for row in self.table('auroc') if row.get('test_auroc'))
        best = choose.best_of_each(
            scored,
            lambda row: (row['spec'], row['task'], row['seed'], row.get('fold')),
            lambda row: number(row['valid_auroc']),
        )
        seeds: dict[tuple[str, str], list[float]] = {}
        for (spec, task, *_), row in best.items():
            seeds.setdefault((spec, task), []).append(number(row['test_auroc']))
        return {
            spec: np.array(
                [np.mean(seeds[spec, task]) if (spec, task) in seeds else np.nan for task in self.corpus.tasks]
            )
            for spec in self.scored
        }

    def published(self, column: str = 'deepbind') -> np.ndarray:
        """float (K,) published AUROC by task, NaN where none is known."""
        if not self.real:
            return np.full(self.corpus.n_tasks, np.nan)
        found = [published_auroc(task) for task in self.corpus.tasks]
        return np.array([np.nan if auroc is None else getattr(auroc, column) for auroc in found])

    @functools.cached_property
    def history(self) -> dict[int, list[dict[str, str]]]:
        """Job -> its epochs, as history.tsv holds them, the last attempt only."""
        path = self.run.path / 'history.tsv'
        by_job: dict[int, list[dict[str, str]]] = {}
        for row in _whole(path, ('job', 'attempt'), MEASURES):
            by_job.setdefault(int(row['job']), []).append(row)
        return {job: [row for row in rows if row['attempt'] == rows[-1]['attempt']] for job, rows in by_job.items()}

    def members(self, job: Job) -> tuple[int, ...]:
        """The jobs that a model's maps and scores are means over, itself among them."""
        return self._explanations.members(job.index) if job in self._explained else (job.index,)

    def scale(self, job: Job) -> calibration.Scale | None:
        """How a model's scores become probabilities; None where it is not calibrated."""
        return self._scales.get(self.members(job))

    @functools.cached_property
    def _scales(self) -> dict[tuple[int, ...], calibration.Scale]:
        return self.run.scales()

    def probabilities(self, task: str, *, calibrated: bool = True) -> Iterator[tuple[Job, np.ndarray, np.ndarray]]:
        """Of one model per spec of a task that is scored: the job, labels (N,) and probabilities (N,) of test rows.

        Args:
          task: a name.
          calibrated: by the model's scale, where it has one.
        """
        labels = np.asarray(self.corpus.labels[self.corpus.rows(task, 'test')])
        for job in self.shown_jobs(task):
            scores = self.predictions(job)
            if scores is not None and np.isfinite(scores).all() and len(scores):
                yield (
                    job,
                    labels,
                    probability(scores, *((self.scale(job) if calibrated else None) or calibration.Scale())),
                )

    def curves(self) -> dict[str, dict[str, np.ndarray]]:
        """Spec -> measure -> float (jobs, E) by epoch, NaN behind a job's last: see `training_curves`."""
        result = {}
        for spec in self.specs:
            epochs = [self.history[job.index] for job in self.jobs if job.spec == spec and job.index in self.history]
            longest = max(map(len, epochs), default=0)
            if longest:
                result[spec] = {
                    measure: np.array(
                        [[number(row[measure]) for row in rows] + [np.nan] * (longest - len(rows)) for rows in epochs]
                    )
                    for measure in MEASURES
                }
        return result

    def shown_jobs(self, task: str) -> list[Job]:
        """One model per spec: the explained one, else of its seeds the first whose test scores are there."""
        shown: dict[str, Job] = {}
        for job in self.jobs:
            if job.task == task and self.predictions(job) is not None:
                shown.setdefault(job.spec, job)
        shown |= {job.spec: job for job in self._explained if job.task == task and job.spec in shown}
        return list(shown.values())

    def predictions(self, job: Job) -> np.ndarray | None:
        """float (n,) scores of the job's test rows, in corpus order, as its maps are of; None where there are none."""
        rows = self.corpus.rows(job.task, 'test')
        found = []
        for member in self.members(job):
            try:
                scores = arrays.read_npy(self.run.path / 'predictions' / f'{member:05d}.npy')
            except InputError:
                return None
            if scores.shape != (rows.stop - rows.start,) or scores.dtype.kind != 'f':
                return None
            found.append(scores)
        return found[0] if len(found) == 1 else np.mean(found, axis=0)

    def explained(self, task: str) -> tuple[Job, ...]:
        """The explained models of a task."""
        return tuple(job for job in self._explained if job.task == task)

    def task(self, task: str, *, pieces: Sequence[str] = PIECES, windows: bool = True) -> TaskData:
        """Everything that is shown of a task.

        Args:
          task: its name.
          pieces: which explanations to read, of `PIECES`; the saliency map at least.
          windows: read windows.tsv too.
        """
        jobs = self.explained(task)
        rows = self._explanations.rows(task) if jobs else np.zeros(0, np.int64)
        tokens = self.corpus.padded(rows)
        specs = [self._spec(job, rows, tokens, pieces, windows) for job in jobs]
        known, hits = None, None
        if self._own is not None:
            ids = self._own['tasks'].get(task, ())
            known = {motif: self.matrices[motif] for motif in ids if motif in self.matrices}
            find = functools.partial(scan.known_hits, tokens=tokens, threshold=self.hit_p_value)
            hits = {motif: find(matrix.probabilities) for motif, matrix in known.items()}
        return TaskData(
            task=task,
            protein=self.protein(task),
            rows=rows,
            tokens=tokens,
            lengths=np.asarray(self.corpus.lengths[rows]),
            labels=np.asarray(self.corpus.labels[rows]),
            specs=[spec for spec in specs if spec is not None],
            own=known,
            hits=hits,
        )

    def _spec(
        self, job: Job, rows: np.ndarray, tokens: np.ndarray, pieces: Sequence[str], windows: bool
    ) -> SpecData | None:
        """What there is of an explained model; None without its saliency map."""
        tracks, score = {}, None
        for method in TRACKS:
            arrays = self._piece(method, job) if method in pieces else None
            if arrays is None or len(arrays['score']) != len(rows):
                continue
            if method == 'saliency':
                score = arrays['score']
            tracks[method] = stored_maps(method, arrays, tokens).signed
        if score is None:
            return None
        temporal, optima, sufficient = (
            self._piece(piece, job) if piece in pieces else None
            for piece in ('temporal', CLASS_OPTIMISATION, SUFFICIENT_MOTIF)
        )
        folder = self.run.path / 'motifs' / files.safe_name(job.task) / files.safe_name(job.spec)
        meme, tomtom, found = folder / 'motifs.meme', folder / 'tomtom.tsv', folder / 'windows.tsv'
        piles = _whole(folder / 'motifs.tsv', ('windows', 'agree'), ('name',), empty=True)
        return SpecData(
            spec=job.spec,
            job=job.index,
            score=score,
            tracks=tracks,
            forward=None if temporal is None else temporal['forward'],
            reverse=None if temporal is None else temporal['reverse'],
            optimum=None if optima is None else optima['matrix'][int(np.argmax(optima['objective']))],
            motifs=formats.read_meme(meme) if meme.is_file() else {},
            agree={
                formats.unescape(row['name']): (int(row['agree']), int(row['windows']))
                for row in piles
                if row['agree'] and row['windows']
            },
            matches=_whole(tomtom, ('Optimal_offset', 'Overlap'), formats.TOMTOM_COLUMNS),
            windows=_whole(found, ('row', 'start', 'end'), ('method',)) if windows else [],
            scale=self.scale(job) or calibration.Scale(),
            sufficient=None if sufficient is None else _sufficient(sufficient),
        )

    def _piece(self, piece: str, job: Job) -> dict[str, np.ndarray] | None:
        """The arrays of a piece; None where it is missing, or damaged, which is noted."""
        try:
            return self._explanations.load(piece, job.index)
        except InputError as error:
            if 'is missing' not in str(error):
                self.missing.append(str(error))
            return None

    def sites(self, row: int) -> list[tuple[int, int, int, str, str]]:
        """Planted sites of a corpus row: start, stop, strand, motif id and role."""
        if self.corpus.sites is None:
            return []
        low, high = np.searchsorted(self._site_rows, [row, row + 1])
        return [
            (
                int(site['start']),
                int(site['start'] + site['width']),
                int(site['strand']),
                self.corpus.site_motifs[site['motif']],
                ROLES[site['role']],
            )
            for site in self.corpus.sites[low:high]
        ]

    @functools.cached_property
    def _site_rows(self) -> np.ndarray:
        """The corpus row of every site, in one piece: to search a field of records copies it every time."""
        return np.zeros(0) if self.corpus.sites is None else np.ascontiguousarray(self.corpus.sites['row'])

    def place(self, row: int) -> str:
        """Where a sequence lies on the genome, e.g. 'chr1:1,000-1,101 (+)', 1-based; '' where nobody knows."""
        place = None if self.corpus.intervals is None else self.corpus.intervals[row]
        if place is None or place['chrom'] < 0:
            return ''
        start, size = int(place['start']), int(self.corpus.lengths[row])
        strand = '-' if place['strand'] < 0 else '+'
        return f'{self.corpus.chroms[place["chrom"]]}:{start + 1:,}-{start + size:,} ({strand})'


def _whole(
    path: pathlib.Path, whole: Sequence[str], others: Sequence[str], *, empty: bool = False
) -> list[dict[str, str]]:
    """The rows of a table, none where it is missing; InputError where a cell of `whole` is none (or empty)."""
    rows = files.read_tsv(path, (*whole, *others)) if path.is_file() else []
    for line, row in enumerate(rows, start=2):
        for name in whole:
            if not (re.fullmatch('-?[0-9]{1,15}', row[name]) or (empty and not row[name])):
                raise InputError(f'{path}: line {line}: {name} is {brief(row[name])}, expected a whole number')
    return rows


def _sufficient(arrays: Arrays) -> Sufficient:
    """The best start of the piece's arrays."""
    best = best_sufficient(arrays)
    score, bits = (float(arrays[name][best]) for name in ('score', 'bits'))
    return Sufficient(arrays['matrix'][best], score, bits, float(arrays['without']), float(arrays['target']))


def number(cell: str) -> float:
    """A cell of a table as a number; NaN for an empty one or text."""
    try:
        return float(cell)
    except ValueError:
        return float('nan')
