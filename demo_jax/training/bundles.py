"""Jobs in bundles: what one worker trains from beginning to end with its own devices (pure)."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from demo_jax.nn.architecture import resolve
from demo_jax.training.fit import fit
from demo_jax.training.jobs import Job, Recipe, make_plan, programs
from demo_jax.training.machine import Machine, ProgramSizes, models_that_fit, program_sizes
from demo_jax.training.pool import Pool, TaskRows
from demo_jax.training.state import EpochRecord, Finished, Started


@dataclasses.dataclass(frozen=True)
class Shared:
    """What every bundle of a training reads.

    Attributes:
      pool: all sequences, NumPy arrays.
      rows: the rows of each task.
      recipe: how to train.
      machine: how to lay out the work.
    """

    pool: Pool
    rows: Mapping[str, TaskRows]
    recipe: Recipe
    machine: Machine


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Some jobs of one program.

    Attributes:
      jobs: of one spec and one `dropout_bits`, at least one.
      sizes: the sizes of the program, which are the same for all bundles of it.
      started: those of the jobs that an earlier training had under way.
    """

    jobs: tuple[Job, ...]
    sizes: ProgramSizes
    started: tuple[Started, ...] = ()

    def __str__(self) -> str:
        return ', '.join(job.label for job in self.jobs[:3]) + (', ...' if len(self.jobs) > 3 else '')


@dataclasses.dataclass(frozen=True)
class Trained:
    """What came of a bundle; see `state.Report` for the fields."""

    epochs: tuple[EpochRecord, ...]
    finished: tuple[Finished, ...]
    notes: tuple[str, ...]


def train_bundle(bundle: Bundle, shared: Shared, tell: Callable[[float, str], None]) -> Trained:
    """Train a bundle on all devices of this process.

    Args:
      bundle: the jobs.
      shared: what they read.
      tell: called after every segment with the steps done, counted from the beginning of each job, and a text.
    """
    epochs: list[EpochRecord] = []
    finished: list[Finished] = []
    notes: list[str] = []
    plans = {
        job.index: make_plan(shared.recipe, len(shared.rows[job.task].of(job.fold).train)).steps for job in bundle.jobs
    }
    done = float(sum(job.progress.step for job in bundle.started))
    spec = bundle.jobs[0].spec
    tell(done, f'{spec}: compiling')
    reports = fit(
        bundle.jobs,
        shared.pool,
        shared.rows,
        shared.recipe,
        machine=shared.machine,
        started=bundle.started,
        sizes=bundle.sizes,
    )
    for report in reports:
        epochs += report.epochs
        finished += report.finished
        notes += report.notes
        done += report.steps + sum(plans[job.job] - job.steps for job in report.finished)
        tell(done, spec)
    return Trained(tuple(epochs), tuple(finished), tuple(notes))


def make_bundles(
    jobs: Sequence[Job],
    left: Mapping[int, float],
    shared: Shared,
    *,
    workers: int,
    n_devices: int,
    on_cpu: bool,
    memory: int | None = None,
    started: Mapping[int, Started] | None = None,
) -> list[Bundle]:
    """Cut the jobs that are left into bundles, the costliest first.

    The bundles of a program are as large as one worker's devices can hold at once, or smaller where there would be
    too few for all workers, and as equal in size as can be. A program's sizes come from all its jobs, whether they
    are left or not, so that every worker (and a later start) has the same program as a process that trains them all.

    Args:
      jobs: the job table.
      left: cost of each job that is to be trained, by index; in any unit.
      shared: what they read.
      workers: how many there are.
      n_devices: of a worker.
      on_cpu: whether those are CPUs.
      memory: bytes of one device; None = not known.
      started: jobs that an earlier training had under way.
    """
    found: list[Bundle] = []
    begun = started or {}
    for (spec, _), group in programs(jobs).items():
        waiting = sorted((job for job in group if job.index in left), key=lambda job: (-left[job.index], job.index))
        if not waiting:
            continue
        sizes = program_sizes(
            [make_plan(shared.recipe, len(shared.rows[job.task].of(job.fold).train)) for job in group],
            [len(shared.rows[job.task].of(job.fold).valid) for job in group],
            shared.recipe,
            shared.machine,
            n_devices=n_devices,
            on_cpu=on_cpu,
            room=models_that_fit(memory, resolve(spec), shared.recipe.batch_size, shared.pool.tokens),
        )
        count = max(-(-len(waiting) // sizes.slots), min(workers, len(waiting)))
        sizes = dataclasses.replace(sizes, slots=-(-len(waiting) // count))
        for number in range(count):
            first, last = (place * len(waiting) // count for place in (number, number + 1))
            part = waiting[first:last]
            found.append(Bundle(tuple(part), sizes, tuple(begun[job.index] for job in part if job.index in begun)))
    return sorted(found, key=lambda bundle: -sum(left[job.index] for job in bundle.jobs))
