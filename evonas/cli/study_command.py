"""What the verbs for studies share: options, and what becomes of them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evonas.cli.app import DeviceOption, ForceOption, JsonOption, ResumeOption, WorkersOption, changes_of, shipped_names

if TYPE_CHECKING:
    from evonas.cli.study_run import StudyKind

RunOption = Annotated[Path | None, typer.Option(help="Where everything goes; default: runs/<name>.")]


def study_verb(name: str, files: str, kind: "Callable[[], StudyKind[Any]]", description: str) -> Callable[..., None]:
    """A verb that runs studies.

    Args:
        name: of the verb.
        files: what its files are called, a key of ``evonas.config.presets.KINDS``.
        kind: gives what it runs; called when the verb is, since that imports torch.
        description: for ``--help``.
    """

    def command(
        file: Annotated[
            Path,
            typer.Argument(
                metavar="STUDY",
                help="A .toml file, or a name of `evonas list studies`.",
                autocompletion=shipped_names(files),
            ),
        ],
        run: RunOption = None,
        resume: ResumeOption = False,
        overrides: Annotated[
            list[str] | None, typer.Option("--set", metavar="a.b=c", help="Set a key of the file; may be repeated.")
        ] = None,
        workers: WorkersOption = None,
        device: DeviceOption = None,
        force: ForceOption = False,
        as_json: JsonOption = False,
    ) -> None:
        from evonas.cli.study_run import run_and_print
        from evonas.config import section
        from evonas.extensions import load_extensions

        found = kind()
        changes = changes_of(overrides, {"execution.workers": workers, "execution.device": device})
        study = section.load_as(found.settings, file, changes)
        load_extensions(study.extensions)
        folder = run or Path("runs") / study.name
        run_and_print(study, found.prepare(study, folder), folder, resume=resume, force=force, as_json=as_json)

    command.__name__, command.__doc__ = name, description
    return command
