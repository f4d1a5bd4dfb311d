"""Suite `explain`: attributions, temporal scores, class optimisation and Tomtom, with what they replace beside them."""

import dataclasses
import functools
import importlib.util
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from demo_jax import dna
from demo_jax.explain import batches
from demo_jax.explain.attribution import attribute_models
from demo_jax.explain.class_optimisation import ClassOptimisationSettings, optimise_class
from demo_jax.explain.temporal import temporal_scores_models
from demo_jax.motifs import jaspar
from demo_jax.motifs.tomtom import match_words, prepare_targets
from demo_jax.nn import models
from demo_jax.nn.kernels import Array
from demo_jax.nn.models import SPECS, ModelSpec, Params
from demo_jax.report.tables import format_table
from experiments.benchmarks.measure import Settings, interleaved, summarise

#: Models per spec: the same sequences through each, as for six tasks.
MODELS = 6
SEQUENCES = 1000
_TORCH_BATCHES = (64, 256)
_SLOW_SEQUENCES = 32  # for what runs a model hundreds of times per sequence
_OPTIMISATION_STEPS = 50
#: Words that 57 tasks x 500 sequences x 7 methods give.
WORDS = 57 * 500 * 7
RELEASE = 'JASPAR2016'


@dataclasses.dataclass(frozen=True)
class _Program:
    """Something to time: `run` handles `count` units (sequences of one model, or steps) per call."""

    spec: str
    what: str
    program: str
    unit: str
    count: int
    run: Callable[[], Any]


def run(settings: Settings) -> dict[str, Any]:
    """Measure; see `experiments.benchmark` for what the result holds.

    Of `Settings`, `specs`, `length`, `repeats`, `sequences` (no more than 1,000 are used) and `peers` count.
    """
    torch_found = settings.peers and importlib.util.find_spec('torch') is not None
    rng = np.random.default_rng(0)
    tokens = rng.integers(4, size=(min(SEQUENCES, settings.sequences), settings.length), dtype=np.uint8)
    rows: list[dict[str, Any]] = []
    for name in tqdm(settings.specs, desc='explain', unit='spec'):
        programs = _programs(SPECS[name], tokens) + (_torch(SPECS[name], tokens) if torch_found else [])
        # Programs that answer the same question take turns.
        for what in dict.fromkeys(program.what for program in programs):
            group = {program.program: program for program in programs if program.what == what}
            seconds = interleaved({key: program.run for key, program in group.items()}, settings.repeats)
            rows += [_row(program, seconds[key]) for key, program in group.items()]
    return {
        'models': MODELS,
        'sequences': len(tokens),
        'length': settings.length,
        'rows': rows,
        'comparison': _compare(rows),
        'peers_note': '' if torch_found else 'PyTorch was not measured',
        'tomtom': _tomtom(min(WORDS, 10 * settings.sequences), rng),
    }


def _programs(spec: ModelSpec, tokens: np.ndarray) -> list[_Program]:
    keys = jax.random.split(jax.random.key(0), MODELS)
    params = jax.tree.map(np.asarray, jax.vmap(functools.partial(models.init, spec=spec))(keys))
    few = tokens[:_SLOW_SEQUENCES]

    def attribution(method: str, some: np.ndarray) -> _Program:
        run = functools.partial(attribute_models, method, params, spec, some)
        return _Program(spec.name, method, 'demo_jax', 'sequences', MODELS * len(some), run)

    programs = [
        attribution('saliency', tokens), attribution('integrated_gradients', few), attribution('mutagenesis', few),
    ]  # fmt: skip
    if spec.lstm_layers:
        for program, function in (('demo_jax', temporal_scores_models), ('every prefix', _every_prefix)):
            call = functools.partial(function, params, spec, few)
            programs.append(_Program(spec.name, 'temporal', program, 'sequences', MODELS * len(few), call))
    optimise = functools.partial(
        optimise_class, params, spec, seeds=np.arange(MODELS), length=tokens.shape[1],
        settings=ClassOptimisationSettings(steps=_OPTIMISATION_STEPS), chunk=_OPTIMISATION_STEPS,
    )  # fmt: skip
    count = MODELS * _OPTIMISATION_STEPS
    return [*programs, _Program(spec.name, 'class_optimisation', 'demo_jax', 'steps', count, optimise)]


def _every_prefix(params: Params, spec: ModelSpec, tokens: np.ndarray) -> np.ndarray:
    """Forward temporal scores (M, N, L) by running the model on every prefix of every sequence.

    Prefixes of about the same length share a batch, so that no more than a quarter of its letters are padding.
    """
    n, length = tokens.shape
    found = np.full((MODELS, n, length), np.nan, np.float32)
    ends = np.arange(spec.min_length, length + 1)
    for group in np.array_split(ends, 4):
        longest = int(group[-1])
        prefixes = np.repeat(tokens[:, None, :longest], len(group), axis=1)
        lengths = np.tile(group, (n, 1))
        arrays = (prefixes.reshape(-1, longest), lengths.reshape(-1).astype(np.int32))
        shared = tuple(np.broadcast_to(array, (MODELS, *array.shape)) for array in arrays)
        scores = batches.run(_score, (spec,), params, shared, batch_size=256)
        found[:, :, group - 1] = scores.reshape(MODELS, n, len(group))
    return found


def _score(params: Params, batch: tuple[Array, Array], spec: ModelSpec) -> Array:
    return models.apply(params, batch[0], spec, lengths=batch[1]).score


def _torch(spec: ModelSpec, tokens: np.ndarray) -> list[_Program]:
    """Saliency by PyTorch's autograd, one model after the other, in each layout and batch size."""
    import torch

    from experiments.benchmarks import torch_peer

    where = torch_peer.device() if jax.local_devices()[0].platform != 'cpu' else torch.device('cpu')
    torch_peer.use_all_cores(len(os.sched_getaffinity(0)), gpu=where.type == 'cuda')
    programs = []
    for variant in torch_peer.variants(spec):
        for size in _TORCH_BATCHES:
            peer = torch_peer.TorchSaliency(spec, variant, tokens, models=MODELS, batch=size, where=where)
            label = f'torch {variant} batch {size}'
            programs.append(_Program(spec.name, 'saliency', label, 'sequences', MODELS * len(tokens), peer))
    return programs


def _row(program: _Program, seconds: list[float]) -> dict[str, Any]:
    rate = summarise([program.count / value for value in seconds])
    facts = {name: getattr(program, name) for name in ('spec', 'what', 'program', 'unit', 'count')}
    return facts | {'per_second': rate}


def _compare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ours against the best of the others, where there is one."""
    compared = []
    for ours in (row for row in rows if row['program'] == 'demo_jax'):
        others = [
            row for row in rows
            if (row['spec'], row['what']) == (ours['spec'], ours['what']) and row is not ours
        ]  # fmt: skip
        if others:
            best = max(others, key=lambda row: row['per_second']['median'])
            compared.append({
                'spec': ours['spec'], 'what': ours['what'], 'sequences_per_s': ours['per_second']['median'],
                'beside': best['program'], 'its_sequences_per_s': best['per_second']['median'],
                'times_faster': ours['per_second']['median'] / best['per_second']['median'],
            })  # fmt: skip
    return compared


def _tomtom(count: int, rng: np.random.Generator) -> dict[str, Any]:
    """Seconds to match so many random nine-letter words, once: the second time, too, each word is new."""
    matrices = jaspar.load_matrices(RELEASE)
    targets = prepare_targets({motif: matrix.probabilities for motif, matrix in matrices.items()})
    text = dna.decode(rng.integers(4, size=9 * count, dtype=np.uint8))
    words = [text[start : start + 9] for start in range(0, len(text), 9)]
    start = time.perf_counter()
    match_words(words, targets, keep=range(len(targets))[:1])
    return {
        'words': count,
        'distinct': len(set(words)),
        'targets': len(targets),
        'release': RELEASE,
        'seconds': time.perf_counter() - start,
    }


def tables(result: Mapping[str, Any]) -> list[str]:
    """The result as printed tables."""
    rows = [
        {key: row[key] for key in ('spec', 'what', 'program', 'unit')}
        | {f'{key}_per_s': row['per_second'][key] for key in ('median', 'min', 'max')}
        for row in result['rows']
    ]
    size = f'{result["models"]} models, {result["sequences"]} sequences of {result["length"]} letters'
    text = [format_table(rows, list(rows[0]), title=f'Explaining: {size}; median, min and max of the repeats')]
    if result['comparison']:
        columns = list(result['comparison'][0])
        text.append(format_table(result['comparison'], columns, title='Beside the best of the others'))
    if result['peers_note']:
        text.append(result['peers_note'])
    tomtom = result['tomtom']
    text.append(
        f'Tomtom: {tomtom["words"]:,} words ({tomtom["distinct"]:,} distinct) against {tomtom["targets"]} matrices of '
        f'{tomtom["release"]} in {tomtom["seconds"]:.1f} s'
    )
    return text
