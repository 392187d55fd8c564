"""Cards as a page, as Markdown and as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

from evonas.errors import InputError
from evonas.files import write_named
from evonas.interface.card.card import Card
from evonas.interface.card.page import card_data
from evonas.interface.card.words import markdown
from evonas.interface.run_page import card_page
from evonas.report.page.page import charting_library

SUFFIXES = (".html", ".md", ".json")


def write_cards(cards: Sequence[Card], file: Path) -> None:
    """Write cards into one file, in the form that its ending says.

    Raises:
        InputError: another ending, a file that cannot be written, or for a page, plotly is not installed.
    """
    require_suffix(file)
    if file.suffix == ".html":
        write_named(file, card_page([card_data(card) for card in cards], charting_library()))
    elif file.suffix == ".json":
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
