"""Stage `baseline`: the paper's "MEME-ChIP sum", with motifs found in the run's own training data (edge)."""

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from demo_jax import dna
from demo_jax.baseline import finder, meme_suite, motif_scores
from demo_jax.baseline.zoops import Background
from demo_jax.data.corpus import Corpus
from demo_jax.errors import InputError, brief
from demo_jax.evaluation import metrics
from demo_jax.evaluation.published import published_auroc
from demo_jax.io import files
from demo_jax.motifs import formats
from demo_jax.runs.directory import RunDirectory
from demo_jax.runs.done import Made, Records
from demo_jax.stages import evaluate

FINDERS = ('auto', 'em', *meme_suite.PROGRAMS)
BASELINE_COLUMNS = (
    'task',
    'method',
    'n_sequences',
    'n_motifs',
    'valid_sum',
    'valid_zoops',
    'test_sum',
    'test_zoops',
    'meme_sum',
    'difference',
    'motifs',
    'shares',
)
# Tasks in one call of the compiled program, per device: few on a CPU, so that a stopped run has lost little.
_TASKS_PER_CALL = {'cpu': 4}
_TASKS_PER_CALL_ELSEWHERE = 32


@dataclass(frozen=True)
class BaselineSettings:
    """How the baseline is made.

    Attributes:
      method: 'em', the finder that comes with the package; 'streme' or 'meme-chip', programs of the MEME Suite;
        or 'auto': the first of these programs that is on the PATH, else 'em'.
      n_sequences: how many positive training sequences the motifs are found in: the first in the corpus.
        DeepBind's files, and peaks read from BED, stand in the order of peak strength, so that these are the
        strongest; in a simulated corpus all are alike.
      n_motifs: per task.
      timeout: seconds that a program of the MEME Suite may take for one task.
    """

    method: str = 'auto'
    n_sequences: int = 500
    n_motifs: int = 5
    timeout: float = 600.0

    def __post_init__(self) -> None:
        if self.method not in FINDERS:
            raise InputError(f'baseline: method is {brief(self.method)}, expected one of {", ".join(FINDERS)}')
        for name in ('n_sequences', 'n_motifs'):
            if getattr(self, name) < 1:
                raise InputError(f'baseline: {name} is {getattr(self, name)}, expected 1 or more')
        if not self.timeout > 0:
            raise InputError(f'baseline: timeout is {self.timeout}, expected a positive number of seconds')

    def found_by(self) -> str:
        """What finds the motifs on this machine: 'em', 'streme' or 'meme-chip'."""
        return (meme_suite.installed() or 'em') if self.method == 'auto' else self.method


class _Motif(NamedTuple):
    probabilities: np.ndarray
    n_sites: int  # 20, as MEME assumes, where a program does not say


def spec_name(method: str, rule: str) -> str:
    """What the column `spec` says of the baseline, e.g. 'em_motifs_sum' or 'meme_chip_motifs_zoops'."""
    return f'{method.replace("-", "_")}_motifs_{rule}'


def baseline_run(
    run: RunDirectory,
    settings: BaselineSettings | None = None,
    *,
    n_resamples: int = evaluate.EvaluateSettings.n_resamples,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Find motifs in the strongest training sequences of every task, and score its test sequences by them.

    Writes `motifs/baseline/TASK.meme` (names made safe by `files.safe_name`), `predictions/baseline_SPEC_TASK.npy`
    (float32 scores of the task's test rows), `tables/baseline_auroc.tsv` (the rows returned, which the stage
    `evaluate` puts among its own), and `tables/baseline.tsv`: per task the motifs, the AUROCs under
    both of `motif_scores.RULES`, and the published MEME-SUM (`difference` is ours by 'sum' minus that). Tasks whose
    motifs are there, made with the same settings, are not searched again.

    Args:
      run: a run directory; the caller holds its lock. Its models need not be trained.
      settings: see `BaselineSettings`.
      n_resamples: see `EvaluateSettings`: the rows stand among those of the stage evaluate.
      progress: show bars.

    Returns:
      Two rows per task with columns of `tables/auroc.tsv`, one for each rule; see `spec_name`. Where no motif
      was found, the status is 'no motif' and there is no AUROC.

    Raises:
      InputError: a program of the MEME Suite failed, or a file of motifs cannot be read.
    """
    settings = BaselineSettings() if settings is None else settings
    method, corpus = settings.found_by(), run.corpus()
    published = not run.is_simulated()
    folder = run.path / 'motifs' / 'baseline'
    paths = {task: folder / f'{files.safe_name(task)}.meme' for task in corpus.tasks}
    records = Records(folder)
    made = Made({'method': method, 'n_sequences': settings.n_sequences, 'n_motifs': settings.n_motifs}, {})
    missing = [task for task in corpus.tasks if not records.has(task, made)]
    records.forget(*missing)
    (folder / 'settings.json').unlink(missing_ok=True)  # of an older version
    for task in missing:
        paths[task].unlink(missing_ok=True)
    with tqdm(total=len(missing), desc=f'motifs by {method}', unit='task', disable=not (progress and missing)) as bar:
        for group in _groups(missing, method):
            tops = [top_positives(corpus, task, settings.n_sequences) for task in group]
            found = _find(tops, method, settings, longest=int(corpus.lengths.max(initial=0)))
            for task, top, motifs in zip(group, tops, found, strict=True):
                formats.write_meme(
                    paths[task],
                    {name: motif.probabilities for name, motif in motifs.items()},
                    sites={name: motif.n_sites for name, motif in motifs.items()},
                    background=Background.of(top).letters,
                )
                records.keep(task, made, [paths[task]])
            bar.update(len(group))
    rows, facts = [], []
    for task in tqdm(corpus.tasks, desc='scoring by motifs', unit='task', disable=not progress):
        motifs = formats.read_meme(paths[task]) if _holds_motifs(paths[task]) else {}
        made, fact = _scored(run, corpus, task, motifs, method, settings, n_resamples)
        theirs = published_auroc(task) if published else None
        if theirs is not None:
            fact |= {'meme_sum': theirs.meme_sum}
            fact |= {'difference': fact['test_sum'] - theirs.meme_sum} if 'test_sum' in fact else {}
        rows += made
        facts.append(fact)
    files.write_tsv(run.tables / 'baseline.tsv', facts, BASELINE_COLUMNS)
    files.write_tsv(run.tables / evaluate.BASELINE_TABLE, rows, evaluate.AUROC_COLUMNS)
    return rows


def top_positives(corpus: Corpus, task: str, n: int) -> list[np.ndarray]:
    """The first n positives of a task's training split, uint8 (l,) each: in the order of the input files.

    If the input is sorted by peak strength, these are the strongest peaks that were not drawn for validation.
    """
    rows = corpus.rows(task, 'train')
    positives = rows.start + np.flatnonzero(np.asarray(corpus.labels[rows]) == 1)[:n]
    return [np.asarray(corpus.tokens[corpus.starts[row] : corpus.starts[row + 1]]) for row in positives]


def _holds_motifs(path: pathlib.Path) -> bool:
    """Whether any motif was found: a file of none is not in the format."""
    return '\nMOTIF ' in path.read_text(encoding='utf-8', errors='replace')


def _groups(tasks: Sequence[str], method: str) -> list[Sequence[str]]:
    """The tasks of each call: groups of about equal size, so that few are filled up with empty tasks."""
    if not tasks:
        return []
    most = 1 if method != 'em' else _per_device() * jax.local_device_count()
    size = -(-len(tasks) // -(-len(tasks) // most))
    return [tasks[start : start + size] for start in range(0, len(tasks), size)]


def _per_device() -> int:
    return _TASKS_PER_CALL.get(jax.default_backend(), _TASKS_PER_CALL_ELSEWHERE)


def _find(
    tops: Sequence[Sequence[np.ndarray]], method: str, settings: BaselineSettings, *, longest: int
) -> list[dict[str, _Motif]]:
    """The motifs of each task by name."""
    if method == 'em':
        found = finder.find_motifs(
            tops,
            settings=finder.FinderSettings(n_motifs=settings.n_motifs),
            shape=(len(tops), settings.n_sequences, longest),
            tasks_at_once=1 if jax.default_backend() == 'cpu' else _per_device(),
        )
        return [
            {
                f'{number}-{_consensus(motif.probabilities)}': _Motif(motif.probabilities, round(motif.n_sites))
                for number, motif in enumerate(motifs, start=1)
            }
            for motifs in found
        ]
    try:
        matrices = [
            meme_suite.find_motifs(method, top, n_motifs=settings.n_motifs, timeout=settings.timeout) for top in tops
        ]
    except meme_suite.MemeSuiteError as error:
        raise InputError(f'{error}; the baseline method em needs no other program') from error
    return [{name: _Motif(matrix, 20) for name, matrix in found.items()} for found in matrices]


def _consensus(matrix: np.ndarray) -> str:
    """The likeliest letters, with N where none has more than half."""
    return dna.decode(np.where(matrix.max(axis=1) > 0.5, matrix.argmax(axis=1), dna.N))


def _scored(
    run: RunDirectory,
    corpus: Corpus,
    task: str,
    motifs: Mapping[str, np.ndarray],
    method: str,
    settings: BaselineSettings,
    n_resamples: int,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of a task's baselines, and its row of baseline.tsv."""
    top = top_positives(corpus, task, settings.n_sequences)
    fact: dict[str, Any] = {'task': task, 'method': method, 'n_sequences': len(top), 'n_motifs': len(motifs)}
    specs = {rule: {'task': task, 'spec': spec_name(method, rule), 'seed': 0} for rule in motif_scores.RULES}
    if not motifs:
        return [row | {'status': 'no motif'} for row in specs.values()], fact
    background, matrices = Background.of(top), list(motifs.values())
    longest = int(corpus.lengths.max())

    def score(tokens: np.ndarray) -> motif_scores.MotifScores:
        return motif_scores.score_motifs(tokens, matrices, background, length=longest)

    padded = np.full((len(top), longest), dna.N, np.uint8)
    for row, sequence in enumerate(top):
        padded[row, : len(sequence)] = sequence
    shares = motif_scores.fit_shares(score(padded).mean)
    fact |= {'motifs': ' '.join(motifs), 'shares': ' '.join(f'{share:.3f}' for share in shares)}
    test, valid = evaluate.read_rows(corpus, task, 'test'), corpus.rows(task, 'valid')
    valid_scores, test_scores = score(corpus.padded(valid)), score(test.tokens)
    for rule, row in specs.items():
        scores = motif_scores.combine(test_scores, rule, shares).astype(np.float32)
        path = run.path / 'predictions' / f'baseline_{row["spec"]}_{files.safe_name(task)}.npy'
        with files.atomic_path(path) as temporary, open(temporary, 'wb') as handle:
            np.save(handle, scores, allow_pickle=False)
        row['valid_auroc'] = metrics.auroc(corpus.labels[valid], motif_scores.combine(valid_scores, rule, shares))
        row |= evaluate.measure(scores, test, n_resamples) | {'status': 'ok'}
        fact |= {f'valid_{rule}': row['valid_auroc'], f'test_{rule}': row['test_auroc']}
    return list(specs.values()), fact
