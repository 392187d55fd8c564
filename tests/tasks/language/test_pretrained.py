"""Oracles: the model that was saved, number by number; files that would run code if anything read them as pickles."""

import io
import json
import logging
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from sparsity_models import save_llama

from evonas.errors import InputError
from evonas.tasks.language.pretrained import load_language_model, quietly


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("models") / "tiny")


def test_a_folder_gives_the_model_and_the_tokenizer_that_were_saved(folder: Path) -> None:
    import safetensors.torch

    found = load_language_model(str(folder))
    kept = safetensors.torch.load_file(folder / "model.safetensors")
    numbers = dict(found.model.named_parameters())
    assert all(torch.equal(numbers[name], value) for name, value in kept.items())
    assert {parameter.dtype for parameter in numbers.values()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in numbers.values())
    assert not found.model.training
    ids = found.encode("a né")
    assert (found.name, found.bos, found.positions, len(ids)) == ("tiny", 0, 64, 5)
    assert found.tokenizer.decode(ids.tolist()) == "a né"
    assert found.bos not in ids


def test_the_identity_follows_the_files(folder: Path, tmp_path: Path) -> None:
    same, other = save_llama(tmp_path / "same"), save_llama(tmp_path / "other", rope_theta=500.0)
    identities = [load_language_model(str(place)).identity for place in (folder, same, other)]
    assert identities[0] == identities[1] != identities[2]


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path("/").joinpath, (Path(__file__), "exploded"))


def test_pickles_and_code_are_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match=r"holds no config\.json with \.safetensors, but pytorch_model\.bin"):
        load_language_model(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {k: f"mine.{k}" for k in ("AutoConfig", "AutoModelForCausalLM")}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text("raise SystemExit('this ran')")
    before = set(sys.modules)
    with pytest.raises(InputError, match="custom code"):
        load_language_model(str(tmp_path))
    assert not any(name.endswith("mine") for name in set(sys.modules) - before)


def test_missing_weights_are_told(tmp_path: Path) -> None:
    import safetensors.torch

    save_llama(tmp_path)
    kept = safetensors.torch.load_file(tmp_path / "model.safetensors")
    del kept["model.layers.1.mlp.up_proj.weight"]
    safetensors.torch.save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks the weights model\.layers\.1\.mlp\.up_proj\.weight"):
        load_language_model(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("absent/folder/deep", None, "no such folder or file; accepted: a folder with config.json and .safetensors"),
        ("absent.gguf", None, "no such folder or file"),
        ("text.gguf", b"not a model", "is no GGUF file"),
        ("cut.gguf", b"GGUF\x03\0\0\0", "cannot be loaded ("),
        ("weights.bin", b"\x80\x04N.", "is no GGUF file"),
    ],
)
def test_what_is_no_model_is_one_line(name: str, content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_language_model(str(tmp_path / name))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_and_one_with_a_gguf_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no config\.json with \.safetensors; accepted"):
        load_language_model(str(tmp_path))
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(InputError, match=r"but a\.gguf; .*give the \.gguf file itself"):
        load_language_model(str(tmp_path))


def test_an_id_that_the_hub_does_not_give_is_one_line() -> None:
    pytest.importorskip("transformers", reason="pip install 'evonas[lm]'")
    with pytest.raises(InputError, match=r"^evonas-tests/none: cannot be loaded \("):
        load_language_model("evonas-tests/none")


def test_without_transformers_the_install_line_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install 'evonas\[lm\]'"):
        load_language_model(str(folder))


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """Of the package; its level is afterwards what it was."""
    found = logging.getLogger("evonas")
    level = found.level
    yield found
    found.setLevel(level)


@pytest.mark.parametrize(("level", "silent"), [("WARNING", True), ("DEBUG", False)])
def test_loading_shows_no_bars_unless_debugging_is_asked_for(
    level: str, silent: bool, folder: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: what a terminal, made up here, is sent; the settings of both libraries afterwards are those before."""
    transformers = pytest.importorskip("transformers", reason="pip install 'evonas[lm]'")
    from huggingface_hub import utils as hub

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    logger.setLevel(level)
    bars = transformers.utils.logging
    before = bars.get_verbosity(), bars.is_progress_bar_enabled(), hub.are_progress_bars_disabled()
    with quietly(transformers, str(folder)):
        for _ in bars.tqdm(range(2)):
            sys.stderr.write("a note of another library")
    assert (terminal.getvalue() == "") == silent
    assert (bars.get_verbosity(), bars.is_progress_bar_enabled(), hub.are_progress_bars_disabled()) == before
    with quietly(transformers, "owner/name"):  # to be downloaded
        assert not hub.are_progress_bars_disabled()
        assert bars.is_progress_bar_enabled() != silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
