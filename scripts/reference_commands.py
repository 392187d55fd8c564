"""The page of all commands, made from the functions behind them and what typer makes of these."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer

from evonas.cli import app

INTRODUCTION = """# Every command

`scripts/reference.py` writes this page from the code; `evonas COMMAND --help` says the same. Every command also has
`--help`.
[for-agents.md](../for-agents.md) says what holds for all of them: exit statuses, errors, JSON.

"""
TYPES = {int: "integer", float: "number", str: "text", Path: "path"}


def _prose(text: str | None) -> str:
    """A help text in Markdown: what typer prints bold is a command."""
    plain = re.sub(r"\[bold\](.*?)\[/bold\]", r"`\1`", inspect.cleandoc(text or ""), flags=re.DOTALL)
    parts = plain.replace("\\[", "[").split("`")  # every second one is code, where nothing is escaped
    return "`".join(part if number % 2 else part.replace("<", r"\<") for number, part in enumerate(parts))


def _cell(text: str) -> str:
    return _prose(text).replace("\n", " ").replace("|", r"\|")


def _code(text: str) -> str:
    return f"`{text}`".replace("|", r"\|") if text else ""


def _takes(parameter: Any, annotation: object) -> str:
    """What follows an option: nothing after a switch."""
    if getattr(parameter, "is_flag", False):
        return ""
    if parameter.metavar:
        return _code(parameter.metavar)
    bare = _bare(annotation)
    least = "" if getattr(parameter, "min", None) is None else f" from {parameter.min}"
    return TYPES[bare] + least


def _bare(annotation: object) -> Any:
    """``int`` of ``Annotated[int | None, ...]``."""
    while found := [each for each in get_args(annotation) if each is not type(None)]:
        annotation = found[0]
    return annotation


def _default(parameter: Any) -> str:
    if parameter.required:
        return "*must be given*"
    if parameter.secondary_opts:
        return _code(parameter.opts[0] if parameter.default else parameter.secondary_opts[0])
    if parameter.default is None or isinstance(parameter.default, bool):
        return ""
    return _code(str(parameter.default))


def _row(parameter: Any, annotation: object) -> str:
    name = "/".join((*parameter.opts, *parameter.secondary_opts))
    return f"| {_code(name)} | {_takes(parameter, annotation)} | {_default(parameter)} | {_cell(parameter.help)} |\n"


def _command(name: str, command: Any, callback: Any) -> str:
    annotations = {key: each.annotation for key, each in inspect.signature(callback).parameters.items()}
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    usage = " ".join(["evonas", name, *map(_usage, arguments), *(["[OPTIONS]"] if options else [])])
    parts = [f"\n### `evonas {name}`\n\n`{usage}`\n\n{_prose(command.help)}\n"]
    if arguments:
        parts.append("\n| argument | default | what it is |\n|---|---|---|\n")
        parts += (f"| {_code(_metavar(each))} | {_default(each)} | {_cell(each.help)} |\n" for each in arguments)
    if options:
        parts.append("\n| option | takes | default | what it does |\n|---|---|---|---|\n")
        parts += (_row(each, annotations[each.name]) for each in options)
    return "".join(parts)


def _metavar(argument: Any) -> str:
    return argument.metavar or argument.name.upper()


def _usage(argument: Any) -> str:
    more = "..." if argument.nargs == -1 and not _metavar(argument).endswith("...") else ""
    shown = _metavar(argument).strip("[]")
    return f"{shown}{more}" if argument.required else f"[{shown}{more}]"


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Every command: its name, what typer makes of it, and the function behind it."""
    group: Any = typer.main.get_command(app)
    functions = {
        info.name or info.callback.__name__: info.callback for info in app.registered_commands if info.callback
    }
    for name, command in group.commands.items():
        yield name, command, functions[name]


def commands_page() -> str:
    """The page in Markdown."""
    group: Any = typer.main.get_command(app)
    assert app.registered_callback is not None
    begin: Any = app.registered_callback.callback
    annotations = {key: each.annotation for key, each in inspect.signature(begin).parameters.items()}
    parts, panel = [INTRODUCTION, "| option | takes | default | what it does |\n|---|---|---|---|\n"], ""
    parts += (_row(each, annotations[each.name]) for each in group.params if each.name in annotations)
    for name, command, function in commands():
        if command.rich_help_panel != panel:
            panel = command.rich_help_panel
            parts.append(f"\n## {panel}\n")
        parts.append(_command(name, command, function))
    return "".join(parts)
