"""Cards as Markdown and as JSON."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from evonas.errors import InputError
from evonas.files import write_named
from evonas.interface.card.card import Card, Section
from evonas.layer.cost import Cost
from evonas.layer.properties import Properties
from evonas.report.table import markdown_text
from evonas.runs.progress import duration_text

SUFFIXES = (".md", ".json")


def write_cards(cards: Sequence[Card], file: Path) -> None:
    """Write cards into one file, in the form that its ending says.

    Raises:
        InputError: another ending, or a file that cannot be written.
    """
    require_suffix(file)
    if file.suffix == ".json":
        write_named(file, json.dumps([card.as_json() for card in cards], indent=2) + "\n")
    else:
        write_named(file, "\n\n".join(markdown(card) for card in cards) + "\n")


def require_suffix(file: Path) -> None:
    """Make sure that the ending of a file says how cards are written.

    Raises:
        InputError: it does not.
    """
    if file.suffix not in SUFFIXES:
        raise InputError("--output", str(file), accepted=f"a file that ends in {', '.join(SUFFIXES)}")


def markdown(card: Card) -> str:
    """The card as Markdown."""
    return "\n\n".join(_parts(card))


def _parts(card: Card) -> Iterator[str]:
    yield f"# {markdown_text(card.name)}"
    yield f"$$ {card.facts['latex']} $$"
    yield "\n".join(f"- {name}: {value}" for name, value in _facts(card).items())
    for section in card.sections:
        yield f"## {section.kind.title}"
        yield from _section(section)


def _facts(card: Card) -> dict[str, str]:
    facts = {"formula": f"`{card.facts['formula']}`", "text form": f"`{card.facts['text']}`", "key": card.facts["key"]}
    facts |= {"from": markdown_text(card.layer.provenance), "layout": card.layout}
    if "cannot be tried" in card.properties:
        return facts | {"cannot be tried": markdown_text(card.properties["cannot be tried"])}
    costs = Cost(**card.cost["layer"]).beside(Cost(**card.cost["bn-relu"]), "BN-ReLU")
    return facts | Properties(**card.properties).in_words() | {"costs": costs}


def _section(section: Section) -> Iterator[str]:
    if section.found is None:
        makes = f" The command that measures it: `{section.command}`" if section.command else ""
        yield f"{_sentence(section.missing)}{makes}"
        return
    for table in section.found.tables:
        yield table.markdown()
    if section.found.notes:
        yield "\n".join(f"- {markdown_text(note)}" for note in section.found.notes)
    record = section.record
    assert record is not None
    took = "" if record.wall is None or record.core is None else _took(record.wall, record.core)
    yield f"Made by `{record.command or section.command}`{took}."


def _took(wall: float, core: float) -> str:
    return f" in {duration_text(wall)}, {duration_text(core)} of processors"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
