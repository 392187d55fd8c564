"""How a model was made sparse, on disk; reading it runs no code.

A folder holds ``sparsity.json`` (settings, shares, thresholds, and where the dense model is), ``sparsity.safetensors``
where layers have weights of their own (rotations, low-rank terms), and ``model/`` where the dense model is included. A
JSON file alone holds the settings; what follows from the weights is then computed again.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor

from evonas.config.section import Count, Fraction, PositiveInt, Section, Seed, parse_section
from evonas.errors import InputError, first_line
from evonas.files import write_text
from evonas.limits import LARGEST_RECORD
from evonas.reading import parse_json, read_given

SETTINGS, TENSORS, MODEL = "sparsity.json", "sparsity.safetensors", "model"
DTYPES = ("float32", "bfloat16", "float16", "float64")
_REMEDY = "give what SparsityReport.save wrote"


class SavedLayer(Section):
    """One layer: its size, the share of inputs that it drops, and the score up to which it drops them, if any.

    ``rotation`` is the number of the rotation of its inputs among those of the folder.
    """

    inputs: PositiveInt
    outputs: PositiveInt
    sparsity: Annotated[float, Field(ge=0, lt=1)]
    threshold: float | None = None
    rotation: Count | None = None


class SavedBase(Section):
    """The dense model: where it is, a digest of the weights of the layers, and their type.

    ``source`` is an id of the hub, a folder or a GGUF file; without it the model is in ``model/`` of the folder, or
    nothing is known of it.
    """

    source: str = ""
    weights: str
    dtype: Literal["float32", "bfloat16", "float16", "float64"]


class SavedSparsity(Section):
    """What the JSON file holds; the keys are arguments of ``evonas.sparsity.sparsify``."""

    format: Literal["evonas sparsity 1"] = "evonas sparsity 1"
    model: str
    method: str
    selection: str
    allocation: str
    transform: bool
    prefill_share: Fraction
    prefill_first: Count
    seed: Seed
    layers: Annotated[dict[str, SavedLayer], Field(min_length=1)]
    base: SavedBase | None = None


def write_sparsity(file: Path, saved: SavedSparsity) -> None:
    """Write the JSON file; it is there whole or not at all."""
    write_text(file, saved.model_dump_json(indent=1, exclude_none=True) + "\n")


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name."""
    save_file(dict(tensors), file)


def read_sparsity(file: Path) -> SavedSparsity:
    """Read what ``write_sparsity`` wrote, from the file or from its folder.

    Raises:
        InputError: the file is missing or broken, or lacks a threshold.
    """
    if file.is_dir():
        if not (file / SETTINGS).is_file():
            raise InputError(str(file), f"holds no {SETTINGS}", remedy=_REMEDY)
        file = file / SETTINGS
    data: Any = parse_json(read_given(file, remedy=_REMEDY, largest=LARGEST_RECORD), str(file), remedy=_REMEDY)
    if not isinstance(data, dict):
        raise InputError(str(file), "holds no settings", remedy=_REMEDY)
    saved = parse_section(SavedSparsity, data, str(file))
    for name, layer in saved.layers.items():
        if saved.selection == "threshold" and layer.sparsity and layer.threshold is None:
            raise InputError(str(file), f"holds no threshold of {name}", remedy=_REMEDY)
    return saved


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read what ``write_tensors`` wrote.

    Raises:
        InputError: it is no such file, or holds numbers that are not finite.
    """
    try:
        tensors = load_file(file)
    except Exception as error:  # whatever safetensors and torch raise for what others wrote
        raise InputError(str(file), f"is not a safetensors file ({first_line(error)})", remedy=_REMEDY) from None
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise InputError(str(file), f"{name!r} holds what is no finite number", remedy=_REMEDY)
    return tensors


def weights_digest(weights: Iterable[tuple[str, Tensor]]) -> str:
    """A digest of weights by name, whatever their order in memory."""
    whole = hashlib.sha256()
    for name, weight in weights:
        plain = weight.detach().cpu().contiguous()
        whole.update(f"{name} {list(plain.shape)} {plain.dtype}".encode())
        whole.update(plain.view(torch.uint8).numpy().data)
    return f"sha256 {whole.hexdigest()[:16]}"
