"""What a task reads beside its settings, by content: results are known by it."""

from collections.abc import Mapping
from functools import lru_cache

from evonas.config import DataConfig, TaskConfig, TextConfig
from evonas.runs.provenance import digest_of_arrays, source_digest
from evonas.tasks.custom import source_file
from evonas.tasks.data import load_arrays
from evonas.tasks.detection.loading import scenes_digest
from evonas.tasks.language.text import load_text
from evonas.tasks.synthesis.efficientnet_lite0 import weights_digest


def digests_of(task: TaskConfig, data: DataConfig, text: TextConfig) -> Mapping[str, str]:
    """Digests of the images, the scenes, the text, or the source of a user's function, by these names.

    Raises:
        InputError: they cannot be read.
    """
    if task.kind == "detection":
        return {"scenes": scenes_digest(data)}
    if task.kind == "synthesis":
        return {"images": images_digest(data), "features": weights_digest(task.architecture)}
    if task.architecture:
        return {"images": images_digest(data)}
    if task.transformer:
        return {"text": text_digest(text)}
    source = source_file(task)
    return {"task": source_digest(source)} if source else {}


@lru_cache(maxsize=8)
def images_digest(data: DataConfig) -> str:
    """A digest of the images and labels that are trained on, and of the test images where they give the scores."""
    scored = load_arrays(data, test=True) if data.score_on == "test" else ()
    return digest_of_arrays((*load_arrays(data), *scored))


@lru_cache(maxsize=8)
def text_digest(text: TextConfig) -> str:
    """A digest of the tokens of both splits."""
    found = load_text(text)
    return digest_of_arrays((found.train.numpy(), found.validation.numpy()))
