"""Surgery on networks of timm and torchvision: how many sites, and what still works once their layers are exchanged.

python scripts/surgery_table.py [timm:NAME torchvision:NAME ...] [--out FILE.md] [--json] [--no-compile]

Of each network, with fresh weights and ten classes: the norm-activation pairs and the bare norms; whether the same
network with every pair exchanged for itself gives the same bits, in training and evaluation; whether the copy is of the
network's own class, and with EvoNorm-B0 gives the bits of the copy whose calls are exchanged; whether it runs forward
and backward with EvoNorm-S0 at every pair; and whether torch.export and torch.compile (whole graph, backend aot_eager)
take the result. A network that surgery refuses, or that fails at a stage, is listed with the reason.
"""

import argparse
import copy
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, fx, nn

import evonas
from evonas.surgery.sites import by_calls, exchange_of
from evonas.surgery.tracing import trace
from evonas.tasks.architectures.external import make_external

TIMM = (
    *(
        "resnet18",
        "resnet50",
        "resnet50d",
        "seresnet50",
        "ecaresnet26t",
        "skresnet18",
        "resnest14d",
        "res2net50_26w_4s",
    ),
    *(
        "resnext50_32x4d",
        "wide_resnet50_2",
        "resnetv2_50",
        "densenet121",
        "dla34",
        "dpn68",
        "regnetx_002",
        "regnety_002",
    ),
    *("efficientnet_b0", "tf_efficientnet_lite0", "mobilenetv2_100", "mobilenetv3_small_100", "mnasnet_small"),
    *(
        "mixnet_s",
        "fbnetc_100",
        "spnasnet_100",
        "lcnet_050",
        "tinynet_e",
        "hardcorenas_a",
        "ghostnet_100",
        "rexnet_100",
    ),
    *("repvgg_a0", "vgg11_bn", "hrnet_w18_small", "selecsls42b", "xception41", "inception_v3", "cspdarknet53"),
    *("convnext_atto", "mobilevit_xxs", "edgenext_xx_small", "poolformer_s12", "vit_tiny_patch16_224", "levit_128s"),
    *("mixer_s32_224", "swin_tiny_patch4_window7_224", "nf_resnet50"),
)
TORCHVISION = (
    *(
        "resnet18",
        "resnet50",
        "resnext50_32x4d",
        "wide_resnet50_2",
        "densenet121",
        "mobilenet_v2",
        "mobilenet_v3_small",
    ),
    *("mobilenet_v3_large", "efficientnet_b0", "efficientnet_v2_s", "mnasnet0_5", "mnasnet1_0", "regnet_x_400mf"),
    *("regnet_y_400mf", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "googlenet", "inception_v3", "vgg11_bn"),
    *("squeezenet1_0", "convnext_tiny", "vit_b_16", "swin_t", "maxvit_t"),
)
SIZES = (96, 224, 299)  # the first that a network takes


@dataclass(slots=True)
class Row:
    """One network."""

    name: str
    pairs: int = 0
    bare: int = 0
    stages: dict[str, str] = field(default_factory=dict)  # "" for what works, else why not


def main() -> None:
    """Go through the networks and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="timm:NAME")
    parser.add_argument("--out", type=Path, metavar="FILE.md")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.export and torch.compile")
    given = parser.parse_args()
    names = given.names or [*(f"timm:{n}" for n in TIMM), *(f"torchvision:{n}" for n in TORCHVISION)]
    rows = [
        examine(name, compiling=not given.no_compile) for name in track(names, "networks", console=Console(stderr=True))
    ]
    text = json.dumps([asdict(row) for row in rows], indent=2) if given.json else markdown(rows)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


def examine(name: str, *, compiling: bool) -> Row:
    """Every stage of one network; a stage that fails leaves the others to be tried."""
    row = Row(name)
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = make_external(name, 10)
        x = images(model)
        if not attempt(row, "sites", lambda: count(row, model)):
            return row
        attempt(row, "same bits", lambda: require_same_bits(model, x))
        attempt(row, "own class", lambda: require_own_class(model, x))
        replaced: list[nn.Module] = []
        if not attempt(row, "replaced", lambda: replaced.append(evolved(model))):
            return row
        attempt(row, "backward", lambda: require_gradients(replaced[0].train(), x))
        if compiling:
            torch.compiler.reset()
            attempt(row, "export", lambda: torch.export.export(replaced[0].eval(), (x,)))
            compiled = torch.compile(replaced[0].train(), backend="aot_eager", fullgraph=True)
            attempt(row, "compile", lambda: require_gradients(compiled, x))
    return row


def attempt(row: Row, stage: str, work: Callable[[], object]) -> bool:
    """Whether a stage went well; the row says why not."""
    try:
        work()
    except Exception as error:
        row.stages[stage] = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        return False
    row.stages[stage] = ""
    return True


def images(model: nn.Module) -> Tensor:
    """Two images of the smallest size that the network takes."""
    for size in SIZES:
        x = torch.randn(2, 3, size, size)
        try:
            with torch.no_grad():
                model.eval()(x)
        except (RuntimeError, AssertionError, ValueError):
            continue
        return x
    raise RuntimeError(f"takes none of the sizes {SIZES}")


def count(row: Row, model: nn.Module) -> None:
    """Fill in pairs and bare norms."""
    sites = evonas.norm_act_sites(model)
    row.pairs = sum(site.act is not None for site in sites)
    row.bare = len(sites) - row.pairs


def evolved(model: nn.Module) -> nn.Module:
    """EvoNorm-S0 at every pair; bare norms stay."""
    return evonas.replace_norm_act(model, "evonorm-s0")


def require_same_bits(model: nn.Module, x: Tensor) -> None:
    """Each pair exchanged for a copy of its own norm and activation must change nothing."""
    nodes, modules = {node.name: node for node in trace(model).nodes}, dict(model.named_modules())

    def own(site: evonas.NormActSite) -> nn.Module:
        norm = copy.deepcopy(modules[site.norm])
        return norm if site.fused or not site.act else nn.Sequential(norm, Applied(nodes[site.nodes[-1]], modules))

    compare(model, evonas.replace_norm_act(model, own), x)


def require_own_class(model: nn.Module, x: Tensor) -> None:
    """The copy that surgery makes is of the network's class, and computes what the one with exchanged calls does."""

    def b0(site: evonas.NormActSite) -> nn.Module | None:
        return evonas.create_layer("evonorm-b0", site.num_features) if site.act else None

    kept = evonas.replace_norm_act(model, b0)
    compare(kept, by_calls(exchange_of(model, b0, None)), x)
    if type(kept) is not type(model):
        raise RuntimeError("is an fx.GraphModule")


def compare(one: nn.Module, other: nn.Module, x: Tensor) -> None:
    """Two networks must give the same bits in evaluation and in training."""
    for training in (False, True):
        outputs = []
        for network in (copy.deepcopy(one).train(training), copy.deepcopy(other).train(training)):
            torch.manual_seed(1)  # the same dropout
            outputs.append(first_tensor(network(x)))
        if not torch.equal(*outputs):
            raise RuntimeError(f"differs by {(outputs[0] - outputs[1]).abs().max():.2g}")


class Applied(nn.Module):
    """An activation as the traced network calls it."""

    def __init__(self, node: fx.Node, modules: dict[str, nn.Module]) -> None:
        super().__init__()
        self.node_op, self.target = node.op, node.target
        self.rest, self.options = node.args[1:], {k: v for k, v in node.kwargs.items() if k != "input"}
        self.module = copy.deepcopy(modules[str(node.target)]) if node.op == "call_module" else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        if self.module is not None:
            return self.module(x)
        if self.node_op == "call_method":
            return getattr(x, str(self.target))(*self.rest, **self.options)
        return self.target(x, *self.rest, **self.options)


def require_gradients(model: nn.Module, x: Tensor) -> None:
    """Forward and backward, with a finite output and finite gradients."""
    model.zero_grad()
    y = first_tensor(model(x))
    y.float().square().mean().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if not gradients or not all(bool(torch.isfinite(t).all()) for t in (y, *gradients)):
        raise RuntimeError("output or gradients are not finite")


def first_tensor(output: object) -> Tensor:
    """The logits, where a network gives auxiliary ones too."""
    return output if isinstance(output, Tensor) else next(part for part in output if isinstance(part, Tensor))  # type: ignore[attr-defined]


def markdown(rows: list[Row]) -> str:
    """The table, totals, and every failure with its reason."""
    stages = list(dict.fromkeys(stage for row in rows for stage in row.stages if stage != "sites"))
    lines = [f"| network | pairs | bare | {' | '.join(stages)} |", "|" + "---|" * (3 + len(stages))]
    for row in rows:
        cells = ["yes" if row.stages.get(s) == "" else "-" if s not in row.stages else "no" for s in stages]
        lines.append(f"| {row.name} | {row.pairs} | {row.bare} | {' | '.join(cells)} |")
    good = [sum(row.stages.get(stage) == "" for row in rows) for stage in stages]
    lines += [f"| {len(rows)} networks | | | {' | '.join(map(str, good))} |", "", "What did not work:", ""]
    lines += [f"- {row.name}, {stage}: {why}" for row in rows for stage, why in row.stages.items() if why]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
