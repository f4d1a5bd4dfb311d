"""The JASPAR matrices of each task's own TF: their release, and how they compare with the paper's (edge)."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from demo_jax.data.corpus import Corpus
from demo_jax.errors import InputError
from demo_jax.evaluation import published
from demo_jax.evaluation.proteins import Protein, check_told, find_protein, read_protein, told_symbols
from demo_jax.motifs import jaspar
from demo_jax.motifs.jaspar import PAPER, JasparMatrix
from demo_jax.motifs.matching import own_matrices

MATRIX_COLUMNS = (
    'release',
    'id',
    'name',
    'consensus',
    'columns',
    'bits',
    'hit_p_value',
    'paper_id',
    'paper_consensus',
    'paper_agreement',
    'paper_turned',
)
_SAME = 0.75  # two matrices with less agreement are called different motifs
_TURNED = 0.1  # the reverse strand counts only if its agreement is better by this much


class Counterpart(NamedTuple):
    """The matrix of the same base id in the paper's release, JASPAR2016.

    Attributes:
      id: e.g. 'MA0035.3'.
      consensus: as `JasparMatrix.consensus`.
      agreement: of the two matrices, see `compare`; 1 if one is part of the other.
      turned: whether one matrix is the reverse complement of the other.
    """

    id: str
    consensus: str
    agreement: float
    turned: bool

    @property
    def note(self) -> str:
        """In words: 'JASPAR2016: MA0750.1 gGCGACCACCga, another motif'."""
        if self.agreement < _SAME:
            return f'{PAPER}: {self.id} {self.consensus}, another motif'
        return f'{PAPER}: {self.id} {self.consensus}{", turned around" if self.turned else ""}'


@dataclasses.dataclass(frozen=True, eq=False)
class OwnMatrices:
    """The matrices of the TFs of some tasks.

    Attributes:
      release: the JASPAR release of the matrices, e.g. 'JASPAR2016'.
      matrices: id -> matrix, all of the release.
      ids: task -> the ids of its own matrices; for a simulated task, the planted one comes first.
      proteins: task -> its TF.
      planted_from: for a simulated corpus, the release that its motifs were planted from; None if unknown.
      planted: simulated task -> the planted id, and its id in `release`, or None.
      notes: guesses and problems, one line each.
    """

    release: str
    matrices: Mapping[str, JasparMatrix]
    ids: Mapping[str, tuple[str, ...]]
    proteins: Mapping[str, Protein]
    planted_from: str | None
    planted: Mapping[str, tuple[str, str | None]]
    notes: tuple[str, ...]

    @property
    def without(self) -> list[str]:
        """The tasks without a matrix."""
        return [task for task, ids in self.ids.items() if not ids]

    def facts(self) -> dict[str, dict[str, str]]:
        """Task -> the columns of table4_tasks.tsv that describe its TF and its matrices."""
        return {
            task: {
                'tf': self.proteins[task].symbol,
                'release': self.release,
                'consensus': ';'.join(self.matrices[motif].consensus for motif in ids),
                'planted': f'{self.planted_from or "?"}:{self.planted[task][0]}' if task in self.planted else '',
            }
            for task, ids in self.ids.items()
        }

    def as_json(self) -> dict[str, Any]:
        """The content of motifs/own.json."""
        used = dict.fromkeys(motif for ids in self.ids.values() for motif in ids)
        return {
            'release': self.release,
            'tasks': self.ids,
            'without': self.without,
            'matrices': {
                motif: {'name': self.matrices[motif].name, 'consensus': self.matrices[motif].consensus}
                for motif in used
            },
            'proteins': {task: protein.facts() for task, protein in self.proteins.items()},
            'planted_from': self.planted_from,
            'planted': self.planted,
            'notes': self.notes,
        }


def protein_of(corpus: Corpus, task: str, told: Mapping[str, str] | None = None) -> Protein:
    """The TF of a task: from `told`, else from the corpus, else from its name (`find_protein`, JASPAR's symbols)."""
    if told and task in told:
        return Protein(told[task], 'told')
    known = read_protein(corpus.info.get('tasks', {}).get(task, {}).get('tf'))
    return known or find_protein(task, jaspar.symbols())


def check_tf(tf: str, corpus: Corpus) -> dict[str, str]:
    """The TFs that the user gave: task -> symbol, from entries TASK=SYMBOL separated by commas.

    Raises:
      InputError: an entry has another form, there is no such task, or the task is simulated: its own motif is the
        planted one, whatever the name of its TF.
    """
    told = told_symbols(tf)
    check_told(told, corpus.tasks)
    if told and corpus.sites is not None:
        raise InputError(f'--tf names {next(iter(told))}, a simulated task: its own motif is the one that was planted')
    return told


def protein_matched(known: Mapping[str, Any] | None, corpus: Corpus, task: str) -> Protein:
    """The TF whose matrices a task's motifs were matched with.

    Args:
      known: the content of motifs/own.json. Files of an earlier version do not name the TFs: these were the first
        words of the tasks' names. None: the TF is that of `protein_of`.
      corpus: of the task.
      task: its name.
    """
    if known is None:
        return protein_of(corpus, task)
    protein = read_protein(known.get('proteins', {}).get(task))
    return protein or Protein(published.protein_of(task), 'table' if published.published_task(task) else 'first word')


def planted_release(corpus: Corpus) -> tuple[str | None, bool]:
    """The JASPAR release that the motifs of a simulated corpus were planted from, and whether the corpus names it.

    A corpus of an earlier version does not name it; then it is the newest installed release that contains every planted
    id in the planted version. (None, False) if there is none, or if the sequences are not simulated.
    """
    if corpus.sites is None:
        return None, False
    stored = corpus.info.get('jaspar')
    if isinstance(stored, str) and stored:
        return stored, True
    return next(iter(jaspar.releases_with(corpus.site_motifs)), None), False


def choose_release(corpus: Corpus, wanted: str = '') -> str:
    """The release to match with: `wanted`, else the release of the planted motifs, else the newest.

    Raises:
      InputError: `wanted` is empty, and the release of the planted motifs is not installed.
    """
    if wanted:
        return wanted
    planted, _ = planted_release(corpus)
    if planted is not None and planted not in jaspar.releases():
        raise InputError(
            f'the simulated motifs were planted from {planted}, and pyjaspar has {", ".join(jaspar.releases())}; '
            'install a newer pyjaspar, or name one of these with --config.match.jaspar'
        )
    return planted or jaspar.releases()[0]


def find_own(
    corpus: Corpus,
    tasks: Sequence[str],
    *,
    release: str = '',
    tax_group: str = 'vertebrates',
    collection: str = 'CORE',
    rule: str = 'monomer',
    tf: str = '',
) -> OwnMatrices:
    """The matrices of each task's own TF.

    For a simulated task they are the planted matrix (by its id, or another version of it, which a note says) and, if
    the planted motif is really the TF's, the other matrices of the TF by the rule. For any other task they are the
    matrices of its TF by the rule.

    Args:
      corpus: of the tasks.
      tasks: names of some of its tasks.
      release: JASPAR release; '': see `choose_release`.
      tax_group, collection: of the matrices.
      rule: see `matching.own_matrices`.
      tf: entries TASK=SYMBOL, see `check_tf`.

    Raises:
      InputError: no such release or rule, or as `check_tf`.
    """
    told = check_tf(tf, corpus)
    release = choose_release(corpus, release)
    matrices = jaspar.load_matrices(release, tax_group=tax_group, collection=collection)
    proteins = {task: protein_of(corpus, task, told) for task in tasks}
    planted: dict[str, tuple[str, str | None]] = {}
    ids: dict[str, tuple[str, ...]] = {}
    for task in tasks:
        found = own_matrices(proteins[task].symbol, matrices, rule)
        facts = corpus.info.get('tasks', {}).get(task, {})
        if corpus.sites is not None and isinstance(facts.get('motif'), str):
            motif = facts['motif']
            here = motif if motif in matrices else jaspar.other_version(motif, matrices)
            planted[task] = motif, here
            found = () if facts.get('motif_assigned') else found
            found = tuple(dict.fromkeys([*([here] if here else []), *found]))
        ids[task] = found
    source, stored = planted_release(corpus)
    notes = _notes(release, source, stored, planted, matrices) if planted else ()
    return OwnMatrices(release, matrices, ids, proteins, source, planted, notes)


def _notes(
    release: str,
    source: str | None,
    stored: bool,
    planted: Mapping[str, tuple[str, str | None]],
    matrices: Mapping[str, JasparMatrix],
) -> tuple[str, ...]:
    notes = []
    if not stored:
        guess = f'{source} is the newest that has all of them' if source else 'no installed one has all of them'
        notes.append(f'The corpus does not say which JASPAR release its motifs were planted from; {guess}.')
    if source != release:
        notes.append(f'Motifs were planted from {source or "an unknown release"} and are matched with {release}.')
    others = {motif: here for motif, here in planted.values() if here is not None and here != motif}
    if others:
        before = jaspar.load_matrices(source) if source in jaspar.releases() else {}
        told = []
        for motif, here in sorted(others.items()):
            differs = motif in before and compare(before[motif], matrices[here]).agreement < _SAME
            told.append(f'{motif} as {here}' + (' (another motif)' if differs else ''))
        notes.append(f'{release} has other versions of {len(others)} planted motifs: {_listed(told)}.')
    missing = [f'{motif} ({task})' for task, (motif, here) in planted.items() if here is None]
    if missing:
        count = f'{len(missing)} task{"s" * (len(missing) > 1)}'
        notes.append(f'{release} lacks the motif that was planted in {count}: {_listed(missing)}.')
    return tuple(notes)


def _listed(entries: Sequence[str], limit: int = 8) -> str:
    return ', '.join(entries[:limit]) + (f' and {len(entries) - limit} more' if len(entries) > limit else '')


def compare(one: JasparMatrix, other: JasparMatrix) -> Counterpart:
    """How well `one` agrees with `other`, in the best gapless alignment on either strand.

    The agreement is the sum over aligned columns of the products (p - 1/4)(q - 1/4). It is divided by the smaller of
    the two sums of a matrix with itself, and is at most 1. It is about 0 for unrelated motifs, and 1 if one motif is
    part of the other.
    """
    first, second = one.probabilities - 0.25, other.probabilities - 0.25
    least = min((first**2).sum(), (second**2).sum())
    forward, reverse = (_best_overlap(first, turned) / least for turned in (second, second[::-1, ::-1]))
    return Counterpart(one.id, one.consensus, min(max(forward, reverse), 1.0), bool(reverse > forward + _TURNED))


def _best_overlap(first: np.ndarray, second: np.ndarray) -> float:
    best = -np.inf
    for offset in range(1 - len(second), len(first)):
        low, high = max(0, offset), min(len(first), offset + len(second))
        best = max(best, float((first[low:high] * second[low - offset : high - offset]).sum()))
    return best


def counterpart(matrix: JasparMatrix) -> Counterpart | None:
    """The matrix of the same base id in the paper's release; None if it has none, or if `matrix` is that one."""
    papers = _paper_matrices()
    motif = jaspar.other_version(matrix.id, papers)
    return None if motif is None or motif == matrix.id else compare(papers[motif], matrix)


@functools.cache
def _paper_matrices() -> Mapping[str, JasparMatrix]:
    return jaspar.load_matrices(PAPER)


def matrix_row(matrix: JasparMatrix, release: str, hit_p_value: float) -> dict[str, Any]:
    """A matrix as a row of own_matrices.tsv; its p-value is the largest of a hit, see `scan.known_hits`."""
    other = counterpart(matrix)
    row: dict[str, Any] = {
        'release': release,
        'id': matrix.id,
        'name': matrix.name,
        'consensus': matrix.consensus,
        'columns': len(matrix.probabilities),
        'bits': matrix.bits,
        'hit_p_value': hit_p_value,
    }
    if other is not None:
        row |= {
            'paper_id': other.id,
            'paper_consensus': other.consensus,
            'paper_agreement': other.agreement,
            'paper_turned': int(other.turned),
        }
    return row
