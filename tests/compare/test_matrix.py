"""The matrix from what people type to its files.

Oracles: the evaluator itself under the same seeds; bytes of saved tensors counted by hand; exit statuses.
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from evonas import config
from evonas.compare.columns import DESK, columns_of, contenders_of, find_data, find_task
from evonas.compare.comparison import Contender, compare, known_names
from evonas.compare.costs import kept_bytes, network_cost
from evonas.config import DataConfig, TaskConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.search.evaluator import evaluator_from_config
from evonas.search.named import NamedLayer, find_layer

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

ROOT = Path(__file__).parents[2]
FILE = ROOT / "search_spaces" / "tiny.toml"
TINY = config.load_search(FILE)
S0 = CATALOGUE["evonorm-s0"]

Outcome = tuple[int, str, str]


def test_a_matrix_has_scores_failures_costs_and_pictures_and_goes_on(
    evonas: Callable[..., Outcome], tmp_path: Path
) -> None:
    run = tmp_path / "matrix"
    layers = ("a = std[hw](x); div(x, a)", "square(x)")
    command = (
        "evaluate",
        *layers,
        "--settings",
        FILE,
        "--baseline",
        "evonorm-s0",
        "--seeds",
        2,
        "--run",
        run,
        "--test",
    )
    status, out, err = evonas(*command)
    assert status == 0, err
    assert f"note: {FILE} is a search; its space, protocols, evolution, budget do not count here" in err
    assert "diverged" in err
    names = {"results.json", "results.md", "results.csv", "heatmap.png", "differences.png", "config.toml"}
    assert names | {"environment.json", "results.sqlite", "tb"} <= {path.name for path in run.iterdir()}
    found = json.loads((run / "results.json").read_text())
    assert found["columns"]["mobilenet_v2"]["data"]["score_on"] == "test"
    assert found["seeds"] == [TINY.seed + 1, TINY.seed + 2]
    by_name = {layer["name"]: layer for layer in found["layers"]}
    assert list(by_name)[-1] == "x^2"
    assert by_name["x^2"]["failures"]["preact_resnet"]["2"]["reason"] == "diverged"
    rows = list(csv.DictReader((run / "results.csv").read_text().splitlines()))
    assert len(rows) == 3 * 2 * 2
    score = {row["task"]: row["score"] for row in rows if row["layer"] == "evonorm-s0" and row["seed"] == "2"}
    assert float(score["mobilenet_v2"]) == by_name["evonorm-s0"]["scores"]["mobilenet_v2"]["2"]
    assert all(float(row["training"]) > 0 for row in rows if row["layer"] != "x^2")
    with Image.open(run / "heatmap.png") as picture:
        assert len(set(picture.convert("L").tobytes())) > 8
    assert list((run / "tb").rglob("events.*"))
    assert evonas(*command)[0] == 2  # there already
    status, out, err = evonas(*command, "--resume", "--json")
    assert status == 0, err
    assert "18 of 18 runs" in err  # trainings and measurements of costs
    assert json.loads(out) == found


def test_whatever_goes_wrong_in_a_cell_is_told_there_and_ends_nothing(
    evonas: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))  # for the worker processes
    names = ("raising", "hungry", "dying", "sound")
    arch = ",".join(f"broken_tasks:{name}" for name in names)
    command = ("evaluate", "bn-relu", "--arch", arch, "--seeds", 1, "--steps", 3, "--run", tmp_path / "run")
    status, out, err = evonas(*command, "--json")
    assert status == 0, err
    found = json.loads(out)
    for layer in found["layers"]:
        failures = {name: next(iter(each.values())) for name, each in layer["failures"].items()}
        assert list(layer["scores"]) == ["sound"]
        assert {failure["reason"] for failure in failures.values()} == {"failed"}
        assert failures["raising"]["detail"] == "KeyError: 'labels'"
        assert "memory" in failures["hungry"]["detail"]
        assert failures["dying"]["detail"] == "worker died: exit code 9"
    columns = {line.split(",")[1] for line in (tmp_path / "run" / "results.csv").read_text().splitlines()[1:]}
    assert columns == set(names)
    _, _, err = evonas(*command, "--resume")
    assert "[enforce" in err  # torch's words, brackets and all
    said = (tmp_path / "run" / "results.md").read_text()
    assert "worker died: exit code 9" in said
    assert "'labels'" in said


def test_scores_are_the_evaluators(evonas: Callable[..., Outcome], tmp_path: Path) -> None:
    status, out, err = evonas(
        *("evaluate", "evonorm-s0", "--settings", FILE, "--arch", "preact_resnet", "--seeds", 1, "--no-costs"),
        *("--run", tmp_path / "m", "--json"),
    )
    assert status == 0, err
    one = TINY.model_copy(update={"tasks": TINY.tasks[:1]})
    expected = evaluator_from_config(one)(S0, gated=False, seed=TINY.seed + 1)
    layers = {layer["name"]: layer for layer in json.loads(out)["layers"]}
    assert layers["evonorm-s0"]["scores"] == {
        "preact_resnet": {str(TINY.seed + 1): expected.objectives["preact_resnet"]}
    }


def test_columns_of_several_data_sets_and_batch_sizes_have_the_scores_of_each(
    evonas: Callable[..., Outcome], tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    file = tmp_path / "noise.npz"
    np.savez(file, x_train=images, y_train=np.arange(60) % 3, x_test=images, y_test=np.arange(60) % 3)
    status, out, err = evonas(
        *("evaluate", "evonorm-s0", "--settings", FILE, "--arch", "preact_resnet", "--data", f"digits,npz:{file}"),
        *("--set", "data.validation=30", "--set", "data.train=30", "--batch-sizes", "8,16", "--seeds", 1, "--no-costs"),
        *("--run", tmp_path / "m", "--json"),
    )
    assert status == 0, err
    layers = {layer["name"]: layer for layer in json.loads(out)["layers"]}
    names = [f"preact_resnet, {data}, batch {size}" for data in ("digits", "noise") for size in (8, 16)]
    assert list(layers["evonorm-s0"]["scores"]) == names
    one = columns_of(TINY, TINY.tasks[:1], [DataConfig(train=30, validation=30)], [8])["preact_resnet"]
    expected = evaluator_from_config(one)(S0, gated=False, seed=TINY.seed + 1).objectives["preact_resnet"]
    assert layers["evonorm-s0"]["scores"][names[0]] == {str(TINY.seed + 1): expected}
    assert (tmp_path / "m" / "batch_sizes.png").is_file()


def test_columns_are_tasks_times_data_times_batch_sizes() -> None:
    tasks = [DESK["preact_resnet"], TaskConfig(architecture="timm:resnet10t")]
    data = [DataConfig(), DataConfig(name="npz", path="some/cifar.npz")]
    columns = columns_of(TINY, tasks, data, [8, 32])
    assert list(columns)[:3] == [
        "preact_resnet, digits, batch 8",
        "preact_resnet, digits, batch 32",
        "resnet10t, digits, batch 8",
    ]
    assert len(columns) == 8
    assert list(columns_of(TINY, tasks, data[:1], [8])) == ["preact_resnet", "resnet10t"]


def test_other_batch_sizes_see_as_many_images_at_a_proportional_rate() -> None:
    training = columns_of(TINY, [DESK["densenet"]], [], [2])["densenet"].training
    assert training.steps * 2 == TINY.training.steps * TINY.training.batch_size
    assert training.learning_rate == pytest.approx(TINY.training.learning_rate * 2 / TINY.training.batch_size)


def test_at_other_batch_sizes_each_of_several_rates_is_proportional() -> None:
    several = TINY.training.model_copy(update={"learning_rates": (0.1, 0.3)})
    settings = TINY.model_copy(update={"training": several})
    training = columns_of(settings, [DESK["densenet"]], [], [2 * TINY.training.batch_size])["densenet"].training
    assert training.rates == pytest.approx((0.2, 0.6))


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="two are called 'densenet'"):
        columns_of(TINY, [DESK["densenet"], TaskConfig(architecture="densenet")], [], [])


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("mobilenet_v2", TINY.tasks[1]),
        ("densenet", DESK["densenet"]),
        ("timm:regnetx_002", TaskConfig(architecture="timm:regnetx_002")),
        ("my.tasks:own", TaskConfig(task="my.tasks:own")),
    ],
)
def test_a_task_is_found_by_name(text: str, task: TaskConfig) -> None:
    assert find_task(text, TINY) == task


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        (lambda: find_task("vgg", TINY), ("--arch", "'vgg'", "preact_resnet", "timm:NAME")),
        (lambda: find_data("mnist", TINY), ("--data", "'mnist'", "npz:FILE", "garments or coco:FOLDER")),
        (lambda: contenders_of({}, ["bn"]), ("--baseline", "'bn'", "bn-relu")),
        (
            lambda: contenders_of({"a": find_layer("sigmoid(x)"), "b": NamedLayer(S0, "sigmoid(x)")}, ["bn-relu"]),
            ("LAYER", "two layers are called 'sigmoid(x)'"),
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_line(refused: Callable[[], object], words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as error:
        refused()
    assert all(word in str(error.value) for word in words), error.value
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evonorm-s0", "--settings", "nothing.toml"), ("nothing.toml", "no such file")),
        (("evonorm-s9",), ("'evonorm-s9'", "evonorm-s0")),
        (("evonorm-s0", "--set", "rungs.steps=[2]"), ("--set rungs.steps=[2]", "does not read it")),
        (("evonorm-s0", "--batch-sizes", "2,x"), ("--batch-sizes", "'2,x'", "2,8,32,128")),
        (("evonorm-s0", "--resume"), ("holds no results.sqlite", "without --resume")),
        (("evonorm-s0", "--arch", "timm:resnet19"), ("timm has no network 'resnet19'", "timm:resnet18")),
        (("evonorm-s0", "--arch", "torchvision:alexnet"), ("alexnet cannot take images of 8x8",)),
        (("evonorm-s0", "--arch", "no_such_package.tasks:mine"), ("no_such_package", "cannot be imported")),
        (("evonorm-s0", "--data", "npz:nowhere.npz"), ("nowhere.npz", "no such file")),
    ],
)
def test_wrong_input_is_one_line_and_exit_status_2(
    evonas: Callable[..., Outcome], tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    status, _, err = evonas("evaluate", *arguments, "--run", tmp_path / "run", "--seeds", 1, "--steps", 1)
    assert status == 2
    assert len(err.splitlines()) == 1, err
    assert all(word in err for word in words), err
    assert list(tmp_path.iterdir()) == []  # nothing is in the way of the corrected command


def test_the_folder_of_a_search_is_left_alone(evonas: Callable[..., Outcome], tmp_path: Path) -> None:
    for name in ("archive.sqlite", "config.toml"):
        (tmp_path / name).write_text("")
    status, _, err = evonas("evaluate", "evonorm-s0", "--run", tmp_path)
    assert (status, "holds a search" in err) == (2, True)
    assert {path.name for path in tmp_path.iterdir()} == {"archive.sqlite", "config.toml"}


def test_kept_bytes_are_those_of_distinct_storages_without_parameters() -> None:
    layer, x = nn.Linear(3, 5), torch.randn(7, 3)
    # the product keeps x, the sigmoid its result; the weight is a parameter
    assert kept_bytes(layer, lambda: torch.sigmoid(layer(x))) == 4 * (7 * 3 + 7 * 5)


def test_bn_relu_costs_what_it_costs_and_a_bare_activation_keeps_less() -> None:
    task = evaluator_from_config(TINY.model_copy(update={"tasks": TINY.tasks[:1]})).tasks[0]
    relu, s0 = (network_cost(task, g, TINY.layer, 1) for g in (find_layer("max(x, zero)").genome, S0))
    assert relu.memory < s0.memory
    assert relu.relative_memory == pytest.approx(s0.relative_memory * relu.memory / s0.memory)
    assert relu.parameters < s0.parameters  # v1
    assert s0.training > 0
    assert s0.inference > 0


ONE = ("--settings", FILE, "--arch", "preact_resnet", "--seeds", 1, "--steps", 1)


def test_layers_are_compared_without_a_baseline_too(evonas: Callable[..., Outcome], tmp_path: Path) -> None:
    command = (
        "evaluate",
        "evonorm-s0",
        "gn-relu",
        *ONE,
        "--set",
        "baselines=[]",
        "--no-costs",
        "--run",
        tmp_path / "m",
    )
    status, out, err = evonas(*command)
    assert status == 0, err
    assert "minus" not in out
    assert "differences" not in out
    found = json.loads((tmp_path / "m" / "results.json").read_text())
    assert found["baseline"] is None
    assert {layer["name"]: layer["rank"] > 0 for layer in found["layers"]} == {"evonorm-s0": True, "gn-relu": True}
    assert (tmp_path / "m" / "heatmap.png").is_file()
    assert not (tmp_path / "m" / "differences.png").exists()


def test_a_layer_that_is_also_a_baseline_is_ranked(evonas: Callable[..., Outcome], tmp_path: Path) -> None:
    command = (
        "evaluate",
        "evonorm-s0",
        "bn-relu",
        *ONE,
        "--baseline",
        "bn-relu",
        "--no-costs",
        "--run",
        tmp_path / "m",
    )
    status, out, err = evonas(*command, "--json")
    assert status == 0, err
    layers = {layer["name"]: layer for layer in json.loads(out)["layers"]}
    assert {layer["rank"] for layer in layers.values()} == {1, 2}
    assert layers["bn-relu"]["baseline"]
    assert list(layers["evonorm-s0"]["differences"]) == ["bn-relu"]


def test_a_file_named_like_a_baseline_does_not_disappear_behind_it(tmp_path: Path) -> None:
    (tmp_path / "bn-relu.json").write_text(S0.to_json())
    with pytest.raises(InputError, match="two layers are called 'bn-relu'"):
        contenders_of({"a": find_layer(str(tmp_path / "bn-relu.json"))}, ["bn-relu"])
    (tmp_path / "bn-relu.json").write_text(CATALOGUE["bn-relu"].to_json())
    (same,) = contenders_of({"a": find_layer(str(tmp_path / "bn-relu.json"))}, ["bn-relu"])
    assert (same.baseline, same.ranked) == (True, True)


def test_costs_are_in_the_same_order_whatever_was_recorded_first(
    evonas: Callable[..., Outcome], tmp_path: Path
) -> None:
    run = ("--run", tmp_path / "run", "--json")
    assert evonas("evaluate", "square(x)", *ONE, *run)[0] == 0
    status, out, err = evonas("evaluate", "evonorm-s0", "square(x)", *ONE, *run, "--resume")
    assert status == 0, err
    assert list(json.loads(out)["costs"]) == ["evonorm-s0", "x^2", "gn-relu"]


def test_pictures_call_layers_by_names_that_people_know() -> None:
    genomes = {
        "runs/a/b#4": CATALOGUE["evonas-s1"],
        "runs/a/b#5": CATALOGUE["bn-relu"],
        "runs/c#1": Genome.from_text("mul(x, x)"),
    }
    contenders = [Contender(name, genome) for name, genome in genomes.items()]
    contenders += [Contender("bn-relu", CATALOGUE["bn-relu"], baseline=True)]
    found = compare(contenders, ["t"], [1], {contender.genome.key: {} for contender in contenders})
    assert known_names(found) == {
        "runs/a/b#4": "evonas-s1",
        "runs/a/b#5": "runs/a/b#5",  # beside the baseline that it is
        "runs/c#1": "c#1",
        "bn-relu": "bn-relu",
    }
