"""An evaluated candidate as DEAP's selection operators want it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from deap import base

from evonas.graph.genome import Genome


@cache
def fitness_class(objectives: int) -> type[base.Fitness]:
    """A maximizing fitness of so many objectives, without DEAP's global ``creator``."""
    return type(f"Fitness{objectives}", (base.Fitness,), {"weights": (1.0,) * objectives})


@dataclass(slots=True, eq=False)
class Individual:
    """A member of the population.

    Attributes:
        index: the candidate's index.
        genome: the layer.
        objectives: larger is better.
        fitness: all objectives, for dominance.
        average: their mean, for the scalar tournament.
    """

    index: int
    genome: Genome
    objectives: Mapping[str, float]
    fitness: Any
    average: Any

    @classmethod
    def of(cls, index: int, genome: Genome, objectives: Mapping[str, float]) -> "Individual":
        """The individual of a candidate's objectives."""
        values = tuple(objectives.values())
        many, one = fitness_class(len(values)), fitness_class(1)
        return cls(index, genome, dict(objectives), many(values), one((sum(values) / len(values),)))

    @property
    def mean(self) -> float:
        """The mean objective."""
        return float(self.average.values[0])
