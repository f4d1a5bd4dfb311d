"""What others have published on the same tasks: the 108 K562 tasks, their AUROCs, and the paper's tables.

Sources: Alipanahi et al. (2015), Nature Biotechnology 33:831 (DeepBind), supplementary table; Lanchantin et
al. (2017), Deep Motif Dashboard, Pacific Symposium on Biocomputing 22:254 ("the paper"), Tables 2, 3 and 4.
"""

import csv
import functools
import importlib.resources
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

JASPAR_RELEASES = (2014, 2016, 2026)


class PublishedAuroc(NamedTuple):
    """Published test AUROCs of one task.

    `deepbind` is DeepBind trained on all peaks (the paper's "DeepBind" row) and `deepbind_top500` on the
    500 strongest; `meme_sum` sums over MEME-ChIP's motifs and `meme_best` takes its single best motif.
    """

    deepbind: float
    deepbind_top500: float
    meme_sum: float
    meme_best: float


@dataclass(frozen=True)
class PublishedTask:
    """One of the paper's 108 K562 tasks.

    `name` is DeepBind's spelling and `folder` DeepMotif's, e.g. 'ARID3A_K562_ARID3A_(sc-8821)_Stanford' and
    'ARID3A_K562_ARID3A_-sc-8821-_Stanford'. `monomers` and `heterodimers` give, for each release in
    `JASPAR_RELEASES`, the ids of the CORE vertebrate matrices for this protein, e.g.
    `monomers[2016] == ('MA0151.1',)`. `in_paper57` marks the 57 tasks of the paper's Table 4: those with
    a monomer matrix in JASPAR 2016. `family` is '' where DeepBind's table names none.
    """

    name: str
    folder: str
    protein: str
    cell: str
    antibody: str
    lab: str
    family: str
    deepbind_id: str
    auroc: PublishedAuroc
    monomers: Mapping[int, tuple[str, ...]] = field(hash=False)
    heterodimers: Mapping[int, tuple[str, ...]] = field(hash=False)
    in_paper57: bool

    @property
    def auroc_deepbind(self) -> float:
        """Test AUROC of DeepBind trained on all peaks."""
        return self.auroc.deepbind

    @property
    def auroc_meme_sum(self) -> float:
        """Test AUROC of the sum over MEME-ChIP's motifs."""
        return self.auroc.meme_sum


class TableTwoRow(NamedTuple):
    """Mean, median and standard deviation of test AUROC over the 108 tasks, as the paper prints them."""

    mean: float
    median: float
    sd: float


# The paper cuts its figures to three digits and does not round them: DeepBind's mean .90366 is printed
# .903 and its median .93189 is printed .931. Its printed SD of the small RNN is 106, read as .106.
PAPER_TABLE2: Mapping[str, TableTwoRow] = types.MappingProxyType(
    {
        'meme_sum': TableTwoRow(0.834, 0.868, 0.127),
        'deepbind': TableTwoRow(0.903, 0.931, 0.091),
        'small_rnn': TableTwoRow(0.860, 0.881, 0.106),
        'medium_rnn': TableTwoRow(0.876, 0.905, 0.116),
        'large_rnn': TableTwoRow(0.808, 0.860, 0.175),
        'small_cnn': TableTwoRow(0.896, 0.918, 0.098),
        'medium_cnn': TableTwoRow(0.902, 0.922, 0.085),
        'large_cnn': TableTwoRow(0.880, 0.890, 0.093),
        'small_cnn_rnn': TableTwoRow(0.917, 0.943, 0.079),
        'medium_cnn_rnn': TableTwoRow(0.925, 0.947, 0.073),
        'large_cnn_rnn': TableTwoRow(0.918, 0.944, 0.081),
    }
)

# p-values of two-sided paired t-tests over the 108 tasks between the best models of two kinds.
PAPER_TABLE3: Mapping[tuple[str, str], float] = types.MappingProxyType(
    {
        ('rnn', 'meme_sum'): 5.15e-5,
        ('cnn', 'meme_sum'): 1.87e-19,
        ('cnn_rnn', 'meme_sum'): 4.84e-24,
        ('cnn', 'rnn'): 5.08e-4,
        ('cnn_rnn', 'rnn'): 7.99e-10,
        ('cnn_rnn', 'cnn'): 4.79e-22,
    }
)

# PAPER_TABLE4[kind][method]: the mean over 57 tasks of how many of 500 positive test sequences give a motif
# that Tomtom matches to the TF's own JASPAR matrix. For 'class_optimisation' the number of tasks of 57.
# None where the method does not apply to the kind.
PAPER_TABLE4: Mapping[str, Mapping[str, float | None]] = types.MappingProxyType(
    {
        'cnn': types.MappingProxyType(
            {'saliency': 243.9, 'activations': 173.4, 'temporal': None, 'class_optimisation': 19}
        ),
        'rnn': types.MappingProxyType(
            {'saliency': 138.6, 'activations': None, 'temporal': 53.5, 'class_optimisation': 11}
        ),
        'cnn_rnn': types.MappingProxyType(
            {'saliency': 168.1, 'activations': 74.2, 'temporal': 113.2, 'class_optimisation': 13}
        ),
    }
)


@functools.cache
def k562_tasks() -> tuple[PublishedTask, ...]:
    """The paper's 108 K562 tasks, in the order of DeepBind's table (alphabetical by protein)."""
    return tuple(
        PublishedTask(
            **{key: row[key] for key in ('name', 'folder', 'protein', 'cell', 'antibody', 'lab', 'family')},
            deepbind_id=row['deepbind_id'],
            auroc=_auroc(row),
            monomers=_matrices(row, 'monomer'),
            heterodimers=_matrices(row, 'heterodimer'),
            in_paper57=row['in_paper57_rule'] == '1',
        )
        for row in _read('k562.tsv')
    )


def published_task(task_name: str) -> PublishedTask | None:
    """The K562 task of this name in either spelling, or None if it is not one of the 108."""
    return _tasks_by_name().get(_spelling(task_name))


def published_auroc(task_name: str) -> PublishedAuroc | None:
    """The published test AUROCs of a task, or None where none are known.

    Args:
      task_name: DeepBind's name or DeepMotif's folder name, of a K562 task or of one of the tasks in other
        cell lines, e.g. 'MYC_H1-hESC_c-Myc_Stanford'.
    """
    return _aurocs_by_name().get(_spelling(task_name))


def protein_of(task_name: str) -> str:
    """The protein's symbol: from the table for one of the 108 tasks, else the name's letters up to the first '_'."""
    task = published_task(task_name)
    return task_name.split('_')[0] if task is None else task.protein


def _spelling(name: str) -> str:
    """DeepMotif's spelling: DeepBind's with both parentheses replaced by '-'."""
    return name.replace('(', '-').replace(')', '-')


@functools.cache
def _tasks_by_name() -> Mapping[str, PublishedTask]:
    return types.MappingProxyType({task.folder: task for task in k562_tasks()})


@functools.cache
def _aurocs_by_name() -> Mapping[str, PublishedAuroc]:
    known = {task.folder: task.auroc for task in k562_tasks()}
    known |= {row['folder']: _auroc(row) for row in _read('other_cells.tsv')}
    return types.MappingProxyType(known)


def _auroc(row: Mapping[str, str]) -> PublishedAuroc:
    return PublishedAuroc(*(float(row[f'auroc_{field}']) for field in PublishedAuroc._fields))


def _matrices(row: Mapping[str, str], form: str) -> Mapping[int, tuple[str, ...]]:
    """Matrix ids by release from cells such as 'MA0488.1:JUN;MA0489.1:JUN(var.2)'."""
    cells = {release: row[f'jaspar{release}_{form}'] for release in JASPAR_RELEASES}
    return types.MappingProxyType(
        {
            release: tuple(entry.partition(':')[0] for entry in cell.split(';') if entry)
            for release, cell in cells.items()
        }
    )


def _read(file_name: str) -> Iterator[dict[str, str]]:
    """Rows of a table that comes with the package; lines that begin with '#' are comments."""
    table = importlib.resources.files('demo_jax.evaluation').joinpath('published', file_name)
    lines = [line for line in table.read_text(encoding='utf-8').splitlines() if not line.startswith('#')]
    return csv.DictReader(lines, delimiter='\t', quoting=csv.QUOTE_NONE)
