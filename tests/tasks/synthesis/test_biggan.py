"""Oracles: the parameter counts of the published code, torch's own layers, and a second build."""

import copy

import pytest
import torch
from torch import Tensor, nn

from evonas.config import LayerConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.layer.conditional import ConditionalLayer
from evonas.layer.lower import NormActLayer
from evonas.tasks.synthesis.biggan import BigGan, build_biggan, put_layer
from evonas.tasks.synthesis.conditional import ConditionalNormAct
from evonas.tasks.synthesis.discriminator import DiscriminatorBlock
from evonas.tasks.synthesis.spectral import power_iteration
from evonas.tasks.synthesis.stages import discriminator_stages
from evonas.tasks.task import initialized

SMALL = {"classes": 3, "channels": 2, "latent": 8, "shared": 4, "attention": (16,)}


def small(seed: int = 0) -> BigGan:
    return initialized(lambda: build_biggan(32, **SMALL), seed)


def inputs(count: int = 5, latent: int = 8, classes: int = 3) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(1)
    return torch.randn((count, latent), generator=drawn), torch.randint(classes, (count,), generator=drawn)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def unnormalized(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights without spectral norms, which take long to set up in large networks and have no parameters."""
    monkeypatch.setattr("evonas.tasks.synthesis.spectral.spectral_norm", lambda module, **_: module)


def test_spectral_norms_have_no_parameters(request: pytest.FixtureRequest) -> None:
    with_norms = parameters(small())
    request.getfixturevalue("unnormalized")
    plain = small()
    assert not any(map(power_iteration, plain.modules()))
    assert parameters(plain) == with_norms


@pytest.mark.usefixtures("unnormalized")
@pytest.mark.parametrize(
    ("channels", "shared", "generator", "discriminator"),
    [
        (96, 128, 9.42, 10.19),
        (64, 128, 4.37, 4.54),
        (32, 32, 1.08, 1.14),
        (24, 24, 0.62, 0.64),
        (16, 16, 0.29, 0.29),
        (8, 16, 0.09, 0.07),
    ],
)
def test_parameter_counts_at_32(channels: int, shared: int, generator: float, discriminator: float) -> None:
    with torch.device("meta"):
        model = build_biggan(32, classes=10, channels=channels, latent=80, shared=shared, attention=(16,))
    assert round(parameters(model.generator) / 1e6, 2) == generator
    # ajbrock's table calls the maps after all four blocks 16 x 16 and so attends four times; two of three are 8 x 8
    four = parameters(model.discriminator) + 3 * parameters(model.discriminator.attentions)
    assert round(four / 1e6, 2) == discriminator


@pytest.mark.usefixtures("unnormalized")
def test_parameter_counts_of_the_published_cifar_script_without_a_shared_embedding() -> None:
    with torch.device("meta"):
        model = build_biggan(32, classes=10, channels=64, latent=128, shared=0, attention=())
    assert round(parameters(model.generator) / 1e6, 2) == 4.30
    assert round(parameters(model.discriminator) / 1e6, 2) == 4.21


@pytest.mark.usefixtures("unnormalized")
@pytest.mark.parametrize(("channels", "generator", "discriminator"), [(96, 70.43, 87.98), (64, 31.98, 39.45)])
def test_parameter_counts_at_128(channels: int, generator: float, discriminator: float) -> None:
    with torch.device("meta"):
        model = build_biggan(128, classes=1000, channels=channels, latent=120, shared=128, attention=(64,))
    assert round(parameters(model.generator) / 1e6, 2) == generator
    assert round(parameters(model.discriminator) / 1e6, 2) == discriminator


@pytest.mark.parametrize(("resolution", "latent", "attention"), [(32, 8, (16,)), (64, 10, (32,)), (128, 12, (64,))])
def test_images_have_the_size_and_range_that_were_asked_for(
    resolution: int, latent: int, attention: tuple[int, ...]
) -> None:
    model = build_biggan(resolution, classes=3, channels=1, latent=latent, shared=4, attention=attention)
    latents, labels = inputs(2, latent)
    images = model.generator(latents, labels)
    assert images.shape == (2, 3, resolution, resolution)
    assert images.abs().max() <= 1
    assert model.discriminator(images, labels).shape == (2,)
    assert torch.isfinite(model(latents, labels)).all()


def test_the_first_map_of_a_size_is_attended_to_once() -> None:
    for resolution, sizes in ((32, [16, 8, 8, 8]), (64, [32, 16, 8, 4, 4]), (128, [64, 32, 16, 8, 4, 4])):
        stages = discriminator_stages(resolution, 4, sizes)
        assert [stage.size for stage in stages] == sizes
        attended = [stage.size for stage in stages if stage.attends]
        assert attended == sorted(set(sizes), reverse=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent": 10}, "latent: 10 latent variables cannot be cut into 4 equal parts; accepted: a multiple of 4"),
        ({"attention": (16, 64)}, "attention: 64; accepted: 8, 16, 32"),
        ({"channels": 0}, "channels: 0; accepted: 1 or more"),
        ({"classes": 0}, "classes: 0; accepted: 1 or more"),
        ({"shared": -1}, "shared: -1; accepted: 0 or more"),
    ],
)
def test_sizes_that_cannot_be_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        build_biggan(32, **SMALL | changes)
    assert str(caught.value) == message


def test_an_image_size_without_a_network_is_refused() -> None:
    with pytest.raises(InputError, match=r"^resolution: 48; accepted: 32, 64, 128$"):
        build_biggan(48, **SMALL)


# --- how it starts and what it computes -------------------------------------------------------------------------------


def test_two_seeds_differ_and_one_seed_repeats() -> None:
    one, again, other = (small(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], value) for name, value in again.items())
    weights = [name for name, value in one.items() if value.ndim > 1]
    assert len(weights) > 40
    assert not any(torch.equal(one[name], other[name]) for name in weights if "running" not in name)


def test_gains_start_around_one_and_depend_on_the_class_and_on_the_latent_vector() -> None:
    model = initialized(
        lambda: build_biggan(32, classes=10, channels=4, latent=16, shared=16, attention=()), 0
    ).generator
    latents, labels = inputs(100, 16, 10)
    gains: list[Tensor] = []
    for module in model.modules():
        if isinstance(module, ConditionalNormAct):
            module.layer.register_forward_pre_hook(lambda _, given: gains.append(given[1].detach()))
    model(latents, labels)
    assert len(gains) == 6
    for gain in gains:
        assert gain.shape == (100, 16)
        assert gain.mean().item() == pytest.approx(1, abs=0.05)
        assert 0.1 < gain.std(0).mean() < 1
    first = gains[0]
    gains.clear()
    model(latents.roll(1, 0), labels)
    assert not torch.allclose(gains[0], first)
    gains.clear()
    model(latents, (labels + 1) % 10)
    assert not torch.allclose(gains[0], first)


def test_each_block_has_a_part_of_the_latent_vector_of_its_own() -> None:
    model = small().generator
    latents, labels = inputs()
    conditions: list[Tensor] = []
    for block in model.blocks:
        block.norm1.register_forward_pre_hook(lambda _, given: conditions.append(given[1]))
    model(latents, labels)
    for number, condition in enumerate(conditions, 1):
        assert torch.equal(condition[:, :4], model.embedding(labels))
        assert torch.equal(condition[:, 4:], latents[:, 2 * number : 2 * number + 2])


def test_every_parameter_of_the_generator_gets_a_gradient() -> None:
    for shared in (4, 0):
        # batch normalization would take away what the bias of a convolution in front of it adds
        model = put_layer(build_biggan(32, **SMALL | {"shared": shared}), CATALOGUE["evonorm-s0"], LayerConfig())
        with torch.no_grad():
            model.generator.attentions[1].gain.fill_(0.5)  # at 0 nothing inside the attention matters
        model(*inputs()).sum().backward()
        for name, parameter in model.generator.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 1e-7, name


def test_every_parameter_of_the_discriminator_gets_a_gradient() -> None:
    model = small().discriminator
    with torch.no_grad():
        model.attentions[0].gain.fill_(0.5)
    images = torch.randn((6, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    (model(images, torch.tensor([0, 1, 2, 0, 1, 2])) * torch.randn(6)).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_all_weights_but_the_class_embedding_of_the_generator_are_spectrally_normalized() -> None:
    model = small()
    kinds = (nn.Conv2d, nn.Linear, nn.Embedding)
    plain = [name for name, part in model.named_modules() if isinstance(part, kinds) and not power_iteration(part)]
    assert plain == ["generator.embedding"]


def test_spectral_norms_stay_at_one_while_both_networks_train() -> None:
    model = small()
    latents, labels = inputs()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.0, 0.999))
    for _ in range(10):
        optimizer.zero_grad()
        (-model(latents, labels).mean()).backward()
        optimizer.step()
    for _ in range(40):
        model(latents[:2], labels[:2])
    norms = [
        torch.linalg.svdvals(m.weight.detach().flatten(1))[0] for m in model.eval().modules() if power_iteration(m)
    ]
    assert len(norms) == 43
    assert max(norms) <= 1.05


def test_a_block_of_the_discriminator_equals_its_formula_and_leaves_its_input_alone() -> None:
    first, second, third = discriminator_stages(32, 2, ())[:3]
    for stage, is_first, shape in (
        (first, True, (2, 3, 8, 8)),
        (second, False, (2, 8, 8, 8)),
        (third, False, (2, 8, 8, 8)),
    ):
        block = DiscriminatorBlock(stage, first=is_first).eval()
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        before, relu, halve = x.clone(), nn.ReLU(), nn.AvgPool2d(2) if stage.resampled else nn.Identity()
        output = block(x)
        assert torch.equal(x, before)  # an activation in place would have changed it, and with it the shortcut
        expected = halve(block.conv2(relu(block.conv1(x if is_first else relu(x))))) + halve(block.shortcut(x))
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)


def test_a_block_of_the_generator_equals_its_formula() -> None:
    generator = small().generator.eval()
    block, up = generator.blocks[0], nn.Upsample(scale_factor=2)
    x, condition = torch.randn(2, 8, 4, 4), torch.randn(2, 6)

    def normed(site: ConditionalNormAct, x: Tensor) -> Tensor:
        norm = site.layer.norm
        gain, bias = 1 + condition @ site.gain.weight.T, condition @ site.bias.weight.T
        spread = (norm.running_var + norm.eps).sqrt()
        z = (x - norm.running_mean[:, None, None]) / spread[:, None, None]
        return (z * gain[:, :, None, None] + bias[:, :, None, None]).clamp_min(0)

    branch = block.conv1(up(normed(block.norm1, x)))
    expected = block.conv2(normed(block.norm2, branch)) + block.shortcut(up(x))
    torch.testing.assert_close(block(x, condition), expected, rtol=1e-4, atol=1e-5)


def test_logits_are_a_linear_map_and_a_projection_of_summed_features() -> None:
    model = small().discriminator.eval()
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 2, 1, 2])
    maps: list[Tensor] = []
    model.attentions[-1].register_forward_hook(lambda *given: maps.append(given[2]))
    logits = model(images, labels)
    features = maps[0].clamp_min(0).sum((2, 3))
    expected = features @ model.logit.weight[0] + model.logit.bias + (model.embedding.weight[labels] * features).sum(1)
    torch.testing.assert_close(logits, expected)


# --- layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_bn_relu_gives_the_network_that_was_there_with_its_number_of_parameters(training: bool) -> None:
    born = small().train(training)
    put = put_layer(born, CATALOGUE["bn-relu"], LayerConfig())
    torch.testing.assert_close(put.generator(*inputs()), born.generator(*inputs()), rtol=1e-3, atol=1e-4)
    assert parameters(put) == parameters(born) + 2 * 8  # the last layer has the affine of all plain layers too


@pytest.mark.parametrize("name", ["evonorm-s0", "evonorm-b0", "gn-relu"])
def test_a_layer_stands_at_all_seven_sites_of_a_copy_whose_other_weights_are_the_same(name: str) -> None:
    born = small()
    before = copy.deepcopy(born.state_dict())
    put = put_layer(born, CATALOGUE[name], LayerConfig(groups=4, eps=1e-3))
    conditional = [m for m in put.modules() if isinstance(m, ConditionalLayer)]
    (last,) = (m for m in put.modules() if isinstance(m, NormActLayer))
    assert [layer.num_features for layer in (*conditional, last)] == [8] * 7
    assert {(layer.genome.key, layer.groups) for layer in (*conditional, last)} == {(CATALOGUE[name].key, 4)}
    assert not any(isinstance(m, nn.BatchNorm2d) for m in put.modules())
    after = put.state_dict()
    shared = [n for n in before if ".layer." not in n and not n.startswith("generator.output.")]
    assert len(shared) > 100
    assert all(torch.equal(before[n], after[n]) for n in shared)
    assert all(torch.equal(before[n], value) for n, value in born.state_dict().items())
    latents, labels = inputs()
    images = put.generator(latents, labels)
    assert images.shape == (5, 3, 32, 32)
    images.square().sum().backward()
    assert all(p.grad is not None for m in (*conditional, last) for p in m.parameters())
    assert not torch.allclose(images, born.generator(latents, labels))


@pytest.mark.parametrize("name", [None, "bn-relu", "evonorm-s0", "evonorm-b0"])
def test_half_precision_and_other_memory_formats_give_nearly_the_same_images(name: str | None) -> None:
    model = small() if name is None else put_layer(small(), CATALOGUE[name], LayerConfig())
    latents, labels = inputs()
    with torch.no_grad():
        expected = model.generator(latents, labels)
        with torch.autocast("cpu", torch.bfloat16):
            half = model(latents, labels)
            images = model.generator(latents, labels)
        last = copy.deepcopy(model).to(memory_format=torch.channels_last)
        torch.testing.assert_close(last.generator(latents, labels), expected, rtol=1e-3, atol=1e-3)
    assert torch.isfinite(half).all()
    torch.testing.assert_close(images.float(), expected, rtol=0, atol=0.1)


def test_another_layer_can_take_the_place_of_the_first() -> None:
    once = put_layer(small(), CATALOGUE["evonorm-s0"], LayerConfig())
    twice = put_layer(
        put_layer(small(), CATALOGUE["evonorm-b0"], LayerConfig()), CATALOGUE["evonorm-s0"], LayerConfig()
    )
    assert torch.equal(twice.generator(*inputs()), once.generator(*inputs()))


def test_layers_of_tokens_and_other_networks_are_refused() -> None:
    with pytest.raises(InputError, match=r"^layout: the layer has index sets of btd, not of bchw"):
        put_layer(small(), CATALOGUE["layernorm"], LayerConfig())
    with pytest.raises(InputError, match=r"^pattern 'generator.blocks"):
        put_layer(nn.Sequential(nn.BatchNorm2d(3)), CATALOGUE["bn-relu"], LayerConfig())
