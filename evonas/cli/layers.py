"""``evonas top``, ``show`` and ``export``: from a run to its layers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evonas.cli.app import JsonOption, LayerArgument, RunArgument
from evonas.errors import InputError

if TYPE_CHECKING:
    from evonas.search.named import NamedLayer


def top(
    run: RunArgument,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many layers.")] = 10,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Only layers that no other one dominates on all objectives.")
    ] = False,
    rejections: Annotated[
        bool, typer.Option("--rejections", help="Also why layers were rejected, and how often.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """The best layers of a run, ranked, beside the baselines that were trained under the same budget.

    Example: [bold]evonas top runs/first -n 5[/bold]

    The Pareto front over accuracies and other objectives: [bold]evonas top runs/first --pareto[/bold]
    """
    from evonas.cli import terminal
    from evonas.runs.folder import RunFolder
    from evonas.search import ranking
    from evonas.search.archive import Archive
    from evonas.search.outcome import COMPILED

    folder = RunFolder(run).require()
    ranked, known = ranking.ranking(folder), ranking.baselines(folder)
    entries = (ranking.undominated(ranked) if pareto else ranked)[:count]
    if as_json:
        _print_json([entry.as_json() for entry in (*entries, *known)])
        return
    console = terminal.console()
    terminal.print_ranking(entries, known, title=str(run))
    with Archive.open(folder.archive_file, read_only=True) as archive:
        terminal.print_rejections(archive.rejection_counts(), by_reason=rejections)
        for outcome, count in archive.compiling_counts().most_common():
            how = "layers trained compiled" if outcome == COMPILED else f"compilations failed: {outcome}"
            console.print(f"{count} {how}", highlight=False, soft_wrap=True)


def show(
    layer: LayerArgument,
    as_json: JsonOption = False,
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw the graph.")] = None,
) -> None:
    """A layer's formula, text form and origin, and a picture of its graph.

    Example: [bold]evonas show evonorm-s0 --png s0.png[/bold]
    """
    from evonas.cli import terminal
    from evonas.graph.primitive import LAYOUTS
    from evonas.search import named, ranking

    found = named.find_layer(layer)
    if png is not None:
        _write_png(found, png)
    facts = ranking.describe(found.genome)
    if as_json:
        name = found.name or layer
        _print_json(
            [
                {
                    "name": name,
                    **facts,
                    "objectives": dict(found.objectives or {}),
                    "layout": found.layout,
                    "provenance": found.provenance,
                    "evidence": found.evidence,
                }
            ]
        )
        return
    console = terminal.console()
    rows = {"formula": facts["formula"], "text": facts["text"], "key": facts["key"], "from": found.provenance}
    rows["layout"] = found.layout or f"{' or '.join(LAYOUTS)}: it has no moments"
    rows["batch statistics"] = "yes" if found.genome.uses_batch_statistics else "no"
    rows["measured"] = found.evidence
    for name, value in rows.items():
        if value:
            console.print(f"{name:<17}{value}", highlight=False, markup=False, soft_wrap=True)
    if png is not None:
        console.print(f"{'picture':<17}{png}", highlight=False, markup=False, soft_wrap=True)


def export(
    layer: LayerArgument,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.py", help="Where to write the module.")],
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="bchw|btd",
            help="Axes of the inputs: images or tokens. Default: those of the layer's moments, run or publication.",
        ),
    ] = None,
) -> None:
    """A layer as a Python file that needs torch alone.

    Example: [bold]evonas export runs/first#1 -o my_layer.py[/bold]

    A text form without moments may stand for a layer of images or of tokens:
    [bold]evonas export 'tanh(x)' --layout btd -o tanh.py[/bold]
    """
    from evonas.cli import terminal
    from evonas.search import named

    found = named.find_layer(layer)
    try:
        path = named.export_layer(replace(found, layout=layout or found.layout), output)
    except InputError as error:
        if error.where != "layout":
            raise
        raise InputError("--layout", error.found, accepted=error.accepted) from None
    terminal.console().print(f"wrote {path}", highlight=False, soft_wrap=True)


def _write_png(layer: "NamedLayer", path: Path) -> None:
    from evonas.report.pictures import draw_genome, to_png

    if path.suffix != ".png":
        raise InputError("--png", str(path), accepted="a file that ends in .png")
    to_png(draw_genome(layer.genome, title=layer.name, subtitle=layer.genome.key), path)


def _print_json(data: list[dict[str, Any]]) -> None:
    print(json.dumps(data, indent=2))
