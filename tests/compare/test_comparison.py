"""Oracles: ranks, means and differences worked out by hand, and numbers read back from the texts."""

import json
import re
from collections.abc import Mapping

import pytest

from evonas.compare.comparison import Comparison, Contender, compare, failure_text
from evonas.compare.report import comparison_report, draw_comparison, interval_text
from evonas.compare.trials import TrialResults
from evonas.graph.catalogue import CATALOGUE
from evonas.report.statistics import Interval
from evonas.search.outcome import Evaluation, Rejection

TASKS, SEEDS = ("resnet", "mobile"), (2, 3)
DIVERGED = Rejection("training", "diverged", "mobile", 40.0)
BASE = {("resnet", 2): 0.5, ("resnet", 3): 0.6, ("mobile", 2): 0.3, ("mobile", 3): 0.2}
NAMES = {"bn-relu": "bn-relu", "good": "evonorm-s0", "poor": "gn-relu", "lucky": "frn-tlu"}


def evaluations(name: str, scores: Mapping[tuple[str, int], float | None]) -> dict[tuple[str, int], Evaluation]:
    key = CATALOGUE[NAMES[name]].key
    return {
        (task, seed): Evaluation(key, seed, rejection=DIVERGED)
        if value is None
        else Evaluation(key, seed, objectives={task: value})
        for (task, seed), value in scores.items()
    }


@pytest.fixture
def scored() -> TrialResults:
    scores: dict[str, dict[tuple[str, int], float | None]] = {
        "poor": {cell: value - 0.1 for cell, value in BASE.items()},
        "bn-relu": dict(BASE),
        "lucky": {**{cell: value + 0.3 for cell, value in BASE.items()}, ("mobile", 3): None},
        "good": {**{cell: value + 0.1 for cell, value in BASE.items()}, ("resnet", 3): 0.9},
    }
    return {CATALOGUE[NAMES[name]].key: evaluations(name, cells) for name, cells in scores.items()}


@pytest.fixture
def comparison(scored: TrialResults) -> Comparison:
    contenders = [Contender(name, CATALOGUE[NAMES[name]], baseline=name == "bn-relu") for name in NAMES]
    return compare(contenders, TASKS, SEEDS, scored)


def test_layers_are_ranked_by_mean_and_failed_ones_last(comparison: Comparison) -> None:
    order = [(s.contender.name, s.rank) for s in comparison.standings]
    assert order == [("good", 1), ("bn-relu", 0), ("poor", 2), ("lucky", 3)]
    assert comparison.baselines == ("bn-relu",)


def test_a_margin_ranks_by_the_network_that_suits_a_layer_least(scored: TrialResults) -> None:
    contenders = [Contender(name, CATALOGUE[NAMES[name]], baseline=name == "bn-relu") for name in NAMES]
    cells = {("resnet", 2): 0.9, ("resnet", 3): 0.9, ("mobile", 2): 0.2, ("mobile", 3): 0.1}  # +35 and -10 points
    results = {**scored, CATALOGUE[NAMES["good"]].key: evaluations("good", cells)}
    results[CATALOGUE[NAMES["poor"]].key] = evaluations("poor", {c: v - 0.01 for c, v in BASE.items()})
    found = [compare(contenders, TASKS, SEEDS, results, margin).standings for margin in (None, "bn-relu")]
    names = [[s.contender.name for s in standings if not s.failures] for standings in found]
    assert names == [["good", "bn-relu", "poor"], ["bn-relu", "poor", "good"]]


def test_means_and_differences_are_those_of_the_cells(comparison: Comparison) -> None:
    good = comparison.standings[0]
    assert good.mean is not None
    assert good.mean.mean == pytest.approx((0.6 + 0.9 + 0.4 + 0.3) / 4)
    assert good.tasks["resnet"].mean == pytest.approx(0.75)
    difference = good.differences["bn-relu"]
    assert difference.over_seeds is not None
    assert difference.over_seeds.mean == pytest.approx((0.1 + 0.2) / 2)
    assert difference.tasks["resnet"].mean == pytest.approx(0.2)
    assert comparison.standings[1].differences == {}


def test_a_failed_trial_is_a_marked_cell_and_leaves_the_others(comparison: Comparison) -> None:
    lucky = comparison.standings[3]
    assert lucky.failures == {("mobile", 3): DIVERGED}
    assert lucky.mean is not None
    assert (lucky.mean.count, lucky.tasks["resnet"].count, lucky.tasks["mobile"].count) == (1, 2, 1)
    text = comparison_report("c", comparison, {}).markdown()
    assert "0.6000 (1 failed)" in text
    assert "training: diverged after 40 steps" in text


def test_markdown_holds_every_score(comparison: Comparison) -> None:
    trials = comparison_report("c", comparison, {}).markdown().partition("All trials.")[2]
    rows = [re.findall(r"\d\.\d{4}", line) for line in trials.splitlines() if line.startswith("| good")]
    assert rows == [["0.6000", "0.9000"], ["0.4000", "0.3000"]]


def test_json_holds_every_score_failure_and_difference(comparison: Comparison) -> None:
    data = json.loads(json.dumps(comparison.as_json()))
    assert (data["tasks"], data["seeds"]) == (list(TASKS), list(SEEDS))
    good, _, _, lucky = data["layers"]
    assert good["scores"] == {"resnet": {"2": 0.6, "3": 0.9}, "mobile": {"2": 0.4, "3": pytest.approx(0.3)}}
    assert good["differences"]["bn-relu"]["over_seeds"]["count"] == 2
    assert lucky["failures"]["mobile"]["3"]["reason"] == "diverged"
    assert lucky["differences"]["bn-relu"]["over_seeds"]["low"] is None  # one seed has all tasks


def test_a_layer_without_any_score_is_last_and_has_no_mean() -> None:
    key, none = CATALOGUE["gn-relu"].key, dict.fromkeys(BASE)
    results = {key: evaluations("poor", none), CATALOGUE["bn-relu"].key: evaluations("bn-relu", BASE)}
    contenders = [Contender("poor", CATALOGUE["gn-relu"]), Contender("bn-relu", CATALOGUE["bn-relu"], baseline=True)]
    last = (found := compare(contenders, TASKS, SEEDS, results)).standings[-1]
    assert (last.contender.name, last.mean, last.tasks) == ("poor", None, {})
    assert last.differences["bn-relu"].over_seeds is None
    texts = {text.get_text() for axes in draw_comparison(found).axes for text in axes.texts}
    assert texts == {"4 of 4 trials failed"}


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(0.0293, 0.014, 0.045, 3), "+2.93 [+1.40, +4.50]"),
        (Interval(-1e-9, -0.01, 0.01, 3), "+0.00 [-1.00, +1.00]"),
        (Interval(0.01, None, None, 1), "+1.00"),
        (None, "-"),
    ],
)
def test_intervals_are_written_in_points(interval: Interval | None, text: str) -> None:
    assert interval_text(interval) == text


def test_failures_are_written_with_their_detail() -> None:
    assert failure_text(Rejection("execution", "error", detail="out of range")) == "execution: error (out of range)"


def test_the_picture_shows_each_layer_against_each_baseline(comparison: Comparison) -> None:
    (panel,) = draw_comparison(comparison, highlighted=["good"]).axes
    labels = [tick.get_text() for tick in panel.get_yticklabels()]
    shown = [NAMES[name] for name in ("good", "bn-relu", "poor", "lucky")]  # as the catalogue calls them
    assert [label.split("  ")[0] for label in labels] == shown
    (good,) = [line for line in panel.lines if line.get_xydata()[:, 1].tolist() == [0, 0]]  # type: ignore[index]
    found = comparison.standings[0].differences["bn-relu"].over_seeds
    assert found is not None
    assert good.get_xdata() == pytest.approx([100 * (found.low or 0), 100 * (found.high or 0)])


def test_a_baseline_that_was_asked_for_as_a_layer_is_ranked_among_them(scored: TrialResults) -> None:
    contenders = [
        Contender(name, CATALOGUE[NAMES[name]], baseline=name in ("bn-relu", "poor"), asked_for=name == "bn-relu")
        for name in NAMES
    ]
    found = compare(contenders, TASKS, SEEDS, scored)
    assert [(s.contender.name, s.rank) for s in found.standings] == [
        ("good", 1),
        ("bn-relu", 2),
        ("poor", 0),
        ("lucky", 3),
    ]
    assert found.baselines == ("bn-relu", "poor")


def test_without_a_baseline_there_are_scores_and_no_differences(scored: TrialResults) -> None:
    found = compare([Contender(name, CATALOGUE[NAMES[name]]) for name in NAMES], TASKS, SEEDS, scored)
    assert [standing.rank for standing in found.standings] == [1, 2, 3, 4]
    assert found.baselines == ()
    assert all(standing.differences == {} for standing in found.standings)
    text = comparison_report("c", found, {}).markdown()
    assert "All trials." in text
    assert "differences" not in text
