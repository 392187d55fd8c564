"""Writes how a model was made sparse, with its dense model if that is wanted."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from evonas.errors import InputError
from evonas.extras import import_package
from evonas.files import write_folder
from evonas.studies.sparsity.build import Builder
from evonas.studies.sparsity.saving import (
    MODEL,
    SETTINGS,
    TENSORS,
    SavedBase,
    SavedLayer,
    SavedSparsity,
    weights_digest,
    write_sparsity,
    write_tensors,
)
from evonas.studies.sparsity.selection import Prefill
from evonas.studies.sparsity.sites import LinearSite
from evonas.tasks.language.pretrained import quietly


@dataclass(frozen=True, slots=True)
class SparsifySettings:
    """How a model was made sparse; state it, and the achieved sparsities, beside any figure."""

    method: str
    sparsity: float
    selection: str
    allocation: str
    transform: bool
    prefill: Prefill
    seed: int = 0


class SparsityWarning(UserWarning):
    """The weights of a sparse model are read, for instance to be saved: they say nothing of its sparsity."""


def write_sparse(
    place: Path,
    model: nn.Module,
    settings: SparsifySettings,
    shares: Mapping[LinearSite, float],
    build: Builder,
    *,
    base: str,
    include_model: bool,
    tokenizer: Any,
) -> None:
    """See ``SparsityReport.save``; ``shares`` are those that the layers drop, and ``build`` is what made them."""
    if place.suffix == ".json":
        write_sparsity(place, _saved(model, settings, shares, build, {}, None))
        return
    if include_model and not hasattr(model, "save_pretrained"):
        found = f"a {type(model).__name__}, which has no save_pretrained"
        raise InputError("include_model", found, remedy="save its weights yourself, and load(model, FOLDER)")
    origin = _base(shares, "" if include_model else _source(model, base))

    def write(folder: Path) -> None:
        tensors, numbers = build.tensors(shares)
        if tensors:
            write_tensors(folder / TENSORS, tensors)
        write_sparsity(folder / SETTINGS, _saved(model, settings, shares, build, numbers, origin))
        if include_model:
            _write_dense(model, tokenizer, folder / MODEL)

    write_folder(place, write, mark=SETTINGS)


def _saved(
    model: nn.Module,
    settings: SparsifySettings,
    shares: Mapping[LinearSite, float],
    build: Builder,
    rotations: Mapping[str, int],
    base: SavedBase | None,
) -> SavedSparsity:
    layers = {
        site.name: SavedLayer(
            inputs=site.inputs,
            outputs=site.outputs,
            sparsity=share,
            threshold=build.threshold(site, share) if share else None,
            rotation=rotations.get(site.name),
        )
        for site, share in shares.items()
    }
    return SavedSparsity(
        model=type(model).__name__,
        method=settings.method,
        selection=settings.selection,
        allocation=settings.allocation,
        transform=settings.transform,
        prefill_share=settings.prefill.share,
        prefill_first=settings.prefill.first,
        seed=settings.seed,
        layers=layers,
        base=base,
    )


def _base(shares: Mapping[LinearSite, float], source: str) -> SavedBase:
    weights = [(site.name, site.weight) for site in shares]
    dtype: Any = str(weights[0][1].dtype).removeprefix("torch.")
    return SavedBase(source=source, weights=weights_digest(weights), dtype=dtype)


def _source(model: nn.Module, base: str) -> str:
    """Where a model of transformers is from; the path of one on this machine in full."""
    source = base or str(getattr(model, "name_or_path", ""))
    return str(Path(source).resolve()) if source and Path(source).exists() else source


def _write_dense(model: Any, tokenizer: Any, folder: Path) -> None:
    with quietly(import_package("transformers", "include_model"), str(folder.parent)), warnings.catch_warnings():
        warnings.simplefilter("ignore", SparsityWarning)  # it is what is wanted here
        model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
