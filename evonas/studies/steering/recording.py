"""Pooled activations at sites, from forward passes that end after the last site."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.steering.pooling import Pooling
from evonas.studies.steering.sites import Batch, SteeringSite, main_output, run
from evonas.training.modes import evaluating


class _LastSiteSeen(BaseException):  # not an Exception, which models may catch
    """Ends the forward pass after the last site."""


class Recorder:
    """Calls a model and gives the pooled activations at its sites; nothing after the last site runs.

    Used as a context: hooks are on the model inside only. Steering hooks must be there already to be seen.

    Args:
        model: the network.
        sites: in the order of calls.
        pooling: over tokens and space.
    """

    def __init__(self, model: nn.Module, sites: Sequence[SteeringSite], pooling: Pooling) -> None:
        self._model, self._sites, self._pooling = model, sites, pooling
        self._hooks = ExitStack()
        self._pooled: dict[str, Tensor] = {}
        self._mask: Tensor | None = None

    def __enter__(self) -> Self:
        for site in self._sites:
            module = self._model.get_submodule(site.name)
            self._hooks.enter_context(module.register_forward_hook(partial(self._note, site)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.close()

    def __call__(self, batch: Batch) -> list[Tensor]:
        """Pooled activations [b, d] of each site; gradients flow where they are enabled.

        Raises:
            InputError: a batch or mask that cannot be used, or a site without one row per sample.
        """
        self._mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
        self._pooled.clear()
        with suppress(_LastSiteSeen):
            run(self._model, batch)
        rows = samples_of(batch)
        for name, pooled in self._pooled.items():
            if len(pooled) != rows:
                found = f"puts out {len(pooled)} rows for {rows} samples"
                raise InputError(name, found, accepted="one per sample", remedy="choose another site")
        return [self._pooled[site.name] for site in self._sites]

    def _note(self, site: SteeringSite, _module: nn.Module, _inputs: object, output: Any) -> None:
        self._pooled[site.name] = self._pooling(main_output(site.name, output), site.axis, self._mask)
        if len(self._pooled) == len(self._sites):
            raise _LastSiteSeen


@torch.no_grad()
def record(
    model: nn.Module, sites: Sequence[SteeringSite], batches: Iterable[Batch], pooling: Pooling, what: str
) -> list[Tensor]:
    """Pooled activations [n, d] of all samples at each site, as the model is, with its steering hooks.

    Raises:
        InputError: fewer than two samples, or activations that are not finite; ``what`` names the batches.
    """
    parts: list[list[Tensor]] = []
    with Recorder(model, sites, pooling) as recorder:
        for number, batch in enumerate(batches):
            try:
                parts.append(recorder(batch))
            except InputError as error:
                raise error.at(f"{what}, batch {number}") from None
    samples = sum(len(part[0]) for part in parts)
    if samples < 2:
        raise InputError(what, f"{samples} samples" if samples != 1 else "1 sample", accepted="2 or more")
    joined = [torch.cat(pooled) for pooled in zip(*parts, strict=True)]
    for site, pooled in zip(sites, joined, strict=True):
        if not pooled.isfinite().all():
            remedy = "look at the inputs and the model; float16 may overflow where bfloat16 does not"
            raise InputError(site.name, f"activations of {what} are not finite", remedy=remedy)
    return joined


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Within it the model is in evaluation mode and its parameters have no gradients; both are restored."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with evaluating(model):
        try:
            for parameter in trainable:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in trainable:
                parameter.requires_grad_(True)


def samples_of(batch: Batch) -> int:
    """How many samples a batch holds.

    Raises:
        InputError: a mapping without a tensor.
    """
    if isinstance(batch, Tensor):
        return len(batch)
    tensors = [value for value in batch.values() if isinstance(value, Tensor) and value.ndim]
    if not tensors:
        raise InputError("batch", "holds no tensor", accepted="the model's inputs, samples along their first axis")
    return len(tensors[0])
