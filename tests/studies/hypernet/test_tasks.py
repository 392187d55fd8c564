"""The tasks on digits. Oracles: losses written for one gamma with torch's functions, plain networks, counts by hand."""

import pickle
from itertools import islice

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from evonas.config import DataConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.layer.lower import NormActLayer
from evonas.studies.hypernet.primaries import ImageClassifier
from evonas.studies.hypernet.registration import roughness, warp
from evonas.studies.hypernet.tasks import (
    HyperTask,
    flops,
    registration,
    regularized_classification,
    regularized_loss,
    rescaled_classification,
)
from evonas.studies.hypernet.variants import with_noise
from evonas.tasks.data import ImageData, load_images
from evonas.training.fit import StopReason, fit

MAKERS = {
    "regularized_classification": regularized_classification,
    "rescaled_classification": rescaled_classification,
    "registration": registration,
}
EVOLVED = CATALOGUE["evonorm-s0"]


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_images(DataConfig(train=400, validation=100))


@pytest.fixture(params=MAKERS)
def task(request: pytest.FixtureRequest, digits: ImageData) -> HyperTask:
    return MAKERS[request.param](digits)


def test_loss_and_metric_have_their_shapes(task: HyperTask) -> None:
    model = task.build(0)
    loss = task.loss(model, next(task.batches(0)))
    assert loss.shape == ()
    assert loss.requires_grad
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert task.grid.shape == (5, task.inputs.size)
    assert task.metric(model, task.grid).shape == (5,)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_seeds_decide_and_global_generators_are_left_alone(task: HyperTask) -> None:
    state = torch.get_rng_state()
    batches = [next(task.batches(seed)) for seed in (0, 0, 1)]
    models = [task.build(seed).state_dict() for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, batches[0], batches[1]))
    assert not any(map(torch.equal, batches[0], batches[2]))
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert not torch.equal(models[0]["heads.head.weight"], models[2]["heads.head.weight"])
    assert not torch.equal(models[0]["primary.head.weight"], models[2]["primary.head.weight"])


def test_gammas_of_batches_fill_their_ranges(task: HyperTask) -> None:
    gammas = torch.cat([batch[0] for batch in islice(task.batches(0), 200)])
    unit = task.inputs.unit(gammas, gammas)
    torch.testing.assert_close(unit.mean(0), torch.full((task.inputs.size,), 0.5), atol=0.1, rtol=0)


def test_training_lowers_the_loss(task: HyperTask) -> None:
    model = task.build(0)
    held = list(islice(task.batches(1), 4))
    before = sum(task.loss(model, batch).item() for batch in held)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    trace = fit(lambda batch: task.loss(model, batch), task.batches(0), optimizer, steps=40)
    assert trace.stop is StopReason.COMPLETED
    assert sum(task.loss(model, batch).item() for batch in held) < 0.9 * before


@pytest.mark.parametrize("parametrization", ["default", "encoding-only", "additive-only"])
def test_options_reach_the_hypernetwork(digits: ImageData, parametrization: str) -> None:
    task = registration(digits)
    model = task.build(0, parametrization=parametrization, predict="head.*", hidden=(4,), seed=3)
    assert model.parametrization == parametrization
    assert list(model.heads.shapes) == ["head.weight", "head.bias"]
    assert torch.isfinite(task.loss(model, next(task.batches(0))))


@pytest.mark.parametrize("make", MAKERS.values())
def test_evolved_layers_are_inside_and_train(make, digits: ImageData) -> None:
    task = make(digits, layer=EVOLVED)
    model = task.build(0)
    layers = [module for module in model.modules() if isinstance(module, NormActLayer)]
    assert [layer.genome.key for layer in layers] == 2 * [EVOLVED.key]
    assert any(name.endswith(".v1") for name in model.heads.shapes)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = fit(lambda batch: task.loss(model, batch), task.batches(0), optimizer, steps=30).losses
    assert sum(losses[-10:]) < sum(losses[:10])


# losses, one gamma at a time


def test_regularization_is_that_of_each_gamma(digits: ImageData) -> None:
    task = regularized_classification(digits)
    model = task.build(0, correction=0.5).eval()  # without dropout
    gammas, images, labels = next(task.batches(0))
    expected = []
    for gamma in gammas:
        decay, smoothing, _ = gamma.tolist()
        plain = model.materialize(gamma)
        loss = functional.cross_entropy(plain(images), labels, label_smoothing=smoothing)
        kernels = [p for p in plain.parameters() if p.ndim > 1]
        expected.append(loss + 10**decay / 2 * sum(k.square().sum() for k in kernels))
    torch.testing.assert_close(task.loss(model, (gammas, images, labels)), torch.stack(expected).mean())


def test_there_may_be_no_kernel_to_regularize(digits: ImageData) -> None:
    task = regularized_classification(digits)
    assert torch.isfinite(regularized_loss(task.build(0, predict="**.bias"), next(task.batches(0))))


def test_registration_weighs_error_against_roughness(digits: ImageData) -> None:
    task = registration(digits)
    model = task.build(0, correction=0.5)
    gammas, pairs = next(task.batches(0))
    gammas[0], gammas[1] = 0, 1
    expected = []
    for gamma in gammas:
        field = model(gamma, pairs)
        error = functional.mse_loss(warp(pairs[:, :1], field), pairs[:, 1:])
        expected.append((1 - gamma[0]) * error + gamma[0] * roughness(field).mean())
    torch.testing.assert_close(task.loss(model, (gammas, pairs)), torch.stack(expected).mean())


def test_the_registration_metric_is_that_of_pairs_as_they_are_where_the_field_is_zero(digits: ImageData) -> None:
    task = registration(digits)
    model = task.build(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    scores = task.metric(model, task.grid)
    assert torch.equal(scores, scores[:1].expand(5))
    images = digits.scoring.images[:, 0]
    assert -2 * 1.1 * images.var() < scores[0] < 0


def test_rescaling_sets_the_size_of_maps(digits: ImageData) -> None:
    task = rescaled_classification(digits, factors=(0.0, 1.0))
    model = task.build(0, correction=0.5)
    _, images, labels = next(task.batches(0))
    seen: list[Tensor] = []
    model.primary.block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for gamma, side in ((0.0, 1), (0.3, 2), (0.5, 4), (1.0, 8)):
        loss = task.loss(model, (torch.tensor([[gamma]]), images, labels))
        plain = model.materialize(gamma)
        torch.testing.assert_close(loss, functional.cross_entropy(plain(images, factor=gamma), labels))
        assert seen[0].shape[-2:] == (side, side)
        seen.clear()


def test_flops_are_those_of_the_convolutions_and_the_last_layer(digits: ImageData) -> None:
    model = rescaled_classification(digits, factors=(0.0, 1.0)).build(0)
    images = digits.scoring.images[:3]
    for gamma, side in ((0.25, 2), (1.0, 8)):
        expected = 3 * (8 * 8 * 9 * 3 * 8 + side * side * 9 * 8 * 16 + 4 * 16 * 10)
        assert flops(model, torch.tensor([gamma]), images) == 2 * expected


def test_dropout_has_the_rate_it_is_given_and_keeps_the_mean() -> None:
    network = ImageClassifier(EVOLVED, width=4, num_classes=2)
    network.head = torch.nn.Identity()
    images = torch.randn(200, 3, 4, 4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = network(images, torch.tensor(0.3))
    kept = network.eval()(images, torch.tensor(0.3))
    zero = dropped == 0
    assert 0.25 < zero.float().mean() < 0.35
    torch.testing.assert_close(dropped[~zero], kept[~zero] / 0.7)


def test_noise_changes_the_inputs_and_nothing_of_the_problem(task: HyperTask) -> None:
    noisy = with_noise(task, 3)
    size = task.inputs.size
    assert with_noise(task, 0) is task
    assert noisy.inputs.size == size + 3
    batches = [list(islice(t.batches(0), 50)) for t in (task, noisy)]
    for (own, *rest), (gammas, *others) in zip(*batches, strict=True):
        assert torch.equal(gammas[:, :size], own)
        assert all(map(torch.equal, rest, others))
    noise = torch.cat([gammas[:, size:] for gammas, *_ in batches[1]])
    assert ((noise >= 0) & (noise <= 1)).all()
    torch.testing.assert_close(noise.mean(0), torch.full((3,), 0.5), atol=0.2, rtol=0)
    plain, wide = (t.build(0, correction=0.0).eval() for t in (task, noisy))  # the same network for every gamma
    losses = [t.loss(m, found[0]) for t, m, found in zip((task, noisy), (plain, wide), batches, strict=True)]
    assert losses[0] == losses[1]
    assert torch.equal(task.metric(plain, task.grid), noisy.metric(wide, noisy.grid))


def test_only_the_cost_of_rescaling_depends_on_gamma(task: HyperTask) -> None:
    if task.name != "rescaled_classification":
        assert task.cost is None
        return
    assert task.cost is not None
    costs = task.cost(task.build(0), task.grid)
    assert (costs.diff() >= 0).all()
    assert costs[-1] > costs[0]


def test_tasks_can_be_sent_to_other_processes(task: HyperTask) -> None:
    sent = pickle.loads(pickle.dumps(task))
    batch = next(task.batches(0))
    assert all(map(torch.equal, next(sent.batches(0)), batch))
    losses = []
    for one in (task, sent):
        with torch.random.fork_rng():
            torch.manual_seed(0)  # of dropout
            losses.append(one.loss(one.build(0), batch).item())
    assert losses[0] == losses[1]
