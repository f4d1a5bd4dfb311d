"""What a question is made of: motifs by name, backgrounds and sequences of a run or of files (edge: reads files)."""

import difflib
import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from demo_jax import dna
from demo_jax.dna import dinucleotide_shuffle
from demo_jax.errors import InputError, brief, listed
from demo_jax.explain.attribution import BEST_FIRST
from demo_jax.insilico.ablate import Hit
from demo_jax.insilico.designs import Motif
from demo_jax.io import files
from demo_jax.io.textfile import encode_all, read_fasta
from demo_jax.motifs import formats, own, scan
from demo_jax.motifs.jaspar import JasparMatrix, load_matrices
from demo_jax.predict.run import Run
from demo_jax.runs.explanations import Explanations
from demo_jax.runs.preferred import prefer

#: Motifs by the hundred: every matrix of JASPAR, or every motif that `discover` has found for the tasks.
ALL_JASPAR, ALL_FOUND = 'jaspar', 'found'
#: Where backgrounds come from, other than a FASTA file.
BACKGROUNDS = ('shuffles', 'negatives')
#: Motifs of two conditions are one if they agree so well (see `own.compare`).
SAME = 0.75


class Sequences(NamedTuple):
    """Sequences of one length.

    Attributes:
      names: of each.
      tokens: uint8 (N, L).
      n_left_out: sequences of other lengths.
    """

    names: tuple[str, ...]
    tokens: np.ndarray
    n_left_out: int


def find_motifs(names: Sequence[str], run: Run, tasks: Sequence[str] = (), *, release: str = '') -> dict[str, Motif]:
    """Motifs by what users call them, in the order given.

    Args:
      names: each a word ('TGACTCA', N = whatever letter is there), a JASPAR id or name ('MA0139.1', 'CTCF': all of that
        name), a found motif of the run ('TASK/SPEC/METHOD/for_1'), a file of motifs that ends in .meme or .jaspar,
        'jaspar' or 'found'.
      run: a trained run.
      tasks: whose motifs 'found' means; none = all of the run.
      release: of JASPAR; '' = the newest installed.

    Raises:
      InputError: a name that nothing has (the message names the nearest), a file that cannot be read, no found motif,
        or no such release.
    """
    matrices = load_matrices(release or None)
    found: dict[str, Motif] | None = None
    chosen: dict[str, Motif] = {}
    for name in names:
        if name.endswith(('.meme', '.jaspar')):
            chosen |= _of_file(files.expanded(name))
            continue
        if name == ALL_JASPAR:
            chosen |= {matrix.label: matrix.probabilities for matrix in matrices.values()}
            continue
        of_jaspar = _of_jaspar(name, matrices)
        if of_jaspar:
            chosen |= of_jaspar
        elif re.fullmatch('[ACGTNacgtn]+', name):
            chosen[name] = name.upper()
        else:
            found = _found_motifs(run, tasks or run.tasks) if found is None else found
            if name == ALL_FOUND and found:
                chosen |= found
            elif name in found:
                chosen[name] = found[name]
            else:
                raise InputError(_unknown(name, found, matrices, run))
    return chosen


def _of_jaspar(name: str, matrices: dict[str, JasparMatrix]) -> dict[str, Motif]:
    asked = name.upper()
    return {
        matrix.label: matrix.probabilities
        for matrix in matrices.values()
        if asked in (matrix.id, matrix.id.partition('.')[0], matrix.name.upper(), matrix.label.upper())
    }


def _of_file(path: str) -> dict[str, Motif]:
    if path.endswith('.meme'):
        return dict(formats.read_meme(path))
    return {name: counts / counts.sum(axis=1, keepdims=True) for name, counts in formats.read_jaspar(path).items()}


def _found_motifs(run: Run, tasks: Sequence[str]) -> dict[str, Motif]:
    """Every motif of the stage `discover`, 'TASK/SPEC/METHOD/NAME'."""
    found: dict[str, Motif] = {}
    for task in tasks:
        folder = run.directory.path / 'motifs' / files.safe_name(task)
        for path in sorted(folder.glob('*/*/found.meme')):
            if 'MOTIF' in path.read_text(encoding='utf-8'):  # a map without motifs has an empty file
                made = formats.read_meme(path)
                found |= {f'{task}/{path.parts[-3]}/{path.parts[-2]}/{name}': motif for name, motif in made.items()}
    return found


def _unknown(name: str, found: dict[str, Motif], matrices: dict[str, JasparMatrix], run: Run) -> str:
    if name == ALL_FOUND:
        return f'{run.directory.path}: no motif was found for these tasks; the stage discover finds them'
    known = {
        text.upper(): text
        for text in (
            *found,
            *(matrix.name for matrix in matrices.values()),
            *(matrix.id for matrix in matrices.values()),
        )
    }
    near = [known[text] for text in difflib.get_close_matches(name.upper(), known, n=4, cutoff=0.5)]
    hint = f'the nearest are {", ".join(near)}' if near else 'a word, a JASPAR id or name, or TASK/SPEC/METHOD/NAME'
    return f'no motif is called {brief(name)}; {hint}'


def backgrounds_of(source: str, run: Run, tasks: Sequence[str], n: int, *, seed: int = 0) -> Sequences:
    """Backgrounds of one length, the most frequent one.

    Args:
      source: 'shuffles' (dinucleotide shuffles of test positives), 'negatives' (test negatives), or a FASTA file.
      run: a trained run.
      tasks: whose sequences are taken, as many of each as possible; none = of all tasks.
      n: backgrounds at most.
      seed: of what is drawn.

    Raises:
      InputError: no such source, a file that cannot be read, `n` below 1, or no sequence.
    """
    if n < 1:
        raise InputError(f'the number of backgrounds is {n}, expected 1 or more')
    rng = np.random.default_rng(seed)
    if source not in BACKGROUNDS:
        if not os.path.exists(source):
            raise InputError(f'backgrounds are {brief(source)}, expected {", ".join(BACKGROUNDS)} or a FASTA file')
        given = read_sequences(source)
        rows = np.sort(rng.permutation(len(given.tokens))[:n])
        return given._replace(names=tuple(given.names[row] for row in rows), tokens=given.tokens[rows])
    drawn = test_sequences(run, tasks, n, label=int(source == 'shuffles'), rng=rng)
    if source == 'shuffles':
        return drawn._replace(tokens=dinucleotide_shuffle(drawn.tokens, rng))
    return drawn


def test_sequences(run: Run, tasks: Sequence[str], n: int, *, label: int, rng: np.random.Generator) -> Sequences:
    """Test sequences of a run with this label (1 = bound), of the length that most of them have, drawn in turns.

    Args:
      run: a trained run.
      tasks: as many of each as possible; none = of all.
      n: sequences at most.
      label: 1 or 0.
      rng: source of randomness.

    Raises:
      InputError: there is no such task or sequence.
    """
    corpus = run.directory.corpus()
    order: list[tuple[int, int, int]] = []
    for t, task in enumerate(tasks or run.tasks):
        rows = np.arange(len(corpus))[corpus.rows(task, 'test')]
        rows = rng.permutation(rows[np.asarray(corpus.labels[rows]) == label])
        order += [(place, t, int(row)) for place, row in enumerate(rows)]
    rows = np.array([row for _, _, row in sorted(order)], np.int64)
    if not len(rows):
        kind = 'bound' if label else 'unbound'
        raise InputError(f'{run.directory.path}: {listed(tasks or run.tasks)} have no {kind} test sequences')
    lengths = corpus.lengths[rows]
    kept = rows[lengths == np.bincount(lengths).argmax()]
    return Sequences(tuple(corpus.name(row) for row in kept[:n]), corpus.padded(kept[:n]), len(rows) - len(kept))


def read_sequences(path: str | os.PathLike) -> Sequences:
    """The sequences of a FASTA file that have the length that most of them have.

    Raises:
      InputError: the file is no FASTA, or a letter is no base.
    """
    records = list(read_fasta(path))
    names = [(record.header.split() or [f'record_{record.number}'])[0] for record in records]
    encoded = encode_all(path, [record.letters for record in records], names)
    lengths = np.array([len(row) for row in encoded])
    kept = np.flatnonzero(lengths == np.bincount(lengths).argmax())
    return Sequences(
        tuple(names[row] for row in kept), np.stack([encoded[row] for row in kept]), len(records) - len(kept)
    )


def find_hits(motifs: dict[str, Motif], tokens: np.ndarray, *, p_value: float = 1e-4) -> list[Hit]:
    """Where motifs match, on either strand, in order of sequence and place.

    Args:
      motifs: words, or probabilities (w, 4); see `find_motifs`.
      tokens: uint8 (N, L).
      p_value: the largest p of a hit; a motif too short for it has its best words (`scan.known_hits`).

    Raises:
      InputError: a motif that cannot be scanned.
    """
    found = []
    for name, motif in motifs.items():
        if isinstance(motif, np.ndarray):
            matrix = motif
        else:
            letters = dna.one_hot(dna.encode(motif if isinstance(motif, str) else motif[0]))
            matrix = np.where(letters.sum(axis=1, keepdims=True) > 0, letters, 0.25)
        hits = scan.known_hits(matrix, tokens, threshold=p_value).once()
        found += [Hit(int(row), int(start), hits.width, name) for row, start in zip(hits.row, hits.start, strict=True)]
    return sorted(found)


def hits_of_run(run: Run, task: str, spec: str, n: int) -> tuple[Sequences, list[Hit]]:
    """The explained positives of a task, and the hits that the stage discover called in them.

    The hits are those of the best map that has some, see `runs.preferred`. Where windows of the genome overlap, a hit
    lies in each of them that holds the whole of it.

    Args:
      run: a run with hits.
      task, spec: whose.
      n: sequences at most, of the length that most have.

    Raises:
      InputError: there are no hits (of these sequences), or a line of `hits.bed` is none.
    """
    folder = run.directory.path / 'motifs' / files.safe_name(task) / files.safe_name(spec)
    methods = prefer(run.directory.tables, task, spec, BEST_FIRST).methods
    paths = [folder / method / 'hits.bed' for method in methods]
    lines: list[tuple[str, int, int, str]] = []
    for path in filter(pathlib.Path.is_file, paths):
        lines = _bed_lines(path)
        if lines:
            break
    if not lines:
        raise InputError(f'{folder}: there are no hits of the run; run the stage discover, or name --motifs')
    corpus, rows = run.directory.corpus(), Explanations(run.directory).rows(task)
    rows = rows[np.asarray(corpus.labels[rows]) == 1]
    lengths = np.asarray(corpus.lengths[rows])
    length = int(np.bincount(lengths).argmax())
    n_left_out = int((lengths != length).sum())
    rows = rows[lengths == length][:n]
    places: dict[str, list[tuple[int, int, bool]]] = {}
    for number, row in enumerate(rows.tolist()):
        place = None if corpus.intervals is None else corpus.intervals[row]
        if place is not None and place['chrom'] >= 0:
            where = corpus.chroms[place['chrom']], int(place['start']), bool(place['strand'] < 0)
        else:
            where = corpus.name(row), 0, False
        places.setdefault(where[0], []).append((number, *where[1:]))
    hits = []
    for chrom, first, last, name in lines:
        for number, offset, turned in places.get(chrom, ()):
            start, width = first - offset, last - first
            if start >= 0 and start + width <= length:
                hits.append(Hit(number, length - start - width if turned else start, width, name))
    if not hits:
        raise InputError(f'{path}: has no hit in {len(rows)} explained positives')
    return Sequences(tuple(map(corpus.name, rows.tolist())), corpus.padded(rows)[:, :length], n_left_out), sorted(hits)


def _bed_lines(path: pathlib.Path) -> list[tuple[str, int, int, str]]:
    """Sequence or chromosome, start, stop and motif of each line."""
    found = []
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), start=1):
        if line.startswith('#'):
            continue
        cells = line.split('\t')
        if len(cells) < 4 or not (cells[1].isdigit() and cells[2].isdigit() and int(cells[1]) < int(cells[2])):
            raise InputError(f'{path}: line {number}: {brief(line)}, expected BED with a name')
        found.append((formats.unescape(cells[0]), int(cells[1]), int(cells[2]), formats.unescape(cells[3])))
    return found


def shared_sequences(conditions: tuple[tuple[Run, str], tuple[Run, str]], n: int, *, seed: int = 0) -> Sequences:
    """Test positives of either of two tasks that are test sequences of both, letter by letter, of the usual length.

    Args:
      conditions: the run and the task of each.
      n: sequences at most, drawn at random.
      seed: of what is drawn.

    Raises:
      InputError: the two share none.
    """
    known: list[dict[bytes, tuple[str, int]]] = []
    for run, task in conditions:
        corpus = run.directory.corpus()
        rows = np.arange(len(corpus))[corpus.rows(task, 'test')]
        tokens, lengths = corpus.padded(rows), corpus.lengths[rows].tolist()
        known.append(
            {
                tokens[at, : lengths[at]].tobytes(): (corpus.name(row), int(corpus.labels[row]))
                for at, row in enumerate(rows.tolist())
            }
        )
    shared = [row for row, (_, label) in known[0].items() if row in known[1] and label + known[1][row][1] > 0]
    if not shared:
        counts = ' and '.join(
            f'{task} of {run.directory.path} ({len(rows)})' for (run, task), rows in zip(conditions, known, strict=True)
        )
        raise InputError(f'{counts} share no bound test sequence; name some that both shall read with --fasta')
    length = int(np.bincount([len(row) for row in shared]).argmax())
    kept = [row for row in shared if len(row) == length]
    drawn = sorted(np.random.default_rng(seed).permutation(len(kept))[:n].tolist())
    rows = [kept[at] for at in drawn]
    tokens = np.stack([np.frombuffer(row, np.uint8) for row in rows])
    return Sequences(tuple(known[0][row][0] for row in rows), tokens, len(shared) - len(kept))


def motifs_of_both(
    conditions: tuple[tuple[Run, str, str], tuple[Run, str, str]],
) -> tuple[dict[str, Motif], dict[str, str]]:
    """The found motifs of two conditions, those that are alike once, and where each was found.

    Args:
      conditions: the run, the task and the spec of each.

    Returns:
      The motifs by name, '1:SPEC/METHOD/for_1' ('2:' for the second condition); and by name 'both', 'first' or
      'second'. Both are empty where the stage discover has found nothing.
    """
    chosen: dict[str, Motif] = {}
    found_in: dict[str, str] = {}
    for which, (run, task, spec) in enumerate(conditions, start=1):
        folder = run.directory.path / 'motifs' / files.safe_name(task) / files.safe_name(spec)
        methods = prefer(run.directory.tables, task, spec, BEST_FIRST).methods
        paths = ((method, folder / method / 'found.meme') for method in methods)
        method, path = next(
            (
                (method, path)
                for method, path in paths
                if path.is_file() and 'MOTIF' in path.read_text(encoding='utf-8')
            ),
            ('', None),
        )
        for name, matrix in (formats.read_meme(path) if path else {}).items():
            mine = JasparMatrix('', '', matrix, matrix)
            alike = [
                known
                for known, motif in chosen.items()
                if found_in[known] != 'second'
                and own.compare(JasparMatrix('', '', motif, motif), mine).agreement >= SAME  # type: ignore[arg-type]
            ]
            if which == 2 and alike:
                found_in[alike[0]] = 'both'
                continue
            label = f'{which}:{spec}/{method}/{name}'
            chosen[label], found_in[label] = matrix, ('first', 'second')[which - 1]
    return chosen, found_in


def write_designs(path: pathlib.Path, names: Sequence[str], sequences: Sequence[str]) -> None:
    """Write designed sequences as FASTA."""
    files.write_text(path, ''.join(f'>{name}\n{text}\n' for name, text in zip(names, sequences, strict=True)))
