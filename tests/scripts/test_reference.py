"""docs/reference: the pages of all keys and of all commands.

Oracles: the models of the files and typer's own help of every command, which this file asks apart from the scripts.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from command import status_of_script
from pydantic import BaseModel
from typer.testing import CliRunner

from evonas.cli import app
from evonas.config.keys import KeysOf
from evonas.config.presets import KINDS
from evonas.interface.files import model_of

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import reference_commands
import reference_settings
from reference_settings import toml, type_of

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
SETTINGS, COMMANDS = (FOLDER / "settings.md").read_text(), (FOLDER / "commands.md").read_text()
ROWS = re.compile(r"^\| `([\w.]+)` \| (.*) \| (.*) \| (.*) \|$", re.M)


def keys(model: type[BaseModel], place: str = "") -> Iterator[tuple[str, BaseModel | None, Any]]:
    """Every key of a model, with its field, as the classes say."""
    for name, field in model.model_fields.items():
        yield f"{place}{name}", field
        inner = next((part.model for part in field.metadata if isinstance(part, KeysOf)), None)
        waiting: list[Any] = [inner or field.annotation]
        while waiting:
            found = waiting.pop()
            waiting += get_args(found)
            if isinstance(found, type) and issubclass(found, BaseModel):
                yield from keys(found, f"{place}{name}.")


def test_the_pages_are_what_the_script_writes() -> None:
    assert status_of_script("reference.py", "--check") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_a_file_is_found(kind: str) -> None:
    left_out = {"space", "evolution", "budget", "protocols", "rungs", "objectives", "racing", "rerank"}
    known = {place for place, _ in keys(model_of(kind))}
    if kind == "comparison":
        known = {place for place in known if place.partition(".")[0] not in left_out} - {"execution.cache"}
    assert set(reference_settings.places(kind)) == known


def test_every_key_has_a_row_with_type_default_and_meaning() -> None:
    rows = ROWS.findall(SETTINGS)
    assert {place.rpartition(".")[2] for kind in KINDS for place in reference_settings.places(kind)} == {
        place.rpartition(".")[2] for place, *_ in rows
    }
    assert [place for place, may_be, _, meaning in rows if not may_be.strip() or not meaning.strip()] == []
    tables = {place for place, may_be, _, _ in rows if may_be == "table"}
    assert [place for place, _, default, _ in rows if not default.strip() and place not in tables] == []


def test_keys_that_must_be_given_are_marked() -> None:
    marked = {place for place, _, default, _ in ROWS.findall(SETTINGS) if "must be given" in default}
    required = {place for kind in KINDS for place, field in keys(model_of(kind)) if field.is_required()}
    # tables that several files share are printed once, where they come first
    assert marked <= required
    assert {place.rpartition(".")[2] for place in marked} == {place.rpartition(".")[2] for place in required}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "exclusiveMinimum": 0, "maximum": 2**31 - 1}, "integer from 1"),
        ({"type": "integer", "exclusiveMinimum": 0, "multipleOf": 2}, "integer from 1, a multiple of 2"),
        ({"type": "number", "minimum": 0, "maximum": 1}, "number from 0 to 1"),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, "number above 0 below 1"),
        ({"enum": ["a", "b", "c"], "type": "string"}, "`a`, `b` or `c`"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text"),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 1}, "array; each `true` or `false`; not empty"),
    ],
)
def test_a_type_in_words(schema: dict[str, Any], words: str) -> None:
    assert type_of(schema) == words


def test_defaults_are_written_as_in_toml() -> None:
    assert [toml(value) for value in (3, [1e-5, 2e8], True, "a")] == ["3", "[1e-5, 2e8]", "true", '"a"']


def sections() -> dict[str, str]:
    parts = re.split(r"^### `evonas ([\w-]+)`$", COMMANDS, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", [name for name, *_ in reference_commands.commands()])
def test_every_command_is_listed_with_all_that_its_help_lists(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).output
    section = sections()[name]
    rows = re.findall(r"^\| `(.+?)` \| .* \|$", section, re.M)
    named = {option for row in rows for option in re.findall(r"--[a-z-]+", row)}
    assert named == set(re.findall(r"^[│|]\s+\*?\s*(?:-\w\s*,?\s*)?(--[a-z-]+)", shown, re.M)) - {"--help"} | {
        option for row in rows for option in re.findall(r"--no-[a-z-]+", row)
    }
    cells = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    assert [line[0] for line in cells if not line[-1].strip(" |")] == []
    usage, prose = section.split("\n\n")[1:3]
    assert usage.startswith(f"`evonas {name}")
    assert re.match(r"[A-Z]", prose)


def test_no_command_is_listed_that_is_none() -> None:
    assert set(sections()) == {name for name, *_ in reference_commands.commands()}
