"""Forward and backward passes of the screens' probe.

Oracles: the lowered layer and torch's autograd in float64, sample by sample; the numpy interpreter on full arrays.
"""

import numpy as np
import pytest
import torch
from oracles import MAP_LAYERS, interpret, viable_genomes

from evonas.graph.genome import Genome
from evonas.graph.primitive import INDEX_SETS
from evonas.layer.lower import lower
from evonas.search.probe import CHANNELS, GROUPS, Probe, Sample

EPS = 1e-5
SAMPLES = (
    Sample((3, CHANNELS, 4, 5), 1.0, 0, 0),
    Sample((2, CHANNELS, 1, 1), 3.0, 1, 0),
    Sample((1, CHANNELS, 2, 3), 0.5, 2, 1),
)
PROBE = Probe(SAMPLES)
GENOMES = {**MAP_LAYERS, **{genome.key: genome for genome in viable_genomes(60, seed=3)}}


def initial(name: str, number: int) -> np.ndarray:
    return PROBE.initial[name][PROBE.parts[number]].reshape(SAMPLES[number].shape)


@pytest.mark.parametrize("name", GENOMES)
def test_values_and_gradients_are_those_of_the_lowered_layer(name: str) -> None:
    genome = GENOMES[name]
    values = PROBE.forward(genome, EPS)
    y = values[len(genome.nodes) - 1]
    gradients = PROBE.backward(genome, values, 2 * y * PROBE.weights, EPS)
    for number, (sample, part) in enumerate(zip(SAMPLES, PROBE.parts, strict=True)):
        module = lower(genome, CHANNELS, layout="bchw", groups=GROUPS, eps=EPS).double().train()
        x = torch.tensor(initial("x", number), requires_grad=True)
        sources = {0: x}
        for position, name_of in ((2, "v0"), (3, "v1")):
            if (parameter := getattr(module, name_of)) is not None:
                parameter.data = torch.tensor(initial(name_of, number)[0, :, 0, 0])
                sources[position] = parameter
        output = module(x)
        np.testing.assert_allclose(y[part], output.detach().numpy().ravel(), rtol=1e-6, atol=1e-9)
        expected = torch.autograd.grad(output.square().mean(), sources.values())
        for position, gradient in zip(sources, expected, strict=True):
            found = gradients[position][part].reshape(sample.shape)
            found = found if position == 0 else found.sum((0, 2, 3))
            noise = 1e-8 * float(gradient.abs().max()) + 1e-10  # what is left where terms cancel
            np.testing.assert_allclose(found, gradient.numpy(), rtol=1e-6, atol=noise)


@pytest.mark.parametrize("axes", INDEX_SETS)
def test_moments_do_not_mix_samples_and_reduce_what_the_index_set_says(axes: str) -> None:
    genome = Genome.from_text(f"a = mean[{axes}](x); std[{axes}](x)")
    found = PROBE.forward(genome, EPS)[5]
    for number, part in enumerate(PROBE.parts):
        parameters = {name: np.ones(CHANNELS) for name in ("v0", "v1", "weight")} | {"bias": np.zeros(CHANNELS)}
        expected = interpret(genome, initial("x", number), parameters, groups=GROUPS, eps=EPS)
        np.testing.assert_allclose(found[part], expected.ravel(), rtol=1e-12)


def test_only_active_nodes_have_values_and_constants_have_no_gradient() -> None:
    genome = Genome.from_text("a = exp(x); b = exp(zero); c = neg(v1); d = mul(c, b); mul(x, d)")
    values = PROBE.forward(genome, EPS)
    assert tuple(values) == genome.active_positions == (0, 1, 3, 5, 6, 7, 8)
    assert set(PROBE.backward(genome, values, values[8], EPS)) == {0, 3, 6, 7, 8}


def test_a_sample_says_its_scale_and_shape() -> None:
    assert str(SAMPLES[1]) == "scale 3, input 2x8x1x1"


def test_noise_has_unit_spread_times_the_scale_and_parameters_are_one_value_per_channel() -> None:
    probe = Probe([Sample((40, CHANNELS, 10, 10), 7.0, 5, 0)])
    x, v0, v1 = (probe.initial[name].reshape(40, CHANNELS, 10, 10) for name in ("x", "v0", "v1"))
    assert (x - x.mean((0, 2, 3), keepdims=True)).std() == pytest.approx(7.0, rel=0.02)
    for values in (v0, v1):
        assert np.ptp(values, axis=(0, 2, 3)).max() == 0
        assert len(np.unique(values)) == CHANNELS
