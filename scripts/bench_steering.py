"""What a step of LinEAS costs beside a plain forward and backward pass of the same model.

python scripts/bench_steering.py [--json] [--model model.gguf] [--rounds 20] [--samples 32] [--tokens 32] [--device cpu]

One thread, one process. Rounds are interleaved: after each step of the training, which runs through a frozen model with
maps at its norms after attention, a copy of the model takes a forward pass, and a forward and a backward pass with
gradients for all weights, on the same batch; so that a busy machine slows all of them. On the CPU times are those of
the processor. The first round is left out. Without ``--model`` it is a Llama of the given size with random weights.
"""

import argparse
import copy
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.table import Table
from torch import Tensor

from evonas.steering import fit
from evonas.studies.steering.fit import POST_NORMS
from evonas.tasks.language.pretrained import load_language_model
from evonas.training.device import find_device

STEP, FORWARD, REFERENCE = "LinEAS step", "forward", "forward + backward"
VOCABULARY = 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="", help="a folder, a GGUF file or an id of the hub")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--sites", default=POST_NORMS)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = find_device(arguments.device, "--device")
    built = load_language_model(arguments.model).model if arguments.model else build(arguments.width, arguments.depth)
    model = built.to(device).eval()
    shape = (2, arguments.samples, arguments.tokens)
    vocabulary = model.get_input_embeddings().num_embeddings
    batches = torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(0)).to(device)
    times, sites = measure(model, batches, arguments.sites, arguments.rounds, device)
    medians = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    if arguments.json:
        print(json.dumps({"ms": medians, "ratio": medians[STEP] / medians[REFERENCE], "sites": sites}, indent=2))
        return
    table = Table(title=f"{sites} sites, {arguments.samples} x {arguments.tokens} tokens", title_justify="left")
    for column in ("pass", "ms", "to forward + backward"):
        table.add_column(column, justify="left" if column == "pass" else "right")
    for name, median in medians.items():
        table.add_row(name, f"{median:.1f}", f"{median / medians[REFERENCE]:.2f}")
    Console().print(table)


def build(width: int, depth: int) -> Any:
    """A Llama with heads of 32 and random weights."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=depth,
        num_attention_heads=max(1, width // 32),
    )
    return transformers.LlamaForCausalLM(config)


def measure(
    model: Any, batches: Tensor, sites: str, rounds: int, device: torch.device
) -> tuple[dict[str, list[float]], int]:
    """Seconds of each pass in each round, and the number of sites."""
    source, target = batches
    plain = copy.deepcopy(model).requires_grad_()
    times = defaultdict[str, list[float]](list)

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            return time.perf_counter()
        return time.process_time()

    def timed(name: str, run: Callable[[], object]) -> None:
        started = clock()
        run()
        times[name].append(clock() - started)

    def forward() -> None:
        with torch.no_grad():
            plain(source)

    def reference() -> None:
        plain.zero_grad(set_to_none=True)
        plain(source, labels=source).loss.backward()

    def after_step(_step: int, _loss: Tensor) -> None:
        nonlocal since
        times[STEP].append(clock() - since)
        timed(FORWARD, forward)
        timed(REFERENCE, reference)
        since = clock()

    since = clock()
    intervention = fit(model, [source], [target], sites=sites, steps=rounds + 1, on_step=after_step)
    return {name: values[1:] for name, values in times.items()}, len(intervention.sites)


if __name__ == "__main__":
    main()
