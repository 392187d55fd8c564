"""The model and the texts of a study: loaded once, cut into windows."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from evonas.errors import InputError
from evonas.studies.sparsity.sites import EXCLUDED, linear_sites
from evonas.studies.sparsity.speed_table import machine_facts
from evonas.studies.sparsity.study import CONTEXT, Grid, Source, SparsityStudyConfig, check, grid_of
from evonas.studies.sparsity.texts import TextWindows, calibration_windows, scored_windows
from evonas.tasks.language.pretrained import LanguageModel, load_language_model
from evonas.training.device import find_device


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

    @property
    def batches(self) -> list[Tensor]:
        """What calibrates, as the model reads it."""
        return [with_bos(row, self.language.bos)[None] for row in self.calibration.rows.to(self.device)]

    def grid(self, study: SparsityStudyConfig) -> Grid:
        """The measurements of the study."""
        machine = machine_facts(self.device, getattr(torch, self.source.dtype))
        machine["threads"] = str(study.execution.threads)
        machine |= {"dtype": "int8"} if study.int8 else {}
        digests = {name: windows.digest for name, windows in self.texts.items()}
        where = json.dumps(machine, sort_keys=True)
        return grid_of(study, self.source, digests, self.calibration.digest, self.language.bos, where)

    def facts(self, study: SparsityStudyConfig) -> dict[str, str]:
        """The facts that belong beside any figure of the study."""
        texts = (f"{len(windows.rows)} windows of {name}" for name, windows in self.texts.items())
        context, bos, first = self.calibration.rows.shape[1], self.language.bos, study.dense_first
        mode = "compiled" if study.compiled else "eager"
        rounded = ", weights rounded to 8 bits" if study.int8 else ""
        begins = f"after token {bos}" if bos is not None else "the first token unscored"
        return {
            "model": f"{self.language.name}, {self.source.model}, {study.dtype} on {self.device.type}{rounded}",
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
    if study.int8 and device.type != "cpu":
        raise InputError("int8", f"on {device.type}", accepted="cpu")
    source = Source(model=language.identity, dtype=study.dtype, device=device.type, int8=study.int8)
    return Material(language, texts, calibration, source, device)


def with_bos(row: Tensor, bos: int | None) -> Tensor:
    """A text after the token that begins one, if there is such a token. Shapes: [t] -> [t] or [t + 1]."""
    return row if bos is None else torch.cat([row.new_tensor([bos]), row])
