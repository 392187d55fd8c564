"""Activations of a batch made one vector per sample: over tokens that are not padding, or over space."""

from dataclasses import dataclass

import torch
from torch import Tensor

from evonas.errors import InputError

POOLS = ("mean", "last", "max", "min")


@dataclass(frozen=True, slots=True)
class Pooling:
    """How activations are pooled, in float32 or better; vectors, which have nothing to pool, stay.

    Attributes:
        pool: ``mean``, ``max``, ``min``, or ``last``: the last token, where there are tokens.
        skip_first: leave out the first token of each sample that is not padding. In language models it often is an
            attention sink, with activations hundreds of times as large as all others.

    Raises:
        InputError: an unknown pool.
    """

    pool: str = "mean"
    skip_first: bool = True

    def __post_init__(self) -> None:
        if self.pool not in POOLS:
            raise InputError("pool", repr(self.pool), accepted=", ".join(POOLS))

    def __call__(self, z: Tensor, axis: int, mask: Tensor | None = None) -> Tensor:
        """Pool over everything but samples and neurons.

        Args:
            z: tokens [b, t, d] or vectors [b, d], with axis -1; maps [b, d, h, w] or [b, d, t] with axis 1, or
                [b, h, w, d] with axis -1.
            axis: that of the neurons.
            mask: [b, t], 0 at padding; for tokens only. None: there is none.

        Returns:
            [b, d].

        Raises:
            InputError: a mask of another shape, a sample without tokens left, or ``last`` of a map.
        """
        z = z.to(torch.promote_types(z.dtype, torch.float32))
        if z.ndim == 2:
            return z.clone()  # what comes next may work in place
        if not is_spatial(z, axis):
            return self._over(z, _kept(mask, z, self.skip_first))
        if self.pool == "last":
            raise InputError("pool", "'last', but a map has no last position", accepted="mean, max, min")
        positions = z.flatten(2).mT if axis == 1 else z.flatten(1, -2)
        return self._over(positions, torch.ones(positions.shape[:2], dtype=torch.bool, device=z.device))

    def _over(self, z: Tensor, keep: Tensor) -> Tensor:
        """Over positions. Shapes: z [b, p, d], keep [b, p] -> [b, d]; what is left out may be anything, also NaN."""
        kept = keep[..., None]
        match self.pool:
            case "mean":
                return torch.where(kept, z, 0.0).sum(1) / kept.sum(1)
            case "last":
                last = (torch.arange(z.shape[1], device=z.device) * keep).amax(1)
                return z[torch.arange(len(z), device=z.device), last]
            case "max":
                return torch.where(kept, z, -torch.inf).amax(1)
            case _:
                return torch.where(kept, z, torch.inf).amin(1)


def is_spatial(z: Tensor, axis: int) -> bool:
    """Whether activations are a map over space, not vectors [b, d] or tokens [b, t, d]."""
    return z.ndim > 3 or (z.ndim == 3 and axis == 1)


def _kept(mask: Tensor | None, z: Tensor, skip_first: bool) -> Tensor:
    shape = z.shape[:2]
    keep = torch.ones(shape, dtype=torch.bool, device=z.device) if mask is None else mask.to(z.device).bool()
    if keep.shape != shape:
        found = f"{list(keep.shape)} for activations of {list(shape)} tokens"
        raise InputError("attention_mask", found, accepted="one number per sample and token, 0 at padding")
    if skip_first:
        keep = keep & (keep.cumsum(1) > 1)
    empty = ~keep.any(1)
    if empty.any():
        row = int(empty.nonzero()[0])
        skipped = " beside the first, which is skipped" if skip_first else ""
        remedy = "give longer samples" + (", or skip_first=False" if skip_first else "")
        raise InputError("batch", f"sample {row} has no token to pool{skipped}", remedy=remedy)
    return keep
