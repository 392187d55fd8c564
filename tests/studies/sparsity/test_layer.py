"""Oracles: the dense layer on inputs masked by hand, and the same tokens one by one."""

import pytest
import torch
from sparsity_models import make_gpt2
from torch import Tensor, nn

from evonas.studies.sparsity.layer import LowRank, Rotation, SparseLinear, low_rank_factors
from evonas.studies.sparsity.scores import Magnitude
from evonas.studies.sparsity.selection import Selector
from evonas.studies.sparsity.sites import LinearSite, linear_sites, site_at

INPUTS, OUTPUTS, KEEP = 12, 7, 5


def masked(x: Tensor, keep: int = KEEP) -> Tensor:
    """The largest magnitudes of the last dimension, the rest 0."""
    smallest = x.abs().sort(dim=-1, descending=True).values[..., keep - 1 : keep]
    return torch.where(x.abs() >= smallest, x, 0)


@pytest.fixture
def site(g: torch.Generator) -> LinearSite:
    layer = nn.Linear(INPUTS, OUTPUTS)
    layer.load_state_dict(
        {"weight": torch.randn(OUTPUTS, INPUTS, generator=g), "bias": torch.randn(OUTPUTS, generator=g)}
    )
    return site_at("fc", layer.requires_grad_(False))


def layers(site: LinearSite, **options: object) -> tuple[SparseLinear, SparseLinear]:
    """One that masks, and one with the kernel."""
    pair = [SparseLinear(site, Selector(Magnitude(), keep=KEEP), sparse=s, **options) for s in (False, True)]  # type: ignore[arg-type]
    pair[1].to_columns()
    return pair[0], pair[1]


@pytest.mark.parametrize("shape", [(INPUTS,), (1, INPUTS), (1, 1, INPUTS), (3, INPUTS), (2, 4, INPUTS)])
def test_the_output_is_that_of_the_dense_layer_on_the_masked_input(
    site: LinearSite, shape: tuple[int, ...], g: torch.Generator
) -> None:
    x = torch.randn(shape, generator=g)
    expected = site.module(masked(x))
    for layer in layers(site):
        y = layer(x)
        assert y.shape == expected.shape
        assert torch.allclose(y, expected, atol=1e-5)


def test_rows_of_a_batch_have_selections_of_their_own(site: LinearSite, g: torch.Generator) -> None:
    x = torch.randn(3, 1, INPUTS, generator=g)
    _, layer = layers(site)
    assert torch.allclose(layer(x), torch.cat([layer(row[None]) for row in x]), atol=1e-5)


def test_a_rotation_goes_before_the_selection(site: LinearSite, g: torch.Generator) -> None:
    basis = torch.linalg.qr(torch.randn(INPUTS, INPUTS, generator=g)).Q
    weight = site.matrix @ basis
    for x in (torch.randn(1, 1, INPUTS, generator=g), torch.randn(2, 3, INPUTS, generator=g)):
        expected = masked(x @ basis) @ weight.T + site.module.bias
        for layer in layers(site, weight=weight, rotation=Rotation(basis)):
            assert torch.allclose(layer(x), expected, atol=1e-5)


def test_a_low_rank_term_stands_in_for_what_is_dropped(site: LinearSite, g: torch.Generator) -> None:
    u, s, vh = torch.linalg.svd(site.matrix, full_matrices=False)
    near = u[:, :2] @ torch.diag(s[:2]) @ vh[:2]
    for x in (torch.randn(1, 1, INPUTS, generator=g), torch.randn(2, 3, INPUTS, generator=g)):
        rest = x - masked(x)
        expected = site.module(masked(x)) + rest @ near.T
        for layer in layers(site, low_rank=LowRank(low_rank_factors(site.matrix), 2)):
            assert torch.allclose(layer(x), expected, atol=1e-5)


def test_a_full_rank_term_makes_up_for_everything(site: LinearSite, g: torch.Generator) -> None:
    x = torch.randn(2, 3, INPUTS, generator=g)
    layer, _ = layers(site, low_rank=LowRank(low_rank_factors(site.matrix), OUTPUTS))
    assert torch.allclose(layer(x), site.module(x), atol=1e-5)


def test_transposed_weights_work(g: torch.Generator) -> None:
    site = linear_sites(make_gpt2(), "transformer.h.0.mlp.c_fc")[0]
    for x in (torch.randn(1, 1, site.inputs, generator=g), torch.randn(2, 3, site.inputs, generator=g)):
        for layer in layers(site):
            assert torch.allclose(layer(x), site.module(masked(x)), atol=1e-5)


def test_a_convolution_selects_channels_at_each_pixel(g: torch.Generator) -> None:
    convolution = nn.Conv2d(INPUTS, OUTPUTS, 1, stride=2).requires_grad_(False)
    x = torch.randn(2, INPUTS, 5, 4, generator=g)
    layer = SparseLinear(site_at("conv", convolution), Selector(Magnitude(), keep=KEEP))
    assert torch.allclose(layer(x), convolution(masked(x.movedim(1, -1)).movedim(-1, 1)), atol=1e-5)
    assert torch.allclose(layer(x[0]), layer(x)[0], atol=1e-5)


def test_a_weight_by_columns_has_the_same_numbers_and_the_way_back_is_exact(site: LinearSite) -> None:
    weight, numbers = site.weight, site.weight.clone()
    _, layer = layers(site)
    assert layer.weight is weight
    assert weight.t().is_contiguous()
    assert torch.equal(weight, numbers)
    layer.to_rows()
    assert weight.is_contiguous()
    assert torch.equal(weight, numbers)


def test_parameters_keep_their_names(site: LinearSite) -> None:
    layer, _ = layers(site, rotation=Rotation(torch.eye(INPUTS)))
    assert set(layer.state_dict()) == {"weight", "bias"}


def test_gradients_reach_the_kept_inputs_alone(site: LinearSite, g: torch.Generator) -> None:
    x = torch.randn(2, 3, INPUTS, generator=g).requires_grad_()
    layer, _ = layers(site)
    layer(x).sum().backward()
    assert torch.equal(x.grad != 0, masked(x) != 0)  # type: ignore[operator]


def test_under_autocast_the_dtype_is_that_of_a_dense_layer(site: LinearSite, g: torch.Generator) -> None:
    x = torch.randn(1, 1, INPUTS, generator=g)
    with torch.autocast("cpu", torch.bfloat16):
        assert [layer(x).dtype for layer in layers(site)] == [torch.bfloat16, torch.bfloat16]


def test_half_precision_works_in_both_kernels(g: torch.Generator) -> None:
    layer = nn.Linear(INPUTS, OUTPUTS, dtype=torch.bfloat16).requires_grad_(False)
    x = torch.randn(1, 1, INPUTS, generator=g).bfloat16()
    outputs = [sparse(x) for sparse in layers(site_at("fc", layer))]
    assert [y.dtype for y in outputs] == [torch.bfloat16, torch.bfloat16]
    assert torch.allclose(*map(Tensor.float, outputs), atol=0.05)


def test_what_is_dropped_is_counted_with_decoding_apart(site: LinearSite, g: torch.Generator) -> None:
    layer, _ = layers(site)
    assert layer.dropped_share == 1 - KEEP / INPUTS  # as planned
    layer(torch.randn(2, 3, INPUTS, generator=g))
    layer(torch.randn(2, 1, INPUTS, generator=g))
    assert (layer.tally.seen, int(layer.tally.dropped)) == (8 * INPUTS, 8 * (INPUTS - KEEP))
    assert (layer.tally.decode_seen, int(layer.tally.decode_dropped)) == (2 * INPUTS, 2 * (INPUTS - KEEP))
    unknown = SparseLinear(site, Selector(Magnitude(), threshold=0.5))
    assert unknown.dropped_share is None
