"""Gives a lowered layer what a trained batch normalization has learned."""

import torch
from torch import nn

from evonas.errors import InputError
from evonas.layer.lower import NormActLayer
from evonas.layer.ops import BatchMoment


def adopt_batch_norm(layer: NormActLayer, norm: nn.BatchNorm2d) -> NormActLayer:
    """Copy weights and running statistics of a trained batch norm into a layer that normalizes as it does.

    (x - mean) / sqrt(var + eps) * v1 + v0: v1 <- weight, v0 <- bias, running mean and variance as they are. Lower the
    layer with the norm's eps. In evaluation it then computes the activation of what the norm computes; in training its
    running variance follows the biased one.

    Args:
        layer: of a genome such as bn-relu, bn-relu6 or bn-silu; changed in place, and given back.
        norm: with affine parameters and running statistics.

    Raises:
        InputError: the layer has other statistics or no v0 and v1, or the norm lacks something.
    """
    moments = {m.moment: m for m in layer.modules() if isinstance(m, BatchMoment)}
    if moments.keys() != {"mean", "std"} or layer.v0 is None or layer.v1 is None:
        raise InputError(
            "layer", layer.genome.formula(), accepted="one that normalizes over the batch, as bn-relu does"
        )
    sources = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    targets = (moments["mean"].running, moments["std"].running, layer.v1, layer.v0)
    with torch.no_grad():
        for target, source in zip(targets, sources, strict=True):
            if source is None or source.numel() != target.numel():
                found = "has no affine parameters or statistics" if source is None else f"has {source.numel()} features"
                raise InputError("norm", found, accepted=f"a trained batch norm of {target.numel()} features")
            target.copy_(source.view_as(target))
    return layer
