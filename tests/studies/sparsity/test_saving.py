"""How a model was made sparse, saved and read again, and what a state dict of a sparse model holds.

Oracles: the outputs of the sparse model, of the dense model and of one that transformers reads from its own files, bit
for bit.
"""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from sparsity_models import make_llama
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.sparsity import Prefill, SparsityWarning, load, sparsify
from evonas.studies.sparsity.sites import linear_sites

SETTINGS: dict[str, dict[str, Any]] = {
    "column norms": {"method": "wina", "allocation": "fisher"},
    "thresholds": {"method": "teal", "selection": "threshold", "allocation": "greedy", "prefill": Prefill(0.5, 1)},
    "a transform": {"method": "wina", "transform": True, "allocation": "uniform"},
    "thresholds of a transform": {"method": "teal", "transform": True, "selection": "threshold"},
    "gates": {"method": "cats", "selection": "threshold"},
    "low rank": {"method": "r-sparse", "sparsity": 0.3, "include": "**.mlp.*"},
    "random numbers": {"method": "random", "seed": 3, "allocation": "uniform"},
    "shares by layer": {"sparsity": {"model.layers.1.mlp.up_proj": 0.6}},
    "with the head": {"method": "teal", "exclude": "model.layers.0.mlp.*"},
}
TRANSFORMED = ("a transform", "thresholds of a transform")


def logits(model: nn.Module, ids: Tensor) -> Tensor:
    found: Tensor = model(ids).logits
    return found


@pytest.mark.parametrize("name", SETTINGS)
def test_a_model_made_sparse_from_a_file_computes_the_same(
    name: str, llama: nn.Module, ids: Tensor, tmp_path: Path
) -> None:
    with sparsify(llama, calibration=[ids], **SETTINGS[name]) as report:
        report.save(tmp_path / "sparsity.json")
        expected = logits(llama, ids)
        settings, layers = report.settings, report.layers
    other = make_llama()
    assert not torch.equal(logits(other, ids), expected)
    batch = [ids[:1, :2]] if name in TRANSFORMED else None  # any will do, and only a transform needs one
    with load(other, tmp_path / "sparsity.json", calibration=batch) as found:
        assert torch.equal(logits(other, ids), expected)
        assert (found.settings, found.layers) == (settings, layers)


def test_kernels_are_chosen_anew(llama: nn.Module, ids: Tensor, tmp_path: Path) -> None:
    exclude = ("lm_head", "**.self_attn.*", "**.gate_proj", "**.up_proj")
    with sparsify(llama, exclude=exclude) as masked:
        masked.save(tmp_path / "sparsity.json")
        expected = logits(llama, ids[:1, :1])
    other = make_llama()
    report = load(other, tmp_path / "sparsity.json", sparse_when=lambda *_: True)
    assert [(layer.kind, layer.kernel) for layer in report.layers] == [("down_proj", "sparse")] * 2
    torch.testing.assert_close(logits(other, ids[:1, :1]), expected)


@pytest.mark.parametrize("name", SETTINGS)
def test_saved_weights_are_those_of_the_dense_model_and_that_is_said(
    name: str, llama: nn.Module, ids: Tensor, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="pip install 'evonas[lm]'")
    dense = logits(llama, ids)
    report = sparsify(llama, calibration=[ids], sparse_when=lambda *_: True, **SETTINGS[name])
    with pytest.warns(SparsityWarning, match=r"the dense model alone.*report\.save.*evonas\.sparsity\.load"):
        llama.save_pretrained(tmp_path)
    read: Any = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(read, ids), dense)
    report.restore()
    state = llama.state_dict()  # silent again: warnings are errors here
    assert all(torch.equal(tensor, state[key]) for key, tensor in read.state_dict().items())


def test_a_sparse_model_with_a_transform_can_be_copied_and_pickled(llama: nn.Module, ids: Tensor) -> None:
    dense = logits(llama, ids)
    with sparsify(llama, transform=True, allocation="uniform", calibration=[ids]):
        sparse = logits(llama, ids)
        for other in (copy.deepcopy(llama), pickle.loads(pickle.dumps(llama))):
            assert torch.equal(logits(other, ids), sparse)
            with pytest.warns(SparsityWarning):
                state = other.state_dict()
            fresh = make_llama()
            fresh.load_state_dict(state)
            assert torch.equal(logits(fresh, ids), dense)


def changed(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_file_that_does_not_fit_is_one_line_and_leaves_the_model_alone(
    llama: nn.Module, ids: Tensor, tmp_path: Path
) -> None:
    file, dense = tmp_path / "sparsity.json", logits(llama, ids)
    with sparsify(llama, method="teal", selection="threshold", allocation="uniform", calibration=[ids]) as report:
        report.save(file)
    whole = file.read_text()

    def refused(words: str) -> None:
        with pytest.raises(InputError, match=words) as error:
            load(llama, file)
        assert "\n" not in str(error.value)
        assert torch.equal(logits(llama, ids), dense)

    site = linear_sites(llama)[0].name
    layers = json.loads(whole)["layers"]
    changed(file, layers={"model.layers.7.mlp.up_proj": layers[site]})
    refused(r"model\.layers\.7\.mlp\.up_proj: is none of the modules of this LlamaForCausalLM")
    changed(file, layers={site: layers[site] | {"inputs": 31}})
    refused(rf"{site}: 32 inputs and 32 outputs; accepted: 31 and 32, as in the file")
    changed(file, layers={site: {key: value for key, value in layers[site].items() if key != "threshold"}})
    refused(rf"holds no threshold of {site}")
    changed(file, layers={site: layers[site] | {"sparsity": 1.0}})
    refused(r"sparsity: 1\.0; accepted: less than 1")
    changed(file, layers=layers, method="wnia")
    refused("did you mean 'wina'")
    changed(file, method="wina", transform=True)
    refused("transform needs them")
    file.write_text(whole[:40])
    refused("is not JSON")
    file.write_text("[]")
    refused("holds no settings")
    file.unlink()
    refused("no such file")


def test_a_report_can_be_read(llama: nn.Module, ids: Tensor) -> None:
    report = sparsify(llama, method="teal", sparsity=0.5, exclude=("lm_head", "**.self_attn.*"))
    what = "teal on a LlamaForCausalLM, 50.0 % of the inputs of 6 layers to drop (topk, uniform)"
    assert str(report).splitlines()[0] == f"{what}, nothing dropped so far"
    logits(llama, ids)
    lines = str(report).splitlines()
    assert lines[0].endswith("50.0 % dropped so far")
    assert [line.split()[:5] for line in lines[1:]] == [
        ["gate_proj", "2", "of", "32", "x"],
        ["up_proj", "2", "of", "32", "x"],
        ["down_proj", "2", "of", "48", "x"],
    ]
    assert all("50.0 % to drop, 50.0 % dropped so far, masked" in line for line in lines[1:])
    report.restore()
    assert str(report).splitlines()[0] == f"{what}, restored"
