"""Probes: what a model's activations, gradients and weights look like while it trains, on a few chosen steps.

Names of the values; B is a number of a block, H of a head, P the name of a parameter:

    blocks.B.heads.H.max_logit     largest causal attention logit, before a softcap
    blocks.B.heads.H.entropy       mean entropy of attention in nats
    blocks.B.query_rms, .key_rms   RMS of queries and keys as they enter the logits
    blocks.B.attention_rms, .mlp_rms    RMS of what the branches add
    blocks.B.rms, embedding_rms    RMS of the sum after the block, and before the first
    log_z                          mean log Z of the output logits
    gradient_rms.P                 RMS of the gradient that Adam gets, clipped if it was
    gradient_over_epsilon.P        the same over Adam's epsilon; near 1 or below, updates shrink
    parameter_rms.P                RMS of the parameter, before the step
    update_rms.P                   RMS of its change by the step, decay included
    learning_rate                  s_t * eta of the step, without muParam and RMS factors

With ``spectral`` also, after the step (see ``spectral``):

    stable_rank.P                  of each matrix inside the blocks
    blocks.B.qk_spectral_entropy   mean over heads
    blocks.B.jacobian              leading singular value of the Jacobian of what the block adds, at its first sample
    blocks.B.alignment             of what block B amplifies most into with what the next one amplifies most
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from evonas.studies.stability.measures import entropies, log_z, max_logits, tensor_rms
from evonas.studies.stability.spectral import alignments, qk_spectral_entropy, stable_rank
from evonas.tasks.language.attention import Attend
from evonas.tasks.language.model import Transformer


@dataclass(frozen=True, slots=True)
class Reading:
    """What the probes read at one step: its number (from 0), its training loss, and the values by name."""

    step: int
    loss: float
    values: Mapping[str, float]


class Probes:
    """Reads a training at every ``every``-th step and the last one.

    Used as a context around ``fit``, with ``after_step`` as its ``after_step``. Hooks are on the model and the
    optimizer only while a step that is to be read runs; they look and change nothing.

    Args:
        model: what trains.
        optimizer: its optimizer; hooks that change gradients must be on it already.
        steps: how many steps there will be.
        every: 0 reads nothing.
        spectral: whether spectra of weights and blocks are read as well.
        on_reading: called with each reading.
    """

    def __init__(
        self,
        model: Transformer,
        optimizer: torch.optim.Optimizer,
        *,
        steps: int,
        every: int,
        spectral: bool = False,
        on_reading: Callable[[Reading], None] | None = None,
    ) -> None:
        self.readings: list[Reading] = []
        self._model, self._optimizer, self._steps, self._every = model, optimizer, steps, every
        self._on_reading, self._spectral = on_reading, spectral
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._values: dict[str, Tensor] = {}  # on the device until they are read
        self._before: dict[str, Tensor] = {}
        self._inputs: dict[int, Tensor] = {}  # of the blocks, their first sample

    def __enter__(self) -> Self:
        self._attach(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._detach()

    def after_step(self, step: int, loss: Tensor) -> None:
        """Read the step that was taken if it is one of those; make ready for the next."""
        if self._handles:
            self._detach()
            self._read(step, loss)
        self._attach(step + 1)

    def _attach(self, step: int) -> None:
        """Put hooks on everything if the coming step is one to read."""
        if not self._every or step >= self._steps or (step % self._every and step != self._steps - 1):
            return
        self._rate = float(self._optimizer.param_groups[0]["lr"])
        self._on(self._model.embedding, "embedding_rms", tensor_rms)
        self._on(self._model, "log_z", log_z)
        for number, block in enumerate(self._model.blocks):
            place = f"blocks.{number}"
            self._on(block, f"{place}.rms", tensor_rms)
            self._on(block.attention, f"{place}.attention_rms", tensor_rms)
            self._on(block.mlp, f"{place}.mlp_rms", tensor_rms)
            self._handles.append(block.attention.attend.register_forward_pre_hook(partial(self._see_attention, place)))
            if self._spectral:
                self._handles.append(block.register_forward_pre_hook(partial(self._see_input, number)))
        self._handles.append(self._optimizer.register_step_pre_hook(self._before_step))

    def _on(self, module: nn.Module, name: str, measure: Callable[[Tensor], Tensor]) -> None:
        def note(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            self._values[name] = measure(output)

        self._handles.append(module.register_forward_hook(note))

    def _see_attention(self, place: str, attend: Attend, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
        query, key, _ = inputs
        self._values[f"{place}.query_rms"], self._values[f"{place}.key_rms"] = tensor_rms(query), tensor_rms(key)
        largest = max_logits(query, key, attend.scale)
        spread = entropies(query, key, attend.scale, attend.softcap)
        for head in range(len(largest)):
            self._values[f"{place}.heads.{head}.max_logit"] = largest[head]
            self._values[f"{place}.heads.{head}.entropy"] = spread[head]

    def _see_input(self, number: int, _block: nn.Module, inputs: tuple[Tensor]) -> None:
        self._inputs[number] = inputs[0][:1].detach()

    def _read_spectra(self) -> None:
        blocks = self._model.blocks
        for name, parameter in self._model.named_parameters():
            if name.startswith("blocks.") and parameter.ndim == 2:
                self._values[f"stable_rank.{name}"] = stable_rank(parameter)
        values, between = alignments(blocks, [self._inputs[number] for number in range(len(blocks))])
        for number, block in enumerate(blocks):
            query, key = block.attention.query.weight, block.attention.key.weight
            entropy = qk_spectral_entropy(query, key, self._model.config.heads).mean()
            self._values[f"blocks.{number}.qk_spectral_entropy"] = entropy
            self._values[f"blocks.{number}.jacobian"] = values[number]
        for number, cosine in enumerate(between):
            self._values[f"blocks.{number}.alignment"] = cosine
        self._inputs.clear()

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        for name, parameter in self._model.named_parameters():
            if parameter.grad is not None:
                self._values[f"gradient_rms.{name}"] = gradient = tensor_rms(parameter.grad)
                self._values[f"gradient_over_epsilon.{name}"] = gradient / optimizer.param_groups[0]["eps"]
            self._values[f"parameter_rms.{name}"] = tensor_rms(parameter)
            self._before[name] = parameter.detach().clone()

    @torch.no_grad()
    def _read(self, step: int, loss: Tensor) -> None:
        for name, parameter in self._model.named_parameters():
            self._values[f"update_rms.{name}"] = tensor_rms(parameter - self._before.pop(name))
        if self._spectral:
            self._read_spectra()
        numbers = torch.stack([loss.double(), *(value.double() for value in self._values.values())]).tolist()
        values = dict(zip(self._values, numbers[1:], strict=True))
        self._values.clear()
        self.readings.append(Reading(step, numbers[0], {"learning_rate": self._rate, **values}))
        if self._on_reading is not None:
            self._on_reading(self.readings[-1])

    def _detach(self) -> None:
        while self._handles:
            self._handles.pop().remove()
