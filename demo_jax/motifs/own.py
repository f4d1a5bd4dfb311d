"""Which JASPAR matrices are each task's own, of which release, and how they compare with the paper's (edge)."""

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
    'release', 'id', 'name', 'consensus', 'columns', 'bits', 'hit_p_value', 'paper_id', 'paper_consensus',
    'paper_agreement', 'paper_turned',
)  # fmt: skip
_SAME = 0.75  # agreement below which two matrices are told to be different motifs
_TURNED = 0.1  # by how much the reverse strand has to agree better than the forward strand


class Counterpart(NamedTuple):
    """The matrix of the same base id in the paper's release, JASPAR2016.

    Attributes:
      id: e.g. 'MA0035.3'.
      consensus: as `JasparMatrix.consensus`.
      agreement: of the two matrices, see `compare`; 1 where one is a part of the other.
      turned: whether they agree on opposite strands.
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
      release: that they are taken from, e.g. 'JASPAR2016'.
      matrices: id -> matrix, all of the release.
      ids: task -> the ids of its own matrices; of a simulated task the planted one comes first.
      proteins: task -> its TF.
      planted_from: of a simulated corpus the release that its motifs were planted from; None where nobody knows.
      planted: simulated task -> the id that was planted, and the id that it has in `release`, or None.
      notes: what was guessed or is not as it should be, one line each.
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
        """Task -> the columns of table4_tasks.tsv that tell its TF and its matrices."""
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
        """What motifs/own.json holds."""
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
    """The TF of a task: as told, else as the corpus has it, else by its name (`find_protein`, JASPAR's symbols)."""
    if told and task in told:
        return Protein(told[task], 'told')
    known = read_protein(corpus.info.get('tasks', {}).get(task, {}).get('tf'))
    return known or find_protein(task, jaspar.symbols())


def check_tf(tf: str, corpus: Corpus) -> dict[str, str]:
    """Task -> symbol, of entries TASK=SYMBOL that are separated by commas: what the user says of tasks' TFs.

    Raises:
      InputError: an entry is something else, there is no such task, or it is a simulated one: its own motif is the one
        that was planted, whatever its TF is called.
    """
    told = told_symbols(tf)
    check_told(told, corpus.tasks)
    if told and corpus.sites is not None:
        raise InputError(f'--tf names {next(iter(told))}, a simulated task: its own motif is the one that was planted')
    return told


def protein_matched(known: Mapping[str, Any] | None, corpus: Corpus, task: str) -> Protein:
    """The TF of a task as its motifs were matched.

    Args:
      known: the contents of motifs/own.json. One of an earlier version has no TFs, which were then the first words of
        the tasks' names; without any the TF is that of `protein_of`.
      corpus: of the task.
      task: its name.
    """
    if known is None:
        return protein_of(corpus, task)
    found = read_protein(known.get('proteins', {}).get(task))
    return found or Protein(published.protein_of(task), 'table' if published.published_task(task) else 'first word')


def planted_release(corpus: Corpus) -> tuple[str | None, bool]:
    """The JASPAR release that a simulated corpus was planted from, and whether the corpus says so itself.

    One that does not say so was written by an earlier version: then it is the newest installed release that has every
    planted id in the planted version. (None, False) where there is none, and for sequences that are not simulated.
    """
    if corpus.sites is None:
        return None, False
    stored = corpus.info.get('jaspar')
    if isinstance(stored, str) and stored:
        return stored, True
    return next(iter(jaspar.releases_with(corpus.site_motifs)), None), False


def choose_release(corpus: Corpus, wanted: str = '') -> str:
    """The release to match with: the wanted one, else the one that was planted from, else the newest.

    Raises:
      InputError: none is wanted, and the one that was planted from is not installed.
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

    Of a simulated task they are the planted one, by its id (or, which a note says, another version of it), and, where
    it was planted as the TF's own and not in the place of one, the TF's others by the rule. Of any other task they
    are those that the rule finds for its TF.

    Args:
      corpus: of the tasks.
      tasks: which of its tasks.
      release: to look in; '' as `choose_release` chooses.
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
    release: str, source: str | None, stored: bool, planted: Mapping[str, tuple[str, str | None]],
    matrices: Mapping[str, JasparMatrix],
) -> tuple[str, ...]:  # fmt: skip
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
    """How well `one` agrees with `other`, in the best alignment without gaps on either strand.

    The agreement is the sum of products of probabilities less 1/4 over the aligned columns, divided by the same sum
    of that matrix with itself which has less, and at most 1: about 0 for unrelated motifs, 1 for one within another.
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
    """The same base id's matrix in the paper's release; None where it has none, or `matrix` is that one."""
    papers = _paper_matrices()
    motif = jaspar.other_version(matrix.id, papers)
    return None if motif is None or motif == matrix.id else compare(papers[motif], matrix)


@functools.cache
def _paper_matrices() -> Mapping[str, JasparMatrix]:
    return jaspar.load_matrices(PAPER)


def matrix_row(matrix: JasparMatrix, release: str, hit_p_value: float) -> dict[str, Any]:
    """A matrix as a row of own_matrices.tsv; the p-value is the largest of its hits, see `scan.known_hits`."""
    other = counterpart(matrix)
    row: dict[str, Any] = {
        'release': release, 'id': matrix.id, 'name': matrix.name, 'consensus': matrix.consensus,
        'columns': len(matrix.probabilities), 'bits': matrix.bits, 'hit_p_value': hit_p_value,
    }  # fmt: skip
    if other is not None:
        row |= {
            'paper_id': other.id, 'paper_consensus': other.consensus, 'paper_agreement': other.agreement,
            'paper_turned': int(other.turned),
        }  # fmt: skip
    return row
