"""The command line: the one place that wires the parts together; a file for each family of verbs."""

import sys

from evonas.cli import evaluate as evaluate  # importing a file of verbs adds them
from evonas.cli import layers as layers
from evonas.cli import search as search
from evonas.cli import sparsify as sparsify
from evonas.cli import studies as studies
from evonas.cli.app import INTERRUPTED, app
from evonas.errors import InputError


def main() -> None:
    """Run the command line; errors in what the user gave are one line and exit status 2."""
    try:
        app()
    except InputError as error:
        print(f"evonas: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
