"""The options that all verbs for studies share, in one place, and what becomes of them."""

import inspect
import re
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from evonas.cli.app import (
    DeviceOption,
    ExecutorOption,
    ForceOption,
    JsonOption,
    ResumeOption,
    Setting,
    TrustOption,
    WorkersOption,
    changes_of,
    shipped_names,
)

if TYPE_CHECKING:
    from evonas.cli.study_run import StudyKind

OPTIONS, SEEDS = "options", "seeds"
PANEL = "Options of every study"
WRITTEN = (
    "The folder then holds results.md, results.csv, results.json, pictures, and TensorBoard logs in tb/. Finished runs "
    "are recorded: after Ctrl-C the same command with --resume goes on, and a larger grid adds what is new."
)


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """What was given of the options that all verbs for studies share; None is an option that was not given."""

    overrides: tuple[str, ...] = ()
    seeds: int | None = None
    workers: int | None = None
    executor: str | None = None
    device: str | None = None
    run: Path | None = None
    resume: bool = False
    force: bool = False
    trust: bool = False
    as_json: bool = False

    def changes(self, given: dict[str, Setting] | None = None) -> list[str]:
        """What the options set in a file, after ``--set``, with what options of the verb itself set."""
        execution: dict[str, Setting] = {
            "execution.workers": self.workers,
            "execution.executor": self.executor,
            "execution.device": self.device,
        }
        return changes_of(self.overrides, (given or {}) | execution)

    def folder(self, name: str) -> Path:
        """Where everything goes."""
        return self.run or Path("runs") / name


def study_options(
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=c", help="Set a key of the study; may be repeated.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many seeds, in place of those in the file.")
    ] = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = None,
    device: DeviceOption = None,
    run: Annotated[Path | None, typer.Option(help="Where everything is written; default: runs/<name>.")] = None,
    resume: ResumeOption = False,
    force: ForceOption = False,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> StudyOptions:
    """The options; their names, types and help texts are those of this function."""
    return StudyOptions(tuple(overrides or ()), seeds, workers, executor, device, run, resume, force, trust, as_json)


def with_study_options(verb: Callable[..., None], *, seeds: bool = True) -> Callable[..., None]:
    """The verb with the options of ``study_options``, of which it is given what they say as ``options``.

    Args:
        verb: a function of the command line with a parameter ``options``.
        seeds: whether it has ``--seeds``: a study that draws nothing at random has not.
    """
    own = inspect.signature(verb, eval_str=True).parameters
    shared = inspect.signature(study_options, eval_str=True).parameters
    shown = [parameter for name, parameter in shared.items() if seeds or name != SEEDS]
    parameters = [each for name, each in own.items() if name != OPTIONS] + [_in_panel(each) for each in shown]

    @wraps(verb)
    def command(**given: Any) -> None:
        options = study_options(**{name: given.pop(name) for name in shared if name in given})
        verb(**given, options=options)

    signature = inspect.Signature([each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = f"{inspect.cleandoc(verb.__doc__ or '')}\n\n{WRITTEN}"
    return command


def _in_panel(parameter: inspect.Parameter) -> inspect.Parameter:
    """An option below a heading of its own in ``--help``."""
    kind, option = get_args(parameter.annotation)
    option = copy(option)
    option.rich_help_panel = PANEL
    return parameter.replace(annotation=Annotated[kind, option])


def name_for(verb: str, model: str) -> str:
    """What the study of a model is called: by the verb, and the last part of an id, a folder or a file."""
    return f"{verb}-" + re.sub(r"[^A-Za-z0-9._+-]+", "-", Path(model.removeprefix("hf:")).name.removesuffix(".gguf"))


def study_verb(name: str, files: str, kind: "Callable[[], StudyKind[Any]]", description: str) -> Callable[..., None]:
    """A verb that runs the studies of a file.

    Args:
        name: of the verb.
        files: what its files are called, a key of ``evonas.config.presets.KINDS``.
        kind: gives what it runs; called when the verb is, since that imports torch.
        description: for ``--help``.
    """

    def command(
        study: Annotated[
            str,
            typer.Argument(
                metavar="STUDY",
                help="A .toml file, or a name of `evonas list studies`.",
                autocompletion=shipped_names(files),
            ),
        ],
        options: StudyOptions,
    ) -> None:
        from evonas.cli.study_run import run_study_file

        run_study_file(kind(), study, options)

    command.__name__, command.__doc__ = name, description
    return with_study_options(command)
