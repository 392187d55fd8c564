"""Which layers a search will probe next if the probe rejects all before them, so that it can begin with them early."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from evonas.graph.genome import Genome


class LookAhead(Protocol):
    """Probes layers before they are asked for.

    Attributes:
        width: how many at a time.
    """

    width: int

    def ahead(self, genomes: Iterable[Genome]) -> None:
        """Begin with these; what was begun before and is not among them is not wanted any more."""
        ...


class Foresight:
    """The layers that are probed for one candidate, some at a time: twice as many whenever they did not suffice.

    Args:
        look_ahead: probes them; None where nobody does.
        upcoming: gives the first so many layers that will be probed.
    """

    def __init__(self, look_ahead: LookAhead | None, upcoming: Callable[[int], Sequence[Genome]]) -> None:
        self._look_ahead, self._upcoming = look_ahead, upcoming
        self._probed = self._reach = 0

    def before_probe(self) -> None:
        """The next layer is probed now."""
        if self._look_ahead is not None and self._probed >= self._reach:
            self._reach = max(self._look_ahead.width, 2 * self._reach)
            self._look_ahead.ahead(self._upcoming(self._reach)[self._probed :])
        self._probed += 1
