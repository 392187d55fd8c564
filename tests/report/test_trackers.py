"""Boards of experiment trackers.

Oracles: modules that stand in for the trackers' packages and keep what they are called with, and the packages
themselves where they are installed; a search whose tracker fails, against one without.
"""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evonas.errors import InputError
from evonas.extras import install_line
from evonas.graph.catalogue import CATALOGUE
from evonas.report.pictures import draw_genome
from evonas.report.trackers import TRACKERS, open_board, require_boards

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"
Outcome = tuple[int, str, str]
Calls = list[tuple[Any, ...]]


def _image(array: Any) -> Any:
    return np.asarray(array).shape


def _trackio(calls: Calls) -> ModuleType:
    found = ModuleType("trackio")
    found.Image = _image  # type: ignore[attr-defined]

    def init(project: str, name: str, resume: str) -> Any:
        calls.append(("start", project, name, resume))
        print("a greeting")
        return SimpleNamespace(log=lambda *a: calls.append(("log", *a)), finish=lambda: calls.append(("finish",)))

    found.init = init  # type: ignore[attr-defined]
    found.finish = lambda: calls.append(("finish",))  # type: ignore[attr-defined]
    return found


def _wandb(calls: Calls) -> ModuleType:
    found = _trackio(calls)
    made = found.init
    found.Settings = dict  # type: ignore[attr-defined]

    def init(*, project: str, name: str, resume: str, **_: Any) -> Any:
        return made(project, name, resume)

    found.init = init  # type: ignore[attr-defined]
    return found


def _mlflow(calls: Calls) -> ModuleType:
    found = ModuleType("mlflow")
    runs: dict[str, Any] = {}

    def create(experiment: str, run_name: str) -> Any:
        calls.append(("start", experiment, run_name, "allow"))
        return runs.setdefault(run_name, SimpleNamespace(info=SimpleNamespace(run_id="7")))

    client = SimpleNamespace(
        search_runs=lambda _, by, max_results: [run for name, run in runs.items() if f"'{name}'" in by][:max_results],
        create_run=create,
        log_image=lambda number, image, file: calls.append(("log", {file.removesuffix(".png"): _image(image)}, number)),
        set_terminated=lambda _: calls.append(("finish",)),
    )
    found.set_experiment = lambda name: SimpleNamespace(experiment_id=name)  # type: ignore[attr-defined]
    found.MlflowClient = lambda: client  # type: ignore[attr-defined]
    found.log_metrics = lambda values, step, run_id: calls.append(("log", values, step))  # type: ignore[attr-defined]  # noqa: ARG005
    return found


STAND_INS = {"trackio": _trackio, "wandb": _wandb, "mlflow": _mlflow}


@pytest.fixture(params=TRACKERS)
def tracker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Calls]:
    calls: Calls = []
    monkeypatch.setitem(sys.modules, request.param, STAND_INS[request.param](calls))
    return request.param, calls


def test_curves_and_pictures_come_under_one_run_that_is_gone_on_with(
    tracker: tuple[str, Calls], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, calls = tracker
    with open_board(name, tmp_path / "tb" / "first", None) as board:
        assert not board.resumes
        board.scalars({"objective/mean": 0.5, "funnel": 3}, 4)
        with board.part("window") as part, board.fresh_part("candidates/7") as fresh:
            part.scalar("objective/mean", 0.25, 4)
            fresh.hparams({"formula": "x"}, {"objective/mean": 1.0})
            fresh.scalar("loss", 1.0, 4)
        with board.part("core-seconds", own_steps=True) as cost:
            cost.scalar("objective/mean", 0.5, 4000)
        board.figure("best/layer", draw_genome(CATALOGUE["evonorm-s0"]), 4)
        for quiet in (board.text, board.histogram):
            quiet("tag", (), 4)  # type: ignore[operator]
    (start, *others, finish) = calls
    assert start[:2] == ("start", "evonas")
    assert start[2].startswith("first-")
    assert finish == ("finish",)
    assert others[:2] == [
        ("log", {"objective/mean": 0.5, "funnel": 3.0}, 4),
        ("log", {"window/objective/mean": 0.25}, 4),
    ]
    (picture,) = others[2:]
    assert list(picture[1]) == ["best/layer"]
    assert picture[1]["best/layer"][2] in (3, 4)
    del calls[:]
    assert open_board(name, tmp_path / "tb" / "first", 5).resumes
    assert calls == ([] if name == "mlflow" else [start])  # mlflow finds the run by its name
    assert capsys.readouterr().out == ""


def test_whatever_a_tracker_raises_is_an_error_of_the_board_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no route to host")

    stand_in = _trackio([])
    stand_in.init = lambda **_: SimpleNamespace(log=fail)  # type: ignore[attr-defined]
    stand_in.finish = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trackio", stand_in)
    board = open_board("trackio", tmp_path / "first", None)
    for call in (lambda: board.scalar("a", 1.0, 0), board.close):
        with pytest.raises(OSError, match="trackio: no route to host"):
            call()
    stand_in.init = fail  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="trackio: no route to host"):
        open_board("trackio", tmp_path / "first", None)


def test_a_package_that_is_missing_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evonas: Callable[..., Outcome]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == "wandb" else find(name, *more))
    with pytest.raises(InputError, match="needs wandb, which is not installed"):
        require_boards(["tensorboard", "wandb"])
    status, _, err = evonas("search", TINY, "--run", tmp_path / "run", "--set", 'execution.boards=["wandb"]')
    assert status == 2
    assert install_line("wandb") in err
    assert not (tmp_path / "run").exists()
    assert evonas("search", TINY, "--run", tmp_path / "run", "--set", 'execution.boards=["paper"]')[0] == 2


def test_a_search_goes_on_without_a_tracker_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evonas: Callable[..., Outcome]
) -> None:
    calls: Calls = []
    stand_in, told = _mlflow(calls), []

    def log(values: dict[str, float], step: int, run_id: str) -> None:  # noqa: ARG001
        told.append(step)
        if step == 3:
            raise ConnectionRefusedError("no server")

    stand_in.log_metrics = log  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", stand_in)
    monkeypatch.setattr("evonas.report.trackers.require_package", lambda *_: None)
    common = ("--set", "protocols.quality.min_accuracy=0.0", "--set", "budget.evaluations=6")
    boards = ("--set", 'execution.boards=["mlflow"]')
    status, _, err = evonas("search", TINY, "--run", tmp_path / "run", *common, *boards)
    assert status == 0
    assert "note: mlflow cannot be written any more, and the search goes on without it (no server)" in err
    assert err.count("note: mlflow") == 1
    assert max(told) == 3
    assert not (tmp_path / "run" / "tb").exists()
