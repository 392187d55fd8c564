"""Pictures that follow from kept results. Oracles: the figures that the READMEs beside them state."""

import runpy
import shutil
from pathlib import Path

import pytest
from command import SCRIPTS, status_of_script

KEPT = SCRIPTS.parent / "runs" / "kept"


@pytest.mark.slow
def test_pictures_of_kept_results_are_drawn_again_from_their_numbers(tmp_path: Path) -> None:
    folders = {
        "batch-sizes": {"heatmap", "batch_sizes", "differences"},
        "cifar-b": {"rerank"},
        "transformer": {"rerank", "front"},
        "stability-depth-width": {"losses", "sensitivity"},
        "steering-digits": {"score", "cost", "trade", "support"},
        "sparsity-smollm2/more-text": {"perplexity"},
        "mip/rescaling": {"curves", "steps", "losses", "metric"},
    }
    for name in folders:
        shutil.copytree(KEPT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.png", "held-out"))
    (tmp_path / "transformer" / "front.png").touch()  # is drawn where there was one
    assert status_of_script("redraw_kept.py", *(tmp_path / name for name in folders)) == 0
    for name, pictures in folders.items():
        assert {path.stem for path in (tmp_path / name).glob("*.png")} == pictures, name


def test_the_picture_of_found_layers_claims_what_the_kept_readmes_do(tmp_path: Path) -> None:
    assert status_of_script("draw_layers.py", tmp_path / "layers.png") == 0
    script = runpy.run_path(str(SCRIPTS / "draw_layers.py"))
    drawn = {
        (found.name, row.label): tuple(round(number, 2) for number in (row.mean, row.low, row.high))
        for found in script["FOUND"]
        for row in script["rows_of"](found)
    }
    assert drawn == {
        ("evonas-s1", "than evonorm-s0"): (1.11, 0.84, 1.38),
        ("evonas-s1", "than evonorm-s0, elsewhere"): (0.77, 0.40, 1.15),
        ("evonas-s1", "than gn-relu"): (4.48, 3.77, 5.19),
        ("evonas-s1", "than bn-relu"): (-1.97, -2.47, -1.47),
        ("evonas-b1", "than bn-relu"): (2.44, 1.69, 3.19),
        ("evonas-b1", "than bn-relu, elsewhere"): (-1.06, -1.51, -0.61),
        ("evonas-b1", "than evonorm-b0"): (3.13, 2.57, 3.70),
        ("evonas-b1", "than evonorm-b0, elsewhere"): (0.90, 0.62, 1.17),
    }


def test_the_picture_of_a_search_counts_what_the_kept_run_did(tmp_path: Path) -> None:
    assert status_of_script("draw_search.py", tmp_path / "search.png") == 0
    counts = [step.count for step in runpy.run_path(str(SCRIPTS / "draw_search.py"))["steps"]()]
    assert counts == [66_903 + 755, 755, 150, 150, 10, 2]
