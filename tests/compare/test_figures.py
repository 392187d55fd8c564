"""What tasks report beside scores, in the report of a comparison.

Oracles: means, deviations and paired differences of numpy over dictated figures; dictated curves and pictures.
"""

from pathlib import Path

import numpy as np
import pytest

from evonas.compare.comparison import Comparison, Contender, compare
from evonas.compare.figures import draw_figures, figure_tables, images_of
from evonas.compare.report import matrix_report
from evonas.compare.result import Matrix
from evonas.config import SearchConfig, TaskConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.report.save import save_report
from evonas.report.statistics import Interval, Summary
from evonas.search.outcome import Evaluation, Findings

DOT = bytes.fromhex(  # a PNG file of one grey pixel
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c6368000000820081dd436af40000000049454e44ae426082"
)
FIGURES = {"bn-relu": {2: 40.0, 3: 44.0, 4: 42.0}, "evonorm-s0": {2: 30.0, 3: 31.0, 4: 38.0}}


def found(distance: float, pictures: bool) -> Findings:
    curves = {"training loss": ((1, 2.0), (2, 1.0)), "distance": ((1, distance + 10), (2, distance))}
    return Findings({"score": 1 / distance, "distance": distance}, curves, {"samples": DOT} if pictures else {})


@pytest.fixture
def comparison() -> Comparison:
    contenders = [Contender(name, CATALOGUE[name], baseline=name == "bn-relu") for name in FIGURES]
    results = {
        CATALOGUE[name].key: {
            ("made", seed): Evaluation(
                CATALOGUE[name].key, seed, objectives={"made": 1 / value}, findings={"made": found(value, seed < 4)}
            )
            for seed, value in values.items()
        }
        for name, values in FIGURES.items()
    }
    return compare(contenders, ["made"], [2, 3, 4], results)


def test_figures_have_means_and_paired_differences(comparison: Comparison) -> None:
    means, differences = figure_tables(comparison)
    by_layer = dict(zip(means.column("layer"), means.column("distance"), strict=True))
    for name, values in FIGURES.items():
        numbers = list(values.values())
        summary = by_layer[name]
        assert isinstance(summary, Summary)
        assert (summary.mean, summary.std) == pytest.approx((np.mean(numbers), np.std(numbers, ddof=1)))
    (difference,) = differences.column("distance")
    assert isinstance(difference, Interval)
    gains = [FIGURES["evonorm-s0"][seed] - FIGURES["bn-relu"][seed] for seed in (2, 3, 4)]
    assert difference.mean == pytest.approx(np.mean(gains))
    half = 4.302653 * np.std(gains, ddof=1) / np.sqrt(3)
    assert difference.high == pytest.approx(np.mean(gains) + half, rel=1e-5)
    assert (differences.column("layer"), differences.column("minus")) == (["evonorm-s0"], ["bn-relu"])


def test_curves_are_drawn_and_pictures_of_the_first_seed_are_files(comparison: Comparison, tmp_path: Path) -> None:
    assert [name for name, _ in draw_figures(comparison)] == ["losses", "made-distance"]
    assert dict(images_of(comparison)) == {f"pictures/made/samples-{name}": DOT for name in FIGURES}
    settings = SearchConfig(name="made", tasks=(TaskConfig(architecture="all_cnn", name="made"),))
    matrix = Matrix("made: of numbers", {"made": settings}, comparison, "bn-relu")
    report = matrix_report(matrix)
    files = {str(file.relative_to(tmp_path)) for file in save_report(tmp_path, report)}
    assert {"losses.png", "made-distance.png", "pictures/made/samples-bn-relu.png"} <= files
    assert (tmp_path / "pictures/made/samples-evonorm-s0.png").read_bytes() == DOT
    assert "distance" in (tmp_path / "results.md").read_text()
    layers = {layer["name"]: layer for layer in report.data["layers"]}
    assert layers["evonorm-s0"]["figures"]["made"][3] == {"score": 1 / 31.0, "distance": 31.0}


def test_tasks_without_figures_have_no_tables_of_them(comparison: Comparison) -> None:
    bare = {
        s.contender.genome.key: {
            cell: Evaluation(s.contender.genome.key, cell[1], objectives={"made": score})
            for cell, score in s.scores.items()
        }
        for s in comparison.standings
    }
    again = compare([s.contender for s in comparison.standings], ["made"], [2, 3, 4], bare)
    assert figure_tables(again) == []
    assert list(draw_figures(again)) == []
    assert list(images_of(again)) == []
