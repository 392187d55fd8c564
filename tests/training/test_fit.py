"""Oracles: stochastic gradient descent written out by hand, which ``fit`` must reproduce bit for bit; and losses that
a test prescribes step by step.
"""

import math
from collections.abc import Iterator
from itertools import count, repeat

import pytest
import torch
from torch import Tensor, nn

from evonas.training.fit import StopReason, Trace, fit

Pair = tuple[Tensor, Tensor]


def start() -> Tensor:
    return torch.linspace(-1, 1, 5, dtype=torch.float64).requires_grad_()


def pairs() -> Iterator[Pair]:
    generator = torch.Generator().manual_seed(3)
    while True:
        yield tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((8, 5), (8,)))


def mean_square(weights: Tensor, batch: Pair) -> Tensor:
    inputs, targets = batch
    return (inputs @ weights - targets).square().mean()


def test_training_equals_gradient_descent_by_hand() -> None:
    rate, momentum, steps = 1 / 16, 1 / 2, 12  # powers of 2: products are exact, in whatever order they are taken
    weights, velocity, losses, batches = start().detach(), torch.zeros(5, dtype=torch.float64), [], pairs()
    for step in range(steps):
        variable = weights.clone().requires_grad_()
        loss = mean_square(variable, next(batches))
        (gradient,) = torch.autograd.grad(loss, variable)
        velocity = momentum * velocity + gradient
        weights = weights - rate * 0.5 ** (step // 5) * velocity  # the rate is halved every 5 steps
        losses.append(loss.item())

    trained = start()
    optimizer = torch.optim.SGD([trained], lr=rate, momentum=momentum)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.5)
    trace = fit(lambda batch: mean_square(trained, batch), pairs(), optimizer, steps=steps, schedule=schedule)

    assert torch.equal(trained.detach(), weights)
    assert trace.losses == tuple(torch.tensor(losses).tolist())  # a trace is kept in single precision
    assert trace.stop is StopReason.COMPLETED


@pytest.mark.parametrize("parts", [(20,), (7, 13), (1, 18, 1), (0, 20)])
def test_training_in_parts_equals_one_long_training(parts: tuple[int, ...]) -> None:
    def train(parts: tuple[int, ...]) -> tuple[Tensor, list[float], float]:
        weights, batches, losses = start(), pairs(), list[float]()
        optimizer = torch.optim.SGD([weights], lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
        for steps in parts:
            trace = fit(lambda batch: mean_square(weights, batch), batches, optimizer, steps=steps, schedule=schedule)
            losses.extend(trace.losses)
        return weights.detach(), losses, optimizer.param_groups[0]["lr"]

    weights, losses, rate = train((20,))
    in_parts = train(parts)
    assert torch.equal(in_parts[0], weights)
    assert in_parts[1:] == (losses, rate)
    assert len(losses) == 20
    assert rate == pytest.approx(0, abs=1e-12)


def test_gradients_left_from_before_do_not_count() -> None:
    weights = start()
    weights.grad = torch.full_like(weights, 1e6)
    fit(lambda batch: 0 * mean_square(weights, batch), pairs(), torch.optim.SGD([weights], lr=1.0), steps=2)
    assert torch.equal(weights.detach(), start().detach())


class Prescribed:
    """A parameter whose loss is the batch itself and whose gradient is 1, so that losses can be dictated."""

    def __init__(self, *losses: float) -> None:
        self.weight = nn.Parameter(torch.zeros(()))
        self.optimizer = torch.optim.SGD([self.weight], lr=1.0)
        self.drawn = 0
        self._losses = losses

    def loss(self, batch: float) -> Tensor:
        return self.weight - self.weight.detach() + batch

    def batches(self) -> Iterator[float]:
        for loss in self._losses:
            self.drawn += 1
            yield loss


@pytest.mark.parametrize("wrong", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(("check_every", "taken"), [(1, 3), (2, 4), (3, 3), (5, 5)])
def test_divergence_stops_at_the_next_check(wrong: float, check_every: int, taken: int) -> None:
    run = Prescribed(1.0, 2.0, wrong, *repeat(wrong, 9))
    trace = fit(run.loss, run.batches(), run.optimizer, steps=10, check_every=check_every)
    assert trace.stop is StopReason.DIVERGED
    assert trace.losses[:2] == (1.0, 2.0)
    assert len(trace.losses) == run.drawn == taken
    assert not any(map(math.isfinite, trace.losses[2:]))


def test_a_loss_that_was_infinite_between_two_checks_stops_the_training_too() -> None:
    run = Prescribed(1.0, math.inf, 1.0, 1.0, 1.0, 1.0)
    trace = fit(run.loss, run.batches(), run.optimizer, steps=6, check_every=3)
    assert trace == Trace((1.0, math.inf, 1.0), StopReason.DIVERGED)


def test_divergence_after_the_last_check_is_told() -> None:
    run = Prescribed(1.0, 1.0, math.inf, 1.0)
    trace = fit(run.loss, run.batches(), run.optimizer, steps=4, check_every=2 + 3)
    assert trace == Trace((1.0, 1.0, math.inf, 1.0), StopReason.DIVERGED)


def test_large_finite_losses_are_no_divergence() -> None:
    run = Prescribed(*repeat(3e38, 4))
    assert fit(run.loss, run.batches(), run.optimizer, steps=4, check_every=4).stop is StopReason.COMPLETED


def test_after_step_gets_number_and_detached_loss_once_the_step_is_taken() -> None:
    run, seen = Prescribed(4.0, 5.0, 6.0, 7.0), []

    def note(step: int, loss: Tensor) -> None:
        assert not loss.requires_grad
        seen.append((step, loss.item(), run.weight.item()))

    batches = run.batches()
    fit(run.loss, batches, run.optimizer, steps=3, after_step=note)
    fit(run.loss, batches, run.optimizer, steps=1, after_step=note)
    assert seen == [(0, 4.0, -1.0), (1, 5.0, -2.0), (2, 6.0, -3.0), (0, 7.0, -4.0)]


def test_what_after_step_does_to_the_parameters_is_kept() -> None:
    run = Prescribed(*repeat(0.0, 3))

    def clamp(_step: int, _loss: Tensor) -> None:
        with torch.no_grad():
            run.weight.clamp_(min=-1.5)

    fit(run.loss, run.batches(), run.optimizer, steps=3, after_step=clamp)
    assert run.weight.item() == -1.5


def test_no_steps_leave_everything_as_it_was() -> None:
    run = Prescribed(1.0)
    trace = fit(run.loss, run.batches(), run.optimizer, steps=0, after_step=lambda *_: pytest.fail("no step was taken"))
    assert trace == Trace((), StopReason.COMPLETED)
    assert run.drawn == 0
    assert run.weight.item() == 0.0


def test_batches_are_drawn_one_a_step_and_no_further() -> None:
    numbers = count()
    weight = nn.Parameter(torch.zeros(()))
    fit(lambda batch: weight * batch, numbers, torch.optim.SGD([weight], lr=0.1), steps=5)
    assert next(numbers) == 5


def test_accumulated_batches_are_one_step_on_all_their_samples() -> None:
    def joined() -> Iterator[Pair]:
        parts = pairs()
        while True:
            inputs, targets = zip(*(next(parts) for _ in range(4)), strict=True)
            yield torch.cat(inputs), torch.cat(targets)

    found = []
    for batches, accumulate in ((pairs(), 4), (joined(), 1)):
        weights = start()
        optimizer = torch.optim.SGD([weights], lr=0.1)
        trace = fit(lambda b, w=weights: mean_square(w, b), batches, optimizer, steps=5, accumulate=accumulate)
        found.append((weights.detach(), torch.tensor(trace.losses)))
    for several, one in zip(*found, strict=True):
        assert torch.allclose(several, one, rtol=1e-6)
