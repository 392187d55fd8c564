"""How far a long run is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """Trainings known, of how many, and how many of these were done now rather than recorded before."""

    known: int
    total: int
    trained: int
