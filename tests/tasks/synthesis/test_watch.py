"""Oracle: sequences of distances whose course is plain."""

import math
from collections.abc import Sequence

from torch import nn

from evonas.tasks.synthesis.distance import Quality
from evonas.tasks.synthesis.watch import PATIENCE, Watch


def watched(distances: Sequence[float], losses: Sequence[float] = ()) -> tuple[Watch, list[nn.Module]]:
    watch, generators = Watch(), [nn.Identity() for _ in distances]
    for number, distance in enumerate(distances):
        loss = losses[number] if losses else 1.0
        watch.see(10 * (number + 1), Quality(distance, 1.0, 5, 5), generators[number], loss)
    return watch, generators


def test_a_distance_that_rises_in_several_evaluations_in_a_row_is_a_collapse() -> None:
    assert PATIENCE == 3
    watch, _ = watched([900, 500, 600, 700, 800, 400])
    assert watch.collapsed == 50  # the third rise; a later recovery does not undo it


def test_a_falling_distance_is_no_collapse() -> None:
    assert watched([900, 800, 700, 600, 500, 400])[0].collapsed is None


def test_a_rise_that_is_interrupted_is_no_collapse() -> None:
    assert watched([500, 600, 700, 650, 750, 850, 800])[0].collapsed is None


def test_a_small_rise_is_noise() -> None:
    assert watched([500, 501, 502, 503, 504, 505])[0].collapsed is None


def test_a_discriminator_without_loss_is_a_collapse() -> None:
    assert watched([900, 800, 700], [1.5, 0.005, 1.5])[0].collapsed == 20
    assert watched([900, 800, 700], [1.5, math.nan, 0.3])[0].collapsed is None


def test_the_generator_at_the_lowest_distance_is_kept() -> None:
    watch, generators = watched([900, 500, 700, 500, 800])
    assert watch.best is not None
    quality, generator = watch.best
    assert quality.distance == 500
    assert generator is generators[1]  # the first of several
    assert [step for step, _ in watch.evaluations] == [10, 20, 30, 40, 50]


def test_a_distance_without_bounds_is_never_the_best_one_again() -> None:
    watch, generators = watched([math.inf, 800, math.inf])
    assert watch.best is not None
    assert watch.best[1] is generators[1]
