"""``evonas search``: launches a search, and goes on with one."""

import re
from pathlib import Path
from typing import Annotated

import typer

from evonas.cli.app import DeviceOption, Setting, WorkersOption, changes_of
from evonas.errors import InputError


def search(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE.toml", help="The search; optional with --resume.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of the run; default: runs/<name of the search>.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=c", help="Set a key of the file; may be repeated."),
    ] = None,
    start_from: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER|RUN", help="First candidates: a layer, or a run's Pareto front; may be repeated."),
    ] = None,
    workers: WorkersOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="10m|500", help="Time (s, m, h) or evaluations.")] = None,
    device: DeviceOption = None,
    cache: Annotated[
        str | None, typer.Option(metavar="FILE", help="Share evaluations with other runs; execution.cache.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped or killed.")] = False,
) -> None:
    """Search for layers; stop with Ctrl-C and go on with --resume.

    Example: [bold]evonas search search_spaces/evonorm_s.toml --run runs/first --budget 10m --workers 2[/bold]

    From the best layers of an earlier run: [bold]--start-from runs/first --start-from evonorm-s0[/bold]

    With other data: [bold]--set data.name=npz --set data.path=cifar10.npz --set data.size=16[/bold]
    """
    from evonas.cli.searching import launch

    given: dict[str, Setting] = {
        "seed": seed,
        "execution.workers": workers,
        "execution.device": device,
        "execution.cache": cache,
    }
    given |= _budget(budget) if budget is not None else {}
    launch(file, run, changes_of(overrides, given), list(start_from or []), resume=resume)


def _budget(text: str) -> dict[str, float]:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None or float(match[1]) <= 0 or (not match[2] and "." in match[1]):
        raise InputError("--budget", repr(text), accepted="a time such as 90s, 10m, 2h, or a number of evaluations")
    if not match[2]:
        return {"budget.evaluations": int(match[1]), "budget.minutes": 0}
    minutes = float(match[1]) * {"s": 1 / 60, "m": 1, "h": 60}[match[2]]
    return {"budget.minutes": minutes, "budget.evaluations": 0}
