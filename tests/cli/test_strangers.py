"""Paths and names that no one expects, on the command line: one line, exit status 2, and nothing is left behind."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evonas.graph.genome import Genome
from evonas.limits import MOST_DRAWN
from studies import assert_one_line

ROOT = Path(__file__).parents[2]
TINY = str(ROOT / "search_spaces" / "tiny.toml")
LONG = "a" * 300
Outcome = tuple[int, str, str]
Call = Callable[..., Outcome]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "pipe.json"), ("pipe.json", "is not a regular file")),
        (("show", f"{LONG}.json"), ("File name too long",)),
        (("show", f"{LONG}#1"), ("no such folder",)),
        (("show", "b1#²"), ("b1", "no such folder")),
        (("show", "x\x1b[31m"), ("formula 'x\\x1b[31m'", "character 2")),
        (("show", "evonorm-s0", "--png", "file/x.png"), ("--png", "cannot be written")),
        (("top", LONG), ("no such folder",)),
        (("export", "evonorm-s0", "-o", f"{LONG}.py"), ("cannot be written", "File name too long")),
        (("export", "evonorm-s0", "-o", "file/x.py"), ("cannot be written",)),
        (("init", "file/x.toml"), ("cannot be written",)),
        (("runs", "file"), ("no such folder",)),
        (("evaluate", "x", "--settings", "folder"), ("folder",)),
        (("search", "folder.toml"), ("folder.toml", "is a folder")),
        (("search", "pipe.toml"), ("pipe.toml", "is not a regular file")),
        (("search", "large.toml"), ("large.toml", "is larger than 1048576 bytes")),
        (("search", TINY, "--run", "file/run"), ("file",)),
        (("search", TINY, "--run", LONG), ("File name too long",)),
        (("search", TINY, "--run", "."), ("has no name of its own",)),
        (("search", TINY, "--seed", 2**63), ("seed: is a number of 64 bits",)),
        (("search", TINY, "--start-from", LONG), ("--start-from",)),
    ],
)
def test_odd_paths_are_one_line(
    arguments: tuple[object, ...], words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evonas: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pipe.json", "pipe.toml"):
        os.mkfifo(name)
    for name in ("folder", "folder.toml"):
        Path(name).mkdir()
    Path("file").touch()
    Path("large.toml").write_bytes(b"#" * (2**20 + 1))
    before = sorted(tmp_path.iterdir())
    outcome = evonas(*arguments)
    assert_one_line(outcome, words)
    assert outcome[2].replace("\n", "").isprintable()
    assert sorted(tmp_path.iterdir()) == before


def test_a_picture_of_a_huge_layer_is_refused(tmp_path: Path, evonas: Call) -> None:
    statements = [f"n{n + 1} = tanh(n{n})" for n in range(MOST_DRAWN)]
    file = tmp_path / "large.json"
    file.write_text(Genome.from_text("; ".join(["n0 = tanh(x)", *statements])).to_json())
    outcome = evonas("show", file, "--png", tmp_path / "large.png")
    assert_one_line(outcome, [f"the layer has {MOST_DRAWN + 2} nodes", f"layers of up to {MOST_DRAWN}"])
    assert not (tmp_path / "large.png").exists()
    assert evonas("show", file)[0] == 0


@pytest.mark.parametrize("name", ["br[bold]ack", "br[x]r", "a$b$c", "\x1b[31mred"])
def test_a_run_may_be_called_anything(name: str, finished: Path, tmp_path: Path, evonas: Call) -> None:
    run = shutil.copytree(finished, tmp_path / name)
    shown = name.replace("\x1b", "\\x1b")
    for call in (("runs", tmp_path), ("top", run), ("show", f"{run}#1", "--png", tmp_path / "a.png")):
        status, out, error = evonas(*call)
        assert status == 0, error
        assert call[0] == "runs" or shown in "".join(out.split())  # where a path may be cut into lines
        assert out.replace("\n", "").isprintable()
    status, out, error = evonas("export", f"{run}#1", "-o", tmp_path / "layer.py")
    assert status == 0, error
    text = (tmp_path / "layer.py").read_text()
    assert shown in text
    compile(text, "layer.py", "exec")


def test_names_and_reasons_in_the_archive_of_a_stranger_are_letters(
    finished: Path, tmp_path: Path, evonas: Call
) -> None:
    run = shutil.copytree(finished, tmp_path / "theirs")
    evil = "[/x]\x1b]0;title\x07[bold]"
    with sqlite3.connect(run / "archive.sqlite") as archive:
        archive.execute("UPDATE rejections SET stage = ?, reason = ?, detail = ?", (evil, evil, evil))
        archive.execute("UPDATE timings SET compiled = ?", (evil,))
        archive.execute(
            "UPDATE evaluations SET objectives = ? WHERE objectives IS NOT NULL", (json.dumps({evil: 0.5}),)
        )
    for call in (("top", run, "--rejections"), ("show", f"{run}#1"), ("top", run, "--json")):
        status, out, error = evonas(*call)
        assert status == 0, error
        assert out.replace("\n", "").isprintable()
    assert "[/x]" in evonas("top", run)[1]


def test_streams_that_are_closed_or_full(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def shell(command: str) -> tuple[int, str]:
        whole = f"{sys.executable} -m evonas {command}"
        done = subprocess.run(["bash", "-c", whole], cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    assert shell("list searches >&-") == (0, "")
    assert shell("top nowhere 2>&-") == (2, "")
    assert shell("list searches >/dev/full") == (2, "evonas: No space left on device\n")
