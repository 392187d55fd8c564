"""How far a long run is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Jobs that are finished, of how many, and how many of these were done now rather than recorded before."""

    finished: int
    total: int
    done: int
