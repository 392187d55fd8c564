"""Whether two archives hold the same search: all that does not depend on clocks."""

from pathlib import Path

from evonas.search.archive import Archive


def same_content(first: Path, second: Path) -> bool:
    with Archive.open(first, read_only=True) as a, Archive.open(second, read_only=True) as b:
        return a.content() == b.content()
