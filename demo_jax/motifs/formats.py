"""Motifs, windows and attributions in the formats of other tools (edge: touches the disk).

Names may contain any character. In formats where white space ends a name, white space, control characters and '%' are
written as in a URL ('my motif' -> 'my%20motif'); the readers decode them.
"""

import itertools
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from demo_jax import dna
from demo_jax.data.corpus import Corpus
from demo_jax.errors import InputError, brief
from demo_jax.io import arrays, files
from demo_jax.io.textfile import check_size, read_lines
from demo_jax.motifs.column_scores import Targets
from demo_jax.motifs.extract import Windows, consensus
from demo_jax.motifs.scan import Hits
from demo_jax.motifs.tomtom import Matches

# As in the tomtom.tsv of MEME 5.
TOMTOM_COLUMNS = (
    'Query_ID',
    'Target_ID',
    'Optimal_offset',
    'p-value',
    'E-value',
    'q-value',
    'Overlap',
    'Query_consensus',
    'Target_consensus',
    'Orientation',
)


class BedRow(NamedTuple):
    """One line of BED6: 0-based `start`, `stop` after the last letter, `score` 0 to 1000, `strand` '+' or '-'."""

    chrom: str
    start: int
    stop: int
    name: str
    score: int
    strand: str


def escape(name: str) -> str:
    """Encode white space, control characters and a leading '#' or '>' of a name, reversibly; '' becomes '%'."""
    text = re.sub(r'[\s%\x00-\x1f\x7f-\x9f]|^[#>]', lambda match: urllib.parse.quote(match.group(), safe=''), name)
    return text or '%'


def unescape(name: str) -> str:
    """The inverse of `escape`."""
    return '' if name == '%' else urllib.parse.unquote(name)


def write_meme(
    path: str | os.PathLike,
    motifs: Mapping[str, np.ndarray],
    *,
    sites: Mapping[str, int] | None = None,
    background: Sequence[float] | np.ndarray = (0.25, 0.25, 0.25, 0.25),
) -> None:
    """Write motifs in MEME's minimal format, version 4.

    Args:
      path: the file.
      motifs: name -> probabilities (w, 4), A C G T.
      sites: name -> number of sites that the motif was made from; default 20, as MEME assumes. Some readers, such as
        Biopython, round probability times `nsites` to whole counts. If this would change the probabilities,
        `nsites` is multiplied by 10, 100, ... (see `written_sites`).
      background: probabilities of A C G T.

    Raises:
      InputError: a matrix is not (w, 4) or its rows do not add up to 1 (to 1e-3).
    """
    lines = ['MEME version 4', '', 'ALPHABET= ACGT', '', 'strands: + -', '', 'Background letter frequencies']
    lines += [' '.join(f'{letter} {share:.6g}' for letter, share in zip('ACGT', background, strict=True)), '']
    for name, matrix in motifs.items():
        matrix = _matrix(matrix, f'{path}: motif {brief(name)}')
        if not np.abs(matrix.sum(axis=1) - 1).max() < 1e-3:
            raise InputError(
                f'{path}: motif {brief(name)} has columns that add up to {matrix.sum(axis=1).min():.4g}, expected 1'
            )
        n_sites = written_sites(matrix, 20 if sites is None else sites[name])
        lines += [f'MOTIF {escape(name)}']
        lines += [f'letter-probability matrix: alength= 4 w= {len(matrix)} nsites= {n_sites} E= 0']
        lines += [' ' + ' '.join(f'{value:.6f}' for value in row) for row in matrix]
        lines += ['']
    files.write_text(path, '\n'.join(lines) + '\n')


def written_sites(matrix: np.ndarray, sites: int) -> int:
    """The `nsites` for a matrix (w, 4) that keeps it unchanged by a reader that rounds probability times `nsites`.

    Args:
      matrix: probabilities; zeros are allowed.
      sites: the true number of sites, 1 or more.

    Returns:
      `sites` times the smallest power of ten, at most 10^6, for which every probability is kept to 1e-4 and the counts
      of every column sum to `nsites` to a thousandth. If the probabilities are counts divided by their sum, without
      pseudocounts, this is `sites` itself.
    """
    matrix = np.asarray(matrix, np.float64)
    for factor in 10 ** np.arange(7):
        counts = np.rint(matrix * sites * factor)
        total = counts.sum(axis=1, keepdims=True)
        exact = total.all() and np.abs(counts / total - matrix).max() < 1e-4
        if exact and np.abs(total / (sites * factor) - 1).max() < 1e-3:
            break
    return int(sites * factor)


def read_meme(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read motifs in MEME's minimal format: name -> probabilities, float64 (w, 4).

    Raises:
      InputError: the file is missing, is not of DNA or RNA, or contains no motif; or a matrix differs from its header
        or does not contain probabilities (to 1e-2, since programs round them).
    """
    motifs: dict[str, np.ndarray] = {}
    lines = _lines(path, 'MEME')
    name = None
    for number, line in lines:
        if line.startswith('MOTIF'):
            words = line.split()
            if len(words) < 2:
                raise InputError(f'{path}: line {number} has no name after MOTIF')
            name = unescape(words[1])
        elif line.startswith('letter-probability matrix'):
            width = re.search(r'\bw=\s*([1-9][0-9]{0,5})\b', line)
            if name is None or width is None:
                raise InputError(f'{path}: line {number} is {brief(line)}, expected "w= WIDTH" and a MOTIF line before')
            following = (next(lines, (number + 1 + row, '')) for row in range(int(width.group(1))))
            matrix = np.array([_numbers(path, *line, 4) for line in following])
            odd = (matrix < 0).any(axis=1) | (np.abs(matrix.sum(axis=1) - 1) > 1e-2)
            if odd.any():
                found = f'has {matrix[odd][0].tolist()} in column {np.argmax(odd) + 1}'
                raise InputError(f'{path}: motif {brief(name)} {found}, expected probabilities of A C G T')
            _add(motifs, name, matrix, path)
            name = None
        elif re.fullmatch(r'ALPHABET=\s*\w+\s*', line) and line[9:].strip() not in ('ACGT', 'ACGU'):
            raise InputError(f'{path}: line {number} is {brief(line)}, expected ALPHABET= ACGT')
    if not motifs:
        raise InputError(f'{path}: holds no motif in MEME format (no line "MOTIF name" with a matrix)')
    return motifs


def write_jaspar(path: str | os.PathLike, motifs: Mapping[str, np.ndarray]) -> None:
    """Write motifs in JASPAR's format.

    Args:
      path: the file.
      motifs: name -> counts (w, 4), A C G T, whole numbers: lightmotif, for example, refuses a file that contains a
        decimal. `piles.whole_counts` makes counts from probabilities.

    Raises:
      InputError: a matrix is not (w, 4), or a count is negative or not whole; nothing is written.
    """
    lines = []
    for name, counts in motifs.items():
        counts = _matrix(counts, f'{path}: motif {brief(name)}')
        if (counts < 0).any() or (counts != np.rint(counts)).any():
            odd = counts[(counts < 0) | (counts != np.rint(counts))][0]
            raise InputError(f'{path}: motif {brief(name)} has a count of {odd:.6g}, expected whole numbers')
        cells = [[f'{value:.0f}' for value in row] for row in counts.T]
        size = max(len(cell) for row in cells for cell in row)
        lines += [f'>{escape(name)}']
        lines += [
            f'{letter} [ {" ".join(cell.rjust(size) for cell in row)} ]'
            for letter, row in zip('ACGT', cells, strict=True)
        ]
    files.write_text(path, '\n'.join(lines) + '\n')


def read_jaspar(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read motifs in JASPAR's format: name -> counts, float64 (w, 4).

    Raises:
      InputError: the file is missing or contains no motif, or a motif does not have four rows of equal length or has a
        negative count.
    """
    motifs: dict[str, np.ndarray] = {}
    lines = ((number, line) for number, line in _lines(path, 'JASPAR') if line.strip())
    for number, header in lines:
        body = itertools.islice(lines, 4)
        words = header[1:].split()
        if not header.startswith('>') or not words:
            raise InputError(f'{path}: line {number} is {brief(header)}, expected ">name"')
        rows: list[list[float]] = []
        for letter, (line_number, line) in zip('ACGT', body, strict=False):
            match = re.fullmatch(r'\s*([ACGT])\s*\[([^\]]*)\]\s*', line)
            if not match or match.group(1) != letter:
                raise InputError(f'{path}: line {line_number} is {brief(line)}, expected "{letter} [ counts ]"')
            rows.append(_numbers(path, line_number, match.group(2), len(rows[0]) if rows else None))
        if len(rows) < 4:
            raise InputError(f'{path}: line {number}: motif {brief(words[0])} has {len(rows)} rows, expected 4')
        if np.min(rows) < 0:
            raise InputError(f'{path}: motif {brief(words[0])} has a count of {np.min(rows):g}, expected 0 or more')
        _add(motifs, unescape(words[0]), np.array(rows).T, path)
    if not motifs:
        raise InputError(f'{path}: holds no motif in JASPAR format')
    return motifs


def bed_rows(windows: Windows, corpus: Corpus, rows: np.ndarray, *, label: str) -> list[BedRow]:
    """Windows as BED6, in genome coordinates if the corpus has them, otherwise relative to the sequence.

    Args:
      windows: `windows.row` are indices into `rows`.
      corpus: the corpus of the sequences.
      rows: int (n,), the corpus rows of the sequences that the windows are in.
      label: the name of every line, e.g. the task, spec and method.

    Returns:
      One row per window. The windows of a sequence that lies on the genome's reverse strand are converted to the
      forward strand. The score of a line is 1000 times window score / highest score, at least 0.
    """
    highest = np.nanmax(windows.score, initial=0.0) if len(windows) else 0.0
    lines = []
    for row, start, strand, score in zip(windows.row, windows.start, windows.strand, windows.score, strict=True):
        number, start, strand = int(rows[row]), int(start), int(strand)
        place = None if corpus.intervals is None else corpus.intervals[number]
        if place is not None and place['chrom'] >= 0:
            chrom = corpus.chroms[place['chrom']]
            if place['strand'] < 0:
                start, strand = int(corpus.lengths[number]) - start - windows.width, -strand
            start += int(place['start'])
        else:
            chrom = corpus.name(number)
        share = score / highest if highest > 0 and np.isfinite(score) else 0.0
        points = int(np.clip(round(1000 * share), 0, 1000))
        lines.append(BedRow(chrom, start, start + windows.width, label, points, '-' if strand < 0 else '+'))
    return lines


def hit_rows(hits: Hits, corpus: Corpus, rows: np.ndarray, *, label: str) -> list[BedRow]:
    """The hits of a known motif as BED6, one per window, in the coordinates of `bed_rows`.

    Args:
      hits: `hits.row` are indices into `rows`.
      corpus: the corpus of the sequences.
      rows: int (n,), the corpus rows of the sequences that were scanned.
      label: the name of every line, e.g. 'MA0035.3:Gata1'.

    Returns:
      One row per hit. The score is -100 log10 of the p-value, as in the browser tracks of JASPAR: 400 at 1e-4, and
      1000, the largest score of BED, at 1e-10 and below.
    """
    hits = hits.once()
    points = np.rint(np.clip(-100 * np.log10(np.maximum(hits.p_value, 1e-10)), 0, 1000)).astype(int)
    lines = bed_rows(Windows(hits.row, hits.start, hits.strand, hits.score, hits.width), corpus, rows, label=label)
    return [line._replace(score=score) for line, score in zip(lines, points.tolist(), strict=True)]


def write_bed(path: str | os.PathLike, rows: Iterable[BedRow]) -> None:
    """Write BED6, in the order given."""
    lines = [
        f'{escape(row.chrom)}\t{row.start}\t{row.stop}\t{escape(row.name)}\t{row.score}\t{row.strand}\n' for row in rows
    ]
    files.write_text(path, ''.join(lines))


def read_bed(path: str | os.PathLike) -> list[BedRow]:
    """Read BED6; lines that begin with '#', 'track' or 'browser' are skipped.

    Raises:
      InputError: the file is missing, or a line is not BED6.
    """
    rows = []
    for number, line in _lines(path):
        if not line.strip() or re.match(r'#|track\s+\w+=|browser\s+\w+\s', line):
            continue
        cells = line.split('\t')
        try:
            chrom, start, stop, name, score, strand = cells
            row = BedRow(unescape(chrom), _whole(start), _whole(stop), unescape(name), _whole(score), strand)
        except ValueError:
            raise InputError(f'{path}: line {number} is {brief(line)}, expected six columns of BED') from None
        if not 0 <= row.start <= row.stop or row.strand not in ('+', '-', '.'):
            raise InputError(f'{path}: line {number} is {brief(line)}, expected 0 <= start <= stop and a strand')
        rows.append(row)
        check_size(path, len(rows))
    return rows


def write_tomtom(
    path: str | os.PathLike,
    matches: Matches,
    queries: Mapping[str, np.ndarray],
    targets: Targets,
    *,
    measure: str = 'q_value',
    threshold: float = 0.5,
) -> None:
    """Write matches with the columns of MEME's tomtom.tsv; the best match of each query comes first.

    Args:
      path: the file.
      matches: from `match_motifs` of `queries.values()` and `targets`.
      queries: name -> probabilities (w, 4).
      targets: the database.
      measure: 'p_value', 'e_value' or 'q_value': the value that `threshold` limits.
      threshold: the largest value that is written, as MEME's -thresh (its default is also a q-value of 0.5).
    """
    value = getattr(matches, measure)
    motif_ends = np.cumsum(np.tile(targets.widths, 2))
    targets_consensus = [consensus(part) for part in np.split(targets.columns, motif_ends[:-1])]
    rows = []
    for query, (name, matrix) in enumerate(queries.items()):
        for target in np.argsort(matches.p_value[query], kind='stable'):
            at = (query, target)
            if not value[at] <= threshold:
                continue
            forward = bool(matches.forward[at])
            cells = (
                escape(name),
                escape(targets.ids[target]),
                matches.offset[at],
                matches.p_value[at],
                matches.e_value[at],
                matches.q_value[at],
                matches.overlap[at],
                consensus(matrix),
                targets_consensus[target if forward else target + len(targets)],
                '+' if forward else '-',
            )
            rows.append(dict(zip(TOMTOM_COLUMNS, cells, strict=True)))
    files.write_tsv(path, rows, TOMTOM_COLUMNS)


def write_modisco(
    attributions_path: str | os.PathLike,
    sequences_path: str | os.PathLike,
    contributions: np.ndarray,
    tokens: np.ndarray,
) -> None:
    """Write the input of `modisco motifs -s SEQUENCES -a ATTRIBUTIONS -w WINDOW`: two .npz files with the key arr_0.

    TF-MoDISco uses the middle WINDOW positions, an even number: 100 of 101-bp sequences.

    Args:
      attributions_path: gets `contributions` as float32 (N, 4, L).
      sequences_path: gets the one-hot letters as float32 (N, 4, L).
      contributions: float (N, L, 4), hypothetical contributions: of every letter at every position, not only of the
        letter that is there.
      tokens: uint8 (N, L).

    Raises:
      ValueError: the shapes differ.
    """
    contributions, tokens = np.asarray(contributions, np.float32), np.asarray(tokens)
    if contributions.shape != (*tokens.shape, 4):
        raise ValueError(f'contributions {contributions.shape} must be tokens {tokens.shape} x 4')
    for path, array in ((attributions_path, contributions), (sequences_path, dna.one_hot(tokens))):
        with files.atomic_path(path) as temporary, open(temporary, 'wb') as handle:
            np.savez_compressed(handle, np.ascontiguousarray(array.transpose(0, 2, 1)))


def read_arr_0(path: str | os.PathLike) -> np.ndarray:
    """The array `arr_0` of an .npz file.

    Raises:
      InputError: the file is missing, is not an .npz, or has no such array.
    """
    try:
        return arrays.read_npz(path, ['arr_0'])['arr_0']
    except InputError as error:
        if isinstance(error.__cause__, OSError):
            raise
        reason = str(error).partition('cannot be read (')[2].removesuffix(')')
        raise InputError(f'{path}: is not an .npz file with an array arr_0 ({reason})') from error


def _matrix(matrix: np.ndarray, what: str) -> np.ndarray:
    matrix = np.asarray(matrix, np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != 4 or not len(matrix) or not np.isfinite(matrix).all():
        raise InputError(f'{what} has shape {matrix.shape}, expected finite numbers (width, 4)')
    return matrix


def _lines(path: str | os.PathLike, expected: str = 'text') -> Iterator[tuple[int, str]]:
    """Number and text of each line; `expected` as for `read_lines`."""
    for line in read_lines(path, expected, may_be_empty=True):
        try:
            text = line.text.decode('utf-8')
        except UnicodeDecodeError as error:
            raise InputError(f'{path}: line {line.number} is not text ({error.reason})') from error
        yield line.number, text


def _whole(cell: str) -> int:
    """A whole number of at most 18 digits; ValueError for anything else, such as '1_000'."""
    if not re.fullmatch('-?[0-9]{1,18}', cell):
        raise ValueError(cell)
    return int(cell)


def _numbers(path: str | os.PathLike, line_number: int, line: str, expected: int | None) -> list[float]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        values = []
    if not values or (expected is not None and len(values) != expected) or not np.isfinite(values).all():
        raise InputError(f'{path}: line {line_number} is {brief(line)}, expected {expected or "some"} numbers')
    return values


def _add(motifs: dict[str, np.ndarray], name: str, matrix: np.ndarray, path: str | os.PathLike) -> None:
    if name in motifs:
        raise InputError(f'{path}: motif {brief(name)} is there twice')
    motifs[name] = matrix
