"""How fast sparse models decode beside dense ones: tokens a second at batch 1, one process, the decoders taking turns.

python scripts/bench_sparsity.py [--model smollm2-135m] [--sparsity 0.5 0.65] [--threads 1 2] [--rounds 5] [--json]
python scripts/bench_sparsity.py --model model.gguf --allocation fisher
python scripts/bench_sparsity.py --model model.gguf --allocation fisher --eager --formats bfloat16 int8

Decoders are the dense model and, at each sparsity, a copy of it whose layers use the sparse kernel where a measured
table says that it pays (or everywhere, with --everywhere): each in eager mode and compiled. Beside the ratios stand the
bound, which is the ratio of the bytes of weights, keys and values that the kernels in place must read, and how far the
logits of the first decoded token are from those of the same layers with masked dense products, over the largest logit;
and how many tokens agree within ALIKE until the first that does not. Where two inputs of a layer are nearly equal,
rounding decides which one is kept, and from there on the texts' keys and values differ; with --dtype float64 all agree.

With --formats the dense and the sparse model also decode with weights in bfloat16, or rounded to 8 bits, with the same
split and in eager mode; their bound is over the bytes that the dense model reads in its own type, and their difference
is from the logits of that.

Without a path the model has random weights of the shapes named, and decodes random tokens: with the K best inputs of
each token the work does not depend on them. A pretrained model decodes Python's help, and is calibrated on it.
"""

import argparse
import copy
import json
import statistics
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from evonas.sparsity import sparsify
from evonas.studies.sparsity.accounting import decode_costs, total
from evonas.studies.sparsity.decoding import Decoder, DecodeRate, compiled, decode_rates, decoded_logits
from evonas.studies.sparsity.int8 import weights_to_int8
from evonas.studies.sparsity.sites import linear_sites
from evonas.studies.sparsity.sparsify import Pays
from evonas.studies.sparsity.speed_table import SpeedTable, measure_speeds
from evonas.studies.sparsity.study import CONTEXT
from evonas.studies.sparsity.texts import calibration_windows, scored_windows
from evonas.tasks.language.pretrained import load_language_model

FORMATS = ("bfloat16", "int8")
EAGER, COMPILED = "dense, eager", "dense, compiled"
TEXT = "topics"
CALIBRATION = 1024  # tokens
ALIKE = 1e-4  # of the largest logit
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
    """One decoder on a number of threads.

    Attributes:
        tokens_per_second: the median.
        to_eager: speed over that of the dense model in eager mode, by round.
        to_compiled: the same, over the compiled dense model; none where that is left out.
        bound: how much less there is to read.
        difference: of the first token's logits from those with masked dense products; of the dense model from those in
            eager mode.
        alike: how many tokens agree, up to the first that does not.
    """

    threads: int
    decoder: str
    tokens_per_second: float
    to_eager: tuple[float, ...]
    to_compiled: tuple[float, ...]
    bound: float
    sparse_layers: int
    difference: float
    alike: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="smollm2-135m", help=f"{', '.join(SHAPES)}, or a folder, a GGUF file or an id of the hub"
    )
    parser.add_argument("--method", default="teal")
    parser.add_argument("--transform", action="store_true")
    parser.add_argument("--allocation", default="uniform")
    parser.add_argument("--sparsity", type=float, nargs="+", default=(0.5, 0.65))
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32, help="decoded in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--everywhere", action="store_true", help="use the sparse kernel also where it does not pay")
    parser.add_argument("--sizes", type=Path, help="folder of the table of sizes; without it, measured and not kept")
    parser.add_argument("--eager", action="store_true", help="leave the compiled models out")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=(), help="of weights, beside that of --dtype")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    length = arguments.prompt + arguments.tokens
    model, tokens, calibration = load(arguments.model, length)
    model.to(arguments.device, getattr(torch, arguments.dtype)).eval()
    tokens, calibration = tokens.to(arguments.device), [row.to(arguments.device) for row in calibration]
    rows, table = [], None
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        torch._dynamo.reset()  # compiled code has its number of threads built in
        if not arguments.everywhere:
            shapes = {(site.inputs, site.outputs) for site in linear_sites(model)}
            table = measure_speeds(shapes, folder=arguments.sizes, device=arguments.device, dtype=model.dtype)
        found = decoders_of(model, tokens, calibration, arguments, pays(table))
        for form in arguments.formats:
            found += formatted(model, tokens, calibration, arguments, form)
        rows += measure(found, tokens, arguments, threads)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    title = f"{arguments.model}, {arguments.method}, {arguments.allocation}, batch 1, torch {torch.__version__}"
    shown = Table(title=title, title_justify="left")
    for column in ("threads", "decoder", "tokens/s", "x dense", "x compiled", "bound", "layers", "difference", "alike"):
        shown.add_column(column, justify="left" if column == "decoder" else "right")
    for row in rows:
        numbers = (f"{row.tokens_per_second:.1f}", spread(row.to_eager), spread(row.to_compiled), f"{row.bound:.2f}")
        shown.add_row(
            str(row.threads), row.decoder, *numbers, str(row.sparse_layers), f"{row.difference:.0e}", str(row.alike)
        )
    Console().print(shown)


def spread(ratios: tuple[float, ...]) -> str:
    """The median and the range."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "-"


def load(name: str, length: int) -> tuple[Any, Tensor, list[Tensor]]:
    """A model, so many tokens to decode, and batches to calibrate on."""
    if name in SHAPES:
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**SHAPES[name]))
        tokens = torch.randint(model.config.vocab_size, (length,), generator=torch.Generator().manual_seed(0))
        return model, tokens, [tokens[None]]
    language = load_language_model(name)
    scored = scored_windows(TEXT, language.encode, length, length)
    windows = calibration_windows(TEXT, language.encode, CONTEXT, CALIBRATION, [scored])
    return language.model, scored.rows[0], [row[None] for row in windows.rows]


def pays(table: SpeedTable | None) -> Pays:
    """When a layer uses the sparse kernel."""
    return table.pays if table is not None else lambda _inputs, _outputs, _sparsity: True


@dataclass(frozen=True, slots=True)
class Entry:
    """A decoder to be measured: how much less it reads, its sparse layers, and the logits that it should give."""

    name: str
    decoder: Decoder
    bound: float
    layers: int
    expected: Tensor


def decoders_of(
    model: nn.Module, tokens: Tensor, calibration: list[Tensor], arguments: argparse.Namespace, sparse_when: Pays
) -> list[Entry]:
    """The dense model and a sparse copy at each sparsity, in eager mode and compiled."""
    prompt = arguments.prompt
    dense = decoded_logits(Decoder(model), tokens, prompt=prompt)
    entries = [Entry(EAGER, Decoder(model), 1.0, 0, dense)]
    if not arguments.eager:
        entries.append(Entry(COMPILED, compiled(model), 1.0, 0, dense))
    how = {"method": arguments.method, "transform": arguments.transform, "calibration": calibration}
    costs = None  # the same for all sparsities
    for sparsity in arguments.sparsity:
        other, name = copy.deepcopy(model), f"sparse {100 * sparsity:g} %"
        split = {"sparsity": sparsity, "allocation": arguments.allocation, "costs": costs}
        report = sparsify(other, **how, **split, sparse_when=sparse_when)
        costs = report.costs
        shares = {layer.name: layer.requested for layer in report.layers if layer.kernel == "sparse"}
        with sparsify(model, **how, sparsity=shares):
            masked = decoded_logits(Decoder(model), tokens, prompt=prompt)
        bound = total(decode_costs(other, report, context=len(tokens), as_run=True)).bound
        entries.append(Entry(f"{name}, eager", Decoder(other), bound, len(shares), masked))
        if not arguments.eager:
            entries.append(Entry(f"{name}, compiled", compiled(other), bound, len(shares), masked))
    return entries


def formatted(
    model: nn.Module, tokens: Tensor, calibration: list[Tensor], arguments: argparse.Namespace, form: str
) -> list[Entry]:
    """The dense model and a sparse copy at each sparsity, in eager mode, with weights of another format."""
    dtype = torch.bfloat16 if form == "bfloat16" else model.dtype
    shapes = {(site.inputs, site.outputs) for site in linear_sites(model)}
    where = {"folder": arguments.sizes, "device": arguments.device, "dtype": dtype, "int8": form == "int8"}
    table = None if arguments.everywhere else measure_speeds(shapes, **where)
    expected = decoded_logits(Decoder(model), tokens, prompt=arguments.prompt)
    read = total(decode_costs(model, context=len(tokens))).bytes
    entries, costs = [], None
    for sparsity in (0.0, *arguments.sparsity):
        split = {"sparsity": sparsity, "allocation": arguments.allocation if sparsity else None, "costs": costs}
        how = {"method": arguments.method, "transform": arguments.transform, "calibration": calibration}
        with sparsify(model, **how, **split) as planned:  # the split of the weights as they are
            shares, costs = planned.split.shares, planned.costs or costs
        other = copy.deepcopy(model).to(dtype)
        report = sparsify(other, **how, sparsity=shares, sparse_when=pays(table))
        if form == "int8":
            weights_to_int8(other)
        left = total(decode_costs(other, report, context=len(tokens), as_run=True)).bytes
        layers = sum(layer.kernel == "sparse" for layer in report.layers)
        name = f"sparse {100 * sparsity:g} %" if sparsity else "dense"
        entries.append(Entry(f"{name}, {form}, eager", Decoder(other), read / left, layers, expected))
    return entries


def measure(entries: list[Entry], tokens: Tensor, arguments: argparse.Namespace, threads: int) -> list[Row]:
    """All decoders on one number of threads, taking turns."""
    decoders = {entry.name: entry.decoder for entry in entries}
    rates = decode_rates(decoders, tokens, prompt=arguments.prompt, rounds=arguments.rounds)
    rows = []
    for entry in entries:
        rate, expected = rates[entry.name], entry.expected.float()
        logits = decoded_logits(entry.decoder, tokens, prompt=arguments.prompt).float()
        differences = ((logits - expected).abs().amax(1) / expected.abs().max()).tolist()
        alike = sum(1 for _ in takewhile(lambda difference: difference < ALIKE, differences))
        beside = () if arguments.eager else over(rate, rates[COMPILED])
        facts = (entry.bound, entry.layers, differences[0], alike)
        rows.append(Row(threads, entry.name, rate.tokens_per_second, rate.ratios, beside, *facts))
    return rows


def over(rate: DecodeRate, other: DecodeRate) -> tuple[float, ...]:
    """Ratios to another decoder, by round."""
    return tuple(mine / theirs for mine, theirs in zip(rate.ratios, other.ratios, strict=True))


if __name__ == "__main__":
    main()
