"""Whether compiling a candidate's layers pays in the trainings of a search: step times, latency, memory.

python scripts/bench_compiling.py search_spaces/evonorm_s.toml [--set data.size=16 ...] [--layer evonorm-s0]
    [--rounds 15] [--candidates 0] [--json]

All networks of the search file, one thread, interleaved rounds, medians. Times are those of the processor, the C++
compiler's included: in a search all cores are busy, and so they do not depend on who else is. The break-even is the
number of steps of every network after which the saving has paid for compiling. With ``--candidates 50``, so many
random layers are compiled and let go one after the other, and the process's memory is read after each.
"""

import argparse
import json
import random
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from evonas.config import SearchConfig, load_search
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.space import SearchSpace
from evonas.layer.compiling import LayerCompiler
from evonas.layer.lower import lower
from evonas.search.evaluator import evaluator_from_config
from evonas.search.training import task_optimizer
from evonas.surgery.install import with_layer
from evonas.training.allocator import keep_memory

MEGABYTE = 1 << 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("search_file", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--layer", choices=CATALOGUE, default="evonorm-s0")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--candidates", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    config = load_search(arguments.search_file, arguments.set)
    result = steps(config, arguments.layer, arguments.rounds)
    result["memory_mb"] = [round(m) for m in memory(arguments.candidates)]
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    table = Table(title=f"{arguments.layer}: ms a training step", title_justify="left")
    for column in ("network", "its own layers", "eager", "compiled"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for name, row in result["step_ms"].items():
        table.add_row(name, *(f"{row[mode]:.1f}" for mode in ("native", "eager", "compiled")))
    Console().print(table)
    for name in ("compile_seconds", "compile_seconds_again", "saved_share", "break_even_steps", "failure", "memory_mb"):
        Console().print(f"{name}: {result[name]}")


def steps(config: SearchConfig, layer: str, rounds: int) -> dict[str, Any]:
    """Step times of every network with its own, with eager and with compiled layers; compiled twice for the latency."""
    evaluator, genome = evaluator_from_config(config), CATALOGUE[layer]
    runs: dict[tuple[str, str], Callable[[], None]] = {}
    seconds, failure = [0.0, 0.0], ""
    compilers = [LayerCompiler(), LayerCompiler()]
    for task in evaluator.tasks:
        models = {mode: task.build(config.seed) for mode in ("native", "eager", "compiled")}
        for mode in ("eager", "compiled"):
            models[mode] = with_layer(models[mode], genome, config.layer)
        for i, compiler in enumerate(compilers):  # the second meets a warm cache on disk, as a repeated layer would
            started = processor_seconds()
            outcome = compiler.compile_layers(models["compiled"])
            seconds[i] += processor_seconds() - started
            failure = failure or outcome.failure
        batch = next(task.batches(config.seed))
        for mode, model in models.items():
            runs[task.name, mode] = stepper(
                model.train(), lambda model, task=task, batch=batch: task.loss(model, batch), config
            )
    for run in runs.values():
        run()
        run()
    times = {key: list[float]() for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            started = time.process_time()
            run()
            times[key].append(time.process_time() - started)
    medians = {key: 1e3 * statistics.median(values) for key, values in times.items()}
    table = {task.name: {m: medians[task.name, m] for m in ("native", "eager", "compiled")} for task in evaluator.tasks}
    eager, compiled = (sum(row[mode] for row in table.values()) for mode in ("eager", "compiled"))
    return {
        "step_ms": table,
        "compile_seconds": round(seconds[0], 2),
        "compile_seconds_again": round(seconds[1], 2),
        "saved_share": round(1 - compiled / eager, 3),
        "break_even_steps": round(1e3 * seconds[0] / (eager - compiled)) if compiled < eager else None,
        "failure": failure,
    }


def stepper(model: nn.Module, loss: Callable[[nn.Module], torch.Tensor], config: SearchConfig) -> Callable[[], None]:
    """One optimizer step."""
    optimizer = task_optimizer(model, config.training)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(model).backward()
        optimizer.step()

    return step


def processor_seconds() -> float:
    """Of this process and of those it has started, which is where C++ is compiled."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def memory(candidates: int) -> list[float]:
    """Resident megabytes after each of so many random layers was compiled, used and let go."""
    space, rng = SearchSpace(), random.Random(0)
    result: list[float] = []
    while len(result) < candidates:
        genome = space.sample(rng)
        if genome.varies[-1] != frozenset("bchw"):
            continue
        with LayerCompiler() as compiler:
            layer = lower(genome, 16, layout="bchw", groups=4)
            compiler.compile_layers(layer)
            layer(torch.randn(8, 16, 8, 8, requires_grad=True)).sum().backward()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        result.append(pages * 4096 / MEGABYTE)
    return result


if __name__ == "__main__":
    main()
