"""What suite `explain` measures of DeepLIFT: ours, tangermeme's and captum's on the same weights and references.

python -m experiments.benchmarks.deeplift medium_cnn medium_cnn_rnn
"""

import functools
import importlib.util
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from demo_jax import dna
from demo_jax.explain.attribution import attribute
from demo_jax.explain.references import shuffles
from demo_jax.nn.models import SPECS, ModelSpec
from experiments.benchmarks.measure import interleaved

#: Dinucleotide shuffles of each sequence.
REFERENCES = 20
#: Sequences of the fast programs, and of those that take over a second for one.
SEQUENCES, FEW = 64, 4
#: Pairs at a time of the peers; the best of these counts.
PEER_BATCHES = (64, 256)


class Timed(NamedTuple):
    """A program to time: each call of `run` explains so many `sequences` of one model."""

    program: str
    sequences: int
    run: Callable[[], Any]


def programs(spec: ModelSpec, *, length: int = 101, peers: bool = True, sequences: int = SEQUENCES) -> list[Timed]:
    """DeepLIFT of one model with the same references: ours, and those of the peers that are installed.

    Integrated gradients with 32 steps from each of the references stand beside recurrent models, for which the peers
    have no rule of their own.

    Args:
      spec: the architecture.
      length: letters of a sequence.
      peers: whether to look for tangermeme and captum.
      sequences: how many the fast programs explain.
    """
    rng = np.random.default_rng(0)
    params = jax.tree.map(np.asarray, spec.init(jax.random.key(0)))
    tokens = rng.integers(4, size=(sequences, length), dtype=np.uint8)
    given = shuffles(tokens, None, REFERENCES, 0)
    few = min(FEW, sequences) if spec.lstm_layers else sequences
    ours = functools.partial(attribute, 'deeplift', params, spec, tokens, references=given)
    found = [Timed('demo_jax', sequences, ours)]
    if spec.lstm_layers:
        path = functools.partial(
            attribute, 'integrated_gradients', params, spec, tokens[:few], baseline='shuffled', shuffles=given[:few]
        )
        found.append(Timed('32 steps of integrated gradients', few, path))
    if not peers or importlib.util.find_spec('torch') is None:
        return found
    from experiments.benchmarks import deeplift_peers

    x, references = dna.one_hot(tokens[:few]), dna.one_hot(given[:few])
    for name, make in (('tangermeme', deeplift_peers.tangermeme), ('captum', deeplift_peers.captum)):
        if importlib.util.find_spec(name) is None or (name == 'captum' and spec.lstm_layers):
            continue  # captum has no rule for a product of gates
        for batch in PEER_BATCHES[: 1 if spec.lstm_layers else None]:
            explain = make(spec, params, length, batch_size=batch)
            found.append(Timed(f'{name} batch {batch}', few, functools.partial(explain, x, references)))
    return found


def main(names: list[str]) -> None:
    """Print sequences per second, medians of three repeats in turns."""
    if importlib.util.find_spec('torch') is not None:
        import os

        import torch

        torch.set_num_threads(len(os.sched_getaffinity(0)))
    for name in names:
        made = {one.program: one for one in programs(SPECS[name])}
        seconds = interleaved({key: one.run for key, one in made.items()}, 3)
        rates = {key: made[key].sequences / float(np.median(times)) for key, times in seconds.items()}
        for key, rate in rates.items():
            print(f'{name:16} {key:34} {rate:8.1f} sequences/s   {rates["demo_jax"] / rate:6.1f} times', flush=True)


if __name__ == '__main__':
    main(sys.argv[1:] or ['medium_cnn', 'medium_cnn_rnn'])
