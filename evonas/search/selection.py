"""Who becomes a parent and who stays: DEAP's operators with an explicit random stream."""

import random
from bisect import insort
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from deap import tools

from evonas.search.individual import Individual


@contextmanager
def deap_random(rng: random.Random) -> Iterator[None]:
    """DEAP draws from the global ``random``: give it our stream's state, and the world its own back afterwards."""
    saved = random.getstate()
    random.setstate(rng.getstate())
    try:
        yield
    finally:
        rng.setstate(random.getstate())
        random.setstate(saved)


def tournament_size(fraction: float, population: int) -> int:
    """So many of the population take part in a tournament: the fraction, and at least 2."""
    return max(2, round(fraction * population))


def average_winner(population: Sequence[Individual], size: int, rng: random.Random) -> Individual:
    """The highest mean objective of a tournament, among those trained furthest."""
    return max(_entrants(population, size, rng), key=lambda individual: individual.mean)


def pareto_winner(population: Sequence[Individual], size: int, rng: random.Random) -> Individual:
    """A uniformly random member of a tournament's Pareto front, among those trained furthest.

    Source: Liu et al. 2020, Pareto tournament.
    """
    return rng.choice(pareto_front(_entrants(population, size, rng)))


def _entrants(population: Sequence[Individual], size: int, rng: random.Random) -> list[Individual]:
    """A tournament's members, each once, and only those trained furthest: scores compare at equal steps."""
    with deap_random(rng):
        drawn = tools.selRandom(population, size)
    most = max(individual.steps for individual in drawn)
    return list({i.index: i for i in drawn if i.steps == most}.values())


def assign_crowding(population: Sequence[Individual]) -> None:
    """Give each member its crowding distance within its front, for ``crowded_winner``; quadratic in the population."""
    for front in tools.sortNondominated(population, len(population)):
        tools.emo.assignCrowdingDist(front)


def crowded_winner(population: Sequence[Individual], rng: random.Random) -> Individual:
    """NSGA-II's parent: the winner of a binary tournament by dominance, then by the distance of ``assign_crowding``."""
    with deap_random(rng):
        entrants = tools.selRandom(population, 4)
        winner: Individual = tools.selTournamentDCD(entrants, 4)[0]
    return winner


def nsga2_survivors(population: Sequence[Individual], size: int) -> list[Individual]:
    """NSGA-II's environmental selection. Source: Deb et al. 2002."""
    return list(tools.selNSGA2(population, size)) if len(population) > size else list(population)


def pareto_front(population: Sequence[Individual]) -> list[Individual]:
    """The members nobody dominates, in order of index."""
    front: list[Individual] = []
    for individual in population:
        front = admitted(front, individual)
    return front


def admitted(front: Sequence[Individual], individual: Individual) -> list[Individual]:
    """A Pareto front after one more was found, in order of index; what was dominated once can never come back."""
    if any(member.fitness.dominates(individual.fitness) for member in front):
        return list(front)
    kept = [member for member in front if not individual.fitness.dominates(member.fitness)]
    insort(kept, individual, key=lambda member: member.index)
    return kept
