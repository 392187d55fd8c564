"""Do layers that the stability protocol rejects blow up later, and those it passes not?

python scripts/stability_cases.py SEARCH.toml LAYER... [--steps 2000] [--rates 1 2 4] [--seeds 3] [--depth 2,2]

For each layer: how far the adversary drives the gradient norm, then long trainings on the search's first task at
multiples of its learning rate, constant, under several seeds; optionally in a deeper network. A training blows up when
its loss leaves the numbers, or when its mean over 20 steps, once below the initial loss, rises above it again. The
table has accuracy after 100 steps and at the end, and the step of each blow-up. Finished trainings are lines of the
file --out, and are not repeated.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from evonas import config
from evonas.graph.genome import Genome
from evonas.runs.pool import Failure
from evonas.runs.workers import Workers
from evonas.search.evaluator import Evaluator, evaluator_from_config
from evonas.search.named import find_layer
from evonas.search.training import task_optimizer
from evonas.tasks.task import placed
from evonas.training.fit import StopReason, fit

EARLY, AVERAGED = 100, 20


def main() -> None:
    """Train what is not there yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("layers", nargs="+")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0, 2.0, 4.0], help="times the learning rate")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--depth", default="", help="blocks per stage of the network, e.g. 2,2,2; default: the search's"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/stability-cases.jsonl"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="a.b=c")
    given = parser.parse_args()
    depth = [f"tasks.0.depth=[{given.depth}]"] if given.depth else []
    settings = config.load_search(given.file, [*given.overrides, *depth, 'training.schedule="constant"'])
    given.out.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    done = {row["id"] for row in rows}
    jobs = []
    for name in given.layers:
        text = find_layer(name).genome.to_text()
        for rate in given.rates:
            for seed in range(1, given.seeds + 1):
                job = {"text": text, "rate": rate, "seed": seed, "steps": given.steps, "depth": given.depth}
                if json.dumps(job) not in done:
                    jobs.append(job)
    limit = settings.execution.timeout_seconds
    with (
        Workers(trainings, settings, workers=given.workers, threads=1, timeout=limit) as pool,
        given.out.open("a") as file,
    ):
        for wait in track([pool.submit(job) for job in jobs], "training"):
            if isinstance(row := wait(), Failure):
                print(f"a training failed and is left for the next call: {row.reason} {row.detail}")
                continue
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
    _print(rows)


def trainings(settings: config.SearchConfig) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What does the long trainings in a worker."""
    return partial(train, evaluator_from_config(settings))


def train(evaluator: Evaluator, job: dict[str, Any]) -> dict[str, Any]:
    """One long training: accuracy early and at the end, and where it blew up."""
    genome, task = Genome.from_text(job["text"]), evaluator.tasks[0]
    settings = evaluator.training
    settings = settings.at_rate(job["rate"] * settings.rates[0])
    model = placed(task, task.build(job["seed"]), genome, evaluator.layer).train()
    optimizer, batches = task_optimizer(model, settings), task.batches(job["seed"])
    losses: list[float] = []
    early = None
    for steps in (EARLY, job["steps"] - EARLY):
        trace = fit(lambda batch: task.loss(model, batch), batches, optimizer, steps=steps, check_every=10)
        losses += trace.losses
        early = task.metric(model) if early is None and trace.stop is StopReason.COMPLETED else early
        if trace.stop is StopReason.DIVERGED:
            break
    return {
        "id": json.dumps(job),
        **job,
        "norm": _norm(genome, evaluator),
        "early": early,
        "final": task.metric(model) if len(losses) == job["steps"] else None,
        "blown": blow_up(losses),
    }


def blow_up(losses: list[float]) -> int | None:
    """The step at which a training blows up; None if it does not."""
    finite = [abs(loss) < float("inf") for loss in losses]
    if not all(finite):
        return finite.index(False) + 1
    learned = False
    for step in range(AVERAGED, len(losses) + 1):
        mean = sum(losses[step - AVERAGED : step]) / AVERAGED
        if learned and mean > losses[0]:
            return step
        learned = learned or mean < 0.95 * losses[0]
    return None


def _norm(genome: Genome, evaluator: Evaluator) -> float:
    """The gradient norm at which the stability protocol stops; infinite norms become its limit times ten."""
    rejection = evaluator.stability(genome)
    return rejection.measured or 0.0 if rejection else 0.0


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table(title="long trainings", title_justify="left")
    for column in ("layer", "adversary", "rate", "depth", "accuracy at 100", "at the end", "blown up at step"):
        table.add_column(column)
    groups: dict[tuple[str, float, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["text"], row["rate"], row["depth"]), []).append(row)
    for (text, rate, depth), found in groups.items():
        verdict = f"rejected, {found[0]['norm']:.1e}" if found[0]["norm"] else "passed"
        numbers = [_several([row[name] for row in found]) for name in ("early", "final")]
        blown = ", ".join(str(row["blown"] or "-") for row in found)
        table.add_row(Genome.from_text(text).formula(), verdict, f"{rate:g}", depth or "-", *numbers, blown)
    Console(width=160).print(table)


def _several(values: list[float | None]) -> str:
    return ", ".join("-" if value is None else f"{value:.3f}" for value in values)


if __name__ == "__main__":
    main()
