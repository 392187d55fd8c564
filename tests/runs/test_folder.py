"""Run folders: whole or not there, held by one driver, and refused in one line when they are not what is expected."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from evonas.record import run as runs

from evonas import config
from evonas.errors import InputError
from evonas.runs.folder import RunFolder, locked
from evonas.search.start import create_run

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"


def test_a_new_run_has_configuration_environment_and_archive(tmp_path: Path) -> None:
    settings = config.load(TINY, ["evolution.window=7"])
    run = create_run(tmp_path / "deep" / "run", settings)
    assert run.exists
    assert run.require() == run
    assert run.config() == settings
    assert "torch" in (run.path / "environment.json").read_text()
    assert sorted(p.name for p in run.path.iterdir()) == ["archive.sqlite", "config.toml", "environment.json"]


def test_an_existing_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", config.load(TINY))
    before = {p.name: p.read_bytes() for p in run.path.iterdir()}
    with pytest.raises(InputError, match=r"already exists.*--resume"):
        create_run(tmp_path / "run", config.load(TINY))
    assert {p.name: p.read_bytes() for p in run.path.iterdir()} == before


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years of work")
    with pytest.raises(InputError, match="not empty"):
        create_run(tmp_path, config.load(TINY))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_nothing_half_written_stays_when_creation_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(runs.Archive, "create", fail)
    with pytest.raises(OSError, match="disk full"):
        create_run(tmp_path / "run", config.load(TINY))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [False, True])
def test_a_folder_without_a_run_is_named_with_the_remedy(tmp_path: Path, make: bool) -> None:
    path = tmp_path / "run"
    if make:
        path.mkdir()
    with pytest.raises(InputError, match=r"(no such folder|holds no run).*evonas search FILE.toml --run"):
        RunFolder(path).require()


def test_a_second_driver_is_refused_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", config.load(TINY))
    script = (
        "import sys; from pathlib import Path; from evonas.runs.folder import RunFolder, locked\n"
        "with locked(RunFolder(Path(sys.argv[1]))):\n"
        "    print('locked', flush=True); sys.stdin.read()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(TINY.parents[1])}
    command = [sys.executable, "-c", script, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(InputError, match="another process"), locked(run):
            pass
        other.kill()
    with locked(run):
        pass
