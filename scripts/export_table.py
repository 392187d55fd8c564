"""Round trips of every exporter: how far what a file computes is from the layer it was made of.

    python scripts/export_table.py table.json --random 50

For each layer of the catalogue and for random layers that pass the screens of evonorm_s and of evonorm_b: the Python
file in training (output, gradients of input and parameters, running values) and in evaluation, the program of torch
in evaluation, and the ONNX file in onnxruntime, on maps of several sizes down to 1x1, after some training. A
difference is the largest one, over the largest value. Prints the worst of each exporter and every layer that is
beyond the tolerance; the exit status is 1 if there is one.
"""

import argparse
import importlib.util
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn

from evonas import config
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE, known_layout
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.layer.export import export
from evonas.layer.lower import lower
from evonas.layer.programs import save_onnx, save_program
from evonas.search.protocols import Screens

FEATURES, GROUPS = 8, 4
AXES = {"bchw": {0: "batch", 2: "height", 3: "width"}, "btd": {0: "batch", 1: "tokens"}}
SHAPES = {
    "bchw": [(2, FEATURES, 6, 5), (5, FEATURES, 1, 1), (1, FEATURES, 3, 9)],
    "btd": [(2, 7, FEATURES), (1, 1, FEATURES), (3, 20, FEATURES)],
}
TOLERANCE = 1e-4


def drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    """Random numbers with a mean and a deviation that are not 0 and 1."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2 + 0.5


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference over the largest value; 0 where both are equal, not finite numbers included."""
    same = (found == expected) | (found.isnan() & expected.isnan())
    apart = torch.where(same, torch.zeros_like(expected), (found - expected).abs())
    scale = expected[expected.isfinite()].abs().max() if expected.isfinite().any() else torch.tensor(1.0)
    return float((apart.max() / scale.clamp_min(1e-6)).detach())


def survivors(name: str, count: int, seed: int) -> dict[str, Genome]:
    """Random layers that pass screens and probe."""
    settings = config.load_search(Path(name))
    space, screens = SearchSpace.from_config(settings.space), Screens(settings.protocols, settings.layer)
    rng, found = random.Random(seed), dict[str, Genome]()
    while len(found) < count:
        genome = space.sample(rng)
        if isinstance(screens(genome), str) and screens.probe(genome) is None:
            found[f"{settings.name} {genome.key[:8]}"] = genome.active()
    return found


def trained(genome: Genome, layout: str) -> nn.Module:
    """A layer with parameters and running values that are not the initial ones."""
    layer = lower(genome, FEATURES, layout=layout, groups=GROUPS)
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    for seed in range(3):
        layer(drawn(SHAPES[layout][0], seed))
    return layer


def of_python(genome: Genome, layer: nn.Module, layout: str, folder: Path) -> dict[str, float]:
    """Differences of the Python file, in training and in evaluation."""
    path = export(genome, folder / "layer.py", name="Made", groups=GROUPS, layout=layout)
    spec = importlib.util.spec_from_file_location("made", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: nn.Module = module.Made(FEATURES)
    own = dict(layer.named_buffers()) | dict(layer.named_parameters())
    mine = {name.replace("body.", ""): value.detach() for name, value in own.items()}
    made.load_state_dict({name: mine[name] for name in made.state_dict()})
    worst = {"python, training": 0.0, "python, evaluation": 0.0}
    for shape in SHAPES[layout]:
        for mode, training in (("python, training", True), ("python, evaluation", False)):
            results = []
            for each in (made.train(training), layer.train(training)):
                each.zero_grad()
                x = drawn(shape, 7).requires_grad_()
                y = each(x)
                (y * drawn(tuple(y.shape), 8)).sum().backward()
                gradients = {n.replace("body.", ""): p.grad for n, p in each.named_parameters()}
                buffers = {n.replace("body.", ""): b.clone() for n, b in each.named_buffers()}
                results.append({"y": y.detach(), "x": x.grad, **gradients, **buffers})
            first, second = results
            for name, value in first.items():
                if value is not None:
                    worst[mode] = max(worst[mode], difference(value, second[name]))
    return worst


def of_layer(genome: Genome, layout: str, folder: Path) -> dict[str, Any]:
    """Differences of all exporters."""
    layer = trained(genome, layout)
    found: dict[str, Any] = dict(of_python(genome, layer, layout, folder))
    example = drawn(SHAPES[layout][0], 1)
    layer.eval()
    try:
        program = save_program(layer, example, folder / "layer.pt2", list(AXES[layout]))
        loaded = torch.export.load(program.files[0]).module()
        found["pt2"] = max(difference(loaded(x), layer(x)) for x in _inputs(layout))
        onnx = save_onnx(layer, example, folder / "layer.onnx", AXES[layout])
        session = onnxruntime.InferenceSession(str(onnx.files[0]))
        found["onnx"] = max(
            difference(torch.from_numpy(session.run(None, {"x": x.numpy()})[0]), layer(x)) for x in _inputs(layout)
        )
        found["nodes"] = onnx.nodes
    except InputError as error:
        found["error"] = str(error)
    return found


def _inputs(layout: str) -> list[Tensor]:
    return [drawn(shape, 9) for shape in SHAPES[layout]]


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--random", type=int, default=50, help="layers, half of each space")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    onnxruntime.set_default_logger_severity(3)
    layers = dict(CATALOGUE)
    for space in ("evonorm_s", "evonorm_b"):
        layers |= survivors(space, arguments.random // 2, arguments.seed)
    rows: dict[str, dict[str, Any]] = {}
    for name, genome in layers.items():
        layout = known_layout(genome) or next(iter(genome.layouts), "bchw")
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = {"formula": genome.formula(), **of_layer(genome, layout, Path(folder))}
    arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
    exporters = ("python, training", "python, evaluation", "pt2", "onnx")
    for exporter in exporters:
        values = [row[exporter] for row in rows.values() if exporter in row]
        print(f"{exporter:20} {len(values)} layers, largest relative difference {max(values):.1e}")
    bad = [name for name, row in rows.items() if "error" in row or max(row[e] for e in exporters) > TOLERANCE]
    for name in bad:
        print(name, rows[name])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
