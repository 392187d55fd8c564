"""What a layer costs in a whole network, relative to batch normalization and ReLU of torch in the same places."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from evonas.config import LayerConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.layer.lower import lower
from evonas.surgery.install import Bare, install_layers
from evonas.surgery.sites import NormActSite
from evonas.tasks.task import Task, placed
from evonas.training.timing import relative_time


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """The network with the layer against the same network with ``nn.BatchNorm2d`` and ``nn.ReLU``.

    Norms of tokens, which stand without an activation, are the network's own in the network that it is held against.

    Attributes:
        parameters: of the network with the layer.
        training: time of a forward and backward pass on a training batch, relative.
        inference: time of a forward pass in evaluation mode, relative.
        memory: bytes of activations kept for the backward pass.
        relative_memory: the same, relative.
    """

    parameters: int
    training: float
    inference: float
    memory: int
    relative_memory: float


def network_cost(task: Task, genome: Genome, layer: LayerConfig, seed: int) -> NetworkCost:
    """Measure a layer on a task: times side by side, medians over rounds; the rest is exact."""
    stream = task.batches(seed)
    batches = [next(stream) for _ in range(task.cycle)]
    evolved, native = placed(task, task.build(seed), genome, layer), task.build(seed)
    if task.put is not None:
        native = placed(task, native, CATALOGUE["bn-relu"], layer)
    elif not task.norms:
        native = install_layers(native, partial(_native, layer.bare), task.parts)
    device = next(evolved.parameters()).device
    training, reference = (_training_pass(task, model, batches) for model in (evolved, native))
    memory, of_reference = kept_bytes(evolved, training), kept_bytes(native, reference)
    used, of_native = (_inference_pass(task, model, batches) for model in (evolved, native))
    return NetworkCost(
        parameters=sum(parameter.numel() for parameter in evolved.parameters()),
        training=relative_time(training, reference, device),
        inference=relative_time(used, of_native, device),
        memory=memory,
        relative_memory=memory / max(of_reference, 1),
    )


def _native(bare: Bare, site: NormActSite) -> nn.Module | None:
    channels = site.num_features
    if site.layout == "btd" or (site.act is None and bare == "norm"):
        return None
    affine = lower(CATALOGUE["bn-relu"], channels, act=False)  # as an evolved layer without activation
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU()) if site.act else affine


def _training_pass(task: Task, model: nn.Module, batches: Sequence[Any]) -> Callable[[], object]:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return lambda: [
        torch.autograd.grad(task.loss(model.train(), batch), trained, allow_unused=True) for batch in batches
    ]


def _inference_pass(task: Task, model: nn.Module, batches: Sequence[Any]) -> Callable[[], object]:
    @torch.no_grad()
    def run() -> list[Tensor]:
        return [task.loss(model.eval(), batch) for batch in batches]

    return run


def kept_bytes(model: nn.Module, run: Callable[[], object]) -> int:
    """Bytes of the storages that autograd keeps for the backward pass in ``run``, those of parameters left out."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}  # by address, which tells storages apart while all of them are alive

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(storage.nbytes() for storage in kept.values())
