"""How a model was made sparse, on disk: a JSON file of settings, shares and thresholds; reading it runs no code.

Weights are not in it. Column norms, low-rank factors and rotations follow from the weights, and are computed again.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from evonas.config.section import Count, Fraction, PositiveInt, Section, Seed, parse_section
from evonas.errors import InputError
from evonas.files import write_text
from evonas.limits import LARGEST_RECORD
from evonas.reading import parse_json, read_given


class SavedLayer(Section):
    """One layer: its size, the share of inputs that it drops, and the score up to which it drops them, if any."""

    inputs: PositiveInt
    outputs: PositiveInt
    sparsity: Annotated[float, Field(ge=0, lt=1)]
    threshold: float | None = None


class SavedSparsity(Section):
    """What the file holds; the keys are arguments of ``evonas.sparsity.sparsify``."""

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


def write_sparsity(file: Path, saved: SavedSparsity) -> None:
    """Write the file; it is there whole or not at all."""
    write_text(file, saved.model_dump_json(indent=1, exclude_none=True) + "\n")


def read_sparsity(file: Path) -> SavedSparsity:
    """Read what ``write_sparsity`` wrote.

    Raises:
        InputError: the file is missing or broken, or lacks a threshold.
    """
    remedy = "give a file that SparsityReport.save wrote"
    data: Any = parse_json(read_given(file, remedy=remedy, largest=LARGEST_RECORD), str(file), remedy=remedy)
    if not isinstance(data, dict):
        raise InputError(str(file), "holds no settings", remedy=remedy)
    saved = parse_section(SavedSparsity, data, str(file))
    for name, layer in saved.layers.items():
        if saved.selection == "threshold" and layer.sparsity and layer.threshold is None:
            raise InputError(str(file), f"holds no threshold of {name}", remedy=remedy)
    return saved
