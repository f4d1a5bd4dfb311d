"""A small training, and a number that changes with any bit of its parameters: python -m tests.train_once WORKDIR."""

import sys

import numpy as np

from demo_jax.compute import devices
from demo_jax.runs.directory import RunDirectory
from demo_jax.stages.train import train_run
from demo_jax.training.jobs import Recipe, make_jobs
from tests.helpers import toy_corpus

if __name__ == '__main__':
    devices.configure(1)
    corpus = toy_corpus({'one': 40})
    run = RunDirectory(sys.argv[1])
    jobs = make_jobs(corpus.tasks, ['deepbind'], Recipe(batch_size=16, epochs=1, min_steps=0, dropout=0.5))
    run.create(corpus, {'corpus': {'seed': 0}, 'recipe': {}, 'machine': {}}, jobs)
    train_run(run, progress=False)
    params = run.load_result(0).params
    print(sorted({str(leaf.dtype) for part in params.values() for leaf in part.values()}), end=' ')
    print(sum(float(np.float64(leaf).sum()) for part in params.values() for leaf in part.values()).hex())
