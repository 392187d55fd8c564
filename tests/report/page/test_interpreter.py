"""The interpreter of pages in a browser.

Oracle: ``responses``, which is made of the torch functions of the primitives and their gradients, and is itself held
to lowered layers here.
"""

import random
from pathlib import Path

import pytest
import torch
from browser import found_by, needs_chromium
from responses import Setting, group_of, response

import evonas
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.primitive import of_kind
from evonas.graph.space import SearchSpace
from evonas.report.page.page import html_page, static

INPUTS = torch.tensor([-4.0, -2.5, -1.0, -0.5, -0.01, 0.001, 0.02, 0.3, 0.7, 1.0, 2.0, 6.5], dtype=torch.float64)
SETTINGS = (Setting(mu=0.35), Setting(0.3, 1.7, 0.8, 0.6), Setting(-1.2, -0.4, -0.5, 2.5, 1e-3))
TIES = (
    "max(x, zero)",
    "max(zero, x)",
    "min(x, zero)",
    "a = mul(x, x); min(a, x)",
    "abs(x)",
    "log(x)",
    "sqrt(x)",
    "a = 1; div(a, x)",
)
EVERY_OPERATION = (
    "a = min(x, 0.5); b = erf(a); c = sin(b); d = log(c); add(d, x)",
    "a = abs(x); b = sqrt(a); c = exp(b); d = neg(c); square(d)",
    "a = tanh(x); b = sigmoid(a); c = max(b, v0); d = div(v1, c); mul(d, x)",
    "a = mean[chw](x); b = rms[hw](a); c = std[ghw](x); d = std[bhw](b); e = add(c, d); div(x, e)",
    "a = -0.75; b = mul(a, x); c = 2e-06; add(b, c)",
    "a = mul(x, x); b = mul(a, a); c = mean[gd](b); d = div(zero, zero); e = add(c, d); mul(x, e)",
)
SCRIPT = """
const { cases, inputs, quantiles } = JSON.parse(document.getElementById("data").textContent);
report(cases.map(({ text, setting }) => {
  const nodes = Interpreter.parse(text);
  const all = { ...setting, quantiles };
  const fixed = Interpreter.moments(nodes, all);
  return inputs.map((x) => Interpreter.respond(nodes, fixed, all, x));
}));
"""


def random_genomes(count: int) -> list[Genome]:
    """Graphs of any operations of evonas, as sampling draws them; no screen was passed."""
    ops, rng = of_kind("elementwise", "moment"), random.Random(5)
    space = SearchSpace(primitives=ops)
    return [space.sample(rng).active() for _ in range(count)]


def fields(setting: Setting) -> dict[str, float]:
    return {name: getattr(setting, name) for name in Setting.__slots__}


def assert_equal_in_the_browser(
    genomes: list[Genome], settings: tuple[Setting, ...], inputs: torch.Tensor, file: Path
) -> float:
    """Compare outputs and slopes; the share of the expected numbers that are finite."""
    cases = [(genome, setting) for genome in genomes for setting in settings]
    data = {
        "cases": [{"text": genome.to_text(), "setting": fields(setting)} for genome, setting in cases],
        "inputs": inputs.tolist(),
        "quantiles": group_of(Setting()).tolist(),
    }
    found = found_by(SCRIPT, html_page("computed", data, [static("interpreter.js")], ""), file)
    finite = []
    for (genome, setting), points in zip(cases, found, strict=True):
        table = torch.tensor([[float(value) for value in point] for point in points], dtype=torch.float64)
        for name, got, expected in zip(("output", "slope"), table.T, response(genome, inputs, setting), strict=True):
            said = f"{name} of {genome.to_text()} at {setting}: {got.tolist()}, not {expected.tolist()}"
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11, equal_nan=True, msg=said)
            finite.append(expected.isfinite().double().mean().item())
    return sum(finite) / len(finite)


@needs_chromium
def test_the_browser_computes_what_torch_computes(tmp_path: Path) -> None:
    genomes = [*CATALOGUE.values(), *map(Genome.from_text, EVERY_OPERATION), *random_genomes(25)]
    assert assert_equal_in_the_browser(genomes, SETTINGS, INPUTS, tmp_path / "page.html") > 0.9


@needs_chromium
def test_at_kinks_and_guards_it_takes_the_sides_that_torch_takes(tmp_path: Path) -> None:
    inputs = torch.tensor([-1.0, -1e-5, -1e-7, 0.0, 1e-7, 1e-5, 1.0], dtype=torch.float64)
    genomes = [Genome.from_text(text) for text in TIES]
    assert assert_equal_in_the_browser(genomes, (Setting(),), inputs, tmp_path / "page.html") == 1.0


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize("setting", SETTINGS[:2])
def test_at_the_inputs_of_the_group_the_oracle_is_the_lowered_layer(name: str, setting: Setting) -> None:
    genome, group = CATALOGUE[name].active(), group_of(setting)
    if "gd" in {node.axes for node in genome.nodes}:
        pytest.skip("its groups are parts of the features")
    tokens = "btd" in genome.layouts
    layer = evonas.create_layer(genome, len(group) if tokens else 1, eps=setting.eps, dtype=torch.float64).train()
    with torch.no_grad():
        for parameter, value in ((layer.v0, setting.v0), (layer.v1, setting.v1)):
            if parameter is not None:
                parameter.fill_(value)
    output = layer(group.view(1, 1, -1) if tokens else group.view(1, 1, -1, 1)).flatten()
    torch.testing.assert_close(response(genome, group, setting)[0], output.detach(), rtol=1e-9, atol=1e-11)
