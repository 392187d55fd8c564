"""What the probes of `evonas stability` add to a training.

python scripts/bench_probes.py [--json] [--sizes 55k 332k 786k] [--rounds 5] [--steps 20]

One thread, one process. Rounds are interleaved: for each size a short training without probes, then the same one with
a reading at every step, so that a busy machine slows both; times are those of the processor. The cost is what a reading
adds over the time of the steps from one reading to the next (`probe_every`). The first round is left out.
"""

import argparse
import json
import statistics
import time
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from evonas.config import TextConfig
from evonas.studies.stability.settings import OptimizerConfig, TrainingRunConfig
from evonas.studies.stability.train import train_transformer
from evonas.tasks.language.settings import sized
from evonas.tasks.language.text import Text, load_text
from evonas.training.allocator import keep_memory

EVERY = TrainingRunConfig().probe_every


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sizes", nargs="+", default=["55k", "332k", "786k"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    text = load_text(TextConfig())
    rows = [measure(size, text, arguments.rounds, arguments.steps) for size in arguments.sizes]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(title=f"a reading every {EVERY} steps", title_justify="left")
    for column in ("size", "step, ms", "reading, ms", "cost"):
        table.add_column(column, justify="left" if column == "size" else "right")
    for row in rows:
        table.add_row(row["size"], f"{row['step']:.1f}", f"{row['reading']:.1f}", f"{row['cost']:.2%}")
    Console().print(table)


def measure(size: str, text: Text, rounds: int, steps: int) -> dict[str, Any]:
    """Milliseconds of a step and of a reading, and the share of the time that readings take; medians over rounds."""
    plain, probed = [], []
    for _ in range(rounds + 1):
        plain.append(_step(size, text, steps, probe_every=0))
        probed.append(_step(size, text, steps, probe_every=1))
    step = statistics.median(plain[1:])
    reading = statistics.median(after - before for before, after in zip(plain[1:], probed[1:], strict=True))
    return {"size": size, "step": step, "reading": reading, "cost": reading / (EVERY * step)}


def _step(size: str, text: Text, steps: int, probe_every: int) -> float:
    config = TrainingRunConfig(
        model=sized(size),
        optimizer=OptimizerConfig(warmup=1),
        steps=steps,
        validation=1,
        probe_every=probe_every,
        device="cpu",
    )
    started = time.process_time()
    train_transformer(config, text)
    return 1e3 * (time.process_time() - started) / steps


if __name__ == "__main__":
    main()
