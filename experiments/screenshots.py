r"""Make the README's pictures from a run: its page in a headless Chromium, and one figure.

    python -m experiments.screenshots --run=runs/quickstart

Needs the `test` extra (playwright) and a Chromium on the PATH, e.g. `apt install chromium`. Pictures are PNG
files below 200 kB.
"""

import pathlib
import shutil
import tempfile
import urllib.parse
from collections.abc import Sequence
from typing import Any, Literal

from absl import flags

from experiments import cli

_RUN = cli.define_run()
_OWN_SPECS = cli.define_own_specs()
_OUT = cli.define_path('out', 'pictures', 'Folder of the pictures.')
_TASK = flags.DEFINE_string('task', None, 'Task to show; default the one with the best mean test AUROC.')

ARGUMENTS = (
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
)
#: Name, view, width and height in points, theme.
VIEWS: tuple[tuple[str, str, int, int, Literal['light', 'dark']], ...] = (
    ('overview', 'overview', 1200, 820, 'light'),
    ('motifs', 'task', 1280, 900, 'light'),
    ('sequence', 'sequence', 1280, 1040, 'light'),
    ('sequence-dark', 'sequence', 1280, 1040, 'dark'),
    ('ask', 'change', 1280, 1160, 'light'),
    ('phone', 'sequence', 360, 740, 'light'),
)
MOST_BYTES = 200_000


def main(argv: Sequence[str]) -> None:
    """Draw the page where it is not up to date, photograph it, and print the pictures' paths."""
    del argv
    from demo_jax.errors import InputError
    from demo_jax.io import files
    from demo_jax.io.settings import read_settings
    from demo_jax.runs.directory import RunDirectory
    from demo_jax.stages.record import all_tables
    from demo_jax.stages.report import ReportSettings, report_run

    run = RunDirectory(_RUN.value, _OWN_SPECS.value)
    run.facts()
    chromium = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise InputError("playwright is not installed; pip install -e '.[test]'") from error
    if chromium is None:
        raise InputError('no Chromium on the PATH; on Debian: apt install chromium')
    with run.locked():
        shown = read_settings(ReportSettings, run.config().get('dashboard', {}), 'dashboard')
        index = report_run(run, all_tables(), shown)
    task = _TASK.value or _best_task(run)
    if task not in run.facts()['tasks']:
        raise InputError(f'--task={task}: the run has no such task')
    out = pathlib.Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as profile:
        for name, view, width, height, theme in VIEWS:
            context = driver.chromium.launch_persistent_context(
                pathlib.Path(profile) / name,
                executable_path=chromium,
                headless=True,
                args=list(ARGUMENTS),
                viewport={'width': width, 'height': height},
                color_scheme=theme,
            )
            path = out / f'{name}.png'
            _photograph(context.new_page(), index, view, task, path)
            context.close()
            _shrink(path)
            print(path)
    figures = sorted((run.path / 'figures' / 'dashboards' / files.safe_name(task)).glob('*.pdf'))
    if figures:  # the sequence that is drawn in all formats is the best-scored one
        path = out / 'figure.png'
        shutil.copyfile(figures[0].with_suffix('.png'), path)
        _shrink(path)
        print(path)


def _best_task(run: Any) -> str:
    """The task whose models have the best mean test AUROC."""
    import numpy as np

    from demo_jax.report.collect import Collector
    from demo_jax.stages.record import all_tables

    collector = Collector(run, all_tables())
    means = np.nan_to_num(np.mean(list(collector.auroc.values()), axis=0), nan=-1.0)
    return collector.corpus.tasks[int(np.argmax(means))]


def _photograph(page: Any, index: pathlib.Path, view: str, task: str, path: pathlib.Path) -> None:
    address = index.resolve().as_uri()
    if view != 'overview':
        address += f'#/task/{urllib.parse.quote(task, safe="")}' + ('' if view == 'task' else f'/{view}/0')
    page.goto(address)
    page.wait_for_selector('.figure, .task, .tasks')
    if view == 'sequence':
        figure = page.locator('.figure')
        box = figure.bounding_box()
        page.mouse.move(box['x'] + 0.55 * box['width'], box['y'] + 70)  # some letter, so that values are shown
        if box['width'] < 560:
            page.evaluate('document.querySelector(".sheet").scrollIntoView()')
    if view == 'change':
        computed = page.get_by_text('All mutants are computed.')
        computed.wait_for()
        figure = page.locator('.stage .figure')
        box = figure.bounding_box()
        figure.click(position={'x': 0.66 * box['width'], 'y': 28})  # some letter becomes another
        computed.wait_for()
    if view == 'task':
        page.evaluate('document.querySelector("#found").scrollIntoView()')
    page.screenshot(path=path)


def _shrink(path: pathlib.Path) -> None:
    """Make a picture small enough for a README: as it is, else narrower, else with fewer colours."""
    from PIL import Image

    picture = Image.open(path).convert('RGB')
    width = min(picture.width, 1280)
    size = (width, round(picture.height * width / picture.width))
    for smaller in (picture, picture.resize(size), picture.resize(size).quantize(256, kmeans=2)):
        smaller.save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            return


if __name__ == '__main__':
    cli.run(main)
