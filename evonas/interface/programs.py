"""Layers and whole networks with layers in them, written as files that run without evonas."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor, nn

from evonas.errors import InputError, first_line
from evonas.interface.layers import LayerName, create_layer, replace_norm_act
from evonas.layer.programs import Program, save_onnx, save_program
from evonas.tasks.architectures import ArchitectureSpec, build_architecture

FEATURES, SIZE, CLASSES = 64, 224, 1000
SUFFIXES = (".onnx", ".pt2")
_AXES = {"bchw": {0: "batch", 2: "height", 3: "width"}, "btd": {0: "batch", 1: "tokens"}}


@dataclass(frozen=True, slots=True)
class Network:
    """A network that is to be built and written.

    Attributes:
        name: ``timm:NAME``, ``torchvision:NAME``, or an architecture of evonas.
        layer: what stands in the places of its norms and activations; empty leaves it as it is.
        weights: a ``.safetensors`` file of the network with the layer in it; None gives fresh weights.
        classes: that it tells apart.
        size: of its square images; None takes that which it was published for, or 224.
    """

    name: str
    layer: LayerName = ""
    weights: str | PathLike[str] | None = None
    classes: int = CLASSES
    size: int | None = None


def export_layer(
    layer: LayerName, path: str | PathLike[str], *, num_features: int = FEATURES, layout: str | None = None
) -> Program:
    """Write one layer with its initial parameters as ``.onnx`` or ``.pt2``, in evaluation mode.

    Batch and space, or batch and tokens, may have any size.

    Args:
        layer: as for ``create_layer``.
        path: where to; its suffix says what.
        num_features: channels or features of its inputs.
        layout: as for ``create_layer``.

    Raises:
        InputError: no such layer, another suffix, or the layer cannot be exported.
    """
    module = create_layer(layer, num_features, layout=layout)
    shape = (2, num_features, 6, 5) if module.layout == "bchw" else (2, 6, num_features)
    return _save(module, torch.zeros(shape), Path(path), _AXES[module.layout])


def export_network(network: Network, path: str | PathLike[str]) -> Program:
    """Write a network as ``.onnx`` or ``.pt2``, in evaluation mode; batches may have any size.

    A ``SurgeryWarning`` says which norms were left as they were.

    Args:
        network: what is built, and the layer that is put into it.
        path: where to; its suffix says what.

    Raises:
        InputError: no such network or layer, weights that do not fit, another suffix, or it cannot be exported.
    """
    _require_suffix(Path(path))
    spec = ArchitectureSpec(network.name, unstrided=0)
    size = network.size or SIZE
    model = build_architecture(spec, num_classes=network.classes, image_size=size)
    if network.size is None:
        size = _published_size(model)
    if network.layer:
        model = replace_norm_act(model, network.layer)
    if network.weights is not None:
        load_weights(model, Path(network.weights))
    return _save(model, torch.zeros(2, 3, size, size), Path(path), {0: "batch"})


def load_weights(model: nn.Module, path: Path) -> None:
    """Load all weights of a model from a ``.safetensors`` file.

    Raises:
        InputError: it cannot be read, or its names or shapes are not those of the model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(str(path), f"cannot be read ({first_line(error)})", accepted="a .safetensors file") from None
    own = model.state_dict()
    missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    for names, what in ((missing, "lacks"), (unknown, "has, and the network has not,")):
        if names:
            found = f"{what} {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
            remedy = "save the network after the layer was put into it, with safetensors.torch.save_model"
            raise InputError(str(path), found, remedy=remedy)
    for name, value in weights.items():
        if value.shape != own[name].shape:
            raise InputError(str(path), f"{name} is {list(value.shape)}", accepted=str(list(own[name].shape)))
    model.load_state_dict(weights)


def _save(module: nn.Module, example: Tensor, path: Path, axes: dict[int, str]) -> Program:
    _require_suffix(path)
    if path.suffix == ".onnx":
        return save_onnx(module, example, path, axes)
    return save_program(module, example, path, list(axes))


def _require_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise InputError(str(path), f"ends in {path.suffix or 'nothing'}", accepted=", ".join(SUFFIXES))


def _published_size(model: nn.Module) -> int:
    """The size of images that timm notes with its networks."""
    settings = getattr(model, "default_cfg", None) or {}
    return int((settings.get("input_size") or (3, SIZE, SIZE))[-1])
