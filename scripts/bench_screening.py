"""How many sampled graphs a second go through the screens, on one core, and what each protocol costs and rejects.

python scripts/bench_screening.py [--json] [--graphs 20000] [--seed 1]
A search of the S space asks for candidates and is told that each was rejected, so that all its proposals are uniform
samples; this is timed as a whole: sampling, structure, numerics and equivalence. The breakdown then takes as many
samples through one stage after the other, in the order of a search: a content key that was judged before ends there.
"""

import argparse
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from operator import attrgetter
from typing import TypeVar

import torch
from rich.console import Console
from rich.table import Table

from evonas.config import EvolutionConfig, LayerConfig, ProtocolsConfig
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.search.engine import Search
from evonas.search.outcome import Evaluation, Rejection
from evonas.search.protocols import Screens, fingerprint, numerics, structure

Result = TypeVar("Result")
SPACE = SearchSpace(index_sets=("chw", "hw", "ghw"))
PROTOCOLS, LAYER = ProtocolsConfig(), LayerConfig()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--graphs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    Screens(PROTOCOLS, LAYER)(Genome.from_text("sigmoid(x)"))  # makes the probe inputs, once in a process
    started, cpu_started = time.perf_counter(), time.process_time()
    outcomes = search(arguments.graphs, arguments.seed)
    rate = outcomes.total() / (time.perf_counter() - started)
    cpu_rate = outcomes.total() / (time.process_time() - cpu_started)  # what other programs take away is not in it
    stages = breakdown(arguments.graphs, arguments.seed)
    if arguments.json:
        rates = {"graphs_per_second": rate, "graphs_per_cpu_second": cpu_rate}
        print(json.dumps({**rates, "breakdown": stages, "outcomes": dict(outcomes)}, indent=2))
        return
    title = f"{rate:.0f} graphs/s on one thread, {cpu_rate:.0f} per CPU second"
    table = Table(title=title, title_justify="left")
    for column in ("stage", "calls", "seconds", "ms per call"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage, row in stages.items():
        table.add_row(stage, str(row["calls"]), f"{row['seconds']:.2f}", f"{row['ms_per_call']:.3f}")
    Console().print(table)
    Console().print(dict(outcomes))


def search(graphs: int, seed: int) -> Counter[str]:
    """How the first ``graphs`` proposals of a search end, or a few more: the last candidate's are counted whole."""
    run, outcomes = Search(SPACE, EvolutionConfig(), seed, Screens(PROTOCOLS, LAYER)), Counter[str]()
    while outcomes.total() < graphs:
        candidate = run.ask()
        outcomes["passed"] += 1
        for (stage, _), count in candidate.reasons.items():
            outcomes[stage] += count
        run.tell(candidate.index, Evaluation(candidate.genome.key, seed, rejection=Rejection("quality", "benchmark")))
    return outcomes


def breakdown(graphs: int, seed: int) -> dict[str, dict[str, float]]:
    """Calls and seconds of every stage."""
    seconds, calls = defaultdict[str, float](float), Counter[str]()
    keys, rng = set[str](), random.Random(seed)

    def timed(stage: str, run: Callable[..., Result], *arguments: object) -> Result:
        started = time.perf_counter()
        result = run(*arguments)
        seconds[stage] += time.perf_counter() - started
        calls[stage] += 1
        return result

    for _ in range(graphs):
        genome = timed("sample", SPACE.sample, rng)
        if timed("key", attrgetter("key"), genome) in keys:
            continue
        keys.add(genome.key)
        if timed("structure", structure, genome) or timed("numerics", numerics, genome, PROTOCOLS.numerics, LAYER):
            continue
        timed("fingerprint", fingerprint, genome, LAYER)
    return {
        stage: {"calls": calls[stage], "seconds": seconds[stage], "ms_per_call": 1e3 * seconds[stage] / calls[stage]}
        for stage in calls
    }


if __name__ == "__main__":
    main()
