"""Results that commands have written, found in folders and told apart by what they hold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evonas.errors import InputError
from evonas.graph.genome import Genome
from evonas.reading import parse_json, read_given

FILES = ("results.json", "certificate.json")
ENVIRONMENT, TIME = "environment.json", "time.json"
DETECTION, SYNTHESIS = "maskrcnn-", "biggan-"


@dataclass(frozen=True, slots=True)
class Record:
    """The results of a command.

    Attributes:
        kind: ``accuracy``, ``detection``, ``synthesis``, ``certificate`` or ``components``.
        folder: where they are.
        data: what the file holds.
        command: what made them, as it was typed; empty where that is not recorded.
        wall: seconds that it took, where that is known.
        core: seconds of processors, the same.
    """

    kind: str
    folder: Path
    data: Mapping[str, Any]
    command: str = ""
    wall: float | None = None
    core: float | None = None


def read_record(folder: Path) -> Record | None:
    """The results in a folder; None where there are none, or of another kind.

    Raises:
        InputError: a file is damaged.
    """
    for name in FILES:
        if (file := folder / name).is_file():
            data = parse_json(read_given(file), str(file))
            if not isinstance(data, dict) or (kind := _kind(data)) is None:
                return None
            made, took = (_beside(folder / other) for other in (ENVIRONMENT, TIME))
            command = made.get("command", "")
            return Record(
                kind,
                folder,
                data,
                command if isinstance(command, str) else "",
                *(value if isinstance(value := took.get(key), int | float) else None for key in ("wall", "core")),
            )
    return None


def find_records(folders: Sequence[Path]) -> Iterator[Record]:
    """The results in folders, and in those below them.

    Raises:
        InputError: there is no such folder, or a file is damaged.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputError(
                str(folder), "is no folder", accepted="the folder of an evaluation, a certificate or a study"
            )
        for place in sorted({file.parent for name in FILES for file in folder.rglob(name)}):
            if (found := read_record(place)) is not None:
                yield found


def key_of(text: object) -> str:
    """The content key of a layer in a record; empty where it is none."""
    if not isinstance(text, str) or not text:
        return ""
    try:
        return Genome.from_text(text).key
    except InputError:
        return ""


def _kind(data: Mapping[str, Any]) -> str | None:
    if "cells" in data and "sweeps" in data:
        return "components"
    if "certificates" in data:
        return "certificate"
    if "columns" not in data or "layers" not in data:
        return None
    names = [str(name) for name in data["columns"]]
    for prefix, kind in ((DETECTION, "detection"), (SYNTHESIS, "synthesis")):
        if names and all(name.startswith(prefix) for name in names):
            return kind
    return "accuracy"


def _beside(file: Path) -> dict[str, Any]:
    data = parse_json(read_given(file), str(file)) if file.is_file() else {}
    return data if isinstance(data, dict) else {}
