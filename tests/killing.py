"""A process that ends in the middle of its work, as tests see it."""

from collections.abc import Callable
from itertools import count
from typing import Any

from evonas.search.archive import Archive


class Killed(BaseException):
    """As if the process had ended there."""


def killed_after(results: int, record: Callable[..., None]) -> Callable[..., None]:
    """``record``, which ends everything once it has written so many results."""
    recorded = count(1)

    def record_and_end(self: Archive, *given: Any) -> None:
        record(self, *given)
        if next(recorded) == results:
            raise Killed

    return record_and_end
