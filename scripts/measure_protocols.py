"""Train many layers that pass the cheaper screens, to hold the rejection protocols against what training says.

python scripts/measure_protocols.py SEARCH.toml --out FOLDER [--random 520] [--mutants 180] [--screened 0] [--set a.b=c]

Layers are random graphs of the search's space, and mutants (1 to 3 mutations) of the catalogue layers the space holds,
so that there are good ones among them. Each is trained on every task of the search, ungated, and scored at ``STEPS``;
one that diverges, or is near chance at the second mark, goes no further on that task. Results are appended to
FOLDER/graphs.jsonl as they come; started again, the script goes on where it was. Run with ``--screened N`` afterwards,
it trains N layers that structure rejects, N that numerics does, and N that compute what a layer of graphs.jsonl does
(its twin), into FOLDER/screened.jsonl instead. ``scripts/protocol_table.py`` and ``screens_table.py`` read them.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from evonas import config
from evonas.errors import first_line
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.graph.variation import mutate
from evonas.runs.pool import Failure
from evonas.runs.workers import Workers
from evonas.search.evaluator import Evaluator, evaluator_from_config
from evonas.search.outcome import Rejection
from evonas.search.protocols import Screens, fingerprint
from evonas.search.training import task_optimizer
from evonas.tasks.task import Task, placed
from evonas.training.fit import StopReason, fit

Facts = dict[str, str]  # what is known of a layer before it is trained: origin, and for one screened out by what

# layers that searches of this project found came later; without them a seed draws what runs/kept/screens has
KNOWN = {name: genome for name, genome in CATALOGUE.items() if not name.startswith("evonas-")}

Pool = Workers[config.SearchConfig, tuple[str, Facts], dict[str, Any]]

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
    parser.add_argument("--screened", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="a.b=c")
    arguments = parser.parse_args()
    settings = config.load_search(arguments.file, arguments.overrides)
    arguments.out.mkdir(parents=True, exist_ok=True)
    limit = settings.execution.timeout_seconds
    with Workers(trainings, settings, workers=arguments.workers, threads=1, timeout=limit) as pool:
        passed = arguments.out / "graphs.jsonl"
        if arguments.screened:
            train(pool, draw_screened(settings, arguments, passed), arguments.out / "screened.jsonl")
        else:
            train(pool, draw(settings, arguments), passed)


def train(pool: Pool, layers: Iterable[tuple[Genome, Facts]], results: Path) -> None:
    """Append what the training of each layer says, of those that are not in the file."""
    done = {json.loads(line)["key"] for line in results.read_text().splitlines()} if results.exists() else set()
    jobs = [(genome, facts) for genome, facts in layers if genome.key not in done]
    pending = [pool.submit((genome.active().to_text(), facts)) for genome, facts in jobs]
    with results.open("a") as file:
        for (genome, facts), wait in zip(jobs, track(pending, results.stem), strict=True):
            row = wait()
            if isinstance(row, Failure):
                row = {**facts, "key": genome.key, "text": genome.active().to_text(), "error": row.reason}
            file.write(json.dumps(row) + "\n")
            file.flush()


def proposals(kind: str, space: SearchSpace, rng: random.Random) -> Iterator[Genome]:
    """Random graphs, or mutants of catalogue layers, without end."""
    roots = [space.padded(g) for g in KNOWN.values() if not space.violations(g)]
    while True:
        genome = space.sample(rng) if kind == "random" else rng.choice(roots)
        for _ in range(0 if kind == "random" else rng.randint(1, MOST_MUTATIONS)):
            genome, _how = mutate(genome, space, rng)
        yield genome


def draw(settings: config.SearchConfig, arguments: argparse.Namespace) -> Iterator[tuple[Genome, Facts]]:
    """Layers that pass the screens, each function once, with their origin; random and mutants take turns."""
    space = SearchSpace.from_config(settings.space)
    screens, rng, seen = Screens(settings.protocols, settings.layer), random.Random(arguments.seed), set[str]()
    for name, genome in KNOWN.items():
        if not space.violations(genome) or name in settings.baselines:
            seen.add(str(screens(genome)))
            yield genome, {"origin": f"catalogue {name}"}
    wanted = {"random": arguments.random, "mutant": arguments.mutants}
    sources = {kind: proposals(kind, space, rng) for kind in wanted}
    order = [kind for kind, count in wanted.items() for _ in range(count)]
    rng.shuffle(order)
    for kind in order:
        for genome in sources[kind]:
            verdict = screens(genome)
            if isinstance(verdict, str) and verdict not in seen:
                seen.add(verdict)
                yield genome, {"origin": kind}
                break


def draw_screened(
    settings: config.SearchConfig, arguments: argparse.Namespace, passed: Path
) -> Iterator[tuple[Genome, Facts]]:
    """As many layers that each cheap screen rejects; equivalence: those with a twin among the layers that passed."""
    space = SearchSpace.from_config(settings.space)
    screens, rng = Screens(settings.protocols, settings.layer), random.Random(arguments.seed + 1)
    trained = [Genome.from_text(json.loads(line)["text"]) for line in passed.read_text().splitlines()]
    twins = {fingerprint(genome, settings.layer): genome.key for genome in trained}
    seen, sources = {genome.key for genome in trained}, {k: proposals(k, space, rng) for k in ("random", "mutant")}
    left = dict.fromkeys(("structure", "numerics", "equivalence"), arguments.screened)
    while any(left.values()):
        origin = rng.choice(tuple(sources))
        genome = next(sources[origin])
        verdict = screens(genome)
        stage = verdict.stage if isinstance(verdict, Rejection) else "equivalence" if verdict in twins else ""
        if genome.key in seen or not left.get(stage):
            continue
        seen.add(genome.key)
        left[stage] -= 1
        twin = {"twin": twins[verdict]} if isinstance(verdict, str) else {}
        yield genome, {"origin": origin, "rejected": stage, **twin}


def measure(genome: Genome, evaluator: Evaluator) -> dict[str, Any]:
    """Accuracy at each mark and the step of divergence, per task."""
    scores: dict[str, dict[str, float]] = {}
    losses: dict[str, list[float]] = {}
    diverged: dict[str, int | None] = {}
    for task in evaluator.tasks:
        scores[task.name], losses[task.name], diverged[task.name] = _train(genome, task, evaluator)
    return {"key": genome.key, "text": genome.to_text(), "scores": scores, "losses": losses, "diverged": diverged}


def _train(genome: Genome, task: Task, evaluator: Evaluator) -> tuple[dict[str, float], list[float], int | None]:
    model = placed(task, task.build(evaluator.seed), genome, evaluator.layer).train()
    optimizer, batches = task_optimizer(model, evaluator.training), task.batches(evaluator.seed)
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


def trainings(settings: config.SearchConfig) -> Callable[[tuple[str, Facts]], dict[str, Any]]:
    """What trains layers in a worker."""
    evaluator = evaluator_from_config(settings)

    def train_one(job: tuple[str, Facts]) -> dict[str, Any]:
        text, facts = job
        genome = Genome.from_text(text)
        try:
            return {**facts, **measure(genome, evaluator)}
        except RuntimeError as error:
            return {**facts, "key": genome.key, "text": text, "error": first_line(error)}

    return train_one


if __name__ == "__main__":
    main()
