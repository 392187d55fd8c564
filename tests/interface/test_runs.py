"""Searches from Python against the command line: the same archive, the same ranking, the same refusals.

The loop by hand is run as ``docs/python.md`` has it, and against the archive of the driver.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from archives import same_content
from command import status_of

import evonas
from evonas import config
from evonas.errors import InputError
from evonas.search.archive import Archive
from evonas.search.making import make_search
from evonas.search.start import create_run

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

ROOT = Path(__file__).parents[2]
TINY = ROOT / "search_spaces" / "tiny.toml"
LEARNS = {"protocols.quality.min_accuracy": 0.0}
PYTHON = (ROOT / "docs" / "python.md").read_text()

Outcome = tuple[int, str, str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> evonas.Run:
    folder = tmp_path_factory.mktemp("python") / "run"
    return evonas.run_search(TINY, run=folder, budget=6, overrides=LEARNS, progress=False)


def test_it_does_what_the_command_does(run: evonas.Run, tmp_path: Path) -> None:
    call = ("search", "tiny", "--run", tmp_path / "run", "--budget", 6, "--set", "protocols.quality.min_accuracy=0.0")
    assert status_of(*call) == 0
    assert same_content(run.folder / "archive.sqlite", tmp_path / "run" / "archive.sqlite")
    assert {p.name for p in run.folder.iterdir()} == {p.name for p in (tmp_path / "run").iterdir()}
    assert (run.folder / "config.toml").read_text() == (tmp_path / "run" / "config.toml").read_text()
    typed = evonas.open_run(tmp_path / "run")
    assert [(entry.name, entry.genome) for entry in typed.best] == [(entry.name, entry.genome) for entry in run.best]


def test_a_run_holds_its_layers_best_first(run: evonas.Run) -> None:
    with Archive.open(run.folder / "archive.sqlite", read_only=True) as archive:
        means = {c.index: e.mean for c, e in archive.records() if e.mean is not None}
        keys = {c.index: c.genome.key for c, _ in archive.records()}
    ranked = sorted(means, key=lambda index: -means[index])
    assert [entry.candidate for entry in run.best] == ranked
    assert [entry.genome.key for entry in run.best] == [keys[index] for index in ranked]
    assert [entry.name for entry in run.baselines] == ["gn-relu"]
    assert run.ending == "the budget is used up"
    assert evonas.open_run(run.folder).best == run.best
    assert evonas.open_run(str(run.folder)).ending == run.ending


def test_its_rows_are_all_candidates(run: evonas.Run) -> None:
    rows = run.rows()
    assert [row["candidate"] for row in rows] == list(range(6))
    assert sum(row["mean"] is not None for row in rows) == len(run.best)
    best = rows[run.best[0].candidate or 0]
    tasks = run.best[0].evaluation.objectives
    assert {task: best[task] for task in tasks} == dict(tasks)
    assert all((row["mean"] is None) == (row["reason"] is not None) for row in rows)
    assert all(row["parent"] is None or row["parent"] < row["candidate"] for row in rows)


def test_its_rows_as_a_table(run: evonas.Run) -> None:
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    frame = run.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.index) == list(range(6))
    assert frame["mean"].max() == run.best[0].evaluation.mean


def test_without_pandas_it_says_what_installs_it(run: evonas.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="pandas is not installed; pip install pandas"):
        run.to_frame()


def test_a_layer_of_it_is_lowered_as_the_search_lowered_it(run: evonas.Run) -> None:
    layer, settings = run.layer(1, num_features=8), config.load_search(run.folder / "config.toml").layer
    own = evonas.lower(run.best[0].genome, 8, layout="bchw", groups=settings.groups, eps=settings.eps)
    x = torch.randn(4, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(layer(x), own(x))
    with pytest.raises(InputError, match=f"rank: 99; accepted: 1 to {len(run.best)}"):
        run.layer(99, num_features=8)


def test_it_shows_itself(run: evonas.Run) -> None:
    shown, page = repr(run), run._repr_html_()
    for entry in (*run.best, *run.baselines):
        assert entry.formula in shown
        assert f"{entry.evaluation.mean:.4f}" in shown
        assert f"<td>{entry.name}</td>" in page
    assert "go on with a larger budget: evonas search --run" in shown
    assert "<script" not in page


def test_it_goes_on_where_it_stopped_and_remembers_the_new_budget(tmp_path: Path, run: evonas.Run) -> None:
    folder = tmp_path / "run"
    first = evonas.run_search("tiny", run=folder, budget="2", overrides=LEARNS, progress=False)
    assert len(first.rows()) == 2
    again = evonas.run_search(run=folder, resume=True, progress=False)
    assert len(again.rows()) == 2
    longer = evonas.run_search(run=folder, resume=True, budget=6, progress=False)
    assert config.load_search(folder / "config.toml").budget.evaluations == 6
    assert config.load_search(folder / "config.1.toml").budget.evaluations == 2
    assert same_content(longer.folder / "archive.sqlite", run.folder / "archive.sqlite")


def test_the_command_that_is_printed_at_the_end_goes_on(
    tmp_path: Path, evonas: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert evonas("search", TINY, "--run", "my run", "--budget", 1)[0] == 0
    for told in (8, 16):
        status, out, err = evonas("search", "--run", "my run", "--resume")
        assert status == 0, err
        (command,) = re.findall(r"go on with a larger budget: evonas (.*)", out)
        assert evonas(*[part.strip("'") for part in re.findall(r"'[^']*'|\S+", command)])[0] == 0
        with Archive.open(tmp_path / "my run" / "archive.sqlite", read_only=True) as archive:
            assert archive.told() == told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"budget": "soon"}, "^budget: 'soon'; accepted: a time such as"),
        ({"start_from": ["evonorm-s9"]}, "^start_from: LAYER: 'evonorm-s9'"),
        ({"overrides": {"training.stepps": 5}}, "training.stepps"),
        ({"overrides": "training.steps=5"}, "^overrides: 'training.steps=5'; accepted: a dictionary"),
        ({"search": None}, "^search: not given"),
        ({"search": "tinny"}, "tinny: no such file"),
        ({"search": None, "resume": True, "run": None}, "^resume: which run"),
        ({"resume": True}, "holds no run|no such folder"),
        ({"device": "abacus"}, "execution.device"),
        ({"workers": -1}, "execution.workers"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_written(
    arguments: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        evonas.run_search(**({"search": "tiny", "run": tmp_path / "run", "progress": False} | arguments))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="no such folder"):
        evonas.open_run(tmp_path / "run")


def test_progress_is_shown_on_the_error_stream_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], run: evonas.Run
) -> None:
    evonas.run_search(TINY, run=tmp_path / "run", budget=1, overrides=LEARNS)
    shown, silent = capsys.readouterr(), evonas.run_search(run=run.folder, resume=True, progress=False)
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines[0] == "loading data and networks"
    assert any(line.startswith("baseline gn-relu: 0.") for line in lines)
    assert "told" not in shown.err
    assert (capsys.readouterr().err, len(silent.rows())) == ("", 6)


def blocks() -> list[str]:
    return [block for block in re.findall(r"```python\n(.*?)```", PYTHON, re.S) if "run_search" not in block]


def test_the_loops_of_the_docs_run_with_the_public_names_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert len(blocks()) == 2
    for block in blocks():
        assert re.findall(r"import .*", block) == ["import evonas"]
        space: dict[str, Any] = {"__name__": "example"}
        exec(compile(block, "docs/python.md", "exec"), space)  # our own text
        assert space["search"].told == (12 if "evaluator" in space else 5)
    assert len(capsys.readouterr().out.splitlines()) >= 12


def test_a_loop_by_hand_asks_for_what_the_driver_asked_for(run: evonas.Run) -> None:
    settings = config.load_search(run.folder / "config.toml")
    with Archive.open(run.folder / "archive.sqlite", read_only=True) as archive:
        records = list(archive.records(screened_out=True))
    screens = evonas.Screens(settings.protocols, settings.layer)
    space = evonas.SearchSpace.from_config(settings.space)
    for search in (
        evonas.Search(space, settings.evolution, settings.seed, screens, screens.probe),
        make_search(settings),
    ):
        for candidate, _ in records:
            if not search.may_ask:
                search.tell(search.told, records[search.told][1])
            assert search.ask() == candidate


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("key", {"accuracy": 0.9}), r"^Evaluation: seed: is a dict; give scores by name, as objectives=\{'accuracy'"),
        (
            (evonas.CATALOGUE["bn-relu"], 1),
            "^Evaluation: key: is a Genome; give that of the layer",
        ),
    ],
)
def test_an_evaluation_that_is_made_wrongly_says_how_it_is_made(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        evonas.Evaluation(*arguments)


def test_an_opened_run_that_never_ended_says_so(tmp_path: Path) -> None:
    create_run(tmp_path / "run", config.load_search(TINY))
    found = evonas.open_run(tmp_path / "run")
    assert (found.ending, found.best, found.rows()) == ("", (), [])
    assert "no candidate was evaluated" in repr(found)
