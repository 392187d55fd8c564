"""Rungs against asynchronous successive halving by definition: count how many of the latest results are better.

A layer at a rung goes on unless as many results as may be kept are better than its own.
"""

import random
from fractions import Fraction

import pytest

from evonas.config import RungsConfig
from evonas.evaluate.rungs import Hurdle, Ladder, furthest, scores_at
from evonas.record.outcome import Evaluation, Rejection

REFERENCE = Evaluation(
    "reference", 1, objectives={"a": 0.9, "b": 0.5}, rungs={"a": ((10, 0.5), (20, 0.75)), "b": ((10, 0.25), (20, 0.4))}
)


def reached(*scores: tuple[float, float]) -> Evaluation:
    """A layer stopped after the rungs at which it has these scores on tasks a and b."""
    rungs = {
        task: tuple((10 * (i + 1), pair[number]) for i, pair in enumerate(scores)) for number, task in enumerate("ab")
    }
    return Evaluation("k", 1, rejection=Rejection("rungs", "test"), rungs=rungs)


def goes_on(relative: Fraction, earlier: list[Fraction], reduction: Fraction) -> bool:
    """Successive halving by definition."""
    kept = len(earlier) // reduction
    return kept == 0 or sum(other > relative for other in earlier) < kept


@pytest.mark.parametrize(("reduction", "window"), [(2.0, 200), (4.0, 200), (4.0, 9), (1.5, 30), (3.0, 3), (5.0, 4)])
def test_a_ladder_is_successive_halving_over_the_latest_results(reduction: float, window: int) -> None:
    rng = random.Random(7)
    ladder = Ladder(RungsConfig(steps=(10, 20), reduction=reduction, window=window), REFERENCE)
    earlier: list[list[Fraction]] = [[], []]
    decisions = set()
    for _ in range(120):
        scores = [(rng.randrange(1, 9) / 8, rng.randrange(1, 9) / 8) for _ in range(2)]  # many ties
        verdicts = []
        for rung, (hurdle, (a, b)) in enumerate(zip(ladder.hurdles(), scores, strict=True)):
            wanted = scores_at(REFERENCE, hurdle.steps)
            relative = (Fraction(a) / Fraction(wanted["a"]) + Fraction(b) / Fraction(wanted["b"])) / 2
            expected = goes_on(relative, earlier[rung][-window:], Fraction(reduction))
            assert (hurdle.stopped({"a": a, "b": b}) is None) == expected
            verdicts.append((relative, expected))
        past = [verdicts[0]] if not verdicts[0][1] else verdicts  # a layer stopped at the first rung has no second
        ladder.tell(reached(*scores[: len(past)]))
        for rung, (relative, expected) in enumerate(past):
            earlier[rung].append(relative)
            decisions.add((rung, expected))
    possible = {(0, True), (1, True)} | ({(0, False), (1, False)} if reduction <= window else set())
    assert decisions == possible


def test_nobody_is_stopped_before_there_are_as_many_results_as_the_reduction() -> None:
    ladder = Ladder(RungsConfig(steps=(10,), reduction=4.0), REFERENCE)
    for count in range(8):
        (hurdle,) = ladder.hurdles()
        stopped = hurdle.stopped({"a": 0.0, "b": 0.0})
        assert (stopped is None) == (count < 4)
        ladder.tell(reached((0.1 * (count + 1), 0.05 * (count + 1))))
    assert hurdle.threshold == pytest.approx(0.2 * 7)  # of seven results the best one


def test_results_leave_the_window_in_the_order_they_came() -> None:
    ladder = Ladder(RungsConfig(steps=(10,), reduction=2.0, window=2), REFERENCE)
    thresholds = []
    for score in (0.5, 0.25, 0.125, 0.0625):
        ladder.tell(reached((score, score / 2)))
        thresholds.append(ladder.hurdles()[0].threshold)
    assert thresholds == [0.0, 1.0, 0.5, 0.25]


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


def test_a_reference_that_scores_nothing_stops_nobody_by_an_error() -> None:
    assert Hurdle(10, {"a": 0.0}, 1.0).stopped({"a": 0.1}) is None
    assert Hurdle(10, {"a": 0.0}, 1.0).stopped({"a": 0.0}) is not None


def test_the_order_in_which_tasks_were_recorded_changes_no_bit() -> None:
    rng, names = random.Random(1), [f"task{i}" for i in range(7)]
    for _ in range(50):
        scores = {name: rng.random() for name in names}
        references = {name: rng.random() for name in names}
        shuffled = rng.sample(names, 7)
        straight = Hurdle(10, references, 1.0).relative(scores)
        assert Hurdle(10, references, 1.0).relative({name: scores[name] for name in shuffled}) == straight
        assert Hurdle(10, {name: references[name] for name in shuffled}, 1.0).relative(scores) == straight


def test_only_layers_with_a_score_on_every_task_count_at_a_rung() -> None:
    ladder = Ladder(RungsConfig(steps=(10, 20), reduction=1.5), REFERENCE)
    halfway = Evaluation("k", 1, rejection=Rejection("training", "diverged"), rungs={"a": ((10, 0.5),)})
    for _ in range(9):
        ladder.tell(halfway)
        ladder.tell(Evaluation("k", 1, rejection=Rejection("quality", "test")))
    assert [h.threshold for h in ladder.hurdles()] == [0.0, 0.0]
    for _ in range(2):
        ladder.tell(reached((0.5, 0.25)))
    assert [h.threshold for h in ladder.hurdles()] == [1.0, 0.0]


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
