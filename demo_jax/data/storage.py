"""A corpus on disk: memory-mapped `.npy` files and a JSON manifest (edge: touches the disk)."""

import os
import pathlib

import numpy as np

from demo_jax.data.corpus import INTERVAL_DTYPE, SITE_DTYPE, Corpus
from demo_jax.errors import InputError, brief
from demo_jax.files import atomic_directory, read_json, write_json

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
    """Write a corpus as the directory `path`, atomically; whatever was there is replaced."""
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
    return (pathlib.Path(path) / MANIFEST).is_file()


def load_corpus(path: str | os.PathLike, *, verify: bool = False) -> Corpus:
    """Open a corpus that `save_corpus` wrote. Arrays are memory-mapped and read-only.

    Args:
      path: the directory.
      verify: read everything and compare the content with the manifest's fingerprint.

    Raises:
      InputError: not a corpus, another version, or a file that is missing, damaged or of another shape.
    """
    path = pathlib.Path(path)
    manifest = _manifest(path)
    arrays = {}
    for name, dtype in _ARRAYS.items():
        if name in manifest['shapes']:
            arrays[name] = _array(path / f'{name}.npy', dtype, manifest['shapes'][name])
        elif name not in _OPTIONAL:
            raise InputError(f'{path / MANIFEST}: lists no array {name!r}')
    corpus = Corpus(
        **arrays,
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
    if not path.is_dir():
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
    return manifest


def _array(file: pathlib.Path, dtype: np.dtype, shape: list[int]) -> np.ndarray:
    try:
        # An empty array cannot be memory-mapped.
        array = np.load(file, mmap_mode='r' if np.prod(shape) else None, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f'{file}: is missing; prepare the corpus again') from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f'{file}: is damaged ({" ".join(str(error).split())}); prepare the corpus again') from error
    if list(array.shape) != shape or array.dtype != dtype:
        raise InputError(
            f'{file}: holds {array.dtype} of shape {list(array.shape)}, expected {dtype} of shape {shape}'
        )
    return array


def _check(path: pathlib.Path, corpus: Corpus) -> None:
    """Whether the arrays fit together."""
    n = len(corpus.labels)
    fits = (
        corpus.starts.shape == (n + 1,)
        and corpus.pairs.shape == (n,)
        and corpus.name_starts.shape == (n + 1,)
        and corpus.bounds.shape == (len(corpus.tasks), 4)
        and corpus.starts[0] == 0
        and corpus.starts[-1] == len(corpus.tokens)
        and (np.diff(corpus.starts) >= 0).all()
        and corpus.name_starts[-1] == len(corpus.name_bytes)
        and (np.diff(corpus.bounds.ravel()) >= 0).all()
        and (not corpus.tasks or (corpus.bounds[0, 0] == 0 and corpus.bounds[-1, -1] == n))
        and (corpus.intervals is None or corpus.intervals.shape == (n,))
    )
    if not fits:
        raise InputError(f'{path}: its arrays do not fit together; prepare the corpus again')
