"""Simulated peak files: the windows that are read back are the sequences that were simulated."""

import numpy as np

from demo_jax.data import readers
from demo_jax.data.intervals import PeakOptions
from experiments import simulate_peaks


def test_windows_around_the_summits_are_the_sequences(tmp_path):
    rng = np.random.default_rng(3)
    tokens = {name: rng.integers(0, 4, (size, 101)).astype(np.uint8) for name, size in (('A_x', 30), ('B', 41))}
    simulate_peaks.write_peaks(tokens, tmp_path, 400, rng)
    found = readers.read_tasks(
        'bed',
        [tmp_path / f'{name}.narrowPeak' for name in tokens],
        peaks=PeakOptions(tmp_path / 'genome.fa', test_chroms=('chr8', 'chr9')),
    )
    assert [task.name for task in found] == list(tokens)
    for task in found:
        parts = (task.train, task.test)
        read = {bytes(row) for part in parts for row, label in zip(part.tokens, part.labels, strict=True) if label}
        assert read == {bytes(row) for row in tokens[task.name]}


def test_positives_are_those_of_the_corpus():
    corpus = simulate_peaks.prepare_corpus(source='simulated', n_tasks=2, n_train=5, n_test=2)
    for task in corpus.tasks:
        tokens = simulate_peaks.positives(corpus, task)
        assert tokens.shape == (7, 101)
        letters = {corpus.sequence(row) for row in np.flatnonzero(np.asarray(corpus.labels) == 1)}
        assert {simulate_peaks.dna.decode(row) for row in tokens} <= letters
