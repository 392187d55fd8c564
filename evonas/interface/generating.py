"""Models side by side that continue a prompt: dense and sparse, plain and steered."""

import copy
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from evonas.errors import InputError
from evonas.studies.sparsity.loading import is_saved_sparsity, load, load_dense
from evonas.studies.sparsity.sites import linear_sites
from evonas.studies.sparsity.sparsify import Pays
from evonas.studies.sparsity.speed_table import measure_speeds
from evonas.studies.steering.intervention import Intervention
from evonas.studies.steering.sites import require_sites
from evonas.tasks.language.generation import Speaker
from evonas.tasks.language.pretrained import LanguageModel, load_language_model

PLAIN, DENSE = "plain", "dense"


def everywhere(_inputs: int, _outputs: int, _sparsity: float) -> bool:
    """For ``sparse_when``: all layers are sparse, as the model was saved."""
    return True


@dataclass(frozen=True, slots=True)
class Speakers:
    """Models that continue the same prompt.

    Attributes:
        language: the dense model and its tokenizer.
        speakers: the models, the one to compare with first.
    """

    language: LanguageModel
    speakers: tuple[Speaker, ...]


def speakers_of(
    source: str,
    *,
    steer: Path | None = None,
    strength: float = 1.0,
    device: torch.device | str = "cpu",
    sparse_when: Pays | None = None,
) -> Speakers:
    """The models that a place holds.

    Of a folder of a sparse model they are the dense and the sparse one, of any other model it alone. With an
    intervention the last of them comes once more, steered.

    Args:
        source: a folder that ``SparsityReport.save`` wrote, or an id of the hub, a folder or a GGUF file.
        steer: a folder that ``Intervention.save`` wrote.
        strength: of the steering.
        device: where they go.
        sparse_when: which layers are to be sparse, as of ``sparsify``. By default those for which a sparse product is
            faster on this machine, which is measured, and kept in the folder.

    Raises:
        InputError: a model or an intervention that cannot be loaded, or the two do not fit.
    """
    maps = None if steer is None else Intervention.load(steer).at(strength)
    if not is_saved_sparsity(source):
        language = load_language_model(source, device=device)
        speakers = [Speaker(PLAIN, language.model)]
    else:
        language = load_dense(source, device=device)
        sparse = copy.deepcopy(language.model)
        report = load(sparse, source, sparse_when=sparse_when or _measured(Path(source), language))
        settings, kernels = report.settings, [layer.kernel for layer in report.layers]
        used = f"{len(kernels) - kernels.count('dense')} of {len(kernels)} layers"
        name = f"sparse, {settings.method} at {100 * settings.sparsity:.3g} % in {used}"
        speakers = [Speaker(DENSE, language.model), Speaker(name, sparse)]
    if maps is not None:
        plain = speakers[-1]
        try:
            require_sites(plain.model, maps.sites, maps.model)
        except InputError as error:
            raise error.at(str(steer)) from None
        steered = f"steered, {maps.method} at strength {strength:g}"
        name = steered if plain.name == PLAIN else f"{plain.name}, {steered}"
        speakers.append(replace(plain, name=name, within=partial(maps.on, plain.model)))
    return Speakers(language, tuple(speakers))


def _measured(folder: Path, language: LanguageModel) -> Pays:
    shapes = {(site.inputs, site.outputs) for site in linear_sites(language.model)}
    weight = next(language.model.parameters())
    kept = folder if os.access(folder, os.W_OK) else None
    return measure_speeds(shapes, folder=kept, device=weight.device, dtype=weight.dtype).pays
