"""Maps of both alleles of variants, as figures and as a page that opens from disk (edge: writes files, draws)."""

import html
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from demo_jax import dna
from demo_jax.data.variants import Alleles
from demo_jax.io import files
from demo_jax.predict.predictor import Predictor
from demo_jax.predict.results import Maps
from demo_jax.predict.variant_effects import Written

_METHOD = 'mutagenesis'
_SHADE = '#F4D35E'
_STYLE = (
    'body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1f2430}'
    'h1{font-size:1.4rem}h2{font-size:1.05rem;margin:2.2rem 0 .3rem}img{max-width:100%;border:1px solid #d9dce3}'
    'dl{display:grid;grid-template-columns:max-content 1fr;gap:0 1rem;margin:.3rem 0 .6rem}'
    'dt{color:#5f6670}dd{margin:0}'
)
#: What the page says of a variant: a column of the table, and its name there.
_SHOWN = (
    ('score_ref', 'score of ref'),
    ('score_alt', 'score of alt'),
    ('score_change', 'change'),
    ('score_change_sd', 'SD between members'),
    ('p_value', 'p'),
    ('percentile', 'percentile'),
    ('q_value', 'q'),
    ('motifs_gained', 'motifs gained'),
    ('motifs_lost', 'motifs lost'),
)


def write_maps(models: Sequence[Predictor], written: Written, folder: pathlib.Path, *, figures: int) -> pathlib.Path:
    """Draw both alleles of the rows with the largest changes, and write a page of them.

    A map is in-silico mutagenesis: what the score loses when a letter is replaced, exactly, for any model; of an
    ensemble the mean, with the SD between members. Letters that differ are shaded.

    Args:
      models: that the table was written with.
      written: what `write_variants` has written.
      folder: where `index.html` and a PNG per row go; other files there stay.
      figures: rows at most.

    Returns:
      The page.
    """
    order = sorted(range(len(written.top)), key=lambda n: -abs(written.top[n]['score_change']))[:figures]
    parts = {}
    for model in models:
        key = (model.task, model.spec, model.seed)
        mine = [n for n in order if tuple(written.top[n][name] for name in ('task', 'spec', 'seed')) == key]
        if not mine:
            continue
        texts = [dna.decode(dna.encode(window)) for n in mine for window in written.windows[n][1:]]
        maps = model.attribute(_METHOD, texts)
        for place, n in enumerate(mine):
            parts[n] = _drawn(maps, place, written.top[n], written.windows[n])
    sections = []
    for rank, n in enumerate(order, start=1):
        row = written.top[n]
        known = row['id'] or f'line{row["line"]}'
        name = f'{rank:03d}_{files.safe_name(known)}_{files.safe_name(row["task"])}.png'
        with files.atomic_path(folder / name) as png:
            parts[n].savefig(png, format='png', dpi=110)
        sections.append(_section(rank, row, name))
    page = folder / 'index.html'
    files.write_text(page, _page(sections, written.n_rows))
    return page


def title_of(row: Mapping[str, Any]) -> str:
    """What figures call a variant, e.g. 'rs12 chr1:45 A>C'."""
    place = f'{row["sequence"]}:{row["position"]} {_short(row["ref"])}>{_short(row["alt"])}'
    return f'{row["id"]} {place}' if row['id'] else place


def _short(allele: str) -> str:
    return allele if len(allele) <= 12 else f'{allele[:10]}..({len(allele)})'


def _drawn(maps: Maps, place: int, row: Mapping[str, Any], windows: Alleles) -> Any:
    """A matplotlib figure: the maps of both alleles, on one scale."""
    from matplotlib.figure import Figure

    length = max(len(windows.ref), len(windows.alt))
    figure = Figure(figsize=(max(0.12 * length + 1.5, 9.0), 4.0), layout='constrained')
    axes = figure.subplots(2, 1)
    differs = [at for at in range(length) if windows.ref[at : at + 1].upper() != windows.alt[at : at + 1].upper()]
    for which, (ax, name) in enumerate(zip(axes, ('ref', 'alt'), strict=True)):
        maps.draw(ax, 2 * place + which, first=windows.start + 1)
        if differs:
            ax.axvspan(differs[0] - 0.5, _last(differs, row) + 0.5, color=_SHADE, alpha=0.5, zorder=0, linewidth=0)
        score, sd = float(maps.score[2 * place + which]), maps.score_sd
        spread = '' if sd is None else f' ± {float(sd[2 * place + which]):.2f}'
        ax.set_title(f'{name}: score {score:.2f}{spread}', loc='left', fontsize='medium', parse_math=False)
    ends = [end for ax in axes for end in ax.get_ylim()]  # each logo has set its own
    for ax in axes:
        ax.set_ylim(min(ends), max(ends))
    figure.suptitle(f'{title_of(row)}, {maps.title}', fontsize='medium', parse_math=False)
    return figure


def _last(differs: Sequence[int], row: Mapping[str, Any]) -> int:
    """The last letter to shade: behind an insertion or deletion all letters differ, but only its own matter."""
    longest = max(len(row['ref']), len(row['alt']))
    return min(differs[-1], differs[0] + longest - 1)


def _section(rank: int, row: Mapping[str, Any], picture: str) -> str:
    facts = ''.join(
        f'<dt>{label}</dt><dd>{html.escape(files.format_cell(row[name]))}</dd>'
        for name, label in _SHOWN
        if name in row and files.format_cell(row[name])
    )
    title = html.escape(f'{rank}. {title_of(row)}, {row["task"]}, {row["spec"]}')
    source = html.escape(picture.replace('%', '%25'))
    return f'<h2>{title}</h2>\n<dl>{facts}</dl>\n<img loading="lazy" alt="{title}" src="{source}">\n'


def _page(sections: Sequence[str], n_rows: int) -> str:
    text = (
        f'The {len(sections)} largest changes of the score (log odds of binding) among {n_rows:,} rows. A map shows '
        'what the score loses when a letter is replaced; the letters that differ are shaded.'
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Both alleles</title>'
        f'<style>{_STYLE}</style></head><body>\n<h1>Both alleles</h1>\n<p>{text}</p>\n'
        f'{"".join(sections)}</body></html>\n'
    )
