r"""Write the run directory that later versions must be able to read: tests/data/run_v1.

    python -m tests.make_run_fixture tests/data/run_v1

Two tasks and two small architectures. The first architecture's models are finished; training of the second's was
stopped on its way, so that there is a checkpoint to go on from. `expected.json` holds what this version predicts
from the finished models, and what comes of going on. Made once per version of the run's format and never anew:
that is the point of it.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from demo_jax import load_run
from demo_jax.compute import devices
from demo_jax.runs.directory import RunDirectory
from demo_jax.stages import train
from demo_jax.stages.evaluate import EvaluateSettings, evaluate_run
from demo_jax.stages.explain import ExplainSettings, explain_run
from demo_jax.training.jobs import Recipe, make_jobs
from tests.helpers import toy_corpus

SPECS = ('deepbind', 'small_rnn')
TASKS = {'GATA1_K562': 24, 'odd "name"/é': 16}
RECIPE = Recipe(batch_size=8, epochs=4, learning_rate=5e-3, reverse_complement=True, average_strands=True)
SEQUENCES = ('ACGTTGACTCATCGATCGGGCTAAAGCT', 'nnACGTTTGACTCAGGATCCAGTN', 'GATTACAGATTACAGATTACAGATTACAGA')


def stopped(after: int, original: Callable[..., Any]) -> Callable[..., Any]:
    """`fit`, with SIGTERM sent to this process after so many segments of the last architecture."""

    def fit(jobs: Sequence[Any], *arguments: Any, **keywords: Any) -> Iterator[Any]:
        for number, report in enumerate(original(jobs, *arguments, **keywords), start=1):
            if number == after and jobs[0].spec == SPECS[-1]:
                os.kill(os.getpid(), signal.SIGTERM)
            yield report

    return fit


def predictions(path: pathlib.Path, specs: Sequence[str]) -> dict[str, list[float]]:
    """'TASK SPEC' -> scores of `SEQUENCES`."""
    run = load_run(path)
    return {
        f'{task} {spec}': [float(score) for score in run.model(task, spec).predict(list(SEQUENCES)).score]
        for task in run.tasks
        for spec in specs
    }


def make(path: pathlib.Path) -> None:
    """Write the fixture."""
    corpus = toy_corpus(TASKS, lengths=(30, 27))
    run = RunDirectory(path)
    config = {
        'corpus': {'source': 'fasta', 'seed': 0},
        'specs': SPECS,
        'seeds': (0,),
        'learning_rates': (),
        'dropouts': (),
        'recipe': dataclasses.asdict(RECIPE),
        'machine': {'host_devices': 1, 'segment_steps': 4},
        'checkpoint_seconds': 60.0,
        'evaluate': {'n_resamples': 50},
    }
    run.create(corpus, config, make_jobs(corpus.tasks, SPECS, RECIPE))
    original = train.fit
    train.fit = stopped(2, original)
    try:
        train.train_run(run, progress=False)
        raise RuntimeError('the training was not stopped')
    except train.Interrupted:
        pass
    finally:
        train.fit = original
    pieces = ('saliency',)
    explain_run(run, ExplainSettings(specs=SPECS[:1], pieces=pieces, positives=3, negatives=1), progress=False)
    expected = {'sequences': SEQUENCES, 'finished': predictions(path, SPECS[:1])}
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / 'run'
        shutil.copytree(path, copy)
        again = RunDirectory(copy)
        train.train_run(again, progress=False)
        expected['resumed'] = predictions(copy, SPECS)
        tables = evaluate_run(again, EvaluateSettings(50), progress=False)
        expected['test_auroc'] = {f'{row["task"]} {row["spec"]}': row['test_auroc'] for row in tables['auroc'].rows}
    for name in ('tensorboard', '.lock'):
        place = path / name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    for note in path.rglob('commit_success.txt'):  # Orbax asks only whether it is there; its text names a folder
        note.write_text('Checkpoint commit was successful\n', encoding='utf-8')
    text = json.dumps(expected, indent=1, ensure_ascii=False)
    (path / 'expected.json').write_text(f'{text}\n', encoding='utf-8')


if __name__ == '__main__':
    devices.configure(1)
    make(pathlib.Path(sys.argv[1]))
