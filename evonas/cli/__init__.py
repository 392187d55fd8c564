"""The command line: the one place that wires the parts together; a file for each family of verbs."""

import atexit
import gc
import io
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from evonas.cli import (
    card,
    certify,
    evaluate,
    export,
    generate,
    layers,
    propose,
    report,
    runs,
    search,
    show,
    sparsify,
    stability,
    starting,
    steer,
    studies,
    verify,
)
from evonas.cli.app import INTERRUPTED, app
from evonas.errors import InputError, first_line
from evonas.report.console import say

VERBS: Mapping[str, Sequence[Callable[..., None]]] = {  # by the heading in `evonas --help`, in its order
    "Search": (search.search, propose.propose, propose.state),
    "Look and take away": (runs.runs, report.report, card.card, layers.top, show.show, export.export),
    "Keep": (verify.verify, verify.backup),
    "Compare": (evaluate.rerank, evaluate.evaluate, certify.certify, studies.components),
    "Studies": (stability.stability, studies.hypernet, sparsify.sparsify, steer.steer, generate.generate),
    "Set up": (starting.init, starting.list_shipped, starting.schema),
}
for heading, verbs in VERBS.items():
    for verb in verbs:
        app.command(rich_help_panel=heading)(verb)


_NEGATIVE_FORMULA = re.compile(r"-\s*(\w+(\[\w+\])?\(|\(|(x|v0|v1|zero)\b|[\d.]+\s*[*/(xv])")


def _marked(argument: str) -> str:
    """A formula such as ``-tanh(x)`` gets a blank in front, as it would be read as an option otherwise."""
    return f" {argument}" if _NEGATIVE_FORMULA.match(argument) else argument


def main() -> None:
    """Run the command line; errors in what the user gave are one line and exit status 2."""
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # it was closed before the program began
            setattr(sys, stream, io.StringIO())
    atexit.register(gc.freeze)  # at the end the interpreter looks through all objects of torch several times, else
    try:
        try:
            app(prog_name="evonas", args=[_marked(argument) for argument in sys.argv[1:]])
        finally:
            sys.stdout.flush()  # so that a full disk is noticed here
    except InputError as error:
        say(f"evonas: {error}", error=True)
        raise SystemExit(2) from None
    except OSError as error:  # of a path that was typed, or of the output itself
        place = f"{error.filename}: " if error.filename else ""
        say(f"evonas: {place}{error.strerror or first_line(error)}", error=True)
        with suppress(OSError):  # what is left in the buffer cannot be written at the end either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
