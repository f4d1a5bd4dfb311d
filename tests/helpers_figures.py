"""What a figure holds."""

import contextlib
from collections.abc import Iterator
from unittest import mock

from matplotlib.backends.backend_pdf import PdfFile
from matplotlib.path import Path

from demo_jax.report import plots


def drawn_letters(ax) -> dict[tuple[str, int], tuple[float, float]]:
    """(letter and sign, position) -> bottom and top of each letter drawn."""
    found = {}
    for patch in ax.artists + ax.patches:
        if not patch.get_gid():
            continue
        path = patch.get_path()
        size = len(plots._outline(patch.get_gid()[0]).codes)
        for vertices in path.vertices.reshape(-1, size, 2):
            box = Path(vertices, plots._outline(patch.get_gid()[0]).codes).get_extents()
            found[patch.get_gid(), round(float(box.x0 + box.x1) / 2)] = (float(box.y0), float(box.y1))
    return found


@contextlib.contextmanager
def pdfs_without_fonts() -> Iterator[None]:
    """PDF files of a report without their fonts: to cut these takes as long as all else that draws a page's figures."""

    def write_fonts(self: PdfFile) -> None:
        self.writeObject(self.fontObject, {})

    with mock.patch.object(PdfFile, 'writeFonts', write_fonts):
        yield
