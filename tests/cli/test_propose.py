"""Layers handed to a running search of two workers by another process, and the search done again without them.

Oracles: the archive of the run that is replayed, the layers that were sent, exit statuses.
"""

import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from archives import same_content
from proposing import SENT, run_with_proposals

from evonas import config, open_run
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.runs.folder import RunFolder, locked
from evonas.search import inbox
from evonas.search.archive import Archive
from evonas.search.start import create_run
from studies import assert_one_line

ROOT = Path(__file__).parents[2]
TINY = str(ROOT / "search_spaces" / "tiny.toml")
LEARNS = ("--set", "protocols.quality.min_accuracy=0.0")  # as the fixture ``finished`` has it
CALL = (TINY, "--workers", 2, *LEARNS)

Outcome = tuple[int, str, str]


def sent() -> list[tuple[str, str]]:
    """Key and proposer of what a run is sent, as layers of its space."""
    space = SearchSpace.load(TINY)
    return [(space.padded(Genome.from_formula(formula)).key, by) for formula, by in SENT]


def received(run: Path) -> list[tuple[str, str]]:
    """Key and proposer of every recorded layer from outside, in the order of drawing."""
    with Archive.open(run / "archive.sqlite", read_only=True) as archive:
        return [(each.genome.key, each.origin.by) for each in archive.handed_in()]


@pytest.mark.slow
def test_a_live_run_of_two_workers_is_replayed_by_one_without_the_proposer(
    tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    live, again = tmp_path / "live", tmp_path / "again"
    run_with_proposals(3, 0, live, *CALL)
    assert received(live) == sent()
    assert inbox.waiting(RunFolder(live).inbox_folder) == []
    status, out, err = evonas("search", "--replay", live, "--run", again, "--workers", 1)
    assert status == 0, err
    assert f"the replay is equal to {live}: 12 candidates" in out
    assert same_content(live / "archive.sqlite", again / "archive.sqlite")


@pytest.mark.slow
def test_killed_with_proposals_on_their_way_it_goes_on_with_them_and_is_replayed(
    tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    """It dies when five are recorded: what was sent after three is drawn, but most of it is not recorded."""
    live, again = tmp_path / "live", tmp_path / "again"
    run_with_proposals(3, 5, live, *CALL)
    assert len(received(live)) < len(SENT)
    assert inbox.waiting(RunFolder(live).inbox_folder)
    status, _, err = evonas("search", "--run", live, "--resume", "--workers", 1)
    assert status == 0, err
    assert received(live) == sent()
    status, out, err = evonas("search", "--replay", live, "--run", again, "--workers", 1)
    assert status == 0, err
    assert "the replay is equal to" in out
    assert same_content(live / "archive.sqlite", again / "archive.sqlite")


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A finished run of one's own."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_finished_run_says_that_layers_wait_and_takes_them_when_it_goes_on(
    copied: Path, evonas: Callable[..., Outcome]
) -> None:
    status, out, err = evonas("propose", copied, "x * tanh(x) / rms[hw](x)", "x - x", "--from", "me", "--note", "why")
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0] == "handed in: x * tanh(x) / rms[hw](x); passes the screens"
    assert lines[1].startswith("handed in: 0; will be screened out: numerics: output does not depend")
    assert lines[2].startswith(f"{copied} has used up its budget: they wait until it goes on")
    said = json.loads(evonas("state", copied, "--json")[1])["proposals"]
    assert [(p["from"], p["note"], p["ended"]) for p in said] == [("me", "why", "waiting")] * 2
    assert evonas("search", "--run", copied, "--resume", "--budget", 14)[0] == 0
    said = json.loads(evonas("state", copied, "--json")[1])["proposals"]
    assert [(p["ended"], p["candidate"], p["stage"]) for p in said] == [
        ("scored", 12, None),
        ("screened out", None, "numerics"),
    ]
    assert evonas("propose", copied, "exp(-x^2)")[0] == 0
    out = evonas("search", "--run", copied, "--resume", "--budget", 14)[1]
    assert "1 proposal waits in the inbox, and will be drawn when the run goes on" in out
    with Archive.open(copied / "archive.sqlite", read_only=True) as archive:
        operators = [candidate.proposal.operator for candidate, _ in archive.records()]
    assert operators[12] == "proposed by me"


def test_what_will_happen_to_a_layer_that_was_tried_already_is_said_at_once(
    copied: Path, evonas: Callable[..., Outcome]
) -> None:
    with Archive.open(copied / "archive.sqlite", read_only=True) as archive:
        candidate = list(archive.records())[4][0]
    status, out, _ = evonas("propose", copied, f"{candidate.genome.to_text()}", "--json")
    assert status == 0
    said = json.loads(out)
    assert (said["foreseen"], said["stage"], said["detail"]) == ("screened out", "equivalence", "candidate 4")


def test_every_way_to_name_a_layer_will_do(copied: Path, finished: Path, evonas: Callable[..., Outcome]) -> None:
    file = copied / "layer.json"
    file.write_text(CATALOGUE["frn-tlu"].to_json())
    names = ("evonorm-s0", "-tanh(2 * x)", "a = sigmoid(x); mul(x, a)", file, f"{finished}#2")
    status, out, err = evonas("propose", copied, *names, "--json")
    assert status == 0, err
    said = [json.loads(line) for line in out.splitlines()]
    assert [one["formula"] for one in said] == [
        "x * sigmoid(x * v1) / std[ghw](x)",
        "-tanh(2 * x)",
        "x * sigmoid(x)",
        "max(x / rms[hw](x), v0)",
        open_run(finished).best[1].formula,
    ]
    assert inbox.waiting(RunFolder(copied).inbox_folder) == [f"{one['id']}.json" for one in said]


def test_layers_as_arguments_are_handed_in_all_or_none(copied: Path, evonas: Callable[..., Outcome]) -> None:
    for bad, words in (
        ("cosh(x)", ["unknown primitive 'cosh'"]),
        ("evonorm-b0", ["index set bhw is not in the space", f"space of {copied}", "evonas state RUN"]),
        ("nothing.json", ["nothing.json", "no such file"]),
        (f"{copied}#99", ["rank '99'"]),
    ):
        assert_one_line(evonas("propose", copied, "tanh(x)", bad), words)
    assert_one_line(evonas("propose", copied, "tanh(x)", "--from", ""), ["--from", "0 characters"])
    assert_one_line(evonas("propose", copied, "tanh(x)", "--note", "n" * 2001), ["--note", "2001", "at most 2000"])
    assert_one_line(evonas("propose", copied, "tanh(x)", "-"), ["LAYER", "one of the two"])
    assert_one_line(evonas("propose", copied / "nothing", "tanh(x)"), ["no such folder", "evonas search"])
    assert_one_line(evonas("propose", copied.parent, "tanh(x)"), ["holds no run"])
    assert_one_line(evonas("state", copied / "nothing"), ["no such folder"])
    assert not (copied / "inbox").exists()


def test_lines_of_json_are_answered_one_by_one(
    copied: Path, monkeypatch: pytest.MonkeyPatch, evonas: Callable[..., Outcome]
) -> None:
    lines = [
        '{"layer": "evonorm-s1", "from": "model 1", "note": "two\\nlines"}',
        "",
        "import os",
        '{"layer": "cosh(x)"}',
        '{"layer": "tanh(x)", "form": "me"}',
        '{"layer": 3}',
        "[" * 60_000,
        '{"layer": "' + "x" * 70_000 + '"}',
        '{"layer": "tanh(\\ud800)"}',
        '{"layer": "x * tanh(x)"}',
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    status, out, err = evonas("propose", copied, "-", "--from", "me", "--json")
    said = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (2, "")
    assert [(one["from"], one["note"]) for one in said if "id" in one] == [("model 1", "two lines"), ("me", "")]
    assert [one["line"] for one in said if "refused" in one] == [3, 4, 5, 6, 7, 8, 9]
    assert all(one["refused"].startswith(f"line {one['line']}: ") for one in said if "refused" in one)
    assert len(inbox.waiting(RunFolder(copied).inbox_folder)) == 2


def test_the_state_of_a_run_is_what_its_archive_holds(finished: Path, evonas: Callable[..., Outcome]) -> None:
    status, out, err = evonas("state", finished, "--json", "-n", 5)
    assert status == 0, err
    said = json.loads(out)
    run = open_run(finished)
    rows = run.rows()
    assert (said["state"], said["budget"]["evaluated"], said["budget"]["evaluations_left"]) == ("finished", 12, 0)
    assert [layer["candidate"] for layer in said["top"]] == [entry.candidate for entry in run.best[:5]]
    assert [layer["mean"] for layer in said["baselines"]] == [entry.evaluation.mean for entry in run.baselines]
    assert [one["candidate"] for one in said["tried"]] == [11, 10, 9, 8, 7]
    assert [one["mean"] for one in said["tried"]] == [row["mean"] for row in rows[:-6:-1]]
    assert sum(one["count"] for one in said["rejections"]) == sum(
        row["screened_out"] + (row["stage"] is not None) for row in rows
    )
    assert all(1 <= len(one["examples"]) <= 3 for one in said["rejections"])
    scored = [row["candidate"] for row in rows if row["mean"] is not None]
    assert said["window"]["size"] == min(8, len(scored))  # evolution.window
    latest = sorted(scored[-8:], key=lambda index: (-rows[index]["mean"], index))
    assert [layer["candidate"] for layer in said["window"]["layers"]] == latest[:5]
    assert {layer["candidate"] for layer in said["front"]} <= set(scored)
    assert said["space"]["index_sets"].keys() == {"chw", "hw", "ghw"}
    assert said["space"]["nodes"] == 6
    assert said["proposals"] == []
    assert run.state(5) == said
    status, out, err = evonas("state", finished)
    assert status == 0, err
    assert all(word in out for word in ("12 evaluated", "left: 0 evaluations", run.best[0].formula, "rejections"))


def test_the_page_on_proposals_names_every_key_of_the_state(finished: Path) -> None:
    state, page = open_run(finished).state(), (ROOT / "docs" / "propose.md").read_text()
    layers = (state["tried"][0], state["window"]["layers"][0], state["rejections"][0])
    keys = {*state, *state["budget"], *state["space"], *state["window"], *(key for layer in layers for key in layer)}
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


def test_the_proposer_of_the_page_proposes_changed_formulas(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "propose.md").read_text()
    program = page.partition("```python\n# proposer.py\n")[2].partition("```")[0]
    monkeypatch.setattr("sys.argv", ["proposer.py", str(copied), "3"])
    monkeypatch.setattr("time.sleep", lambda _: None)
    exec(compile(program, "proposer.py", "exec"), {"__name__": "__main__"})  # our own text
    found = open_run(copied).state()
    formulas = {layer["formula"] for layer in (*found["tried"], *found["top"], *found["baselines"])}
    new = [one["formula"] for one in found["proposals"] if one["from"] == "proposer.py"]
    assert len(set(new)) >= 5
    assert set(new) - formulas


def test_the_state_is_json_where_numbers_overflowed(copied: Path, evonas: Callable[..., Outcome]) -> None:
    assert evonas("propose", copied, "x - x")[0] == 0
    assert evonas("search", "--run", copied, "--resume", "--budget", 13)[0] == 0
    with closing(sqlite3.connect(copied / "archive.sqlite")) as file, file:
        file.execute("UPDATE rejections SET measured = 9e999")
    status, out, err = evonas("state", copied, "--json")
    assert status == 0, err
    said = json.loads(out, parse_constant=pytest.fail)
    assert [one["measured"] for one in said["proposals"]] == [None]


def test_a_run_that_has_only_begun_has_a_state(tmp_path: Path) -> None:
    settings = config.load_search(TINY, ["rungs.steps=[3]", "objectives.latency=true"])
    state = open_run(create_run(tmp_path / "run", settings).path).state()
    assert (state["budget"]["evaluated"], state["top"], state["window"]["size"]) == (0, [], 0)
    assert list(state["objectives"])[-1] == "latency"


def test_while_a_run_is_driven_its_state_says_so_and_layers_are_taken_soon(
    copied: Path, evonas: Callable[..., Outcome]
) -> None:
    with locked(RunFolder(copied)), Archive.open(copied / "archive.sqlite") as archive:
        archive.event("started", "after 12 candidates")  # as a driver has it open, in the middle of its work
        status, out, err = evonas("propose", copied, "x * tanh(x) / rms[hw](x)")
        assert status == 0, err
        assert f"{copied} is running: it takes them" in out
        said = json.loads(evonas("state", copied, "--json")[1])
    assert (said["state"], [one["ended"] for one in said["proposals"]]) == ("running", ["waiting"])
    assert json.loads(evonas("state", copied, "--json")[1])["state"] != "running"


def test_from_python_layers_are_handed_in_as_genomes_or_texts(copied: Path) -> None:
    run = open_run(copied)
    first, second = run.propose(CATALOGUE["evonorm-s0"], "x - x", by="me", note="a guess")
    assert first.foreseen is None
    assert second.foreseen is not None
    assert second.foreseen.stage == "numerics"
    waiting = run.state()["proposals"]
    assert [(one["id"], one["ended"]) for one in waiting] == [(first.id, "waiting"), (second.id, "waiting")]
    for layer in ("x / std[bhw](x)", 3):
        with pytest.raises(InputError):
            run.propose("tanh(x)", layer)  # type: ignore[arg-type]
    assert len(run.state()["proposals"]) == 2


def test_a_folder_of_somebody_else_runs_none_of_its_extensions(
    copied: Path, monkeypatch: pytest.MonkeyPatch, evonas: Callable[..., Outcome]
) -> None:
    file = copied / "config.toml"
    file.write_text(file.read_text().replace("extensions = []", 'extensions = ["stranger"]'))
    (copied / "stranger.py").write_text("raise SystemExit('it was run')\n")
    monkeypatch.chdir(copied)
    for call in (("propose", copied, "tanh(x)"), ("state", copied, "--json")):
        words = ["needs the extension stranger", "evonas --extension stranger"]
        assert_one_line(evonas(*call), words)


def test_a_replay_takes_its_settings_from_the_run(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    new, call = tmp_path / "new", ("search", "--replay", finished, "--run", tmp_path / "new")
    assert_one_line(evonas(*call, "--seed", 2), ["--replay: seed", "differs from what the run was started with"])
    assert_one_line(evonas(*call, "--start-from", "tanh(x)"), ["--replay: evolution", "differs"])
    assert_one_line(evonas("search", TINY, *call[1:]), ["--replay", "leave it out"])
    assert_one_line(evonas(*call, "--resume"), ["--replay", "--resume", "leave --replay out"])
    assert_one_line(evonas("search", "--replay", finished, "--run", finished), ["already exists"])
    assert_one_line(evonas("search", "--replay", tmp_path), ["holds no run"])
    assert list(tmp_path.iterdir()) == []
    status, out, err = evonas(*call, "--budget", 4)
    assert status == 0, err
    assert f"the first 4 of 12 candidates are replayed, and equal to those of {finished}" in out
    status, out, err = evonas("search", "--run", new, "--resume", "--budget", 13)
    assert status == 0, err
    assert f"the replay is equal to {finished}: 12 candidates" in out
