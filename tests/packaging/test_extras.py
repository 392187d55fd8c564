"""The core without the packages of the extras: what needs one says which line installs it, and nothing is written.

Oracles: ``pyproject.toml`` for what is in which extra; modules hidden from the import system for their absence.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from evonas.errors import InputError
from evonas.extras import EXTRAS, import_package, require_package
from evonas.studies.sparsity.decoding import Decoder, decoded_logits
from evonas.studies.steering.scorers import load_scorer
from studies import assert_one_line

ROOT = Path(__file__).parents[2]
Outcome = tuple[int, str, str]
VISION, LM = "pip install 'evonas[vision]'", "pip install 'evonas[lm]'"
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))
import evonas
names = [module.name for module in pkgutil.walk_packages(evonas.__path__, "evonas.")]
for name in names:
    if not name.endswith(("__main__", "triton_kernel")):
        importlib.import_module(name)
[getattr(evonas, name) for name in evonas.__all__]
print(len(names))
"""


class Cached(torch.nn.Module):
    """What decoding takes for a causal language model."""

    def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> torch.Tensor:
        return input_ids if use_cache else -input_ids


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder, in a process that has no package of any extra."""
    loaded = [name for name in sys.modules if name.partition(".")[0] in EXTRAS]
    for name in (*EXTRAS, *loaded):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


IMPORTED = {  # what differs from the package's name
    "faster-coco-eval": "faster_coco_eval",
    "scikit-image": "skimage",
    "mlflow-skinny": "mlflow",
}


def test_every_package_of_an_extra_for_users_has_its_install_line() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    trackers = ("trackio", "wandb", "mlflow")
    users = ("vision", "detection", "lm", "ray", "onnx", "report", "diffusion", *trackers)
    packages = {
        extra: {IMPORTED.get(name := re.split(r"[<>=,]", r)[0], name) for r in extras[extra]} for extra in users
    }
    for extra in users:
        assert extra in {EXTRAS[package] for package in packages[extra]}
    assert set(EXTRAS) == set.union(*packages.values())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("search", "tiny"), ("preact_resnet: needs timm, which is not installed", VISION)),
        (("search", "tiny", "--workers", "2"), ("preact_resnet: needs timm", VISION)),
        (("search", "tiny", "--set", "tasks.0.architecture=densenet"), ("densenet: needs torchvision", VISION)),
        (("search", "transformer", "--set", "text.tokens=bpe"), ("text.tokens: bpe: needs tokenizers", LM)),
        (("evaluate", "evonorm-s0"), ("preact_resnet: needs timm", VISION)),
        (("evaluate", "evonorm-s0", "--arch", "timm:resnet18"), ("timm:resnet18: needs timm", VISION)),
        (("evaluate", "evonorm-s0", "--arch", "torchvision:resnet18"), ("needs torchvision", VISION)),
        (("sparsify", "owner/model"), ("owner/model: needs transformers, which is not installed", LM)),
    ],
)
def test_a_verb_names_the_line_that_installs_what_it_needs(
    arguments: tuple[str, ...], words: tuple[str, ...], bare: Path, evonas: Callable[..., Outcome]
) -> None:
    assert_one_line(evonas(*arguments), words)
    assert list(bare.iterdir()) == []


@pytest.mark.usefixtures("bare")
def test_functions_name_the_line_too() -> None:
    with pytest.raises(InputError, match=r"^scorer owner/judge: needs transformers, .*evonas\[lm\]"):
        load_scorer("owner/judge", "toxic")
    with pytest.raises(InputError, match=r"^decoder: needs transformers, .*evonas\[lm\]"):
        decoded_logits(Decoder(Cached()), torch.arange(4), prompt=2)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("package", EXTRAS)
def test_a_missing_package_is_named(package: str) -> None:
    for refuse in (require_package, import_package):
        with pytest.raises(InputError, match=rf"^here: needs {package}, .*pip install 'evonas\[{EXTRAS[package]}\]'$"):
            refuse(package, "here")


def test_a_package_that_breaks_by_itself_is_no_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        import_package("broken", "here")


def test_every_module_is_imported_without_any_extra() -> None:
    command = [sys.executable, "-c", IMPORT_ALL, *EXTRAS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 200
