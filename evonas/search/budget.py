"""The budget of a run: how much of it is used, and when the time is up."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from evonas.config import BudgetConfig
from evonas.errors import InputError, StopError
from evonas.search.archive import Archive

RESERVE_SECONDS = 4.0  # of a session's time, for exporting the best layers and for the last pictures
RESERVE_SHARE = 0.1  # of the budget, where that is less


class TimeIsUpError(StopError):
    """The time of the budget is used up; whatever is unfinished is dropped."""


@dataclass
class Clock:
    """Counts the budget of a run: candidates and wall-clock time, both over all its sessions.

    Attributes:
        budget: the ``[budget]`` section.
        used: seconds that earlier sessions took.
        started: when this session began, on the clock of ``now``.
        now: seconds on a clock that never goes back.
    """

    budget: BudgetConfig
    used: float = 0.0
    started: float | None = None
    now: Callable[[], float] = field(default=time.monotonic)

    def __post_init__(self) -> None:
        if self.started is None:
            self.started = self.now()

    @property
    def session_seconds(self) -> float:
        """Time since this session began."""
        assert self.started is not None
        return self.now() - self.started

    @property
    def seconds(self) -> float:
        """Time of all sessions so far."""
        return self.used + self.session_seconds

    @property
    def left(self) -> float:
        """Seconds until searching has to end, so that the last pictures are made in time; infinite without a limit."""
        whole = 60 * self.budget.minutes
        return whole - min(RESERVE_SECONDS, RESERVE_SHARE * whole) - self.seconds if whole else float("inf")

    def fraction(self, evaluated: int) -> float:
        """How much of the budget is used; 0 without a budget."""
        parts = [0.0]
        if self.budget.evaluations:
            parts.append(evaluated / self.budget.evaluations)
        if self.budget.minutes:
            parts.append(self.seconds / (60 * self.budget.minutes))
        return max(parts)

    def check(self) -> None:
        """Go on only if there is time.

        Raises:
            TimeIsUpError: there is none.
        """
        if self.left <= 0:
            raise TimeIsUpError


def seconds_of_sessions(archive: Archive) -> float:
    """Time that the sessions of a run took; a killed one counts up to its last recorded candidate."""
    if (recorded := archive.seconds()) is not None:
        return recorded
    # an archive of an earlier version, which has dates alone
    marks = [(when, kind) for when, kind, _ in archive.events()] + [(when, "told") for when in archive.told_times()]
    total, start, last = 0.0, None, 0.0
    for when, kind in sorted(marks):
        if kind == "started":
            total += last - start if start is not None else 0.0
            start = when
        last = when
        if kind == "stopped" and start is not None:
            total, start = total + when - start, None
    return total + (last - start if start is not None else 0.0)


def budget_from_text(text: str, where: str = "budget") -> BudgetConfig:
    """A budget as people type it: ``90s``, ``10m`` or ``2h`` of time, or a number of candidates.

    Raises:
        InputError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None or float(match[1]) <= 0 or (not match[2] and "." in match[1]):
        raise InputError(where, repr(text), accepted="a time such as 90s, 10m, 2h, or a number of evaluations")
    if not match[2]:
        return BudgetConfig(evaluations=int(match[1]))
    return BudgetConfig(minutes=float(match[1]) * {"s": 1 / 60, "m": 1, "h": 60}[match[2]])


def budget_text(budget: BudgetConfig, factor: float = 1.0) -> str:
    """A budget as it is typed, for hints; ``factor`` times as large, and no less than it is."""
    if budget.evaluations:
        return str(round(budget.evaluations * factor))
    seconds = budget.minutes * 60 * factor
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
