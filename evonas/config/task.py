"""What a task is made of: data or text, an architecture, how it is trained, and how layers are lowered for it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from evonas.config.section import Count, Fraction, FunctionName, Label, Positive, PositiveInt, Section
from evonas.errors import InputError


class LayerConfig(Section):
    """``[layer]``: how layers become modules."""

    groups: PositiveInt = 32
    """Channel groups of the index set `ghw`; lowered until they divide the channels of a layer."""
    eps: Positive = 1e-5
    """Guard inside roots, divisions and logarithms."""
    momentum: Fraction = 0.1
    """Weight of the newest batch in the running values that batch statistics keep for evaluation."""
    bare: Literal["affine", "norm"] = "affine"
    """What becomes of a network's norms of maps that no activation follows: scale and shift alone, `affine`, or the
    network's own `norm` stays."""


SCENES = ("garments", "coco")


class DataConfig(Section):
    """``[data]``: labelled images, or scenes with objects."""

    name: Literal["digits", "fashion_mnist", "cifar10", "npz", "garments", "coco"] = "digits"
    """Which images: `digits` of scikit-learn, `fashion_mnist`, `cifar10`, or `npz`, a file of your own. Which scenes,
    for instance segmentation: `garments`, Fashion-MNIST's pasted on photographs, or `coco`, a folder of your own."""
    path: str = ""
    """File or folder of the data. Empty: for `fashion_mnist` and `garments` the place of Debian's package, for
    `cifar10` the folder `data`."""
    size: Count = 0
    """Images are average-pooled to this height and width, scenes scaled to it. 0 keeps images as they are; scenes have
    128, for SpineNet 256."""
    train: Count = 0
    """How many images train. 0: all of the training split that validation leaves; 2,000 scenes of `garments`."""
    validation: Count = 0
    """How many images are cut from the training split for validation. 0: a fifth; 200 scenes of `garments`; the split
    `val` of a `coco` folder that has one."""
    crop: Count = 0
    """Height and width of random crops to train on; validation sees whole images. 0: no crops."""
    flip: bool = False
    """Whether training images are mirrored at random."""
    score_on: Literal["validation", "test"] = "validation"
    """Which images give the scores: `validation`, or `test`, which a search refuses (`evonas rerank --test` sets it).
    """

    @property
    def title(self) -> str:
        """What people know the data set by: a file by its name."""
        return Path(self.path).stem if self.name in ("npz", "coco") else self.name

    @property
    def has_scenes(self) -> bool:
        """Whether these are scenes with objects, and not labelled images."""
        return self.name in SCENES


class TextConfig(Section):
    """``[text]``: what language models read."""

    name: Literal["topics", "file", "austen"] = "topics"
    """What language models read: Python's help `topics`, a `file`, or six novels of Jane `austen`."""
    path: str = ""
    """Path of the file, or the folder of the novels. Empty: for the novels the place of Debian's package."""
    tokens: Literal["bytes", "bpe"] = "bytes"
    """What a token is: one of the `bytes`, or a piece of a word, `bpe`, learned from the training part (needs
    evonas[lm])."""
    vocabulary: Annotated[int, Field(ge=256)] = 1024
    """Number of tokens of `bpe`."""
    validation: Fraction = 0.0
    """Share at the end of the text that validates. 0: a tenth; of the novels the sixth."""


def _distinct(rates: tuple[float, ...]) -> tuple[float, ...]:
    if len({*rates}) < len(rates):
        raise PydanticCustomError("rates", "each learning rate once")
    return rates


class TrainingConfig(Section):
    """``[training]``: how every candidate is trained, the same on every architecture."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """`sgd` with Nesterov's momentum, or `adamw` with betas 0.9 and 0.95."""
    batch_size: PositiveInt = 64
    """Images, or sequences of tokens, of one step."""
    steps: PositiveInt = 100
    """Steps of the full training of a candidate on each task."""
    learning_rate: Positive = 0.1
    """The learning rate at its highest. With several `learning_rates` it is not needed, and may only be one of them."""
    learning_rates: Annotated[tuple[Positive, ...], AfterValidator(_distinct)] = ()
    """Instead of `learning_rate`: several to try on every task, of which the best one counts. The worse half of those
    left is dropped at each rung and at the quality gate's step; without either, at 1/4 and 1/2 of the training."""
    momentum: Fraction = 0.9
    """Momentum of `sgd`."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Decay of kernels and matrices; the vectors of layers have none. That of `adamw` is apart from the gradients."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """How the learning rate goes on after the warm-up: it stays `constant`, or falls like a `cosine` to 0."""
    warmup: Count = 0
    """Steps at the beginning in which the learning rate rises."""
    accumulate: PositiveInt = 1
    """Batches of one step, whose gradients are averaged: for batches that do not fit into memory."""
    autocast: bool = False
    """Whether convolutions and matrix products compute in bfloat16, which a GPU does several times faster."""
    channels_last: bool = False
    """Whether maps lie in memory with their channels last, which convolutions on a GPU prefer."""

    @model_validator(mode="after")
    def _rates_agree(self) -> Self:
        if "learning_rate" in self.model_fields_set and self.learning_rate not in self.rates:
            accepted = f"one of learning_rates, {', '.join(f'{rate:g}' for rate in self.rates)}"
            remedy = "leave it out, or set training.learning_rates=[] to train at it alone"
            raise InputError("learning_rate", f"{self.learning_rate:g}", accepted=accepted, remedy=remedy)
        return self

    @model_serializer(mode="wrap")
    def _without_an_unused_rate(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is written can be read again: the default of ``learning_rate`` need not be one of several."""
        written: dict[str, Any] = handler(self)
        if self.learning_rate not in self.rates:
            written.pop("learning_rate", None)
        return written

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates that are tried, one or more."""
        return self.learning_rates or (self.learning_rate,)

    def at_rate(self, rate: float) -> Self:
        """The same training at a single learning rate."""
        return self.model_copy(update={"learning_rate": rate, "learning_rates": ()})


ARCHITECTURES = ("preact_resnet", "mobilenet_v2", "efficientnet", "densenet", "all_cnn")
DETECTORS = (
    *("maskrcnn-resnet18-fpn", "maskrcnn-resnet50-fpn", "maskrcnn-spinenet49s", "maskrcnn-spinenet49"),
    *("maskrcnn-spinenet96", "maskrcnn-spinenet143", "maskrcnn-spinenet190"),
)
GENERATORS = ("biggan-32", "biggan-64", "biggan-128")
LIBRARIES = ("timm", "torchvision")
SCALED = {  # by key, the networks that it scales
    "width": (*ARCHITECTURES, *DETECTORS, *GENERATORS),
    "depth": ARCHITECTURES,
    "head": (*ARCHITECTURES, *DETECTORS),
}


_MODEL = re.compile(r"[\w./-]{1,200}")  # the name of a network in a library


def _architecture(name: str) -> str:
    library, _, model = name.partition(":")
    known = (*ARCHITECTURES, *DETECTORS, *GENERATORS)
    if name and name not in known and not (library in LIBRARIES and _MODEL.fullmatch(model)):
        others = " or ".join(f"{library}:NAME" for library in LIBRARIES)
        raise PydanticCustomError("architecture", "{names}", {"names": f"{', '.join(known)}, {others}"})
    return name


class TaskConfig(Section):
    """One of ``[[tasks]]``: a network on images, a language model on text, or a task of your own; just one of them.

    For the last one see ``evonas.tasks.custom``.
    """

    architecture: Annotated[str, AfterValidator(_architecture)] = ""
    """A network for images: `preact_resnet`, `mobilenet_v2`, `efficientnet`, `densenet` or `all_cnn`, scaled by the
    keys below; `timm:NAME`, `torchvision:NAME` as they are; for instance segmentation `maskrcnn-resnet18-fpn`,
    `maskrcnn-spinenet49` and others; for image synthesis `biggan-32`, `biggan-64`, `biggan-128`."""
    task: FunctionName = ""
    """Instead of an architecture: a task of your own, the function `package.module:function`."""
    transformer: Annotated[str, Field(pattern=r"^[\w.]*$", max_length=40)] = ""
    """Instead of an architecture: a language model on `[text]` by its size, `55k` to `4.7m`, or WIDTHxDEPTH such as
    `96x3`; layers take the place of its norms."""
    context: PositiveInt = 128
    """Tokens that the language model sees."""
    name: Label = ""
    """Name of the task in tables and as an objective. Empty: that of the network; needed where a network appears twice.
    """
    width: Positive = 1.0
    """Channels against the published network; of densenet, growth rate and stem; of Mask R-CNN, those of the backbone.
    """
    depth: tuple[Count, ...] = ()
    """Blocks of each stage: a shorter list drops the later stages, and 0 drops a stage. Empty: as published."""
    head: PositiveInt | None = None
    """Channels of the last 1x1 convolution of mobilenet_v2 and efficientnet, or of the pyramid and the heads of
    Mask R-CNN. Not set: as published."""
    unstrided: Count = 2
    """How many of the first reductions of the image size are left out, which small images need."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [key for key in ("architecture", "transformer", "task") if getattr(self, key)]
        if len(given) != 1:
            accepted = "an architecture, a transformer or a task, one of them"
            raise InputError("", f"has {' and '.join(given) or 'neither'}", accepted=accepted)
        fields = type(self).model_fields
        for key, names in SCALED.items():
            if getattr(self, key) != fields[key].default and self.architecture not in names:
                found = f"scales {getattr(self, given[0])}, whose {key} is its own"
                raise InputError(key, found, accepted=f"only {', '.join(names)} have it")
        return self

    @property
    def kind(self) -> Literal["classification", "detection", "synthesis", "language", "own"]:
        """What its network does: it classifies images, finds objects, makes images, predicts text, or is a user's."""
        if self.architecture in DETECTORS:
            return "detection"
        if self.architecture in GENERATORS:
            return "synthesis"
        return "classification" if self.architecture else "language" if self.transformer else "own"

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
