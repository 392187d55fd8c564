"""Layers under conditions in which public implementations of such layers have failed.

Oracles: finiteness, dtypes and memory formats asked of torch itself, float32 statistics of the same half-precision
input, and the layer itself before it was copied, saved or exported.
"""

import copy
import io
import warnings

import pytest
import torch
from oracles import MAP_LAYERS
from torch import Tensor, nn
from torch.export import Dim

from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.primitive import PRIMITIVES
from evonas.layer.lower import NormActLayer, lower
from evonas.layer.ops import BatchMoment

C = 8
BATCH = [name for name, genome in MAP_LAYERS.items() if genome.uses_batch_statistics]
SAMPLE = [name for name in MAP_LAYERS if name not in BATCH]
HALF = [torch.bfloat16, torch.float16]

every_layer = pytest.mark.parametrize("name", MAP_LAYERS)


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*(shape or (4, C, 6, 5)), generator=torch.Generator().manual_seed(seed))


def trained(name: str, steps: int = 5) -> NormActLayer:
    """A layer whose parameters and running values have moved."""
    layer = lower(CATALOGUE[name], C, layout="bchw")
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for step in range(steps):
        optimizer.zero_grad()
        (layer(images(seed=step)) - images(seed=step + 1)).square().mean().backward()
        optimizer.step()
    return layer


# --- small maps, small batches, extreme inputs ------------------------------------------------------------------------


@every_layer
@pytest.mark.parametrize("shape", [(1, C, 1, 1), (4, C, 1, 1), (1, C, 5, 3)])
def test_value_and_gradients_are_finite_for_one_pixel_and_one_sample(name: str, shape: tuple[int, ...]) -> None:
    layer = lower(CATALOGUE[name], C, layout="bchw")
    for training in (True, False):
        layer.train(training)
        x = images(*shape).requires_grad_()
        output = layer(x)
        output.sum().backward()
        assert output.shape == x.shape
        assert torch.isfinite(output).all()
        assert x.grad is not None
        assert torch.isfinite(x.grad).all()
        assert all(torch.isfinite(p.grad).all() for p in layer.parameters() if p.grad is not None)
        assert all(torch.isfinite(b).all() for b in layer.buffers())


@every_layer
@pytest.mark.parametrize("value", [0.0, 1e-20, 1e6])
def test_value_and_gradient_are_finite_for_constant_inputs(name: str, value: float) -> None:
    x = torch.full((2, C, 4, 4), value).requires_grad_()
    output = lower(CATALOGUE[name], C, layout="bchw")(x)
    output.sum().backward()
    assert torch.isfinite(output).all()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@every_layer
def test_second_derivatives_equal_finite_differences(name: str) -> None:
    layer = lower(CATALOGUE[name], 4, layout="bchw", groups=2).double()
    x = images(2, 4, 2, 3).double().requires_grad_()
    assert torch.autograd.gradgradcheck(layer, (x,), atol=1e-4)


@pytest.mark.parametrize("name", ["evonorm-b0", "evonorm-s0", "bn-relu", "frn-tlu"])
def test_a_network_trains_at_learning_rate_one_tenth(name: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, C, 3, bias=False), lower(CATALOGUE[name], C, layout="bchw"), nn.Conv2d(C, C, 3, bias=False),
        lower(CATALOGUE[name], C, layout="bchw"), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(C, 2),
    )  # fmt: skip
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    x = images(32, 3, 8, 8)
    target = (x.amax((1, 2, 3)) > x.amax((1, 2, 3)).median()).long()
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


# --- dtypes -----------------------------------------------------------------------------------------------------------


@every_layer
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_under_autocast_the_output_has_the_dtype_of_the_input(name: str, dtype: torch.dtype) -> None:
    layer = lower(CATALOGUE[name], C, layout="bchw")
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(images().to(dtype)).dtype == dtype
        assert layer.eval()(images().to(dtype)).dtype == dtype
    assert all(b.dtype == torch.float32 for b in layer.buffers())


@every_layer
@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_agrees_with_float32(name: str, dtype: torch.dtype) -> None:
    layer, x = lower(CATALOGUE[name], C, layout="bchw"), images().to(dtype)
    output = layer(x)
    assert output.dtype == dtype
    torch.testing.assert_close(
        output.float(), lower(CATALOGUE[name], C, layout="bchw")(x.float()), rtol=0.03, atol=0.03
    )


@every_layer
def test_a_layer_cast_to_half_precision_works(name: str) -> None:
    layer = lower(CATALOGUE[name], C, layout="bchw").bfloat16()
    assert layer(images().bfloat16()).dtype == torch.bfloat16
    assert torch.isfinite(layer.eval()(images().bfloat16())).all()


MOMENTS = [f"{moment}[{axes}](x)" for moment in ("rms", "std") for axes in ("bhw", "chw", "hw", "ghw")]


@pytest.mark.parametrize("text", MOMENTS)
def test_squares_that_overflow_half_precision_are_summed_in_single(text: str) -> None:
    x = (1000 * images()).half()
    assert torch.isinf(x.square()).any()
    layer = lower(Genome.from_text(text), C, layout="bchw", groups=2)
    expected = lower(Genome.from_text(text), C, layout="bchw", groups=2)(x.float())
    torch.testing.assert_close(layer(x).float(), expected, rtol=2e-3, atol=0)


@pytest.mark.parametrize("axes", ["bhw", "chw", "hw", "ghw"])
def test_small_deviations_from_a_large_mean_are_kept(axes: str) -> None:
    x = (200 + (images(4, C, 16, 16) > 0)).bfloat16()  # 200 and 201 are neighbours in bfloat16: their mean is neither
    in_half = (x - x.mean()).square().mean().sqrt().item()
    assert in_half > 0.65
    layer = lower(Genome.from_text(f"std[{axes}](x)"), C, groups=2)
    torch.testing.assert_close(layer(x).float(), torch.full(x.shape, 0.5), rtol=0.02, atol=0)


def test_running_values_of_half_precision_inputs_are_those_of_single_precision() -> None:
    x = (200.3 + 1.5 * images(4, C, 16, 16)).bfloat16()
    layer, wide = BatchMoment("std", C, 1e-5, 0.1), BatchMoment("std", C, 1e-5, 0.1)
    for _ in range(30):
        layer(x)
        wide(x.float())
    assert torch.equal(layer.running, wide.running)


# --- running values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("moment", "start"), [("mean", 0.0), ("rms", 1.0), ("std", 1.0)])
def test_running_values_start_at_those_of_standard_normal_inputs(moment: str, start: float) -> None:
    layer = lower(Genome.from_text(f"{moment}[bhw](x)"), C).eval()
    (running,) = layer.buffers()
    assert torch.equal(running, torch.full((1, C, 1, 1), start))
    torch.testing.assert_close(layer(images()), torch.full((4, C, 6, 5), start))


@pytest.mark.parametrize("name", BATCH)
def test_evaluation_before_any_training_is_tame(name: str) -> None:
    assert lower(CATALOGUE[name], C, layout="bchw").eval()(images()).abs().max() < 20


@pytest.mark.parametrize("name", BATCH)
def test_running_values_carry_no_graph_after_many_steps(name: str) -> None:
    layer = trained(name, steps=30)
    assert list(layer.buffers())
    assert not any(buffer.requires_grad or buffer.grad_fn is not None for buffer in layer.buffers())


@pytest.mark.parametrize("name", BATCH)
def test_running_values_only_move_in_training(name: str) -> None:
    layer = lower(CATALOGUE[name], C, layout="bchw")
    before = copy.deepcopy(layer.state_dict())
    layer.eval()(images())
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())
    with torch.no_grad():
        layer.train()(images())
    assert not all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())


@pytest.mark.parametrize("name", BATCH)
def test_after_many_batches_evaluation_approaches_training(name: str) -> None:
    layer, x = lower(CATALOGUE[name], C, layout="bchw"), 3 * images() + 1
    for _ in range(100):
        expected = layer(x)
    torch.testing.assert_close(layer.eval()(x), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("momentum", [0.0, 0.25, 1.0])
def test_momentum_is_the_weight_of_the_newest_batch(momentum: float) -> None:
    moment = BatchMoment("mean", C, 1e-5, momentum)
    statistic = moment(images())
    torch.testing.assert_close(moment.running, momentum * statistic)


@pytest.mark.parametrize("name", SAMPLE)
def test_samples_do_not_influence_each_other(name: str) -> None:
    layer, x = trained(name), images()
    torch.testing.assert_close(layer(x)[:1], layer(x[:1]))


# --- memory formats, copies, files, export ----------------------------------------------------------------------------


@every_layer
def test_channels_last_stays_channels_last(name: str) -> None:
    x = images().to(memory_format=torch.channels_last)
    layer = lower(CATALOGUE[name], C, layout="bchw", groups=2)
    output = layer(x)
    assert output.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(output, lower(CATALOGUE[name], C, layout="bchw", groups=2)(images()))


@every_layer
def test_a_copy_is_equal_and_independent(name: str) -> None:
    layer = trained(name)
    twin = copy.deepcopy(layer)
    assert twin.genome == layer.genome
    assert torch.equal(twin.eval()(images()), layer.eval()(images()))
    with torch.no_grad():
        twin.weight.add_(1)
    twin.train()(images())
    assert not torch.equal(twin.weight, layer.weight)
    assert all(not torch.equal(a, b) for a, b in zip(twin.buffers(), layer.buffers(), strict=True))


@every_layer
def test_a_saved_state_loads_as_weights_only(name: str) -> None:
    layer, file = trained(name).eval(), io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    fresh = lower(CATALOGUE[name], C, layout="bchw").eval()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(fresh(images()), layer(images()))


@every_layer
def test_a_whole_layer_can_be_saved(name: str) -> None:
    layer = loaded = trained(name).eval()
    for _ in range(2):
        file = io.BytesIO()
        torch.save(loaded, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        assert torch.equal(loaded(images()), layer(images()))
        assert len(loaded.body.graph.nodes) == len(layer.body.graph.nodes), "functions of primitives stay whole"


@every_layer
def test_a_layer_exports_with_any_batch_height_and_width(name: str) -> None:
    layer = trained(name).eval()
    axes = {0: Dim("batch"), 2: Dim("height"), 3: Dim("width")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own
        program = torch.export.export(layer, (images(),), dynamic_shapes={"x": axes})
    x = images(3, C, 9, 4, seed=7)
    torch.testing.assert_close(program.module()(x), layer(x))


@pytest.mark.parametrize("name", ["evonorm-b0", "bn-relu"])
def test_a_layer_in_training_exports_with_its_running_values(name: str) -> None:
    layer = trained(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own
        module = torch.export.export(layer, (images(),), dynamic_shapes={"x": {0: Dim("batch")}}).module()
    x = images(3, C, 6, 5, seed=7)
    torch.testing.assert_close(module(x), layer(x))
    buffers = dict(module.named_buffers())
    assert all(torch.equal(buffers[name], buffer) for name, buffer in layer.named_buffers())


@every_layer
def test_without_activation_a_layer_is_affine_alone(name: str) -> None:
    layer = lower(CATALOGUE[name], C, layout="bchw", act=False)
    assert set(layer.state_dict()) == {"weight", "bias"}
    assert torch.equal(layer(images()), images())
    with torch.no_grad():
        layer.weight.copy_(torch.arange(C))
        layer.bias.fill_(0.5)
    assert torch.equal(layer(images()), images() * torch.arange(C).view(1, -1, 1, 1) + 0.5)


@every_layer
@pytest.mark.parametrize("dtype", HALF)
def test_gradients_are_finite_in_half_precision_where_a_group_hardly_varies(name: str, dtype: torch.dtype) -> None:
    layer = lower(CATALOGUE[name], C, layout="bchw", groups=C // 2)
    x = images(2, C, 1, 1)
    x[:, 1::2] = x[:, ::2]  # the groups of two channels have no variance
    x = x.to(dtype).requires_grad_()
    layer.to(dtype)(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.gpu
@every_layer
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("shape", [(4, C, 6, 5), (1, C, 1, 1)])
def test_on_a_gpu_half_precision_agrees_with_float32_on_the_cpu(
    name: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    layer, x = lower(CATALOGUE[name], C, layout="bchw").cuda(), images(*shape).to(dtype)
    with torch.autocast("cuda", dtype):
        output = layer(x.cuda())
    assert output.dtype == dtype
    torch.testing.assert_close(
        output.float().cpu(), lower(CATALOGUE[name], C, layout="bchw")(x.float()), rtol=0.03, atol=0.03
    )
    assert all(torch.isfinite(b).all() for b in layer.buffers())


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", [name for name, primitive in PRIMITIVES.items() if primitive.kind == "elementwise"])
def test_autocast_on_a_gpu_does_not_widen_what_a_primitive_returns(name: str, dtype: torch.dtype) -> None:
    primitive = PRIMITIVES[name]
    operands = [images(seed=seed).to("cuda", dtype) for seed in range(primitive.arity)]
    assert primitive.torch is not None
    with torch.autocast("cuda", dtype):
        assert primitive.torch(*operands, *([1e-5] if primitive.guarded else [])).dtype == dtype


@pytest.mark.gpu
@every_layer
def test_channels_last_is_kept_on_a_gpu(name: str) -> None:
    layer, x = lower(CATALOGUE[name], C, layout="bchw").cuda(), images().cuda().to(memory_format=torch.channels_last)
    assert layer(x).is_contiguous(memory_format=torch.channels_last)
