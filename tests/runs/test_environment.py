"""The record of hardware and code against git itself, torch's own words, and machines on which nothing answers."""

import json
import subprocess
from pathlib import Path

import pytest
import torch

from evonas.runs import environment as module
from evonas.runs.environment import environment


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", *who, "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "evonas"
    folder.mkdir()
    (folder / "code.py").write_text("ONE = 1\n")
    return folder


def checked_out(package: Path) -> str:
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-qm", "first")
    return git(package.parent, "rev-parse", "HEAD")


def test_a_checkout_is_known_by_its_revision_and_whether_the_package_differs(package: Path) -> None:
    revision = checked_out(package)
    assert module._checkout(package) == {"revision": revision, "uncommitted changes": "no"}
    (package.parent / "notes.txt").write_text("no part of the package")
    assert module._checkout(package)["uncommitted changes"] == "no"
    (package / "new.py").write_text("TWO = 2\n")
    assert module._checkout(package) == {"revision": revision, "uncommitted changes": "yes"}
    (package / "new.py").unlink()
    (package / "code.py").write_text("ONE = 2\n")
    assert module._checkout(package)["uncommitted changes"] == "yes"


def test_an_installed_package_has_no_revision(package: Path) -> None:
    assert module._checkout(package) == {}


def test_without_git_a_checkout_has_none_that_is_known(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked_out(package)
    monkeypatch.setenv("PATH", str(package))
    assert module._checkout(package) == {"revision": "unknown", "uncommitted changes": "unknown"}


def test_a_damaged_checkout_does_no_harm(package: Path) -> None:
    (package.parent / ".git").write_text("gitdir: nowhere")
    assert module._checkout(package) == {"revision": "unknown", "uncommitted changes": "unknown"}


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "gpu"),
    [
        ("echo 'NVIDIA H200, 570.1'", "NVIDIA H200, 570.1"),
        ("echo 'A, 1'; echo 'B, 1'", "A, 1; B, 1"),
        ("echo 'No devices were found'; exit 6", "none"),
        ("", "none"),
        ("exec sleep 60", "none"),
    ],
)
def test_gpus_are_those_that_the_driver_lists(
    script: str, gpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin", "nvidia-smi", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(module, "PATIENCE", 1.0 if "sleep" in script else 20.0)
    assert module._gpu()["gpu"] == gpu


def test_cuda_is_what_torch_was_built_with() -> None:
    assert module._gpu()["cuda"] == (torch.version.cuda or "none")


def test_everything_is_a_line_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = environment()
    assert json.loads(json.dumps(found)) == found
    for key in ("python", "platform", "cpu", "cpus", "gpu", "cuda", "torch", "scipy", "pebble", "command"):
        assert found[key]
    assert all("\n" not in value for value in found.values())
    assert found["gpu"] == "none"
