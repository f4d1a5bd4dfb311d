"""Suite `explain`: attributions, temporal scores, class optimisation and Tomtom, with what they replace beside them."""

import dataclasses
import functools
import importlib.util
import json
import os
import pathlib
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
from experiments.benchmarks import deeplift
from experiments.benchmarks.measure import Settings, interleaved, summarise

#: Models per spec: the same sequences through each, as for six tasks.
MODELS = 6
SEQUENCES = 1000
_TORCH_BATCHES = (64, 256)
#: Sequences of one model whose mutants tangermeme scores: enough that what it does before the first counts little.
_FAST_SEQUENCES = 512
_SLOW_SEQUENCES = 32  # for what runs a model hundreds of times per sequence
_OPTIMISATION_STEPS = 50
#: Words that 57 tasks x 500 sequences x 7 methods give.
WORDS = 57 * 500 * 7
RELEASE = 'JASPAR2016'
REFERENCE = pathlib.Path(__file__).with_name('explain_reference.json')


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
        params = _params(SPECS[name])
        programs = _programs(SPECS[name], params, tokens)
        programs += _torch(SPECS[name], params, tokens) if torch_found else []
        programs += _deeplift(SPECS[name], tokens.shape, peers=torch_found)
        # Programs that answer the same question take turns.
        for what in dict.fromkeys(program.what for program in programs):
            group = {program.program: program for program in programs if program.what == what}
            busy: dict[str, list[float]] = {key: [] for key in group}
            runs = {key: _counting(program.run, busy[key]) for key, program in group.items()}
            seconds = interleaved(runs, settings.repeats)
            rows += [_row(program, seconds[key], busy[key][-settings.repeats :]) for key, program in group.items()]
    return {
        'models': MODELS,
        'sequences': len(tokens),
        'length': settings.length,
        'rows': rows,
        'comparison': _compare(rows),
        'beside_reference': beside_reference(rows, reference()),
        'peers_note': '' if torch_found else 'PyTorch was not measured',
        'tomtom': _tomtom(min(WORDS, 10 * settings.sequences), rng),
    }


def _params(spec: ModelSpec) -> Params:
    """Random parameters of `MODELS` models."""
    keys = jax.random.split(jax.random.key(0), MODELS)
    return jax.tree.map(np.asarray, jax.vmap(functools.partial(models.init, spec=spec))(keys))


def _programs(spec: ModelSpec, params: Params, tokens: np.ndarray) -> list[_Program]:
    few = tokens[:_SLOW_SEQUENCES]

    def attribution(method: str, some: np.ndarray) -> _Program:
        run = functools.partial(attribute_models, method, params, spec, some)
        return _Program(spec.name, method, 'demo_jax', 'sequences', MODELS * len(some), run)

    programs = [
        attribution('saliency', tokens),
        attribution('integrated_gradients', few),
        attribution('mutagenesis', few),
    ]
    if spec.lstm_layers:
        for program, function in (('demo_jax', temporal_scores_models), ('every prefix', _every_prefix)):
            call = functools.partial(function, params, spec, few)
            programs.append(_Program(spec.name, 'temporal', program, 'sequences', MODELS * len(few), call))
    optimise = functools.partial(
        optimise_class,
        params,
        spec,
        seeds=np.arange(MODELS),
        length=tokens.shape[1],
        settings=ClassOptimisationSettings(steps=_OPTIMISATION_STEPS),
        chunk=_OPTIMISATION_STEPS,
    )
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


def _torch(spec: ModelSpec, params: Params, tokens: np.ndarray) -> list[_Program]:
    """Saliency by PyTorch's autograd, in each layout and batch size, and the same of captum and tangermeme.

    All have our weights, and run one model after the other.
    """
    import torch

    from experiments.benchmarks import torch_peer

    where = torch_peer.device() if jax.local_devices()[0].platform != 'cpu' else torch.device('cpu')
    torch_peer.use_all_cores(len(os.sched_getaffinity(0)), gpu=where.type == 'cuda')
    programs = []
    for variant in torch_peer.variants(spec):
        for size in _TORCH_BATCHES:
            peer = torch_peer.TorchSaliency(spec, variant, tokens, params, batch=size, where=where)
            label = f'torch {variant} batch {size}'
            programs.append(_Program(spec.name, 'saliency', label, 'sequences', MODELS * len(tokens), peer))
    for size in _TORCH_BATCHES:
        if importlib.util.find_spec('captum') is not None:
            captum = torch_peer.CaptumSaliency(spec, tokens, params, batch=size)
            programs.append(
                _Program(spec.name, 'saliency', f'captum batch {size}', 'sequences', MODELS * len(tokens), captum)
            )
        if importlib.util.find_spec('tangermeme') is not None:
            some = tokens[: _SLOW_SEQUENCES if spec.lstm_layers else _FAST_SEQUENCES]
            first = jax.tree.map(lambda leaf: leaf[:1], params)
            tangermeme = torch_peer.TangermemeMutagenesis(spec, some, first, batch=size, fast=not spec.lstm_layers)
            programs.append(
                _Program(spec.name, 'mutagenesis', f'tangermeme batch {size}', 'sequences', len(some), tangermeme)
            )
    return programs


def _deeplift(spec: ModelSpec, shape: tuple[int, ...], *, peers: bool) -> list[_Program]:
    """DeepLIFT of one model with 20 shuffles of each of up to 64 sequences, ours and (with our weights) the peers'."""
    n, length = min(deeplift.SEQUENCES, shape[0]), shape[1]
    made = deeplift.programs(spec, length=length, peers=peers, sequences=n)
    return [_Program(spec.name, 'deeplift', one.program, 'sequences', one.sequences, one.run) for one in made]


def reference() -> dict[str, Any]:
    """What a build of ours did, which later ones are held against: its `build`, `date`, `machine` and `rows`.

    `rows` holds sequences of one model per second of processor time, by spec and explanation.
    """
    return json.loads(REFERENCE.read_text(encoding='utf-8'))


def beside_reference(rows: list[dict[str, Any]], kept: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Our rates per second of processor time beside those of the reference build, where it has any."""
    lines = []
    for row in rows:
        was = kept['rows'].get(row['spec'], {}).get(row['what'])
        if row['program'] == 'demo_jax' and was:
            now = row['per_processor_second']['median']
            lines.append(
                {'spec': row['spec'], 'what': row['what'], 'per_processor_s': now, 'reference': was, 'ratio': now / was}
            )
    return lines


def _counting(run: Callable[[], Any], seconds: list[float]) -> Callable[[], None]:
    """The same program, which also notes the processor time of each call: it hardly depends on what else runs."""

    def counted() -> None:
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)

    return counted


def _row(program: _Program, seconds: list[float], busy: list[float]) -> dict[str, Any]:
    rate = summarise([program.count / value for value in seconds])
    facts = {name: getattr(program, name) for name in ('spec', 'what', 'program', 'unit', 'count')}
    return facts | {'per_second': rate, 'per_processor_second': summarise([program.count / value for value in busy])}


def _compare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ours against the best of the others, where there is one."""
    compared = []
    for ours in (row for row in rows if row['program'] == 'demo_jax'):
        others = [row for row in rows if (row['spec'], row['what']) == (ours['spec'], ours['what']) and row is not ours]
        if others:
            best = max(others, key=lambda row: row['per_second']['median'])
            compared.append(
                {
                    'spec': ours['spec'],
                    'what': ours['what'],
                    'sequences_per_s': ours['per_second']['median'],
                    'beside': best['program'],
                    'its_sequences_per_s': best['per_second']['median'],
                    'times_faster': ours['per_second']['median'] / best['per_second']['median'],
                }
            )
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
    if result['beside_reference']:
        kept = reference()
        title = f'Beside build {kept["build"]}, measured on {kept["date"]} ({kept["machine"]})'
        text.append(format_table(result['beside_reference'], list(result['beside_reference'][0]), title=title))
    if result['peers_note']:
        text.append(result['peers_note'])
    tomtom = result['tomtom']
    text.append(
        f'Tomtom: {tomtom["words"]:,} words ({tomtom["distinct"]:,} distinct) against {tomtom["targets"]} matrices of '
        f'{tomtom["release"]} in {tomtom["seconds"]:.1f} s'
    )
    return text
