"""Makes the model of a study sparse, as one of its settings says."""

from collections.abc import Sequence

from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.sparsity.allocation import UNIFORM, ErrorCurves
from evonas.studies.sparsity.report import SparsityReport, Split
from evonas.studies.sparsity.selection import Prefill
from evonas.studies.sparsity.sparsify import Pays, sparsify
from evonas.studies.sparsity.study import SparsitySetting, SparsityStudyConfig, sparsity_settings


def made_sparse(
    model: nn.Module,
    setting: SparsitySetting,
    sparsity: float | Split,
    calibration: Sequence[Tensor],
    costs: ErrorCurves | None = None,
    pays: Pays | None = None,
) -> SparsityReport:
    """Make a model sparse in place; arguments as of ``sparsify``, or a split that was found before."""
    known = sparsity if isinstance(sparsity, Split) else None
    return sparsify(
        model,
        method=setting.method,
        sparsity=sparsity.shares if isinstance(sparsity, Split) else sparsity,
        selection=setting.selection,
        allocation=setting.allocation if known is None else UNIFORM,
        thresholds=None if known is None else known.thresholds,
        costs=costs,
        transform=setting.transform,
        calibration=calibration,
        prefill=Prefill(first=setting.dense_first),
        sparse_when=pays,
    )


def the_setting(study: SparsityStudyConfig) -> tuple[SparsitySetting, float]:
    """The one setting and sparsity of a study that is to be one model.

    Raises:
        InputError: there are several, or its weights are to be rounded.
    """
    if study.int8:
        raise InputError(
            "int8", "of a model to be saved", accepted="weights that are not rounded; --int8 measures them"
        )
    settings, sparsities = sparsity_settings(study), list(dict.fromkeys(study.sparsities))
    if len(sparsities) > 1:
        raise InputError("sparsities", ", ".join(map(str, sparsities)), accepted="one, for a model to be saved")
    if len(settings) > 1:
        found = "; ".join(setting.label for setting in settings)
        raise InputError("methods", found, accepted="one method, allocation and transform, for a model to be saved")
    return settings[0], sparsities[0]
