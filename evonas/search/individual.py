"""An evaluated candidate as DEAP's selection operators want it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from deap import base

from evonas.graph.genome import Genome

FULL = sys.maxsize  # steps of an individual that was trained to the end: further than any rung


@cache
def fitness_class(objectives: int) -> type[base.Fitness]:
    """A maximizing fitness of so many objectives, without DEAP's global ``creator``."""
    return type(f"Fitness{objectives}", (base.Fitness,), {"weights": (1.0,) * objectives})


@dataclass(slots=True, eq=False)
class Individual:
    """A member of the population.

    Attributes:
        index: the candidate's index.
        genome: the layer; a silent mutation may change how it is written, never what it computes.
        objectives: larger is better.
        steps: training steps at which the objectives were taken; only equal ones can be compared.
        fitness: all objectives, for dominance.
    """

    index: int
    genome: Genome
    objectives: Mapping[str, float]
    steps: int
    fitness: Any

    @classmethod
    def of(cls, index: int, genome: Genome, objectives: Mapping[str, float], steps: int) -> "Individual":
        """The individual of a candidate's objectives after so many steps."""
        values = tuple(objectives.values())
        return cls(index, genome, dict(objectives), steps, fitness_class(len(values))(values))

    @property
    def mean(self) -> float:
        """The mean objective."""
        return sum(self.objectives.values()) / len(self.objectives)
