"""The page of all keys of all files of settings, made from their JSON schemas."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from evonas.config.presets import KINDS
from evonas.interface.files import schema_of
from evonas.limits import LARGEST_COUNT, LARGEST_SEED

Schema = dict[str, Any]

INTRODUCTION = f"""# Every key of every file of settings

`scripts/reference.py` writes this page from the code. A file of settings is TOML. Keys that it leaves out have the
default of this page. Unknown keys, wrong types and values out of range are refused with the file, the key, what was
found and what is accepted.

A key with dots, such as `evolution.window`, is the key `window` of the table `[evolution]`. On the command line it is
set with `--set evolution.window=200`. In an array of tables the place is named, counted from 0, as in
`--set tasks.0.width=0.25`. `evonas schema KIND` prints the same as a JSON schema, by which editors complete and check
files.

Counts are at most {LARGEST_COUNT:,}, and seeds are below 2^{LARGEST_SEED.bit_length() - 1}. Keys that *must be given*
have no default.

| files | kind | run with |
|---|---|---|
"""
PATTERNS = {  # what strings of a pattern are
    r"^[A-Za-z0-9._-]+$": "text of letters, digits, `.`, `_`, `-`",
    r"^[A-Za-z0-9._+-]+$": "text of letters, digits, `.`, `_`, `+`, `-`",
    r"^[A-Za-z0-9._+-]*$": "text of letters, digits, `.`, `_`, `+`, `-`",
    r"^[\w.]*$": "text of letters, digits, `_`, `.`",
    r"^[\w.,:+()/ -]*$": "text of letters, digits, blanks, `.,:+()/_-`",
    r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$": "name of a Python module",
    r"^([A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*)?$": "`module:function` of Python",
}


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a file.

    Attributes:
        place: with dots; empty for the file as a whole.
        schema: what its value may be.
        table: the schema of the table, or of those in the array, that it holds; None if it holds a value.
        required: whether it must be given.
    """

    place: str
    schema: Schema
    table: Schema | None
    required: bool


def keys_of(table: Schema, place: str, tables: Schema) -> list[Key]:
    """The keys of a table.

    Args:
        table: its schema.
        place: of the table, with dots; empty for the file as a whole.
        tables: the schemas that references lead to.
    """
    needed = table.get("required", ())
    return [
        Key(f"{place}.{name}".lstrip("."), schema, _table(schema, tables), name in needed)
        for name, schema in table["properties"].items()
    ]


def _table(schema: Schema, tables: Schema) -> Schema | None:
    if "$ref" in schema:
        found: Schema = tables[schema["$ref"].rpartition("/")[2]]
        return found
    if "properties" in schema:
        return schema
    inner = [schema["items"]] if "items" in schema else schema.get("anyOf", ())
    return next((found for each in inner if (found := _table(each, tables))), None)


def type_of(schema: Schema) -> str:
    """What a value may be, in words."""
    if "anyOf" in schema:
        return next(type_of(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "$ref" in schema or "properties" in schema:
        return "table"
    if "enum" in schema:
        *others, last = (f"`{value}`" for value in schema["enum"])
        return f"{', '.join(others)} or {last}"
    return _TYPES[schema["type"]](schema)


def _string(schema: Schema) -> str:
    if "pattern" in schema:
        return PATTERNS[schema["pattern"]]
    return "text, not empty" if schema.get("minLength") else "text"


def _number(schema: Schema) -> str:
    whole, low, above = schema["type"] == "integer", schema.get("minimum"), schema.get("exclusiveMinimum")
    if whole and above is not None:
        low, above = above + 1, None
    words = ["integer" if whole else "number"]
    limits = (("from", low), ("above", above), ("to", schema.get("maximum")), ("below", schema.get("exclusiveMaximum")))
    words += (f"{word} {limit}" for word, limit in limits if limit not in (None, LARGEST_COUNT, LARGEST_SEED))
    multiple = f", a multiple of {schema['multipleOf']}" if "multipleOf" in schema else ""
    return " ".join(words) + multiple


def _array(schema: Schema) -> str:
    if "prefixItems" in schema:
        return f"array of {len(schema['prefixItems'])} numbers"
    inner = type_of(schema["items"])
    words = "array of tables" if inner == "table" else f"array; each {inner}"
    return f"{words}; not empty" if schema.get("minItems") else words


_TYPES = {
    "string": _string,
    "integer": _number,
    "number": _number,
    "array": _array,
    "boolean": lambda _: "`true` or `false`",
}


def toml(value: object) -> str:
    """A default as it is written in TOML."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, float):
        return re.sub(r"e\+?(-?)0*", r"e\1", f"{value:g}")
    return json.dumps(value)


def _default(key: Key) -> str:
    if key.required:
        return "*must be given*"
    if "default" not in key.schema:  # of a table its keys have defaults; others are found on the machine
        return "" if key.table is not None else "*by the machine*"
    value = key.schema["default"]
    return "not set" if value is None else f"`{toml(value)}`"


def _slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


class Page:
    """The page as it grows; a table that several files have is printed where it comes first."""

    def __init__(self) -> None:
        self._where: dict[str, str] = {}  # the heading of each table that was printed
        self._parts: list[str] = []

    def add(self, kind: str) -> None:
        """Add the keys of a kind of file."""
        schema = schema_of(kind)
        heading = f"{kind.capitalize()} files"
        self._parts.append(f"\n## {heading}\n\nThe kind `{kind}`: {KINDS[kind].noun}.\n")
        self._print(schema, "", kind, schema.get("$defs", {}))

    def text(self) -> str:
        """The page."""
        kinds = "".join(
            f"| [{kind.capitalize()} files](#{kind}-files) | `{kind}` | `{KINDS[kind].command.format('FILE')}` |\n"
            for kind in KINDS
        )
        return "".join((INTRODUCTION, kinds, *self._parts))

    def _print(self, table: Schema, place: str, kind: str, tables: Schema) -> None:
        waiting: list[tuple[Key, Schema]] = []
        self._parts.append("\n| key | what it may be | default | meaning |\n|---|---|---|---|\n")
        for key in keys_of(table, place, tables):
            meaning = key.schema["description"].replace("|", r"\|")
            if key.table is not None:
                same = json.dumps(
                    {name: value for name, value in key.table.items() if name != "description"}, sort_keys=True
                )
                heading = f"`{key.place}` of {kind} files"
                if same not in self._where:
                    self._where[same] = heading
                    waiting.append((key, key.table))
                known = self._where[same]
                meaning += f" Keys: [{known}](#{_slug(known)})."
            self._parts.append(f"| `{key.place}` | {type_of(key.schema)} | {_default(key)} | {meaning} |\n")
        for key, inner in waiting:
            self._parts.append(f"\n### `{key.place}` of {kind} files\n")
            self._print(inner, key.place, kind, tables)


def settings_page() -> str:
    """The page in Markdown."""
    page = Page()
    for kind in KINDS:
        page.add(kind)
    return page.text()


def places(kind: str) -> Iterator[str]:
    """Every key of a kind of file with its place, those within tables included."""
    schema = schema_of(kind)
    waiting: list[tuple[Schema, str]] = [(schema, "")]
    while waiting:
        table, place = waiting.pop()
        for key in keys_of(table, place, schema.get("$defs", {})):
            yield key.place
            if key.table is not None:
                waiting.append((key.table, key.place))
