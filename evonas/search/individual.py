"""An evaluated candidate as DEAP's selection operators want it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from deap import base

from evonas.graph.genome import Genome
from evonas.search.objectives import OBJECTIVES

FULL_TRAINING = sys.maxsize  # steps of an individual that was trained to the end: further than any rung


@cache
def fitness_class(weights: tuple[float, ...]) -> type[base.Fitness]:
    """A fitness that maximizes where the weight is 1, minimizes where it is -1; without DEAP's global ``creator``."""
    return type(f"Fitness{len(weights)}", (base.Fitness,), {"weights": weights})


@dataclass(slots=True, eq=False)
class Individual:
    """A member of the population.

    Attributes:
        index: the candidate's index.
        genome: the layer; a silent mutation may change how it is written, never what it computes.
        objectives: accuracy per task; larger is better.
        steps: training steps at which the objectives were taken; only equal ones can be compared.
        fitness: all objectives and extras, for dominance.
        extras: objectives beside those of tasks; none for a layer that was not trained in full.
        level: the mean that is believed in, after measurements beside that of the search.
    """

    index: int
    genome: Genome
    objectives: Mapping[str, float]
    steps: int
    fitness: Any
    extras: Mapping[str, float] = field(default_factory=dict)
    level: float | None = None

    @classmethod
    def of(
        cls,
        index: int,
        genome: Genome,
        objectives: Mapping[str, float],
        steps: int,
        extras: Mapping[str, float] | None = None,
    ) -> "Individual":
        """The individual of a candidate's objectives after so many steps, and of its extras after all of them."""
        extras = dict(sorted((extras or {}).items()))
        weights = (1.0,) * len(objectives) + tuple(OBJECTIVES.find(name, "objectives").weight for name in extras)
        fitness = fitness_class(weights)((*objectives.values(), *extras.values()))
        return cls(index, genome, dict(objectives), steps, fitness, extras)

    @property
    def mean(self) -> float:
        """Mean over tasks, extras left out; that which is believed in, if there is one."""
        return sum(self.objectives.values()) / len(self.objectives) if self.level is None else self.level

    def believe(self, level: float) -> None:
        """Go by another mean from now on.

        Every objective is moved by the same amount for dominance: measurements under other conditions say how good the
        layer is, and those of the search say on which of its tasks.
        """
        self.level = None
        moved = level - self.mean
        values = (*(value + moved for value in self.objectives.values()), *self.extras.values())
        self.fitness = type(self.fitness)(values)
        self.level = level
