"""Causal self-attention with rotary positions, and its switches: qk-layernorm, softcap, scale."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from evonas.tasks.language.settings import ModelConfig

ROTARY_BASE = 10_000.0


def capped(logits: Tensor, softcap: float) -> Tensor:
    """Softcap: c * tanh(logits / c), or the logits themselves where c is 0."""
    return softcap * torch.tanh(logits / softcap) if softcap else logits


class Rotary(nn.Module):
    """Turns the pair (x_i, x_{i + d/2}) at position p by the angle p * base^(-2i / d).

    So q.k depends on positions through their difference alone.

    Shapes: x [b, h, t, d] -> the same; t up to ``context``.

    Source: Su et al. 2021 (RoFormer), with halves instead of neighbours paired.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, size: int, context: int) -> None:
        super().__init__()
        speeds = ROTARY_BASE ** (-torch.arange(0, size, 2) / size)
        angles = torch.arange(context)[:, None] * speeds
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn queries or keys."""
        cos, sin = (table[: x.shape[2]] for table in (self.cos, self.sin))
        first, second = x.chunk(2, dim=-1)  # the products are in single precision even for half-precision x
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


class FixedRms(nn.Module):
    """g(z) = sqrt(kappa) z / sqrt(mean(z^2)) per head: a chosen size for queries and keys, without parameters.

    Shapes: z [b, h, t, d_h] -> the same.

    Source: Wortsman et al. 2023, the transplant of large attention logits into a small model.
    """

    def __init__(self, kappa: float) -> None:
        super().__init__()
        self.kappa = kappa

    def forward(self, z: Tensor) -> Tensor:
        """Scale queries or keys."""
        scaled: Tensor = self.kappa**0.5 * functional.rms_norm(z, z.shape[-1:])
        return scaled


class Attend(nn.Module):
    """softmax(softcap(scale * q k^T) + causal mask) v, by torch's fused kernel where there is no softcap.

    Probes and QK-clip look at the queries and keys that enter here.

    Shapes: q, k, v [b, h, t, d_h] -> the same.
    """

    def __init__(self, scale: float, softcap: float) -> None:
        super().__init__()
        self.scale, self.softcap = scale, softcap

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend to the past."""
        if not self.softcap:
            return functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale)
        logits = capped(self.scale * (q @ k.mT).float(), self.softcap)
        later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        return logits.masked_fill(later, -torch.inf).softmax(-1).to(v.dtype) @ v


class Attention(nn.Module):
    """Multi-head attention. Order: projections, qk-layernorm, rotation, ``attend``, output projection.

    qk-layernorm is a LayerNorm over each head's d_h numbers. Queries have one gain of length d_h, keys another, each
    shared by all heads of the block; there is no shift.

    Shapes: x [b, t, width] -> the same.

    Source: Wortsman et al. 2023, figure E.8 for the choice per head.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_size = config.head_size
        self.query, self.key, self.value, self.out = (
            nn.Linear(config.width, config.width, bias=False) for _ in range(4)
        )
        self.query_norm, self.key_norm = (_query_key_norm(config) for _ in range(2))
        self.rotary = Rotary(config.head_size, config.context)
        self.attend = Attend(config.scale, config.attention_softcap)

    def forward(self, x: Tensor) -> Tensor:
        """Attend to the past."""
        q = self.rotary(self.query_norm(self._heads(self.query(x))))
        k = self.rotary(self.key_norm(self._heads(self.key(x))))
        attended = self.attend(q, k, self._heads(self.value(x)))
        output: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return output

    def _heads(self, x: Tensor) -> Tensor:
        split: Tensor = x.unflatten(-1, (-1, self.head_size)).transpose(1, 2)
        return split


def _query_key_norm(config: ModelConfig) -> nn.Module:
    if config.qk_layernorm:
        return nn.LayerNorm(config.head_size, eps=config.norm_eps, bias=False)
    return FixedRms(config.qk_kappa) if config.qk_kappa else nn.Identity()
