"""A corpus on disk: memory-mapped `.npy` files and a JSON manifest (edge: touches the disk)."""

import os
import pathlib

import numpy as np

from demo_jax import dna
from demo_jax.data.corpus import INTERVAL_DTYPE, ROLES, SITE_DTYPE, Corpus, clean_name
from demo_jax.errors import InputError, brief
from demo_jax.io import arrays
from demo_jax.io.files import atomic_directory, read_json, write_json

FORMAT = 'demo_jax corpus'
VERSION = 1
MANIFEST = 'manifest.json'

_ARRAYS: dict[str, np.dtype] = {
    'tokens': np.dtype('u1'),
    'starts': np.dtype('<i8'),
    'labels': np.dtype('u1'),
    'pairs': np.dtype('<i8'),
    'bounds': np.dtype('<i8'),
    'name_bytes': np.dtype('u1'),
    'name_starts': np.dtype('<i8'),
    'intervals': INTERVAL_DTYPE,
    'sites': SITE_DTYPE,
}
_OPTIONAL = ('intervals', 'sites')


def save_corpus(corpus: Corpus, path: str | os.PathLike) -> None:
    """Write a corpus as the directory `path`, atomically; an existing directory is replaced."""
    with atomic_directory(path) as folder:
        shapes = {}
        for name, dtype in _ARRAYS.items():
            array = getattr(corpus, name)
            if array is not None:
                np.save(folder / f'{name}.npy', np.asarray(array, dtype), allow_pickle=False)
                shapes[name] = list(array.shape)
        manifest = {
            'format': FORMAT,
            'version': VERSION,
            'fingerprint': corpus.fingerprint(),
            'shapes': shapes,
            'tasks': list(corpus.tasks),
            'chroms': list(corpus.chroms),
            'site_motifs': list(corpus.site_motifs),
            'info': dict(corpus.info),
        }
        write_json(folder / MANIFEST, manifest)


def is_corpus(path: str | os.PathLike) -> bool:
    """Whether `path` is a directory with a corpus manifest in it."""
    return os.path.isfile(os.path.join(path, MANIFEST))


def load_corpus(path: str | os.PathLike, *, verify: bool = False) -> Corpus:
    """Open a corpus that `save_corpus` wrote. Arrays are memory-mapped and read-only.

    Args:
      path: the directory.
      verify: read all arrays and compare the content with the manifest's fingerprint.

    Raises:
      InputError: not a corpus, another version, or a file that is missing, damaged or of another shape.
    """
    path = pathlib.Path(path)
    manifest = _manifest(path)
    loaded = {}
    for name, dtype in _ARRAYS.items():
        if name in manifest['shapes']:
            loaded[name] = _array(path / f'{name}.npy', dtype, manifest['shapes'][name])
        elif name not in _OPTIONAL:
            raise InputError(f'{path / MANIFEST}: lists no array {name!r}')
    corpus = Corpus(
        **loaded,
        tasks=tuple(manifest['tasks']),
        chroms=tuple(manifest['chroms']),
        site_motifs=tuple(manifest['site_motifs']),
        info=manifest['info'],
    )
    _check(path, corpus)
    if verify and corpus.fingerprint() != manifest['fingerprint']:
        raise InputError(f'{path}: its content does not have the fingerprint that {MANIFEST} names')
    return corpus


def stored_fingerprint(path: str | os.PathLike) -> str:
    """The fingerprint in a corpus's manifest, without reading its arrays; InputError as `load_corpus`."""
    return _manifest(pathlib.Path(path))['fingerprint']


def _manifest(path: pathlib.Path) -> dict:
    if not os.path.isdir(path):
        raise InputError(f'{path}: is not a directory, expected a corpus made by experiments.prepare')
    file = path / MANIFEST
    manifest = read_json(file)
    if not isinstance(manifest, dict) or manifest.get('format') != FORMAT:
        raise InputError(f'{file}: is not the manifest of a corpus')
    if manifest.get('version') != VERSION:
        raise InputError(
            f'{file}: format version {brief(manifest.get("version"))}, expected {VERSION}; prepare the corpus again'
        )
    kinds = {'fingerprint': str, 'shapes': dict, 'tasks': list, 'chroms': list, 'site_motifs': list, 'info': dict}
    for key, kind in kinds.items():
        if not isinstance(manifest.get(key), kind):
            raise InputError(f'{file}: {key} is {brief(manifest.get(key))}, expected a {kind.__name__}')
    for key in ('tasks', 'chroms', 'site_motifs'):
        for name in manifest[key]:
            if not isinstance(name, str):
                raise InputError(f'{file}: {key} holds {brief(name)}, expected names')
    for name in manifest['tasks']:
        if clean_name(name) != name:
            raise InputError(f'{file}: tasks holds {brief(name)}, expected printable names')
    if len(set(manifest['tasks'])) < len(manifest['tasks']):
        raise InputError(f'{file}: tasks names one task twice')
    tasks = manifest['info'].get('tasks', {})
    if not isinstance(tasks, dict) or not all(isinstance(facts, dict) for facts in tasks.values()):
        raise InputError(f'{file}: info is {brief(manifest["info"])}, expected facts of each task')
    return manifest


def _array(file: pathlib.Path, dtype: np.dtype, shape: list[int]) -> np.ndarray:
    try:
        array = arrays.map_npy(file)
    except InputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise InputError(f'{file}: is missing; prepare the corpus again') from None
        reason = str(error).partition('cannot be read (')[2].removesuffix(')')
        raise InputError(f'{file}: is damaged ({reason}); prepare the corpus again') from error
    if list(array.shape) != shape or array.dtype != dtype:
        raise InputError(
            f'{file}: holds {str(array.dtype)[:80]} of shape {list(array.shape)}, expected {dtype} of shape '
            f'{brief(shape)}'
        )
    return array


def _check(path: pathlib.Path, corpus: Corpus) -> None:
    """Check that the arrays fit together and that their values are valid."""
    n = corpus.labels.size
    shapes = (
        corpus.labels.ndim == corpus.tokens.ndim == corpus.name_bytes.ndim == 1
        and corpus.starts.shape == corpus.name_starts.shape == (n + 1,)
        and corpus.pairs.shape == (n,)
        and corpus.bounds.shape == (len(corpus.tasks), 4)
        and (corpus.intervals is None or corpus.intervals.shape == (n,))
        and (corpus.sites is None or corpus.sites.ndim == 1)
    )
    if not shapes or not (
        _steps(corpus.starts, len(corpus.tokens))
        and _steps(corpus.name_starts, len(corpus.name_bytes))
        and corpus.bounds.min(initial=0) >= 0
        and corpus.bounds.max(initial=0) <= n
        and (np.diff(corpus.bounds) >= 0).all()
        and np.array_equal(corpus.bounds[1:, 0], corpus.bounds[:-1, 3])
        and (not corpus.tasks or (corpus.bounds[0, 0] == 0 and corpus.bounds[-1, -1] == n))
    ):
        raise InputError(f'{path}: its arrays do not fit together; prepare the corpus again')
    values = {
        'tokens': corpus.tokens.max(initial=0) <= dna.N,
        'labels': corpus.labels.max(initial=0) <= 1,
        'pairs': corpus.pairs.min(initial=0) >= -1,
    }
    if corpus.intervals is not None:
        chrom, start = corpus.intervals['chrom'], corpus.intervals['start']
        values['intervals'] = bool(
            ((chrom >= -1) & (chrom < len(corpus.chroms)) & (start >= 0) & (start < 1 << 60)).all()
        )
    if corpus.sites is not None:
        values['sites'] = _sites_fit(corpus, corpus.sites)
    for name, good in values.items():
        if not good:
            raise InputError(f'{path / name}.npy: holds values out of range; prepare the corpus again')


def _steps(starts: np.ndarray, end: int) -> bool:
    """Whether starts (n + 1,) rise from 0 to `end`. The range is checked first: differences of int64 may overflow."""
    inside = starts.min() >= 0 and starts.max() <= end
    return bool(inside and starts[0] == 0 and starts[-1] == end and (np.diff(starts) >= 0).all())


def _sites_fit(corpus: Corpus, sites: np.ndarray) -> bool:
    """Whether sites lie inside their sequences, are sorted by row, and have a known motif and role."""
    row, start, width = (sites[name].astype(np.int64) for name in ('row', 'start', 'width'))
    if row.size and not (row[0] >= 0 and row[-1] < len(corpus) and (np.diff(row) >= 0).all()):
        return False
    inside = (start >= 0) & (width >= 0) & (start + width <= corpus.lengths[row])
    motif = (sites['motif'] >= 0) & (sites['motif'] < len(corpus.site_motifs))
    return bool((inside & motif & (sites['role'] < len(ROLES))).all())
