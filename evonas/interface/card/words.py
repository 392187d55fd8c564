"""What cards say in words, as Markdown."""

from collections.abc import Iterator

from evonas.interface.card.card import Card, Section
from evonas.layer.cost import Cost
from evonas.layer.properties import Properties
from evonas.report.table import markdown_text
from evonas.runs.progress import duration_text


def markdown(card: Card) -> str:
    """The card as Markdown."""
    return "\n\n".join(_parts(card))


def _parts(card: Card) -> Iterator[str]:
    yield f"# {markdown_text(card.name)}"
    yield f"$$ {card.facts['latex']} $$"
    yield "\n".join(f"- {name}: {value}" for name, value in facts_of(card).items())
    for section in card.sections:
        yield f"## {section.kind.title}"
        if section.found is None:
            makes = f" The command that measures it: `{section.command}`" if section.command else ""
            yield f"{sentence(section.missing)}{makes}"
            continue
        yield from tables_of(section)
        assert section.record is not None
        yield f"{took_of(section)}: `{section.record.command or section.command}`"


def facts_of(card: Card) -> dict[str, str]:
    """What the layer is and what it is like, by what it is about."""
    facts = {"formula": f"`{card.facts['formula']}`", "text form": f"`{card.facts['text']}`", "key": card.facts["key"]}
    facts |= {"from": markdown_text(card.layer.provenance), "layout": card.layout}
    if "cannot be tried" in card.properties:
        return facts | {"cannot be tried": markdown_text(card.properties["cannot be tried"])}
    costs = Cost(**card.cost["layer"]).beside(Cost(**card.cost["bn-relu"]), "BN-ReLU")
    return facts | Properties(**card.properties).in_words() | {"costs": costs}


def tables_of(section: Section) -> Iterator[str]:
    """The tables of a section, and the sentences below them as a list."""
    assert section.found is not None
    for table in section.found.tables:
        yield table.markdown()
    if section.found.notes:
        yield "\n".join(f"- {markdown_text(note)}" for note in section.found.notes)


def took_of(section: Section) -> str:
    """How a section was made: how long it took, where that is known."""
    record = section.record
    if record is None or record.wall is None or record.core is None:
        return "Made by"
    return f"Made in {duration_text(record.wall)}, {duration_text(record.core)} of processors, by"


def sentence(text: str) -> str:
    """A text as a sentence."""
    return f"{text[:1].upper()}{text[1:]}."
