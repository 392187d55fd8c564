"""Probes on the blocks of any transformer while it trains.

What is called by the same name as in ``probes`` is the same; the names here are of whole models:

    gradient_norm                  global norm of the gradient, before clipping
    update_over_parameters         norm of the change by the step over that of the parameters
    log_z                          mean log Z of the output logits
    blocks.B.rms                   RMS of what block B gives
    blocks.B.logit_bound           largest |q| |k| times the scale over heads and tokens: no attention logit is larger
    least stable_rank              over the matrices of the blocks
    blocks.B.qk_spectral_entropy, blocks.B.jacobian, blocks.B.alignment    see ``spectral``
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.stability.measures import log_z, tensor_rms
from evonas.studies.stability.spectral import alignments, qk_spectral_entropy, stable_rank
from evonas.surgery.calls import output_of
from evonas.training.modes import evaluating


def blocks_of(model: nn.Module) -> nn.ModuleList:
    """The blocks of a transformer: its longest list of modules of one class.

    Raises:
        InputError: it has no such list.
    """
    lists = [
        part
        for part in model.modules()
        if isinstance(part, nn.ModuleList) and len({type(block) for block in part}) == 1
    ]
    if not lists:
        raise InputError(type(model).__name__, "has no list of blocks", accepted="a transformer")
    return max(lists, key=len)


@dataclass(frozen=True, slots=True)
class _Called:
    """With what a block was called."""

    inputs: tuple[Any, ...]
    options: Mapping[str, Any]


class BlockProbes:
    """Reads a training at every ``every``-th step and the last one; hooks are on the model only for those steps."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, *, every: int, steps: int, spectral: bool
    ) -> None:
        self.readings: list[tuple[int, dict[str, float]]] = []
        self._model, self._blocks, self._optimizer = model, blocks_of(model), optimizer
        self._every, self._steps, self._spectral = every, steps, spectral
        self._step = 0
        self._values: dict[str, Tensor] = {}
        self._called: dict[int, _Called] = {}
        self._before: list[Tensor] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """A context for the forward pass of a step."""
        hooks = self._hooks() if self._due() else []
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _due(self) -> bool:
        return bool(self._every) and (self._step % self._every == 0 or self._step == self._steps - 1)

    def _hooks(self) -> list[torch.utils.hooks.RemovableHandle]:
        found = [self._model.register_forward_hook(self._see_logits)]
        self._before = [parameter.detach().clone() for parameter in self._model.parameters()]
        for number, block in enumerate(self._blocks):
            found.append(block.register_forward_pre_hook(partial(self._see_input, number), with_kwargs=True))
            found.append(block.register_forward_hook(partial(self._see_output, number)))
            for name, projection in _query_and_key(block).items():
                found.append(projection.register_forward_hook(partial(self._see_projection, f"{number}.{name}")))
        return found

    def _see_logits(self, _model: nn.Module, _inputs: object, output: Any) -> None:
        self._values["log_z"] = log_z(output_of(output))

    def _see_input(self, number: int, _block: nn.Module, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        options = dict(options)
        x, *others = inputs or (options.pop("hidden_states"),)
        self._called[number] = _Called((x.detach(), *others), options)

    def _see_output(self, number: int, _block: nn.Module, _inputs: object, output: Any) -> None:
        self._values[f"blocks.{number}.rms"] = tensor_rms(_first(output))

    def _see_projection(self, name: str, _layer: nn.Module, _inputs: object, output: Tensor) -> None:
        size = _head_size(self._model)
        norms = output.detach().float().unflatten(-1, (-1, size)).norm(dim=-1).amax((0, 1))  # of each head
        self._values[f"norm.{name}"] = norms.max()

    @torch.no_grad()
    def after_step(self, step: int, _loss: Tensor) -> None:
        """Read the step that was taken if it is one of those."""
        if self._due():
            parameters = list(self._model.parameters())
            change = sum(
                ((new - old).double().square().sum() for new, old in zip(parameters, self._before, strict=True))
            )
            size = sum(old.double().square().sum() for old in self._before)
            values = {name: value for name, value in self._values.items() if not name.startswith("norm.")}
            values["update_over_parameters"] = torch.as_tensor(change / size).sqrt()
            for number in range(len(self._blocks)):
                norms = [self._values.get(f"norm.{number}.{name}") for name in ("query", "key")]
                if norms[0] is not None and norms[1] is not None:
                    scale = _head_size(self._model) ** -0.5
                    values[f"blocks.{number}.logit_bound"] = norms[0] * norms[1] * scale
            if self._spectral:
                with evaluating(self._model):  # dropout would draw from the generator of the training
                    values |= self._spectra()
            self.readings.append((step, {name: float(value) for name, value in values.items()}))
            self._values.clear()
            self._called.clear()
            self._before.clear()
        self._step = step + 1

    def _spectra(self) -> dict[str, Tensor]:
        matrices = [p for p in self._blocks.parameters() if p.ndim == 2]
        found = {"least stable_rank": torch.stack([stable_rank(matrix) for matrix in matrices]).min()}
        called = [self._called[number] for number in range(len(self._blocks))]
        branches = [partial(_applied, block, how) for block, how in zip(self._blocks, called, strict=True)]
        values, between = alignments(branches, [how.inputs[0] for how in called])
        found |= {f"blocks.{number}.jacobian": value for number, value in enumerate(values)}
        found |= {f"blocks.{number}.alignment": cosine for number, cosine in enumerate(between)}
        for number, block in enumerate(self._blocks):
            if (pair := _query_and_key(block)).keys() == {"query", "key"}:
                query, key = (
                    pair[name].weight.unflatten(0, (-1, _head_size(self._model))) for name in ("query", "key")
                )
                key = key.repeat_interleave(len(query) // len(key), 0)  # queries of a group share a key
                entropy = qk_spectral_entropy(query.flatten(0, 1), key.flatten(0, 1), len(query))
                found[f"blocks.{number}.qk_spectral_entropy"] = entropy.mean()
        return found


def _applied(block: nn.Module, how: _Called, x: Tensor) -> Tensor:
    return _first(block(x, *how.inputs[1:], **how.options))


def _first(output: Any) -> Tensor:
    found: Tensor = output if isinstance(output, Tensor) else output[0]
    return found


def _query_and_key(block: nn.Module) -> dict[str, nn.Linear]:
    """The projections of queries and keys, where they are layers of their own."""
    names = {"q_proj": "query", "k_proj": "key"}
    return {
        names[name.rpartition(".")[2]]: part
        for name, part in block.named_modules()
        if name.rpartition(".")[2] in names and isinstance(part, nn.Linear)
    }


def _head_size(model: nn.Module) -> int:
    config: Any = model.config
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
