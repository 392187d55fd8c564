"""What a task is made of: data or text, an architecture, how it is trained, and how layers are lowered for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from evonas.config.section import Count, Fraction, Positive, PositiveInt, Section
from evonas.errors import InputError


class LayerConfig(Section):
    """``[layer]``: how genomes are lowered."""

    groups: PositiveInt = 32
    eps: Positive = 1e-5
    momentum: Fraction = 0.1


class DataConfig(Section):
    """``[data]``: labelled images.

    ``size`` > 0 average-pools images to that height; ``train`` and ``validation`` are numbers of images cut from the
    training split (0: all that remain, one fifth); ``crop`` > 0 trains on random crops of that height. ``score_on``
    says which images give the scores; a search refuses test images.
    """

    name: Literal["digits", "fashion_mnist", "cifar10", "npz"] = "digits"
    path: str = ""
    size: Annotated[int, Field(ge=0)] = 0
    train: Annotated[int, Field(ge=0)] = 0
    validation: Annotated[int, Field(ge=0)] = 0
    crop: Annotated[int, Field(ge=0)] = 0
    flip: bool = False
    score_on: Literal["validation", "test"] = "validation"

    @property
    def title(self) -> str:
        """What people know the data set by: a file by its name."""
        return Path(self.path).stem if self.name == "npz" else self.name


class TextConfig(Section):
    """``[text]``: what language models read: Python's help ``topics``, a ``file``, or six novels of Jane ``austen``.

    ``path`` is that of the file, or where the novels are if not in the place of the Debian package. The last
    ``validation`` of the text validates; 0 means a tenth, and of the novels the sixth. ``vocabulary`` counts the
    tokens of ``bpe``; ``bytes`` have 256.
    """

    name: Literal["topics", "file", "austen"] = "topics"
    path: str = ""
    tokens: Literal["bytes", "bpe"] = "bytes"
    vocabulary: Annotated[int, Field(ge=256)] = 1024
    validation: Fraction = 0.0


class TrainingConfig(Section):
    """``[training]``: how every candidate is trained, the same on every architecture.

    ``momentum`` is that of ``sgd``; ``adamw`` has betas 0.9 and 0.95, and a ``weight_decay`` apart from gradients.
    ``warmup`` steps come first, in which the learning rate rises.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    batch_size: PositiveInt = 64
    steps: PositiveInt = 100
    learning_rate: Positive = 0.1
    momentum: Fraction = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup: Count = 0


ARCHITECTURES = ("preact_resnet", "mobilenet_v2", "efficientnet", "densenet")
LIBRARIES = ("timm", "torchvision")


def _architecture(name: str) -> str:
    library, _, model = name.partition(":")
    if name and name not in ARCHITECTURES and not (library in LIBRARIES and model):
        others = " or ".join(f"{library}:NAME" for library in LIBRARIES)
        raise PydanticCustomError("architecture", "{names}", {"names": f"{', '.join(ARCHITECTURES)}, {others}"})
    return name


class TaskConfig(Section):
    """One ``[[tasks]]``: an ``architecture`` on the images of ``[data]``, or a ``task`` of your own.

    ``architecture`` is a published network, scaled by ``width``, ``depth`` and ``head``, or one of another package,
    ``timm:NAME`` or ``torchvision:NAME``, as it is. ``unstrided`` of the first spatial reductions keep the size.
    ``task`` is ``package.module:function``, see ``evonas.tasks.custom``. ``transformer`` is a language model on
    ``[text]``, by its size, such as ``147k`` or ``96x3`` (width x depth), and sees ``context`` tokens.
    """

    architecture: Annotated[str, AfterValidator(_architecture)] = ""
    task: Annotated[str, Field(pattern=r"^$|^[\w.]+:\w+$")] = ""
    transformer: str = ""
    context: PositiveInt = 128
    name: str = ""
    width: Positive = 1.0
    depth: tuple[Annotated[int, Field(ge=0)], ...] = ()
    head: PositiveInt | None = None
    unstrided: Annotated[int, Field(ge=0)] = 2

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [key for key in ("architecture", "transformer", "task") if getattr(self, key)]
        if len(given) != 1:
            accepted = "an architecture, a transformer or a task, one of them"
            raise InputError("", f"has {' and '.join(given) or 'neither'}", accepted=accepted)
        fields = type(self).model_fields
        scaled = [key for key in ("width", "depth", "head") if getattr(self, key) != fields[key].default]
        if scaled and self.architecture not in ARCHITECTURES:
            found = f"scales {getattr(self, given[0])}, which is taken as it is"
            raise InputError(scaled[0], found, accepted=f"only {', '.join(ARCHITECTURES)} are scaled")
        return self

    @property
    def label(self) -> str:
        """What the task is called: its name, or that of its network or function."""
        network = f"transformer-{self.transformer}" if self.transformer else self.architecture or self.task
        return self.name or network.rpartition(":")[2]


def require_names(tasks: Sequence[TaskConfig]) -> None:
    """Make sure that every task has a name of its own: objectives go by it.

    Raises:
        InputError: two are called the same.
    """
    names = [task.label for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise InputError("tasks", f"two tasks are called {name!r}", remedy="give one of them a name of its own")
