"""The kinds of files that people write, and the JSON schema of each for their editors."""

import importlib
from typing import Any

from evonas.config import CertificateConfig, SearchConfig
from evonas.config.comparison import CACHE, UNREAD
from evonas.config.keys import json_schema
from evonas.config.presets import COMPARISON, KINDS, SEARCH
from evonas.config.section import Section
from evonas.errors import InputError

_STUDIES = {  # where the models of studies are; imported when asked for, as they bring torch along
    "components": "evonas.compare.components.settings:ComponentsConfig",
    "pretrained": "evonas.studies.stability.pretrained:PretrainedStabilityConfig",
    "stability": "evonas.studies.stability.study:StabilityStudyConfig",
    "hypernet": "evonas.studies.hypernet.settings:HypernetStudyConfig",
    "sparsity": "evonas.studies.sparsity.study:SparsityStudyConfig",
    "steering": "evonas.studies.steering.study:SteeringStudyConfig",
}


def model_of(kind: str) -> type[Section]:
    """The model that files of a kind are read with.

    Args:
        kind: a key of ``evonas.config.presets.KINDS``.

    Raises:
        InputError: there is no such kind.
    """
    if kind not in KINDS:
        raise InputError("kind of file", repr(kind), accepted=", ".join(KINDS))
    if kind == CertificateConfig.file_kind:
        return CertificateConfig
    if kind in (SEARCH.name, COMPARISON.name):
        return SearchConfig
    module, _, name = _STUDIES[kind].partition(":")
    model: type[Section] = getattr(importlib.import_module(module), name)
    return model


def schema_of(kind: str) -> dict[str, Any]:
    """The JSON schema of a kind of file, with what each key means.

    Args:
        kind: a key of ``evonas.config.presets.KINDS``.

    Raises:
        InputError: there is no such kind.
    """
    model = model_of(kind)
    return json_schema(model, f"evonas: {KINDS[kind].noun}", (*UNREAD, CACHE) if kind == "comparison" else ())
