"""What a study steers: a model with samples to fit on and a way to tell what steering did."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import nn

from evonas.studies.steering.sites import Batch


class SteeringTarget(Protocol):
    """A model, and one task or more.

    Results are recorded by what they depend on: ``fitting`` and ``measuring`` give that in words, beside the seed.
    """

    @property
    def model(self) -> nn.Module:
        """What is steered."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """What it is steered to."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Patterns of modules, where a method names none."""

    def samples(self, task: str, seed: int) -> tuple[Sequence[Batch], Sequence[Batch]]:
        """Source and target batches."""

    def measure(self, task: str, seed: int) -> Mapping[str, Any]:
        """The model as it stands: ``score``, how much of the concept it shows, ``price``, and further numbers.

        The price of the untouched model is above 0, and a higher one worse; None is one beyond numbers.
        """

    def fitting(self, task: str, seed: int) -> str:
        """What ``samples`` depends on, and the model."""

    def measuring(self, task: str, seed: int) -> str:
        """What ``measure`` depends on, but for the steering."""
