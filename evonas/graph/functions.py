"""Torch functions of the primitives that torch itself does not have, numerically guarded by ``eps``.

Everything here uses torch alone and none of its neighbours' state, so that the exporter can copy its source into a
stand-alone module. Statistics of half-precision inputs are in single precision, as is all that is computed from them
and from parameters alone, until it meets a map: the slope of 1 / std can be beyond half precision. A tensor may come in
reduced shape (size 1 along axes it does not vary over): a moment of a value that repeats along an axis equals the
moment of the value itself, so nothing is ever expanded.

Under autocast a GPU gives logarithms, powers and reciprocals of half precision in single precision, and all that is
computed from them would be: results have the dtype of their argument, as on the CPU.

The classes have their gradients in closed form, where those that torch would record read memory more often. They keep
few tensors, their backward passes are differentiable themselves, and ``torch.func.vmap`` runs through them; moments say
how, since the rules that torch generates take longer than the moments themselves. Transforms need ``setup_context``,
for which torch reads the signature at every call; in small networks that takes up to a tenth of a training. So each has
a class beside it without it, for where no transform is at work.
"""

from typing import Any

import torch
from torch import Tensor


def joined(function: Any) -> Any:
    """``forward`` and ``setup_context`` of a function of autograd in one."""

    def forward(ctx: Any, *inputs: Any) -> Any:
        output = function.forward(*inputs)
        function.setup_context(ctx, inputs, output)
        return output

    return staticmethod(forward)


def applied(function: Any, direct: Any, *inputs: Any) -> Any:
    """What a function of autograd gives, by the fastest way that serves."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return function.apply(*inputs)
    return direct.apply(*inputs) if torch.is_grad_enabled() else function.forward(*inputs)


class Variance(torch.autograd.Function):
    """Biased variance over ``dims``, kept as size 1; its gradient is 2 (x - mean x) / n."""

    @staticmethod
    def forward(x: Tensor, dims: tuple[int, ...]) -> Tensor:
        # two passes: torch.var is 9 times slower on CPU over several axes, and E[x^2] - E[x]^2 cancels
        deviation = x - x.mean(dims, keepdim=True)
        return deviation.mul_(deviation).mean(dims, keepdim=True)  # square_ has no batching rule

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        x, ctx.dims = inputs
        ctx.save_for_backward(x)
        ctx.factor = 2 / elements(x, ctx.dims)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return (x - x.mean(ctx.dims, keepdim=True)) * (ctx.factor * gradient), None

    @staticmethod
    def vmap(_info: Any, in_dims: tuple[Any, ...], x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, int]:
        return Variance.apply(x.movedim(in_dims[0], 0), tuple(dim + (dim >= 0) for dim in dims)), 0


class DirectVariance(torch.autograd.Function):
    """``Variance`` where no transform is at work."""

    forward = joined(Variance)
    backward = Variance.backward


class MeanSquare(torch.autograd.Function):
    """Mean of squares over ``dims``, kept as size 1; its gradient is 2 x / n."""

    @staticmethod
    def forward(x: Tensor, dims: tuple[int, ...]) -> Tensor:
        return x.square().mean(dims, keepdim=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        x, dims = inputs
        ctx.save_for_backward(x)
        ctx.factor = 2 / elements(x, dims)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return x * (ctx.factor * gradient), None

    @staticmethod
    def vmap(_info: Any, in_dims: tuple[Any, ...], x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, int]:
        return MeanSquare.apply(x.movedim(in_dims[0], 0), tuple(dim + (dim >= 0) for dim in dims)), 0


class DirectMeanSquare(torch.autograd.Function):
    """``MeanSquare`` where no transform is at work."""

    forward = joined(MeanSquare)
    backward = MeanSquare.backward


class Maximum(torch.autograd.Function):
    """max(x, y), broadcast; where both are equal, y has all of the gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> Tensor:
        return torch.maximum(x, y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, y = inputs
        ctx.save_for_backward(y, output)
        ctx.shape = x.shape

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        y, larger = ctx.saved_tensors
        # selecting by a mask of bools is 10 to 20 times slower on CPU
        of_x = torch.ops.aten.threshold_backward(gradient, (larger - y).detach(), 0)
        of_y = (gradient - of_x).sum_to_size(y.shape) if ctx.needs_input_grad[1] else None
        return of_x.sum_to_size(ctx.shape), of_y


class DirectMaximum(torch.autograd.Function):
    """``Maximum`` where no transform is at work."""

    forward = joined(Maximum)
    backward = Maximum.backward


class Quotient(torch.autograd.Function):
    """q = x / y, broadcast; its gradients are 1 / y and -q / y."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> Tensor:
        return x / y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, y = inputs
        ctx.save_for_backward(y, output)
        ctx.shape = x.shape

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        y, quotient = ctx.saved_tensors
        of_x = gradient / y
        of_y = -(of_x * quotient).sum_to_size(y.shape) if ctx.needs_input_grad[1] else None
        return of_x.sum_to_size(ctx.shape), of_y


class DirectQuotient(torch.autograd.Function):
    """``Quotient`` where no transform is at work."""

    forward = joined(Quotient)
    backward = Quotient.backward


def quotient(x: Tensor, y: Tensor) -> Tensor:
    """Quotient x / y of a divisor that is surely not 0."""
    if torch.compiler.is_compiling():  # fused with its gradient anyway, and shapes may be unknown there
        return x / y
    result: Tensor = applied(Quotient, DirectQuotient, x, y)
    return result


def div(x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Quotient x / y with abs(y) held at ``eps`` or above; y = 0 counts as positive."""
    return quotient(x, torch.copysign(y.abs().clamp_min(eps), y))


def maximum(x: Tensor, y: Tensor) -> Tensor:
    """Elementwise max(x, y)."""
    if torch.compiler.is_compiling():  # as for quotients
        return torch.maximum(x, y)
    result: Tensor = applied(Maximum, DirectMaximum, x, y)
    return result


def slog(x: Tensor, eps: float) -> Tensor:
    """sign(x) ln(abs(x) + eps), the signed logarithm."""
    return torch.sign(x) * torch.log(x.abs() + eps).to(x.dtype)


def ssqrt(x: Tensor, eps: float) -> Tensor:
    """Signed root x / sqrt(abs(x) + eps): about sign(x) sqrt(abs(x)), with a finite slope at 0."""
    return x * torch.rsqrt(x.abs() + eps).to(x.dtype)


def exp(x: Tensor) -> Tensor:
    """e^x."""
    return torch.exp(x).to(x.dtype)


def square(x: Tensor) -> Tensor:
    """x^2."""
    return torch.square(x).to(x.dtype)


def reciprocal(x: Tensor) -> Tensor:
    """1 / x of a divisor that is surely not 0."""
    return torch.reciprocal(x).to(x.dtype)


def widen(x: Tensor) -> Tensor:
    """Bring x to at least single precision: sums over a map overflow or stall in half precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def elements(x: Tensor, dims: tuple[int, ...]) -> int:
    """How many elements a moment over ``dims`` is taken of; the other axes may be empty."""
    count = 1
    for dim in dims:
        count *= x.shape[dim]
    return count


def mean(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """First moment over ``dims``, kept as size 1, in at least single precision."""
    return widen(x).sum(dims, keepdim=True) / elements(x, dims)  # the gradient of torch.mean divides every element


def mean_square(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Uncentred second moment over ``dims``, kept as size 1, in at least single precision."""
    result: Tensor = applied(MeanSquare, DirectMeanSquare, widen(x), dims)
    return result


def variance(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Biased variance over ``dims``, kept as size 1, in at least single precision."""
    result: Tensor = applied(Variance, DirectVariance, widen(x), dims)
    return result


def rms(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """Root of the uncentred second moment over ``dims``: sqrt(mean(x^2) + eps), in at least single precision."""
    return torch.sqrt(mean_square(x, dims) + eps)


def std(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """Root of the biased variance over ``dims``: sqrt(mean((x - mean x)^2) + eps), in at least single precision."""
    return torch.sqrt(variance(x, dims) + eps)


def standardize(x: Tensor, groups: int, eps: float) -> Tensor:
    """(x - mean x) / sqrt(var x + eps) over the map and each group of channels, of a map [b, c, h, w]."""
    if torch.compiler.is_compiling():  # fused with what follows, which torch's own call is not
        parts, dims = split_groups(x, groups), (2, 3, 4)
        centre, spread = (merge_groups(s, x) for s in (mean(parts, dims), std(parts, dims, eps)))
        return ((widen(x) - centre) * (1 / spread)).to(x.dtype)
    return torch.group_norm(widen(x), groups, eps=eps).to(x.dtype)


def standardize_features(x: Tensor, eps: float) -> Tensor:
    """(x - mean x) / sqrt(var x + eps) over the channels of each position, of a map [b, c, h, w]."""
    last = widen(x).movedim(1, -1)  # next to each other in memory where the map is of tokens
    return torch.layer_norm(last, last.shape[-1:], eps=eps).movedim(-1, 1).to(x.dtype)


def split_groups(x: Tensor, groups: int) -> Tensor:
    """View [b, c, h, w] as [b, g, c/g, h, w] (any memory format)."""
    return torch.unflatten(x, 1, (groups, -1))


def as_maps(x: Tensor) -> Tensor:
    """View tokens [..., t, d] as maps [b, d, t, 1]; features stay next to each other in memory."""
    return x.reshape(-1, *x.shape[-2:]).transpose(1, 2).unsqueeze(3)


def as_tokens(x: Tensor, like: Tensor) -> Tensor:
    """Maps [b, d, t, 1] as tokens in the shape of ``like``, [..., t, d]."""
    return x.squeeze(3).transpose(1, 2).reshape(like.shape)


def merge_groups(x: Tensor, like: Tensor) -> Tensor:
    """Repeat a group statistic [b, g, 1, h, w] for the channels of its group in ``like``: [b, c, h, w].

    The statistic has size 1 along what it does not vary over.
    """
    return x.expand(-1, -1, like.shape[1] // x.shape[1], -1, -1).flatten(1, 2)


def batch_moment(x: Tensor, running: Tensor, moment: str, eps: float, momentum: float, training: bool) -> Tensor:
    """A moment over batch and space: the batch's in training, which ``running`` follows, else that.

    An empty batch has no moment of its own: ``running`` stands in for it, and stays as it is.

    The raw statistic is the mean (``mean``), the mean square (``rms``) or the biased variance (``std``); the result
    is the statistic itself (``mean``) or sqrt(statistic + eps).
    """
    if training and x.numel() > 0:
        wide, dims = widen(x), (0, 2, 3)
        if moment == "mean":
            statistic = mean(wide, dims)
        else:
            statistic = mean_square(wide, dims) if moment == "rms" else variance(wide, dims)
        with torch.no_grad():
            running.copy_(running.lerp(statistic.detach().to(running.dtype), momentum))  # lerp_ has no batching rule
    else:
        statistic = running
    return statistic if moment == "mean" else torch.sqrt(statistic + eps)


def per_channel(parameter: Tensor) -> Tensor:
    """A parameter [c] as [1, c, 1, 1]; one with values of each sample, [b, c], as [b, c, 1, 1]."""
    return parameter.view(-1, parameter.shape[-1], 1, 1)


def narrow(x: Tensor, like: Tensor) -> Tensor:
    """A statistic or parameter in the dtype of the map that it meets."""
    return x.to(like.dtype)


def affine(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Elementwise x * scale + shift in the dtype of x, broadcast to x, in one new tensor."""
    return (x * scale.to(x.dtype)).add_(shift.to(x.dtype))
