"""``evonas search``: launches a search, and goes on with one."""

import time
from pathlib import Path
from typing import Annotated

import typer

from evonas.cli.app import DeviceOption, ExecutorOption, Setting, TrustOption, WorkersOption, changes_of, shipped_names


def search(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="SEARCH",
            help="A .toml file, or a name of `evonas list searches`; optional with --resume, not with --replay.",
            autocompletion=shipped_names("search"),
        ),
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
    executor: ExecutorOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="10m|500", help="Time (s, m, h) or evaluations.")] = None,
    device: DeviceOption = None,
    cache: Annotated[
        str | None, typer.Option(metavar="FILE", help="Share evaluations with other runs; execution.cache.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped or killed.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Resume with other data, code or versions than it was begun with.")
    ] = False,
    trust: TrustOption = False,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Do a run again from its record, the layers proposed to it included."),
    ] = None,
) -> None:
    """Search for layers: a ranking, the best of them as torch modules, and a record of all that were tried.

    Stop it with Ctrl-C; --resume goes on.

    Example: [bold]evonas search evonorm_s --run runs/first --budget 10m --workers 2[/bold]

    To check that a record can be reproduced: [bold]evonas search --replay runs/first --run runs/again[/bold]

    From the best layers of an earlier run: [bold]--start-from runs/first --start-from evonorm-s0[/bold]

    With other data: [bold]--set data.name=npz --set data.path=cifar10.npz --set data.size=16[/bold]
    """
    started = time.monotonic()
    from evonas.cli import terminal

    terminal.console(stderr=True).print("loading torch", highlight=False)
    from evonas.cli.searching import launch
    from evonas.search.start import Request

    given: dict[str, Setting] = {
        "seed": seed,
        "execution.workers": workers,
        "execution.executor": executor,
        "execution.device": device,
        "execution.cache": cache,
    }
    changes, first = tuple(changes_of(overrides, given)), tuple(start_from or ())
    allowed = {"force": force, "trust": trust}
    launch(Request(file, run, budget, changes, first, resume=resume, replay=replay, prefix="--", **allowed), started)
