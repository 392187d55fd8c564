"""Makes a model sparse as another one, or the same one, was."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from evonas.errors import InputError
from evonas.studies.sparsity.report import SparsityReport
from evonas.studies.sparsity.saving import SavedSparsity, read_sparsity
from evonas.studies.sparsity.selection import Prefill
from evonas.studies.sparsity.sites import is_linear, site_at
from evonas.studies.sparsity.sparsify import Pays, sparsify


def load(
    model: nn.Module,
    file: str | Path,
    *,
    calibration: Iterable[Any] | None = None,
    sparse_when: Pays | None = None,
) -> SparsityReport:
    """Make a dense model sparse as a file of ``SparsityReport.save`` says; nothing is measured for it.

    With the weights of the model that was saved, the result computes what that model computed.

    Args:
        model: with layers of the same names and sizes; it is changed in place.
        file: the file.
        calibration: one batch, of any content, where a transform is to be computed: it shows which layers read which
            normalization.
        sparse_when: as of ``sparsify``; where a sparse product pays depends on the machine, so it is not in the file.

    Raises:
        InputError: the file cannot be used, or the model does not fit it. The model is then unchanged.
    """
    saved = read_sparsity(Path(file))
    _require_layers(model, saved)
    thresholds = {name: layer.threshold for name, layer in saved.layers.items() if layer.threshold is not None}
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
