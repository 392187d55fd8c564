"""``evonas top``: from a run to its layers."""

import json
from typing import Annotated, Any

import typer

from evonas.cli.app import JsonOption, RunArgument


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


def _print_json(data: list[dict[str, Any]]) -> None:
    print(json.dumps(data, indent=2))
