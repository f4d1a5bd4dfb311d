"""The files of DeepBind's published models: the index `db.tsv` and `params/ID.txt` (edge: reads files).

Format, licence (BSD-3) and models are those of version 0.11 of the tool (Alipanahi et al. 2015, Nature Biotechnology
33:831, http://tools.genes.toronto.edu/deepbind).
"""

import difflib
import hashlib
import math
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from demo_jax.data.download import extract
from demo_jax.errors import InputError, brief, listed
from demo_jax.io.files import atomic_directory
from demo_jax.io.textfile import read_lines
from demo_jax.nn.deepbind import Shape, canonical

INDEX, PARAMETERS = 'db.tsv', 'params'
#: The first line of a parameter file, without '# '.
VERSION = 'deepbind 0.1'
#: Where the authors' archive lies. Its `deepbind/db` holds index, parameters and licence.
ARCHIVE = 'http://tools.genes.toronto.edu/deepbind/deepbind-v0.11-linux.tgz'
#: `content_digest` of the 927 models: what is fetched must be these, however it is packed.
DIGEST = 'e73be7d74c6bcb7e88d50090abbbe11aa50d26a69d5f74434d4c8e5621f176ea'
_COLUMNS = ('ID', 'Protein', 'Type', 'Species', 'Family', 'Experiment', 'Experiment Details', 'Labels')
_INTEGERS = ('reverse_complement', 'num_detectors', 'detector_len', 'has_avg_pooling', 'num_hidden')
_ARRAYS = ('detectors', 'thresholds', 'weights1', 'biases1', 'weights2', 'biases2')
#: What each of the integers may be. The published models have detectors of 14 to 36 letters.
_LIMITS: Mapping[str, tuple[int, int]] = {
    'reverse_complement': (0, 1),
    'num_detectors': (1, 1024),
    'detector_len': (4, 256),
    'has_avg_pooling': (0, 1),
    'num_hidden': (0, 1024),
}


class Entry(NamedTuple):
    """A published model, as the index describes it.

    Attributes:
      id: e.g. 'D00328.003'.
      protein: its symbol, as the index writes it.
      kind: 'TF' or 'RBP'.
      species: e.g. 'Homo sapiens'.
      family: of proteins, e.g. 'C2H2 ZF'; '' = not known.
      experiment: 'ChIP-seq', 'SELEX', 'PBM' or 'RNAcompete'.
      details: of the experiment, e.g. {'CellLine': 'K562'}.
      data: name of the set that it was trained on, e.g. 'ARID3A_K562_ARID3A_(sc-8821)_Stanford'; '' = not known.
    """

    id: str
    protein: str
    kind: str
    species: str
    family: str
    experiment: str
    details: Mapping[str, str]
    data: str = ''

    @property
    def cell(self) -> str:
        """The cell line, '' where there is none."""
        return self.details.get('CellLine', '')

    @property
    def is_rna(self) -> bool:
        """Whether it was made of RNA."""
        return self.kind == 'RBP'

    @property
    def labels(self) -> frozenset[str]:
        """The words that `Index.select` knows it by, in small letters."""
        families = (self.family, *self.family.split(','))
        words = (self.id, self.protein, self.kind, self.species, *families, self.experiment, self.cell)
        return frozenset(word.casefold() for word in words if word)


class Index(NamedTuple):
    """The models that lie in a folder.

    Attributes:
      folder: which.
      entries: those with parameters, in the order of the index.
      missing: ids that are not deprecated, but whose parameters are not there.
      unlisted: ids of parameter files that the index does not know.
    """

    folder: pathlib.Path
    entries: tuple[Entry, ...]
    missing: tuple[str, ...]
    unlisted: tuple[str, ...]

    def parameters(self, entry: Entry) -> pathlib.Path:
        """Where the parameters of a model lie."""
        return self.folder / PARAMETERS / f'{entry.id}.txt'

    def select(self, words: Sequence[str]) -> tuple[Entry, ...]:
        """The models that one of some words describes, in the order of the index; no word = all.

        A word is an id, or a protein, 'TF' or 'RBP', an experiment, a cell line, a family or a species, in any case
        of letters. Words joined by '+' must all hold: 'CTCF+ChIP-seq'.

        Raises:
          InputError: a word describes no model; names the nearest.
        """
        known = {entry.id: entry.labels for entry in self.entries}
        chosen: set[str] = set()
        for word in words:
            parts = [part.strip() for part in word.split('+')]
            for part in parts:
                if not any(part.casefold() in labels for labels in known.values()):
                    raise self._unknown(part)
            found = [name for name, labels in known.items() if all(part.casefold() in labels for part in parts)]
            if not found:
                raise InputError(f'{self.folder}: no model is all of {", ".join(map(brief, word.split("+")))}')
            chosen.update(found)
        return tuple(entry for entry in self.entries if not words or entry.id in chosen)

    def _unknown(self, word: str) -> InputError:
        spelled = {
            label.casefold(): label
            for entry in self.entries
            for label in (entry.id, entry.protein, entry.family, entry.experiment, entry.cell, entry.species)
            if label
        }
        if word.upper() in self.missing:
            return InputError(f'{self.folder}: the parameters of model {word.upper()} are not there')
        near = [spelled[name] for name in difflib.get_close_matches(word.casefold(), spelled, n=3, cutoff=0.5)]
        hint = f'; the nearest are {", ".join(near)}' if near else ''
        return InputError(
            f'{self.folder}: no model is called {brief(word)} (an id, protein, TF, RBP, experiment, cell line, family '
            f'or species){hint}'
        )


def content_digest(folder: str | os.PathLike) -> str:
    """sha256 of the models of a folder that have parameters: their lines, whatever ends them, by id."""
    index = read_index(folder)
    digest = hashlib.sha256()
    for entry in sorted(index.entries, key=lambda entry: entry.id):
        digest.update(f'{entry.id}\0{entry.protein}\0'.encode())
        for line in read_lines(index.parameters(entry)):
            digest.update(line.text + b'\n')
    return digest.hexdigest()


def fetch(folder: str | os.PathLike, *, progress: bool = True) -> None:
    """Fetch the authors' archive of the published models, unless the folder is there already.

    Args:
      folder: is made, with `db.tsv`, `params/` and the licence, when all of it has been checked.
      progress: show a progress bar.

    Raises:
      InputError: the archive cannot be reached, is no whole archive, or holds other models.
    """
    folder = pathlib.Path(folder)
    if folder.exists():
        return
    import pooch

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f'.{folder.name[:80]}.') as place:
        try:
            pooch.get_logger().setLevel('WARNING')
            packed = pooch.retrieve(ARCHIVE, None, fname='archive.tgz', path=place, progressbar=progress)
        except (OSError, ValueError) as error:  # all those of requests are OSErrors
            text = ' '.join(str(error).split())
            raise InputError(f'{ARCHIVE}: cannot be downloaded ({brief(text, 200)})') from error
        unpacked = extract(packed, pathlib.Path(place) / 'unpacked')
        found = next((path.parent for path in sorted(unpacked.rglob(INDEX))), unpacked)
        if content_digest(found) != DIGEST:
            raise InputError(f'{ARCHIVE}: holds other models than those of version 0.11; nothing was kept')
        with atomic_directory(folder) as made:
            shutil.copytree(found / PARAMETERS, made / PARAMETERS)
            for path in [found / INDEX, *unpacked.rglob('*LICENSE*')]:
                shutil.copy(path, made / path.name)


def read_index(folder: str | os.PathLike) -> Index:
    """The index of the models in a folder.

    Raises:
      InputError: the folder holds no index or no parameters, or a row of the index does not fit; names the line.
    """
    folder = pathlib.Path(folder)
    path = folder / INDEX
    if not path.is_file():
        raise InputError(
            f'{folder}: is no folder of DeepBind models, it has no {INDEX}; the official archive holds {INDEX} and '
            f'{PARAMETERS}/ (--download fetches it)'
        )
    have = {file.stem for file in (folder / PARAMETERS).glob('*.txt')}
    entries, missing, seen = [], [], set()
    for number, cells in _rows(path):
        name = cells['ID']
        if name in seen:
            raise InputError(f'{path}: line {number}: model {brief(name)} was listed before')
        seen.add(name)
        if name in have:
            entries.append(_entry(path, number, cells))
        elif 'deprecated' not in cells['Labels']:
            missing.append(name)
    if not entries:
        raise InputError(f'{folder}: holds the parameters of none of the {len(seen):,} models that {INDEX} lists')
    return Index(folder, tuple(entries), tuple(missing), tuple(sorted(have - seen)))


def _rows(path: pathlib.Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of the index, with their line numbers."""
    header: list[str] | None = None
    for number, text in read_lines(path):
        line = text.decode('utf-8', 'replace')
        if not line.strip() or line.startswith('#'):
            continue
        cells = line.split('\t')
        if header is None:
            header = cells
            absent = [name for name in _COLUMNS if name not in header]
            if absent:
                raise InputError(f'{path}: line {number}: has no column {", ".join(absent)}')
            continue
        if len(cells) != len(header):
            raise InputError(f'{path}: line {number}: has {len(cells)} columns, expected {len(header)}')
        yield number, dict(zip(header, cells, strict=True))
    if header is None:
        raise InputError(f'{path}: has no rows')


def _entry(path: pathlib.Path, number: int, cells: Mapping[str, str]) -> Entry:
    if not re.fullmatch(r'\w+(\.\w+)*', cells['ID'], re.ASCII):
        raise InputError(f'{path}: line {number}: ID is {brief(cells["ID"])}, expected one such as D00328.003')
    if cells['Type'] not in ('TF', 'RBP'):
        raise InputError(f'{path}: line {number}: Type is {brief(cells["Type"])}, expected TF or RBP')
    details = dict(pair.split('=', 1) for pair in re.findall(r"'([^']*=[^']*)'", cells['Experiment Details']))
    return Entry(
        cells['ID'],
        cells['Protein'],
        cells['Type'],
        cells['Species'],
        cells['Family'],
        cells['Experiment'],
        details,
        re.split(r'[/\\]', cells.get('Path', ''))[-1],
    )


def read_parameters(path: str | os.PathLike) -> tuple[Shape, dict[str, np.ndarray]]:
    """The shape and the parameters (see `nn.deepbind.DeepBind`) of a published model.

    Raises:
      InputError: the file is of another version, cut short, has another number of values than its counts say, or a
        value that is no finite number; names the line.
    """
    found: dict[str, tuple[int, str]] = {}
    lines = read_lines(path)
    first = next(lines).text.decode('utf-8', 'replace').strip()
    if first.lstrip('# ') != VERSION or not first.startswith('#'):
        raise InputError(f'{path}: line 1 is {brief(first)}, expected {"# " + VERSION!r}')
    for number, text in lines:
        name, equals, value = text.decode('utf-8', 'replace').partition('=')
        name = name.strip()
        if not name and not equals:
            continue
        if name not in _INTEGERS + _ARRAYS or not equals:
            raise InputError(f'{path}: line {number}: begins with {brief(name)}, expected NAME = VALUES')
        if name in found:
            raise InputError(f'{path}: line {number}: {name} was given before')
        found[name] = (number, value)
    absent = [name for name in _INTEGERS + _ARRAYS if name not in found]
    if absent:
        raise InputError(f'{path}: is cut short, it has no {listed(absent)}')
    counts = {name: _integer(path, name, *found[name]) for name in _INTEGERS}
    shape = Shape(
        counts['detector_len'],
        counts['num_detectors'],
        bool(counts['reverse_complement']),
        bool(counts['has_avg_pooling']),
        counts['num_hidden'],
    )
    features = shape.n_detectors * (2 if shape.averages else 1)
    sizes = {
        'detectors': shape.detector_len * 4 * shape.n_detectors,
        'thresholds': shape.n_detectors,
        'weights1': features * (shape.n_hidden or 1),
        'biases1': shape.n_hidden or 1,
        'weights2': shape.n_hidden,
        'biases2': int(shape.n_hidden > 0),
    }
    values = {name: _values(path, name, *found[name], sizes[name]) for name in _ARRAYS}
    return shape, canonical(shape, **values)


def _integer(path: str | os.PathLike, name: str, number: int, text: str) -> int:
    least, most = _LIMITS[name]
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        found = brief(text.strip())
        raise InputError(f'{path}: line {number}: {name} is {found}, expected an integer {least} to {most}')
    return value


def _values(path: str | os.PathLike, name: str, number: int, text: str, size: int) -> np.ndarray:
    cells = text.split(',') if text.strip() else []
    if len(cells) != size:
        raise InputError(f'{path}: line {number}: {name} has {len(cells):,} values, expected {size:,}')
    try:
        values = np.array(list(map(float, cells)))
    except ValueError:
        values = np.array([_number(cell) for cell in cells])
    if not np.isfinite(values).all():
        wrong = int(np.argmin(np.isfinite(values)))
        found = brief(cells[wrong].strip())
        raise InputError(f'{path}: line {number}: {name}: value {wrong + 1} is {found}, expected a finite number')
    return values


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
