"""The search file that ``evonas init`` writes.

Oracles: the arrays that are written here, reading the file, a search with it, and the keys that the docs list.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from command import status_of

from evonas import config
from evonas.errors import InputError
from evonas.interface.starter import PLACEHOLDER, DataFacts, look_into, write_search_file

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from reference_settings import places


def npz(path: Path, shape: tuple[int, ...] = (60, 12, 10), classes: int = 3, **others: np.ndarray) -> Path:
    """Random images; half of them are of class 0."""
    rng = np.random.default_rng(0)
    labels = np.where(np.arange(shape[0]) % 2, rng.integers(1, classes, shape[0]), 0)
    labels[1] = classes - 1
    np.savez(path, x_train=rng.integers(0, 256, shape, dtype=np.uint8), y_train=labels, **others)
    return path


@pytest.mark.parametrize(
    ("shape", "size", "channels"), [((60, 12, 10), 0, 1), ((60, 28, 28, 1), 16, 1), ((60, 17, 40, 3), 16, 3)]
)
def test_the_file_loads_and_says_what_was_found(
    tmp_path: Path, shape: tuple[int, ...], size: int, channels: int
) -> None:
    data, file = npz(tmp_path / "mine.npz", shape), tmp_path / "my search.toml"
    facts = write_search_file(file, data)
    assert facts == DataFacts(60, shape[1], shape[2], channels, 3, 0.5)
    found = config.load_search(file)
    assert (found.name, found.data.name, found.data.path, found.data.size) == ("my-search", "npz", str(data), size)
    assert (found.data.validation, found.protocols.quality.min_accuracy) == (12, 0.55)
    assert f"# Found there: {facts}." in file.read_text()
    assert f"{shape[1]}x{shape[2]}" in str(facts)


def test_test_images_are_counted_and_checked(tmp_path: Path) -> None:
    more = {"x_test": np.zeros((7, 12, 10), np.uint8), "y_test": np.zeros(7, np.int64)}
    assert look_into(npz(tmp_path / "a.npz", **more)).test == 7
    with pytest.raises(InputError, match=r"7 labels|6 labels"):
        look_into(npz(tmp_path / "b.npz", **{**more, "y_test": np.zeros(6, np.int64)}))


def test_without_data_the_file_loads_and_names_what_is_to_be_filled_in(tmp_path: Path) -> None:
    assert write_search_file(tmp_path / "search.toml") is None
    found = config.load_search(tmp_path / "search.toml")
    assert (found.name, found.data.path) == ("search", PLACEHOLDER)


def test_every_key_is_explained_or_explains_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_search_file(Path("search.toml"), npz(Path("mine.npz"), (60, 28, 28)))
    text = Path("search.toml").read_text()
    bare = [line for line in text.splitlines() if re.match(r"\w+ = ", line) and "    # " not in line]
    explained_above = {"baselines", "index_sets", "name", "steps"}
    named_by_the_first = {"architecture", "width", "depth", "unstrided", "warmup", "weight_decay"}
    assert {line.partition(" = ")[0] for line in bare} <= explained_above | named_by_the_first
    assert max(map(len, text.splitlines())) <= 121
    known = set(places("search"))

    def keys(table: dict[str, object], prefix: str = "") -> set[str]:
        found: set[str] = set()
        for key, value in table.items():
            inner = value[0] if isinstance(value, list) and isinstance(value[0], dict) else value
            found |= keys(inner, f"{prefix}{key}.") if isinstance(inner, dict) else {prefix + key}
        return found

    assert keys(tomllib.loads(text)) <= known


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": np.zeros((4, 8, 8), np.uint8)}, "has no array 'y_train'; accepted: x_train, y_train"),
        ({"y_train": np.zeros(4, np.int64)}, "has no array 'x_train'"),
        ({"x_train": np.zeros((4, 8, 8)), "y_train": np.arange(4)}, r"float64\[4, 8, 8\] images.*accepted: uint8"),
        ({"x_train": np.zeros((4, 8, 8), np.uint8), "y_train": np.zeros(4, np.int64)}, "less than two classes"),
    ],
)
def test_data_that_cannot_be_used_are_refused_and_nothing_is_written(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(InputError, match=message):
        write_search_file(tmp_path / "search.toml", tmp_path / "mine.npz")
    assert not (tmp_path / "search.toml").exists()


def test_a_file_is_not_overwritten_unless_forced(tmp_path: Path) -> None:
    file = tmp_path / "search.toml"
    file.write_text("mine")
    with pytest.raises(InputError, match=r"search\.toml: is there already; .*--force"):
        write_search_file(file)
    assert file.read_text() == "mine"
    write_search_file(file, force=True)
    assert config.load_search(file).name == "search"
    with pytest.raises(InputError, match=r"accepted: a file that ends in \.toml"):
        write_search_file(tmp_path / "search.json")


def test_a_path_of_any_letters_is_read_back(tmp_path: Path) -> None:
    folder = tmp_path / 'Bilder "für" \U0001f4f7\\2'
    folder.mkdir()
    data = npz(folder / "a.npz")
    write_search_file(tmp_path / "search.toml", data)
    assert config.load_search(tmp_path / "search.toml").data.path == str(data)


def test_a_search_runs_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    monkeypatch.chdir(tmp_path)
    npz(Path("mine.npz"))
    write_search_file(Path("mine.toml"), Path("mine.npz"))
    short = ["training.steps=4", "training.warmup=1", "protocols.quality.steps=2", "execution.workers=0"]
    short += ["protocols.quality.min_accuracy=0.0", 'baselines=["gn-relu"]', "evolution.look_ahead=2"]
    changes = [part for change in short for part in ("--set", change)]
    assert status_of("search", "mine.toml", "--budget", 2, "--run", "run", *changes) == 0
    ranking = json.loads(Path("run/best/ranking.json").read_text())
    assert len(ranking) >= 1
