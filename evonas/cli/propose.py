"""``evonas propose`` and ``state``: layers for a search from outside, and what whoever proposes them wants to know."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evonas.cli.app import JsonOption, RunArgument
from evonas.errors import InputError
from evonas.report.console import say

if TYPE_CHECKING:
    from evonas.interface.proposals import Door, Proposed
    from evonas.search.outcome import Origin

LINES = "-"  # in the place of layers: JSON lines on the input stream


def propose(
    run: RunArgument,
    layers: Annotated[
        list[str],
        typer.Argument(
            metavar="LAYER...",
            help="Catalogue names, formulas, text forms, RUN#rank, .json files; or - for JSON lines from the input.",
        ),
    ],
    by: Annotated[str, typer.Option("--from", metavar="NAME", help="Who proposes them.")] = "anonymous",
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="What is to be kept with them.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each layer.")] = False,
) -> None:
    r"""Hand layers to a search, which tries them before it draws layers of its own. It may be running.

    Example: [bold]evonas propose runs/first 'x * sigmoid(2 * x) / std\[ghw](x)' --from me[/bold]

    Each passes through the same screens and the same training as every other candidate. A run that is not running
    takes them when it goes on. What became of them: [bold]evonas state runs/first[/bold]

    With - each line of the input is an object such as {"layer": "x * sigmoid(x)", "from": "my model", "note": "..."}.
    It is handed in, or refused, as soon as it is read; the exit status is 2 if one was refused. Layers on the command
    line are handed in all or, if one is refused, not at all.
    """
    from evonas.interface.proposals import open_door
    from evonas.runs.folder import RunFolder
    from evonas.search.outcome import Origin

    try:
        origin = Origin(by, note)
    except InputError as error:
        raise InputError(f"--{error.where}", error.found, accepted=error.accepted) from None
    door = open_door(RunFolder(run))
    if LINES not in layers:
        for proposed in door.hand_in([(door.genome(layer), origin) for layer in layers]):
            _say(proposed, as_json=as_json)
    elif len(layers) > 1:
        raise InputError("LAYER", f"{LINES} given together with layers", accepted="one of the two")
    else:
        refused = _read_lines(door, origin, as_json=as_json)
    if not as_json:
        say(door.prospect())
    if LINES in layers and refused:
        raise typer.Exit(2)


def _read_lines(door: "Door", origin: "Origin", *, as_json: bool) -> int:
    """Hand in what comes on the input stream; how many lines were refused."""
    from evonas.interface.proposals import lines_of
    from evonas.search.outcome import Origin

    refused = 0
    for number, said in lines_of(sys.stdin):
        try:
            if isinstance(said, InputError):
                raise said
            one = Origin(said.get("from", origin.by), said.get("note", origin.note))
            _say(*door.hand_in([(door.genome(said["layer"]), one)]), as_json=as_json)
        except InputError as error:
            refused += 1
            where = "" if isinstance(said, InputError) else f"line {number}: "
            if as_json:
                print(json.dumps({"line": number, "refused": f"{where}{error}"}), flush=True)
            else:
                say(f"evonas: {where}{error}", error=True)
    return refused


def _say(proposed: "Proposed", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(proposed.as_json()), flush=True)
        return
    said = proposed.foreseen
    detail = f" ({said.detail})" if said and said.detail else ""
    foreseen = f"will be screened out: {said.stage}: {said.reason}{detail}" if said else "passes the screens"
    say(f"handed in: {proposed.genome.formula()}; {foreseen}")


def state(
    run: RunArgument,
    count: Annotated[
        int, typer.Option("-n", "--count", min=1, help="How many layers of each kind: best, parents, latest.")
    ] = 10,
    as_json: JsonOption = False,
) -> None:
    """How a search stands, for whoever proposes layers to it: the best, the latest, what was rejected, what is left.

    Example: [bold]evonas state runs/first --json[/bold]

    docs/propose.md says what the JSON holds.
    """
    from evonas.cli import terminal
    from evonas.interface.state import state_of
    from evonas.report.table import Table
    from evonas.runs.folder import RunFolder

    found = state_of(RunFolder(run), count)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    out = terminal.console()
    for line in _lines(found):
        out.print(line, soft_wrap=True)
    for title, rows in _tables(found):
        if rows:
            table = Table.of(rows, title=title, code=("formula",))
            out.print(terminal.Printed(table))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    budget, space = found["budget"], found["space"]
    left = [
        f"{budget[key]:.4g} {what}"
        for key, what in (("evaluations_left", "evaluations"), ("minutes_left", "minutes"))
        if budget[key] is not None
    ]
    yield f"{found['run']}: {found['state']}"
    used = f"{budget['evaluated']} evaluated in {budget['minutes_used']:.3g} minutes"
    yield f"{used}; left: {' or '.join(left) or 'no limit'}"
    yield f"space: {space['layout']}, {space['nodes']} nodes, of {', '.join((*space['inputs'], *space['operations']))}"
    yield f"moments: {', '.join(space['moments'])} over {', '.join(space['index_sets'])}"
    yield f"parents: {found['window']['size']} layers"


def _tables(found: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    best = [*found["top"], *found["baselines"]]
    yield "best", [{key: each[key] for key in ("name", "candidate", "formula", "mean")} for each in best]
    shown = ("candidate", "formula", "ended", "mean", "reason")
    yield "latest", [{key: each[key] for key in shown} for each in found["tried"]]
    keys = ("stage", "reason", "count")
    yield "rejections", [{key: each[key] for key in keys} for each in found["rejections"]]
    yield (
        "proposals",
        [
            {**{key: each[key] for key in ("from", *shown[:4])}, "reason": each["reason"] or each["detail"] or None}
            for each in found["proposals"]
        ],
    )
