"""The scripts as a user runs them. Oracles: exit statuses, pictures of the size of a page, shares counted by hand."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from evonas.graph.catalogue import CATALOGUE
from evonas.record.board import open_board
from evonas.record.pictures import draw_genome

SCRIPTS = Path(__file__).parents[2] / "scripts"


def run(name: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="apt-get install chromium")
def test_tensorboard_shows_scalars_images_and_text_in_a_browser(tmp_path: Path) -> None:
    with open_board(tmp_path / "run" / "tb") as board:
        for step in range(5):
            board.scalar("objective/best", step / 5, step)
        board.figure("best_layer", draw_genome(CATALOGUE["evonorm-s0"]), 4)
        board.text("best_layers", "| layer |\n|---|\n| s0 |", 4)
    done = run("screenshot_tensorboard.py", "--logdir", tmp_path / "run", "--out", tmp_path / "shots")
    assert done.returncode == 0, done.stdout + done.stderr
    for tab in ("scalars", "images", "text"):
        with Image.open(tmp_path / "shots" / f"{tab}.png") as picture:
            assert picture.size[0] > 1000
            assert len(set(picture.convert("L").tobytes())) > 8  # not a blank page


@pytest.mark.skipif(shutil.which("chromium") is None, reason="apt-get install chromium")
def test_a_log_folder_without_pictures_fails_the_check(tmp_path: Path) -> None:
    with open_board(tmp_path / "run") as board:
        board.scalar("only", 1.0, 0)
    done = run("screenshot_tensorboard.py", "--logdir", tmp_path / "run", "--out", tmp_path / "shots")
    assert done.returncode == 1, done.stdout + done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_gpu_check_says_when_there_is_no_gpu() -> None:
    done = run("gpu_check.py")
    assert done.returncode == 2
    assert "torch sees no CUDA device" in done.stderr


def test_the_table_of_protocols_counts_right_and_wrong_rejections(tmp_path: Path) -> None:
    trained = {  # text: accuracies after 25, 50 and 100 steps on one task
        CATALOGUE["gn-relu"].to_text(): (0.2, 0.22, 0.25),
        CATALOGUE["evonorm-s0"].to_text(): (0.12, 0.2, 0.3),  # good, and late
        "tanh(x)": (0.2, 0.25, 0.26),  # good, and lost to propagation
        "max(x, zero)": (0.1, 0.1, 0.1),
        CATALOGUE["frn-tlu"].to_text(): (0.16, 0.14, 0.2),  # rejected by quality, not by propagation
        "exp(x)": (),
    }
    with (tmp_path / "graphs.jsonl").open("w") as file:
        for text, scores in trained.items():
            marks = dict(zip(("25", "50", "100"), scores, strict=False))
            row = {"text": text, "origin": "random", "scores": {"a": marks}, "diverged": {"a": None if scores else 5}}
            file.write(json.dumps(row) + "\n")
        file.write('{"text": "add(x')  # still being written
    search = SCRIPTS.parent / "search_spaces" / "evonorm_s.toml"
    done = run("protocol_table.py", search, tmp_path, "--no-training", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["layers"], found["rejected by quality"], found["good"]) == (6, 3, 3)
    shares = [[row[key] for key in ("rejected", "precision", "recall", "good lost")] for row in found["protocols"]]
    assert shares[0] == pytest.approx([3 / 6, 2 / 3, 2 / 3, 1 / 3])  # propagation
    assert shares[1] == pytest.approx([3 / 6, 2 / 3, 2 / 3, 1 / 3])  # 0.15 at 25 steps
    assert shares[2] == pytest.approx([2 / 6, 1, 2 / 3, 0])  # 0.115 at 25 steps
    assert shares[3] == pytest.approx([3 / 6, 1, 1, 0])  # the truth itself
    assert [row["measure"] for row in found["measures"]][:2] == ["activation", "gradient"]
    # exp(x) overflows; max(x, zero) shrinks activations by 0.6 a layer
    limits = {row["limit"]: row for row in found["limits"]}
    assert [limits[name]["alone"] for name in ("activation >= 0.9", "activation <= 1.1")] == pytest.approx([1 / 3] * 2)
    assert limits["activation >= 0.9"]["only"] == 0  # its gradients shrink as well
    assert run("protocol_table.py", search, tmp_path, "--no-training").stdout.count("quality, 0.15") == 2
