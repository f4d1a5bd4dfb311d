"""DeepBind's published models as models of this package (edge: reads files).

library = demo_jax.load_deepbind('deepbind')
library['D00328.018'].mutagenesis(['ACGT...']).plot()
library.select('CTCF', 'K562')  # a list of models
"""

import os
from collections.abc import Iterator, Mapping, Sequence

from demo_jax.data.deepbind_models import Entry, Index, read_index, read_parameters
from demo_jax.errors import InputError, brief
from demo_jax.explain.attribution import mutation_maps
from demo_jax.nn.deepbind import DeepBind, score_mutants
from demo_jax.predict.model import Model
from demo_jax.predict.results import Maps

#: Letters at a time of which sequences are scored that may have any length, and of which class optima are made.
LENGTH = 101


class Library(Mapping[str, Model]):
    """The published models of a folder, by their ids; parameters are read when a model is asked for.

    Attributes:
      index: which models there are.
      windows: whether a score is the highest of all windows of 1.5 detector lengths, see `nn.deepbind.DeepBind`.
    """

    def __init__(self, index: Index, *, windows: bool = True) -> None:
        self.index, self.windows = index, windows
        self._entries = {entry.id: entry for entry in index.entries}
        self._read: dict[str, Model] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Model:
        """The model of an id, e.g. 'D00328.003'.

        Raises:
          InputError: no such id (the nearest are named), or its parameters cannot be read.
        """
        if name not in self._entries:
            if not isinstance(name, str) or '+' in name:
                raise InputError(f'{self.index.folder}: no model has the id {brief(name)}')
            found = self.index.select([name])  # raises unless it is a word that describes others
            raise InputError(
                f'{self.index.folder}: {brief(name)} describes {len(found)} models, expected an id such as '
                f'{found[0].id} (see `select`)'
            )
        if name not in self._read:
            self._read[name] = self._load(self._entries[name])
        return self._read[name]

    def entry(self, name: str) -> Entry:
        """What the index says of a model.

        Raises:
          KeyError: no such id.
        """
        return self._entries[name]

    def select(self, *words: str) -> list[Model]:
        """The models that one of some words describes, see `Index.select`; without a word, all.

        Raises:
          InputError: a word describes none (the nearest are named), or parameters cannot be read.
        """
        return [self[entry.id] for entry in self.index.select(words)]

    def _load(self, entry: Entry) -> Model:
        shape, params = read_parameters(self.index.parameters(entry))
        score = DeepBind(shape, self.windows)
        return Model(entry.protein, entry.id, 0, params, False, max(LENGTH, 2 * shape.window), score)


def mutagenesis(models: Sequence[Model], sequences: Sequence[str]) -> list[Maps]:
    """DeepBind's mutation maps of many published models at once: one program per shape, see `Model.mutagenesis`.

    Args:
      models: of a `Library`.
      sequences: as for `Model.predict`, at least one.

    Raises:
      InputError: as `Model.predict`, or no sequence.
    """
    texts = tuple(map(str, sequences))
    if not texts or not models:
        raise InputError('no sequences or models were given, expected at least one')
    tokens, lengths = models[0].encode(texts)
    found = score_mutants([model.score for model in models], [model.params for model in models], tokens, lengths)
    maps = mutation_maps(found, tokens)
    return [
        Maps(
            model.title,
            'mutagenesis',
            False,
            texts,
            maps.score[m],
            tuple(row[: len(text)] for row, text in zip(maps.signed[m], texts, strict=True)),
            tuple(row[: len(text)] for row, text in zip(maps.hypothetical[m], texts, strict=True)),
            None,
        )
        for m, model in enumerate(models)
    ]


def load_deepbind(folder: str | os.PathLike, *, windows: bool = True) -> Library:
    """The models that DeepBind's authors have published, ready to predict and explain.

    Args:
      folder: with `db.tsv` and `params/`, see `data.deepbind_models`.
      windows: score as the tool does by default, by the best window of 1.5 detector lengths; False: the whole sequence
        at once, on which the published AUROCs are.

    Returns:
      A mapping from ids to `Model`s. Their task is the protein, their spec the id. Letters are DNA; those made of RNA
      read T as U, and the given strand alone.

    Raises:
      InputError: no such models there.
    """
    return Library(read_index(folder), windows=windows)
