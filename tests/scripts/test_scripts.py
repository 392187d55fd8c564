"""The scripts as a user runs them. Oracles: exit statuses, pictures of the size of a page, and who is measured."""

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


def test_the_benchmark_of_layers_puts_them_beside_those_of_timm() -> None:
    arguments = ("--eager", "--json", "--shape", 2, 32, 4, 4, "--rounds", 3, "--survivors", 1)
    done = run("bench_layers.py", *arguments)
    assert done.returncode == 0, done.stderr
    found = {row["name"]: row for row in json.loads(done.stdout)["layers"]}
    assert {"copy", "bn-relu, torch, eager", "evonorm-s0, evonas, eager", "evonorm-s0, timm, eager"} <= found.keys()
    assert sum(name.startswith("survivor ") for name in found) == 1
    assert found["bn-relu, torch, eager"]["ratio"] == 1
    assert all(row["ms"] > 0 for row in found.values())
