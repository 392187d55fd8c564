"""Sparse models as folders.

Oracles: the tokens that the sparse model says greedily, and its outputs bit for bit; the files of a folder before and
after a save that did not end.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from sparsity_models import make_mlp
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.sparsity import SparsityReport, load, sparsify
from evonas.studies.sparsity import layer, rotation, writing
from evonas.studies.sparsity.loading import load_sparse
from evonas.tasks.language.pretrained import load_language_model
from studies import assert_one_line

SETTINGS: dict[str, dict[str, Any]] = {
    "column norms": {"method": "wina", "allocation": "fisher"},
    "thresholds": {"method": "teal", "selection": "threshold", "allocation": "greedy"},
    "thresholds of a transform": {"method": "wina", "transform": True, "selection": "threshold"},
    "low rank": {"method": "r-sparse", "sparsity": 0.3, "include": "**.mlp.*"},
    "gates": {"method": "cats"},
}


def calibration() -> list[Tensor]:
    return [torch.randint(50, (1, 24), generator=torch.Generator().manual_seed(5))]


def dense(saved: Path) -> Any:
    return load_language_model(str(saved)).model


def said(model: Any, ids: Tensor) -> Tensor:
    found: Tensor = model.generate(ids[:1, :8], max_new_tokens=12, do_sample=False, pad_token_id=0)
    return found


@pytest.fixture
def made(saved: Path, tmp_path: Path) -> Path:
    """A saved sparse model with tensors of its own."""
    report = sparsify(dense(saved), calibration=calibration(), method="r-sparse", include="**.mlp.*", sparsity=0.3)
    report.save(tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("include_model", [False, True])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_loaded_model_says_the_same_tokens(
    name: str, include_model: bool, saved: Path, ids: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = sparsify(dense(saved), calibration=calibration(), **SETTINGS[name])
    tokens, logits = said(report.model, ids), report.model(ids).logits
    tokenizer = load_language_model(str(saved)).tokenizer if include_model else None
    report.save(tmp_path / "out", include_model=include_model, tokenizer=tokenizer)
    for module, function in ((rotation, "right_singular_vectors"), (layer, "low_rank_factors")):
        monkeypatch.delattr(module, function)  # nothing is worked out again: other machines may do it otherwise
    found = load(tmp_path / "out")
    assert torch.equal(said(found.model, ids), tokens)
    assert torch.equal(found.model(ids).logits, logits)
    assert (found.settings, [each.requested for each in found.layers]) == (
        report.settings,
        [each.requested for each in report.layers],
    )
    again = load(dense(saved), tmp_path / "out")  # and so does a model that is there already
    assert torch.equal(again.model(ids).logits, logits)


def test_layers_that_stay_dense_here_are_saved_as_the_others(saved: Path, ids: Tensor, tmp_path: Path) -> None:
    """Where a sparse product pays is not saved, so that thresholds and low-rank terms of all layers are."""
    for number, name in enumerate(("thresholds of a transform", "low rank")):
        settings = SETTINGS[name] | {"allocation": "uniform"}
        whole = sparsify(dense(saved), calibration=calibration(), **settings).model(ids).logits
        report = sparsify(dense(saved), calibration=calibration(), sparse_when=lambda *_: False, **settings)
        assert all(each.kernel == "dense" for each in report.layers)
        report.save(tmp_path / str(number))
        assert torch.equal(load(tmp_path / str(number)).model(ids).logits, whole)


def test_an_included_model_needs_no_other_one(saved: Path, ids: Tensor, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(saved, copied)
    language = load_language_model(str(copied))
    report = sparsify(language.model, sparsity=0.5, sparse_when=lambda *_: True)
    report.save(tmp_path / "with", include_model=True, tokenizer=language.tokenizer)
    report.save(tmp_path / "without")
    shutil.rmtree(copied)
    expected = report.model(ids[:1, :1]).logits
    found = load_sparse(tmp_path / "with", sparse_when=lambda *_: True)
    assert torch.equal(found.report.model(ids[:1, :1]).logits, expected)
    assert found.language.encode("ab").tolist() == language.encode("ab").tolist()
    with pytest.raises(InputError, match="copied: no such folder"):
        load(tmp_path / "without")
    moved = load(tmp_path / "without", base=saved)
    torch.testing.assert_close(moved.model(ids[:1, :1]).logits, expected)


def test_bfloat16_weights_are_loaded_as_such(saved: Path, ids: Tensor, tmp_path: Path) -> None:
    model = load_language_model(str(saved), dtype=torch.bfloat16).model
    report = sparsify(model, transform=True, calibration=calibration(), allocation="uniform")
    expected = model(ids).logits
    report.save(tmp_path / "out")
    found = load(tmp_path / "out").model(ids).logits
    assert found.dtype is torch.bfloat16
    assert torch.equal(found, expected)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("step", ["write_tensors", "write_sparsity", "_write_dense"])
@pytest.mark.parametrize("older", [False, True])
def test_a_save_that_is_interrupted_leaves_nothing_half_written(
    step: str, older: bool, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = sparsify(dense(saved), method="r-sparse", sparsity=0.3)
    if older:
        report.save(tmp_path / "out")
    before = files(tmp_path)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        report.save(tmp_path / "out", include_model=True)
    assert files(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"] * older


def test_what_was_killed_in_the_middle_is_no_sparse_model(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = sparsify(dense(saved), sparsity=0.5)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "_write_dense", killed)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as after SIGKILL: nothing is tidied up
    with pytest.raises(KeyboardInterrupt):
        report.save(tmp_path / "out", include_model=True)
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(InputError, match="no such folder"):
        load(tmp_path / "out")


def test_another_folder_is_never_replaced(saved: Path, tmp_path: Path) -> None:
    report = sparsify(dense(saved), sparsity=0.5)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(InputError, match="notes: is a folder that holds other files; name a new folder"):
        report.save(tmp_path / "notes")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file: is a file; accepted: the path of a folder"):
        report.save(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    report.save(tmp_path / "empty")
    report.save(tmp_path / "empty", base="another/model")  # one of ours is
    assert json.loads((tmp_path / "empty" / "sparsity.json").read_text())["base"]["source"] == "another/model"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "notes"]


def test_the_command_writes_a_model_that_loads(
    saved: Path, tmp_path: Path, evonas: Callable[..., tuple[int, str, str]]
) -> None:
    small = ("--calibration-tokens", 64, "--tokens", 32, "--context", 32)
    status, out, err = evonas("sparsify", saved, "--sparsity", 0.5, "--save", tmp_path / "out", *small)
    assert (status, err) == (0, "")
    assert out.startswith("wina on a LlamaForCausalLM, 50.0 % of the inputs of 14 layers to drop (topk, fisher)")
    assert out.endswith(f"wrote {tmp_path / 'out'}\n")
    found = load(tmp_path / "out")
    assert found.settings.sparsity == pytest.approx(0.5)
    assert len({layer.requested for layer in found.layers}) > 1  # split by what dropping costs
    status, out, err = evonas(
        *("sparsify", saved, "--sparsity", 0.3, "--method", "r-sparse", "--include-model", "--json"),
        *("--save", tmp_path / "out", *small),
    )
    said = json.loads(out)
    assert (status, err, said["method"], said["sparsity"]) == (0, "", "r-sparse", pytest.approx(0.3))
    assert (tmp_path / "out" / "model" / "tokenizer.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sparsity", 0.4, "--sparsity", 0.5), ("sparsities: 0.4, 0.5", "accepted: one")),
        ((), ("sparsities: 0.25, 0.4, 0.5, 0.65", "accepted: one")),
        (("--sparsity", 0.5, "--method", "all"), ("methods: teal, fisher; wina, fisher", "accepted: one method")),
        (("--sparsity", 0.5, "--run", "here"), ("--save: given together with --run",)),
        (("--sparsity", 1.5), ("sparsities", "1.5", "less than 1")),
    ],
)
def test_what_is_no_one_model_is_refused_in_a_line(
    arguments: tuple[object, ...], words: tuple[str, ...], saved: Path, tmp_path: Path, evonas: Callable[..., Any]
) -> None:
    assert_one_line(evonas("sparsify", saved, "--save", tmp_path / "out", *arguments), words)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_refused_before_anything_is_loaded(
    saved: Path, evonas: Callable[..., Any]
) -> None:
    found = evonas("sparsify", "no/model", "--sparsity", 0.5, "--save", saved)
    assert_one_line(found, ("is a folder that holds other files",))
    assert_one_line(evonas("sparsify", saved, "--include-model"), ("--include-model: given without --save",))


def refused(words: str, *arguments: Any, **options: Any) -> None:
    with pytest.raises(InputError, match=words) as error:
        load(*arguments, **options)
    assert "\n" not in str(error.value)


def test_folders_that_cannot_be_used_are_one_line(made: Path, saved: Path, tmp_path: Path) -> None:
    refused("nowhere: no such folder", tmp_path / "nowhere")
    refused("holds no sparsity.json", saved)
    refused("a model alone; accepted: load", make_mlp())
    refused("two places", made, made)
    refused("is none of the modules of this Sequential", make_mlp(), made)
    file, tensors = made / "sparsity.json", load_file(made / "sparsity.safetensors")
    whole = json.loads(file.read_text())
    name = "model.layers.0.mlp.up_proj/low_rank.up"

    def with_tensors(**changes: Tensor) -> None:
        save_file(tensors | changes, made / "sparsity.safetensors")

    with_tensors(**{name: tensors[name][:, :3].contiguous()})
    refused(r"up_proj/low_rank\.up' has the shape", made)
    with_tensors(**{name: tensors[name] * torch.nan})
    refused("holds what is no finite number", made)
    (made / "sparsity.safetensors").write_bytes(b"no tensors")
    refused("is not a safetensors file", made)
    with_tensors()
    file.write_text(json.dumps(whole | {"base": whole["base"] | {"source": ""}}))
    refused("does not say where the dense LlamaForCausalLM is; say where it is", made)
    file.write_text(json.dumps({key: value for key, value in whole.items() if key != "base"}))
    refused("says nothing of the dense LlamaForCausalLM", made)
    file.write_text(json.dumps(whole))
    assert isinstance(load(made), SparsityReport)


def test_other_weights_are_refused(made: Path, saved: Path, ids: Tensor) -> None:
    """Low-rank terms, rotations and thresholds of one model are wrong in another."""
    model = dense(saved)
    nn.init.ones_(model.model.layers[0].mlp.up_proj.weight)
    before = model(ids).logits
    refused("out: has other weights than the model that was made sparse; accepted: sha256", model, made)
    assert torch.equal(model(ids).logits, before)
