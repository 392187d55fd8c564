"""Selection against brute force: dominance by definition, winners by enumeration, global randomness untouched."""

import random

import pytest

from evonas.graph.catalogue import CATALOGUE
from evonas.search import selection
from evonas.search.individual import FULL_TRAINING, Individual

GENOME = CATALOGUE["evonorm-s0"]


def population_of(*values: tuple[float, ...]) -> list[Individual]:
    return [Individual.of(i, GENOME, dict(zip("abc", v, strict=False)), FULL_TRAINING) for i, v in enumerate(values)]


def mixed_population(count: int, seed: int) -> list[Individual]:
    """Two accuracies to maximize, latency and parameters to minimize, a margin to maximize; few values, many ties."""
    rng, individuals = random.Random(seed), []
    for index in range(count):
        extras = {name: float(rng.randrange(1, 4)) for name in ("latency", "parameters", "stability_margin")}
        objectives = {task: rng.randrange(4) / 4 for task in "ab"}
        individuals.append(Individual.of(index, GENOME, objectives, FULL_TRAINING, extras))
    return individuals


def dominates_mixed(a: Individual, b: Individual) -> bool:
    def gains(i: Individual) -> list[float]:
        e = i.extras
        return [*i.objectives.values(), -e["latency"], -e["parameters"], e["stability_margin"]]

    pairs = list(zip(gains(a), gains(b), strict=True))
    return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)


def dominates(a: Individual, b: Individual) -> bool:
    pairs = list(zip(a.objectives.values(), b.objectives.values(), strict=True))
    return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)


def test_the_front_is_what_nobody_dominates() -> None:
    rng = random.Random(3)
    population = population_of(*((rng.randrange(6) / 6, rng.randrange(6) / 6, rng.randrange(6) / 6) for _ in range(60)))
    expected = [a.index for a in population if not any(dominates(b, a) for b in population)]
    assert [i.index for i in selection.pareto_front(population)] == expected
    assert selection.pareto_front([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_minimized_and_maximized_objectives_make_one_front(seed: int) -> None:
    population = mixed_population(60, seed)
    expected = [a.index for a in population if not any(dominates_mixed(b, a) for b in population)]
    assert len(expected) < 60
    assert [i.index for i in selection.pareto_front(population)] == expected
    rng = random.Random(seed)
    assert {selection.pareto_winner(population, 500, rng).index for _ in range(20)} <= set(expected)


@pytest.mark.parametrize("seed", range(5))
def test_nsga2_keeps_better_fronts_of_mixed_directions(seed: int) -> None:
    population = mixed_population(60, seed)
    rest, kept = list(population), set[int]()
    while len(kept) < 30:  # whole fronts by enumeration, but for the last
        front = [a for a in rest if not any(dominates_mixed(b, a) for b in rest)]
        kept |= {i.index for i in front}
        rest = [i for i in rest if i not in front]
    survivors = {i.index for i in selection.nsga2_survivors(population, 30)}
    assert len(survivors) == 30
    assert survivors <= kept
    assert kept - survivors <= {i.index for i in front}


def test_extras_do_not_enter_the_mean_and_win_nothing_on_average() -> None:
    fast = Individual.of(0, GENOME, {"a": 0.5, "b": 0.5}, FULL_TRAINING, {"latency": 0.1, "stability_margin": 64.0})
    good = Individual.of(1, GENOME, {"a": 0.5, "b": 0.6}, FULL_TRAINING, {"latency": 9.0, "stability_margin": 1.0})
    assert (fast.mean, good.mean) == (0.5, 0.55)
    assert selection.average_winner([fast, good], 60, random.Random(0)) is good
    assert selection.pareto_front([fast, good]) == [fast, good]


def test_the_order_in_which_extras_are_given_does_not_matter() -> None:
    first = Individual.of(0, GENOME, {"a": 0.5}, FULL_TRAINING, {"latency": 1.0, "stability_margin": 2.0})
    second = Individual.of(1, GENOME, {"a": 0.5}, FULL_TRAINING, {"stability_margin": 1.0, "latency": 2.0})
    assert selection.pareto_front([second, first]) == [first]


def test_layers_stopped_at_a_rung_have_no_extras_and_meet_their_like_only() -> None:
    stopped = [Individual.of(i, GENOME, {"a": 0.9, "b": i / 10}, 5) for i in range(3)]
    full = [Individual.of(9, GENOME, {"a": 0.1, "b": 0.1}, FULL_TRAINING, {"latency": 5.0})]
    rng = random.Random(0)
    assert {selection.pareto_winner([*stopped, *full], 60, rng).index for _ in range(20)} == {9}
    assert {selection.pareto_winner(stopped, 60, rng).index for _ in range(20)} == {2}


def test_the_average_winner_of_a_tournament_over_everyone_is_the_best_mean() -> None:
    population = population_of((0.9, 0.1), (0.6, 0.6), (0.1, 0.95))
    winners = {selection.average_winner(population, 60, random.Random(seed)).index for seed in range(10)}
    assert winners == {1}


def test_pareto_winners_are_drawn_evenly_from_the_front_and_from_nowhere_else() -> None:
    population = population_of((0.9, 0.1), (0.6, 0.6), (0.1, 0.95), (0.5, 0.5), (0.0, 0.0))
    rng = random.Random(0)
    counts = [0] * 5
    for _ in range(600):
        counts[selection.pareto_winner(population, 60, rng).index] += 1
    assert counts[3] == counts[4] == 0
    assert all(150 < count < 250 for count in counts[:3])


@pytest.mark.parametrize("size", [2, 3, 6])
def test_only_the_entrants_trained_furthest_can_win(size: int) -> None:
    """The oracle draws the same entrants from a copy of the stream and goes by the definition."""
    population = population_of(*((i % 5 / 5, i % 4 / 4) for i in range(12)))
    for individual in population[::2]:
        individual.steps = 40 if individual.index % 3 else 20
    rng, met = random.Random(2), set()
    for _ in range(200):
        for choose in (selection.average_winner, selection.pareto_winner):
            copy = random.Random()
            copy.setstate(rng.getstate())
            drawn = [copy.choice(population) for _ in range(size)]
            furthest = [i for i in drawn if i.steps == max(other.steps for other in drawn)]
            winner = choose(population, size, rng)
            assert winner in furthest
            if choose is selection.average_winner:
                assert winner.mean == max(i.mean for i in furthest)
            assert not any(dominates(other, winner) for other in furthest)
            met.add(winner.steps)
    assert met == {20, 40, FULL_TRAINING} or size == 6


def test_a_layer_stopped_early_loses_to_any_that_was_trained_to_the_end() -> None:
    population = population_of((0.9, 0.9), (0.1, 0.1), (0.8, 0.8))
    population[0].steps, population[2].steps = 60, 20
    for choose in (selection.average_winner, selection.pareto_winner):
        assert {choose(population, 60, random.Random(seed)).index for seed in range(5)} == {1}
        assert {choose([population[0], population[2]], 60, random.Random(seed)).index for seed in range(5)} == {0}


def test_a_smaller_tournament_lets_weaker_members_win_sometimes() -> None:
    population = population_of(*((i / 10, i / 10) for i in range(10)))
    rng = random.Random(0)
    winners = {selection.pareto_winner(population, 2, rng).index for _ in range(200)}
    assert 9 in winners
    assert min(winners) < 5


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_nsga2_parents_and_survivors_prefer_better_fronts(count: int) -> None:
    rng = random.Random(1)
    population = population_of(*((rng.random(), rng.random()) for _ in range(count)))
    selection.assign_crowding(population)
    assert selection.crowded_winner(population, rng) in population
    survivors = selection.nsga2_survivors(population, 10)
    assert len(survivors) == min(10, count)
    front = selection.pareto_front(population)
    if len(front) <= 10:
        assert set(front) <= set(survivors)


def test_selection_leaves_the_global_random_stream_as_it_was() -> None:
    population = population_of(*((i / 10, 1 - i / 10) for i in range(10)))
    random.seed(7)
    expected = random.random()
    random.seed(7)
    for choose in (selection.average_winner, selection.pareto_winner):
        choose(population, 3, random.Random(1))
    selection.assign_crowding(population)
    selection.crowded_winner(population, random.Random(1))
    assert random.random() == expected


def test_selection_depends_on_its_own_stream_alone() -> None:
    population = population_of(*((i / 10, 1 - i / 10) for i in range(10)))

    def draw(noise: int) -> list[int]:
        random.seed(noise)
        rng = random.Random(5)
        return [selection.pareto_winner(population, 3, rng).index for _ in range(20)]

    assert draw(1) == draw(2)


def test_tournaments_take_a_fraction_and_at_least_two() -> None:
    assert [selection.tournament_size(0.05, n) for n in (1, 20, 100, 2500)] == [2, 2, 5, 125]
