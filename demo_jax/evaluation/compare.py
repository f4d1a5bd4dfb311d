"""Tables 2 and 3 of the paper and our results beside the published ones, from one row per trained model.

Input rows have at least the columns `task spec seed valid_auroc test_auroc`, as `tables/auroc.tsv` holds them;
cells may be numbers or text, and an empty cell is missing. First, of several rows with the same task, spec and
seed (a grid of settings) the one with the best validation AUROC counts; then seeds are averaged. Whatever is
chosen is chosen by validation AUROC: test values are only reported.

`published=False` leaves the published figures out: a simulated corpus carries the K562 tasks' names, but its
AUROCs must not be set beside those of the real data.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from demo_jax.errors import InputError, brief
from demo_jax.evaluation import choose
from demo_jax.evaluation.published import PAPER_TABLE2, PAPER_TABLE3, PublishedAuroc, published_auroc
from demo_jax.evaluation.table import Column, Figure, Table

KIND_LABELS = {
    'motifs': 'own MEME-SUM',
    'rnn': 'RNN',
    'cnn': 'CNN',
    'cnn_rnn': 'CNN-RNN',
    'deepbind': 'own DeepBind',
    'published_models': 'DeepBind’s models',
}
BASELINE_LABELS = {'meme_sum': 'MEME-SUM', 'deepbind': 'DeepBind'}

TABLE2_COLUMNS = (
    'model',
    'kind',
    'n_tasks',
    'mean',
    'median',
    'sd',
    'published_mean',
    'published_median',
    'published_sd',
)
TABLE3_COLUMNS = (
    'comparison',
    'spec_a',
    'spec_b',
    'n_tasks',
    'mean_difference',
    't',
    'p_t',
    'w',
    'p_wilcoxon',
    'p_holm',
    'published_p',
)
# What of Table 3 fits a terminal.
TABLE3_PRINTED = tuple(column for column in TABLE3_COLUMNS if column not in ('t', 'w'))
BESIDE_COLUMNS = (
    'task',
    'spec',
    'n_seeds',
    'valid_auroc',
    'test_auroc',
    'test_auroc_low',
    'test_auroc_high',
    'deepbind',
    'meme_sum',
    'difference',
)


def _chosen_row(rows: Sequence[Mapping[str, Any]], _: str | None) -> str:
    chosen = any(row['kind'] == 'chosen' for row in rows)
    text = 'Best by validation: for each task the trained model with the best validation AUROC.' if chosen else ''
    if any(row['kind'] == 'ensemble' for row in rows):
        text += f' x N: the mean score of N models per task ({choose.ALL_SPECS}: of all architectures).'
    if any(row['kind'] == 'published_models' for row in rows):
        text += (
            ' DeepBind’s models: as published, not trained here, on whole sequences. Our validation sequences are '
            'among those that they were trained on, so they have no validation AUROC and are not chosen.'
        )
    return text.strip()


#: Tables 2 and 3 and the comparison with published values, without rows.
TABLE2 = Table(
    [],
    TABLE2_COLUMNS,
    'table2',
    'Table 2: test AUROC over tasks',
    figures=(
        Figure(
            'Table 2. Test AUROC over tasks',
            (
                Column('model', 'Model', 'spec'),
                Column('model', 'Tasks', 'tasks'),
                Column('mean', 'Mean', 'three'),
                Column('median', 'Median', 'three'),
                Column('sd', 'SD', 'three'),
                Column('published_mean', 'Paper: mean', 'three', 'published_mean'),
                Column('published_median', 'median', 'three', 'published_mean'),
                Column('published_sd', 'SD', 'three', 'published_mean'),
            ),
            note=_chosen_row,
            empty='The models are not scored yet (run the stage evaluate).',
            wide=True,
        ),
    ),
    needed=('model', 'kind', 'n_tasks', 'mean'),
)
TABLE3 = Table(
    [],
    TABLE3_COLUMNS,
    'table3',
    'Table 3: paired comparisons over tasks',
    TABLE3_PRINTED,
    figures=(
        Figure(
            'Table 3. Paired comparisons over tasks',
            (
                Column('comparison', 'Comparison'),
                Column('n_tasks', 'Tasks', 'count'),
                Column('mean_difference', 'Difference', 'signed'),
                Column('p_t', 't-test p', 'p'),
                Column('p_wilcoxon', 'Wilcoxon p', 'p'),
                Column('p_holm', 'Holm', 'p'),
                Column('published_p', 'Paper: p', 'p', 'published_p'),
            ),
            note='Of each kind the architecture with the best mean validation AUROC. Holm: Wilcoxon’s p, corrected '
            'over all comparisons of this table.',
            empty='Fewer than two kinds of models: nothing to compare.',
        ),
    ),
)
BESIDE = Table(
    [],
    BESIDE_COLUMNS,
    'published',
    'Per task: the spec with the best validation AUROC, beside DeepBind as published',
    needed=('task', 'spec', 'deepbind'),
)


class Summary(NamedTuple):
    """What Table 2 reports of a column of AUROCs; NaN where there are too few values."""

    n_tasks: int
    mean: float
    median: float
    sd: float


class PairedTests(NamedTuple):
    """Two paired tests of the same differences; `t` and `w` are the statistics, both p-values are two-sided."""

    n_tasks: int
    mean_difference: float
    t: float
    p_t: float
    w: float
    p_wilcoxon: float


class _Result(NamedTuple):
    """One task x spec, averaged over seeds."""

    valid: float
    test: float
    low: float
    high: float
    n_seeds: int


def kind_of(spec: str) -> str:
    """The kind of model that a spec is: 'rnn', 'cnn', 'cnn_rnn', 'deepbind', 'motifs', 'together' or 'other'.

    A name that is not in `SPECS` (the motif baseline, results of other programs) is classified by the words in it:
    'cnn_rnn_wide' is 'cnn_rnn'. What answers for all architectures together is 'together'.
    """
    from demo_jax.nn.deepbind import PUBLISHED  # not needed to read tables
    from demo_jax.nn.models import SPECS

    if spec in SPECS:
        return SPECS[spec].kind.lower().replace('-', '_')
    if spec == PUBLISHED:
        return 'published_models'
    if spec == choose.ALL_SPECS:
        return 'together'
    words = spec.rsplit(':', 1)[-1].lower().split('_')  # the module of 'my_cnn_models:dilated' says nothing
    if 'motifs' in words:
        return 'motifs'
    if 'deepbind' in words:
        return 'deepbind'
    found = [word for word in ('cnn', 'rnn') if word in words]
    return '_'.join(found) or 'other'


def summarise(values: Iterable[float]) -> Summary:
    """Mean, median and sample standard deviation (divisor n - 1).

    On the published columns either divisor gives the SDs that the paper prints to three digits.
    """
    values = np.asarray(list(values), np.float64)
    if not values.size:
        return Summary(0, math.nan, math.nan, math.nan)
    sd = float(values.std(ddof=1)) if values.size > 1 else math.nan
    return Summary(values.size, float(values.mean()), float(np.median(values)), sd)


def paired_tests(a: Sequence[float], b: Sequence[float]) -> PairedTests:
    """Two-sided paired t-test and Wilcoxon signed-rank test of two columns over the same tasks.

    Args:
      a: (N,) values of the first model, one per task.
      b: (N,) values of the second; differences are a - b.

    Returns:
      The tests. Everything but the mean difference is NaN for fewer than two tasks. The t-test is NaN where
      all differences are equal, for it has no spread to measure by; Wilcoxon's p is 1 where all are zero.

    Raises:
      ValueError: the columns differ in length.
    """
    from scipy import stats

    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f'columns {a.shape} and {b.shape}: expected two equal shapes (N,)')
    differences = np.round(a - b, 12)  # equal AUROCs that differ by float rounding are ties, not differences
    n = differences.size
    mean = float(differences.mean()) if n else math.nan
    if n < 2:
        return PairedTests(n, mean, math.nan, math.nan, math.nan, math.nan)
    t = p_t = math.nan
    if np.ptp(differences) > 0:
        t = mean / (differences.std(ddof=1) / math.sqrt(n))
        p_t = 2 * stats.t.sf(abs(t), n - 1)
    w, p_wilcoxon = 0.0, 1.0
    if differences.any():
        w, p_wilcoxon = stats.wilcoxon(differences)
    return PairedTests(n, mean, float(t), float(p_t), float(w), float(p_wilcoxon))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjusted p-values, which control the chance of any false finding in the family.

    Args:
      p_values: (K,) p-values; a NaN is not part of the family and stays NaN.

    Returns:
      float64 (K,): the i-th smallest of K times (K - i + 1), never less than a smaller p's, at most 1.
    """
    p = np.asarray(p_values, np.float64)
    adjusted = np.full(p.shape, np.nan)
    family = np.flatnonzero(~np.isnan(p))
    family = family[np.argsort(p[family], kind='stable')]
    steps = p[family] * np.arange(family.size, 0, -1)
    adjusted[family] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def table2(
    rows: Iterable[Mapping[str, Any]], *, ensembles: Iterable[Mapping[str, Any]] = (), published: bool = True
) -> Table:
    """Mean, median and SD of test AUROC over tasks for every spec, as the paper's Table 2.

    Specs come in the order of their first row. With more than one trained spec, a row 'best by validation' (kind
    'chosen') takes for each task the spec with the best validation AUROC. The `published_` columns are the
    paper's own over its 108 tasks. Rows of kind 'published' give the published baselines over those of our
    tasks that have published values, which is what ours should be compared with. Below each spec stands its ensemble
    ('medium_cnn x 3': the models of all seeds and folds together), where there is one, and below all of them that of
    all specs ('all x 9').

    Args:
      rows: see the module.
      ensembles: the same of ensembles, with the column `members`.
      published: False leaves all published figures out.

    Raises:
      InputError: a row lacks a column or a cell is not an AUROC.
    """
    ensembles = list(ensembles)
    results, together = _results(rows), _results(ensembles)
    members = {spec: max(int(row['members']) for row in ensembles if row['spec'] == spec) for spec in together}
    out: list[dict[str, Any]] = []

    def ensemble(spec: str) -> dict[str, Any]:
        summary = summarise(result.test for result in together[spec].values())
        return {'model': f'{spec} x {members[spec]}', 'kind': 'ensemble'} | summary._asdict()

    for spec, by_task in results.items():
        summary = summarise(result.test for result in by_task.values())
        row = {'model': spec, 'kind': kind_of(spec)} | summary._asdict()
        out.append(row | (_paper_row(spec) if published else {}))
        if spec in together:
            out.append(ensemble(spec))
    out += [ensemble(spec) for spec in together if spec not in results]
    for found, name in ((results, 'best by validation'), (together, 'best ensemble by validation')):
        if sum(kind_of(spec) != 'motifs' for spec in found) > 1:
            chosen = summarise(found[spec][task].test for task, spec in _chosen(found).items())
            out.append({'model': name, 'kind': 'chosen'} | chosen._asdict())
    if published:
        known = _published_columns(results)
        for baseline, label in BASELINE_LABELS.items():
            if known[baseline]:
                summary = summarise(known[baseline].values())
                row = {'model': f'{label} (published)', 'kind': 'published'} | summary._asdict()
                out.append(row | _paper_row(baseline))
    return TABLE2.of(out)


def best_of_each_kind(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The spec with the highest mean validation AUROC of each kind: {'cnn': 'medium_cnn', ...}.

    Seeds are averaged first; see `choose.best_of_each_kind`.

    Raises:
      InputError: as `table2`.
    """
    return _best_of_each_kind(_results(rows))


def table3(rows: Iterable[Mapping[str, Any]], *, published: bool = True) -> Table:
    """Paired tests over tasks between the best spec of each kind, as the paper's Table 3.

    The best spec of a kind is chosen by `best_of_each_kind`. First come comparisons with the published
    baselines, then those between kinds; each uses the tasks that both sides have. `mean_difference` is a - b,
    and `spec_b` is 'published' for a baseline. `p_holm` is Wilcoxon's p with Holm's correction over all
    comparisons of the table. `published_p` is the paper's t-test over its 108 tasks.

    Args:
      rows: see the module.
      published: False leaves comparisons with published values, and the paper's p-values, out.

    Raises:
      InputError: as `table2`.
    """
    results = _results(rows)
    best = {kind: spec for kind, spec in _best_of_each_kind(results).items() if kind in KIND_LABELS}
    columns = {kind: {task: result.test for task, result in results[spec].items()} for kind, spec in best.items()}
    sides = [(kind, label, best[kind], columns[kind]) for kind, label in KIND_LABELS.items() if kind in best]
    pairs = []
    if published:
        known = _published_columns(results)
        baselines = [(name, label, 'published', known[name]) for name, label in BASELINE_LABELS.items() if known[name]]
        pairs += [(a, b) for b in baselines for a in sides]
    # The later kind first, as the paper has it: CNN vs RNN, CNN-RNN vs RNN, CNN-RNN vs CNN; models vs DeepBind.
    deepbind = [side for side in sides if side[0] == 'deepbind']
    ours = [side for side in sides if side[0] != 'deepbind']
    pairs += [(b, a) for a, b in itertools.combinations(ours, 2)] + [(a, b) for b in deepbind for a in ours]
    out: list[dict[str, Any]] = []
    for (kind_a, label_a, spec_a, values_a), (kind_b, label_b, spec_b, values_b) in pairs:
        common = [task for task in values_a if task in values_b]
        tests = paired_tests([values_a[task] for task in common], [values_b[task] for task in common])
        row: dict[str, Any] = {'comparison': f'{label_a} vs {label_b}', 'spec_a': spec_a, 'spec_b': spec_b}
        out.append(row | tests._asdict() | ({'published_p': PAPER_TABLE3.get((kind_a, kind_b))} if published else {}))
    for row, p in zip(out, holm([row['p_wilcoxon'] for row in out]), strict=True):
        row['p_holm'] = float(p)
    return TABLE3.of(out)


def beside_published(rows: Iterable[Mapping[str, Any]], *, published: bool = True) -> Table:
    """One row per task: the spec that validation chooses for it, its test AUROC, and the published values.

    `test_auroc`, `valid_auroc` and the ends of the interval are means over the spec's seeds. `difference` is
    ours minus DeepBind's published value; it is missing where no published value is known.

    Args:
      rows: see the module; columns `test_auroc_low` and `test_auroc_high` are used where present.
      published: False leaves the published columns empty.

    Raises:
      InputError: as `table2`.
    """
    results = _results(rows)
    out = []
    for task, spec in _chosen(results).items():
        ours = results[spec][task]
        row = {
            'task': task,
            'spec': spec,
            'n_seeds': ours.n_seeds,
            'valid_auroc': ours.valid,
            'test_auroc': ours.test,
            'test_auroc_low': ours.low,
            'test_auroc_high': ours.high,
        }
        theirs: PublishedAuroc | None = published_auroc(task) if published else None
        if theirs is not None:
            row |= {
                'deepbind': theirs.deepbind,
                'meme_sum': theirs.meme_sum,
                'difference': ours.test - theirs.deepbind,
            }
        out.append(row)
    return BESIDE.of(out)


def _results(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, _Result]]:
    """results[spec][task], averaged over seeds; models without a test AUROC are left out."""
    found = []
    for number, row in enumerate(rows, start=1):
        missing = [column for column in ('task', 'spec', 'seed', 'valid_auroc', 'test_auroc') if column not in row]
        if missing:
            raise InputError(f'AUROC table, row {number}: has columns {brief(list(row))}, expected also {missing}')
        values = tuple(
            _auroc(row, number, column) for column in ('valid_auroc', 'test_auroc', 'test_auroc_low', 'test_auroc_high')
        )
        if not math.isnan(values[1]):
            member = f'{row["seed"]} {row.get("fold", "")}'
            found.append(((str(row['spec']), str(row['task']), member), values))
    best = choose.best_of_each(found, lambda one: one[0], lambda one: one[1][0])
    seeds: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for (spec, task, _), (_, values) in best.items():
        seeds.setdefault((spec, task), []).append(values)
    results: dict[str, dict[str, _Result]] = {}
    for (spec, task), of_seeds in seeds.items():
        valid, test, low, high = (float(value) for value in np.mean(of_seeds, axis=0))
        results.setdefault(spec, {})[task] = _Result(valid, test, low, high, len(of_seeds))
    return results


def _auroc(row: Mapping[str, Any], number: int, column: str) -> float:
    cell = row.get(column)
    if cell is None or cell == '':
        return math.nan
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = math.inf
    if not (math.isnan(value) or 0 <= value <= 1):
        raise InputError(f'AUROC table, row {number}: {column} is {brief(cell)}, expected a number from 0 to 1')
    return value


def _chosen(results: Mapping[str, Mapping[str, _Result]]) -> dict[str, str]:
    """The spec with the best validation AUROC for each task."""
    models = [spec for spec in results if kind_of(spec) != 'motifs']  # a baseline is no model of ours to choose
    everything = ((spec, task, result.valid) for spec in models for task, result in results[spec].items())
    best = choose.best_of_each(everything, lambda one: one[1], lambda one: one[2])
    return {task: spec for task, (spec, _, _) in best.items()}


def _best_of_each_kind(results: Mapping[str, Mapping[str, _Result]]) -> dict[str, str]:
    valid = {spec: {task: result.valid for task, result in by_task.items()} for spec, by_task in results.items()}
    return choose.best_of_each_kind(valid, kind_of)


def _published_columns(results: Mapping[str, Mapping[str, _Result]]) -> dict[str, dict[str, float]]:
    """Published AUROCs by baseline and task, for those of our tasks that have them."""
    tasks = dict.fromkeys(task for by_task in results.values() for task in by_task)
    known = {task: auroc for task in tasks if (auroc := published_auroc(task)) is not None}
    return {name: {task: getattr(auroc, name) for task, auroc in known.items()} for name in BASELINE_LABELS}


def _paper_row(name: str) -> dict[str, float]:
    row = PAPER_TABLE2.get(name)
    return {} if row is None else {f'published_{key}': value for key, value in row._asdict().items()}
