"""Hypernetworks of this package beside those of hyperlight: loss after the same steps, and time for many gammas.

python scripts/bench_hypernet.py [--json] [--task registration] [--steps 400] [--seeds 1 2 3] [--gammas 32]
    [--images 1 4 16] [--rounds 20] [--device cpu]

One thread, one process. Both predict all parameters of the same primary network from the same hidden widths, start at
its own initial values, and see the same batches; each is as it comes otherwise, at the best of the learning rates of
Adam. hyperlight takes one gamma in a call: its primary network is called in a loop, with weights predicted one gamma at
a time, or all at once, which its loop does not need. Rounds are interleaved, so that a busy machine slows all of them;
on the CPU times are those of the processor. The first round is left out.
"""

import argparse
import importlib.util
import json
import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from evonas.config import DataConfig
from evonas.seeding import derive_seed
from evonas.studies.hypernet.settings import HypernetRunConfig
from evonas.studies.hypernet.tasks import HyperTask
from evonas.studies.hypernet.train import TASKS
from evonas.tasks.data import load_images
from evonas.training.allocator import keep_memory
from evonas.training.device import find_device
from evonas.training.fit import StopReason, fit

INSTALL = "hyperlight is not installed: pip install hyperlight"
OURS, THEIRS = "evonas", "hyperlight"
LOOP, AT_ONCE = "hyperlight, loop", "hyperlight, weights at once"
HIDDEN = HypernetRunConfig().hidden
MODES = ("forward", "forward + backward")

Times = dict[str, dict[str, float]]  # milliseconds by mode and call


class HyperLight(nn.Module):
    """A hypernetwork of hyperlight, called as those of this package are."""

    def __init__(self, task: HyperTask, seed: int) -> None:
        super().__init__()
        import hyperlight

        self.inputs = task.inputs
        primary = task.primary(seed)
        # its own initialization fails for vectors such as scales of norms; these are the primary network's values
        self.primary, values = hyperlight.hypernetize(
            primary, parameters=list(primary.parameters()), return_values=True
        )
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed(seed, THEIRS))
            self.network = hyperlight.HyperNet.from_existing(
                values, input_shapes={"gamma": (task.inputs.size,)}, hidden_sizes=HIDDEN, init_independent_weights=False
            )

    def predict(self, gammas: Tensor) -> dict[str, Tensor]:
        """All tensors with a leading n."""
        found = self.network(gamma=self.inputs.unit(gammas, like=self.network.backbone.output.weight))
        return {name: value.view(len(gammas), *self.network.output_shapes[name]) for name, value in found.items()}

    def call_primary(
        self, theta: dict[str, Tensor], *inputs: Any, in_dims: int | tuple[int | None, ...] | None = None, **kwargs: Any
    ) -> Tensor:
        """The outputs, stacked."""
        dims = in_dims if isinstance(in_dims, tuple) else (in_dims,) * len(inputs)
        outputs = []
        for place in range(len(next(iter(theta.values())))):
            own = [value if dim is None else value[place] for value, dim in zip(inputs, dims, strict=True)]
            with self.primary.using_externals({name: value[place] for name, value in theta.items()}):
                outputs.append(self.primary(*own, **kwargs))
        return torch.stack(outputs)

    def forward(self, gammas: Tensor, *inputs: Any, **kwargs: Any) -> Tensor:
        """As of this package: [d] or [n, d]."""
        outputs = self.call_primary(self.predict(gammas.view(-1, self.inputs.size)), *inputs, **kwargs)
        return outputs if gammas.ndim == 2 else outputs[0]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--task", choices=sorted(TASKS), default="registration")
    parser.add_argument("--width", type=int, default=8, help="channels of the primary network")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[3e-4, 1e-3, 3e-3, 1e-2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--gammas", type=int, default=32, help="in a timed call")
    parser.add_argument("--images", type=int, nargs="+", default=[1, 4, 16], help="in a timed call, or pairs of them")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if importlib.util.find_spec("hyperlight") is None:
        print(INSTALL, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    keep_memory()
    device = find_device(arguments.device, "--device")
    images = load_images(DataConfig()).to(device)
    task = TASKS[arguments.task](images, width=arguments.width)
    makers: dict[str, Callable[[int], nn.Module]] = {
        OURS: lambda seed: task.build(seed, hidden=HIDDEN).to(device),
        THEIRS: lambda seed: HyperLight(task, seed).to(device),
    }
    losses = {
        name: {
            rate: [final_loss(task, make(seed), rate, arguments.steps, seed) for seed in arguments.seeds]
            for rate in arguments.learning_rates
        }
        for name, make in makers.items()
    }
    batch = next(task.batches(0))[1]
    medians = {
        count: measure(task, makers, batch[:count], arguments.gammas, arguments.rounds, device)
        for count in dict.fromkeys(min(count, len(batch)) for count in arguments.images)
    }
    if arguments.json:
        print(json.dumps({"task": task.name, "losses": losses, "ms": medians, "gammas": arguments.gammas}, indent=2))
    else:
        show(task.name, losses, medians, arguments.gammas)
    return 0


def final_loss(task: HyperTask, model: Any, rate: float, steps: int, seed: int) -> float:
    """On fixed batches, the same for all seeds; infinite if training diverged."""
    torch.manual_seed(derive_seed(seed, "dropout"))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    trace = fit(lambda batch: task.loss(model, batch), task.batches(seed), optimizer, steps=steps)
    if trace.stop is not StopReason.COMPLETED:
        return math.inf
    model.eval()
    fixed = task.batches(derive_seed(0, "fixed batches"))
    with torch.no_grad():
        return statistics.fmean(float(task.loss(model, next(fixed))) for _ in range(HypernetRunConfig().fixed))


def measure(
    task: HyperTask,
    makers: dict[str, Callable[[int], nn.Module]],
    images: Tensor,
    count: int,
    rounds: int,
    device: torch.device,
) -> Times:
    """Median milliseconds of each call, forward alone and with backward."""
    ours, theirs = (make(0) for make in makers.values())
    gammas = task.inputs.sample(count, torch.Generator().manual_seed(0)).to(device)
    calls: dict[str, tuple[nn.Module, Callable[[], Tensor]]] = {
        OURS: (ours, lambda: ours(gammas, images)),
        LOOP: (theirs, lambda: torch.stack([theirs(gamma, images) for gamma in gammas])),
        AT_ONCE: (theirs, lambda: theirs(gammas, images)),
    }
    times: dict[str, dict[str, list[float]]] = {mode: defaultdict(list) for mode in MODES}
    for _ in range(rounds + 1):
        for name, (model, call) in calls.items():
            with torch.no_grad():
                started = clock(device)
                call()
                times[MODES[0]][name].append(clock(device) - started)
            model.zero_grad(set_to_none=True)
            started = clock(device)
            call().square().mean().backward()
            times[MODES[1]][name].append(clock(device) - started)
    return {
        mode: {name: 1e3 * statistics.median(values[1:]) for name, values in rows.items()}
        for mode, rows in times.items()
    }


def clock(device: torch.device) -> float:
    """Seconds: of the processor on the CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def show(name: str, losses: dict[str, dict[float, list[float]]], medians: dict[int, Times], count: int) -> None:
    """Two tables."""
    console = Console()
    table = Table(title=f"{name}: final loss", title_justify="left")
    for column in ("library", "learning rate", "mean", "seeds"):
        table.add_column(column, justify="right" if column == "mean" else "left")
    for library, rates in losses.items():
        best = min(rates, key=lambda rate: statistics.fmean(rates[rate]))
        for rate, values in rates.items():
            mark = " (best)" if rate == best else ""
            row = (f"{rate:g}{mark}", f"{statistics.fmean(values):.4f}", ", ".join(f"{v:.4f}" for v in values))
            table.add_row(library, *row)
    console.print(table)
    table = Table(title=f"{count} gammas", title_justify="left")
    for column in ("images", "call", *(f"{mode}, ms" for mode in MODES), *(f"{mode}, to {OURS}" for mode in MODES)):
        table.add_column(column, justify="left" if column == "call" else "right")
    for images, modes in medians.items():
        for call in (OURS, LOOP, AT_ONCE):
            own = [modes[mode][call] for mode in MODES]
            ratios = [modes[mode][call] / modes[mode][OURS] for mode in MODES]
            table.add_row(str(images), call, *(f"{value:.2f}" for value in own), *(f"{value:.1f}" for value in ratios))
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
