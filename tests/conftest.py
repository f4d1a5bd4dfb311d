"""Settings of every test, and the fixtures that several files share."""

import os
import pathlib

import jax
import numpy as np
import pytest

from demo_jax import devices
from demo_jax.data import dna
from demo_jax.data.build import Records, TaskRecords, build_corpus
from demo_jax.data.corpus import Corpus

# Compilation is most of what the tests wait for: leave out the passes that pay only in long runs.
os.environ['XLA_FLAGS'] = ' '.join(
    [os.environ.get('XLA_FLAGS', ''), '--xla_backend_optimization_level=1', '--xla_llvm_disable_expensive_passes=true']
)
#: Compiler options for comparisons that run once: time goes into compilation, so their code stays unoptimised.
QUICK: dict[str, int | bool] = {'xla_backend_optimization_level': 0}
if jax.__version_info__ < (0, 11):  # later versions have no such option
    QUICK['xla_cpu_use_fusion_emitters'] = False
devices.configure(host_devices=2)
jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture(scope='session')
def real_data() -> pathlib.Path:
    """The folder of real ChIP-seq sets that `DEMO_JAX_DATA` names; the test is skipped where it is unset."""
    path = os.environ.get('DEMO_JAX_DATA')
    if not path:
        pytest.skip('DEMO_JAX_DATA is not set')
    return pathlib.Path(path)


def toy_corpus(sizes: dict[str, int], lengths: tuple[int, ...] = (30,), motif: str = 'TGACTCA') -> Corpus:
    """Tasks with `sizes[name]` training pairs (and 20 test pairs) whose positives hold a motif, quick to learn."""
    word = dna.encode(motif)

    def records(count, rng, name):
        tokens, labels, pairs = [], [], []
        for i in range(count):
            positive = rng.integers(0, 4, lengths[i % len(lengths)]).astype(np.uint8)
            at = rng.integers(0, len(positive) - len(word) + 1)
            positive[at : at + len(word)] = word
            tokens += [positive, dna.dinucleotide_shuffle(positive[None], rng)[0]]
            labels += [1, 0]
            pairs += [i, i]
        return Records(tokens, np.array(labels, np.uint8), [f'{name}{i}' for i in range(2 * count)], np.array(pairs))

    tasks = []
    for number, (name, count) in enumerate(sizes.items()):
        rng = np.random.default_rng(number)
        tasks.append(TaskRecords(name, records(count, rng, 'train'), records(20, rng, 'test')))
    return build_corpus(tasks)
