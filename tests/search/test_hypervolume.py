"""The hypervolume of a front. Oracles: areas and volumes worked out by hand, and points thrown at random."""

import numpy as np
import pytest

from evonas.graph.catalogue import CATALOGUE
from evonas.search.hypervolume import EXACT, Scale, hypervolume
from evonas.search.individual import FULL_TRAINING, Individual
from evonas.search.outcome import Evaluation, Rejection

GENOME = CATALOGUE["evonorm-s0"]


def individual(**values: float) -> Individual:
    extras = {name: value for name, value in values.items() if name in ("latency", "parameters")}
    objectives = {name: value for name, value in values.items() if name not in extras}
    return Individual.of(0, GENOME, objectives, FULL_TRAINING, extras)


def baseline(**values: float) -> Evaluation:
    found = individual(**values)
    return Evaluation(GENOME.key, 1, objectives=found.objectives, extras=found.extras)


def scale(*baselines: Evaluation) -> Scale:
    found = Scale.of(baselines)
    assert found is not None
    return found


def test_the_worst_and_the_best_baseline_are_0_and_1_in_every_objective_whichever_way_it_goes() -> None:
    found = scale(baseline(a=0.4, latency=2.0), baseline(a=0.5, latency=3.0))
    assert found.names == ("a", "latency")
    assert found.scaled({"a": 0.4, "latency": 3.0}) == pytest.approx([0, 0])
    assert found.scaled({"a": 0.5, "latency": 2.0}) == pytest.approx([1, 1])
    assert found.scaled({"a": 0.45, "latency": 1.0}) == pytest.approx([0.5, 2])


def test_two_steps_make_an_area_of_two_rectangles() -> None:
    found = scale(baseline(a=0.4, latency=2.0), baseline(a=0.5, latency=3.0))
    front = [individual(a=0.5, latency=2.5), individual(a=0.45, latency=1.0)]  # (1, 0.5) and (0.5, 2)
    assert hypervolume(front, found) == pytest.approx(1 * 0.5 + 0.5 * 1.5)
    assert hypervolume(front[:1], found) == pytest.approx(0.5)


def test_what_is_behind_the_worst_baseline_in_one_objective_counts_for_nothing() -> None:
    found = scale(baseline(a=0.4, latency=2.0), baseline(a=0.5, latency=3.0))
    assert hypervolume([individual(a=0.9, latency=3.1)], found) == 0.0
    assert hypervolume([], found) == 0.0


def test_of_one_baseline_1_is_twice_as_good() -> None:
    found = scale(baseline(a=0.4, latency=2.0))
    assert found.scaled({"a": 0.8, "latency": 0.0}) == pytest.approx([1, 1])
    assert scale(baseline(a=0.0, b=0.5)).scaled({"a": 0.25, "b": 0.5}) == pytest.approx([0.25, 0])


@pytest.mark.parametrize("size", [3, EXACT + 1])
def test_volumes_are_the_share_of_random_points_that_a_layer_dominates(size: int) -> None:
    draw = np.random.default_rng(size)
    names = [f"task{number}" for number in range(size)]
    found = scale(baseline(**dict.fromkeys(names, 0.0)), baseline(**dict.fromkeys(names, 1.0)))
    points = draw.uniform(0.3, 1, (20, size))
    front = [individual(**dict(zip(names, map(float, point), strict=True))) for point in points]
    thrown = draw.random((200_000, size))
    dominated = (thrown[:, None, :] < points[None]).all(2).any(1).mean() if size < 4 else None
    if dominated is None:
        dominated = np.mean([(row < points).all(1).any() for row in thrown])
    assert hypervolume(front, found) == pytest.approx(float(dominated), rel=0.03)


def test_nothing_is_measured_of_one_objective_or_without_a_baseline() -> None:
    assert Scale.of([baseline(a=0.4)]) is None
    assert Scale.of([]) is None
    assert Scale.of([Evaluation(GENOME.key, 1, rejection=Rejection("quality", "accuracy too low"))]) is None
