"""A card is put together: what is found by looking at the layer, and what records say of it."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evonas.errors import InputError, first_line
from evonas.graph.catalogue import CATALOGUE
from evonas.interface.card.readers import Found
from evonas.interface.card.records import Record, find_records, read_record
from evonas.interface.card.sections import SECTIONS, SectionKind, commands
from evonas.layer.cost import cost_of
from evonas.layer.properties import properties
from evonas.report.table import Table, written
from evonas.search.named import NamedLayer, find_layer
from evonas.search.ranking import describe


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a card.

    Attributes:
        kind: which one.
        found: what is recorded; None where nothing is.
        record: where that is.
        command: what makes it.
        missing: why there is nothing; empty where there is something.
    """

    kind: SectionKind
    found: Found | None
    record: Record | None
    command: str
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """All that is known of a layer.

    Attributes:
        text: the layer as it was typed.
        layer: what it names.
        layout: what it is made for.
        facts: key, formula, text form and LaTeX.
        properties: what is found by trying it; empty where torch cannot run it.
        cost: what a forward and a backward pass compute and move, and the same of BN-ReLU.
        sections: in the order of the page.
    """

    text: str
    layer: NamedLayer
    layout: str
    facts: Mapping[str, str]
    properties: Mapping[str, Any]
    cost: Mapping[str, Any]
    sections: Sequence[Section]

    @property
    def name(self) -> str:
        """What people call it."""
        return self.layer.name or self.text

    @property
    def missing(self) -> list[str]:
        """Titles of the sections that could be measured and are not."""
        return [section.kind.title for section in self.sections if section.found is None and section.command]

    def as_json(self) -> dict[str, Any]:
        """Everything; tables as columns and rows of what people read."""
        return {
            "name": self.name,
            **self.facts,
            "layout": self.layout,
            "from": self.layer.provenance,
            "properties": dict(self.properties),
            "cost": dict(self.cost),
            "sections": [_section_json(section) for section in self.sections],
        }


def make_card(text: str, folder: Path, others: Sequence[Path] = (), settings: Sequence[str] = ()) -> Card:
    """The card of a layer from what is recorded.

    Args:
        text: a catalogue name, a formula, a text form, RUN#rank or a .json file.
        folder: of the card's own records, a folder below it for each kind; it need not exist.
        others: folders in which records are looked for that the own ones lack.
        settings: changes of settings that the commands of the card get.

    Raises:
        InputError: there is no such layer or folder, or a record is damaged.
    """
    layer = find_layer(text)
    layout = layer.layout or "bchw"
    made_by = commands(text, layer, layout, settings)
    own = {kind: read_record(folder / kind) for kind in made_by}
    elsewhere = list(find_records(others))
    key = layer.genome.key
    sections = []
    for kind in SECTIONS:
        if layout not in kind.layouts:
            sections.append(Section(kind, None, None, "", kind.senseless))
            continue
        command = shlex.join(["evonas", *made_by[kind.record], "--run", str(folder / kind.record)])
        records = [own[kind.record], *(record for record in elsewhere if record.kind == kind.record)]
        sections.append(_section(kind, [record for record in records if record], key, command))
    tried = _tried(layer, layout)
    return Card(text, layer, layout, describe(layer.genome), tried[0], tried[1], sections)


def _section(kind: SectionKind, records: Sequence[Record], key: str, command: str) -> Section:
    for record in records:
        try:
            found = kind.read(record, key)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            what = f"holds results that cannot be read ({type(error).__name__}: {first_line(error)})"
            raise InputError(str(record.folder), what, remedy="leave this folder out") from error
        if found is not None:
            return Section(kind, found, record, command)
    return Section(kind, None, None, command, "not measured yet")


def _tried(layer: NamedLayer, layout: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Properties and costs; nothing of a layer that torch cannot run."""
    try:
        cost = {"layer": asdict(cost_of(layer.genome, layout)), "bn-relu": asdict(cost_of(CATALOGUE["bn-relu"]))}
        return asdict(properties(layer.genome, layout)), cost
    except RuntimeError as error:
        return {"cannot be tried": str(error)}, {}


def _section_json(section: Section) -> dict[str, Any]:
    found, record = section.found, section.record
    return {
        "name": section.kind.name,
        "title": section.kind.title,
        "missing": section.missing,
        "command": section.command,
        "tables": [_table_json(table) for table in found.tables] if found else [],
        "notes": list(found.notes) if found else [],
        "recorded": None
        if record is None
        else {"folder": str(record.folder), "command": record.command, "wall": record.wall, "core": record.core},
    }


def _table_json(table: Table) -> dict[str, Any]:
    rows = [
        [written(cell, table.forms.get(name, "")) for name, cell in zip(table.columns, row, strict=True)]
        for row in table.rows
    ]
    return {"title": table.title, "columns": list(table.columns), "rows": rows, "meanings": table.explained()}
