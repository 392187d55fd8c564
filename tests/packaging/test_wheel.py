"""The wheel: what is in it, and what the type checker of a user makes of it.

Oracles: the folders of the checkout, and mypy in an environment that has the unpacked wheel beside what it depends on.
"""

import email
import importlib.util
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import evonas

ROOT = Path(__file__).parents[2]
GOOD = """
import random

import torch

import evonas

genome: evonas.Genome = evonas.CATALOGUE["evonorm-s0"]
layer = evonas.create_layer(genome, 16)
model = evonas.replace_norm_act(torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.ReLU()), "evonorm-s0")
norm: type[torch.nn.Module] = evonas.norm_act("evonorm-s0")
output: torch.Tensor = layer(torch.randn(2, 16, 8, 8))
space = evonas.SearchSpace.load("evonorm_s")
child, operation = evonas.mutate(genome, space, random.Random(1))
formula: str = child.formula() + operation
print(formula, norm.__name__, model, tuple(output.shape), sum(parameter.numel() for parameter in layer.parameters()))
"""
BAD = """
import evonas

wrong: int = evonas.CATALOGUE["evonorm-s0"].formula()
"""

needs_hatchling = pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="pip install hatchling")
needs_mypy = pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="pip install mypy")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    subprocess.run([sys.executable, *command], check=True)
    (file,) = folder.glob("*.whl")
    return file


@needs_hatchling
def test_the_wheel_holds_the_package_its_presets_its_types_and_its_licence(wheel: Path) -> None:
    assert wheel.name == f"evonas-{evonas.__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"evonas-{evonas.__version__}.dist-info"
    package = {str(path.relative_to(ROOT)) for path in (ROOT / "evonas").rglob("*") if path.is_file()}
    presets = {f"evonas/presets/{path.relative_to(ROOT)}" for path in ROOT.glob("search_spaces/*.toml")}
    presets |= {f"evonas/presets/{path.relative_to(ROOT)}" for path in ROOT.glob("studies/**/*.toml")}
    assert len(presets) > 20
    code = {name for name in package if "__pycache__" not in name}
    assert {name for name in names if not name.startswith(info)} == code | presets
    assert {"evonas/py.typed", "evonas/__init__.pyi", f"{info}/licenses/LICENSE"} <= names


@needs_hatchling
def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    info = f"evonas-{evonas.__version__}.dist-info"
    archive = zipfile.ZipFile(wheel)
    found = email.message_from_bytes(archive.read(f"{info}/METADATA"))
    assert (found["Name"], found["Version"], found["License-Expression"]) == (
        "evonas",
        evonas.__version__,
        "Apache-2.0",
    )
    assert found["Author"] == "the evonas authors"
    assert {"vision", "lm", "diffusion"} <= set(found.get_all("Provides-Extra", []))
    needed = [line for line in found.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert any(line.startswith("torch") for line in needed)
    assert not any(line.startswith(("timm", "torchvision", "transformers", "diffusers")) for line in needed)
    assert "evonas = evonas.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
    assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the unpacked wheel, and after it what this environment has."""
    folder = tmp_path_factory.mktemp("env")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    asked = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[0])"], capture_output=True, text=True, check=True
    )
    packages = Path(asked.stdout.strip())
    zipfile.ZipFile(wheel).extractall(packages)
    (packages / "others.pth").write_text("\n".join([*site.getsitepackages(), *sys.path[1:]]))
    return python


@needs_hatchling
def test_outside_of_the_checkout_the_package_finds_its_presets(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    program = (
        "import evonas, sys; from evonas.config.presets import presets; "
        "assert evonas.__file__.startswith(sys.prefix), evonas.__file__; "
        "print(len(presets()), all(str(preset.path).startswith(sys.prefix) for preset in presets()))"
    )
    done = subprocess.run([installed, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{len([*ROOT.glob('s*s/*.toml')])} True\n", "")


@needs_hatchling
@needs_mypy
@pytest.mark.slow
def test_the_script_of_a_user_passes_mypy_strict(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONPATH", "MYPYPATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(BAD)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed, "good.py", "bad.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    first, *others = done.stdout.splitlines()
    assert first.startswith('bad.py:4: error: Incompatible types in assignment (expression has type "str"'), done.stdout
    assert others == ["Found 1 error in 1 file (checked 2 source files)"]
