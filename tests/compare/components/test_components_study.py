"""A study of components as it is typed. Oracle: its own tables, records, and what resuming must not do again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Outcome = tuple[int, str, str]

STUDY = """# A study for tests
name = "tiny"
layers = ["evonorm-s0", "rmsnorm"]
components = ["qk-layernorm", "teal", "lineas"]
seeds = [1, 2]
[layer]
groups = 4
[rates]
factors = [1.0, 3.0]
[concept]
steps = 2
strengths = [1.0]
samples = 8
[data]
train = 64
validation = 60
[[networks]]
[networks.task]
architecture = "mobilenet_v2"
width = 0.25
depth = [1]
head = 16
unstrided = 1
[networks.training]
batch_size = 16
steps = 4
[[networks]]
[networks.task]
transformer = "16x1"
context = 32
[networks.training]
optimizer = "adamw"
batch_size = 4
steps = 4
learning_rate = 0.01
"""
COLUMNS = {"mobilenet_v2, evonorm-s0", "transformer-16x1, rmsnorm"}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY)
    return path


def test_layers_stand_where_their_layout_fits_and_every_cell_has_an_effect_or_a_reason(
    study: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    folder = tmp_path / "run"
    status, _, told = evonas("components", study, "--run", folder)
    assert status == 0, told
    cells = json.loads((folder / "results.json").read_text())["cells"]
    assert {f"{one['network']}, {one['layer']}" for one in cells} == COLUMNS
    assert len(cells) == 6
    for one in cells:
        assert bool(one["reason"]) != (one["effect"] is not None), one
    (reason,) = (one for one in cells if one["reason"])
    assert (reason["component"], reason["network"]) == ("qk-layernorm", "mobilenet_v2")
    table = (folder / "results.md").read_text()
    assert all(column in table for column in COLUMNS)
    assert "it has no attention" in table
    sweeps = json.loads((folder / "results.json").read_text())["sweeps"]
    assert [one["network"] for one in sweeps] == ["transformer-16x1"]  # of the other one only its own rate was needed
    assert [(one["factor"], len(one["losses"])) for one in sweeps[0]["rates"]] == [(1.0, 2), (3.0, 2)]
    before = (folder / "results.csv").read_text()
    status, _, told = evonas("components", study, "--run", folder, "--resume", "--set", "seeds=[1]")
    assert status == 0, told
    assert "0 of" not in told  # nothing was left to be done
    assert set((folder / "results.csv").read_text().splitlines()) < set(before.splitlines())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("layers=[]",), "layers: none of them fits one of the networks"),
        (("networks.0.layers=['rmsnorm']",), "networks.0.layers: 'rmsnorm' is not a layer of bchw"),
        (("networks.0.pretrained='a/b'",), "a task or a pretrained model, one of them"),
        (("networks.0.name='x'", "networks.1.name='x'"), "networks of different names"),
        (("components=['wino']",), "components"),
        (("layers=['nope']",), "nope"),
    ],
)
def test_bad_studies_are_refused_in_one_line_before_anything_is_written(
    change: tuple[str, ...], said: str, study: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    settings = [word for each in change for word in ("--set", each)]
    status, _, told = evonas("components", study, "--run", tmp_path / "run", *settings)
    assert status == 2
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
