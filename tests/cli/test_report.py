"""``evonas report``. Oracles: what was recorded, and what a browser shows of it."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import dumped, needs_chromium

from evonas.search.archive import Archive

Outcome = tuple[int, str, str]


@needs_chromium
def test_a_finished_search_is_shown_in_a_browser(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    file = tmp_path / "page.html"
    status, out, err = evonas("report", finished, finished, "-o", file)
    assert (status, err) == (0, "")
    assert out.startswith(f"wrote {file} (")
    with Archive.open(finished / "archive.sqlite", read_only=True) as archive:
        told, scored = archive.told(), len(archive.means())
    assert scored
    shown = dumped(file)
    shown = shown[: shown.index('<script id="data"')] + shown[shown.rindex("</script>") :]
    assert f"{told} of {told} layers" in shown
    assert shown.count("badge finished") == 2


def test_what_cannot_be_shown_is_one_line(finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    for arguments, words in (
        ((tmp_path / "none",), "no such folder"),
        ((finished, "-o", tmp_path / "page.txt"), "accepted: a file that ends in .html"),
        ((finished, "-o", tmp_path), "accepted: a file that ends in .html"),
    ):
        status, out, err = evonas("report", *arguments)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert words in err
    assert list(tmp_path.iterdir()) == []


def test_of_a_study_its_report_is_written_and_mixed_kinds_are_refused(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    kept = Path(__file__).parents[2] / "runs" / "kept"
    file = tmp_path / "page.html"
    status, out, err = evonas("report", kept / "stability-layers", kept / "matrix", "-o", file)
    assert (status, err) == (0, "")
    assert out.startswith(f"wrote {file} (")
    text = file.read_text()
    assert "<title>evonas: stability-layers, matrix</title>" in text
    empty, early, damaged = (tmp_path / name for name in ("empty", "early", "damaged"))
    for folder in (empty, early, damaged):
        folder.mkdir()
    (early / "results.sqlite").touch()
    (damaged / "results.json").write_text("{")
    file.unlink()
    for folders, words in (
        ((finished, kept / "matrix"), "is a search, and "),
        ((empty,), "holds no run; accepted: the folder of a search, an evaluation, "),
        ((early,), "has no report yet"),
        ((kept / "matrix", damaged), "is not JSON"),
    ):
        status, out, err = evonas("report", *folders, "-o", file)
        assert (status, out, err.count("\n"), file.exists()) == (2, "", 1, False)
        assert words in err


def test_without_plotly_it_says_how_to_install_it(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    status, _, err = evonas("report", finished, "-o", tmp_path / "page.html")
    assert status == 2
    assert err == "evonas: evonas report: needs plotly, which is not installed; pip install 'evonas[report]'\n"


def test_a_run_is_only_read(finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert evonas("report", copy, "-o", tmp_path / "page.html")[0] == 0
    after = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file() and path in before}
    assert after == before


@needs_chromium
def test_all_runs_are_listed_in_a_page(finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    folder, file = tmp_path / "runs", tmp_path / "index.html"
    shutil.copytree(finished, folder / "whole")
    shutil.copytree(finished, folder / "<img src=x onerror=alert(1)>")
    (folder / "<img src=x onerror=alert(1)>" / "config.toml").write_text("= 3")
    status, out, err = evonas("runs", folder, "--html", file)
    assert (status, err, f"wrote {file}" in out) == (0, "", True)
    shown = dumped(file)
    shown = shown[: shown.index('<script id="data"')]
    assert "2 of 2 runs" in shown
    assert "is not TOML" in shown
    assert shown.count("badge finished") == 1
    assert "<img" not in re.sub('title="[^"]*"', "", shown)
    assert evonas("runs", folder, "--html", tmp_path / "index.txt")[0] == 2
