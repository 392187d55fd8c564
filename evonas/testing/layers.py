"""Checks of whole layers: what is lowered, exported, printed, screened and drawn of a genome."""

import ast
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evonas.config import LayerConfig, ProtocolsConfig
from evonas.graph import functions
from evonas.graph.genome import Genome
from evonas.layer.export import source_of
from evonas.layer.lower import NormActLayer, lower
from evonas.report.pictures import draw_genome, to_png
from evonas.search import probe
from evonas.search.protocols import Screens
from evonas.testing.reference import interpret, random_parameters
from evonas.testing.sentences import require, saying

CHANNELS, GROUPS, EPS = 8, 4, 1e-5
MAPS = ((3, CHANNELS, 5, 4), (1, CHANNELS, 1, 1))
TOKENS = ((3, 5, CHANNELS), (1, 1, CHANNELS))
STANDALONE = {"torch", "typing", "math", "sys"}  # what an exported file may import


def check_layer(text: str) -> None:
    """Everything that evonas does with a layer but to train it."""
    genome = Genome.from_text(text)
    reads_back(genome)
    equals_its_reference(genome)
    runs_on_its_own_when_exported(genome)
    comes_back_from_pickle(genome)
    is_screened_as_its_reference(genome)


def reads_back(genome: Genome) -> None:
    """Text, JSON, graph and the exact formula give the layer again; the other formulas can be read, or are LaTeX."""
    name = genome.to_text()
    for notation, other in (
        ("text", Genome.from_text(genome.to_text())),
        ("JSON", Genome.from_json(genome.to_json())),
        ("graph", Genome.from_graph(genome.graph)),
        ("formula", Genome.from_formula(genome.formula(exact=True))),
    ):
        require(other.key == genome.key, f"The {notation} of the layer {name!r} reads back as another layer.")
    with saying(f"The formula of the layer {name!r} cannot be read"):
        Genome.from_formula(genome.formula())
    require(genome.formula(latex=True), f"The layer {name!r} has an empty formula.")


def lowered(genome: Genome, layout: str) -> NormActLayer:
    """A layer in double precision whose parameters all differ."""
    layer = lower(genome, CHANNELS, layout=layout, groups=GROUPS, eps=EPS).double()
    parameters = random_parameters(CHANNELS, seed=0)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(torch.from_numpy(parameters[name]))
    return layer


def _layout(genome: Genome) -> str:
    """That of its moments; a layer without any may have either."""
    return next(iter(genome.layouts), "bchw")


def noise(shape: tuple[int, ...], seed: int = 1) -> Tensor:
    """An input in double precision."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.3


def equals_its_reference(genome: Genome) -> None:
    """The lowered layer computes what the numpy references of its primitives say, in every layout that it has."""
    for layout in genome.layouts or ("bchw", "btd"):
        layer = lowered(genome, layout)
        for shape in MAPS if layout == "bchw" else TOKENS:
            x = noise(shape)
            maps = x if layout == "bchw" else functions.as_maps(x)
            expected = torch.from_numpy(
                interpret(genome, maps.numpy(), random_parameters(CHANNELS, seed=0), groups=GROUPS, eps=EPS)
            )
            expected = expected if layout == "bchw" else functions.as_tokens(expected, x)
            what = f"The lowered layer {genome.to_text()!r} differs from its numpy reference on {layout} {list(shape)}"
            with saying(what):
                torch.testing.assert_close(layer(x), expected, rtol=1e-8, atol=1e-8, equal_nan=True)


def comes_back_from_pickle(genome: Genome) -> None:
    """A pickled layer computes the same, as it must to travel to another process."""
    layout = _layout(genome)
    layer, x = lowered(genome, layout), noise(MAPS[0] if layout == "bchw" else TOKENS[0])
    with saying(f"The layer {genome.to_text()!r} does not come back from pickle as it was"):
        again = pickle.loads(pickle.dumps(layer))  # of what was made here
        torch.testing.assert_close(again.eval()(x), layer.eval()(x), rtol=0, atol=0, equal_nan=True)


def runs_on_its_own_when_exported(genome: Genome) -> None:
    """The exported file needs torch alone and computes what the lowered layer does, in training and in evaluation."""
    name = genome.to_text()
    with saying(f"The layer {name!r} cannot be exported"):
        source = source_of(genome, name="checked", layout=_layout(genome), groups=GROUPS, eps=EPS)
    others = _imported(source) - STANDALONE
    require(not others, f"The exported layer {name!r} imports {', '.join(sorted(others))}.")
    layout = _layout(genome)
    layer, x = lowered(genome, layout), noise(MAPS[0] if layout == "bchw" else TOKENS[0])
    with saying(f"The exported layer {name!r} does not run without evonas as the lowered one does"):
        space: dict[str, Any] = {"__name__": "exported"}
        exec(compile(source, "<exported layer>", "exec"), space)  # what was just written
        alone: nn.Module = space["Checked"](CHANNELS).double()
        alone.load_state_dict({key.removeprefix("body."): value for key, value in layer.state_dict().items()})
        for training in (True, False):
            torch.testing.assert_close(alone.train(training)(x), layer.train(training)(x), equal_nan=True)


def _imported(source: str) -> set[str]:
    found = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def is_screened_as_its_reference(genome: Genome) -> None:
    """What the screens compute, on flat vectors of several inputs, is what the numpy references say on each of them."""
    samples = [probe.Sample(shape, 1.0, 1, 1) for shape in ((3, probe.CHANNELS, 4, 5), (1, probe.CHANNELS, 2, 2))]
    screened, last = probe.Probe(samples), len(genome.nodes) - 1
    with saying(f"The screens cannot judge the layer {genome.to_text()!r}"), np.errstate(all="ignore"):
        found = screened.forward(genome, EPS)
        screened.backward(genome, found, screened.weights, EPS)
        Screens(ProtocolsConfig(), LayerConfig())(genome)
    for sample, part in zip(samples, screened.parts, strict=True):
        arrays = {name: value[part].reshape(sample.shape) for name, value in screened.initial.items()}
        parameters = {name: arrays[name][0, :, 0, 0] for name in ("v0", "v1")}
        parameters |= {"weight": np.ones(probe.CHANNELS), "bias": np.zeros(probe.CHANNELS)}
        expected = interpret(genome, arrays["x"], parameters, groups=probe.GROUPS, eps=EPS)
        with saying(f"The screens compute something else than the numpy reference of {genome.to_text()!r}"):
            np.testing.assert_allclose(found[last][part].reshape(sample.shape), expected, rtol=1e-9, atol=1e-9)


def draws(genome: Genome) -> None:
    """There is a picture of the layer."""
    with saying(f"The layer {genome.to_text()!r} cannot be drawn"), tempfile.TemporaryDirectory() as folder:
        to_png(draw_genome(genome), Path(folder) / "layer.png")
