"""Suite `ask`: what motifs do to the scores of many models, and designs, with tangermeme and ledidi beside ours.

    python -m experiments.benchmarks.asking runs/sim20 medium_cnn

asks trained models of a run; the suite asks models with random parameters, for which a design means little.
"""

import functools
import importlib.util
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from demo_jax import dna
from demo_jax.insilico.design import design
from demo_jax.insilico.marginalise import marginalise
from demo_jax.insilico.models import ModelSet, of_score
from demo_jax.nn.models import SPECS, ModelSpec
from demo_jax.report.tables import format_table
from experiments.benchmarks.measure import Settings, interleaved, summarise

#: Models, backgrounds and words; of these models the loop over models with tangermeme asks so many, one after another.
MODELS, BACKGROUNDS, WORDS, PEER_MODELS = 30, 100, 100, 1
#: Sequences that are designed for one model, and the score (log odds) that they have to reach.
DESIGNS, TARGET = 10, 2.0
_WORD = 8  # letters


class Asked(NamedTuple):
    """Models of one architecture, and sequences to put words into.

    Attributes:
      spec: the architecture.
      params: nested arrays with a leading axis of models.
      average_strands: scores are means over both strands.
      backgrounds: uint8 (N, L).
      words: each of 8 letters.
    """

    spec: ModelSpec
    params: Any
    average_strands: bool
    backgrounds: np.ndarray
    words: tuple[str, ...]

    def models(self, count: int | None = None) -> ModelSet:
        """The first so many of them."""
        some = jax.tree.map(lambda leaf: leaf[:count], self.params)
        return of_score(self.spec, some, average_strands=self.average_strands)


def run(settings: Settings) -> dict[str, Any]:
    """Measure; see `experiments.benchmark` for what the result holds.

    Of `Settings`, `specs`, `length`, `repeats` and `peers` count; fewer than 3,000 `sequences` ask for little.
    """
    rng = np.random.default_rng(0)
    few = settings.sequences < MODELS * BACKGROUNDS
    n_models, n, n_words = (2, 4, 3) if few else (MODELS, BACKGROUNDS, WORDS)
    rows: list[dict[str, Any]] = []
    for name in settings.specs:
        keys = jax.random.split(jax.random.key(0), n_models)
        params = jax.tree.map(np.asarray, jax.vmap(SPECS[name].init)(keys))
        backgrounds = rng.integers(4, size=(n, settings.length), dtype=np.uint8)
        asked = Asked(SPECS[name], params, False, backgrounds, words_of(n_words, rng))
        rows += marginal_rows(asked, settings.repeats, peers=settings.peers)
    return {'models': n_models, 'backgrounds': n, 'words': n_words, 'rows': rows, 'comparison': compare(rows)}


def words_of(count: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Random words."""
    return tuple(dna.decode(rng.integers(4, size=_WORD, dtype=np.uint8)) for _ in range(count))


def marginal_rows(asked: Asked, repeats: int, *, peers: bool = True) -> list[dict[str, Any]]:
    """Effects (of a word in a background on a model) per second: ours, and a loop over models with tangermeme.

    The programs take turns. tangermeme's is given fewer models, whose effects count the same.
    """
    n_models = len(jax.tree.leaves(asked.params)[0])
    each = len(asked.words) * len(asked.backgrounds)
    motifs = {f'{k} {word}': word for k, word in enumerate(asked.words)}
    ours = functools.partial(marginalise, asked.models(), motifs, asked.backgrounds, control=False)
    programs: dict[str, tuple[Callable[[], Any], int]] = {'demo_jax': (ours, n_models * each)}
    # tangermeme has no recurrent models of its own: a loop over modules of ours is slow, and says little.
    if peers and _has('tangermeme') and not asked.spec.lstm_layers:
        from experiments.benchmarks.asking_peers import Marginals

        some = min(PEER_MODELS, n_models)
        programs['tangermeme, a loop over models'] = (Marginals(asked, some), some * each)
    busy: dict[str, list[float]] = {name: [] for name in programs}
    counting = {name: _counting(program, busy[name]) for name, (program, _) in programs.items()}
    seconds = interleaved(counting, repeats)
    return [
        {
            'spec': asked.spec.name,
            'program': name,
            'effects': count,
            'per_second': summarise([count / value for value in seconds[name]]),
            'per_processor_second': count / float(np.median(busy[name][-repeats:])),
        }
        for name, (_, count) in programs.items()
    ]


def _counting(program: Callable[[], Any], into: list[float]) -> Callable[[], None]:
    """The program; each call adds its processor seconds to a list."""

    def call() -> None:
        begun = time.process_time()
        program()
        into.append(time.process_time() - begun)

    return call


def compare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ours against the peer: times as many effects per second, and per processor second."""
    ours = {row['spec']: row for row in rows if row['program'] == 'demo_jax'}
    return [
        {
            'spec': row['spec'],
            'beside': row['program'],
            'times': ours[row['spec']]['per_second']['median'] / row['per_second']['median'],
            'times_by_processor': ours[row['spec']]['per_processor_second'] / row['per_processor_second'],
        }
        for row in rows
        if row['program'] != 'demo_jax'
    ]


def design_rows(
    asked: Asked, *, count: int = DESIGNS, target: float = TARGET, peers: bool = True
) -> list[dict[str, Any]]:
    """Edits, scores and seconds of designs for the first model, in turns: ours by both methods, and ledidi's.

    Of ledidi's batch of designs, those count that reach the target; each is pruned as far as that allows, and the one
    with the fewest edits is taken.
    """
    one = asked.models(1)
    programs: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        f'demo_jax, {method}': functools.partial(_ours, one, target, method) for method in ('mutagenesis', 'gradient')
    }
    if peers and _has('ledidi'):
        from experiments.benchmarks.asking_peers import Ledidi

        programs['ledidi'] = Ledidi(asked, target)
    made: dict[str, list[tuple[float, int, float, float]]] = {name: [] for name in programs}
    for number, start in enumerate(asked.backgrounds[: count + 1]):
        for name, program in programs.items():
            begun, busy = time.perf_counter(), time.process_time()
            found = program(start)
            seconds, busy = time.perf_counter() - begun, time.process_time() - busy
            if number:  # the first compiles
                score = float(one.score(found[None])[0, 0])
                made[name].append((score, int((found != start).sum()), seconds, busy))
    return [
        {
            'spec': asked.spec.name,
            'program': name,
            'reached': sum(score >= target - 1e-3 for score, *_ in found),
            'of': len(found),
            'edits': float(np.mean([edits for _, edits, *_ in found])),
            'score': float(np.mean([score for score, *_ in found])),
            'seconds': float(np.median([seconds for _, _, seconds, _ in found])),
            'processor_seconds': float(np.median([busy for *_, busy in found])),
        }
        for name, found in made.items()
    ]


def _ours(models: ModelSet, target: float, method: str, start: np.ndarray) -> np.ndarray:
    return dna.encode(design(models, dna.decode(start), target, method=method).sequence)


def _has(package: str) -> bool:
    return importlib.util.find_spec('torch') is not None and importlib.util.find_spec(package) is not None


def tables(suite: Mapping[str, Any]) -> list[str]:
    """The suite's tables for the console."""
    rows = [row | {'per_second': row['per_second']['median']} for row in suite['rows']]
    title = f'Effects of words: {suite["models"]} models, {suite["backgrounds"]} backgrounds, {suite["words"]} words'
    found = [format_table(rows, ['spec', 'program', 'effects', 'per_second', 'per_processor_second'], title=title)]
    if suite['comparison']:
        found.append(
            format_table(
                suite['comparison'], ['spec', 'beside', 'times', 'times_by_processor'], title='Times as many per second'
            )
        )
    return found


def main(arguments: list[str]) -> None:
    """Ask trained models of a run, and print both comparisons."""
    from demo_jax.insilico.sources import backgrounds_of
    from demo_jax.predict.run import load_run

    path, spec = arguments
    opened, rng = load_run(path), np.random.default_rng(0)
    models = [opened.model_of(opened.find_job(task, spec)) for task in opened.tasks]
    chosen = [models[k % len(models)] for k in range(MODELS)]
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *(model.params for model in chosen))
    backgrounds = backgrounds_of('shuffles', opened, opened.tasks[:1], BACKGROUNDS).tokens
    asked = Asked(SPECS[spec], params, chosen[0].average_strands, backgrounds, words_of(WORDS, rng))
    rows = marginal_rows(asked, 3)
    shown = [row | {'per_second': row['per_second']['median']} for row in rows]
    print(format_table(shown, ['spec', 'program', 'effects', 'per_second', 'per_processor_second']))
    print(format_table(compare(rows), ['spec', 'beside', 'times', 'times_by_processor']))
    columns = ['spec', 'program', 'reached', 'of', 'edits', 'score', 'seconds', 'processor_seconds']
    print(format_table(design_rows(asked), columns))


if __name__ == '__main__':
    main(sys.argv[1:])
