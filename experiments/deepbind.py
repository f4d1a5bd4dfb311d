r"""A page of DeepBind's published models, without any training: class optima, detector motifs, JASPAR matches.

    python -m experiments.deepbind --deepbind=deepbind --workdir=runs/deepbind_models
    python -m experiments.deepbind --deepbind=deepbind --workdir=runs/k562 --models=K562 --jaspar=JASPAR2016
    python -m experiments.deepbind --deepbind=deepbind --workdir=runs/deepbind_models --download

All 683 models of TFs take some ten minutes on 2 cores. The last line that it prints is the page to open; the numbers
are in WORKDIR/tables/models.tsv and table4.tsv. With --download, the models are fetched into the folder if it is not
there. See docs/files.md.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from demo_jax.stages.deepbind import LibrarySettings
from experiments import cli

_DEEPBIND = cli.define_path('deepbind', None, 'Folder of the models: db.tsv and params/.', required=True)
_WORKDIR = cli.define_workdir('runs/deepbind_models', 'Folder for the tables and the page.')
_MODELS = flags.DEFINE_list('models', ['TF'], 'Which models, see experiments.score; default all of TFs.')
_DOWNLOAD = flags.DEFINE_bool('download', False, 'Fetch the models if the folder is not there.')
_SETTINGS = cli.define_settings(LibrarySettings)


def main(argv: Sequence[str]) -> None:
    """Describe the models, print how many match, and where the page lies."""
    del argv
    from demo_jax.data.deepbind_models import fetch
    from demo_jax.predict.deepbind import load_deepbind
    from demo_jax.report.console import print_tables
    from demo_jax.stages.deepbind import describe_library

    if _DOWNLOAD.value:
        fetch(_DEEPBIND.value)
    library = load_deepbind(_DEEPBIND.value, windows=False)
    index, tables = describe_library(library, _MODELS.value, pathlib.Path(_WORKDIR.value), _SETTINGS())
    print_tables({'table4': tables['table4']})
    print(f'models: {pathlib.Path(_WORKDIR.value) / "tables" / "models.tsv"}')
    print(f'dashboard: {index}')


if __name__ == '__main__':
    cli.run(main)
