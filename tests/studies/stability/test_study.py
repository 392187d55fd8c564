"""Studies from a file to a table.

Oracles: runs trained one by one with ``train``, whose losses a study must repeat; the formulas of sensitivity and
margin, on those losses; a study that was stopped and went on, against one that was not.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
from stopping import run_killed_after

from evonas.config.section import load_as
from evonas.graph.genome import Genome
from evonas.runs.store import Outcome
from evonas.studies.stability.report import draw_losses, draw_sensitivity, stability_report
from evonas.studies.stability.results import differences_to_first, predict_largest, sweeps_json, sweeps_of
from evonas.studies.stability.study import StabilityCell, StabilityStudyConfig, stability_runs
from evonas.studies.stability.train import train_transformer
from evonas.tasks.language.text import load_text
from evonas.training.sensitivity import lr_sensitivity, stability_margin
from studies import assert_one_line, count_outcomes

FILE = """
name = "tiny"
[grid]
sizes = ["16x1", "32x1"]
learning_rates = [1e-3, 1e-1]
seeds = [1, 2]
[run]
steps = 6
batch_size = 2
validation = 2
probe_every = 3
optimizer.warmup = 2
model.context = 16
[[interventions]]
name = "none"
run.model.qk_layernorm = false
[[interventions]]
name = "z-loss"
run.z_loss = 1e-2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(FILE)
    return path


def test_the_grid_is_sizes_by_interventions_by_rates_by_seeds(file: Path) -> None:
    pieces = stability_runs(load_as(StabilityStudyConfig, file))
    assert len(pieces) == 2 * 2 * 2 * 2
    run = pieces[StabilityCell(intervention="z-loss", size="32x1", learning_rate=0.1, seed=2)].run
    assert (run.z_loss, run.model.width, run.model.depth, run.optimizer.learning_rate, run.seed) == (
        1e-2,
        32,
        1,
        0.1,
        2,
    )
    assert (run.steps, run.optimizer.warmup, run.model.qk_layernorm) == (6, 2, True)
    run = pieces[StabilityCell(intervention="none", size="16x1", learning_rate=1e-3, seed=1)].run
    assert (run.z_loss, run.model.qk_layernorm) == (1e-4, False)


def test_a_study_gives_what_its_runs_give_and_goes_on_where_it_was(
    evonas: Callable[..., Any], file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    status, _, err = evonas("stability", file, "--run", run, "--set", 'grid.sizes=["16x1"]')
    assert status == 0, err
    status, out, err = evonas("stability", file, "--run", run, "--resume", "--json", "--workers", 2)
    assert status == 0, err
    found = json.loads(out)
    assert [(s["intervention"], s["size"]) for s in found["sweeps"]] == [
        *(("none", "16x1"), ("z-loss", "16x1")),
        *(("none", "32x1"), ("z-loss", "32x1")),
    ]
    study = load_as(StabilityStudyConfig, file)
    text, pieces = load_text(study.text), stability_runs(study)
    sweep = found["sweeps"][3]
    expected: dict[float, float] = {}
    for rate in (1e-3, 1e-1):
        result = train_transformer(
            pieces[StabilityCell(intervention="z-loss", size="32x1", learning_rate=rate, seed=2)].run, text
        )
        expected[rate] = result.final_loss
        assert sweep["losses"]["2"][f"{rate:g}"] == pytest.approx(result.final_loss, abs=1e-5)
        assert sweep["initial_loss"]["2"] == pytest.approx(result.initial_loss, abs=1e-5)
        assert sweep["parameters"] == result.size
    initial = sweep["initial_loss"]["2"]
    assert sweep["lr_sensitivity"]["2"] == pytest.approx(lr_sensitivity(expected, initial), abs=1e-5)
    for name in ("results.md", "results.csv", "results.json", "losses.png", "sensitivity.png"):
        assert (run / name).stat().st_size > 100
    assert (run / "max_attention_logit.png").is_file()
    assert (run / "output_logits.png").is_file()
    assert list((run / "tb" / "none" / "16x1" / "lr_0.1" / "seed_1").glob("events.*"))
    assert len((run / "results.csv").read_text().splitlines()) == 1 + 16


def cell(rate: float, seed: int = 1, size: str = "a", intervention: str = "i") -> StabilityCell:
    return StabilityCell(intervention=intervention, size=size, learning_rate=rate, seed=seed)


def outcome(final: float | None, parameters: int = 100, logit: float = 2.0, **more: Any) -> Outcome:
    value = {"size": parameters, "initial_loss": 5.0, "final_loss": final, "steps": 9, "slow": False, "spikes": 1}
    readings = [[0, {"blocks.0.max_logit": 1.0}], [8, {"blocks.0.max_logit": logit}]]
    return Outcome({**value, "losses": [], "readings": readings, **more})


def test_losses_beyond_numbers_count_as_that_of_initialization() -> None:
    losses = {1e-3: 3.0, 1e-2: 2.0, 1e-1: None}
    (sweep,) = sweeps_of({cell(rate): outcome(loss) for rate, loss in losses.items()})
    numbers = {1e-3: 3.0, 1e-2: 2.0, 1e-1: math.nan}
    assert sweep.sensitivities == {1: lr_sensitivity(numbers, 5.0)} == {1: pytest.approx((1 + 0 + 3) / 3)}
    assert sweep.margins == {1: stability_margin(numbers, 5.0)} == {1: pytest.approx(10.0)}
    assert sweep.best == {1: (1e-2, 2.0)}
    assert (sweep.diverged, sweep.spikes) == (1, 3)
    assert sweep.mean_losses()[-1] == (1e-1, 5.0, 0.0)


COUPLED_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
COUPLED_LOSSES = (3.0, 2.2, 2.1, 2.0, 2.1, 2.2, 2.5, None)  # least sensitive over 1e-4 to 0.1
OTHER_LOSSES = (3.9, 2.4, 2.2, 2.1, 2.0, 2.1, 2.2, 2.3)


def test_coupled_decay_is_judged_by_the_published_rule_and_held_against_a_window_as_wide() -> None:
    """Oracle: means worked out by hand, 7 learning rates each; l_0 is 5."""
    places = zip(COUPLED_RATES, COUPLED_LOSSES, OTHER_LOSSES, strict=True)
    outcomes: dict[StabilityCell, Outcome] = {}
    for rate, loss, other in places:
        for seed in (1, 2):
            outcomes[cell(rate, seed)] = outcome(other)
            outcomes[cell(rate, seed, intervention="j").model_copy(update={"decay": "coupled"})] = outcome(loss)
    first, coupled = sweeps_of(outcomes)
    lower = (1.0 + 0.2 + 0.1 + 0.0 + 0.1 + 0.2 + 0.5) / 7
    assert coupled.sensitivities[1] == pytest.approx(lower)
    assert first.sensitivities[1] == pytest.approx((1.9 + 0.4 + 0.2 + 0.1 + 0.0 + 0.1 + 0.2 + 0.3) / 8)
    (against,) = differences_to_first([first, coupled])
    assert against.sensitivity.mean == pytest.approx(lower - (0.4 + 0.2 + 0.1 + 0.0 + 0.1 + 0.2 + 0.3) / 7)
    (back,) = differences_to_first([coupled, first])
    assert back.sensitivity.mean == pytest.approx(-against.sensitivity.mean)
    assert "lower one of those over 0.0001 to 0.1 and over 0.0003 to 0.3, as published" in (
        stability_report("m", outcomes).markdown()
    )
    assert sweeps_json([coupled])["sweeps"][0]["lr_sensitivity_windows"] == [[1e-4, 1e-1], [3e-4, 3e-1]]


def test_coupled_decay_without_the_published_windows_is_judged_like_the_others_and_says_so() -> None:
    losses = {3e-3: 3.0, 1e-2: 2.0, 1.0: 2.5}
    outcomes = {cell(rate).model_copy(update={"decay": "coupled"}): outcome(loss) for rate, loss in losses.items()}
    (sweep,) = sweeps_of(outcomes)
    assert sweep.sensitivities == {1: pytest.approx(0.5)}
    assert "do not reach over both" in stability_report("m", outcomes).markdown()
    others = {cell(rate): outcome(loss) for rate, loss in losses.items()}
    assert "coupled" not in stability_report("m", others).markdown()


def test_the_cells_of_a_study_know_how_weights_decay(file: Path) -> None:
    study = load_as(StabilityStudyConfig, file, ['interventions.1.run.optimizer.decay="coupled"'])
    decays = {cell.intervention: cell.decay for cell in stability_runs(study)}
    assert decays == {"none": "independent", "z-loss": "coupled"}


def test_a_seed_with_a_failed_run_has_no_sensitivity() -> None:
    outcomes = {cell(1e-3): outcome(3.0), cell(1e-2): outcome(2.0), cell(1e-3, 2): outcome(3.0)}
    (sweep,) = sweeps_of(outcomes | {cell(1e-2, 2): Outcome(None, "worker died")})
    assert list(sweep.sensitivities) == [1]
    assert sweep.failures == {(1e-2, 2): "worker died"}
    assert sweeps_json([sweep])["sweeps"][0]["failures"] == {"0.01 seed 2": "worker died"}


def test_the_largest_size_is_predicted_from_the_others() -> None:
    sizes = {"a": 100, "b": 400, "c": 1600, "d": 6400, "e": 25600}
    outcomes = {
        cell(1e-2, size=name): outcome(2.0, parameters, logit=0.5 * parameters**0.5)
        for name, parameters in sizes.items()
    }
    found = predict_largest(sweeps_of(outcomes), "i", "blocks.0.max_logit")
    assert found[1e-2].prediction.size == 25600
    assert found[1e-2].factor == pytest.approx(1.0)  # a line in log-log axes


def test_interventions_are_held_against_the_first_seed_by_seed() -> None:
    plain = {
        cell(rate, seed): outcome(loss) for seed in (1, 2) for rate, loss in ((1e-3, 3.0), (1e-2, 2.0 + seed / 10))
    }
    better = {
        cell(rate, seed, intervention="j"): outcome(loss)
        for seed, low in ((1, 2.5), (2, 2.4))
        for rate, loss in ((1e-3, low), (1e-2, 2.0))
    }
    (found,) = differences_to_first(sweeps_of(plain | better))
    assert (found.intervention, found.first, found.size) == ("j", "i", "a")
    first, second = 0.5 / 2 - 0.9 / 2, 0.4 / 2 - 0.8 / 2  # mean over two learning rates of what is lost
    assert found.sensitivity.mean == pytest.approx((first + second) / 2)
    differences = [2.0 - 2.1, 2.0 - 2.2]
    expected = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (found.best_loss.low, found.best_loss.high) == pytest.approx((expected.low, expected.high))
    assert f"| j | a | {found.sensitivity.mean:+.4f} [" in stability_report("m", plain | better).markdown()
    assert sweeps_json(sweeps_of(plain | better))["against_first"][0]["best_loss"]["count"] == 2


def test_interventions_share_a_panel_where_there_is_one_size() -> None:
    one = {cell(rate, intervention=name): outcome(2.0) for name in "ij" for rate in (1e-3, 1e-2)}
    two = {**one, **{cell(1e-3, size="b", intervention=name): outcome(2.0, 400) for name in "ij"}}
    (axes,) = draw_losses(sweeps_of(one)).axes
    assert axes.get_title(loc="left") == "a"
    assert [axes.get_title(loc="left") for axes in draw_losses(sweeps_of(two)).axes] == ["i", "j"]
    (axes,) = draw_sensitivity(sweeps_of(one)).axes
    assert axes.get_xlabel() == "loss at the best learning rate (lower is better)"


@pytest.mark.parametrize(("large", "by"), [(400, "parameters"), (205, "shape: width x depth")])
def test_shapes_of_nearly_equal_size_stand_side_by_side(large: int, by: str) -> None:
    """Over the number of parameters they would hide each other."""
    sizes = {"48x2": 100, "96x2": 200, "48x8": large}
    cells = {cell(rate, size=s): outcome(2.0 + rate, n) for s, n in sizes.items() for rate in (1e-3, 1e-2)}
    (axes,) = draw_sensitivity(sweeps_of(cells)).axes
    assert axes.get_xlabel() == by
    xs = sorted(float(x) for x in axes.get_lines()[0].get_xdata())
    assert xs == (sorted(sizes.values()) if large == 400 else [0, 1, 2])


def test_nothing_is_held_against_a_first_intervention_without_a_common_seed() -> None:
    outcomes = {cell(1e-3, 1): outcome(3.0), cell(1e-3, 2, intervention="j"): outcome(2.0)}
    assert differences_to_first(sweeps_of(outcomes)) == []


def test_a_probe_ends_somewhere_only_where_every_seed_has_read_it() -> None:
    def read(value: float | None) -> dict[str, Any]:
        return {"readings": [[8, {"log_z": value}]]}

    outcomes = {cell(1e-3, 1): outcome(3.0, **read(-4.0)), cell(1e-3, 2): outcome(3.0, **read(-6.0))}
    outcomes |= {cell(1e-2, 1): outcome(3.0, **read(None)), cell(1e-2, 2): outcome(3.0, **read(1.0))}
    (sweep,) = sweeps_of(outcomes)
    assert sweep.ends("log_z") == {1e-3: [-4.0, -6.0]}
    assert sweep.final_values("log_z") == {}  # a geometric mean needs numbers above 0


def test_a_killed_study_goes_on_to_the_same_table(evonas: Callable[..., Any], file: Path, tmp_path: Path) -> None:
    command = ("stability", file, "--set", 'grid.sizes=["16x1"]', "--run")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_killed_after(3, *command, killed)
    assert count_outcomes(killed / "results.sqlite") == 3
    status, _, err = evonas(*command, killed, "--resume")
    assert status == 0, err
    status, _, err = evonas(*command, whole)
    assert status == 0, err
    assert count_outcomes(killed / "results.sqlite") == count_outcomes(whole / "results.sqlite") == 8
    one, other = (json.loads((folder / "results.json").read_text()) for folder in (whole, killed))
    assert one == other


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (['grid.sizes=["20x1"]'], ["size 20x1", "multiple of head_size, 16"]),
        (['grid.sizes=["big"]'], ["grid.sizes", "'big'", "55k", "96x3"]),
        (["grid.learning_rates=[0.0]"], ["grid.learning_rates", "greater than 0"]),
        (["run.model.context=1000000"], ["model.context", "less than the text"]),
        (['text.name="file"', 'text.path="none.txt"'], ["text.path", "no such file"]),
        (["run.model.width=16"], ["run.model.width", "the grid"]),
        (["run.model.depht=1"], ["depht", "unknown key"]),
        (['interventions.1.name="none"'], ["two are called 'none'"]),
    ],
)
def test_wrong_input_is_one_line(
    evonas: Callable[..., Any], file: Path, tmp_path: Path, changes: list[str], words: list[str]
) -> None:
    options = [part for change in changes for part in ("--set", change)]
    assert_one_line(evonas("stability", file, *options, "--run", tmp_path / "run"), words)
    assert not (tmp_path / "run").exists()


def test_an_empty_text_is_refused(evonas: Callable[..., Any], file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    text = ("--set", 'text.name="file"', "--set", f"text.path={str(tmp_path / 'empty.txt')!r}")
    assert_one_line(evonas("stability", file, *text, "--run", tmp_path / "run"), ["nothing to train on"])


def test_layers_of_every_notation_stand_in_the_place_of_norms(
    evonas: Callable[..., Any], file: Path, tmp_path: Path
) -> None:
    (tmp_path / "cube.json").write_text(Genome.from_text("a = square(x); mul(a, x)").to_json())
    for layer in ("dyt", "tanh(x)", str(tmp_path / "cube.json")):
        layers = f'interventions=[{{name="found", run={{layer="{layer}"}}}}]'
        run = tmp_path / layer.replace("/", "-")
        status, out, err = evonas(
            "stability", file, "--run", run, "--json", "--set", layers, "--set", 'grid.sizes=["16x1"]'
        )
        assert status == 0, err
        (sweep,) = json.loads(out)["sweeps"]
        assert all(math.isfinite(loss) for losses in sweep["losses"].values() for loss in losses.values())


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ("nonsense", "layernorm"),
        ("bn-relu", "index sets of bchw"),
        ("a = std[td](x); div(x, a)", "std[td] looks at later tokens"),
        ("noise(x)", "noise"),
    ],
)
def test_a_layer_that_cannot_stand_there_is_refused(
    evonas: Callable[..., Any], file: Path, tmp_path: Path, layer: str, says: str
) -> None:
    layers = f'interventions=[{{name="found", run={{layer="{layer}"}}}}]'
    assert_one_line(
        evonas("stability", file, "--run", tmp_path / "run", "--set", layers), ["interventions: found", says]
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name",
    ["qk_layernorm", "stability_interventions", "stability_depth_width", "stability_layers", "stability_mu_param"],
)
def test_shipped_studies_can_be_run(name: str) -> None:
    study = load_as(StabilityStudyConfig, Path(__file__).parents[3] / "studies" / f"{name}.toml")
    grid = study.grid
    runs = len(grid.sizes) * len(grid.learning_rates) * len(grid.seeds) * len(study.interventions)
    assert len(stability_runs(study)) == runs >= 54
