"""The page in a real browser, opened from disk. Skipped where there is no Chromium."""

import json
import pathlib
import re
import shutil
import urllib.parse

import numpy as np
import pytest

from demo_jax import dna
from demo_jax.io import files
from demo_jax.report import page as page_files
from demo_jax.report import payload
from demo_jax.report.collect import Collector
from demo_jax.runs.explanations import Explanations
from demo_jax.stages import record
from tests import fake_run

ARGUMENTS = (
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    made = fake_run.make(tmp_path_factory.mktemp('run') / 'a "run"')
    folder, collector = made.path / 'dashboard', Collector(made, record.all_tables())
    page_files.write_assets(folder)
    for place, task in enumerate(collector.corpus.tasks):
        page_files.write_task(folder, place, payload.task_payload(collector, collector.task(task), sequences=20))
    page_files.write_run(folder, payload.run_payload(collector, title='a "run"', made=collector.corpus.tasks))
    return made


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    chromium = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if chromium is None:
        pytest.skip('no Chromium on the PATH')
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            tmp_path_factory.mktemp('profile'),
            executable_path=chromium,
            headless=True,
            args=list(ARGUMENTS),
            viewport={'width': 1400, 'height': 900},
            color_scheme='light',
            accept_downloads=True,
        )
        context.set_default_timeout(15_000)
        yield context
        context.close()


class Watched:
    """A page together with everything that went wrong in it, and every address it asked for."""

    def __init__(self, context, folder: pathlib.Path):
        self.page = context.new_page()
        self.folder, self.troubles, self.requests = folder, [], []
        self.page.on('console', lambda message: self.troubles.append(message.text))
        self.page.on('pageerror', lambda error: self.troubles.append(str(error)))
        self.page.on('dialog', lambda dialog: (self.troubles.append(f'dialog: {dialog.message}'), dialog.dismiss()))
        self.page.on('request', lambda request: self.requests.append(request.url))

    def open(self, *parts, **options) -> None:
        path = '/'.join(urllib.parse.quote(str(part), safe='') for part in parts)
        address = (self.folder / 'index.html').as_uri() + (f'#/{path}' if parts else '')
        query = urllib.parse.urlencode(options)
        self.page.goto('about:blank')
        self.page.goto(address + (f'?{query}' if query else ''))
        self.page.wait_for_selector('main h1')

    def check(self) -> None:
        """No error, and nothing was asked for outside of the folder."""
        assert self.troubles == []
        inside = self.folder.as_uri() + '/'
        outside = [url for url in self.requests if not url.startswith((inside, 'about:', 'data:', 'blob:'))]
        assert outside == []


@pytest.fixture
def watched(browser, run):
    view = Watched(browser, run.path / 'dashboard')
    yield view
    view.check()
    view.page.close()


def sequence_of(run, row: int) -> tuple[int, int]:
    """Where a corpus row is among the explained sequences of the plain task, and its length."""
    rows = Explanations(run).rows(fake_run.PLAIN)
    return int(np.flatnonzero(rows == row)[0]), int(run.corpus().lengths[row])


def shown_row(page) -> int:
    return int(re.search(r'/sequence/(\d+)', page.url).group(1))


def number(text: str) -> float:
    return float(text.replace('−', '-'))


def test_from_a_search_to_a_value_that_is_the_one_on_disk(watched, run):
    page = watched.page
    watched.open()
    assert page.locator('.tasks tbody tr').count() == 2
    page.get_by_label('Find a task').fill('ctcf')
    assert page.locator('.tasks tbody tr').count() == 1
    assert page.get_by_role('status').inner_text() == '1 of 2 tasks'
    page.get_by_label('Find a task').press('Enter')
    page.wait_for_selector('.task')
    assert page.locator('h1').inner_text() == fake_run.PLAIN
    page.get_by_role('link', name='Look at 20 sequences').click()
    page.wait_for_selector('.figure')

    row = shown_row(page)
    at, length = sequence_of(run, row)
    letters = run.corpus().sequence(row)
    jobs = {job.spec: job.index for job in Explanations(run).jobs() if job.task == fake_run.PLAIN}
    store = Explanations(run)
    one_hot = dna.one_hot(run.corpus().padded(store.rows(fake_run.PLAIN)))[at]
    box = page.locator('.figure').bounding_box()
    left, right = 76, 6  # the figure's margins
    step = (box['width'] - left - right) / length
    for position in (0, 17, length - 1):
        page.mouse.move(box['x'] + left + (position + 0.5) * step, box['y'] + 60)
        assert page.locator('#position').inner_text() == f'Position {position + 1}'
        assert page.locator('#base').inner_text() == letters[position]
        for spec, job in jobs.items():
            saved = (store.load('saliency', job)['hypothetical'][at] * one_hot).sum(-1)
            shown = number(page.locator(f'[data-cell="{spec}:main"]').inner_text())
            # Half a step of the packed numbers, and the four digits that are printed.
            assert abs(shown - abs(saved[position])) <= abs(saved).max() / 65000 + 6e-4 * abs(saved[position])
        forward = store.load('temporal', jobs['medium_cnn_rnn'])['forward'][at]
        shown = page.locator('[data-cell="medium_cnn_rnn:forward"]').inner_text()
        assert page.locator('[data-cell="medium_cnn:forward"]').inner_text() == '–'
        if np.isnan(forward[position]):
            assert shown == '–'
        else:
            largest = np.nanmax(abs(forward))
            assert abs(number(shown) - forward[position]) <= largest / 65000 + 6e-4 * abs(forward[position])


def test_cards_say_how_clear_a_motif_is(watched, run):
    """The fake run has a clear motif with a match, a clear one without, and a flat pile whose match is not shown."""
    watched.open('task', fake_run.PLAIN)
    cards = {}
    for method in watched.page.locator('.method').all():
        cards[method.locator('h3').inner_text()] = method.locator('.card').first
    clear, unmatched, flat = (cards[name] for name in ('Saliency', 'Mutagenesis', 'Integrated gradients'))
    text = clear.inner_text()
    assert 'own TF' in text and 'q ' in text and f'7 of {fake_run.N_TEST} windows agree' in text
    agree = clear.get_by_text('windows agree')
    assert agree.get_attribute('title') == 'Windows whose letters fit as well as at most 1 in 1,000 words do'
    assert 'No JASPAR motif matches (q at most 0.5).' in unmatched.inner_text()
    assert 'agree' not in unmatched.inner_text()  # nobody counted
    text = flat.inner_text()
    assert 'No motif' in text and '0.0 bits in its best 6 columns; 6 are needed.' in text
    assert f'0 of {fake_run.N_TEST} windows agree' in text and 'q ' not in text and 'p ' not in text
    assert flat.locator('svg.alignment').count() == 0 and clear.locator('svg.alignment').count() == 1
    lead = watched.page.locator('#motifs + .lead').inner_text()
    assert '6 bits or more in their best 6 columns' in lead


def test_the_first_number_is_what_validation_chose(browser, tmp_path):
    made = fake_run.make(tmp_path / 'run', explained=False, matched=False)
    columns, folder = ('model', 'kind', 'n_tasks', 'mean', 'median', 'sd'), made.path / 'dashboard'
    rows = [
        ('medium_cnn', 'cnn', 2, 0.84),
        ('medium_cnn_rnn', 'cnn_rnn', 2, 0.8),
        ('em_motifs_sum', 'motifs', 2, 0.99),
        ('best by validation', 'chosen', 2, 0.68),
    ]
    page_files.write_assets(folder)

    def facts(shown) -> str:
        table = [dict(zip(columns, row, strict=False)) for row in shown]
        files.write_tsv(made.tables / 'table2.tsv', table, columns)
        page_files.write_run(folder, payload.run_payload(Collector(made, record.all_tables()), title='x', made=()))
        view = Watched(browser, folder)
        view.open()
        text = view.page.locator('.facts').inner_text()
        view.check()
        view.page.close()
        return ' '.join(text.split())

    assert facts(rows).endswith('0.680 mean test AUROC of the models that validation data chose, one per task')
    assert facts([rows[0], rows[2]]).endswith('0.840 mean test AUROC, medium CNN')
    assert facts([('best by validation', 'chosen', 1, 0.68)]).endswith(
        '0.680 test AUROC of the model that validation data chose'
    )
    assert 'AUROC' not in facts(rows[2:3])


def test_keys_step_through_sequences_and_letters(watched):
    page = watched.page
    watched.open('task', fake_run.PLAIN, 'sequence', 0)
    order = [
        int(re.search(r'sequence/(\d+)', link.get_attribute('href')).group(1))
        for link in page.locator('.sequences a').all()
    ]
    assert shown_row(page) == order[0] and len(order) == 20
    page.keyboard.press('ArrowRight')
    page.keyboard.press('ArrowRight')
    assert shown_row(page) == order[2]
    page.keyboard.press('ArrowLeft')
    assert shown_row(page) == order[1]
    assert page.locator('.sequences a[aria-current]').count() == 1
    page.keyboard.press('Shift+ArrowRight')
    before = int(page.locator('#position').inner_text().split()[1])
    page.keyboard.press('Shift+ArrowLeft')
    assert int(page.locator('#position').inner_text().split()[1]) == before - 1
    page.get_by_label('Find a sequence').focus()
    page.keyboard.press('ArrowRight')  # moves the caret, not the sequence
    assert shown_row(page) == order[1]
    # Everything can be reached with the tab key, and what has the focus is seen to have it.
    page.locator('body').click(position={'x': 2, 'y': 2})
    reached = set()
    for _ in range(24):
        page.keyboard.press('Tab')
        reached.add(page.evaluate('document.activeElement.id || document.activeElement.textContent'))
        outline = page.evaluate('getComputedStyle(document.activeElement).outlineStyle')
        assert outline != 'none'
    assert {'theme', 'sequence-search', 'order', 'by', 'Overview'} <= reached


def test_sorting_and_searching_sequences(watched, run):
    page = watched.page
    watched.open('task', fake_run.PLAIN, 'sequence', 0, sort='score', by=0)
    score = Explanations(run).load('saliency', 0)['score']
    rows = [
        int(re.search(r'sequence/(\d+)', link.get_attribute('href')).group(1))
        for link in page.locator('.sequences a').all()
    ]
    scores = [score[sequence_of(run, row)[0]] for row in rows]
    assert scores == sorted(scores, reverse=True)
    page.get_by_label('Sort by').select_option('error')
    rows = [
        int(re.search(r'sequence/(\d+)', link.get_attribute('href')).group(1))
        for link in page.locator('.sequences a').all()
    ]
    errors = [abs(run.corpus().labels[row] - 1 / (1 + np.exp(-score[sequence_of(run, row)[0]]))) for row in rows]
    assert errors == sorted(errors, reverse=True)
    assert 'sort=error' in page.url and 'by=0' in page.url
    word = run.corpus().sequence(rows[3])[10:22].lower()
    page.get_by_label('Find a sequence').fill(word)
    assert page.locator('.sequences a').count() == 1
    page.get_by_label('Find a sequence').fill('nothing is called so')
    assert page.get_by_role('status').inner_text() == 'No sequence fits.'


def test_hits_are_toggled_and_the_address_keeps_the_view(watched, run):
    page = watched.page
    _, task = json_of(run, 0)
    hit = next(item for item in task['sequences'] if item['hits'])
    watched.open('task', fake_run.PLAIN, 'sequence', hit['row'])
    assert page.locator('.figure .hit').count() == len(hit['hits'])
    page.keyboard.press('h')
    assert page.locator('.figure .hit').count() == 0 and 'hits=0' in page.url
    page.get_by_label('JASPAR hits').check()
    assert page.locator('.figure .hit').count() == len(hit['hits'])
    page.get_by_label('Letters show').select_option('mutagenesis')
    page.keyboard.press('Escape')
    page.locator('h1').click()
    for _ in range(2):
        page.keyboard.press('+')
    address = page.url
    assert 'track=mutagenesis' in address and 'from=' in address
    shown = page.locator('.figure').get_attribute('aria-label')
    page.goto('about:blank')
    page.goto(address)
    page.wait_for_selector('.figure')
    assert page.locator('.figure').get_attribute('aria-label') == shown and page.url == address
    assert page.get_by_label('First position shown').is_visible()
    # Drag the figure by some letters, and move the slider back.
    box = page.locator('.figure').bounding_box()
    page.mouse.move(box['x'] + 500, box['y'] + 80)
    page.mouse.down()
    page.mouse.move(box['x'] + 300, box['y'] + 80, steps=4)
    page.mouse.up()
    first = int(re.search('from=([0-9]+)', page.url).group(1))
    assert first > int(re.search('from=([0-9]+)', address).group(1))
    page.get_by_label('First position shown').press('ArrowLeft')
    assert f'from={first - 1}&' in page.url
    page.locator('h1').click()
    page.keyboard.press('0')
    assert not page.get_by_label('First position shown').is_visible()


def json_of(run, place: int) -> tuple[str, dict]:
    text = (run.path / 'dashboard' / 'data' / f'{page_files.task_key(place)}.js').read_text()
    return json.loads(f'[{text[len("demo.receive(") : -3]}]')


def test_downloads(watched, run):
    page = watched.page
    watched.open('task', fake_run.PLAIN, 'sequence', 0)
    row = shown_row(page)
    at, length = sequence_of(run, row)
    with page.expect_download() as waiting:
        page.get_by_role('button', name='Download numbers (TSV)').click()
    lines = pathlib.Path(waiting.value.path()).read_text(encoding='utf-8').splitlines()
    assert waiting.value.suggested_filename.endswith('.tsv')
    table = [line.split('\t') for line in lines if not line.startswith('#')]
    assert len(table) == length + 1 and {len(cells) for cells in table} == {len(table[0])}
    assert ''.join(cells[1] for cells in table[1:]) == run.corpus().sequence(row)
    column = table[0].index('medium_cnn:mutagenesis')
    saved = Explanations(run).load('mutagenesis', 0)['signed'][at, :length]
    np.testing.assert_allclose([float(cells[column]) for cells in table[1:]], saved, atol=abs(saved).max() / 60000)
    with page.expect_download() as waiting:
        page.get_by_role('button', name='Download figure (SVG)').click()
    svg = pathlib.Path(waiting.value.path()).read_text(encoding='utf-8')
    from xml.etree import ElementTree

    root = ElementTree.fromstring(svg)
    assert root.tag == '{http://www.w3.org/2000/svg}svg' and 'medium CNN' in ''.join(root.itertext())


def test_hostile_names_are_shown_as_they_are(watched, run):
    page = watched.page
    watched.open()
    assert page.get_by_role('link', name=fake_run.HOSTILE).count() == 1
    page.get_by_role('link', name=fake_run.HOSTILE).click()
    page.wait_for_selector('.task')
    assert page.locator('h1').inner_text() == fake_run.HOSTILE
    assert page.locator('text=has no matrix of').count() == 1
    _, task = json_of(run, 1)
    bad = next(item for item in task['sequences'] if '<img' in item['name'])
    assert '"quoted" \'single\'' in bad['name']
    watched.open('task', fake_run.HOSTILE, 'sequence', bad['row'])
    assert page.locator('h1').text_content() == bad['name']
    assert page.locator('main img').count() == 0 and page.locator('script').count() <= len(page_files.SCRIPTS) + 3
    assert page.locator('.figure').get_attribute('aria-label').startswith(bad['name'])


def test_unknown_views_say_so(watched):
    page = watched.page
    watched.open('task', 'no such task')
    assert page.locator('h1').inner_text() == 'No such task'
    page.get_by_role('link', name='To the overview').click()
    page.wait_for_selector('.tasks')


def test_a_missing_data_file_is_named(browser, run, tmp_path):
    folder = tmp_path / 'copy'
    shutil.copytree(run.path / 'dashboard', folder)
    (folder / 'data' / 'task-0000.js').unlink()
    view = Watched(browser, folder)
    view.open('task', fake_run.PLAIN)
    assert 'data/task-0000.js is missing' in view.page.locator('main').inner_text()
    view.page.close()


@pytest.mark.parametrize('width', [360, 768, 1400])
@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_every_view_fits_and_is_readable(watched, width, theme):
    page = watched.page
    page.set_viewport_size({'width': width, 'height': 780})
    # Without motion: colours in transition from one theme to the other are neither's.
    page.emulate_media(color_scheme=theme, reduced_motion='reduce')
    for parts in ((), ('task', fake_run.PLAIN), ('task', fake_run.PLAIN, 'sequence', 0)):
        watched.open(*parts)
        assert page.evaluate('document.documentElement.dataset.theme') == theme
        assert page.evaluate('document.documentElement.scrollWidth <= window.innerWidth')
        assert page.evaluate(UNLABELLED) == []
        assert page.evaluate(CONTRAST) == []


def test_the_theme_is_switched_and_kept(watched):
    page = watched.page
    watched.open()
    page.get_by_role('button', name='Switch to the dark theme').click()
    assert page.evaluate('document.documentElement.dataset.theme') == 'dark'
    watched.open('task', fake_run.PLAIN)
    assert page.evaluate('document.documentElement.dataset.theme') == 'dark'
    page.get_by_role('button', name='Switch to the light theme').click()
    page.evaluate('localStorage.clear()')


# Controls without a name, and pictures without a description.
UNLABELLED = """() => [...document.querySelectorAll('a, button, input, select, summary, [role=img], [role=region]')]
  .filter((element) => !element.hidden && !(element.getAttribute('aria-label') || element.textContent.trim()
    || (element.labels && element.labels.length)))
  .map((element) => element.outerHTML.slice(0, 120))"""

# Texts whose contrast with what is behind them is below 4.5 (WCAG AA).
CONTRAST = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = (rgb) => 0.2126 * linear(rgb[0]) + 0.7152 * linear(rgb[1]) + 0.0722 * linear(rgb[2]);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    if (/^(SCRIPT|NOSCRIPT|OPTION)$/.test(element.tagName)) continue;
    const svg = element.closest('svg');
    const colour = parse(svg ? getComputedStyle(element).fill : getComputedStyle(element).color);
    const [a, b] = [luminance(colour), luminance(behind(svg || element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.push(`${ratio.toFixed(2)} ${element.tagName} ${walker.currentNode.data.trim().slice(0, 40)}`);
  }
  const {letters, hit, panel} = demo.palette();
  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  for (const [letter, colour] of Object.entries(letters)) {
    for (const ground of [hit, panel]) {
      const [a, b] = [luminance(rgb(colour)), luminance(rgb(ground))].sort((x, y) => y - x);
      const ratio = (a + 0.05) / (b + 0.05);
      if (ratio < 4.5) bad.push(`letter ${letter} on ${ground}: ${ratio.toFixed(2)}`);
    }
  }
  return [...new Set(bad)];
}"""
