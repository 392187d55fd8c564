"""The command line as a user meets it: from search to module, stopped and killed runs, and every kind of bad input.

Oracles: the archive of an uninterrupted run with the same seed, and exit statuses (0, 2, 130).
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from operator import ge
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from evonas import config
from evonas.config.section import dump
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive, same_content
from evonas.search.outcome import Candidate, Evaluation, Proposal
from evonas.search.start import create_run
from studies import count_outcomes

ROOT = Path(__file__).parents[2]
TINY = str(ROOT / "search_spaces" / "tiny.toml")
SLOWER = ("--set", "training.steps=40", "--set", "protocols.quality.min_accuracy=0.0")  # time to be killed in

Outcome = tuple[int, str, str]


def start(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "evonas", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)


def wait_until_told(run: Path, count: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stdout and process.stdout.read()
        if (run / "archive.sqlite").is_file():
            with Archive.open(run / "archive.sqlite", read_only=True) as archive:
                if archive.told() >= count:
                    return
        time.sleep(0.05)
    raise AssertionError(f"{count} evaluations were not told in time")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run with one worker, seed 1, never interrupted."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    with start("search", TINY, "--run", run, *SLOWER) as process:
        output, _ = process.communicate()
    assert process.returncode == 0, output
    return run


def test_a_search_ends_with_a_table_a_module_and_logs(finished: Path) -> None:
    names = {p.name for p in finished.iterdir()}
    assert {"config.toml", "environment.json", "archive.sqlite", "tb", "best"} <= names
    assert len(list((finished / "best").glob("rank*.py"))) == 3
    assert len(list((finished / "best").glob("rank*.png"))) == 3
    assert list((finished / "tb").glob("events*"))


def test_top_prints_the_ranking_as_a_table_and_as_json(finished: Path, evonas: Callable[..., Outcome]) -> None:
    status, out, _ = evonas("top", finished)
    assert status == 0
    assert "gn-relu" in out
    assert "equivalence" in out
    status, out, _ = evonas("top", finished, "--json", "-n", 4)
    entries = json.loads(out)
    assert [e["rank"] for e in entries] == [1, 2, 3, 4, 0]
    assert {"key", "text", "formula", "objectives"} <= set(entries[0])
    assert all(set(e["objectives"]) == {"preact_resnet", "mobilenet_v2"} for e in entries)
    means = [e["mean"] for e in entries[:4]]
    assert means == sorted(means, reverse=True)
    assert Genome.from_text(entries[0]["text"]).key == entries[0]["key"]


def test_a_layer_of_language_models_says_which_text_it_was_trained_on(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    found = RunFolder(run).config()
    spoken = found.model_copy(update={"tasks": (config.TaskConfig(transformer="16x1", context=8),)})
    (run / "config.toml").write_text(dump(spoken))
    status, out, _ = evonas("show", f"{run}#1", "--json")
    assert status == 0
    assert "; topics, " in json.loads(out)[0]["provenance"]


def test_show_takes_every_way_to_name_a_layer(finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    s0 = CATALOGUE["evonorm-s0"]
    file = tmp_path / "layer.json"
    file.write_text(s0.to_json())
    for name in ("evonorm-s0", s0.to_text(), file):
        status, out, _ = evonas("show", name, "--json")
        assert status == 0
        assert [e["key"] for e in json.loads(out)] == [s0.key]
    status, out, _ = evonas("show", f"{finished}#1", "--json")
    first = json.loads(out)[0]
    assert status == 0
    assert first["objectives"]
    assert "rank 1" in first["provenance"]
    assert "digits, " in first["provenance"]
    status, out, _ = evonas("show", "evonorm-s0", "--png", tmp_path / "s0.png")
    assert status == 0
    assert "x * sigmoid(x * v1) / std[ghw](x)" in out
    assert (tmp_path / "s0.png").read_bytes().startswith(b"\x89PNG")


def test_the_exported_module_runs_without_evonas(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    module = tmp_path / "my_layer.py"
    status, _, _ = evonas("export", f"{finished}#1", "-o", module)
    assert status == 0
    script = (
        "import sys, importlib.util, torch\n"
        f"spec = importlib.util.spec_from_file_location('my_layer', {str(module)!r})\n"
        "m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)\n"
        "layers = [v for v in vars(m).values() if isinstance(v, type) and v.__module__ == 'my_layer']\n"
        "y = layers[-1](8)(torch.randn(2, 8, 5, 4))\n"
        "assert y.shape == (2, 8, 5, 4) and not any(n.startswith('evonas') for n in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_two_workers_write_the_same_archive_as_one(finished: Path, tmp_path: Path) -> None:
    with start("search", TINY, "--run", tmp_path / "two", "--workers", 2, *SLOWER) as process:
        output, _ = process.communicate()
    assert process.returncode == 0, output
    assert same_content(finished / "archive.sqlite", tmp_path / "two" / "archive.sqlite")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_resumes_to_the_archive_of_an_uninterrupted_one(
    finished: Path, tmp_path: Path, workers: int
) -> None:
    run = tmp_path / "killed"
    with start("search", TINY, "--run", run, "--workers", workers, *SLOWER) as process:
        wait_until_told(run, 4, process)
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    with Archive.open(run / "archive.sqlite", read_only=True) as archive:
        told = list(archive.records())
    assert 4 <= len(told) < 12
    with start("search", "--run", run, "--resume", "--workers", workers) as process:
        output, _ = process.communicate()
    assert process.returncode == 0, output
    with Archive.open(run / "archive.sqlite", read_only=True) as archive:
        assert list(archive.records())[: len(told)] == told
    assert same_content(finished / "archive.sqlite", run / "archive.sqlite")


def test_a_search_starts_from_given_layers_and_resumes_without_what_they_were_taken_from(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    earlier, run, file = tmp_path / "earlier", tmp_path / "run", tmp_path / "layer.json"
    shutil.copytree(finished, earlier)
    s1, unusual = CATALOGUE["evonorm-s1"], "a = mean[chw](x); mul(x, a)"
    file.write_text(s1.to_json())
    with Archive.open(finished / "archive.sqlite", read_only=True) as archive:
        scores = {c: tuple(e.objectives.values()) for c, e in archive.records() if e.objectives}
    front = [
        c.genome.key
        for c, mine in scores.items()
        if not any(other != mine and all(map(ge, other, mine)) for other in scores.values())
    ]
    last = json.loads(evonas("show", f"{earlier}#{len(scores)}", "--json")[1])[0]["key"]
    names = ("evonorm-s0", unusual, file, earlier, f"{earlier}#{len(scores)}", "evonorm-s0")
    wanted = [CATALOGUE["evonorm-s0"].key, Genome.from_text(unusual).key, s1.key, *front]
    wanted += [last] if last not in front else []
    arguments = [part for name in names for part in ("--start-from", name)]
    status, _, err = evonas("search", TINY, "--run", run, "--budget", 2, *arguments)
    assert status == 0, err
    shutil.rmtree(earlier)
    assert evonas("search", "--run", run, "--resume", "--budget", 4)[0] == 0
    assert [Genome.from_text(text).key for text in RunFolder(run).config().evolution.initial] == wanted
    with Archive.open(run / "archive.sqlite", read_only=True) as archive:
        proposed = [([p for p, _ in c.screened_out] + [c.proposal])[0] for c, _ in archive.records(screened_out=True)]
    assert [(p.operator, p.genome.key) for p in proposed] == [("initial", key) for key in wanted[:4]]


def test_starting_from_adds_to_the_initial_layers_of_the_file(tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    run, s1 = tmp_path / "run", CATALOGUE["evonorm-s1"].to_text()
    call = ("search", TINY, "--run", run, "--set", 'evolution.initial=["evonorm-s0"]', "--start-from", "evonorm-s1")
    assert evonas(*call, "--budget", 1)[0] == 0
    assert RunFolder(run).config().evolution.initial == ("evonorm-s0", s1)
    assert evonas(*call, "--resume", "--budget", 2)[0] == 0  # naming the same search again is fine
    one_line(evonas("search", "--run", run, "--resume", "--start-from", "sigmoid(x)"), "evolution", "differs")


def test_a_run_without_scores_is_nothing_to_start_from(tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    empty = create_run(tmp_path / "empty", config.load_search(TINY)).path
    call = ("search", TINY, "--run", tmp_path / "run")
    one_line(evonas(*call, "--start-from", empty), "--start-from", str(empty), "no layer of the run has scores yet")
    one_line(evonas(*call, "--start-from", tmp_path), "--start-from", str(tmp_path), "holds no run")
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "stopped"
    with start("search", TINY, "--run", run, "--workers", 2, *SLOWER) as process:
        wait_until_told(run, 3, process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
    assert process.returncode == 130, output
    assert f"evonas search --run {run} --resume" in output
    assert "Traceback" not in output
    with start("search", TINY, "--run", run, "--resume", *SLOWER) as process:  # naming the same search again is fine
        output, _ = process.communicate()
    assert process.returncode == 0, output
    assert same_content(finished / "archive.sqlite", run / "archive.sqlite")


def test_a_resumed_run_may_get_a_larger_budget_and_nothing_else(tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    run = tmp_path / "run"
    assert evonas("search", TINY, "--run", run, "--budget", 2)[0] == 0
    status, _, err = evonas("search", "--run", run, "--resume", "--budget", 4, "--seed", 5)
    assert status == 2
    assert "seed" in err
    status, _, _ = evonas("search", "--run", run, "--resume", "--budget", 4)
    assert status == 0
    with Archive.open(run / "archive.sqlite", read_only=True) as archive:
        assert archive.told() == 4


def test_a_later_search_reuses_the_evaluations_of_an_earlier_one_and_says_so(
    tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    cache, runs = tmp_path / "cache.sqlite", [tmp_path / name for name in ("plain", "cold", "warm")]
    call = ("search", TINY, "--budget", 5)
    for run, extra in zip(runs, ((), ("--cache", cache), ("--cache", cache, "--workers", 2)), strict=True):
        status, out, err = evonas(*call, "--run", run, *extra)
        assert status == 0, err
        assert ("5 of 5 evaluations reused from earlier runs" in out) == (run.name == "warm")
        assert same_content(runs[0] / "archive.sqlite", run / "archive.sqlite")
        with Archive.open(run / "archive.sqlite", read_only=True) as archive:
            events = [detail for _, kind, detail in archive.events() if kind == "cache"]
        hits = {"plain": [], "cold": [0], "warm": [6]}[run.name]  # five candidates and a baseline
        assert events == [f"{count} evaluations reused from {cache}" for count in hits]
        board = EventAccumulator(str(run / "tb")).Reload()
        reused = {"plain": None, "cold": [0] * 5, "warm": [1, 2, 3, 4, 5]}[run.name]
        assert ("evaluations/reused" in board.Tags()["scalars"]) == (reused is not None)
        assert reused is None or [event.value for event in board.Scalars("evaluations/reused")] == reused
    # a resumed run goes on with its cache, or without
    assert evonas("search", "--run", runs[2], "--resume", "--budget", 6)[0] == 0
    status, out, err = evonas("search", "--run", runs[1], "--resume", "--budget", 6, "--cache", "")
    assert (status, "reused" in out) == (0, False), err
    assert same_content(runs[1] / "archive.sqlite", runs[2] / "archive.sqlite")


def one_line(outcome: Outcome, *words: str) -> None:
    status, out, err = outcome
    assert status == 2, (out, err)
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    for word in words:
        assert word in lines[0], lines[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = 'x'\nwindow = 3\n", ("window", "unknown key", "accepted")),
        ("[evolution]\nwindw = 3\n", ("evolution.windw", "unknown key", "did you mean 'window'")),
        ("[evolution]\nwindow = 'big'\n", ("evolution.window", "'big'", "integer")),
        ("[evolution]\ntournament = 7.0\n", ("evolution.tournament", "7.0", "less than or equal to 1")),
        ("[space]\nprimitives = ['add', 'cosh']\n", ("space.primitives", "'cosh'", "sigmoid")),
        ("[space]\nindex_sets = ['w']\n", ("space.index_sets", "'w'", "ghw")),
        ("baselines = ['bn']\n", ("baselines", "'bn'", "bn-relu")),
        ("[data]\nscore_on = 'test'\n", ("data.score_on", "'test'", "a search sees no test image", "rerank --test")),
        ("[data]\nname = 'npz'\npath = 'nowhere.npz'\n", ("data.path", "nowhere.npz", "no such file")),
        ("[data]\nname = 'fashion_mnist'\npath = 'nowhere'\n", ("data.path", "nowhere", "dataset-fashion-mnist")),
        ("[execution]\ndevice = 'abacus'\n", ("execution.device", "abacus", "cpu")),
        ("= 3\n", ("is not TOML",)),
    ],
)
def test_a_wrong_search_file_is_one_line_and_nothing_is_written(
    text: str, words: tuple[str, ...], tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    base = Path(TINY).read_text()
    for section in ("evolution", "space", "data"):  # the faulty table takes the place of the good one
        if f"[{section}]" in text:
            head, _, tail = base.partition(f"[{section}]")
            base = head + "\n[" + tail.split("\n[", 1)[1] if "\n[" in tail else head
    text = text.replace("name = 'x'\n", "").replace("baselines", "#\nbaselines")
    top_level = not text.startswith("[")
    if text.startswith("#\nbaselines"):
        base = base.replace('baselines = ["gn-relu"]', "")
    file = tmp_path / "wrong.toml"
    file.write_text(text + base if top_level else base + "\n" + text)
    one_line(evonas("search", file, "--run", tmp_path / "run"), "wrong.toml", *words)
    assert [p.name for p in tmp_path.iterdir()] == ["wrong.toml"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "a = mul(b, x); b = neg(a); neg(b)"), ("'b'", "before it is defined", "earlier statement")),
        (("show", "a = mul(x, y); neg(a)"), ("'y'", "not defined", "accepted")),
        (("show", "cosh(x)"), ("unknown primitive 'cosh'", "tanh")),
        (("show", "std(x)"), ("no index set", "ghw")),
        (("show", "mul(x)"), ("1 operands", "accepted: 2")),
        (("show", "evonorm-s9"), ("'evonorm-s9'", "evonorm-s0")),
        (("show", "nothing.json"), ("nothing.json", "no such file")),
        (("show", "runs/nowhere#1"), ("runs/nowhere", "no such folder")),
        (("show", "evonorm-s0", "--png", "s0.jpg"), ("--png", "s0.jpg", ".png")),
        (("export", "evonorm-s0", "-o", "s0.txt"), ("s0.txt", ".py")),
        (("top", "nowhere"), ("nowhere", "no such folder", "evonas search")),
        (("rerank", "nowhere"), ("nowhere", "no such folder", "evonas search")),
        (("search",), ("FILE.toml", "not given")),
        (("search", "search_spaces/nothing.toml"), ("nothing.toml", "no such file", "tiny.toml")),
        (("search", TINY, "--budget", "soon"), ("--budget", "'soon'", "10m")),
        (("search", TINY, "--cache", "nowhere/cache.sqlite"), ("cache.sqlite", "cannot be used for results", "mkdir")),
        (("search", TINY, "--cache", "search_spaces"), ("search_spaces", "cannot be used for results")),
        (("search", TINY, "--start-from", "evonorm-b0"), ("--start-from evonorm-b0", "index set bhw")),
        (("search", TINY, "--start-from", "evonorm-s9"), ("--start-from", "'evonorm-s9'", "RUN#rank")),
        (("search", TINY, "--start-from", "cosh(x)"), ("--start-from", "unknown primitive 'cosh'")),
        (("search", TINY, "--set", "rungs.steps=[4, 2]"), ("tiny.toml", "rungs.steps: [4, 2]", "ascending")),
        (("search", TINY, "--set", "rungs.steps=[3]", "--set", "baselines=[]"), ("baselines", "there are rungs")),
        (("search", TINY, "--set", "rungs.reduction=1.0"), ("rungs.reduction", "greater than 1")),
        (("search", TINY, "--set", "evolution.initial=['relu']"), ("evolution.initial: 'relu'", "evonorm-s0")),
        (("search", TINY, "--set", "evolution.window"), ("--set evolution.window", "cannot be read")),
        (("search", TINY, "--set", "tasks.7.width=1.0"), ("tasks.7.width", "'7'", "0 to 1")),
        (("search", TINY, "--set", "tasks.0.name=twin", "--set", "tasks.1.name=twin"), ("tasks", "'twin'")),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: tuple[str, ...],
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    evonas: Callable[..., Outcome],
) -> None:
    (tmp_path / "search_spaces").symlink_to(ROOT / "search_spaces")
    monkeypatch.chdir(tmp_path)
    one_line(evonas(*arguments), *words)
    assert [p.name for p in tmp_path.iterdir()] == ["search_spaces"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "training.steps=5"), ("training", "only rerank and execution may change", "start a new run")),
        (("--set", "seed=5"), ("seed", "differs")),
        (("--set", "rerank.sedes=5"), ("rerank.sedes", "unknown key", "did you mean 'seeds'")),
        (("--set", "rerank.baselines=['bn']"), ("rerank.baselines", "'bn'", "bn-relu")),
        (("--margin-over", "frn-tlu"), ("rerank.margin_over", "'frn-tlu'", "accepted: gn-relu")),
        (("--set", "rerank.tasks=[{architecture='densenet', head=8}]"), ("tasks.architecture.head", "densenet")),
        (("--set", "execution.device=abacus"), ("execution.device", "abacus", "cpu")),
    ],
)
def test_wrong_settings_of_a_reranking_are_one_line_and_nothing_is_written(
    arguments: tuple[str, ...], words: tuple[str, ...], finished: Path, evonas: Callable[..., Outcome]
) -> None:
    before = [sorted((finished / folder).iterdir()) for folder in ("best", "tb")]
    one_line(evonas("rerank", finished, *arguments), *words)
    assert [sorted((finished / folder).iterdir()) for folder in ("best", "tb")] == before
    assert trials(finished) == 0


def test_a_run_without_scores_cannot_be_reranked(tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    run = tmp_path / "run"
    assert evonas("search", TINY, "--run", run, "--budget", 1, "--set", "protocols.quality.min_accuracy=1.0")[0] == 0
    one_line(evonas("rerank", run), str(run), "no layer has scores yet", "--resume")


def scores(run: Path) -> object:
    """All that a reranking found, without the times."""
    return json.loads((run / "best" / "rerank.json").read_text())


def test_a_stopped_reranking_goes_on_to_what_an_uninterrupted_one_finds(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    plain, stopped = tmp_path / "plain" / "run", tmp_path / "stopped" / "run"
    for run in (plain, stopped):
        shutil.copytree(finished, run)
    settings = ("--top", 2, "--seeds", 2, "--steps", 20, "--set", "rerank.keep=1")
    status, out, _ = evonas("rerank", plain, *settings, "--json")
    assert status == 0
    assert json.loads(out) == scores(plain)
    with start("rerank", stopped, *settings, "--workers", 2) as process:
        deadline = time.monotonic() + 120
        while trials(stopped) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert "the same command goes on" in output
    assert 3 <= trials(stopped) < 12
    status, out, err = evonas("rerank", stopped, *settings)
    assert status == 0
    assert "0 of 12 trials" not in err
    assert "minus gn-relu" in out
    assert trials(stopped) == 12
    assert scores(stopped) == scores(plain)
    names = sorted(path.name for path in (stopped / "best").glob("rerank*"))
    assert [name.split("_")[0] for name in names] == [
        "rerank.csv",
        "rerank.json",
        "rerank.md",
        "rerank.png",
        "rerank1",
        "rerank1",
    ]
    assert same_content(finished / "archive.sqlite", stopped / "archive.sqlite")  # the search is as it was


def trials(run: Path) -> int:
    return count_outcomes(run / "results.sqlite")


def test_a_reranking_takes_tasks_steps_and_test_images_of_its_own(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    tasks = "rerank.tasks=[{architecture='densenet', width=0.25, depth=[1, 1], unstrided=1}]"
    own = ("--set", tasks, "--set", "rerank.baselines=['bn-relu']")
    status, out, _ = evonas("rerank", run, "--top", 1, "--seeds", 2, "--steps", 3, "--test", *own, "--json")
    assert status == 0
    found = json.loads(out)
    assert found["tasks"] == ["densenet"]
    assert found["settings"]["training"]["steps"] == 3
    assert found["settings"]["data"]["score_on"] == "test"
    assert {layer["name"] for layer in found["layers"]} == {"#1", "bn-relu"}
    assert [layer["name"] for layer in found["layers"] if layer["kept"]] == ["#1"]
    score = found["layers"][0]["scores"]["densenet"]["2"]
    assert score * 360 == pytest.approx(round(score * 360))  # of the 360 test images
    assert config.load_search(run / "config.toml") == config.load_search(finished / "config.toml")


def test_layers_can_be_chosen_by_the_network_that_suits_them_least(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    _, out, _ = evonas("top", run, "--json", "-n", 100)
    entries = json.loads(out)
    (over,) = [e["objectives"] for e in entries if e["name"] == "gn-relu"]

    def margin(entry: dict[str, Any]) -> float:
        return min(value - over[task] for task, value in entry["objectives"].items())

    chosen = sorted((e for e in entries if e["rank"]), key=margin, reverse=True)[:2]
    arguments = ("--top", 2, "--seeds", 2, "--steps", 3, "--set", "rerank.baselines=['gn-relu']")
    status, out, _ = evonas("rerank", run, *arguments, "--margin-over", "gn-relu", "--json")
    assert status == 0
    layers = json.loads(out)["layers"]
    assert {layer["name"] for layer in layers} == {chosen[0]["name"], chosen[1]["name"], "gn-relu"}
    gains = [min(each["mean"] for each in x["differences"]["gn-relu"]["tasks"].values()) for x in layers if x["rank"]]
    assert gains == sorted(gains, reverse=True)


def test_resuming_an_empty_folder_and_starting_over_a_run_are_refused(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    one_line(evonas("search", "--run", tmp_path, "--resume"), str(tmp_path), "holds no run", "evonas search")
    assert list(tmp_path.iterdir()) == []
    before = (finished / "archive.sqlite").read_bytes()
    one_line(evonas("search", TINY, "--run", finished), str(finished), "already exists", "--resume")
    assert (finished / "archive.sqlite").read_bytes() == before


def test_a_rank_that_is_not_there_is_one_line(finished: Path, evonas: Callable[..., Outcome]) -> None:
    for rank in ("0", "99", "first"):
        one_line(evonas("show", f"{finished}#{rank}"), repr(rank), "a rank from 1 to")


@pytest.mark.parametrize("command", ["", "search", "rerank", "top", "show", "export"])
def test_every_help_has_an_example(command: str, evonas: Callable[..., Outcome]) -> None:
    status, out, _ = evonas(*([command] if command else []), "--help")
    assert status == 0
    assert "Example" in out
    assert os.linesep in out


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A run whose scores and extras are made up; few values, so that layers tie and dominate."""
    folder, rng = create_run(tmp_path / "measured", config.load_search(TINY)), random.Random(2)
    genomes = [Genome.from_text(f"{op}(x)") for op in ("tanh", "exp", "abs", "sqrt", "sigmoid", "square", "neg", "log")]
    with Archive.open(folder.archive_file) as archive:
        for index, genome in enumerate(genomes):
            extras = {"latency": float(rng.randrange(1, 4)), "stability_margin": 2.0 ** rng.randrange(3)}
            objectives = {"a": rng.randrange(4) / 4, "b": rng.randrange(4) / 4}
            evaluation = Evaluation(genome.key, 1, objectives=objectives, extras=extras)
            archive.record(Candidate(index, Proposal(genome, None, "random"), ""), evaluation)
        known = Evaluation(CATALOGUE["gn-relu"].key, 1, objectives={"a": 0.5, "b": 0.5}, extras={"latency": 1.25})
        archive.record_baseline("gn-relu", known)
    return folder.path


def gains(entry: dict[str, Any]) -> list[float]:
    return [*entry["objectives"].values(), -entry["extras"]["latency"], entry["extras"]["stability_margin"]]


def dominated(entry: dict[str, Any], by: dict[str, Any]) -> bool:
    pairs = list(zip(gains(by), gains(entry), strict=True))
    return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)


def test_top_pareto_leaves_what_nobody_dominates_with_its_rank(measured: Path, evonas: Callable[..., Outcome]) -> None:
    *ranked, _ = json.loads(evonas("top", measured, "--json", "-n", 99)[1])
    expected = [entry for entry in ranked if not any(dominated(entry, other) for other in ranked)]
    assert 1 < len(expected) < len(ranked)
    status, out, _ = evonas("top", measured, "--json", "--pareto", "-n", 99)
    *found, baseline = json.loads(out)
    assert status == 0
    assert found == expected
    assert (baseline["name"], baseline["extras"]) == ("gn-relu", {"latency": 1.25})
    assert evonas("show", f"{measured}#{found[-1]['rank']}", "--json")[1].count(found[-1]["key"])


def test_top_shows_extras_as_columns_and_says_what_they_mean(measured: Path, evonas: Callable[..., Outcome]) -> None:
    for arguments in ((), ("--pareto",)):
        status, out, _ = evonas("top", measured, *arguments)
        assert status == 0
        header = next(line for line in out.splitlines() if "formula" in line)
        assert header.index("mean") < header.index("latency") < header.index("stability_margin")
        baseline = next(line for line in out.splitlines() if "gn-relu" in line)
        assert baseline.replace("│", " ").split()[-5:] == ["0.5000", "0.5000", "0.5000", "1.25", "-"]
        assert "latency: forward and backward time / that of BN-ReLU, of tokens LN-GELU, lower is better" in out
        assert "stability_margin: largest learning rate that trains / the default, higher is better" in out


def test_the_front_of_a_run_without_extras_is_that_of_its_accuracies(
    finished: Path, evonas: Callable[..., Outcome]
) -> None:
    *ranked, _ = json.loads(evonas("top", finished, "--json", "-n", 99)[1])
    *found, _ = json.loads(evonas("top", finished, "--json", "--pareto", "-n", 99)[1])
    scores = {entry["name"]: list(entry["objectives"].values()) for entry in ranked}
    beaten = {
        name
        for name, values in scores.items()
        for others in scores.values()
        if values != others and all(x <= y for x, y in zip(values, others, strict=True))
    }
    assert [entry["name"] for entry in found] == [name for name in scores if name not in beaten]
    assert all(entry["extras"] == {} for entry in ranked)
