"""QK-clip: shrinks query and key weights of heads whose attention logits grew too large."""

from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from evonas.studies.stability.measures import max_logits
from evonas.tasks.language.attention import Attend
from evonas.tasks.language.model import Transformer


class QkClip:
    r"""After a step, per head h of each block: $W_q^h, W_k^h \leftarrow \sqrt{\gamma_h} W_q^h, \sqrt{\gamma_h} W_k^h$.

    $\gamma_h = \min(1, limit / S_h)$, where $S_h$ is the largest attention logit that the step's forward pass saw; a
    head whose largest logit is not above the limit, be it negative, is left alone.

    Used as a context: hooks are on the model inside only.

    Args:
        model: without qk-layernorm, which would undo the scaling.
        limit: tau, 100 at Kimi.

    Source: Kimi K2, arXiv 2507.20534; here every number of a head is rotated, so both sides are scaled alike.
    """

    def __init__(self, model: Transformer, limit: float) -> None:
        self.limit = limit
        self._attentions = [block.attention for block in model.blocks]
        self._largest: dict[int, Tensor] = {}
        self._hooks = ExitStack()

    def __enter__(self) -> Self:
        for index, attention in enumerate(self._attentions):
            self._hooks.enter_context(attention.attend.register_forward_pre_hook(partial(self._see, index)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.close()

    @torch.no_grad()
    def after_step(self) -> None:
        """Clip after a step of the optimizer, by the logits of its forward pass."""
        for index, attention in enumerate(self._attentions):
            largest = self._largest.pop(index)
            gamma = torch.where(largest > self.limit, self.limit / largest, 1.0)
            rows = gamma.sqrt().repeat_interleave(attention.head_size)[:, None]
            for projection in (attention.query, attention.key):
                projection.weight.mul_(rows)

    def _see(self, index: int, attend: Attend, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
        query, key, _ = inputs
        self._largest[index] = max_logits(query, key, attend.scale)
