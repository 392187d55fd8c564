"""``evonas export`` of programs; Python files are tested in ``test_named_layers.py``. Oracle: torch itself."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import evonas as package

Call = Callable[..., tuple[int, str, str]]


def test_a_layer_as_a_program(tmp_path: Path, evonas: Call) -> None:
    file = tmp_path / "layer.pt2"
    status, out, err = evonas("export", "evonorm-b0", "-o", file, "--features", 6)
    assert (status, err) == (0, "")
    assert f"wrote {file}: " in out
    assert "inputs have 6 channels or features" in out
    x = torch.randn(3, 6, 4, 5)
    layer = package.create_layer("evonorm-b0", 6).eval()
    assert torch.allclose(torch.export.load(file).module()(x), layer(x), rtol=1e-5, atol=1e-6)


def test_a_network_says_what_it_left_and_that_its_weights_are_fresh(tmp_path: Path, evonas: Call) -> None:
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    file, network = tmp_path / "net.pt2", ("--model", "timm:test_resnet", "--classes", 5, "--size", 32)
    status, out, err = evonas("export", *network, "--layer", "evonorm-s0", "-o", file)
    assert status == 0
    assert "note: the weights are fresh" in err
    assert "batches of any size" in out
    assert torch.export.load(file).module()(torch.randn(4, 3, 32, 32)).shape == (4, 5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evonorm-s0",), "--output: not given; accepted: a file that ends in .py, .onnx or .pt2"),
        (("-o", "x.py"), "LAYER: not given; accepted: a layer as `evonas show` takes it, or --model NAME"),
        (("evonorm-s0", "-o", "x.txt"), "--output: x.txt; accepted: a file that ends in .py"),
        (("evonorm-s0", "--layer", "dyt", "-o", "x.onnx"), "--layer: given beside LAYER"),
        (("tanh(x)", "-o", "x.pt2"), "--layout: not given, and tanh(x) has no moment"),
        (("dyt", "--model", "timm:nothing", "-o", "x.pt2"), "--model: timm has no network 'nothing'"),
        (("dyt", "--model", "timm:test_resnet", "-o", "x.py"), "x.py: ends in .py; accepted: .onnx, .pt2"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_no_file(
    arguments: tuple[str, ...], words: str, tmp_path: Path, evonas: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    monkeypatch.chdir(tmp_path)
    status, _, err = evonas("export", *arguments)
    assert status == 2
    assert words in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
