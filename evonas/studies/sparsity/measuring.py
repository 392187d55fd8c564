"""The measurements of a study: loads its model and texts once, then measures costs, losses and speeds."""

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.runs.jobs import Jobs
from evonas.studies.sparsity.accounting import decode_costs, total
from evonas.studies.sparsity.allocation import Curve, ErrorCurves
from evonas.studies.sparsity.decoding import Decoder, compiled, decode_rates
from evonas.studies.sparsity.report import SparsityReport
from evonas.studies.sparsity.selection import Prefill
from evonas.studies.sparsity.sites import EXCLUDED, linear_sites
from evonas.studies.sparsity.sparsify import Pays, sparsify
from evonas.studies.sparsity.speed_table import SpeedTable, machine_facts, measure_speeds
from evonas.studies.sparsity.study import (
    CONTEXT,
    CostMeasurement,
    Grid,
    Measurement,
    QualityMeasurement,
    Source,
    SparsitySetting,
    SparsityStudyConfig,
    SpeedMeasurement,
    check,
    grid_of,
)
from evonas.studies.sparsity.texts import TextWindows, calibration_windows, scored_windows
from evonas.tasks.language.perplexity import Window, perplexity, sliding
from evonas.tasks.language.pretrained import LanguageModel, load_language_model
from evonas.training.device import find_device

DECODED = 64  # tokens of a text that is decoded, half of them as a prompt
DENSE, SPARSE = "dense", "sparse"


@dataclass(frozen=True, slots=True)
class Material:
    """The model and the texts of a study.

    Attributes:
        language: the model and its tokenizer.
        texts: what is scored, by name.
        calibration: what calibrates.
        source: how results know the model.
        device: where it is.
    """

    language: LanguageModel
    texts: Mapping[str, TextWindows]
    calibration: TextWindows
    source: Source
    device: torch.device

    def grid(self, study: SparsityStudyConfig) -> Grid:
        """The measurements of the study."""
        machine = machine_facts(self.device, getattr(torch, self.source.dtype))
        machine["threads"] = str(study.execution.threads)
        digests = {name: windows.digest for name, windows in self.texts.items()}
        where = json.dumps(machine, sort_keys=True)
        return grid_of(study, self.source, digests, self.calibration.digest, self.language.bos, where)

    def facts(self, study: SparsityStudyConfig) -> dict[str, str]:
        """The facts that belong beside any figure of the study."""
        texts = (f"{len(windows.rows)} windows of {name}" for name, windows in self.texts.items())
        context, bos, first = self.calibration.rows.shape[1], self.language.bos, study.dense_first
        mode = "compiled" if study.compiled else "eager"
        begins = f"after token {bos}" if bos is not None else "the first token unscored"
        return {
            "model": f"{self.language.name}, {self.source.model}, {study.dtype} on {self.device.type}",
            "sparse layers": f"all linear ones but {', '.join(EXCLUDED)}; selection {study.selection}",
            "scored": f"{', '.join(texts)}; each of {context} tokens, by itself, {begins}",
            "dense positions": f"the first {first} of each window" if first else "none",
            "calibration": f"{len(self.calibration.rows)} windows of {self.calibration.name}, of other passages",
            "speed": f"{study.execution.threads} threads, {mode}",
        }


@lru_cache(maxsize=1)
def load_material(study: SparsityStudyConfig) -> Material:
    """Load the model and cut the texts; what was loaded last is kept.

    Raises:
        InputError: the study is wrong, the model cannot be loaded or has no linear layers, a context that it cannot
            see, or a text that cannot be read or is too short.
    """
    check(study)
    device = find_device(study.execution.device, "device")
    language = load_language_model(study.model, dtype=getattr(torch, study.dtype), device=device)
    linear_sites(language.model)
    seen = (language.positions or math.inf) - (language.bos is not None)
    context = study.context or min(CONTEXT, int(min(seen, CONTEXT)))
    if not 2 <= context <= seen:
        raise InputError("context", str(context), accepted=f"2 to {seen:g}, which is what {language.name} sees")
    found = (scored_windows(text, language.encode, context, study.tokens) for text in study.texts)
    texts = {windows.name: windows for windows in found}
    calibration = calibration_windows(
        study.calibration, language.encode, context, study.calibration_tokens, list(texts.values())
    )
    source = Source(model=language.identity, dtype=study.dtype, device=device.type)
    return Material(language, texts, calibration, source, device)


def sparsity_jobs(study: SparsityStudyConfig, grid: Grid, folder: Path) -> Jobs[Measurement]:
    """The measurements as jobs; one that the model has no layers for fails with the reason, and the others go on.

    Args:
        study: the study.
        grid: its measurements.
        folder: where the table of sizes is kept.
    """
    return Jobs(
        grid.measurements,
        partial(do_measurement, study, folder),
        ("studies/sparsity",),
        needs=partial(_needs, grid),
        timed=lambda measurement: isinstance(measurement, SpeedMeasurement),
        doing=_doing,
    )


def _doing(measurement: Measurement) -> str:
    setting = measurement.setting
    what = {CostMeasurement: "measuring what each layer may drop", QualityMeasurement: "scoring"}
    return f"{what.get(type(measurement), 'timing')} ({setting.label if setting else 'dense'})"


def _needs(grid: Grid, measurement: Measurement) -> tuple[Measurement, ...]:
    """An allocation needs the measurement of what dropping costs."""
    costs = (
        None
        if isinstance(measurement, CostMeasurement) or measurement.setting is None
        else grid.costs.get(measurement.setting)
    )
    return () if costs is None else (costs,)


def do_measurement(
    study: SparsityStudyConfig, folder: Path, measurement: Measurement, needed: Mapping[Measurement, Any]
) -> dict[str, Any]:
    """One measurement, as it is recorded."""
    return _measuring(study, folder)(measurement, next(iter(needed.values()), None))


@lru_cache(maxsize=1)
def _measuring(study: SparsityStudyConfig, folder: Path) -> "Measuring":
    return Measuring(load_material(study), folder)  # once in a process


class Measuring:
    """Carries out measurements on the loaded model."""

    def __init__(self, material: Material, folder: Path) -> None:
        self.model, self.bos = material.language.model, material.language.bos
        self.device, self.dtype = material.device, getattr(torch, material.source.dtype)
        self.texts = {windows.digest: windows.rows.to(self.device) for windows in material.texts.values()}
        self.calibration = [_with_bos(row, self.bos)[None] for row in material.calibration.rows.to(self.device)]
        self.folder = folder

    def __call__(self, measurement: Measurement, recorded: Mapping[str, Any] | None) -> dict[str, Any]:
        """Carry out a measurement, with the recorded costs of dropping if the allocation needs them."""
        try:
            if isinstance(measurement, CostMeasurement):
                return self.costs(measurement)
            costs = None if recorded is None else _costs(recorded)
            return (
                self.quality(measurement, costs)
                if isinstance(measurement, QualityMeasurement)
                else self.speed(measurement, costs)
            )
        except InputError as error:  # of this model and this setting; the study goes on
            raise RuntimeError(str(error)) from None

    def costs(self, measurement: CostMeasurement) -> dict[str, Any]:
        """The errors that dropping causes, by block and layer."""
        with self._sparse(self.model, measurement.setting, 0.5) as report:
            assert report.costs is not None
            return {
                block: {name: _plain(curve) for name, curve in part.items()} for block, part in report.costs.items()
            }

    def quality(self, measurement: QualityMeasurement, costs: ErrorCurves | None) -> dict[str, Any]:
        """Losses by window in nats, what was dropped, and what is left to be multiplied of the whole model."""
        rows = self.texts[measurement.text]
        if measurement.setting is None:
            return _losses(self._windows(self.model, rows))
        with self._sparse(self.model, measurement.setting, measurement.sparsity, costs) as report:
            losses = _losses(self._windows(self.model, rows))
            left = total(decode_costs(self.model, report))
            return losses | {
                "achieved": report.achieved,
                "macs": left.macs / left.dense_macs,
                "kinds": _by_kind(report),
            }

    def speed(self, measurement: SpeedMeasurement, costs: ErrorCurves | None) -> dict[str, Any]:
        """Tokens a second at batch 1 of the dense model and of a sparse copy, the two taking turns."""
        text = _with_bos(self.texts[measurement.text][0], self.bos)[:DECODED]
        other = copy.deepcopy(self.model)
        with self._sparse(other, measurement.setting, measurement.sparsity, costs, self._sizes.pays) as report:
            make = compiled if measurement.compiled else Decoder
            decoders = {DENSE: make(self.model), SPARSE: make(other)}
            rates = decode_rates(decoders, text, prompt=len(text) // 2)
            return {
                "dense": rates[DENSE].tokens_per_second,
                "sparse": rates[SPARSE].tokens_per_second,
                "ratios": list(rates[SPARSE].ratios),
                "bound": total(decode_costs(other, report, context=len(text), as_run=True)).bound,
                "sparse_layers": sum(layer.kernel == "sparse" for layer in report.layers),
                "layers": len(report.layers),
            }

    @cached_property
    def _sizes(self) -> SpeedTable:
        shapes = {(site.inputs, site.outputs) for site in linear_sites(self.model)}
        return measure_speeds(shapes, folder=self.folder, device=self.device, dtype=self.dtype)

    def _sparse(
        self,
        model: nn.Module,
        setting: SparsitySetting,
        sparsity: float,
        costs: ErrorCurves | None = None,
        pays: Pays | None = None,
    ) -> SparsityReport:
        return sparsify(
            model,
            method=setting.method,
            sparsity=sparsity,
            selection=setting.selection,
            allocation=setting.allocation,
            costs=costs,
            transform=setting.transform,
            calibration=self.calibration,
            prefill=Prefill(first=setting.dense_first),
            sparse_when=pays,
        )

    def _windows(self, model: nn.Module, rows: Tensor) -> list[Window]:
        """Each window scored by itself, all of it after a ``bos``, else all but its first token."""
        batches = (batch for row in rows for batch in sliding(row, window=len(row), bos=self.bos))
        return list(perplexity(model, batches).windows)


def _with_bos(row: Tensor, bos: int | None) -> Tensor:
    return row if bos is None else torch.cat([row.new_tensor([bos]), row])


def _losses(windows: Sequence[Window]) -> dict[str, Any]:
    """The losses as they are recorded: one that is not finite is null."""
    return {
        "tokens": [window.tokens for window in windows],
        "nll": [window.nll if math.isfinite(window.nll) else None for window in windows],
    }


def _by_kind(report: SparsityReport) -> dict[str, float]:
    """By kind of layer, the share that was allocated: the mean over weights."""
    weights, dropped = dict[str, int](), dict[str, float]()
    for layer in report.layers:
        weights[layer.kind] = weights.get(layer.kind, 0) + layer.weights
        dropped[layer.kind] = dropped.get(layer.kind, 0.0) + layer.weights * layer.requested
    return {kind: dropped[kind] / weights[kind] for kind in weights}


def _costs(recorded: Mapping[str, Any]) -> ErrorCurves:
    return {block: {name: _curve(value) for name, value in part.items()} for block, part in recorded.items()}


def _plain(curve: Curve) -> list[list[float]]:
    return [list(curve.levels), list(curve.errors)]


def _curve(value: Sequence[Sequence[float]]) -> Curve:
    return Curve(tuple(value[0]), tuple(value[1]))
