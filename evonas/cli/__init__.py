"""The command line: the one place that wires the parts together; a file for each family of verbs."""

import atexit
import gc
import re
import sys
from collections.abc import Callable, Mapping, Sequence

from evonas.cli import certify, evaluate, export, layers, propose, runs, search, sparsify, starting, studies, verify
from evonas.cli.app import INTERRUPTED, app
from evonas.errors import InputError

VERBS: Mapping[str, Sequence[Callable[..., None]]] = {  # by the heading in `evonas --help`, in its order
    "Search": (search.search, propose.propose, propose.state),
    "Look and take away": (runs.runs, layers.top, layers.show, export.export),
    "Keep": (verify.verify, verify.backup),
    "Compare": (evaluate.rerank, evaluate.evaluate, certify.certify),
    "Studies": (studies.stability, studies.hypernet, sparsify.sparsify, studies.steer),
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
    atexit.register(gc.freeze)  # at the end the interpreter looks through all objects of torch several times, else
    try:
        app(prog_name="evonas", args=[_marked(argument) for argument in sys.argv[1:]])
    except InputError as error:
        print(f"evonas: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
