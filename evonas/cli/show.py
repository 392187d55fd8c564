"""``evonas show``: a layer from all sides that need no training."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evonas.cli.app import JsonOption, LayerArgument
from evonas.errors import InputError

if TYPE_CHECKING:
    from evonas.search.named import NamedLayer


def show(
    layer: LayerArgument,
    as_json: JsonOption = False,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw the graph, and the response to one element.")
    ] = None,
    tex: Annotated[bool, typer.Option("--tex", help="Print the formula in LaTeX, and nothing else.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out what is found by trying: properties and costs.")
    ] = False,
) -> None:
    """A layer's formula, text form and origin, what it is like, what it costs, and pictures of it.

    What it ignores, depends on and does to large inputs is found by trying it. Costs are those of a forward and a
    backward pass, beside those of BN-ReLU; the time is measured now, beside BatchNorm and ReLU of torch.

    Example: [bold]evonas show evonorm-s0 --png s0.png[/bold]
    """
    from evonas.cli import terminal
    from evonas.search import named, ranking

    found = named.find_layer(layer)
    facts = ranking.describe(found.genome)
    if tex:
        print(facts["latex"])
        return
    if png is not None:
        _write_png(found, png)
    tried = {} if quick else _tried(found)
    if as_json:
        name = found.name or layer.strip()
        known = {"objectives": dict(found.objectives or {}), "layout": found.layout}
        origin = {"provenance": found.provenance, "evidence": found.evidence}
        print(json.dumps([{"name": name, **facts, **known, **origin, **tried}], indent=2))
        return
    console = terminal.console()
    for name, value in _rows(found, facts, tried).items():
        if value:
            console.print(f"{name:<17}{value}", soft_wrap=True)
    if png is not None:
        console.print(f"{'picture':<17}{png}", soft_wrap=True)


def _tried(layer: NamedLayer) -> dict[str, Any]:
    """What is found by trying the layer; nothing of one that torch cannot run."""
    from evonas.graph.catalogue import CATALOGUE
    from evonas.layer.cost import cost_of, time_beside_torch
    from evonas.layer.properties import properties

    try:
        return {
            "properties": asdict(properties(layer.genome, layer.layout)),
            "cost": asdict(cost_of(layer.genome, layer.layout)),
            "cost_of_bn_relu": asdict(cost_of(CATALOGUE["bn-relu"])),
            "time_beside_torch": time_beside_torch(layer.genome, layer.layout),
        }
    except RuntimeError as error:  # of torch, for layers that overflow or have no gradient
        return {"cannot be tried": str(error)}


def _rows(layer: NamedLayer, facts: dict[str, str], tried: dict[str, Any]) -> dict[str, str]:
    from evonas.graph.primitive import LAYOUTS

    rows = {"formula": facts["formula"], "text": facts["text"], "key": facts["key"], "from": layer.provenance}
    rows["layout"] = layer.layout or f"{' or '.join(LAYOUTS)}: it has no moments"
    rows["batch statistics"] = "yes" if layer.genome.uses_batch_statistics else "no"
    if "properties" in tried:
        from evonas.layer.cost import Cost
        from evonas.layer.properties import Properties

        rows |= Properties(**tried["properties"]).in_words()
        rows["costs"] = Cost(**tried["cost"]).beside(Cost(**tried["cost_of_bn_relu"]), "BN-ReLU")
        rows["time"] = f"{tried['time_beside_torch']:.2f} times that of torch's own norm and activation"
    rows["cannot be tried"] = tried.get("cannot be tried", "")
    rows["measured"] = layer.evidence
    return rows


def _write_png(layer: NamedLayer, path: Path) -> None:
    from evonas.limits import MOST_DRAWN
    from evonas.report.pictures import draw_genome, draw_response, is_drawable, stacked

    if path.suffix != ".png":
        raise InputError("--png", str(path), accepted="a file that ends in .png")
    if not is_drawable(layer.genome):
        found = f"the layer has {len(layer.genome.active_positions)} nodes"
        raise InputError("--png", found, accepted=f"layers of up to {MOST_DRAWN}")
    graph = draw_genome(layer.genome, title=layer.name, subtitle=layer.genome.key)
    try:
        stacked((graph, draw_response(layer.genome, title="Response to one element")), path)
    except OSError as error:
        raise InputError("--png", f"{path} cannot be written ({error.strerror})") from None
