"""``evonas rerank``. Oracles: the same reranking without an interruption, and counts of its trials."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archives import same_content
from stopping import stop_after

from evonas import config
from studies import assert_one_line, count_outcomes

TINY = str(Path(__file__).parents[2] / "search_spaces" / "tiny.toml")


Outcome = tuple[int, str, str]


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
    assert_one_line(evonas("rerank", finished, *arguments), words)
    assert [sorted((finished / folder).iterdir()) for folder in ("best", "tb")] == before
    assert trials(finished) == 0


def test_a_run_without_scores_cannot_be_reranked(tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    run = tmp_path / "run"
    assert evonas("search", TINY, "--run", run, "--budget", 1, "--set", "protocols.quality.min_accuracy=1.0")[0] == 0
    assert_one_line(evonas("rerank", run), [str(run), "no layer has scores yet", "--resume"])


def scores(run: Path) -> object:
    """All that a reranking found, without the times."""
    return json.loads((run / "best" / "rerank.json").read_text())


def test_a_stopped_reranking_goes_on_to_what_an_uninterrupted_one_finds(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evonas: Callable[..., Outcome]
) -> None:
    plain, stopped = tmp_path / "plain" / "run", tmp_path / "stopped" / "run"
    for run in (plain, stopped):
        shutil.copytree(finished, run)
    settings = ("--top", 2, "--seeds", 2, "--steps", 3, "--set", "rerank.keep=1")
    status, out, _ = evonas("rerank", plain, *settings, "--json")
    assert status == 0
    assert json.loads(out) == scores(plain)
    stop_after(3, signal.SIGINT, monkeypatch.setattr)
    status, out, err = evonas("rerank", stopped, *settings, "--workers", 2)
    assert status == 130, err
    assert "Traceback" not in out + err
    assert "the same command goes on" in " ".join(err.split())
    assert trials(stopped) == 3
    status, out, err = evonas("rerank", stopped, *settings)
    assert status == 0
    assert "3 of 12 trials" in err
    assert "Paired differences with 95 % intervals, in points" in " ".join(out.split())
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


def test_a_rank_of_the_latest_reranking_names_a_layer(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    assert_one_line(evonas("show", f"{run}#rerank1"), ["has not been reranked", f"evonas rerank {run}"])
    assert "rerank" not in evonas("top", run)[1]
    settings = ("--top", 3, "--seeds", 1, "--steps", 3, "--set", "rerank.keep=3")
    assert evonas("rerank", run, *settings)[0] == 0
    order = [layer for layer in json.loads((run / "best" / "rerank.json").read_text())["layers"] if layer["rank"]]
    assert [layer["rank"] for layer in order] == [1, 2, 3]
    said = evonas("top", run)[1]
    for layer in order:
        status, out, _ = evonas("show", f"{run}#rerank{layer['rank']}", "--json")
        (shown,) = json.loads(out)
        assert status == 0
        assert shown["key"] == layer["key"]
        assert shown["objectives"] == {task: scores["mean"] for task, scores in layer["tasks"].items()}
        assert f"{layer['rank']} of the reranking, {layer['name']} of the search" in shown["provenance"]
        assert list((run / "best").glob(f"rerank{layer['rank']}_{shown['key'][:8]}.py"))
        assert f"{run}#rerank{layer['rank']} is {layer['name']}" in said
    for rank in ("rerank0", "rerank4", "rerank", "rerankone"):
        assert_one_line(evonas("show", f"{run}#{rank}"), [f"rank {rank!r}", "accepted: rerank1 to rerank3"])
    assert_one_line(evonas("show", f"{run}#99"), ["a rank from 1 to", "or of the reranking, rerank1"])
    (run / "best" / "rerank.json").write_text('{"layers": [{}]}')
    assert_one_line(evonas("show", f"{run}#rerank1"), ["rerank.json", "is not what evonas rerank writes"])


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
