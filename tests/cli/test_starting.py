"""``evonas init``, ``list`` and ``schema``.

Oracles: the tables and folders that are listed, the schemas that Python gives, and loading what was written.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evonas import config
from evonas.cli import starting
from evonas.config import DETECTORS, GENERATORS, ObjectivesConfig
from evonas.config.presets import KINDS
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.primitive import INDEX_SETS, PRIMITIVES
from evonas.interface import shipped
from evonas.interface.files import schema_of
from evonas.tasks.architectures import ARCHITECTURES

ROOT = Path(__file__).parents[2]
Outcome = tuple[int, str, str]
NAMES = {
    "layers": set(CATALOGUE),
    "searches": {path.stem for path in (ROOT / "search_spaces").glob("*.toml")},
    "studies": {path.stem for path in (ROOT / "studies").glob("*.toml")},
    "architectures": {*ARCHITECTURES, *DETECTORS, *GENERATORS, "timm:NAME", "torchvision:NAME"},
    "primitives": {*PRIMITIVES, *INDEX_SETS},
    "objectives": set(ObjectivesConfig.model_fields) - {"own"},
}


def test_the_help_names_all_there_is() -> None:
    assert tuple(starting.SHIPPED) == tuple(shipped.SHIPPED) == tuple(NAMES)
    assert tuple(KINDS) == starting.FILES


@pytest.mark.parametrize("kind", NAMES)
def test_a_list_has_one_line_for_each_thing(kind: str, evonas: Callable[..., Outcome]) -> None:
    status, out, err = evonas("list", kind)
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == [row["name"] for row in shipped.SHIPPED[kind]()]
    assert {line.split()[0] for line in out.splitlines()} == NAMES[kind]
    assert all(len(line.split()) > 1 for line in out.splitlines())


def test_lists_have_formulas_commands_and_sources(evonas: Callable[..., Outcome]) -> None:
    _, out, _ = evonas("list")
    assert [line[:-1] for line in out.splitlines() if line.endswith(":")] == list(NAMES)
    for words in (
        ("evonorm-s0", "x * sigmoid(x * v1) / std[ghw](x)", "images", "Liu et al. 2020"),
        ("dyt", "tokens", "Zhu et al. 2025"),
        ("held_out", "comparison", "Four networks"),
        ("qk_layernorm", "stability", "Does qk-layernorm"),
        ("densenet", "DenseNet-121", "dense blocks"),
        ("sqrt", "sqrt(x)", "operation", "x / sqrt(|x| + eps)"),
        ("std", "std[axes](x)", "statistic", "sqrt(biased variance + eps)"),
        ("ghw", "[ghw]", "axes", "group normalization"),
        ("sin", "sin(x)", "operation"),
        ("shift", "higher", "corrupted images"),
    ):
        assert any(line.startswith(words[0]) and all(word in line for word in words) for line in out.splitlines()), (
            words
        )


def test_a_list_as_json_is_what_python_has(evonas: Callable[..., Outcome]) -> None:
    assert json.loads(evonas("list", "--json")[1]) == {kind: make() for kind, make in shipped.SHIPPED.items()}
    studies = {row["name"]: row["command"] for row in json.loads(evonas("list", "studies", "--json")[1])["studies"]}
    assert studies["held_out"] == "evonas evaluate LAYER... --settings held_out"
    assert json.loads(evonas("list", "searches", "--json")[1]) == {"searches": shipped.searches()}


def test_on_a_terminal_columns_wrap(monkeypatch: pytest.MonkeyPatch, evonas: Callable[..., Outcome]) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    lines = re.sub(r"\x1b\[\d+m", "", evonas("list", "studies")[1]).splitlines()  # without bold and the like
    assert max(map(len, lines)) <= 60
    assert {line.split()[0] for line in lines if not line.startswith(" ")} == {"name", *NAMES["studies"]}


@pytest.mark.parametrize("kind", starting.FILES)
def test_a_schema_is_printed_or_written(kind: str, tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    assert json.loads(evonas("schema", kind)[1]) == schema_of(kind)
    status, out, _ = evonas("schema", kind, "-o", tmp_path / "new" / "schema.json")
    assert (status, out) == (0, f"wrote {tmp_path / 'new' / 'schema.json'}\n")
    assert json.loads((tmp_path / "new" / "schema.json").read_text()) == schema_of(kind)


def test_a_first_search_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evonas: Callable[..., Outcome]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("my images.npz", x_train=np.zeros((20, 8, 8), np.uint8), y_train=np.arange(20) % 4)
    status, out, _ = evonas("init", "my search.toml", "--data", "my images.npz")
    assert status == 0
    assert out.splitlines() == [
        "wrote my search.toml",
        "my images.npz: 20 grey images of 8x8 in 4 classes, no test images",
        "then: evonas search 'my search.toml'",
    ]
    assert config.load_search("my search.toml").data.path == "my images.npz"


def test_without_data_it_says_what_is_to_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evonas: Callable[..., Outcome]
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, _ = evonas("init")
    assert status == 0
    assert "put your images into images.npz" in out
    status, _, err = evonas("init")
    assert (status, err) == (
        2,
        "evonas: search.toml: is there already; give another name, or overwrite it with --force\n",
    )
    assert evonas("init", "--force")[0] == 0
    status, _, err = evonas("search", "search.toml")
    assert status == 2
    assert "data.path: no such file: images.npz; give the path of the .npz file" in err
