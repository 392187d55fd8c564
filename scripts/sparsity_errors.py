"""What dropping half of the inputs costs each kind of layer by itself, with the orthogonalizing transform and without.

python scripts/sparsity_errors.py MODEL [--sparsity 0.5] [--text topics] [--tokens 1024] [--json]

For every layer ||W x - W (g * x)||^2 / ||W x||^2 on the inputs it has in the dense model, sums over a text; the mean
over the layers of a kind. ``dropped energy`` is ||x - g * x||^2 / ||x||^2 of what |x| drops, in the layer's own basis
and in that of the transform: where the energy is spread more evenly over the coordinates, more of it is dropped.
"""

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from evonas.studies.sparsity.build import Builder
from evonas.studies.sparsity.calibration import normalized_groups
from evonas.studies.sparsity.layer import SparseLinear
from evonas.studies.sparsity.rotation import rotate
from evonas.studies.sparsity.scores import method_named
from evonas.studies.sparsity.selection import Prefill
from evonas.studies.sparsity.sites import LinearSite, linear_sites
from evonas.studies.sparsity.texts import scored_windows
from evonas.surgery.calls import call, inference
from evonas.tasks.language.pretrained import load_language_model

SETTINGS = {
    f"{method}{', transform' * turned}": (method, turned) for turned in (False, True) for method in ("teal", "wina")
}
ENERGY = "dropped energy"

Sums = defaultdict[tuple[LinearSite, str], float]  # of squares, by layer and column


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder, a GGUF file or an id of the hub")
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--text", default="topics")
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    language = load_language_model(arguments.model)
    rows = scored_windows(arguments.text, language.encode, arguments.context, arguments.tokens).rows
    found = errors(language.model, [row[None] for row in rows], arguments.sparsity)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    columns = list(next(iter(found.values())))
    table = Table("kind", *columns, title=f"{arguments.model}, {100 * arguments.sparsity:g} % dropped")
    for kind, values in found.items():
        table.add_row(kind, *(f"{values[column]:.4f}" for column in columns))
    Console().print(table)


def errors(model: nn.Module, batches: list[Tensor], sparsity: float) -> dict[str, dict[str, float]]:
    """By kind of layer, by setting: the mean over its layers of relative squared errors."""
    sites = linear_sites(model)
    turned = rotate(normalized_groups(model, sites, batches[0]))
    builds = {
        name: Builder(method_named(method), sites, turned if basis else {}, Prefill(), 0)
        for name, (method, basis) in SETTINGS.items()
    }
    lost, whole = Sums(float), Sums(float)
    with ExitStack() as hooks, inference(model):
        for site in sites:
            layers = {name: build(site, sparsity) for name, build in builds.items()}
            hooks.enter_context(site.module.register_forward_hook(partial(_note, lost, whole, site, layers)))
        for batch in batches:
            call(model, batch)
    names = list(dict.fromkeys(name for _, name in lost))
    return {
        kind: {name: statistics.mean(lost[site, name] / whole[site, name] for site in group) for name in names}
        for kind, group in _by_kind(sites)
    }


def _note(
    lost: Sums,
    whole: Sums,
    site: LinearSite,
    layers: dict[str, SparseLinear],
    _module: nn.Module,
    inputs: tuple[Any, ...],
    output: Tensor,
) -> None:
    def add(name: str, change: Tensor, of: Tensor) -> None:
        lost[site, name] += change.square().sum().item()
        whole[site, name] += of.square().sum().item()

    (x,) = inputs
    for name, layer in layers.items():
        add(name, layer(x) - output, output)
        if name.startswith("teal"):
            own = x if layer.rotation is None else layer.rotation(x)
            add(name.replace("teal", ENERGY), own - layer.selector.masked(own).values, own)


def _by_kind(sites: tuple[LinearSite, ...]) -> Iterator[tuple[str, list[LinearSite]]]:
    for kind in dict.fromkeys(site.kind for site in sites):
        yield kind, [site for site in sites if site.kind == kind]


if __name__ == "__main__":
    main()
