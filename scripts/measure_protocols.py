"""Train many layers that pass the cheaper screens, to hold the rejection protocols against what training says.

python scripts/measure_protocols.py SEARCH.toml --out FOLDER [--random 520] [--mutants 180] [--set a.b=c]

Layers are random graphs of the search's space, and mutants (1 to 3 mutations) of the catalogue layers the space holds,
so that there are good ones among them. Each is trained on every task of the search, ungated, and scored at ``STEPS``;
one that diverges, or is near chance at the second mark, goes no further on that task. Results are appended to
FOLDER/graphs.jsonl as they come; started again, the script goes on where it was. ``scripts/protocol_table.py`` reads
them.
"""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pebble import ProcessPool
from rich.progress import track

from evonas import config
from evonas.evaluate.evaluator import Evaluator, evaluator_from_config, install, make_optimizer
from evonas.evaluate.execution import keep_memory
from evonas.evaluate.protocols import Screens
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.graph.variation import mutate
from evonas.instrument.fit import StopReason, fit
from evonas.tasks.task import Task

STEPS = (25, 50, 100)
HOPELESS = 0.115  # accuracy at the second mark below which a training is not carried on; chance is 0.1
MOST_MUTATIONS = 3


def main() -> None:
    """Draw, train, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--random", type=int, default=520)
    parser.add_argument("--mutants", type=int, default=180)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="a.b=c")
    arguments = parser.parse_args()
    settings = config.load(arguments.file, arguments.overrides)
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = arguments.out / "graphs.jsonl"
    done = {json.loads(line)["key"] for line in results.read_text().splitlines()} if results.exists() else set()
    layers = [(g, o) for g, o in draw(settings, arguments) if g.key not in done]
    with ProcessPool(arguments.workers, initializer=_start, initargs=(settings,)) as pool, results.open("a") as file:
        futures = [pool.schedule(_train_in_worker, args=(g.active().to_text(), o)) for g, o in layers]
        for future in track(futures, "training"):
            file.write(json.dumps(future.result()) + "\n")
            file.flush()


def draw(settings: config.SearchConfig, arguments: argparse.Namespace) -> Iterator[tuple[Genome, str]]:
    """Layers that pass the screens, each function once, with their origin; random and mutants take turns."""
    space = SearchSpace.from_config(settings.space)
    screens, rng, seen = Screens(settings.protocols, settings.layer), random.Random(arguments.seed), set[str]()
    roots = [space.padded(g) for g in CATALOGUE.values() if not space.violations(g)]
    for name, genome in CATALOGUE.items():
        if not space.violations(genome) or name in settings.baselines:
            seen.add(str(screens(genome)))
            yield genome, f"catalogue {name}"

    def candidates(kind: str) -> Iterator[Genome]:
        while True:
            genome = space.sample(rng) if kind == "random" else rng.choice(roots)
            for _ in range(0 if kind == "random" else rng.randint(1, MOST_MUTATIONS)):
                genome, _how = mutate(genome, space, rng)
            verdict = screens(genome)
            if isinstance(verdict, str) and verdict not in seen:
                seen.add(verdict)
                yield genome

    wanted = {"random": arguments.random, "mutant": arguments.mutants}
    sources = {kind: candidates(kind) for kind in wanted}
    order = [kind for kind, count in wanted.items() for _ in range(count)]
    rng.shuffle(order)
    for kind in order:
        yield next(sources[kind]), kind


def measure(genome: Genome, evaluator: Evaluator) -> dict[str, Any]:
    """Accuracy at each mark and the step of divergence, per task."""
    scores: dict[str, dict[str, float]] = {}
    losses: dict[str, list[float]] = {}
    diverged: dict[str, int | None] = {}
    for task in evaluator.tasks:
        scores[task.name], losses[task.name], diverged[task.name] = _train(genome, task, evaluator)
    return {"key": genome.key, "text": genome.to_text(), "scores": scores, "losses": losses, "diverged": diverged}


def _train(genome: Genome, task: Task, evaluator: Evaluator) -> tuple[dict[str, float], list[float], int | None]:
    model = install(task.build(evaluator.seed), genome, evaluator.layer).train()
    optimizer, batches = make_optimizer(model, evaluator.training), task.batches(evaluator.seed)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, evaluator.training.steps)
    scores: dict[str, float] = {}
    losses: list[float] = []
    taken = 0
    for mark in STEPS:
        loss = lambda batch: task.loss(model, batch)  # noqa: E731
        trace = fit(loss, batches, optimizer, steps=mark - taken, schedule=schedule, check_every=5)
        taken += len(trace.losses)
        if trace.stop is StopReason.DIVERGED:
            return scores, losses, taken
        losses.append(round(sum(trace.losses[-10:]) / len(trace.losses[-10:]), 4))
        scores[str(mark)] = round(task.metric(model), 4)
        if mark == STEPS[1] and scores[str(mark)] < HOPELESS:
            break
    return scores, losses, None


_evaluator: Evaluator | None = None  # of a worker process


def _start(settings: config.SearchConfig) -> None:
    global _evaluator
    torch.set_num_threads(1)
    keep_memory()
    _evaluator = evaluator_from_config(settings)


def _train_in_worker(text: str, origin: str) -> dict[str, Any]:
    assert _evaluator is not None
    try:
        return {"origin": origin, **measure(Genome.from_text(text), _evaluator)}
    except RuntimeError as error:
        return {
            "origin": origin,
            "key": Genome.from_text(text).key,
            "text": text,
            "error": str(error).partition("\n")[0],
        }


if __name__ == "__main__":
    main()
