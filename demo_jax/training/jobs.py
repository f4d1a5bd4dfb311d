"""What to train, and in which order the examples come: all of it plain numbers, decided on the host."""

import dataclasses
import math
import numbers
from collections.abc import Iterable, Sequence

import numpy as np

from demo_jax.errors import InputError, brief
from demo_jax.nn.architecture import resolve
from demo_jax.training.pool import TaskRows, name_seed

_SCHEDULES = ('halving', 'cosine', 'constant')


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How every job is trained; the defaults are the paper's.

    Attributes:
      batch_size: sequences per step.
      epochs: passes over the training examples.
      min_steps: small tasks get more epochs until they have at least this many steps.
      learning_rate: of Adam; a job may have its own.
      lstm_rate: LSTMs and the layers above them learn at so many times the rate.
      centred: the updates of convolutions and LSTMs above convolutions have no part that is common to a unit's weights
        (see `step.centre`).
      schedule: 'halving' (every `halve_every` epochs), 'cosine' (to zero) or 'constant'.
      halve_every: epochs, for 'halving'.
      warmup: share of all steps over which the rate rises linearly from zero.
      dropout: rate while training; a job may have its own.
      weight_decay: decoupled (AdamW); a job may have its own.
      clip_value: gradients are clipped element-wise at this; 0 = not.
      clip_norm: then scaled to at most this norm; 0 = not.
      reverse_complement: turn each training sequence over with probability 1/2.
      average_strands: predictions are the mean score of both strands.
      negative_sets: shuffles per training positive to draw from (see `pool.build_pool`).
      shuffles_first: paired negatives that are no shuffles of their positives give way to shuffles, all of them in the
        first epoch, fewer in each, and none when this share of the epochs has passed: what both classes hold is learnt
        before how it differs.
      patience: stop a job after this many epochs without a better validation AUROC; 0 = never,
        whatever `patience_share` is.
      patience_share: and not before this share of its epochs has passed without one: of a small task, an epoch is a
        few steps.
      waking: a job has begun to learn by this share of its steps, or it starts again with other first weights: from
        then on it is asked after every epoch whether the mean validation AUROC of three epochs in a row has ever been
        above chance and letters by position (`waking.bar`), unless the last three rise; 0 = not asked.
      retries: how often a job starts again when its loss is not finite, when it has died and scores every
        sequence the same, or when it has not begun to learn; each time at half the rate, but for the first time
        that it has not begun to learn.
    """

    batch_size: int = 256
    epochs: int = 50
    min_steps: int = 0
    learning_rate: float = 1e-2
    lstm_rate: float = 1.0
    centred: bool = False
    schedule: str = 'halving'
    halve_every: int = 10
    warmup: float = 0.0
    dropout: float = 0.5
    weight_decay: float = 0.0
    clip_value: float = 5.0
    clip_norm: float = 0.0
    reverse_complement: bool = False
    average_strands: bool = False
    negative_sets: int = 1
    shuffles_first: float = 0.0
    patience: int = 0
    patience_share: float = 0.0
    waking: float = 0.5
    retries: int = 3

    def __post_init__(self) -> None:
        share, positive = 'at least 0 and below 1', 'more than 0 and finite'
        checks = {
            'batch_size': (self.batch_size >= 1, 'at least 1'),
            'epochs': (self.epochs >= 1, 'at least 1'),
            'min_steps': (self.min_steps >= 0, 'at least 0'),
            'learning_rate': (0 < self.learning_rate < math.inf, positive),
            'lstm_rate': (0 < self.lstm_rate < math.inf, positive),
            'schedule': (self.schedule in _SCHEDULES, ' or '.join(map(repr, _SCHEDULES))),
            'halve_every': (self.halve_every >= 1, 'at least 1'),
            'warmup': (0 <= self.warmup < 1, share),
            'dropout': (0 <= self.dropout <= 0.99, '0 to 0.99'),  # masks know 256ths: above, some would drop everything
            'weight_decay': (0 <= self.weight_decay < math.inf, 'at least 0 and finite'),
            'clip_value': (self.clip_value >= 0, 'at least 0'),
            'clip_norm': (self.clip_norm >= 0, 'at least 0'),
            'negative_sets': (self.negative_sets >= 1, 'at least 1'),
            'shuffles_first': (0 <= self.shuffles_first < 1, share),
            'patience': (self.patience >= 0, 'at least 0'),
            'patience_share': (0 <= self.patience_share < 1, share),
            'waking': (0 <= self.waking < 1, share),
            'retries': (self.retries >= 0, 'at least 0'),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise InputError(f'recipe: {name} is {brief(getattr(self, name))}, expected {expected}')


_FOLDS = 1000  # apart from other numbers in seeds: new starts, epochs


@dataclasses.dataclass(frozen=True)
class Job:
    """One model to train.

    Attributes:
      index: its row in the job table.
      task: name of the data set.
      spec: name of the architecture.
      seed: of its initial parameters, order of examples and dropout.
      learning_rate: at its peak.
      dropout: rate.
      weight_decay: decoupled.
      fold: of its validation rows, from 1; 0 = the corpus has one split.
    """

    index: int
    task: str
    spec: str
    seed: int
    learning_rate: float
    dropout: float
    weight_decay: float
    fold: int = 0

    @property
    def seeds(self) -> list[int]:
        """What its random streams depend on; with one split (fold 0) its seed and task alone."""
        return [self.seed, name_seed(self.task)] + [_FOLDS + self.fold] * bool(self.fold)

    @property
    def dropout_bits(self) -> int:
        """Random bits per unit that its rate needs: 1 for 0 and 1/2, 2 for quarters, ..., 8 for any other."""
        return next((bits for bits in (1, 2, 4) if (self.dropout * 2**bits).is_integer()), 8)

    @property
    def label(self) -> str:
        """A short name for messages."""
        return f'{self.task} / {self.spec} / seed {self.seed}' + (f' / fold {self.fold}' if self.fold else '')


def make_jobs(
    tasks: Sequence[str],
    specs: Sequence[str],
    recipe: Recipe,
    *,
    seeds: Sequence[int] = (0,),
    learning_rates: Sequence[float] = (),
    dropouts: Sequence[float] = (),
    folds: int = 1,
) -> tuple[Job, ...]:
    """The job table: every combination of task, spec, seed, fold and, where given, learning rate and dropout.

    Raises:
      InputError: an unknown spec, no spec or seed, a negative seed, a repeated value, one of a wrong type, or one that
        a recipe cannot have.
    """
    lists = {'task': tasks, 'spec': specs, 'seed': seeds, 'learning rate': learning_rates, 'dropout': dropouts}
    for what, values in lists.items():
        number = {'seed': numbers.Integral, 'learning rate': numbers.Real, 'dropout': numbers.Real}.get(what)
        for value in values:
            if number and (isinstance(value, bool) or not isinstance(value, number)):
                kind = 'a whole number' if what == 'seed' else 'a number'
                raise InputError(f'{what} is {brief(value)}, expected {kind}')
            if list(values).count(value) > 1:
                raise InputError(f'{what} {value!r} is listed twice')
        if what in ('spec', 'seed') and not values:
            raise InputError(f'no {what} is listed, expected at least one')
    for rate in learning_rates:
        dataclasses.replace(recipe, learning_rate=float(rate))  # checks it
    for dropout in dropouts:
        dataclasses.replace(recipe, dropout=float(dropout))
    for seed in seeds:
        if seed < 0:
            raise InputError(f'seed is {seed}, expected 0 or more')
    if isinstance(folds, bool) or not isinstance(folds, numbers.Integral) or folds < 1:
        raise InputError(f'folds is {brief(folds)}, expected a whole number of 1 or more')
    for spec in specs:
        resolve(spec)  # says what is wrong with it
    combinations = [
        (task, spec, seed, rate, dropout, fold)
        for spec in specs
        for seed in seeds
        for fold in (range(1, folds + 1) if folds > 1 else (0,))
        for rate in (learning_rates or (recipe.learning_rate,))
        for dropout in (dropouts or (recipe.dropout,))
        for task in tasks
    ]
    return tuple(
        Job(index, task, spec, int(seed), float(rate), float(dropout), recipe.weight_decay, fold)
        for index, (task, spec, seed, rate, dropout, fold) in enumerate(combinations)
    )


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long a job is: `epochs` passes of `steps_per_epoch` steps."""

    epochs: int
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.epochs * self.steps_per_epoch


def make_plan(recipe: Recipe, n_train: int) -> Plan:
    """Epochs and steps of a job with `n_train` training examples."""
    steps_per_epoch = max(1, -(-n_train // recipe.batch_size))
    return Plan(max(recipe.epochs, -(-recipe.min_steps // steps_per_epoch)), steps_per_epoch)


def learning_rates(recipe: Recipe, plan: Plan, peak: float, steps: np.ndarray) -> np.ndarray:
    """The learning rate at each of these steps int (S,), 0-based: float32 (S,)."""
    warmup_steps = recipe.warmup * plan.steps
    if recipe.schedule == 'halving':
        rate = 0.5 ** (steps // plan.steps_per_epoch // recipe.halve_every)
    elif recipe.schedule == 'cosine':
        progress = np.clip((steps - warmup_steps) / max(plan.steps - warmup_steps, 1), 0, 1)
        rate = 0.5 * (1 + np.cos(np.pi * progress))
    else:
        rate = np.ones(len(steps))
    return (peak * rate * np.minimum(1.0, (steps + 1) / (warmup_steps + 1))).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Order:
    """One epoch's S steps: rows of the pool int32 (S, B), -1 = no example; turned bool (S, B), on the other strand."""

    rows: np.ndarray
    turned: np.ndarray


def epoch_order(recipe: Recipe, job: Job, rows: TaskRows, epoch: int) -> Order:
    """The examples of one epoch, in a random order that depends on (seed, task, epoch) alone.

    An epoch whose size is no multiple of the batch ends with a batch that is partly -1.
    """
    rng = np.random.default_rng([*job.seeds, epoch, 2])
    count, sets = rows.train.shape
    order = rng.permutation(count)
    chosen = rng.integers(sets, size=count)
    turned = rng.random(count) < 0.5 if recipe.reverse_complement else np.zeros(count, bool)
    steps = max(1, -(-count // recipe.batch_size))
    padded = np.full(steps * recipe.batch_size, -1, np.int32)
    padded[:count] = rows.train[order, chosen]
    until = recipe.shuffles_first * make_plan(recipe, count).epochs
    if rows.first is not None and epoch < until:
        padded[:count] = np.where(rng.random(count) < 1 - epoch / until, rows.first[order], padded[:count])
    flags = np.zeros(steps * recipe.batch_size, bool)
    flags[:count] = turned
    return Order(padded.reshape(steps, -1), flags.reshape(steps, -1))


def batches(rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Rows (n,) cut into batches, int32 (steps, B), the last one filled with -1."""
    steps = -(-len(rows) // batch_size)
    padded = np.full(steps * batch_size, -1, np.int32)
    padded[: len(rows)] = rows
    return padded.reshape(steps, batch_size)


def programs(jobs: Iterable[Job]) -> dict[tuple[str, int], list[Job]]:
    """Jobs by the compiled program that can run them: (spec, dropout bits), in the table's order.

    The bits belong to the job and not to its company, so that a job's masks never depend on which
    other jobs there are.
    """
    groups: dict[tuple[str, int], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.spec, job.dropout_bits), []).append(job)
    return groups
