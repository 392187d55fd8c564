"""How far a long run is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Jobs that are finished, of how many, and how many of these were done now rather than recorded before."""

    finished: int
    total: int
    done: int


def duration_text(seconds: float) -> str:
    """A duration for people: ``42s``, ``3m05s``, ``2h10m``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
