"""Oracles: scipy's paired t test, numpy's mean and deviation, and differences worked out by hand."""

import numpy as np
import pytest
from scipy import stats

from evonas.report.statistics import Interval, mean_over_tasks, paired_difference, summary, t_interval

TASKS = ("resnet", "mobile", "dense")
SEEDS = (2, 3, 4, 5)


def drawn(seed: int) -> dict[tuple[str, int], float]:
    rng = np.random.default_rng(seed)
    return {(task, number): float(rng.normal(0.5, 0.1)) for task in TASKS for number in SEEDS}


def expected(first: list[float], second: list[float]) -> Interval:
    bounds = stats.ttest_rel(first, second).confidence_interval(0.95)
    return Interval(float(np.mean(first) - np.mean(second)), float(bounds.low), float(bounds.high), len(first))


def assert_same(found: Interval | None, wanted: Interval) -> None:
    assert found is not None
    assert found.count == wanted.count
    assert (found.mean, found.low, found.high) == pytest.approx((wanted.mean, wanted.low, wanted.high), abs=1e-12)


def test_intervals_are_those_of_the_paired_t_test() -> None:
    ours, theirs = drawn(0), drawn(1)
    found = paired_difference(ours, theirs, TASKS)
    means = [[float(np.mean([s[t, n] for t in TASKS])) for n in SEEDS] for s in (ours, theirs)]
    assert_same(found.over_seeds, expected(*means))
    assert_same(found.over_pairs, expected(list(ours.values()), list(theirs.values())))
    for task in TASKS:
        assert_same(found.tasks[task], expected(*([s[task, n] for n in SEEDS] for s in (ours, theirs))))


def test_what_a_seed_does_to_both_layers_cancels() -> None:
    theirs = {(task, seed): 0.1 * seed for task in TASKS for seed in SEEDS}
    ours = {cell: value + 0.01 for cell, value in theirs.items()}
    found = paired_difference(ours, theirs, TASKS)
    assert_same(found.over_seeds, Interval(0.01, 0.01, 0.01, 4))
    assert summary(list(ours.values())).std > 0.1  # type: ignore[operator]


def test_a_difference_between_tasks_widens_the_interval_over_pairs_alone() -> None:
    theirs = dict.fromkeys(((task, seed) for task in TASKS for seed in SEEDS), 0.0)
    ours = {(task, seed): float(TASKS.index(task)) for task, seed in theirs}
    found = paired_difference(ours, theirs, TASKS)
    assert_same(found.over_seeds, Interval(1.0, 1.0, 1.0, 4))
    assert found.over_pairs is not None
    assert found.over_pairs.low is not None
    assert found.over_pairs.low < 0.5


def test_a_missing_cell_takes_its_seed_out_of_the_mean_over_tasks_and_nothing_else() -> None:
    ours, theirs = drawn(0), drawn(1)
    del ours["mobile", 3]
    found = paired_difference(ours, theirs, TASKS)
    assert found.over_seeds is not None
    assert found.over_pairs is not None
    counts = (found.over_seeds.count, found.over_pairs.count, found.tasks["mobile"].count, found.tasks["dense"].count)
    assert counts == (3, 11, 3, 4)
    assert list(mean_over_tasks(ours, TASKS)) == [2, 4, 5]


def test_layers_without_a_common_cell_have_no_difference() -> None:
    found = paired_difference({("resnet", 2): 0.5}, {("resnet", 3): 0.5}, TASKS)
    assert (found.over_seeds, found.over_pairs, found.tasks) == (None, None, {})


def test_one_number_has_a_mean_and_no_spread() -> None:
    assert t_interval([0.25]) == Interval(0.25, None, None, 1)
    assert summary([0.25]).std is None
    assert t_interval([0.25]).sign == 0


@pytest.mark.parametrize(("values", "sign"), [([0.9, 1.0, 1.1], 1), ([-0.9, -1.0, -1.1], -1), ([-1.0, 1.5], 0)])
def test_the_sign_is_told_by_an_interval_on_one_side_of_zero(values: list[float], sign: int) -> None:
    assert t_interval(values).sign == sign


def test_summary_is_numpys_with_one_degree_of_freedom_less() -> None:
    values = list(drawn(3).values())
    found = summary(values)
    assert (found.mean, found.std) == pytest.approx((np.mean(values), np.std(values, ddof=1)), abs=1e-12)
