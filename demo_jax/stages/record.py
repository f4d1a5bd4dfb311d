"""The stages of the main command, one record each: configs, plans, checks and the commands derive from `STAGES` (edge).

A stage is a function of a run directory that skips what is complete and resumes what is not.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from demo_jax.compute.cluster import Cluster
from demo_jax.errors import InputError
from demo_jax.evaluation.table import Table
from demo_jax.io.settings import read_settings
from demo_jax.motifs.jaspar import load_matrices
from demo_jax.runs.directory import RunDirectory
from demo_jax.stages import baseline, discover, estimate, evaluate, explain, grammar, match, report, train
from demo_jax.stages.estimate import Line, Prospect
from demo_jax.training.jobs import Recipe


class Work(NamedTuple):
    """What a stage is given.

    Attributes:
      run: the directory; the caller holds its lock.
      config: the settings of all sections.
      settings: of the stage's own section.
      cluster: workers; None: this process does all.
      progress: show bars.
    """

    run: RunDirectory
    config: Mapping[str, Any]
    settings: Any
    cluster: Cluster | None = None
    progress: bool = True


class Stage(NamedTuple):
    """One stage.

    Attributes:
      name: what `--stages` calls it.
      section: of the config, which holds its settings.
      settings: the dataclass of that section.
      run: does it, and gives the tables that are to be printed.
      describe: its line in the plan.
      tables: a function that gives the tables it writes, without rows.
      workers: whether workers do it where there are some; else the main process does, which alone writes the run.
      check: of its settings, what a dataclass cannot tell by itself; raises InputError.
    """

    name: str
    section: str
    settings: type
    run: Callable[[Work], Mapping[str, Table]]
    describe: Callable[[Prospect], Line]
    tables: Callable[[], tuple[Table, ...]] = tuple
    workers: bool = False
    check: Callable[[Any], None] = lambda _: None

    def settings_in(self, config: Mapping[str, Any]) -> Any:
        """Its settings in a config, checked.

        Raises:
          InputError: names the section and the setting.
        """
        chosen = read_settings(self.settings, config.get(self.section, {}), self.section)
        self.check(chosen)
        return chosen


def find_stage(name: str) -> Stage:
    """The stage of a name.

    Raises:
      InputError: there is none; the message lists those there are.
    """
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise InputError(f'no stage {name!r}; the stages are {", ".join(stage.name for stage in STAGES)}')


def all_tables() -> tuple[Table, ...]:
    """What the tables of all stages are like, without rows, in the order of the stages."""
    return tuple(table for stage in STAGES for table in stage.tables())


def _train(work: Work) -> Mapping[str, Table]:
    train.train_run(work.run, cluster=work.cluster, checkpoint_seconds=work.config['checkpoint_seconds'])
    return {}


def _baseline(work: Work) -> Mapping[str, Table]:
    # Its rows stand among those of the stage evaluate: their intervals are of as many resamples.
    resamples = find_stage('evaluate').settings_in(work.config).n_resamples
    baseline.baseline_run(work.run, work.settings, n_resamples=resamples)
    return {}


def _explain(work: Work) -> Mapping[str, Table]:
    explain.explain_run(work.run, work.settings, cluster=work.cluster, progress=work.progress)
    return {}


def _discover(work: Work) -> Mapping[str, Table]:
    # Motifs are compared with the same matrices as in the stage match.
    matching = find_stage('match').settings_in(work.config)
    return discover.discover_run(work.run, work.settings, matching, progress=work.progress)


def _report(work: Work) -> Mapping[str, Table]:
    report.report_run(work.run, all_tables(), work.settings, progress=work.progress)
    return {}


def _check_match(chosen: match.MatchSettings) -> None:
    load_matrices(chosen.jaspar or None, tax_group=chosen.tax_group, collection=chosen.collection)


#: In order; reading the sequences comes before all of them. Another stage is another record here.
STAGES: tuple[Stage, ...] = (
    Stage('train', 'recipe', Recipe, _train, estimate.train, workers=True),
    Stage('baseline', 'baseline', baseline.BaselineSettings, _baseline, estimate.baseline),
    Stage(
        'evaluate',
        'evaluate',
        evaluate.EvaluateSettings,
        lambda work: evaluate.evaluate_run(work.run, work.settings, progress=work.progress),
        estimate.evaluate,
        lambda: tuple(derived.table for derived in evaluate.TABLES),
    ),
    Stage('explain', 'explain', explain.ExplainSettings, _explain, estimate.explain, workers=True),
    Stage(
        'match',
        'match',
        match.MatchSettings,
        lambda work: match.match_run(work.run, work.settings, progress=work.progress),
        estimate.match,
        lambda: tuple(derived.table for derived in match.TABLES),
        check=_check_match,
    ),
    Stage('discover', 'discover', discover.DiscoverSettings, _discover, estimate.discover, lambda: discover.TABLES),
    Stage(
        'grammar',
        'grammar',
        grammar.GrammarSettings,
        lambda work: grammar.grammar_run(work.run, work.settings, progress=work.progress),
        estimate.grammar,
        lambda: grammar.TABLES,
    ),
    Stage('report', 'dashboard', report.ReportSettings, _report, estimate.report),
)
