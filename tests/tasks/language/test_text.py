"""Oracles: the bytes of files written here, and Python's own decoding."""

import sys
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import torch

from evonas.config import TextConfig
from evonas.errors import InputError
from evonas.tasks.language.text import load_text, token_batches, windows


def file_of(path: Path, content: str | bytes, **settings: object) -> TextConfig:
    place = path / "some text.txt"
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return TextConfig(name="file", path=str(place), **settings)


def test_the_default_is_python_s_help_as_bytes() -> None:
    text = load_text(TextConfig())
    whole = bytes(torch.cat([text.train, text.validation]).tolist()).decode()
    assert whole == "\n".join(topics[key] for key in sorted(topics))
    assert (text.name, text.vocabulary) == ("topics", 256)
    assert len(text.validation) == pytest.approx(len(whole.encode()) / 10, abs=4)


def test_a_file_is_split_by_position(tmp_path: Path) -> None:
    text = load_text(file_of(tmp_path, bytes(range(256)), validation=0.25))
    assert text.name == "some text.txt"
    assert text.train.tolist() == list(range(192))
    assert text.validation.tolist() == list(range(192, 256))
    assert text.train.dtype == torch.int64


@pytest.mark.parametrize("length", range(20, 40))
def test_no_character_is_split(tmp_path: Path, length: int) -> None:
    whole = ("aé€𝄞" * length)[: 2 * length]
    text = load_text(file_of(tmp_path, whole, validation=0.5))
    parts = [bytes(part.tolist()).decode() for part in (text.train, text.validation)]
    assert "".join(parts) == whole


def test_targets_are_one_token_later_and_places_are_spread_over_the_text() -> None:
    tokens = torch.arange(50)
    stream = token_batches(tokens, 8, 6, seed=3)
    starts = set()
    for _ in range(200):
        inputs, targets = next(stream)
        assert inputs.shape == targets.shape == (6, 8)
        assert torch.equal(targets, inputs + 1)
        assert torch.equal(inputs, inputs[:, :1] + torch.arange(8))
        starts |= set(inputs[:, 0].tolist())
    assert starts == set(range(42))  # 41 is the last that has a target for each token


def test_batches_depend_on_the_seed_alone() -> None:
    state = torch.get_rng_state()
    first, second, other = (token_batches(torch.arange(500), 8, 6, seed=seed) for seed in (3, 3, 4))
    for _ in range(3):
        one, two, three = next(first), next(second), next(other)
        assert torch.equal(one[0], two[0])
        assert not torch.equal(one[0], three[0])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("length", "count", "starts"), [(41, 2, [0, 20]), (41, 99, [0, 10, 20, 30]), (11, 5, [0])])
def test_windows_are_spread_and_do_not_overlap(length: int, count: int, starts: list[int]) -> None:
    inputs, targets = windows(torch.arange(length), 10, count)
    assert inputs[:, 0].tolist() == starts
    assert torch.equal(targets, inputs + 1)
    assert inputs.shape == (len(starts), 10)


@pytest.mark.parametrize("cut", [lambda x: token_batches(x, 10, 2, seed=0), lambda x: windows(x, 10, 3)])
def test_a_context_longer_than_the_text_is_named_at_once(cut) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=r"model\.context: 10, and a text of 10 tokens; accepted: less"):
        cut(torch.arange(10))


@pytest.mark.parametrize(
    ("content", "settings", "named"),
    [
        ("", {}, "nothing to train on: 0 and 0 bytes"),
        ("a", {}, "nothing to validate with: 1 and 0 bytes"),
        ("abc", {"validation": 1.0}, "nothing to train on: 0 and 3 bytes"),
        (b"\xff" * 99, {"tokens": "bpe"}, "is not UTF-8 (invalid start byte); text.tokens = 'bytes'"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path: Path, content: str, settings: dict, named: str) -> None:
    with pytest.raises(InputError) as error:
        load_text(file_of(tmp_path, content, **settings))
    assert named in str(error.value)
    assert "some text.txt" in str(error.value)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (TextConfig(name="file"), "text.path: is empty; accepted: the path of a text"),
        (TextConfig(name="file", path="/nowhere/a.txt"), "text.path: no such file: '/nowhere/a.txt'"),
        (TextConfig(name="file", path="/"), "text.path: '/' cannot be read (Is a directory)"),
        (TextConfig(path="a.txt"), "text.path: a.txt; accepted: no path"),
        (TextConfig(name="austen", path="/nowhere"), "r-cran-janeaustenr"),
    ],
)
def test_paths_that_cannot_be_used_are_named(config: TextConfig, named: str) -> None:
    with pytest.raises(InputError) as error:
        load_text(config)
    assert named in str(error.value)


def test_without_the_package_for_bpe_its_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"text\.tokens: bpe: needs tokenizers.*pip install 'evonas\[lm\]'"):
        load_text(TextConfig(tokens="bpe"))


def test_byte_pairs_are_learned_and_lose_nothing() -> None:
    pytest.importorskip("tokenizers", reason="pip install 'evonas[lm]'")
    pairs, plain = load_text(TextConfig(tokens="bpe", vocabulary=500)), load_text(TextConfig())
    assert pairs.vocabulary == 500
    assert int(pairs.train.max()) < 500
    assert len(pairs.train) < 0.7 * len(plain.train)
    assert len(pairs.validation) < 0.7 * len(plain.validation)
