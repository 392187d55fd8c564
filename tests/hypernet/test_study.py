"""Studies from a file to a table.

Oracles: a run trained here by hand, whose curve a study must repeat; curves made up so that the best learning rate and
the steps saved are known; a study that was stopped and went on.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from evonas.config import load_as
from evonas.hypernet.results import groups_of, speedup
from evonas.hypernet.study import Piece, StudyConfig, build, pieces_of
from evonas.instrument.fit import fit
from evonas.record.results import Outcome
from evonas.seeding import derive_seed

FILE = """
name = "tiny"
[task]
name = "regularized_classification"
width = 2
batch_size = 8
[data]
train = 64
validation = 64
[run]
steps = 4
check_every = 2
fixed = 1
hidden = [4]
[grid]
parametrizations = ["default", "mip"]
learning_rates = [1e-3, 1e-2]
seeds = [1, 2]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(FILE)
    return path


def test_a_study_gives_what_its_runs_give_and_goes_on_where_it_was(
    evonas: Callable[..., Any], file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    status, _, err = evonas("hypernet", file, "--run", run, "--set", 'grid.parametrizations=["mip"]')
    assert status == 0, err
    status, out, err = evonas("hypernet", file, "--run", run, "--resume", "--json")
    assert status == 0, err
    groups = json.loads(out)["groups"]
    assert [(g["parametrization"], g["runs"]) for g in groups] == [("default", 4), ("mip", 4)]
    found = groups[1]
    piece = next(
        p
        for p in pieces_of(load_as(StudyConfig, file))
        if (p.parametrization, p.learning_rate, p.seed) == ("mip", found["learning_rate"], 2)
    )
    torch.manual_seed(derive_seed(2, "dropout"))
    task, network = build(piece)
    optimizer = torch.optim.Adam(network.parameters(), lr=piece.learning_rate)
    batches = task.batches(2)
    for steps in (2, 2):
        fit(lambda batch: task.loss(network, batch), batches, optimizer, steps=steps)
    metric = [float(value) for value in task.metric(network, task.grid)]
    assert found["metric"]["2"] == pytest.approx(metric, abs=1e-6)
    assert [step for step, _ in found["curves"]["2"]] == [0, 2, 4]
    for name in ("results.md", "results.json", "curves.png"):
        assert (run / name).stat().st_size > 100
    assert list((run / "tb").rglob("events.*"))


def piece(form: str, rate: float, seed: int) -> Piece:
    base = pieces_of(StudyConfig.model_validate_json('{"name": "a", "task": {"name": "registration"}}'))[0]
    return base.model_copy(update={"parametrization": form, "learning_rate": rate, "seed": seed})


def outcome(losses: list[float | None]) -> Outcome:
    metric = None if losses[-1] is None else [0.5, 0.7]
    return Outcome({"curve": [[100 * i, loss] for i, loss in enumerate(losses)], "metric": metric, "slope": 0.0})


def test_each_parametrization_is_taken_at_its_best_learning_rate_and_compared_with_the_default() -> None:
    outcomes = {
        piece("default", 1e-3, 1): outcome([3.0, 2.0, 1.5, 1.2]),
        piece("default", 1e-3, 2): outcome([3.0, 2.0, 1.5, 1.0]),
        piece("default", 1e-2, 1): outcome([3.0, 1.0, 0.5, 0.1]),  # the best, but the other seed diverged
        piece("default", 1e-2, 2): outcome([3.0, None]),
        piece("mip", 1e-3, 1): outcome([3.0, 1.0, 0.9, 0.8]),
        piece("mip", 1e-3, 2): outcome([3.0, 1.1, 0.9, 0.8]),
    }
    default, mip = groups_of(outcomes)
    assert (default.learning_rate, default.diverged, default.runs) == (1e-3, 1, 4)
    assert default.final is not None
    assert default.final.mean == pytest.approx(1.1)
    assert mip.steps_to(1.1) == 100
    assert speedup(mip, [default, mip]) == pytest.approx(3.0)
    assert speedup(default, [default, mip]) == pytest.approx(1.0)
    assert mip.metric is not None
    assert mip.metric.mean == pytest.approx(0.6)


def test_a_parametrization_that_always_diverges_has_no_curve() -> None:
    (group,) = groups_of({piece("default", 1e-2, 1): outcome([3.0, None])})
    assert (group.learning_rate, group.final, group.diverged) == (None, None, 1)
    assert speedup(group, [group]) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('grid.activations=["swish"]', ["grid.activations", "'swish'", "leaky_relu"]),
        ('grid.norms=["batch"]', ["grid.norms", "'batch'", "none"]),
        ('task.layer="bn-gelu"', ["task.layer", "evonorm-s0"]),
        ('task.name="segmentation"', ["task.name", "registration"]),
        ('run.predict=["conv9.*"]', ["'conv9.*'", "matches none"]),
        ("grid.learning_rates=[-1.0]", ["grid.learning_rates", "greater than 0"]),
    ],
)
def test_wrong_input_is_one_line(
    evonas: Callable[..., Any], file: Path, tmp_path: Path, change: str, words: list[str]
) -> None:
    status, _, err = evonas("hypernet", file, "--set", change, "--run", tmp_path / "run")
    assert status == 2
    assert len(err.splitlines()) == 1, err
    assert all(word in err for word in words), err
    assert not (tmp_path / "run").exists()
