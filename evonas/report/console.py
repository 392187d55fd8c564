"""The terminal, to which no text of others gets as anything but letters."""

import sys
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from evonas.errors import shown


class PlainConsole(Console):
    """A console that takes no text for markup, and writes characters that are not seen as their escapes.

    What is printed, tables, bars and panels included, goes through ``render``; what rich itself says to the terminal,
    such as colours and the place of the cursor, is not in the texts of segments.

    Args:
        file: where to.
        more: as of rich's console.
    """

    def __init__(self, file: IO[str], **more: Any) -> None:
        super().__init__(file=file, markup=False, emoji=False, highlight=False, **more)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See ``rich.console.Console``."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=shown(segment.text))


def say(line: str, *, error: bool = False) -> None:
    """Print a line as it is, on the output stream or on that of errors, without characters that are not seen."""
    stream = sys.stderr if error else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(shown(line).encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
