"""What the stage `match` writes of the TF's own matrices: what they are, and where they match (edge)."""

import pathlib
from collections.abc import Sequence

import numpy as np

from demo_jax.data.corpus import Corpus
from demo_jax.io import files
from demo_jax.motifs import formats, own, scan
from demo_jax.motifs.jaspar import JasparMatrix


def write_hits(
    folder: pathlib.Path,
    corpus: Corpus,
    rows: np.ndarray,
    matrices: Sequence[JasparMatrix],
    release: str,
    p_value: float,
) -> None:
    """Write a task's `own_matrices.tsv` and `jaspar_hits.bed`.

    Args:
      folder: where they go.
      corpus: of the task.
      rows: int (n,), the corpus rows to scan. If some of them have a position on the genome, the others are left out,
        since a file has one coordinate system; a site in two overlapping windows is one line.
      matrices: of the TF; without any, the table is empty and there are no hits.
      release: of the matrices.
      p_value: the largest p-value of a hit. A matrix that is too short to reach it reports its best words, and the name
        has their p-value: 'MA0058.4:MAX:p=2.4e-04' instead of 'MA0058.4:MAX'.
    """
    placed = np.zeros(len(rows), bool) if corpus.intervals is None else corpus.intervals[rows]['chrom'] >= 0
    rows = rows[placed] if placed.any() else rows
    tokens, made, table = corpus.padded(rows), [], []
    for matrix in matrices:
        hits = scan.known_hits(matrix.probabilities, tokens, threshold=p_value)
        label = matrix.label if hits.threshold <= p_value else f'{matrix.label}:p={hits.threshold:.1e}'
        made += formats.hit_rows(hits, corpus, rows, label=label)
        table.append(own.matrix_row(matrix, release, hits.threshold))
    formats.write_bed(folder / 'jaspar_hits.bed', sorted(set(made) if placed.any() else made))
    files.write_tsv(folder / 'own_matrices.tsv', table, own.MATRIX_COLUMNS)
