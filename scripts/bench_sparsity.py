"""How fast sparse models decode beside dense ones: tokens a second at batch 1, one process, the decoders taking turns.

python scripts/bench_sparsity.py [--model smollm2-135m] [--sparsity 0.5 0.65] [--threads 1 2] [--rounds 5] [--json]

Decoders are the dense model in eager mode, the same compiled, and at each sparsity a copy of it whose layers use the
sparse kernel where a measured table says that it pays (or everywhere, with --everywhere). Ratios are to dense in eager
mode; the bound is the ratio of the bytes of weights, keys and values that the kernels in place must read. Without a
path the model has random weights of the shapes named: with the K best inputs of each token the work does not depend on
them.
"""

import argparse
import copy
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from evonas.sparsity import sparsify
from evonas.sparsity.accounting import decode_costs, total
from evonas.sparsity.attach import Pays
from evonas.sparsity.decoding import Decoder, DecodeRate, decode_rates
from evonas.sparsity.sites import linear_sites
from evonas.sparsity.sizes import SizeTable, measure_sizes
from evonas.tasks.language.pretrained import load_language_model

REFERENCE = "dense, eager"
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 100}
    | {"num_attention_heads": 4, "num_key_value_heads": 2},
    "smollm2-135m": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "vocab_size": 49152}
    | {"num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True},
    "smollm2-1.7b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "vocab_size": 49152}
    | {"num_attention_heads": 32, "num_key_value_heads": 32, "tie_word_embeddings": True},
}


@dataclass(frozen=True, slots=True)
class Row:
    """One decoder on a number of threads."""

    threads: int
    decoder: str
    tokens_per_second: float
    ratio: float
    lowest: float
    highest: float
    bound: float
    sparse_layers: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="smollm2-135m", help=f"{', '.join(SHAPES)}, or a folder, a GGUF file or an id of the hub"
    )
    parser.add_argument("--method", default="teal")
    parser.add_argument("--transform", action="store_true")
    parser.add_argument("--sparsity", type=float, nargs="+", default=(0.5, 0.65))
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32, help="decoded in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--everywhere", action="store_true", help="use the sparse kernel also where it does not pay")
    parser.add_argument("--sizes", type=Path, help="folder of the table of sizes; without it, measured and not kept")
    parser.add_argument("--eager", action="store_true", help="leave the compiled model out")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    model = load(arguments.model).to(arguments.device, getattr(torch, arguments.dtype)).eval()
    length = arguments.prompt + arguments.tokens
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(model.config.vocab_size, (length,), generator=generator).to(arguments.device)
    rows, table = [], None
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        torch._dynamo.reset()  # compiled code has its number of threads built in
        if not arguments.everywhere:
            shapes = {(site.inputs, site.outputs) for site in linear_sites(model)}
            table = measure_sizes(shapes, folder=arguments.sizes, device=arguments.device, dtype=model.dtype)
        rows += measure(model, tokens, arguments, threads, pays(table))
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    shown = Table(
        title=f"{arguments.model}, {arguments.method}, batch 1, torch {torch.__version__}", title_justify="left"
    )
    for column in ("threads", "decoder", "tokens/s", "ratio", "over rounds", "bound", "sparse layers"):
        shown.add_column(column, justify="left" if column == "decoder" else "right")
    for row in rows:
        spread = f"{row.lowest:.2f} to {row.highest:.2f}"
        numbers = (
            f"{row.tokens_per_second:.1f}",
            f"{row.ratio:.2f}",
            spread,
            f"{row.bound:.2f}",
            str(row.sparse_layers),
        )
        shown.add_row(str(row.threads), row.decoder, *numbers)
    Console().print(shown)


def load(name: str) -> Any:
    """A model of random weights, or a pretrained one."""
    if name in SHAPES:
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(**SHAPES[name]))
    return load_language_model(name).model


def pays(table: SizeTable | None) -> Pays:
    """When a layer uses the sparse kernel."""
    return table.pays if table is not None else lambda _inputs, _outputs, _sparsity: True


def measure(
    model: nn.Module, tokens: Tensor, arguments: argparse.Namespace, threads: int, sparse_when: Pays
) -> list[Row]:
    """All decoders on one number of threads."""
    decoders, bounds, counts = {REFERENCE: Decoder(model)}, {REFERENCE: 1.0}, {REFERENCE: 0}
    if not arguments.eager:
        decoders["dense, compiled"] = Decoder(model, compiled(model))
        bounds["dense, compiled"], counts["dense, compiled"] = 1.0, 0
    for sparsity in arguments.sparsity:
        name, other = f"sparse, {100 * sparsity:g} %", copy.deepcopy(model)
        report = sparsify(
            other,
            method=arguments.method,
            transform=arguments.transform,
            sparsity=sparsity,
            calibration=[tokens[None, : arguments.prompt]],
            sparse_when=sparse_when,
        )
        decoders[name] = Decoder(other)
        bounds[name] = total(decode_costs(other, report, context=len(tokens), as_run=True)).bound
        counts[name] = sum(layer.kernel == "sparse" for layer in report.layers)
    rates = decode_rates(decoders, tokens, prompt=arguments.prompt, rounds=arguments.rounds)
    return [row(threads, name, rate, bounds[name], counts[name]) for name, rate in rates.items()]


def compiled(model: nn.Module) -> Callable[..., Any]:
    """The step of a compiled model; the kernels are fixed in shape, as the cache is."""
    step: Callable[..., Any] = torch.compile(model, dynamic=False)
    return step


def row(threads: int, name: str, rate: DecodeRate, bound: float, count: int) -> Row:
    """One line of the table."""
    return Row(threads, name, rate.tokens_per_second, rate.ratio, min(rate.ratios), max(rate.ratios), bound, count)


if __name__ == "__main__":
    main()
