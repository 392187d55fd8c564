"""Who may become a parent: the window of the latest layers that have scores, or NSGA-II's survivors."""

import random
from collections.abc import Callable, Mapping
from copy import copy

from evonas.config import EvolutionConfig
from evonas.graph.genome import Genome
from evonas.search import selection
from evonas.search.individual import FULL_TRAINING, Individual

Levels = Callable[[], Mapping[int, float]]


class Population:
    """The layers that parents are chosen from, by the settings of ``[evolution]``.

    Members that were trained in full go by the mean that ``levels`` gives for their index, where it gives one, instead
    of that of their scores.

    Attributes:
        members: in the order of their admission; of NSGA-II in that of its selection.
    """

    def __init__(self, settings: EvolutionConfig) -> None:
        self._settings = settings
        self.members: list[Individual] = []
        self._ready = False  # whether members know their levels and their crowding distances

    def admit(self, individual: Individual, levels: Levels = dict) -> None:
        """Take a member in; the oldest one dies, or those that NSGA-II does not select."""
        self.members.append(individual)
        self._ready = False
        if self._settings.algorithm == "nsga2":
            self._believe(levels())
            self.members = selection.nsga2_survivors(self.members, self._settings.window)
        elif len(self.members) > self._settings.window:
            self.members.pop(0)  # the oldest dies, however good

    def copied(self) -> "Population":
        """Another population of the same members, of which drifts do not reach this one."""
        other = copy(self)
        other.members = [copy(member) for member in self.members]
        return other

    def drift(self, parent: int | None, genome: Genome) -> None:
        """A silent mutation: the child computes what its parent does, so it takes over its scores, place and age."""
        for individual in self.members:
            if individual.index == parent:
                individual.genome = genome

    def results_changed(self) -> None:
        """Note that levels may have changed."""
        self._ready = False

    def settle(self, levels: Levels = dict) -> None:
        """Let members know their levels and crowding distances; once for all proposals between two results."""
        if not self._ready:
            self._believe(levels())
            if self._settings.algorithm == "nsga2" and self.members:
                selection.assign_crowding(self.members)
            self._ready = True

    def parent(self, rng: random.Random, levels: Levels = dict) -> Individual:
        """The winner of a tournament."""
        self.settle(levels)
        if self._settings.algorithm == "nsga2":
            return selection.crowded_winner(self.members, rng)
        size = selection.tournament_size(self._settings.tournament, len(self.members))
        if self._settings.winner == "average":
            return selection.average_winner(self.members, size, rng)
        return selection.pareto_winner(self.members, size, rng)

    def _believe(self, levels: Mapping[int, float]) -> None:
        for individual in self.members if levels else ():
            if individual.steps == FULL_TRAINING:
                individual.believe(levels[individual.index])
