"""Exported programs. Oracle: the layer itself, after some training, on other inputs than the example's, down to 1x1."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE, known_layout
from evonas.layer.lower import lower
from evonas.layer.programs import save_onnx, save_program

FEATURES = 8
AXES = {"bchw": {0: "batch", 2: "height", 3: "width"}, "btd": {0: "batch", 1: "tokens"}}
EXAMPLE = {"bchw": (2, FEATURES, 6, 5), "btd": (2, 7, FEATURES)}
OTHERS = {"bchw": [(5, FEATURES, 1, 1), (1, FEATURES, 3, 9)], "btd": [(1, 1, FEATURES), (3, 20, FEATURES)]}
QUICK = ("evonorm-b0", "gn-relu", "dyt")
LAYERS = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in CATALOGUE]


def drawn(shape: tuple[int, ...], seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2 + 0.5


def trained(name: str) -> tuple[nn.Module, str]:
    """A layer that was trained a little: its parameters and running values are not the initial ones."""
    layout = known_layout(CATALOGUE[name]) or "bchw"
    layer = lower(CATALOGUE[name], FEATURES, layout=layout, groups=4)
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            parameter.add_(0.3 * drawn(tuple(parameter.shape), number))
    for seed in range(3):
        layer(drawn(EXAMPLE[layout], seed))
    return layer, layout


@pytest.mark.parametrize("name", LAYERS)
def test_onnxruntime_computes_what_the_layer_does(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'evonas[onnx]'")
    pytest.importorskip("onnxscript", reason="pip install 'evonas[onnx]'")
    layer, layout = trained(name)
    program = save_onnx(layer, drawn(EXAMPLE[layout]), tmp_path / "layer.onnx", AXES[layout])
    assert layer.training
    assert program.files == (tmp_path / "layer.onnx",)
    assert list(tmp_path.iterdir()) == list(program.files)
    session = onnxruntime.InferenceSession(str(program.files[0]))
    (found,) = session.get_inputs()
    assert found.name == "x"
    assert [found.shape[axis] for axis in AXES[layout]] == list(AXES[layout].values())
    layer.eval()
    for shape in (EXAMPLE[layout], *OTHERS[layout]):
        x = drawn(shape, 7)
        with torch.no_grad():
            expected = layer(x)
        (y,) = session.run(None, {"x": x.numpy()})
        assert torch.allclose(torch.from_numpy(y), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_a_program_of_torch_is_the_layer_bit_for_bit(name: str, tmp_path: Path) -> None:
    layer, layout = trained(name)
    program = save_program(layer, drawn(EXAMPLE[layout]), tmp_path / "layer.pt2", list(AXES[layout]))
    loaded = torch.export.load(program.files[0]).module()
    layer.eval()
    for shape in (EXAMPLE[layout], *OTHERS[layout]):
        x = drawn(shape, 7)
        assert torch.allclose(loaded(x), layer(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [pytest.param("bn-relu"), pytest.param("evonorm-b0", marks=pytest.mark.slow)])
def test_a_program_can_be_trained_on(name: str, tmp_path: Path) -> None:
    layer, layout = trained(name)
    program = save_program(layer, drawn(EXAMPLE[layout]), tmp_path / "layer.pt2", list(AXES[layout]), training=True)
    loaded, other = torch.export.load(program.files[0]).module(), copy.deepcopy(layer)
    for module in (loaded, other):
        for seed in range(3):
            module(drawn(EXAMPLE[layout], seed)).square().mean().backward()
    gradients, expected = ({n.replace("_", "."): p.grad for n, p in m.named_parameters()} for m in (loaded, other))
    assert gradients.keys() == expected.keys()
    for key, gradient in gradients.items():
        assert gradient is not None
        assert torch.allclose(gradient, expected[key], rtol=1e-4, atol=1e-6)
    running = [dict(m.named_buffers()) for m in (loaded, other)]
    for key, value in running[1].items():
        assert torch.allclose(running[0][key], value, rtol=1e-5)


class Uneasy(nn.Module):
    """Cannot be exported."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize("save", [save_onnx, save_program])
def test_what_cannot_be_exported_is_said_in_one_line_and_leaves_no_file(save: object, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="pip install 'evonas[onnx]'")
    with pytest.raises(InputError, match=r"cannot be exported \(.*export the layer as \.py") as caught:
        save(Uneasy(), drawn((2, 3)), tmp_path / "x.onnx", {0: "batch"})  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
