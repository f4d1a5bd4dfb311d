r"""Measure how fast training, explaining and data handling are on this machine, with PyTorch beside them.

    python -m experiments.benchmark --suite=train --json=train.json
    python -m experiments.benchmark --suite=train --specs=medium_cnn,medium_rnn --widths=1,0 --json=two.json
    python -m experiments.benchmark --suite=all --host_devices=1 --nopeers --json=one_device.json

On 2 cores the suites `train` and `explain` take some 15 minutes with all specs, `scaling` two per spec, `data` about
one. Run it on a machine that does nothing else: the load average at the start and at the end stands in the file.

Every timing is the median over `--repeats` calls after two that are not counted. The programs of one
spec, ours at every width and PyTorch's, take turns, so that they are measured in the same minutes.

The JSON file holds `format`, `version`, `settings`, `machine` (processor, cores, devices, versions, date,
load) and `suites`. A repeated measurement is an object with `median`, `quartile_low`, `quartile_high`,
`min`, `max` and the `repeats` themselves.
- `suites.train.rows`: one per spec and width: `spec kind parameters width all models compile_seconds
  ms_per_step sequences_per_second operations_per_step operations_per_second share_of_peak`. `width` is the
  number of models in lockstep per device, `models` how many were trained in all; `ms_per_step` is wall
  time divided by models and steps.
- `suites.train.peers`: the same for PyTorch, with `program` and `variant`; `stacked` is `torch.func` over
  `models` CNNs, the other variants are layouts of one model at a time.
- `suites.train.comparison`: per spec, the best layout of PyTorch's against our default and best widths.
- `suites.train.peak`: the matrix-product rate of all devices together, measured between the specs.
- `suites.explain.rows`: one per spec, explanation and program: `spec what program unit count per_second
  per_processor_second`.
  Attributions and temporal scores count sequences of one model, class optimisation steps of one model.
- `suites.explain.comparison`: ours against PyTorch's autograd, captum, tangermeme, and running every prefix.
- `suites.explain.beside_reference`: ours against the build whose figures `explain_reference.json` keeps.
- `suites.explain.tomtom`: seconds to match the words of 57 tasks, measured once.
- `suites.scaling.rows`: one per spec and number of equal tasks: `seconds_per_task` without compilation,
  `times_that_of_6`, `operations_per_task`, `share_of_peak`. `suites.scaling.utilisation`: the share of the slots'
  steps that were used when tasks of very different sizes were trained.
- `suites.ask.rows`: effects of words in backgrounds on models, per second (also of processor time);
  `suites.ask.comparison`: ours against a loop over models with tangermeme.
- `suites.data.rows`: `name`, `unit` ('sequences/s' or 'ms') and `value`.
"""

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from absl import flags

from demo_jax.compute import devices
from demo_jax.errors import InputError, brief
from demo_jax.io import files
from experiments import cli
from experiments.benchmarks import asking, data, explaining, measure, scaling, training

FORMAT = 'demo_jax.benchmark'
VERSION = 1


class Suite(NamedTuple):
    """A suite: `run` measures and returns what goes into the JSON file, `tables` prints it."""

    run: Callable[[measure.Settings], dict[str, Any]]
    tables: Callable[[Mapping[str, Any]], list[str]]


SUITES: dict[str, Suite] = {
    'train': Suite(training.run, training.tables),
    'explain': Suite(explaining.run, explaining.tables),
    'data': Suite(data.run, data.tables),
    'scaling': Suite(scaling.run, scaling.tables),
    'ask': Suite(asking.run, asking.tables),
}

_DEFAULT = measure.Settings()
_SUITE = flags.DEFINE_enum('suite', 'all', [*SUITES, 'all'], 'What to measure.')
_JSON = cli.define_path('json', None, 'File for the measurements, as JSON.', required=True)
_SPECS = flags.DEFINE_list('specs', list(_DEFAULT.specs), 'Architectures, separated by commas.')
_WIDTHS = flags.DEFINE_list(
    'widths',
    [str(width) for width in _DEFAULT.widths],
    'Models in lockstep per device, separated by commas; 0, or more than --models, means all of them.',
)
_MODELS = flags.DEFINE_integer('models', _DEFAULT.models, 'Models trained at once per device.')
_REPEATS = flags.DEFINE_integer('repeats', _DEFAULT.repeats, 'Timed calls of each program.')
_BATCH = flags.DEFINE_integer('batch', _DEFAULT.batch, 'Sequences per training step.')
_LENGTH = flags.DEFINE_integer('length', _DEFAULT.length, 'Letters per sequence.')
_STEPS = flags.DEFINE_integer('steps', _DEFAULT.steps, 'Steps per model and call; 0 = 4 on a CPU, 64 elsewhere.')
_SEQUENCES = flags.DEFINE_integer('sequences', _DEFAULT.sequences, 'Sequences that the data suite handles.')
_COUNTS = flags.DEFINE_list(
    'counts', [str(count) for count in _DEFAULT.tasks], 'Numbers of tasks that the scaling suite trains, 6 among them.'
)
_PEERS = flags.DEFINE_bool('peers', _DEFAULT.peers, 'Measure PyTorch too, where it is installed.')
_HOST_DEVICES = flags.DEFINE_integer(
    'host_devices', 0, 'Split the CPU into so many single-threaded devices; 0 = one per core, 1 = one with all threads.'
)


def whole_numbers(flag: str, values: Sequence[str]) -> tuple[int, ...]:
    """The numbers in a list flag; InputError names the one that is none."""
    try:
        return tuple(int(value) for value in values)
    except ValueError:
        bad = next(value for value in values if not value.strip().lstrip('-').isdigit())
        raise InputError(f'--{flag}: {brief(bad)} is not a whole number') from None


def run(suites: Sequence[str], settings: measure.Settings) -> dict[str, Any]:
    """Run some suites and return what the JSON file holds."""
    machine = measure.machine_facts()
    results = {name: SUITES[name].run(settings) for name in suites}
    machine['load_average_after'] = list(os.getloadavg())
    return {
        'format': FORMAT,
        'version': VERSION,
        'settings': dataclasses.asdict(settings),
        'machine': machine,
        'suites': results,
    }


def describe(result: Mapping[str, Any]) -> str:
    """All tables of a result, headed by the machine."""
    machine = result['machine']
    torch = f', torch {machine["torch"]}' if machine['torch'] else ''
    head = (
        f'{machine["cpu"]}, {machine["cores"]} cores; {machine["devices"]} x {machine["device_kind"]} '
        f'({machine["device_platform"]}); jax {machine["jax"]}{torch}; {machine["date"]}; '
        f'load {machine["load_average"][0]:.1f} to {machine["load_average_after"][0]:.1f}'
    )
    tables = [table for name, suite in result['suites'].items() for table in SUITES[name].tables(suite)]
    return '\n\n'.join([head, *tables])


def main(argv: Sequence[str]) -> None:
    """Measure, print the tables, write the JSON file."""
    del argv
    devices.configure(_HOST_DEVICES.value)
    found = jax.local_devices()
    if _HOST_DEVICES.value and found[0].platform == 'cpu' and len(found) != _HOST_DEVICES.value:
        raise InputError(f'--host_devices={_HOST_DEVICES.value}: the CPU has {len(found)} devices (see XLA_FLAGS)')
    settings = measure.Settings(
        specs=tuple(_SPECS.value),
        widths=whole_numbers('widths', _WIDTHS.value),
        models=_MODELS.value,
        repeats=_REPEATS.value,
        batch=_BATCH.value,
        length=_LENGTH.value,
        steps=_STEPS.value,
        sequences=_SEQUENCES.value,
        tasks=whole_numbers('counts', _COUNTS.value),
        peers=_PEERS.value,
    )
    result = run(list(SUITES) if _SUITE.value == 'all' else [_SUITE.value], settings)
    print(describe(result))
    files.write_json(_JSON.value, result)
    print(f'measurements: {_JSON.value}', file=sys.stderr)


if __name__ == '__main__':
    cli.run(main)
