"""How many of a model's motifs match its own TF: the paper's Table 4, with the chance level (pure).

Every test sequence gives one motif, a word of 9 letters. The word counts if Tomtom finds a significant match with one
of the TF's own JASPAR matrices. Common words match many matrices, so random words from the same sequences are counted,
too: only the excess over this chance level has a meaning.

Class optimisation gives one matrix per task. Its count is the number of tasks that match, and its chance level is the
expected number of tasks that match with one random word each.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from demo_jax.errors import InputError, brief
from demo_jax.evaluation.compare import kind_of
from demo_jax.evaluation.proteins import symbols_of
from demo_jax.evaluation.published import PAPER_TABLE4
from demo_jax.evaluation.table import Column, Figure, Table
from demo_jax.motifs.column_scores import Targets
from demo_jax.motifs.tomtom import match_motifs, match_words

OWN_RULES = ('monomer', 'any')
MEASURES = ('q_value', 'e_value', 'p_value')
TABLE4_COLUMNS = (
    'kind',
    'spec',
    'method',
    'counted',
    'n_tasks',
    'mean_matches',
    'out_of',
    'chance_matches',
    'published',
)


def _counts(rows: Sequence[Mapping[str, Any]], release: str | None) -> str:
    """What Table 4 counts."""
    sizes = [row['out_of'] for row in rows if row.get('counted') not in (None, 'tasks')]  # older tables do not say
    of = 'of the test sequences'
    if sizes:
        more = f' to {max(sizes):,.0f}' if max(sizes) > min(sizes) else ''
        of = f'of {min(sizes):,.0f}{more} test sequences'
    tasks = max(row['n_tasks'] for row in rows)
    return (
        f'How many {of}, on average over {tasks:.0f} {"task" if tasks == 1 else "tasks"}, give a motif that Tomtom '
        f'matches to the TF itself ({release}). Class optimisation and sufficient motifs: how many tasks. Chance: '
        'random words of the same sequences.'
    )


def _why_empty(rows: Sequence[Mapping[str, Any]], release: str | None) -> str:
    if release is None:
        return 'Motifs are not matched yet (run the stage match).'
    return 'None of these TFs has a JASPAR matrix of its own.'


#: Table 4, without rows.
TABLE4 = Table(
    [],
    TABLE4_COLUMNS,
    'table4',
    "Table 4: motifs that match the TF's own JASPAR matrix, beside chance and the paper",
    figures=(
        Figure(
            'Table 4. Motifs that match the TF’s own JASPAR matrix',
            (
                Column('mean_matches', '', 'one'),
                Column('chance_matches', 'chance', 'one'),
                Column('published', 'paper', 'one', 'published'),
            ),
            by_method=True,
            note=_counts,
            empty=_why_empty,
        ),
    ),
)
TASK_COLUMNS = (
    'task',
    'kind',
    'spec',
    'method',
    'counted',
    'tf',
    'release',
    'matrices',
    'consensus',
    'planted',
    'matches',
    'out_of',
    'chance_matches',
    'chance_out_of',
)


class Key(NamedTuple):
    """The origin of motifs, e.g. ('CTCF_K562_CTCF_Broad', 'medium_cnn', 'saliency')."""

    task: str
    spec: str
    method: str


class NamedMatrix(Protocol):
    """What `own_matrices` needs of a matrix: the symbol it is filed under, e.g. 'CTCF' or 'GATA1::TAL1'."""

    @property
    def name(self) -> str:
        """The symbol."""


@dataclass(frozen=True)
class Significance:
    """What counts as a match.

    Attributes:
      measure: 'q_value' (default, as Tomtom's), 'e_value' or 'p_value'.
      threshold: the largest value that counts; 0.5 is Tomtom's own default for q-values.
    """

    measure: str = 'q_value'
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise InputError(f'match measure is {brief(self.measure)}, expected one of {", ".join(MEASURES)}')
        if not self.threshold > 0:
            raise InputError(f'match threshold is {brief(self.threshold)}, expected a number above 0')


class TaskMatch(NamedTuple):
    """Own-motif matches of one task, spec and method.

    `matches` of `out_of` motifs match one of the TF's own `matrices`, and `chance_matches` of
    `chance_out_of` random words do. `of_model`: the motifs are of the model, not of sequences.
    """

    task: str
    spec: str
    method: str
    matrices: tuple[str, ...]
    matches: int
    out_of: int
    chance_matches: int
    chance_out_of: int
    of_model: bool = False


def own_matrices(protein: str, matrices: Mapping[str, NamedMatrix], rule: str = 'monomer') -> tuple[str, ...]:
    """Ids of the matrices of one protein.

    Args:
      protein: its symbol, e.g. 'ARID3A'; upper and lower case are the same ('Arid3a').
      matrices: id -> matrix with a `name`. JASPAR writes variants as 'JUN(var.2)' and complexes 'GATA1::TAL1'.
      rule: 'monomer' (default): matrices with the protein's symbol, variants included. With the vertebrate CORE of
        JASPAR2016 this gives the paper's 57 of 108 K562 tasks. 'any': also complexes that contain the protein.

    Returns:
      Ids in the order of `matrices`; empty where there are none.

    Raises:
      InputError: no such rule.
    """
    if rule not in OWN_RULES:
        raise InputError(f'rule for own matrices is {brief(rule)}, expected one of {", ".join(OWN_RULES)}')
    ids = []
    for motif, matrix in matrices.items():
        symbols = symbols_of(matrix.name)
        if protein.upper() in symbols and (rule == 'any' or len(symbols) == 1):
            ids.append(motif)
    return tuple(ids)


def count_matches(
    words: Mapping[Key, Sequence[str]],
    chance_words: Mapping[Key, Sequence[str]],
    own: Mapping[str, Sequence[str]],
    targets: Targets,
    *,
    motifs: Mapping[Key, Sequence[np.ndarray]] | None = None,
    significance: Significance | None = None,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[TaskMatch]:
    """Count the motifs that match their own TF.

    Each distinct word is matched once, whatever it comes from.

    Args:
      words: one word per sequence, for each task, spec and method.
      chance_words: random words of the same sequences, for the keys of `words` and `motifs`; a missing key has no
        chance level.
      own: task -> ids of its matrices (see `own_matrices`). Other tasks, and tasks without matrices, are left out.
      targets: the database; it must contain those ids.
      motifs: matrices (w, 4) instead of words, e.g. from class optimisation.
      significance: what counts as a match; default q <= 0.5.
      threads: default: the number of cores.
      progress: called with the number of distinct words completed since the last call.

    Returns:
      One row per key, those of `words` first.
    """
    significance = significance or Significance()
    motifs = motifs or {}
    numbers = {task: [targets.index(motif) for motif in ids] for task, ids in own.items() if len(ids)}
    keep = sorted({number for ids in numbers.values() for number in ids})
    column = {number: place for place, number in enumerate(keep)}
    columns = {task: np.array([column[number] for number in ids], np.int64) for task, ids in numbers.items()}
    keys = [key for key in (*words, *motifs) if key.task in columns]
    chance = {key: chance_words[key] for key in keys if key in chance_words}

    every = [word for key in keys if key in words for word in words[key]]
    every += [word for found in chance.values() for word in found]
    index = {word: number for number, word in enumerate(sorted(set(every)))}
    significant = _significant_words(list(index), targets, keep, significance, threads, progress)

    def count(found: Sequence[str], task: str) -> int:
        rows = np.array([index[word] for word in found], np.int64)
        return int(significant[np.ix_(rows, columns[task])].any(axis=1).sum())

    rows = []
    for key in keys:
        if key in words:
            matches, out_of = count(words[key], key.task), len(words[key])
        else:
            found = match_motifs(motifs[key], targets)
            values = getattr(found, significance.measure)[:, numbers[key.task]]
            matches, out_of = int((values <= significance.threshold).any(axis=1).sum()), len(motifs[key])
        random_matches = count(chance[key], key.task) if key in chance else 0
        rows.append(
            TaskMatch(
                *key, tuple(own[key.task]), matches, out_of, random_matches, len(chance.get(key, ())), key not in words
            )
        )
    return rows


def table4(rows: Iterable[TaskMatch], *, published: bool = True) -> list[dict[str, Any]]:
    """Table 4: one row per spec and method, with the columns `TABLE4_COLUMNS`.

    `mean_matches` and `chance_matches` are means over tasks of counts out of `out_of` (also a mean); of motifs of
    models they are numbers of tasks out of `out_of` tasks. `counted` says which, 'sequences' or 'tasks'. If another
    number of random words was counted, the chance counts are scaled to `out_of`; without random words they are None.
    `published` is the paper's value for the best model of the kind over its 57 tasks; it is None if the paper has none,
    or with `published=False` (simulated tasks have the names of real ones).
    """
    groups: dict[tuple[str, str], list[TaskMatch]] = {}
    for row in rows:
        groups.setdefault((row.spec, row.method), []).append(row)
    table = []
    for (spec, method), group in groups.items():
        one_each = group[0].of_model
        out_of = [1 if one_each else row.out_of for row in group]
        # With several restarts of a class optimisation: the share that matches.
        matches = [_share(row.matches, row.out_of) * size for row, size in zip(group, out_of, strict=True)]
        random = [_share(row.chance_matches, row.chance_out_of) * size for row, size in zip(group, out_of, strict=True)]
        total = np.sum if one_each else np.mean
        kind = kind_of(spec)
        table.append(
            {
                'kind': kind,
                'spec': spec,
                'method': method,
                'counted': _counted(group[0]),
                'n_tasks': len(group),
                'mean_matches': float(total(matches)),
                'out_of': float(total(out_of)),
                'chance_matches': float(total(random)) if all(row.chance_out_of for row in group) else None,
                'published': PAPER_TABLE4.get(kind, {}).get(method) if published else None,
            }
        )
    return table


def table4_tasks(
    rows: Iterable[TaskMatch], facts: Mapping[str, Mapping[str, str]] | None = None
) -> list[dict[str, Any]]:
    """One row per task, spec and method, with the columns `TASK_COLUMNS`; `matrices` as 'MA0139.1;MA0140.2'.

    Args:
      rows: from `count_matches`.
      facts: task -> facts about its matrices, by column (see `own.OwnMatrices.facts`); default: none.
    """
    return [
        {**(facts or {}).get(row.task, {})}
        | {name: value for name, value in row._asdict().items() if name != 'of_model'}
        | {
            'kind': kind_of(row.spec),
            'matrices': ';'.join(row.matrices),
            'counted': _counted(row),
            'chance_matches': row.chance_matches if row.chance_out_of else None,
        }
        for row in rows
    ]


def _significant_words(
    words: list[str],
    targets: Targets,
    keep: list[int],
    significance: Significance,
    threads: int | None,
    progress: Callable[[int], object] | None,
) -> np.ndarray:
    """bool (D, K): which words match which targets of `keep`; words may have several widths."""
    significant = np.zeros((len(words), len(keep)), bool)
    for width in sorted({len(word) for word in words}):
        rows = [number for number, word in enumerate(words) if len(word) == width]
        matches = match_words([words[row] for row in rows], targets, keep=keep, threads=threads, progress=progress)
        significant[rows] = getattr(matches, significance.measure) <= significance.threshold
    return significant


def _counted(row: TaskMatch) -> str:
    return 'tasks' if row.of_model else 'sequences'


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
