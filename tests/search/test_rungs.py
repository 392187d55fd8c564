"""Rungs against asynchronous successive halving by definition: count how many of the latest results are better.

A layer at a rung goes on unless as many results as may be kept are better than its own, and is tried on further tasks
unless all that may be kept are better on one it was tried on. Scores against numpy's product of probabilities.
"""

import math
import random
from fractions import Fraction

import numpy as np
import pytest

from evonas.config import RungsConfig
from evonas.search.outcome import Evaluation, Rejection
from evonas.search.rungs import Hurdle, Ladder, furthest, likelihood, scores_at

REFERENCE = Evaluation(
    "reference", 1, objectives={"a": 0.9, "b": 0.5}, rungs={"a": ((10, 0.5), (20, 0.75)), "b": ((10, 0.25), (20, 0.4))}
)


def reached(*scores: tuple[float, float]) -> Evaluation:
    """A layer stopped after the rungs at which it has these scores on tasks a and b."""
    rungs = {
        task: tuple((10 * (i + 1), pair[number]) for i, pair in enumerate(scores)) for number, task in enumerate("ab")
    }
    return Evaluation("k", 1, rejection=Rejection("rungs", "test"), rungs=rungs)


EXACT = Evaluation(  # powers of two: ratios and means are exact, so ties are ties
    "exact", 1, objectives={"a": 1.0, "b": 1.0}, rungs={"a": ((10, 0.5), (20, 0.25)), "b": ((10, 0.25), (20, 1.0))}
)
Result = dict[str, float]  # ratios per task; empty for a layer that did not get through all tasks


def ended(scores: list[dict[str, float]]) -> Evaluation:
    """A layer that ended somewhere, with these scores at the rungs it came to."""
    rungs = {
        task: tuple((10 * (i + 1), found[task]) for i, found in enumerate(scores) if task in found) for task in "ab"
    }
    rungs = {task: points for task, points in rungs.items() if points}
    return Evaluation("k", 1, rejection=Rejection("test", "test"), rungs=rungs)


def mean(result: Result) -> float:
    return sum(result.values()) / len(result) if result else -1.0


def goes_on(result: Result, earlier: list[Result], reduction: Fraction) -> bool:
    """Successive halving by definition."""
    kept, own = len(earlier) // reduction, mean(result)
    return kept == 0 or sum(mean(other) > own for other in earlier) < kept


def floor(task: str, earlier: list[Result], reduction: Fraction) -> float:
    """The least ratio among those that may be kept; of equally good ones the earlier are. 0 if they are too few.

    Fewer than 5 say too little.
    """
    kept, means = len(earlier) // reduction, [mean(result) for result in earlier]
    best = [
        result
        for place, result in enumerate(earlier)
        if result and sum(m > means[place] for m in means) + means[:place].count(means[place]) < kept
    ]
    return min(result[task] for result in best) if len(best) >= max(kept, 5) else 0.0


@pytest.mark.parametrize(("reduction", "window"), [(2.0, 200), (4.0, 200), (4.0, 9), (1.5, 30), (3.0, 3), (5.0, 4)])
def test_a_ladder_is_successive_halving_over_the_latest_results(reduction: float, window: int) -> None:
    """Layers are stopped on a task, behind the last task, or fail by themselves: a failure is a result, too."""
    rng, exactly = random.Random(7), Fraction(reduction)
    ladder = Ladder(RungsConfig(steps=(10, 20), reduction=reduction, window=window), EXACT)
    earlier: list[list[Result]] = [[], []]
    decisions = set()
    for _ in range(200):
        fails = (rng.randrange(2), rng.choice("ab")) if rng.random() < 0.2 else None
        scores: list[dict[str, float]] = []
        for rung, hurdle in enumerate(ladder.hurdles()):
            past, ratios, going = earlier[rung][-window:], Result(), True
            scores.append({})
            for task in "ab":
                if fails == (rung, task):
                    going = False
                    break
                scores[rung][task] = score = rng.randrange(1, 9) / 8  # many ties
                ratios[task] = score / scores_at(EXACT, hurdle.steps)[task]
                least = floor(task, past, exactly)
                going = ratios[task] >= least
                behind = Rejection("rungs", f"behind at step {hurdle.steps}", task, ratios[task], least)
                assert hurdle.stopped_on(task, score) == (None if going else behind)
                decisions.add((rung, task, going))
                if not going:
                    break
            if going:
                going = goes_on(ratios, past, exactly)
                assert (hurdle.stopped(scores[rung]) is None) == going
                decisions.add((rung, "", going))
            if not going:
                break
        ladder.tell(ended(scores))
        for rung, found in enumerate(scores):
            if found or rung == 0:  # a layer that failed before its first score at a later rung did not come there
                wanted = scores_at(EXACT, 10 * (rung + 1))
                earlier[rung].append({task: found[task] / wanted[task] for task in found if len(found) == 2})
    possible = {(rung, task, True) for rung in (0, 1) for task in ("a", "b", "")}
    if reduction <= window:
        possible |= {(rung, "", False) for rung in (0, 1)}
    on_tasks = {(rung, task, False) for rung in (0, 1) for task in ("a", "b")} if 5 * reduction <= window else set()
    assert possible <= decisions <= possible | on_tasks
    if reduction > 2 and on_tasks:  # of the better half one has the lowest score there is on a task
        assert decisions & on_tasks
    assert earlier[0].count({}) > 10


def test_the_score_is_the_geometric_mean_probability_of_the_labels_over_the_latest_steps() -> None:
    rng = np.random.default_rng(0)
    for steps, latest in ((1, 1), (2, 2), (9, 9), (10, 10), (11, 10), (39, 10), (43, 10), (44, 11), (100, 25)):
        probabilities = rng.uniform(0.01, 1, steps)
        found = likelihood([float(loss) for loss in -np.log(probabilities)])
        assert found == pytest.approx(np.prod(probabilities[-latest:]) ** (1 / latest), rel=1e-12)


def test_nobody_is_stopped_before_there_are_as_many_results_as_the_reduction() -> None:
    ladder = Ladder(RungsConfig(steps=(10,), reduction=4.0), REFERENCE)
    for count in range(8):
        (hurdle,) = ladder.hurdles()
        stopped = hurdle.stopped({"a": 0.0, "b": 0.0})
        assert (stopped is None) == (count < 4)
        assert hurdle.stopped_on("a", 0.0) is None
        ladder.tell(reached((0.1 * (count + 1), 0.05 * (count + 1))))
    assert hurdle.threshold == pytest.approx(0.2 * 7)  # of seven results the best one


def test_results_leave_the_window_in_the_order_they_came() -> None:
    ladder = Ladder(RungsConfig(steps=(10,), reduction=2.0, window=2), REFERENCE)
    limits = []
    for score in (0.5, 0.25, 0.125, 0.0625):
        ladder.tell(reached((score, score / 2)))
        (hurdle,) = ladder.hurdles()
        limits.append(hurdle.threshold)
    assert limits == [0.0, 1.0, 0.5, 0.25]


def test_scores_are_compared_with_the_reference_at_equal_steps_task_by_task() -> None:
    hurdles = Ladder(RungsConfig(steps=(10, 20)), REFERENCE).hurdles()
    assert [h.steps for h in hurdles] == [10, 20]
    assert hurdles[0].relative({"a": 0.5, "b": 0.25}) == 1.0
    assert hurdles[1].relative({"a": 0.75, "b": 0.4}) == 1.0
    assert hurdles[0].relative({"a": 0.25, "b": 0.5}) == pytest.approx((0.5 + 2) / 2)
    assert hurdles[1].relative({"a": 0.75 / 2, "b": 0.8}) == pytest.approx((0.5 + 2) / 2)


def test_a_layer_that_is_stopped_says_where_and_by_how_much() -> None:
    hurdle = Hurdle(20, {"a": 0.5, "b": 0.5}, 1.2)
    assert hurdle.stopped({"a": 0.5, "b": 0.5}) == Rejection("rungs", "behind at step 20", measured=1.0, limit=1.2)
    assert hurdle.stopped({"a": 0.6, "b": 0.6}) is None  # as good as the threshold is good enough
    hurdle = Hurdle(20, {"a": 0.5, "b": 0.5}, 1.2, {"b": 0.5})
    assert hurdle.stopped_on("b", 0.125) == Rejection("rungs", "behind at step 20", "b", 0.25, 0.5)
    assert hurdle.stopped_on("b", 0.25) is None
    assert hurdle.stopped_on("a", 0.0) is None  # no floor


def test_a_floor_is_the_least_ratio_on_a_task_among_those_that_went_on() -> None:
    ladder = Ladder(RungsConfig(steps=(10,), reduction=2.0), EXACT)
    pairs = [(0.5, 0.5), (1.0, 0.125), (0.25, 0.0625), (0.125, 0.5), (0.0625, 0.0625), (0.5, 0.0)]
    for pair in pairs:  # ratios (1, 2), (2, 0.5), (0.5, 0.25), (0.25, 2), (0.125, 0.25), (1, 0)
        ladder.tell(reached(pair))
    (hurdle,) = ladder.hurdles()
    assert (hurdle.threshold, hurdle.floors) == (1.125, {})  # three that went on say little
    for pair in ((1.0, 0.25), (0.5, 0.25), (0.0, 0.0), (0.0, 0.0)):  # ratios (2, 1), (1, 1)
        ladder.tell(reached(pair))
    (hurdle,) = ladder.hurdles()
    assert (hurdle.threshold, hurdle.floors) == (1.0, {"a": 0.25, "b": 0.5})


def test_a_reference_that_scores_nothing_stops_nobody_by_an_error() -> None:
    assert likelihood([800.0] * 10) == 0.0
    assert Hurdle(10, {"a": 0.0}, 1.0).stopped({"a": 0.1}) is None
    assert Hurdle(10, {"a": 0.0}, 1.0).stopped({"a": 0.0}) is not None
    assert Hurdle(10, {"a": 0.0}, floors={"a": 1.0}).stopped_on("a", 0.1) is None
    assert Hurdle(10, {"a": 0.0}, floors={"a": 1.0}).stopped_on("a", 0.0) is not None
    nothing = Evaluation("r", 1, objectives={"a": 0.1, "b": 0.1}, rungs=dict.fromkeys("ab", ((10, 0.0),)))
    ladder = Ladder(RungsConfig(steps=(10,), reduction=2.0), nothing)
    for _ in range(4):
        ladder.tell(reached((1.0, 1.0)))
    (hurdle,) = ladder.hurdles()
    assert all(math.isfinite(limit) for limit in (hurdle.threshold, *hurdle.floors.values()))


def test_the_order_in_which_tasks_were_recorded_changes_no_bit() -> None:
    rng, names = random.Random(1), [f"task{i}" for i in range(7)]
    for _ in range(50):
        scores = {name: rng.random() for name in names}
        references = {name: rng.random() for name in names}
        shuffled = rng.sample(names, 7)
        straight = Hurdle(10, references, 1.0).relative(scores)
        assert Hurdle(10, references, 1.0).relative({name: scores[name] for name in shuffled}) == straight
        assert Hurdle(10, {name: references[name] for name in shuffled}, 1.0).relative(scores) == straight


@pytest.mark.parametrize(
    ("loser", "counts"),
    [
        (Evaluation("k", 1, rejection=Rejection("quality", "test")), (True, False)),
        (Evaluation("k", 1, rejection=Rejection("execution", "error")), (True, False)),
        (ended([{"a": 0.9}]), (True, False)),
        (ended([{"b": 0.9}]), (True, False)),
        (ended([{"a": 0.4, "b": 0.2}]), (True, False)),  # whole at the first rung, and worse
        (ended([{"a": 0.4, "b": 0.2}, {"a": 0.9}]), (True, True)),
    ],
)
def test_a_layer_that_did_not_get_through_a_rung_it_came_to_is_a_loser_there(
    loser: Evaluation, counts: tuple[bool, bool]
) -> None:
    """Losers count among the results of which the best go on, at the first rung always, and are never among these."""
    ladder = Ladder(RungsConfig(steps=(10, 20), reduction=4.0), REFERENCE)
    ladder.tell(reached((0.5, 0.25), (0.75, 0.4)))
    for told in range(4):
        for hurdle, counted in zip(ladder.hurdles(), counts, strict=True):
            stands = counted and told == 3
            assert hurdle.threshold == pytest.approx(1.0 if stands else 0.0)
            assert hurdle.floors == {}  # one layer gives none
        ladder.tell(loser)


def test_while_fewer_whole_results_than_may_be_kept_are_there_anything_passes() -> None:
    ladder = Ladder(RungsConfig(steps=(10,), reduction=2.0), REFERENCE)
    for _ in range(4):
        ladder.tell(ended([{"a": 0.5}]))
    for whole in range(4):
        (hurdle,) = ladder.hurdles()
        passes = whole < (4 + whole) // 2  # 0 of 2, 1 of 2, 2 of 3, 3 of 3
        assert (hurdle.stopped({"a": 0.0, "b": 0.0}) is None) == passes
        ladder.tell(reached((0.5, 0.25)))
    assert not passes


def test_without_rungs_or_a_reference_there_are_no_hurdles() -> None:
    assert Ladder(RungsConfig(), REFERENCE).hurdles() == ()
    assert Ladder(RungsConfig(steps=(10,)), None).hurdles() == ()


def test_the_furthest_rung_is_the_last_that_every_task_reached() -> None:
    both = reached((0.1, 0.2), (0.3, 0.4))
    assert furthest(both) == 20
    assert scores_at(both, 20) == {"a": 0.3, "b": 0.4}
    uneven = Evaluation("k", 1, rejection=Rejection("x", "y"), rungs={"a": ((10, 0.1), (20, 0.2)), "b": ((10, 0.3),)})
    assert furthest(uneven) == 10
    assert scores_at(uneven, 20) == {"a": 0.2}
    assert furthest(Evaluation("k", 1, rejection=Rejection("x", "y"))) == 0
    assert scores_at(None, 10) == {}


EXACT_AT_10 = scores_at(EXACT, 10)


def test_a_layer_far_behind_the_reference_never_goes_on() -> None:
    ladder = Ladder(RungsConfig(steps=(10,), reduction=2.0, least=0.75), EXACT)
    (hurdle,) = ladder.hurdles()
    assert (hurdle.threshold, hurdle.floors) == (0.75, {})
    for ratio in (0.5, 1.0, 0.5, 1.0):
        ladder.tell(reached((EXACT_AT_10["a"] * ratio, EXACT_AT_10["b"] * ratio)))
        thresholds = ladder.hurdles()[0].threshold
    assert thresholds == 1.0
    for _ in range(8):
        ladder.tell(reached((EXACT_AT_10["a"] / 4, EXACT_AT_10["b"] / 4)))
    assert ladder.hurdles()[0].threshold == 0.75


def test_each_rung_may_have_a_reduction_of_its_own() -> None:
    both = Ladder(RungsConfig(steps=(10, 20), reductions=(2.0, 5.0), window=50), REFERENCE)
    alone = [Ladder(RungsConfig(steps=(10, 20), reduction=r, window=50), REFERENCE) for r in (2.0, 5.0)]
    rng = random.Random(3)
    for _ in range(60):
        rungs = {task: ((10, rng.random()), (20, rng.random())) for task in ("a", "b")}
        evaluation = Evaluation("k", 1, objectives={"a": 0.5}, rungs=rungs)
        for ladder in (both, *alone):
            ladder.tell(evaluation)
    assert both.hurdles() == (alone[0].hurdles()[0], alone[1].hurdles()[1])
