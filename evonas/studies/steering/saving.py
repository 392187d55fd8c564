"""Interventions on disk: a folder of ``intervention.json`` and ``maps.safetensors``; reading it runs no code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor

from evonas.config.section import Section, parse_section
from evonas.errors import InputError, first_line
from evonas.files import write_text, write_whole
from evonas.limits import LARGEST_RECORD
from evonas.reading import parse_json, read_given
from evonas.studies.steering.maps import AffineMap
from evonas.studies.steering.methods import SteeringMap
from evonas.studies.steering.mixture import MixtureMap
from evonas.studies.steering.pooling import POOLS
from evonas.studies.steering.sites import SteeringSite

HEADER, TENSORS = "intervention.json", "maps.safetensors"
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_PARTS, _BOUNDS = ("weight", "bias"), ("low", "high")


class Header(Section):
    """Everything about an intervention except its maps; see ``Intervention``.

    ``pools`` says of sites whose maps have bounds how their samples were pooled, where it is not the mean.
    """

    format: Literal["evonas intervention 1"] = "evonas intervention 1"
    method: str
    model: str
    sites: Annotated[tuple[SteeringSite, ...], Field(min_length=1)]
    losses: tuple[float, ...] = ()
    held: tuple[float, ...] = ()
    pools: dict[str, str] = Field(default_factory=dict)


def write_intervention(folder: Path, header: Header, maps: Mapping[str, SteeringMap]) -> None:
    """Write both files, the header last; each is there whole or not at all."""
    tensors = {
        f"{name}/{part}": value.detach().cpu().contiguous()
        for name, each in maps.items()
        for part, value in each.parts.items()
    }
    write_whole(folder / TENSORS, lambda path: save_file(tensors, path))
    write_text(folder / HEADER, header.model_dump_json(indent=1) + "\n")


def read_intervention(folder: Path) -> tuple[Header, tuple[SteeringMap, ...]]:
    """Read what ``write_intervention`` wrote; maps are on the CPU.

    Raises:
        InputError: a file is missing, is not what its name says, or the two do not belong together.
    """
    for name in (HEADER, TENSORS):
        if not (folder / name).is_file():
            remedy = "give a folder that Intervention.save wrote"
            raise InputError(str(folder), f"holds no {name}", remedy=remedy)
    where = str(folder / HEADER)
    data = parse_json(read_given(folder / HEADER, largest=LARGEST_RECORD), where)
    header = parse_section(Header, data, where)
    for name, pool in header.pools.items():
        if pool not in POOLS:
            raise InputError(where, f"pools: {pool!r} at {name}", accepted=", ".join(POOLS))
    where = str(folder / TENSORS)
    try:
        tensors = load_file(folder / TENSORS)
    except Exception as error:  # whatever safetensors and torch raise for what others wrote
        raise InputError(where, f"is not a safetensors file ({first_line(error)})") from None
    maps = tuple(_map(site, tensors, where, header.pools.get(site.name, "mean")) for site in header.sites)
    if tensors:
        raise InputError(where, f"holds {min(tensors)!r}, which belongs to no site of {HEADER}")
    return header, maps


def _map(site: SteeringSite, tensors: dict[str, Tensor], where: str, pool: str) -> SteeringMap:
    """Take the map of one site out of the tensors."""
    d = site.features
    if (centres := tensors.get(f"{site.name}/centres")) is not None:
        k = len(centres) if centres.ndim else 0
        shapes = {"centres": (k, d), "shifts": (k, d), "masses": (k,), "width": (1,)}
        return MixtureMap(**{part: _taken(f"{site.name}/{part}", tensors, shapes[part], where) for part in shapes})
    parts = (*_PARTS, *_BOUNDS) if f"{site.name}/low" in tensors else _PARTS
    return AffineMap(**{part: _taken(f"{site.name}/{part}", tensors, (d,), where) for part in parts}, pool=pool)


def _taken(key: str, tensors: dict[str, Tensor], shape: tuple[int, ...], where: str) -> Tensor:
    value = tensors.pop(key, None)
    if value is None:
        raise InputError(where, f"holds no {key!r}", remedy=f"it does not belong to {HEADER} beside it")
    if value.shape != shape or value.dtype not in _DTYPES or not torch.isfinite(value).all():
        found = f"{key!r} is {str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
        wanted = " x ".join(map(str, shape))
        raise InputError(where, found, accepted=f"{wanted} finite floating-point numbers")
    return value
