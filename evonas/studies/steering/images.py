"""Steering of a one-step generator of digits, to leave a class out or to put it in."""

import copy
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from evonas.config.section import Count, PositiveInt, Section
from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.studies.steering.generator import CLASSES, Generator, inputs, load_digits
from evonas.studies.steering.judge import DigitClassifier, concept_score, feature_distance, similarity
from evonas.studies.steering.networks import NetworksSpec, trained_networks
from evonas.studies.steering.sentences import Samples
from evonas.studies.steering.sites import Batch
from evonas.training.device import find_device

Label = Annotated[int, Field(ge=0, lt=CLASSES)]


class ImagesConfig(Section):
    """``[images]``: the concept is a class of scikit-learn's digits; see ``ImageTarget``.

    The generator and the classifier that judges are trained first.
    """

    tasks: Annotated[tuple[Literal["remove", "include"], ...], Field(min_length=1)] = ("remove", "include")
    """`remove` the concept, or `include` it."""
    concept: Label = 3
    """The digit that is the concept."""
    samples: Samples = 32
    """So many source and as many target inputs are drawn anew for each seed."""
    images: Annotated[int, Field(ge=CLASSES)] = 450
    """Images to measure with."""
    generator_steps: PositiveInt = 1000
    """Training steps of the generator."""
    classifier_steps: PositiveInt = 600
    """Training steps of the classifier that judges."""
    width: Annotated[int, Field(ge=8, multiple_of=8)] = 64
    """Channels of the generator."""
    trained: Count = 0
    """Seed of the generator and the classifier."""


class ImageTarget:
    """A generator of digits; see ``evonas.studies.steering.subject.SteeringTarget``.

    ``remove`` is fitted from inputs of the concept to inputs of all other classes, ``include`` the other way round. The
    score is the probability of the concept, by a classifier of real digits, in images of the source. What should stay
    are the images of the target, which is steered as well: the cost is their distance to real ones.

    Args:
        config: the section.
        device: where the model goes.
        folder: where the trained networks are kept; None trains them in memory.

    Source: concept removal of Rodriguez et al. 2025, section 4, there on DMD2 with prompts, CLIP and DINOv2.
    """

    sites = ("**.norm*",)

    def __init__(self, config: ImagesConfig, device: str, folder: Path | None = None) -> None:
        self._config, self._device, self._folder = config, find_device(device), folder
        digits = load_digits()
        self._real = {label: digits.of(label).to(self._device) for label in range(CLASSES)}
        self._others = tuple(label for label in range(CLASSES) if label != config.concept)

    @cached_property
    def _networks(self) -> tuple[Generator, DigitClassifier, Generator]:
        generator, judge = trained_networks(self.networks, self._folder)
        return generator.to(self._device), judge.to(self._device), copy.deepcopy(generator).to(self._device)

    @property
    def _generator(self) -> Generator:
        return self._networks[0]

    @property
    def _judge(self) -> DigitClassifier:
        return self._networks[1]

    @property
    def _untouched(self) -> Generator:
        return self._networks[2]

    @property
    def networks(self) -> NetworksSpec:
        """The settings that its networks depend on."""
        return NetworksSpec(**{key: getattr(self._config, key) for key in NetworksSpec.model_fields})

    @property
    def model(self) -> nn.Module:
        """The generator."""
        return self._generator

    @property
    def tasks(self) -> tuple[str, ...]:
        """Whether the concept is removed or included."""
        return tuple(f"{task} {self._config.concept}" for task in dict.fromkeys(self._config.tasks))

    def samples(self, task: str, seed: int) -> tuple[Sequence[Batch], Sequence[Batch]]:
        """One batch of inputs each; those of several classes are balanced as far as they go."""
        source, target = self._labels(task)
        count = self._config.samples
        return (
            [self._inputs(source, count, derive_seed(seed, "source"))],
            [self._inputs(target, count, derive_seed(seed, "target"))],
        )

    def fresh(self, task: str, seed: int) -> None:
        """None: noise that was not fitted is like noise that was."""

    def instructed(self, text: str, share: float, seed: int) -> AbstractContextManager[None]:  # noqa: ARG002
        """A generator of images reads no text.

        Raises:
            InputError: always.
        """
        raise InputError("method", "an instruction, to a generator that reads no text", accepted="maps")

    @torch.no_grad()
    def measure(self, task: str, seed: int) -> dict[str, Any]:
        """``score`` and ``cost`` as above; ``distance`` of source images to real ones of the target; ``similarity``.

        ``similarity``: mean cosine between the features of target images and of the untouched model's from the same
        noise; the untouched model's has the value 1.
        """
        source, target = self._labels(task)
        moved, stayed = (self._generator(**self._measured(labels, seed)) for labels in (source, target))
        real = torch.cat([self._real[label] for label in target])
        plain: Tensor = self._untouched(**self._measured(target, seed))
        return {
            "score": concept_score(self._judge, moved, self._config.concept),
            "cost": feature_distance(self._judge, stayed, real),
            "distance": feature_distance(self._judge, moved, real),
            "similarity": similarity(self._judge, stayed, plain),
        }

    def fitting(self, task: str, seed: int) -> str:  # noqa: ARG002 - the seed is part of what is recorded
        """The settings of the generator and of the concept."""
        return self._words("concept", "samples", "generator_steps", "width", "trained")

    def measuring(self, task: str, seed: int) -> str:  # noqa: ARG002
        """The same settings, with those of the classifier."""
        return self._words("concept", "images", "generator_steps", "classifier_steps", "width", "trained")

    @torch.no_grad()
    def pictures(self, task: str, seed: int, count: int) -> Tensor:
        """Some of the source images that are measured, as the generator now makes them. Shapes: [n, 1, 8, 8]."""
        made: Tensor = self._generator(**self._measured(self._labels(task)[0], seed))
        return made[:count].cpu()

    def _labels(self, task: str) -> tuple[Sequence[int], Sequence[int]]:
        concept = (self._config.concept,)
        return (concept, self._others) if task.startswith("remove") else (self._others, concept)

    def _measured(self, labels: Sequence[int], seed: int) -> Mapping[str, Tensor]:
        return self._inputs(labels, self._config.images, derive_seed(seed, "images"))

    def _inputs(self, labels: Sequence[int], count: int, seed: int) -> Mapping[str, Tensor]:
        batch = inputs(labels[0], count, seed)
        classes = torch.tensor(labels)[torch.arange(count) % len(labels)]
        return {"noise": batch["noise"].to(self._device), "labels": classes.to(self._device)}

    def _words(self, *keys: str) -> str:
        held = self._config.model_dump(mode="json")
        return json.dumps({key: held[key] for key in keys} | {"device": str(self._device)}, sort_keys=True)
