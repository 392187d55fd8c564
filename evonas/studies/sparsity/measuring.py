"""The measurements of a study: loads its model and texts once, then measures costs, losses and speeds."""

import copy
import math
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.files import require_replaceable
from evonas.runs.jobs import Jobs
from evonas.studies.sparsity.accounting import decode_costs, total
from evonas.studies.sparsity.allocation import BEST, EVOLUTION, TWICE, ErrorCurves, plain_curves, read_curves
from evonas.studies.sparsity.decoding import Decoder, compiled, decode_rates
from evonas.studies.sparsity.int8 import weights_to_int8
from evonas.studies.sparsity.making import made_sparse, the_setting
from evonas.studies.sparsity.material import Material, load_material, with_bos
from evonas.studies.sparsity.report import SparsityReport, Split
from evonas.studies.sparsity.saving import SETTINGS
from evonas.studies.sparsity.sites import linear_sites
from evonas.studies.sparsity.sparsify import Pays
from evonas.studies.sparsity.speed_table import SpeedTable, measure_speeds
from evonas.studies.sparsity.study import (
    CostMeasurement,
    Grid,
    Measurement,
    QualityMeasurement,
    SparsitySetting,
    SparsityStudyConfig,
    SpeedMeasurement,
)
from evonas.tasks.language.perplexity import Window, perplexity, sliding

DECODED = 64  # tokens of a text that is decoded, half of them as a prompt
DENSE, SPARSE = "dense", "sparse"


def save_sparse_model(study: SparsityStudyConfig, folder: Path, *, include_model: bool) -> SparsityReport:
    """Make the model of a study with one setting sparse, and save it; nothing is scored.

    Raises:
        InputError: as ``load_material`` and ``SparsityReport.save``, or several settings.
    """
    setting, sparsity = the_setting(study)
    require_replaceable(folder, mark=SETTINGS)
    material = load_material(study)
    language = material.language
    report = made_sparse(language.model, setting, sparsity, material.batches)
    report.save(folder, base=study.model, include_model=include_model, tokenizer=language.tokenizer)
    return report


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
        self.int8 = material.source.int8
        self.texts = {windows.digest: windows.rows.to(self.device) for windows in material.texts.values()}
        self.calibration = material.batches
        self.folder = folder
        self._searched: dict[tuple[SparsitySetting, float], Split] = {}  # in minutes, and again for each text

    def __call__(self, measurement: Measurement, recorded: Mapping[str, Any] | None) -> dict[str, Any]:
        """Carry out a measurement, with the recorded costs of dropping if the allocation needs them."""
        try:
            if isinstance(measurement, CostMeasurement):
                return self.costs(measurement)
            costs = None if recorded is None else read_curves(recorded)
            return (
                self.quality(measurement, costs)
                if isinstance(measurement, QualityMeasurement)
                else self.speed(measurement, costs)
            )
        except InputError as error:  # of this model and this setting; the study goes on
            raise RuntimeError(str(error)) from None

    def costs(self, measurement: CostMeasurement) -> dict[str, Any]:
        """The errors that dropping causes, by block and layer."""
        setting = measurement.setting
        if setting.allocation in (TWICE, EVOLUTION):  # which begin with these curves
            setting = setting.model_copy(update={"allocation": BEST})
        with self._sparse(self.model, setting, 0.5) as report:
            assert report.costs is not None
            return plain_curves(report.costs)

    def quality(self, measurement: QualityMeasurement, costs: ErrorCurves | None) -> dict[str, Any]:
        """Losses by window in nats, what was dropped, and what is left to be multiplied of the whole model."""
        rows = self.texts[measurement.text]
        if measurement.setting is None:
            return _losses(self._windows(self._dense, rows))
        model = copy.deepcopy(self.model) if self.int8 else self.model  # rounded for good
        with self._sparse(model, measurement.setting, measurement.sparsity, costs) as report:
            losses = _losses(self._windows(self._rounded(model), rows))
            left = total(decode_costs(model, report))
            return losses | {
                "achieved": report.achieved,
                "macs": left.macs / left.dense_macs,
                "kinds": _by_kind(report),
            }

    def speed(self, measurement: SpeedMeasurement, costs: ErrorCurves | None) -> dict[str, Any]:
        """Tokens a second at batch 1 of the dense model and of a sparse copy, the two taking turns."""
        text = with_bos(self.texts[measurement.text][0], self.bos)[:DECODED]
        other = copy.deepcopy(self.model)
        with self._sparse(other, measurement.setting, measurement.sparsity, costs, self._sizes.pays) as report:
            make = compiled if measurement.compiled else Decoder
            decoders = {DENSE: make(self._dense), SPARSE: make(self._rounded(other))}
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
        return measure_speeds(shapes, folder=self.folder, device=self.device, dtype=self.dtype, int8=self.int8)

    @cached_property
    def _dense(self) -> nn.Module:
        """The dense model that others are compared with."""
        return self._rounded(copy.deepcopy(self.model)) if self.int8 else self.model

    def _rounded(self, model: nn.Module) -> nn.Module:
        if self.int8:
            weights_to_int8(model)
        return model

    def _sparse(
        self,
        model: nn.Module,
        setting: SparsitySetting,
        sparsity: float,
        costs: ErrorCurves | None = None,
        pays: Pays | None = None,
    ) -> SparsityReport:
        key = setting, sparsity
        if key not in self._searched:
            report = made_sparse(model, setting, sparsity, self.calibration, costs, pays)
            if setting.allocation in (TWICE, EVOLUTION):
                self._searched[key] = report.split
            return report
        return made_sparse(model, setting, self._searched[key], self.calibration, pays=pays)

    def _windows(self, model: nn.Module, rows: Tensor) -> list[Window]:
        """Each window scored by itself, all of it after a ``bos``, else all but its first token."""
        batches = (batch for row in rows for batch in sliding(row, window=len(row), bos=self.bos))
        return list(perplexity(model, batches).windows)


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
