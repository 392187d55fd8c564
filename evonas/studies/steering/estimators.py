"""Maps in closed form from the pooled activations of one site: the baselines."""

import torch
from torch import Tensor

from evonas.studies.steering.maps import AffineMap
from evonas.studies.steering.wasserstein import quantiles

CONSTANT = 1e-6  # a neuron that moves by less than this share of its largest value does not vary


def mean_shift(source: Tensor, target: Tensor) -> AffineMap:
    """The shift b = mean(target) - mean(source), with w = 1. Shapes: source [n, d], target [m, d].

    Source: Mean-AcT, Rodriguez et al. 2024; CAA (Rimsky et al. 2023) and the mean difference of ITI are the same.
    """
    return AffineMap(torch.ones_like(source[0]), target.mean(0) - source.mean(0))


def linear_transport(source: Tensor, target: Tensor, *, bounded: bool, pool: str = "mean") -> AffineMap:
    r"""The affine map that moves sorted source samples closest to the quantiles of the target.

    With both centred, $w = \sum_i a_{(i)} b_{(i)} / \sum_i a_{(i)}^2$ and $b = \bar b - w \bar a$, per neuron;
    where n and m differ, $b_{(i)}$ is the mean of the target's quantile function over the i-th n-th. A neuron that does
    not vary is shifted.

    Args:
        source: [n, d].
        target: [m, d].
        bounded: act between the smallest and the largest source sample of each neuron only, both included, as in the
            paper; the released code leaves out values that equal one of them.
        pool: how the samples were pooled, for bounds of maps over space; see ``AffineMap``.

    Source: Linear-AcT, Rodriguez et al. 2024. Its printed formula divides by the target's variance, its code by the
    source's, which is the least-squares solution and is done here. Its code moves a map over space with the mean m by
    T(m) - m and scales nothing within it; here each pixel goes to w z + b, as in LinEAS, and the mean to T(m) as well.
    """
    a, b = source.double().sort(0).values, quantiles(target.double(), len(source)).means
    centred = a - a.mean(0)
    varies = centred.abs().amax(0) > CONSTANT * a.abs().amax(0)
    slope = (centred * (b - b.mean(0))).sum(0) / torch.where(varies, centred.square().sum(0), 1.0)
    weight = torch.where(varies, slope, 1.0)
    bias = b.mean(0) - weight * a.mean(0)
    low, high = (source.amin(0), source.amax(0)) if bounded else (None, None)
    return AffineMap(weight.to(source.dtype), bias.to(source.dtype), low, high, pool)


def classifier_shift(source: Tensor, target: Tensor) -> AffineMap:
    r"""The shift $b = \sigma\,\theta$, $\theta$ the unit normal of a logistic regression of target against source.

    $\sigma$ is the standard deviation of all samples along $\theta$, so that strength counts in these. The regression
    (scikit-learn's, C = 1) sees activations centred and divided by one number, their RMS: its penalty then does not
    depend on their scale, and the normal is that of the activations. Shapes: source [n, d], target [m, d].

    Source: ITI, Li et al. 2023, with the classifier's direction; here at any site, not at chosen heads.
    """
    from sklearn.linear_model import LogisticRegression  # slow to import, and other methods do not need it

    joined = torch.cat([source, target]).double()
    centred = joined - joined.mean(0)
    scale = centred.square().mean().sqrt()
    if scale == 0:
        return AffineMap(torch.ones_like(source[0]), torch.zeros_like(source[0]))
    labels = [0] * len(source) + [1] * len(target)
    fitted = LogisticRegression(max_iter=1000).fit((centred / scale).cpu().numpy(), labels)
    normal = torch.from_numpy(fitted.coef_[0]).to(centred)
    normal /= torch.linalg.vector_norm(normal)
    bias = (centred @ normal).std(correction=0) * normal
    return AffineMap(torch.ones_like(source[0]), bias.to(source.dtype))
