"""What lowered layers cost: forward and backward of one layer, eager and compiled, beside other people's.

python scripts/bench_layers.py [--json] [--shape 32 64 28 28] [--rounds 15] [--survivors 20] [--seed 1] [--eager]

One thread, one process, the input requires a gradient. Rounds are interleaved: every round runs every layer once, so
that a busy machine slows all of them; times are those of the processor. Survivors are random graphs of the full space
that pass the screens. Ratios are to BN-ReLU in eager mode; the copy of one input is the floor of what memory allows.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import timm.layers
import torch
import torch._dynamo
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from evonas.config import LayerConfig, ProtocolsConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.layer.lower import lower
from evonas.search.outcome import Rejection
from evonas.search.protocols import Screens
from evonas.training.allocator import keep_memory

Step = Callable[[], object]

TIMM = {
    "evonorm-s0": timm.layers.EvoNorm2dS0,
    "evonorm-b0": timm.layers.EvoNorm2dB0,
    "frn-tlu": timm.layers.FilterResponseNormTlu2d,
}
REFERENCE, COPY = "bn-relu, torch, eager", "copy"


@dataclass(frozen=True, slots=True)
class Cost:
    """Median milliseconds of a forward and backward, the ratio to the reference, and seconds to the first result."""

    name: str
    ms: float
    ratio: float
    first_call_s: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--shape", type=int, nargs=4, default=(32, 64, 28, 28), help="timm wants a multiple of 32 channels"
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--survivors", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--eager", action="store_true", help="leave compiled layers out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    torch._dynamo.config.recompile_limit = 1000  # all lowered layers have one forward function
    layers = dict(modules(arguments.shape[1], survivors(arguments.survivors, arguments.seed), not arguments.eager))
    costs = measure(layers, tuple(arguments.shape), arguments.rounds, arguments.seed)
    medians = group_medians(costs)
    if arguments.json:
        print(json.dumps({"layers": [asdict(cost) for cost in costs], "survivors": medians}, indent=2))
        return
    shape = "x".join(map(str, arguments.shape))
    table = Table(title=f"forward + backward, {shape}, one thread", title_justify="left")
    for column in ("layer", "ms", "to BN-ReLU", "first call, s"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for cost in costs:
        table.add_row(cost.name, f"{cost.ms:.2f}", f"{cost.ratio:.2f}", f"{cost.first_call_s:.1f}")
    for name, ms in medians.items():
        table.add_row(f"median of survivors, {name}", f"{ms:.2f}", "", "")
    Console().print(table)


def survivors(count: int, seed: int) -> list[Genome]:
    """Random graphs of the full space that pass the screens, no two of them the same function."""
    space, rng, screens = SearchSpace(), random.Random(seed), Screens(ProtocolsConfig(), LayerConfig())
    found: dict[str, Genome] = {}
    while len(found) < count:
        genome = space.sample(rng)
        outcome = screens(genome)
        if not isinstance(outcome, Rejection):
            found.setdefault(outcome, genome.active())
    return list(found.values())


def modules(
    channels: int, random_layers: list[Genome], compiled: bool
) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """Everything that is measured, by name."""
    pairs: list[tuple[str, Callable[[], nn.Module]]] = []
    for name, theirs in TIMM.items():
        pairs.append((f"{name}, evonas", lambda name=name: lower(CATALOGUE[name], channels, layout="bchw")))
        pairs.append((f"{name}, timm", lambda theirs=theirs: theirs(channels)))
    for genome in random_layers:
        pairs.append((f"survivor {genome.formula()}", lambda genome=genome: lower(genome, channels, layout="bchw")))
    yield REFERENCE, nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
    for name, make in pairs:
        yield f"{name}, eager", make()
        if compiled:
            yield f"{name}, compiled", torch.compile(make(), fullgraph=True, dynamic=False)


def measure(
    layers: dict[str, Callable[[Tensor], Tensor]], shape: tuple[int, ...], rounds: int, seed: int
) -> list[Cost]:
    """Run all layers in turn, ``rounds`` times."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator).requires_grad_()
    direction, target = torch.randn(shape, generator=generator), torch.empty(shape)

    def step(layer: Callable[[Tensor], Tensor]) -> Step:
        inputs = [x, *layer.parameters()] if isinstance(layer, nn.Module) else [x]
        return lambda: torch.autograd.grad(layer(x), inputs, direction, allow_unused=True)

    steps: dict[str, Step] = {COPY: lambda: target.copy_(x.detach()), **{k: step(v) for k, v in layers.items()}}
    first, times = {}, {name: list[float]() for name in steps}
    for name, run in steps.items():
        started = time.perf_counter()  # the C++ compiler is another process
        run()
        first[name] = time.perf_counter() - started
        run()
    for _ in range(rounds):
        for name, run in steps.items():
            times[name].append(seconds(run))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return [Cost(name, 1e3 * ms, ms / medians[REFERENCE], first[name]) for name, ms in medians.items()]


def seconds(run: Step) -> float:
    """How long one run takes of the processor."""
    started = time.process_time()
    run()
    return time.process_time() - started


def group_medians(costs: list[Cost]) -> dict[str, float]:
    """Medians of the random layers' milliseconds, eager and compiled."""
    groups = {
        mode: [c.ms for c in costs if c.name.startswith("survivor") and c.name.endswith(mode)]
        for mode in ("eager", "compiled")
    }
    return {mode: statistics.median(values) for mode, values in groups.items() if values}


if __name__ == "__main__":
    main()
