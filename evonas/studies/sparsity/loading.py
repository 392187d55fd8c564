"""Makes a model sparse as another one, or the same one, was."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.sparsity.parts import parts_of
from evonas.studies.sparsity.report import SparsityReport
from evonas.studies.sparsity.saving import (
    MODEL,
    SETTINGS,
    TENSORS,
    SavedSparsity,
    read_sparsity,
    read_tensors,
    weights_digest,
)
from evonas.studies.sparsity.selection import Prefill
from evonas.studies.sparsity.sites import is_linear, site_at
from evonas.studies.sparsity.sparsify import Pays, sparsify
from evonas.tasks.language.pretrained import LanguageModel, load_language_model


def load(
    model: nn.Module | str | Path,
    place: str | Path | None = None,
    *,
    base: str | Path = "",
    device: torch.device | str = "cpu",
    calibration: Iterable[Any] | None = None,
    sparse_when: Pays | None = None,
) -> SparsityReport:
    """Make a dense model sparse as ``SparsityReport.save`` wrote it down; nothing is measured for it.

    ``load(FOLDER)`` loads the dense model too, and the report has the sparse one: ``load(FOLDER).model``.
    ``load(model, FOLDER)`` and ``load(model, FILE)`` make a model sparse that is there already, in place. With the
    weights of the model that was saved, the result computes what that model computed.

    Args:
        model: the folder; or a model with layers of the same names and sizes, which is changed in place.
        place: with a model, the folder or the ``.json`` file.
        base: of a folder alone, where the dense model is now, if not where it was.
        device: of a folder alone, where the model goes.
        calibration: one batch, of any content, where a file without its folder has a transform: it shows which layers
            read which normalization.
        sparse_when: as of ``sparsify``; where a sparse product pays depends on the machine, so it is not saved.

    Raises:
        InputError: what was saved cannot be used, or the model does not fit it. The model is then unchanged.
    """
    if not isinstance(model, nn.Module):
        if place is not None:
            raise InputError("load", "two places", accepted="load(FOLDER), or load(model, FOLDER)")
        return load_sparse(model, base=base, device=device, sparse_when=sparse_when).report
    if place is None:
        raise InputError("load", "a model alone", accepted="load(FOLDER), or load(model, FOLDER)")
    place = Path(place)
    saved, tensors = read_sparsity(place), _tensors(place)
    _require_layers(model, saved)
    if tensors:
        _require_weights(model, saved, str(place))
    return _made(model, saved, tensors, place, calibration, sparse_when)


@dataclass(frozen=True, slots=True)
class SparseLanguageModel:
    """A saved sparse model: the language model with its tokenizer, and the report whose model it is."""

    language: LanguageModel
    report: SparsityReport


def load_sparse(
    folder: str | Path,
    *,
    base: str | Path = "",
    device: torch.device | str = "cpu",
    sparse_when: Pays | None = None,
) -> SparseLanguageModel:
    """The model of a folder that ``SparsityReport.save`` wrote, with its tokenizer.

    Args:
        folder: the folder.
        base: where the dense model is now, if not where it was.
        device: where the model goes.
        sparse_when: as of ``sparsify``.

    Raises:
        InputError: the folder cannot be used, or the dense model is not there or not the one that was saved.
    """
    language = load_dense(folder, base=base, device=device)
    return SparseLanguageModel(language, load(language.model, folder, sparse_when=sparse_when))


def load_dense(folder: str | Path, *, base: str | Path = "", device: torch.device | str = "cpu") -> LanguageModel:
    """The dense model of a folder that ``SparsityReport.save`` wrote; arguments and errors as of ``load_sparse``."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(str(folder), "no such folder", remedy="give one that SparsityReport.save wrote")
    saved = read_sparsity(folder)
    if saved.base is None:
        found = f"says nothing of the dense {saved.model}"
        raise InputError(str(folder / SETTINGS), found, remedy="load that, and then load(model, FOLDER)")
    included = (folder / MODEL).is_dir()
    source = str(base) or (str(folder / MODEL) if included else saved.base.source)
    if not source:
        found = f"does not say where the dense {saved.model} is"
        raise InputError(str(folder / SETTINGS), found, remedy="say where it is: load(FOLDER, base=...)")
    language = load_language_model(source, dtype=getattr(torch, saved.base.dtype), device=device)
    _require_layers(language.model, saved)
    _require_weights(language.model, saved, source)
    return language


def is_saved_sparsity(place: str | Path) -> bool:
    """Whether a place is a folder that ``SparsityReport.save`` wrote."""
    return (Path(place) / SETTINGS).is_file()


def _tensors(place: Path) -> dict[str, Tensor]:
    file = place / TENSORS
    return read_tensors(file) if file.is_file() else {}


def _made(
    model: nn.Module,
    saved: SavedSparsity,
    tensors: Mapping[str, Tensor],
    place: Path,
    calibration: Iterable[Any] | None,
    sparse_when: Pays | None,
) -> SparsityReport:
    thresholds = {name: layer.threshold for name, layer in saved.layers.items() if layer.threshold is not None}
    numbers = {name: layer.rotation for name, layer in saved.layers.items() if layer.rotation is not None}
    parts = None
    if tensors or numbers:
        sizes = {name: (layer.inputs, layer.outputs) for name, layer in saved.layers.items()}
        device = next(model.parameters()).device
        moved = {name: tensor.to(device) for name, tensor in tensors.items()}
        parts = parts_of(moved, numbers, sizes, str(place / TENSORS))
    report = sparsify(
        model,
        method=saved.method,
        sparsity={name: layer.sparsity for name, layer in saved.layers.items()},
        selection=saved.selection,
        allocation="uniform",
        transform=saved.transform,
        include=tuple(saved.layers),
        exclude=(),
        calibration=calibration,
        prefill=Prefill(saved.prefill_share, saved.prefill_first),
        sparse_when=sparse_when,
        seed=saved.seed,
        thresholds=thresholds if saved.selection == "threshold" else None,
        parts=parts,
    )
    report.settings = replace(report.settings, allocation=saved.allocation)
    return report


def _require_layers(model: nn.Module, saved: SavedSparsity) -> None:
    modules = dict(model.named_modules(remove_duplicate=False))
    for name, layer in saved.layers.items():
        if name not in modules:
            found = f"is none of the modules of this {type(model).__name__}"
            raise InputError(name, found, accepted=f"layers of a {saved.model}")
        module = modules[name]
        if not is_linear(module):
            continue  # sparsify says what it is
        site = site_at(name, module)
        if (site.inputs, site.outputs) != (layer.inputs, layer.outputs):
            sizes = f"{site.inputs} inputs and {site.outputs} outputs"
            raise InputError(name, sizes, accepted=f"{layer.inputs} and {layer.outputs}, as in the file")


def _require_weights(model: nn.Module, saved: SavedSparsity, where: str) -> None:
    """Refuse a dense model that is not the one that was made sparse: its rotations and thresholds are not these."""
    if saved.base is None or not all(is_linear(model.get_submodule(name)) for name in saved.layers):
        return
    found = weights_digest((name, site_at(name, model.get_submodule(name)).weight) for name in saved.layers)
    if found != saved.base.weights:
        raise InputError(where, "has other weights than the model that was made sparse", accepted=saved.base.weights)
