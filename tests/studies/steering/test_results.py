"""Oracles: matched costs worked out by hand and by numpy's interpolation, means by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from evonas.runs.store import Outcome
from evonas.studies.steering.method_settings import FitConfig
from evonas.studies.steering.report import draw_strengths, draw_support, draw_trade, method_table, steering_report
from evonas.studies.steering.results import (
    AtPerplexityCost,
    StrengthPoint,
    at_rise,
    label_of,
    method_curves,
    steering_json,
)
from evonas.studies.steering.study import MapFit, SteeringCell, SteeringJob, SteeringMeasurement


def curve(*points: tuple[float, float, float]) -> tuple[StrengthPoint, ...]:
    return tuple(StrengthPoint(*point) for point in points)


RISING = curve((0, 0.8, 10.0), (0.5, 0.6, 10.4), (1.0, 0.2, 11.6), (2.0, 0.1, 20.0))


@pytest.mark.parametrize("rise", [0.01, 0.04, 0.1, 0.16, 0.5])
def test_a_cost_that_rises_is_met_by_interpolation(rise: float) -> None:
    costs = [point.cost for point in RISING]
    found = at_rise(RISING, rise)
    for key in ("strength", "score"):
        wanted = np.interp(10 * (1 + rise), costs, [getattr(point, key) for point in RISING])
        assert getattr(found, key) == pytest.approx(wanted)
    assert found.reached


def test_by_hand() -> None:
    # 10 % above 10 is 11, half the way from 10.4 to 11.6
    assert at_rise(RISING, 0.1) == AtPerplexityCost(pytest.approx(0.75), pytest.approx(0.4), True)


def test_a_cost_that_never_rises_so_far_is_read_at_the_largest_strength() -> None:
    assert at_rise(RISING, 1.5) == AtPerplexityCost(2.0, 0.1, False)
    assert at_rise(curve((0, 0.5, 7.0)), 0.1) == AtPerplexityCost(0, 0.5, False)


def test_the_first_crossing_counts_even_if_the_cost_falls_again() -> None:
    falling = curve((0, 1.0, 10.0), (1, 0.5, 12.0), (2, 0.0, 10.5))
    assert at_rise(falling, 0.1) == AtPerplexityCost(pytest.approx(0.5), pytest.approx(0.75), True)


def test_a_cost_that_jumps_beyond_numbers_is_read_before_the_jump() -> None:
    assert at_rise(curve((0, 0.9, 10.0), (1, 0.5, 10.2), (2, 0.0, math.inf)), 0.1) == AtPerplexityCost(1, 0.5, True)


def outcomes_of(
    scores: dict[tuple[float, float, int], tuple[float, float | None]],
) -> tuple[dict[SteeringCell, SteeringMeasurement], dict[SteeringJob, Outcome]]:
    """Of (sparsity, strength, seed) to (score, cost)."""
    pieces: dict[SteeringCell, SteeringMeasurement] = {}
    outcomes: dict[SteeringJob, Outcome] = {}
    for (sparsity, strength, seed), (score, cost) in scores.items():
        maps = MapFit(fitting="f", task="t", fit=FitConfig(), sparsity=sparsity, seed=seed) if strength else None
        piece = SteeringMeasurement(maps=maps, measuring="m", task="t", strength=strength, seed=seed)
        method = "lineas" if strength else "none"
        pieces[SteeringCell(task="t", method=method, sparsity=sparsity, strength=strength, seed=seed)] = piece
        outcomes[piece] = Outcome({"score": score, "cost": cost})
        if maps is not None:
            outcomes[maps] = Outcome({"share": 0.5 if sparsity else 1.0, "sites": 1, "losses": []})
    return pieces, outcomes


def test_variants_are_told_apart_by_what_makes_them_sparse() -> None:
    assert label_of("lineas", 0.0, 1.0) == "lineas"
    assert label_of("lineas", 0.5, 0.01) == "lineas, gamma 0.5 1 %"


def test_groups_pair_each_seed_with_its_untouched_model() -> None:
    pieces, outcomes = outcomes_of(
        {
            **{(0.0, 0.0, seed): (0.8, 10.0 * seed) for seed in (1, 2)},
            **{(0.0, 1.0, seed): (0.2 * seed, 12.0 * seed) for seed in (1, 2)},
            **{(0.1, 1.0, seed): (0.6, 10.0 * seed) for seed in (1, 2)},
        }
    )
    none, dense, sparse = method_curves(pieces, outcomes)
    assert (none.method, dense.label, sparse.label) == ("none", "lineas", "lineas, gamma 0.1")
    score, rise = dense.over_seeds(1.0) or (None, None)
    assert score is not None
    assert rise is not None
    assert (score.mean, score.std) == (pytest.approx(0.3), pytest.approx(0.2 / math.sqrt(2)))
    assert (rise.mean, rise.std) == (pytest.approx(0.2), pytest.approx(0, abs=1e-9))
    # half the rise is half the strength
    assert dense.at_rise(0.1) == {
        1: AtPerplexityCost(pytest.approx(0.5), pytest.approx(0.5), True),
        2: AtPerplexityCost(pytest.approx(0.5), pytest.approx(0.6), True),
    }
    assert [cells[3:] for cells in method_table([none, dense, sparse], [0.1]).cells()] == [
        ["-", "0.8000 ±0.0000", "15.0000 ±7.0711", "-"],
        ["100.0 %", "0.3000 ±0.1414", "+20.0 %", "0.5500 ±0.0707 (0.50)"],
        ["50.0 %", "0.6000 ±0.0000", "+0.0 %", "0.6000 ±0.0000 (>=1.00)"],
    ]
    found = json.loads(json.dumps(steering_json([none, dense, sparse], [0.1])))
    assert found["groups"][1]["at_rise"]["0.1"]["score"]["mean"] == pytest.approx(0.55)
    assert draw_support([none, dense, sparse], [0.1]) is not None
    assert draw_support([none, dense], [0.1]) is None
    variants = [replace(sparse, sparsity=0.1 * number) for number in range(1, 11)]
    for several, drawn in (([dense, sparse], [dense.label, sparse.label]), ([dense, *variants], [dense.label])):
        for figure in (
            draw_trade([none, *several], [0.1]),
            draw_strengths([none, *several], "score"),
        ):
            (legend,) = figure.legends  # of too many variants the first is drawn
            assert [text.get_text() for text in legend.get_texts()] == drawn


def test_a_seed_with_a_failure_is_told_and_left_out() -> None:
    pieces, outcomes = outcomes_of({(0.0, strength, seed): (0.5, 10.0) for seed in (1, 2) for strength in (0.0, 1.0)})
    broken = next(p for cell, p in pieces.items() if cell.seed == 2 and cell.strength)
    outcomes[broken] = Outcome(None, "worker died")
    none, group = method_curves(pieces, outcomes)
    assert list(none.curves) == [1, 2]
    assert list(group.curves) == [1]
    assert group.failures == {2: "worker died"}
    assert "lineas, seed 2: worker died" in steering_report("name", [0.1], pieces, outcomes, {}).markdown()


def test_a_cost_beyond_numbers_is_null_and_has_no_mean() -> None:
    pieces, outcomes = outcomes_of({(0.0, 0.0, 1): (0.5, 10.0), (0.0, 1.0, 1): (0.0, None)})
    _, group = method_curves(pieces, outcomes)
    assert group.over_seeds(1.0) is None
    assert steering_json([group], [0.1])["groups"][0]["curves"][1][1]["cost"] is None
    assert method_table([group], [0.1]).cells()[0][4:] == ["-", "-", "0.5000 (0.00)"]
