"""What ``evonas show`` says beside names and formulas. Oracles: properties of known formulas, pixels of the picture."""

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image

Call = Callable[..., tuple[int, str, str]]


def test_a_layer_is_described_in_words_and_drawn(tmp_path: Path, evonas: Call) -> None:
    status, out, _ = evonas("show", "gn-relu", "--png", tmp_path / "gn.png")
    assert status == 0
    said = {line[:17].strip(): line[17:].strip() for line in out.splitlines()}
    assert "scale of each sample, shift of the whole input" in said["ignores"]
    assert said["depends on"] == "positions, features"
    assert said["response"].startswith("rising, unbounded, 0 at 0, slope 0 far left and 1")
    assert said["large inputs"] == "output does not grow"
    assert "(BN-ReLU: " in said["costs"]
    assert said["time"].endswith("times that of torch's own norm and activation")
    with Image.open(tmp_path / "gn.png") as picture:
        assert picture.size[1] > picture.size[0] * 0.6  # the graph above, the response below


def test_what_is_said_is_data_too_and_may_be_left_out(evonas: Call) -> None:
    (found,) = json.loads(evonas("show", "tanh(x)", "--json")[1])
    assert found["properties"]["bounded"] is True
    assert found["properties"]["monotonic"] == "rising"
    assert found["cost"]["parameters"] == 2.0
    assert found["time_beside_torch"] > 0
    (quick,) = json.loads(evonas("show", "tanh(x)", "--json", "--quick")[1])
    assert quick.keys() == found.keys() - {"properties", "cost", "cost_of_bn_relu", "time_beside_torch"}


def test_latex_alone(evonas: Call) -> None:
    assert evonas("show", "tanh(x)", "--tex")[1] == "\\tanh\\left(x\\right)\n"
