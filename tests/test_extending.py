"""docs/extending.md as a user would follow it: its module, its tests and its search, outside of the package.

Oracles: the arithmetic of softsign and of mean magnitudes, a count of operations, and the archive of the same search
with one process.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archives import same_content

from evonas.extensions import load_extensions
from evonas.search.archive import Archive
from studies import assert_one_line

DOCS = Path(__file__).parents[1] / "docs" / "extending.md"
ROOT = DOCS.parents[1]
SHORT = tuple(
    part
    for change in ("training.steps=4", "protocols.quality.steps=2", "budget.evaluations=5")
    for part in ("--set", change)
)
Call = Callable[..., tuple[int, str, str]]


def run(place: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Python in a folder, with evonas and nothing else on its path."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page."""
    folder, files = tmp_path_factory.mktemp("own"), dict[str, str]()
    for name, text in re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", DOCS.read_text(), re.S):
        files[name] = files.get(name, "") + text
    assert set(files) == {"my_extension.py", "test_my_extension.py", "search.toml"}
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def found(place: Path) -> Path:
    """The run of the page's search, shortened, with two workers."""
    done = run(place, "-m", "evonas", "search", "search.toml", "--trust", "--workers", 2, "--run", "two", *SHORT)
    assert done.returncode == 0, done.stderr
    return place / "two"


@pytest.fixture
def inside(place: Path, tables: None, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001
    """In the folder of the page, from where its module is imported."""
    monkeypatch.chdir(place)
    return place


def test_the_tests_of_the_page_pass(inside: Path) -> None:
    load_extensions(["my_extension"])
    space: dict[str, Any] = {}
    exec((inside / "test_my_extension.py").read_text(), space)  # our own text
    space["test_my_extension"]()


def test_a_search_uses_what_was_added_and_records_it(found: Path) -> None:
    with Archive.open(found / "archive.sqlite", read_only=True) as archive:
        scored = list(archive.layers([index for index, _ in archive.means()]))
        rejections = archive.rejection_counts()
    own = [evaluation for _, text, evaluation in scored if "softsign(x)" in text and "magnitude[w](x)" in text]
    assert own[0].extras == {"operations": 3.0}
    assert rejections["compact", "too many operations"] > 0
    assert all(evaluation.extras["operations"] in (1, 2, 3) for _, _, evaluation in scored)


def test_one_process_finds_what_two_workers_find_and_a_search_goes_on(inside: Path, found: Path, evonas: Call) -> None:
    assert evonas("search", "search.toml", "--trust", "--workers", 1, "--run", "one", *SHORT, "--budget", 3)[0] == 0
    status, _, error = evonas("search", "--trust", "--workers", 1, "--run", "one", "--resume", *SHORT[-2:])
    assert status == 0, error
    assert same_content(inside / "one" / "archive.sqlite", found / "archive.sqlite")


@pytest.mark.usefixtures("inside")
def test_its_layers_are_shown_and_exported_and_run_without_evonas(found: Path, evonas: Call, tmp_path: Path) -> None:
    own = ("--extension", "my_extension")
    status, out, error = evonas(*own, "top", found, "--json")
    assert status == 0, error
    rank = next(entry["rank"] for entry in json.loads(out) if "magnitude[w](x)" in entry["text"])
    status, out, error = evonas(*own, "show", f"{found}#{rank}", "--png", tmp_path / "layer.png")
    assert "softsign(x) / (magnitude[w](x))" in out or "softsign(x) / magnitude[w](x)" in out, error
    assert (tmp_path / "layer.png").stat().st_size > 1000
    assert evonas(*own, "export", f"{found}#{rank}", "-o", tmp_path / "layer.py")[0] == 0
    done = run(tmp_path, "-c", ALONE)
    assert done.stdout == "same\n", done.stderr


ALONE = """
import sys, torch, layer
module = next(value for name, value in vars(layer).items() if name.startswith("Layer_"))(8)
x = torch.randn(2, 8, 5, 4)
torch.testing.assert_close(module(x), x / (1 + x.abs()) / x.abs().mean(3, keepdim=True))
assert not {"evonas", "my_extension"} & {*sys.modules}
print("same")
"""


@pytest.mark.usefixtures("tables")
def test_without_the_extension_a_run_is_listed_and_says_what_is_missing(found: Path, evonas: Call) -> None:
    status, out, _ = evonas("top", found)
    assert status == 0
    said = " ".join(out.split())
    assert "magnitude[w](x)" in said
    assert "of an extension that is not loaded; load it: evonas --extension my_extension" in said
    assert "operations: an objective of an extension that is not loaded" in said
    status, out, _ = evonas("top", found, "--json")
    assert status == 0
    unread = [entry for entry in json.loads(out) if entry.get("missing")]
    assert unread
    assert all(entry["formula"] is None and len(entry["key"]) == 16 for entry in unread)
    status, _, error = evonas("show", f"{found}#{unread[0]['rank']}")
    assert (status, len(error.splitlines())) == (2, 1)
    assert "not loaded; load it: evonas --extension my_extension" in error
    status, _, error = evonas("top", found, "--pareto")
    assert (status, len(error.splitlines())) == (2, 1)
    assert "--extension" in error
    assert "my_extension" not in sys.modules  # reading imports nothing


def test_a_layer_with_an_unknown_primitive_says_how_to_load_it(evonas: Call) -> None:
    status, _, error = evonas("show", "swishlike(x)")
    assert status == 2
    assert "unknown primitive 'swishlike'" in error
    assert "--extension MODULE" in error
    assert "did you mean 'sigmoid'?" in evonas("show", "sigmoyd(x)")[2]


def test_a_missing_extension_ends_a_search_before_anything_is_written(
    place: Path, evonas: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = evonas("search", place / "search.toml", "--trust", "--set", 'extensions=["nowhere"]')
    assert_one_line(outcome, ["search.toml: extensions: nowhere: cannot be imported"])
    assert not list(tmp_path.iterdir())
