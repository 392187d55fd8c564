r"""The orthogonalizing transform: layers multiply in a basis in which the columns of a chosen weight are orthogonal.

Let u be the output of a normalization without its gain g, so that layers read x = g * u, and let W_c be the weight of
one of them, $W_c\,\mathrm{diag}(g) = U S V^T$. With

    x' = x diag(1/g) V        and        W' = W diag(g) V  for each of these layers

$W' x' = W x$, and the columns of W'_c are orthogonal with norms S. For such a layer the score |x'_i| ||W'_c[:, i]||
drops the very inputs that change its output least. The factors diag(1/g) and V are one matrix, applied once for all
layers that read x.

Under grouped-query attention a key has fewer outputs than inputs, and W_c a null space, of which any basis fulfils all
that is said above. Neither the paper nor its code chooses one, but query and value are scored by |x'_i| in that basis,
and the result hangs on it. Here it is the basis nearest to axes of coordinates, as inputs are close to sparse in their
own coordinates.

The published form rotates the residual stream itself, from block to block, and with it embedding, head and the layers
that write to the stream; the inputs of all layers are the same in both forms, and so are the numbers of operations,
two d x d products a block. This form changes nothing outside the layers it serves: tied embeddings, LayerNorm with a
shift and other readers of the normalization need no care.

Source: Chen et al. 2025 (WINA), section on computational invariance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evonas.errors import InputError
from evonas.studies.sparsity.calibration import Group
from evonas.studies.sparsity.layer import Rotation
from evonas.studies.sparsity.sites import LinearSite
from evonas.training.topk import column_norms

# in this order; the published choice is the key and the gate projection, or the fused layer that holds them
CHOSEN = (
    *("k_proj", "key", "qkv_proj", "Wqkv", "query_key_value", "c_attn"),
    *("gate_proj", "gate_up_proj", "w1", "up", "c_fc", "fc1"),
)
SMALL_GAIN = 1e-6  # relative to the largest; gains below it, zeros among them, stay where they are


@dataclass(frozen=True, slots=True)
class RotatedLayers:
    """A layer in its new basis.

    Attributes:
        rotation: what its input is multiplied with; shared by all layers of a group.
        matrix: W' [m, n].
        basis: norms of the columns [n] that the transform made orthogonal; None for the layers that were not chosen.
    """

    rotation: Rotation
    matrix: Tensor
    basis: Tensor | None


def right_singular_vectors(matrix: Tensor) -> Tensor:
    """V of W = U S V^T, all n columns of it, in double precision. Shapes: W [m, n] -> V [n, n].

    The last columns, which W maps to 0, are those of ``nearest_to_axes``.
    """
    wide = matrix.detach().double()
    triangle = torch.linalg.qr(wide, mode="r").R  # has W's V, and at most n rows
    _, values, transposed = torch.linalg.svd(triangle, full_matrices=True)
    vectors: Tensor = transposed.T
    rank = int((values > max(wide.shape) * torch.finfo(values.dtype).eps * values.amax()).sum())
    return torch.cat([vectors[:, :rank], nearest_to_axes(vectors[:, rank:])], 1)


def nearest_to_axes(span: Tensor) -> Tensor:
    """The orthonormal basis of a subspace that lies nearest to as many axes of coordinates.

    The axes are taken one by one, each time the one that lies nearest to what is left of the subspace, by a QR
    decomposition with pivoting. The result depends on the subspace alone, not on the basis that is given.

    Shapes: span [n, k], orthonormal -> the same.
    """
    from scipy.linalg import qr  # takes long to import

    count = span.shape[1]
    pivots = qr((span @ span.T).cpu().numpy(), mode="r", pivoting=True)[1]
    axes = sorted(pivots[:count].tolist())
    left, _, right = torch.linalg.svd(span[axes].T)
    nearest: Tensor = span @ (left @ right)
    return nearest


def rotate(groups: Sequence[Group]) -> dict[str, RotatedLayers]:
    """The layers of all groups in their new bases, by name.

    In each group the layer whose kind comes first in ``CHOSEN`` is chosen; where there is none, the basis makes the
    columns of all of them, stacked, orthogonal, and their joint norms score each.

    Raises:
        InputError: there is no group.
    """
    if not groups:
        accepted = "layers that read a normalization's output, as in a pre-norm transformer"
        raise InputError("transform", "none of the layers reads the output of a normalization", accepted=accepted)
    turned: dict[str, RotatedLayers] = {}
    for group in groups:
        turned.update(_turned(group))
    return turned


def chosen(sites: Sequence[LinearSite]) -> tuple[LinearSite, ...]:
    """The layers whose columns are to be orthogonal: one, or all of them."""
    for kind in CHOSEN:
        for site in sites:
            if site.kind == kind:
                return (site,)
    return tuple(sites)


def _turned(group: Group) -> dict[str, RotatedLayers]:
    first = group.sites[0].matrix.detach()
    gain = _folded(group.gain) if group.gain is not None else torch.ones(first.shape[1], device=first.device)
    gain = gain.double()
    ours = chosen(group.sites)
    stacked = torch.cat([site.matrix.detach().double() for site in ours]) * gain
    vectors = right_singular_vectors(stacked)
    rotation = Rotation((vectors / gain[:, None]).to(first.dtype))
    norms = column_norms(stacked @ vectors).to(torch.promote_types(first.dtype, torch.float32))
    return {
        site.name: RotatedLayers(
            rotation,
            (site.matrix.detach().double() * gain @ vectors).to(first.dtype),
            norms if site in ours else None,
        )
        for site in group.sites
    }


def _folded(gain: Tensor) -> Tensor:
    return torch.where(gain.abs() > SMALL_GAIN * gain.abs().max(), gain, torch.ones_like(gain))
