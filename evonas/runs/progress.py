"""How far a long run is, what it is doing, and how long it still takes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far the jobs of a run are.

    Attributes:
        finished: jobs that have an outcome, whether it was recorded before or is new.
        total: all jobs.
        done: the jobs that were done now. A job that fails because one that it needs failed is finished, but not done.
        doing: what is being done, in words; empty when nothing is left to do.
        left: the estimated seconds until the end; None while no job of a kind that is left has ended.
        at_least: whether there are kinds of jobs of which none has ended, so that ``left`` does not count them.
    """

    finished: int
    total: int
    done: int
    doing: str = ""
    left: float | None = None
    at_least: bool = False


def in_words(doing: Sequence[str]) -> str:
    """What several workers do at once, such as ``2 x training 147k, training 332k``."""
    return ", ".join(f"{count} x {what}" if count > 1 else what for what, count in Counter(doing).items() if what)


def time_left(
    waiting: Mapping[Kind, int], ended: Mapping[Kind, Sequence[float]], lanes: Callable[[Kind], int]
) -> tuple[float | None, bool]:
    """The seconds that the waiting jobs take, and whether that is only a part of them.

    Jobs of one kind are taken to last as long as the mean of those of the kind that have ended. Jobs of different kinds
    may differ by orders of magnitude, so no kind stands in for another.

    Args:
        waiting: by kind, how many jobs are left.
        ended: by kind, the seconds of jobs that have ended, now or in an earlier session.
        lanes: from a kind to how many of its jobs are done at once.
    """
    known = {kind: count for kind, count in waiting.items() if ended.get(kind)}
    if waiting and not known:
        return None, False
    seconds = (fmean(ended[kind]) * count / min(count, lanes(kind)) for kind, count in known.items())
    return sum(seconds), len(known) < len(waiting)


def duration_text(seconds: float) -> str:
    """A duration for people: ``42s``, ``3m05s``, ``2h10m``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
