"""How many sampled graphs a second go through the screens, on one core, and what each protocol costs and rejects.

python scripts/bench_screening.py [--json] [--graphs 20000] [--seed 1]
Proposals are uniform samples of the S space, judged as a search judges them: cheapest protocol first, repeats of a
content key from memory.
"""

import argparse
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import TypeVar

import torch
from rich.console import Console
from rich.table import Table

from evonas.config import LayerConfig, NumericsConfig
from evonas.evaluate.protocols import fingerprint, numerics, structure
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace

Result = TypeVar("Result")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--graphs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seconds: defaultdict[str, float] = defaultdict(float)
    calls: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()

    def timed(stage: str, run: Callable[[], Result]) -> Result:
        started = time.perf_counter()
        result = run()
        seconds[stage] += time.perf_counter() - started
        calls[stage] += 1
        return result

    def judge(genome: Genome) -> str:
        if timed("structure", lambda: structure(genome)):
            return "structure"
        if timed("key", lambda: genome.key) in keys:
            return "equivalence"
        keys.add(genome.key)
        if timed("numerics", lambda: numerics(genome, settings, layer)):
            return "numerics"
        found = timed("fingerprint", lambda: fingerprint(genome, layer))
        if found in seen:
            return "equivalence"
        seen.add(found)
        return "passed"

    space, rng = SearchSpace(index_sets=("chw", "hw", "ghw")), random.Random(arguments.seed)
    settings, layer = NumericsConfig(), LayerConfig()
    keys, seen = set[str](), set[str]()
    started = time.perf_counter()
    for _ in range(arguments.graphs):
        genome = timed("sample", lambda: space.sample(rng))
        outcomes[judge(genome)] += 1
    total = time.perf_counter() - started
    stages = {
        stage: {"calls": calls[stage], "seconds": seconds[stage], "ms_per_call": 1e3 * seconds[stage] / calls[stage]}
        for stage in seconds
    }
    if arguments.json:
        rate = arguments.graphs / total
        print(json.dumps({"graphs_per_second": rate, "breakdown": stages, "outcomes": dict(outcomes)}, indent=2))
        return
    table = Table(title=f"{arguments.graphs / total:.0f} graphs/s, one thread", title_justify="left")
    for column in ("stage", "calls", "seconds", "ms per call"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage, row in stages.items():
        table.add_row(stage, str(row["calls"]), f"{row['seconds']:.2f}", f"{row['ms_per_call']:.3f}")
    Console().print(table)
    Console().print(dict(outcomes))


if __name__ == "__main__":
    main()
