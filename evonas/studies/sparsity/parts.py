"""What the weights of layers in a sparse model are, where they are not those of the dense one, as tensors by name.

With them a saved model computes the same on every machine: singular vectors are not worked out again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from evonas.errors import InputError
from evonas.studies.sparsity.layer import LowRank, Rotation
from evonas.studies.sparsity.rotation import RotatedLayers

ROTATION = "rotation"
_WEIGHT, _BASIS, _DOWN, _UP = "rotated", "basis", "low_rank.down", "low_rank.up"


@dataclass(frozen=True, slots=True)
class LayerParts:
    """Parts of sparse layers, by name of the layer.

    Attributes:
        turned: layers in another basis; those that share a rotation hold the same one.
        factors: V [n, r] and (U S)^T [r, m] of low-rank terms.
    """

    turned: Mapping[str, RotatedLayers]
    factors: Mapping[str, tuple[Tensor, Tensor]]


def tensors_of(
    turned: Mapping[str, RotatedLayers], low_rank: Mapping[str, LowRank]
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """The parts as tensors by name, and by layer the number of its rotation."""
    tensors, numbers, rotations = dict[str, Tensor](), dict[str, int](), list[Rotation]()
    for name, layer in turned.items():
        if layer.rotation not in rotations:
            rotations.append(layer.rotation)
            tensors[f"{ROTATION}.{len(rotations) - 1}"] = layer.rotation.get_buffer("matrix")
        numbers[name] = rotations.index(layer.rotation)
        tensors[f"{name}/{_WEIGHT}"] = layer.matrix
        if layer.basis is not None:
            tensors[f"{name}/{_BASIS}"] = layer.basis
    for name, term in low_rank.items():
        tensors |= {f"{name}/{_DOWN}": term.down, f"{name}/{_UP}": term.up}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, numbers


def parts_of(
    tensors: Mapping[str, Tensor],
    numbers: Mapping[str, int],
    sizes: Mapping[str, tuple[int, int]],
    where: str,
) -> LayerParts:
    """The parts that ``tensors_of`` gave.

    Args:
        tensors: by name.
        numbers: by layer the number of its rotation.
        sizes: by layer its inputs and outputs.
        where: the file, for errors.

    Raises:
        InputError: a tensor is missing or has another shape.
    """

    def taken(name: str, *shape: int | None) -> Tensor:
        tensor = tensors.get(name)
        if tensor is None:
            raise InputError(where, f"holds no {name!r}")
        wanted = zip(tensor.shape, shape, strict=False)
        if len(tensor.shape) != len(shape) or any(found != size for found, size in wanted if size is not None):
            raise InputError(where, f"{name!r} has the shape {list(tensor.shape)}")
        return tensor

    rotations, turned, factors = dict[int, Rotation](), dict[str, RotatedLayers](), {}
    for name, (inputs, outputs) in sizes.items():
        if name in numbers:
            number = numbers[name]
            if number not in rotations:
                rotations[number] = Rotation(taken(f"{ROTATION}.{number}", inputs, inputs))
            taken(f"{ROTATION}.{number}", inputs, inputs)
            basis = taken(f"{name}/{_BASIS}", inputs) if f"{name}/{_BASIS}" in tensors else None
            turned[name] = RotatedLayers(rotations[number], taken(f"{name}/{_WEIGHT}", outputs, inputs), basis)
        if f"{name}/{_DOWN}" in tensors:
            down = taken(f"{name}/{_DOWN}", inputs, None)
            factors[name] = (down, taken(f"{name}/{_UP}", down.shape[1], outputs))
    return LayerParts(turned, factors)
