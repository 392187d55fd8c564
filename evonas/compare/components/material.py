"""What networks are measured on: samples with and without the concept, and the losses and scores taken on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from evonas.compare.components.networks import Subject, pretrained
from evonas.compare.components.settings import ConceptConfig
from evonas.config import DataConfig
from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.surgery.calls import call, inference, output_of
from evonas.tasks.data import ImageData, load_images
from evonas.tasks.language.pretrained import LanguageModel
from evonas.tasks.language.text import load_text, read_text
from evonas.training.device import find_device

IMAGES, TEXTS = 500, 8  # samples that go through a network at once
WINDOWS = 1024  # of the training text, from which samples are drawn
SCORED_WINDOWS = 96
PRETRAINED_WINDOWS, PRETRAINED_CONTEXT = 24, 128


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs [n, ...], what they should give, and which of them have the concept and which have not."""

    inputs: Tensor
    targets: Tensor
    source: Tensor
    target: Tensor


@dataclass(frozen=True, slots=True)
class Material:
    """Samples to fit on and to score with.

    Attributes:
        train: training data.
        scoring: data that nothing was trained on.
        concept: the class, or the tokens that contain the character.
        images: whether the loss that is compared is the share of images that is classified wrongly.
    """

    train: Samples
    scoring: Samples
    concept: Tensor
    images: bool


def material_of(subject: Subject, concept: ConceptConfig, seed: int) -> Material:
    """The samples of a subject; of texts the scored windows are drawn by the seed.

    Raises:
        InputError: data that cannot be read, no such class, or a text of fewer than three windows.
    """
    if not subject.reads_text:
        return _images(subject, concept.image_class)
    tokens, ids, context = _tokens(subject, concept.character)
    scored = PRETRAINED_WINDOWS if subject.network.pretrained else SCORED_WINDOWS
    device = find_device(subject.device)
    train, scoring = (
        _windows(part.to(device), context, count, ids.to(device), derive_seed(seed, name))
        for part, count, name in zip(tokens, (WINDOWS, scored), ("train", "scoring"), strict=True)
    )
    return Material(train, scoring, ids.to(device), images=False)


def loss(network: nn.Module, material: Material) -> float:
    """Of images the share that is classified wrongly, of texts the mean cross entropy in nats a token."""
    part = material.scoring
    return _mean(network, part.inputs, part.targets, _wrong if material.images else _surprise)


def concept_and_cost(network: nn.Module, material: Material) -> tuple[float, float]:
    """The mean probability of the concept on samples that have it, and the cross entropy on those that have not."""
    part = material.scoring

    def seen(logits: Tensor, _targets: Tensor) -> Tensor:
        return logits.softmax(-1)[..., material.concept].sum(-1)

    score = _mean(network, part.inputs[part.source], part.targets[part.source], seen)
    return score, _mean(network, part.inputs[part.target], part.targets[part.target], _surprise)


def require_concept(material: Material) -> None:
    """Make sure that source and target samples differ in the concept.

    Raises:
        InputError: the tokens are not bytes, or the character is as frequent in all windows.
    """
    if material.images:
        return
    if not len(material.concept):
        raise InputError("text.tokens", "pieces of words", accepted="bytes, for the component lineas")
    for part in (material.train, material.scoring):
        share = torch.isin(part.targets, material.concept).double().mean(1)
        if share[part.source].mean() <= share[part.target].mean():
            raise InputError("concept.character", "is as frequent in all windows", remedy="choose another character")


def drawn(samples: Samples, which: Tensor, count: int, seed: int) -> Tensor:
    """Some of the inputs for which ``which`` holds."""
    places = which.nonzero().flatten()
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(seed))[:count]
    return samples.inputs[places[order.to(places.device)]]


def _images(subject: Subject, wanted: int) -> Material:
    data = _loaded(subject.data, subject.device)
    if wanted >= data.num_classes:
        raise InputError("concept.image_class", str(wanted), accepted=f"0 to {data.num_classes - 1}")
    parts = [
        Samples(part.images, part.labels, part.labels == wanted, part.labels != wanted)
        for part in (data.train, data.scoring)
    ]
    return Material(parts[0], parts[1], torch.tensor([wanted]), images=True)


@lru_cache(maxsize=2)
def _loaded(data: DataConfig, device: str) -> ImageData:
    return load_images(data).to(find_device(device))


def _tokens(subject: Subject, character: str) -> tuple[Sequence[Tensor], Tensor, int]:
    """Training and validation tokens, the tokens that contain the character, and the length of a window."""
    if subject.network.task is not None:
        text, of_bytes = load_text(subject.text), subject.text.tokens == "bytes"
        ids = torch.tensor(list(character.encode()) if of_bytes else [], dtype=torch.int64)
        return (text.train, text.validation), ids, subject.network.task.context
    model = pretrained(subject.network.pretrained, subject.device)
    return _encoded(model, subject), _containing(model, character), PRETRAINED_CONTEXT


def _encoded(model: LanguageModel, subject: Subject) -> list[Tensor]:
    return [model.encode(part) for part in read_text(subject.text)]


def _containing(model: LanguageModel, character: str) -> Tensor:
    pieces = model.tokenizer.batch_decode([[number] for number in range(len(model.tokenizer))])
    return torch.tensor([number for number, piece in enumerate(pieces) if character in piece])


def _windows(tokens: Tensor, context: int, count: int, ids: Tensor, seed: int) -> Samples:
    available = (len(tokens) - 1) // context
    if available < 3:
        raise InputError("text", f"{available} windows of {context} tokens", accepted="3 or more in each part")
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randperm(available, generator=generator)[:count] * context
    cut = tokens[(starts[:, None] + torch.arange(context + 1)).to(tokens.device)]
    order = torch.isin(cut[:, 1:], ids).sum(1).argsort(stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    third = len(order) // 3
    return Samples(cut[:, :-1], cut[:, 1:], rank >= len(order) - third, rank < third)


def _mean(network: nn.Module, inputs: Tensor, targets: Tensor, measure: Callable[[Tensor, Tensor], Tensor]) -> float:
    """The mean of a measure of logits and targets over samples, and positions of texts."""
    total, size = 0.0, IMAGES if inputs.is_floating_point() else TEXTS
    with inference(network):
        for part, wanted in zip(inputs.split(size), targets.split(size), strict=True):
            total += float(measure(output_of(call(network, part)).float(), wanted).double().sum())
    return total / targets.numel()


def _wrong(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.argmax(-1) != targets


def _surprise(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none")
