"""``evonas card``: all that is known of a layer, and what is not known."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from evonas.cli.app import INTERRUPTED, WorkersOption
from evonas.errors import InputError


def card(
    layers: Annotated[
        list[str],
        typer.Argument(metavar="LAYER...", help="Catalogue names, formulas, text forms, RUN#rank or .json files."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where to write it: a .html, .md or .json file.")
    ] = Path("card.html"),
    run: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the card's own records are, in a folder for each layer.")
    ] = Path("runs/cards"),
    others: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="FOLDER", help="Also take what is recorded below a folder; may be repeated."),
    ] = None,
    run_missing: Annotated[
        bool, typer.Option("--run-missing", help="Measure what is not recorded, the cheapest first.")
    ] = False,
    budget: Annotated[
        str | None, typer.Option(metavar="30m", help="Time for what is missing (s, m, h); default: no limit.")
    ] = None,
    workers: WorkersOption = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=c", help="Set a key of all files of settings; may be repeated."),
    ] = None,
) -> None:
    """A layer from all sides, from accuracy and costs to sparsity, steering and hypernetworks.

    Example: [bold]evonas card evonorm-s0 -o card.html --run-missing --budget 30m --workers 2[/bold]

    Every section says by which command it was made, over how many seeds and with what spread. What is not recorded is
    said to be missing, with the command that measures it.
    """
    from evonas.cli import terminal
    from evonas.interface.card.card import Card, make_card
    from evonas.interface.card.running import Budget, measure_missing
    from evonas.interface.card.writing import require_suffix, write_cards
    from evonas.search.named import find_layer

    require_suffix(output)
    time = Budget.from_text(budget, "--budget")
    if budget is not None and not run_missing:
        raise InputError("--budget", "given without --run-missing", remedy="add --run-missing")
    said = terminal.console(stderr=True)

    def show(words: Sequence[str]) -> None:
        said.print(shlex.join(words), soft_wrap=True, markup=False)

    def made(text: str) -> Card:
        return make_card(text, folders[text], others or (), overrides or ())

    folders = {text: run / find_layer(text).genome.key for text in layers}
    cards = {text: made(text) for text in folders}
    for text, found in cards.items() if run_missing else ():
        for done in measure_missing(found, folders[text], overrides or (), budget=time, workers=workers, on_start=show):
            if done.status not in (0, INTERRUPTED):
                said.print(f"{done.record}: the command ended with exit status {done.status}")
        cards[text] = made(text)
    write_cards(list(cards.values()), output)
    missing = [f"{one.name}: {title}" for one in cards.values() for title in one.missing]
    words = f"wrote {output}" + (f"; missing: {', '.join(missing)}" if missing else "")
    terminal.console().print(words, soft_wrap=True, markup=False)
