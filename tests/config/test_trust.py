"""Files that name code of users. Oracle: a module that leaves a file behind when it is imported."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from evonas import config
from evonas.config.trust import named_code
from evonas.errors import InputError
from evonas.interface.runs import run_search
from studies import assert_one_line

ROOT = Path(__file__).parents[2]
TINY = ROOT / "search_spaces" / "tiny.toml"
STRANGER = "open('it_was_run', 'w').close()\nraise ValueError('a fault of this module')\n"
Outcome = tuple[int, str, str]
Call = Callable[..., Outcome]

pytestmark = pytest.mark.usefixtures("tables")


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of a stranger, in the current folder."""
    found = f"stranger_{os.path.basename(tmp_path)}".replace("-", "_")
    (tmp_path / f"{found}.py").write_text(STRANGER)
    (tmp_path / "own.toml").write_text(TINY.read_text())
    monkeypatch.chdir(tmp_path)
    return found


def search(name: str) -> tuple[str, ...]:
    return ("search", "own.toml", "--set", f'tasks=[{{task="{name}:make"}}]')


def test_a_search_imports_no_task_and_no_extension_that_is_not_trusted(name: str, evonas: Call) -> None:
    ext = ("search", "own.toml", "--set", f'extensions=["{name}"]')
    round_ = ("search", "own.toml", "--set", f'racing.rounds=[{{tasks=[{{task="{name}:make"}}]}}]')
    for call, key in ((search(name), "tasks.0.task"), (ext, "extensions"), (round_, "racing.rounds.0.tasks.0.task")):
        words = ["own.toml: names Python code that would be run", name, f"({key})", "add --trust"]
        assert_one_line(evonas(*call), words)
        assert not Path("it_was_run").exists()
        assert not Path("runs").exists()
    assert_one_line(evonas(*ext, "--trust"), ["cannot be imported", "a fault of this module"])
    assert Path("it_was_run").exists()


def test_a_folder_of_somebody_else_is_not_gone_on_with_or_reranked(name: str, evonas: Call) -> None:
    run = Path("theirs")
    run.mkdir()
    run.joinpath("archive.sqlite").touch()
    run.joinpath("config.toml").write_text(f'name = "a"\n[[tasks]]\ntask = "{name}:make"\n')
    for call in (("search", "--run", run, "--resume"), ("search", "--replay", run), ("rerank", run)):
        assert_one_line(evonas(*call), [f"{name}:make (tasks.0.task)", "add --trust"])
    assert not Path("it_was_run").exists()


def test_a_comparison_asks_for_what_its_file_names_and_not_for_what_is_typed(name: str, evonas: Call) -> None:
    Path("theirs.toml").write_text(f'name = "a"\n[[tasks]]\ntask = "{name}:make"\n')
    assert_one_line(evonas("evaluate", "bn-relu", "--settings", "theirs.toml"), [name, "add --trust"])
    assert_one_line(evonas("evaluate", "bn-relu", "--settings", "theirs.toml", "--arch", "make"), [name, "add --trust"])
    assert not Path("it_was_run").exists()
    assert_one_line(evonas("evaluate", "bn-relu", "--arch", f"{name}:make"), ["cannot be imported"])
    assert Path("it_was_run").exists()


@pytest.mark.parametrize(
    "verb", [("certify", "evonorm-s0", "--settings", "certificate"), ("stability", "qk_layernorm")]
)
def test_studies_ask_as_well(verb: tuple[str, ...], name: str, evonas: Call) -> None:
    assert_one_line(evonas(*verb, "--set", f'extensions=["{name}"]'), [name, "(extensions)", "add --trust"])
    assert not Path("it_was_run").exists()


def test_what_was_loaded_by_name_needs_no_trust(name: str, evonas: Call) -> None:
    Path(f"{name}.py").write_text("")
    changes = ("--set", f'extensions=["{name}"]', "--set", "data.name=npz")  # which ends it when it is loaded
    assert_one_line(evonas("--extension", name, "search", "own.toml", *changes), ["data.path: is empty"])


def test_from_python_it_is_an_argument(name: str) -> None:
    with pytest.raises(InputError, match="add trust=True if you trust it"):
        run_search("own.toml", overrides=[f'extensions=["{name}"]'], progress=False)
    assert not Path("it_was_run").exists()


def test_every_key_that_names_code_is_found() -> None:
    text = 'name = "a"\nextensions = ["one"]\n[[tasks]]\ntask = "two:f"\n[[rerank.tasks]]\ntask = "three.four:f"\n'
    assert dict(named_code(config.loads(text))) == {
        "extensions": "one",
        "tasks.0.task": "two:f",
        "rerank.tasks.0.task": "three.four:f",
    }
    assert not list(named_code(config.load_search(TINY)))
