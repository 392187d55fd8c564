"""Whole networks as programs. Oracle: the network itself in torch, with weights that were trained a little."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import evonas
from evonas.errors import InputError
from evonas.interface.programs import Network, export_layer, export_network

timm = pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
NAME = "test_resnet"  # the smallest of timm's ResNets


def network(layer: str = "evonorm-s0") -> torch.nn.Module:
    torch.manual_seed(1)
    model = evonas.replace_norm_act(timm.create_model(NAME, num_classes=7), layer)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(2):
        model(torch.randn(4, 3, 32, 32)).square().mean().backward()
        optimizer.step()
    return model.eval()


@pytest.mark.filterwarnings("ignore::evonas.SurgeryWarning")
@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_network_with_its_weights_runs_without_evonas(suffix: str, tmp_path: Path) -> None:
    model, x = network(), torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    asked = Network(f"timm:{NAME}", "evonorm-s0", tmp_path / "weights.safetensors", classes=7, size=32)
    if suffix == ".onnx":
        onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'evonas[onnx]'")
        pytest.importorskip("onnxscript", reason="pip install 'evonas[onnx]'")
        program = export_network(asked, tmp_path / "net.onnx")
        (y,) = onnxruntime.InferenceSession(str(program.files[0])).run(None, {"x": x.numpy()})
        found = torch.from_numpy(y)
    else:
        program = export_network(asked, tmp_path / "net.pt2")
        found = torch.export.load(program.files[0]).module()(x)
    with torch.no_grad():
        assert torch.allclose(found, model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::evonas.SurgeryWarning")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("fc.bias"), r"lacks fc\.bias; save the network after"),
        (lambda w: w.update(extra=torch.zeros(1)), r"has, and the network has not, extra; "),
        (lambda w: w.update({"fc.bias": torch.zeros(3)}), r"fc\.bias is \[3\]; accepted: \[7\]"),
    ],
)
def test_weights_that_do_not_fit_are_said_in_one_line(change: object, words: str, tmp_path: Path) -> None:
    weights = network().state_dict()
    change(weights)  # type: ignore[operator]
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=words):
        export_network(Network(f"timm:{NAME}", "evonorm-s0", tmp_path / "w.safetensors", 7, 32), tmp_path / "net.pt2")
    assert not (tmp_path / "net.pt2").exists()


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_what_is_no_file_of_weights_is_said_in_one_line(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "w").write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be read \(.*accepted: a \.safetensors file"):
        export_network(Network(f"timm:{NAME}", weights=tmp_path / "w", size=32), tmp_path / "net.pt2")


def test_the_suffix_says_what_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.txt; accepted: \.onnx, \.pt2"):
        export_layer("evonorm-s0", tmp_path / "layer.txt")
    program = export_layer("dyt", tmp_path / "layer.pt2", num_features=5)
    x = torch.randn(3, 4, 5)
    assert torch.equal(torch.export.load(program.files[0]).module()(x), evonas.create_layer("dyt", 5).eval()(x))
