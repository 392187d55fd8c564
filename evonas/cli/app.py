"""The command line itself, and what its verbs share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from evonas import config
from evonas.errors import InputError
from evonas.extensions import load_extensions
from evonas.runs.folder import RunFolder

INTERRUPTED = 130  # what a shell reports for a process ended by Ctrl-C

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Evolve normalization-activation layers, and take them away as torch modules.\n\n"
    "Example: [bold]evonas search search_spaces/evonorm_s.toml --budget 5m --workers 2[/bold]",
)
LayerArgument = Annotated[
    str, typer.Argument(metavar="LAYER", help="A catalogue name, RUN#rank, a text form, or a .json file.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with, or add to, what the folder holds.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Keep recorded results that were made with other data, code or versions.")
]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Processes; the results do not depend on it.")]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu, cuda, ...")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback()
def extended(
    extension: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE", help="Load a module that adds primitives and the like; may be repeated."),
    ] = None,
) -> None:
    """Load extensions: those of installed packages, and those that are named."""
    load_extensions(extension or ())


def load_with_extensions(path: Path, changes: Sequence[str] = ()) -> config.SearchConfig:
    """A search from its file, with its extensions loaded.

    Raises:
        InputError: as ``config.load_search`` and ``load_extensions``.
    """
    settings = config.load_search(path, changes)
    try:
        load_extensions(settings.extensions)
    except InputError as error:
        raise error.at(str(path)) from None
    return settings


def refuse_changes(
    settings: config.SearchConfig, folder: RunFolder, free: tuple[str, ...], where: str, remedy: str
) -> None:
    """Make sure that only some sections differ from those of the run; which images score may differ in any case."""
    recorded = folder.config()
    scoring = {"data": recorded.data.model_copy(update={"score_on": settings.data.score_on})}
    recorded = recorded.model_copy(update=scoring)  # a search refuses test images by itself
    for name in type(settings).model_fields:
        if name not in free and getattr(settings, name) != getattr(recorded, name):
            raise InputError(
                f"{where}: {name}",
                "differs from what the run was started with",
                accepted=f"that of {folder.config_file}; only {', '.join(free[:-1])} and {free[-1]} may change",
                remedy=remedy,
            )
