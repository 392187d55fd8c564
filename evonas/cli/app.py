"""The command line itself, and what its verbs share.

Whatever help, completion and a mistyped verb import is light: the files with verbs import what a verb needs when it is
called, in the body of its function, and torch or scipy never at their top. ``scripts/startup.py`` measures it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from evonas import __version__
from evonas.cli.verbosity import verbosity
from evonas.errors import InputError

INTERRUPTED = 130  # what a shell reports for a process ended by Ctrl-C

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Evolve normalization-activation layers, and take them away as torch modules.",
    epilog="A first search, what it has found, and its best layer as a file:\n\n"
    "[bold]evonas search evonorm_s --run runs/first --budget 10m[/bold]\n\n"
    "[bold]evonas top runs/first[/bold]\n\n"
    "[bold]evonas export 'runs/first#1' -o my_layer.py[/bold]",
)
LayerArgument = Annotated[
    str,
    typer.Argument(metavar="LAYER", help="A catalogue name, a formula, a text form, RUN#rank, or a .json file."),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with, or add to, what the folder holds.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Keep recorded results that were made with other data, code or versions.")
]
TrustOption = Annotated[
    bool, typer.Option("--trust", help="Run the Python code that the file names: tasks and extensions of users.")
]
WorkersOption = Annotated[int | None, typer.Option(min=0, help="Processes; the results do not depend on it.")]
ExecutorOption = Annotated[
    str | None, typer.Option(metavar="local|ray[:ADDRESS]", help="Where the workers are: here, or in a cluster of Ray.")
]
DeviceOption = Annotated[str | None, typer.Option(help="auto (a GPU if there is one), cpu, cuda, cuda:0, ...")]
Setting: TypeAlias = str | float | Sequence[str | float] | None
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def shipped_names(*kinds: str) -> Callable[[str], list[str]]:
    """Completes the names of files that come with evonas.

    Args:
        kinds: of the files, keys of ``evonas.config.presets.KINDS``.
    """

    def complete(incomplete: str) -> list[str]:
        from evonas.config.presets import presets

        return [preset.name for preset in presets(*kinds) if preset.name.startswith(incomplete)]

    return complete


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"evonas {__version__}")
        raise typer.Exit


@app.callback()
def begin(
    context: typer.Context,
    extension: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE", help="Load a module that adds primitives and the like; may be repeated."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also say what is logged, and what other libraries say.")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What comes before every verb: how much is said, and extensions, those of installed packages and those named."""
    from evonas.extensions import load_extensions

    if quiet and verbose:
        raise InputError("--quiet", "given together with --verbose", accepted="one of them")
    context.with_resource(verbosity(quiet=quiet, verbose=verbose))
    load_extensions(extension or ())


def changes_of(overrides: Sequence[str] | None, given: Mapping[str, Setting]) -> list[str]:
    """What options set in a file of settings, as ``a.b=c``; an option that was not given, which is None, sets nothing.

    Args:
        overrides: those of ``--set``, which come first.
        given: what other options stand for, by key.
    """
    from evonas.config import section

    return section.changes_of(overrides, given)
