"""A card as a page shows it: the layer, which the page computes, and the sections as blocks of text."""

from typing import Any

from evonas.interface.card.card import Card, Section
from evonas.interface.card.words import facts_of, sentence, tables_of, took_of
from evonas.interface.page_data import described
from evonas.report.page.markdown import blocks

SHOWN = ("formula", "text form")  # stand above


def card_data(card: Card) -> dict[str, Any]:
    """What the scripts of the page need, fit for JSON."""
    genome = card.layer.genome.active()
    return {
        "name": card.name,
        "eps": card.layer.lowering.eps,
        "layer": described(genome, card.facts["formula"]),
        "facts": [[name, value.replace("`", "")] for name, value in facts_of(card).items() if name not in SHOWN],
        "sections": [_section(section) for section in card.sections],
    }


def _section(section: Section) -> dict[str, Any]:
    shared = {"name": section.kind.name, "title": section.kind.title, "command": section.command}
    if section.found is None or section.record is None:
        return shared | {"missing": sentence(section.missing)}
    text = "\n\n".join(tables_of(section))
    made_by = section.record.command or section.command
    return shared | {"missing": "", "blocks": blocks(text), "made_by": made_by, "took": took_of(section)}
