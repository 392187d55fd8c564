r"""What dropping inputs of each layer costs the model's output, for all layers at once, from a backward pass a batch.

Let p be the distribution that a language model gives for the next token, and dy the change that dropping makes in a
layer's output y at one position. To second order

    KL(p || p') = 1/2 E (dL/dy . dy)^2        with L = -log p(t), t drawn from p

which is the Fisher information of y in the direction dy. For outputs that are no distribution the squared error takes
its place, $\|d\,out\|^2 = E(d(v \cdot out)/dy \cdot dy)^2$ with v normal. Both are in the same unit for all layers,
so shares can be split over the whole model and not only within its blocks. Errors at different positions, and of
different layers, are taken to be uncorrelated.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.studies.sparsity.allocation import LEVELS, Curve, Make
from evonas.studies.sparsity.sites import LinearSite
from evonas.surgery.calls import call, is_distribution, output_of
from evonas.training.modes import evaluating


def fisher_curves(
    model: nn.Module,
    sites: Sequence[LinearSite],
    make: Make,
    batches: Sequence[Any],
    placed: Mapping[LinearSite, nn.Module] | None = None,
) -> dict[str, dict[str, Curve]]:
    """By layer, under the empty name of the whole model: the expected error of the model's output, see above.

    Args:
        model: the dense model, or a sparse one; it is not changed.
        sites: its layers, as they are when dense.
        make: from a layer and a sparsity to what stands in its place.
        batches: what the model is run on, each with one draw of t or v at every position.
        placed: of a sparse model, what stands in the places of layers. Inputs and gradients are then those of that
            model, and dy is what dropping changes in the layer's dense output.

    Raises:
        InputError: a layer that the output does not depend on, or an error that is not finite.
    """
    layers = {site: [make(site, level) for level in LEVELS[1:]] for site in sites}
    squares = {site.name: [0.0] * len(LEVELS) for site in sites}
    positions = 0
    for number, batch in enumerate(batches):
        calls, count = _run(model, sites, batch, derive_seed(number, "fisher"), placed or {})
        positions += count
        with torch.no_grad():
            for done in calls:
                features = -1 if done.site.stride is None else -3
                dense = done.site.module(done.input) if placed and done.site in placed else done.output
                for place, layer in enumerate(layers[done.site], 1):
                    change = layer(done.input) - dense
                    slopes = (change * done.gradient).sum(features)
                    squares[done.site.name][place] += slopes.float().square().sum().item()
    if not all(math.isfinite(value) for values in squares.values() for value in values):
        raise InputError(type(model).__name__, "its gradients on the calibration batches are not finite")
    return {"": {name: Curve(LEVELS, tuple(s / (2 * positions) for s in found)) for name, found in squares.items()}}


@dataclass(frozen=True, slots=True)
class _Done:
    """One call of a layer, with the gradient at its output."""

    site: LinearSite
    input: Tensor
    output: Tensor
    gradient: Tensor


def _run(
    model: nn.Module, sites: Sequence[LinearSite], batch: Any, seed: int, placed: Mapping[LinearSite, nn.Module]
) -> tuple[list[_Done], int]:
    """The calls of a batch in their order, and the number of positions of its output."""
    seen: list[tuple[LinearSite, Tensor, Tensor, Tensor]] = []

    def note(site: LinearSite, _module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        probe = torch.zeros_like(output, requires_grad=True)  # gradients, whether or not parameters have them
        seen.append((site, inputs[0].detach(), output.detach(), probe))
        return output + probe

    with ExitStack() as hooks, evaluating(model), torch.inference_mode(False), torch.enable_grad():
        for site in sites:
            hooks.enter_context(placed.get(site, site.module).register_forward_hook(partial(note, site)))
        result = call(model, batch)
        drawn = _drawn(output_of(result), is_distribution(result), seed)
        if not seen:
            return [], drawn.numel()
        gradients = torch.autograd.grad(drawn.sum(), [probe for *_, probe in seen], allow_unused=True)
    for (site, *_), gradient in zip(seen, gradients, strict=True):
        if gradient is None:
            raise InputError(site.name, "does not reach the model's output", remedy="exclude it")
    found = zip(seen, gradients, strict=True)
    return [_Done(site, x, y, gradient) for (site, x, y, _), gradient in found], drawn.numel()


def _drawn(output: Tensor, distribution: bool, seed: int) -> Tensor:
    """-log p(t) of a token drawn at each position; else v . out with normal v. Shapes: [..., classes] -> [...]."""
    generator = torch.Generator().manual_seed(seed)
    if not distribution:
        v = torch.randn(output.shape, generator=generator)
        return (output * v.to(output)).sum(-1)
    logits = output.float()
    probabilities = logits.detach().softmax(-1).cpu()
    tokens = torch.multinomial(probabilities.flatten(0, -2), 1, generator=generator).reshape(output.shape[:-1])
    return functional.cross_entropy(logits.movedim(-1, 1), tokens.to(logits.device), reduction="none")
