"""Studies from a file to a table.

Oracles: a run trained here by hand, whose curve a study must repeat; a plain network trained without a hypernetwork;
curves made up so that the best learning rate and the steps saved are known; a study that was stopped and went on.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from evonas.config.section import load_as
from evonas.runs.store import Outcome
from evonas.seeding import derive_seed
from evonas.studies.hypernet.diagnostics import gradient_spread
from evonas.studies.hypernet.network import HyperNetwork
from evonas.studies.hypernet.registration import roughness, warp
from evonas.studies.hypernet.report import ablation, steps_by_rate
from evonas.studies.hypernet.results import points_along, separate_of, slope, speedup, tuned_runs
from evonas.studies.hypernet.settings import HypernetGrid, HypernetRun, HypernetStudyConfig
from evonas.studies.hypernet.study import hypernet_runs, hypernet_settings
from evonas.studies.hypernet.train import build_run, do_hypernet_run
from evonas.studies.hypernet.variants import at_gamma
from evonas.training.fit import fit
from studies import assert_one_line

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
separate = true
"""
STUDIES = Path(__file__).parents[3] / "studies"
PICTURES = ("curves", "steps", "magnitude", "losses", "metric")


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
    assert [round(g["slope"]["1"], 1) for g in groups] == [1, 0]
    found = groups[1]
    piece = next(
        p
        for p in hypernet_runs(load_as(HypernetStudyConfig, file))
        if (p.parametrization, p.learning_rate, p.seed) == ("mip", found["learning_rate"], 2)
    )
    torch.manual_seed(derive_seed(2, "dropout"))
    task, network = build_run(piece)
    optimizer = torch.optim.Adam(network.parameters(), lr=piece.learning_rate)
    batches = task.batches(2)
    for steps in (2, 2):
        fit(lambda batch: task.loss(network, batch), batches, optimizer, steps=steps)
    metric = [float(value) for value in task.metric(network, task.grid)]
    assert found["metric"]["2"] == pytest.approx(metric, abs=1e-6)
    assert [step for step, _ in found["curves"]["2"]] == [0, 2, 4]
    assert len(found["losses"]["2"]) == 5
    task, network = build_run(piece)
    batch = next(task.batches(derive_seed(0, "fixed batches")))
    spread = gradient_spread(network.eval(), lambda model, gamma: task.loss(model, at_gamma(batch, gamma)), task.grid)
    assert found["gradient_variance"]["2"] == pytest.approx(spread.variance / spread.square_of_mean, rel=1e-4)
    (separate,) = json.loads((run / "results.json").read_text())["separate"]
    assert [len(separate["metric"][seed]) for seed in ("1", "2")] == [5, 5]
    for name in ("results.md", "results.json", *(f"{picture}.png" for picture in PICTURES)):
        assert (run / name).stat().st_size > 100
    assert list((run / "tb").rglob("events.*"))


def piece(form: str, rate: float, seed: int) -> HypernetRun:
    base = hypernet_runs(HypernetStudyConfig.model_validate_json('{"name": "a", "task": {"name": "registration"}}'))[0]
    return base.model_copy(update={"parametrization": form, "learning_rate": rate, "seed": seed})


def outcome(losses: list[float | None]) -> Outcome:
    along = {key: None if losses[-1] is None else [0.5, 0.7] for key in ("metric", "losses")}
    curve = [[100 * i, loss] for i, loss in enumerate(losses)]
    return Outcome({"curve": curve, "magnitudes": [[1.0, 2.0], [2.0, 8.0]], "costs": None, **along})


def test_each_parametrization_is_taken_at_its_best_learning_rate_and_compared_with_the_default() -> None:
    outcomes = {
        piece("default", 1e-3, 1): outcome([3.0, 2.0, 1.5, 1.2]),
        piece("default", 1e-3, 2): outcome([3.0, 2.0, 1.5, 1.0]),
        piece("default", 1e-2, 1): outcome([3.0, 1.0, 0.5, 0.1]),  # the best, but the other seed diverged
        piece("default", 1e-2, 2): outcome([3.0, None]),
        piece("mip", 1e-3, 1): outcome([3.0, 1.0, 0.9, 0.8]),
        piece("mip", 1e-3, 2): outcome([3.0, 1.1, 0.9, 0.8]),
    }
    default, mip = tuned_runs(outcomes)
    assert (default.learning_rate, default.diverged, default.runs) == (1e-3, 1, 4)
    assert default.final is not None
    assert default.final.mean == pytest.approx(1.1)
    assert mip.steps_to(1.1) == 100
    assert speedup(mip, [default, mip]) == pytest.approx(3.0)
    assert speedup(default, [default, mip]) == pytest.approx(1.0)
    assert mip.metric is not None
    assert mip.metric.mean == pytest.approx(0.6)
    assert points_along(mip.best, "losses") == [(0.0, 0.5, 0.0), (1.0, 0.7, 0.0)]
    assert slope(mip.best[1]["magnitudes"]) == pytest.approx(2.0)
    assert steps_by_rate(mip, [default, mip]) == [(1e-3, 100, 0.0)]
    assert "1.1000 \u00b10.1414, 1.00x | 0.8000 \u00b10.0000, 3.00x |" in ablation([default, mip]).markdown()


def test_a_parametrization_that_always_diverges_has_no_curve() -> None:
    (group,) = tuned_runs({piece("default", 1e-2, 1): outcome([3.0, None])})
    assert (group.learning_rate, group.final, group.diverged) == (None, None, 1)
    assert speedup(group, [group]) is None


def test_settings_are_a_product_or_differ_from_the_first_in_one() -> None:
    axes = {"optimizers": ("adam", "sgd"), "norms": ("none", "layer", "weight"), "noise": (0, 7)}
    assert len(hypernet_settings(HypernetGrid(**axes))) == 12
    assert hypernet_settings(HypernetGrid(**axes, one_at_a_time=True)) == [
        ("adam", "relu", "none", 0),
        ("adam", "relu", "none", 7),
        ("adam", "relu", "layer", 0),
        ("adam", "relu", "weight", 0),
        ("sgd", "relu", "none", 0),
    ]


@pytest.mark.parametrize(
    ("name", "networks", "separate"), [("digits", 1400, 525), ("registration", 840, 525), ("rescaling", 560, 525)]
)
def test_shipped_studies_have_as_many_runs_as_they_say(name: str, networks: int, separate: int) -> None:
    path = STUDIES / f"mip_{name}.toml"
    places = [piece.place for piece in hypernet_runs(load_as(HypernetStudyConfig, path))]
    assert (places.count(None), len(places) - places.count(None)) == (networks, separate)
    assert f"# {networks} + {separate} runs" in path.read_text()


def test_noise_raises_the_input_dimension_and_the_size_of_theta_still_follows_it(file: Path) -> None:
    first = hypernet_runs(load_as(HypernetStudyConfig, file))[0].model_copy(update={"noise": 5})
    task, network = build_run(first)
    assert (network.inputs.size, task.grid.shape) == (8, (5, 8))
    value = do_hypernet_run(first)
    assert value["magnitudes"][-1][0] == pytest.approx(8**0.5)
    assert slope(value["magnitudes"]) == pytest.approx(1, abs=1e-3)


def test_a_separate_network_is_a_plain_one_trained_at_its_gamma(file: Path) -> None:
    study = load_as(HypernetStudyConfig, file, ['task.name="registration"', "run.check_every=4"])
    spec = next(p for p in hypernet_runs(study) if (p.place, p.learning_rate, p.seed) == (1, 1e-2, 2))
    value = do_hypernet_run(spec)
    task, _ = build_run(spec)
    plain = task.primary(2)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-2)
    batches = task.batches(2)
    for _ in range(4):
        _, pairs = next(batches)
        field = plain(pairs)
        error = (warp(pairs[:, :1], field) - pairs[:, 1:]).square().mean()
        optimizer.zero_grad()
        (0.75 * error + 0.25 * roughness(field).mean()).backward()
        optimizer.step()
    same = HyperNetwork(plain, 1, correction=0.0)
    assert value["metric"] == pytest.approx([float(task.metric(same, torch.tensor([[0.25]])))], rel=1e-5)
    assert value["losses"] == pytest.approx([value["curve"][-1][1]])


def test_separate_networks_are_at_the_best_learning_rate_of_each_place() -> None:
    def run(place: int, rate: float, seed: int, loss: float | None) -> tuple[HypernetRun, Outcome]:
        base = piece("mip", rate, seed).model_copy(update={"parametrization": "separate", "place": place})
        end = None if loss is None else [loss]
        value = {"curve": [[4, loss]], "losses": end, "metric": end, "costs": None, "magnitudes": []}
        return base, Outcome(value)

    runs = [
        *(run(0, 1e-3, seed, 0.5) for seed in (1, 2)),
        *(run(0, 1e-2, seed, 0.25) for seed in (1, 2)),
        *(run(1, 1e-3, seed, 0.75) for seed in (1, 2)),
        run(1, 1e-2, 1, 0.125),
        run(1, 1e-2, 2, None),
    ]
    found = separate_of(dict(runs))["adam"]
    assert points_along(found, "metric") == [(0.0, 0.25, 0.0), (1.0, 0.75, 0.0)]


def test_the_layer_of_a_primary_network_may_be_a_text_form(file: Path) -> None:
    names = {}
    for layer in ("gn-relu", "max(x, zero)"):
        study = load_as(HypernetStudyConfig, file, [f"task.layer={json.dumps(layer)}"])
        _, network = build_run(hypernet_runs(study)[0])
        names[layer] = set(network.base)
    assert names["max(x, zero)"] < names["gn-relu"]  # it has no scale and no shift


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('grid.activations=["swish"]', ["grid.activations", "'swish'", "leaky_relu"]),
        ('grid.norms=["batch"]', ["grid.norms", "'batch'", "none"]),
        ('task.layer="bn-gelu"', ["task.layer", "evonorm-s0"]),
        ('task.name="segmentation"', ["task.name", "registration"]),
        ('run.predict=["conv9.*"]', ["'conv9.*'", "matches none"]),
        ("grid.seeds=[]", ["grid.seeds", "at least 1"]),
        ("grid.learning_rates=[-1.0]", ["grid.learning_rates", "greater than 0"]),
    ],
)
def test_wrong_input_is_one_line(
    evonas: Callable[..., Any], file: Path, tmp_path: Path, change: str, words: list[str]
) -> None:
    assert_one_line(evonas("hypernet", file, "--set", change, "--run", tmp_path / "run"), words)
    assert not (tmp_path / "run").exists()
