"""``evonas top``, ``show`` and ``export``: from a run to its layers."""

import json
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
    every: Annotated[bool, typer.Option("--all", help="Relatives too, each in a row of its own.")] = False,
    as_json: JsonOption = False,
) -> None:
    """The best layers of a run, ranked, beside the baselines that were trained under the same budget.

    Example: [bold]evonas top runs/first -n 5[/bold]

    The Pareto front over accuracies and other objectives: [bold]evonas top runs/first --pareto[/bold]

    Relatives share a row: layers whose simplified formulas differ only in the order of operands, the numbers that
    multiply, and the sign of the whole. JSON lists every layer, with the group of its relatives.
    """
    from evonas.cli import terminal
    from evonas.runs.folder import RunFolder
    from evonas.search import ranking
    from evonas.search.archive import Archive
    from evonas.search.outcome import COMPILED
    from evonas.search.reranked import reranked

    folder = RunFolder(run).require()
    ranked, known = ranking.ranking(folder), ranking.baselines(folder)
    entries = ranking.undominated(ranked) if pareto else ranked
    if as_json:
        _print_json([entry.as_json() for entry in (*entries[:count], *known)])
        return
    console = terminal.console()
    groups = [ranking.Relatives(entry) for entry in entries] if every else ranking.relatives(entries)
    terminal.print_ranking(groups[:count], known, title=str(run), shrinkage=ranking.shrinkage_of(ranked))
    if again := reranked(folder):
        names = ", ".join(f"{run}#rerank{layer.rank} is {layer.entry.name}" for layer in again)
        console.print(f"reranked: {names}", soft_wrap=True)
    with Archive.open(folder.archive_file, read_only=True) as archive:
        terminal.print_rejections(archive.rejection_counts(), by_reason=rejections)
        for outcome, count in archive.compiling_counts().most_common():
            how = "layers trained compiled" if outcome == COMPILED else f"compilations failed: {outcome}"
            console.print(f"{count} {how}", soft_wrap=True)


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
        name = found.name or layer.strip()
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
            console.print(f"{name:<17}{value}", soft_wrap=True)
    if png is not None:
        console.print(f"{'picture':<17}{png}", soft_wrap=True)


def _write_png(layer: "NamedLayer", path: Path) -> None:
    from evonas.limits import MOST_DRAWN
    from evonas.report.pictures import draw_genome, is_drawable, to_png

    if path.suffix != ".png":
        raise InputError("--png", str(path), accepted="a file that ends in .png")
    if not is_drawable(layer.genome):
        found = f"the layer has {len(layer.genome.active_positions)} nodes"
        raise InputError("--png", found, accepted=f"layers of up to {MOST_DRAWN}")
    try:
        to_png(draw_genome(layer.genome, title=layer.name, subtitle=layer.genome.key), path)
    except OSError as error:
        raise InputError("--png", f"{path} cannot be written ({error.strerror})") from None


def _print_json(data: list[dict[str, Any]]) -> None:
    print(json.dumps(data, indent=2))
